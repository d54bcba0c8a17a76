package modelwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"pgregory.net/rapid"

	"conclave"
)

// text draws what models and people write, with what JSON and HTML escape.
func text() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringMatching(`[a-z <>&"\\\n]{1,40}`), rapid.SampledFrom([]string{"é 世界 🙂", "data: x\n\nevent: y", "\u2028"}))
}

func arguments() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "empty") {
			return "{}"
		}
		return string(must(json.Marshal(map[string]any{text().Draw(t, "key"): []any{text().Draw(t, "value"), 12345678901.0, nil}})))
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// spoken is a conversation in no wire's form: what a translation must keep.
type spoken struct {
	System []string
	Turns  []turn
	Tools  []string
}

type turn struct {
	Role    string
	Texts   string
	Images  []string
	Calls   [][3]string // id, name, arguments
	Results [][2]string // id, text
}

// conversation draws a Messages request beside what it says.
func conversation(t *rapid.T) ([]byte, spoken) {
	var s spoken
	body := map[string]any{"model": "m", "max_tokens": 9}
	if rapid.Bool().Draw(t, "system") {
		s.System = []string{text().Draw(t, "s")}
		body["system"] = []any{map[string]any{"type": "text", "text": s.System[0], "cache_control": map[string]any{"type": "ephemeral"}}}
	}
	var tools []any
	for i := range rapid.IntRange(0, 3).Draw(t, "tools") {
		name := fmt.Sprintf("tool_%d", i)
		s.Tools = append(s.Tools, name)
		tools = append(tools, map[string]any{"name": name, "description": text().Draw(t, "d"), "input_schema": map[string]any{"type": "object"}})
	}
	if tools != nil {
		body["tools"] = tools
	}
	var messages []any
	add := func(role string, u turn, blocks []any) {
		u.Role = role
		s.Turns = append(s.Turns, u)
		messages = append(messages, map[string]any{"role": role, "content": blocks})
	}
	say := func(u *turn) any {
		u.Texts = text().Draw(t, "text")
		return map[string]any{"type": "text", "text": u.Texts}
	}
	var u turn
	add("user", u, []any{say(&u)})
	s.Turns[0] = turn{Role: "user", Texts: u.Texts}
	for n := range rapid.IntRange(0, 3).Draw(t, "rounds") {
		var a, r turn
		said := []any{map[string]any{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, say(&a)}
		var results []any
		for i := range rapid.IntRange(1, 3).Draw(t, "calls") {
			id, args, result := fmt.Sprintf("toolu_%d_%d", n, i), arguments().Draw(t, "args"), text().Draw(t, "result")
			a.Calls = append(a.Calls, [3]string{id, "tool_0", args})
			said = append(said, map[string]any{"type": "tool_use", "id": id, "name": "tool_0", "input": json.RawMessage(args)})
			r.Results = append(r.Results, [2]string{id, result})
			results = append(results, map[string]any{"type": "tool_result", "tool_use_id": id, "content": []any{map[string]any{"type": "text", "text": result}}})
		}
		add("assistant", a, said)
		add("user", r, results)
		if rapid.Bool().Draw(t, "image") {
			p := turn{Images: []string{"data:image/png;base64,aGk="}}
			block := say(&p)
			add("user", p, []any{block, map[string]any{"type": "image", "source": map[string]any{"type": "base64", "media_type": "image/png", "data": "aGk="}}})
		}
	}
	body["messages"] = messages
	return must(json.Marshal(body)), s
}

// heardOpenAI reads a request for chat completions.
func heardOpenAI(t *rapid.T, raw []byte) spoken {
	var body struct {
		Messages []struct {
			Role    string
			Content json.RawMessage
			ID      string `json:"tool_call_id"`
			Calls   []call `json:"tool_calls"`
		}
		Tools []struct{ Function struct{ Name string } }
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatal(err)
	}
	var s spoken
	for _, m := range body.Messages {
		var plain string
		u := turn{Role: m.Role}
		if json.Unmarshal(m.Content, &plain) != nil {
			var parts []struct {
				Text  string
				Image struct{ URL string } `json:"image_url"`
			}
			if err := json.Unmarshal(m.Content, &parts); err != nil {
				t.Fatalf("content %s", m.Content)
			}
			for _, p := range parts {
				plain += p.Text
				if p.Image.URL != "" {
					u.Images = append(u.Images, p.Image.URL)
				}
			}
		}
		switch m.Role {
		case "system":
			s.System = append(s.System, plain)
			continue
		case "tool":
			last := &s.Turns[len(s.Turns)-1]
			if last.Results == nil {
				s.Turns = append(s.Turns, turn{Role: "user"})
				last = &s.Turns[len(s.Turns)-1]
			}
			last.Results = append(last.Results, [2]string{m.ID, plain})
			continue
		}
		u.Texts = plain
		for _, c := range m.Calls {
			u.Calls = append(u.Calls, [3]string{c.ID, c.Function.Name, c.Function.Arguments})
		}
		s.Turns = append(s.Turns, u)
	}
	for _, tool := range body.Tools {
		s.Tools = append(s.Tools, tool.Function.Name)
	}
	return s
}

// heardAnthropic reads a Messages request.
func heardAnthropic(t *rapid.T, raw []byte) spoken {
	var body struct {
		System   []struct{ Text string }
		Messages []struct {
			Role    string
			Content []struct {
				Type, Text, ID, Name string
				Input                json.RawMessage
				ToolUseID            string `json:"tool_use_id"`
				Content              []struct{ Text string }
				Source               struct {
					Media string `json:"media_type"`
					Data  string
				}
			}
		}
		Tools []struct{ Name string }
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatal(err)
	}
	var s spoken
	for _, b := range body.System {
		s.System = append(s.System, b.Text)
	}
	for _, m := range body.Messages {
		u := turn{Role: m.Role}
		for _, b := range m.Content {
			switch b.Type {
			case "text":
				u.Texts += b.Text
			case "image":
				u.Images = append(u.Images, "data:"+b.Source.Media+";base64,"+b.Source.Data)
			case "tool_use":
				u.Calls = append(u.Calls, [3]string{b.ID, b.Name, string(b.Input)})
			case "tool_result":
				u.Results = append(u.Results, [2]string{b.ToolUseID, b.Content[0].Text})
			}
		}
		s.Turns = append(s.Turns, u)
	}
	for _, tool := range body.Tools {
		s.Tools = append(s.Tools, tool.Name)
	}
	return s
}

// litellm #25321 and its like: a translation that drops an argument, a message
// or an id.
func TestRequestsKeepEveryMessageToolAndID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body, want := conversation(t)
		there, err := ToOpenAI(body, "gpt")
		if err != nil {
			t.Fatalf("%v for %s", err, body)
		}
		// encoding/json of the test escapes what the translation leaves alone.
		same := func(a, b spoken) bool { return reflect.DeepEqual(normal(a), normal(b)) }
		if got := heardOpenAI(t, there); !same(got, want) {
			t.Fatalf("\ngot  %+v\nwant %+v\nof %s", got, want, there)
		}
		back, err := ToAnthropic(there, "claude")
		if err != nil {
			t.Fatalf("%v for %s", err, there)
		}
		if got := heardAnthropic(t, back); !same(got, want) {
			t.Fatalf("back:\ngot  %+v\nwant %+v\nof %s", got, want, back)
		}
	})
}

