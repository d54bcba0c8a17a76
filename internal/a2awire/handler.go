package a2awire

import (
	"context"
	"errors"
	"iter"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"conclave"
)

// handler implements the protocol's operations over a Tasks. It takes the place
// of the SDK's own request handler, whose tasks live in memory without a bound.
type handler struct {
	opts ServerOptions
}

var _ a2asrv.RequestHandler = (*handler)(nil)

func (h *handler) accept(ctx context.Context, req *a2a.SendMessageRequest) (Task, error) {
	switch {
	case req == nil || req.Message == nil:
		return Task{}, a2a.NewError(a2a.ErrInvalidParams, "message is required")
	case req.Message.ID == "":
		return Task{}, a2a.NewError(a2a.ErrInvalidParams, "message.messageId is required")
	case len(req.Message.Parts) == 0:
		return Task{}, a2a.NewError(a2a.ErrInvalidParams, "message.parts is required: one text part, and one data part if there is data")
	case req.Message.Role != a2a.MessageRoleUser:
		return Task{}, a2a.NewError(a2a.ErrInvalidParams, "message.role must be ROLE_USER")
	}
	push, err := h.checkPush(ctx, req)
	if err != nil {
		return Task{}, err
	}
	in, err := fromMessage(req.Message, req.Metadata)
	if err != nil {
		return Task{}, toError(err)
	}
	if in.TaskID == "" {
		t, err := h.opts.Tasks.Accept(ctx, in)
		if err != nil || push == nil {
			return t, toError(err)
		}
		push.TaskID = a2a.TaskID(t.ID)
		if push.ID == "" { // the same message again must not make another one
			push.ID = "of-" + string(t.ID)
		}
		_, err = h.savePush(ctx, push, true)
		return t, err
	}
	t, err := h.opts.Tasks.Wait(ctx, in.TaskID, "")
	if err != nil {
		return Task{}, toError(err)
	}
	if in.ContextID != "" && in.ContextID != t.Conversation {
		return Task{}, a2a.NewError(a2a.ErrInvalidParams, "message.contextId is not the context of task "+string(t.ID)+"; leave it out, or send "+string(t.Conversation))
	}
	in.ContextID = t.Conversation
	t, err = h.opts.Tasks.Answer(ctx, in)
	return t, toError(err)
}

// WaitsNot is the error of an answer to a task that waits for none.
func WaitsNot(t conclave.Task) error {
	if t.State.Ended() {
		return conclave.Errorf(conclave.ErrConflict, "task %s has ended; to go on, send the message without taskId in the same contextId", t.ID)
	}
	return conclave.Errorf(conclave.ErrConflict, "task %s takes no further message while it is %s", t.ID, t.State)
}

func (h *handler) SendMessage(ctx context.Context, req *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
	t, err := h.accept(ctx, req)
	if err != nil {
		return nil, err
	}
	var history *int
	if req.Config != nil {
		history = req.Config.HistoryLength
	}
	if req.Config != nil && req.Config.ReturnImmediately {
		return toTask(t, history, true), nil
	}
	for !resting(t.State) {
		if t, err = h.opts.Tasks.Wait(ctx, t.ID, t.State); err != nil {
			return nil, toError(err)
		}
	}
	if t.Message && t.State == conclave.TaskCompleted {
		return said(t), nil
	}
	return toTask(t, history, true), nil
}

// resting reports whether nothing more happens to a task by itself.
func resting(s conclave.TaskState) bool { return s.Ended() || s == conclave.TaskInputRequired }

func (h *handler) SendStreamingMessage(ctx context.Context, req *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		t, err := h.accept(ctx, req)
		if err != nil {
			yield(nil, err)
			return
		}
		if t.Message && t.State == conclave.TaskCompleted {
			yield(said(t), nil)
			return
		}
		h.follow(ctx, t, yield, resting)
	}
}

func (h *handler) SubscribeToTask(ctx context.Context, req *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		if req == nil || req.ID == "" {
			yield(nil, a2a.NewError(a2a.ErrInvalidParams, "id is required"))
			return
		}
		t, err := h.opts.Tasks.Wait(ctx, conclave.TaskID(req.ID), "")
		if err != nil {
			yield(nil, toError(err))
			return
		}
		if t.State.Ended() {
			yield(nil, a2a.NewError(a2a.ErrUnsupportedOperation, "task "+string(t.ID)+" has ended; get it instead"))
			return
		}
		h.follow(ctx, t, yield, conclave.TaskState.Ended)
	}
}

