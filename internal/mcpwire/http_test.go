package mcpwire_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"conclave"
	"conclave/internal/mcpwire"
)

// eras are the newest revision of each era of the protocol.
func eras() []string { return []string{"2025-11-25", "2026-07-28"} }

// people are who the tokens of the tests belong to.
func people() map[string]conclave.Caller {
	return map[string]conclave.Caller{
		"ada":        everyone(),
		"ada-weaker": person("ada", conclave.PermitRead),
		"eve":        everyoneAs("eve"),
	}
}

func everyoneAs(human string) conclave.Caller {
	c := everyone()
	c.Human = human
	return c
}

func authenticate(r *http.Request) (conclave.Caller, error) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" {
		token = r.Header.Get("X-Api-Key")
	}
	if token == "outage" {
		return conclave.Caller{}, errors.New("the key store says hunter2")
	}
	if c, ok := people()[token]; ok {
		return c, nil
	}
	return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "no such token")
}

// overHTTP serves a house and returns the address of its endpoint.
func overHTTP(t *testing.T, h *house, timeout time.Duration) (string, *mcp.Server, *mcpwire.Handler) {
	t.Helper()
	server := h.server(t, false)
	handler, err := mcpwire.NewHandler(mcpwire.HandlerOptions{Server: server, Authenticate: authenticate,
		SessionTimeout: timeout, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", handler)
	mux.Handle(mcpwire.MetadataPath, handler)
	mux.Handle(mcpwire.MetadataPath+"/", handler)
	mux.Handle(mcpwire.RegistrationPath, handler)
	s := httptest.NewServer(mux)
	t.Cleanup(func() { handler.Close(); s.Close() })
	return s.URL + "/mcp", server, handler
}

// bearer sends a token with each request, and keeps what was sent and answered.
type bearer struct {
	mu        sync.Mutex
	token     string
	requests  []*http.Request
	responses []*http.Response
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	b.mu.Lock()
	r.Header.Set("Authorization", "Bearer "+b.token)
	b.mu.Unlock()
	resp, err := http.DefaultTransport.RoundTrip(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.requests, b.responses = append(b.requests, r), append(b.responses, resp)
	}
	return resp, err
}

func (b *bearer) become(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.token = token
}

func (b *bearer) sessionID() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.responses {
		if id := r.Header.Get("Mcp-Session-Id"); id != "" {
			return id
		}
	}
	return ""
}

func connect(t *testing.T, endpoint, era string, b *bearer, o *mcp.ClientOptions) (*mcp.ClientSession, error) {
	t.Helper()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "0"}, o).Connect(t.Context(),
		&mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &http.Client{Transport: b}, MaxRetries: -1},
		&mcp.ClientSessionOptions{ProtocolVersion: era})
	if err == nil {
		t.Cleanup(func() { session.Close() })
	}
	return session, err
}

func TestBothEras(t *testing.T) {
	for _, era := range eras() {
		t.Run(era, func(t *testing.T) {
			h := &house{}
			endpoint, _, _ := overHTTP(t, h, 0)
			b := &bearer{token: "ada"}
			session, err := connect(t, endpoint, era, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := session.InitializeResult().ProtocolVersion; got != era {
				t.Errorf("negotiated %s", got)
			}
			if stateful := b.sessionID() != ""; stateful != (era < "2026") {
				t.Errorf("session id %q", b.sessionID())
			}
			tools, err := session.ListTools(t.Context(), nil)
			if err != nil || len(tools.Tools) != 13 {
				t.Fatalf("tools %+v, %v", tools, err)
			}
			run := into[conclave.Run](t, use(t, session, "workflow_start", map[string]any{"task": "t", "repo": "/r"}))
			if run.Human != "ada" || h.lastCaller(t).Tenant != conclave.DefaultTenant {
				t.Errorf("the caller became %+v", h.lastCaller(t))
			}
			if result := use(t, session, "workflow_cancel", map[string]any{"id": "2"}); textOf(t, result) != "conflict: because of 2" {
				t.Errorf("error %s", textOf(t, result))
			}
			if got, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "conclave://runs/r1"}); err != nil || len(got.Contents) != 1 {
				t.Errorf("resource %+v, %v", got, err)
			}
			if got, err := session.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "plan", Arguments: map[string]string{"task": "x"}}); err != nil || len(got.Messages) != 1 {
				t.Errorf("prompt %+v, %v", got, err)
			}
			if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "nothing"}); err == nil {
				t.Error("an unknown tool was called")
			}
		})
	}
}