// normal has each call's arguments in one spelling.
func normal(s spoken) spoken {
	turns := append([]turn(nil), s.Turns...)
	for i, u := range turns {
		calls := append([][3]string(nil), u.Calls...)
		for j := range calls {
			var v any
			if err := json.Unmarshal([]byte(calls[j][2]), &v); err != nil {
				panic(err)
			}
			calls[j][2] = string(must(json.Marshal(v)))
		}
		turns[i].Calls = calls
	}
	s.Turns = turns
	return s
}

// reply is an answer in no wire's form.
type reply struct {
	Text  string
	Calls [][3]string
	Stop  string
}

func drawReply(t *rapid.T) reply {
	r := reply{Stop: "end"}
	for i := range rapid.IntRange(0, 3).Draw(t, "calls") {
		r.Calls = append(r.Calls, [3]string{fmt.Sprintf("call_%d", i), "tool", arguments().Draw(t, "args")})
		r.Stop = "tools"
	}
	if r.Calls == nil || rapid.Bool().Draw(t, "says") {
		r.Text = text().Draw(t, "text")
	}
	if r.Calls == nil && rapid.Bool().Draw(t, "cut") {
		r.Stop = "length"
	}
	return r
}

func cutUp(t *rapid.T, s string) []string {
	var parts []string
	for runes := []rune(s); len(runes) > 0; {
		n := rapid.IntRange(1, len(runes)).Draw(t, "cut")
		parts, runes = append(parts, string(runes[:n])), runes[n:]
	}
	return parts
}

