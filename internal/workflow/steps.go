package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"conclave"
)

// Kinds of step.
const (
	kindIntake  = "intake"
	kindDraft   = "draft"
	kindComment = "comment"
	kindRevise  = "revise"
	kindVote    = "vote"
	kindDesign  = "design"
	kindBuild   = "build"
	kindVerify  = "verify"
	kindMerge   = "merge"
	kindDeliver = "deliver"
	kindLand    = "land"
	kindAudit   = "audit"
	kindCleanup = "cleanup"
)

// handlers is what each kind of step does.
func handlers() map[string]func(context.Context, *work) (Transition, error) {
	return map[string]func(context.Context, *work) (Transition, error){
		kindIntake:  intake,
		kindDraft:   draft,
		kindComment: comment,
		kindRevise:  revise,
		kindVote:    votePlan,
		kindDesign:  design,
		kindBuild:   build,
		kindVerify:  verify,
		kindMerge:   merge,
		kindDeliver: deliver,
		kindLand:    land,
		kindAudit:   audit,
		kindCleanup: cleanup,
	}
}

func (s *Service) handle(ctx context.Context, w *work) (Transition, error) {
	h, ok := handlers()[w.step.Kind]
	if !ok {
		return Transition{}, conclave.Errorf(conclave.ErrUnsupported, "no step of the kind %q", w.step.Kind)
	}
	return h(ctx, w)
}

// commenters are asked about a plan, in this order.
func commenters() []conclave.Role {
	return []conclave.Role{conclave.RoleSecurity, conclave.RoleQA, conclave.RoleArchitect}
}

// firstSteps is the beginning of each workflow; what follows is added by the
// steps themselves, as the plan and the votes say.
func firstSteps() map[string]func() []conclave.Step {
	planning := func() []conclave.Step {
		steps := []conclave.Step{
			newStep(kindIntake, "intake", "Measure the repository", nil),
			newStep(kindDraft, "draft", "Draft the plan", nil, "intake"),
		}
		var comments []string
		for _, role := range commenters() {
			key := "comment:" + string(role)
			steps = append(steps, newStep(kindComment, key, "Comment as "+string(role), commentInput{Role: role}, "draft"))
			comments = append(comments, key)
		}
		return append(steps,
			newStep(kindRevise, "revise", "Revise the plan", nil, comments...),
			newStep(kindVote, "vote", "Vote on the plan", nil, "revise"))
	}
	return map[string]func() []conclave.Step{
		"collaborative":      planning,
		"consensus-planning": planning,
		"multi-review": func() []conclave.Step {
			return []conclave.Step{
				newStep(kindIntake, "intake", "Measure the repository", nil),
				newStep(kindAudit, "audit", "Review the repository", nil, "intake"),
			}
		},
	}
}

// contributionSteps review a contribution since the commit that it starts from.
func contributionSteps(from string) []conclave.Step {
	return []conclave.Step{
		newStep(kindIntake, "intake", "Measure the contribution", nil),
		newStep(kindAudit, "audit", "Review the contribution", auditInput{From: from}, "intake"),
	}
}

func newStep(kind, key, title string, input any, dependsOn ...string) conclave.Step {
	step := conclave.Step{ID: conclave.StepID(conclave.NewID("step")), Kind: kind, Key: key, Title: title, DependsOn: dependsOn}
	if input != nil {
		data, err := json.Marshal(input)
		if err != nil {
			panic(fmt.Sprintf("input of step %s: %v", key, err)) // our own types: they always encode
		}
		step.Input = data
	}
	return step
}

// work is one step in the hands of its handler.
type work struct {
	s    *Service
	step conclave.Step
	State
}

// key names an effect of this step, the same whenever the step is run again
// after a crash, another one when it is tried again for a reason.
func (w *work) key(purpose string) string {
	return fmt.Sprintf("%s/%d/%s", w.step.ID, w.step.Attempt, purpose)
}

// find returns the step with a key, or nil.
func (w *work) find(key string) *conclave.Step {
	for i := range w.Steps {
		if w.Steps[i].Key == key {
			return &w.Steps[i]
		}
	}
	return nil
}

