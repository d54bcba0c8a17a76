package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/killpoint"
	"conclave/internal/telemetry"

	"go.opentelemetry.io/otel/attribute"
)

const (
	parkedRetry  = 15 * time.Second // a parked delivery is woken; this is for a wake that got lost
	busyRetry    = time.Minute      // the same, of one whose agent has its hands full
	suspectFor   = 15 * time.Second // how long an agent that did not answer is passed over
	cleanupLimit = 10 * time.Second
	firstLook    = 50 * time.Millisecond // how late a cancellation is noticed at most, of a delivery that has just begun
)

// HandleDelivery runs the job (task, epoch): it gives the task to an agent,
// waits for the answer, and keeps it. It blocks as long as the agent thinks. A
// job that something overtook does nothing. The error is for the job's log and
// its retry: the store did not do what was asked.
func (h *Hub) HandleDelivery(ctx context.Context, id conclave.TaskID, epoch int64) error {
	defer h.hold(id)()
	t, err := h.opts.Store.Wait(ctx, id, "", 0)
	if err != nil {
		return fmt.Errorf("reading task %s for delivery: %w", id, err)
	}
	if t.State != conclave.TaskSubmitted || t.Epoch != epoch {
		return nil
	}
	agents, err := h.opts.Store.Callees(ctx, t.Tenant, t.To)
	if err != nil {
		return fmt.Errorf("choosing an agent for task %s: %w", id, err)
	}
	ready, lost := h.candidates(t, agents)
	busy := false
	for _, a := range ready {
		// It is parked before the next one is asked: whoever gets a hand free from
		// then on wakes it.
		claimed, err := h.opts.Store.Claim(ctx, Claim{ID: id, Epoch: epoch, Agent: a.Name, Instance: h.opts.Instance, Park: busyRetry})
		switch {
		case errors.Is(err, conclave.ErrLimited):
			busy = true
			continue
		case errors.Is(err, conclave.ErrConflict):
			return nil
		case errors.Is(err, conclave.ErrNotFound):
			continue // it was removed meanwhile
		case err != nil:
			return fmt.Errorf("claiming task %s for %s: %w", id, a.Name, err)
		}
		return h.deliver(ctx, claimed, a)
	}
	if busy {
		return nil
	}
	maxAge := h.maxAge(t)
	if t.Age > maxAge {
		why := fmt.Sprintf("nobody at %s could be reached for %s", t.To, t.Age.Round(time.Second))
		if lost > 0 {
			why += "; what is registered there is lost"
		}
		return h.die(ctx, t, conclave.Errorf(conclave.ErrUnavailable, "%s", why))
	}
	after := min(max(parkedRetry, t.Age/2), maxAge-t.Age+time.Millisecond)
	t, err = h.write(ctx, t, Settle{State: conclave.TaskSubmitted, After: after, Parked: true})
	if err != nil || t.ID == "" {
		return err
	}
	// Who came before it was parked has not woken it.
	if agents, err = h.opts.Store.Callees(ctx, t.Tenant, t.To); err != nil {
		return fmt.Errorf("choosing an agent for task %s: %w", id, err)
	}
	if ready, _ := h.candidates(t, agents); len(ready) == 0 {
		return nil
	}
	return h.settle(ctx, t, Settle{State: conclave.TaskSubmitted})
}

// freest returns who can take a new task at once, or nobody, and notes that it may
// be in hand until done is called.
func (h *Hub) freest(t Task, callees []conclave.Agent) (a conclave.Agent, done func()) {
	ready, _ := h.candidates(t, callees)
	h.mu.Lock()
	living := h.life != nil
	h.mu.Unlock()
	if !living || len(ready) == 0 || ready[0].Active >= ready[0].Capacity {
		return conclave.Agent{}, func() {}
	}
	return ready[0], h.hold(t.ID)
}

// begin delivers a task that was claimed when it was accepted. It does not
// block. When the hub stops, the claim is put back when it starts again.
func (h *Hub) begin(t Task, a conclave.Agent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	life := h.life
	if life == nil {
		return
	}
	h.running.Go(func() {
		defer h.hold(t.ID)()
		if err := h.deliver(life, t, a); err != nil {
			h.opts.Logger.WarnContext(life, "delivering", "task", t.ID, "err", err)
		}
	})
}

