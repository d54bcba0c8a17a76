package hub_test

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
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/store"
)

// told is what a client's server got, and how it answers.
type told struct {
	*httptest.Server
	mu      sync.Mutex
	got     []notification
	answer  func(n int) int // the status of the nth request
	heard   chan struct{}
	visited bool // by a redirect
}

type notification struct {
	header http.Header
	body   string
}

func newTold(t *testing.T) *told {
	c := &told{heard: make(chan struct{}, 1000)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.URL.Path == "/inside" {
			c.visited = true
			return
		}
		c.got = append(c.got, notification{r.Header, string(body)})
		status := http.StatusOK
		if c.answer != nil {
			status = c.answer(len(c.got))
		}
		w.Header().Set("Location", "/inside")
		w.WriteHeader(status)
		c.heard <- struct{}{}
	}))
	t.Cleanup(c.Close)
	return c
}

// await waits for n requests and returns them.
func (c *told) await(t *testing.T, n int) []notification {
	t.Helper()
	for {
		c.mu.Lock()
		got := slices.Clone(c.got)
		c.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-c.heard:
		case <-time.After(20 * time.Second):
			t.Fatalf("%d notifications came, want %d: %v", len(got), n, got)
		}
	}
}

// states are what status updates say, in order.
func states(list []notification) (out []string) {
	for _, n := range list {
		var r struct {
			StatusUpdate *struct {
				Status struct{ State string }
			}
			ArtifactUpdate *struct{}
		}
		switch err := json.Unmarshal([]byte(n.body), &r); {
		case err != nil:
			out = append(out, n.body)
		case r.StatusUpdate != nil:
			out = append(out, r.StatusUpdate.Status.State)
		case r.ArtifactUpdate != nil:
			out = append(out, "artifact")
		}
	}
	return out
}

// teller is a hub on SQLite that tells clients.
type teller struct {
	*network
	db   *store.DB
	face *httptest.Server
	path string
	stop func()
}

