package monitor_test

import (
	"context"

	"conclave"
)

// fixtureTrust knows what became of some agents' acts, and nothing of the others.
type fixtureTrust struct {
	conclave.Trust
	f *fixture
}

func (s fixtureTrust) Scores(context.Context, conclave.ListTrust) ([]conclave.TrustScore, error) {
	score := func(agent conclave.AgentName, confirmed, refuted int, trust, weight float64) conclave.TrustScore {
		return conclave.TrustScore{Agent: agent, Confirmed: confirmed, Refuted: refuted, Trust: &trust, Weight: weight}
	}
	return []conclave.TrustScore{score("architect-1", 12, 1, 0.87, 1), score("developer-1", 9, 6, 0.68, 0.9), score("security-1", 14, 0, 0.92, 1)}, nil
}

// fixtureInsights has measured most of the key metrics.
type fixtureInsights struct {
	conclave.Insights
	f *fixture
}

func (s fixtureInsights) Metrics(context.Context, conclave.GetInsights) ([]conclave.KeyMetric, error) {
	metric := func(name, title, unit string, value, target float64, below, met bool, sample int) conclave.KeyMetric {
		return conclave.KeyMetric{Name: name, Title: title, Value: &value, Unit: unit, Target: target, Below: below, Met: &met, Sample: sample, Definition: "How " + title + " is measured."}
	}
	return []conclave.KeyMetric{
		metric("agent_utilization_ratio", "Agent utilization", "ratio", 0.09, 0.8, true, true, 14),
		metric("collaboration_success_ratio", "Collaboration success", "ratio", 0.8, 0.85, false, false, 5),
		metric("consensus_achievement_ratio", "Consensus achievement", "ratio", 0.917, 0.75, false, true, 12),
		metric("agent_response_average_seconds", "Response time", "seconds", 8.4, 30, true, true, 96),
		metric("agent_trust_average_ratio", "Trust", "score", 0.823, 0.8, false, true, 3),
		{Name: "escalation_ratio", Title: "Escalation rate", Unit: "ratio", Target: 0.1, Below: true, Definition: "How escalation is measured."},
	}, nil
}

func (s fixtureInsights) Load(ctx context.Context, _ conclave.GetInsights) (conclave.LoadStats, error) {
	agents, err := fixtureHub{f: s.f}.Agents(ctx, conclave.ListAgents{})
	l := conclave.LoadStats{Hours: 24, Agents: []conclave.AgentLoad{}}
	oldest := 1.4
	l.Queues = []conclave.QueueLoad{{Queue: "step", Depth: 0}, {Queue: "motion", Depth: 0}, {Queue: "delivery", Depth: 2, Oldest: &oldest}}
	at := map[conclave.Role]int{}
	for i, a := range agents {
		if _, ok := at[a.Role]; !ok {
			at[a.Role] = len(l.Roles)
			l.Roles = append(l.Roles, conclave.RoleLoad{Role: a.Role})
		}
		r := &l.Roles[at[a.Role]]
		r.Tasks += 4 + i
		r.BusySeconds += float64(20 + 7*i)
		if a.State == conclave.AgentLive {
			r.Agents++
			r.Active += a.Active
			r.Capacity += a.Capacity
		}
	}
	for i, r := range l.Roles {
		l.Active, l.Capacity = l.Active+r.Active, l.Capacity+r.Capacity
		if r.Capacity > 0 {
			u := float64(r.Active) / float64(r.Capacity)
			l.Roles[i].Utilization = &u
		}
	}
	u := float64(l.Active) / float64(l.Capacity)
	l.Utilization = &u
	return l, err
}

func (s fixtureInsights) Consensus(context.Context, conclave.GetInsights) (conclave.ConsensusStats, error) {
	achieved, rounds, seconds := 0.917, 1.2, 14.2
	return conclave.ConsensusStats{Hours: 24, Motions: 13, Open: 1, ByVote: 11, ByHuman: 1, Achieved: &achieved, Rounds: &rounds, Seconds: &seconds,
		Subjects: []conclave.SubjectStat{{Subject: "plan", Decided: 4, Approved: 3, Rejected: 1, Achieved: &achieved}, {Subject: "tree", Decided: 8, Approved: 7, Rejected: 1}},
		Tried:    []conclave.ThresholdStat{}}, nil
}
