package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
	"conclave/internal/store"
)

// ask sends to an agent and waits for its answer.
func (n *network) ask(name string, in conclave.SendMessage) conclave.Task {
	n.t.Helper()
	ctx := person(n.t.Context(), name)
	sent, err := n.hub.Send(ctx, in)
	n.must(err)
	got, err := n.hub.Task(ctx, conclave.GetTask{ID: sent.ID, Wait: 20_000})
	n.must(err)
	return got
}

func TestConversations(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		n := connect(t, db, true)
		n.agent("dev-1", "developer")
		n.agent("qa-1", "qa")
		talks := n.hub.Conversations()
		ada := person(t.Context(), "ada")
		n.ask("ada", conclave.SendMessage{Conversation: "talk-1", To: "agents/dev-1", Text: `Is 100% of "Straße" done?`})
		between := n.ask("ada", conclave.SendMessage{Conversation: "talk-1", To: "agents/qa-1", Text: "And tested?"}).Updated
		n.ask("bob", conclave.SendMessage{Conversation: "talk-2", Run: "run-1", To: "agents/qa-1", Text: "Something else"})
		time.Sleep(2 * time.Millisecond) // as_of_ms has no finer moments
		n.ask("ada", conclave.SendMessage{Conversation: "talk-1", To: "agents/dev-1", Text: "Thanks."})

		list := func(in conclave.ListConversations) (ids []string) {
			t.Helper()
			got, err := talks.List(ada, in)
			n.must(err)
			for _, c := range got {
				ids = append(ids, string(c.ID))
			}
			return ids
		}
		for _, c := range []struct {
			in   conclave.ListConversations
			want []string
		}{
			{conclave.ListConversations{}, []string{"talk-1", "talk-2"}},
			{conclave.ListConversations{Limit: 1}, []string{"talk-1"}},
			{conclave.ListConversations{Before: "talk-1"}, []string{"talk-2"}},
			{conclave.ListConversations{Text: "TESTED"}, []string{"talk-1"}},
			{conclave.ListConversations{Text: `100% of "straße`}, []string{"talk-1"}},
			{conclave.ListConversations{Text: "100_"}, nil},
			{conclave.ListConversations{Text: "agents/qa-1"}, nil}, // who was asked is not what was said
			{conclave.ListConversations{Party: "bob"}, []string{"talk-2"}},
			{conclave.ListConversations{Party: "qa-1"}, []string{"talk-1", "talk-2"}},
			{conclave.ListConversations{Run: "run-1"}, []string{"talk-2"}},
			{conclave.ListConversations{Since: time.Now().Add(time.Hour).UnixMilli()}, nil},
		} {
			if got := list(c.in); !slices.Equal(got, c.want) {
				t.Errorf("%+v lists %v, want %v", c.in, got, c.want)
			}
		}
		if _, err := talks.List(ada, conclave.ListConversations{Before: "talk-9"}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("after a conversation that is not there: %v", err)
		}

		now, err := talks.Replay(ada, conclave.ReplayConversation{ID: "talk-1"})
		n.must(err)
		if c := now.Conversation; c.Messages != 6 || c.Open != 0 || fmt.Sprint(c.Parties) != "[ada dev-1 qa-1]" || len(now.Messages) != 6 || len(now.Tasks) != 3 || now.More {
			t.Errorf("now it is %+v with %d messages", c, len(now.Messages))
		}
		then, err := talks.Replay(ada, conclave.ReplayConversation{ID: "talk-1", AsOf: between.UnixMilli() + 1})
		n.must(err)
		if c := then.Conversation; c.Messages != 4 || len(then.Messages) != 4 || len(then.Tasks) != 2 || then.Tasks[1].State != conclave.TaskCompleted || c.Updated.After(then.At) {
			t.Errorf("at %v it was %+v, with tasks %+v", then.At, c, then.Tasks)
		}
		// While the second task was under way. Times in the store are finer than the question can be.
		asked := now.Messages[2].Sent
		working, err := db.Conversations().Replay(ada, conclave.DefaultTenant, "talk-1", asked, "", 100)
		n.must(err)
		if c := working.Conversation; len(working.Messages) != 3 || c.Open != 1 || working.Tasks[1].State != conclave.TaskWorking || working.Tasks[1].Text != "" {
			t.Errorf("while it was under way it was %+v, with tasks %+v", c, working.Tasks)
		}
		if _, err := talks.Replay(ada, conclave.ReplayConversation{ID: "talk-1", AsOf: 1}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("before it began: %v", err)
		}
		eve := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: "globex", Human: "eve"})
		if _, err := talks.Replay(eve, conclave.ReplayConversation{ID: "talk-1"}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("another tenant sees it: %v", err)
		}

		var lines []string
		after := conclave.MessageID("")
		for pages := 0; pages < 10; pages++ {
			records, err := talks.Export(ada, conclave.ExportConversation{ID: "talk-1", After: after, Limit: 2})
			n.must(err)
			if len(records) == 0 {
				break
			}
			for _, r := range records {
				switch {
				case r.Conversation != nil:
					lines = append(lines, string(r.Conversation.ID))
				case r.Message != nil:
					lines, after = append(lines, r.Message.Text), r.Message.ID
				case r.Task != nil:
					lines = append(lines, string(r.Task.State))
				}
			}
		}
		n.want("the export", lines, []string{"talk-1", `Is 100% of "Straße" done?`, "completed", `dev-1 heard Is 100% of "Straße" done?`, "And tested?", "completed",
			"qa-1 heard And tested?", "Thanks.", "completed", "dev-1 heard Thanks."})
	})
}

