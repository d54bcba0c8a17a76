package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// Each script under testdata/script is one behaviour that a clumsy or hostile
// user meets, in an empty home, with the real program and real git.
//
//	exits CODE COMMAND…   the command ends with that exit code
//	oneline               the last command said one line on standard error
//	repo DIR              makes a repository with one commit
//	snapshot DIR          remembers what of a repository is the user's
//	unchanged DIR         checks that this is still so
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program many times")
	}
	bin := filepath.Dir(program(t))
	cache := filepath.Join(workDir, "cache")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			data := filepath.Join(home, ".local/share/conclave")
			e.Setenv("HOME", home)
			e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			e.Setenv("CONCLAVE_PORTS", "auto")
			e.Setenv("CONCLAVE_BRAIN", "offline")
			e.Setenv("CONCLAVE", filepath.Join(bin, "conclave"))
			if err := os.MkdirAll(data, 0o700); err != nil {
				return err
			}
			config := "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n"
			return errors.Join(os.Symlink(cache, filepath.Join(data, "cache")), os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "oneline": oneLine, "repo": makeRepo, "snapshot": snapshot, "unchanged": unchanged, "tmpfs": tmpfs,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "mounts" {
				return canMount(), nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s", got, want, tail(ts.ReadFile("stderr"), 2000))
	}
}

func oneLine(ts *testscript.TestScript, _ bool, _ []string) {
	said := ts.ReadFile("stderr")
	if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "conclave: ") {
		ts.Fatalf("want one line that begins with conclave:, not\n%s", said)
	}
}

func makeRepo(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, "README.md"), []byte("# Sample\n"), 0o600))
	for _, call := range [][]string{{"init", "-q"}, {"add", "--all"}, {"commit", "-qm", "Begin"}} {
		ts.Check(ts.Exec("git", append([]string{"-C", dir}, call...)...))
	}
}

// usersState is what of a repository is the user's: their branches, HEAD, index and
// files; Conclave's own branches are not.
func usersState(ts *testscript.TestScript, dir string) string {
	var all []string
	for _, call := range [][]string{{"rev-parse", "--verify", "-q", "HEAD"}, {"for-each-ref", "--exclude=refs/heads/conclave/", "--exclude=refs/conclave/"}, {"status", "--porcelain", "--branch"}, {"worktree", "list"}} {
		_ = ts.Exec("git", append([]string{"-C", ts.MkAbs(dir)}, call...)...) // an empty repository has no HEAD; what it says counts
		all = append(all, ts.ReadFile("stdout"))
	}
	return strings.Join(all, "--\n")
}

func snapshot(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("state_"+filepath.Base(args[0]), usersState(ts, args[0]))
}

func unchanged(ts *testscript.TestScript, _ bool, args []string) {
	if was, is := ts.Getenv("state_"+filepath.Base(args[0])), usersState(ts, args[0]); was != is {
		ts.Fatalf("%s was\n%s\nand is\n%s", args[0], was, is)
	}
}

// canMount says whether this process may mount a file system.
func canMount() bool {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	if syscall.Mount("none", dir, "tmpfs", 0, "size=64k") != nil {
		return false
	}
	return syscall.Unmount(dir, 0) == nil
}

// tmpfs mounts a small file system at a folder until the script ends; with
// "ro", it can't be written to.
func tmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(syscall.Mount("none", dir, "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // the folder's removal tells when it fails
	if slices.Contains(args[2:], "ro") {
		ts.Check(syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	}
}
