package worktree_test

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

	"conclave"
	"conclave/internal/store"
	"conclave/internal/worktree"
)

const run conclave.RunID = "run-1"

// bench is a service on a real repository and a real store, which can be made to
// crash.
type bench struct {
	*testing.T
	*worktree.Service
	store *crashing
	repo  string
	check func(dir string) []conclave.Check // the gates; nil passes
}

// crashing loses one call, before it has an effect or after, as a process that
// is killed there does.
type crashing struct {
	worktree.Store
	before, after string
}

var errCrash = errors.New("crashed")

func (c *crashing) around(name string, call func() error) error {
	if c.before == name {
		c.before = ""
		return errCrash
	}
	err := call()
	if c.after == name {
		c.after = ""
		return errCrash
	}
	return err
}

func (c *crashing) Lease(ctx context.Context, in conclave.LeaseWorktree, w conclave.Worktree) (out conclave.Worktree, err error) {
	err = c.around("lease", func() error { out, err = c.Store.Lease(ctx, in, w); return err })
	return out, err
}

func (c *crashing) Intend(ctx context.Context, i worktree.Intent) (out worktree.Intent, err error) {
	err = c.around("intend", func() error { out, err = c.Store.Intend(ctx, i); return err })
	return out, err
}

func (c *crashing) Committed(ctx context.Context, in conclave.CommitWorktree, m conclave.Commit) (out conclave.Commit, err error) {
	err = c.around("committed", func() error { out, err = c.Store.Committed(ctx, in, m); return err })
	return out, err
}

func (c *crashing) Merged(ctx context.Context, in conclave.MergeWorktree, m conclave.Merge) (out conclave.Merge, err error) {
	err = c.around("merged", func() error { out, err = c.Store.Merged(ctx, in, m); return err })
	return out, err
}

func (c *crashing) Delivered(ctx context.Context, in conclave.Deliver, m conclave.Merge) (out conclave.Merge, err error) {
	err = c.around("delivered", func() error { out, err = c.Store.Delivered(ctx, in, m); return err })
	return out, err
}

func (c *crashing) Released(ctx context.Context, in conclave.NameWorktree, salvage string) (out conclave.Worktree, err error) {
	err = c.around("released", func() error { out, err = c.Store.Released(ctx, in, salvage); return err })
	return out, err
}

