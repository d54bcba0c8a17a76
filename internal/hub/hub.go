package hub

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"

	"conclave"
	"conclave/internal/a2awire"
)

// Options says how a hub works.
type Options struct {
	Store Store
	// Topics and Conversations keep what is said to many, and what was said as a
	// whole. Nil: those operations are ErrUnsupported.
	Topics        TopicStore
	Conversations ConversationStore
	// Transport reaches agents; an *a2awire.Local serves those in this process.
	// Nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Token returns the bearer token for a request to an agent's host; ctx says
	// on whose behalf. Nil: none is sent.
	Token func(ctx context.Context, a conclave.Agent) (string, error)
	// Instance names this hub among its replicas, and stays the same when it
	// restarts. Empty: "hub".
	Instance string
	// Foreign reaches agents of somebody else's whose cards were trusted, and
	// their cards; Inside does for those that may live in this host's network.
	// Nil: http.DefaultTransport.
	Foreign, Inside http.RoundTripper
	// Sign signs the cards that the hub serves. Nil: they are not signed.
	Sign  func(r *http.Request, payload []byte) (a2awire.CardSignature, error)
	Rules *Rules // of speech; nil: DefaultRules
	// Trust returns what an agent's outcomes come to, for its card. Nil: cards do
	// not speak of it.
	Trust func(ctx context.Context, tenant conclave.TenantID, name conclave.AgentName) (conclave.TrustScore, error)
	// MaxQueued and MaxSent are how many messages may wait at one address, and of
	// one sender; 0: 20,000 and 50,000.
	MaxQueued, MaxSent int
	MaxAge             time.Duration // how long a message tries to reach somebody; 0: 10 minutes
	Timeout            time.Duration // how long an agent may take; 0: 1 hour
	Silence            time.Duration // after which an agent that registered here is lost; 0: 20 seconds
	Push               PushOptions
	Letters            LetterStore // nil: messages that reach nobody are not kept for another try
	Clock              conclave.Clock
	Logger             *slog.Logger
}

const (
	refreshSeen = 30 * time.Second // how often an unchanged agent's Seen is written
	agentTTL    = 90 * time.Second // for agents that registered with a hub that is gone
	claimTTL    = 20 * time.Second // of a claim that no delivery in hand renews
	looseTTL    = 4 * time.Second  // of a claim of this hub's own that it does not have in hand: it was not told that it has it
	sweepEvery  = 5 * time.Second
	probeEvery  = 30 * time.Second // of agents that no pool of ours hosts
	probeLimit  = 5 * time.Second

	probesAtOnce = 16 // so that a few that keep the hub waiting hold up nobody
)

