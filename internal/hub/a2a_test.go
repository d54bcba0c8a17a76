package hub_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/identity"
)

// listen serves a hub's A2A face on loopback, behind the tokens of the real one.
func listen(t *testing.T, n *network) (url, token string) {
	t.Helper()
	tokens, err := identity.NewTokens(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	token, err = tokens.Mint(conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada", Permissions: identity.HumanPermissions("operator")}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	authenticate := identity.Authenticate(tokens)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if caller, err := authenticate(r); err == nil {
			r = r.WithContext(conclave.WithCaller(r.Context(), caller))
		}
		n.hub.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, token
}

func TestOfficialGoClient(t *testing.T) {
	n := connect(t, hub.NewMemory(nil))
	n.agent("dev-1", "developer", echo)
	url, token := listen(t, n)
	ctx := t.Context()

	card, err := agentcard.NewResolver(http.DefaultClient).Resolve(ctx, url+"/a2a/roles/developer")
	if err != nil {
		t.Fatal(err)
	}
	if card.Name != "developer" || len(card.SecuritySchemes) != 1 {
		t.Errorf("the card is %+v", card)
	}
	hc := &http.Client{Transport: tokenTransport(token)}
	for _, binding := range []a2a.TransportProtocol{a2a.TransportProtocolJSONRPC, a2a.TransportProtocolHTTPJSON} {
		client, err := a2aclient.NewFromCard(ctx, card, a2aclient.WithJSONRPCTransport(hc), a2aclient.WithRESTTransport(hc),
			a2aclient.WithConfig(a2aclient.Config{PreferredTransports: []a2a.TransportProtocol{binding}}))
		if err != nil {
			t.Fatal(err)
		}
		msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("hello"))
		result, err := client.SendMessage(ctx, &a2a.SendMessageRequest{Message: msg})
		if err != nil {
			t.Fatalf("%s: %v", binding, err)
		}
		task := result.(*a2a.Task)
		if task.Status.State != a2a.TaskStateCompleted || task.Artifacts[0].Parts[0].Text() != "heard hello" {
			t.Errorf("%s: got %+v", binding, task)
		}
		again, err := client.SendMessage(ctx, &a2a.SendMessageRequest{Message: msg})
		if err != nil || again.(*a2a.Task).ID != task.ID {
			t.Errorf("%s: the same message made another task: %+v, %v", binding, again, err)
		}
		var states []a2a.TaskState
		for event, err := range client.SendStreamingMessage(ctx, &a2a.SendMessageRequest{Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("again"))}) {
			if err != nil {
				t.Fatalf("%s: %v", binding, err)
			}
			switch e := event.(type) {
			case *a2a.Task:
				states = append(states, e.Status.State)
			case *a2a.TaskStatusUpdateEvent:
				states = append(states, e.Status.State)
			}
		}
		if len(states) < 2 || states[len(states)-1] != a2a.TaskStateCompleted {
			t.Errorf("%s: the stream showed %v", binding, states)
		}
	}
}

type tokenTransport string

func (tok tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(tok))
	return http.DefaultTransport.RoundTrip(r)
}

// call makes one raw request and returns the status and the decoded body.
func call(t *testing.T, method, url, token, version, contentType, body string) (int, http.Header, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"A2A-Version": version, "Content-Type": contentType} {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if len(raw) > 0 && strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatalf("%s in %s", err, raw)
		}
	}
	return resp.StatusCode, resp.Header, out
}

