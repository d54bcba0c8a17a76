package git

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"conclave"
)

// Linked opens the working tree at path, which WorktreeAdd made. What the .git
// file in it says is not read, because whoever writes in the working tree can
// change it: the repository's own record says where its git directory is. It
// fails with ErrNotFound when the repository has no such working tree.
func (r *Repo) Linked(path string) (*Repo, error) {
	if err := checkDir(path); err != nil {
		return nil, err
	}
	records, err := filepath.Glob(filepath.Join(r.CommonDir, "worktrees", "*", "gitdir"))
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInternal, "list working trees: %w", err)
	}
	for _, record := range records {
		text, err := os.ReadFile(record)
		if err != nil {
			continue // pruned meanwhile
		}
		if filepath.Clean(strings.TrimSpace(string(text))) == filepath.Join(path, ".git") {
			return &Repo{Dir: path, GitDir: filepath.Dir(record), CommonDir: r.CommonDir}, nil
		}
	}
	return nil, conclave.Errorf(conclave.ErrNotFound, "%s has no working tree at %s", r.Dir, path)
}

// ResetHard moves a detached HEAD to commit, and makes the files of the working
// tree those of commit: other files that are not ignored are removed.
func (r *Repo) ResetHard(ctx context.Context, commit string) error {
	hash, err := r.Resolve(ctx, commit)
	if err != nil {
		return err
	}
	head, err := r.Head(ctx)
	if err != nil {
		return err
	}
	if !head.Detached() {
		return conclave.Errorf(conclave.ErrInvalid, "%s is on the branch %s; only a detached HEAD is reset", r.Dir, head.Branch())
	}
	if _, err := r.git(ctx, "reset", "--hard", "--quiet", hash, "--"); err != nil {
		return err
	}
	_, err = r.git(ctx, "clean", "-ffdq")
	return err
}

// FastForward moves the checked-out branch, its index and its files to commit.
// It fails with ErrConflict when commit does not follow HEAD, or when changed or
// untracked files are in the way; then nothing has moved.
func (r *Repo) FastForward(ctx context.Context, commit string) error {
	hash, err := r.Resolve(ctx, commit)
	if err != nil {
		return err
	}
	_, err = r.git(ctx, "merge", "--ff-only", "--quiet", "--no-verify", hash)
	for _, reason := range []string{"Not possible to fast-forward", "would be overwritten", "not possible because you have unmerged", "have not concluded your merge", "refusing to lose"} {
		if says(err, reason) {
			return conclave.Errorf(conclave.ErrConflict, "%w", err)
		}
	}
	return err
}
