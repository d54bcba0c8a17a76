// Package llm asks models by the Messages API. Agents ask the model router, which
// translates for providers that speak another wire.
//
// It streams, so that silence is noticed; retries what may pass, within bounds;
// and fails with a kind of error from the root package. It puts no key into an
// error or a log.
package llm

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"conclave"
)

// Headers by which Conclave's own requests tell its model router whose account
// they go to, and how many tokens their run may spend in all.
const (
	HeaderRun    = "X-Conclave-Run"
	HeaderAgent  = "X-Conclave-Agent"
	HeaderTask   = "X-Conclave-Task"
	HeaderBudget = "X-Conclave-Budget"
)

// Request is one question to a model.
type Request struct {
	Model     string
	System    string
	Messages  []Message
	Tools     []Tool
	MaxTokens int64 // of the answer; 0 means 32000 on the Anthropic wire and the server's own limit on the other
	// Header is added to the HTTP request: who asks, for the router's accounts.
	Header map[string]string
}

// Role is who speaks in a message.
type Role string

// Roles.
const (
	RoleUser      Role = "user" // tool results too
	RoleAssistant Role = "assistant"
)

// Message is one turn of a conversation.
type Message struct {
	Role   Role
	Blocks []Block
}

// Block is one part of a message; one of its fields is set.
type Block struct {
	Text   string
	Call   *ToolCall
	Result *ToolResult
	// Opaque is a part that only its provider understands, such as signed
	// thinking. It goes back to it as it came.
	Opaque json.RawMessage
}

// Tool is something that the model may call.
type Tool struct {
	Name        string
	Description string
	Schema      json.RawMessage // JSON Schema of an object
}

// ToolCall is the model's wish to use a tool. Input is as the model wrote it and
// may be invalid.
type ToolCall struct {
	ID    string
	Name  string
	Input json.RawMessage
}

// ToolResult answers a tool call.
type ToolResult struct {
	ID    string
	Text  string
	Error bool
}

// Stop is why the model stopped.
type Stop string

// Reasons to stop.
const (
	StopEnd    Stop = "end"
	StopTools  Stop = "tools"  // it waits for tool results
	StopLength Stop = "length" // cut off at the token limit: the last part may be incomplete
)

// Response is the model's answer.
type Response struct {
	Message Message // to be appended to the conversation
	Text    string  // its texts, joined
	Calls   []ToolCall
	Stop    Stop
	Usage   Usage
}

// Usage is what the provider says the answer cost. Input leaves out what was
// read from or written to its cache.
type Usage struct {
	Calls      int64
	Input      int64
	Output     int64
	CacheRead  int64
	CacheWrite int64
}

// Add adds v to u.
func (u *Usage) Add(v Usage) {
	u.Calls += v.Calls
	u.Input += v.Input
	u.Output += v.Output
	u.CacheRead += v.CacheRead
	u.CacheWrite += v.CacheWrite
}

// Tokens is everything that was read and written.
func (u Usage) Tokens() int64 { return u.Input + u.Output + u.CacheRead + u.CacheWrite }

// User is a message of the user's.
func User(text string) Message {
	return Message{Role: RoleUser, Blocks: []Block{{Text: text}}}
}

// Results is a message that answers tool calls.
func Results(results ...ToolResult) Message {
	m := Message{Role: RoleUser}
	for _, r := range results {
		m.Blocks = append(m.Blocks, Block{Result: &r})
	}
	return m
}

// Options for [NewAnthropic].
type Options struct {
	// BaseURL is the router's or the provider's address. Required.
	BaseURL string
	// Key is sent as x-api-key; empty sends none.
	Key string
	// Transport makes the HTTP calls. Nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Idle is the longest silence of a provider. Zero: 3 minutes.
	Idle time.Duration
	// Tries is how often a request is sent at the most. Zero: 4.
	Tries int
	// Backoff is the wait before the second try, doubled for each later one.
	// Zero: 500 ms.
	Backoff time.Duration
	// MaxWait is the longest wait before a try; a provider that asks for more
	// ends the request. Zero: 1 minute.
	MaxWait time.Duration
	// Logger gets a line for each retry. Nil: nothing is logged.
	Logger *slog.Logger
}

func (o Options) complete() (Options, error) {
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		// Neither the URL nor the parser's error is quoted: a token may be in the path.
		return o, conclave.Errorf(conclave.ErrInvalid, "the address of the model provider is not an http or https URL")
	}
	o.BaseURL = strings.TrimSuffix(o.BaseURL, "/") + "/"
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Idle == 0 {
		o.Idle = 3 * time.Minute
	}
	if o.Tries == 0 {
		o.Tries = 4
	}
	if o.Backoff == 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.MaxWait == 0 {
		o.MaxWait = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// assemble fills in what follows from the blocks of the message.
func (r *Response) assemble() {
	var texts []string
	for _, b := range r.Message.Blocks {
		if b.Text != "" {
			texts = append(texts, b.Text)
		}
		if b.Call != nil {
			r.Calls = append(r.Calls, *b.Call)
		}
	}
	r.Text = strings.Join(texts, "\n")
	if len(r.Calls) > 0 && r.Stop == StopEnd {
		// Some compatible servers say "stop" for an answer that calls tools.
		r.Stop = StopTools
	}
}
