package repair

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// Prefix marks the category of an offer: the rule that it mends follows.
const Prefix = "repair "

// Name is the name of the analyser of [Offers].
const Name = "repairs"

// Offers returns the analyser that offers repairs for findings which one
// rewriting mends for certain. An offer counts only where the rule made its
// finding. An offered edit that begins with "import " names a package that the
// file then needs.
//
//   - G301, G302, G306: a permission given as a number without execute bits
//     loses what the rule forbids.
//   - G112, G114: an HTTP server gets a time limit for a request's header.
//   - SA1019: what the standard library replaced one to one.
//   - S1006 and others: what staticcheck would simplify, and has no fix for.
//   - G104: an offer without a fix says that the finding is void, because what
//     is called never fails.
func Offers() *analysis.Analyzer {
	return &analysis.Analyzer{
		Name: Name,
		Doc:  "offers mechanical repairs for findings",
		Run: func(pass *analysis.Pass) (any, error) {
			for _, file := range pass.Files {
				r := repairer{pass: pass, file: file}
				r.deprecated()
				ast.Inspect(file, func(n ast.Node) bool {
					r.simplify(n)
					switch n := n.(type) {
					case *ast.ExprStmt:
						r.seed(n)
						r.infallible(n)
					case *ast.CallExpr:
						r.permission(n)
						r.serve(n)
					case *ast.CompositeLit:
						r.literal(n)
					}
					return true
				})
			}
			return nil, nil
		},
	}
}

// infallible voids findings of unhandled errors where there never is one: the
// documentation of these types says so.
func (r repairer) infallible(s *ast.ExprStmt) {
	call, ok := s.X.(*ast.CallExpr)
	if !ok {
		return
	}
	sure := false
	switch name := r.callee(call); name {
	case "(*bytes.Buffer).Write", "(*bytes.Buffer).WriteByte", "(*bytes.Buffer).WriteRune", "(*bytes.Buffer).WriteString",
		"(*strings.Builder).Write", "(*strings.Builder).WriteByte", "(*strings.Builder).WriteRune", "(*strings.Builder).WriteString":
		sure = true
	case "io.WriteString":
		t := r.pass.TypesInfo.TypeOf(call.Args[0])
		sure = t != nil && slices.Contains([]string{"*bytes.Buffer", "*strings.Builder", "hash.Hash"}, t.String())
	}
	if sure {
		r.pass.Report(analysis.Diagnostic{Pos: s.Pos(), Category: Prefix + "G104", Message: "it never fails"})
	}
}

// callee is the full name of the function that is called statically, or nothing.
func (r repairer) callee(call *ast.CallExpr) string {
	if fn, ok := typeutil.Callee(r.pass.TypesInfo, call).(*types.Func); ok {
		return fn.FullName()
	}
	return ""
}

type repairer struct {
	pass *analysis.Pass
	file *ast.File
}

// permission repairs the last argument of calls that make or open files.
func (r repairer) permission(call *ast.CallExpr) {
	fn, ok := typeutil.Callee(r.pass.TypesInfo, call).(*types.Func)
	if !ok || fn.Pkg() == nil || len(call.Args) == 0 {
		return
	}
	var rule string
	var allowed int64 = 0o600
	switch fn.FullName() {
	case "os.Mkdir", "os.MkdirAll":
		rule, allowed = "G301", 0o750
	case "os.OpenFile", "os.Chmod":
		rule = "G302"
	case "os.WriteFile", "io/ioutil.WriteFile":
		rule = "G306"
	default:
		return
	}
	lit, ok := call.Args[len(call.Args)-1].(*ast.BasicLit)
	if !ok || lit.Kind != token.INT {
		return
	}
	mode, err := strconv.ParseInt(lit.Value, 0, 64)
	if err != nil || mode&^0o777 != 0 || rule != "G301" && mode&0o111 != 0 {
		return
	}
	r.offer(rule, call.Pos(), "tighten the permission", []analysis.TextEdit{{
		Pos: lit.Pos(), End: lit.End(), NewText: []byte("0o" + strconv.FormatInt(mode&allowed, 8)),
	}})
}

