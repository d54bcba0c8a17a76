// Package insight measures agents, votes and collaborations from the record, and
// proposes settings by what it measured. It keeps nothing of its own: what it
// tells is as true after a restart, and the same from every process.
package insight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
)

// Store reads what the figures are made of.
type Store interface {
	// Record returns what was begun since a time, and what is in hand now, of the
	// caller's tenant.
	Record(ctx context.Context, since time.Time) (Record, error)
}

// Record is what the figures are made of.
type Record struct {
	Now       time.Time // on the database's clock
	Runs      []conclave.Run
	Decisions []conclave.Decision
	Open      int // motions that are being voted on
	Waiting   int // motions that wait for a human
	Outcomes  []conclave.AgentOutcome
	Tasks     []Task
	Messages  int
	Mended    int
	Refused   int
	Agents    []conclave.Agent
	Calls     []Calls
	Queues    []conclave.QueueLoad
}

// Task is one request to an agent.
type Task struct {
	From         string
	Agent        conclave.AgentName
	State        conclave.TaskState
	Conversation conclave.ConversationID
	Created      time.Time
	Updated      time.Time
}

// Calls is what an agent's calls to models came to.
type Calls struct {
	Agent    conclave.AgentName
	Calls    int
	Unpriced int
	CostUSD  float64
}

// Options say what a Service works with. Both are needed.
type Options struct {
	Store Store
	Trust conclave.Trust
	Clock conclave.Clock // nil: time.Now
}

// Service implements conclave.Insights.
type Service struct{ o Options }

// New returns a service. ErrInvalid when something is missing.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Trust == nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "insight needs a store and the trust of agents")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Service{o: o}, nil
}

const (
	defaultHours = 24
	maxHours     = 90 * 24
)

func (s *Service) record(ctx context.Context, in conclave.GetInsights) (Record, int, error) {
	hours := cmp.Or(in.Hours, defaultHours)
	if hours < 1 || hours > maxHours {
		return Record{}, hours, conclave.Errorf(conclave.ErrInvalid, "hours is %d; it must be 1 to %d", in.Hours, maxHours)
	}
	r, err := s.o.Store.Record(ctx, s.o.Clock().Add(-time.Duration(hours)*time.Hour))
	if err != nil {
		return r, hours, fmt.Errorf("read the record: %w", err)
	}
	return r, hours, nil
}

// Metrics implements conclave.Insights.
func (s *Service) Metrics(ctx context.Context, in conclave.GetInsights) ([]conclave.KeyMetric, error) {
	r, _, err := s.record(ctx, in)
	if err != nil {
		return nil, err
	}
	scores, err := s.o.Trust.Scores(ctx, conclave.ListTrust{Total: true})
	if err != nil {
		return nil, fmt.Errorf("read the trust of agents: %w", err)
	}
	return keyMetrics(r, scores), nil
}

// keyMetrics are the seed's six, by its definitions.
func keyMetrics(r Record, scores []conclave.TrustScore) []conclave.KeyMetric {
	load := loadOf(r)
	success, ended := successOf(r.Runs)
	v := consensusOf(r)
	closed := v.ByVote + v.BySenior + v.ByHuman + v.Waiting
	seconds, answers := answerTimes(r.Tasks, func(Task) bool { return true })
	var trust mean
	for _, t := range scores {
		live := slices.ContainsFunc(r.Agents, func(a conclave.Agent) bool { return a.Name == t.Agent && a.State == conclave.AgentLive })
		if live && t.Trust != nil {
			trust.add(*t.Trust)
		}
	}
	list := []conclave.KeyMetric{
		{Name: "agent_utilization_ratio", Title: "Agent utilization", Value: load.Utilization, Unit: "ratio", Target: 0.8, Below: true, Sample: len(load.Agents),
			Definition: "Active conversations (tasks in agents' hands) divided by capacity (tasks that live agents take at once), now."},
		{Name: "collaboration_success_ratio", Title: "Collaboration success", Value: success, Unit: "ratio", Target: 0.85, Sample: ended,
			Definition: "Runs that are done divided by runs that ended; cancelled runs are left out."},
		{Name: "consensus_achievement_ratio", Title: "Consensus achievement", Value: v.Achieved, Unit: "ratio", Target: 0.75, Sample: closed,
			Definition: "Votes decided by the voters themselves before the deadline, divided by votes that are decided or wait for a human."},
		{Name: "agent_response_average_seconds", Title: "Response time", Value: seconds, Unit: "seconds", Target: 30, Below: true, Sample: answers,
			Definition: "Mean time from the hub's acceptance of a task to the agent's answer."},
		{Name: "agent_trust_average_ratio", Title: "Trust", Value: trust.value(), Unit: "score", Target: 0.8, Sample: trust.n,
			Definition: "Mean trust of live agents with confirmed or refuted outcomes in the last 90 days; each (8 + confirmed) / (10 + outcomes)."},
		{Name: "escalation_ratio", Title: "Escalation rate", Value: v.Escalated, Unit: "ratio", Target: 0.1, Below: true, Sample: closed,
			Definition: "Votes that went to a senior agent or a human, divided by votes that are decided or wait for a human."},
	}
	for i, m := range list {
		if m.Value != nil {
			met := *m.Value < m.Target == m.Below && *m.Value != m.Target
			list[i].Met = &met
		}
	}
	return list
}

