package playbook

import (
	"fmt"
	"slices"
	"strings"
)

// reader turns the clauses of one task into a Spec. A clause that no pattern
// accounts for as a whole is uncovered; nothing is skipped in silence.
type reader struct {
	spec    *Spec
	task    string
	nouns   map[string]string // singular as written to the entity's noun
	clauses []clause
	last    string // noun of the subject of the clause before
	secure  bool
	// fallback is what the headline calls the service by: its one resource, if
	// nothing names another.
	fallback string
	signed   bool
	memory   bool
	linked   map[string]bool // pairs of nouns that are connected many to many
	mutual   []mutual        // named in the headline
	// passwordMin is the shortest password, when the task says so.
	passwordMin int
}

// Parse reads a task in English. It never fails: what it does not understand
// is in Uncovered, and Archetype is Unknown when that is all of it.
func Parse(task string, facts Facts) Spec {
	if spec, ok := parseOther(task, facts); ok {
		return spec
	}
	return parseService(task, facts)
}

func parseService(task string, facts Facts) Spec {
	spec := Spec{Archetype: Service, Task: task, Features: Features{PaginationLimit: 100}}
	p := &reader{spec: &spec, task: task, nouns: map[string]string{}, linked: map[string]bool{}}
	p.clauses = p.statements(task)
	p.findEntities()
	p.fillKnown()
	p.manyToMany()
	p.eachOpen(p.structure)
	p.fillLinks()
	p.eachOpen(p.constraint)
	p.eachOpen(p.rule)
	p.eachOpen(p.rule) // again: what a rule needs may stand after it
	p.finish(facts)
	for i := range p.clauses {
		if !p.clauses[i].done && !slices.Contains(spec.Uncovered, p.clauses[i].raw) {
			spec.Uncovered = append(spec.Uncovered, p.clauses[i].raw)
		}
	}
	if len(spec.Entities) == 0 {
		spec = Spec{Task: task, Name: spec.Name, Uncovered: []string{strings.TrimSpace(task)}}
	}
	return spec
}

// eachOpen gives the clauses that nobody understood yet to one pass.
func (p *reader) eachOpen(pass func(c *clause, s string) bool) {
	for i := range p.clauses {
		c := p.clauses[i] // a copy: a pass may add clauses
		subject := p.subject(c.toks)
		if !c.done {
			s := p.canonical(c.toks)
			for _, pronoun := range []string{"it ", "they ", "these ", "those ", "this ", "that "} {
				if rest, ok := strings.CutPrefix(s, pronoun); ok && p.last != "" {
					s = "@" + snake(p.last) + " " + rest
				}
			}
			s = p.joinValues(s)
			if c.label != "" {
				if noun, ok := p.nouns[singular(strings.ToLower(c.label))]; ok && !strings.HasPrefix(s, "@") {
					s = "@" + snake(noun) + " has " + s
				}
			}
			p.clauses[i].done = pass(&c, s)
		}
		if subject != "" {
			p.last = subject
		}
	}
}

// joinValues writes values of two words, such as "in progress", as one.
func (p *reader) joinValues(s string) string {
	for _, e := range p.spec.Entities {
		for _, f := range e.Fields {
			for _, v := range f.Values {
				if two := strings.ReplaceAll(v, "_", " "); two != v {
					s = strings.TrimSpace(strings.ReplaceAll(" "+s+" ", " "+two+" ", " "+v+" "))
				}
			}
		}
	}
	return s
}

// subject is the first entity of a clause.
func (p *reader) subject(toks []lexeme) string {
	for i := range toks {
		if noun, n := p.entityAt(toks, i); n > 0 {
			return noun
		}
	}
	return ""
}

func (p *reader) uncovered(text string) {
	text = strings.Trim(text, " ,.;:")
	if text != "" && !slices.Contains(p.spec.Uncovered, text) {
		p.spec.Uncovered = append(p.spec.Uncovered, text)
	}
}

func (p *reader) cover(clause, as string, args ...any) {
	p.spec.Covered = append(p.spec.Covered, Covered{Clause: clause, As: fmt.Sprintf(as, args...)})
}

func (p *reader) assume(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(p.spec.Assumptions, text) {
		p.spec.Assumptions = append(p.spec.Assumptions, text)
	}
}

func (p *reader) entity(noun string) *Entity { return p.spec.entity(noun) }

func (s *Spec) entity(noun string) *Entity {
	for i := range s.Entities {
		if s.Entities[i].Noun == noun || snake(s.Entities[i].Noun) == noun {
			return &s.Entities[i]
		}
	}
	return nil
}

// Entity returns the entity with that noun, singular.
func (s Spec) Entity(noun string) (Entity, bool) {
	if e := s.entity(noun); e != nil {
		return *e, true
	}
	return Entity{}, false
}

func (e *Entity) field(name string) *Field {
	for i := range e.Fields {
		if e.Fields[i].Name == name {
			return &e.Fields[i]
		}
	}
	return nil
}

// Field returns the field with that name.
func (e Entity) Field(name string) (Field, bool) {
	if f := e.field(name); f != nil {
		return *f, true
	}
	return Field{}, false
}

