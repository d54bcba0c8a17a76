// Package plan keeps plans: immutable versions, their comments, and what differs
// between two of them.
package plan

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/identity"
)

// Store keeps versions of plans.
type Store interface {
	// Propose keeps a version once for each key. ErrConflict when p.Version is not
	// the one after the newest of its run.
	Propose(ctx context.Context, in conclave.ProposePlan, p conclave.Plan) (conclave.Plan, error)
	// Comment adds comments once for each key. ErrNotFound.
	Comment(ctx context.Context, in conclave.CommentPlan) (conclave.Plan, error)
	// Get returns a version, the newest for 0. ErrNotFound.
	Get(ctx context.Context, in conclave.GetPlan) (conclave.Plan, error)
	// List returns the newest versions, newest first.
	List(ctx context.Context, in conclave.ListPlans) ([]conclave.Plan, error)
}

// Service implements conclave.Plans.
type Service struct{ store Store }

// New returns a service on a store.
func New(store Store) *Service { return &Service{store} }

const (
	maxSteps = 200
	maxText  = 16 << 10
)

// Propose implements conclave.Plans.
func (s *Service) Propose(ctx context.Context, in conclave.ProposePlan) (conclave.Plan, error) {
	if in.Run == "" || in.Author == "" {
		return conclave.Plan{}, conclave.Errorf(conclave.ErrInvalid, "a plan needs a run and an author")
	}
	if err := Validate(in.Content); err != nil {
		return conclave.Plan{}, err
	}
	hash, err := identity.Hash(in.Content)
	if err != nil {
		return conclave.Plan{}, fmt.Errorf("hash the plan: %w", err)
	}
	p := conclave.Plan{ID: conclave.PlanID("plan-" + strings.TrimPrefix(string(in.Run), "run-")), Run: in.Run, Version: in.Base + 1,
		Hash: hash, Author: in.Author, PlanContent: in.Content, Comments: []conclave.Comment{}}
	return s.store.Propose(ctx, in, p)
}

// Comment implements conclave.Plans.
func (s *Service) Comment(ctx context.Context, in conclave.CommentPlan) (conclave.Plan, error) {
	p, err := s.store.Get(ctx, conclave.GetPlan{ID: in.ID, Version: in.Version})
	if err != nil {
		return p, err
	}
	if len(in.Comments) == 0 {
		return p, conclave.Errorf(conclave.ErrInvalid, "no comments")
	}
	for i, c := range in.Comments {
		switch {
		case strings.TrimSpace(c.Text) == "" || len(c.Text) > maxText:
			return p, conclave.Errorf(conclave.ErrInvalid, "comment %d: the text is empty or longer than %d bytes", i+1, maxText)
		case strings.TrimSpace(c.Cites) == "":
			return p, conclave.Errorf(conclave.ErrInvalid, "comment %d by %s cites nothing; name a fact of the repository or a rule", i+1, c.Author)
		case c.Step != "" && !slices.ContainsFunc(p.Steps, func(s conclave.PlanStep) bool { return s.Key == c.Step }):
			return p, conclave.Errorf(conclave.ErrInvalid, "comment %d: the plan has no step %q", i+1, c.Step)
		}
	}
	return s.store.Comment(ctx, in)
}

// Get implements conclave.Plans.
func (s *Service) Get(ctx context.Context, in conclave.GetPlan) (conclave.Plan, error) {
	return s.store.Get(ctx, in)
}

// List implements conclave.Plans.
func (s *Service) List(ctx context.Context, in conclave.ListPlans) ([]conclave.Plan, error) {
	return s.store.List(ctx, in)
}

// Diff implements conclave.Plans.
func (s *Service) Diff(ctx context.Context, in conclave.DiffPlan) (conclave.PlanDiff, error) {
	from, err := s.store.Get(ctx, conclave.GetPlan{ID: in.ID, Version: in.From})
	if err != nil {
		return conclave.PlanDiff{}, err
	}
	to, err := s.store.Get(ctx, conclave.GetPlan{ID: in.ID, Version: in.To})
	if err != nil {
		return conclave.PlanDiff{}, err
	}
	return diff(from.PlanContent, to.PlanContent)
}

