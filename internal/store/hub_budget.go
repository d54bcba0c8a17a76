package store

import (
	"conclave"
	"conclave/internal/hub"
)

// spend counts a new task for its budgets, and lowers what its call may still
// spend to what they have left. ErrLimited when one of them is spent.
func (s hubStore) spend(tx *Tx, t *hub.Task) error {
	t.Call.Messages, t.Call.Tokens, t.Call.CostUSD = 0, 0, 0
	for _, b := range t.Budgets {
		spent := hub.Spent{Messages: 1}
		if b.Task != t.ID { // with which it begins, and which it counts without a row
			var err error
			if spent, err = s.spendMore(tx, b, t.ID); err != nil {
				return err
			}
		}
		var err error
		if t.Call, err = b.Narrow(t.Call, spent); err != nil {
			return err
		}
	}
	return nil
}

// spendMore counts a task for the budget of an earlier one.
func (s hubStore) spendMore(tx *Tx, b hub.Budget, id conclave.TaskID) (hub.Spent, error) {
	if s.db.postgres { // tasks that count for one budget do so one after the other
		if _, err := tx.exec(`SELECT pg_advisory_xact_lock(hashtextextended($1, 1))`, string(b.Task)); err != nil {
			return hub.Spent{}, err
		}
	}
	if _, err := tx.exec(`INSERT INTO budget_tasks (budget, task) VALUES ($1, $2)`, string(b.Task), string(id)); err != nil {
		return hub.Spent{}, err
	}
	return s.spent(tx, b)
}

// spent adds up what the tasks of a budget came to. A model call whose tokens
// nobody told counts as the router assumes; one whose price is not known costs
// nothing that could be added.
func (s hubStore) spent(tx *Tx, b hub.Budget) (hub.Spent, error) {
	var spent hub.Spent
	if _, err := tx.scan([]any{&spent.Messages}, `SELECT 1 + count(*) FROM budget_tasks WHERE budget = $1`, string(b.Task)); err != nil {
		return spent, err
	}
	if b.Tokens == 0 && b.CostUSD == 0 {
		return spent, nil
	}
	_, err := tx.scan([]any{&spent.Tokens, &spent.CostUSD}, `SELECT
			coalesce(sum(CASE WHEN input_tokens IS NULL OR output_tokens IS NULL THEN assumed ELSE input_tokens + output_tokens END), 0),
			coalesce(sum(cost_usd), 0.0)
		FROM model_calls WHERE task = $1 OR task <> '' AND task IN (SELECT task FROM budget_tasks WHERE budget = $1)`, string(b.Task))
	return spent, err
}
