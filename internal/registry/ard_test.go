package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"conclave"
)

// ask calls a catalog of two kinds of agent and a service, as somebody who reads,
// or as nobody.
func ask(t *testing.T, as, method, path, body string) (int, map[string]any) {
	t.Helper()
	agents := []conclave.Agent{{Name: "translation-desk", Role: "linguist", Description: "Translates letters into French", Skills: []string{"translate"}, Tags: []string{"language"},
		State: conclave.AgentLive, Card: &conclave.CardTrust{Signature: conclave.CardVerified}}}
	for i := range 12 {
		agents = append(agents, conclave.Agent{Name: conclave.AgentName(fmt.Sprintf("dev-%02d", i)), Role: "developer", Description: "Builds what is planned", Skills: []string{"build"}, State: conclave.AgentLost})
	}
	c, err := NewCatalog(CatalogOptions{Publisher: "agents.example", Version: "1",
		Agents: func(ctx context.Context) ([]conclave.Agent, error) {
			if tenant := conclave.CallerFrom(ctx).Tenant; tenant != conclave.DefaultTenant {
				return nil, nil
			}
			return agents, nil
		},
		Services: []conclave.Table{{Service: conclave.ServiceHub, Operations: conclave.HubOperations()}, {Service: conclave.ServiceModels, Operations: conclave.ModelOperations()}},
		MCP: func(s conclave.Service) (string, error) {
			if s == conclave.ServiceModels {
				return "", conclave.Errorf(conclave.ErrUnavailable, "it does not run")
			}
			return "http://hub.example/mcp", nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	switch as {
	case "reader":
		r = r.WithContext(conclave.WithCaller(r.Context(), conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada", Permissions: []conclave.Permission{conclave.PermitRead}}))
	case "stranger":
		r = r.WithContext(conclave.WithCaller(r.Context(), conclave.Caller{Tenant: "another", Human: "eve", Permissions: []conclave.Permission{conclave.PermitRead}}))
	case "nothing":
		r = r.WithContext(conclave.WithCaller(r.Context(), conclave.Caller{Tenant: conclave.DefaultTenant, Human: "eve"}))
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Code, out
}

func names(out map[string]any, list string) string {
	var all []string
	entries, _ := out[list].([]any)
	for _, e := range entries {
		all = append(all, e.(map[string]any)["displayName"].(string))
	}
	return strings.Join(all, " ")
}

func TestCatalog(t *testing.T) {
	status, out := ask(t, "", "GET", CatalogPath, "")
	if status != http.StatusOK || out["specVersion"] != "1.0" {
		t.Fatalf("got %d %v", status, out)
	}
	urn := regexp.MustCompile(`^urn:air:agents\.example:(agents|services|registry):[a-zA-Z0-9._-]+$`)
	seen := map[string]map[string]any{}
	for _, e := range out["entries"].([]any) {
		entry := e.(map[string]any)
		if !urn.MatchString(entry["identifier"].(string)) {
			t.Errorf("identifier %v", entry["identifier"])
		}
		if (entry["url"] == nil) == (entry["data"] == nil) {
			t.Errorf("%v has both a reference and its content, or neither", entry["displayName"])
		}
		seen[entry["displayName"].(string)] = entry
	}
	if len(seen) != 15 { // 13 agents, the hub, the registry: what does not run is not listed
		t.Errorf("%d entries: %v", len(seen), names(out, "entries"))
	}
	desk := seen["translation-desk"]
	if desk["type"] != "application/a2a-agent-card+json" || desk["url"] != "http://example.com/a2a/agents/translation-desk/.well-known/agent-card.json" ||
		desk["metadata"].(map[string]any)["signature"] != "verified" {
		t.Errorf("the desk is %v", desk)
	}
	service := seen["a2a-hub"]["data"].(map[string]any)
	if service["remotes"].([]any)[0].(map[string]any)["url"] != "http://hub.example/mcp" || len(service["tools"].([]any)) != len(conclave.HubOperations()) {
		t.Errorf("the hub is %v", service)
	}
	if seen["Conclave's registry"]["url"] != "http://example.com/ard" {
		t.Errorf("the registry is %v", seen["Conclave's registry"])
	}
}

func TestSearch(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{`{"query":{"text":"who translates a letter?"}}`, "translation-desk"},
		{`{"query":{"text":"LANGUAGE"}}`, "translation-desk"},
		{`{"query":{"text":"build","filter":{"metadata.state":["live"]}}}`, ""},
		{`{"query":{"text":"messages to agents","filter":{"type":"application/mcp-server-card+json"}}}`, "a2a-hub"},
		{`{"query":{"text":"translate build","filter":{"publisher":["agents.example","other.example"],"tags":["linguist","nothing"]}}}`, "translation-desk"},
		{`{"query":{"text":"translate","filter":{"publisher":["other.example"]}}}`, ""},
		{`{"query":{"text":"unheard of"}}`, ""},
	} {
		status, out := ask(t, "reader", "POST", SearchPath, tt.query)
		if got := names(out, "results"); status != http.StatusOK || got != tt.want {
			t.Errorf("%s: %d %q, want %q", tt.query, status, got, tt.want)
		}
		for _, r := range out["results"].([]any) {
			hit := r.(map[string]any)
			if score := hit["score"].(float64); score < 1 || score > 100 || score != float64(int(score)) || hit["source"] != "http://example.com/ard" {
				t.Errorf("%s: %v from %v", tt.query, score, hit["source"])
			}
		}
	}
	// Pages: 10 when nothing is said, the rest after it, nothing twice.
	_, first := ask(t, "reader", "POST", ARDPrefix+SearchPath, `{"query":{"text":"build"},"federation":"none"}`)
	_, rest := ask(t, "reader", "POST", ARDPrefix+SearchPath, fmt.Sprintf(`{"query":{"text":"build"},"pageToken":%q}`, first["pageToken"]))
	if a, b := len(first["results"].([]any)), len(rest["results"].([]any)); a != 10 || b != 2 || rest["pageToken"] != nil || strings.Contains(names(first, "results"), names(rest, "results")) {
		t.Errorf("pages of %d and %d", a, b)
	}
	if _, out := ask(t, "stranger", "POST", SearchPath, `{"query":{"text":"translate"}}`); names(out, "results") != "" {
		t.Errorf("another tenant finds %v", out)
	}
}

func TestListAndExplore(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"?pageSize=2", "a2a-hub Conclave's registry"},
		{"?pageSize=1&orderBy=displayName%20DESC", "translation-desk"},
		{"?filter=type%20%3D%20%27application/mcp-server-card%2Bjson%27", "a2a-hub"},
		{"?filter=displayName%3D%27TRANSLATION-DESK,nobody%27%20AND%20publisherId%3D%27agents.example%27", "translation-desk"},
	} {
		status, out := ask(t, "reader", "GET", ARDPrefix+"/agents"+tt.query, "")
		got := strings.Fields(names(out, "items"))
		want := strings.Fields(tt.want)
		if status != http.StatusOK || len(got) != len(want) {
			t.Errorf("%s: %d %v, want %s", tt.query, status, got, tt.want)
		}
	}
	_, out := ask(t, "reader", "POST", ARDPrefix+"/explore", `{"query":{"text":"build translate"},"resultType":{"facets":[{"field":"type","limit":1},{"field":"metadata.role"}]}}`)
	text, err := json.Marshal(out["facets"])
	if err != nil || out["resultType"] != "facets" ||
		string(text) != `{"metadata.role":{"buckets":[{"count":12,"value":"developer"},{"count":1,"value":"linguist"}]},"type":{"buckets":[{"count":13,"value":"application/a2a-agent-card+json"}]}}` {
		t.Errorf("facets %s, %v", text, err)
	}
}

func TestSearchRefuses(t *testing.T) {
	for _, tt := range []struct {
		as, method, path, body string
		status                 int
		code                   string
	}{
		{"", "POST", SearchPath, `{"query":{"text":"x"}}`, 401, "UNAUTHENTICATED"},
		{"nothing", "POST", SearchPath, `{"query":{"text":"x"}}`, 403, "PERMISSION_DENIED"},
		{"reader", "POST", SearchPath, `{"query":{}}`, 400, "INVALID_ARGUMENT"},
		{"reader", "POST", SearchPath, `not JSON`, 400, "INVALID_ARGUMENT"},
		{"reader", "POST", SearchPath, `{"query":{"text":"x"},"pageSize":101}`, 400, "INVALID_ARGUMENT"},
		{"reader", "POST", SearchPath, `{"query":{"text":"x"},"pageToken":"?"}`, 400, "INVALID_ARGUMENT"},
		{"reader", "POST", SearchPath, `{"query":{"text":"x"},"federation":"some"}`, 400, "INVALID_ARGUMENT"},
		{"reader", "POST", SearchPath, `{"query":{"text":"x","filter":{"shoe.size":["42"]}}}`, 400, "INVALID_ARGUMENT"},
		{"reader", "POST", SearchPath, `{"query":{"text":"x","filter":{"type":[1]}}}`, 400, "INVALID_ARGUMENT"},
		{"reader", "POST", SearchPath, `{"query":{"text":"` + strings.Repeat("x", maxQuery) + `"}}`, 400, "INVALID_ARGUMENT"},
		{"reader", "GET", ARDPrefix + "/agents?pageSize=many", "", 400, "INVALID_ARGUMENT"},
		{"reader", "GET", ARDPrefix + "/agents?filter=shoe%3D42", "", 400, "INVALID_ARGUMENT"},
		{"reader", "GET", ARDPrefix + "/agents?orderBy=shoe", "", 400, "INVALID_ARGUMENT"},
		{"reader", "POST", ARDPrefix + "/explore", `{"resultType":{"facets":[]}}`, 400, "INVALID_ARGUMENT"},
		{"reader", "POST", ARDPrefix + "/explore", `{"resultType":{"facets":[{"field":"shoe"}]}}`, 400, "INVALID_ARGUMENT"},
		{"reader", "GET", ARDPrefix + "/nothing", "", 404, "NOT_FOUND"},
	} {
		status, out := ask(t, tt.as, tt.method, tt.path, tt.body)
		if status != tt.status || out["errorCode"] != tt.code || out["message"] == "" {
			t.Errorf("%s %s %.60s: %d %v, want %d %s", tt.method, tt.path, tt.body, status, out, tt.status, tt.code)
		}
	}
}
