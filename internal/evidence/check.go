package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"conclave"
	"conclave/internal/sandbox"
)

// maxOutput bounds what a check keeps of its command's output.
const maxOutput = 8 << 10

// A measurement is one copy of a tree and what was found out about it.
type measurement struct {
	*Meter
	tree       Tree
	dir        string // the copy
	contents   string // the hash of the copied files
	userGo     string // the user's build cache; empty when it is not there
	close      func()
	workerPath string
	files      listing
	modules    []module
	evidence   conclave.Evidence
	edits      []Edit
	passed     []string // tests, as package.Test
	modCache   string   // our own module cache; empty: the user's
}

// look lists the copy's files anew.
func (x *measurement) look() error {
	files, err := list(x.dir)
	if err != nil {
		return err
	}
	x.files, x.modules = files, files.modules(x.dir)
	if slices.ContainsFunc(x.modules, x.upgradedModules) {
		x.modCache = x.ownMod()
	}
	return nil
}

// measure runs everything. Code of the tree is executed last. It returns the
// checks that build and test.
func (x *measurement) measure(ctx context.Context) (gates []conclave.Check, err error) {
	var built []conclave.Check
	var analysed, programmed partial
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if x.buildIsSafe() {
			if built, err = x.build(gctx); err != nil {
				return err
			}
		}
		analysed, err = x.analyse(gctx)
		return err
	})
	group.Go(func() (err error) {
		programmed, err = x.programs(gctx)
		return err
	})
	err = group.Wait()
	if err == nil && !x.buildIsSafe() {
		built, err = x.build(ctx)
	}
	if err != nil {
		return nil, err
	}
	tested, err := x.test(ctx)
	if err != nil {
		return nil, err
	}
	e := &x.evidence
	e.Checks = slices.Clone(built)
	for _, p := range []partial{analysed, programmed, tested} {
		e.Checks = append(e.Checks, p.checks...)
		e.Findings = append(e.Findings, p.findings...)
		e.Unchecked = append(e.Unchecked, p.unchecked...)
	}
	slices.SortStableFunc(e.Findings, byPlace)
	slices.Sort(e.Unchecked)
	e.Licences, e.Languages = analysed.licences, analysed.languages
	if e.Findings == nil {
		e.Findings = []conclave.Finding{}
	}
	return append(built, tested.checks...), nil
}

// A partial is what one part of a measurement adds to the evidence.
type partial struct {
	checks    []conclave.Check
	findings  []conclave.Finding
	unchecked []string
	licences  []conclave.Licence
	languages map[string]int
}

// buildIsSafe reports whether building executes nothing of the tree.
func (x *measurement) buildIsSafe() bool {
	if len(x.tree.Build) > 0 {
		return isGoBuild(x.tree.Build)
	}
	return len(x.modules) > 0 || !x.files.has("Cargo.toml")
}

// isGoBuild reports whether a command is go build with no flag but those that
// neither execute nor write anything.
func isGoBuild(args []string) bool {
	if len(args) < 2 || args[0] != "go" || args[1] != "build" {
		return false
	}
	return !slices.ContainsFunc(args[2:], func(a string) bool {
		return strings.HasPrefix(a, "-") && a != "-v" && a != "-trimpath" && !strings.HasPrefix(a, "-tags=")
	})
}

// goBuild is go build that keeps nothing: no binary, and so no symbols for one.
func goBuild() []string { return []string{"build", "-o", os.DevNull, "-ldflags=-s -w"} }

// build compiles. Only go build may write the build cache.
func (x *measurement) build(ctx context.Context) ([]conclave.Check, error) {
	own := x.tree.Build
	switch {
	case len(own) > 0 && isGoBuild(own):
		c, err := x.run(ctx, "build", strings.Join(own, " "), x.goCommand(x.dir, append(goBuild(), own[2:]...)...))
		return []conclave.Check{c}, err
	case len(own) > 0:
		c, err := x.command(ctx, "build", own)
		return []conclave.Check{c}, err
	case len(x.files.files) == 0:
		return []conclave.Check{{Name: "build", Skipped: "the tree is empty"}}, nil
	case len(x.modules) > 0:
		var checks []conclave.Check
		for _, m := range x.modules {
			c, err := x.run(ctx, at("build", m.dir), "go build ./...", x.goCommand(x.in(m.dir), append(goBuild(), "./...")...))
			if err != nil {
				return nil, err
			}
			checks = append(checks, c)
		}
		return checks, nil
	case x.files.has("Cargo.toml"):
		c, err := x.command(ctx, "build", []string{"cargo", "build", "--offline"})
		return []conclave.Check{c}, err
	}
	return []conclave.Check{{Name: "build", Skipped: "nothing here says how to build"}}, nil
}

