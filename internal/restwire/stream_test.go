package restwire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/internal/restwire"
)

func eventTable(e conclave.Events) []conclave.Table {
	return []conclave.Table{{Service: conclave.ServiceMonitor, Operations: conclave.EventOperations(), Impl: e}}
}

func TestStreamFormat(t *testing.T) {
	record := newMemEvents()
	for range 4 {
		record.add(conclave.EventRunStarted, "r1")
	}
	base := serve(t, eventTable(record), "")
	tests := []struct {
		name, query, lastID string
		first               string
	}{
		{"from the start", "", "", "id: 1"},
		{"after", "?after=2", "", "id: 3"},
		{"last event id", "", "3", "id: 4"},
		{"the header is newer than the address", "?after=1", "2", "id: 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", base+"/events/watch"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+goodToken)
			if tt.lastID != "" {
				req.Header.Set("Last-Event-ID", tt.lastID)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/event-stream" {
				t.Fatalf("status %d, %s", resp.StatusCode, kind)
			}
			lines := bufio.NewScanner(resp.Body)
			var got []string
			for len(got) < 4 && lines.Scan() {
				got = append(got, lines.Text())
			}
			if len(got) != 4 || got[0] != ": connected" || got[2] != tt.first || !strings.HasPrefix(got[3], `data: {"seq":`+tt.first[4:]) {
				t.Errorf("got %q", got)
			}
		})
	}
	for _, bad := range []struct{ query, lastID string }{{"?after=x", ""}, {"", "x"}, {"?runn=r1", ""}} {
		resp, body := send(t, "GET", base+"/events/watch"+bad.query, "", "Last-Event-ID", bad.lastID)
		if p := problem(t, resp, body); p.Status != 422 {
			t.Errorf("%+v: %+v", bad, p)
		}
	}
	if resp, _ := send(t, "HEAD", base+"/events/watch", ""); resp.StatusCode != 200 {
		t.Errorf("HEAD: %d", resp.StatusCode)
	}
	resp, body := send(t, "GET", base+"/events/watch", "", "Authorization", "Bearer nothing")
	if p := problem(t, resp, body); p.Status != 403 {
		t.Errorf("without the permission: %+v", p)
	}
}

// wire is an HTTP transport in memory, for tests with a clock of their own.
type wire struct {
	mu      sync.Mutex
	handler http.Handler // nil refuses connections
	tries   []time.Time
	silent  bool // accepts, and says nothing
}

func (w *wire) set(h http.Handler, silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler, w.silent = h, silent
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	h, silent := w.handler, w.silent
	w.tries = append(w.tries, time.Now())
	w.mu.Unlock()
	if h == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	ctx, cancel := context.WithCancel(r.Context())
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { writer.CloseWithError(ctx.Err()) })
	pw := &pipeWriter{header: http.Header{}, body: writer, started: make(chan struct{})}
	go func() {
		defer cancel()
		if silent {
			pw.WriteHeader(200)
			<-ctx.Done()
			return
		}
		h.ServeHTTP(pw, r.WithContext(ctx))
		writer.Close()
	}()
	<-pw.started
	return &http.Response{StatusCode: pw.status, Header: pw.header, Body: body{reader, cancel}, Request: r}, nil
}

type body struct {
	io.Reader
	cancel context.CancelFunc
}

func (b body) Close() error { b.cancel(); return nil }

type pipeWriter struct {
	header  http.Header
	body    io.Writer
	status  int
	started chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }
func (w *pipeWriter) Flush()              {}
func (w *pipeWriter) WriteHeader(status int) {
	w.status = status
	close(w.started)
}
func (w *pipeWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(200)
	}
	return w.body.Write(p)
}

func handler(t *testing.T, e conclave.Events) http.Handler {
	t.Helper()
	h, err := restwire.NewHandler(restwire.Options{Tables: eventTable(e), Authenticate: authenticate})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func dialWire(w *wire, token string) *restwire.Client {
	return restwire.Dial(restwire.DialOptions{Base: "http://monitor.test", HTTP: &http.Client{Transport: w},
		Token: func(context.Context) (string, error) { return token, nil }})
}

// An idle stream stays open by heartbeats, for an hour.
func TestHeartbeatsKeepAnIdleStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		record := newMemEvents()
		w := &wire{handler: handler(t, record)}
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Hour) // of the bubble's clock
			record.add(conclave.EventRunStarted, "r1")
		}()
		for event, err := range dialWire(w, goodToken).Events().Watch(ctx, conclave.EventFilter{}) {
			if err != nil || event.Seq != 1 {
				t.Errorf("got %+v, %v", event, err)
			}
			stop()
		}
		stop()
		if len(w.tries) != 1 {
			t.Errorf("connected %d times, want once", len(w.tries))
		}
	})
}

