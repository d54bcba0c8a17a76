package playbook

import (
	"slices"
	"strings"
)

var (
	manyBetween = pattern(`^(?:(?:many-to-many|many to many)(?: relation| relationship| association)? between @(\w+) and @(\w+)|@(\w+) and @(\w+) (?:are|have|has|is|form) (?:in )?(?:many-to-many|many to many)(?: relation| relationship| association)?|@(\w+) (?:has|have|is|are) (?:in )?(?:many-to-many|many to many)(?: relation| relationship| association)? (?:with|to) @(\w+))$`)
	manyOneWay  = pattern(`^@(\w+) (?:can |must )?((?:be |is |are )?\w+(?: (?:in|to|for|with|by|on|of|at|from))?) (?:many|multiple|several|any number of|#[01] or (?:more|above|many)) @(\w+)$`)
	owning      = set([]string{"have", "has", "contain", "contains", "include", "includes", "own", "owns", "hold", "holds"})
)

// facets are what other things have many of.
var facets = set([]string{"tag", "category", "genre", "label", "skill", "author", "ingredient", "artist", "role", "topic", "keyword", "allergen", "feature", "amenity"})

// mutual is two resources that the task connects many to many.
type mutual struct{ a, b, verb, clause string }

// manyToMany gives resources of which each has many of the other a resource
// between them, before anything reads one direction of it alone.
func (p *reader) manyToMany() {
	found := p.mutual
	p.eachOpen(func(c *clause, s string) bool {
		if m := manyBetween().FindStringSubmatch(s); m != nil {
			found = append(found, mutual{a: m[1] + m[3] + m[5], b: m[2] + m[4] + m[6], clause: c.raw})
			return false
		}
		m := manyOneWay().FindStringSubmatch(s)
		if m == nil || !isPlural(c.toks[len(c.toks)-1].text) || p.entity(m[1]) == nil || p.entity(m[3]) == nil || m[1] == m[3] {
			return false
		}
		one := mutual{a: m[1], b: m[3], verb: m[2], clause: c.raw}
		if !owning[m[2]] {
			found = append(found, one) // "a product belongs to many categories": a category has many, too
		} else {
			p.eachOpen(func(_ *clause, s string) bool {
				if o := manyOneWay().FindStringSubmatch(s); o != nil && o[1] == m[3] && o[3] == m[1] {
					found = append(found, one)
				}
				return false
			})
		}
		return false
	})
	for _, m := range found {
		if p.connectMany(m) {
			for i := range p.clauses {
				if p.clauses[i].raw == m.clause {
					p.clauses[i].done = true
				}
			}
		}
	}
}

// connectMany makes or finds the resource between two others.
func (p *reader) connectMany(m mutual) bool {
	a, b := p.entity(m.a), p.entity(m.b)
	if a == nil || b == nil || a == b {
		return false
	}
	if facets[a.Noun] && !facets[b.Noun] {
		a, b = b, a // an article tag, not a tag article
	}
	for _, pair := range [][2]*Entity{{a, b}, {b, a}} {
		pair[0].Fields = slices.DeleteFunc(pair[0].Fields, func(f Field) bool {
			return !pair[0].Declared && f.Type == Reference && f.Ref == pair[1].Noun // assumed, and for one
		})
		if pair[0].refTo(pair[1].Noun) != nil {
			return false
		}
	}
	an, bn := a.Noun, b.Noun
	p.linked[an+" "+bn], p.linked[bn+" "+an] = true, true
	noun := p.join(an, bn)
	if noun == "" {
		if i := slices.IndexFunc(p.spec.Entities, func(e Entity) bool {
			hint := known().nouns[e.Noun]
			return slices.Contains(hint.Links, an) && slices.Contains(hint.Links, bn)
		}); i >= 0 {
			noun = p.spec.Entities[i].Noun
			p.ensureRef(noun, bn)
			p.ensureRef(noun, an)
		}
	}
	if noun == "" && m.verb != "" {
		noun = p.linkFor(m.verb, an, bn)
	}
	if noun == "" {
		noun = an + " " + bn
		e := p.add(noun)
		e.Declared = true
		e.Fields = []Field{
			{Name: snake(an) + "_id", Type: Reference, Ref: an, Cascade: true, Immutable: true},
			{Name: snake(bn) + "_id", Type: Reference, Ref: bn, Cascade: true, Immutable: true},
		}
		p.addRule(Rule{Kind: RulePair, Clause: m.clause, Entity: noun, Fields: []string{snake(an) + "_id", snake(bn) + "_id"}})
		p.assume("Each %s connects %s %s and %s %s; it goes when one of them is deleted.", noun, article(an), an, article(bn), bn)
	}
	e := p.entity(noun)
	p.cover(m.clause, "each %s names %s %s and %s %s; GET /%s/{id}/%s and GET /%s/{id}/%s list them", noun, article(an), an, article(bn), bn, kebab(p.entity(an).Plural), kebab(e.Plural), kebab(p.entity(bn).Plural), kebab(e.Plural))
	return true
}

// isMutual reports whether parentheses say that a noun and the one before it
// are connected many to many.
func isMutual(toks []lexeme) bool {
	text := strings.Trim(join(toks), "() ")
	return text == "many-to-many" || text == "many to many"
}
