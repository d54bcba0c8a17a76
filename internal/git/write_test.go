package git

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"conclave"
)

func TestUpdateRefComparesAndSwaps(t *testing.T) {
	ctx := t.Context()
	const ref = "refs/heads/conclave/run"
	r, first := create(t, map[string]string{"a": "x"})
	second := commit(t, r, first, map[string]*string{"a": text("y")})
	third := commit(t, r, first, map[string]*string{"a": text("z")})

	wantKind(t, r.UpdateRef(ctx, ref, second, first, "no such ref"), conclave.ErrConflict)
	must(t, r.UpdateRef(ctx, ref, first, "", "make"))
	wantKind(t, r.UpdateRef(ctx, ref, first, "", "make again"), conclave.ErrConflict)
	must(t, r.UpdateRef(ctx, ref, second, first, "move\nit"))
	wantKind(t, r.UpdateRef(ctx, ref, third, first, "lose"), conclave.ErrConflict)
	if got, err := r.Ref(ctx, ref); err != nil || got != second {
		t.Errorf("the loser moved the ref to %s, %v", got, err)
	}
	wantKind(t, r.UpdateRef(ctx, "refs/heads/conclave", first, "", "above"), conclave.ErrConflict)
	wantKind(t, r.UpdateRef(ctx, ref, strings.Repeat("a", 40), second, "nothing"), conclave.ErrNotFound)
	wantKind(t, r.UpdateRef(ctx, ref, "main", second, "short"), conclave.ErrInvalid)
	wantKind(t, r.UpdateRef(ctx, ref, second, "main", "short"), conclave.ErrInvalid)
	wantKind(t, r.UpdateRef(ctx, "--stdin", second, first, "option"), conclave.ErrInvalid)

	log, err := r.Reflog(ctx, ref)
	must(t, err)
	if len(log) != 2 || log[0].Hash != second || log[0].Reason != "move it" || log[1].Reason != "make" || log[0].Time.IsZero() {
		t.Errorf("reflog %+v", log)
	}
	_, err = r.Reflog(ctx, "refs/heads/none")
	wantKind(t, err, conclave.ErrNotFound)

	wantKind(t, r.DeleteRef(ctx, ref, first, "stale"), conclave.ErrConflict)
	must(t, r.DeleteRef(ctx, ref, second, "done"))
	wantKind(t, r.DeleteRef(ctx, ref, second, "again"), conclave.ErrConflict)
}

func TestUpdateRefHasOneWinner(t *testing.T) {
	const ref, racers = "refs/heads/race", 6
	r, first := create(t, map[string]string{"a": "x"})
	must(t, r.UpdateRef(t.Context(), ref, first, "", "start"))
	var commits []string
	for i := range racers {
		commits = append(commits, commit(t, r, first, map[string]*string{"a": text(strings.Repeat("y", i+1))}))
	}
	results := make([]error, racers)
	var wg sync.WaitGroup
	for i, c := range commits {
		wg.Go(func() { results[i] = r.UpdateRef(t.Context(), ref, c, first, "race") })
	}
	wg.Wait()
	winners := 0
	for i, err := range results {
		if err == nil {
			winners++
			if got, err := r.Ref(t.Context(), ref); err != nil || got != commits[i] {
				t.Errorf("the ref is at %s, not at its winner %s: %v", got, commits[i], err)
			}
		} else {
			wantKind(t, err, conclave.ErrConflict)
		}
	}
	if winners != 1 {
		t.Errorf("%d winners", winners)
	}
}

func TestListRefs(t *testing.T) {
	ctx := t.Context()
	r, first := create(t, map[string]string{"a": "x"})
	must(t, r.UpdateRef(ctx, "refs/conclave/b", first, "", ""))
	must(t, r.UpdateRef(ctx, "refs/conclave/a", first, "", ""))
	must(t, r.UpdateRef(ctx, "refs/conclaves", first, "", ""))
	refs, err := r.ListRefs(ctx, "refs/conclave/")
	must(t, err)
	if len(refs) != 2 || refs[0] != (Ref{"refs/conclave/a", first}) || refs[1].Name != "refs/conclave/b" {
		t.Errorf("refs %+v", refs)
	}
	if refs, err = r.ListRefs(ctx, "refs"); err != nil || len(refs) != 4 {
		t.Errorf("all refs %+v, %v", refs, err)
	}
	_, err = r.ListRefs(ctx, "--shell")
	wantKind(t, err, conclave.ErrInvalid)
}

