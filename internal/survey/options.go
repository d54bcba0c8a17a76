package survey

import (
	"bytes"
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/git"
)

// Bounds of what is read for options.
const (
	maxOptions      = 20
	maxOptionFiles  = 20000
	shownFiles      = 5
	maxManifestLine = 200
)

// manifests are the files that name what a repository is built with or runs on, with
// how a line that does so begins; other lines may hold anything, passwords too.
func manifests() map[string]string {
	return map[string]string{"go.mod": "", "package.json": "", "requirements.txt": "", "pyproject.toml": "", "Cargo.toml": "", "pom.xml": "", "build.gradle": "", "Gemfile": "", "composer.json": "",
		"docker-compose.yml": "image:", "compose.yml": "image:", "compose.yaml": "image:", "Dockerfile": "FROM "}
}

// requires is the first line of a manifest that names an option, or nothing.
func requires(text []byte, begins string, word *regexp.Regexp) string {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		comment := bytes.HasPrefix(line, []byte("#")) || bytes.HasPrefix(line, []byte("//"))
		if !comment && bytes.HasPrefix(line, []byte(begins)) && word.Match(line) && len(line) <= maxManifestLine {
			return string(line)
		}
	}
	return ""
}

// Options implements [conclave.Surveys].
func (s *Service) Options(ctx context.Context, in conclave.GetOptionFacts) ([]conclave.OptionFacts, error) {
	if len(in.Options) == 0 || len(in.Options) > maxOptions {
		return nil, conclave.Errorf(conclave.ErrInvalid, "there are %d options; name 1 to %d", len(in.Options), maxOptions)
	}
	facts := make([]conclave.OptionFacts, len(in.Options))
	words := make([]*regexp.Regexp, len(in.Options))
	for i, o := range in.Options {
		if strings.TrimSpace(o) == "" {
			return nil, conclave.Errorf(conclave.ErrInvalid, "option %d is empty", i+1)
		}
		facts[i] = conclave.OptionFacts{Option: o, Requires: []string{}, Examples: []string{}}
		words[i] = regexp.MustCompile(`(?i)(^|[^a-z])` + regexp.QuoteMeta(strings.TrimSpace(o)) + `([^a-z]|$)`)
	}
	repo, err := open(ctx, in.Repo)
	if err != nil {
		return nil, err
	}
	if empty, err := repo.IsEmpty(ctx); empty || err != nil {
		return facts, err
	}
	files, err := repo.Files(ctx, "HEAD")
	if err != nil {
		return nil, err
	}
	known := manifests()
	isManifest := func(f git.File) bool { _, ok := known[path.Base(f.Path)]; return ok }
	files = slices.DeleteFunc(files, func(f git.File) bool {
		return !isManifest(f) && evidence.Language(f.Path) == "" || f.Mode == "120000" || f.Size > maxFileBytes || foreign(f.Path)
	})
	err = repo.Read(ctx, files[:min(len(files), maxOptionFiles)], func(f git.File, text []byte) error {
		for i, word := range words {
			switch {
			case isManifest(f):
				if line := requires(text, known[path.Base(f.Path)], word); line != "" {
					facts[i].Requires = append(facts[i].Requires, f.Path+": "+line)
				}
			case word.Match(text):
				facts[i].Files++
				if len(facts[i].Examples) < shownFiles {
					facts[i].Examples = append(facts[i].Examples, f.Path)
				}
			}
		}
		return nil
	})
	return facts, err
}
