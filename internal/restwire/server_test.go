package restwire_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/restwire"
)

// send makes a request by hand and returns the answer with its body.
func send(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // without following redirects
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

func problem(t *testing.T, resp *http.Response, body string) restwire.Problem {
	t.Helper()
	if kind := resp.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("content type %q", kind)
	}
	var p restwire.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if p.Status != resp.StatusCode || p.Title != http.StatusText(p.Status) || p.Detail == "" || p.Kind == "" {
		t.Errorf("status %d with the problem %+v", resp.StatusCode, p)
	}
	return p
}

func TestBadInput(t *testing.T) {
	e := &echo{}
	base := serve(t, e.tables(), "/api") + "/api"
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		field, says              string
	}{
		{"unknown field", "POST", "/runs", `{"task":"x","repo":"/r","workfow":"y"}`, nil, 422, "workfow", `did you mean "workflow"?`},
		{"nothing like a known field", "POST", "/runs", `{"task":"x","repo":"/r","zzzzzzzz":1}`, nil, 422, "zzzzzzzz", "known are brain, head, idempotency_key, into, repo, task, workflow"},
		{"unknown nested field", "POST", "/motions", `{"motion":{"rule":{"quorom":1}}}`, nil, 422, "motion.rule.quorom", `did you mean "quorum"?`},
		{"unknown field in a list", "POST", "/plans", `{"run":"r","author":"a","content":{"steps":[{},{"keey":"k"}]}}`, nil, 422, "content.steps[1].keey", `did you mean "key"?`},
		{"a field in capitals", "POST", "/runs", `{"task":"x","repo":"/r","Task":"y"}`, nil, 422, "Task", `did you mean "task"?`},
		{"missing field", "POST", "/runs", `{"task":"x"}`, nil, 422, "repo", "required"},
		{"empty body", "POST", "/runs", ``, nil, 422, "repo", "required"},
		{"wrong type", "POST", "/runs", `{"task":5,"repo":"/r"}`, nil, 422, "task", "expected string"},
		{"null for a required field", "POST", "/runs", `{"task":null,"repo":"/r"}`, nil, 422, "task", "expected string"},
		{"value that is none of the known", "POST", "/approvals/a1", `{"decision":"maybe"}`, nil, 422, "decision", "approve, reject, abstain"},
		{"fraction for an integer", "POST", "/plans", `{"run":"r","author":"a","content":{},"base":1.5}`, nil, 422, "base", "integer"},
		{"integer out of range", "POST", "/plans", `{"run":"r","author":"a","content":{},"base":1e30}`, nil, 422, "base", "number"},
		{"list for an object", "POST", "/runs", `["task"]`, nil, 400, "", "expected object"},
		{"null", "POST", "/runs", `null`, nil, 400, "", "not null"},
		{"half a body", "POST", "/runs", `{"task":"x"`, nil, 400, "", "malformed"},
		{"two bodies", "POST", "/runs", `{"task":"x","repo":"/r"} {}`, nil, 400, "", "malformed"},
		{"no JSON", "POST", "/runs", `task=x&repo=r`, nil, 400, "", "byte"},
		{"too deep", "POST", "/messages", deep, nil, 400, "", "depth"},
		{"a form", "POST", "/runs", `task=x`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "", "application/json"},
		{"too large", "POST", "/runs", `{"task":"` + strings.Repeat("x", 16<<20) + `"}`, nil, 413, "", "16777216"},
		{"body and path differ", "POST", "/runs/r1/cancel", `{"id":"r2"}`, nil, 422, "id", `"r2"`},
		{"body and header differ", "POST", "/runs/r1/cancel", `{"idempotency_key":"a"}`, []string{"Idempotency-Key", "b"}, 422, "idempotency_key", `"b"`},
		{"input in the query of a POST", "POST", "/runs?task=x", `{}`, nil, 422, "", "body"},
		{"unknown parameter", "GET", "/runs?stauts=done", "", nil, 422, "stauts", `did you mean "status"?`},
		{"no number", "GET", "/runs?limit=many", "", nil, 422, "limit", "integer"},
		{"no flag", "GET", "/agents?live=perhaps", "", nil, 422, "live", "boolean"},
		{"twice", "GET", "/runs?limit=1&limit=2", "", nil, 422, "limit", "2 times"},
		{"unknown status", "GET", "/runs?status=finished", "", nil, 422, "status", "done"},
		{"path field in the query", "GET", "/runs/r1?id=r2", "", nil, 422, "id", "path"},
		{"missing parameter", "GET", "/plans/p1/diff?from=1", "", nil, 422, "to", "required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e.set(nil, nil)
			resp, body := send(t, tt.method, base+tt.path, tt.body, tt.header...)
			if resp.StatusCode != tt.status {
				t.Fatalf("got %d, want %d: %s", resp.StatusCode, tt.status, body)
			}
			p := problem(t, resp, body)
			if p.Kind != conclave.ErrInvalid.Error() || len(p.Errors) == 0 {
				t.Fatalf("got %+v", p)
			}
			if p.Errors[0].Field != tt.field || !strings.Contains(p.Errors[0].Message, tt.says) {
				t.Errorf("got %+v, want the field %q and %q", p.Errors, tt.field, tt.says)
			}
			if in, _ := e.asked(); in != nil {
				t.Errorf("the service was asked with %+v", in)
			}
		})
	}
}

