package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"conclave"
)

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
	if got.Tenant != suiteTenant || got.From != "ada" || got.To != "roles/developer" || got.Run != "run" || got.Conversation != "talk-t1" ||
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

	// One that this hub was never told of is put back before those of others are.
	theirs = s.take("theirs", theirs.Epoch+1, "dev-1")
	s.send("others", "agents/dev-1")
	_, err = s.store.Claim(ctx, Claim{ID: "others", Epoch: 1, Agent: "dev-1", Instance: "hub-2"})
	s.must(err)
	for n = 0; n == 0 && ctx.Err() == nil; {
		n, err = s.store.Sweep(ctx, Sweep{Instance: "hub-1", AgentTTL: time.Hour, ClaimTTL: time.Hour, LooseTTL: time.Nanosecond})
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
