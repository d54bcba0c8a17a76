package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/agent"
)

const libraryTask = "Build a REST API for a library: books with a title and an author, members with name and email, and loans. " +
	"A member may have at most 3 active loans."

// think lets the playbook answer an assignment in a role.
func think(t *testing.T, role conclave.Role, a conclave.Assignment) (agent.Reply, error) {
	t.Helper()
	return agent.NewPlaybookBrain(agent.PlaybookOptions{}).Think(t.Context(), request(role, a))
}

func request(role conclave.Role, a conclave.Assignment) agent.Request {
	return agent.Request{Name: conclave.AgentName(role) + "-1", Agent: conclave.AgentSpec{Name: string(role), Role: role}, Assignment: a, Text: a.Task}
}

// reply is the data of an answer that must succeed.
func reply[T any](t *testing.T, role conclave.Role, a conclave.Assignment) (T, string) {
	t.Helper()
	r, err := think(t, role, a)
	if err != nil {
		t.Fatal(err)
	}
	data, ok := r.Data.(T)
	if !ok {
		t.Fatalf("the reply's data is a %T", r.Data)
	}
	return data, r.Text
}

func drafted(t *testing.T, task string) (conclave.Plan, string) {
	t.Helper()
	d, text := reply[conclave.DraftReply](t, conclave.RolePlanner, conclave.Assignment{Kind: conclave.AssignDraft, Task: task})
	if d.Usage.ModelCalls == nil || *d.Usage.ModelCalls != 0 {
		t.Error("a playbook calls no model, and the usage does not say so")
	}
	return conclave.Plan{Version: 1, Author: "planner-1", PlanContent: d.Content}, text
}

func TestPlaybookPlansCommentsAndRevises(t *testing.T) {
	plan, text := drafted(t, libraryTask)
	if plan.Archetype != "service" || len(plan.Steps) < 3 || len(plan.Questions) == 0 || len(plan.Uncovered) != 0 || !strings.Contains(plan.Summary, "loan") {
		t.Fatalf("the plan is %+v", plan.PlanContent)
	}
	for _, said := range []string{plan.Steps[0].Key, plan.Questions[0].Text} {
		if !strings.Contains(text, said) {
			t.Errorf("the planner said %q, and nothing of %q", text, said)
		}
	}

	for _, role := range []conclave.Role{conclave.RoleQA, conclave.RolePerformanceReviewer} {
		c, text := reply[conclave.CommentReply](t, role, conclave.Assignment{Kind: conclave.AssignComment, Task: libraryTask, Plan: &plan})
		if len(c.Comments) == 0 || c.Comments[0].Cites == "" || c.Comments[0].Role != role || !strings.Contains(text, c.Comments[0].Cites) {
			t.Errorf("%s said %q with %+v", role, text, c.Comments)
		}
		plan.Comments = append(plan.Comments, c.Comments...)
	}
	plan.Comments = append(plan.Comments, conclave.Comment{Author: "ada", Step: "nowhere", Text: "x", Cites: "y", Change: &conclave.Change{AddAcceptance: []string{"it flies"}}})
	plan.Steps[0].Role = "database-expert"

	d, text := reply[conclave.DraftReply](t, conclave.RolePlanner, conclave.Assignment{Kind: conclave.AssignRevise, Task: libraryTask, Plan: &plan})
	next := conclave.Plan{Version: 2, Author: "planner-1", PlanContent: d.Content}
	if len(d.Notes) != len(plan.Comments) || !strings.Contains(d.Notes[len(d.Notes)-1], "not taken") {
		t.Errorf("the notes are %q, want one for each of %d comments", d.Notes, len(plan.Comments))
	}
	if next.Steps[0].Role != "database-expert" || len(next.Questions) != len(plan.Questions) || next.Task != libraryTask {
		t.Errorf("the revision lost what no comment was about: %+v", next.PlanContent)
	}
	if !strings.Contains(text, "Version 2 changes") {
		t.Errorf("the planner said %q", text)
	}
	c, _ := reply[conclave.CommentReply](t, conclave.RoleQA, conclave.Assignment{Kind: conclave.AssignComment, Task: libraryTask, Plan: &next})
	if len(c.Comments) != 0 {
		t.Errorf("after the revision qa still has %+v", c.Comments)
	}

	motion := &conclave.Motion{Title: "Accept version 2", Kind: conclave.MotionApprove, Subject: conclave.Subject{Kind: "plan"}}
	v, _ := reply[conclave.VoteReply](t, conclave.RoleQA, conclave.Assignment{Kind: conclave.AssignVote, Task: libraryTask, Plan: &next, Motion: motion})
	if v.Verdict != conclave.VerdictApprove || !strings.Contains(v.Reasons[0], "R1 is answered in acceptance") {
		t.Errorf("qa votes %+v", v)
	}
	next.Steps[1].DependsOn = append(next.Steps[1].DependsOn, "missing")
	v, text = reply[conclave.VoteReply](t, conclave.RoleQA, conclave.Assignment{Kind: conclave.AssignVote, Task: libraryTask, Plan: &next, Motion: motion})
	if v.Verdict != conclave.VerdictReject || !strings.Contains(text, "missing") {
		t.Errorf("a plan with a hole gets %+v, %q", v, text)
	}
}

