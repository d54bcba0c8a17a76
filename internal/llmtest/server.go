package llmtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a running endpoint.
type Server struct {
	URL string // http://ADDRESS, without /v1

	script Script
	http   *http.Server
	served sync.WaitGroup
	done   chan struct{} // closed by Close: ends what is held back or stalls

	mu    sync.Mutex
	calls []Call
	usage Usage
	gone  chan struct{} // closed and replaced each time that a client left early
	left  int
}

// New starts a server on loopback that ends with the test.
func New(t testing.TB, script Script) *Server {
	t.Helper()
	s, err := Start("127.0.0.1:0", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Serve runs a server on an address until ctx ends.
func Serve(ctx context.Context, addr string, script Script) error {
	s, err := Start(addr, script)
	if err != nil {
		return err
	}
	<-ctx.Done()
	s.Close()
	return nil
}

// Start opens a server on an address; the caller closes it.
func Start(addr string, script Script) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("starting the scripted model endpoint: %w", err)
	}
	s := &Server{URL: "http://" + l.Addr().String(), script: script, done: make(chan struct{}), gone: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/messages", s.answer(anthropicWire{}))
	mux.HandleFunc("POST /v1/messages/count_tokens", s.countTokens)
	mux.HandleFunc("POST /v1/chat/completions", s.answer(openaiWire{}))
	mux.HandleFunc("GET /v1/models", s.models)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.served.Go(func() {
		// Anything but ErrServerClosed shows as refused connections in the test.
		_ = s.http.Serve(l)
	})
	return s, nil
}

// Close ends all answers and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.done:
	default:
		close(s.done)
	}
	s.mu.Unlock()
	_ = s.http.Close()
	s.served.Wait()
}

// Calls returns the requests so far, in order.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Usage returns what was claimed so far: what reached the wire, so that a cut
// answer counts as far as it came.
func (s *Server) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}

// AwaitLeavers waits until n clients have gone before their answer ended.
func (s *Server) AwaitLeavers(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		left, gone := s.left, s.gone
		s.mu.Unlock()
		if left >= n {
			return nil
		}
		select {
		case <-gone:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d clients left: %w", left, n, ctx.Err())
		}
	}
}

func (s *Server) claim(u Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage.add(u)
}

// hold waits for a channel, the client or the server; it reports whether the
// answer should go on.
func (s *Server) hold(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-s.done:
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.left++
		close(s.gone)
		s.gone = make(chan struct{})
	}
	return false
}

// A wire is one provider's form of requests and answers.
type wire interface {
	decode(raw []byte) (Call, error)
	// whole is the answer as one document.
	whole(c Call, a Answer, u Usage) any
	// events is the answer as a stream: the pieces up to and including the first
	// delta, then the rest. Claims says what each part makes known of the usage.
	events(c Call, a Answer, u Usage) (first, rest []string, claims [2]Usage)
	fault(status int, message string) any
}

func (s *Server) answer(w wire) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		c, err := w.decode(raw)
		if err != nil {
			writeJSON(rw, http.StatusBadRequest, w.fault(http.StatusBadRequest, err.Error()))
			return
		}
		c.Raw, c.Path, c.Header = raw, r.URL.RequestURI(), r.Header.Clone()
		s.mu.Lock()
		c.N = len(s.calls)
		s.calls = append(s.calls, c)
		s.mu.Unlock()

		a := s.script(c)
		for i := range a.Calls {
			if a.Calls[i].ID == "" {
				a.Calls[i].ID = fmt.Sprintf("call_%d_%d", c.N, i)
			}
		}
		u := count(c, a)
		switch {
		case a.Status != 0 && a.Status != http.StatusOK:
			if a.RetryAfter > 0 {
				rw.Header().Set("retry-after-ms", strconv.FormatInt(a.RetryAfter.Milliseconds(), 10))
				rw.Header().Set("retry-after", strconv.Itoa(int(a.RetryAfter.Seconds())))
			}
			writeJSON(rw, a.Status, w.fault(a.Status, a.Text))
		case a.Fault == Garbage && !c.Stream:
			rw.Header().Set("content-type", "application/json")
			_, _ = io.WriteString(rw, `{"id": 7, "content": [{"ty`)
		case c.Stream:
			s.stream(rw, r, w, c, a, u)
		default:
			s.document(rw, r, w, c, a, u)
		}
	}
}

