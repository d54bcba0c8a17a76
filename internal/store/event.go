package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"conclave"
)

// Append adds an event to the record in this transaction. It fills the time,
// and tenant and actor from the caller where they are empty.
func (tx *Tx) Append(e conclave.Event) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	e.At = now
	caller := conclave.CallerFrom(tx.asks)
	e.Tenant = cmp.Or(e.Tenant, caller.Tenant, conclave.DefaultTenant)
	e.Actor = cmp.Or(e.Actor, caller.Name())
	e.Text = strings.ToValidUTF8(strings.ReplaceAll(e.Text, "\x00", ""), "\uFFFD") // as Postgres demands; SQLite would keep anything
	if len(e.Data) == 0 {
		e.Data = json.RawMessage("null")
	}
	if tx.db.postgres && len(tx.events) == 0 {
		// Leaves word, until the commit, that numbers above the last one given
		// may still come from here: see safeSeq.
		if _, err := tx.exec(`SELECT pg_advisory_xact_lock_shared($1, (last_value & 2147483647)::int) FROM events_seq_seq`, eventLock); err != nil {
			return err
		}
	}
	_, err = tx.scan([]any{&e.Seq}, `INSERT INTO events (tenant, at, kind, actor, run, step, conversation, subject, text, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING seq`,
		string(e.Tenant), e.At.UnixMicro(), string(e.Kind), e.Actor, string(e.Run), string(e.Step), string(e.Conversation), e.Subject, e.Text, string(e.Data))
	if err != nil {
		return err
	}
	tx.events = append(tx.events, e)
	return nil
}

// eventLock is the class of the locks that mark writers of events on Postgres.
const eventLock = 0x636f6e64

// safeSeq is the highest number up to which every event is visible. Numbers are
// given before commit, so a later one can be visible before a lower one. Each
// writer holds a shared lock whose key is the last number given before its own.
// The sequence is read first and the locks after it: a number that was given by
// then belongs to a writer that has ended, or whose lock is seen.
func (tx *Tx) safeSeq() (int64, error) {
	var given int64
	if _, err := tx.scan([]any{&given}, `SELECT last_value FROM events_seq_seq`); err != nil {
		return 0, err
	}
	safe := given
	rows, err := tx.query(`SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid = $1
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, int64(eventLock))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var low int64 // the lower 31 bits of a number that is not far from given
		if err := rows.Scan(&low); err != nil {
			return 0, err
		}
		back := (given - low) & (1<<31 - 1)
		if back > 1<<30 { // the lock is newer than our look at the sequence
			continue
		}
		safe = min(safe, given-back)
	}
	return safe, rows.Err()
}

// fallbackPoll is how often a watcher looks without having heard anything: what
// another process committed may have been told while we were not listening.
const fallbackPoll = 2 * time.Second

// Events is the record of what happened.
func (db *DB) Events() conclave.Events { return eventStore{db} }

type eventStore struct{ db *DB }

func (s eventStore) List(ctx context.Context, f conclave.EventFilter) ([]conclave.Event, error) {
	if f.Limit == 0 {
		f.Limit = 200
	}
	if f.Limit < 1 || f.Limit > 1000 {
		return nil, conclave.Errorf(conclave.ErrInvalid, "limit is %d; it must be 1 to 1000", f.Limit)
	}
	var where []string
	var args []any
	add := func(condition string, value any) {
		args = append(args, value)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	add("seq > $%d", f.After)
	add("tenant = $%d", string(tenantOf(ctx)))
	if f.Run != "" {
		add("run = $%d", string(f.Run))
	}
	if f.Conversation != "" {
		add("conversation = $%d", string(f.Conversation))
	}
	if f.Actor != "" {
		add("actor = $%d", f.Actor)
	}
	if f.Since > 0 {
		add("at >= $%d", f.Since*1000)
	}
	if len(f.Kinds) > 0 {
		var marks []string
		for _, k := range f.Kinds {
			args = append(args, string(k))
			marks = append(marks, fmt.Sprintf("$%d", len(args)))
		}
		where = append(where, "kind IN ("+strings.Join(marks, ", ")+")")
	}
	if s.db.postgres {
		args = append(args, int64(0)) // set below
		where = append(where, fmt.Sprintf("seq <= $%d", len(args)))
	}
	args = append(args, f.Limit)
	query := `SELECT seq, tenant, at, kind, actor, run, step, conversation, subject, text, data FROM events WHERE ` +
		strings.Join(where, " AND ") + fmt.Sprintf(" ORDER BY seq LIMIT $%d", len(args))
	var events []conclave.Event
	err := s.db.View(ctx, func(tx *Tx) error {
		if s.db.postgres {
			safe, err := tx.safeSeq()
			if err != nil {
				return err
			}
			args[len(args)-2] = safe
		}
		rows, err := tx.query(query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e conclave.Event
			var at int64
			var data string
			if err := rows.Scan(&e.Seq, &e.Tenant, &at, &e.Kind, &e.Actor, &e.Run, &e.Step, &e.Conversation, &e.Subject, &e.Text, &data); err != nil {
				return fmt.Errorf("read an event: %w", err)
			}
			e.At = fromMicros(at)
			if data != "null" {
				e.Data = json.RawMessage(data)
			}
			events = append(events, e)
		}
		return rows.Err()
	})
	return events, err
}

func (s eventStore) Watch(ctx context.Context, f conclave.EventFilter) iter.Seq2[conclave.Event, error] {
	return func(yield func(conclave.Event, error) bool) {
		subject := string(f.Run)
		heard, stop := s.db.bus.Subscribe(subject)
		defer stop()
		poll := time.NewTicker(fallbackPoll)
		defer poll.Stop()
		for {
			for {
				events, err := s.List(ctx, f)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					yield(conclave.Event{}, err)
					return
				}
				for _, e := range events {
					if !yield(e, nil) {
						return
					}
					f.After = e.Seq
				}
				if len(events) == 0 {
					break
				}
			}
			select {
			case <-heard:
			case <-poll.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

// tenantOf is whose rows a caller sees.
func tenantOf(ctx context.Context) conclave.TenantID {
	if t := conclave.CallerFrom(ctx).Tenant; t != "" {
		return t
	}
	return conclave.DefaultTenant
}

// wait returns when check says true, d has passed (then without an error), or
// ctx has ended. It looks again whenever something about the subject is committed.
func (db *DB) wait(ctx context.Context, subject string, d time.Duration, check func() (bool, error)) error {
	heard, stop := db.bus.Subscribe(subject)
	defer stop()
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	poll := time.NewTicker(fallbackPoll)
	defer poll.Stop()
	for {
		if ok, err := check(); ok || err != nil || d <= 0 {
			return err
		}
		select {
		case <-heard:
		case <-poll.C:
		case <-deadline.C:
			_, err := check()
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
