package repair

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/tools/go/analysis"
)

// simplify offers what staticcheck's simplifications ask for. That the types
// are right is what the finding says; here only the shape is looked at.
func (r repairer) simplify(n ast.Node) {
	switch n := n.(type) {
	case *ast.BlockStmt:
		r.returnCondition(n.List)
	case *ast.CaseClause:
		r.returnCondition(n.Body)
		r.lastJump(n.Body, token.BREAK)
	case *ast.CommClause:
		r.returnCondition(n.Body)
		r.lastJump(n.Body, token.BREAK)
	case *ast.FuncDecl:
		if n.Body != nil && n.Type.Results == nil {
			r.lastJump(n.Body.List, token.RETURN)
		}
	case *ast.FuncLit:
		if n.Type.Results == nil {
			r.lastJump(n.Body.List, token.RETURN)
		}
	case *ast.BinaryExpr:
		r.nilBeforeLen(n)
	case *ast.IfStmt:
		r.nilAroundLoop(n)
		r.trim(n)
	case *ast.ForStmt:
		if id, ok := n.Cond.(*ast.Ident); ok && id.Name == "true" && n.Init == nil && n.Post == nil {
			r.offer("S1006", n.Pos(), "loop without a condition", r.cut(n.Cond.Pos(), n.Body.Lbrace))
		}
	case *ast.RangeStmt:
		if c, ok := n.X.(*ast.CallExpr); ok && len(c.Args) == 1 && r.text(c.Fun) == "[]rune" {
			r.offer("S1029", n.Pos(), "range over the string", append(r.cut(c.Pos(), c.Lparen+1), r.cut(c.Rparen, c.Rparen+1)...))
		}
	case *ast.CallExpr:
		r.makeArgs(n)
		r.printf(n)
		r.rawRegexp(n)
	case *ast.BasicLit:
		r.escape(n)
	}
}

func (r repairer) cut(from, to token.Pos) []analysis.TextEdit {
	return []analysis.TextEdit{{Pos: from, End: to}}
}

// commented reports whether a comment stands between two positions: a rewriting
// of what is between would lose it.
func (r repairer) commented(from, to token.Pos) bool {
	return slices.ContainsFunc(r.file.Comments, func(g *ast.CommentGroup) bool { return g.Pos() < to && from < g.End() })
}

// returnCondition turns "if c { return true }; return false" into "return c".
func (r repairer) returnCondition(list []ast.Stmt) {
	for i := 0; i+1 < len(list); i++ {
		cond, ok := list[i].(*ast.IfStmt)
		if !ok || cond.Init != nil || cond.Else != nil || len(cond.Body.List) != 1 {
			continue
		}
		then, otherwise := boolReturn(cond.Body.List[0]), boolReturn(list[i+1])
		if then == "" || otherwise == "" || then == otherwise || r.commented(cond.Pos(), list[i+1].End()) {
			continue
		}
		text := r.text(cond.Cond)
		if then == "false" {
			text = r.not(cond.Cond)
		}
		r.offer("S1008", cond.Pos(), "return the condition", []analysis.TextEdit{{Pos: cond.Pos(), End: list[i+1].End(), NewText: []byte("return " + text)}})
	}
}

func boolReturn(s ast.Stmt) string {
	ret, ok := s.(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return ""
	}
	if id, ok := ret.Results[0].(*ast.Ident); ok && (id.Name == "true" || id.Name == "false") {
		return id.Name
	}
	return ""
}

// not is the text of a condition's opposite.
func (r repairer) not(e ast.Expr) string {
	switch e := ast.Unparen(e).(type) {
	case *ast.UnaryExpr:
		if e.Op == token.NOT {
			return r.text(e.X)
		}
	case *ast.BinaryExpr:
		switch e.Op {
		case token.EQL:
			return r.text(e.X) + " != " + r.text(e.Y)
		case token.NEQ:
			return r.text(e.X) + " == " + r.text(e.Y)
		}
	case *ast.Ident, *ast.CallExpr, *ast.SelectorExpr:
		return "!" + r.text(e)
	}
	return "!(" + r.text(e) + ")"
}

