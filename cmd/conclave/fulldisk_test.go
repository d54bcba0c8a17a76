package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A run meets a full disk while its reviewers are asked. Once there is space
// again it goes on by itself, in the same process, and comes to its end.
func TestRunGoesOnAfterAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program")
	}
	if !canMount() {
		t.Skip("no file system can be mounted here")
	}
	bin := program(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	i := newInstallation(t)
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	i.env["CONCLAVE_HOME"] = filepath.Join(disk, "home")
	if err := os.Mkdir(i.env["CONCLAVE_HOME"], 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(workDir, "cache"), filepath.Join(i.env["CONCLAVE_HOME"], "cache")); err != nil {
		t.Fatal(err)
	}

	repo := newRepo(t, map[string]string{"README.md": "# Limits\n"})
	cmd := exec.CommandContext(ctx, bin, "run", "Create a library with a token bucket rate limiter that supports bursts", "--repo", repo)
	cmd.Env = i.environ(nil)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(disk, "fill")
	var said, logged strings.Builder
	filled, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		full, freed := filled, false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			logged.WriteString(lines.Text() + "\n")
			if full != nil {
				select {
				case <-full:
					full = nil
				default:
					continue
				}
			}
			if !freed && strings.Contains(lines.Text(), "step did not succeed") {
				freed = true
				if err := os.Remove(fill); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		select {
		case <-filled:
		default:
			if strings.Contains(lines.Text(), "→ reviewers") {
				if err := fillUp(fill); err != nil {
					t.Error(err)
				}
				close(filled)
			}
		}
	}
	<-read
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the run: %v\n%s\n%s", err, tail(said.String(), 4000), tail(logged.String(), 4000))
	}
	if !strings.Contains(logged.String(), "step did not succeed") {
		t.Errorf("the full disk was not met:\n%s", tail(logged.String(), 4000))
	}
	for _, step := range []string{"package", "examples", "ops"} {
		if n := strings.Count(said.String(), "◆ merged "+step); n != 1 {
			t.Errorf("%s was merged %d times:\n%s", step, n, tail(said.String(), 4000))
		}
	}
}

// fillUp writes until there is no space left.
func fillUp(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
