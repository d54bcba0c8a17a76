package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/workflow"
)

// Runs implements the workflow service's store.
func (db *DB) Runs() workflow.Store { return runStore{db} }

type runStore struct{ db *DB }

func (s runStore) CreateRun(ctx context.Context, in conclave.StartRun, run conclave.Run, steps []conclave.Step) (conclave.Run, error) {
	return once(ctx, s.db, "workflow_start", in.Key, in, func(tx *Tx) (conclave.Run, error) {
		now, err := tx.Now()
		if err != nil {
			return run, err
		}
		run.Created = now
		doc, err := encode(run)
		if err != nil {
			return run, err
		}
		if _, err := tx.exec(`INSERT INTO runs (id, tenant, status, created, doc) VALUES ($1, $2, $3, $4, $5)`,
			string(run.ID), string(tenantOf(ctx)), string(run.Status), now.UnixMicro(), doc); err != nil {
			return run, err
		}
		if err := tx.Append(conclave.Event{Kind: conclave.EventRunStarted, Tenant: tenantOf(ctx), Actor: run.Human, Run: run.ID,
			Conversation: run.Conversation, Subject: string(run.ID), Text: run.Task}); err != nil {
			return run, err
		}
		return run, s.addSteps(tx, tenantOf(ctx), run.ID, steps)
	})
}

func (s runStore) addSteps(tx *Tx, tenant conclave.TenantID, run conclave.RunID, steps []conclave.Step) error {
	var position int
	if _, err := tx.scan([]any{&position}, `SELECT count(*) FROM steps WHERE run = $1`, string(run)); err != nil {
		return err
	}
	for _, step := range steps {
		step.Run, step.State = run, conclave.StepBlocked
		doc, err := encode(step)
		if err != nil {
			return err
		}
		n, err := tx.exec(`INSERT INTO steps (id, tenant, run, key, state, position, doc) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (run, key) DO NOTHING`,
			string(step.ID), string(tenant), string(run), step.Key, string(step.State), position, doc)
		if err != nil {
			return err
		}
		if n == 0 {
			return conclave.Errorf(conclave.ErrConflict, "run %s already has a step %q", run, step.Key)
		}
		position++
		if err := tx.Append(conclave.Event{Kind: conclave.EventStepAdded, Tenant: tenant, Actor: string(conclave.ServiceWorkflow), Run: run, Step: step.ID,
			Subject: string(step.ID), Text: step.Title, Data: stepData(step)}); err != nil {
			return err
		}
	}
	return s.unblock(tx, run)
}

// stepData is what an event tells of a step.
func stepData(step conclave.Step) json.RawMessage {
	about := map[string]any{"key": step.Key, "kind": step.Kind, "state": step.State, "depends_on": step.DependsOn, "reason": step.Reason}
	if step.Started != nil && step.Ended != nil {
		about["seconds"] = step.Ended.Sub(*step.Started).Seconds()
	}
	data, err := json.Marshal(about)
	if err != nil {
		return nil
	}
	return data
}

