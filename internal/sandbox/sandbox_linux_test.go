package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"conclave"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Child()
	runHelper()
	os.Exit(m.Run())
}

// each runs test once for each mechanism that could be in use, reduced ones
// too, and skips what this machine refuses.
func each(t *testing.T, test func(*testing.T, *Sandbox)) {
	isolated(t, test)
	for _, choice := range []string{"landlock", "none"} {
		t.Run(choice, func(t *testing.T) {
			s, err := New(Options{Switch: choice})
			if err != nil {
				t.Fatal(err)
			}
			if s.refusal != nil {
				refused(t, s.refusal)
			}
			test(t, s)
		})
	}
}

// isolated does the same for the mechanisms that isolate fully.
func isolated(t *testing.T, test func(*testing.T, *Sandbox)) {
	candidates := map[string]candidate{"namespaces": {mechanism: namespaces, userns: true}}
	if os.Geteuid() == 0 {
		candidates["namespaces without users"] = candidate{mechanism: namespaces}
	}
	if program, err := exec.LookPath("bwrap"); err == nil {
		candidates["bubblewrap"] = candidate{mechanism: bubblewrap, userns: true, program: program}
	}
	for name, c := range candidates {
		t.Run(name, func(t *testing.T) {
			base, err := New(Options{})
			if err != nil {
				t.Fatal(err)
			}
			s := &Sandbox{log: base.log, candidate: c}
			if err := s.try(); err != nil {
				refused(t, err)
			}
			test(t, s)
		})
	}
}

// refused skips a test for what the kernel refuses, but not where all must run.
func refused(t testing.TB, reason error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func run(t testing.TB, s *Sandbox, c Command) Result {
	t.Helper()
	r, err := s.Run(t.Context(), c)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, r.Stdout, r.Stderr)
	}
	return r
}

func shell(script string) Command { return Command{Args: []string{"sh", "-c", script}} }

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRunReturnsExitCodeAndStreams(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		c := shell("cat; echo err >&2; exit 7")
		c.Stdin = strings.NewReader("in\n")
		r := run(t, s, c)
		if r.ExitCode != 7 || string(r.Stdout) != "in\n" || string(r.Stderr) != "err\n" || r.TimedOut || r.Duration <= 0 {
			t.Errorf("exit %d, stdout %q, stderr %q", r.ExitCode, r.Stdout, r.Stderr)
		}
		if r := run(t, s, shell("kill -TERM $$")); r.ExitCode != 128+int(syscall.SIGTERM) {
			t.Errorf("exit %d after a signal", r.ExitCode)
		}
	})
}

func TestRunFailsByKind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	each(t, func(t *testing.T, s *Sandbox) {
		for _, test := range []struct {
			c    Command
			want error
		}{
			{Command{}, conclave.ErrInvalid},
			{Command{Args: []string{"a\x00b"}}, conclave.ErrInvalid},
			{Command{Args: []string{"true"}, Dir: "relative"}, conclave.ErrInvalid},
			{Command{Args: []string{"true"}, Dir: "/"}, conclave.ErrInvalid},
			{Command{Args: []string{"true"}, Dir: file}, conclave.ErrInvalid},
			{Command{Args: []string{"true"}, Dir: file + ".none"}, conclave.ErrNotFound},
			{Command{Args: []string{"true"}, Write: []string{"/tmp"}}, conclave.ErrInvalid},
			{Command{Args: []string{"true"}, Env: []string{"NOVALUE"}}, conclave.ErrInvalid},
			{Command{Args: []string{"true"}, Timeout: -1}, conclave.ErrInvalid},
			{Command{Args: []string{"no-such-program"}}, conclave.ErrNotFound},
			{Command{Args: []string{"./no-such-program"}}, conclave.ErrNotFound},
		} {
			if _, err := s.Run(t.Context(), test.c); !errors.Is(err, test.want) {
				t.Errorf("%q in %q: %v, want %v", test.c.Args, test.c.Dir, err, test.want)
			}
		}
	})
}

func TestNewRefusesAnUnknownSwitch(t *testing.T) {
	if _, err := New(Options{Switch: "off"}); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("error %v", err)
	}
}

func TestRunRefusesWithoutMechanism(t *testing.T) {
	// Inside a sandbox no other can be made.
	isolated(t, func(t *testing.T, s *Sandbox) {
		r := run(t, s, helper("refuse"))
		out := string(r.Stdout)
		if !strings.HasPrefix(out, "unavailable: ") || !strings.Contains(out, "\ntrue ") || !strings.Contains(out, SwitchVariable+"=landlock") {
			t.Errorf("exit %d: %s%s", r.ExitCode, out, r.Stderr)
		}
	})
}

