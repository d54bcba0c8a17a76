package git

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
)

func author() Signature {
	return Signature{Name: "Ada Lovelace", Email: "ada@example.org", When: time.Unix(1700000000, 0).UTC()}
}

// create makes a repository with one commit.
func create(t *testing.T, files map[string]string) (*Repo, string) {
	t.Helper()
	r, commit, err := CreateFromFiles(t.Context(), filepath.Join(t.TempDir(), "repo"), files, author(), "Start")
	if err != nil {
		t.Fatal(err)
	}
	return r, commit
}

// commit writes files (nil removes one) on top of parent, in a working tree of
// its own, and returns the commit. No branch moves.
func commit(t *testing.T, r *Repo, parent string, files map[string]*string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, r.WorktreeAdd(t.Context(), dir, parent))
	w, err := Open(t.Context(), dir)
	must(t, err)
	for name, content := range files {
		path := filepath.Join(dir, name)
		if content == nil {
			must(t, os.RemoveAll(path))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(*content), 0o644))
	}
	tree, err := w.WriteTree(t.Context())
	must(t, err)
	hash, err := w.CommitTree(t.Context(), NewCommit{Tree: tree, Parents: []string{parent}, Message: "Change", Author: author(), Committer: author()})
	must(t, err)
	must(t, r.WorktreeRemove(t.Context(), dir, true))
	return hash
}

func text(s string) *string { return &s }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error %v, want the kind %v", err, kind)
	}
}

// shell runs git as a user would, for what the package has no method for.
func shell(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(environment(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=u", "GIT_AUTHOR_EMAIL=u@x", "GIT_COMMITTER_NAME=u", "GIT_COMMITTER_EMAIL=u@x")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestOpenFindsTheTop(t *testing.T) {
	r, _ := create(t, map[string]string{"a/b/c.txt": "x"})
	got, err := Open(t.Context(), filepath.Join(r.Dir, "a", "b"))
	must(t, err)
	if got.Dir != r.Dir || got.IsBare() {
		t.Errorf("top %s, bare %v", got.Dir, got.IsBare())
	}
}

func TestOpenFailsByKind(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(t.Context(), dir)
	wantKind(t, err, conclave.ErrNotFound)
	_, err = Open(t.Context(), filepath.Join(dir, "none"))
	wantKind(t, err, conclave.ErrNotFound)
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	_, err = Open(t.Context(), file)
	wantKind(t, err, conclave.ErrInvalid)
	r, _ := create(t, map[string]string{"a": "x"})
	_, err = Open(t.Context(), r.GitDir)
	wantKind(t, err, conclave.ErrInvalid)
}

func TestOpenWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Open(t.Context(), ".")
	wantKind(t, err, conclave.ErrUnavailable)
}

func TestVersions(t *testing.T) {
	for out, want := range map[string]error{
		"git version 2.37.9":                   conclave.ErrUnsupported,
		"git version 1.99.0":                   conclave.ErrUnsupported,
		"git version 2.38.0":                   nil,
		"git version 2.39.5 (Apple Git-154)":   nil,
		"git version 2.45.1.windows.1":         nil,
		"git version 3.0-rc1":                  conclave.ErrUnsupported, // no number to compare
		"something else":                       conclave.ErrUnsupported,
		"git version 2":                        conclave.ErrUnsupported,
		"git version 10.0.0\nlibcurl 8.0\nx y": nil,
	} {
		if _, err := checkVersion(out); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", out, err, want)
		}
	}
}

func TestOpenRefusesAnotherUsersRepository(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	t.Setenv("HOME", t.TempDir()) // without safe.directory
	r, _ := create(t, map[string]string{"a": "x"})
	must(t, os.Chown(r.Dir, 12345, 12345))
	must(t, os.Chown(r.GitDir, 12345, 12345))
	_, err := Open(t.Context(), r.Dir)
	wantKind(t, err, conclave.ErrDenied)
	if !strings.Contains(err.Error(), "safe.directory") {
		t.Errorf("error %v does not say what to do", err)
	}
}

