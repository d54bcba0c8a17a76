package modelwire

import (
	"encoding/json"
	"strings"
	"time"

	"conclave"
)

// message is an answer on Anthropic's wire, as far as both wires have it.
type message struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Role    string         `json:"role"`
	Model   string         `json:"model"`
	Content []block        `json:"content"`
	Reason  *string        `json:"stop_reason"`
	Stop    *string        `json:"stop_sequence"`
	Usage   anthropicUsage `json:"usage"`
}

type block struct {
	Type  string          `json:"type"`
	Text  *string         `json:"text,omitempty"`
	ID    string          `json:"id,omitempty"`
	Name  string          `json:"name,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`
}

type anthropicUsage struct {
	Input      int64 `json:"input_tokens"`
	CacheWrite int64 `json:"cache_creation_input_tokens"`
	CacheRead  int64 `json:"cache_read_input_tokens"`
	Output     int64 `json:"output_tokens"`
}

// completion is an answer of chat completions, whole or a chunk.
type completion struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []choice     `json:"choices"`
	Usage   *openaiUsage `json:"usage,omitempty"`
}

type choice struct {
	Index   int     `json:"index"`
	Message *said   `json:"message,omitempty"`
	Delta   *said   `json:"delta,omitempty"`
	Reason  *string `json:"finish_reason"`
}

type said struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
	Refusal *string `json:"refusal,omitempty"`
	Calls   []call  `json:"tool_calls,omitempty"`
}

type call struct {
	Index    *int   `json:"index,omitempty"` // of a chunk's
	ID       string `json:"id,omitempty"`
	Type     string `json:"type,omitempty"`
	Function struct {
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type openaiUsage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
	Details    struct {
		Cached  int64 `json:"cached_tokens"`
		Written int64 `json:"cache_write_tokens,omitempty"`
	} `json:"prompt_tokens_details"`
}

func (u openaiUsage) anthropic() anthropicUsage {
	return anthropicUsage{Input: max(0, u.Prompt-u.Details.Cached-u.Details.Written), CacheRead: u.Details.Cached,
		CacheWrite: u.Details.Written, Output: u.Completion}
}

func (u anthropicUsage) openai() openaiUsage {
	prompt := u.Input + u.CacheRead + u.CacheWrite
	o := openaiUsage{Prompt: prompt, Completion: u.Output, Total: prompt + u.Output}
	o.Details.Cached, o.Details.Written = u.CacheRead, u.CacheWrite
	return o
}

// stopReason is why an answer ended, in Anthropic's words.
func stopReason(finish string, calls, refused bool) string {
	switch {
	case refused || finish == "content_filter":
		return "refusal"
	case finish == "length":
		return "max_tokens"
	case calls: // some servers say "stop" for an answer that calls tools
		return "tool_use"
	}
	return "end_turn"
}

// finishReason is the same in OpenAI's.
func finishReason(stop string) string {
	switch stop {
	case "max_tokens", "model_context_window_exceeded":
		return "length"
	case "tool_use":
		return "tool_calls"
	case "refusal":
		return "content_filter"
	}
	return "stop"
}

func unusable(what string) error {
	return conclave.Errorf(conclave.ErrUnavailable, "the provider's answer can't be translated: %s", what)
}

// AnthropicAnswer turns a whole chat completion into a message.
// ErrUnavailable when it is none.
func AnthropicAnswer(body []byte) ([]byte, error) {
	var c completion
	if err := json.Unmarshal(body, &c); err != nil || len(c.Choices) == 0 || c.Choices[0].Message == nil || c.Choices[0].Reason == nil {
		return nil, unusable("it is no finished chat completion")
	}
	s := c.Choices[0].Message
	m := message{ID: c.ID, Type: "message", Role: "assistant", Model: c.Model, Content: []block{}}
	for _, text := range []*string{s.Content, s.Refusal} {
		if text != nil && *text != "" {
			m.Content = append(m.Content, block{Type: "text", Text: text})
		}
	}
	for _, tool := range s.Calls {
		arguments := tool.Function.Arguments
		if arguments == "" {
			arguments = "{}"
		}
		if !isObject(arguments) {
			return nil, unusable("the arguments of " + tool.Function.Name + " are no JSON object")
		}
		m.Content = append(m.Content, block{Type: "tool_use", ID: tool.ID, Name: tool.Function.Name, Input: json.RawMessage(arguments)})
	}
	reason := stopReason(*c.Choices[0].Reason, len(s.Calls) > 0, s.Refusal != nil && *s.Refusal != "")
	m.Reason = &reason
	if c.Usage != nil {
		m.Usage = c.Usage.anthropic()
	}
	return encode(m)
}

// OpenAIAnswer turns a whole message into a chat completion, made now.
// ErrUnavailable when it is none.
func OpenAIAnswer(body []byte, now time.Time) ([]byte, error) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil || m.Type != "message" || m.Reason == nil {
		return nil, unusable("it is no finished message")
	}
	var s said
	s.Role = "assistant"
	var texts strings.Builder
	for _, b := range m.Content {
		switch {
		case b.Type == "text" && b.Text != nil:
			texts.WriteString(*b.Text)
		case b.Type == "tool_use":
			input, err := encode(b.Input)
			if err != nil || !isObject(string(input)) {
				return nil, unusable("the input of " + b.Name + " is no JSON object")
			}
			c := call{ID: b.ID, Type: "function"}
			c.Function.Name, c.Function.Arguments = b.Name, string(input)
			s.Calls = append(s.Calls, c)
		}
	}
	if texts.Len() > 0 || s.Calls == nil {
		text := texts.String()
		s.Content = &text
	}
	reason := finishReason(*m.Reason)
	u := m.Usage.openai()
	return encode(completion{ID: m.ID, Object: "chat.completion", Created: now.Unix(), Model: m.Model,
		Choices: []choice{{Message: &s, Reason: &reason}}, Usage: &u})
}

// ErrorText is what a provider's error says, on either wire; empty when it says
// nothing that can be read.
func ErrorText(body []byte) string {
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	var inner struct {
		Message string `json:"message"`
	}
	var text string
	if json.Unmarshal(body, &e) != nil || (json.Unmarshal(e.Error, &inner) != nil && json.Unmarshal(e.Error, &text) != nil) {
		return ""
	}
	return inner.Message + text
}

// AnthropicModels turns OpenAI's list of models into Anthropic's.
func AnthropicModels(body []byte) ([]byte, error) {
	var list struct {
		Data []struct {
			ID      string `json:"id"`
			Created int64  `json:"created"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, unusable("it is no list of models")
	}
	data := []fields{}
	for _, m := range list.Data {
		data = append(data, fields{"type": "model", "id": m.ID, "display_name": m.ID, "created_at": time.Unix(m.Created, 0).UTC().Format(time.RFC3339)})
	}
	out := fields{"data": data, "has_more": false, "first_id": nil, "last_id": nil}
	if len(data) > 0 {
		out["first_id"], out["last_id"] = data[0]["id"], data[len(data)-1]["id"]
	}
	return encode(out)
}

// OpenAIModels turns Anthropic's list of models into OpenAI's.
func OpenAIModels(body []byte) ([]byte, error) {
	var list struct {
		Data []struct {
			ID      string    `json:"id"`
			Created time.Time `json:"created_at"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, unusable("it is no list of models")
	}
	data := []fields{}
	for _, m := range list.Data {
		data = append(data, fields{"object": "model", "id": m.ID, "created": max(0, m.Created.Unix()), "owned_by": "anthropic"})
	}
	return encode(fields{"object": "list", "data": data})
}
