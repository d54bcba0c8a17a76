package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/hub"
)

// Conversations implements the hub's store of conversations.
func (db *DB) Conversations() hub.ConversationStore { return talkStore{db} }

type talkStore struct{ db *DB }

// talked notes in its conversation that a message was kept.
func (tx *Tx) talked(tenant conclave.TenantID, m conclave.Message) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO conversations (tenant, id, run, started, updated, messages) VALUES ($1, $2, $3, $4, $4, 1)
		ON CONFLICT (tenant, id) DO UPDATE SET updated = excluded.updated, messages = conversations.messages + 1,
			run = CASE WHEN conversations.run = '' THEN excluded.run ELSE conversations.run END`,
		string(tenant), string(m.Conversation), string(m.Run), now.UnixMicro())
	return err
}

// conversationColumns are what readConversations reads.
const conversationColumns = `id, run, started, updated, messages`

func (s talkStore) readConversations(tx *Tx, query string, args ...any) ([]conclave.Conversation, error) {
	rows, err := tx.query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []conclave.Conversation{}
	for rows.Next() {
		var c conclave.Conversation
		var started, updated int64
		if err := rows.Scan(&c.ID, &c.Run, &started, &updated, &c.Messages); err != nil {
			return nil, fmt.Errorf("read a conversation: %w", err)
		}
		c.Started, c.Updated, c.Parties = fromMicros(started), fromMicros(updated), []string{}
		list = append(list, c)
	}
	return list, rows.Err()
}

// complete adds who took part, and how much is under way.
func (s talkStore) complete(tx *Tx, tenant conclave.TenantID, c *conclave.Conversation) error {
	// With UNION, SQLite reads all of a tenant's askers in order rather than sort these.
	parties, err := tx.texts(`SELECT asker FROM tasks WHERE tenant = $1 AND conversation = $2 UNION ALL SELECT agent FROM tasks WHERE tenant = $1 AND conversation = $2`,
		string(tenant), string(c.ID))
	if err != nil {
		return err
	}
	c.Parties = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(parties))), func(p string) bool { return p == "" })
	_, err = tx.scan([]any{&c.Open}, `SELECT count(*) FROM tasks WHERE tenant = $1 AND conversation = $2 AND state IN ('submitted', 'working', 'input-required')`,
		string(tenant), string(c.ID))
	return err
}

func (s talkStore) List(ctx context.Context, tenant conclave.TenantID, in conclave.ListConversations) ([]conclave.Conversation, error) {
	var list []conclave.Conversation
	err := s.db.View(ctx, func(tx *Tx) error {
		where, args := []string{"tenant = $1"}, []any{string(tenant)}
		add := func(condition string, value any) {
			args = append(args, value)
			where = append(where, strings.ReplaceAll(condition, "?", fmt.Sprintf("$%d", len(args))))
		}
		if in.Run != "" {
			add("run = ?", string(in.Run))
		}
		if in.Since > 0 {
			add("updated >= ?", in.Since*1000)
		}
		if in.Party != "" {
			add("id IN (SELECT conversation FROM tasks WHERE tenant = $1 AND (asker = ? OR agent = ?))", in.Party)
		}
		if in.Text != "" {
			add(`EXISTS (SELECT 1 FROM messages m WHERE m.tenant = $1 AND m.conversation = conversations.id AND lower(`+s.db.member("m.doc", "text")+`) LIKE ? ESCAPE '\')`, likeText(in.Text))
		}
		if in.Before != "" {
			var updated int64
			found, err := tx.scan([]any{&updated}, `SELECT updated FROM conversations WHERE tenant = $1 AND id = $2`, string(tenant), string(in.Before))
			if err == nil && !found {
				err = conclave.Errorf(conclave.ErrNotFound, "there is no conversation %q", in.Before)
			}
			if err != nil {
				return err
			}
			args = append(args, updated, string(in.Before))
			where = append(where, fmt.Sprintf("(updated < $%d OR (updated = $%d AND id < $%d))", len(args)-1, len(args)-1, len(args)))
		}
		found, err := s.readConversations(tx, `SELECT `+conversationColumns+` FROM conversations WHERE `+strings.Join(where, " AND ")+
			fmt.Sprintf(` ORDER BY updated DESC, id DESC LIMIT %d`, in.Limit), args...)
		for i := 0; err == nil && i < len(found); i++ {
			err = s.complete(tx, tenant, &found[i])
		}
		list = found
		return err
	})
	return list, err
}

// likeText is a pattern for what has a text in it.
func likeText(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text)) + "%"
}

// member is the expression for a member of a document.
func (db *DB) member(column, name string) string {
	if db.postgres {
		column += "::json"
	}
	return column + ` ->> '` + name + `'`
}

