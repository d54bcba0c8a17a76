package evidence

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
)

// Bounds on what is kept of a test's output.
const (
	maxTestOutput  = 4 << 10
	maxEventBytes  = 64 << 10
	maxTestResults = 200
)

// A testReport is what a run of go test came to.
type testReport struct {
	ExitCode int           `json:"exit_code"`
	Tests    int           `json:"tests"`  // top-level tests that ran
	Failed   int           `json:"failed"` // of them
	Failures []testFailure `json:"failures,omitempty"`
	Passed   []string      `json:"passed,omitempty"` // "package.Test", top-level
	Stderr   string        `json:"stderr,omitempty"`
	TimedOut bool          `json:"timed_out,omitempty"`
}

// A testFailure is a failed test, or a package that failed outside its tests.
type testFailure struct {
	Package string `json:"package"`
	Test    string `json:"test,omitempty"`
	Build   bool   `json:"build,omitempty"` // the package's tests do not compile
	Output  string `json:"output"`
}

// testEvent is a line of go test -json.
type testEvent struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	FailedBuild string
}

// runGoTest runs go test with more arguments in the working directory and reads
// its events as they come, so that the size of the output does not matter.
func runGoTest(ctx context.Context, args []string, timeout time.Duration) (testReport, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.WaitDelay = 2 * time.Second // a test's own children may hold the pipe
	stderr := &tail{limit: maxTestOutput}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return testReport{}, fmt.Errorf("starting go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return testReport{}, fmt.Errorf("starting go test: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = stdout.Close() })
	defer stop()
	c := testCollector{state: map[testID]*testState{}}
	c.read(stdout)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil, errors.As(err, &exit), ctx.Err() != nil, errors.Is(err, os.ErrClosed), errors.Is(err, exec.ErrWaitDelay):
	default:
		return testReport{}, fmt.Errorf("running go test: %w", err)
	}
	report := c.report()
	report.ExitCode = cmd.ProcessState.ExitCode()
	report.Stderr = stderr.String()
	report.TimedOut = ctx.Err() != nil
	return report, nil
}

type testID struct{ pkg, test string }

type testState struct {
	id     testID
	action string // the last of run, pass, fail, skip
	build  bool
	output tail
}

type testCollector struct {
	state map[testID]*testState
	built map[string]*tail // compiler output by import path
}

func (c *testCollector) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxEventBytes)
	for {
		line, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) { // an event as long as that is output
			_, err = lines.ReadSlice('\n')
		}
		var e testEvent
		if !long && json.Unmarshal(line, &e) == nil {
			c.add(e)
		}
		if err != nil {
			return
		}
	}
}

func (c *testCollector) add(e testEvent) {
	if e.Action == "build-output" {
		if c.built == nil {
			c.built = map[string]*tail{}
		}
		if c.built[e.ImportPath] == nil {
			c.built[e.ImportPath] = &tail{limit: maxTestOutput}
		}
		_, _ = c.built[e.ImportPath].Write([]byte(e.Output))
		return
	}
	if e.Package == "" {
		return
	}
	id := testID{e.Package, e.Test}
	s := c.state[id]
	if s == nil {
		s = &testState{id: id, output: tail{limit: maxTestOutput}}
		c.state[id] = s
	}
	switch e.Action {
	case "output":
		_, _ = s.output.Write([]byte(e.Output))
	case "run", "start", "pass", "skip":
		s.action = e.Action
	case "fail":
		s.action = e.Action
		if e.FailedBuild != "" {
			s.build = true
			if out := c.built[e.FailedBuild]; out != nil {
				_, _ = s.output.Write(out.bytes())
			}
		}
	}
}