// unblock makes ready what waits for nothing any more.
func (s runStore) unblock(tx *Tx, run conclave.RunID) error {
	steps, err := tx.steps(run)
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for _, step := range steps {
		done[step.Key] = step.State == conclave.StepDone
	}
	for _, step := range steps {
		if step.State != conclave.StepBlocked {
			continue
		}
		free := true
		for _, key := range step.DependsOn {
			free = free && done[key]
		}
		if !free {
			continue
		}
		step.State = conclave.StepReady
		if err := tx.putStep(step); err != nil {
			return err
		}
		if err := tx.ready(WorkStep, string(step.ID), time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) steps(run conclave.RunID) ([]conclave.Step, error) {
	return listDocs[conclave.Step](tx, `SELECT doc FROM steps WHERE run = $1 ORDER BY position`, string(run))
}

func (tx *Tx) approvals(run conclave.RunID) ([]conclave.Approval, error) {
	return listDocs[conclave.Approval](tx, `SELECT doc FROM approvals WHERE run = $1 ORDER BY asked`, string(run))
}

func (tx *Tx) putStep(step conclave.Step) error {
	doc, err := encode(step)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE steps SET state = $2, doc = $3 WHERE id = $1`, string(step.ID), string(step.State), doc)
	return err
}

func (tx *Tx) run(id conclave.RunID) (conclave.Run, conclave.TenantID, error) {
	var doc string
	var tenant conclave.TenantID
	query := `SELECT doc, tenant FROM runs WHERE id = $1`
	if tx.db.postgres && !tx.reading {
		query += ` FOR UPDATE` // the run's row orders the changes of its steps
	}
	found, err := tx.scan([]any{&doc, &tenant}, query, string(id))
	if err != nil {
		return conclave.Run{}, "", err
	}
	if !found {
		return conclave.Run{}, "", conclave.Errorf(conclave.ErrNotFound, "no run %q", id)
	}
	var run conclave.Run
	if err := json.Unmarshal([]byte(doc), &run); err != nil {
		return run, "", fmt.Errorf("decode run %s: %w", id, err)
	}
	return run, tenant, nil
}

func (tx *Tx) putRun(run conclave.Run) error {
	doc, err := encode(run)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE runs SET status = $2, doc = $3 WHERE id = $1`, string(run.ID), string(run.Status), doc)
	return err
}

func (s runStore) Run(ctx context.Context, id conclave.RunID) (workflow.State, error) {
	var st workflow.State
	err := s.db.View(ctx, func(tx *Tx) (err error) {
		var tenant conclave.TenantID
		if st.Run, tenant, err = tx.run(id); err != nil {
			return err
		}
		if tenant != tenantOf(ctx) {
			return conclave.Errorf(conclave.ErrNotFound, "no run %q", id)
		}
		if st.Steps, err = tx.steps(id); err != nil {
			return err
		}
		st.Approvals, err = tx.approvals(id)
		return err
	})
	return st, err
}

func (s runStore) WaitRun(ctx context.Context, id conclave.RunID, d time.Duration) error {
	return s.db.wait(ctx, string(id), d, func() (bool, error) {
		st, err := s.Run(ctx, id)
		return st.Run.Status.Ended(), err
	})
}

func (s runStore) Runs(ctx context.Context, in conclave.ListRuns) ([]conclave.Run, error) {
	limit, err := pageLimit(in.Page)
	if err != nil {
		return nil, err
	}
	var runs []conclave.Run
	err = s.db.View(ctx, func(tx *Tx) (err error) {
		runs, err = listDocs[conclave.Run](tx, `SELECT doc FROM runs WHERE tenant = $1 AND ($2 = '' OR status = $2) AND ($3 = '' OR id < $3)
			ORDER BY created DESC, id DESC LIMIT $4`, string(tenantOf(ctx)), string(in.Status), in.Before, limit)
		return err
	})
	return runs, err
}

func pageLimit(p conclave.Page) (int, error) {
	if p.Limit == 0 {
		return 50, nil
	}
	if p.Limit < 1 || p.Limit > 500 {
		return 0, conclave.Errorf(conclave.ErrInvalid, "limit is %d; it must be 1 to 500", p.Limit)
	}
	return p.Limit, nil
}

func (s runStore) ClaimStep(ctx context.Context, id conclave.StepID, epoch int64) (conclave.Step, workflow.State, bool, error) {
	var step conclave.Step
	var st workflow.State
	var ok bool
	err := s.db.Update(ctx, func(tx *Tx) error {
		newEpoch, claims, claimed, err := tx.claim(WorkStep, string(id), epoch)
		if err != nil || !claimed {
			return err
		}
		var found bool
		if step, found, err = getDoc[conclave.Step](tx, `SELECT doc FROM steps WHERE id = $1`, string(id)); err != nil || !found {
			return err
		}
		var tenant conclave.TenantID
		if st.Run, tenant, err = tx.run(step.Run); err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		step.State, step.Epoch = conclave.StepRunning, newEpoch
		if step.Started == nil {
			step.Started = &now
		}
		if err := tx.putStep(step); err != nil {
			return err
		}
		kind := conclave.EventStepStarted
		if claims > 1 { // by somebody who did not finish
			kind = conclave.EventStepRequeued
		}
		if err := tx.Append(conclave.Event{Kind: kind, Tenant: tenant, Actor: string(conclave.ServiceWorkflow), Run: step.Run, Step: id,
			Subject: string(id), Text: step.Title, Data: stepData(step)}); err != nil {
			return err
		}
		if st.Steps, err = tx.steps(step.Run); err != nil {
			return err
		}
		if st.Approvals, err = tx.approvals(step.Run); err != nil {
			return err
		}
		st.Tenant = tenant
		ok = true
		return nil
	})
	return step, st, ok, err
}

func (s runStore) KeepStep(ctx context.Context, step conclave.Step) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		if _, _, err := tx.run(step.Run); err != nil { // first: its row orders the writers
			return err
		}
		if err := tx.hold(WorkStep, string(step.ID), step.Epoch); err != nil {
			return err
		}
		return tx.putStep(step)
	})
}

