// Package agentpool hosts agents: it starts those of its service's roles,
// serves each over A2A below /agents/NAME, and keeps them registered with the
// hub. An agent whose file is added, changed or removed while the pool runs
// comes, is replaced or goes within a heartbeat; one that an earlier start had and
// this one has not is gone too. The pool owns its agents: Close ends what they do,
// and Run takes their leave of the hub when it ends, so that no work is sent to
// them any more.
package agentpool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/agent"
	"conclave/internal/identity"
)

// Options says whom a pool hosts.
type Options struct {
	Service conclave.Service
	// Replica counts the pools of a service from 0. Each adds agents, numbered on
	// from the most that the ones before it may have; those with a name of their own
	// are the first one's.
	Replica int
	Config  Config
	Specs   []conclave.AgentSpec // the roles that there are; agent.Load gives them
	// Reload returns the roles as they are now; it is asked at each heartbeat. An
	// error is logged and leaves the agents as they are. Nil: Specs is all.
	Reload func() ([]conclave.AgentSpec, error)
	Hub    conclave.Hub
	// Key returns an agent's own key.
	Key func(name conclave.AgentName) (*identity.Key, error)
	// Secret returns the key with which an agent reads what is meant for it alone.
	// Nil: agents have none, and read no encrypted messages.
	Secret func(name conclave.AgentName) (*identity.SecretKey, error)
	// Encrypt says whose questions to other agents are encrypted. It needs Secret.
	Encrypt Encryption
	// Brains returns what thinks for an agent, by assignment.
	Brains func(spec conclave.AgentSpec, name conclave.AgentName) func(ctx context.Context, a conclave.Assignment) (agent.Brain, error)
	// Clean makes a build's worktree what was committed in it. Nil: it is left as it is.
	Clean func(ctx context.Context, a conclave.Assignment) error
	// BrainName is how the brain that a role has by default is shown. Nil: not shown.
	BrainName func(spec conclave.AgentSpec) string
	Receipts  agent.Receipts // nil: each agent remembers in memory
	// URL is where the pool's handler is reached. Empty: local://SERVICE, in this process.
	URL       string
	Capacity  int           // tasks at once for each agent; 0: 4
	Heartbeat time.Duration // 0: 5 seconds
	Tenant    conclave.TenantID
	Logger    *slog.Logger
}

