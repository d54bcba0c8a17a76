package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/killpoint"
)

type buildInput struct {
	Step     string                   `json:"step"` // key of the plan's step
	Round    int                      `json:"round"`
	Vote     string                   `json:"vote"`               // key of the step that approved the plan
	Lease    *conclave.Worktree       `json:"lease,omitempty"`    // to go on in, when a review asked for changes
	Findings []conclave.ReviewFinding `json:"findings,omitempty"` // to mend
	Why      string                   `json:"why,omitempty"`      // why it is built again
}

type buildOut struct {
	Lease   conclave.Worktree    `json:"lease"`
	Commit  conclave.Commit      `json:"commit"`
	Agent   conclave.AgentName   `json:"agent"`
	Reply   conclave.BuildReply  `json:"reply"`
	Authors []conclave.AgentName `json:"authors"` // everybody who wrote on it, for the votes
}

// planStep finds the approved plan and one of its steps.
func (w *work) planStep(ctx context.Context, vote, key string) (conclave.Plan, conclave.PlanStep, error) {
	d, err := output[decisionOut](w, vote)
	if err != nil {
		return conclave.Plan{}, conclave.PlanStep{}, err
	}
	p, err := w.s.o.Plans.Get(ctx, conclave.GetPlan{ID: d.Plan, Version: d.Version})
	if err != nil {
		return p, conclave.PlanStep{}, fmt.Errorf("read the plan: %w", err)
	}
	i := slices.IndexFunc(p.Steps, func(s conclave.PlanStep) bool { return s.Key == key })
	if i < 0 {
		return p, conclave.PlanStep{}, conclave.Errorf(conclave.ErrInternal, "the plan has no step %q", key)
	}
	return p, p.Steps[i], nil
}

// build leases a worktree, has the step's role write in it, and commits.
func build(ctx context.Context, w *work) (Transition, error) {
	in, err := input[buildInput](w)
	if err != nil {
		return Transition{}, err
	}
	p, ps, err := w.planStep(ctx, in.Vote, in.Step)
	if err != nil {
		return Transition{}, err
	}
	intake, err := output[intakeOut](w, "intake")
	if err != nil {
		return Transition{}, err
	}
	chosen, err := w.choices()
	if err != nil {
		return Transition{}, err
	}
	var lease conclave.Worktree
	if in.Lease != nil {
		lease = *in.Lease
	} else if lease, err = w.s.o.Worktrees.Lease(ctx, conclave.LeaseWorktree{Key: string(w.step.ID) + "/lease", Run: w.Run.ID, Step: ps.Key, // the same when it is tried again
		Repo: w.Run.Repo, Base: w.Run.Base, Writes: ps.Writes}); err != nil {
		return Transition{}, fmt.Errorf("lease a worktree: %w", err)
	}
	role := ps.Role
	if role == "" {
		role = conclave.RoleDeveloper
	}
	text := fmt.Sprintf("Please build %q: %s", ps.Title, ps.Description)
	if in.Why != "" {
		text = fmt.Sprintf("Please mend %q: %s", ps.Title, in.Why)
	}
	facts := intake.Facts
	var reply conclave.BuildReply
	task, err := w.ask(ctx, "build", "roles/"+string(role), text, conclave.Assignment{Kind: conclave.AssignBuild,
		Facts: &facts, Plan: &p, Step: &ps, Choices: chosen, Worktree: lease.Path, Findings: in.Findings}, &reply)
	if err != nil {
		return Transition{}, err
	}
	if reply.NeedsModel != "" && p.Archetype == "repair" && w.Run.Head != "" {
		reply.Nothing, reply.NeedsModel = reply.NeedsModel, "" // an earlier step of the repair is merged: that is delivered
	}
	if reply.Nothing != "" {
		return done(buildOut{Lease: lease, Agent: task.Agent, Reply: reply}), nil
	}
	if reply.NeedsModel != "" {
		return done(buildOut{Lease: lease, Agent: task.Agent, Reply: reply},
			newStep(kindDeliver, "deliver.needs-model", "Write the report", deliverInput{Vote: in.Vote, Why: reply.NeedsModel}, w.step.Key)), nil
	}
	commit, err := w.s.o.Worktrees.Commit(ctx, conclave.CommitWorktree{Key: w.key("commit"), ID: lease.ID, Author: task.Agent,
		Message: commitMessage(facts.CommitStyle, p.Archetype, ps, in, reply, w.Run)})
	if err != nil {
		return Transition{}, fmt.Errorf("commit the work of %s: %w", task.Agent, err)
	}
	authors := []conclave.AgentName{task.Agent}
	if in.Round > 1 {
		if before, err := output[buildOut](w, roundKey("build", in.Step, in.Round-1)); err == nil {
			for _, a := range before.Authors {
				if !slices.Contains(authors, a) {
					authors = append(authors, a)
				}
			}
		}
	}
	return done(buildOut{Lease: lease, Commit: commit, Agent: task.Agent, Reply: reply, Authors: authors}), nil
}

