package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"conclave"
)

// Deliver is what a store's job runner calls for each job that is due.
type Deliver func(ctx context.Context, id conclave.TaskID, epoch int64) error

// OpenStore opens an empty store for a test and closes it at the test's end.
// Until then its job runner calls deliver. events returns what was recorded, in
// order.
type OpenStore func(t *testing.T, deliver Deliver) (store Store, events func() []conclave.Event)

// StoreSuite tests an implementation of [Store]. Only tests call it.
func StoreSuite(t *testing.T, open OpenStore) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"agents", (*suite).agents},
		{"agents of tenants", (*suite).tenants},
		{"accept", (*suite).accept},
		{"claim", (*suite).claim},
		{"claims race", (*suite).race},
		{"settle", (*suite).settle},
		{"put back", (*suite).putBack},
		{"wake after work", (*suite).wakeAfterWork},
		{"wake when live", (*suite).wakeWhenLive},
		{"wait", (*suite).wait},
		{"tasks", (*suite).tasks},
		{"messages", (*suite).messages},
		{"refuse", (*suite).refuse},
		{"budgets", (*suite).budgets},
		{"sweep", (*suite).sweep},
		{"lease", (*suite).lease},
		{"trust", (*suite).trust},
		{"forget", (*suite).forget},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t, jobs: make(chan suiteJob, 100)}
			s.store, s.events = open(t, func(_ context.Context, id conclave.TaskID, epoch int64) error {
				s.jobs <- suiteJob{id, epoch}
				return nil
			})
			c.test(s)
		})
	}
}

const suiteTenant conclave.TenantID = "acme"

type suiteJob struct {
	id    conclave.TaskID
	epoch int64
}

type suite struct {
	*testing.T
	store  Store
	events func() []conclave.Event
	jobs   chan suiteJob
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) is(err, kind error, what string) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Errorf("%s: got %v, want %v", what, err, kind)
	}
}

// expectJobs waits for these jobs, in any order, and no others before them.
func (s *suite) expectJobs(want ...suiteJob) {
	s.Helper()
	var got []suiteJob
	for range want {
		select {
		case j := <-s.jobs:
			got = append(got, j)
		case <-time.After(20 * time.Second):
			s.Fatalf("jobs %v came, want %v", got, want)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			s.Fatalf("jobs %v came, want %v", got, want)
		}
	}
}

func (s *suite) agent(name, role string, capacity int) conclave.Agent {
	s.Helper()
	a, err := s.store.UpsertAgent(s.Context(), suiteTenant, suiteAgent(name, role, capacity))
	s.must(err)
	return a
}

func suiteAgent(name, role string, capacity int) conclave.Agent {
	return conclave.Agent{
		Name: conclave.AgentName(name), Role: conclave.Role(role), Description: "for tests", Skills: []string{"ask", "vote"}, Brain: "playbook",
		Service: conclave.ServicePool, URL: "http://127.0.0.1:1/agents/" + name, PublicKey: "key of " + name,
		State: conclave.AgentLive, Capacity: capacity,
	}
}

// send accepts a task and waits for its job.
func (s *suite) send(id, to string, change ...func(*Accept)) Task {
	s.Helper()
	in := suiteAccept(id, to)
	for _, f := range change {
		f(&in)
	}
	t, created, err := s.store.Accept(s.Context(), in)
	s.must(err)
	if !created {
		s.Fatalf("task %s was there already", id)
	}
	s.expectJobs(suiteJob{t.ID, 1})
	return t
}

