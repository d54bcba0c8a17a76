package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/internal/a2awire"
)

// A2APrefix is where the hub's A2A face is mounted: /a2a/agents/NAME and
// /a2a/roles/ROLE.
const A2APrefix = "/a2a/"

// ServeHTTP is an A2A server for each agent and each role. Its tasks are the
// hub's own: they outlive the client, the agent and the hub. Cards are public
// (of the default tenant's agents when nobody is asking); all else needs a
// caller in the request's context.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == A2APrefix {
		h.serveTenant(w, r)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, A2APrefix)
	kind, rest, _ := strings.Cut(rest, "/")
	name, _, _ := strings.Cut(rest, "/")
	address := kind + "/" + name
	if _, err := parseAddress(address); !ok || err != nil {
		http.Error(w, "an agent is at "+A2APrefix+"agents/NAME, a role at "+A2APrefix+"roles/ROLE, a skill at "+A2APrefix+"skills/SKILL", http.StatusNotFound)
		return
	}
	h.serveAddress(w, r, address, A2APrefix+address)
}

// serveTenant answers JSON-RPC at the hub's own address, where the request's
// tenant names the agent: agents/NAME or roles/ROLE. On HTTP+JSON the tenant is
// in the path, where the agent's own address is.
func (h *Hub) serveTenant(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Params struct {
			Tenant string `json:"tenant"`
		} `json:"params"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a2awire.MaxBody))
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if _, e := parseAddress(req.Params.Tenant); err != nil || e != nil {
		http.Error(w, "a request to "+A2APrefix+" is JSON-RPC with params.tenant, which names an agent: agents/NAME or roles/ROLE", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	h.serveAddress(w, r, req.Params.Tenant, A2APrefix)
}

// serveAddress lets the face of an address answer a request below prefix.
func (h *Hub) serveAddress(w http.ResponseWriter, r *http.Request, address, prefix string) {
	server, err := h.server(r.Context(), address)
	if errors.Is(err, conclave.ErrNotFound) {
		http.Error(w, conclave.Text(err), http.StatusNotFound)
		return
	}
	if err != nil {
		h.opts.Logger.ErrorContext(r.Context(), "finding an agent", "address", address, "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	http.StripPrefix(prefix, server).ServeHTTP(w, r)
}

// GRPC is the hub's face over gRPC. The tenant of a request names the agent.
func (h *Hub) GRPC() http.Handler {
	return a2awire.NewGRPC(func(ctx context.Context, tenant string) (a2awire.ServerOptions, error) {
		if _, err := h.card(ctx, tenant); err != nil {
			return a2awire.ServerOptions{}, err
		}
		return h.face(tenant), nil
	})
}

// server returns the face of an address, which somebody must have.
func (h *Hub) server(ctx context.Context, address string) (http.Handler, error) {
	key := queueKey{conclave.CallerFrom(ctx).Tenant, address}
	h.mu.Lock()
	s, seen := h.servers[address], h.seen[key]
	h.mu.Unlock()
	if s != nil && h.opts.Clock().Sub(seen) < recount {
		return s, nil // whoever is gone since is missed by what is asked of the face
	}
	if _, err := h.card(ctx, address); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[key] = h.opts.Clock()
	if s = h.servers[address]; s == nil {
		s = a2awire.NewServer(h.face(address))
		h.servers[address] = s
	}
	return s, nil
}

// unsee has the faces' addresses looked up again, after somebody left.
func (h *Hub) unsee() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.seen)
}

// face is how an address answers, whichever the binding.
func (h *Hub) face(address string) a2awire.ServerOptions {
	var tasks a2awire.Tasks = &addressTasks{hub: h, address: address}
	if h.opts.Push.Store == nil {
		tasks = quietTasks{tasks}
	}
	return a2awire.ServerOptions{
		Card:     func(r *http.Request) (a2awire.Card, error) { return h.shownCard(r.Context(), address) },
		Extended: func(ctx context.Context) (a2awire.Card, error) { return h.extendedCard(ctx, address) },
		Tasks:    tasks,
		Refused: func(ctx context.Context, why error) {
			caller := conclave.CallerFrom(ctx)
			h.record(ctx, Refusal{Tenant: caller.Tenant, Rule: "permission", From: caller.Name(), To: address, Why: why.Error()})
		},
		Sign:   h.opts.Sign,
		Logger: h.opts.Logger,
	}
}

// extendedCard tells callers who are known how an agent stands, or who has a role.
func (h *Hub) extendedCard(ctx context.Context, address string) (a2awire.Card, error) {
	card, err := h.card(ctx, address)
	if err != nil {
		return card, err
	}
	agents, err := h.opts.Store.Agents(ctx, conclave.CallerFrom(ctx).Tenant, conclave.ListAgents{})
	if err != nil {
		return card, fmt.Errorf("listing agents for an extended card: %w", err)
	}
	to, err := parseAddress(address)
	if err != nil {
		return card, err
	}
	var known []any
	for _, a := range agents {
		if to.has(a) {
			known = append(known, map[string]any{"name": string(a.Name), "role": string(a.Role), "brain": a.Brain, "state": string(a.State),
				"active": float64(a.Active), "capacity": float64(a.Capacity)})
		}
	}
	card.Facts = map[string]any{"agents": known}
	return card, nil
}

// card describes an agent, or a role by what its agents have in common.
func (h *Hub) card(ctx context.Context, address string) (a2awire.Card, error) {
	tenant := conclave.CallerFrom(ctx).Tenant
	if tenant == "" {
		tenant = conclave.DefaultTenant
	}
	to, err := parseAddress(address)
	if err != nil {
		return a2awire.Card{}, err
	}
	agents, err := h.opts.Store.Callees(ctx, tenant, address)
	if err != nil {
		return a2awire.Card{}, fmt.Errorf("listing agents for a card: %w", err)
	}
	// Its address is below the one that was asked: that of the gateway, or of the hub.
	card := a2awire.Card{Name: string(to.agent), URL: A2APrefix + address, GRPC: true, Tenant: address, Extended: true, Push: h.opts.Push.Store != nil}
	if len(agents) == 0 {
		if agents, err = h.opts.Store.Agents(ctx, tenant, conclave.ListAgents{}); err != nil {
			return card, fmt.Errorf("listing agents for a card: %w", err)
		}
		return card, conclave.Errorf(conclave.ErrNotFound, "nobody has the address %s; there are %s", address, known(agents))
	}
	first := agents[0]
	card.Description = first.Description
	if to.agent != "" {
		card.EncryptionKey = first.EncryptionKey
	}
	for _, s := range first.Skills {
		card.Skills = append(card.Skills, a2awire.AssignmentSkill(conclave.AssignmentKind(s)))
	}
	switch {
	case to.role != "":
		card.Name = string(to.role)
		card.Description = strings.TrimSpace(fmt.Sprintf("Whoever of the role %s is free. %s", to.role, card.Description))
	case to.skill != "":
		card.Name = to.skill
		card.Description = fmt.Sprintf("Whoever has the skill %s and is free.", to.skill)
		card.Skills = []a2awire.Skill{a2awire.AssignmentSkill(conclave.AssignmentKind(to.skill))}
	}
	return card, nil
}

// shownCard is the card with what takes a look at the record.
func (h *Hub) shownCard(ctx context.Context, address string) (a2awire.Card, error) {
	card, err := h.card(ctx, address)
	to, _ := parseAddress(address)
	if err != nil || to.agent == "" || h.opts.Trust == nil {
		return card, err
	}
	score, err := h.opts.Trust(ctx, cmp.Or(conclave.CallerFrom(ctx).Tenant, conclave.DefaultTenant), to.agent)
	if err != nil {
		return card, fmt.Errorf("reading the trust of %s: %w", to.agent, err)
	}
	card.Trust = &score
	return card, nil
}

// addressTasks are the hub's tasks as one address and one caller see them.
type addressTasks struct {
	hub     *Hub
	address string
}

// Accept implements [a2awire.Tasks]. The client's message id is the idempotency key.
func (a *addressTasks) Accept(ctx context.Context, in a2awire.Incoming) (a2awire.Task, error) {
	call := in.Call
	if conclave.CallerFrom(ctx).Agent != "" && len(in.References) > 0 {
		call.Path = []string{actsFor + string(in.References[0])}
	}
	t, err := a.hub.send(ctx, conclave.SendMessage{
		Key: "a2a " + a.address + " " + string(in.MessageID), Conversation: in.ContextID, Run: in.Run,
		To: a.address, Kind: in.Kind, Text: in.Text, Data: in.Data, Call: call,
	}, in.MessageID)
	if err != nil {
		return a2awire.Task{}, err
	}
	return a.show(ctx, t)
}

// Wait implements [a2awire.Tasks].
func (a *addressTasks) Wait(ctx context.Context, id conclave.TaskID, seen conclave.TaskState) (a2awire.Task, error) {
	var t Task
	var err error
	if seen == "" {
		t, err = a.mine(ctx, id)
	} else { // whoever has seen a state knows the task
		t.State = seen
	}
	for err == nil && t.State == seen {
		if err = ctx.Err(); err == nil {
			t, err = a.hub.opts.Store.Wait(ctx, id, seen, maxWait)
		}
	}
	if err == nil {
		err = a.owns(ctx, t)
	}
	if err != nil {
		return a2awire.Task{}, err
	}
	return a.show(ctx, t)
}

// Cancel implements [a2awire.Tasks].
func (a *addressTasks) Cancel(ctx context.Context, id conclave.TaskID) (a2awire.Task, error) {
	if _, err := a.mine(ctx, id); err != nil {
		return a2awire.Task{}, err
	}
	if _, err := a.hub.Cancel(ctx, conclave.NameTask{ID: id}); err != nil {
		return a2awire.Task{}, err
	}
	return a.Wait(ctx, id, "")
}

// List implements [a2awire.Tasks].
func (a *addressTasks) List(ctx context.Context, f a2awire.Filter) (a2awire.List, error) {
	caller := conclave.CallerFrom(ctx)
	filter := TaskFilter{
		Tenant: caller.Tenant, From: caller.Name(), To: a.address, Conversation: f.Context,
		State: f.State, UpdatedAfter: f.UpdatedAfter, Limit: f.Limit,
	}
	if f.PageToken != "" {
		var err error
		if filter.Before.Updated, filter.Before.ID, err = readPageToken(f.PageToken); err != nil {
			return a2awire.List{}, err
		}
	}
	filter.Limit++ // one more tells whether there is a next page
	tasks, total, err := a.hub.opts.Store.Tasks(ctx, filter)
	if err != nil {
		return a2awire.List{}, fmt.Errorf("listing tasks at %s: %w", a.address, err)
	}
	out := a2awire.List{Total: total}
	if f.Limit > 0 && len(tasks) > f.Limit {
		tasks = tasks[:f.Limit]
		last := tasks[len(tasks)-1]
		out.Next = pageToken(last.Updated, last.ID)
	}
	for _, t := range tasks {
		shown, err := a.show(ctx, t)
		if err != nil {
			return a2awire.List{}, err
		}
		out.Tasks = append(out.Tasks, shown)
	}
	return out, nil
}

// mine returns a task that the caller asked of this address.
func (a *addressTasks) mine(ctx context.Context, id conclave.TaskID) (Task, error) {
	t, err := a.hub.task(ctx, id)
	if err != nil {
		return Task{}, err
	}
	return t, a.owns(ctx, t)
}

// owns returns ErrNotFound for a task that the caller did not ask of this address.
func (a *addressTasks) owns(ctx context.Context, t Task) error {
	c := conclave.CallerFrom(ctx)
	if t.Tenant != c.Tenant || t.To != a.address || t.From != c.Name() {
		return conclave.Errorf(conclave.ErrNotFound, "there is no task %q of yours at %s", t.ID, a.address)
	}
	return nil
}

// show adds what was said to a task.
func (a *addressTasks) show(ctx context.Context, t Task) (a2awire.Task, error) {
	out := a2awire.Task{Task: t.Task, History: []conclave.Message{t.Request}}
	out.Error, out.ErrorKind = splitError(t.Error)
	out.Artifacts, out.Message = t.Artifacts, t.Said
	switch {
	case t.History != nil:
		out.History = t.History
	case t.State.Ended() || t.Remote != "":
		msgs, err := a.hub.opts.Store.Messages(ctx, MessageFilter{Tenant: t.Tenant, Task: t.ID})
		if err != nil {
			return a2awire.Task{}, fmt.Errorf("reading what was said in task %s: %w", t.ID, err)
		}
		out.History = msgs
	}
	return out, nil
}

func pageToken(at time.Time, id conclave.TaskID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(at.UnixNano(), 10) + " " + string(id)))
}

func readPageToken(token string) (time.Time, conclave.TaskID, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	nanos, id, ok := strings.Cut(string(text), " ")
	at, parseErr := strconv.ParseInt(nanos, 10, 64)
	if err != nil || parseErr != nil || !ok {
		return time.Time{}, "", conclave.Errorf(conclave.ErrInvalid, "pageToken is not one that was given out")
	}
	return time.Unix(0, at), conclave.TaskID(id), nil
}
