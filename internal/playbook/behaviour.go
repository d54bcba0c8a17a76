package playbook

import (
	"regexp"
	"slices"
	"strings"
)

// order: one time of a row is after another of its times.
func (p *reader) order(c *clause, noun, later, earlier string) bool {
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		if noun != "" && snake(e.Noun) != noun || noun == "" && p.last != "" && e.Noun != p.last && p.entity(p.last).named(snake(later)) >= 0 {
			continue
		}
		if later == "" && earlier == "" {
			if start, end, unit, ok := e.interval(); ok && unit == "" {
				return p.addRule(Rule{Kind: RuleOrder, Clause: c.raw, Entity: e.Noun, Start: start, End: end})
			}
			return false
		}
		a, b := e.named(snake(later)), e.named(snake(earlier))
		if a < 0 || b < 0 || a == b || e.Fields[a].Type != e.Fields[b].Type || e.Fields[a].Type != Date && e.Fields[a].Type != Timestamp {
			continue
		}
		return p.addRule(Rule{Kind: RuleOrder, Clause: c.raw, Entity: e.Noun, Start: e.Fields[b].Name, End: e.Fields[a].Name})
	}
	return false
}

// side: rows of noun start on one side of now.
func (p *reader) side(c *clause, noun, target string, not bool) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	f := e.firstField(startNames)
	if f == nil || f.Now || f.ReadOnly || f.Optional {
		return false
	}
	if not {
		target = map[string]string{"future": "past", "past": "future"}[target]
	}
	f.Target = target
	p.cover(c.raw, "%s of %s %s: %s", f.Name, article(e.Noun), e.Noun, f.Describe())
	return true
}

// onward: the moves from the state in which a row begins.
func (p *reader) onward(c *clause, noun, text string) bool {
	if noun == "" {
		noun = p.last
	}
	e := p.entity(noun)
	if e == nil {
		return false
	}
	for _, f := range e.Fields {
		if f.Type == Enum && (f.Name == "status" || f.Name == "state") && f.Default != "" {
			return p.states(c, e.Noun, f.Default+" to "+onwards().ReplaceAllString(text, " to "))
		}
	}
	return false
}

var onwards = pattern(` (?:and then|and|then|->) (?:to )?`)

// due: a time of a row follows from another by a fixed span.
func (p *reader) due(c *clause, noun, field, n, unit, after string) bool {
	if noun == "" {
		noun = p.last
	}
	e := p.entity(noun)
	if e == nil {
		return false
	}
	after = strings.TrimSpace(after)
	start := ""
	switch after {
	case "", "starts", "start", "begins", "is created", "creation", "created", "is made", "made", "borrowed", "loan date", "checked out", "check out", "checkout", "starts date", "start date", "borrowing", "is issued", "issued", "issue", "is borrowed", "being borrowed", "is taken", "taken", "begin", "beginning", "started", "start time", "borrow date", "activation", "today", "now", "it":
		if f := e.firstField(startNames); f != nil {
			start = f.Name
		}
		if strings.Contains(after, "creat") || strings.Contains(after, "made") {
			start = ""
		}
	default:
		i := e.named(snake(strings.TrimPrefix(after, "@"+snake(e.Noun)+" ")))
		if i < 0 {
			return false
		}
		start = e.Fields[i].Name
	}
	if start == "" {
		if e.field("started_at") == nil {
			e.Fields = append(e.Fields, Field{Name: "started_at", Type: Timestamp, Now: true})
			p.assume("Each %s has started_at, which is the time of creation unless a client says otherwise.", e.Noun)
		}
		start = "started_at"
	}
	s := e.field(start)
	if s.Type != Timestamp && s.Type != Date {
		return false
	}
	if !s.Now && !e.Declared || s.Optional {
		s.Now = true
	}
	s.Now = true
	name := snake(field)
	if name == "due" {
		name = "due_at"
	}
	for i := range e.Fields {
		if e.Fields[i].Name == name || e.Fields[i].Name == strings.TrimSuffix(name, "_at")+"_date" || e.Fields[i].Name == strings.TrimSuffix(name, "_at")+"_on" {
			name = e.Fields[i].Name
		}
	}
	if unit == "month" || s.Type == Date && (unit == "hour" || unit == "minute") {
		return false
	}
	days := cardinal(n)
	f := e.field(name)
	if f == nil {
		e.Fields = append(e.Fields, Field{Name: name})
		f = &e.Fields[len(e.Fields)-1]
	}
	*f = Field{Name: name, Type: s.Type, ReadOnly: true}
	if strings.HasSuffix(name, "_date") && f.Type == Timestamp && s.Type == Timestamp {
		f.Type = Date
		if unit == "hour" || unit == "minute" {
			return false
		}
	}
	return p.addRule(Rule{Kind: RuleDue, Clause: c.raw, Entity: e.Noun, Field: name, Start: start, N: days, Unit: unit})
}

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
			p.spec.Rules = append(p.spec.Rules, Rule{Kind: RuleStates, Clause: r.Clause, Entity: r.Entity, Field: r.Field, Edges: edges})
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

