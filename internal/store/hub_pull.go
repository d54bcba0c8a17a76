package store

import (
	"context"
	"time"

	"conclave"
	"conclave/internal/hub"
)

func (s hubStore) Waiting(ctx context.Context, tenant conclave.TenantID, a conclave.Agent, limit int, d time.Duration) ([]hub.Task, error) {
	var out []hub.Task
	err := s.db.wait(ctx, queueSubject(WorkDelivery), d, func() (bool, error) {
		out = nil
		err := s.db.View(ctx, func(tx *Tx) error {
			waiting, err := listDocs[hub.Task](tx, `SELECT doc FROM tasks WHERE tenant = $1 AND state = 'submitted' AND parked < 2 AND (address IN ($2, $3) OR address LIKE 'skills/%') ORDER BY created, id LIMIT 1000`,
				string(tenant), "agents/"+string(a.Name), "roles/"+string(a.Role))
			for _, t := range waiting {
				if len(out) < limit && hub.MayTake(t, a) {
					out = append(out, t)
				}
			}
			return err
		})
		return len(out) > 0, err
	})
	return out, err
}

func (s hubStore) Renew(ctx context.Context, id conclave.TaskID, epoch int64, d time.Duration) (hub.Task, error) {
	var t hub.Task
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		if t, err = s.get(tx, id); err != nil {
			return err
		}
		if t.State != conclave.TaskWorking || t.Epoch != epoch {
			return conclave.Errorf(conclave.ErrConflict, "task %s is %s with epoch %d", id, t.State, t.Epoch)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		_, err = tx.exec(`UPDATE tasks SET renewed = $2 WHERE id = $1`, string(id), now.Add(d).UnixMicro())
		return err
	})
	return t, err
}

func (s hubStore) Forget(ctx context.Context, tenant conclave.TenantID, name conclave.AgentName, actor string) (conclave.Agent, error) {
	var a conclave.Agent
	err := s.db.Update(ctx, func(tx *Tx) error {
		query := `SELECT doc FROM agents WHERE tenant = $1 AND name = $2`
		if s.db.postgres {
			query += ` FOR UPDATE` // claims for it end before this, or find it gone
		}
		var found bool
		var err error
		if a, found, err = getDoc[conclave.Agent](tx, query, string(tenant), string(name)); err != nil {
			return err
		}
		if err := hub.MayForget(a, found, name); err != nil {
			return err
		}
		held, err := listDocs[hub.Task](tx, `SELECT doc FROM tasks WHERE tenant = $1 AND agent = $2 AND state = 'working' ORDER BY created, id`, string(tenant), string(name))
		if err != nil {
			return err
		}
		for _, t := range held {
			if t, err = s.get(tx, t.ID); err != nil {
				return err
			}
			if t.State == conclave.TaskWorking && t.Agent == name {
				if err := s.putBack(tx, &t, 0, false); err != nil {
					return err
				}
			}
		}
		if _, err := tx.exec(`DELETE FROM agents WHERE tenant = $1 AND name = $2`, string(tenant), string(name)); err != nil {
			return err
		}
		return tx.Append(conclave.Event{Tenant: tenant, Kind: conclave.EventAgentLost, Actor: actor, Subject: string(name), Text: string(name) + " was removed by " + actor})
	})
	return a, err
}
