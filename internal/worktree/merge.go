package worktree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"conclave"
	"conclave/internal/git"
	"conclave/internal/killpoint"
)

// Merge implements conclave.Worktrees.
func (s *Service) Merge(ctx context.Context, in conclave.MergeWorktree) (conclave.Merge, error) {
	var m conclave.Merge
	if ok, err := s.o.Store.Answer(ctx, "worktree_merge", in.Key, &m); err != nil || ok {
		return m, err
	}
	w, err := s.o.Store.Get(ctx, in.ID)
	if err != nil {
		return m, err
	}
	if w.Head != in.Head || w.Head == w.Base {
		return m, conclave.Errorf(conclave.ErrConflict, "the worktree of %s is at %.12s, not at the approved %.12s", w.Step, w.Head, in.Head)
	}
	repo, err := git.Open(ctx, w.Repo)
	if err != nil {
		return m, err
	}
	defer s.lock(repo.Dir)()
	if w.State != conclave.WorktreeLeased {
		return s.mergedBefore(ctx, repo, w)
	}
	for range 20 { // another process may win the ref; then the merge is made anew on its tip
		m, err = s.mergeOnce(ctx, repo, w, in)
		if err == nil || !errors.Is(err, errMoved) {
			return m, err
		}
	}
	return m, err
}

// mergedBefore answers who asks for a merge that was made already, under another
// key: nothing moves, and the branch is where it is.
func (s *Service) mergedBefore(ctx context.Context, repo *git.Repo, w conclave.Worktree) (conclave.Merge, error) {
	m := conclave.Merge{Lease: w.ID, Ref: Branch(w.Run), Checks: []conclave.Check{}}
	tip, err := repo.Ref(ctx, m.Ref)
	if err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return m, err
	}
	if err == nil {
		if m.Merged, err = repo.IsAncestor(ctx, w.Head, tip); err != nil {
			return m, err
		}
	}
	if !m.Merged {
		return m, conclave.Errorf(conclave.ErrConflict, "the worktree of %s is %s, and %s does not have its %.12s", w.Step, w.State, m.Ref, w.Head)
	}
	m.Old, m.New = tip, tip
	m.Tree, err = repo.TreeOf(ctx, tip)
	return m, err
}

var errMoved = fmt.Errorf("the branch moved meanwhile: %w", conclave.ErrUnavailable)

