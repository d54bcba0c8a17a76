package restwire_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/internal/consensus"
	"conclave/internal/identity"
)

// memory keeps things by id, in order, and lets readers wait for a change.
type memory[K ~string, V any] struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	ids     []K
	items   map[K]V
}

func newMemory[K ~string, V any]() *memory[K, V] {
	return &memory[K, V]{changed: make(chan struct{}), items: map[K]V{}}
}

// put stores an item and wakes who waits. The caller holds no lock.
func (m *memory[K, V]) put(id K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.items[id]; !ok {
		m.ids = append(m.ids, id)
	}
	m.items[id] = v
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory[K, V]) get(id K) (V, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.items[id]
	if !ok {
		return v, conclave.Errorf(conclave.ErrNotFound, "there is no %q", id)
	}
	return v, nil
}

// newest lists what a filter chooses, newest first, as a page asks.
func (m *memory[K, V]) newest(p conclave.Page, keep func(V) bool) []V {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []V
	skip := p.Before != ""
	for _, id := range slices.Backward(m.ids) {
		if skip {
			skip = string(id) != p.Before
			continue
		}
		if v := m.items[id]; keep(v) && (p.Limit == 0 || len(out) < p.Limit) {
			out = append(out, v)
		}
	}
	return out
}

// wait returns an item once it is done, or as it is after ms.
func (m *memory[K, V]) wait(ctx context.Context, id K, ms int, done func(V) bool) (V, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
	defer cancel()
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		v, err := m.get(id)
		if err != nil || done(v) {
			return v, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return v, nil
		}
	}
}

type memPlans struct {
	*memory[conclave.PlanID, []conclave.Plan]
}

func (m memPlans) Propose(_ context.Context, in conclave.ProposePlan) (conclave.Plan, error) {
	id := conclave.PlanID("plan-" + in.Run)
	versions, _ := m.get(id)
	if in.Base != len(versions) {
		return conclave.Plan{}, conclave.Errorf(conclave.ErrConflict, "version %d is not the newest", in.Base)
	}
	for _, s := range in.Content.Steps {
		for _, d := range s.DependsOn {
			if !slices.ContainsFunc(in.Content.Steps, func(o conclave.PlanStep) bool { return o.Key == d }) {
				return conclave.Plan{}, conclave.Errorf(conclave.ErrInvalid, "step %s depends on %q, which is none", s.Key, d)
			}
		}
	}
	hash, err := identity.Hash(in.Content)
	if err != nil {
		return conclave.Plan{}, err
	}
	p := conclave.Plan{ID: id, Run: in.Run, Version: in.Base + 1, Hash: hash, Author: in.Author, PlanContent: in.Content}
	m.put(id, append(slices.Clone(versions), p))
	return p, nil
}

func (m memPlans) version(id conclave.PlanID, n int) (conclave.Plan, []conclave.Plan, error) {
	versions, err := m.get(id)
	if err != nil {
		return conclave.Plan{}, nil, err
	}
	if n == 0 {
		n = len(versions)
	}
	if n < 1 || n > len(versions) {
		return conclave.Plan{}, nil, conclave.Errorf(conclave.ErrNotFound, "plan %s has no version %d", id, n)
	}
	return versions[n-1], versions, nil
}

func (m memPlans) Comment(_ context.Context, in conclave.CommentPlan) (conclave.Plan, error) {
	p, versions, err := m.version(in.ID, in.Version)
	if err != nil {
		return p, err
	}
	for _, c := range in.Comments {
		if c.Cites == "" {
			return p, conclave.Errorf(conclave.ErrInvalid, "the comment %q cites nothing", c.Text)
		}
	}
	p.Comments = append(slices.Clone(p.Comments), in.Comments...)
	versions = slices.Clone(versions)
	versions[p.Version-1] = p
	m.put(in.ID, versions)
	return p, nil
}

