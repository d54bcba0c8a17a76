package llmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

type openaiWire struct{}

func (openaiWire) decode(raw []byte) (Call, error) {
	var body struct {
		Model    string
		Stream   bool
		Messages []struct {
			Role       string
			Content    json.RawMessage
			ToolCallID string `json:"tool_call_id"`
			ToolCalls  []struct {
				ID       string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		Tools []struct {
			Function struct {
				Name        string
				Description string
				Parameters  json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return Call{}, err
	}
	if body.Model == "" || len(body.Messages) == 0 {
		return Call{}, errors.New("model and messages are required")
	}
	c := Call{Wire: OpenAI, Model: body.Model, Stream: body.Stream}
	for _, m := range body.Messages {
		text, err := texts(m.Content)
		if err != nil {
			return Call{}, err
		}
		switch m.Role {
		case "system", "developer":
			c.System = strings.TrimSpace(c.System + "\n\n" + text)
		case "tool":
			c.Messages = append(c.Messages, Message{Role: "tool", Results: []Result{{ID: m.ToolCallID, Text: text}}})
		default:
			msg := Message{Role: m.Role, Text: text}
			for _, call := range m.ToolCalls {
				msg.Calls = append(msg.Calls, ToolCall{ID: call.ID, Name: call.Function.Name, Input: json.RawMessage(call.Function.Arguments)})
			}
			c.Messages = append(c.Messages, msg)
		}
	}
	for _, t := range body.Tools {
		c.Tools = append(c.Tools, Tool{Name: t.Function.Name, Description: t.Function.Description, Schema: t.Function.Parameters})
	}
	return c, checkResults(c.Messages)
}

func openaiStop(a Answer) string {
	switch {
	case a.Length:
		return "length"
	case len(a.Calls) > 0:
		return "tool_calls"
	}
	return "stop"
}

// openaiUsage counts cached tokens among the prompt's, as this wire does.
func openaiUsage(u Usage) map[string]any {
	prompt := u.Input + u.CacheRead + u.CacheWrite
	return map[string]any{"prompt_tokens": prompt, "completion_tokens": u.Output, "total_tokens": prompt + u.Output,
		"prompt_tokens_details": map[string]any{"cached_tokens": u.CacheRead, "cache_write_tokens": u.CacheWrite}}
}

func openaiCall(i int, call ToolCall, arguments string) map[string]any {
	return map[string]any{"index": i, "id": call.ID, "type": "function",
		"function": map[string]any{"name": call.Name, "arguments": arguments}}
}

func (openaiWire) whole(c Call, a Answer, u Usage) any {
	message := map[string]any{"role": "assistant", "content": a.Text}
	if a.Fault == Refuse {
		message["content"], message["refusal"] = nil, a.Text
	}
	var calls []any
	for i, call := range a.Calls {
		calls = append(calls, openaiCall(i, call, string(call.Input)))
	}
	if calls != nil {
		message["tool_calls"] = calls
	}
	return map[string]any{"id": fmt.Sprintf("chatcmpl-%d", c.N), "object": "chat.completion", "created": 1767225600, "model": c.Model,
		"choices": []any{map[string]any{"index": 0, "message": message, "finish_reason": openaiStop(a)}}, "usage": openaiUsage(u)}
}

func (w openaiWire) events(c Call, a Answer, u Usage) (first, rest []string, claims [2]Usage) {
	var out []string
	chunk := func(choices []any, usage any) {
		data, err := json.Marshal(map[string]any{"id": fmt.Sprintf("chatcmpl-%d", c.N), "object": "chat.completion.chunk",
			"created": 1767225600, "model": c.Model, "choices": choices, "usage": usage})
		if err != nil {
			panic(fmt.Sprintf("llmtest: a scripted chunk is no JSON: %v", err))
		}
		out = append(out, "data: "+string(data)+"\n\n")
	}
	delta := func(d map[string]any, finish any) {
		chunk([]any{map[string]any{"index": 0, "delta": d, "finish_reason": finish}}, nil)
	}
	delta(map[string]any{"role": "assistant", "content": ""}, nil)
	for _, p := range pieces(a.Text) {
		if a.Fault == Refuse {
			delta(map[string]any{"refusal": p}, nil)
		} else {
			delta(map[string]any{"content": p}, nil)
		}
	}
	for i, call := range a.Calls {
		delta(map[string]any{"tool_calls": []any{openaiCall(i, call, "")}}, nil)
		for _, p := range pieces(string(call.Input)) {
			delta(map[string]any{"tool_calls": []any{map[string]any{"index": i, "function": map[string]any{"arguments": p}}}}, nil)
		}
	}
	firstDelta := min(2, len(out))
	delta(map[string]any{}, openaiStop(a))

	var options struct {
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	// decode has read the same bytes already.
	_ = json.Unmarshal(c.Raw, &options)
	end := Usage{Requests: 1}
	if options.StreamOptions.IncludeUsage {
		chunk([]any{}, openaiUsage(u))
		end = u
	}
	out = append(out, "data: [DONE]\n\n")
	return out[:firstDelta], out[firstDelta:], [2]Usage{{}, end}
}

func (openaiWire) fault(status int, message string) any {
	return map[string]any{"error": map[string]any{"message": message, "type": "scripted_error", "param": nil, "code": fmt.Sprint(status)}}
}
