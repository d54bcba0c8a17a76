package store

import (
	"context"
	"encoding/json"
	"fmt"

	"conclave"
	"conclave/internal/worktree"
)

// Worktrees implements the worktree service's store.
func (db *DB) Worktrees() worktree.Store { return worktreeStore{db} }

type worktreeStore struct{ db *DB }

func (s worktreeStore) Lease(ctx context.Context, in conclave.LeaseWorktree, w conclave.Worktree) (conclave.Worktree, error) {
	return once(ctx, s.db, "worktree_lease", in.Key, in, func(tx *Tx) (conclave.Worktree, error) {
		if s.db.postgres { // leases of one run are given one after the other
			if _, err := tx.exec(`SELECT pg_advisory_xact_lock(hashtext($1))`, string(w.Run)); err != nil {
				return w, err
			}
		}
		open, err := listDocs[conclave.Worktree](tx, `SELECT doc FROM worktrees WHERE run = $1 AND state = 'leased'`, string(w.Run))
		if err != nil {
			return w, err
		}
		for _, o := range open {
			if mine, theirs, both := conclave.WritesOverlap(w.Writes, o.Writes); both {
				return w, conclave.Errorf(conclave.ErrConflict, "step %s wants to write %s, which step %s holds (%s) in %s", w.Step, mine, o.Step, theirs, o.ID)
			}
		}
		now, err := tx.Now()
		if err != nil {
			return w, err
		}
		w.Created = now
		doc, err := encode(w)
		if err != nil {
			return w, err
		}
		if _, err := tx.exec(`INSERT INTO worktrees (id, tenant, run, repo, state, created, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			string(w.ID), string(tenantOf(ctx)), string(w.Run), w.Repo, string(w.State), now.UnixMicro(), doc); err != nil {
			return w, err
		}
		return w, tx.appendWorktree(ctx, w, conclave.EventWorktreeLeased, fmt.Sprintf("%s works in %s", w.Step, w.Path), nil)
	})
}

func (tx *Tx) appendWorktree(ctx context.Context, w conclave.Worktree, kind conclave.EventKind, text string, data any) error {
	e := conclave.Event{Kind: kind, Tenant: tenantOf(ctx), Actor: string(conclave.ServiceWorktree), Run: w.Run, Subject: string(w.ID), Text: text}
	if data != nil {
		encoded, err := json.Marshal(data)
		if err != nil {
			return err
		}
		e.Data = encoded
	}
	return tx.Append(e)
}

func (tx *Tx) worktree(ctx context.Context, id conclave.LeaseID) (conclave.Worktree, error) {
	w, found, err := getDoc[conclave.Worktree](tx, `SELECT doc FROM worktrees WHERE id = $1 AND tenant = $2`, string(id), string(tenantOf(ctx)))
	if err == nil && !found {
		err = conclave.Errorf(conclave.ErrNotFound, "no worktree %q", id)
	}
	return w, err
}

func (tx *Tx) putWorktree(w conclave.Worktree) error {
	doc, err := encode(w)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE worktrees SET state = $2, doc = $3 WHERE id = $1`, string(w.ID), string(w.State), doc)
	return err
}

func (s worktreeStore) Get(ctx context.Context, id conclave.LeaseID) (conclave.Worktree, error) {
	var w conclave.Worktree
	err := s.db.View(ctx, func(tx *Tx) (err error) { w, err = tx.worktree(ctx, id); return err })
	return w, err
}

func (s worktreeStore) List(ctx context.Context, in conclave.ListWorktrees) ([]conclave.Worktree, error) {
	var list []conclave.Worktree
	leased := 0
	if in.Leased {
		leased = 1
	}
	err := s.db.View(ctx, func(tx *Tx) (err error) {
		list, err = listDocs[conclave.Worktree](tx, `SELECT doc FROM worktrees WHERE tenant = $1 AND ($2 = '' OR run = $2) AND ($3 = 0 OR state = 'leased')
			ORDER BY created DESC, id DESC LIMIT 1000`, string(tenantOf(ctx)), string(in.Run), leased)
		return err
	})
	return list, err
}

func (s worktreeStore) Intend(ctx context.Context, i worktree.Intent) (worktree.Intent, error) {
	err := s.db.Update(ctx, func(tx *Tx) error {
		had, found, err := getDoc[worktree.Intent](tx, `SELECT doc FROM intents WHERE id = $1`, i.ID)
		if err != nil {
			return err
		}
		if found {
			i = had
			return nil
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		doc, err := encode(i)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO intents (id, repo, ref, old, new, state, at, doc) VALUES ($1, $2, $3, $4, $5, 'intended', $6, $7)`,
			i.ID, i.Repo, i.Ref, i.Old, i.New, now.UnixMicro(), doc); err != nil {
			return err
		}
		return tx.Append(conclave.Event{Kind: conclave.EventMergeIntended, Tenant: tenantOf(ctx), Actor: string(conclave.ServiceWorktree), Subject: i.ID,
			Text: fmt.Sprintf("%s from %.12s to %.12s", i.Ref, i.Old, i.New)})
	})
	return i, err
}

func (s worktreeStore) Forget(ctx context.Context, id string) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM intents WHERE id = $1`, id)
		return err
	})
}

func (s worktreeStore) Committed(ctx context.Context, in conclave.CommitWorktree, c conclave.Commit) (conclave.Commit, error) {
	return once(ctx, s.db, "worktree_commit", in.Key, in, func(tx *Tx) (conclave.Commit, error) {
		w, err := tx.worktree(ctx, c.Lease)
		if err != nil {
			return c, err
		}
		w.Head = c.Hash
		if err := tx.putWorktree(w); err != nil {
			return c, err
		}
		if _, err := tx.exec(`DELETE FROM intents WHERE id = $1`, "commit/"+string(in.ID)+"/"+in.Key); err != nil {
			return c, err
		}
		return c, tx.appendWorktree(ctx, w, conclave.EventWorktreeCommited, fmt.Sprintf("%s: commit %.12s changes %d files", w.Step, c.Hash, len(c.Files)),
			map[string]any{"commit": c.Hash, "tree": c.Tree, "author": in.Author})
	})
}

func (s worktreeStore) Merged(ctx context.Context, in conclave.MergeWorktree, m conclave.Merge) (conclave.Merge, error) {
	return once(ctx, s.db, "worktree_merge", in.Key, in, func(tx *Tx) (conclave.Merge, error) {
		w, err := tx.worktree(ctx, m.Lease)
		if err != nil {
			return m, err
		}
		if _, err := tx.exec(`DELETE FROM intents WHERE id = $1`, "merge/"+string(w.ID)+"/"+in.Head); err != nil {
			return m, err
		}
		data := map[string]any{"ref": m.Ref, "old": m.Old, "new": m.New, "conflicts": m.Conflicts}
		if !m.Merged {
			return m, tx.appendWorktree(ctx, w, conclave.EventMergeRefused, w.Step+": not merged", data)
		}
		w.State = conclave.WorktreeMerged
		if err := tx.putWorktree(w); err != nil {
			return m, err
		}
		return m, tx.appendWorktree(ctx, w, conclave.EventMergeDone, fmt.Sprintf("%s: %s is at %.12s", w.Step, m.Ref, m.New), data)
	})
}

func (s worktreeStore) Delivered(ctx context.Context, in conclave.Deliver, m conclave.Merge) (conclave.Merge, error) {
	return once(ctx, s.db, "branch_deliver", in.Key, in, func(tx *Tx) (conclave.Merge, error) {
		return m, tx.Append(conclave.Event{Kind: conclave.EventMergeDone, Tenant: tenantOf(ctx), Actor: string(conclave.ServiceWorktree), Run: in.Run,
			Subject: string(in.Run), Text: fmt.Sprintf("%s is at %.12s", in.Into, m.New)})
	})
}

func (s worktreeStore) Released(ctx context.Context, in conclave.NameWorktree, salvage string) (conclave.Worktree, error) {
	return once(ctx, s.db, "worktree_release", in.Key, in, func(tx *Tx) (conclave.Worktree, error) {
		w, err := tx.worktree(ctx, in.ID)
		if err != nil {
			return w, err
		}
		w.State = conclave.WorktreeReleased
		if err := tx.putWorktree(w); err != nil {
			return w, err
		}
		text := w.Step + ": worktree removed"
		if salvage != "" {
			text += "; what was not merged is at " + salvage
		}
		return w, tx.appendWorktree(ctx, w, conclave.EventWorktreeReleased, text, nil)
	})
}

func (s worktreeStore) Answer(ctx context.Context, operation, key string, out any) (bool, error) {
	if key == "" {
		return false, nil
	}
	var ok bool
	err := s.db.View(ctx, func(tx *Tx) error {
		var text string
		found, err := tx.scan([]any{&text}, `SELECT result FROM answers WHERE tenant = $1 AND operation = $2 AND key = $3`, string(tenantOf(ctx)), operation, key)
		if err != nil || !found {
			return err
		}
		ok = true
		return json.Unmarshal([]byte(text), out)
	})
	return ok, err
}
