package playbook

import (
	"slices"
	"strings"
)

var (
	manyOf     = pattern(`^@(\w+) (?:can )?(?:has|have|contains?|includes?|owns?|consists? of|can own|can contain|can include) (?:many|multiple|several|#0 or (?:more|above)|any number of|list of|collection of|number of|more than #1)? ?@(\w+)$`)
	belongsTo  = pattern(`^@(\w+) (?:must |can |always )?(?:belongs?|is (?:written|made|placed|created|owned|posted|submitted|taught|given|assigned|linked|attached|associated|related|tied|booked|issued|recorded|left|authored|supplied|published|sold|held)|are (?:written|made|placed|created|owned|posted|submitted|taught|given|assigned|linked|attached|associated|related|tied|booked|issued|recorded|left|authored|supplied|published|sold|held)|is|are|be|references?|refers?|points?|links?|must be|be assigned|be linked)(?: (?:to|by|for|with|in|on|of|at|from))? (?:exactly )?(?:#1 )?((?:@\w+)(?: ?(?:,|and)(?: ?and)? ?(?:(?:to|by|for|with|in|on|of|at|from) )?(?:exactly )?(?:#1 )?@\w+)*)$`)
	ofOther    = pattern(`^@(\w+) (?:for|of|by|in|at|on) ((?:@\w+)(?: ?(?:,|and)(?: ?and)? ?(?:(?:by|for|in|on|of|at) )?@\w+)*)$`)
	connects   = pattern(`^@(\w+) (?:links?|connects?|joins?|ties?|relates?) @(\w+) (?:to|with|and) @(\w+)$`)
	assigned   = pattern(`^@(\w+) can (?:only )?be assigned (?:only )?to (?:only |at most )?#1 @(\w+) at_once$`)
	counted    = pattern(`^(?:between|exactly|from|above|under|enough|no) | of its own`)
	entityName = pattern(`@(\w+)`)
	statusIs   = pattern(`^@(\w+) (?:is|are|can be|must be|has status)(?: either| one of)? (\w[\w-]*(?: ?(?:,|or) ?(?:or )?\w[\w-]*)* or \w[\w-]*)$`)
	cascades   = pattern(`^(?:deleting|removing|when|if)? ?@(\w+)(?: is (?:deleted|removed))?,? ?(?:also )?(?:deletes|removes|delete|remove|cascades to|cascade to|cascades|takes with) (?:it |of |to )?@(\w+)$`)
	cascaded   = pattern(`^(?:@(\w+) (?:is|are|must be|get|gets) (?:also )?(?:deleted|removed) (?:with|together with|along with|when|if) @(\w+)(?: (?:is|are|gets) (?:deleted|removed))?|(?:when|if) @(\w+) (?:is|are|gets) (?:deleted|removed) ,? ?(?:@\w+ )?@(\w+) (?:is|are|must be|get) (?:also )?(?:deleted|removed)(?: too| as well)?)$`)
	kept       = pattern(`^(?:@(\w+) (?:with|that has|that have|having|which has|which have|who has|who have) (?:existing |any |open |active )?@(\w+) cannot be (?:deleted|removed)|@(\w+) cannot be (?:deleted|removed) (?:if|when|while|as long as) (?:it |they |@\w+ )?(?:still )?(?:has|have) (?:existing )?@(\w+)|(?:deleting|removing) @(\w+) (?:with|that has|that have|that still has|that still have|which has|who has) (?:existing |any )?@(\w+) (?:is |must be |returns? |gives? |fails with |results? in )?(?:refused|rejected|forbidden|denied|blocked|prevented|prohibited|fails?|cannot be allowed|cannot be possible|error|conflict|#409)(?: (?:with )?(?:#409|conflict|error))?)$`)
	inUse      = pattern(`^(?:@(\w+) (?:that|which) (?:is|are) (?:still )?(?:in use|used|referenced) cannot be (?:deleted|removed)|(?:deleting|removing) @(\w+) (?:that|which) (?:is|are) (?:still )?(?:in use|used|referenced|being used) (?:is |must be |returns? |gives? |fails with )?(?:refused|rejected|forbidden|denied|blocked|fails?|conflict|#409)(?: (?:with )?(?:#409|conflict|error))?|@(\w+) cannot be (?:deleted|removed) (?:if|when|while|as long as) (?:it is |they are |still )*(?:in use|used|referenced))$`)
)

