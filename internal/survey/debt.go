package survey

import (
	"cmp"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/git"
)

// Defaults and bounds of a debt report.
const (
	defaultCommits, maxCommits = 5000, 100000
	defaultFiles, maxFiles     = 20, 1000
	defaultSeconds, maxSeconds = 12, 600 // twice the default is less than callers wait
	maxFileBytes               = 1 << 20
	tab                        = 4 // columns of one depth of indentation
)

const scoreRule = "100 × (changes ÷ the most changes of a file) × the mean of (complexity ÷ the highest) and (findings ÷ the most); without findings, complexity alone"

// Debt implements [conclave.Surveys].
func (s *Service) Debt(ctx context.Context, in conclave.GetDebt) (conclave.Debt, error) {
	for _, n := range []struct {
		name      string
		value     *int
		otherwise int
		most      int
	}{{"commits", &in.Commits, defaultCommits, maxCommits}, {"limit", &in.Limit, defaultFiles, maxFiles}, {"seconds", &in.Seconds, defaultSeconds, maxSeconds}} {
		if *n.value == 0 {
			*n.value = n.otherwise
		}
		if *n.value < 1 || *n.value > n.most {
			return conclave.Debt{}, conclave.Errorf(conclave.ErrInvalid, "%s is %d; it must be 1 to %d", n.name, *n.value, n.most)
		}
	}
	repo, err := open(ctx, in.Repo)
	if err != nil {
		return conclave.Debt{}, err
	}
	if empty, err := repo.IsEmpty(ctx); err != nil || empty {
		if empty {
			err = conclave.Errorf(conclave.ErrInvalid, "%s has no commit yet; there is nothing to measure", repo.Dir)
		}
		return conclave.Debt{}, err
	}
	d := conclave.Debt{Repo: repo.Dir, Files: []conclave.DebtFile{}, Score: scoreRule, Unmeasured: []string{}}
	if d.Commit, err = repo.Resolve(ctx, "HEAD"); err != nil {
		return d, err
	}
	budget := time.Duration(in.Seconds) * time.Second
	touches, cut, err := s.history(ctx, repo, d.Commit, in.Commits, s.o.Clock().Add(budget))
	if err != nil {
		return d, fmt.Errorf("read the history of %s: %w", repo.Dir, err)
	}
	if cut {
		d.Unmeasured = append(d.Unmeasured, fmt.Sprintf("history: %d commits were read in %v, and there are more", len(touches), budget))
	}
	if shallow, err := repo.IsShallow(ctx); err != nil {
		return d, err
	} else if shallow {
		d.Unmeasured = append(d.Unmeasured, "history: the clone is shallow, so that what is before its boundary is not seen")
	}
	if d.Commits = len(touches); d.Commits > 0 {
		d.Since = &touches[d.Commits-1].Time
	}
	files, err := s.touched(ctx, repo, d.Commit, touches, &d)
	if err != nil {
		return d, err
	}
	if err := s.findings(ctx, repo, d.Commit, budget, files, &d); err != nil {
		return d, err
	}
	score(files)
	slices.SortFunc(files, func(a, b *conclave.DebtFile) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.Changes, a.Changes), strings.Compare(a.Path, b.Path))
	})
	for _, f := range files[:min(in.Limit, len(files))] {
		d.Files = append(d.Files, *f)
	}
	return d, nil
}

// touched measures the files with code at a commit, with their share of its history.
func (s *Service) touched(ctx context.Context, repo *git.Repo, commit string, touches []git.Touch, d *conclave.Debt) ([]*conclave.DebtFile, error) {
	list, err := repo.Files(ctx, commit)
	if err != nil {
		return nil, err
	}
	byPath := map[string]*conclave.DebtFile{}
	var files []*conclave.DebtFile
	large := 0
	for _, f := range list {
		language := evidence.Language(f.Path)
		switch {
		case language == "" || f.Mode == "120000" || foreign(f.Path):
			continue
		case f.Size > maxFileBytes:
			large++
			continue
		}
		entry := &conclave.DebtFile{Path: f.Path, Language: language}
		byPath[f.Path] = entry
		files = append(files, entry)
	}
	if large > 0 {
		d.Unmeasured = append(d.Unmeasured, fmt.Sprintf("%d files of more than %d bytes", large, maxFileBytes))
	}
	d.FileCount = len(files)
	authors := map[string]map[string]bool{}
	for _, t := range touches { // the newest first
		for _, c := range t.Files {
			f := byPath[c.Path]
			if f == nil {
				continue
			}
			if f.Changes == 0 {
				f.Last = t.Time
				authors[f.Path] = map[string]bool{}
			}
			f.Changes++
			f.Churn += c.Added + c.Deleted
			authors[f.Path][strings.ToLower(t.Email)] = true
			if mends.MatchString(t.Subject) {
				f.Fixes++
			}
		}
	}
	files = slices.DeleteFunc(files, func(f *conclave.DebtFile) bool { return f.Changes == 0 })
	changed := slices.DeleteFunc(list, func(f git.File) bool { return byPath[f.Path] == nil || byPath[f.Path].Changes == 0 })
	err = repo.Read(ctx, changed, func(at git.File, text []byte) error {
		f := byPath[at.Path]
		f.Authors = len(authors[f.Path])
		f.Lines, f.Complexity = depth(string(text))
		if f.Language == "Go" {
			f.Cyclomatic, f.Function = cyclomatic(text)
		}
		return nil
	})
	return files, err
}

