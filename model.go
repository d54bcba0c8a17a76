package conclave

import "context"

// ModelCall is what one call to a model provider cost, from the provider's own figures.
type ModelCall struct {
	Key          string    `json:"idempotency_key,omitempty"`
	Run          RunID     `json:"run,omitempty"`
	Agent        AgentName `json:"agent,omitempty"`
	Task         TaskID    `json:"task,omitempty"` // of the hub, for which it was made
	Wire         string    `json:"wire"`           // "anthropic", "openai"
	Model        string    `json:"model"`
	Status       int       `json:"status"`       // HTTP status of the provider
	InputTokens  *int64    `json:"input_tokens"` // nil, as the next three, when the provider did not tell
	OutputTokens *int64    `json:"output_tokens"`
	CacheRead    *int64    `json:"cache_read_tokens"`
	CacheWrite   *int64    `json:"cache_write_tokens"`
	CostUSD      *float64  `json:"cost_usd"` // nil when that or the model's price is not known
	Millis       float64   `json:"ms"`
	Assumed      int64     `json:"assumed_tokens,omitempty"` // what it counts for against a budget while its tokens are not known
}

// GetUsage chooses whose usage to add up.
type GetUsage struct {
	Run   RunID     `json:"run,omitempty" doc:"Only the calls of this run"`
	Agent AgentName `json:"agent,omitempty" doc:"Only the calls of this agent"`
}

// CloseAccount names a run that has ended.
type CloseAccount struct {
	Key string `json:"idempotency_key,omitempty"`
	Run RunID  `json:"run" doc:"The run that makes no more model calls"`
}

// Upstream is a model provider that the router can reach, without its key.
type Upstream struct {
	Name    string   `json:"name"`
	Wire    string   `json:"wire"` // "anthropic", "openai"
	URL     string   `json:"url"`
	Models  []string `json:"models"`
	Keyed   bool     `json:"keyed"`   // a key is configured
	Problem string   `json:"problem"` // empty when it can be used
}

// RouteQuery asks which model a request would get.
type RouteQuery struct {
	Task string         `json:"task,omitempty"`
	Kind AssignmentKind `json:"kind,omitempty"`
	Role Role           `json:"role,omitempty"`
}

// Route is which model a request gets, and why.
type Route struct {
	Tier   string `json:"tier"` // "strong", "middle", "small"
	Model  string `json:"model"`
	Wire   string `json:"wire"`
	Reason string `json:"reason"`
}

// Models chooses a model for a request and accounts for its cost. The calls
// themselves travel on the providers' own wires, through the router's port.
type Models interface {
	// Route tells which model a request would get. ErrUnavailable when none is configured.
	Route(ctx context.Context, in RouteQuery) (Route, error)
	// Upstreams lists the providers.
	Upstreams(ctx context.Context, in None) ([]Upstream, error)
	// Usage adds up what was spent. Fields that nothing measured are nil.
	Usage(ctx context.Context, in GetUsage) (Usage, error)
	// Close ends a run's account: calls for it are refused from now on. It returns
	// what was spent; Pending calls may still add to it.
	Close(ctx context.Context, in CloseAccount) (Usage, error)
}

// ModelOperations is the table of the model-router service.
func ModelOperations() []Operation {
	return []Operation{
		Op("route_explain", "GET /route", PermitRead, Reads, Models.Route, "Tells which model a request would get, and why."),
		Op("upstream_list", "GET /upstreams", PermitRead, Reads, Models.Upstreams, "Lists the model providers that the router can reach."),
		Op("usage_get", "GET /usage", PermitRead, Reads, Models.Usage, "Adds up calls, tokens and cost; null where nothing was measured."),
		Op("account_close", "POST /usage/close", PermitService, Changes, Models.Close, "Ends a run's account: model calls for it are refused from now on."),
	}
}