// lastJump deletes a return or break that the end of its block makes anyway.
func (r repairer) lastJump(list []ast.Stmt, tok token.Token) {
	if len(list) == 0 {
		return
	}
	last := list[len(list)-1]
	switch s := last.(type) {
	case *ast.ReturnStmt:
		if tok != token.RETURN || len(s.Results) > 0 {
			return
		}
	case *ast.BranchStmt:
		if s.Tok != tok || s.Label != nil {
			return
		}
	default:
		return
	}
	from := last.Pos()
	if len(list) > 1 && !r.commented(list[len(list)-2].End(), last.Pos()) {
		from = list[len(list)-2].End()
	}
	r.offer("S1023", last.Pos(), "delete it", r.cut(from, last.End()))
}

// nilBeforeLen deletes a nil check before a length is looked at.
func (r repairer) nilBeforeLen(b *ast.BinaryExpr) {
	check, ok := ast.Unparen(b.X).(*ast.BinaryExpr)
	if !ok || !isNil(check.Y) {
		return
	}
	if b.Op == token.LAND && check.Op != token.NEQ || b.Op == token.LOR && check.Op != token.EQL || b.Op != token.LAND && b.Op != token.LOR {
		return
	}
	size, ok := ast.Unparen(b.Y).(*ast.BinaryExpr)
	if !ok || r.text(size.X) != "len("+r.text(check.X)+")" || r.commented(b.Pos(), b.Y.Pos()) {
		return
	}
	r.offer("S1009", b.Pos(), "its length says it all", r.cut(b.Pos(), b.Y.Pos()))
}

func isNil(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "nil"
}

// nilAroundLoop unwraps a loop from the nil check around it.
func (r repairer) nilAroundLoop(s *ast.IfStmt) {
	if s.Init != nil || s.Else != nil || len(s.Body.List) != 1 {
		return
	}
	loop, ok := s.Body.List[0].(*ast.RangeStmt)
	check, isCheck := s.Cond.(*ast.BinaryExpr)
	if !ok || !isCheck || check.Op != token.NEQ || !isNil(check.Y) || r.text(check.X) != r.text(loop.X) {
		return
	}
	if r.commented(s.Pos(), loop.Pos()) || r.commented(loop.End(), s.End()) {
		return
	}
	r.offer("S1031", s.Pos(), "range over nothing does nothing", append(r.cut(s.Pos(), loop.Pos()), r.cut(loop.End(), s.End())...))
}

// trim turns a test for a prefix and its cutting off into one call.
func (r repairer) trim(s *ast.IfStmt) {
	call, ok := s.Cond.(*ast.CallExpr)
	if !ok || s.Init != nil || s.Else != nil || len(s.Body.List) != 1 || len(call.Args) != 2 || r.commented(s.Pos(), s.End()) {
		return
	}
	set, ok := s.Body.List[0].(*ast.AssignStmt)
	fun, isSelector := call.Fun.(*ast.SelectorExpr)
	if !ok || !isSelector || len(set.Lhs) != 1 || len(set.Rhs) != 1 || set.Tok != token.ASSIGN || r.text(set.Lhs[0]) != r.text(call.Args[0]) {
		return
	}
	slice, ok := set.Rhs[0].(*ast.SliceExpr)
	trims := map[string]string{"HasPrefix": "TrimPrefix", "HasSuffix": "TrimSuffix"}[fun.Sel.Name]
	if !ok || trims == "" || r.text(slice.X) != r.text(call.Args[0]) {
		return
	}
	text := r.text(set.Lhs[0]) + " = " + r.text(fun.X) + "." + trims + "(" + r.text(call.Args[0]) + ", " + r.text(call.Args[1]) + ")"
	r.offer("S1017", s.Pos(), "trim it", []analysis.TextEdit{{Pos: s.Pos(), End: s.End(), NewText: []byte(text)}})
}

