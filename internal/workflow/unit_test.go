package workflow

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"conclave"
	"conclave/internal/git"
)

func TestCommitMessage(t *testing.T) {
	run := conclave.Run{ID: "run-1"}
	reply := conclave.BuildReply{Summary: " It works.\n"}
	for name, tt := range map[string]struct {
		style, archetype, title, why string
		subject                      string
	}{
		"a thing":                {"imperative", "", "Health route", "", "Add health route"},
		"an order":               {"imperative", "", "Serve the metrics", "", "Serve the metrics"},
		"an abbreviation":        {"imperative", "", "HTTP server", "", "Add HTTP server"},
		"mended":                 {"imperative", "", "Serve the metrics", "review", "Mend serve the metrics"},
		"conventional":           {"conventional", "", "Health route", "", "feat(api): add health route"},
		"conventional, repair":   {"conventional", "repair", "Fix the sum", "", "fix(api): fix the sum"},
		"conventional, mended":   {"conventional", "", "Health route", "review", "fix(api): mend health route"},
		"letters beyond ASCII":   {"imperative", "", "Élan vital", "", "Add élan vital"},
		"long":                   {"imperative", "", "Add " + strings.Repeat("x", 80), "", "Add " + strings.Repeat("x", 65) + "..."},
		"long, and beyond ASCII": {"imperative", "", "Add " + strings.Repeat("é", 80), "", "Add " + strings.Repeat("é", 65) + "..."},
	} {
		got := commitMessage(tt.style, tt.archetype, conclave.PlanStep{Key: "api", Title: tt.title}, buildInput{Why: tt.why}, reply, run)
		if want := tt.subject + "\n\nIt works.\n\nConclave-Run: run-1\nConclave-Step: api\n"; got != want || !utf8.ValidString(got) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The page that a human decides from names both sides, each voter once.
func TestBestCases(t *testing.T) {
	d := conclave.Decision{Ballots: []conclave.Ballot{
		{Round: 1, Voter: "qa-1", Verdict: conclave.VerdictApprove, Reasons: []string{"fine"}},
		{Round: 1, Voter: "security-1", Verdict: conclave.VerdictReject, Reasons: []string{"no limit"}},
		{Round: 2, Voter: "qa-1", Verdict: conclave.VerdictReject, Reasons: []string{"convinced", "untested"}},
	}}
	want := "approve:\nreject:\n- security-1: no limit\n- qa-1: convinced; untested\n"
	if got := bestCases(d); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	d = conclave.Decision{Motion: conclave.Motion{Kind: conclave.MotionRank}, Ballots: []conclave.Ballot{
		{Round: 1, Voter: "qa-1", Ranking: []string{"file", "sql"}, Reasons: []string{"simple"}},
		{Round: 1, Voter: "architect-1", Ranking: []string{"sql", "file"}, Reasons: []string{"queries"}},
	}}
	want = "- qa-1: file > sql – simple\n- architect-1: sql > file – queries\n"
	if got := bestCases(d); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMeasure(t *testing.T) {
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	dir := filepath.Join(t.TempDir(), "shop")
	if err := os.MkdirAll(filepath.Join(dir, "cart"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("init", "-q", "-b", "trunk")
	run("config", "user.name", "ada")
	run("config", "user.email", "ada@example.com")
	repo, err := git.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := measure(t.Context(), repo, ""); err != nil || !f.Empty || f.Branch != "trunk" || f.FileCount != 0 {
		t.Errorf("without a commit: %+v, %v", f, err)
	}
	write("go.mod", "module example.com/shop\n\ngo 1.26\n\nrequire example.com/money v1.2.3\n")
	write("cart/cart.go", "package cart\n\nfunc Sum() int { return 0 }\n")
	run("add", "-A")
	run("commit", "-q", "-m", "feat: start")
	write("cart/cart.go", "package cart\n\nfunc Sum() int { return 1 }\n")
	write("cart/cart_test.go", "package cart\n")
	write("CLAUDE.md", "Keep it small.\n")
	run("add", "-A")
	run("commit", "-q", "-m", "fix(cart): count")
	write("cart/cart.go", "package cart // not committed\n")
	write("note.txt", "new\n")

	f, err := measure(t.Context(), repo, run("rev-parse", "HEAD"))
	if err != nil {
		t.Fatal(err)
	}
	want := conclave.Facts{Name: "shop", Branch: "trunk", Commit: run("rev-parse", "HEAD"), Tree: run("rev-parse", "HEAD^{tree}"),
		Dirty: []string{"cart/cart.go", "note.txt"}, FileCount: 4, Files: []string{"CLAUDE.md", "cart/cart.go", "cart/cart_test.go", "go.mod"},
		Languages: map[string]int{"Go": 2}, Lines: 4, HasTests: true, Packages: []string{"cart"}, HotFiles: []string{"cart/cart.go"},
		Module: "example.com/shop", GoVersion: "1.26", Dependencies: []string{"example.com/money@v1.2.3"}, Build: []string{"go", "build", "./..."}, Test: []string{"go", "test", "./..."},
		CommitStyle: "conventional", Conventions: []string{"CLAUDE.md", "commits: conventional"}, Instructions: "Keep it small.\n"}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("facts\n%+v, want\n%+v", f, want)
	}
}