func (o *Options) setDefaults() error {
	if o.Store == nil {
		return conclave.Errorf(conclave.ErrInvalid, "a hub needs a store")
	}
	if o.Foreign == nil {
		o.Foreign = http.DefaultTransport
	}
	if o.Inside == nil {
		o.Inside = http.DefaultTransport
	}
	if o.Instance == "" {
		o.Instance = "hub"
	}
	if o.Rules == nil {
		rules := DefaultRules()
		o.Rules = &rules
	}
	if err := o.Rules.Validate(); err != nil {
		return err
	}
	if o.MaxQueued == 0 {
		o.MaxQueued = 20_000
	}
	if o.MaxSent == 0 {
		o.MaxSent = 50_000
	}
	if o.MaxAge == 0 {
		o.MaxAge = 10 * time.Minute
	}
	if o.Timeout == 0 {
		o.Timeout = time.Hour
	}
	if o.Silence == 0 {
		o.Silence = 20 * time.Second
	}
	if o.Push.MaxAge == 0 {
		o.Push.MaxAge = time.Hour
	}
	if o.Push.Store != nil && o.Push.Transport == nil {
		return conclave.Errorf(conclave.ErrInvalid, "a hub that tells clients of their tasks needs a transport that may call them")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// Hub implements [conclave.Hub].
type Hub struct {
	opts Options

	mu      sync.Mutex
	beats   map[agentKey]*beat
	suspect map[agentKey]time.Time // when a delivery found nobody there
	clients map[string]*a2awire.Client
	servers map[string]http.Handler // A2A faces by address
	seen    map[queueKey]time.Time  // when somebody was found at an address
	inHand  map[conclave.TaskID]int // deliveries that this hub works on now
	queues  map[queueKey]*queue     // how many messages wait
	life    context.Context         // Run's; nil while it does not run
	running sync.WaitGroup          // deliveries that began with their acceptance
	paces   map[agentKey]*pace      // how often agents speak
}

type agentKey struct {
	tenant conclave.TenantID
	name   conclave.AgentName
}

// beat is what this hub last heard of an agent, so that a heartbeat that says
// nothing new costs no write.
type beat struct {
	told    conclave.Agent // as the store returned it
	asked   conclave.Agent // as it registered
	written time.Time
	heard   time.Time
}

var _ conclave.Hub = (*Hub)(nil)

// New makes a hub. ErrInvalid without a store.
func New(opts Options) (*Hub, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	return &Hub{
		opts: opts, beats: map[agentKey]*beat{}, suspect: map[agentKey]time.Time{},
		clients: map[string]*a2awire.Client{}, servers: map[string]http.Handler{}, seen: map[queueKey]time.Time{}, inHand: map[conclave.TaskID]int{}, queues: map[queueKey]*queue{}, paces: map[agentKey]*pace{},
	}, nil
}

// Run puts back what an earlier life of this instance held, then watches over
// claims and agents until ctx ends.
func (h *Hub) Run(ctx context.Context, ready func()) error {
	n, err := h.opts.Store.Sweep(ctx, Sweep{Instance: h.opts.Instance, Start: true, AgentTTL: agentTTL, ClaimTTL: claimTTL})
	if err != nil {
		return fmt.Errorf("taking up deliveries after a restart: %w", err)
	}
	if n > 0 {
		h.opts.Logger.InfoContext(ctx, "took up deliveries after a restart", "count", n)
	}
	defer h.live(ctx)()
	ready()
	var probing sync.WaitGroup
	defer probing.Wait()
	probing.Go(func() { h.probeForeign(ctx) })
	if h.opts.Push.Store != nil {
		probing.Go(func() { h.notify(ctx) })
	}
	probing.Go(func() { h.tend(ctx) })
	silence := time.NewTicker(h.opts.Silence / 4)
	defer silence.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-silence.C:
			h.loseSilent(ctx)
		case <-sweep.C:
			h.forgetQueues()
			if _, err := h.opts.Store.Sweep(ctx, Sweep{Instance: h.opts.Instance, Held: h.held(), AgentTTL: agentTTL, ClaimTTL: claimTTL, LooseTTL: looseTTL}); err != nil && ctx.Err() == nil {
				h.opts.Logger.ErrorContext(ctx, "sweeping deliveries and agents", "err", err)
			}
		}
	}
}

// loseSilent marks agents lost whose heartbeats to this hub have stopped.
func (h *Hub) loseSilent(ctx context.Context) {
	now := h.opts.Clock()
	type gone struct {
		key   agentKey
		agent conclave.Agent
	}
	var silent []gone
	h.mu.Lock()
	for key, b := range h.beats {
		if !foreign(b.told) && now.Sub(b.heard) > h.opts.Silence {
			silent = append(silent, gone{key, b.told})
			delete(h.beats, key)
		}
	}
	h.mu.Unlock()
	for _, g := range silent {
		g.agent.State = conclave.AgentLost
		if _, err := h.opts.Store.UpsertAgent(ctx, g.key.tenant, g.agent); err != nil {
			h.opts.Logger.ErrorContext(ctx, "marking an agent lost", "agent", g.key.name, "err", err)
		}
	}
}

// foreign reports whether an agent is somebody else's: it was registered once,
// and sends no heartbeats.
func foreign(a conclave.Agent) bool { return a.Service == "" }