func (m memPlans) Get(_ context.Context, in conclave.GetPlan) (conclave.Plan, error) {
	p, _, err := m.version(in.ID, in.Version)
	return p, err
}

func (m memPlans) List(_ context.Context, in conclave.ListPlans) ([]conclave.Plan, error) {
	var out []conclave.Plan
	for _, versions := range m.newest(in.Page, func(v []conclave.Plan) bool { return in.Run == "" || v[0].Run == in.Run }) {
		out = append(out, versions[len(versions)-1])
	}
	return out, nil
}

func (m memPlans) Diff(_ context.Context, in conclave.DiffPlan) (conclave.PlanDiff, error) {
	from, _, err := m.version(in.ID, in.From)
	if err != nil {
		return conclave.PlanDiff{}, err
	}
	to, _, err := m.version(in.ID, in.To)
	if err != nil {
		return conclave.PlanDiff{}, err
	}
	var d conclave.PlanDiff
	for _, s := range to.Steps {
		if !slices.ContainsFunc(from.Steps, func(o conclave.PlanStep) bool { return o.Key == s.Key }) {
			d.Added = append(d.Added, s.Key)
		}
	}
	return d, nil
}

type memHub struct {
	agents *memory[conclave.AgentName, conclave.Agent]
	tasks  *memory[conclave.TaskID, conclave.Task]
	keys   map[string]conclave.TaskID
	mu     *sync.Mutex
}

func newMemHub() memHub {
	return memHub{newMemory[conclave.AgentName, conclave.Agent](), newMemory[conclave.TaskID, conclave.Task](), map[string]conclave.TaskID{}, &sync.Mutex{}}
}

func (h memHub) Register(_ context.Context, in conclave.RegisterAgent) (conclave.Agent, error) {
	if old, err := h.agents.get(in.Agent.Name); err == nil && old.PublicKey != in.Agent.PublicKey {
		return conclave.Agent{}, conclave.Errorf(conclave.ErrConflict, "another key holds the name %s", in.Agent.Name)
	}
	in.Agent.State = conclave.AgentLive
	h.agents.put(in.Agent.Name, in.Agent)
	return in.Agent, nil
}

func (h memHub) Agents(_ context.Context, in conclave.ListAgents) ([]conclave.Agent, error) {
	return h.agents.newest(conclave.Page{}, func(a conclave.Agent) bool { return in.Role == "" || a.Role == in.Role }), nil
}

func (h memHub) Send(ctx context.Context, in conclave.SendMessage) (conclave.Task, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id, ok := h.keys[in.Key]; ok && in.Key != "" {
		return h.tasks.get(id)
	}
	name := conclave.AgentName(in.To[len("agents/"):])
	if _, err := h.agents.get(name); err != nil {
		return conclave.Task{}, err
	}
	if slices.Contains(in.Call.Path, string(name)) {
		return conclave.Task{}, conclave.Errorf(conclave.ErrLimited, "%s is on the call path already", name)
	}
	t := conclave.Task{ID: conclave.TaskID(fmt.Sprintf("t%d", len(h.keys)+1)), To: in.To, From: conclave.CallerFrom(ctx).Name(),
		State: conclave.TaskSubmitted, Text: in.Text, Reply: in.Data}
	h.keys[in.Key] = t.ID
	h.tasks.put(t.ID, t)
	return t, nil
}

func (h memHub) Task(ctx context.Context, in conclave.GetTask) (conclave.Task, error) {
	return h.tasks.wait(ctx, in.ID, in.Wait, func(t conclave.Task) bool { return t.State.Ended() })
}

func (h memHub) Cancel(_ context.Context, in conclave.NameTask) (conclave.Task, error) {
	t, err := h.tasks.get(in.ID)
	if err == nil && t.State.Ended() {
		err = conclave.Errorf(conclave.ErrConflict, "task %s has ended", in.ID)
	}
	if err != nil {
		return conclave.Task{}, err
	}
	t.State = conclave.TaskCanceled
	h.tasks.put(t.ID, t)
	return t, nil
}