// live lets tasks be delivered that are claimed when they are accepted, until
// done is called, which waits for them.
func (h *Hub) live(ctx context.Context) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	h.mu.Lock()
	h.life = ctx
	h.mu.Unlock()
	return func() {
		h.mu.Lock()
		h.life = nil
		h.mu.Unlock()
		cancel()
		h.running.Wait()
	}
}

// hold notes that a delivery is in hand, until done is called. Only the claims of
// those are renewed: one whose end could not be written, because the disk was
// full, say, goes stale and is delivered again.
func (h *Hub) hold(id conclave.TaskID) (done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inHand[id]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.inHand[id]--; h.inHand[id] == 0 {
			delete(h.inHand, id)
		}
	}
}

func (h *Hub) held() []conclave.TaskID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.inHand))
}

// candidates returns who may take a task, the freest first and those who did not
// answer lately last, and how many that may are lost.
func (h *Hub) candidates(t Task, agents []conclave.Agent) (ready []conclave.Agent, lost int) {
	to, _ := parseAddress(t.To)
	now := h.opts.Clock()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range agents {
		if !to.mayTake(t, a) || t.Remote != "" && a.Name != t.AskedBy || a.URL == conclave.PullURL {
			continue
		}
		if a.State != conclave.AgentLive {
			lost++
			continue
		}
		ready = append(ready, a)
	}
	silent := func(a conclave.Agent) int {
		if at, ok := h.suspect[agentKey{t.Tenant, a.Name}]; ok && now.Sub(at) < suspectFor {
			return 1
		}
		return 0
	}
	slices.SortFunc(ready, func(a, b conclave.Agent) int {
		// active/capacity, compared without division
		return cmp.Or(silent(a)-silent(b), cmp.Compare(a.Active*b.Capacity, b.Active*a.Capacity), cmp.Compare(a.Name, b.Name))
	})
	return ready, lost
}

// deliver speaks to the agent and settles what came of it.
func (h *Hub) deliver(ctx context.Context, t Task, a conclave.Agent) (err error) {
	ctx, span := telemetry.Run(ctx, t.Run, "deliver "+string(t.Kind), attribute.String("conclave.agent", string(a.Name)), attribute.String("conclave.task", string(t.ID)))
	defer func() { span(err) }()
	killpoint.At("deliver.before")
	result, err := h.speak(ctx, t, a)
	killpoint.At("deliver.after")
	var overtaken *overtakenError
	switch {
	case errors.As(err, &overtaken):
		return nil // cancelled, or put back by somebody else; the store has it
	case conclave.DiskFull(err), conclave.DiskFull(result.Err):
		// Nobody can help that but who has the disk; what was asked is asked again.
		return h.settle(ctx, t, Settle{State: conclave.TaskSubmitted, After: backoff(t.Attempt), Parked: true})
	case err != nil && ctx.Err() != nil:
		// This hub stops. The agent, if it lives on, gets the same message id again.
		return h.settle(ctx, t, Settle{State: conclave.TaskSubmitted})
	case errors.Is(err, conclave.ErrUnavailable), errors.Is(err, conclave.ErrNotFound):
		// Not found: its host is there, and does not have it, or not yet.
		return h.retry(ctx, t, a, err)
	case errors.Is(err, context.DeadlineExceeded): // its own: a host that takes no connection in time is unavailable
		return h.fail(ctx, t, conclave.Errorf(conclave.ErrTimeout, "%s did not answer within %s", a.Name, h.opts.Timeout))
	case errors.Is(err, conclave.ErrLimited):
		// The host has its hands full although we thought it had not.
		return h.settle(ctx, t, Settle{State: conclave.TaskSubmitted, After: backoff(t.Attempt), Parked: true})
	case err != nil:
		return h.fail(ctx, t, err)
	}

	return h.settle(ctx, t, ended(t, a.Name, result))
}

