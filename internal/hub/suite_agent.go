package hub

import (
	"fmt"
	"time"

	"conclave"
)

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
	changed.State = conclave.AgentGone
	for range 2 { // the second time is nothing new
		_, err = s.store.UpsertAgent(ctx, suiteTenant, changed)
		s.must(err)
	}
	s.expectKinds("dev-1", conclave.EventAgentRegistered, conclave.EventAgentRegistered, conclave.EventAgentLost, conclave.EventAgentLost)
	devs, err = s.store.Agents(ctx, suiteTenant, conclave.ListAgents{Role: "developer"})
	s.must(err)
	callees, err := s.store.Callees(ctx, suiteTenant, "agents/dev-1")
	s.must(err)
	if len(devs) != 0 || len(callees) != 0 {
		s.Errorf("the developer is gone; listed are %+v, asked would be %+v", devs, callees)
	}
	_, err = s.store.UpsertAgent(ctx, suiteTenant, forged)
	s.is(err, conclave.ErrConflict, "taking the name of one that is gone with another key")

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