func TestAnswersFromOpenAI(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawReply(t)
		finish := map[string]string{"end": "stop", "tools": "tool_calls", "length": "length"}[r.Stop]
		usage := map[string]any{"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34, "prompt_tokens_details": map[string]any{"cached_tokens": 10}}
		head := func(kind string, choice map[string]any) map[string]any {
			return map[string]any{"id": "chatcmpl-1", "object": kind, "created": 1, "model": "gpt", "choices": []any{choice}}
		}
		tool := func(i int, c [3]string, args string) map[string]any {
			return map[string]any{"index": i, "id": c[0], "type": "function", "function": map[string]any{"name": c[1], "arguments": args}}
		}
		message := map[string]any{"role": "assistant", "content": r.Text}
		var all []any
		for i, c := range r.Calls {
			all = append(all, tool(i, c, c[2]))
		}
		message["tool_calls"] = all
		doc := head("chat.completion", map[string]any{"index": 0, "message": message, "finish_reason": finish})
		doc["usage"] = usage
		whole, err := AnthropicAnswer(must(json.Marshal(doc)))
		if err != nil {
			t.Fatal(err)
		}
		var want anthropic.Message
		if err := json.Unmarshal(whole, &want); err != nil {
			t.Fatal(err)
		}

		var sse strings.Builder
		chunk := func(v any) { fmt.Fprintf(&sse, "data: %s\n\n", must(json.Marshal(v))) }
		delta := func(d map[string]any, reason any) {
			chunk(head("chat.completion.chunk", map[string]any{"index": 0, "delta": d, "finish_reason": reason}))
		}
		delta(map[string]any{"role": "assistant", "content": ""}, nil)
		for _, p := range cutUp(t, r.Text) {
			delta(map[string]any{"content": p}, nil)
		}
		// The pieces of parallel calls may come mixed.
		left := make([][]string, len(r.Calls))
		for i, c := range r.Calls {
			delta(map[string]any{"tool_calls": []any{tool(i, c, "")}}, nil)
			left[i] = cutUp(t, c[2])
		}
		for open := len(left); open > 0; {
			i := rapid.IntRange(0, len(left)-1).Draw(t, "next")
			if len(left[i]) == 0 {
				i = firstLeft(left)
			}
			delta(map[string]any{"tool_calls": []any{map[string]any{"index": i, "function": map[string]any{"arguments": left[i][0]}}}}, nil)
			if left[i] = left[i][1:]; len(left[i]) == 0 {
				open--
			}
		}
		delta(map[string]any{}, finish)
		chunk(map[string]any{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": []any{}, "usage": usage})
		if rapid.Bool().Draw(t, "done") {
			sse.WriteString("data: [DONE]\n\n")
		}
		events, err := io.ReadAll(AnthropicStream(io.NopCloser(strings.NewReader(sse.String()))))
		if err != nil {
			t.Fatal(err)
		}
		var got anthropic.Message
		for _, data := range dataOf(events) {
			var e anthropic.MessageStreamEventUnion
			if err := json.Unmarshal(data, &e); err != nil {
				t.Fatal(err)
			}
			if err := got.Accumulate(e); err != nil {
				t.Fatalf("%v at %s in %s", err, data, events)
			}
		}
		if a, b := readMessage(got), readMessage(want); !reflect.DeepEqual(a, b) {
			t.Fatalf("\nstream %+v\nwhole  %+v\nof %s", a, b, events)
		}
		if m := readMessage(want); m.Text != r.Text || len(m.Calls) != len(r.Calls) || m.Stop != map[string]string{"end": "end_turn", "tools": "tool_use", "length": "max_tokens"}[r.Stop] || m.Usage != (anthropicUsage{Input: 20, CacheRead: 10, Output: 4}) {
			t.Fatalf("%+v became %+v", r, m)
		}
	})
}

func firstLeft(left [][]string) int {
	for i := range left {
		if len(left[i]) > 0 {
			return i
		}
	}
	return 0
}

func dataOf(events []byte) [][]byte {
	var all [][]byte
	for line := range bytes.Lines(events) {
		if data, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data: ")); ok {
			all = append(all, data)
		}
	}
	return all
}

