package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/identity"
)

// outsider is a foreign agent that keeps the texts that reach it.
type outsider struct {
	url string

	mu    sync.Mutex
	heard []string
}

func (o *outsider) got() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.heard)
}

// newOutsider serves an agent and registers it.
func (i *installation) newOutsider(client conclave.Hub, name string, handle a2awire.Handler) *outsider {
	i.t.Helper()
	o := &outsider{}
	agent, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{Card: a2awire.Card{Name: name}, Handle: func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
		o.mu.Lock()
		o.heard = append(o.heard, in.Text)
		o.mu.Unlock()
		return handle(ctx, in)
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent.ServeHTTP(w, r.WithContext(conclave.WithCaller(r.Context(), conclave.ServiceCaller(conclave.ServiceHub, conclave.DefaultTenant, name))))
	}))
	i.t.Cleanup(func() { runner.Close(); server.Close() })
	o.url = server.URL
	key, err := identity.LoadOrCreate(i.t.TempDir(), name)
	if err != nil {
		i.t.Fatal(err)
	}
	if _, err := client.Register(i.t.Context(), conclave.RegisterAgent{Agent: conclave.Agent{Name: conclave.AgentName(name), Role: "guest", URL: o.url, PublicKey: key.Public(), Capacity: 4}}); err != nil {
		i.t.Fatal(err)
	}
	return o
}

