package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
)

// puller registers an agent that pulls.
func (n *network) puller(name, role string, capacity int) {
	n.t.Helper()
	if _, err := n.hub.Register(asAdmin(n.t.Context()), conclave.RegisterAgent{Agent: conclave.Agent{
		Name: conclave.AgentName(name), Role: conclave.Role(role), URL: conclave.PullURL, Capacity: capacity, Skills: []string{"count"},
	}}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) lease(ctx context.Context, name string, wait int) []conclave.Lease {
	n.t.Helper()
	work, err := n.hub.Lease(ctx, conclave.LeaseWork{Agent: conclave.AgentName(name), Wait: wait, Seconds: 30})
	if err != nil {
		n.t.Fatal(err)
	}
	return work
}

func TestAgentThatPulls(t *testing.T) {
	store := hub.NewMemory(nil)
	n := connect(t, store)
	n.puller("indoor", "clerk", 2)
	indoor := asAgent(t.Context(), "indoor")
	if work := n.lease(indoor, "indoor", 0); len(work) != 0 {
		t.Fatalf("before anything was said it leases %+v", work)
	}
	leased := make(chan []conclave.Lease, 1)
	go func() {
		work, err := n.hub.Lease(indoor, conclave.LeaseWork{Agent: "indoor", Wait: 60_000})
		if err != nil {
			t.Error(err)
		}
		leased <- work
	}()
	task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "skills/count", Text: "one two", Data: json.RawMessage(`{"n":1}`)})
	work := <-leased
	if len(work) != 1 || work[0].ID != task.ID || work[0].Message.Text != "one two" || string(work[0].Message.Data) != `{"n":1}` || work[0].Call.Human != "ada" {
		t.Fatalf("it leases %+v", work)
	}
	w := work[0]
	if got, err := n.hub.Task(as(t.Context(), "ada"), conclave.GetTask{ID: task.ID}); err != nil || got.State != conclave.TaskWorking || got.Agent != "indoor" {
		t.Errorf("meanwhile the task is %+v, %v", got, err)
	}
	later, err := n.hub.Extend(indoor, conclave.ExtendLease{ID: w.ID, Lease: w.Lease, Seconds: 3600})
	if err != nil || !later.Until.After(w.Until) {
		t.Errorf("extended to %v, %v", later.Until, err)
	}
	// The hub stops and starts; the lease goes on.
	n.stop()
	n = connect(t, store)
	done, err := n.hub.Answer(indoor, conclave.AnswerWork{ID: w.ID, Lease: w.Lease, Text: "2 words", Data: json.RawMessage(`{"words":2}`)})
	if err != nil || done.State != conclave.TaskCompleted || done.Text != "2 words" || string(done.Reply) != `{"words":2}` {
		t.Fatalf("answered: %+v, %v", done, err)
	}
	if again, err := n.hub.Answer(indoor, conclave.AnswerWork{ID: w.ID, Lease: w.Lease, Text: "2 words"}); err != nil || again.ID != w.ID {
		t.Errorf("the same answer again: %+v, %v", again, err)
	}
	if _, err := n.hub.Answer(indoor, conclave.AnswerWork{ID: w.ID, Lease: w.Lease, Text: "3 words"}); !errors.Is(err, conclave.ErrConflict) {
		t.Errorf("another answer: %v", err)
	}
	said, err := n.hub.Messages(as(t.Context(), "ada"), conclave.ListMessages{Conversation: task.Conversation})
	if err != nil || len(said) != 2 || said[1].From != "indoor" || said[1].Text != "2 words" {
		t.Errorf("the conversation is %+v, %v", said, err)
	}
}

