package modelrouter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"conclave"
	"conclave/internal/llm"
	"conclave/internal/llmtest"
)

const (
	token    = "conclave-token-of-the-user"
	provider = "sk-provider-key"
	own      = "sk-own-key-of-the-user"
)

// ledger is a store in memory.
type ledger struct {
	mu    sync.Mutex
	calls []conclave.ModelCall
	who   []conclave.Caller
}

func (l *ledger) Record(ctx context.Context, c conclave.ModelCall) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
	l.who = append(l.who, conclave.CallerFrom(ctx))
	return nil
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
		*u.InputTokens += c.InputTokens
		*u.OutputTokens += c.OutputTokens
	}
	return u, nil
}

func (l *ledger) all() []conclave.ModelCall {
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
	o := Options{Upstreams: upstreams, Store: f.ledger, Authenticate: authenticate,
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
	f.router, f.url = r, s.URL
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

func TestUsageIsWhatTheEndpointCounted(t *testing.T) {
	script := func(c llmtest.Call) llmtest.Answer {
		a := llmtest.Say("An answer of some length, in several pieces.")
		if c.N == 0 {
			a = llmtest.Use("read", map[string]string{"path": "main.go"})
		}
		a.Usage = &llmtest.Usage{Input: 1000 + int64(c.N), Output: 100, CacheRead: 2000, CacheWrite: 30}
		return a
	}
	for _, wire := range []string{WireAnthropic, WireOpenAI} {
		t.Run(wire, func(t *testing.T) {
			up := llmtest.New(t, script)
			f := start(t, nil, anthropicUp(up.URL), openaiUp(up.URL))
			o := llm.Options{BaseURL: f.url, Key: token}
			var complete func(context.Context, llm.Request) (llm.Response, error)
			path := "/v1/messages?beta=true"
			if wire == WireOpenAI {
				o.BaseURL += "/v1"
				c, err := llm.NewOpenAI(o)
				if err != nil {
					t.Fatal(err)
				}
				complete, path = c.Complete, "/v1/chat/completions"
			} else {
				c, err := llm.NewAnthropic(o)
				if err != nil {
					t.Fatal(err)
				}
				complete = c.Complete
			}
			r, err := complete(t.Context(), llm.Request{Model: TierMiddle, Messages: []llm.Message{llm.User("go")},
				Header: map[string]string{llm.HeaderRun: "run-7", llm.HeaderAgent: "developer-2"}})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Calls) != 1 || string(r.Calls[0].Input) != `{"path":"main.go"}` {
				t.Errorf("answer %+v", r)
			}
			if resp, body := post(t, f.url+path, message("o3"), "x-api-key", token); resp.StatusCode != 200 {
				t.Errorf("whole answer: %d %s", resp.StatusCode, body)
			}
			calls := f.ledger.all()
			if len(calls) != 2 {
				t.Fatalf("%d calls recorded: %+v", len(calls), calls)
			}
			var got llmtest.Usage
			for _, c := range calls {
				got = llmtest.Usage{Requests: got.Requests + 1, Input: got.Input + c.InputTokens, Output: got.Output + c.OutputTokens,
					CacheRead: got.CacheRead + c.CacheRead, CacheWrite: got.CacheWrite + c.CacheWrite}
				if c.Wire != wire || c.Status != 200 || c.Key == "" {
					t.Errorf("call %+v", c)
				}
			}
			if want := up.Usage(); got != want {
				t.Errorf("recorded %+v, the endpoint claimed %+v", got, want)
			}
			if c := calls[0]; c.Run != "run-7" || c.Agent != "developer-2" || f.ledger.who[0].Human != "ada" {
				t.Errorf("account of %+v, called by %+v", c, f.ledger.who[0])
			}
			// Both middle models cost 2 and 10 dollars, and 2.50 to write the cache.
			read := map[string]float64{WireAnthropic: 0.1, WireOpenAI: 0.2}[wire]
			want := (1000*2 + 100*10 + 2000*read + 30*2.5) / 1e6
			if c := calls[0].CostUSD; c == nil || *c-want > 1e-12 || want-*c > 1e-12 {
				t.Errorf("cost %v, want %v", c, want)
			}
			sent := up.Calls()[0]
			for name := range sent.Header {
				if strings.HasPrefix(name, "X-Conclave-") {
					t.Errorf("%s reached the provider", name)
				}
			}
		})
	}
}

func TestUnknownModelHasNoCost(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, nil, anthropicUp(up.URL))
	post(t, f.url+"/v1/messages", message("llama-9"), "x-api-key", token)
	if c := f.ledger.all()[0]; c.CostUSD != nil || c.InputTokens == 0 {
		t.Errorf("%+v", c)
	}
}

