package store

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
	"conclave/internal/hub"
)

// Hub implements the hub's store.
func (db *DB) Hub() hub.Store { return hubStore{db} }

type hubStore struct{ db *DB }

// unpark makes up to n parked deliveries due that an agent may take, oldest first.
func (s hubStore) unpark(tx *Tx, tenant conclave.TenantID, a conclave.Agent, n int) error {
	if n <= 0 {
		return nil
	}
	if some, err := s.waits(tx, tenant, a, `parked = 1`); err != nil || !some {
		return err
	}
	var all []parkedTask
	for _, address := range addresses(a) {
		list, err := s.parked(tx, tenant, address, a, n)
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b parkedTask) int { return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.id, b.id)) })
	for _, t := range all[:min(n, len(all))] {
		if err := s.deliver(tx, t.id, 0, isDue); err != nil {
			return err
		}
	}
	return nil
}

// addresses are those at which an agent is.
func addresses(a conclave.Agent) []string {
	list := []string{"agents/" + string(a.Name), "roles/" + string(a.Role)}
	for _, skill := range a.Skills {
		list = append(list, "skills/"+skill)
	}
	return list
}

type parkedTask struct {
	id      conclave.TaskID
	created int64
}

// parked returns the n oldest parked deliveries to an address that an agent may take.
func (s hubStore) parked(tx *Tx, tenant conclave.TenantID, address string, a conclave.Agent, n int) ([]parkedTask, error) {
	own := strings.HasPrefix(address, "agents/")
	query := `SELECT id, created, doc FROM tasks WHERE tenant = $1 AND address = $2 AND state = 'submitted' AND parked = 1 ORDER BY created, id`
	if own { // all of them are its own
		query = strings.Replace(query, "doc", "''", 1) + fmt.Sprintf(" LIMIT %d", n)
	}
	if s.db.postgres {
		query += ` FOR UPDATE SKIP LOCKED` // whoever claims one now asks for the agent's hands after this
	}
	rows, err := tx.docs(query, string(tenant), address)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []parkedTask
	for len(list) < n && rows.Next() {
		var p parkedTask
		var text string
		if err := rows.Scan(&p.id, &p.created, &text); err != nil {
			return nil, err
		}
		may := own
		if !own {
			var t hub.Task
			if err := json.Unmarshal([]byte(text), &t); err != nil {
				return nil, fmt.Errorf("decode task %s: %w", p.id, err)
			}
			may = hub.MayTake(t, a)
		}
		if may {
			list = append(list, p)
		}
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// deliver makes a delivery due, and parks it or not.
func (s hubStore) deliver(tx *Tx, id conclave.TaskID, after time.Duration, parked int) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	if _, err := tx.exec(`UPDATE tasks SET due = $2, parked = $3 WHERE id = $1`, string(id), now.Add(after).UnixMicro(), parked); err != nil {
		return err
	}
	tx.wakes(WorkDelivery)
	return nil
}

// Values of the column parked.
const (
	isDue      = 0
	needsHands = 1 // nobody can take it
	needsTurn  = 2 // an earlier one has not ended
)

func (s hubStore) Accept(ctx context.Context, in hub.Accept) (hub.Task, bool, error) {
	t := hub.Task{Task: in.Task, Tenant: in.Tenant, Call: in.Call, Scopes: in.Scopes, Budgets: in.Budgets, Exclude: in.Exclude, Request: in.Request, Epoch: 1, TTL: in.TTL, Interactive: in.Interactive}
	created := false
	err := s.db.Update(ctx, func(tx *Tx) error {
		created = false
		if in.Key != "" {
			had, found, err := s.find(tx, `tenant = $1 AND asker = $2 AND key = $3 AND key <> ''`, string(in.Tenant), in.Task.From, in.Key)
			if err != nil || found {
				t = had
				return err
			}
		}
		if err := tx.mayGoOn(in.Task.Run); err != nil {
			return err
		}
		if err := s.spend(tx, &t); err != nil {
			return err
		}
		if err := s.insert(tx, &t, in); err != nil {
			return err
		}
		created = true
		return nil
	})
	return t, created, err
}

// insert keeps a new task and its message, and claims it when in.Agent can take it now.
func (s hubStore) insert(tx *Tx, t *hub.Task, in hub.Accept) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	t.State, t.Created, t.Updated, t.Request.Sent = conclave.TaskSubmitted, now, now, now
	t.Agent, t.Epoch, t.Attempt, t.Turn = "", 1, 0, 0
	ordered := strings.HasPrefix(t.To, "agents/")
	if ordered {
		if err := s.lockLine(tx, t.Tenant, t.Conversation, t.To); err != nil {
			return err
		}
	}
	position, err := s.keep(tx, t.Tenant, t.Request)
	if err != nil {
		return err
	}
	parked, instance := isDue, ""
	if ordered {
		t.Turn = position
		waits, err := s.blocked(tx, *t)
		if err != nil {
			return err
		}
		if waits {
			parked = needsTurn
		}
	}
	if in.Agent != "" && parked == isDue {
		taken, err := s.takeNow(tx, *t, in.Agent)
		if err != nil {
			return err
		}
		if taken {
			t.State, t.Agent, t.Epoch, t.Attempt, instance = conclave.TaskWorking, in.Agent, 2, 1, in.Instance
		}
	}
	doc, err := encode(t)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`INSERT INTO tasks (id, tenant, asker, key, address, conversation, run, agent, state, epoch, instance, renewed, parked, due, created, updated, doc, turn)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12, $12, $12, $14, $15)`,
		string(t.ID), string(t.Tenant), t.From, in.Key, t.To, string(t.Conversation), string(t.Run), string(t.Agent), string(t.State), t.Epoch, instance,
		now.UnixMicro(), parked, doc, t.Turn); err != nil {
		return err
	}
	if t.State == conclave.TaskWorking {
		return s.record(tx, *t, string(t.Agent), string(t.Agent)+" works on it")
	}
	if parked == isDue {
		tx.wakes(WorkDelivery)
	}
	return nil
}

