package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"conclave"
)

// Rules say who may speak with whom, and how much. The zero value is not valid;
// [DefaultRules] are what holds without a file.
type Rules struct {
	// Calls are tried in order; the first one that fits a call decides it. A call
	// that none fits is refused.
	Calls []CallRule
	// MaxHops is how far a call may go on from agent to agent.
	MaxHops int
	// Budget is what everything that one message sets going may come to.
	Budget Budget
	// PerSecond and Burst bound the messages of each agent.
	PerSecond float64
	Burst     int
	// Retention is how long a conversation is kept after its last message; 0 is
	// for ever.
	Retention time.Duration
}

// CallRule allows or refuses calls. Every list that is there must fit; From and
// To must be there.
type CallRule struct {
	Allow   *bool                 `yaml:"allow"`
	From    []string              `yaml:"from"`    // people, services, agents, services/NAME, roles/ROLE or agents/NAME
	To      []string              `yaml:"to"`      // "*", roles/ROLE, skills/SKILL or agents/NAME
	Tenants []conclave.TenantID   `yaml:"tenants"` // of the call
	People  []string              `yaml:"people"`  // at the start of the call path, by name
	Scopes  []conclave.Permission `yaml:"scopes"`  // that whoever is at the start of the call path holds, all of them
	Kinds   []string              `yaml:"kinds"`   // of assignment; "message" for a message that is none
}

// Budget bounds what one message sets going: the message itself, and what
// agents ask each other because of it. A zero field is no bound.
type Budget struct {
	Task     conclave.TaskID `json:"task" yaml:"-"` // with which it began
	Messages int             `json:"messages,omitempty" yaml:"messages"`
	Tokens   int64           `json:"tokens,omitempty" yaml:"tokens"`
	CostUSD  float64         `json:"cost_usd,omitempty" yaml:"cost_usd"`
}

func (b Budget) bounds() bool { return b.Messages > 0 || b.Tokens > 0 || b.CostUSD > 0 }

// anyKind is what a rule calls a message that is no assignment.
const anyKind = "message"

// DefaultRules let everybody speak with every agent of their tenant, for people
// who may speak themselves.
func DefaultRules() Rules {
	yes := true
	return Rules{
		Calls:   []CallRule{{Allow: &yes, From: []string{"people", "services", "agents"}, To: []string{"*"}, Scopes: []conclave.Permission{conclave.PermitSpeak}}},
		MaxHops: 8, Budget: Budget{Messages: 500}, PerSecond: 20, Burst: 100,
	}
}

// Validate returns ErrInvalid for rules that say nothing, or what nobody understands.
func (r Rules) Validate() error {
	switch {
	case r.MaxHops < 1 || r.MaxHops > 100:
		return conclave.Errorf(conclave.ErrInvalid, "speech.max_hops is %d; it must be 1 to 100", r.MaxHops)
	case r.Budget.Messages < 0 || r.Budget.Tokens < 0 || r.Budget.CostUSD < 0:
		return conclave.Errorf(conclave.ErrInvalid, "speech.budget: what may be spent can't be below 0; 0 is no bound")
	case r.PerSecond <= 0 || r.Burst < 1:
		return conclave.Errorf(conclave.ErrInvalid, "speech.rate: per_second must be above 0, and burst 1 or more")
	case r.Retention < 0:
		return conclave.Errorf(conclave.ErrInvalid, "conversations.retention_days can't be below 0; 0 keeps them for ever")
	}
	for i, c := range r.Calls {
		if err := c.validate(); err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "rule %d of speech.calls: %w", i+1, err)
		}
	}
	return nil
}