// structure reads what resources have and how they refer to each other.
func (p *reader) structure(c *clause, s string) bool {
	if noun, ok := p.nouns[singular(strings.ToLower(c.label))]; ok && (c.fields || subjectLength(c.toks) < 0) {
		p.fields(noun, c.toks, c.raw)
		return true
	}
	if m := manyOf().FindStringSubmatch(s); m != nil && isPlural(c.toks[len(c.toks)-1].text) {
		parent, child := p.entity(m[1]), p.entity(m[2])
		if parent == nil || child == nil || parent == child || parent.refTo(child.Noun) != nil {
			return false
		}
		if between := p.join(parent.Noun, child.Noun); between != "" {
			p.cover(c.raw, "each %s names %s %s and %s %s", between, article(parent.Noun), parent.Noun, article(child.Noun), child.Noun)
			return true
		}
		name := p.ensureRef(child.Noun, parent.Noun)
		p.cover(c.raw, "%s of a %s names its %s; GET /%s/{id}/%s lists them", name, child.Noun, parent.Noun, kebab(parent.Plural), kebab(child.Plural))
		return true
	}
	m := ofOther().FindStringSubmatch(s)
	if m == nil {
		m = belongsTo().FindStringSubmatch(s)
	}
	if m != nil && !strings.Contains(s, " is @") {
		child := p.entity(m[1])
		optional := strings.Contains(s, " can belong")
		for _, t := range entityName().FindAllStringSubmatch(m[2], -1) {
			target := p.entity(t[1])
			if child == nil || target == nil || child.Noun == target.Noun {
				return false
			}
			name := p.ensureRef(child.Noun, target.Noun)
			child = p.entity(m[1])
			child.field(name).Optional = optional
			p.cover(c.raw, "%s of a %s must name an existing %s", name, child.Noun, target.Noun)
		}
		return true
	}
	if m := connects().FindStringSubmatch(s); m != nil {
		a, b := p.entity(m[2]), p.entity(m[3])
		if e := p.entity(m[1]); e == nil || a == nil || b == nil || e == a || e == b || a == b {
			return false
		}
		an, bn := a.Noun, b.Noun
		p.ensureRef(m[1], bn)
		p.ensureRef(m[1], an)
		p.cover(c.raw, "each %s names %s %s and %s %s", strings.ReplaceAll(m[1], "_", " "), article(an), an, article(bn), bn)
		return true
	}
	if m := assigned().FindStringSubmatch(s); m != nil {
		a, b := p.entity(m[1]), p.entity(m[2])
		if a == nil || b == nil || a == b || b.refTo(a.Noun) != nil || p.join(a.Noun, b.Noun) != "" || p.entity("assignment") != nil {
			return false
		}
		had := a.refTo(b.Noun) != nil
		name := p.ensureRef(a.Noun, b.Noun)
		f := p.entity(m[1]).field(name)
		f.Optional = f.Optional || !had
		p.cover(c.raw, "%s of %s %s names one %s or none", name, article(a.Noun), a.Noun, b.Noun)
		return true
	}
	if m := hasClause().FindStringSubmatch(s); m != nil && p.entity(m[1]) != nil {
		rest := m[2]
		if bounded().MatchString(rest) || strings.HasPrefix(rest, "only") || strings.HasPrefix(rest, "#") || subordinators[strings.Fields(rest)[0]] || counted().MatchString(rest) {
			return false
		}
		n := slices.IndexFunc(c.toks, func(t lexeme) bool {
			return t.text == "has" || t.text == "have" || strings.HasPrefix(t.text, "consist") || strings.HasPrefix(t.text, "contain") || strings.HasPrefix(t.text, "include") || strings.HasPrefix(t.text, "store") || t.text == "by" || t.text == "of" || t.text == "with"
		})
		if n < 0 || n+1 >= len(c.toks) {
			return false
		}
		toks := c.toks[n+1:]
		if toks[0].text == "of" {
			toks = toks[1:]
		}
		if len(toks) == 0 {
			return false
		}
		p.fields(p.entity(m[1]).Noun, toks, c.raw)
		return true
	}
	if rest, ok := strings.CutPrefix(s, "@"); ok && strings.Contains(s, " can have ") {
		noun, list, _ := strings.Cut(rest, " can have ")
		e := p.entity(noun)
		if e == nil || strings.HasPrefix(list, "at most") || strings.HasPrefix(list, "only") || strings.HasPrefix(list, "#") || strings.Contains(list, "@") {
			return false
		}
		n := slices.IndexFunc(c.toks, func(t lexeme) bool { return t.text == "have" })
		before := len(e.Fields)
		p.fields(e.Noun, c.toks[n+1:], c.raw)
		for i := before; i < len(e.Fields); i++ {
			e.Fields[i].Optional = true
		}
		return true
	}
	if m := statusIs().FindStringSubmatch(s); m != nil {
		e := p.entity(m[1])
		values := splitValues(m[2])
		if e == nil || len(values) < 2 || slices.ContainsFunc(values, func(v string) bool { return guessType(v) == Bool && v == "deleted" }) {
			return false
		}
		e.setStatus(values)
		p.cover(c.raw, "status of a %s is one of %s", e.Noun, strings.Join(values, ", "))
		return true
	}
	return false
}

