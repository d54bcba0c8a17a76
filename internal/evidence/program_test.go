package evidence

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"conclave"
)

func TestShellcheck(t *testing.T) {
	requireProgram(t, "shellcheck")
	dir := write(t, "-- bad.sh --\n#!/bin/sh\nrm -rf $1/*\n-- run --\n#!/usr/bin/env bash\nif [ $x = 1 ]; then\n-- good.sh --\n#!/bin/sh\necho \"$1\"\n")
	e := measure(t, newMeter(t), dir)
	f, ok := find(e.Findings, "SC2086")
	if !ok || f.Tool != "shellcheck" || f.Path != "bad.sh" || f.Line != 2 || f.Fingerprint == "" {
		t.Errorf("%+v", e.Findings)
	}
	broken := false
	for _, f := range e.Findings {
		if f.Path == "good.sh" {
			t.Errorf("%+v", f)
		}
		broken = broken || f.Path == "run" && f.Level == conclave.LevelError
	}
	if !broken {
		t.Errorf("the script without an extension was not looked at: %+v", e.Findings)
	}
}

func TestRuff(t *testing.T) {
	requireProgram(t, "ruff")
	dir := write(t, "-- bad.py --\nimport os\n\n\ndef f():\n    return undefined\n-- broken.py --\ndef f(:\n-- good.py --\ndef f():\n    return 1\n")
	e := measure(t, newMeter(t), dir)
	for rule, level := range map[string]conclave.Level{"F401": conclave.LevelWarning, "F821": conclave.LevelError} {
		if f, ok := find(e.Findings, rule); !ok || f.Path != "bad.py" || f.Level != level || f.Tool != "ruff" {
			t.Errorf("%s: %+v", rule, e.Findings)
		}
	}
	if f, ok := find(e.Findings, "syntax"); !ok || f.Path != "broken.py" || f.Level != conclave.LevelError {
		t.Errorf("syntax: %+v", e.Findings)
	}
}

func TestAProgramThatIsMissingIsSaidWhenItIsNeeded(t *testing.T) {
	t.Setenv("PATH", filepath.Dir(mustLook(t, "go"))+":/nowhere")
	m := newMeter(t)
	e := measure(t, m, write(t, "-- a.py --\nx = 1\n"))
	said := strings.Join(e.Unchecked, "\n")
	if !strings.Contains(said, "ruff: not installed (1 files such as a.py)") || strings.Contains(said, "shellcheck") {
		t.Errorf("%q", e.Unchecked)
	}
}

func mustLook(t *testing.T, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestOtherRepositories(t *testing.T) {
	m := newMeter(t)
	for _, c := range []struct{ name, tree, skipped string }{
		{"npm without modules", "-- package.json --\n{\"scripts\":{\"test\":\"node t.js\"}}\n", "npm test: the dependencies are not installed (no node_modules)"},
		{"npm without tests", "-- package.json --\n{}\n", "package.json has no test script"},
		{"python without tests", "-- pyproject.toml --\n[project]\n-- a.py --\nx = 1\n", "the tree has no tests"},
		{"prose", "-- README.md --\n# Hello\n", "the tree has no tests that are known how to run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := measure(t, m, write(t, c.tree))
			if got := check(t, e, "test"); got.Skipped != c.skipped || got.Passed {
				t.Errorf("%+v", got)
			}
			if !strings.Contains(strings.Join(e.Unchecked, "\n"), "tests: "+c.skipped) {
				t.Errorf("unchecked: %q", e.Unchecked)
			}
		})
	}
}

func TestMakefileAndOwnCommands(t *testing.T) {
	requireProgram(t, "make")
	m := newMeter(t)
	const makefile = "-- Makefile --\ntest:\n\t@test -f there || { echo it is not there; exit 3; }\n"
	bad := measure(t, m, write(t, makefile))
	c := check(t, bad, "test")
	if c.Passed || c.Skipped != "" || c.Command != "make test" || !strings.Contains(c.Output, "it is not there") {
		t.Errorf("%+v", c)
	}
	if !check(t, Compare(bad, bad), "test").Baseline {
		t.Error("the same failure is not a baseline")
	}
	good := measure(t, m, write(t, makefile+"-- there --\n"))
	if c := check(t, good, "test"); !c.Passed {
		t.Errorf("%+v", c)
	}
	dir := write(t, "-- there --\n")
	e, err := m.Measure(t.Context(), Tree{Dir: dir, Build: []string{"sh", "-c", "echo built > out"}, Test: []string{"no-such-program"}})
	if err != nil {
		t.Fatal(err)
	}
	if c := check(t, e, "build"); !c.Passed || c.Command != "sh -c echo built > out" {
		t.Errorf("%+v", c)
	}
	if c := check(t, e, "test"); c.Skipped != "no-such-program is not installed here" {
		t.Errorf("%+v", c)
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("the build wrote into the tree")
	}
}
