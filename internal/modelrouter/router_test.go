package modelrouter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
)

const (
	token    = "conclave-token-of-the-user"
	provider = "sk-provider-key"
	own      = "sk-own-key-of-the-user"
)

// ledger is a store in memory.
type ledger struct {
	mu     sync.Mutex
	open   map[string]conclave.ModelCall
	calls  []conclave.ModelCall
	who    []conclave.Caller
	closed map[conclave.RunID]bool
	settle func(context.Context) error // waits for calls that are being recorded
}

func (l *ledger) Record(ctx context.Context, c conclave.ModelCall) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c.Key)
	l.calls = append(l.calls, c)
	l.who = append(l.who, conclave.CallerFrom(ctx))
	return nil
}

func (l *ledger) Begin(_ context.Context, c conclave.ModelCall) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[string]conclave.ModelCall{}
	}
	if l.closed[c.Run] {
		return conclave.Errorf(conclave.ErrConflict, "run %s has ended", c.Run)
	}
	l.open[c.Key] = c
	return nil
}

func (l *ledger) Close(_ context.Context, in conclave.CloseAccount) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed == nil {
		l.closed = map[conclave.RunID]bool{}
	}
	l.closed[in.Run] = true
	return nil
}

func (l *ledger) Drop(_ context.Context, key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, key)
	return nil
}

func (l *ledger) Spent(_ context.Context, run conclave.RunID) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var spent int64
	for _, c := range slices.AppendSeq(slices.Clone(l.calls), maps.Values(l.open)) {
		if c.Run == run {
			spent += c.Assumed + count(c.InputTokens) + count(c.OutputTokens)
		}
	}
	return spent, nil
}

// pending is how many calls have begun and not ended.
func (l *ledger) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

func (l *ledger) Usage(_ context.Context, in conclave.GetUsage) (conclave.Usage, error) {
	var u conclave.Usage
	for _, c := range l.all() {
		if c.Run != in.Run {
			continue
		}
		if u.ModelCalls == nil {
			u.ModelCalls, u.InputTokens, u.OutputTokens = new(int64), new(int64), new(int64)
		}
		*u.ModelCalls++
		*u.InputTokens += count(c.InputTokens)
		*u.OutputTokens += count(c.OutputTokens)
	}
	return u, nil
}

// count is a figure as a number; one that was not measured counts as none.
func count(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func (l *ledger) all() []conclave.ModelCall {
	if err := l.settle(context.Background()); err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]conclave.ModelCall(nil), l.calls...)
}

func authenticate(_ context.Context, t string) (conclave.Caller, error) {
	c := conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada", Permissions: []conclave.Permission{conclave.PermitRead}}
	switch t {
	case token:
		c.Permissions = append(c.Permissions, conclave.PermitSpeak)
	case "reader":
	case "developer-1":
		c.Agent = "developer-1"
		c.Permissions = append(c.Permissions, conclave.PermitSpeak)
	case "no database":
		return conclave.Caller{}, conclave.Errorf(conclave.ErrUnavailable, "no database")
	default:
		return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "unknown token %s", t)
	}
	return c, nil
}

type fixture struct {
	router *Router
	url    string
	ledger *ledger
	log    *lockedBuffer
}

// lockedBuffer takes what several goroutines log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func start(t testing.TB, change func(*Options), upstreams ...Upstream) fixture {
	t.Helper()
	f := fixture{ledger: &ledger{}, log: &lockedBuffer{}}
	o := Options{Upstreams: upstreams, Store: f.ledger, Authenticate: authenticate, Linger: 50 * time.Millisecond, Backoff: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(r.Handler())
	t.Cleanup(s.Close)
	f.router, f.url, f.ledger.settle = r, s.URL, r.Settle
	return f
}

func anthropicUp(url string) Upstream {
	return Upstream{Name: "anthropic", Wire: WireAnthropic, URL: url, Key: provider}
}

func openaiUp(url string) Upstream {
	return Upstream{Name: "openai", Wire: WireOpenAI, URL: url, Key: provider}
}

// post sends a body with headers given in pairs, and returns the answer. It
// serves tests and properties.
func post(t interface {
	Helper()
	Fatal(...any)
}, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(all)
}

func message(model string) string {
	return fmt.Sprintf(`{"model":%q,"max_tokens":10,"messages":[{"role":"user","content":"hello"}]}`, model)
}
