package evidence

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"conclave"
)

// messy has fifteen findings or so that can be mended, one whose mending breaks
// a test, one that is suppressed, and one that needs judgement.
const messy = `
-- go.mod --
module example.com/messy

go 1.26
-- messy.go --
// Package messy needs a broom.
package messy

import (
	"fmt"
	"net/http"
	"os"
	"strings"
)

func  Sum(xs []int) int {
	s := 0
	for i := 0; i < len(xs); i++ {
		s += xs[i]
	}
	return s
}

func Has(xs []string, want string) bool {
	for _, x := range xs {
		if x == want {
			return true
		}
	}
	return false
}

func Hello() string { return fmt.Sprintf("hello") }

func Any(v interface{}) string { return fmt.Sprint(v) }

func Not(b bool) bool {
	if b == false {
		return true
	}
	return false
}

func Contains(s string) bool { return strings.Index(s, "x") != -1 }

func Same(a, b string) bool { return strings.ToLower(a) == strings.ToLower(b) }

func Save(name string) error { return os.WriteFile(name, nil, 0644) }

func Make(name string) error { return os.MkdirAll(name, 0777) }

func Shared(name string) error { return os.WriteFile(name, nil, 0o644) }

func Program(name string) error { return os.WriteFile(name, nil, 0o755) }

func Serve(h http.Handler) error { return http.ListenAndServe("localhost:0", h) }

func Server() *http.Server { return &http.Server{Addr: "localhost:0"} }

func Kept(xs []int) {
	//lint:ignore S1005 it documents the shape
	for _ = range xs {
	}
}

func Public(name string) error {
	return os.WriteFile(name, nil, 0o644) // #nosec G306 -- it is a web page
}

func Lint(v interface{}) {} //nolint:modernize,any // an old signature
-- messy_test.go --
package messy

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSum(t *testing.T) {
	if Sum([]int{1, 2}) != 3 || !Has([]string{"a"}, "a") || Hello() != "hello" || !Contains("x") || !Same("A", "a") {
		t.Fatal("wrong")
	}
}

func TestSharedIsReadByAll(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := Shared(name); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
}

func TestFailsAlready(t *testing.T) { t.Fatal("it always did") }
`

