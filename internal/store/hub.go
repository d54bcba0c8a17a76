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

// Hub implements the hub's store.
func (db *DB) Hub() hub.Store { return hubStore{db} }

type hubStore struct{ db *DB }

func (s hubStore) UpsertAgent(ctx context.Context, tenant conclave.TenantID, a conclave.Agent) (conclave.Agent, error) {
	err := s.db.Update(ctx, func(tx *Tx) error {
		had, found, err := getDoc[conclave.Agent](tx, `SELECT doc FROM agents WHERE tenant = $1 AND name = $2`, string(tenant), string(a.Name))
		if err != nil {
			return err
		}
		if found && had.PublicKey != a.PublicKey {
			return conclave.Errorf(conclave.ErrConflict, "another key holds the name %s", a.Name)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		a.Seen, a.Active = now, 0
		doc, err := encode(a)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO agents (tenant, name, role, state, public_key, seen, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (tenant, name) DO UPDATE SET role = excluded.role, state = excluded.state, seen = excluded.seen, doc = excluded.doc`,
			string(tenant), string(a.Name), string(a.Role), string(a.State), a.PublicKey, now.UnixMicro(), doc); err != nil {
			return err
		}
		woke := a.State == conclave.AgentLive && (!found || had.State == conclave.AgentLost)
		e := conclave.Event{Tenant: tenant, Actor: string(a.Name), Subject: string(a.Name)}
		switch {
		case found && had.State == conclave.AgentLive && a.State == conclave.AgentLost:
			e.Kind, e.Text = conclave.EventAgentLost, string(a.Name)+" is lost"
		case woke, found && !sameAgent(had, a):
			e.Kind, e.Text = conclave.EventAgentRegistered, string(a.Name)+" registered as "+string(a.Role)
		}
		if e.Kind != "" {
			if err := tx.Append(e); err != nil {
				return err
			}
		}
		if woke {
			if err := s.unpark(tx, tenant, a, a.Capacity); err != nil {
				return err
			}
		}
		a.Active, err = s.active(tx, tenant, a.Name)
		return err
	})
	return a, err
}

// sameAgent compares what an agent says of itself.
func sameAgent(a, b conclave.Agent) bool {
	a.Seen, b.Seen, a.Active, b.Active = time.Time{}, time.Time{}, 0, 0
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func (s hubStore) active(tx *Tx, tenant conclave.TenantID, name conclave.AgentName) (int, error) {
	var n int
	_, err := tx.scan([]any{&n}, `SELECT count(*) FROM tasks WHERE tenant = $1 AND agent = $2 AND state = 'working'`, string(tenant), string(name))
	return n, err
}

// unpark enqueues up to n parked deliveries that an agent may take, oldest first.
func (s hubStore) unpark(tx *Tx, tenant conclave.TenantID, a conclave.Agent, n int) error {
	if n <= 0 {
		return nil
	}
	parked, err := listDocs[hub.Task](tx, `SELECT doc FROM tasks WHERE tenant = $1 AND state = 'submitted' AND parked = 1 AND address IN ($2, $3) ORDER BY created, id LIMIT 1000`,
		string(tenant), "agents/"+string(a.Name), "roles/"+string(a.Role))
	if err != nil {
		return err
	}
	for _, t := range parked {
		if strings.HasPrefix(t.To, "roles/") && slices.Contains(t.Exclude, a.Name) {
			continue
		}
		if n--; n < 0 {
			return nil
		}
		if _, err := tx.exec(`UPDATE tasks SET parked = 0 WHERE id = $1`, string(t.ID)); err != nil {
			return err
		}
		if err := s.deliver(tx, t, 0); err != nil {
			return err
		}
	}
	return nil
}

// deliver enqueues the job (task, epoch).
func (s hubStore) deliver(tx *Tx, t hub.Task, after time.Duration) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	due := now.Add(after)
	if _, err := tx.exec(`UPDATE tasks SET due = $2 WHERE id = $1`, string(t.ID), due.UnixMicro()); err != nil {
		return err
	}
	return tx.enqueue(WorkDelivery, string(t.ID), t.Epoch, due)
}

func (s hubStore) Agents(ctx context.Context, tenant conclave.TenantID, in conclave.ListAgents) ([]conclave.Agent, error) {
	var list []conclave.Agent
	err := s.db.View(ctx, func(tx *Tx) (err error) { list, err = s.agents(tx, tenant, in); return err })
	return list, err
}

func (s hubStore) agents(tx *Tx, tenant conclave.TenantID, in conclave.ListAgents) ([]conclave.Agent, error) {
	live := 0
	if in.Live {
		live = 1
	}
	list, err := listDocs[conclave.Agent](tx, `SELECT doc FROM agents WHERE tenant = $1 AND ($2 = '' OR role = $2) AND ($3 = 0 OR state = 'live') ORDER BY name`,
		string(tenant), string(in.Role), live)
	if err != nil {
		return nil, err
	}
	rows, err := tx.query(`SELECT agent, count(*) FROM tasks WHERE tenant = $1 AND state = 'working' GROUP BY agent`, string(tenant))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	busy := map[conclave.AgentName]int{}
	for rows.Next() {
		var name conclave.AgentName
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		busy[name] = n
	}
	for i := range list {
		list[i].Active = busy[list[i].Name]
	}
	return list, rows.Err()
}

func (s hubStore) Accept(ctx context.Context, in hub.Accept) (hub.Task, bool, error) {
	t := hub.Task{Task: in.Task, Tenant: in.Tenant, Call: in.Call, Exclude: in.Exclude, Request: in.Request, Epoch: 1, Interactive: in.Interactive}
	created := false
	err := s.db.Update(ctx, func(tx *Tx) error {
		created = false
		if in.Key != "" {
			had, found, err := s.find(tx, `tenant = $1 AND asker = $2 AND key = $3`, string(in.Tenant), in.Task.From, in.Key)
			if err != nil || found {
				t = had
				return err
			}
		}
		if err := tx.mayGoOn(in.Task.Run); err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		t.State, t.Created, t.Updated, t.Request.Sent = conclave.TaskSubmitted, now, now, now
		doc, err := encode(t)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO tasks (id, tenant, asker, key, address, conversation, run, agent, state, epoch, instance, renewed, parked, due, created, updated, doc)
			VALUES ($1, $2, $3, $4, $5, $6, $7, '', 'submitted', 1, '', 0, 0, $8, $8, $8, $9)`,
			string(t.ID), string(t.Tenant), t.From, in.Key, t.To, string(t.Conversation), string(t.Run), now.UnixMicro(), doc); err != nil {
			return err
		}
		if err := s.keep(tx, t.Tenant, t.Request); err != nil {
			return err
		}
		created = true
		return s.deliver(tx, t, 0)
	})
	return t, created, err
}

// mayGoOn refuses what is asked for a run that has ended: nobody waits for it.
func (tx *Tx) mayGoOn(run conclave.RunID) error {
	var status conclave.RunStatus
	found, err := tx.scan([]any{&status}, `SELECT status FROM runs WHERE id = $1`, string(run))
	if err != nil || !found || !status.Ended() {
		return err
	}
	return conclave.Errorf(conclave.ErrConflict, "run %s has ended: %s", run, status)
}

// find reads one task. On Postgres, in a transaction that writes, its row is locked.
func (s hubStore) find(tx *Tx, where string, args ...any) (hub.Task, bool, error) {
	query := `SELECT doc FROM tasks WHERE ` + where
	if s.db.postgres && !tx.reading {
		query += ` FOR UPDATE`
	}
	t, found, err := getDoc[hub.Task](tx, query, args...)
	if err != nil || !found {
		return t, found, err
	}
	now, err := tx.Now()
	t.Age = now.Sub(t.Request.Sent)
	return t, true, err
}

func (s hubStore) get(tx *Tx, id conclave.TaskID) (hub.Task, error) {
	t, found, err := s.find(tx, `id = $1`, string(id))
	if err == nil && !found {
		err = conclave.Errorf(conclave.ErrNotFound, "there is no task %q", id)
	}
	return t, err
}

func (s hubStore) put(tx *Tx, t *hub.Task) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	t.Updated = now
	doc, err := encode(t)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE tasks SET agent = $2, state = $3, epoch = $4, updated = $5, doc = $6 WHERE id = $1`,
		string(t.ID), string(t.Agent), string(t.State), t.Epoch, now.UnixMicro(), doc)
	return err
}

// keep inserts a message with its event.
func (s hubStore) keep(tx *Tx, tenant conclave.TenantID, m conclave.Message) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	m.Sent = now
	doc, err := encode(m)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`INSERT INTO messages (id, tenant, conversation, run, task, doc) VALUES ($1, $2, $3, $4, $5, $6)`,
		string(m.ID), string(tenant), string(m.Conversation), string(m.Run), string(m.Task), doc); err != nil {
		return err
	}
	event, err := conclave.MessageEvent(tenant, m)
	if err != nil {
		return fmt.Errorf("encode the event of a message: %w", err)
	}
	return tx.Append(event)
}

func (s hubStore) changed(tx *Tx, t hub.Task, actor, text string) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	data, err := json.Marshal(map[string]any{"state": t.State, "agent": t.Agent, "from": t.From, "to": t.To, "kind": t.Kind, "attempt": t.Attempt,
		"seconds": now.Sub(t.Created).Seconds()})
	if err != nil {
		return err
	}
	return tx.Append(conclave.Event{Tenant: t.Tenant, Kind: conclave.EventTaskChanged, Actor: actor, Run: t.Run, Conversation: t.Conversation,
		Subject: string(t.ID), Text: text, Data: data})
}

func (s hubStore) Wait(ctx context.Context, id conclave.TaskID, seen conclave.TaskState, d time.Duration) (hub.Task, error) {
	var t hub.Task
	err := s.db.wait(ctx, string(id), d, func() (bool, error) {
		err := s.db.View(ctx, func(tx *Tx) (err error) { t, err = s.get(tx, id); return err })
		return t.State != seen, err
	})
	return t, err
}

func (s hubStore) Claim(ctx context.Context, in hub.Claim) (hub.Task, error) {
	var t hub.Task
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		if t, err = s.get(tx, in.ID); err != nil {
			return err
		}
		if t.State != conclave.TaskSubmitted || t.Epoch != in.Epoch {
			return conclave.Errorf(conclave.ErrConflict, "task %s is %s with epoch %d", in.ID, t.State, t.Epoch)
		}
		query := `SELECT doc FROM agents WHERE tenant = $1 AND name = $2`
		if s.db.postgres {
			query += ` FOR UPDATE` // claims of one agent are counted one after the other
		}
		a, found, err := getDoc[conclave.Agent](tx, query, string(t.Tenant), string(in.Agent))
		if err != nil {
			return err
		}
		if !found {
			return conclave.Errorf(conclave.ErrNotFound, "there is no agent %q", in.Agent)
		}
		busy, err := s.active(tx, t.Tenant, in.Agent)
		if err != nil {
			return err
		}
		if busy >= a.Capacity {
			return conclave.Errorf(conclave.ErrLimited, "%s has its hands full", in.Agent)
		}
		t.State, t.Agent = conclave.TaskWorking, in.Agent
		t.Epoch++
		t.Attempt++
		if err := s.put(tx, &t); err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE tasks SET parked = 0, instance = $2, renewed = $3 WHERE id = $1`, string(t.ID), in.Instance, t.Updated.UnixMicro()); err != nil {
			return err
		}
		return s.changed(tx, t, string(in.Agent), string(in.Agent)+" works on it")
	})
	return t, err
}

