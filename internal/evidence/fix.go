package evidence

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"conclave"
)

// maxRounds bounds how often the analysers look again after fixes were applied.
const maxRounds = 5

// FixClasses says what [Meter.Fix] may mend.
type FixClasses struct {
	Findings     bool // what an analyser suggests a fix for
	Format       bool // formatting of Go files
	Dependencies bool // versions of vulnerable dependencies
}

// LeftFinding is a finding that was not mended, and why.
type LeftFinding struct {
	conclave.Finding
	Why string `json:"why"`
}

// FixReport is what a repair did.
type FixReport struct {
	Applied   []conclave.Finding `json:"applied"` // mended, and gone from the analysers' results
	Files     []string           `json:"files"`   // written
	Left      []LeftFinding      `json:"left"`
	Unchecked []string           `json:"unchecked,omitempty"`
}

// Fix mends in the tree what can be mended without judgement. Each batch of
// fixes is tried on a copy, which must still build and pass the tests that
// passed before; a batch that does not is halved until the harmful fix is
// found, and that one is left out. The tree gets only what stood the trial. It
// fails as [Meter.Measure] does.
func (m *Meter) Fix(ctx context.Context, dir string, classes FixClasses) (FixReport, error) {
	f := &fixer{
		meter: m, dir: dir, classes: classes,
		files: map[string][]byte{}, why: map[string]string{}, tried: map[string]conclave.Finding{},
		report: FixReport{Applied: []conclave.Finding{}, Files: []string{}, Left: []LeftFinding{}},
	}
	if err := f.fix(ctx); err != nil {
		return FixReport{}, fmt.Errorf("fixing %s: %w", dir, err)
	}
	return f.report, nil
}

type fixer struct {
	meter   *Meter
	dir     string
	classes FixClasses
	files   map[string][]byte // what stood the trial, by path
	report  FixReport

	before trial                       // how the untouched tree does
	why    map[string]string           // by key: why a finding's fix was left out
	tried  map[string]conclave.Finding // by key: findings whose fix was accepted
}

func (f *fixer) fix(ctx context.Context) error {
	var err error
	if f.before, err = f.try(ctx, nil); err != nil {
		return err
	}
	f.report.Unchecked = append(f.report.Unchecked, f.before.unchecked...)
	var last workerReport
	for range maxRounds {
		var broken string
		if last, broken, err = f.analyse(ctx); err != nil {
			return err
		}
		if broken != "" {
			f.report.Unchecked = append(f.report.Unchecked, "analysers: "+broken)
			return nil
		}
		edits := f.choose(last)
		if len(edits) == 0 {
			break
		}
		accepted, err := f.search(ctx, nil, edits)
		if err != nil {
			return err
		}
		if err := f.accept(accepted); err != nil {
			return err
		}
	}
	if f.classes.Dependencies {
		if err := f.upgrade(ctx, last); err != nil {
			return err
		}
	}
	if f.classes.Format {
		if err := f.format(ctx, last.Findings); err != nil {
			return err
		}
	}
	return f.finish(ctx)
}

// A trial is how a state of the tree does.
type trial struct {
	build     string // why it does not build; empty when it does
	passed    map[string]bool
	failing   map[string]string // by key: the message
	unchecked []string
}

