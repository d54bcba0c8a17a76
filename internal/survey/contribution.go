package survey

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/git"
)

// Bounds of what is read of the history before a contribution, and shown of it.
const (
	contributionCommits = 5000
	contributionTime    = time.Minute
	shownBreaks         = 3
	hotRank             = 10 // a file among so many most changed ones is hot
)

// Contribution implements [conclave.Surveys].
func (s *Service) Contribution(ctx context.Context, in conclave.GetContribution) (conclave.Contribution, error) {
	repo, err := open(ctx, in.Repo)
	if err != nil {
		return conclave.Contribution{}, err
	}
	if in.Base == "" {
		in.Base = "HEAD"
	}
	c := conclave.Contribution{Repo: repo.Dir, Notes: []string{}}
	if c.To, err = repo.Resolve(ctx, in.Head); err != nil {
		return c, err
	}
	if c.From, err = repo.MergeBase(ctx, in.Base, c.To); err != nil {
		return c, err
	}
	if c.From == c.To {
		return c, conclave.Errorf(conclave.ErrInvalid, "%s contributes nothing to %s: it is part of it already", in.Head, in.Base)
	}
	commits, err := repo.Between(ctx, c.From, c.To)
	if err != nil {
		return c, fmt.Errorf("read the contribution's commits: %w", err)
	}
	before, cut, err := s.history(ctx, repo, c.From, contributionCommits, s.o.Clock().Add(contributionTime))
	if err != nil {
		return c, fmt.Errorf("read the history of %s: %w", repo.Dir, err)
	}
	if c.Counted = len(before); cut || c.Counted == contributionCommits {
		c.Notes = append(c.Notes, fmt.Sprintf("only the newest %d commits before it were looked at", c.Counted))
	}
	changes, err := repo.DiffNames(ctx, c.From, c.To)
	if err != nil {
		return c, fmt.Errorf("read what the contribution changes: %w", err)
	}
	c.Commits, c.Authors = parts(commits), contributors(commits, before)
	c.Files = touchedFiles(changes, commits, before, c.Authors)
	c.Tests = tests(changes)
	c.Notes = append(c.Notes, notes(c)...)
	return c, nil
}

func parts(commits []git.Touch) []conclave.ContributedPart {
	list := []conclave.ContributedPart{}
	for _, t := range commits {
		list = append(list, conclave.ContributedPart{Hash: t.Hash, Subject: t.Subject, Author: t.Author})
	}
	return list
}

// contributors tells of each author of the commits what became of their earlier ones.
func contributors(commits, before []git.Touch) []conclave.Contributor {
	list := []conclave.Contributor{}
	for _, t := range commits {
		same := func(o git.Touch) bool { return strings.EqualFold(o.Email, t.Email) }
		if slices.ContainsFunc(list, func(a conclave.Contributor) bool { return strings.EqualFold(a.Email, t.Email) }) {
			continue
		}
		a := conclave.Contributor{Name: t.Author, Email: t.Email}
		for _, b := range before {
			if !same(b) {
				continue
			}
			a.Commits++
			a.First = &b.Time
			if slices.ContainsFunc(before, func(o git.Touch) bool { return o.Reverts != "" && strings.HasPrefix(b.Hash, o.Reverts) }) {
				a.Reverted++
			}
		}
		list = append(list, a)
	}
	return list
}

