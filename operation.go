package conclave

import (
	"context"
	"fmt"
	"reflect"
	"strings"
)

// Effect says what an operation does to the world.
type Effect string

// Effects.
const (
	Reads   Effect = "reads"
	Changes Effect = "changes" // takes an idempotency key: the same key gives the same result once
	Streams Effect = "streams" // server-sent events on REST; no face on MCP
)

// Operation is one row of a service's table. From it come a REST route, an MCP
// tool when Tool is set, and an A2A skill.
type Operation struct {
	Name       string // snake_case, unique: the MCP tool, the A2A skill, the OpenAPI operationId
	Route      string // "METHOD /path/{field}": path fields are input fields by their JSON name
	Summary    string // one sentence, for people and models
	Permission Permission
	Effect     Effect
	Tool       bool // offered to people and models as an MCP tool

	In, Out reflect.Type
	call    func(ctx context.Context, service, in any) (any, error)
	around  func(ctx context.Context, call func(context.Context) (any, error)) (any, error)
	refused func(ctx context.Context, o Operation, why error)
}

// Method returns the HTTP method of the route.
func (o Operation) Method() string { m, _, _ := strings.Cut(o.Route, " "); return m }

// Path returns the path template of the route.
func (o Operation) Path() string { _, p, _ := strings.Cut(o.Route, " "); return p }

// Permit returns ErrDenied when the caller lacks the operation's permission.
func (o Operation) Permit(ctx context.Context) error {
	c := CallerFrom(ctx)
	if c.May(o.Permission) {
		return nil
	}
	err := Errorf(ErrDenied, "%s needs the permission %q, which %q does not have", o.Name, o.Permission, c.Name())
	if o.refused != nil {
		o.refused(ctx, o, err)
	}
	return err
}

// OnRefusal returns the operation with someone to tell when its caller lacks the
// permission.
func (o Operation) OnRefusal(told func(ctx context.Context, o Operation, why error)) Operation {
	o.refused = told
	return o
}

// Call runs the operation on a service. in is a value of type o.In. It checks
// the caller's permission first, so no face can forget to: ErrDenied when the
// caller lacks it, ErrInternal when service or in has another type.
func (o Operation) Call(ctx context.Context, service, in any) (any, error) {
	if around := o.around; around != nil {
		o.around = nil
		return around(ctx, func(ctx context.Context) (any, error) { return o.Call(ctx, service, in) })
	}
	if err := o.Permit(ctx); err != nil {
		return nil, err
	}
	if o.call == nil {
		return nil, Errorf(ErrUnsupported, "%s streams; it can't be called for one answer", o.Name)
	}
	return o.call(ctx, service, in)
}

// Op makes an operation from a method of a contract, written as a method
// expression: Op("plan_get", "GET /plans/{id}", PermitRead, Reads, Plans.Get, "Returns a plan.").
func Op[S, I, O any](name, route string, p Permission, e Effect, method func(S, context.Context, I) (O, error), summary string) Operation {
	return Operation{
		Name: name, Route: route, Summary: summary, Permission: p, Effect: e,
		In: reflect.TypeFor[I](), Out: reflect.TypeFor[O](),
		call: func(ctx context.Context, service, in any) (any, error) {
			s, ok := service.(S)
			if !ok {
				return nil, fmt.Errorf("operation %s on a %T: %w", name, service, ErrInternal)
			}
			i, ok := in.(I)
			if !ok {
				return nil, fmt.Errorf("operation %s with a %T: %w", name, in, ErrInternal)
			}
			return method(s, ctx, i)
		},
	}
}

// Around returns the operation with every call of it, refused ones too, made by
// f, which is given the call.
func (o Operation) Around(f func(ctx context.Context, call func(context.Context) (any, error)) (any, error)) Operation {
	o.around = f
	return o
}

// AsTool returns the operation marked as an MCP tool.
func (o Operation) AsTool() Operation { o.Tool = true; return o }

// Instead returns the operation with another function behind it, which is asked
// after the permission was checked. Tests of what notices a broken operation use it.
func (o Operation) Instead(f func(ctx context.Context, service, in any) (any, error)) Operation {
	o.call = f
	return o
}

// Page asks for a part of a list, newest first.
type Page struct {
	Limit  int    `json:"limit,omitempty" doc:"How many at the most, 1 to 500; 50 when absent"`
	Before string `json:"before,omitempty" doc:"Only what is older than this id"`
}

// Table is a service's operations together with what answers them: the service
// itself, or a client of it.
type Table struct {
	Service    Service
	Operations []Operation
	Impl       any
}

// Find returns the operation with a name.
func (t Table) Find(name string) (Operation, bool) {
	for _, o := range t.Operations {
		if o.Name == name {
			return o, true
		}
	}
	return Operation{}, false
}
