package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/git"
	"conclave/internal/llm"
	"conclave/internal/llmtest"
	"conclave/internal/sandbox"
)

// TestMain lets the test binary play the sandbox's supervisor.
func TestMain(m *testing.M) {
	sandbox.Child()
	os.Exit(m.Run())
}

const secretKey = "sk-brain-key-0123456789"

// worktree makes a repository with a few files.
func worktree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	_, _, err := git.CreateFromFiles(t.Context(), dir, map[string]string{
		"main.go":      "package main\n\nfunc main() {\n\tprintln(\"hello\")\n}\n",
		"docs/old.md":  "# Old\n\nhello twice: hello\n",
		"other/big.md": strings.Repeat("line of text\n", 3000),
	}, git.Signature{Name: "Ada", Email: "ada@example.org", When: time.Unix(1767225600, 0)}, "Start")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func contentOf(t *testing.T, dir, name string) string {
	t.Helper()
	all, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func buildRequest(dir string) Request {
	return Request{
		Agent: conclave.AgentSpec{Name: "developer", Role: conclave.RoleDeveloper, Tools: []string{"read", "write", "search", "run", "ask"}, Prompt: "Build the step."},
		Name:  "developer-1",
		Assignment: conclave.Assignment{
			Kind: conclave.AssignBuild, Run: "run-1", Task: "Write about it.", Worktree: dir,
			Step: &conclave.PlanStep{Key: "docs", Title: "Write the docs", Acceptance: []string{"docs/new.md exists"}, Writes: []string{"docs/**"}},
		},
	}
}

func reviewRequest(dir string) Request {
	return Request{
		Agent:      conclave.AgentSpec{Name: "qa", Role: conclave.RoleQA, Tools: []string{"read", "search", "run"}, Prompt: "Review."},
		Name:       "qa-1",
		Assignment: conclave.Assignment{Kind: conclave.AssignReview, Run: "run-1", Task: "Write about it.", Worktree: dir, Diff: "+hello"},
	}
}

// brains runs a test with a model brain.
func brains(t *testing.T, change func(*ModelOptions), script func() llmtest.Script, test func(t *testing.T, b *ModelBrain, s *llmtest.Server)) {
	t.Helper()
	s := llmtest.New(t, script())
	o := ModelOptions{Client: modelClient(t, s.URL), Model: "middle"}
	if change != nil {
		change(&o)
	}
	b, err := NewModelBrain(o)
	if err != nil {
		t.Fatal(err)
	}
	test(t, b, s)
}

func modelClient(t *testing.T, url string) Completer {
	t.Helper()
	c, err := llm.NewAnthropic(llm.Options{BaseURL: url, Key: secretKey, Tries: 2, Backoff: time.Millisecond, Idle: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// turns answers the n-th request of a conversation with the n-th answer.
func turns(answers ...llmtest.Answer) func() llmtest.Script {
	return func() llmtest.Script { return llmtest.Sequence(answers...) }
}

func TestModelBuildsByTools(t *testing.T) {
	box, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	script := turns(
		llmtest.Use("read_file", map[string]any{"path": "main.go", "from": 3}),
		llmtest.Answer{Thinking: "Two files.", Text: "Writing.", Calls: []llmtest.ToolCall{
			{Name: "write_file", Input: json.RawMessage(`{"path":"docs/deep/new.md","content":"# New\n"}`)},
			{Name: "edit_file", Input: json.RawMessage(`{"path":"docs/old.md","old":"# Old","new":"# Newer"}`)}}},
		llmtest.Use("write_file", map[string]any{"path": "main.go", "content": "x"}),
		llmtest.Use("run", map[string]any{"command": []string{"cat", "docs/deep/new.md"}}),
		llmtest.Use("ask_agent", map[string]any{"to": "roles/architect", "question": "Is that all?"}),
		llmtest.Use("reply", map[string]any{"summary": "Wrote the docs."}),
	)
	brains(t, func(o *ModelOptions) { o.Runner = box }, script, func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
		dir := worktree(t)
		r := buildRequest(dir)
		r.Ask = func(_ context.Context, to, question string) (string, error) {
			return to + " says yes to " + question, nil
		}
		reply, err := b.Think(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		built, ok := reply.Data.(conclave.BuildReply)
		if !ok || reply.Text != "Wrote the docs." || built.ToolCalls != 6 {
			t.Fatalf("reply %+v", reply)
		}
		if got := strings.Join(built.Files, " "); got != "docs/deep/new.md docs/old.md" {
			t.Errorf("files %s", got)
		}
		if contentOf(t, dir, "docs/deep/new.md") != "# New\n" || !strings.HasPrefix(contentOf(t, dir, "docs/old.md"), "# Newer\n") {
			t.Error("the files do not hold what was written")
		}
		u := s.Usage()
		if *built.Usage.ModelCalls != u.Requests || *built.Usage.InputTokens != u.Input || *built.Usage.OutputTokens != u.Output || built.Usage.CostUSD != nil {
			t.Errorf("usage %d/%d/%d, the endpoint claimed %+v", *built.Usage.ModelCalls, *built.Usage.InputTokens, *built.Usage.OutputTokens, u)
		}
		calls := s.Calls()
		if c := calls[0]; c.Model != "middle" || c.Header.Get(llm.HeaderRun) != "run-1" || c.Header.Get(llm.HeaderAgent) != "developer-1" ||
			!strings.Contains(c.System, "Build the step.") || !strings.Contains(c.Messages[0].Text, "docs/new.md exists") {
			t.Errorf("first request: %s with %v\n%s\n%s", c.Model, c.Header, c.System, c.Messages[0].Text)
		}
		results := map[int]string{1: "3\tfunc main() {\n4\t\tprintln(\"hello\")", 3: "outside the step's write set (docs/**)",
			4: "run:1: exit code 0\n# New", 5: "roles/architect says yes to Is that all?"}
		for n, want := range results {
			if got := calls[n].Last().Results[0].Text; !strings.Contains(got, want) {
				t.Errorf("result %d: %q does not say %q", n, got, want)
			}
		}
	})
}

func TestModelWithoutAnArtefactIsAnError(t *testing.T) {
	brains(t, nil, turns(llmtest.Use("reply", map[string]any{"summary": "All done!"})), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
		_, err := b.Think(t.Context(), buildRequest(worktree(t)))
		if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), "no file was changed") {
			t.Errorf("error %v", err)
		}
		if n := len(s.Calls()); n != 2 {
			t.Errorf("the model was asked %d times, want 2", n)
		}
	})
}

// A command may write what the tools would not: the reply is refused.
func TestModelCannotLeaveTheWriteSetByACommand(t *testing.T) {
	box, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	script := turns(
		llmtest.Use("run", map[string]any{"command": []string{"cp", "docs/old.md", "stolen.md"}}),
		llmtest.Use("reply", map[string]any{"summary": "Copied."}),
		llmtest.Use("run", map[string]any{"command": []string{"mv", "stolen.md", "docs/copy.md"}}),
		llmtest.Use("reply", map[string]any{"summary": "Copied into the docs."}),
	)
	brains(t, func(o *ModelOptions) { o.Runner = box }, script, func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
		reply, err := b.Think(t.Context(), buildRequest(worktree(t)))
		if err != nil {
			t.Fatal(err)
		}
		if files := reply.Data.(conclave.BuildReply).Files; len(files) != 1 || files[0] != "docs/copy.md" {
			t.Errorf("files %v", files)
		}
		if got := s.Calls()[2].Last().Results[0]; !strings.Contains(got.Text, "stolen.md changed, but the step may write only docs/**") {
			t.Errorf("the first reply was answered by %q", got.Text)
		}
	})
}