func TestDescribeIsHonest(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		text := s.Describe()
		if reduced := strings.Contains(text, "reduced"); reduced == s.mechanism.isolated() || strings.Contains(text, "\n") {
			t.Errorf("%s: %s", s.mechanism, text)
		}
	})
}

func TestNetworkIsLoopbackOnly(t *testing.T) {
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	isolated(t, func(t *testing.T, s *Sandbox) {
		r := run(t, s, helper("network", outside.Addr().String()))
		if string(r.Stdout) != "itself: hello\n" || r.ExitCode != 0 {
			t.Errorf("exit %d: %s%s", r.ExitCode, r.Stdout, r.Stderr)
		}
	})
}

func TestEnvironmentIsBuiltFromScratch(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "s3cret")
	t.Setenv("GODEBUG", "s3cret=1")
	each(t, func(t *testing.T, s *Sandbox) {
		c := shell("env; cat /proc/$PPID/environ /proc/1/environ 2>/dev/null | tr '\\0' '\\n'")
		c.Env = []string{"EXTRA=1", "LANG=de"}
		r := run(t, s, c)
		out := string(r.Stdout)
		if s.mechanism == unisolated {
			out, _, _ = strings.Cut(out, "PWD=") // what follows are other processes, which this one may read
		}
		if strings.Contains(out, "s3cret") || !strings.Contains(out, "EXTRA=1\n") || !strings.Contains(out, "LANG=de\n") {
			t.Errorf("environment:\n%s", out)
		}
	})
}

func TestFilesOutsideAreOutOfReach(t *testing.T) {
	home, work, more, shown := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	write(t, filepath.Join(home, ".ssh", "id"), "s3cret")
	write(t, filepath.Join(shown, "readable"), "fine")
	if err := os.Symlink(filepath.Join(home, ".ssh", "id"), filepath.Join(work, "link")); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`
		for f in %[1]s/.ssh/id link /etc/shadow /root/.bashrc; do cat $f >/dev/null 2>&1 && echo "read $f"; done
		for d in %[1]s/.ssh /etc/ssh /var/log /run /home /sys; do ls $d/ >/dev/null 2>&1 && echo "listed $d"; done
		echo changed 2>/dev/null > link && echo "wrote link"
		for f in %[1]s/x %[2]s/x /x /usr/x /etc/x /root/x /dev/x /proc/x /proc/sys/kernel/core_pattern; do
			{ echo x > $f; } 2>/dev/null && echo "wrote $f"
		done
		cat %[2]s/readable && echo in > inside && mkdir d && echo x > d/x && mv d/x moved && echo %[3]s > %[3]s/too &&
			echo t > $TMPDIR/t && echo t > $HOME/t && echo n > /dev/null`, home, shown, more)
	each(t, func(t *testing.T, s *Sandbox) {
		if s.mechanism == unisolated {
			t.Skip("files are open without isolation")
		}
		c := shell(script)
		c.Dir, c.Write, c.Read = work, []string{more}, []string{shown}
		r := run(t, s, c)
		if string(r.Stdout) != "fine" || r.ExitCode != 0 {
			t.Errorf("exit %d: %s%s", r.ExitCode, r.Stdout, r.Stderr)
		}
		if got, err := os.ReadFile(filepath.Join(home, ".ssh", "id")); err != nil || string(got) != "s3cret" {
			t.Errorf("the file behind the link: %q, %v", got, err)
		}
		for _, path := range []string{filepath.Join(work, "inside"), filepath.Join(work, "moved"), filepath.Join(more, "too")} {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
		if err := os.Remove(filepath.Join(work, "d")); err != nil {
			t.Error(err)
		}
	})
}

func TestReadOnlyDir(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "x")
	each(t, func(t *testing.T, s *Sandbox) {
		if s.mechanism == unisolated {
			t.Skip("files are open without isolation")
		}
		c := shell("cat a; echo y > a; echo y > b; rm a")
		c.Dir, c.ReadOnlyDir = dir, true
		r := run(t, s, c)
		if got, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(got) != "x" || string(r.Stdout) != "x" {
			t.Errorf("file %q, %v; %s%s", got, err, r.Stdout, r.Stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "b")); err == nil {
			t.Error("a file was made")
		}
	})
}

