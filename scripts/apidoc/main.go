// Command apidoc writes docs/api from what a running program says of itself: its
// OpenAPI description, its MCP tools, and its agent cards.
//
//	go run ./scripts/apidoc bin/conclave docs/api
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: apidoc PROGRAM FOLDER")
		os.Exit(2)
	}
	if err := generate(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
}

func generate(ctx context.Context, program, folder string) (err error) {
	s, err := start(ctx, program)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, s.stop()) }()
	var api openAPI
	text, err := s.get(ctx, "gateway", "/api/openapi.json")
	if err == nil {
		err = json.Unmarshal(text, &api)
	}
	if err != nil {
		return fmt.Errorf("read the OpenAPI description: %w", err)
	}
	rest := restPage(api)
	mcp, err := s.mcpPage(ctx)
	if err != nil {
		return err
	}
	a2a, err := s.a2aPage(ctx)
	if err != nil {
		return err
	}
	for name, page := range map[string]string{"rest.md": rest, "mcp.md": mcp, "a2a.md": a2a, "openapi.json": string(text) + "\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(page), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// services are those of a program with a data directory of its own.
type services struct {
	cmd       *exec.Cmd
	home      string
	token     string
	addresses map[string]string // by service
}

const startLimit = time.Minute

func start(ctx context.Context, program string) (*services, error) {
	home, err := os.MkdirTemp("", "conclave-apidoc-")
	if err != nil {
		return nil, fmt.Errorf("make a data directory: %w", err)
	}
	program, err = filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CONCLAVE_") && !strings.HasPrefix(e, "DATABASE_URL=") {
			env = append(env, e)
		}
	}
	env = append(env, "CONCLAVE_HOME="+home, "CONCLAVE_PORTS=auto", "CONCLAVE_BRAIN=offline", "CONCLAVE_LOG=error")
	s := &services{cmd: exec.CommandContext(ctx, program, "serve"), home: home, addresses: map[string]string{}}
	s.cmd.Env, s.cmd.Dir, s.cmd.Stderr = env, home, os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	late := time.AfterFunc(startLimit, func() { _ = s.cmd.Process.Kill() }) // it may have ended
	defer late.Stop()
	// It tells the addresses once it is ready, the gateway's last.
	for lines := bufio.NewScanner(out); s.addresses["gateway"] == "" && lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 2 && strings.HasPrefix(f[1], "http") {
			s.addresses[f[0]] = f[1]
		}
	}
	if s.addresses["gateway"] == "" {
		return nil, fmt.Errorf("the services were not ready within %v: %w", startLimit, s.stop())
	}
	token, err := os.ReadFile(filepath.Join(home, "token"))
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", cmp.Or(s.stop(), err))
	}
	s.token = strings.TrimSpace(string(token))
	return s, nil
}

// stop ends the program and removes its data.
func (s *services) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the services: %w", err)
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the services did not end well: %w", err)
	}
	return os.RemoveAll(s.home)
}

// get reads what a service answers.
func (s *services) get(ctx context.Context, service, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.addresses[service]+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: s}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s%s: %s: %s", service, path, resp.Status, text)
	}
	return text, err
}

// RoundTrip implements [http.RoundTripper]: every request has the token.
func (s *services) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+s.token)
	return http.DefaultTransport.RoundTrip(r)
}