func TestWorktrees(t *testing.T) {
	ctx := t.Context()
	r, first := create(t, map[string]string{"a": "x"})
	path := filepath.Join(t.TempDir(), "some where")
	must(t, r.WorktreeAdd(ctx, path, "main"))
	wantKind(t, r.WorktreeAdd(ctx, path, "main"), conclave.ErrConflict)
	list, err := r.WorktreeList(ctx)
	must(t, err)
	if len(list) != 2 || list[0].Ref != "refs/heads/main" || list[1].Path != path || list[1].Commit != first || list[1].Ref != "" {
		t.Errorf("worktrees %+v", list)
	}
	w, err := Open(ctx, path)
	must(t, err)
	if w.CommonDir != r.GitDir || w.GitDir == r.GitDir {
		t.Errorf("worktree %+v of %+v", w, r)
	}
	must(t, os.WriteFile(filepath.Join(path, "new"), nil, 0o644))
	wantKind(t, r.WorktreeRemove(ctx, path, false), conclave.ErrConflict)
	must(t, r.WorktreeRemove(ctx, path, true))
	wantKind(t, r.WorktreeRemove(ctx, path, true), conclave.ErrNotFound)
	wantKind(t, r.WorktreeRemove(ctx, r.Dir, true), conclave.ErrConflict)

	must(t, r.WorktreeAdd(ctx, path, first))
	must(t, os.RemoveAll(path))
	if list, err = r.WorktreeList(ctx); err != nil || len(list) != 2 || !list[1].Prunable {
		t.Errorf("worktrees %+v, %v", list, err)
	}
	must(t, r.WorktreePrune(ctx))
	if list, err = r.WorktreeList(ctx); err != nil || len(list) != 1 {
		t.Errorf("worktrees after pruning %+v, %v", list, err)
	}
}

func TestWriteTreeLeavesTheIndexAlone(t *testing.T) {
	ctx := t.Context()
	r, first := create(t, map[string]string{"a": "x", "gone": "x", ".gitignore": "*.log\n"})
	must(t, os.WriteFile(filepath.Join(r.Dir, "staged"), []byte("s"), 0o644))
	must(t, os.WriteFile(filepath.Join(r.Dir, "forced.log"), []byte("f"), 0o644))
	shell(t, r.Dir, "add", "--force", "staged", "forced.log")
	must(t, os.WriteFile(filepath.Join(r.Dir, "other.log"), nil, 0o644))
	must(t, os.Remove(filepath.Join(r.Dir, "gone")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(r.Dir, "link")))
	must(t, os.WriteFile(filepath.Join(r.Dir, "run.sh"), nil, 0o755))
	index, err := os.ReadFile(filepath.Join(r.GitDir, "index"))
	must(t, err)

	tree, err := r.WriteTree(ctx)
	must(t, err)
	after, err := os.ReadFile(filepath.Join(r.GitDir, "index"))
	if err != nil || string(after) != string(index) {
		t.Errorf("the index changed, %v", err)
	}
	files, err := r.Files(ctx, tree)
	must(t, err)
	got := map[string]string{}
	for _, f := range files {
		got[f.Path] = f.Mode
	}
	want := map[string]string{"a": "100644", ".gitignore": "100644", "staged": "100644", "forced.log": "100644", "link": "120000", "run.sh": "100755"}
	if len(got) != len(want) {
		t.Errorf("files %v, want %v", got, want)
	}
	for path, mode := range want {
		if got[path] != mode {
			t.Errorf("%s has mode %q, want %q", path, got[path], mode)
		}
	}
	if target, err := r.Show(ctx, tree, "link"); err != nil || string(target) != "/etc/passwd" {
		t.Errorf("link to %q, %v", target, err)
	}
	if again, err := r.TreeOf(ctx, first); err != nil || again == tree {
		t.Errorf("tree %s, %v", again, err)
	}
}

