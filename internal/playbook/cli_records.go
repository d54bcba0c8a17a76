package playbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// recordKnowledge is a kind of record that people keep.
type recordKnowledge struct {
	Noun   string            `yaml:"noun"`
	Plural string            `yaml:"plural"`
	Name   string            `yaml:"name"` // of the program
	Main   string            `yaml:"main"` // the field that add takes without a flag
	Fields map[string]string `yaml:"fields"`
	Done   bool              `yaml:"done"`  // can be done
	Total  string            `yaml:"total"` // the field that can be added up
	Names  []string          `yaml:"names"`
}

// recordsData is what the templates of a record keeper see.
type recordsData struct {
	Noun, Plural, Type string
	Main               recordField
	Fields             []recordField // besides Main
	actions            []string
}

type recordField struct{ Name, Go, GoType, Type, JSON string }

// Can reports whether the program has an action.
func (d *recordsData) Can(action string) bool { return slices.Contains(d.actions, action) }

// Number is the field that can be added up, or "".
func (d *recordsData) Number() string {
	for _, f := range d.Fields {
		if f.Type == "decimal" || f.Type == "int" {
			return f.Name
		}
	}
	return ""
}

// Day is the first field that is a date, as Go names it, or "".
func (d *recordsData) Day() string {
	for _, f := range d.Fields {
		if f.Type == "date" {
			return f.Go
		}
	}
	return ""
}

// Has reports whether some field has a type.
func (d *recordsData) Has(fieldType string) bool {
	return slices.ContainsFunc(d.Fields, func(f recordField) bool { return f.Type == fieldType })
}

// A type in a task, the type of its flag, and how a record keeps it.
func recordGoType(t FieldType) string {
	switch t {
	case Int:
		return "int"
	case List:
		return "[]string"
	}
	return "string"
}

func (r *RecordsSpec) data() *recordsData {
	d := &recordsData{Noun: r.Noun, Plural: r.Plural, Type: capital(r.Noun), actions: r.Actions}
	for _, f := range r.Fields {
		field := recordField{Name: f.Name, Go: capital(f.Name), GoType: recordGoType(f.Type), Type: string(f.Type), JSON: f.Name}
		if f.Name == "url" {
			field.Go = "URL"
		}
		if f.Main {
			d.Main = field
		} else {
			d.Fields = append(d.Fields, field)
		}
	}
	return d
}

// sampleOf is a value of a field for examples and tests.
func sampleOf(t FieldType) string {
	switch t {
	case Int:
		return "3"
	case Decimal:
		return "4.50"
	case Date:
		return "2024-02-29"
	case Enum:
		return "high"
	}
	return "home"
}

// cases shows one action after the other. Each case has its own directory, so
// that all but the first begin with a file.
func (r *RecordsSpec) cases(program string) []cliCase {
	file := r.Plural + ".json"
	d := r.data()
	member := fmt.Sprintf("%q: %q", d.Main.JSON, "first")
	show := "first"
	var flags []string
	for _, f := range r.Fields {
		if f.Main {
			continue
		}
		flag := strings.TrimSuffix(f.Name, "s")
		if f.Type != List {
			flag = f.Name
		}
		flags = append(flags, "-"+flag, sampleOf(f.Type))
		switch f.Type {
		case Int:
			member += fmt.Sprintf(", %q: 3", f.Name)
		case List:
			member += fmt.Sprintf(", %q: [\"home\"]", f.Name)
		default:
			member += fmt.Sprintf(", %q: %q", f.Name, sampleOf(f.Type))
		}
		show += "  " + f.Name + ": " + sampleOf(f.Type)
	}
	kept := map[string]string{file: fmt.Sprintf("{\"next\": 2, \"%s\": [{\"id\": 1, %s, \"created\": \"2024-01-02T03:04:05Z\"}]}", r.Plural, member)}
	mark := ""
	if d.Can("done") {
		mark = "[ ] "
	}
	line := "1  " + mark + show + "\n"
	var out []cliCase
	add := func(name string, k caseKnowledge) {
		k.Args = append([]string{"-file", file}, k.Args...)
		out = append(out, cliCase{k.shown(program), name})
	}
	add("add", caseKnowledge{Args: append([]string{"add", "first"}, flags...), Want: "added " + r.Noun + " 1\n", Show: true})
	add("list", caseKnowledge{Args: []string{"list"}, Files: kept, Want: line, Show: true})
	add("list nothing", caseKnowledge{Args: []string{"list"}})
	add("remove", caseKnowledge{Args: []string{"remove", "1"}, Files: kept, Want: "removed " + r.Noun + " 1\n", Show: true})
	add("remove none", caseKnowledge{Args: []string{"remove", "7"}, Files: kept, Error: "no " + r.Noun + " 7", Code: 1})
	add("add nothing", caseKnowledge{Args: []string{"add"}, Error: "which " + d.Main.Name + "?", Code: 2})
	add("bad id", caseKnowledge{Args: []string{"remove", "x"}, Error: `"x" is not the id`, Code: 2})
	add("damaged file", caseKnowledge{Args: []string{"list"}, Files: map[string]string{file: "{"}, Error: file, Code: 1})
	if d.Can("done") {
		add("done", caseKnowledge{Args: []string{"done", "1"}, Files: kept, Want: "done: first\n", Show: true})
	}
	if d.Can("search") {
		add("search", caseKnowledge{Args: []string{"search", "FIR"}, Files: kept, Want: line, Show: true})
		add("search in vain", caseKnowledge{Args: []string{"search", "zzz"}, Files: kept})
	}
	if d.Can("edit") {
		add("edit", caseKnowledge{Args: []string{"edit", "1", "second"}, Files: kept, Want: "changed " + r.Noun + " 1\n", Show: true})
	}
	if d.Can("total") {
		i := slices.IndexFunc(r.Fields, func(f RecordField) bool { return f.Name == d.Number() })
		add("total", caseKnowledge{Args: []string{"total"}, Files: kept, Want: sampleOf(r.Fields[i].Type) + "\n", Show: true})
	}
	if d.Can("month") {
		add("list a month", caseKnowledge{Args: []string{"list", "-month", "2024-02"}, Files: kept, Want: line, Show: true})
		add("list another month", caseKnowledge{Args: []string{"list", "-month", "2024-03"}, Files: kept})
		add("bad month", caseKnowledge{Args: []string{"list", "-month", "2024"}, Files: kept, Error: "want YYYY-MM", Code: 2})
	}
	for _, f := range d.Fields {
		switch f.Type {
		case "date", "enum", "decimal":
			add("bad "+f.Name, caseKnowledge{Args: []string{"add", "x", "-" + f.Name, "nonsense"}, Error: "-" + f.Name, Code: 2})
		}
	}
	return out
}

