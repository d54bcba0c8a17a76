package conclave

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// EventKind names what happened, as noun.verb in the past tense.
type EventKind string

// Kinds of event.
const (
	EventRunStarted       EventKind = "run.started"
	EventRunEnded         EventKind = "run.ended"
	EventRunWarned        EventKind = "run.warned"
	EventStepAdded        EventKind = "step.added"
	EventStepStarted      EventKind = "step.started"
	EventStepEnded        EventKind = "step.ended"
	EventStepRequeued     EventKind = "step.requeued"
	EventPlanProposed     EventKind = "plan.proposed"
	EventPlanCommented    EventKind = "plan.commented"
	EventMessageSent      EventKind = "message.sent"
	EventTaskChanged      EventKind = "task.changed"
	EventPushFailed       EventKind = "push.failed"
	EventLetterDead       EventKind = "letter.dead"
	EventLetterRetried    EventKind = "letter.retried"
	EventLetterDropped    EventKind = "letter.dropped"
	EventMotionOpened     EventKind = "motion.opened"
	EventBallotCast       EventKind = "ballot.cast"
	EventBallotRefused    EventKind = "ballot.refused"
	EventMotionEscalated  EventKind = "motion.escalated"
	EventMotionDecided    EventKind = "motion.decided"
	EventWorktreeLeased   EventKind = "worktree.leased"
	EventWorktreeCommited EventKind = "worktree.committed"
	EventWorktreeReleased EventKind = "worktree.released"
	EventMergeIntended    EventKind = "merge.intended"
	EventMergeDone        EventKind = "merge.done"
	EventMergeRefused     EventKind = "merge.refused"
	EventApprovalAsked    EventKind = "approval.asked"
	EventApprovalGiven    EventKind = "approval.given"
	EventAgentRegistered  EventKind = "agent.registered"
	EventAgentLost        EventKind = "agent.lost"
	EventModelCalled      EventKind = "model.called"
	EventAccountClosed    EventKind = "account.closed"
	EventOutcomeKnown     EventKind = "outcome.known"
	EventCallRefused      EventKind = "call.refused"
	EventMessageRepeated  EventKind = "message.repeated"
	EventTopicSubscribed  EventKind = "topic.subscribed"
	EventTopicLeft        EventKind = "topic.left"
	EventPublished        EventKind = "message.published"
	EventEscalated        EventKind = "conversation.escalated"
	EventEscalationEnded  EventKind = "escalation.answered"
	EventConversationGone EventKind = "conversation.expired"
	EventTokenMinted      EventKind = "token.minted"
	EventTokenRevoked     EventKind = "token.revoked"
)

// EventKinds lists every kind.
func EventKinds() []EventKind {
	return []EventKind{
		EventRunStarted, EventRunEnded, EventRunWarned, EventStepAdded, EventStepStarted, EventStepEnded,
		EventStepRequeued, EventPlanProposed, EventPlanCommented, EventMessageSent, EventTaskChanged, EventMotionOpened,
		EventPushFailed, EventLetterDead, EventLetterRetried, EventLetterDropped,
		EventBallotCast, EventBallotRefused, EventMotionEscalated, EventMotionDecided, EventWorktreeLeased, EventWorktreeCommited,
		EventWorktreeReleased, EventMergeIntended, EventMergeDone, EventMergeRefused, EventApprovalAsked, EventApprovalGiven,
		EventAgentRegistered, EventAgentLost, EventModelCalled, EventAccountClosed, EventOutcomeKnown, EventCallRefused,
		EventMessageRepeated, EventTopicSubscribed, EventTopicLeft, EventPublished, EventEscalated, EventEscalationEnded,
		EventConversationGone, EventTokenMinted, EventTokenRevoked,
	}
}

// Event is one row of the record: written in the transaction of the change that
// it tells, never altered.
type Event struct {
	Seq          int64           `json:"seq"` // rises; a reader that has N asks for what is after N
	Tenant       TenantID        `json:"tenant"`
	At           time.Time       `json:"at"`
	Kind         EventKind       `json:"kind"`
	Actor        string          `json:"actor"` // human, agent or service
	Run          RunID           `json:"run,omitempty"`
	Step         StepID          `json:"step,omitempty"`
	Conversation ConversationID  `json:"conversation,omitempty"`
	Subject      string          `json:"subject,omitempty"` // id of the task, motion, plan, lease or approval
	Text         string          `json:"text"`              // one line for a person
	Data         json.RawMessage `json:"data,omitempty"`
}

// EventFilter chooses events. Zero fields choose all.
type EventFilter struct {
	After        int64          `json:"after,omitempty" doc:"Only events with a higher seq"`
	Run          RunID          `json:"run,omitempty" doc:"Only events of this run"`
	Conversation ConversationID `json:"conversation,omitempty" doc:"Only events of this conversation"`
	Kinds        []EventKind    `json:"kinds,omitempty" doc:"Only these kinds"`
	Actor        string         `json:"actor,omitempty" doc:"Only what this human, agent or service did"`
	Since        int64          `json:"since_ms,omitempty" doc:"Only events at or after this time, in milliseconds since 1970"`
	Limit        int            `json:"limit,omitempty" doc:"How many at the most, 1 to 1000; 200 when absent"`
}

// Events is the record of what happened, in order.
type Events interface {
	// List returns events in the order of their seq. ErrInvalid for a bad filter.
	List(ctx context.Context, f EventFilter) ([]Event, error)
	// Watch yields the events after f.After, then each new one as it is
	// committed, until ctx ends. It ends with an error only when it can't go on.
	Watch(ctx context.Context, f EventFilter) iter.Seq2[Event, error]
}

// EventOperations is the table of the monitor service.
func EventOperations() []Operation {
	return append([]Operation{
		Op("event_list", "GET /events", PermitRead, Reads, Events.List, "Lists what happened, oldest first."),
		{Name: "event_watch", Route: "GET /events/watch", Permission: PermitRead, Effect: Streams,
			Summary: "Streams what happens as server-sent events."},
	}, AuditOperations()...)
}
