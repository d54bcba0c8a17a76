package modelwire

import (
	"bytes"
	"encoding/json"
	"io"

	"conclave"
)

// AnthropicStream turns a stream of chat completions into one of a message.
// Closing it closes the other. A stream that was cut ends as io.ErrUnexpectedEOF.
func AnthropicStream(body io.ReadCloser) io.ReadCloser {
	return newStream(body, &toMessage{open: -1})
}

// toMessage is the state of such a translation. That wire has one block at a
// time: the tool whose block is open gets its pieces as they come, and those of
// the others wait for its end, which only the end of the answer tells.
type toMessage struct {
	started bool
	block   int    // of the open block, or the next one
	kind    string // of the open block
	open    int    // the call whose block is open
	calls   []*call
	size    int    // of the arguments that are kept
	late    string // text behind a call
	refused bool
	finish  string
	usage   anthropicUsage
	ended   bool
}

func (t *toMessage) sign() string { return "event: ping\ndata: {\"type\": \"ping\"}\n\n" }

func emit(out *bytes.Buffer, kind string, f fields) error {
	f["type"] = kind
	data, err := encode(f)
	if err != nil {
		return err
	}
	out.WriteString("event: " + kind + "\ndata: ")
	out.Write(data)
	out.WriteString("\n\n")
	return nil
}

func (t *toMessage) translate(out *bytes.Buffer, _ string, data []byte) error {
	if t.ended {
		return nil
	}
	if string(data) == "[DONE]" {
		if t.finish == "" {
			return io.ErrUnexpectedEOF
		}
		return t.finished(out)
	}
	var failed struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &failed) == nil && len(failed.Error) > 0 && string(failed.Error) != "null" {
		t.ended = true
		return emit(out, "error", fields{"error": errorOf(data)})
	}
	var c completion
	if err := json.Unmarshal(data, &c); err != nil {
		return t.broken(out, "an event of the provider is no JSON")
	}
	if !t.started {
		t.started = true
		m := message{ID: c.ID, Type: "message", Role: "assistant", Model: c.Model, Content: []block{}}
		if err := emit(out, "message_start", fields{"message": m}); err != nil {
			return err
		}
	}
	if c.Usage != nil {
		t.usage = c.Usage.anthropic()
	}
	if len(c.Choices) == 0 {
		return nil
	}
	if d := c.Choices[0].Delta; d != nil {
		if err := t.delta(out, d); err != nil {
			return err
		}
	}
	if reason := c.Choices[0].Reason; reason != nil && *reason != "" {
		t.finish = *reason
	}
	return nil
}

// errorOf is a provider's error in the middle of a stream. Clients ask again
// after this kind.
func errorOf(data []byte) fields {
	text := ErrorText(data)
	if text == "" {
		text = "the provider broke off"
	}
	var e struct {
		Error struct {
			Code json.RawMessage `json:"code"`
		} `json:"error"`
	}
	kind := "api_error"
	// Not every server gives a code.
	if json.Unmarshal(data, &e) == nil {
		switch code := string(bytes.Trim(e.Error.Code, `"`)); code {
		case "504":
			kind = "timeout_error"
		case "529", "503", "overloaded":
			kind = "overloaded_error"
		case "429", "rate_limit_exceeded":
			kind = "rate_limit_error"
		}
	}
	return fields{"type": kind, "message": text}
}

// broken ends the stream with an error event.
func (t *toMessage) broken(out *bytes.Buffer, why string) error {
	t.ended = true
	return emit(out, "error", fields{"error": fields{"type": "api_error", "message": conclave.Text(unusable(why))}})
}

func (t *toMessage) delta(out *bytes.Buffer, d *said) error {
	for _, text := range []*string{d.Content, d.Refusal} {
		if text == nil || *text == "" {
			continue
		}
		t.refused = t.refused || text == d.Refusal
		if len(t.calls) > 0 {
			t.late += *text
			t.size += len(*text)
			continue
		}
		if err := t.text(out, *text); err != nil {
			return err
		}
	}
	for _, piece := range d.Calls {
		if err := t.tool(out, piece); err != nil {
			return err
		}
	}
	if t.size > maxEvent {
		return t.broken(out, "its tools' arguments are too long")
	}
	return nil
}

