package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/restwire"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The tests of this package run the real program: built once, each test with a
// data directory of its own, on free ports, without a model.

// built is one program made from this source.
type built struct {
	once sync.Once
	path string
	err  error
}

var (
	plainProgram built // as users have it
	killProgram  built // with the points at which it can be killed
	workDir      string
)

func TestMain(m *testing.M) {
	if path := os.Getenv(recorderSetting); path != "" {
		fmt.Fprintln(os.Stderr, record(path))
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "conclave-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// program returns the path of the program, which is built on the first call.
func program(t *testing.T) string {
	t.Helper()
	return plainProgram.get(t, "conclave")
}

// killable returns the path of the program that can be killed at a point.
func killable(t *testing.T) string {
	t.Helper()
	return killProgram.get(t, "conclave-killable", "-tags=killpoints")
}

func (b *built) get(t *testing.T, name string, flags ...string) string {
	t.Helper()
	b.once.Do(func() {
		b.path = filepath.Join(workDir, name)
		b.err = build(".", b.path, flags...)
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

// build builds the command in a folder of source.
func build(dir, path string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-buildvcs=false"}, flags...), "-o", path, ".")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// installation is a data directory with the environment of its processes. The
// compilers' caches are shared between the installations of a test run, because
// filling one takes longer than most tests.
type installation struct {
	t    *testing.T
	home string
	env  map[string]string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	cache := filepath.Join(workDir, "cache")
	for _, dir := range []string{home, cache} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(cache, filepath.Join(home, "cache")); err != nil {
		t.Fatal(err)
	}
	return &installation{t: t, home: home, env: map[string]string{
		"CONCLAVE_HOME": home, "CONCLAVE_PORTS": "auto", "CONCLAVE_BRAIN": "offline", "CONCLAVE_LOG": "info"}}
}

// environ is this process's environment with the installation's settings, and
// without anything that would reach another installation or a model.
func (i *installation) environ(more map[string]string) []string {
	all := maps.Clone(i.env)
	maps.Copy(all, more)
	var list []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "CONCLAVE_") && !strings.HasSuffix(name, "_API_KEY") && name != "DATABASE_URL" {
			list = append(list, e)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list
}

// conclave runs a command to its end and returns what it printed and its exit code.
func (i *installation) conclave(args ...string) (stdout, stderr string, code int) {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), program(i.t), args...)
	cmd.Env = i.environ(nil)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		i.t.Fatalf("conclave %s: %v", strings.Join(args, " "), err)
	} else if ok {
		code = exit.ExitCode()
	}
	return out.String(), errs.String(), code
}

// mustJSON runs a command that prints JSON and decodes it.
func (i *installation) mustJSON(into any, args ...string) {
	i.t.Helper()
	out, errs, code := i.conclave(append(args, "--json")...)
	if code != 0 {
		i.t.Fatalf("conclave %s: exit code %d\n%s", strings.Join(args, " "), code, errs)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		i.t.Fatalf("conclave %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// server is one running conclave serve.
type server struct {
	name  string
	cmd   *exec.Cmd
	log   *syncBuffer
	ready chan struct{} // closed once it has said that it is
	ended chan struct{} // closed once it is gone
}

// syncBuffer keeps what a process writes while others read it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start starts conclave serve with a program, more environment, and the named
// services, or all. It does not wait until it is ready. What still runs at the
// end of the test is stopped.
func (i *installation) start(program string, env map[string]string, services ...string) *server {
	i.t.Helper()
	s := &server{name: strings.Join(services, " "), cmd: exec.Command(program, append([]string{"serve"}, services...)...), log: &syncBuffer{},
		ready: make(chan struct{}), ended: make(chan struct{})}
	s.cmd.Env = i.environ(env)
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(out)
		said := false
		for lines.Scan() {
			fmt.Fprintln(s.log, lines.Text())
			if !said && strings.HasPrefix(lines.Text(), "ready after") {
				said = true
				close(s.ready)
			}
		}
		_ = s.cmd.Wait() // how it ended is read from ProcessState
	}()
	i.t.Cleanup(func() {
		s.kill()
		if i.t.Failed() {
			i.t.Logf("serve %s:\n%s", s.name, tail(s.log.String(), 6000))
		}
	})
	return s
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// serve starts conclave serve and waits until it is ready.
func (i *installation) serve(services ...string) *server {
	i.t.Helper()
	s := i.start(program(i.t), nil, services...)
	s.awaitReady(i.t)
	return s
}

const startLimit = 2 * time.Minute // a loaded machine; a start takes well under a second

func (s *server) awaitReady(t *testing.T) {
	t.Helper()
	select {
	case <-s.ready:
	case <-s.ended:
		t.Fatalf("conclave serve %s ended before it was ready:\n%s", s.name, s.log)
	case <-time.After(startLimit):
		t.Fatalf("conclave serve %s is not ready after %v:\n%s", s.name, startLimit, s.log)
	}
}

// kill ends the process without warning and waits until it is gone.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // fails when it has ended, which is as good
	<-s.ended
}

// stop asks the process to end and waits until it has.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatalf("stop conclave serve %s: %v", s.name, err)
	}
	select {
	case <-s.ended:
	case <-time.After(startLimit):
		t.Fatalf("conclave serve %s does not stop:\n%s", s.name, s.log)
	}
}

// client calls the running services through the gateway, as the local human.
func (i *installation) client() (*restwire.Client, error) {
	urls, err := app.ReadAddresses(i.home)
	if err != nil {
		return nil, err
	}
	token, err := app.ReadToken(i.home)
	if err != nil {
		return nil, err
	}
	base := urls[conclave.ServiceGateway]
	if base == "" {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "there is no gateway")
	}
	return restwire.Dial(restwire.DialOptions{Base: base, Prefix: "/api",
		Token: func(context.Context) (string, error) { return token, nil }}), nil
}

// runs is what conclave runs --json prints.
func (i *installation) runs() []conclave.Run {
	i.t.Helper()
	var list []conclave.Run
	i.mustJSON(&list, "runs")
	return list
}

// runGit runs git in a folder and returns what it printed.
func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// newRepo makes a repository with one commit of the given files.
func newRepo(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	runGit(t, dir, "init", "--quiet", "--initial-branch=main")
	runGit(t, dir, "config", "user.name", "Ada")
	runGit(t, dir, "config", "user.email", "ada@example.org")
	runGit(t, dir, "add", "--all")
	runGit(t, dir, "commit", "--quiet", "--allow-empty", "--message=Begin")
	return dir
}

// validReport reads a run's report, which must have the shape that is published.
func validReport(t *testing.T, path string) []byte {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = schema.Validate(doc)
	}
	if err != nil {
		t.Errorf("the report %s: %v", path, err)
	}
	return text
}