// probeForeign asks foreign agents' servers, now and then, whether they are
// there, until ctx ends.
func (h *Hub) probeForeign(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	hands := make(chan struct{}, probesAtOnce)
	for {
		var probing sync.WaitGroup
		tenants := map[conclave.TenantID]bool{conclave.DefaultTenant: true}
		h.mu.Lock()
		for key := range h.beats {
			tenants[key.tenant] = true
		}
		h.mu.Unlock()
		for tenant := range tenants {
			agents, err := h.opts.Store.Agents(ctx, tenant, conclave.ListAgents{})
			if err != nil {
				if ctx.Err() == nil {
					h.opts.Logger.ErrorContext(ctx, "listing agents to probe", "err", err)
				}
				continue
			}
			for _, a := range agents {
				if !foreign(a) {
					continue
				}
				hands <- struct{}{}
				probing.Go(func() {
					defer func() { <-hands }()
					h.probe(ctx, tenant, a)
				})
			}
		}
		probing.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// problem is why an agent's card is not trusted any more, or nothing.
func problem(a conclave.Agent) string {
	if a.Card == nil {
		return ""
	}
	return a.Card.Problem
}

// probe renews a foreign agent that answers, and marks one lost that does not.
func (h *Hub) probe(ctx context.Context, tenant conclave.TenantID, a conclave.Agent) {
	if a.URL == conclave.PullURL {
		return // its leases are its heartbeats
	}
	was := a
	a, err := h.examine(ctx, a)
	if ctx.Err() != nil {
		return
	}
	found := conclave.AgentLive
	if err != nil {
		found = conclave.AgentLost
	}
	if found == conclave.AgentLost && was.State == conclave.AgentLost && sameAgent(was, a) && problem(was) == problem(a) {
		return
	}
	if a.Card != nil && a.Card.Problem != "" && a.Card.Problem != was.Card.Problem { // it is no longer the one that was trusted
		h.record(ctx, Refusal{Tenant: tenant, Rule: "card", From: string(a.Name), To: a.Card.URL, Why: err.Error()})
	}
	key := agentKey{tenant, a.Name}
	h.mu.Lock()
	b := h.beats[key]
	changed := b != nil && h.opts.Clock().Sub(b.written) < probeLimit // registered anew meanwhile
	if found == conclave.AgentLost {
		delete(h.beats, key)
	}
	if a.Card != nil && !slices.Equal(was.Card.Interfaces, a.Card.Interfaces) {
		delete(h.clients, clientKey(tenant, was)) // its card names others now
	}
	h.mu.Unlock()
	if changed {
		return
	}
	a.State = found
	// Removed or trusted anew meanwhile: that stands.
	if _, err := h.opts.Store.RenewAgent(ctx, tenant, a); err != nil && ctx.Err() == nil && !errors.Is(err, conclave.ErrNotFound) && !errors.Is(err, conclave.ErrConflict) {
		h.opts.Logger.ErrorContext(ctx, "renewing a foreign agent", "agent", a.Name, "err", err)
	}
}

var agentName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Register implements [conclave.Hub]. An agent that says it is lost or gone takes its leave.
func (h *Hub) Register(ctx context.Context, in conclave.RegisterAgent) (conclave.Agent, error) {
	if in.Agent.Card != nil {
		return conclave.Agent{}, conclave.Errorf(conclave.ErrInvalid, "agent %s: a card is trusted by agent_adopt, not by saying so", in.Agent.Name)
	}
	a, err := checkAgent(in.Agent)
	if err != nil {
		return conclave.Agent{}, err
	}
	key := agentKey{conclave.CallerFrom(ctx).Tenant, a.Name}
	now := h.opts.Clock()
	h.mu.Lock()
	b := h.beats[key]
	if b != nil && sameAgent(b.asked, a) && now.Sub(b.written) < refreshSeen {
		b.heard = now
		told := b.told
		told.Seen = now
		delete(h.suspect, key)
		h.mu.Unlock()
		return told, nil
	}
	h.mu.Unlock()

	told, err := h.opts.Store.UpsertAgent(ctx, key.tenant, a)
	if errors.Is(err, conclave.ErrConflict) { // somebody wants the name of another
		h.record(ctx, Refusal{Tenant: key.tenant, Rule: "key", From: conclave.CallerFrom(ctx).Name(), To: "agents/" + string(a.Name), Why: err.Error()})
	}
	if err != nil {
		return conclave.Agent{}, fmt.Errorf("registering %s: %w", a.Name, err)
	}
	if b == nil || !slices.Equal(b.asked.Topics, a.Topics) {
		if err := h.declare(ctx, key.tenant, a); err != nil {
			return conclave.Agent{}, fmt.Errorf("subscribing %s to its topics: %w", a.Name, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.suspect, key)
	if a.State != conclave.AgentLive {
		delete(h.beats, key)
		clear(h.seen)
	} else {
		h.beats[key] = &beat{told: told, asked: a, written: now, heard: now}
	}
	return told, nil
}

func checkAgent(a conclave.Agent) (conclave.Agent, error) {
	if !agentName.MatchString(string(a.Name)) {
		return a, conclave.Errorf(conclave.ErrInvalid, "agent name %q: want lower-case letters, digits and hyphens, at most 63", a.Name)
	}
	if !agentName.MatchString(string(a.Role)) {
		return a, conclave.Errorf(conclave.ErrInvalid, "role %q of agent %s: want lower-case letters, digits and hyphens, at most 63", a.Role, a.Name)
	}
	u, err := url.Parse(a.URL)
	if a.URL != conclave.PullURL && (err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", a2awire.LocalScheme}, u.Scheme)) {
		return a, conclave.Errorf(conclave.ErrInvalid, "url %q of agent %s: want the http or https address of its A2A JSON-RPC interface or of its card, or %q for an agent that pulls", a.URL, a.Name, conclave.PullURL)
	}
	if key, err := base64.StdEncoding.DecodeString(a.PublicKey); a.PublicKey != "" && (err != nil || len(key) != 32) {
		return a, conclave.Errorf(conclave.ErrInvalid, "public key of agent %s: want an ed25519 key of 32 bytes in base64", a.Name)
	}
	if key, err := base64.StdEncoding.DecodeString(a.EncryptionKey); a.EncryptionKey != "" && (err != nil || len(key) != 32) {
		return a, conclave.Errorf(conclave.ErrInvalid, "encryption key of agent %s: want an X25519 key of 32 bytes in base64", a.Name)
	}
	switch a.State {
	case "":
		a.State = conclave.AgentLive
	case conclave.AgentLive, conclave.AgentLost, conclave.AgentGone:
	default:
		return a, conclave.Errorf(conclave.ErrInvalid, "state %q of agent %s: want live, lost or gone", a.State, a.Name)
	}
	if a.Capacity < 0 {
		return a, conclave.Errorf(conclave.ErrInvalid, "capacity %d of agent %s: want 1 or more", a.Capacity, a.Name)
	}
	if a.Capacity == 0 {
		a.Capacity = 1
	}
	for _, topic := range a.Topics {
		if err := conclave.CheckTopic(topic); err != nil {
			return a, fmt.Errorf("agent %s: %w", a.Name, err)
		}
	}
	if a.Skills == nil {
		a.Skills = []string{}
	}
	a.Active, a.Seen = 0, time.Time{}
	return a, nil
}

func sameAgent(a, b conclave.Agent) bool {
	return a.Name == b.Name && a.Role == b.Role && a.Description == b.Description && slices.Equal(a.Skills, b.Skills) && slices.Equal(a.Topics, b.Topics) &&
		a.Brain == b.Brain && a.Service == b.Service && a.URL == b.URL && a.PublicKey == b.PublicKey && a.EncryptionKey == b.EncryptionKey &&
		a.State == b.State && a.Capacity == b.Capacity
}

// Agents implements [conclave.Hub].
func (h *Hub) Agents(ctx context.Context, in conclave.ListAgents) ([]conclave.Agent, error) {
	agents, err := h.opts.Store.Agents(ctx, conclave.CallerFrom(ctx).Tenant, in)
	if err != nil {
		return nil, fmt.Errorf("listing agents: %w", err)
	}
	if agents == nil {
		agents = []conclave.Agent{}
	}
	return agents, nil
}

// maxWait bounds how long one call waits for a task's end.
const maxWait = time.Minute

// Task implements [conclave.Hub].
func (h *Hub) Task(ctx context.Context, in conclave.GetTask) (conclave.Task, error) {
	d := time.Duration(in.Wait) * time.Millisecond
	if d < 0 || d > maxWait {
		return conclave.Task{}, conclave.Errorf(conclave.ErrInvalid, "wait_ms %d: want 0 to %d", in.Wait, maxWait.Milliseconds())
	}
	t, err := h.task(ctx, in.ID)
	for deadline := h.opts.Clock().Add(d); err == nil && !t.State.Ended() && d > 0; d = deadline.Sub(h.opts.Clock()) {
		t, err = h.opts.Store.Wait(ctx, in.ID, t.State, d)
	}
	if err != nil {
		return conclave.Task{}, fmt.Errorf("reading task %s: %w", in.ID, err)
	}
	return t.Task, nil
}

// task returns a task of the caller's tenant.
func (h *Hub) task(ctx context.Context, id conclave.TaskID) (Task, error) {
	t, err := h.opts.Store.Wait(ctx, id, "", 0)
	if err == nil && t.Tenant != conclave.CallerFrom(ctx).Tenant {
		err = conclave.ErrNotFound
	}
	if errors.Is(err, conclave.ErrNotFound) {
		return Task{}, conclave.Errorf(conclave.ErrNotFound, "there is no task %q", id)
	}
	return t, err
}

// Cancel implements [conclave.Hub]. The hub that delivers the task sees the
// change and tells the agent.
func (h *Hub) Cancel(ctx context.Context, in conclave.NameTask) (conclave.Task, error) {
	t, err := h.task(ctx, in.ID)
	if err != nil {
		return conclave.Task{}, fmt.Errorf("cancelling task %s: %w", in.ID, err)
	}
	caller := conclave.CallerFrom(ctx)
	if caller.Agent != "" && t.From != string(caller.Agent) {
		return conclave.Task{}, conclave.Errorf(conclave.ErrDenied, "%s may cancel only what it asked for itself", caller.Agent)
	}
	if t.State == conclave.TaskCanceled && in.Key != "" {
		return t.Task, nil // the same request again
	}
	if t.State.Ended() {
		return conclave.Task{}, conclave.Errorf(conclave.ErrConflict, "task %s has ended: it is %s", in.ID, t.State)
	}
	asking := t.State == conclave.TaskInputRequired
	t, err = h.opts.Store.Settle(ctx, Settle{
		ID: in.ID, State: conclave.TaskCanceled, Error: "cancelled by " + caller.Name(), Actor: caller.Name(),
	})
	if err != nil {
		return conclave.Task{}, fmt.Errorf("cancelling task %s: %w", in.ID, err)
	}
	if asking {
		h.dismiss(ctx, t)
	}
	return t.Task, nil
}

// Messages implements [conclave.Hub].
func (h *Hub) Messages(ctx context.Context, in conclave.ListMessages) ([]conclave.Message, error) {
	switch {
	case in.Limit == 0:
		in.Limit = 200
	case in.Limit < 0 || in.Limit > 1000:
		return nil, conclave.Errorf(conclave.ErrInvalid, "limit %d: want 1 to 1000", in.Limit)
	}
	msgs, err := h.opts.Store.Messages(ctx, MessageFilter{Tenant: conclave.CallerFrom(ctx).Tenant, ListMessages: in})
	if err != nil {
		return nil, fmt.Errorf("listing messages: %w", err)
	}
	if msgs == nil {
		msgs = []conclave.Message{}
	}
	return msgs, nil
}