func TestPlaybookRanksWhatItKnows(t *testing.T) {
	plan, _ := drafted(t, libraryTask)
	q := plan.Questions[0]
	var keys []string
	for _, o := range q.Options {
		keys = append(keys, o.Key)
	}
	o, _ := reply[conclave.OptionsReply](t, conclave.RoleArchitect, conclave.Assignment{Kind: conclave.AssignOptions, Task: libraryTask, Question: &conclave.Question{Key: q.Key, Text: q.Text, Options: q.Options[:1]}})
	if len(o.Options) != len(q.Options)-1 {
		t.Errorf("to the option %s the architect adds %+v", keys[0], o.Options)
	}
	motion := &conclave.Motion{Title: q.Text, Kind: conclave.MotionRank, Options: append([]string{"homing-pigeons"}, keys...), Subject: conclave.Subject{Kind: "options"}}
	v, _ := reply[conclave.VoteReply](t, conclave.RoleArchitect, conclave.Assignment{Kind: conclave.AssignVote, Task: libraryTask, Question: &q, Motion: motion})
	if len(v.Ranking) != len(keys)+1 || v.Ranking[len(keys)] != "homing-pigeons" || len(v.Reasons) != len(v.Ranking) {
		t.Errorf("the ranking is %+v", v)
	}
	v, text := reply[conclave.VoteReply](t, conclave.RoleArchitect, conclave.Assignment{Kind: conclave.AssignVote, Task: "x", Motion: &conclave.Motion{Title: "Lunch?", Kind: conclave.MotionRank, Options: []string{"soup", "salad"}}})
	if v.Verdict != conclave.VerdictAbstain || !strings.Contains(text, "Lunch?") {
		t.Errorf("on what the playbook can't judge: %+v, %q", v, text)
	}
}

