package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"conclave"
	"conclave/internal/hub"
)

// Hub implements the hub's store.
func (db *DB) Hub() hub.Store { return hubStore{db} }

type hubStore struct{ db *DB }

// unpark enqueues up to n parked deliveries that an agent may take, oldest first.
func (s hubStore) unpark(tx *Tx, tenant conclave.TenantID, a conclave.Agent, n int) error {
	if n <= 0 {
		return nil
	}
	parked, err := listDocs[hub.Task](tx, `SELECT doc FROM tasks WHERE tenant = $1 AND state = 'submitted' AND parked = 1 AND (address IN ($2, $3) OR address LIKE 'skills/%') ORDER BY created, id LIMIT 1000`,
		string(tenant), "agents/"+string(a.Name), "roles/"+string(a.Role))
	if err != nil {
		return err
	}
	for _, t := range parked {
		if !hub.MayTake(t, a) {
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

func (s hubStore) Accept(ctx context.Context, in hub.Accept) (hub.Task, bool, error) {
	t := hub.Task{Task: in.Task, Tenant: in.Tenant, Call: in.Call, Scopes: in.Scopes, Budgets: in.Budgets, Exclude: in.Exclude, Request: in.Request, Epoch: 1, Interactive: in.Interactive}
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
		if err := s.spend(tx, &t); err != nil {
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
	if err := tx.talked(tenant, m); err != nil {
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
		if _, err := tx.exec(`UPDATE tasks SET parked = 0, instance = $2, renewed = $3 WHERE id = $1`, string(t.ID), in.Instance, t.Updated.Add(in.Ahead).UnixMicro()); err != nil {
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

func (s hubStore) Refuse(ctx context.Context, r hub.Refusal) error {
	e, err := r.Event()
	if err != nil {
		return fmt.Errorf("encode the event of a refusal: %w", err)
	}
	return s.db.Update(ctx, func(tx *Tx) error { return tx.Append(e) })
}
