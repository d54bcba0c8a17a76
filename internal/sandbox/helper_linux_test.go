package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"conclave"

	"golang.org/x/sys/unix"
)

// helpers are what the test binary does when it is run as a command, so that
// the tests need no compiler and no tools.
func helpers() map[string]func(args []string) error {
	return map[string]func([]string) error{
		"hog":      hog,
		"spin":     func([]string) error { return hang() },
		"flood":    flood,
		"network":  tryNetwork,
		"bomb":     bomb,
		"many":     many,
		"daemon":   daemon,
		"headless": headless,
		"hold":     hold,
		"calls":    tryCalls,
		"refuse":   refuse,
		"run":      runAsParent,
	}
}

func runHelper() {
	if len(os.Args) < 3 || os.Args[1] != "helper" {
		return
	}
	if err := helpers()[os.Args[2]](os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helper returns a command that runs the helper in the sandbox.
func helper(name string, args ...string) Command {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Command{Args: append([]string{self, "helper", name}, args...), Read: []string{filepath.Dir(self)}}
}

// hog fills so many mebibytes of memory, and keeps them for ever.
func hog(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var all [][]byte
	for len(all) < n {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(i)
		}
		all = append(all, block)
	}
	err = hang()
	runtime.KeepAlive(all)
	return err
}

// flood writes so many mebibytes, with a mark at either end.
func flood(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprint(w, "HEAD")
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = 'x'
	}
	for range n {
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	fmt.Fprint(w, "TAIL")
	return w.Flush()
}

// tryNetwork says what can be reached: itself, the address of a listener
// outside, and an address elsewhere.
func tryNetwork(args []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	said, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	fmt.Printf("itself: %s\n", said)
	for _, address := range append(args, "192.0.2.1:80", "[2001:db8::1]:80") {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			fmt.Printf("reached %s\n", address)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		if i.Name != "lo" && i.Flags&net.FlagUp != 0 {
			fmt.Printf("interface %s\n", i.Name)
		}
	}
	return nil
}

// bomb starts two of itself, and so on.
func bomb([]string) error {
	for {
		cmd := exec.Command(os.Args[0], "helper", "bomb")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_ = cmd.Start() // it fails once a limit is reached, and then tries again
	}
}

// many starts so many processes, and waits for ever.
func many(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for range n {
		if err := exec.Command("sleep", "1000").Start(); err != nil {
			return err
		}
	}
	return hang()
}

// daemon leaves a grandchild behind that holds a lock on the file args[0], in a
// session of its own, and has closed its streams. It returns once the lock is
// held. The grandchild is run by the helpers args[1:].
func daemon(args []string) error {
	command := append([]string{"-c", `"$0" helper "$@" & `, os.Args[0]}, args[1:]...)
	cmd := exec.Command("sh", append(command, "hold", args[0])...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	ready, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Run(); err != nil {
		return err
	}
	w.Close()
	_, err = ready.Read(make([]byte, 1))
	return err
}

// headless ends the process's first thread and runs the helper in another. The
// kernel calls such a process a zombie.
func headless(args []string) error {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		return unix.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	go func() {
		if err := helpers()[args[0]](args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}()
	_, _, errno := unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	return errno // the thread did not end
}

// hold locks the file for ever, and says so on file descriptor 3, if it is open.
func hold(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	_, _ = unix.Write(3, []byte("!"))
	return hang()
}

// tryCalls says which forbidden system calls and files worked.
func tryCalls([]string) error {
	for name, try := range map[string]func() error{
		"vsock":           func() error { _, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0); return err },
		"raw socket":      func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP); return err },
		"packet socket":   func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err },
		"user namespace":  func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"mount namespace": func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		"mount":           func() error { return unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "") },
		"chroot":          func() error { return unix.Chroot("/tmp") },
		"memfd":           func() error { _, err := unix.MemfdCreate("x", 0); return err },
		"clone into namespace": func() error {
			return (&exec.Cmd{Path: "/bin/true", SysProcAttr: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}}).Run()
		},
		"trace of the supervisor": func() error { return unix.PtraceAttach(os.Getppid()) },
		"memory of the supervisor": func() error {
			_, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", os.Getppid()))
			return err
		},
		"core pattern": func() error { return os.WriteFile("/proc/sys/kernel/core_pattern", []byte("core"), 0) },
		"host name":    func() error { return unix.Sethostname([]byte("x")) },
		"setuid":       func() error { return syscall.Setuid(12345) },
	} {
		if err := try(); err == nil {
			fmt.Println(name)
		}
	}
	return nil
}

// refuse runs a command where no mechanism works.
func refuse([]string) error {
	s, err := New(Options{})
	if err != nil {
		return err
	}
	fmt.Println(s.Describe())
	_, err = s.Run(context.Background(), Command{Args: []string{"true"}})
	fmt.Println(errors.Is(err, conclave.ErrUnavailable), err)
	return nil
}

// runAsParent runs a command in a sandbox of its own: the switch, the directory
// to write to, and the command.
func runAsParent(args []string) error {
	s, err := New(Options{Switch: args[0]})
	if err != nil {
		return err
	}
	c := Command{Args: args[2:], Dir: args[1], Read: []string{filepath.Dir(os.Args[0])}}
	r, err := s.Run(context.Background(), c)
	fmt.Printf("%s\nexit %d\n%s%s", s.mechanism, r.ExitCode, r.Stdout, r.Stderr)
	return err
}

// hang does nothing until it is killed. A program without cgo that just blocks
// is ended by Go's detector of deadlocks, so a timer has to be there.
func hang() error {
	for {
		time.Sleep(time.Hour)
	}
}