func TestModelAnswersEachKind(t *testing.T) {
	step := map[string]any{"key": "api", "title": "Add it", "description": "…", "acceptance": []string{"it answers"}, "writes": []string{"api/**"}}
	finding := conclave.ReviewFinding{Finding: conclave.Finding{Tool: "qa-1", Rule: "off-by-one", Path: "main.go", Line: 4, Fingerprint: "f00"}}
	evidence := &conclave.Evidence{Checks: []conclave.Check{{Name: "test", Command: "go test ./...", Output: "FAIL: TestIt"}, {Name: "build", Passed: true}}}
	rank := &conclave.Motion{Kind: conclave.MotionRank, Title: "Which store?", Options: []string{"sqlite", "postgres"}}
	for name, tt := range map[string]struct {
		change func(*Request)
		reply  any
		want   func(t *testing.T, text string, data any)
	}{
		"draft": {func(r *Request) { r.Assignment.Kind = conclave.AssignDraft },
			map[string]any{"content": map[string]any{"summary": "One step.", "steps": []any{step}}},
			func(t *testing.T, text string, data any) {
				d := data.(conclave.DraftReply)
				if d.Content.Task != "Write about it." || d.Content.Steps[0].Key != "api" || text != "One step." {
					t.Errorf("%+v", d)
				}
			}},
		"comment": {func(r *Request) { r.Assignment.Kind = conclave.AssignComment },
			map[string]any{"comments": []any{map[string]any{"step": "api", "text": "no test", "cites": "main.go has none", "change": map[string]any{"add_acceptance": []string{"a test"}}}}},
			func(t *testing.T, text string, data any) {
				c := data.(conclave.CommentReply).Comments[0]
				if c.Author != "qa-1" || c.Role != conclave.RoleQA || c.Change.AddAcceptance[0] != "a test" {
					t.Errorf("%+v", c)
				}
			}},
		"options": {func(r *Request) { r.Assignment.Kind = conclave.AssignOptions },
			map[string]any{"options": []any{map[string]any{"key": "files", "title": "Plain files", "cons": []string{"slow"}}}},
			func(t *testing.T, text string, data any) {
				if o := data.(conclave.OptionsReply).Options; len(o) != 1 || o[0].Key != "files" {
					t.Errorf("%+v", o)
				}
			}},
		"vote": {func(r *Request) {
			r.Assignment.Kind, r.Assignment.Motion = conclave.AssignVote, &conclave.Motion{Kind: conclave.MotionApprove, Title: "Accept it"}
		}, map[string]any{"verdict": "reject", "reasons": []string{"no test"}},
			func(t *testing.T, text string, data any) {
				if v := data.(conclave.VoteReply); v.Verdict != conclave.VerdictReject || text != "reject: no test" {
					t.Errorf("%+v, %q", v, text)
				}
			}},
		"rank": {func(r *Request) { r.Assignment.Kind, r.Assignment.Motion = conclave.AssignVote, rank },
			map[string]any{"ranking": []string{"postgres", "sqlite"}, "reasons": []string{"many writers"}},
			func(t *testing.T, text string, data any) {
				if v := data.(conclave.VoteReply); len(v.Ranking) != 2 || v.Ranking[0] != "postgres" || v.Verdict != "" {
					t.Errorf("%+v", v)
				}
			}},
		"review": {func(r *Request) { r.Assignment.Evidence = evidence },
			map[string]any{"approve": false, "summary": "It fails.", "findings": []any{
				map[string]any{"rule": "broken", "level": "error", "category": "test", "path": "main.go", "line": 4, "message": "fails", "evidence": "check:test"},
				map[string]any{"rule": "ugly", "level": "error", "category": "style", "path": "./main.go", "line": 4, "message": "ugly", "evidence": "I am quite sure"}}},
			func(t *testing.T, text string, data any) {
				v := data.(conclave.ReviewReply)
				if !v.Findings[0].Blocks() || v.Findings[1].Blocks() || v.Findings[1].Path != "main.go" || v.Findings[0].Fingerprint == "" ||
					v.Findings[0].Fingerprint == v.Findings[1].Fingerprint || v.Findings[0].Reviewer != "qa-1" || v.Findings[0].Tool != "qa-1" {
					t.Errorf("%+v", v.Findings)
				}
			}},
		"refute": {func(r *Request) {
			r.Assignment.Kind, r.Assignment.Findings = conclave.AssignRefute, []conclave.ReviewFinding{finding}
		}, map[string]any{"refuted": map[string]any{finding.Key(): "line 4 has no index"}},
			func(t *testing.T, text string, data any) {
				if v := data.(conclave.RefuteReply); v.Refuted[finding.Key()] == "" || text != "1 of 1 findings refuted." {
					t.Errorf("%+v, %q", v, text)
				}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			brains(t, nil, turns(llmtest.Use("reply", tt.reply)), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
				r := reviewRequest(worktree(t))
				tt.change(&r)
				reply, err := b.Think(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				tt.want(t, reply.Text, reply.Data)
				var schema map[string]any
				for _, tool := range s.Calls()[0].Tools {
					if tool.Name == "write_file" || tool.Name == "edit_file" || tool.Name == "remove_file" {
						t.Errorf("%s got the tool %s", r.Assignment.Kind, tool.Name)
					}
					if tool.Name == "reply" {
						if err := json.Unmarshal(tool.Schema, &schema); err != nil {
							t.Fatal(err)
						}
					}
				}
				if schema["type"] != "object" || strings.Contains(fmt.Sprint(schema), "usage") {
					t.Errorf("schema %v", schema)
				}
			})
		})
	}
}

