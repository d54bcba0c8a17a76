package playbook

import (
	"fmt"
	"strconv"
	"strings"
)

// code collects lines of Go.
type code struct{ strings.Builder }

func (c *code) add(format string, args ...any) { fmt.Fprintf(&c.Builder, format+"\n", args...) }

// build writes the code that differs between entities.
func (e *genEntity) build() {
	g := e.service
	var fill, checks, create, drop, view code
	for _, f := range e.Inputs {
		if f.Field.Type != Password {
			e.fillField(&fill, f)
		}
	}
	for _, r := range g.RulesOf(e.Noun, RuleDue) {
		f, start := e.gen(r.Field), e.gen(r.Start)
		fill.add("%s.%s = %s", e.Var, f.Go, dueExpr(e.Var+"."+start.Go, start.Field.Type, f.Field.Type, r))
	}
	for _, r := range g.RulesOf(e.Noun, RuleOrder) {
		a, b := e.gen(r.Start), e.gen(r.End)
		cond := before(e.Var+"."+b.Go, e.Var+"."+a.Go, a, b, e.Var)
		fill.add("// %s: %s.\nif %s {\nv.add(%q, \"must be after %s\")\n}", r.ID, r.Describe(g.Spec), cond, r.End, r.Start)
	}
	for _, r := range g.RulesOf(e.Noun, RuleSpan) {
		e.spanRule(&fill, r)
	}
	for _, r := range g.RulesOf(e.Noun, RuleProduct) {
		e.productRule(&fill, r)
	}
	e.stateChecks(&checks)
	e.uniqueChecks(&checks)
	for _, r := range g.Rules {
		if r.Entity == e.Noun {
			e.ruleCheck(&checks, r)
		}
		if r.Kind == RuleCapacity && g.entity(r.Entity).gen(r.Field).Ref == e.Noun {
			e.shrinkCheck(&checks, r)
		}
	}
	for _, r := range g.RulesOf(e.Noun, RuleStock) {
		p := g.entity(r.Child)
		level, q, ref := p.gen(r.Other), e.gen(r.Start), e.gen(r.Field)
		create.add("// %s: %s.", r.ID, r.Describe(g.Spec))
		create.add("parent, _ := s.%s.get(%s.%s)", p.List, e.Var, ref.Go)
		create.add("parent.%s -= %s.%s\nparent.UpdatedAt = now", level.Go, e.Var, q.Go)
		create.add("if c, err = put(%q, parent.ID, parent); err != nil {\nreturn %s{}, err\n}\nchanges = append(changes, c)", p.Kind, e.Name)
	}
	e.dropCode(&drop)
	for _, r := range g.RulesOf(e.Noun, RuleTotal, RuleOverdue) {
		e.viewRule(&view, r)
	}
	e.Fill, e.Checks, e.OnCreate, e.OnDrop, e.View = fill.String(), checks.String(), create.String(), drop.String(), view.String()
	e.UsesNow = strings.Contains(e.Fill+e.Checks, "now")
	for _, a := range e.Entity.Actions {
		e.Actions = append(e.Actions, e.action(a))
	}
}

// fillField sets one field from the input and checks it.
func (e *genEntity) fillField(c *code, f genField) {
	x, in := e.Var+"."+f.Go, "in."+f.Go
	value := "*" + in
	switch f.Field.Type {
	case Timestamp:
		value = in + ".Time"
	case Reference:
		value = "string(*" + in + ")"
	case Email:
		value = "strings.ToLower(" + value + ")"
	case Enum:
		if strings.Contains(strings.Join(f.Values, ""), "_") {
			value = "underscored(" + value + ")"
		}
	}
	local := goVar(f.Field.Name)
	if entityKeywords[local] || local == e.Var || stdImports[local] != "" {
		local += "Value"
	}
	var checks code
	e.fieldChecks(&checks, f, map[bool]string{true: local, false: x}[f.Pointer])
	if f.Immutable {
		same := x + " != old." + f.Go
		if f.Pointer {
			same = "!equal(" + local + ", old." + f.Go + ")"
		} else if f.Field.Type == Timestamp {
			same = "!" + x + ".Equal(old." + f.Go + ")"
		} else if f.Field.Type == List {
			same = "!slices.Equal(" + x + ", old." + f.Go + ")"
		}
		checks.add("if old != nil && %s {\nv.add(%q, \"can't be changed\")\n}", same, f.Field.Name)
	}
	switch {
	case f.Field.Type == List:
		c.add("%s = []string{}\nif %s != nil {\n%s = %s\n%s}", x, in, x, value, checks.String())
	case f.Pointer:
		c.add("%s = nil\nif %s != nil {\n%s := %s\n%s%s = &%s\n}", x, in, local, value, checks.String(), x, local)
		if f.Immutable {
			c.add("if %s == nil && old != nil && old.%s != nil {\nv.add(%q, \"can't be changed\")\n}", x, f.Go, f.Field.Name)
		}
	case f.Now:
		now := "now"
		if f.Field.Type == Date {
			now = "today(now)"
		}
		c.add("if %s != nil {\n%s = %s\n%s} else if old == nil {\n%s = %s\n}", in, x, value, checks.String(), x, now)
	case f.Default != "":
		c.add("%s = %s\nif %s != nil {\n%s = %s\n%s}", x, defaultExpr(f), in, x, value, checks.String())
	default:
		c.add("if %s == nil {\nv.add(%q, \"is required\")\n} else {\n%s = %s\n%s}", in, f.Field.Name, x, value, checks.String())
	}
}