func (s hubStore) Settle(ctx context.Context, in hub.Settle) (hub.Task, error) {
	var t hub.Task
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		if t, err = s.get(tx, in.ID); err != nil {
			return err
		}
		if t.State.Ended() || in.Epoch != 0 && in.Epoch != t.Epoch {
			return conclave.Errorf(conclave.ErrConflict, "task %s is %s with epoch %d", in.ID, t.State, t.Epoch)
		}
		if in.State == conclave.TaskSubmitted {
			return s.putBack(tx, &t, in.After, in.Parked)
		}
		working := t.State == conclave.TaskWorking
		t = t.Settled(in)
		if err := s.put(tx, &t); err != nil {
			return err
		}
		if err := s.changed(tx, t, in.Actor, "the task is "+string(in.State)); err != nil {
			return err
		}
		if in.Message != nil {
			if err := s.keep(tx, t.Tenant, *in.Message); err != nil {
				return err
			}
		}
		if !working {
			return nil
		}
		a, found, err := getDoc[conclave.Agent](tx, `SELECT doc FROM agents WHERE tenant = $1 AND name = $2`, string(t.Tenant), string(t.Agent))
		if err != nil || !found {
			return err
		}
		return s.unpark(tx, t.Tenant, a, 1)
	})
	return t, err
}