func newBench(t *testing.T, init ...string) *bench {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	db, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db"), Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{T: t, store: &crashing{Store: db.Worktrees()}, repo: filepath.Join(t.TempDir(), "repo")}
	b.Service, err = worktree.New(worktree.Options{Store: b.store, Root: filepath.Join(t.TempDir(), "trees"),
		Check: func(_ context.Context, dir, _ string, _, _ []string) ([]conclave.Check, error) {
			if b.check == nil {
				return []conclave.Check{{Name: "test", Passed: true}}, nil
			}
			return b.check(dir), nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(b.repo, 0o755); err != nil {
		t.Fatal(err)
	}
	b.git(append([]string{"init", "-q", "-b", "main"}, init...)...)
	b.git("config", "user.name", "ada")
	b.git("config", "user.email", "ada@example.com")
	if len(init) == 0 {
		b.commit("a.txt", "one\n")
	}
	return b
}

func (b *bench) git(args ...string) string {
	b.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = b.repo
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (b *bench) write(dir, name, text string) {
	b.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		b.Fatal(err)
	}
}

// commit is the user's own.
func (b *bench) commit(name, text string) string {
	b.Helper()
	b.write(b.repo, name, text)
	b.git("add", "-A")
	b.git("commit", "-q", "-m", "Change "+name)
	return b.git("rev-parse", "HEAD")
}

// elsewhere moves the run's branch as another process would: by a commit that
// changes a file.
func (b *bench) elsewhere(name, text string) string {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "other")
	from := "main"
	if b.branch() != "" {
		from = worktree.Branch(run)
	}
	b.git("worktree", "add", "-q", "--detach", dir, from)
	b.write(dir, name, text)
	b.git("-C", dir, "add", "-A")
	b.git("-C", dir, "commit", "-q", "-m", "Change "+name)
	head := b.git("-C", dir, "rev-parse", "HEAD")
	b.git("worktree", "remove", dir)
	b.git("update-ref", worktree.Branch(run), head)
	return head
}

// branch is the commit of the run's branch, or nothing.
func (b *bench) branch() string {
	return b.git("for-each-ref", "--format=%(objectname)", worktree.Branch(run))
}

func (b *bench) lease(step string, writes ...string) conclave.Worktree {
	b.Helper()
	w, err := b.Lease(b.Context(), b.leasing(step, writes...))
	if err != nil {
		b.Fatal(err)
	}
	return w
}

func (b *bench) leasing(step string, writes ...string) conclave.LeaseWorktree {
	return conclave.LeaseWorktree{Key: "lease " + step, Run: run, Step: step, Repo: b.repo, Base: "main", Writes: writes}
}

func (b *bench) built(step, name, text string) conclave.Commit {
	b.Helper()
	w := b.lease(step, name)
	b.write(w.Path, name, text)
	c, err := b.Commit(b.Context(), conclave.CommitWorktree{Key: "commit " + step, ID: w.ID, Message: "Add " + name + "\n", Author: "developer-1"})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func merging(c conclave.Commit) conclave.MergeWorktree {
	return conclave.MergeWorktree{Key: "merge " + string(c.Lease), ID: c.Lease, Head: c.Hash, Message: "Merge it"}
}

func (b *bench) merged(c conclave.Commit) conclave.Merge {
	b.Helper()
	m, err := b.Merge(b.Context(), merging(c))
	if err != nil || !m.Merged {
		b.Fatalf("merge %+v, %v", m, err)
	}
	return m
}

func (b *bench) is(err, kind error) {
	b.Helper()
	if !errors.Is(err, kind) {
		b.Errorf("error %v, want %v", err, kind)
	}
}

func TestWork(t *testing.T) {
	b := newBench(t)
	base := b.git("rev-parse", "main")
	a := b.lease("a", "a.txt", "new/**")
	if a.Base != base || a.Head != base || a.State != conclave.WorktreeLeased {
		t.Errorf("lease %+v", a)
	}
	if again := b.lease("a", "a.txt", "new/**"); again.ID != a.ID {
		t.Errorf("the same key gave %s after %s", again.ID, a.ID)
	}
	_, err := b.Lease(t.Context(), b.leasing("b", "new/x.txt"))
	b.is(err, conclave.ErrConflict)
	other := b.leasing("b", "a.txt")
	other.Run = "run-2"
	if _, err := b.Lease(t.Context(), other); err != nil {
		t.Errorf("another run is in the way: %v", err)
	}
	_, err = b.Lease(t.Context(), conclave.LeaseWorktree{Run: run, Step: "c", Repo: t.TempDir()})
	b.is(err, conclave.ErrNotFound)

	commit := conclave.CommitWorktree{Key: "c", ID: a.ID, Message: "Change it\n", Author: "developer-1"}
	_, err = b.Commit(t.Context(), commit)
	b.is(err, conclave.ErrInvalid) // nothing was changed
	b.write(a.Path, "b.txt", "mine\n")
	b.write(a.Path, "new/n.txt", "new\n")
	_, err = b.Commit(t.Context(), commit)
	if b.is(err, conclave.ErrInvalid); err == nil || !strings.Contains(err.Error(), "b.txt") {
		t.Errorf("a path outside of the write set: %v", err)
	}
	if err := os.Remove(filepath.Join(a.Path, "b.txt")); err != nil {
		t.Fatal(err)
	}
	c, err := b.Commit(t.Context(), commit)
	if err != nil || c.Parent != base || !reflect.DeepEqual(c.Files, []string{"new/n.txt"}) || !strings.Contains(c.Diff, "+new") {
		t.Fatalf("commit %+v, %v", c, err)
	}
	if by := b.git("log", "-1", "--format=%an %ae %cn", c.Hash); by != "developer-1 developer-1@conclave.invalid conclave" {
		t.Errorf("the commit is by %s", by)
	}

	wrong := merging(c)
	wrong.Head = base
	_, err = b.Merge(t.Context(), wrong)
	b.is(err, conclave.ErrConflict)
	m := b.merged(c)
	if got := b.git("log", "-1", "--format=%P", b.branch()); m.New != b.branch() || got != base+" "+c.Hash {
		t.Errorf("the branch is at %s with the parents %s, want %s with %s %s", b.branch(), got, m.New, base, c.Hash)
	}
	second := b.built("d", "b.txt", "two\n")
	next := b.merged(second)
	if next.Old != m.New || b.git("show", b.branch()+":new/n.txt") != "new" || b.git("show", b.branch()+":b.txt") != "two" {
		t.Errorf("the second merge %+v", next)
	}
	if at, status := b.git("rev-parse", "HEAD"), b.git("status", "--porcelain"); at != base || status != "" {
		t.Errorf("the user's tree is at %s with %q", at, status)
	}
	if list, err := b.List(t.Context(), conclave.ListWorktrees{Run: run, Leased: true}); err != nil || len(list) != 0 {
		t.Errorf("in use: %+v, %v", list, err)
	}
}

func TestMergeRefuses(t *testing.T) {
	t.Run("a conflict", func(t *testing.T) {
		b := newBench(t)
		c := b.built("a", "a.txt", "ours\n")
		tip := b.elsewhere("a.txt", "theirs\n")
		m, err := b.Merge(t.Context(), merging(c))
		if err != nil || m.Merged || !reflect.DeepEqual(m.Conflicts, []string{"a.txt"}) || b.branch() != tip {
			t.Errorf("merge %+v, %v; the branch is at %s", m, err, b.branch())
		}
	})
	t.Run("a merge that moves another's file", func(t *testing.T) {
		b := newBench(t)
		b.git("config", "merge.directoryRenames", "true")
		b.commit("old/one.txt", "1\n2\n3\n")
		w := b.lease("a", "old/**", "new/**")
		if err := os.Rename(filepath.Join(w.Path, "old"), filepath.Join(w.Path, "new")); err != nil {
			t.Fatal(err)
		}
		c, err := b.Commit(t.Context(), conclave.CommitWorktree{ID: w.ID, Message: "Rename\n", Author: "developer-1"})
		if err != nil {
			t.Fatal(err)
		}
		tip := b.elsewhere("old/two.txt", "theirs\n")
		m, err := b.Merge(t.Context(), merging(c))
		if err != nil || m.Merged || !slices.Contains(m.Conflicts, "old/two.txt") || b.branch() != tip {
			t.Errorf("merge %+v, %v; the branch is at %s", m, err, b.branch())
		}
	})
	t.Run("failing tests", func(t *testing.T) {
		b := newBench(t)
		c := b.built("a", "a.txt", "two\n")
		b.check = func(dir string) []conclave.Check {
			if text, err := os.ReadFile(filepath.Join(dir, "a.txt")); err != nil || string(text) != "two\n" {
				t.Errorf("the tests see %q, %v", text, err)
			}
			return []conclave.Check{{Name: "test"}}
		}
		m, err := b.Merge(t.Context(), merging(c))
		if err != nil || m.Merged || m.New != "" || len(m.Checks) != 1 || b.branch() != "" {
			t.Errorf("merge %+v, %v; the branch is at %q", m, err, b.branch())
		}
		known := merging(c)
		known.Key, known.KnownFailing = "again", true
		if m, err := b.Merge(t.Context(), known); err != nil || !m.Merged || m.New != b.branch() {
			t.Errorf("merge %+v, %v", m, err)
		}
		if trees := b.git("worktree", "list"); strings.Contains(trees, ".merge") {
			t.Errorf("left behind:\n%s", trees)
		}
	})
}

// A merge that was made is not made again, whatever the key.
func TestMergeTwice(t *testing.T) {
	b := newBench(t)
	c := b.built("a", "a.txt", "two\n")
	first := b.merged(c)
	again := merging(c)
	again.Key = "another"
	for _, when := range []string{"merged", "released"} {
		if m, err := b.Merge(t.Context(), again); err != nil || !m.Merged || m.New != first.New || m.Tree != first.Tree || b.branch() != first.New {
			t.Errorf("%s: %+v, %v; the branch is at %s, was at %s", when, m, err, b.branch(), first.New)
		}
		if _, err := b.Release(t.Context(), conclave.NameWorktree{ID: c.Lease}); err != nil {
			t.Fatal(err)
		}
	}
	other := b.built("b", "b.txt", "two\n")
	if _, err := b.Release(t.Context(), conclave.NameWorktree{ID: other.Lease}); err != nil {
		t.Fatal(err)
	}
	_, err := b.Merge(t.Context(), merging(other))
	b.is(err, conclave.ErrConflict)
}

func TestMergeAfterAnotherWasFirst(t *testing.T) {
	b := newBench(t)
	c := b.built("a", "a.txt", "two\n")
	var tips []string
	b.check = func(string) []conclave.Check {
		if len(tips) < 2 {
			tips = append(tips, b.elsewhere("theirs.txt", strings.Repeat("x\n", len(tips)+1)))
		}
		return []conclave.Check{{Name: "test", Passed: true}}
	}
	m := b.merged(c)
	if got := b.git("log", "-1", "--format=%P", b.branch()); m.New != b.branch() || m.Old != tips[1] || got != tips[1]+" "+c.Hash {
		t.Errorf("merge %+v with the parents %s, after %s", m, got, tips)
	}
}

// Whatever a process had done when it was killed, asking again with the same key
// finishes it, once.
func TestCrash(t *testing.T) {
	for _, point := range []crashing{{before: "intend"}, {after: "intend"}, {before: "committed"}, {after: "committed"}} {
		t.Run("commit "+point.before+point.after, func(t *testing.T) {
			b := newBench(t)
			w := b.lease("a", "a.txt")
			b.write(w.Path, "a.txt", "two\n")
			in := conclave.CommitWorktree{Key: "c", ID: w.ID, Message: "Change it\n", Author: "developer-1"}
			b.store.before, b.store.after = point.before, point.after
			_, err := b.Commit(t.Context(), in)
			b.is(err, errCrash)
			c, err := b.Commit(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			head := b.git("-C", w.Path, "rev-parse", "HEAD")
			if head != c.Hash || c.Parent != w.Base || b.git("-C", w.Path, "status", "--porcelain") != "" {
				t.Errorf("commit %+v, the worktree is at %s", c, head)
			}
			if again, err := b.Commit(t.Context(), in); err != nil || !reflect.DeepEqual(again, c) {
				t.Errorf("the same key gave %+v, %v", again, err)
			}
		})
	}
	for _, point := range []crashing{{before: "intend"}, {after: "intend"}, {before: "merged"}, {after: "merged"}} {
		t.Run("merge "+point.before+point.after, func(t *testing.T) {
			b := newBench(t)
			c := b.built("a", "a.txt", "two\n")
			b.store.before, b.store.after = point.before, point.after
			_, err := b.Merge(t.Context(), merging(c))
			b.is(err, errCrash)
			m := b.merged(c)
			if got := b.git("rev-list", "--count", "main.."+b.branch()); m.New != b.branch() || got != "2" {
				t.Errorf("merge %+v; the branch is at %s, %s commits on", m, b.branch(), got)
			}
			if again := b.merged(c); !reflect.DeepEqual(again, m) {
				t.Errorf("the same key gave %+v", again)
			}
		})
	}
	t.Run("merge, and another came after it", func(t *testing.T) {
		b := newBench(t)
		c := b.built("a", "a.txt", "two\n")
		b.store.before = "merged"
		_, err := b.Merge(t.Context(), merging(c))
		b.is(err, errCrash)
		done := b.branch()
		tip := b.elsewhere("b.txt", "theirs\n")
		if m := b.merged(c); m.New != done || b.branch() != tip {
			t.Errorf("merge %+v; it was %s, the branch is at %s", m, done, b.branch())
		}
	})
	for _, point := range []crashing{{before: "delivered"}, {after: "delivered"}} {
		t.Run("deliver "+point.before+point.after, func(t *testing.T) {
			b := newBench(t)
			m := b.merged(b.built("a", "a.txt", "two\n"))
			in := conclave.Deliver{Key: "d", Run: run, Repo: b.repo, Into: "main", Head: m.New}
			b.store.before, b.store.after = point.before, point.after
			_, err := b.Deliver(t.Context(), in)
			b.is(err, errCrash)
			if got, err := b.Deliver(t.Context(), in); err != nil || !got.Merged || got.New != m.New || b.git("rev-parse", "main") != m.New {
				t.Errorf("delivery %+v, %v", got, err)
			}
		})
	}
	t.Run("lease", func(t *testing.T) {
		b := newBench(t)
		b.store.after = "lease" // kept, but without a folder
		_, err := b.Lease(t.Context(), b.leasing("a", "a.txt"))
		b.is(err, errCrash)
		if text, err := os.ReadFile(filepath.Join(b.lease("a", "a.txt").Path, "a.txt")); err != nil || string(text) != "one\n" {
			t.Errorf("the worktree has %q, %v", text, err)
		}
	})
	t.Run("release", func(t *testing.T) {
		b := newBench(t)
		w := b.lease("a", "a.txt")
		b.write(w.Path, "a.txt", "precious\n")
		b.store.before = "released"
		_, err := b.Release(t.Context(), conclave.NameWorktree{ID: w.ID})
		b.is(err, errCrash)
		if got, err := b.Release(t.Context(), conclave.NameWorktree{ID: w.ID}); err != nil || got.State != conclave.WorktreeReleased {
			t.Errorf("release %+v, %v", got, err)
		}
		if text := b.git("show", "refs/conclave/salvage/"+string(w.ID)+":a.txt"); text != "precious" {
			t.Errorf("saved %q", text)
		}
	})
}

func TestRelease(t *testing.T) {
	b := newBench(t)
	release := func(id conclave.LeaseID) {
		t.Helper()
		w, err := b.Release(t.Context(), conclave.NameWorktree{ID: id})
		if err != nil || w.State != conclave.WorktreeReleased {
			t.Fatalf("release %+v, %v", w, err)
		}
		if _, err := os.Stat(w.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", w.Path, err)
		}
	}
	salvage := func(id conclave.LeaseID) string {
		return b.git("for-each-ref", "--format=%(objectname)", "refs/conclave/salvage/"+string(id))
	}
	untouched := b.lease("untouched", "u.txt")
	release(untouched.ID)
	merged := b.built("merged", "m.txt", "m\n")
	b.merged(merged)
	release(merged.Lease)
	committed := b.built("committed", "c.txt", "c\n")
	release(committed.Lease)
	dirty := b.built("dirty", "d.txt", "d\n")
	w := b.lease("dirty", "d.txt")
	b.write(w.Path, "outside.txt", "not added\n")
	release(w.ID)
	if got := salvage(untouched.ID) + salvage(merged.Lease); got != "" {
		t.Errorf("saved what was merged or never was: %s", got)
	}
	if got := salvage(committed.Lease); got != committed.Hash {
		t.Errorf("saved %q, want %s", got, committed.Hash)
	}
	ref := "refs/conclave/salvage/" + string(w.ID)
	if b.git("show", ref+":outside.txt") != "not added" || b.git("rev-parse", ref+"^") != dirty.Hash {
		t.Errorf("saved %s", b.git("log", "-2", "--stat", ref))
	}
	b.lease("after", "d.txt") // what was released is free again
}

func TestDeliver(t *testing.T) {
	start := func(t *testing.T) (*bench, conclave.Deliver) {
		b := newBench(t)
		m := b.merged(b.built("a", "a.txt", "two\n"))
		return b, conclave.Deliver{Run: run, Repo: b.repo, Into: "main", Head: m.New}
	}
	read := func(b *bench, name string) string {
		b.Helper()
		text, err := os.ReadFile(filepath.Join(b.repo, name))
		if err != nil {
			b.Error(err)
		}
		return string(text)
	}
	t.Run("fast-forward", func(t *testing.T) {
		b, in := start(t)
		b.write(b.repo, "notes.txt", "the user's own\n") // untracked, and not in the way
		m, err := b.Deliver(t.Context(), in)
		if err != nil || !m.Merged || b.git("rev-parse", "main") != in.Head || read(b, "a.txt") != "two\n" || read(b, "notes.txt") != "the user's own\n" {
			t.Errorf("delivery %+v, %v", m, err)
		}
	})
	t.Run("diverged", func(t *testing.T) {
		b, in := start(t)
		tip := b.commit("b.txt", "theirs\n")
		m, err := b.Deliver(t.Context(), in)
		if err != nil || !m.Merged || b.git("log", "-1", "--format=%P") != tip+" "+in.Head || read(b, "a.txt")+read(b, "b.txt") != "two\ntheirs\n" {
			t.Errorf("delivery %+v, %v", m, err)
		}
	})
	t.Run("diverged, and in conflict", func(t *testing.T) {
		b, in := start(t)
		tip := b.commit("a.txt", "theirs\n")
		_, err := b.Deliver(t.Context(), in)
		b.is(err, conclave.ErrConflict)
		if b.git("rev-parse", "main") != tip || b.git("status", "--porcelain") != "" {
			t.Error("the user's branch was touched")
		}
	})
	t.Run("dirty", func(t *testing.T) {
		b, in := start(t)
		tip := b.git("rev-parse", "main")
		b.write(b.repo, "a.txt", "not committed\n")
		_, err := b.Deliver(t.Context(), in)
		b.is(err, conclave.ErrConflict)
		if b.git("rev-parse", "main") != tip || read(b, "a.txt") != "not committed\n" {
			t.Error("the user's work was touched")
		}
	})
	t.Run("another branch is checked out", func(t *testing.T) {
		b, in := start(t)
		b.git("switch", "-q", "-c", "mine")
		if m, err := b.Deliver(t.Context(), in); err != nil || !m.Merged || b.git("rev-parse", "main") != in.Head || read(b, "a.txt") != "one\n" || b.git("status", "--porcelain") != "" {
			t.Errorf("delivery %+v, %v", m, err)
		}
	})
	t.Run("checked out in another working tree", func(t *testing.T) {
		b, in := start(t)
		b.git("switch", "-q", "-c", "mine")
		other := filepath.Join(t.TempDir(), "other")
		b.git("worktree", "add", "-q", other, "main")
		tip := b.git("rev-parse", "main")
		b.write(other, "a.txt", "not committed\n")
		_, err := b.Deliver(t.Context(), in)
		b.is(err, conclave.ErrConflict)
		if b.git("rev-parse", "main") != tip || !strings.Contains(err.Error(), other) {
			t.Errorf("main is at %s after %v", b.git("rev-parse", "main"), err)
		}
		b.git("-C", other, "checkout", "-q", "a.txt")
		m, err := b.Deliver(t.Context(), in)
		text, readErr := os.ReadFile(filepath.Join(other, "a.txt"))
		if err != nil || readErr != nil || !m.Merged || b.git("rev-parse", "main") != in.Head || string(text) != "two\n" || b.git("-C", other, "status", "--porcelain") != "" {
			t.Errorf("delivery %+v, %v; the file is %q, %v", m, err, text, readErr)
		}
	})
	t.Run("asked in a linked working tree", func(t *testing.T) {
		b, in := start(t)
		in.Repo = filepath.Join(t.TempDir(), "other")
		b.git("worktree", "add", "-q", "-b", "mine", in.Repo)
		if m, err := b.Deliver(t.Context(), in); err != nil || !m.Merged || b.git("rev-parse", "main") != in.Head || read(b, "a.txt") != "two\n" || b.git("status", "--porcelain") != "" {
			t.Errorf("delivery %+v, %v", m, err)
		}
	})
	t.Run("unborn branch", func(t *testing.T) {
		b := newBench(t, "--initial-branch=main")
		w, err := b.Lease(t.Context(), conclave.LeaseWorktree{Run: run, Step: "a", Repo: b.repo, Writes: []string{"a.txt"}})
		if err != nil {
			t.Fatal(err)
		}
		b.write(w.Path, "a.txt", "first\n")
		c, err := b.Commit(t.Context(), conclave.CommitWorktree{ID: w.ID, Message: "Begin\n", Author: "developer-1"})
		if err != nil {
			t.Fatal(err)
		}
		head := b.merged(c).New
		if m, err := b.Deliver(t.Context(), conclave.Deliver{Run: run, Repo: b.repo, Into: "main", Head: head}); err != nil || !m.Merged || read(b, "a.txt") != "first\n" {
			t.Errorf("delivery %+v, %v", m, err)
		}
	})
	t.Run("bare", func(t *testing.T) {
		b, in := start(t)
		bare := filepath.Join(t.TempDir(), "bare.git")
		b.git("clone", "-q", "--mirror", b.repo, bare)
		in.Repo = bare
		m, err := b.Deliver(t.Context(), in)
		if err != nil || !m.Merged || b.git("-C", bare, "rev-parse", "main") != in.Head || b.git("rev-parse", "main") == in.Head {
			t.Errorf("delivery %+v, %v", m, err)
		}
	})
}