// A reader sees every event once, over restarts, silence and refused connections.
func TestWatchSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		record := newMemEvents()
		record.add(conclave.EventRunStarted, "r1")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		w := &wire{handler: handler(t, &breaking{memEvents: record, after: 1})}
		var seqs []int64
		start := time.Now()
		for event, err := range dialWire(w, goodToken).Events().Watch(ctx, conclave.EventFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			seqs = append(seqs, event.Seq)
			switch event.Seq {
			case 1: // the connection breaks now; then nobody listens for ten minutes
				w.set(nil, false)
				time.AfterFunc(10*time.Minute, func() {
					record.add(conclave.EventRunEnded, "r1")
					w.set(handler(t, &breaking{memEvents: record, after: 1}), false)
				})
			case 2: // then something accepts and stays silent
				w.set(handler(t, record), true)
				time.AfterFunc(10*time.Minute, func() {
					record.add(conclave.EventRunEnded, "r2")
					w.set(handler(t, record), false)
				})
			case 3:
				stop()
			}
		}
		if !slices.Equal(seqs, []int64{1, 2, 3}) {
			t.Errorf("saw %v", seqs)
		}
		if took := time.Since(start); took > 22*time.Minute {
			t.Errorf("it took %s to see what was there after 20 minutes", took)
		}
		if n := len(w.tries); n < 20 || n > 400 {
			t.Errorf("tried %d times in 20 minutes", n)
		}
		for i := 1; i < len(w.tries); i++ {
			if gap := w.tries[i].Sub(w.tries[i-1]); gap < 50*time.Millisecond {
				t.Errorf("try %d came %s after the one before", i, gap)
			}
		}
	})
}

// breaking is a record whose streams end after some events.
type breaking struct {
	memEvents
	after int
}

func (b *breaking) Watch(ctx context.Context, f conclave.EventFilter) iter.Seq2[conclave.Event, error] {
	return func(yield func(conclave.Event, error) bool) {
		n := 0
		for e, err := range b.memEvents.Watch(ctx, f) {
			if n++; !yield(e, err) || n == b.after {
				return
			}
		}
	}
}

// failing is a record that can't be watched.
type failing struct {
	memEvents
	err error
}

func (f failing) Watch(context.Context, conclave.EventFilter) iter.Seq2[conclave.Event, error] {
	return func(yield func(conclave.Event, error) bool) { yield(conclave.Event{}, f.err) }
}

func TestWatchEndsWhenItCanNotGoOn(t *testing.T) {
	tests := []struct {
		name  string
		w     *wire
		token string
		want  error
		says  string
	}{
		{"nobody listens", &wire{}, goodToken, conclave.ErrUnavailable, "agent-monitor at monitor.test"},
		{"wrong token", &wire{handler: handler(t, newMemEvents())}, "wrong", conclave.ErrDenied, "token"},
		{"no permission", &wire{handler: handler(t, newMemEvents())}, "nothing", conclave.ErrDenied, "read"},
		{"the record is broken", &wire{handler: handler(t, failing{err: errors.New("disk is hunter2")})}, goodToken, conclave.ErrInternal, "internal error"},
		{"the record says no", &wire{handler: handler(t, failing{err: conclave.Errorf(conclave.ErrUnsupported, "not here")})}, goodToken, conclave.ErrUnsupported, "not here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var errs []error
			for event, err := range dialWire(tt.w, tt.token).Events().Watch(t.Context(), conclave.EventFilter{}) {
				if err == nil {
					t.Fatalf("got %+v", event)
				}
				errs = append(errs, err)
			}
			if len(errs) != 1 || !errors.Is(errs[0], tt.want) || !strings.Contains(errs[0].Error(), tt.says) {
				t.Errorf("got %v, want one %v with %q", errs, tt.want, tt.says)
			}
		})
	}
}

// A reader that goes away ends the watching on the server, and a connection that
// carried a stream carries calls after it.
func TestStreamEndsOnTheServer(t *testing.T) {
	ended := make(chan struct{})
	base := serve(t, eventTable(&noticing{newMemEvents(), ended}), "")
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/events/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the record is still watched")
	}
}

type noticing struct {
	memEvents
	ended chan struct{}
}

func (n *noticing) Watch(ctx context.Context, f conclave.EventFilter) iter.Seq2[conclave.Event, error] {
	return func(yield func(conclave.Event, error) bool) {
		defer close(n.ended)
		for e, err := range n.memEvents.Watch(ctx, f) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// The real server restarts on the same port, and the reader goes on.
func TestWatchSurvivesARestart(t *testing.T) {
	record := newMemEvents()
	record.add(conclave.EventRunStarted, "r1")
	start := func(address string) *httptest.Server {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler(t, record)}}
		s.Start()
		return s
	}
	server := start("127.0.0.1:0")
	address := server.Listener.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var seqs []int64
	for event, err := range dial(t, "http://"+address, "").Events().Watch(ctx, conclave.EventFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if seqs = append(seqs, event.Seq); len(seqs) == 2 {
			stop()
			continue
		}
		server.CloseClientConnections()
		server.Close()
		record.add(conclave.EventRunEnded, "r1")
		server = start(address)
	}
	server.CloseClientConnections()
	server.Close()
	if fmt.Sprint(seqs) != "[1 2]" {
		t.Errorf("saw %v", seqs)
	}
}
