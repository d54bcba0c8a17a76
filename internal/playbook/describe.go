package playbook

import (
	"fmt"
	"slices"
	"strings"
)

// Describe says what the generated service does about the rule, with the
// fields, the numbers and the status codes: it is an acceptance criterion.
func (r Rule) Describe(s Spec) string {
	e, _ := s.Entity(r.Entity)
	path := "/" + kebab(e.Plural)
	switch r.Kind {
	case RuleLimit:
		if r.Unit != "" {
			return fmt.Sprintf("POST %s: at most %d %s with the same %s in one %s of %s (UTC)%s; the next is refused with 409", path, r.N, e.Plural, r.Field, r.Unit, r.Start, r.Active.describe())
		}
		return fmt.Sprintf("POST %s: at most %d %s with the same %s%s; the next is refused with 409", path, r.N, e.Plural, r.Field, r.Active.describe())
	case RuleCapacity:
		return fmt.Sprintf("POST %s: as many %s per %s as its %s%s; the next is refused with 409", path, e.Plural, r.Field, r.Other, r.Active.describe())
	case RulePair:
		return fmt.Sprintf("POST %s: a second one with the same %s is refused with 409", path, strings.Join(r.Fields, " and "))
	case RuleOverlap:
		return fmt.Sprintf("POST %s: %s to %s of one %s don't overlap, 409; one may start when another ends", path, r.Start, r.End, r.Field)
	case RuleSpan:
		return fmt.Sprintf("POST %s: %s to %s is at %s %d %ss, else 422", path, r.Start, r.End, r.Verb, r.N, r.Unit)
	case RuleOrder:
		return fmt.Sprintf("POST %s: %s after %s, else 422", path, r.End, r.Start)
	case RuleDue:
		return fmt.Sprintf("%s of a %s is %s plus %d %ss; clients can't set it", r.Field, r.Entity, r.Start, r.N, r.Unit)
	case RuleStates:
		var moves []string
		for _, edge := range r.Edges {
			moves = append(moves, edge.From+"→"+edge.To)
		}
		return fmt.Sprintf("PATCH %s/{id}: %s moves %s only, else 409", path, r.Field, strings.Join(moves, ", "))
	case RuleFrozen:
		what := map[string]string{"delete": "DELETE", "update": "PATCH and PUT", "move": "PATCH to " + r.Value}[r.Verb]
		return fmt.Sprintf("%s %s/{id} is refused with 409 while %s is %s", what, path, r.Field, r.State)
	case RuleStock:
		return fmt.Sprintf("POST %s takes %s from the %s of its %s; more than there is: 409", path, r.Start, r.Other, r.Child)
	case RuleTotal:
		return fmt.Sprintf("%s of a %s is the sum of %s × %s over its %s", r.Field, r.Entity, r.Start, r.Other, plural(r.Child))
	case RuleProduct:
		return fmt.Sprintf("%s of a %s is %s × %s, as of the time of the last change", r.Field, r.Entity, r.Start, r.Other)
	case RuleBlocked:
		return fmt.Sprintf("POST %s is refused with 409 while its %s has one past %s%s", path, r.Field, r.Other, r.Active.describe())
	case RuleParentFlag:
		if r.Verb == "require" {
			return fmt.Sprintf("POST %s is refused with 409 unless the %s of its %s is %s", path, r.Other, r.Field, r.Value)
		}
		return fmt.Sprintf("POST %s is refused with 409 while the %s of its %s is %s", path, r.Other, r.Field, r.Value)
	case RuleAccess:
		return fmt.Sprintf("%s needs the role %s: 401 without a token, 403 for others", operation(e, r.Verb), strings.Join(r.Fields, " or "))
	case RuleOpen:
		if r.Value == "login" {
			return operation(e, r.Verb) + " needs a login, of any role: 401 without a token"
		}
		return operation(e, r.Verb) + " needs no token"
	case RuleOwn:
		var ops []string
		for _, v := range r.Verbs {
			ops = append(ops, operation(e, v))
		}
		return fmt.Sprintf("%s: only the owner and admins; 403 for others, whose lists leave it out", strings.Join(ops, ", "))
	case RuleDeleteKeep:
		return fmt.Sprintf("DELETE of a %s that %s refer to is refused with 409", r.Other, e.Plural)
	case RuleOverdue:
		return fmt.Sprintf("GET %s?overdue=true lists those past %s%s", path, r.Other, r.Active.describe())
	}
	return string(r.Kind)
}

func operation(e Entity, verb string) string {
	path := "/" + kebab(e.Plural)
	switch verb {
	case "create":
		return "POST " + path
	case "read":
		return "GET " + path
	case "update":
		return "PATCH and PUT " + path + "/{id}"
	case "delete":
		return "DELETE " + path + "/{id}"
	}
	return "POST " + path + "/{id}/" + verb
}

func (a Active) describe() string {
	switch {
	case a.Empty != "":
		return " whose " + a.Empty + " is empty"
	case a.Field != "":
		return " whose " + a.Field + " is not " + strings.Join(a.Not, " or ")
	}
	return ""
}

// RulesOf returns the rules that bind the entity, in order.
func (s Spec) RulesOf(noun string, kinds ...RuleKind) []Rule {
	var out []Rule
	for _, r := range s.Rules {
		if r.Entity == noun && (len(kinds) == 0 || slices.Contains(kinds, r.Kind)) {
			out = append(out, r)
		}
	}
	return out
}
