package evidence

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"slices"
	"strconv"

	"golang.org/x/tools/go/ast/astutil"
)

// overlaps reports whether a change touches text that others touch. The very
// same change, such as an import that two fixes need, does not.
func overlaps(c Change, taken []Change) bool {
	return slices.ContainsFunc(taken, func(t Change) bool {
		return t != c && t.Path == c.Path && c.Start <= t.End && t.Start <= c.End
	})
}

// rewrite applies changes of one Go file. Imports that they leave unused go,
// and a file that was formatted stays formatted.
func rewrite(old []byte, changes []Change) ([]byte, error) {
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.New, b.New))
	})
	changes = slices.Compact(changes)
	var text []byte
	at := 0
	for _, c := range changes {
		if c.Start < at || c.End > len(old) {
			return nil, fmt.Errorf("changes overlap at byte %d", c.Start)
		}
		text = append(append(text, old[at:c.Start]...), c.New...)
		at = c.End
	}
	text = append(text, old[at:]...)
	text, err := dropUnusedImports(old, text)
	if err != nil {
		return nil, err
	}
	if was, err := format.Source(old); err == nil && bytes.Equal(was, old) {
		return format.Source(text)
	}
	return text, nil
}

// dropUnusedImports removes the imports that the old text used and the new text
// does not.
func dropUnusedImports(old, text []byte) ([]byte, error) {
	before, err := parser.ParseFile(token.NewFileSet(), "", old, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	fset := token.NewFileSet()
	after, err := parser.ParseFile(fset, "", text, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing what the fix wrote: %w", err)
	}
	dropped := false
	for _, spec := range slices.Clone(after.Imports) {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil || path == "C" {
			continue
		}
		name := ""
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "_" || name == "." || astutil.UsesImport(after, path) || !astutil.UsesImport(before, path) {
			continue
		}
		dropped = astutil.DeleteNamedImport(fset, after, name, path) || dropped
	}
	if !dropped {
		return text, nil
	}
	var b bytes.Buffer
	if err := format.Node(&b, fset, after); err != nil {
		return nil, fmt.Errorf("printing: %w", err)
	}
	return b.Bytes(), nil
}

func isGenerated(text []byte) bool {
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ParseComments|parser.PackageClauseOnly)
	return err == nil && ast.IsGenerated(file)
}
