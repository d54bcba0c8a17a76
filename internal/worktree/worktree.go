// Package worktree leases isolated git worktrees to steps and merges their work
// onto one branch, one merge at a time for each repository.
//
// Worktrees lie under the data directory and are detached; the only refs that
// are written are refs/heads/conclave/RUN, refs/conclave/salvage/LEASE, and,
// after the user's approval, their own branch. Before a ref moves, what is about
// to happen is written down (old, new, and the finished commit with its dates),
// so that after a crash the same commit is used: the ref at or after the new
// commit means it was done, at the old one that it is to be done.
package worktree

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/internal/git"
	"conclave/internal/killpoint"
)

// Intent is a movement of a ref that is about to happen.
type Intent struct {
	ID   string // the operation's key
	Repo string
	Ref  string
	Old  string // empty when the ref does not exist
	New  string
}

// Store keeps leases and intents.
type Store interface {
	// Lease keeps a lease once for each key. ErrConflict when an open lease of the
	// run overlaps with its write set.
	Lease(ctx context.Context, in conclave.LeaseWorktree, w conclave.Worktree) (conclave.Worktree, error)
	// Get returns a lease. ErrNotFound.
	Get(ctx context.Context, id conclave.LeaseID) (conclave.Worktree, error)
	// List returns leases, newest first.
	List(ctx context.Context, in conclave.ListWorktrees) ([]conclave.Worktree, error)
	// Intend writes an intent down. When there is one with its id, that one is
	// returned, so that a second try does what the first one meant to.
	Intend(ctx context.Context, i Intent) (Intent, error)
	// Forget removes an intent whose ref has gone elsewhere.
	Forget(ctx context.Context, id string) error
	// Committed keeps a commit and the lease's new head.
	Committed(ctx context.Context, in conclave.CommitWorktree, c conclave.Commit) (conclave.Commit, error)
	// Merged keeps the outcome of a merge.
	Merged(ctx context.Context, in conclave.MergeWorktree, m conclave.Merge) (conclave.Merge, error)
	// Delivered keeps the outcome of a delivery.
	Delivered(ctx context.Context, in conclave.Deliver, m conclave.Merge) (conclave.Merge, error)
	// Released closes a lease.
	Released(ctx context.Context, in conclave.NameWorktree, salvage string) (conclave.Worktree, error)
	// Answer fills out with the kept answer to an operation's key; ok is false when there is none.
	Answer(ctx context.Context, operation, key string, out any) (ok bool, err error)
}

// Check runs a tree's gates.
type Check func(ctx context.Context, dir, tree string, build, test []string) ([]conclave.Check, error)

// Options say what a Service works with.
type Options struct {
	Store  Store
	Root   string // folder of the worktrees
	Check  Check
	Now    conclave.Clock
	Logger *slog.Logger // nil discards
}

// Service implements conclave.Worktrees.
type Service struct {
	o   Options
	log *slog.Logger

	mu    sync.Mutex
	repos map[string]*sync.Mutex // one merge at a time
}

// New returns a service. ErrUnavailable when its folder can't be made.
func New(o Options) (*Service, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(o.Root, 0o700); err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "make the folder of the worktrees: %w", err)
	}
	return &Service{o: o, log: o.Logger, repos: map[string]*sync.Mutex{}}, nil
}

// Branch is the ref of a run's branch.
func Branch(run conclave.RunID) string { return "refs/heads/conclave/" + string(run) }

