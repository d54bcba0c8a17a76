package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"conclave"
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
		{"no look at the ref", "internal/worktree/merge.go", "happened(ctx, repo, intent); err != nil {\n\t\treturn m, err\n\t} else if done {",
			"happened(ctx, repo, intent); err != nil {\n\t\treturn m, err\n\t} else if done && m.Merged {", "ref.after:1"},
	}
}

// hubMutant is the source without one of the things that keep messages.
type hubMutant struct {
	mutant
	kill hubKill
}

func hubMutants() []hubMutant {
	return []hubMutant{
		// What can't be delivered at once is written down, and nobody looks there.
		{mutant{name: "no outbox", file: "internal/store/delivery.go", old: "WHERE state = 'submitted' AND parked < 2 ORDER BY due", new: "WHERE state = 'forgotten' AND parked < 2 ORDER BY due"},
			hubKill{who: "agent", point: "receive.before:20"}},
		// What a hub had in hand when it died is not put back.
		{mutant{name: "no put back", file: "internal/store/hub_sweep.go", old: "((instance = $1 AND ($2 = 1 OR renewed < $4)) OR renewed < $3)", new: "((instance = $1 AND ($2 = 7 AND renewed < $4)) AND renewed < $3)"},
			hubKill{who: "hub", point: "deliver.before:30"}},
		{mutant{name: "no idempotency key", file: "internal/store/hub.go", old: "t.From, in.Key, t.To", new: `t.From, "", t.To`},
			hubKill{who: "hub", point: "send.after:30"}},
		{mutant{name: "no order key", file: "internal/store/hub.go", old: "if t.Turn == 0 {\n\t\treturn false, nil", new: "if t.Turn >= 0 {\n\t\treturn false, nil"},
			hubKill{who: "hub", point: "deliver.after:30"}},
	}
}

// noEpochCheck lets a worker write that another has replaced.
func noEpochCheck() mutant {
	return mutant{name: "no epoch check", file: "internal/store/work.go",
		old: "	if n == 0 {\n		return conclave.Errorf(conclave.ErrConflict, \"%s %s was taken over",
		new: "	if n < 0 {\n		return conclave.Errorf(conclave.ErrConflict, \"%s %s was taken over"}
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

// change returns the file of a source tree as the mutant has it.
func (m mutant) change(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Fatalf("%s has %d times %q; it must be there once", m.file, n, m.old)
	}
	return strings.Replace(string(text), m.old, m.new, 1)
}

// program makes a mutant's change and returns the program built from it.
func (m mutant) program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	copySource(t, dir)
	if err := os.WriteFile(filepath.Join(dir, m.file), []byte(m.change(t, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "conclave-mutant")
	if err := build(filepath.Join(dir, "cmd", "conclave"), program, "-tags=killpoints"); err != nil {
		t.Fatal(err)
	}
	return program
}

// What the mutants take out is where they look for it, also when nobody builds them.
func TestMutantsFit(t *testing.T) {
	root := runGit(t, ".", "rev-parse", "--show-toplevel")
	for _, m := range append(mutants(), noEpochCheck()) {
		m.change(t, root)
	}
	for _, m := range hubMutants() {
		m.change(t, root)
	}
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

// The test of the hub must, too.
func TestHubCrashNoticesMutants(t *testing.T) {
	if !crashAll() {
		t.Skip("builds the program again for each mutant: CONCLAVE_TEST_CRASH=all")
	}
	for _, m := range hubMutants() {
		t.Run(m.name, func(t *testing.T) {
			odd := playTraffic(t, m.program(t), m.kill, mutantLimit).odd
			if len(odd) == 0 {
				t.Errorf("%s: with %s killed, every message fares as if nothing had been taken out", m.name, m.kill)
			}
			t.Logf("%d complaints, among them:\n%s", len(odd), strings.Join(odd[:min(len(odd), 5)], "\n"))
		})
	}
}

// A worker that slept while another took over can't finish the step after it.
// The workflow orchestrator is stopped just before it writes a step's end; a new
// one takes its place, and at the end of the run the old one goes on.
func playAsleep(t *testing.T, program string) outcome {
	t.Helper()
	points := filepath.Join(t.TempDir(), "points")
	f := startFleet(t, program, map[conclave.Service]map[string]string{conclave.ServiceWorkflow: {
		"CONCLAVE_TEST_KILL": "finish.before:3", "CONCLAVE_TEST_KILL_SIGNAL": "STOP", "CONCLAVE_TEST_KILL_LOG": points}})
	f.awaitReady()
	sleeper := f.servers[conclave.ServiceWorkflow]
	fellAsleep := make(chan struct{})
	go func() {
		defer close(fellAsleep)
		poll(t, func() bool { return stopped(sleeper.cmd.Process.Pid) })
		f.restart(conclave.ServiceWorkflow)
	}()
	p := &play{installation: f.installation, repo: crashRepo(t), revive: func() {}}
	p.beforeLanding = func() {
		<-fellAsleep
		if err := sleeper.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		poll(t, func() bool {
			text, err := os.ReadFile(points)
			return err == nil && strings.Count(string(text), "finish.after") >= 3
		})
		sleeper.kill()
	}
	return p.perform()
}

// poll waits until something is so.
func poll(t *testing.T, is func() bool) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), playLimit)
	defer cancel()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Error("what the test waits for did not come")
			return
		}
	}
}

// stopped reports whether a process has been stopped by a signal, as Linux tells it.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "T")
}

func TestSleepingWorker(t *testing.T) {
	if !crashAll() {
		t.Skip("waits for a process that does not answer: CONCLAVE_TEST_CRASH=all")
	}
	want, _, _ := passes(t, killable(t))
	t.Run("as it is", func(t *testing.T) {
		if diff := playAsleep(t, killable(t)).diff(want); len(diff) > 0 {
			t.Errorf("a worker that woke up changed the run:\n%s", strings.Join(diff, "\n"))
		}
	})
	t.Run("no epoch check", func(t *testing.T) {
		diff := playAsleep(t, noEpochCheck().program(t)).diff(want)
		if len(diff) == 0 {
			t.Error("without the epoch check the run ends as with it")
		}
		t.Log(strings.Join(diff, "\n"))
	})
}
