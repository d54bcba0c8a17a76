package hub

import (
	"context"
	"fmt"

	"conclave"
	"conclave/internal/a2awire"
)

// Answer is what an asker says to a task that waits for input.
type Answer struct {
	ID      conclave.TaskID
	Key     string // idempotency key: the same again changes nothing
	Message conclave.Message
}

// Settled returns the task as in leaves it, for stores.
func (t Task) Settled(in Settle) Task {
	t.State, t.Text, t.Reply, t.Error = in.State, in.Text, in.Reply, in.Error
	t.Artifacts, t.Said = in.Artifacts, in.Said
	if in.State == conclave.TaskInputRequired {
		t.Remote, t.AskedBy = in.Remote, t.Agent
	}
	return t
}

// Answered returns the task as in leaves it, for stores: it is delivered again,
// to the agent that asked. ErrConflict when it waits for nothing.
func (t Task) Answered(in Answer) (Task, error) {
	if t.State != conclave.TaskInputRequired {
		return t, a2awire.WaitsNot(t.Task)
	}
	t.State, t.Text, t.Agent, t.Request = conclave.TaskSubmitted, "", "", in.Message
	t.Keys = append(t.Keys[:len(t.Keys):len(t.Keys)], in.Key)
	t.Epoch++
	return t, nil
}

// Answer implements [a2awire.Tasks].
func (a *addressTasks) Answer(ctx context.Context, in a2awire.Incoming) (a2awire.Task, error) {
	t, err := a.mine(ctx, in.TaskID)
	if err != nil {
		return a2awire.Task{}, err
	}
	if err := checkContent(in.Text, in.Data); err != nil {
		return a2awire.Task{}, err
	}
	caller := conclave.CallerFrom(ctx)
	if why := mayGiveWork(caller, in.Data); why != nil {
		return a2awire.Task{}, a.hub.refuse(ctx, caller, conclave.SendMessage{Conversation: t.Conversation, Run: t.Run, To: t.To, Text: in.Text}, why)
	}
	t, err = a.hub.opts.Store.Answer(ctx, Answer{ID: t.ID, Key: string(in.MessageID), Message: conclave.Message{
		ID: conclave.MessageID(conclave.NewID("msg")), Task: t.ID, Conversation: t.Conversation, Run: t.Run,
		SentAs: in.MessageID, From: t.From, To: t.To, Kind: t.Kind, Text: in.Text, Data: in.Data,
	}})
	if err != nil {
		return a2awire.Task{}, fmt.Errorf("answering task %s: %w", in.TaskID, err)
	}
	return a.show(ctx, t)
}

// dismiss tells an agent that nobody will answer what it asked. The task has
// ended here in any case.
func (h *Hub) dismiss(ctx context.Context, t Task) {
	ctx, cancel := context.WithTimeout(conclave.WithCaller(context.WithoutCancel(ctx), conclave.ServiceCaller(conclave.ServiceHub, t.Tenant, t.Call.Human)), cleanupLimit)
	defer cancel()
	agents, err := h.opts.Store.Agents(ctx, t.Tenant, conclave.ListAgents{})
	for _, a := range agents {
		if a.Name != t.AskedBy {
			continue
		}
		var client *a2awire.Client
		if client, err = h.client(ctx, t.Tenant, a); err == nil {
			err = client.Cancel(ctx, t.Remote)
		}
	}
	if err != nil {
		h.opts.Logger.WarnContext(ctx, "telling an agent that its question was withdrawn", "task", t.ID, "agent", t.AskedBy, "err", err)
	}
}
