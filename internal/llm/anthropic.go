package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/packages/param"

	"conclave"
)

// defaultMaxTokens leaves room for thinking, which counts as output.
const defaultMaxTokens = 32000

// Anthropic speaks the Messages API. It is safe for concurrent use.
type Anthropic struct {
	opts     Options
	messages anthropic.MessageService
}

// NewAnthropic makes a client. ErrInvalid for an address that is none.
func NewAnthropic(o Options) (*Anthropic, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	opts := []option.RequestOption{
		option.WithBaseURL(o.BaseURL),
		option.WithMaxRetries(0),
		option.WithHTTPClient(&http.Client{Transport: Watch(o.Transport, o.Idle)}),
	}
	if o.Key != "" {
		opts = append(opts, option.WithAPIKey(o.Key))
	}
	// The service by itself, unlike the SDK's client, does not read the environment.
	return &Anthropic{opts: o, messages: anthropic.NewMessageService(opts...)}, nil
}

// Complete asks the model. Errors by kind: ErrDenied for a bad key, ErrInvalid
// for a request that the provider refuses, ErrNotFound for an unknown model,
// ErrLimited when it is still limited after the last try, ErrUnsupported when
// the model refuses, ErrTimeout when it falls silent, ErrUnavailable when it
// can't be reached or breaks off. What was spent is in Usage even then.
func (c *Anthropic) Complete(ctx context.Context, r Request) (Response, error) {
	params := anthropicParams(r)
	var headers []option.RequestOption
	for k, v := range r.Header {
		headers = append(headers, option.WithHeader(k, v))
	}
	return c.opts.retrying(ctx, r.Model, func(ctx context.Context) (Response, error) {
		return c.once(ctx, params, headers)
	})
}

func (c *Anthropic) once(ctx context.Context, params anthropic.MessageNewParams, headers []option.RequestOption) (Response, error) {
	stream := c.messages.NewStreaming(ctx, params, headers...)
	// Its error is the stream's own, which Err tells.
	defer func() { _ = stream.Close() }()
	var m anthropic.Message
	var r Response
	ended := false
	for stream.Next() {
		e := stream.Current()
		if err := m.Accumulate(e); err != nil {
			return r, &failure{kind: conclave.ErrUnavailable, text: "the answer makes no sense: " + err.Error(), retry: true}
		}
		ended = ended || e.Type == "message_stop"
		r.Usage = Usage{Calls: 1, Input: m.Usage.InputTokens, Output: m.Usage.OutputTokens,
			CacheRead: m.Usage.CacheReadInputTokens, CacheWrite: m.Usage.CacheCreationInputTokens}
	}
	if err := stream.Err(); err != nil {
		return r, anthropicFailure(err)
	}
	if !ended {
		return r, cut()
	}
	r.Message.Role = RoleAssistant
	for _, b := range m.Content {
		switch b.Type {
		case "text":
			r.Message.Blocks = append(r.Message.Blocks, Block{Text: b.Text})
		case "tool_use":
			r.Message.Blocks = append(r.Message.Blocks, Block{Call: &ToolCall{ID: b.ID, Name: b.Name, Input: b.Input}})
		default:
			r.Message.Blocks = append(r.Message.Blocks, Block{Opaque: json.RawMessage(b.RawJSON())})
		}
	}
	r.Stop = StopEnd
	if m.StopReason == anthropic.StopReasonMaxTokens || m.StopReason == anthropic.StopReasonModelContextWindowExceeded {
		r.Stop = StopLength
	}
	r.assemble()
	if m.StopReason == anthropic.StopReasonRefusal {
		return r, refused(r.Text)
	}
	return r, nil
}

func anthropicParams(r Request) anthropic.MessageNewParams {
	p := anthropic.MessageNewParams{Model: r.Model, MaxTokens: r.MaxTokens}
	if p.MaxTokens == 0 {
		p.MaxTokens = defaultMaxTokens
	}
	if r.System != "" {
		// The mark covers the tools too, which come before the system prompt.
		p.System = []anthropic.TextBlockParam{{Text: r.System, CacheControl: anthropic.NewCacheControlEphemeralParam()}}
	}
	for _, t := range r.Tools {
		tool := anthropic.ToolParam{Name: t.Name, InputSchema: param.Override[anthropic.ToolInputSchemaParam](t.Schema)}
		if t.Description != "" {
			tool.Description = param.NewOpt(t.Description)
		}
		p.Tools = append(p.Tools, anthropic.ToolUnionParam{OfTool: &tool})
	}
	for _, m := range r.Messages {
		var blocks []anthropic.ContentBlockParamUnion
		for _, b := range m.Blocks {
			blocks = append(blocks, anthropicBlock(b))
		}
		p.Messages = append(p.Messages, anthropic.MessageParam{Role: anthropic.MessageParamRole(m.Role), Content: blocks})
	}
	// A second mark at the end lets the next turn read this one from the cache.
	if n := len(p.Messages); n > 0 {
		if blocks := p.Messages[n-1].Content; len(blocks) > 0 {
			if cc := blocks[len(blocks)-1].GetCacheControl(); cc != nil {
				*cc = anthropic.NewCacheControlEphemeralParam()
			}
		}
	}
	return p
}

func anthropicBlock(b Block) anthropic.ContentBlockParamUnion {
	switch {
	case b.Call != nil:
		return anthropic.NewToolUseBlock(b.Call.ID, b.Call.Input, b.Call.Name)
	case b.Result != nil:
		return anthropic.NewToolResultBlock(b.Result.ID, b.Result.Text, b.Result.Error)
	case b.Opaque != nil:
		return param.Override[anthropic.ContentBlockParamUnion](b.Opaque)
	}
	return anthropic.NewTextBlock(b.Text)
}

func anthropicFailure(err error) error {
	var ae *anthropic.Error
	if !errors.As(err, &ae) {
		return jsonFailure(err)
	}
	status := ae.StatusCode
	if status == http.StatusOK {
		// Sent as an event after the stream had begun.
		status = map[string]int{
			"overloaded_error": 529, "api_error": 500, "rate_limit_error": 429, "invalid_request_error": 400,
			"authentication_error": 401, "permission_error": 403, "not_found_error": 404, "timeout_error": 504,
		}[string(ae.Type())]
		if status == 0 {
			status = http.StatusInternalServerError
		}
	}
	var body struct{ Error struct{ Message string } }
	// A body that is no JSON gives no message, and the status speaks for itself.
	_ = json.Unmarshal([]byte(ae.RawJSON()), &body)
	return statusFailure(status, body.Error.Message, ae.Response.Header)
}

// jsonFailure tells an answer that is not what it should be from one that did
// not come.
func jsonFailure(err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &typ) {
		return &failure{kind: conclave.ErrUnavailable, text: fmt.Sprintf("the answer is not valid JSON: %v", err), retry: true}
	}
	return err
}
