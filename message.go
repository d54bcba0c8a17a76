package conclave

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Message is what one party said to another, as the hub keeps it.
type Message struct {
	ID           MessageID       `json:"id"`
	SentAs       MessageID       `json:"sent_as,omitempty"` // the id that an A2A client gave it
	Task         TaskID          `json:"task"`
	Conversation ConversationID  `json:"conversation"`
	Run          RunID           `json:"run,omitempty"`
	From         string          `json:"from"`
	To           string          `json:"to"`
	Kind         AssignmentKind  `json:"kind,omitempty"`
	Text         string          `json:"text"` // for a person
	Data         json.RawMessage `json:"data,omitempty"`
	Sent         time.Time       `json:"sent"` // the hub's acceptance, on the database's clock
}

// Hash binds what was said: its text and its data, byte for byte.
func (m Message) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s%s", len(m.Text), m.Text, m.Data) // a hash takes every write
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// MessageEvent is the event of a message: who said what to whom, its text, and
// in place of its data the hash of both.
func MessageEvent(tenant TenantID, m Message) (Event, error) {
	hash := m.Hash()
	m.Data = nil
	data, err := json.Marshal(struct {
		Message
		Hash string `json:"hash"`
	}{m, hash})
	return Event{Tenant: tenant, Kind: EventMessageSent, Actor: m.From, Run: m.Run, Conversation: m.Conversation,
		Subject: string(m.Task), Text: m.From + " to " + m.To, Data: data}, err
}

// TaskState is the state of an A2A task.
type TaskState string

// States of a task, as the A2A specification names them.
const (
	TaskSubmitted     TaskState = "submitted"
	TaskWorking       TaskState = "working"
	TaskCompleted     TaskState = "completed"
	TaskFailed        TaskState = "failed"
	TaskCanceled      TaskState = "canceled"
	TaskRejected      TaskState = "rejected"
	TaskInputRequired TaskState = "input-required"
)

// Ended reports whether the state is final.
func (s TaskState) Ended() bool {
	return s == TaskCompleted || s == TaskFailed || s == TaskCanceled || s == TaskRejected
}

// Task is one request to an agent and what became of it.
type Task struct {
	ID           TaskID          `json:"id"`
	Conversation ConversationID  `json:"conversation"`
	Run          RunID           `json:"run,omitempty"`
	From         string          `json:"from"`
	To           string          `json:"to"`              // the address that was asked: "agents/NAME", "roles/ROLE" or "skills/SKILL"
	Agent        AgentName       `json:"agent,omitempty"` // who took it
	State        TaskState       `json:"state"`
	Kind         AssignmentKind  `json:"kind,omitempty"`
	Text         string          `json:"text,omitempty"`  // the reply, for a person
	Reply        json.RawMessage `json:"reply,omitempty"` // the reply's data part
	Error        string          `json:"error,omitempty"` // why it failed or was rejected: the kind of error, a colon, a text
	Created      time.Time       `json:"created"`
	Updated      time.Time       `json:"updated"`
}

// CallPath travels in the A2A metadata of each message, so that a cycle or an
// exhausted budget is refused wherever it shows.
type CallPath struct {
	Human string   `json:"human"` // whose rights count
	Path  []string `json:"path"`  // who has asked whom, first to last
	Hops  int      `json:"hops"`  // how many more hops are allowed
	// What may still be spent; 0 means no bound, below 0 that nothing is left. The
	// hub keeps the account: what a caller says only makes it less.
	Messages int     `json:"messages,omitempty"` // messages that may follow
	Tokens   int64   `json:"tokens,omitempty"`   // model tokens
	CostUSD  float64 `json:"cost_usd,omitempty"` // what models may cost, in US dollars
}

