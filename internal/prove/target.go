package prove

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"conclave"
)

// Targets says where the Makefile is, and on which data directory it is to work.
type Targets struct {
	Dir  string // the repository's root
	Home string // data directory of the services
	All  bool   // those too that take minutes
}

// target is how one make target is proved.
type target struct {
	name string
	by   string
	long string // why it is left out unless all are wanted; empty when it is not
	run  func(ctx context.Context, s *stage) error
}

// stage is where a target is played: beside the services, or, for what starts
// and stops them, on a data directory of its own.
type stage struct {
	scene
	home string
}

// targetLine is a target that `make help` lists.
var targetLine = regexp.MustCompile(`(?m)^([a-z0-9][a-z0-9-]*):.*## `)

func (t *Targets) tasks(p *prover) ([]*task, error) {
	text, err := os.ReadFile(filepath.Join(t.Dir, "Makefile"))
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrNotFound, "read the Makefile whose targets are to be proved: %w", err)
	}
	known := map[string]target{}
	for _, x := range targets() {
		known[x.name] = x
	}
	var list []*task
	for _, m := range targetLine.FindAllStringSubmatch(string(text), -1) {
		one := &task{result: Result{What: m[1], Face: "make"}, alone: true}
		x, ok := known[m[1]]
		switch {
		case !ok:
			one.do = func(context.Context) error { return errors.New("nothing proves this target yet") }
		case x.long != "" && !t.All:
			one.result.CheckedBy = x.by
			one.do = func(context.Context) error { return errSkip{x.long} }
		default:
			one.result.CheckedBy = x.by
			one.do = func(ctx context.Context) error { return p.stage(ctx, x) }
		}
		list = append(list, one)
	}
	return list, nil
}

func (p *prover) stage(ctx context.Context, x target) error {
	name := conclave.NewID("prove")
	peer, err := startPeer(name, p.dir)
	if err != nil {
		return err
	}
	defer peer.Close()
	err = x.run(ctx, &stage{scene: scene{prover: p, name: name, peer: peer}, home: p.Targets.Home})
	return errors.Join(err, p.tidy(ctx, name))
}

// printed is what a target printed and how it ended.
type printed struct {
	out  string
	code int
}

// make runs a target with variables. It fails only when make could not be run.
func (s *stage) make(ctx context.Context, args ...string) (printed, error) {
	cmd := s.command(ctx, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return printed{}, fmt.Errorf("make %s: %w", strings.Join(args, " "), err)
	}
	return printed{out.String(), cmd.ProcessState.ExitCode()}, nil
}

func (s *stage) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "make", append([]string{"--no-print-directory", "-C", s.Targets.Dir}, args...)...)
	cmd.Env = append(os.Environ(), "CONCLAVE_HOME="+s.home, "CONCLAVE_PORTS=auto", "CONCLAVE_BRAIN=offline")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) } // make and what it started
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// works runs a target that must end with one of the codes, and returns what it
// printed.
func (s *stage) works(ctx context.Context, codes []int, args ...string) (string, error) {
	m, err := s.make(ctx, args...)
	if err == nil && !slices.Contains(codes, m.code) {
		err = fmt.Errorf("make %s ended with %d: %s", strings.Join(args, " "), m.code, last(m.out))
	}
	return m.out, err
}

// last is the end of what was printed.
func last(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " / ")
}

// says reports what of some texts was not printed.
func says(out string, texts ...string) error {
	for _, text := range texts {
		if text == "" || !strings.Contains(out, text) {
			return fmt.Errorf("%q was not printed; the end of what was: %s", text, last(out))
		}
	}
	return nil
}

// apart gives the stage a data directory of its own, and stops what was started
// in it when the target is done with.
func (s *stage) apart(ctx context.Context, f func() error) error {
	s.home = filepath.Join(s.dir, s.name+"-home")
	err := f()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if _, there := os.Stat(filepath.Join(s.home, "serve.pid")); there == nil {
		_, stopped := s.works(stop, []int{0}, "stop")
		err = errors.Join(err, stopped)
	}
	return err
}

// answers reports whether the services of the stage's data directory are ready,
// asked over HTTP.
func (s *stage) answers(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(s.home, "services.json"))
	if err != nil {
		return fmt.Errorf("the services left no addresses: %w", err)
	}
	var urls map[conclave.Service]string
	if err := json.Unmarshal(text, &urls); err != nil {
		return err
	}
	for service, url := range urls {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := s.client().Do(req)
		if err != nil {
			return fmt.Errorf("%s does not answer: %w", service, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", service, resp.Status)
		}
	}
	return same("how many services answer", len(urls), len(conclave.AllServices()))
}
