package playbook

import (
	"fmt"
	"slices"
	"strings"
)

// RuleTests are one test per rule, with the values on both sides of its bound.
func (g *genService) RuleTests() string {
	var b strings.Builder
	for _, r := range g.Rules {
		var c code
		g.entity(r.Entity).ruleTest(&c, r)
		if c.Len() > 0 {
			fmt.Fprintf(&b, "\n// “%s”: %s.\nfunc Test%s%s(t *testing.T) {\nc := start(t)\n%s}\n", strings.Join(strings.Fields(r.Clause), " "), r.Describe(g.Spec), r.ID, goName(string(r.Kind)), c.String())
		}
	}
	for _, e := range g.Entities {
		for _, a := range e.Actions {
			var c code
			way := e.path(a.Field, e.gen(a.Field).Default, a.State)
			if a.State != "" && e.hasMachine(a.Field) && len(way) == 0 {
				continue
			}
			c.add("one := c.create(%q)", e.Path)
			for _, state := range way[:max(0, len(way)-1)] {
				c.add("c.want(http.StatusOK, http.MethodPatch, path(%q, one), object{%q: %q})", e.Path, a.Field, state)
			}
			c.add("done := c.want(http.StatusOK, http.MethodPost, path(%q, one)+%q, nil)", e.Path, "/"+a.Verb)
			switch {
			case a.State == "":
				c.add("if done[%q] == nil {\nt.Errorf(\"%s is empty: %%v\", done)\n}", a.Field, a.Field)
			case e.gen(a.Field).Field.Type == Bool:
				c.add("if done[%q] != %s {\nt.Errorf(\"%s: %%v\", done)\n}", a.Field, a.State, a.Field)
			default:
				c.add("if done[%q] != %q {\nt.Errorf(\"%s: %%v\", done)\n}", a.Field, a.State, a.Field)
			}
			c.add("c.want(http.StatusConflict, http.MethodPost, path(%q, one)+%q, nil)\nc.want(http.StatusNotFound, http.MethodPost, %q, nil)", e.Path, "/"+a.Verb, e.Path+"/no-such-id/"+a.Verb)
			fmt.Fprintf(&b, "\nfunc Test%sCan%sOnce(t *testing.T) {\nc := start(t)\n%s}\n", e.Name, a.Go, c.String())
		}
	}
	return b.String()
}

// parent creates what a field refers to, ready to be referred to.
func (e *genEntity) parent(c *code, local, field string, pairs string) *genEntity {
	p := e.service.entity(e.gen(field).Ref)
	c.add("%s := c.create(%q%s%s)", local, p.Path, e.requiredFlags(field), pairs)
	e.flagMoves(c, field, local)
	return p
}

// free makes one record stop counting for a rule, in Go; "" when it can't.
func (e *genEntity) free(a Active, local string) string {
	switch {
	case a.Empty != "":
		value := `"2101-01-01T00:00:00Z"`
		if e.gen(a.Empty).Field.Type == Date {
			value = `"2101-01-01"`
		}
		return fmt.Sprintf("c.want(http.StatusOK, http.MethodPatch, path(%q, %s), object{%q: %s})", e.Path, local, a.Empty, value)
	case a.Field != "":
		f := e.gen(a.Field)
		for _, not := range a.Not {
			way := e.path(a.Field, f.Default, not)
			if e.hasMachine(a.Field) && len(way) == 0 {
				continue
			}
			if len(way) == 0 {
				way = []string{not}
			}
			var lines []string
			for _, state := range way {
				lines = append(lines, fmt.Sprintf("c.want(http.StatusOK, http.MethodPatch, path(%q, %s), object{%q: %s})", e.Path, local, a.Field, stateLiteral(f, state)))
			}
			return strings.Join(lines, "\n")
		}
	}
	return ""
}

// counts reports whether a new record with defaults counts for the rule.
func (e *genEntity) counts(a Active) bool {
	return a.Field == "" || !slices.Contains(a.Not, e.gen(a.Field).Default)
}