// add makes an entity of noun, or finds it.
func (p *reader) add(noun string) *Entity {
	noun = singular(strings.ReplaceAll(noun, "_", " "))
	if e := p.entity(noun); e != nil {
		return e
	}
	p.spec.Entities = append(p.spec.Entities, Entity{Noun: noun, Plural: plural(noun)})
	p.nouns[noun] = noun
	return &p.spec.Entities[len(p.spec.Entities)-1]
}

// refTo is the first field of e that refers to noun.
func (e *Entity) refTo(noun string) *Field {
	for i := range e.Fields {
		if e.Fields[i].Type == Reference && e.Fields[i].Ref == noun {
			return &e.Fields[i]
		}
	}
	return nil
}

// ensureRef gives noun a reference to target, and returns its name.
func (p *reader) ensureRef(noun, target string) string {
	e := p.entity(noun)
	if f := e.refTo(target); f != nil {
		return f.Name
	}
	name := snake(target) + "_id"
	if f := e.field(snake(target)); f != nil && f.Type == String {
		*f = Field{Name: name, Type: Reference, Ref: target, Optional: f.Optional}
		return name
	}
	e.Fields = append([]Field{{Name: name, Type: Reference, Ref: target}}, e.Fields...)
	return name
}

// fillKnown gives entities without declared fields the usual ones.
func (p *reader) fillKnown() {
	for i := range p.clauses { // "X has …" declares, wherever it stands
		if m := hasClause().FindStringSubmatch(p.canonical(p.clauses[i].toks)); m != nil {
			if e := p.entity(m[1]); e != nil && p.declares(m[2]) {
				e.Declared = true
			}
		}
	}
	for i := range p.spec.Entities {
		p.useKnown(p.spec.Entities[i].Noun)
	}
}

var hasClause = pattern(`^@(\w+) (?:must )?(?:has|have|consists? of|contains?|includes?|stores?|is described by|is made up of|comes? with) (.+)$`)

var bounded = pattern(`^at (?:most|least) (?:#|as |of )`)

// declares reports whether what follows "has" names fields of its own, and
// not only relations or limits.
func (p *reader) declares(rest string) bool {
	own := slices.ContainsFunc(listSep().Split(rest, -1), func(s string) bool { return s != "" && !strings.Contains(s, "@") })
	return own && !counted().MatchString(rest) && !bounded().MatchString(rest) && !strings.HasPrefix(rest, "only") && !strings.HasPrefix(rest, "#")
}

func (p *reader) useKnown(noun string) {
	e := p.entity(noun)
	if e.Declared || slices.ContainsFunc(e.Fields, func(f Field) bool { return f.Type != Reference }) {
		return
	}
	hint, ok := known().nouns[noun]
	if !ok {
		last := noun[strings.LastIndexByte(noun, ' ')+1:]
		hint, ok = known().nouns[last]
	}
	if !ok {
		e.Fields = append(e.Fields, Field{Name: "name", Type: String})
		p.assume("The task gives %s no fields: each has a name.", plural(noun))
		p.uncovered(p.quote(e))
		return
	}
	if (noun == "booking" || noun == "reservation") && p.takesPlaces() {
		e.Fields = append(e.Fields, Field{Name: "booked_at", Type: Timestamp, Now: true}) // the class has the times
		hint.Fields = ""
	}
	if hint.Fields != "" {
		p.fields(noun, tokenize(hint.Fields), hint.Fields)
	}
	e = p.entity(noun)
	var names []string
	for _, f := range e.Fields {
		names = append(names, f.Name)
	}
	if len(names) > 0 {
		p.assume("The task gives %s no fields: each has %s.", plural(noun), strings.Join(names, ", "))
	}
}

// takesPlaces reports whether bookings of the service are places in what has
// times of its own, and not times of a room.
func (p *reader) takesPlaces() bool {
	offered := set([]string{"class", "event", "course", "workshop", "session", "flight", "tour", "show", "screening", "trip", "lesson"})
	return slices.ContainsFunc(p.spec.Entities, func(e Entity) bool { return offered[e.Noun] }) && !slices.ContainsFunc(p.spec.Entities, func(e Entity) bool { return isPlace(e.Noun) })
}

// quote is the entity in the words of the task.
func (p *reader) quote(e *Entity) string {
	for _, form := range []string{e.Plural, e.Noun} {
		if i := strings.Index(strings.ToLower(p.task), form); i >= 0 {
			return p.task[i : i+len(form)]
		}
	}
	return e.Plural
}

