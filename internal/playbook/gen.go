package playbook

import (
	"embed"
	"fmt"
	"go/ast"
	"go/format"
	goparser "go/parser"
	gotoken "go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"conclave"
)

//go:embed templates/service
var serviceTemplates embed.FS

// genField is a field as the templates see it.
type genField struct {
	Field
	Go      string // GoName
	Type    string // in the record
	InType  string // in the input
	Pointer bool
}

// genEntity is an entity as the templates see it.
type genEntity struct {
	Entity
	Pkg, Name, Names, Var, List, Kind, Path string
	Stored, Inputs, ReadOnly                []genField
	Fill, Checks, OnCreate, OnDrop, View    string
	UsesNow, HasChildren                    bool
	Actions                                 []genAction
	service                                 *genService
}

type genAction struct {
	Action
	Go, Code, Path string
}

// genService is the whole service as the templates see it.
type genService struct {
	Spec
	Module, Pkg, Import, API, APIPath, Cmd, Go    string
	Entities                                      []*genEntity
	Account                                       *genEntity
	HasDecimal, HasDate, Random, Snapshot, Signed bool
	InPlace                                       bool // into a repository that has code
	facts                                         Facts
	OpenAPI                                       string
}

var entityKeywords = set([]string{"break", "case", "chan", "const", "continue", "default", "defer", "else", "fallthrough", "for", "func", "go", "goto", "if", "import", "interface", "map", "package", "range", "return", "select", "struct", "switch", "type", "var",
	"string", "error", "len", "new", "make", "any", "true", "false", "nil", "append", "copy", "close", "max", "min", "put", "ptr", "clone", "equal", "conflict", "change", "table", "store", "storage", "journal", "snapshot", "memory", "now", "old", "in", "s", "v", "c", "n", "err", "id", "other", "today", "violations", "time", "iter", "json", "slices", "strings", "fmt", "changes", "edit", "ok", "session", "credential", "url", "mail", "regexp", "strconv", "sync", "rand", "errors", "one", "parent", "all", "credentials", "sessions", "accounts", "secrets", "last", "mu", "limiter", "now_"})

// apiNames are what the generated HTTP package calls its own parts.
var apiNames = set([]string{"order", "query", "client", "problem", "record", "resource", "policy", "need", "bearer", "decode", "read", "like", "bare", "matches", "accepts", "mentions", "register", "limiter", "recorder", "refusal", "allowance", "object", "path", "start", "serve", "run", "address", "server", "store", "log", "body", "page", "found", "created", "done", "values", "value", "handler", "pattern", "field", "fields", "test"})