func TestEscalation(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		n := connect(t, db, true)
		n.agent("dev-1", "developer")
		n.agent("lead-1", "lead")
		talks := n.hub.Conversations()
		ada, boss := person(t.Context(), "ada"), person(t.Context(), "boss", conclave.PermitApprove)
		n.ask("ada", conclave.SendMessage{Conversation: "talk-1", To: "agents/dev-1", Text: "Tabs or spaces?"})

		// A senior role that settles it.
		first, err := talks.Escalate(ada, conclave.EscalateConversation{Key: "k", ID: "talk-1", To: "roles/lead", Reason: "we can't agree"})
		n.must(err)
		again, err := talks.Escalate(ada, conclave.EscalateConversation{Key: "k", ID: "talk-1", To: "roles/lead", Reason: "we can't agree"})
		n.must(err)
		if again.ID != first.ID || again.Task != first.Task || first.State != conclave.EscalationAsked {
			t.Errorf("the same key: %+v, want %+v", again, first)
		}
		list := func(in conclave.ListEscalations) (out []string) {
			t.Helper()
			got, err := talks.Escalations(ada, in)
			n.must(err)
			for _, e := range got {
				out = append(out, strings.TrimSpace(fmt.Sprint(e.To, " ", e.State, " ", e.AnsweredBy)))
			}
			return out
		}
		n.must(waitFor(t, func() bool {
			return slices.Equal(list(conclave.ListEscalations{}), []string{"roles/lead answered lead-1"})
		}))
		all, err := talks.Escalations(ada, conclave.ListEscalations{Conversation: "talk-1"})
		n.must(err)
		if answer := all[0].Answer; !strings.Contains(answer, "ada escalates this conversation to you: we can't agree") || !strings.Contains(answer, "- ada to agents/dev-1: Tabs or spaces?") {
			t.Errorf("the lead was told %q", answer)
		}

		// One that can't waits for a human, as one to a human does.
		_, err = talks.Escalate(ada, conclave.EscalateConversation{ID: "talk-1", Reason: "and for good?"})
		n.must(err)
		refused := n.refusing("lead-2", "principal")
		_, err = talks.Escalate(ada, conclave.EscalateConversation{ID: "talk-1", To: "agents/" + refused, Reason: "you settle it"})
		n.must(err)
		n.must(waitFor(t, func() bool {
			return slices.Equal(list(conclave.ListEscalations{Open: true}), []string{"human waiting", "agents/lead-2 waiting"})
		}))
		open, err := talks.Escalations(ada, conclave.ListEscalations{Open: true})
		n.must(err)
		done, err := talks.Decide(boss, conclave.AnswerEscalation{Key: "a", ID: open[0].ID, Text: "Tabs."})
		n.must(err)
		if done.State != conclave.EscalationAnswered || done.AnsweredBy != "boss" || done.Answer != "Tabs." {
			t.Errorf("answered as %+v", done)
		}
		if again, err := talks.Decide(boss, conclave.AnswerEscalation{Key: "a", ID: open[0].ID, Text: "Tabs."}); err != nil || again.Answer != "Tabs." {
			t.Errorf("the same answer again: %+v, %v", again, err)
		}
		if _, err := talks.Decide(boss, conclave.AnswerEscalation{ID: open[0].ID, Text: "Spaces."}); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("another answer: %v", err)
		}
		agent := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: conclave.DefaultTenant, Human: "boss", Agent: "dev-1", Permissions: []conclave.Permission{conclave.PermitApprove}})
		if _, err := talks.Decide(agent, conclave.AnswerEscalation{ID: open[1].ID, Text: "Mine."}); !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("an agent answers for a human: %v", err)
		}
		said, err := n.hub.Messages(ada, conclave.ListMessages{Conversation: "talk-1"})
		n.must(err)
		if last := said[len(said)-1]; last.From != "boss" || last.To != "ada" || last.Text != "Tabs." {
			t.Errorf("the last word is %+v", last)
		}

		if _, err := talks.Escalate(ada, conclave.EscalateConversation{ID: "talk-9", Reason: "x"}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("of a conversation that is not there: %v", err)
		}
		if _, err := talks.Escalate(ada, conclave.EscalateConversation{ID: "talk-1", Reason: " "}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("without a reason: %v", err)
		}
		if _, err := talks.Decide(boss, conclave.AnswerEscalation{ID: "esc-9", Text: "x"}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("an answer to nothing: %v", err)
		}
	})
}