// setStatus makes status an enumeration of at least these values.
func (e *Entity) setStatus(values []string) *Field {
	f := e.field("status")
	if f == nil {
		if f = e.field("state"); f == nil || f.Type != Enum {
			e.Fields = append(e.Fields, Field{Name: "status"})
			f = &e.Fields[len(e.Fields)-1]
		}
	}
	f.Type = Enum
	for _, v := range values {
		if !slices.Contains(f.Values, v) {
			f.Values = append(f.Values, v)
		}
	}
	if f.Default == "" {
		f.Default = f.Values[0]
	}
	return f
}

// constraint reads what is said about fields that exist, and about deletion.
func (p *reader) constraint(c *clause, s string) bool {
	if m := cascaded().FindStringSubmatch(s); m != nil {
		return p.cascade(c, m[2]+m[3], m[1]+m[4])
	}
	if m := cascades().FindStringSubmatch(s); m != nil && (strings.HasPrefix(s, "deleting") || strings.HasPrefix(s, "removing")) {
		return p.cascade(c, m[1], m[2])
	}
	if m := kept().FindStringSubmatch(s); m != nil {
		return !strings.Contains(s, "open @") && !strings.Contains(s, "active @") && p.keep(c, m[1]+m[3]+m[5], m[2]+m[4]+m[6])
	}
	if m := inUse().FindStringSubmatch(s); m != nil {
		return p.keep(c, m[1]+m[2]+m[3], "")
	}
	if m := negative().FindStringSubmatch(s); m != nil {
		s = strings.TrimSpace(m[1]+" "+m[2]) + " non-negative"
	}
	if m := ofEntity().FindStringSubmatch(s); m != nil {
		s = m[2] + " " + m[1] + " " + m[3]
	}
	noun := ""
	if strings.HasPrefix(s, "@") {
		noun, s, _ = strings.Cut(s[1:], " ")
		if p.entity(noun) == nil {
			return false
		}
	}
	if strings.Contains(s, "@") && !scopedUnique().MatchString(s) || strings.Contains(s, " can have ") {
		return false
	}
	r := p.readField(s)
	if len(r.edits) == 0 && r.scoped == "" {
		return false
	}
	var names []string
	for _, name := range listSep().Split(r.name, -1) {
		name = snake(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(name), " field")))
		if name == "" {
			return false
		}
		names = append(names, name)
	}
	type target struct{ e, f int }
	var targets []target
	for _, name := range names {
		found := false
		for _, only := range []string{noun, p.last, "*"} {
			if only == "" {
				continue
			}
			for i := range p.spec.Entities {
				e := &p.spec.Entities[i]
				if only != "*" && e.Noun != strings.ReplaceAll(only, "_", " ") {
					continue
				}
				if f := e.named(name); f >= 0 {
					targets = append(targets, target{i, f})
					found = true
				}
			}
			if found || noun != "" {
				break
			}
		}
		if !found {
			return false
		}
	}
	for _, t := range targets {
		f := p.spec.Entities[t.e].Fields[t.f]
		for _, edit := range r.edits {
			edit(&f)
		}
		if f.Type == Enum && f.Default == "" && len(f.Values) > 0 {
			f.Default = f.Values[0]
		}
		if f.Pattern != "" && !p.resolveForm(&f) || f.Fold && f.Type != String && f.Type != Text {
			return false
		}
		if !boundsFit(f) || f.Default != "" && !validDefault(f) {
			return false
		}
		p.spec.Entities[t.e].Fields[t.f] = f
		if r.scoped != "" && !p.scope(&p.spec.Entities[t.e], f.Name, r.scoped, c.raw) {
			return false
		}
		p.cover(c.raw, "%s of a %s: %s", f.Name, p.spec.Entities[t.e].Noun, f.Describe())
	}
	return true
}

