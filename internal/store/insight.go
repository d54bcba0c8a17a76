package store

import (
	"context"
	"fmt"
	"time"

	"conclave"
	"conclave/internal/insight"
)

// Insights implements what insight reads.
func (db *DB) Insights() Insights { return Insights{db} }

// Insights reads the record for figures. It only reads, and the tables of every
// service: figures belong to none of them.
type Insights struct{ db *DB }

// Record implements insight.Store.
func (s Insights) Record(ctx context.Context, since time.Time) (insight.Record, error) {
	var r insight.Record
	tenant, from := string(tenantOf(ctx)), since.UnixMicro()
	err := s.db.View(ctx, func(tx *Tx) (err error) {
		if r.Now, err = tx.Now(); err != nil {
			return err
		}
		if r.Runs, err = listDocs[conclave.Run](tx, `SELECT doc FROM runs WHERE tenant = $1 AND created >= $2 ORDER BY created`, tenant, from); err != nil {
			return err
		}
		if r.Decisions, err = listDocs[conclave.Decision](tx, `SELECT d.doc FROM decisions d JOIN motions m ON m.id = d.motion
			WHERE m.tenant = $1 AND m.created >= $2 ORDER BY m.created`, tenant, from); err != nil {
			return err
		}
		if r.Outcomes, err = listDocs[conclave.AgentOutcome](tx, `SELECT doc FROM outcomes WHERE tenant = $1 AND at >= $2 ORDER BY at`, tenant, from); err != nil {
			return err
		}
		if r.Agents, err = hubStore(s).agents(tx, conclave.TenantID(tenant), conclave.ListAgents{}); err != nil {
			return err
		}
		for query, into := range map[string]*int{
			`SELECT count(*) FROM motions WHERE tenant = $1 AND created >= $2 AND state = 'open'`:                                         &r.Open,
			`SELECT count(*) FROM motions WHERE tenant = $1 AND created >= $2 AND state = 'waiting'`:                                      &r.Waiting,
			`SELECT count(*) FROM messages m JOIN tasks t ON t.id = m.task WHERE t.tenant = $1 AND t.created >= $2`:                       &r.Messages,
			`SELECT count(*) FROM events WHERE tenant = $1 AND kind = 'call.refused' AND at >= $2`:                                        &r.Refused,
			`SELECT count(*) FROM steps s JOIN runs r ON r.id = s.run WHERE r.tenant = $1 AND r.created >= $2 AND s.key LIKE 'build:%.%'`: &r.Mended,
		} {
			if _, err := tx.scan([]any{into}, query, tenant, from); err != nil {
				return err
			}
		}
		if r.Tasks, err = tx.insightTasks(tenant, from); err != nil {
			return err
		}
		if r.Calls, err = tx.insightCalls(tenant, from); err != nil {
			return err
		}
		r.Queues, err = tx.queueLoads(tenant, r.Now)
		return err
	})
	return r, err
}

func (tx *Tx) insightTasks(tenant string, from int64) ([]insight.Task, error) {
	rows, err := tx.query(`SELECT asker, agent, state, conversation, created, updated FROM tasks WHERE tenant = $1 AND created >= $2 ORDER BY created`, tenant, from)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []insight.Task
	for rows.Next() {
		var t insight.Task
		var created, updated int64
		if err := rows.Scan(&t.From, &t.Agent, &t.State, &t.Conversation, &created, &updated); err != nil {
			return nil, fmt.Errorf("read a task: %w", err)
		}
		t.Created, t.Updated = fromMicros(created), fromMicros(updated)
		list = append(list, t)
	}
	return list, rows.Err()
}

func (tx *Tx) insightCalls(tenant string, from int64) ([]insight.Calls, error) {
	rows, err := tx.query(`SELECT agent, count(*), sum(CASE WHEN cost_usd IS NULL THEN 1 ELSE 0 END), coalesce(sum(cost_usd), 0.0)
		FROM model_calls WHERE tenant = $1 AND at >= $2 GROUP BY agent`, tenant, from)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []insight.Calls
	for rows.Next() {
		var c insight.Calls
		if err := rows.Scan(&c.Agent, &c.Calls, &c.Unpriced, &c.CostUSD); err != nil {
			return nil, fmt.Errorf("read what model calls cost: %w", err)
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// queueLoads are the rows that are due and that nobody has claimed.
func (tx *Tx) queueLoads(tenant string, now time.Time) ([]conclave.QueueLoad, error) {
	list := []conclave.QueueLoad{}
	for _, q := range []struct{ name, query string }{
		{WorkStep, `SELECT count(*), min(due) FROM work WHERE tenant = $1 AND due <= $2 AND kind = 'step' AND state = 'ready'`},
		{WorkMotion, `SELECT count(*), min(due) FROM work WHERE tenant = $1 AND due <= $2 AND kind = 'motion' AND state = 'ready'`},
		{WorkDelivery, `SELECT count(*), min(created) FROM tasks WHERE tenant = $1 AND created <= $2 AND state = 'submitted'`},
	} {
		load := conclave.QueueLoad{Queue: q.name}
		var oldest *int64
		if _, err := tx.scan([]any{&load.Depth, &oldest}, q.query, tenant, now.UnixMicro()); err != nil {
			return nil, err
		}
		if oldest != nil {
			age := max(now.Sub(fromMicros(*oldest)).Seconds(), 0)
			load.Oldest = &age
		}
		list = append(list, load)
	}
	return list, nil
}

// replayPage is how many events are read at once.
const replayPage = 2000

// Replay gives every event after a seq to f, of all tenants, in their order, and
// returns the seq of the last one.
func (s Insights) Replay(ctx context.Context, after int64, f func(conclave.Event)) (int64, error) {
	for {
		n := 0
		err := s.db.View(ctx, func(tx *Tx) error {
			safe := int64(1<<63 - 1)
			if s.db.postgres {
				var err error
				if safe, err = tx.safeSeq(); err != nil {
					return err
				}
			}
			rows, err := tx.query(`SELECT seq, kind, data FROM events WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3`, after, safe, replayPage)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var e conclave.Event
				var data string
				if err := rows.Scan(&e.Seq, &e.Kind, &data); err != nil {
					return fmt.Errorf("read an event: %w", err)
				}
				e.Data = []byte(data)
				f(e)
				after = e.Seq
				n++
			}
			return rows.Err()
		})
		if err != nil || n < replayPage {
			return after, err
		}
	}
}
