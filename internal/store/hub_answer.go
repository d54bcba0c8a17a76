package store

import (
	"context"
	"slices"

	"conclave/internal/hub"
)

// Answer implements [hub.Store].
func (s hubStore) Answer(ctx context.Context, in hub.Answer) (hub.Task, error) {
	var t hub.Task
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		if err := s.lockLineOf(tx, in.ID); err != nil {
			return err
		}
		if t, err = s.get(tx, in.ID); err != nil || slices.Contains(t.Keys, in.Key) {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		in.Message.Sent = now
		if t, err = t.Answered(in); err != nil {
			return err
		}
		if err := s.put(tx, &t, ""); err != nil {
			return err
		}
		if _, err := s.keep(tx, t.Tenant, t.Request); err != nil {
			return err
		}
		if err := s.changed(tx, t, t.From, t.From+" answered"); err != nil {
			return err
		}
		waits, err := s.blocked(tx, t)
		if err != nil {
			return err
		}
		if waits {
			return s.deliver(tx, t.ID, 0, needsTurn)
		}
		return s.deliver(tx, t.ID, 0, isDue)
	})
	return t, err
}
