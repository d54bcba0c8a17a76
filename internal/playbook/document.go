package playbook

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/doc/comment"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"conclave"
)

var (
	documentWords = pattern(`^(?:please )?document\b|\b(?:documentation|docs|api reference)\b`)
	documentKnown = pattern(`\b(?:please|write|generate|create|update|refresh|document|the|an?|our|my|this|its|apis?|public|exported|code|documentation|docs|reference|of|for|from|to|in|with|repository|repo|project|packages?|modules?|go|flags?|operations?|routes?|commands?|and|all|every|comments?|as|markdown|source)\b`)
)

// parseDocument recognises a task to write down what the code says of itself. In
// another language than Go there is nothing here that reads it.
func parseDocument(task string, facts Facts) (Spec, bool) {
	text := strings.ToLower(strings.TrimSpace(task))
	if !documentWords().MatchString(text) || facts.Languages["Go"] == 0 {
		return Spec{}, false
	}
	if strings.Trim(documentKnown().ReplaceAllString(text, ""), " .,;!'’\n-") != "" {
		return Spec{}, false
	}
	return Spec{Archetype: Document, Task: task, Name: kebab(facts.Name), Covered: []Covered{{Clause: task, As: "a reference made of comments, declarations, flags and routes"}}}, true
}

// documentFiles are where the reference may be: the second when the first is
// somebody's own page.
func documentFiles() []string { return []string{"docs/api.md", "docs/api-reference.md"} }

// documentMark begins a page that may be written again.
const documentMark = "<!-- Written from the code by Conclave: change the comments there, and write it again. -->"

func planDocument() []Step {
	return []Step{{
		Key: "reference", Title: "Write the API reference from the code",
		Description: "Packages with their comments and declarations, programs with their flags and environment, HTTP routes and OpenAPI operations. Nothing is said that the code does not say.",
		Acceptance: []string{"Every exported name of a public package is in it, with its own comment or as one without",
			"Flags, environment variables and routes are listed as the code declares them", "A page that somebody else wrote is left alone"},
		Writes: documentFiles(),
	}}
}

// WriteDocs makes the reference of the Go code in a tree. No file means that the
// tree has it already. It fails with ErrUnsupported for a tree without Go packages,
// and with ErrConflict when each place for it has a page of somebody else's.
func WriteDocs(tree fs.FS, facts Facts) ([]File, error) {
	d := &documenter{tree: tree, fset: token.NewFileSet(), module: facts.ModulePath}
	content, err := d.page()
	if err != nil {
		return nil, err
	}
	for _, name := range documentFiles() {
		old, err := fs.ReadFile(tree, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return []File{{Path: name, Content: content}}, nil
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", name, err)
		case string(old) == string(content):
			return nil, nil
		case strings.HasPrefix(string(old), documentMark):
			return []File{{Path: name, Content: content}}, nil
		}
	}
	return nil, conclave.Errorf(conclave.ErrConflict, "%s are pages of somebody else's", strings.Join(documentFiles(), " and "))
}

type documenter struct {
	tree    fs.FS
	fset    *token.FileSet
	module  string
	silent  []string // exported names without a comment
	folders map[string][]*ast.File
	specs   []string // OpenAPI descriptions
	// What calls in the code declare, read before go/doc takes the bodies away.
	flags, variables map[string][][]string // rows by folder
	routes           [][]string
}

func (d *documenter) page() ([]byte, error) {
	if err := d.read(); err != nil {
		return nil, err
	}
	var public, programs, internal []string
	for _, dir := range slices.Sorted(maps.Keys(d.folders)) {
		switch {
		case d.folders[dir][0].Name.Name == "main":
			programs = append(programs, dir)
		case strings.Contains("/"+dir+"/", "/internal/"):
			internal = append(internal, dir)
		default:
			public = append(public, dir)
		}
	}
	if len(public)+len(programs)+len(internal) == 0 {
		return nil, conclave.Errorf(conclave.ErrUnsupported, "the tree has no Go package")
	}
	var b strings.Builder
	b.WriteString(documentMark + "\n\n# API reference\n")
	if d.module != "" {
		fmt.Fprintf(&b, "\nModule `%s`.\n", d.module)
	}
	for _, dir := range programs {
		d.program(&b, dir)
	}
	for _, dir := range public {
		d.packageDoc(&b, dir)
	}
	if err := d.operations(&b); err != nil {
		return nil, err
	}
	if len(internal) > 0 {
		b.WriteString("\n## Internal packages\n\n| package | |\n|---|---|\n")
		for _, dir := range internal {
			p, err := d.parse(dir)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", dir, docCell(p.Synopsis(p.Doc)))
		}
	}
	if len(d.silent) > 0 {
		b.WriteString("\n## Without a comment in the code\n\n")
		for _, name := range d.silent {
			fmt.Fprintf(&b, "- `%s`\n", name)
		}
	}
	return []byte(b.String()), nil
}