// analyse runs the worker over the tree.
func (x *measurement) analyse(ctx context.Context) (partial, error) {
	var p partial
	report, why, err := x.work(ctx)
	if err != nil {
		return p, err
	}
	if why != "" {
		p.unchecked = []string{"analysers: " + why}
		p.checks = []conclave.Check{{Name: "format", Skipped: why}, {Name: "lint", Skipped: why}}
		return p, nil
	}
	x.edits = report.Edits
	p.findings, p.unchecked, p.licences, p.languages = report.Findings, report.Unchecked, report.Licences, report.Languages
	if len(x.modules) > 0 {
		lint := verdict("lint", "go vet, staticcheck, gosec ./...", report.Findings, isLint)
		if i := slices.IndexFunc(p.unchecked, func(s string) bool { return strings.HasPrefix(s, lintFailed) }); i >= 0 && lint.Passed {
			lint.Passed, lint.Skipped = false, p.unchecked[i]
		}
		p.checks = append(p.checks, verdict("format", "gofmt -l .", report.Findings, failing("format")), lint)
	}
	return p, nil
}

// isLint reports whether a finding fails the check "lint".
func isLint(f conclave.Finding) bool {
	return f.Level == conclave.LevelError && (f.Tool == toolVet || f.Tool == toolStaticcheck || f.Tool == toolGosec)
}

// verdict is the check that fails when a finding matches.
func verdict(name, command string, findings []conclave.Finding, fails func(conclave.Finding) bool) conclave.Check {
	c := conclave.Check{Name: name, Command: command, Passed: true}
	var out strings.Builder
	for _, f := range findings {
		if fails(f) {
			c.Passed = false
			fmt.Fprintf(&out, "%s:%d: %s (%s)\n", f.Path, f.Line, f.Message, f.Rule)
		}
	}
	c.Output = shorten(out.String(), maxOutput)
	return c
}

// work starts the worker. Why is set when the worker did not do its work.
func (x *measurement) work(ctx context.Context) (report Analysis, why string, err error) {
	c := x.goCommand(x.dir)
	c.Args = []string{x.workerPath, Worker, "--json", "--cache", x.lintCache()}
	c.Write = append(c.Write, x.lintCache())
	c.OutputBytes = 64 << 20
	db, isFile := fileURL(x.vulnDB)
	if isFile {
		if info, err := os.Stat(db); err == nil && info.IsDir() {
			c.Args = append(c.Args, "--vulndb", x.vulnDB)
			c.Read = append(c.Read, db)
		} else {
			isFile = false
		}
	}
	policy, err := json.Marshal(x.licences)
	if err != nil {
		return report, "", fmt.Errorf("telling the worker which licences may be: %w", err)
	}
	c.Args = append(c.Args, "--licences", string(policy), x.dir)
	r, err := x.box.Run(ctx, c)
	switch {
	case err != nil:
		return report, "", fmt.Errorf("analysing: %w", err)
	case r.TimedOut:
		return report, fmt.Sprintf("not done in %v", x.timeout), nil
	case r.OutOfMemory:
		return report, "out of memory", nil
	case r.ExitCode != 0:
		return report, "the worker failed: " + shorten(x.scrub(lastLine(r.Stderr)), 300), nil
	}
	if err := json.Unmarshal(r.Stdout, &report); err != nil {
		return report, "the worker's output can't be read: " + err.Error(), nil
	}
	if x.vulnDB != "" && !isFile {
		report.Unchecked = slices.DeleteFunc(report.Unchecked, func(s string) bool { return s == noVulnDB })
		report.Unchecked = append(report.Unchecked, "vulnerable dependencies: not checked: "+x.vulnDB+" can't be reached from the sandbox (only file:// directories can)")
	}
	for i := range report.Findings {
		report.Findings[i].Message = x.scrub(report.Findings[i].Message)
	}
	return report, "", nil
}

