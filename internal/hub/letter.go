package hub

import (
	"cmp"
	"context"
	"fmt"

	"conclave"
)

// LetterStore keeps the messages that reached nobody in their time.
type LetterStore interface {
	// DeadLetters lists them, the one that died first at first. ErrNotFound when
	// in.After is not there.
	DeadLetters(ctx context.Context, tenant conclave.TenantID, in conclave.ListDeadLetters) ([]conclave.DeadLetter, error)
	// RetryLetter accepts the message again, as [Task.Again] says, and removes the
	// letter. When that has happened, it returns the task that was made then.
	// ErrNotFound. Events: letter.retried, and those of Accept.
	RetryLetter(ctx context.Context, tenant conclave.TenantID, id conclave.TaskID, again Again) (Task, error)
	// DropLetter removes a letter. ErrNotFound. Event: letter.dropped.
	DropLetter(ctx context.Context, tenant conclave.TenantID, id conclave.TaskID, actor string) (conclave.DeadLetter, error)
}

// Again names what a retry makes.
type Again struct {
	Task    conclave.TaskID
	Message conclave.MessageID
	Actor   string // who asked for it
}

// Again returns the task that sends a task's message again, for stores: a new one
// with a new message, which is the old one to the agent.
func (t Task) Again(in Again) Task {
	out := Task{
		Task:   conclave.Task{ID: in.Task, Conversation: t.Conversation, Run: t.Run, From: t.From, To: t.To, Kind: t.Kind},
		Tenant: t.Tenant, Call: t.Call, Scopes: t.Scopes, Budgets: t.Budgets, Exclude: t.Exclude, Request: t.Request,
		TTL: t.TTL, Interactive: t.Interactive, FirstID: t.messageID(),
	}
	out.Request.ID, out.Request.Task = in.Message, in.Task
	return out
}

// messageID is what an agent knows a task's message by.
func (t Task) messageID() conclave.MessageID { return cmp.Or(t.FirstID, t.Request.ID) }

var _ conclave.DeadLetters = (*Hub)(nil)

func (h *Hub) letters() (LetterStore, error) {
	if h.opts.Letters == nil {
		return nil, conclave.Errorf(conclave.ErrUnsupported, "this hub keeps no dead letters")
	}
	return h.opts.Letters, nil
}

// Dead implements [conclave.DeadLetters].
func (h *Hub) Dead(ctx context.Context, in conclave.ListDeadLetters) ([]conclave.DeadLetter, error) {
	s, err := h.letters()
	if err != nil {
		return nil, err
	}
	if in.To != "" {
		if _, err := parseAddress(in.To); err != nil {
			return nil, err
		}
	}
	switch {
	case in.Limit == 0:
		in.Limit = 200
	case in.Limit < 0 || in.Limit > 1000:
		return nil, conclave.Errorf(conclave.ErrInvalid, "limit %d: want 1 to 1000", in.Limit)
	}
	list, err := s.DeadLetters(ctx, conclave.CallerFrom(ctx).Tenant, in)
	if err != nil {
		return nil, fmt.Errorf("listing dead letters: %w", err)
	}
	return list, nil
}

// Retry implements [conclave.DeadLetters].
func (h *Hub) Retry(ctx context.Context, in conclave.NameTask) (conclave.Task, error) {
	s, err := h.letters()
	if err != nil {
		return conclave.Task{}, err
	}
	c := conclave.CallerFrom(ctx)
	t, err := s.RetryLetter(ctx, c.Tenant, in.ID, Again{Task: conclave.TaskID(conclave.NewID("task")), Message: conclave.MessageID(conclave.NewID("msg")), Actor: c.Name()})
	if err != nil {
		return conclave.Task{}, fmt.Errorf("retrying dead letter %s: %w", in.ID, err)
	}
	return t.Task, nil
}

// Drop implements [conclave.DeadLetters].
func (h *Hub) Drop(ctx context.Context, in conclave.NameTask) (conclave.DeadLetter, error) {
	s, err := h.letters()
	if err != nil {
		return conclave.DeadLetter{}, err
	}
	c := conclave.CallerFrom(ctx)
	l, err := s.DropLetter(ctx, c.Tenant, in.ID, c.Name())
	if err != nil {
		return conclave.DeadLetter{}, fmt.Errorf("dropping dead letter %s: %w", in.ID, err)
	}
	return l, nil
}