func suiteAccept(id, to string) Accept {
	return Accept{
		Tenant: suiteTenant, Call: conclave.CallPath{Human: "ada", Path: []string{"ada"}, Hops: 3, Tokens: 1000}, Budgets: []Budget{{Task: conclave.TaskID(id), Tokens: 1000}},
		Exclude: []conclave.AgentName{"nobody"},
		Task:    conclave.Task{ID: conclave.TaskID(id), Conversation: "talk", Run: "run", From: "ada", To: to, Kind: conclave.AssignAsk},
		Request: conclave.Message{
			ID: conclave.MessageID("msg-" + id), Task: conclave.TaskID(id), Conversation: "talk", Run: "run",
			From: "ada", To: to, Kind: conclave.AssignAsk, Text: "Hello?", Data: json.RawMessage(`{"kind":"ask"}`),
		},
	}
}

func (s *suite) take(id string, epoch int64, agent string) Task {
	s.Helper()
	t, err := s.store.Claim(s.Context(), Claim{ID: conclave.TaskID(id), Epoch: epoch, Agent: conclave.AgentName(agent), Instance: "hub-1"})
	s.must(err)
	return t
}

func (s *suite) end(t Task, state conclave.TaskState) Task {
	s.Helper()
	t, err := s.store.Settle(s.Context(), Settle{ID: t.ID, Epoch: t.Epoch, State: state, Actor: "tester"})
	s.must(err)
	return t
}

// kinds lists the kinds of the events with a subject, or of all.
func (s *suite) kinds(subject string) []conclave.EventKind {
	var out []conclave.EventKind
	for _, e := range s.events() {
		if subject == "" || e.Subject == subject {
			out = append(out, e.Kind)
		}
	}
	return out
}

func (s *suite) expectKinds(subject string, want ...conclave.EventKind) {
	s.Helper()
	if got := s.kinds(subject); !slices.Equal(got, want) {
		s.Errorf("events of %q are %v, want %v", subject, got, want)
	}
}

func (s *suite) agents() {
	ctx := s.Context()
	s.agent("qa-1", "qa", 2)
	s.agent("dev-1", "developer", 2)
	got, err := s.store.Agents(ctx, suiteTenant, conclave.ListAgents{})
	s.must(err)
	if len(got) != 2 || got[0].Name != "dev-1" || got[1].Name != "qa-1" {
		s.Fatalf("agents are %+v, want dev-1 and qa-1 in this order", got)
	}
	want := suiteAgent("dev-1", "developer", 2)
	if !sameAgent(got[0], want) || got[0].Seen.IsZero() || got[0].Active != 0 {
		s.Errorf("kept %+v, want %+v with the time it was seen", got[0], want)
	}

	s.agent("dev-1", "developer", 2) // nothing new
	s.expectKinds("dev-1", conclave.EventAgentRegistered)
	forged := suiteAgent("dev-1", "developer", 2)
	forged.PublicKey = "another key"
	_, err = s.store.UpsertAgent(ctx, suiteTenant, forged)
	s.is(err, conclave.ErrConflict, "registering with another key")

	changed := suiteAgent("dev-1", "developer", 5)
	_, err = s.store.UpsertAgent(ctx, suiteTenant, changed)
	s.must(err)
	changed.State = conclave.AgentLost
	_, err = s.store.UpsertAgent(ctx, suiteTenant, changed)
	s.must(err)
	s.expectKinds("dev-1", conclave.EventAgentRegistered, conclave.EventAgentRegistered, conclave.EventAgentLost)
	live, err := s.store.Agents(ctx, suiteTenant, conclave.ListAgents{Live: true})
	s.must(err)
	devs, err := s.store.Agents(ctx, suiteTenant, conclave.ListAgents{Role: "developer"})
	s.must(err)
	if len(live) != 1 || live[0].Name != "qa-1" || len(devs) != 1 || devs[0].Capacity != 5 || devs[0].State != conclave.AgentLost {
		s.Errorf("live are %+v, developers are %+v", live, devs)
	}

	s.send("t1", "agents/qa-1")
	s.take("t1", 1, "qa-1")
	got, err = s.store.Agents(ctx, suiteTenant, conclave.ListAgents{Role: "qa"})
	s.must(err)
	if got[0].Active != 1 {
		s.Errorf("qa-1 has %d tasks in its hands, want 1", got[0].Active)
	}
}

