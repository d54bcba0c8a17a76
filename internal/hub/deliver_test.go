package hub_test

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
)

// interloper is a store in which something happens just before a call.
type interloper struct {
	hub.Store
	beforeClaim, beforeSettle func(n int)
	settleFails               error // the first two times

	mu              sync.Mutex
	claims, settles int
}

func (s *interloper) Claim(ctx context.Context, in hub.Claim) (hub.Task, error) {
	s.mu.Lock()
	s.claims++
	n := s.claims
	s.mu.Unlock()
	if s.beforeClaim != nil {
		s.beforeClaim(n)
	}
	return s.Store.Claim(ctx, in)
}

func (s *interloper) Settle(ctx context.Context, in hub.Settle) (hub.Task, error) {
	s.mu.Lock()
	s.settles++
	n := s.settles
	s.mu.Unlock()
	if s.beforeSettle != nil {
		s.beforeSettle(n)
	}
	if s.settleFails == nil || n > 2 {
		return s.Store.Settle(ctx, in)
	}
	if n == 2 { // it is written, and the answer gets lost
		if _, err := s.Store.Settle(ctx, in); err != nil {
			return hub.Task{}, err
		}
	}
	return hub.Task{}, s.settleFails
}

// between puts an interloper between a hub and its store.
func between(s *interloper) func(*hub.Options) {
	return func(o *hub.Options) {
		s.Store = o.Store
		o.Store = s
	}
}

// An agent that gets a hand free while the others of its role are asked is not
// overlooked: nobody would wake the message again.
func TestAHandThatGetsFreeMeanwhileIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &interloper{}
		n := connect(t, hub.NewMemory(nil), between(s))
		goOn := map[string]chan struct{}{"dev-1": make(chan struct{}), "dev-2": make(chan struct{})}
		for name, c := range goOn {
			n.agent(name, "developer", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
				if in.Text == "wait" {
					select {
					case <-c:
					case <-ctx.Done():
					}
				}
				return echo(ctx, in)
			})
		}
		ctx := as(t.Context(), "ada")
		first := n.send(ctx, conclave.SendMessage{To: "agents/dev-1", Text: "wait"})
		second := n.send(ctx, conclave.SendMessage{To: "agents/dev-2", Text: "wait"})
		synctest.Wait()
		asked := 0
		s.beforeClaim = func(int) {
			if asked++; asked == 2 { // the first was just found busy
				close(goOn["dev-1"])
				n.wait(first.ID)
			}
		}
		begun := time.Now()
		if done := n.wait(n.send(ctx, conclave.SendMessage{To: "roles/developer", Text: "hello"}).ID); done.State != conclave.TaskCompleted || time.Since(begun) > time.Second {
			t.Errorf("the message is %s, by %s, after %v", done.State, done.Agent, time.Since(begun))
		}
		s.beforeClaim = nil
		close(goOn["dev-2"])
		n.wait(second.ID)
	})
}

// An agent that comes just before a message is put aside gets it at once.
func TestAnAgentThatComesMeanwhileIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &interloper{}
		n := connect(t, hub.NewMemory(nil), between(s))
		n.agent("dev-1", "developer", echo)
		if _, err := n.hub.Register(as(t.Context(), "admin"), conclave.RegisterAgent{Agent: conclave.Agent{
			Name: "dev-1", Role: "developer", URL: "local://dev-1", Capacity: 1, Service: conclave.ServicePool, State: conclave.AgentLost}}); err != nil {
			t.Fatal(err)
		}
		s.beforeSettle = func(settles int) {
			if settles == 1 {
				n.register("dev-1", "developer", 1)
			}
		}
		begun := time.Now()
		if done := n.ask("agents/dev-1", "hello"); done.State != conclave.TaskCompleted || time.Since(begun) > time.Second {
			t.Errorf("the message is %s after %v", done.State, time.Since(begun))
		}
	})
}

