package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"conclave"
	"conclave/internal/a2awire"
)

// leaser is the instance in the claims of agents that pull: a lease belongs to no
// hub, so that it survives the restart of each.
const leaser = "lease"

const (
	shortestLease = 5 * time.Second
	longestLease  = time.Hour
	usualLease    = time.Minute
)

var _ conclave.Work = (*Hub)(nil)

// Lease implements [conclave.Work]. It is a claim like that of a delivery, with
// the same epoch, and goes stale like one.
func (h *Hub) Lease(ctx context.Context, in conclave.LeaseWork) ([]conclave.Lease, error) {
	wait := time.Duration(in.Wait) * time.Millisecond
	if wait < 0 || wait > maxWait {
		return nil, conclave.Errorf(conclave.ErrInvalid, "wait_ms %d: want 0 to %d", in.Wait, maxWait.Milliseconds())
	}
	last, err := leaseFor(in.Seconds)
	if err != nil {
		return nil, err
	}
	if err := pulls(ctx, in.Agent); err != nil {
		return nil, err
	}
	tenant := conclave.CallerFrom(ctx).Tenant
	a, err := h.puller(ctx, tenant, in.Agent)
	if err != nil {
		return nil, err
	}
	if a.Active >= a.Capacity {
		return nil, conclave.Errorf(conclave.ErrLimited, "%s has its hands full: it has %d tasks, which is its capacity", a.Name, a.Active)
	}
	for deadline := h.opts.Clock().Add(wait); ; {
		waiting, err := h.opts.Store.Waiting(ctx, tenant, a, 10, max(deadline.Sub(h.opts.Clock()), 0))
		if err != nil {
			return nil, fmt.Errorf("looking for work for %s: %w", a.Name, err)
		}
		for _, t := range waiting {
			t, err := h.opts.Store.Claim(ctx, Claim{ID: t.ID, Epoch: t.Epoch, Agent: a.Name, Instance: leaser, Ahead: last - claimTTL})
			switch {
			case err == nil:
				return []conclave.Lease{h.leased(t, last)}, nil
			case errors.Is(err, conclave.ErrConflict):
				continue // somebody else was quicker
			}
			return nil, fmt.Errorf("leasing task %s to %s: %w", t.ID, a.Name, err)
		}
		if !h.opts.Clock().Before(deadline) {
			return []conclave.Lease{}, nil
		}
	}
}

// pulls refuses whoever is neither the agent nor an admin.
func pulls(ctx context.Context, name conclave.AgentName) error {
	c := conclave.CallerFrom(ctx)
	if c.Agent == name && name != "" || c.Agent == "" && c.May(conclave.PermitAdmin) {
		return nil
	}
	return conclave.Errorf(conclave.ErrDenied, "%s can't take work of %q; ask with that agent's token (conclave token --agent %s)", c.Name(), name, name)
}

// puller returns the agent that asks for its work, and notes that it is there.
func (h *Hub) puller(ctx context.Context, tenant conclave.TenantID, name conclave.AgentName) (conclave.Agent, error) {
	agents, err := h.opts.Store.Agents(ctx, tenant, conclave.ListAgents{})
	if err != nil {
		return conclave.Agent{}, fmt.Errorf("looking for agent %s: %w", name, err)
	}
	for _, a := range agents {
		switch {
		case a.Name != name:
			continue
		case a.URL != conclave.PullURL:
			return a, conclave.Errorf(conclave.ErrConflict, "%s is reached at %s; only an agent with the url %q pulls", name, a.URL, conclave.PullURL)
		case a.State == conclave.AgentLive && h.opts.Clock().Sub(a.Seen) < refreshSeen:
			return a, nil
		}
		a.State = conclave.AgentLive
		if a, err = h.opts.Store.RenewAgent(ctx, tenant, a); err != nil {
			return a, fmt.Errorf("noting that %s is there: %w", name, err)
		}
		return a, nil
	}
	return conclave.Agent{}, conclave.Errorf(conclave.ErrNotFound, "there is no agent %q; register it with the url %q", name, conclave.PullURL)
}