// takeNow reports whether an agent can take a new task at once: it has a hand
// free, and nothing that came earlier waits for it.
func (s hubStore) takeNow(tx *Tx, t hub.Task, name conclave.AgentName) (bool, error) {
	a, free, err := s.hands(tx, t.Tenant, name)
	if err != nil || free <= 0 || a.State != conclave.AgentLive {
		return false, err
	}
	waits, err := s.waits(tx, t.Tenant, a, `parked < 2`)
	return err == nil && !waits, err
}

// waits reports whether a delivery waits at one of an agent's addresses that is
// parked so.
func (s hubStore) waits(tx *Tx, tenant conclave.TenantID, a conclave.Agent, parked string) (bool, error) {
	args, marks := []any{string(tenant)}, ""
	for i, address := range addresses(a) {
		args = append(args, address)
		marks += fmt.Sprintf(", $%d", i+2)
	}
	var one int
	return tx.scan([]any{&one}, `SELECT 1 FROM tasks WHERE tenant = $1 AND address IN (`+marks[2:]+`) AND state = 'submitted' AND `+parked+` LIMIT 1`, args...)
}

// hands returns an agent and how many tasks more it may take. On Postgres its
// row is locked, so that claims of one agent are counted one after the other.
func (s hubStore) hands(tx *Tx, tenant conclave.TenantID, name conclave.AgentName) (a conclave.Agent, free int, err error) {
	query := `SELECT doc FROM agents WHERE tenant = $1 AND name = $2`
	if s.db.postgres {
		query += ` FOR UPDATE`
	}
	a, found, err := getDoc[conclave.Agent](tx, query, string(tenant), string(name))
	if err != nil {
		return a, 0, err
	}
	if !found {
		return a, 0, conclave.Errorf(conclave.ErrNotFound, "there is no agent %q", name)
	}
	busy, err := s.active(tx, tenant, name)
	return a, a.Capacity - busy, err
}

// A conversation's messages to one agent are a line: one is out at a time, in
// the order of their turns. Whoever changes the line locks it first on Postgres;
// SQLite has one writer.

func (s hubStore) lockLine(tx *Tx, tenant conclave.TenantID, conversation conclave.ConversationID, address string) error {
	if !s.db.postgres {
		return nil
	}
	_, err := tx.exec(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, string(tenant)+" "+address+" "+string(conversation))
	return err
}

// lockLineOf locks the line of a task, before its row is.
func (s hubStore) lockLineOf(tx *Tx, id conclave.TaskID) error {
	if !s.db.postgres {
		return nil
	}
	var tenant conclave.TenantID
	var conversation conclave.ConversationID
	var address string
	found, err := tx.scan([]any{&tenant, &conversation, &address}, `SELECT tenant, conversation, address FROM tasks WHERE id = $1 AND turn > 0`, string(id))
	if err != nil || !found {
		return err
	}
	return s.lockLine(tx, tenant, conversation, address)
}

// blocked reports whether a task must wait for another one of its line.
func (s hubStore) blocked(tx *Tx, t hub.Task) (bool, error) {
	if t.Turn == 0 {
		return false, nil
	}
	var one int
	return tx.scan([]any{&one}, `SELECT 1 FROM tasks WHERE tenant = $1 AND conversation = $2 AND address = $3 AND state IN ('submitted', 'working')
		AND id <> $4 AND (state = 'working' OR turn < $5) LIMIT 1`,
		string(t.Tenant), string(t.Conversation), t.To, string(t.ID), t.Turn)
}