func (s *Service) mergeOnce(ctx context.Context, repo *git.Repo, w conclave.Worktree, in conclave.MergeWorktree) (conclave.Merge, error) {
	ref := Branch(w.Run)
	old, err := repo.Ref(ctx, ref)
	if err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return conclave.Merge{}, err
	}
	m := conclave.Merge{Lease: w.ID, Ref: ref, Old: old, Checks: []conclave.Check{}}
	tip := old
	if tip == "" {
		tip = w.Base
	}
	var conflicts []git.Conflict
	if m.Tree, conflicts, err = repo.MergeTree(ctx, "", tip, in.Head); err != nil {
		return m, fmt.Errorf("merge %.12s with %.12s: %w", in.Head, tip, err)
	}
	for _, c := range conflicts {
		if !slices.Contains(m.Conflicts, c.Path) {
			m.Conflicts = append(m.Conflicts, c.Path)
		}
	}
	if len(m.Conflicts) > 0 {
		return s.o.Store.Merged(ctx, in, m)
	}
	lost, err := lostFiles(ctx, repo, tip, w, in.Head, m.Tree)
	if err != nil {
		return m, err
	}
	if len(lost) > 0 { // git merged, but not what anybody wanted
		m.Conflicts = lost
		return s.o.Store.Merged(ctx, in, m)
	}
	by := s.signature(committer)
	hash, err := repo.CommitTree(ctx, git.NewCommit{Tree: m.Tree, Parents: []string{tip, in.Head}, Message: in.Message + "\n", Author: by, Committer: by})
	if err != nil {
		return m, fmt.Errorf("commit the merge: %w", err)
	}
	intent := Intent{ID: "merge/" + string(w.ID) + "/" + in.Head, Repo: repo.Dir, Ref: ref, Old: old, New: hash}
	if intent, err = s.o.Store.Intend(ctx, intent); err != nil {
		return m, err
	}
	if done, err := s.happened(ctx, repo, intent); err != nil {
		return m, err
	} else if done {
		m.Old, m.New, m.Merged = intent.Old, intent.New, true
		if m.Tree, err = repo.TreeOf(ctx, m.New); err != nil {
			return m, err
		}
		return s.o.Store.Merged(ctx, in, m)
	}
	if intent.Old != old { // meant for a tip that is no more
		return m, errors.Join(errMoved, s.o.Store.Forget(ctx, intent.ID))
	}
	m.New = intent.New
	if m.Checks, err = s.try(ctx, repo, w, intent.New, m.Tree, in); err != nil {
		return m, err
	}
	if !in.KnownFailing && slices.ContainsFunc(m.Checks, func(c conclave.Check) bool { return !c.Passed && c.Skipped == "" }) {
		m.New = ""
		if err := s.o.Store.Forget(ctx, intent.ID); err != nil {
			return m, err
		}
		return s.o.Store.Merged(ctx, in, m)
	}
	killpoint.At("ref.before")
	if err := repo.UpdateRef(ctx, ref, intent.New, intent.Old, "conclave: merge "+w.Step); err != nil {
		if errors.Is(err, conclave.ErrConflict) {
			return m, errors.Join(errMoved, s.o.Store.Forget(ctx, intent.ID))
		}
		return m, fmt.Errorf("move %s: %w", ref, err)
	}
	killpoint.At("ref.after")
	m.Merged = true
	return s.o.Store.Merged(ctx, in, m)
}

// happened reports whether an intended movement has been made: the ref is at the
// new commit or after it.
func (s *Service) happened(ctx context.Context, repo *git.Repo, i Intent) (bool, error) {
	now, err := repo.Ref(ctx, i.Ref)
	if errors.Is(err, conclave.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if now == i.Old {
		return false, nil
	}
	return repo.IsAncestor(ctx, i.New, now)
}

// lostFiles are files of the tip that the merge drops although the step did not
// remove them.
func lostFiles(ctx context.Context, repo *git.Repo, tip string, w conclave.Worktree, head, merged string) ([]string, error) {
	dropped, err := repo.DiffNames(ctx, tip, merged)
	if err != nil {
		return nil, err
	}
	removed, err := repo.DiffNames(ctx, w.Base, head)
	if err != nil {
		return nil, err
	}
	meant := map[string]bool{}
	for _, c := range removed {
		if c.Status == "D" {
			meant[c.Path] = true
		}
		if c.From != "" {
			meant[c.From] = true
		}
	}
	var lost []string
	for _, c := range dropped {
		gone := c.From
		if c.Status == "D" {
			gone = c.Path
		}
		if gone != "" && !meant[gone] {
			lost = append(lost, gone)
		}
	}
	return lost, nil
}

// try checks the merge out beside everything else and runs its gates.
func (s *Service) try(ctx context.Context, repo *git.Repo, w conclave.Worktree, commit, tree string, in conclave.MergeWorktree) ([]conclave.Check, error) {
	path := w.Path + ".merge"
	remove := func() error {
		err := repo.WorktreeRemove(context.WithoutCancel(ctx), path, true)
		if errors.Is(err, conclave.ErrNotFound) {
			err = nil
		}
		return errors.Join(err, os.RemoveAll(path))
	}
	if err := remove(); err != nil { // left by a crash
		return nil, fmt.Errorf("clear %s: %w", path, err)
	}
	if err := repo.WorktreePrune(ctx); err != nil {
		return nil, err
	}
	if err := repo.WorktreeAdd(ctx, path, commit); err != nil {
		return nil, fmt.Errorf("check the merge out: %w", err)
	}
	checks, err := s.o.Check(ctx, path, tree, in.Build, in.Test)
	return checks, errors.Join(err, remove())
}