// follow yields the task, then what changes about it until its state is one that
// ends the stream: a sender's at rest, a subscriber's when the task has ended.
func (h *handler) follow(ctx context.Context, t Task, yield func(a2a.Event, error) bool, ends func(conclave.TaskState) bool) {
	events := h.states(ctx, t)
	if f, ok := h.opts.Tasks.(Follower); ok {
		events = f.Follow(ctx, t.ID)
	}
	for event, err := range events {
		if !yield(event, toError(err)) || err != nil {
			return
		}
		switch e := event.(type) {
		case *a2a.Task:
			if ends(fromState(e.Status.State)) {
				return
			}
		case *a2a.TaskStatusUpdateEvent:
			if ends(fromState(e.Status.State)) {
				return
			}
		}
	}
}

// states yields the task and each of its later states.
func (h *handler) states(ctx context.Context, t Task) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		if !yield(toTask(t, nil, true), nil) {
			return
		}
		for !t.State.Ended() {
			var err error
			if t, err = h.opts.Tasks.Wait(ctx, t.ID, t.State); err != nil {
				yield(nil, err)
				return
			}
			if t.State == conclave.TaskCompleted {
				for _, a := range toArtifacts(t) {
					if !yield(artifactEvent(t, a, false, true), nil) {
						return
					}
				}
			}
			if !yield(statusEvent(t), nil) {
				return
			}
		}
	}
}

func artifactEvent(t Task, a *Artifact, more, last bool) a2a.Event {
	return &a2a.TaskArtifactUpdateEvent{TaskID: a2a.TaskID(t.ID), ContextID: string(t.Conversation), Artifact: a, Append: more, LastChunk: last}
}

func statusEvent(t Task) a2a.Event {
	return &a2a.TaskStatusUpdateEvent{TaskID: a2a.TaskID(t.ID), ContextID: string(t.Conversation), Status: toStatus(t)}
}

func (h *handler) GetTask(ctx context.Context, req *a2a.GetTaskRequest) (*a2a.Task, error) {
	if req == nil || req.ID == "" {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "id is required")
	}
	if req.HistoryLength != nil && *req.HistoryLength < 0 {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "historyLength must not be negative")
	}
	t, err := h.opts.Tasks.Wait(ctx, conclave.TaskID(req.ID), "")
	if err != nil {
		return nil, toError(err)
	}
	return toTask(t, req.HistoryLength, true), nil
}

func (h *handler) CancelTask(ctx context.Context, req *a2a.CancelTaskRequest) (*a2a.Task, error) {
	if req == nil || req.ID == "" {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "id is required")
	}
	t, err := h.opts.Tasks.Cancel(ctx, conclave.TaskID(req.ID))
	if errors.Is(err, conclave.ErrConflict) {
		return nil, a2a.NewError(a2a.ErrTaskNotCancelable, conclave.Text(err)).
			WithErrorInfoMeta(map[string]string{MetaKind: conclave.ErrConflict.Error()})
	}
	if err != nil {
		return nil, toError(err)
	}
	return toTask(t, nil, true), nil
}

func (h *handler) ListTasks(ctx context.Context, req *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	if req == nil {
		req = &a2a.ListTasksRequest{}
	}
	f := Filter{Context: conclave.ConversationID(req.ContextID), Limit: req.PageSize, PageToken: req.PageToken}
	switch {
	case req.PageSize == 0:
		f.Limit = 50
	case req.PageSize < 1 || req.PageSize > 100:
		return nil, a2a.NewError(a2a.ErrInvalidParams, "pageSize must be from 1 to 100")
	}
	if req.HistoryLength != nil && *req.HistoryLength < 0 {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "historyLength must not be negative")
	}
	if req.Status != a2a.TaskStateUnspecified {
		if f.State = fromState(req.Status); f.State == "" {
			return nil, a2a.NewError(a2a.ErrInvalidParams, "unknown status "+string(req.Status))
		}
	}
	if req.StatusTimestampAfter != nil {
		f.UpdatedAfter = *req.StatusTimestampAfter
	}
	list, err := h.opts.Tasks.List(ctx, f)
	if err != nil {
		return nil, toError(err)
	}
	out := &a2a.ListTasksResponse{Tasks: []*a2a.Task{}, TotalSize: list.Total, PageSize: f.Limit, NextPageToken: list.Next}
	for _, t := range list.Tasks {
		out.Tasks = append(out.Tasks, toTask(t, req.HistoryLength, req.IncludeArtifacts))
	}
	return out, nil
}

func (h *handler) GetExtendedAgentCard(ctx context.Context, _ *a2a.GetExtendedAgentCardRequest) (*a2a.AgentCard, error) {
	if h.opts.Extended == nil {
		return nil, a2a.NewError(a2a.ErrUnsupportedOperation, "there is no extended card here; the public one is at "+a2asrv.WellKnownAgentCardPath)
	}
	card, err := h.opts.Extended(ctx)
	if err != nil {
		return nil, toError(err)
	}
	base, _ := ctx.Value(baseKey{}).(string)
	return card.agentCard(base), nil
}
