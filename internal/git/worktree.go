package git

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"conclave"
)

// A Worktree is a working tree of a repository.
type Worktree struct {
	Path      string
	Commit    string // empty when it has none
	Ref       string // empty when HEAD is detached
	Bare      bool   // the repository itself, without a working tree
	Locked    bool
	Prunable  bool // its directory is gone
	LockCause string
}

// WorktreeAdd checks commit out, detached, in a new working tree at path. It
// fails with ErrConflict when path exists and is not an empty directory.
func (r *Repo) WorktreeAdd(ctx context.Context, path, commit string) error {
	if err := checkDir(path); err != nil {
		return err
	}
	hash, err := r.Resolve(ctx, commit)
	if err != nil {
		return err
	}
	_, err = r.git(ctx, "worktree", "add", "--detach", "--quiet", "--", path, hash)
	if says(err, "already exists") || says(err, "already registered") || says(err, "already used") {
		return conclave.Errorf(conclave.ErrConflict, "%w", err)
	}
	return err
}

// WorktreeRemove deletes the working tree at path. It fails with ErrConflict
// when it holds changes, unless force is set, or when it is locked, and with
// ErrNotFound when there is none.
func (r *Repo) WorktreeRemove(ctx context.Context, path string, force bool) error {
	if err := checkDir(path); err != nil {
		return err
	}
	args := []string{"worktree", "remove"}
	if force {
		args = append(args, "--force")
	}
	_, err := r.git(ctx, append(args, "--", path)...)
	switch {
	case says(err, "is not a working tree"):
		return conclave.Errorf(conclave.ErrNotFound, "%w", err)
	case says(err, "modified or untracked files"), says(err, "locked working tree"), says(err, "is a main working tree"):
		return conclave.Errorf(conclave.ErrConflict, "%w", err)
	}
	return err
}

// WorktreeList lists the working trees, the main one first.
func (r *Repo) WorktreeList(ctx context.Context) ([]Worktree, error) {
	out, err := r.git(ctx, "worktree", "list", "--porcelain", "-z")
	if err != nil {
		return nil, err
	}
	var trees []Worktree
	for _, attribute := range fields(out) {
		name, value, _ := strings.Cut(attribute, " ")
		if name == "worktree" {
			trees = append(trees, Worktree{Path: value})
			continue
		}
		if len(trees) == 0 {
			return nil, conclave.Errorf(conclave.ErrInternal, "git worktree list: unknown field %q", attribute)
		}
		switch last := &trees[len(trees)-1]; name {
		case "HEAD":
			if strings.Trim(value, "0") != "" {
				last.Commit = value
			}
		case "branch":
			last.Ref = value
		case "bare":
			last.Bare = true
		case "locked":
			last.Locked, last.LockCause = true, value
		case "prunable":
			last.Prunable = true
		}
	}
	return trees, nil
}

// WorktreePrune forgets the working trees whose directories are gone.
func (r *Repo) WorktreePrune(ctx context.Context) error {
	_, err := r.git(ctx, "worktree", "prune")
	return err
}

// checkDir checks for a clean absolute path.
func checkDir(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsAny(path, "\x00\n") {
		return conclave.Errorf(conclave.ErrInvalid, "%q is not a clean absolute path", path)
	}
	return nil
}

// WriteTree records all files of the working tree that are not ignored, and
// returns the tree. The index stays as it is. It fails with ErrInvalid in a bare
// repository and when a repository lies within the working tree, whose files
// would be lost, and with ErrConflict while a merge is unfinished.
func (r *Repo) WriteTree(ctx context.Context) (string, error) {
	if r.bare {
		return "", conclave.Errorf(conclave.ErrInvalid, "%s has no working tree", r.Dir)
	}
	unmerged, err := r.git(ctx, "ls-files", "--unmerged", "-z")
	if err != nil {
		return "", err
	}
	if len(unmerged) > 0 {
		return "", conclave.Errorf(conclave.ErrConflict, "%s holds an unfinished merge", r.Dir)
	}
	index, clean, err := r.copyIndex(ctx)
	if err != nil {
		return "", err
	}
	defer clean()
	withIndex := func(args ...string) ([]byte, error) {
		c := r.command(args...)
		c.env = append(c.env, "GIT_INDEX_FILE="+index)
		return c.run(ctx)
	}
	before, err := withIndex("ls-files", "--stage", "-z")
	if err != nil {
		return "", err
	}
	if _, err := withIndex("add", "--all", "--", "."); err != nil {
		return "", err
	}
	after, err := withIndex("ls-files", "--stage", "-z")
	if err != nil {
		return "", err
	}
	known := gitlinks(before)
	for path := range gitlinks(after) {
		if !known[path] {
			return "", conclave.Errorf(conclave.ErrInvalid, "%s holds a git repository of its own, whose files would not be recorded", path)
		}
	}
	out, err := withIndex("write-tree")
	return strings.TrimSuffix(string(out), "\n"), err
}

// gitlinks returns the paths that stand for other repositories.
func gitlinks(stage []byte) map[string]bool {
	links := map[string]bool{}
	for _, entry := range fields(stage) {
		about, path, _ := strings.Cut(entry, "\t")
		if strings.HasPrefix(about, "160000 ") {
			links[path] = true
		}
	}
	return links
}

// copyIndex copies the index to a temporary file. It starts from a copy so that
// git need not read what has not changed, and keeps what was added by force.
func (r *Repo) copyIndex(ctx context.Context) (path string, clean func(), err error) {
	dir, err := os.MkdirTemp("", "git-index-")
	if err != nil {
		return "", nil, conclave.Errorf(conclave.ErrUnavailable, "copying the index: %w", err)
	}
	clean = func() { _ = os.RemoveAll(dir) } // what stays is a copy
	path = filepath.Join(dir, "index")
	if err := r.copyIndexTo(ctx, path); err != nil {
		clean()
		return "", nil, err
	}
	return path, clean, nil
}

func (r *Repo) copyIndexTo(ctx context.Context, path string) error {
	name, err := r.line(ctx, "rev-parse", "--path-format=absolute", "--git-path", "index")
	if err != nil {
		return err
	}
	source, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // nothing was ever added
	} else if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "copying the index: %w", err)
	}
	defer source.Close()
	target, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "copying the index: %w", err)
	}
	_, copyErr := io.Copy(target, source)
	if err := errors.Join(copyErr, target.Close(), sameTime(path, source)); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "copying the index: %w", err)
	}
	return nil
}

// sameTime gives a copy of an index the time of its source. From it git knows
// which files may have changed after the index was written without a visible
// change of their size or second, and reads those again.
func sameTime(path string, source *os.File) error {
	info, err := source.Stat()
	if err != nil {
		return err
	}
	return os.Chtimes(path, info.ModTime(), info.ModTime())
}