func (s talkStore) get(tx *Tx, tenant conclave.TenantID, id conclave.ConversationID) (conclave.Conversation, error) {
	list, err := s.readConversations(tx, `SELECT `+conversationColumns+` FROM conversations WHERE tenant = $1 AND id = $2`, string(tenant), string(id))
	if err != nil {
		return conclave.Conversation{}, err
	}
	if len(list) == 0 {
		return conclave.Conversation{}, conclave.Errorf(conclave.ErrNotFound, "there is no conversation %q", id)
	}
	return list[0], s.complete(tx, tenant, &list[0])
}

func (s talkStore) Replay(ctx context.Context, tenant conclave.TenantID, id conclave.ConversationID, at time.Time, after conclave.MessageID, limit int) (conclave.ConversationAt, error) {
	got := conclave.ConversationAt{Messages: []conclave.Message{}, Tasks: []conclave.Task{}}
	err := s.db.snapshot(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if got.At = at; at.IsZero() || at.After(now) {
			got.At = now
		}
		if got.Conversation, err = s.get(tx, tenant, id); err != nil {
			return err
		}
		if got.At.Before(got.Conversation.Started) {
			return conclave.Errorf(conclave.ErrNotFound, "conversation %s began later, at %s", id, got.Conversation.Started.Format(time.RFC3339))
		}
		var first int64
		if after != "" {
			found, err := tx.scan([]any{&first}, `SELECT position FROM messages WHERE tenant = $1 AND conversation = $2 AND id = $3`, string(tenant), string(id), string(after))
			if err == nil && !found {
				err = conclave.Errorf(conclave.ErrNotFound, "there is no message %q in conversation %s", after, id)
			}
			if err != nil {
				return err
			}
		}
		said, err := listDocs[conclave.Message](tx, `SELECT doc FROM messages WHERE tenant = $1 AND conversation = $2 AND position > $3 ORDER BY position LIMIT $4`,
			string(tenant), string(id), first, limit+1)
		if err != nil {
			return err
		}
		for _, m := range said {
			if m.Sent.After(got.At) {
				break
			}
			if len(got.Messages) == limit {
				got.More = true
				break
			}
			got.Messages = append(got.Messages, m)
		}
		if got.Tasks, err = s.tasksAt(tx, tenant, id, got.At); err != nil {
			return err
		}
		if got.Escalations, err = s.escalations(tx, tenant, conclave.ListEscalations{Conversation: id}); err != nil {
			return err
		}
		if !at.IsZero() {
			asOf(&got)
		}
		return nil
	})
	return got, err
}

// asOf makes the sums of a conversation those of its moment.
func asOf(got *conclave.ConversationAt) {
	c := &got.Conversation
	c.Open, c.Messages, c.Updated = 0, len(got.Messages), c.Started
	if n := len(got.Messages); n > 0 {
		c.Updated = got.Messages[n-1].Sent
	}
	parties := map[string]bool{}
	for _, t := range got.Tasks {
		parties[t.From], parties[string(t.Agent)] = true, true
		if !t.State.Ended() {
			c.Open++
		}
	}
	c.Parties = []string{}
	for p := range parties {
		if p != "" {
			c.Parties = append(c.Parties, p)
		}
	}
	slices.Sort(c.Parties)
	got.Escalations = slices.DeleteFunc(got.Escalations, func(e conclave.Escalation) bool { return e.Created.After(got.At) })
	for i, e := range got.Escalations {
		if !e.Answered.After(got.At) {
			continue
		}
		e.State, e.Answer, e.AnsweredBy, e.Answered = conclave.EscalationWaiting, "", "", time.Time{}
		if e.Task != "" {
			e.State = conclave.EscalationAsked
		}
		got.Escalations[i] = e
	}
}

// tasksAt returns a conversation's tasks as they were at a moment: what they are
// now, taken back to what the record says of the moment.
func (s talkStore) tasksAt(tx *Tx, tenant conclave.TenantID, id conclave.ConversationID, at time.Time) ([]conclave.Task, error) {
	kept, err := listDocs[hub.Task](tx, `SELECT doc FROM tasks WHERE tenant = $1 AND conversation = $2 AND created <= $3 ORDER BY created, id`,
		string(tenant), string(id), at.UnixMicro())
	if err != nil {
		return nil, err
	}
	list := make([]conclave.Task, 0, len(kept))
	for _, t := range kept {
		if t.Updated.After(at) {
			t.Task = conclave.Task{ID: t.ID, Conversation: t.Conversation, Run: t.Run, From: t.From, To: t.To, Kind: t.Kind, State: conclave.TaskSubmitted,
				Created: t.Created, Updated: t.Created}
			var data string
			var changed int64
			found, err := tx.scan([]any{&data, &changed}, `SELECT data, at FROM events WHERE conversation = $1 AND tenant = $2 AND kind = 'task.changed' AND subject = $3 AND at <= $4
				ORDER BY seq DESC LIMIT 1`, string(id), string(tenant), string(t.ID), at.UnixMicro())
			if err != nil {
				return nil, err
			}
			if found {
				if err := json.Unmarshal([]byte(data), &t.Task); err != nil { // of which it has state and agent
					return nil, fmt.Errorf("read what the record says of task %s: %w", t.ID, err)
				}
				t.Updated = fromMicros(changed)
			}
		}
		list = append(list, t.Task)
	}
	return list, nil
}

