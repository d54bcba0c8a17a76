package modelrouter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/llm"
	"conclave/internal/llmtest"
)

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
	t.Run("never with the caller's own key, dead", func(t *testing.T) {
		f := start(t, nil, anthropicUp(dead.URL), second)
		before := len(good.Calls())
		for range 2 {
			if resp, body := post(t, f.url+"/k/"+token+"/v1/messages", message("m"), "x-api-key", own); resp.StatusCode != 502 {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		}
		if len(good.Calls()) != before {
			t.Error("the second provider saw the caller's key")
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

// A stream that falls silent must not look like one that broke off: that would
// be asked for again at once, to be waited for as long again.
func TestSilentStreamIsATimeout(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Answer{Text: "half of a word", Fault: llmtest.Stall}))
	quick := func(o *Options) { o.Idle = 50 * time.Millisecond }
	f := start(t, quick, anthropicUp(up.URL), openaiUp(up.URL))
	for i, wire := range []string{WireAnthropic, WireOpenAI} {
		if _, err := completer(t, wire, f.url)(t.Context(), llm.Request{Model: "m", Messages: []llm.Message{llm.User("go")}}); !errors.Is(err, conclave.ErrTimeout) {
			t.Errorf("error %v", err)
		}
		if n := len(up.Calls()); n != i+1 {
			t.Errorf("the provider was asked %d times", n-i)
		}
	}
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
		"two objects":   {nil, `{"model":"m"}{"model":"n"}`, nil, 400, "after top-level value"},
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
			asked := 0
			if name == "silent" { // it got the request, and may bill it
				asked = 2
			}
			if c := f.ledger.all(); len(c) != asked || f.ledger.pending() != 0 {
				t.Errorf("recorded %+v, want %d calls", c, asked)
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
