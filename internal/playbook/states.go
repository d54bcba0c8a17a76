package playbook

import (
	"regexp"
	"slices"
	"strings"
)

var chain = pattern(` (?:to|then|and then|->) | ?, ?(?:then |and then |and )?(?:to )?|->`)

// states: a field moves along the edges that the task names.
func (p *reader) states(c *clause, noun, text string) bool {
	e := p.entity(noun)
	if noun == "" {
		for i := range p.spec.Entities {
			for _, f := range p.spec.Entities[i].Fields {
				if f.Type == Enum && slices.Contains(f.Values, snakeValue(strings.Fields(text)[0])) {
					e = &p.spec.Entities[i]
				}
			}
		}
		if e == nil && p.last != "" {
			e = p.entity(p.last)
		}
	}
	if e == nil {
		return false
	}
	var values []string
	var edges []Edge
	var before []string
	text = regexp.MustCompile(`\band (\w+) to\b`).ReplaceAllString(text, "; $1 to")
	for _, part := range strings.Split(text, ";") {
		before = nil
		for _, step := range chain().Split(strings.TrimSpace(part), -1) {
			var states []string
			for _, s := range regexp.MustCompile(` or | and `).Split(step, -1) {
				s = snakeValue(strings.TrimSpace(strings.TrimPrefix(s, "from ")))
				if s == "" || strings.Contains(s, " ") {
					return false
				}
				states = append(states, s)
				if !slices.Contains(values, s) {
					values = append(values, s)
				}
			}
			for _, from := range before {
				for _, to := range states {
					edges = append(edges, Edge{from, to})
				}
			}
			before = states
		}
	}
	if len(edges) == 0 {
		return false
	}
	f := p.stateField(e, values)
	for i := range p.spec.Rules {
		r := &p.spec.Rules[i]
		if r.Kind == RuleStates && r.Entity == e.Noun {
			for _, edge := range edges {
				if !slices.Contains(r.Edges, edge) {
					r.Edges = append(r.Edges, edge)
				}
			}
			r.Clause += "; " + c.raw
			return true
		}
	}
	return p.addRule(Rule{Kind: RuleStates, Clause: c.raw, Entity: e.Noun, Field: f.Name, Edges: edges})
}

// moves: states with each of their moves spelled out, "from a to b, from b to c".
func (p *reader) moves(c *clause, noun, text string) bool {
	text = strings.NewReplacer(" or back to ", " or ", " or to ", " or ", " to back to ", " to ").Replace(text)
	n := len(p.spec.Rules)
	for _, move := range movesFrom().Split(text, -1) {
		if move = strings.TrimSpace(move); move != "" && !p.states(c, noun, move) {
			p.spec.Rules = p.spec.Rules[:n]
			return false
		}
	}
	for i := range p.spec.Rules {
		if r := &p.spec.Rules[i]; r.Kind == RuleStates {
			r.Clause = strings.ReplaceAll(r.Clause, "; "+c.raw, "")
		}
	}
	return true
}

var movesFrom = pattern(`(?:^|(?: ,| and| or)+ )from `)

// stateField is the enumeration that holds these values, or status.
func (p *reader) stateField(e *Entity, values []string) *Field {
	for i := range e.Fields {
		if e.Fields[i].Type == Enum && slices.Contains(e.Fields[i].Values, values[0]) {
			for _, v := range values {
				if !slices.Contains(e.Fields[i].Values, v) {
					e.Fields[i].Values = append(e.Fields[i].Values, v)
				}
			}
			return &e.Fields[i]
		}
	}
	return e.setStatus(values)
}

func (p *reader) initial(c *clause, noun, state string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	f, want, ok := e.state(state)
	if !ok {
		f, want = e.setStatus([]string{snakeValue(state)}), snakeValue(state)
		if f.Type != Enum {
			return false
		}
	}
	f.Default = want
	p.cover(c.raw, "%s of a new %s is %s", f.Name, e.Noun, want)
	return true
}

// forbid: in a state, a row can't be changed, deleted, or moved on.
func (p *reader) forbid(c *clause, noun, state, verb string) bool {
	e := p.entity(noun)
	if e == nil || verb == "negative" || verb == "empty" {
		return false
	}
	f, want, ok := e.state(state)
	if !ok {
		return false
	}
	switch verb {
	case "deleted", "removed":
		return p.addRule(Rule{Kind: RuleFrozen, Clause: c.raw, Entity: e.Noun, Field: f.Name, State: want, Verb: "delete"})
	case "updated", "changed", "edited", "modified":
		return p.addRule(Rule{Kind: RuleFrozen, Clause: c.raw, Entity: e.Noun, Field: f.Name, State: want, Verb: "update"})
	}
	if f.Type != Enum || base(verb) == verb && !slices.Contains(f.Values, snakeValue(verb)) {
		return false
	}
	// What is lent is lent by a loan too, not only by a change of its status.
	linked := p.flag(c, noun, state, "be "+verb, "", false)
	if linked && !slices.Contains(f.Values, verb) {
		return true
	}
	if !slices.Contains(f.Values, verb) && (verb == "borrowed" || verb == "booked" || verb == "reserved" || verb == "rented" || verb == "ordered" || verb == "reviewed" || verb == "loaned") {
		return false
	}
	if verb == "reopened" {
		for _, v := range []string{"open", "opened"} {
			if slices.Contains(f.Values, v) {
				verb = v
			}
		}
	}
	return p.addRule(Rule{Kind: RuleFrozen, Clause: c.raw, Entity: e.Noun, Field: f.Name, State: want, Verb: "move", Value: verb})
}

