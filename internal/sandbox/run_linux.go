package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"conclave"

	"golang.org/x/sys/unix"
)

const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A spec is what the supervisor is told, over the control pipe.
type spec struct {
	Mechanism mechanism
	UserNS    bool
	Probe     bool // set everything up, then exit without a command
	Args      []string
	Dir       string
	Env       []string
	Temp      string // the command's own temporary directory
	View      view
	Memory    int64
	Processes int
}

// A report is how it ended, as the supervisor says over the report pipe. It is
// empty when the supervisor was told to stop.
type report struct {
	// Failure says what kept the command from starting.
	Failure string `json:",omitempty"`
	// Missing says that the failure is a program that does not exist.
	Missing bool `json:",omitempty"`
	// Exit is the command's exit code.
	Exit *int `json:",omitempty"`
	// Limit is the limit that the command passed.
	Limit string `json:",omitempty"`
}

// probe chooses the first candidate that works.
func (s *Sandbox) probe(choice string) {
	var reasons []string
	for _, c := range candidates(choice) {
		s.candidate = c
		err := s.try()
		if err == nil {
			return
		}
		reasons = append(reasons, fmt.Sprintf("%s: %v", c.mechanism, err))
	}
	advice := map[string]string{
		"":                 fmt.Sprintf("; %[1]s=landlock or %[1]s=none allows less isolation", SwitchVariable),
		string(landlocked): fmt.Sprintf("; %s=none allows less isolation", SwitchVariable),
	}[choice]
	s.refusal = conclave.Errorf(conclave.ErrUnavailable, "no sandbox on this machine (%s)%s", strings.Join(reasons, "; "), advice)
}

// candidates lists what to try, the best first.
func candidates(choice string) []candidate {
	if choice != "" {
		return []candidate{{mechanism: mechanism(choice)}}
	}
	var list []candidate
	if program, err := exec.LookPath("bwrap"); err == nil {
		list = append(list, candidate{mechanism: bubblewrap, userns: true, program: program})
	}
	list = append(list, candidate{mechanism: namespaces, userns: true})
	if os.Geteuid() == 0 {
		list = append(list, candidate{mechanism: namespaces})
	}
	return list
}

// try sets a sandbox up and runs nothing in it.
func (s *Sandbox) try() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := Command{Args: []string{"probe"}, MemoryBytes: DefaultMemoryBytes, Processes: DefaultProcesses, OutputBytes: 4096, Timeout: 5 * time.Second}
	p, err := s.prepare(c)
	if err != nil {
		return err
	}
	defer p.close()
	p.spec.Probe = true
	r, err := s.launch(ctx, c, p)
	switch {
	case err != nil:
		return err
	case r.TimedOut:
		return conclave.Errorf(conclave.ErrUnavailable, "the sandbox did not come up in time")
	case r.ExitCode != 0:
		return conclave.Errorf(conclave.ErrUnavailable, "exit status %d: %s%s", r.ExitCode, r.Stderr, r.Stdout)
	}
	return nil
}

func (s *Sandbox) run(ctx context.Context, c Command) (Result, error) {
	p, err := s.prepare(c)
	if err != nil {
		return Result{}, err
	}
	defer p.close()
	return s.launch(ctx, c, p)
}

// A prepared command has its spec, and its temporary directory on the machine
// where the mechanism gives it none of its own.
type prepared struct {
	spec spec
	temp string
}

func (p prepared) close() {
	if p.temp != "" {
		// What the command made unreadable is left to the system's cleaner.
		_ = os.RemoveAll(p.temp)
	}
}

func (s *Sandbox) prepare(c Command) (prepared, error) {
	v, err := newView(c)
	if err != nil {
		return prepared{}, err
	}
	p := prepared{spec: spec{
		Mechanism: s.mechanism,
		UserNS:    s.userns,
		Args:      c.Args,
		Dir:       c.Dir,
		Temp:      "/tmp",
		View:      v,
		Memory:    c.MemoryBytes,
		Processes: c.Processes,
	}}
	if !s.mechanism.isolated() {
		if p.temp, err = os.MkdirTemp("", "sandbox-"); err != nil {
			return p, fmt.Errorf("making a temporary directory: %w", err)
		}
		p.spec.Temp = p.temp
	}
	if p.spec.Dir == "" {
		p.spec.Dir = p.spec.Temp
	}
	home := filepath.Join(p.spec.Temp, "home") // the supervisor makes it
	p.spec.Env = mergeEnv([]string{
		"PATH=" + systemPath,
		"HOME=" + home,
		"TMPDIR=" + p.spec.Temp,
		"LANG=C.UTF-8",
		"TERM=dumb",
	}, c.Env)
	return p, nil
}

// mergeEnv lets later entries replace earlier ones of the same name.
func mergeEnv(base, extra []string) []string {
	cmd := exec.Cmd{Env: append(base, extra...)}
	return cmd.Environ()
}

var errWallTime = errors.New("wall time is up")

