package playbook

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// OpenPath is a collection that anyone may post to, as far as there is one.
func (g *genService) OpenPath() string {
	for _, e := range g.Entities {
		if g.Auth == nil || e.needOf("create") == "need{}" || e.Account && !strings.Contains(e.needOf("create"), "roles") {
			return e.Path
		}
	}
	return "/login"
}

// LeafPath is a collection whose records need no others, for tests of lists.
func (g *genService) LeafPath() string {
	for _, e := range g.Entities {
		if !slices.ContainsFunc(e.Inputs, func(f genField) bool { return f.Field.Type == Reference && !f.Pointer }) && !e.Account {
			return e.Path
		}
	}
	return g.Entities[0].Path
}

// RegisterToken is the token of whoever may make accounts, as Go.
func (g *genService) RegisterToken() string {
	if strings.Contains(g.Account.needOf("create"), "roles") {
		return "c.token"
	}
	return `""`
}

// LoginOperations are the methods and paths that refuse a caller without a token.
func (g *genService) LoginOperations() []string {
	var out []string
	for _, e := range g.Entities {
		for _, op := range []struct{ verb, method, path string }{
			{"create", "Post", e.Path}, {"read", "Get", e.Path}, {"read", "Get", e.Path + "/1"}, {"update", "Patch", e.Path + "/1"}, {"delete", "Delete", e.Path + "/1"},
		} {
			if e.Account && op.verb != "create" || !e.Account && e.needOf(op.verb) != "need{}" {
				out = append(out, fmt.Sprintf("http.Method%s, %q", op.method, op.path))
			}
		}
	}
	return out
}

// TaskLines are the lines of the task, to be quoted.
func (g *genService) TaskLines() []string { return strings.Split(strings.TrimSpace(g.Task), "\n") }

// RuleLines say what each rule of the task became.
func (g *genService) RuleLines() []string {
	var out []string
	for _, r := range g.Rules {
		out = append(out, fmt.Sprintf("%s. “%s”: %s.", r.ID, strings.Join(strings.Fields(r.Clause), " "), r.Describe(g.Spec)))
	}
	return out
}

// Example is a request with curl.
func (g *genService) Example() string {
	e := g.Entities[0]
	for _, candidate := range g.Entities {
		if candidate.Path == g.LeafPath() {
			e = candidate
		}
	}
	base := "http://127.0.0.1:" + g.Port()
	var b strings.Builder
	token := ""
	if g.Auth != nil && strings.Contains(e.needOf("create"), "login") {
		fmt.Fprintf(&b, "TOKEN=$(curl -s %s/login -H 'Content-Type: application/json' \\\n  -d '{\"email\":\"admin@example.com\",\"password\":\"…\"}' | sed 's/.*\"token\":\"\\([^\"]*\\).*/\\1/')\n", base)
		token = " -H \"Authorization: Bearer $TOKEN\""
	}
	var members []string
	for _, f := range e.Inputs {
		if !f.Pointer && f.Default == "" && !f.Now && f.Field.Type != List {
			members = append(members, fmt.Sprintf("%q:%s", f.Field.Name, f.example()))
		}
	}
	fmt.Fprintf(&b, "curl -s %s%s%s -H 'Content-Type: application/json' \\\n  -d '{%s}'\ncurl -s '%s%s?limit=10'%s\n", base, e.Path, token, strings.Join(members, ","), base, e.Path, token)
	return b.String()
}

// example is a value as JSON.
func (f genField) example() string {
	switch f.Field.Type {
	case Int:
		return f.number(false)
	case Decimal:
		return f.number(true)
	case Bool:
		return "true"
	case Date:
		return `"2030-01-31"`
	case Timestamp:
		return `"2030-01-31T12:00:00Z"`
	case Email:
		return `"ada@example.com"`
	case URL:
		return `"https://example.com"`
	case Reference:
		return `"1"`
	case Password:
		return `"correct horse battery"`
	case UUID:
		return `"0a1b2c3d-0000-4000-8000-000000000001"`
	}
	if expr, ok := sample(f.Field); ok && f.Pattern != "" {
		return strconv.Quote(sampleText(expr, 1))
	}
	return strconv.Quote("some " + strings.ReplaceAll(f.Field.Name, "_", " "))
}