func TestWriteTreeRefusesWhatItWouldLose(t *testing.T) {
	ctx := t.Context()
	r, _ := create(t, map[string]string{"a": "x\n"})
	inner := filepath.Join(r.Dir, "inner")
	if _, _, err := CreateFromFiles(ctx, inner, map[string]string{"b": "x"}, author(), "Inner"); err != nil {
		t.Fatal(err)
	}
	_, err := r.WriteTree(ctx)
	wantKind(t, err, conclave.ErrInvalid)
	must(t, os.RemoveAll(inner))
	_, err = r.WriteTree(ctx)
	must(t, err)

	shell(t, r.Dir, "checkout", "-q", "-b", "side")
	must(t, os.WriteFile(filepath.Join(r.Dir, "a"), []byte("side\n"), 0o644))
	shell(t, r.Dir, "commit", "-qam", "side")
	shell(t, r.Dir, "checkout", "-q", "main")
	must(t, os.WriteFile(filepath.Join(r.Dir, "a"), []byte("main\n"), 0o644))
	shell(t, r.Dir, "commit", "-qam", "main")
	if _, err := r.git(ctx, "-c", "user.name=u", "-c", "user.email=u@x", "merge", "side"); !exited(err, 1) {
		t.Fatalf("the merge did not conflict: %v", err)
	}
	_, err = r.WriteTree(ctx)
	wantKind(t, err, conclave.ErrConflict)
}

func TestCommitTreeIsDeterministic(t *testing.T) {
	ctx := t.Context()
	r, first := create(t, map[string]string{"a": "x"})
	tree, err := r.TreeOf(ctx, first)
	must(t, err)
	c := NewCommit{Tree: tree, Parents: []string{first}, Message: "Sübject\n\nBody # not a comment\n", Author: author(), Committer: author()}
	one, err := r.CommitTree(ctx, c)
	must(t, err)
	t.Setenv("TZ", "Asia/Tokyo")
	two, err := r.CommitTree(ctx, c)
	must(t, err)
	if one != two {
		t.Errorf("%s and %s", one, two)
	}
	if got := shell(t, r.Dir, "log", "-1", "--format=%B", one); got != strings.TrimSpace(c.Message) {
		t.Errorf("message %q", got)
	}
	for _, bad := range []func(*NewCommit){
		func(c *NewCommit) { c.Tree = "HEAD" },
		func(c *NewCommit) { c.Parents = []string{"-p"} },
		func(c *NewCommit) { c.Message = " \n" },
		func(c *NewCommit) { c.Author.Name = "" },
		func(c *NewCommit) { c.Author.Name = "a\nparent x" },
		func(c *NewCommit) { c.Committer.Email = "a>b" },
	} {
		b := c
		bad(&b)
		_, err := r.CommitTree(ctx, b)
		wantKind(t, err, conclave.ErrInvalid)
	}
	c.Tree = strings.Repeat("a", 40)
	_, err = r.CommitTree(ctx, c)
	wantKind(t, err, conclave.ErrNotFound)
}

func TestInitRefusesARepository(t *testing.T) {
	r, _ := create(t, map[string]string{"a": "x"})
	_, err := Init(t.Context(), r.Dir, "main")
	wantKind(t, err, conclave.ErrConflict)
	_, err = Init(t.Context(), t.TempDir(), "--template=/x y")
	wantKind(t, err, conclave.ErrInvalid)
	_, _, err = CreateFromFiles(t.Context(), t.TempDir(), map[string]string{"../out": "x"}, author(), "Start")
	wantKind(t, err, conclave.ErrInvalid)
}

func TestMergeTree(t *testing.T) {
	ctx := t.Context()
	long := strings.Repeat("line\n", 30)
	r, base := create(t, map[string]string{"f": "1\n2\n3\n4\n5\n", "long": long, "bin": "a\x00b", "other": "o"})
	for _, test := range []struct {
		name         string
		ours, theirs map[string]*string
		want         ConflictKind
		path         string
	}{
		{"clean", map[string]*string{"f": text("0\n2\n3\n4\n5\n")}, map[string]*string{"f": text("1\n2\n3\n4\n6\n")}, "", ""},
		{"content", map[string]*string{"f": text("ours\n2\n3\n4\n5\n")}, map[string]*string{"f": text("theirs\n2\n3\n4\n5\n")}, ConflictContent, "f"},
		{"add/add", map[string]*string{"né w": text("ours")}, map[string]*string{"né w": text("theirs")}, ConflictAddAdd, "né w"},
		{"modify/delete", map[string]*string{"f": text("new\n")}, map[string]*string{"f": nil}, ConflictModifyDelete, "f"},
		{"rename/delete", map[string]*string{"long": nil, "moved": text(long)}, map[string]*string{"long": nil}, ConflictRenameDelete, "moved"},
		{"rename/rename", map[string]*string{"long": nil, "one": text(long)}, map[string]*string{"long": nil, "two": text(long)}, ConflictRename, "long"},
		{"binary", map[string]*string{"bin": text("c\x00d")}, map[string]*string{"bin": text("e\x00f")}, ConflictBinary, "bin"},
		{"file/directory", map[string]*string{"d": text("file")}, map[string]*string{"d/x": text("below")}, ConflictFileDir, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := commit(t, r, base, test.ours), commit(t, r, base, test.theirs)
			tree, conflicts, err := r.MergeTree(ctx, "", ours, theirs)
			must(t, err)
			if _, err := r.TreeOf(ctx, tree); err != nil {
				t.Error(err)
			}
			if test.want == "" {
				if content, err := r.Show(ctx, tree, "f"); err != nil || string(content) != "0\n2\n3\n4\n6\n" || len(conflicts) != 0 {
					t.Errorf("merged to %q with %v, %v", content, conflicts, err)
				}
				return
			}
			found := false
			for _, c := range conflicts {
				found = found || c.Kind == test.want && (test.path == "" || c.Path == test.path) && c.Message != ""
			}
			if !found {
				t.Errorf("conflicts %+v, want %s at %s", conflicts, test.want, test.path)
			}
		})
	}
}

