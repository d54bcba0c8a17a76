package council

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/consensus"
	"conclave/internal/identity"
)

// decide completes, signs and keeps a decision.
func (s *Service) decide(ctx context.Context, d conclave.Decision, epoch int64) (conclave.Decision, error) {
	d.Motion.State, d.Motion.Material = conclave.MotionDecided, nil
	d.Decided = time.Now().UTC().Truncate(time.Microsecond)
	d.Absent, d.Dissent = absent(d), dissent(d)
	if d.Ballots == nil {
		d.Ballots = []conclave.Ballot{}
	}
	if d.Ladder == nil {
		d.Ladder = []string{}
	}
	if err := identity.SignDecision(s.o.Key, &d); err != nil {
		return d, fmt.Errorf("sign the decision: %w", err)
	}
	if err := s.o.Store.Decide(ctx, d, epoch); err != nil {
		return d, err
	}
	return d, nil
}

// lastVote is the last round in which the voters were asked: after it, the
// senior has a round of its own.
func lastVote(m conclave.Motion) int { return min(m.Round, m.Rounds) }

// absent are the seats that have no ballot in the last round.
func absent(d conclave.Decision) []string {
	out := []string{}
	for _, seat := range d.Motion.Voters {
		if !slices.ContainsFunc(d.Ballots, func(b conclave.Ballot) bool { return b.Round == lastVote(d.Motion) && sits(b, seat) }) {
			out = append(out, seat)
		}
	}
	return out
}

func sits(b conclave.Ballot, seat string) bool {
	return seat == "roles/"+string(b.Role) || seat == "agents/"+string(b.Voter)
}

// Seat is the seat that a ballot fills: the voter's own, or else that of its
// role, which one agent fills and not each that has the role.
func Seat(m conclave.Motion, b conclave.Ballot) string {
	if own := "agents/" + string(b.Voter); slices.Contains(m.Voters, own) {
		return own
	}
	return "roles/" + string(b.Role)
}

// dissent is who judged otherwise than the decision, and why.
func dissent(d conclave.Decision) []string {
	out := []string{}
	for _, b := range d.Ballots {
		if b.Round < lastVote(d.Motion) || b.Verdict == conclave.VerdictAbstain {
			continue
		}
		other := d.Outcome == conclave.OutcomeApproved && b.Verdict == conclave.VerdictReject ||
			d.Outcome == conclave.OutcomeRejected && b.Verdict == conclave.VerdictApprove ||
			d.Outcome == conclave.OutcomeChosen && len(b.Ranking) > 0 && b.Ranking[0] != d.Option
		if other {
			out = append(out, fmt.Sprintf("%s: %s", b.Voter, strings.Join(b.Reasons, "; ")))
		}
	}
	return out
}

// Verify checks a decision without a server: the council's signature, each
// ballot's signature, subject and voter, and, when it was decided by vote, that
// the rule gives the same outcome again. ErrDenied says what does not hold.
func Verify(d conclave.Decision) error {
	if err := identity.VerifyDecision(d); err != nil {
		return err
	}
	for _, b := range d.Ballots {
		if err := identity.VerifyBallot(b); err != nil {
			return fmt.Errorf("ballot of %s: %w", b.Voter, err)
		}
		m := d.Motion
		m.Round = b.Round
		if err := consensus.Check(m, b); err != nil {
			return conclave.Errorf(conclave.ErrDenied, "ballot of %s: %w", b.Voter, err)
		}
	}
	if d.DecidedBy != "vote" {
		return nil
	}
	r := consensus.Decide(d.Motion, len(d.Motion.Voters), seated(d.Motion, d.Ballots))
	if r.Outcome != d.Outcome || r.Option != d.Option {
		return conclave.Errorf(conclave.ErrDenied, "counted again, the ballots give %s %s, not %s %s", r.Outcome, r.Option, d.Outcome, d.Option)
	}
	return nil
}

// seated leaves out ballots of seniors: they advise the last rung, not the count.
func seated(m conclave.Motion, ballots []conclave.Ballot) []conclave.Ballot {
	var in []conclave.Ballot
	for _, b := range ballots {
		if slices.ContainsFunc(m.Voters, func(seat string) bool { return sits(b, seat) }) {
			in = append(in, b)
		}
	}
	return in
}
