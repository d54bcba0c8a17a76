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
	"conclave/internal/identity"
)

type planOut struct {
	ID      conclave.PlanID    `json:"id"`
	Version int                `json:"version"`
	Author  conclave.AgentName `json:"author"`
	Notes   []string           `json:"notes,omitempty"`
}

type commentInput struct {
	Role conclave.Role `json:"role"`
}

type commentOut struct {
	Agent    conclave.AgentName `json:"agent,omitempty"`
	Absent   string             `json:"absent,omitempty"` // why the role did not speak
	Comments []conclave.Comment `json:"comments"`
}

// draft has a planner make the first version.
func draft(ctx context.Context, w *work) (Transition, error) {
	in, err := output[intakeOut](w, "intake")
	if err != nil {
		return Transition{}, err
	}
	var reply conclave.DraftReply
	task, err := w.ask(ctx, "draft", "roles/"+string(conclave.RolePlanner), "Please draft a plan for: "+w.Run.Task,
		conclave.Assignment{Kind: conclave.AssignDraft, Facts: &in.Facts}, &reply)
	if err != nil {
		return Transition{}, err
	}
	p, err := w.s.o.Plans.Propose(ctx, conclave.ProposePlan{Key: w.key("propose"), Run: w.Run.ID, Author: task.Agent, Content: reply.Content})
	if err != nil {
		return Transition{}, fmt.Errorf("keep the plan of %s: %w", task.Agent, err)
	}
	return done(planOut{ID: p.ID, Version: p.Version, Author: p.Author, Notes: reply.Notes}), nil
}

// comment has one role speak about the plan. A role that nobody has is absent,
// which is written down.
func comment(ctx context.Context, w *work) (Transition, error) {
	in, err := input[commentInput](w)
	if err != nil {
		return Transition{}, err
	}
	facts, p, err := w.factsAndPlan(ctx, "draft")
	if err != nil {
		return Transition{}, err
	}
	var reply conclave.CommentReply
	task, err := w.ask(ctx, "comment", "roles/"+string(in.Role),
		fmt.Sprintf("Version %d of the plan has %s. What do you say as %s?", p.Version, count(len(p.Steps), "step"), in.Role),
		conclave.Assignment{Kind: conclave.AssignComment, Facts: facts, Plan: &p}, &reply)
	if errors.Is(err, conclave.ErrNotFound) {
		t := done(commentOut{Absent: conclave.Text(err)})
		t.Reason = fmt.Sprintf("nobody comments as %s: there is no such agent", in.Role)
		return t, nil
	}
	if err != nil {
		return Transition{}, err
	}
	for i := range reply.Comments {
		reply.Comments[i].Author, reply.Comments[i].Role = task.Agent, in.Role
	}
	if len(reply.Comments) > 0 {
		if _, err := w.s.o.Plans.Comment(ctx, conclave.CommentPlan{Key: w.key("keep"), ID: p.ID, Version: p.Version, Comments: reply.Comments}); err != nil {
			return Transition{}, fmt.Errorf("keep the comments of %s: %w", task.Agent, err)
		}
	}
	return done(commentOut{Agent: task.Agent, Comments: reply.Comments}), nil
}

// revise has the plan's author answer the comments, or the dissent of a vote.
func revise(ctx context.Context, w *work) (Transition, error) {
	from := "draft"
	if w.step.Key != "revise" {
		from = "revise"
	}
	facts, p, err := w.factsAndPlan(ctx, from)
	if err != nil {
		return Transition{}, err
	}
	if len(p.Comments) == 0 {
		return done(planOut{ID: p.ID, Version: p.Version, Author: p.Author, Notes: []string{"nobody asked for a change"}}), nil
	}
	var reply conclave.DraftReply
	task, err := w.ask(ctx, "revise", "agents/"+string(p.Author),
		fmt.Sprintf("Version %d got %s. Please revise it, or say why not.", p.Version, count(len(p.Comments), "comment")),
		conclave.Assignment{Kind: conclave.AssignRevise, Facts: facts, Plan: &p}, &reply)
	if err != nil {
		return Transition{}, err
	}
	next, err := w.s.o.Plans.Propose(ctx, conclave.ProposePlan{Key: w.key("propose"), Run: w.Run.ID, Base: p.Version, Author: task.Agent, Content: reply.Content})
	if err != nil {
		return Transition{}, fmt.Errorf("keep the revision of %s: %w", task.Agent, err)
	}
	return done(planOut{ID: next.ID, Version: next.Version, Author: next.Author, Notes: reply.Notes}), nil
}