func TestLeaseThatEnds(t *testing.T) {
	store := hub.NewMemory(nil)
	n := connect(t, store)
	n.puller("indoor", "clerk", 1)
	indoor := asAgent(t.Context(), "indoor")
	task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "roles/clerk", Text: "one two"})
	first := n.lease(indoor, "indoor", 1000)[0]
	if _, err := n.hub.Lease(indoor, conclave.LeaseWork{Agent: "indoor"}); !errors.Is(err, conclave.ErrLimited) {
		t.Errorf("with its hands full: %v", err)
	}
	// It went away with the message: the lease is over, and the message is given out again.
	if _, err := store.Renew(t.Context(), first.ID, first.Lease, -hour); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Sweep(t.Context(), hub.Sweep{Instance: "hub", AgentTTL: hour, ClaimTTL: hour / 60}); err != nil {
		t.Fatal(err)
	}
	second := n.lease(indoor, "indoor", 1000)
	if len(second) != 1 || second[0].Message.ID != first.Message.ID || second[0].Lease == first.Lease {
		t.Fatalf("leased again: %+v", second)
	}
	if _, err := n.hub.Answer(indoor, conclave.AnswerWork{ID: first.ID, Lease: first.Lease, Text: "late"}); !errors.Is(err, conclave.ErrConflict) {
		t.Errorf("an answer under the lease that is over: %v", err)
	}
	if _, err := n.hub.Extend(indoor, conclave.ExtendLease{ID: first.ID, Lease: first.Lease}); !errors.Is(err, conclave.ErrConflict) {
		t.Errorf("extending the lease that is over: %v", err)
	}
	// Cancelled meanwhile: nobody wants the answer any more.
	if _, err := n.hub.Cancel(as(t.Context(), "ada"), conclave.NameTask{ID: task.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.hub.Answer(indoor, conclave.AnswerWork{ID: task.ID, Lease: second[0].Lease, Text: "2 words"}); !errors.Is(err, conclave.ErrConflict) || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("an answer to a cancelled task: %v", err)
	}
}

func TestWorkOfOthersIsNotLeased(t *testing.T) {
	n := connect(t, hub.NewMemory(nil))
	n.puller("indoor", "clerk", 2)
	n.puller("other", "clerk", 2)
	n.agent("dev-1", "developer", echo)
	task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/indoor", Text: "one two"})
	for _, ctx := range []context.Context{asAgent(t.Context(), "other"), as(t.Context(), "ada")} {
		if _, err := n.hub.Lease(ctx, conclave.LeaseWork{Agent: "indoor"}); !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("leased by %s: %v", conclave.CallerFrom(ctx).Name(), err)
		}
	}
	if work := n.lease(asAgent(t.Context(), "other"), "other", 0); len(work) != 0 {
		t.Errorf("other leases %+v", work)
	}
	w := n.lease(asAdmin(t.Context()), "indoor", 1000)[0] // who registers agents may act for one
	for name, err := range map[string]error{
		"answered by another": second(n.hub.Answer(asAgent(t.Context(), "other"), conclave.AnswerWork{ID: w.ID, Lease: w.Lease, Text: "mine"})),
		"extended by another": second(n.hub.Extend(asAgent(t.Context(), "other"), conclave.ExtendLease{ID: w.ID, Lease: w.Lease})),
	} {
		if !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	admin := asAdmin(t.Context())
	for _, tt := range []struct {
		name string
		err  error
		kind error
	}{
		{"an agent that is reached", second(n.hub.Lease(admin, conclave.LeaseWork{Agent: "dev-1"})), conclave.ErrConflict},
		{"nobody", second(n.hub.Lease(admin, conclave.LeaseWork{Agent: "nobody"})), conclave.ErrNotFound},
		{"too long a wait", second(n.hub.Lease(admin, conclave.LeaseWork{Agent: "indoor", Wait: 60_001})), conclave.ErrInvalid},
		{"too short a lease", second(n.hub.Lease(admin, conclave.LeaseWork{Agent: "indoor", Seconds: 1})), conclave.ErrInvalid},
		{"no task", second(n.hub.Answer(admin, conclave.AnswerWork{ID: "task-0"})), conclave.ErrNotFound},
		{"a state that is none", second(n.hub.Answer(admin, conclave.AnswerWork{ID: w.ID, Lease: w.Lease, State: conclave.TaskWorking})), conclave.ErrInvalid},
		{"data that is no JSON", second(n.hub.Answer(admin, conclave.AnswerWork{ID: w.ID, Lease: w.Lease, Data: json.RawMessage(`{`)})), conclave.ErrInvalid},
	} {
		if !errors.Is(tt.err, tt.kind) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.kind)
		}
	}
	failed, err := n.hub.Answer(admin, conclave.AnswerWork{ID: w.ID, Lease: w.Lease, State: conclave.TaskRejected, Text: "I count no verses"})
	if err != nil || failed.State != conclave.TaskRejected || !strings.Contains(failed.Error, "I count no verses") || failed.ID != task.ID {
		t.Errorf("rejected: %+v, %v", failed, err)
	}
}

const hour = time.Hour

func second[T any](_ T, err error) error { return err }
