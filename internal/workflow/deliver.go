package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/git"
)

type deliverInput struct {
	Vote       string   `json:"vote,omitempty"`
	NeedsModel []string `json:"needs_model,omitempty"` // parts of the task that nothing here can do
	Why        string   `json:"why,omitempty"`         // why a step of the plan can't be done here
	Uncovered  []string `json:"uncovered,omitempty"`   // parts of an approved plan that nobody here can build
}

const addModel = ". Add a model: set ANTHROPIC_API_KEY, or OPENAI_BASE_URL and CONCLAVE_MODEL, and run it again"

// left returns what the run's last repair left to somebody's judgement.
func (w *work) left() []conclave.LeftFinding {
	var left []conclave.LeftFinding
	for _, b := range w.builds() {
		left = b.Reply.Left
	}
	return left
}

// nothing says why the run changed nothing, when a step said so.
func (w *work) nothing() string {
	for _, b := range w.builds() {
		if b.Reply.Nothing != "" {
			return b.Reply.Nothing
		}
	}
	return ""
}

// builds returns what the run's builds did, in order.
func (w *work) builds() []buildOut {
	var list []buildOut
	for _, step := range w.Steps {
		if step.Kind != kindBuild || step.State != conclave.StepDone {
			continue
		}
		if b, err := output[buildOut](w, step.Key); err == nil {
			list = append(list, b)
		}
	}
	return list
}

type deliverOut struct {
	Report conclave.Report `json:"report"`
	Usage  conclave.Usage  `json:"usage"`
}

// deliver writes the reports and ends the run. Merging into the user's own
// branch is another step, which waits for their approval.
func deliver(ctx context.Context, w *work) (Transition, error) {
	in, err := input[deliverInput](w)
	if err != nil && len(w.step.Input) > 0 {
		return Transition{}, err
	}
	status, reason := conclave.RunDone, "the plan was approved"
	switch {
	case len(in.NeedsModel) > 0:
		status = conclave.RunNeedsModel
		reason = "no playbook covers: " + strings.Join(quoted(in.NeedsModel), "; ") + addModel
	case in.Why != "":
		status, reason = conclave.RunNeedsModel, in.Why+addModel
	case len(in.Uncovered) > 0:
		reason += "; to build it, a model is needed for: " + strings.Join(quoted(in.Uncovered), "; ") + addModel
	case w.Run.Head != "":
		reason = "branch " + w.Run.Branch + " is ready to merge"
		if n := len(w.left()); n > 0 {
			reason += fmt.Sprintf("; the report names what needs judgement: %s", count(n, "finding"))
		}
	case w.nothing() != "":
		reason = "nothing to change: " + w.nothing()
	}
	if status == conclave.RunDone && w.Run.Head != "" {
		approval, err := output[decisionOut](w, in.Vote)
		if err != nil {
			return Transition{}, err
		}
		if err := w.learnVotes(ctx, "learn", approval.Motion, true, "the branch that it led to is ready to merge"); err != nil {
			return Transition{}, err
		}
	}
	usage, report, err := w.account(ctx, status, reason)
	if err != nil {
		return Transition{}, err
	}
	t := ended(deliverOut{Report: report, Usage: usage}, status, reason)
	t.reported = true
	t.Run = func(r *conclave.Run) { r.Report, r.Usage = report, usage }
	if status == conclave.RunDone && w.Run.Head != "" {
		t.Add = append(t.Add, newStep(kindLand, "land", "Merge into your branch, after approval", nil, w.step.Key))
	}
	return t, nil
}

func quoted(list []string) []string {
	var q []string
	for _, s := range list {
		q = append(q, "“"+s+"”")
	}
	return q
}

// land waits for the user's word, then moves their branch.
func land(ctx context.Context, w *work) (Transition, error) {
	in, err := output[intakeOut](w, "intake")
	if err != nil {
		return Transition{}, err
	}
	if in.Facts.Branch == "" {
		return Transition{State: conclave.StepDone, Reason: "HEAD is detached: there is no branch to merge into"}, nil
	}
	i := slices.IndexFunc(w.Approvals, func(a conclave.Approval) bool { return a.Kind == "deliver" })
	if i < 0 || w.Approvals[i].Decided == nil {
		return Transition{State: conclave.StepWaiting, Reason: "waits for approval",
			Ask: &conclave.Approval{ID: conclave.ApprovalID("appr-" + string(w.Run.ID)), Kind: "deliver",
				Title:   fmt.Sprintf("Merge %s into %s", w.Run.Branch, in.Facts.Branch),
				Detail:  fmt.Sprintf("%s moves from %.12s to %.12s in %s. The report: %s", in.Facts.Branch, w.Run.Base, w.Run.Head, w.Run.Repo, w.Run.Report.Markdown),
				Subject: w.Run.Head}}, nil
	}
	a := w.Approvals[i]
	if a.Decision != conclave.VerdictApprove {
		return Transition{State: conclave.StepDone, Reason: "rejected by " + a.By}, nil
	}
	m, err := w.s.o.Worktrees.Deliver(ctx, conclave.Deliver{Key: w.key("deliver"), Run: w.Run.ID, Repo: w.Run.Repo, Into: in.Facts.Branch, Head: w.Run.Head})
	if err != nil {
		return Transition{}, fmt.Errorf("merge into %s: %w", in.Facts.Branch, err)
	}
	return done(mergeOut{Merge: m}), nil
}

