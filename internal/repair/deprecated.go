package repair

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"
)

// successors maps what the standard library deprecates to what does the same.
func successors() map[string][2]string {
	return map[string][2]string{
		"io/ioutil.Discard":   {"io", "Discard"},
		"io/ioutil.NopCloser": {"io", "NopCloser"},
		"io/ioutil.ReadAll":   {"io", "ReadAll"},
		"io/ioutil.ReadDir":   {"os", "ReadDir"}, // its entries know less: where that matters it does not compile
		"io/ioutil.ReadFile":  {"os", "ReadFile"},
		"io/ioutil.TempDir":   {"os", "MkdirTemp"},
		"io/ioutil.TempFile":  {"os", "CreateTemp"},
		"io/ioutil.WriteFile": {"os", "WriteFile"},
		"os.SEEK_CUR":         {"io", "SeekCurrent"},
		"os.SEEK_END":         {"io", "SeekEnd"},
		"os.SEEK_SET":         {"io", "SeekStart"},
		"reflect.PtrTo":       {"reflect", "PointerTo"},
	}
}

// deprecated offers what follows a deprecated name: for each use, and for an
// import whose every use has a successor. Staticcheck makes the finding only
// where the module's version of Go has the successor.
func (r repairer) deprecated() {
	const rule = "SA1019"
	edits := map[string][]analysis.TextEdit{}
	stays := map[string]bool{}
	ast.Inspect(r.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		name, ok := r.pass.TypesInfo.Uses[x].(*types.PkgName)
		if !ok {
			return true
		}
		path := name.Imported().Path()
		next, ok := successors()[path+"."+sel.Sel.Name]
		if !ok {
			stays[path] = true
			return true
		}
		local, imports, ok := r.use(next[0], sel.Pos())
		if !ok {
			stays[path] = true
			return true
		}
		list := append(imports, analysis.TextEdit{Pos: sel.Pos(), End: sel.End(), NewText: []byte(local + "." + next[1])})
		r.offer(rule, sel.Pos(), "use "+next[0]+"."+next[1], list)
		edits[path] = append(edits[path], list...)
		return true
	})
	for _, spec := range r.file.Imports {
		if path := importPath(spec); len(edits[path]) > 0 && !stays[path] {
			r.offer(rule, spec.Path.Pos(), "use what follows "+path, edits[path])
		}
	}
}

// seed deletes a statement that seeds the global source of math/rand with the
// clock, which it is seeded with anyway since seeding is deprecated.
func (r repairer) seed(s *ast.ExprStmt) {
	call, ok := s.X.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 || r.callee(call) != "math/rand.Seed" {
		return
	}
	arg := ast.Unparen(call.Args[0])
	if c, ok := arg.(*ast.CallExpr); ok && r.pass.TypesInfo.Types[c.Fun].IsType() && len(c.Args) == 1 {
		arg = ast.Unparen(c.Args[0]) // int64(…)
	}
	clock, ok := arg.(*ast.CallExpr)
	if !ok {
		return
	}
	switch r.callee(clock) {
	case "(time.Time).UnixNano", "(time.Time).Unix", "(time.Time).Nanosecond":
	default:
		return
	}
	if now, ok := clock.Fun.(*ast.SelectorExpr); ok {
		if c, ok := now.X.(*ast.CallExpr); ok && r.callee(c) == "time.Now" {
			r.offer("SA1019", call.Pos(), "the source is seeded already", []analysis.TextEdit{{Pos: s.Pos(), End: s.End()}})
		}
	}
}
