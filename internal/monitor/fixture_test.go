package monitor_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/identity"
)

// fixture answers the contracts that the page reads from a record in memory, so
// that tests drive the page without agents. fixture_data_test.go fills it.
type fixture struct {
	t    *testing.T
	keys map[conclave.AgentName]*identity.Key
	now  time.Time // moves on with each thing that is recorded

	mu      sync.Mutex
	grew    chan struct{} // closed and replaced whenever an event is recorded
	events  []conclave.Event
	runs    []conclave.RunDetail
	plans   []conclave.Plan // every version, oldest first
	agents  []conclave.Agent
	said    []conclave.Message
	motions []conclave.MotionStatus
}

// key returns the key with which an agent signs.
func (f *fixture) key(name conclave.AgentName) *identity.Key {
	if k, ok := f.keys[name]; ok {
		return k
	}
	k, err := identity.LoadOrCreate(f.t.TempDir(), string(name))
	if err != nil {
		f.t.Fatalf("making a key for %s: %v", name, err)
	}
	f.keys[name] = k
	return k
}

// pass moves the fixture's time on.
func (f *fixture) pass(d time.Duration) time.Time {
	f.now = f.now.Add(d)
	return f.now
}

// record appends an event. The caller holds the lock, or is alone.
func (f *fixture) record(kind conclave.EventKind, actor string, run conclave.RunID, subject, text string) {
	f.events = append(f.events, conclave.Event{
		Seq: int64(len(f.events) + 1), Tenant: conclave.DefaultTenant, At: f.now, Kind: kind, Actor: actor, Run: run, Subject: subject, Text: text,
	})
	close(f.grew)
	f.grew = make(chan struct{})
}

// say keeps a message and its event.
func (f *fixture) say(run conclave.RunID, task, from, to string, kind conclave.AssignmentKind, text string, data any) {
	m := conclave.Message{
		ID: conclave.MessageID(fmt.Sprintf("msg-%03d", len(f.said)+1)), Task: conclave.TaskID(task), Conversation: conclave.ConversationID("conv-" + run),
		Run: run, From: from, To: to, Kind: kind, Text: text, Data: f.raw(data), Sent: f.pass(3 * time.Second),
	}
	f.said = append(f.said, m)
	f.record(conclave.EventMessageSent, from, run, string(m.ID), fmt.Sprintf("%s to %s", from, to))
}

func (f *fixture) raw(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		f.t.Fatalf("encoding %T: %v", v, err)
	}
	return text
}

func (f *fixture) hash(v any) string {
	h, err := identity.Hash(v)
	if err != nil {
		f.t.Fatalf("hashing %T: %v", v, err)
	}
	return h
}

// ballot signs a ballot on a motion.
func (f *fixture) ballot(m conclave.Motion, voter conclave.AgentName, role conclave.Role, verdict conclave.Verdict, ranking []string, reasons ...string) conclave.Ballot {
	b := conclave.Ballot{Motion: m.ID, Round: m.Round, Voter: voter, Role: role, Subject: m.Subject, Verdict: verdict, Ranking: ranking, Reasons: reasons}
	if err := identity.SignBallot(f.key(voter), &b); err != nil {
		f.t.Fatalf("signing a ballot: %v", err)
	}
	return b
}

// decide signs a decision with the council's key.
func (f *fixture) decide(d conclave.Decision) *conclave.Decision {
	d.Motion.State = conclave.MotionDecided
	d.Decided = f.now
	if err := identity.SignDecision(f.key("council"), &d); err != nil {
		f.t.Fatalf("signing a decision: %v", err)
	}
	return &d
}

// Start is no part of what the page does.
func (f *fixture) Start(context.Context, conclave.StartRun) (conclave.Run, error) {
	return conclave.Run{}, conclave.Errorf(conclave.ErrUnsupported, "the fixture starts no runs")
}

// Cancel is no part of what the page does.
func (f *fixture) Cancel(context.Context, conclave.NameRun) (conclave.Run, error) {
	return conclave.Run{}, conclave.Errorf(conclave.ErrUnsupported, "the fixture cancels no runs")
}

