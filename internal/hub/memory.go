package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"conclave"
)

// Memory is a Store, with its job runner, that keeps everything in memory. It
// is for tests and forgets at the end of the process.
type Memory struct {
	clock conclave.Clock

	mu       sync.Mutex
	agents   map[agentKey]conclave.Agent
	tasks    map[conclave.TaskID]*memoryTask
	accepted []*memoryTask // in order
	messages []memoryMessage
	events   []conclave.Event
	jobs     []memoryJob
	changed  chan struct{} // closed and replaced at each change
}

type memoryTask struct {
	Task
	key      string
	parked   bool // nobody can take it
	waits    bool // for its turn
	instance string
	renewed  time.Time
}

type memoryMessage struct {
	conclave.Message
	tenant conclave.TenantID
}

type memoryJob struct {
	id    conclave.TaskID
	epoch int64
	due   time.Time
}

var _ Store = (*Memory)(nil)

// NewMemory makes an empty store. A nil clock means time.Now.
func NewMemory(clock conclave.Clock) *Memory {
	if clock == nil {
		clock = time.Now
	}
	return &Memory{
		clock: clock, agents: map[agentKey]conclave.Agent{}, tasks: map[conclave.TaskID]*memoryTask{}, changed: make(chan struct{}),
	}
}

// RunJobs runs each delivery job when it is due, until ctx ends, and waits for
// those that run.
func (m *Memory) RunJobs(ctx context.Context, deliver func(ctx context.Context, id conclave.TaskID, epoch int64) error) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	failed := make(chan error, 1)
	for {
		m.mu.Lock()
		now := m.clock()
		var next time.Time
		m.jobs = slices.DeleteFunc(m.jobs, func(j memoryJob) bool {
			if j.due.After(now) {
				if next.IsZero() || j.due.Before(next) {
					next = j.due
				}
				return false
			}
			workers.Go(func() {
				if err := deliver(ctx, j.id, j.epoch); err != nil {
					select {
					case failed <- fmt.Errorf("delivering %s: %w", j.id, err):
					default:
					}
				}
			})
			return true
		})
		changed := m.changed
		m.mu.Unlock()
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(next.Sub(now))
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-changed:
		case <-timer:
		}
	}
}

// Events returns what happened, oldest first.
func (m *Memory) Events() []conclave.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// DropJobs forgets the jobs that are due, as a runner does that dies with them.
func (m *Memory) DropJobs() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobs = nil
}

// notify must be called with the lock held, after each change.
func (m *Memory) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *Memory) event(e conclave.Event) {
	e.Seq, e.At = int64(len(m.events)+1), m.clock()
	m.events = append(m.events, e)
}

func (m *Memory) taskEvent(t *memoryTask, actor, text string) {
	data, _ := json.Marshal(map[string]any{"state": t.State, "agent": t.Agent, "from": t.From, "to": t.To, "kind": t.Kind, "attempt": t.Attempt})
	m.event(conclave.Event{
		Tenant: t.Tenant, Kind: conclave.EventTaskChanged, Actor: actor, Run: t.Run,
		Conversation: t.Conversation, Subject: string(t.ID), Text: text, Data: data,
	})
}

func (m *Memory) messageEvent(tenant conclave.TenantID, msg conclave.Message) {
	event, _ := conclave.MessageEvent(tenant, msg) // its data was checked to be JSON
	m.event(event)
}

func (m *Memory) view(t *memoryTask) Task {
	out := t.Task
	out.Age = m.clock().Sub(t.Request.Sent)
	return out
}

// UpsertAgent implements [Store].
func (m *Memory) UpsertAgent(_ context.Context, tenant conclave.TenantID, a conclave.Agent) (conclave.Agent, error) {
	return m.keepAgent(tenant, a, false)
}

// RenewAgent implements [Store].
func (m *Memory) RenewAgent(_ context.Context, tenant conclave.TenantID, a conclave.Agent) (conclave.Agent, error) {
	return m.keepAgent(tenant, a, true)
}

func (m *Memory) keepAgent(tenant conclave.TenantID, a conclave.Agent, renew bool) (conclave.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := agentKey{tenant, a.Name}
	old, had := m.agents[key]
	if renew && !had {
		return conclave.Agent{}, conclave.Errorf(conclave.ErrNotFound, "there is no agent %q", a.Name)
	}
	if had {
		if err := MayReplace(old, a); err != nil {
			return conclave.Agent{}, err
		}
	}
	a.Seen, a.Active = m.clock(), 0
	m.agents[key] = a
	woke := Wakes(old, had, a)
	if kind, text := AgentEvent(old, had, a); kind != "" {
		m.event(conclave.Event{Tenant: tenant, Kind: kind, Actor: string(a.Name), Subject: string(a.Name), Text: text})
	}
	if woke {
		m.wake(tenant, a, a.Capacity)
	}
	m.notify()
	return m.counted(key), nil
}

