package conclave_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Which of our packages each package may import. A service never imports another
// one: they meet in the root's contracts, and internal/app binds them.
func allowed() map[string][]string {
	mechanism := []string{"lifecycle", "git", "sandbox", "llm", "consensus", "identity", "evidence", "killpoint", "strictyaml", "telemetry", "bus"}
	service := append([]string{""}, mechanism...)
	with := func(list []string, more ...string) []string { return append(slices.Clone(list), more...) }
	return map[string][]string{
		"":                     {},
		"internal/lifecycle":   {},
		"internal/killpoint":   {},
		"internal/bus":         {""},
		"internal/bustest":     {},
		"internal/telemetry":   {""},
		"internal/insight":     {""},
		"internal/git":         {"", "telemetry"},
		"internal/pgtest":      {},
		"internal/strictyaml":  {""},
		"internal/sandbox":     {""},
		"internal/llm":         {""},
		"internal/llmtest":     {""},
		"internal/modelwire":   {""},
		"internal/consensus":   {""},
		"internal/identity":    {""},
		"internal/playbook":    {""},
		"internal/repair":      {},
		"internal/evidence":    {"", "sandbox", "repair"},
		"internal/modelrouter": with(service, "modelwire"),
		"internal/registry":    service,
		"internal/plan":        service,
		"internal/worktree":    service,
		"internal/survey":      service,
		"internal/workflow":    service,
		"internal/council":     service,
		"internal/hub":         with(service, "a2awire"),
		"internal/agent":       with(service, "playbook"),
		"internal/agentpool":   with(service, "agent", "a2awire"),
		"internal/monitor":     service,
		"internal/gateway":     service,
		"internal/restwire":    {"", "killpoint"},
		"internal/mcpwire":     {"", "restwire"},
		"internal/a2awire":     {""},
		// The store implements what the services declare; none of them knows it.
		"internal/store": with(service, "hub", "plan", "workflow", "worktree", "council", "insight", "registry"),
		// It knows the wires and the nouns, not the services that it proves.
		"internal/prove":              {"", "a2awire", "identity"},
		"internal/app":                {"*"},
		"cmd/conclave":                {"*"},
		"web":                         {},
		"scripts/summary":             {},
		"scripts/bench":               {"", "bus", "hub", "llm", "llmtest", "modelrouter", "restwire", "store"},
		"scripts/apidoc":              {},
		"scripts/seed":                {"", "a2awire", "identity"},
		"examples/agents/go":          {},
		"examples/agents/pull":        {"examples/rest"},
		"examples/basic_workflow":     {"examples/rest"},
		"examples/rest":               {},
		"examples/multi_agent_review": {},
		"examples/consensus_decision": {"examples/rest"},
		"examples/custom_integration": {"examples/rest"},
		// It shows what Conclave's own A2A server does, without the hub in front.
		"examples/conformance-agent": {"", "a2awire", "examples/rest"},
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestArchitecture(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	table := allowed()
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "conclave"), "/")
		may, ok := table[name]
		if !ok {
			t.Errorf("package %s is not in the table of the architecture: give it a line there and in docs/architecture/overview.md", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if name == "" && strings.Contains(strings.Split(imported, "/")[0], ".") {
				t.Errorf("the root package imports %s; it imports only the standard library", imported)
			}
			if imported != "conclave" && !strings.HasPrefix(imported, "conclave/") {
				continue
			}
			short := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(imported, "conclave"), "/"), "internal/")
			if !slices.Contains(may, "*") && !slices.Contains(may, short) {
				t.Errorf("%s imports %s, which it may not", p.ImportPath, imported)
			}
		}
	}
}