func (s hubStore) putBack(tx *Tx, t *hub.Task, after time.Duration, parked bool) error {
	was := t.State
	t.State, t.Agent = conclave.TaskSubmitted, ""
	t.Epoch++
	if err := s.put(tx, t); err != nil {
		return err
	}
	park := 0
	if parked {
		park = 1
	}
	if _, err := tx.exec(`UPDATE tasks SET parked = $2, instance = '' WHERE id = $1`, string(t.ID), park); err != nil {
		return err
	}
	if was != conclave.TaskSubmitted {
		if err := s.changed(tx, *t, string(conclave.ServiceHub), "it will be delivered again"); err != nil {
			return err
		}
	}
	return s.deliver(tx, *t, after)
}

func (s hubStore) Tasks(ctx context.Context, f hub.TaskFilter) ([]hub.Task, int, error) {
	var where []string
	var args []any
	add := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	for column, value := range map[string]string{"tenant": string(f.Tenant), "asker": f.From, "address": f.To, "agent": string(f.Agent),
		"conversation": string(f.Conversation), "state": string(f.State)} {
		if value != "" {
			add(column+" = ?", value)
		}
	}
	if !f.UpdatedAfter.IsZero() {
		add("updated >= ?", f.UpdatedAfter.UnixMicro())
	}
	filter := func() string {
		if len(where) == 0 {
			return ""
		}
		return " WHERE " + strings.Join(where, " AND ")
	}
	var list []hub.Task
	var total int
	err := s.db.View(ctx, func(tx *Tx) error {
		if _, err := tx.scan([]any{&total}, `SELECT count(*) FROM tasks`+filter(), args...); err != nil {
			return err
		}
		if f.Before.ID != "" {
			at := f.Before.Updated.UnixMicro()
			add("(updated < ? OR (updated = ? AND id < ?))", at, at, string(f.Before.ID))
		}
		query := `SELECT doc FROM tasks` + filter() + ` ORDER BY updated DESC, id DESC`
		if f.Limit > 0 {
			query += fmt.Sprintf(" LIMIT %d", f.Limit)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		list, err = listDocs[hub.Task](tx, query, args...)
		for i := range list {
			list[i].Age = now.Sub(list[i].Request.Sent)
		}
		return err
	})
	return list, total, err
}

func (s hubStore) Messages(ctx context.Context, f hub.MessageFilter) ([]conclave.Message, error) {
	var list []conclave.Message
	err := s.db.View(ctx, func(tx *Tx) error {
		var after int64
		if f.After != "" {
			found, err := tx.scan([]any{&after}, `SELECT position FROM messages WHERE id = $1 AND tenant = $2`, string(f.After), string(f.Tenant))
			if err != nil {
				return err
			}
			if !found {
				return conclave.Errorf(conclave.ErrNotFound, "there is no message %q", f.After)
			}
		}
		limit := f.Limit
		if limit == 0 {
			limit = 1000
		}
		order := ""
		if f.Latest {
			order = " DESC"
		}
		var err error
		list, err = listDocs[conclave.Message](tx, `SELECT doc FROM messages WHERE tenant = $1 AND position > $2 AND ($3 = '' OR task = $3)
			AND ($4 = '' OR conversation = $4) AND ($5 = '' OR run = $5) ORDER BY position`+order+` LIMIT $6`,
			string(f.Tenant), after, string(f.Task), string(f.Conversation), string(f.Run), limit)
		if f.Latest {
			slices.Reverse(list)
		}
		return err
	})
	return list, err
}

func (s hubStore) Refuse(ctx context.Context, tenant conclave.TenantID, m conclave.Message, why string) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		return tx.Append(conclave.Event{Tenant: tenant, Kind: conclave.EventCallRefused, Actor: m.From, Run: m.Run, Conversation: m.Conversation,
			Subject: m.To, Text: why})
	})
}

