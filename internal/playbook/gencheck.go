package playbook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// activeExpr is the condition that a row counts, "" when every row does.
func (e *genEntity) activeExpr(v string, a Active) string {
	switch {
	case a.Empty != "":
		return fmt.Sprintf("%s.%s == nil", v, e.gen(a.Empty).Go)
	case a.Field != "":
		f := e.gen(a.Field)
		var parts []string
		for _, not := range a.Not {
			switch {
			case f.Field.Type == Bool && not == "true":
				parts = append(parts, fmt.Sprintf("!%s.%s", v, f.Go))
			case f.Field.Type == Bool:
				parts = append(parts, fmt.Sprintf("%s.%s", v, f.Go))
			default:
				parts = append(parts, fmt.Sprintf("%s.%s != %q", v, f.Go, not))
			}
		}
		return strings.Join(parts, " && ")
	}
	return ""
}

// sameExpr is the condition that two rows agree in a field and that it is set.
func sameExpr(f genField, a, b string) string {
	x, y := a+"."+f.Go, b+"."+f.Go
	switch {
	case f.Pointer && f.Field.Type == Timestamp:
		return fmt.Sprintf("%s != nil && %s != nil && %s.Equal(*%s)", x, y, x, y)
	case f.Pointer:
		return fmt.Sprintf("%s != nil && %s != nil && *%s == *%s", x, y, x, y)
	case f.Field.Type == Timestamp:
		return fmt.Sprintf("%s.Equal(%s)", x, y)
	case f.Field.Type == String:
		return fmt.Sprintf("%s == %s", x, y)
	}
	return fmt.Sprintf("%s == %s", x, y)
}

// foldExpr is sameExpr without regard to case.
func foldExpr(f genField, a, b string) string {
	x, y := a+"."+f.Go, b+"."+f.Go
	if f.Pointer {
		return fmt.Sprintf("%s != nil && %s != nil && strings.EqualFold(*%s, *%s)", x, y, x, y)
	}
	return fmt.Sprintf("strings.EqualFold(%s, %s)", x, y)
}

func and(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " && ")
}

func (e *genEntity) uniqueChecks(c *code) {
	for _, f := range e.Inputs {
		if f.Unique && f.Fold {
			c.add("for other := range s.%s.all() {\nif other.ID != %s.ID && %s {\nreturn conflict(%q, \"another %s has this %s\")\n}\n}", e.List, e.Var, foldExpr(f, "other", e.Var), f.Field.Name, e.Noun, f.Field.Name)
		} else if f.Unique {
			c.add("for other := range s.%s.all() {\nif other.ID != %s.ID && %s {\nreturn conflict(%q, \"another %s has this %s\")\n}\n}", e.List, e.Var, sameExpr(f, "other", e.Var), f.Field.Name, e.Noun, f.Field.Name)
		}
	}
}

func stateLiteral(f genField, value string) string {
	if f.Field.Type == Bool {
		return value
	}
	return strconv.Quote(value)
}

// stateChecks hold the state machine of an entity, and the states in which
// it can't be changed.
func (e *genEntity) stateChecks(c *code) {
	g := e.service
	for _, r := range g.RulesOf(e.Noun, RuleFrozen) {
		if r.Verb != "update" {
			continue
		}
		f := e.gen(r.Field)
		c.add("// %s: %s.", r.ID, r.Describe(g.Spec))
		c.add("if old != nil && old.%s == %s {", f.Go, stateLiteral(f, r.State))
		if len(g.RulesOf(e.Noun, RuleStates)) > 0 {
			c.add("moved := *%s\nmoved.%s, moved.UpdatedAt = old.%s, old.UpdatedAt\nif !equal(moved, *old) {", e.Var, f.Go, f.Go)
			c.add("return conflict(%q, \"%s %s that is %s can't be changed\")\n}\n}", r.Field, article(e.Noun), e.Noun, describeState(f, r.State))
		} else {
			c.add("return conflict(%q, \"%s %s that is %s can't be changed\")\n}", r.Field, article(e.Noun), e.Noun, describeState(f, r.State))
		}
	}
	for _, r := range g.RulesOf(e.Noun, RuleStates) {
		f := e.gen(r.Field)
		c.add("// %s: %s.", r.ID, r.Describe(g.Spec))
		if !r.Free {
			c.add("if old == nil && %s.%s != %q {\nreturn &Invalid{[]FieldError{{%q, \"must be %s at first\"}}}\n}", e.Var, f.Go, f.Default, r.Field, f.Default)
		}
		c.add("if old != nil && %s.%s != old.%s {\nswitch [2]string{old.%s, %s.%s} {", e.Var, f.Go, f.Go, f.Go, e.Var, f.Go)
		var moves []string
		for _, edge := range r.Edges {
			moves = append(moves, fmt.Sprintf("{%q, %q}", edge.From, edge.To))
		}
		for i := range moves {
			moves[i] = "[2]string" + moves[i]
		}
		c.add("case %s:\ndefault:\nreturn conflict(%q, \"%s can't go from %%s to %%s\", old.%s, %s.%s)\n}\n}", strings.Join(moves, ",\n"), r.Field, f.Field.Name, f.Go, e.Var, f.Go)
	}
}

