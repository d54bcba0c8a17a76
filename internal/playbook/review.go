package playbook

import (
	"fmt"
	"slices"
	"strings"
)

// Review is what a role has to say about a plan: each comment follows from
// this task and these facts. When the plan has it all, there is none.
func Review(role string, spec Spec, facts Facts, steps []Step) []Comment {
	r := &reviewer{role: role, spec: spec, facts: facts, steps: steps}
	switch roleOf(role) {
	case "security":
		r.security()
	case "qa":
		r.quality()
	case "architect":
		r.architecture()
	case "performance":
		r.performance()
	case "domain":
		r.domain()
	}
	switch spec.Archetype {
	case Library:
		r.add(reviewLibrary(roleOf(role), spec, facts, steps))
	case CLI:
		r.add(reviewCLI(roleOf(role), spec, facts, steps))
	}
	return r.comments
}

type reviewer struct {
	role     string
	spec     Spec
	facts    Facts
	steps    []Step
	comments []Comment
}

// ask adds a comment, unless the step has the criterion already or is missing.
func (r *reviewer) ask(step, cites, criterion, format string, args ...any) {
	i := slices.IndexFunc(r.steps, func(s Step) bool { return s.Key == step })
	if i < 0 || slices.Contains(r.steps[i].Acceptance, criterion) {
		return
	}
	r.comments = append(r.comments, Comment{Role: r.role, StepKey: step, Text: fmt.Sprintf(format, args...), Cites: cites, Change: &Amendment{Criterion: criterion}})
}

// add keeps the declared comments whose step is there and lacks what they ask for.
func (r *reviewer) add(declared []Comment) {
	for _, c := range declared {
		i := slices.IndexFunc(r.steps, func(s Step) bool { return s.Key == c.StepKey })
		if i < 0 || c.Change != nil && slices.Contains(r.steps[i].Acceptance, c.Change.Criterion) {
			continue
		}
		c.Role = r.role
		r.comments = append(r.comments, c)
	}
}

func (r *reviewer) security() {
	s := r.spec
	if s.Archetype != Service {
		return
	}
	if a := s.Auth; a != nil {
		account, _ := s.Entity(a.Account)
		collection := "/" + kebab(account.Plural)
		r.ask("domain", "CWE-916", fmt.Sprintf("%s.password is kept as a salted PBKDF2 hash with 600000 rounds or more, apart from the record", snake(a.Account)), "%s.password is stored: hash it with a salt and a cost, and keep it out of what is shown.", snake(a.Account))
		r.ask("api", "CWE-307", "The eleventh failed login for one email within 15 minutes: 429", "POST /login can be tried without end: limit failures per email.")
		r.ask("api", "CWE-204", "POST /login answers an unknown email like a wrong password", "POST /login must not tell which emails of %s exist.", collection)
		r.ask("api", "CWE-269", fmt.Sprintf("PATCH %s/{id} with another role by its owner: 403", collection), "%s.role decides what is allowed: nobody may give it to themselves.", snake(a.Account))
		for _, rule := range s.Rules {
			e, _ := s.Entity(rule.Entity)
			switch rule.Kind {
			case RuleAccess:
				if plain := without(a.Roles, rule.Fields); plain != "" {
					r.ask("acceptance", "CWE-862", fmt.Sprintf("%s with the role %s: 403, without a token: 401", operation(e, rule.Verb), plain), "%s is limited to %s (%s): test it as %s and without a token.", operation(e, rule.Verb), strings.Join(rule.Fields, " and "), rule.ID, plain)
				}
			case RuleOwn:
				r.ask("acceptance", "CWE-639", fmt.Sprintf("%s of another account: 403, and not in its list", operation(e, rule.Verbs[0])), "%s belongs to an account (%s): an id of someone else's must not open it.", e.Noun, rule.ID)
			}
		}
	} else {
		r.ask("ops", "CWE-306", fmt.Sprintf("The README says that there are no accounts, and what to put in front of %s", collections(s)), "The task asks for no accounts: whoever reaches %s may change it. Say so where it is deployed.", collections(s))
	}
	for _, e := range s.Entities {
		for _, f := range e.Fields {
			if (f.Type == Text || f.Type == List) && f.MaxLen == 0 {
				r.ask("api", "CWE-770", fmt.Sprintf("A %s.%s that makes the body exceed 1 MiB: 413", e.Noun, f.Name), "%s.%s has no limit of its own: the body's limit must hold.", e.Noun, f.Name)
			}
		}
	}
}

func without(roles, allowed []string) string {
	for _, role := range roles {
		if !slices.Contains(withAdmin(allowed), role) {
			return role
		}
	}
	return ""
}

func collections(s Spec) string {
	var out []string
	for _, e := range s.Entities {
		out = append(out, "/"+kebab(e.Plural))
	}
	return strings.Join(out, ", ")
}

