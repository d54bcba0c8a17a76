package prove

import (
	"context"
	"errors"
	"fmt"

	"conclave"
)

func workflowProofs() []proof {
	return []proof{
		{"workflow_start", "SQL: the run's row and its first event", func(ctx context.Context, s *scene) error {
			run, _, err := s.plan(ctx)
			if err != nil {
				return err
			}
			var kept conclave.Run
			if err := s.records.document(ctx, &kept, `SELECT doc FROM runs WHERE id = $1`, string(run.ID)); err != nil {
				return err
			}
			n, err := s.records.number(ctx, `SELECT count(*) FROM events WHERE run = $1 AND kind = $2`, string(run.ID), string(conclave.EventRunStarted))
			return errors.Join(err, same("the run's task", kept.Task, s.task()), same("how often it started", n, 1))
		}},
		{"workflow_status", "SQL: the run's row and its steps", func(ctx context.Context, s *scene) error {
			run, _, err := s.plan(ctx)
			if err != nil {
				return err
			}
			var d conclave.RunDetail
			if err := s.do(ctx, "workflow_status", conclave.GetRun{ID: run.ID, Wait: 60000}, &d); err != nil {
				return err
			}
			var kept conclave.Run
			if err := s.records.document(ctx, &kept, `SELECT doc FROM runs WHERE id = $1`, string(run.ID)); err != nil {
				return err
			}
			steps, err := s.records.number(ctx, `SELECT count(*) FROM steps WHERE run = $1`, string(run.ID))
			return errors.Join(err, same("the run's task", d.Run.Task, s.task()), same("the run's status", d.Run.Status, kept.Status), same("its steps", len(d.Steps), steps))
		}},
		{"workflow_list", "SQL: the run's row", func(ctx context.Context, s *scene) error {
			run, _, err := s.plan(ctx)
			if err != nil {
				return err
			}
			var list []conclave.Run
			if err := s.do(ctx, "workflow_list", conclave.ListRuns{Page: conclave.Page{Limit: 500}}, &list); err != nil {
				return err
			}
			for _, r := range list {
				if r.ID == run.ID {
					return errors.Join(same("the run's task", r.Task, s.task()), s.inTable(ctx, "runs", "id", string(r.ID)))
				}
			}
			return fmt.Errorf("the list of %d runs lacks %s, which was started", len(list), run.ID)
		}},
		{"workflow_cancel", "SQL: the run's status", func(ctx context.Context, s *scene) error {
			run, _, err := s.mend(ctx)
			if err != nil {
				return err
			}
			var cancelled conclave.Run
			if err := s.do(ctx, "workflow_cancel", conclave.NameRun{Key: s.name, ID: run.ID}, &cancelled); err != nil {
				return err
			}
			return s.status(ctx, run.ID, conclave.RunCancelled)
		}},
		{"approval_list", "SQL: the approval's row", func(ctx context.Context, s *scene) error {
			run, _, err := s.delivered(ctx)
			if err != nil {
				return err
			}
			var list []conclave.Approval
			if err := s.do(ctx, "approval_list", conclave.ListRuns{Page: conclave.Page{Limit: 500}}, &list); err != nil {
				return err
			}
			for _, a := range list {
				if a.Run == run.ID {
					return s.inTable(ctx, "approvals", "id", string(a.ID))
				}
			}
			return fmt.Errorf("the list of %d approvals lacks that of %s, which waits", len(list), run.ID)
		}},
		{"approval_decide", "git: the user's branch is the run's; SQL: the approval's row", func(ctx context.Context, s *scene) error {
			run, repo, err := s.delivered(ctx)
			if err != nil {
				return err
			}
			var a conclave.Approval
			if err := s.do(ctx, "approval_decide", conclave.Approve{Key: s.name, ID: conclave.ApprovalID(run.ID), Decision: conclave.VerdictApprove, Reason: s.name}, &a); err != nil {
				return err
			}
			want, err := s.git(ctx, repo, "rev-parse", "conclave/"+string(run.ID)+"^{tree}")
			if err != nil {
				return err
			}
			if err := s.until(ctx, "the delivery", func() (bool, error) {
				got, err := s.git(ctx, repo, "rev-parse", "main^{tree}")
				return got == want, err
			}); err != nil {
				return err
			}
			var kept conclave.Approval
			err = s.records.document(ctx, &kept, `SELECT doc FROM approvals WHERE run = $1`, string(run.ID))
			return errors.Join(err, same("the reason", kept.Reason, s.name))
		}},
	}
}

func (s *scene) task() string { return "Create a library for intervals, for " + s.name }

// plan starts a run that only plans.
func (s *scene) plan(ctx context.Context) (run conclave.Run, repo string, err error) {
	if repo, err = s.repository(ctx, map[string]string{"README.md": "Empty yet\n"}); err != nil {
		return run, repo, err
	}
	return run, repo, s.do(ctx, "workflow_start", conclave.StartRun{Key: s.name, Task: s.task(), Repo: repo, Workflow: "consensus-planning", Brain: "offline"}, &run)
}

// flawed makes a repository that has something to format.
func (s *scene) flawed(ctx context.Context) (repo string, err error) {
	return s.repository(ctx, map[string]string{
		"go.mod":  "module example.org/proved\n\ngo 1.24\n",
		"word.go": "// Package proved has something to format.\npackage proved\n\n// Word returns a word.\nfunc Word()   string {\n  return \"" + s.name + "\"\n}\n",
	})
}

// mend starts a run that has something to format, and delivers a branch.
func (s *scene) mend(ctx context.Context) (run conclave.Run, repo string, err error) {
	if repo, err = s.flawed(ctx); err != nil {
		return run, repo, err
	}
	return run, repo, s.do(ctx, "workflow_start", conclave.StartRun{Key: s.name, Task: "Fix what the analysers report", Repo: repo, Brain: "offline"}, &run)
}

// delivered is a run whose branch waits for approval.
func (s *scene) delivered(ctx context.Context) (run conclave.Run, repo string, err error) {
	if run, repo, err = s.mend(ctx); err != nil {
		return run, repo, err
	}
	err = until(ctx, limit, "the delivery of "+string(run.ID), func() (bool, error) {
		var kept conclave.Run
		if err := s.records.document(ctx, &kept, `SELECT doc FROM runs WHERE id = $1`, string(run.ID)); err != nil {
			return false, err
		}
		if kept.Status.Ended() && kept.Status != conclave.RunDone {
			return false, fmt.Errorf("run %s is %s: %s", run.ID, kept.Status, kept.Reason)
		}
		n, err := s.records.number(ctx, `SELECT count(*) FROM approvals WHERE run = $1 AND decided = 0`, string(run.ID))
		return n == 1, err
	})
	if err != nil {
		err = earlier{"workflow_start", err}
	}
	return run, repo, err
}

func (s *scene) status(ctx context.Context, run conclave.RunID, want conclave.RunStatus) error {
	return s.until(ctx, "the status "+string(want), func() (bool, error) {
		status, err := s.records.text(ctx, `SELECT status FROM runs WHERE id = $1`, string(run))
		return status == string(want), err
	})
}