func describeState(f genField, value string) string {
	if f.Field.Type == Bool {
		if value == "true" {
			return f.Field.Name
		}
		return "not " + f.Field.Name
	}
	return value
}

// ruleCheck writes the code of one rule that refuses a record.
func (e *genEntity) ruleCheck(c *code, r Rule) {
	g, v := e.service, e.Var
	head := func() { c.add("// %s: %s.", r.ID, r.Describe(g.Spec)) }
	f := e.gen(r.Field)
	switch r.Kind {
	case RuleLimit, RuleCapacity:
		head()
		if r.Unit != "" {
			c.add("{")
			e.perTimeCheck(c, r)
			c.add("}")
			return
		}
		active := e.activeExpr(v, r.Active)
		was := "!(" + sameExpr(f, "old", v) + ")"
		if a := e.activeExpr("old", r.Active); a != "" {
			was += " || !(" + a + ")"
		}
		c.add("if %s {", and(active, "(old == nil || "+was+")"))
		c.add("n := 0\nfor other := range s.%s.all() {\nif %s {\nn++\n}\n}", e.List, and("other.ID != "+v+".ID", sameExpr(f, "other", v), e.activeExpr("other", r.Active)))
		if r.Kind == RuleLimit {
			c.add("if n >= %d {\nreturn conflict(%q, \"the %s has %%d %s already, and %d is the limit\", n)\n}\n}", r.N, r.Field, f.Ref, e.Plural, r.N)
			return
		}
		p := g.entity(f.Ref)
		level := p.gen(r.Other)
		id := v + "." + f.Go
		if f.Pointer {
			c.add("if %s != nil {", id)
			id = "*" + id
		}
		c.add("if parent, _ := s.%s.get(%s); int64(n) >= parent.%s {\nreturn conflict(%q, \"the %s is full: its %s is %%d\", parent.%s)\n}\n}", p.List, id, level.Go, r.Field, f.Ref, r.Other, level.Go)
		if f.Pointer {
			c.add("}")
		}
	case RulePair:
		head()
		var same []string
		for _, name := range r.Fields {
			same = append(same, sameExpr(e.gen(name), "other", v))
		}
		c.add("for other := range s.%s.all() {\nif other.ID != %s.ID && %s {\nreturn conflict(%q, \"another %s has the same %s\")\n}\n}", e.List, v, and(same...), r.Fields[len(r.Fields)-1], e.Noun, strings.Join(r.Fields, " and "))
	case RuleOverlap:
		head()
		start, end := e.gen(r.Start), e.gen(r.End)
		ends := func(x string) string { return x + "." + end.Go }
		if r.Unit != "" {
			ends = func(x string) string {
				return fmt.Sprintf("%s.%s.Add(time.Duration(%s.%s) * time.%s)", x, start.Go, x, end.Go, strings.ToUpper(r.Unit[:1])+r.Unit[1:])
			}
		}
		disjoint := fmt.Sprintf("other.%s.Before(%s) && %s.%s.Before(%s)", start.Go, ends(v), v, start.Go, ends("other"))
		if start.Field.Type == Date {
			disjoint = fmt.Sprintf("other.%s < %s && %s.%s < %s", start.Go, ends(v), v, start.Go, ends("other"))
		}
		active := e.overlapActive()
		c.add("for other := range s.%s.all() {\nif %s {\nreturn conflict(%q, \"the %s is taken from %%v to %%v\", other.%s, %s)\n}\n}", e.List,
			and("other.ID != "+v+".ID", sameExpr(f, "other", v), e.activeExpr(v, active), e.activeExpr("other", active), disjoint), r.Start, f.Ref, start.Go, ends("other"))
	case RuleStock:
		p := g.entity(r.Child)
		head()
		c.add("if parent, _ := s.%s.get(%s.%s); old == nil && %s.%s > parent.%s {\nreturn conflict(%q, \"the %s has %%d left\", parent.%s)\n}", p.List, v, f.Go, v, e.gen(r.Start).Go, p.gen(r.Other).Go, r.Start, p.Noun, p.gen(r.Other).Go)
	case RuleBlocked:
		head()
		due := e.gen(r.Other)
		late := "other." + due.Go + ".Before(now)"
		if due.Field.Type == Date {
			late = "other." + due.Go + " < today(now)"
			if due.Pointer {
				late = "*" + late
			}
		}
		if due.Pointer {
			late = "other." + due.Go + " != nil && " + late
		}
		c.add("if old == nil {\nfor other := range s.%s.all() {\nif %s {\nreturn conflict(%q, \"the %s has an overdue %s\")\n}\n}\n}", e.List, and(sameExpr(f, "other", v), e.activeExpr("other", r.Active), late), r.Field, f.Ref, e.Noun)
	case RuleParentFlag:
		head()
		p := g.entity(f.Ref)
		flag := p.gen(r.Other)
		op := map[string]string{"require": "!=", "refuse": "=="}[r.Verb]
		id := v + "." + f.Go
		guard := ""
		if f.Pointer {
			guard, id = id+" != nil", "*"+id
			c.add("if %s {", guard)
		}
		cond := fmt.Sprintf("parent.%s %s %s", flag.Go, op, stateLiteral(flag, r.Value))
		if flag.Field.Type == Bool {
			cond = map[bool]string{true: "parent." + flag.Go, false: "!parent." + flag.Go}[(r.Value == "true") == (r.Verb == "refuse")]
		}
		word := map[string]string{"require": "is not", "refuse": "is"}[r.Verb]
		c.add("if parent, _ := s.%s.get(%s); old == nil && %s {\nreturn conflict(%q, \"the %s %s %s\")\n}", p.List, id, cond, r.Field, p.Noun, word, describeState(flag, r.Value))
		if guard != "" {
			c.add("}")
		}
	}
}