// An OpenAI stream tells its usage only when it is asked to, and the router
// does not alter the request: the cost is not known.
func TestStreamWithoutUsageIsNotMeasured(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, nil, openaiUp(up.URL))
	body := `{"model":"o3","stream":true,"messages":[{"role":"user","content":"hello"}]}`
	post(t, f.url+"/v1/chat/completions", body, "authorization", "Bearer "+token)
	if c := f.ledger.all(); len(c) != 1 || c[0].CostUSD != nil || c[0].InputTokens != 0 {
		t.Errorf("%+v", c)
	}
	if got := string(up.Calls()[0].Raw); got != body {
		t.Errorf("the request became %s", got)
	}
}

// space is what JSON allows between its tokens.
func space() *rapid.Generator[string] { return rapid.StringMatching(`[ \t\r\n]{0,3}`) }

// value draws a JSON value as text, with escapes, big numbers and nested objects
// that have a model of their own.
func value(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		plain := []string{`null`, `true`, `-0.0e+10`, `123456789012345678901234567890`, `1.0`, `""`, `"\u0000\ud83d\ude00\/ \"model\": \"claude\""`,
			`"<>&é 世界"`, `"\ud800"`, `{}`, `[ ]`}
		if depth == 0 {
			return rapid.SampledFrom(plain).Draw(t, "plain")
		}
		switch rapid.IntRange(0, 3).Draw(t, "form") {
		case 0:
			return fmt.Sprintf(`{%s"model"%s:%s%s, "messages":%s}`, space().Draw(t, "s"), space().Draw(t, "s"), space().Draw(t, "s"),
				rapid.SampledFrom([]string{`"small"`, `"claude-nested"`, `{"model":"small"}`}).Draw(t, "nested"), value(depth-1).Draw(t, "v"))
		case 1:
			return fmt.Sprintf(`[%s,%s%s]`, value(depth-1).Draw(t, "v"), space().Draw(t, "s"), value(depth-1).Draw(t, "v"))
		case 2:
			b, _ := json.Marshal(rapid.String().Draw(t, "string"))
			return string(b)
		}
		return rapid.SampledFrom(plain).Draw(t, "plain")
	})
}

func TestBodyPassesByteForByte(t *testing.T) {
	var seen []byte
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen, _ = io.ReadAll(r.Body)
		_, _ = w.Write(seen)
	}))
	defer up.Close()
	f := start(t, nil, anthropicUp(up.URL))
	rapid.Check(t, func(t *rapid.T) {
		model := rapid.SampledFrom([]string{"claude-opus-5-5", "weird \"näme\" \\ 世", TierSmall}).Draw(t, "model")
		quoted, _ := json.Marshal(model)
		if model == TierSmall && rapid.Bool().Draw(t, "escaped") {
			quoted = []byte(`"sm\u0061ll"`)
		}
		n := rapid.IntRange(1, 6).Draw(t, "fields")
		place := rapid.IntRange(0, n-1).Draw(t, "place")
		s := func() string { return space().Draw(t, "s") }
		var sent, want strings.Builder
		both := func(text string) { sent.WriteString(text); want.WriteString(text) }
		both(s() + "{")
		for i := range n {
			if i > 0 {
				both(s() + ",")
			}
			key := rapid.SampledFrom([]string{`"system"`, `"Model"`, `"models"`, `""`, `"mod\u0065l2"`, `"messages"`}).Draw(t, "key")
			isModel := i == place || rapid.IntRange(0, 5).Draw(t, "again") == 0
			if isModel {
				key = rapid.SampledFrom([]string{`"model"`, `"mod\u0065l"`}).Draw(t, "spelling")
			}
			both(s() + key + s() + ":" + s())
			switch {
			case !isModel:
				both(value(2).Draw(t, "value"))
			case model == TierSmall:
				sent.Write(quoted)
				want.WriteString(`"claude-haiku-5-5"`)
			default:
				both(string(quoted))
			}
		}
		both(s() + "}" + s())
		resp, body := post(t, f.url+"/v1/messages", sent.String(), "x-api-key", token)
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s for %s", resp.StatusCode, body, sent.String())
		}
		if string(seen) != want.String() {
			t.Fatalf("sent %s\ngot  %s\nwant %s", sent.String(), seen, want.String())
		}
		if body != want.String() {
			t.Fatalf("the answer became %s", body)
		}
	})
}

