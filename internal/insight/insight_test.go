package insight

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"conclave"
)

// planted is a record and trust as they might be.
type planted struct {
	conclave.Trust
	record Record
	scores []conclave.TrustScore
}

func (p planted) Record(context.Context, time.Time) (Record, error) { return p.record, nil }

func (p planted) Scores(context.Context, conclave.ListTrust) ([]conclave.TrustScore, error) {
	return p.scores, nil
}

func start() time.Time { return time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC) }

func serve(t *testing.T, p planted) *Service {
	t.Helper()
	s, err := New(Options{Store: p, Trust: p})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func values(t *testing.T, s *Service) map[string]*conclave.KeyMetric {
	t.Helper()
	list, err := s.Metrics(t.Context(), conclave.GetInsights{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*conclave.KeyMetric{}
	for _, m := range list {
		all[m.Name] = &m
	}
	if len(all) != 6 {
		t.Fatalf("%d key metrics, want 6", len(all))
	}
	return all
}

func decision(by string, round int, decided, deadline time.Duration, ballots ...conclave.Ballot) conclave.Decision {
	return conclave.Decision{DecidedBy: by, Outcome: conclave.OutcomeApproved, Ballots: ballots, Decided: start().Add(decided),
		Motion: conclave.Motion{ID: conclave.MotionID(by), Round: round, Created: start(), Deadline: start().Add(deadline), Subject: conclave.Subject{Kind: "tree"},
			Rule: conclave.Rule{Threshold: 0.75}}}
}

func TestNothingMeasuredIsNull(t *testing.T) {
	s := serve(t, planted{})
	for name, m := range values(t, s) {
		if m.Value != nil || m.Met != nil || m.Sample != 0 || m.Definition == "" || m.Target == 0 {
			t.Errorf("%s: %+v, want no value", name, m)
		}
	}
	c, err := s.Consensus(t.Context(), conclave.GetInsights{})
	if err != nil || c.Achieved != nil || c.Escalated != nil || c.Rounds != nil || c.Seconds != nil || c.Unanimous != nil {
		t.Errorf("consensus %+v, %v", c, err)
	}
	if c, err := s.Collaboration(t.Context(), conclave.GetInsights{}); err != nil || c.Success != nil || c.Seconds != nil {
		t.Errorf("collaboration %+v, %v", c, err)
	}
	for _, hours := range []int{-1, 2161} {
		if _, err := s.Load(t.Context(), conclave.GetInsights{Hours: hours}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%d hours: %v, want ErrInvalid", hours, err)
		}
	}
}

func TestKeyMetrics(t *testing.T) {
	ended := start().Add(10 * time.Second)
	run := func(status conclave.RunStatus) conclave.Run {
		return conclave.Run{Status: status, Workflow: "collaborative", Created: start(), Ended: &ended}
	}
	task := func(agent conclave.AgentName, state conclave.TaskState, seconds int) Task {
		return Task{From: "workflow-orchestrator", Agent: agent, State: state, Created: start(), Updated: start().Add(time.Duration(seconds) * time.Second)}
	}
	good, bad := 0.9, 0.5
	p := planted{
		record: Record{
			Runs: []conclave.Run{run(conclave.RunDone), run(conclave.RunDone), run(conclave.RunDone), run(conclave.RunRejected),
				run(conclave.RunCancelled), run(conclave.RunRunning)},
			Decisions: []conclave.Decision{decision("vote", 1, 4*time.Second, time.Hour), decision("vote", 2, 2*time.Hour, time.Hour), // too late
				decision("senior architect-2", 3, time.Second, time.Hour)},
			Waiting: 1,
			Agents: []conclave.Agent{{Name: "dev-1", Role: "developer", State: conclave.AgentLive, Active: 3, Capacity: 4},
				{Name: "dev-2", Role: "developer", State: conclave.AgentLost, Active: 0, Capacity: 4}, {Name: "qa-1", Role: "qa", State: conclave.AgentLive, Active: 0, Capacity: 4}},
			Tasks: []Task{task("dev-1", conclave.TaskCompleted, 10), task("dev-1", conclave.TaskCompleted, 90), task("qa-1", conclave.TaskCompleted, 20), task("qa-1", conclave.TaskFailed, 500)},
			Calls: []Calls{{Agent: "dev-1", Calls: 2, CostUSD: 0.5}, {Agent: "qa-1", Calls: 1, Unpriced: 1}},
		},
		scores: []conclave.TrustScore{{Agent: "dev-1", Trust: &good}, {Agent: "qa-1", Trust: &bad, Refuted: 6}, {Agent: "dev-2"}, {Agent: "gone-1", Trust: &bad}},
	}
	s := serve(t, p)
	got := values(t, s)
	for name, want := range map[string]struct {
		value float64
		met   bool
		n     int
	}{
		"agent_utilization_ratio":        {3.0 / 8, true, 3},
		"collaboration_success_ratio":    {0.75, false, 4},
		"consensus_achievement_ratio":    {0.25, false, 4},
		"agent_response_average_seconds": {40, false, 3},
		"agent_trust_average_ratio":      {0.7, false, 2},
		"escalation_ratio":               {0.5, false, 4},
	} {
		m := got[name]
		if m.Value == nil || math.Abs(*m.Value-want.value) > 1e-9 || *m.Met != want.met || m.Sample != want.n {
			t.Errorf("%s: %+v, want %+v", name, m, want)
		}
	}

	performance, err := s.Performance(t.Context(), conclave.GetInsights{})
	if err != nil {
		t.Fatal(err)
	}
	if dev := performance[0]; dev.Completed != 2 || *dev.Seconds != 50 || *dev.Seconds95 != 90 || *dev.Trust != 0.9 || dev.ModelCalls != 2 || *dev.CostUSD != 0.5 {
		t.Errorf("dev-1: %+v", dev)
	}
	if lost := performance[1]; lost.Success != nil || lost.Seconds != nil || lost.Seconds95 != nil || lost.Trust != nil || *lost.CostUSD != 0 {
		t.Errorf("dev-2, of which nothing is known: %+v", lost)
	}
	if qa := performance[2]; *qa.Success != 0.5 || qa.CostUSD != nil || qa.Refuted != 6 {
		t.Errorf("qa-1: %+v", qa)
	}
	load, err := s.Load(t.Context(), conclave.GetInsights{})
	if err != nil || load.Active != 3 || load.Capacity != 8 || load.Agents[1].Utilization != nil || load.Roles[0].BusySeconds != 100 || load.Roles[1].Tasks != 2 {
		t.Errorf("load %+v, %v", load, err)
	}
	c, err := s.Collaboration(t.Context(), conclave.GetInsights{})
	if err != nil || *c.Success != 0.75 || *c.Seconds != 10 || len(c.Relations) != 2 || c.Relations[0].Agent != "dev-1" || *c.Relations[0].Seconds != 50 {
		t.Errorf("collaboration %+v, %v", c, err)
	}
}

// votes plants n decided votes in which yes of four were for it, and what was
// shown of their subjects.
func votes(r *Record, n, yes int, good bool) {
	for range n {
		id := conclave.MotionID(conclave.NewID("motion"))
		d := decision("vote", 1, time.Second, time.Hour)
		d.Motion.ID = id
		for i, voter := range []conclave.AgentName{"a", "b", "c", "d"} {
			b := conclave.Ballot{Voter: voter, Round: 1, Verdict: conclave.VerdictReject}
			if i < yes {
				b.Verdict = conclave.VerdictApprove
			}
			d.Ballots = append(d.Ballots, b)
			r.Outcomes = append(r.Outcomes, conclave.AgentOutcome{Agent: voter, Subject: string(id), Category: "vote.tree", Confirmed: (i < yes) == good})
		}
		r.Decisions = append(r.Decisions, d)
	}
}

func TestTuneThreshold(t *testing.T) {
	var r Record
	consensus := func() conclave.ConsensusStats {
		c, err := serve(t, planted{record: r}).Consensus(t.Context(), conclave.GetInsights{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	votes(&r, 12, 4, true)
	votes(&r, 2, 3, false)
	if p := TuneThreshold(0.75, consensus()); len(p.Changes) != 0 || !strings.Contains(p.Reason, "too little") {
		t.Errorf("of 14 votes: %+v", p)
	}
	votes(&r, 6, 3, false) // what three of four were for turned out bad
	p := TuneThreshold(0.75, consensus())
	if len(p.Changes) != 1 || p.Changes[0].From != "0.75" || p.Changes[0].To != "0.8" || !strings.Contains(p.Changes[0].Why, "0 votes would have come out wrong rather than 8") {
		t.Errorf("proposal %+v", p)
	}
	if p := TuneThreshold(0.9, consensus()); len(p.Changes) != 0 || !strings.Contains(p.Reason, "no other threshold") {
		t.Errorf("at a threshold that is as good as any: %+v", p)
	}
}

func TestTuneAgents(t *testing.T) {
	now := map[conclave.Role]int{"developer": 2, "qa": 3, "architect": 2, "planner": 0}
	load := conclave.LoadStats{Hours: 24, Roles: []conclave.RoleLoad{{Role: "developer", BusySeconds: 900, Tasks: 49}, {Role: "qa", BusySeconds: 300}, {Role: "architect", BusySeconds: 1}}}
	if p := TuneAgents(now, load); len(p.Changes) != 0 || !strings.Contains(p.Reason, "too little") {
		t.Errorf("of 49 tasks: %+v", p)
	}
	load.Roles[0].Tasks = 50
	p := TuneAgents(now, load)
	if len(p.Changes) != 2 || p.Changes[0].To != "4" || p.Changes[1].To != "1" {
		t.Fatalf("proposal %+v, want 4 developers, 1 qa and still 2 architects", p)
	}

	file := "# head\nagent_pool:\n  size: 9 # all\n  distribution:\n    qa: 3     # testers\n    planner: 0\n    developer: 2\n    architect: 2\n"
	got, err := Edit([]byte(file), p.Changes)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(strings.Replace(file, "qa: 3 ", "qa: 1 ", 1), "developer: 2", "developer: 4", 1); string(got) != want {
		t.Errorf("edited:\n%s\nwant:\n%s", got, want)
	}
	if again := TuneAgents(map[conclave.Role]int{"developer": 4, "qa": 1, "architect": 2}, load); len(again.Changes) != 0 {
		t.Errorf("of its own proposal: %+v", again)
	}
	for _, tt := range []struct {
		file string
		want error
	}{
		{"agent_pool:\n  size: 3\n", conclave.ErrNotFound},
		{"agent_pool:\n  distribution: {developer: 3, qa: 3}\n", conclave.ErrConflict},
		{"agent_pool: [", conclave.ErrInvalid},
	} {
		if _, err := Edit([]byte(tt.file), p.Changes); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.file, err, tt.want)
		}
	}
}
