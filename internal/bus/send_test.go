package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wire is a server whose taking of messages a test can hold up and break.
type wire struct {
	mu       sync.Mutex
	broken   error
	hold     chan struct{} // is taken from for each message after the greeting; closed: nothing is held up
	greeted  bool
	sent     chan message
	attempts int
}

func (w *wire) describe() (string, string) { return "wire", "here" }

func (w *wire) publish(ctx context.Context, data []byte) error {
	w.mu.Lock()
	greeting := !w.greeted
	w.greeted = true
	w.mu.Unlock()
	if !greeting {
		select {
		case <-w.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	w.sent <- m
	return nil
}

func (w *wire) listen(ctx context.Context, ready func(), _ func([]byte)) error {
	w.mu.Lock()
	w.attempts++
	w.mu.Unlock()
	ready()
	<-ctx.Done()
	return ctx.Err()
}

func (w *wire) inspect(context.Context) (State, error) { return State{}, nil }

func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = err
}

// onWire runs a bus on a wire.
func onWire(t *testing.T, w *wire, log io.Writer) *Bus {
	t.Helper()
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.engine, b.lost, b.log = w, errStarting, slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	await(t, "the bus is connected", func() bool { return b.Health() == nil })
	if greeting := w.next(t); !everything(greeting) {
		t.Fatalf("the greeting is %v", greeting)
	}
	return b
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	limit := time.After(time.Minute)
	for !is() {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("after a minute it is not so that %s", what)
		}
	}
}

// next returns the notes of the message that is sent next.
func (w *wire) next(t *testing.T) []Note {
	t.Helper()
	select {
	case m := <-w.sent:
		return m.Notes
	case <-time.After(time.Minute):
		t.Fatal("nothing is sent")
		return nil
	}
}

func everything(notes []Note) bool {
	return len(notes) == 1 && notes[0].Seq == 0 && len(notes[0].About) == 0
}

// What waits goes out together; what is too much makes everybody look instead.
func TestSlowServer(t *testing.T) {
	w := &wire{hold: make(chan struct{}), sent: make(chan message, 100)}
	b := onWire(t, w, io.Discard)
	b.Publish(Note{Seq: 1, About: []string{"run-1"}}) // is held up
	await(t, "the first note is on its way", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.waits) == 0
	})
	for i := range 10 {
		b.Publish(Note{Seq: int64(i + 2), About: []string{fmt.Sprint("run-", i)}})
	}
	close(w.hold)
	if first, rest := w.next(t), w.next(t); len(first) != 1 || len(rest) != 10 || rest[9].Seq != 11 {
		t.Errorf("sent were %d and then %d notes: %v", len(first), len(rest), rest)
	}

	full := &wire{hold: make(chan struct{}), sent: make(chan message, 100)}
	b = onWire(t, full, io.Discard)
	for i := range maxWaiting + 2*largest { // of which one message may be on its way
		b.Publish(Note{Seq: int64(i + 1), About: []string{"run-1"}})
	}
	close(full.hold)
	notes := full.next(t)
	if !everything(notes) {
		notes = full.next(t)
	}
	if !everything(notes) {
		t.Errorf("after too many, %d notes are sent, not one that makes everybody look", len(notes))
	}
	if b.Figures().Dropped == 0 {
		t.Error("nothing is counted as dropped")
	}
}

// A server that still talks but takes nothing is given up, and found again.
func TestServerThatTakesNothing(t *testing.T) {
	w := &wire{hold: make(chan struct{}), sent: make(chan message, 100)}
	close(w.hold)
	var log lines
	b := onWire(t, w, &log)
	w.fail(errors.New("out of memory"))
	b.Publish(Note{Seq: 1, About: []string{"run-1"}})
	await(t, "it was given up", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.attempts > 3
	})
	w.fail(nil)
	if notes := w.next(t); !everything(notes) {
		t.Errorf("what is sent first after a gap is %v", notes)
	}
	await(t, "the bus is well", func() bool { return b.Health() == nil })
	b.Publish(Note{Seq: 2, About: []string{"run-2"}})
	if notes := w.next(t); len(notes) != 1 || notes[0].Seq != 2 {
		t.Errorf("then %v is sent", notes)
	}
	if n := log.n.Load(); n != 3 {
		t.Errorf("the log has %d lines, not one each for the connection, its loss and the end of that", n)
	}
}

// lines counts the lines of a log.
type lines struct{ n atomic.Int64 }

func (l *lines) Write(p []byte) (int, error) {
	l.n.Add(1)
	return len(p), nil
}