func (h memHub) Messages(context.Context, conclave.ListMessages) ([]conclave.Message, error) {
	var out []conclave.Message
	for _, t := range slices.Backward(h.tasks.newest(conclave.Page{}, func(conclave.Task) bool { return true })) {
		out = append(out, conclave.Message{Task: t.ID, From: t.From, To: t.To, Text: t.Text})
	}
	return out, nil
}

type memCouncil struct {
	*memory[conclave.MotionID, conclave.MotionStatus]
}

func (m memCouncil) Convene(_ context.Context, in conclave.ConveneMotion) (conclave.Motion, error) {
	if err := consensus.Validate(in.Motion.Rule, in.Motion.Kind); err != nil {
		return conclave.Motion{}, err
	}
	in.Motion.ID, in.Motion.State, in.Motion.Round = conclave.MotionID("m-"+in.Motion.Title), conclave.MotionOpen, 1
	m.put(in.Motion.ID, conclave.MotionStatus{Motion: in.Motion})
	return in.Motion, nil
}

func (m memCouncil) Get(ctx context.Context, in conclave.GetMotion) (conclave.MotionStatus, error) {
	return m.wait(ctx, in.ID, in.Wait, func(s conclave.MotionStatus) bool { return s.Decision != nil })
}

func (m memCouncil) Cast(_ context.Context, in conclave.CastBallot) (conclave.Receipt, error) {
	s, err := m.get(in.ID)
	if err != nil {
		return conclave.Receipt{}, err
	}
	if err := identity.VerifyBallot(in.Ballot); err != nil {
		return conclave.Receipt{}, err
	}
	if err := consensus.Check(s.Motion, in.Ballot); err != nil {
		return conclave.Receipt{}, err
	}
	if slices.ContainsFunc(s.Ballots, func(b conclave.Ballot) bool { return b.Voter == in.Ballot.Voter }) {
		return conclave.Receipt{}, conclave.Errorf(conclave.ErrConflict, "%s has voted", in.Ballot.Voter)
	}
	s.Ballots = append(slices.Clone(s.Ballots), in.Ballot)
	if r := consensus.Decide(s.Motion, len(s.Motion.Voters), s.Ballots); r.Final {
		s.Motion.State = conclave.MotionDecided
		s.Decision = &conclave.Decision{Motion: s.Motion, Outcome: r.Outcome, Reason: r.Reason, Ballots: s.Ballots, DecidedBy: "vote"}
	}
	m.put(in.ID, s)
	return conclave.Receipt{Motion: in.ID, Voter: in.Ballot.Voter, Round: 1, Counted: true}, nil
}

func (m memCouncil) Resolve(_ context.Context, in conclave.ResolveMotion) (conclave.Decision, error) {
	s, err := m.get(in.ID)
	if err != nil {
		return conclave.Decision{}, err
	}
	return conclave.Decision{}, conclave.Errorf(conclave.ErrConflict, "motion %s is %s", in.ID, s.Motion.State)
}

func (m memCouncil) List(_ context.Context, in conclave.ListMotions) ([]conclave.MotionStatus, error) {
	return m.newest(in.Page, func(s conclave.MotionStatus) bool { return in.Run == "" || s.Motion.Run == in.Run }), nil
}

type memWorktrees struct {
	*memory[conclave.LeaseID, conclave.Worktree]
}