func (s *Service) lock(repo string) func() {
	s.mu.Lock()
	m := s.repos[repo]
	if m == nil {
		m = &sync.Mutex{}
		s.repos[repo] = m
	}
	s.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// signature is who a commit is by. The address can't be anybody's.
func (s *Service) signature(name string) git.Signature {
	return git.Signature{Name: name, Email: name + "@conclave.invalid", When: s.o.Now().UTC().Truncate(time.Second)}
}

const committer = "conclave"

// Lease implements conclave.Worktrees.
func (s *Service) Lease(ctx context.Context, in conclave.LeaseWorktree) (conclave.Worktree, error) {
	if in.Run == "" || in.Step == "" {
		return conclave.Worktree{}, conclave.Errorf(conclave.ErrInvalid, "a lease needs a run and a step")
	}
	repo, err := git.Open(ctx, in.Repo)
	if err != nil {
		return conclave.Worktree{}, err
	}
	base, err := s.tip(ctx, repo, in.Run, in.Base)
	if err != nil {
		return conclave.Worktree{}, err
	}
	id := conclave.LeaseID(conclave.NewID("lease"))
	w, err := s.o.Store.Lease(ctx, in, conclave.Worktree{ID: id, Run: in.Run, Step: in.Step, Repo: repo.Dir,
		Path: filepath.Join(s.o.Root, string(in.Run), in.Step+"-"+string(id)), Base: base, Head: base, Writes: in.Writes, State: conclave.WorktreeLeased})
	if err != nil || w.State != conclave.WorktreeLeased {
		return w, err
	}
	// Made here, or, when a crash came between, on the second call.
	if _, err := repo.Linked(w.Path); err == nil {
		if _, err := os.Stat(filepath.Join(w.Path, ".git")); err == nil {
			return w, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(w.Path), 0o700); err != nil {
		return w, conclave.Errorf(conclave.ErrUnavailable, "make the worktree's folder: %w", err)
	}
	defer s.lock(repo.Dir)()
	if err := repo.WorktreePrune(ctx); err != nil {
		return w, fmt.Errorf("prune worktrees: %w", err)
	}
	if err := os.RemoveAll(w.Path); err != nil { // half of a checkout
		return w, conclave.Errorf(conclave.ErrUnavailable, "clear %s: %w", w.Path, err)
	}
	if err := repo.WorktreeAdd(ctx, w.Path, w.Head); err != nil {
		return w, fmt.Errorf("make a worktree for %s: %w", in.Step, err)
	}
	return w, nil
}

// tip is the newest commit of the run's branch, or what the run starts from. An
// empty repository starts from a commit of nothing.
func (s *Service) tip(ctx context.Context, repo *git.Repo, run conclave.RunID, base string) (string, error) {
	tip, err := repo.Ref(ctx, Branch(run))
	if err == nil {
		return tip, nil
	}
	if !errors.Is(err, conclave.ErrNotFound) {
		return "", fmt.Errorf("read the run's branch: %w", err)
	}
	if base != "" {
		return repo.Resolve(ctx, base)
	}
	root := s.signature(committer)
	root.When = time.Unix(0, 0).UTC() // the same commit whenever it is made
	return repo.CommitTree(ctx, git.NewCommit{Tree: emptyTree, Message: "Start from an empty repository\n", Author: root, Committer: root})
}

// emptyTree is git's name for the tree without entries.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// open returns a lease with its repository and its working tree.
func (s *Service) open(ctx context.Context, id conclave.LeaseID) (conclave.Worktree, *git.Repo, *git.Repo, error) {
	w, err := s.o.Store.Get(ctx, id)
	if err != nil {
		return w, nil, nil, err
	}
	repo, err := git.Open(ctx, w.Repo)
	if err != nil {
		return w, nil, nil, err
	}
	tree, err := repo.Linked(w.Path)
	return w, repo, tree, err
}

// Commit implements conclave.Worktrees.
func (s *Service) Commit(ctx context.Context, in conclave.CommitWorktree) (conclave.Commit, error) {
	var c conclave.Commit
	if ok, err := s.o.Store.Answer(ctx, "worktree_commit", in.Key, &c); err != nil || ok {
		return c, err
	}
	w, repo, tree, err := s.open(ctx, in.ID)
	if err != nil {
		return c, err
	}
	if w.State != conclave.WorktreeLeased {
		return c, conclave.Errorf(conclave.ErrConflict, "worktree %s is %s", w.ID, w.State)
	}
	written, err := tree.WriteTree(ctx)
	if err != nil {
		return c, fmt.Errorf("record the files of %s: %w", w.Path, err)
	}
	changed, err := repo.DiffNames(ctx, w.Head, written)
	if err != nil {
		return c, err
	}
	if len(changed) == 0 {
		return c, conclave.Errorf(conclave.ErrInvalid, "nothing was changed in %s", w.Path)
	}
	var outside []string
	for _, ch := range changed {
		for _, p := range []string{ch.Path, ch.From} {
			if p != "" && !conclave.WritesAllow(w.Writes, p) {
				outside = append(outside, p)
			}
		}
	}
	if len(outside) > 0 {
		return c, conclave.Errorf(conclave.ErrInvalid, "step %s changed %s, which its write set (%s) does not allow", w.Step, strings.Join(outside, ", "), strings.Join(w.Writes, ", "))
	}
	author := s.signature(string(in.Author))
	by := author
	by.Name, by.Email = committer, committer+"@conclave.invalid"
	hash, err := repo.CommitTree(ctx, git.NewCommit{Tree: written, Parents: []string{w.Head}, Message: in.Message, Author: author, Committer: by})
	if err != nil {
		return c, fmt.Errorf("commit: %w", err)
	}
	intent := Intent{ID: "commit/" + string(in.ID) + "/" + in.Key, Repo: repo.Dir, Ref: "HEAD of " + w.Path, Old: w.Head, New: hash}
	if in.Key != "" {
		if intent, err = s.o.Store.Intend(ctx, intent); err != nil {
			return c, err
		}
	}
	killpoint.At("checkout.before")
	if err := tree.ResetHard(ctx, intent.New); err != nil {
		return c, fmt.Errorf("check the commit out: %w", err)
	}
	killpoint.At("checkout.after")
	c = conclave.Commit{Lease: w.ID, Hash: intent.New, Parent: w.Head, Files: []string{}}
	if c.Tree, err = repo.TreeOf(ctx, intent.New); err != nil {
		return c, err
	}
	all, err := repo.DiffNames(ctx, w.Base, intent.New)
	if err != nil {
		return c, err
	}
	for _, ch := range all {
		c.Files = append(c.Files, ch.Path)
	}
	diff, err := repo.Diff(ctx, w.Base, intent.New)
	if err != nil {
		return c, err
	}
	c.Diff = diff
	if len(diff) > maxDiff {
		c.Diff = diff[:maxDiff] + fmt.Sprintf("\n… %d bytes left out\n", len(diff)-maxDiff)
	}
	return s.o.Store.Committed(ctx, in, c)
}

const maxDiff = 200 << 10

// Release implements conclave.Worktrees.
func (s *Service) Release(ctx context.Context, in conclave.NameWorktree) (conclave.Worktree, error) {
	w, err := s.o.Store.Get(ctx, in.ID)
	if err != nil || w.State == conclave.WorktreeReleased {
		return w, err
	}
	repo, err := git.Open(ctx, w.Repo)
	if err != nil {
		return w, err
	}
	salvage, err := s.salvage(ctx, repo, w)
	if err != nil {
		return w, fmt.Errorf("save what was not merged: %w", err)
	}
	defer s.lock(repo.Dir)()
	if err := repo.WorktreeRemove(ctx, w.Path, true); err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return w, fmt.Errorf("remove %s: %w", w.Path, err)
	}
	if err := os.RemoveAll(w.Path); err != nil {
		return w, conclave.Errorf(conclave.ErrUnavailable, "remove %s: %w", w.Path, err)
	}
	if err := repo.WorktreePrune(ctx); err != nil {
		return w, err
	}
	_ = os.Remove(filepath.Dir(w.Path)) // the run's folder, once it is empty
	killpoint.At("release.before")
	w, err = s.o.Store.Released(ctx, in, salvage)
	killpoint.At("release.after")
	return w, err
}

// salvage saves to a ref what the run's branch does not have: commits, and
// changes that were not committed. It returns the ref, or nothing.
func (s *Service) salvage(ctx context.Context, repo *git.Repo, w conclave.Worktree) (string, error) {
	head := w.Head
	tree, err := repo.Linked(w.Path)
	if err == nil {
		written, err := tree.WriteTree(ctx)
		if err != nil {
			return "", err
		}
		had, err := repo.TreeOf(ctx, head)
		if err != nil {
			return "", err
		}
		if written != had {
			by := s.signature(committer)
			if head, err = repo.CommitTree(ctx, git.NewCommit{Tree: written, Parents: []string{head}, Message: "Save what was not committed\n", Author: by, Committer: by}); err != nil {
				return "", err
			}
		}
	} else if !errors.Is(err, conclave.ErrNotFound) {
		return "", err
	}
	if head == w.Base {
		return "", nil
	}
	tip, err := repo.Ref(ctx, Branch(w.Run))
	if err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return "", err
	}
	if err == nil {
		if merged, err := repo.IsAncestor(ctx, head, tip); err != nil || merged {
			return "", err
		}
	}
	ref := "refs/conclave/salvage/" + string(w.ID)
	old, err := repo.Ref(ctx, ref)
	if err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return "", err
	}
	if old == head {
		return ref, nil
	}
	return ref, repo.UpdateRef(ctx, ref, head, old, "conclave: salvage "+w.Step)
}

