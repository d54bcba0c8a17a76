package store

import (
	"context"
	"fmt"

	"conclave"
	"conclave/internal/plan"
)

// Plans implements the plan service's store.
func (db *DB) Plans() plan.Store { return planStore{db} }

type planStore struct{ db *DB }

func (s planStore) Propose(ctx context.Context, in conclave.ProposePlan, p conclave.Plan) (conclave.Plan, error) {
	return once(ctx, s.db, "plan_propose", in.Key, in, func(tx *Tx) (conclave.Plan, error) {
		var newest int
		if _, err := tx.scan([]any{&newest}, `SELECT coalesce(max(version), 0) FROM plans WHERE run = $1`, string(p.Run)); err != nil {
			return p, err
		}
		if newest != in.Base {
			return p, conclave.Errorf(conclave.ErrConflict, "the newest version of the plan of %s is %d, not %d", p.Run, newest, in.Base)
		}
		now, err := tx.Now()
		if err != nil {
			return p, err
		}
		p.Created = now
		doc, err := encode(p)
		if err != nil {
			return p, err
		}
		if _, err := tx.exec(`INSERT INTO plans (id, version, tenant, run, created, doc) VALUES ($1, $2, $3, $4, $5, $6)`,
			string(p.ID), p.Version, string(tenantOf(ctx)), string(p.Run), now.UnixMicro(), doc); err != nil {
			return p, err
		}
		return p, tx.Append(conclave.Event{Kind: conclave.EventPlanProposed, Tenant: tenantOf(ctx), Actor: string(p.Author), Run: p.Run, Subject: string(p.ID),
			Text: fmt.Sprintf("version %d: %s", p.Version, p.Summary)})
	})
}

func (s planStore) Comment(ctx context.Context, in conclave.CommentPlan) (conclave.Plan, error) {
	return once(ctx, s.db, "plan_comment", in.Key, in, func(tx *Tx) (conclave.Plan, error) {
		p, err := tx.plan(ctx, in.ID, in.Version)
		if err != nil {
			return p, err
		}
		now, err := tx.Now()
		if err != nil {
			return p, err
		}
		for _, c := range in.Comments {
			c.Created = now
			doc, err := encode(c)
			if err != nil {
				return p, err
			}
			if _, err := tx.exec(`INSERT INTO comments (plan, version, position, doc)
				SELECT $1, $2, coalesce(max(position), 0) + 1, $3 FROM comments WHERE plan = $1 AND version = $2`, string(p.ID), p.Version, doc); err != nil {
				return p, err
			}
			if err := tx.Append(conclave.Event{Kind: conclave.EventPlanCommented, Tenant: tenantOf(ctx), Actor: string(c.Author), Run: p.Run, Subject: string(p.ID),
				Text: fmt.Sprintf("%s (%s)", c.Text, c.Cites)}); err != nil {
				return p, err
			}
			p.Comments = append(p.Comments, c)
		}
		return p, nil
	})
}

func (s planStore) Get(ctx context.Context, in conclave.GetPlan) (conclave.Plan, error) {
	var p conclave.Plan
	err := s.db.View(ctx, func(tx *Tx) (err error) { p, err = tx.plan(ctx, in.ID, in.Version); return err })
	return p, err
}

func (tx *Tx) plan(ctx context.Context, id conclave.PlanID, version int) (conclave.Plan, error) {
	p, found, err := getDoc[conclave.Plan](tx, `SELECT doc FROM plans WHERE id = $1 AND tenant = $2 AND ($3 = 0 OR version = $3) ORDER BY version DESC LIMIT 1`,
		string(id), string(tenantOf(ctx)), version)
	if err != nil {
		return p, err
	}
	if !found {
		if version != 0 {
			return p, conclave.Errorf(conclave.ErrNotFound, "no version %d of plan %q", version, id)
		}
		return p, conclave.Errorf(conclave.ErrNotFound, "no plan %q", id)
	}
	p.Comments, err = listDocs[conclave.Comment](tx, `SELECT doc FROM comments WHERE plan = $1 AND version = $2 ORDER BY position`, string(p.ID), p.Version)
	return p, err
}

func (s planStore) List(ctx context.Context, in conclave.ListPlans) ([]conclave.Plan, error) {
	limit, err := pageLimit(in.Page)
	if err != nil {
		return nil, err
	}
	var plans []conclave.Plan
	err = s.db.View(ctx, func(tx *Tx) (err error) {
		plans, err = listDocs[conclave.Plan](tx, `SELECT doc FROM plans p WHERE tenant = $1 AND ($2 = '' OR run = $2) AND ($3 = '' OR id < $3)
			AND version = (SELECT max(version) FROM plans q WHERE q.id = p.id) ORDER BY created DESC LIMIT $4`, string(tenantOf(ctx)), string(in.Run), in.Before, limit)
		if err != nil {
			return err
		}
		for i, p := range plans {
			if plans[i].Comments, err = listDocs[conclave.Comment](tx, `SELECT doc FROM comments WHERE plan = $1 AND version = $2 ORDER BY position`, string(p.ID), p.Version); err != nil {
				return err
			}
		}
		return nil
	})
	return plans, err
}
