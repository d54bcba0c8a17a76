package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/killpoint"
)

// maxText and maxData bound one message.
const (
	maxText = 1 << 20
	maxData = 15 << 20
)

// minTTL and maxTTL bound how long a message may try to reach somebody, in milliseconds.
const (
	minTTL = 1000
	maxTTL = 7 * 24 * 60 * 60 * 1000
)

// actsFor starts the only element of an agent's call path: "tasks/ID", the task
// that it works on. The path itself is the hub's own record of that task.
const actsFor = "tasks/"

// Send implements [conclave.Hub]. A human's call starts a path; a service may
// carry one on; an agent names the task that it works on, as the only element
// tasks/ID of the path.
func (h *Hub) Send(ctx context.Context, in conclave.SendMessage) (conclave.Task, error) {
	t, err := h.send(ctx, in, "")
	return t.Task, err
}

// send accepts a message. sentAs is the id that an A2A client gave it, who can be
// asked back; it is empty when no such client sent it.
func (h *Hub) send(ctx context.Context, in conclave.SendMessage, sentAs conclave.MessageID) (Task, error) {
	caller := conclave.CallerFrom(ctx)
	if _, err := parseAddress(in.To); err != nil {
		return Task{}, err
	}
	if err := checkContent(in.Text, in.Data); err != nil {
		return Task{}, err
	}
	if in.TTL != 0 && (in.TTL < minTTL || in.TTL > maxTTL) {
		return Task{}, conclave.Errorf(conclave.ErrInvalid, "ttl_ms %d: want %d to %d", in.TTL, minTTL, maxTTL)
	}
	o, err := h.open(ctx, caller, in)
	if err != nil {
		return Task{}, h.refuse(ctx, caller, in, err)
	}
	return h.post(ctx, o, in, sentAs)
}

// opening is what was found out about who speaks, and on whose behalf. It is
// kept with what is sent to many, so that a hub that starts again goes on with it.
type opening struct {
	Caller       conclave.Caller         `json:"caller"`
	Role         conclave.Role           `json:"role,omitempty"` // of the agent that speaks
	From         string                  `json:"from"`
	Call         conclave.CallPath       `json:"call"`
	Scopes       []conclave.Permission   `json:"scopes"` // of whoever is at the start of the path
	Budgets      []Budget                `json:"budgets,omitempty"`
	Conversation conclave.ConversationID `json:"conversation,omitempty"` // of the task that the speaker works on
	Run          conclave.RunID          `json:"run,omitempty"`
}

// open finds out who speaks, on whose behalf, and what may still be spent.
// ErrDenied, ErrLimited.
func (h *Hub) open(ctx context.Context, caller conclave.Caller, in conclave.SendMessage) (opening, error) {
	o := opening{Caller: caller}
	var err error
	if o.From, err = speaker(caller, in.From); err != nil {
		return o, err
	}
	if err := mayGiveWork(caller, in.Data); err != nil {
		return o, err
	}
	if err := h.hurry(ctx, caller, in.To); err != nil {
		return o, err
	}
	var parent Task
	if o.Call, parent, err = h.callPath(ctx, caller, in); err != nil {
		return o, err
	}
	o.Scopes, o.Budgets, o.Conversation, o.Run = caller.Permissions, parent.Budgets, parent.Conversation, parent.Run
	if caller.Agent != "" {
		if parent.Scopes != nil {
			o.Scopes = parent.Scopes
		}
		if o.Role, err = h.roleOf(ctx, caller); err != nil {
			return o, err
		}
	}
	o.Budgets = h.budgets(o.Budgets, in.Call)
	return o, nil
}

