package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// filesystem names the type of the filesystem that a folder is on.
func filesystem(dir string) string {
	text, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "an unknown filesystem"
	}
	kind, longest := "an unknown filesystem", -1
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < longest {
			continue
		}
		if rel, err := filepath.Rel(f[1], dir); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			kind, longest = f[2], len(f[1])
		}
	}
	return kind
}

// memory is a field of /proc/PID/status in bytes, such as VmRSS.
func memory(pid int, field string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == field+":" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, field)
}

// cpu is the processor time that a process has used.
func cpu(pid int) (time.Duration, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, i := range []int{11, 12} { // utime and stime, counted after the name
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100 on all that Go runs on
}

// stat are the fields of /proc/PID/stat after the process's name.
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 15 {
		return nil, fmt.Errorf("process %d has a stat of %d fields", pid, len(f))
	}
	return f, nil
}

// children are the processes that a process has started, with their names.
func children(pid int) map[int]string {
	found := map[int]string{}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is good
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // that thread has ended
		}
		for _, f := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(f)
			if err != nil {
				continue
			}
			if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child)); err == nil {
				found[child] = strings.TrimSpace(string(name))
			}
		}
	}
	return found
}

// treeMemory is the resident memory of a process and all below it; pages that
// they share are counted once for each.
func treeMemory(pid int) int64 {
	sum, err := memory(pid, "VmRSS")
	if err != nil {
		return 0 // it has ended
	}
	for child := range children(pid) {
		sum += treeMemory(child)
	}
	return sum
}

// watched is what a look at a process every few milliseconds has shown.
type watched struct {
	sandboxed time.Duration // at least one child other than git ran
	git       time.Duration // git ran, and nothing else
	peak      int64         // most memory of the whole tree
}

// watch looks at a process until ctx ends.
func watch(ctx context.Context, pid int, every time.Duration, sizes bool) watched {
	var w watched
	t := time.NewTicker(every)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return w
		case <-t.C:
		}
		git, other := false, false
		for _, name := range children(pid) {
			if name == "git" {
				git = true
			} else {
				other = true
			}
		}
		now := time.Now()
		switch {
		case other:
			w.sandboxed += now.Sub(last)
		case git:
			w.git += now.Sub(last)
		}
		last = now
		if sizes {
			w.peak = max(w.peak, treeMemory(pid))
		}
	}
}
