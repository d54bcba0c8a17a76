package mcpwire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"conclave"
	"conclave/internal/mcpwire"
)

// maxTokens is what the whole list of tools may cost each session of a client.
const maxTokens = 3000

func TestToolListIsSmall(t *testing.T) {
	session := inMemory(t, (&house{}).server(t, false), everyone(), nil)
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, tool := range list.Tools {
		text, err := json.Marshal(tool)
		if err != nil {
			t.Fatal(err)
		}
		total += len(text)
		t.Logf("%5d bytes %s", len(text), tool.Name)
	}
	t.Logf("%d tools, %d bytes, about %d tokens", len(list.Tools), total, total/4)
	if total/4 >= maxTokens {
		t.Errorf("the list of tools costs about %d tokens; the most is %d", total/4, maxTokens)
	}
}

func TestToolsAreTheMarkedOperations(t *testing.T) {
	for _, all := range []bool{false, true} {
		h := &house{}
		session := inMemory(t, h.server(t, all), everyone(), nil)
		list, err := session.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tools := map[string]*mcp.Tool{}
		for _, tool := range list.Tools {
			tools[tool.Name] = tool
		}
		want := 0
		for _, table := range h.tables() {
			for _, op := range table.Operations {
				if op.Effect == conclave.Streams || !(all || op.Tool) {
					continue
				}
				want++
				tool := tools[op.Name]
				if tool == nil {
					t.Errorf("%s is no tool", op.Name)
					continue
				}
				if tool.Description != op.Summary || tool.Annotations.ReadOnlyHint != (op.Effect == conclave.Reads) {
					t.Errorf("%s: %q, annotations %+v", op.Name, tool.Description, tool.Annotations)
				}
			}
		}
		if len(tools) != want {
			t.Errorf("%d tools, want %d", len(tools), want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	session := inMemory(t, (&house{}).server(t, true), everyone(), nil)
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	destructive := map[string]bool{"approval_decide": true, "workflow_cancel": true, "task_cancel": true, "branch_deliver": true, "decision_resolve": true}
	for _, tool := range list.Tools {
		a := tool.Annotations
		if got := a.DestructiveHint != nil && *a.DestructiveHint; got != destructive[tool.Name] {
			t.Errorf("%s: destructive %v", tool.Name, got)
		}
		if a.ReadOnlyHint != a.IdempotentHint || a.ReadOnlyHint == (a.DestructiveHint != nil) {
			t.Errorf("%s: %+v", tool.Name, a)
		}
	}
}

func TestInputSchemaSaysWhatIsNeeded(t *testing.T) {
	session := inMemory(t, (&house{}).server(t, false), everyone(), nil)
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		if tool.Name != "approval_decide" {
			continue
		}
		got, err := json.Marshal(tool.InputSchema)
		if err != nil {
			t.Fatal(err)
		}
		const want = `{"properties":{"decision":{"description":"approve or reject","enum":["approve","reject","abstain"],"type":"string"},` +
			`"id":{"description":"The approval's id, or a run's id for its delivery","type":"string"},` +
			`"idempotency_key":{"type":"string"},"option":{"description":"Which of its options to take, when it has some","type":"string"},"reason":{"type":"string"}},"required":["id","decision"],"type":"object"}`
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What a tool returns is what its output schema says, with nothing set too.
func TestOutputSchemaIsTrue(t *testing.T) {
	h := &house{}
	session := inMemory(t, h.server(t, false), everyone(), nil)
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	schemas := map[string]*jsonschema.Resolved{}
	for _, tool := range list.Tools {
		text, err := json.Marshal(tool.OutputSchema)
		if err != nil {
			t.Fatal(err)
		}
		var s jsonschema.Schema
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if schemas[tool.Name], err = s.Resolve(nil); err != nil {
			t.Fatal(err)
		}
	}
	for tool, arguments := range map[string]any{
		"workflow_start":  map[string]any{"task": "t", "repo": "/r"},
		"workflow_status": map[string]any{"id": "r1"},
		"workflow_list":   map[string]any{},
		"plan_get":        map[string]any{"id": "p1"},
		"decide":          map[string]any{"motion": map[string]any{"title": "t"}},
		"decision_get":    map[string]any{"id": "m1"},
	} {
		result := use(t, session, tool, arguments)
		if err := schemas[tool].Validate(result.StructuredContent); err != nil {
			t.Errorf("%s: %v", tool, err)
		}
	}
}

func TestCallTool(t *testing.T) {
	h := &house{}
	session := inMemory(t, h.server(t, false), everyone(), nil)
	run := into[conclave.Run](t, use(t, session, "workflow_start", map[string]any{"task": "add <tests> & more", "repo": "/r", "idempotency_key": "k"}))
	if run.ID != "r1" || run.Task != "add <tests> & more" || run.Human != "ada" {
		t.Errorf("run %+v", run)
	}
	if want := (conclave.StartRun{Key: "k", Task: "add <tests> & more", Repo: "/r"}); h.started[0] != want {
		t.Errorf("asked for %+v, want %+v", h.started[0], want)
	}
	type runs struct{ Items []conclave.Run }
	if got := into[runs](t, use(t, session, "workflow_list", map[string]any{"limit": 2})); len(got.Items) != 2 || got.Items[1].ID != "r2" {
		t.Errorf("list %+v", got)
	}
	if got := into[runs](t, use(t, session, "workflow_list", nil)); got.Items == nil || len(got.Items) != 0 {
		t.Errorf("an empty list is %+v", got)
	}
	into[conclave.Motion](t, use(t, session, "decide", json.RawMessage(`{"motion":{"kind":"rank","title":"t","options":["a","b"],"rule":{"name":"condorcet","quorum":2},"material":{"n":12345678901234567890}}}`)))
	motion := h.convene[0].Motion
	if motion.Rule.Quorum != 2 || !reflect.DeepEqual(motion.Options, []string{"a", "b"}) || string(motion.Material) != `{"n":12345678901234567890}` {
		t.Errorf("motion %+v with %s", motion, motion.Material)
	}
}

func TestErrorsHaveTheirKind(t *testing.T) {
	h := &house{}
	session := inMemory(t, h.server(t, false), everyone(), nil)
	check := func(name string, result *mcp.CallToolResult, kind error, message string) {
		t.Helper()
		if text := textOf(t, result); !result.IsError || !strings.HasPrefix(text, kind.Error()+": ") || !strings.Contains(text, message) {
			t.Errorf("%s: error %v, %q; want %v with %q", name, result.IsError, text, kind, message)
		}
		detail, _ := result.Meta["conclave/error"].(map[string]any)
		if detail["kind"] != kind.Error() || !strings.Contains(fmt.Sprint(detail["message"]), message) {
			t.Errorf("%s: _meta %v", name, result.Meta)
		}
	}
	for i, kind := range conclave.Kinds() {
		check(kind.Error(), use(t, session, "workflow_cancel", map[string]any{"id": fmt.Sprint(i)}), kind, "because of "+fmt.Sprint(i))
	}
	hidden := use(t, session, "workflow_cancel", map[string]any{"id": "x"})
	check("no kind", hidden, conclave.ErrInternal, "internal error")
	if strings.Contains(textOf(t, hidden), "hunter2") {
		t.Errorf("the text of an internal error is shown: %s", textOf(t, hidden))
	}
	check("a panic", use(t, session, "agent_list", nil), conclave.ErrInternal, "internal error")

	check("unknown field", use(t, session, "workflow_start", map[string]any{"task": "t", "repo": "/r", "brian": "x"}), conclave.ErrInvalid, `brian: unknown field; did you mean "brain"?`)
	check("missing field", use(t, session, "workflow_start", map[string]any{"task": "t"}), conclave.ErrInvalid, "repo: required")
	check("no arguments", use(t, session, "workflow_start", nil), conclave.ErrInvalid, "task: required")
	check("wrong type", use(t, session, "workflow_status", map[string]any{"id": 5}), conclave.ErrInvalid, "id: expected string")
	check("none of the known", use(t, session, "approval_decide", map[string]any{"id": "a", "decision": "maybe"}), conclave.ErrInvalid, "decision: ")
	check("no object", use(t, session, "workflow_start", []string{"task"}), conclave.ErrInvalid, "object")
	if len(h.started) != 0 {
		t.Errorf("bad input started %+v", h.started)
	}
}

func TestUnknownTool(t *testing.T) {
	session := inMemory(t, (&house{}).server(t, false), everyone(), nil)
	for _, name := range []string{"nothing", "event_watch", "worktree_merge", ""} {
		_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name})
		failure, ok := errors.AsType[*jsonrpc.Error](err)
		if !ok || failure.Code != jsonrpc.CodeInvalidParams {
			t.Errorf("%q: got %v, want invalid params", name, err)
		}
	}
}

func TestPermissionsCount(t *testing.T) {
	h := &house{}
	session := inMemory(t, h.server(t, false), person("reader", conclave.PermitRead), nil)
	if result := use(t, session, "workflow_list", nil); result.IsError {
		t.Errorf("reading: %s", textOf(t, result))
	}
	result := use(t, session, "workflow_start", map[string]any{"task": "t", "repo": "/r"})
	if text := textOf(t, result); !result.IsError || !strings.HasPrefix(text, "denied: ") {
		t.Errorf("starting: %s", text)
	}
	if len(h.started) != 0 {
		t.Error("it was started all the same")
	}
	nobody := inMemory(t, h.server(t, false), conclave.Caller{}, nil)
	if result := use(t, nobody, "workflow_list", nil); !result.IsError {
		t.Error("a caller without permissions may read")
	}
}

func TestHugeArgument(t *testing.T) {
	h := &house{}
	session := inMemory(t, h.server(t, false), everyone(), nil)
	huge := strings.Repeat("é", 3<<20)
	if run := into[conclave.Run](t, use(t, session, "workflow_start", map[string]any{"task": huge, "repo": "/r"})); run.Task != huge {
		t.Errorf("%d bytes became %d", len(huge), len(run.Task))
	}
	deep := json.RawMessage(`{"task":"t","repo":"/r","x":` + strings.Repeat("[", 900) + strings.Repeat("]", 900) + `}`)
	if result := use(t, session, "workflow_start", deep); !result.IsError {
		t.Error("a deep argument passes")
	}
}

func TestResources(t *testing.T) {
	h := &house{}
	session := inMemory(t, h.server(t, false), everyone(), nil)
	templates, err := session.ListResourceTemplates(t.Context(), nil)
	if err != nil || len(templates.ResourceTemplates) != 3 {
		t.Fatalf("templates %+v, %v", templates, err)
	}
	for uri, want := range map[string]string{
		"conclave://runs/r1":        `"id":"r1"`,
		"conclave://runs/a%2Fb%20c": `"id":"a/b c"`,
		"conclave://plans/p1":       `"version":3`,
		"conclave://decisions/m1":   `"id":"m1"`,
	} {
		got, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if c := got.Contents[0]; c.URI != uri || c.MIMEType != "application/json" || !strings.Contains(c.Text, want) {
			t.Errorf("%s: %+v", uri, c)
		}
	}
	const notFound = -32602 // invalid params, as 2026-07-28 has it
	for uri, code := range map[string]int64{
		"conclave://runs/none":    notFound,
		"conclave://nothing/r1":   notFound,
		"conclave://runs/":        notFound,
		"conclave://runs/../../x": notFound,
	} {
		_, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		if failure, ok := errors.AsType[*jsonrpc.Error](err); !ok || failure.Code != code {
			t.Errorf("%s: got %v, want the code %d", uri, err, code)
		}
	}
	_, err = inMemory(t, h.server(t, false), conclave.Caller{}, nil).ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "conclave://runs/r1"})
	if failure, ok := errors.AsType[*jsonrpc.Error](err); !ok || !strings.HasPrefix(failure.Message, "denied: ") || string(failure.Data) != `{"kind":"denied"}` {
		t.Errorf("without permission: %v", err)
	}
}

