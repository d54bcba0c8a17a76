package restwire_test

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"conclave"
)

// echo answers every operation with what a test put into it, and keeps what it
// was asked.
type echo struct {
	mu     sync.Mutex
	in     any
	caller conclave.Caller
	out    any
	err    error
	hook   func(ctx context.Context) error
}

func (e *echo) set(out any, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.in, e.out, e.err = nil, out, err
}

func (e *echo) asked() (any, conclave.Caller) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.in, e.caller
}

func answer[O any](ctx context.Context, e *echo, in any) (O, error) {
	e.mu.Lock()
	e.in, e.caller = in, conclave.CallerFrom(ctx)
	out, _ := e.out.(O)
	err, hook := e.err, e.hook
	e.mu.Unlock()
	if hook != nil {
		err = hook(ctx)
	}
	return out, err
}

// tables are all tables of the root package, answered by the echo.
func (e *echo) tables() []conclave.Table {
	return []conclave.Table{
		{Service: conclave.ServicePlans, Operations: conclave.PlanOperations(), Impl: echoPlans{e}},
		{Service: conclave.ServiceHub, Operations: conclave.HubOperations(), Impl: echoHub{e}},
		{Service: conclave.ServiceCouncil, Operations: conclave.CouncilOperations(), Impl: echoCouncil{e}},
		{Service: conclave.ServiceWorktree, Operations: conclave.WorktreeOperations(), Impl: echoWorktrees{e}},
		{Service: conclave.ServiceWorkflow, Operations: conclave.WorkflowOperations(), Impl: echoWorkflows{e}},
		{Service: conclave.ServiceModels, Operations: conclave.ModelOperations(), Impl: echoModels{e}},
		{Service: conclave.ServiceMonitor, Operations: conclave.EventOperations(), Impl: echoEvents{e}},
	}
}

type (
	echoPlans     struct{ *echo }
	echoHub       struct{ *echo }
	echoCouncil   struct{ *echo }
	echoWorktrees struct{ *echo }
	echoWorkflows struct{ *echo }
	echoModels    struct{ *echo }
	echoEvents    struct{ *echo }
)

func (e echoPlans) Propose(ctx context.Context, in conclave.ProposePlan) (conclave.Plan, error) {
	return answer[conclave.Plan](ctx, e.echo, in)
}

func (e echoPlans) Comment(ctx context.Context, in conclave.CommentPlan) (conclave.Plan, error) {
	return answer[conclave.Plan](ctx, e.echo, in)
}

func (e echoPlans) Get(ctx context.Context, in conclave.GetPlan) (conclave.Plan, error) {
	return answer[conclave.Plan](ctx, e.echo, in)
}

func (e echoPlans) List(ctx context.Context, in conclave.ListPlans) ([]conclave.Plan, error) {
	return answer[[]conclave.Plan](ctx, e.echo, in)
}

func (e echoPlans) Diff(ctx context.Context, in conclave.DiffPlan) (conclave.PlanDiff, error) {
	return answer[conclave.PlanDiff](ctx, e.echo, in)
}

func (e echoHub) Register(ctx context.Context, in conclave.RegisterAgent) (conclave.Agent, error) {
	return answer[conclave.Agent](ctx, e.echo, in)
}

func (e echoHub) Agents(ctx context.Context, in conclave.ListAgents) ([]conclave.Agent, error) {
	return answer[[]conclave.Agent](ctx, e.echo, in)
}

func (e echoHub) Send(ctx context.Context, in conclave.SendMessage) (conclave.Task, error) {
	return answer[conclave.Task](ctx, e.echo, in)
}

func (e echoHub) Task(ctx context.Context, in conclave.GetTask) (conclave.Task, error) {
	return answer[conclave.Task](ctx, e.echo, in)
}

func (e echoHub) Cancel(ctx context.Context, in conclave.NameTask) (conclave.Task, error) {
	return answer[conclave.Task](ctx, e.echo, in)
}

func (e echoHub) Messages(ctx context.Context, in conclave.ListMessages) ([]conclave.Message, error) {
	return answer[[]conclave.Message](ctx, e.echo, in)
}

func (e echoCouncil) Convene(ctx context.Context, in conclave.ConveneMotion) (conclave.Motion, error) {
	return answer[conclave.Motion](ctx, e.echo, in)
}

