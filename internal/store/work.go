package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"conclave"
)

// A row of the work table says who may work on something: a step, a delivery, a
// motion. The row is the truth; a job in the queue is a hint that names it and
// its epoch.
//
//	ready --claim(epoch+1)--> running --settle--> idle
//	  ^                          |
//	  +--- ready again, sweep ---+
//
// Claiming raises the epoch, and every write of the worker checks it (hold), so
// a worker that slept while another took over can't write any more. Rows whose
// worker stopped its heartbeat are made ready again by the sweeper of any
// process that works on that kind; at start, a process does so at once for
// claims of its own name, because it can't be alive twice.

// Kinds of work, which are also the names of the queues.
const (
	WorkStep     = "step"
	WorkDelivery = "delivery" // its claims are in the tasks table, because a delivery belongs to an agent too
	WorkMotion   = "motion"
)

const (
	heartbeatEvery = 3 * time.Second
	staleAfter     = 10 * time.Second
)

// ready makes the row if it is not there, and lets it be claimed from due on;
// the zero time means now.
func (tx *Tx) ready(kind, id string, due time.Time) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	if due.Before(now) {
		due = now
	}
	_, err = tx.exec(`INSERT INTO work (kind, id, tenant, state, epoch, attempt, owner, heartbeat, due)
		VALUES ($1, $2, $3, 'ready', 0, 0, '', 0, $4)
		ON CONFLICT (kind, id) DO UPDATE SET state = 'ready', due = excluded.due`,
		kind, id, string(conclave.DefaultTenant), due.UnixMicro())
	if err != nil {
		return err
	}
	return tx.hint(kind, id, due)
}

// hint enqueues a job that names the row's present epoch.
func (tx *Tx) hint(kind, id string, due time.Time) error {
	var epoch int64
	if _, err := tx.scan([]any{&epoch}, `SELECT epoch FROM work WHERE kind = $1 AND id = $2`, kind, id); err != nil {
		return err
	}
	return tx.enqueue(kind, id, epoch, due)
}

// enqueue adds a job that takes effect with the commit, and wakes its workers then.
func (tx *Tx) enqueue(kind, id string, epoch int64, due time.Time) error {
	if err := tx.db.queue.insert(tx, kind, id, epoch, due); err != nil {
		return fmt.Errorf("enqueue %s %s: %w", kind, id, err)
	}
	tx.wakes(kind)
	return nil
}

// wakes tells those who wait for a kind of work, once it is committed.
func (tx *Tx) wakes(kind string) {
	if tx.queues == nil {
		tx.queues = map[string]bool{}
	}
	tx.queues[kind] = true
}

// claim takes the row for this process. It returns the new epoch and attempt, or
// ok false when the hint is out of date or somebody else was first.
func (tx *Tx) claim(kind, id string, epoch int64) (newEpoch int64, attempt int, ok bool, err error) {
	now, err := tx.Now()
	if err != nil {
		return 0, 0, false, err
	}
	n, err := tx.exec(`UPDATE work SET state = 'running', epoch = epoch + 1, attempt = attempt + 1, owner = $4, heartbeat = $5
		WHERE kind = $1 AND id = $2 AND epoch = $3 AND state = 'ready'`,
		kind, id, epoch, tx.db.owner, now.UnixMicro())
	if err != nil || n == 0 {
		return 0, 0, false, err
	}
	if _, err := tx.scan([]any{&attempt}, `SELECT attempt FROM work WHERE kind = $1 AND id = $2`, kind, id); err != nil {
		return 0, 0, false, err
	}
	return epoch + 1, attempt, true, nil
}

// hold fails with ErrConflict unless the claim is still the newest one.
func (tx *Tx) hold(kind, id string, epoch int64) error {
	n, err := tx.exec(`UPDATE work SET heartbeat = heartbeat WHERE kind = $1 AND id = $2 AND epoch = $3 AND state = 'running'`, kind, id, epoch)
	if err != nil {
		return err
	}
	if n == 0 {
		return conclave.Errorf(conclave.ErrConflict, "%s %s was taken over by another worker", kind, id)
	}
	return nil
}

// settle ends the claim: nothing is to be done until the row is made ready again.
func (tx *Tx) settle(kind, id string, epoch int64) error {
	if err := tx.hold(kind, id, epoch); err != nil {
		return err
	}
	_, err := tx.exec(`UPDATE work SET state = 'idle', attempt = 0, owner = '' WHERE kind = $1 AND id = $2`, kind, id)
	return err
}

// revoke takes the row from whoever has it, so that their writes are refused.
func (tx *Tx) revoke(kind, id string) error {
	_, err := tx.exec(`UPDATE work SET state = 'idle', epoch = epoch + 1, owner = '' WHERE kind = $1 AND id = $2`, kind, id)
	return err
}

// heartbeat says that this process still works on its claims: on those that a
// handler has in hand. A claim whose handler could not write its end, because
// the disk was full, say, goes stale and is put back by the sweep.
func (db *DB) heartbeat(ctx context.Context) error {
	db.queue.mu.Lock()
	working := slices.Collect(maps.Keys(db.queue.working))
	db.queue.mu.Unlock()
	if len(working) == 0 {
		return nil
	}
	return db.Update(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		for _, h := range working {
			if _, err := tx.exec(`UPDATE work SET heartbeat = $1 WHERE kind = $2 AND id = $3 AND owner = $4 AND state = 'running'`, now.UnixMicro(), h.Work, h.ID, db.owner); err != nil {
				return err
			}
		}
		return nil
	})
}

// sweep makes claims ready again that nobody works on any more: those of a dead
// owner when all is false, and of every owner (or of this process's name, when
// it is not alone) at start.
func (db *DB) sweep(ctx context.Context, starting bool) error {
	type row struct {
		kind, id string
		due      int64
	}
	find := func(tx *Tx) ([]row, error) {
		now, err := tx.Now()
		if err != nil {
			return nil, err
		}
		// A ready row that is long overdue has lost its hint: its worker died
		// between taking the hint and claiming.
		query, args := `SELECT kind, id, due FROM work WHERE (state = 'running' AND heartbeat < $1) OR (state = 'ready' AND due < $1)`,
			[]any{now.Add(-staleAfter).UnixMicro()}
		switch {
		case starting && db.alone:
			query, args = `SELECT kind, id, due FROM work WHERE state IN ('running', 'ready')`, nil
		case starting:
			query, args = `SELECT kind, id, due FROM work WHERE state = 'running' AND owner = $1`, []any{db.owner}
		}
		rows, err := tx.query(query, args...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var found []row
		for rows.Next() {
			var r row
			if err := rows.Scan(&r.kind, &r.id, &r.due); err != nil {
				return nil, err
			}
			found = append(found, r)
		}
		return found, rows.Err()
	}
	var found []row
	err := db.View(ctx, func(tx *Tx) (err error) { found, err = find(tx); return err })
	if err != nil || len(found) == 0 {
		return err
	}
	return db.Update(ctx, func(tx *Tx) error {
		found, err := find(tx)
		if err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		for _, r := range found {
			due := max(r.due, now.UnixMicro())
			if _, err := tx.exec(`UPDATE work SET state = 'ready', epoch = epoch + 1, owner = '', due = $3 WHERE kind = $1 AND id = $2`, r.kind, r.id, due); err != nil {
				return err
			}
			if err := tx.hint(r.kind, r.id, fromMicros(due)); err != nil {
				return err
			}
		}
		db.log.Info("work without a worker was put back", "rows", len(found), "starting", starting)
		return nil
	})
}