// wake enqueues up to n parked deliveries that an agent may take.
func (m *Memory) wake(tenant conclave.TenantID, a conclave.Agent, n int) {
	for _, t := range m.accepted {
		if n == 0 {
			return
		}
		if t.Tenant == tenant && t.parked && !t.waits && t.State == conclave.TaskSubmitted && MayTake(t.Task, a) {
			t.parked = false
			m.jobs = append(m.jobs, memoryJob{t.ID, t.Epoch, m.clock()})
			n--
		}
	}
}

func (m *Memory) active(key agentKey) int {
	n := 0
	for _, t := range m.tasks {
		if t.Tenant == key.tenant && t.Agent == key.name && t.State == conclave.TaskWorking {
			n++
		}
	}
	return n
}

func (m *Memory) counted(key agentKey) conclave.Agent {
	a := m.agents[key]
	a.Active = m.active(key)
	return a
}

// Agents implements [Store].
func (m *Memory) Agents(_ context.Context, tenant conclave.TenantID, in conclave.ListAgents) ([]conclave.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []conclave.Agent
	for key, a := range m.agents {
		if key.tenant == tenant && a.State != conclave.AgentGone && (in.Role == "" || a.Role == in.Role) && (!in.Live || a.State == conclave.AgentLive) {
			out = append(out, m.counted(key))
		}
	}
	slices.SortFunc(out, func(a, b conclave.Agent) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Callees implements [Store].
func (m *Memory) Callees(_ context.Context, tenant conclave.TenantID, address string) ([]conclave.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []conclave.Agent
	for key, a := range m.agents {
		if key.tenant == tenant && a.State != conclave.AgentGone && HasAddress(address, a) {
			out = append(out, m.counted(key))
		}
	}
	slices.SortFunc(out, func(a, b conclave.Agent) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Accept implements [Store].
func (m *Memory) Accept(_ context.Context, in Accept) (Task, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.accepted {
		if in.Key != "" && t.Tenant == in.Tenant && t.From == in.Task.From && t.key == in.Key {
			return m.view(t), false, nil
		}
	}
	now := m.clock()
	t := &memoryTask{key: in.Key, Task: Task{
		Task: in.Task, Tenant: in.Tenant, Call: in.Call, Scopes: in.Scopes, Budgets: in.Budgets, Exclude: in.Exclude, Request: in.Request, Epoch: 1, Interactive: in.Interactive, TTL: in.TTL,
	}}
	t.Call.Messages, t.Call.Tokens, t.Call.CostUSD = 0, 0, 0
	for _, b := range t.Budgets {
		spent := Spent{Messages: 1}
		for _, other := range m.accepted {
			if slices.ContainsFunc(other.Budgets, func(o Budget) bool { return o.Task == b.Task }) {
				spent.Messages++
			}
		}
		var err error
		if t.Call, err = b.Narrow(t.Call, spent); err != nil {
			return Task{}, false, err
		}
	}
	t.State, t.Created, t.Updated, t.Request.Sent = conclave.TaskSubmitted, now, now, now
	m.tasks[t.ID], m.accepted = t, append(m.accepted, t)
	m.messages = append(m.messages, memoryMessage{t.Request, in.Tenant})
	m.messageEvent(in.Tenant, t.Request)
	if strings.HasPrefix(t.To, "agents/") {
		t.Turn = int64(len(m.messages))
		t.waits = m.blocked(t)
	}
	switch {
	case t.waits:
	case in.Agent != "" && m.takesNow(agentKey{in.Tenant, in.Agent}, t):
		m.claim(t, in.Agent, in.Instance)
	default:
		m.jobs = append(m.jobs, memoryJob{t.ID, 1, now})
	}
	m.notify()
	return m.view(t), true, nil
}

// takesNow reports whether an agent has a hand free, and nothing else waits for it.
func (m *Memory) takesNow(key agentKey, new *memoryTask) bool {
	a, ok := m.agents[key]
	if !ok || a.State != conclave.AgentLive || m.active(key) >= a.Capacity {
		return false
	}
	return !slices.ContainsFunc(m.accepted, func(t *memoryTask) bool {
		return t != new && t.Tenant == key.tenant && t.State == conclave.TaskSubmitted && !t.waits && HasAddress(t.To, a)
	})
}

func (m *Memory) claim(t *memoryTask, agent conclave.AgentName, instance string) {
	t.State, t.Agent, t.Updated = conclave.TaskWorking, agent, m.clock()
	t.Epoch++
	t.Attempt++
	t.parked, t.instance, t.renewed = false, instance, m.clock()
	m.taskEvent(t, string(agent), string(agent)+" works on it")
}

// blocked reports whether a task must wait for another one of its line: of its
// conversation's messages to one agent, one is out at a time.
func (m *Memory) blocked(t *memoryTask) bool {
	return slices.ContainsFunc(m.accepted, func(o *memoryTask) bool {
		return o != t && sameLine(o, t) && (o.State == conclave.TaskWorking || o.State == conclave.TaskSubmitted && o.Turn < t.Turn)
	})
}

func sameLine(a, b *memoryTask) bool {
	return a.Turn != 0 && b.Turn != 0 && a.Tenant == b.Tenant && a.Conversation == b.Conversation && a.To == b.To
}

// advance lets the next of a line go, after t has ended.
func (m *Memory) advance(t *memoryTask) {
	for _, next := range m.accepted {
		if next.State == conclave.TaskSubmitted && sameLine(next, t) {
			if next.waits && !m.blocked(next) {
				next.waits = false
				m.jobs = append(m.jobs, memoryJob{next.ID, next.Epoch, m.clock()})
			}
			return
		}
	}
}

func (m *Memory) find(id conclave.TaskID) (*memoryTask, error) {
	t := m.tasks[id]
	if t == nil {
		return nil, conclave.Errorf(conclave.ErrNotFound, "there is no task %q", id)
	}
	return t, nil
}

// Wait implements [Store].
func (m *Memory) Wait(ctx context.Context, id conclave.TaskID, seen conclave.TaskState, d time.Duration) (Task, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		m.mu.Lock()
		t, err := m.find(id)
		if err != nil {
			m.mu.Unlock()
			return Task{}, err
		}
		now, changed := m.view(t), m.changed
		m.mu.Unlock()
		if now.State != seen || d <= 0 {
			return now, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return now, nil
		case <-ctx.Done():
			return Task{}, ctx.Err()
		}
	}
}

// Claim implements [Store].
func (m *Memory) Claim(_ context.Context, in Claim) (Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(in.ID)
	if err != nil {
		return Task{}, err
	}
	if t.State != conclave.TaskSubmitted || t.Epoch != in.Epoch {
		return Task{}, conclave.Errorf(conclave.ErrConflict, "task %s is %s with epoch %d", in.ID, t.State, t.Epoch)
	}
	if m.blocked(t) {
		t.waits = true
		return Task{}, conclave.Errorf(conclave.ErrConflict, "task %s waits for an earlier one of its conversation", in.ID)
	}
	key := agentKey{t.Tenant, in.Agent}
	a, ok := m.agents[key]
	if !ok {
		return Task{}, conclave.Errorf(conclave.ErrNotFound, "there is no agent %q", in.Agent)
	}
	if m.active(key) >= a.Capacity {
		if in.Park > 0 {
			t.parked = true
			m.jobs = append(m.jobs, memoryJob{t.ID, t.Epoch, m.clock().Add(in.Park)})
			m.notify()
		}
		return Task{}, conclave.Errorf(conclave.ErrLimited, "%s has its hands full", in.Agent)
	}
	m.claim(t, in.Agent, in.Instance)
	t.renewed = m.clock().Add(in.Ahead)
	m.notify()
	return m.view(t), nil
}

// Settle implements [Store].
func (m *Memory) Settle(_ context.Context, in Settle) (Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(in.ID)
	if err != nil {
		return Task{}, err
	}
	if t.State.Ended() || in.Epoch != 0 && in.Epoch != t.Epoch {
		return Task{}, conclave.Errorf(conclave.ErrConflict, "task %s is %s with epoch %d", in.ID, t.State, t.Epoch)
	}
	if in.State == conclave.TaskSubmitted {
		m.putBack(t, in.After, in.Parked)
		m.notify()
		return m.view(t), nil
	}
	working := t.State == conclave.TaskWorking
	t.Task, t.Updated = t.Task.Settled(in), m.clock()
	m.taskEvent(t, in.Actor, "the task is "+string(in.State))
	if in.Message != nil {
		msg := *in.Message
		msg.Sent = m.clock()
		m.messages = append(m.messages, memoryMessage{msg, t.Tenant})
		m.messageEvent(t.Tenant, msg)
	}
	m.advance(t)
	if working {
		m.wake(t.Tenant, m.agents[agentKey{t.Tenant, t.Agent}], 1)
	}
	m.notify()
	return m.view(t), nil
}

// Answer implements [Store].
func (m *Memory) Answer(_ context.Context, in Answer) (Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(in.ID)
	if err != nil {
		return Task{}, err
	}
	if slices.Contains(t.Keys, in.Key) {
		return m.view(t), nil
	}
	in.Message.Sent = m.clock()
	if t.Task, err = t.Answered(in); err != nil {
		return Task{}, err
	}
	t.Updated = m.clock()
	m.messages = append(m.messages, memoryMessage{t.Request, t.Tenant})
	m.messageEvent(t.Tenant, t.Request)
	m.taskEvent(t, t.From, t.From+" answered")
	if t.waits = m.blocked(t); t.waits {
		m.notify()
		return m.view(t), nil
	}
	m.jobs = append(m.jobs, memoryJob{t.ID, t.Epoch, m.clock()})
	m.notify()
	return m.view(t), nil
}

func (m *Memory) putBack(t *memoryTask, after time.Duration, parked bool) {
	was := t.State
	t.State, t.Agent, t.Updated, t.parked = conclave.TaskSubmitted, "", m.clock(), parked
	t.Epoch++
	m.jobs = append(m.jobs, memoryJob{t.ID, t.Epoch, m.clock().Add(after)})
	if was != conclave.TaskSubmitted {
		m.taskEvent(t, string(conclave.ServiceHub), "it will be delivered again")
	}
}

// Tasks implements [Store].
func (m *Memory) Tasks(_ context.Context, f TaskFilter) ([]Task, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Task
	for _, t := range m.accepted {
		if (f.Tenant == "" || t.Tenant == f.Tenant) && (f.From == "" || t.From == f.From) && (f.To == "" || t.To == f.To) &&
			(f.Agent == "" || t.Agent == f.Agent) && (f.Conversation == "" || t.Conversation == f.Conversation) &&
			(f.State == "" || t.State == f.State) && !t.Updated.Before(f.UpdatedAfter) {
			out = append(out, m.view(t))
		}
	}
	slices.SortFunc(out, func(a, b Task) int { return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(b.ID, a.ID)) })
	total := len(out)
	if f.Before.ID != "" {
		out = slices.DeleteFunc(out, func(t Task) bool {
			return cmp.Or(f.Before.Updated.Compare(t.Updated), cmp.Compare(f.Before.ID, t.ID)) <= 0
		})
	}
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out, total, nil
}

// Queued implements [Store].
func (m *Memory) Queued(ctx context.Context, f TaskFilter, max int) (int, error) {
	_, n, err := m.Tasks(ctx, f)
	return min(n, max), err
}

// Messages implements [Store].
func (m *Memory) Messages(_ context.Context, f MessageFilter) ([]conclave.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []conclave.Message
	started := f.After == ""
	for _, msg := range m.messages {
		if msg.tenant == f.Tenant && started && (f.Task == "" || msg.Task == f.Task) &&
			(f.Conversation == "" || msg.Conversation == f.Conversation) && (f.Run == "" || msg.Run == f.Run) {
			out = append(out, msg.Message)
		}
		started = started || msg.ID == f.After && msg.tenant == f.Tenant
	}
	if !started {
		return nil, conclave.Errorf(conclave.ErrNotFound, "there is no message %q", f.After)
	}
	if f.Limit > 0 && len(out) > f.Limit {
		if f.Latest {
			return out[len(out)-f.Limit:], nil
		}
		out = out[:f.Limit]
	}
	return out, nil
}

// Refuse implements [Store].
func (m *Memory) Refuse(_ context.Context, r Refusal) error {
	e, err := r.Event()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.event(e)
	m.notify()
	return nil
}

// Sweep implements [Store].
func (m *Memory) Sweep(_ context.Context, in Sweep) (int, error) {
	if in.AgentTTL <= 0 || in.ClaimTTL <= 0 {
		return 0, errors.New("a sweep needs both lifetimes")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, requeued := m.clock(), 0
	for _, t := range m.accepted {
		if t.State != conclave.TaskWorking {
			continue
		}
		mine := t.instance == in.Instance
		switch {
		case mine && slices.Contains(in.Held, t.ID):
			t.renewed = now
		case mine && in.Start, mine && now.Sub(t.renewed) > cmp.Or(in.LooseTTL, in.ClaimTTL), now.Sub(t.renewed) > in.ClaimTTL:
			m.putBack(t, 0, false)
			requeued++
		}
	}
	lost := false
	for key, a := range m.agents {
		if a.State == conclave.AgentLive && now.Sub(a.Seen) > in.AgentTTL {
			a.State = conclave.AgentLost
			m.agents[key], lost = a, true
			m.event(conclave.Event{Tenant: key.tenant, Kind: conclave.EventAgentLost, Actor: string(a.Name), Subject: string(a.Name), Text: string(a.Name) + " is lost"})
		}
	}
	if requeued > 0 || lost {
		m.notify()
	}
	return requeued, nil
}
