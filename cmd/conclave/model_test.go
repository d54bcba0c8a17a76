package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/llmtest"
	"conclave/internal/modelrouter"
)

// site is a repository of pages and an installation whose owner works on it.
type site struct {
	*installation
	repo string
}

func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	s := &site{newInstallation(t), newRepo(t, map[string]string{"index.md": "# Site\n"})}
	delete(s.env, "CONCLAVE_BRAIN")
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		s.env[name] = value
	}
	// What is not committed must stay as it is, too.
	if err := os.WriteFile(filepath.Join(s.repo, "draft.md"), []byte("not yet\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) git(args ...string) string {
	s.t.Helper()
	return runGit(s.t, s.repo, args...)
}

// state is everything of the user's that a run must not touch.
func (s *site) state() string {
	s.t.Helper()
	state := strings.Join([]string{s.git("rev-parse", "HEAD"), s.git("symbolic-ref", "HEAD"), s.git("for-each-ref", "refs/heads/main", "refs/tags", "refs/stash"),
		s.git("status", "--porcelain")}, "\n")
	for _, name := range []string{"index.md", "draft.md"} {
		text, err := os.ReadFile(filepath.Join(s.repo, name))
		if err != nil {
			s.t.Fatal(err)
		}
		state += string(text)
	}
	return state
}

// page is the work that the scripted team does.
func page() llmtest.Work {
	return llmtest.Work{Summary: "Write the page about us", Step: "about", Writes: []string{"about/**"},
		Files: map[string]string{"about/us.md": "# About us\n\nWe write pages.\n", "about/team.md": "# Team\n\nAda.\n"}}
}

// bill counts by model what a scripted endpoint has asked for.
type bill struct {
	mu     sync.Mutex
	calls  map[string]int64
	input  int64
	output int64
}

// priced has a script claim a number of tokens that differs with each call.
func priced(script llmtest.Script) (llmtest.Script, *bill) {
	b := &bill{calls: map[string]int64{}}
	return func(c llmtest.Call) llmtest.Answer {
		a := script(c)
		if a.Status != 0 || a.Fault != llmtest.NoFault {
			return a
		}
		a.Usage = &llmtest.Usage{Input: 1000, Output: 100}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.calls[c.Model]++
		b.input += a.Usage.Input
		b.output += a.Usage.Output
		return a
	}, b
}

// check compares what a run says that it cost with what was asked for.
func (b *bill) check(t *testing.T, u conclave.Usage) {
	t.Helper()
	rules, err := modelrouter.ParseRules(modelrouter.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var calls int64
	var cost float64
	known := true
	for model, n := range b.calls {
		price, ok := rules.Prices[model]
		known = known && ok
		calls += n
		cost += float64(n) * (1000*price.Input + 100*price.Output) / 1e6
	}
	if calls == 0 {
		t.Fatal("the endpoint was never asked")
	}
	if u.ModelCalls == nil || *u.ModelCalls != calls || u.InputTokens == nil || *u.InputTokens != b.input || u.OutputTokens == nil || *u.OutputTokens != b.output {
		t.Errorf("the run says it cost %s; the endpoint counted %d calls, %d tokens in, %d out", shown(u), calls, b.input, b.output)
	}
	switch {
	case known && (u.CostUSD == nil || math.Abs(*u.CostUSD-cost) > 1e-9):
		t.Errorf("the run says it cost %s; by the prices of %v it cost %v USD", shown(u), b.calls, cost)
	case !known && u.CostUSD != nil:
		t.Errorf("the run says it cost %s, but %v have no price", shown(u), b.calls)
	}
}

func shown(u conclave.Usage) string {
	text, err := json.Marshal(u)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// built checks that a run is done with the branch that the team's work implies,
// and that its reports say what it cost.
func (s *site) built(w llmtest.Work, b *bill) conclave.Run {
	s.t.Helper()
	runs := s.runs()
	if len(runs) != 1 {
		s.t.Fatalf("there are %d runs, want 1", len(runs))
	}
	run := runs[0]
	if run.Status != conclave.RunDone || run.Branch != "conclave/"+string(run.ID) || run.Offline {
		s.t.Fatalf("run %s is %s on branch %q, offline %t: %s", run.ID, run.Status, run.Branch, run.Offline, run.Reason)
	}
	if head := s.git("rev-parse", run.Branch); head != run.Head {
		s.t.Errorf("branch %s is at %s, the run says %s", run.Branch, head, run.Head)
	}
	for name, want := range w.Files {
		if got := s.git("show", run.Head+":"+name); got != strings.TrimSpace(want) {
			s.t.Errorf("%s is %q on the branch, want %q", name, got, want)
		}
	}
	changed := strings.Fields(s.git("diff", "--name-only", "main", run.Branch))
	if len(changed) != len(w.Files) {
		s.t.Errorf("the branch changes %v, want %v", changed, maps.Keys(w.Files))
	}
	b.check(s.t, run.Usage)
	s.reported(run)
	s.noWorktrees()
	return run
}

func (s *site) reported(run conclave.Run) {
	s.t.Helper()
	text := validReport(s.t, run.Report.JSON)
	var doc struct {
		Run      conclave.Run       `json:"run"`
		Messages []conclave.Message `json:"messages"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		s.t.Fatal(err)
	}
	if shown(doc.Run.Usage) != shown(run.Usage) {
		s.t.Errorf("the report says %s, the run says %s", shown(doc.Run.Usage), shown(run.Usage))
	}
	text, err := os.ReadFile(run.Report.Markdown)
	if err != nil {
		s.t.Fatal(err)
	}
	if want := fmt.Sprintf("%d model calls, %d tokens in, %d out", *run.Usage.ModelCalls, *run.Usage.InputTokens, *run.Usage.OutputTokens); !strings.Contains(string(text), want) {
		s.t.Errorf("the report does not say %q", want)
	}
	kinds := map[conclave.AssignmentKind]bool{}
	for _, m := range doc.Messages {
		kinds[m.Kind] = true
	}
	for _, kind := range []conclave.AssignmentKind{conclave.AssignDraft, conclave.AssignComment, conclave.AssignVote, conclave.AssignBuild, conclave.AssignReview} {
		if !kinds[kind] {
			s.t.Errorf("nobody was asked for %s", kind)
		}
	}
}

func (s *site) noWorktrees() {
	s.t.Helper()
	if list := s.git("worktree", "list", "--porcelain"); strings.Count(list, "worktree ") != 1 {
		s.t.Errorf("worktrees are left:\n%s", list)
	}
}

func TestModelBuilds(t *testing.T) {
	for _, wire := range []string{llmtest.Anthropic, llmtest.OpenAI} {
		t.Run(wire, func(t *testing.T) {
			script, bill := priced(llmtest.Team(page()))
			endpoint := llmtest.New(t, script)
			env := []string{"ANTHROPIC_API_KEY=dummy", "ANTHROPIC_BASE_URL=" + endpoint.URL}
			if wire == llmtest.OpenAI {
				env = []string{"OPENAI_API_KEY=dummy", "OPENAI_BASE_URL=" + endpoint.URL + "/v1", "CONCLAVE_MODEL=scripted-large"}
			}
			s := newSite(t, env...)
			before := s.state()
			stdout, stderr, code := s.conclave("run", "Write a page about us", "--repo", s.repo)
			if code != 0 {
				t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
			}
			s.built(page(), bill)
			if after := s.state(); after != before {
				t.Errorf("something of the user's has changed:\n%s\nbefore:\n%s", after, before)
			}
			for _, c := range endpoint.Calls() {
				if c.Wire != wire {
					t.Errorf("call %d came on the wire %s", c.N, c.Wire)
				}
			}
		})
	}
}

// fails answers as a team until the files of a build are written, and then as
// the fault says: always, or for the first so many calls.
func fails(w llmtest.Work, fault llmtest.Answer, times int) llmtest.Script {
	team := llmtest.Team(w)
	var mu sync.Mutex
	return func(c llmtest.Call) llmtest.Answer {
		mu.Lock()
		defer mu.Unlock()
		if c.Has("write_file") && len(c.Last().Results) > 0 && times != 0 {
			times--
			return fault
		}
		return team(c)
	}
}

// modelFaults are ways in which a model is of no use, with what the run must say.
func modelFaults() map[string]struct {
	answer llmtest.Answer
	says   string
} {
	return map[string]struct {
		answer llmtest.Answer
		says   string
	}{
		"nonsense": {llmtest.Say("Bananas."), "wrong twice"},
		"refusal":  {llmtest.Answer{Text: "I won't write that.", Fault: llmtest.Refuse}, "refused: I won't write that."},
		"silence":  {llmtest.Answer{Text: "Let me", Fault: llmtest.Stall}, "silent"},
		"cut":      {llmtest.Answer{Text: "Let me", Fault: llmtest.Cut}, "broke off"},
		"bad key":  {llmtest.Fail(401, "invalid x-api-key"), "answered 401: invalid x-api-key"},
	}
}

// A model that fails, when nothing is done yet and when half of the files are
// written, ends the run with its reason, and leaves the repository as it was.
func TestModelFails(t *testing.T) {
	for name, tt := range modelFaults() {
		stages := map[string]llmtest.Script{"building": fails(page(), tt.answer, -1)}
		if name != "cut" && name != "silence" { // each of their four tries takes its time
			stages["planning"] = llmtest.Sequence(tt.answer)
		}
		for stage, script := range stages {
			t.Run(name+" while "+stage, func(t *testing.T) {
				t.Parallel() // most of the time is spent waiting before another try
				endpoint := llmtest.New(t, script)
				s := newSite(t, "ANTHROPIC_API_KEY=dummy", "ANTHROPIC_BASE_URL="+endpoint.URL, "CONCLAVE_MODEL_IDLE=300ms")
				before := s.state()
				stdout, stderr, code := s.conclave("run", "Write a page about us", "--repo", s.repo)
				if code != exitFailed || !strings.Contains(stdout, tt.says) {
					t.Errorf("exit code %d, want %d with %q\n%s%s", code, exitFailed, tt.says, stdout, stderr)
				}
				if after := s.state(); after != before {
					t.Errorf("something of the user's has changed:\n%s\nbefore:\n%s", after, before)
				}
				s.noWorktrees()
				run := s.runs()[0]
				if run.Status != conclave.RunFailed || run.Branch != "" || !strings.Contains(run.Reason, tt.says) {
					t.Errorf("the run is %s with branch %q: %s", run.Status, run.Branch, run.Reason)
				}
				s.ended(run, endpoint)
				if branches := s.git("branch", "--list", "--format=%(refname:short)"); branches != "main" {
					t.Errorf("branches: %s", branches)
				}
				left, err := filepath.Glob(filepath.Join(s.home, "worktrees", "*", "*"))
				if err != nil || len(left) > 0 {
					t.Errorf("left in the data directory: %v, %v", left, err)
				}
			})
		}
	}
}

// A model that comes back finishes the work, and what it had written before it
// broke off is not in it.
func TestModelComesBack(t *testing.T) {
	first := page()
	first.Files["about/half.md"] = "# Half\n"
	broken, whole := fails(first, llmtest.Answer{Text: "Let me", Fault: llmtest.Cut}, 4), llmtest.Team(page())
	cuts := 0
	var mu sync.Mutex
	endpoint := llmtest.New(t, func(c llmtest.Call) llmtest.Answer {
		mu.Lock()
		defer mu.Unlock()
		if cuts == 4 {
			return whole(c)
		}
		a := broken(c)
		if a.Fault == llmtest.Cut {
			cuts++
		}
		return a
	})
	s := newSite(t, "ANTHROPIC_API_KEY=dummy", "ANTHROPIC_BASE_URL="+endpoint.URL)
	if stdout, stderr, code := s.conclave("run", "Write a page about us", "--repo", s.repo); code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	run := s.runs()[0]
	if got := s.git("diff", "--name-only", "main", run.Branch); got != "about/team.md\nabout/us.md" {
		t.Errorf("the branch changes %s", got)
	}
	s.noWorktrees()
}

// The claude binary does the same work, behind the router.
func TestClaudeBuilds(t *testing.T) {
	claude := needs(t, "CONCLAVE_TEST_CLAUDE", "the claude binary")
	script, bill := priced(llmtest.Team(page()))
	endpoint := llmtest.New(t, script)
	s := newSite(t, "ANTHROPIC_API_KEY=dummy", "ANTHROPIC_BASE_URL="+endpoint.URL, "CONCLAVE_CLAUDE="+claude)
	before := s.state()
	stdout, stderr, code := s.conclave("run", "Write a page about us", "--repo", s.repo, "--brain", "claude")
	if code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if run := s.built(page(), bill); run.Brain != "claude" {
		t.Errorf("the run says that %s thought", run.Brain)
	}
	if after := s.state(); after != before {
		t.Errorf("something of the user's has changed:\n%s\nbefore:\n%s", after, before)
	}
	for _, c := range endpoint.Calls() {
		if !strings.HasPrefix(c.Header.Get("User-Agent"), "claude-cli/") || c.Header.Get("X-Api-Key") != "dummy" {
			t.Errorf("call %d came from %s with the key %s", c.N, c.Header.Get("User-Agent"), c.Header.Get("X-Api-Key"))
		}
	}
}

// doctor names the brain that a run would get.
func TestDoctorNamesTheBrain(t *testing.T) {
	for name, tt := range map[string]struct {
		env  []string
		says string
	}{
		"nothing":           {nil, "auto: offline"},
		"a key":             {[]string{"ANTHROPIC_API_KEY=dummy"}, "auto: a model through the router"},
		"a server":          {[]string{"OPENAI_BASE_URL=http://127.0.0.1:1/v1", "CONCLAVE_MODEL=m"}, "auto: a model through the router"},
		"a server, no name": {[]string{"OPENAI_BASE_URL=http://127.0.0.1:1/v1"}, "set CONCLAVE_MODEL"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, append(tt.env, "CONCLAVE_CLAUDE=/nowhere/claude")...)
			stdout, stderr, code := s.conclave("doctor")
			if code != exitDone || !strings.Contains(stdout, tt.says) {
				t.Errorf("exit code %d, want %q\n%s%s", code, tt.says, stdout, stderr)
			}
		})
	}
}

// A run that is cancelled while a model thinks ends the call, too.
func TestCancelledRunEndsItsModelCall(t *testing.T) {
	thinking := make(chan struct{})
	var once sync.Once
	endpoint := llmtest.New(t, func(llmtest.Call) llmtest.Answer {
		once.Do(func() { close(thinking) })
		return llmtest.Answer{Text: "Let me", Fault: llmtest.Stall}
	})
	s := newSite(t, "ANTHROPIC_API_KEY=dummy", "ANTHROPIC_BASE_URL="+endpoint.URL)
	s.serve()
	stdout, stderr, code := s.conclave("run", "Write a page about us", "--repo", s.repo, "--detach")
	if code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	select {
	case <-thinking:
	case <-time.After(startLimit):
		t.Fatal("the model was never asked")
	}
	id := s.runs()[0].ID
	if stdout, stderr, code := s.conclave("cancel", string(id)); code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	if err := endpoint.AwaitLeavers(ctx, 1); err != nil {
		t.Fatal(err)
	}
	var run conclave.Run
	poll(t, func() bool { run = s.runs()[0]; return run.Report.Markdown != "" })
	if run.Status != conclave.RunCancelled {
		t.Errorf("the run is %s", run.Status)
	}
	s.ended(run, endpoint)
}

// ended checks that a run which did not come to its end has a report that says
// why, and that it counts the calls that the endpoint got.
func (s *site) ended(run conclave.Run, endpoint *llmtest.Server) {
	s.t.Helper()
	text, err := os.ReadFile(run.Report.Markdown)
	if err != nil {
		s.t.Fatal(err)
	}
	reason, _, _ := strings.Cut(strings.TrimSpace(run.Reason), "\n")
	if !strings.Contains(string(text), fmt.Sprintf("| status | **%s** – %s", run.Status, strings.ReplaceAll(reason, "|", "\\|"))) {
		s.t.Errorf("the report does not say that the run is %s: %s\n%s", run.Status, reason, text)
	}
	n := int64(len(endpoint.Calls()))
	if run.Usage.ModelCalls == nil || *run.Usage.ModelCalls != n || run.Usage.Pending != 0 {
		s.t.Errorf("the run says it cost %s; the endpoint was asked %d times", shown(run.Usage), n)
	}
	if want := fmt.Sprintf("| cost | %d model calls,", n); !strings.Contains(string(text), want) {
		s.t.Errorf("the report does not say %q:\n%s", want, text)
	}
}