func (s *Server) document(rw http.ResponseWriter, r *http.Request, w wire, c Call, a Answer, u Usage) {
	switch {
	case a.Fault == Stall:
		s.hold(r.Context(), nil)
		return
	case a.Hold != nil && !s.hold(r.Context(), a.Hold):
		return
	case a.Fault == Cut:
		rw.Header().Set("content-length", "4096")
		_, _ = io.WriteString(rw, `{"id":`)
		panic(http.ErrAbortHandler)
	}
	s.claim(u)
	writeJSON(rw, http.StatusOK, w.whole(c, a, u))
}

func (s *Server) stream(rw http.ResponseWriter, r *http.Request, w wire, c Call, a Answer, u Usage) {
	rw.Header().Set("content-type", "text/event-stream; charset=utf-8")
	rw.Header().Set("cache-control", "no-cache")
	out := http.NewResponseController(rw)
	first, rest, claims := w.events(c, a, u)
	send := func(parts []string, claim Usage) {
		s.claim(claim)
		for _, p := range parts {
			_, _ = io.WriteString(rw, p)
			// A client that has gone shows in the next hold or at the end.
			_ = out.Flush()
		}
	}
	send(first, claims[0])
	switch a.Fault {
	case Stall:
		s.hold(r.Context(), nil)
		return
	case Cut:
		panic(http.ErrAbortHandler)
	case Garbage:
		send([]string{"event: content_block_delta\ndata: {\"type\":\"content_bl\n\n"}, Usage{})
		return
	}
	if a.Hold != nil && !s.hold(r.Context(), a.Hold) {
		return
	}
	send(rest, claims[1])
}

func (s *Server) countTokens(rw http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if _, err := (anthropicWire{}).decode(raw); err != nil {
		writeJSON(rw, http.StatusBadRequest, anthropicWire{}.fault(http.StatusBadRequest, err.Error()))
		return
	}
	writeJSON(rw, http.StatusOK, map[string]any{"input_tokens": tokens(string(raw))})
}

func (s *Server) models(rw http.ResponseWriter, r *http.Request) {
	writeJSON(rw, http.StatusOK, map[string]any{
		"object": "list", "has_more": false, "first_id": "claude-scripted", "last_id": "claude-scripted",
		"data": []any{map[string]any{"type": "model", "object": "model", "id": "claude-scripted",
			"display_name": "Scripted", "created_at": "2026-01-01T00:00:00Z", "created": 1767225600, "owned_by": "llmtest"}},
	})
}

func writeJSON(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("content-type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(v)
}

// count is the endpoint's claim: a token for each four bytes.
func count(c Call, a Answer) Usage {
	if a.Usage != nil {
		u := *a.Usage
		u.Requests = 1
		return u
	}
	out := a.Text + a.Thinking
	for _, call := range a.Calls {
		out += call.Name + string(call.Input)
	}
	return Usage{Requests: 1, Input: tokens(string(c.Raw)), Output: tokens(out)}
}

func tokens(s string) int64 { return int64(len(s)/4) + 1 }

// pieces cuts s into a few parts at rune boundaries, so that clients must join
// what a stream takes apart.
func pieces(s string) []string {
	const size = 24
	var parts []string
	for part := range slices.Chunk([]rune(s), size) {
		parts = append(parts, string(part))
	}
	return parts
}

// texts joins content that is a string or an array of text blocks.
func texts(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, nil
	}
	var blocks []struct{ Type, Text string }
	if err := json.Unmarshal(raw, &blocks); err != nil {
		return "", errors.New("content is neither a string nor an array of blocks")
	}
	var all []string
	for _, b := range blocks {
		if b.Text != "" {
			all = append(all, b.Text)
		}
	}
	return strings.Join(all, "\n"), nil
}