// serve turns a serving function of net/http into the same method of a server
// with a header timeout.
func (r repairer) serve(call *ast.CallExpr) {
	fn, ok := typeutil.Callee(r.pass.TypesInfo, call).(*types.Func)
	if !ok || fn.Pkg() == nil || fn.Pkg().Path() != "net/http" || fn.Signature().Recv() != nil || call.Ellipsis.IsValid() {
		return
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	if len(call.Args) != fn.Signature().Params().Len() {
		return // the arguments are another call's results
	}
	text := make([]string, len(call.Args))
	for i, a := range call.Args {
		text[i] = r.text(a)
	}
	var fields, args string
	switch fn.Name() {
	case "ListenAndServe":
		fields = "Addr: " + text[0] + ", Handler: " + text[1]
	case "ListenAndServeTLS":
		fields, args = "Addr: "+text[0]+", Handler: "+text[3], text[1]+", "+text[2]
	case "Serve":
		fields, args = "Handler: "+text[1], text[0]
	case "ServeTLS":
		fields, args = "Handler: "+text[1], strings.Join([]string{text[0], text[2], text[3]}, ", ")
	default:
		return
	}
	fields = strings.TrimSuffix(strings.Replace(fields, "Handler: nil", "", 1), ", ")
	if fields != "" {
		fields += ", "
	}
	clock, imports, ok := r.use("time", call.Pos())
	if !ok {
		return
	}
	server := "(&" + r.text(selector.X) + ".Server{" + fields + "ReadHeaderTimeout: 10 * " + clock + ".Second})." + fn.Name() + "(" + args + ")"
	r.offer("G114", call.Pos(), "serve with a header timeout",
		append(imports, analysis.TextEdit{Pos: call.Pos(), End: call.End(), NewText: []byte(server)}))
}

// literal adds the missing time limit to a literal of http.Server.
func (r repairer) literal(lit *ast.CompositeLit) {
	named, ok := types.Unalias(r.pass.TypesInfo.TypeOf(lit)).(*types.Named)
	if !ok || named.Obj().Pkg() == nil {
		return
	}
	if named.Obj().Pkg().Path() != "net/http" || named.Obj().Name() != "Server" || hasField(lit, "ReadHeaderTimeout", "ReadTimeout") {
		return
	}
	if clock, imports, ok := r.use("time", lit.Pos()); ok {
		r.offer("G112", lit.Pos(), "set a header timeout", append(imports, addField(lit, "ReadHeaderTimeout: 10 * "+clock+".Second")))
	}
}

func hasField(lit *ast.CompositeLit, names ...string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return true // without keys every field is there
		}
		key, ok := kv.Key.(*ast.Ident)
		return ok && slices.Contains(names, key.Name)
	})
}

// addField puts a field first, so that a trailing comma does not matter.
func addField(lit *ast.CompositeLit, field string) analysis.TextEdit {
	if len(lit.Elts) > 0 {
		field += ", "
	}
	return analysis.TextEdit{Pos: lit.Lbrace + 1, End: lit.Lbrace + 1, NewText: []byte(field)}
}

// use returns the name by which a package can be used at pos, and the edit that
// imports it. It reports false when the name means something else there.
func (r repairer) use(path string, pos token.Pos) (string, []analysis.TextEdit, bool) {
	name, imported := path[strings.LastIndexByte(path, '/')+1:], false
	for _, spec := range r.file.Imports {
		if importPath(spec) == path && (spec.Name == nil || spec.Name.Name != "_" && spec.Name.Name != ".") {
			if imported = true; spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	scope := r.pass.Pkg.Scope().Innermost(pos)
	if scope == nil {
		return "", nil, false
	}
	_, object := scope.LookupParent(name, pos)
	if imported {
		p, ok := object.(*types.PkgName)
		return name, nil, ok && p.Imported().Path() == path
	}
	at := r.file.Name.End()
	return name, []analysis.TextEdit{{Pos: at, End: at, NewText: []byte("import " + path)}}, object == nil
}

func (r repairer) offer(rule string, pos token.Pos, message string, edits []analysis.TextEdit) {
	r.pass.Report(analysis.Diagnostic{
		Pos: pos, Category: Prefix + rule, Message: message,
		SuggestedFixes: []analysis.SuggestedFix{{Message: message, TextEdits: edits}},
	})
}

func (r repairer) text(n ast.Node) string {
	var b bytes.Buffer
	if err := format.Node(&b, r.pass.Fset, n); err != nil {
		return ""
	}
	return b.String()
}
