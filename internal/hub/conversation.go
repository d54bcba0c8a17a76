package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"conclave"
)

// ConversationStore keeps conversations. Each method is one transaction that also
// writes the events it names.
type ConversationStore interface {
	// List lists conversations, newest update first. ErrNotFound when in.Before is
	// not one.
	List(ctx context.Context, tenant conclave.TenantID, in conclave.ListConversations) ([]conclave.Conversation, error)
	// Replay returns a conversation as it was at a moment, with up to limit
	// messages after one of them; a zero moment is now. ErrNotFound.
	Replay(ctx context.Context, tenant conclave.TenantID, id conclave.ConversationID, at time.Time, after conclave.MessageID, limit int) (conclave.ConversationAt, error)
	// Escalate keeps an escalation, with what was said by it. With the From and
	// key of an earlier one it returns that. ErrNotFound without the
	// conversation. Events: conversation.escalated, message.sent.
	Escalate(ctx context.Context, tenant conclave.TenantID, key string, e conclave.Escalation) (conclave.Escalation, error)
	// Escalations lists escalations, oldest first, in the state that their tasks
	// give them.
	Escalations(ctx context.Context, tenant conclave.TenantID, in conclave.ListEscalations) ([]conclave.Escalation, error)
	// Answer settles an escalation and says so in its conversation. ErrNotFound;
	// ErrConflict when it is settled. Events: escalation.answered, message.sent.
	Answer(ctx context.Context, tenant conclave.TenantID, id, by, text string) (conclave.Escalation, error)
	// Expire removes up to limit conversations in which nothing was said for an
	// age, nothing is under way, and whose run has ended: messages, tasks, answers,
	// escalations and publications. It returns how many it removed. Event:
	// conversation.expired for each.
	Expire(ctx context.Context, age time.Duration, limit int) (int, error)
}

// replayLimit is how many messages one answer shows, and expireLimit how many
// conversations one transaction removes.
const (
	replayLimit = 1000
	expireLimit = 100
	expireEvery = time.Hour
)

// Conversations returns the hub as [conclave.Conversations], whose names the hub
// itself has for agents and tasks.
func (h *Hub) Conversations() conclave.Conversations { return conversations{h} }

type conversations struct{ h *Hub }

func (c conversations) store() (ConversationStore, error) {
	if c.h.opts.Conversations == nil {
		return nil, conclave.Errorf(conclave.ErrUnsupported, "this hub keeps no conversations")
	}
	return c.h.opts.Conversations, nil
}

// List implements [conclave.Conversations].
func (c conversations) List(ctx context.Context, in conclave.ListConversations) ([]conclave.Conversation, error) {
	store, err := c.store()
	if err != nil {
		return nil, err
	}
	in.Limit = cmp.Or(in.Limit, 50)
	if in.Limit < 0 || in.Limit > 500 {
		return nil, conclave.Errorf(conclave.ErrInvalid, "limit %d: want 1 to 500", in.Limit)
	}
	list, err := store.List(ctx, conclave.CallerFrom(ctx).Tenant, in)
	if err != nil {
		return nil, fmt.Errorf("listing conversations: %w", err)
	}
	return list, nil
}

// Replay implements [conclave.Conversations].
func (c conversations) Replay(ctx context.Context, in conclave.ReplayConversation) (conclave.ConversationAt, error) {
	store, err := c.store()
	if err != nil {
		return conclave.ConversationAt{}, err
	}
	var at time.Time
	switch {
	case in.AsOf < 0:
		return conclave.ConversationAt{}, conclave.Errorf(conclave.ErrInvalid, "as_of_ms %d: want milliseconds since 1970", in.AsOf)
	case in.AsOf > 0:
		at = time.UnixMilli(in.AsOf)
	}
	got, err := store.Replay(ctx, conclave.CallerFrom(ctx).Tenant, in.ID, at, "", replayLimit)
	if err != nil {
		return got, fmt.Errorf("replaying conversation %s: %w", in.ID, err)
	}
	return got, nil
}

// Export implements [conclave.Conversations].
func (c conversations) Export(ctx context.Context, in conclave.ExportConversation) ([]conclave.ConversationRecord, error) {
	store, err := c.store()
	if err != nil {
		return nil, err
	}
	in.Limit = cmp.Or(in.Limit, replayLimit)
	if in.Limit < 0 || in.Limit > replayLimit {
		return nil, conclave.Errorf(conclave.ErrInvalid, "limit %d: want 1 to %d", in.Limit, replayLimit)
	}
	got, err := store.Replay(ctx, conclave.CallerFrom(ctx).Tenant, in.ID, time.Time{}, in.After, in.Limit)
	if err != nil {
		return nil, fmt.Errorf("exporting conversation %s: %w", in.ID, err)
	}
	var records []conclave.ConversationRecord
	if in.After == "" {
		records = append(records, conclave.ConversationRecord{Conversation: &got.Conversation})
		for _, e := range got.Escalations {
			records = append(records, conclave.ConversationRecord{Escalation: &e})
		}
	}
	tasks := map[conclave.TaskID]conclave.Task{}
	for _, t := range got.Tasks {
		tasks[t.ID] = t
	}
	for _, m := range got.Messages {
		records = append(records, conclave.ConversationRecord{Message: &m})
		if t, ok := tasks[m.Task]; ok && m.From == t.From && m.To == t.To {
			records = append(records, conclave.ConversationRecord{Task: &t})
			delete(tasks, m.Task)
		}
	}
	return records, nil
}