func TestStreamIsFlushedAsItComes(t *testing.T) {
	hold := make(chan struct{})
	up := llmtest.New(t, llmtest.Sequence(llmtest.Answer{Text: strings.Repeat("word ", 40), Hold: hold}))
	f := start(t, nil, anthropicUp(up.URL))
	body := `{"model":"claude-opus-5-5","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hello"}]}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/v1/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-api-key", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), "text_delta") {
		continue
	}
	if !strings.Contains(lines.Text(), "word") {
		t.Fatalf("the first piece did not come while the rest was held back: %q", lines.Text())
	}
	close(hold)
	last := ""
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if last != `data: {"type":"message_stop"}` {
		t.Errorf("the last line is %q", last)
	}
}

func TestClientThatLeavesEndsTheUpstreamsWork(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Answer{Text: "word", Fault: llmtest.Stall}))
	recorded := make(chan conclave.ModelCall, 1)
	f := start(t, func(o *Options) { o.Store = tell{&ledger{}, recorded} }, anthropicUp(up.URL))
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/messages",
		strings.NewReader(`{"model":"claude-opus-5-5","stream":true,"messages":[{"role":"user","content":"hello"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-api-key", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.ReadFull(resp.Body, make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := up.AwaitLeavers(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if c := <-recorded; c.InputTokens != up.Usage().Input || c.InputTokens == 0 {
		t.Errorf("recorded %+v, the endpoint claimed %+v", c, up.Usage())
	}
}

// tell passes on what is recorded.
type tell struct {
	*ledger
	to chan conclave.ModelCall
}

func (s tell) Record(ctx context.Context, c conclave.ModelCall) error {
	s.to <- c
	return ctx.Err()
}

func TestWhoMayCall(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, nil, anthropicUp(up.URL))
	for name, tt := range map[string]struct {
		path    string
		headers []string
		status  int
		sentKey string // x-api-key that the provider sees
		bearer  string
	}{
		"nothing":             {"/v1/messages", nil, 401, "", ""},
		"api key":             {"/v1/messages", []string{"x-api-key", token}, 200, provider, ""},
		"bearer":              {"/v1/messages", []string{"authorization", "Bearer " + token}, 200, provider, ""},
		"login beside token":  {"/v1/messages", []string{"x-api-key", token, "authorization", "Bearer " + own}, 200, provider, ""},
		"wrong":               {"/v1/messages", []string{"x-api-key", "wrong"}, 403, "", ""},
		"reader":              {"/v1/messages", []string{"x-api-key", "reader"}, 403, "", ""},
		"no database":         {"/v1/messages", []string{"x-api-key", "no database"}, 503, "", ""},
		"path":                {"/k/" + token + "/v1/messages", nil, 200, provider, ""},
		"path, wrong":         {"/k/wrong/v1/messages", nil, 403, "", ""},
		"path, token again":   {"/k/" + token + "/v1/messages", []string{"x-api-key", token}, 200, provider, ""},
		"path and own key":    {"/k/" + token + "/v1/messages?beta=true", []string{"x-api-key", own}, 200, own, ""},
		"path and own login":  {"/k/" + token + "/v1/messages", []string{"authorization", "Bearer " + own}, 200, "", "Bearer " + own},
		"path without a call": {"/k/" + token, nil, 404, "", ""},
		"another path":        {"/v1/files", []string{"x-api-key", token}, 404, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(up.Calls())
			resp, body := post(t, f.url+tt.path, message("claude-opus-5-5"), append(tt.headers, "anthropic-version", "2023-06-01", "anthropic-beta", "b1,b2", "cookie", "session=1")...)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, tt.status, body)
			}
			calls := up.Calls()[before:]
			if tt.status != 200 {
				if len(calls) != 0 {
					t.Error("the provider was asked")
				}
				var e struct {
					Type  string
					Error struct{ Type, Message string }
				}
				if err := json.Unmarshal([]byte(body), &e); err != nil || e.Type != "error" || e.Error.Type == "" || e.Error.Message == "" {
					t.Errorf("not an error of this wire: %s", body)
				}
				return
			}
			h := calls[0].Header
			if h.Get("x-api-key") != tt.sentKey || h.Get("authorization") != tt.bearer {
				t.Errorf("the provider saw x-api-key %q and authorization %q", h.Get("x-api-key"), h.Get("authorization"))
			}
			if h.Get("anthropic-beta") != "b1,b2" || h.Get("cookie") != "" || strings.Contains(calls[0].Path, token) {
				t.Errorf("the provider saw %s with %v", calls[0].Path, h)
			}
			if strings.Contains(tt.path, "beta=true") != strings.Contains(calls[0].Path, "beta=true") {
				t.Errorf("the query became %s", calls[0].Path)
			}
			if !strings.HasPrefix(resp.Header.Get(HeaderRoute), "claude-opus-5-5 (") {
				t.Errorf("route %q", resp.Header.Get(HeaderRoute))
			}
		})
	}
	for _, secret := range []string{token, provider, own} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("%s shows in the log:\n%s", secret, f.log)
		}
	}
}

