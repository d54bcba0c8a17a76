package evidence

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"

	"conclave"
)

// LicencePolicy says which licences dependencies may have, by SPDX identifiers.
// The zero value allows what [DefaultLicences] does.
type LicencePolicy struct {
	Allow   []string          `json:"allow,omitempty"`
	Deny    []string          `json:"deny,omitempty"`
	Modules map[string]string `json:"modules,omitempty"` // by module path: the licence that somebody read, which goes before what is recognised
}

// DefaultLicences allows what asks for no more than its notice, or for changes to
// its own files. It denies nothing: whether a licence fits depends on what is built.
func DefaultLicences() LicencePolicy {
	return LicencePolicy{Allow: []string{"0BSD", "Apache-2.0", "BlueOak-1.0.0", "BSD-2-Clause", "BSD-2-Clause-Views", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "PostgreSQL", "Python-2.0", "Unicode-DFS-2016", "Unlicense", "Zlib"}}
}

// Validate returns ErrInvalid for an identifier that nothing is recognised as, and
// for one on both lists.
func (p LicencePolicy) Validate() error {
	var known []string
	for _, l := range licensecheck.BuiltinLicenses() {
		known = append(known, l.ID)
	}
	for _, id := range slices.Concat(p.Allow, p.Deny, slices.Sorted(maps.Values(p.Modules))) {
		if !slices.Contains(known, id) {
			return conclave.Errorf(conclave.ErrInvalid, "licence %q is not an SPDX identifier that is recognised; %s", id, conclave.DidYouMean(id, known))
		}
	}
	for _, id := range p.Allow {
		if slices.Contains(p.Deny, id) {
			return conclave.Errorf(conclave.ErrInvalid, "licence %s is allowed and denied; it must be on one list", id)
		}
	}
	return nil
}

func (p LicencePolicy) orDefault() LicencePolicy {
	if p.Allow == nil && p.Deny == nil {
		p.Allow = DefaultLicences().Allow
	}
	return p
}

// judge fills in the verdict. Of several licences each must be allowed: whether
// one of them may be chosen is not something that a list knows.
func (p LicencePolicy) judge(l *conclave.Licence) {
	if stated := p.Modules[l.Module]; stated != "" {
		l.Licences = []string{stated}
	}
	in := func(list []string) func(string) bool {
		return func(id string) bool { return slices.Contains(list, id) }
	}
	switch {
	case l.Module == ".":
		l.Verdict = conclave.LicenceOwn
	case len(l.Licences) == 0:
		l.Verdict = conclave.LicenceUnknown
	case slices.ContainsFunc(l.Licences, in(p.Deny)):
		l.Verdict = conclave.LicenceDenied
	case slices.ContainsFunc(l.Licences, func(id string) bool { return !in(p.Allow)(id) }):
		l.Verdict = conclave.LicenceUnlisted
	default:
		l.Verdict = conclave.LicenceAllowed
	}
}

// What begins the lines of Unchecked about licences.
const licencesUnchecked = "licences: not checked: "

// findLicences reads the licences of the tree itself and of every module that its
// packages, but not their tests, are built with.
func findLicences(ctx context.Context, root string, files listing, modules []module, cacheDir string, policy LicencePolicy) (found []conclave.Licence, drafts []draft, unchecked []string) {
	policy = policy.orDefault()
	scan := licenceScanner{cache: filepath.Join(cacheDir, "licences")}
	own := conclave.Licence{Module: "."}
	if err := scan.folder(root, &own); err != nil {
		unchecked = append(unchecked, licencesUnchecked+err.Error())
	}
	policy.judge(&own)
	if len(own.Licences) > 0 {
		found = append(found, own)
	}
	for _, m := range modules {
		built, err := dependencies(ctx, filepath.Join(root, filepath.FromSlash(m.dir)))
		if err != nil {
			unchecked = append(unchecked, at(licencesUnchecked+"the go command lists no dependencies", m.dir)+": "+err.Error())
			continue
		}
		for _, d := range built {
			l := conclave.Licence{Module: d.Path, Version: d.Version, Licences: []string{}}
			if err := scan.folder(d.Dir, &l); err != nil {
				unchecked = append(unchecked, fmt.Sprintf("%s%s: %v", licencesUnchecked, d.Path, err))
				continue
			}
			policy.judge(&l)
			if !slices.ContainsFunc(found, func(o conclave.Licence) bool { return o.Module == l.Module && o.Version == l.Version }) {
				found = append(found, l)
			}
			if dr, wrong := licenceDraft(root, m, l); wrong {
				drafts = append(drafts, dr)
			}
		}
	}
	for _, other := range []struct{ file, what string }{
		{"package.json", "npm packages"}, {"requirements.txt", "Python packages"}, {"pyproject.toml", "Python packages"}, {"Cargo.toml", "crates"}, {"pom.xml", "Maven artefacts"}, {"Gemfile", "gems"},
	} {
		if files.any(func(f string) bool { return path.Base(f) == other.file && !ignoredByGo(f) }) {
			unchecked = append(unchecked, licencesUnchecked+"those of "+other.what+": only Go modules are looked up")
		}
	}
	slices.SortFunc(found, func(a, b conclave.Licence) int {
		return cmp.Or(strings.Compare(a.Module, b.Module), strings.Compare(a.Version, b.Version))
	})
	return found, drafts, unchecked
}

