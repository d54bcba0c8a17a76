package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// Limits for each process, besides those that a Command names.
const (
	maxFileSize  = 4 << 30
	maxOpenFiles = 4096
	// taskReserve is for the supervisor's own threads, so that the watch sees a
	// command pass its limit before the kernel refuses to start more tasks.
	taskReserve = 64
)

// harden gives up, for the calling thread and what it starts, all that a
// command must not have.
func harden(p spec) error {
	// A process that cannot be dumped cannot be traced: the command has this
	// process's user, and must not take over its other threads.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding traces: %w", err)
	}
	if err := setLimits(p); err != nil {
		return err
	}
	if err := restrictFiles(p); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	return filterSystemCalls()
}

func setLimits(p spec) error {
	type limit struct {
		name     string
		resource int
		value    uint64
	}
	limits := []limit{
		{"core size", unix.RLIMIT_CORE, 0},
		{"file size", unix.RLIMIT_FSIZE, maxFileSize},
		{"open files", unix.RLIMIT_NOFILE, maxOpenFiles},
		// The address space stays open: Go, Java and V8 reserve much more than
		// they use. The watch looks at what is resident; this catches a spike.
		{"data size", unix.RLIMIT_DATA, 2 * uint64(p.Memory)},
	}
	if p.UserNS {
		// Without a user namespace this would count the user's other processes.
		limits = append(limits, limit{"processes", unix.RLIMIT_NPROC, uint64(p.Processes + taskReserve)})
	}
	for _, l := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return fmt.Errorf("reading the limit on %s: %w", l.name, err)
		}
		value := min(l.value, now.Max)
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limiting %s: %w", l.name, err)
		}
	}
	return nil
}

// limitTasks bounds the PID namespace itself, which holds for root too. Before
// Linux 6.14 the file stands for the whole machine, and must not be touched.
func limitTasks(p spec) {
	var uts unix.Utsname
	if unix.Uname(&uts) != nil {
		return
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &major, &minor); err != nil {
		return
	}
	if major < 6 || major == 6 && minor < 14 {
		return
	}
	const least = 301 // the kernel takes no less
	// The watch enforces the limit; this only slows a burst down.
	_ = os.WriteFile("/proc/sys/kernel/pid_max", []byte(strconv.Itoa(max(least, p.Processes+taskReserve))), 0)
}

// restrictFiles applies Landlock. In namespaces it is a second wall, and as
// strong as the kernel has it; on its own it must be there.
func restrictFiles(p spec) error {
	if p.Mechanism == unisolated {
		return nil
	}
	// In namespaces, all that can be seen may be read.
	read, write := []string{"/"}, []string{p.Temp, "/dev/shm"}
	if p.Mechanism == landlocked {
		read = []string{"/proc", "/dev"}
	}
	for _, m := range p.View.Mounts {
		switch {
		case m.Write:
			write = append(write, m.Target)
		case p.Mechanism == landlocked:
			read = append(read, m.Target)
		}
	}
	rules := []landlock.Rule{landlock.RWFiles("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")}
	for _, path := range read {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("looking at %s: %w", path, err)
		}
		if info.IsDir() {
			rules = append(rules, landlock.RODirs(path))
		} else {
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	rules = append(rules, landlock.RWDirs(write...).WithRefer())
	// The third version is the first that guards truncation.
	config := landlock.MustConfig(landlock.V3.HandledAccessFS)
	if p.Mechanism != landlocked {
		config = config.BestEffort()
	}
	if err := config.RestrictPaths(rules...); err != nil {
		return fmt.Errorf("restricting files by Landlock: %w", err)
	}
	if err := landlock.V6.BestEffort().RestrictScoped(); err != nil {
		return fmt.Errorf("restricting signals by Landlock: %w", err)
	}
	return nil
}

// dropCapabilities empties every set of the calling thread, so that no program
// it starts gets any, not even as root.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clearing ambient capabilities: %w", err)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		// A kernel that does not know c says EINVAL; a user without CAP_SETPCAP
		// has an empty permitted set, and no_new_privs keeps it so.
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	return nil
}

// filterSystemCalls installs a seccomp filter on the calling thread.
func filterSystemCalls() error {
	program, err := systemCallFilter()
	if err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(program)
	if err != nil {
		return fmt.Errorf("filtering system calls: %w", err)
	}
	return nil
}