func (s runStore) FinishStep(ctx context.Context, step conclave.Step, t workflow.Transition) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		run, tenant, err := tx.run(step.Run) // first: its row orders the writers
		if err != nil {
			return err
		}
		if err := tx.hold(WorkStep, string(step.ID), step.Epoch); err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		step := step
		step.State, step.Reason = t.State, t.Reason
		if t.Output != nil {
			if step.Output, err = json.Marshal(t.Output); err != nil {
				return fmt.Errorf("encode the output of %s: %w", step.Key, err)
			}
		}
		if step.State.Ended() {
			step.Ended = &now
		}
		switch step.State {
		case conclave.StepReady:
			step.Attempt++
		case conclave.StepBlocked:
			step.DependsOn = t.DependsOn
		}
		if err := tx.putStep(step); err != nil {
			return err
		}
		if t.State == conclave.StepReady {
			if err := tx.settle(WorkStep, string(step.ID), step.Epoch); err != nil {
				return err
			}
			if err := tx.ready(WorkStep, string(step.ID), now.Add(t.RetryIn)); err != nil {
				return err
			}
		} else if err := tx.settle(WorkStep, string(step.ID), step.Epoch); err != nil {
			return err
		}
		if err := tx.Append(conclave.Event{Kind: conclave.EventStepEnded, Tenant: tenant, Actor: string(conclave.ServiceWorkflow), Run: run.ID, Step: step.ID,
			Subject: string(step.ID), Text: stepText(step), Data: stepData(step)}); err != nil {
			return err
		}
		for _, e := range t.Events {
			e.Tenant, e.Run, e.Step, e.Conversation = tenant, run.ID, step.ID, run.Conversation
			if e.Actor == "" {
				e.Actor = string(conclave.ServiceWorkflow)
			}
			if err := tx.Append(e); err != nil {
				return err
			}
		}
		if t.Ask != nil {
			if err := tx.ask(*t.Ask, tenant, run.ID, now); err != nil {
				return err
			}
		}
		if t.Run != nil {
			t.Run(&run)
			if err := tx.putRun(run); err != nil {
				return err
			}
		}
		if t.End != "" {
			if err := s.end(tx, run, tenant, t.End, t.EndReason); err != nil {
				return err
			}
		}
		if err := s.addSteps(tx, tenant, run.ID, t.Add); err != nil {
			return err
		}
		return s.unblock(tx, run.ID)
	})
}

func stepText(step conclave.Step) string {
	if step.Reason != "" {
		return step.Title + ": " + step.Reason
	}
	return step.Title
}

