package sandbox

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"conclave"
)

// Limits of a [Command] that sets none.
const (
	DefaultTimeout     = 2 * time.Minute
	DefaultMemoryBytes = 4 << 30
	DefaultProcesses   = 512
	DefaultOutputBytes = 1 << 20
)

// SwitchVariable is the environment variable that an operator sets to allow
// less than full isolation. The application hands its value to
// [Options.Switch]; this package does not read it.
const SwitchVariable = "CONCLAVE_SANDBOX"

// Options for [New]. The zero value demands full isolation and logs nothing.
type Options struct {
	// Logger gets the outcome of the probe. Nil: nothing is logged.
	Logger *slog.Logger
	// Switch chooses the mechanism:
	//   - "": bubblewrap or own namespaces; without them Run refuses;
	//   - "landlock": files and limits only, the network and the sockets of
	//     other programs stay open;
	//   - "none": limits and a clean environment only.
	Switch string
	// Watch is told of each command before it runs, by its program, and calls
	// what it returns when it has ended. Nil: nobody watches.
	Watch func(ctx context.Context, program string) (ended func(Result, error))
}

func (o Options) validate() error {
	switch o.Switch {
	case "", string(landlocked), string(unisolated):
		return nil
	}
	return conclave.Errorf(conclave.ErrInvalid, "%s=%q: want landlock, none, or nothing", SwitchVariable, o.Switch)
}

// A mechanism is how commands are isolated.
type mechanism string

const (
	bubblewrap mechanism = "bubblewrap"
	namespaces mechanism = "namespaces"
	landlocked mechanism = "landlock"
	unisolated mechanism = "none"
)

// isolated says whether the command has namespaces of its own.
func (m mechanism) isolated() bool { return m == bubblewrap || m == namespaces }

// A candidate is a mechanism as this machine may have it.
type candidate struct {
	mechanism mechanism
	userns    bool   // with a user namespace of its own
	program   string // bubblewrap's path
}

// Sandbox runs commands in isolation. It is safe for concurrent use.
type Sandbox struct {
	candidate
	log     *slog.Logger
	watch   func(ctx context.Context, program string) func(Result, error)
	refusal error // why Run refuses; nil when it does not
}

// New finds out, once, which mechanism works here. When none does, New still
// succeeds, and every Run fails with ErrUnavailable and the reason. It fails
// with ErrInvalid for an unknown switch, and with ErrInternal when main does
// not call [Child].
func New(o Options) (*Sandbox, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if isChild() {
		return nil, conclave.Errorf(conclave.ErrInternal, "main must call sandbox.Child before anything else")
	}
	s := &Sandbox{log: o.Logger, watch: o.Watch}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.probe(o.Switch)
	if s.refusal != nil {
		s.log.Warn("no sandbox", "reason", s.refusal)
	} else {
		s.log.Debug("sandbox ready", "mechanism", s.mechanism)
	}
	return s, nil
}

// Describe says in one line which mechanism is in use and what it enforces.
func (s *Sandbox) Describe() string {
	const limits = "limits on time, memory, processes and output, clean environment"
	switch {
	case s.refusal != nil:
		return "unavailable: " + s.refusal.Error()
	case s.mechanism.isolated():
		return string(s.mechanism) + ": no network but loopback, own file view, own processes, no capabilities, " + limits
	case s.mechanism == landlocked:
		return "landlock (reduced): own file view, " + limits + "; the network is open, other processes are visible"
	}
	return "none (reduced): " + limits + "; files, network and other processes are open"
}

// Command is what [Sandbox.Run] runs. Paths are absolute. System directories
// such as /usr are always readable; the user's home is not.
type Command struct {
	// Args is the program and its arguments. The program is looked up in the
	// PATH of the sandbox, or in Dir when it has a slash.
	Args []string
	// Dir is the working directory, writable unless ReadOnlyDir. Empty: the
	// sandbox's own temporary directory.
	Dir string
	// Env is added to the sandbox's own variables, as KEY=VALUE, and replaces
	// them. The parent's environment is not passed on.
	Env []string
	// Write lists more directories to write to, Read more to read.
	Write, Read []string
	ReadOnlyDir bool
	// Stdin is the command's input. Nil: empty.
	Stdin io.Reader
	// Timeout bounds the wall time. Zero: DefaultTimeout.
	Timeout time.Duration
	// MemoryBytes bounds the resident memory of all processes and of the files
	// in /tmp together. It is looked at several times a second, so a spike may
	// pass it; one process's data may not pass twice the limit at any time.
	// Zero: DefaultMemoryBytes.
	MemoryBytes int64
	// Processes bounds the number of processes and threads. Zero: DefaultProcesses.
	Processes int
	// OutputBytes bounds what is kept of each stream. Zero: DefaultOutputBytes.
	OutputBytes int
}

