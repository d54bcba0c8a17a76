package playbook

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Judge is a role's vote on a plan: what is wrong with it, or what the role
// found in it, in the words and numbers of this plan.
func Judge(role string, spec Spec, facts Facts, steps []Step) (approve bool, reasons []string) {
	var against []string
	index := map[string]Step{}
	for _, s := range steps {
		if _, twice := index[s.Key]; twice {
			against = append(against, "two steps are called "+s.Key)
		}
		index[s.Key] = s
		if len(s.Acceptance) == 0 {
			against = append(against, s.Key+" has no acceptance criterion")
		}
	}
	if len(steps) == 0 {
		against = append(against, "there is no step")
	}
	var all []string
	for _, s := range steps {
		all = append(all, s.Acceptance...)
		for _, d := range s.DependsOn {
			if _, ok := index[d]; !ok {
				against = append(against, s.Key+" depends on "+d+", which is not in the plan")
			}
		}
		if reaches(index, s.Key, s.Key, map[string]bool{}) {
			against = append(against, s.Key+" depends on itself")
		}
	}
	for _, rule := range spec.Rules {
		if !slices.ContainsFunc(all, func(a string) bool { return strings.HasPrefix(a, rule.ID+":") }) {
			against = append(against, fmt.Sprintf("%s “%s” has no acceptance criterion", rule.ID, rule.Clause))
		}
	}
	for i, a := range steps {
		for _, b := range steps[i+1:] {
			if reaches(index, a.Key, b.Key, map[string]bool{}) || reaches(index, b.Key, a.Key, map[string]bool{}) {
				continue
			}
			for _, x := range a.Writes {
				for _, y := range b.Writes {
					if overlapping(x, y) {
						against = append(against, fmt.Sprintf("%s and %s may run at once, and both write %s", a.Key, b.Key, x))
					}
				}
			}
		}
		for _, w := range a.Writes {
			if spec.Archetype == Service && !strings.Contains(w, "*") && facts.Has(w) {
				against = append(against, a.Key+" would overwrite "+w)
			}
		}
	}
	for _, e := range spec.Entities {
		for _, f := range e.Fields {
			if f.Type == Password && spec.Auth == nil {
				against = append(against, fmt.Sprintf("%s.%s would be stored, and nothing hashes it", e.Noun, f.Name))
			}
		}
	}
	if len(against) > 0 {
		return false, against
	}
	checked := holds(role, spec, facts, steps)
	if len(spec.Uncovered) > 0 {
		checked = append(checked, "the plan is good, but implementation needs a model for: "+strings.Join(spec.Uncovered, "; "))
	}
	return true, checked
}

// reaches reports whether from depends on to, through one step or more.
func reaches(index map[string]Step, from, to string, seen map[string]bool) bool {
	for _, d := range index[from].DependsOn {
		if d == to {
			return true
		}
		if !seen[d] {
			seen[d] = true
			if reaches(index, d, to, seen) {
				return true
			}
		}
	}
	return false
}

// overlapping reports whether two globs can name one file.
func overlapping(a, b string) bool {
	if a == b {
		return true
	}
	for _, p := range [][2]string{{a, b}, {b, a}} {
		if dir, ok := strings.CutSuffix(p[0], "**"); ok && strings.HasPrefix(p[1], dir) {
			return true
		}
		if ok, err := path.Match(p[0], p[1]); err == nil && ok {
			return true
		}
	}
	return false
}

// holds is what a role sees in a plan without a fault, each in its own field.
func holds(role string, spec Spec, facts Facts, steps []Step) []string {
	var said []string
	switch roleOf(role) {
	case "qa":
		said = append(said, testable(spec, steps))
	case "architect":
		said = append(said, order(steps))
	case "security":
		if spec.Auth != nil {
			said = append(said, fmt.Sprintf("passwords of each %s are hashed, and its logins limited", spec.Auth.Account))
		}
		said = append(said, reach(facts, steps))
	case "developer":
		said = append(said, startable(steps))
	default:
		said = append(said, testable(spec, steps), order(steps))
	}
	return said
}

// testable says what of the plan a test can be held against, quoting one.
func testable(spec Spec, steps []Step) string {
	quoted, all := []string{}, 0
	first := ""
	for _, s := range steps {
		for _, a := range s.Acceptance {
			all++
			if strings.HasPrefix(a, `"`) {
				quoted = append(quoted, a)
			}
			if first == "" {
				first = fmt.Sprintf("“%s” of %s", a, s.Key)
			}
		}
	}
	switch {
	case len(spec.Rules) > 0:
		r := spec.Rules[0]
		text := fmt.Sprintf("%s “%s” can be tested as “%s”", r.ID, r.Clause, r.Describe(spec))
		if more := len(spec.Rules) - 1; more > 0 {
			text += fmt.Sprintf(", and %s of the task so, too", amount(more, "other rule"))
		}
		return text
	case len(quoted) > 0:
		return fmt.Sprintf("%d of %s quote the task, first %s", len(quoted), amount(all, "criterion"), quoted[0])
	}
	return fmt.Sprintf("there are %s to test, first %s", amount(all, "criterion"), first)
}

// order says which step waits for which.
func order(steps []Step) string {
	var waits, free []string
	for _, s := range steps {
		if len(s.DependsOn) == 0 {
			free = append(free, fmt.Sprintf("%s (%s)", s.Key, s.Title))
			continue
		}
		waits = append(waits, s.Key+" for "+strings.Join(s.DependsOn, ", "))
	}
	text := strings.Join(free, " and ") + " can start at once"
	if len(waits) > 0 {
		text += "; " + strings.Join(waits[:min(len(waits), 5)], ", ") + " must wait"
	}
	return text + ": no circle, and no file that two write at a time"
}

// reach says how much of the repository a plan may change.
func reach(facts Facts, steps []Step) string {
	var touched []string
	var writes []string
	for _, s := range steps {
		writes = append(writes, s.Writes...)
	}
	for _, f := range facts.Files {
		if slices.ContainsFunc(steps, func(s Step) bool {
			return slices.ContainsFunc(s.Writes, func(w string) bool { return overlapping(w, f) })
		}) {
			touched = append(touched, f)
		}
	}
	text := fmt.Sprintf("%s may write %s", amount(len(steps), "step"), amount(len(writes), "path"))
	if len(writes) > 0 {
		text += fmt.Sprintf(", %s to %s,", writes[0], writes[len(writes)-1])
	}
	switch {
	case len(facts.Files) == 0:
		return text + " of a repository that is empty"
	case len(touched) == 0:
		return fmt.Sprintf("%s and none of the repository's %s is among them", text, amount(len(facts.Files), "file"))
	}
	return fmt.Sprintf("%s; of the repository's %s that is %d, first %s", text, amount(len(facts.Files), "file"), len(touched), touched[0])
}

// startable says what a developer would do first.
func startable(steps []Step) string {
	s := steps[slices.IndexFunc(steps, func(s Step) bool { return len(s.DependsOn) == 0 })] // there is one where no step depends on itself
	text := fmt.Sprintf("I can begin with %s", s.Key)
	if len(s.Writes) > 0 {
		text += " in " + strings.Join(s.Writes[:min(len(s.Writes), 3)], ", ")
	}
	return fmt.Sprintf("%s; it is done when “%s”", text, s.Acceptance[0])
}

func amount(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "criterion"):
		return fmt.Sprintf("%d criteria", n)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
