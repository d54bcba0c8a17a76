package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// childMarker is the only argument of a supervisor. It is an argument and not a
// variable, because variables are inherited.
const childMarker = "conclave-sandbox-supervisor"

func isChild() bool { return len(os.Args) == 2 && os.Args[1] == childMarker }

// Child becomes the supervisor when this process was started as one, and never
// returns then. Otherwise it returns at once. It must be the first call in main,
// and in TestMain of tests that run commands.
func Child() {
	if isChild() {
		os.Exit(supervise())
	}
}

// supervise sets the sandbox up, runs the command and returns the exit code of
// the supervisor itself, which only tells a set-up that worked from one that
// did not.
func supervise() int {
	// Capabilities, the system call filter and no_new_privs belong to a thread:
	// the one that forks must be the one that dropped them.
	runtime.LockOSThread()
	last := oversee(os.NewFile(3, "control"))
	// Nobody reads it when Run's process is dead.
	_ = json.NewEncoder(os.NewFile(4, "report")).Encode(last)
	if last.Failure != "" {
		return 1
	}
	return 0
}

// oversee does what the control pipe says, and returns how it ended. When it
// returns, what the command left is dead, or dies with this process in a PID
// namespace.
func oversee(control io.Reader) report {
	// Whatever else started with the program's parent is open here too, perhaps
	// a directory outside the view.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return report{Failure: "closing files: " + err.Error()}
	}
	var p spec
	if err := json.NewDecoder(control).Decode(&p); err != nil {
		return report{Failure: "reading the spec: " + err.Error()}
	}
	// When memory runs out, the kernel should rather end the command than
	// anything else. Not every machine lets this be set, and it is no limit.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	if err := isolate(p); err != nil {
		return report{Failure: err.Error()}
	}
	if p.Probe {
		return report{Exit: new(int)}
	}
	pid, err := startCommand(p)
	if err != nil {
		return report{Failure: err.Error(), Missing: errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist)}
	}
	ends := make(chan report, 2)
	go func() {
		_, _ = io.Copy(io.Discard, control) // ends when Run says so, or dies
		ends <- report{}
	}()
	go func() { ends <- reap(pid, p.Memory) }()
	// Before its ABI 8, Landlock puts each thread in a domain of its own, and the
	// command in this one's: only this thread may look at it and kill it.
	last := watch(p, ends)
	if !p.Mechanism.isolated() {
		killTree(os.Getpid())
	}
	return last
}

// isolate turns this process into what the command may be.
func isolate(p spec) error {
	if p.Mechanism == namespaces {
		if err := enterView(p); err != nil {
			return err
		}
		if err := loopbackUp(); err != nil {
			return err
		}
		if err := unix.Sethostname([]byte("sandbox")); err != nil {
			return fmt.Errorf("setting the host name: %w", err)
		}
	}
	if !p.Mechanism.isolated() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("becoming the subreaper: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(p.Temp, "home"), 0o700); err != nil {
		return fmt.Errorf("making the home directory: %w", err)
	}
	return harden(p)
}

// startCommand starts the command from the calling thread.
func startCommand(p spec) (int, error) {
	if err := os.Chdir(p.Dir); err != nil {
		return 0, fmt.Errorf("entering the working directory: %w", err)
	}
	for _, kv := range p.Env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return 0, fmt.Errorf("setting PATH: %w", err)
			}
		}
	}
	program, err := exec.LookPath(p.Args[0])
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(program, p.Args, &syscall.ProcAttr{
		Dir:   p.Dir,
		Env:   p.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
}

// reap waits for every child, adopted ones too, until the command ends. A
// command that failed after it held more than memory passed the limit between
// two looks of the watch.
func reap(command int, memory int64) report {
	for {
		var status syscall.WaitStatus
		var usage syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, 0, &usage)
		if errors.Is(err, syscall.EINTR) || err == nil && pid != command {
			continue
		}
		if err != nil {
			return report{Failure: fmt.Sprintf("waiting for the command: %v", err)}
		}
		code := status.ExitStatus()
		if status.Signaled() {
			code = 128 + int(status.Signal())
		}
		last := report{Exit: &code}
		if code != 0 && usage.Maxrss<<10 > memory {
			last.Limit = limitMemory
		}
		return last
	}
}

// loopbackUp brings up lo, the only interface of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("naming the loopback interface: %w", err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	return nil
}
