package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
	"conclave/internal/store"
)

// accept keeps a task of ada's for dev-1.
func accept(t *testing.T, db *store.DB, id string) hub.Task {
	t.Helper()
	to := "agents/dev-1"
	task, _, err := db.Hub().Accept(t.Context(), hub.Accept{
		Tenant:  "acme",
		Task:    conclave.Task{ID: conclave.TaskID(id), Conversation: conclave.ConversationID("talk-" + id), From: "ada", To: to},
		Request: conclave.Message{ID: conclave.MessageID("msg-" + id), Task: conclave.TaskID(id), Conversation: conclave.ConversationID("talk-" + id), From: "ada", To: to, Text: "Hello?"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestPushes(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), db.Pushes()
		fatal := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		take := func(want ...conclave.TaskState) []hub.Push {
			t.Helper()
			list, err := s.TakePushes(ctx, 10, time.Hour, 0)
			fatal(err)
			var got []conclave.TaskState
			for _, p := range list {
				for _, c := range p.Changes {
					got = append(got, c.State)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("taken on: %v, want %v", got, want)
			}
			return list
		}
		if _, err := db.Hub().UpsertAgent(ctx, "acme", conclave.Agent{Name: "dev-1", Role: "developer", State: conclave.AgentLive, Capacity: 5}); err != nil {
			t.Fatal(err)
		}
		task := accept(t, db, "t1")
		fatal(s.SavePush(ctx, "acme", hub.PushConfig{Task: "t1", ID: "a", URL: "http://a", Token: "x"}, true, 2))
		take() // nothing has changed yet
		task, err := db.Hub().Claim(ctx, hub.Claim{ID: "t1", Epoch: 1, Agent: "dev-1", Instance: "hub"})
		fatal(err)
		fatal(s.SavePush(ctx, "acme", hub.PushConfig{Task: "t1", ID: "b", URL: "http://b"}, false, 2))
		if err := s.SavePush(ctx, "acme", hub.PushConfig{Task: "t1", ID: "c", URL: "http://c"}, false, 2); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("a third configuration of two: %v", err)
		}
		fatal(s.SavePush(ctx, "acme", hub.PushConfig{Task: "t1", ID: "b", URL: "http://b2"}, false, 2))
		list, err := s.PushConfigs(ctx, "acme", "t1")
		fatal(err)
		if len(list) != 2 || list[0].Token != "x" || list[1].URL != "http://b2" {
			t.Errorf("kept %+v", list)
		}
		if others, err := s.PushConfigs(ctx, "globex", "t1"); err != nil || len(others) > 0 {
			t.Errorf("another tenant sees %+v, %v", others, err)
		}

		a := take(conclave.TaskWorking)[0]
		if a.ID != "a" || a.Task.ID != "t1" {
			t.Errorf("taken on: %+v", a)
		}
		take() // it is out
		// The task ends while it is out: the rest is told after it.
		if _, err := db.Hub().Settle(ctx, hub.Settle{ID: "t1", Epoch: task.Epoch, State: conclave.TaskCompleted, Text: "Yes."}); err != nil {
			t.Fatal(err)
		}
		b := take(conclave.TaskCompleted)[0]
		if b.ID != "b" || b.Task.Text != "Yes." {
			t.Errorf("taken on: %+v", b)
		}
		end := hub.EndPush{Tenant: "acme", Task: "t1", ID: "a", Epoch: a.Epoch, Told: a.Changes[0].Seq}
		fatal(s.EndPush(ctx, end))
		if err := s.EndPush(ctx, end); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("given back twice: %v", err)
		}
		a = take(conclave.TaskCompleted)[0]
		fatal(s.EndPush(ctx, hub.EndPush{Tenant: "acme", Task: "t1", ID: "a", Epoch: a.Epoch, Failed: "no answer"}))
		a = take(conclave.TaskCompleted)[0]
		if a.Attempt != 1 {
			t.Errorf("after one failure this is attempt %d", a.Attempt)
		}
		fatal(s.EndPush(ctx, hub.EndPush{Tenant: "acme", Task: "t1", ID: "a", Epoch: a.Epoch, Failed: "no answer", Told: a.Changes[0].Seq, GaveUp: true}))
		fatal(s.DeletePush(ctx, "acme", "t1", "b"))
		if err := s.EndPush(ctx, hub.EndPush{Tenant: "acme", Task: "t1", ID: "b", Epoch: b.Epoch}); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("given back after it was deleted: %v", err)
		}
		take()
		events, err := db.Events().List(conclave.WithCaller(ctx, conclave.Caller{Tenant: "acme"}), conclave.EventFilter{Kinds: []conclave.EventKind{conclave.EventPushFailed}})
		fatal(err)
		if len(events) != 1 || events[0].Subject != "t1" {
			t.Errorf("given up with the events %+v", events)
		}
	})
}
