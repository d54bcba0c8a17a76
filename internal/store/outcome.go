package store

import (
	"context"
	"fmt"
	"time"

	"conclave"
	"conclave/internal/council"
)

// Outcomes implements the council's store of what became of agents' acts.
func (db *DB) Outcomes() council.OutcomeStore { return outcomeStore{db} }

type outcomeStore struct{ db *DB }

func (s outcomeStore) KeepOutcomes(ctx context.Context, in conclave.ReportOutcomes) (int, error) {
	return once(ctx, s.db, "outcome_report", in.Key, in, func(tx *Tx) (int, error) {
		now, err := tx.Now()
		if err != nil {
			return 0, err
		}
		tenant, kept := tenantOf(ctx), 0
		for _, o := range in.Outcomes {
			doc, err := encode(o)
			if err != nil {
				return 0, err
			}
			confirmed, word := 0, "refuted"
			if o.Confirmed {
				confirmed, word = 1, "confirmed"
			}
			n, err := tx.exec(`INSERT INTO outcomes (tenant, agent, category, subject, brain, confirmed, run, at, doc)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
				string(tenant), string(o.Agent), string(o.Category), o.Subject, o.Brain, confirmed, string(in.Run), now.UnixMicro(), doc)
			if err != nil {
				return 0, err
			}
			if n == 0 {
				continue
			}
			kept++
			if err := tx.Append(conclave.Event{Kind: conclave.EventOutcomeKnown, Tenant: tenant, Actor: string(o.Agent), Run: in.Run, Subject: o.Subject,
				Text: fmt.Sprintf("%s %s: %s", o.Category, word, o.Why)}); err != nil {
				return 0, err
			}
		}
		return kept, nil
	})
}

func (s outcomeStore) Tally(ctx context.Context, agent conclave.AgentName, since time.Time) ([]conclave.TrustScore, error) {
	list := []conclave.TrustScore{}
	err := s.db.View(ctx, func(tx *Tx) error {
		rows, err := tx.query(`SELECT agent, category, brain, sum(confirmed), sum(1 - confirmed) FROM outcomes
			WHERE tenant = $1 AND at >= $2 AND ($3 = '' OR agent = $3) GROUP BY agent, category, brain ORDER BY agent, category, brain`,
			string(tenantOf(ctx)), since.UnixMicro(), string(agent))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t conclave.TrustScore
			if err := rows.Scan(&t.Agent, &t.Category, &t.Brain, &t.Confirmed, &t.Refuted); err != nil {
				return fmt.Errorf("read a tally: %w", err)
			}
			list = append(list, t)
		}
		return rows.Err()
	})
	return list, err
}
