package workflow

import (
	"context"
	"errors"
	"fmt"

	"conclave"
)

// What shows that an agent was right or wrong is never another opinion:
//
//	built work     gates and blocking findings refute it, acceptance with passed gates confirms it
//	a finding      the refuter's word refutes it; evidence, or a refuter who agrees, confirms it
//	a tree's vote  failed gates, blocking findings or a failed merged tree show a bad tree, a merge a good one
//	a plan's vote  a delivered branch shows a good plan; a step that no round could build shows a bad one
//
// Where none of this is there, nothing is learned.

// learn tells the council what was shown.
func (w *work) learn(ctx context.Context, purpose string, outcomes []conclave.AgentOutcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	in := conclave.ReportOutcomes{Key: w.key(purpose), Run: w.Run.ID, Outcomes: outcomes}
	_, err := w.s.o.Trust.Report(ctx, in)
	if errors.Is(err, conclave.ErrConflict) {
		// The step was run again after a crash and saw it otherwise: the first
		// report stands.
		return nil
	}
	if err != nil {
		return fmt.Errorf("report outcomes: %w", err)
	}
	return nil
}

// thinker names what thinks for an agent in this run: what its trust is kept for.
func (w *work) thinker(ctx context.Context, kind conclave.AssignmentKind) string {
	switch w.Run.Brain {
	case "offline":
		return "playbook"
	case "model":
		if r, err := w.s.o.Models.Route(ctx, conclave.RouteQuery{Kind: kind, Task: w.Run.Task}); err == nil {
			return "model:" + r.Model
		}
	}
	return w.Run.Brain
}

// votesShown are the outcomes of a motion's ballots, each voter's newest word,
// now that its subject is known to be good or bad.
func (w *work) votesShown(ctx context.Context, d conclave.Decision, good bool, why string) []conclave.AgentOutcome {
	newest := map[conclave.AgentName]int{}
	for _, b := range d.Ballots {
		newest[b.Voter] = max(newest[b.Voter], b.Round)
	}
	brain := d.Motion.Brain
	if brain == "" {
		brain = w.thinker(ctx, conclave.AssignVote)
	}
	var list []conclave.AgentOutcome
	for _, b := range d.Ballots {
		if b.Round != newest[b.Voter] || b.Verdict == conclave.VerdictAbstain || b.Verdict == "" {
			continue
		}
		list = append(list, conclave.AgentOutcome{Agent: b.Voter, Category: conclave.CategoryVote + "." + conclave.Category(d.Motion.Subject.Kind),
			Brain: brain, Subject: string(d.Motion.ID), Confirmed: (b.Verdict == conclave.VerdictApprove) == good, Why: why})
	}
	return list
}

// learnVotes reports the ballots of a motion that was decided before.
func (w *work) learnVotes(ctx context.Context, purpose string, id conclave.MotionID, good bool, why string) error {
	st, err := w.s.o.Council.Get(ctx, conclave.GetMotion{ID: id})
	if err != nil {
		return fmt.Errorf("read the vote %s: %w", id, err)
	}
	if st.Decision == nil {
		return nil
	}
	return w.learn(ctx, purpose, w.votesShown(ctx, *st.Decision, good, why))
}

// findingsShown are the outcomes of reviewers' findings on one tree.
func (w *work) findingsShown(ctx context.Context, tree string, findings []conclave.ReviewFinding) []conclave.AgentOutcome {
	var list []conclave.AgentOutcome
	brain := w.thinker(ctx, conclave.AssignReview)
	for _, f := range findings {
		if f.Reviewer == "" || f.Refuted == "" && !f.Blocks() || len(list) == 128 {
			continue
		}
		o := conclave.AgentOutcome{Agent: f.Reviewer, Category: conclave.CategoryFinding + "." + conclave.Category(f.Category), Brain: brain,
			Subject: f.Key() + "@" + tree, Confirmed: f.Refuted == "", Why: f.Refuted}
		if o.Confirmed {
			o.Why = "it has evidence, or a refuter agreed: " + f.Rule
		}
		list = append(list, o)
	}
	return list
}

// bad says why a measured tree is bad, and nothing when that was not shown.
func (out verifyOut) bad() string {
	grave := blocking(out.Findings)
	switch {
	case !out.Evidence.Passed():
		return "gates failed: " + checksText(out.Evidence)
	case len(grave) > 0:
		return count(len(grave), "finding") + " with evidence stood in the way"
	}
	return ""
}

// judged are the outcomes of the findings and the votes on a measured tree.
func (w *work) judged(ctx context.Context, tree string, out verifyOut, d conclave.Decision) []conclave.AgentOutcome {
	list := w.findingsShown(ctx, tree, out.Findings)
	if why := out.bad(); why != "" {
		list = append(list, w.votesShown(ctx, d, false, why)...)
	}
	return list
}

// verified are the outcomes that a verification shows.
func (w *work) verified(ctx context.Context, b buildOut, out verifyOut, d conclave.Decision) []conclave.AgentOutcome {
	list := w.judged(ctx, b.Commit.Tree, out, d)
	why := out.bad()
	if why == "" && !out.Accepted {
		return list
	}
	o := conclave.AgentOutcome{Agent: b.Agent, Category: conclave.CategoryBuild, Brain: w.thinker(ctx, conclave.AssignBuild),
		Subject: b.Commit.Hash, Confirmed: why == "", Why: why}
	if o.Confirmed {
		o.Why = "it passed its gates and was accepted"
	}
	return append(list, o)
}

// learnMerge reports the ballots on a tree by what its merge showed. A conflict
// shows nothing of the tree.
func (w *work) learnMerge(ctx context.Context, verifyKey, purpose string, m conclave.Merge) error {
	v, err := output[verifyOut](w, verifyKey)
	if err != nil || len(blocking(v.Findings)) > 0 || !m.Merged && len(m.Conflicts) > 0 {
		return err
	}
	why := "it was merged after the merged tree passed its gates"
	if !m.Merged {
		why = "the merged tree failed its gates"
	}
	return w.learnVotes(ctx, purpose, v.Decision.Motion, m.Merged, why)
}