func (c CallRule) validate() error {
	switch {
	case c.Allow == nil:
		return errors.New("it does not say whether it allows; write allow: true or allow: false")
	case len(c.From) == 0 || len(c.To) == 0:
		return errors.New("it needs both from and to")
	}
	classes := []string{"people", "services", "agents"}
	for _, from := range c.From {
		kind, name, named := strings.Cut(from, "/")
		if !named && !slices.Contains(classes, from) || named && (name == "" || !slices.Contains([]string{"services", "roles", "agents"}, kind)) {
			return fmt.Errorf("from: %q is nobody; want people, services, agents, services/NAME, roles/ROLE or agents/NAME", from)
		}
	}
	for _, to := range c.To {
		if _, err := parseAddress(to); to != "*" && err != nil {
			return fmt.Errorf(`to: %q is nobody; want "*", roles/ROLE, skills/SKILL or agents/NAME`, to)
		}
	}
	scopes := []string{string(conclave.PermitRead), string(conclave.PermitSpeak), string(conclave.PermitWork), string(conclave.PermitApprove), string(conclave.PermitAdmin)}
	for _, s := range c.Scopes {
		if !slices.Contains(scopes, string(s)) {
			return fmt.Errorf("scopes: there is no %q; %s", s, conclave.DidYouMean(string(s), scopes))
		}
	}
	return nil
}

// speech is a call as the rules see it.
type speech struct {
	caller conclave.Caller
	role   conclave.Role // of the agent that calls
	human  string        // at the start of the path
	scopes []conclave.Permission
	kind   conclave.AssignmentKind
}

// allow tells whether a call to an agent is allowed.
func (r Rules) allow(s speech, to conclave.Agent) bool {
	for _, c := range r.Calls {
		if c.fits(s, to) {
			return *c.Allow
		}
	}
	return false
}

func (c CallRule) fits(s speech, to conclave.Agent) bool {
	if !slices.ContainsFunc(c.From, s.is) {
		return false
	}
	if !slices.ContainsFunc(c.To, func(name string) bool {
		a, err := parseAddress(name)
		return name == "*" || err == nil && a.has(to)
	}) {
		return false
	}
	for _, scope := range c.Scopes {
		if !slices.Contains(s.scopes, scope) {
			return false
		}
	}
	return (len(c.Tenants) == 0 || slices.Contains(c.Tenants, s.caller.Tenant)) && (len(c.People) == 0 || slices.Contains(c.People, s.human)) &&
		(len(c.Kinds) == 0 || slices.Contains(c.Kinds, cmp.Or(string(s.kind), anyKind)))
}

// is reports whether the caller is one that a rule names.
func (s speech) is(from string) bool {
	switch {
	case s.caller.Agent != "":
		return from == "agents" || from == "agents/"+string(s.caller.Agent) || from == "roles/"+string(s.role)
	case s.caller.Service != "":
		return from == "services" || from == "services/"+string(s.caller.Service)
	}
	return from == "people"
}

// refusal is why a call was refused, by the name of the rule that it broke.
type refusal struct {
	rule string
	error
}

func (r refusal) Unwrap() error { return r.error }

// broke makes the error of a call that broke a rule.
func broke(rule string, kind error, format string, args ...any) error {
	return refusal{rule, conclave.Errorf(kind, format, args...)}
}

// ruleOf names the rule that a refused call broke.
func ruleOf(err error) string {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.rule
	}
	return conclave.KindOf(err).Error()
}

// judge refuses a call that the rules do not allow to anybody who has the
// address, and names those whom it must not reach.
func (h *Hub) judge(s speech, to string, candidates []conclave.Agent) (exclude []conclave.AgentName, err error) {
	allowed := false
	for _, a := range candidates {
		if h.opts.Rules.allow(s, a) {
			allowed = true
		} else {
			exclude = append(exclude, a.Name)
		}
	}
	if !allowed {
		return nil, broke("policy", conclave.ErrDenied, "the rules of speech do not let %s call %s on behalf of %s", s.caller.Name(), to, cmp.Or(s.human, "nobody"))
	}
	return exclude, nil
}

// pace is how often somebody speaks.
type pace struct {
	*rate.Limiter
	refused int       // since the last one on record
	told    time.Time // when one was put on record
}

