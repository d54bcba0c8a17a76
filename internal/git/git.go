// Package git runs the git program and turns its failures into errors.
//
// It reads the user's and the machine's git configuration, because that is
// where they say which repositories to trust and which files to ignore, and
// overrides what would run a program, ask a question or lose a commit: hooks,
// pagers, signing, file system monitors, automatic maintenance, external diffs.
// Objects and refs are flushed to disk before a command ends.
package git

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"conclave"
	"conclave/internal/telemetry"
)

// The oldest git with merge-tree --write-tree.
const (
	minMajor = 2
	minMinor = 38
)

// maxOutput bounds what is read of one command's output.
const maxOutput = 256 << 20

// overrides are set for every command, over every configuration file.
var overrides = [...]string{
	"core.hooksPath=/dev/null",
	"core.fsmonitor=false",
	"core.fsync=all",
	"core.fsyncMethod=fsync",
	"core.filesRefLockTimeout=5000",
	"core.packedRefsTimeout=5000",
	"core.pager=cat",
	"core.quotePath=false",
	"core.logAllRefUpdates=always",
	"color.ui=false",
	"commit.gpgSign=false",
	"log.showSignature=false",
	"gc.auto=0",
	"maintenance.auto=false",
	"submodule.recurse=false",
	"protocol.ext.allow=never",
	"i18n.commitEncoding=UTF-8",
	"i18n.logOutputEncoding=UTF-8",
	"advice.detachedHead=false",
}

// A command is one call of git.
type command struct {
	dir   string
	env   []string
	stdin string
	args  []string
	limit int // of the output; 0 for maxOutput
}

// A failure is a git command that exited with a status other than 0.
type failure struct {
	command string
	status  int
	message string
}

func (f *failure) Error() string {
	if f.message == "" {
		return fmt.Sprintf("git %s: exit status %d", f.command, f.status)
	}
	return fmt.Sprintf("git %s: %s", f.command, f.message)
}

// says tells whether git's message holds text. Messages are in English: run
// sets the locale.
func says(err error, text string) bool {
	var f *failure
	return errors.As(err, &f) && strings.Contains(f.message, text)
}

// exited tells whether git exited with the status.
func exited(err error, status int) bool {
	var f *failure
	return errors.As(err, &f) && f.status == status
}

// run runs git and returns what it wrote to its output. It fails with a
// *failure when git does (ErrUnavailable, too, when the disk is full), with ErrLimited when the output is too long, and with
// ctx's error when that ends first.
func (c command) run(ctx context.Context) (out []byte, err error) {
	ctx, end := telemetry.Span(ctx, "git "+c.args[0])
	defer func() { end(err) }()
	return c.execute(ctx)
}

func (c command) execute(ctx context.Context) ([]byte, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "git is not installed: %w", err)
	}
	args := []string{"--no-optional-locks", "--no-pager", "--literal-pathspecs"}
	for _, o := range overrides {
		args = append(args, "-c", o)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, program, append(args, c.args...)...)
	cmd.Dir = c.dir
	cmd.Env = append(environment(), c.env...)
	cmd.Stdin = strings.NewReader(c.stdin)
	limit := cmp.Or(c.limit, maxOutput)
	out := &limitedBuffer{limit: limit, full: func() {
		cancel(conclave.Errorf(conclave.ErrLimited, "its output is longer than %d bytes", limit))
	}}
	message := &limitedBuffer{limit: 16 << 10}
	cmd.Stdout, cmd.Stderr = out, message
	// Git removes its lock files when it is asked to end.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second

	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("git %s: %w", c.args[0], context.Cause(ctx))
	case errors.As(err, &exit):
		f := &failure{command: c.args[0], status: exit.ExitCode(), message: clean(message.kept.String())}
		if conclave.SaysDiskFull(f.message) {
			return out.kept.Bytes(), conclave.Errorf(conclave.ErrUnavailable, "%w", f)
		}
		return out.kept.Bytes(), f
	case errors.Is(err, os.ErrNotExist):
		return nil, conclave.Errorf(conclave.ErrNotFound, "git %s: %w", c.args[0], err)
	case err != nil:
		return nil, fmt.Errorf("git %s: %w", c.args[0], err)
	}
	return out.kept.Bytes(), nil
}

// passedOn are the variables that git gets of the parent's: what it needs to
// find the user's configuration, keys and network, and nothing that is a secret.
var passedOn = regexp.MustCompile(`^(PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TEMP|TMP|LANG|XDG_.*|SSH_AUTH_SOCK|GNUPGHOME|SSL_CERT_(FILE|DIR)|(?i:(https?|all|no)_proxy)|SYSTEMROOT)$`)

// environment is what git needs of the parent's, without what would make it ask.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); passedOn.MatchString(name) {
			env = append(env, kv)
		}
	}
	return append(env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "GIT_EDITOR=true", "GIT_ADVICE=0")
}

var credentials = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s]*@`)

// clean makes git's message fit for an error: no credentials, no prefix.
func clean(message string) string {
	message = credentials.ReplaceAllString(message, "${1}")
	message = strings.TrimSpace(strings.ToValidUTF8(message, "�"))
	for _, prefix := range []string{"fatal: ", "error: "} {
		message = strings.TrimPrefix(message, prefix)
	}
	return message
}

// A limitedBuffer keeps the first bytes and calls full, if set, for the rest. It
// does not embed its buffer, whose ReadFrom would pass the limit by.
type limitedBuffer struct {
	kept  bytes.Buffer
	limit int
	full  func()
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	room := b.limit - b.kept.Len()
	b.kept.Write(p[:min(room, len(p))])
	if len(p) > room && b.full != nil {
		b.full()
	}
	return len(p), nil
}

// Version returns the installed git's version, such as "2.39.5". It fails with
// ErrUnavailable when git is not installed, and with ErrUnsupported when it is
// too old.
func Version(ctx context.Context) (string, error) {
	out, err := command{args: []string{"version"}}.run(ctx)
	if err != nil {
		return "", err
	}
	return checkVersion(string(out))
}

func checkVersion(out string) (string, error) {
	fields := strings.Fields(out) // git version 2.39.5 (Apple Git-154)
	if len(fields) < 3 {
		return "", conclave.Errorf(conclave.ErrUnsupported, "git does not say its version: %q", out)
	}
	parts := strings.Split(fields[2], ".")
	if len(parts) < 2 {
		return "", conclave.Errorf(conclave.ErrUnsupported, "git does not say its version: %q", out)
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err := errors.Join(err1, err2); err != nil {
		return "", conclave.Errorf(conclave.ErrUnsupported, "git does not say its version: %q", out)
	}
	if major < minMajor || major == minMajor && minor < minMinor {
		return "", conclave.Errorf(conclave.ErrUnsupported, "git %s is too old: %d.%d or newer is needed", fields[2], minMajor, minMinor)
	}
	return fields[2], nil
}