func (f *fixture) Get(_ context.Context, in conclave.GetRun) (conclave.RunDetail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.run(in.ID)
	if i < 0 {
		return conclave.RunDetail{}, conclave.Errorf(conclave.ErrNotFound, "no run %q", in.ID)
	}
	d := f.runs[i]
	for _, m := range f.motions {
		if m.Motion.Run == in.ID && m.Decision != nil {
			d.Decisions = append(d.Decisions, *m.Decision)
		}
	}
	d.Approvals = slices.Clone(d.Approvals)
	return d, nil
}

func (f *fixture) run(id conclave.RunID) int {
	return slices.IndexFunc(f.runs, func(d conclave.RunDetail) bool { return d.Run.ID == id })
}

func (f *fixture) List(context.Context, conclave.ListRuns) ([]conclave.Run, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []conclave.Run
	for _, d := range f.runs {
		out = append(out, d.Run)
	}
	return out, nil
}

func (f *fixture) Approvals(context.Context, conclave.ListApprovals) ([]conclave.Approval, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []conclave.Approval
	for _, d := range f.runs {
		out = append(out, d.Approvals...)
	}
	return out, nil
}

func (f *fixture) Approve(ctx context.Context, in conclave.Approve) (conclave.Approval, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.runs {
		for j := range f.runs[i].Approvals {
			a := &f.runs[i].Approvals[j]
			if a.ID != in.ID {
				continue
			}
			if a.Decision != "" {
				return conclave.Approval{}, conclave.Errorf(conclave.ErrConflict, "%s is decided already", in.ID)
			}
			at := f.pass(time.Second)
			a.Decision, a.By, a.Reason, a.Decided = in.Decision, conclave.CallerFrom(ctx).Name(), in.Reason, &at
			f.record(conclave.EventApprovalGiven, a.By, a.Run, string(a.ID), string(in.Decision)+": "+a.Title)
			if run := &f.runs[i].Run; in.Decision == conclave.VerdictApprove {
				run.Status, run.Ended, run.Reason = conclave.RunDone, &at, "delivered to main"
				steps := f.runs[i].Steps
				steps[len(steps)-1].State, steps[len(steps)-1].Ended = conclave.StepDone, &at
				f.record(conclave.EventRunEnded, string(conclave.ServiceWorkflow), run.ID, "", "done: delivered to main")
			}
			return *a, nil
		}
	}
	return conclave.Approval{}, conclave.Errorf(conclave.ErrNotFound, "no approval %q", in.ID)
}

// fixturePlans, fixtureHub, fixtureCouncil and fixtureEvents exist because the
// contracts share method names.
type fixturePlans struct {
	conclave.Plans
	f *fixture
}

func (s fixturePlans) Get(_ context.Context, in conclave.GetPlan) (conclave.Plan, error) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range slices.Backward(f.plans) {
		if p.ID == in.ID && (in.Version == 0 || p.Version == in.Version) {
			return p, nil
		}
	}
	return conclave.Plan{}, conclave.Errorf(conclave.ErrNotFound, "no version %d of plan %q", in.Version, in.ID)
}

func (s fixturePlans) List(_ context.Context, in conclave.ListPlans) ([]conclave.Plan, error) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	newest := map[conclave.PlanID]conclave.Plan{}
	for _, p := range f.plans {
		if in.Run == "" || p.Run == in.Run {
			newest[p.ID] = p
		}
	}
	var out []conclave.Plan
	for _, p := range newest {
		out = append(out, p)
	}
	return out, nil
}

func (s fixturePlans) Diff(ctx context.Context, in conclave.DiffPlan) (conclave.PlanDiff, error) {
	from, err := s.Get(ctx, conclave.GetPlan{ID: in.ID, Version: in.From})
	if err != nil {
		return conclave.PlanDiff{}, err
	}
	to, err := s.Get(ctx, conclave.GetPlan{ID: in.ID, Version: in.To})
	if err != nil {
		return conclave.PlanDiff{}, err
	}
	var d conclave.PlanDiff
	for _, s := range to.Steps {
		i := slices.IndexFunc(from.Steps, func(o conclave.PlanStep) bool { return o.Key == s.Key })
		changed := i >= 0 && !reflect.DeepEqual(from.Steps[i], s)
		below := slices.ContainsFunc(s.DependsOn, func(k string) bool { return slices.Contains(d.Reopened, k) })
		switch {
		case i < 0:
			d.Added = append(d.Added, s.Key)
		case changed:
			d.Changed = append(d.Changed, s.Key)
		}
		if i < 0 || changed || below {
			d.Reopened = append(d.Reopened, s.Key)
		}
	}
	return d, nil
}

