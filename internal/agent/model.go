package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"conclave"
	"conclave/internal/llm"
)

// Completer asks a model, as llm.Anthropic does.
type Completer interface {
	Complete(ctx context.Context, r llm.Request) (llm.Response, error)
}

// ModelOptions for [NewModelBrain].
type ModelOptions struct {
	// Client asks the model. Required.
	Client Completer
	// Model is a tier (which the router makes a model) or a model's name. It
	// gives way to the one that a role's file names. Required.
	Model string
	// Runner runs commands for roles that may. Nil: no agent runs any.
	Runner Runner
	// GoCache is a folder for the go command's build cache; empty: commands get
	// no Go toolchain.
	GoCache string
	// CheckPlan tells what is wrong with a plan before it is handed in. Nil: nothing.
	CheckPlan func(conclave.PlanContent) error
	// MaxTurns bounds the turns of a role that does not say. Zero: 40.
	MaxTurns int
	// Tokens bounds what an assignment that does not say may spend. Zero: 2 million.
	Tokens int64
	// RunTokens bounds, at the router, what a whole run may spend. Zero: no bound.
	RunTokens int64
	// Logger gets a line for each turn at level debug. Nil: nothing is logged.
	Logger *slog.Logger
}

// ModelBrain thinks by a model of a provider. It is safe for concurrent use.
type ModelBrain struct{ opts ModelOptions }

var _ Brain = (*ModelBrain)(nil)