func (m memWorktrees) Lease(ctx context.Context, in conclave.LeaseWorktree) (conclave.Worktree, error) {
	open, _ := m.List(ctx, conclave.ListWorktrees{Run: in.Run, Leased: true})
	for _, w := range open {
		if slices.ContainsFunc(in.Writes, func(g string) bool { return slices.Contains(w.Writes, g) }) {
			return conclave.Worktree{}, conclave.Errorf(conclave.ErrConflict, "step %s holds %q", w.Step, w.Writes)
		}
	}
	w := conclave.Worktree{ID: conclave.LeaseID("l-" + in.Step), Run: in.Run, Step: in.Step, Base: in.Base, Head: in.Base, Writes: in.Writes, State: conclave.WorktreeLeased}
	m.put(w.ID, w)
	return w, nil
}

func (m memWorktrees) Commit(_ context.Context, in conclave.CommitWorktree) (conclave.Commit, error) {
	w, err := m.get(in.ID)
	if err != nil {
		return conclave.Commit{}, err
	}
	if in.Message == "" {
		return conclave.Commit{}, conclave.Errorf(conclave.ErrInvalid, "a commit needs a message")
	}
	w.Head = w.Head + "'"
	m.put(w.ID, w)
	return conclave.Commit{Lease: w.ID, Hash: w.Head, Parent: w.Base}, nil
}

func (m memWorktrees) Merge(_ context.Context, in conclave.MergeWorktree) (conclave.Merge, error) {
	w, err := m.get(in.ID)
	if err == nil && w.Head != in.Head {
		err = conclave.Errorf(conclave.ErrConflict, "the head is %s", w.Head)
	}
	if err != nil {
		return conclave.Merge{}, err
	}
	out := conclave.Merge{Lease: w.ID, Old: w.Base, New: w.Head, Merged: true}
	out.Checks = []conclave.Check{{Name: "test", Command: strings.Join(in.Test, " "), Passed: true}}
	return out, nil
}

func (m memWorktrees) Release(_ context.Context, in conclave.NameWorktree) (conclave.Worktree, error) {
	w, err := m.get(in.ID)
	if err != nil {
		return w, err
	}
	w.State = conclave.WorktreeReleased
	m.put(w.ID, w)
	return w, nil
}

func (m memWorktrees) Deliver(_ context.Context, in conclave.Deliver) (conclave.Merge, error) {
	return conclave.Merge{}, conclave.Errorf(conclave.ErrConflict, "the tree of %s is dirty", in.Into)
}

func (m memWorktrees) List(_ context.Context, in conclave.ListWorktrees) ([]conclave.Worktree, error) {
	return m.newest(conclave.Page{}, func(w conclave.Worktree) bool {
		return (in.Run == "" || w.Run == in.Run) && (!in.Leased || w.State == conclave.WorktreeLeased)
	}), nil
}

type memWorkflows struct {
	*memory[conclave.RunID, conclave.Run]
	approvals *memory[conclave.ApprovalID, conclave.Approval]
}

func (m memWorkflows) Start(ctx context.Context, in conclave.StartRun) (conclave.Run, error) {
	if in.Task == "" {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "the task is empty")
	}
	id := conclave.RunID("r-" + in.Key)
	if r, err := m.get(id); err == nil {
		return r, nil
	}
	r := conclave.Run{ID: id, Status: conclave.RunRunning, Task: in.Task, Repo: in.Repo, Human: conclave.CallerFrom(ctx).Human}
	m.put(id, r)
	m.approvals.put(conclave.ApprovalID("a-"+in.Key), conclave.Approval{ID: conclave.ApprovalID("a-" + in.Key), Run: id, Kind: "deliver"})
	return r, nil
}

func (m memWorkflows) Get(ctx context.Context, in conclave.GetRun) (conclave.RunDetail, error) {
	r, err := m.wait(ctx, in.ID, in.Wait, func(r conclave.Run) bool { return r.Status.Ended() })
	return conclave.RunDetail{Run: r}, err
}

func (m memWorkflows) List(_ context.Context, in conclave.ListRuns) ([]conclave.Run, error) {
	return m.newest(in.Page, func(r conclave.Run) bool { return in.Status == "" || r.Status == in.Status }), nil
}

