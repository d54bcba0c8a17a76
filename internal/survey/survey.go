// Package survey measures git repositories: where their debt is, what the history
// tells of a contribution, and what is in use already.
package survey

import (
	"context"
	"log/slog"
	"path/filepath"
	"regexp"
	"time"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/git"
)

// Analyser finds what analysers say of a tree; an [evidence.Meter] does.
type Analyser interface {
	Analyse(ctx context.Context, t evidence.Tree) (evidence.Analysis, error)
}

// Options for [New].
type Options struct {
	// Analyser looks at the code. Nil: findings are not measured.
	Analyser Analyser
	// Scratch is a folder for copies of trees; it is made when it is not there.
	// Empty: findings are not measured.
	Scratch string
	// Logger gets what is not an answer. Nil discards.
	Logger *slog.Logger
	// Clock tells the time. Nil: time.Now.
	Clock conclave.Clock
}

// Service implements [conclave.Surveys].
type Service struct {
	o Options
}

var _ conclave.Surveys = (*Service)(nil)

// New returns a service. It fails with ErrInvalid for a scratch folder that is
// not an absolute path.
func New(o Options) (*Service, error) {
	if o.Scratch != "" && !filepath.IsAbs(o.Scratch) {
		return nil, conclave.Errorf(conclave.ErrInvalid, "survey: scratch folder %q: want an absolute path", o.Scratch)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Service{o}, nil
}

// open finds the repository that a caller names.
func open(ctx context.Context, dir string) (*git.Repo, error) {
	if dir == "" {
		return nil, conclave.Errorf(conclave.ErrInvalid, "no repository; name the folder of a git repository")
	}
	repo, err := git.Open(ctx, dir)
	if conclave.KindOf(err) == conclave.ErrNotFound {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s; name the folder of one", err)
	}
	return repo, err
}

// mends recognises the subject of a commit that repairs what was broken.
var mends = regexp.MustCompile(`(?i)\b(fix(e[sd])?|bug(fix)?|hotfix|regress(ion|ed)?|revert(s|ed)?|repairs?|mends?|broken?|crash(es)?|panics?)\b`)

// batch is how many commits are read at once: between two batches the time is looked at.
const batch = 500

// history reads the newest commits, limit at most, until the time is over. Cut says
// that there are more that were not read.
func (s *Service) history(ctx context.Context, repo *git.Repo, rev string, limit int, until time.Time) (all []git.Touch, cut bool, err error) {
	for len(all) < limit {
		n := min(batch, limit-len(all))
		more, err := repo.History(ctx, rev, len(all), n)
		if err != nil {
			return nil, false, err
		}
		all = append(all, more...)
		if len(more) < n {
			return all, false, nil
		}
		if s.o.Clock().After(until) {
			return all, true, nil
		}
	}
	return all, false, nil
}