// refusing registers an agent that takes nothing on.
func (n *network) refusing(name, role string) string {
	n.t.Helper()
	n.agent(name, role)
	n.local.Serve(name, refuser(n.t, name))
	return name
}

// After its time a conversation is gone from the hub's tables, and its text from
// the record, which still verifies; what somebody else takes out is noticed.
func TestRetention(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			url := e.url(t)
			db := open(t, url, "test")
			n := connect(t, db, true)
			n.agent("dev-1", "developer", "news")
			key := auditKey(t)
			sealer := db.Sealer(key, nil)
			for _, talk := range []conclave.ConversationID{"old", "kept"} {
				n.ask("ada", conclave.SendMessage{Conversation: talk, To: "agents/dev-1", Text: "the secret of " + string(talk)})
			}
			p, err := n.hub.Publish(person(t.Context(), "ada"), conclave.PublishMessage{Topic: "news", Text: "the secret news"})
			n.must(err)
			n.ended(p.ID)
			_, err = n.hub.Conversations().Escalate(person(t.Context(), "ada"), conclave.EscalateConversation{ID: "kept", Reason: "still to be settled"})
			n.must(err)
			if _, err := sealer.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}

			raw := rawDB(t, url)
			count := func(query string) (found int) {
				t.Helper()
				if err := raw.QueryRowContext(t.Context(), query).Scan(&found); err != nil {
					t.Fatal(err)
				}
				return found
			}
			if removed, err := db.Conversations().Expire(t.Context(), time.Hour, 10); err != nil || removed != 0 {
				t.Fatalf("%d of what is new were removed, %v", removed, err)
			}
			removed, err := db.Conversations().Expire(t.Context(), time.Nanosecond, 10)
			if err != nil || removed != 2 { // "kept" waits for an answer
				t.Fatalf("%d conversations were removed, %v; want the old one and the news", removed, err)
			}
			for _, table := range []string{"messages", "tasks", "publications", "recipients"} {
				want := map[string]int{"messages": 3, "tasks": 1}[table]
				if got := count(`SELECT count(*) FROM ` + table); got != want {
					t.Errorf("%d rows are left in %s, want %d", got, table, want)
				}
			}
			// The removal has to be sealed before its texts are taken out.
			if _, err := sealer.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := count(`SELECT count(*) FROM events WHERE data LIKE '%the secret%' AND data NOT LIKE '%secret of kept%'`); got != 0 {
				t.Errorf("%d events still hold what was said", got)
			}
			if got := count(`SELECT count(*) FROM expired`); got != 0 {
				t.Errorf("%d conversations are still to be done", got)
			}
			report, err := db.Verify(t.Context(), nil, []string{key.Public()}, nil)
			if err != nil || !report.OK || report.Expired != 5 || report.Unsealed != 0 {
				t.Fatalf("after the removal the record is %+v, %v; want 5 texts taken out and all well", report, err)
			}

			// A text that somebody else takes out, or puts in, is a change.
			for _, change := range []string{
				`UPDATE events SET data = '{"text":"","expired":true}' WHERE kind = 'message.sent' AND data LIKE '%"text":"the secret of kept"%'`,
				`UPDATE events SET data = replace(data, '"text":""', '"text":"forged"') WHERE seq = (SELECT min(seq) FROM redactions)`,
			} {
				if _, err := raw.ExecContext(t.Context(), change); err != nil {
					t.Fatal(err)
				}
			}
			report, err = db.Verify(t.Context(), nil, []string{key.Public()}, nil)
			if err != nil || report.OK || len(report.Problems) != 2 || report.Problems[0].What != "changed" || report.Problems[1].What != "changed" || report.Problems[0].Seq >= report.Problems[1].Seq {
				t.Errorf("two changes behind its back make %+v, %v", report, err)
			}
			// Another key's word for it counts for nothing.
			other, err := db.Verify(t.Context(), nil, []string{auditKey(t).Public()}, nil)
			if err != nil || other.Expired != 0 {
				t.Errorf("with another key: %+v, %v", other, err)
			}
		})
	}
}

// A conversation is kept while something is under way in it.
func TestRetentionWaits(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		rules := hub.DefaultRules()
		rules.Retention = time.Nanosecond
		n := connect(t, db, false, func(o *hub.Options) { o.Rules = &rules })
		n.register("dev-1", "developer")
		task, err := n.hub.Send(person(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "Later."})
		n.must(err)
		if removed, err := db.Conversations().Expire(t.Context(), time.Nanosecond, 10); err != nil || removed != 0 {
			t.Errorf("%d open conversations were removed, %v", removed, err)
		}
		_, err = n.hub.Cancel(person(t.Context(), "ada"), conclave.NameTask{ID: task.ID})
		n.must(err)
		// Its rule is the hub's own from here: it looks when it starts.
		connect(t, db, true, func(o *hub.Options) { o.Rules = &rules })
		n.must(waitFor(t, func() bool {
			list, err := n.hub.Conversations().List(person(t.Context(), "ada"), conclave.ListConversations{})
			n.must(err)
			return len(list) == 0
		}))
	})
}