func TestAgentIsWhoItsTokenSays(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, nil, anthropicUp(up.URL))
	post(t, f.url+"/v1/messages", message("m"), "x-api-key", "developer-1", llm.HeaderAgent, "developer-2")
	if c := f.ledger.all()[0]; c.Agent != "developer-1" {
		t.Errorf("the call went to the account of %s", c.Agent)
	}
}

func TestErrorsPassVerbatim(t *testing.T) {
	raw := `{"type":"error","error":{"type":"invalid_request_error","message":"messages.1: thinking signature <bad> é"},"request_id":"req_1"}`
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("request-id", "req_1")
		w.Header().Set("content-type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, raw)
	}))
	defer up.Close()
	f := start(t, nil, anthropicUp(up.URL))
	resp, body := post(t, f.url+"/v1/messages", message("claude-opus-5-5"), "x-api-key", token)
	if resp.StatusCode != 400 || body != raw || resp.Header.Get("request-id") != "req_1" {
		t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
	}
	if c := f.ledger.all(); len(c) != 1 || c[0].Status != 400 {
		t.Errorf("recorded %+v", c)
	}
}

func TestFallback(t *testing.T) {
	good := llmtest.New(t, llmtest.Sequence(llmtest.Say("from the second")))
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	second := anthropicUp(good.URL)
	second.Name, second.Key, second.Model = "second", "sk-second", "local-model"

	t.Run("overloaded", func(t *testing.T) {
		busy := llmtest.New(t, llmtest.Sequence(llmtest.Fail(529, "overloaded")))
		f := start(t, nil, anthropicUp(busy.URL), second)
		resp, body := post(t, f.url+"/v1/messages", message(TierStrong), "x-api-key", token)
		if resp.StatusCode != 200 || !strings.Contains(body, "from the second") {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		if route := resp.Header.Get(HeaderRoute); !strings.HasPrefix(route, "local-model (tier strong") || !strings.Contains(route, "anthropic answered 529") {
			t.Errorf("route %q", route)
		}
		calls := good.Calls()
		if c := calls[len(calls)-1]; c.Model != "local-model" || c.Header.Get("x-api-key") != "sk-second" {
			t.Errorf("the second provider saw %s with key %s", c.Model, c.Header.Get("x-api-key"))
		}
		if c := f.ledger.all(); len(c) != 2 || c[0].Status != 529 || c[1].Status != 200 {
			t.Errorf("recorded %+v", c)
		}
	})
	t.Run("dead", func(t *testing.T) {
		now := time.Now()
		f := start(t, func(o *Options) { o.Clock = func() time.Time { return now } }, anthropicUp(dead.URL), second)
		for range 2 {
			if resp, body := post(t, f.url+"/v1/messages", message(TierStrong), "x-api-key", token); resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
		}
		if n := strings.Count(f.log.String(), "can't be reached"); n != 1 {
			t.Errorf("the dead provider was asked first %d times", n)
		}
		ups, err := f.router.Upstreams(t.Context(), conclave.None{})
		if err != nil || !strings.Contains(ups[0].Problem, "refused") || ups[1].Problem != "" {
			t.Errorf("upstreams %+v, %v", ups, err)
		}
		if r, err := f.router.Route(t.Context(), conclave.RouteQuery{Kind: conclave.AssignBuild}); err != nil || r.Model != "local-model" {
			t.Errorf("route %+v, %v", r, err)
		}
		now = now.Add(avoidance)
		if ups, _ = f.router.Upstreams(t.Context(), conclave.None{}); ups[0].Problem != "" {
			t.Errorf("it is avoided for ever: %+v", ups[0])
		}
	})
	t.Run("all fail", func(t *testing.T) {
		busy := llmtest.New(t, llmtest.Sequence(llmtest.Fail(500, "mine is the last word")))
		f := start(t, nil, anthropicUp(dead.URL), anthropicUp(busy.URL))
		resp, body := post(t, f.url+"/v1/messages", message("m"), "x-api-key", token)
		if resp.StatusCode != 500 || !strings.Contains(body, "mine is the last word") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	})
	t.Run("never with the caller's own key", func(t *testing.T) {
		busy := llmtest.New(t, llmtest.Sequence(llmtest.Fail(529, "overloaded")))
		f := start(t, nil, anthropicUp(busy.URL), second)
		before := len(good.Calls())
		resp, _ := post(t, f.url+"/k/"+token+"/v1/messages", message("m"), "x-api-key", own)
		if resp.StatusCode != 529 || len(good.Calls()) != before {
			t.Errorf("status %d; the second provider was asked %d times", resp.StatusCode, len(good.Calls())-before)
		}
	})
	t.Run("never after the first byte", func(t *testing.T) {
		cut := llmtest.New(t, llmtest.Sequence(llmtest.Answer{Text: "half", Fault: llmtest.Cut}))
		f := start(t, nil, anthropicUp(cut.URL), second)
		before := len(good.Calls())
		c, err := llm.NewAnthropic(llm.Options{BaseURL: f.url, Key: token, Tries: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Complete(t.Context(), llm.Request{Model: "m", Messages: []llm.Message{llm.User("go")}}); !errors.Is(err, conclave.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		if len(cut.Calls()) != 1 || len(good.Calls()) != before {
			t.Error("the request was sent again")
		}
	})
}

func TestFaultsOfItsOwn(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	silent := llmtest.New(t, llmtest.Sequence(llmtest.Answer{Fault: llmtest.Stall}))
	quick := func(o *Options) { o.Idle = 50 * time.Millisecond }
	big := fmt.Sprintf(`{"model":"m","x":%q}`, strings.Repeat("a", maxBody))
	for name, tt := range map[string]struct {
		upstreams []Upstream
		body      string
		headers   []string
		status    int
		says      string
	}{
		"unreachable":   {[]Upstream{anthropicUp(dead.URL), openaiUp(dead.URL)}, message("m"), nil, 502, "can't be reached"},
		"silent":        {[]Upstream{anthropicUp(silent.URL), openaiUp(silent.URL)}, message("m"), nil, 504, "in time"},
		"none":          {nil, message("m"), nil, 503, "set "},
		"none with key": {[]Upstream{{Name: "a", Wire: WireAnthropic, URL: "http://127.0.0.1:1"}, {Name: "o", Wire: WireOpenAI, URL: "http://127.0.0.1:1"}}, message("m"), nil, 503, "set "},
		"too large":     {nil, big, nil, 413, "33554432 bytes"},
		"no JSON":       {nil, `{"model":"m"`, nil, 400, "JSON"},
		"no object":     {nil, `["model"]`, nil, 400, "object"},
		"no model":      {nil, `{"messages":[]}`, nil, 400, "model is missing"},
		"odd model":     {nil, `{"model":7}`, nil, 400, "not a string"},
		"two objects":   {nil, `{"model":"m"}{"model":"n"}`, nil, 400, "follows"},
		"loop":          {nil, message("m"), []string{"via", "1.1 " + via}, 400, "its own upstream"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, quick, tt.upstreams...)
			for wire, path := range map[string]string{WireAnthropic: "/v1/messages", WireOpenAI: "/v1/chat/completions"} {
				resp, body := post(t, f.url+path, tt.body, append(tt.headers, "x-api-key", token)...)
				if resp.StatusCode != tt.status || !strings.Contains(body, tt.says) {
					t.Errorf("%s: %d %s", wire, resp.StatusCode, body)
				}
				var e struct {
					Type  string
					Error struct{ Type, Message, Code string }
				}
				if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Message == "" || (e.Type == "error") != (wire == WireAnthropic) || (e.Error.Code == "") != (wire == WireAnthropic) {
					t.Errorf("not an error of the %s wire: %s", wire, body)
				}
			}
			if c := f.ledger.all(); len(c) != 0 {
				t.Errorf("recorded %+v", c)
			}
		})
	}
}

func TestOtherPathsOfTheWire(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, nil, anthropicUp(up.URL))
	resp, body := post(t, f.url+"/v1/messages/count_tokens?beta=true", message("small"), "x-api-key", token)
	if resp.StatusCode != 200 || !strings.Contains(body, "input_tokens") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/k/"+token+"/v1/models?limit=1000", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("anthropic-version", "2023-06-01")
	models, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = models.Body.Close() }()
	if all, err := io.ReadAll(models.Body); err != nil || !strings.Contains(string(all), "claude-scripted") {
		t.Errorf("%s, %v", all, err)
	}
	if c := f.ledger.all(); len(c) != 0 {
		t.Errorf("recorded as model calls: %+v", c)
	}
}

