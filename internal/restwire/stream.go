package restwire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"conclave"
)

const (
	heartbeat    = 15 * time.Second
	writeTimeout = 30 * time.Second // for one event, to a reader that does not read
)

// stream serves the record as server-sent events until the request ends.
func (s *server) stream(in *input, events conclave.Events) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := in.op.Permit(r.Context()); err != nil {
			return err
		}
		arg, err := s.read(in, w, r)
		if err != nil {
			return err
		}
		filter := arg.(conclave.EventFilter)
		if last := r.Header.Get(lastEventHeader); last != "" {
			// A browser that connects again repeats the address it had, so its header is newer.
			if filter.After, err = strconv.ParseInt(last, 10, 64); err != nil {
				return wholeInput(http.StatusUnprocessableEntity, fmt.Sprintf("%s %q is no seq", lastEventHeader, last))
			}
		}
		if r.Method != http.MethodHead { // which would never end
			s.pump(w, r, events, filter)
		}
		return nil
	}
}

type eventOrError struct {
	event conclave.Event
	err   error
}

// pump writes events and heartbeats until the request ends, the record ends, or
// the reader stops reading.
func (s *server) pump(w http.ResponseWriter, r *http.Request, events conclave.Events, filter conclave.EventFilter) {
	ctx, cancel := context.WithCancel(r.Context())
	watched := make(chan eventOrError)
	go func() {
		defer close(watched)
		for event, err := range events.Watch(ctx, filter) {
			select {
			case watched <- eventOrError{event, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range watched { // until the goroutine has ended
		}
	}()

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy must pass each event on at once
	out := sse{w: w, control: http.NewResponseController(w)}
	defer func() { _ = out.control.SetWriteDeadline(time.Time{}) }() // the connection may serve other requests
	if out.comment("connected") != nil {
		return
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err = out.comment("heartbeat")
		case next, ok := <-watched:
			switch {
			case !ok:
				return
			case next.err != nil && ctx.Err() != nil:
				return
			case next.err != nil:
				if conclave.KindOf(next.err) == conclave.ErrInternal {
					s.Logger.ErrorContext(ctx, "watching events", "error", next.err)
				}
				_ = out.message("event: error\n", problemOf(next.err)) // the stream ends in any case
				return
			}
			err = out.message("id: "+strconv.FormatInt(next.event.Seq, 10)+"\n", next.event)
		}
		if err != nil {
			s.Logger.DebugContext(ctx, "event stream ended", "error", err)
			return
		}
	}
}

// sse writes the text/event-stream format of the HTML standard.
type sse struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (o sse) comment(text string) error { return o.write([]byte(": " + text + "\n\n")) }

// message writes one message: its fields, each on a line of its own, and data.
func (o sse) message(fields string, data any) error {
	text, err := json.Marshal(data) // on one line
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	return o.write(bytes.Join([][]byte{[]byte(fields), []byte("data: "), text, []byte("\n\n")}, nil))
}

func (o sse) write(text []byte) error {
	// Not every writer has deadlines; one that has none can't be stopped by a slow reader either.
	_ = o.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := o.w.Write(text); err != nil {
		return fmt.Errorf("writing to an event stream: %w", err)
	}
	if err := o.control.Flush(); err != nil {
		return fmt.Errorf("flushing an event stream: %w", err)
	}
	return nil
}