func leaseFor(seconds int) (time.Duration, error) {
	d := time.Duration(seconds) * time.Second
	switch {
	case seconds == 0:
		return usualLease, nil
	case d < shortestLease || d > longestLease:
		return 0, conclave.Errorf(conclave.ErrInvalid, "seconds %d: want %d to %d", seconds, int(shortestLease.Seconds()), int(longestLease.Seconds()))
	}
	return d, nil
}

func (h *Hub) leased(t Task, last time.Duration) conclave.Lease {
	call := onward(t)
	call.Path = []string{actsFor + string(t.ID)} // what an agent of ours would say, too
	return conclave.Lease{ID: t.ID, Lease: t.Epoch, Until: t.Updated.Add(last), Message: t.Request, Call: call}
}

// Extend implements [conclave.Work].
func (h *Hub) Extend(ctx context.Context, in conclave.ExtendLease) (conclave.Lease, error) {
	last, err := leaseFor(in.Seconds)
	if err != nil {
		return conclave.Lease{}, err
	}
	t, err := h.task(ctx, in.ID)
	if err != nil {
		return conclave.Lease{}, err
	}
	if err := h.holds(ctx, t, in.Lease); err != nil {
		return conclave.Lease{}, err
	}
	if _, err := h.puller(ctx, t.Tenant, t.Agent); err != nil { // who works long is not gone
		return conclave.Lease{}, err
	}
	if t, err = h.opts.Store.Renew(ctx, in.ID, in.Lease, last-claimTTL); err != nil {
		return conclave.Lease{}, fmt.Errorf("extending the lease of task %s: %w", in.ID, err)
	}
	lease := h.leased(t, last)
	lease.Until = h.opts.Clock().Add(last)
	return lease, nil
}

// holds refuses who does not have the lease.
func (h *Hub) holds(ctx context.Context, t Task, lease int64) error {
	if err := pulls(ctx, t.Agent); err != nil && t.State == conclave.TaskWorking {
		return err
	}
	if t.State != conclave.TaskWorking || t.Epoch != lease {
		return conclave.Errorf(conclave.ErrConflict, "lease %d of task %s has ended: the task is %s", lease, t.ID, t.State)
	}
	return nil
}

// Answer implements [conclave.Work].
func (h *Hub) Answer(ctx context.Context, in conclave.AnswerWork) (conclave.Task, error) {
	t, err := h.task(ctx, in.ID)
	if err != nil {
		return conclave.Task{}, err
	}
	result, err := answered(in)
	if err != nil {
		return conclave.Task{}, err
	}
	if t.State.Ended() && t.Epoch == in.Lease && pulls(ctx, t.Agent) == nil && t.State == result.State && t.Text == result.Text {
		return t.Task, nil // the same answer again
	}
	if err := h.holds(ctx, t, in.Lease); err != nil {
		return conclave.Task{}, err
	}
	end := ended(t, t.Agent, result)
	end.ID, end.Epoch = t.ID, in.Lease
	if t, err = h.opts.Store.Settle(ctx, end); err != nil {
		return conclave.Task{}, fmt.Errorf("answering task %s: %w", in.ID, err)
	}
	return t.Task, nil
}

// answered reads an answer as the end of a delivery.
func answered(in conclave.AnswerWork) (a2awire.Result, error) {
	out := a2awire.Result{State: in.State, Text: in.Text, Data: in.Data}
	if out.State == "" {
		out.State = conclave.TaskCompleted
	}
	switch {
	case len(in.Text) > maxText:
		return out, conclave.Errorf(conclave.ErrInvalid, "the text is larger than 1 MiB")
	case len(in.Data) > maxData:
		return out, conclave.Errorf(conclave.ErrInvalid, "the data is larger than 15 MiB")
	case len(in.Data) > 0 && !json.Valid(in.Data):
		return out, conclave.Errorf(conclave.ErrInvalid, "the data is not JSON")
	}
	switch out.State {
	case conclave.TaskCompleted:
	case conclave.TaskFailed:
		out.Err = conclave.Errorf(conclave.ErrUnavailable, "%s", in.Text)
	case conclave.TaskRejected:
		out.Err = conclave.Errorf(conclave.ErrInvalid, "%s", in.Text)
	default:
		return out, conclave.Errorf(conclave.ErrInvalid, "state %q: want completed, failed or rejected", in.State)
	}
	return out, nil
}
