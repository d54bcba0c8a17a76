package llmtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Wires.
const (
	Anthropic = "anthropic"
	OpenAI    = "openai"
)

// Call is one request to the endpoint, decoded.
type Call struct {
	N        int // how many calls came before this one
	Wire     string
	Path     string // with the query
	Header   http.Header
	Raw      []byte
	Model    string
	System   string // all system texts, joined by a blank line
	Messages []Message
	Tools    []Tool
	Stream   bool
}

// Last returns the newest message, or an empty one.
func (c Call) Last() Message {
	if len(c.Messages) == 0 {
		return Message{}
	}
	return c.Messages[len(c.Messages)-1]
}

// Has reports whether the request offers a tool.
func (c Call) Has(tool string) bool {
	for _, t := range c.Tools {
		if t.Name == tool {
			return true
		}
	}
	return false
}

// Message is one turn of the conversation.
type Message struct {
	Role    string // "user", "assistant", "tool"
	Text    string // all texts, joined by a newline
	Calls   []ToolCall
	Results []Result
}

// Result is what a tool gave back.
type Result struct {
	ID    string
	Text  string
	Error bool // always false on the OpenAI wire, which has no such mark
}

// Tool is a tool that the request offers.
type Tool struct {
	Name        string
	Description string
	Schema      json.RawMessage
}

// ToolCall is a tool that the model wants to use.
type ToolCall struct {
	ID    string // made up when empty
	Name  string
	Input json.RawMessage
}

// Usage counts tokens. Input leaves out what was read from or written to a cache.
type Usage struct {
	Requests   int64
	Input      int64
	Output     int64
	CacheRead  int64
	CacheWrite int64
}

func (u *Usage) add(v Usage) {
	u.Requests += v.Requests
	u.Input += v.Input
	u.Output += v.Output
	u.CacheRead += v.CacheRead
	u.CacheWrite += v.CacheWrite
}

// Fault is how an answer goes wrong after its status line.
type Fault int

// Faults.
const (
	NoFault Fault = iota
	Stall         // it begins, then stays silent until the client or the server goes away
	Cut           // it begins, then the connection breaks
	Garbage       // it is not JSON
	Refuse        // the model declines; Text says why
)

// Answer is what the endpoint answers.
type Answer struct {
	Thinking string // Anthropic only: a signed thinking block before the rest
	Text     string
	Calls    []ToolCall
	Length   bool   // the model was cut off at its token limit
	Usage    *Usage // what to claim; counted when nil

	Fault Fault

	// Status other than 0 and 200 is an error in the wire's own shape, with
	// Text as its message.
	Status     int
	RetryAfter time.Duration // header retry-after-ms beside retry-after

	// Hold keeps back everything after the first piece of a stream, or the
	// whole of another answer, until it is closed.
	Hold <-chan struct{}
}

// Script says what the model answers. It is called by several goroutines.
type Script func(Call) Answer

// Say answers with text.
func Say(text string) Answer { return Answer{Text: text} }

// Use answers with one tool call.
func Use(tool string, input any) Answer {
	raw, err := json.Marshal(input)
	if err != nil {
		panic(fmt.Sprintf("llmtest: the input of %s is no JSON: %v", tool, err))
	}
	return Answer{Calls: []ToolCall{{Name: tool, Input: raw}}}
}

// Fail answers with an error status.
func Fail(status int, message string) Answer { return Answer{Status: status, Text: message} }

// Sequence answers with each answer in turn, and with the last one from then on.
func Sequence(answers ...Answer) Script {
	return func(c Call) Answer {
		return answers[min(c.N, len(answers)-1)]
	}
}
