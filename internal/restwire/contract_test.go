package restwire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"conclave"
	"conclave/internal/identity"
)

// twice runs a contract's suite on an implementation, and on another one through
// the wire.
func twice[C any](t *testing.T, service conclave.Service, ops []conclave.Operation, fresh func() C, suite func(*testing.T, context.Context, C)) {
	t.Helper()
	ctx := conclave.WithCaller(t.Context(), everything)
	t.Run("here", func(t *testing.T) { suite(t, ctx, fresh()) })
	t.Run("there", func(t *testing.T) {
		base := serve(t, []conclave.Table{{Service: service, Operations: ops, Impl: fresh()}}, "")
		suite(t, ctx, implOf(dial(t, base, ""), service).(C))
	})
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want the kind %v", err, kind)
	}
}

func TestPlans(t *testing.T) {
	fresh := func() conclave.Plans { return memPlans{newMemory[conclave.PlanID, []conclave.Plan]()} }
	twice(t, conclave.ServicePlans, conclave.PlanOperations(), fresh, func(t *testing.T, ctx context.Context, p conclave.Plans) {
		step := conclave.PlanStep{Key: "api", Title: "An API", Writes: []string{"api/**"}, Acceptance: []string{"it answers"}}
		content := conclave.PlanContent{Task: "do <it> & more", Summary: "s", Steps: []conclave.PlanStep{step}}
		first := must(p.Propose(ctx, conclave.ProposePlan{Run: "r1", Author: "planner", Content: content}))(t)
		if hash, err := identity.Hash(first.PlanContent); err != nil || hash != first.Hash {
			t.Errorf("the hash of the content is %s, %v; the plan says %s", hash, err, first.Hash)
		}
		_, err := p.Propose(ctx, conclave.ProposePlan{Run: "r1", Author: "planner", Content: content})
		wantKind(t, err, conclave.ErrConflict)
		bad := conclave.PlanContent{Steps: []conclave.PlanStep{{Key: "a", DependsOn: []string{"none"}}}}
		_, err = p.Propose(ctx, conclave.ProposePlan{Run: "r2", Author: "planner", Content: bad})
		wantKind(t, err, conclave.ErrInvalid)

		content.Steps = append(content.Steps, conclave.PlanStep{Key: "docs"})
		second := must(p.Propose(ctx, conclave.ProposePlan{Run: "r1", Base: 1, Author: "planner", Content: content}))(t)
		if got := must(p.Get(ctx, conclave.GetPlan{ID: first.ID}))(t); !reflect.DeepEqual(got, second) {
			t.Errorf("the newest is %+v, want %+v", got, second)
		}
		if got := must(p.Get(ctx, conclave.GetPlan{ID: first.ID, Version: 1}))(t); !reflect.DeepEqual(got, first) {
			t.Errorf("the first is %+v, want %+v", got, first)
		}
		_, err = p.Get(ctx, conclave.GetPlan{ID: "none"})
		wantKind(t, err, conclave.ErrNotFound)
		diff := must(p.Diff(ctx, conclave.DiffPlan{ID: first.ID, From: 1, To: 2}))(t)
		if !reflect.DeepEqual(diff.Added, []string{"docs"}) {
			t.Errorf("diff %+v", diff)
		}
		change := &conclave.Change{AddAcceptance: []string{"it is tested"}}
		comment := conclave.Comment{Author: "qa-1", Role: conclave.RoleQA, Step: "api", Text: "t", Cites: "has_tests", Change: change}
		commented := must(p.Comment(ctx, conclave.CommentPlan{ID: first.ID, Version: 2, Comments: []conclave.Comment{comment}}))(t)
		if !reflect.DeepEqual(commented.Comments, []conclave.Comment{comment}) {
			t.Errorf("comments %+v", commented.Comments)
		}
		_, err = p.Comment(ctx, conclave.CommentPlan{ID: first.ID, Version: 2, Comments: []conclave.Comment{{Text: "I feel"}}})
		wantKind(t, err, conclave.ErrInvalid)
		if list := must(p.List(ctx, conclave.ListPlans{Run: "r1"}))(t); len(list) != 1 || list[0].Version != 2 {
			t.Errorf("list %+v", list)
		}
		if list := must(p.List(ctx, conclave.ListPlans{Run: "r9"}))(t); len(list) != 0 {
			t.Errorf("list of another run %+v", list)
		}
	})
}