func (s *suite) tenants() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 1)
	other, err := s.store.UpsertAgent(ctx, "globex", conclave.Agent{Name: "dev-1", Role: "developer", PublicKey: "of globex", State: conclave.AgentLive, Capacity: 1})
	s.must(err)
	if other.PublicKey != "of globex" {
		s.Errorf("the other tenant's agent is %+v", other)
	}
	mine, err := s.store.Agents(ctx, suiteTenant, conclave.ListAgents{})
	s.must(err)
	if len(mine) != 1 || mine[0].PublicKey != "key of dev-1" {
		s.Errorf("one tenant sees %+v", mine)
	}
}

func (s *suite) accept() {
	ctx := s.Context()
	in := suiteAccept("t1", "roles/developer")
	in.Key = "once"
	t, created, err := s.store.Accept(ctx, in)
	s.must(err)
	if !created || t.State != conclave.TaskSubmitted || t.Epoch != 1 || t.Attempt != 0 || t.Created.IsZero() || !t.Updated.Equal(t.Created) || t.Age < 0 {
		s.Errorf("accepted as %+v", t)
	}
	got, err := s.store.Wait(ctx, "t1", "", 0)
	s.must(err)
	if got.Tenant != suiteTenant || got.From != "ada" || got.To != "roles/developer" || got.Run != "run" || got.Conversation != "talk" ||
		got.Kind != conclave.AssignAsk || got.Call.Human != "ada" || !slices.Equal(got.Call.Path, []string{"ada"}) || got.Call.Hops != 3 ||
		got.Call.Tokens != 1000 || !slices.Equal(got.Exclude, []conclave.AgentName{"nobody"}) {
		s.Errorf("kept as %+v", got)
	}
	if r := got.Request; r.ID != "msg-t1" || r.Text != "Hello?" || !sameJSON(r.Data, in.Request.Data) || !r.Sent.Equal(got.Created) {
		s.Errorf("the request is kept as %+v", r)
	}
	s.expectJobs(suiteJob{"t1", 1})
	s.expectKinds("t1", conclave.EventMessageSent)

	again := suiteAccept("t2", "roles/developer")
	again.Key = "once"
	t, created, err = s.store.Accept(ctx, again)
	s.must(err)
	if created || t.ID != "t1" {
		s.Errorf("the same key made %s (created %t), want t1", t.ID, created)
	}
	_, err = s.store.Wait(ctx, "t2", "", 0)
	s.is(err, conclave.ErrNotFound, "the task that the repeated key did not make")
	for i, change := range []func(*Accept){
		func(a *Accept) { a.Task.From, a.Request.From = "bob", "bob" },
		func(a *Accept) { a.Tenant = "globex" },
		func(a *Accept) { a.Key = "" },
	} {
		in := suiteAccept(fmt.Sprintf("other-%d", i), "roles/developer")
		in.Key = "once"
		change(&in)
		if _, created, err = s.store.Accept(ctx, in); err != nil || !created {
			s.Errorf("change %d of sender, tenant or key: created %t, %v; want a task of its own", i, created, err)
		}
	}
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

func (s *suite) claim() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 1)
	s.send("t1", "agents/dev-1")
	s.send("t2", "agents/dev-1")

	_, err := s.store.Claim(ctx, Claim{ID: "t1", Epoch: 7, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrConflict, "claiming with another epoch")
	_, err = s.store.Claim(ctx, Claim{ID: "t1", Epoch: 1, Agent: "dev-9", Instance: "hub-1"})
	s.is(err, conclave.ErrNotFound, "claiming for an agent that is not there")
	_, err = s.store.Claim(ctx, Claim{ID: "t9", Epoch: 1, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrNotFound, "claiming a task that is not there")
	t := s.take("t1", 1, "dev-1")
	if t.State != conclave.TaskWorking || t.Agent != "dev-1" || t.Epoch != 2 || t.Attempt != 1 || t.Request.Text != "Hello?" {
		s.Errorf("claimed as %+v", t)
	}
	_, err = s.store.Claim(ctx, Claim{ID: "t1", Epoch: 1, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrConflict, "claiming again")
	_, err = s.store.Claim(ctx, Claim{ID: "t1", Epoch: 2, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrConflict, "claiming what is being worked on")
	_, err = s.store.Claim(ctx, Claim{ID: "t2", Epoch: 1, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrLimited, "claiming for an agent with its hands full")
	s.expectKinds("t1", conclave.EventMessageSent, conclave.EventTaskChanged)
	s.expectKinds("t2", conclave.EventMessageSent)
}

func (s *suite) race() {
	s.agent("dev-1", "developer", 100)
	s.send("t1", "agents/dev-1")
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			_, err := s.store.Claim(s.Context(), Claim{ID: "t1", Epoch: 1, Agent: "dev-1", Instance: "hub-1"})
			if err != nil {
				s.is(err, conclave.ErrConflict, "losing the race for a claim")
				return
			}
			mu.Lock()
			defer mu.Unlock()
			won++
		})
	}
	wg.Wait()
	if won != 1 {
		s.Errorf("%d claims of one delivery succeeded", won)
	}
}

func (s *suite) settle() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	s.send("t1", "agents/dev-1")
	t := s.take("t1", 1, "dev-1")

	_, err := s.store.Settle(ctx, Settle{ID: "t1", Epoch: 1, State: conclave.TaskCompleted})
	s.is(err, conclave.ErrConflict, "settling with the epoch before the claim")
	_, err = s.store.Settle(ctx, Settle{ID: "t9", State: conclave.TaskCanceled})
	s.is(err, conclave.ErrNotFound, "settling a task that is not there")
	done, err := s.store.Settle(ctx, Settle{
		ID: "t1", Epoch: t.Epoch, State: conclave.TaskCompleted, Text: "Yes.", Reply: json.RawMessage(`{"n":1}`), Actor: "dev-1",
		Message: &conclave.Message{ID: "reply-1", Task: "t1", Conversation: "talk", Run: "run", From: "dev-1", To: "ada", Text: "Yes.", Data: json.RawMessage(`{"n":1}`)},
	})
	s.must(err)
	if done.State != conclave.TaskCompleted || done.Text != "Yes." || !sameJSON(done.Reply, json.RawMessage(`{"n":1}`)) || done.Agent != "dev-1" || done.Updated.Before(t.Updated) {
		s.Errorf("completed as %+v", done)
	}
	_, err = s.store.Settle(ctx, Settle{ID: "t1", State: conclave.TaskCanceled})
	s.is(err, conclave.ErrConflict, "cancelling what has ended")
	_, err = s.store.Settle(ctx, Settle{ID: "t1", Epoch: done.Epoch, State: conclave.TaskSubmitted})
	s.is(err, conclave.ErrConflict, "putting back what has ended")
	msgs, err := s.store.Messages(ctx, MessageFilter{Tenant: suiteTenant, Task: "t1"})
	s.must(err)
	if len(msgs) != 2 || msgs[1].ID != "reply-1" || msgs[1].Text != "Yes." || msgs[1].Sent.IsZero() {
		s.Errorf("messages of the task are %+v", msgs)
	}
	s.expectKinds("t1", conclave.EventMessageSent, conclave.EventTaskChanged, conclave.EventTaskChanged, conclave.EventMessageSent)

	s.send("t2", "agents/dev-1")
	canceled, err := s.store.Settle(ctx, Settle{ID: "t2", State: conclave.TaskCanceled, Error: "cancelled by ada", Actor: "ada"})
	s.must(err)
	if canceled.State != conclave.TaskCanceled || canceled.Error != "cancelled by ada" {
		s.Errorf("cancelled as %+v", canceled)
	}
	_, err = s.store.Claim(ctx, Claim{ID: "t2", Epoch: 1, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrConflict, "claiming what was cancelled")
}

func (s *suite) putBack() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	s.send("t1", "agents/dev-1")
	t := s.take("t1", 1, "dev-1")
	back, err := s.store.Settle(ctx, Settle{ID: "t1", Epoch: t.Epoch, State: conclave.TaskSubmitted, Actor: "a2a-hub"})
	s.must(err)
	if back.State != conclave.TaskSubmitted || back.Agent != "" || back.Epoch != t.Epoch+1 {
		s.Errorf("put back as %+v", back)
	}
	s.expectJobs(suiteJob{"t1", back.Epoch})
	_, err = s.store.Settle(ctx, Settle{ID: "t1", Epoch: t.Epoch, State: conclave.TaskCompleted, Text: "too late"})
	s.is(err, conclave.ErrConflict, "finishing with the epoch of an earlier claim")
	t = s.take("t1", back.Epoch, "dev-1")
	if t.Attempt != 2 {
		s.Errorf("the second claim counts as attempt %d", t.Attempt)
	}
	// Due later: the job of what is accepted after it comes first.
	back, err = s.store.Settle(ctx, Settle{ID: "t1", Epoch: t.Epoch, State: conclave.TaskSubmitted, After: 500 * time.Millisecond})
	s.must(err)
	s.send("t2", "agents/dev-1")
	s.expectJobs(suiteJob{"t1", back.Epoch})
}