// output reads what a step that has ended left.
func output[T any](w *work, key string) (T, error) {
	var out T
	step := w.find(key)
	if step == nil || len(step.Output) == 0 {
		return out, fmt.Errorf("step %s has no output: %w", key, conclave.ErrInternal)
	}
	if err := json.Unmarshal(step.Output, &out); err != nil {
		return out, fmt.Errorf("decode the output of step %s: %w", key, err)
	}
	return out, nil
}

func input[T any](w *work) (T, error) {
	var in T
	if err := json.Unmarshal(w.step.Input, &in); err != nil {
		return in, fmt.Errorf("decode the input of step %s: %w", w.step.Key, err)
	}
	return in, nil
}

func done(out any, add ...conclave.Step) Transition {
	return Transition{State: conclave.StepDone, Output: out, Add: add}
}

// ended finishes the step and the run with it.
func ended(out any, status conclave.RunStatus, reason string) Transition {
	return Transition{State: conclave.StepDone, Output: out, End: status, EndReason: reason, Add: cleanupAfter(status)}
}

const (
	poll     = 30 * time.Second
	maxHops  = 6
	fewDiffs = 200 << 10
)

// ask puts an assignment to an agent through the hub and waits for the reply. It
// returns the task, and the reply's data decoded into reply. ErrNotFound when
// nobody has the role; the agent's own kind of error when it failed.
func (w *work) ask(ctx context.Context, purpose, to, text string, a conclave.Assignment, reply any) (conclave.Task, error) {
	a.Run, a.Task, a.Brain = w.Run.ID, w.Run.Task, w.Run.Brain
	data, err := json.Marshal(a)
	if err != nil {
		return conclave.Task{}, fmt.Errorf("encode the assignment: %w", err)
	}
	message := conclave.SendMessage{
		Key: w.key(purpose), Conversation: w.Run.Conversation, Run: w.Run.ID, To: to, Kind: a.Kind, Text: text, Data: data,
		Call: conclave.CallPath{Human: w.Run.Human, Path: []string{string(conclave.ServiceWorkflow)}, Hops: maxHops},
	}
	task, err := w.s.o.Hub.Send(ctx, message)
	if err != nil {
		return task, fmt.Errorf("ask %s: %w", to, err)
	}
	id := task.ID // a failed call returns no task
	for !task.State.Ended() {
		if task, err = w.s.o.Hub.Task(ctx, conclave.GetTask{ID: id, Wait: int(poll / time.Millisecond)}); err != nil {
			if ctx.Err() != nil {
				w.cancelTask(ctx, id)
			}
			return task, fmt.Errorf("wait for %s: %w", to, err)
		}
	}
	if task.State != conclave.TaskCompleted {
		return task, taskError(task)
	}
	if reply != nil {
		if err := json.Unmarshal(task.Reply, reply); err != nil {
			return task, conclave.Errorf(conclave.ErrInvalid, "%s did not answer in the form of a %T: %w", task.Agent, reply, err)
		}
	}
	return task, nil
}

