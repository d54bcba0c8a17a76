package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

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

// stage is where a target is played: its own folder beside the services.
type stage struct {
	*prover
	name string
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
			one.do = func(ctx context.Context) error { return x.run(ctx, &stage{p, conclave.NewID("prove")}) }
		}
		list = append(list, one)
	}
	return list, nil
}

// made is what a target printed and how it ended.
type made struct {
	out  string
	code int
}

// make runs a target with variables. It fails only when make could not be run.
func (s *stage) make(ctx context.Context, args ...string) (made, error) {
	cmd := exec.CommandContext(ctx, "make", append([]string{"--no-print-directory", "-C", s.Targets.Dir}, args...)...)
	cmd.Env = append(os.Environ(), "CONCLAVE_HOME="+s.Targets.Home, "CONCLAVE_PORTS=auto")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) } // make and what it started
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return made{}, fmt.Errorf("make %s: %w", strings.Join(args, " "), err)
	}
	return made{out.String(), cmd.ProcessState.ExitCode()}, nil
}

func targets() []target { return nil }