// perTimeCheck counts the records of one day, week or month.
func (e *genEntity) perTimeCheck(c *code, r Rule) {
	f, v := e.gen(r.Field), e.Var
	at := e.gen(r.Start)
	date := func(x string) string {
		switch {
		case r.Start == e.service.As("created_at"):
			return x + ".CreatedAt"
		case at.Field.Type == Date:
			return x + "." + at.Go + ".time()"
		}
		return x + "." + at.Go
	}
	same := map[string]string{"day": "sameDay", "week": "sameWeek", "month": "sameMonth"}[r.Unit]
	c.add("n := 0\nfor other := range s.%s.all() {\nif %s {\nn++\n}\n}", e.List, and("other.ID != "+v+".ID", sameExpr(f, "other", v), e.activeExpr("other", r.Active), fmt.Sprintf("%s(%s, %s)", same, date("other"), date(v))))
	moved := "old == nil || !(" + sameExpr(f, "old", v) + ")"
	if r.Start != e.service.As("created_at") {
		moved += fmt.Sprintf(" || !%s(%s, %s)", same, date("old"), date(v))
	}
	if a := e.activeExpr("old", r.Active); a != "" {
		moved += " || !(" + a + ")"
	}
	moved = "(" + moved + ")"
	if a := e.activeExpr(v, r.Active); a != "" {
		moved = a + " && " + moved
	}
	c.add("if n >= %d && %s {\nreturn conflict(%q, \"the %s has %%d %s in that %s already, and %d is the limit\", n)\n}", r.N, moved, r.Field, f.Ref, e.Plural, r.Unit, r.N)
}

// overlapActive says which intervals take their place: a cancelled booking doesn't.
func (e *genEntity) overlapActive() Active {
	for _, f := range e.Stored {
		if f.Field.Type == Enum && !f.Pointer {
			var not []string
			for _, v := range f.Values {
				if slices.Contains([]string{"cancelled", "rejected", "declined", "withdrawn"}, v) {
					not = append(not, v)
				}
			}
			if len(not) > 0 {
				return Active{Field: f.Field.Name, Not: not}
			}
		}
		if f.Field.Type == Bool && f.Field.Name == "cancelled" && !f.Pointer {
			return Active{Field: "cancelled", Not: []string{"true"}}
		}
	}
	if at := e.service.As("cancelled_at"); e.gen(at).Pointer {
		return Active{Empty: at}
	}
	return Active{}
}

// shrinkCheck refuses a capacity below what is taken.
func (e *genEntity) shrinkCheck(c *code, r Rule) {
	child := e.service.entity(r.Entity)
	ref := child.gen(r.Field)
	level := e.gen(r.Other)
	same := fmt.Sprintf("other.%s == %s.ID", ref.Go, e.Var)
	if ref.Pointer {
		same = fmt.Sprintf("other.%s != nil && *other.%s == %s.ID", ref.Go, ref.Go, e.Var)
	}
	c.add("// %s also holds when the %s shrinks.\nif old != nil && %s.%s < old.%s {\ntaken := int64(0)\nfor other := range s.%s.all() {\nif %s {\ntaken++\n}\n}", r.ID, r.Other, e.Var, level.Go, level.Go, child.List, and(same, child.activeExpr("other", r.Active)))
	c.add("if %s.%s < taken {\nreturn conflict(%q, \"%%d %s are there already\", taken)\n}\n}", e.Var, level.Go, r.Other, child.Plural)
}