func (s talkStore) Escalate(ctx context.Context, tenant conclave.TenantID, key string, e conclave.Escalation) (conclave.Escalation, error) {
	got := e
	err := s.db.Update(ctx, func(tx *Tx) error {
		got = e
		if key != "" {
			had, found, err := getDoc[conclave.Escalation](tx, `SELECT doc FROM escalations WHERE tenant = $1 AND asker = $2 AND key = $3 AND key <> ''`, string(tenant), e.From, key)
			if err != nil || found {
				got = had
				return err
			}
		}
		if _, err := s.get(tx, tenant, e.Conversation); err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		got.Created = now
		doc, err := encode(got)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO escalations (id, tenant, conversation, asker, key, answered, doc) VALUES ($1, $2, $3, $4, $5, 0, $6)`,
			e.ID, string(tenant), string(e.Conversation), e.From, key, doc); err != nil {
			return err
		}
		if e.To == conclave.ToHuman { // an agent is told by its task
			m := conclave.Message{ID: conclave.MessageID(conclave.NewID("msg")), Conversation: e.Conversation, Run: e.Run, From: e.From, To: e.To, Text: e.Reason}
			if _, err := hubStore(s).keep(tx, tenant, m); err != nil {
				return err
			}
		}
		data, err := json.Marshal(map[string]any{"to": e.To, "task": e.Task})
		if err != nil {
			return err
		}
		return tx.Append(conclave.Event{Tenant: tenant, Kind: conclave.EventEscalated, Actor: e.From, Run: e.Run, Conversation: e.Conversation, Subject: e.ID,
			Text: e.From + " brings it before " + e.To, Data: data})
	})
	return got, err
}

func (s talkStore) Escalations(ctx context.Context, tenant conclave.TenantID, in conclave.ListEscalations) ([]conclave.Escalation, error) {
	var list []conclave.Escalation
	err := s.db.View(ctx, func(tx *Tx) (err error) { list, err = s.escalations(tx, tenant, in); return err })
	return list, err
}

func (s talkStore) escalations(tx *Tx, tenant conclave.TenantID, in conclave.ListEscalations) ([]conclave.Escalation, error) {
	open := 0
	if in.Open {
		open = 1
	}
	list, err := listDocs[conclave.Escalation](tx, `SELECT doc FROM escalations WHERE tenant = $1 AND ($2 = '' OR conversation = $2) AND ($3 = 0 OR answered = 0) ORDER BY position`,
		string(tenant), string(in.Conversation), open)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if err := s.settle(tx, &list[i]); err != nil {
			return nil, err
		}
	}
	if in.Open {
		list = slices.DeleteFunc(list, func(e conclave.Escalation) bool { return e.State == conclave.EscalationAnswered })
	}
	return list, nil
}

// settle gives an escalation the state that its task gives it: the answer of
// whoever was asked settles it, and when there is none it waits for a human.
func (s talkStore) settle(tx *Tx, e *conclave.Escalation) error {
	if e.State != conclave.EscalationAsked {
		return nil
	}
	t, found, err := getDoc[hub.Task](tx, `SELECT doc FROM tasks WHERE id = $1`, string(e.Task))
	switch {
	case err != nil:
		return err
	case found && !t.State.Ended():
	case found && t.State == conclave.TaskCompleted:
		e.State, e.Answer, e.AnsweredBy, e.Answered = conclave.EscalationAnswered, t.Text, string(t.Agent), t.Updated
	default:
		e.State = conclave.EscalationWaiting
	}
	return nil
}

func (s talkStore) Answer(ctx context.Context, tenant conclave.TenantID, id, by, text string) (conclave.Escalation, error) {
	var e conclave.Escalation
	err := s.db.Update(ctx, func(tx *Tx) error {
		query := `SELECT doc FROM escalations WHERE tenant = $1 AND id = $2`
		if s.db.postgres {
			query += ` FOR UPDATE`
		}
		var found bool
		var err error
		if e, found, err = getDoc[conclave.Escalation](tx, query, string(tenant), id); err != nil {
			return err
		}
		if !found {
			return conclave.Errorf(conclave.ErrNotFound, "there is no escalation %q", id)
		}
		if err := s.settle(tx, &e); err != nil {
			return err
		}
		if e.State == conclave.EscalationAnswered {
			return conclave.Errorf(conclave.ErrConflict, "escalation %s is settled: %s answered", id, e.AnsweredBy)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		e.State, e.Answer, e.AnsweredBy, e.Answered = conclave.EscalationAnswered, text, by, now
		doc, err := encode(e)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE escalations SET answered = $2, doc = $3 WHERE id = $1`, id, now.UnixMicro(), doc); err != nil {
			return err
		}
		m := conclave.Message{ID: conclave.MessageID(conclave.NewID("msg")), Conversation: e.Conversation, Run: e.Run, From: by, To: e.From, Text: text}
		if _, err := hubStore(s).keep(tx, tenant, m); err != nil {
			return err
		}
		return tx.Append(conclave.Event{Tenant: tenant, Kind: conclave.EventEscalationEnded, Actor: by, Run: e.Run, Conversation: e.Conversation, Subject: e.ID,
			Text: by + " settles what " + e.From + " escalated"})
	})
	return e, err
}

