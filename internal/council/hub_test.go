package council_test

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"conclave"
	"conclave/internal/identity"
)

// voters is a hub whose agents answer with signed ballots, as they would over
// the wire. It keeps what it was sent by key, as the hub does.
type voters struct {
	conclave.Hub // what the council does not call
	t            *testing.T
	agents       []conclave.Agent
	keys         map[conclave.AgentName]*identity.Key

	mu    sync.Mutex
	says  func(a conclave.Agent, about conclave.Assignment) (conclave.VoteReply, string) // or why the agent failed
	holds map[string]chan struct{}                                                       // an address that answers once it is closed
	asked chan string                                                                    // each address that waits
	sent  map[string]conclave.SendMessage
	tasks map[conclave.TaskID]conclave.Task
	over  []string // the addresses whose tasks were cancelled
}

func newVoters(t *testing.T, names ...string) *voters {
	t.Helper()
	v := &voters{t: t, keys: map[conclave.AgentName]*identity.Key{}, holds: map[string]chan struct{}{}, asked: make(chan string, 16),
		sent: map[string]conclave.SendMessage{}, tasks: map[conclave.TaskID]conclave.Task{}}
	dir := t.TempDir()
	for _, name := range names {
		key, err := identity.LoadOrCreate(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		role, _, _ := strings.Cut(name, "-")
		v.keys[conclave.AgentName(name)] = key
		v.agents = append(v.agents, conclave.Agent{Name: conclave.AgentName(name), Role: conclave.Role(role), PublicKey: key.Public()})
	}
	return v
}

func (v *voters) Agents(context.Context, conclave.ListAgents) ([]conclave.Agent, error) {
	return v.agents, nil
}

func (v *voters) Send(_ context.Context, in conclave.SendMessage) (conclave.Task, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := conclave.TaskID("task of " + in.Key)
	if had, again := v.sent[in.Key]; again {
		if !reflect.DeepEqual(had, in) {
			return conclave.Task{}, conclave.Errorf(conclave.ErrConflict, "the key %s was used for another message", in.Key)
		}
		return v.tasks[id], nil
	}
	i := slices.IndexFunc(v.agents, func(a conclave.Agent) bool {
		return (in.To == "roles/"+string(a.Role) || in.To == "agents/"+string(a.Name)) && !slices.Contains(in.Exclude, a.Name)
	})
	if i < 0 {
		return conclave.Task{}, conclave.Errorf(conclave.ErrNotFound, "nobody is %s", in.To)
	}
	v.sent[in.Key] = in
	v.tasks[id] = conclave.Task{ID: id, To: in.To, Agent: v.agents[i].Name, State: conclave.TaskWorking, Reply: in.Data}
	return v.tasks[id], nil
}

func (v *voters) Task(ctx context.Context, in conclave.GetTask) (conclave.Task, error) {
	v.mu.Lock()
	task := v.tasks[in.ID]
	hold := v.holds[task.To]
	v.mu.Unlock()
	if hold != nil {
		v.asked <- task.To
		select {
		case <-hold:
		case <-ctx.Done():
			return task, ctx.Err()
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if task = v.tasks[in.ID]; task.State.Ended() {
		return task, nil
	}
	var about conclave.Assignment
	if err := json.Unmarshal(task.Reply, &about); err != nil {
		return task, err
	}
	i := slices.IndexFunc(v.agents, func(a conclave.Agent) bool { return a.Name == task.Agent })
	reply, failed := v.says(v.agents[i], about)
	if failed != "" {
		task.State, task.Error = conclave.TaskFailed, failed
	} else {
		ballot, err := json.Marshal(v.ballot(task.Agent, *about.Motion, reply))
		if err != nil {
			return task, err
		}
		task.State, task.Reply = conclave.TaskCompleted, ballot
	}
	v.tasks[in.ID] = task
	return task, nil
}

func (v *voters) Cancel(_ context.Context, in conclave.NameTask) (conclave.Task, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	task := v.tasks[in.ID]
	task.State = conclave.TaskCanceled
	v.tasks[in.ID], v.over = task, append(v.over, task.To)
	return task, nil
}

// excused are the addresses that were told that nobody waits for them.
func (v *voters) excused() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(slices.Values(v.over))
}

// ballot is what an agent signs.
func (v *voters) ballot(name conclave.AgentName, m conclave.Motion, reply conclave.VoteReply) conclave.Ballot {
	i := slices.IndexFunc(v.agents, func(a conclave.Agent) bool { return a.Name == name })
	b := conclave.Ballot{Motion: m.ID, Round: m.Round, Voter: name, Role: v.agents[i].Role, Subject: m.Subject,
		Verdict: reply.Verdict, Ranking: reply.Ranking, Reasons: reply.Reasons}
	if err := identity.SignBallot(v.keys[name], &b); err != nil {
		v.t.Error(err)
	}
	return b
}

// hold makes an address silent until the returned function is called.
func (v *voters) hold(to string) (release func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := make(chan struct{})
	v.holds[to] = c
	return sync.OnceFunc(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.holds, to)
		close(c)
	})
}

// questions are the keys of the messages that were sent, without the motion's id.
func (v *voters) questions() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	keys := []string{}
	for key := range v.sent {
		_, key, _ = strings.Cut(key, "/")
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
