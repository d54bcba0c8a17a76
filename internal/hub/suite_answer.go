package hub

import (
	"errors"
	"sync"

	"conclave"
)

// answer tests tasks whose agent asks back.
func (s *suite) answer() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	reply := func(id, key, text string) (Task, error) {
		return s.store.Answer(ctx, Answer{ID: conclave.TaskID(id), Key: key, Message: conclave.Message{
			ID: conclave.MessageID("msg " + id + " " + key), Task: conclave.TaskID(id), Conversation: "talk", From: "ada", To: "agents/dev-1", Text: text}})
	}
	ask := func(t Task) Task {
		s.Helper()
		t, err := s.store.Settle(ctx, Settle{ID: t.ID, Epoch: t.Epoch, State: conclave.TaskInputRequired, Text: "Which?", Remote: "remote", Actor: "dev-1"})
		s.must(err)
		return t
	}
	s.send("t1", "agents/dev-1", in("talk"))
	_, err := reply("t1", "early", "This one.")
	s.is(err, conclave.ErrConflict, "answering what was not asked")
	_, err = reply("t0", "k", "This one.")
	s.is(err, conclave.ErrNotFound, "answering for no task")
	asked := ask(s.take("t1", 1, "dev-1"))
	if asked.Text != "Which?" || asked.AskedBy != "dev-1" {
		s.Errorf("the agent asks as %+v", asked)
	}

	// The next of the conversation goes on while the asker thinks.
	s.send("t2", "agents/dev-1", in("talk"))
	second := s.take("t2", 1, "dev-1")
	answered, err := reply("t1", "k1", "The first.")
	s.must(err)
	if answered.State != conclave.TaskSubmitted || answered.Epoch <= asked.Epoch || answered.Request.Text != "The first." || answered.Remote != "remote" || answered.Agent != "" || answered.Text != "" {
		s.Errorf("answered as %+v", answered)
	}
	again, err := reply("t1", "k1", "The first.")
	s.must(err)
	if again.Epoch != answered.Epoch {
		s.Errorf("the same answer again raised the epoch from %d to %d", answered.Epoch, again.Epoch)
	}
	_, err = s.store.Claim(ctx, Claim{ID: "t1", Epoch: answered.Epoch, Agent: "dev-1", Instance: "hub-1"})
	s.is(err, conclave.ErrConflict, "claiming an answer before its turn")
	s.end(second, conclave.TaskCompleted)
	s.expectJobs(suiteJob{"t1", answered.Epoch})

	// Asked a second time, by two answers at once: one of them is taken.
	ask(s.take("t1", answered.Epoch, "dev-1"))
	var both sync.WaitGroup
	results := make([]error, 2)
	for i, key := range []string{"k2", "k3"} {
		both.Go(func() { _, results[i] = reply("t1", key, "The last.") })
	}
	both.Wait()
	taken := 0
	for _, err := range results {
		if err == nil {
			taken++
		} else if !errors.Is(err, conclave.ErrConflict) {
			s.Errorf("answering at once: %v", err)
		}
	}
	if taken != 1 {
		s.Errorf("%d of two answers were taken", taken)
	}
	now, err := s.store.Wait(ctx, "t1", "", 0)
	s.must(err)
	s.end(s.take("t1", now.Epoch, "dev-1"), conclave.TaskCompleted)
	_, err = reply("t1", "k4", "Too late.")
	s.is(err, conclave.ErrConflict, "answering what has ended")
	if done, err := reply("t1", "k1", "The first."); err != nil || done.State != conclave.TaskCompleted {
		s.Errorf("the first answer again, after the end: %s, %v", done.State, err)
	}
	said, err := s.store.Messages(ctx, MessageFilter{Tenant: suiteTenant, Task: "t1"})
	s.must(err)
	if len(said) != 3 {
		s.Errorf("%d messages are kept, want the question and two answers: %+v", len(said), said)
	}
}
