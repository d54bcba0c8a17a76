package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Note says that an event was committed, or work for a queue. The zero Note says
// that anything may have been.
type Note struct {
	Tenant string   `json:"tenant,omitempty"`
	Seq    int64    `json:"seq,omitempty"`   // of the event; 0 when there is none
	About  []string `json:"about,omitempty"` // ids of what changed: whoever watches one of them looks
}

// message is what one process sends at once.
type message struct {
	From  string `json:"from"` // who, so that it does not listen to itself
	Notes []Note `json:"notes"`
}

// Options of New.
type Options struct {
	// URL says which engine: "memory" (or nothing), "redis://…" or "rediss://…",
	// "kafka://HOST:PORT[,HOST:PORT]/TOPIC", "nats://…" or "tls://…".
	URL string
	// Name tells installations on one server apart; empty means "conclave".
	Name   string
	Logger *slog.Logger // nil discards
}

// Bus tells watchers that something was committed.
type Bus struct {
	engine engine // nil: memory
	id     string
	name   string
	server string
	log    *slog.Logger
	watch  watchers

	mu     sync.Mutex
	lost   error // why the server can't be reached; nil while it can
	waits  []Note
	missed bool                    // notes were dropped since the last that was sent
	hangUp context.CancelCauseFunc // gives the connection up
	bell   chan struct{}

	published, heard, dropped atomic.Int64
}

// errStarting is the state before the first attempt.
var errStarting = errors.New("not connected yet")

// New makes a bus without connecting to anything: Run does. ErrInvalid for a URL
// of another form.
func New(o Options) (*Bus, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" {
		o.Name = "conclave"
	}
	e, err := open(o.URL, o.Name)
	if err != nil {
		return nil, err
	}
	b := &Bus{engine: e, id: rand.Text(), name: "memory", log: o.Logger, watch: watchers{subs: map[string]map[*watcher]struct{}{}}, bell: make(chan struct{}, 1)}
	if e != nil {
		b.name, b.server = e.describe()
		b.lost = errStarting
	}
	return b, nil
}

// Engine is "memory", "redis", "kafka" or "nats".
func (b *Bus) Engine() string { return b.name }

// Server is where the engine is, without secrets; empty for memory.
func (b *Bus) Server() string { return b.server }

// Carries reports whether notes reach other processes now.
func (b *Bus) Carries() bool { return b.engine != nil && b.Health() == nil }

// Health returns nil, or why the bus can't be reached.
func (b *Bus) Health() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// Figures are counts since the start of this process.
type Figures struct {
	Watchers  int   `json:"watchers"`  // that listen now
	Published int64 `json:"published"` // notes of this process
	Heard     int64 `json:"heard"`     // notes of other processes
	Dropped   int64 `json:"dropped"`   // notes that the server did not take
}

// Figures returns the counts.
func (b *Bus) Figures() Figures {
	return Figures{Watchers: b.watch.count(), Published: b.published.Load(), Heard: b.heard.Load(), Dropped: b.dropped.Load()}
}

// Subscribe returns a channel that gets a value soon after something about the
// subject was committed, here or, when the bus carries, elsewhere; several
// changes may make one value. An empty subject hears of all events.
func (b *Bus) Subscribe(subject string) (<-chan struct{}, func()) { return b.watch.add(subject) }

// RingAll wakes every watcher of this process: after a gap in what was heard.
func (b *Bus) RingAll() { b.watch.ring(Note{}) }

// Ring wakes the watchers of this process only.
func (b *Bus) Ring(notes ...Note) {
	for _, n := range notes {
		b.watch.ring(n)
	}
}

// maxWaiting bounds what a slow server makes us keep.
const maxWaiting = 10_000

// Publish wakes the watchers of the notes here, and leaves them to be carried to
// the other processes. It waits for nothing.
func (b *Bus) Publish(notes ...Note) {
	b.Ring(notes...)
	b.published.Add(int64(len(notes)))
	if b.engine == nil {
		return
	}
	b.mu.Lock()
	if b.lost != nil || len(b.waits)+len(notes) > maxWaiting {
		b.missed = true
		b.dropped.Add(int64(len(notes)))
	} else {
		b.waits = append(b.waits, notes...)
	}
	b.mu.Unlock()
	select {
	case b.bell <- struct{}{}:
	default: // it is about to look
	}
}