// votePlan puts the plan's hash to the vote. Approval adds the steps of the
// plan; refusal sends it back to its author once, then ends the run.
func votePlan(ctx context.Context, w *work) (Transition, error) {
	again := w.step.Key != "vote"
	from := "revise"
	if again {
		from = "revise.2"
	}
	facts, p, err := w.factsAndPlan(ctx, from)
	if err != nil {
		return Transition{}, err
	}
	material, err := json.Marshal(conclave.Assignment{Run: w.Run.ID, Task: w.Run.Task, Facts: facts, Plan: &p, Brain: w.Run.Brain})
	if err != nil {
		return Transition{}, err
	}
	d, wait, err := w.vote(ctx, "vote", conclave.Motion{
		Kind: conclave.MotionApprove, Title: fmt.Sprintf("Approve version %d of the plan", p.Version),
		Subject: conclave.Subject{Kind: "plan", ID: fmt.Sprintf("%s@%d", p.ID, p.Version), Hash: p.Hash},
		Authors: []conclave.AgentName{p.Author},
		Voters:  []string{"roles/architect", "roles/security", "roles/qa", "roles/developer"},
		Senior:  "roles/architect",
		Rule:    conclave.Rule{Name: "threshold", Threshold: w.s.o.Config.Threshold, Quorum: 2, Weighted: true}, Material: material,
		Deadline: w.deadline(),
	})
	if err != nil {
		return Transition{}, err
	}
	if wait != nil {
		return *wait, nil
	}
	running := func(r *conclave.Run) { r.Status = conclave.RunRunning }
	out := decisionOut{Motion: d.Motion.ID, Outcome: d.Outcome, Reason: d.Reason, Plan: p.ID, Version: p.Version}
	if d.Outcome != conclave.OutcomeApproved {
		if again || d.DecidedBy != "vote" {
			return ended(out, conclave.RunRejected, "the plan was rejected: "+d.Reason), nil
		}
		if err := w.commentDissent(ctx, p, d); err != nil {
			return Transition{}, err
		}
		t := done(out,
			newStep(kindRevise, "revise.2", "Revise the plan after the vote", nil, "vote"),
			newStep(kindVote, "vote.2", "Vote on the revised plan", nil, "revise.2"))
		t.Run = running
		return t, nil
	}
	if w.Run.Workflow == "consensus-planning" {
		var in deliverInput
		if w.Run.Offline {
			in.Uncovered = p.Uncovered
		}
		t := done(out, newStep(kindDeliver, "deliver", "Write the report", in, w.step.Key))
		t.Run = running
		return t, nil
	}
	if len(p.Uncovered) > 0 && w.Run.Offline {
		return Transition{State: conclave.StepDone, Output: out, Run: running,
			Add: []conclave.Step{newStep(kindDeliver, "deliver", "Write the report", deliverInput{NeedsModel: p.Uncovered}, w.step.Key)}}, nil
	}
	t := done(out, planSteps(p, w.step.Key)...)
	t.Run = running
	return t, nil
}

type decisionOut struct {
	Motion  conclave.MotionID `json:"motion"`
	Outcome conclave.Outcome  `json:"outcome"`
	Option  string            `json:"option,omitempty"`
	Reason  string            `json:"reason"`
	Plan    conclave.PlanID   `json:"plan,omitempty"`
	Version int               `json:"version,omitempty"`
}

// commentDissent gives the author what the voters had against the plan.
func (w *work) commentDissent(ctx context.Context, p conclave.Plan, d conclave.Decision) error {
	var comments []conclave.Comment
	for _, b := range d.Ballots {
		if b.Verdict != conclave.VerdictReject {
			continue
		}
		for _, reason := range b.Reasons {
			comments = append(comments, conclave.Comment{Author: b.Voter, Role: b.Role, Text: reason, Cites: "ballot on " + b.Subject.Hash})
		}
	}
	if len(comments) == 0 {
		return nil
	}
	_, err := w.s.o.Plans.Comment(ctx, conclave.CommentPlan{Key: w.key("dissent"), ID: p.ID, Version: p.Version, Comments: comments})
	return err
}

// planSteps are the steps that carry an approved plan out.
func planSteps(p conclave.Plan, after string) []conclave.Step {
	var steps []conclave.Step
	var designs []string
	for _, q := range p.Questions {
		key := "design:" + q.Key
		designs = append(designs, key)
		steps = append(steps, newStep(kindDesign, key, "Decide: "+q.Text, designInput{Question: q, After: after}, after))
	}
	var merges []string
	for _, ps := range p.Steps {
		deps := append([]string{after}, designs...)
		for _, dep := range ps.DependsOn {
			deps = append(deps, "merge:"+dep)
		}
		in := buildInput{Step: ps.Key, Round: 1, Vote: after}
		build, verify, merge := "build:"+ps.Key, "verify:"+ps.Key, "merge:"+ps.Key
		steps = append(steps,
			newStep(kindBuild, build, "Build "+ps.Title, in, deps...),
			newStep(kindVerify, verify, "Verify "+ps.Title, in, build),
			newStep(kindMerge, merge, "Merge "+ps.Title, in, verify))
		merges = append(merges, merge)
	}
	return append(steps, newStep(kindDeliver, "deliver", "Deliver the branch", deliverInput{Vote: after}, merges...))
}

