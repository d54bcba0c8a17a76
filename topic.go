package conclave

import (
	"context"
	"encoding/json"
	"regexp"
	"time"
)

// Subscription says who gets what is published on a topic.
type Subscription struct {
	Topic      string    `json:"topic"`
	Subscriber string    `json:"subscriber"` // agents/NAME, roles/ROLE, people/NAME or services/NAME
	Declared   bool      `json:"declared"`   // by the agent's file or registration, rather than asked for
	Since      time.Time `json:"since"`
}

// Topic is a name under which messages are published.
type Topic struct {
	Name        string         `json:"name"`
	Published   int            `json:"published"` // how many messages are kept
	Last        time.Time      `json:"last,omitzero"`
	Subscribers []Subscription `json:"subscribers"`
}

// SubscribeTopic makes somebody a subscriber. Again changes nothing.
type SubscribeTopic struct {
	Key        string `json:"idempotency_key,omitempty"`
	Topic      string `json:"topic"`
	Subscriber string `json:"subscriber,omitempty" doc:"agents/NAME or roles/ROLE; the caller when absent"`
	Past       bool   `json:"past,omitempty" doc:"Also what was published before"`
}

// UnsubscribeTopic ends a subscription.
type UnsubscribeTopic struct {
	Key        string `json:"idempotency_key,omitempty"`
	Topic      string `json:"topic"`
	Subscriber string `json:"subscriber,omitempty" doc:"agents/NAME or roles/ROLE; the caller when absent"`
}

// ListTopics chooses topics.
type ListTopics struct {
	Subscriber string `json:"subscriber,omitempty" doc:"Only those that this one gets, as agents/NAME or people/NAME"`
}

// PublishMessage says something to all who subscribed to a topic.
type PublishMessage struct {
	Key   string          `json:"idempotency_key,omitempty" doc:"The same key never publishes twice"`
	Topic string          `json:"topic"`
	Run   RunID           `json:"run,omitempty"`
	Kind  AssignmentKind  `json:"kind,omitempty"`
	Text  string          `json:"text" doc:"What to say, for a person"`
	Data  json.RawMessage `json:"data,omitempty"`
	Call  CallPath        `json:"call,omitzero" doc:"Of an agent: the task that it works on, as the only element tasks/ID of the path"`
}

// ReadTopic chooses what was published on a topic that the caller subscribed to.
type ReadTopic struct {
	Topic string `json:"topic"`
	After string `json:"after,omitempty" doc:"Only what was published after the one with this id"`
	Limit int    `json:"limit,omitempty" doc:"How many at the most, 1 to 1000; 100 when absent"`
}

// BroadcastMessage says something to every agent of a role, or of the tenant.
type BroadcastMessage struct {
	Key          string          `json:"idempotency_key,omitempty" doc:"The same key never says it twice"`
	Role         Role            `json:"role,omitempty" doc:"Only to agents of this role; to all when absent"`
	Exclude      []AgentName     `json:"exclude,omitempty" doc:"Agents to leave out"`
	Conversation ConversationID  `json:"conversation,omitempty"`
	Run          RunID           `json:"run,omitempty"`
	Kind         AssignmentKind  `json:"kind,omitempty"`
	Text         string          `json:"text" doc:"What to say, for a person"`
	Data         json.RawMessage `json:"data,omitempty"`
	Call         CallPath        `json:"call,omitzero" doc:"Of an agent: the task that it works on, as the only element tasks/ID of the path"`
}

// GetPublication names what was said to many, and how long to wait for all answers.
type GetPublication struct {
	ID   string `json:"id"`
	Wait int    `json:"wait_ms,omitempty" doc:"How long to wait until each recipient has answered, in milliseconds, 0 to 60000"`
}