// SendMessage asks an agent for something.
type SendMessage struct {
	Key          string          `json:"idempotency_key,omitempty" doc:"The same key never makes a second task"`
	Conversation ConversationID  `json:"conversation,omitempty"`
	Run          RunID           `json:"run,omitempty"`
	From         string          `json:"from,omitempty" doc:"Who speaks; the caller when absent"`
	To           string          `json:"to" doc:"agents/NAME, roles/ROLE or skills/SKILL"`
	Exclude      []AgentName     `json:"exclude,omitempty" doc:"Agents that a role address must not choose"`
	Kind         AssignmentKind  `json:"kind,omitempty"`
	Text         string          `json:"text" doc:"What to say, for a person"`
	Data         json.RawMessage `json:"data,omitempty" doc:"The assignment"`
	TTL          int             `json:"ttl_ms,omitempty" doc:"How long the message tries to reach somebody, in milliseconds, 1000 to 604800000; 10 minutes when absent"`
	Call         CallPath        `json:"call,omitzero" doc:"Who asks on whose behalf; the hub fills it in for people"`
}

// GetTask names a task, and how long to wait for its end.
type GetTask struct {
	ID   TaskID `json:"id"`
	Wait int    `json:"wait_ms,omitempty" doc:"How long to wait for the task's end, in milliseconds, 0 to 60000"`
}

// NameTask names a task.
type NameTask struct {
	Key string `json:"idempotency_key,omitempty"`
	ID  TaskID `json:"id"`
}

// ListMessages chooses messages, oldest first.
type ListMessages struct {
	Conversation ConversationID `json:"conversation,omitempty" doc:"Only this conversation"`
	Run          RunID          `json:"run,omitempty" doc:"Only this run"`
	Limit        int            `json:"limit,omitempty" doc:"How many at the most, 1 to 1000; 200 when absent"`
	After        MessageID      `json:"after,omitempty" doc:"Only what came after this message"`
	Latest       bool           `json:"latest,omitempty" doc:"The last of them instead of the first, still oldest first"`
}

// Hub is the only way between agents: it authenticates, authorises, remembers,
// queues and forwards.
type Hub interface {
	// Register makes an agent known or renews it. ErrConflict when another key holds the name.
	Register(ctx context.Context, in RegisterAgent) (Agent, error)
	// Agents lists agents by name.
	Agents(ctx context.Context, in ListAgents) ([]Agent, error)
	// Send accepts a message: when it returns, the message is kept and will be
	// delivered. ErrNotFound when no agent has the address, ErrLimited for a cycle
	// or an exhausted budget, ErrDenied when the caller may not speak so.
	Send(ctx context.Context, in SendMessage) (Task, error)
	// Task returns a task, after waiting for its end as long as asked. ErrNotFound.
	Task(ctx context.Context, in GetTask) (Task, error)
	// Cancel ends a task that has not ended. ErrConflict when it has.
	Cancel(ctx context.Context, in NameTask) (Task, error)
	// Messages lists what was said, oldest first.
	Messages(ctx context.Context, in ListMessages) ([]Message, error)
}

// HubOperations is the table of the a2a-hub service.
func HubOperations() []Operation {
	return []Operation{
		Op("agent_register", "POST /agents", PermitAdmin, Changes, Hub.Register, "Makes an agent known, or renews what is known of it."),
		Op("agent_list", "GET /agents", PermitRead, Reads, Hub.Agents, "Lists agents with their role, state and load.").AsTool(),
		Op("message_send", "POST /messages", PermitSpeak, Changes, Hub.Send, "Sends a message to an agent or to whoever has a role, and returns the accepted task.").AsTool(),
		Op("task_get", "GET /tasks/{id}", PermitRead, Reads, Hub.Task, "Returns a task and its reply, waiting for its end if asked.").AsTool(),
		Op("task_cancel", "POST /tasks/{id}/cancel", PermitSpeak, Changes, Hub.Cancel, "Cancels a task that has not ended."),
		Op("message_list", "GET /messages", PermitRead, Reads, Hub.Messages, "Lists what was said in a conversation or run, oldest first."),
	}
}
