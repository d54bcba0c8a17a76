package hub

import (
	"context"
	"fmt"
	"time"

	"conclave"
)

// recount is how old a count of a queue may be; what this hub accepts meanwhile
// is added. A full queue is counted again before anybody is refused.
const (
	recount     = time.Second
	recountFull = 100 * time.Millisecond
	comeBack    = 5 * time.Second // what a refused sender is told to wait
)

type queueKey struct {
	tenant conclave.TenantID
	name   string // of an address, or of a sender after "from "
}

// queue is how many messages wait at an address, or of a sender, as this hub knows.
type queue struct {
	waiting int
	counted time.Time
	refused int // since the record was told
	told    time.Time
}

// admit refuses a message while too many wait at its address, or of its sender.
// Those of an agent or a person wait in the store; the bound keeps it, and the
// time that the last of them would wait, from growing without end.
func (h *Hub) admit(ctx context.Context, tenant conclave.TenantID, from, to string) error {
	var mine []*queue
	for _, q := range []struct {
		name, what string
		max        int
		filter     TaskFilter
	}{
		{to, to, h.opts.MaxQueued, TaskFilter{Tenant: tenant, To: to, State: conclave.TaskSubmitted}},
		{"from " + from, "what " + from + " has sent", h.opts.MaxSent, TaskFilter{Tenant: tenant, From: from, State: conclave.TaskSubmitted}},
	} {
		counted, err := h.count(ctx, queueKey{tenant, q.name}, q.max, q.filter)
		if err != nil {
			return err
		}
		if counted != nil {
			mine = append(mine, counted)
			continue
		}
		why := refusal{"queue", conclave.Later(comeBack, "%d messages wait at %s, and no more are taken; try again in %v", q.max, q.what, comeBack)}
		if n := h.tellFull(queueKey{tenant, q.name}); n > 0 {
			h.record(ctx, Refusal{Tenant: tenant, Rule: why.rule, From: from, To: to, Count: n, Why: why.Error()})
		}
		return why
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range mine {
		q.waiting++
	}
	return nil
}

// count returns a queue, or nil when it takes no more.
func (h *Hub) count(ctx context.Context, key queueKey, max int, f TaskFilter) (*queue, error) {
	now := h.opts.Clock()
	h.mu.Lock()
	q := h.queues[key]
	if q == nil {
		q = &queue{}
		h.queues[key] = q
	}
	age := now.Sub(q.counted)
	stale := q.counted.IsZero() || age > recount || q.waiting >= max && age > recountFull
	h.mu.Unlock()
	if stale {
		n, err := h.opts.Store.Queued(ctx, f, max)
		if err != nil {
			return nil, fmt.Errorf("counting what waits: %w", err)
		}
		h.mu.Lock()
		q.waiting, q.counted = n, now
		h.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if q.waiting >= max {
		return nil, nil
	}
	return q, nil
}

// tellFull returns for how many refusals the record is told now, at most once a
// second: whoever floods the hub must not flood the record as well.
func (h *Hub) tellFull(key queueKey) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.queues[key]
	q.refused++
	now := h.opts.Clock()
	if now.Sub(q.told) < time.Second {
		return 0
	}
	n := q.refused
	q.refused, q.told = 0, now
	return n
}

// forgetQueues drops what was counted long ago.
func (h *Hub) forgetQueues() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, at := range h.seen {
		if h.opts.Clock().Sub(at) > recount {
			delete(h.seen, key)
		}
	}
	for key, q := range h.queues {
		if h.opts.Clock().Sub(q.counted) > time.Minute {
			delete(h.queues, key)
		}
	}
}
