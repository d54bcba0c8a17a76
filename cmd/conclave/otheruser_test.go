package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whoever names another user's data directory is told so, by every command, and
// not that it is empty.
func TestAnotherUsersDataDirectory(t *testing.T) {
	dir, err := os.MkdirTemp(workDir, "shared-")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{workDir, dir} { // so that the other user can run the program
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	var as *syscall.SysProcAttr
	if os.Geteuid() == 0 {
		as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else if err := os.Chmod(home, 0); err != nil { // as good as another's
		t.Fatal(err)
	}
	for _, command := range []string{"agents", "status", "status gateway", "serve", "token", "token --role viewer --name x", "token list", "audit verify",
		"audit list", "backup backup.tgz", "doctor", "debug database", "mcp", "runs", "run x --repo ."} {
		cmd := exec.CommandContext(t.Context(), program(t), strings.Fields(command)...)
		var out, errs bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, &out, &errs, as
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "CONCLAVE_HOME=" + home, "CONCLAVE_PORTS=auto", "CONCLAVE_BRAIN=offline"}
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), home+" belongs to another user") {
			t.Errorf("%s: %v, %q %q", command, err, &out, &errs)
		}
	}
}
