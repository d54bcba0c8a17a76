package a2awire

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"conclave"
)

// states pairs our names of task states with the protocol's.
func states() []struct {
	ours   conclave.TaskState
	theirs a2a.TaskState
} {
	return []struct {
		ours   conclave.TaskState
		theirs a2a.TaskState
	}{
		{conclave.TaskSubmitted, a2a.TaskStateSubmitted},
		{conclave.TaskWorking, a2a.TaskStateWorking},
		{conclave.TaskCompleted, a2a.TaskStateCompleted},
		{conclave.TaskFailed, a2a.TaskStateFailed},
		{conclave.TaskCanceled, a2a.TaskStateCanceled},
		{conclave.TaskRejected, a2a.TaskStateRejected},
		{conclave.TaskInputRequired, a2a.TaskStateInputRequired},
	}
}

func toState(s conclave.TaskState) a2a.TaskState {
	for _, p := range states() {
		if p.ours == s {
			return p.theirs
		}
	}
	return a2a.TaskStateUnspecified
}

// fromState maps the protocol's state; a state of waiting for credentials is
// shown as waiting for input, which it is.
func fromState(s a2a.TaskState) conclave.TaskState {
	for _, p := range states() {
		if p.theirs == s {
			return p.ours
		}
	}
	if s == a2a.TaskStateAuthRequired {
		return conclave.TaskInputRequired
	}
	return ""
}

// toTask shows a task on the wire. A nil history length means all of it.
func toTask(t Task, history *int, artifacts bool) *a2a.Task {
	out := &a2a.Task{
		ID:        a2a.TaskID(t.ID),
		ContextID: string(t.Conversation),
		Status:    toStatus(t),
		Metadata:  map[string]any{},
	}
	if t.Run != "" {
		out.Metadata[MetaRun] = string(t.Run)
	}
	if t.Agent != "" {
		out.Metadata["conclave/agent"] = string(t.Agent)
	}
	if artifacts {
		out.Artifacts = toArtifacts(t)
	}
	msgs := t.History
	if history != nil && *history < len(msgs) {
		msgs = msgs[len(msgs)-max(*history, 0):]
	}
	for _, m := range msgs {
		out.History = append(out.History, toMessage(m, t.From))
	}
	return out
}

func toStatus(t Task) a2a.TaskStatus {
	status := a2a.TaskStatus{State: toState(t.State)}
	if !t.Updated.IsZero() {
		at := t.Updated.UTC()
		status.Timestamp = &at
	}
	why := t.Error
	if t.State == conclave.TaskInputRequired {
		why = t.Text
	}
	if why != "" {
		status.Message = &a2a.Message{
			ID: string(t.ID) + "-status", Role: a2a.MessageRoleAgent,
			TaskID: a2a.TaskID(t.ID), ContextID: string(t.Conversation),
			Parts: a2a.ContentParts{a2a.NewTextPart(why)},
		}
		if t.ErrorKind != nil {
			status.Message.Metadata = map[string]any{MetaKind: t.ErrorKind.Error()}
		}
	}
	return status
}

// replySuffix ends the id of the one artifact that a text and a value make.
const replySuffix = "-reply"

// toArtifacts are what a task has made so far.
func toArtifacts(t Task) []*Artifact {
	if len(t.Artifacts) > 0 || t.State != conclave.TaskCompleted {
		return t.Artifacts
	}
	name := "reply"
	if t.Kind != "" {
		name = string(t.Kind)
	}
	reply := &Artifact{ID: a2a.ArtifactID(string(t.ID) + replySuffix), Name: name, Parts: toParts(t.Text, t.Reply)}
	if t.Message {
		reply.Metadata = map[string]any{MetaSaid: true} // a stream is under way before it is known
	}
	return []*Artifact{reply}
}

// said is the answer of an agent that answered with a message.
func said(t Task) *a2a.Message {
	m := &a2a.Message{ID: string(t.ID) + "-said", Role: a2a.MessageRoleAgent, ContextID: string(t.Conversation)}
	for _, a := range toArtifacts(t) {
		m.Parts = append(m.Parts, a.Parts...)
	}
	return m
}

func toParts(text string, data json.RawMessage) a2a.ContentParts {
	var parts a2a.ContentParts
	if text != "" || len(data) == 0 {
		parts = append(parts, a2a.NewTextPart(text))
	}
	if len(data) > 0 {
		var value any // the SDK's 0.3 and gRPC faces take values, not bytes
		if err := json.Unmarshal(data, &value); err != nil {
			value = string(data)
		}
		p := a2a.NewDataPart(value)
		p.MediaType = "application/json"
		parts = append(parts, p)
	}
	return parts
}

func toMessage(m conclave.Message, asker string) *a2a.Message {
	role := a2a.MessageRoleAgent
	if m.From == asker {
		role = a2a.MessageRoleUser
	}
	return &a2a.Message{
		ID: string(cmp.Or(m.SentAs, m.ID)), Role: role, TaskID: a2a.TaskID(m.Task), ContextID: string(m.Conversation),
		Parts: toParts(m.Text, m.Data),
	}
}

