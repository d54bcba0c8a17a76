//go:build killpoints

// Package killpoint names the points at which a test build can be killed: just
// before and just after each commit, ref update, send and acknowledgement.
package killpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var passed atomic.Int64

// At kills the process without warning when CONCLAVE_TEST_KILL is "NAME:N" and
// the point is passed for the Nth time, or stops it, to be continued, when
// CONCLAVE_TEST_KILL_SIGNAL is STOP. With CONCLAVE_TEST_KILL_LOG it appends
// the name of each point that is passed to that file, so that a test knows what
// there is.
func At(name string) {
	if path := os.Getenv("CONCLAVE_TEST_KILL_LOG"); path != "" {
		if f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, name)
			f.Close()
		}
	}
	want, count, ok := strings.Cut(os.Getenv("CONCLAVE_TEST_KILL"), ":")
	if !ok || want != name {
		return
	}
	if n, err := strconv.ParseInt(count, 10, 64); err != nil || passed.Add(1) != n {
		return
	}
	if os.Getenv("CONCLAVE_TEST_KILL_SIGNAL") == "STOP" {
		syscall.Kill(os.Getpid(), syscall.SIGSTOP) // and go on at SIGCONT
		return
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more happens here
}