// makeArgs deletes arguments of make that say what is so without them.
func (r repairer) makeArgs(call *ast.CallExpr) {
	id, ok := call.Fun.(*ast.Ident)
	if !ok || id.Name != "make" {
		return
	}
	switch len(call.Args) {
	case 2:
		if zero, ok := call.Args[1].(*ast.BasicLit); ok && zero.Value == "0" {
			r.offer("S1019", zero.Pos(), "leave it out", r.cut(call.Args[0].End(), zero.End()))
		}
	case 3:
		size := call.Args[1]
		if r.text(size) == r.text(call.Args[2]) && r.repeatable(size) {
			r.offer("S1019", size.Pos(), "leave the capacity out", r.cut(size.End(), call.Args[2].End()))
		}
	}
}

// repeatable reports whether evaluating an expression once or twice is the same.
func (r repairer) repeatable(e ast.Expr) bool {
	ok := true
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			id, builtin := n.Fun.(*ast.Ident)
			selector, method := n.Fun.(*ast.SelectorExpr)
			ok = ok && (builtin && (id.Name == "len" || id.Name == "cap") || method && selector.Sel.Name == "Len")
		case *ast.UnaryExpr:
			ok = ok && n.Op != token.ARROW
		}
		return ok
	})
	return ok
}

// printf turns a print of a formatted string into a formatted print.
func (r repairer) printf(call *ast.CallExpr) {
	if len(call.Args) == 0 || call.Ellipsis.IsValid() {
		return
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	inner, isCall := call.Args[len(call.Args)-1].(*ast.CallExpr)
	if !ok || !isCall || r.callee(inner) != "fmt.Sprintf" {
		return
	}
	first, args := strings.TrimSuffix(sel.Sel.Name, "ln"), 1
	switch first {
	case "Error", "Fatal", "Log", "Skip", "Panic", "Print", "Sprint":
	case "Fprint":
		args = 2
	default:
		return
	}
	// Only fmt's own functions for lines write another end of line.
	if len(call.Args) != args || first != sel.Sel.Name && strings.HasPrefix(r.callee(call), "fmt.") {
		return
	}
	edits := append(r.cut(inner.Pos(), inner.Lparen+1), r.cut(inner.Rparen, inner.Rparen+1)...)
	r.offer("S1038", call.Pos(), "format and print at once",
		append(edits, analysis.TextEdit{Pos: sel.Sel.Pos(), End: sel.Sel.End(), NewText: []byte(first + "f")}))
}

// rawRegexp writes a pattern with doubled backslashes as a raw string.
func (r repairer) rawRegexp(call *ast.CallExpr) {
	if len(call.Args) == 0 || !strings.HasPrefix(r.callee(call), "regexp.") {
		return
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok || !strings.HasPrefix(lit.Value, `"`) {
		return
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil || !strconv.CanBackquote(text) {
		return
	}
	r.offer("S1007", call.Pos(), "use a raw string", []analysis.TextEdit{{Pos: lit.Pos(), End: lit.End(), NewText: []byte("`" + text + "`")}})
}

// escape writes invisible characters of a string as escapes: its value stays.
func (r repairer) escape(lit *ast.BasicLit) {
	if lit.Kind != token.STRING || !strings.HasPrefix(lit.Value, `"`) {
		return
	}
	var edits []analysis.TextEdit
	for at, c := range lit.Value {
		if c != utf8.RuneError && (unicode.Is(unicode.Cf, c) || unicode.Is(unicode.Cc, c)) {
			pos := lit.Pos() + token.Pos(at)
			edits = append(edits, analysis.TextEdit{Pos: pos, End: pos + token.Pos(utf8.RuneLen(c)), NewText: []byte(strings.Trim(strconv.QuoteRuneToASCII(c), "'"))})
		}
	}
	if len(edits) > 0 {
		r.offer("ST1018", lit.Pos(), "write it as an escape", edits)
	}
}
