package hub

import (
	"errors"

	"conclave"
)

func (s *suite) budgets() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	accept := func(id string, budgets ...Budget) (Task, error) {
		t, _, err := s.store.Accept(ctx, Accept{Tenant: suiteTenant, Budgets: budgets, Call: conclave.CallPath{Messages: 1000, Tokens: 1 << 40},
			Task:    conclave.Task{ID: conclave.TaskID(id), Conversation: conclave.ConversationID("talk-" + id), From: "ada", To: "agents/dev-1"},
			Request: conclave.Message{ID: conclave.MessageID("msg-" + id), Task: conclave.TaskID(id), Conversation: conclave.ConversationID("talk-" + id), From: "ada", To: "agents/dev-1", Text: id}})
		return t, err
	}
	whole, part := Budget{Task: "t1", Messages: 3}, Budget{Task: "t2", Messages: 1, Tokens: 100}
	for _, c := range []struct {
		id       string
		budgets  []Budget
		messages int
		tokens   int64
	}{
		{"free", nil, 0, 0},
		{"t1", []Budget{whole}, 2, 0},
		{"t2", []Budget{whole, part}, -1, 100},
		{"t3", []Budget{whole}, -1, 0},
	} {
		t, err := accept(c.id, c.budgets...)
		s.must(err)
		if t.Call.Messages != c.messages || t.Call.Tokens != c.tokens {
			s.Errorf("%s may still spend %+v, want %d messages and %d tokens", c.id, t.Call, c.messages, c.tokens)
		}
	}
	before := len(s.events())
	_, err := accept("t4", whole)
	s.is(err, conclave.ErrLimited, "a message more than the budget has")
	_, err = accept("t5", part)
	s.is(err, conclave.ErrLimited, "a message more than a part of the budget has")
	if _, err := s.store.Wait(ctx, "t4", "", 0); !errors.Is(err, conclave.ErrNotFound) || len(s.events()) != before {
		s.Errorf("what the budget refused left something: %v, %v", err, s.events()[before:])
	}
}