// TestInFrontOfTheSDK covers what the SDK's transports leave out, on both bindings.
func TestInFrontOfTheSDK(t *testing.T) {
	n := connect(t, hub.NewMemory(nil))
	n.agent("dev-1", "developer", echo)
	url, token := listen(t, n)
	at := url + "/a2a/agents/dev-1"
	const js = "application/json"
	rpc := func(method, params string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":"7","method":%q,"params":%s}`, method, params)
	}
	send := rpc("SendMessage", `{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"hello"}]}}`)
	send03 := rpc("message/send", `{"message":{"kind":"message","messageId":"m2","role":"user","parts":[{"kind":"text","text":"hello"}]}}`)

	for _, c := range []struct {
		name, token, version, contentType, body string
		code                                    float64 // 0: a result
		says                                    string
	}{
		{"1.0", token, "1.0", js, send, 0, "heard hello"},
		{"a patch version", token, "1.0.1", js, send, 0, "heard hello"},
		{"0.3 by default", token, "", js, send03, 0, "heard hello"},
		{"0.3 by name", token, "0.3", js, send03, 0, "heard hello"},
		{"an unknown version", token, "99.0", js, send, -32009, "1.0 or 0.3"},
		{"a 1.0 method without a version", token, "", js, send, -32009, "A2A-Version: 1.0"},
		{"another content type", token, "1.0", "text/plain", send, -32005, "application/json"},
		{"no token", "", "1.0", js, send, -31401, "Bearer"},
		{"no JSON", token, "1.0", js, "{", -32700, ""},
		{"no method", token, "1.0", js, rpc("Dance", "{}"), -32601, ""},
		{"no message", token, "1.0", js, rpc("SendMessage", "{}"), -32602, "message is required"},
		{"an agent's role", token, "1.0", js, strings.Replace(send, "ROLE_USER", "ROLE_AGENT", 1), -32602, "ROLE_USER"},
		{"a file", token, "1.0", js, strings.Replace(send, `"text":"hello"`, `"url":"file:///etc/passwd"`, 1), -32005, "send text or data"},
		{"a push address", token, "1.0", js, rpc("SendMessage", `{"configuration":{"taskPushNotificationConfig":{"url":"http://x"}},"message":{"messageId":"m9","role":"ROLE_USER","parts":[{"text":"x"}]}}`), -32003, ""},
		{"no such task", token, "1.0", js, rpc("GetTask", `{"id":"nope"}`), -32001, "nope"},
		{"a page too large", token, "1.0", js, rpc("ListTasks", `{"pageSize":101}`), -32602, "1 to 100"},
		{"a page token of nobody's", token, "1.0", js, rpc("ListTasks", `{"pageToken":"xyz"}`), -32602, "pageToken"},
		{"a continued task that is not there", token, "1.0", js, strings.Replace(send, `"messageId"`, `"taskId":"nope","messageId"`, 1), -32001, "nope"},
	} {
		t.Run("JSON-RPC "+c.name, func(t *testing.T) {
			status, _, body := call(t, "POST", at, c.token, c.version, c.contentType, c.body)
			text := fmt.Sprint(body)
			problem, _ := body["error"].(map[string]any)
			code, _ := problem["code"].(float64)
			if status != http.StatusOK || code != c.code || !strings.Contains(text, c.says) {
				t.Errorf("got %d %s, want code %v and %q", status, text, c.code, c.says)
			}
			if c.code == -32009 && (body["id"] != "7" || !strings.Contains(text, "VERSION_NOT_SUPPORTED")) {
				t.Errorf("got %s, want the request's id and the reason", text)
			}
		})
	}

	message := `{"message":{"messageId":"m3","role":"ROLE_USER","parts":[{"text":"hello"}]}}`
	for _, c := range []struct {
		name, method, path, token, version, contentType, body string
		status                                                int
		says                                                  string
	}{
		{"1.0", "POST", "/message:send", token, "1.0", "application/a2a+json", message, 200, "heard hello"},
		{"list", "GET", "/tasks?contextId=nowhere", token, "1.0", "", "", 200, "tasks:[]"},
		{"0.3", "POST", "/v1/message:send", token, "", js, `{"message":{"messageId":"m4","role":"ROLE_USER","content":[{"text":"hello"}]}}`, 200, "heard hello"},
		{"an unknown version", "POST", "/message:send", token, "2.0", js, message, 400, "VERSION_NOT_SUPPORTED"},
		{"no version", "POST", "/message:send", token, "", js, message, 400, "A2A-Version: 1.0"},
		{"another content type", "POST", "/message:send", token, "1.0", "text/plain", message, 400, "CONTENT_TYPE_NOT_SUPPORTED"},
		{"no token", "POST", "/message:send", "", "1.0", js, message, 401, "UNAUTHENTICATED"},
		{"no such task", "GET", "/tasks/nope", token, "1.0", "", "", 404, "TASK_NOT_FOUND"},
	} {
		t.Run("HTTP+JSON "+c.name, func(t *testing.T) {
			status, _, body := call(t, c.method, at+c.path, c.token, c.version, c.contentType, c.body)
			if text := fmt.Sprint(body); status != c.status || !strings.Contains(text, c.says) {
				t.Errorf("got %d %s, want %d and %q", status, text, c.status, c.says)
			}
		})
	}

	t.Run("too large", func(t *testing.T) {
		status, _, body := call(t, "POST", at, token, "1.0", js, strings.Replace(send, "hello", strings.Repeat("x", a2awire.MaxBody), 1))
		if status != http.StatusOK || !strings.Contains(fmt.Sprint(body), "larger than 16 MiB") {
			t.Errorf("got %d %.200v", status, body)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		if status, _, _ := call(t, "GET", url+"/a2a/agents/nobody/.well-known/agent-card.json", "", "", "", ""); status != http.StatusNotFound {
			t.Errorf("the card of nobody: %d", status)
		}
	})
}

func TestCardIsCachedByItsContent(t *testing.T) {
	n := connect(t, hub.NewMemory(nil))
	n.agent("dev-1", "developer", echo)
	url, _ := listen(t, n)
	at := url + "/a2a/agents/dev-1/.well-known/agent-card.json"
	status, header, card := call(t, "GET", at, "", "", "", "")
	etag := header.Get("ETag")
	if status != http.StatusOK || etag == "" || !strings.Contains(header.Get("Cache-Control"), "max-age=") || card["name"] != "dev-1" {
		t.Fatalf("got %d %v %v", status, header, card)
	}
	again := func() int {
		req, err := http.NewRequestWithContext(t.Context(), "GET", at, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", etag)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := again(); got != http.StatusNotModified {
		t.Errorf("the same card again: %d", got)
	}
	if _, err := n.hub.Register(as(t.Context(), "admin"), conclave.RegisterAgent{Agent: conclave.Agent{
		Name: "dev-1", Role: "developer", URL: "local://dev-1", Description: "Knows more now.",
	}}); err != nil {
		t.Fatal(err)
	}
	if got := again(); got != http.StatusOK {
		t.Errorf("the card after a change: %d", got)
	}
}

func TestCallersSeeTheirOwnTasksOnly(t *testing.T) {
	n := connect(t, hub.NewMemory(nil))
	n.agent("dev-1", "developer", echo)
	url, token := listen(t, n)
	bobs := n.send(as(t.Context(), "bob"), conclave.SendMessage{To: "agents/dev-1", Text: "Mine."})
	n.wait(bobs.ID)
	if status, _, _ := call(t, "GET", url+"/a2a/agents/dev-1/tasks/"+string(bobs.ID), token, "1.0", "", ""); status != http.StatusNotFound {
		t.Errorf("ada reads bob's task: %d", status)
	}
	adas := n.ask("agents/dev-1", "Ours.")
	if status, _, _ := call(t, "GET", url+"/a2a/roles/developer/tasks/"+string(adas.ID), token, "1.0", "", ""); status != http.StatusNotFound {
		t.Errorf("a task of another address: %d", status)
	}
	_, _, list := call(t, "GET", url+"/a2a/agents/dev-1/tasks", token, "1.0", "", "")
	tasks, _ := list["tasks"].([]any)
	if len(tasks) != 1 || tasks[0].(map[string]any)["id"] != string(adas.ID) {
		t.Errorf("ada's list is %v", list)
	}
}

// The hub looks an address up once a second; who takes their leave is gone at once.
func TestFaceOfAnAgentThatLeftIsGone(t *testing.T) {
	n := connect(t, hub.NewMemory(nil))
	n.agent("dev-1", "developer", echo)
	url, token := listen(t, n)
	ask := func() int {
		status, _, _ := call(t, "GET", url+"/a2a/agents/dev-1/tasks", token, "1.0", "", "")
		return status
	}
	if status := ask(); status != http.StatusOK {
		t.Fatalf("an agent that is there: %d", status)
	}
	agents, err := n.hub.Agents(as(t.Context(), "ada"), conclave.ListAgents{})
	if err != nil || len(agents) != 1 {
		t.Fatalf("%d agents: %v", len(agents), err)
	}
	agents[0].State = conclave.AgentGone
	if _, err := n.hub.Register(as(t.Context(), "ada"), conclave.RegisterAgent{Agent: agents[0]}); err != nil {
		t.Fatal(err)
	}
	if status := ask(); status != http.StatusNotFound {
		t.Errorf("an agent that took its leave: %d", status)
	}
}

func TestTasksComeInPages(t *testing.T) {
	n := connect(t, hub.NewMemory(nil))
	n.agent("dev-1", "developer", echo)
	url, token := listen(t, n)
	var want []string
	for i := range 5 {
		want = append(want, string(n.ask("agents/dev-1", fmt.Sprint(i)).ID))
	}
	slices.Reverse(want) // the newest first
	var got []string
	for page, next := 0, ""; page == 0 || next != ""; page++ {
		_, _, list := call(t, "GET", url+"/a2a/agents/dev-1/tasks?pageSize=2&pageToken="+next, token, "1.0", "", "")
		for _, task := range list["tasks"].([]any) {
			got = append(got, task.(map[string]any)["id"].(string))
		}
		if list["totalSize"] != 5.0 || page > 5 {
			t.Fatalf("page %d is %v", page, list)
		}
		next = list["nextPageToken"].(string)
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages give %v, want %v", got, want)
	}
}

func TestOfficialJavaScriptClient(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		skipOutsideCI(t, "node is not installed")
	}
	dir := os.Getenv("CONCLAVE_TEST_A2AJS")
	if dir == "" {
		if dir, err = installA2AJS(t); err != nil {
			skipOutsideCI(t, "@a2a-js/sdk 1.3.0 can't be installed, and CONCLAVE_TEST_A2AJS names no folder that has it: "+err.Error())
		}
	}
	n := connect(t, hub.NewMemory(nil))
	n.agent("dev-1", "developer", echo)
	n.serve("slow-1", forever)
	n.register("slow-1", "slow", 10)
	url, token := listen(t, n)
	out, err := exec.CommandContext(t.Context(), node, "testdata/client.mjs", dir, url+"/a2a/agents/dev-1", url+"/a2a/agents/slow-1", token).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(string(out), "ok "); got != 4 {
		t.Errorf("four interfaces were to be tried, and %d were:\n%s", got, out)
	}
	t.Logf("%s", out)
}

func installA2AJS(t *testing.T) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", err
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/package.json", []byte(`{"private":true}`), 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(t.Context(), npm, "install", "--no-audit", "--no-fund", "@a2a-js/sdk@1.3.0")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %.300s", err, out)
	}
	return dir, nil
}

func skipOutsideCI(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