// post keeps a message to whoever has the address and may be called.
func (h *Hub) post(ctx context.Context, o opening, in conclave.SendMessage, sentAs conclave.MessageID) (Task, error) {
	to, err := parseAddress(in.To)
	if err != nil {
		return Task{}, err
	}
	candidates, err := h.callees(ctx, o.Caller.Tenant, to, in, o.Call)
	if err != nil {
		return Task{}, h.refuse(ctx, o.Caller, in, err)
	}
	s := speech{caller: o.Caller, role: o.Role, human: cmp.Or(o.Call.Human, o.Caller.Human), scopes: o.Scopes, kind: in.Kind}
	barred, err := h.judge(s, in.To, candidates)
	if err != nil {
		return Task{}, h.refuse(ctx, o.Caller, in, err)
	}
	if err := h.admit(ctx, o.Caller.Tenant, o.From, in.To); err != nil {
		return Task{}, err
	}
	in.Exclude = append(slices.Clone(in.Exclude), barred...)
	in.Conversation = cmp.Or(in.Conversation, o.Conversation)
	if in.Conversation == "" {
		in.Conversation = conclave.ConversationID(conclave.NewID("talk"))
	}
	in.Run = cmp.Or(in.Run, o.Run)

	id := conclave.TaskID(conclave.NewID("task"))
	free, done := h.freest(Task{Task: conclave.Task{ID: id, To: in.To}, Tenant: o.Caller.Tenant, Call: o.Call, Exclude: in.Exclude}, candidates)
	defer done()
	killpoint.At("send.before")
	t, created, err := h.opts.Store.Accept(ctx, Accept{
		Tenant: o.Caller.Tenant, Key: in.Key, Call: o.Call, Scopes: o.Scopes, Budgets: begunBy(o.Budgets, id), Exclude: in.Exclude, Interactive: sentAs != "", TTL: time.Duration(in.TTL) * time.Millisecond, Agent: free.Name, Instance: h.opts.Instance,
		Task: conclave.Task{ID: id, Conversation: in.Conversation, Run: in.Run, From: o.From, To: in.To, Kind: in.Kind},
		Request: conclave.Message{
			ID: conclave.MessageID(conclave.NewID("msg")), Task: id, Conversation: in.Conversation, Run: in.Run,
			SentAs: sentAs, From: o.From, To: in.To, Kind: in.Kind, Text: in.Text, Data: in.Data,
		},
	})
	if errors.Is(err, conclave.ErrLimited) {
		return Task{}, h.refuse(ctx, o.Caller, in, refusal{"budget", err})
	}
	if err != nil {
		return Task{}, fmt.Errorf("keeping a message to %s: %w", in.To, err)
	}
	killpoint.At("send.after")
	switch {
	case !created:
		h.repeated(ctx, o, in, t)
	case t.State == conclave.TaskWorking:
		h.begin(t, free)
	}
	return t, nil
}

// repeated records that a message came again. Nothing was done with it.
func (h *Hub) repeated(ctx context.Context, o opening, in conclave.SendMessage, t Task) {
	why := "the message came again; it is still task " + string(t.ID)
	if m := (conclave.Message{Text: in.Text, Data: in.Data}); m.Hash() != t.Request.Hash() {
		why = "another message came under the key of task " + string(t.ID) + "; it was not taken"
	}
	h.record(ctx, Refusal{Tenant: o.Caller.Tenant, Kind: conclave.EventMessageRepeated, Rule: "replay", From: o.Caller.Name(), To: in.To,
		Conversation: t.Conversation, Run: t.Run, Why: why})
}

// checkContent refuses what no message may hold.
func checkContent(text string, data json.RawMessage) error {
	switch {
	case len(text) > maxText:
		return conclave.Errorf(conclave.ErrInvalid, "the text is larger than 1 MiB")
	case len(data) > maxData:
		return conclave.Errorf(conclave.ErrInvalid, "the data is larger than 15 MiB")
	case strings.TrimSpace(text) == "" && len(data) == 0:
		return conclave.Errorf(conclave.ErrInvalid, "the message says nothing: it has neither text nor data")
	case len(data) > 0 && !json.Valid(data):
		return conclave.Errorf(conclave.ErrInvalid, "the data is not JSON")
	}
	return nil
}

