package hub

import (
	"context"
	"time"

	"conclave"
)

// Waiting implements [Store].
func (m *Memory) Waiting(ctx context.Context, tenant conclave.TenantID, a conclave.Agent, limit int, d time.Duration) ([]Task, error) {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	for {
		m.mu.Lock()
		var out []Task
		for _, t := range m.accepted {
			if len(out) < limit && t.Tenant == tenant && t.State == conclave.TaskSubmitted && !t.waits && MayTake(t.Task, a) {
				out = append(out, m.view(t))
			}
		}
		changed := m.changed
		m.mu.Unlock()
		if len(out) > 0 || d <= 0 {
			return out, nil
		}
		select {
		case <-changed:
		case <-deadline.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Renew implements [Store].
func (m *Memory) Renew(_ context.Context, id conclave.TaskID, epoch int64, d time.Duration) (Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(id)
	if err != nil {
		return Task{}, err
	}
	if t.State != conclave.TaskWorking || t.Epoch != epoch {
		return Task{}, conclave.Errorf(conclave.ErrConflict, "task %s is %s with epoch %d", id, t.State, t.Epoch)
	}
	t.renewed = m.clock().Add(d)
	return m.view(t), nil
}

// Forget implements [Store].
func (m *Memory) Forget(_ context.Context, tenant conclave.TenantID, name conclave.AgentName, actor string) (conclave.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := agentKey{tenant, name}
	a, ok := m.agents[key]
	if err := MayForget(a, ok, name); err != nil {
		return conclave.Agent{}, err
	}
	for _, t := range m.accepted {
		if t.Tenant == tenant && t.Agent == name && t.State == conclave.TaskWorking {
			m.putBack(t, 0, false)
		}
	}
	delete(m.agents, key)
	m.event(conclave.Event{Tenant: tenant, Kind: conclave.EventAgentLost, Actor: actor, Subject: string(name), Text: string(name) + " was removed by " + actor})
	m.notify()
	return a, nil
}
