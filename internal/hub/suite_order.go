package hub

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"conclave"
)

// acceptFor tests tasks that are claimed when they are accepted.
func (s *suite) acceptFor() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 2)
	give := func(id, to string, change ...func(*Accept)) Task {
		s.Helper()
		a := suiteAccept(id, to)
		a.Agent, a.Instance = "dev-1", "hub-1"
		for _, f := range change {
			f(&a)
		}
		t, _, err := s.store.Accept(ctx, a)
		s.must(err)
		return t
	}
	t := give("t1", "agents/dev-1")
	if t.State != conclave.TaskWorking || t.Agent != "dev-1" || t.Epoch != 2 || t.Attempt != 1 {
		s.Errorf("accepted for a free agent as %+v", t)
	}
	s.expectKinds("t1", conclave.EventMessageSent, conclave.EventTaskChanged)
	if t := give("t2", "roles/developer"); t.State != conclave.TaskWorking {
		s.Errorf("accepted by role for a free agent as %s", t.State)
	}
	if t := give("t3", "agents/dev-1"); t.State != conclave.TaskSubmitted || t.Agent != "" || t.Epoch != 1 {
		s.Errorf("accepted for an agent with its hands full as %+v", t)
	}
	s.expectJobs(suiteJob{"t3", 1})
	s.end(t, conclave.TaskCompleted)
	if t := give("t4", "agents/dev-1"); t.State != conclave.TaskSubmitted {
		s.Errorf("accepted before what waits for the same agent as %s", t.State)
	}
	s.expectJobs(suiteJob{"t4", 1})
	n, err := s.store.Sweep(ctx, Sweep{Instance: "hub-1", Start: true, AgentTTL: time.Hour, ClaimTTL: time.Hour})
	s.must(err)
	if n != 1 {
		s.Errorf("a restart put back %d claims, want the one that was made with its acceptance", n)
	}
}

// fullHands tests that a delivery is parked by the claim that found no hand free.
func (s *suite) fullHands() {
	s.agent("dev-1", "developer", 1)
	s.send("t1", "agents/dev-1")
	busy := s.take("t1", 1, "dev-1")
	s.send("t2", "roles/developer")
	_, err := s.store.Claim(s.Context(), Claim{ID: "t2", Epoch: 1, Agent: "dev-1", Instance: "hub-1", Park: time.Hour})
	s.is(err, conclave.ErrLimited, "claiming for an agent with its hands full")
	s.end(busy, conclave.TaskCompleted)
	s.expectJobs(suiteJob{"t2", 1})
	s.take("t2", 1, "dev-1")
}

// turns tests that of a conversation's messages to one agent one is out at a time.
func (s *suite) turns() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	s.agent("dev-2", "developer", 5)
	s.send("t1", "agents/dev-1", in("talk"))
	for _, id := range []string{"t2", "t3", "t4"} {
		a := suiteAccept(id, "agents/dev-1")
		in("talk")(&a)
		a.Agent, a.Instance = "dev-1", "hub-1"
		t, _, err := s.store.Accept(ctx, a)
		s.must(err)
		if t.State != conclave.TaskSubmitted {
			s.Errorf("%s is %s while t1 has not ended", id, t.State)
		}
	}
	// Others are not held up, nor what is said to a role.
	s.send("other-agent", "agents/dev-2", in("talk"))
	s.send("other-talk", "agents/dev-1")
	s.send("role-1", "roles/developer", in("talk"))
	s.send("role-2", "roles/developer", in("talk"))

	_, err := s.store.Claim(ctx, Claim{ID: "t2", Epoch: 1, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrConflict, "claiming before its turn")
	first := s.take("t1", 1, "dev-1")
	back, err := s.store.Settle(ctx, Settle{ID: "t1", Epoch: first.Epoch, State: conclave.TaskSubmitted})
	s.must(err)
	s.expectJobs(suiteJob{"t1", back.Epoch})
	_, err = s.store.Claim(ctx, Claim{ID: "t2", Epoch: 1, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrConflict, "claiming before what was put back")
	s.end(s.take("t1", back.Epoch, "dev-1"), conclave.TaskCompleted)
	s.expectJobs(suiteJob{"t2", 1})

	third, err := s.store.Wait(ctx, "t3", "", 0)
	s.must(err)
	s.end(third, conclave.TaskCanceled)
	s.end(s.take("t2", 1, "dev-1"), conclave.TaskFailed)
	s.expectJobs(suiteJob{"t4", 1})
	s.take("t4", 1, "dev-1")
}

// order plays at random and checks that each conversation's messages to an agent
// are claimed in the order in which they were accepted, and none before the one
// before it has ended.
func (s *suite) order() {
	ctx := s.Context()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	s.agent("dev-1", "developer", 3)
	s.agent("dev-2", "developer", 3)
	line := func(t Task) string { return t.To + " " + string(t.Conversation) }
	accepted, begun := map[string][]conclave.TaskID{}, map[string][]conclave.TaskID{}
	var waiting, working []Task
	count, ended := 0, 0
	const total = 120
	for ended < total && ctx.Err() == nil {
		for more := true; more; {
			select {
			case <-s.jobs: // there are more than it is worth to look at
			default:
				more = false
			}
		}
		switch pick := random.IntN(10); {
		case pick < 4 && count < total:
			count++
			a := suiteAccept(fmt.Sprintf("t%03d", count), fmt.Sprintf("agents/dev-%d", 1+random.IntN(2)))
			in(conclave.ConversationID(fmt.Sprintf("talk-%d", random.IntN(3))))(&a)
			if random.IntN(2) == 0 {
				a.Agent, a.Instance = conclave.AgentName(a.Task.To[len("agents/"):]), "hub-1"
			}
			t, _, err := s.store.Accept(ctx, a)
			s.must(err)
			accepted[line(t)] = append(accepted[line(t)], t.ID)
			if t.State == conclave.TaskWorking {
				working, begun[line(t)] = append(working, t), append(begun[line(t)], t.ID)
			} else {
				waiting = append(waiting, t)
			}
		case pick < 7 && len(waiting) > 0:
			i := random.IntN(len(waiting))
			t := waiting[i]
			got, err := s.store.Claim(ctx, Claim{ID: t.ID, Epoch: t.Epoch, Agent: conclave.AgentName(t.To[len("agents/"):]), Instance: "hub-1", Park: time.Hour})
			if err != nil {
				continue
			}
			if slices.ContainsFunc(working, func(o Task) bool { return line(o) == line(t) }) {
				s.Fatalf("%s was claimed while another one of %s is out", t.ID, line(t))
			}
			if was := begun[line(t)]; !slices.Contains(was, t.ID) {
				begun[line(t)] = append(was, t.ID)
			}
			waiting, working = slices.Delete(waiting, i, i+1), append(working, got)
		case len(working) > 0:
			i := random.IntN(len(working))
			t := working[i]
			working = slices.Delete(working, i, i+1)
			if random.IntN(3) == 0 {
				back, err := s.store.Settle(ctx, Settle{ID: t.ID, Epoch: t.Epoch, State: conclave.TaskSubmitted, Parked: random.IntN(2) == 0})
				s.must(err)
				waiting = append(waiting, back)
				continue
			}
			s.end(t, conclave.TaskCompleted)
			ended++
		}
	}
	for l, want := range accepted {
		if !slices.Equal(begun[l], want) {
			s.Errorf("the messages of %s were begun in the order %v, accepted in %v", l, begun[l], want)
		}
	}
}