// A client of the new era that does not say which falls back, and is served.
func TestNegotiation(t *testing.T) {
	endpoint, _, _ := overHTTP(t, &house{}, 0)
	session, err := connect(t, endpoint, "", &bearer{token: "ada"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if result := use(t, session, "workflow_list", nil); result.IsError {
		t.Error(textOf(t, result))
	}
}

// Progress reaches the client on the stream of its own call.
func TestProgressOverHTTP(t *testing.T) {
	for _, era := range eras() {
		t.Run(era, func(t *testing.T) {
			heard := make(chan float64, 100)
			h := &house{progressEvery: time.Millisecond, get: func(ctx context.Context, _ conclave.GetRun) (conclave.RunDetail, error) {
				for range 3 {
					select {
					case <-heard:
					case <-ctx.Done():
						return conclave.RunDetail{}, ctx.Err()
					}
				}
				return conclave.RunDetail{}, nil
			}}
			endpoint, _, _ := overHTTP(t, h, 0)
			session, err := connect(t, endpoint, era, &bearer{token: "ada"}, &mcp.ClientOptions{
				ProgressNotificationHandler: func(_ context.Context, n *mcp.ProgressNotificationClientRequest) { heard <- n.Params.Progress },
			})
			if err != nil {
				t.Fatal(err)
			}
			params := &mcp.CallToolParams{Name: "workflow_status", Arguments: map[string]any{"id": "r1"}}
			params.SetProgressToken(7)
			if result, err := session.CallTool(t.Context(), params); err != nil || result.IsError {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	}
}

// Each request counts for itself: in one session, the same person with a weaker
// token may do less, and another person may do nothing.
func TestEachRequestIsAuthenticated(t *testing.T) {
	for _, era := range eras() {
		t.Run(era, func(t *testing.T) {
			h := &house{}
			endpoint, _, _ := overHTTP(t, h, 0)
			b := &bearer{token: "ada"}
			session, err := connect(t, endpoint, era, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			start := &mcp.CallToolParams{Name: "workflow_start", Arguments: map[string]any{"task": "t", "repo": "/r"}}
			b.become("ada-weaker")
			if result := use(t, session, start.Name, start.Arguments); !strings.HasPrefix(textOf(t, result), "denied: ") {
				t.Errorf("with the weaker token: %s", textOf(t, result))
			}
			b.become("eve")
			result, err := session.CallTool(t.Context(), start)
			if era < "2026" {
				if err == nil {
					t.Errorf("in another's session: %+v", result)
				}
			} else if err != nil || h.lastCaller(t).Human != "eve" {
				t.Errorf("a request of another: %v, caller %+v", err, h.lastCaller(t))
			}
			b.become("wrong")
			if result, err := session.CallTool(t.Context(), start); err == nil {
				t.Errorf("with a wrong token: %+v", result)
			}
			if want := map[bool]int{true: 0, false: 1}[era < "2026"]; len(h.started) != want {
				t.Errorf("started %d runs, want %d", len(h.started), want)
			}
		})
	}
}

// post sends a message by hand.
func post(t *testing.T, endpoint, token, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if req.Header.Get("Host") != "" {
		req.Host = req.Header.Get("Host")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"0"}}}`

func TestWithoutAGoodToken(t *testing.T) {
	endpoint, _, _ := overHTTP(t, &house{}, 0)
	base := strings.TrimSuffix(endpoint, "/mcp")
	metadata := base + mcpwire.MetadataPath + "/mcp"
	for token, challenge := range map[string]string{
		"":      `Bearer resource_metadata="` + metadata + `"`,
		"wrong": `Bearer resource_metadata="` + metadata + `", error="invalid_token"`,
	} {
		for _, era := range eras() {
			resp, body := post(t, endpoint, token, initialize, "MCP-Protocol-Version", era)
			if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != challenge || !strings.Contains(body, "token") {
				t.Errorf("token %q, %s: %d, %q, %s", token, era, resp.StatusCode, resp.Header.Get("WWW-Authenticate"), body)
			}
		}
	}
	resp, body := post(t, endpoint, "outage", initialize)
	if resp.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "hunter2") {
		t.Errorf("when it can't be told who calls: %d, %s", resp.StatusCode, body)
	}
	if resp, body := post(t, endpoint, "", initialize, "X-Api-Key", "ada"); resp.StatusCode != http.StatusOK {
		t.Errorf("with an API key: %d, %s", resp.StatusCode, body)
	}

	resp, body = post(t, base+mcpwire.RegistrationPath, "", `{"client_name":"t"}`)
	var refused map[string]string
	if err := json.Unmarshal([]byte(body), &refused); err != nil || resp.StatusCode != 400 || !strings.Contains(refused["error_description"], "conclave token") {
		t.Errorf("a client that registers is told: %d, %s", resp.StatusCode, body)
	}

	for path, want := range map[string]int{mcpwire.MetadataPath: 200, mcpwire.MetadataPath + "/mcp": 200, mcpwire.MetadataPath + "/other": 404} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %d, %v", path, resp.StatusCode, err)
			continue
		}
		if want != 200 {
			continue
		}
		var m struct {
			Resource string   `json:"resource"`
			Methods  []string `json:"bearer_methods_supported"`
		}
		if err := json.Unmarshal(text, &m); err != nil || m.Resource != endpoint || len(m.Methods) != 1 {
			t.Errorf("%s: %s, %v", path, text, err)
		}
	}
}

func TestHostileRequests(t *testing.T) {
	endpoint, server, _ := overHTTP(t, &house{}, 0)
	modern := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
			`"io.modelcontextprotocol/clientInfo":{"name":"t","version":"0"},"io.modelcontextprotocol/clientCapabilities":{}},` + params + `}}`
	}
	call := []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "workflow_start"}
	good := modern(`"name":"workflow_start","arguments":{"task":"t","repo":"/r"}`)
	huge := modern(`"name":"workflow_start","arguments":{"repo":"/r","task":"` + strings.Repeat("x", 5<<20) + `"}`)
	deep := modern(`"name":"workflow_start","arguments":` + strings.Repeat("[", 50000) + strings.Repeat("]", 50000))
	tests := []struct {
		name, body string
		header     []string
		status     int
	}{
		{"the control", good, call, 200},
		{"huge", huge, call, 413},
		{"huge, in a session", strings.Replace(initialize, `"t"`, `"`+strings.Repeat("x", 5<<20)+`"`, 1), nil, 413},
		{"deep", deep, call, 400},
		{"no JSON", "hello", call, 400},
		{"nothing", "", nil, 400},
		{"another tool in the header", good, []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "workflow_list"}, 400},
		{"a revision that is none", initialize, []string{"MCP-Protocol-Version", "1999-01-01"}, 400},
		{"a revision of the future", good, []string{"MCP-Protocol-Version", "2099-01-01"}, 400},
		{"another's idea of a session", initialize, []string{"Mcp-Session-Id", "guess"}, 404},
		{"a foreign host", initialize, []string{"Host", "evil.example"}, 403},
		{"a form", initialize, []string{"Content-Type", "text/plain"}, 415},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := post(t, endpoint, "ada", tt.body, tt.header...)
			if resp.StatusCode != tt.status {
				t.Errorf("got %d, want %d: %.300s", resp.StatusCode, tt.status, body)
			}
		})
	}
	for s := range server.Sessions() {
		t.Errorf("the session %q is left over", s.ID())
	}
}

// A session that its client left without a word ends, and the client is told
// when it comes back.
func TestSessionTimesOut(t *testing.T) {
	endpoint, _, _ := overHTTP(t, &house{}, 20*time.Millisecond)
	resp, body := post(t, endpoint, "ada", initialize)
	id := resp.Header.Get("Mcp-Session-Id")
	if resp.StatusCode != 200 || id == "" {
		t.Fatalf("%d: %s", resp.StatusCode, body)
	}
	// Each call lets the session live on, so calls are further apart than the timeout.
	again, end := time.NewTicker(200*time.Millisecond), time.After(20*time.Second)
	defer again.Stop()
	for resp.StatusCode != http.StatusNotFound {
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("long after the timeout: %d", resp.StatusCode)
		}
		resp, _ = post(t, endpoint, "ada", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, "Mcp-Session-Id", id, "MCP-Protocol-Version", "2025-11-25")
	}
}

// Close ends the streams that sessions hold open, so that a server can stop.
func TestCloseEndsStreams(t *testing.T) {
	endpoint, server, handler := overHTTP(t, &house{}, 0)
	resp, _ := post(t, endpoint, "ada", initialize)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ada")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Mcp-Session-Id", resp.Header.Get("Mcp-Session-Id"))
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if stream.StatusCode != 200 {
		t.Fatalf("stream: %d", stream.StatusCode)
	}
	handler.Close()
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	for s := range server.Sessions() {
		t.Errorf("the session %q is still there", s.ID())
	}
}

// A client of the new era that goes away ends its call.
func TestGoneClientEndsItsCall(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	h := &house{get: func(ctx context.Context, _ conclave.GetRun) (conclave.RunDetail, error) {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return conclave.RunDetail{}, ctx.Err()
	}}
	endpoint, _, _ := overHTTP(t, h, 0)
	session, err := connect(t, endpoint, "2026-07-28", &bearer{token: "ada"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	_, err = session.CallTool(ctx, &mcp.CallToolParams{Name: "workflow_status", Arguments: map[string]any{"id": "r1", "wait_ms": 60000}})
	if err == nil {
		t.Error("a cancelled call came back")
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the operation still runs")
	}
}

func TestNewHandlerRefusals(t *testing.T) {
	for _, o := range []mcpwire.HandlerOptions{{Authenticate: authenticate}, {Server: (&house{}).server(t, false)}} {
		if _, err := mcpwire.NewHandler(o); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	}
}