type fixtureHub struct {
	conclave.Hub
	f *fixture
}

func (s fixtureHub) Agents(context.Context, conclave.ListAgents) ([]conclave.Agent, error) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.agents), nil
}

func (s fixtureHub) Messages(_ context.Context, in conclave.ListMessages) ([]conclave.Message, error) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []conclave.Message
	for _, m := range f.said {
		if (in.Run == "" || m.Run == in.Run) && m.ID > in.After {
			out = append(out, m)
		}
	}
	return out[:min(len(out), cmp.Or(in.Limit, 200))], nil
}

type fixtureCouncil struct {
	conclave.Council
	f *fixture
}

func (s fixtureCouncil) List(_ context.Context, in conclave.ListMotions) ([]conclave.MotionStatus, error) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []conclave.MotionStatus
	for _, m := range slices.Backward(f.motions) {
		if in.Run == "" || m.Motion.Run == in.Run {
			out = append(out, m)
		}
	}
	return out, nil
}

type fixtureEvents struct{ f *fixture }

func (s fixtureEvents) List(_ context.Context, in conclave.EventFilter) ([]conclave.Event, error) {
	found, _ := s.after(in)
	return found[:min(len(found), cmp.Or(in.Limit, 200))], nil
}

// after returns the events that a filter chooses, and a channel that is closed when there are more.
func (s fixtureEvents) after(in conclave.EventFilter) ([]conclave.Event, <-chan struct{}) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []conclave.Event
	for _, e := range f.events {
		if e.Seq > in.After && (in.Run == "" || e.Run == in.Run) {
			out = append(out, e)
		}
	}
	return out, f.grew
}

// Verify seals all events but the newest three in one checkpoint.
func (s fixtureEvents) Verify(context.Context, conclave.None) (conclave.AuditReport, error) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	sealed := f.events[:max(0, len(f.events)-3)]
	if len(sealed) == 0 {
		return conclave.AuditReport{OK: true, Unsealed: int64(len(f.events))}, nil
	}
	c := conclave.Checkpoint{Tenant: conclave.DefaultTenant, Number: 1, Last: sealed[len(sealed)-1].Seq, Count: int64(len(sealed)), At: f.now, PublicKey: f.key("audit").Public()}
	for _, e := range sealed {
		c.Head = f.hash([]string{c.Head, f.hash(e)})
	}
	c.Signature = f.key("audit").Sign([]byte(c.Head))
	return conclave.AuditReport{OK: true, Sealed: c.Count, Unsealed: 3, Heads: []conclave.Checkpoint{c}}, nil
}

func (s fixtureEvents) Watch(ctx context.Context, in conclave.EventFilter) iter.Seq2[conclave.Event, error] {
	return func(yield func(conclave.Event, error) bool) {
		for {
			found, grew := s.after(in)
			for _, e := range found {
				if !yield(e, nil) {
					return
				}
				in.After = e.Seq
			}
			select {
			case <-ctx.Done():
				return
			case <-grew:
			}
		}
	}
}

// tables binds the fixture to the operations that the page calls.
func (f *fixture) tables() []conclave.Table {
	return []conclave.Table{
		{Service: conclave.ServiceWorkflow, Operations: conclave.WorkflowOperations(), Impl: conclave.Workflows(f)},
		{Service: conclave.ServicePlans, Operations: conclave.PlanOperations(), Impl: conclave.Plans(fixturePlans{f: f})},
		{Service: conclave.ServiceHub, Operations: conclave.HubOperations(), Impl: conclave.Hub(fixtureHub{f: f})},
		{Service: conclave.ServiceCouncil, Operations: append(conclave.CouncilOperations(), conclave.TrustOperations()...), Impl: struct {
			fixtureCouncil
			fixtureTrust
		}{fixtureCouncil: fixtureCouncil{f: f}, fixtureTrust: fixtureTrust{f: f}}},
		{Service: conclave.ServiceMonitor, Operations: append(conclave.EventOperations(), conclave.InsightOperations()...), Impl: struct {
			fixtureEvents
			fixtureInsights
		}{fixtureEvents{f}, fixtureInsights{f: f}}},
	}
}