func (o *Options) setDefaults() error {
	switch {
	case o.Service == "":
		return conclave.Errorf(conclave.ErrInvalid, "a pool needs the service that it is")
	case o.Hub == nil, o.Key == nil, o.Brains == nil:
		return conclave.Errorf(conclave.ErrInvalid, "pool %s needs a hub, keys and brains", o.Service)
	case o.Secret == nil && (o.Encrypt.All || len(o.Encrypt.Roles) > 0):
		return conclave.Errorf(conclave.ErrInvalid, "pool %s: agents that encrypt need keys", o.Service)
	case o.Capacity < 0:
		return conclave.Errorf(conclave.ErrInvalid, "pool %s: capacity %d: want 1 or more", o.Service, o.Capacity)
	}
	if o.URL == "" {
		o.URL = a2awire.LocalScheme + "://" + string(o.Service)
	}
	if o.Capacity == 0 {
		o.Capacity = 4
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 5 * time.Second
	}
	if o.Tenant == "" {
		o.Tenant = conclave.DefaultTenant
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o.Config.Validate(o.Specs)
}

// Pool hosts agents.
type Pool struct {
	opts Options

	mu         sync.RWMutex
	agents     map[conclave.AgentName]*hosted
	complained string                      // what was wrong with the files at the last look
	settled    bool                        // the hub knows of no agent of ours that we do not have
	extra      map[conclave.Role]int       // agents beyond the distribution, because of the load
	calm       map[conclave.Role]time.Time // since when a role could do with one less
}

type hosted struct {
	*agent.Agent
	spec    conclave.AgentSpec
	runner  *a2awire.Runner
	handler http.Handler
	shown   conclave.Agent
	secret  *identity.SecretKey // nil: it reads nothing encrypted
}

// New makes the agents of the service's roles. ErrInvalid for a configuration
// that can't be.
func New(opts Options) (*Pool, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	p := &Pool{opts: opts, agents: map[conclave.AgentName]*hosted{}, extra: map[conclave.Role]int{}, calm: map[conclave.Role]time.Time{}}
	for name, spec := range p.wanted(opts.Specs) {
		if err := p.add(spec, name); err != nil {
			p.Close()
			return nil, fmt.Errorf("making agent %s: %w", name, err)
		}
	}
	return p, nil
}

// wanted names the agents that this service is to have. A role has as many as
// the distribution says, called ROLE-1, ROLE-2, … on the first replica; a role of
// the user's own that the distribution does not name has one. A file whose name is not its role's is
// one more agent of that role, under its own name.
func (p *Pool) wanted(specs []conclave.AgentSpec) map[conclave.AgentName]conclave.AgentSpec {
	all := map[conclave.AgentName]conclave.AgentSpec{}
	for _, spec := range specs {
		if Host(spec.Role) != p.opts.Service {
			continue
		}
		if spec.Name != string(spec.Role) {
			if p.opts.Replica == 0 {
				all[conclave.AgentName(spec.Name)] = spec
			}
			continue
		}
		n, distributed := p.opts.Config.Distribution[spec.Role]
		if !distributed && !agent.Shipped(spec.Role) {
			n = 1
		}
		for i := range n + p.extra[spec.Role] {
			all[p.numbered(spec.Role, i+1)] = spec
		}
	}
	return all
}

// numbered is the name of this replica's agent of a role.
func (p *Pool) numbered(role conclave.Role, n int) conclave.AgentName {
	return conclave.AgentName(fmt.Sprintf("%s-%d", role, p.opts.Replica*p.opts.Config.Size+n))
}

func (p *Pool) add(spec conclave.AgentSpec, name conclave.AgentName) error {
	key, err := p.opts.Key(name)
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Options{
		Spec: spec, Name: name, Key: key, Brains: p.opts.Brains(spec, name), Clean: p.opts.Clean,
		Receipts: p.opts.Receipts, Logger: p.opts.Logger,
	})
	if err != nil {
		return err
	}
	path := "/agents/" + string(name)
	h := &hosted{Agent: a, spec: spec, shown: conclave.Agent{
		Name: name, Role: spec.Role, Description: spec.Description, Topics: spec.Topics, Service: p.opts.Service,
		URL: strings.TrimSuffix(p.opts.URL, "/") + path, PublicKey: a.PublicKey(),
		State: conclave.AgentLive, Capacity: p.opts.Capacity,
	}}
	if p.opts.BrainName != nil {
		h.shown.Brain = p.opts.BrainName(spec)
	}
	if p.opts.Secret != nil {
		if h.secret, err = p.opts.Secret(name); err != nil {
			return err
		}
		h.shown.EncryptionKey = h.secret.Public()
	}
	card := a2awire.Card{Name: string(name), Description: spec.Description, URL: path, EncryptionKey: h.shown.EncryptionKey}
	for _, kind := range agent.Skills(spec.Role) {
		h.shown.Skills = append(h.shown.Skills, string(kind))
		card.Skills = append(card.Skills, a2awire.AssignmentSkill(kind))
	}
	var handler http.Handler
	handler, h.runner = a2awire.NewAgentHandler(a2awire.AgentOptions{
		Card: card, Capacity: p.opts.Capacity, Logger: p.opts.Logger,
		// Only the hub speaks to an agent; everybody else goes through it.
		Permission: conclave.PermitService,
		Handle:     func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) { return p.handle(ctx, h, in) },
	})
	h.handler = http.StripPrefix(path, handler)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agents[name] = h
	return nil
}

// ServeHTTP serves every agent of the pool. Cards are public; all else needs a
// caller in the request's context.
func (p *Pool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, _ := strings.CutPrefix(r.URL.Path, "/agents/")
	name, _, _ := strings.Cut(rest, "/")
	p.mu.RLock()
	h := p.agents[conclave.AgentName(name)]
	p.mu.RUnlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h.handler.ServeHTTP(w, r)
}

// list is the agents by name.
func (p *Pool) list() []*hosted {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make([]*hosted, 0, len(p.agents))
	for _, name := range slices.Sorted(maps.Keys(p.agents)) {
		all = append(all, p.agents[name])
	}
	return all
}