// foreign reports whether a file is somebody else's or made by a program.
func foreign(name string) bool {
	for part := range strings.SplitSeq(path.Dir(name), "/") {
		if slices.Contains([]string{"vendor", "node_modules", "third_party", "testdata", "dist"}, part) {
			return true
		}
	}
	base := path.Base(name)
	return strings.HasSuffix(base, ".pb.go") || strings.Contains(base, ".min.") || strings.Contains(base, ".gen.") || strings.HasSuffix(base, "_generated.go")
}

// depth counts the lines that are not blank, and adds up how deep they stand: a
// measure of complexity that needs no parser.
func depth(text string) (lines, sum int) {
	for line := range strings.Lines(text) {
		columns := 0
		for _, r := range line {
			if r == '\t' {
				columns += tab
			} else if r == ' ' {
				columns++
			} else {
				break
			}
		}
		if strings.TrimSpace(line) != "" {
			lines++
			sum += columns / tab
		}
	}
	return lines, sum
}

// cyclomatic is the highest McCabe number of a Go file's functions, with the name;
// nil when it does not parse or has none.
func cyclomatic(text []byte) (*int, string) {
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, ""
	}
	var most *int
	name := ""
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		n := 1
		ast.Inspect(f.Body, func(node ast.Node) bool {
			switch x := node.(type) {
			case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
				n++
			case *ast.CaseClause:
				if x.List != nil {
					n++
				}
			case *ast.CommClause:
				if x.Comm != nil {
					n++
				}
			case *ast.BinaryExpr:
				if x.Op == token.LAND || x.Op == token.LOR {
					n++
				}
			}
			return true
		})
		if most == nil || n > *most {
			most, name = &n, f.Name.Name
		}
	}
	return most, name
}

// findings counts what analysers say of each file, in a copy of the commit.
func (s *Service) findings(ctx context.Context, repo *git.Repo, commit string, budget time.Duration, files []*conclave.DebtFile, d *conclave.Debt) error {
	if s.o.Analyser == nil || s.o.Scratch == "" {
		d.Unmeasured = append(d.Unmeasured, "findings: no analysers here")
		return nil
	}
	if err := os.MkdirAll(s.o.Scratch, 0o700); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "make the folder for copies: %w", err)
	}
	dir, err := os.MkdirTemp(s.o.Scratch, "debt-")
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "make a copy of %s: %w", repo.Dir, err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			s.o.Logger.Warn("a copy of a repository is left", "path", dir, "error", err)
		}
	}()
	limited, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	err = repo.Export(limited, commit, dir)
	var a evidence.Analysis
	if err == nil {
		a, err = s.o.Analyser.Analyse(limited, evidence.Tree{Dir: dir})
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		d.Unmeasured = append(d.Unmeasured, fmt.Sprintf("findings: the analysers were not done in %v", budget))
		return nil
	case err != nil:
		d.Unmeasured = append(d.Unmeasured, "findings: "+conclave.Text(err))
		return nil
	}
	for _, u := range a.Unchecked {
		d.Unmeasured = append(d.Unmeasured, "findings: "+u)
	}
	if slices.ContainsFunc(a.Unchecked, func(u string) bool { return strings.HasPrefix(u, "analysers: ") }) {
		return nil
	}
	for _, f := range files {
		n := 0
		for _, found := range a.Findings {
			if found.Path == f.Path {
				n++
			}
		}
		f.Findings = &n
	}
	return nil
}

// score fills in the scores, as scoreRule says.
func score(files []*conclave.DebtFile) {
	var changes, complexity, findings int
	for _, f := range files {
		changes, complexity = max(changes, f.Changes), max(complexity, f.Complexity)
		if f.Findings != nil {
			findings = max(findings, *f.Findings)
		}
	}
	share := func(n, of int) float64 {
		if of == 0 {
			return 0
		}
		return float64(n) / float64(of)
	}
	for _, f := range files {
		burden := share(f.Complexity, complexity)
		if f.Findings != nil && findings > 0 {
			burden = (burden + share(*f.Findings, findings)) / 2
		}
		f.Score = math.Round(1000*share(f.Changes, changes)*burden) / 10
	}
}
