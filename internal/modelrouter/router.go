package modelrouter

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"conclave"
	"conclave/internal/llm"
)

// Store keeps what model calls cost.
type Store interface {
	// Begin keeps a call before it is made, so that it counts whatever happens
	// then. ErrConflict when the account of its run is closed.
	Begin(ctx context.Context, call conclave.ModelCall) error
	// Record keeps the end of the call with its key.
	Record(ctx context.Context, call conclave.ModelCall) error
	// Drop removes a call that began, but did not reach its provider.
	Drop(ctx context.Context, key string) error
	// Spent is what the run's calls count for against its budget.
	Spent(ctx context.Context, run conclave.RunID) (int64, error)
	Usage(ctx context.Context, in conclave.GetUsage) (conclave.Usage, error)
	// Close lets no more calls of a run begin.
	Close(ctx context.Context, in conclave.CloseAccount) error
}

// Options for [New].
type Options struct {
	// Upstreams are tried in this order. Empty: every request is ErrUnavailable.
	Upstreams []Upstream
	// Rules; nil means those that Conclave ships.
	Rules *Rules
	// Store keeps the accounts. Required.
	Store Store
	// Authenticate tells whose a token is: ErrDenied when it is nobody's. Required.
	Authenticate func(ctx context.Context, token string) (conclave.Caller, error)
	// Transport makes the calls to upstreams. Nil: a transport of its own.
	Transport http.RoundTripper
	// Idle is the longest silence of an upstream. Zero: 10 minutes, which is
	// what Claude Code waits.
	Idle time.Duration
	// KeepAlive is the silence of a stream after which its client is sent a sign
	// of life. Zero: 15 seconds.
	KeepAlive time.Duration
	// Linger is how long the answer of a client that left is read on, for what it
	// cost. Zero: 2 seconds.
	Linger time.Duration
	// Retries is how often all upstreams are asked again when each of them is
	// limited, overloaded or out of reach. Zero: 2; negative: never. A caller with a
	// key of its own retries by itself.
	Retries int
	// Backoff is the wait before the first of these, doubled for each later one,
	// give or take a half. Zero: 250 ms. A provider's own Retry-After goes before it.
	Backoff time.Duration
	// MaxWait is the longest wait; a provider that asks for more is left to the
	// caller. Zero: 5 seconds.
	MaxWait time.Duration
	// BodyTime is how long a request may take to come in, and a piece of an answer
	// to be taken. Zero: 2 minutes.
	BodyTime time.Duration
	// Logger gets what could not be recorded, and each call at level debug. Nil:
	// nothing is logged.
	Logger *slog.Logger
	// Clock tells the time. Nil: time.Now.
	Clock conclave.Clock
}

// Router is the model-router service. It is safe for concurrent use.
type Router struct {
	rules     *Rules
	upstreams []*upstream
	store     Store
	auth      func(context.Context, string) (conclave.Caller, error)
	transport http.RoundTripper
	linger    time.Duration
	log       *slog.Logger
	now       conclave.Clock
	keepAlive time.Duration
	retries   int
	backoff   time.Duration
	maxWait   time.Duration
	bodyTime  time.Duration
	sessions  sessions
	buffers   buffers
	writing   *semaphore.Weighted // ends of calls that are being written down
}

var _ conclave.Models = (*Router)(nil)

// New makes a router. ErrInvalid for an upstream that can't be.
func New(o Options) (*Router, error) {
	if o.Store == nil || o.Authenticate == nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the model router needs a store and a way to authenticate")
	}
	r := &Router{rules: o.Rules, store: o.Store, auth: o.Authenticate, transport: o.Transport, log: o.Logger, now: o.Clock,
		keepAlive: cmp.Or(o.KeepAlive, 15*time.Second), linger: cmp.Or(o.Linger, 2*time.Second),
		retries: max(0, cmp.Or(o.Retries, 2)), backoff: cmp.Or(o.Backoff, 250*time.Millisecond), maxWait: cmp.Or(o.MaxWait, 5*time.Second),
		bodyTime: cmp.Or(o.BodyTime, 2*time.Minute), writing: semaphore.NewWeighted(maxWriting)}
	if r.rules == nil {
		rules, err := ParseRules(defaultRules)
		if err != nil {
			return nil, err
		}
		r.rules = rules
	}
	if r.transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		// Many agents talk to few hosts.
		t.MaxIdleConnsPerHost = 64
		// The bytes must pass as they are.
		t.DisableCompression = true
		r.transport = t
	}
	r.transport = llm.Watch(r.transport, cmp.Or(o.Idle, 10*time.Minute))
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.now == nil {
		r.now = time.Now
	}
	for _, u := range o.Upstreams {
		if err := u.complete(); err != nil {
			return nil, err
		}
		r.upstreams = append(r.upstreams, newUpstream(u))
	}
	return r, nil
}

