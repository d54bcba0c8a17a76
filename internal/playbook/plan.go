package playbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Plan returns the steps of a task. What an unknown task needs is planned
// from the facts, so that it can be agreed on before a model is asked.
func Plan(spec Spec, facts Facts) []Step {
	switch spec.Archetype {
	case Service:
		return planService(spec, facts)
	case Repair:
		return planRepair(spec)
	case Document:
		return planDocument()
	case CLI:
		return withOpen(spec, planCLI(spec, facts))
	case Library:
		return withOpen(spec, planLibrary(spec, facts))
	default:
		return planUnknown(spec, facts)
	}
}

func planService(spec Spec, facts Facts) []Step {
	g, err := newGen(spec, facts, nil)
	if err != nil {
		return planUnknown(spec, facts)
	}
	dir := "internal/" + g.Pkg + "/"
	storage := Step{
		Key: "storage", Title: "Durable storage for " + g.Name,
		Description: "The commit log that every change goes through, and the errors that callers tell apart.",
		Acceptance:  []string{"What was saved is there after reopening", "A commit that a crash cut short is dropped as a whole"},
		Writes:      []string{dir + "storage.go", dir + "journal.go", dir + "snapshot.go", dir + "memory.go", dir + "errors.go", dir + "storage_test.go"},
		Question:    persistence(spec),
	}
	if facts.ModulePath == "" {
		storage.Writes = append(storage.Writes, "go.mod")
	}
	domain := Step{
		Key: "domain", Title: "Records and rules: " + strings.Join(nouns(spec), ", "),
		Description: "A typed record per resource, checks of every field, and the rules, which hold under one lock.",
		DependsOn:   []string{"storage"},
		Question:    identifiers(spec),
	}
	for _, e := range g.Entities {
		for _, f := range e.Entity.Fields {
			domain.Acceptance = append(domain.Acceptance, fmt.Sprintf("%s.%s: %s", e.Kind, f.Name, f.Describe()))
		}
		domain.Writes = append(domain.Writes, dir+fileName(e.Kind))
	}
	domain.Writes = append(domain.Writes, dir+"store.go", dir+"types.go", dir+"check.go", dir+"fields_test.go")
	api := Step{
		Key: "api", Title: "HTTP API",
		Description: "Routes for every resource, strict JSON, problems as RFC 9457, filters, search, sorting and pages, and the OpenAPI description.",
		DependsOn:   []string{"domain"},
		Writes:      []string{g.APIPath + "/**"},
	}
	for _, e := range g.Entities {
		api.Acceptance = append(api.Acceptance, fmt.Sprintf("%s is created, listed, read, replaced, changed and deleted", e.Path))
		for _, a := range e.Actions {
			api.Acceptance = append(api.Acceptance, fmt.Sprintf("POST %s/{id}/%s works once, then 409", e.Path, a.Verb))
		}
	}
	api.Acceptance = append(api.Acceptance, "Malformed JSON and unknown members: 400; another type: 415; over 1 MiB: 413; unknown method: 405")
	if spec.Features.RateLimit > 0 {
		api.Acceptance = append(api.Acceptance, fmt.Sprintf("More than %d requests per %s from one address: 429 with Retry-After", spec.Features.RateLimit, spec.Features.RateWindow))
	}
	if g.Auth != nil {
		domain.Writes = append(domain.Writes, dir+"accounts.go")
		api.Question = tokens(spec)
		api.Acceptance = append(api.Acceptance, fmt.Sprintf("POST %s, POST /login and POST /logout; without a valid token 401, without the right 403", g.Account.Path))
	}
	command := Step{
		Key: "command", Title: "The program " + g.Name,
		Description: "Configuration from the environment, timeouts, structured logs, a health check, and a shutdown that lets requests finish.",
		DependsOn:   []string{"api"},
		Acceptance:  []string{"Address, data directory, log level and timeouts come from the environment; a bad value is an error that names it", "healthcheck fails unless the service answers that it is well", "SIGTERM ends it with 0 after the requests that run"},
		Writes:      []string{g.Cmd + "/main.go", g.Cmd + "/main_test.go", g.Cmd + "/settings.go", g.Cmd + "/settings_test.go"},
	}
	ops := Step{
		Key: "ops", Title: "Image, CI and README",
		Description: "A multi-stage image without root, a workflow that formats, vets, builds and tests with the race detector, and a README with the rules as implemented.",
		DependsOn:   []string{"storage"},
		Acceptance:  []string{"The image runs as a user without rights, and tells whether it is well", "The README lists every variable", "The README lists every field and every rule"},
	}
	for _, path := range []string{g.Dockerfile(), ".dockerignore", ".gitignore", workflowFile, g.besides("README.md")} {
		if !facts.Has(path) && (path != workflowFile || g.WritesCI()) {
			ops.Writes = append(ops.Writes, path)
		}
	}
	acceptance := Step{
		Key: "acceptance", Title: "End-to-end tests over HTTP",
		Description: "One test per rule with the values on both sides of its bound, one per resource, unique field and reference.",
		DependsOn:   []string{"api"},
		Writes:      []string{g.acceptance() + "/**"},
	}
	for _, r := range spec.Rules {
		acceptance.Acceptance = append(acceptance.Acceptance, r.ID+": "+r.Describe(spec))
	}
	if len(spec.Rules) == 0 {
		acceptance.Acceptance = []string{"Every resource goes through its life over HTTP"}
	}
	return withOpen(spec, []Step{storage, domain, api, command, ops, acceptance})
}

