package mcpwire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"conclave"
	"conclave/internal/mcpwire"
)

// house answers the operations that the tests call, and keeps who asked. What it
// does not answer panics, which the wire must survive.
type house struct {
	mu      sync.Mutex
	callers []conclave.Caller
	started []conclave.StartRun
	sent    []conclave.SendMessage
	convene []conclave.ConveneMotion
	get     func(context.Context, conclave.GetRun) (conclave.RunDetail, error)

	progressEvery time.Duration
}

func (h *house) note(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.callers = append(h.callers, conclave.CallerFrom(ctx))
}

func (h *house) lastCaller(t *testing.T) conclave.Caller {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.callers) == 0 {
		t.Fatal("nobody called")
	}
	return h.callers[len(h.callers)-1]
}

type houseWorkflows struct {
	conclave.Workflows
	*house
}

func (w houseWorkflows) Start(ctx context.Context, in conclave.StartRun) (conclave.Run, error) {
	w.note(ctx)
	w.mu.Lock()
	w.started = append(w.started, in)
	w.mu.Unlock()
	return conclave.Run{ID: "r1", Status: conclave.RunRunning, Task: in.Task, Repo: in.Repo, Human: conclave.CallerFrom(ctx).Human}, nil
}

func (w houseWorkflows) Get(ctx context.Context, in conclave.GetRun) (conclave.RunDetail, error) {
	w.note(ctx)
	if w.get != nil {
		return w.get(ctx, in)
	}
	if in.ID != "r1" && in.ID != "a/b c" {
		return conclave.RunDetail{}, conclave.Errorf(conclave.ErrNotFound, "there is no run %q", in.ID)
	}
	return conclave.RunDetail{Run: conclave.Run{ID: in.ID, Status: conclave.RunDone}}, nil
}

func (w houseWorkflows) List(ctx context.Context, in conclave.ListRuns) ([]conclave.Run, error) {
	w.note(ctx)
	if in.Limit == 0 {
		return nil, nil
	}
	return []conclave.Run{{ID: "r1"}, {ID: "r2"}}, nil
}

// Cancel fails with the kind whose number the run's id is.
func (w houseWorkflows) Cancel(ctx context.Context, in conclave.NameRun) (conclave.Run, error) {
	w.note(ctx)
	for i, kind := range conclave.Kinds() {
		if in.ID == conclave.RunID(fmt.Sprint(i)) {
			return conclave.Run{}, conclave.Errorf(kind, "because of %s", in.ID)
		}
	}
	return conclave.Run{}, fmt.Errorf("the password is hunter2")
}

type housePlans struct {
	conclave.Plans
	*house
}

func (p housePlans) Get(ctx context.Context, in conclave.GetPlan) (conclave.Plan, error) {
	p.note(ctx)
	return conclave.Plan{ID: in.ID, Version: 3}, nil
}

type houseCouncil struct {
	conclave.Council
	*house
}

func (c houseCouncil) Convene(ctx context.Context, in conclave.ConveneMotion) (conclave.Motion, error) {
	c.note(ctx)
	c.mu.Lock()
	c.convene = append(c.convene, in)
	c.mu.Unlock()
	return in.Motion, nil
}

func (c houseCouncil) Get(_ context.Context, in conclave.GetMotion) (conclave.MotionStatus, error) {
	return conclave.MotionStatus{Motion: conclave.Motion{ID: in.ID}}, nil
}

type houseHub struct {
	conclave.Hub
	*house
}

func (h houseHub) Send(ctx context.Context, in conclave.SendMessage) (conclave.Task, error) {
	h.note(ctx)
	h.mu.Lock()
	h.sent = append(h.sent, in)
	h.mu.Unlock()
	return conclave.Task{ID: "t1", To: in.To, State: conclave.TaskSubmitted}, nil
}

type houseWorktrees struct{ conclave.Worktrees }
type houseModels struct{ conclave.Models }
type houseEvents struct{ conclave.Events }

func (h *house) tables() []conclave.Table {
	return []conclave.Table{
		{Service: conclave.ServiceWorkflow, Operations: conclave.WorkflowOperations(), Impl: houseWorkflows{house: h}},
		{Service: conclave.ServicePlans, Operations: conclave.PlanOperations(), Impl: housePlans{house: h}},
		{Service: conclave.ServiceCouncil, Operations: conclave.CouncilOperations(), Impl: houseCouncil{house: h}},
		{Service: conclave.ServiceHub, Operations: slices.Concat(conclave.HubOperations(), conclave.DirectoryOperations(), conclave.WorkOperations()), Impl: houseHub{house: h}},
		{Service: conclave.ServiceWorktree, Operations: conclave.WorktreeOperations(), Impl: houseWorktrees{}},
		{Service: conclave.ServiceModels, Operations: conclave.ModelOperations(), Impl: houseModels{}},
		{Service: conclave.ServiceMonitor, Operations: conclave.EventOperations(), Impl: houseEvents{}},
	}
}

func (h *house) server(t testing.TB, all bool) *mcp.Server {
	t.Helper()
	s, err := mcpwire.NewServer(mcpwire.Options{Version: "1.2.3", Tables: h.tables(), All: all,
		ProgressEvery: h.progressEvery, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func person(human string, permissions ...conclave.Permission) conclave.Caller {
	return conclave.Caller{Tenant: conclave.DefaultTenant, Human: human, Permissions: permissions}
}

func everyone() conclave.Caller {
	return person("ada", conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitApprove)
}

// inMemory connects a client to a server as a caller.
func inMemory(t testing.TB, s *mcp.Server, caller conclave.Caller, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	here, there := mcp.NewInMemoryTransports()
	ctx := conclave.WithCaller(t.Context(), caller)
	served, err := s.Connect(ctx, there, nil)
	if err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "0"}, o).Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		session.Close()
		if err := served.Wait(); err != nil {
			t.Errorf("the server's session: %v", err)
		}
	})
	return session
}

// use calls a tool and returns its result.
func use(t testing.TB, session *mcp.ClientSession, tool string, arguments any) *mcp.CallToolResult {
	t.Helper()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return result
}

// into decodes a good result, whose text and structure must say the same.
func into[T any](t testing.TB, result *mcp.CallToolResult) T {
	t.Helper()
	if result.IsError {
		t.Fatalf("failed: %s", textOf(t, result))
	}
	structured, err := json.Marshal(result.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	var fromStructure, fromText any
	if err := json.Unmarshal(structured, &fromStructure); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(textOf(t, result)), &fromText); err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprint(fromStructure), fmt.Sprint(fromText); a != b {
		t.Errorf("the structure says %s, the text %s", a, b)
	}
	var out T
	if err := json.Unmarshal(structured, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func textOf(t testing.TB, result *mcp.CallToolResult) string {
	t.Helper()
	if len(result.Content) != 1 {
		t.Fatalf("%d pieces of content", len(result.Content))
	}
	text, ok := result.Content[0].(*mcp.TextContent)
	if !ok {
		t.Fatalf("content is a %T", result.Content[0])
	}
	return text.Text
}
