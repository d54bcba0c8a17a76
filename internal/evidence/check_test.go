package evidence

import (
	"bytes"
	"strings"
	"testing"

	"conclave"
)

func TestMeasureSeveralModules(t *testing.T) {
	m := newMeter(t)
	const tree = `
-- go.mod --
module m

go 1.26
-- a.go --
package m
-- tools/go.mod --
module m/tools

go 1.26
-- tools/a_test.go --
package tools

import "testing"

func TestTool(t *testing.T) { t.Fatal("broken") }
-- testdata/go.mod --
module broken
-- testdata/a.go --
package
-- web/b.go --
package web

func B() int { return "b" }
`
	e := measure(t, m, write(t, tree))
	if c := check(t, e, "test"); c.Skipped != "the module has no tests" {
		t.Errorf("test: %+v", c)
	}
	if c := check(t, e, "test (tools)"); c.Passed || c.Failed != 1 {
		t.Errorf("test (tools): %+v", c)
	}
	if c := check(t, e, "build"); c.Passed {
		t.Errorf("build: %+v", c)
	}
	if c := check(t, e, "build (tools)"); !c.Passed {
		t.Errorf("build (tools): %+v", c)
	}
	f, ok := find(e.Findings, "fail")
	if !ok || f.Path != "tools/a_test.go" || f.Line != 5 {
		t.Errorf("finding: %+v", f)
	}
	for _, f := range e.Findings {
		if strings.HasPrefix(f.Path, "testdata") {
			t.Errorf("testdata is no code: %+v", f)
		}
	}
}

func TestPackagesThatFailOutsideTheirTests(t *testing.T) {
	e := measure(t, newMeter(t), write(t, `
-- go.mod --
module m

go 1.26
-- exits/a_test.go --
package exits

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(7) }

func TestA(t *testing.T) {}
-- nobuild/a_test.go --
package nobuild

import "testing"

func TestA(t *testing.T) { missing() }
-- panics/a_test.go --
package panics

import "testing"

func TestA(t *testing.T) {
	var m map[string]int
	m["a"] = 1
}
-- skips/a_test.go --
package skips

import "testing"

func TestA(t *testing.T) { t.Skip() }
`))
	got := map[string]string{}
	for _, f := range e.Findings {
		if f.Tool == toolTest {
			got[f.Rule] = f.Path
		}
	}
	want := map[string]string{"package": "exits", "build": "nobuild/a_test.go", "fail": "panics/a_test.go"}
	for rule, path := range want {
		if got[rule] != path {
			t.Errorf("%s: %q, want %q in %+v", rule, got[rule], path, e.Findings)
		}
	}
	if c := check(t, e, "test"); c.Passed || c.Tests != 1 || c.Failed != 1 {
		t.Errorf("%+v", c)
	}
	if c := check(t, e, "build"); !c.Passed {
		t.Errorf("%+v", c)
	}
}

// A build command that rewrites the tree must not hide what the analysers see.
func TestOwnBuildCommandRunsAfterTheAnalysers(t *testing.T) {
	dir := write(t, "-- go.mod --\nmodule m\n\ngo 1.26\n-- a.go --\npackage a\n\nfunc lonely() {}\n")
	e, err := newMeter(t).Measure(t.Context(), Tree{Dir: dir, Build: []string{"sh", "-c", "echo package a > a.go"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := find(e.Findings, "U1000"); !ok || !check(t, e, "build").Passed {
		t.Errorf("%+v", e)
	}
}

func TestIsGoBuild(t *testing.T) {
	for command, want := range map[string]bool{
		"go build ./...": true, "go build -tags=x -v ./cmd/a": true, "go build": true,
		"go build -o out ./...": false, "go build -toolexec=./evil ./...": false, "go build -overlay=x": false,
		"go generate ./...": false, "make": false, "go": false,
	} {
		if got := isGoBuild(strings.Fields(command)); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}

func TestMeasureVendoredModule(t *testing.T) {
	e := measure(t, newMeter(t), write(t, `
-- go.mod --
module m

go 1.26

require example.com/dep v1.0.0
-- m.go --
// Package m depends.
package m

import "example.com/dep"

// One is one.
func One() int { return dep.One() }
-- m_test.go --
package m

import "testing"

func TestOne(t *testing.T) {
	if One() != 1 {
		t.Fatal()
	}
}
-- vendor/example.com/dep/LICENSE --
`+ownLicence(t)+`-- vendor/modules.txt --
# example.com/dep v1.0.0
## explicit; go 1.26
example.com/dep
-- vendor/example.com/dep/dep.go --
package dep

func One() int { return 1 }

func  unformattedAndUnused() {}
`))
	if !e.Passed() || len(e.Findings) != 0 || check(t, e, "test").Tests != 1 || check(t, e, "lint").Skipped != "" {
		t.Errorf("%+v", e)
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no sandbox":     {CacheDir: t.TempDir()},
		"no cache":       {Sandbox: newMeter(t).box},
		"relative cache": {Sandbox: newMeter(t).box, CacheDir: "cache"},
		"negative time":  {Sandbox: newMeter(t).box, CacheDir: t.TempDir(), Timeout: -1},
	} {
		if _, err := New(o); conclave.KindOf(err) != conclave.ErrInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnalyseMainRefusesBadArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"--json"}, {"--nonsense"}, {"dir"}} {
		var out bytes.Buffer
		if code := AnalyseMain(args, &out); code != 2 || out.Len() != 0 {
			t.Errorf("%q: %d, %q", args, code, &out)
		}
	}
	var out bytes.Buffer
	if code := AnalyseMain([]string{"--json", "--cache", t.TempDir(), "/does/not/exist"}, &out); code != 1 || out.Len() != 0 {
		t.Errorf("%d %q", code, &out)
	}
}
