package playbook

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"

	"conclave"
)

// render fills in one template. Its actions are written «like this», because
// Go's composite literals are full of braces. Go code comes out gofmt'ed.
func render(files fs.FS, name string, data any) ([]byte, error) {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("reading template: %w", err)
	}
	t, err := template.New(path.Base(name)).Delims("«", "»").Option("missingkey=error").Funcs(template.FuncMap{
		"join": strings.Join, "lower": strings.ToLower, "upper": strings.ToUpper, "title": capital,
	}).Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("parsing template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("filling in template: %w", err)
	}
	if !strings.HasSuffix(name, ".go.tmpl") {
		return out.Bytes(), nil
	}
	code, err := dropUnusedImports(out.Bytes())
	if err == nil {
		code, err = format.Source(code)
	}
	if err != nil {
		return nil, fmt.Errorf("formatting what %s gives: %w", name, err)
	}
	return code, nil
}

// dropUnusedImports removes the imports that no line needs once a template's
// conditions have left out what did. Each stands on a line of its own.
func dropUnusedImports(code []byte) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", code, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	lines := bytes.Split(code, []byte("\n"))
	for _, spec := range slices.Backward(file.Imports) {
		name := strings.TrimSuffix(strings.Trim(spec.Path.Value, `"`), "/v2")
		if spec.Name == nil && !used[path.Base(name)] {
			line := fset.Position(spec.Pos()).Line - 1
			lines = slices.Delete(lines, line, line+1)
		}
	}
	return bytes.ReplaceAll(bytes.Join(lines, []byte("\n")), []byte("import (\n)"), nil), nil
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// libraryData is what the templates of a library see.
type libraryData struct {
	Name       string // of the library
	Package    string
	Import     string // path of the package
	Module     string
	GoVersion  string
	Title      string
	Safe       bool
	Operations []string
	Usage      string // a checked example, for the README
	Packages   []libraryData
}

// libraryDir is where package i lives: "" for the root of a repository without
// other Go code, else a directory that ends with a slash.
func libraryDir(l *LibrarySpec, i int, facts Facts) string {
	if len(l.Packages) == 1 && !hasOtherGo(facts, l.Packages[0]) {
		return ""
	}
	return l.Packages[i].Name + "/"
}

func hasOtherGo(facts Facts, p LibraryPackage) bool {
	own := ownFiles(p.Topic)
	return slices.ContainsFunc(facts.Files, func(f string) bool {
		return strings.HasSuffix(f, ".go") && !slices.Contains(own, f)
	})
}

// modulePath is the repository's module, or the one to be made.
func modulePath(facts Facts, name string) string {
	if facts.ModulePath != "" {
		return facts.ModulePath
	}
	return name
}

func goVersion(facts Facts) string {
	v := strings.TrimPrefix(facts.GoVersion, "go")
	if v == "" {
		return fmt.Sprintf("1.%d", minimumGo)
	}
	return v
}

func (l *LibrarySpec) data(i int, facts Facts) (libraryData, error) {
	p := l.Packages[i]
	t, ok := topicOf(p.Topic)
	if !ok {
		return libraryData{}, fmt.Errorf("the playbook has no topic %q: %w", p.Topic, conclave.ErrUnsupported)
	}
	d := libraryData{
		Name: l.Name, Package: p.Name, Module: modulePath(facts, l.Name), GoVersion: goVersion(facts),
		Title: t.Title, Safe: p.Safe,
	}
	d.Import = path.Join(d.Module, libraryDir(l, i, facts))
	for _, op := range t.Ops {
		d.Operations = append(d.Operations, op.As)
	}
	return d, nil
}

func libraryStepKey(l *LibrarySpec, kind string, i int) string {
	if len(l.Packages) == 1 {
		return kind
	}
	return kind + "-" + l.Packages[i].Name
}

