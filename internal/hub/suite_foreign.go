package hub

import (
	"time"

	"conclave"
)

// lease tests what agents that pull their work need of a store.
func (s *suite) lease() {
	ctx := s.Context()
	puller := s.agent("indoor", "clerk", 2)
	puller.Skills = []string{"count"}
	puller, err := s.store.UpsertAgent(ctx, suiteTenant, puller)
	s.must(err)
	none, err := s.store.Waiting(ctx, suiteTenant, puller, 10, 0)
	s.must(err)
	if len(none) != 0 {
		s.Errorf("before anything was said, %+v waits", none)
	}
	type answer struct {
		tasks []Task
		err   error
	}
	came := make(chan answer, 1)
	go func() {
		tasks, err := s.store.Waiting(ctx, suiteTenant, puller, 10, time.Minute)
		came <- answer{tasks, err}
	}()
	s.send("t1", "agents/indoor")
	got := <-came
	s.must(got.err)
	if len(got.tasks) != 1 || got.tasks[0].ID != "t1" {
		s.Fatalf("who waits for work gets %+v", got.tasks)
	}
	s.send("t2", "roles/clerk")
	s.send("t3", "skills/count")
	s.send("t4", "roles/clerk", func(in *Accept) { in.Exclude = []conclave.AgentName{"indoor"} })
	s.send("t5", "roles/developer")
	tasks, err := s.store.Waiting(ctx, suiteTenant, puller, 10, 0)
	s.must(err)
	var ids []conclave.TaskID
	for _, t := range tasks {
		ids = append(ids, t.ID)
	}
	if len(ids) != 3 || ids[0] != "t1" || ids[1] != "t2" || ids[2] != "t3" {
		s.Errorf("%v wait, want t1 t2 t3", ids)
	}
	if few, err := s.store.Waiting(ctx, suiteTenant, puller, 2, 0); err != nil || len(few) != 2 {
		s.Errorf("of 2 wait %+v, %v", few, err)
	}
	if others, err := s.store.Waiting(ctx, "another", puller, 10, 0); err != nil || len(others) != 0 {
		s.Errorf("of another tenant wait %+v, %v", others, err)
	}

	// A claim that counts as renewed later outlives sweeps, until then.
	long, err := s.store.Claim(ctx, Claim{ID: "t1", Epoch: 1, Agent: "indoor", Instance: leaser, Ahead: time.Hour})
	s.must(err)
	short, err := s.store.Claim(ctx, Claim{ID: "t2", Epoch: 1, Agent: "indoor", Instance: leaser, Ahead: -time.Hour})
	s.must(err)
	n, err := s.store.Sweep(ctx, Sweep{Instance: "hub-1", AgentTTL: time.Hour, ClaimTTL: time.Minute})
	s.must(err)
	if n != 1 {
		s.Errorf("the sweep put back %d, want the lease that is over", n)
	}
	s.expectJobs(suiteJob{"t2", short.Epoch + 1})
	_, err = s.store.Renew(ctx, "t2", short.Epoch, time.Hour)
	s.is(err, conclave.ErrConflict, "extending a lease that is over")
	_, err = s.store.Renew(ctx, "t1", long.Epoch-1, time.Hour)
	s.is(err, conclave.ErrConflict, "extending with another epoch")
	_, err = s.store.Renew(ctx, "t0", 1, time.Hour)
	s.is(err, conclave.ErrNotFound, "extending nothing")
	if same, err := s.store.Renew(ctx, "t1", long.Epoch, -time.Hour); err != nil || same.Epoch != long.Epoch || same.State != conclave.TaskWorking {
		s.Errorf("a lease that was made to end: %+v, %v", same, err)
	}
	n, err = s.store.Sweep(ctx, Sweep{Instance: "hub-1", AgentTTL: time.Hour, ClaimTTL: time.Minute})
	s.must(err)
	if n != 1 {
		s.Errorf("the sweep put back %d, want what was made to end", n)
	}
	s.expectJobs(suiteJob{"t1", long.Epoch + 1})
}

