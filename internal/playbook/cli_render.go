package playbook

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"conclave"
)

//go:embed templates/cli
var cliTemplates embed.FS

// cliData is what the templates of a program see.
type cliData struct {
	Name      string
	About     string
	Package   string // internal/PACKAGE has what the program does
	Import    string
	Module    string
	GoVersion string
	Commands  []cliCommand
	Many      bool // several commands: the first argument chooses
	Inputs    bool
	Cases     []cliCase
	*ConvertSpec
	Records *recordsData
	// Of the command that a template is for.
	Command string // as users type it: "NAME" or "NAME VERB"
	Options map[string]string

	inputArgs [][]string
}

type cliCommand struct{ Verb, Func, About string }

// cliCase is a case as Go and as help show it.
type cliCase struct {
	caseKnowledge
	Name string
}

// Has reports whether a converter has a feature.
func (d cliData) Has(feature string) bool { return d.Features[feature] }

// Variable is where a flag comes from when it is not given.
func (d cliData) Variable(flag string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(d.Name + "_" + flag))
}

// Reads reports whether a converter reads a format.
func (d cliData) Reads(format string) bool { return slices.Contains(d.From, format) }

// Writes reports whether a converter writes a format.
func (d cliData) Writes(format string) bool { return slices.Contains(d.To, format) }

// ManyFormats reports whether a format has to be chosen.
func (d cliData) ManyFormats() bool { return len(d.From) > 1 || len(d.To) > 1 }

// ReadsTable reports whether a format with a header row comes in.
func (d cliData) ReadsTable() bool { return d.readsTable() }

// WritesTable reports whether a format with an optional header row goes out.
func (d cliData) WritesTable() bool { return d.writesTable() }

// Infers reports whether text comes in and types go out.
func (d cliData) Infers() bool { return d.infers() }

// OutDelimiter is the default between cells that are written.
func (d cliData) OutDelimiter() string { return d.OutComma }

// Nested reports whether values may have fields of their own.
func (d cliData) Nested() bool {
	return slices.ContainsFunc(d.From, func(f string) bool { return formatOf(f).Nested })
}

// Ragged reports whether records may differ in their fields.
func (d cliData) Ragged() bool { return d.Nested() }

// TableOut reports whether rows of cells are written.
func (d cliData) TableOut() bool {
	return slices.ContainsFunc(d.To, func(f string) bool { return formatOf(f).Table })
}

// HasAny reports whether records are changed on their way.
func (d cliData) HasAny() bool { return len(d.Features) > 0 }

// MissingFile are the arguments with which each command reads files.
func (d cliData) MissingFile() [][]string {
	if len(d.From) > 0 {
		args := []string{}
		if d.ManyFormats() {
			args = append(args, "-from", d.From[0], "-to", d.To[0])
		}
		return [][]string{args}
	}
	return d.inputArgs
}

// TransformFails reports whether a change can fail.
func (d cliData) TransformFails() bool {
	return slices.ContainsFunc(sortedKeys(d.Features), func(f string) bool { return f != "unique" && f != "limit" })
}

// NeedsSplit reports whether a flag takes a list of names.
func (d cliData) NeedsSplit() bool {
	return d.Features["select"] || d.Features["rename"] || d.Features["sort"] || d.Features["aggregate"]
}

func (c *CLISpec) data(facts Facts) cliData {
	d := cliData{
		Name: c.Name, About: c.About, Package: packageName(c.Name), Module: modulePath(facts, c.Name), GoVersion: goVersion(facts),
		ConvertSpec: c.Convert, Command: c.Name,
	}
	if d.ConvertSpec == nil {
		d.ConvertSpec = &ConvertSpec{}
	}
	d.Import = path.Join(d.Module, "internal", d.Package)
	switch {
	case c.Convert != nil:
		d.Inputs = true
		d.Commands = []cliCommand{{Func: "Convert", About: c.About}}
		d.Cases = c.Convert.cases(c.Name)
	case c.Records != nil:
		d.Records = c.Records.data()
		d.Commands = []cliCommand{{Func: "Records", About: c.About}}
		d.Cases = c.Records.cases(c.Name)
	default:
		d.Many = len(c.Commands) > 1
		for _, s := range c.Commands {
			k := commandOf(s.Key)
			if k.Inputs {
				d.Inputs = true
				d.inputArgs = append(d.inputArgs, s.argsBefore(d.Many))
			}
			d.Commands = append(d.Commands, cliCommand{Verb: k.Verb, Func: capital(k.Key), About: k.About})
			d.Cases = append(d.Cases, c.commandCases(s)...)
		}
	}
	return d
}