// refuse records a refusal for reasons of rights or limits; a mistake in the
// request is its sender's business alone.
func (h *Hub) refuse(ctx context.Context, caller conclave.Caller, in conclave.SendMessage, why error) error {
	kind := conclave.KindOf(why)
	rule := ruleOf(why)
	if kind != conclave.ErrLimited && kind != conclave.ErrDenied || rule == "rate" { // which is on record
		return why
	}
	h.record(ctx, Refusal{Tenant: caller.Tenant, Rule: rule, From: caller.Name(), To: in.To, Conversation: in.Conversation, Run: in.Run, Why: why.Error()})
	return why
}

// record puts a refusal on record, also when the caller has gone.
func (h *Hub) record(ctx context.Context, r Refusal) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	if r.Tenant == "" {
		r.Tenant = conclave.DefaultTenant
	}
	if err := h.opts.Store.Refuse(ctx, r); err != nil {
		h.opts.Logger.ErrorContext(ctx, "recording a refused call", "from", r.From, "to", r.To, "err", err)
	}
}

// speaker returns who speaks. Nobody speaks as another; a service may speak as
// the human on whose behalf it acts.
func speaker(c conclave.Caller, from string) (string, error) {
	switch {
	case c.Name() == "":
		return "", broke("speaker", conclave.ErrDenied, "a message needs a speaker, and the caller has no name")
	case from == "" || from == c.Name():
		return c.Name(), nil
	case c.Service != "" && c.Agent == "" && from == c.Human:
		return from, nil
	}
	return "", broke("speaker", conclave.ErrDenied, "%s can't speak as %s", c.Name(), from)
}

// mayGiveWork refuses an assignment that names a folder of this machine, unless a
// service gives it: an agent writes and reads where it is sent, and to speak
// with agents is no right to either.
func mayGiveWork(c conclave.Caller, data json.RawMessage) error {
	var a struct {
		Kind     conclave.AssignmentKind `json:"kind"`
		Worktree string                  `json:"worktree"`
	}
	// What is no assignment is the agent's to refuse.
	_ = json.Unmarshal(data, &a)
	trusted := c.Agent == "" && c.May(conclave.PermitService)
	if !trusted && (a.Worktree != "" || a.Kind == conclave.AssignBuild) {
		return broke("folder", conclave.ErrDenied, "%s can't give out work in a folder; start a run instead", c.Name())
	}
	return nil
}

// callPath returns the path up to the caller, and the task that it acts for.
func (h *Hub) callPath(ctx context.Context, c conclave.Caller, in conclave.SendMessage) (conclave.CallPath, Task, error) {
	call := in.Call
	var parent Task
	switch {
	case c.Agent != "":
		var err error
		if call, parent, err = h.agentPath(ctx, c, in.Call); err != nil {
			return call, parent, err
		}
	case c.Service != "" && len(in.Call.Path) > 0:
		// Services are trusted to hand on the path of what they act for.
		if call.Path[len(call.Path)-1] != c.Name() {
			call.Path = append(slices.Clone(call.Path), c.Name())
		}
	default:
		call.Path = []string{c.Name()}
		if call.Hops == 0 {
			call.Hops = h.opts.Rules.MaxHops
		}
	}
	if c.Human != "" {
		call.Human = c.Human
	}
	call.Hops = min(call.Hops, h.opts.Rules.MaxHops)
	switch {
	case call.Hops < 1:
		return call, parent, broke("hops", conclave.ErrLimited, "no hop is left for another call after %s", shownPath(call.Path))
	case call.Tokens < 0 || call.Messages < 0 || call.CostUSD < 0:
		return call, parent, broke("budget", conclave.ErrLimited, "the budget is spent after %s", shownPath(call.Path))
	}
	return call, parent, nil
}

