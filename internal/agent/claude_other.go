//go:build !unix

package agent

import "os/exec"

// ownGroup leaves the command as it is: without process groups, the end of its
// context kills the command itself.
func ownGroup(*exec.Cmd) {}

func endGroup(*exec.Cmd) {}