func (e *genEntity) ruleTest(c *code, r Rule) {
	g := e.service
	f := e.gen(r.Field)
	switch r.Kind {
	case RuleLimit, RuleCapacity:
		if !e.counts(r.Active) {
			return
		}
		if r.Unit != "" {
			e.perTimeTest(c, r)
			return
		}
		n, pairs := r.N, ""
		if r.Kind == RuleCapacity {
			n, pairs = 2, fmt.Sprintf(", %q, 2", r.Other)
		}
		p := e.parent(c, "parent", r.Field, pairs)
		free := e.free(r.Active, "last")
		c.add("var last object\nfor range %d {\nlast = c.create(%q, %q, parent[\"id\"])\n}\nc.refuse(http.StatusConflict, %q, %q, parent[\"id\"])\nc.create(%q) // another parent has its own", n, e.Path, r.Field, e.Path, r.Field, e.Path)
		if r.Kind == RuleCapacity {
			c.add("c.want(http.StatusConflict, http.MethodPatch, path(%q, parent), object{%q: 1})", p.Path, r.Other)
		}
		if free != "" {
			c.add("%s\nc.create(%q, %q, parent[\"id\"])", free, e.Path, r.Field)
		} else {
			c.add("c.want(http.StatusNoContent, http.MethodDelete, path(%q, last), nil)\nc.create(%q, %q, parent[\"id\"])", e.Path, e.Path, r.Field)
		}
		e.raceTest(c, r, n, pairs)
	case RulePair:
		var pairs []string
		for i, name := range r.Fields {
			pf := e.gen(name)
			if pf.Field.Type == Reference {
				e.parent(c, fmt.Sprintf("p%d", i), name, "")
				pairs = append(pairs, fmt.Sprintf("%q, p%d[\"id\"]", name, i))
			} else {
				c.add("n := serial.Add(1)\n_ = n\nvalue%d := %s", i, e.fixtureValue(pf))
				pairs = append(pairs, fmt.Sprintf("%q, value%d", name, i))
			}
		}
		both := strings.Join(pairs, ", ")
		c.add("c.create(%q, %s)\nc.refuse(http.StatusConflict, %q, %s)", e.Path, both, e.Path, both)
		for _, pair := range pairs {
			c.add("c.create(%q, %s)", e.Path, pair)
		}
	case RuleOverlap:
		minutes := map[bool]int{true: 24 * 60, false: 60}[e.gen(r.Start).Field.Type == Date]
		if !e.lasts(2 * minutes) {
			return
		}
		e.parent(c, "place", r.Field, "")
		at := func(hour, length int) string {
			if e.gen(r.Start).Field.Type == Date {
				return fmt.Sprintf("%q, \"2099-03-%02d\", %q, \"2099-03-%02d\"", r.Start, hour, r.End, hour+length)
			}
			if r.Unit != "" {
				per := map[string]int{"hour": 1, "minute": 60}[r.Unit]
				return fmt.Sprintf("%q, \"2099-03-01T%02d:00:00Z\", %q, %d", r.Start, hour, r.End, length*per)
			}
			return fmt.Sprintf("%q, \"2099-03-01T%02d:00:00Z\", %q, \"2099-03-01T%02d:00:00Z\"", r.Start, hour, r.End, hour+length)
		}
		for _, step := range []struct {
			call         string
			hour, length int
		}{{"create", 10, 2}, {"refuse", 10, 2}, {"refuse", 11, 2}, {"refuse", 9, 2}, {"refuse", 9, 4}, {"create", 12, 1}, {"create", 9, 1}} {
			if !e.lasts(step.length * minutes) {
				continue
			}
			if step.call == "refuse" {
				c.add("c.refuse(http.StatusConflict, %q, %q, place[\"id\"], %s)", e.Path, r.Field, at(step.hour, step.length))
			} else {
				c.add("c.create(%q, %q, place[\"id\"], %s)", e.Path, r.Field, at(step.hour, step.length))
			}
		}
		c.add("c.create(%q, %s) // elsewhere at the same time", e.Path, at(10, 2))
	case RuleSpan:
		e.spanTest(c, r)
	case RuleOrder:
		if slices.ContainsFunc(g.RulesOf(e.Noun, RuleDue), func(d Rule) bool { return d.Field == r.End }) {
			return
		}
		early, late, same := "2099-03-01T10:00:00Z", "2099-03-01T10:00:01Z", "2099-03-01T10:00:00Z"
		if e.gen(r.Start).Target == "past" || f.Target == "past" {
			early, late, same = "2001-03-01T10:00:00Z", "2001-03-01T10:00:01Z", "2001-03-01T10:00:00Z"
		}
		before := strings.Replace(early, "T10", "T09", 1)
		if e.gen(r.Start).Field.Type == Date {
			early, late, same, before = early[:8]+"02", early[:8]+"03", early[:8]+"02", early[:8]+"01"
		}
		c.add("c.refuse(http.StatusUnprocessableEntity, %q, %q, %q, %q, %q)\nc.refuse(http.StatusUnprocessableEntity, %q, %q, %q, %q, %q)", e.Path, r.Start, early, r.End, same, e.Path, r.Start, early, r.End, before)
		if e.lasts(0) {
			c.add("c.create(%q, %q, %q, %q, %q)", e.Path, r.Start, early, r.End, late)
		}
	case RuleDue:
		e.dueTest(c, r)
	case RuleStates:
		e.machineTest(c, r)
	case RuleFrozen:
		e.frozenTest(c, r)
	case RuleStock:
		p := e.parent(c, "stock", r.Field, fmt.Sprintf(", %q, 5", r.Other))
		c.add("c.refuse(http.StatusConflict, %q, %q, stock[\"id\"], %q, 6)\nc.create(%q, %q, stock[\"id\"], %q, 3)", e.Path, r.Field, r.Start, e.Path, r.Field, r.Start)
		c.add("if left := c.want(http.StatusOK, http.MethodGet, path(%q, stock), nil)[%q]; left != 2.0 {\nt.Errorf(\"%%v left, want 2\", left)\n}", p.Path, r.Other)
		c.add("c.refuse(http.StatusConflict, %q, %q, stock[\"id\"], %q, 3)\nc.create(%q, %q, stock[\"id\"], %q, 2)\nc.refuse(http.StatusConflict, %q, %q, stock[\"id\"], %q, 1)", e.Path, r.Field, r.Start, e.Path, r.Field, r.Start, e.Path, r.Field, r.Start)
	case RuleProduct:
		if r.Child != "" {
			e.parent(c, "priced", r.Child, fmt.Sprintf(", %q, 2.5", r.Other))
			c.add("one := c.create(%q, %q, priced[\"id\"], %q, 3)", e.Path, r.Child, r.Start)
		} else {
			c.add("one := c.create(%q, %q, 2.5, %q, 3)", e.Path, r.Other, r.Start)
		}
		c.add("if one[%q] != 7.5 {\nt.Errorf(\"%s is %%v, want 7.5\", one[%q])\n}", r.Field, r.Field, r.Field)
	case RuleTotal:
		child := g.entity(r.Child)
		var ref string
		for _, cf := range child.Stored {
			if cf.Field.Type == Reference && cf.Ref == e.Noun {
				ref = cf.Field.Name
			}
		}
		child.parent(c, "whole", ref, "")
		for i, amount := range []string{"2.5", "0.1"} {
			if r.End != "" {
				child.parent(c, fmt.Sprintf("priced%d", i), r.End, fmt.Sprintf(", %q, %s", r.Other, amount))
				c.add("c.create(%q, %q, whole[\"id\"], %q, priced%d[\"id\"], %q, 3)", child.Path, ref, r.End, i, r.Start)
			} else {
				c.add("c.create(%q, %q, whole[\"id\"], %q, %s, %q, 3)", child.Path, ref, r.Other, amount, r.Start)
			}
		}
		c.add("if total := c.want(http.StatusOK, http.MethodGet, path(%q, whole), nil)[%q]; total != 7.8 {\nt.Errorf(\"%s is %%v, want 7.8\", total)\n}", e.Path, r.Field, r.Field)
	case RuleBlocked, RuleOverdue:
		e.overdueTest(c, r)
	case RuleParentFlag:
		e.flagTest(c, r)
	case RuleAccess:
		e.accessTest(c, r)
	case RuleOpen:
		e.openTest(c, r)
	case RuleOwn:
		e.ownTest(c, r)
	case RuleDeleteKeep:
		p := e.parent(c, "kept", r.Field, "")
		c.add("one := c.create(%q, %q, kept[\"id\"])\nc.want(http.StatusConflict, http.MethodDelete, path(%q, kept), nil)\nc.want(http.StatusNoContent, http.MethodDelete, path(%q, one), nil)\nc.want(http.StatusNoContent, http.MethodDelete, path(%q, kept), nil)", e.Path, r.Field, p.Path, e.Path, p.Path)
	}
}

