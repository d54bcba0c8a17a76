package playbook

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"conclave"
)

func documented() fstest.MapFS {
	files := map[string]string{
		"go.mod": "module example.com/shop\n\ngo 1.26\n",
		"shop.go": `// Package shop sells things.
//
// # Prices
//
// They are in cents; see [Price].
package shop

// Price is what n cost.
func Price(n int) int { return 2 * n }

// Limit bounds an order.
const Limit = 10

// Order is what somebody wants.
type Order struct {
	Count int // how many
	note  string
}

// Total is the price of all.
func (o Order) Total() int { return Price(o.Count) }

func Silent() {}

func hidden() {}
`,
		"shop_windows.go":    "package shop\n\n// Only there.\nfunc Windows() {}\n",
		"shop_test.go":       "package shop\n\nfunc Helper() {}\n",
		"vendor/x/x.go":      "// Package x is foreign.\npackage x\n",
		"internal/db/db.go":  "// Package db keeps orders. It has more to say.\npackage db\n\n// Open opens.\nfunc Open() {}\n",
		"broken/broken.go":   "package broken\n\nfunc (",
		"cmd/shopd/main.go":  "// Command shopd serves the shop.\npackage main\n\nimport (\n\t\"flag\"\n\t\"net/http\"\n\t\"os\"\n\t\"time\"\n)\n\nfunc main() {\n\tport := flag.Int(\"port\", 8080, \"where to listen | on\")\n\tvar wait time.Duration\n\tflag.DurationVar(&wait, \"wait\", 5*time.Second, \"how long\")\n\tflag.Func(\"tag\", \"a `word`\", nil)\n\t_ = os.Getenv(\"SHOP_DIR\")\n\tmux := http.NewServeMux()\n\tmux.HandleFunc(\"GET /orders/{id}\", nil)\n\tmux.Handle(\"/healthz\", nil)\n\t_ = port\n}\n",
		"api/openapi.json":   `{"paths":{"/orders":{"parameters":[],"get":{"summary":"Lists orders."}}}}`,
		"docs/own/readme.md": "mine\n",
	}
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

const reference = `<!-- Written from the code by Conclave: change the comments there, and write it again. -->

# API reference

Module ~example.com/shop~.

## Program ~shopd~

Command shopd serves the shop.

### Flags

| flag | default |  |
|---|---|---|
| ~-port~ | ~8080~ | where to listen \| on |
| ~-tag~ |  | a ~word~ |
| ~-wait~ | ~5 * time.Second~ | how long |

### Environment

| variable | read in |
|---|---|
| ~SHOP_DIR~ | ~cmd/shopd/main.go~ |

## Package ~example.com/shop~

Package shop sells things.

#### Prices

They are in cents; see [Price](#price).

~~~go
const Limit = 10
~~~

Limit bounds an order.

### ~Price~

~~~go
func Price(n int) int
~~~

Price is what n cost.

### ~Silent~

~~~go
func Silent()
~~~

### ~Order~

~~~go
type Order struct {
	Count int // how many
	// contains filtered or unexported fields
}
~~~

Order is what somebody wants.

### ~Order.Total~

~~~go
func (o Order) Total() int
~~~

Total is the price of all.

### HTTP routes

| method | path | registered in |
|---|---|---|
|  | ~/healthz~ | ~cmd/shopd/main.go~ |
| GET | ~/orders/{id}~ | ~cmd/shopd/main.go~ |

### Operations of api/openapi.json

| method | path |  |
|---|---|---|
| GET | ~/orders~ | Lists orders. |

## Internal packages

| package | |
|---|---|
| ~internal/db~ | Package db keeps orders. |

## Without a comment in the code

- ~example.com/shop.Silent~
`

// The reference has what the code says, and nothing else; it is written again when
// the code changes, and a page of somebody else's is left alone.
func TestReferenceFromCode(t *testing.T) {
	facts := Facts{ModulePath: "example.com/shop", Name: "shop", Languages: map[string]int{"Go": 3}}
	write := func(tree fs.FS) []File {
		t.Helper()
		files, err := WriteDocs(tree, facts)
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	tree := documented()
	files := write(tree)
	if len(files) != 1 || files[0].Path != "docs/api.md" {
		t.Fatalf("files %+v", files)
	}
	if got, want := string(files[0].Content), strings.ReplaceAll(reference, "~", "`"); got != want {
		t.Errorf("the reference is\n%s\nwant\n%s", got, want)
	}
	tree["docs/api.md"] = &fstest.MapFile{Data: files[0].Content}
	if again := write(tree); len(again) != 0 {
		t.Errorf("without a change it is written again: %+v", again)
	}
	tree["shop.go"].Data = []byte(strings.Replace(string(tree["shop.go"].Data), "func Silent", "// Silent says nothing.\nfunc Silent", 1))
	if again := write(tree); len(again) != 1 || again[0].Path != "docs/api.md" || strings.Contains(string(again[0].Content), "Without a comment") || !strings.Contains(string(again[0].Content), "Silent says nothing.") {
		t.Errorf("after a change: %+v", again)
	}
	tree["docs/api.md"] = &fstest.MapFile{Data: []byte("# Ours\n")}
	if beside := write(tree); len(beside) != 1 || beside[0].Path != "docs/api-reference.md" {
		t.Errorf("beside a page of somebody else's: %+v", beside)
	}
	tree["docs/api-reference.md"] = &fstest.MapFile{Data: []byte("# Ours, too\n")}
	if _, err := WriteDocs(tree, facts); !errors.Is(err, conclave.ErrConflict) {
		t.Errorf("without a place: %v", err)
	}
	if _, err := WriteDocs(fstest.MapFS{"a.py": &fstest.MapFile{}}, facts); !errors.Is(err, conclave.ErrUnsupported) {
		t.Errorf("without Go: %v", err)
	}
}

func TestParseDocument(t *testing.T) {
	for task, want := range map[string]Archetype{
		"Write API documentation from the code":                 Document,
		"Update the docs of the packages, flags and routes":     Document,
		"please document the public API":                        Document,
		"Create an API for orders and customers":                Service,
		"Write documentation that explains why we chose SQLite": Unknown,
	} {
		facts := Facts{Name: "shop", ModulePath: "example.com/shop", Languages: map[string]int{"Go": 3}, Files: []string{"go.mod", "shop.go"}}
		spec := Parse(task, facts)
		if spec.Archetype != want {
			t.Errorf("%q: %q, want %q", task, spec.Archetype, want)
		}
		if want != Document {
			continue
		}
		for _, s := range Plan(spec, facts) {
			if len(s.Writes) != 2 || len(s.Acceptance) == 0 {
				t.Errorf("%q: %+v", task, s)
			}
		}
		facts.Languages = map[string]int{"Python": 3}
		if spec := Parse(task, facts); spec.Archetype == Document {
			t.Errorf("%q without Go: %q", task, spec.Archetype)
		}
	}
}
