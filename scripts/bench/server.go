package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"conclave"
	"conclave/internal/llmtest"
	"conclave/internal/restwire"
)

// server is one running conclave serve.
type server struct {
	*restwire.Client
	cmd   *exec.Cmd
	ready time.Duration // from exec to the line that says so
	ended chan error
	// addresses are those that it told before it was ready.
	addresses map[conclave.Service]string
}

// environment is ours without what would reach another installation or a model.
func environment(home string, more ...string) []string {
	var list []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "CONCLAVE_") && !strings.HasSuffix(name, "_API_KEY") && !strings.HasSuffix(name, "_BASE_URL") && name != "DATABASE_URL" {
			list = append(list, e)
		}
	}
	return append(append(list, "CONCLAVE_HOME="+home, "CONCLAVE_PORTS=auto", "CONCLAVE_LOG=error"), more...)
}

// start runs conclave serve on a data directory until it is ready.
func (b *bench) start(ctx context.Context, home string, more ...string) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, b.program, "serve"), ended: make(chan error, 1), addresses: map[conclave.Service]string{}}
	s.cmd.Env = environment(home, more...)
	s.cmd.Dir = b.dir // no config folder is found there
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	gateway := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			switch {
			case strings.HasPrefix(lines.Text(), "ready after"):
				s.ready = time.Since(began)
			case len(f) == 2 && f[0] == string(conclave.ServiceGateway):
				gateway <- f[1] // the last one that is told
			case len(f) == 2:
				s.addresses[conclave.Service(f[0])] = f[1]
			}
		}
		close(gateway)
		s.ended <- s.cmd.Wait()
	}()
	base, ok := <-gateway
	if !ok {
		return nil, fmt.Errorf("conclave serve ended before it was ready: %w", <-s.ended)
	}
	token, err := os.ReadFile(filepath.Join(home, "token"))
	if err != nil {
		return nil, s.stop(err)
	}
	s.Client = restwire.Dial(restwire.DialOptions{Base: base, Prefix: "/api",
		Token: func(context.Context) (string, error) { return strings.TrimSpace(string(token)), nil }})
	resp, err := http.Get(base + "/readyz")
	if err != nil {
		return nil, s.stop(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		return nil, s.stop(fmt.Errorf("it says that it is ready, and /readyz answers %s", resp.Status))
	}
	return s, nil
}

// stop ends the server in order and returns the error that came first.
func (s *server) stop(first error) error {
	if s.Client != nil {
		s.Client.Close()
	}
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && first == nil {
		first = err
	}
	if err := <-s.ended; err != nil && first == nil {
		first = fmt.Errorf("stop conclave serve: %w", err)
	}
	return first
}

const startsEach = 10

func (b *bench) starts(ctx context.Context) error {
	old := filepath.Join(b.dir, "old")
	for _, kind := range []string{"fresh", "existing"} {
		var took []time.Duration
		for i := range startsEach {
			home := old
			if kind == "fresh" && i > 0 {
				home = filepath.Join(b.dir, fmt.Sprintf("fresh-%d", i))
			}
			s, err := b.start(ctx, home)
			if err != nil {
				return err
			}
			took = append(took, s.ready)
			if err := s.stop(nil); err != nil {
				return err
			}
		}
		d := sort(took)
		b.add(fmt.Sprintf("start to ready, %s data directory, %d starts, min / median / max", kind, startsEach), "1 s", d.spread(), yes(d.at(0.5) <= time.Second))
	}
	b.note("Start: from the start of the process to its line that says ready, which /readyz confirms. The median is held against the limit.")
	return nil
}

// Idle is looked at after the start is over, for this long.
const (
	settle   = 5 * time.Second
	idleTime = 30 * time.Second
)

func (b *bench) idle(ctx context.Context) error {
	model, err := llmtest.Start("127.0.0.1:0", llmtest.Team(work()))
	if err != nil {
		return err
	}
	defer model.Close()
	s, err := b.start(ctx, filepath.Join(b.dir, "idle"), scripted(model)...)
	if err != nil {
		return err
	}
	pid := s.cmd.Process.Pid
	if err := wait(ctx, settle); err != nil {
		return s.stop(err)
	}
	before, err := cpu(pid)
	if err != nil {
		return s.stop(err)
	}
	began := time.Now()
	if err := wait(ctx, idleTime); err != nil {
		return s.stop(err)
	}
	after, err := cpu(pid)
	if err != nil {
		return s.stop(err)
	}
	share := float64(after-before) / float64(time.Since(began))
	var sizes []int64
	for _, field := range []string{"VmRSS", "RssAnon"} {
		n, err := memory(pid, field)
		if err != nil {
			return s.stop(err)
		}
		sizes = append(sizes, n)
	}
	calls := len(model.Calls())
	b.add("idle: resident memory", "120 MB", fmt.Sprintf("%s, of which %s anonymous, the rest pages of the program's file", megabytes(sizes[0]), megabytes(sizes[1])), yes(sizes[0] <= 120e6))
	b.add(fmt.Sprintf("idle: processor over %v", idleTime), "< 1 % of a core", fmt.Sprintf("%.2f %%", share*100), yes(share < 0.01))
	b.add("idle: model calls", "0", fmt.Sprint(calls), yes(calls == 0))
	b.note("Idle: all services with a model configured, %v after ready. Processor time is counted by the kernel in steps of 10 ms, which is %.2f %% here.", settle, float64(10*time.Millisecond)/float64(idleTime)*100)
	return s.stop(nil)
}

// wait lets time pass, which is what is measured.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scripted has a server think with a scripted model.
func scripted(model *llmtest.Server) []string {
	return []string{"ANTHROPIC_API_KEY=dummy", "ANTHROPIC_BASE_URL=" + model.URL}
}