// cancelTask tells the hub, when the run was cancelled, that nobody waits any more.
func (w *work) cancelTask(ctx context.Context, id conclave.TaskID) {
	if id == "" || context.Cause(ctx) != errCancelled {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := w.s.o.Hub.Cancel(ctx, conclave.NameTask{ID: id}); err != nil {
		w.s.log.Info("cancel a task of a cancelled run", "task", id, "error", err)
	}
}

// taskError gives a task's failure its kind back.
func taskError(t conclave.Task) error {
	who := string(t.Agent)
	if who == "" {
		who = t.To
	}
	for _, kind := range conclave.Kinds() {
		if text, ok := strings.CutPrefix(t.Error, kind.Error()+": "); ok {
			return conclave.Errorf(kind, "%s: %s", who, text)
		}
	}
	return conclave.Errorf(conclave.ErrInternal, "%s: task %s: %s", who, t.State, t.Error)
}

// decide opens a vote and waits for its decision. waiting is true when it has
// come to a human, whose word is not there yet.
func (w *work) decide(ctx context.Context, purpose string, m conclave.Motion) (d conclave.Decision, waiting bool, err error) {
	m.Run, m.Conversation, m.Human, m.Brain = w.Run.ID, w.Run.Conversation, w.Run.Human, w.thinker(ctx, conclave.AssignVote)
	m.Rounds, m.Escalate, m.Settle = 2, w.step.Started.Add(w.s.o.Config.Escalate), !w.s.o.Config.Contest
	convene := conclave.ConveneMotion{Key: w.key(purpose), Motion: m}
	if m, err = w.s.o.Council.Convene(ctx, convene); err != nil {
		return d, false, fmt.Errorf("convene a vote: %w", err)
	}
	for {
		st, err := w.s.o.Council.Get(ctx, conclave.GetMotion{ID: m.ID, Wait: int(poll / time.Millisecond)})
		if err != nil {
			return d, false, fmt.Errorf("wait for the vote: %w", err)
		}
		if st.Decision != nil {
			return *st.Decision, false, nil
		}
		if st.Motion.State == conclave.MotionWaiting {
			d.Motion, d.Ballots = st.Motion, st.Ballots
			return d, true, nil
		}
	}
}

// waitForHuman makes the step wait for a decision that the ladder has handed to
// a human. Their word on the approval is passed to the council when the step
// goes on.
func (w *work) waitForHuman(ctx context.Context, d conclave.Decision, detail string) (Transition, bool, error) {
	id := conclave.ApprovalID("appr-" + string(d.Motion.ID))
	a, err := w.s.o.Store.Approval(ctx, id)
	if err == nil && a.Decided != nil {
		_, err := w.s.o.Council.Resolve(ctx, conclave.ResolveMotion{Key: "approval/" + string(id), ID: d.Motion.ID, Verdict: a.Decision, Option: a.Option, Reason: a.Reason})
		return Transition{}, true, err
	}
	return Transition{
		State: conclave.StepWaiting, Reason: "the agents did not agree; a human decides",
		Ask: &conclave.Approval{ID: id, Kind: "motion", Title: d.Motion.Title, Detail: detail, Subject: string(d.Motion.ID), Options: d.Motion.Options},
		Run: func(r *conclave.Run) { r.Status = conclave.RunWaiting },
	}, false, nil
}

// vote is decide with the human at the end of the ladder: t is set when the step
// must wait.
func (w *work) vote(ctx context.Context, purpose string, m conclave.Motion) (d conclave.Decision, t *Transition, err error) {
	for {
		d, waiting, err := w.decide(ctx, purpose, m)
		if err != nil || !waiting {
			return d, nil, err
		}
		wait, resolved, err := w.waitForHuman(ctx, d, bestCases(d))
		if err != nil {
			return d, nil, err
		}
		if !resolved {
			return d, &wait, nil
		}
	}
}

// bestCases puts all sides on one page, each voter with their newest word.
func bestCases(d conclave.Decision) string {
	last := map[conclave.AgentName]int{}
	for _, ballot := range d.Ballots {
		last[ballot.Voter] = max(last[ballot.Voter], ballot.Round)
	}
	var b strings.Builder
	if d.Motion.Kind == conclave.MotionRank {
		for _, ballot := range d.Ballots {
			if ballot.Round == last[ballot.Voter] {
				fmt.Fprintf(&b, "- %s: %s – %s\n", ballot.Voter, strings.Join(ballot.Ranking, " > "), strings.Join(ballot.Reasons, "; "))
			}
		}
		return b.String()
	}
	for _, v := range []conclave.Verdict{conclave.VerdictApprove, conclave.VerdictReject} {
		fmt.Fprintf(&b, "%s:\n", v)
		for _, ballot := range d.Ballots {
			if ballot.Verdict == v && ballot.Round == last[ballot.Voter] {
				fmt.Fprintf(&b, "- %s: %s\n", ballot.Voter, strings.Join(ballot.Reasons, "; "))
			}
		}
	}
	return b.String()
}