// mean is an average that is nil without values.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v float64) { m.sum += v; m.n++ }

func (m *mean) value() *float64 { return ratio(m.sum, float64(m.n)) }

// ratio is nil when there is nothing to divide by.
func ratio[N int | float64](part, whole N) *float64 {
	if whole == 0 {
		return nil
	}
	v := float64(part) / float64(whole)
	return &v
}

func successOf(runs []conclave.Run) (success *float64, ended int) {
	done := 0
	for _, run := range runs {
		if run.Status.Ended() && run.Status != conclave.RunCancelled {
			ended++
			if run.Status == conclave.RunDone {
				done++
			}
		}
	}
	return ratio(done, ended), ended
}

func answerTimes(tasks []Task, of func(Task) bool) (seconds *float64, n int) {
	var m mean
	for _, t := range tasks {
		if t.State == conclave.TaskCompleted && of(t) {
			m.add(t.Updated.Sub(t.Created).Seconds())
		}
	}
	return m.value(), m.n
}

// Collaboration implements conclave.Insights.
func (s *Service) Collaboration(ctx context.Context, in conclave.GetInsights) (conclave.CollaborationStats, error) {
	r, hours, err := s.record(ctx, in)
	if err != nil {
		return conclave.CollaborationStats{}, err
	}
	c := conclave.CollaborationStats{Hours: hours, Runs: len(r.Runs), Messages: r.Messages, Mended: r.Mended, Refused: r.Refused,
		Statuses: []conclave.Count{}, Workflows: []conclave.WorkflowStat{}, Relations: []conclave.Relation{}}
	c.Success, _ = successOf(r.Runs)
	c.Seconds = runSeconds(r.Runs)
	for _, run := range r.Runs {
		c.Statuses = counted(c.Statuses, string(run.Status))
	}
	for name, runs := range group(r.Runs, func(run conclave.Run) string { return run.Workflow }) {
		success, _ := successOf(runs)
		c.Workflows = append(c.Workflows, conclave.WorkflowStat{Workflow: name, Runs: len(runs), Success: success, Seconds: runSeconds(runs)})
	}
	slices.SortFunc(c.Workflows, func(a, b conclave.WorkflowStat) int { return strings.Compare(a.Workflow, b.Workflow) })
	talks := map[conclave.ConversationID]bool{}
	for _, t := range r.Tasks {
		talks[t.Conversation] = true
	}
	c.Conversations = len(talks)
	type pair struct {
		from string
		to   conclave.AgentName
	}
	for p, tasks := range group(r.Tasks, func(t Task) pair { return pair{t.From, t.Agent} }) {
		if p.to == "" {
			continue // nobody has taken it yet
		}
		seconds, n := answerTimes(tasks, func(Task) bool { return true })
		c.Relations = append(c.Relations, conclave.Relation{From: p.from, Agent: p.to, Tasks: len(tasks), Completed: n, Seconds: seconds})
	}
	slices.SortFunc(c.Relations, func(a, b conclave.Relation) int {
		return cmp.Or(b.Tasks-a.Tasks, strings.Compare(a.From, b.From), strings.Compare(string(a.Agent), string(b.Agent)))
	})
	return c, nil
}

func runSeconds(runs []conclave.Run) *float64 {
	var m mean
	for _, run := range runs {
		if run.Status == conclave.RunDone && run.Ended != nil {
			m.add(run.Ended.Sub(run.Created).Seconds())
		}
	}
	return m.value()
}