// stock: creating a row takes its quantity from what the other has.
func (p *reader) stock(c *clause, noun, of string) bool {
	var source *Entity
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		if of != "" && snake(e.Noun) == of || of == "" && (e.Noun == "product" || e.Noun == "item") {
			source = e
		}
	}
	if source == nil {
		return false
	}
	level := ""
	for _, name := range []string{"stock", "quantity", "stock_quantity", "inventory", "quantity_in_stock", "in_stock_quantity", "stock_level"} {
		if f := source.field(name); f != nil && f.Type == Int {
			level = name
			f.Optional = false
			if f.Min == "" && f.Above == "" {
				f.Min = "0"
			}
			break
		}
	}
	if level == "" {
		return false
	}
	src := source.Noun
	taker := ""
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		if e.refTo(src) != nil && e.field("quantity") != nil && e.Noun != src {
			taker = e.Noun
		}
	}
	if taker == "" {
		e := p.entity("order")
		if noun != "" && p.entity(noun) != nil && p.entity(noun).Noun != src && !isPerson(p.entity(noun).Noun) {
			e = p.entity(noun)
		}
		if e == nil || e.Declared && e.refTo(src) == nil && e.field("quantity") == nil {
			return false
		}
		taker = e.Noun
		p.ensureRef(taker, src)
		if e = p.entity(taker); e.field("quantity") == nil {
			e.Fields = append(e.Fields, Field{Name: "quantity", Type: Int, Above: "0"})
			p.assume("Each %s has a quantity.", taker)
		}
	}
	e := p.entity(taker)
	q := e.field("quantity")
	if q.Above == "" && q.Min == "" {
		q.Above = "0"
	}
	q.Optional, q.Immutable = false, true
	ref := e.refTo(src)
	ref.Immutable, ref.Optional = true, false
	p.assume("The %s and quantity of a %s are set once; deleting it gives nothing back.", src, taker)
	for i := range p.spec.Rules {
		if r := &p.spec.Rules[i]; r.Kind == RuleStock && r.Entity == taker {
			r.Clause += "; " + c.raw
			return true
		}
	}
	return p.addRule(Rule{Kind: RuleStock, Clause: c.raw, Entity: taker, Field: ref.Name, Start: "quantity", Other: level, Child: src})
}

func isPerson(noun string) bool {
	return slices.Contains([]string{"user", "customer", "client", "member", "person", "employee", "buyer", "patron"}, noun)
}

// total: a field is quantity times price, of the row or summed over its parts.
func (p *reader) total(c *clause, noun, field string, sum bool) bool {
	if noun == "" {
		noun = p.last
	}
	e := p.entity(noun)
	if e == nil {
		return false
	}
	name := snake(field)
	priceOf := func(e *Entity) (ref, price string) {
		for _, n := range []string{"price", "unit_price"} {
			if f := e.field(n); f != nil && f.Type == Decimal {
				return "", n
			}
		}
		for _, f := range e.Fields {
			if f.Type != Reference {
				continue
			}
			for _, n := range []string{"price", "unit_price"} {
				if g := p.entity(f.Ref).field(n); g != nil && g.Type == Decimal {
					g.Optional = false
					return f.Name, n
				}
			}
		}
		return "", ""
	}
	set := func(e *Entity) {
		f := e.field(name)
		if f == nil {
			e.Fields = append(e.Fields, Field{Name: name})
			f = &e.Fields[len(e.Fields)-1]
		}
		*f = Field{Name: name, Type: Decimal, ReadOnly: true}
	}
	if !sum && e.field("quantity") != nil {
		ref, price := priceOf(e)
		if price == "" || e.field("quantity").Optional {
			return false
		}
		set(e)
		return p.addRule(Rule{Kind: RuleProduct, Clause: c.raw, Entity: e.Noun, Field: name, Start: "quantity", Other: price, Child: ref})
	}
	for i := range p.spec.Entities {
		child := &p.spec.Entities[i]
		if child.refTo(e.Noun) == nil || child.field("quantity") == nil {
			continue
		}
		ref, price := priceOf(child)
		if price == "" {
			continue
		}
		set(e)
		return p.addRule(Rule{Kind: RuleTotal, Clause: c.raw, Entity: e.Noun, Field: name, Child: child.Noun, Start: "quantity", Other: price, End: ref})
	}
	return false
}

