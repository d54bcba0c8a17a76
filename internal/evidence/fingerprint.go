package evidence

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"

	"conclave"
)

// A source is what fingerprints and suppressions need to know of one file.
type source struct {
	lines []string
	decls []declaration // of a Go file
	nolint
}

// A declaration is a top-level declaration and the lines that it spans.
type declaration struct {
	name     string
	from, to int
}

// sources reads files when they are first asked for.
type sources struct {
	root string
	read map[string]*source
}

func newSources(root string) *sources { return &sources{root: root, read: map[string]*source{}} }

func (s *sources) file(name string) *source {
	if src, ok := s.read[name]; ok {
		return src
	}
	src := &source{}
	s.read[name] = src
	text := readText(s.root, name)
	src.lines = strings.Split(string(text), "\n")
	if path.Ext(name) != ".go" || text == nil {
		return src
	}
	fset := token.NewFileSet()
	file, _ := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if file == nil {
		return src
	}
	for _, d := range file.Decls {
		src.decls = append(src.decls, declaration{declName(d), fset.Position(d.Pos()).Line, fset.Position(d.End()).Line})
	}
	src.nolint = findNolint(fset, file)
	return src
}

func declName(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && len(d.Recv.List) > 0 {
			return receiver(d.Recv.List[0].Type) + "." + d.Name.Name
		}
		return d.Name.Name
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				return "type " + spec.Name.Name
			case *ast.ValueSpec:
				return "var " + spec.Names[0].Name
			}
		}
	}
	return ""
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// line returns the text of a line without white space, empty when there is none.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return strings.Join(strings.Fields(s.lines[n-1]), "")
}

func (s *source) declAt(line int) string {
	for _, d := range s.decls {
		if d.from <= line && line <= d.to {
			return d.name
		}
	}
	return ""
}

// fingerprint sets the fingerprints of findings that have none, and sorts them.
func fingerprint(findings []conclave.Finding, files *sources) {
	slices.SortStableFunc(findings, byPlace)
	seen := map[string]int{}
	for i := range findings {
		f := &findings[i]
		if f.Fingerprint != "" {
			continue
		}
		src := files.file(f.Path)
		basis := strings.Join([]string{f.Tool, f.Rule, f.Path, src.declAt(f.Line), src.line(f.Line)}, "\x00")
		f.Fingerprint = digest(basis, fmt.Sprint(seen[basis]))
		seen[basis]++
	}
}

func byPlace(a, b conclave.Finding) int {
	return cmp.Or(
		strings.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
		strings.Compare(a.Tool, b.Tool), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Message, b.Message),
	)
}

// digest is a short hash of its parts.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:12])
}