func TestPrompts(t *testing.T) {
	session := inMemory(t, (&house{}).server(t, false), everyone(), nil)
	list, err := session.ListPrompts(t.Context(), nil)
	if err != nil || len(list.Prompts) != 3 {
		t.Fatalf("prompts %+v, %v", list, err)
	}
	tools, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Prompts {
		arguments := map[string]string{}
		for _, a := range p.Arguments {
			arguments[a.Name] = "<" + a.Name + " {task} {repo}>"
		}
		got, err := session.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: p.Name, Arguments: arguments})
		if err != nil {
			t.Fatal(err)
		}
		text := got.Messages[0].Content.(*mcp.TextContent).Text
		for _, value := range arguments {
			if strings.Count(text, value) != 1 {
				t.Errorf("%s: %q is not once in %q", p.Name, value, text)
			}
		}
		named := 0
		for _, tool := range tools.Tools {
			if strings.Contains(text, tool.Name) {
				named++
			}
		}
		if named < 2 {
			t.Errorf("%s names %d tools: %s", p.Name, named, text)
		}
		if len(text) > 1200 {
			t.Errorf("%s has %d bytes", p.Name, len(text))
		}
	}
	got, err := session.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "review"})
	if err != nil || strings.Contains(got.Messages[0].Content.(*mcp.TextContent).Text, "{") {
		t.Errorf("without arguments: %+v, %v", got, err)
	}
	if _, err := session.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "plan", Arguments: map[string]string{"task": " "}}); err == nil || !strings.Contains(err.Error(), "task") {
		t.Errorf("without the task: %v", err)
	}
}

