package git

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
)

// ConflictKind says how two changes conflict.
type ConflictKind string

// The kinds of conflict.
const (
	ConflictContent      ConflictKind = "content"       // both changed the same lines
	ConflictBinary       ConflictKind = "binary"        // both changed a file without lines
	ConflictAddAdd       ConflictKind = "add/add"       // both added the file
	ConflictModifyDelete ConflictKind = "modify/delete" // one changed what the other deleted
	ConflictRenameDelete ConflictKind = "rename/delete" // one renamed what the other deleted
	ConflictRename       ConflictKind = "rename/rename" // both renamed, to different names or the same
	ConflictFileDir      ConflictKind = "file/directory"
	ConflictMode         ConflictKind = "mode"      // one made a file, the other a link
	ConflictSubmodule    ConflictKind = "submodule" // both moved it
	ConflictOther        ConflictKind = "other"     // the message says which
)

// A Conflict is a path that git cannot merge.
type Conflict struct {
	Path    string
	Kind    ConflictKind
	Message string // git's own words
}

// MergeTree merges two commits without touching a working tree or a ref, and
// returns the merged tree. With conflicts, the tree holds conflict markers. Base
// is a commit to take as their common ancestor; when it is empty, git finds it.
// It fails with ErrInvalid when there is no common ancestor.
func (r *Repo) MergeTree(ctx context.Context, base, ours, theirs string) (string, []Conflict, error) {
	ours, theirs, err := r.resolvePair(ctx, ours, theirs)
	if err != nil {
		return "", nil, err
	}
	if base != "" {
		if ours, theirs, err = r.graft(ctx, base, ours, theirs); err != nil {
			return "", nil, err
		}
	}
	out, err := r.git(ctx, "merge-tree", "--write-tree", "-z", "--messages", ours, theirs)
	switch {
	case says(err, "unrelated histories"):
		return "", nil, conclave.Errorf(conclave.ErrInvalid, "%s and %s have no common ancestor", ours, theirs)
	case err != nil && !exited(err, 1):
		return "", nil, err
	}
	conflicted := err != nil
	tree, rest, _ := strings.Cut(string(out), "\x00")
	if err := checkHash(tree); err != nil {
		return "", nil, conclave.Errorf(conclave.ErrInternal, "git merge-tree: no tree in %q", out)
	}
	if !conflicted {
		return tree, nil, nil
	}
	conflicts, err := parseConflicts(rest)
	if err != nil {
		return "", nil, err
	}
	return tree, conflicts, nil
}

// graft makes commits of the same trees with base as their only parent, because
// merge-tree has no option for the base before git 2.40.
func (r *Repo) graft(ctx context.Context, base, ours, theirs string) (string, string, error) {
	parent, err := r.Resolve(ctx, base)
	if err != nil {
		return "", "", err
	}
	who := Signature{Name: "merge", Email: "merge@localhost", When: time.Unix(0, 0).UTC()}
	var grafted []string
	for _, commit := range []string{ours, theirs} {
		tree, err := r.TreeOf(ctx, commit)
		if err != nil {
			return "", "", err
		}
		hash, err := r.CommitTree(ctx, NewCommit{Tree: tree, Parents: []string{parent}, Message: commit, Author: who, Committer: who})
		if err != nil {
			return "", "", err
		}
		grafted = append(grafted, hash)
	}
	return grafted[0], grafted[1], nil
}

// parseConflicts reads what merge-tree says after the tree: entries "mode hash
// stage TAB path" of the conflicted files, an empty field, then messages, each
// as a number of paths, the paths, a stable name for the type, and the text.
func parseConflicts(text string) ([]Conflict, error) {
	f := strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
	stages := map[string]string{} // path → its stages, such as "123"
	var order []string
	for ; len(f) > 0 && f[0] != ""; f = f[1:] {
		about, path, _ := strings.Cut(f[0], "\t")
		if stages[path] == "" {
			order = append(order, path)
		}
		stages[path] += about[len(about)-1:]
	}
	var conflicts []Conflict
	named := map[string]bool{}
	for f = f[min(1, len(f)):]; len(f) >= 4; {
		count, err := strconv.Atoi(f[0])
		if err != nil || count < 1 || len(f) < count+3 {
			return nil, conclave.Errorf(conclave.ErrInternal, "git merge-tree: unknown message %q", f)
		}
		paths, kind, message := f[1:1+count], f[1+count], strings.TrimSpace(f[2+count])
		f = f[count+3:]
		if !strings.HasPrefix(kind, "CONFLICT") {
			continue // such as "Auto-merging"
		}
		for _, p := range paths {
			named[p] = true
		}
		// A message can name several paths, such as the two of a rename. The one
		// that has something to resolve is the conflict's.
		path := paths[0]
		if i := slices.IndexFunc(paths, func(p string) bool { return stages[p] != "" }); i >= 0 {
			path = paths[i]
		}
		conflicts = append(conflicts, Conflict{Path: path, Kind: conflictKind(kind, stages[path]), Message: message})
	}
	for _, path := range order {
		if !named[path] {
			conflicts = append(conflicts, Conflict{Path: path, Kind: conflictKind("CONFLICT (contents)", stages[path])})
		}
	}
	return conflicts, nil
}

// conflictKind reads merge-tree's stable name for a type of conflict. It calls
// two additions a conflict of contents; then there is no common stage.
func conflictKind(name, stages string) ConflictKind {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "CONFLICT ("), ")")
	switch {
	case name == "contents" && stages == "23":
		return ConflictAddAdd
	case name == "contents":
		return ConflictContent
	case name == "binary":
		return ConflictBinary
	case name == "modify/delete":
		return ConflictModifyDelete
	case name == "rename/delete":
		return ConflictRenameDelete
	case name == "rename/rename", name == "rename involved in collision":
		return ConflictRename
	case name == "file/directory":
		return ConflictFileDir
	case name == "distinct modes":
		return ConflictMode
	case strings.HasPrefix(name, "submodule"):
		return ConflictSubmodule
	}
	return ConflictOther
}
