package restwire

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

// A value that the root package gains and this table lacks would be refused on
// the wire.
func TestEnumsAreComplete(t *testing.T) {
	declared := map[string][]string{} // by type
	files, err := filepath.Glob("../../*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of the root package: %v", err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				typ, ok := spec.Type.(*ast.Ident)
				if !ok {
					continue
				}
				for _, v := range spec.Values {
					if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
						value, err := strconv.Unquote(lit.Value)
						if err != nil {
							t.Fatal(err)
						}
						declared[typ.Name] = append(declared[typ.Name], value)
					}
				}
			}
		}
	}
	open := []string{"AssignmentKind", "Effect", "EventKind", "Role", "Service", "TenantID"}
	known := map[string][]string{}
	for typ, values := range enums() {
		for _, v := range values {
			known[typ.Name()] = append(known[typ.Name()], fmt.Sprint(v))
		}
	}
	for typ, values := range declared {
		if slices.Contains(open, typ) {
			continue
		}
		slices.Sort(values)
		slices.Sort(known[typ])
		if !reflect.DeepEqual(values, known[typ]) {
			t.Errorf("%s: declared %q, known %q", typ, values, known[typ])
		}
		delete(known, typ)
	}
	for typ := range known {
		t.Errorf("%s is known, but not declared", typ)
	}
}