var (
	negative = pattern(`^(?:no )?(@\w+)? ?(?:cannot|can) have negative (\w+(?: \w+)?)$`)
	ofEntity = pattern(`^(\w+(?: \w+)?) of (@\w+) ((?:must|cannot|is|are|can|defaults) .+)$`)
)

// named is the index of the field that a task calls name, or -1.
func (e *Entity) named(name string) int {
	candidates := []string{name, singular(name)}
	if i := strings.LastIndexByte(name, '_'); i >= 0 {
		candidates = append(candidates, name[:i+1]+singular(name[i+1:]))
	}
	for _, n := range candidates {
		for _, alias := range []string{n, n + "_at", n + "_date", n + "_time", n + "s_at", n + "_on", n + "_id"} {
			for i := range e.Fields {
				if e.Fields[i].Name == alias {
					return i
				}
			}
		}
	}
	return -1
}

// keep: what others refer to can't be deleted.
func (p *reader) keep(c *clause, parent, child string) bool {
	a := p.entity(parent)
	if a == nil {
		return false
	}
	b := p.entity(child)
	if b != nil && b.refTo(a.Noun) == nil {
		b = p.entity(p.join(a.Noun, b.Noun))
	}
	for i := range p.spec.Entities {
		if e := &p.spec.Entities[i]; child == "" && e != a && e.refTo(a.Noun) != nil {
			if b != nil {
				return false // in use by which?
			}
			b = e
		}
	}
	if b == nil || b.refTo(a.Noun) == nil {
		return false
	}
	f := b.refTo(a.Noun)
	f.Cascade = false
	return p.addRule(Rule{Kind: RuleDeleteKeep, Clause: c.raw, Entity: b.Noun, Field: f.Name, Other: a.Noun})
}

func (p *reader) cascade(c *clause, parent, child string) bool {
	a, b := p.entity(parent), p.entity(child)
	if a == nil || b == nil {
		return false
	}
	f := b.refTo(a.Noun)
	if f == nil {
		return false
	}
	f.Cascade = true
	p.cover(c.raw, "deleting a %s deletes its %s", a.Noun, b.Plural)
	return true
}
