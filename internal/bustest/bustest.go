// Package bustest gives tests real servers of each bus, and of Consul: those that
// the environment names, and servers of their own that they may stop and start.
package bustest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Engines are the buses that have a server.
func Engines() []string { return []string{"redis", "kafka", "nats"} }

// URL returns the server that CONCLAVE_TEST_REDIS, _KAFKA or _NATS names, or the
// program of CONCLAVE_TEST_CONSUL. Without one the test is skipped, and under CI it fails; "none: WHY" says
// that there can't be one, and skips in CI too.
func URL(t testing.TB, engine string) string {
	t.Helper()
	name := "CONCLAVE_TEST_" + strings.ToUpper(engine)
	url := os.Getenv(name)
	if url == "" {
		missing(t, name+" is not set: no "+engine)
	}
	if why, none := strings.CutPrefix(url, "none: "); none {
		t.Skip("no " + engine + ": " + why)
	}
	return url
}

func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Server is a server of a test's own.
type Server struct {
	URL string // as a setting takes it

	t       testing.TB
	address string
	command []string
	cmd     *exec.Cmd
	log     bytes.Buffer
	ended   chan struct{}
}

// Start starts a server of an engine on a free port, until the end of the test.
// It keeps its data from one start to the next where it is made to.
func Start(t testing.TB, engine string) *Server {
	t.Helper()
	given := URL(t, engine) // whoever has none of them does not want these tests
	port, dir := freePort(t), t.TempDir()
	s := &Server{t: t, address: "127.0.0.1:" + port}
	switch engine {
	case "redis":
		s.URL = "redis://" + s.address
		s.command = []string{"redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", ""}
	case "nats":
		s.URL = "nats://" + s.address
		s.command = []string{"nats-server", "--addr", "127.0.0.1", "--port", port}
	case "kafka":
		s.URL = "kafka://" + s.address + "/conclave-test"
		s.command = []string{script("kafka.sh"), dir, port}
	case "consul":
		s.URL = "http://" + s.address
		s.command = []string{given, "agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-http-port", port,
			"-dns-port", "-1", "-grpc-port", "-1", "-grpc-tls-port", "-1", "-server-port", freePort(t), "-serf-lan-port", freePort(t), "-serf-wan-port", "-1"}
	default:
		t.Fatalf("no engine %q", engine)
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// script is the path of a file under scripts.
func script(name string) string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "scripts", name)
}

// freePort returns a port that nobody uses. It is below those that the system
// gives to outgoing connections, which would take it while the server is stopped.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close() // nothing was sent
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

const startLimit = 2 * time.Minute // a Java machine on a loaded one

// Start starts the server again, and returns once it accepts connections.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = exec.Command(s.command[0], s.command[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		missing(s.t, fmt.Sprintf("%s: %v", s.command[0], err))
	}
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() {
		_ = cmd.Wait() // it is killed: how it ends says nothing
		close(ended)
	}()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	limit := time.After(startLimit)
	for {
		if c, err := net.Dial("tcp", s.address); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-again.C:
		case <-ended:
			s.t.Fatalf("%s ended:\n%s", s.command[0], &s.log)
		case <-limit:
			s.Stop()
			s.t.Fatalf("%s accepts no connection after %v:\n%s", s.command[0], startLimit, &s.log)
		}
	}
}

// Stop kills the server and waits until it is gone.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill() // fails when it has ended, which is as good
	<-s.ended
}