func TestBudget(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Answer{Text: "x", Usage: &llmtest.Usage{Input: 60, Output: 40}}))
	f := start(t, nil, anthropicUp(up.URL))
	c, err := llm.NewAnthropic(llm.Options{BaseURL: f.url, Key: token})
	if err != nil {
		t.Fatal(err)
	}
	r := llm.Request{Model: "m", Messages: []llm.Message{llm.User("go")}, Header: map[string]string{llm.HeaderRun: "run-1", llm.HeaderBudget: "150"}}
	for range 2 {
		if _, err := c.Complete(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.Complete(t.Context(), r)
	if !errors.Is(err, conclave.ErrLimited) || !strings.Contains(err.Error(), "spent 200 of its 150 tokens") {
		t.Errorf("error %v", err)
	}
	if n := len(up.Calls()); n != 2 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestAuto(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	now := time.Now()
	f := start(t, func(o *Options) { o.Clock = func() time.Time { return now } }, anthropicUp(up.URL))
	ask := func(length int, tools, session string) string {
		body := fmt.Sprintf(`{"model":"auto","max_tokens":9,"tools":[%s],"messages":[{"role":"user","content":%q}]}`, tools, strings.Repeat("a", length))
		resp, text := post(t, f.url+"/v1/messages", body, "x-api-key", token, "x-claude-code-session-id", session)
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		calls := up.Calls()
		return calls[len(calls)-1].Model
	}
	const tool = `{"name":"read","input_schema":{"type":"object"}}`
	for _, tt := range []struct {
		length      int
		tools, want string
	}{{20, "", "claude-haiku-5-5"}, {20, tool, "claude-sonnet-5-5"}, {3000, "", "claude-sonnet-5-5"}, {9000, tool, "claude-opus-5-5"}} {
		if got := ask(tt.length, tt.tools, ""); got != tt.want {
			t.Errorf("%d characters, tools %q: %s, want %s", tt.length, tt.tools, got, tt.want)
		}
	}
	first := ask(9000, tool, "session-1")
	now = now.Add(warm - time.Second)
	if again := ask(20, "", "session-1"); again != first {
		t.Errorf("a warm session changed from %s to %s", first, again)
	}
	now = now.Add(warm)
	if cold := ask(20, "", "session-1"); cold != "claude-haiku-5-5" {
		t.Errorf("a cold session stays with %s", cold)
	}
}
