package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/killpoint"
)

// maxText and maxData bound one message.
const (
	maxText = 1 << 20
	maxData = 15 << 20
)

// actsFor starts the only element of an agent's call path: "tasks/ID", the task
// that it works on. The path itself is the hub's own record of that task.
const actsFor = "tasks/"

// Send implements [conclave.Hub]. A human's call starts a path; a service may
// carry one on; an agent names the task that it works on, as the only element
// tasks/ID of the path.
func (h *Hub) Send(ctx context.Context, in conclave.SendMessage) (conclave.Task, error) {
	t, err := h.send(ctx, in, false)
	return t.Task, err
}

// send accepts a message. interactive says that its sender can be asked back.
func (h *Hub) send(ctx context.Context, in conclave.SendMessage, interactive bool) (Task, error) {
	caller := conclave.CallerFrom(ctx)
	to, err := parseAddress(in.To)
	if err != nil {
		return Task{}, err
	}
	if err := checkContent(in.Text, in.Data); err != nil {
		return Task{}, err
	}
	from, err := speaker(caller, in.From)
	if err != nil {
		return Task{}, h.refuse(ctx, caller, in, err)
	}
	if err := mayGiveWork(caller, in.Data); err != nil {
		return Task{}, h.refuse(ctx, caller, in, err)
	}
	call, parent, err := h.callPath(ctx, caller, in)
	if err != nil {
		return Task{}, h.refuse(ctx, caller, in, err)
	}
	callees, err := h.callees(ctx, caller.Tenant, to, in, call)
	if err != nil {
		return Task{}, h.refuse(ctx, caller, in, err)
	}
	if in.Conversation == "" {
		in.Conversation = parent.Conversation
	}
	if in.Conversation == "" {
		in.Conversation = conclave.ConversationID(conclave.NewID("talk"))
	}
	if in.Run == "" {
		in.Run = parent.Run
	}

	id := conclave.TaskID(conclave.NewID("task"))
	free, done := h.freest(Task{Task: conclave.Task{ID: id, To: in.To}, Tenant: caller.Tenant, Call: call, Exclude: in.Exclude}, callees)
	defer done()
	killpoint.At("send.before")
	t, created, err := h.opts.Store.Accept(ctx, Accept{
		Tenant: caller.Tenant, Key: in.Key, Call: call, Exclude: in.Exclude, Interactive: interactive, Agent: free.Name, Instance: h.opts.Instance,
		Task: conclave.Task{ID: id, Conversation: in.Conversation, Run: in.Run, From: from, To: in.To, Kind: in.Kind},
		Request: conclave.Message{
			ID: conclave.MessageID(conclave.NewID("msg")), Task: id, Conversation: in.Conversation, Run: in.Run,
			From: from, To: in.To, Kind: in.Kind, Text: in.Text, Data: in.Data,
		},
	})
	if err != nil {
		return Task{}, fmt.Errorf("keeping a message to %s: %w", in.To, err)
	}
	killpoint.At("send.after")
	if created && t.State == conclave.TaskWorking {
		h.begin(t, free)
	}
	return t, nil
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
	if kind != conclave.ErrLimited && kind != conclave.ErrDenied {
		return why
	}
	m := conclave.Message{Conversation: in.Conversation, Run: in.Run, From: caller.Name(), To: in.To, Kind: in.Kind, Text: in.Text}
	if err := h.opts.Store.Refuse(ctx, caller.Tenant, m, why.Error()); err != nil {
		h.opts.Logger.ErrorContext(ctx, "recording a refused call", "from", m.From, "to", m.To, "err", err)
	}
	return why
}

// speaker returns who speaks. Nobody speaks as another; a service may speak as
// the human on whose behalf it acts.
func speaker(c conclave.Caller, from string) (string, error) {
	switch {
	case c.Name() == "":
		return "", conclave.Errorf(conclave.ErrDenied, "a message needs a speaker, and the caller has no name")
	case from == "" || from == c.Name():
		return c.Name(), nil
	case c.Service != "" && c.Agent == "" && from == c.Human:
		return from, nil
	}
	return "", conclave.Errorf(conclave.ErrDenied, "%s can't speak as %s", c.Name(), from)
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
		return conclave.Errorf(conclave.ErrDenied, "%s can't give out work in a folder; start a run instead", c.Name())
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
			call.Hops = h.opts.MaxHops
		}
	}
	if c.Human != "" {
		call.Human = c.Human
	}
	call.Hops = min(call.Hops, h.opts.MaxHops)
	switch {
	case call.Hops < 1:
		return call, parent, conclave.Errorf(conclave.ErrLimited, "no hop is left for another call after %s", shownPath(call.Path))
	case call.Tokens < 0:
		return call, parent, conclave.Errorf(conclave.ErrLimited, "the token budget is spent after %s", shownPath(call.Path))
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
		return told, Task{}, conclave.Errorf(conclave.ErrDenied, "%s must name the task that it works on, as the only element tasks/ID of the call's path", c.Agent)
	}
	parent, err := h.task(ctx, conclave.TaskID(id))
	if err != nil {
		return told, Task{}, err
	}
	if parent.Agent != c.Agent || parent.State != conclave.TaskWorking {
		return told, Task{}, conclave.Errorf(conclave.ErrDenied, "%s does not work on task %s", c.Agent, id)
	}
	call := onward(parent)
	if told.Tokens != 0 && (call.Tokens == 0 || told.Tokens < call.Tokens) {
		call.Tokens = told.Tokens
	}
	return call, parent, nil
}

// onward is the path that an agent's own calls have: its task's, and itself.
func onward(t Task) conclave.CallPath {
	call := t.Call
	call.Path = append(slices.Clone(call.Path), string(t.Agent))
	call.Hops--
	return call
}

func shownPath(path []string) string { return strings.Join(path, " → ") }

// callees returns who has an address. It refuses one that nobody has, and a call
// that comes back to somebody who waits for it.
func (h *Hub) callees(ctx context.Context, tenant conclave.TenantID, to address, in conclave.SendMessage, call conclave.CallPath) ([]conclave.Agent, error) {
	list, err := h.opts.Store.Callees(ctx, tenant, in.To)
	if err != nil {
		return nil, fmt.Errorf("looking for who has an address: %w", err)
	}
	if len(list) == 0 {
		agents, err := h.opts.Store.Agents(ctx, tenant, conclave.ListAgents{})
		if err != nil {
			return nil, fmt.Errorf("looking for who has an address: %w", err)
		}
		return nil, conclave.Errorf(conclave.ErrNotFound, "there is no agent %s; there are %s", to, known(agents))
	}
	var takes, inPath bool
	for _, a := range list {
		if to.agent == "" && (slices.Contains(in.Exclude, a.Name) || !takesKind(a, in.Kind)) {
			continue
		}
		if takes = true; !slices.Contains(call.Path, string(a.Name)) {
			return list, nil
		}
		inPath = true
	}
	switch {
	case inPath:
		return nil, cycle(call.Path, strings.TrimPrefix(in.To, "agents/"))
	case !takes && !slices.ContainsFunc(list, func(a conclave.Agent) bool { return takesKind(a, in.Kind) }):
		return nil, conclave.Errorf(conclave.ErrNotFound, "no agent at %s takes a %q", in.To, in.Kind)
	}
	return nil, conclave.Errorf(conclave.ErrNotFound, "every agent %s is excluded", to)
}

func cycle(path []string, callee string) error {
	return conclave.Errorf(conclave.ErrLimited, "the call would go in a circle: %s → %s", shownPath(path), callee)
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