// read parses the Go files of the tree but tests, as they are built for Linux, by
// folder, and notes OpenAPI descriptions. A file that does not parse is left out.
func (d *documenter) read() error {
	target := build.Default
	target.GOOS, target.GOARCH, target.CgoEnabled = "linux", "amd64", true
	target.OpenFile = func(name string) (io.ReadCloser, error) { return d.tree.Open(name) }
	target.JoinPath = path.Join
	d.folders, d.flags, d.variables = map[string][]*ast.File{}, map[string][][]string{}, map[string][][]string{}
	return fs.WalkDir(d.tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if e.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || slices.Contains([]string{"vendor", "testdata", "node_modules"}, base)) {
				return fs.SkipDir
			}
			return nil
		}
		if base == "openapi.json" && e.Type().IsRegular() {
			d.specs = append(d.specs, name)
		}
		if !e.Type().IsRegular() || path.Ext(base) != ".go" || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		if built, err := target.MatchFile(path.Dir(name), base); err != nil || !built {
			return nil //nolint:nilerr // a file whose constraints can't be read is not built either
		}
		text, err := fs.ReadFile(d.tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(d.fset, name, text, parser.ParseComments)
		if err != nil {
			return nil //nolint:nilerr // the check "build" says what is wrong with it
		}
		dir := path.Dir(name)
		if others := d.folders[dir]; len(others) == 0 || others[0].Name.Name == file.Name.Name {
			d.folders[dir] = append(others, file)
			d.calls(dir, name, file)
		}
		return nil
	})
}

func (d *documenter) importPath(dir string) string { return path.Join(d.module, dir) }

func (d *documenter) parse(dir string) (*doc.Package, error) {
	p, err := doc.NewFromFiles(d.fset, slices.Clone(d.folders[dir]), d.importPath(dir))
	if err != nil {
		return nil, fmt.Errorf("reading the comments of %s: %w", dir, err)
	}
	return p, nil
}

// packageDoc writes what a package exports.
func (d *documenter) packageDoc(b *strings.Builder, dir string) {
	p, err := d.parse(dir)
	if err != nil {
		return // what has no form that go doc reads has no reference either
	}
	fmt.Fprintf(b, "\n## Package `%s`\n\n", d.importPath(dir))
	if p.Doc == "" {
		d.silent = append(d.silent, "package "+d.importPath(dir))
	}
	b.WriteString(d.prose(p, p.Doc))
	for _, v := range slices.Concat(p.Consts, p.Vars) {
		d.declaration(b, p, v.Decl, v.Doc, "")
	}
	for _, f := range p.Funcs {
		d.declaration(b, p, f.Decl, f.Doc, f.Name)
	}
	for _, t := range p.Types {
		d.declaration(b, p, t.Decl, t.Doc, t.Name)
		for _, v := range slices.Concat(t.Consts, t.Vars) {
			d.declaration(b, p, v.Decl, v.Doc, "")
		}
		for _, f := range t.Funcs {
			d.declaration(b, p, f.Decl, f.Doc, f.Name)
		}
		for _, m := range t.Methods {
			d.declaration(b, p, m.Decl, m.Doc, t.Name+"."+m.Name)
		}
	}
}

// declaration writes what is declared as Go has it, and its comment.
func (d *documenter) declaration(b *strings.Builder, p *doc.Package, decl ast.Decl, text, name string) {
	if name != "" {
		fmt.Fprintf(b, "\n### `%s`\n", name)
		if text == "" {
			d.silent = append(d.silent, p.ImportPath+"."+name)
		}
	}
	switch x := decl.(type) { // the comment stands below
	case *ast.GenDecl:
		x.Doc = nil
	case *ast.FuncDecl:
		x.Doc, x.Body = nil, nil
	}
	var src strings.Builder
	if err := format.Node(&src, d.fset, decl); err != nil {
		return // go/doc made it of what was parsed: it always prints
	}
	fmt.Fprintf(b, "\n```go\n%s\n```\n", src.String())
	if text != "" {
		b.WriteString("\n" + d.prose(p, text))
	}
}

// prose is a comment as Markdown.
func (d *documenter) prose(p *doc.Package, text string) string {
	if text == "" {
		return ""
	}
	out := p.Printer()
	out.HeadingLevel = 4
	out.DocLinkURL = func(l *comment.DocLink) string {
		if l.ImportPath == "" {
			return "#" + strings.ToLower(l.Recv+l.Name) // as pages make anchors of headings
		}
		return l.DefaultURL("https://pkg.go.dev")
	}
	return headingID().ReplaceAllString(string(out.Markdown(p.Parser().Parse(text))), "")
}

var headingID = pattern(`(?m) \{#hdr-[^}]*\}$`)

// program writes what a command takes.
func (d *documenter) program(b *strings.Builder, dir string) {
	p, err := d.parse(dir)
	if err != nil {
		return
	}
	name := path.Base(d.importPath(dir))
	fmt.Fprintf(b, "\n## Program `%s`\n\n", name)
	if p.Doc == "" {
		d.silent = append(d.silent, "program "+name)
	}
	b.WriteString(d.prose(p, p.Doc))
	docTable(b, "Flags", []string{"flag", "default", ""}, d.flags[dir])
	docTable(b, "Environment", []string{"variable", "read in"}, d.variables[dir])
}

