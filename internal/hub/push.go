package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/a2awire"
)

// PushConfig is where and how a client wants to be told of a task.
type PushConfig = a2awire.PushConfig

// PushStore keeps where clients want to be told of their tasks, and what they
// have been told.
type PushStore interface {
	// SavePush keeps a configuration in place of the one with the same task and id.
	// With fromStart, or when it takes another one's place, what it has not been
	// told of the task so far is told too, else only what comes. ErrConflict when
	// the task has max others.
	SavePush(ctx context.Context, tenant conclave.TenantID, c a2awire.PushConfig, fromStart bool, max int) error

	// PushConfigs lists a task's configurations by id.
	PushConfigs(ctx context.Context, tenant conclave.TenantID, task conclave.TaskID) ([]a2awire.PushConfig, error)

	// DeletePush deletes a configuration, if it is there.
	DeletePush(ctx context.Context, tenant conclave.TenantID, task conclave.TaskID, id string) error

	// TakePushes takes on up to n configurations that something is to be told, the
	// longest due first, for a time: nobody else gets them until it has passed or
	// they are given back. It waits up to d for the first.
	TakePushes(ctx context.Context, n int, lease, d time.Duration) ([]Push, error)

	// EndPush gives a configuration back. ErrConflict when it was taken on again
	// since, or deleted. Event: push.failed, when it was given up.
	EndPush(ctx context.Context, in EndPush) error
}

// Push is a configuration, and what it is to be told.
type Push struct {
	a2awire.PushConfig
	Tenant  conclave.TenantID
	Epoch   int64
	Attempt int           // how often a try failed since one succeeded
	Failing time.Duration // for how long no try has succeeded
	Task    Task
	Changes []Change // of the task, oldest first; not all of them when there are many
}

// Change is what an event said of a task.
type Change struct {
	Seq   int64
	State conclave.TaskState
	At    time.Time
}

// EndPush says how far a client was told.
type EndPush struct {
	Tenant conclave.TenantID
	Task   conclave.TaskID
	ID     string
	Epoch  int64
	Told   int64         // the last change that was told, or given up
	After  time.Duration // when the next try is, after one that failed
	Failed string        // why it failed
	GaveUp bool          // the changes up to Told are given up
}

const (
	pushesPerTask  = 16
	changesPerTake = 2
	pushWorkers    = 64
	pushLimit      = 10 * time.Second // of one notification
	pushLease      = 30 * time.Second // of a client; who has it ends in pushWork, so that what is told stays in order
	pushWork       = 25 * time.Second
	maxPushURL     = 2048
	maxPushSecret  = 4096
)

// CheckPush implements [a2awire.Pushes].
func (a *addressTasks) CheckPush(ctx context.Context, c a2awire.PushConfig) error {
	return a.hub.checkPush(ctx, c)
}

// SavePush implements [a2awire.Pushes].
func (a *addressTasks) SavePush(ctx context.Context, c a2awire.PushConfig, fromStart bool) (a2awire.PushConfig, error) {
	h := a.hub
	t, err := a.mine(ctx, c.Task)
	if err != nil {
		return c, err
	}
	if err := h.checkPush(ctx, c); err != nil {
		return c, err
	}
	if c.ID == "" {
		c.ID = conclave.NewID("push")
	}
	if err := h.opts.Push.Store.SavePush(ctx, t.Tenant, c, fromStart, pushesPerTask); err != nil {
		return c, fmt.Errorf("keeping where to tell of task %s: %w", t.ID, err)
	}
	return c, nil
}

func (h *Hub) checkPush(ctx context.Context, c a2awire.PushConfig) error {
	u, err := url.Parse(c.URL)
	switch {
	case len(c.ID) > 128:
		return conclave.Errorf(conclave.ErrInvalid, "the configuration's id has %d bytes; at most 128", len(c.ID))
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || len(c.URL) > maxPushURL:
		return conclave.Errorf(conclave.ErrInvalid, "url %.100q: want an http or https address of at most %d bytes", c.URL, maxPushURL)
	case u.User != nil:
		return conclave.Errorf(conclave.ErrInvalid, "url: give the credentials in authentication, not in the address")
	case len(c.Token) > maxPushSecret || len(c.Credentials) > maxPushSecret || strings.ContainsAny(c.Token+c.Credentials+c.Scheme, "\r\n\x00"):
		return conclave.Errorf(conclave.ErrInvalid, "token and credentials are one line of at most %d bytes each", maxPushSecret)
	case c.Credentials != "" && !slices.Contains([]string{"bearer", "basic"}, strings.ToLower(c.Scheme)):
		return conclave.Errorf(conclave.ErrInvalid, "authentication scheme %.20q: want Bearer or Basic", c.Scheme)
	}
	if h.opts.Push.Check == nil {
		return nil
	}
	return h.opts.Push.Check(ctx, u.Hostname())
}

// PushConfigs implements [a2awire.Pushes].
func (a *addressTasks) PushConfigs(ctx context.Context, task conclave.TaskID) ([]a2awire.PushConfig, error) {
	t, err := a.mine(ctx, task)
	if err != nil {
		return nil, err
	}
	list, err := a.hub.opts.Push.Store.PushConfigs(ctx, t.Tenant, task)
	if err != nil {
		return nil, fmt.Errorf("listing who is told of task %s: %w", task, err)
	}
	return list, nil
}

// DeletePush implements [a2awire.Pushes].
func (a *addressTasks) DeletePush(ctx context.Context, task conclave.TaskID, id string) error {
	t, err := a.mine(ctx, task)
	if err != nil {
		return err
	}
	if err := a.hub.opts.Push.Store.DeletePush(ctx, t.Tenant, task, id); err != nil {
		return fmt.Errorf("deleting who is told of task %s: %w", task, err)
	}
	return nil
}

// quietTasks are addressTasks of a hub that tells nobody.
type quietTasks struct{ a2awire.Tasks }

// at returns a task as a change left it. What it made is told with its end only.
func (t Task) at(c Change) a2awire.Task {
	out := a2awire.Task{Task: t.Task}
	out.State, out.Updated = c.State, c.At
	if c.State == t.State {
		out.Error, out.ErrorKind = splitError(t.Error)
	} else {
		out.Error, out.Text, out.Reply = "", "", json.RawMessage(nil)
	}
	return out
}