// hurry refuses what an agent says too often. Whoever floods the hub must not
// flood the record as well: one refusal a second is kept, with how many there were.
func (h *Hub) hurry(ctx context.Context, c conclave.Caller, to string) error {
	if c.Agent == "" {
		return nil
	}
	now := h.opts.Clock()
	key := agentKey{c.Tenant, c.Agent}
	h.mu.Lock()
	p := h.paces[key]
	if p == nil {
		p = &pace{Limiter: rate.NewLimiter(rate.Limit(h.opts.Rules.PerSecond), h.opts.Rules.Burst)}
		h.paces[key] = p
	}
	if p.AllowN(now, 1) {
		h.mu.Unlock()
		return nil
	}
	p.refused++
	since, tell := p.refused, now.Sub(p.told) >= time.Second
	if tell {
		p.refused, p.told = 0, now
	}
	h.mu.Unlock()
	err := broke("rate", conclave.ErrLimited, "%s speaks too often; it may send %g messages a second, %d at once", c.Agent, h.opts.Rules.PerSecond, h.opts.Rules.Burst)
	if tell {
		h.record(ctx, Refusal{Tenant: c.Tenant, Rule: "rate", From: c.Name(), To: to, Count: since, Why: err.Error()})
	}
	return err
}

// budgets are those that a call counts for: those of the task that it is made
// for, or that of the rules, and one of its own when less is asked for.
func (h *Hub) budgets(had []Budget, told conclave.CallPath) []Budget {
	own := Budget{Messages: max(told.Messages, 0), Tokens: max(told.Tokens, 0), CostUSD: max(told.CostUSD, 0)}
	if len(had) == 0 {
		b := h.opts.Rules.Budget
		own = Budget{Messages: lower(own.Messages, b.Messages), Tokens: lower(own.Tokens, b.Tokens), CostUSD: lower(own.CostUSD, b.CostUSD)}
	}
	if !own.bounds() {
		return had
	}
	return append(slices.Clone(had), own) // whatever it says, those above go on counting
}

// begunBy names the task in budgets that begin with it.
func begunBy(budgets []Budget, id conclave.TaskID) []Budget {
	all := slices.Clone(budgets)
	for i := range all {
		if all[i].Task == "" {
			all[i].Task = id
		}
	}
	return all
}

// Spent is what came of a budget.
type Spent struct {
	Messages int
	Tokens   int64
	CostUSD  float64
}

// Left returns what may still be spent when s was, in a call's terms: 0 where
// there is no bound, below 0 where nothing is left. ErrLimited when it is
// already more than the budget has.
func (b Budget) Left(s Spent) (messages int, tokens int64, costUSD float64, err error) {
	const none = -1
	left := func(unit string, bound, spent float64) (float64, error) {
		switch {
		case bound == 0:
			return 0, nil
		case spent > bound:
			return none, conclave.Errorf(conclave.ErrLimited, "the budget of task %s is spent: it had %g %s", b.Task, bound, unit)
		case spent == bound:
			return none, nil
		}
		return bound - spent, nil
	}
	m, err := left("messages", float64(b.Messages), float64(s.Messages))
	t, tokensErr := left("model tokens", float64(b.Tokens), float64(s.Tokens))
	if tokensErr == nil && t < 0 {
		tokensErr = conclave.Errorf(conclave.ErrLimited, "the budget of task %s is spent: it had %d model tokens", b.Task, b.Tokens)
	}
	c, costErr := left("US dollars", b.CostUSD, s.CostUSD)
	if costErr == nil && c < 0 {
		costErr = conclave.Errorf(conclave.ErrLimited, "the budget of task %s is spent: it had %g US dollars", b.Task, b.CostUSD)
	}
	return int(m), int64(t), c, cmp.Or(err, tokensErr, costErr)
}

// Narrow lowers what a call may still spend to what a budget has left, after s.
func (b Budget) Narrow(call conclave.CallPath, s Spent) (conclave.CallPath, error) {
	messages, tokens, cost, err := b.Left(s)
	call.Messages, call.Tokens, call.CostUSD = lower(call.Messages, messages), lower(call.Tokens, tokens), lower(call.CostUSD, cost)
	return call, err
}

// lower returns the smaller of two bounds, of which 0 is none.
func lower[T int | int64 | float64](a, b T) T {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	}
	return min(a, b)
}
