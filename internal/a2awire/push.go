package a2awire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"conclave"
)

// PushConfig is where and how a client wants to be told of a task.
type PushConfig struct {
	Task        conclave.TaskID
	ID          string // unique for the task
	URL         string
	Token       string // comes back with each notification
	Scheme      string // of HTTP authentication: Bearer, Basic
	Credentials string
	Old         bool // the client speaks A2A 0.3
}

// Pushes are the [Tasks] of a server that tells clients of their tasks. A caller
// has the configurations of their own tasks; others are ErrNotFound.
type Pushes interface {
	// CheckPush refuses what SavePush would, whatever the task.
	CheckPush(ctx context.Context, c PushConfig) error
	// SavePush keeps a configuration, in place of one with the same id. An empty id
	// is replaced by a new one. fromStart says that what has become of the task so
	// far is told too. ErrInvalid for an address that must not be called.
	SavePush(ctx context.Context, c PushConfig, fromStart bool) (PushConfig, error)
	// PushConfigs lists a task's configurations by id.
	PushConfigs(ctx context.Context, task conclave.TaskID) ([]PushConfig, error)
	// DeletePush ends one. One that is not there is no error.
	DeletePush(ctx context.Context, task conclave.TaskID, id string) error
}

// pushes returns what keeps configurations, when the server has that.
func (h *handler) pushes() (Pushes, error) {
	if p, ok := h.opts.Tasks.(Pushes); ok {
		return p, nil
	}
	return nil, a2a.ErrPushNotificationNotSupported
}

func (h *handler) CreateTaskPushConfig(ctx context.Context, c *a2a.PushConfig) (*a2a.PushConfig, error) {
	if c != nil && c.ID == "" && speaksOld(ctx) {
		named := *c
		named.ID = defaultPush
		c = &named
	}
	return h.savePush(ctx, c, false)
}

func (h *handler) savePush(ctx context.Context, c *a2a.PushConfig, fromStart bool) (*a2a.PushConfig, error) {
	p, err := h.pushes()
	switch {
	case err != nil:
		return nil, err
	case c == nil || c.TaskID == "":
		return nil, a2a.NewError(a2a.ErrInvalidParams, "taskId is required")
	case c.URL == "":
		return nil, a2a.NewError(a2a.ErrInvalidParams, "url is required: where notifications are sent by POST")
	}
	kept, err := p.SavePush(ctx, toPush(ctx, c), fromStart)
	if err != nil {
		return nil, pushError(err)
	}
	return fromPush(kept), nil
}

// checkPush returns a copy of the configuration that comes with a message, if any.
func (h *handler) checkPush(ctx context.Context, req *a2a.SendMessageRequest) (*a2a.PushConfig, error) {
	if req.Config == nil || req.Config.PushConfig == nil {
		return nil, nil
	}
	p, err := h.pushes()
	if err != nil {
		return nil, err
	}
	c := *req.Config.PushConfig
	return &c, pushError(p.CheckPush(ctx, toPush(ctx, &c)))
}

func toPush(ctx context.Context, c *a2a.PushConfig) PushConfig {
	out := PushConfig{Task: conclave.TaskID(c.TaskID), ID: c.ID, URL: c.URL, Token: c.Token, Old: speaksOld(ctx)}
	if c.Auth != nil {
		out.Scheme, out.Credentials = c.Auth.Scheme, c.Auth.Credentials
	}
	return out
}

// speaksOld reports whether a request came by A2A 0.3.
func speaksOld(ctx context.Context) bool {
	call, ok := a2asrv.CallContextFrom(ctx)
	if !ok {
		return false
	}
	asked, _ := call.ServiceParams().Get(a2a.SvcParamVersion)
	return len(asked) == 0 || !strings.HasPrefix(asked[0], "1")
}

