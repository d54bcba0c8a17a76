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

// Record keeps one call, with its event.
func (s ModelCalls) Record(ctx context.Context, c conclave.ModelCall) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		doc, err := encode(c)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO model_calls (tenant, run, agent, model, status, input_tokens, output_tokens, cost_usd, at, doc)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, string(tenantOf(ctx)), string(c.Run), string(c.Agent), c.Model, c.Status,
			c.InputTokens, c.OutputTokens, c.CostUSD, now.UnixMicro(), doc); err != nil {
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

// Usage adds up what was spent. A figure is nil when some call did not tell it.
func (s ModelCalls) Usage(ctx context.Context, in conclave.GetUsage) (conclave.Usage, error) {
	var calls, input, output, unmeasured, unpriced int64
	var cost float64
	err := s.db.View(ctx, func(tx *Tx) error {
		_, err := tx.scan([]any{&calls, &input, &output, &cost, &unmeasured, &unpriced}, `SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
			coalesce(sum(cost_usd), 0.0), coalesce(sum(CASE WHEN input_tokens IS NULL OR output_tokens IS NULL THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN cost_usd IS NULL THEN 1 ELSE 0 END), 0)
			FROM model_calls WHERE tenant = $1 AND ($2 = '' OR run = $2) AND ($3 = '' OR agent = $3)`, string(tenantOf(ctx)), string(in.Run), string(in.Agent))
		return err
	})
	u := conclave.Usage{ModelCalls: &calls}
	if unmeasured == 0 {
		u.InputTokens, u.OutputTokens = &input, &output
	}
	if unpriced == 0 {
		u.CostUSD = &cost
	}
	return u, err
}
