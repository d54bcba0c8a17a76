package workflow

import (
	"context"
	"fmt"
	"strings"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/git"
)

type auditInput struct {
	From string `json:"from"` // the commit that a contribution starts from; empty: the repository is reviewed as it is
}

// contributed finds where a contribution starts and ends. ErrInvalid for revisions
// that are not there, and when nothing is contributed.
func contributed(ctx context.Context, repo *git.Repo, in conclave.StartRun) (from, to string, err error) {
	into := in.Into
	if into == "" {
		into = "HEAD"
	}
	if to, err = repo.Resolve(ctx, in.Head); err == nil {
		from, err = repo.MergeBase(ctx, into, to)
	}
	switch {
	case conclave.KindOf(err) == conclave.ErrNotFound:
		return "", "", conclave.Errorf(conclave.ErrInvalid, "contribution: %s", err)
	case err != nil:
		return "", "", err
	case from == to:
		return "", "", conclave.Errorf(conclave.ErrInvalid, "%s contributes nothing to %s: it is part of it already", in.Head, into)
	}
	return from, to, nil
}

// contribution fills in what reviewers of a contribution look at: what is new in
// its evidence, its diff, and the facts of the commit that it starts from. It
// returns what the history tells of it.
func (w *work) contribution(ctx context.Context, from string, f *conclave.Facts, about *conclave.Assignment) (*conclave.Contribution, error) {
	history, err := w.s.o.Surveys.Contribution(ctx, conclave.GetContribution{Repo: w.Run.Repo, Base: from, Head: w.Run.Base})
	if err != nil {
		return nil, fmt.Errorf("read the history of the contribution: %w", err)
	}
	repo, err := git.Open(ctx, w.Run.Repo)
	if err != nil {
		return nil, err
	}
	tree, err := repo.TreeOf(ctx, from)
	if err != nil {
		return nil, err
	}
	lease, err := w.s.o.Worktrees.Lease(ctx, conclave.LeaseWorktree{Key: w.key(fmt.Sprint("lease/", w.step.Epoch)), Run: w.Run.ID, Step: "audit", Repo: w.Run.Repo, Base: from})
	if err != nil {
		return nil, fmt.Errorf("lease a worktree: %w", err)
	}
	base, err := w.s.o.Meter.Measure(ctx, evidence.Tree{Dir: lease.Path, TreeHash: tree, Build: f.Build, Test: f.Test})
	if err != nil {
		return nil, fmt.Errorf("measure where the contribution starts: %w", err)
	}
	if _, err := w.s.o.Worktrees.Release(ctx, conclave.NameWorktree{Key: "release/" + string(lease.ID), ID: lease.ID}); err != nil {
		return nil, fmt.Errorf("release the worktree: %w", err)
	}
	diff, err := repo.Diff(ctx, from, w.Run.Base)
	if err != nil {
		return nil, fmt.Errorf("read the contribution: %w", err)
	}
	compared := evidence.Compare(base, *f.Baseline)
	f.Baseline = &base
	about.Evidence, about.Diff = &compared, shorten(diff, fewDiffs)
	return &history, nil
}

// contributionMarkdown is the section of a review's report about what is contributed.
func contributionMarkdown(c conclave.Contribution) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Contribution\n\n`%.12s` to `%.12s`, seen before %d earlier commits.\n\n", c.From, c.To, c.Counted)
	for _, p := range c.Commits {
		fmt.Fprintf(&b, "- `%.12s` %s (%s)\n", p.Hash, p.Subject, p.Author)
	}
	b.WriteString("\n| author | earlier commits | reverted | since |\n|---|---|---|---|\n")
	for _, a := range c.Authors {
		since := "–"
		if a.First != nil {
			since = a.First.Format("2006-01-02")
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s |\n", cell(a.Name), a.Commits, a.Reverted, since)
	}
	b.WriteString("\n| file | change | earlier changes | rank | fixes before | who changed it before |\n|---|---|---|---|---|---|\n")
	for _, f := range c.Files {
		rank := "–"
		if f.Rank > 0 {
			rank = fmt.Sprint(f.Rank)
		}
		who := strings.Join(f.Authors[:min(3, len(f.Authors))], ", ")
		if who == "" {
			who = "–"
		}
		fmt.Fprintf(&b, "| `%s` | %s +%d −%d | %d | %s | %d | %s |\n", cell(f.Path), f.Status, f.Added, f.Deleted, f.Changes, rank, f.Fixes, cell(who))
	}
	fmt.Fprintf(&b, "\n%d files with code and %d with tests change.\n", len(c.Tests.Code), len(c.Tests.Tests))
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "\n- %s", n)
	}
	return b.String() + "\n"
}