// advance lets the next of a line go, after t has ended.
func (s hubStore) advance(tx *Tx, t hub.Task) error {
	if t.Turn == 0 {
		return nil
	}
	var id conclave.TaskID
	var parked int
	found, err := tx.scan([]any{&id, &parked}, `SELECT id, parked FROM tasks WHERE tenant = $1 AND conversation = $2 AND address = $3 AND state IN ('submitted', 'working')
		ORDER BY turn LIMIT 1`, string(t.Tenant), string(t.Conversation), t.To)
	if err != nil || !found || parked != needsTurn {
		return err
	}
	return s.deliver(tx, id, 0, isDue)
}

// mayGoOn refuses what is asked for a run that has ended: nobody waits for it.
func (tx *Tx) mayGoOn(run conclave.RunID) error {
	if run == "" {
		return nil
	}
	var status conclave.RunStatus
	found, err := tx.scan([]any{&status}, `SELECT status FROM runs WHERE id = $1`, string(run))
	if err != nil || !found || !status.Ended() {
		return err
	}
	return conclave.Errorf(conclave.ErrConflict, "run %s has ended: %s", run, status)
}

// find reads one task. On Postgres, in a transaction that writes, its row is locked.
func (s hubStore) find(tx *Tx, where string, args ...any) (hub.Task, bool, error) {
	query := `SELECT doc FROM tasks WHERE ` + where
	if s.db.postgres && !tx.reading {
		query += ` FOR UPDATE`
	}
	t, found, err := getDoc[hub.Task](tx, query, args...)
	if err != nil || !found {
		return t, found, err
	}
	now, err := tx.Now()
	t.Age = now.Sub(t.Request.Sent)
	return t, true, err
}

func (s hubStore) get(tx *Tx, id conclave.TaskID) (hub.Task, error) {
	t, found, err := s.find(tx, `id = $1`, string(id))
	if err == nil && !found {
		err = conclave.Errorf(conclave.ErrNotFound, "there is no task %q", id)
	}
	return t, err
}