func TestEmptyBareAndShallow(t *testing.T) {
	ctx := t.Context()
	empty, err := Init(ctx, filepath.Join(t.TempDir(), "empty"), "main")
	must(t, err)
	head, err := empty.Head(ctx)
	must(t, err)
	if !head.Unborn() || head.Branch() != "main" || head.Detached() {
		t.Errorf("head of an empty repository: %+v", head)
	}
	log, err := empty.Log(ctx, "HEAD", 10)
	if err != nil || len(log) != 0 {
		t.Errorf("log of an empty repository: %v, %v", log, err)
	}
	hot, err := empty.HotFiles(ctx, "HEAD", 10)
	if err != nil || len(hot) != 0 {
		t.Errorf("hot files of an empty repository: %v, %v", hot, err)
	}
	_, err = empty.Resolve(ctx, "HEAD")
	wantKind(t, err, conclave.ErrNotFound)

	r, first := create(t, map[string]string{"a": "x"})
	second := commit(t, r, first, map[string]*string{"a": text("y")})
	must(t, r.UpdateRef(ctx, "refs/heads/main", second, first, "test"))
	if is, err := r.IsShallow(ctx); err != nil || is {
		t.Errorf("shallow %v, %v", is, err)
	}
	if is, err := r.IsEmpty(ctx); err != nil || is {
		t.Errorf("empty %v, %v", is, err)
	}

	bareDir := filepath.Join(t.TempDir(), "bare.git")
	shell(t, r.Dir, "clone", "-q", "--bare", ".", bareDir)
	bare, err := Open(ctx, bareDir)
	must(t, err)
	if got, err := bare.Resolve(ctx, "HEAD"); err != nil || got != second || !bare.IsBare() {
		t.Errorf("bare: %v at %s, %v", bare.IsBare(), got, err)
	}
	if content, err := bare.Show(ctx, "main", "a"); err != nil || string(content) != "y" {
		t.Errorf("bare: %q, %v", content, err)
	}
	_, err = bare.Dirty(ctx)
	wantKind(t, err, conclave.ErrInvalid)
	_, err = bare.WriteTree(ctx)
	wantKind(t, err, conclave.ErrInvalid)

	shallowDir := filepath.Join(t.TempDir(), "shallow")
	shell(t, r.Dir, "clone", "-q", "--depth=1", "file://"+r.Dir, shallowDir)
	shallow, err := Open(ctx, shallowDir)
	must(t, err)
	if is, err := shallow.IsShallow(ctx); err != nil || !is {
		t.Errorf("shallow %v, %v", is, err)
	}
}

func TestHeadOnBranchAndDetached(t *testing.T) {
	r, first := create(t, map[string]string{"a": "x"})
	head, err := r.Head(t.Context())
	must(t, err)
	if want := (Head{Commit: first, Ref: "refs/heads/main"}); head != want {
		t.Errorf("%+v, want %+v", head, want)
	}
	shell(t, r.Dir, "checkout", "-q", "--detach")
	head, err = r.Head(t.Context())
	must(t, err)
	if !head.Detached() || head.Commit != first {
		t.Errorf("detached: %+v", head)
	}
}

// odd are names that are easy to get wrong.
var odd = [...]string{"with space.txt", "tab\tname", "new\nline", "ünïcødé/日本.txt", "-dash", "--upload-pack=x", "quote\"s", "star*.go", ":colon"}

func TestOddFileNames(t *testing.T) {
	ctx := t.Context()
	files := map[string]string{}
	for _, name := range odd {
		files[name] = "content of " + name
	}
	r, first := create(t, files)
	list, err := r.Files(ctx, first)
	must(t, err)
	var names []string
	for _, f := range list {
		names = append(names, f.Path)
		if f.Mode != "100644" || f.Size != int64(len(files[f.Path])) {
			t.Errorf("%+v", f)
		}
	}
	want := slices.Sorted(slices.Values(odd[:]))
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	changed := map[string]*string{}
	for _, name := range odd {
		content, err := r.Show(ctx, first, name)
		if err != nil || string(content) != files[name] {
			t.Errorf("%q: %q, %v", name, content, err)
		}
		must(t, os.WriteFile(filepath.Join(r.Dir, name), []byte("new"), 0o644))
		changed[name] = text("new")
	}
	dirty, err := r.Dirty(ctx)
	must(t, err)
	if len(dirty) != len(odd) {
		t.Errorf("dirty %+v", dirty)
	}
	second := commit(t, r, first, changed)
	diff, err := r.DiffNames(ctx, first, second)
	must(t, err)
	for _, c := range diff {
		if c.Status != "M" || !slices.Contains(odd[:], c.Path) {
			t.Errorf("changed %+v", c)
		}
	}
	if len(diff) != len(odd) {
		t.Errorf("%d changes, want %d", len(diff), len(odd))
	}
	one, err := r.Diff(ctx, first, second, "star*.go")
	must(t, err)
	if strings.Count(one, "diff --git") != 1 || !strings.Contains(one, "+new") {
		t.Errorf("diff of one path:\n%s", one)
	}
}