// lastCalls is how long after its end a run's model calls may take to end, before
// its accounts are closed without them.
const lastCalls = time.Minute

// cleanup follows every end of a run. It takes back what was asked of agents,
// gives back the worktrees, and, when the last model call has ended, writes what
// the run cost in all.
func cleanup(ctx context.Context, w *work) (Transition, error) {
	if err := w.takeBack(ctx); err != nil {
		return Transition{}, err
	}
	leases, err := w.s.o.Worktrees.List(ctx, conclave.ListWorktrees{Run: w.Run.ID, Leased: true})
	if err != nil {
		return Transition{}, fmt.Errorf("list the run's worktrees: %w", err)
	}
	for _, l := range leases {
		if _, err := w.s.o.Worktrees.Release(ctx, conclave.NameWorktree{Key: "cleanup/" + string(l.ID), ID: l.ID}); err != nil {
			return Transition{}, fmt.Errorf("release %s: %w", l.Path, err)
		}
	}
	// An agent that has not heard yet that it is to stop may be about to call.
	usage, err := w.s.o.Models.Close(ctx, conclave.CloseAccount{Run: w.Run.ID})
	if err != nil {
		return Transition{}, fmt.Errorf("close the run's account: %w", err)
	}
	if usage.Pending > 0 && time.Since(*w.Run.Ended) < lastCalls {
		return Transition{State: conclave.StepReady, RetryIn: time.Second, Reason: count(int(usage.Pending), "model call") + " still to end"}, nil
	}
	usage, report, err := w.account(ctx, w.Run.Status, w.Run.Reason)
	if err != nil {
		return Transition{}, err
	}
	return Transition{State: conclave.StepDone, Reason: count(len(leases), "worktree") + " released",
		Run: func(r *conclave.Run) { r.Usage, r.Report = usage, report }}, nil
}

// takeBack cancels what agents still do for a run that has ended.
func (w *work) takeBack(ctx context.Context) error {
	in := conclave.ListMessages{Run: w.Run.ID, Limit: 1000}
	seen := map[conclave.TaskID]bool{}
	for {
		messages, err := w.s.o.Hub.Messages(ctx, in)
		if err != nil {
			return fmt.Errorf("list what was asked of agents: %w", err)
		}
		for _, m := range messages {
			if m.Task == "" || seen[m.Task] {
				continue
			}
			seen[m.Task] = true
			task, err := w.s.o.Hub.Task(ctx, conclave.GetTask{ID: m.Task})
			if err == nil && !task.State.Ended() {
				_, err = w.s.o.Hub.Cancel(ctx, conclave.NameTask{ID: m.Task})
			}
			if err != nil && !errors.Is(err, conclave.ErrConflict) && !errors.Is(err, conclave.ErrNotFound) {
				return fmt.Errorf("take back task %s: %w", m.Task, err)
			}
		}
		if len(messages) < in.Limit {
			return nil
		}
		in.After = messages[len(messages)-1].ID
	}
}

// audit reviews the repository as it is.
func audit(ctx context.Context, w *work) (Transition, error) {
	intake, err := output[intakeOut](w, "intake")
	if err != nil {
		return Transition{}, err
	}
	f := intake.Facts
	if f.Baseline == nil {
		return Transition{}, conclave.Errorf(conclave.ErrInvalid, "the repository is empty; there is nothing to review")
	}
	in := auditInput{}
	if len(w.step.Input) > 0 {
		if in, err = input[auditInput](w); err != nil {
			return Transition{}, err
		}
	}
	about := conclave.Assignment{Kind: conclave.AssignReview, Facts: &f, Evidence: f.Baseline}
	subject := f.Name
	ask := fmt.Sprintf("Please review the repository at %.12s: %s.", f.Commit, checksText(*f.Baseline))
	var history *conclave.Contribution
	if in.From != "" {
		if history, err = w.contribution(ctx, in.From, &f, &about); err != nil {
			return Transition{}, err
		}
		subject = fmt.Sprintf("the contribution to %s", f.Name)
		ask = fmt.Sprintf("Please review the contribution of %s since %.12s: %s. %s", count(len(history.Commits), "commit"), in.From, checksText(*about.Evidence), strings.Join(history.Notes, "; "))
	}
	findings, absent, err := w.review(ctx, about, ask, nil)
	if err != nil {
		return Transition{}, err
	}
	about.Kind, about.Findings, about.Run, about.Task, about.Brain = "", findings, w.Run.ID, w.Run.Task, w.Run.Brain
	material, err := json.Marshal(about)
	if err != nil {
		return Transition{}, err
	}
	d, wait, err := w.vote(ctx, "vote", conclave.Motion{
		Kind: conclave.MotionApprove, Title: fmt.Sprintf("Accept %s at %.12s", subject, f.Commit),
		Subject:  conclave.Subject{Kind: "tree", ID: f.Commit, Hash: "git:" + f.Tree},
		Voters:   []string{"roles/code-reviewer", "roles/security", "roles/qa", "roles/architect"},
		Senior:   "roles/architect",
		Rule:     conclave.Rule{Name: "threshold", Threshold: w.s.o.Config.Threshold, Quorum: 2, Weighted: true},
		Material: material, Deadline: w.deadline(),
	})
	if err != nil {
		return Transition{}, err
	}
	if wait != nil {
		return *wait, nil
	}
	out := verifyOut{Evidence: *about.Evidence, Findings: findings, Absent: absent, Round: 1, Accepted: d.Outcome == conclave.OutcomeApproved, Contribution: history,
		Decision: decisionOut{Motion: d.Motion.ID, Outcome: d.Outcome, Reason: d.Reason}}
	if err := w.learn(ctx, "learn", w.judged(ctx, f.Tree, out, d)); err != nil {
		return Transition{}, err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return Transition{}, err
	}
	w.find(w.step.Key).Output, w.find(w.step.Key).State = data, conclave.StepDone // the report reads it
	status, reason := conclave.RunDone, "accepted: "+d.Reason
	if !out.Accepted {
		status, reason = conclave.RunRejected, "rejected: "+d.Reason
	}
	usage, report, err := w.account(ctx, status, reason)
	if err != nil {
		return Transition{}, err
	}
	t := ended(out, status, reason)
	t.reported = true
	t.Run = func(r *conclave.Run) { r.Report, r.Usage = report, usage }
	return t, nil
}

