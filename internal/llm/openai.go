package llm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"

	"conclave"
)

// OpenAI speaks chat completions, to OpenAI or to any compatible server. It is
// safe for concurrent use.
type OpenAI struct {
	opts        Options
	completions openai.ChatCompletionService
}

// NewOpenAI makes a client. ErrInvalid for an address that is none.
func NewOpenAI(o Options) (*OpenAI, error) {
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
	return &OpenAI{opts: o, completions: openai.NewChatCompletionService(opts...)}, nil
}

// Complete asks the model; its errors are those of [Anthropic.Complete].
func (c *OpenAI) Complete(ctx context.Context, r Request) (Response, error) {
	params := openaiParams(r)
	var headers []option.RequestOption
	for k, v := range r.Header {
		headers = append(headers, option.WithHeader(k, v))
	}
	return c.opts.retrying(ctx, r.Model, func(ctx context.Context) (Response, error) {
		return c.once(ctx, params, headers)
	})
}

func (c *OpenAI) once(ctx context.Context, params openai.ChatCompletionNewParams, headers []option.RequestOption) (Response, error) {
	stream := c.completions.NewStreaming(ctx, params, headers...)
	// Its error is the stream's own, which Err tells.
	defer func() { _ = stream.Close() }()
	var acc openai.ChatCompletionAccumulator
	var r Response
	for stream.Next() {
		chunk := stream.Current()
		// The accumulator forgets what was written to the cache.
		if u := chunk.Usage; u.TotalTokens > 0 {
			d := u.PromptTokensDetails
			r.Usage = Usage{Calls: 1, Output: u.CompletionTokens, CacheRead: d.CachedTokens, CacheWrite: d.CacheWriteTokens,
				Input: max(0, u.PromptTokens-d.CachedTokens-d.CacheWriteTokens)}
		}
		if !acc.AddChunk(chunk) {
			return r, &failure{kind: conclave.ErrUnavailable, text: "the answer makes no sense: its chunks do not fit together", retry: true}
		}
	}
	if err := stream.Err(); err != nil {
		return r, openaiFailure(err)
	}
	if len(acc.Choices) == 0 || acc.Choices[0].FinishReason == "" {
		return r, cut()
	}
	choice := acc.Choices[0]
	r.Usage.Calls = 1
	r.Message.Role = RoleAssistant
	if choice.Message.Content != "" {
		r.Message.Blocks = append(r.Message.Blocks, Block{Text: choice.Message.Content})
	}
	for _, call := range choice.Message.ToolCalls {
		input := json.RawMessage(call.Function.Arguments)
		if len(input) == 0 {
			input = json.RawMessage("{}")
		}
		r.Message.Blocks = append(r.Message.Blocks, Block{Call: &ToolCall{ID: call.ID, Name: call.Function.Name, Input: input}})
	}
	r.Stop = StopEnd
	if choice.FinishReason == "length" {
		r.Stop = StopLength
	}
	r.assemble()
	if choice.Message.Refusal != "" || choice.FinishReason == "content_filter" {
		return r, refused(choice.Message.Refusal)
	}
	return r, nil
}

func openaiParams(r Request) openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{
		Model:         r.Model,
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: param.NewOpt(true)},
	}
	if r.MaxTokens > 0 {
		p.MaxCompletionTokens = param.NewOpt(r.MaxTokens)
	}
	if r.System != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(r.System))
	}
	for _, t := range r.Tools {
		f := openai.FunctionDefinitionParam{Name: t.Name, Parameters: openai.FunctionParameters{}}
		if t.Description != "" {
			f.Description = param.NewOpt(t.Description)
		}
		tool := openai.ChatCompletionFunctionTool(f)
		// The schema goes as it is: its own key order is part of what a cache sees.
		tool.OfFunction.Function.SetExtraFields(map[string]any{"parameters": t.Schema})
		p.Tools = append(p.Tools, tool)
	}
	for _, m := range r.Messages {
		p.Messages = append(p.Messages, openaiMessages(m)...)
	}
	return p
}

// openaiMessages turns one message into the several that this wire wants: each
// tool result is a message of its own.
func openaiMessages(m Message) []openai.ChatCompletionMessageParamUnion {
	var out []openai.ChatCompletionMessageParamUnion
	var said openai.ChatCompletionAssistantMessageParam
	for _, b := range m.Blocks {
		switch {
		case b.Result != nil:
			text := b.Result.Text
			if b.Result.Error {
				text = "error: " + text
			}
			out = append(out, openai.ToolMessage(text, b.Result.ID))
		case b.Call != nil:
			said.ToolCalls = append(said.ToolCalls, openai.ChatCompletionMessageToolCallUnionParam{
				OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{ID: b.Call.ID,
					Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: b.Call.Name, Arguments: string(b.Call.Input)}}})
		case b.Text != "" && m.Role == RoleAssistant:
			said.Content.OfString = param.NewOpt(said.Content.OfString.Value + b.Text)
		case b.Text != "":
			out = append(out, openai.UserMessage(b.Text))
		}
	}
	if m.Role == RoleAssistant {
		out = append(out, openai.ChatCompletionMessageParamUnion{OfAssistant: &said})
	}
	return out
}

func openaiFailure(err error) error {
	var ae *openai.Error
	if errors.As(err, &ae) {
		return statusFailure(ae.StatusCode, ae.Message, ae.Response.Header)
	}
	var se *ssestream.StreamError
	if errors.As(err, &se) {
		var event struct {
			Error struct{ Code, Message string }
		}
		// Not every server gives a code, and some give a number.
		_ = json.Unmarshal(se.Event.Data, &event)
		if event.Error.Code == strconv.Itoa(http.StatusGatewayTimeout) {
			return statusFailure(http.StatusGatewayTimeout, event.Error.Message, nil)
		}
		return &failure{kind: conclave.ErrUnavailable, text: "the provider broke off: " + se.Message, retry: true}
	}
	return jsonFailure(err)
}
