package modelrouter

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"conclave/internal/llm"
	"conclave/internal/llmtest"
)

// A client gets the same answer by translation as from a provider of its own
// wire: tools, their results, usage and streams; both clients stream.
func TestAcrossWires(t *testing.T) {
	script := func(c llmtest.Call) llmtest.Answer {
		a := llmtest.Say("It says hello.")
		if len(c.Last().Results) == 0 {
			a = llmtest.Answer{Text: "I look.", Calls: []llmtest.ToolCall{
				{ID: "call_a", Name: "read", Input: json.RawMessage(`{"path":"<a>"}`)}, {ID: "call_b", Name: "read", Input: json.RawMessage(`{"path":"b"}`)}}}
		}
		a.Usage = &llmtest.Usage{Input: 100, Output: 7, CacheRead: 20}
		return a
	}
	for _, client := range []string{WireAnthropic, WireOpenAI} {
		t.Run(client, func(t *testing.T) {
			up := llmtest.New(t, script)
			upstream := openaiUp(up.URL)
			if client == WireOpenAI {
				upstream = anthropicUp(up.URL)
			}
			f := start(t, nil, upstream)
			complete := completer(t, client, f.url)
			r := llm.Request{Model: TierMiddle, System: "Be brief.", Messages: []llm.Message{llm.User("What does it say?")},
				Tools: []llm.Tool{{Name: "read", Description: "reads", Schema: json.RawMessage(`{"type":"object"}`)}}}
			first, err := complete(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if len(first.Calls) != 2 || first.Calls[0].ID != "call_a" || string(first.Calls[0].Input) != `{"path":"<a>"}` || first.Text != "I look." || first.Stop != llm.StopTools {
				t.Fatalf("answer %+v", first)
			}
			if u := first.Usage; u.Input != 100 || u.Output != 7 || u.CacheRead != 20 {
				t.Errorf("usage %+v", u)
			}
			r.Messages = append(r.Messages, first.Message, llm.Results(llm.ToolResult{ID: "call_a", Text: "hello"}, llm.ToolResult{ID: "call_b", Text: "no such file", Error: true}))
			second, err := complete(t.Context(), r)
			if err != nil || second.Text != "It says hello." || second.Stop != llm.StopEnd {
				t.Fatalf("%+v, %v", second, err)
			}
			c := up.Calls()[1]
			if c.Wire == llmtest.Anthropic != (client == WireOpenAI) || c.System != "Be brief." || !c.Has("read") || len(c.Messages) < 3 {
				t.Errorf("the provider saw %+v", c)
			}
			var results int
			for _, m := range c.Messages {
				results += len(m.Results)
			}
			if results != 2 {
				t.Errorf("the provider saw %d results: %s", results, c.Raw)
			}
			want := rulesModel(f, upstream.Wire)
			if all := f.ledger.all(); len(all) != 2 || all[0].Model != want || all[0].Wire != upstream.Wire || count(all[0].InputTokens) != 100 || all[0].CostUSD == nil {
				t.Errorf("recorded %+v", all)
			}
		})
	}
}

func rulesModel(f fixture, wire string) string { return f.router.rules.Tiers[TierMiddle][wire] }

func TestAcrossWiresOnlyWhereNobodyElseServes(t *testing.T) {
	a, o := llmtest.New(t, llmtest.Sequence(llmtest.Say("a"))), llmtest.New(t, llmtest.Sequence(llmtest.Say("o")))
	local := openaiUp(o.URL)
	local.Open, local.Model = true, "llama-9"
	f := start(t, nil, anthropicUp(a.URL), local)
	for model, want := range map[string]string{TierSmall: "a", "claude-opus-5-5": "a", "claude-new": "a", "llama-9": "o"} {
		resp, body := post(t, f.url+"/v1/messages", message(model), "x-api-key", token)
		if resp.StatusCode != 200 || !strings.Contains(body, `"text":"`+want+`"`) {
			t.Errorf("%s: %d %s", model, resp.StatusCode, body)
		}
		if route := resp.Header.Get(HeaderRoute); strings.Contains(route, "translated for openai") != (want == "o") {
			t.Errorf("%s: route %q", model, route)
		}
	}
	// A name that stands for a tier stands for it there, too.
	f = start(t, nil, local)
	if resp, body := post(t, f.url+"/v1/messages", message("claude-opus-5-5"), "x-api-key", token); resp.StatusCode != 200 || !strings.Contains(body, `"model":"llama-9"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	// The caller's own key is for a provider of its own wire.
	before := len(o.Calls())
	if resp, body := post(t, f.url+"/k/"+token+"/v1/messages", message("llama-9"), "x-api-key", own); resp.StatusCode != 503 || len(o.Calls()) != before {
		t.Errorf("own key: %d %s", resp.StatusCode, body)
	}
}

func TestAcrossWiresRefusals(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, nil, openaiUp(up.URL))
	g := start(t, nil, anthropicUp(up.URL))
	for name, tt := range map[string]struct {
		url, body string
		status    int
		says      string
	}{
		"field":     {f.url + "/v1/messages", `{"model":"m","top_k":1,"messages":[{"role":"user","content":"x"}]}`, 400, "top_k can't be translated"},
		"tokens":    {f.url + "/v1/messages/count_tokens", message("m"), 404, "no way to count the tokens"},
		"responses": {g.url + "/v1/responses", `{"model":"m","input":"x"}`, 404, "/v1/chat/completions"},
		"choices":   {g.url + "/v1/chat/completions", `{"model":"m","n":2,"messages":[{"role":"user","content":"x"}]}`, 400, "n can't be translated"},
	} {
		if resp, body := post(t, tt.url, tt.body, "x-api-key", token); resp.StatusCode != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	if len(up.Calls()) != 0 || len(f.ledger.all())+f.ledger.pending()+len(g.ledger.all())+g.ledger.pending() != 0 {
		t.Error("a request that was refused went on, or is in the accounts")
	}
}

func TestAcrossWiresErrorsAndModels(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Fail(404, "no such model")))
	f, g := start(t, nil, openaiUp(up.URL)), start(t, nil, anthropicUp(up.URL))
	if resp, body := post(t, f.url+"/v1/messages", message("m"), "x-api-key", token); resp.StatusCode != 404 || strings.TrimSpace(body) != `{"error":{"message":"no such model","type":"not_found_error"},"type":"error"}` {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := post(t, g.url+"/v1/chat/completions", message("m"), "x-api-key", token); resp.StatusCode != 404 || !strings.Contains(body, `"code":"404","message":"no such model"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for url, tt := range map[string]struct{ version, want string }{f.url: {"2023-06-01", `"display_name":"claude-scripted"`}, g.url: {"", `"object":"model"`}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/models?limit=1000", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-api-key", token)
		if tt.version != "" {
			req.Header.Set("anthropic-version", tt.version)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(all), tt.want) {
			t.Errorf("%d %s, %v", resp.StatusCode, all, err)
		}
		_ = resp.Body.Close()
	}
}

// The Responses API passes as it is, and its usage is read.
func TestResponses(t *testing.T) {
	const stream = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n" +
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":30,\"input_tokens_details\":{\"cached_tokens\":10},\"output_tokens\":4}}}\n\n"
	const whole = `{"object":"response","usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":10},"output_tokens":4}}`
	sent, path := "", ""
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		sent, path = string(raw), r.URL.Path
		if strings.Contains(sent, "stream") {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, stream)
			return
		}
		_, _ = io.WriteString(w, whole)
	}))
	defer up.Close()
	f := start(t, nil, openaiUp(up.URL))
	for body, want := range map[string]string{`{"model":"gpt-6-sol", "input":"x","stream":true}`: stream, `{"input":[],"model":"gpt-6-sol"}`: whole} {
		resp, got := post(t, f.url+"/v1/responses", body, "authorization", "Bearer "+token)
		if resp.StatusCode != 200 || got != want || sent != body || path != "/v1/responses" {
			t.Errorf("%d %s; sent %s to %s", resp.StatusCode, got, sent, path)
		}
	}
	for _, c := range f.ledger.all() {
		if count(c.InputTokens) != 20 || count(c.CacheRead) != 10 || count(c.OutputTokens) != 4 || c.CostUSD == nil {
			t.Errorf("recorded %+v", c)
		}
	}
}
