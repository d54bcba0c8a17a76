package evidence

import (
	"strings"

	"github.com/securego/gosec/v2/goanalysis"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/appends"
	"golang.org/x/tools/go/analysis/passes/assign"
	"golang.org/x/tools/go/analysis/passes/atomic"
	"golang.org/x/tools/go/analysis/passes/bools"
	"golang.org/x/tools/go/analysis/passes/buildtag"
	"golang.org/x/tools/go/analysis/passes/copylock"
	"golang.org/x/tools/go/analysis/passes/defers"
	"golang.org/x/tools/go/analysis/passes/directive"
	"golang.org/x/tools/go/analysis/passes/errorsas"
	"golang.org/x/tools/go/analysis/passes/hostport"
	"golang.org/x/tools/go/analysis/passes/httpresponse"
	"golang.org/x/tools/go/analysis/passes/ifaceassert"
	"golang.org/x/tools/go/analysis/passes/loopclosure"
	"golang.org/x/tools/go/analysis/passes/lostcancel"
	"golang.org/x/tools/go/analysis/passes/modernize"
	"golang.org/x/tools/go/analysis/passes/nilfunc"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/passes/printf"
	"golang.org/x/tools/go/analysis/passes/shift"
	"golang.org/x/tools/go/analysis/passes/sigchanyzer"
	"golang.org/x/tools/go/analysis/passes/slog"
	"golang.org/x/tools/go/analysis/passes/stdmethods"
	"golang.org/x/tools/go/analysis/passes/stdversion"
	"golang.org/x/tools/go/analysis/passes/stringintconv"
	"golang.org/x/tools/go/analysis/passes/structtag"
	"golang.org/x/tools/go/analysis/passes/testinggoroutine"
	"golang.org/x/tools/go/analysis/passes/tests"
	"golang.org/x/tools/go/analysis/passes/timeformat"
	"golang.org/x/tools/go/analysis/passes/unmarshal"
	"golang.org/x/tools/go/analysis/passes/unreachable"
	"golang.org/x/tools/go/analysis/passes/unusedresult"
	"golang.org/x/tools/go/analysis/passes/waitgroup"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"
	"honnef.co/go/tools/unused"

	"conclave"
)

// Names of tools, as findings carry them.
const (
	toolCompile     = "go build"
	toolTest        = "go test"
	toolFormat      = "gofmt"
	toolVet         = "go vet"
	toolStaticcheck = "staticcheck"
	toolModernize   = "modernize"
	toolGosec       = "gosec"
	toolGitleaks    = "gitleaks"
	toolVuln        = "govulncheck"
	toolLicences    = "licences"
)

// Categories of findings.
const (
	catSecurity    = "security"
	catCorrectness = "correctness"
	catPerformance = "performance"
	catStyle       = "style"
	catTest        = "test"
	catSecret      = "secret"
	catLicence     = "licence"
)

// A lintRule is one analyser of the Go suite, and how its findings are filed.
type lintRule struct {
	analyzer   *analysis.Analyzer
	tool       string
	level      conclave.Level
	category   string
	allOrNone  bool // a finding must hold in each variant of the package
	staticconf bool // staticcheck.conf chooses it
	title      string
	text       string
}