func TestGoodInput(t *testing.T) {
	e := &echo{}
	base := serve(t, e.tables(), "")
	tests := []struct {
		name, method, path, body string
		header                   []string
		want                     any
	}{
		{"key in a header", "POST", "/runs", `{"task":"x","repo":"/r"}`, []string{"Idempotency-Key", "k1"}, conclave.StartRun{Key: "k1", Task: "x", Repo: "/r"}},
		{"key in both", "POST", "/runs/r1/cancel", `{"idempotency_key":"k1"}`, []string{"Idempotency-Key", "k1"}, conclave.NameRun{Key: "k1", ID: "r1"}},
		{"no body", "POST", "/runs/r1/cancel", "", nil, conclave.NameRun{ID: "r1"}},
		{"id in path and body", "POST", "/runs/r1/cancel", `{"id":"r1"}`, nil, conclave.NameRun{ID: "r1"}},
		{"a slash in an id", "GET", "/runs/a%2Fb", "", nil, conclave.GetRun{ID: "a/b"}},
		{"page and status", "GET", "/runs?status=done&limit=7&before=r9", "", nil, conclave.ListRuns{Status: conclave.RunDone, Page: conclave.Page{Limit: 7, Before: "r9"}}},
		{"an empty parameter", "GET", "/runs?status=&limit=", "", nil, conclave.ListRuns{}},
		{"repeated list", "GET", "/events?kinds=run.started&kinds=run.ended", "", nil, conclave.EventFilter{Kinds: []conclave.EventKind{"run.started", "run.ended"}}},
		{"list with commas", "GET", "/events?kinds=run.started,+run.ended&after=9007199254740993", "", nil, conclave.EventFilter{After: 9007199254740993, Kinds: []conclave.EventKind{"run.started", "run.ended"}}},
		{"flag", "GET", "/agents?live=true", "", nil, conclave.ListAgents{Live: true}},
		{"JSON with a charset", "POST", "/runs", `{"task":"x","repo":"/r"}`, []string{"Content-Type", "application/json; charset=utf-8"}, conclave.StartRun{Task: "x", Repo: "/r"}},
		{"little of a motion", "POST", "/motions", `{"motion":{"kind":"approve","title":"t"}}`, nil, conclave.ConveneMotion{Motion: conclave.Motion{Kind: conclave.MotionApprove, Title: "t"}}},
		{"a large integer", "POST", "/messages", `{"to":"agents/a","text":"t","call":{"tokens":9007199254740993}}`, nil, conclave.SendMessage{To: "agents/a", Text: "t", Call: conclave.CallPath{Tokens: 9007199254740993}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e.set(nil, nil)
			resp, body := send(t, tt.method, base+tt.path, tt.body, tt.header...)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("got %d: %s", resp.StatusCode, body)
			}
			if got, _ := e.asked(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %#v\nwant %#v", got, tt.want)
			}
		})
	}
}

func TestEmptyListIsAList(t *testing.T) {
	e := &echo{}
	base := serve(t, e.tables(), "")
	if _, body := send(t, "GET", base+"/runs", ""); strings.TrimSpace(body) != "[]" {
		t.Errorf("got %s", body)
	}
}