// blocked: whoever has an overdue row gets no new one.
func (p *reader) blocked(c *clause, holder, noun, verb string) bool {
	e := p.entity(noun)
	h := p.entity(holder)
	if e == nil || h == nil {
		return false
	}
	ref := e.refTo(h.Noun)
	due := p.dueField(e)
	linked := known().words.Links[base(verb)]
	if ref == nil || due == "" || linked != e.Noun && verb != "create" && verb != "take" && verb != "make" && verb != "get" && verb != "have" && verb != "place" {
		return false
	}
	active, ok := p.active(e.Noun)
	if !ok {
		return false
	}
	return p.addRule(Rule{Kind: RuleBlocked, Clause: c.raw, Entity: e.Noun, Field: e.refTo(h.Noun).Name, Other: due, Active: active})
}

func (p *reader) dueField(e *Entity) string {
	for _, n := range []string{"due_at", "due_date", "due_on", "due"} {
		if f := e.field(n); f != nil && (f.Type == Timestamp || f.Type == Date) {
			return n
		}
	}
	return ""
}

// flag: new rows need, or must not have, a state of what they refer to.
func (p *reader) flag(c *clause, noun, adjective, verb, object string, must bool) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	f, want, ok := e.state(adjective)
	if !ok && (adjective == "inactive" || adjective == "active") && e.field("status") == nil {
		e.Fields = append(e.Fields, Field{Name: "active", Type: Bool, Default: "true"})
		p.assume("Each %s has active, which is true at first.", e.Noun)
		f, want, ok = e.state(adjective)
	}
	if !ok {
		return false
	}
	child := ""
	if object != "" && p.entity(object) != nil {
		o := p.entity(object)
		if o.refTo(e.Noun) != nil {
			child = o.Noun
		} else {
			child = p.join(e.Noun, o.Noun)
		}
	} else if link, ok := known().words.Links[base(strings.TrimPrefix(verb, "be "))]; ok && p.entity(link) != nil && p.entity(link).refTo(e.Noun) != nil {
		child = link
	}
	if child == "" {
		return false
	}
	r := Rule{Kind: RuleParentFlag, Clause: c.raw, Entity: child, Field: p.entity(child).refTo(e.Noun).Name, Other: f.Name, Value: want, Verb: "refuse"}
	if must {
		r.Verb = "require"
	}
	return p.addRule(r)
}

// doAndUndo: "members can borrow and return books" is what a join resource is for.
func (p *reader) doAndUndo(c *clause, who, do, undo, what string) bool {
	a, b := p.entity(who), p.entity(what)
	if a == nil || b == nil {
		return false
	}
	if _, ok := known().words.Links[snake(base(do))]; !ok {
		return false
	}
	an, bn := a.Noun, b.Noun
	noun := p.linkFor(do, an, bn)
	if noun == "" {
		return false
	}
	e := p.entity(noun)
	if undo == "" {
		p.cover(c.raw, "POST /%s with %s and %s", kebab(e.Plural), e.refTo(an).Name, e.refTo(bn).Name)
		return true
	}
	active, ok := p.active(noun)
	hint := known().nouns[noun]
	if !ok && undo == "cancel" {
		f := e.setStatus([]string{"confirmed", "cancelled"})
		e.addAction(Action{Verb: "cancel", Field: f.Name, State: "cancelled"})
		p.cover(c.raw, "POST /%s and POST /%s/{id}/cancel", kebab(e.Plural), kebab(e.Plural))
		return true
	}
	if !ok || active.Empty == "" || hint.Act != undo && undo != "return" {
		return false
	}
	e.addAction(Action{Verb: undo, Field: active.Empty})
	p.cover(c.raw, "POST /%s and POST /%s/{id}/%s", kebab(e.Plural), kebab(e.Plural), undo)
	return true
}