// fromParts joins the text parts and takes the only data part. Files are not
// taken: agents work in worktrees.
func fromParts(parts a2a.ContentParts) (text string, data json.RawMessage, err error) {
	var texts []string
	for _, p := range parts {
		switch v := p.Content.(type) {
		case a2a.Text:
			texts = append(texts, string(v))
		case a2a.Data:
			if data != nil {
				return "", nil, conclave.Errorf(conclave.ErrInvalid, "the message has more than one data part; send one")
			}
			if data, err = json.Marshal(v.Value); err != nil {
				return "", nil, fmt.Errorf("encoding a data part: %w", err)
			}
		default:
			return "", nil, a2a.NewError(a2a.ErrUnsupportedContentType, "a part is a file; send text or data")
		}
	}
	return strings.Join(texts, "\n"), data, nil
}

// fromMessage reads a message that a client sent.
func fromMessage(m *a2a.Message, extra map[string]any) (Incoming, error) {
	text, data, err := fromParts(m.Parts)
	if err != nil {
		return Incoming{}, err
	}
	in := Incoming{
		MessageID: conclave.MessageID(m.ID), ContextID: conclave.ConversationID(m.ContextID),
		TaskID: conclave.TaskID(m.TaskID), Text: text, Data: data, Metadata: map[string]any{},
	}
	for _, meta := range []map[string]any{extra, m.Metadata} {
		for k, v := range meta {
			in.Metadata[k] = v
		}
	}
	for _, id := range m.ReferenceTasks {
		in.References = append(in.References, conclave.TaskID(id))
	}
	if raw, ok := in.Metadata[MetaCall]; ok {
		b, err := json.Marshal(raw)
		if err == nil {
			err = json.Unmarshal(b, &in.Call)
		}
		if err != nil {
			return Incoming{}, conclave.Errorf(conclave.ErrInvalid, "the metadata %q is not a call path: %v", MetaCall, err)
		}
	}
	run, _ := in.Metadata[MetaRun].(string)
	kind, _ := in.Metadata[MetaAssignment].(string)
	sentAs, _ := in.Metadata[MetaMessage].(string)
	in.SentAs = cmp.Or(conclave.MessageID(sentAs), in.MessageID)
	in.Run, in.Kind = conclave.RunID(run), conclave.AssignmentKind(kind)
	return in, nil
}

// wireErrors pairs our kinds of error with the protocol's; the first pair that
// fits counts, in both directions. The kind itself travels in the error's
// details too, because several of ours share one of theirs.
func wireErrors() []struct{ kind, wire error } {
	return []struct{ kind, wire error }{
		{conclave.ErrNotFound, a2a.ErrTaskNotFound},
		{conclave.ErrInvalid, a2a.ErrInvalidParams},
		{conclave.ErrConflict, a2a.ErrUnsupportedOperation},
		{conclave.ErrDenied, a2a.ErrUnauthorized},
		{conclave.ErrUnavailable, a2a.ErrServerError},
		{conclave.ErrTimeout, a2a.ErrServerError},
		{conclave.ErrLimited, a2a.ErrServerError},
		{conclave.ErrUnsupported, a2a.ErrUnsupportedOperation},
		{conclave.ErrInternal, a2a.ErrInternalError},
		{conclave.ErrConflict, a2a.ErrTaskNotCancelable},
		{conclave.ErrInvalid, a2a.ErrInvalidRequest},
		{conclave.ErrInvalid, a2a.ErrParseError},
		{conclave.ErrDenied, a2a.ErrUnauthenticated},
		{conclave.ErrUnsupported, a2a.ErrMethodNotFound},
		{conclave.ErrUnsupported, a2a.ErrVersionNotSupported},
		{conclave.ErrUnsupported, a2a.ErrUnsupportedContentType},
	}
}

// toError turns an error into the protocol's. An error that is the protocol's
// own stays as it is.
func toError(err error) error {
	var wire *a2a.Error
	if err == nil || errors.As(err, &wire) {
		return err
	}
	kind := conclave.KindOf(err)
	for _, p := range wireErrors() {
		if p.kind == kind {
			return a2a.NewError(p.wire, conclave.Text(err)).WithErrorInfoMeta(map[string]string{MetaKind: kind.Error()})
		}
	}
	return a2a.NewError(a2a.ErrInternalError, conclave.Text(err))
}

// fromError turns an error of the protocol's client into one with a kind. What
// is neither the protocol's nor ours is a broken connection or a garbled answer:
// ErrUnavailable.
func fromError(err error) error {
	var wire *a2a.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wire):
	case errors.Is(err, context.Canceled), conclave.KindOf(err) != conclave.ErrInternal, errors.Is(err, conclave.ErrInternal):
		return err
	default:
		return conclave.Errorf(conclave.ErrUnavailable, "%w", err)
	}
	for _, d := range wire.TypedDetails {
		if meta, ok := d.Value["metadata"].(map[string]string); ok && meta[MetaKind] != "" {
			return conclave.Errorf(KindNamed(meta[MetaKind]), "%s", wire.Message)
		}
	}
	for _, p := range wireErrors() {
		if p.wire == wire.Err {
			return conclave.Errorf(p.kind, "%s", wire.Message)
		}
	}
	return conclave.Errorf(conclave.ErrInternal, "%s", wire.Message)
}
