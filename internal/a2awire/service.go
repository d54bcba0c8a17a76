package a2awire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"

	"conclave"
)

// AgentOptions describes one agent to serve.
type AgentOptions struct {
	Card       Card
	Handle     Handler
	Capacity   int                 // messages at once; 0 means no limit
	Permission conclave.Permission // what a caller needs; PermitSpeak when empty
	// Sign signs what the card says. Nil: it is not signed.
	Sign   func(r *http.Request, payload []byte) (CardSignature, error)
	Clock  conclave.Clock
	Logger *slog.Logger
}

// NewAgentHandler serves one agent from a function. Close the Runner to stop it.
func NewAgentHandler(opts AgentOptions) (http.Handler, *Runner) {
	runner := NewRunner(RunnerOptions{
		Name: opts.Card.Name, Handle: opts.Handle, Capacity: opts.Capacity, Clock: opts.Clock, Logger: opts.Logger,
	})
	card := func(*http.Request) (Card, error) { return opts.Card, nil }
	return NewServer(ServerOptions{Card: card, Tasks: runner, Permission: opts.Permission, Sign: opts.Sign, Logger: opts.Logger}), runner
}

// NewServiceHandler serves a service as an agent with a skill per operation. A
// message with the data part {"operation": NAME, "input": {…}} runs it, with
// the rights of its caller, and the output is the data part of an artifact.
func NewServiceHandler(table conclave.Table, url string, logger *slog.Logger) (http.Handler, *Runner) {
	card := Card{
		Name: string(table.Service), URL: url,
		Description: fmt.Sprintf("The service %s of Conclave. Send a data part {\"operation\": NAME, \"input\": {…}}; each skill is an operation.", table.Service),
	}
	for _, op := range table.Operations {
		if op.Effect != conclave.Streams {
			card.Skills = append(card.Skills, Skill{ID: op.Name, Name: op.Name, Description: op.Summary, Tags: []string{string(op.Effect), string(op.Permission)}})
		}
	}
	return NewAgentHandler(AgentOptions{
		// Each operation asks for its own permission; to be known is enough here.
		Card: card, Permission: conclave.PermitRead, Logger: logger,
		Handle: func(ctx context.Context, in Incoming) (Outgoing, error) { return runOperation(ctx, table, in) },
	})
}

func runOperation(ctx context.Context, table conclave.Table, in Incoming) (Outgoing, error) {
	var call struct {
		Operation string          `json:"operation"`
		Input     json.RawMessage `json:"input"`
	}
	if in.Data == nil {
		return Outgoing{}, rejected("%s takes a data part {\"operation\": NAME, \"input\": {…}}, not text; the operations are %s", table.Service, names(table))
	}
	if err := decodeStrict(in.Data, &call); err != nil {
		return Outgoing{}, rejected("the data part is not {\"operation\": NAME, \"input\": {…}}: %v", err)
	}
	op, ok := table.Find(call.Operation)
	if !ok || op.Effect == conclave.Streams {
		return Outgoing{}, rejected("%s has no operation %q; the operations are %s", table.Service, call.Operation, names(table))
	}
	if err := op.Permit(ctx); err != nil {
		return Outgoing{}, err
	}
	input := reflect.New(op.In)
	if len(call.Input) > 0 {
		if err := decodeStrict(call.Input, input.Interface()); err != nil {
			return Outgoing{}, rejected("the input of %s: %v", op.Name, err)
		}
	}
	out, err := op.Call(ctx, table.Impl, input.Elem().Interface())
	if err != nil {
		return Outgoing{}, err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return Outgoing{}, fmt.Errorf("encoding the output of %s: %w", op.Name, err)
	}
	return Outgoing{Data: data}, nil
}

func rejected(format string, args ...any) error {
	return Rejection{Err: conclave.Errorf(conclave.ErrInvalid, format, args...)}
}

func names(table conclave.Table) string {
	var all []string
	for _, op := range table.Operations {
		if op.Effect != conclave.Streams {
			all = append(all, op.Name)
		}
	}
	return strings.Join(all, ", ")
}

// decodeStrict decodes one JSON value and nothing after it; an unknown field is an error.
func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the value")
	}
	return nil
}
