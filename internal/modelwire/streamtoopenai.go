package modelwire

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"conclave"
)

// OpenAIStream turns the stream of a message into one of chat completions, made
// now, which ends with its usage if that is wanted. Closing it closes the other.
// A stream that was cut ends as io.ErrUnexpectedEOF.
func OpenAIStream(body io.ReadCloser, usage bool, now time.Time) io.ReadCloser {
	return newStream(body, &toChunks{wantsUsage: usage, chunk: completion{Object: "chat.completion.chunk", Created: now.Unix()}})
}

type toChunks struct {
	wantsUsage bool
	chunk      completion // what all chunks have
	calls      int
	inCall     bool
	empty      bool            // no arguments of the open call came yet
	input      json.RawMessage // that it began with
	reason     string
	usage      anthropicUsage
	ended      bool
}

func (t *toChunks) sign() string { return ": keep-alive\n\n" }

func (t *toChunks) emit(out *bytes.Buffer, c completion) error {
	data, err := encode(c)
	if err != nil {
		return err
	}
	out.WriteString("data: ")
	out.Write(data)
	out.WriteString("\n\n")
	return nil
}

func (t *toChunks) delta(out *bytes.Buffer, s said, reason *string) error {
	c := t.chunk
	c.Choices = []choice{{Delta: &s, Reason: reason}}
	return t.emit(out, c)
}

func (t *toChunks) arguments(out *bytes.Buffer, piece string) error {
	i := t.calls - 1
	c := call{Index: &i}
	c.Function.Arguments = piece
	return t.delta(out, said{Calls: []call{c}}, nil)
}

func (t *toChunks) translate(out *bytes.Buffer, _ string, data []byte) error {
	if t.ended {
		return nil
	}
	var e struct {
		Type    string          `json:"type"`
		Message message         `json:"message"`
		Block   block           `json:"content_block"`
		Usage   json.RawMessage `json:"usage"`
		Delta   struct {
			Type    string `json:"type"`
			Text    string `json:"text"`
			Partial string `json:"partial_json"`
			Reason  string `json:"stop_reason"`
		} `json:"delta"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return t.failed(out, conclave.Text(unusable("an event of the provider is no JSON")), "502")
	}
	switch e.Type {
	case "ping":
		out.WriteString(t.sign())
	case "error":
		return t.failed(out, ErrorText(data), statusOf(data))
	case "message_start":
		t.chunk.ID, t.chunk.Model, t.usage = e.Message.ID, e.Message.Model, e.Message.Usage
		empty := ""
		return t.delta(out, said{Role: "assistant", Content: &empty}, nil)
	case "content_block_start":
		if t.inCall = e.Block.Type == "tool_use"; t.inCall {
			i := t.calls
			t.calls++
			t.empty, t.input = true, e.Block.Input
			c := call{Index: &i, ID: e.Block.ID, Type: "function"}
			c.Function.Name = e.Block.Name
			return t.delta(out, said{Calls: []call{c}}, nil)
		}
		if e.Block.Text != nil && *e.Block.Text != "" {
			return t.delta(out, said{Content: e.Block.Text}, nil)
		}
	case "content_block_delta":
		switch {
		case e.Delta.Type == "text_delta" && e.Delta.Text != "":
			return t.delta(out, said{Content: &e.Delta.Text}, nil)
		case e.Delta.Type == "input_json_delta" && e.Delta.Partial != "" && t.inCall:
			t.empty = false
			return t.arguments(out, e.Delta.Partial)
		}
	case "content_block_stop":
		if t.inCall && t.empty {
			input, err := encode(t.input)
			if err != nil || !isObject(string(input)) {
				input = []byte("{}")
			}
			t.inCall = false
			return t.arguments(out, string(input))
		}
		t.inCall = false
	case "message_delta":
		t.reason = e.Delta.Reason
		if len(e.Usage) > 0 {
			// The figures that it leaves out stay as they were.
			return json.Unmarshal(e.Usage, &t.usage)
		}
	case "message_stop":
		return t.finished(out)
	}
	return nil
}

func (t *toChunks) finished(out *bytes.Buffer) error {
	t.ended = true
	reason := finishReason(t.reason)
	if err := t.delta(out, said{}, &reason); err != nil {
		return err
	}
	if t.wantsUsage {
		c, u := t.chunk, t.usage.openai()
		c.Choices, c.Usage = []choice{}, &u
		if err := t.emit(out, c); err != nil {
			return err
		}
	}
	out.WriteString("data: [DONE]\n\n")
	return nil
}

// failed ends the stream with an error.
func (t *toChunks) failed(out *bytes.Buffer, text, code string) error {
	t.ended = true
	data, err := encode(fields{"error": fields{"message": text, "type": "server_error", "param": nil, "code": code}})
	if err != nil {
		return err
	}
	out.WriteString("data: ")
	out.Write(data)
	out.WriteString("\n\n")
	return nil
}

// statusOf is the status that an error in a stream stands for.
func statusOf(data []byte) string {
	var e struct {
		Error struct{ Type string }
	}
	// An error without a type is one of the provider's own.
	_ = json.Unmarshal(data, &e)
	status := map[string]int{"overloaded_error": 529, "rate_limit_error": 429, "invalid_request_error": 400, "authentication_error": 401,
		"permission_error": 403, "not_found_error": 404, "timeout_error": 504}[e.Error.Type]
	if status == 0 {
		status = 500
	}
	return strconv.Itoa(status)
}

func (t *toChunks) end(*bytes.Buffer) error {
	if !t.ended {
		return io.ErrUnexpectedEOF
	}
	return nil
}
