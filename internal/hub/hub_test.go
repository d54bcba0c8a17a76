package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
)

// network is a hub with scripted agents behind real A2A in memory.
type network struct {
	t     *testing.T
	hub   *hub.Hub
	store *hub.Memory
	local *a2awire.Local
	stop  func()
	hosts map[string]http.Handler

	mu   sync.Mutex
	seen []a2awire.Incoming
}

// connect starts a hub on a store until the test ends or stop is called.
func connect(t *testing.T, store *hub.Memory, change ...func(*hub.Options)) *network {
	t.Helper()
	n := &network{t: t, store: store, local: &a2awire.Local{}, hosts: map[string]http.Handler{}}
	opts := hub.Options{Store: store, Transport: n.local}
	for _, f := range change {
		f(&opts)
	}
	var err error
	if n.hub, err = hub.New(opts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	ready := make(chan struct{})
	go func() { done <- n.hub.Run(ctx, func() { close(ready) }) }()
	<-ready
	go func() { done <- store.RunJobs(ctx, n.hub.HandleDelivery) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("stopping the hub: %v", err)
			}
		}
	})
	t.Cleanup(n.stop)
	return n
}

// serve lets an agent answer at local://NAME.
func (n *network) serve(name string, handle a2awire.Handler) {
	n.t.Helper()
	h, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{
		Card: a2awire.Card{Name: name}, Permission: conclave.PermitService,
		Handle: func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			n.mu.Lock()
			n.seen = append(n.seen, in)
			n.mu.Unlock()
			return handle(ctx, in)
		},
	})
	n.hosts[name] = h
	n.local.Serve(name, h)
	n.t.Cleanup(runner.Close)
}

func (n *network) register(name, role string, capacity int) {
	n.t.Helper()
	n.registerFor(conclave.ServicePool, name, role, capacity)
}

// registerFor registers an agent of a service, or a foreign one of none.
func (n *network) registerFor(service conclave.Service, name, role string, capacity int) {
	n.t.Helper()
	_, err := n.hub.Register(as(n.t.Context(), "admin"), conclave.RegisterAgent{Agent: conclave.Agent{
		Name: conclave.AgentName(name), Role: conclave.Role(role), URL: "local://" + name, Capacity: capacity, Service: service,
	}})
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) agent(name, role string, handle a2awire.Handler) {
	n.t.Helper()
	n.serve(name, handle)
	n.register(name, role, 1)
}

func (n *network) send(ctx context.Context, in conclave.SendMessage) conclave.Task {
	n.t.Helper()
	task, err := n.hub.Send(ctx, in)
	if err != nil {
		n.t.Fatal(err)
	}
	return task
}

func (n *network) wait(id conclave.TaskID) conclave.Task {
	n.t.Helper()
	task, err := n.hub.Task(as(n.t.Context(), "ada"), conclave.GetTask{ID: id, Wait: 60_000})
	if err != nil {
		n.t.Fatal(err)
	}
	return task
}

// ask sends as ada and waits.
func (n *network) ask(to, text string) conclave.Task {
	n.t.Helper()
	return n.wait(n.send(as(n.t.Context(), "ada"), conclave.SendMessage{To: to, Text: text}).ID)
}

func as(ctx context.Context, human string) context.Context {
	return conclave.WithCaller(ctx, conclave.Caller{Tenant: conclave.DefaultTenant, Human: human, Permissions: []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak}})
}

func asAgent(ctx context.Context, name string) context.Context {
	return conclave.WithCaller(ctx, conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada", Agent: conclave.AgentName(name), Permissions: []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak}})
}

func echo(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
	return a2awire.Outgoing{Text: "heard " + in.Text}, nil
}

func forever(ctx context.Context, _ a2awire.Incoming) (a2awire.Outgoing, error) {
	<-ctx.Done()
	return a2awire.Outgoing{}, ctx.Err()
}

func TestAddressesThatNobodyHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", echo)
		for to, want := range map[string]struct {
			kind error
			says string
		}{
			"agents/dev-2":   {conclave.ErrNotFound, "agents/dev-1"},
			"roles/poet":     {conclave.ErrNotFound, "roles/developer"},
			"dev-1":          {conclave.ErrInvalid, "agents/NAME"},
			"agents/":        {conclave.ErrInvalid, "agents/NAME"},
			"agents/a/b":     {conclave.ErrInvalid, "agents/NAME"},
			"conclave/dev-1": {conclave.ErrInvalid, "roles/ROLE"},
		} {
			_, err := n.hub.Send(as(t.Context(), "ada"), conclave.SendMessage{To: to, Text: "Hello?"})
			if !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.says) {
				t.Errorf("%q: %v, want %v that names %s", to, err, want.kind, want.says)
			}
		}
		if _, err := n.hub.Send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "  "}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("an empty message: %v", err)
		}
	})
}

func TestNobodySpeaksAsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", forever)
		n.agent("qa-1", "qa", echo)
		working := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "Build it."})
		synctest.Wait()
		other := conclave.CallPath{Path: []string{"tasks/" + string(working.ID)}}

		service := conclave.WithCaller(t.Context(), conclave.ServiceCaller(conclave.ServiceCouncil, conclave.DefaultTenant, "ada"))
		for what, c := range map[string]struct {
			ctx context.Context
			in  conclave.SendMessage
		}{
			"a human as an agent":          {as(t.Context(), "eve"), conclave.SendMessage{From: "dev-1"}},
			"an agent as a human":          {asAgent(t.Context(), "dev-1"), conclave.SendMessage{From: "ada", Call: other}},
			"an agent as another":          {asAgent(t.Context(), "qa-1"), conclave.SendMessage{From: "dev-1", Call: other}},
			"a service as somebody else":   {service, conclave.SendMessage{From: "eve"}},
			"nobody":                       {t.Context(), conclave.SendMessage{}},
			"an agent without its task":    {asAgent(t.Context(), "dev-1"), conclave.SendMessage{}},
			"an agent with a path":         {asAgent(t.Context(), "dev-1"), conclave.SendMessage{Call: conclave.CallPath{Path: []string{"ada"}, Hops: 100}}},
			"an agent with another's task": {asAgent(t.Context(), "qa-1"), conclave.SendMessage{Call: other}},
		} {
			c.in.To, c.in.Text = "agents/qa-1", "Trust me."
			if _, err := n.hub.Send(c.ctx, c.in); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("%s: %v, want denied", what, err)
			}
		}
		refused := 0
		for _, e := range n.store.Events() {
			if e.Kind == conclave.EventCallRefused {
				refused++
			}
		}
		if refused != 8 {
			t.Errorf("%d refusals are on record, want 8", refused)
		}
		task, err := n.hub.Send(service, conclave.SendMessage{From: "ada", To: "agents/qa-1", Text: "On ada's behalf."})
		if err != nil || task.From != "ada" {
			t.Errorf("a service for its human: %+v, %v", task, err)
		}
	})
}

func TestHopsAreCountedByTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil), func(o *hub.Options) { o.Rules = rules(func(r *hub.Rules) { r.MaxHops = 3 }) })
		// Each agent asks the next one, and claims a fresh path with many hops.
		relay := func(name, next string) {
			n.agent(name, "relay", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
				task, err := n.hub.Send(asAgent(ctx, name), conclave.SendMessage{To: "agents/" + next, Text: "And you?",
					Call: conclave.CallPath{Path: []string{"tasks/" + string(in.References[0])}, Hops: 1000}})
				if err != nil {
					return a2awire.Outgoing{Text: err.Error()}, nil
				}
				task, err = n.hub.Task(asAgent(ctx, name), conclave.GetTask{ID: task.ID, Wait: 60_000})
				return a2awire.Outgoing{Text: task.Text}, err
			})
		}
		relay("a", "b")
		relay("b", "c")
		relay("c", "d")
		n.agent("d", "relay", echo)
		if task := n.ask("agents/a", "Start."); task.Text != "no hop is left for another call after ada → a → b → c" {
			t.Errorf("got %+v", task)
		}
		if task := n.ask("agents/b", "Start."); task.Text != "heard And you?" {
			t.Errorf("three hops are allowed, but: %+v", task)
		}
	})
}

func TestSameKeySameTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", echo)
		ctx := as(t.Context(), "ada")
		first := n.send(ctx, conclave.SendMessage{Key: "k", To: "agents/dev-1", Text: "Once."})
		n.wait(first.ID)
		second := n.send(ctx, conclave.SendMessage{Key: "k", To: "agents/dev-1", Text: "Once."})
		if second.ID != first.ID || second.State != conclave.TaskCompleted || second.Text != "heard Once." {
			t.Errorf("the second send gave %+v, want the first task %s with its reply", second, first.ID)
		}
		if n.send(as(t.Context(), "bob"), conclave.SendMessage{Key: "k", To: "agents/dev-1", Text: "Once."}).ID == first.ID {
			t.Error("bob's key gave ada's task")
		}
		synctest.Wait()
		if len(n.seen) != 2 {
			t.Errorf("the agent heard %d messages, want one of each sender", len(n.seen))
		}
	})
}

func TestRoleChoosesTheFreest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		for _, name := range []string{"dev-1", "dev-2", "dev-3"} {
			n.serve(name, forever)
		}
		n.register("dev-1", "developer", 2)
		n.register("dev-2", "developer", 4)
		n.register("dev-3", "developer", 1)
		var took []string
		for i := range 7 {
			exclude := []conclave.AgentName{}
			if i == 0 {
				exclude = append(exclude, "dev-1")
			}
			task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "roles/developer", Text: "Build it.", Exclude: exclude})
			synctest.Wait()
			got, err := n.hub.Task(as(t.Context(), "ada"), conclave.GetTask{ID: task.ID})
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, string(got.Agent))
		}
		// dev-1 is excluded; then by load 0, 0, 1/4, 1/2, 1/2, 3/4, with ties by name.
		want := []string{"dev-2", "dev-1", "dev-3", "dev-2", "dev-1", "dev-2", "dev-2"}
		if !slices.Equal(took, want) {
			t.Errorf("taken by %v, want %v", took, want)
		}
		_, err := n.hub.Send(as(t.Context(), "ada"), conclave.SendMessage{To: "roles/developer", Text: "x", Exclude: []conclave.AgentName{"dev-1", "dev-2", "dev-3"}})
		if !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("with everybody excluded: %v", err)
		}
	})
}

func TestFullHandsTakeTheNextWhenFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			time.Sleep(time.Second) // of the test's clock
			return echo(ctx, in)
		})
		begin := time.Now()
		var ids []conclave.TaskID
		for i := range 5 {
			ids = append(ids, n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "roles/developer", Text: fmt.Sprint(i)}).ID)
		}
		for _, id := range ids {
			if task := n.wait(id); task.State != conclave.TaskCompleted {
				t.Errorf("got %+v", task)
			}
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("five tasks of a second took %s, so the agent idled between them", took)
		}
	})
}

func TestMessageWaitsForALostAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", echo)
		time.Sleep(30 * time.Second) // no heartbeat comes
		agents, err := n.hub.Agents(as(t.Context(), "ada"), conclave.ListAgents{})
		if err != nil || agents[0].State != conclave.AgentLost {
			t.Fatalf("a silent agent is %+v, %v; want it lost", agents, err)
		}
		task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "roles/developer", Text: "Anybody?"})
		time.Sleep(time.Minute)
		if got, _ := n.hub.Task(as(t.Context(), "ada"), conclave.GetTask{ID: task.ID}); got.State != conclave.TaskSubmitted {
			t.Fatalf("without a live agent the task is %+v", got)
		}
		back := time.Now()
		n.register("dev-1", "developer", 1)
		if got := n.wait(task.ID); got.Text != "heard Anybody?" || time.Since(back) > time.Second {
			t.Errorf("%s after the agent came back: %+v", time.Since(back), got)
		}
	})
}

func TestForeignAgentIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.serve("poet-1", echo)
		n.registerFor("", "poet-1", "poet", 1)
		state := func() conclave.AgentState {
			agents, err := n.hub.Agents(as(t.Context(), "ada"), conclave.ListAgents{})
			if err != nil {
				t.Fatal(err)
			}
			return agents[0].State
		}
		time.Sleep(time.Hour)
		if got := state(); got != conclave.AgentLive {
			t.Errorf("an hour after it registered, a foreign agent that answers is %s", got)
		}
		n.local.Serve("poet-1", nil)
		time.Sleep(time.Minute)
		if got := state(); got != conclave.AgentLost {
			t.Errorf("a foreign agent that does not answer is %s", got)
		}
		task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "roles/poet", Text: "A verse?"})
		time.Sleep(time.Minute)
		n.local.Serve("poet-1", n.hosts["poet-1"])
		if got := n.wait(task.ID); got.Text != "heard A verse?" {
			t.Errorf("after it came back: %+v", got)
		}
	})
}

func TestOnlyServicesGiveOutFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", forever)
		n.agent("qa-1", "qa", echo)
		working := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "x"})
		synctest.Wait()
		path := conclave.CallPath{Path: []string{"tasks/" + string(working.ID)}}
		service := conclave.WithCaller(t.Context(), conclave.ServiceCaller(conclave.ServiceWorkflow, conclave.DefaultTenant, "ada"))
		for _, data := range []string{`{"kind":"build"}`, `{"kind":"review","worktree":"/home/ada"}`} {
			in := conclave.SendMessage{To: "agents/qa-1", Text: "x", Data: json.RawMessage(data)}
			if _, err := n.hub.Send(as(t.Context(), "eve"), in); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("eve sends %s: %v", data, err)
			}
			if _, err := n.hub.Send(service, in); err != nil {
				t.Errorf("a service sends %s: %v", data, err)
			}
			in.Call = path
			if _, err := n.hub.Send(asAgent(t.Context(), "dev-1"), in); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("an agent sends %s: %v", data, err)
			}
		}
	})
}

func TestMessageToNobodyFailsInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.register("dev-1", "developer", 1) // registered, but nothing answers
		begin := time.Now()
		task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "Anybody?"})
		for !task.State.Ended() {
			task = n.wait(task.ID)
		}
		took := time.Since(begin)
		if task.State != conclave.TaskFailed || !strings.HasPrefix(task.Error, "unavailable: ") || took < 10*time.Minute || took > 12*time.Minute {
			t.Errorf("after %s: %+v", took, task)
		}
	})
}

func TestCrashBetweenClaimAndReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := hub.NewMemory(nil)
		n := connect(t, store)
		n.agent("dev-1", "developer", echo)
		n.stop()
		ctx := as(t.Context(), "ada")
		task := n.send(ctx, conclave.SendMessage{To: "agents/dev-1", Text: "Build it."})
		if _, err := store.Claim(ctx, hub.Claim{ID: task.ID, Epoch: 1, Agent: "dev-1", Instance: "hub"}); err != nil {
			t.Fatal(err)
		}
		store.DropJobs() // the process dies with its claim and its queue

		after := connect(t, store)
		after.serve("dev-1", echo)
		got := after.wait(task.ID)
		if got.State != conclave.TaskCompleted || got.Text != "heard Build it." {
			t.Fatalf("after the restart: %+v", got)
		}
		if len(after.seen) != 1 {
			t.Errorf("the agent heard the message %d times", len(after.seen))
		}
	})
}

func TestStoppedHubGivesTheSameMessageAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := hub.NewMemory(nil)
		n := connect(t, store)
		gate := make(chan struct{})
		n.agent("dev-1", "developer", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			<-gate
			return echo(ctx, in)
		})
		task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "Build it."})
		synctest.Wait()
		n.stop() // the agent's host lives on
		after := connect(t, store)
		after.local.Serve("dev-1", n.hosts["dev-1"])
		synctest.Wait()
		close(gate)
		if got := after.wait(task.ID); got.Text != "heard Build it." {
			t.Fatalf("got %+v", got)
		}
		if len(n.seen) != 1 {
			t.Errorf("the agent worked %d times on one message", len(n.seen))
		}
	})
}

func TestSlowAgentIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil), func(o *hub.Options) { o.Timeout = time.Minute })
		ended := make(chan struct{})
		n.agent("dev-1", "developer", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			defer close(ended)
			return forever(ctx, in)
		})
		task := n.ask("agents/dev-1", "Build it.")
		if task.State == conclave.TaskWorking {
			task = n.wait(task.ID)
		}
		if task.State != conclave.TaskFailed || !strings.HasPrefix(task.Error, "timeout: dev-1 did not answer within 1m") {
			t.Errorf("got %+v", task)
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("the agent was not told that nobody waits any more")
		}
	})
}

func TestKindsOfErrorComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		var fail error
		n.agent("dev-1", "developer", func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) {
			return a2awire.Outgoing{}, fail
		})
		for _, kind := range conclave.Kinds() {
			fail = conclave.Errorf(kind, "because")
			task := n.ask("agents/dev-1", "Well?")
			if task.State != conclave.TaskFailed || task.Error != kind.Error()+": because" {
				t.Errorf("%v came back as %s %q", kind, task.State, task.Error)
			}
		}
		fail = a2awire.Rejection{Err: conclave.Errorf(conclave.ErrInvalid, "not mine")}
		if task := n.ask("agents/dev-1", "Well?"); task.State != conclave.TaskRejected || task.Error != "invalid: not mine" {
			t.Errorf("a rejection came back as %+v", task)
		}
		fail = errors.New("secret path /root/.ssh")
		if task := n.ask("agents/dev-1", "Well?"); task.Error != "internal: internal error" {
			t.Errorf("an error without a kind came back as %+v", task)
		}
	})
}

func TestTenantsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", echo)
		task := n.ask("agents/dev-1", "Secret.")
		eve := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: "globex", Human: "ada", Permissions: []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak}})
		if _, err := n.hub.Task(eve, conclave.GetTask{ID: task.ID}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("another tenant reads the task: %v", err)
		}
		if _, err := n.hub.Cancel(eve, conclave.NameTask{ID: task.ID}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("another tenant cancels the task: %v", err)
		}
		if msgs, err := n.hub.Messages(eve, conclave.ListMessages{Conversation: task.Conversation}); err != nil || len(msgs) != 0 {
			t.Errorf("another tenant reads %+v, %v", msgs, err)
		}
		if _, err := n.hub.Send(eve, conclave.SendMessage{To: "agents/dev-1", Text: "Hello?"}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("another tenant speaks to the agent: %v", err)
		}
	})
}

func TestRegisterRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		good := conclave.Agent{Name: "dev-1", Role: "developer", URL: "http://127.0.0.1:8011/agents/dev-1", PublicKey: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
		register := func(change func(*conclave.Agent)) error {
			a := good
			change(&a)
			_, err := n.hub.Register(as(t.Context(), "admin"), conclave.RegisterAgent{Agent: a})
			return err
		}
		if err := register(func(*conclave.Agent) {}); err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func(*conclave.Agent){
			"name":  func(a *conclave.Agent) { a.Name = "../dev" },
			"role":  func(a *conclave.Agent) { a.Role = "Big Boss" },
			"url":   func(a *conclave.Agent) { a.URL = "file:///etc/passwd" },
			"key":   func(a *conclave.Agent) { a.PublicKey = "short" },
			"state": func(a *conclave.Agent) { a.State = "asleep" },
		} {
			if err := register(change); !errors.Is(err, conclave.ErrInvalid) {
				t.Errorf("a bad %s: %v", what, err)
			}
		}
		err := register(func(a *conclave.Agent) { a.PublicKey = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" })
		if !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("another key for the name: %v", err)
		}
	})
}

func TestPathAndBudgetReachTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", echo)
		service := conclave.WithCaller(t.Context(), conclave.ServiceCaller(conclave.ServiceWorkflow, conclave.DefaultTenant, "ada"))
		task := n.send(service, conclave.SendMessage{
			To: "agents/dev-1", Run: "run-1", Kind: conclave.AssignBuild, Text: "Build it.", Data: json.RawMessage(`{"kind":"build"}`),
			Call: conclave.CallPath{Human: "somebody else", Path: []string{"workflow-orchestrator"}, Hops: 3, Tokens: 5000},
		})
		n.wait(task.ID)
		got := n.seen[0]
		want := conclave.CallPath{Human: "ada", Path: []string{"workflow-orchestrator", "dev-1"}, Hops: 2, Messages: 499, Tokens: 5000}
		if fmt.Sprint(got.Call) != fmt.Sprint(want) || got.Run != "run-1" || got.Kind != conclave.AssignBuild || string(got.Data) != `{"kind":"build"}` {
			t.Errorf("the agent got %+v, want the call %+v", got, want)
		}
		for _, call := range []conclave.CallPath{{Path: []string{"x"}}, {Path: []string{"x"}, Hops: 2, Tokens: -1}, {Path: []string{"dev-1"}, Hops: 2}} {
			if _, err := n.hub.Send(service, conclave.SendMessage{To: "agents/dev-1", Text: "Again.", Call: call}); !errors.Is(err, conclave.ErrLimited) {
				t.Errorf("%+v: %v, want limited", call, err)
			}
		}
	})
}
