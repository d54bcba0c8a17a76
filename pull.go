package conclave

import (
	"context"
	"encoding/json"
	"time"
)

// PullURL is the address of an agent that can't be reached from outside: it
// leases its messages instead.
const PullURL = "pull:"

// LeaseWork asks for messages on behalf of an agent that pulls. It has no
// idempotency key: a lease whose answer was lost ends, and the message is given
// out again.
type LeaseWork struct {
	Agent   AgentName `json:"agent" doc:"Who asks; its own token, or an admin's"`
	Wait    int       `json:"wait_ms,omitempty" doc:"How long to wait for a message, in milliseconds, 0 to 60000"`
	Seconds int       `json:"seconds,omitempty" doc:"How long the lease is good, 5 to 3600 seconds; 60 when absent"`
}

// Lease is a message in the hands of an agent that pulled it.
type Lease struct {
	ID      TaskID    `json:"id"`    // of the task
	Lease   int64     `json:"lease"` // names this lease of it
	Until   time.Time `json:"until"` // after which it is given to whoever asks
	Message Message   `json:"message"`
	Call    CallPath  `json:"call"` // to be handed on with what the agent asks of others
}

// ExtendLease asks for more time.
type ExtendLease struct {
	Key     string `json:"idempotency_key,omitempty"`
	ID      TaskID `json:"id"`
	Lease   int64  `json:"lease"`
	Seconds int    `json:"seconds,omitempty" doc:"How long from now, 5 to 3600 seconds; 60 when absent"`
}

// AnswerWork ends a leased task.
type AnswerWork struct {
	Key   string          `json:"idempotency_key,omitempty"`
	ID    TaskID          `json:"id"`
	Lease int64           `json:"lease"`
	State TaskState       `json:"state,omitempty" doc:"completed, failed or rejected; completed when absent"`
	Text  string          `json:"text,omitempty" doc:"The reply, for a person, or why there is none"`
	Data  json.RawMessage `json:"data,omitempty" doc:"The reply's data"`
}

// Work is how an agent that can't be reached gets its messages: it leases them,
// and answers. What is leased and not answered is given out again.
type Work interface {
	// Lease returns the oldest message for the agent, after waiting for one as long
	// as asked; none when there is none. ErrDenied for somebody else's work,
	// ErrNotFound for an agent that is not registered as one that pulls,
	// ErrLimited when it has its hands full.
	Lease(ctx context.Context, in LeaseWork) ([]Lease, error)
	// Extend makes a lease last longer. ErrConflict when it has ended.
	Extend(ctx context.Context, in ExtendLease) (Lease, error)
	// Answer ends the task. ErrConflict when the lease has ended: the work is
	// somebody else's now, or was cancelled.
	Answer(ctx context.Context, in AnswerWork) (Task, error)
}

// WorkOperations are rows of the a2a-hub service.
func WorkOperations() []Operation {
	return []Operation{
		Op("work_lease", "POST /work/lease", PermitSpeak, Changes, Work.Lease, "Leases the oldest message for an agent that pulls its work, waiting for one if asked."),
		Op("work_extend", "POST /work/{id}/extend", PermitSpeak, Changes, Work.Extend, "Makes a lease last longer."),
		Op("work_answer", "POST /work/{id}/answer", PermitSpeak, Changes, Work.Answer, "Answers a leased message."),
	}
}
