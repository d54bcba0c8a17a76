package repair

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// An Object is a declared thing and where its name stands.
type Object struct {
	Path string // slash path in the tree
	Line int
	Name string
}

// Unused returns for each unused object the changes that delete it: a type goes
// with its methods, a declaration with its comment. An object has no changes
// where the analyser can't know that nothing needs it, or where deleting it
// could change what the program does:
//
//   - its name occurs in a file of the folder that was not analysed (another
//     platform, another build tag, assembly, cgo) or in a go:linkname;
//   - a field has a tag, or a file of the folder can see a struct's layout;
//   - a variable's value is made by a call that may do something;
//   - with it would go an import that does something by itself.
//
// Analysed are the paths of the Go files that the analyser saw below root.
func Unused(root string, analysed map[string]bool, objects []Object) map[Object][]Change {
	p := pruner{root: root, analysed: analysed, folders: map[string]*folder{}, doomed: map[*ast.Ident]Object{}}
	var found []deletion
	for _, o := range objects {
		f := p.folder(path.Dir(o.Path))
		if name := f.name(o); name != nil && !f.mentioned[lastName(o.Name)] {
			p.doomed[name] = o
		}
	}
	for name, o := range p.doomed {
		if d, ok := p.delete(p.folder(path.Dir(o.Path)), o, name); ok {
			found = append(found, d)
		}
	}
	return p.keepImports(found)
}

// lastName is the name of a method or field without what it belongs to.
func lastName(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

type pruner struct {
	root     string
	analysed map[string]bool
	folders  map[string]*folder
	doomed   map[*ast.Ident]Object
}

// A folder is one package's files: those that were analysed as trees, the
// others as the names that occur in them.
type folder struct {
	fset      *token.FileSet
	files     map[string]*source
	mentioned map[string]bool
	layout    bool // a file can see how a struct is laid out
}

type source struct {
	path string
	text []byte
	tree *ast.File
}

// A deletion is the cuts that delete one object.
type deletion struct {
	object Object
	cuts   []cut
}

type cut struct {
	file     *source
	from, to int
}

var (
	word     = regexp.MustCompile(`[\pL_][\pL\pN_]*`)
	linkname = regexp.MustCompile(`(?m)^//go:linkname .*$`)
)

func (p *pruner) folder(dir string) *folder {
	if f, ok := p.folders[dir]; ok {
		return f
	}
	f := &folder{fset: token.NewFileSet(), files: map[string]*source{}, mentioned: p.linked()}
	p.folders[dir] = f
	root, err := os.OpenRoot(p.root)
	if err != nil {
		return f
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return f
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if !e.Type().IsRegular() || !slices.Contains([]string{".go", ".s", ".S", ".c", ".h", ".cc", ".cpp", ".m"}, path.Ext(name)) {
			continue
		}
		text, err := root.ReadFile(filepath.FromSlash(name))
		if err != nil {
			continue
		}
		tree, err := parser.ParseFile(f.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil || !p.analysed[name] {
			for _, w := range word.FindAll(text, -1) {
				f.mentioned[string(w)] = true
			}
			continue
		}
		for _, spec := range tree.Imports {
			switch importPath(spec) {
			case "C", "unsafe", "reflect", "encoding/binary":
				f.layout = true
			}
		}
		f.files[name] = &source{name, text, tree}
	}
	return f
}

// linked returns the names that any analysed file links to past the compiler.
func (p *pruner) linked() map[string]bool {
	names := map[string]bool{}
	if first, ok := p.folders["\x00linked"]; ok {
		for name := range first.mentioned {
			names[name] = true
		}
		return names
	}
	for name := range p.analysed {
		text, err := os.ReadFile(filepath.Join(p.root, filepath.FromSlash(name)))
		if err != nil {
			continue
		}
		for _, line := range linkname.FindAll(text, -1) {
			for _, w := range word.FindAll(line, -1) {
				names[string(w)] = true
			}
		}
	}
	p.folders["\x00linked"] = &folder{mentioned: names}
	return p.linked()
}

// name returns the identifier that declares an object.
func (f *folder) name(o Object) (found *ast.Ident) {
	file := f.files[o.Path]
	if file == nil {
		return nil
	}
	want := lastName(o.Name)
	match := func(names ...*ast.Ident) {
		for _, n := range names {
			if n != nil && n.Name == want && f.fset.Position(n.Pos()).Line == o.Line {
				found = n
			}
		}
	}
	ast.Inspect(file.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			match(n.Name)
		case *ast.TypeSpec:
			match(n.Name)
		case *ast.ValueSpec:
			match(n.Names...)
		case *ast.StructType:
			for _, field := range n.Fields.List {
				match(field.Names...)
			}
		}
		return found == nil
	})
	return found
}