func (m memWorkflows) Cancel(_ context.Context, in conclave.NameRun) (conclave.Run, error) {
	r, err := m.get(in.ID)
	if err == nil && r.Status.Ended() {
		err = conclave.Errorf(conclave.ErrConflict, "run %s has ended", in.ID)
	}
	if err != nil {
		return conclave.Run{}, err
	}
	r.Status = conclave.RunCancelled
	m.put(r.ID, r)
	return r, nil
}

func (m memWorkflows) Approvals(_ context.Context, in conclave.ListApprovals) ([]conclave.Approval, error) {
	return m.approvals.newest(conclave.Page{Limit: in.Limit}, func(a conclave.Approval) bool { return a.Decided == nil }), nil
}

func (m memWorkflows) Approve(ctx context.Context, in conclave.Approve) (conclave.Approval, error) {
	a, err := m.approvals.get(in.ID)
	if err == nil && a.Decided != nil {
		err = conclave.Errorf(conclave.ErrConflict, "%s is decided", in.ID)
	}
	if err != nil {
		return conclave.Approval{}, err
	}
	now := time.Now().UTC()
	a.Decision, a.By, a.Decided = in.Decision, conclave.CallerFrom(ctx).Human, &now
	m.approvals.put(a.ID, a)
	return a, nil
}

type memModels struct{ configured bool }

func (m memModels) Route(_ context.Context, in conclave.RouteQuery) (conclave.Route, error) {
	if !m.configured {
		return conclave.Route{}, conclave.Errorf(conclave.ErrUnavailable, "no model is configured")
	}
	return conclave.Route{Tier: "small", Model: "m", Wire: "openai", Reason: in.Task}, nil
}

func (m memModels) Upstreams(context.Context, conclave.None) ([]conclave.Upstream, error) {
	return []conclave.Upstream{{Name: "u", Models: []string{"m"}}}, nil
}

func (m memModels) Usage(context.Context, conclave.GetUsage) (conclave.Usage, error) {
	calls := int64(3)
	return conclave.Usage{ModelCalls: &calls}, nil
}

func (m memModels) Close(ctx context.Context, in conclave.CloseAccount) (conclave.Usage, error) {
	u, err := m.Usage(ctx, conclave.GetUsage{Run: in.Run})
	u.Pending = 1
	return u, err
}

// memEvents is a record that can be read, watched and added to.
type memEvents struct {
	*memory[conclave.RunID, []conclave.Event] // under one id
}

func newMemEvents() memEvents {
	m := memEvents{newMemory[conclave.RunID, []conclave.Event]()}
	m.put("", nil)
	return m
}

func (m memEvents) add(kind conclave.EventKind, run conclave.RunID) {
	all, _ := m.get("")
	m.put("", append(slices.Clone(all), conclave.Event{Seq: int64(len(all) + 1), Kind: kind, Run: run, Text: "line one\nline two"}))
}

func (m memEvents) List(_ context.Context, f conclave.EventFilter) ([]conclave.Event, error) {
	if f.Limit < 0 {
		return nil, conclave.Errorf(conclave.ErrInvalid, "limit %d: want 1 to 1000", f.Limit)
	}
	all, err := m.get("")
	return slices.DeleteFunc(slices.Clone(all), func(e conclave.Event) bool {
		return e.Seq <= f.After || (f.Run != "" && e.Run != f.Run) || (len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind))
	}), err
}

func (m memEvents) Watch(ctx context.Context, f conclave.EventFilter) iter.Seq2[conclave.Event, error] {
	return func(yield func(conclave.Event, error) bool) {
		for ctx.Err() == nil {
			m.mu.Lock()
			changed := m.changed
			m.mu.Unlock()
			next, err := m.List(ctx, f)
			if err != nil {
				yield(conclave.Event{}, err)
				return
			}
			for _, e := range next {
				if !yield(e, nil) {
					return
				}
				f.After = e.Seq
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}
