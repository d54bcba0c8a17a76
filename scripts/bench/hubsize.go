package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"conclave"
	"conclave/internal/hub"
	"conclave/internal/store"
)

// A part of the large store is as large as the whole small one: an agent, ten
// conversations, a thousand messages.
const (
	sizeParts = 1000
	sizeTalks = 10
	sizeTasks = 50 // of a conversation, each a message and its answer
	sizeAsks  = 1500
)

// sized is a store of the hub's, and of how many parts.
type sized struct {
	*store.DB
	parts int
	next  int
	took  map[string][]time.Duration
}

// hubSize compares the hub's store of a million messages with one of a thousand.
func (b *bench) hubSize(ctx context.Context) error {
	if !b.large {
		b.note("Hub: what a million messages cost is not measured; -million does, in some minutes.")
		return nil
	}
	small, large := filepath.Join(b.dir, "thousand.db"), filepath.Join(b.dir, "million.db")
	began := time.Now()
	for path, parts := range map[string]int{small: 1, large: sizeParts} {
		if err := fill(ctx, path, parts); err != nil {
			return fmt.Errorf("fill a store with %d messages: %w", parts*sizeTalks*sizeTasks*2, err)
		}
	}
	filled := time.Since(began)
	var both []*sized
	for path, parts := range map[string]int{small: 1, large: sizeParts} {
		db, err := store.Open(ctx, store.Options{URL: "sqlite:" + path, Owner: "bench"})
		if err != nil {
			return err
		}
		both = append(both, &sized{DB: db, parts: parts, took: map[string][]time.Duration{}})
	}
	var err error
	for i := range sizeAsks + 40 {
		for _, s := range both { // by turns
			if i == 40 { // before that, statements are parsed and pages read
				clear(s.took)
			}
			if err = errors.Join(err, s.ask(ctx)); err != nil {
				break
			}
		}
	}
	for _, s := range both {
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		return err
	}
	if both[0].parts > both[1].parts {
		both[0], both[1] = both[1], both[0]
	}
	for _, what := range []string{"append a message, its delivery and its answer", "find an agent", "read a task", "read what was said in a conversation", "list conversations", "list a caller's tasks at an agent"} {
		s, l := sort(both[0].took[what]), sort(both[1].took[what])
		ratio := float64(l.at(0.95)) / float64(s.at(0.95))
		b.add(fmt.Sprintf("hub, %d agents, %d conversations, %d messages: %s, p95", sizeParts, sizeParts*sizeTalks, sizeParts*sizeTalks*sizeTasks*2, what),
			"1.2 of a thousandth of the size", fmt.Sprintf("%.2f ms, beside %.2f ms: %.2f (p50 %.2f ms, beside %.2f ms)", ms(l.at(0.95)), ms(s.at(0.95)), ratio, ms(l.at(0.5)), ms(s.at(0.5))), yes(ratio <= 1.2))
	}
	b.note("Hub, large: the store alone, on SQLite, by turns with the small one, %d times each. The small one is written message by message through the store; "+
		"the large one is that, and %d copies of all its rows with other names, by INSERT … SELECT. Filling both took %.0f s.", sizeAsks, sizeParts-1, filled.Seconds())
	return nil
}

// mark is in every name of a part, as so many digits.
func mark(part int) string { return fmt.Sprintf("p%06d", part) }