func TestHub(t *testing.T) {
	fresh := func() conclave.Hub { return newMemHub() }
	twice(t, conclave.ServiceHub, conclave.HubOperations(), fresh, func(t *testing.T, ctx context.Context, h conclave.Hub) {
		agent := conclave.Agent{Name: "dev-1", Role: conclave.RoleDeveloper, PublicKey: "k1", Skills: []string{"build"}, Seen: time.Now().UTC()}
		registered := must(h.Register(ctx, conclave.RegisterAgent{Agent: agent}))(t)
		if registered.State != conclave.AgentLive || !registered.Seen.Equal(agent.Seen) {
			t.Errorf("registered %+v", registered)
		}
		agent.PublicKey = "k2"
		_, err := h.Register(ctx, conclave.RegisterAgent{Agent: agent})
		wantKind(t, err, conclave.ErrConflict)
		if got := must(h.Agents(ctx, conclave.ListAgents{Role: conclave.RoleDeveloper, Live: true}))(t); len(got) != 1 {
			t.Errorf("developers %+v", got)
		}
		if got := must(h.Agents(ctx, conclave.ListAgents{Role: conclave.RoleQA}))(t); len(got) != 0 {
			t.Errorf("testers %+v", got)
		}
		msg := conclave.SendMessage{Key: "k", To: "agents/dev-1", Text: "please", Data: json.RawMessage(`{"a":1}`)}
		task := must(h.Send(ctx, msg))(t)
		if again := must(h.Send(ctx, msg))(t); again.ID != task.ID || again.From != "ada" {
			t.Errorf("sent twice: %+v, then %+v", task, again)
		}
		_, err = h.Send(ctx, conclave.SendMessage{To: "agents/none", Text: "x"})
		wantKind(t, err, conclave.ErrNotFound)
		_, err = h.Send(ctx, conclave.SendMessage{To: "agents/dev-1", Text: "x", Call: conclave.CallPath{Path: []string{"dev-1"}}})
		wantKind(t, err, conclave.ErrLimited)

		if got := must(h.Task(ctx, conclave.GetTask{ID: task.ID}))(t); got.State != conclave.TaskSubmitted {
			t.Errorf("without waiting: %+v", got)
		}
		ended := make(chan conclave.Task)
		go func() {
			got, err := h.Task(ctx, conclave.GetTask{ID: task.ID, Wait: 60000})
			if err != nil {
				t.Error(err)
			}
			ended <- got
		}()
		must(h.Cancel(ctx, conclave.NameTask{ID: task.ID}))(t)
		if got := <-ended; got.State != conclave.TaskCanceled {
			t.Errorf("after waiting: %+v", got)
		}
		_, err = h.Cancel(ctx, conclave.NameTask{ID: task.ID})
		wantKind(t, err, conclave.ErrConflict)
		if got := must(h.Messages(ctx, conclave.ListMessages{}))(t); len(got) != 1 || got[0].Text != "please" {
			t.Errorf("messages %+v", got)
		}
	})
}

func TestCouncil(t *testing.T) {
	fresh := func() conclave.Council { return memCouncil{newMemory[conclave.MotionID, conclave.MotionStatus]()} }
	twice(t, conclave.ServiceCouncil, conclave.CouncilOperations(), fresh, func(t *testing.T, ctx context.Context, c conclave.Council) {
		motion := conclave.Motion{Kind: conclave.MotionApprove, Title: "t", Subject: conclave.Subject{Kind: "plan", ID: "p", Hash: "h"},
			Authors: []conclave.AgentName{"planner"}, Voters: []string{"agents/a", "agents/b", "agents/c"},
			Rule: conclave.Rule{Name: "threshold", Threshold: 0.6, Quorum: 2}, Deadline: time.Now().Add(time.Hour)}
		_, err := c.Convene(ctx, conclave.ConveneMotion{Motion: conclave.Motion{Kind: conclave.MotionRank, Rule: motion.Rule}})
		wantKind(t, err, conclave.ErrInvalid)
		open := must(c.Convene(ctx, conclave.ConveneMotion{Motion: motion}))(t)
		_, err = c.Resolve(ctx, conclave.ResolveMotion{ID: open.ID, Verdict: conclave.VerdictApprove})
		wantKind(t, err, conclave.ErrConflict)

		cast := func(voter conclave.AgentName, change func(*conclave.Ballot)) (conclave.Receipt, error) {
			k := must(identity.LoadOrCreate(t.TempDir(), "key"))(t)
			b := conclave.Ballot{Motion: open.ID, Round: 1, Voter: voter, Subject: open.Subject, Verdict: conclave.VerdictApprove, Reasons: []string{"sound"}}
			if err := identity.SignBallot(k, &b); err != nil {
				t.Fatal(err)
			}
			change(&b)
			return c.Cast(ctx, conclave.CastBallot{ID: open.ID, Ballot: b})
		}
		same := func(*conclave.Ballot) {}
		if r := must(cast("a", same))(t); !r.Counted || r.Voter != "a" {
			t.Errorf("receipt %+v", r)
		}
		_, err = cast("a", same)
		wantKind(t, err, conclave.ErrConflict)
		_, err = cast("planner", same)
		wantKind(t, err, conclave.ErrDenied)
		_, err = cast("b", func(b *conclave.Ballot) { b.Reasons[0] = "rotten" })
		wantKind(t, err, conclave.ErrDenied)
		must(cast("b", same))(t)
		must(cast("c", same))(t)
		got := must(c.Get(ctx, conclave.GetMotion{ID: open.ID, Wait: 60000}))(t)
		if got.Decision == nil || got.Decision.Outcome != conclave.OutcomeApproved || len(got.Ballots) != 3 {
			t.Fatalf("status %+v", got)
		}
		for _, b := range got.Decision.Ballots {
			if err := identity.VerifyBallot(b); err != nil {
				t.Error(err)
			}
		}
		_, err = c.Get(ctx, conclave.GetMotion{ID: "none"})
		wantKind(t, err, conclave.ErrNotFound)
		if list := must(c.List(ctx, conclave.ListMotions{Page: conclave.Page{Limit: 5}}))(t); len(list) != 1 {
			t.Errorf("list %+v", list)
		}
	})
}