// ended is what is kept of an agent's answer.
func ended(t Task, agent conclave.AgentName, result a2awire.Result) Settle {
	end := Settle{State: result.State, Text: result.Text, Reply: result.Data, Actor: string(agent), Artifacts: result.Artifacts, Said: result.Message}
	said := result.Text
	if result.State == conclave.TaskInputRequired && t.Interactive {
		end.Remote, result.Err = result.Remote, nil
	}
	if result.State == conclave.TaskInputRequired && !t.Interactive {
		end.State = conclave.TaskFailed
		result.Err = conclave.Errorf(conclave.ErrUnsupported, "%s wants more input, and nobody is there to give it: %w", agent, result.Err)
	}
	if result.Err != nil {
		end.Error, said = shownError(result.Err), conclave.Text(result.Err)
	}
	end.Message = &conclave.Message{
		ID: conclave.MessageID(conclave.NewID("msg")), Task: t.ID, Conversation: t.Conversation, Run: t.Run,
		From: string(agent), To: t.From, Kind: t.Kind, Text: said, Data: result.Data,
	}
	return end
}

// retry puts a delivery back after an agent did not answer.
func (h *Hub) retry(ctx context.Context, t Task, a conclave.Agent, why error) error {
	h.mu.Lock()
	h.suspect[agentKey{t.Tenant, a.Name}] = h.opts.Clock()
	delete(h.clients, clientKey(t.Tenant, a))
	h.mu.Unlock()
	if t.Age > h.maxAge(t) {
		return h.die(ctx, t, conclave.Errorf(conclave.ErrUnavailable, "%s could not be reached for %s: %w", a.Name, t.Age.Round(time.Second), why))
	}
	h.opts.Logger.InfoContext(ctx, "an agent does not answer; the message will be delivered again",
		"agent", a.Name, "task", t.ID, "attempt", t.Attempt, "err", why)
	return h.settle(ctx, t, Settle{State: conclave.TaskSubmitted, After: backoff(t.Attempt), Parked: true})
}

// maxAge is how long a message tries to reach somebody.
func (h *Hub) maxAge(t Task) time.Duration { return cmp.Or(t.TTL, h.opts.MaxAge) }

// backoff doubles from a quarter of a second to half a minute.
func backoff(attempt int) time.Duration {
	return min(250*time.Millisecond<<min(max(attempt-1, 0), 10), 30*time.Second)
}

// fail ends a delivery that came to nothing.
func (h *Hub) fail(ctx context.Context, t Task, why error) error {
	return h.settle(ctx, t, Settle{State: conclave.TaskFailed, Error: shownError(why)})
}

// die ends a delivery that reached nobody in its time.
func (h *Hub) die(ctx context.Context, t Task, why error) error {
	return h.settle(ctx, t, Settle{State: conclave.TaskFailed, Error: shownError(why), Dead: true})
}

// shownError puts the kind of an error before its text, so that a task, which
// has one field for both, gives the kind back.
func shownError(err error) string { return conclave.KindOf(err).Error() + ": " + conclave.Text(err) }

// splitError takes apart what shownError made. A text without a kind has none.
func splitError(shown string) (text string, kind error) {
	for _, k := range conclave.Kinds() {
		if text, ok := strings.CutPrefix(shown, k.Error()+": "); ok {
			return text, k
		}
	}
	return shown, nil
}

// settle writes the end of a delivery, even when this hub is being stopped. A
// delivery that something overtook is no error.
func (h *Hub) settle(ctx context.Context, t Task, s Settle) error {
	_, err := h.write(ctx, t, s)
	return err
}