// Result is how a command ended.
type Result struct {
	// ExitCode is 128+N when signal N ended the command.
	ExitCode int
	// Stdout and Stderr hold the head and the tail of a long stream, with a
	// line between them that says how much was cut.
	Stdout, Stderr []byte
	// StdoutCut and StderrCut count the bytes that were cut.
	StdoutCut, StderrCut int64
	// TimedOut, OutOfMemory, TooManyProcesses say which limit it passed.
	TimedOut, OutOfMemory, TooManyProcesses bool
	Duration                                time.Duration
}

// Run runs c to its end. A command that fails or passes a limit is a Result,
// not an error. Run fails with ErrUnavailable when there is no mechanism,
// ErrInvalid for a bad Command, ErrNotFound when the program or a directory
// does not exist, and ctx's own error when ctx ends first. When Run returns,
// every process of the command is dead.
func (s *Sandbox) Run(ctx context.Context, c Command) (Result, error) {
	if s.refusal != nil {
		return Result{}, s.refusal
	}
	c, err := c.complete()
	if err != nil {
		return Result{}, err
	}
	ended := func(Result, error) {}
	if s.watch != nil {
		ended = s.watch(ctx, filepath.Base(c.Args[0]))
	}
	r, err := s.run(ctx, c)
	ended(r, err)
	if err != nil {
		return r, fmt.Errorf("running %s in the sandbox: %w", c.Args[0], err)
	}
	return r, nil
}

// complete checks c and fills in what it leaves out.
func (c Command) complete() (Command, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return c, conclave.Errorf(conclave.ErrInvalid, "sandbox: no command to run")
	}
	if c.Timeout < 0 || c.MemoryBytes < 0 || c.Processes < 0 || c.OutputBytes < 0 {
		return c, conclave.Errorf(conclave.ErrInvalid, "sandbox: a limit of %s is negative", c.Args[0])
	}
	for _, s := range append(append([]string{}, c.Args...), c.Env...) {
		if strings.ContainsRune(s, 0) {
			return c, conclave.Errorf(conclave.ErrInvalid, "sandbox: argument or variable %q holds a NUL", s)
		}
	}
	for _, kv := range c.Env {
		if k, _, ok := strings.Cut(kv, "="); !ok || k == "" {
			return c, conclave.Errorf(conclave.ErrInvalid, "sandbox: environment entry %q: want KEY=VALUE", k)
		}
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = DefaultMemoryBytes
	}
	if c.Processes == 0 {
		c.Processes = DefaultProcesses
	}
	if c.OutputBytes == 0 {
		c.OutputBytes = DefaultOutputBytes
	}
	return c, c.checkDirs()
}

// checkDirs makes sure that the named directories exist and that none covers a
// directory which the sandbox provides itself.
func (c Command) checkDirs() error {
	dirs := append(append([]string{}, c.Write...), c.Read...)
	if c.Dir != "" {
		dirs = append(dirs, c.Dir)
	}
	for _, d := range dirs {
		if !filepath.IsAbs(d) || filepath.Clean(d) != d {
			return conclave.Errorf(conclave.ErrInvalid, "sandbox: directory %q: want a clean absolute path", d)
		}
		switch d {
		case "/", "/tmp", "/dev", "/proc", "/sys", "/etc":
			return conclave.Errorf(conclave.ErrInvalid, "sandbox: directory %s cannot be shared with a command", d)
		}
		info, err := os.Stat(d)
		if err != nil {
			return conclave.Errorf(conclave.ErrNotFound, "sandbox: directory: %w", err)
		}
		if !info.IsDir() {
			return conclave.Errorf(conclave.ErrInvalid, "sandbox: %s is not a directory", d)
		}
	}
	return nil
}