func TestWorktrees(t *testing.T) {
	fresh := func() conclave.Worktrees { return memWorktrees{newMemory[conclave.LeaseID, conclave.Worktree]()} }
	twice(t, conclave.ServiceWorktree, conclave.WorktreeOperations(), fresh, func(t *testing.T, ctx context.Context, w conclave.Worktrees) {
		lease := must(w.Lease(ctx, conclave.LeaseWorktree{Run: "r1", Step: "api", Repo: "/repo", Base: "c0", Writes: []string{"api/**"}}))(t)
		_, err := w.Lease(ctx, conclave.LeaseWorktree{Run: "r1", Step: "web", Repo: "/repo", Base: "c0", Writes: []string{"api/**"}})
		wantKind(t, err, conclave.ErrConflict)
		_, err = w.Commit(ctx, conclave.CommitWorktree{ID: lease.ID})
		wantKind(t, err, conclave.ErrInvalid)
		commit := must(w.Commit(ctx, conclave.CommitWorktree{ID: lease.ID, Message: "Add it", Author: "dev-1"}))(t)
		_, err = w.Merge(ctx, conclave.MergeWorktree{ID: lease.ID, Head: "other", Message: "m"})
		wantKind(t, err, conclave.ErrConflict)
		merge := must(w.Merge(ctx, conclave.MergeWorktree{ID: lease.ID, Head: commit.Hash, Message: "m", Test: []string{"go", "test"}}))(t)
		if !merge.Merged || merge.New != commit.Hash || len(merge.Checks) != 1 || merge.Checks[0].Command != "go test" {
			t.Errorf("merge %+v", merge)
		}
		_, err = w.Deliver(ctx, conclave.Deliver{Run: "r1", Repo: "/repo", Into: "main", Head: commit.Hash})
		wantKind(t, err, conclave.ErrConflict)
		if got := must(w.List(ctx, conclave.ListWorktrees{Run: "r1", Leased: true}))(t); len(got) != 1 || got[0].Head != commit.Hash {
			t.Errorf("leased %+v", got)
		}
		if got := must(w.Release(ctx, conclave.NameWorktree{ID: lease.ID}))(t); got.State != conclave.WorktreeReleased {
			t.Errorf("released %+v", got)
		}
		if got := must(w.List(ctx, conclave.ListWorktrees{Leased: true}))(t); len(got) != 0 {
			t.Errorf("still leased %+v", got)
		}
		_, err = w.Release(ctx, conclave.NameWorktree{ID: "none"})
		wantKind(t, err, conclave.ErrNotFound)
	})
}

