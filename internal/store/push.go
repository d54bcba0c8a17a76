package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"conclave"
	"conclave/internal/hub"
)

// workPush is what waits for a client to be told.
const workPush = "push"

// Pushes implements the hub's store of whom to tell.
func (db *DB) Pushes() hub.PushStore { return pushStore{db} }

type pushStore struct{ db *DB }

func (s pushStore) SavePush(ctx context.Context, tenant conclave.TenantID, c hub.PushConfig, fromStart bool, max int) error {
	doc, err := encode(c)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(tx *Tx) error {
		// The task's row is locked, so that a change that is under way is told: it has
		// looked for whom to tell before this configuration was there.
		if _, _, err := hubStore(s).find(tx, `id = $1`, string(c.Task)); err != nil {
			return err
		}
		n, err := tx.exec(`UPDATE push_configs SET doc = $4 WHERE tenant = $1 AND task = $2 AND id = $3`, string(tenant), string(c.Task), c.ID, doc)
		if err != nil || n > 0 {
			return err
		}
		var others int
		if _, err := tx.scan([]any{&others}, `SELECT count(*) FROM push_configs WHERE tenant = $1 AND task = $2`, string(tenant), string(c.Task)); err != nil {
			return err
		}
		if others >= max {
			return conclave.Errorf(conclave.ErrConflict, "task %s has %d push notification configurations, and may not have more; delete one", c.Task, others)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		var seq int64
		due := now.UnixMicro() // what has happened by now is looked at once
		if !fromStart {
			if _, err := tx.scan([]any{&seq}, `SELECT coalesce(max(e.seq), 0) FROM tasks t JOIN events e ON e.conversation = t.conversation AND e.subject = t.id
				WHERE t.id = $1`, string(c.Task)); err != nil {
				return err
			}
		}
		if _, err := tx.exec(`INSERT INTO push_configs (tenant, task, id, seq, due, epoch, attempt, failing, doc) VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6)`,
			string(tenant), string(c.Task), c.ID, seq, due, doc); err != nil {
			return err
		}
		tx.wakes(workPush)
		return nil
	})
}

func (s pushStore) PushConfigs(ctx context.Context, tenant conclave.TenantID, task conclave.TaskID) ([]hub.PushConfig, error) {
	var list []hub.PushConfig
	err := s.db.View(ctx, func(tx *Tx) (err error) {
		list, err = listDocs[hub.PushConfig](tx, `SELECT doc FROM push_configs WHERE tenant = $1 AND task = $2 ORDER BY id`, string(tenant), string(task))
		return err
	})
	return list, err
}