func (r *reviewer) quality() {
	s := r.spec
	for _, rule := range s.Rules {
		e, _ := s.Entity(rule.Entity)
		collection := "/" + kebab(e.Plural)
		switch rule.Kind {
		case RuleLimit:
			again := ""
			if rule.Active.Empty != "" || rule.Active.Field != "" {
				again = "; once one ends, another passes"
			}
			r.ask("acceptance", rule.ID, fmt.Sprintf("%s boundary: number %d of POST %s per %s is 201, number %d is 409%s", rule.ID, rule.N, collection, rule.Field, rule.N+1, again), "Boundary of %s: number %d passes, number %d is refused with 409.", rule.ID, rule.N, rule.N+1)
		case RuleCapacity:
			r.ask("acceptance", rule.ID, fmt.Sprintf("%s boundary: with %s 2, the third POST %s is 409, and %s can't be set to 1", rule.ID, rule.Other, collection, rule.Other), "Boundary of %s: also lower the %s below what is taken.", rule.ID, rule.Other)
		case RuleOverlap:
			r.ask("acceptance", rule.ID, fmt.Sprintf("%s boundary: %s equal to another's %s is 201; one inside, around or across another is 409", rule.ID, rule.Start, rule.End), "Boundary of %s: touching intervals of one %s pass, crossing ones don't.", rule.ID, rule.Field)
		case RuleOrder:
			r.ask("acceptance", rule.ID, fmt.Sprintf("%s boundary: %s equal to %s is 422", rule.ID, rule.End, rule.Start), "Boundary of %s: %s equal to %s.", rule.ID, rule.End, rule.Start)
		case RuleStates:
			r.ask("acceptance", rule.ID, fmt.Sprintf("%s: each of the other moves of %s is 409", rule.ID, rule.Field), "%s names %d moves of %s: test the moves that it does not name.", rule.ID, len(rule.Edges), rule.Field)
		case RuleStock:
			r.ask("acceptance", rule.ID, fmt.Sprintf("%s boundary: all that is left passes, one more is 409 and takes nothing", rule.ID), "Boundary of %s: the last of %s.%s, and a refused POST leaves it as it was.", rule.ID, rule.Child, rule.Other)
		}
	}
	for _, e := range s.Entities {
		for _, f := range e.Fields {
			bound := ""
			switch {
			case f.Min != "" && f.Max != "":
				bound = fmt.Sprintf("%s and %s pass, one beyond is 422", f.Min, f.Max)
			case f.Min != "":
				bound = fmt.Sprintf("%s passes, less is 422", f.Min)
			case f.Above != "":
				bound = fmt.Sprintf("%s is 422, more passes", f.Above)
			case f.MinLen > 1:
				bound = fmt.Sprintf("%d characters pass, %d are 422", f.MinLen, f.MinLen-1)
			}
			if bound != "" {
				r.ask("domain", "field "+e.Noun+"."+f.Name, fmt.Sprintf("%s.%s boundary: %s", snake(e.Noun), f.Name, bound), "Test %s.%s at its bound: %s.", e.Noun, f.Name, bound)
			}
		}
	}
	if s.Archetype != Service && len(r.facts.TestCommand) == 0 && !r.facts.HasTests && len(r.facts.Files) > 0 {
		r.ask("verify", "no test files", "What the code does now is pinned by tests before it changes", "The repository has no tests: nothing would show what the change breaks.")
	}
}

func (r *reviewer) architecture() {
	s := r.spec
	if r.facts.ModulePath != "" && s.Archetype == Service {
		r.ask("command", "go.mod: "+r.facts.ModulePath, "Nothing outside the new packages of "+r.facts.ModulePath+" changes", "The module %s has code: keep the service in packages of its own.", r.facts.ModulePath)
	}
	for _, e := range s.Entities {
		for _, f := range e.Fields {
			if f.Type == Reference && !f.Cascade {
				r.ask("domain", "field "+e.Noun+"."+f.Name, fmt.Sprintf("DELETE of %s %s that %s %s refers to: 409", article(f.Ref), f.Ref, article(e.Noun), e.Noun), "%s.%s refers to %s %s: say what deleting that does.", e.Noun, f.Name, article(f.Ref), f.Ref)
			}
		}
	}
	for _, c := range r.facts.Conventions {
		r.ask("design", c, "The design follows "+c, "The repository has %s: it binds.", c)
	}
	for _, u := range s.Uncovered {
		if s.Archetype == Service {
			r.ask("beyond", "the task", "“"+u+"” changes no rule that is already tested", "“%s” comes on top of what is generated: it must not undo it.", u)
		}
	}
}

func (r *reviewer) performance() {
	for _, rule := range r.spec.Rules {
		if rule.Kind == RuleLimit || rule.Kind == RuleOverlap || rule.Kind == RuleCapacity || rule.Kind == RuleStock {
			e, _ := r.spec.Entity(rule.Entity)
			r.ask("domain", rule.ID, fmt.Sprintf("%s holds for concurrent POST /%s: check and commit are under one lock", rule.ID, kebab(e.Plural)), "%s counts before it writes: two requests at once must not both pass.", rule.ID)
		}
	}
	for _, e := range r.spec.Entities {
		r.ask("api", "GET /"+kebab(e.Plural), fmt.Sprintf("GET /%s answers with at most 100 records unless asked for more, never over 1000", kebab(e.Plural)), "GET /%s grows with the data: page it.", kebab(e.Plural))
	}
}

func (r *reviewer) domain() {
	for _, a := range r.spec.Assumptions {
		r.ask("ops", "the task does not say", "The README lists as an assumption: "+a, "The task leaves open: %s Tell who reads it.", a)
	}
}

// Revise applies the amendments of comments, each once.
func Revise(steps []Step, comments []Comment) []Step {
	out := slices.Clone(steps)
	for i := range out {
		out[i].Acceptance = slices.Clone(out[i].Acceptance)
	}
	for _, c := range comments {
		if c.Change == nil {
			continue
		}
		if i := slices.IndexFunc(out, func(s Step) bool { return s.Key == c.StepKey }); i >= 0 && c.Change.Criterion != "" && !slices.Contains(out[i].Acceptance, c.Change.Criterion) {
			out[i].Acceptance = append(out[i].Acceptance, c.Change.Criterion)
		}
		if s := c.Change.Step; s != nil && !slices.ContainsFunc(out, func(o Step) bool { return o.Key == s.Key }) {
			out = append(out, *s)
		}
	}
	return out
}
