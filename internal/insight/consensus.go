package insight

import (
	"context"
	"slices"
	"strings"

	"conclave"
)

// Consensus implements conclave.Insights.
func (s *Service) Consensus(ctx context.Context, in conclave.GetInsights) (conclave.ConsensusStats, error) {
	r, hours, err := s.record(ctx, in)
	if err != nil {
		return conclave.ConsensusStats{}, err
	}
	c := consensusOf(r)
	c.Hours = hours
	good := shown(r)
	for _, isGood := range good {
		if isGood {
			c.ShownGood++
		} else {
			c.ShownBad++
		}
	}
	c.Tried = tried(r, good)
	return c, nil
}

func inTime(d conclave.Decision) bool { return byVote(d) && !d.Decided.After(d.Motion.Deadline) }

func byVote(d conclave.Decision) bool { return d.DecidedBy == "vote" }

func consensusOf(r Record) conclave.ConsensusStats {
	c := conclave.ConsensusStats{Motions: len(r.Decisions) + r.Open + r.Waiting, Open: r.Open, Waiting: r.Waiting,
		Subjects: []conclave.SubjectStat{}, Tried: []conclave.ThresholdStat{}}
	var rounds, seconds mean
	reached, unanimous := 0, 0
	for _, d := range r.Decisions {
		switch {
		case byVote(d):
			c.ByVote++
			rounds.add(float64(d.Motion.Round))
			seconds.add(d.Decided.Sub(d.Motion.Created).Seconds())
			if len(d.Dissent) == 0 && len(d.Absent) == 0 {
				unanimous++
			}
		case strings.HasPrefix(d.DecidedBy, "senior "):
			c.BySenior++
		default:
			c.ByHuman++
		}
		if inTime(d) {
			reached++
		}
	}
	closed := len(r.Decisions) + r.Waiting
	c.Achieved = ratio(reached, closed)
	c.Escalated = ratio(c.BySenior+c.ByHuman+c.Waiting, closed)
	c.Unanimous = ratio(unanimous, c.ByVote)
	c.Rounds, c.Seconds = rounds.value(), seconds.value()
	for subject, list := range group(r.Decisions, func(d conclave.Decision) string { return d.Motion.Subject.Kind }) {
		s := conclave.SubjectStat{Subject: subject, Decided: len(list)}
		reached := 0
		for _, d := range list {
			switch d.Outcome {
			case conclave.OutcomeApproved:
				s.Approved++
			case conclave.OutcomeRejected:
				s.Rejected++
			case conclave.OutcomeChosen:
				s.Chosen++
			}
			if inTime(d) {
				reached++
			}
		}
		s.Achieved = ratio(reached, len(list))
		c.Subjects = append(c.Subjects, s)
	}
	slices.SortFunc(c.Subjects, func(a, b conclave.SubjectStat) int { return strings.Compare(a.Subject, b.Subject) })
	return c
}

// thresholds are those that a team might choose.
func thresholds() []float64 { return []float64{0.5, 0.6, 0.66, 0.7, 0.75, 0.8, 0.9, 1} }

// shown tells of approval votes whether their subject was good, where outcomes
// have shown it.
func shown(r Record) map[string]bool {
	type act struct {
		motion string
		voter  conclave.AgentName
	}
	confirmed := map[act]bool{}
	for _, o := range r.Outcomes {
		confirmed[act{o.Subject, o.Agent}] = o.Confirmed
	}
	good := map[string]bool{}
	for _, d := range r.Decisions {
		id := string(d.Motion.ID)
		for _, b := range d.Ballots {
			right, known := confirmed[act{id, b.Voter}]
			if known && b.Round == newest(d, b.Voter) && (b.Verdict == conclave.VerdictApprove || b.Verdict == conclave.VerdictReject) {
				good[id] = (b.Verdict == conclave.VerdictApprove) == right
			}
		}
	}
	return good
}

// tried counts those votes again under other thresholds, and under those that
// they had.
func tried(r Record, good map[string]bool) []conclave.ThresholdStat {
	list := []conclave.ThresholdStat{}
	if len(good) == 0 {
		return list
	}
	all := thresholds()
	for _, d := range r.Decisions {
		if t := d.Motion.Rule.Threshold; t > 0 && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	for _, t := range all {
		stat := conclave.ThresholdStat{Threshold: t}
		for _, d := range r.Decisions {
			isGood, known := good[string(d.Motion.ID)]
			share, voted := yesShare(d)
			if !known || !voted {
				continue
			}
			switch passes := share >= t; {
			case passes && isGood:
				stat.Good++
			case !passes && !isGood:
				stat.Bad++
			default:
				stat.Wrong++
			}
		}
		list = append(list, stat)
	}
	return list
}

func newest(d conclave.Decision, voter conclave.AgentName) int {
	round := 0
	for _, b := range d.Ballots {
		if b.Voter == voter {
			round = max(round, b.Round)
		}
	}
	return round
}

// yesShare is the share of yes in the first round, which was blind.
func yesShare(d conclave.Decision) (share float64, voted bool) {
	yes, all := 0.0, 0.0
	for _, b := range d.Ballots {
		if b.Round != 1 || b.Verdict != conclave.VerdictApprove && b.Verdict != conclave.VerdictReject {
			continue
		}
		weight := 1.0
		for _, w := range d.Motion.Weights {
			if w.Agent == b.Voter {
				weight = w.Weight
			}
		}
		all += weight
		if b.Verdict == conclave.VerdictApprove {
			yes += weight
		}
	}
	if all == 0 {
		return 0, false
	}
	return yes / all, true
}