func (e echoCouncil) Get(ctx context.Context, in conclave.GetMotion) (conclave.MotionStatus, error) {
	return answer[conclave.MotionStatus](ctx, e.echo, in)
}

func (e echoCouncil) Cast(ctx context.Context, in conclave.CastBallot) (conclave.Receipt, error) {
	return answer[conclave.Receipt](ctx, e.echo, in)
}

func (e echoCouncil) Resolve(ctx context.Context, in conclave.ResolveMotion) (conclave.Decision, error) {
	return answer[conclave.Decision](ctx, e.echo, in)
}

func (e echoCouncil) List(ctx context.Context, in conclave.ListMotions) ([]conclave.MotionStatus, error) {
	return answer[[]conclave.MotionStatus](ctx, e.echo, in)
}

func (e echoWorktrees) Lease(ctx context.Context, in conclave.LeaseWorktree) (conclave.Worktree, error) {
	return answer[conclave.Worktree](ctx, e.echo, in)
}

func (e echoWorktrees) Commit(ctx context.Context, in conclave.CommitWorktree) (conclave.Commit, error) {
	return answer[conclave.Commit](ctx, e.echo, in)
}

func (e echoWorktrees) Merge(ctx context.Context, in conclave.MergeWorktree) (conclave.Merge, error) {
	return answer[conclave.Merge](ctx, e.echo, in)
}

func (e echoWorktrees) Release(ctx context.Context, in conclave.NameWorktree) (conclave.Worktree, error) {
	return answer[conclave.Worktree](ctx, e.echo, in)
}

func (e echoWorktrees) Deliver(ctx context.Context, in conclave.Deliver) (conclave.Merge, error) {
	return answer[conclave.Merge](ctx, e.echo, in)
}

func (e echoWorktrees) List(ctx context.Context, in conclave.ListWorktrees) ([]conclave.Worktree, error) {
	return answer[[]conclave.Worktree](ctx, e.echo, in)
}

func (e echoWorkflows) Start(ctx context.Context, in conclave.StartRun) (conclave.Run, error) {
	return answer[conclave.Run](ctx, e.echo, in)
}

func (e echoWorkflows) Get(ctx context.Context, in conclave.GetRun) (conclave.RunDetail, error) {
	return answer[conclave.RunDetail](ctx, e.echo, in)
}

func (e echoWorkflows) List(ctx context.Context, in conclave.ListRuns) ([]conclave.Run, error) {
	return answer[[]conclave.Run](ctx, e.echo, in)
}

func (e echoWorkflows) Cancel(ctx context.Context, in conclave.NameRun) (conclave.Run, error) {
	return answer[conclave.Run](ctx, e.echo, in)
}

func (e echoWorkflows) Approvals(ctx context.Context, in conclave.ListApprovals) ([]conclave.Approval, error) {
	return answer[[]conclave.Approval](ctx, e.echo, in)
}

func (e echoWorkflows) Approve(ctx context.Context, in conclave.Approve) (conclave.Approval, error) {
	return answer[conclave.Approval](ctx, e.echo, in)
}

func (e echoModels) Route(ctx context.Context, in conclave.RouteQuery) (conclave.Route, error) {
	return answer[conclave.Route](ctx, e.echo, in)
}

func (e echoModels) Upstreams(ctx context.Context, in conclave.None) ([]conclave.Upstream, error) {
	return answer[[]conclave.Upstream](ctx, e.echo, in)
}

func (e echoModels) Usage(ctx context.Context, in conclave.GetUsage) (conclave.Usage, error) {
	return answer[conclave.Usage](ctx, e.echo, in)
}

func (e echoModels) Close(ctx context.Context, in conclave.CloseAccount) (conclave.Usage, error) {
	return answer[conclave.Usage](ctx, e.echo, in)
}

func (e echoEvents) List(ctx context.Context, in conclave.EventFilter) ([]conclave.Event, error) {
	return answer[[]conclave.Event](ctx, e.echo, in)
}

func (e echoEvents) Verify(ctx context.Context, in conclave.None) (conclave.AuditReport, error) {
	return answer[conclave.AuditReport](ctx, e.echo, in)
}

func (e echoEvents) Watch(ctx context.Context, in conclave.EventFilter) iter.Seq2[conclave.Event, error] {
	return func(yield func(conclave.Event, error) bool) {
		yield(conclave.Event{}, fmt.Errorf("the echo has no record: %w", conclave.ErrUnsupported))
	}
}