func (s pushStore) DeletePush(ctx context.Context, tenant conclave.TenantID, task conclave.TaskID, id string) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM push_configs WHERE tenant = $1 AND task = $2 AND id = $3`, string(tenant), string(task), id)
		return err
	})
}

// tellOf makes a task's configurations due. On Postgres it locks them also when
// they are already, so that whoever gives one back meanwhile looks after this
// transaction.
func (tx *Tx) tellOf(tenant conclave.TenantID, task conclave.TaskID, now time.Time) error {
	n, err := tx.exec(`UPDATE push_configs SET due = CASE WHEN due = 0 THEN $3 ELSE due END WHERE tenant = $1 AND task = $2`,
		string(tenant), string(task), now.UnixMicro())
	if n > 0 {
		tx.wakes(workPush)
	}
	return err
}

func (s pushStore) TakePushes(ctx context.Context, n int, lease, d time.Duration) ([]hub.Push, error) {
	var list []hub.Push
	err := s.db.wait(ctx, queueSubject(workPush), d, func() (bool, error) {
		var err error
		list, err = s.take(ctx, n, lease)
		return len(list) > 0, err
	})
	return list, err
}

const duePushes = `SELECT tenant, task, id, epoch, attempt, failing, seq, doc FROM push_configs WHERE due > 0 AND due <= $1 ORDER BY due LIMIT $2`

func (s pushStore) take(ctx context.Context, n int, lease time.Duration) ([]hub.Push, error) {
	some := false
	err := s.db.View(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		var due int64
		some, err = tx.scan([]any{&due}, `SELECT due FROM push_configs WHERE due > 0 AND due <= $1 LIMIT 1`, now.UnixMicro())
		return err
	})
	if err != nil || !some {
		return nil, err
	}
	var list []hub.Push
	err = s.db.Update(ctx, func(tx *Tx) error {
		list = nil
		now, err := tx.Now()
		if err != nil {
			return err
		}
		taken, err := s.due(tx, now, n)
		if err != nil {
			return err
		}
		for _, p := range taken {
			var found bool
			if p.Task, found, err = getDoc[hub.Task](tx, `SELECT doc FROM tasks WHERE id = $1`, string(p.PushConfig.Task)); err != nil {
				return err
			}
			if found {
				if p.Changes, err = changesAfter(tx, p.Task, p.Changes[0].Seq); err != nil {
					return err
				}
			}
			due := now.Add(lease).UnixMicro()
			if len(p.Changes) == 0 {
				due = 0 // there is nothing to tell, or it is gone
			}
			p.Epoch++
			if _, err := tx.exec(`UPDATE push_configs SET due = $4, epoch = $5 WHERE tenant = $1 AND task = $2 AND id = $3`,
				string(p.Tenant), string(p.PushConfig.Task), p.ID, due, p.Epoch); err != nil {
				return err
			}
			if len(p.Changes) > 0 {
				list = append(list, p)
			}
		}
		return nil
	})
	return list, err
}

// due reads configurations that are due. Their only change is the last they were told.
func (s pushStore) due(tx *Tx, now time.Time, n int) ([]hub.Push, error) {
	query := duePushes
	if s.db.postgres {
		query += ` FOR UPDATE SKIP LOCKED`
	}
	rows, err := tx.query(query, now.UnixMicro(), n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []hub.Push
	for rows.Next() {
		var p hub.Push
		var failing, seq int64
		var doc string
		var task conclave.TaskID
		if err := rows.Scan(&p.Tenant, &task, &p.ID, &p.Epoch, &p.Attempt, &failing, &seq, &doc); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(doc), &p.PushConfig); err != nil {
			return nil, fmt.Errorf("decode a push configuration: %w", err)
		}
		if failing > 0 {
			p.Failing = now.Sub(fromMicros(failing))
		}
		p.Changes = []hub.Change{{Seq: seq}}
		list = append(list, p)
	}
	return list, rows.Err()
}

// changesAfter returns the next changes of a task.
func changesAfter(tx *Tx, t hub.Task, seq int64) ([]hub.Change, error) {
	rows, err := tx.query(`SELECT seq, at, data FROM events WHERE conversation = $1 AND seq > $2 AND subject = $3 AND kind = $4 ORDER BY seq LIMIT 2`,
		string(t.Conversation), seq, string(t.ID), string(conclave.EventTaskChanged))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []hub.Change
	for rows.Next() {
		var c hub.Change
		var at int64
		var data string
		if err := rows.Scan(&c.Seq, &at, &data); err != nil {
			return nil, err
		}
		var said struct{ State conclave.TaskState }
		if err := json.Unmarshal([]byte(data), &said); err != nil {
			return nil, fmt.Errorf("decode an event of task %s: %w", t.ID, err)
		}
		c.At, c.State = fromMicros(at), said.State
		list = append(list, c)
	}
	return list, rows.Err()
}

func (s pushStore) EndPush(ctx context.Context, in hub.EndPush) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		query := `SELECT epoch, seq, attempt, failing FROM push_configs WHERE tenant = $1 AND task = $2 AND id = $3`
		if s.db.postgres {
			query += ` FOR UPDATE`
		}
		var epoch, seq, attempt, failing int64
		found, err := tx.scan([]any{&epoch, &seq, &attempt, &failing}, query, string(in.Tenant), string(in.Task), in.ID)
		if err != nil {
			return err
		}
		if !found || epoch != in.Epoch {
			return conclave.Errorf(conclave.ErrConflict, "somebody else tells %s of task %s", in.ID, in.Task)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if in.Told > seq {
			seq, attempt, failing = in.Told, 0, 0
		}
		if in.Failed != "" && !in.GaveUp {
			attempt++
			if failing == 0 {
				failing = now.UnixMicro()
			}
		}
		t, _, err := getDoc[hub.Task](tx, `SELECT doc FROM tasks WHERE id = $1`, string(in.Task))
		if err != nil {
			return err
		}
		rest, err := changesAfter(tx, t, seq)
		if err != nil {
			return err
		}
		due := int64(0)
		if len(rest) > 0 {
			due = now.Add(in.After).UnixMicro()
			tx.wakes(workPush)
		}
		if _, err := tx.exec(`UPDATE push_configs SET seq = $4, due = $5, attempt = $6, failing = $7, epoch = epoch + 1 WHERE tenant = $1 AND task = $2 AND id = $3`,
			string(in.Tenant), string(in.Task), in.ID, seq, due, attempt, failing); err != nil {
			return err
		}
		if !in.GaveUp {
			return nil
		}
		return tx.Append(conclave.Event{Tenant: in.Tenant, Kind: conclave.EventPushFailed, Actor: string(conclave.ServiceHub), Run: t.Run, Conversation: t.Conversation,
			Subject: string(in.Task), Text: "the client could not be told: " + in.Failed})
	})
}