// licenceDraft is the finding of a module that may not be used as it is.
func licenceDraft(root string, m module, l conclave.Licence) (draft, bool) {
	file := path.Join(m.dir, "go.mod")
	f := conclave.Finding{Tool: toolLicences, Rule: string(l.Verdict), Level: conclave.LevelWarning, Category: catLicence, Path: file,
		Line: requireLine(readText(root, file), l.Module), Fingerprint: digest(toolLicences, string(l.Verdict), l.Module, m.dir)}
	name := strings.Join(l.Licences, " and ")
	switch l.Verdict {
	case conclave.LicenceDenied:
		f.Level = conclave.LevelError
		f.Message = fmt.Sprintf("%s is under %s, which is denied", l.Module, name)
	case conclave.LicenceUnlisted:
		f.Message = fmt.Sprintf("%s is under %s, which is not on the list of allowed licences", l.Module, name)
	case conclave.LicenceUnknown:
		f.Message = fmt.Sprintf("%s has no licence that is recognised", l.Module)
	default:
		return draft{}, false
	}
	return draft{Finding: f}, true
}

// requireLine is the number of the first line that has the word, or 0: a module that
// only others require has no line.
func requireLine(text []byte, word string) int {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if slices.Contains(strings.Fields(string(line)), word) {
			return n
		}
	}
	return 0
}

// dependency is a module as the go command tells of it.
type dependency struct {
	Path, Version, Dir string
	Main               bool
	Replace            *dependency
}

// dependencies lists the modules that the packages of the module in dir are built
// with, each with the folder that holds it.
func dependencies(ctx context.Context, dir string) ([]dependency, error) {
	if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err != nil || !bytes.Contains(mod, []byte("require")) {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Module,Error", "./...")
	cmd.Dir, cmd.Env = dir, goEnviron(dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go list: %s", firstLine(strings.TrimSpace(stderr.String()+" "+err.Error())))
	}
	var all []dependency
	for d := json.NewDecoder(&stdout); ; {
		var p struct {
			ImportPath string
			Standard   bool
			Module     *dependency
			Error      *struct{ Err string }
		}
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading what go list printed: %w", err)
		}
		if p.Module == nil && !p.Standard && p.Error != nil { // whose it is can't be told, nor what it needs itself
			return nil, fmt.Errorf("go list: %s: %s (run go mod download)", p.ImportPath, firstLine(p.Error.Err))
		}
		if p.Module == nil || p.Module.Main || slices.ContainsFunc(all, func(o dependency) bool { return o.Path == p.Module.Path }) {
			continue
		}
		at := *p.Module
		if at.Replace != nil {
			at.Dir = at.Replace.Dir
		}
		if vendor := filepath.Join(dir, "vendor", filepath.FromSlash(at.Path)); at.Dir == "" {
			at.Dir = vendor
		}
		all = append(all, at)
	}
}

// licenceScanner recognises texts of licences, and remembers what each was by its
// hash: getting ready takes two seconds.
type licenceScanner struct{ cache string }

// folder adds the licences that the files of a folder's top level hold.
func (s licenceScanner) folder(dir string, l *conclave.Licence) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("the module is not in the module cache (run go mod download)")
	}
	if err != nil {
		return fmt.Errorf("reading its folder: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !isLicenceFile(e.Name()) {
			continue
		}
		ids, err := s.file(readText(dir, e.Name()))
		if err != nil {
			return err
		}
		for _, id := range ids {
			if !slices.Contains(l.Licences, id) {
				l.Licences = append(l.Licences, id)
			}
		}
	}
	slices.Sort(l.Licences)
	return nil
}

// isLicenceFile goes by the names that licences are published under.
func isLicenceFile(name string) bool {
	name = strings.ToUpper(name)
	for _, begin := range []string{"LICENSE", "LICENCE", "COPYING", "UNLICENSE", "MIT-LICENSE"} {
		if rest, ok := strings.CutPrefix(name, begin); ok && (rest == "" || strings.ContainsAny(rest[:1], ".-_")) {
			return path.Ext(name) != ".GO"
		}
	}
	return false
}

// recognised is how much of a file must be the text of licences, in percent;
// below that it says something else as well.
const recognised = 75

func (s licenceScanner) file(text []byte) ([]string, error) {
	if len(text) == 0 {
		return nil, nil
	}
	sum := sha256.Sum256(text)
	known := filepath.Join(s.cache, hex.EncodeToString(sum[:]))
	if ids, err := os.ReadFile(known); err == nil { // #nosec G304 -- named by a hash
		return strings.Fields(string(ids)), nil
	}
	var ids []string
	if c := licensecheck.Scan(text); c.Percent >= recognised {
		for _, m := range c.Match {
			if !slices.Contains(ids, m.ID) {
				ids = append(ids, m.ID)
			}
		}
	}
	if err := os.MkdirAll(s.cache, 0o750); err != nil {
		return nil, fmt.Errorf("making the cache of licences: %w", err)
	}
	if err := os.WriteFile(known+".new", []byte(strings.Join(ids, "\n")), 0o600); err != nil {
		return nil, fmt.Errorf("keeping what a licence is: %w", err)
	}
	return ids, os.Rename(known+".new", known)
}
