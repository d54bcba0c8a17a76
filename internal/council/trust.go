package council

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"conclave"
)

// Trust is the mean of a Beta distribution: (8 + confirmed) / (10 + confirmed +
// refuted). The prior, Beta(8, 2), takes an agent of which nothing is known to
// be right four times in five, and weighs as much as ten outcomes, so that one
// unlucky outcome does not silence anybody. Outcomes are forgotten after 90
// days: an agent that has become better, or worse, is not held to its past.
const (
	priorConfirmed = 8
	priorRefuted   = 2
	priorMean      = float64(priorConfirmed) / (priorConfirmed + priorRefuted)
	memory         = 90 * 24 * time.Hour
	maxOutcomes    = 256
)

// OutcomeStore keeps what became of agents' acts.
type OutcomeStore interface {
	// KeepOutcomes keeps those that are new and returns how many were.
	KeepOutcomes(ctx context.Context, in conclave.ReportOutcomes) (int, error)
	// Tally counts outcomes since a time by agent, category and brain, in that
	// order. Trust and Weight are not set.
	Tally(ctx context.Context, agent conclave.AgentName, since time.Time) ([]conclave.TrustScore, error)
}

// posterior is the trust that outcomes come to.
func posterior(confirmed, refuted int) float64 {
	return float64(priorConfirmed+confirmed) / float64(priorConfirmed+priorRefuted+confirmed+refuted)
}

// weight is what a ballot of an agent with that trust counts: in full as long as
// the trust is not below that of an agent of which nothing is known, else in
// proportion to it, in tenths, so that a vote never hangs on a hair.
func weight(trust float64) float64 {
	return min(max(math.Round(10*trust/priorMean)/10, 0.1), 1)
}

func rate(s conclave.TrustScore) conclave.TrustScore {
	s.Weight = 1
	if s.Confirmed+s.Refuted > 0 {
		t := posterior(s.Confirmed, s.Refuted)
		s.Trust, s.Weight = &t, weight(t)
	}
	return s
}

// Report implements conclave.Trust.
func (s *Service) Report(ctx context.Context, in conclave.ReportOutcomes) (conclave.OutcomesReported, error) {
	if len(in.Outcomes) == 0 || len(in.Outcomes) > maxOutcomes {
		return conclave.OutcomesReported{}, conclave.Errorf(conclave.ErrInvalid, "%d outcomes; report 1 to %d at once", len(in.Outcomes), maxOutcomes)
	}
	for i, o := range in.Outcomes {
		if o.Agent == "" || o.Category == "" || o.Subject == "" {
			return conclave.OutcomesReported{}, conclave.Errorf(conclave.ErrInvalid, "outcome %d names no agent, category or subject", i+1)
		}
	}
	n, err := s.o.Outcomes.KeepOutcomes(ctx, in)
	return conclave.OutcomesReported{Kept: n}, err
}

// Scores implements conclave.Trust.
func (s *Service) Scores(ctx context.Context, in conclave.ListTrust) ([]conclave.TrustScore, error) {
	tally, err := s.o.Outcomes.Tally(ctx, in.Agent, time.Now().Add(-memory))
	if err != nil {
		return nil, err
	}
	scores := []conclave.TrustScore{}
	for _, t := range tally {
		if in.Total {
			t.Category, t.Brain = "", ""
			if n := len(scores); n > 0 && scores[n-1].Agent == t.Agent {
				scores[n-1].Confirmed += t.Confirmed
				scores[n-1].Refuted += t.Refuted
				continue
			}
		}
		scores = append(scores, t)
	}
	for i := range scores {
		scores[i] = rate(scores[i])
	}
	return scores, nil
}

// weights finds who counts for less in a motion that opens now.
func (s *Service) weights(ctx context.Context, m conclave.Motion) ([]conclave.Weight, error) {
	scores, err := s.Scores(ctx, conclave.ListTrust{})
	if err != nil {
		return nil, fmt.Errorf("read the trust of voters: %w", err)
	}
	category := conclave.CategoryVote + "." + conclave.Category(m.Subject.Kind)
	scores = slices.DeleteFunc(scores, func(t conclave.TrustScore) bool { return t.Category != category || t.Weight >= 1 })
	if len(scores) == 0 {
		return nil, nil
	}
	agents, err := s.o.Hub.Agents(ctx, conclave.ListAgents{})
	if err != nil {
		return nil, fmt.Errorf("look up the voters: %w", err)
	}
	var list []conclave.Weight
	for _, t := range scores {
		i := slices.IndexFunc(agents, func(a conclave.Agent) bool { return a.Name == t.Agent })
		if i < 0 || !slices.ContainsFunc(m.Voters, func(seat string) bool {
			return sits(conclave.Ballot{Voter: t.Agent, Role: agents[i].Role}, seat)
		}) {
			continue
		}
		brain := m.Brain
		if brain == "" {
			brain = agents[i].Brain
		}
		if t.Brain == brain {
			list = append(list, conclave.Weight{Agent: t.Agent, Weight: t.Weight})
		}
	}
	return list, nil
}