func TestModelAnswersInProse(t *testing.T) {
	brains(t, nil, turns(llmtest.Say("Because of the lock.")), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
		r := reviewRequest("")
		r.Assignment, r.Text = conclave.Assignment{Kind: conclave.AssignAsk, Task: "Why?"}, "Why?"
		reply, err := b.Think(t.Context(), r)
		if err != nil || reply.Text != "Because of the lock." || reply.Data != nil {
			t.Errorf("%+v, %v", reply, err)
		}
		if c := s.Calls()[0]; len(c.Tools) != 0 || strings.Contains(c.System, "calling the tool") {
			t.Errorf("tools %v", c.Tools)
		}
	})
}

func TestModelRunsTheGoToolchain(t *testing.T) {
	box, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	script := turns(llmtest.Use("run", map[string]any{"command": []string{"go", "list", "./..."}}),
		llmtest.Use("reply", map[string]any{"approve": true, "summary": "It is a program.", "findings": []any{}}))
	brains(t, func(o *ModelOptions) { o.Runner, o.GoCache = box, cache }, script, func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
		dir := worktree(t)
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/hello\n\ngo 1.26\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Think(t.Context(), reviewRequest(dir)); err != nil {
			t.Fatal(err)
		}
		if got := s.Calls()[1].Last().Results[0].Text; got != "run:1: exit code 0\nexample.org/hello\n" {
			t.Errorf("it was told %q", got)
		}
	})
}

