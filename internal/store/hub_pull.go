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