func diff(from, to conclave.PlanContent) (conclave.PlanDiff, error) {
	d := conclave.PlanDiff{Added: []string{}, Removed: []string{}, Changed: []string{}, Reopened: []string{}}
	hash := func(c conclave.PlanContent) (map[string]string, error) {
		m := map[string]string{}
		for _, s := range c.Steps {
			h, err := identity.Hash(s)
			if err != nil {
				return nil, err
			}
			m[s.Key] = h
		}
		return m, nil
	}
	old, err := hash(from)
	if err != nil {
		return d, err
	}
	now, err := hash(to)
	if err != nil {
		return d, err
	}
	reopened := map[string]bool{}
	for _, s := range to.Steps {
		switch h, had := old[s.Key]; {
		case !had:
			d.Added = append(d.Added, s.Key)
			reopened[s.Key] = true
		case h != now[s.Key]:
			d.Changed = append(d.Changed, s.Key)
			reopened[s.Key] = true
		}
	}
	for _, s := range from.Steps {
		if _, has := now[s.Key]; !has {
			d.Removed = append(d.Removed, s.Key)
		}
	}
	for changed := true; changed; { // what depends on a re-opened step is re-opened
		changed = false
		for _, s := range to.Steps {
			if !reopened[s.Key] && slices.ContainsFunc(s.DependsOn, func(k string) bool { return reopened[k] }) {
				reopened[s.Key], changed = true, true
			}
		}
	}
	for _, s := range to.Steps {
		if reopened[s.Key] {
			d.Reopened = append(d.Reopened, s.Key)
		}
	}
	return d, nil
}

// Validate returns ErrInvalid, naming the step, for a plan that can't be carried
// out: no steps, a key twice, an unknown dependency, a cycle, a step without
// acceptance criteria, write sets that overlap between steps that may run at once.
func Validate(c conclave.PlanContent) error {
	invalid := func(format string, args ...any) error {
		return conclave.Errorf(conclave.ErrInvalid, "plan: "+format, args...)
	}
	if len(c.Steps) == 0 {
		return invalid("it has no steps")
	}
	if len(c.Steps) > maxSteps {
		return invalid("it has %d steps; at most %d", len(c.Steps), maxSteps)
	}
	key := regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	steps := map[string]conclave.PlanStep{}
	for _, s := range c.Steps {
		if !key.MatchString(s.Key) {
			return invalid("step key %q; it must be 1 to 64 of a-z, 0-9 and -", s.Key)
		}
		if _, twice := steps[s.Key]; twice {
			return invalid("two steps have the key %q", s.Key)
		}
		if strings.TrimSpace(s.Title) == "" {
			return invalid("step %q has no title", s.Key)
		}
		if len(s.Acceptance) == 0 {
			return invalid("step %q has no acceptance criterion", s.Key)
		}
		for _, w := range s.Writes {
			if _, err := path.Match(w, ""); err != nil || path.IsAbs(w) || slices.Contains(strings.Split(w, "/"), "..") {
				return invalid("step %q may write %q, which is no path pattern inside the repository", s.Key, w)
			}
		}
		steps[s.Key] = s
	}
	for _, s := range c.Steps {
		for _, dep := range s.DependsOn {
			if _, ok := steps[dep]; !ok {
				return invalid("step %q depends on %q, which does not exist", s.Key, dep)
			}
		}
	}
	before, err := closure(c.Steps)
	if err != nil {
		return err
	}
	for i, a := range c.Steps {
		for _, b := range c.Steps[i+1:] {
			if before[a.Key][b.Key] || before[b.Key][a.Key] {
				continue
			}
			if x, y, overlap := conclave.WritesOverlap(a.Writes, b.Writes); overlap {
				return invalid("steps %q and %q may run at once and both write %s (%s, %s); let one depend on the other", a.Key, b.Key, y, x, y)
			}
		}
	}
	questions := map[string]bool{}
	for _, q := range c.Questions {
		if !key.MatchString(q.Key) || questions[q.Key] {
			return invalid("question key %q is not 1 to 64 of a-z, 0-9 and -, or is used twice", q.Key)
		}
		questions[q.Key] = true
	}
	return nil
}

// closure tells for each step what comes before it.
func closure(list []conclave.PlanStep) (map[string]map[string]bool, error) {
	steps := map[string]conclave.PlanStep{}
	for _, s := range list {
		steps[s.Key] = s
	}
	before := map[string]map[string]bool{}
	state := map[string]int{} // 1: being visited, 2: done
	var visit func(key string, trail []string) error
	visit = func(key string, trail []string) error {
		if state[key] == 2 {
			return nil
		}
		trail = append(trail, key)
		if state[key] == 1 {
			return conclave.Errorf(conclave.ErrInvalid, "plan: steps depend on each other in a circle: %s", strings.Join(trail, " → "))
		}
		state[key] = 1
		before[key] = map[string]bool{}
		for _, dep := range steps[key].DependsOn {
			if err := visit(dep, trail); err != nil {
				return err
			}
			before[key][dep] = true
			for k := range before[dep] {
				before[key][k] = true
			}
		}
		state[key] = 2
		return nil
	}
	for _, s := range list {
		if err := visit(s.Key, nil); err != nil {
			return nil, err
		}
	}
	return before, nil
}
