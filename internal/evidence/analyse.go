package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/repair"
)

// AnalyseOptions for [Analyse].
type AnalyseOptions struct {
	// CacheDir keeps what the analysers learnt of packages. Required.
	CacheDir string
	// VulnDB is the address of a Go vulnerability database, as GOVULNDB names
	// it. Empty: dependencies are not checked.
	VulnDB string
	// Licences are those that dependencies may have.
	Licences LicencePolicy
}

// Analysis is what the analysers found in a tree.
type Analysis struct {
	Findings  []conclave.Finding `json:"findings"` // in order of place
	Edits     []Edit             `json:"edits"`    // the fixes of those that are fixable
	Unchecked []string           `json:"unchecked"`
	Licences  []conclave.Licence `json:"licences"`
	Languages map[string]int     `json:"languages"` // files with code, by language
}

// An Edit is one fix that an analyser suggests: all its changes or none.
type Edit struct {
	Key     string          `json:"key"`  // of the finding that it mends
	Line    int             `json:"line"` // where the finding is
	Message string          `json:"message"`
	Changes []repair.Change `json:"changes,omitempty"`
	Upgrade *Upgrade        `json:"upgrade,omitempty"`
}

// touches reports whether an edit changes text within some lines of a place. It
// counts lines by what the edit itself knows: the one of its finding.
func (e Edit) touches(p conclave.Finding) bool {
	const near = 3
	return slices.ContainsFunc(e.Changes, func(c repair.Change) bool {
		return c.Path == p.Path && p.Line >= e.Line-near && p.Line <= e.Line+near
	})
}

// An Upgrade raises a dependency of the module in Dir to Version.
type Upgrade struct {
	Dir     string `json:"dir"`
	Module  string `json:"module"`
	Version string `json:"version"`
}

// lintFailed begins what Unchecked says of a module or package that no analyser
// saw.
const lintFailed = "lint: not run"

// A draft is a finding with the fix that its analyser suggests, if any.
type draft struct {
	conclave.Finding
	changes []repair.Change
	upgrade *Upgrade
	advice  string // what the fix does
}

// Analyse runs the analysers over a tree in this process. It runs the go
// command there, so an untrusted tree is analysed in the sandbox only. It
// fails with ErrInvalid without a cache directory and with ErrInternal when the
// tree can't be read.
func Analyse(ctx context.Context, dir string, o AnalyseOptions) (Analysis, error) {
	if o.CacheDir == "" {
		return Analysis{}, conclave.Errorf(conclave.ErrInvalid, "analysing %s: no cache directory", dir)
	}
	files, err := list(dir)
	if err != nil {
		return Analysis{}, err
	}
	read := newSources(dir)
	var drafts []draft
	var unchecked []string
	if files.cut {
		unchecked = append(unchecked, fmt.Sprintf("files: only the first %d were looked at", maxFiles))
	}
	modules := files.modules(dir)
	for _, m := range modules {
		goFile := func(f string) bool { return path.Ext(f) == ".go" && !ignoredByGo(f) && m.owns(f, modules) }
		if !files.any(goFile) {
			continue
		}
		found, missing, err := lintModule(ctx, dir, m, o.CacheDir, read)
		if err != nil {
			unchecked = append(unchecked, at(lintFailed, m.dir)+": "+err.Error())
		}
		drafts = append(drafts, found...)
		unchecked = append(unchecked, missing...)
	}
	if stray := strayGo(files, modules); stray != "" {
		unchecked = append(unchecked, "analysers: "+stray+" belongs to no module")
	}
	drafts = append(drafts, unformatted(dir, files)...)
	secrets, err := findSecrets(ctx, dir, files)
	if err != nil {
		return Analysis{}, err
	}
	drafts = append(drafts, secrets...)
	if len(modules) > 0 {
		found, missing := findVulnerable(ctx, dir, modules, o.VulnDB)
		drafts = append(drafts, found...)
		unchecked = append(unchecked, missing...)
	}
	languages := map[string]int{}
	for _, f := range files.files {
		if l := Language(f); l != "" && !ignoredByGo(f) {
			languages[l]++
		}
	}
	licensed, found, missing := findLicences(ctx, dir, files, modules, o.CacheDir, o.Licences)
	drafts, unchecked = append(drafts, found...), append(unchecked, missing...)
	if err := ctx.Err(); err != nil {
		return Analysis{}, err
	}
	findings, edits := finish(drafts, read)
	slices.Sort(unchecked)
	return Analysis{Findings: findings, Edits: edits, Unchecked: slices.Compact(unchecked), Licences: licensed, Languages: languages}, nil
}

// finish drops what is suppressed or said twice, and fingerprints the rest.
func finish(drafts []draft, read *sources) ([]conclave.Finding, []Edit) {
	slices.SortStableFunc(drafts, func(a, b draft) int { return byPlace(a.Finding, b.Finding) })
	drafts = slices.CompactFunc(drafts, func(a, b draft) bool { return a.Finding == b.Finding })
	drafts = slices.DeleteFunc(drafts, func(d draft) bool {
		return read.file(d.Path).covers(d.Line, d.Tool, d.Rule)
	})
	findings := make([]conclave.Finding, len(drafts))
	for i, d := range drafts {
		findings[i] = d.Finding
		findings[i].Fixable = d.changes != nil || d.upgrade != nil || d.Tool == toolFormat
	}
	fingerprint(findings, read)
	var edits []Edit
	for i, d := range drafts {
		if d.changes != nil || d.upgrade != nil {
			edits = append(edits, Edit{Key: findings[i].Key(), Line: findings[i].Line, Message: d.advice, Changes: d.changes, Upgrade: d.upgrade})
		}
	}
	return findings, edits
}

// unformatted finds the Go files that gofmt would change.
func unformatted(dir string, files listing) []draft {
	var drafts []draft
	for _, f := range files.files {
		if path.Ext(f) != ".go" || ignoredByGo(f) {
			continue
		}
		text := readText(dir, f)
		formatted, err := gofmt(text)
		if err != nil || bytes.Equal(text, formatted) {
			continue
		}
		drafts = append(drafts, draft{Finding: conclave.Finding{
			Tool: toolFormat, Rule: "format", Level: conclave.LevelNote, Category: catStyle,
			Path: f, Line: firstDifference(text, formatted), Message: "the file is not formatted as gofmt formats it",
			Fingerprint: digest(toolFormat, f),
		}})
	}
	return drafts
}

// errGenerated says that a file is left as its generator wrote it.
var errGenerated = errors.New("generated file")

// gofmt formats a Go file. It fails when the file does not parse or is generated.
func gofmt(text []byte) ([]byte, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(file) {
		return nil, errGenerated
	}
	return format.Source(text)
}

// firstDifference returns the number of the first line that differs.
func firstDifference(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return 1 + bytes.Count(a[:n], []byte("\n"))
}

// strayGo returns a Go file that no module of the tree owns, or nothing.
func strayGo(files listing, modules []module) string {
	for _, f := range files.files {
		if path.Ext(f) != ".go" || ignoredByGo(f) {
			continue
		}
		if !slices.ContainsFunc(modules, func(m module) bool { return m.contains(f) }) {
			return f
		}
	}
	return ""
}

// at names something in a directory of the tree: "build", "build (sub/dir)".
func at(name, dir string) string {
	if dir == "." || dir == "" {
		return name
	}
	return name + " (" + strings.TrimPrefix(dir, "./") + ")"
}
