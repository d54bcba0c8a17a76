package store

import (
	"context"
	"fmt"

	"conclave"
)

// ModelCalls keeps what calls to model providers cost.
type ModelCalls struct{ db *DB }

// ModelCalls returns the model router's store.
func (db *DB) ModelCalls() ModelCalls { return ModelCalls{db} }

// Begin keeps a call that is about to be made. ErrConflict when the account of
// its run is closed.
func (s ModelCalls) Begin(ctx context.Context, c conclave.ModelCall) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		var closed int
		if c.Run != "" {
			if _, err := tx.scan([]any{&closed}, `SELECT count(*) FROM closed_accounts WHERE tenant = $1 AND run = $2`, string(tenantOf(ctx)), string(c.Run)); err != nil {
				return err
			}
		}
		if closed > 0 {
			return conclave.Errorf(conclave.ErrConflict, "run %s has ended, and makes no more model calls", c.Run)
		}
		return tx.putModelCall(ctx, c, 0)
	})
}

// Close lets no more calls of a run begin.
func (s ModelCalls) Close(ctx context.Context, in conclave.CloseAccount) error {
	_, err := once(ctx, s.db, "account_close", in.Key, in, func(tx *Tx) (conclave.None, error) {
		now, err := tx.Now()
		if err != nil {
			return conclave.None{}, err
		}
		n, err := tx.exec(`INSERT INTO closed_accounts (tenant, run, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, string(tenantOf(ctx)), string(in.Run), now.UnixMicro())
		if err != nil || n == 0 {
			return conclave.None{}, err
		}
		return conclave.None{}, tx.Append(conclave.Event{Kind: conclave.EventAccountClosed, Tenant: tenantOf(ctx), Actor: conclave.CallerFrom(ctx).Name(),
			Run: in.Run, Subject: string(in.Run), Text: "no more model calls for this run"})
	})
	return err
}

// Drop removes a call that was not made.
func (s ModelCalls) Drop(ctx context.Context, key string) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM model_calls WHERE key = $1 AND ended = 0`, key)
		return err
	})
}

// Record keeps the end of a call, with its event.
func (s ModelCalls) Record(ctx context.Context, c conclave.ModelCall) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		if err := tx.putModelCall(ctx, c, 1); err != nil {
			return err
		}
		text := c.Model + ": the provider did not tell its tokens"
		if c.InputTokens != nil && c.OutputTokens != nil {
			text = fmt.Sprintf("%s: %d tokens in, %d out", c.Model, *c.InputTokens, *c.OutputTokens)
		}
		data, err := encode(map[string]any{"model": c.Model, "status": c.Status, "input_tokens": c.InputTokens, "output_tokens": c.OutputTokens,
			"cost_usd": c.CostUSD, "seconds": c.Millis / 1000})
		if err != nil {
			return err
		}
		return tx.Append(conclave.Event{Kind: conclave.EventModelCalled, Data: []byte(data), Tenant: tenantOf(ctx), Actor: string(c.Agent), Run: c.Run, Subject: c.Model, Text: text})
	})
}

func (tx *Tx) putModelCall(ctx context.Context, c conclave.ModelCall, ended int) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	doc, err := encode(c)
	if err != nil {
		return err
	}
	var key any // none is no key that two calls share
	if c.Key != "" {
		key = c.Key
	}
	_, err = tx.exec(`INSERT INTO model_calls (tenant, run, agent, model, status, input_tokens, output_tokens, cost_usd, at, doc, key, ended, assumed, task)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (key) DO UPDATE SET model = excluded.model, status = excluded.status, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
			cost_usd = excluded.cost_usd, at = excluded.at, doc = excluded.doc, ended = excluded.ended, assumed = excluded.assumed`,
		string(tenantOf(ctx)), string(c.Run), string(c.Agent), c.Model, c.Status, c.InputTokens, c.OutputTokens, c.CostUSD, now.UnixMicro(), doc, key, ended, c.Assumed, string(c.Task))
	return err
}

// Spent is what a run's calls count for against its budget: the tokens that a
// provider told, and what is assumed for a call whose tokens are not known.
func (s ModelCalls) Spent(ctx context.Context, run conclave.RunID) (int64, error) {
	var spent int64
	err := s.db.View(ctx, func(tx *Tx) error {
		_, err := tx.scan([]any{&spent}, `SELECT coalesce(sum(CASE WHEN input_tokens IS NULL OR output_tokens IS NULL THEN assumed ELSE input_tokens + output_tokens END), 0)
			FROM model_calls WHERE tenant = $1 AND run = $2`, string(tenantOf(ctx)), string(run))
		return err
	})
	return spent, err
}

// Usage adds up what was spent. A figure is nil when some call did not tell it.
func (s ModelCalls) Usage(ctx context.Context, in conclave.GetUsage) (conclave.Usage, error) {
	var calls, input, output, unmeasured, unpriced, pending int64
	var cost float64
	err := s.db.View(ctx, func(tx *Tx) error {
		_, err := tx.scan([]any{&calls, &input, &output, &cost, &unmeasured, &unpriced, &pending}, `SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
			coalesce(sum(cost_usd), 0.0), coalesce(sum(CASE WHEN input_tokens IS NULL OR output_tokens IS NULL THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN cost_usd IS NULL THEN 1 ELSE 0 END), 0), coalesce(sum(1 - ended), 0)
			FROM model_calls WHERE tenant = $1 AND ($2 = '' OR run = $2) AND ($3 = '' OR agent = $3)`, string(tenantOf(ctx)), string(in.Run), string(in.Agent))
		return err
	})
	u := conclave.Usage{ModelCalls: &calls, Pending: pending}
	if unmeasured == 0 {
		u.InputTokens, u.OutputTokens = &input, &output
	}
	if unpriced == 0 {
		u.CostUSD = &cost
	}
	return u, err
}
