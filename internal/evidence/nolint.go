package evidence

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// nolint holds the //nolint comments of a Go file, by the lines they cover.
type nolint []nolintSpan

type nolintSpan struct {
	from, to int
	linters  []string // none: all
}

var nolintComment = regexp.MustCompile(`^//nolint(?::([\w, .-]+))?(?:\s|$)`)

// findNolint reads the //nolint comments of a file: one behind code covers its
// line; one above a declaration or statement covers that; one above the package
// clause covers the file.
func findNolint(fset *token.FileSet, file *ast.File) nolint {
	var spans nolint
	for _, group := range file.Comments {
		for _, c := range group.List {
			m := nolintComment.FindStringSubmatch(c.Text)
			if m == nil {
				continue
			}
			var linters []string
			for name := range strings.FieldsFuncSeq(m[1], func(r rune) bool { return r == ',' || r == ' ' }) {
				linters = append(linters, strings.ToLower(name))
			}
			line := fset.Position(c.Pos()).Line
			span := nolintSpan{line, line, linters}
			if c.End() < file.Package {
				span.to = fset.Position(file.FileEnd).Line
			} else if node := startingOn(fset, file, fset.Position(group.End()).Line+1); node != nil {
				span.to = fset.Position(node.End()).Line
			}
			spans = append(spans, span)
		}
	}
	return spans
}

// startingOn returns the outermost declaration, statement or field that starts
// on a line.
func startingOn(fset *token.FileSet, file *ast.File, line int) ast.Node {
	var found ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil || found != nil {
			return false
		}
		switch n := n.(type) {
		case ast.Decl, ast.Stmt, ast.Spec, *ast.Field:
			start := n.Pos()
			if fn, ok := n.(*ast.FuncDecl); ok {
				start = fn.Type.Func
			}
			if gen, ok := n.(*ast.GenDecl); ok {
				start = gen.TokPos
			}
			if fset.Position(start).Line == line {
				found = n
			}
		}
		return found == nil
	})
	return found
}

// covers reports whether a comment suppresses a finding of a tool and a rule on
// a line.
func (n nolint) covers(line int, tool, rule string) bool {
	switch tool {
	case toolVet, toolStaticcheck, toolModernize, toolGosec:
	default:
		return false // a comment can't make code compile or a secret safe
	}
	names := []string{"all", strings.ToLower(rule), strings.TrimPrefix(tool, "go ")}
	switch {
	case tool == toolVet:
		names = append(names, "govet")
	case rule == "U1000":
		names = append(names, "unused")
	case tool == toolStaticcheck && strings.HasPrefix(rule, "ST"):
		names = append(names, "stylecheck")
	case tool == toolStaticcheck && strings.HasPrefix(rule, "S1"):
		names = append(names, "gosimple")
	case rule == "G104":
		names = append(names, "errcheck")
	}
	return slices.ContainsFunc(n, func(s nolintSpan) bool {
		if line < s.from || line > s.to {
			return false
		}
		return len(s.linters) == 0 || slices.ContainsFunc(s.linters, func(l string) bool { return slices.Contains(names, l) })
	})
}