func TestMergeTreeWithBase(t *testing.T) {
	ctx := t.Context()
	r, base := create(t, map[string]string{"f": "1\n2\n3\n"})
	a := commit(t, r, base, map[string]*string{"f": text("1\na\n3\n")})
	b := commit(t, r, a, map[string]*string{"g": text("new")})
	// Picking b alone onto base leaves a's change out.
	tree, conflicts, err := r.MergeTree(ctx, a, base, b)
	must(t, err)
	if content, err := r.Show(ctx, tree, "f"); err != nil || string(content) != "1\n2\n3\n" || len(conflicts) != 0 {
		t.Errorf("merged to %q with %v, %v", content, conflicts, err)
	}
	if _, err := r.Show(ctx, tree, "g"); err != nil {
		t.Error(err)
	}
}

func TestAncestors(t *testing.T) {
	ctx := t.Context()
	r, base := create(t, map[string]string{"a": "x"})
	one := commit(t, r, base, map[string]*string{"a": text("1")})
	two := commit(t, r, base, map[string]*string{"a": text("2")})
	if got, err := r.MergeBase(ctx, one, two); err != nil || got != base {
		t.Errorf("merge base %s, %v", got, err)
	}
	for _, test := range []struct {
		a, b string
		want bool
	}{{base, one, true}, {one, base, false}, {one, two, false}, {one, one, true}} {
		if got, err := r.IsAncestor(ctx, test.a, test.b); err != nil || got != test.want {
			t.Errorf("%s is an ancestor of %s: %v, %v", test.a, test.b, got, err)
		}
	}
	tree, err := r.TreeOf(ctx, base)
	must(t, err)
	alone, err := r.CommitTree(ctx, NewCommit{Tree: tree, Message: "Alone", Author: author(), Committer: author()})
	must(t, err)
	_, err = r.MergeBase(ctx, alone, one)
	wantKind(t, err, conclave.ErrNotFound)
	_, _, err = r.MergeTree(ctx, "", alone, one)
	wantKind(t, err, conclave.ErrInvalid)
	if _, err := r.IsAncestor(ctx, "none", one); !errors.Is(err, conclave.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

// Git tells by the index's time which files it must read again although they
// look the same; a copy with a newer time lost a change of the same size that
// was made within the second of the checkout.
func TestWriteTreeSeesAChangeInTheSecondOfTheCheckout(t *testing.T) {
	ctx := t.Context()
	r, first := create(t, map[string]string{"a": "1"})
	path := filepath.Join(t.TempDir(), "tree")
	must(t, r.WorktreeAdd(ctx, path, first))
	linked, err := r.Linked(path)
	must(t, err)
	old := filepath.Join(t.TempDir(), "index")
	must(t, linked.copyIndexTo(ctx, old))
	name, err := linked.line(ctx, "rev-parse", "--path-format=absolute", "--git-path", "index")
	must(t, err)
	want, err := os.Stat(name)
	must(t, err)
	if got, err := os.Stat(old); err != nil || !got.ModTime().Equal(want.ModTime()) {
		t.Errorf("the copy is of %v, the index of %v: %v", got.ModTime(), want.ModTime(), err)
	}
	must(t, os.WriteFile(filepath.Join(path, "a"), []byte("2"), 0o644))
	tree, err := linked.WriteTree(ctx)
	must(t, err)
	if got, err := r.Show(ctx, tree, "a"); err != nil || string(got) != "2" {
		t.Errorf("recorded %q, %v", got, err)
	}
}
