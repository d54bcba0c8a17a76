package agent

import (
	"context"

	"conclave"
)

// Brain thinks for an agent: a model, the claude binary, or a playbook.
type Brain interface {
	// Name is how the brain is shown: "playbook", "model:NAME", "claude".
	Name() string
	// Think answers an assignment. The reply's Data is the reply type that the
	// kind of assignment names in the root package, or nil for prose. It returns
	// ErrUnsupported when this brain can't do the assignment, ErrInvalid when
	// what it thought does not have the right form after a second try,
	// ErrLimited when the budget is spent, ErrUnavailable when it can't be reached.
	Think(ctx context.Context, r Request) (Reply, error)
}

// Request is one assignment for an agent.
type Request struct {
	Agent      conclave.AgentSpec
	Name       conclave.AgentName // the instance: developer-2
	Assignment conclave.Assignment
	Task       conclave.TaskID // of the hub: what is spent counts for it
	Text       string          // what was said, for a person
	// Ask asks another agent through the hub and returns its prose.
	Ask func(ctx context.Context, to, question string) (string, error)
}

// Reply is what an agent answers.
type Reply struct {
	Text string // for a person: one to three sentences
	Data any
}