func (tx *Tx) ask(a conclave.Approval, tenant conclave.TenantID, run conclave.RunID, now time.Time) error {
	a.Run, a.Asked = run, now
	doc, err := encode(a)
	if err != nil {
		return err
	}
	n, err := tx.exec(`INSERT INTO approvals (id, tenant, run, asked, decided, doc) VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (id) DO NOTHING`,
		string(a.ID), string(tenant), string(run), now.UnixMicro(), doc)
	if err != nil || n == 0 {
		return err
	}
	return tx.Append(conclave.Event{Kind: conclave.EventApprovalAsked, Tenant: tenant, Actor: string(conclave.ServiceWorkflow), Run: run, Subject: string(a.ID), Text: a.Title})
}

// end gives the run its final status. What has not ended is cancelled, and its
// workers lose their claims; steps that wait for a human stay when the run is done.
func (s runStore) end(tx *Tx, run conclave.Run, tenant conclave.TenantID, status conclave.RunStatus, reason string) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	run.Status, run.Reason, run.Ended = status, reason, &now
	if err := tx.putRun(run); err != nil {
		return err
	}
	steps, err := tx.steps(run.ID)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if step.State.Ended() || (step.State == conclave.StepWaiting && status == conclave.RunDone) {
			continue
		}
		step.State, step.Reason, step.Ended = conclave.StepCancelled, "the run ended: "+string(status), &now
		if err := tx.putStep(step); err != nil {
			return err
		}
		if err := tx.revoke(WorkStep, string(step.ID)); err != nil {
			return err
		}
	}
	data, err := json.Marshal(map[string]any{"workflow": run.Workflow, "status": status, "seconds": now.Sub(run.Created).Seconds()})
	if err != nil {
		return fmt.Errorf("encode the end of run %s: %w", run.ID, err)
	}
	return tx.Append(conclave.Event{Kind: conclave.EventRunEnded, Tenant: tenant, Actor: string(conclave.ServiceWorkflow), Run: run.ID,
		Conversation: run.Conversation, Subject: string(run.ID), Text: string(status) + ": " + reason, Data: data})
}

func (s runStore) Cancel(ctx context.Context, in conclave.NameRun, cleanup conclave.Step) (conclave.Run, error) {
	return once(ctx, s.db, "workflow_cancel", in.Key, in, func(tx *Tx) (conclave.Run, error) {
		run, tenant, err := tx.run(in.ID)
		if err != nil {
			return run, err
		}
		if tenant != tenantOf(ctx) {
			return run, conclave.Errorf(conclave.ErrNotFound, "no run %q", in.ID)
		}
		if run.Status.Ended() {
			return run, conclave.Errorf(conclave.ErrConflict, "run %s has ended: %s", in.ID, run.Status)
		}
		if err := s.end(tx, run, tenant, conclave.RunCancelled, "cancelled by "+conclave.CallerFrom(ctx).Name()); err != nil {
			return run, err
		}
		if err := s.addSteps(tx, tenant, run.ID, []conclave.Step{cleanup}); err != nil {
			return run, err
		}
		run, _, err = tx.run(in.ID)
		return run, err
	})
}

