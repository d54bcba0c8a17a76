package consensus

import (
	"fmt"
	"slices"
	"strings"

	"conclave"
)

// decideCondorcet ranks the options by the Schulze method with winning votes
// (M. Schulze, "A new monotonic, clone-independent, reversal symmetric, and
// Condorcet-consistent single-winner election method", 2011). An option that a
// ballot does not rank is below all that it ranks.
//
// Options that the method leaves tied are ordered by how often they are
// preferred to another option over all ballots, then by the motion's own order
// of options, so a result never depends on the order of the ballots.
func decideCondorcet(m conclave.Motion, weigh weights, outstanding int, counted []conclave.Ballot) Result {
	options := distinct(m.Options)
	rankings := make([]ranking, 0, len(counted))
	for _, b := range counted {
		if b.Verdict != conclave.VerdictAbstain {
			rankings = append(rankings, ranking{b.Ranking, weigh(b)})
		}
	}
	abstaining := len(counted) - len(rankings)
	if len(options) == 0 {
		return Result{Outcome: conclave.OutcomeUndecided, Reason: "there are no options to rank", Final: true}
	}
	if len(rankings) < quorum(m.Rule) {
		return belowQuorum(m.Rule, len(rankings), abstaining, outstanding)
	}

	prefer := pairwise(options, rankings)
	order, tied := schulzeOrder(prefer)
	winner := order[0]
	result := Result{Outcome: conclave.OutcomeChosen, Option: options[winner]}
	for _, i := range order {
		result.Ranking = append(result.Ranking, options[i])
	}
	result.Final = outstanding == 0 || decisive(prefer, winner, outstanding)
	result.Reason = fmt.Sprintf("%s (%s, quorum %d)", explain(options, prefer, winner, tied),
		turnout(len(rankings), abstaining, outstanding), quorum(m.Rule))
	return result
}

// ranking is a ballot's order of options with its weight.
type ranking struct {
	order  []string
	weight int
}

// pairwise adds up for each pair of options the ballots that prefer the first,
// in tenths.
func pairwise(options []string, rankings []ranking) [][]int {
	prefer := square(len(options))
	for _, r := range rankings {
		place := make([]int, len(options))
		for i, key := range options {
			place[i] = slices.Index(r.order, key)
			if place[i] < 0 {
				place[i] = len(options)
			}
		}
		for i := range options {
			for j := range options {
				if place[i] < place[j] {
					prefer[i][j] += r.weight
				}
			}
		}
	}
	return prefer
}

// strongestPaths returns for each pair the strength of the strongest chain of
// pairwise victories from the first to the second.
func strongestPaths(prefer [][]int) [][]int {
	path := square(len(prefer))
	for i := range prefer {
		for j := range prefer {
			if prefer[i][j] > prefer[j][i] {
				path[i][j] = prefer[i][j]
			}
		}
	}
	for via := range path {
		for i := range path {
			for j := range path {
				if i != via && j != via && i != j {
					path[i][j] = max(path[i][j], min(path[i][via], path[via][j]))
				}
			}
		}
	}
	return path
}

// schulzeOrder returns the options from best to worst, and the ones that tied
// for the first place, the winner among them.
func schulzeOrder(prefer [][]int) (order, tied []int) {
	path := strongestPaths(prefer)
	left := make([]int, len(prefer))
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 {
		// The relation is transitive, so some option is beaten by none of the others.
		var best []int
		for _, i := range left {
			if !slices.ContainsFunc(left, func(j int) bool { return path[j][i] > path[i][j] }) {
				best = append(best, i)
			}
		}
		if tied == nil {
			tied = best
		}
		next := best[0]
		for _, i := range best[1:] {
			if sum(prefer[i]) > sum(prefer[next]) {
				next = i
			}
		}
		order = append(order, next)
		left = slices.DeleteFunc(left, func(i int) bool { return i == next })
	}
	return order, tied
}

// decisive reports whether the winner beats every other option by more than the
// outstanding ballots can turn; it is then the Condorcet winner of every
// completion of the vote.
func decisive(prefer [][]int, winner, outstanding int) bool {
	for other := range prefer {
		if other != winner && prefer[winner][other]-prefer[other][winner] <= full*outstanding {
			return false
		}
	}
	return true
}

// explain says in words why the winner won.
func explain(options []string, prefer [][]int, winner int, tied []int) string {
	var duels []string
	condorcet := true
	for other := range options {
		if other == winner {
			continue
		}
		won, lost := prefer[winner][other], prefer[other][winner]
		condorcet = condorcet && won > lost
		duels = append(duels, fmt.Sprintf("%s %s:%s", options[other], tenths(won), tenths(lost)))
	}
	against := ""
	if len(duels) > 0 {
		against = ": " + strings.Join(duels, ", ")
	}
	name := options[winner]
	switch {
	case condorcet:
		return fmt.Sprintf("%s beats every other option%s", name, against)
	case len(tied) == 1:
		return fmt.Sprintf("no option beats every other; %s has the strongest paths (Schulze)%s", name, against)
	}
	others := make([]string, 0, len(tied)-1)
	for _, i := range tied {
		if i != winner {
			others = append(others, options[i])
		}
	}
	return fmt.Sprintf("%s ties with %s and wins by the tie-break: more often preferred, then listed first%s",
		name, strings.Join(others, ", "), against)
}

func distinct(keys []string) []string {
	var out []string
	for _, k := range keys {
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func square(n int) [][]int {
	rows := make([][]int, n)
	for i := range rows {
		rows[i] = make([]int, n)
	}
	return rows
}

func sum(row []int) int {
	total := 0
	for _, n := range row {
		total += n
	}
	return total
}
