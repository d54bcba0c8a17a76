package prove

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"conclave"
)

func surveyProofs() []proof {
	return []proof{
		{"survey_debt", "git: the file's commits, counted by rev-list", func(ctx context.Context, s *scene) error {
			repo, err := s.contributed(ctx)
			if err != nil {
				return err
			}
			var d conclave.Debt
			if err := s.do(ctx, "survey_debt", conclave.GetDebt{Repo: repo}, &d); err != nil {
				return err
			}
			i := slices.IndexFunc(d.Files, func(f conclave.DebtFile) bool { return f.Path == "price.sh" })
			if i < 0 {
				return fmt.Errorf("price.sh is not in the report")
			}
			n, err := s.git(ctx, repo, "rev-list", "--count", "main", "--", "price.sh")
			return errors.Join(err, same("the changes", strconv.Itoa(d.Files[i].Changes), n))
		}},
		{"survey_contribution", "git: the commits between the branches, and the file's before", func(ctx context.Context, s *scene) error {
			repo, err := s.contributed(ctx)
			if err != nil {
				return err
			}
			var c conclave.Contribution
			if err := s.do(ctx, "survey_contribution", conclave.GetContribution{Repo: repo, Base: "main", Head: "feature"}, &c); err != nil {
				return err
			}
			between, err := s.git(ctx, repo, "rev-list", "--count", "main..feature")
			if err != nil {
				return err
			}
			before, err := s.git(ctx, repo, "rev-list", "--count", "main", "--", "price.sh")
			if err != nil {
				return err
			}
			if len(c.Files) != 1 {
				return fmt.Errorf("%d files, want price.sh alone", len(c.Files))
			}
			return errors.Join(same("the commits", strconv.Itoa(len(c.Commits)), between), same("the earlier changes", strconv.Itoa(c.Files[0].Changes), before))
		}},
		{"survey_options", "git: the files that git grep finds", func(ctx context.Context, s *scene) error {
			repo, err := s.contributed(ctx)
			if err != nil {
				return err
			}
			var facts []conclave.OptionFacts
			if err := s.do(ctx, "survey_options", conclave.GetOptionFacts{Repo: repo, Options: []string{"sqlite"}}, &facts); err != nil {
				return err
			}
			found, err := s.git(ctx, repo, "grep", "--word-regexp", "--files-with-matches", "sqlite", "main")
			if err != nil || len(facts) != 1 {
				return errors.Join(err, same("the number of options", len(facts), 1))
			}
			return same("the files that name it", facts[0].Files, len(strings.Split(found, "\n")))
		}},
	}
}

// contributed makes a repository in which a branch changes a file that was changed
// before.
func (s *scene) contributed(ctx context.Context) (string, error) {
	repo, err := s.repository(ctx, map[string]string{"price.sh": "echo 1\n", "store.sh": "sqlite orders.db\n"})
	if err != nil {
		return repo, err
	}
	for _, change := range []struct{ branch, text, subject string }{{"", "echo 2\n", "Fix the price"}, {"feature", "echo 3\n", "Raise the price"}} {
		if change.branch != "" {
			if _, err := s.git(ctx, repo, "switch", "--quiet", "--create", change.branch); err != nil {
				return repo, err
			}
		}
		if err := os.WriteFile(filepath.Join(repo, "price.sh"), []byte(change.text), 0o600); err != nil {
			return repo, err
		}
		if _, err := s.git(ctx, repo, "commit", "--quiet", "--all", "--message", change.subject); err != nil {
			return repo, err
		}
	}
	_, err = s.git(ctx, repo, "switch", "--quiet", "main")
	return repo, err
}