func (s *suite) park(id string, epoch int64) Task {
	s.Helper()
	t, err := s.store.Settle(s.Context(), Settle{ID: conclave.TaskID(id), Epoch: epoch, State: conclave.TaskSubmitted, After: time.Hour, Parked: true})
	s.must(err)
	return t
}

func (s *suite) wakeAfterWork() {
	s.agent("dev-1", "developer", 1)
	s.send("t1", "agents/dev-1")
	busy := s.take("t1", 1, "dev-1")
	s.send("excluded", "roles/developer", func(a *Accept) { a.Exclude = []conclave.AgentName{"dev-1"} })
	s.park("excluded", 1)
	s.send("elsewhere", "roles/qa")
	s.park("elsewhere", 1)
	s.send("first", "roles/developer")
	first := s.park("first", 1)
	s.send("second", "agents/dev-1")
	second := s.park("second", 1)

	s.end(busy, conclave.TaskFailed)
	s.expectJobs(suiteJob{"first", first.Epoch})
	busy = s.take("first", first.Epoch, "dev-1")
	s.end(busy, conclave.TaskCompleted)
	s.expectJobs(suiteJob{"second", second.Epoch})
	s.take("second", second.Epoch, "dev-1")
}

func (s *suite) wakeWhenLive() {
	ctx := s.Context()
	lost := suiteAgent("dev-1", "developer", 2)
	lost.State = conclave.AgentLost
	_, err := s.store.UpsertAgent(ctx, suiteTenant, lost)
	s.must(err)
	var jobs []suiteJob
	for i := range 3 {
		id := fmt.Sprintf("t%d", i)
		s.send(id, "roles/developer")
		jobs = append(jobs, suiteJob{conclave.TaskID(id), s.park(id, 1).Epoch})
	}
	s.agent("dev-1", "developer", 2)
	s.expectJobs(jobs[:2]...)
	s.agent("dev-1", "developer", 2) // it was live already
	s.send("t9", "agents/dev-1")     // no third job comes before this one
}

