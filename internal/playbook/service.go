package playbook

import (
	"fmt"
	"slices"
	"strings"

	"conclave"
)

// buildService generates the files of one step of a service.
func buildService(spec Spec, facts Facts, decisions map[string]string, stepKey string) ([]File, error) {
	g, err := newGen(spec, facts, decisions)
	if err != nil {
		return nil, err
	}
	all, err := g.files()
	if err != nil {
		return nil, err
	}
	files, ok := all[stepKey]
	if !ok {
		return nil, fmt.Errorf("the plan of a service has no step %q: %w", stepKey, conclave.ErrNotFound)
	}
	for _, f := range files {
		if facts.Has(f.Path) {
			return nil, fmt.Errorf("%s exists and would be overwritten: %w", f.Path, conclave.ErrConflict)
		}
	}
	return files, nil
}

// files generates the whole service, by step.
func (g *genService) files() (map[string][]File, error) {
	dir := "internal/" + g.Pkg + "/"
	out := map[string][]File{}
	add := func(step, path string, content []byte) {
		out[step] = append(out[step], File{Path: path, Content: content, Mode: 0o644})
	}
	domain := map[string]string{}
	put := func(name, tmpl string, data any) error {
		src, err := g.text(tmpl, data)
		domain[name] = src
		return err
	}
	storage := "journal"
	if g.Features.Memory {
		storage = "memory"
	} else if g.Snapshot {
		storage = "snapshot"
	}
	for _, e := range g.Entities {
		if err := put(fileName(e.Kind), "entity.go.tmpl", e); err != nil {
			return nil, err
		}
	}
	shared := []string{"errors", "types", "check", "store", "storage", storage}
	if g.Auth != nil {
		shared = append(shared, "accounts")
	}
	for _, name := range shared {
		if err := put(name+".go", name+".go.tmpl", g); err != nil {
			return nil, err
		}
	}
	if err := prune(domain); err != nil {
		return nil, err
	}
	for name, src := range domain {
		formatted, err := formatGo(name, src)
		if err != nil {
			return nil, err
		}
		step := "domain"
		if name == "storage.go" || name == storage+".go" || name == "errors.go" {
			step = "storage"
		}
		if name == "storage.go" {
			formatted = []byte(fmt.Sprintf("// Package %s holds the records of the %s service, and the rules that\n// they keep to.\n%s", g.Pkg, g.Name, formatted))
		}
		add(step, dir+name, formatted)
	}
	for _, t := range []struct{ step, path, tmpl string }{
		{"api", g.APIPath + "/api.go", "api.go.tmpl"},
		{"api", g.APIPath + "/resource.go", "resource.go.tmpl"},
		{"api", g.APIPath + "/query.go", "query.go.tmpl"},
		{"api", g.APIPath + "/auth.go", "auth.go.tmpl"},
		{"api", g.APIPath + "/limit.go", "limit.go.tmpl"},
		{"api", g.APIPath + "/api_test.go", "api_test.go.tmpl"},
		{"command", g.Cmd + "/main.go", "main.go.tmpl"},
		{"command", g.Cmd + "/main_test.go", "main_test.go.tmpl"},
		{"command", g.Cmd + "/settings.go", "settings.go.tmpl"},
		{"command", g.Cmd + "/settings_test.go", "settings_test.go.tmpl"},
		{"storage", dir + "storage_test.go", "storage_test.go.tmpl"},
		{"domain", dir + "fields_test.go", "fields_test.go.tmpl"},
		{"acceptance", g.acceptance() + "/client_test.go", "client_test.go.tmpl"},
		{"acceptance", g.acceptance() + "/resources_test.go", "resources_test.go.tmpl"},
		{"acceptance", g.acceptance() + "/rules_test.go", "rules_test.go.tmpl"},
	} {
		if g.Auth == nil && t.tmpl == "auth.go.tmpl" || g.Features.RateLimit == 0 && t.tmpl == "limit.go.tmpl" || g.Features.Memory && t.tmpl == "storage_test.go.tmpl" || t.tmpl == "rules_test.go.tmpl" && g.RuleTests() == "" {
			continue
		}
		src, err := g.render(t.tmpl, g)
		if err != nil {
			return nil, err
		}
		add(t.step, t.path, src)
	}
	api, err := g.openAPI()
	if err != nil {
		return nil, err
	}
	add("api", g.APIPath+"/openapi.json", api)
	for _, t := range []struct{ step, path, tmpl string }{
		{"storage", "go.mod", "go.mod.tmpl"},
		{"ops", g.Dockerfile(), "Dockerfile.tmpl"},
		{"ops", ".dockerignore", "dockerignore.tmpl"},
		{"ops", ".gitignore", "gitignore.tmpl"},
		{"ops", workflowFile, "ci.yml.tmpl"},
		{"ops", g.besides("README.md"), "README.md.tmpl"},
	} {
		if g.facts.Has(t.path) || t.path == workflowFile && !g.WritesCI() {
			continue // the repository has its own
		}
		src, err := g.text(t.tmpl, g)
		if err != nil {
			return nil, err
		}
		add(t.step, t.path, []byte(src))
	}
	for step := range out {
		slices.SortFunc(out[step], func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	}
	return out, nil
}

// besides is where a file goes that the repository may have one of already:
// beside the program then.
func (g *genService) besides(name string) string {
	if g.facts.Has(name) {
		return g.Cmd + "/" + name
	}
	return name
}

// Dockerfile is the path of the image's description.
func (g *genService) Dockerfile() string { return g.besides("Dockerfile") }

// WritesCI reports whether the repository is given a workflow.
func (g *genService) WritesCI() bool { return !hasCI(g.facts) }

// fileName is the file of an entity; a name that the go tool reads a meaning
// into gets another.
func fileName(kind string) string {
	last := kind[strings.LastIndexByte(kind, '_')+1:]
	special := set([]string{"test", "linux", "windows", "darwin", "js", "wasm", "arm", "unix", "plan9", "ios", "android", "errors", "types", "check", "store", "storage", "journal", "snapshot", "memory", "accounts"})
	if special[last] || special[kind] {
		return kind + "s_record.go"
	}
	return kind + ".go"
}

func (g *genService) acceptance() string {
	if g.InPlace {
		return "internal/" + g.Pkg + "acceptance"
	}
	return "internal/acceptance"
}

// AcceptancePkg is the package of the end-to-end tests.
func (g *genService) AcceptancePkg() string {
	p := g.acceptance()
	return p[strings.LastIndexByte(p, '/')+1:]
}
