package store_test

import (
	"context"
	"errors"
	"testing"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/store"
)

func TestDeadLetters(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		n := connect(t, db, true)
		ada := person(t.Context(), "ada", conclave.PermitWork)
		n.register("dev-1", "developer") // and nobody is there
		die := func(text string) conclave.Task {
			t.Helper()
			task, err := n.hub.Send(ada, conclave.SendMessage{To: "agents/dev-1", Text: text, TTL: 1000})
			n.must(err)
			task, err = n.hub.Task(ada, conclave.GetTask{ID: task.ID, Wait: 30_000})
			n.must(err)
			if task.State != conclave.TaskFailed {
				t.Fatalf("after its time the task is %s", task.State)
			}
			return task
		}
		first, second := die("one"), die("two")
		list, err := n.hub.Dead(ada, conclave.ListDeadLetters{})
		n.must(err)
		if len(list) != 2 || list[0].Task != first.ID || list[0].Message.Text != "one" || list[0].Reason != first.Error || list[0].Died.IsZero() || list[1].Task != second.ID {
			t.Fatalf("dead letters are %+v", list)
		}
		for _, c := range []struct {
			in   conclave.ListDeadLetters
			want int
		}{{conclave.ListDeadLetters{After: first.ID}, 1}, {conclave.ListDeadLetters{To: "agents/dev-2"}, 0}, {conclave.ListDeadLetters{Limit: 1}, 1}} {
			if list, err := n.hub.Dead(ada, c.in); err != nil || len(list) != c.want {
				t.Errorf("%+v lists %d, %v; want %d", c.in, len(list), err, c.want)
			}
		}
		eve := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: "globex", Human: "eve"})
		if list, err := n.hub.Dead(eve, conclave.ListDeadLetters{}); err != nil || len(list) > 0 {
			t.Errorf("another tenant sees %+v, %v", list, err)
		}
		if _, err := n.hub.Retry(eve, conclave.NameTask{ID: first.ID}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("another tenant's retry: %v", err)
		}
		if _, err := n.hub.Drop(eve, conclave.NameTask{ID: first.ID}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("another tenant's drop: %v", err)
		}

		heard := make(chan a2awire.Incoming, 10)
		n.answer("dev-1", func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			heard <- in
			return a2awire.Outgoing{Text: "heard " + in.Text}, nil
		})
		again, err := n.hub.Retry(ada, conclave.NameTask{ID: first.ID})
		n.must(err)
		twice, err := n.hub.Retry(ada, conclave.NameTask{ID: first.ID})
		n.must(err)
		if again.ID == first.ID || twice.ID != again.ID || again.Conversation != first.Conversation || again.From != "ada" {
			t.Errorf("retried as %+v, and then as %s", again, twice.ID)
		}
		done, err := n.hub.Task(ada, conclave.GetTask{ID: again.ID, Wait: 30_000})
		n.must(err)
		if in := <-heard; in.Text != "one" || in.MessageID != list[0].Message.ID || done.Text != "heard one" {
			t.Errorf("the agent heard %q as %s, want the message %s; the task is %+v", in.Text, in.MessageID, list[0].Message.ID, done)
		}
		if len(heard) > 0 {
			t.Errorf("the agent heard it again: %+v", <-heard)
		}

		dropped, err := n.hub.Drop(ada, conclave.NameTask{ID: second.ID})
		n.must(err)
		if dropped.Message.Text != "two" {
			t.Errorf("dropped %+v", dropped)
		}
		for _, err := range []error{failure(n.hub.Drop(ada, conclave.NameTask{ID: second.ID})), failure(n.hub.Retry(ada, conclave.NameTask{ID: second.ID}))} {
			if !errors.Is(err, conclave.ErrNotFound) {
				t.Errorf("what was dropped is still there: %v", err)
			}
		}
		if list, err := n.hub.Dead(ada, conclave.ListDeadLetters{}); err != nil || len(list) > 0 {
			t.Errorf("left are %+v, %v", list, err)
		}
		events, err := db.Events().List(ada, conclave.EventFilter{Kinds: []conclave.EventKind{conclave.EventLetterDead, conclave.EventLetterRetried, conclave.EventLetterDropped}})
		n.must(err)
		var kinds []string
		for _, e := range events {
			kinds = append(kinds, string(e.Kind))
		}
		n.want("on record", kinds, []string{"letter.dead", "letter.dead", "letter.retried", "letter.dropped"})
	})
}

func failure[T any](_ T, err error) error { return err }

// A queue that is full says how long it is and when to come again.
func TestFullQueues(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		n := connect(t, db, true, func(o *hub.Options) { o.MaxQueued, o.MaxSent = 3, 5 })
		for _, name := range []string{"dev-1", "dev-2"} { // they have left, so that every message waits
			n.must(func() error {
				_, err := n.hub.Register(person(t.Context(), "admin"), conclave.RegisterAgent{Agent: conclave.Agent{
					Name: conclave.AgentName(name), Role: "developer", URL: "local://" + name, State: conclave.AgentLost}})
				return err
			}())
		}
		ada := person(t.Context(), "ada")
		for i := range 8 {
			to := "agents/dev-1"
			if i > 3 {
				to = "agents/dev-2"
			}
			_, err := n.hub.Send(ada, conclave.SendMessage{To: to, Text: "hello"})
			after, says := conclave.RetryAfter(err)
			if full := i == 3 || i > 5; full != errors.Is(err, conclave.ErrLimited) || full != (says && after > 0) {
				t.Errorf("message %d: %v (again after %v); want it refused: %t", i, err, after, full)
			}
		}
		if _, err := n.hub.Send(person(t.Context(), "bob"), conclave.SendMessage{To: "agents/dev-2", Text: "hello"}); err != nil {
			t.Errorf("another sender: %v", err)
		}
	})
}
