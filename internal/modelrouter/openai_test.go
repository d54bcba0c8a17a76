package modelrouter

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"conclave"
	"conclave/internal/llm"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

// completeOpenAI asks a router as a client with OpenAI's own SDK does.
func completeOpenAI(url string) func(context.Context, llm.Request) (llm.Response, error) {
	chats := openai.NewChatCompletionService(option.WithBaseURL(url+"/v1"), option.WithAPIKey(token), option.WithMaxRetries(0))
	return func(ctx context.Context, in llm.Request) (r llm.Response, err error) {
		var headers []option.RequestOption
		for k, v := range in.Header {
			headers = append(headers, option.WithHeader(k, v))
		}
		stream := chats.NewStreaming(ctx, openaiParams(in), headers...)
		defer func() { _ = stream.Close() }()
		var acc openai.ChatCompletionAccumulator
		for stream.Next() {
			chunk := stream.Current()
			if u := chunk.Usage; u.TotalTokens > 0 {
				d := u.PromptTokensDetails
				r.Usage = llm.Usage{Calls: 1, Output: u.CompletionTokens, CacheRead: d.CachedTokens, CacheWrite: d.CacheWriteTokens,
					Input: max(0, u.PromptTokens-d.CachedTokens-d.CacheWriteTokens)}
			}
			if !acc.AddChunk(chunk) {
				return r, errors.New("the chunks do not fit together")
			}
		}
		var broken *ssestream.StreamError
		switch err := stream.Err(); {
		case errors.As(err, &broken) && strings.Contains(string(broken.Event.Data), `"504"`):
			return r, conclave.Errorf(conclave.ErrTimeout, "%w", err)
		case err != nil:
			return r, conclave.Errorf(conclave.ErrUnavailable, "%w", err)
		case len(acc.Choices) == 0 || acc.Choices[0].FinishReason == "":
			return r, conclave.Errorf(conclave.ErrUnavailable, "the answer broke off")
		}
		choice := acc.Choices[0]
		r.Message.Role, r.Text, r.Stop = llm.RoleAssistant, choice.Message.Content, llm.StopEnd
		if choice.Message.Content != "" {
			r.Message.Blocks = append(r.Message.Blocks, llm.Block{Text: choice.Message.Content})
		}
		for _, call := range choice.Message.ToolCalls {
			c := llm.ToolCall{ID: call.ID, Name: call.Function.Name, Input: json.RawMessage(call.Function.Arguments)}
			r.Calls, r.Stop = append(r.Calls, c), llm.StopTools
			r.Message.Blocks = append(r.Message.Blocks, llm.Block{Call: &c})
		}
		return r, nil
	}
}

func openaiParams(r llm.Request) openai.ChatCompletionNewParams {
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
func openaiMessages(m llm.Message) []openai.ChatCompletionMessageParamUnion {
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
		case b.Text != "" && m.Role == llm.RoleAssistant:
			said.Content.OfString = param.NewOpt(said.Content.OfString.Value + b.Text)
		case b.Text != "":
			out = append(out, openai.UserMessage(b.Text))
		}
	}
	if m.Role == llm.RoleAssistant {
		out = append(out, openai.ChatCompletionMessageParamUnion{OfAssistant: &said})
	}
	return out
}