// Escalate implements [conclave.Conversations].
func (c conversations) Escalate(ctx context.Context, in conclave.EscalateConversation) (conclave.Escalation, error) {
	store, err := c.store()
	if err != nil {
		return conclave.Escalation{}, err
	}
	if strings.TrimSpace(in.Reason) == "" {
		return conclave.Escalation{}, conclave.Errorf(conclave.ErrInvalid, "reason is missing: say what is to be settled")
	}
	in.To = cmp.Or(in.To, conclave.ToHuman)
	caller := conclave.CallerFrom(ctx)
	m := conclave.SendMessage{To: in.To, Conversation: in.ID, Kind: conclave.AssignAsk, Text: in.Reason, Call: in.Call}
	if err := checkContent(m.Text, m.Data); err != nil {
		return conclave.Escalation{}, err
	}
	was, err := store.Replay(ctx, caller.Tenant, in.ID, time.Time{}, "", replayLimit)
	if err != nil {
		return conclave.Escalation{}, fmt.Errorf("escalating conversation %s: %w", in.ID, err)
	}
	o, err := c.h.open(ctx, caller, m)
	if err == nil && caller.Agent != "" && o.Conversation != in.ID {
		err = broke("path", conclave.ErrDenied, "%s does not work in conversation %s", caller.Agent, in.ID)
	}
	if err != nil {
		return conclave.Escalation{}, c.h.refuse(ctx, caller, m, err)
	}
	e := conclave.Escalation{ID: conclave.NewID("esc"), Conversation: in.ID, Run: was.Conversation.Run, From: o.From, To: in.To, Reason: in.Reason, State: conclave.EscalationWaiting}
	if in.To != conclave.ToHuman {
		// Whoever is senior is asked first: when this hub ends in between, nothing
		// was promised yet, and the same key finds the same task.
		m.Key, m.Text = "escalation "+cmp.Or(in.Key, e.ID), brief(in.Reason, o.From, was.Messages)
		t, err := c.h.post(ctx, o, m, "")
		if err != nil {
			return e, err
		}
		e.Task, e.State = t.ID, conclave.EscalationAsked
	}
	if e, err = store.Escalate(ctx, caller.Tenant, in.Key, e); err != nil {
		return e, fmt.Errorf("escalating conversation %s: %w", in.ID, err)
	}
	return e, nil
}

// briefLimit bounds what a senior agent is told of a conversation.
const briefLimit = 16 << 10

// brief tells somebody who was not there what is to be settled, and what was
// said, the newest of it when it was much.
func brief(reason, from string, said []conclave.Message) string {
	var lines []string
	size := 0
	for i := len(said) - 1; i >= 0; i-- {
		line := fmt.Sprintf("- %s to %s: %s", said[i].From, said[i].To, said[i].Text)
		if size += len(line); size > briefLimit {
			lines = append(lines, fmt.Sprintf("- (%d earlier)", i+1))
			break
		}
		lines = append(lines, line)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s escalates this conversation to you: %s\n\nWhat was said:\n", from, reason)
	for i := len(lines) - 1; i >= 0; i-- {
		b.WriteString(lines[i] + "\n")
	}
	return b.String()
}

// Escalations implements [conclave.Conversations].
func (c conversations) Escalations(ctx context.Context, in conclave.ListEscalations) ([]conclave.Escalation, error) {
	store, err := c.store()
	if err != nil {
		return nil, err
	}
	list, err := store.Escalations(ctx, conclave.CallerFrom(ctx).Tenant, in)
	if err != nil {
		return nil, fmt.Errorf("listing escalations: %w", err)
	}
	return list, nil
}

// Decide implements [conclave.Conversations].
func (c conversations) Decide(ctx context.Context, in conclave.AnswerEscalation) (conclave.Escalation, error) {
	store, err := c.store()
	if err != nil {
		return conclave.Escalation{}, err
	}
	if strings.TrimSpace(in.Text) == "" {
		return conclave.Escalation{}, conclave.Errorf(conclave.ErrInvalid, "text is missing: say what is to be done")
	}
	caller := conclave.CallerFrom(ctx)
	if caller.Agent != "" {
		err := broke("speaker", conclave.ErrDenied, "%s can't answer for a human", caller.Agent)
		return conclave.Escalation{}, c.h.refuse(ctx, caller, conclave.SendMessage{To: conclave.ToHuman}, err)
	}
	e, err := store.Answer(ctx, caller.Tenant, in.ID, caller.Name(), in.Text)
	if errors.Is(err, conclave.ErrConflict) && in.Key != "" && e.AnsweredBy == caller.Name() && e.Answer == in.Text {
		return e, nil // the same request again
	}
	if err != nil {
		return e, fmt.Errorf("answering escalation %s: %w", in.ID, err)
	}
	return e, nil
}

// expire removes what is older than the rules keep it.
func (h *Hub) expire(ctx context.Context) {
	if h.opts.Rules.Retention == 0 || h.opts.Conversations == nil {
		return
	}
	for {
		n, err := h.opts.Conversations.Expire(ctx, h.opts.Rules.Retention, expireLimit)
		if err != nil {
			if ctx.Err() == nil {
				h.opts.Logger.ErrorContext(ctx, "removing old conversations", "err", err)
			}
			return
		}
		if n > 0 {
			h.opts.Logger.InfoContext(ctx, "removed old conversations", "count", n)
		}
		if n < expireLimit {
			return
		}
	}
}

// tend goes on with what was said to many and is not out, and removes what is
// old, until ctx ends. It has a goroutine of its own: the claims in hand must be
// renewed meanwhile.
func (h *Hub) tend(ctx context.Context) {
	hand := time.NewTicker(sweepEvery)
	defer hand.Stop()
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	h.handOver(ctx, 0)
	h.expire(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hand.C:
			h.handOver(ctx, handAgain)
		case <-expire.C:
			h.expire(ctx)
		}
	}
}