// open copies the tree with what was accepted so far and with changed files.
func (f *fixer) open(changed map[string][]byte) (*measurement, error) {
	x, err := f.meter.open(Tree{Dir: f.dir})
	if err != nil {
		return nil, err
	}
	for _, set := range []map[string][]byte{f.files, changed} {
		if err := writeFiles(x.dir, set); err != nil {
			x.close()
			return nil, err
		}
	}
	if err := x.look(); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

// try builds and tests a state of the tree.
func (f *fixer) try(ctx context.Context, changed map[string][]byte) (trial, error) {
	x, err := f.open(changed)
	if err != nil {
		return trial{}, err
	}
	defer x.close()
	t := trial{passed: map[string]bool{}, failing: map[string]string{}}
	builds, err := x.build(ctx)
	if err != nil {
		return t, err
	}
	for _, c := range builds {
		if !c.Passed && c.Skipped == "" {
			t.build += c.Name + " failed: " + shorten(gist(c.Output), 300)
		}
	}
	if t.build != "" && f.before.build == "" && f.before.passed != nil {
		return t, nil // lost already
	}
	tests, err := x.test(ctx)
	if err != nil {
		return t, err
	}
	for _, name := range x.passed {
		t.passed[name] = true
	}
	for _, found := range tests.findings {
		t.failing[found.Key()] = found.Message
	}
	for _, u := range tests.unchecked {
		t.unchecked = append(t.unchecked, u+"; fixes are verified by building only")
	}
	return t, nil
}

// harm says what is worse in a trial than before, or nothing.
func (f *fixer) harm(t trial) string {
	if t.build != "" {
		return t.build
	}
	for key, message := range t.failing {
		if _, before := f.before.failing[key]; !before {
			return message
		}
	}
	for name := range f.before.passed {
		if !t.passed[name] {
			return "the test " + name + " no longer passes"
		}
	}
	return ""
}

// analyse runs the analysers over the state so far.
func (f *fixer) analyse(ctx context.Context) (report workerReport, why string, err error) {
	x, err := f.open(nil)
	if err != nil {
		return report, "", err
	}
	defer x.close()
	return x.work(ctx)
}

// choose picks the fixes of a round: those of the most telling tools first, and
// no two that touch the same text.
func (f *fixer) choose(r workerReport) []Edit {
	if !f.classes.Findings || f.before.build != "" {
		return nil
	}
	byKey := map[string]conclave.Finding{}
	for _, found := range r.Findings {
		byKey[found.Key()] = found
	}
	edits := slices.DeleteFunc(slices.Clone(r.Edits), func(e Edit) bool {
		_, again := f.tried[e.Key]
		return again || f.why[e.Key] != "" || len(e.Changes) == 0
	})
	slices.SortStableFunc(edits, func(a, b Edit) int {
		return slices.Index(fixOrder(), byKey[a.Key].Tool) - slices.Index(fixOrder(), byKey[b.Key].Tool)
	})
	var chosen []Edit
	var taken []Change
	for _, e := range edits {
		if why := f.unfit(e); why != "" {
			f.why[e.Key] = why
			continue
		}
		if slices.ContainsFunc(e.Changes, func(c Change) bool { return overlaps(c, taken) }) {
			continue // the next round sees it again
		}
		taken = append(taken, e.Changes...)
		chosen = append(chosen, e)
		f.tried[e.Key] = byKey[e.Key]
	}
	return chosen
}

func fixOrder() []string { return []string{toolGosec, toolVet, toolStaticcheck, toolModernize} }

// unfit says why an edit can't be applied whatever the tests say.
func (f *fixer) unfit(e Edit) string {
	for _, c := range e.Changes {
		text, err := f.content(c.Path)
		switch {
		case err != nil:
			return "the file can't be read"
		case c.Start < 0 || c.End < c.Start || c.End > len(text):
			return "the fix is out of the file's bounds"
		case isGenerated(text):
			return "the file is generated"
		case bytes.Contains(text, []byte("\n//line ")):
			return "line directives move the file's positions"
		}
	}
	return ""
}

// content returns a file as it stands.
func (f *fixer) content(name string) ([]byte, error) {
	if text, ok := f.files[name]; ok {
		return text, nil
	}
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(filepath.FromSlash(name))
}

// search returns which of the candidates stand the trial together with those
// that were accepted, by halving.
func (f *fixer) search(ctx context.Context, accepted, candidates []Edit) ([]Edit, error) {
	together := append(slices.Clone(accepted), candidates...)
	harm, err := f.judge(ctx, together)
	if err != nil {
		return nil, err
	}
	switch {
	case harm == "":
		return together, nil
	case len(candidates) == 1:
		key := candidates[0].Key
		f.why[key] = "its fix did harm: " + harm
		delete(f.tried, key)
		return accepted, nil
	}
	half := len(candidates) / 2
	if accepted, err = f.search(ctx, accepted, candidates[:half]); err != nil {
		return nil, err
	}
	return f.search(ctx, accepted, candidates[half:])
}

// judge applies edits to the state so far and says what harm they do.
func (f *fixer) judge(ctx context.Context, edits []Edit) (string, error) {
	changed, err := f.apply(edits)
	if err != nil {
		return err.Error(), nil
	}
	t, err := f.try(ctx, changed)
	if err != nil {
		return "", err
	}
	return f.harm(t), nil
}

func (f *fixer) accept(edits []Edit) error {
	changed, err := f.apply(edits)
	for name, text := range changed {
		f.files[name] = text
	}
	return err
}

// apply returns the files that edits change. A file that was formatted stays so.
func (f *fixer) apply(edits []Edit) (map[string][]byte, error) {
	byFile := map[string][]Change{}
	for _, e := range edits {
		for _, c := range e.Changes {
			byFile[c.Path] = append(byFile[c.Path], c)
		}
	}
	changed := map[string][]byte{}
	for name, changes := range byFile {
		old, err := f.content(name)
		if err != nil {
			return nil, err
		}
		text, err := rewrite(old, changes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		changed[name] = text
	}
	return changed, nil
}

// format formats what gofmt found, and verifies even that.
func (f *fixer) format(ctx context.Context, findings []conclave.Finding) error {
	changed := map[string][]byte{}
	var mended []conclave.Finding
	for _, found := range findings {
		if found.Tool != toolFormat {
			continue
		}
		text, err := f.content(found.Path)
		if err != nil {
			return err
		}
		formatted, err := gofmt(text)
		if err != nil {
			f.why[found.Key()] = "gofmt: " + firstLine(err.Error())
			continue
		}
		changed[found.Path] = formatted
		mended = append(mended, found)
	}
	if len(changed) == 0 {
		return nil
	}
	t, err := f.try(ctx, changed)
	if err != nil {
		return err
	}
	harm := f.harm(t)
	if f.before.build != "" && t.build == f.before.build {
		harm = "" // it did not build before, and for the same reason
	}
	for _, found := range mended {
		if harm != "" {
			f.why[found.Key()] = "formatting did harm: " + harm
			continue
		}
		f.tried[found.Key()] = found
		f.files[found.Path] = changed[found.Path]
	}
	return nil
}

// finish writes the tree and reports what is mended and what is left.
func (f *fixer) finish(ctx context.Context) error {
	final, broken, err := f.analyse(ctx)
	if err != nil {
		return err
	}
	if broken != "" {
		return conclave.Errorf(conclave.ErrInternal, "the fixed tree can't be analysed: %s", broken)
	}
	f.report.Unchecked = append(f.report.Unchecked, final.Unchecked...)
	slices.Sort(f.report.Unchecked)
	f.report.Unchecked = slices.Compact(f.report.Unchecked)
	left := keys(final.Findings)
	for key, found := range f.tried {
		if !left[key] {
			f.report.Applied = append(f.report.Applied, found)
		}
	}
	slices.SortFunc(f.report.Applied, byPlace)
	for _, found := range final.Findings {
		f.report.Left = append(f.report.Left, LeftFinding{found, f.reason(found)})
	}
	if err := writeFiles(f.dir, f.files); err != nil {
		return err
	}
	for name := range f.files {
		f.report.Files = append(f.report.Files, name)
	}
	slices.Sort(f.report.Files)
	return nil
}

// reason says why a finding is still there.
func (f *fixer) reason(found conclave.Finding) string {
	_, tried := f.tried[found.Key()]
	switch {
	case f.why[found.Key()] != "":
		return f.why[found.Key()]
	case tried:
		return "its fix did not remove it"
	case !found.Fixable:
		return "no mechanical fix is known"
	case found.Tool == toolFormat && !f.classes.Format, found.Tool == toolVuln && !f.classes.Dependencies,
		found.Tool != toolFormat && found.Tool != toolVuln && !f.classes.Findings:
		return "not asked for"
	case f.before.build != "":
		return "the tree does not build, so a fix can't be verified"
	}
	return fmt.Sprintf("not reached in %d rounds", maxRounds)
}

// writeFiles writes files below a directory, whatever links the tree holds.
func writeFiles(dir string, files map[string][]byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	defer root.Close()
	for name, text := range files {
		perm := fs.FileMode(0o644)
		if info, err := root.Stat(filepath.FromSlash(name)); err == nil {
			perm = info.Mode().Perm()
		}
		if err := root.WriteFile(filepath.FromSlash(name), text, perm); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// upgrade raises vulnerable dependencies one by one.
func (f *fixer) upgrade(ctx context.Context, r workerReport) error {
	keysOf := map[Upgrade][]string{}
	var order []Upgrade
	for _, u := range newest(r.Edits) {
		keysOf[u.Upgrade] = u.keys
		order = append(order, u.Upgrade)
	}
	for _, u := range order {
		why, err := f.raise(ctx, u)
		if err != nil {
			return err
		}
		for _, found := range r.Findings {
			switch {
			case !slices.Contains(keysOf[u], found.Key()):
			case why != "":
				f.why[found.Key()] = why
			default:
				f.tried[found.Key()] = found
			}
		}
	}
	return nil
}

// raise upgrades one dependency, or says why it did not.
func (f *fixer) raise(ctx context.Context, u Upgrade) (why string, err error) {
	proxy, ok := fileURL(f.meter.proxy)
	switch {
	case !ok:
		return "no module proxy can be reached from the sandbox (set GOPROXY to a file:// directory)", nil
	case f.before.build != "":
		return "the tree does not build, so an upgrade can't be verified", nil
	}
	x, err := f.open(nil)
	if err != nil {
		return "", err
	}
	changed, why, err := x.goGet(ctx, u, proxy)
	x.close()
	if err == nil && why == "" {
		var t trial
		if t, err = f.try(ctx, changed); err == nil {
			why = f.harm(t)
		}
	}
	if err != nil || why != "" {
		return strings.TrimSpace(why), err
	}
	for name, text := range changed {
		f.files[name] = text
	}
	return "", nil
}
