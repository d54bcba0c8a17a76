package playbook

import (
	"fmt"
	"slices"
	"time"
)

// perTimeTest fills a day, a week or a month, and goes on in the one after.
func (e *genEntity) perTimeTest(c *code, r Rule) {
	if r.N > 20 {
		return
	}
	e.parent(c, "parent", r.Field, "")
	pairs := func(day string) string { return "" }
	if at := e.gen(r.Start); r.Start != e.service.As("created_at") {
		end := ""
		for _, o := range e.service.RulesOf(e.Noun, RuleOrder) {
			if o.Start == r.Start {
				end = o.End
			}
		}
		pairs = func(day string) string {
			if at.Field.Type == Date {
				return fmt.Sprintf(", %q, %q", r.Start, day)
			}
			out := fmt.Sprintf(", %q, \"%sT\"+fmt.Sprintf(\"%%02d\", i)+\":00:00Z\"", r.Start, day)
			if end != "" {
				out += fmt.Sprintf(", %q, \"%sT\"+fmt.Sprintf(\"%%02d\", i)+\":30:00Z\"", end, day)
			}
			return out
		}
	}
	first, next := "2099-03-02", "2099-04-20"
	if e.gen(r.Start).Target == "past" {
		first, next = "2001-03-02", "2001-04-20"
	}
	c.add("for i := range %d {\n_ = i\nc.create(%q, %q, parent[\"id\"]%s)\n}\ni := 20\n_ = i", r.N, e.Path, r.Field, pairs(first))
	c.add("c.refuse(http.StatusConflict, %q, %q, parent[\"id\"]%s)", e.Path, r.Field, pairs(first))
	if r.Start != e.service.As("created_at") {
		c.add("c.create(%q, %q, parent[\"id\"]%s)", e.Path, r.Field, pairs(next))
	}
	c.add("c.create(%q%s) // another has its own", e.Path, pairs(first))
}

// lasts reports whether the rules allow an interval of so many minutes.
func (e *genEntity) lasts(minutes int) bool {
	return !slices.ContainsFunc(e.service.RulesOf(e.Noun, RuleSpan), func(r Rule) bool {
		bound := spanMinutes(r)
		return r.Verb == "most" && minutes > bound || r.Verb == "least" && minutes < bound
	})
}

func spanMinutes(r Rule) int {
	return r.N * map[string]int{"minute": 1, "hour": 60, "day": 24 * 60}[r.Unit]
}

// spanTest tries an interval at its bound and one beyond.
func (e *genEntity) spanTest(c *code, r Rule) {
	date := e.gen(r.Start).Field.Type == Date
	at := func(minutes int) string {
		t := time.Date(2099, 3, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
		if date {
			return t.Format(time.DateOnly)
		}
		return t.Format(time.RFC3339)
	}
	length := spanMinutes(r)
	step := map[bool]int{true: 24 * 60, false: 1}[date]
	if r.Verb == "least" {
		step = -step
	}
	c.add("c.create(%q, %q, %q, %q, %q)", e.Path, r.Start, at(0), r.End, at(length))
	c.add("c.refuse(http.StatusUnprocessableEntity, %q, %q, %q, %q, %q)", e.Path, r.Start, at(0), r.End, at(length+step))
}

func (e *genEntity) dueTest(c *code, r Rule) {
	f, start := e.gen(r.Field), e.gen(r.Start)
	if start.Target != "" {
		return
	}
	at := "2030-01-31T10:00:00Z"
	if start.Field.Type == Date {
		at = at[:10]
	}
	span := fmt.Sprintf("AddDate(0, 0, %d)", r.N*map[string]int{"week": 7, "day": 1}[r.Unit])
	if r.Unit == "hour" || r.Unit == "minute" {
		span = fmt.Sprintf("Add(%d * time.%s)", r.N, map[string]string{"hour": "Hour", "minute": "Minute"}[r.Unit])
	}
	layout := "time.RFC3339"
	if f.Field.Type == Date {
		layout = "time.DateOnly"
	}
	clock := 10
	if start.Field.Type == Date {
		clock = 0
	}
	c.add("due := time.Date(2030, 1, 31, %d, 0, 0, 0, time.UTC).%s.Format(%s)", clock, span, layout)
	c.add("one := c.create(%q, %q, %q)\nif one[%q] != due {\nt.Errorf(\"%s is %%v, want %%s\", one[%q], due)\n}", e.Path, r.Start, at, r.Field, r.Field, r.Field)
	c.add("mine := c.create(%q, %q, %q, %q, \"2000-01-01T00:00:00Z\")\nif mine[%q] != due {\nt.Errorf(\"a client set %s to %%v\", mine[%q])\n}", e.Path, r.Start, at, r.Field, r.Field, r.Field, r.Field)
}

func (e *genEntity) overdueTest(c *code, r Rule) {
	var pairs string
	due := e.gen(r.Other)
	if due.ReadOnly {
		for _, d := range e.service.RulesOf(e.Noun, RuleDue) {
			if d.Field == r.Other {
				pairs = fmt.Sprintf(", %q, \"2001-01-01\"", d.Start)
			}
		}
	} else {
		pairs = fmt.Sprintf(", %q, \"2001-01-02\"", r.Other)
		for _, o := range e.service.RulesOf(e.Noun, RuleOrder) {
			if o.End == r.Other {
				pairs += fmt.Sprintf(", %q, \"2001-01-01\"", o.Start)
			}
		}
	}
	if pairs == "" || !e.counts(r.Active) {
		return
	}
	if r.Kind == RuleOverdue {
		c.add("late := c.create(%q%s)\nc.create(%q)", e.Path, pairs, e.Path)
		c.add("if got := c.list(c.token, %q); len(got) != 1 {\nt.Errorf(\"%%d are overdue, want 1\", len(got))\n}", e.Path+"?overdue=true")
		if free := e.free(r.Active, "late"); free != "" {
			c.add("%s\nif got := c.list(c.token, %q); len(got) != 0 {\nt.Errorf(\"%%d are overdue, want none\", len(got))\n}", free, e.Path+"?overdue=true")
		}
		return
	}
	e.parent(c, "holder", r.Field, "")
	c.add("late := c.create(%q, %q, holder[\"id\"]%s)\nc.refuse(http.StatusConflict, %q, %q, holder[\"id\"])\nc.create(%q) // others may", e.Path, r.Field, pairs, e.Path, r.Field, e.Path)
	if free := e.free(r.Active, "late"); free != "" {
		c.add("%s\nc.create(%q, %q, holder[\"id\"])", free, e.Path, r.Field)
	} else {
		c.add("_ = late")
	}
}
