package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/identity"
)

// Whoever makes a decision up can sign it with a key of their own, which is why
// the key must be one that the reader trusts.
func TestVerifyPinsTheKey(t *testing.T) {
	i := newInstallation(t)
	forger, err := identity.LoadOrCreate(t.TempDir(), "council")
	if err != nil {
		t.Fatal(err)
	}
	d := conclave.Decision{Motion: conclave.Motion{Title: "Ship it?", Kind: conclave.MotionApprove, Subject: conclave.Subject{Kind: "tree", Hash: "git:1"}},
		Outcome: conclave.OutcomeApproved, DecidedBy: "human mallory", Ballots: []conclave.Ballot{}}
	if err := identity.SignDecision(forger, &d); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "decision.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := i.conclave("decide", "verify", file); code != exitDone || !strings.HasPrefix(stdout, "consistent, but nobody vouches") {
		t.Errorf("without a key to compare with: %d %s%s", code, stdout, stderr)
	}
	if _, stderr, code := i.conclave("decide", "key"); code != exitFailed || !strings.Contains(stderr, "no council key yet") {
		t.Errorf("the key of an installation without one: %d %s", code, stderr)
	}
	own, err := identity.LoadOrCreate(filepath.Join(i.home, "keys"), "council")
	if err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := i.conclave("decide", "key"); code != exitDone || strings.TrimSpace(stdout) != own.Public() {
		t.Errorf("the installation's key: %d %s%s", code, stdout, stderr)
	}
	if stdout, stderr, code := i.conclave("decide", "verify", file); code != exitFailed || stdout != "" || !strings.Contains(stderr, forger.Public()) || !strings.Contains(stderr, "not by this installation's council") {
		t.Errorf("signed with another key: %d %s%s", code, stdout, stderr)
	}
	if stdout, stderr, code := i.conclave("decide", "verify", file, "--key", forger.Public()); code != exitDone || !strings.HasPrefix(stdout, "good: Ship it?") {
		t.Errorf("with the key that signed it: %d %s%s", code, stdout, stderr)
	}
	if _, stderr, code := i.conclave("decide", "verify", file, "--key", own.Public()); code != exitFailed {
		t.Errorf("with another key: %d %s", code, stderr)
	}
}