// number is one that the bounds allow.
func (f genField) number(fraction bool) string {
	low, _ := strconv.ParseFloat(f.Min, 64) // "" is no bound, and 0 serves
	if above, err := strconv.ParseFloat(f.Above, 64); err == nil {
		low = above + 1
	}
	n := max(low, 5)
	if high, err := strconv.ParseFloat(f.Max, 64); err == nil && n > high {
		n = high
	}
	if fraction && f.Max == "" {
		n += 0.25
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// BootstrapValue is what the first administrator has in a required field.
func (f genField) BootstrapValue() string {
	switch f.Field.Type {
	case Int:
		return "func() *int64 { n := int64(" + f.number(false) + "); return &n }()"
	case Decimal:
		return "func() *Decimal { n := Decimal(" + decimalExpr(f.number(true)) + "); return &n }()"
	case Date:
		return "func() *Date { d := Date(\"2000-01-01\"); return &d }()"
	case Timestamp:
		return "&Timestamp{s.now()}"
	case URL:
		return "ptr(\"https://example.com\")"
	case Phone:
		return "ptr(\"+10000000000\")"
	}
	if expr, ok := sample(f.Field); ok && f.Pattern != "" {
		return "ptr(" + strconv.Quote(sampleText(expr, 1)) + ")"
	}
	return "ptr(\"administrator\")"
}

// Fixture is the body of a function that returns a valid input as a map.
func (e *genEntity) Fixture(mode string) string {
	var c code
	var members []string
	for _, f := range e.Inputs {
		if f.Pointer || f.Now || f.Field.Type == List || f.Default != "" {
			continue
		}
		value := ""
		if f.Field.Type == Reference {
			if f.Ref == e.Noun {
				continue
			}
			parent := e.service.entity(f.Ref)
			local := goVar(f.Field.Name)
			if mode == "domain" {
				c.add("%s := new%s(t, s)", local, parent.Name)
				value = local + ".ID"
			} else {
				c.add("%s := c.create(%q%s)", local, parent.Path, e.requiredFlags(f.Field.Name))
				e.flagMoves(&c, f.Field.Name, local)
				value = local + `["id"]`
			}
			if mode == "domain" {
				e.domainFlags(&c, f.Field.Name, local)
			}
		} else {
			value = e.fixtureValue(f)
		}
		members = append(members, fmt.Sprintf("%q: %s,", f.Field.Name, value))
	}
	kind := map[string]string{"domain": "map[string]any", "http": "object"}[mode]
	if !strings.Contains(strings.Join(members, ""), "n") || !usesN(members) {
		c.add("_ = n // nothing in it has to differ")
	}
	c.add("return %s{\n%s\n}", kind, strings.Join(members, "\n"))
	return c.String()
}

func usesN(members []string) bool {
	return slices.ContainsFunc(members, func(m string) bool {
		return strings.Contains(m, ", n)") || strings.Contains(m, "+n") || strings.Contains(m, "(n)") || strings.Contains(m, "int(n)") || strings.Contains(m, ", n%")
	})
}

// fixtureValue is a Go expression, different for each n where it can be.
func (e *genEntity) fixtureValue(f genField) string {
	day := 0
	if end := e.endOf(f.Field.Name); end {
		day = 1
	}
	year := 2100
	if f.Target == "past" {
		year = 2001
	}
	switch f.Field.Type {
	case Email:
		return `fmt.Sprintf("someone%d@example.com", n)`
	case URL:
		return `fmt.Sprintf("https://example.com/%d", n)`
	case Phone:
		return `fmt.Sprintf("+1 555 %07d", n)`
	case ISBN:
		return `fmt.Sprintf("978%010d", n)`
	case Slug:
		return `fmt.Sprintf("slug-%d", n)`
	case UUID:
		return `fmt.Sprintf("%08d-0000-4000-8000-000000000000", n)`
	case Color:
		return `fmt.Sprintf("#%06d", n)`
	case Currency:
		return `"EUR"`
	case Password:
		return `"correct horse battery"`
	case Enum:
		return strconv.Quote(f.Values[0])
	case Bool:
		return "true"
	case Int:
		for _, r := range e.service.Rules {
			if r.Kind == RuleStock && r.Entity == e.Noun && r.Start == f.Field.Name {
				return "1"
			}
		}
		if f.Unique && f.Max == "" {
			return f.number(false) + "+n"
		}
		if slices.ContainsFunc(e.service.RulesOf(e.Noun, RulePair), func(r Rule) bool { return slices.Contains(r.Fields, f.Field.Name) }) {
			least, _ := strconv.Atoi(f.Min) // "" is no bound, and 0 serves
			most, err := strconv.Atoi(f.Max)
			if err != nil {
				most = least + 1000
			}
			return fmt.Sprintf("%d+n%%%d", least+1, max(1, most-least))
		}
		return f.number(false)
	case Decimal:
		return f.number(true)
	case Date, Timestamp:
		for _, r := range e.service.RulesOf(e.Noun, RuleSpan) {
			if r.End == f.Field.Name {
				layout := map[FieldType]string{Date: "DateOnly", Timestamp: "RFC3339"}[f.Field.Type]
				return fmt.Sprintf("time.Date(%d, 1, 1+2*int(n), 12, %d, 0, 0, time.UTC).Format(time.%s)", year, spanMinutes(r), layout)
			}
		}
	}
	switch f.Field.Type {
	case Date:
		return fmt.Sprintf("time.Date(%d, 1, 1+2*int(n)+%d, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)", year, day)
	case Timestamp:
		return fmt.Sprintf("time.Date(%d, 1, 1+2*int(n)+%d, 12, 0, 0, 0, time.UTC).Format(time.RFC3339)", year, day)
	}
	if expr, ok := sample(f.Field); ok && f.Pattern != "" {
		return expr
	}
	if f.MaxLen > 0 && f.MaxLen < 24 || f.MinLen > 8 {
		return fmt.Sprintf("fmt.Sprintf(\"%%0%dd\", n)", max(f.MinLen, min(max(f.MaxLen, 1), 4)))
	}
	return fmt.Sprintf("fmt.Sprintf(%q, n)", strings.ReplaceAll(f.Field.Name, "_", " ")+" %d")
}

// endOf reports whether a time must be after another.
func (e *genEntity) endOf(name string) bool {
	return slices.ContainsFunc(e.service.Rules, func(r Rule) bool {
		return r.Kind == RuleOrder && r.Entity == e.Noun && r.End == name
	})
}

// flags are the rules that ask for a state of what a field refers to.
func (e *genEntity) flags(ref string) []Rule {
	return slices.DeleteFunc(e.service.RulesOf(e.Noun, RuleParentFlag), func(r Rule) bool { return r.Field != ref })
}

// wanted is the value that lets new records in.
func (e *genEntity) wanted(r Rule) (f genField, value string) {
	p := e.service.entity(e.gen(r.Field).Ref)
	f = p.gen(r.Other)
	if r.Verb == "require" {
		return f, r.Value
	}
	if f.Field.Type == Bool {
		return f, map[string]string{"true": "false", "false": "true"}[r.Value]
	}
	for _, v := range f.Values {
		if v != r.Value {
			return f, v
		}
	}
	return f, ""
}

func (e *genEntity) requiredFlags(ref string) string {
	out := ""
	for _, r := range e.flags(ref) {
		f, value := e.wanted(r)
		if value != f.Default && len(e.service.entity(e.gen(ref).Ref).path(f.Field.Name, f.Default, value)) == 0 {
			out += fmt.Sprintf(", %q, %s", f.Field.Name, stateLiteral(f, value))
		}
	}
	return out
}

// flagMoves takes the parent to the state through its state machine.
func (e *genEntity) flagMoves(c *code, ref, local string) {
	for _, r := range e.flags(ref) {
		f, value := e.wanted(r)
		p := e.service.entity(e.gen(ref).Ref)
		for _, state := range p.path(f.Field.Name, f.Default, value) {
			c.add("c.want(http.StatusOK, http.MethodPatch, path(%q, %s), object{%q: %q})", p.Path, local, f.Field.Name, state)
		}
	}
}

func (e *genEntity) domainFlags(c *code, ref, local string) {
	for _, r := range e.flags(ref) {
		f, value := e.wanted(r)
		if value == f.Default {
			continue
		}
		p := e.service.entity(e.gen(ref).Ref)
		steps := p.path(f.Field.Name, f.Default, value)
		if len(steps) == 0 {
			steps = []string{value}
		}
		for _, state := range steps {
			c.add("if _, err := s.Update%s(%s.ID, func(in *%sInput) error { in.%s = ptr(%s); return nil }); err != nil {\nt.Fatal(err)\n}", p.Name, local, p.Name, f.Go, stateLiteral(f, state))
		}
	}
}

// path is the shortest way through the state machine of a field, without the
// start; empty when there is no machine or no way.
func (e *genEntity) path(field, from, to string) []string {
	for _, r := range e.service.RulesOf(e.Noun, RuleStates) {
		if r.Field != field {
			continue
		}
		type node struct {
			state string
			way   []string
		}
		queue, seen := []node{{state: from}}, map[string]bool{from: true}
		for len(queue) > 0 {
			n := queue[0]
			queue = queue[1:]
			if n.state == to {
				return n.way
			}
			for _, edge := range r.Edges {
				if edge.From == n.state && !seen[edge.To] {
					seen[edge.To] = true
					queue = append(queue, node{edge.To, append(slices.Clone(n.way), edge.To)})
				}
			}
		}
	}
	return nil
}

// FieldCases are rows of the table of accepted and refused values.
func (e *genEntity) FieldCases() []string {
	var out []string
	row := func(f genField, name, value string, ok bool) {
		out = append(out, fmt.Sprintf("%q, %q, %s, %v", f.Field.Name+" "+name, f.Field.Name, value, ok))
	}
	for _, f := range e.Inputs {
		if !f.Pointer && f.Default == "" && !f.Now && f.Field.Type != List {
			row(f, "missing", "nil", false)
		}
		if f.Pointer {
			row(f, "left out", "nil", true)
		}
		unit := 1.0
		if f.Field.Type == Decimal {
			unit = 0.01
		}
		number := func(bound string, by float64) string {
			n, _ := strconv.ParseFloat(bound, 64) // bounds are checked when the task is read
			return strconv.FormatFloat(n+by, 'f', -1, 64)
		}
		fixed := slices.ContainsFunc(e.service.RulesOf(e.Noun, RuleStock, RuleProduct), func(r Rule) bool { return r.Start == f.Field.Name })
		if f.Min != "" {
			row(f, "at its least", number(f.Min, 0), true)
			row(f, "under its least", number(f.Min, -unit), false)
		}
		if f.Above != "" {
			row(f, "at its bound", number(f.Above, 0), false)
			row(f, "just above its bound", number(f.Above, unit), true)
		}
		if f.Max != "" {
			if !fixed {
				row(f, "at its most", number(f.Max, 0), true)
			}
			row(f, "over its most", number(f.Max, unit), false)
		}
		switch f.Field.Type {
		case Email:
			row(f, "not an address", `"nobody"`, false)
		case URL:
			row(f, "not a URL", `"example"`, false)
		case Phone, ISBN, UUID, Color, Currency:
			row(f, "not of its form", `"?"`, false)
		case Slug:
			row(f, "not of its form", `"Not A Slug"`, false)
		case Enum:
			row(f, "unknown", `"no such value"`, false)
			if !e.hasMachine(f.Field.Name) {
				for _, v := range f.Values {
					row(f, v, strconv.Quote(v), true)
				}
			}
		case Reference:
			row(f, "unknown", `"0"`, false)
		case String, Text, Password:
			if f.Pattern != "" {
				row(f, "not of its form", strconv.Quote(f.otherForm()), false)
				continue
			}
			least, most := f.MinLen, f.MaxLen
			if f.Field.Type == Password {
				least, most = e.service.PasswordMin(), 128
			}
			if least == 0 && !f.Pointer {
				least = 1
			}
			if least == 1 {
				row(f, "blank", `" "`, false)
			}
			if least > 1 {
				row(f, "one too short", fmt.Sprintf("strings.Repeat(\"x\", %d)", least-1), false)
				row(f, "short enough", fmt.Sprintf("strings.Repeat(\"x\", %d)", least), true)
			}
			if most > 0 {
				row(f, "at its longest", fmt.Sprintf("strings.Repeat(\"é\", %d)", most), true)
				row(f, "one too long", fmt.Sprintf("strings.Repeat(\"é\", %d)", most+1), false)
			}
		}
		switch f.Target {
		case "future":
			row(f, "in the past", `"2001-01-01T00:00:00Z"`[:map[FieldType]int{Date: 11, Timestamp: 21}[f.Field.Type]]+`"`, false)
		case "past":
			row(f, "in the future", `"2101-01-01T00:00:00Z"`[:map[FieldType]int{Date: 11, Timestamp: 21}[f.Field.Type]]+`"`, false)
		}
	}
	return out
}

// otherForm is a text that the pattern of the field does not take.
func (f genField) otherForm() string {
	re := regexp.MustCompile(f.Pattern)
	for _, text := range []string{"no such form?", "?", "no", "NO", "-1", "\u2603"} {
		if !re.MatchString(text) {
			return text
		}
	}
	return ""
}

func (e *genEntity) hasMachine(field string) bool {
	return slices.ContainsFunc(e.service.RulesOf(e.Noun, RuleStates), func(r Rule) bool { return r.Field == field })
}

// UniqueTests are tests of unique and immutable fields, and of references.
func (g *genService) UniqueTests() string {
	var b strings.Builder
	for _, e := range g.Entities {
		var c code
		for _, f := range e.Inputs {
			if f.Unique && f.Field.Type != Reference {
				value := e.fixtureValue(f)
				c.add("n %s serial.Add(1)\nc.create(%q, %q, %s)\nc.refuse(http.StatusConflict, %q, %q, %s)", map[bool]string{true: ":=", false: "="}[c.Len() == 0], e.Path, f.Field.Name, value, e.Path, f.Field.Name, value)
				if f.Fold {
					c.add("c.refuse(http.StatusConflict, %q, %q, strings.ToUpper(%s))", e.Path, f.Field.Name, value)
				}
				if f.Field.Type == String && f.Pointer {
					c.add("c.create(%q)\nc.create(%q)", e.Path, e.Path)
				}
			}
		}
		if c.Len() > 0 {
			fmt.Fprintf(&b, "\nfunc Test%sUnique(t *testing.T) {\nc := start(t)\n%s}\n", e.Name, c.String())
		}
		for _, f := range e.Inputs {
			if f.Field.Type != Reference || f.Ref == e.Noun {
				continue
			}
			p := g.entity(f.Ref)
			local := "one"
			if f.Owner {
				continue
			}
			fmt.Fprintf(&b, "\nfunc Test%s%s(t *testing.T) {\nc := start(t)\n", e.Name, f.Go)
			fmt.Fprintf(&b, "parent := c.create(%q%s)\n", p.Path, e.requiredFlags(f.Field.Name))
			var moves code
			e.flagMoves(&moves, f.Field.Name, "parent")
			b.WriteString(moves.String())
			fmt.Fprintf(&b, "%s := c.create(%q, %q, parent[\"id\"])\n", local, e.Path, f.Field.Name)
			fmt.Fprintf(&b, "c.refuse(http.StatusUnprocessableEntity, %q, %q, \"no-such-id\")\n", e.Path, f.Field.Name)
			first := slices.IndexFunc(e.Stored, func(g genField) bool { return g.Field.Type == Reference && g.Ref == f.Ref })
			if e.Stored[first].Field.Name == f.Field.Name { // a parent lists its children by their first reference to it
				fmt.Fprintf(&b, "if got := c.list(c.token, path(%q, parent)+%q); len(got) != 1 {\nt.Errorf(\"%%d of the parent, want 1\", len(got))\n}\n", p.Path, e.Path)
			}
			fmt.Fprintf(&b, "id, _ := parent[\"id\"].(string)\nif got := c.list(c.token, %q+id); len(got) != 1 {\nt.Errorf(\"%%d filtered, want 1\", len(got))\n}\n", e.Path+"?"+f.Field.Name+"=")
			if f.Cascade {
				fmt.Fprintf(&b, "c.want(http.StatusNoContent, http.MethodDelete, path(%q, parent), nil)\nc.want(http.StatusNotFound, http.MethodGet, path(%q, one), nil)\n}\n", p.Path, e.Path)
			} else {
				fmt.Fprintf(&b, "c.want(http.StatusConflict, http.MethodDelete, path(%q, parent), nil)\nc.want(http.StatusOK, http.MethodGet, path(%q, one), nil)\n}\n", p.Path, e.Path)
			}
		}
		for _, f := range e.Inputs {
			if f.Immutable && f.Field.Type != Reference && f.Field.Type != Enum && f.Field.Type != Bool && !f.Pointer {
				value := e.fixtureValue(f)
				if f.Field.Type == Int || f.Field.Type == Decimal {
					value = f.other()
				}
				if value == "" {
					continue
				}
				fmt.Fprintf(&b, "\nfunc Test%s%sIsSetOnce(t *testing.T) {\nc := start(t)\none := c.create(%q)\nn := serial.Add(1)\n_ = n\nc.want(http.StatusUnprocessableEntity, http.MethodPatch, path(%q, one), object{%q: %s})\n}\n", e.Name, f.Go, e.Path, e.Path, f.Field.Name, value)
			}
		}
	}
	return b.String()
}

// other is a number within the bounds that is not the fixture's.
func (f genField) other() string {
	n, _ := strconv.ParseFloat(f.number(false), 64) // number gives numbers
	if high, err := strconv.ParseFloat(f.Max, 64); err == nil && n+1 > high {
		return ""
	}
	return strconv.FormatFloat(n+2, 'f', -1, 64)
}