func TestListsAsLines(t *testing.T) {
	e := &echo{}
	base := serve(t, e.tables(), "")
	for _, tt := range []struct {
		list   []conclave.Agent
		accept string
		kind   string
		want   string
	}{
		{[]conclave.Agent{{Name: "a"}, {Name: "b"}}, "application/x-ndjson", "application/x-ndjson", "a b"},
		{nil, "application/x-ndjson", "application/x-ndjson", ""},
		{[]conclave.Agent{{Name: "a"}}, "application/json, application/x-ndjson", "application/json", ""},
	} {
		e.set(tt.list, nil)
		resp, body := send(t, "GET", base+"/agents", "", "Accept", tt.accept)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != tt.kind {
			t.Errorf("%s: %d with %s", tt.accept, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if tt.kind == "application/json" {
			continue
		}
		var names []string
		for line := range strings.Lines(body) {
			var a conclave.Agent
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				t.Errorf("line %q: %v", line, err)
			}
			names = append(names, string(a.Name))
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("the lines are of %q, want %q", got, tt.want)
		}
	}
}

func TestWhoMay(t *testing.T) {
	e := &echo{}
	base := serve(t, e.tables(), "")
	tests := []struct {
		name, method, path, authorization string
		status                            int
		challenge                         string
	}{
		{"no token", "GET", "/runs", "", 401, `Bearer realm="conclave"`},
		{"wrong token", "GET", "/runs", "Bearer wrong", 401, `Bearer realm="conclave", error="invalid_token"`},
		{"no token for a stream", "GET", "/events", "", 401, `Bearer realm="conclave"`},
		{"no permission at all", "GET", "/runs", "Bearer nothing", 403, ""},
		{"it can't be told who calls", "GET", "/runs", "Bearer outage", 500, ""},
		{"enough", "GET", "/runs", "Bearer read", 200, ""},
		{"not enough", "POST", "/runs/r1/cancel", "Bearer read", 403, ""},
		{"not enough, as a service's", "POST", "/worktrees/w1/merge", "Bearer read", 403, ""},
		{"the description is public", "GET", "/openapi.json", "", 200, ""},
		{"an unknown path tells nothing more", "GET", "/nowhere", "", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e.set(nil, nil)
			body := ""
			if strings.HasSuffix(tt.path, "merge") {
				body = `{"head":"h","message":"m"}`
			}
			resp, text := send(t, tt.method, base+tt.path, body, "Authorization", tt.authorization)
			if resp.StatusCode != tt.status {
				t.Fatalf("got %d, want %d: %s", resp.StatusCode, tt.status, text)
			}
			if got := resp.Header.Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("challenge %q, want %q", got, tt.challenge)
			}
			if strings.Contains(text, "hunter2") {
				t.Errorf("the text of an internal error is shown: %s", text)
			}
			if in, _ := e.asked(); tt.status != 200 && in != nil {
				t.Errorf("the service was asked with %+v", in)
			}
			if tt.status == 401 || tt.status == 403 {
				if p := problem(t, resp, text); p.Kind != conclave.ErrDenied.Error() {
					t.Errorf("kind %q", p.Kind)
				}
			}
		})
	}
}

