package llmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

type anthropicWire struct{}

func (anthropicWire) decode(raw []byte) (Call, error) {
	var body struct {
		Model    string
		System   json.RawMessage
		Stream   bool
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
		Tools []struct {
			Name        string
			Description string
			InputSchema json.RawMessage `json:"input_schema"`
		}
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return Call{}, err
	}
	if body.Model == "" || len(body.Messages) == 0 {
		return Call{}, errors.New("model and messages are required")
	}
	c := Call{Wire: Anthropic, Model: body.Model, Stream: body.Stream}
	var err error
	if c.System, err = texts(body.System); err != nil {
		return Call{}, fmt.Errorf("system: %w", err)
	}
	for _, m := range body.Messages {
		if m.Role == "system" {
			text, err := texts(m.Content)
			if err != nil {
				return Call{}, err
			}
			c.System = strings.TrimSpace(c.System + "\n\n" + text)
			continue
		}
		msg, err := anthropicMessage(m.Role, m.Content)
		if err != nil {
			return Call{}, err
		}
		c.Messages = append(c.Messages, msg)
	}
	for _, t := range body.Tools {
		c.Tools = append(c.Tools, Tool{Name: t.Name, Description: t.Description, Schema: t.InputSchema})
	}
	return c, checkResults(c.Messages)
}

func anthropicMessage(role string, content json.RawMessage) (Message, error) {
	m := Message{Role: role}
	var s string
	if json.Unmarshal(content, &s) == nil {
		m.Text = s
		return m, nil
	}
	var blocks []struct {
		Type      string
		Text      string
		Thinking  string
		Signature string
		ID        string
		Name      string
		Input     json.RawMessage
		ToolUseID string `json:"tool_use_id"`
		Content   json.RawMessage
		IsError   bool `json:"is_error"`
	}
	if err := json.Unmarshal(content, &blocks); err != nil {
		return m, fmt.Errorf("content of a %s message: %w", role, err)
	}
	for _, b := range blocks {
		switch b.Type {
		case "text":
			m.Text = strings.TrimPrefix(m.Text+"\n"+b.Text, "\n")
		case "tool_use":
			m.Calls = append(m.Calls, ToolCall{ID: b.ID, Name: b.Name, Input: b.Input})
		case "tool_result":
			text, err := texts(b.Content)
			if err != nil {
				return m, err
			}
			m.Results = append(m.Results, Result{ID: b.ToolUseID, Text: text, Error: b.IsError})
		case "thinking":
			if b.Signature != sign(b.Thinking) {
				return m, errors.New("invalid `signature` in `thinking` block")
			}
		}
	}
	return m, nil
}

// checkResults refuses what the real endpoints refuse: a tool call that the next
// message does not answer.
func checkResults(messages []Message) error {
	answered := map[string]bool{}
	for _, m := range messages {
		for _, r := range m.Results {
			answered[r.ID] = true
		}
	}
	for _, m := range messages {
		for _, call := range m.Calls {
			if !answered[call.ID] {
				return fmt.Errorf("tool call %s has no result", call.ID)
			}
		}
	}
	return nil
}

// sign stands for the provider's signature: it shows whether a thinking block
// came back as it was sent.
func sign(thinking string) string { return fmt.Sprintf("signed-%d-%x", len(thinking), thinking) }

func anthropicStop(a Answer) string {
	switch {
	case a.Fault == Refuse:
		return "refusal"
	case a.Length:
		return "max_tokens"
	case len(a.Calls) > 0:
		return "tool_use"
	}
	return "end_turn"
}

func anthropicUsage(u Usage) map[string]any {
	return map[string]any{"input_tokens": u.Input, "output_tokens": u.Output,
		"cache_read_input_tokens": u.CacheRead, "cache_creation_input_tokens": u.CacheWrite}
}

