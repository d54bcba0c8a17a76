package store

import (
	"context"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/hub"
)

func (s hubStore) UpsertAgent(ctx context.Context, tenant conclave.TenantID, a conclave.Agent) (conclave.Agent, error) {
	return s.keepAgent(ctx, tenant, a, false)
}

func (s hubStore) RenewAgent(ctx context.Context, tenant conclave.TenantID, a conclave.Agent) (conclave.Agent, error) {
	return s.keepAgent(ctx, tenant, a, true)
}

// keepAgent keeps an agent; one that is to be renewed must be there.
func (s hubStore) keepAgent(ctx context.Context, tenant conclave.TenantID, a conclave.Agent, renew bool) (conclave.Agent, error) {
	err := s.db.Update(ctx, func(tx *Tx) error {
		had, found, err := getDoc[conclave.Agent](tx, `SELECT doc FROM agents WHERE tenant = $1 AND name = $2`, string(tenant), string(a.Name))
		if err != nil {
			return err
		}
		if renew && !found {
			return conclave.Errorf(conclave.ErrNotFound, "there is no agent %q", a.Name)
		}
		if found {
			if err := hub.MayReplace(had, a); err != nil {
				return err
			}
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		a.Seen, a.Active = now, 0
		doc, err := encode(a)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO agents (tenant, name, role, state, public_key, seen, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (tenant, name) DO UPDATE SET role = excluded.role, state = excluded.state, public_key = excluded.public_key, seen = excluded.seen, doc = excluded.doc`,
			string(tenant), string(a.Name), string(a.Role), string(a.State), a.PublicKey, now.UnixMicro(), doc); err != nil {
			return err
		}
		if kind, text := hub.AgentEvent(had, found, a); kind != "" {
			if err := tx.Append(conclave.Event{Tenant: tenant, Kind: kind, Actor: string(a.Name), Subject: string(a.Name), Text: text}); err != nil {
				return err
			}
		}
		if hub.Wakes(had, found, a) {
			if err := s.unpark(tx, tenant, a, a.Capacity); err != nil {
				return err
			}
		}
		a.Active, err = s.active(tx, tenant, a.Name)
		return err
	})
	return a, err
}

func (s hubStore) active(tx *Tx, tenant conclave.TenantID, name conclave.AgentName) (int, error) {
	var n int
	_, err := tx.scan([]any{&n}, `SELECT count(*) FROM tasks WHERE tenant = $1 AND agent = $2 AND state = 'working'`, string(tenant), string(name))
	return n, err
}

func (s hubStore) Callees(ctx context.Context, tenant conclave.TenantID, address string) ([]conclave.Agent, error) {
	var list []conclave.Agent
	err := s.db.View(ctx, func(tx *Tx) (err error) {
		query, name := `SELECT doc FROM agents WHERE tenant = $1 AND state <> 'gone'`, ""
		if n, one := strings.CutPrefix(address, "agents/"); one {
			query, name = query+` AND name = $2`, n
		} else if n, one := strings.CutPrefix(address, "roles/"); one {
			query, name = query+` AND role = $2`, n
		} else {
			query += ` AND $2 = ''` // skills are in the documents
		}
		if list, err = listDocs[conclave.Agent](tx, query+` ORDER BY name`, string(tenant), name); err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(a conclave.Agent) bool { return !hub.HasAddress(address, a) })
		for i := range list {
			if list[i].Active, err = s.active(tx, tenant, list[i].Name); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

func (s hubStore) Agents(ctx context.Context, tenant conclave.TenantID, in conclave.ListAgents) ([]conclave.Agent, error) {
	var list []conclave.Agent
	err := s.db.View(ctx, func(tx *Tx) (err error) { list, err = s.agents(tx, tenant, in); return err })
	return list, err
}

const busyAgents = `SELECT agent, count(*) FROM tasks WHERE tenant = $1 AND state = 'working' GROUP BY agent`

func (s hubStore) agents(tx *Tx, tenant conclave.TenantID, in conclave.ListAgents) ([]conclave.Agent, error) {
	live := 0
	if in.Live {
		live = 1
	}
	list, err := listDocs[conclave.Agent](tx, `SELECT doc FROM agents WHERE tenant = $1 AND state <> 'gone' AND ($2 = '' OR role = $2) AND ($3 = 0 OR state = 'live') ORDER BY name`,
		string(tenant), string(in.Role), live)
	if err != nil {
		return nil, err
	}
	rows, err := tx.docs(busyAgents, string(tenant))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	busy := map[conclave.AgentName]int{}
	for rows.Next() {
		var name conclave.AgentName
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		busy[name] = n
	}
	for i := range list {
		list[i].Active = busy[list[i].Name]
	}
	return list, rows.Err()
}