// Agents returns the pool's agents as they register.
func (p *Pool) Agents() []conclave.Agent {
	var out []conclave.Agent
	for _, h := range p.list() {
		a := h.shown
		a.Active = h.runner.Active()
		out = append(out, a)
	}
	return out
}

// Close ends what the agents do and waits for it. What was cut off is delivered
// again by the hub.
func (p *Pool) Close() {
	for _, h := range p.list() {
		h.runner.Close()
	}
}

// Run registers the agents, keeps them registered, and takes their leave when
// ctx ends. It calls ready once the hub knows all of them. It ends early only
// when the hub refuses an agent, as when another key holds its name.
func (p *Pool) Run(ctx context.Context, ready func()) error {
	defer p.Close()
	tick := time.NewTicker(p.opts.Heartbeat)
	defer tick.Stop()
	known := false
	for {
		p.scale(time.Now())
		p.reload(ctx)
		err := p.register(ctx, p.list(), conclave.AgentLive)
		if err == nil && !p.settled {
			err = p.retire(ctx)
			p.settled = err == nil
		}
		switch {
		case err == nil && !known:
			known = true
			ready()
		case err != nil && ctx.Err() == nil && (errors.Is(err, conclave.ErrConflict) || errors.Is(err, conclave.ErrInvalid) || errors.Is(err, conclave.ErrDenied)):
			return err
		case err != nil && ctx.Err() == nil:
			p.opts.Logger.WarnContext(ctx, "the hub does not take the heartbeat; trying again", "service", p.opts.Service, "err", err)
		}
		select {
		case <-ctx.Done():
			return p.leave(ctx)
		case <-tick.C:
		}
	}
}

// reload makes the agents what the files, and the load, say by now.
func (p *Pool) reload(ctx context.Context) {
	specs, err := p.opts.Specs, error(nil)
	if p.opts.Reload != nil {
		specs, err = p.opts.Reload()
	}
	if err != nil {
		if text := conclave.Text(err); text != p.complained { // once, not at each heartbeat
			p.complained = text
			p.opts.Logger.WarnContext(ctx, "the agents' files can't be read; the agents stay as they are", "service", p.opts.Service, "err", err)
		}
		return
	}
	p.complained = ""
	wanted := p.wanted(specs)
	var gone []*hosted
	p.mu.Lock()
	for name, h := range p.agents {
		if spec, ok := wanted[name]; ok && reflect.DeepEqual(spec, h.spec) {
			delete(wanted, name)
			continue
		}
		gone = append(gone, h)
		delete(p.agents, name)
	}
	p.mu.Unlock()
	for _, h := range gone {
		p.opts.Logger.InfoContext(ctx, "an agent leaves: its file or the load has changed", "agent", h.Name())
		h.runner.Close() // what was cut off is delivered again
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if err := p.add(wanted[name], name); err != nil {
			p.opts.Logger.WarnContext(ctx, "an agent can't be made from its file", "agent", name, "err", err)
		}
	}
	p.settled = p.settled && len(gone) == 0
}

// retire tells the hub which of the agents that it has from this pool are no
// longer here, so that nobody waits for them.
func (p *Pool) retire(ctx context.Context) error {
	ctx = p.asItself(ctx)
	known, err := p.opts.Hub.Agents(ctx, conclave.ListAgents{})
	if err != nil {
		return fmt.Errorf("asking the hub for the agents of %s: %w", p.opts.Service, err)
	}
	for _, a := range known {
		p.mu.RLock()
		_, here := p.agents[a.Name]
		p.mu.RUnlock()
		if here || a.Service != p.opts.Service || p.replicaOf(a) != p.opts.Replica {
			continue
		}
		a.State = conclave.AgentGone
		if _, err := p.opts.Hub.Register(ctx, conclave.RegisterAgent{Agent: a}); err != nil {
			return fmt.Errorf("telling the hub that %s is gone: %w", a.Name, err)
		}
	}
	return nil
}

// replicaOf is the replica whose agent it is, by its number.
func (p *Pool) replicaOf(a conclave.Agent) int {
	number, numbered := strings.CutPrefix(string(a.Name), string(a.Role)+"-")
	if n, err := strconv.Atoi(number); numbered && err == nil && n > 0 && p.opts.Config.Size > 0 {
		return (n - 1) / p.opts.Config.Size
	}
	return 0
}