// calls notes the flags, environment variables and routes that a file declares.
func (d *documenter) calls(dir, name string, file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if row := d.flag(call); row != nil {
			d.flags[dir] = append(d.flags[dir], row)
		}
		if v := variable(call); v != "" {
			d.variables[dir] = append(d.variables[dir], []string{"`" + v + "`", "`" + name + "`"})
		}
		if method, path, ok := registered(call); ok {
			d.routes = append(d.routes, []string{method, "`" + path + "`", "`" + name + "`"})
		}
		return true
	})
}

// flagCalls says where a declaring method has the flag's name, its default (-1 for
// none) and its usage.
var flagCalls = regexp.MustCompile(`^(String|Int|Int64|Uint|Uint64|Bool|Duration|Float64|StringSlice|StringArray|IntSlice|Func|BoolFunc|Text|)(Var)?(P)?$`)

// flag is a row for a call that declares a flag, or nil.
func (d *documenter) flag(call *ast.CallExpr) []string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	var on strings.Builder
	if err := format.Node(&on, d.fset, sel.X); err != nil || !strings.Contains(strings.ToLower(on.String()), "flag") && on.String() != "fs" {
		return nil
	}
	m := flagCalls.FindStringSubmatch(sel.Sel.Name)
	if m == nil || m[1] == "" && m[2] == "" {
		return nil
	}
	name := 0
	if m[2] != "" {
		name++
	}
	value := name + 1
	if m[3] != "" {
		value++
	}
	usage := value + 1
	if m[1] == "Func" || m[1] == "BoolFunc" || m[1] == "" {
		value, usage = -1, value // a function follows, or a value stood first
	}
	if len(call.Args) <= max(name, usage) {
		return nil
	}
	flagName, ok := literal(call.Args[name])
	if !ok {
		return nil
	}
	text, ok := literal(call.Args[usage])
	if !ok {
		return nil
	}
	otherwise := ""
	if value >= 0 {
		var src strings.Builder
		if err := format.Node(&src, d.fset, call.Args[value]); err == nil && src.String() != `""` {
			otherwise = "`" + src.String() + "`"
		}
	}
	return []string{"`-" + flagName + "`", otherwise, text}
}

var variableName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// variable is the environment variable that a call reads, or nothing.
func variable(call *ast.CallExpr) string {
	name := ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	if lower := strings.ToLower(name); lower != "getenv" && lower != "lookupenv" || len(call.Args) != 1 {
		return ""
	}
	if text, ok := literal(call.Args[0]); ok && variableName.MatchString(text) {
		return text
	}
	return ""
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

var route = regexp.MustCompile(`^(?:(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) )?(/\S*)$`)

// registered is the route that a call registers, as net/http's ServeMux reads it.
func registered(call *ast.CallExpr) (method, at string, ok bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) < 2 || sel.Sel.Name != "HandleFunc" && sel.Sel.Name != "Handle" {
		return "", "", false
	}
	text, _ := literal(call.Args[0])
	m := route.FindStringSubmatch(text)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// operations writes the routes that the code registers, and what OpenAPI
// descriptions in the tree say.
func (d *documenter) operations(b *strings.Builder) error {
	docTable(b, "HTTP routes", []string{"method", "path", "registered in"}, d.routes)
	for _, name := range d.specs {
		rows, err := d.openAPI(name)
		if err != nil {
			return err
		}
		docTable(b, "Operations of "+name, []string{"method", "path", ""}, rows)
	}
	return nil
}

func (d *documenter) openAPI(name string) ([][]string, error) {
	text, err := fs.ReadFile(d.tree, name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	var spec struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if json.Unmarshal(text, &spec) != nil {
		return nil, nil // it only has the name of a description
	}
	var rows [][]string
	for _, p := range slices.Sorted(maps.Keys(spec.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(spec.Paths[p])) {
			if !slices.Contains([]string{"get", "put", "post", "delete", "patch", "head", "options"}, method) {
				continue // parameters that the path's operations share
			}
			var op struct {
				Summary string `json:"summary"`
			}
			if err := json.Unmarshal(spec.Paths[p][method], &op); err != nil {
				return nil, fmt.Errorf("reading %s %s of %s: %w", method, p, name, err)
			}
			rows = append(rows, []string{strings.ToUpper(method), "`" + p + "`", op.Summary})
		}
	}
	return rows, nil
}

// docTable writes rows, each once, under a heading; nothing without rows.
func docTable(b *strings.Builder, title string, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(x, y []string) int { return slices.Compare(x, y) })
	rows = slices.CompactFunc(rows, slices.Equal)
	fmt.Fprintf(b, "\n### %s\n\n| %s |\n|%s\n", title, strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = docCell(c)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

func docCell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
