package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The limits that the watch enforces, as the report names them.
const (
	limitMemory    = "memory"
	limitProcesses = "processes"
)

// The time between two looks. A look that takes long, on a machine with many
// processes, makes the next one wait longer.
const (
	minWatchInterval = 20 * time.Millisecond
	maxWatchInterval = 200 * time.Millisecond
)

// A process is what /proc says of one.
type process struct {
	pid, parent int
	dir         string // what /proc says of its memory
	threads     int
	resident    int64 // bytes, shared pages included
	zombie      bool  // nothing is left of it but its exit code
}

// watch waits until something ends, or the command and its descendants pass a
// limit.
func watch(p spec, ends <-chan report) report {
	timer := time.NewTimer(minWatchInterval)
	for {
		select {
		case last := <-ends:
			return last
		case <-timer.C:
		}
		begin := time.Now()
		if limit := passed(p); limit != "" {
			return report{Limit: limit}
		}
		timer.Reset(min(max(minWatchInterval, 20*time.Since(begin)), maxWatchInterval))
	}
}

// passed returns the limit that is passed now, or "".
func passed(p spec) string {
	below := descendants(os.Getpid())
	var tasks int
	var memory int64
	for _, one := range below {
		tasks += one.threads
		memory += one.resident
	}
	if tasks > p.Processes {
		return limitProcesses
	}
	files := temporaryFiles(p)
	if memory+files <= p.Memory {
		return ""
	}
	// Processes share pages. Their exact shares are dear to count, so only now.
	memory = files
	for _, one := range below {
		memory += share(one)
	}
	if memory > p.Memory {
		return limitMemory
	}
	return ""
}

// temporaryFiles is the size of the files that are kept in memory.
func temporaryFiles(p spec) int64 {
	if !p.Mechanism.isolated() {
		return 0
	}
	var size int64
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil {
			size += int64(fs.Blocks-fs.Bfree) * fs.Bsize
		}
	}
	return size
}

// share is a process's part of the memory it maps. It falls back to the whole
// when the kernel does not say.
func share(one process) int64 {
	text, err := os.ReadFile(one.dir + "/smaps_rollup")
	if err != nil {
		return one.resident
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return one.resident
}

// descendants returns the processes below root.
func descendants(root int) []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	children := map[int][]process{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if one, ok := readProcess(pid); ok {
				children[one.parent] = append(children[one.parent], one)
			}
		}
	}
	below := children[root]
	for i := 0; i < len(below); i++ {
		below = append(below, children[below[i].pid]...)
	}
	return below
}

// readProcess is false for a process that is gone.
func readProcess(pid int) (process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	one, ok := readStat(dir)
	if !ok || !one.zombie || one.threads <= 1 {
		return one, ok
	}
	// Its first thread has ended and the others go on, with its memory and its
	// files. Only they say how much memory.
	threads, err := os.ReadDir(dir + "/task")
	if err != nil {
		return process{}, false
	}
	for _, t := range threads {
		if thread, ok := readStat(dir + "/task/" + t.Name()); ok && !thread.zombie {
			thread.pid = pid
			return thread, true
		}
	}
	one.zombie = false // its threads are just ending, and may still hold files
	return one, true
}

// readStat reads the file stat of a process or a thread.
func readStat(dir string) (process, bool) {
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, false
	}
	// The second field is the program's name in parentheses, and may hold any
	// character. The fields are numbered from 1 in proc(5).
	_, rest, ok := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 22 {
		return process{}, false
	}
	number := func(field int) int {
		n, _ := strconv.Atoi(fields[field-3]) // the kernel writes numbers
		return n
	}
	pid, _ := strconv.Atoi(filepath.Base(dir))
	return process{
		pid:      pid,
		parent:   number(4),
		dir:      dir,
		threads:  number(20),
		resident: int64(number(24)) * int64(os.Getpagesize()),
		zombie:   fields[0] == "Z",
	}, true
}

// killTree kills every process below root. It stops them first, so that none
// gets to start another, and looks again until it finds none alive. It gives up
// on what the kernel keeps for too long.
func killTree(root int) {
	for deadline := time.Now().Add(killGrace); time.Now().Before(deadline); {
		stopped := map[int]bool{}
		for fresh := true; fresh; {
			fresh = false
			for _, one := range descendants(root) {
				if !one.zombie && !stopped[one.pid] {
					stopped[one.pid], fresh = true, true
					_ = unix.Kill(one.pid, unix.SIGSTOP) // it may be gone already
				}
			}
		}
		if len(stopped) == 0 {
			return
		}
		for pid := range stopped {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