// A reviewer's own run is evidence, when it failed.
func TestModelProvesByRunning(t *testing.T) {
	box, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	finding := func(ref string) map[string]any {
		return map[string]any{"rule": "r-" + ref, "level": "error", "category": "test", "path": "main.go", "line": 1, "message": "m", "evidence": ref}
	}
	script := turns(
		llmtest.Use("run", map[string]any{"command": []string{"grep", "-q", "no such text", "main.go"}}),
		llmtest.Use("run", map[string]any{"command": []string{"true"}}),
		llmtest.Use("run", map[string]any{"command": []string{"touch", "main.go.bak"}}),
		llmtest.Use("reply", map[string]any{"approve": false, "summary": "s", "findings": []any{finding("run:1"), finding("run:2"), finding("run:9")}}))
	brains(t, func(o *ModelOptions) { o.Runner = box }, script, func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
		dir := worktree(t)
		reply, err := b.Think(t.Context(), reviewRequest(dir))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range reply.Data.(conclave.ReviewReply).Findings {
			got = append(got, f.Evidence)
		}
		if strings.Join(got, ",") != "run:1,," {
			t.Errorf("evidence %q", got)
		}
		if _, err := os.Stat(filepath.Join(dir, "main.go.bak")); !errors.Is(err, os.ErrNotExist) {
			t.Error("a reviewer's command wrote into the worktree")
		}
	})
}