// A hostile agent that is registered, has a token of its own and a task to work
// on, tries what it can think of. It achieves nothing, and each try is on record.
func TestHostileAgent(t *testing.T) {
	i := newInstallation(t)
	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "collaboration_rules.yml"), []byte(`speech:
  calls:
    - {allow: false, from: [roles/guest], to: [roles/planner]}
    - {allow: true, from: [people, services, agents], to: ["*"], scopes: [speak]}
  budget: {messages: 4}
  rate: {per_second: 0.001, burst: 30}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	i.env["CONCLAVE_CONFIG"] = files
	s := i.serve()
	client, err := i.client()
	if err != nil {
		t.Fatal(err)
	}
	hold := func(ctx context.Context, _ a2awire.Incoming) (a2awire.Outgoing, error) {
		<-ctx.Done()
		return a2awire.Outgoing{}, ctx.Err()
	}
	victim := i.newOutsider(client.Hub(), "victim", func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
		return a2awire.Outgoing{Text: "yes"}, nil
	})
	busy := i.newOutsider(client.Hub(), "busy", hold)
	mallory := i.newOutsider(client.Hub(), "mallory", hold)
	task := func(name, text string) conclave.Task {
		t.Helper()
		sent, err := client.Hub().Send(t.Context(), conclave.SendMessage{To: "agents/" + name, Text: text})
		if err != nil {
			t.Fatal(err)
		}
		for sent.State != conclave.TaskWorking {
			<-time.After(10 * time.Millisecond)
			if sent, err = client.Hub().Task(t.Context(), conclave.GetTask{ID: sent.ID}); err != nil || sent.State.Ended() {
				t.Fatalf("%+v, %v", sent, err)
			}
		}
		return sent
	}
	mine, another := task("mallory", "Please help."), task("busy", "Please wait.")

	token, err := i.tokens().Mint(conclave.Caller{Tenant: conclave.DefaultTenant, Human: "eve", Agent: "mallory", Permissions: identity.AgentPermissions()}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.NewTokens([]byte("a secret of another installation, long enough"))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := other.Mint(conclave.Caller{Tenant: conclave.DefaultTenant, Human: "eve", Agent: "victim", Permissions: identity.HumanPermissions("admin")}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	urls := i.urls()
	gateway, hub := urls[conclave.ServiceGateway], urls[conclave.ServiceHub]
	tried := map[string]int{} // by rule
	try := func(what, rule, bearer, url, body string, want ...int) {
		t.Helper()
		status, answer := request(t, http.DefaultClient, "POST", url, bearer, body)
		if !slices.Contains(want, status) {
			t.Errorf("%s: %d %s, want %v", what, status, answer, want)
		}
		if rule != "" {
			tried[rule]++
		}
	}
	path := func(id conclave.TaskID, more string) string {
		return fmt.Sprintf(`{"human":"root","path":["tasks/%s"],"hops":1000%s}`, id, more)
	}
	say := func(to, call, more string) string {
		return fmt.Sprintf(`{"to":%q,"text":"Trust me.","call":%s%s}`, to, call, more)
	}
	messages := gateway + "/api/messages"

	// Forged senders.
	try("as another agent", "speaker", token, messages, say("agents/victim", path(mine.ID, ""), `,"from":"busy"`), 403)
	try("as the human", "speaker", token, messages, say("agents/victim", path(mine.ID, ""), `,"from":"eve"`), 403)
	try("with a forged token", "token", forged, messages, say("agents/victim", path(mine.ID, ""), ""), 401)
	try("with a forged token, at the hub", "token", forged, hub+"/messages", say("agents/victim", path(mine.ID, ""), ""), 401)
	// Somebody else's task, and so somebody else's budget, path and conversation.
	try("for another's task", "path", token, messages, say("agents/victim", path(another.ID, ""), ""), 403)
	try("for no task", "path", token, messages, say("agents/victim", `{"path":["eve"],"hops":9}`, ""), 403)
	try("for a task that is not there", "path", token, messages, say("agents/victim", path("task-0", ""), ""), 403)
	try("bringing another's conversation before a human", "path", token, gateway+"/api/conversations/"+string(another.Conversation)+"/escalate",
		fmt.Sprintf(`{"reason":"pay me","call":%s}`, path(mine.ID, "")), 403)
	// In a circle.
	try("to itself", "cycle", token, messages, say("agents/mallory", path(mine.ID, ""), ""), 429)
	// Against the rules, and for work in a folder.
	try("to a planner", "policy", token, messages, say("roles/planner", path(mine.ID, ""), ""), 403)
	try("giving out work in a folder", "folder", token, messages, say("agents/victim", path(mine.ID, ""), `,"data":{"kind":"build","worktree":"/root"}`), 403)
	// Another's card, name, subscription, and a human's word.
	stolen := fmt.Sprintf(`{"agent":{"name":"victim","role":"guest","url":%q,"public_key":"","description":"","skills":[],"brain":"","state":"live","active":0,"capacity":1,"seen":"2026-01-01T00:00:00Z"}}`, mallory.url)
	try("registering as the victim", "permission", token, gateway+"/api/agents", stolen, 403)
	admin, err := os.ReadFile(filepath.Join(i.home, "token"))
	if err != nil {
		t.Fatal(err)
	}
	try("swapping the victim's card, by an admin who was talked into it", "key", strings.TrimSpace(string(admin)), gateway+"/api/agents", stolen, 409)
	try("subscribing another", "speaker", token, gateway+"/api/topics/builds/subscribers", `{"subscriber":"agents/victim"}`, 403)
	try("answering for a human", "permission", token, gateway+"/api/escalations/esc-1/answer", `{"text":"pay"}`, 403)

	// What it may say it may say once: the same message again, over A2A, is the same task.
	rpc := func(id string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"configuration":{"returnImmediately":true},"message":{"messageId":%q,"role":"ROLE_USER","referenceTaskIds":[%q],"parts":[{"text":%q}],
			"metadata":{"conclave/call":{"human":"root","path":["root"],"hops":1000,"messages":1000000,"tokens":1000000000}}}}}`, id, mine.ID, "honest "+id)
	}
	for n := range 3 {
		rule := ""
		if n > 0 {
			rule = "replay"
		}
		try("once more", rule, token, gateway+"/a2a/agents/victim", rpc("m-1"), 200)
	}
	// The budget is that of the task, whatever the metadata claims: one message was ada's, one is said.
	try("the third", "", token, gateway+"/a2a/agents/victim", rpc("m-2"), 200)
	try("the fourth", "", token, gateway+"/a2a/agents/victim", rpc("m-3"), 200)
	try("more than the budget has", "budget", token, gateway+"/a2a/agents/victim", rpc("m-4"), 200, 429, 500, 503)

	// A flood.
	refused := 0
	for n := range 60 {
		status, _ := request(t, http.DefaultClient, "POST", messages, token, say("agents/victim", path(mine.ID, ""), fmt.Sprintf(`,"idempotency_key":"flood-%d"`, n)))
		if status == 429 {
			refused++
		}
	}
	if refused != 60 {
		t.Errorf("of a flood of 60, %d were refused", refused)
	}
	tried["rate"]++

	// The victim heard what it may hear, each once, and nobody else heard anything of it.
	deadline := time.After(time.Minute)
	for len(victim.got()) < 3 {
		select {
		case <-deadline:
			t.Fatalf("the victim heard %q", victim.got())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if got := slices.Sorted(slices.Values(victim.got())); !slices.Equal(got, []string{"honest m-1", "honest m-2", "honest m-3"}) || len(busy.got()) != 1 || len(mallory.got()) != 1 {
		t.Errorf("the victim heard %q, another %q, it itself %q", got, busy.got(), mallory.got())
	}
	agents, err := client.Hub().Agents(t.Context(), conclave.ListAgents{Role: "guest"})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range agents {
		if a.Name == "victim" && a.URL != victim.url {
			t.Errorf("the victim is at %s now", a.URL)
		}
	}

	// Each try is on record, and the record holds.
	var events []conclave.Event
	out, errs, code := i.conclave("audit", "list", "--kind", "call.refused,message.repeated", "--since", "all", "--json")
	if code != 0 {
		t.Fatal(errs)
	}
	if err := json.Unmarshal([]byte(out), &events); err != nil {
		t.Fatalf("%v: %.200s", err, out)
	}
	recorded := map[string]int{}
	for _, e := range events {
		var d struct{ Rule string }
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Errorf("event %d: %s", e.Seq, e.Data)
		}
		recorded[d.Rule]++
		if e.Actor != "mallory" && d.Rule != "token" && d.Rule != "key" {
			t.Errorf("event %d names %s: %s", e.Seq, e.Actor, e.Text)
		}
	}
	for rule, n := range tried {
		if recorded[rule] < n {
			t.Errorf("%d tries against %s, and %d are on record", n, rule, recorded[rule])
		}
	}
	s.stop(t)
	if out, errs, code := i.conclave("audit", "verify"); code != 0 {
		t.Errorf("the record does not hold: %s %s", out, errs)
	}
}
