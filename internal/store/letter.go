package store

import (
	"context"

	"conclave"
	"conclave/internal/hub"
)

// Letters implements the hub's store of dead letters.
func (db *DB) Letters() hub.LetterStore { return letterStore{db} }

type letterStore struct{ db *DB }

// die keeps the message of a task that failed as a dead letter.
func (tx *Tx) die(t hub.Task) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	doc, err := encode(conclave.DeadLetter{Task: t.ID, Message: t.Request, Reason: t.Error, Died: now})
	if err != nil {
		return err
	}
	if _, err := tx.exec(`INSERT INTO dead_letters (task, tenant, address, at, doc) VALUES ($1, $2, $3, $4, $5)`,
		string(t.ID), string(t.Tenant), t.To, now.UnixMicro(), doc); err != nil {
		return err
	}
	return tx.letter(t, conclave.EventLetterDead, string(conclave.ServiceHub), "the message could not be delivered: "+t.Error)
}

func (tx *Tx) letter(t hub.Task, kind conclave.EventKind, actor, text string) error {
	return tx.Append(conclave.Event{Tenant: t.Tenant, Kind: kind, Actor: actor, Run: t.Run, Conversation: t.Conversation, Subject: string(t.ID), Text: text})
}

func (s letterStore) DeadLetters(ctx context.Context, tenant conclave.TenantID, in conclave.ListDeadLetters) ([]conclave.DeadLetter, error) {
	var list []conclave.DeadLetter
	err := s.db.View(ctx, func(tx *Tx) error {
		var at int64
		if in.After != "" {
			found, err := tx.scan([]any{&at}, `SELECT at FROM dead_letters WHERE task = $1 AND tenant = $2`, string(in.After), string(tenant))
			if err != nil {
				return err
			}
			if !found {
				return conclave.Errorf(conclave.ErrNotFound, "there is no dead letter %q", in.After)
			}
		}
		var err error
		list, err = listDocs[conclave.DeadLetter](tx, `SELECT doc FROM dead_letters WHERE tenant = $1 AND (at > $2 OR at = $2 AND task > $3) AND ($4 = '' OR address = $4)
			ORDER BY at, task LIMIT $5`, string(tenant), at, string(in.After), in.To, in.Limit)
		return err
	})
	return list, err
}

func (s letterStore) RetryLetter(ctx context.Context, tenant conclave.TenantID, id conclave.TaskID, again hub.Again) (hub.Task, error) {
	h := hubStore(s)
	key := "dead letter " + string(id)
	var t hub.Task
	err := s.db.Update(ctx, func(tx *Tx) error {
		old, found, err := h.find(tx, `id = $1 AND tenant = $2`, string(id), string(tenant))
		if err != nil {
			return err
		}
		if !found {
			return noLetter(id)
		}
		if t, found, err = h.find(tx, `tenant = $1 AND asker = $2 AND key = $3 AND key <> ''`, string(tenant), old.From, key); err != nil || found {
			return err // it was retried before
		}
		n, err := tx.exec(`DELETE FROM dead_letters WHERE task = $1 AND tenant = $2`, string(id), string(tenant))
		if err != nil {
			return err
		}
		if n == 0 {
			return noLetter(id)
		}
		if err := tx.mayGoOn(old.Run); err != nil {
			return err
		}
		t = old.Again(again)
		if err := h.insert(tx, &t, hub.Accept{Key: key}); err != nil {
			return err
		}
		return tx.letter(old, conclave.EventLetterRetried, again.Actor, again.Actor+" has it delivered again, as "+string(t.ID))
	})
	return t, err
}

func noLetter(id conclave.TaskID) error {
	return conclave.Errorf(conclave.ErrNotFound, "there is no dead letter %q; conclave messages dead lists them", id)
}

func (s letterStore) DropLetter(ctx context.Context, tenant conclave.TenantID, id conclave.TaskID, actor string) (conclave.DeadLetter, error) {
	var l conclave.DeadLetter
	err := s.db.Update(ctx, func(tx *Tx) error {
		var found bool
		var err error
		if l, found, err = getDoc[conclave.DeadLetter](tx, `DELETE FROM dead_letters WHERE task = $1 AND tenant = $2 RETURNING doc`, string(id), string(tenant)); err != nil {
			return err
		}
		if !found {
			return noLetter(id)
		}
		t := hub.Task{Tenant: tenant, Task: conclave.Task{ID: id, Run: l.Message.Run, Conversation: l.Message.Conversation}}
		return tx.letter(t, conclave.EventLetterDropped, actor, actor+" dropped what could not be delivered")
	})
	return l, err
}
