package playbook

import (
	"slices"
	"strings"
)

// limit: a parent has at most n children. Where another resource stands
// between them (a loan between member and book), its rows are counted.
func (p *reader) limit(c *clause, parent, child string, n int, when string) bool {
	a, b := p.entity(parent), p.entity(child)
	if a == nil || b == nil || a == b || n < 1 {
		return false
	}
	words := strings.ToLower(c.raw)
	noun, ref := "", ""
	switch {
	case b.refTo(a.Noun) != nil:
		noun, ref = b.Noun, b.refTo(a.Noun).Name
	case p.join(a.Noun, b.Noun) != "":
		noun = p.join(a.Noun, b.Noun)
		ref = p.entity(noun).refTo(a.Noun).Name
	case a.refTo(b.Noun) != nil:
		return false
	default:
		for _, w := range strings.Fields(words) {
			if _, ok := known().words.Links[base(w)]; ok && !p.isEntityWord(w) {
				if noun = p.linkFor(w, a.Noun, b.Noun); noun != "" {
					ref = p.entity(noun).refTo(a.Noun).Name
				}
				break
			}
		}
		if noun == "" {
			noun, ref = b.Noun, p.ensureRef(b.Noun, a.Noun)
		}
	}
	r := Rule{Kind: RuleLimit, Clause: c.raw, Entity: noun, Field: ref, N: n}
	now := strings.TrimSpace(when) != "" || strings.Contains(words, "at a time") || strings.Contains(words, "at once") || strings.Contains(words, "simultaneous") || strings.Contains(words, "same time") || strings.Contains(words, "concurrent")
	if strings.Contains(words, "in total") || strings.Contains(words, "overall") {
		now = false
	} else if known().nouns[noun].Done != "" {
		now = true
	}
	if strings.Contains(words, "per day") || strings.Contains(words, "per week") || strings.Contains(words, "per month") {
		return false
	}
	if adjective := strings.TrimSpace(when); now && adjective != "" && adjective != "at_once" && adjective != "at most" {
		if f, want, ok := p.entity(noun).state(adjective); ok {
			r.Active = Active{Field: f.Name}
			if f.Type == Bool {
				r.Active.Not = []string{map[string]string{"true": "false", "false": "true"}[want]}
			} else {
				for _, v := range f.Values {
					if v != want {
						r.Active.Not = append(r.Active.Not, v)
					}
				}
			}
			return p.addRule(r)
		}
		if adjective == "pending" || adjective == "confirmed" {
			return false
		}
	}
	if now {
		active, ok := p.active(noun)
		if !ok {
			return false
		}
		r.Active = active
	}
	return p.addRule(r)
}

func (p *reader) isEntityWord(w string) bool {
	_, ok := p.nouns[singular(w)]
	return ok && isPlural(w)
}

// active says which rows of noun are not over yet, and gives the resource an
// end where English implies one.
func (p *reader) active(noun string) (Active, bool) {
	e := p.entity(noun)
	for _, name := range []string{"returned_at", "ended_at", "closed_at", "cancelled_at", "finished_at", "completed_at", "checked_out_at", "exited_at", "left_at", "delivered_at", "resolved_at", "return_date", "returned_on"} {
		if f := e.field(name); f != nil && (name != "return_date" || f.Optional) {
			f.Optional = true
			return Active{Empty: name}, true
		}
	}
	for _, f := range e.Fields {
		if f.Type != Enum {
			continue
		}
		var not []string
		for _, v := range f.Values {
			if known().final[v] {
				not = append(not, v)
			}
		}
		if len(not) > 0 && len(not) < len(f.Values) {
			return Active{Field: f.Name, Not: not}, true
		}
	}
	for _, name := range []string{"returned", "completed", "done", "closed", "finished", "cancelled"} {
		if f := e.field(name); f != nil && f.Type == Bool {
			return Active{Field: name, Not: []string{"true"}}, true
		}
	}
	if f := e.field("active"); f != nil && f.Type == Bool {
		return Active{Field: "active", Not: []string{"false"}}, true
	}
	if hint := known().nouns[noun]; hint.Done != "" {
		e.Fields = append(e.Fields, Field{Name: hint.Done, Type: Timestamp, Optional: true})
		p.assume("Each %s counts until its %s is set.", noun, hint.Done)
		return Active{Empty: hint.Done}, true
	}
	return Active{}, false
}

