package hub

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
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
	rest, ok := strings.CutPrefix(r.URL.Path, A2APrefix)
	kind, rest, _ := strings.Cut(rest, "/")
	name, _, _ := strings.Cut(rest, "/")
	address := kind + "/" + name
	if _, _, err := parseAddress(address); !ok || err != nil {
		http.Error(w, "an agent is at "+A2APrefix+"agents/NAME, a role at "+A2APrefix+"roles/ROLE", http.StatusNotFound)
		return
	}
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
	http.StripPrefix(A2APrefix+address, server).ServeHTTP(w, r)
}

// server returns the face of an address, which somebody must have.
func (h *Hub) server(ctx context.Context, address string) (http.Handler, error) {
	if _, err := h.card(ctx, address); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.servers[address]; s != nil {
		return s, nil
	}
	var tasks a2awire.Tasks = &addressTasks{hub: h, address: address}
	if h.opts.Push.Store == nil {
		tasks = quietTasks{tasks}
	}
	s := a2awire.NewServer(a2awire.ServerOptions{
		Card:  func(r *http.Request) (a2awire.Card, error) { return h.card(r.Context(), address) },
		Tasks: tasks,
		Refused: func(ctx context.Context, why error) {
			caller := conclave.CallerFrom(ctx)
			if err := h.opts.Store.Refuse(ctx, caller.Tenant, conclave.Message{From: caller.Name(), To: address}, why.Error()); err != nil {
				h.opts.Logger.ErrorContext(ctx, "recording a refused call", "from", caller.Name(), "to", address, "err", err)
			}
		},
		Logger: h.opts.Logger,
	})
	h.servers[address] = s
	return s, nil
}

// card describes an agent, or a role by what its agents have in common.
func (h *Hub) card(ctx context.Context, address string) (a2awire.Card, error) {
	tenant := conclave.CallerFrom(ctx).Tenant
	if tenant == "" {
		tenant = conclave.DefaultTenant
	}
	agent, role, err := parseAddress(address)
	if err != nil {
		return a2awire.Card{}, err
	}
	agents, err := h.opts.Store.Callees(ctx, tenant, address)
	if err != nil {
		return a2awire.Card{}, fmt.Errorf("listing agents for a card: %w", err)
	}
	card := a2awire.Card{Name: string(agent), URL: h.opts.URL + A2APrefix + address, Push: h.opts.Push.Store != nil}
	if len(agents) == 0 {
		if agents, err = h.opts.Store.Agents(ctx, tenant, conclave.ListAgents{}); err != nil {
			return card, fmt.Errorf("listing agents for a card: %w", err)
		}
		return card, conclave.Errorf(conclave.ErrNotFound, "nobody has the address %s; there are %s", address, known(agents))
	}
	a := agents[0]
	card.Description = a.Description
	if agent != "" {
		card.EncryptionKey = a.EncryptionKey
	}
	for _, s := range a.Skills {
		card.Skills = append(card.Skills, a2awire.AssignmentSkill(conclave.AssignmentKind(s)))
	}
	if role != "" {
		card.Name = string(role)
		card.Description = strings.TrimSpace(fmt.Sprintf("Whoever of the role %s is free. %s", role, card.Description))
	}
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
	})
	if err != nil {
		return a2awire.Task{}, err
	}
	return a.show(ctx, t)
}

// Wait implements [a2awire.Tasks].
func (a *addressTasks) Wait(ctx context.Context, id conclave.TaskID, seen conclave.TaskState) (a2awire.Task, error) {
	t, err := a.mine(ctx, id)
	for err == nil && t.State == seen {
		if err = ctx.Err(); err == nil {
			t, err = a.hub.opts.Store.Wait(ctx, id, seen, maxWait)
		}
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
	if t.To != a.address || t.From != conclave.CallerFrom(ctx).Name() {
		return Task{}, conclave.Errorf(conclave.ErrNotFound, "there is no task %q of yours at %s", id, a.address)
	}
	return t, nil
}

// show adds what was said to a task.
func (a *addressTasks) show(ctx context.Context, t Task) (a2awire.Task, error) {
	out := a2awire.Task{Task: t.Task, History: []conclave.Message{t.Request}}
	out.Error, out.ErrorKind = splitError(t.Error)
	if t.State.Ended() {
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