// asItself makes the pool the caller: its agents' names are its own.
func (p *Pool) asItself(ctx context.Context) context.Context {
	caller := conclave.ServiceCaller(p.opts.Service, p.opts.Tenant, "")
	caller.Permissions = append(caller.Permissions, conclave.PermitAdmin)
	return conclave.WithCaller(ctx, caller)
}

func (p *Pool) register(ctx context.Context, agents []*hosted, state conclave.AgentState) error {
	ctx = p.asItself(ctx)
	for _, h := range agents {
		a := h.shown
		a.State = state
		if _, err := p.opts.Hub.Register(ctx, conclave.RegisterAgent{Agent: a}); err != nil {
			return fmt.Errorf("registering %s with the hub: %w", a.Name, err)
		}
	}
	return nil
}

// leave tells the hub that the agents are gone. A hub that is gone itself finds
// out by their silence.
func (p *Pool) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.opts.Heartbeat)
	defer cancel()
	if err := p.register(ctx, p.list(), conclave.AgentLost); err != nil {
		p.opts.Logger.InfoContext(ctx, "the hub did not hear that the agents leave", "service", p.opts.Service, "err", err)
	}
	return nil
}

func (p *Pool) handle(ctx context.Context, h *hosted, in a2awire.Incoming) (a2awire.Outgoing, error) {
	ask := func(ctx context.Context, to, question string) (string, error) { return p.ask(ctx, h, in, to, question) }
	if e, ok := encryptedIn(in.Data); ok {
		return p.handleSecret(ctx, h, in, e, ask)
	}
	answer, err := h.Handle(ctx, agent.Message{ID: in.MessageID, Task: hubTask(in), Text: in.Text, Data: in.Data, Ask: ask})
	if err != nil {
		return a2awire.Outgoing{}, err
	}
	return a2awire.Outgoing{Text: answer.Text, Data: answer.Data}, nil
}

// ask asks another agent through the hub, in the conversation of the task that
// the agent works on.
func (p *Pool) ask(ctx context.Context, h *hosted, in a2awire.Incoming, to, question string) (string, error) {
	if len(in.References) == 0 {
		return "", conclave.Errorf(conclave.ErrUnsupported, "%s can ask others only about a task that the hub gave it", h.Name())
	}
	from := conclave.CallerFrom(ctx)
	ctx = conclave.WithCaller(ctx, conclave.Caller{
		Tenant: from.Tenant, Human: from.Human, Agent: h.Name(), Permissions: identity.AgentPermissions(),
	})
	m := conclave.SendMessage{
		To: to, Kind: conclave.AssignAsk, Text: question, Conversation: in.ContextID, Run: in.Run,
		// The hub's own record of this task has the path; it believes no other.
		Call: conclave.CallPath{Path: []string{"tasks/" + string(in.References[0])}},
	}
	concealed := p.opts.Encrypt.Of(h.Spec().Role)
	if concealed {
		if err := p.conceal(ctx, h, &m); err != nil {
			return "", err
		}
	}
	task, err := p.opts.Hub.Send(ctx, m)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", to, err)
	}
	for !task.State.Ended() {
		next, err := p.opts.Hub.Task(ctx, conclave.GetTask{ID: task.ID, Wait: 60_000})
		if err != nil {
			p.dropAsk(ctx, task.ID)
			return "", fmt.Errorf("waiting for %s: %w", to, err)
		}
		task = next
	}
	if task.State != conclave.TaskCompleted {
		return "", conclave.Errorf(conclave.ErrUnavailable, "%s did not answer: %s", to, task.Error)
	}
	if concealed {
		return h.reveal(task)
	}
	return task.Text, nil
}

// dropAsk ends a question that nobody waits for any more.
func (p *Pool) dropAsk(ctx context.Context, id conclave.TaskID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.opts.Heartbeat)
	defer cancel()
	if _, err := p.opts.Hub.Cancel(ctx, conclave.NameTask{ID: id}); err != nil && !errors.Is(err, conclave.ErrConflict) {
		p.opts.Logger.InfoContext(ctx, "cancelling a question", "task", id, "err", err)
	}
}

// hubTask is the hub's task for which a message asks something.
func hubTask(in a2awire.Incoming) conclave.TaskID {
	if len(in.References) == 0 {
		return ""
	}
	return in.References[0]
}