// launch starts the supervisor and waits until it and all below it are gone.
func (s *Sandbox) launch(ctx context.Context, c Command, p prepared) (Result, error) {
	// PR_SET_PDEATHSIG follows the thread that forks, so it must live on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	controlR, controlW, err := os.Pipe()
	if err != nil {
		return Result{}, fmt.Errorf("making a pipe: %w", err)
	}
	defer controlW.Close()
	reportR, reportW, err := os.Pipe()
	if err != nil {
		controlR.Close()
		return Result{}, fmt.Errorf("making a pipe: %w", err)
	}
	defer reportR.Close()

	cmd, err := s.supervisor(p.spec)
	if err != nil {
		controlR.Close()
		reportW.Close()
		return Result{}, err
	}
	stdout, stderr := &output{limit: c.OutputBytes}, &output{limit: c.OutputBytes}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, stdout, stderr
	cmd.ExtraFiles = []*os.File{controlR, reportW} // 3 and 4
	cmd.WaitDelay = 5 * time.Second                // for Stdin readers that block

	begin := time.Now()
	err = cmd.Start()
	controlR.Close()
	reportW.Close()
	if err != nil {
		return Result{}, conclave.Errorf(conclave.ErrUnavailable, "starting the supervisor: %w", err)
	}

	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, errWallTime)
	defer cancel()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { s.kill(cmd.Process, controlW, ended) })
	sendErr := json.NewEncoder(controlW).Encode(p.spec)
	// The report stays empty when the supervisor is killed.
	var last report
	readErr := json.NewDecoder(reportR).Decode(&last)
	waitErr := cmd.Wait()
	close(ended)
	stop()

	r := Result{ExitCode: 128 + int(syscall.SIGKILL), Duration: time.Since(begin)}
	r.Stdout, r.StdoutCut = stdout.bytes()
	r.Stderr, r.StderrCut = stderr.bytes()
	err = s.conclude(ctx, &r, last, errors.Join(sendErr, readErr, waitErr))
	return r, err
}

// conclude turns the supervisor's report into a Result or an error.
func (s *Sandbox) conclude(ctx context.Context, r *Result, last report, problem error) error {
	switch {
	case last.Missing:
		return conclave.Errorf(conclave.ErrNotFound, "%s", last.Failure)
	case last.Failure != "":
		return conclave.Errorf(conclave.ErrUnavailable, "%s", last.Failure)
	case last.Limit != "" || last.Exit != nil:
		r.OutOfMemory = last.Limit == limitMemory
		r.TooManyProcesses = last.Limit == limitProcesses
		if last.Exit != nil {
			r.ExitCode = *last.Exit
		}
		return nil
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errWallTime):
		r.TimedOut = true
		return nil
	case cause != nil:
		return cause
	}
	return conclave.Errorf(conclave.ErrUnavailable, "the supervisor ended without a report: %s%w", r.Stderr, problem)
}

// supervisor makes the process that becomes the supervisor.
func (s *Sandbox) supervisor(p spec) (*exec.Cmd, error) {
	var cmd *exec.Cmd
	if s.mechanism == bubblewrap {
		self, err := os.Executable()
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrUnavailable, "finding the own program: %w", err)
		}
		cmd = exec.Command(s.program, bubblewrapArgs(self, p)...)
	} else {
		cmd = exec.Command("/proc/self/exe", childMarker)
	}
	cmd.Env = []string{}
	cmd.Dir = "/"
	attr := &syscall.SysProcAttr{Setsid: true}
	if s.mechanism.isolated() {
		attr.Pdeathsig = syscall.SIGKILL
	}
	if s.mechanism == namespaces {
		attr.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
		if s.userns {
			attr.Cloneflags |= unix.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
			// A user other than 0 loses its capabilities on exec without these.
			attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP}
		}
	}
	cmd.SysProcAttr = attr
	return cmd, nil
}

// killGrace is how long a supervisor may take to end what is below it.
const killGrace = 5 * time.Second

// kill ends the supervisor and all below it. Killing the supervisor of own
// namespaces does both. The others are asked first: bubblewrap waits for what is
// below it only when it ends by itself, and without a PID namespace only the
// supervisor can find everything.
func (s *Sandbox) kill(supervisor *os.Process, control io.Closer, ended <-chan struct{}) {
	if s.mechanism != namespaces {
		_ = supervisor.Signal(syscall.SIGCONT) // the command may have stopped it
		_ = control.Close()
		select {
		case <-ended:
			return
		case <-time.After(killGrace):
		}
	}
	_ = supervisor.Kill() // it may be gone already
}

// supervisorPath is where bubblewrap shows the own program.
const supervisorPath = "/.supervisor"

func bubblewrapArgs(self string, p spec) []string {
	size := strconv.FormatInt(p.Memory, 10)
	args := []string{
		"--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--hostname", "sandbox",
		"--size", size, "--perms", "1777", "--tmpfs", "/tmp", "--dir", "/etc",
	}
	for _, l := range p.View.Links {
		args = append(args, "--symlink", l.Text, l.Path)
	}
	for _, m := range p.View.Mounts {
		how := "--ro-bind"
		if m.Write {
			how = "--bind"
		}
		args = append(args, how, m.Source, m.Target)
	}
	return append(args,
		"--ro-bind", self, supervisorPath,
		"--proc", "/proc", "--remount-ro", "/proc",
		"--dev", "/dev", "--size", strconv.Itoa(sharedMemorySize), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev",
		"--remount-ro", "/",
		"--", supervisorPath, childMarker)
}
