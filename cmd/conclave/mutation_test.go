package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is the source without one of the things that make a run survive.
type mutant struct {
	name, file string
	old, new   string
	kill       string // the point that shows it
}

func mutants() []mutant {
	return []mutant{
		{"no idempotency key", "internal/store/once.go", `if key == "" {`, `if key != "\x00" {`, "answer.before:1"},
		{"no look at the ref", "internal/worktree/worktree.go", "} else if done {", "} else if done && m.Merged {", "ref.after:1"},
	}
}

// copySource copies what git knows of this module.
func copySource(t *testing.T, into string) {
	t.Helper()
	root := runGit(t, ".", "rev-parse", "--show-toplevel")
	for _, name := range strings.Split(runGit(t, root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		if name == "" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // a file that was deleted and not committed, or a link to a folder
		}
		to := filepath.Join(into, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// program makes a mutant's change and returns the program built from it.
func (m mutant) program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	copySource(t, dir)
	path := filepath.Join(dir, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), m.old) != 1 {
		t.Fatalf("%s has %d times %q; it must be there once", m.file, strings.Count(string(text), m.old), m.old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "conclave-mutant")
	if err := build(filepath.Join(dir, "cmd", "conclave"), program, "-tags=killpoints"); err != nil {
		t.Fatal(err)
	}
	return program
}

// The tests above must notice when what they test is taken out.
func TestCrashNoticesMutants(t *testing.T) {
	if !crashAll() {
		t.Skip("builds the program again for each mutant: CONCLAVE_TEST_CRASH=all")
	}
	want, _, _ := passes(t, killable(t))
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			diff := playKilled(t, m.program(t), kill{point: m.kill}).diff(want)
			if len(diff) == 0 {
				t.Errorf("%s: the run killed at %s ends as if nothing had been taken out", m.name, m.kill)
			}
			t.Log(strings.Join(diff, "\n"))
		})
	}
}