func (s *suite) wait() {
	ctx := s.Context()
	_, err := s.store.Wait(ctx, "t9", "", 0)
	s.is(err, conclave.ErrNotFound, "waiting for a task that is not there")
	s.agent("dev-1", "developer", 1)
	s.send("t1", "agents/dev-1")
	t, err := s.store.Wait(ctx, "t1", conclave.TaskSubmitted, 10*time.Millisecond)
	s.must(err)
	if t.State != conclave.TaskSubmitted {
		s.Errorf("after the wait the task is %s", t.State)
	}

	changed := make(chan Task)
	go func() {
		defer close(changed)
		seen, err := s.store.Wait(ctx, "t1", conclave.TaskSubmitted, time.Minute)
		if err != nil {
			s.Error(err)
			return
		}
		changed <- seen
		if seen, err = s.store.Wait(ctx, "t1", conclave.TaskWorking, time.Minute); err != nil {
			s.Error(err)
			return
		}
		changed <- seen
	}()
	claimed := s.take("t1", 1, "dev-1")
	if seen := <-changed; seen.State != conclave.TaskWorking {
		s.Errorf("the wait saw %s, want working", seen.State)
	}
	s.end(claimed, conclave.TaskCompleted)
	if seen := <-changed; seen.State != conclave.TaskCompleted {
		s.Errorf("the wait saw %s, want completed", seen.State)
	}
	<-changed

	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = s.store.Wait(gone, "t1", conclave.TaskCompleted, time.Minute); !errors.Is(err, context.Canceled) {
		s.Errorf("a wait whose context is over: %v", err)
	}
}

