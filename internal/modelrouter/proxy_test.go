package modelrouter

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"conclave"
	"conclave/internal/llm"
	"conclave/internal/llmtest"
)

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
			path := map[string]string{WireAnthropic: "/v1/messages?beta=true", WireOpenAI: "/v1/chat/completions"}[wire]
			complete := completer(t, wire, f.url)
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
				got = llmtest.Usage{Requests: got.Requests + 1, Input: got.Input + count(c.InputTokens), Output: got.Output + count(c.OutputTokens),
					CacheRead: got.CacheRead + count(c.CacheRead), CacheWrite: got.CacheWrite + count(c.CacheWrite)}
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
	if c := f.ledger.all()[0]; c.CostUSD != nil || count(c.InputTokens) == 0 {
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
	if c := f.ledger.all(); len(c) != 1 || c[0].CostUSD != nil || c[0].InputTokens != nil || c[0].CacheRead != nil {
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

func TestSilenceIsBridged(t *testing.T) {
	for wire, path := range map[string]string{WireAnthropic: "/v1/messages", WireOpenAI: "/v1/chat/completions"} {
		t.Run(wire, func(t *testing.T) {
			text := strings.Repeat("word ", 40)
			hold, gone := make(chan struct{}), make(chan struct{})
			close(gone)
			script := llmtest.Sequence(llmtest.Answer{Text: text, Hold: hold}, llmtest.Answer{Text: text, Hold: gone})
			up := llmtest.New(t, script)
			f := start(t, func(o *Options) { o.KeepAlive = 10 * time.Millisecond }, anthropicUp(up.URL), openaiUp(up.URL))
			body := `{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hello"}]}`
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("x-api-key", token)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			sign := map[string]string{WireAnthropic: "event: ping\ndata: {\"type\": \"ping\"}\n\n", WireOpenAI: ": keep-alive\n\n"}[wire]
			var got strings.Builder
			buffer := make([]byte, 512)
			for strings.Count(got.String(), sign) < 2 {
				n, err := resp.Body.Read(buffer)
				if err != nil {
					t.Fatalf("%v after %q", err, got.String())
				}
				got.Write(buffer[:n])
			}
			close(hold)
			rest, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			got.Write(rest)
			direct, err := http.Post(up.URL+path, "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = direct.Body.Close() }()
			want, err := io.ReadAll(direct.Body)
			if err != nil {
				t.Fatal(err)
			}
			// The endpoint numbers its answers.
			plain := strings.NewReplacer(sign, "", "msg_0", "msg_1", "chatcmpl-0", "chatcmpl-1").Replace(got.String())
			if plain != string(want) {
				t.Errorf("without the signs of life, it is\n%s\nnot\n%s", plain, want)
			}
		})
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
	if c := <-recorded; count(c.InputTokens) != up.Usage().Input || count(c.InputTokens) == 0 {
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