func (s hubStore) Sweep(ctx context.Context, in hub.Sweep) (int, error) {
	if in.AgentTTL <= 0 || in.ClaimTTL <= 0 {
		return 0, conclave.Errorf(conclave.ErrInvalid, "a sweep needs both lifetimes")
	}
	requeued := 0
	type silent struct {
		tenant conclave.TenantID
		agent  conclave.Agent
	}
	stale := func(tx *Tx) (back, hints []hub.Task, lost []silent, mine int, err error) {
		now, err := tx.Now()
		if err != nil {
			return nil, nil, nil, 0, err
		}
		renewed := now.Add(-in.ClaimTTL).UnixMicro()
		start, all := 0, 0
		if in.Start {
			start = 1
			if s.db.alone {
				all = 1
			}
		}
		if back, err = listDocs[hub.Task](tx, `SELECT doc FROM tasks WHERE state = 'working' AND ((instance = $1 AND $2 = 1) OR renewed < $3) ORDER BY created`,
			in.Instance, start, renewed); err != nil {
			return
		}
		back = slices.DeleteFunc(back, func(t hub.Task) bool { return slices.Contains(in.Held, t.ID) })
		// A delivery that is long overdue has lost its job: the worker that had
		// taken the job died before it claimed.
		if hints, err = listDocs[hub.Task](tx, `SELECT doc FROM tasks WHERE state = 'submitted' AND ($1 = 1 OR (parked = 0 AND due < $2)) ORDER BY created`,
			all, now.Add(-staleAfter).UnixMicro()); err != nil {
			return
		}
		rows, err := tx.query(`SELECT tenant, doc FROM agents WHERE state = 'live' AND seen < $1`, now.Add(-in.AgentTTL).UnixMicro())
		if err != nil {
			return
		}
		defer rows.Close()
		for rows.Next() {
			var gone silent
			var doc string
			if err = rows.Scan(&gone.tenant, &doc); err != nil {
				return
			}
			if err = json.Unmarshal([]byte(doc), &gone.agent); err != nil {
				return
			}
			lost = append(lost, gone)
		}
		if err = rows.Err(); err != nil {
			return
		}
		mine = len(in.Held)
		return
	}
	var nothing bool
	err := s.db.View(ctx, func(tx *Tx) error {
		back, hints, lost, mine, err := stale(tx)
		nothing = len(back)+len(hints)+len(lost)+mine == 0
		return err
	})
	if err != nil || nothing {
		return 0, err
	}
	err = s.db.Update(ctx, func(tx *Tx) error {
		requeued = 0
		back, hints, lost, _, err := stale(tx)
		if err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		for _, t := range back {
			if err := s.putBack(tx, &t, 0, false); err != nil {
				return err
			}
			requeued++
		}
		for _, t := range hints {
			if err := s.deliver(tx, t, 0); err != nil {
				return err
			}
		}
		for _, gone := range lost {
			a := gone.agent
			a.State = conclave.AgentLost
			doc, err := encode(a)
			if err != nil {
				return err
			}
			if _, err := tx.exec(`UPDATE agents SET state = 'lost', doc = $3 WHERE tenant = $1 AND name = $2`, string(gone.tenant), string(a.Name), doc); err != nil {
				return err
			}
			if err := tx.Append(conclave.Event{Tenant: gone.tenant, Kind: conclave.EventAgentLost, Actor: string(a.Name), Subject: string(a.Name), Text: string(a.Name) + " is lost"}); err != nil {
				return err
			}
		}
		for _, id := range in.Held {
			if _, err := tx.exec(`UPDATE tasks SET renewed = $3 WHERE id = $2 AND state = 'working' AND instance = $1`, in.Instance, string(id), now.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
	return requeued, err
}

// Receipts keeps what agents answered.
func (db *DB) Receipts() Receipts { return Receipts{db} }

// Receipts implements agent.Receipts.
type Receipts struct{ db *DB }

// Get returns the answer of an agent to a message.
func (r Receipts) Get(ctx context.Context, agent conclave.AgentName, message conclave.MessageID) (reply []byte, ok bool, err error) {
	err = r.db.View(ctx, func(tx *Tx) error {
		var text string
		ok, err = tx.scan([]any{&text}, `SELECT reply FROM receipts WHERE agent = $1 AND message = $2`, string(agent), string(message))
		reply = []byte(text)
		return err
	})
	return reply, ok, err
}

// Put keeps an answer; the first one stays.
func (r Receipts) Put(ctx context.Context, agent conclave.AgentName, message conclave.MessageID, reply []byte) error {
	return r.db.Update(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		_, err = tx.exec(`INSERT INTO receipts (agent, message, reply, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			string(agent), string(message), string(reply), now.UnixMicro())
		return err
	})
}