// planLibrary is the plan for a library: for each package its code with tests,
// then its examples and benchmarks; at the end what people and CI need.
func planLibrary(spec Spec, facts Facts) []Step {
	l := spec.Library
	if l == nil || len(l.Packages) == 0 {
		return []Step{{
			Key: "package", Title: "Write the library", Description: "The task asks for a library that the offline playbook does not know: " + spec.Task,
			Acceptance: []string{"the exported API has doc comments", "go vet and go test pass"}, Writes: []string{"**/*.go", "go.mod"},
		}}
	}
	var steps []Step
	ops := Step{
		Key: "ops", Title: "Document the library and test it in CI",
		Description: "A README with a checked example, and a workflow that vets and tests.",
		Acceptance:  []string{"the README's example is the one that go test checks"},
	}
	for i, p := range l.Packages {
		t, ok := topicOf(p.Topic)
		if !ok {
			continue
		}
		dir := libraryDir(l, i, facts)
		code := Step{
			Key: libraryStepKey(l, "package", i), Title: "Write package " + p.Name,
			Description: "Package " + p.Name + ": " + t.Title + ". Standard library only, with table and property tests.",
			Acceptance:  []string{"go vet and go test pass", "every exported name has a doc comment"},
		}
		for _, name := range ownFiles(p.Topic) {
			if name != "example_test.go" {
				code.Writes = append(code.Writes, dir+name)
			}
		}
		if i == 0 && facts.ModulePath == "" {
			code.Writes = append(code.Writes, "go.mod")
		} else if i > 0 {
			code.DependsOn = []string{libraryStepKey(l, "package", 0)}
		}
		for _, c := range l.Covered {
			if len(l.Packages) == 1 || slices.Contains(p.Operations, c.As) || strings.Contains(c.As, t.Title) {
				code.Acceptance = append(code.Acceptance, fmt.Sprintf("%q: %s", c.Clause, c.As))
			}
		}
		code.Description += assumed(t.Assume)
		examples := Step{
			Key: libraryStepKey(l, "examples", i), Title: "Show and measure package " + p.Name,
			Description: "Examples with checked output that go doc shows, and benchmarks.",
			DependsOn:   []string{code.Key},
			Acceptance:  []string{"go test checks the output of every example", "go test -bench . runs"},
			Writes:      []string{dir + "example_test.go"},
		}
		ops.DependsOn = append(ops.DependsOn, examples.Key)
		ops.Writes = append(ops.Writes, libraryReadme(l, i, facts))
		steps = append(steps, code, examples)
	}
	ops.Writes = append(slices.Compact(ops.Writes), sharedFiles(facts)...)
	return append(steps, ops)
}

// assumed tells what was chosen where the task leaves it open.
func assumed(choices []string) string {
	if len(choices) == 0 {
		return ""
	}
	return " Assumed: " + strings.Join(choices, "; ") + "."
}

// libraryReadme is where package i is described, never over an existing file.
func libraryReadme(l *LibrarySpec, i int, facts Facts) string {
	if dir := libraryDir(l, i, facts); dir != "" {
		return dir + "README.md"
	}
	if facts.Has("README.md") {
		return "docs/" + l.Packages[i].Name + ".md"
	}
	return "README.md"
}

// sharedFiles are the files of the whole repository that it still lacks.
func sharedFiles(facts Facts) []string {
	var out []string
	if !facts.Has(".gitignore") {
		out = append(out, ".gitignore")
	}
	if !hasCI(facts) {
		out = append(out, workflowFile)
	}
	return out
}

const workflowFile = ".github/workflows/ci.yml"

// hasCI reports whether the repository describes its own continuous
// integration, of whichever kind.
func hasCI(facts Facts) bool {
	return slices.ContainsFunc(facts.Files, func(f string) bool {
		for _, folder := range []string{".github/workflows/", ".circleci/", ".buildkite/", ".woodpecker/"} {
			if strings.HasPrefix(f, folder) {
				return true
			}
		}
		return slices.Contains([]string{".gitlab-ci.yml", ".travis.yml", ".drone.yml", ".woodpecker.yml", "Jenkinsfile", "azure-pipelines.yml", "bitbucket-pipelines.yml", "cloudbuild.yaml"}, f)
	})
}

// buildLibrary generates the files of one step. It fails with ErrNotFound for
// a step that is not in the plan and ErrUnsupported for an unknown topic.
func buildLibrary(spec Spec, facts Facts, stepKey string) ([]File, error) {
	l := spec.Library
	if l == nil || len(l.Packages) == 0 {
		return nil, fmt.Errorf("building %q offline: %w", spec.Task, conclave.ErrUnsupported)
	}
	if stepKey == "ops" {
		return l.buildOps(facts)
	}
	for i, p := range l.Packages {
		var want func(name string) bool
		switch stepKey {
		case libraryStepKey(l, "package", i):
			want = func(name string) bool { return name != "example_test.go" }
		case libraryStepKey(l, "examples", i):
			want = func(name string) bool { return name == "example_test.go" }
		default:
			continue
		}
		files, err := l.buildPackage(i, facts, want)
		if err != nil {
			return nil, fmt.Errorf("building package %s: %w", p.Name, err)
		}
		if i == 0 && facts.ModulePath == "" && stepKey == libraryStepKey(l, "package", 0) {
			files = append(files, goMod(facts, l.Name))
		}
		return files, nil
	}
	return nil, fmt.Errorf("step %q of the library: %w", stepKey, conclave.ErrNotFound)
}

