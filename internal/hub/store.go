package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"conclave"
	"conclave/internal/a2awire"
)

// Store keeps agents, tasks and messages. Each method is one transaction that
// also writes the events it names, and stamps times with the database's clock.
// Ids are made by the hub. Every implementation passes [StoreSuite].
type Store interface {
	// Callees returns the agents that have an address, agents/NAME, roles/ROLE
	// or skills/SKILL, by name, with Active as Agents does.
	Callees(ctx context.Context, tenant conclave.TenantID, address string) ([]conclave.Agent, error)

	// UpsertAgent keeps an agent under (tenant, name) with Seen = now. ErrConflict
	// when [MayReplace] says so. Events: agent.registered when
	// it is new, changed, or live again; agent.lost when State turns from live to
	// lost; none when nothing but Seen changes. When [Wakes] says so, up to
	// Capacity parked deliveries (see Settle) that it may take are enqueued
	// again at once, oldest first. Active is not stored but counted.
	UpsertAgent(ctx context.Context, tenant conclave.TenantID, a conclave.Agent) (conclave.Agent, error)

	// Agents lists the tenant's agents by name. Active is the number of tasks
	// that are working with the agent.
	Agents(ctx context.Context, tenant conclave.TenantID, in conclave.ListAgents) ([]conclave.Agent, error)

	// Accept inserts the task as submitted with epoch 1, its request message, and
	// the job (task, 1) due now. When the tenant has a task with the same From and
	// Key (and Key is not empty), it changes nothing and returns that task with
	// created false. Event: conclave.MessageEvent.
	//
	// A conversation's messages to one agent (To is agents/NAME) have turns: a task
	// gets no job and can't be claimed while an earlier one of them is submitted,
	// or any of them is working. It gets its job when those have ended.
	//
	// When in.Agent is live, has a hand free, and no delivery that it may take
	// waits, a task whose turn it is is claimed for it in the same transaction, as
	// Claim does, and has no job.
	//
	// The task counts for each of in.Budgets, which lowers what its Call may still
	// spend to what is left; ErrLimited when one of them is spent.
	Accept(ctx context.Context, in Accept) (t Task, created bool, err error)

	// Wait returns the task: at once when its state is not seen, or d has passed,
	// else as soon as its state changes. ErrNotFound.
	Wait(ctx context.Context, id conclave.TaskID, seen conclave.TaskState, d time.Duration) (Task, error)

	// RenewAgent is UpsertAgent for an agent that is there. ErrNotFound.
	RenewAgent(ctx context.Context, tenant conclave.TenantID, a conclave.Agent) (conclave.Agent, error)

	// Forget removes an agent, and puts back the tasks that it has in hand as in
	// Settle, due now, not parked. ErrNotFound; ErrConflict for an agent with a
	// Service. Events: agent.lost, and task.changed for what is put back.
	Forget(ctx context.Context, tenant conclave.TenantID, name conclave.AgentName, actor string) (conclave.Agent, error)

	// Waiting returns up to limit submitted tasks that an agent may take (see
	// [MayTake]), the oldest first: at once when there are any, or d has passed, else
	// as soon as there are.
	Waiting(ctx context.Context, tenant conclave.TenantID, a conclave.Agent, limit int, d time.Duration) ([]Task, error)

	// Renew lets a claim count as renewed by d from now. ErrConflict when the
	// task is not working or its epoch is another one; ErrNotFound.
	Renew(ctx context.Context, id conclave.TaskID, epoch int64, d time.Duration) (Task, error)

	// Claim gives a submitted task to an agent: it becomes working with that
	// Agent, its epoch is raised by one, Attempt too, and the claim is kept with
	// the instance and the time. ErrConflict when the task is not submitted or
	// its epoch is another one, or it is not its turn; ErrLimited when the agent
	// already has as many working tasks as its Capacity: then the delivery is
	// parked, with the same epoch, if in.Park says so; ErrNotFound. Event: task.changed.
	Claim(ctx context.Context, in Claim) (Task, error)

	// Settle ends a delivery, or a task that was not delivered. ErrConflict when
	// the task has ended, or its epoch is not in.Epoch (0 stands for any);
	// ErrNotFound.
	//   - State submitted puts it back: no Agent, epoch raised by one, the job
	//     (task, epoch) due after in.After, and parked as in.Parked says.
	//   - State input-required is a rest: Text is the agent's question, and Remote
	//     and AskedBy say who waits for the answer. All else is as in the next case.
	//   - Any other state is final: Text, Reply and Error are kept, and
	//     in.Message is inserted when it is not nil. When the task was working,
	//     the oldest parked delivery that the agent may take (see [MayTake]) is
	//     enqueued again at once with its present epoch, and is no longer parked.
	// Events: task.changed, and message.sent for in.Message.
	Settle(ctx context.Context, in Settle) (Task, error)

	// Answer gives a task that is input-required its asker's next message, which
	// becomes its Request: it is submitted again with its epoch raised by one and
	// the job (task, epoch) due now. A Key that the task has had changes nothing.
	// ErrConflict when the task is in another state; ErrNotFound. Events:
	// message.sent, task.changed.
	Answer(ctx context.Context, in Answer) (Task, error)

	// Tasks lists tasks, the newest update first (ties: the higher id first), with
	// how many there are without Limit and Before.
	Tasks(ctx context.Context, f TaskFilter) (tasks []Task, total int, err error)

	// Queued counts tasks that a filter of Tenant, State, and To or From chooses, up
	// to max.
	Queued(ctx context.Context, f TaskFilter, max int) (int, error)

	// Messages lists the tenant's messages in the order in which they were kept.
	// With a Task in the filter, only that task's.
	Messages(ctx context.Context, f MessageFilter) ([]conclave.Message, error)

	// Refuse writes the event of a refusal.
	Refuse(ctx context.Context, r Refusal) error

	// Sweep renews the claims of in.Instance that are among in.Held, puts back
	// those that are not and that nobody renewed for LooseTTL, or with Start all of
	// them; puts back every other claim that nobody renewed for
	// ClaimTTL, whosever it is; and turns live agents
	// that were not seen for AgentTTL lost. Putting back is as in Settle, due
	// now, not parked. It returns how many claims it put back. When there is
	// nothing to do, it writes nothing. Events: task.changed, agent.lost.
	Sweep(ctx context.Context, in Sweep) (requeued int, err error)
}

