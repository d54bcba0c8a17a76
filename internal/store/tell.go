package store

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"conclave/internal/bus"

	"github.com/jackc/pgx/v5"
)

// While no bus carries notes, Postgres does: LISTEN on one connection of each
// process, NOTIFY by one goroutine. It is not part of the transactions that it
// tells of, because Postgres lets only one transaction that notifies commit at a
// time, and so would make all writers wait for one another's disk.

// channel is the Postgres channel on which processes tell each other of commits.
const channel = "conclave"

// untold are the notes that Postgres has not been given yet.
type untold struct {
	mu    sync.Mutex
	notes []bus.Note
	bell  chan struct{}
}

// maxUntold bounds what a slow database makes us keep.
const maxUntold = 10_000

func (u *untold) add(notes []bus.Note) {
	if len(notes) == 0 {
		return
	}
	u.mu.Lock()
	if len(u.notes)+len(notes) > maxUntold {
		u.notes = []bus.Note{{}} // "look at everything"
	} else {
		u.notes = append(u.notes, notes...)
	}
	u.mu.Unlock()
	select {
	case u.bell <- struct{}{}:
	default: // it is about to look
	}
}

func (u *untold) take() []bus.Note {
	u.mu.Lock()
	defer u.mu.Unlock()
	notes := u.notes
	u.notes = nil
	return notes
}

// published tells whoever waits what a commit changed.
func (db *DB) published(tx *Tx) {
	if tx.ended != nil {
		db.settled.hand(*tx.ended)
	}
	notes := tx.notes()
	if db.postgres && !db.bus.Carries() {
		db.untold.add(notes)
	}
	db.bus.Publish(notes...)
}

// tell gives Postgres what waits, until ctx ends and nothing waits any more.
func (db *DB) tell(ctx context.Context) {
	for last := false; ; {
		if notes := db.untold.take(); len(notes) > 0 {
			if err := db.notify(ctx, notes); err != nil {
				db.log.Debug("tell other processes of commits; they will poll", "error", err)
			}
			continue
		}
		if last {
			return
		}
		select {
		case <-db.untold.bell:
		case <-ctx.Done():
			last = true
		}
	}
}

func (db *DB) notify(ctx context.Context, notes []bus.Note) error {
	list, err := payloads(notes)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	// A notification is worth nothing after a crash, so nobody waits for the disk.
	_, err = db.write.ExecContext(ctx, `SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, payload) FROM unnest($2::text[]) payload`, channel, list)
	return err
}

// Postgres takes less than 8000 bytes in one notification. maxPayloads of them
// are told one by one; more are not worth it.
const (
	maxPayload  = 7900
	maxPayloads = 32
)

// payloads packs what notes are about, each subject once.
func payloads(notes []bus.Note) ([]string, error) {
	var all []string
	seq := int64(0)
	for _, n := range notes {
		if len(n.About) == 0 && n.Seq == 0 {
			return []string{`[{}]`}, nil // "look at everything"
		}
		seq = max(seq, n.Seq)
		all = append(all, n.About...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	var list []string
	for first := true; first || len(all) > 0; first = false {
		fit, size := 0, 50 // of what is around the subjects
		for fit < len(all) && size+len(all[fit])+3 < maxPayload {
			size += len(all[fit]) + 3 // quotes and a comma: ids need no escapes
			fit++
		}
		data, err := json.Marshal([]bus.Note{{Seq: seq, About: all[:fit]}})
		if err != nil {
			return nil, err
		}
		if len(data) > maxPayload || fit == 0 && len(all) > 0 || len(list) == maxPayloads {
			return []string{`[{}]`}, nil
		}
		list = append(list, string(data))
		all = all[fit:]
	}
	return list, nil
}

// listen passes on what other processes committed. It reconnects for ever;
// while it is away, watchers poll.
func (db *DB) listen(ctx context.Context) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		err := db.listenOnce(ctx, func() { wait = 50 * time.Millisecond })
		if ctx.Err() != nil {
			return
		}
		db.log.Warn("listening to the database was interrupted", "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (db *DB) listenOnce(ctx context.Context, connected func()) error {
	conn, err := pgx.Connect(ctx, db.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	connected()
	db.bus.RingAll()
	for {
		msg, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		var notes []bus.Note
		if err := json.Unmarshal([]byte(msg.Payload), &notes); err != nil {
			db.bus.RingAll() // a process of another version said something
			continue
		}
		db.bus.Ring(notes...)
	}
}
