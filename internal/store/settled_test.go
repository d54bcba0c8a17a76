package store_test

import (
	"context"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
	"conclave/internal/store"
)

// Who waits gets the task as it was kept, with what was said in it, although
// nobody reads it.
func TestWhoWaitsGetsWhatWasKept(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db"), Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := db.Hub()
	if _, err := s.UpsertAgent(ctx, conclave.DefaultTenant, conclave.Agent{Name: "one", Role: "one", URL: "http://127.0.0.1:1", State: conclave.AgentLive, Capacity: 1}); err != nil {
		t.Fatal(err)
	}
	said := func(id, text string) conclave.Message {
		return conclave.Message{ID: conclave.MessageID(id), Task: "task", Conversation: "talk", From: "me", To: "agents/one", Text: text}
	}
	task, _, err := s.Accept(ctx, hub.Accept{Tenant: conclave.DefaultTenant, Agent: "one", Instance: "hub", Request: said("msg", "count"),
		Task: conclave.Task{ID: "task", Conversation: "talk", From: "me", To: "agents/one"}})
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan hub.Task, 1)
	go func() {
		got, err := s.Wait(ctx, "task", conclave.TaskWorking, time.Minute)
		if err != nil {
			t.Error(err)
		}
		waited <- got
	}()
	for db.SettledWaiters("task") == 0 && ctx.Err() == nil {
		runtime.Gosched()
	}
	answer := said("answer", "1")
	if _, err := s.Settle(ctx, hub.Settle{ID: "task", Epoch: task.Epoch, State: conclave.TaskCompleted, Text: "1", Message: &answer}); err != nil {
		t.Fatal(err)
	}
	got := <-waited
	kept, err := s.Wait(ctx, "task", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := s.Messages(ctx, hub.MessageFilter{Tenant: conclave.DefaultTenant, Task: "task"})
	if err != nil {
		t.Fatal(err)
	}
	if got.History != nil && !reflect.DeepEqual(got.History, messages) {
		t.Errorf("it is told that was said\n%+v\nand kept is\n%+v", got.History, messages)
	}
	if got.History, got.Age, kept.Age = nil, 0, 0; !reflect.DeepEqual(got, kept) {
		t.Errorf("who waits gets\n%+v\nand kept is\n%+v", got, kept)
	}
	if n := db.SettledWaiters("task"); n != 0 {
		t.Errorf("%d still wait", n)
	}
}