// raceTest sends more requests at once than the rule lets through.
func (e *genEntity) raceTest(c *code, r Rule, n int, pairs string) {
	if n > 20 {
		return
	}
	e.parent(c, "racing", r.Field, pairs)
	c.add("var bodies []object\nfor range %d {\nbodies = append(bodies, c.valid(%q, %q, racing[\"id\"]))\n}", n+3, e.Path, r.Field)
	c.add("var wg sync.WaitGroup\nvar accepted atomic.Int64\nfor _, body := range bodies {\nwg.Add(1)\ngo func() {\ndefer wg.Done()\nif status, _, _ := c.do(http.MethodPost, %q, c.token, body); status == http.StatusCreated {\naccepted.Add(1)\n}\n}()\n}\nwg.Wait()", e.Path)
	c.add("if got := accepted.Load(); got != %d {\nt.Errorf(\"%%d of %%d at once were accepted, want %d\", got, len(bodies))\n}", n, n)
}

func (e *genEntity) machineTest(c *code, r Rule) {
	f := e.gen(r.Field)
	frozen := e.service.RulesOf(e.Noun, RuleFrozen)
	c.add("for _, test := range []struct {\nway []string\nto string\nwant int\n}{")
	for _, from := range f.Values {
		way := e.path(r.Field, f.Default, from)
		if from != f.Default && len(way) == 0 {
			continue
		}
		for _, to := range f.Values {
			if to == from {
				continue
			}
			want := "http.StatusConflict"
			if slices.Contains(r.Edges, Edge{from, to}) {
				want = "http.StatusOK"
			}
			if slices.ContainsFunc(frozen, func(fr Rule) bool { return fr.Verb == "update" && fr.Field != r.Field && fr.State == from }) {
				continue
			}
			quoted := make([]string, len(way))
			for i, w := range way {
				quoted[i] = fmt.Sprintf("%q", w)
			}
			c.add("{[]string{%s}, %q, %s},", strings.Join(quoted, ", "), to, want)
		}
	}
	c.add("} {\none := c.create(%q)\nfor _, state := range test.way {\nc.want(http.StatusOK, http.MethodPatch, path(%q, one), object{%q: state})\n}\nc.want(test.want, http.MethodPatch, path(%q, one), object{%q: test.to})\n}", e.Path, e.Path, r.Field, e.Path, r.Field)
	for _, v := range f.Values {
		if v != f.Default {
			if r.Free {
				c.add("c.create(%q, %q, %q)", e.Path, r.Field, v)
			} else {
				c.add("c.refuse(http.StatusUnprocessableEntity, %q, %q, %q)", e.Path, r.Field, v)
			}
			break
		}
	}
}

