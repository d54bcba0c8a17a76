// Package consensus decides an outcome from votes by a stated rule. Its
// functions are pure: the same motion and ballots give the same result on every
// machine, so a decision can be checked again by anyone who holds its ballots.
package consensus

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"conclave"
)

// The names of the rules.
const (
	RuleThreshold = "threshold" // the share of yes among yes and no
	RuleCondorcet = "condorcet" // Schulze's method
)

// Result is what the ballots so far come to, were the vote to close now.
type Result struct {
	Outcome conclave.Outcome
	Option  string   // the winner, for OutcomeChosen
	Ranking []string // all options, best first, for OutcomeChosen
	Reason  string   // the rule in words, with the counts
	Final   bool     // Outcome and Option can no longer change, whatever the outstanding voters do
}

// Decide applies the motion's rule to the ballots. electorate is how many may
// vote in all; who has not voted is absent, which is never a yes. A ballot
// counts when [Check] accepts it and it is its voter's first, in the order
// given. A motion whose rule does not pass [Validate] is undecided for good.
func Decide(m conclave.Motion, electorate int, ballots []conclave.Ballot) Result {
	if err := Validate(m.Rule, m.Kind); err != nil {
		return Result{Outcome: conclave.OutcomeUndecided, Reason: err.Error(), Final: true}
	}
	counted := count(m, ballots)
	outstanding := max(0, electorate-len(counted))
	if m.Rule.Name == RuleCondorcet {
		return decideCondorcet(m, weigh(m), outstanding, counted)
	}
	return decideThreshold(m.Rule, weigh(m), outstanding, counted)
}

// weights tells what a ballot counts, in tenths: whole numbers, so that every
// machine comes to the same share.
type weights func(conclave.Ballot) int

// full is the weight of a ballot in a vote without weights, and the most in one
// with them, so that outstanding voters can be counted at it.
const full = 10

// weigh returns the weights of a motion. A voter that its list does not name
// counts in full.
func weigh(m conclave.Motion) weights {
	return func(b conclave.Ballot) int {
		if m.Rule.Weighted {
			for _, w := range m.Weights {
				if w.Agent == b.Voter {
					return min(max(int(math.Round(w.Weight*full)), 1), full)
				}
			}
		}
		return full
	}
}

// tenths shows a number of tenths: 30 is "3", 27 is "2.7".
func tenths(n int) string { return strconv.FormatFloat(float64(n)/full, 'f', -1, 64) }

// Validate checks that a rule can decide a kind of motion. ErrInvalid, saying
// what would be right.
func Validate(r conclave.Rule, kind conclave.MotionKind) error {
	if r.Quorum < 0 {
		return conclave.Errorf(conclave.ErrInvalid, "quorum %d: want 0 or more", r.Quorum)
	}
	switch kind {
	case conclave.MotionApprove:
		if r.Name != RuleThreshold {
			return conclave.Errorf(conclave.ErrInvalid, "rule %q can't decide yes or no: want %q", r.Name, RuleThreshold)
		}
		if !(r.Threshold > 0 && r.Threshold <= 1) { // this form refuses NaN too
			return conclave.Errorf(conclave.ErrInvalid, "threshold %v: want a share above 0 and at most 1", r.Threshold)
		}
	case conclave.MotionRank:
		if r.Name != RuleCondorcet {
			return conclave.Errorf(conclave.ErrInvalid, "rule %q can't rank options: want %q", r.Name, RuleCondorcet)
		}
	default:
		return conclave.Errorf(conclave.ErrInvalid, "motion kind %q: want %q or %q", kind, conclave.MotionApprove, conclave.MotionRank)
	}
	return nil
}

// Check tells why a ballot does not count in a motion, or nil when it does:
// ErrConflict for another motion, subject or round, ErrDenied for an author's
// own vote, ErrInvalid for a verdict or ranking that says nothing. It does not
// look at the signature.
func Check(m conclave.Motion, b conclave.Ballot) error {
	switch {
	case b.Motion != m.ID:
		return conclave.Errorf(conclave.ErrConflict, "the ballot is for motion %q, not %q", b.Motion, m.ID)
	case b.Subject.Hash != m.Subject.Hash:
		return conclave.Errorf(conclave.ErrConflict, "the ballot judges %q, but the subject is now %q", b.Subject.Hash, m.Subject.Hash)
	case b.Round != m.Round:
		return conclave.Errorf(conclave.ErrConflict, "the ballot is for round %d, but the vote is in round %d", b.Round, m.Round)
	case b.Voter == "":
		return conclave.Errorf(conclave.ErrInvalid, "the ballot names no voter")
	case slices.Contains(m.Authors, b.Voter):
		return conclave.Errorf(conclave.ErrDenied, "%s is an author of the subject and has no vote on it", b.Voter)
	}
	if b.Verdict == conclave.VerdictAbstain {
		return nil
	}
	if m.Kind == conclave.MotionRank {
		return checkRanking(m.Options, b.Ranking)
	}
	if b.Verdict != conclave.VerdictApprove && b.Verdict != conclave.VerdictReject {
		return conclave.Errorf(conclave.ErrInvalid, "verdict %q: want %q, %q or %q", b.Verdict,
			conclave.VerdictApprove, conclave.VerdictReject, conclave.VerdictAbstain)
	}
	return nil
}

func checkRanking(options, ranking []string) error {
	if len(ranking) == 0 {
		return conclave.Errorf(conclave.ErrInvalid, "the ballot ranks nothing: give the options %q, best first, or abstain", options)
	}
	for i, key := range ranking {
		if !slices.Contains(options, key) {
			return conclave.Errorf(conclave.ErrInvalid, "option %q is none of %q", key, options)
		}
		if slices.Contains(ranking[:i], key) {
			return conclave.Errorf(conclave.ErrInvalid, "option %q is ranked twice", key)
		}
	}
	return nil
}

// count returns the ballots that count, one for each voter.
func count(m conclave.Motion, ballots []conclave.Ballot) []conclave.Ballot {
	var counted []conclave.Ballot
	voted := map[conclave.AgentName]bool{}
	for _, b := range ballots {
		if voted[b.Voter] || Check(m, b) != nil {
			continue
		}
		voted[b.Voter] = true
		counted = append(counted, b)
	}
	return counted
}

// quorum is the least number of ballots that are not abstentions: an outcome
// that nobody voted for is none.
func quorum(r conclave.Rule) int { return max(1, r.Quorum) }

// turnout says who voted and who did not.
func turnout(judging, abstaining, outstanding int) string {
	return fmt.Sprintf("%d judged, %d abstained, %d absent", judging, abstaining, outstanding)
}

// belowQuorum is the result while too few have judged.
func belowQuorum(r conclave.Rule, judging, abstaining, outstanding int) Result {
	return Result{
		Outcome: conclave.OutcomeUndecided,
		Reason:  fmt.Sprintf("quorum of %d not reached: %s", quorum(r), turnout(judging, abstaining, outstanding)),
		Final:   judging+outstanding < quorum(r),
	}
}