// withOpen adds a step for what only a model can do, so that no one takes the rest for
// the whole.
func withOpen(spec Spec, steps []Step) []Step {
	if len(spec.Uncovered) == 0 {
		return steps
	}
	s := Step{Key: "beyond", Title: "What the playbook does not cover", Description: "Needs a model: the playbook has no declared knowledge for these words of the task.", Writes: []string{"**"}}
	for _, before := range steps {
		s.DependsOn = append(s.DependsOn, before.Key)
	}
	for _, u := range spec.Uncovered {
		s.Acceptance = append(s.Acceptance, "“"+u+"” holds, and a test shows it")
	}
	return append(steps, s)
}

func nouns(spec Spec) []string {
	var out []string
	for _, e := range spec.Entities {
		out = append(out, e.Plural)
	}
	return out
}

func planRepair(spec Spec) []Step {
	var steps []Step
	for _, class := range spec.Repair {
		s := Step{Key: string(class), Writes: []string{"**"}}
		switch class {
		case RepairFindings:
			s.Title, s.Description = "Apply what analysers suggest", "Fixes that come with a finding or that one rewriting makes for certain, each tried first; findings without one are listed."
			s.Acceptance = []string{"No finding that had a fix is left", "The build and the tests pass as before"}
		case RepairFormat:
			s.Title, s.Description = "Format the code", "The formatter of each language, and nothing by hand."
			s.Acceptance = []string{"The formatters change nothing any more"}
		case RepairDependencies:
			s.Title, s.Description = "Upgrade vulnerable dependencies", "To the lowest version without the known vulnerability."
			s.Acceptance = []string{"No known vulnerability with a fixed version is left", "The build and the tests pass as before"}
		}
		if len(steps) > 0 { // each writes anywhere: one after the other
			s.DependsOn = []string{steps[len(steps)-1].Key}
		}
		steps = append(steps, s)
	}
	return steps
}