func startTeller(t *testing.T, path string, local *a2awire.Local, change ...func(*hub.Options)) *teller {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + path, Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	opts := hub.Options{Store: db.Hub(), Transport: local, Push: hub.PushOptions{Store: db.Pushes(), Transport: http.DefaultTransport,
		Sign: func(body []byte) (string, error) { return fmt.Sprintf("signature of %d bytes", len(body)), nil }}}
	for _, f := range change {
		f(&opts)
	}
	h, err := hub.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	db.HandleDeliveries(16, func(ctx context.Context, id string, epoch int64) error {
		return h.HandleDelivery(ctx, conclave.TaskID(id), epoch)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	ready := make(chan struct{}, 2)
	go func() { done <- db.Run(ctx, func() { ready <- struct{}{} }) }()
	go func() { done <- h.Run(ctx, func() { ready <- struct{}{} }) }()
	<-ready
	<-ready
	face := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Header.Get("Authorization")
		if name != "" {
			r = r.WithContext(as(r.Context(), name))
		}
		h.ServeHTTP(w, r)
	}))
	tl := &teller{network: &network{t: t, hub: h, local: local, hosts: map[string]http.Handler{}}, db: db, face: face, path: path}
	tl.stop = sync.OnceFunc(func() {
		face.Close()
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
	t.Cleanup(tl.stop)
	return tl
}

// rpc calls a method of the A2A face as a human and returns its result or error.
func (tl *teller) rpc(as, address, method string, params any, result any) error {
	tl.t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		tl.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(tl.t.Context(), http.MethodPost, tl.face.URL+"/a2a/"+address, strings.NewReader(string(body)))
	if err != nil {
		tl.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", as)
	if !strings.Contains(method, "/") {
		req.Header.Set(a2a.SvcParamVersion, "1.0")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		tl.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Result json.RawMessage
		Error  *struct {
			Code    int
			Message string
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		tl.t.Fatal(err)
	}
	if out.Error != nil {
		return fmt.Errorf("%d %s", out.Error.Code, out.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(out.Result, result)
}

type sentTask struct {
	Task struct {
		ID     string
		Status struct{ State string }
	}
}

func say(id, text string, push any) map[string]any {
	m := map[string]any{"message": map[string]any{"messageId": id, "role": "ROLE_USER", "parts": []any{map[string]any{"text": text}}}}
	config := map[string]any{"returnImmediately": true}
	if push != nil {
		config["taskPushNotificationConfig"] = push
	}
	m["configuration"] = config
	return m
}

func TestPushNotifications(t *testing.T) {
	tl := startTeller(t, filepath.Join(t.TempDir(), "hub.db"), &a2awire.Local{})
	goOn := make(chan struct{})
	tl.agent("dev-1", "developer", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
		if in.Text == "wait" {
			select {
			case <-goOn:
			case <-ctx.Done():
			}
		}
		return echo(ctx, in)
	})
	c := newTold(t)

	var sent sentTask
	if err := tl.rpc("ada", "agents/dev-1", "SendMessage", say("m1", "hello", map[string]any{"url": c.URL, "token": "t0k",
		"authentication": map[string]any{"scheme": "Bearer", "credentials": "secret"}}), &sent); err != nil {
		t.Fatal(err)
	}
	got := c.await(t, 3)
	if s := states(got); !slices.Equal(s, []string{"TASK_STATE_WORKING", "artifact", "TASK_STATE_COMPLETED"}) {
		t.Errorf("the client was told %v", s)
	}
	if h := got[0].header; h.Get("A2A-Notification-Token") != "t0k" || h.Get("Authorization") != "Bearer secret" ||
		h.Get(hub.SignatureHeader) != fmt.Sprintf("signature of %d bytes", len(got[0].body)) {
		t.Errorf("the notification's header is %v", h)
	}
	if !strings.Contains(got[1].body, "heard hello") || !strings.Contains(got[1].body, sent.Task.ID) {
		t.Errorf("the artifact is told as %s", got[1].body)
	}

	// Configurations of a task: create, get, list, delete, each one's caller's own.
	if err := tl.rpc("ada", "agents/dev-1", "SendMessage", say("m2", "wait", nil), &sent); err != nil {
		t.Fatal(err)
	}
	task := sent.Task.ID
	var config, again a2a.PushConfig
	if err := tl.rpc("ada", "agents/dev-1", "CreateTaskPushNotificationConfig", map[string]any{"taskId": task, "id": "mine", "url": c.URL + "/b"}, &config); err != nil {
		t.Fatal(err)
	}
	if err := tl.rpc("ada", "agents/dev-1", "GetTaskPushNotificationConfig", map[string]any{"taskId": task, "id": "mine"}, &again); err != nil || again.URL != c.URL+"/b" || config.ID != "mine" {
		t.Errorf("created %+v, read %+v, %v", config, again, err)
	}
	var list a2a.ListTaskPushConfigResponse
	if err := tl.rpc("ada", "agents/dev-1", "ListTaskPushNotificationConfigs", map[string]any{"taskId": task}, &list); err != nil || len(list.Configs) != 1 {
		t.Errorf("listed %+v, %v", list, err)
	}
	for _, method := range []string{"GetTaskPushNotificationConfig", "ListTaskPushNotificationConfigs", "DeleteTaskPushNotificationConfig", "CreateTaskPushNotificationConfig"} {
		if err := tl.rpc("eve", "agents/dev-1", method, map[string]any{"taskId": task, "id": "mine", "url": c.URL}, nil); err == nil || !strings.Contains(err.Error(), "-32001") {
			t.Errorf("%s of another one's task: %v, want that there is no such task", method, err)
		}
	}
	for _, url := range []string{"ftp://example.com/", "http://", "http://u:p@example.com/", "http://" + strings.Repeat("x", 3000)} {
		err := tl.rpc("ada", "agents/dev-1", "CreateTaskPushNotificationConfig", map[string]any{"taskId": task, "url": url}, nil)
		if err == nil || !strings.Contains(err.Error(), "-32602") {
			t.Errorf("url %.40s: %v, want invalid parameters", url, err)
		}
		if err := tl.rpc("ada", "agents/dev-1", "SendMessage", say("bad "+url[:4], "wait", map[string]any{"url": url}), nil); err == nil {
			t.Errorf("a message with the push url %.40s was accepted", url)
		}
	}
	if err := tl.rpc("ada", "agents/dev-1", "CreateTaskPushNotificationConfig", map[string]any{"taskId": task, "id": "other", "url": c.URL + "/c"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := tl.rpc("ada", "agents/dev-1", "DeleteTaskPushNotificationConfig", map[string]any{"taskId": task, "id": "other"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := tl.rpc("ada", "agents/dev-1", "GetTaskPushNotificationConfig", map[string]any{"taskId": task, "id": "other"}, nil); err == nil {
		t.Error("what was deleted is still there")
	}
	close(goOn)
	if s := states(c.await(t, 5)[3:]); !slices.Equal(s, []string{"artifact", "TASK_STATE_COMPLETED"}) {
		t.Errorf("a configuration made while the task was working was told %v", s)
	}
	messages, err := tl.hub.Messages(as(t.Context(), "ada"), conclave.ListMessages{})
	if err != nil || len(messages) != 4 {
		t.Errorf("%d messages are kept, %v; want the two that were accepted, and their answers", len(messages), err)
	}
}

func TestPushIsRepeatedInOrderAndOverARestart(t *testing.T) {
	path, local := filepath.Join(t.TempDir(), "hub.db"), &a2awire.Local{}
	tl := startTeller(t, path, local)
	tl.agent("dev-1", "developer", echo)
	c := newTold(t)
	c.answer = func(n int) int {
		if n <= 2 {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	}
	if err := tl.rpc("ada", "agents/dev-1", "SendMessage", say("m1", "hello", map[string]any{"url": c.URL}), nil); err != nil {
		t.Fatal(err)
	}
	c.await(t, 1)
	tl.stop()
	startTeller(t, path, local)
	got := states(c.await(t, 5))
	if want := []string{"TASK_STATE_WORKING", "TASK_STATE_WORKING", "TASK_STATE_WORKING", "artifact", "TASK_STATE_COMPLETED"}; !slices.Equal(got, want) {
		t.Errorf("the client was told %v, want %v", got, want)
	}
}

// A message that comes again, because its acknowledgement got lost, has its
// client told once of each thing.
func TestPushOfAMessageThatComesAgain(t *testing.T) {
	tl := startTeller(t, filepath.Join(t.TempDir(), "hub.db"), &a2awire.Local{})
	tl.agent("dev-1", "developer", echo)
	c := newTold(t)
	var sent sentTask
	for range 3 {
		if err := tl.rpc("ada", "agents/dev-1", "SendMessage", say("m1", "hello", map[string]any{"url": c.URL}), &sent); err != nil {
			t.Fatal(err)
		}
	}
	var list a2a.ListTaskPushConfigResponse
	if err := tl.rpc("ada", "agents/dev-1", "ListTaskPushNotificationConfigs", map[string]any{"taskId": sent.Task.ID}, &list); err != nil || len(list.Configs) != 1 {
		t.Errorf("%d configurations are kept, %v; want one", len(list.Configs), err)
	}
}

// oneClient is a store of one client, who is told once.
type oneClient struct {
	hub.PushStore
	push  hub.Push
	taken bool
	lease time.Time // when it ends
	ended chan hub.EndPush
}

func (c *oneClient) TakePushes(ctx context.Context, _ int, lease, _ time.Duration) ([]hub.Push, error) {
	if c.taken {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.taken, c.lease = true, time.Now().Add(lease)
	return []hub.Push{c.push}, nil
}

func (c *oneClient) EndPush(_ context.Context, in hub.EndPush) error {
	c.ended <- in
	return nil
}

// A client that is slow is given back before another hub may take it on, which
// would tell it out of order.
func TestASlowClientIsGivenBackInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &oneClient{ended: make(chan hub.EndPush, 1)}
		c.push.URL, c.push.Changes = "http://client", []hub.Change{{Seq: 1, State: conclave.TaskWorking}, {Seq: 2, State: conclave.TaskCompleted}}
		c.push.Task.State = conclave.TaskCompleted
		for i := range 9 {
			c.push.Task.Artifacts = append(c.push.Task.Artifacts, &a2a.Artifact{ID: a2a.ArtifactID(fmt.Sprint(i)), Parts: a2a.ContentParts{a2a.NewTextPart("part")}})
		}
		connect(t, hub.NewMemory(nil), func(o *hub.Options) {
			o.Push = hub.PushOptions{Store: c, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				select {
				case <-time.After(9 * time.Second):
					return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			})}
		})
		end := <-c.ended
		if !time.Now().Before(c.lease) || end.Told != 1 || end.Failed == "" {
			t.Errorf("given back %v after its time, with %+v", time.Since(c.lease), end)
		}
	})
}

func TestPushFollowsNoRedirectAndGivesUp(t *testing.T) {
	tl := startTeller(t, filepath.Join(t.TempDir(), "hub.db"), &a2awire.Local{}, func(o *hub.Options) { o.Push.MaxAge = time.Millisecond })
	tl.agent("dev-1", "developer", echo)
	c := newTold(t)
	c.answer = func(int) int { return http.StatusTemporaryRedirect }
	ctx := as(t.Context(), "ada")
	gone := make(chan conclave.Event)
	go func() {
		for e, err := range tl.db.Events().Watch(ctx, conclave.EventFilter{Kinds: []conclave.EventKind{conclave.EventPushFailed}}) {
			if err == nil {
				gone <- e
			}
			return
		}
	}()
	if err := tl.rpc("ada", "agents/dev-1", "SendMessage", say("m1", "hello", map[string]any{"url": c.URL}), nil); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-gone:
		if !strings.Contains(e.Text, "307") {
			t.Errorf("given up with %q, want what the client answered", e.Text)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it was not given up")
	}
	if c.visited {
		t.Error("a redirect was followed")
	}
}

func TestPushToOldClients(t *testing.T) {
	tl := startTeller(t, filepath.Join(t.TempDir(), "hub.db"), &a2awire.Local{})
	tl.agent("dev-1", "developer", echo)
	c := newTold(t)
	err := tl.rpc("ada", "agents/dev-1", "message/send", map[string]any{
		"message":       map[string]any{"kind": "message", "messageId": "m1", "role": "user", "parts": []any{map[string]any{"kind": "text", "text": "hello"}}},
		"configuration": map[string]any{"blocking": false, "pushNotificationConfig": map[string]any{"url": c.URL, "token": "t0k"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := c.await(t, 2)
	var last struct {
		Kind      string
		Status    struct{ State string }
		Artifacts []json.RawMessage
	}
	if err := json.Unmarshal([]byte(got[1].body), &last); err != nil || last.Kind != "task" || last.Status.State != "completed" || len(last.Artifacts) != 1 {
		t.Errorf("a client of A2A 0.3 was told %s, %v; want the completed task", got[1].body, err)
	}
	if got[0].header.Get("X-A2A-Notification-Token") != "t0k" {
		t.Errorf("without its token: %v", got[0].header)
	}
}

func TestCardTellsOfPush(t *testing.T) {
	for _, tells := range []bool{true, false} {
		tl := startTeller(t, filepath.Join(t.TempDir(), "hub.db"), &a2awire.Local{}, func(o *hub.Options) {
			if !tells {
				o.Push = hub.PushOptions{}
			}
		})
		tl.agent("dev-1", "developer", echo)
		resp, err := http.Get(tl.face.URL + "/a2a/agents/dev-1/.well-known/agent-card.json")
		if err != nil {
			t.Fatal(err)
		}
		var card struct {
			Capabilities struct{ PushNotifications bool }
		}
		if err := json.NewDecoder(resp.Body).Decode(&card); err != nil || card.Capabilities.PushNotifications != tells {
			t.Errorf("a hub that tells clients: %t; its card says %+v, %v", tells, card, err)
		}
		resp.Body.Close()
		err = tl.rpc("ada", "agents/dev-1", "SendMessage", say("m1", "hello", map[string]any{"url": "http://example.invalid/"}), nil)
		if !tells && (err == nil || !strings.Contains(err.Error(), "-32003")) {
			t.Errorf("a hub that tells nobody took a push configuration: %v", err)
		}
	}
}