func (s runStore) Approvals(ctx context.Context, in conclave.ListApprovals) ([]conclave.Approval, error) {
	limit, err := pageLimit(conclave.Page{Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	state := cmp.Or(in.State, conclave.ApprovalOpen)
	if state != conclave.ApprovalOpen && state != conclave.ApprovalDecided && state != conclave.ApprovalAll {
		return nil, conclave.Errorf(conclave.ErrInvalid, "state is %q; it must be open, decided or all", in.State)
	}
	var list []conclave.Approval
	err = s.db.View(ctx, func(tx *Tx) (err error) {
		list, err = listDocs[conclave.Approval](tx, `SELECT doc FROM approvals WHERE tenant = $1 AND ($2 = '' OR run = $2)
			AND ($3 = 'all' OR ($3 = 'open') = (decided = 0)) ORDER BY CASE WHEN decided = 0 THEN 0 ELSE 1 END, asked DESC LIMIT $4`,
			string(tenantOf(ctx)), string(in.Run), string(state), limit)
		return err
	})
	return list, err
}

func (s runStore) Approval(ctx context.Context, id conclave.ApprovalID) (conclave.Approval, error) {
	var a conclave.Approval
	err := s.db.View(ctx, func(tx *Tx) (err error) { a, err = tx.approval(ctx, id); return err })
	return a, err
}

// approval finds an approval by its id, or the undecided one of a run by the run's id.
func (tx *Tx) approval(ctx context.Context, id conclave.ApprovalID) (conclave.Approval, error) {
	a, found, err := getDoc[conclave.Approval](tx, `SELECT doc FROM approvals WHERE tenant = $1 AND (id = $2 OR run = $2) ORDER BY decided, asked LIMIT 1`,
		string(tenantOf(ctx)), string(id))
	if err == nil && !found {
		err = conclave.Errorf(conclave.ErrNotFound, "nothing waits for approval under %q", id)
	}
	return a, err
}

// choose checks that a word on an approval is one of those that it can have.
func choose(a conclave.Approval, in conclave.Approve) error {
	switch {
	case len(a.Options) == 0 && in.Option != "":
		return conclave.Errorf(conclave.ErrInvalid, "option is %q; %q has no options, only yes and no", in.Option, a.Title)
	case len(a.Options) == 0:
		return nil
	case in.Decision == conclave.VerdictReject:
		return conclave.Errorf(conclave.ErrInvalid, "%q can't be rejected, one of its options must be taken: %s; to stop the run, cancel it", a.Title, strings.Join(a.Options, ", "))
	case !slices.Contains(a.Options, in.Option):
		return conclave.Errorf(conclave.ErrInvalid, "option is %q; it must be one of %s", in.Option, strings.Join(a.Options, ", "))
	}
	return nil
}

func (s runStore) Decide(ctx context.Context, in conclave.Approve) (conclave.Approval, error) {
	return once(ctx, s.db, "approval_decide", in.Key, in, func(tx *Tx) (conclave.Approval, error) {
		a, err := tx.approval(ctx, in.ID)
		if err != nil {
			return a, err
		}
		if a.Decided != nil {
			return a, conclave.Errorf(conclave.ErrConflict, "approval %s was decided: %s by %s", a.ID, a.Decision, a.By)
		}
		if err := choose(a, in); err != nil {
			return a, err
		}
		now, err := tx.Now()
		if err != nil {
			return a, err
		}
		a.Option = in.Option
		a.Decision, a.Reason, a.By, a.Decided = in.Decision, in.Reason, conclave.CallerFrom(ctx).Name(), &now
		doc, err := encode(a)
		if err != nil {
			return a, err
		}
		if _, err := tx.exec(`UPDATE approvals SET decided = $2, doc = $3 WHERE id = $1`, string(a.ID), now.UnixMicro(), doc); err != nil {
			return a, err
		}
		if err := tx.Append(conclave.Event{Kind: conclave.EventApprovalGiven, Tenant: tenantOf(ctx), Actor: a.By, Run: a.Run, Subject: string(a.ID),
			Text: fmt.Sprintf("%s: %s", a.Title, a.Decision)}); err != nil {
			return a, err
		}
		steps, err := tx.steps(a.Run)
		if err != nil {
			return a, err
		}
		for _, step := range steps { // what waited goes on
			if step.State != conclave.StepWaiting {
				continue
			}
			step.State = conclave.StepReady
			if err := tx.putStep(step); err != nil {
				return a, err
			}
			if err := tx.ready(WorkStep, string(step.ID), time.Time{}); err != nil {
				return a, err
			}
		}
		return a, nil
	})
}