// reach takes a record to a state.
func (e *genEntity) reach(c *code, local string, f genField, state string) bool {
	if state == f.Default {
		return true
	}
	way := e.path(f.Field.Name, f.Default, state)
	if e.hasMachine(f.Field.Name) && len(way) == 0 {
		return false
	}
	if len(way) == 0 {
		way = []string{state}
	}
	for _, s := range way {
		c.add("c.want(http.StatusOK, http.MethodPatch, path(%q, %s), object{%q: %s})", e.Path, local, f.Field.Name, stateLiteral(f, s))
	}
	return true
}

func (e *genEntity) frozenTest(c *code, r Rule) {
	f := e.gen(r.Field)
	var t code
	t.add("one := c.create(%q)", e.Path)
	if !e.reach(&t, "one", f, r.State) {
		return
	}
	switch r.Verb {
	case "delete":
		t.add("c.want(http.StatusConflict, http.MethodDelete, path(%q, one), nil)\nc.want(http.StatusOK, http.MethodGet, path(%q, one), nil)", e.Path, e.Path)
		if r.State != f.Default {
			t.add("fresh := c.create(%q)\nc.want(http.StatusNoContent, http.MethodDelete, path(%q, fresh), nil)", e.Path, e.Path)
		}
	case "move":
		t.add("c.want(http.StatusConflict, http.MethodPatch, path(%q, one), object{%q: %q})", e.Path, r.Field, r.Value)
	case "update":
		change := ""
		for _, other := range e.Inputs {
			if other.Field.Name != r.Field && other.Field.Type != Reference && other.Field.Type != Password && other.Field.Type != Enum && !other.Immutable && other.Field.Type != List && other.Field.Type != Bool {
				change = fmt.Sprintf("n := serial.Add(1)\n_ = n\nc.want(http.StatusConflict, http.MethodPatch, path(%q, one), object{%q: %s})", e.Path, other.Field.Name, e.fixtureValue(other))
				if other.Field.Type == Int || other.Field.Type == Decimal {
					v := other.other()
					if v == "" {
						continue
					}
					change = fmt.Sprintf("c.want(http.StatusConflict, http.MethodPatch, path(%q, one), object{%q: %s})", e.Path, other.Field.Name, v)
				}
				break
			}
		}
		if change == "" {
			return
		}
		t.add("%s", change)
	}
	c.WriteString(t.String())
}