// lintRules returns the Go analysers by name.
func lintRules() map[string]lintRule {
	rules := map[string]lintRule{}
	for _, a := range staticcheck.Analyzers {
		r := honnefRule(a, catCorrectness)
		switch {
		case a.Doc.Severity == lint.SeverityError:
			r.level = conclave.LevelError
		case a.Doc.Severity == lint.SeverityWarning:
			r.level = conclave.LevelWarning
		}
		if strings.HasPrefix(a.Analyzer.Name, "SA6") {
			r.category = catPerformance
		}
		rules[a.Analyzer.Name] = r
	}
	for _, a := range simple.Analyzers {
		rules[a.Analyzer.Name] = honnefRule(a, catStyle)
	}
	for _, a := range stylecheck.Analyzers {
		switch a.Analyzer.Name {
		case "ST1005", "ST1008", "ST1012", "ST1017", "ST1018":
			rules[a.Analyzer.Name] = honnefRule(a, catStyle)
		}
	}
	rules[unused.Analyzer.Analyzer.Name] = honnefRule(unused.Analyzer, catStyle)
	for name, r := range rules {
		if r.analyzer == nil {
			delete(rules, name)
		}
	}
	for _, a := range testedVet() {
		rules[a.Name] = plainRule(a, toolVet, conclave.LevelError, catCorrectness)
	}
	for _, a := range otherVet() {
		rules[a.Name] = plainRule(a, toolVet, conclave.LevelWarning, catCorrectness)
	}
	for _, a := range modernisers() {
		rules[a.Name] = plainRule(a, toolModernize, conclave.LevelNote, catStyle)
	}
	rules[modernize.StringsBuilderAnalyzer.Name] = plainRule(modernize.StringsBuilderAnalyzer, toolModernize, conclave.LevelNote, catPerformance)
	rules[goanalysis.Analyzer.Name] = plainRule(goanalysis.Analyzer, toolGosec, conclave.LevelWarning, catSecurity)
	return rules
}

// honnefRule files an analyser of staticcheck's project. Its analyzer is nil
// when it is not on by default.
func honnefRule(a *lint.Analyzer, category string) lintRule {
	if a.Doc.NonDefault {
		return lintRule{}
	}
	doc := a.Doc.Compile()
	return lintRule{
		analyzer: a.Analyzer, tool: toolStaticcheck, level: conclave.LevelNote, category: category,
		allOrNone: a.Doc.MergeIf == lint.MergeIfAll, staticconf: true, title: doc.Title, text: doc.Text,
	}
}

func plainRule(a *analysis.Analyzer, tool string, level conclave.Level, category string) lintRule {
	title, text, _ := strings.Cut(a.Doc, "\n\n")
	return lintRule{analyzer: a, tool: tool, level: level, category: category, title: title, text: strings.TrimSpace(text)}
}

// testedVet lists the passes that go test runs before any test.
func testedVet() []*analysis.Analyzer {
	return []*analysis.Analyzer{
		atomic.Analyzer, bools.Analyzer, buildtag.Analyzer, directive.Analyzer, errorsas.Analyzer, ifaceassert.Analyzer,
		nilfunc.Analyzer, printf.Analyzer, stringintconv.Analyzer, tests.Analyzer,
	}
}

// otherVet lists the other passes of go vet that need nothing but Go files, and
// nilness, which is quiet enough to belong to them.
func otherVet() []*analysis.Analyzer {
	return []*analysis.Analyzer{
		appends.Analyzer, assign.Analyzer, copylock.Analyzer, defers.Analyzer, hostport.Analyzer, httpresponse.Analyzer,
		loopclosure.Analyzer, lostcancel.Analyzer, nilness.Analyzer, shift.Analyzer, sigchanyzer.Analyzer, slog.Analyzer,
		stdmethods.Analyzer, stdversion.Analyzer, structtag.Analyzer, testinggoroutine.Analyzer, timeformat.Analyzer,
		unmarshal.Analyzer, unreachable.Analyzer, unusedresult.Analyzer, waitgroup.Analyzer,
	}
}

// modernisers lists the modernize passes whose rewriting preserves behaviour
// and touches no exported declaration.
func modernisers() []*analysis.Analyzer {
	return []*analysis.Analyzer{
		modernize.AnyAnalyzer, modernize.ForVarAnalyzer, modernize.MapsLoopAnalyzer, modernize.MinMaxAnalyzer,
		modernize.PlusBuildAnalyzer, modernize.RangeIntAnalyzer, modernize.ReflectTypeForAnalyzer,
		modernize.SlicesContainsAnalyzer, modernize.SlicesSortAnalyzer, modernize.StringsCutAnalyzer,
		modernize.StringsCutPrefixAnalyzer, modernize.StringsSeqAnalyzer, modernize.WaitGroupGoAnalyzer,
	}
}