func defaultExpr(f genField) string {
	switch f.Field.Type {
	case Int, Bool:
		return f.Default
	case Decimal:
		return decimalExpr(f.Default)
	}
	return strconv.Quote(f.Default)
}

// decimalExpr is a number as a constant of the generated type Decimal.
func decimalExpr(n string) string {
	whole, fraction, _ := strings.Cut(n, ".")
	fraction = (fraction + "000000")[:6]
	if digits := strings.TrimLeft(whole+fraction, "0"); digits != "" {
		v, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case err != nil:
			return digits
		case v%1000000 == 0:
			return fmt.Sprintf("%d*one", v/1000000)
		}
		return strconv.FormatInt(v, 10)
	}
	return "0"
}

func (e *genEntity) fieldChecks(c *code, f genField, x string) {
	name := strconv.Quote(f.Field.Name)
	switch f.Field.Type {
	case String, Text:
		least, most := f.MinLen, f.MaxLen
		if least == 0 && !f.Pointer {
			least = 1
		}
		if most == 0 {
			most = 500
		}
		c.add("v.text(%s, %s, %d, %d)", name, x, least, max(most, least))
		if f.Pattern != "" {
			c.add("v.pattern(%s, %s, %s, %q)", name, x, e.patternVar(f), f.Form)
		}
	case Email:
		c.add("v.email(%s, %s)", name, x)
	case URL:
		c.add("v.url(%s, %s)", name, x)
	case Phone, ISBN, Slug, UUID, Color, Currency:
		c.add("v.%s(%s, %s)", f.Field.Type, name, x)
	case Enum:
		quoted := make([]string, len(f.Values))
		for i, v := range f.Values {
			quoted[i] = strconv.Quote(v)
		}
		c.add("v.oneOf(%s, %s, %s)", name, x, strings.Join(quoted, ", "))
	case Reference:
		c.add("if _, ok := s.%s.get(%s); !ok {\nv.add(%s, \"names no %s\")\n}", e.service.entity(f.Ref).List, x, name, f.Ref)
	case List:
		c.add("for _, item := range %s {\nv.text(%s, item, 1, 500)\n}", x, name)
	case Int, Decimal:
		bound := func(n string) string {
			if f.Field.Type == Decimal {
				return decimalExpr(n)
			}
			return n
		}
		if f.Min != "" {
			c.add("if %s < %s {\nv.add(%s, \"must be at least %s\")\n}", x, bound(f.Min), name, f.Min)
		}
		if f.Above != "" {
			c.add("if %s <= %s {\nv.add(%s, \"must be above %s\")\n}", x, bound(f.Above), name, f.Above)
		}
		if f.Max != "" {
			c.add("if %s > %s {\nv.add(%s, \"must be at most %s\")\n}", x, bound(f.Max), name, f.Max)
		}
	}
	if (f.MinLen > 1 || f.MaxLen > 0) && f.Field.Type != String && f.Field.Type != Text && f.Field.Type != Password {
		most := f.MaxLen
		if most == 0 {
			most = 2048
		}
		c.add("v.text(%s, %s, %d, %d)", name, x, f.MinLen, most)
	}
	if f.Target != "" {
		past, future := x+".Before(now)", x+".After(now)"
		changed := "!" + x + ".Equal(old." + f.Go + ")"
		if f.Field.Type == Date {
			past, future = x+" < today(now)", x+" > today(now)"
			changed = x + " != old." + f.Go
		}
		if f.Pointer {
			changed = "!equal(" + x + ", old." + f.Go + ")"
		}
		if f.Target == "future" {
			c.add("if %s && (old == nil || %s) {\nv.add(%s, \"must not be in the past\")\n}", past, changed, name)
		} else {
			c.add("if %s {\nv.add(%s, \"must not be in the future\")\n}", future, name)
		}
	}
}

