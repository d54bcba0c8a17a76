package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/llmtest"
)

// needs returns the value of a variable that names something which not every
// machine has. Without it the test is skipped, but fails in CI.
func needs(t *testing.T, variable, what string) string {
	t.Helper()
	value := os.Getenv(variable)
	switch {
	case value == "" && os.Getenv("CI") == "true":
		t.Fatalf("%s is not set; it names %s", variable, what)
	case value == "":
		t.Skipf("%s is not set; it names %s", variable, what)
	}
	return value
}

// claudeCode is the real Claude Code, whose model is scripted.
type claudeCode struct {
	t    *testing.T
	path string
	dir  string // where it is started
	env  []string
}

func newClaudeCode(t *testing.T, dir string, endpoint *llmtest.Server) *claudeCode {
	t.Helper()
	return &claudeCode{t, needs(t, "CONCLAVE_TEST_CLAUDE", "the claude binary"), dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"ANTHROPIC_BASE_URL=" + endpoint.URL, "ANTHROPIC_API_KEY=dummy", "DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1", "DISABLE_AUTOUPDATER=1",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "ENABLE_TOOL_SEARCH=false"}}
}

func (c *claudeCode) run(args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.path, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = c.dir, c.env, 5*time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("claude %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// starts has a model start a run by the tool and then say what came back.
func starts(task, repo string) llmtest.Script {
	const tool = "mcp__conclave__workflow_start"
	return func(c llmtest.Call) llmtest.Answer {
		switch {
		case len(c.Last().Results) > 0:
			return llmtest.Say("It said: " + c.Last().Results[0].Text)
		case !c.Has(tool):
			return llmtest.Say("There is no such tool.")
		}
		return llmtest.Use(tool, map[string]string{"task": task, "repo": repo, "workflow": "consensus-planning"})
	}
}

// Claude Code reaches the running services over HTTP, or starts its own over
// standard input and output, and a tool that its model calls starts a run.
func TestClaudeCodeStartsARun(t *testing.T) {
	const task = "Create a REST API for books"
	for _, transport := range []string{"http", "stdio"} {
		t.Run(transport, func(t *testing.T) {
			i := newInstallation(t)
			repo := newRepo(t, map[string]string{"README.md": "# Books\n"})
			endpoint := llmtest.New(t, starts(task, repo))
			claude := newClaudeCode(t, repo, endpoint)
			if transport == "http" {
				i.serve()
				urls, err := app.ReadAddresses(i.home)
				if err != nil {
					t.Fatal(err)
				}
				token, _, _ := i.conclave("token")
				claude.run("mcp", "add", "--transport", "http", "conclave", urls[conclave.ServiceGateway]+"/mcp", "--header", "Authorization: Bearer "+strings.TrimSpace(token))
			} else {
				args := []string{"mcp", "add", "conclave"}
				for name, value := range maps.All(i.env) {
					args = append(args, "-e", name+"="+value)
				}
				claude.run(append(args, "--", program(t), "mcp")...)
			}
			if list := claude.run("mcp", "list"); !strings.Contains(list, "Connected") {
				t.Fatalf("claude mcp list:\n%s", list)
			}
			said := claude.run("-p", "Have it planned.", "--allowedTools", "mcp__conclave__workflow_start")
			runs := i.runs()
			if len(runs) != 1 || runs[0].Task != task || runs[0].Repo != repo || runs[0].Workflow != "consensus-planning" {
				t.Fatalf("runs %+v\nclaude said: %s", runs, said)
			}
			if !strings.Contains(said, string(runs[0].ID)) {
				t.Errorf("claude said %q; the run is %s", said, runs[0].ID)
			}
			if runs[0].Human == "" {
				t.Error("the run is nobody's")
			}
		})
	}
}

// The official JavaScript SDK of A2A meets an agent through the hub, on both of
// its bindings: it reads the card, sends, streams, and cancels.
func TestJavaScriptA2A(t *testing.T) {
	modules := needs(t, "CONCLAVE_TEST_A2AJS", "a folder in which @a2a-js/sdk is installed")
	endpoint := llmtest.New(t, func(c llmtest.Call) llmtest.Answer {
		if strings.Contains(c.Last().Text, "Wait for me.") {
			return llmtest.Answer{Text: "I wait.", Fault: llmtest.Stall}
		}
		return llmtest.Say("One step after the other.")
	})
	i := newInstallation(t)
	maps.Copy(i.env, map[string]string{"CONCLAVE_BRAIN": "model", "ANTHROPIC_API_KEY": "dummy", "ANTHROPIC_BASE_URL": endpoint.URL})
	i.serve()
	urls, err := app.ReadAddresses(i.home)
	if err != nil {
		t.Fatal(err)
	}
	token, _, _ := i.conclave("token")
	// Node looks for modules beside the script that wants them.
	text, err := os.ReadFile("testdata/a2a.mjs")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a2a.mjs"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "a2a.mjs", urls[conclave.ServiceHub]+"/a2a/agents/planner-1", strings.TrimSpace(token))
	cmd.Dir = dir
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node a2a.mjs: %v\n%s%s", err, out, errs.String())
	}
	var saw map[string]struct {
		Name, Version, State, Answer, Streamed, Canceled, Later string
		Skills, Events                                          []string
	}
	if err := json.Unmarshal(out, &saw); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, binding := range []string{"JSONRPC", "HTTP+JSON"} {
		s := saw[binding]
		if s.Name != "planner-1" || !strings.HasPrefix(s.Version, "1.") || !slices.Contains(s.Skills, string(conclave.AssignDraft)) {
			t.Errorf("%s: card of %q, version %q, skills %v", binding, s.Name, s.Version, s.Skills)
		}
		if s.State != "TASK_STATE_COMPLETED" || !strings.Contains(s.Answer, "One step after the other.") {
			t.Errorf("%s: sent: %s, %q", binding, s.State, s.Answer)
		}
		if len(s.Events) < 2 || !strings.Contains(s.Streamed, "One step after the other.") {
			t.Errorf("%s: streamed %v, %q", binding, s.Events, s.Streamed)
		}
		if s.Canceled != "TASK_STATE_CANCELED" || s.Later != s.Canceled {
			t.Errorf("%s: cancelled: %s, then %s", binding, s.Canceled, s.Later)
		}
	}
}
