package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The recording agent is a process of its own, this test binary under another
// name, so that it can be killed as the hub can. It speaks A2A by hand. What it
// does for a message is one line in its log, once for each message id, which it
// reads again when it starts: an agent that receives idempotently.

// recorderSetting makes this binary the agent that keeps its log there.
const recorderSetting = "CONCLAVE_TEST_RECORDER"

// recorder is that agent.
type recorder struct {
	mu   sync.Mutex
	log  *os.File
	done map[string]bool // by message id

	killAt string // NAME:N of a point below
	passed map[string]int
}

// record runs the agent until it is killed.
func record(path string) error {
	log, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	r := &recorder{log: log, done: map[string]bool{}, killAt: os.Getenv(recorderSetting + "_KILL"), passed: map[string]int{}}
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "did "); ok {
			id, _, _ = strings.Cut(id, " ")
			r.done[id] = true
		}
	}
	listener, err := net.Listen("tcp", os.Getenv(recorderSetting+"_ADDR"))
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, r)
}

// at kills the agent at a point of its own.
func (r *recorder) at(point string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passed[point]++
	if r.killAt == fmt.Sprint(point, ":", r.passed[point]) {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more happens here
	}
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		fmt.Fprint(w, `{}`) // it is there
		return
	}
	var call struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Message struct {
				MessageID, ContextID string
				Parts                []struct{ Text string }
			}
		}
	}
	m := &call.Params.Message
	if err := json.NewDecoder(req.Body).Decode(&call); err != nil || call.Method != "SendStreamingMessage" || len(m.Parts) == 0 {
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32001,"message":"it keeps no tasks"}}`, call.ID)
		return
	}
	r.at("receive.before")
	if err := r.do(m.MessageID, m.Parts[0].Text); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.at("reply.before")
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, `data: {"jsonrpc":"2.0","id":%s,"result":{"task":{"id":"of-%s","contextId":%q,"status":{"state":"TASK_STATE_COMPLETED"},"artifacts":[{"artifactId":"a","parts":[{"text":"did %s"}]}]}}}`+"\n\n",
		call.ID, m.MessageID, m.ContextID, m.Parts[0].Text)
	w.(http.Flusher).Flush()
	r.at("reply.after")
}

// do has the effect of a message, once.
func (r *recorder) do(id, text string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	what := "did"
	if r.done[id] {
		what = "had"
	}
	r.done[id] = true
	_, err := fmt.Fprintln(r.log, what, id, text)
	return err
}

// agentProcess is the recording agent as a test sees it.
type agentProcess struct {
	t    *testing.T
	path string // of its log
	addr string

	mu     sync.Mutex
	cmd    *exec.Cmd
	closed bool
	deaths int
	gone   chan struct{} // closed once nobody starts it again
}

// startRecorder starts an agent that is started again each time it dies.
func startRecorder(t *testing.T, kill string) *agentProcess {
	t.Helper()
	a := &agentProcess{t: t, path: filepath.Join(t.TempDir(), "agent.log"), addr: "127.0.0.1:0", gone: make(chan struct{})}
	a.start(kill)
	go func() {
		defer close(a.gone)
		for {
			_ = a.cmd.Wait() // that it was killed is no news
			a.mu.Lock()
			if a.closed {
				a.mu.Unlock()
				return
			}
			a.deaths++
			a.start("")
			a.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		a.mu.Lock()
		a.closed = true
		_ = a.cmd.Process.Kill() // fails when it has ended, which is as good
		a.mu.Unlock()
		<-a.gone
	})
	return a
}

func (a *agentProcess) start(kill string) {
	self, err := os.Executable()
	if err != nil {
		a.t.Error(err)
		return
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), recorderSetting+"="+a.path, recorderSetting+"_ADDR="+a.addr, recorderSetting+"_KILL="+kill)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		a.t.Error(err)
		return
	}
	a.cmd = cmd
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		a.t.Errorf("the recording agent does not start: %v", err)
	}
	a.addr = strings.TrimSpace(line)
}

// kill ends the agent without warning. It is started again.
func (a *agentProcess) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.cmd.Process.Kill() // fails when it has just ended, which is as good
}

func (a *agentProcess) died() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.deaths
}

// effects are what the agent has done, in order.
func (a *agentProcess) effects() (texts []string, again int) {
	data, err := os.ReadFile(a.path)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		words := strings.SplitN(line, " ", 3)
		switch {
		case len(words) == 3 && words[0] == "did":
			texts = append(texts, words[2])
		case len(words) == 3:
			again++
		}
	}
	return texts, again
}

// cutter is a TCP proxy in front of a database. It breaks every connection just
// before or just after the Nth commit that a client asks for, or when it is told.
type cutter struct {
	t        *testing.T
	target   string
	listener net.Listener
	before   int // commit that is not handed on; 0: none
	after    int // commit whose answer is not handed on

	mu      sync.Mutex
	conns   map[net.Conn]bool
	commits int
	cuts    int
	running sync.WaitGroup
}

func startCutter(t *testing.T, target, at string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{t: t, target: target, listener: l, conns: map[net.Conn]bool{}}
	if point, n, ok := strings.Cut(at, ":"); ok {
		count, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		if point == "commit.before" {
			c.before = count
		} else {
			c.after = count
		}
	}
	c.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.DialTimeout("tcp", target, 10*time.Second)
			if err != nil {
				client.Close()
				continue
			}
			c.pass(client, server)
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.cut()
		c.running.Wait()
	})
	return c
}

// pass hands on what is said between two connections until one ends.
func (c *cutter) pass(client, server net.Conn) {
	c.mu.Lock()
	c.conns[client], c.conns[server] = true, true
	c.mu.Unlock()
	end := func() {
		client.Close()
		server.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.conns, client)
		delete(c.conns, server)
	}
	answered := make(chan struct{}, 1) // told that the next answer is not handed on
	c.running.Go(func() {
		defer end()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), "commit\x00") {
				c.mu.Lock()
				c.commits++
				before, after := c.commits == c.before, c.commits == c.after
				c.mu.Unlock()
				if before {
					c.cut()
					return
				}
				if after {
					answered <- struct{}{}
				}
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	c.running.Go(func() {
		defer end()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-answered: // the commit has happened, and its client is not told
				c.cut()
				return
			default:
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
}

func (c *cutter) hasCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts > 0
}

// cut breaks every connection.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cuts++
	for conn := range c.conns {
		conn.Close()
	}
}
