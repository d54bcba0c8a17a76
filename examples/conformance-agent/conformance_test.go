package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/store"
)

const password = "let-me-in"

// listen serves a handler over HTTP/1 and, for gRPC, unencrypted HTTP/2.
func listen(t *testing.T, h http.Handler) *httptest.Server {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

// direct is the agent itself.
func direct(t *testing.T) *httptest.Server {
	h, runner := newServer("conformance", password)
	t.Cleanup(runner.Close)
	return listen(t, h)
}

// throughHub is the agent behind a hub on SQLite, which tells clients by push.
func throughHub(t *testing.T) *httptest.Server {
	h, runner := newServer("conformance", "")
	t.Cleanup(runner.Close)
	local := &a2awire.Local{}
	local.Serve("conformance", h)
	db, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "hub.db"), Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	agents, err := hub.New(hub.Options{Store: db.Hub(), Transport: local, Push: hub.PushOptions{Store: db.Pushes(), Transport: http.DefaultTransport,
		Sign: func([]byte) (string, error) { return "signature", nil }}})
	if err != nil {
		t.Fatal(err)
	}
	db.HandleDeliveries(16, func(ctx context.Context, id string, epoch int64) error {
		return agents.HandleDelivery(ctx, conclave.TaskID(id), epoch)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done, ready := make(chan error, 2), make(chan struct{}, 2)
	go func() { done <- db.Run(ctx, func() { ready <- struct{}{} }) }()
	go func() { done <- agents.Run(ctx, func() { ready <- struct{}{} }) }()
	<-ready
	<-ready
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	known := conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada", Permissions: []conclave.Permission{conclave.PermitSpeak, conclave.PermitAdmin}}
	if _, err := agents.Register(conclave.WithCaller(ctx, known), conclave.RegisterAgent{Agent: conclave.Agent{
		Name: "conformance", Role: "conformance", URL: "local://conformance", Capacity: 64, Skills: []string{"ask"}}}); err != nil {
		t.Fatal(err)
	}
	calls := agents.GRPC()
	return listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+password {
			r = r.WithContext(conclave.WithCaller(r.Context(), known))
		}
		if slices.ContainsFunc(a2awire.GRPCPaths(), func(p string) bool { return strings.HasPrefix(r.URL.Path, p) }) {
			calls.ServeHTTP(w, r)
			return
		}
		agents.ServeHTTP(w, r)
	}))
}

// TestConformance holds the agent, and the hub in front of it, to what the
// specification requires, by the names that the official TCK has for it, on all
// three bindings.
func TestConformance(t *testing.T) {
	for _, way := range []struct {
		name         string
		start        func(*testing.T) *httptest.Server
		path, tenant string
	}{
		{"direct", direct, "", ""},
		{"hub", throughHub, "/a2a/agents/conformance", "agents/conformance"},
	} {
		t.Run(way.name, func(t *testing.T) {
			srv := way.start(t)
			conn, err := grpc.NewClient(srv.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			base := caller{base: srv.URL + way.path, token: password, version: "1.0"}
			for binding, make := range map[string]func(caller) wire{
				"JSON-RPC":  func(c caller) wire { return jsonRPC{c} },
				"HTTP+JSON": func(c caller) wire { return httpJSON{c} },
				"gRPC":      func(c caller) wire { c.tenant = way.tenant; return overGRPC{c, conn} },
			} {
				as := func(change func(*caller)) wire {
					c := base
					change(&c)
					return make(c)
				}
				for _, r := range requirements() {
					t.Run(binding+"/"+r.names, func(t *testing.T) {
						t.Parallel()
						r.test(&check{t: t, w: make(base), binding: binding, as: as, push: way.name == "hub", at: base.base})
					})
				}
			}
			for _, r := range cardRequirements() {
				t.Run("card/"+r.names, func(t *testing.T) { r.test(&check{t: t, at: base.base}) })
			}
		})
	}
}

// TestTenantIsTheAgent calls the hub's own address, where the tenant names the
// agent, as on gRPC.
func TestTenantIsTheAgent(t *testing.T) {
	srv := throughHub(t)
	w := jsonRPC{caller{base: srv.URL + "/a2a/", token: password, version: "1.0", tenant: "agents/conformance"}}
	out, err := w.call(t.Context(), "SendMessage", say("hello"))
	if err != nil || at(out, "task.status.state") != "TASK_STATE_COMPLETED" {
		t.Fatalf("got %v, %v", out, err)
	}
	for _, tenant := range []string{"", "agents/", "nobody", "agents/nobody"} {
		resp, err := http.Post(srv.URL+"/a2a/", "application/json", strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"tenant":%q}}`, tenant)))
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotFound || !strings.Contains(string(said), "agents/") {
			t.Errorf("tenant %q: %s, %s", tenant, resp.Status, said)
		}
	}
}

// say is a message of a scenario, with an id of its own.
func say(scenario string) object {
	return object{"message": object{"messageId": scenario + "-" + conclave.NewID("m"), "role": "ROLE_USER", "parts": []any{object{"text": "hello"}}}}
}

// going is a message of a scenario, whose task is returned before it has ended.
func going(scenario string) object {
	in := say(scenario)
	in["configuration"] = object{"returnImmediately": true}
	return in
}

// onto is the next message of a task.
func onto(in object, task any) object {
	in["message"].(object)["taskId"] = task
	return in
}

func (c *check) must(operation string, in object) object {
	c.t.Helper()
	out, err := c.w.call(c.t.Context(), operation, in)
	if err != nil {
		c.t.Fatalf("%s: %v", operation, err)
	}
	return out
}

func (c *check) refuse(operation string, in object, reason string) {
	c.t.Helper()
	_, err := c.w.call(c.t.Context(), operation, in)
	c.fails(err, reason)
}

func (c *check) want(v any, path string, want any) {
	c.t.Helper()
	if got := at(v, path); fmt.Sprint(got) != fmt.Sprint(want) {
		text, _ := json.Marshal(v)
		c.t.Errorf("%s is %v, want %v, in %s", path, got, want, text)
	}
}

// events returns all events of a stream, which must end by itself.
func (c *check) events(operation string, in object) []object {
	c.t.Helper()
	var all []object
	if err := c.w.stream(c.t.Context(), operation, in, func(e object) bool { all = append(all, e); return true }); err != nil {
		c.t.Fatalf("%s: %v after %v", operation, err, all)
	}
	return all
}

// card gets the agent's card as a client of a version does.
func (c *check) card(version string, header http.Header) (*http.Response, object) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), "GET", c.at+"/.well-known/agent-card.json", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	if version != "" {
		req.Header.Set("A2A-Version", version)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	out, err := read(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, out
}

// once waits until a condition holds, which it asks for again and again.
func (c *check) once(what string, holds func() bool) {
	c.t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-again.C:
		case <-deadline:
			c.t.Fatalf("%s does not happen", what)
		}
	}
}
