package conclave

import (
	"context"
	"time"
)

// DeadLetter is a message that reached nobody in its time. Its task has failed;
// the message waits for somebody to retry or drop it.
type DeadLetter struct {
	Task    TaskID    `json:"task"` // that failed
	Message Message   `json:"message"`
	Reason  string    `json:"reason"` // the kind of error, a colon, a text
	Died    time.Time `json:"died"`
}

// ListDeadLetters chooses dead letters, oldest first.
type ListDeadLetters struct {
	To    string `json:"to,omitempty" doc:"Only those to this address: agents/NAME, roles/ROLE or skills/SKILL"`
	After TaskID `json:"after,omitempty" doc:"Only those after the one of this task"`
	Limit int    `json:"limit,omitempty" doc:"How many at the most, 1 to 1000; 200 when absent"`
}

// DeadLetters are the messages that the hub could not deliver.
type DeadLetters interface {
	// Dead lists them. ErrInvalid, ErrNotFound.
	Dead(ctx context.Context, in ListDeadLetters) ([]DeadLetter, error)
	// Retry sends one again, as a task of its own: the agent sees the same message,
	// and answers it once. Retried again, it is the same task. ErrNotFound.
	Retry(ctx context.Context, in NameTask) (Task, error)
	// Drop removes one. ErrNotFound.
	Drop(ctx context.Context, in NameTask) (DeadLetter, error)
}

// DeadLetterOperations are rows of the a2a-hub service.
func DeadLetterOperations() []Operation {
	return []Operation{
		Op("dead_letter_list", "GET /dead-letters", PermitRead, Reads, DeadLetters.Dead, "Lists the messages that could not be delivered, with the reason, oldest first."),
		Op("dead_letter_retry", "POST /dead-letters/{id}/retry", PermitWork, Changes, DeadLetters.Retry, "Sends a message again that could not be delivered; id is its task."),
		Op("dead_letter_drop", "POST /dead-letters/{id}/drop", PermitWork, Changes, DeadLetters.Drop, "Removes a message that could not be delivered; id is its task."),
	}
}
