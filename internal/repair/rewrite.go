package repair

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ast/astutil"
)

// A Change replaces the bytes from Start to End of a file or, with Import,
// makes that package's name known in it.
type Change struct {
	Path   string `json:"path"`
	Start  int    `json:"start"`
	End    int    `json:"end"`
	New    string `json:"new"`
	Import string `json:"import,omitempty"`
}

// Overlaps reports whether a change touches text that others touch. The very
// same change, such as an import that two fixes need, does not.
func Overlaps(c Change, taken []Change) bool {
	return slices.ContainsFunc(taken, func(t Change) bool {
		return t != c && t.Import == "" && c.Import == "" && t.Path == c.Path && c.Start <= t.End && t.Start <= c.End
	})
}

// Rewrite applies changes of one Go file. Imports that they leave unused go,
// and a file that was formatted stays formatted. It fails when changes overlap
// or leave what does not parse.
func Rewrite(old []byte, changes []Change) ([]byte, error) {
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.New, b.New))
	})
	changes = slices.Compact(changes)
	var text []byte
	at := 0
	var imports []string
	for _, c := range changes {
		if c.Import != "" {
			imports = append(imports, c.Import)
			continue
		}
		if c.Start < at || c.End > len(old) {
			return nil, fmt.Errorf("changes overlap at byte %d", c.Start)
		}
		text = append(append(text, old[at:c.Start]...), c.New...)
		at = c.End
	}
	text = append(text, old[at:]...)
	text, err := settleImports(old, text, imports)
	if err != nil {
		return nil, err
	}
	if was, err := format.Source(old); err == nil && bytes.Equal(was, old) {
		return format.Source(text)
	}
	return text, nil
}

// settleImports adds imports, and removes those that the old text used and the
// new text does not.
func settleImports(old, text []byte, add []string) ([]byte, error) {
	before, err := parser.ParseFile(token.NewFileSet(), "", old, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	fset := token.NewFileSet()
	after, err := parser.ParseFile(fset, "", text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parsing what the fix wrote: %w", err)
	}
	changed := false
	for _, path := range add {
		changed = astutil.AddImport(fset, after, path) || changed
	}
	used, still := qualifiers(before), qualifiers(after)
	for _, spec := range slices.Clone(after.Imports) {
		path, names := importPath(spec), names(spec)
		if path == "C" || slices.Contains(add, path) || anyOf(still, names) || !anyOf(used, names) {
			continue
		}
		name := ""
		if spec.Name != nil {
			name = spec.Name.Name
		}
		changed = astutil.DeleteNamedImport(fset, after, name, path) || changed
	}
	if !changed {
		return text, nil
	}
	var b bytes.Buffer
	if err := format.Node(&b, fset, after); err != nil {
		return nil, fmt.Errorf("printing: %w", err)
	}
	return b.Bytes(), nil
}

// qualifiers returns the names before a dot.
func qualifiers(file *ast.File) map[string]bool {
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				found[x.Name] = true
			}
		}
		return true
	})
	return found
}

func anyOf(set map[string]bool, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return set[n] })
}

func importPath(spec *ast.ImportSpec) string {
	path, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return ""
	}
	return path
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// names returns the names that an import may have in its file: its own, or
// those that its path suggests. An import for its effects or with a dot has none.
func names(spec *ast.ImportSpec) []string {
	if spec.Name != nil {
		if spec.Name.Name == "_" || spec.Name.Name == "." {
			return nil
		}
		return []string{spec.Name.Name}
	}
	elements := strings.Split(importPath(spec), "/")
	last := elements[len(elements)-1]
	if len(elements) > 1 && majorVersion.MatchString(last) {
		last = elements[len(elements)-2]
	}
	list := []string{last}
	if base, version, ok := strings.Cut(last, ".v"); ok && majorVersion.MatchString("v"+version) {
		last = base
		list = append(list, base)
	}
	for _, part := range strings.FieldsFunc(last, func(r rune) bool { return r == '-' || r == '.' }) {
		if part != "go" {
			list = append(list, part)
		}
	}
	return append(list, strings.TrimSuffix(strings.TrimPrefix(strings.ReplaceAll(last, "-", ""), "go"), "go"))
}

// IsGenerated reports whether a Go file says that a program wrote it.
func IsGenerated(text []byte) bool {
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ParseComments|parser.PackageClauseOnly)
	return err == nil && ast.IsGenerated(file)
}
