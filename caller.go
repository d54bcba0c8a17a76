package conclave

import "context"

// Permission is what an operation asks of its caller.
type Permission string

// Permissions, from the least to the most.
const (
	PermitRead    Permission = "read"    // see runs, plans, messages, decisions
	PermitSpeak   Permission = "speak"   // send messages, comment, vote
	PermitWork    Permission = "work"    // start and cancel runs, convene votes
	PermitApprove Permission = "approve" // decide what waits for a human
	PermitService Permission = "service" // what one service asks of another
	PermitAdmin   Permission = "admin"   // register agents, mint tokens
)

// Caller is who asks: the human at the start of the call path, and the agent or
// service that speaks for them.
type Caller struct {
	Tenant      TenantID     `json:"tenant"`
	Human       string       `json:"human"`           // at the start of the call path; rights are theirs
	Agent       AgentName    `json:"agent,omitempty"` // set when an agent speaks
	Service     Service      `json:"service,omitempty"`
	Permissions []Permission `json:"permissions"`
}

// May reports whether the caller holds a permission. No permission means no access.
func (c Caller) May(p Permission) bool {
	for _, have := range c.Permissions {
		if have == p {
			return true
		}
	}
	return false
}

// Name is how the caller appears in events: the agent, the service, or the human.
func (c Caller) Name() string {
	switch {
	case c.Agent != "":
		return string(c.Agent)
	case c.Service != "":
		return string(c.Service)
	}
	return c.Human
}

type callerKey struct{}

// WithCaller returns a context that carries who asks.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns who asks. Without one it returns a caller that may do nothing.
func CallerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// ServiceCaller is the caller that a service is when it acts on its own account,
// for a tenant and on behalf of the human who started the work.
func ServiceCaller(s Service, tenant TenantID, human string) Caller {
	return Caller{Tenant: tenant, Human: human, Service: s,
		Permissions: []Permission{PermitRead, PermitSpeak, PermitWork, PermitService}}
}