// Run carries notes until ctx ends, also while there is no server: it looks for
// one until then.
func (b *Bus) Run(ctx context.Context) {
	if b.engine == nil {
		return
	}
	// What was left before the end is sent before the connection goes.
	hearing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { b.listen(hearing) })
	b.send(ctx)
	stop()
	wg.Wait()
}

const (
	firstWait = 50 * time.Millisecond
	longWait  = 5 * time.Second
)

// listen hears what other processes say, and finds the server again for ever.
func (b *Bus) listen(ctx context.Context) {
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, longWait) {
		one, hangUp := context.WithCancelCause(ctx)
		b.mu.Lock()
		b.hangUp = hangUp
		b.mu.Unlock()
		err := b.engine.listen(one, func() {
			if err := b.greet(ctx); err != nil {
				hangUp(err)
				return
			}
			wait = firstWait
			b.found()
		}, b.hear)
		if one.Err() != nil {
			err = context.Cause(one)
		}
		hangUp(nil)
		if ctx.Err() != nil {
			return
		}
		b.lose(err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// greet tells everybody else to look, for notes may have been dropped. It also
// shows that the server takes messages: one whose memory is full still answers.
func (b *Bus) greet(ctx context.Context) error {
	b.mu.Lock()
	b.missed = false
	b.mu.Unlock()
	return b.sendOne(ctx, []Note{{}})
}

// found is called when the server does what it is there for. Everybody here looks.
func (b *Bus) found() {
	b.mu.Lock()
	before := b.lost
	b.lost = nil
	b.mu.Unlock()
	if before == errStarting {
		b.log.Info("the bus is connected", "engine", b.name, "server", b.server)
	} else {
		b.log.Info("the bus is back", "engine", b.name, "server", b.server)
	}
	b.RingAll()
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

// lose notes that the server is gone, and says so once.
func (b *Bus) lose(err error) {
	b.mu.Lock()
	before := b.lost
	b.lost = err
	b.missed = b.missed || len(b.waits) > 0
	b.dropped.Add(int64(len(b.waits)))
	b.waits = nil
	b.mu.Unlock()
	if before == nil || before == errStarting {
		b.log.Warn("the bus can't be reached; nothing is lost, watchers poll meanwhile", "engine", b.name, "server", b.server, "error", err)
	}
}

// hear passes on what another process said.
func (b *Bus) hear(data []byte) {
	var m message
	if json.Unmarshal(data, &m) != nil {
		b.RingAll() // somebody of another version said something
		return
	}
	if m.From == b.id {
		return
	}
	b.heard.Add(int64(len(m.Notes)))
	b.Ring(m.Notes...)
}

// largest is how many notes one message has at most, to stay far below what the
// servers take.
const largest = 1000

// sendLimit bounds how long the server may take for one message.
const sendLimit = 3 * time.Second

// send carries what waits, until ctx ends and nothing waits any more.
func (b *Bus) send(ctx context.Context) {
	last := false
	for {
		if notes := b.take(); len(notes) > 0 {
			if err := b.sendOne(ctx, notes); err != nil {
				b.dropped.Add(int64(len(notes)))
				b.lose(err)
				b.mu.Lock()
				b.missed = true
				b.hangUp(err) // whatever is still heard: listen finds the server again
				b.mu.Unlock()
			}
			continue
		}
		if last {
			return
		}
		select {
		case <-b.bell:
		case <-ctx.Done():
			last = true
		}
	}
}

// take returns what is sent next. What was dropped before makes everybody look.
func (b *Bus) take() []Note {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost != nil {
		return nil
	}
	if b.missed {
		b.dropped.Add(int64(len(b.waits)))
		b.missed, b.waits = false, nil
		return []Note{{}}
	}
	n := min(len(b.waits), largest)
	notes := b.waits[:n:n]
	b.waits = b.waits[n:]
	return notes
}

func (b *Bus) sendOne(ctx context.Context, notes []Note) error {
	data, err := json.Marshal(message{From: b.id, Notes: notes})
	if err != nil {
		return fmt.Errorf("encode notes: %w", err)
	}
	// The last notes before a stop are sent too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendLimit)
	defer cancel()
	return b.engine.publish(ctx, data)
}