func TestWorkflows(t *testing.T) {
	fresh := func() conclave.Workflows {
		return memWorkflows{newMemory[conclave.RunID, conclave.Run](), newMemory[conclave.ApprovalID, conclave.Approval]()}
	}
	twice(t, conclave.ServiceWorkflow, conclave.WorkflowOperations(), fresh, func(t *testing.T, ctx context.Context, w conclave.Workflows) {
		_, err := w.Start(ctx, conclave.StartRun{Repo: "/repo"})
		wantKind(t, err, conclave.ErrInvalid)
		for i := range 3 {
			in := conclave.StartRun{Key: fmt.Sprint(i), Task: "add <tests> & more", Repo: "/repo"}
			run := must(w.Start(ctx, in))(t)
			if again := must(w.Start(ctx, in))(t); again.ID != run.ID || run.Human != "ada" || run.Task != in.Task {
				t.Errorf("started %+v, then %+v", run, again)
			}
		}
		page := must(w.List(ctx, conclave.ListRuns{Status: conclave.RunRunning, Page: conclave.Page{Limit: 2}}))(t)
		if len(page) != 2 || page[0].ID != "r-2" {
			t.Errorf("first page %+v", page)
		}
		page = must(w.List(ctx, conclave.ListRuns{Page: conclave.Page{Limit: 2, Before: string(page[1].ID)}}))(t)
		if len(page) != 1 || page[0].ID != "r-0" {
			t.Errorf("second page %+v", page)
		}
		ended := make(chan conclave.RunDetail)
		go func() {
			got, err := w.Get(ctx, conclave.GetRun{ID: "r-1", Wait: 60000})
			if err != nil {
				t.Error(err)
			}
			ended <- got
		}()
		must(w.Cancel(ctx, conclave.NameRun{ID: "r-1"}))(t)
		if got := <-ended; got.Run.Status != conclave.RunCancelled || got.Plan != nil || got.Run.Usage.CostUSD != nil {
			t.Errorf("after waiting: %+v", got)
		}
		_, err = w.Cancel(ctx, conclave.NameRun{ID: "r-1"})
		wantKind(t, err, conclave.ErrConflict)
		_, err = w.Get(ctx, conclave.GetRun{ID: "none"})
		wantKind(t, err, conclave.ErrNotFound)

		if got := must(w.Approvals(ctx, conclave.ListApprovals{}))(t); len(got) != 3 {
			t.Errorf("approvals %+v", got)
		}
		given := must(w.Approve(ctx, conclave.Approve{ID: "a-0", Decision: conclave.VerdictApprove}))(t)
		if given.By != "ada" || given.Decided == nil {
			t.Errorf("given %+v", given)
		}
		_, err = w.Approve(ctx, conclave.Approve{ID: "a-0", Decision: conclave.VerdictReject})
		wantKind(t, err, conclave.ErrConflict)
	})
}

func TestModels(t *testing.T) {
	for _, configured := range []bool{true, false} {
		fresh := func() conclave.Models { return memModels{configured} }
		twice(t, conclave.ServiceModels, conclave.ModelOperations(), fresh, func(t *testing.T, ctx context.Context, m conclave.Models) {
			route, err := m.Route(ctx, conclave.RouteQuery{Task: "a & b=c, d+e %"})
			if configured && (err != nil || route.Reason != "a & b=c, d+e %") {
				t.Errorf("route %+v, %v", route, err)
			}
			if !configured {
				wantKind(t, err, conclave.ErrUnavailable)
			}
			if got := must(m.Upstreams(ctx, conclave.None{}))(t); len(got) != 1 || got[0].Name != "u" {
				t.Errorf("upstreams %+v", got)
			}
			usage := must(m.Usage(ctx, conclave.GetUsage{Run: "r1"}))(t)
			if usage.ModelCalls == nil || *usage.ModelCalls != 3 || usage.CostUSD != nil {
				t.Errorf("usage %+v: what was not measured must stay nil", usage)
			}
			if closed := must(m.Close(ctx, conclave.CloseAccount{Run: "r1"}))(t); closed.Pending != 1 {
				t.Errorf("the closed account is %+v", closed)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	var record memEvents
	fresh := func() conclave.Events { record = newMemEvents(); return record }
	twice(t, conclave.ServiceMonitor, conclave.EventOperations(), fresh, func(t *testing.T, ctx context.Context, e conclave.Events) {
		record.add(conclave.EventRunStarted, "r1")
		record.add(conclave.EventRunStarted, "r2")
		record.add(conclave.EventRunEnded, "r1")
		got := must(e.List(ctx, conclave.EventFilter{After: 1}))(t)
		if len(got) != 2 || got[0].Seq != 2 {
			t.Errorf("after 1: %+v", got)
		}
		_, err := e.List(ctx, conclave.EventFilter{Limit: -1})
		wantKind(t, err, conclave.ErrInvalid)

		watching, stop := context.WithCancel(ctx)
		defer stop()
		var seqs []int64
		for event, err := range e.Watch(watching, conclave.EventFilter{Run: "r1", Kinds: []conclave.EventKind{conclave.EventRunStarted, conclave.EventRunEnded}}) {
			if err != nil {
				t.Fatal(err)
			}
			if event.Text != "line one\nline two" {
				t.Errorf("text %q", event.Text)
			}
			seqs = append(seqs, event.Seq)
			switch len(seqs) {
			case 2:
				record.add(conclave.EventRunEnded, "r1") // while it is watched
			case 3:
				stop()
			}
		}
		if !reflect.DeepEqual(seqs, []int64{1, 3, 4}) {
			t.Errorf("watched %v", seqs)
		}
		for event := range e.Watch(ctx, conclave.EventFilter{After: 3}) {
			if event.Seq != 4 {
				t.Errorf("after 3: %+v", event)
			}
			break // the reader may stop at any time
		}
		for _, err := range e.Watch(ctx, conclave.EventFilter{Limit: -1}) {
			wantKind(t, err, conclave.ErrInvalid)
		}
	})
}
