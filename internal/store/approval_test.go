package store_test

import (
	"context"
	"errors"
	"testing"

	"conclave"
	"conclave/internal/store"
	"conclave/internal/workflow"
)

// waiting makes a run with a step that waits for a human's word on an approval.
func waiting(t *testing.T, db *store.DB, run conclave.RunID, ask conclave.Approval) {
	t.Helper()
	id := conclave.StepID("step-" + string(run))
	claimed := make(chan error, 1)
	db.Handle(store.WorkStep, 1, func(ctx context.Context, id string, epoch int64) error {
		step, _, ok, err := db.Runs().ClaimStep(ctx, conclave.StepID(id), epoch)
		if err == nil && ok {
			err = db.Runs().FinishStep(ctx, step, workflow.Transition{State: conclave.StepWaiting, Ask: &ask})
		}
		if ok || err != nil {
			claimed <- err
		}
		return nil
	})
	if _, err := db.Runs().CreateRun(t.Context(), conclave.StartRun{}, conclave.Run{ID: run, Status: conclave.RunRunning}, []conclave.Step{{ID: id, Kind: "vote", Key: "vote"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx, func() {}) }()
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// A human takes one of the options that there are, and what was decided can be
// listed after what is open.
func TestApprovals(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		waiting(t, db, "run-1", conclave.Approval{ID: "appr-1", Kind: "motion", Title: "Which store?", Options: []string{"sql", "file"}})
		for name, in := range map[string]conclave.Approve{
			"no option":      {Decision: conclave.VerdictApprove},
			"unknown option": {Decision: conclave.VerdictApprove, Option: "tape"},
			"rejected":       {Decision: conclave.VerdictReject},
		} {
			in.ID = "appr-1"
			if _, err := db.Runs().Decide(t.Context(), in); !errors.Is(err, conclave.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", name, err)
			}
		}
		list := func(state conclave.ApprovalState, run conclave.RunID) (ids string) {
			t.Helper()
			all, err := db.Runs().Approvals(t.Context(), conclave.ListApprovals{State: state, Run: run})
			if err != nil {
				t.Error(err)
			}
			for _, a := range all {
				ids += string(a.ID) + " "
			}
			return ids
		}
		if open, decided := list("", ""), list(conclave.ApprovalDecided, ""); open != "appr-1 " || decided != "" {
			t.Errorf("before the decision: open %q, decided %q", open, decided)
		}
		a, err := db.Runs().Decide(t.Context(), conclave.Approve{ID: "appr-1", Decision: conclave.VerdictApprove, Option: "file"})
		if err != nil || a.Option != "file" || a.Decided == nil {
			t.Errorf("decided as %+v, %v", a, err)
		}
		for state, want := range map[conclave.ApprovalState]string{"": "", conclave.ApprovalOpen: "", conclave.ApprovalDecided: "appr-1 ", conclave.ApprovalAll: "appr-1 "} {
			if got := list(state, ""); got != want {
				t.Errorf("state %q lists %q, want %q", state, got, want)
			}
		}
		if got := list(conclave.ApprovalAll, "run-2"); got != "" {
			t.Errorf("another run has %q", got)
		}
		if _, err := db.Runs().Approvals(t.Context(), conclave.ListApprovals{State: "old"}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("a state that is none: %v", err)
		}
	})
}