func (anthropicWire) whole(c Call, a Answer, u Usage) any {
	content := []any{}
	if a.Thinking != "" {
		content = append(content, map[string]any{"type": "thinking", "thinking": a.Thinking, "signature": sign(a.Thinking)})
	}
	if a.Text != "" {
		content = append(content, map[string]any{"type": "text", "text": a.Text})
	}
	for _, call := range a.Calls {
		content = append(content, map[string]any{"type": "tool_use", "id": call.ID, "name": call.Name, "input": call.Input})
	}
	return map[string]any{"id": fmt.Sprintf("msg_%d", c.N), "type": "message", "role": "assistant", "model": c.Model,
		"content": content, "stop_reason": anthropicStop(a), "stop_sequence": nil, "usage": anthropicUsage(u)}
}

func (w anthropicWire) events(c Call, a Answer, u Usage) (first, rest []string, claims [2]Usage) {
	var out []string
	start := u
	start.Output = 1
	message := map[string]any{"id": fmt.Sprintf("msg_%d", c.N), "type": "message", "role": "assistant", "model": c.Model,
		"content": []any{}, "stop_reason": nil, "stop_sequence": nil, "usage": anthropicUsage(start)}
	out = append(out, event("message_start", map[string]any{"message": message}), event("ping", map[string]any{}))

	index, firstDelta := 0, 0
	block := func(begin map[string]any, deltas ...map[string]any) {
		out = append(out, event("content_block_start", map[string]any{"index": index, "content_block": begin}))
		for _, d := range deltas {
			out = append(out, event("content_block_delta", map[string]any{"index": index, "delta": d}))
			if firstDelta == 0 {
				firstDelta = len(out)
			}
		}
		out = append(out, event("content_block_stop", map[string]any{"index": index}))
		index++
	}
	if a.Thinking != "" {
		block(map[string]any{"type": "thinking", "thinking": "", "signature": ""},
			map[string]any{"type": "thinking_delta", "thinking": a.Thinking},
			map[string]any{"type": "signature_delta", "signature": sign(a.Thinking)})
	}
	if a.Text != "" {
		var deltas []map[string]any
		for _, p := range pieces(a.Text) {
			deltas = append(deltas, map[string]any{"type": "text_delta", "text": p})
		}
		block(map[string]any{"type": "text", "text": ""}, deltas...)
	}
	for _, call := range a.Calls {
		deltas := []map[string]any{{"type": "input_json_delta", "partial_json": ""}}
		for _, p := range pieces(string(call.Input)) {
			deltas = append(deltas, map[string]any{"type": "input_json_delta", "partial_json": p})
		}
		block(map[string]any{"type": "tool_use", "id": call.ID, "name": call.Name, "input": map[string]any{}}, deltas...)
	}
	if firstDelta == 0 {
		firstDelta = len(out)
	}
	delta := event("message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": anthropicStop(a), "stop_sequence": nil},
		"usage": map[string]any{"output_tokens": u.Output}})
	rest = append(out[firstDelta:len(out):len(out)], delta, event("message_stop", map[string]any{}))
	end := Usage{Output: u.Output - start.Output}
	return out[:firstDelta], rest, [2]Usage{start, end}
}

func event(kind string, fields map[string]any) string {
	fields["type"] = kind
	data, err := json.Marshal(fields)
	if err != nil {
		panic(fmt.Sprintf("llmtest: a scripted event is no JSON: %v", err))
	}
	return "event: " + kind + "\ndata: " + string(data) + "\n\n"
}

func (anthropicWire) fault(status int, message string) any {
	kind := "api_error"
	switch status {
	case http.StatusBadRequest:
		kind = "invalid_request_error"
	case http.StatusUnauthorized:
		kind = "authentication_error"
	case http.StatusForbidden:
		kind = "permission_error"
	case http.StatusNotFound:
		kind = "not_found_error"
	case http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case 529:
		kind = "overloaded_error"
	}
	return map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": message}}
}
