// Command seed keeps the promises of the page that Conclave was started from: it
// takes every command in the page's code blocks, runs it in a fresh clone with a
// HOME of its own, gives the services the page's files and looks at what each key
// does, opens its addresses, and prints a table of what came of each. It ends with
// 1 when one failed. What needs an engine or a cloud that is not here is an
// exception with its reason (exceptions.go), and its validator is run instead.
//
//	go run ./scripts/seed [-page FILE] [-source REPOSITORY] [-except TARGET,TARGET]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"conclave"
)

func main() {
	page := flag.String("page", "scripts/seed/testdata/seed.md", "the page")
	source := flag.String("source", ".", "the repository to clone; what is committed counts")
	except := flag.String("except", "", "make targets, with commas, that run as stages of their own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := seed(ctx, *page, *source, strings.Split(*except, ","), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
	}
	if err != nil || failed > 0 {
		stop()
		os.Exit(1)
	}
}

// seed returns how many commands of the page failed.
func seed(ctx context.Context, page, source string, except []string, out io.Writer) (failed int, err error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return 0, fmt.Errorf("read the page: %w", err)
	}
	commands := commandsOf(string(text))
	if len(commands) == 0 {
		return 0, fmt.Errorf("%s has no command in a code block", page)
	}
	s, err := newSession(source)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := s.close(); err == nil {
			err = e
		}
	}()
	var checks []check
	for _, c := range commands {
		checks = append(checks, check{c.text, func(ctx context.Context) (outcome, string) { return s.try(ctx, c, except) }})
	}
	for _, f := range filesOf(string(text)) {
		checks = append(checks, s.fileChecks(f)...)
	}
	checks = append(checks, checked("the files as they were", func(ctx context.Context) (string, error) {
		return s.must(ctx, "git checkout --quiet config && make restart >/dev/null")
	}))
	checks = append(checks, s.urlChecks(portsOf(string(text)))...)
	checks = append(checks, s.tableChecks(string(text))...)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "RESULT\tTIME\tWHAT\tWHAT CAME OF IT")
	passed, skipped := 0, 0
	for _, c := range checks {
		if ctx.Err() != nil {
			return failed, errors.New("interrupted")
		}
		begin := time.Now()
		result, why := c.do(ctx)
		switch result {
		case pass:
			passed++
		case excepted:
			skipped++
		default:
			failed++
			fmt.Fprintf(out, "--- %s\n%s\n", c.what, s.last)
		}
		fmt.Fprintf(table, "%s\t%.1fs\t%s\t%s\n", result, time.Since(begin).Seconds(), c.what, why)
	}
	if err := table.Flush(); err != nil {
		return failed, fmt.Errorf("print the table: %w", err)
	}
	fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed, nil
}

// outcome is what came of a command.
type outcome string

const (
	pass     outcome = "ok"
	fail     outcome = "FAILED"
	excepted outcome = "excepted"
)

// session is a fresh clone with a HOME of its own.
type session struct {
	dir, clone string
	env        []string
	last       string // what the last command printed
}

// newSession makes the folders; the page's own git clone makes the clone.
func newSession(source string) (*session, error) {
	source, err := filepath.Abs(source)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "conclave-seed-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s := &session{dir: dir, clone: filepath.Join(dir, "mcp-a2a-microservices")}
	caches, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return s, fmt.Errorf("ask go for its caches: %w", err)
	}
	cache := strings.Fields(string(caches))
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if name != "HOME" && name != "GATEWAY_PORT" && !strings.HasPrefix(name, "CONCLAVE_") && !strings.HasSuffix(name, "_API_KEY") {
			s.env = append(s.env, e)
		}
	}
	sample := filepath.Join(dir, "sample")
	s.env = append(s.env, "HOME="+filepath.Join(dir, "home"), "TMPDIR="+filepath.Join(dir, "tmp"), "GOCACHE="+cache[0], "GOMODCACHE="+cache[1],
		"CONCLAVE_BRAIN=offline", "CGO_ENABLED=0",
		"REPO="+sample) // the workflows work on a small repository rather than on Conclave's own
	switch {
	case slices.ContainsFunc(conclave.AllServices(), func(service conclave.Service) bool { return !free(service.Port()) }):
		s.env = append(s.env, "CONCLAVE_PORTS=auto") // the page's own are taken
	case free(80):
		s.env = append(s.env, "GATEWAY_PORT=80")
	}
	for _, name := range []string{"home", "tmp", "sample"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return s, fmt.Errorf("make a folder: %w", err)
		}
	}
	prepare := `git clone --quiet "$0" "$1"
cd "$2"
git init --quiet --initial-branch=main
printf 'module sample\n\ngo 1.26\n' >go.mod
printf '// Package sample adds.\npackage sample\n\n// Add returns the sum of two numbers.\nfunc Add(a, b int) int { return a + b }\n' >sample.go
printf 'package sample\n\nimport "testing"\n\nfunc TestAdd(t *testing.T) {\n\tif Add(1, 2) != 3 {\n\t\tt.Fatal("1 and 2 are not 3")\n\t}\n}\n' >sample_test.go
git add --all
git -c user.name=seed -c user.email=seed@example.org commit --quiet --message "Add numbers"`
	cmd := exec.Command("bash", "-euc", prepare, source, s.clone, sample)
	cmd.Env = s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return s, fmt.Errorf("clone %s: %w: %s", source, err, out)
	}
	return s, nil
}

