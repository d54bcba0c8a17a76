package git

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"conclave"
)

// Repo is a repository, seen from one of its working trees. It holds no state
// that changes, and is safe for concurrent use.
type Repo struct {
	// Dir is the top of the working tree, or the git directory of a bare
	// repository.
	Dir string
	// GitDir is the git directory of this working tree, and CommonDir what all
	// working trees of the repository share.
	GitDir, CommonDir string

	bare bool
}

// Open finds the repository that holds dir. It fails with ErrNotFound when dir
// does not exist or is in no repository, ErrDenied when the repository belongs
// to another user, ErrInvalid when dir is inside a .git directory,
// ErrUnavailable when git is not installed, ErrUnsupported when it is too old.
func Open(ctx context.Context, dir string) (*Repo, error) {
	if _, err := Version(ctx); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "opening repository: %w", err)
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, conclave.Errorf(conclave.ErrNotFound, "opening repository: %w", err)
	} else if !info.IsDir() {
		return nil, conclave.Errorf(conclave.ErrInvalid, "opening repository: %s is not a directory", dir)
	}
	out, err := command{dir: dir, args: []string{"rev-parse", "--path-format=absolute",
		"--is-bare-repository", "--is-inside-work-tree", "--git-dir", "--git-common-dir"}}.run(ctx)
	switch {
	case says(err, "dubious ownership"):
		return nil, conclave.Errorf(conclave.ErrDenied,
			"the repository at %s belongs to another user; if you trust it: git config --global --add safe.directory %q", dir, dir)
	case says(err, "not a git repository"):
		return nil, conclave.Errorf(conclave.ErrNotFound, "%s is not in a git repository", dir)
	case err != nil:
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != 4 {
		return nil, conclave.Errorf(conclave.ErrUnsupported, "the path of the repository at %q holds a line break", dir)
	}
	r := &Repo{Dir: lines[2], GitDir: lines[2], CommonDir: lines[3], bare: lines[0] == "true"}
	if r.bare {
		return r, nil
	}
	if lines[1] != "true" {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s is inside a .git directory", dir)
	}
	top, err := command{dir: dir, args: []string{"rev-parse", "--path-format=absolute", "--show-toplevel"}}.run(ctx)
	if err != nil {
		return nil, err
	}
	r.Dir = strings.TrimSuffix(string(top), "\n")
	return r, nil
}

// git runs a command in the repository that Open found, whatever lies in its
// directory by now.
func (r *Repo) git(ctx context.Context, args ...string) ([]byte, error) {
	return r.command(args...).run(ctx)
}

func (r *Repo) command(args ...string) command {
	env := []string{"GIT_DIR=" + r.GitDir}
	if !r.bare {
		env = append(env, "GIT_WORK_TREE="+r.Dir)
	}
	return command{dir: r.Dir, env: env, args: args}
}

// line runs a command that prints one line.
func (r *Repo) line(ctx context.Context, args ...string) (string, error) {
	out, err := r.git(ctx, args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

// fields splits output whose every field ends with NUL.
func fields(out []byte) []string {
	text := strings.TrimSuffix(string(out), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// Head says where HEAD points.
type Head struct {
	Commit string // empty in a repository without commits
	Ref    string // such as refs/heads/main; empty when HEAD is detached
}

// Branch is the short name of the branch, or "" when HEAD is detached.
func (h Head) Branch() string { return strings.TrimPrefix(h.Ref, "refs/heads/") }

// Detached says whether HEAD names a commit and not a branch.
func (h Head) Detached() bool { return h.Ref == "" }

// Unborn says whether HEAD's branch has no commit yet.
func (h Head) Unborn() bool { return h.Commit == "" }

// Head reads HEAD.
func (r *Repo) Head(ctx context.Context) (Head, error) {
	ref, err := r.line(ctx, "symbolic-ref", "--quiet", "HEAD")
	if err != nil && !exited(err, 1) {
		return Head{}, err
	}
	commit, err := r.line(ctx, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
	if err != nil && (!exited(err, 1) || ref == "") {
		return Head{}, err
	}
	return Head{Commit: commit, Ref: ref}, nil
}

// IsEmpty says whether HEAD has no commit yet.
func (r *Repo) IsEmpty(ctx context.Context) (bool, error) {
	head, err := r.Head(ctx)
	return head.Unborn(), err
}

// IsBare says whether the repository has no working tree.
func (r *Repo) IsBare() bool { return r.bare }

// IsShallow says whether the history was cut when the repository was cloned.
func (r *Repo) IsShallow(ctx context.Context) (bool, error) {
	out, err := r.line(ctx, "rev-parse", "--is-shallow-repository")
	return out == "true", err
}

// Resolve returns the full name of the commit that rev names. It fails with
// ErrNotFound when there is none, with ErrInvalid when rev cannot be a revision.
func (r *Repo) Resolve(ctx context.Context, rev string) (string, error) {
	return r.resolve(ctx, rev, "commit")
}

// TreeOf returns the full name of the tree of a commit, or of a tree.
func (r *Repo) TreeOf(ctx context.Context, rev string) (string, error) {
	return r.resolve(ctx, rev, "tree")
}

func (r *Repo) resolve(ctx context.Context, rev, kind string) (string, error) {
	if err := checkRevision(rev); err != nil {
		return "", err
	}
	hash, err := r.line(ctx, "rev-parse", "--quiet", "--verify", "--end-of-options", rev+"^{"+kind+"}")
	var f *failure
	if errors.As(err, &f) {
		return "", conclave.Errorf(conclave.ErrNotFound, "there is no %s %q in %s", kind, rev, r.Dir)
	}
	return hash, err
}

// A Change is a path that differs.
type Change struct {
	// Status is git's letter: A added, M modified, D deleted, R renamed,
	// T type changed, U unmerged, ? untracked.
	Status string
	Path   string
	From   string // the old path of a rename
}

// Dirty lists what differs from HEAD in the working tree or the index,
// untracked files too. It fails with ErrInvalid in a bare repository.
func (r *Repo) Dirty(ctx context.Context) ([]Change, error) {
	if r.bare {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s has no working tree", r.Dir)
	}
	out, err := r.git(ctx, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=none")
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, f := range fields(out) {
		state, path := f[:2], f[3:]
		status := strings.Trim(state, " ")[:1]
		if slices.Contains([]string{"DD", "AU", "UD", "UA", "DU", "AA", "UU"}, state) {
			status = "U"
		}
		changes = append(changes, Change{Status: status, Path: path})
	}
	return changes, nil
}
