package git

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"conclave"
)

// A Signature says who wrote or made a commit, and when.
type Signature struct {
	Name, Email string
	When        time.Time
}

func (s Signature) check() error {
	for _, text := range []string{s.Name, s.Email} {
		if strings.Trim(text, " .,:;\"'\\") == "" || strings.ContainsAny(text, "<>\n\x00") {
			return conclave.Errorf(conclave.ErrInvalid, "%q is no name or address for a commit", text)
		}
	}
	if s.When.Unix() < 0 {
		return conclave.Errorf(conclave.ErrInvalid, "a commit cannot be from %s", s.When)
	}
	return nil
}

func (s Signature) env(who string) []string {
	return []string{
		"GIT_" + who + "_NAME=" + s.Name,
		"GIT_" + who + "_EMAIL=" + s.Email,
		fmt.Sprintf("GIT_%s_DATE=@%d %s", who, s.When.Unix(), s.When.Format("-0700")),
	}
}

// NewCommit is what a commit is made of.
type NewCommit struct {
	Tree              string
	Parents           []string
	Message           string
	Author, Committer Signature
}

// CommitTree makes a commit and returns its name, which depends on nothing but
// c. No ref moves.
func (r *Repo) CommitTree(ctx context.Context, c NewCommit) (string, error) {
	if err := checkHash(c.Tree); err != nil {
		return "", err
	}
	args := []string{"commit-tree", c.Tree}
	for _, parent := range c.Parents {
		if err := checkHash(parent); err != nil {
			return "", err
		}
		args = append(args, "-p", parent)
	}
	for _, s := range []Signature{c.Author, c.Committer} {
		if err := s.check(); err != nil {
			return "", err
		}
	}
	if strings.TrimSpace(c.Message) == "" || strings.ContainsRune(c.Message, 0) {
		return "", conclave.Errorf(conclave.ErrInvalid, "a commit needs a message, without NUL")
	}
	call := r.command(append(args, "-F", "-")...)
	call.env = append(call.env, append(c.Author.env("AUTHOR"), c.Committer.env("COMMITTER")...)...)
	call.stdin = strings.TrimRight(c.Message, "\n") + "\n"
	out, err := call.run(ctx)
	if says(err, "not a valid object") || says(err, "not a valid 'tree' object") {
		return "", conclave.Errorf(conclave.ErrNotFound, "%w", err)
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// Init makes an empty repository in dir, which is made if need be, with HEAD on
// branch. It fails with ErrConflict when dir is a repository already.
func Init(ctx context.Context, dir, branch string) (*Repo, error) {
	if err := CheckRef("refs/heads/" + branch); err != nil {
		return nil, err
	}
	if _, err := Version(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "making a repository: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
		return nil, conclave.Errorf(conclave.ErrConflict, "%s is a repository already", dir)
	}
	if _, err := (command{dir: dir, args: []string{"init", "--quiet", "--template=", "--initial-branch=" + branch}}).run(ctx); err != nil {
		return nil, err
	}
	return Open(ctx, dir)
}

// CreateFromFiles makes a repository in dir on the branch main, with one commit
// that holds files, by path. It returns the commit.
func CreateFromFiles(ctx context.Context, dir string, files map[string]string, by Signature, message string) (*Repo, string, error) {
	for name := range files {
		if err := checkPath(name); err != nil {
			return nil, "", err
		}
	}
	r, err := Init(ctx, dir, "main")
	if err != nil {
		return nil, "", err
	}
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return nil, "", conclave.Errorf(conclave.ErrUnavailable, "making a repository: %w", err)
	}
	defer root.Close()
	for name, content := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, "", conclave.Errorf(conclave.ErrUnavailable, "making a repository: %w", err)
		}
		if err := root.WriteFile(name, []byte(content), 0o644); err != nil {
			return nil, "", conclave.Errorf(conclave.ErrUnavailable, "making a repository: %w", err)
		}
	}
	if _, err := r.git(ctx, "add", "--all", "--force", "--", "."); err != nil {
		return nil, "", err
	}
	tree, err := r.line(ctx, "write-tree")
	if err != nil {
		return nil, "", err
	}
	commit, err := r.CommitTree(ctx, NewCommit{Tree: tree, Message: message, Author: by, Committer: by})
	if err != nil {
		return nil, "", err
	}
	return r, commit, r.UpdateRef(ctx, "refs/heads/main", commit, "", message)
}