// factsAndPlan reads what intake measured and the version of the plan that a step made.
func (w *work) factsAndPlan(ctx context.Context, step string) (*conclave.Facts, conclave.Plan, error) {
	in, err := output[intakeOut](w, "intake")
	if err != nil {
		return nil, conclave.Plan{}, err
	}
	made, err := output[planOut](w, step)
	if err != nil {
		return nil, conclave.Plan{}, err
	}
	p, err := w.s.o.Plans.Get(ctx, conclave.GetPlan{ID: made.ID, Version: made.Version})
	if err != nil {
		return nil, p, fmt.Errorf("read the plan: %w", err)
	}
	return &in.Facts, p, nil
}

type designInput struct {
	Question conclave.Question `json:"question"`
	After    string            `json:"after"`
}

// design has an architect add options to a question, and the council rank them.
func design(ctx context.Context, w *work) (Transition, error) {
	in, err := input[designInput](w)
	if err != nil {
		return Transition{}, err
	}
	decided, err := output[decisionOut](w, in.After)
	if err != nil {
		return Transition{}, err
	}
	p, err := w.s.o.Plans.Get(ctx, conclave.GetPlan{ID: decided.Plan, Version: decided.Version})
	if err != nil {
		return Transition{}, err
	}
	intake, err := output[intakeOut](w, "intake")
	if err != nil {
		return Transition{}, err
	}
	q := in.Question
	var reply conclave.OptionsReply
	_, err = w.ask(ctx, "options", "roles/architect", "Which options do you see for this: "+q.Text,
		conclave.Assignment{Kind: conclave.AssignOptions, Facts: &intake.Facts, Plan: &p, Question: &q}, &reply)
	if err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return Transition{}, err
	}
	for _, o := range reply.Options {
		if !slices.ContainsFunc(q.Options, func(have conclave.Option) bool { return have.Key == o.Key }) {
			q.Options = append(q.Options, o)
		}
	}
	if len(q.Options) == 0 {
		return Transition{}, conclave.Errorf(conclave.ErrInvalid, "nobody proposed an option for %q", q.Text)
	}
	hash, err := identity.Hash(q)
	if err != nil {
		return Transition{}, err
	}
	material, err := json.Marshal(conclave.Assignment{Run: w.Run.ID, Task: w.Run.Task, Facts: &intake.Facts, Plan: &p, Question: &q, Brain: w.Run.Brain})
	if err != nil {
		return Transition{}, err
	}
	var options []string
	for _, o := range q.Options {
		options = append(options, o.Key)
	}
	d, wait, err := w.vote(ctx, "rank", conclave.Motion{
		Kind: conclave.MotionRank, Title: q.Text, Options: options,
		Subject:  conclave.Subject{Kind: "options", ID: string(p.ID) + "/" + q.Key, Hash: hash},
		Voters:   []string{"roles/architect", "roles/security", "roles/qa", "roles/developer", "roles/performance-reviewer", "roles/domain-expert"},
		Senior:   "roles/architect",
		Rule:     conclave.Rule{Name: "condorcet", Quorum: 2, Weighted: true},
		Material: material, Deadline: w.deadline(),
	})
	if err != nil {
		return Transition{}, err
	}
	if wait != nil {
		return *wait, nil
	}
	t := done(decisionOut{Motion: d.Motion.ID, Outcome: d.Outcome, Option: d.Option, Reason: d.Reason, Plan: p.ID, Version: p.Version})
	t.Run = func(r *conclave.Run) { r.Status = conclave.RunRunning }
	return t, nil
}

// choices are the design decisions of the run so far.
func (w *work) choices() (map[string]string, error) {
	chosen := map[string]string{}
	for _, step := range w.Steps {
		if key, ok := strings.CutPrefix(step.Key, "design:"); ok && step.State == conclave.StepDone {
			d, err := output[decisionOut](w, step.Key)
			if err != nil {
				return nil, err
			}
			chosen[key] = d.Option
		}
	}
	return chosen, nil
}

// deadline of a vote that opens now. It is counted from the step's start, so
// that a second run of the step asks for the same.
func (w *work) deadline() time.Time {
	return w.step.Started.Add(w.s.o.Config.MaxTime)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