// action: a row can be closed, completed, cancelled: an operation of its own.
func (p *reader) action(c *clause, noun, word string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	word = snakeValue(word)
	for _, adjective := range []string{word, word + "d", word + "ed", word + "led"} {
		f, want, ok := e.state(adjective)
		if !ok {
			continue
		}
		a := Action{Verb: base(word), Field: f.Name, State: want}
		if a.Verb == word && strings.HasSuffix(word, "ed") {
			a.Verb = strings.TrimSuffix(word, "d")
		}
		if word == "done" {
			a.Verb = "complete"
		}
		e.addAction(a)
		p.cover(c.raw, "POST /%s/{id}/%s", kebab(e.Plural), a.Verb)
		return true
	}
	if hint := known().nouns[e.Noun]; hint.Done != "" && (hint.Act == base(word)) {
		if active, ok := p.active(e.Noun); ok && active.Empty != "" {
			e.addAction(Action{Verb: hint.Act, Field: active.Empty})
			p.cover(c.raw, "POST /%s/{id}/%s", kebab(e.Plural), hint.Act)
			return true
		}
	}
	if word == "cancelled" || word == "cancel" || word == "archived" || word == "archive" || word == "completed" || word == "complete" || word == "closed" || word == "close" || word == "published" || word == "publish" {
		state := word
		if base(word) == word {
			state = map[string]string{"cancel": "cancelled", "archive": "archived", "complete": "completed", "close": "closed", "publish": "published"}[word]
		}
		if slices.ContainsFunc(e.Fields, func(f Field) bool { return f.Type == Enum && (f.Name == "status" || f.Name == "state") }) {
			return false
		}
		e.Fields = append(e.Fields, Field{Name: state, Type: Bool, Default: "false"})
		e.addAction(Action{Verb: base(state), Field: state, State: "true"})
		p.cover(c.raw, "POST /%s/{id}/%s sets %s", kebab(e.Plural), base(state), state)
		return true
	}
	return false
}

// given: the clause asks for operations that every resource has.
func (p *reader) given(c *clause, text string) bool {
	for _, m := range entityName().FindAllStringSubmatch(text, -1) {
		if p.entity(m[1]) == nil {
			return false
		}
	}
	if strings.Contains(text, " own ") {
		return false
	}
	p.cover(c.raw, "create, list, read, replace, change and delete are operations of every resource")
	return true
}

// find: lists are filtered by any field; check that the fields exist.
func (p *reader) find(c *clause, noun, by string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	for _, name := range listSep().Split(by, -1) {
		name = strings.TrimPrefix(strings.TrimSpace(name), "@")
		if name == "" {
			continue
		}
		if name == "text" || name == "keyword" || name == "date" && e.named("date") < 0 && e.named("created_at") >= 0 {
			continue
		}
		if e.named(snake(name)) < 0 && (p.entity(name) == nil || e.refTo(p.entity(name).Noun) == nil) && e.field(snake(name)+"_id") == nil {
			return false
		}
	}
	p.cover(c.raw, "GET /%s takes every field as a filter, q to search, sort, limit and offset", kebab(e.Plural))
	return true
}

// overdue: a list of rows past their due time that are not over.
func (p *reader) overdue(c *clause, noun string) bool {
	e := p.entity(noun)
	if e == nil || p.dueField(e) == "" {
		return false
	}
	active, ok := p.active(e.Noun)
	if !ok {
		return false
	}
	e = p.entity(noun)
	e.Fields = append(e.Fields, Field{Name: "overdue", Type: Bool, ReadOnly: true})
	p.addRule(Rule{Kind: RuleOverdue, Clause: c.raw, Entity: e.Noun, Field: "overdue", Other: p.dueField(e), Active: active})
	return true
}