func TestFixMendsWhatIsMechanicalAndNothingElse(t *testing.T) {
	m := newMeter(t)
	dir := write(t, messy)
	before := measure(t, m, dir)
	r, err := m.Fix(t.Context(), dir, FixClasses{Findings: true, Format: true})
	if err != nil {
		t.Fatal(err)
	}
	after := measure(t, m, dir)
	text, err := os.ReadFile(filepath.Join(dir, "messy.go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Applied) < 12 || len(after.Findings) >= len(before.Findings)-11 {
		t.Errorf("%d before, %d applied, %d after:\n%+v\n%s", len(before.Findings), len(r.Applied), len(after.Findings), r, text)
	}
	b, a := check(t, before, "test"), check(t, after, "test")
	if b.Failed != 1 || a.Failed != 1 || a.Tests != b.Tests {
		t.Errorf("tests before %+v, after %+v", b, a)
	}
	if c := check(t, Compare(before, after), "test"); !c.Baseline {
		t.Errorf("the test that failed already is not marked: %+v", c)
	}
	if !check(t, after, "format").Passed || !check(t, after, "build").Passed {
		t.Errorf("checks after: %+v", after.Checks)
	}
	for _, want := range []string{
		"func Save(name string) error { return os.WriteFile(name, nil, 0o600) }",
		"func Make(name string) error { return os.MkdirAll(name, 0o750) }",
		"func Shared(name string) error { return os.WriteFile(name, nil, 0o644) }",
		"func Program(name string) error { return os.WriteFile(name, nil, 0o755) }",
		"ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()",
		`&http.Server{ReadHeaderTimeout: 10 * time.Second, Addr: "localhost:0"}`,
		"for _ = range xs",
		"0o644) // #nosec G306",
		"func Lint(v interface{}) {} //nolint",
		"func Any(v any) string",
		`func Hello() string { return "hello" }`,
		`"time"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var shared, program string
	for _, l := range r.Left {
		if l.Rule == "G306" && strings.Contains(lineOf(string(text), l.Line), "Shared") {
			shared = l.Why
		}
		if l.Rule == "G306" && strings.Contains(lineOf(string(text), l.Line), "Program") {
			program = l.Why
		}
	}
	if !strings.Contains(shared, "TestSharedIsReadByAll") || program != "no mechanical fix is known" {
		t.Errorf("why left: shared %q, program %q", shared, program)
	}
	again, err := m.Fix(t.Context(), dir, FixClasses{Findings: true, Format: true})
	if err != nil || len(again.Applied) != 0 || len(again.Files) != 0 {
		t.Errorf("a second repair: %+v, %v", again, err)
	}
}

func lineOf(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

func TestFixLeavesATreeAloneThatDoesNotBuild(t *testing.T) {
	dir := write(t, "-- go.mod --\nmodule m\n\ngo 1.26\n-- a.go --\npackage a\n\nfunc  F() int { return \"\" }\n")
	r, err := newMeter(t).Fix(t.Context(), dir, FixClasses{Findings: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "a.go"))
	if err != nil || !strings.Contains(string(text), "func  F()") || len(r.Applied) != 0 {
		t.Errorf("%+v %v\n%s", r, err, text)
	}
	if f, ok := leftRule(r, "compile"); !ok || f.Why == "" {
		t.Errorf("left: %+v", r.Left)
	}
}

func leftRule(r FixReport, rule string) (conclave.LeftFinding, bool) {
	for _, l := range r.Left {
		if l.Rule == rule {
			return l, true
		}
	}
	return conclave.LeftFinding{}, false
}

func TestWriteFilesStaysInTheTree(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link/x", "../x"} {
		if err := writeFiles(dir, map[string][]byte{name: []byte("x")}); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("outside: %v %v", entries, err)
	}
}

func TestCompareFollowsFindingsOverLines(t *testing.T) {
	m := newMeter(t)
	const head = "-- go.mod --\nmodule m\n\ngo 1.26\n-- a.go --\npackage a\n\nimport \"fmt\"\n\n"
	const say = "func F() string { return fmt.Sprintf(\"%d\", \"x\") }\n"
	const deref = "\nfunc G(p *int) int {\n\tif p == nil {\n\t\treturn *p\n\t}\n\treturn 0\n}\n"
	old := measure(t, m, write(t, head+say))
	moved := measure(t, m, write(t, head+"// F says.\n//\n// Badly.\n"+say+deref))
	now := Compare(old, moved)
	f, ok := find(now.Findings, "printf")
	if !ok || contains(now.New, f.Key()) || len(now.Gone) != 0 {
		t.Errorf("printf moved: new %v, gone %v", now.New, now.Gone)
	}
	if g, ok := find(now.Findings, "nilness"); !ok || !contains(now.New, g.Key()) || now.Findings[0].Rule != "nilness" {
		t.Errorf("nilness is new and first: %+v", now.Findings)
	}
	if check(t, now, "lint").Baseline {
		t.Error("lint fails in a new way")
	}
	same := Compare(old, old)
	if !check(t, same, "lint").Baseline || !same.Passed() {
		t.Errorf("the same failure is a baseline: %+v", same.Checks)
	}
	if same.Hash == old.Hash {
		t.Error("the hash does not cover what the comparison says")
	}
	slow := old
	slow.Checks = append([]conclave.Check(nil), old.Checks...)
	slow.Checks[0].Millis += 1000
	if seal(slow).Hash != old.Hash {
		t.Error("the hash depends on durations")
	}
}

func contains(keys []string, key string) bool {
	for _, k := range keys {
		if k == key {
			return true
		}
	}
	return false
}
