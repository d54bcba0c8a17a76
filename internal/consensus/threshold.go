package consensus

import (
	"fmt"
	"strconv"

	"conclave"
)

// decideThreshold approves when the share of yes among yes and no reaches the
// threshold. Abstentions count neither in the share nor in the quorum. The quorum
// counts voters, whatever they weigh.
func decideThreshold(r conclave.Rule, weigh weights, outstanding int, counted []conclave.Ballot) Result {
	var votes, yes, judging int // the latter two in tenths
	for _, b := range counted {
		switch b.Verdict {
		case conclave.VerdictApprove:
			yes += weigh(b)
			judging += weigh(b)
			votes++
		case conclave.VerdictReject:
			judging += weigh(b)
			votes++
		}
	}
	abstaining := len(counted) - votes
	if votes < quorum(r) {
		return belowQuorum(r, votes, abstaining, outstanding)
	}

	result := Result{Outcome: conclave.OutcomeRejected}
	relation := "below"
	if share(yes, judging) >= r.Threshold {
		result.Outcome = conclave.OutcomeApproved
		relation = "at or above"
		result.Final = share(yes, judging+full*outstanding) >= r.Threshold // even if the rest all say no
	} else {
		result.Final = share(yes+full*outstanding, judging+full*outstanding) < r.Threshold // even if the rest all say yes
	}
	result.Reason = fmt.Sprintf("%s yes of %s is %.3f, %s the threshold %s (%s, quorum %d)",
		tenths(yes), tenths(judging), share(yes, judging), relation, strconv.FormatFloat(r.Threshold, 'g', -1, 64),
		turnout(votes, abstaining, outstanding), quorum(r))
	return result
}

// share is exact where it matters: division rounds correctly, so 3 of 5 equals
// a threshold written as 0.6.
func share(part, whole int) float64 { return float64(part) / float64(whole) }