func (s *suite) tasks() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	for i := range 5 {
		s.send(fmt.Sprintf("t%d", i), "agents/dev-1")
	}
	s.send("other", "roles/qa", func(a *Accept) {
		a.Task.From, a.Request.From, a.Task.Conversation, a.Request.Conversation = "bob", "bob", "talk-2", "talk-2"
	})
	s.end(s.take("t0", 1, "dev-1"), conclave.TaskCompleted) // the newest update now

	ids := func(f TaskFilter) (out []string, total int) {
		f.Tenant = suiteTenant
		tasks, total, err := s.store.Tasks(ctx, f)
		s.must(err)
		for _, t := range tasks {
			out = append(out, string(t.ID))
		}
		return out, total
	}
	if got, _ := ids(TaskFilter{To: "agents/dev-1", Limit: 1}); !slices.Equal(got, []string{"t0"}) {
		s.Errorf("the newest update is of %v, want t0", got)
	}
	for _, c := range []struct {
		f    TaskFilter
		want int
	}{
		{TaskFilter{}, 6}, {TaskFilter{From: "bob"}, 1}, {TaskFilter{To: "agents/dev-1"}, 5}, {TaskFilter{Agent: "dev-1"}, 1},
		{TaskFilter{Conversation: "talk-2"}, 1}, {TaskFilter{State: conclave.TaskSubmitted}, 5}, {TaskFilter{From: "eve"}, 0},
		{TaskFilter{UpdatedAfter: time.Now().Add(time.Hour)}, 0}, {TaskFilter{UpdatedAfter: time.Now().Add(-time.Hour)}, 6},
	} {
		if got, total := ids(c.f); len(got) != c.want || total != c.want {
			s.Errorf("%+v gives %v of %d, want %d", c.f, got, total, c.want)
		}
	}

	var paged []string
	f := TaskFilter{Tenant: suiteTenant, Limit: 2}
	for page := 0; page < 10; page++ {
		tasks, total, err := s.store.Tasks(ctx, f)
		s.must(err)
		if total != 6 {
			s.Errorf("page %d says there are %d tasks", page, total)
		}
		if len(tasks) == 0 {
			break
		}
		for _, t := range tasks {
			paged = append(paged, string(t.ID))
			f.Before.Updated, f.Before.ID = t.Updated, t.ID
		}
	}
	if all, _ := ids(TaskFilter{}); !slices.Equal(paged, all) {
		s.Errorf("page by page there are %v, at once %v", paged, all)
	}
}

