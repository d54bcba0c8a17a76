package agent

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"time"
)

// ClaudeStatus tells whether the claude binary can be used.
type ClaudeStatus struct {
	Path     string // empty when it is not installed
	Version  string
	LoggedIn bool   // it has a login or a key of its own; not asked for when the router is used
	Problem  string // why it can't be used; empty when it can
}

// Probe finds out whether the binary is there and can reach a model. It makes no
// model call.
func (b *ClaudeBrain) Probe(ctx context.Context) ClaudeStatus {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var s ClaudeStatus
	found, err := exec.LookPath(b.opts.Path)
	if err != nil {
		s.Problem = "claude is not installed; npm install -g @anthropic-ai/claude-code installs it"
		return s
	}
	s.Path = found
	out, err := b.output(ctx, "--version")
	if err != nil {
		s.Problem = "claude --version fails: " + err.Error()
		return s
	}
	s.Version, _, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	if b.opts.BaseURL != "" {
		return s
	}
	// The command fails when nobody is logged in, and prints the same document.
	out, err = b.output(ctx, "auth", "status")
	var auth struct {
		LoggedIn bool `json:"loggedIn"`
	}
	switch {
	case json.Unmarshal(out, &auth) != nil && err != nil:
		s.Problem = "claude auth status fails: " + err.Error()
	case !auth.LoggedIn:
		s.Problem = "claude is not logged in; run claude and log in, or give the model router a key"
	}
	s.LoggedIn = auth.LoggedIn
	return s
}

func (b *ClaudeBrain) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.opts.Path, args...)
	cmd.Env = b.environment(Request{})
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	defer endGroup(cmd)
	return cmd.Output()
}