// newGen maps a specification and the decisions to names and types of Go.
func newGen(spec Spec, facts Facts, decisions map[string]string) (*genService, error) {
	name := strings.Trim(kebab(spec.Name), "-")
	pkg := strings.ReplaceAll(name, "-", "")
	if pkg == "" || entityKeywords[pkg] || pkg[0] < 'a' || gotoken.IsKeyword(pkg) {
		pkg = "domain"
	}
	if apiNames[pkg] || pkg == "api" || pkg == "main" || pkg == "internal" || stdImports[pkg] != "" {
		pkg += "svc"
	}
	if name == "" {
		name = "service"
	}
	g := &genService{Spec: spec, Pkg: pkg, Cmd: "cmd/" + name, facts: facts, Module: facts.ModulePath, InPlace: facts.ModulePath != "" || !facts.Empty && len(facts.Files) > 0, Go: "1.24"}
	if g.Module == "" {
		g.Module = name
	}
	if facts.GoVersion != "" && facts.ModulePath == "" {
		g.Go = strings.TrimPrefix(facts.GoVersion, "go")
	}
	g.Name = name
	dir := "internal/" + pkg
	g.API = "api"
	if g.InPlace {
		g.API = pkg + "api"
	}
	if facts.Has(dir+"/store.go") || facts.Has(dir+"/errors.go") {
		return nil, fmt.Errorf("%s has files that would be overwritten: %w", dir, conclave.ErrConflict)
	}
	g.Import = g.Module + "/" + dir
	g.APIPath = "internal/" + g.API
	g.Random = decisions["identifiers"] == "random"
	g.Snapshot = decisions["persistence"] == "snapshot"
	g.Signed = spec.Auth != nil && (spec.Auth.Signed || decisions["tokens"] == "signed")
	for i := range spec.Entities {
		e := spec.Entities[i]
		ge := &genEntity{Entity: e, Pkg: pkg, Name: goName(e.Noun), Names: goName(e.Plural), Kind: snake(e.Noun), Path: "/" + kebab(e.Plural), service: g}
		if ge.Name == ge.Names {
			ge.Names = "All" + ge.Name
		}
		switch ge.Name {
		case "Store", "ID", "Timestamp", "Date", "Decimal", "Invalid", "Conflict", "FieldError", "Session", "Open", "Token", "Login", "Role":
			ge.Name, ge.Names = ge.Name+"Record", ge.Name+"Records"
		}
		ge.Var = goVar(e.Noun)
		if entityKeywords[ge.Var] || gotoken.IsKeyword(ge.Var) || ge.Var == pkg {
			ge.Var += "Row"
		}
		ge.List = goVar(e.Plural)
		if entityKeywords[ge.List] || ge.List == ge.Var {
			ge.List += "Table"
		}
		for _, f := range e.Fields {
			gf := newGenField(f)
			switch f.Type {
			case Decimal:
				g.HasDecimal = true
			case Date:
				g.HasDate = true
			}
			if f.Type != Password {
				ge.Stored = append(ge.Stored, gf)
			}
			if f.ReadOnly {
				ge.ReadOnly = append(ge.ReadOnly, gf)
			} else {
				ge.Inputs = append(ge.Inputs, gf)
			}
		}
		g.Entities = append(g.Entities, ge)
		if e.Account {
			g.Account = ge
		}
	}
	for _, e := range g.Entities {
		e.build()
	}
	return g, nil
}

func newGenField(f Field) genField {
	gf := genField{Field: f, Go: goName(f.Name)}
	if gf.Go == "Key" || gf.Go == "Field" {
		gf.Go += "Value"
	}
	gf.Type, gf.InType = "string", "*string"
	switch f.Type {
	case Int:
		gf.Type, gf.InType = "int64", "*int64"
	case Decimal:
		gf.Type, gf.InType = "Decimal", "*Decimal"
	case Bool:
		gf.Type, gf.InType = "bool", "*bool"
	case Date:
		gf.Type, gf.InType = "Date", "*Date"
	case Timestamp:
		gf.Type, gf.InType = "time.Time", "*Timestamp"
	case Reference:
		gf.InType = "*ID"
	case List:
		gf.Type, gf.InType = "[]string", "*[]string"
	}
	if f.Optional && f.Type != List && !(f.Type == Bool && f.Default != "") && f.Default == "" && !f.Now {
		gf.Pointer = true
		gf.Type = "*" + gf.Type
	}
	return gf
}

// As is a member's name as the task spells it.
func (e *genEntity) As(name string) string { return e.service.As(name) }

func (e *genEntity) gen(name string) genField {
	for _, f := range append(slices.Clone(e.Stored), e.Inputs...) {
		if f.Field.Name == name {
			return f
		}
	}
	return genField{}
}

func (g *genService) entity(noun string) *genEntity {
	for _, e := range g.Entities {
		if e.Noun == noun || e.Kind == noun {
			return e
		}
	}
	return nil
}

// Back is the expression that turns the stored value into input.
func (f genField) Back(v string) string {
	x := v + "." + f.Go
	switch {
	case f.Field.Type == Timestamp && f.Pointer:
		return "timestamp(" + x + ")"
	case f.Field.Type == Timestamp:
		return "&Timestamp{" + x + "}"
	case f.Field.Type == Reference && f.Pointer:
		return "(*ID)(clone(" + x + "))"
	case f.Field.Type == Reference:
		return "ptr(ID(" + x + "))"
	case f.Field.Type == List:
		return "ptr(slices.Clone(" + x + "))"
	case f.Pointer:
		return "clone(" + x + ")"
	}
	return "ptr(" + x + ")"
}

