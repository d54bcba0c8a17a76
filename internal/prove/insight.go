package prove

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave"
)

func insightProofs() []proof {
	return []proof{
		{"outcome_report", "SQL: the outcomes' rows, confirmed and refuted", func(ctx context.Context, s *scene) error {
			if err := s.report(ctx); err != nil {
				return err
			}
			return s.toldOf(ctx, 2, 1)
		}},
		{"trust_list", "SQL: the outcomes' rows; the rule, applied here", func(ctx context.Context, s *scene) error {
			if err := s.report(ctx); err != nil {
				return err
			}
			var list []conclave.TrustScore
			if err := s.do(ctx, "trust_list", conclave.ListTrust{Agent: conclave.AgentName(s.name), Total: true}, &list); err != nil {
				return err
			}
			if len(list) != 1 || list[0].Trust == nil {
				return fmt.Errorf("%d scores of the agent, want one with its trust", len(list))
			}
			return errors.Join(same("the trust", *list[0].Trust, float64(8+2)/(10+2+1)), s.toldOf(ctx, list[0].Confirmed, list[0].Refuted))
		}},
		{"insight_performance", "SQL: the outcomes' rows of the agent", func(ctx context.Context, s *scene) error {
			if err := errors.Join(s.register(ctx), s.report(ctx)); err != nil {
				return err
			}
			var list []conclave.AgentStats
			if err := s.do(ctx, "insight_performance", conclave.GetInsights{}, &list); err != nil {
				return err
			}
			for _, a := range list {
				if a.Agent == conclave.AgentName(s.name) {
					return s.toldOf(ctx, a.Confirmed, a.Refuted)
				}
			}
			return fmt.Errorf("the agent is not in it")
		}},
		{"insight_load", "SQL: the agent's row", func(ctx context.Context, s *scene) error {
			if err := s.register(ctx); err != nil {
				return err
			}
			var load conclave.LoadStats
			if err := s.do(ctx, "insight_load", conclave.GetInsights{}, &load); err != nil {
				return err
			}
			var kept conclave.Agent
			if err := s.records.document(ctx, &kept, `SELECT doc FROM agents WHERE name = $1`, s.name); err != nil {
				return err
			}
			for _, a := range load.Agents {
				if a.Agent == kept.Name {
					return errors.Join(same("the capacity", a.Capacity, kept.Capacity), same("the state", a.State, kept.State))
				}
			}
			return fmt.Errorf("the agent is not in it")
		}},
		{"insight_metrics", "SQL: the live agents that have outcomes, counted before and after", func(ctx context.Context, s *scene) error {
			if err := errors.Join(s.register(ctx), s.report(ctx)); err != nil {
				return err
			}
			var list []conclave.KeyMetric
			return s.between(ctx, "the agents whose trust was measured", `SELECT count(*) FROM agents a WHERE state = 'live'
				AND EXISTS (SELECT 1 FROM outcomes o WHERE o.agent = a.name AND o.at >= $1)`, 90*24*time.Hour, func() (int, error) {
				err := s.do(ctx, "insight_metrics", conclave.GetInsights{}, &list)
				for _, m := range list {
					if m.Name == "agent_trust_average_ratio" && m.Value != nil {
						return m.Sample, err
					}
				}
				return 0, errors.Join(err, fmt.Errorf("the trust of agents was not measured"))
			})
		}},
		{"insight_consensus", "SQL: the motions of the last day, counted before and after", func(ctx context.Context, s *scene) error {
			if _, err := s.convene(ctx, time.Minute); err != nil {
				return err
			}
			return s.between(ctx, "the votes", `SELECT count(*) FROM motions WHERE created >= $1`, 24*time.Hour, func() (int, error) {
				var c conclave.ConsensusStats
				err := s.do(ctx, "insight_consensus", conclave.GetInsights{}, &c)
				return c.Motions, err
			})
		}},
		{"insight_collaboration", "SQL: the conversations of the last day, counted before and after", func(ctx context.Context, s *scene) error {
			if _, err := s.say(ctx, "to be counted"); err != nil {
				return err
			}
			return s.between(ctx, "the conversations", `SELECT count(DISTINCT conversation) FROM tasks WHERE created >= $1`, 24*time.Hour, func() (int, error) {
				var c conclave.CollaborationStats
				err := s.do(ctx, "insight_collaboration", conclave.GetInsights{}, &c)
				return c.Conversations, err
			})
		}},
	}
}

// report tells of two acts of the scene's agent that were confirmed, and of one
// that was refuted.
func (s *scene) report(ctx context.Context) error {
	in := conclave.ReportOutcomes{Key: s.name, Run: conclave.RunID(s.name)}
	for i, confirmed := range []bool{true, true, false} {
		in.Outcomes = append(in.Outcomes, conclave.AgentOutcome{Agent: conclave.AgentName(s.name), Category: conclave.CategoryBuild, Brain: "playbook",
			Subject: fmt.Sprint(s.name, "/", i), Confirmed: confirmed, Why: "to be found again"})
	}
	var out conclave.OutcomesReported
	if err := s.do(ctx, "outcome_report", in, &out); err != nil {
		return err
	}
	return same("the outcomes that were new", out.Kept, len(in.Outcomes))
}

// toldOf compares what was told of the agent's outcomes with their rows.
func (s *scene) toldOf(ctx context.Context, confirmed, refuted int) error {
	kept, err := s.records.number(ctx, `SELECT sum(confirmed) FROM outcomes WHERE agent = $1`, s.name)
	if err != nil {
		return err
	}
	all, err := s.records.number(ctx, `SELECT count(*) FROM outcomes WHERE agent = $1`, s.name)
	return errors.Join(err, same("the confirmed outcomes", int64(confirmed), kept), same("the refuted ones", int64(refuted), all-kept))
}

// between checks a figure that others may change meanwhile: it lies between what
// was there before it was asked for and what is there after.
func (s *scene) between(ctx context.Context, what, query string, back time.Duration, ask func() (int, error)) error {
	since := time.Now().Add(-back).UnixMicro()
	before, err := s.records.number(ctx, query, since)
	if err != nil {
		return err
	}
	got, err := ask()
	if err != nil {
		return err
	}
	after, err := s.records.number(ctx, query, since)
	if err == nil && (before == 0 || int64(got) < min(before, after) || int64(got) > max(before, after)) {
		err = fmt.Errorf("%s: told %d; there were %d before and %d after", what, got, before, after)
	}
	return err
}