// delete finds the text that an object's deletion takes away.
func (p *pruner) delete(f *folder, o Object, name *ast.Ident) (deletion, bool) {
	file := f.files[o.Path]
	d := deletion{object: o}
	add := func(file *source, node ast.Node, doc *ast.CommentGroup) {
		d.cuts = append(d.cuts, f.span(file, node, doc))
	}
	ok := false
	ast.Inspect(file.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name == name && n.Body != nil && !bound(n.Doc) {
				add(file, n, n.Doc)
				ok = true
			}
		case *ast.GenDecl:
			for _, spec := range n.Specs {
				if declares(spec, name) {
					ok = p.deleteSpec(f, file, n, spec, name, add, &d)
				}
			}
		case *ast.StructType:
			for _, field := range n.Fields.List {
				if i := slices.Index(field.Names, name); i >= 0 && field.Tag == nil && !f.layout && !padding(field.Type) {
					ok = true
					if p.all(field.Names) {
						add(file, field, field.Doc)
					} else {
						d.cuts = append(d.cuts, f.item(file, field.Names, i))
					}
				}
			}
		}
		return true
	})
	return d, ok
}

// padding reports whether a field may be there for its size alone.
func padding(e ast.Expr) bool {
	a, ok := e.(*ast.ArrayType)
	return ok && a.Len != nil
}

// bound reports whether a comment ties a declaration to something else.
func bound(docs ...*ast.CommentGroup) bool {
	for _, doc := range docs {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			for _, mark := range []string{"//go:linkname", "//go:embed", "//go:generate", "//go:wasm", "//go:cgo", "//export "} {
				if strings.HasPrefix(c.Text, mark) {
					return true
				}
			}
		}
	}
	return false
}

func declares(spec ast.Spec, name *ast.Ident) bool {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		return spec.Name == name
	case *ast.ValueSpec:
		return slices.Contains(spec.Names, name)
	}
	return false
}

// all reports whether each of the names is unused.
func (p *pruner) all(names []*ast.Ident) bool {
	return !slices.ContainsFunc(names, func(n *ast.Ident) bool {
		_, doomed := p.doomed[n]
		return !doomed
	})
}

// deleteSpec deletes a name of a declaration; the last name takes the
// declaration along.
func (p *pruner) deleteSpec(f *folder, file *source, decl *ast.GenDecl, spec ast.Spec, name *ast.Ident,
	add func(*source, ast.Node, *ast.CommentGroup), d *deletion,
) bool {
	if bound(decl.Doc) {
		return false
	}
	whole := true
	for _, s := range decl.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			whole = whole && p.all([]*ast.Ident{s.Name})
		case *ast.ValueSpec:
			whole = whole && p.all(slices.DeleteFunc(slices.Clone(s.Names), func(n *ast.Ident) bool { return n.Name == "_" && decl.Tok == token.CONST }))
			whole = whole && f.harmless(file, s.Values)
		}
	}
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if bound(spec.Doc) {
			return false
		}
		f.methods(file.tree.Name.Name, name.Name, func(file *source, m *ast.FuncDecl) { add(file, m, m.Doc) })
		if whole {
			add(file, decl, decl.Doc)
			return true
		}
		add(file, spec, spec.Doc)
		return true
	case *ast.ValueSpec:
		if bound(spec.Doc) || !f.harmless(file, spec.Values) {
			return false
		}
		switch {
		case whole:
			add(file, decl, decl.Doc)
		case decl.Tok == token.CONST && decl.Lparen.IsValid():
			return false // the others may count on its place
		case p.all(spec.Names):
			add(file, spec, spec.Doc)
		case len(spec.Values) == 0 || len(spec.Values) == len(spec.Names):
			i := slices.Index(spec.Names, name)
			d.cuts = append(d.cuts, f.item(file, spec.Names, i))
			if len(spec.Values) > 0 {
				d.cuts = append(d.cuts, f.item(file, spec.Values, i))
			}
		default:
			return false
		}
		return true
	}
	return false
}