// parseRecords finds what kind of record the task keeps, with which fields, and
// what can be done with them.
func (c *CLISpec) parseRecords(w *wording) bool {
	kind, at, ok := findKind(w)
	if !ok {
		return false
	}
	r := &RecordsSpec{Noun: kind.Noun, Plural: kind.Plural}
	r.Fields = []RecordField{{Name: kind.Main, Type: String, Main: true}}
	for _, name := range slices.Sorted(maps.Keys(kind.Fields)) {
		r.Fields = append(r.Fields, RecordField{Name: name, Type: FieldType(kind.Fields[name])})
	}
	if kind.Done {
		r.Actions = append(r.Actions, "done")
	}
	c.About = "keeps " + kind.Plural + " in a file"
	c.cover(w.clauseOf(at), c.About)
	w.explain(kind.Names...)
	for _, a := range knownCLI().Actions {
		if spans := w.findAny(a.Phrases); len(spans) > 0 {
			c.recordAction(w, r, a, spans)
		}
	}
	w.explain(kind.Noun+"|"+kind.Plural, "item|items|entry|entries|record|records", "manage|manages|managing|track|tracks|tracking|organize", "personal", "command|commands|subcommand|subcommands", "optional|optionally", "each|every "+kind.Noun+"|item|entry", "completed|pending|open", "list of", "list|lists", "status", "local|locally", "text")
	if c.Name == "" {
		c.Name = kind.Name
	}
	c.Records = r
	return true
}

func findKind(w *wording) (recordKnowledge, wordSpan, bool) {
	// A kind is asked for by its own name; a word such as "books" alone may be
	// what some other program is about, unless records of it are kept.
	for _, k := range knownCLI().Kinds {
		for i, name := range k.Names {
			last := i == len(k.Names)-1
			for _, s := range w.find(name) {
				if s.to-s.from > 1 || !last || w.has("manage|manages|managing|manager|track|tracks|tracking|tracker|keep|keeps|add|adds|adding|todo") {
					return k, s, true
				}
			}
		}
	}
	return recordKnowledge{}, wordSpan{}, false
}

// recordAction takes up one wish, unless records of this kind can't meet it.
func (c *CLISpec) recordAction(w *wording, r *RecordsSpec, a featureKnowledge, spans []wordSpan) {
	if definition, ok := strings.CutPrefix(a.Key, "field:"); ok {
		name, fieldType, _ := strings.Cut(definition, ":")
		if w.spansUsed(spans) && !slices.ContainsFunc(r.Fields, func(f RecordField) bool { return f.Name == name }) {
			return // "due date" is not also a date
		}
		if !slices.ContainsFunc(r.Fields, func(f RecordField) bool { return f.Name == name }) {
			r.Fields = append(r.Fields, RecordField{Name: name, Type: FieldType(fieldType)})
		}
	} else if a.Key == "total" && r.data().Number() == "" || a.Key == "month" && r.data().Day() == "" {
		return
	} else if !slices.Contains(r.Actions, a.Key) {
		r.Actions = append(r.Actions, a.Key)
	}
	for _, s := range spans {
		w.mark(s)
	}
	c.cover(w.clauseOf(spans[0]), a.As)
}

func (w *wording) spansUsed(spans []wordSpan) bool {
	return !slices.ContainsFunc(spans, func(s wordSpan) bool { return !w.allUsed(s) })
}
