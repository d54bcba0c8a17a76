package conclave

import (
	"context"
	"slices"
	"time"
)

// Conversation is messages that belong together.
type Conversation struct {
	ID       ConversationID `json:"id"`
	Run      RunID          `json:"run,omitempty"`
	Started  time.Time      `json:"started"`
	Updated  time.Time      `json:"updated"` // when its last message was kept
	Messages int            `json:"messages"`
	Open     int            `json:"open_tasks"` // that have not ended
	Parties  []string       `json:"parties"`    // who asked, and the agents that took it on
}

// ListConversations chooses conversations, newest update first.
type ListConversations struct {
	Text   string         `json:"text,omitempty" doc:"Only those in which this was said, in whatever case; what is encrypted is not found"`
	Party  string         `json:"party,omitempty" doc:"Only those in which this person, service or agent took part"`
	Run    RunID          `json:"run,omitempty" doc:"Only those of this run"`
	Since  int64          `json:"since_ms,omitempty" doc:"Only those in which something was said at or after this time, in milliseconds since 1970"`
	Limit  int            `json:"limit,omitempty" doc:"How many at the most, 1 to 500; 50 when absent"`
	Before ConversationID `json:"before,omitempty" doc:"Only those that come after this one in the list"`
}

// ReplayConversation names a conversation and a moment.
type ReplayConversation struct {
	ID   ConversationID `json:"id"`
	AsOf int64          `json:"as_of_ms,omitempty" doc:"As it was at this moment, in milliseconds since 1970; now when absent"`
}

// ConversationAt is a conversation as it was at a moment: what had been said, and
// in which state its tasks were.
type ConversationAt struct {
	Conversation Conversation `json:"conversation"`
	At           time.Time    `json:"at"`
	Messages     []Message    `json:"messages"`
	Tasks        []Task       `json:"tasks"`
	Escalations  []Escalation `json:"escalations"`
	More         bool         `json:"more"` // it has more messages than are shown; conversation_export gives all
}

// ExportConversation chooses a part of a conversation.
type ExportConversation struct {
	ID    ConversationID `json:"id"`
	After MessageID      `json:"after,omitempty" doc:"Only what came after this message"`
	Limit int            `json:"limit,omitempty" doc:"How many messages at the most, 1 to 1000; 1000 when absent"`
}

// ConversationRecord is one line of an export: exactly one field is there. A
// message that made a task is followed by the task.
type ConversationRecord struct {
	Conversation *Conversation `json:"conversation,omitempty"`
	Message      *Message      `json:"message,omitempty"`
	Task         *Task         `json:"task,omitempty"`
	Escalation   *Escalation   `json:"escalation,omitempty"`
}

// EscalationState tells who has an escalation.
type EscalationState string

// States of an escalation.
const (
	EscalationAsked    EscalationState = "asked"    // whoever is senior has it
	EscalationWaiting  EscalationState = "waiting"  // for a human
	EscalationAnswered EscalationState = "answered" // somebody settled it
)

// ToHuman is the address of whoever may approve.
const ToHuman = "human"

// Escalation is a conversation that was brought before somebody else.
type Escalation struct {
	ID           string          `json:"id"`
	Conversation ConversationID  `json:"conversation"`
	Run          RunID           `json:"run,omitempty"`
	From         string          `json:"from"`
	To           string          `json:"to"` // "human", roles/ROLE or agents/NAME
	Reason       string          `json:"reason"`
	State        EscalationState `json:"state"`
	Task         TaskID          `json:"task,omitempty"` // by which an agent was asked
	Answer       string          `json:"answer,omitempty"`
	AnsweredBy   string          `json:"answered_by,omitempty"`
	Created      time.Time       `json:"created"`
	Answered     time.Time       `json:"answered,omitzero"`
}

// EscalateConversation brings a conversation before somebody.
type EscalateConversation struct {
	Key    string         `json:"idempotency_key,omitempty" doc:"The same key never makes a second escalation"`
	ID     ConversationID `json:"id"`
	To     string         `json:"to,omitempty" doc:"roles/ROLE or agents/NAME of who is senior, or human, which is meant when absent; when the agent does not settle it, it waits for a human"`
	Reason string         `json:"reason" doc:"What is to be settled, and why those who talked could not"`
	Call   CallPath       `json:"call,omitzero" doc:"Of an agent: the task that it works on, as the only element tasks/ID of the path"`
}

// ListEscalations chooses escalations, oldest first.
type ListEscalations struct {
	Conversation ConversationID `json:"conversation,omitempty" doc:"Only those of this conversation"`
	Open         bool           `json:"open,omitempty" doc:"Only those that nobody has answered"`
}

// AnswerEscalation settles an escalation.
type AnswerEscalation struct {
	Key  string `json:"idempotency_key,omitempty"`
	ID   string `json:"id"`
	Text string `json:"text" doc:"What is to be done"`
}

// Conversations is what was said, looked at as a whole. The hub keeps it.
type Conversations interface {
	// List lists conversations. ErrInvalid.
	List(ctx context.Context, in ListConversations) ([]Conversation, error)
	// Replay returns a conversation as it was at a moment. ErrNotFound.
	Replay(ctx context.Context, in ReplayConversation) (ConversationAt, error)
	// Export returns the lines of an export. ErrNotFound.
	Export(ctx context.Context, in ExportConversation) ([]ConversationRecord, error)
	// Escalate brings a conversation before a senior role or a human. ErrNotFound,
	// and what Send returns.
	Escalate(ctx context.Context, in EscalateConversation) (Escalation, error)
	// Escalations lists them.
	Escalations(ctx context.Context, in ListEscalations) ([]Escalation, error)
	// Decide settles one for a human. ErrNotFound, ErrConflict when it is answered.
	Decide(ctx context.Context, in AnswerEscalation) (Escalation, error)
}

// AllHubOperations is the whole table of the a2a-hub service.
func AllHubOperations() []Operation {
	return slices.Concat(HubOperations(), DirectoryOperations(), WorkOperations(), TopicOperations(), ConversationOperations(), DeadLetterOperations())
}

// ConversationOperations are those of the a2a-hub service that belong to
// Conversations.
func ConversationOperations() []Operation {
	return []Operation{
		Op("conversation_list", "GET /conversations", PermitRead, Reads, Conversations.List, "Lists conversations, newest first, or those in which something was said."),
		Op("conversation_replay", "GET /conversations/{id}", PermitRead, Reads, Conversations.Replay, "Returns a conversation as it is, or as it was at a moment: messages, tasks and escalations."),
		Op("conversation_export", "GET /conversations/{id}/export", PermitRead, Reads, Conversations.Export, "Exports a conversation record by record; as JSON lines when application/x-ndjson is accepted."),
		{Name: "conversation_watch", Route: "GET /conversations/{conversation}/watch", Permission: PermitRead, Effect: Streams,
			Summary: "Streams what happens in a conversation as server-sent events."},
		Op("conversation_escalate", "POST /conversations/{id}/escalate", PermitSpeak, Changes, Conversations.Escalate, "Brings a conversation before a senior role or a human."),
		Op("escalation_list", "GET /escalations", PermitRead, Reads, Conversations.Escalations, "Lists escalations, oldest first."),
		Op("escalation_answer", "POST /escalations/{id}/answer", PermitApprove, Changes, Conversations.Decide, "Settles an escalation for a human."),
	}
}
