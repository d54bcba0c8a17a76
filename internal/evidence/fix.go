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
	"unicode"

	"golang.org/x/tools/go/analysis/passes/modernize"

	"conclave"
	"conclave/internal/repair"
)

// maxRounds bounds how often the analysers look again after fixes were applied.
const maxRounds = 8

// maxTrials bounds how often a state of the tree is built, analysed and tested.
const maxTrials = 40

// FixClasses says what [Meter.Fix] may mend.
type FixClasses struct {
	Findings     bool // what an analyser suggests a fix for
	Format       bool // formatting of Go files
	Dependencies bool // versions of vulnerable dependencies
}

// FixReport is what a repair did.
type FixReport struct {
	Applied   []conclave.Finding     `json:"applied"` // mended, and gone from the analysers' results
	Files     []string               `json:"files"`   // written
	Left      []conclave.LeftFinding `json:"left"`
	Unchecked []string               `json:"unchecked,omitempty"`
}

// Fix mends in the tree what can be mended without judgement. Each batch of
// fixes is tried on a copy, which must still build and pass the tests that
// passed before; a batch that does not is halved until the harmful fix is
// found, and that one is left out. The tree gets only what stood the trial. It
// fails as [Meter.Measure] does.
func (m *Meter) Fix(ctx context.Context, dir string, classes FixClasses) (FixReport, error) {
	f := &fixer{
		meter: m, dir: dir, classes: classes,
		files: map[string][]byte{}, why: map[string]string{}, tried: map[string]conclave.Finding{}, equals: map[string]int{},
		report: FixReport{Applied: []conclave.Finding{}, Files: []string{}, Left: []conclave.LeftFinding{}},
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

	last   trial // how the tree did, with the findings that are left so far
	trials int
	why    map[string]string           // by key: why a finding's fix was left out
	tried  map[string]conclave.Finding // by key: findings whose fix was accepted
	equals map[string]int              // by key: findings of the rule in the file when it was tried
}

func (f *fixer) fix(ctx context.Context) error {
	t, _, err := f.try(ctx, nil)
	if err != nil {
		return err
	}
	if t.broken != "" {
		return conclave.Errorf(conclave.ErrUnavailable, "the analysers do not run on it: %s", t.broken)
	}
	f.last = t
	f.report.Unchecked = append(f.report.Unchecked, t.unchecked...)
	if f.classes.Format {
		if err := f.format(ctx); err != nil {
			return err
		}
	}
	for range maxRounds {
		edits := f.choose()
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
		if err := f.upgrade(ctx); err != nil {
			return err
		}
	}
	return f.finish()
}

// A trial is how a state of the tree does.
type trial struct {
	build     string // why it does not build; empty when it does
	report    Analysis
	broken    string // why the analysers did not run
	passed    map[string]bool
	failing   map[string]string // by key: the message
	unchecked []string
}

// A harm is what is worse in a trial than it was; empty when nothing is.
type harm struct {
	text   string
	places []conclave.Finding // where it shows
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

// try builds, analyses and tests a state of the tree, and says what is worse
// than in the state that was accepted last. It ends at the first harm.
func (f *fixer) try(ctx context.Context, changed map[string][]byte) (trial, harm, error) {
	f.trials++
	x, err := f.open(changed)
	if err != nil {
		return trial{}, harm{}, err
	}
	defer x.close()
	t := trial{passed: map[string]bool{}, failing: map[string]string{}}
	builds, err := x.build(ctx)
	if err != nil {
		return t, harm{}, err
	}
	for _, c := range builds {
		if !c.Passed && c.Skipped == "" {
			t.build += c.Name + " failed: " + c.Output
		}
	}
	first := f.last.passed == nil
	if !first && t.build != f.last.build {
		return t, harm{shorten(gist(t.build), 300), compileErrors(t.build)}, nil
	}
	if t.report, t.broken, err = x.work(ctx); err != nil {
		return t, harm{}, err
	}
	if !first {
		if h := f.worse(t); h.text != "" {
			return t, h, nil
		}
	}
	for range 2 { // a test that fails now and then is not harm
		if err := t.test(ctx, x); err != nil {
			return t, harm{}, err
		}
		if first || f.broke(t) == "" {
			break
		}
	}
	return t, harm{text: f.broke(t)}, nil
}

func (t *trial) test(ctx context.Context, x *measurement) error {
	t.failing, t.unchecked = map[string]string{}, nil
	tests, err := x.test(ctx)
	if err != nil {
		return err
	}
	for _, name := range x.passed {
		t.passed[name] = true
	}
	for _, found := range tests.findings {
		t.failing[found.Key()] = found.Message
	}
	for _, u := range tests.unchecked {
		t.unchecked = append(t.unchecked, u+"; fixes are verified by building and analysing only")
	}
	return nil
}

// compileErrors reads the places that a failed build names.
func compileErrors(output string) []conclave.Finding {
	var places []conclave.Finding
	for _, l := range compilerLine.FindAllStringSubmatch(output, -1) {
		pos := parsePosition(l[1])
		places = append(places, conclave.Finding{Path: strings.TrimPrefix(pos.Filename, "./"), Line: pos.Line, Message: l[2]})
	}
	return places
}

// worse says which findings a trial has that the state before had not: more of
// one rule in one file.
func (f *fixer) worse(t trial) harm {
	if t.broken != "" {
		return harm{text: "the analysers fail: " + t.broken}
	}
	var h harm
	before := tally(f.last.report.Findings)
	for k, list := range tally(t.report.Findings) {
		if len(list) > len(before[k]) && k.tool != toolFormat {
			h.text = fmt.Sprintf("it brings %s in %s", k.rule, k.path)
			h.places = append(h.places, list...)
		}
	}
	return h
}

type tallyKey struct{ tool, rule, path string }

func tallied(found conclave.Finding) tallyKey { return tallyKey{found.Tool, found.Rule, found.Path} }

// tally sorts findings by rule and file.
func tally(findings []conclave.Finding) map[tallyKey][]conclave.Finding {
	m := map[tallyKey][]conclave.Finding{}
	for _, found := range findings {
		m[tallied(found)] = append(m[tallied(found)], found)
	}
	return m
}

// broke says which test a trial broke, or nothing.
func (f *fixer) broke(t trial) string {
	for key, message := range t.failing {
		if _, before := f.last.failing[key]; !before {
			return message
		}
	}
	for name := range f.last.passed {
		if !t.passed[name] {
			return "the test " + name + " no longer passes"
		}
	}
	return ""
}

// choose picks the fixes of a round: those of the most telling tools first, and
// no two that touch the same text.
func (f *fixer) choose() []Edit {
	if !f.classes.Findings {
		return nil
	}
	byKey := map[string]conclave.Finding{}
	for _, found := range f.last.report.Findings {
		byKey[found.Key()] = found
	}
	now := tally(f.last.report.Findings)
	edits := slices.DeleteFunc(slices.Clone(f.last.report.Edits), func(e Edit) bool {
		// Once one of several equal findings is mended, the next one has its key.
		equal, again := f.equals[e.Key]
		return again && len(now[tallied(byKey[e.Key])]) >= equal || len(e.Changes) == 0
	})
	slices.SortStableFunc(edits, func(a, b Edit) int {
		return slices.Index(fixOrder(), byKey[a.Key].Tool) - slices.Index(fixOrder(), byKey[b.Key].Tool)
	})
	var chosen []Edit
	var taken []repair.Change
	for _, e := range edits {
		if why := f.unfit(e); why != "" {
			f.why[e.Key] = why
			continue
		}
		if slices.ContainsFunc(e.Changes, func(c repair.Change) bool { return repair.Overlaps(c, taken) }) {
			continue // the next round sees it again
		}
		taken = append(taken, e.Changes...)
		chosen = append(chosen, e)
		f.tried[e.Key] = byKey[e.Key]
		f.equals[e.Key] = len(now[tallied(byKey[e.Key])])
		delete(f.why, e.Key)
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
		case repair.IsGenerated(text):
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
// that were accepted. Those that the harm points at are tried after the others;
// otherwise the candidates are halved.
func (f *fixer) search(ctx context.Context, accepted, candidates []Edit) ([]Edit, error) {
	if f.trials >= maxTrials {
		for _, e := range candidates {
			f.refuse(e, fmt.Sprintf("not tried: %d trials were made", maxTrials))
		}
		return accepted, nil
	}
	together := append(slices.Clone(accepted), candidates...)
	h, err := f.judge(ctx, together)
	if err != nil {
		return nil, err
	}
	switch {
	case h.text == "":
		return together, nil
	case len(candidates) == 1:
		f.refuse(candidates[0], "its fix did harm: "+h.text)
		return accepted, nil
	}
	first, second := f.suspect(h, candidates)
	if len(first) == 0 || len(second) == 0 {
		half := len(candidates) / 2
		first, second = candidates[:half], candidates[half:]
	}
	if accepted, err = f.search(ctx, accepted, first); err != nil {
		return nil, err
	}
	return f.search(ctx, accepted, second)
}

func (f *fixer) refuse(e Edit, why string) {
	f.why[e.Key] = why
	delete(f.tried, e.Key)
}

// suspect tells those candidates that a harm points at from the others: they
// change text near to where it shows, or what they are about is named in it.
func (f *fixer) suspect(h harm, candidates []Edit) (innocent, guilty []Edit) {
	for _, e := range candidates {
		subject := lastWord(f.tried[e.Key].Message)
		if slices.ContainsFunc(h.places, func(p conclave.Finding) bool {
			return e.touches(p) || subject != "" && slices.Contains(strings.FieldsFunc(p.Message, notName), subject)
		}) {
			guilty = append(guilty, e)
		} else {
			innocent = append(innocent, e)
		}
	}
	return innocent, guilty
}

// lastWord is the name in "func (*T).name is unused".
func lastWord(message string) string {
	object, ok := strings.CutSuffix(message, " is unused")
	if !ok {
		return ""
	}
	words := strings.FieldsFunc(object, notName)
	return words[len(words)-1]
}

func notName(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// judge applies edits to the state so far and says what harm they do. A state
// without harm is the one that the next trial is compared with.
func (f *fixer) judge(ctx context.Context, edits []Edit) (harm, error) {
	changed, err := f.apply(edits)
	if err != nil {
		return harm{text: err.Error()}, nil
	}
	t, h, err := f.try(ctx, changed)
	if err == nil && h.text == "" {
		f.last.report = t.report
	}
	return h, err
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
	byFile := map[string][]repair.Change{}
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
		text, err := repair.Rewrite(old, changes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		changed[name] = text
	}
	return changed, nil
}

// format formats what gofmt found, and verifies even that.
func (f *fixer) format(ctx context.Context) error {
	changed := map[string][]byte{}
	var mended []conclave.Finding
	for _, found := range f.last.report.Findings {
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
	known := f.last.report
	f.last.report.Findings = append(slices.Clone(known.Findings), oldConstraints(changed)...)
	t, h, err := f.try(ctx, changed)
	if err != nil {
		return err
	}
	if h.text != "" {
		f.last.report = known
		for _, found := range mended {
			f.why[found.Key()] = "formatting did harm: " + h.text
		}
		return nil
	}
	f.last.report = t.report
	for _, found := range mended {
		f.tried[found.Key()] = found
		f.files[found.Path] = changed[found.Path]
	}
	return nil
}

// oldConstraints are the findings that gofmt itself brings: it writes the new
// form of a build constraint above the old one.
func oldConstraints(files map[string][]byte) []conclave.Finding {
	var brought []conclave.Finding
	for name := range files {
		brought = append(brought, conclave.Finding{Tool: toolModernize, Rule: modernize.PlusBuildAnalyzer.Name, Path: name})
	}
	return brought
}

// finish writes the tree and reports what is mended and what is left.
func (f *fixer) finish() error {
	final := f.last.report
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
		f.report.Left = append(f.report.Left, conclave.LeftFinding{Finding: found, Why: f.reason(found)})
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
	case found.Rule == "U1000" && !found.Fixable:
		return "it may be needed where the analyser can't see: on another platform, by reflection or linking, for its size or an import's effect"
	case !found.Fixable:
		return "no mechanical fix is known"
	case found.Tool == toolFormat && !f.classes.Format, found.Tool == toolVuln && !f.classes.Dependencies,
		found.Tool != toolFormat && found.Tool != toolVuln && !f.classes.Findings:
		return "not asked for"
	case f.last.build != "" && found.Tool == toolVuln:
		return "the tree does not build, so an upgrade can't be verified"
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
