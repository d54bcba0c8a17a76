package hub

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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
		{"accept for an agent", (*suite).acceptFor},
		{"full hands", (*suite).fullHands},
		{"turns", (*suite).turns},
		{"order", (*suite).order},
		{"answer", (*suite).answer},
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
			s.store, s.events = open(t, func(ctx context.Context, id conclave.TaskID, epoch int64) error {
				select {
				case s.jobs <- suiteJob{id, epoch}:
				case <-ctx.Done(): // the test has ended, and there were more than it looked at
				}
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
		Task:    conclave.Task{ID: conclave.TaskID(id), Conversation: conclave.ConversationID("talk-" + id), Run: "run", From: "ada", To: to, Kind: conclave.AssignAsk},
		Request: conclave.Message{
			ID: conclave.MessageID("msg-" + id), Task: conclave.TaskID(id), Conversation: conclave.ConversationID("talk-" + id), Run: "run",
			From: "ada", To: to, Kind: conclave.AssignAsk, Text: "Hello?", Data: json.RawMessage(`{"kind":"ask"}`),
		},
	}
}

// in puts a task into a conversation.
func in(talk conclave.ConversationID) func(*Accept) {
	return func(a *Accept) { a.Task.Conversation, a.Request.Conversation = talk, talk }
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