func counted(list []conclave.Count, name string) []conclave.Count {
	if i := slices.IndexFunc(list, func(c conclave.Count) bool { return c.Name == name }); i >= 0 {
		list[i].Count++
		return list
	}
	return append(list, conclave.Count{Name: name, Count: 1})
}

func group[T any, K comparable](list []T, key func(T) K) map[K][]T {
	groups := map[K][]T{}
	for _, v := range list {
		groups[key(v)] = append(groups[key(v)], v)
	}
	return groups
}

// Performance implements conclave.Insights.
func (s *Service) Performance(ctx context.Context, in conclave.GetInsights) ([]conclave.AgentStats, error) {
	r, _, err := s.record(ctx, in)
	if err != nil {
		return nil, err
	}
	scores, err := s.o.Trust.Scores(ctx, conclave.ListTrust{Total: true})
	if err != nil {
		return nil, fmt.Errorf("read the trust of agents: %w", err)
	}
	tasks := group(r.Tasks, func(t Task) conclave.AgentName { return t.Agent })
	list := []conclave.AgentStats{}
	for _, a := range r.Agents {
		p := conclave.AgentStats{Agent: a.Name, Role: a.Role, Brain: a.Brain, State: a.State}
		var times []float64
		for _, t := range tasks[a.Name] {
			switch t.State {
			case conclave.TaskCompleted:
				p.Completed++
				times = append(times, t.Updated.Sub(t.Created).Seconds())
			case conclave.TaskFailed, conclave.TaskRejected:
				p.Failed++
			}
		}
		p.Success = ratio(p.Completed, p.Completed+p.Failed)
		p.Seconds, _ = answerTimes(tasks[a.Name], func(Task) bool { return true })
		p.Seconds95 = percentile(times, 95)
		for _, t := range scores {
			if t.Agent == a.Name {
				p.Trust, p.Confirmed, p.Refuted = t.Trust, t.Confirmed, t.Refuted
			}
		}
		cost := 0.0
		p.CostUSD = &cost
		for _, c := range r.Calls {
			if c.Agent != a.Name {
				continue
			}
			p.ModelCalls, p.CostUSD = c.Calls, &c.CostUSD
			if c.Unpriced > 0 {
				p.CostUSD = nil
			}
		}
		list = append(list, p)
	}
	return list, nil
}

// percentile is the nearest-rank one; nil without values.
func percentile(values []float64, p int) *float64 {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	return &values[(len(values)*p+99)/100-1]
}

// Load implements conclave.Insights.
func (s *Service) Load(ctx context.Context, in conclave.GetInsights) (conclave.LoadStats, error) {
	r, hours, err := s.record(ctx, in)
	if err != nil {
		return conclave.LoadStats{}, err
	}
	l := loadOf(r)
	l.Hours = hours
	return l, nil
}

func loadOf(r Record) conclave.LoadStats {
	l := conclave.LoadStats{Agents: []conclave.AgentLoad{}, Roles: []conclave.RoleLoad{}, Queues: r.Queues}
	tasks := group(r.Tasks, func(t Task) conclave.AgentName { return t.Agent })
	for _, a := range r.Agents {
		one := conclave.AgentLoad{Agent: a.Name, Role: a.Role, State: a.State, Active: a.Active, Capacity: a.Capacity}
		for _, t := range tasks[a.Name] {
			if t.State.Ended() {
				one.Tasks++
				one.BusySeconds += t.Updated.Sub(t.Created).Seconds()
			}
		}
		i := slices.IndexFunc(l.Roles, func(role conclave.RoleLoad) bool { return role.Role == a.Role })
		if i < 0 {
			i = len(l.Roles)
			l.Roles = append(l.Roles, conclave.RoleLoad{Role: a.Role})
		}
		role := &l.Roles[i]
		role.Tasks += one.Tasks
		role.BusySeconds += one.BusySeconds
		if a.State == conclave.AgentLive {
			one.Utilization = ratio(a.Active, a.Capacity)
			role.Agents++
			role.Active += a.Active
			role.Capacity += a.Capacity
			l.Active += a.Active
			l.Capacity += a.Capacity
		}
		l.Agents = append(l.Agents, one)
	}
	for i := range l.Roles {
		l.Roles[i].Utilization = ratio(l.Roles[i].Active, l.Roles[i].Capacity)
	}
	l.Utilization = ratio(l.Active, l.Capacity)
	return l
}