// render executes a template and formats what comes out, with the imports
// that it uses.
func (g *genService) render(name string, data any) ([]byte, error) {
	src, err := g.text(name, data)
	if err != nil {
		return nil, err
	}
	return formatGo(name, src, g.Import, g.Module+"/"+g.APIPath)
}

func (g *genService) text(name string, data any) (string, error) {
	t, err := template.New(name).Funcs(template.FuncMap{
		"article": article, "goName": goName, "kebab": kebab, "snake": snake, "plural": plural, "join": strings.Join,
		"describe": func(r Rule) string { return r.Describe(g.Spec) },
		"lower":    strings.ToLower,
	}).ParseFS(serviceTemplates, "templates/service/"+name)
	if err != nil {
		return "", fmt.Errorf("parsing template %s: %w", name, err)
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("executing template %s: %w", name, err)
	}
	return b.String(), nil
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) && !strings.HasPrefix(noun, "user") && !strings.HasPrefix(noun, "uni") {
		return "an"
	}
	return "a"
}

// stdImports are the packages that generated code may name.
var stdImports = map[string]string{"json": "encoding/json", "bytes": "bytes", "bufio": "bufio", "errors": "errors", "fmt": "fmt", "io": "io", "fs": "io/fs", "os": "os", "filepath": "path/filepath", "strings": "strings", "strconv": "strconv", "time": "time",
	"sync": "sync", "slices": "slices", "iter": "iter", "rand": "crypto/rand", "mail": "net/mail", "url": "net/url", "regexp": "regexp", "utf8": "unicode/utf8", "http": "net/http", "httptest": "net/http/httptest", "testing": "testing", "context": "context",
	"slog": "log/slog", "net": "net", "signal": "os/signal", "syscall": "syscall", "cmp": "cmp", "mime": "mime", "pbkdf2": "crypto/pbkdf2", "sha256": "crypto/sha256", "subtle": "crypto/subtle", "base64": "encoding/base64", "hmac": "crypto/hmac", "hex": "encoding/hex", "atomic": "sync/atomic", "flag": "flag", "maps": "maps", "debug": "runtime/debug", "math": "math", "reflect": "reflect"}

var importBlock = pattern(`(?s)\nimport (?:\(.*?\n\)|"[^"\n]*")\n`)

// formatGo formats source and gives it exactly the imports that it uses.
func formatGo(name, src string, own ...string) ([]byte, error) {
	src = importBlock().ReplaceAllString(src, "\n")
	file, err := goparser.ParseFile(gotoken.NewFileSet(), name, src, goparser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing what %s gave: %w\n%s", name, err, src)
	}
	known := maps.Clone(stdImports)
	for _, p := range own {
		known[path.Base(p)] = p
	}
	unresolved := map[*ast.Ident]bool{}
	for _, id := range file.Unresolved {
		unresolved[id] = true
	}
	std, local := map[string]bool{}, map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && unresolved[id] && known[id.Name] != "" {
			if p := known[id.Name]; slices.Contains(own, p) {
				local[p] = true
			} else {
				std[p] = true
			}
		}
		return true
	})
	embeds := strings.Contains(src, "//go:embed")
	var b strings.Builder
	if len(std)+len(local) > 0 || embeds {
		b.WriteString("\n\nimport (\n")
		if embeds {
			b.WriteString("\t_ \"embed\"\n")
		}
		for _, p := range slices.Sorted(maps.Keys(std)) {
			fmt.Fprintf(&b, "\t%q\n", p)
		}
		if len(std) > 0 && len(local) > 0 {
			b.WriteString("\n")
		}
		for _, p := range slices.Sorted(maps.Keys(local)) {
			fmt.Fprintf(&b, "\t%q\n", p)
		}
		b.WriteString(")\n")
	}
	clause := regexp.MustCompile(`(?m)^package \w+$`).FindStringIndex(src)
	out, err := format.Source([]byte(src[:clause[1]] + b.String() + src[clause[1]:]))
	if err != nil {
		return nil, fmt.Errorf("formatting what %s gave: %w", name, err)
	}
	return out, nil
}
