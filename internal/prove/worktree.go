package prove

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"conclave"
)

func worktreeProofs() []proof {
	return []proof{
		{"worktree_lease", "the folder; git worktree list", func(ctx context.Context, s *scene) error {
			w, repo, err := s.lease(ctx)
			if err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(w.Path, "README.md")); err != nil || w.Path == "" {
				return fmt.Errorf("the worktree %q does not hold the repository's files: %v", w.Path, err)
			}
			return s.listed(ctx, repo, w.Path, true)
		}},
		{"worktree_commit", "git: the commit, its message and its file", func(ctx context.Context, s *scene) error {
			_, c, _, err := s.commit(ctx)
			if err != nil {
				return err
			}
			return s.inCommit(ctx, c)
		}},
		{"worktree_merge", "git: the run's branch has the file", func(ctx context.Context, s *scene) error {
			_, repo, err := s.merge(ctx)
			if err != nil {
				return err
			}
			return s.hasFile(ctx, repo, "conclave/"+s.name)
		}},
		{"worktree_release", "the folder is gone; git worktree list", func(ctx context.Context, s *scene) error {
			w, repo, err := s.lease(ctx)
			if err != nil {
				return err
			}
			var released conclave.Worktree
			if err := s.do(ctx, "worktree_release", conclave.NameWorktree{Key: s.name, ID: w.ID}, &released); err != nil {
				return err
			}
			if _, err := os.Stat(w.Path); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("the worktree %s is still there", w.Path)
			}
			return s.listed(ctx, repo, w.Path, false)
		}},
		{"branch_deliver", "git: the user's branch has the file", func(ctx context.Context, s *scene) error {
			m, repo, err := s.merge(ctx)
			if err != nil {
				return err
			}
			var delivered conclave.Merge
			if err := s.do(ctx, "branch_deliver", conclave.Deliver{Key: s.name, Run: conclave.RunID(s.name), Repo: repo, Into: "main", Head: m.New}, &delivered); err != nil {
				return err
			}
			return s.hasFile(ctx, repo, "main")
		}},
		{"worktree_list", "SQL: the ids of the run's leases", func(ctx context.Context, s *scene) error {
			if _, _, err := s.lease(ctx); err != nil {
				return err
			}
			var list []conclave.Worktree
			if err := s.do(ctx, "worktree_list", conclave.ListWorktrees{Run: conclave.RunID(s.name)}, &list); err != nil {
				return err
			}
			var ids []string
			for _, w := range list {
				ids = append(ids, string(w.ID))
			}
			kept, err := s.records.texts(ctx, `SELECT id FROM worktrees WHERE run = $1`, s.name)
			return errors.Join(err, same("the leases", ids, kept))
		}},
	}
}

const provedFile = "proved.txt"

// git runs git in a folder, with nobody's configuration.
func (s *scene) git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=prove", "GIT_AUTHOR_EMAIL=prove@localhost", "GIT_COMMITTER_NAME=prove", "GIT_COMMITTER_EMAIL=prove@localhost")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

// repository makes a git repository with files, on the branch main.
func (s *scene) repository(ctx context.Context, files map[string]string) (string, error) {
	dir := filepath.Join(s.dir, s.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{{"init", "--quiet", "--initial-branch=main"}, {"add", "."}, {"commit", "--quiet", "--message=Start"}} {
		if _, err := s.git(ctx, dir, args...); err != nil {
			return "", err
		}
	}
	return filepath.EvalSymlinks(dir)
}

func (s *scene) lease(ctx context.Context) (w conclave.Worktree, repo string, err error) {
	if repo, err = s.repository(ctx, map[string]string{"README.md": "To be changed\n"}); err != nil {
		return w, repo, err
	}
	base, err := s.git(ctx, repo, "rev-parse", "HEAD")
	if err != nil {
		return w, repo, err
	}
	err = s.do(ctx, "worktree_lease", conclave.LeaseWorktree{Key: s.name, Run: conclave.RunID(s.name), Step: "prove", Repo: repo, Base: base, Writes: []string{"**"}}, &w)
	return w, repo, err
}

func (s *scene) commit(ctx context.Context) (w conclave.Worktree, c committed, repo string, err error) {
	if w, repo, err = s.lease(ctx); err != nil {
		return w, c, repo, err
	}
	if err = os.WriteFile(filepath.Join(w.Path, provedFile), []byte(s.name), 0o600); err != nil {
		return w, c, repo, err
	}
	c.repo = repo
	err = s.do(ctx, "worktree_commit", conclave.CommitWorktree{Key: s.name, ID: w.ID, Message: "Prove " + s.name, Author: s.peer.name}, &c.Commit)
	return w, c, repo, err
}

type committed struct {
	conclave.Commit
	repo string
}

func (s *scene) inCommit(ctx context.Context, c committed) error {
	message, err := s.git(ctx, c.repo, "log", "-1", "--format=%s", c.Hash)
	if err != nil {
		return err
	}
	return errors.Join(same("the commit's message", message, "Prove "+s.name), s.hasFile(ctx, c.repo, c.Hash))
}

func (s *scene) hasFile(ctx context.Context, repo, revision string) error {
	text, err := s.git(ctx, repo, "show", revision+":"+provedFile)
	if err != nil {
		return err
	}
	return same("the file", text, s.name)
}

func (s *scene) merge(ctx context.Context) (m conclave.Merge, repo string, err error) {
	w, c, repo, err := s.commit(ctx)
	if err != nil {
		return m, repo, err
	}
	err = s.do(ctx, "worktree_merge", conclave.MergeWorktree{Key: s.name, ID: w.ID, Head: c.Hash, Message: "Merge " + s.name}, &m)
	return m, repo, err
}

// listed reports an error unless git knows a worktree, or does not, as wanted.
func (s *scene) listed(ctx context.Context, repo, path string, want bool) error {
	list, err := s.git(ctx, repo, "worktree", "list", "--porcelain")
	if err != nil {
		return err
	}
	if strings.Contains(list, "worktree "+path+"\n") != want {
		return fmt.Errorf("git lists these worktrees: %s", strings.ReplaceAll(list, "\n", " "))
	}
	return nil
}
