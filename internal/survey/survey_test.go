package survey

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/evidence"
)

// written is a commit: who made it, what for, and the files that it writes.
type written struct {
	author, subject string
	files           map[string]string
}

func repository(t *testing.T, commits ...written) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "init", "-q", "-b", "main")
	add(t, dir, commits...)
	return dir
}

func add(t *testing.T, dir string, commits ...written) {
	t.Helper()
	for _, c := range commits {
		for name, text := range c.files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run(t, dir, "add", "--all")
		run(t, dir, "-c", "user.name="+c.author, "-c", "user.email="+c.author+"@example.com", "commit", "-q", "--allow-empty", "-m", c.subject)
	}
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

const tangled = `package shop

func Total(prices []int, discount bool) int {
	sum := 0
	for _, p := range prices {
		if p > 0 {
			if discount && p > 10 {
				sum += p / 2
			} else {
				sum += p
			}
		}
	}
	return sum
}
`

const plain = `package shop

func One() int { return 1 }
`

// findings says of each file how many findings an analyser has; it looks at the
// copy that it is given.
type findings map[string]int

func (f findings) Analyse(_ context.Context, t evidence.Tree) (evidence.Analysis, error) {
	var a evidence.Analysis
	for name, n := range f {
		if _, err := os.Stat(filepath.Join(t.Dir, name)); err != nil {
			return a, err
		}
		for range n {
			a.Findings = append(a.Findings, conclave.Finding{Path: name})
		}
	}
	return a, nil
}

func service(t *testing.T, a Analyser) *Service {
	t.Helper()
	s, err := New(Options{Analyser: a, Scratch: filepath.Join(t.TempDir(), "scratch")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The file that is tangled and changes often comes first; its twin that is as
// tangled and does not change, and one that changes and is plain, come after it.
func TestDebtRanksWhatChangesAndIsHardToChange(t *testing.T) {
	dir := repository(t,
		written{"ada", "Start", map[string]string{"hot.go": tangled, "still.go": strings.ReplaceAll(tangled, "Total", "Sum"), "busy.go": plain, "README.md": "x"}},
		written{"bob", "Fix the discount", map[string]string{"hot.go": tangled + "// 1\n", "busy.go": plain + "// 1\n"}},
		written{"ada", "Add a word", map[string]string{"hot.go": tangled + "// 2\n", "busy.go": plain + "// 2\n", "vendor/v.go": tangled}},
	)
	s := service(t, findings{"hot.go": 2, "still.go": 1})
	d, err := s.Debt(t.Context(), conclave.GetDebt{Repo: dir})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, f := range d.Files {
		order = append(order, f.Path)
	}
	if !slices.Equal(order, []string{"hot.go", "still.go", "busy.go"}) || d.Commits != 3 || d.FileCount != 3 {
		t.Fatalf("%q of %d files over %d commits", order, d.FileCount, d.Commits)
	}
	hot := d.Files[0]
	if hot.Score != 100 || hot.Changes != 3 || hot.Authors != 2 || hot.Fixes != 1 || hot.Churn != 18 || *hot.Findings != 2 || *hot.Cyclomatic != 5 || hot.Function != "Total" {
		t.Errorf("%+v, cyclomatic %d, findings %d", hot, *hot.Cyclomatic, *hot.Findings)
	}
	if still := d.Files[1]; still.Changes != 1 || still.Fixes != 0 || still.Complexity != hot.Complexity || still.Score >= hot.Score {
		t.Errorf("the twin: %+v", still)
	}
	if text := DebtMarkdown(d); !strings.Contains(text, "| 100.0 | `hot.go` | 3 | 1 | 2 |") {
		t.Errorf("markdown: %s", text)
	}
	left, err := os.ReadDir(s.o.Scratch)
	if err != nil || len(left) > 0 {
		t.Errorf("copies are left: %v, %v", left, err)
	}
}

type broken struct{}

func (broken) Analyse(context.Context, evidence.Tree) (evidence.Analysis, error) {
	return evidence.Analysis{}, conclave.Errorf(conclave.ErrUnavailable, "there is no sandbox")
}

// What can't be measured is nil and said, and what takes too long is cut.
func TestDebtSaysWhatIsNotMeasured(t *testing.T) {
	dir := repository(t, written{"ada", "Start", map[string]string{"a.go": plain, "b.py": "def f():\n    return 1\n", "bad.go": "no Go at all"}})
	d, err := service(t, broken{}).Debt(t.Context(), conclave.GetDebt{Repo: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Files {
		if f.Findings != nil || f.Path != "a.go" && f.Cyclomatic != nil {
			t.Errorf("%+v", f)
		}
	}
	if !slices.ContainsFunc(d.Unmeasured, func(u string) bool { return strings.Contains(u, "there is no sandbox") }) {
		t.Errorf("unmeasured: %q", d.Unmeasured)
	}

	var stream strings.Builder
	for range batch + 10 {
		stream.WriteString("commit refs/heads/long\ncommitter ada <ada@example.com> 1700000000 +0000\ndata 5\nAgain\n")
	}
	cmd := exec.CommandContext(t.Context(), "git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stream.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v: %s", err, out)
	}
	run(t, dir, "switch", "-q", "long")
	start := time.Unix(1700000000, 0)
	calls := 0
	s, err := New(Options{Clock: func() time.Time { calls++; return start.Add(time.Duration(calls) * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	d, err = s.Debt(t.Context(), conclave.GetDebt{Repo: dir})
	if err != nil || d.Commits != batch || !strings.Contains(strings.Join(d.Unmeasured, "\n"), "and there are more") {
		t.Errorf("%d commits, %q, %v", d.Commits, d.Unmeasured, err)
	}
}

func TestDebtRefuses(t *testing.T) {
	s := service(t, nil)
	empty := t.TempDir()
	run(t, empty, "init", "-q")
	for name, in := range map[string]conclave.GetDebt{
		"no repository": {}, "no such folder": {Repo: filepath.Join(empty, "none")}, "plain folder": {Repo: t.TempDir()}, "no commit": {Repo: empty}, "limit": {Repo: empty, Limit: -1}, "seconds": {Repo: empty, Seconds: 601},
	} {
		if _, err := s.Debt(t.Context(), in); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A newcomer who changes a hot, often mended file without a test is told of all of
// that; the same change by who knows the file, with a test, is not.
func TestContribution(t *testing.T) {
	base := []written{
		{"ada", "Start", map[string]string{"shop.go": plain, "shop_test.go": "package shop\n", "other.go": plain}},
		{"ada", "Fix the price", map[string]string{"shop.go": plain + "// 1\n"}},
		{"bob", "Raise the price", map[string]string{"shop.go": plain + "// 2\n"}},
	}
	dir := repository(t, base...)
	raised := run(t, dir, "rev-parse", "HEAD")
	add(t, dir, written{"ada", "Revert \"Raise the price\"\n\nThis reverts commit " + raised + ".", map[string]string{"shop.go": plain + "// 1\n"}})
	run(t, dir, "switch", "-q", "-c", "newcomer")
	add(t, dir, written{"eve", "Change the price", map[string]string{"shop.go": plain + "// 3\n"}})
	run(t, dir, "switch", "-q", "-c", "known", "main")
	add(t, dir, written{"ada", "Change the price", map[string]string{"shop.go": plain + "// 4\n", "shop_test.go": "package shop\n\n// more\n"}})
	run(t, dir, "switch", "-q", "-c", "returns", "main")
	add(t, dir, written{"bob", "Raise it again", map[string]string{"other.go": plain + "// 5\n"}})
	run(t, dir, "switch", "-q", "main")
	s := service(t, nil)

	c, err := s.Contribution(t.Context(), conclave.GetContribution{Repo: dir, Head: "newcomer"})
	if err != nil {
		t.Fatal(err)
	}
	f := c.Files[0]
	if len(c.Files) != 1 || f.Path != "shop.go" || f.Changes != 4 || f.Rank != 1 || f.Fixes != 2 || f.Known || !slices.Equal(f.Authors, []string{"ada", "bob"}) || f.Added != 1 || f.Deleted != 1 {
		t.Errorf("files %+v", c.Files)
	}
	notes := strings.Join(c.Notes, "\n")
	for _, want := range []string{"eve has no earlier commit here", "shop.go is hot: number 1", "shop.go was mended 2 times before", "shop.go is new to its author; ada, bob", "no test came with the code in ."} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q: %s", want, notes)
		}
	}

	c, err = s.Contribution(t.Context(), conclave.GetContribution{Repo: dir, Base: "main", Head: "known"})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(c.Notes, "\n"); strings.Contains(notes, "no test") || strings.Contains(notes, "new to its author") || strings.Contains(notes, "no earlier commit") {
		t.Errorf("the twin: %s", notes)
	}

	c, err = s.Contribution(t.Context(), conclave.GetContribution{Repo: dir, Head: "returns"})
	if err != nil || len(c.Authors) != 1 || c.Authors[0].Commits != 1 || c.Authors[0].Reverted != 1 {
		t.Errorf("authors %+v, %v", c.Authors, err)
	}
	for head, kind := range map[string]error{"main": conclave.ErrInvalid, "none": conclave.ErrNotFound} {
		if _, err := s.Contribution(t.Context(), conclave.GetContribution{Repo: dir, Head: head}); !errors.Is(err, kind) {
			t.Errorf("%s: %v", head, err)
		}
	}
}

func TestOptions(t *testing.T) {
	dir := repository(t, written{"ada", "Start", map[string]string{
		"go.mod":      "module example.com/shop\n\ngo 1.26\n\nrequire github.com/jackc/pgx/v5 v5.7.0 // Postgres\n",
		"store.go":    "package shop\n\nconst driver = \"postgres\"\n",
		"other.go":    "package shop\n\n// Not postgresql_old.\nconst x = 1\n",
		"README.md":   "We like sqlite.\n",
		"compose.yml": "services:\n  db:\n    image: postgres:17\n    environment: {PASSWORD: postgres}\n",
	}})
	facts, err := service(t, nil).Options(t.Context(), conclave.GetOptionFacts{Repo: dir, Options: []string{"Postgres", "sqlite"}})
	if err != nil {
		t.Fatal(err)
	}
	if p := facts[0]; p.Files != 1 || !slices.Equal(p.Examples, []string{"store.go"}) || !slices.Equal(p.Requires, []string{"compose.yml: image: postgres:17", "go.mod: require github.com/jackc/pgx/v5 v5.7.0 // Postgres"}) || !strings.HasPrefix(p.Requires[1], "go.mod: require github.com/jackc/pgx/v5") {
		t.Errorf("%+v", p)
	}
	if q := facts[1]; q.Files != 0 || len(q.Requires) != 0 {
		t.Errorf("%+v", q)
	}
	if _, err := service(t, nil).Options(t.Context(), conclave.GetOptionFacts{Repo: dir}); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("without options: %v", err)
	}
}
