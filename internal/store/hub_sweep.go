package store

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"conclave"
	"conclave/internal/hub"
)

func (s hubStore) Sweep(ctx context.Context, in hub.Sweep) (int, error) {
	if in.AgentTTL <= 0 || in.ClaimTTL <= 0 {
		return 0, conclave.Errorf(conclave.ErrInvalid, "a sweep needs both lifetimes")
	}
	requeued := 0
	type silent struct {
		tenant conclave.TenantID
		agent  conclave.Agent
	}
	stale := func(tx *Tx) (back []hub.Task, lost []silent, err error) {
		now, err := tx.Now()
		if err != nil {
			return nil, nil, err
		}
		renewed := now.Add(-in.ClaimTTL).UnixMicro()
		start := 0
		if in.Start {
			start = 1
		}
		if back, err = listDocs[hub.Task](tx, `SELECT doc FROM tasks WHERE state = 'working' AND ((instance = $1 AND ($2 = 1 OR renewed < $4)) OR renewed < $3) ORDER BY created`,
			in.Instance, start, renewed, now.Add(-cmp.Or(in.LooseTTL, in.ClaimTTL)).UnixMicro()); err != nil {
			return
		}
		back = slices.DeleteFunc(back, func(t hub.Task) bool { return slices.Contains(in.Held, t.ID) })
		rows, err := tx.query(`SELECT tenant, doc FROM agents WHERE state = 'live' AND seen < $1`, now.Add(-in.AgentTTL).UnixMicro())
		if err != nil {
			return
		}
		defer rows.Close()
		for rows.Next() {
			var gone silent
			var doc string
			if err = rows.Scan(&gone.tenant, &doc); err != nil {
				return
			}
			if err = json.Unmarshal([]byte(doc), &gone.agent); err != nil {
				return
			}
			lost = append(lost, gone)
		}
		err = rows.Err()
		return
	}
	var nothing bool
	err := s.db.View(ctx, func(tx *Tx) error {
		back, lost, err := stale(tx)
		nothing = len(back)+len(lost)+len(in.Held) == 0 && !in.Start
		return err
	})
	if err != nil || nothing {
		return 0, err
	}
	err = s.db.Update(ctx, func(tx *Tx) error {
		requeued = 0
		back, lost, err := stale(tx)
		if err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		for _, was := range back {
			t, err := s.get(tx, was.ID) // it may have ended since it was read
			if err != nil {
				return err
			}
			if t.State != conclave.TaskWorking || t.Epoch != was.Epoch {
				continue
			}
			if err := s.putBack(tx, &t, 0, false); err != nil {
				return err
			}
			requeued++
		}
		if in.Start {
			// Whoever has hands free may have said so to a hub that is gone.
			if _, err := tx.exec(`UPDATE tasks SET due = $1, parked = 0 WHERE state = 'submitted' AND parked = 1`, now.UnixMicro()); err != nil {
				return err
			}
			tx.wakes(WorkDelivery)
			if s.db.alone { // nobody tells clients now but who starts
				if _, err := tx.exec(`UPDATE push_configs SET due = $1, epoch = epoch + 1 WHERE due > $1`, now.UnixMicro()); err != nil {
					return err
				}
			}
		}
		for _, gone := range lost {
			a := gone.agent
			a.State = conclave.AgentLost
			doc, err := encode(a)
			if err != nil {
				return err
			}
			n, err := tx.exec(`UPDATE agents SET state = 'lost', doc = $3 WHERE tenant = $1 AND name = $2 AND state = 'live' AND seen < $4`,
				string(gone.tenant), string(a.Name), doc, now.Add(-in.AgentTTL).UnixMicro())
			if err != nil {
				return err
			}
			if n == 0 { // it is back
				continue
			}
			if err := tx.Append(conclave.Event{Tenant: gone.tenant, Kind: conclave.EventAgentLost, Actor: string(a.Name), Subject: string(a.Name), Text: string(a.Name) + " is lost"}); err != nil {
				return err
			}
		}
		for _, id := range in.Held {
			if _, err := tx.exec(`UPDATE tasks SET renewed = $3 WHERE id = $2 AND state = 'working' AND instance = $1`, in.Instance, string(id), now.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
	return requeued, err
}