// argsBefore are the arguments of a command before the files that it reads.
func (s CommandSpec) argsBefore(many bool) []string {
	k := commandOf(s.Key)
	args := slices.Clone(k.Before)
	if many {
		args = append([]string{k.Verb}, args...)
	}
	return args
}

// commandCases are the cases of one command, with its verb where there are several.
func (c *CLISpec) commandCases(s CommandSpec) []cliCase {
	k := commandOf(s.Key)
	var out []cliCase
	for i, one := range k.Cases {
		if len(c.Commands) > 1 {
			one.Args = append([]string{k.Verb}, one.Args...)
		}
		out = append(out, cliCase{one.shown(c.Name), fmt.Sprintf("%s %d", k.Verb, i+1)})
	}
	return out
}

// shown fills in how help shows a case.
func (k caseKnowledge) shown(program string) caseKnowledge {
	words := []string{program}
	for _, a := range k.Args {
		if a == "" || strings.ContainsAny(a, " *?|&;<>()$`\\\"'!~#\t\n") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	k.Shell = strings.Join(words, " ")
	if k.Stdin != "" {
		k.Shell += " < input"
	}
	return k
}

// cases checks every pair of formats, and what the flags add.
func (s *ConvertSpec) cases(program string) []cliCase {
	var out []cliCase
	many := len(s.From) > 1 || len(s.To) > 1
	add := func(name, from, to, stdin, want string, flags ...string) {
		k := caseKnowledge{Stdin: stdin, Want: want, Show: len(out) == 0 || len(flags) > 0 && from == s.From[0] && to == s.To[0]}
		if many {
			k.Args = append(k.Args, "-from", from, "-to", to)
		}
		k.Args = append(k.Args, flags...)
		shown := k.shown(program)
		if s.Delimiter != "," && from == "csv" {
			shown.Args = append(shown.Args, "-delimiter", ",")
		}
		if s.OutComma != "," && to == "csv" {
			shown.Args = append(shown.Args, "-out-delimiter", ",")
		}
		if s.NoHeader && (from == "csv" || from == "tsv") {
			shown.Args = append(shown.Args, "-no-header=false")
		}
		if s.Compact && to == "json" {
			shown.Args = append(shown.Args, "-compact=false")
		}
		out = append(out, cliCase{shown, name})
	}
	for _, from := range s.From {
		for _, to := range s.To {
			f, t := formatOf(from), formatOf(to)
			want := t.Sample
			if f.Outputs != nil {
				if want = f.Outputs[to]; want == "" {
					continue
				}
			}
			add(from+" to "+to, from, to, f.Sample, want)
			if f.Outputs != nil || t.One == "" {
				continue
			}
			if s.Features["filter"] {
				add(from+" to "+to+" where", from, to, f.Sample, t.One, "-where", "name=Ada")
			}
			if s.Features["limit"] {
				add(from+" to "+to+" limit", from, to, f.Sample, t.One, "-limit", "1")
			}
			if s.Features["unique"] {
				add(from+" to "+to+" unique", from, to, f.Sample, t.Sample, "-unique")
			}
			if s.Features["select"] {
				add(from+" to "+to+" columns", from, to, f.Sample, t.Sample, "-columns", "name,city")
			}
			if s.Features["sort"] {
				add(from+" to "+to+" sort", from, to, f.Sample, t.Sample, "-sort", "name")
			}
			if s.Features["rename"] {
				add(from+" to "+to+" rename", from, to, f.Sample, strings.ReplaceAll(t.Sample, "city", "town"), "-rename", "city=town")
			}
		}
	}
	return out
}

// cliFile is a template and where what it gives belongs.
type cliFile struct {
	template, path, step string
	command              *CommandSpec
}

// files lists what the program is made of.
func (c *CLISpec) files(facts Facts) []cliFile {
	core, cmd := "internal/"+packageName(c.Name)+"/", "cmd/"+c.Name+"/"
	files := []cliFile{
		{template: "shared/main.go", path: cmd + "main.go", step: "cli"},
		{template: "shared/run.go", path: cmd + "run.go", step: "cli"},
		{template: "shared/run_test.go", path: cmd + "run_test.go", step: "cli"},
		{template: "shared/acceptance_test.go", path: cmd + "acceptance_test.go", step: "acceptance"},
		{template: "shared/README.md", path: cliReadme(c.Name, facts), step: "ops"},
	}
	switch {
	case c.Convert != nil:
		files = append(files,
			cliFile{template: "shared/output.go", path: cmd + "output.go", step: "cli"},
			cliFile{template: "shared/buffer.go", path: cmd + "buffer.go", step: "cli"},
			cliFile{template: "convert/command.go", path: cmd + "convert.go", step: "cli"})
		for _, part := range c.Convert.parts() {
			files = append(files, cliFile{template: "convert/" + part + ".go", path: core + part + ".go", step: "core"})
			if test := "convert/" + part + "_test.go"; hasTemplate(test) {
				files = append(files, cliFile{template: test, path: core + part + "_test.go", step: "core"})
			}
		}
	case c.Records != nil:
		files = append(files,
			cliFile{template: "records/command.go", path: cmd + "records.go", step: "cli"},
			cliFile{template: "shared/buffer.go", path: cmd + "buffer.go", step: "cli"},
			cliFile{template: "records/store.go", path: core + "store.go", step: "core"},
			cliFile{template: "records/store_test.go", path: core + "store_test.go", step: "core"})
	default:
		files = append(files, cliFile{template: "shared/doc.go", path: core + "doc.go", step: "core"})
		for i, s := range c.Commands {
			k := commandOf(s.Key)
			at := &c.Commands[i]
			files = append(files,
				cliFile{"text/" + k.Key + "/command.go", cmd + k.Verb + ".go", "cli", at},
				cliFile{"text/" + k.Key + "/core.go", core + k.Verb + ".go", "core", at},
				cliFile{"text/" + k.Key + "/core_test.go", core + k.Verb + "_test.go", "core", at})
		}
		if c.anyCommand(commandKnowledge.buffers) {
			files = append(files, cliFile{template: "shared/buffer.go", path: cmd + "buffer.go", step: "cli"})
		}
		if c.anyCommand(func(k commandKnowledge) bool { return k.Output }) {
			files = append(files, cliFile{template: "shared/output.go", path: cmd + "output.go", step: "cli"})
		}
	}
	return files
}

func (c *CLISpec) anyCommand(is func(commandKnowledge) bool) bool {
	return slices.ContainsFunc(c.Commands, func(s CommandSpec) bool { return is(commandOf(s.Key)) })
}

// buffers reports whether a command writes through a buffer; checksums are
// printed as each file is done.
func (k commandKnowledge) buffers() bool { return k.Output || k.Key != "checksum" }

func hasTemplate(name string) bool {
	_, err := cliTemplates.ReadFile("templates/cli/" + name + ".tmpl")
	return err == nil
}

func cliReadme(name string, facts Facts) string {
	if facts.ModulePath == "" && !facts.Has("README.md") {
		return "README.md"
	}
	return "cmd/" + name + "/README.md"
}

// parts are the files of the converter's package.
func (s *ConvertSpec) parts() []string {
	parts := []string{"record"}
	add := func(p string) { parts = appendNew(parts, p) }
	for _, f := range s.From {
		switch f {
		case "tsv":
			add("csv_reader")
		case "jsonl":
			add("json_reader")
		default:
			add(f + "_reader")
		}
	}
	d := cliData{ConvertSpec: s}
	for _, f := range s.To {
		if f == "tsv" {
			f = "csv"
		}
		add(f + "_writer")
	}
	if d.TableOut() {
		add("table_writer")
	}
	usesJSON := d.Writes("json") || d.Writes("jsonl") || d.Nested() && d.TableOut()
	if usesJSON {
		add("json")
	}
	if usesJSON || d.Writes("yaml") {
		add("quote")
	}
	if s.infers() {
		add("infer")
	}
	if s.Features["filter"] || s.Features["sort"] || s.Features["aggregate"] {
		add("compare")
	}
	for _, f := range sortedKeys(s.Features) {
		add(f)
	}
	return parts
}

func (c *CLISpec) ownPaths(facts Facts) []string {
	var paths []string
	for _, f := range c.files(facts) {
		paths = append(paths, f.path)
	}
	return append(paths, "cmd/"+c.Name+"/README.md")
}

// planCLI is the plan for a program: the package that does the work, the
// program around it, the test that runs the binary, and what people need.
func planCLI(spec Spec, facts Facts) []Step {
	c := spec.CLI
	if c == nil || c.Convert == nil && c.Records == nil && len(c.Commands) == 0 {
		return []Step{{
			Key: "core", Title: "Write the program", Description: "The task asks for a program that the offline playbook does not know: " + spec.Task,
			Acceptance: []string{"exit codes are 0, 1 and 2", "go vet and go test pass"}, Writes: []string{"cmd/**", "internal/**", "go.mod"},
		}}
	}
	pkg := "internal/" + packageName(c.Name)
	steps := []Step{
		{
			Key: "core", Title: "Write package " + pkg, Description: "What the program does, apart from flags and files: " + c.About + ". Standard library only, with tests.",
			Acceptance: []string{"go vet and go test pass", "errors in the input name the line"},
		},
		{
			Key: "cli", Title: "Write command " + c.Name, DependsOn: []string{"core"},
			Description: "Flags, standard streams, files and exit codes around " + pkg + ". main is tiny; run(ctx, args, streams) is tested.",
			Acceptance:  []string{"-h prints usage with examples and exits 0", "an unknown flag exits 2, a file that is missing exits 1 and is named", "a flag that is not given comes from the environment; a bad value there exits 2 and is named"},
		},
		{
			Key: "acceptance", Title: "Run the built binary", DependsOn: []string{"cli"},
			Description: "A test builds cmd/" + c.Name + " and runs it as a user would.",
			Acceptance:  []string{"the binary's output and exit code are compared with what is written in the test"},
		},
		{
			Key: "ops", Title: "Document the program and test it in CI", DependsOn: []string{"cli"},
			Description: "A README with usage, and a workflow that vets and tests.",
			Acceptance:  []string{"every example in the README is run by a test"},
		},
	}
	for _, covered := range c.Covered {
		steps[1].Acceptance = append(steps[1].Acceptance, fmt.Sprintf("%q: %s", covered.Clause, covered.As))
	}
	steps[0].Description += assumed(c.Assumptions)
	for _, f := range c.files(facts) {
		i := slices.IndexFunc(steps, func(s Step) bool { return s.Key == f.step })
		steps[i].Writes = append(steps[i].Writes, f.path)
	}
	if facts.ModulePath == "" {
		steps[0].Writes = append(steps[0].Writes, "go.mod")
	}
	steps[3].Writes = append(steps[3].Writes, sharedFiles(facts)...)
	return steps
}

// buildCLI generates the files of one step. It fails with ErrNotFound for a
// step that is not in the plan, and ErrUnsupported for an unknown program.
func buildCLI(spec Spec, facts Facts, stepKey string) ([]File, error) {
	c := spec.CLI
	if c == nil || c.Convert == nil && c.Records == nil && len(c.Commands) == 0 {
		return nil, fmt.Errorf("building %q offline: %w", spec.Task, conclave.ErrUnsupported)
	}
	if !slices.Contains([]string{"core", "cli", "acceptance", "ops"}, stepKey) {
		return nil, fmt.Errorf("step %q of the program: %w", stepKey, conclave.ErrNotFound)
	}
	data := c.data(facts)
	var files []File
	for _, f := range c.files(facts) {
		if f.step != stepKey {
			continue
		}
		d := data
		if f.command != nil {
			d.Options = f.command.Options
			d.Cases = c.commandCases(*f.command)
			if d.Many {
				d.Command += " " + commandOf(f.command.Key).Verb
			}
		}
		content, err := render(cliTemplates, "templates/cli/"+f.template+".tmpl", d)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: f.path, Content: content})
	}
	switch {
	case stepKey == "core" && facts.ModulePath == "":
		files = append(files, goMod(facts, c.Name))
	case stepKey == "ops":
		shared, err := buildShared(facts, c.Name)
		if err != nil {
			return nil, err
		}
		files = append(files, shared...)
	}
	return files, nil
}