func (t *toMessage) text(out *bytes.Buffer, text string) error {
	if t.kind != "text" {
		t.kind = "text"
		if err := emit(out, "content_block_start", fields{"index": t.block, "content_block": fields{"type": "text", "text": ""}}); err != nil {
			return err
		}
	}
	return emit(out, "content_block_delta", fields{"index": t.block, "delta": fields{"type": "text_delta", "text": text}})
}

// close ends the open block.
func (t *toMessage) close(out *bytes.Buffer) error {
	if t.kind == "" {
		return nil
	}
	t.kind = ""
	t.block++
	return emit(out, "content_block_stop", fields{"index": t.block - 1})
}

// tool takes in a piece of a call. A server that gives no index starts a call
// with each id.
func (t *toMessage) tool(out *bytes.Buffer, piece call) error {
	i := len(t.calls) - 1
	switch {
	case piece.Index != nil:
		i = *piece.Index
	case piece.ID != "" || i < 0:
		i++
	}
	if i < 0 || i > len(t.calls) {
		return t.broken(out, "the calls of its tools are not numbered in order")
	}
	if i == len(t.calls) {
		t.calls = append(t.calls, &call{})
	}
	c := t.calls[i]
	if piece.ID != "" {
		c.ID = piece.ID
	}
	c.Function.Name += piece.Function.Name
	c.Function.Arguments += piece.Function.Arguments
	t.size += len(piece.Function.Arguments)
	if t.open < 0 && i == 0 && c.Function.Name != "" && c.ID != "" {
		t.open = 0
		return t.start(out, c)
	}
	if i == t.open && piece.Function.Arguments != "" {
		return t.arguments(out, piece.Function.Arguments)
	}
	return nil
}

// start opens a call's block with what is known of it.
func (t *toMessage) start(out *bytes.Buffer, c *call) error {
	if err := t.close(out); err != nil {
		return err
	}
	t.kind = "tool_use"
	if err := emit(out, "content_block_start", fields{"index": t.block, "content_block": fields{"type": "tool_use", "id": c.ID, "name": c.Function.Name, "input": fields{}}}); err != nil {
		return err
	}
	if c.Function.Arguments == "" {
		return nil
	}
	return t.arguments(out, c.Function.Arguments)
}

func (t *toMessage) arguments(out *bytes.Buffer, piece string) error {
	return emit(out, "content_block_delta", fields{"index": t.block, "delta": fields{"type": "input_json_delta", "partial_json": piece}})
}

func (t *toMessage) finished(out *bytes.Buffer) error {
	for i, c := range t.calls {
		if c.Function.Arguments != "" && !isObject(c.Function.Arguments) {
			return t.broken(out, "the arguments of "+c.Function.Name+" are no JSON object")
		}
		if i == t.open {
			continue
		}
		if err := t.start(out, c); err != nil {
			return err
		}
	}
	if t.late != "" {
		if err := t.close(out); err != nil {
			return err
		}
		if err := t.text(out, t.late); err != nil {
			return err
		}
	}
	if err := t.close(out); err != nil {
		return err
	}
	t.ended = true
	reason := stopReason(t.finish, len(t.calls) > 0, t.refused)
	if err := emit(out, "message_delta", fields{"delta": fields{"stop_reason": reason, "stop_sequence": nil}, "usage": t.usage}); err != nil {
		return err
	}
	return emit(out, "message_stop", fields{})
}

// end accepts servers that leave out the last line.
func (t *toMessage) end(out *bytes.Buffer) error {
	switch {
	case t.ended:
		return nil
	case t.finish == "":
		return io.ErrUnexpectedEOF
	}
	return t.finished(out)
}
