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
	tasks Tasks
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
	if in.TaskID != "" {
		t, err := h.tasks.Wait(ctx, in.TaskID, "")
		if err != nil {
			return Task{}, toError(err)
		}
		if t.State.Ended() {
			return Task{}, a2a.NewError(a2a.ErrUnsupportedOperation, "task "+string(t.ID)+" has ended; to go on, send the message without taskId in the same contextId")
		}
		return Task{}, a2a.NewError(a2a.ErrUnsupportedOperation, "task "+string(t.ID)+" takes no further message while it is "+string(t.State))
	}
	t, err := h.tasks.Accept(ctx, in)
	if err == nil && push != nil {
		push.TaskID = a2a.TaskID(t.ID)
		if _, err := h.savePush(ctx, push, true); err != nil {
			return Task{}, err
		}
	}
	return t, toError(err)
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
		if t, err = h.tasks.Wait(ctx, t.ID, t.State); err != nil {
			return nil, toError(err)
		}
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
		h.follow(ctx, t, yield)
	}
}

func (h *handler) SubscribeToTask(ctx context.Context, req *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		if req == nil || req.ID == "" {
			yield(nil, a2a.NewError(a2a.ErrInvalidParams, "id is required"))
			return
		}
		t, err := h.tasks.Wait(ctx, conclave.TaskID(req.ID), "")
		if err != nil {
			yield(nil, toError(err))
			return
		}
		if t.State.Ended() {
			yield(nil, a2a.NewError(a2a.ErrUnsupportedOperation, "task "+string(t.ID)+" has ended; get it instead"))
			return
		}
		h.follow(ctx, t, yield)
	}
}

// follow yields the task, then what changes about it until it rests.
func (h *handler) follow(ctx context.Context, t Task, yield func(a2a.Event, error) bool) {
	if !yield(toTask(t, nil, true), nil) {
		return
	}
	for !resting(t.State) {
		var err error
		if t, err = h.tasks.Wait(ctx, t.ID, t.State); err != nil {
			yield(nil, toError(err))
			return
		}
		if t.State == conclave.TaskCompleted {
			if !yield(&a2a.TaskArtifactUpdateEvent{
				TaskID: a2a.TaskID(t.ID), ContextID: string(t.Conversation), Artifact: toArtifact(t), LastChunk: true,
			}, nil) {
				return
			}
		}
		if !yield(&a2a.TaskStatusUpdateEvent{
			TaskID: a2a.TaskID(t.ID), ContextID: string(t.Conversation), Status: toStatus(t),
		}, nil) {
			return
		}
	}
}

func (h *handler) GetTask(ctx context.Context, req *a2a.GetTaskRequest) (*a2a.Task, error) {
	if req == nil || req.ID == "" {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "id is required")
	}
	if req.HistoryLength != nil && *req.HistoryLength < 0 {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "historyLength must not be negative")
	}
	t, err := h.tasks.Wait(ctx, conclave.TaskID(req.ID), "")
	if err != nil {
		return nil, toError(err)
	}
	return toTask(t, req.HistoryLength, true), nil
}

func (h *handler) CancelTask(ctx context.Context, req *a2a.CancelTaskRequest) (*a2a.Task, error) {
	if req == nil || req.ID == "" {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "id is required")
	}
	t, err := h.tasks.Cancel(ctx, conclave.TaskID(req.ID))
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
	list, err := h.tasks.List(ctx, f)
	if err != nil {
		return nil, toError(err)
	}
	out := &a2a.ListTasksResponse{Tasks: []*a2a.Task{}, TotalSize: list.Total, PageSize: f.Limit, NextPageToken: list.Next}
	for _, t := range list.Tasks {
		out.Tasks = append(out.Tasks, toTask(t, req.HistoryLength, req.IncludeArtifacts))
	}
	return out, nil
}

func (h *handler) GetExtendedAgentCard(context.Context, *a2a.GetExtendedAgentCardRequest) (*a2a.AgentCard, error) {
	return nil, a2a.ErrExtendedCardNotConfigured
}