// fill makes a store of so many parts.
func fill(ctx context.Context, path string, parts int) (err error) {
	db, err := store.Open(ctx, store.Options{URL: "sqlite:" + path, Owner: "bench"})
	if err != nil {
		return err
	}
	s := &sized{DB: db, parts: 1, took: map[string][]time.Duration{}}
	_, err = db.Hub().UpsertAgent(ctx, conclave.DefaultTenant, conclave.Agent{Name: conclave.AgentName("agent-" + mark(0)), Role: conclave.Role("role-" + mark(0)),
		Skills: []string{"ask"}, URL: "http://127.0.0.1:1", State: conclave.AgentLive, Capacity: 64})
	if err == nil {
		err = all(sizeTalks, func(talk int) error {
			for n := range sizeTasks {
				if err := s.message(ctx, 0, talk, talk*sizeTasks+n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err = errors.Join(err, db.Close()); err != nil || parts == 1 {
		return err
	}
	raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=cache_size(-200000)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	raw.SetMaxOpenConns(1)
	copies, err := copiesOf(ctx, raw)
	if err != nil {
		return err
	}
	const together = 50
	for first := 1; first < parts; first += together {
		tx, err := raw.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for part := first; part < min(first+together, parts); part++ {
			for _, statement := range copies {
				if _, err := tx.ExecContext(ctx, statement, mark(0), mark(part)); err != nil {
					return errors.Join(err, tx.Rollback())
				}
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// copiesOf are statements that copy each row of the first part, with another mark.
func copiesOf(ctx context.Context, raw *sql.DB) ([]string, error) {
	var statements []string
	for _, table := range []string{"agents", "conversations", "messages", "tasks", "events"} {
		rows, err := raw.QueryContext(ctx, `SELECT name FROM pragma_table_info(?) WHERE name NOT IN ('position', 'seq')`, table)
		if err != nil {
			return nil, err
		}
		var into, from []string
		for rows.Next() {
			var column string
			if err := rows.Scan(&column); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			into = append(into, column)
			from = append(from, "CASE typeof("+column+") WHEN 'text' THEN replace("+column+", ?1, ?2) ELSE "+column+" END")
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
		key := map[string]string{"agents": "name", "conversations": "id", "messages": "id", "tasks": "id", "events": "subject"}[table]
		statements = append(statements, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s WHERE %s LIKE '%%' || ?1 || '%%' AND rowid <= (SELECT rows FROM temp.first WHERE name = '%s')",
			table, strings.Join(into, ", "), strings.Join(from, ", "), table, key, table))
		if _, err := raw.ExecContext(ctx, fmt.Sprintf("CREATE TEMP TABLE IF NOT EXISTS first (name TEXT, rows INTEGER); INSERT INTO temp.first SELECT '%s', max(rowid) FROM %s", table, table)); err != nil {
			return nil, err
		}
	}
	return statements, nil
}

// message appends a message of a conversation to its agent, its delivery, and the answer.
func (s *sized) message(ctx context.Context, part, talk, n int) error {
	p := mark(part)
	id, asker, agent := conclave.TaskID(fmt.Sprintf("task-%s-%09d", p, n)), "asker-"+p, "agent-"+p
	conversation := conclave.ConversationID(fmt.Sprintf("talk-%s-%d", p, talk))
	said := func(id, from, to, text string) conclave.Message {
		return conclave.Message{ID: conclave.MessageID(id), Task: conclave.TaskID(fmt.Sprintf("task-%s-%09d", p, n)), Conversation: conversation, From: from, To: to, Text: text}
	}
	began := time.Now()
	task, _, err := s.Hub().Accept(ctx, hub.Accept{Tenant: conclave.DefaultTenant, Key: "key-" + string(id), Agent: conclave.AgentName(agent), Instance: "hub",
		Task:    conclave.Task{ID: id, Conversation: conversation, From: asker, To: "agents/" + agent},
		Request: said("msg-ask-"+string(id), asker, "agents/"+agent, "Count the words of this sentence, please, and tell me how many there are.")})
	if err != nil {
		return err
	}
	if task.State != conclave.TaskWorking {
		return fmt.Errorf("task %s is %s", id, task.State)
	}
	answer := said("msg-end-"+string(id), agent, asker, "There are thirteen words.")
	if _, err := s.Hub().Settle(ctx, hub.Settle{ID: id, Epoch: task.Epoch, State: conclave.TaskCompleted, Text: answer.Text, Actor: agent, Message: &answer}); err != nil {
		return err
	}
	if s.next > 0 {
		s.took["append a message, its delivery and its answer"] = append(s.took["append a message, its delivery and its answer"], time.Since(began))
	}
	return nil
}

// ask appends to one place and looks at others, all over the store.
func (s *sized) ask(ctx context.Context) error {
	const tenant = conclave.DefaultTenant
	s.next++
	at := func(n, of int) int { return n * 7919 % of } // as if at random
	part, talk := at(s.next, s.parts), at(s.next, sizeTalks)
	if err := s.message(ctx, part, talk, 1_000_000+s.next); err != nil {
		return err
	}
	p := mark(at(s.next+31, s.parts))
	for _, look := range []struct {
		what string
		do   func() (int, error)
	}{
		{"find an agent", func() (int, error) {
			list, err := s.Hub().Callees(ctx, tenant, "agents/agent-"+p)
			return len(list), err
		}},
		{"read a task", func() (int, error) {
			_, err := s.Hub().Wait(ctx, conclave.TaskID(fmt.Sprintf("task-%s-%09d", p, at(s.next, sizeTalks*sizeTasks))), "", 0)
			return 1, err
		}},
		{"read what was said in a conversation", func() (int, error) {
			list, err := s.Hub().Messages(ctx, hub.MessageFilter{Tenant: tenant, ListMessages: conclave.ListMessages{Conversation: conclave.ConversationID(fmt.Sprintf("talk-%s-%d", p, talk)), Latest: true, Limit: 50}})
			return len(list), err
		}},
		{"list conversations", func() (int, error) {
			list, err := s.Conversations().List(ctx, tenant, conclave.ListConversations{Limit: 10})
			return len(list), err
		}},
		{"list a caller's tasks at an agent", func() (int, error) {
			list, _, err := s.Hub().Tasks(ctx, hub.TaskFilter{Tenant: tenant, From: "asker-" + p, To: "agents/agent-" + p, Limit: 20})
			return len(list), err
		}},
	} {
		began := time.Now()
		found, err := look.do()
		if err != nil || found == 0 {
			return fmt.Errorf("%s found %d: %w", look.what, found, err)
		}
		s.took[look.what] = append(s.took[look.what], time.Since(began))
	}
	return nil
}