type read struct {
	ID, Model, Text, Stop string
	Calls                 [][3]string
	Usage                 anthropicUsage
}

func readMessage(m anthropic.Message) read {
	r := read{ID: m.ID, Model: string(m.Model), Stop: string(m.StopReason),
		Usage: anthropicUsage{Input: m.Usage.InputTokens, Output: m.Usage.OutputTokens, CacheRead: m.Usage.CacheReadInputTokens, CacheWrite: m.Usage.CacheCreationInputTokens}}
	for _, b := range m.Content {
		if b.Type == "tool_use" {
			r.Calls = append(r.Calls, [3]string{b.ID, b.Name, string(b.Input)})
		} else {
			r.Text += b.Text
		}
	}
	return r
}

func TestAnswersFromAnthropic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawReply(t)
		stop := map[string]string{"end": "end_turn", "tools": "tool_use", "length": "max_tokens"}[r.Stop]
		content := []any{map[string]any{"type": "thinking", "thinking": "hm", "signature": "c2ln"}}
		var sse strings.Builder
		event := func(kind string, v map[string]any) {
			v["type"] = kind
			fmt.Fprintf(&sse, "event: %s\ndata: %s\n\n", kind, must(json.Marshal(v)))
		}
		usage := map[string]any{"input_tokens": 20, "cache_read_input_tokens": 10, "output_tokens": 1}
		event("message_start", map[string]any{"message": map[string]any{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": []any{}, "usage": usage}})
		n := 0
		put := func(start map[string]any, kind, field, value string) {
			event("content_block_start", map[string]any{"index": n, "content_block": start})
			if value != "{}" || rapid.Bool().Draw(t, "told") {
				for _, p := range cutUp(t, value) {
					event("content_block_delta", map[string]any{"index": n, "delta": map[string]any{"type": kind, field: p}})
				}
			}
			event("content_block_stop", map[string]any{"index": n})
			n++
		}
		put(map[string]any{"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking", "hm")
		event("ping", map[string]any{})
		if r.Text != "" {
			content = append(content, map[string]any{"type": "text", "text": r.Text})
			put(map[string]any{"type": "text", "text": ""}, "text_delta", "text", r.Text)
		}
		for _, c := range r.Calls {
			content = append(content, map[string]any{"type": "tool_use", "id": c[0], "name": c[1], "input": json.RawMessage(c[2])})
			put(map[string]any{"type": "tool_use", "id": c[0], "name": c[1], "input": map[string]any{}}, "input_json_delta", "partial_json", c[2])
		}
		event("message_delta", map[string]any{"delta": map[string]any{"stop_reason": stop}, "usage": map[string]any{"output_tokens": 4}})
		event("message_stop", map[string]any{})
		usage["output_tokens"] = 4
		doc := must(json.Marshal(map[string]any{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": content, "stop_reason": stop, "usage": usage}))
		whole, err := OpenAIAnswer(doc, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		var want openai.ChatCompletion
		if err := json.Unmarshal(whole, &want); err != nil {
			t.Fatal(err)
		}
		events, err := io.ReadAll(OpenAIStream(io.NopCloser(strings.NewReader(sse.String())), true, time.Unix(1, 0)))
		if err != nil {
			t.Fatal(err)
		}
		var acc openai.ChatCompletionAccumulator
		lines := dataOf(events)
		if string(lines[len(lines)-1]) != "[DONE]" {
			t.Fatalf("it does not end: %s", events)
		}
		for _, data := range lines[:len(lines)-1] {
			var c openai.ChatCompletionChunk
			if err := json.Unmarshal(data, &c); err != nil {
				t.Fatal(err)
			}
			if !acc.AddChunk(c) {
				t.Fatalf("a chunk does not fit: %s", data)
			}
		}
		if a, b := readCompletion(acc.ChatCompletion), readCompletion(want); !reflect.DeepEqual(a, b) {
			t.Fatalf("\nstream %+v\nwhole  %+v\nof %s", a, b, events)
		}
		if m := readCompletion(want); m.Text != r.Text || len(m.Calls) != len(r.Calls) || m.Stop != map[string]string{"end": "stop", "tools": "tool_calls", "length": "length"}[r.Stop] || m.Usage != (anthropicUsage{Input: 30, CacheRead: 10, Output: 4}) {
			t.Fatalf("%+v became %+v", r, m)
		}
	})
}

func readCompletion(c openai.ChatCompletion) read {
	m := c.Choices[0].Message
	r := read{ID: c.ID, Model: c.Model, Text: m.Content, Stop: c.Choices[0].FinishReason,
		Usage: anthropicUsage{Input: c.Usage.PromptTokens, Output: c.Usage.CompletionTokens, CacheRead: c.Usage.PromptTokensDetails.CachedTokens}}
	for _, call := range m.ToolCalls {
		var v any
		if json.Unmarshal([]byte(call.Function.Arguments), &v) != nil {
			return r
		}
		r.Calls = append(r.Calls, [3]string{call.ID, call.Function.Name, string(must(json.Marshal(v)))})
	}
	return r
}

func TestRefusedByName(t *testing.T) {
	const turn = `"messages":[{"role":"user","content":"x"}]`
	for field, body := range map[string]string{
		"top_k":                             `{"model":"m","top_k":4,` + turn + `}`,
		"container":                         `{"model":"m","container":"c",` + turn + `}`,
		"tools.0.type web_search_20250305":  `{"model":"m","tools":[{"type":"web_search_20250305","name":"web_search"}],` + turn + `}`,
		"tools.0.defer_loading":             `{"model":"m","tools":[{"name":"a","defer_loading":true}],` + turn + `}`,
		"messages.0.content.0 of type file": `{"model":"m","messages":[{"role":"user","content":[{"type":"file"}]}]}`,
		"prefill":                           `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`,
		"context_management.edits.0":        `{"model":"m","context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]},` + turn + `}`,
		"messages.0.odd":                    `{"model":"m","messages":[{"role":"user","content":"x","odd":1}]}`,
		"messages: want an array":           `{"model":"m","messages":7}`,
		"messages.0.role":                   `{"model":"m","messages":[{"role":"robot","content":"x"}]}`,
	} {
		if _, err := ToOpenAI([]byte(body), "m"); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, body := range map[string]string{
		"n ":                     `{"model":"m","n":2,` + turn + `}`,
		"seed":                   `{"model":"m","seed":1,` + turn + `}`,
		"logit_bias":             `{"model":"m","logit_bias":{"5":1},` + turn + `}`,
		"temperature above 1":    `{"model":"m","temperature":1.5,` + turn + `}`,
		"response_format.type":   `{"model":"m","response_format":{"type":"json_object"},` + turn + `}`,
		"messages.0.name":        `{"model":"m","messages":[{"role":"user","content":"x","name":"ada"}]}`,
		"input_audio":            `{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio"}]}]}`,
		"function.arguments":     `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"a","arguments":"{"}}]}]}`,
		"messages.0.role robot ": `{"model":"m","messages":[{"role":"robot","content":"x"}]}`,
	} {
		if _, err := ToAnthropic([]byte(body), "m"); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// What Claude Code sends with every request has a counterpart, or changes
// nothing but the price.
func TestClaudeCodesOwnFields(t *testing.T) {
	body := `{"model":"claude-opus-5-5","max_tokens":64000,"stream":true,"thinking":{"type":"adaptive","display":"omitted"},
		"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},"output_config":{"effort":"medium"},"metadata":{"user_id":"{}"},
		"system":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}],
		"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]},{"role":"system","content":"env","output_config":{"effort":"high"}},
			{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"read","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","is_error":true,"content":[{"type":"text","text":"no"},{"type":"image","source":{"type":"url","url":"http://x"}}]},{"type":"text","text":"go on"}]}]}`
	out, err := ToOpenAI([]byte(body), "gpt-6-sol")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"max_completion_tokens":64000,"messages":[{"content":"a\n\nb","role":"system"},{"content":"hello","role":"user"},{"content":"env","role":"system"},` +
		`{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{}","name":"read"},"id":"1","type":"function"}]},` +
		`{"content":"error: no","role":"tool","tool_call_id":"1"},{"content":[{"text":"From the result of 1:","type":"text"},{"image_url":{"url":"http://x"},"type":"image_url"},{"text":"go on","type":"text"}],"role":"user"}],` +
		`"model":"gpt-6-sol","reasoning_effort":"high","stream":true,"stream_options":{"include_usage":true}}`
	if string(out) != want {
		t.Errorf("got  %s\nwant %s", out, want)
	}
}

func TestStreamsThatGoWrong(t *testing.T) {
	anthropicHead := "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n"
	openaiHead := "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n"
	read := func(r io.ReadCloser) (string, error) {
		all, err := io.ReadAll(r)
		return string(all), err
	}
	toOpenAI := func(s string) (string, error) {
		return read(OpenAIStream(io.NopCloser(strings.NewReader(s)), true, time.Unix(1, 0)))
	}
	toAnthropic := func(s string) (string, error) {
		return read(AnthropicStream(io.NopCloser(strings.NewReader(s))))
	}
	for name, tt := range map[string]struct {
		to        func(string) (string, error)
		body      string
		says, not string
		err       error
	}{
		"cut, Anthropic":     {toOpenAI, anthropicHead, "role", "[DONE]", io.ErrUnexpectedEOF},
		"cut, OpenAI":        {toAnthropic, openaiHead, "half", "message_stop", io.ErrUnexpectedEOF},
		"error, Anthropic":   {toOpenAI, anthropicHead + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n", `"code":"529","message":"busy"`, "[DONE]", nil},
		"error, OpenAI":      {toAnthropic, openaiHead + "data: {\"error\":{\"message\":\"busy\",\"code\":503}}\n\n", `"message":"busy","type":"overloaded_error"`, "message_stop", nil},
		"garbage, Anthropic": {toOpenAI, anthropicHead + "data: {\"ty\n\n", "no JSON", "[DONE]", nil},
		"garbage, OpenAI":    {toAnthropic, openaiHead + "data: {\"ty\n\n", "no JSON", "message_stop", nil},
		"arguments":          {toAnthropic, "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"1\",\"function\":{\"name\":\"a\",\"arguments\":\"{\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n", "are no JSON object", "message_stop", nil},
		"alive, Anthropic":   {toOpenAI, "event: ping\ndata: {\"type\":\"ping\"}\n\n", ": keep-alive\n\n", "[DONE]", io.ErrUnexpectedEOF},
		"alive, OpenAI":      {toAnthropic, ": keep-alive\n\n", "event: ping", "message_stop", io.ErrUnexpectedEOF},
	} {
		got, err := tt.to(tt.body)
		if !errors.Is(err, tt.err) || !strings.Contains(got, tt.says) || strings.Contains(got, tt.not) {
			t.Errorf("%s: %v, %s", name, err, got)
		}
	}
}
