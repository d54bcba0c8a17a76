package restwire_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/restwire"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func token(context.Context) (string, error) { return goodToken, nil }

func TestUnreachableService(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close() // nobody listens there now
	c := restwire.Dial(restwire.DialOptions{Base: "http://" + address, Token: token})
	_, err = c.Plans().Get(t.Context(), conclave.GetPlan{ID: "p1"})
	if !errors.Is(err, conclave.ErrUnavailable) || !strings.Contains(err.Error(), "plan-management at "+address) {
		t.Errorf("got %v, want ErrUnavailable that names the service and the address", err)
	}
}

func TestResolve(t *testing.T) {
	e := &echo{}
	base := serve(t, e.tables(), "")
	var asked []conclave.Service
	c := restwire.Dial(restwire.DialOptions{Token: token, Resolve: func(s conclave.Service) (string, error) {
		asked = append(asked, s)
		if s == conclave.ServiceHub {
			return "", conclave.Errorf(conclave.ErrUnavailable, "no %s is registered", s)
		}
		return base, nil
	}})
	if _, err := c.Workflows().List(t.Context(), conclave.ListRuns{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Hub().Agents(t.Context(), conclave.ListAgents{}); !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if len(asked) != 2 || asked[0] != conclave.ServiceWorkflow || asked[1] != conclave.ServiceHub {
		t.Errorf("asked for %v", asked)
	}
	if _, err := restwire.Dial(restwire.DialOptions{Token: token}).Plans().List(t.Context(), conclave.ListPlans{}); !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("without an address: %v", err)
	}
}

// The token of a call is made for who is in the call's context.
func TestTokenOfTheCaller(t *testing.T) {
	e := &echo{}
	base := serve(t, e.tables(), "")
	c := restwire.Dial(restwire.DialOptions{Base: base, Token: func(ctx context.Context) (string, error) {
		if conclave.CallerFrom(ctx).Human == "ada" {
			return goodToken, nil
		}
		return "", conclave.Errorf(conclave.ErrDenied, "no token for %q", conclave.CallerFrom(ctx).Human)
	}})
	if _, err := c.Workflows().List(conclave.WithCaller(t.Context(), everything), conclave.ListRuns{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Workflows().List(t.Context(), conclave.ListRuns{}); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("without a caller: %v", err)
	}
	if _, err := restwire.Dial(restwire.DialOptions{Base: base}).Workflows().List(t.Context(), conclave.ListRuns{}); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("without tokens: %v", err)
	}
}

// A call that only reads is given its own time and what wait_ms asks for; one
// that changes something is given what its context gives.
func TestTimeouts(t *testing.T) {
	var deadline time.Duration
	stop := errors.New("stop")
	c := restwire.Dial(restwire.DialOptions{Base: "http://x", Token: token, ReadTimeout: time.Second,
		HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			deadline = 0
			if at, ok := r.Context().Deadline(); ok {
				deadline = time.Until(at).Round(time.Second)
			}
			return nil, stop
		})}})
	ctx := t.Context()
	calls := []struct {
		name string
		call func() error
		want time.Duration
	}{
		{"read", func() error { _, err := c.Workflows().Get(ctx, conclave.GetRun{ID: "r"}); return err }, time.Second},
		{"wait", func() error { _, err := c.Workflows().Get(ctx, conclave.GetRun{ID: "r", Wait: 60000}); return err }, 61 * time.Second},
		{"negative wait", func() error { _, err := c.Hub().Task(ctx, conclave.GetTask{ID: "t", Wait: -5}); return err }, time.Second},
		{"merge", func() error { _, err := c.Worktrees().Merge(ctx, conclave.MergeWorktree{ID: "w"}); return err }, 0},
	}
	for _, tt := range calls {
		if err := tt.call(); !errors.Is(err, stop) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if deadline != tt.want {
			t.Errorf("%s: deadline in %s, want %s", tt.name, deadline, tt.want)
		}
	}
}

func TestSlowServiceTimesOut(t *testing.T) {
	e := &echo{hook: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	base := serve(t, e.tables(), "")
	c := restwire.Dial(restwire.DialOptions{Base: base, Token: token, ReadTimeout: 20 * time.Millisecond})
	if _, err := c.Workflows().List(t.Context(), conclave.ListRuns{}); !errors.Is(err, conclave.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Workflows().List(ctx, conclave.ListRuns{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// What is between the two ends may answer in words of its own.
func TestAnswersOfOthers(t *testing.T) {
	tests := []struct {
		status     int
		kind, body string
		want       error
		says       string
	}{
		{502, "text/html", "<h1>Bad Gateway</h1>", conclave.ErrUnavailable, "Bad Gateway"},
		{503, "text/plain", "", conclave.ErrUnavailable, "503"},
		{404, "application/json", `{"message":"x"}`, conclave.ErrNotFound, "404"},
		{418, "text/plain", "teapot", conclave.ErrInternal, "teapot"},
		{429, "application/problem+json", `{"detail":"slow down"}`, conclave.ErrLimited, "slow down"},
		{500, "application/problem+json", `{"detail":"no","kind":"limited"}`, conclave.ErrLimited, "no"},
		{500, "application/problem+json", `{"detail":"no","kind":"strange"}`, conclave.ErrInternal, "no"},
		{301, "text/plain", "moved", conclave.ErrInternal, "301"},
		{200, "text/html", "<p>hello", conclave.ErrInternal, "reading the answer"},
		{200, "application/json", `{"id":5}`, conclave.ErrInternal, "reading the answer"},
	}
	for _, tt := range tests {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.kind)
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		}))
		_, err := dial(t, s.URL, "").Plans().Get(t.Context(), conclave.GetPlan{ID: "p"})
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%d %s: got %v, want %v with %q", tt.status, tt.body, err, tt.want, tt.says)
		}
		s.Close()
	}
}

// An answer that breaks off is no answer.
func TestBrokenAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(`{"id":"p"`))
	}))
	defer s.Close()
	_, err := dial(t, s.URL, "").Plans().Get(t.Context(), conclave.GetPlan{ID: "p"})
	if !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestIDsThatFitNoPath(t *testing.T) {
	e := &echo{}
	c := dial(t, serve(t, e.tables(), ""), "")
	for _, id := range []conclave.PlanID{"", ".", ".."} {
		if _, err := c.Plans().Get(t.Context(), conclave.GetPlan{ID: id}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []conclave.PlanID{"a/b", "a b?c#d", "%2e%2e", "../x", "ünï", "{id}"} {
		if _, err := c.Plans().Get(t.Context(), conclave.GetPlan{ID: id}); err != nil {
			t.Errorf("%q: %v", id, err)
		}
		if in, _ := e.asked(); in != (conclave.GetPlan{ID: id}) {
			t.Errorf("%q became %+v", id, in)
		}
	}
}

// A bad input keeps the name of the field on the client's side.
func TestBadInputThroughTheClient(t *testing.T) {
	e := &echo{}
	c := dial(t, serve(t, e.tables(), ""), "")
	_, err := c.Workflows().Approve(t.Context(), conclave.Approve{ID: "a1", Decision: "maybe"})
	if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), "decision: ") {
		t.Errorf("got %v", err)
	}
	_, err = c.Hub().Send(t.Context(), conclave.SendMessage{Data: []byte(`{broken`)})
	if !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("broken raw JSON: %v", err)
	}
}