// fillLinks connects resources that stand between others, where the task
// left the connection to the reader.
func (p *reader) fillLinks() {
	for i := range p.spec.Entities {
		if e := &p.spec.Entities[i]; len(e.Fields) == 0 {
			if _, ok := known().nouns[e.Noun]; ok {
				e.Declared = false // what it was given were not fields
				p.useKnown(e.Noun)
			}
		}
	}
	p.namedLinks()
	joins := map[string]bool{"appointment": true, "assignment": true, "trip": true, "application": true, "checkout": true, "ticket": true}
	for _, noun := range known().words.Links {
		joins[noun] = true
	}
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		hint := known().nouns[e.Noun]
		linked := slices.ContainsFunc(e.Fields, func(f Field) bool { return f.Type == Reference })
		if e.Declared && linked {
			continue
		}
		for _, target := range slices.Backward(hint.Links) {
			t := p.entity(target)
			if t == nil || e.refTo(target) != nil || t.refTo(e.Noun) != nil || p.linked[e.Noun+" "+target] {
				continue
			}
			if f := e.field(snake(target)); f != nil && e.Declared {
				continue
			}
			name := p.ensureRef(e.Noun, target)
			f := e.field(name)
			f.Optional = !joins[e.Noun] && !hint.Part
			p.assume("%s", linkAssumption(e.Noun, target, name))
		}
	}
}

// namedLinks makes references of fields such as user_id, where the service has
// users.
func (p *reader) namedLinks() {
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		for k := range e.Fields {
			f := &e.Fields[k]
			noun, isID := strings.CutSuffix(f.Name, "_id")
			target := p.entity(noun)
			if !isID || target == nil || target == e || f.Pattern != "" || f.Type != String && f.Type != Int && f.Type != UUID || e.refTo(target.Noun) != nil {
				continue
			}
			before := f.Describe()
			f.Type, f.Ref = Reference, target.Noun
			for c := range p.spec.Covered {
				if p.spec.Covered[c].As == fmt.Sprintf("field %s of %s: %s", f.Name, e.Noun, before) {
					p.spec.Covered[c].As = fmt.Sprintf("field %s of %s: %s", f.Name, e.Noun, f.Describe())
				}
			}
			p.assume("%s", linkAssumption(e.Noun, target.Noun, f.Name))
		}
	}
}

func linkAssumption(noun, target, field string) string {
	return fmt.Sprintf("Each %s refers to %s %s by %s.", noun, article(target), target, field)
}

// join is the resource that refers to both nouns, or "".
func (p *reader) join(a, b string) string {
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		if e.refTo(a) != nil && e.refTo(b) != nil {
			return e.Noun
		}
	}
	return ""
}

// linkFor makes or finds the resource that a verb sets between two nouns.
func (p *reader) linkFor(verb, a, b string) string {
	if noun := p.join(a, b); noun != "" {
		return noun
	}
	noun, ok := known().words.Links[snake(base(verb))]
	if !ok || noun == a || noun == b {
		return ""
	}
	if p.entity(noun) == nil {
		e := p.add(noun)
		if (noun == "booking" || noun == "reservation") && !isPlace(b) {
			e.Fields = []Field{{Name: "booked_at", Type: Timestamp, Now: true}} // a place in a class has no times of its own
		}
		p.useKnown(noun)
		p.assume("What %s do when they %s is kept as %s.", plural(a), base(verb), plural(noun))
	}
	p.ensureRef(noun, b)
	p.ensureRef(noun, a)
	return noun
}

// base is the plain form of a verb.
func base(verb string) string {
	verb = strings.ReplaceAll(strings.ReplaceAll(verb, " in", ""), " for", "")
	verb = strings.TrimSuffix(strings.TrimSuffix(verb, " to"), " out")
	irregular := map[string]string{"lent": "lend", "booked": "book", "rented": "rent", "reserved": "reserve", "bought": "buy", "checked": "check_out", "check": "check_out",
		"borrowed": "borrow", "parked": "park", "loaned": "loan", "enrolled": "enroll", "enrolls": "enroll", "registered": "register", "ordered": "order", "rated": "rate", "reviewed": "review",
		"returned": "return", "cancelled": "cancel", "completed": "complete", "closed": "close", "paid": "pay", "shipped": "ship", "published": "publish", "archived": "archive",
		"approved": "approve", "rejected": "reject", "deleted": "delete", "updated": "update", "edited": "edit", "changed": "change", "hired": "rent", "hire": "rent", "subscribed": "subscribe"}
	if b, ok := irregular[verb]; ok {
		return b
	}
	return verb
}

// finish settles what only the whole task decides.
func (p *reader) finish(facts Facts) {
	s := p.spec
	for i := range s.Entities {
		if e := &s.Entities[i]; len(e.Fields) == 0 {
			e.Declared = false
			p.useKnown(e.Noun)
			if len(e.Fields) == 0 {
				e.Fields = append(e.Fields, Field{Name: "name", Type: String})
				p.uncovered(p.quote(e))
			}
		}
	}
	p.finishAuth()
	p.finishOpen()
	p.finishStates()
	p.mixed()
	p.cancelled()
	p.requireChoice()
	p.timesOfDay()
	p.restoreCase()
	p.respell()
	for i := range s.Rules {
		s.Rules[i].ID = fmt.Sprintf("R%d", i+1)
	}
	for _, r := range s.Rules {
		p.cover(r.Clause, "%s", r.Describe(*s))
	}
	if s.Name == "" && len(s.Entities) > 0 {
		s.Name = s.Entities[0].Plural
	}
	s.Name = kebab(s.Name)
	if s.Name == "" {
		s.Name = kebab(facts.Name)
	}
}
