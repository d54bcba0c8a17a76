package playbook

import (
	"slices"
	"strings"
)

// chosen are enumerations of which a client must name one: a pet is no dog
// because dogs come first in the list.
var chosen = set([]string{"type", "kind", "category", "species", "gender", "genre", "currency", "size", "color", "colour", "country", "weekday", "day", "unit", "brand", "grade", "method", "breed", "language", "format", "department", "region"})

// requireChoice takes back the defaults that nobody asked for.
func (p *reader) requireChoice() {
	if strings.Contains(strings.ToLower(p.task), "default") {
		return
	}
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		for k := range e.Fields {
			f := &e.Fields[k]
			if f.Type != Enum || f.Optional || f.Default != f.Values[0] || !chosen[f.Name[strings.LastIndexByte(f.Name, '_')+1:]] || slices.ContainsFunc(p.spec.Rules, func(r Rule) bool { return r.Entity == e.Noun && r.Field == f.Name }) {
				continue
			}
			before := f.Describe()
			f.Default = ""
			for c := range p.spec.Covered {
				covered := &p.spec.Covered[c]
				if strings.Contains(covered.As, f.Name+" of "+e.Noun) {
					covered.As = strings.Replace(covered.As, before, f.Describe(), 1)
				}
			}
		}
	}
}

// timesOfDay: beside a date, a time is one of a day, and no point in time.
func (p *reader) timesOfDay() {
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		f, date := e.field("time"), e.field("date")
		used := slices.ContainsFunc(p.spec.Rules, func(r Rule) bool {
			return r.Entity == e.Noun && (r.Field == "time" || r.Start == "time" || r.End == "time" || slices.Contains(r.Fields, "time"))
		})
		if f == nil || date == nil || f.Type != Timestamp || date.Type != Date || f.Now || f.Target != "" || used {
			continue
		}
		before := f.Describe()
		f.Type, f.Pattern, f.Form = String, `^([01][0-9]|2[0-3]):[0-5][0-9]$`, "a time such as 19:30"
		for c := range p.spec.Covered {
			if covered := &p.spec.Covered[c]; strings.HasPrefix(covered.As, "field time of "+e.Noun+":") {
				covered.As = strings.Replace(covered.As, before, f.Describe(), 1)
			}
		}
	}
}

// restoreCase writes the values of enumerations as the task does where it
// writes them in spelled: EUR and XL. Until here the task was read in lower
// case.
func (p *reader) restoreCase() {
	written := map[string][]string{}
	for _, t := range tokenize(p.task) {
		value := snakeValue(t.text)
		written[value] = append(written[value], p.task[t.start:t.end])
	}
	spelled := map[string]string{}
	for _, e := range p.spec.Entities {
		for _, f := range e.Fields {
			for _, v := range f.Values {
				if w := slices.Compact(slices.Clone(written[v])); len(w) == 1 && camelCase().MatchString(w[0]) {
					spelled[v] = w[0]
				} else if upper := strings.ToUpper(v); upper != v && len(written[v]) > 0 && !slices.ContainsFunc(written[v], func(s string) bool { return s != strings.ToUpper(s) }) {
					spelled[v] = upper
				}
			}
		}
	}
	if text := strings.ToLower(p.task); strings.Contains(text, "canceled") && !strings.Contains(text, "cancelled") {
		spelled["cancelled"] = "canceled" // one spelling inside, the task's outside
	}
	if len(spelled) == 0 {
		return
	}
	put := func(s *string) {
		if written, ok := spelled[*s]; ok {
			*s = written
		}
	}
	all := func(values []string) {
		for i := range values {
			put(&values[i])
		}
	}
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		for k := range e.Fields {
			f := &e.Fields[k]
			if f.Type != Enum {
				continue
			}
			before := strings.Join(f.Values, ", ")
			f.Values = slices.Clone(f.Values)
			all(f.Values)
			old := f.Default
			put(&f.Default)
			for c := range p.spec.Covered {
				p.spec.Covered[c].As = strings.ReplaceAll(p.spec.Covered[c].As, "one of "+before, "one of "+strings.Join(f.Values, ", "))
				p.spec.Covered[c].As = strings.ReplaceAll(p.spec.Covered[c].As, strings.Join(f.Values, ", ")+", default "+old, strings.Join(f.Values, ", ")+", default "+f.Default)
			}
		}
		for k := range e.Actions {
			put(&e.Actions[k].State)
		}
	}
	if a := p.spec.Auth; a != nil {
		all(a.Roles)
	}
	for i := range p.spec.Rules {
		r := &p.spec.Rules[i]
		put(&r.State)
		put(&r.Value)
		all(r.Active.Not)
		if r.Kind == RuleAccess {
			all(r.Fields)
		}
		for k := range r.Edges {
			put(&r.Edges[k].From)
			put(&r.Edges[k].To)
		}
	}
}
