package consensus

import (
	"fmt"
	"strconv"

	"conclave"
)

// decideThreshold approves when the share of yes among yes and no reaches the
// threshold. Abstentions count neither in the share nor in the quorum.
func decideThreshold(r conclave.Rule, outstanding int, counted []conclave.Ballot) Result {
	var yes, no int
	for _, b := range counted {
		switch b.Verdict {
		case conclave.VerdictApprove:
			yes++
		case conclave.VerdictReject:
			no++
		}
	}
	judging := yes + no
	abstaining := len(counted) - judging
	if judging < quorum(r) {
		return belowQuorum(r, judging, abstaining, outstanding)
	}

	result := Result{Outcome: conclave.OutcomeRejected}
	relation := "below"
	if share(yes, judging) >= r.Threshold {
		result.Outcome = conclave.OutcomeApproved
		relation = "at or above"
		result.Final = share(yes, judging+outstanding) >= r.Threshold // even if the rest all say no
	} else {
		result.Final = share(yes+outstanding, judging+outstanding) < r.Threshold // even if the rest all say yes
	}
	result.Reason = fmt.Sprintf("%d yes of %d is %.3f, %s the threshold %s (%s, quorum %d)",
		yes, judging, share(yes, judging), relation, strconv.FormatFloat(r.Threshold, 'g', -1, 64),
		turnout(judging, abstaining, outstanding), quorum(r))
	return result
}

// share is exact where it matters: division rounds correctly, so 3 of 5 equals
// a threshold written as 0.6.
func share(part, whole int) float64 { return float64(part) / float64(whole) }
