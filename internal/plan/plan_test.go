package plan_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/identity"
	"conclave/internal/plan"
	"conclave/internal/store"
)

func step(key string, writes []string, dependsOn ...string) conclave.PlanStep {
	return conclave.PlanStep{Key: key, Title: "Do " + key, Acceptance: []string{"it is done"}, Writes: writes, DependsOn: dependsOn}
}

func content(steps ...conclave.PlanStep) conclave.PlanContent {
	return conclave.PlanContent{Task: "Do it", Summary: "It is done", Steps: steps}
}

func TestValidate(t *testing.T) {
	with := func(change func(*conclave.PlanStep)) conclave.PlanContent {
		s := step("a", []string{"a.go"})
		change(&s)
		return content(s)
	}
	asking := func(keys ...string) conclave.PlanContent {
		c := content(step("a", nil))
		for _, k := range keys {
			c.Questions = append(c.Questions, conclave.Question{Key: k})
		}
		return c
	}
	for name, tt := range map[string]struct {
		plan conclave.PlanContent
		says string // empty: it is valid
	}{
		"one step":                {content(step("a", []string{"a.go"})), ""},
		"a chain may share files": {content(step("a", []string{"x.go"}), step("b", nil, "a"), step("c", []string{"x.go"}, "b")), ""},
		"side by side, apart":     {content(step("a", []string{"a/**"}), step("b", []string{"b/**"})), ""},
		"question":                {asking("which-store"), ""},
		"no steps":                {content(), "no steps"},
		"too many":                {content(make([]conclave.PlanStep, 201)...), "at most 200"},
		"key empty":               {with(func(s *conclave.PlanStep) { s.Key = "" }), `step key ""`},
		"key climbs":              {with(func(s *conclave.PlanStep) { s.Key = "../x" }), `step key "../x"`},
		"key twice":               {content(step("a", nil), step("a", nil)), `two steps have the key "a"`},
		"no title":                {with(func(s *conclave.PlanStep) { s.Title = " " }), "no title"},
		"no acceptance":           {with(func(s *conclave.PlanStep) { s.Acceptance = nil }), "no acceptance"},
		"absolute path":           {with(func(s *conclave.PlanStep) { s.Writes = []string{"/etc/passwd"} }), "inside the repository"},
		"path climbs":             {with(func(s *conclave.PlanStep) { s.Writes = []string{"a/../../b"} }), "inside the repository"},
		"path is no pattern":      {with(func(s *conclave.PlanStep) { s.Writes = []string{"a[.go"} }), "inside the repository"},
		"depends on nothing":      {content(step("a", nil, "b")), `depends on "b", which does not exist`},
		"depends on itself":       {content(step("a", nil, "a")), "a → a"},
		"circle":                  {content(step("a", nil, "c"), step("b", nil, "a"), step("c", nil, "b")), "a → c → b → a"},
		"both write a file":       {content(step("a", []string{"x.go"}), step("b", []string{"x.go"})), `"a" and "b" may run at once`},
		"siblings after one":      {content(step("a", nil), step("b", []string{"x/**"}, "a"), step("c", []string{"x/y.go"}, "a")), `"b" and "c" may run at once`},
		"question key":            {asking("Which store?"), "question key"},
		"question twice":          {asking("q", "q"), "used twice"},
	} {
		t.Run(name, func(t *testing.T) {
			err := plan.Validate(tt.plan)
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want an invalid that says %q", err, tt.says)
			}
		})
	}
}

func service(t *testing.T) *plan.Service {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db"), Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return plan.New(db.Plans())
}