func TestPlaybookBuildsWithinTheWriteSet(t *testing.T) {
	plan, _ := drafted(t, libraryTask)
	step := plan.Steps[0]
	build := func(s conclave.PlanStep, dir string) (agent.Reply, error) {
		return think(t, conclave.RoleDeveloper, conclave.Assignment{Kind: conclave.AssignBuild, Task: libraryTask, Plan: &plan, Step: &s, Worktree: dir})
	}
	dir := t.TempDir()
	r, err := build(step, dir)
	if err != nil {
		t.Fatal(err)
	}
	b := r.Data.(conclave.BuildReply)
	if len(b.Files) == 0 || b.NeedsModel != "" || b.ToolCalls != len(b.Files) {
		t.Fatalf("built %+v", b)
	}
	for _, name := range b.Files {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s was not written: %v", name, err)
		}
	}
	narrow := step
	narrow.Writes = []string{"docs/**"}
	if _, err := build(narrow, t.TempDir()); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("outside the write set: %v", err)
	}
	trap, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(trap, strings.Split(b.Files[len(b.Files)-1], "/")[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := build(step, trap); err == nil {
		t.Error("a link out of the worktree was followed")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside the worktree there are now %v", left)
	}
}

func TestPlaybookSaysWhenItNeedsAModel(t *testing.T) {
	plan, text := drafted(t, "Rewrite the scheduler in Rust")
	if len(plan.Uncovered) == 0 || !strings.Contains(text, "Rewrite the scheduler in Rust") {
		t.Errorf("the plan covers %+v, and the planner said %q", plan.PlanContent, text)
	}
	step := conclave.PlanStep{Key: "x", Title: "Do it", Writes: []string{"**"}}
	finding := conclave.ReviewFinding{Finding: conclave.Finding{Tool: "gosec", Rule: "G401", Path: "a.go", Line: 7}}
	for name, a := range map[string]conclave.Assignment{
		"an unknown task": {Task: "Rewrite the scheduler in Rust", Step: &step},
		"a repair":        {Task: "Fix the analyser findings", Step: &step},
		"an unknown step": {Task: libraryTask, Step: &step},
		"a finding":       {Task: libraryTask, Step: &step, Findings: []conclave.ReviewFinding{finding}},
	} {
		a.Kind, a.Worktree = conclave.AssignBuild, t.TempDir()
		b, _ := reply[conclave.BuildReply](t, conclave.RoleDeveloper, a)
		if b.NeedsModel == "" || len(b.Files) != 0 {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

func TestPlaybookRepairs(t *testing.T) {
	step := conclave.PlanStep{Key: "findings", Title: "Apply fixes"}
	a := conclave.Assignment{Kind: conclave.AssignBuild, Task: "Fix the analyser findings", Step: &step, Worktree: t.TempDir()}
	var got conclave.Assignment
	answer := conclave.BuildReply{Summary: "I applied 2 fixes of staticcheck.", Files: []string{"a.go"}}
	brain := agent.NewPlaybookBrain(agent.PlaybookOptions{Repair: func(_ context.Context, a conclave.Assignment) (conclave.BuildReply, error) {
		got = a
		return answer, nil
	}})
	r, err := brain.Think(t.Context(), request(conclave.RoleDeveloper, a))
	if err != nil || r.Text != answer.Summary || got.Worktree != a.Worktree {
		t.Errorf("%+v, %v for %+v", r, err, got)
	}
	answer = conclave.BuildReply{}
	r, err = brain.Think(t.Context(), request(conclave.RoleDeveloper, a))
	if err != nil || !strings.Contains(r.Data.(conclave.BuildReply).NeedsModel, "no analyser suggests a change") {
		t.Errorf("a repair that changed nothing: %+v, %v", r, err)
	}
	answer = conclave.BuildReply{Nothing: "the analysers find nothing"}
	r, err = brain.Think(t.Context(), request(conclave.RoleDeveloper, a))
	if b := r.Data.(conclave.BuildReply); err != nil || b.NeedsModel != "" || b.Nothing != answer.Nothing {
		t.Errorf("a repair of what has no findings: %+v, %v", r, err)
	}
}

// measured is a change with a finding of each kind, one of them older than it.
func measured() conclave.Assignment {
	old := conclave.Finding{Tool: "staticcheck", Rule: "SA1019", Level: conclave.LevelError, Category: "correctness", Path: "old.go", Line: 1, Message: "deprecated", Fingerprint: "1"}
	f := func(tool, rule, category string, level conclave.Level, line int) conclave.Finding {
		return conclave.Finding{Tool: tool, Rule: rule, Level: level, Category: category, Path: "new.go", Line: line, Message: rule + " is bad", Fingerprint: rule}
	}
	findings := []conclave.Finding{
		old, f("gosec", "G401", "security", conclave.LevelError, 3), f("gitleaks", "aws-key", "secret", conclave.LevelError, 4),
		f("staticcheck", "SA4006", "correctness", conclave.LevelWarning, 5), f("go test", "TestX", "test", conclave.LevelError, 6),
		f("gocritic", "hugeParam", "performance", conclave.LevelNote, 7),
	}
	step := conclave.PlanStep{Key: "api", Acceptance: []string{"Unknown members in JSON are refused", "Sorting accepts every field"}}
	return conclave.Assignment{
		Kind: conclave.AssignReview, Task: "x", Step: &step,
		Diff:  "--- a/new.go\n+++ b/new.go\n@@\n+func Refuse() {}\n--- a/new_test.go\n+++ b/new_test.go\n@@\n+func TestRefusesUnknownMembers(t *testing.T) {\n",
		Facts: &conclave.Facts{Baseline: &conclave.Evidence{Tree: "base", Findings: []conclave.Finding{old}}},
		Evidence: &conclave.Evidence{Tree: "new", Hash: "sha256:x", Findings: findings, Checks: []conclave.Check{
			{Name: "build", Command: "go build ./...", Passed: true},
			{Name: "test", Command: "go test ./...", Passed: false, Output: "ok a\nFAIL b\n", Tests: 9, Failed: 1},
			{Name: "lint", Command: "golint", Passed: false, Baseline: true},
		}},
	}
}

func TestPlaybookReviewsEachInItsField(t *testing.T) {
	for role, want := range map[conclave.Role]struct {
		rules   []string
		approve bool
	}{
		conclave.RoleSecurity:            {[]string{"G401", "aws-key"}, false},
		conclave.RoleCodeReviewer:        {[]string{"SA4006", "check:test"}, false},
		conclave.RoleQA:                  {[]string{"TestX", "untested-criterion"}, false},
		conclave.RolePerformanceReviewer: {[]string{"hugeParam"}, true},
	} {
		a := measured()
		v, text := reply[conclave.ReviewReply](t, role, a)
		var rules []string
		for _, f := range v.Findings {
			rules = append(rules, f.Rule)
			if advice := f.Rule == "untested-criterion"; advice != (f.Evidence == "") {
				t.Errorf("%s: the evidence of %s is %q", role, f.Rule, f.Evidence)
			}
		}
		if !slices.Equal(rules, want.rules) || v.Approve != want.approve {
			t.Errorf("%s: approves %t with %v, want %t with %v", role, v.Approve, rules, want.approve, want.rules)
		}
		if !want.approve && role == conclave.RoleSecurity && !strings.Contains(text, "G401 at new.go:3") {
			t.Errorf("%s does not say where: %q", role, text)
		}
		if role == conclave.RoleQA && !strings.Contains(v.Findings[1].Message, "Sorting accepts every field") {
			t.Errorf("qa takes the wrong criterion for untested: %+v", v.Findings[1])
		}
	}

	a := measured()
	a.Evidence.New = []string{"gosec/G401/G401"}
	v, _ := reply[conclave.ReviewReply](t, conclave.RoleSecurity, a)
	if len(v.Findings) != 1 {
		t.Errorf("with one new finding named, security has %+v", v.Findings)
	}
	a = measured()
	a.Diff, a.Step, a.Evidence = "", nil, a.Facts.Baseline
	v, _ = reply[conclave.ReviewReply](t, conclave.RoleCodeReviewer, a)
	if len(v.Findings) != 1 || v.Findings[0].Rule != "SA1019" || v.Approve {
		t.Errorf("a review of the tree as it is has %+v", v)
	}
	a.Evidence = nil
	if _, err := think(t, conclave.RoleQA, a); !errors.Is(err, conclave.ErrUnsupported) {
		t.Errorf("without evidence: %v", err)
	}
	a = measured()
	a.Diff = "+++ b/main.go\n+func main() {}\n"
	v, _ = reply[conclave.ReviewReply](t, conclave.RoleQA, a)
	if f := v.Findings[len(v.Findings)-1]; f.Rule != "no-test" || f.Path != "main.go" || f.Blocks() {
		t.Errorf("code without a test is %+v, want advice", f)
	}
}

func TestPlaybookVotesOnTrees(t *testing.T) {
	motion := &conclave.Motion{Title: "Merge api", Kind: conclave.MotionApprove, Subject: conclave.Subject{Kind: "tree"}}
	judge := func(role conclave.Role, change func(*conclave.Assignment)) conclave.VoteReply {
		a := measured()
		a.Kind, a.Motion = conclave.AssignVote, motion
		a.Evidence.Checks[1].Passed = true
		change(&a)
		v, _ := reply[conclave.VoteReply](t, role, a)
		return v
	}
	security := conclave.ReviewFinding{Finding: measured().Evidence.Findings[1], Evidence: "gosec/G401/G401"}
	with := func(f conclave.ReviewFinding) func(*conclave.Assignment) {
		return func(a *conclave.Assignment) { a.Findings = []conclave.ReviewFinding{f} }
	}
	refuted, advice := security, security
	refuted.Refuted, advice.Evidence = "a false alarm", ""
	for _, c := range []struct {
		name   string
		role   conclave.Role
		change func(*conclave.Assignment)
		want   conclave.Verdict
	}{
		{"a finding in its field", conclave.RoleSecurity, with(security), conclave.VerdictReject},
		{"a finding in another's field", conclave.RoleQA, with(security), conclave.VerdictApprove},
		{"any finding, as an architect", conclave.RoleArchitect, with(security), conclave.VerdictReject},
		{"a refuted finding", conclave.RoleSecurity, with(refuted), conclave.VerdictApprove},
		{"a claim without evidence", conclave.RoleSecurity, with(advice), conclave.VerdictApprove},
		{"a failed check", conclave.RolePerformanceReviewer, func(a *conclave.Assignment) {
			a.Findings, a.Evidence.Checks[1].Passed = []conclave.ReviewFinding{}, false
		}, conclave.VerdictReject},
		{"a check that failed before", conclave.RoleQA, func(a *conclave.Assignment) { a.Findings = []conclave.ReviewFinding{} }, conclave.VerdictApprove},
		{"evidence alone", conclave.RoleSecurity, func(*conclave.Assignment) {}, conclave.VerdictReject},
		{"nothing measured", conclave.RoleSecurity, func(a *conclave.Assignment) { a.Evidence = nil }, conclave.VerdictAbstain},
	} {
		if v := judge(c.role, c.change); v.Verdict != c.want || len(v.Reasons) == 0 {
			t.Errorf("%s: %s votes %+v, want %s", c.name, c.role, v, c.want)
		}
	}
}

func TestPlaybookRefutesWhatIsOlder(t *testing.T) {
	a := measured()
	a.Kind = conclave.AssignRefute
	for _, f := range a.Evidence.Findings[:2] {
		a.Findings = append(a.Findings, conclave.ReviewFinding{Finding: f, Evidence: f.Key()})
	}
	v, text := reply[conclave.RefuteReply](t, conclave.RoleArchitect, a)
	if len(v.Refuted) != 1 || v.Refuted[a.Findings[0].Key()] == "" || !strings.Contains(text, "SA1019 at old.go:1") {
		t.Errorf("refuted %+v and said %q", v.Refuted, text)
	}
	a.Evidence = a.Facts.Baseline // now the base itself is under review
	if v, _ = reply[conclave.RefuteReply](t, conclave.RoleArchitect, a); len(v.Refuted) != 0 {
		t.Errorf("in a review of the base %+v was refuted", v.Refuted)
	}
}

func TestPlaybookSpeaksOfTheQuestion(t *testing.T) {
	for task, says := range map[string]string{libraryTask: "loan", "What is the meaning of life?": "meaning of life"} {
		r, err := think(t, conclave.RoleArchitect, conclave.Assignment{Kind: conclave.AssignAsk, Task: task})
		if err != nil || !strings.Contains(r.Text, says) || !strings.Contains(r.Text, "without a model") {
			t.Errorf("%q: %q, %v", task, r.Text, err)
		}
	}
	if _, err := think(t, conclave.RoleQA, conclave.Assignment{Kind: "dance"}); !errors.Is(err, conclave.ErrUnsupported) {
		t.Errorf("an unknown kind: %v", err)
	}
}
