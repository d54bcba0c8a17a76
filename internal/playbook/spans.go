package playbook

import (
	"slices"
	"strings"
)

// span: an interval is at most, or at least, so long.
func (p *reader) span(c *clause, noun, n, unit, bound string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	start, end, of, ok := e.interval()
	if !ok || of != "" || e.field(start).Type == Date && unit != "day" {
		return false
	}
	return p.addRule(Rule{Kind: RuleSpan, Clause: c.raw, Entity: e.Noun, Start: start, End: end, N: cardinal(n), Unit: unit, Verb: bound})
}

// perTime: a parent has at most n children in a day, a week or a month. The
// day is that of the child's own date, or of its creation when it has none.
func (p *reader) perTime(c *clause, parent, child, n, unit string) bool {
	a, b := p.entity(parent), p.entity(child)
	if a == nil || b == nil || a == b || cardinal(n) < 1 {
		return false
	}
	noun := b.Noun
	if b.refTo(a.Noun) == nil {
		if noun = p.join(a.Noun, b.Noun); noun == "" {
			for _, w := range strings.Fields(strings.ToLower(c.raw)) {
				if _, ok := known().words.Links[base(w)]; ok && !p.isEntityWord(w) && noun == "" {
					noun = p.linkFor(w, a.Noun, b.Noun)
				}
			}
		}
	}
	if noun == "" {
		return false
	}
	e := p.entity(noun)
	at, dates := "", 0
	for _, f := range e.Fields {
		if (f.Type == Date || f.Type == Timestamp) && !f.ReadOnly && !f.Optional && f.Name != "ends_at" && e.firstField(endNames) != e.field(f.Name) {
			at, dates = f.Name, dates+1
		}
	}
	if dates > 1 {
		f := e.firstField(startNames)
		if f == nil {
			return false // which of two?
		}
		at = f.Name
	}
	if dates == 0 {
		at = "created_at"
	}
	if at == "created_at" || e.field(at).Now {
		for _, f := range e.Fields { // "two classes a day": of the class, not of the booking
			if f.Type == Reference && f.Ref != a.Noun && slices.ContainsFunc(p.entity(f.Ref).Fields, func(d Field) bool { return d.Type == Date || d.Type == Timestamp }) {
				return false
			}
		}
	}
	return p.addRule(Rule{Kind: RuleLimit, Clause: c.raw, Entity: noun, Field: e.refTo(p.entity(parent).Noun).Name, N: cardinal(n), Unit: unit, Start: at})
}
