//go:build unix

package agent

import (
	"os/exec"
	"syscall"
)

// ownGroup gives a command a process group of its own, which is asked to end
// with the command's context.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

// endGroup kills what is left of the group once the command has ended.
func endGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		// There is usually nobody left.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}
