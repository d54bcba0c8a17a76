package workflow

import (
	"testing"

	"conclave"
)

// What a verification shows of builder, reviewers and voters, and what it leaves open.
func TestVerified(t *testing.T) {
	w := &work{State: State{Run: conclave.Run{Brain: "offline"}}}
	ballots := []conclave.Ballot{{Voter: "qa-1", Round: 1, Verdict: conclave.VerdictReject}, {Voter: "qa-1", Round: 2, Verdict: conclave.VerdictApprove},
		{Voter: "security-1", Round: 1, Verdict: conclave.VerdictReject}, {Voter: "architect-1", Round: 1, Verdict: conclave.VerdictAbstain}}
	d := conclave.Decision{Ballots: ballots, Motion: conclave.Motion{ID: "motion-1", Subject: conclave.Subject{Kind: "tree"}, Brain: "playbook"}}
	b := buildOut{Agent: "developer-1", Commit: conclave.Commit{Hash: "c", Tree: "t"}}
	finding := func(rule string, change func(*conclave.ReviewFinding)) conclave.ReviewFinding {
		f := conclave.ReviewFinding{Reviewer: "code-reviewer-1", Finding: conclave.Finding{Tool: "review", Rule: rule, Level: conclave.LevelError, Category: "security"}}
		change(&f)
		return f
	}
	held := finding("held", func(f *conclave.ReviewFinding) { f.Evidence = "G101" })
	dropped := finding("dropped", func(f *conclave.ReviewFinding) { f.Refuted = "it is a test" })
	advice := finding("advice", func(f *conclave.ReviewFinding) { f.Level = conclave.LevelNote })
	failed := conclave.Evidence{Checks: []conclave.Check{{Name: "test"}}}
	type shown map[string]bool // agent and category → confirmed
	for _, tt := range []struct {
		name string
		out  verifyOut
		want shown
	}{
		{"accepted", verifyOut{Accepted: true, Findings: []conclave.ReviewFinding{dropped, advice}},
			shown{"developer-1 build": true, "code-reviewer-1 finding.security": false}},
		{"gates failed", verifyOut{Evidence: failed}, shown{"developer-1 build": false, "qa-1 vote.tree": false, "security-1 vote.tree": true}},
		{"a finding held", verifyOut{Findings: []conclave.ReviewFinding{held}},
			shown{"developer-1 build": false, "code-reviewer-1 finding.security": true, "qa-1 vote.tree": false, "security-1 vote.tree": true}},
		{"refused without evidence", verifyOut{Findings: []conclave.ReviewFinding{advice}}, shown{}},
	} {
		got := w.verified(t.Context(), b, tt.out, d)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %+v, want %v", tt.name, got, tt.want)
		}
		for _, o := range got {
			confirmed, ok := tt.want[string(o.Agent)+" "+string(o.Category)]
			if !ok || confirmed != o.Confirmed || o.Brain != "playbook" || o.Why == "" || o.Subject == "" {
				t.Errorf("%s: %+v, want %v", tt.name, o, tt.want)
			}
		}
	}
}