func TestUnknownPathAndMethod(t *testing.T) {
	e := &echo{}
	base := serve(t, e.tables(), "/api")
	for _, path := range []string{"/", "/runs", "/api", "/api/nowhere", "/api/runs/r1/steps", "/api/runs/"} {
		resp, body := send(t, "GET", base+path, "")
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d", path, resp.StatusCode)
			continue
		}
		if p := problem(t, resp, body); p.Kind != conclave.ErrNotFound.Error() {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for path, allow := range map[string]string{"/api/runs": "GET, HEAD, POST", "/api/runs/r1": "GET, HEAD", "/api/runs/r1/cancel": "POST"} {
		resp, body := send(t, "DELETE", base+path, "")
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != allow {
			t.Errorf("%s: got %d, Allow %q, want %q", path, resp.StatusCode, resp.Header.Get("Allow"), allow)
			continue
		}
		problem(t, resp, body)
	}
}

// A panic costs its own call, and its text stays inside.
func TestPanicIsInternal(t *testing.T) {
	e := &echo{hook: func(context.Context) error { panic("secret") }}
	base := serve(t, e.tables(), "")
	for range 2 {
		resp, body := send(t, "GET", base+"/runs", "")
		if p := problem(t, resp, body); p.Status != 500 || strings.Contains(body, "secret") {
			t.Errorf("got %+v", p)
		}
	}
}

func TestNewHandlerRefusals(t *testing.T) {
	plans := conclave.Table{Service: conclave.ServicePlans, Operations: conclave.PlanOperations(), Impl: echoPlans{&echo{}}}
	op := func(route string) conclave.Table {
		return conclave.Table{Service: "s", Impl: echoModels{&echo{}}, Operations: []conclave.Operation{
			conclave.Op("x", route, conclave.PermitRead, conclave.Reads, conclave.Plans.Propose, "X."),
		}}
	}
	tests := map[string]restwire.Options{
		"nobody to ask who calls": {Tables: []conclave.Table{plans}},
		"nothing that answers":    {Tables: []conclave.Table{{Service: "s"}}, Authenticate: authenticate},
		"the same table twice":    {Tables: []conclave.Table{plans, plans}, Authenticate: authenticate},
		"an unknown path field":   {Tables: []conclave.Table{op("POST /x/{nothing}")}, Authenticate: authenticate},
		"an object in a query":    {Tables: []conclave.Table{op("GET /x")}, Authenticate: authenticate},
		"conflicting routes":      {Tables: []conclave.Table{plans, op("POST /plans")}, Authenticate: authenticate},
		"a bad prefix":            {Authenticate: authenticate, Prefix: "api/"},
	}
	for name, o := range tests {
		if _, err := restwire.NewHandler(o); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

// What goes through a gateway keeps the fields that were wrong.
func TestGatewayPassesErrorsOn(t *testing.T) {
	e := &echo{}
	behind := dial(t, serve(t, e.tables(), ""), "")
	front, err := restwire.NewHandler(restwire.Options{Authenticate: authenticate, Logger: slog.New(slog.DiscardHandler),
		Tables: []conclave.Table{{Service: conclave.ServiceWorkflow, Operations: conclave.WorkflowOperations(), Impl: behind.Workflows()}}})
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(front)
	t.Cleanup(gateway.Close)

	e.set(nil, conclave.Errorf(conclave.ErrConflict, "the run has ended"))
	resp, body := send(t, "POST", gateway.URL+"/runs/r1/cancel", "")
	if p := problem(t, resp, body); p.Status != http.StatusConflict || p.Detail != "the run has ended" {
		t.Errorf("got %+v", p)
	}

	// A service of a later version may know a rule that the gateway does not.
	strict := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"title":"x","status":422,"detail":"task: too vague","kind":"invalid","errors":[{"field":"task","message":"too vague"}]}`)
	}))
	t.Cleanup(strict.Close)
	_, err = dial(t, strict.URL, "").Workflows().Start(t.Context(), conclave.StartRun{})
	e.set(nil, err)
	resp, body = send(t, "POST", gateway.URL+"/runs/r1/cancel", "")
	if p := problem(t, resp, body); p.Status != 422 || len(p.Errors) != 1 || p.Errors[0] != (restwire.FieldError{Field: "task", Message: "too vague"}) {
		t.Errorf("got %+v", p)
	}
}

// Whatever is sent, reading it never panics, and what it refuses is invalid.
func FuzzDecode(f *testing.F) {
	inputs, err := restwire.NewInputs((&echo{}).tables())
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{
		``, `{}`, `null`, `[]`, `{"task":"x","repo":"/r"}`, `{"motion":{"rule":{"name":[]},"voters":{},"material":{"a":1}}}`,
		`{"content":{"steps":[null,{"key":1},[]],"questions":[{"options":{}}]}}`, `{"decision":{},"id":[]}`, `{"agent":{"seen":5,"state":{}}}`,
		`{"":{"":""}}`, `{"motion.rule":1}`, `{"a[0]":[{"b":{}}]}`, `{"ballot":{"ranking":[["x"]]}}`, "{\"task\":\"\xff\"}", `{"call":{"hops":1e400}}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, table := range (&echo{}).tables() {
			for _, op := range table.Operations {
				if in, err := inputs.Decode(op.Name, []byte(body)); err != nil && !errors.Is(err, conclave.ErrInvalid) {
					t.Errorf("%s: %T, %v", op.Name, in, err)
				}
			}
		}
	})
}