// close stops the services and removes the folders.
func (s *session) close() error {
	if _, err := os.Stat(filepath.Join(s.dir, "home", ".local", "share", "conclave", "serve.pid")); err == nil {
		if code, err := s.run(context.Background(), "make stop", time.Minute); err != nil || code != 0 {
			return fmt.Errorf("stop the services: code %d: %v: %s", code, err, s.last)
		}
	}
	return os.RemoveAll(s.dir)
}

// try runs a command as its kind asks, and tells what came of it.
func (s *session) try(ctx context.Context, c command, except []string) (outcome, string) {
	for _, target := range except {
		if target != "" && c.target() == target {
			return excepted, "a stage of its own in CI"
		}
	}
	if name, ok := strings.CutPrefix(c.text, "export "); ok {
		s.env = append(s.env, name)
		return pass, "holds for the commands after it"
	}
	for _, e := range exceptions() {
		if !e.of.MatchString(c.text) {
			continue
		}
		if code, err := s.run(ctx, e.instead, 10*time.Minute); err != nil || code != 0 {
			return fail, fmt.Sprintf("%s; instead %s ended with %d", e.reason, e.instead, code)
		}
		return excepted, e.reason + "; instead: " + e.instead
	}
	text, err := s.filled(ctx, c.text)
	if err != nil {
		return fail, err.Error()
	}
	if c.follows() {
		return s.follow(ctx, text)
	}
	code, err := s.run(ctx, text, 5*time.Minute)
	switch {
	case err != nil:
		return fail, err.Error()
	case code == 0:
		return pass, ""
	}
	for _, h := range honest() {
		if h.of.MatchString(c.text) && strings.Contains(s.last, h.says) {
			return pass, h.why
		}
	}
	return fail, fmt.Sprintf("it ended with %d", code)
}

// filled replaces the page's placeholders by what is there.
func (s *session) filled(ctx context.Context, text string) (string, error) {
	if !strings.Contains(text, "conv-123") {
		return text, nil
	}
	if code, err := s.run(ctx, `bin/conclave conversation --json | grep --max-count=1 '"conversation"' | cut -d '"' -f 4`, time.Minute); err != nil || code != 0 {
		return "", fmt.Errorf("there is no conversation to stand for conv-123: code %d: %v", code, err)
	}
	return strings.ReplaceAll(text, "conv-123", strings.TrimSpace(s.last)), nil
}

// run runs a command in the clone, and keeps what it printed.
func (s *session) run(ctx context.Context, text string, limit time.Duration) (code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := s.command(ctx, text)
	out, err := cmd.CombinedOutput()
	s.last = string(out)
	if ctx.Err() != nil {
		return -1, fmt.Errorf("it had not ended after %v", limit)
	}
	if cmd.ProcessState == nil {
		return -1, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// command is a process group in the clone, which ends with the context.
func (s *session) command(ctx context.Context, text string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = s.clone, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// follow runs a command that runs for ever: it must still run after a while, or
// say that what it would follow is not in use, and end when it is interrupted.
func (s *session) follow(ctx context.Context, text string) (outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, followFor)
	defer cancel()
	cmd := s.command(ctx, text)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	out, err := cmd.CombinedOutput()
	s.last = string(out)
	if ctx.Err() != nil {
		return pass, fmt.Sprintf("it ran for %v until it was interrupted", followFor)
	}
	for _, h := range honest() {
		if h.of.MatchString(text) && strings.Contains(s.last, h.says) {
			return pass, h.why
		}
	}
	return fail, fmt.Sprintf("it ended by itself: %v", err)
}

// followFor is how long a command that runs for ever is watched.
const followFor = 5 * time.Second
