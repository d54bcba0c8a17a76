package evidence

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/sandbox"
)

// countingRunner counts the commands that the sandbox ran. It serves one goroutine at a time.
type countingRunner struct {
	Runner
	ran []string
}

func (c *countingRunner) Run(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
	c.ran = append(c.ran, strings.Join(cmd.Args, " "))
	return c.Runner.Run(ctx, cmd)
}

func names(checks []conclave.Check) []string {
	var out []string
	for _, c := range checks {
		out = append(out, c.Name)
	}
	return out
}

func TestATreeThatPassedIsNotMeasuredTwice(t *testing.T) {
	box := &countingRunner{}
	m := newMeter(t, func(o *Options) { box.Runner, o.Sandbox = o.Sandbox, box })
	tree := Tree{Dir: write(t, cleanModule), TreeHash: "clean"}
	measured, err := m.Measure(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	first := len(box.ran)
	check := func(tree Tree) []conclave.Check {
		t.Helper()
		checks, err := m.Check(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		return checks
	}
	same := Tree{Dir: write(t, cleanModule), TreeHash: "clean"} // the same files in another worktree
	checks := check(same)
	if len(box.ran) != first {
		t.Errorf("the tree was checked again: %q", box.ran[first:])
	}
	if !slices.Equal(names(checks), []string{"build", "test"}) || checks[1].Tests != 1 || !checks[1].Passed || !slices.Contains(measured.Checks, checks[1]) {
		t.Errorf("checks: %+v", checks)
	}
	checks[0].Passed = false // callers may change what they got
	again, err := m.Measure(t.Context(), same)
	if err != nil || again.Hash != measured.Hash || !again.Passed() || !check(same)[0].Passed {
		t.Errorf("%v %+v", err, again)
	}
	if len(box.ran) != first {
		t.Errorf("the tree was measured again: %q", box.ran[first:])
	}

	// Anything else about the tree makes it another one, whatever its hash says.
	other := same
	other.TreeHash = "other"
	check(other)
	commands := same
	commands.Test = []string{"go", "test", "-run=TestAdd", "./..."}
	check(commands)
	nameless := same
	nameless.TreeHash = ""
	check(nameless)
	check(nameless)
	ran := slices.Clone(box.ran[first:])
	if len(ran) != 8 {
		t.Errorf("4 checks ran %q", ran)
	}
	if slices.ContainsFunc(ran, func(c string) bool { return strings.Contains(c, "--json") }) {
		t.Errorf("the analysers ran in a check: %q", ran)
	}
	ignored := filepath.Join(same.Dir, "ignored_test.go")
	if err := os.WriteFile(ignored, []byte("package clean\n\nimport \"testing\"\n\nfunc TestIgnored(t *testing.T) { t.Fatal() }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a failure is not remembered
		before := len(box.ran)
		if checks := check(same); checks[1].Passed || checks[1].Failed != 1 || len(box.ran) != before+2 {
			t.Errorf("a file that fails: %+v after %q", checks, box.ran[before:])
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var m memory
	start := time.Now()
	for i := range rememberedTrees {
		m.put(strconv.Itoa(i), conclave.Evidence{Tree: strconv.Itoa(i)}, start)
	}
	if e, ok := m.get("0", start); !ok || e.Tree != "0" {
		t.Errorf("the first tree: %+v", e)
	}
	m.put("new", conclave.Evidence{}, start.Add(time.Minute))
	if _, ok := m.get("1", start); ok {
		t.Error("the tree that was not used for longest is still there")
	}
	if _, ok := m.get("0", start); !ok {
		t.Error("a tree that was used is forgotten")
	}
	m.put("new", conclave.Evidence{Tree: "newer"}, start.Add(time.Minute))
	if e, ok := m.get("new", start); !ok || e.Tree != "newer" || len(m.trees) != rememberedTrees {
		t.Errorf("%+v among %d", e, len(m.trees))
	}
	if _, ok := m.get("0", start.Add(rememberedFor+time.Second)); ok {
		t.Error("old evidence is still returned")
	}
	if _, ok := m.get("new", start.Add(rememberedFor+time.Second)); !ok || len(m.trees) != 1 {
		t.Errorf("%d trees left", len(m.trees))
	}
}

func TestContentsNameWhatGitCounts(t *testing.T) {
	contents := func(change func(dir string) error) string {
		t.Helper()
		dir := write(t, "-- a --\none\n-- b/c --\ntwo\n-- .git/HEAD --\nref\n")
		if change != nil {
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
		}
		sum, err := copyTree(dir, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	plain := contents(nil)
	for name, c := range map[string]struct {
		same   bool
		change func(dir string) error
	}{
		"nothing":         {true, nil},
		"version control": {true, func(dir string) error { return os.WriteFile(filepath.Join(dir, ".git", "HEAD"), nil, 0o600) }},
		"group may read":  {true, func(dir string) error { return os.Chmod(filepath.Join(dir, "a"), 0o640) }},
		"text":            {false, func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("two\n"), 0o600) }},
		"name":            {false, func(dir string) error { return os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "d")) }},
		"executable":      {false, func(dir string) error { return os.Chmod(filepath.Join(dir, "a"), 0o700) }},
		"link":            {false, func(dir string) error { return os.Symlink("a", filepath.Join(dir, "l")) }},
	} {
		if got := contents(c.change); (got == plain) != c.same {
			t.Errorf("%s: same is %v, want %v", name, got == plain, c.same)
		}
	}
}
