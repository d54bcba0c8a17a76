package restwire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"conclave"
)

const (
	silence      = 3 * heartbeat // after which a connection is taken for dead
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
	maxLineBytes = 8 << 20
)

// Watch yields events until ctx ends. It returns the error of the first
// connection, if that fails; later it connects again, after the last event that
// it yielded, as long as the failure can pass.
func (e events) Watch(ctx context.Context, f conclave.EventFilter) iter.Seq2[conclave.Event, error] {
	return func(yield func(conclave.Event, error) bool) {
		backoff := time.Duration(0)
		connected := false
		for {
			w := watch{client: e.c, filter: f}
			more, err := w.run(ctx, yield)
			if !more || ctx.Err() != nil {
				return
			}
			connected = connected || w.connected
			if err != nil && (!connected || !passing(err)) {
				yield(conclave.Event{}, err)
				return
			}
			f.After = w.filter.After
			if w.connected {
				backoff = 0
			}
			backoff = min(lastBackoff, max(firstBackoff, 2*backoff))
			if !pause(ctx, backoff) {
				return
			}
		}
	}
}

// passing reports whether an error may be gone at the next try.
func passing(err error) bool {
	return errors.Is(err, conclave.ErrUnavailable) || errors.Is(err, conclave.ErrTimeout) || errors.Is(err, conclave.ErrLimited)
}

// pause waits for half of d to all of it, so that many watchers don't come back
// at once. It returns false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch is one connection to a stream of events.
type watch struct {
	client    *Client
	filter    conclave.EventFilter // After follows what was yielded
	connected bool
}

// run reads events from one connection. It returns false when the reader wants
// no more, and an error unless the server ended the stream.
func (w *watch) run(ctx context.Context, yield func(conclave.Event, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	op := w.client.operations["event_watch"]
	args, err := membersOf(w.filter)
	if err != nil {
		return true, err
	}
	base, err := w.client.address(op.service)
	if err != nil {
		return true, err
	}
	req, err := w.client.request(ctx, base, op, args)
	if err != nil {
		return true, fmt.Errorf("calling %s: %w", op.Name, err)
	}
	req.Header.Set("Accept", "text/event-stream")
	alive := time.AfterFunc(silence, func() {
		cancel(conclave.Errorf(conclave.ErrUnavailable, "%s at %s has been silent for %s", op.service, req.URL.Host, silence))
	})
	defer alive.Stop()
	resp, err := w.client.send(req, op, true)
	if err != nil {
		return true, why(ctx, err)
	}
	defer resp.Body.Close()
	w.connected = true
	more, err = w.read(resp, alive, yield)
	return more, why(ctx, err)
}

// why returns the cause for which a connection was given up, if it was.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, conclave.ErrUnavailable) {
		return cause
	}
	return err
}

// read reads messages in the text/event-stream format. A comment or an empty
// line keeps the connection alive.
func (w *watch) read(resp *http.Response, alive *time.Timer, yield func(conclave.Event, error) bool) (more bool, err error) {
	var data []byte
	kind, id := "", ""
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLineBytes)
	for lines.Scan() {
		alive.Reset(silence)
		if len(lines.Bytes()) > 0 {
			name, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(name) {
			case "data":
				data = append(data, value...)
			case "event":
				kind = string(value)
			case "id":
				id = string(value)
			}
			continue
		}
		if len(data) > 0 {
			if kind == "error" {
				return true, errorOf(http.StatusInternalServerError, problemType, data)
			}
			var event conclave.Event
			if err := json.Unmarshal(data, &event); err != nil {
				return true, conclave.Errorf(conclave.ErrInternal, "reading event %q: %w", id, err)
			}
			if !yield(event, nil) {
				return false, nil
			}
			alive.Reset(silence) // the reader may have taken its time
			w.filter.After = event.Seq
			if seq, err := strconv.ParseInt(id, 10, 64); err == nil {
				w.filter.After = seq
			}
		}
		data, kind, id = nil, "", ""
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.EOF) {
		return true, conclave.Errorf(conclave.ErrUnavailable, "the stream of events broke off: %w", err)
	}
	return true, nil
}
