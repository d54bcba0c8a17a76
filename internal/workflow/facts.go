package workflow

import (
	"context"
	"path"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/git"

	"golang.org/x/mod/modfile"
)

const (
	maxFiles        = 5000
	maxInstructions = 8 << 10
	maxCountedFile  = 1 << 20
)

// measure reads what a repository is, from its commit and not from its working tree.
func measure(ctx context.Context, repo *git.Repo, base string) (conclave.Facts, error) {
	f := conclave.Facts{Name: path.Base(repo.Dir), Commit: base, Languages: map[string]int{}, Files: []string{}}
	head, err := repo.Head(ctx)
	if err != nil {
		return f, err
	}
	f.Branch, f.Bare = head.Branch(), repo.IsBare()
	if f.Shallow, err = repo.IsShallow(ctx); err != nil {
		return f, err
	}
	if !f.Bare {
		changes, err := repo.Dirty(ctx)
		if err != nil {
			return f, err
		}
		for _, c := range changes {
			f.Dirty = append(f.Dirty, c.Path)
		}
	}
	if base == "" {
		f.Empty = true
		return f, nil
	}
	if f.Tree, err = repo.TreeOf(ctx, base); err != nil {
		return f, err
	}
	files, err := repo.Files(ctx, base)
	if err != nil {
		return f, err
	}
	f.FileCount = len(files)
	f.Empty = len(files) == 0
	for _, file := range files {
		if len(f.Files) < maxFiles {
			f.Files = append(f.Files, file.Path)
		}
		lang := evidence.Language(file.Path)
		if lang == "" {
			continue
		}
		f.Languages[lang]++
		if strings.HasSuffix(file.Path, "_test.go") || strings.Contains(path.Base(file.Path), "test_") || strings.Contains(file.Path, ".test.") {
			f.HasTests = true
		}
		if dir := path.Dir(file.Path); lang == "Go" && !slices.Contains(f.Packages, dir) && !strings.Contains(file.Path, "testdata/") {
			f.Packages = append(f.Packages, dir)
		}
		if f.FileCount <= 2000 && file.Size <= maxCountedFile {
			text, err := repo.Show(ctx, base, file.Path)
			if err != nil {
				return f, err
			}
			f.Lines += strings.Count(string(text), "\n")
		}
	}
	if err := goModule(ctx, repo, base, &f); err != nil {
		return f, err
	}
	if err := conventions(ctx, repo, base, &f); err != nil {
		return f, err
	}
	churn, err := repo.HotFiles(ctx, base, 500)
	if err != nil {
		return f, err
	}
	for _, c := range churn[:min(len(churn), 10)] {
		if c.Commits > 1 {
			f.HotFiles = append(f.HotFiles, c.Path)
		}
	}
	return f, nil
}

func goModule(ctx context.Context, repo *git.Repo, base string, f *conclave.Facts) error {
	if !slices.Contains(f.Files, "go.mod") {
		return nil
	}
	text, err := repo.Show(ctx, base, "go.mod")
	if err != nil {
		return err
	}
	mod, err := modfile.ParseLax("go.mod", text, nil)
	if err != nil || mod.Module == nil {
		return nil // the build check will say what is wrong with it
	}
	f.Module = mod.Module.Mod.Path
	if mod.Go != nil {
		f.GoVersion = mod.Go.Version
	}
	for _, r := range mod.Require {
		f.Dependencies = append(f.Dependencies, r.Mod.String())
	}
	f.Build, f.Test = []string{"go", "build", "./..."}, []string{"go", "test", "./..."}
	return nil
}

func conventions(ctx context.Context, repo *git.Repo, base string, f *conclave.Facts) error {
	for _, name := range []string{"CLAUDE.md", "AGENTS.md", "CONTRIBUTING.md", ".editorconfig", ".golangci.yml", "Makefile", "Dockerfile"} {
		if slices.Contains(f.Files, name) {
			f.Conventions = append(f.Conventions, name)
		}
	}
	for _, name := range []string{"CLAUDE.md", "AGENTS.md"} {
		if f.Instructions == "" && slices.Contains(f.Files, name) {
			text, err := repo.Show(ctx, base, name)
			if err != nil {
				return err
			}
			f.Instructions = shorten(string(text), maxInstructions)
		}
	}
	commits, err := repo.Log(ctx, base, 50)
	if err != nil {
		return err
	}
	conventional := 0
	for _, c := range commits {
		if kind, _, ok := strings.Cut(c.Subject, ":"); ok {
			kind, _, _ = strings.Cut(strings.TrimSuffix(kind, "!"), "(")
			if slices.Contains([]string{"feat", "fix", "docs", "chore", "refactor", "test", "build", "ci", "perf", "style", "revert"}, kind) {
				conventional++
			}
		}
	}
	f.CommitStyle = "imperative"
	if len(commits) > 0 && conventional*2 > len(commits) {
		f.CommitStyle = "conventional"
		f.Conventions = append(f.Conventions, "commits: conventional")
	}
	return nil
}

// complexity is a rough size of the job, from the task's length and the
// repository's size.
func complexity(task string, f conclave.Facts) string {
	words := len(strings.Fields(task))
	switch {
	case words > 120 || f.FileCount > 500:
		return "complex"
	case words > 30 || f.FileCount > 50:
		return "moderate"
	}
	return "simple"
}