// cancelled keeps rows that were cancelled out of every count.
func (p *reader) cancelled() {
	for i := range p.spec.Rules {
		r := &p.spec.Rules[i]
		if r.Kind != RuleLimit && r.Kind != RuleCapacity || r.Active.Empty != "" || r.Active.Field != "" {
			continue
		}
		for _, f := range p.entity(r.Entity).Fields {
			switch {
			case f.Name == "cancelled_at" && f.Optional:
				r.Active = Active{Empty: f.Name}
			case f.Name == "cancelled" && f.Type == Bool:
				r.Active = Active{Field: f.Name, Not: []string{"true"}}
			case f.Type == Enum && slices.Contains(f.Values, "cancelled"):
				r.Active = Active{Field: f.Name, Not: []string{"cancelled"}}
			}
		}
	}
}

// exclusive: a thing has at most n holders at a time. With a start and an end
// that clients choose, "at a time" means that intervals don't overlap.
func (p *reader) exclusive(c *clause, thing, holder string, n int, text string) bool {
	a := p.entity(thing)
	if a == nil {
		return false
	}
	noun := ""
	if holder != "" {
		b := p.entity(holder)
		if b == nil {
			return false
		}
		if b.refTo(a.Noun) != nil { // "a vehicle can be assigned to one driver": the driver names it
			noun = b.Noun
		} else if noun = p.join(a.Noun, b.Noun); noun == "" {
			for _, w := range strings.Fields(strings.ToLower(c.raw)) {
				if w == a.Noun || w == b.Noun {
					continue // the book of "a book can be …" is no verb
				}
				if noun = p.linkFor(w, b.Noun, a.Noun); noun != "" {
					break
				}
			}
		}
	} else {
		for i := range p.spec.Entities {
			e := &p.spec.Entities[i]
			if e.refTo(a.Noun) == nil || known().nouns[e.Noun].Done == "" && !e.hasInterval() {
				continue
			}
			if noun != "" {
				return false // which of two?
			}
			noun = e.Noun
		}
	}
	if noun == "" {
		return false
	}
	return p.exclusiveIn(c, thing, noun, holder, n, text)
}

func (p *reader) exclusiveIn(c *clause, thing, noun, holder string, n int, text string) bool {
	a, e := p.entity(thing), p.entity(noun)
	if a == nil || e == nil || a == e || n < 1 {
		return false
	}
	if holder != "" && e.Noun != holder && snake(e.Noun) != holder {
		b := p.entity(holder)
		if b == nil {
			return false
		}
		p.ensureRef(noun, b.Noun)
	}
	ref := p.ensureRef(noun, a.Noun)
	e = p.entity(noun)
	now := strings.Contains(text, "at_once")
	if e.hasInterval() && (now || strings.Contains(text, "overlap") || strings.Contains(text, "twice") || strings.Contains(text, "double")) {
		if n != 1 {
			return false
		}
		return p.overlap(c, noun, thing, "")
	}
	r := Rule{Kind: RuleLimit, Clause: c.raw, Entity: e.Noun, Field: ref, N: n}
	active, ok := p.active(noun)
	if ok {
		r.Active = active
	} else if now {
		return false
	}
	return p.addRule(r)
}

var (
	startNames = []string{"starts_at", "start_at", "start_time", "start_date", "start", "starts", "starts_on", "check_in", "check_in_date", "checkin", "check_in_at", "checkin_date", "begins_at", "begin", "from", "from_date", "from_time", "pickup_date", "pick_up_date", "pick-up_date", "pickup_at", "arrival_date", "arrival", "started_at", "starting_at", "start_datetime", "scheduled_at", "time", "date_time", "appointment_time", "date", "borrowed_at", "loaned_at", "loan_date", "borrow_date", "checkout_date", "issued_at", "issue_date"}
	endNames   = []string{"ends_at", "end_at", "end_time", "end_date", "end", "ends", "ends_on", "check_out", "check_out_date", "checkout", "check_out_at", "checkout_date", "finishes_at", "until", "to", "to_date", "to_time", "dropoff_date", "drop_off_date", "return_date", "departure_date", "departure", "ending_at", "end_datetime"}
)