// NewModelBrain makes a brain. ErrInvalid without a client or a model.
func NewModelBrain(o ModelOptions) (*ModelBrain, error) {
	if o.Client == nil || o.Model == "" {
		return nil, conclave.Errorf(conclave.ErrInvalid, "a model brain needs a client and the name of a model")
	}
	if o.MaxTurns == 0 {
		o.MaxTurns = 40
	}
	if o.Tokens == 0 {
		o.Tokens = 2_000_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &ModelBrain{o}, nil
}

// Name returns "model:" and the model.
func (b *ModelBrain) Name() string { return "model:" + b.opts.Model }

// replyTool is how a model hands in its answer.
const replyTool = "reply"

// Think answers an assignment; its errors are those that [Brain] names.
func (b *ModelBrain) Think(ctx context.Context, r Request) (Reply, error) {
	f, err := formFor(r, b.opts.CheckPlan)
	if err != nil {
		return Reply{}, err
	}
	box, err := openToolbox(r, b.opts.Runner, b.opts.GoCache)
	if err != nil {
		return Reply{}, err
	}
	defer box.close()
	t := &thought{brain: b, request: r, form: f, box: box}
	reply, err := t.run(ctx)
	if err != nil {
		return Reply{}, fmt.Errorf("%s thinking about %s for %s: %w", b.Name(), r.Assignment.Kind, r.Name, err)
	}
	return reply, nil
}

// thought is one assignment in the model's hands.
type thought struct {
	brain     *ModelBrain
	request   Request
	form      *form // nil for prose
	box       *toolbox
	ask       llm.Request
	spent     llm.Usage
	toolCalls int
	failed    error // what was wrong with the last answer; a second failure ends the thought
}

func (t *thought) run(ctx context.Context) (Reply, error) {
	if err := t.prepare(); err != nil {
		return Reply{}, err
	}
	o := t.brain.opts
	turns, tokens := o.MaxTurns, o.Tokens
	if n := t.request.Agent.MaxTurns; n > 0 {
		turns = n
	}
	if n := t.request.Assignment.Tokens; n > 0 {
		tokens = n
	}
	for turn := 1; turn <= turns; turn++ {
		answer, err := o.Client.Complete(ctx, t.ask)
		t.spent.Add(answer.Usage)
		if err != nil {
			return Reply{}, err
		}
		o.Logger.Debug("model turn", "agent", t.request.Name, "turn", turn, "stop", answer.Stop, "calls", len(answer.Calls), "tokens", t.spent.Tokens())
		reply, done, err := t.take(ctx, answer)
		switch {
		case done || err != nil:
			return reply, err
		case ctx.Err() != nil:
			return Reply{}, ctx.Err()
		case t.spent.Tokens() >= tokens:
			return Reply{}, conclave.Errorf(conclave.ErrLimited, "%d tokens were spent, and %d are the limit", t.spent.Tokens(), tokens)
		}
	}
	return Reply{}, conclave.Errorf(conclave.ErrLimited, "%d turns brought no reply", turns)
}

// prepare writes the first request.
func (t *thought) prepare() error {
	o, a := t.brain.opts, t.request.Assignment
	t.ask = llm.Request{
		Model:    o.Model,
		System:   systemPrompt(t.request),
		Messages: []llm.Message{llm.User(assignmentPrompt(t.request))},
		Header:   map[string]string{llm.HeaderRun: string(a.Run), llm.HeaderAgent: string(t.request.Name), llm.HeaderTask: string(t.request.Task)},
	}
	if t.request.Agent.Model != "" {
		t.ask.Model = t.request.Agent.Model
	}
	if o.RunTokens > 0 {
		t.ask.Header[llm.HeaderBudget] = strconv.FormatInt(o.RunTokens, 10)
	}
	for _, tool := range t.box.tools {
		t.ask.Tools = append(t.ask.Tools, tool.Tool)
	}
	if t.form != nil {
		schema, err := json.Marshal(t.form.schema)
		if err != nil {
			return fmt.Errorf("encoding the schema of the reply: %w", err)
		}
		t.ask.Tools = append(t.ask.Tools, llm.Tool{Name: replyTool, Schema: schema,
			Description: "Hands in your answer to the assignment and ends it. Call it exactly once, when everything else is done."})
		t.ask.System += "\n\nHand in your answer by calling the tool " + replyTool + "."
	}
	return nil
}

// take deals with one answer of the model: it uses the tools, and reads the
// reply if there is one.
func (t *thought) take(ctx context.Context, answer llm.Response) (Reply, bool, error) {
	if len(answer.Calls) == 0 {
		return t.takeText(ctx, answer)
	}
	t.ask.Messages = append(t.ask.Messages, answer.Message)
	if answer.Stop == llm.StopLength {
		// The last call may be half a call; none of them is carried out.
		return t.refuse(answer, conclave.Errorf(conclave.ErrInvalid, "the answer was cut off at its length limit, and nothing of it was done; do it in smaller pieces"))
	}
	var results []llm.ToolResult
	var hand *llm.ToolCall
	broken := false
	for _, call := range answer.Calls {
		if call.Name == replyTool && t.form != nil {
			hand = &call
			continue
		}
		t.toolCalls++
		result := t.box.use(ctx, call)
		broken = broken || result.Error
		results = append(results, result)
	}
	if ctx.Err() != nil {
		return Reply{}, false, ctx.Err()
	}
	switch {
	case hand == nil:
	case broken:
		results = append(results, llm.ToolResult{ID: hand.ID, Error: true, Text: "not taken, because another tool call beside it failed"})
	default:
		reply, err := t.form.read(ctx, hand.Input, t.worked())
		if err == nil {
			return reply, true, nil
		}
		if err := t.fail(err); err != nil {
			return Reply{}, false, err
		}
		results = append(results, llm.ToolResult{ID: hand.ID, Error: true, Text: err.Error()})
	}
	t.ask.Messages = append(t.ask.Messages, llm.Results(results...))
	return Reply{}, false, nil
}

// takeText deals with an answer that calls no tool.
func (t *thought) takeText(ctx context.Context, answer llm.Response) (Reply, bool, error) {
	wrong := conclave.Errorf(conclave.ErrInvalid, "the answer is empty")
	switch {
	case answer.Stop == llm.StopLength:
		wrong = conclave.Errorf(conclave.ErrInvalid, "the answer was cut off at its length limit; be shorter")
	case t.form == nil && answer.Text != "":
		return Reply{Text: answer.Text}, true, nil
	case t.form != nil && answer.Text != "":
		// Smaller models sometimes write the reply in place of calling the tool.
		reply, err := t.form.read(ctx, unfence(answer.Text), t.worked())
		if err == nil {
			return reply, true, nil
		}
		wrong = conclave.Errorf(conclave.ErrInvalid, "the answer is not a call of the tool %s (%w)", replyTool, err)
	}
	if err := t.fail(wrong); err != nil {
		return Reply{}, false, err
	}
	if len(answer.Message.Blocks) > 0 {
		t.ask.Messages = append(t.ask.Messages, answer.Message)
		t.ask.Messages = append(t.ask.Messages, llm.User(wrong.Error()))
	}
	return Reply{}, false, nil
}

// refuse answers every call with the same error.
func (t *thought) refuse(answer llm.Response, why error) (Reply, bool, error) {
	if err := t.fail(why); err != nil {
		return Reply{}, false, err
	}
	var results []llm.ToolResult
	for _, call := range answer.Calls {
		results = append(results, llm.ToolResult{ID: call.ID, Text: why.Error(), Error: true})
	}
	t.ask.Messages = append(t.ask.Messages, llm.Results(results...))
	return Reply{}, false, nil
}

// fail lets one bad answer pass, and ends the thought at the second. A failure
// that is not the model's ends it at once.
func (t *thought) fail(why error) error {
	if !errors.Is(why, conclave.ErrInvalid) {
		return why
	}
	if t.failed != nil {
		return conclave.Errorf(conclave.ErrInvalid, "the model's answer was wrong twice: %w", why)
	}
	t.failed = why
	return nil
}

func (t *thought) worked() worked {
	w := worked{toolCalls: t.toolCalls, proves: func(ref string) bool { return t.box.failures[ref] }}
	w.usage.ModelCalls = &t.spent.Calls
	if t.spent.Tokens() > 0 { // a server that does not tell its usage is not a free one
		input := t.spent.Input + t.spent.CacheRead + t.spent.CacheWrite
		w.usage.InputTokens, w.usage.OutputTokens = &input, &t.spent.Output
	}
	return w
}

// unfence takes the fence of a code block off.
func unfence(text string) json.RawMessage {
	text = strings.TrimSpace(text)
	if body, ok := strings.CutPrefix(text, "```"); ok {
		_, body, _ = strings.Cut(body, "\n")
		text = strings.TrimSuffix(strings.TrimSpace(body), "```")
	}
	return json.RawMessage(text)
}
