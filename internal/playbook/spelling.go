package playbook

import (
	"regexp"
	"slices"
)

// As is a member's name as the task spells it: createdAt, or created_at when
// the task does not write it in camelCase.
func (s Spec) As(name string) string {
	if written, ok := s.Spelling[name]; ok {
		return written
	}
	return name
}

// respell gives fields the names that the task's own clients use: until here
// lastSeen was read as last_seen. A name that the task writes in two ways
// keeps the underscores.
func (p *reader) respell() {
	s := p.spec
	written := map[string][]string{}
	for _, t := range tokenize(p.task) {
		if t.start > 0 && p.task[t.start-1] == '{' {
			continue // "/tags/{tagId}" names a place in a path
		}
		written[t.text] = append(written[t.text], p.task[t.start:t.end])
	}
	own := map[string]bool{"created_at": true, "updated_at": true}
	for _, e := range s.Entities {
		for _, f := range e.Fields {
			own[f.Name] = true
		}
	}
	for name := range own {
		if w := slices.Compact(written[name]); len(w) == 1 && camelCase().MatchString(w[0]) {
			if s.Spelling == nil {
				s.Spelling = map[string]string{}
			}
			s.Spelling[name] = w[0]
		}
	}
	for name, spelled := range s.Spelling {
		word := regexp.MustCompile(`\b` + name + `\b`)
		for i := range s.Covered {
			s.Covered[i].As = word.ReplaceAllString(s.Covered[i].As, spelled)
		}
		for i := range s.Assumptions {
			s.Assumptions[i] = word.ReplaceAllString(s.Assumptions[i], spelled)
		}
	}
	put := func(names ...*string) {
		for _, name := range names {
			*name = s.As(*name)
		}
	}
	for i := range s.Entities {
		e := &s.Entities[i]
		for k := range e.Fields {
			put(&e.Fields[k].Name)
		}
		for k := range e.Actions {
			put(&e.Actions[k].Field)
		}
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		put(&r.Field, &r.Other, &r.Start, &r.End, &r.Active.Empty, &r.Active.Field)
		r.Fields = slices.Clone(r.Fields)
		for k := range r.Fields {
			put(&r.Fields[k])
		}
	}
}
