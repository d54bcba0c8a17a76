package council_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/council"
	"conclave/internal/store"
)

// outcomes are n acts of an agent that turned out right or wrong.
func outcomes(agent conclave.AgentName, category conclave.Category, brain string, n int, confirmed bool) []conclave.AgentOutcome {
	var list []conclave.AgentOutcome
	for i := range n {
		list = append(list, conclave.AgentOutcome{Agent: agent, Category: category, Brain: brain, Confirmed: confirmed,
			Subject: fmt.Sprintf("%s-%v-%d", brain, confirmed, i), Why: "planted"})
	}
	return list
}

func report(t *testing.T, s *council.Service, key string, list []conclave.AgentOutcome) int {
	t.Helper()
	r, err := s.Report(t.Context(), conclave.ReportOutcomes{Key: key, Outcomes: list})
	if err != nil {
		t.Fatal(err)
	}
	return r.Kept
}

func trustOf(t *testing.T, s *council.Service, in conclave.ListTrust) []conclave.TrustScore {
	t.Helper()
	scores, err := s.Scores(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return scores
}

func TestTrust(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		s := newCouncil(t, db, newVoters(t, "qa-1"))
		if scores := trustOf(t, s, conclave.ListTrust{}); len(scores) != 0 {
			t.Errorf("trust before anything happened: %+v", scores)
		}
		bad := outcomes("qa-1", "vote.plan", "playbook", 6, false)
		if n := report(t, s, "k1", bad); n != 6 {
			t.Errorf("%d outcomes were new, want 6", n)
		}
		if n := report(t, s, "k1", bad); n != 6 { // the same report: the same answer
			t.Errorf("reported again: %d, want 6", n)
		}
		if n := report(t, s, "k2", bad); n != 0 { // the same acts
			t.Errorf("%d acts counted twice", n)
		}
		report(t, s, "k3", outcomes("qa-1", "build", "model:m", 10, true))
		scores := trustOf(t, s, conclave.ListTrust{})
		if len(scores) != 2 {
			t.Fatalf("scores %+v, want one for each category", scores)
		}
		for i, want := range []struct {
			category  conclave.Category
			trust, wt float64
		}{{"build", 18.0 / 20, 1}, {"vote.plan", 8.0 / 16, 0.6}} {
			got := scores[i]
			if got.Category != want.category || got.Trust == nil || math.Abs(*got.Trust-want.trust) > 1e-9 || got.Weight != want.wt {
				t.Errorf("score %+v (trust %v), want %+v", got, got.Trust, want)
			}
		}
		if total := trustOf(t, s, conclave.ListTrust{Total: true}); len(total) != 1 || *total[0].Trust != 18.0/26 || total[0].Refuted != 6 {
			t.Errorf("in all: %+v", total)
		}
		for _, in := range []conclave.ReportOutcomes{{}, {Outcomes: []conclave.AgentOutcome{{Agent: "qa-1", Category: "build"}}}} {
			if _, err := s.Report(t.Context(), in); !errors.Is(err, conclave.ErrInvalid) {
				t.Errorf("report of %+v: %v, want ErrInvalid", in, err)
			}
		}
	})
}

// Bad outcomes of the two that approve turn a vote that two against one would
// win, and the decision can be counted again by what it records.
func TestTrustChangesACloseVote(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
		v.says = byRole(votes{"architect": yes, "security": yes, "qa": no})
		for i := range v.agents {
			v.agents[i].Brain = "playbook"
		}
		s := newCouncil(t, db, v)
		close := func(m *conclave.Motion) {
			m.Rule.Threshold, m.Rule.Weighted, m.Settle, m.Rounds = 0.66, true, true, 1
			m.Rule.Quorum = 3
			m.Senior = ""
		}
		before := decided(t, s, motion(close))
		if before.Decision == nil || before.Decision.Outcome != conclave.OutcomeApproved || len(before.Motion.Weights) != 0 {
			t.Fatalf("before: %+v", before.Decision)
		}
		// Of another category, or with another brain: these say nothing of this vote.
		report(t, s, "other", append(outcomes("architect-1", "build", "playbook", 20, false), outcomes("security-1", "vote.plan", "model:m", 20, false)...))
		if d := decided(t, s, motion(close)).Decision; d == nil || d.Outcome != conclave.OutcomeApproved {
			t.Fatalf("after outcomes of another kind: %+v", d)
		}
		report(t, s, "bad", append(outcomes("architect-1", "vote.plan", "playbook", 12, false), outcomes("security-1", "vote.plan", "playbook", 12, false)...))
		d := decided(t, s, motion(close)).Decision
		if d == nil || d.Outcome != conclave.OutcomeRejected || !strings.HasPrefix(d.Reason, "1 yes of 2 is 0.500, below") {
			t.Fatalf("after: %+v; want the approvals, at half their weight, to be short of the threshold", d)
		}
		if len(d.Motion.Weights) != 2 || d.Motion.Weights[0] != (conclave.Weight{Agent: "architect-1", Weight: 0.5}) {
			t.Errorf("weights %+v", d.Motion.Weights)
		}
		if err := council.Verify(*d); err != nil {
			t.Errorf("verify: %v", err)
		}
		d.Motion.Weights[0].Weight = 0.1
		if err := council.Verify(*d); !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("verify with other weights: %v, want ErrDenied", err)
		}
	})
}