type intakeOut struct {
	Facts conclave.Facts `json:"facts"`
}

// intake measures the repository at the commit that the run starts from.
func intake(ctx context.Context, w *work) (Transition, error) {
	if wait, err := w.mustQueue(ctx); err != nil || wait != "" {
		return Transition{State: conclave.StepReady, RetryIn: time.Second, Reason: wait}, err
	}
	repo, err := git.Open(ctx, w.Run.Repo)
	if err != nil {
		return Transition{}, err
	}
	f, err := measure(ctx, repo, w.Run.Base)
	if err != nil {
		return Transition{}, fmt.Errorf("measure the repository: %w", err)
	}
	f.Complexity = complexity(w.Run.Task, f)
	t := Transition{State: conclave.StepDone}
	var warnings []string
	if len(f.Dirty) > 0 {
		warnings = append(warnings, fmt.Sprintf("the working tree has changes in %s that are not committed; the run starts from HEAD (%.12s) and leaves them alone", count(len(f.Dirty), "file"), f.Commit))
	}
	if f.Shallow {
		warnings = append(warnings, "the clone is shallow: history before its boundary is not seen")
	}
	if !f.Empty {
		// A lease for each claim: the one of a claim that was lost may be given
		// back already, and if it is not, the cleanup does that.
		lease, err := w.s.o.Worktrees.Lease(ctx, conclave.LeaseWorktree{Key: w.key(fmt.Sprint("lease/", w.step.Epoch)), Run: w.Run.ID, Step: "intake", Repo: w.Run.Repo, Base: w.Run.Base})
		if err != nil {
			return Transition{}, fmt.Errorf("lease a worktree: %w", err)
		}
		base, err := w.s.o.Meter.Measure(ctx, evidence.Tree{Dir: lease.Path, TreeHash: f.Tree, Build: f.Build, Test: f.Test})
		if err != nil {
			return Transition{}, fmt.Errorf("measure the commit: %w", err)
		}
		f.Baseline = &base
		if _, err := w.s.o.Worktrees.Release(ctx, conclave.NameWorktree{Key: "release/" + string(lease.ID), ID: lease.ID}); err != nil {
			return Transition{}, fmt.Errorf("release the worktree: %w", err)
		}
		if !base.Passed() {
			warnings = append(warnings, "before the run: "+checksText(base))
		}
	}
	for _, text := range warnings {
		t.Events = append(t.Events, conclave.Event{Kind: conclave.EventRunWarned, Subject: string(w.Run.ID), Text: text})
	}
	t.Output = intakeOut{Facts: f}
	t.Run = func(r *conclave.Run) { r.Warnings = warnings }
	return t, nil
}

// mustQueue tells why the run has to wait for older ones, or nothing.
func (w *work) mustQueue(ctx context.Context) (string, error) {
	limit := w.s.o.Config.MaxRuns
	if limit == 0 {
		return "", nil
	}
	active, err := w.s.o.Store.Runs(ctx, conclave.ListRuns{Status: conclave.RunRunning, Page: conclave.Page{Limit: 500}})
	if err != nil {
		return "", err
	}
	older := 0
	for _, r := range active {
		if r.Created.Before(w.Run.Created) || r.Created.Equal(w.Run.Created) && r.ID < w.Run.ID {
			older++
		}
	}
	if older < limit {
		return "", nil
	}
	return fmt.Sprintf("%s run, and %d may at once", count(older, "older one"), limit), nil
}