func (e *genEntity) flagTest(c *code, r Rule) {
	f, good := e.wanted(r)
	p := e.service.entity(e.gen(r.Field).Ref)
	bad := r.Value
	if r.Verb == "require" {
		if f.Field.Type == Bool {
			bad = map[string]string{"true": "false", "false": "true"}[good]
		} else {
			bad = f.Default
			for _, v := range f.Values {
				if bad == good {
					bad = v
				}
			}
		}
	}
	if e.service.entity(p.Noun) == nil || p.hasMachine(f.Field.Name) && bad != f.Default && len(p.path(f.Field.Name, f.Default, bad)) == 0 {
		return
	}
	c.add("refused := c.create(%q)", p.Path)
	p.reach(c, "refused", f, bad)
	c.add("c.refuse(http.StatusConflict, %q, %q, refused[\"id\"])", e.Path, r.Field)
	e.parent(c, "accepted", r.Field, "")
	c.add("c.create(%q, %q, accepted[\"id\"])", e.Path, r.Field)
}

// call is the request of an operation on a record.
func call(e *genEntity, verb, record string) (method, target, body string) {
	one := fmt.Sprintf("path(%q, %s)", e.Path, record)
	switch verb {
	case "create":
		return "http.MethodPost", fmt.Sprintf("%q", e.Path), fmt.Sprintf("c.valid(%q)", e.Path)
	case "read":
		return "http.MethodGet", one, "nil"
	case "update":
		return "http.MethodPatch", one, "object{}"
	case "delete":
		return "http.MethodDelete", one, "nil"
	}
	return "http.MethodPost", one + fmt.Sprintf("+%q", "/"+verb), "nil"
}

