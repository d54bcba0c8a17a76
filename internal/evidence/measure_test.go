package evidence

import (
	"testing"

	"conclave"
)

const cleanModule = `
-- go.mod --
module example.com/clean

go 1.26
-- clean.go --
// Package clean adds.
package clean

// Add adds.
func Add(a, b int) int { return a + b }
-- clean_test.go --
package clean

import "testing"

func TestAdd(t *testing.T) {
	if Add(1, 2) != 3 {
		t.Fatal("1+2")
	}
}
`

func TestMeasureCleanModule(t *testing.T) {
	e := measure(t, newMeter(t), write(t, cleanModule))
	for _, name := range []string{"build", "format", "lint", "test"} {
		if c := check(t, e, name); !c.Passed || c.Skipped != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if c := check(t, e, "test"); c.Tests != 1 || c.Failed != 0 {
		t.Errorf("tests: %+v", c)
	}
	if len(e.Findings) != 0 {
		t.Errorf("findings: %+v", e.Findings)
	}
	if len(e.Unchecked) != 1 || e.Unchecked[0] != noVulnDB {
		t.Errorf("unchecked: %q", e.Unchecked)
	}
	if e.Tree != "tree" || len(e.Hash) != 64 || !e.Passed() {
		t.Errorf("evidence: %+v", e)
	}
}

// planted holds, by rule, code with one defect and its fixed twin.
var planted = []struct {
	rule, tool, category string
	level                conclave.Level
	bad, good            string
}{
	{"G402", "gosec", catSecurity, conclave.LevelError, `
import "crypto/tls"

func Config() *tls.Config { return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} }
`, `
import "crypto/tls"

func Config() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS13} }
`},
	{"G114", "gosec", catSecurity, conclave.LevelWarning, `
import "net/http"

func Serve() error { return http.ListenAndServe("localhost:0", nil) }
`, `
import (
	"net/http"
	"time"
)

func Serve() error {
	s := &http.Server{Addr: "localhost:0", ReadHeaderTimeout: time.Second}
	return s.ListenAndServe()
}
`},
	{"nilness", "go vet", catCorrectness, conclave.LevelError, `
func Deref(p *int) int {
	if p == nil {
		return *p
	}
	return 0
}
`, `
func Deref(p *int) int {
	if p == nil {
		return 0
	}
	return *p
}
`},
	{"SA1000", "staticcheck", catCorrectness, conclave.LevelError, `
import "regexp"

func Pattern() *regexp.Regexp { return regexp.MustCompile("(") }
`, `
import "regexp"

func Pattern() *regexp.Regexp { return regexp.MustCompile("x") }
`},
	{"printf", "go vet", catCorrectness, conclave.LevelError, `
import "fmt"

func Say() string { return fmt.Sprintf("%d", "one") }
`, `
import "fmt"

func Say() string { return fmt.Sprintf("%s %d", "one", 1) }
`},
	{"lostcancel", "go vet", catCorrectness, conclave.LevelWarning, `
import "context"

func With(ctx context.Context) context.Context {
	ctx, _ = context.WithCancel(ctx)
	return ctx
}
`, `
import "context"

func With(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
`},
	{"SA6005", "staticcheck", catPerformance, conclave.LevelWarning, `
import "strings"

func Same(a, b string) bool { return strings.ToLower(a) == strings.ToLower(b) }
`, `
import "strings"

func Same(a, b string) bool { return strings.EqualFold(a, b) }
`},
	{"S1002", "staticcheck", catStyle, conclave.LevelNote, `
func Not(b bool) int {
	if b == false {
		return 1
	}
	return 0
}
`, `
func Not(b bool) int {
	if !b {
		return 1
	}
	return 0
}
`},
	{"U1000", "staticcheck", catStyle, conclave.LevelNote, "\nfunc lonely() {}\n", "\nfunc Lonely() {}\n"},
	{"rangeint", "modernize", catStyle, conclave.LevelNote, `
func Sum(n int) int {
	s := 0
	for i := 0; i < n; i++ {
		s += i
	}
	return s
}
`, `
func Sum(n int) int {
	s := 0
	for i := range n {
		s += i
	}
	return s
}
`},
	{"format", "gofmt", catStyle, conclave.LevelNote, "\nfunc  F() {}\n", "\nfunc F() {}\n"},
}

// All planted defects live in one module, one package each, so that they are
// loaded once.
func TestPlantedDefectsAreFoundAndTheirTwinsAreClean(t *testing.T) {
	bad, good := "-- go.mod --\nmodule m\n\ngo 1.26\n", "-- go.mod --\nmodule m\n\ngo 1.26\n"
	for _, p := range planted {
		head := "-- " + p.rule + "/p.go --\npackage p\n"
		bad += head + p.bad
		good += head + p.good
	}
	m := newMeter(t)
	e := measure(t, m, write(t, bad))
	for _, p := range planted {
		f, ok := find(e.Findings, p.rule)
		if !ok {
			t.Errorf("%s was not found; unchecked: %q", p.rule, e.Unchecked)
			continue
		}
		want := conclave.Finding{Tool: p.tool, Category: p.category, Level: p.level, Path: p.rule + "/p.go"}
		if f.Tool != want.Tool || f.Category != want.Category || f.Level != want.Level || f.Path != want.Path || f.Line < 3 || f.Fingerprint == "" {
			t.Errorf("%s: got %+v", p.rule, f)
		}
	}
	if check(t, e, "lint").Passed || check(t, e, "format").Passed {
		t.Errorf("lint and format passed: %+v", e.Checks)
	}
	twin := measure(t, m, write(t, good))
	if len(twin.Findings) != 0 {
		t.Errorf("the fixed twins have findings: %+v", twin.Findings)
	}
	now := Compare(e, twin)
	if len(now.Gone) != len(e.Findings) || len(now.New) != 0 {
		t.Errorf("compare: gone %d of %d, new %v", len(now.Gone), len(e.Findings), now.New)
	}
}