// trust tests who may take the place of an agent with a card.
func (s *suite) trust() {
	ctx := s.Context()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	card := func(key, pin string, at time.Time) conclave.Agent {
		a := suiteAgent("desk", "clerk", 1)
		a.Service, a.PublicKey = "", key
		a.Card = &conclave.CardTrust{URL: "https://desk.example/card.json", Signature: conclave.CardVerified, Pin: pin, At: at,
			Interfaces: []conclave.CardInterface{{URL: "https://desk.example/a2a", Binding: "JSONRPC", Version: "1.0"}}}
		return a
	}
	kept, err := s.store.UpsertAgent(ctx, suiteTenant, card("key one", "key:one", at))
	s.must(err)
	if kept.Card == nil || kept.Card.Pin != "key:one" || !kept.Card.At.Equal(at) || len(kept.Card.Interfaces) != 1 {
		s.Errorf("kept as %+v", kept.Card)
	}
	_, err = s.store.UpsertAgent(ctx, suiteTenant, card("key two", "key:two", at))
	s.is(err, conclave.ErrConflict, "another key under the old trust")
	_, err = s.store.UpsertAgent(ctx, suiteTenant, card("key one", "key:two", at))
	s.is(err, conclave.ErrConflict, "another signature under the old trust")
	elsewhere := card("key one", "key:one", at.Add(time.Hour))
	elsewhere.Card.URL = "https://other.example/card.json"
	_, err = s.store.UpsertAgent(ctx, suiteTenant, elsewhere)
	s.is(err, conclave.ErrConflict, "another card")
	byHand := suiteAgent("desk", "clerk", 1)
	byHand.PublicKey = "key one"
	_, err = s.store.UpsertAgent(ctx, suiteTenant, byHand)
	s.is(err, conclave.ErrConflict, "no card")
	s.agent("dev-1", "developer", 1)
	taken := card("key of dev-1", "key:one", at)
	taken.Name = "dev-1"
	_, err = s.store.UpsertAgent(ctx, suiteTenant, taken)
	s.is(err, conclave.ErrConflict, "a card in place of an agent without one")
	again, err := s.store.UpsertAgent(ctx, suiteTenant, card("key two", "key:two", at.Add(time.Second)))
	s.must(err)
	if again.PublicKey != "key two" || again.Card.Pin != "key:two" {
		s.Errorf("trusted again it is %+v", again)
	}
	// What waited for it is delivered to whoever has the skill.
	s.send("t1", "skills/translate")
	s.park("t1", 1)
	able := card("key two", "key:two", at.Add(time.Second))
	able.State = conclave.AgentLost
	_, err = s.store.UpsertAgent(ctx, suiteTenant, able)
	s.must(err)
	able.State, able.Skills = conclave.AgentLive, []string{"translate"}
	_, err = s.store.UpsertAgent(ctx, suiteTenant, able)
	s.must(err)
	s.expectJobs(suiteJob{"t1", 2})
}

// forget tests that an agent is removed, with nothing lost.
func (s *suite) forget() {
	ctx := s.Context()
	desk := suiteAgent("desk", "clerk", 2)
	desk.Service = ""
	desk, err := s.store.UpsertAgent(ctx, suiteTenant, desk)
	s.must(err)
	s.agent("dev-1", "developer", 1)
	s.send("t1", "roles/clerk")
	held := s.take("t1", 1, "desk")
	_, err = s.store.Forget(ctx, suiteTenant, "dev-1", "ada")
	s.is(err, conclave.ErrConflict, "removing an agent of a service")
	_, err = s.store.Forget(ctx, "another", "desk", "ada")
	s.is(err, conclave.ErrNotFound, "removing an agent of another tenant")
	gone, err := s.store.Forget(ctx, suiteTenant, "desk", "ada")
	s.must(err)
	if gone.Name != "desk" {
		s.Errorf("removed %+v", gone)
	}
	s.expectJobs(suiteJob{"t1", held.Epoch + 1})
	if got, err := s.store.Wait(ctx, "t1", "", 0); err != nil || got.State != conclave.TaskSubmitted || got.Agent != "" {
		s.Errorf("what it had in hand is %+v, %v", got, err)
	}
	_, err = s.store.Settle(ctx, Settle{ID: "t1", Epoch: held.Epoch, State: conclave.TaskCompleted})
	s.is(err, conclave.ErrConflict, "an answer of the removed agent")
	_, err = s.store.RenewAgent(ctx, suiteTenant, desk)
	s.is(err, conclave.ErrNotFound, "renewing a removed agent")
	if agents, err := s.store.Agents(ctx, suiteTenant, conclave.ListAgents{}); err != nil || len(agents) != 1 {
		s.Errorf("there are %+v, %v", agents, err)
	}
	desk.PublicKey = "another key" // its name is free
	_, err = s.store.UpsertAgent(ctx, suiteTenant, desk)
	s.must(err)
}