func (s *suite) messages() {
	ctx := s.Context()
	for i := range 4 {
		s.send(fmt.Sprintf("t%d", i), "roles/qa")
	}
	s.send("other", "roles/qa", func(a *Accept) { a.Task.Conversation, a.Request.Conversation = "talk-2", "talk-2" })
	s.send("foreign", "roles/qa", func(a *Accept) { a.Tenant = "globex" })
	list := func(in conclave.ListMessages) (out []string) {
		msgs, err := s.store.Messages(ctx, MessageFilter{Tenant: suiteTenant, ListMessages: in})
		s.must(err)
		for _, m := range msgs {
			out = append(out, string(m.ID))
		}
		return out
	}
	for _, c := range []struct {
		in   conclave.ListMessages
		want []string
	}{
		{conclave.ListMessages{Conversation: "talk"}, []string{"msg-t0", "msg-t1", "msg-t2", "msg-t3"}},
		{conclave.ListMessages{Conversation: "talk", After: "msg-t1"}, []string{"msg-t2", "msg-t3"}},
		{conclave.ListMessages{Conversation: "talk", After: "msg-t0", Limit: 2}, []string{"msg-t1", "msg-t2"}},
		{conclave.ListMessages{Conversation: "talk", Latest: true, Limit: 2}, []string{"msg-t2", "msg-t3"}},
		{conclave.ListMessages{Conversation: "talk", After: "msg-t0", Latest: true}, []string{"msg-t1", "msg-t2", "msg-t3"}},
		{conclave.ListMessages{Run: "run", Limit: 10}, []string{"msg-t0", "msg-t1", "msg-t2", "msg-t3", "msg-other"}},
		{conclave.ListMessages{Conversation: "nowhere"}, nil},
	} {
		if got := list(c.in); !slices.Equal(got, c.want) {
			s.Errorf("%+v gives %v, want %v", c.in, got, c.want)
		}
	}
	_, err := s.store.Messages(ctx, MessageFilter{Tenant: suiteTenant, ListMessages: conclave.ListMessages{After: "msg-foreign"}})
	s.is(err, conclave.ErrNotFound, "listing after another tenant's message")
}

func (s *suite) refuse() {
	s.must(s.store.Refuse(s.Context(), Refusal{Tenant: suiteTenant, Rule: "cycle", From: "dev-1", To: "agents/qa-1", Conversation: "talk", Why: "the call would go in a circle"}))
	e := s.events()
	if len(e) != 1 || e[0].Kind != conclave.EventCallRefused || e[0].Actor != "dev-1" || e[0].Subject != "agents/qa-1" ||
		e[0].Conversation != "talk" || e[0].Text != "the call would go in a circle" || e[0].Tenant != suiteTenant || string(e[0].Data) != `{"count":1,"rule":"cycle","to":"agents/qa-1"}` {
		s.Errorf("recorded %+v", e)
	}
}