func (s talkStore) Expire(ctx context.Context, age time.Duration, limit int) (int, error) {
	type old struct {
		tenant conclave.TenantID
		id     conclave.ConversationID
	}
	find := func(tx *Tx) ([]old, error) {
		now, err := tx.Now()
		if err != nil {
			return nil, err
		}
		rows, err := tx.query(`SELECT tenant, id FROM conversations c WHERE updated < $1
			AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.tenant = c.tenant AND t.conversation = c.id AND (t.updated >= $1 OR t.state IN ('submitted', 'working', 'input-required')))
			AND NOT EXISTS (SELECT 1 FROM escalations e WHERE e.tenant = c.tenant AND e.conversation = c.id AND e.answered = 0
				AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.conversation = c.id AND t.tenant = c.tenant AND t.state = 'completed' AND e.doc LIKE '%"task":"' || t.id || '"%'))
			AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = c.run AND r.status IN ('running', 'waiting'))
			ORDER BY updated LIMIT $2`, now.Add(-age).UnixMicro(), limit)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var list []old
		for rows.Next() {
			var o old
			if err := rows.Scan(&o.tenant, &o.id); err != nil {
				return nil, fmt.Errorf("read a conversation: %w", err)
			}
			list = append(list, o)
		}
		return list, rows.Err()
	}
	var found []old
	err := s.db.View(ctx, func(tx *Tx) (err error) { found, err = find(tx); return err })
	if err != nil || len(found) == 0 {
		return 0, err
	}
	err = s.db.Update(ctx, func(tx *Tx) (err error) {
		if found, err = find(tx); err != nil { // somebody may have spoken since
			return err
		}
		for _, o := range found {
			if err := s.remove(tx, o.tenant, o.id); err != nil {
				return fmt.Errorf("remove conversation %s: %w", o.id, err)
			}
		}
		return nil
	})
	return len(found), err
}

// remove takes a conversation out of the hub's tables. The sealer takes its text
// out of the record.
func (s talkStore) remove(tx *Tx, tenant conclave.TenantID, id conclave.ConversationID) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	var said int64
	if _, err := tx.scan([]any{&said}, `SELECT messages FROM conversations WHERE tenant = $1 AND id = $2`, string(tenant), string(id)); err != nil {
		return err
	}
	const mine = ` WHERE tenant = $1 AND conversation = $2`
	for _, statement := range []string{
		`DELETE FROM receipts WHERE message IN (SELECT id FROM messages` + mine + `)`,
		`DELETE FROM dead_letters WHERE tenant = $1 AND task IN (SELECT id FROM tasks` + mine + `)`,
		`DELETE FROM push_configs WHERE tenant = $1 AND task IN (SELECT id FROM tasks` + mine + `)`,
		`DELETE FROM budget_tasks WHERE task IN (SELECT id FROM tasks` + mine + `)`,
		`DELETE FROM recipients WHERE publication IN (SELECT id FROM publications` + mine + `)`,
		`DELETE FROM publications` + mine,
		`DELETE FROM escalations` + mine,
		`DELETE FROM messages` + mine,
		`DELETE FROM tasks` + mine,
		`DELETE FROM conversations WHERE tenant = $1 AND id = $2`,
	} {
		if _, err := tx.exec(statement, string(tenant), string(id)); err != nil {
			return err
		}
	}
	if _, err := tx.exec(`INSERT INTO expired (tenant, conversation, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, string(tenant), string(id), now.UnixMicro()); err != nil {
		return err
	}
	data, err := json.Marshal(map[string]any{"messages": said})
	if err != nil {
		return err
	}
	return tx.Append(conclave.Event{Tenant: tenant, Kind: conclave.EventConversationGone, Actor: string(conclave.ServiceHub), Conversation: id, Subject: string(id),
		Text: "removed after its time, with its messages", Data: data})
}