// report sums the events up. A test that began and never ended failed.
func (c *testCollector) report() testReport {
	var r testReport
	failed := map[string][]string{} // package → failed tests
	for id, s := range c.state {
		if id.test == "" {
			continue
		}
		top := !strings.Contains(id.test, "/")
		bad := s.action == "fail" || s.action == "run"
		if bad {
			failed[id.pkg] = append(failed[id.pkg], id.test)
		}
		if top && s.action != "skip" {
			r.Tests++
			if bad {
				r.Failed++
			} else {
				r.Passed = append(r.Passed, id.pkg+"."+id.test)
			}
		}
	}
	for id, s := range c.state {
		if id.test == "" {
			if len(failed[id.pkg]) == 0 && (s.action == "fail" || s.action == "start") {
				r.Failures = append(r.Failures, testFailure{Package: id.pkg, Build: s.build, Output: s.output.String()})
			}
			continue
		}
		if s.action != "fail" && s.action != "run" {
			continue
		}
		inner := func(other string) bool { return strings.HasPrefix(other, id.test+"/") }
		if slices.ContainsFunc(failed[id.pkg], inner) {
			continue // its subtest tells more
		}
		out := s.output.String()
		if s.action == "run" {
			out += "the test did not end\n"
			if p := c.state[testID{id.pkg, ""}]; p != nil {
				out += p.output.String()
			}
		}
		r.Failures = append(r.Failures, testFailure{Package: id.pkg, Test: id.test, Output: out})
	}
	slices.SortFunc(r.Failures, func(a, b testFailure) int {
		return cmp.Or(strings.Compare(a.Package, b.Package), strings.Compare(a.Test, b.Test))
	})
	if len(r.Failures) > maxTestResults {
		r.Failures = r.Failures[:maxTestResults]
	}
	slices.Sort(r.Passed)
	return r
}

var sourceLine = regexp.MustCompile(`(?m)^\s*(?:\S*/)?([\w.-]+\.go):(\d+)(?::\d+)?:? `)

// finding files a failure. m is the module that was tested.
func (f testFailure) finding(m module, files listing) conclave.Finding {
	name, rule := f.Test, "fail"
	switch {
	case f.Build:
		name, rule = "the tests", "build"
	case f.Test == "":
		name, rule = "the package", "package"
	}
	pkgDir := path.Join(m.dir, strings.TrimPrefix(strings.TrimPrefix(f.Package, m.path), "/"))
	out := conclave.Finding{
		Tool: toolTest, Rule: rule, Level: conclave.LevelError, Category: catTest, Path: pkgDir,
		Message:     fmt.Sprintf("%s of %s failed: %s", name, f.Package, shorten(gist(f.Output), 600)),
		Fingerprint: digest(toolTest, rule, f.Package, f.Test),
	}
	for _, at := range sourceLine.FindAllStringSubmatch(f.Output, -1) {
		if file := path.Join(pkgDir, at[1]); files.has(file) {
			out.Path = file
			out.Line, _ = strconv.Atoi(at[2]) // digits by the pattern
			break
		}
	}
	return out
}

// gist drops the frame that go test puts around a test's own words.
func gist(output string) string {
	var kept []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") || line == "FAIL" || strings.HasPrefix(line, "FAIL\t") {
			continue
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "; ")
}

func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// A tail keeps the first quarter and the last three quarters of limit bytes.
type tail struct {
	limit int
	head  []byte
	rest  []byte
	cut   int
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if room := t.limit/4 - len(t.head); room > 0 {
		take := min(room, len(p))
		t.head, p = append(t.head, p[:take]...), p[take:]
	}
	t.rest = append(t.rest, p...)
	if over := len(t.rest) - (t.limit - t.limit/4); over > 0 {
		t.cut += over
		t.rest = append(t.rest[:0], t.rest[over:]...)
	}
	return n, nil
}

func (t *tail) bytes() []byte {
	out := slices.Clone(t.head)
	if t.cut > 0 {
		out = fmt.Appendf(out, "\n… %d bytes cut …\n", t.cut)
	}
	return append(out, t.rest...)
}

func (t *tail) String() string { return strings.ToValidUTF8(string(t.bytes()), "�") }