// write is settle that returns the task, or none when something overtook it.
func (h *Hub) write(ctx context.Context, t Task, s Settle) (Task, error) {
	s.ID, s.Epoch = t.ID, t.Epoch
	if s.Actor == "" {
		s.Actor = string(conclave.ServiceHub)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	var settled Task
	killpoint.At("settle.before")
	err := insist(ctx, func() (err error) {
		settled, err = h.opts.Store.Settle(ctx, s)
		return err
	})
	killpoint.At("settle.after")
	if errors.Is(err, conclave.ErrConflict) {
		return Task{}, nil
	}
	if err != nil {
		return Task{}, fmt.Errorf("settling task %s as %s: %w", t.ID, s.State, err)
	}
	return settled, nil
}

// insist repeats a write while the database can't be reached, as long as ctx
// lasts: what came of a delivery is in no other place. The write is guarded by an
// epoch, so one that happened although its answer got lost is a conflict.
func insist(ctx context.Context, write func() error) error {
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		err := write()
		if !errors.Is(err, conclave.ErrUnavailable) || conclave.DiskFull(err) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// overtakenError says that the task is no longer this delivery's.
type overtakenError struct{ state conclave.TaskState }

func (e *overtakenError) Error() string { return "the task is " + string(e.state) }

// speak sends the message over A2A and waits for the end. When the task is
// cancelled meanwhile, here or at another hub, it cancels it at the agent.
func (h *Hub) speak(ctx context.Context, t Task, a conclave.Agent) (a2awire.Result, error) {
	caller := conclave.ServiceCaller(conclave.ServiceHub, t.Tenant, t.Call.Human)
	ctx, cancel := context.WithTimeoutCause(conclave.WithCaller(ctx, caller), h.opts.Timeout, context.DeadlineExceeded)
	defer cancel()
	client, err := h.client(ctx, t.Tenant, a)
	if err != nil {
		return a2awire.Result{}, err
	}

	watchCtx, stopWatch := context.WithCancel(ctx)
	sendCtx, stopSend := context.WithCancelCause(ctx)
	defer stopSend(nil)
	accepted := make(chan string, 1)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select { // most agents that are there answer before it is worth a look
		case <-time.After(firstLook):
		case <-watchCtx.Done():
		}
		for watchCtx.Err() == nil {
			now, err := h.opts.Store.Wait(watchCtx, t.ID, conclave.TaskWorking, maxWait)
			if err != nil {
				return // the epoch still guards what is written at the end
			}
			if now.State != conclave.TaskWorking || now.Epoch != t.Epoch {
				stopSend(&overtakenError{now.State})
				return
			}
		}
	}()
	talk := t.Conversation
	if t.Remote != "" {
		talk = "" // the agent knows the context of its own task, and may have named it otherwise
	}
	result, err := client.Send(sendCtx, a2awire.Outbound{
		ID: t.messageID(), SentAs: t.Request.SentAs, Context: talk, Task: t.Remote, Text: t.Request.Text, Data: t.Request.Data,
		Call: onward(t), Run: t.Run, Kind: t.Kind, References: []conclave.TaskID{t.ID}, Agent: a.Name, Role: a.Role,
	}, func(remote string) { accepted <- remote })
	stopWatch()
	<-watched

	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var overtaken *overtakenError
	gone := errors.As(context.Cause(sendCtx), &overtaken) && err != nil
	if gone {
		err = overtaken
	}
	if gone && overtaken.state == conclave.TaskCanceled || errors.Is(err, context.DeadlineExceeded) {
		h.cancelRemote(ctx, client, t, accepted)
	}
	return result, err
}

// cancelRemote tells the agent that nobody waits any more.
func (h *Hub) cancelRemote(ctx context.Context, client *a2awire.Client, t Task, accepted <-chan string) {
	select {
	case remote := <-accepted:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
		defer cancel()
		if err := client.Cancel(ctx, remote); err != nil && !errors.Is(err, conclave.ErrConflict) {
			h.opts.Logger.WarnContext(ctx, "cancelling a task at its agent", "task", t.ID, "agent", t.Agent, "err", err)
		}
	default: // the agent never took it
	}
}

func clientKey(tenant conclave.TenantID, a conclave.Agent) string {
	return string(tenant) + "/" + string(a.Name) + " " + a.URL
}

// client returns the client of an agent, which is kept while it works.
func (h *Hub) client(ctx context.Context, tenant conclave.TenantID, a conclave.Agent) (*a2awire.Client, error) {
	key := clientKey(tenant, a)
	h.mu.Lock()
	c := h.clients[key]
	h.mu.Unlock()
	if c != nil {
		return c, nil
	}
	dial := a2awire.DialOptions{URL: a.URL, Transport: h.opts.Transport, Logger: h.opts.Logger}
	if a.Card != nil {
		dial.Interfaces, dial.Transport = a.Card.Interfaces, h.outside(a.Card.Private)
	}
	// A token of ours is for our own hosts: with it, whoever gets it is the hub.
	if h.opts.Token != nil && !foreign(a) {
		dial.Token = func(ctx context.Context) (string, error) { return h.opts.Token(ctx, a) }
	}
	c, err := a2awire.Dial(ctx, dial)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.clients[key] = c
	h.mu.Unlock()
	return c, nil
}
