package bus

import (
	"context"
	"fmt"
	"time"

	"conclave"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// State is what the bus's server holds, read from it.
type State struct {
	Engine  string `json:"engine"`
	Server  string `json:"server"`
	Version string `json:"version,omitempty"`
	Items   []Item `json:"items"`
}

// Item is one key of Redis, partition of a topic of Kafka, or subject of NATS.
type Item struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Ours   bool   `json:"ours"`            // carries this installation's notes
	Length *int64 `json:"length"`          // messages that are kept; null where that has no meaning
	Last   string `json:"last,omitempty"`  // position of the newest message
	Hears  *int64 `json:"hears,omitempty"` // who listens, where the server tells
}

// maxItems bounds how much of a shared server is listed.
const maxItems = 1000

// Inspect asks the server of a bus what it holds. ErrUnsupported when the bus
// has no server, ErrUnavailable when it does not answer.
func (b *Bus) Inspect(ctx context.Context) (State, error) {
	if b.engine == nil {
		return State{}, noServer()
	}
	s, err := b.engine.inspect(ctx)
	if err != nil {
		return s, conclave.Errorf(conclave.ErrUnavailable, "%s at %s: %w", b.name, b.server, err)
	}
	if s.Items == nil {
		s.Items = []Item{}
	}
	return s, nil
}

func noServer() error {
	return conclave.Errorf(conclave.ErrUnsupported, "the bus is memory: it has no server to look at")
}

// Message is what somebody sent on the bus.
type Message struct {
	At       time.Time `json:"at"`                 // when we heard it
	Position string    `json:"position,omitempty"` // on the server
	Text     string    `json:"text"`
}

// Follow calls ready, and then hear with each message that is sent from then on,
// as it stands on the server, until ctx ends.
func (b *Bus) Follow(ctx context.Context, ready func(), hear func(Message)) error {
	say := func(position, text string) { hear(Message{At: time.Now(), Position: position, Text: text}) }
	var err error
	switch e := b.engine.(type) {
	case *redisEngine:
		err = e.follow(ctx, ready, func(id string, text []byte) { say(id, string(text)) })
	case *kafkaEngine:
		err = e.follow(ctx, func(*kgo.Client) { ready() }, func(r *kgo.Record) { say(fmt.Sprintf("%s/%d@%d", r.Topic, r.Partition, r.Offset), string(r.Value)) })
	case *natsEngine:
		err = e.follow(ctx, e.subject, func(*nats.Conn) { ready() }, func(m *nats.Msg) { say(m.Subject, string(m.Data)) })
	default:
		return noServer()
	}
	if ctx.Err() != nil {
		return nil
	}
	return conclave.Errorf(conclave.ErrUnavailable, "%s at %s: %w", b.name, b.server, err)
}