func (e *Entity) firstField(names []string) *Field {
	for _, n := range names {
		if f := e.field(n); f != nil && (f.Type == Timestamp || f.Type == Date) {
			return f
		}
	}
	return nil
}

// interval is the start and end of a row; the end may be a duration.
func (e *Entity) interval() (start, end, unit string, ok bool) {
	s := e.firstField(startNames)
	if s == nil {
		return "", "", "", false
	}
	if f := e.firstField(endNames); f != nil && f.Type == s.Type && f.Name != s.Name {
		return s.Name, f.Name, "", true
	}
	for _, f := range e.Fields {
		if f.Type == Int && s.Type == Timestamp && (strings.HasPrefix(f.Name, "duration") || strings.HasPrefix(f.Name, "length")) {
			if strings.HasSuffix(f.Name, "hours") {
				return s.Name, f.Name, "hour", true
			}
			return s.Name, f.Name, "minute", true
		}
	}
	return "", "", "", false
}

func (e *Entity) hasInterval() bool {
	_, end, _, ok := e.interval()
	return ok && !e.field(end).Optional
}

// overlap: intervals of noun with the same thing (or other thing) are disjoint.
func (p *reader) overlap(c *clause, noun, thing, other string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	start, end, unit, ok := e.interval()
	if !ok {
		hint, isKnown := known().nouns[e.Noun]
		if !isKnown || !strings.Contains(hint.Fields, "starts_at, ends_at") || e.firstField(startNames) != nil {
			return false
		}
		e.Fields = append(e.Fields, Field{Name: "starts_at", Type: Timestamp}, Field{Name: "ends_at", Type: Timestamp})
		p.assume("Each %s has starts_at and ends_at, which the task leaves open.", e.Noun)
		start, end = "starts_at", "ends_at"
	}
	if unit != "" {
		f := e.field(end)
		if f.Above == "" && f.Min == "" {
			f.Above = "0"
		}
		p.assume("The %s of a %s is in %ss.", end, e.Noun, unit)
	}
	if e.field(end).Optional {
		return false
	}
	things := []string{thing, other}
	if thing == "" {
		things = nil
		for _, f := range e.Fields {
			if f.Type == Reference && isPlace(f.Ref) {
				things = append(things, f.Ref)
			}
		}
		if len(things) == 0 {
			return false
		}
	}
	for _, t := range things {
		if t == "" {
			continue
		}
		target := p.entity(t)
		if target == nil {
			return false
		}
		ref := p.ensureRef(e.Noun, target.Noun)
		e = p.entity(noun)
		p.addRule(Rule{Kind: RuleOverlap, Clause: c.raw, Entity: e.Noun, Field: ref, Start: start, End: end, Unit: unit})
	}
	if unit == "" && !slices.ContainsFunc(p.spec.Rules, func(r Rule) bool { return r.Kind == RuleOrder && r.Entity == e.Noun }) {
		p.addRule(Rule{Kind: RuleOrder, Clause: c.raw, Entity: e.Noun, Start: start, End: end})
	}
	return true
}

// isPlace reports whether a noun is what "can't overlap" is about when the
// task does not say for what: the thing that is taken, and who serves there.
func isPlace(noun string) bool {
	return slices.Contains([]string{"doctor", "room", "court", "desk", "table", "vehicle", "car", "equipment", "spot", "parking spot", "stylist", "vet", "instructor", "teacher", "device", "asset", "bike", "meeting room", "venue", "bay", "dentist", "therapist", "trainer", "barber", "lawyer", "mechanic", "coach", "tutor", "patient"}, noun)
}