func (e *genEntity) accessTest(c *code, r Rule) {
	if e.Account && r.Verb != "create" && r.Verb != "delete" {
		return
	}
	plain := ""
	for _, role := range e.service.Auth.Roles {
		if !slices.Contains(withAdmin(r.Fields), role) {
			plain = role
			break
		}
	}
	method, target, body := call(e, r.Verb, "one")
	if r.Verb == "create" {
		c.add("one := c.valid(%q)", e.Path)
		for _, f := range e.Inputs {
			if f.Owner {
				c.add("delete(one, %q)", f.Field.Name)
			}
		}
		body = "one"
	} else {
		c.add("one := c.create(%q)", e.Path)
		for _, a := range e.Actions {
			if a.Verb == r.Verb && a.State != "" {
				way := e.path(a.Field, e.gen(a.Field).Default, a.State)
				for _, state := range way[:max(0, len(way)-1)] {
					c.add("c.want(http.StatusOK, http.MethodPatch, path(%q, one), object{%q: %q})", e.Path, a.Field, state)
				}
			}
		}
	}
	c.add("c.wantAs(\"\", http.StatusUnauthorized, %s, %s, %s)", method, target, body)
	if plain != "" {
		c.add("_, other := c.account(%q)\nc.wantAs(other, http.StatusForbidden, %s, %s, %s)", plain, method, target, body)
	}
	if e.Account {
		return
	}
	for _, a := range e.Actions { // PATCH must not be a way around
		if a.Verb == r.Verb && a.State != "" {
			c.add("c.wantAs(\"\", http.StatusUnauthorized, http.MethodPatch, path(%q, one), object{%q: %s})", e.Path, a.Field, stateLiteral(e.gen(a.Field), a.State))
			if plain != "" {
				c.add("c.wantAs(other, http.StatusForbidden, http.MethodPatch, path(%q, one), object{%q: %s})", e.Path, a.Field, stateLiteral(e.gen(a.Field), a.State))
			}
		}
	}
	status := map[string]string{"create": "http.StatusCreated", "delete": "http.StatusNoContent"}[r.Verb]
	if status == "" {
		status = "http.StatusOK"
	}
	c.add("_, allowed := c.account(%q)\nc.wantAs(allowed, %s, %s, %s, %s)", r.Fields[0], status, method, target, body)
}

func (e *genEntity) openTest(c *code, r Rule) {
	method, target, body := call(e, r.Verb, "one")
	if r.Verb == "create" {
		c.add("one := c.valid(%q)", e.Path)
		for _, f := range e.Inputs {
			if f.Owner {
				c.add("delete(one, %q)", f.Field.Name)
			}
		}
		body = "one"
	} else {
		c.add("one := c.create(%q)", e.Path)
	}
	status := map[string]string{"create": "http.StatusCreated", "delete": "http.StatusNoContent"}[r.Verb]
	if status == "" {
		status = "http.StatusOK"
	}
	if r.Value == "" {
		c.add("c.wantAs(\"\", %s, %s, %s, %s)", status, method, target, body)
		return
	}
	c.add("c.wantAs(\"\", http.StatusUnauthorized, %s, %s, %s)\n_, someone := c.account(%q)\nc.wantAs(someone, %s, %s, %s, %s)", method, target, body, e.service.Auth.Roles[0], status, method, target, body)
}

func (e *genEntity) ownTest(c *code, r Rule) {
	if e.Account {
		return
	}
	f := e.gen(r.Field)
	role := e.service.Auth.Roles[0]
	c.add("me, mine := c.account(%q)\n_, theirs := c.account(%q)", role, role)
	c.add("body := c.valid(%q)\ndelete(body, %q)\none := c.wantAs(mine, http.StatusCreated, http.MethodPost, %q, body)\nif one[%q] != me {\nt.Errorf(\"the owner is %%v, want %%s\", one[%q], me)\n}", e.Path, f.Field.Name, e.Path, f.Field.Name, f.Field.Name)
	c.add("body = c.valid(%q)\nbody[%q] = me\nc.wantAs(theirs, http.StatusForbidden, http.MethodPost, %q, body)\nc.wantAs(\"\", http.StatusUnauthorized, http.MethodPost, %q, body)", e.Path, f.Field.Name, e.Path, e.Path)
	for _, verb := range []string{"read", "update", "delete"} {
		if !slices.Contains(r.Verbs, verb) {
			continue
		}
		method, target, body := call(e, verb, "one")
		c.add("c.wantAs(\"\", http.StatusUnauthorized, %s, %s, %s)\nc.wantAs(theirs, http.StatusForbidden, %s, %s, %s)", method, target, body, method, target, body)
		if verb == "read" {
			c.add("if n := len(c.list(theirs, %q)); n != 0 {\nt.Errorf(\"another account sees %%d\", n)\n}\nif n := len(c.list(mine, %q)); n != 1 {\nt.Errorf(\"the owner sees %%d, want 1\", n)\n}", e.Path, e.Path)
		}
		status := "http.StatusOK"
		if verb == "delete" {
			status = "http.StatusNoContent"
		}
		c.add("c.wantAs(mine, %s, %s, %s, %s)", status, method, target, body)
	}
}