// Deliver implements conclave.Worktrees.
func (s *Service) Deliver(ctx context.Context, in conclave.Deliver) (conclave.Merge, error) {
	var m conclave.Merge
	if ok, err := s.o.Store.Answer(ctx, "branch_deliver", in.Key, &m); err != nil || ok {
		return m, err
	}
	repo, err := git.Open(ctx, in.Repo)
	if err != nil {
		return m, err
	}
	defer s.lock(repo.Dir)()
	ref := "refs/heads/" + in.Into
	m = conclave.Merge{Ref: ref, New: in.Head, Checks: []conclave.Check{}}
	if m.Old, err = repo.Ref(ctx, ref); err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return m, err
	}
	if m.Old != "" {
		if done, err := repo.IsAncestor(ctx, in.Head, m.Old); err != nil {
			return m, err
		} else if done { // by us before a crash, or by the user
			m.Merged, m.New = true, m.Old
			return s.o.Store.Delivered(ctx, in, m)
		}
		ahead, err := repo.IsAncestor(ctx, m.Old, in.Head)
		if err != nil {
			return m, err
		}
		if !ahead {
			if m.New, err = s.join(ctx, repo, m.Old, in); err != nil {
				return m, err
			}
		}
	}
	checkedOut, err := whereCheckedOut(ctx, repo, ref)
	if err != nil {
		return m, err
	}
	killpoint.At("land.before")
	if checkedOut != nil {
		if err := checkedOut.FastForward(ctx, m.New); err != nil {
			return m, fmt.Errorf("move %s, which is checked out at %s: %w", in.Into, checkedOut.Dir, err)
		}
	} else if err := repo.UpdateRef(ctx, ref, m.New, m.Old, "conclave: deliver "+string(in.Run)); err != nil {
		return m, fmt.Errorf("move %s: %w", in.Into, err)
	}
	killpoint.At("land.after")
	m.Merged = true
	return s.o.Store.Delivered(ctx, in, m)
}