func TestVersionsAndDiff(t *testing.T) {
	s, ctx := service(t), t.Context()
	first := content(step("a", []string{"a.go"}), step("b", []string{"b.go"}, "a"), step("c", []string{"c.go"}, "b"), step("d", []string{"d.go"}), step("e", []string{"e.go"}))
	one, err := s.Propose(ctx, conclave.ProposePlan{Run: "run-1", Author: "planner", Content: first})
	if err != nil {
		t.Fatal(err)
	}
	if hash, err := identity.Hash(first); err != nil || one.Hash != hash || one.Version != 1 {
		t.Errorf("version %d with the hash %s, want 1 with %s (%v)", one.Version, one.Hash, hash, err)
	}
	second := content(first.Steps[0], first.Steps[1], first.Steps[2], first.Steps[3], step("f", []string{"f.go"}, "d"))
	second.Steps[0].Acceptance = []string{"it is done well"}
	two, err := s.Propose(ctx, conclave.ProposePlan{Run: "run-1", Base: 1, Author: "planner", Content: second})
	if err != nil {
		t.Fatal(err)
	}
	if two.Version != 2 || two.Hash == one.Hash || two.ID != one.ID {
		t.Errorf("the second version is %s, %d, %s", two.ID, two.Version, two.Hash)
	}
	// What b and c depend on has changed, so they are looked at again; d is not.
	want := conclave.PlanDiff{Added: []string{"f"}, Removed: []string{"e"}, Changed: []string{"a"}, Reopened: []string{"a", "b", "c", "f"}}
	if got, err := s.Diff(ctx, conclave.DiffPlan{ID: one.ID, From: 1, To: 2}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("diff %+v, %v; want %+v", got, err, want)
	}
	if _, err := s.Diff(ctx, conclave.DiffPlan{ID: one.ID, From: 1, To: 3}); !errors.Is(err, conclave.ErrNotFound) {
		t.Errorf("diff with a version that is not there: %v", err)
	}
	if _, err := s.Propose(ctx, conclave.ProposePlan{Run: "run-1", Base: 1, Author: "planner", Content: first}); !errors.Is(err, conclave.ErrConflict) {
		t.Errorf("a second version 2: %v", err)
	}
	if got, err := s.Get(ctx, conclave.GetPlan{ID: one.ID, Version: 1}); err != nil || !reflect.DeepEqual(got.PlanContent, first) {
		t.Errorf("the first version became %+v, %v", got.PlanContent, err)
	}
	if list, err := s.List(ctx, conclave.ListPlans{Run: "run-1"}); err != nil || len(list) != 1 || list[0].Version != 2 {
		t.Errorf("the list is %+v, %v; want the newest version only", list, err)
	}
	for name, in := range map[string]conclave.ProposePlan{
		"no run":    {Author: "planner", Content: first},
		"no author": {Run: "run-2", Content: first},
		"no steps":  {Run: "run-2", Author: "planner"},
	} {
		if _, err := s.Propose(ctx, in); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestComment(t *testing.T) {
	s, ctx := service(t), t.Context()
	p, err := s.Propose(ctx, conclave.ProposePlan{Run: "run-1", Author: "planner", Content: content(step("a", nil))})
	if err != nil {
		t.Fatal(err)
	}
	good := conclave.Comment{Author: "qa-1", Role: conclave.RoleQA, Step: "a", Text: "Test the empty list", Cites: "list.go"}
	for name, tt := range map[string]struct {
		change func(*conclave.Comment)
		says   string
	}{
		"no text":    {func(c *conclave.Comment) { c.Text = "\n" }, "empty"},
		"too long":   {func(c *conclave.Comment) { c.Text = strings.Repeat("x", 16<<10+1) }, "longer than"},
		"no source":  {func(c *conclave.Comment) { c.Cites = " " }, "cites nothing"},
		"other step": {func(c *conclave.Comment) { c.Step = "z" }, `no step "z"`},
	} {
		c := good
		tt.change(&c)
		_, err := s.Comment(ctx, conclave.CommentPlan{ID: p.ID, Version: 1, Comments: []conclave.Comment{good, c}})
		if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Comment(ctx, conclave.CommentPlan{ID: p.ID, Version: 1}); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("no comments: %v", err)
	}
	if _, err := s.Comment(ctx, conclave.CommentPlan{ID: "plan-none", Version: 1, Comments: []conclave.Comment{good}}); !errors.Is(err, conclave.ErrNotFound) {
		t.Errorf("no plan: %v", err)
	}
	for range 2 { // the same key is the same comment
		got, err := s.Comment(ctx, conclave.CommentPlan{Key: "k", ID: p.ID, Version: 1, Comments: []conclave.Comment{good}})
		if err != nil || len(got.Comments) != 1 || got.Comments[0].Text != good.Text || got.Hash != p.Hash {
			t.Errorf("comments %+v, hash %s, %v", got.Comments, got.Hash, err)
		}
	}
}