// methods calls each of the methods of a package's type.
func (f *folder) methods(pkg, typ string, each func(*source, *ast.FuncDecl)) {
	for _, file := range f.files {
		if file.tree.Name.Name != pkg {
			continue
		}
		for _, d := range file.tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && len(fn.Recv.List) == 1 && baseName(fn.Recv.List[0].Type) == typ {
				each(file, fn)
			}
		}
	}
}

// baseName is the name of a receiver's type.
func baseName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return baseName(e.X)
	case *ast.StarExpr:
		return baseName(e.X)
	case *ast.IndexExpr:
		return baseName(e.X)
	case *ast.IndexListExpr:
		return baseName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// harmless reports whether values can go unevaluated: nothing in them can do
// more than make a value.
func (f *folder) harmless(file *source, values []ast.Expr) bool {
	ok := true
	for _, v := range values {
		ast.Inspect(v, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				return false // it is not called
			case *ast.CallExpr:
				ok = ok && pure(file.tree, n.Fun)
			case *ast.UnaryExpr:
				ok = ok && n.Op != token.ARROW
			case *ast.IndexExpr, *ast.SliceExpr, *ast.TypeAssertExpr, *ast.StarExpr:
				ok = false // each may panic
			}
			return ok
		})
	}
	return ok
}

// pure reports whether calling fun only makes a value.
func pure(file *ast.File, fun ast.Expr) bool {
	switch fun := ast.Unparen(fun).(type) {
	case *ast.ArrayType, *ast.MapType, *ast.InterfaceType, *ast.FuncType, *ast.ChanType, *ast.StarExpr:
		return true // a conversion
	case *ast.Ident:
		return slices.Contains([]string{
			"make", "new", "len", "cap", "string", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16",
			"uint32", "uint64", "byte", "rune", "float32", "float64", "complex", "error",
		}, fun.Name)
	case *ast.SelectorExpr:
		x, ok := fun.X.(*ast.Ident)
		if !ok {
			return false
		}
		for _, spec := range file.Imports {
			if slices.Contains(names(spec), x.Name) {
				return slices.Contains([]string{
					"errors.New", "fmt.Errorf", "fmt.Sprintf", "fmt.Sprint", "regexp.MustCompile", "strings.NewReplacer",
					"strings.Repeat", "reflect.TypeOf", "time.Duration", "time.Date", "bytes.NewReader", "strings.NewReader",
				}, importPath(spec)+"."+fun.Sel.Name)
			}
		}
	}
	return false
}

// span is the text of a node with its comments, in whole lines where nothing
// else stands in them.
func (f *folder) span(file *source, node ast.Node, doc *ast.CommentGroup) cut {
	from, to := f.offset(node.Pos()), f.offset(node.End())
	if doc != nil {
		from = f.offset(doc.Pos())
	}
	line := to
	for line < len(file.text) && strings.IndexByte(" \t;", file.text[line]) >= 0 {
		line++
	}
	if rest := file.text[line:]; strings.HasPrefix(string(rest[:min(2, len(rest))]), "//") {
		for line < len(file.text) && file.text[line] != '\n' {
			line++
		}
	}
	start := from
	for start > 0 && (file.text[start-1] == ' ' || file.text[start-1] == '\t') {
		start--
	}
	if (start == 0 || file.text[start-1] == '\n') && line < len(file.text) && file.text[line] == '\n' {
		return cut{file, start, line + 1}
	}
	return cut{file, from, to}
}

