package playbook

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// emphasis is how much more a role cares about a criterion than the question
// says by itself.
var emphasis = map[string]map[string]float64{
	"security":    {"hard to guess": 3, "revocation": 2},
	"performance": {"write cost": 3, "cost per request": 3},
	"qa":          {"readable by hand": 2, "easy to read": 1.5, "recovery": 1.5},
	"architect":   {"recovery": 1.5, "merging": 2, "other services can check it": 1.5},
	"domain":      {"easy to read": 2, "readable by hand": 1.5},
}

// Rank orders the options of a question, best first: the option's key, a
// colon and the reason.
func Rank(role string, q Question, spec Spec, facts Facts) []string {
	weights := map[string]float64{}
	for criterion, w := range q.Criteria {
		weights[criterion] = w
		if more, ok := emphasis[roleOf(role)][criterion]; ok {
			weights[criterion] = w * more
		}
		if criterion == "hard to guess" && spec.Auth == nil {
			weights[criterion] /= 3 // nothing is anyone's own
		}
		if criterion == "write cost" && len(spec.Entities) > 4 {
			weights[criterion] *= 1.5
		}
	}
	type ranked struct {
		option Option
		score  float64
	}
	var all []ranked
	for _, o := range q.Options {
		r := ranked{option: o}
		for _, criterion := range slices.Sorted(maps.Keys(weights)) { // sums of floats depend on their order
			r.score += weights[criterion] * o.Scores[criterion]
		}
		all = append(all, r)
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].score != all[j].score {
			return all[i].score > all[j].score
		}
		return all[i].option.Default && !all[j].option.Default
	})
	out := make([]string, len(all))
	for i, r := range all {
		criteria := slices.SortedFunc(maps.Keys(weights), func(a, b string) int {
			x, y := weights[a]*r.option.Scores[a], weights[b]*r.option.Scores[b]
			if x != y {
				return map[bool]int{true: -1, false: 1}[x > y]
			}
			return strings.Compare(a, b)
		})
		out[i] = fmt.Sprintf("%s: %.2f, most by “%s” (weight %.2f); for it: %s; against it: %s", r.option.Key, r.score, criteria[0], weights[criteria[0]], strings.Join(r.option.Pros, ", "), strings.Join(r.option.Cons, ", "))
	}
	return out
}

// roleOf brings the names of roles to the ones that have an emphasis.
func roleOf(role string) string {
	role = strings.ToLower(role)
	for _, known := range []string{"security", "performance", "qa", "architect", "domain"} {
		if strings.Contains(role, known) {
			return known
		}
	}
	if strings.Contains(role, "test") || strings.Contains(role, "quality") {
		return "qa"
	}
	return role
}