// agentPath takes an agent's path from the record of the task that it works on.
func (h *Hub) agentPath(ctx context.Context, c conclave.Caller, told conclave.CallPath) (conclave.CallPath, Task, error) {
	id, ok := "", false
	if len(told.Path) == 1 {
		id, ok = strings.CutPrefix(told.Path[0], actsFor)
	}
	if !ok {
		return told, Task{}, broke("path", conclave.ErrDenied, "%s must name the task that it works on, as the only element tasks/ID of the call's path", c.Agent)
	}
	parent, err := h.task(ctx, conclave.TaskID(id))
	if err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return told, Task{}, err
	}
	if parent.Agent != c.Agent || parent.State != conclave.TaskWorking {
		return told, Task{}, broke("path", conclave.ErrDenied, "%s does not work on task %s", c.Agent, id)
	}
	return onward(parent), parent, nil
}

// onward is the path that an agent's own calls have: its task's, and itself.
func onward(t Task) conclave.CallPath {
	call := t.Call
	call.Path = append(slices.Clone(call.Path), string(t.Agent))
	call.Hops--
	return call
}

func shownPath(path []string) string { return strings.Join(path, " → ") }

// callees returns who may take a call to an address. It refuses one that nobody
// has, and a call that comes back to somebody who waits for it.
func (h *Hub) callees(ctx context.Context, tenant conclave.TenantID, to address, in conclave.SendMessage, call conclave.CallPath) ([]conclave.Agent, error) {
	agents, err := h.opts.Store.Callees(ctx, tenant, in.To)
	if err != nil {
		return nil, fmt.Errorf("looking for who has an address: %w", err)
	}
	if len(agents) == 0 {
		if agents, err = h.opts.Store.Agents(ctx, tenant, conclave.ListAgents{}); err != nil {
			return nil, fmt.Errorf("looking for who has an address: %w", err)
		}
		return nil, conclave.Errorf(conclave.ErrNotFound, "there is no agent %s; there are %s", to, known(agents))
	}
	var list []conclave.Agent
	var takes, inPath bool
	for _, a := range agents {
		switch {
		case to.agent == "" && (slices.Contains(in.Exclude, a.Name) || !takesKind(a, in.Kind)):
			continue
		case slices.Contains(call.Path, string(a.Name)):
			inPath = true
		default:
			list = append(list, a)
		}
		takes = true
	}
	switch {
	case len(list) > 0:
		return list, nil
	case inPath:
		return nil, cycle(call.Path, strings.TrimPrefix(in.To, "agents/"))
	case !takes && !slices.ContainsFunc(agents, func(a conclave.Agent) bool { return takesKind(a, in.Kind) }):
		return nil, conclave.Errorf(conclave.ErrNotFound, "no agent at %s takes a %q", in.To, in.Kind)
	}
	return nil, conclave.Errorf(conclave.ErrNotFound, "every agent %s is excluded", to)
}

// roleOf returns the role of an agent that calls; one that is not registered has none.
func (h *Hub) roleOf(ctx context.Context, c conclave.Caller) (conclave.Role, error) {
	agents, err := h.opts.Store.Callees(ctx, c.Tenant, "agents/"+string(c.Agent))
	if err != nil {
		return "", fmt.Errorf("looking for the role of %s: %w", c.Agent, err)
	}
	for _, a := range agents {
		return a.Role, nil
	}
	return "", nil
}

func cycle(path []string, callee string) error {
	return broke("cycle", conclave.ErrLimited, "the call would go in a circle: %s → %s", shownPath(path), callee)
}

// known lists addresses for an error.
func known(agents []conclave.Agent) string {
	if len(agents) == 0 {
		return "none yet"
	}
	var names, roles []string
	for _, a := range agents {
		names = append(names, "agents/"+string(a.Name))
		if r := "roles/" + string(a.Role); !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	slices.Sort(roles)
	all := append(roles, names...)
	if len(all) > 30 {
		return strings.Join(all[:30], ", ") + " and more"
	}
	return strings.Join(all, ", ")
}