func TestGitOfAWritableDirectoryIsReadOnly(t *testing.T) {
	isolated(t, func(t *testing.T, s *Sandbox) {
		work, more := t.TempDir(), t.TempDir()
		write(t, filepath.Join(work, ".git"), "gitdir: /somewhere")
		write(t, filepath.Join(more, ".git", "config"), "[core]")
		c := shell(fmt.Sprintf("echo x > .git; rm -f .git; mv .git away; echo x > %[1]s/.git/config; mkdir %[1]s/.git/hooks; mv %[1]s/.git %[1]s/away; true", more))
		c.Dir, c.Write = work, []string{more}
		run(t, s, c)
		for path, want := range map[string]string{filepath.Join(work, ".git"): "gitdir: /somewhere", filepath.Join(more, ".git", "config"): "[core]"} {
			if got, err := os.ReadFile(path); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v", path, got, err)
			}
		}
		if _, err := os.Stat(filepath.Join(more, ".git", "hooks")); err == nil {
			t.Error("hooks were made")
		}
	})
}

func TestOpenFilesAreNotPassedOn(t *testing.T) {
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY, 0) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	each(t, func(t *testing.T, s *Sandbox) {
		// The shell's pattern is read through one more.
		if r := run(t, s, shell("cd /proc/self/fd; echo *")); string(r.Stdout) != "0 1 2 3\n" {
			t.Errorf("open: %s%s", r.Stdout, r.Stderr)
		}
	})
}

func TestWritableDirectoryBehindALinkIsRefused(t *testing.T) {
	work, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(work, "cache")); err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, s *Sandbox) {
		_, err := s.Run(t.Context(), Command{Args: []string{"true"}, Dir: work, Write: []string{filepath.Join(work, "cache")}})
		if !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("error %v", err)
		}
	})
}

func TestPrivilegesAreGone(t *testing.T) {
	isolated(t, func(t *testing.T, s *Sandbox) {
		if r := run(t, s, helper("calls")); len(r.Stdout) > 0 || r.ExitCode != 0 {
			t.Errorf("exit %d, allowed:\n%s%s", r.ExitCode, r.Stdout, r.Stderr)
		}
		r := run(t, s, shell("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; hostname; ls -d /proc/[0-9]*; kill -KILL 1; kill -STOP 1; echo alive"))
		out := string(r.Stdout)
		for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "sandbox\n", "alive\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in:\n%s%s", want, out, r.Stderr)
			}
		}
		if n := strings.Count(out, "/proc/"); n > 4 {
			t.Errorf("%d processes visible:\n%s", n, out)
		}
	})
}

func TestWallTimeEnds(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		c := helper("spin")
		c.Timeout = 300 * time.Millisecond
		if r := run(t, s, c); !r.TimedOut || r.Duration < c.Timeout || r.Duration > 20*time.Second {
			t.Errorf("%+v", r)
		}
	})
}

func TestContextEnds(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		r, err := s.Run(ctx, helper("spin"))
		if !errors.Is(err, context.DeadlineExceeded) || r.TimedOut {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestMemoryEnds(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		for _, c := range []Command{helper("hog", "1000000"), helper("hog", "384"), helper("headless", "hog", "384")} {
			c.MemoryBytes = 256 << 20
			if r := run(t, s, c); !r.OutOfMemory {
				t.Errorf("%q: exit %d, timed out %v, after %s: %.300s", c.Args[2:], r.ExitCode, r.TimedOut, r.Duration, r.Stderr)
			}
		}
	})
}

func TestFilesInMemoryCount(t *testing.T) {
	isolated(t, func(t *testing.T, s *Sandbox) {
		c := shell("dd if=/dev/zero of=/tmp/a bs=1M count=60 && dd if=/dev/zero of=/tmp/b bs=1M count=60; sleep 1000")
		c.MemoryBytes = 100 << 20
		if r := run(t, s, c); !r.OutOfMemory {
			t.Errorf("exit %d: %s", r.ExitCode, r.Stderr)
		}
	})
}

func TestProcessesEnd(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		c := helper("many", "60")
		c.Processes = 50
		if r := run(t, s, c); !r.TooManyProcesses {
			t.Errorf("exit %d after %s: %s", r.ExitCode, r.Duration, r.Stderr)
		}
	})
}

func TestForkBombEnds(t *testing.T) {
	isolated(t, func(t *testing.T, s *Sandbox) {
		c := helper("bomb")
		c.Processes, c.Timeout = 100, 30*time.Second
		if r := run(t, s, c); !r.TooManyProcesses {
			t.Errorf("exit %d after %s: %.300s", r.ExitCode, r.Duration, r.Stderr)
		}
	})
}

func TestOutputIsBounded(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		c := helper("flood", "100")
		c.OutputBytes = 1000
		r := run(t, s, c)
		if r.ExitCode != 0 || r.StdoutCut != 100<<20+8-1000 || len(r.Stdout) > 1100 {
			t.Errorf("exit %d, %d bytes kept, %d cut", r.ExitCode, len(r.Stdout), r.StdoutCut)
		}
		if out := string(r.Stdout); !strings.HasPrefix(out, "HEADxxx") || !strings.HasSuffix(out, "xxxTAIL") || !strings.Contains(out, "bytes cut") {
			t.Errorf("output %q", out)
		}
	})
}