func TestModelIsAskedOnceMore(t *testing.T) {
	vote := func(r *Request) {
		r.Assignment.Kind, r.Assignment.Motion = conclave.AssignVote, &conclave.Motion{Kind: conclave.MotionApprove}
	}
	good := llmtest.Use("reply", map[string]any{"verdict": "approve", "reasons": []string{}})
	for name, tt := range map[string]struct {
		bad  llmtest.Answer
		says string
	}{
		"wrong type":    {llmtest.Use("reply", map[string]any{"verdict": 7, "reasons": []string{}}), "verdict"},
		"wrong verdict": {llmtest.Use("reply", map[string]any{"verdict": "maybe", "reasons": []string{}}), "verdict"},
		"unknown field": {llmtest.Use("reply", map[string]any{"verdict": "approve", "reasons": []string{}, "usage": 1}), "usage"},
		"prose":         {llmtest.Say("I approve."), "not a call of the tool reply"},
		"cut off":       {llmtest.Answer{Text: "I app", Length: true}, "cut off"},
		"cut call":      {llmtest.Answer{Calls: []llmtest.ToolCall{{Name: "reply", Input: json.RawMessage(`{"verdict":"appr`)}}, Length: true}, "cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			brains(t, nil, turns(tt.bad, good), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
				r := reviewRequest("")
				vote(&r)
				reply, err := b.Think(t.Context(), r)
				if err != nil || reply.Data.(conclave.VoteReply).Verdict != conclave.VerdictApprove {
					t.Fatalf("%+v, %v", reply, err)
				}
				last := s.Calls()[1].Last()
				text := last.Text
				for _, result := range last.Results {
					text += result.Text
				}
				if !strings.Contains(text, tt.says) {
					t.Errorf("it was told %q, which does not say %q", text, tt.says)
				}
			})
			brains(t, nil, turns(tt.bad), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
				r := reviewRequest("")
				vote(&r)
				if _, err := b.Think(t.Context(), r); !errors.Is(err, conclave.ErrInvalid) || len(s.Calls()) != 2 {
					t.Errorf("error %v after %d requests", err, len(s.Calls()))
				}
			})
		})
	}
	t.Run("the reply as text", func(t *testing.T) {
		brains(t, nil, turns(llmtest.Say("```json\n{\"verdict\":\"approve\",\"reasons\":[\"fine\"]}\n```")), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
			r := reviewRequest("")
			vote(&r)
			if reply, err := b.Think(t.Context(), r); err != nil || reply.Text != "approve: fine" {
				t.Errorf("%+v, %v", reply, err)
			}
		})
	})
	t.Run("a plan that can't be", func(t *testing.T) {
		plan := llmtest.Use("reply", map[string]any{"content": map[string]any{"summary": "s", "steps": []any{}}})
		check := func(c conclave.PlanContent) error {
			return conclave.Errorf(conclave.ErrInvalid, "plan: it has no steps")
		}
		brains(t, func(o *ModelOptions) { o.CheckPlan = check }, turns(plan), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
			r := reviewRequest("")
			r.Assignment.Kind = conclave.AssignDraft
			if _, err := b.Think(t.Context(), r); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), "it has no steps") {
				t.Errorf("error %v", err)
			}
		})
	})
}

// The scripted team that plays whole runs answers each kind of assignment.
func TestTeamAnswersEachKind(t *testing.T) {
	team := func() llmtest.Script {
		return llmtest.Team(llmtest.Work{Summary: "Write the docs.", Step: "docs", Writes: []string{"docs/**"}, Files: map[string]string{"docs/a.md": "a\n", "docs/b/c.md": "c\n"}})
	}
	brains(t, nil, team, func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
		r := buildRequest(worktree(t))
		for _, kind := range []conclave.AssignmentKind{conclave.AssignDraft, conclave.AssignComment, conclave.AssignOptions, conclave.AssignBuild,
			conclave.AssignReview, conclave.AssignRefute, conclave.AssignVote, conclave.AssignAsk} {
			r.Assignment.Kind = kind
			reply, err := b.Think(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			switch data := reply.Data.(type) {
			case conclave.DraftReply:
				if s := data.Content.Steps; len(s) != 1 || s[0].Key != "docs" || s[0].Writes[0] != "docs/**" {
					t.Errorf("plan %+v", data.Content)
				}
			case conclave.BuildReply:
				if strings.Join(data.Files, " ") != "docs/a.md docs/b/c.md" {
					t.Errorf("files %v", data.Files)
				}
			}
		}
		r.Assignment.Kind, r.Assignment.Motion = conclave.AssignVote, &conclave.Motion{Kind: conclave.MotionRank, Options: []string{"b", "a"}}
		reply, err := b.Think(t.Context(), r)
		if err != nil || strings.Join(reply.Data.(conclave.VoteReply).Ranking, " ") != "b a" {
			t.Errorf("%+v, %v", reply, err)
		}
	})
}

func TestModelFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		answer llmtest.Answer
		kind   error
	}{
		"denied":  {llmtest.Fail(401, "bad key "+secretKey), conclave.ErrDenied},
		"limited": {llmtest.Fail(429, "slow down"), conclave.ErrLimited},
		"broken":  {llmtest.Fail(500, "oops"), conclave.ErrUnavailable},
		"refusal": {llmtest.Answer{Text: "No.", Fault: llmtest.Refuse}, conclave.ErrUnsupported},
		"stall":   {llmtest.Answer{Text: "Well", Fault: llmtest.Stall}, conclave.ErrTimeout},
		"cut":     {llmtest.Answer{Text: "Well", Fault: llmtest.Cut}, conclave.ErrUnavailable},
		"garbage": {llmtest.Answer{Text: "Well", Fault: llmtest.Garbage}, conclave.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			brains(t, nil, turns(tt.answer), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
				dir := worktree(t)
				_, err := b.Think(t.Context(), buildRequest(dir))
				if !errors.Is(err, tt.kind) || strings.Contains(err.Error(), secretKey) {
					t.Errorf("error %v, want kind %v", err, tt.kind)
				}
				repo, err := git.Open(t.Context(), dir)
				if err != nil {
					t.Fatal(err)
				}
				if left, err := repo.Dirty(t.Context()); err != nil || len(left) != 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			})
		})
	}
}

func TestModelLimits(t *testing.T) {
	loop := turns(llmtest.Answer{Calls: []llmtest.ToolCall{{Name: "list_files", Input: json.RawMessage(`{}`)}}, Usage: &llmtest.Usage{Input: 60, Output: 10, CacheRead: 30}})
	t.Run("turns", func(t *testing.T) {
		brains(t, nil, loop, func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
			r := buildRequest(worktree(t))
			r.Agent.MaxTurns = 3
			if _, err := b.Think(t.Context(), r); !errors.Is(err, conclave.ErrLimited) || len(s.Calls()) != 3 {
				t.Errorf("error %v after %d turns", err, len(s.Calls()))
			}
		})
	})
	t.Run("tokens", func(t *testing.T) {
		brains(t, func(o *ModelOptions) { o.RunTokens = 5000 }, loop, func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
			r := buildRequest(worktree(t))
			r.Assignment.Tokens = 250
			if _, err := b.Think(t.Context(), r); !errors.Is(err, conclave.ErrLimited) || len(s.Calls()) != 3 {
				t.Errorf("error %v after %d turns", err, len(s.Calls()))
			}
			if got := s.Calls()[0].Header.Get(llm.HeaderBudget); got != "5000" {
				t.Errorf("the run's budget is sent as %q", got)
			}
		})
	})
	t.Run("cancel", func(t *testing.T) {
		asked := make(chan struct{}, 1)
		stall := func() llmtest.Script {
			return func(llmtest.Call) llmtest.Answer {
				asked <- struct{}{}
				return llmtest.Answer{Text: "x", Fault: llmtest.Stall}
			}
		}
		brains(t, nil, stall, func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-asked; cancel() }()
			if _, err := b.Think(ctx, buildRequest(worktree(t))); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	})
}

func TestModelOfTheRoleGoesFirst(t *testing.T) {
	brains(t, nil, turns(llmtest.Say("x")), func(t *testing.T, b *ModelBrain, s *llmtest.Server) {
		r := reviewRequest("")
		r.Agent.Model, r.Assignment = "strong", conclave.Assignment{Kind: conclave.AssignAsk, Task: "Why?"}
		if _, err := b.Think(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := s.Calls()[0].Model; got != "strong" {
			t.Errorf("model %s", got)
		}
	})
}

func TestPromptIsBounded(t *testing.T) {
	r := buildRequest("")
	r.Assignment.Diff = strings.Repeat("+é", 1<<20)
	r.Assignment.Facts = &conclave.Facts{Name: "big", Instructions: strings.Repeat("do ", 1<<20)}
	r.Assignment.Evidence = &conclave.Evidence{Checks: []conclave.Check{{Name: "test", Output: strings.Repeat("x", 1<<20) + "the end"}}}
	for i := range 5000 {
		r.Assignment.Facts.Files = append(r.Assignment.Facts.Files, fmt.Sprintf("folder/file-%d.go", i))
		r.Assignment.Evidence.Findings = append(r.Assignment.Evidence.Findings, conclave.Finding{Path: "a.go", Message: "m"})
	}
	text := assignmentPrompt(r)
	if len(text) > 200<<10 {
		t.Errorf("the prompt has %d bytes", len(text))
	}
	for _, want := range []string{"the end", "and 4700 more", "and 4920 more findings", "left out"} {
		if !strings.Contains(text, want) {
			t.Errorf("the prompt does not say %q", want)
		}
	}
}