func TestDirty(t *testing.T) {
	r, _ := create(t, map[string]string{"changed": "x", "gone": "x", "kept": "x", ".gitignore": "ignored\n"})
	must(t, os.WriteFile(filepath.Join(r.Dir, "changed"), []byte("y"), 0o644))
	must(t, os.Remove(filepath.Join(r.Dir, "gone")))
	must(t, os.WriteFile(filepath.Join(r.Dir, "ignored"), nil, 0o644))
	must(t, os.MkdirAll(filepath.Join(r.Dir, "dir"), 0o755))
	must(t, os.WriteFile(filepath.Join(r.Dir, "dir", "new"), nil, 0o644))
	must(t, os.Symlink("kept", filepath.Join(r.Dir, "link")))
	must(t, os.WriteFile(filepath.Join(r.Dir, "staged"), []byte("s"), 0o644))
	shell(t, r.Dir, "add", "staged")
	got, err := r.Dirty(t.Context())
	must(t, err)
	slices.SortFunc(got, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	want := []Change{{Status: "M", Path: "changed"}, {Status: "?", Path: "dir/new"}, {Status: "D", Path: "gone"}, {Status: "?", Path: "link"}, {Status: "A", Path: "staged"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("dirty %+v, want %+v", got, want)
	}
}

func TestDiffSeesRenamesAndTrees(t *testing.T) {
	ctx := t.Context()
	long := strings.Repeat("line\n", 40)
	r, first := create(t, map[string]string{"old.txt": long, "b": "1"})
	second := commit(t, r, first, map[string]*string{"old.txt": nil, "new.txt": text(long + "more\n"), "b": nil, "c": text("2")})
	got, err := r.DiffNames(ctx, first, second)
	must(t, err)
	want := []Change{{Status: "D", Path: "b"}, {Status: "A", Path: "c"}, {Status: "R", Path: "new.txt", From: "old.txt"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("changes %+v, want %+v", got, want)
	}
	tree, err := r.TreeOf(ctx, second)
	must(t, err)
	byTree, err := r.Diff(ctx, first, tree)
	must(t, err)
	byCommit, err := r.Diff(ctx, first, second)
	must(t, err)
	if byTree != byCommit || !strings.Contains(byTree, "rename from old.txt") {
		t.Errorf("diff by tree:\n%s", byTree)
	}
}

func TestLogAndHotFiles(t *testing.T) {
	ctx := t.Context()
	r, first := create(t, map[string]string{"a": "0", "b c": "0"})
	second := commit(t, r, first, map[string]*string{"b c": text("1")})
	log, err := r.Log(ctx, second, 5)
	must(t, err)
	want := []Commit{
		{Hash: second, Subject: "Change", Author: "Ada Lovelace", Email: "ada@example.org", Time: author().When, Parents: []string{first}},
		{Hash: first, Subject: "Start", Author: "Ada Lovelace", Email: "ada@example.org", Time: author().When, Parents: []string{}},
	}
	if !reflect.DeepEqual(log, want) {
		t.Errorf("log %+v\nwant %+v", log, want)
	}
	if log, err = r.Log(ctx, second, 1); err != nil || len(log) != 1 {
		t.Errorf("log of one: %v, %v", log, err)
	}
	hot, err := r.HotFiles(ctx, second, 10)
	must(t, err)
	if want := []Churn{{"b c", 2}, {"a", 1}}; !reflect.DeepEqual(hot, want) {
		t.Errorf("hot files %+v, want %+v", hot, want)
	}
}

func TestResolveRefusesOptionsAndRanges(t *testing.T) {
	r, first := create(t, map[string]string{"a": "x"})
	marker := filepath.Join(t.TempDir(), "ran")
	for _, rev := range []string{"", "-h", "--upload-pack=touch " + marker, "--output=" + marker, "^HEAD", "HEAD..HEAD", "HEAD\nHEAD", "a\x00b"} {
		_, err := r.Resolve(t.Context(), rev)
		wantKind(t, err, conclave.ErrInvalid)
		_, err = r.Diff(t.Context(), rev, first)
		wantKind(t, err, conclave.ErrInvalid)
		wantKind(t, r.WorktreeAdd(t.Context(), filepath.Join(t.TempDir(), "w"), rev), conclave.ErrInvalid)
	}
	_, err := r.Resolve(t.Context(), "no-such-branch")
	wantKind(t, err, conclave.ErrNotFound)
	for _, path := range []string{"", "/etc/passwd", "../x", "a/../../x", ".", "a\x00"} {
		_, err := r.Show(t.Context(), first, path)
		wantKind(t, err, conclave.ErrInvalid)
	}
	_, err = r.Show(t.Context(), first, "missing")
	wantKind(t, err, conclave.ErrNotFound)
	wantKind(t, r.WorktreeAdd(t.Context(), "--force", first), conclave.ErrInvalid)
	if _, err := os.Stat(marker); err == nil {
		t.Error("an option was obeyed")
	}
}

func TestCheckRefAgreesWithGit(t *testing.T) {
	for _, ref := range []string{
		"refs/heads/main", "refs/heads/a/b", "refs/heads/-x", "refs/heads/ü", "refs/conclave/run-1", "refs/heads/@", "refs/heads/a@b", "refs/a",
		"refs/heads/", "refs//heads", "refs/heads/.a", "refs/heads/a.lock", "refs/heads/a..b", "refs/heads/a b", "refs/heads/a~1", "refs/heads/a^",
		"refs/heads/a:b", "refs/heads/a?", "refs/heads/a*", "refs/heads/[a", `refs/heads/a\b`, "refs/heads/a@{1}", "refs/heads/a.", "refs/heads/a\x7f",
		"refs/heads/a\tb", "refs/heads/a.lock/b", "refs/heads/a./b", "refs/",
	} {
		gitSays := exec.Command("git", "check-ref-format", ref).Run()
		if err := CheckRef(ref); (err == nil) != (gitSays == nil) {
			t.Errorf("%q: %v, git says %v", ref, err, gitSays)
		}
	}
	wantKind(t, CheckRef("HEAD"), conclave.ErrInvalid)
	wantKind(t, CheckRef("--delete"), conclave.ErrInvalid)
}

func TestCancelledCommand(t *testing.T) {
	r, _ := create(t, map[string]string{"a": "x"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Resolve(ctx, "HEAD")
	wantKind(t, err, context.Canceled)
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err = r.Resolve(ctx, "HEAD")
	wantKind(t, conclave.KindOf(err), conclave.ErrTimeout)
}

func TestOutputIsLimited(t *testing.T) {
	r, first := create(t, map[string]string{"a": strings.Repeat("x", 1000)})
	c := r.command("cat-file", "blob", first+":a")
	c.limit = 999
	_, err := c.run(t.Context())
	wantKind(t, err, conclave.ErrLimited)
	c.limit = 1000
	if out, err := c.run(t.Context()); err != nil || len(out) != 1000 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestErrorsHoldNoCredentials(t *testing.T) {
	r, _ := create(t, map[string]string{"a": "x"})
	_, err := r.git(t.Context(), "ls-remote", "http://ada:s3cret@127.0.0.1:1/x.git")
	if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "ada") {
		t.Errorf("error %v", err)
	}
	if got := clean("fatal: unable to access 'https://tok@en:x@host/p': no"); strings.Contains(got, "tok") || strings.Contains(got, "en:x") {
		t.Errorf("cleaned to %q", got)
	}
}

func TestParentVariablesAreNotPassedOn(t *testing.T) {
	r, first := create(t, map[string]string{"a": "x"})
	t.Setenv("GIT_DIR", "/nonexistent")
	t.Setenv("GIT_INDEX_FILE", "/nonexistent")
	t.Setenv("GIT_OBJECT_DIRECTORY", "/nonexistent")
	if got, err := r.Resolve(t.Context(), "HEAD"); err != nil || got != first {
		t.Errorf("%s, %v", got, err)
	}
}

func TestHooksDoNotRun(t *testing.T) {
	ctx := t.Context()
	r, first := create(t, map[string]string{"a": "x"})
	marker := filepath.Join(t.TempDir(), "ran")
	must(t, os.MkdirAll(filepath.Join(r.GitDir, "hooks"), 0o755))
	for _, hook := range []string{"reference-transaction", "post-checkout", "post-index-change"} {
		must(t, os.WriteFile(filepath.Join(r.GitDir, "hooks", hook), []byte("#!/bin/sh\ntouch "+marker+"\n"), 0o755))
	}
	shell(t, r.Dir, "config", "core.fsmonitor", "touch "+marker)
	shell(t, r.Dir, "update-ref", "refs/heads/proof", first)
	if err := os.Remove(marker); err != nil {
		t.Fatalf("the hook does not run for a user either: %v", err)
	}
	second := commit(t, r, first, map[string]*string{"a": text("y")})
	must(t, r.UpdateRef(ctx, "refs/heads/main", second, first, "test"))
	_, err := r.Dirty(ctx)
	must(t, err)
	if _, err := os.Stat(marker); err == nil {
		t.Error("a hook ran")
	}
}