// Route tells which model a request would get. ErrUnavailable when no provider
// that has a model for it is configured, or each of them failed just now.
func (r *Router) Route(_ context.Context, in conclave.RouteQuery) (conclave.Route, error) {
	tier, reason := r.rules.tier(in)
	var troubles []string
	for _, wire := range []string{WireAnthropic, WireOpenAI} {
		for _, c := range r.candidates(wire, "", tier, false) {
			trouble := c.upstream.trouble(r.now())
			if trouble == "" {
				return conclave.Route{Tier: tier, Model: c.model, Wire: wire, Reason: reason}, nil
			}
			troubles = append(troubles, fmt.Sprintf("%s (%s)", c.Name, trouble))
		}
	}
	if len(troubles) > 0 {
		return conclave.Route{}, conclave.Errorf(conclave.ErrUnavailable,
			"no model provider for the %s tier could be reached within the last %v: %s", tier, avoidance, strings.Join(troubles, ", "))
	}
	return conclave.Route{}, conclave.Errorf(conclave.ErrUnavailable,
		"no model provider is configured for the %s tier: set ANTHROPIC_API_KEY, or OPENAI_BASE_URL and CONCLAVE_MODEL", tier)
}

// Upstreams lists the providers.
func (r *Router) Upstreams(context.Context, conclave.None) ([]conclave.Upstream, error) {
	all := []conclave.Upstream{}
	for _, u := range r.upstreams {
		all = append(all, u.describe(r.rules, r.now()))
	}
	return all, nil
}

// Usage adds up what was spent.
func (r *Router) Usage(ctx context.Context, in conclave.GetUsage) (conclave.Usage, error) {
	err := r.Settle(ctx)
	if err != nil {
		return conclave.Usage{}, err
	}
	u, err := r.store.Usage(ctx, in)
	if err != nil {
		return conclave.Usage{}, fmt.Errorf("adding up model usage: %w", err)
	}
	return u, nil
}

// Close ends a run's account. ErrInvalid without a run.
func (r *Router) Close(ctx context.Context, in conclave.CloseAccount) (conclave.Usage, error) {
	if in.Run == "" {
		return conclave.Usage{}, conclave.Errorf(conclave.ErrInvalid, "run is empty; name the run whose account is to be closed")
	}
	if err := r.store.Close(ctx, in); err != nil {
		return conclave.Usage{}, fmt.Errorf("closing the account of run %s: %w", in.Run, err)
	}
	return r.Usage(ctx, conclave.GetUsage{Run: in.Run})
}

// candidate is an upstream with what a request's model is called there.
type candidate struct {
	*upstream
	model string
}

// candidates lists the upstreams for a request in the order in which they are
// tried: as configured, but those in trouble last.
func (r *Router) candidates(wire, requested, tier string, ownKey bool) []candidate {
	var all []candidate
	for _, u := range r.upstreams {
		if u.Wire != wire || !u.serves(ownKey) {
			continue
		}
		if tier == "" && r.foreign(wire, requested) {
			continue
		}
		if m := u.model(requested, tier, r.rules); m != "" || tier == "" {
			all = append(all, candidate{u, m})
		}
		if ownKey {
			return all // the caller's key is for the first provider, and no other may see it
		}
	}
	now := r.now()
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Compare(btoi(a.trouble(now) != ""), btoi(b.trouble(now) != ""))
	})
	return all
}

// foreign reports whether a model's name is known to be one of the other wire
// that is served there, and not of this one.
func (r *Router) foreign(wire, model string) bool {
	there := false
	for _, u := range r.upstreams {
		if u.Wire == wire && u.Model == model {
			return false
		}
		there = there || (u.Wire != wire && u.serves(false) && (u.Model == model || (!u.Open && r.rules.tierOf(u.Wire, model) != "")))
	}
	return there && model != "" && r.rules.tierOf(wire, model) == ""
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