// pair: two resources are connected at most once.
func (p *reader) pair(c *clause, a, b, verb string) bool {
	x, y := p.entity(a), p.entity(b)
	if x == nil || y == nil {
		return false
	}
	words := strings.ToLower(c.raw)
	if strings.Contains(words, " can ") != (strings.Contains(words, "once") && !strings.Contains(words, "more than once") && !strings.Contains(words, "cannot")) && !strings.Contains(words, "not") && !strings.Contains(words, "may") && !strings.Contains(words, "can't") && !strings.Contains(words, "one time") {
		return false
	}
	noun := p.linkFor(strings.Fields(verb)[0], x.Noun, y.Noun)
	if noun == "" {
		return false
	}
	return p.pairOf(c, noun, x.Noun, y.Noun)
}

func (p *reader) pairOf(c *clause, noun, a, b string) bool {
	e, x, y := p.entity(noun), p.entity(a), p.entity(b)
	if e == nil || x == nil || y == nil || e == x || e == y || x == y {
		return false
	}
	ids := [2]string{x.Noun, y.Noun}
	fields := []string{p.ensureRef(e.Noun, ids[0]), p.ensureRef(e.Noun, ids[1])}
	return p.addRule(Rule{Kind: RulePair, Clause: c.raw, Entity: p.entity(noun).Noun, Fields: fields})
}

// daily: a thing is taken once on a date.
func (p *reader) daily(c *clause, thing, verb string) bool {
	a := p.entity(thing)
	e := p.entity(known().words.Links[base(verb)])
	if a == nil || e == nil || e.refTo(a.Noun) == nil {
		return false
	}
	day := ""
	for _, f := range e.Fields {
		if f.Type == Date && !f.ReadOnly {
			if day != "" {
				return false // which of two?
			}
			day = f.Name
		}
	}
	return day != "" && p.addRule(Rule{Kind: RulePair, Clause: c.raw, Entity: e.Noun, Fields: []string{e.refTo(a.Noun).Name, day}})
}

func (p *reader) together(c *clause, noun, a, b string) bool {
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		if noun != "" && snake(e.Noun) != noun {
			continue
		}
		x, y := e.named(snake(strings.TrimPrefix(a, "@"))), e.named(snake(strings.TrimPrefix(b, "@")))
		if x >= 0 && y >= 0 && x != y {
			return p.addRule(Rule{Kind: RulePair, Clause: c.raw, Entity: e.Noun, Fields: []string{e.Fields[x].Name, e.Fields[y].Name}})
		}
	}
	return false
}

// holds is the noun that rows of child refer to and that has the field.
func (p *reader) holds(child, parent, field string) string {
	e := p.entity(child)
	if e == nil || parent != "" {
		return parent
	}
	for _, f := range e.Fields {
		if f.Type == Reference && p.entity(f.Ref).field(field) != nil {
			return f.Ref
		}
	}
	return ""
}

// capacity: a parent's own field says how many children it takes.
func (p *reader) capacity(c *clause, parent, child, name string) bool {
	a := p.entity(parent)
	if a == nil {
		return false
	}
	names := []string{snake(name), "capacity", "seats", "max_" + plural(child), "max_participants", "max_attendees", "size", "places", "total_seats"}
	if name != "capacity" {
		names = names[:1]
	}
	field := ""
	for _, n := range names {
		if f := a.field(n); f != nil && f.Type == Int {
			field = n
			f.Optional = false
			if f.Min == "" && f.Above == "" {
				f.Min = "0"
			}
			break
		}
	}
	if field == "" && name == "capacity" {
		a.Fields = append(a.Fields, Field{Name: "capacity", Type: Int, Min: "0"})
		field = "capacity"
	}
	if field == "" {
		return false
	}
	var e *Entity
	if child != "" {
		e = p.entity(child)
		if e == nil {
			return false
		}
		if noun := p.join(a.Noun, e.Noun); noun != "" {
			e = p.entity(noun)
		}
	} else {
		for i := range p.spec.Entities {
			if p.spec.Entities[i].refTo(a.Noun) != nil {
				if e != nil {
					return false
				}
				e = &p.spec.Entities[i]
			}
		}
		if e == nil {
			return false
		}
	}
	noun := e.Noun
	r := Rule{Kind: RuleCapacity, Clause: c.raw, Entity: noun, Field: p.ensureRef(noun, a.Noun), Other: field}
	if active, ok := p.active(noun); ok {
		r.Active = active
	}
	return p.addRule(r)
}