func (s *suite) sweep() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	s.send("mine", "agents/dev-1")
	s.send("theirs", "agents/dev-1")
	mine := s.take("mine", 1, "dev-1")
	theirs, err := s.store.Claim(ctx, Claim{ID: "theirs", Epoch: 1, Agent: "dev-1", Instance: "hub-2"})
	s.must(err)

	before := len(s.events())
	n, err := s.store.Sweep(ctx, Sweep{Instance: "hub-1", AgentTTL: time.Hour, ClaimTTL: time.Hour})
	s.must(err)
	if n != 0 || len(s.events()) != before {
		s.Errorf("a sweep over what is fresh put back %d and wrote %d events", n, len(s.events())-before)
	}

	n, err = s.store.Sweep(ctx, Sweep{Instance: "hub-1", Start: true, AgentTTL: time.Hour, ClaimTTL: time.Hour})
	s.must(err)
	if n != 1 {
		s.Errorf("a restart of hub-1 put back %d claims, want its own", n)
	}
	s.expectJobs(suiteJob{"mine", mine.Epoch + 1})
	_, err = s.store.Settle(ctx, Settle{ID: "mine", Epoch: mine.Epoch, State: conclave.TaskCompleted})
	s.is(err, conclave.ErrConflict, "finishing a claim that was put back")

	// The database's clock moves on; nobody renews for hub-2.
	for n = 0; n == 0 && ctx.Err() == nil; {
		n, err = s.store.Sweep(ctx, Sweep{Instance: "hub-1", AgentTTL: time.Hour, ClaimTTL: time.Nanosecond})
		s.must(err)
	}
	s.expectJobs(suiteJob{"theirs", theirs.Epoch + 1})
	theirs = s.take("theirs", theirs.Epoch+1, "dev-1")
	n, err = s.store.Sweep(ctx, Sweep{Instance: "hub-1", Held: []conclave.TaskID{"theirs"}, AgentTTL: time.Hour, ClaimTTL: time.Nanosecond})
	s.must(err)
	if n != 0 {
		s.Error("a sweep put back a delivery that is in hand")
	}

	// The end of a delivery could not be written: nobody has it in hand any more.
	for n = 0; n == 0 && ctx.Err() == nil; {
		n, err = s.store.Sweep(ctx, Sweep{Instance: "hub-1", AgentTTL: time.Hour, ClaimTTL: time.Nanosecond})
		s.must(err)
	}
	s.expectJobs(suiteJob{"theirs", theirs.Epoch + 1})

	for live := 1; live > 0 && ctx.Err() == nil; {
		_, err = s.store.Sweep(ctx, Sweep{Instance: "hub-1", AgentTTL: time.Nanosecond, ClaimTTL: time.Hour})
		s.must(err)
		agents, err := s.store.Agents(ctx, suiteTenant, conclave.ListAgents{Live: true})
		s.must(err)
		live = len(agents)
	}
	s.expectKinds("dev-1", conclave.EventAgentRegistered, conclave.EventAgentLost)
}

func (s *suite) budgets() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	accept := func(id string, budgets ...Budget) (Task, error) {
		t, _, err := s.store.Accept(ctx, Accept{Tenant: suiteTenant, Budgets: budgets, Call: conclave.CallPath{Messages: 1000, Tokens: 1 << 40},
			Task:    conclave.Task{ID: conclave.TaskID(id), Conversation: "talk", From: "ada", To: "agents/dev-1"},
			Request: conclave.Message{ID: conclave.MessageID("msg-" + id), Task: conclave.TaskID(id), Conversation: "talk", From: "ada", To: "agents/dev-1", Text: id}})
		return t, err
	}
	whole, part := Budget{Task: "t1", Messages: 3}, Budget{Task: "t2", Messages: 1, Tokens: 100}
	for _, c := range []struct {
		id       string
		budgets  []Budget
		messages int
		tokens   int64
	}{
		{"free", nil, 0, 0},
		{"t1", []Budget{whole}, 2, 0},
		{"t2", []Budget{whole, part}, -1, 100},
		{"t3", []Budget{whole}, -1, 0},
	} {
		t, err := accept(c.id, c.budgets...)
		s.must(err)
		if t.Call.Messages != c.messages || t.Call.Tokens != c.tokens {
			s.Errorf("%s may still spend %+v, want %d messages and %d tokens", c.id, t.Call, c.messages, c.tokens)
		}
	}
	before := len(s.events())
	_, err := accept("t4", whole)
	s.is(err, conclave.ErrLimited, "a message more than the budget has")
	_, err = accept("t5", part)
	s.is(err, conclave.ErrLimited, "a message more than a part of the budget has")
	if _, err := s.store.Wait(ctx, "t4", "", 0); !errors.Is(err, conclave.ErrNotFound) || len(s.events()) != before {
		s.Errorf("what the budget refused left something: %v, %v", err, s.events()[before:])
	}
}