// allow: only in a state can a row be changed, deleted, or moved on.
func (p *reader) allow(c *clause, noun, state, verb string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	f, _, ok := e.state(state)
	if !ok {
		return false
	}
	if link := p.entity(known().words.Links[base(verb)]); link != nil && link != e && link.refTo(e.Noun) != nil {
		// What makes a bike rented is a rental, not a change of its status.
		if f.Type == Enum && slices.Contains(f.Values, verb) && !p.exclusive(c, noun, "", 1, "at_once") {
			return false
		}
		return p.flag(c, noun, state, "be "+verb, "", true)
	}
	if f.Type == Bool {
		want := "false"
		if _, w, _ := e.state(state); w == "false" {
			want = "true"
		}
		if verb != "deleted" && verb != "removed" && verb != "updated" && verb != "edited" {
			return false
		}
		return p.addRule(Rule{Kind: RuleFrozen, Clause: c.raw, Entity: e.Noun, Field: f.Name, State: want, Verb: map[bool]string{true: "delete", false: "update"}[verb == "deleted" || verb == "removed"]})
	}
	n := len(p.spec.Rules)
	for _, v := range f.Values {
		if v == snakeValue(state) || v == verb {
			continue
		}
		if !p.forbid(c, noun, v, verb) {
			p.spec.Rules = p.spec.Rules[:n]
			return false
		}
	}
	if !slices.Contains(f.Values, verb) && !slices.Contains([]string{"deleted", "removed", "updated", "edited", "changed", "modified"}, verb) {
		f.Values = append(f.Values, verb)
	}
	return len(p.spec.Rules) > n
}

// finishStates brings the moves of each state machine together.
func (p *reader) finishStates() {
	for _, r := range slices.Clone(p.spec.Rules) {
		if r.Kind != RuleFrozen || r.Verb != "move" {
			continue
		}
		e := p.entity(r.Entity)
		f := e.field(r.Field)
		machine := slices.IndexFunc(p.spec.Rules, func(m Rule) bool { return m.Kind == RuleStates && m.Entity == r.Entity && m.Field == r.Field })
		added := !slices.Contains(f.Values, r.Value)
		if added {
			f.Values = append(f.Values, r.Value)
		}
		if machine < 0 {
			var edges []Edge
			for _, from := range f.Values {
				for _, to := range f.Values {
					if from != to {
						edges = append(edges, Edge{from, to})
					}
				}
			}
			p.spec.Rules = append(p.spec.Rules, Rule{Kind: RuleStates, Clause: r.Clause, Entity: r.Entity, Field: r.Field, Edges: edges, Free: true})
			machine = len(p.spec.Rules) - 1
		}
		m := &p.spec.Rules[machine]
		if !slices.ContainsFunc(m.Edges, func(e Edge) bool { return e.To == r.Value }) {
			for _, from := range f.Values {
				if from != r.Value && !known().final[from] {
					m.Edges = append(m.Edges, Edge{from, r.Value})
				}
			}
		}
		for _, other := range p.spec.Rules {
			if other.Kind == RuleFrozen && other.Verb == "move" && other.Entity == r.Entity && other.Value == r.Value {
				m.Edges = slices.DeleteFunc(m.Edges, func(e Edge) bool { return e.From == other.State && e.To == other.Value })
			}
		}
	}
	for _, r := range p.spec.Rules {
		if r.Kind != RuleStates {
			continue
		}
		e := p.entity(r.Entity)
		for _, edge := range r.Edges {
			if verb := base(edge.To); verb != edge.To {
				e.addAction(Action{Verb: verb, Field: r.Field, State: edge.To})
			}
		}
	}
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		hint := known().nouns[e.Noun]
		if f := e.field(hint.Done); hint.Done != "" && f != nil && f.Type == Timestamp {
			e.addAction(Action{Verb: hint.Act, Field: hint.Done})
		}
	}
}

func (e *Entity) addAction(a Action) {
	if !slices.ContainsFunc(e.Actions, func(b Action) bool { return b.Verb == a.Verb }) {
		e.Actions = append(e.Actions, a)
	}
}