// whereCheckedOut returns the working tree whose files follow a branch, or nil.
// Moving the branch under it would make the user's files look changed.
func whereCheckedOut(ctx context.Context, repo *git.Repo, ref string) (*git.Repo, error) {
	trees, err := repo.WorktreeList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the working trees: %w", err)
	}
	for i, t := range trees {
		switch {
		case t.Ref != ref || t.Bare || t.Prunable:
			continue
		case t.Path == repo.Dir:
			return repo, nil
		case i == 0: // the main one
			return git.Open(ctx, t.Path)
		}
		return repo.Linked(t.Path)
	}
	return nil, nil
}

// join merges a run's head with a branch that has moved since the run began.
func (s *Service) join(ctx context.Context, repo *git.Repo, tip string, in conclave.Deliver) (string, error) {
	tree, conflicts, err := repo.MergeTree(ctx, "", tip, in.Head)
	if err != nil {
		return "", err
	}
	if len(conflicts) > 0 {
		var paths []string
		for _, c := range conflicts {
			paths = append(paths, c.Path)
		}
		return "", conclave.Errorf(conclave.ErrConflict, "%s has moved and conflicts in %s; merge conclave/%s by hand", in.Into, strings.Join(paths, ", "), in.Run)
	}
	by := s.signature(committer)
	return repo.CommitTree(ctx, git.NewCommit{Tree: tree, Parents: []string{tip, in.Head}, Message: "Merge conclave/" + string(in.Run) + "\n", Author: by, Committer: by})
}

// List implements conclave.Worktrees.
func (s *Service) List(ctx context.Context, in conclave.ListWorktrees) ([]conclave.Worktree, error) {
	return s.o.Store.List(ctx, in)
}