// reviewCLI is what role has to say about the plan for a program.
func reviewCLI(role string, spec Spec, facts Facts, steps []Step) []Comment {
	c := spec.CLI
	if c == nil {
		return nil
	}
	var out []Comment
	for _, n := range c.reviewNotes() {
		if n.Role == role {
			out = append(out, n.comment(n.Step, facts, c.Name))
		}
	}
	return append(out, uncoveredComment(role, spec, steps)...)
}

func (c *CLISpec) reviewNotes() []reviewNote {
	var notes []reviewNote
	switch {
	case c.Convert != nil:
		d := cliData{ConvertSpec: c.Convert}
		notes = append(notes, reviewNote{
			Role: "security", Step: "cli", Cites: "CWE-367, CWE-459",
			Text:      "An output file must be complete or absent: write beside it and rename, so that an error or an interrupt leaves what was there.",
			Criterion: "after a conversion that fails, the file that -o names has its old content",
		})
		if d.Reads("xml") {
			notes = append(notes, reviewNote{Role: "security", Step: "core", Cites: "CWE-611", Text: "encoding/xml resolves no external entities; keep to it, and add no entity map.", Criterion: "an XML document with an undeclared entity is refused"})
		}
		if d.Writes("html") || d.Writes("markdown") {
			notes = append(notes, reviewNote{Role: "security", Step: "core", Cites: "CWE-79, CWE-116", Text: "Cells come from outside and end in markup: escape them for " + formatTitles(c.Convert.To) + ".", Criterion: "a cell with < or | can't end its cell"})
		}
		if d.Writes("csv") {
			notes = append(notes, reviewNote{Role: "security", Step: "ops", Cites: "CWE-1236", Text: "A cell that begins with = + - or @ runs as a formula in a spreadsheet. Changing data silently would be worse: document it."})
		}
		streaming := "Records pass through one at a time, so that memory does not grow with the input."
		if d.Ragged() && d.TableOut() || c.Convert.Features["sort"] || c.Convert.Features["aggregate"] {
			streaming = "Records pass through one at a time, except where all must be seen first (sorting, or columns that a later record may add): say so where it is done."
		}
		notes = append(notes,
			reviewNote{Role: "performance", Step: "core", Cites: "io.Reader, io.Writer", Text: streaming},
			reviewNote{Role: "qa", Step: "core", Cites: "RFC 4180, RFC 8259", Text: "Test what breaks converters: a byte order mark, quotes and line breaks in cells, rows of unequal length, an empty input.", Criterion: "rows of unequal length, and input that ends early, are errors that give the line"},
			reviewNote{Role: "architect", Step: "core", Cites: fmt.Sprintf("%d formats in, %d out", len(c.Convert.From), len(c.Convert.To)), Text: "One Reader for each format in and one Writer for each out, with records between them: n+m parts rather than n×m.", Criterion: "no reader imports or names a writer"})
	case c.Records != nil:
		notes = append(notes,
			reviewNote{Role: "security", Step: "core", Cites: "CWE-732", Text: "What people note is private: the file and its directory are for the user alone.", Criterion: "the file is created with mode 0600"},
			reviewNote{Role: "qa", Step: "core", Cites: "CWE-362", Text: "Two runs at once must not lose a " + c.Records.Noun + ", and a full disk must not truncate the file: lock, write beside, rename.", Criterion: "a test adds from several goroutines and finds every " + c.Records.Noun},
			reviewNote{Role: "architect", Step: "core", Cites: "encoding/json", Text: "One JSON file is read and written whole; that is right for thousands of entries, and no database has to be installed."},
			reviewNote{Role: "performance", Step: "core", Cites: "O(n) per command", Text: "Every command reads the file once; ids are given from a counter in it, so that none is used twice."})
	default:
		for _, s := range c.Commands {
			notes = append(notes, commandOf(s.Key).Reviews...)
		}
		notes = append(notes, reviewNote{Role: "qa", Step: "acceptance", Cites: "the task", Text: "Run the binary, not only its functions: arguments, streams and exit codes are its interface.", Criterion: "the acceptance test runs each command of NAME"})
	}
	return notes
}