// Task is a task as the store keeps it.
type Task struct {
	conclave.Task
	Tenant  conclave.TenantID
	Call    conclave.CallPath     // up to the one who asks, as accepted
	Scopes  []conclave.Permission // of whoever is at the start of the path
	Budgets []Budget              // that it counts for
	Exclude []conclave.AgentName  // agents that a role address must not choose
	Request conclave.Message
	Epoch   int64
	Turn    int64         // its place among the messages of its conversation to one agent; 0: it has none
	Attempt int           // how often it was claimed
	Age     time.Duration // since the last message was accepted, on the database's clock

	TTL         time.Duration       // how long it tries to reach somebody; 0: as long as the hub says
	FirstID     conclave.MessageID  // of the message, when it is sent again after it was a dead letter
	Interactive bool                // its asker can be asked back
	Keys        []string            // of its asker's further messages
	Remote      string              // the agent's own task, when that has asked back
	AskedBy     conclave.AgentName  // who asked back, and gets the answer
	Artifacts   []*a2awire.Artifact // what the agent made, when that is more than Text and Reply
	Said        bool                // the agent answered with a message
	// History is what was said in it, when the store has it at hand. Nil: ask Messages.
	History []conclave.Message `json:"-"`
}

// Accept is a message to keep.
type Accept struct {
	Tenant  conclave.TenantID
	Key     string        // idempotency key, the asker's own
	Task    conclave.Task // State, Created and Updated are the store's
	Request conclave.Message
	Call    conclave.CallPath
	Scopes  []conclave.Permission
	Budgets []Budget
	Exclude []conclave.AgentName
	TTL     time.Duration
	// Interactive says that the asker can be asked back.
	Interactive bool
	// Agent takes the task at once, if it can: see [Store].Accept. Empty: nobody does.
	Agent    conclave.AgentName
	Instance string // the hub that would hold that claim
}

// Refusal is a call that was refused: who wanted what of whom, and why not.
type Refusal struct {
	Tenant       conclave.TenantID
	Kind         conclave.EventKind // empty: conclave.EventCallRefused
	Rule         string             // that it broke: cycle, hops, budget, policy, rate, …
	From, To     string
	Conversation conclave.ConversationID
	Run          conclave.RunID
	Count        int // how many it stands for; 0: itself
	Why          string
}

// Event is the refusal on record.
func (r Refusal) Event() (conclave.Event, error) {
	data, err := json.Marshal(map[string]any{"rule": r.Rule, "to": r.To, "count": max(r.Count, 1)})
	return conclave.Event{Tenant: r.Tenant, Kind: cmp.Or(r.Kind, conclave.EventCallRefused), Actor: r.From, Run: r.Run, Conversation: r.Conversation,
		Subject: r.To, Text: r.Why, Data: data}, err
}

// Claim gives a delivery to an agent.
type Claim struct {
	ID       conclave.TaskID
	Epoch    int64
	Agent    conclave.AgentName
	Instance string        // the hub that holds it
	Ahead    time.Duration // counts as renewed that much later: of a lease that lasts longer than ClaimTTL
	// Park is how long the delivery waits for a wake, at most, when the agent has
	// its hands full. 0: it stays as it is.
	Park time.Duration
}

// Settle says how a delivery ended.
type Settle struct {
	ID      conclave.TaskID
	Epoch   int64
	State   conclave.TaskState
	Text    string
	Reply   json.RawMessage
	Error   string            // the kind of error, a colon, a text: "denied: planner-1 does not vote on its own work"
	Actor   string            // who did it, for the event
	Message *conclave.Message // what the agent said, when it said something
	// What the agent made, when that is more than Text and Reply; whether it
	// answered with a message; its own task, when it asks back.
	Artifacts []*a2awire.Artifact
	Said      bool
	Remote    string
	After     time.Duration // put back: when it is due
	Parked    bool          // put back: nobody can take it now; wake it when somebody can
	Dead      bool          // it reached nobody in its time: its message is kept as a dead letter, where letters are kept
}

// Sweep says what is stale.
type Sweep struct {
	Instance string
	Start    bool              // the instance has just started, so it holds nothing
	Held     []conclave.TaskID // what the instance delivers at this moment
	AgentTTL time.Duration
	ClaimTTL time.Duration
	LooseTTL time.Duration // 0: ClaimTTL
}

// TaskFilter chooses tasks. Zero fields choose all.
type TaskFilter struct {
	Tenant       conclave.TenantID
	From         string
	To           string // the address that was asked
	Agent        conclave.AgentName
	Conversation conclave.ConversationID
	State        conclave.TaskState
	UpdatedAfter time.Time // and at that time
	// Before starts the page after the task with this update and id.
	Before struct {
		Updated time.Time
		ID      conclave.TaskID
	}
	Limit int
}

// MessageFilter chooses messages.
type MessageFilter struct {
	Tenant conclave.TenantID
	Task   conclave.TaskID
	conclave.ListMessages
}
