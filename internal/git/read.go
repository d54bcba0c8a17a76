package git

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
)

// A File is an entry of a tree.
type File struct {
	Path string
	// Mode is git's: 100644, 100755 for a program, 120000 for a symbolic link,
	// 160000 for a submodule.
	Mode string
	Hash string
	Size int64 // 0 for a submodule
}

// Files lists the files of a commit or tree, sorted by path.
func (r *Repo) Files(ctx context.Context, rev string) ([]File, error) {
	tree, err := r.TreeOf(ctx, rev)
	if err != nil {
		return nil, err
	}
	out, err := r.git(ctx, "ls-tree", "-r", "-z", "--long", "--full-tree", tree)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, entry := range fields(out) {
		about, path, _ := strings.Cut(entry, "\t")
		f := strings.Fields(about) // mode type hash size
		if len(f) != 4 {
			return nil, conclave.Errorf(conclave.ErrInternal, "git ls-tree: unknown line %q", entry)
		}
		size, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil && f[3] != "-" {
			return nil, conclave.Errorf(conclave.ErrInternal, "git ls-tree: unknown line %q", entry)
		}
		files = append(files, File{Path: path, Mode: f[0], Hash: f[2], Size: size})
	}
	return files, nil
}

// Show returns the content of a file in a commit or tree; of a symbolic link,
// its target. It fails with ErrNotFound when there is no such file.
func (r *Repo) Show(ctx context.Context, rev, path string) ([]byte, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	tree, err := r.TreeOf(ctx, rev)
	if err != nil {
		return nil, err
	}
	out, err := r.git(ctx, "cat-file", "blob", tree+":"+path)
	if exited(err, 128) {
		return nil, conclave.Errorf(conclave.ErrNotFound, "there is no file %q in %s", path, rev)
	}
	return out, err
}

// Diff returns the unified diff from one commit or tree to another, of all
// files or of those at or below paths.
func (r *Repo) Diff(ctx context.Context, from, to string, paths ...string) (string, error) {
	out, err := r.diff(ctx, from, to, paths, "-p", "--full-index", "--src-prefix=a/", "--dst-prefix=b/")
	return string(out), err
}

// DiffNames lists the files that differ between two commits or trees.
func (r *Repo) DiffNames(ctx context.Context, from, to string, paths ...string) ([]Change, error) {
	out, err := r.diff(ctx, from, to, paths, "--name-status", "-z")
	if err != nil {
		return nil, err
	}
	var changes []Change
	for f := fields(out); len(f) >= 2; {
		c := Change{Status: f[0][:1], Path: f[1]} // R100: the number is the similarity
		f = f[2:]
		if c.Status == "R" && len(f) > 0 {
			c.From, c.Path, f = c.Path, f[0], f[1:]
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func (r *Repo) diff(ctx context.Context, from, to string, paths []string, flags ...string) ([]byte, error) {
	for _, p := range paths {
		if err := checkPath(p); err != nil {
			return nil, err
		}
	}
	before, err := r.TreeOf(ctx, from)
	if err != nil {
		return nil, err
	}
	after, err := r.TreeOf(ctx, to)
	if err != nil {
		return nil, err
	}
	args := append([]string{"diff-tree", "-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color"}, flags...)
	args = append(args, before, after, "--")
	return r.git(ctx, append(args, paths...)...)
}

// A Commit is an entry of the history.
type Commit struct {
	Hash, Subject string
	Author, Email string
	Time          time.Time // when it was written
	Parents       []string
}

// Log returns the newest commits that rev reaches, n at most. A repository
// without commits has none.
func (r *Repo) Log(ctx context.Context, rev string, n int) ([]Commit, error) {
	if empty, err := r.startless(ctx, rev); empty || err != nil {
		return nil, err
	}
	commit, err := r.Resolve(ctx, rev)
	if err != nil {
		return nil, err
	}
	out, err := r.git(ctx, "log", "-z", "--max-count="+strconv.Itoa(n), "--format=tformat:%H%x00%s%x00%an%x00%ae%x00%at%x00%P", commit, "--")
	if err != nil {
		return nil, err
	}
	const width = 6
	// Not fields: the last field, a root commit's parents, may be empty.
	f := strings.Split(string(out), "\x00")
	var commits []Commit
	for ; len(f) > width; f = f[width:] {
		seconds, err := strconv.ParseInt(f[4], 10, 64)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInternal, "git log: unknown time %q", f[4])
		}
		commits = append(commits, Commit{Hash: f[0], Subject: f[1], Author: f[2], Email: f[3],
			Time: time.Unix(seconds, 0).UTC(), Parents: strings.Fields(f[5])})
	}
	return commits, nil
}

// startless says whether rev is the HEAD of a repository without commits.
func (r *Repo) startless(ctx context.Context, rev string) (bool, error) {
	if rev != "HEAD" {
		return false, nil
	}
	return r.IsEmpty(ctx)
}

// Churn is how often a file was changed.
type Churn struct {
	Path    string
	Commits int
}

// HotFiles counts the changes of each file over the last n commits that rev
// reaches, merges left out, most changed first.
func (r *Repo) HotFiles(ctx context.Context, rev string, n int) ([]Churn, error) {
	if empty, err := r.startless(ctx, rev); empty || err != nil {
		return nil, err
	}
	commit, err := r.Resolve(ctx, rev)
	if err != nil {
		return nil, err
	}
	out, err := r.git(ctx, "log", "-z", "--no-merges", "--no-renames", "--name-only", "--max-count="+strconv.Itoa(n), "--format=tformat:", commit, "--")
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, path := range fields(out) {
		if path != "" {
			counts[path]++
		}
	}
	var hot []Churn
	for path, count := range counts {
		hot = append(hot, Churn{Path: path, Commits: count})
	}
	slices.SortFunc(hot, func(a, b Churn) int {
		return cmp.Or(cmp.Compare(b.Commits, a.Commits), strings.Compare(a.Path, b.Path))
	})
	return hot, nil
}

// MergeBase returns the best common ancestor of two commits. It fails with
// ErrNotFound when they have none.
func (r *Repo) MergeBase(ctx context.Context, a, b string) (string, error) {
	a, b, err := r.resolvePair(ctx, a, b)
	if err != nil {
		return "", err
	}
	base, err := r.line(ctx, "merge-base", a, b)
	if exited(err, 1) {
		return "", conclave.Errorf(conclave.ErrNotFound, "%s and %s have no common ancestor", a, b)
	}
	return base, err
}

// IsAncestor says whether b's history holds a. A commit is its own ancestor.
func (r *Repo) IsAncestor(ctx context.Context, a, b string) (bool, error) {
	a, b, err := r.resolvePair(ctx, a, b)
	if err != nil {
		return false, err
	}
	_, err = r.git(ctx, "merge-base", "--is-ancestor", a, b)
	if exited(err, 1) {
		return false, nil
	}
	return err == nil, err
}

func (r *Repo) resolvePair(ctx context.Context, a, b string) (string, string, error) {
	first, err := r.Resolve(ctx, a)
	if err != nil {
		return "", "", err
	}
	second, err := r.Resolve(ctx, b)
	return first, second, err
}
