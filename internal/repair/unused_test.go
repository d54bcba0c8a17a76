package repair

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// Each case is a package whose first file has names that an analyser calls
// unused, marked with "// unused" on their line; the archive's last file, if its
// name is "want", is what the first becomes. Without it nothing may be deleted.
func TestUnused(t *testing.T) {
	for name, archive := range map[string]string{
		"function with its comment and import": `
-- a.go --
package a

import "fmt"

// F is used.
func F() {}

// g prints.
//
// It did once.
func g() { // unused
	fmt.Println()
}

// H is used too.
func H() {}
-- want --
package a

// F is used.
func F() {}

// H is used too.
func H() {}
`,
		"type with its methods": `
-- a.go --
package a

type (
	// T is used.
	T int
	// u is not.
	u struct{ n int } // unused
)

func (u) one() {}

func (x *u) Two() { x.n++ }
-- want --
package a

type (
	// T is used.
	T int
)
`,
		"whole group of constants": `
-- a.go --
package a

// Colours.
const (
	red   = iota // unused
	green        // unused
)

var X = 1
-- want --
package a

var X = 1
`,
		"one of several names": `
-- a.go --
package a

var A, b, C = 1, 2, 3 // unused
-- want --
package a

var A, C = 1, 3 // unused
`,
		"field": `
-- a.go --
package a

type T struct {
	A int
	// b was for something.
	b int // unused

	C int
}
-- want --
package a

type T struct {
	A int

	C int
}
`,
		"variable made without effects": `
-- a.go --
package a

import "errors"

var errOld = errors.New("old") // unused

var X = []string{"x"}
-- want --
package a

var X = []string{"x"}
`,
		"used on another platform": "-- a.go --\npackage a\n\nfunc g() {} // unused\n-- a_windows.go --\npackage a\n\nfunc F() { g() }\n",
		"used under a build tag":   "-- a.go --\npackage a\n\nfunc g() {} // unused\n-- b.go --\n//go:build never\n\npackage a\n\nfunc F() { g() }\n",
		"used by cgo":              "-- a.go --\npackage a\n\ntype g int // unused\n-- c.go --\npackage a\n\nimport \"C\"\n\nvar X g\n",
		"used by assembly":         "-- a.go --\npackage a\n\nfunc g() {} // unused\n-- a_amd64.s --\nTEXT ·f(SB), 0, $0\n\tCALL ·g(SB)\n",
		"linked by name":           "-- a.go --\npackage a\n\nfunc g() {} // unused\n-- b/b.go --\npackage b\n\nimport _ \"unsafe\"\n\n//go:linkname f m/a.g\nfunc f()\n",
		"links itself":             "-- a.go --\npackage a\n\nimport _ \"unsafe\"\n\n//go:linkname g runtime.g\nfunc g() {} // unused\n",
		"without a body":           "-- a.go --\npackage a\n\nfunc g() // unused\n",
		"exported to C":            "-- a.go --\npackage a\n\n//export g\nfunc g() {} // unused\n",
		"field with a tag":         "-- a.go --\npackage a\n\ntype T struct {\n\tb int `json:\"b\"` // unused\n}\n",
		"field seen by reflection": "-- a.go --\npackage a\n\nimport \"reflect\"\n\ntype T struct {\n\tb int // unused\n}\n\nvar N = reflect.TypeOf(T{}).NumField()\n",
		"field of a wire format":   "-- a.go --\npackage a\n\ntype T struct {\n\tb int // unused\n}\n-- b.go --\npackage a\n\nimport \"encoding/binary\"\n\nvar _ = binary.Size\n",
		"padding":                  "-- a.go --\npackage a\n\ntype T struct {\n\tb [56]byte // unused\n}\n",
		"value with an effect":     "-- a.go --\npackage a\n\nvar x = register() // unused\n\nfunc register() int { println(); return 1 }\n",
		"constant among used ones": "-- a.go --\npackage a\n\nconst (\n\ta = iota // unused\n\tB\n)\n",
		"import with an effect":    "-- a.go --\npackage a\n\nimport \"image/png\"\n\nvar enc png.Encoder // unused\n",
		"import of another module": "-- a.go --\npackage a\n\nimport \"example.com/driver\"\n\nfunc open() { driver.Open() } // unused\n",
		"embedded file":            "-- a.go --\npackage a\n\nimport \"embed\"\n\n//go:embed a.go\nvar files embed.FS // unused\n",
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			analysed := map[string]bool{}
			var want string
			files := txtar.Parse([]byte(archive)).Files
			for _, f := range files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				path := filepath.Join(root, f.Name)
				if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
				excluded := strings.Contains(string(f.Data), "//go:build") || strings.Contains(string(f.Data), `import "C"`) || strings.HasSuffix(f.Name, "_windows.go")
				analysed[f.Name] = strings.HasSuffix(f.Name, ".go") && !excluded
			}
			objects := marked(t, string(files[0].Data))
			var changes []Change
			for _, list := range Unused(root, analysed, objects) {
				changes = append(changes, list...)
			}
			if want == "" {
				if len(changes) > 0 {
					t.Fatalf("deleted %+v", changes)
				}
				return
			}
			got, err := Rewrite(files[0].Data, changes)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// marked finds the declared unexported names on the lines that say "unused".
func marked(t *testing.T, text string) []Object {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "a.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text, "\n")
	var objects []Object
	add := func(names ...*ast.Ident) {
		for _, n := range names {
			line := fset.Position(n.Pos()).Line
			if strings.Contains(lines[line-1], "// unused") && !n.IsExported() {
				objects = append(objects, Object{"a.go", line, n.Name})
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			add(n.Name)
		case *ast.TypeSpec:
			add(n.Name)
		case *ast.ValueSpec:
			add(n.Names...)
		case *ast.StructType:
			for _, f := range n.Fields.List {
				if !strings.Contains(lines[fset.Position(f.Pos()).Line-1], "struct") {
					add(f.Names...)
				}
			}
		}
		return true
	})
	if len(objects) == 0 {
		t.Fatal("nothing is marked")
	}
	return objects
}
