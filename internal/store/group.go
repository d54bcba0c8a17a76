package store

import (
	"context"
	"fmt"
	"time"

	"conclave"
	"conclave/internal/killpoint"
)

// SQLite has one writer. One goroutine owns it, and puts the transactions that
// wait at that moment into one commit, each in a savepoint of its own, so that
// they share one fsync and none can undo another. One that is alone needs none.

type write struct {
	ctx  context.Context
	f    func(*Tx) error
	err  error
	done chan struct{}
}

// A group ends after so many, or when it has taken so long: the queue waits for the
// same connection.
const (
	groupSize = 128
	groupTime = 50 * time.Millisecond
)

func (db *DB) grouped(ctx context.Context, f func(*Tx) error) error {
	w := &write{ctx: ctx, f: f, done: make(chan struct{})}
	if err := db.submit(w); err != nil {
		return err
	}
	<-w.done // a write that was taken is waited for: its fate must be known
	return w.err
}

func (db *DB) submit(w *write) (err error) {
	defer func() {
		if recover() != nil { // sending on the channel that Close closed
			err = conclave.Errorf(conclave.ErrUnavailable, "the database is closed")
		}
	}()
	select {
	case db.writes <- w:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func (db *DB) groupCommits() {
	defer close(db.done)
	var group []*write
	for {
		if len(group) == 0 {
			first, ok := <-db.writes
			if !ok {
				return
			}
			group = append(group, first)
		}
	gather:
		for len(group) < groupSize {
			select {
			case w, ok := <-db.writes:
				if !ok {
					break gather
				}
				group = append(group, w)
			default:
				break gather
			}
		}
		group = db.commitGroup(group)
	}
}

// commitGroup commits a group, and returns those that are left for the next one.
func (db *DB) commitGroup(group []*write) (rest []*write) {
	// The group's transaction belongs to no caller: one that gives up must not
	// undo the others.
	ctx := context.Background()
	t, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		finish(group, unavailable(err))
		return nil
	}
	began := time.Now()
	alone := len(group) == 1
	var applied []*Tx
	var kept []*write
	for i, w := range group {
		if i > 0 && time.Since(began) > groupTime {
			rest = group[i:]
			break
		}
		tx := &Tx{ctx: ctx, asks: w.ctx, db: db, tx: t}
		if err := w.ctx.Err(); err != nil {
			w.err = err
			close(w.done)
			continue
		}
		if alone {
			if w.err = w.f(tx); w.err != nil {
				t.Rollback()
				close(w.done)
				return nil
			}
			applied, kept = append(applied, tx), append(kept, w)
			continue
		}
		if _, err := tx.exec("SAVEPOINT w"); err != nil {
			t.Rollback()
			finish(append(kept, group[i:]...), unavailable(err))
			return nil
		}
		if w.err = w.f(tx); w.err != nil {
			if _, err := tx.exec("ROLLBACK TO w"); err != nil {
				t.Rollback()
				finish(append(kept, group[i:]...), unavailable(err))
				return nil
			}
			close(w.done)
		} else {
			applied = append(applied, tx)
			kept = append(kept, w)
		}
		if _, err := tx.exec("RELEASE w"); err != nil {
			t.Rollback()
			finish(append(kept, group[i+1:]...), unavailable(err))
			return nil
		}
	}
	killpoint.At("commit.before")
	if err := t.Commit(); err != nil {
		t.Rollback()
		finish(kept, unavailable(fmt.Errorf("commit: %w", err)))
		return rest
	}
	killpoint.At("commit.after")
	finish(kept, nil)
	for _, tx := range applied {
		db.published(tx)
		db.parsed.keep(ctx, db, tx.unparsed)
	}
	return rest
}

func finish(ws []*write, err error) {
	for _, w := range ws {
		w.err = err
		close(w.done)
	}
}