// test runs the tests, or says why there are none.
func (x *measurement) test(ctx context.Context) (partial, error) {
	if t := x.tree.Test; len(t) > 0 {
		if len(t) > 1 && t[0] == "go" && t[1] == "test" {
			return x.goTest(ctx, module{dir: ".", path: x.rootPath()}, t[2:])
		}
		return x.testCommand(ctx, t)
	}
	if len(x.modules) > 0 {
		return x.goTests(ctx)
	}
	command, why := x.detectTest()
	if why != "" {
		return partial{checks: []conclave.Check{{Name: "test", Skipped: why}}, unchecked: []string{"tests: " + why}}, nil
	}
	return x.testCommand(ctx, command)
}

func (x *measurement) rootPath() string {
	for _, m := range x.modules {
		if m.dir == "." {
			return m.path
		}
	}
	return ""
}

// detectTest returns the test command of a tree that is not Go, or why there is none.
func (x *measurement) detectTest() (command []string, why string) {
	has := x.files.has
	switch {
	case has("package.json"):
		var pkg struct{ Scripts map[string]string }
		if err := json.Unmarshal(readText(x.dir, "package.json"), &pkg); err != nil || pkg.Scripts["test"] == "" {
			return nil, "package.json has no test script"
		}
		if _, err := os.Stat(x.in("node_modules")); err != nil {
			return nil, "npm test: the dependencies are not installed (no node_modules)"
		}
		return []string{"npm", "test", "--silent"}, ""
	case has("Cargo.toml"):
		return []string{"cargo", "test", "--offline"}, ""
	case has("pyproject.toml"), has("setup.py"), has("pytest.ini"), has("requirements.txt"):
		python := func(f string) bool {
			base := path.Base(f)
			return strings.HasPrefix(base, "test_") && path.Ext(f) == ".py" || strings.HasSuffix(base, "_test.py")
		}
		if !x.files.any(python) {
			return nil, "the tree has no tests"
		}
		return []string{"python3", "-m", "pytest", "-q"}, ""
	case has("Makefile"):
		if makeTest.Match(readText(x.dir, "Makefile")) {
			return []string{"make", "test"}, ""
		}
	}
	return nil, "the tree has no tests that are known how to run"
}

var makeTest = regexp.MustCompile(`(?m)^test\s*:([^=]|$)`)

// testCommand runs a test command that prints what it likes. Its failure is one
// finding, known by what it printed but for the numbers.
func (x *measurement) testCommand(ctx context.Context, args []string) (partial, error) {
	c, err := x.command(ctx, "test", args)
	p := partial{checks: []conclave.Check{c}}
	if c.Skipped != "" {
		p.unchecked = []string{"tests: " + c.Skipped}
	}
	if err != nil || c.Passed || c.Skipped != "" {
		return p, err
	}
	p.findings = []conclave.Finding{{
		Tool: toolTest, Rule: "command", Level: conclave.LevelError, Category: catTest, Path: ".",
		Message:     shorten(c.Command+" failed: "+gist(c.Output), 600),
		Fingerprint: digest(toolTest, c.Command, digits.ReplaceAllString(c.Output, "#")),
	}}
	return p, nil
}

var digits = regexp.MustCompile(`[0-9]+`)

// goTests tests every module.
func (x *measurement) goTests(ctx context.Context) (partial, error) {
	var all partial
	for _, m := range x.modules {
		isTest := func(f string) bool {
			return strings.HasSuffix(f, "_test.go") && !ignoredByGo(f) && m.owns(f, x.modules)
		}
		if !x.files.any(isTest) {
			all.checks = append(all.checks, conclave.Check{Name: at("test", m.dir), Skipped: "the module has no tests"})
			all.unchecked = append(all.unchecked, at("tests", m.dir)+": the module has none")
			continue
		}
		p, err := x.goTest(ctx, m, []string{"./..."})
		if err != nil {
			return all, err
		}
		all.checks = append(all.checks, p.checks...)
		all.findings = append(all.findings, p.findings...)
	}
	return all, nil
}

