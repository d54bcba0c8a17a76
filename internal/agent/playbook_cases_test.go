package agent

import (
	"slices"
	"strings"
	"testing"

	"conclave"
)

// Options of a question that no playbook knows are ranked by where the repository
// uses them, with the place as the reason; without such facts there is nothing to say.
func TestRankByUse(t *testing.T) {
	q := conclave.Question{Key: "question", Text: "Which store?", Options: []conclave.Option{
		{Key: "mysql"}, {Key: "sqlite", Facts: []string{"2 files with code name it"}, InUse: 2}, {Key: "postgres", Facts: []string{"go.mod: pgx v5"}, InUse: 5},
	}}
	r := Request{Assignment: conclave.Assignment{Task: q.Text, Question: &q, Motion: &conclave.Motion{Kind: conclave.MotionRank, Options: []string{"mysql", "sqlite", "postgres"}}}}
	v := rank(r)
	if !slices.Equal(v.Ranking, []string{"postgres", "sqlite", "mysql"}) || !strings.Contains(v.Reasons[0], "go.mod: pgx v5") || !strings.Contains(v.Reasons[2], "mysql: nothing") {
		t.Errorf("%+v", v)
	}
	for i := range q.Options {
		q.Options[i].Facts, q.Options[i].InUse = nil, 0
	}
	if v := rank(r); v.Verdict != conclave.VerdictAbstain || len(v.Ranking) > 0 {
		t.Errorf("without facts: %+v", v)
	}
}

// Who takes a conversation over says who had it, what was said last and what is open.
func TestTakeOver(t *testing.T) {
	h := conclave.Handoff{Conversation: "conv-1", Had: []string{"qa-1", "planner-1"}, Count: 7, Note: "Look at the tokens.",
		Messages: []conclave.Message{{From: "qa-1", To: "ada", Text: "It\npasses."}},
		Open:     []conclave.Task{{Kind: conclave.AssignBuild, From: "ada", To: "roles/developer", State: conclave.TaskWorking}}}
	r := Request{Assignment: conclave.Assignment{Kind: conclave.AssignHandoff, Handoff: &h}}
	got, err := NewPlaybookBrain(PlaybookOptions{}).Think(t.Context(), r)
	want := "I take over conv-1 from qa-1 and planner-1: 7 messages so far, the last by qa-1: “It passes.”. Still open: build of ada to roles/developer (working). What I am to know: “Look at the tokens.”."
	if err != nil || got.Text != want {
		t.Errorf("%q, %v, want %q", got.Text, err, want)
	}
	if text := assignmentPrompt(r); !strings.Contains(text, "conv-1, which qa-1, planner-1 had; the last of 7 messages") || !strings.Contains(text, "open: build of ada to roles/developer, working") {
		t.Errorf("a model is told %s", text)
	}
	r.Assignment.Handoff = nil
	if _, err := NewPlaybookBrain(PlaybookOptions{}).Think(t.Context(), r); conclave.KindOf(err) != conclave.ErrInvalid {
		t.Errorf("without a conversation: %v", err)
	}
}