// free says whether nobody holds the lock on the file.
func free(t *testing.T, path string, how int) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|how) == nil
}

func TestNothingSurvivesTheCommand(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		dir := t.TempDir()
		lock := filepath.Join(dir, "lock")
		for _, c := range []Command{helper("daemon", lock), helper("daemon", lock, "headless")} {
			c.Dir = dir
			if r := run(t, s, c); r.ExitCode != 0 {
				t.Fatalf("%q: exit %d: %s", c.Args[3:], r.ExitCode, r.Stderr)
			}
			if !free(t, lock, unix.LOCK_NB) {
				t.Errorf("%q: the daemon is alive", c.Args[3:])
			}
		}
	})
}

func TestNothingSurvivesTheTimeout(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		dir := t.TempDir()
		lock := filepath.Join(dir, "lock")
		c := shell(`"$0" helper daemon "$1" && echo held; sleep 1000`)
		self := helper("")
		c.Args = append(c.Args, self.Args[0], lock)
		c.Dir, c.Read, c.Timeout = dir, self.Read, 2*time.Second
		if r := run(t, s, c); !r.TimedOut || string(r.Stdout) != "held\n" {
			t.Fatalf("exit %d after %s: %s%s", r.ExitCode, r.Duration, r.Stdout, r.Stderr)
		}
		if !free(t, lock, unix.LOCK_NB) {
			t.Error("the daemon is alive")
		}
	})
}

func TestNothingSurvivesTheParent(t *testing.T) {
	for _, choice := range []string{"", "landlock", "none"} {
		t.Run(choice, func(t *testing.T) {
			s, err := New(Options{Switch: choice})
			if err != nil {
				t.Fatal(err)
			}
			if s.refusal != nil {
				refused(t, s.refusal)
			}
			dir := t.TempDir()
			lock, ready := filepath.Join(dir, "lock"), filepath.Join(dir, "ready")
			if err := unix.Mkfifo(ready, 0o666); err != nil {
				t.Fatal(err)
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			parent := exec.Command(self, "helper", "run", choice, dir, "sh", "-c", `"$0" helper daemon "$1" && echo held > ready; sleep 1000`, self, lock)
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			if held, err := os.ReadFile(ready); err != nil || string(held) != "held\n" {
				t.Fatalf("%q, %v", held, err)
			}
			if free(t, lock, unix.LOCK_NB) {
				t.Fatal("the daemon does not hold its lock")
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = parent.Wait() // it was killed
			if !free(t, lock, 0) {
				t.Error("the lock cannot be had")
			}
		})
	}
}

func TestAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; the other tests run as one already")
	}
	const nobody = 65534
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(work, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "test")
	copyFile(t, self)
	for _, choice := range []string{"", "landlock", "none"} {
		cmd := exec.Command(self, "helper", "run", choice, work, "sh", "-c", "id -u; echo x > made && cat made; grep CapEff /proc/self/status; cat /etc/shadow")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "unavailable") {
			t.Log(string(out))
			continue
		}
		if err != nil || !strings.Contains(string(out), "65534\nx\nCapEff:\t0000000000000000\n") || !strings.Contains(string(out), "exit 1\n") {
			t.Errorf("%q: %v\n%s", choice, err, out)
		}
	}
}

func copyFile(t *testing.T, target string) {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, self); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRunsDoNotMix(t *testing.T) {
	each(t, func(t *testing.T, s *Sandbox) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				c := shell("echo $0 > $TMPDIR/mine && cat $TMPDIR/mine; exit $0")
				c.Args = append(c.Args, strconv.Itoa(i))
				r, err := s.Run(t.Context(), c)
				if err != nil || r.ExitCode != i || string(r.Stdout) != strconv.Itoa(i)+"\n" {
					t.Errorf("run %d: exit %d, %s%s, %v", i, r.ExitCode, r.Stdout, r.Stderr, err)
				}
			})
		}
		wg.Wait()
	})
}

func BenchmarkRun(b *testing.B) {
	for _, choice := range []string{"", "landlock", "none"} {
		s, err := New(Options{Switch: choice})
		if err != nil {
			b.Fatal(err)
		}
		if s.refusal != nil {
			refused(b, s.refusal)
		}
		b.Run(string(s.mechanism), func(b *testing.B) {
			for b.Loop() {
				run(b, s, Command{Args: []string{"true"}})
			}
		})
	}
}