// roundKey is the key of a step's n-th round: "build:api", "build:api.2".
func roundKey(kind, step string, round int) string {
	if round == 1 {
		return kind + ":" + step
	}
	return fmt.Sprintf("%s:%s.%d", kind, step, round)
}

// commitMessage follows the repository's convention.
func commitMessage(style, archetype string, ps conclave.PlanStep, in buildInput, reply conclave.BuildReply, run conclave.Run) string {
	title := ps.Title
	if in.Why != "" {
		title = "Mend " + lowerFirst(title)
	} else if !startsWithVerb(title) {
		title = "Add " + lowerFirst(title)
	}
	if style == "conventional" {
		kind := "feat"
		if in.Why != "" || archetype == "repair" {
			kind = "fix"
		}
		title = fmt.Sprintf("%s(%s): %s", kind, ps.Key, lowerFirst(title))
	}
	if letters := []rune(title); len(letters) > 72 {
		title = strings.TrimSpace(string(letters[:69])) + "..."
	}
	body := reply.Summary
	return fmt.Sprintf("%s\n\n%s\n\nConclave-Run: %s\nConclave-Step: %s\n", title, strings.TrimSpace(body), run.ID, ps.Key)
}

// startsWithVerb reports whether a title reads as an order already.
func startsWithVerb(title string) bool {
	first, _, _ := strings.Cut(title, " ")
	return slices.Contains([]string{"Add", "Analyse", "Apply", "Build", "Change", "Check", "Connect", "Convert", "Cover", "Create", "Define", "Describe",
		"Document", "Fix", "Format", "Give", "Handle", "Implement", "Keep", "Let", "Make", "Mend", "Move", "Package", "Parse", "Port", "Prepare", "Prove",
		"Read", "Record", "Refactor", "Remove", "Rename", "Repair", "Replace", "Run", "Serve", "Ship", "Show", "Split", "Store", "Test", "Turn", "Update",
		"Upgrade", "Use", "Verify", "Wire", "Write"}, first)
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	first, size := utf8.DecodeRuneInString(s)
	if second, _ := utf8.DecodeRuneInString(s[size:]); unicode.IsUpper(second) {
		return s // an abbreviation
	}
	return strings.ToLower(string(first)) + s[size:]
}

type verifyOut struct {
	Evidence conclave.Evidence        `json:"evidence"`
	Findings []conclave.ReviewFinding `json:"findings"`
	Absent   []string                 `json:"absent,omitempty"`
	Decision decisionOut              `json:"decision"`
	Round    int                      `json:"round"`
	Accepted bool                     `json:"accepted"`
	// Contribution is the history of what a review of a contribution judged.
	Contribution *conclave.Contribution `json:"contribution,omitempty"`
}

// reviewers judge a change, each blind to the others.
func reviewers() []conclave.Role {
	return []conclave.Role{conclave.RoleCodeReviewer, conclave.RoleSecurity, conclave.RoleQA, conclave.RolePerformanceReviewer}
}