func (f *folder) offset(p token.Pos) int { return f.fset.PositionFor(p, false).Offset }

// item is the text of the i-th of a list with one of its commas.
func (f *folder) item(file *source, list any, i int) cut {
	var nodes []ast.Node
	switch list := list.(type) {
	case []*ast.Ident:
		for _, n := range list {
			nodes = append(nodes, n)
		}
	case []ast.Expr:
		for _, n := range list {
			nodes = append(nodes, n)
		}
	}
	if i+1 < len(nodes) {
		return cut{file, f.offset(nodes[i].Pos()), f.offset(nodes[i+1].Pos())}
	}
	return cut{file, f.offset(nodes[i-1].End()), f.offset(nodes[i].End())}
}

// keepImports drops the deletions that would take away the last import of a
// package whose own start may do something.
func (p *pruner) keepImports(found []deletion) map[Object][]Change {
	byFile := map[*source][]cut{}
	for _, d := range found {
		for _, c := range d.cuts {
			byFile[c.file] = append(byFile[c.file], c)
		}
	}
	keep := map[*source][]string{} // names of imports that must not lose their last use
	for file, cuts := range byFile {
		f := p.folder(path.Dir(file.path))
		for _, spec := range file.tree.Imports {
			if inert(importPath(spec)) || f.importedElsewhere(file, spec) {
				continue
			}
			used := false
			for _, at := range f.uses(file, spec) {
				used = used || !slices.ContainsFunc(cuts, func(c cut) bool { return c.from <= at && at < c.to })
			}
			if !used {
				keep[file] = append(keep[file], names(spec)...)
			}
		}
	}
	changes := map[Object][]Change{}
	for _, d := range found {
		if slices.ContainsFunc(d.cuts, func(c cut) bool { return p.folder(path.Dir(c.file.path)).usesAny(c, keep[c.file]) }) {
			continue
		}
		var list []Change
		for _, c := range d.cuts {
			list = append(list, Change{Path: c.file.path, Start: c.from, End: c.to})
		}
		changes[d.object] = list
	}
	return changes
}

// inert reports whether an import does nothing but offer what it exports.
func inert(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	if strings.Contains(first, ".") {
		return false
	}
	return !slices.Contains([]string{
		"C", "embed", "expvar", "net/http/pprof", "time/tzdata", "image/gif", "image/jpeg", "image/png", "crypto/md5",
		"crypto/sha1", "crypto/sha256", "crypto/sha512", "crypto/sha3", "plugin",
	}, name) && slices.Contains(standard(), first)
}

// standard lists the first parts of the standard library's import paths.
func standard() []string {
	return []string{
		"archive", "bufio", "bytes", "cmp", "compress", "container", "context", "crypto", "database", "debug", "encoding",
		"errors", "flag", "fmt", "go", "hash", "html", "image", "index", "io", "iter", "log", "maps", "math", "mime", "net",
		"os", "path", "reflect", "regexp", "runtime", "slices", "sort", "strconv", "strings", "sync", "syscall", "testing",
		"text", "time", "unicode", "unique", "unsafe",
	}
}

func (f *folder) importedElsewhere(file *source, spec *ast.ImportSpec) bool {
	for _, other := range f.files {
		if other == file || strings.HasSuffix(other.path, "_test.go") && !strings.HasSuffix(file.path, "_test.go") {
			continue
		}
		for _, s := range other.tree.Imports {
			if importPath(s) == importPath(spec) {
				return true
			}
		}
	}
	return false
}

// uses returns where a file names an import.
func (f *folder) uses(file *source, spec *ast.ImportSpec) (offsets []int) {
	ast.Inspect(file.tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains(names(spec), x.Name) {
				offsets = append(offsets, f.offset(x.Pos()))
			}
		}
		return true
	})
	return offsets
}

func (f *folder) usesAny(c cut, names []string) bool {
	found := false
	ast.Inspect(c.file.tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains(names, x.Name) {
				at := f.offset(x.Pos())
				found = found || c.from <= at && at < c.to
			}
		}
		return !found
	})
	return found
}
