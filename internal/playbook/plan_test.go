package playbook

import (
	"slices"
	"strings"
	"testing"
)

var roles = []string{"security", "qa", "architect", "performance", "domain"}

// The dialogue ends: comments are answered by amendments, after which nobody
// has the same to say, and everybody approves.
func TestPlansAreAgreedOn(t *testing.T) {
	for _, task := range corpus(t) {
		facts := Facts{Name: "repo", Empty: true}
		spec := Parse(task, facts)
		steps := Plan(spec, facts)
		var comments []Comment
		for _, role := range roles {
			comments = append(comments, Review(role, spec, facts, steps)...)
		}
		for _, c := range comments {
			if c.Cites == "" || c.Text == "" || c.Change == nil {
				t.Errorf("%s: comment without ground or change: %+v", task, c)
			}
		}
		steps = Revise(steps, comments)
		for _, role := range roles {
			if again := Review(role, spec, facts, steps); len(again) > 0 {
				t.Errorf("%s: %s still says %q", task, role, again[0].Text)
			}
			approve, reasons := Judge(role, spec, facts, steps)
			if !approve {
				t.Errorf("%s: %s rejects: %q", task, role, reasons)
			}
			if told := strings.Contains(strings.Join(reasons, " "), "needs a model for"); told != (len(spec.Uncovered) > 0) {
				t.Errorf("%s: the vote says %q, uncovered is %q", task, reasons, spec.Uncovered)
			}
		}
	}
}

func TestCommentsFollowFromTheTask(t *testing.T) {
	facts := Facts{Empty: true}
	spec := Parse(services["library"].task, facts)
	steps := Plan(spec, facts)
	for _, test := range []struct{ role, words string }{
		{"security", "DELETE /books/{id} is limited to admin (R4): test it as user"},
		{"security", "user.password is stored"},
		{"qa", "Boundary of R1: number 3 passes, number 4 is refused"},
		{"performance", "R2 counts before it writes"},
		{"architect", "loan.book_id refers to a book"},
	} {
		comments := Review(test.role, spec, facts, steps)
		if !slices.ContainsFunc(comments, func(c Comment) bool { return strings.Contains(c.Text, test.words) }) {
			t.Errorf("%s does not say %q: %+v", test.role, test.words, comments)
		}
	}
	other := Parse("Build a todo API", facts)
	for _, c := range Review("security", other, facts, Plan(other, facts)) {
		if strings.Contains(c.Text, "password") {
			t.Errorf("a service without accounts is told %q", c.Text)
		}
	}
}

func TestJudgeRejects(t *testing.T) {
	facts := Facts{Empty: true}
	spec := Parse(services["library"].task, facts)
	for _, test := range []struct {
		name  string
		spoil func([]Step) []Step
		facts Facts
		want  string
	}{
		{"a rule without a criterion", func(s []Step) []Step { s[5].Acceptance = s[5].Acceptance[1:]; return s }, facts, "R1 “a member may hold"},
		{"a cycle", func(s []Step) []Step { s[0].DependsOn = []string{"api"}; return s }, facts, "depends on itself"},
		{"a missing dependency", func(s []Step) []Step { s[1].DependsOn = []string{"nothing"}; return s }, facts, "which is not in the plan"},
		{"two writers at once", func(s []Step) []Step { s[4].Writes = append(s[4].Writes, s[3].Writes[0]); return s }, facts, "may run at once"},
		{"an existing file", func(s []Step) []Step { return s }, Facts{Files: []string{"internal/library/book.go"}}, "would overwrite internal/library/book.go"},
		{"no steps", func([]Step) []Step { return nil }, facts, "there is no step"},
	} {
		steps := test.spoil(Plan(spec, facts))
		approve, reasons := Judge("architect", spec, test.facts, steps)
		if approve || !strings.Contains(strings.Join(reasons, "\n"), test.want) {
			t.Errorf("%s: approve %v, %q", test.name, approve, reasons)
		}
	}
}

func TestRankDiffersByRole(t *testing.T) {
	spec := Parse("Create a secure REST API for user management", Facts{Empty: true})
	q := identifiers(spec)
	if got := Rank("security", *q, spec, Facts{}); !strings.HasPrefix(got[0], "random:") {
		t.Errorf("security: %q", got)
	}
	if got := Rank("domain-expert", *q, spec, Facts{}); !strings.HasPrefix(got[0], "sequential:") {
		t.Errorf("domain: %q", got)
	}
	for _, role := range roles {
		if got := Rank(role, *q, spec, Facts{}); len(got) != 2 || !slices.Equal(got, Rank(role, *q, spec, Facts{})) {
			t.Errorf("%s: %q", role, got)
		}
	}
}

// Options change what is generated, or they are no options.
func TestDecisionsChangeTheCode(t *testing.T) {
	facts := Facts{Empty: true}
	spec := Parse("Create a secure REST API for user management", facts)
	tree := func(decisions map[string]string) string {
		var b strings.Builder
		for _, step := range Plan(spec, facts) {
			files, err := Build(spec, facts, decisions, step.Key)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b.WriteString(f.Path + "\n" + string(f.Content))
			}
		}
		return b.String()
	}
	base := tree(nil)
	if base != tree(nil) {
		t.Error("generation is not deterministic")
	}
	for _, step := range Plan(spec, facts) {
		if step.Question == nil {
			continue
		}
		for _, o := range step.Question.Options {
			if same := tree(map[string]string{step.Question.Key: o.Key}) == base; same != o.Default {
				t.Errorf("%s=%s: same code as the default: %v", step.Question.Key, o.Key, same)
			}
		}
	}
}

func TestBuildKeepsExistingFiles(t *testing.T) {
	facts := Facts{ModulePath: "example.com/shop", Name: "shop", GoVersion: "1.26", Files: []string{"go.mod", "README.md", "main.go", ".gitignore", "Dockerfile"}}
	spec := Parse("Build an inventory service with products (sku unique, price) and suppliers", facts)
	for _, step := range Plan(spec, facts) {
		files, err := Build(spec, facts, nil, step.Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if facts.Has(f.Path) {
				t.Errorf("%s overwrites %s", step.Key, f.Path)
			}
			if strings.HasSuffix(f.Path, "main.go") && !strings.Contains(string(f.Content), `"example.com/shop/internal/inventory"`) {
				t.Errorf("%s does not import by the module's path", f.Path)
			}
		}
	}
	taken := facts
	taken.Files = append(taken.Files, "internal/inventory/store.go")
	if _, err := Build(spec, taken, nil, "storage"); err == nil {
		t.Error("an existing package would be overwritten")
	}
}

func TestUnknownTasksArePlannedFromFacts(t *testing.T) {
	facts := Facts{Files: []string{"a/x.go", "b/y.go"}, Languages: map[string]int{"Go": 2}, TestCommand: []string{"go", "test", "./..."}, HasTests: true, Conventions: []string{"CLAUDE.md"}}
	spec := Parse("Translate this codebase to Rust", facts)
	if spec.Archetype != Unknown || len(spec.Uncovered) != 1 {
		t.Fatalf("%+v", spec)
	}
	var text strings.Builder
	for _, s := range Plan(spec, facts) {
		text.WriteString(s.Title + s.Description + strings.Join(s.Acceptance, "\n"))
	}
	for _, want := range []string{"2 files in 2 directories: 2 files of Go", "go test ./... passes", "CLAUDE.md", "a: read"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the plan does not say %q:\n%s", want, text.String())
		}
	}
	if _, err := Build(spec, facts, nil, "implement"); err == nil {
		t.Error("an unknown task was built")
	}
}