// touchedFiles tells of each file that changes how it fared before.
func touchedFiles(changes []git.Change, commits, before []git.Touch, authors []conclave.Contributor) []conclave.ContributionFile {
	counts := map[string]int{}
	for _, t := range before {
		for _, f := range t.Files {
			counts[f.Path]++
		}
	}
	files := []conclave.ContributionFile{}
	for _, change := range changes {
		f := conclave.ContributionFile{Path: change.Path, Status: change.Status, Broke: []string{}, Authors: []string{}}
		for _, t := range commits {
			for _, touched := range t.Files {
				if touched.Path == f.Path {
					f.Added, f.Deleted = f.Added+touched.Added, f.Deleted+touched.Deleted
				}
			}
		}
		old := cmp.Or(change.From, change.Path)
		if f.Changes = counts[old]; f.Changes > 0 {
			f.Rank = 1
			for _, n := range counts {
				if n > f.Changes {
					f.Rank++
				}
			}
		}
		by := map[string]int{}
		for _, t := range before {
			if !slices.ContainsFunc(t.Files, func(o git.FileTouch) bool { return o.Path == old }) {
				continue
			}
			by[t.Author]++
			f.Known = f.Known || slices.ContainsFunc(authors, func(a conclave.Contributor) bool { return strings.EqualFold(a.Email, t.Email) })
			if mends.MatchString(t.Subject) {
				if f.Fixes++; len(f.Broke) < shownBreaks {
					f.Broke = append(f.Broke, fmt.Sprintf("%.12s %s", t.Hash, t.Subject))
				}
			}
		}
		f.Authors = slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Or(cmp.Compare(by[b], by[a]), strings.Compare(a, b)) })
		files = append(files, f)
	}
	slices.SortStableFunc(files, func(a, b conclave.ContributionFile) int { return cmp.Compare(b.Changes, a.Changes) })
	return files
}

// isTest goes by the names that tests have in the languages that are known.
func isTest(name string) bool {
	base := strings.ToLower(path.Base(name))
	for part := range strings.SplitSeq(strings.ToLower(path.Dir(name)), "/") {
		if slices.Contains([]string{"test", "tests", "__tests__", "spec", "testdata"}, part) {
			return true
		}
	}
	return strings.HasPrefix(base, "test_") || strings.Contains(base, "_test.") || strings.Contains(base, ".test.") || strings.Contains(base, ".spec.")
}

// tests says whether tests came with the code: in the same folder, or, where tests
// live apart, anywhere.
func tests(changes []git.Change) conclave.ContributionTests {
	t := conclave.ContributionTests{Code: []string{}, Tests: []string{}, Without: []string{}}
	tested, apart := map[string]bool{}, false
	for _, c := range changes {
		switch {
		case c.Status == "D" || evidence.Language(c.Path) == "":
		case isTest(c.Path):
			t.Tests = append(t.Tests, c.Path)
			tested[path.Dir(c.Path)] = true
			apart = apart || evidence.Language(c.Path) != "Go"
		default:
			t.Code = append(t.Code, c.Path)
		}
	}
	for _, code := range t.Code {
		folder := path.Dir(code)
		if !tested[folder] && !apart && !slices.Contains(t.Without, folder) {
			t.Without = append(t.Without, folder)
		}
	}
	return t
}

// notes are what deserves a look, each with its figures.
func notes(c conclave.Contribution) []string {
	var list []string
	for _, a := range c.Authors {
		switch {
		case a.Commits == 0:
			list = append(list, a.Name+" has no earlier commit here")
		case a.Reverted > 0:
			list = append(list, fmt.Sprintf("of %d earlier commits by %s %d were reverted", a.Commits, a.Name, a.Reverted))
		}
	}
	for _, f := range c.Files {
		if f.Rank > 0 && f.Rank <= hotRank && f.Changes > 1 {
			list = append(list, fmt.Sprintf("%s is hot: number %d of the most changed files, with %d changes", f.Path, f.Rank, f.Changes))
		}
		if f.Fixes > 0 {
			list = append(list, fmt.Sprintf("%s was mended %d times before, the last time by %s", f.Path, f.Fixes, f.Broke[0]))
		}
		if f.Changes > 0 && !f.Known {
			list = append(list, fmt.Sprintf("%s is new to its author; %s changed it before", f.Path, strings.Join(f.Authors[:min(3, len(f.Authors))], ", ")))
		}
	}
	for _, folder := range c.Tests.Without {
		list = append(list, "no test came with the code in "+folder)
	}
	return list
}