// put writes a task, and sets other columns too: set begins with a comma, and its
// values are numbered from $7.
func (s hubStore) put(tx *Tx, t *hub.Task, set string, values ...any) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	t.Updated = now
	doc, err := encode(t)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE tasks SET agent = $2, state = $3, epoch = $4, updated = $5, doc = $6`+set+` WHERE id = $1`,
		append([]any{string(t.ID), string(t.Agent), string(t.State), t.Epoch, now.UnixMicro(), doc}, values...)...)
	return err
}

// keep inserts a message with its event, and returns its position.
func (s hubStore) keep(tx *Tx, tenant conclave.TenantID, m conclave.Message) (position int64, err error) {
	now, err := tx.Now()
	if err != nil {
		return 0, err
	}
	m.Sent = now
	doc, err := encode(m)
	if err != nil {
		return 0, err
	}
	if _, err := tx.scan([]any{&position}, `INSERT INTO messages (id, tenant, conversation, run, task, doc) VALUES ($1, $2, $3, $4, $5, $6) RETURNING position`,
		string(m.ID), string(tenant), string(m.Conversation), string(m.Run), string(m.Task), doc); err != nil {
		return 0, err
	}
	if err := tx.talked(tenant, m); err != nil {
		return 0, err
	}
	event, err := conclave.MessageEvent(tenant, m)
	if err != nil {
		return 0, fmt.Errorf("encode the event of a message: %w", err)
	}
	return position, tx.Append(event)
}

// changed records that a task is another, and tells whoever wants to be told.
func (s hubStore) changed(tx *Tx, t hub.Task, actor, text string) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	if err := tx.tellOf(t.Tenant, t.ID, now); err != nil {
		return err
	}
	return s.record(tx, t, actor, text)
}

// record is changed for a task that is new, of which nobody can have asked to be told.
func (s hubStore) record(tx *Tx, t hub.Task, actor, text string) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	data, err := json.Marshal(map[string]any{"state": t.State, "agent": t.Agent, "from": t.From, "to": t.To, "kind": t.Kind, "attempt": t.Attempt,
		"seconds": now.Sub(t.Created).Seconds()})
	if err != nil {
		return err
	}
	return tx.Append(conclave.Event{Tenant: t.Tenant, Kind: conclave.EventTaskChanged, Actor: actor, Run: t.Run, Conversation: t.Conversation,
		Subject: string(t.ID), Text: text, Data: data})
}

func (s hubStore) Wait(ctx context.Context, id conclave.TaskID, seen conclave.TaskState, d time.Duration) (hub.Task, error) {
	var t hub.Task
	settled, stop := s.db.settled.await(id)
	defer stop()
	err := s.db.wait(ctx, string(id), d, func() (bool, error) {
		select {
		case t = <-settled:
			if t.State != seen {
				return true, nil
			}
		default:
		}
		err := s.db.View(ctx, func(tx *Tx) (err error) { t, err = s.get(tx, id); return err })
		return t.State != seen, err
	})
	return t, err
}

func (s hubStore) Claim(ctx context.Context, in hub.Claim) (hub.Task, error) {
	var t hub.Task
	var refused error
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		refused = nil
		if err := s.lockLineOf(tx, in.ID); err != nil {
			return err
		}
		if t, err = s.get(tx, in.ID); err != nil {
			return err
		}
		if t.State != conclave.TaskSubmitted || t.Epoch != in.Epoch {
			return conclave.Errorf(conclave.ErrConflict, "task %s is %s with epoch %d", in.ID, t.State, t.Epoch)
		}
		waits, err := s.blocked(tx, t)
		if err != nil {
			return err
		}
		if waits {
			refused = conclave.Errorf(conclave.ErrConflict, "task %s waits for an earlier one of its conversation", in.ID)
			return s.deliver(tx, t.ID, 0, needsTurn)
		}
		_, free, err := s.hands(tx, t.Tenant, in.Agent)
		if err != nil {
			return err
		}
		if free <= 0 {
			refused = conclave.Errorf(conclave.ErrLimited, "%s has its hands full", in.Agent)
			if in.Park > 0 {
				return s.deliver(tx, t.ID, in.Park, needsHands)
			}
			return nil
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		t.State, t.Agent = conclave.TaskWorking, in.Agent
		t.Epoch++
		t.Attempt++
		if err := s.put(tx, &t, `, parked = 0, instance = $7, renewed = $8`, in.Instance, now.Add(in.Ahead).UnixMicro()); err != nil {
			return err
		}
		return s.changed(tx, t, string(in.Agent), string(in.Agent)+" works on it")
	})
	return t, cmp.Or(err, refused)
}

func (s hubStore) Settle(ctx context.Context, in hub.Settle) (hub.Task, error) {
	var t hub.Task
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		if err := s.lockLineOf(tx, in.ID); err != nil {
			return err
		}
		if t, err = s.get(tx, in.ID); err != nil {
			return err
		}
		if t.State.Ended() || in.Epoch != 0 && in.Epoch != t.Epoch {
			return conclave.Errorf(conclave.ErrConflict, "task %s is %s with epoch %d", in.ID, t.State, t.Epoch)
		}
		if in.State == conclave.TaskSubmitted {
			return s.putBack(tx, &t, in.After, in.Parked)
		}
		working := t.State == conclave.TaskWorking
		t = t.Settled(in)
		if err := s.put(tx, &t, ""); err != nil {
			return err
		}
		if err := s.changed(tx, t, in.Actor, "the task is "+string(in.State)); err != nil {
			return err
		}
		if in.Dead {
			if err := tx.die(t); err != nil {
				return err
			}
		}
		if in.Message != nil {
			if _, err := s.keep(tx, t.Tenant, *in.Message); err != nil {
				return err
			}
			if len(t.Keys) == 0 { // else its asker said more
				answer := *in.Message
				answer.Sent = t.Updated
				t.History = []conclave.Message{t.Request, answer}
			}
		}
		tx.ended = &t
		if err := s.advance(tx, t); err != nil || !working {
			return err
		}
		a, free, err := s.hands(tx, t.Tenant, t.Agent)
		if errors.Is(err, conclave.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.unpark(tx, t.Tenant, a, min(free, 1))
	})
	return t, err
}

func (s hubStore) putBack(tx *Tx, t *hub.Task, after time.Duration, parked bool) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	was := t.State
	t.State, t.Agent = conclave.TaskSubmitted, ""
	t.Epoch++
	park := isDue
	if parked {
		park = needsHands
	}
	if err := s.put(tx, t, `, parked = $7, due = $8, instance = ''`, park, now.Add(after).UnixMicro()); err != nil {
		return err
	}
	tx.wakes(WorkDelivery)
	if was == conclave.TaskSubmitted {
		return nil
	}
	return s.changed(tx, *t, string(conclave.ServiceHub), "it will be delivered again")
}

func (s hubStore) Refuse(ctx context.Context, r hub.Refusal) error {
	e, err := r.Event()
	if err != nil {
		return fmt.Errorf("encode the event of a refusal: %w", err)
	}
	return s.db.Update(ctx, func(tx *Tx) error { return tx.Append(e) })
}