// A client that asked for it hears that a long call runs, and nothing after its end.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var heard []mcp.ProgressNotificationParams
		h := &house{get: func(ctx context.Context, in conclave.GetRun) (conclave.RunDetail, error) {
			time.Sleep(time.Duration(in.Wait) * time.Millisecond) // of the bubble's clock
			return conclave.RunDetail{Run: conclave.Run{ID: in.ID}}, ctx.Err()
		}}
		session := inMemory(t, h.server(t, false), everyone(), &mcp.ClientOptions{
			ProgressNotificationHandler: func(_ context.Context, n *mcp.ProgressNotificationClientRequest) {
				mu.Lock()
				defer mu.Unlock()
				heard = append(heard, *n.Params)
			},
		})
		params := &mcp.CallToolParams{Name: "workflow_status", Arguments: map[string]any{"id": "r1", "wait_ms": 16000}}
		params.SetProgressToken("p1")
		if _, err := session.CallTool(t.Context(), params); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(heard) != 3 {
			t.Fatalf("heard %d times in 16 s", len(heard))
		}
		for i, n := range heard {
			if n.ProgressToken != "p1" || n.Total != 16 || n.Progress != float64(5*(i+1)) || !strings.Contains(n.Message, "workflow_status") {
				t.Errorf("heard %+v", n)
			}
		}
		heard = nil
		use(t, session, "workflow_status", map[string]any{"id": "r1", "wait_ms": 16000})
		if len(heard) != 0 {
			t.Errorf("without a token: heard %+v", heard)
		}
	})
}

func TestNewServerRefusals(t *testing.T) {
	table := (&house{}).tables()[0]
	for name, tables := range map[string][]conclave.Table{
		"twice":            {table, table},
		"nobody to answer": {{Service: "s", Operations: conclave.PlanOperations()}},
	} {
		if _, err := mcpwire.NewServer(mcpwire.Options{Tables: tables}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMain lets the test binary be the server that TestStdio starts.
func TestMain(m *testing.M) {
	if os.Getenv("MCPWIRE_SERVE") != "" {
		h := &house{}
		s, err := mcpwire.NewServer(mcpwire.Options{Tables: h.tables()})
		if err == nil {
			err = mcpwire.ServeStdio(context.Background(), s, everyone())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestStdio(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "MCPWIRE_SERVE=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "0"}, nil).Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		t.Fatal(err)
	}
	run := into[conclave.Run](t, use(t, session, "workflow_start", map[string]any{"task": "t", "repo": "/r"}))
	if run.Human != "ada" {
		t.Errorf("the caller became %q", run.Human)
	}
	if err := session.Close(); err != nil {
		t.Errorf("the server ended with %v: %s", err, stderr.String())
	}
}