// patternVar is the variable that holds the regular expression of a field.
func (e *genEntity) patternVar(f genField) string { return goVar(e.Kind) + f.Go + "Pattern" }

// Patterns are the regular expressions of the fields, as Go.
func (e *genEntity) Patterns() string {
	var c code
	for _, f := range e.Inputs {
		if f.Pattern != "" {
			quoted := "`" + f.Pattern + "`"
			if strings.Contains(f.Pattern, "`") {
				quoted = strconv.Quote(f.Pattern)
			}
			c.add("\nvar %s = regexp.MustCompile(%s)", e.patternVar(f), quoted)
		}
	}
	return c.String()
}

func dueExpr(start string, from, to FieldType, r Rule) string {
	days := r.N
	if r.Unit == "week" {
		days *= 7
	}
	if from == Date {
		return fmt.Sprintf("%s.addDays(%d)", start, days)
	}
	at := fmt.Sprintf("%s.AddDate(0, 0, %d)", start, days)
	switch r.Unit {
	case "hour":
		at = fmt.Sprintf("%s.Add(%d * time.Hour)", start, r.N)
	case "minute":
		at = fmt.Sprintf("%s.Add(%d * time.Minute)", start, r.N)
	}
	if to == Date {
		return "today(" + at + ")"
	}
	return at
}

// before is the condition that b is not after a.
func before(b, a string, fa, fb genField, v string) string {
	var guards []string
	if fa.Pointer {
		guards = append(guards, a+" != nil")
		a = "*" + a
	}
	if fb.Pointer {
		guards = append(guards, b+" != nil")
		b = "*" + b
	}
	cond := b + " <= " + a
	if fa.Field.Type == Timestamp {
		cond = fmt.Sprintf("!%s.After(%s)", strings.TrimPrefix(b, "*"), a)
	} else if !fa.Pointer && !fb.Pointer {
		guards = append(guards, b+` != ""`)
	}
	if fa.Field.Type == Timestamp && !fa.Pointer && !fb.Pointer {
		guards = append(guards, "!"+b+".IsZero()")
	}
	return strings.Join(append(guards, cond), " && ")
}

// spanRule refuses an interval that is too long, or too short.
func (e *genEntity) spanRule(c *code, r Rule) {
	a, b := e.gen(r.Start), e.gen(r.End)
	x, y := e.Var+"."+a.Go, e.Var+"."+b.Go
	var guards []string
	for _, f := range []genField{a, b} {
		if f.Pointer {
			guards = append(guards, e.Var+"."+f.Go+" != nil")
		}
	}
	if b.Pointer && b.Field.Type == Date {
		y = "*" + y
	}
	op := map[string]string{"most": "%s.After(%s)", "least": "%s.Before(%s)"}[r.Verb]
	limit := fmt.Sprintf("%s.Add(%d * time.%s)", x, r.N, strings.ToUpper(r.Unit[:1])+r.Unit[1:])
	if r.Unit == "day" {
		limit = fmt.Sprintf("%s.AddDate(0, 0, %d)", x, r.N)
	}
	cond := fmt.Sprintf(op, y, limit)
	if a.Field.Type == Date {
		if a.Pointer {
			x = "(*" + x + ")"
		}
		cond = fmt.Sprintf("%s %s %s.addDays(%d)", y, map[string]string{"most": ">", "least": "<"}[r.Verb], x, r.N)
	} else if b.Pointer {
		cond = fmt.Sprintf(op, "("+"*"+y+")", limit)
	}
	c.add("// %s: %s.\nif %s {\nv.add(%q, \"must be at %s %d %ss after %s\")\n}", r.ID, r.Describe(e.service.Spec), and(append(guards, cond)...), r.End, r.Verb, r.N, r.Unit, r.Start)
}

func (e *genEntity) productRule(c *code, r Rule) {
	g := e.service
	f, q := e.gen(r.Field), e.gen(r.Start)
	c.add("// %s: %s.", r.ID, r.Describe(g.Spec))
	price := e.Var + "." + e.gen(r.Other).Go
	if r.Child != "" {
		ref := e.gen(r.Child)
		p := g.entity(ref.Ref)
		c.add("if parent, ok := s.%s.get(%s.%s); ok {", p.List, e.Var, ref.Go)
		price = "parent." + p.gen(r.Other).Go
	} else {
		c.add("{")
	}
	c.add("total, fits := %s.times(%s.%s)\nif !fits {\nv.add(%q, \"is too large\")\n}\n%s.%s = total\n}", price, e.Var, q.Go, r.Start, e.Var, f.Go)
}