// goTest runs go test through the worker, which counts inside the sandbox.
func (x *measurement) goTest(ctx context.Context, m module, args []string) (partial, error) {
	check := conclave.Check{Name: at("test", m.dir), Command: "go test " + strings.Join(args, " ")}
	grace := min(x.timeout/10, 10*time.Second)
	c := x.untrusted(x.in(m.dir), append([]string{x.workerPath, Worker, "--test", "--timeout", (x.timeout - grace).String(), "--",
		"-count=1", "-vet=off", "-timeout=" + (x.timeout - 2*grace).String()}, args...)...)
	c.OutputBytes = 16 << 20
	started := time.Now()
	r, err := x.box.Run(ctx, c)
	check.Millis = millis(started)
	if err != nil {
		return partial{}, fmt.Errorf("testing: %w", err)
	}
	var report testReport
	if err := json.Unmarshal(r.Stdout, &report); err != nil || r.ExitCode != 0 {
		check.Output = "the tests ended without a report: " + ending(r, x.timeout) + "\n" + x.scrub(shorten(lastLine(r.Stderr), maxOutput))
		f := conclave.Finding{Tool: toolTest, Rule: "ended", Level: conclave.LevelError, Category: catTest, Path: m.dir,
			Message: gist(check.Output), Fingerprint: digest(toolTest, "ended", m.dir)}
		return partial{checks: []conclave.Check{check}, findings: []conclave.Finding{f}}, nil
	}
	check.Passed = report.ExitCode == 0 && !report.TimedOut
	check.Tests, check.Failed = report.Tests, report.Failed
	x.passed = append(x.passed, report.Passed...)
	p := partial{}
	var out strings.Builder
	for _, f := range report.Failures {
		f.Output = x.scrub(f.Output)
		p.findings = append(p.findings, f.finding(m, x.files))
		fmt.Fprintf(&out, "%s %s\n%s\n", f.Package, f.Test, f.Output)
	}
	if !check.Passed && len(report.Failures) == 0 {
		fmt.Fprintf(&out, "go test ended with code %d\n%s", report.ExitCode, x.scrub(report.Stderr))
		p.findings = append(p.findings, conclave.Finding{Tool: toolTest, Rule: "ended", Level: conclave.LevelError, Category: catTest,
			Path: m.dir, Message: "go test failed: " + shorten(gist(out.String()), 600), Fingerprint: digest(toolTest, "ended", m.dir)})
	}
	check.Output = shorten(out.String(), maxOutput)
	p.checks = []conclave.Check{check}
	return p, nil
}

// command is the check that runs a command of the tree's own at the root.
func (x *measurement) command(ctx context.Context, name string, args []string) (conclave.Check, error) {
	return x.run(ctx, name, strings.Join(args, " "), x.untrusted(x.dir, args...))
}

// run runs a command as a check. A program that is not there is a skipped check.
func (x *measurement) run(ctx context.Context, name, shown string, c sandbox.Command) (conclave.Check, error) {
	check := conclave.Check{Name: name, Command: shown}
	c.OutputBytes = 4 * maxOutput
	started := time.Now()
	r, err := x.box.Run(ctx, c)
	check.Millis = millis(started)
	switch {
	case errors.Is(err, conclave.ErrNotFound):
		check.Skipped = c.Args[0] + " is not installed here"
		return check, nil
	case err != nil:
		return check, err
	}
	check.Passed = r.ExitCode == 0 && !r.TimedOut && !r.OutOfMemory && !r.TooManyProcesses
	if !check.Passed {
		check.Output = x.scrub(strings.TrimSpace(keepEnd(string(r.Stdout)+string(r.Stderr), maxOutput)))
		if end := ending(r, c.Timeout); end != "" {
			check.Output += "\n" + end
		}
	}
	return check, nil
}

// ending says which limit ended a command, or with which code it ended.
func ending(r sandbox.Result, timeout time.Duration) string {
	switch {
	case r.TimedOut:
		return fmt.Sprintf("not done in %v", timeout)
	case r.OutOfMemory:
		return "out of memory"
	case r.TooManyProcesses:
		return "too many processes"
	}
	return fmt.Sprintf("exit status %d", r.ExitCode)
}

// in returns the path of a directory of the copy.
func (x *measurement) in(dir string) string { return filepath.Join(x.dir, filepath.FromSlash(dir)) }

func millis(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

func keepEnd(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + strings.ToValidUTF8(s[len(s)-n:], "")
}

func lastLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	return s[strings.LastIndexByte(s, '\n')+1:]
}

var (
	duration = regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|ms|s|m\d+(\.\d+)?s)\b`)
	address  = regexp.MustCompile(`\+?\b0x[0-9a-f]+\b`)
	routine  = regexp.MustCompile(`goroutine \d+`)
	elapsed  = regexp.MustCompile(`\((\d+\.\d+s)\)`)
)

// volatile replaces what differs from run to run.
func volatile(s string) string {
	s = elapsed.ReplaceAllString(s, "(…s)")
	s = duration.ReplaceAllString(s, "…s")
	s = address.ReplaceAllString(s, "0x…")
	return routine.ReplaceAllString(s, "goroutine …")
}