func goMod(facts Facts, name string) File {
	return File{Path: "go.mod", Content: fmt.Appendf(nil, "module %s\n\ngo %s\n", modulePath(facts, name), goVersion(facts))}
}

// ownFiles are the files that a topic's package is made of.
func ownFiles(topicKey string) []string {
	entries, err := libraryTemplates.ReadDir("templates/library/" + topicKey)
	if err != nil {
		return nil // an unknown topic has none
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".tmpl"))
	}
	return names
}

func (l *LibrarySpec) buildPackage(i int, facts Facts, want func(string) bool) ([]File, error) {
	data, err := l.data(i, facts)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, name := range ownFiles(l.Packages[i].Topic) {
		if !want(name) {
			continue
		}
		content, err := render(libraryTemplates, "templates/library/"+l.Packages[i].Topic+"/"+name+".tmpl", data)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: libraryDir(l, i, facts) + name, Content: content})
	}
	return files, nil
}

func (l *LibrarySpec) buildOps(facts Facts) ([]File, error) {
	var files []File
	for i := range l.Packages {
		data, err := l.data(i, facts)
		if err != nil {
			return nil, err
		}
		examples, err := l.buildPackage(i, facts, func(name string) bool { return name == "example_test.go" })
		if err != nil {
			return nil, err
		}
		for _, f := range examples {
			data.Usage = exampleBody(string(f.Content))
		}
		readme, err := render(libraryTemplates, "templates/library/README.md.tmpl", data)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: libraryReadme(l, i, facts), Content: readme})
	}
	shared, err := buildShared(facts, "")
	if err != nil {
		return nil, err
	}
	return append(files, shared...), nil
}

// buildShared makes the files of the whole repository that it lacks.
func buildShared(facts Facts, binary string) ([]File, error) {
	names := map[string]string{".gitignore": "gitignore.tmpl", workflowFile: "ci.yml.tmpl"}
	var files []File
	for _, p := range sharedFiles(facts) {
		content, err := render(libraryTemplates, "templates/library/"+names[p], map[string]string{"GoVersion": goVersion(facts), "Binary": binary})
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: p, Content: content})
	}
	return files, nil
}

// exampleBody is the body of the package's first example, as a reader would
// write it; its expected output stays as a comment.
func exampleBody(source string) string {
	_, rest, ok := strings.Cut(source, "func Example() {\n")
	if !ok {
		return ""
	}
	body, _, _ := strings.Cut(rest, "\n}\n")
	lines := strings.Split(body, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "\t")
	}
	return strings.Join(lines, "\n")
}

// reviewLibrary is what role has to say about the plan for a library.
func reviewLibrary(role string, spec Spec, facts Facts, steps []Step) []Comment {
	if spec.Library == nil {
		return nil
	}
	var out []Comment
	for i, p := range spec.Library.Packages {
		t, ok := topicOf(p.Topic)
		if !ok {
			continue
		}
		notes := t.Reviews
		if p.Safe {
			notes = append(slices.Clone(notes), reviewNote{
				Role: "performance", Step: "package", Cites: "sync.Mutex",
				Text:      "One mutex serialises all callers of " + p.Name + "; that is right until a profile shows contention.",
				Criterion: "a test of package " + p.Name + " uses one value from several goroutines",
			})
		}
		for _, n := range notes {
			if n.Role == role {
				out = append(out, n.comment(libraryStepKey(spec.Library, n.Step, i), facts, p.Name))
			}
		}
	}
	return append(out, uncoveredComment(role, spec, steps)...)
}

func (n reviewNote) comment(step string, facts Facts, name string) Comment {
	fill := strings.NewReplacer("MODULE", modulePath(facts, name), "NAME", name)
	c := Comment{Role: n.Role, StepKey: step, Text: fill.Replace(n.Text), Cites: n.Cites}
	if n.Criterion != "" {
		c.Change = &Amendment{Criterion: fill.Replace(n.Criterion)}
	}
	return c
}

// uncoveredComment lets QA say what the plan leaves out, in the task's words.
func uncoveredComment(role string, spec Spec, steps []Step) []Comment {
	if role != "qa" || len(spec.Uncovered) == 0 || len(steps) == 0 {
		return nil
	}
	return []Comment{{
		Role: role, StepKey: steps[0].Key, Cites: "the task",
		Text: "No step does what the task asks here: “" + strings.Join(spec.Uncovered, "”, “") + "”. Without it the task isn't done.",
	}}
}