// pushError says that a task is not there as the protocol does.
func pushError(err error) error {
	if errors.Is(err, conclave.ErrInvalid) || errors.Is(err, conclave.ErrDenied) {
		return a2a.NewError(a2a.ErrInvalidParams, conclave.Text(err))
	}
	return toError(err)
}

func fromPush(c PushConfig) *a2a.PushConfig {
	out := &a2a.PushConfig{TaskID: a2a.TaskID(c.Task), ID: c.ID, URL: c.URL, Token: c.Token}
	if c.Scheme != "" || c.Credentials != "" {
		out.Auth = &a2a.PushAuthInfo{Scheme: c.Scheme, Credentials: c.Credentials}
	}
	return out
}

func (h *handler) GetTaskPushConfig(ctx context.Context, req *a2a.GetTaskPushConfigRequest) (*a2a.PushConfig, error) {
	if req != nil && req.ID == "" && speaksOld(ctx) {
		req = &a2a.GetTaskPushConfigRequest{TaskID: req.TaskID, ID: defaultPush}
	}
	if req == nil || req.TaskID == "" || req.ID == "" {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "taskId and id are required")
	}
	list, err := h.pushConfigs(ctx, req.TaskID)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.ID == req.ID {
			return fromPush(c), nil
		}
	}
	return nil, a2a.NewError(a2a.ErrTaskNotFound, "task "+string(req.TaskID)+" has no push notification configuration "+req.ID)
}

func (h *handler) pushConfigs(ctx context.Context, task a2a.TaskID) ([]PushConfig, error) {
	p, err := h.pushes()
	if err != nil {
		return nil, err
	}
	list, err := p.PushConfigs(ctx, conclave.TaskID(task))
	return list, toError(err)
}

func (h *handler) ListTaskPushConfigs(ctx context.Context, req *a2a.ListTaskPushConfigRequest) (*a2a.ListTaskPushConfigResponse, error) {
	if req == nil || req.TaskID == "" {
		return nil, a2a.NewError(a2a.ErrInvalidParams, "taskId is required")
	}
	list, err := h.pushConfigs(ctx, req.TaskID)
	if err != nil {
		return nil, err
	}
	out := &a2a.ListTaskPushConfigResponse{Configs: []*a2a.PushConfig{}}
	for _, c := range list { // there are few: SavePush bounds them, so that all are one page
		out.Configs = append(out.Configs, fromPush(c))
	}
	return out, nil
}

func (h *handler) DeleteTaskPushConfig(ctx context.Context, req *a2a.DeleteTaskPushConfigRequest) error {
	p, err := h.pushes()
	if err != nil {
		return err
	}
	if req == nil || req.TaskID == "" || req.ID == "" {
		return a2a.NewError(a2a.ErrInvalidParams, "taskId and id are required")
	}
	return toError(p.DeletePush(ctx, conclave.TaskID(req.TaskID), req.ID))
}

// Notifications are the bodies that tell of what a task has become: in A2A 1.0
// what it made, if it has ended, and its status, each as a StreamResponse; in 0.3
// the task.
func Notifications(t Task, old bool) ([][]byte, error) {
	full := toTask(t, nil, true)
	if old {
		body, err := json.Marshal(a2av0.FromV1Task(full))
		if err != nil {
			return nil, fmt.Errorf("writing task %s for a notification: %w", t.ID, err)
		}
		return [][]byte{body}, nil
	}
	var events []a2a.Event
	for _, artifact := range full.Artifacts {
		events = append(events, &a2a.TaskArtifactUpdateEvent{TaskID: full.ID, ContextID: full.ContextID, Artifact: artifact, LastChunk: true})
	}
	events = append(events, &a2a.TaskStatusUpdateEvent{TaskID: full.ID, ContextID: full.ContextID, Status: full.Status})
	var bodies [][]byte
	for _, e := range events {
		body, err := json.Marshal(a2a.StreamResponse{Event: e})
		if err != nil {
			return nil, fmt.Errorf("writing a notification of task %s: %w", t.ID, err)
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}
