package evidence

import (
	"fmt"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

func TestNolintCoversWhatItStandsAt(t *testing.T) {
	const src = `package p

var a = 1 //nolint:gosec // tested

//nolint:staticcheck,unused
func f() {
	b := 2
	_ = b
}

// f is documented.
//
//nolint
func g() {}

var c = 3 // nolint is a word here
`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	n := findNolint(fset, file)
	for _, c := range []struct {
		line       int
		tool, rule string
		want       bool
	}{
		{3, toolGosec, "G101", true},
		{3, toolVet, "printf", false},
		{4, toolGosec, "G101", false},
		{7, toolStaticcheck, "SA4006", true},
		{7, toolStaticcheck, "U1000", true},
		{7, toolGosec, "G101", false},
		{10, toolStaticcheck, "SA4006", false},
		{14, toolVet, "printf", true},
		{14, toolGitleaks, "github-pat", false},
		{14, toolCompile, "compile", false},
		{16, toolVet, "printf", false},
	} {
		if got := n.covers(c.line, c.tool, c.rule); got != c.want {
			t.Errorf("line %d, %s %s: %v", c.line, c.tool, c.rule, got)
		}
	}
}

func TestNolintAboveThePackageCoversTheFile(t *testing.T) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", "//nolint:govet\npackage p\n\nfunc f() {}\n\nvar x = 1\n", parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	n := findNolint(fset, file)
	if !n.covers(6, toolVet, "printf") || n.covers(6, toolGosec, "G101") {
		t.Errorf("%+v", n)
	}
}

func TestSuppressionsAreObeyed(t *testing.T) {
	const body = `package p

import (
	"fmt"
	"os"
)

func Vet() { fmt.Printf("%%d\n", "x") }%s

%s
func Lint(b bool) bool { return b == true }

func Sec() error { return os.WriteFile("x", nil, 0o666) }%s
`
	const mod = "-- go.mod --\nmodule m\n\ngo 1.26\n-- p.go --\n"
	m := newMeter(t)
	plain := measure(t, m, write(t, mod+fmt.Sprintf(body, "", "// Lint.", "")))
	quiet := measure(t, m, write(t, mod+fmt.Sprintf(body, " //nolint:govet,staticcheck", "//lint:ignore S1002 it reads well", " // #nosec G306")))
	for _, rule := range []string{"printf", "S1002", "G306"} {
		if _, ok := find(plain.Findings, rule); !ok {
			t.Errorf("%s was not found: %+v", rule, plain.Findings)
		}
		if f, ok := find(quiet.Findings, rule); ok {
			t.Errorf("%s was not suppressed: %+v", rule, f)
		}
	}
	conf := measure(t, m, write(t, mod+fmt.Sprintf(body, "", "// Lint.", "")+"-- staticcheck.conf --\nchecks = [\"inherit\", \"-S1002\"]\n"))
	if f, ok := find(conf.Findings, "S1002"); ok {
		t.Errorf("staticcheck.conf was not read: %+v", f)
	}
	if _, ok := find(conf.Findings, "G306"); !ok {
		t.Error("staticcheck.conf switched gosec off")
	}
}

func TestChosenTakesTheLastEntryThatMatches(t *testing.T) {
	for _, c := range []struct {
		checks string
		want   bool
	}{
		{"all", true}, {"", false}, {"all -SA*", false}, {"-all SA1000", true}, {"all -sa1000", false}, {"all -ST*", true},
	} {
		if got := chosen(strings.Fields(c.checks), "SA1000"); got != c.want {
			t.Errorf("%q: %v", c.checks, got)
		}
	}
}