// planUnknown plans from the facts alone.
func planUnknown(spec Spec, facts Facts) []Step {
	task := strings.Join(strings.Fields(spec.Task), " ")
	languages := slices.SortedFunc(maps.Keys(facts.Languages), func(a, b string) int {
		if d := facts.Languages[b] - facts.Languages[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var measured []string
	for _, l := range languages {
		measured = append(measured, fmt.Sprintf("%d files of %s", facts.Languages[l], l))
	}
	state := "The repository is empty."
	if len(facts.Files) > 0 {
		state = fmt.Sprintf("The repository has %d files in %d directories", len(facts.Files), len(directories(facts.Files)))
		if len(measured) > 0 {
			state += ": " + strings.Join(measured, ", ")
		}
		state += "."
	}
	analyse := Step{Key: "analyse", Title: "Find what the task touches", Description: state, Writes: []string{"docs/analysis.md"},
		Acceptance: []string{"Every part of “" + task + "” is traced to files, or named as new"}}
	for _, d := range directories(facts.Files) {
		if len(analyse.Acceptance) > 12 {
			break
		}
		analyse.Acceptance = append(analyse.Acceptance, d+": read, and said whether it changes")
	}
	design := Step{Key: "design", Title: "Decide how", Description: "Interfaces, data and order of the change, before code.", DependsOn: []string{"analyse"}, Writes: []string{"docs/design.md"},
		Acceptance: []string{"What is kept, what changes and what goes is listed", "How to go back is said"}}
	if len(facts.Conventions) > 0 {
		design.Acceptance = append(design.Acceptance, "It follows "+strings.Join(facts.Conventions, ", "))
	}
	implement := Step{Key: "implement", Title: "Make the change", Description: task, DependsOn: []string{"design"}, Writes: []string{"**"}, Acceptance: []string{"“" + task + "” holds"}}
	verify := Step{Key: "verify", Title: "Show that it holds", Description: "Tests for the new behaviour, and the old ones.", DependsOn: []string{"implement"}, Writes: []string{"**"}, Acceptance: []string{"Each acceptance criterion of the change has a test"}}
	if len(facts.BuildCommand) > 0 {
		implement.Acceptance = append(implement.Acceptance, strings.Join(facts.BuildCommand, " ")+" succeeds")
	}
	switch {
	case len(facts.TestCommand) > 0:
		verify.Acceptance = append(verify.Acceptance, strings.Join(facts.TestCommand, " ")+" passes")
	case !facts.HasTests:
		verify.Acceptance = append(verify.Acceptance, "The repository has no tests: what exists is pinned by tests first")
	}
	return []Step{analyse, design, implement, verify}
}

func directories(files []string) []string {
	seen := map[string]bool{}
	for _, f := range files {
		if i := strings.LastIndexByte(f, '/'); i > 0 {
			seen[f[:i]] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func persistence(spec Spec) *Question {
	if spec.Features.Memory {
		return nil
	}
	return &Question{
		Key: "persistence", Text: "How are accepted changes kept?",
		Criteria: map[string]float64{"write cost": 0.4, "recovery": 0.35, "readable by hand": 0.25},
		Options: []Option{
			{Key: "journal", Title: "Append-only journal", Default: true, Pros: []string{"a change costs one line", "the history stays"}, Cons: []string{"the file grows with every change"}, Scores: map[string]float64{"write cost": 1, "recovery": 0.9, "readable by hand": 0.5}},
			{Key: "snapshot", Title: "JSON snapshot", Pros: []string{"the file is the state", "it is as large as the data"}, Cons: []string{"a change writes everything again"}, Scores: map[string]float64{"write cost": 0.2, "recovery": 0.9, "readable by hand": 1}},
		},
	}
}

func identifiers(Spec) *Question {
	return &Question{
		Key: "identifiers", Text: "How are records named?",
		Criteria: map[string]float64{"hard to guess": 0.35, "easy to read": 0.4, "merging": 0.25},
		Options: []Option{
			{Key: "sequential", Title: "A counter per resource", Default: true, Pros: []string{"short, sorted, easy to say"}, Cons: []string{"tells how many there are", "invites to try the next"}, Scores: map[string]float64{"hard to guess": 0.1, "easy to read": 1, "merging": 0.2}},
			{Key: "random", Title: "128 random bits", Pros: []string{"says nothing", "unique across stores"}, Cons: []string{"long"}, Scores: map[string]float64{"hard to guess": 1, "easy to read": 0.2, "merging": 1}},
		},
	}
}

func tokens(spec Spec) *Question {
	if spec.Auth.Signed {
		return nil // the task has chosen
	}
	return &Question{
		Key: "tokens", Text: "What does a login give?",
		Criteria: map[string]float64{"revocation": 0.5, "cost per request": 0.2, "other services can check it": 0.3},
		Options: []Option{
			{Key: "opaque", Title: "A random token, kept as a digest", Default: true, Pros: []string{"revoked by deleting a row", "says nothing about the account"}, Cons: []string{"each check is a look-up"}, Scores: map[string]float64{"revocation": 1, "cost per request": 0.8, "other services can check it": 0.1}},
			{Key: "signed", Title: "A signed token (JWT, HS256)", Pros: []string{"standard form", "carries its own expiry"}, Cons: []string{"revocation needs a list", "whoever has the key can make one"}, Scores: map[string]float64{"revocation": 0.6, "cost per request": 0.9, "other services can check it": 1}},
		},
	}
}
