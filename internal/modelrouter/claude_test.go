package modelrouter

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"conclave/internal/llmtest"
)

// The real client against the router, as its users start it: with the token in
// the path and their own key in the environment.
func TestClaudeCodeThroughTheRouter(t *testing.T) {
	claude := os.Getenv("CONCLAVE_TEST_CLAUDE")
	if claude == "" {
		found, err := exec.LookPath("claude")
		if err != nil {
			const reason = "the claude binary is not in PATH, and CONCLAVE_TEST_CLAUDE names none"
			if os.Getenv("CI") == "true" {
				t.Fatal(reason)
			}
			t.Skip(reason)
		}
		claude = found
	}
	up := llmtest.New(t, func(c llmtest.Call) llmtest.Answer {
		if len(c.Messages) > 1 {
			return llmtest.Say("The file says hello.")
		}
		a := llmtest.Use("Read", map[string]string{"file_path": "hello.txt"})
		a.Thinking = "I should look at it."
		return a
	})
	f := start(t, nil, anthropicUp(up.URL))
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/hello.txt", []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(url, key, model string) (string, error) {
		cmd := exec.CommandContext(t.Context(), claude, "-p", "What does it say?", "--tools", "Read", "--model", model, "--no-session-persistence")
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "ANTHROPIC_BASE_URL=" + url, "ANTHROPIC_API_KEY=" + key,
			"DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1", "DISABLE_AUTOUPDATER=1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, tt := range []struct{ name, url, key, sent, model, asked string }{
		{"own key", f.url + "/k/" + token, own, own, "claude-opus-5-5", "claude-opus-5-5"},
		{"the router's key", f.url + "/k/" + token, token, provider, "claude-opus-5-5", "claude-opus-5-5"},
		{"token as key", f.url, token, provider, "middle", "claude-sonnet-5-5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls, recorded, claimed := len(up.Calls()), len(f.ledger.all()), up.Usage()
			out, err := ask(tt.url, tt.key, tt.model)
			if err != nil || !strings.Contains(out, "The file says hello.") {
				t.Fatalf("%v: %s", err, out)
			}
			for _, c := range up.Calls()[calls:] {
				if c.Header.Get("x-api-key") != tt.sent || c.Model != tt.asked || !strings.Contains(c.Header.Get("anthropic-beta"), "claude-code") {
					t.Errorf("the provider saw key %s, model %s, betas %s", c.Header.Get("x-api-key"), c.Model, c.Header.Get("anthropic-beta"))
				}
			}
			var input, output int64
			for _, c := range f.ledger.all()[recorded:] {
				input, output = input+count(c.InputTokens), output+count(c.OutputTokens)
			}
			if u := up.Usage(); input != u.Input-claimed.Input || output != u.Output-claimed.Output || input == 0 {
				t.Errorf("recorded %d and %d tokens, the endpoint claimed %d and %d", input, output, u.Input-claimed.Input, u.Output-claimed.Output)
			}
		})
	}
	t.Run("wrong token", func(t *testing.T) {
		calls := len(up.Calls())
		out, err := ask(f.url+"/k/wrong", own, "claude-opus-5-5")
		if err == nil || !strings.Contains(out, "not a valid Conclave token") || len(up.Calls()) != calls {
			t.Errorf("%v: %s", err, out)
		}
	})
	for _, secret := range []string{token, provider, own} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("%s shows in the log", secret)
		}
	}
}
