package hub

import (
	"fmt"
	"slices"
	"time"

	"conclave"
)

func (s *suite) tasks() {
	ctx := s.Context()
	s.agent("dev-1", "developer", 5)
	for i := range 5 {
		s.send(fmt.Sprintf("t%d", i), "agents/dev-1")
	}
	s.send("other", "roles/qa", func(a *Accept) {
		a.Task.From, a.Request.From, a.Task.Conversation, a.Request.Conversation = "bob", "bob", "talk-2", "talk-2"
	})
	s.end(s.take("t0", 1, "dev-1"), conclave.TaskCompleted) // the newest update now

	ids := func(f TaskFilter) (out []string, total int) {
		f.Tenant = suiteTenant
		tasks, total, err := s.store.Tasks(ctx, f)
		s.must(err)
		for _, t := range tasks {
			out = append(out, string(t.ID))
		}
		return out, total
	}
	if got, _ := ids(TaskFilter{To: "agents/dev-1", Limit: 1}); !slices.Equal(got, []string{"t0"}) {
		s.Errorf("the newest update is of %v, want t0", got)
	}
	for _, c := range []struct {
		f    TaskFilter
		want int
	}{
		{TaskFilter{}, 6}, {TaskFilter{From: "bob"}, 1}, {TaskFilter{To: "agents/dev-1"}, 5}, {TaskFilter{Agent: "dev-1"}, 1},
		{TaskFilter{Conversation: "talk-2"}, 1}, {TaskFilter{State: conclave.TaskSubmitted}, 5}, {TaskFilter{From: "eve"}, 0},
		{TaskFilter{UpdatedAfter: time.Now().Add(time.Hour)}, 0}, {TaskFilter{UpdatedAfter: time.Now().Add(-time.Hour)}, 6},
	} {
		if got, total := ids(c.f); len(got) != c.want || total != c.want {
			s.Errorf("%+v gives %v of %d, want %d", c.f, got, total, c.want)
		}
	}

	var paged []string
	f := TaskFilter{Tenant: suiteTenant, Limit: 2}
	for page := 0; page < 10; page++ {
		tasks, total, err := s.store.Tasks(ctx, f)
		s.must(err)
		if total != 6 {
			s.Errorf("page %d says there are %d tasks", page, total)
		}
		if len(tasks) == 0 {
			break
		}
		for _, t := range tasks {
			paged = append(paged, string(t.ID))
			f.Before.Updated, f.Before.ID = t.Updated, t.ID
		}
	}
	if all, _ := ids(TaskFilter{}); !slices.Equal(paged, all) {
		s.Errorf("page by page there are %v, at once %v", paged, all)
	}
}

func (s *suite) messages() {
	ctx := s.Context()
	for i := range 4 {
		s.send(fmt.Sprintf("t%d", i), "roles/qa", in("talk"))
	}
	s.send("other", "roles/qa", in("talk-2"))
	s.send("foreign", "roles/qa", in("talk"), func(a *Accept) { a.Tenant = "globex" })
	list := func(in conclave.ListMessages) (out []string) {
		msgs, err := s.store.Messages(ctx, MessageFilter{Tenant: suiteTenant, ListMessages: in})
		s.must(err)
		for _, m := range msgs {
			out = append(out, string(m.ID))
		}
		return out
	}
	for _, c := range []struct {
		in   conclave.ListMessages
		want []string
	}{
		{conclave.ListMessages{Conversation: "talk"}, []string{"msg-t0", "msg-t1", "msg-t2", "msg-t3"}},
		{conclave.ListMessages{Conversation: "talk", After: "msg-t1"}, []string{"msg-t2", "msg-t3"}},
		{conclave.ListMessages{Conversation: "talk", After: "msg-t0", Limit: 2}, []string{"msg-t1", "msg-t2"}},
		{conclave.ListMessages{Conversation: "talk", Latest: true, Limit: 2}, []string{"msg-t2", "msg-t3"}},
		{conclave.ListMessages{Conversation: "talk", After: "msg-t0", Latest: true}, []string{"msg-t1", "msg-t2", "msg-t3"}},
		{conclave.ListMessages{Run: "run", Limit: 10}, []string{"msg-t0", "msg-t1", "msg-t2", "msg-t3", "msg-other"}},
		{conclave.ListMessages{Conversation: "nowhere"}, nil},
	} {
		if got := list(c.in); !slices.Equal(got, c.want) {
			s.Errorf("%+v gives %v, want %v", c.in, got, c.want)
		}
	}
	_, err := s.store.Messages(ctx, MessageFilter{Tenant: suiteTenant, ListMessages: conclave.ListMessages{After: "msg-foreign"}})
	s.is(err, conclave.ErrNotFound, "listing after another tenant's message")
}

func (s *suite) refuse() {
	s.must(s.store.Refuse(s.Context(), Refusal{Tenant: suiteTenant, Rule: "cycle", From: "dev-1", To: "agents/qa-1", Conversation: "talk", Why: "the call would go in a circle"}))
	e := s.events()
	if len(e) != 1 || e[0].Kind != conclave.EventCallRefused || e[0].Actor != "dev-1" || e[0].Subject != "agents/qa-1" ||
		e[0].Conversation != "talk" || e[0].Text != "the call would go in a circle" || e[0].Tenant != suiteTenant || string(e[0].Data) != `{"count":1,"rule":"cycle","to":"agents/qa-1"}` {
		s.Errorf("recorded %+v", e)
	}
}