// Recipient is one of those to whom something was said, and what came of it.
type Recipient struct {
	Address string    `json:"address"`            // agents/NAME, roles/ROLE, people/NAME or services/NAME
	Task    TaskID    `json:"task,omitempty"`     // its own
	Agent   AgentName `json:"agent,omitempty"`    // who took it
	State   TaskState `json:"state,omitempty"`    // of the task; empty while there is none
	Text    string    `json:"text,omitempty"`     // the answer
	Error   string    `json:"error,omitempty"`    // why it failed, or was not sent
	Reads   bool      `json:"reads_it,omitempty"` // it is no agent: it reads the topic
}

// Publication is something that was said to many at once.
type Publication struct {
	ID           string          `json:"id"`
	Topic        string          `json:"topic,omitempty"` // empty: a broadcast
	Role         Role            `json:"role,omitempty"`  // of a broadcast
	Conversation ConversationID  `json:"conversation"`
	Run          RunID           `json:"run,omitempty"`
	From         string          `json:"from"`
	Kind         AssignmentKind  `json:"kind,omitempty"`
	Text         string          `json:"text"`
	Data         json.RawMessage `json:"data,omitempty"`
	Sent         time.Time       `json:"sent"`
	Recipients   []Recipient     `json:"recipients"`
}

// Topics is publish and subscribe: each subscriber gets each message once, as a
// task of its own when it is an agent, and to be read when it is not.
type Topics interface {
	// Subscribe makes the caller, an agent or a role a subscriber.
	Subscribe(ctx context.Context, in SubscribeTopic) (Subscription, error)
	// Unsubscribe ends it. ErrNotFound.
	Unsubscribe(ctx context.Context, in UnsubscribeTopic) (Subscription, error)
	// ListTopics lists topics with their subscribers.
	ListTopics(ctx context.Context, in ListTopics) ([]Topic, error)
	// Publish keeps a message and sends it to all subscribers. What Send returns.
	Publish(ctx context.Context, in PublishMessage) (Publication, error)
	// Read lists what was published since the caller subscribed, oldest first.
	// ErrNotFound when they did not.
	Read(ctx context.Context, in ReadTopic) ([]Publication, error)
}

// Broadcasts says something to many at once.
type Broadcasts interface {
	// Broadcast keeps a message and sends it to each agent. ErrNotFound when there
	// is none, and what Send returns.
	Broadcast(ctx context.Context, in BroadcastMessage) (Publication, error)
	// Publication tells what came of a broadcast or a publication. ErrNotFound.
	Publication(ctx context.Context, in GetPublication) (Publication, error)
}

// TopicOperations are those of the a2a-hub service that speak to many.
func TopicOperations() []Operation {
	return []Operation{
		Op("topic_list", "GET /topics", PermitRead, Reads, Topics.ListTopics, "Lists topics with who subscribed to them."),
		Op("topic_subscribe", "POST /topics/{topic}/subscribers", PermitSpeak, Changes, Topics.Subscribe, "Subscribes the caller, an agent or a role to a topic."),
		Op("topic_unsubscribe", "POST /topics/{topic}/unsubscribe", PermitSpeak, Changes, Topics.Unsubscribe, "Ends a subscription."),
		Op("topic_publish", "POST /topics/{topic}/messages", PermitSpeak, Changes, Topics.Publish, "Publishes a message on a topic: each subscriber gets it, agents as a task of their own."),
		Op("topic_read", "GET /topics/{topic}/messages", PermitRead, Reads, Topics.Read, "Lists what was published on a topic since the caller subscribed, oldest first."),
		Op("message_broadcast", "POST /broadcasts", PermitSpeak, Changes, Broadcasts.Broadcast, "Sends a message to every agent of a role, or to all agents."),
		Op("broadcast_get", "GET /broadcasts/{id}", PermitRead, Reads, Broadcasts.Publication, "Tells what came of a broadcast or a published message, agent by agent."),
	}
}

var topicName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)

// CheckTopic returns ErrInvalid unless a name can be a topic's.
func CheckTopic(name string) error {
	if !topicName.MatchString(name) {
		return Errorf(ErrInvalid, "topic %q: want lower-case letters, digits, '.', '_' and '-', at most 100, not starting with a sign", name)
	}
	return nil
}
