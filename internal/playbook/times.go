package playbook

import "strings"

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