// A host that takes no connection is away, however its silence shows.
func TestAHostThatTakesNoConnectionIsAway(t *testing.T) {
	var tries atomic.Int64
	var local *a2awire.Local
	n := connect(t, hub.NewMemory(nil), func(o *hub.Options) {
		local = o.Transport.(*a2awire.Local)
		o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if tries.Add(1) == 1 {
				_, err := (&net.Dialer{Timeout: time.Nanosecond}).Dial("tcp", "127.0.0.1:9")
				return nil, err
			}
			return local.RoundTrip(r)
		})
	})
	n.agent("dev-1", "developer", echo)
	if done := n.ask("agents/dev-1", "hello"); done.State != conclave.TaskCompleted {
		t.Errorf("the message is %s: %s", done.State, done.Error)
	}
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The end of a delivery is written also when the database was away for a moment,
// and when the answer to what was written got lost.
func TestTheEndIsWrittenOnceTheDatabaseIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &interloper{settleFails: conclave.Errorf(conclave.ErrUnavailable, "the connection broke")}
		n := connect(t, hub.NewMemory(nil), between(s))
		n.agent("dev-1", "developer", echo)
		begun := time.Now()
		if done := n.ask("agents/dev-1", "hello"); done.State != conclave.TaskCompleted || time.Since(begun) > 5*time.Second {
			t.Errorf("the message is %s after %v", done.State, time.Since(begun))
		}
		if len(n.seen) != 1 {
			t.Errorf("the agent was asked %d times", len(n.seen))
		}
	})
}

// A sender that hangs up in the middle of a stream changes nothing for the task.
func TestASenderThatHangsUpChangesNothing(t *testing.T) {
	n := connect(t, hub.NewMemory(nil))
	goOn, asked := make(chan struct{}), make(chan struct{})
	n.agent("dev-1", "developer", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
		close(asked)
		select {
		case <-goOn:
			return echo(ctx, in)
		case <-ctx.Done():
			return a2awire.Outgoing{}, ctx.Err()
		}
	})
	url, token := listen(t, n)
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/a2a/agents/dev-1", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage","params":{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"hello"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + token, "A2A-Version": "1.0", "Content-Type": "application/json", "Accept": "text/event-stream"} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 1)
	if _, err := resp.Body.Read(first); err != nil {
		t.Fatal(err)
	}
	<-asked
	hangUp()
	close(goOn)
	list, err := n.hub.Messages(as(t.Context(), "ada"), conclave.ListMessages{})
	if err != nil || len(list) == 0 {
		t.Fatalf("%d messages are kept, %v", len(list), err)
	}
	if done := n.wait(list[0].Task); done.State != conclave.TaskCompleted || done.Text != "heard hello" {
		t.Errorf("the task is %s: %q %s", done.State, done.Text, done.Error)
	}
}

// An agent asks back, the hub is replaced while it waits, and the answer reaches
// the agent's own task, once.
func TestAnAnswerOutlivesTheHub(t *testing.T) {
	path, local := filepath.Join(t.TempDir(), "hub.db"), &a2awire.Local{}
	tl := startTeller(t, path, local)
	var heard []string
	tl.agent("dev-1", "developer", func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
		heard = append(heard, in.Text) // one at a time: each waits for the one before
		return a2awire.Outgoing{Ask: in.Text == "build it", Text: "heard " + in.Text}, nil
	})
	var sent sentTask
	if err := tl.rpc("ada", "agents/dev-1", "SendMessage", say("m1", "build it", nil), &sent); err != nil {
		t.Fatal(err)
	}
	await := func(tl *teller, state string) {
		t.Helper()
		again := time.NewTicker(10 * time.Millisecond)
		defer again.Stop()
		limit := time.After(20 * time.Second)
		for {
			var task struct {
				Status struct{ State string }
			}
			if err := tl.rpc("ada", "agents/dev-1", "GetTask", map[string]any{"id": sent.Task.ID}, &task); err != nil {
				t.Fatal(err)
			}
			if task.Status.State == state {
				return
			}
			select {
			case <-again.C:
			case <-limit:
				t.Fatalf("the task is %s, want %s", task.Status.State, state)
			}
		}
	}
	await(tl, "TASK_STATE_INPUT_REQUIRED")
	tl.stop()
	tl = startTeller(t, path, local)
	answer := say("m2", "in Go", nil)
	answer["message"].(map[string]any)["taskId"] = sent.Task.ID
	for range 2 { // the second time because the acknowledgement got lost
		if err := tl.rpc("ada", "agents/dev-1", "SendMessage", answer, nil); err != nil {
			t.Fatal(err)
		}
	}
	await(tl, "TASK_STATE_COMPLETED")
	if !slices.Equal(heard, []string{"build it", "in Go"}) {
		t.Errorf("the agent heard %q", heard)
	}
}