func (e *genEntity) dropCode(c *code) {
	g := e.service
	for _, r := range g.RulesOf(e.Noun, RuleFrozen) {
		if r.Verb == "delete" {
			f := e.gen(r.Field)
			c.add("// %s: %s.\nif gone, _ := s.%s.get(id); gone.%s == %s {\nreturn nil, conflict(%q, \"%s %s that is %s can't be deleted\")\n}", r.ID, r.Describe(g.Spec), e.List, f.Go, stateLiteral(f, r.State), r.Field, article(e.Noun), e.Noun, describeState(f, r.State))
		}
	}
	var body code
	for _, child := range g.Entities {
		for _, f := range child.Stored {
			if f.Field.Type != Reference || f.Ref != e.Noun {
				continue
			}
			e.HasChildren = true
			same := "other." + f.Go + " == id"
			if f.Pointer {
				same = "other." + f.Go + " != nil && *" + same
			}
			if child == e {
				same = "other.ID != id && " + same
			}
			if f.Cascade {
				body.add("for other := range s.%s.all() {\nif !(%s) {\ncontinue\n}\nmore, err := s.drop%s(other.ID)\nif err != nil {\nreturn nil, err\n}\nchanges = append(changes, more...)\n}", child.List, same, child.Name)
				continue
			}
			body.add("for other := range s.%s.all() {\nif %s {\nreturn nil, conflict(\"\", \"%s %s refers to it: %%s\", other.ID)\n}\n}", child.List, same, article(child.Noun), child.Noun)
		}
	}
	if e.Account {
		body.add("changes = append(changes, s.forget(id)...)")
	}
	if body.Len() == 0 {
		c.add("return []change{{Kind: %q, ID: id}}, nil", e.Kind)
		return
	}
	c.add("changes := []change{{Kind: %q, ID: id}}\n%sreturn changes, nil", e.Kind, body.String())
}

// viewRule computes what is not stored.
func (e *genEntity) viewRule(c *code, r Rule) {
	g := e.service
	f := e.gen(r.Field)
	c.add("// %s: %s.", r.ID, r.Describe(g.Spec))
	if r.Kind == RuleOverdue {
		due := e.gen(r.Other)
		late := e.Var + "." + due.Go + ".Before(s.now())"
		if due.Field.Type == Date {
			late = e.Var + "." + due.Go + " < today(s.now())"
			if due.Pointer {
				late = "*" + late
			}
		}
		if due.Pointer {
			late = e.Var + "." + due.Go + " != nil && " + late
		}
		c.add("%s.%s = %s", e.Var, f.Go, and(e.activeExpr(e.Var, r.Active), late))
		return
	}
	child := g.entity(r.Child)
	var ref genField
	for _, cf := range child.Stored {
		if cf.Field.Type == Reference && cf.Ref == e.Noun {
			ref = cf
		}
	}
	same := fmt.Sprintf("part.%s == %s.ID", ref.Go, e.Var)
	if ref.Pointer {
		same = fmt.Sprintf("part.%s != nil && *part.%s == %s.ID", ref.Go, ref.Go, e.Var)
	}
	c.add("%s.%s = 0\nfor part := range s.%s.all() {\nif !(%s) {\ncontinue\n}", e.Var, f.Go, child.List, same)
	price := "part." + child.gen(r.Other).Go
	if r.End != "" {
		pf := child.gen(r.End)
		p := g.entity(pf.Ref)
		id := "part." + pf.Go
		c.add("parent, _ := s.%s.get(%s)", p.List, id)
		price = "parent." + p.gen(r.Other).Go
	}
	c.add("if amount, fits := %s.times(part.%s); fits {\n%s.%s += amount\n}\n}", price, child.gen(r.Start).Go, e.Var, f.Go)
}

func (e *genEntity) action(a Action) genAction {
	f := e.gen(a.Field)
	out := genAction{Action: a, Go: goName(a.Verb), Path: "/" + kebab(a.Verb)}
	var c code
	switch {
	case a.State == "" && f.Field.Type == Timestamp:
		c.add("if in.%s != nil {\nreturn conflict(%q, \"%s is set already\")\n}\nin.%s = &Timestamp{s.now()}", f.Go, a.Field, a.Field, f.Go)
	case a.State == "":
		c.add("if in.%s != nil {\nreturn conflict(%q, \"%s is set already\")\n}\nin.%s = ptr(today(s.now()))", f.Go, a.Field, a.Field, f.Go)
	default:
		c.add("if in.%s != nil && *in.%s == %s {\nreturn conflict(%q, \"it is %s already\")\n}\nin.%s = ptr(%s)", f.Go, f.Go, stateLiteral(f, a.State), a.Field, describeState(f, a.State), f.Go, stateLiteral(f, a.State))
	}
	out.Code = c.String()
	return out
}
