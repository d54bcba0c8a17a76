// Package a2awire is both ends of A2A (the Agent2Agent protocol, version 1.0,
// and 0.3 for clients that speak it): agents and services as A2A servers, and
// the client that calls them.
//
// A server answers for a [Tasks]: the hub's durable tasks, or a [Runner] that
// runs a function. What one Conclave party says to another is one text part for
// a person and one data part for the program; the call path, the run and the
// kind of assignment travel as metadata.
package a2awire

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"conclave"
)

// Keys of A2A metadata.
const (
	MetaCall       = "conclave/call"       // on a message: its conclave.CallPath
	MetaRun        = "conclave/run"        // on a message: the run it belongs to
	MetaMessage    = "conclave/message"    // on a message that the hub hands on: the id that its sender gave it
	MetaAssignment = "conclave/assignment" // on a message: the kind of assignment
	MetaAgent      = "conclave/agent"      // on a message: the name that its receiver is registered with
	MetaRole       = "conclave/role"       // on a message: the role that its receiver has
	MetaSaid       = "conclave/said"       // on an artifact: the agent answered with a message, true
	MetaKind       = "conclave/kind"       // on a failed task's status message, and in error details: the kind of error
)

// Incoming is a message as a server received it.
type Incoming struct {
	MessageID  conclave.MessageID
	SentAs     conclave.MessageID      // the id that its first sender gave it
	ContextID  conclave.ConversationID // empty when the sender names none
	TaskID     conclave.TaskID         // for a Handler: the task that the message made
	References []conclave.TaskID       // other tasks that it names
	Text       string
	Data       json.RawMessage
	Call       conclave.CallPath
	Run        conclave.RunID
	Kind       conclave.AssignmentKind
	Metadata   map[string]any
	// Emit, for a Handler, shows a piece of an artifact before the answer is
	// whole: more adds the parts to the artifact of the same id, last says that
	// nothing follows.
	Emit func(a *Artifact, more, last bool)
}

// Artifact is what an agent made, as A2A has it.
type Artifact = a2a.Artifact

// Outgoing is what a handler answers.
type Outgoing struct {
	Text string
	Data json.RawMessage
	// Artifacts are the answer when it is more than a text and a value.
	Artifacts []*Artifact
	// Message makes the answer a message rather than a task's artifact.
	Message bool
	// Ask makes Text a question: the task waits for its asker's next message.
	Ask bool
}

// Handler answers a message. An error ends the task as failed, or as rejected
// when it is a [Rejection]; its kind travels to the client.
type Handler func(ctx context.Context, in Incoming) (Outgoing, error)

// Rejection is an error for a message that the agent does not take on.
type Rejection struct{ Err error }

func (r Rejection) Error() string { return r.Err.Error() }

// Unwrap returns the cause, which has the kind.
func (r Rejection) Unwrap() error { return r.Err }

// Task is a task as a server shows it.
type Task struct {
	conclave.Task
	ErrorKind error // of a failed or rejected task
	History   []conclave.Message
	Artifacts []*Artifact // when there is more than Text and Reply
	Message   bool        // the agent answered with a message
}

// Filter chooses tasks for a list, newest update first.
type Filter struct {
	Context      conclave.ConversationID
	State        conclave.TaskState
	UpdatedAfter time.Time
	Limit        int
	PageToken    string // as an earlier List returned it
}

// List is a page of tasks.
type List struct {
	Tasks []Task
	Total int
	Next  string // empty on the last page
}

// Tasks is what an A2A server answers for. A caller sees only tasks that are
// theirs; others are ErrNotFound.
type Tasks interface {
	// Accept takes a message and returns its task. The same message id from the
	// same caller returns the same task.
	Accept(ctx context.Context, in Incoming) (Task, error)
	// Answer gives a task that waits for input its asker's next message. The same
	// message id again changes nothing. ErrConflict when the task waits for nothing.
	Answer(ctx context.Context, in Incoming) (Task, error)
	// Wait returns a task once its state is another than seen; at once when seen is empty.
	Wait(ctx context.Context, id conclave.TaskID, seen conclave.TaskState) (Task, error)
	// Cancel ends a task. ErrConflict when it has ended.
	Cancel(ctx context.Context, id conclave.TaskID) (Task, error)
	// List returns the caller's tasks.
	List(ctx context.Context, f Filter) (List, error)
}

// Follower is a Tasks that tells what happens to a task while it happens, and
// not only its states: the task as it is, then each change until it has ended.
type Follower interface {
	Follow(ctx context.Context, id conclave.TaskID) iter.Seq2[a2a.Event, error]
}

// KindNamed returns the kind of error with a name, ErrInternal for an unknown one.
func KindNamed(name string) error {
	for _, kind := range conclave.Kinds() {
		if kind.Error() == name {
			return kind
		}
	}
	return conclave.ErrInternal
}

// callerKey names whose task it is: one caller's tasks are not shown to another.
func callerKey(ctx context.Context) string {
	c := conclave.CallerFrom(ctx)
	return fmt.Sprintf("%s/%s", c.Tenant, c.Name())
}