// verify measures the committed tree, has reviewers judge it with that evidence,
// lets findings be refuted, and puts the tree to the vote.
func verify(ctx context.Context, w *work) (Transition, error) {
	in, err := input[buildInput](w)
	if err != nil {
		return Transition{}, err
	}
	b, err := output[buildOut](w, roundKey("build", in.Step, in.Round))
	if err != nil {
		return Transition{}, err
	}
	if b.Reply.Nothing != "" {
		return done(verifyOut{Round: in.Round, Accepted: true}), nil
	}
	p, ps, err := w.planStep(ctx, in.Vote, in.Step)
	if err != nil {
		return Transition{}, err
	}
	intake, err := output[intakeOut](w, "intake")
	if err != nil {
		return Transition{}, err
	}
	measured, err := w.evidence(ctx, b, intake.Facts)
	if err != nil {
		return Transition{}, fmt.Errorf("measure the work on %s: %w", ps.Key, err)
	}
	about := conclave.Assignment{Kind: conclave.AssignReview, Facts: &intake.Facts, Plan: &p, Step: &ps, Worktree: b.Lease.Path,
		Diff: shorten(b.Commit.Diff, fewDiffs), Evidence: &measured}
	findings, absent, err := w.review(ctx, about, fmt.Sprintf("Please review %q at tree %.12s: %s.", ps.Title, b.Commit.Tree, checksText(measured)), b.Authors)
	if err != nil {
		return Transition{}, err
	}
	about.Kind, about.Findings = "", findings
	about.Run, about.Task, about.Brain = w.Run.ID, w.Run.Task, w.Run.Brain
	material, err := json.Marshal(about)
	if err != nil {
		return Transition{}, err
	}
	d, wait, err := w.vote(ctx, "vote", conclave.Motion{
		Kind: conclave.MotionApprove, Title: fmt.Sprintf("Accept %q (round %d)", ps.Title, in.Round),
		Subject:  conclave.Subject{Kind: "tree", ID: b.Commit.Hash, Hash: "git:" + b.Commit.Tree},
		Authors:  b.Authors,
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
	killpoint.At("verdict.after")
	out := verifyOut{Evidence: measured, Findings: findings, Absent: absent, Round: in.Round,
		Decision: decisionOut{Motion: d.Motion.ID, Outcome: d.Outcome, Reason: d.Reason}}
	out.Accepted = d.Outcome == conclave.OutcomeApproved && measured.Passed()
	if err := w.learn(ctx, "learn", w.verified(ctx, b, out, d)); err != nil {
		return Transition{}, err
	}
	if out.Accepted {
		t := done(out)
		t.Run = func(r *conclave.Run) { r.Status = conclave.RunRunning }
		return t, nil
	}
	why := d.Reason
	if !measured.Passed() {
		why = "gates failed: " + checksText(measured)
	}
	t := w.again(in, out, &b.Lease, blocking(findings), why, conclave.RunRejected)
	if t.End != "" {
		approval, err := output[decisionOut](w, in.Vote)
		if err != nil {
			return Transition{}, err
		}
		if err := w.learnVotes(ctx, "learn-plan", approval.Motion, false, "no round could build "+in.Step+": "+why); err != nil {
			return Transition{}, err
		}
	}
	return t, nil
}

// evidence measures the committed tree once. It is kept before anybody sees it:
// ballots are signed on its hash, and measuring again, after a crash or a wait
// for a human, would give another one.
func (w *work) evidence(ctx context.Context, b buildOut, f conclave.Facts) (conclave.Evidence, error) {
	if len(w.step.Output) > 0 {
		var kept verifyOut
		if err := json.Unmarshal(w.step.Output, &kept); err != nil {
			return conclave.Evidence{}, fmt.Errorf("decode the evidence that was kept: %w", err)
		}
		return kept.Evidence, nil
	}
	measured, err := w.s.o.Meter.Measure(ctx, evidence.Tree{Dir: b.Lease.Path, TreeHash: b.Commit.Tree, Build: f.Build, Test: f.Test})
	if err != nil {
		return measured, err
	}
	if f.Baseline != nil {
		measured = evidence.Compare(w.accepted(*f.Baseline, measured), measured)
	}
	if w.step.Output, err = json.Marshal(verifyOut{Evidence: measured}); err != nil {
		return measured, err
	}
	return measured, w.s.o.Store.KeepStep(ctx, w.step)
}

// accepted is the base with what earlier steps of the run brought and the vote let
// pass: a later step is not asked about that again.
func (w *work) accepted(base, now conclave.Evidence) conclave.Evidence {
	base.Findings = slices.Clone(base.Findings)
	for _, step := range w.Steps {
		if step.Kind != kindVerify || step.State != conclave.StepDone {
			continue
		}
		var before verifyOut
		if err := json.Unmarshal(step.Output, &before); err != nil || !before.Accepted {
			continue
		}
		for _, f := range before.Evidence.Findings {
			if slices.ContainsFunc(now.Findings, func(n conclave.Finding) bool { return n.Key() == f.Key() }) {
				base.Findings = append(base.Findings, f)
			}
		}
	}
	return base
}

// again sends a step back to its developer, a bounded number of times.
func (w *work) again(in buildInput, out any, lease *conclave.Worktree, findings []conclave.ReviewFinding, why string, end conclave.RunStatus) Transition {
	if in.Round > w.s.o.Config.MendRounds {
		return ended(out, end, fmt.Sprintf("%s after %s: %s", in.Step, count(in.Round, "round"), why))
	}
	next := buildInput{Step: in.Step, Round: in.Round + 1, Vote: in.Vote, Lease: lease, Findings: findings, Why: why}
	build, verify := roundKey("build", in.Step, next.Round), roundKey("verify", in.Step, next.Round)
	t := done(out,
		newStep(kindBuild, build, "Mend "+in.Step, next),
		newStep(kindVerify, verify, "Verify "+in.Step+" again", next, build))
	t.Run = func(r *conclave.Run) { r.Status = conclave.RunRunning }
	return t
}

func blocking(findings []conclave.ReviewFinding) []conclave.ReviewFinding {
	var b []conclave.ReviewFinding
	for _, f := range findings {
		if f.Blocks() {
			b = append(b, f)
		}
	}
	return b
}

// review asks every reviewing role at once, blind, then lets another role refute
// what would block.
func (w *work) review(ctx context.Context, about conclave.Assignment, text string, authors []conclave.AgentName) (findings []conclave.ReviewFinding, absent []string, err error) {
	type answer struct {
		role  conclave.Role
		agent conclave.AgentName
		reply conclave.ReviewReply
		err   error
	}
	answers := make([]answer, len(reviewers()))
	var wg sync.WaitGroup
	for i, role := range reviewers() {
		wg.Go(func() {
			a := answer{role: role}
			var task conclave.Task
			task, a.err = w.ask(ctx, "review:"+string(role), "roles/"+string(role), text, about, &a.reply)
			a.agent = task.Agent
			answers[i] = a
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	for _, a := range answers {
		if a.err != nil {
			// A reviewer that fails is absent: neither a yes nor a stop.
			absent = append(absent, fmt.Sprintf("%s: %s", a.role, conclave.Text(a.err)))
			continue
		}
		for _, f := range a.reply.Findings {
			f.Reviewer = a.agent
			if !slices.ContainsFunc(findings, func(have conclave.ReviewFinding) bool { return have.Key() == f.Key() }) {
				findings = append(findings, f)
			}
		}
	}
	if len(absent) == len(answers) {
		return nil, absent, conclave.Errorf(conclave.ErrUnavailable, "no reviewer answered: %s", strings.Join(absent, "; "))
	}
	return w.refute(ctx, about, findings, authors, absent)
}

// refute has the architect try to show that grave findings do not hold.
func (w *work) refute(ctx context.Context, about conclave.Assignment, findings []conclave.ReviewFinding, authors []conclave.AgentName, absent []string) ([]conclave.ReviewFinding, []string, error) {
	grave := 0
	for _, f := range findings {
		if f.Level == conclave.LevelError {
			grave++
		}
	}
	if grave == 0 {
		return findings, absent, nil
	}
	about.Kind, about.Findings = conclave.AssignRefute, findings
	var reply conclave.RefuteReply
	task, err := w.ask(ctx, "refute", "roles/architect", fmt.Sprintf("Which of these %s do not hold?", count(len(findings), "finding")), about, &reply)
	if errors.Is(err, conclave.ErrNotFound) {
		return findings, append(absent, "architect: "+conclave.Text(err)), nil
	}
	if err != nil {
		return nil, nil, err
	}
	for i, f := range findings {
		if why, ok := reply.Refuted[f.Key()]; ok {
			findings[i].Refuted = why
		} else if f.Level == conclave.LevelError {
			findings[i].Agreed = append(findings[i].Agreed, string(task.Agent))
		}
	}
	return findings, absent, nil
}

func checksText(e conclave.Evidence) string {
	var parts []string
	for _, c := range e.Checks {
		switch {
		case c.Skipped != "":
			parts = append(parts, c.Name+" skipped ("+c.Skipped+")")
		case c.Passed && c.Tests > 0:
			parts = append(parts, fmt.Sprintf("%s passed (%s)", c.Name, count(c.Tests, "test")))
		case c.Passed:
			parts = append(parts, c.Name+" passed")
		case c.Baseline:
			parts = append(parts, c.Name+" fails as it did before the run")
		default:
			parts = append(parts, c.Name+" FAILED")
		}
	}
	if n := len(e.New); n > 0 {
		parts = append(parts, count(n, "new finding"))
	}
	return strings.Join(parts, ", ")
}

func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + fmt.Sprintf("\n… %d bytes left out\n", len(s)-limit)
}

type mergeOut struct {
	Merge conclave.Merge `json:"merge"`
}

// merge moves the run's branch to the accepted commit, after the merged tree
// passed its tests. While a newer round of the step is under way it waits for
// that; what can't be merged is built again on the new tip.
func merge(ctx context.Context, w *work) (Transition, error) {
	in, err := input[buildInput](w)
	if err != nil {
		return Transition{}, err
	}
	for w.find(roundKey("verify", in.Step, in.Round+1)) != nil {
		in.Round++
	}
	verifyKey := roundKey("verify", in.Step, in.Round)
	if w.find(verifyKey).State != conclave.StepDone {
		return Transition{State: conclave.StepBlocked, DependsOn: []string{verifyKey}, Reason: "round " + strconv.Itoa(in.Round) + " is under way"}, nil
	}
	b, err := output[buildOut](w, roundKey("build", in.Step, in.Round))
	if err != nil {
		return Transition{}, err
	}
	intake, err := output[intakeOut](w, "intake")
	if err != nil {
		return Transition{}, err
	}
	_, ps, err := w.planStep(ctx, in.Vote, in.Step)
	if err != nil {
		return Transition{}, err
	}
	round := fmt.Sprintf("/%d", in.Round)
	if b.Reply.Nothing != "" {
		if _, err := w.s.o.Worktrees.Release(ctx, conclave.NameWorktree{Key: w.key("release" + round), ID: b.Lease.ID}); err != nil {
			return Transition{}, fmt.Errorf("release the worktree of %s: %w", ps.Key, err)
		}
		t := done(mergeOut{})
		t.Reason = "nothing to merge: " + b.Reply.Nothing
		return t, nil
	}
	m, err := w.s.o.Worktrees.Merge(ctx, conclave.MergeWorktree{Key: w.key("merge" + round), ID: b.Lease.ID, Head: b.Commit.Hash,
		Message: "Merge " + lowerFirst(ps.Title), Build: intake.Facts.Build, Test: intake.Facts.Test, KnownFailing: baselineFails(intake.Facts)})
	if err != nil {
		return Transition{}, fmt.Errorf("merge %s: %w", ps.Key, err)
	}
	if _, err := w.s.o.Worktrees.Release(ctx, conclave.NameWorktree{Key: w.key("release" + round), ID: b.Lease.ID}); err != nil {
		return Transition{}, fmt.Errorf("release the worktree of %s: %w", ps.Key, err)
	}
	out := mergeOut{Merge: m}
	if err := w.learnMerge(ctx, verifyKey, "learn"+round, m); err != nil {
		return Transition{}, err
	}
	if !m.Merged {
		why := "the merged tree failed its tests"
		if len(m.Conflicts) > 0 {
			why = "it conflicts with what was merged before in " + strings.Join(m.Conflicts, ", ")
		}
		t := w.again(in, out, nil, nil, why, conclave.RunFailed)
		if t.End == "" {
			t.State, t.Reason, t.DependsOn = conclave.StepBlocked, why, []string{roundKey("verify", in.Step, in.Round+1)}
		}
		return t, nil
	}
	t := done(out)
	t.Run = func(r *conclave.Run) { r.Branch, r.Head = "conclave/"+string(r.ID), m.New }
	return t, nil
}

// baselineFails reports whether the tests failed before the run touched anything.
func baselineFails(f conclave.Facts) bool {
	if f.Baseline == nil {
		return false
	}
	for _, c := range f.Baseline.Checks {
		if !c.Passed && c.Skipped == "" {
			return true
		}
	}
	return false
}
