package evidence

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/packages"
	"honnef.co/go/tools/config"
	"honnef.co/go/tools/go/buildid"
	"honnef.co/go/tools/lintcmd/cache"
	"honnef.co/go/tools/lintcmd/runner"

	"conclave"
	"conclave/internal/repair"
)

// brokenCategory marks the diagnostic that stands for an analyser's own failure.
const brokenCategory = "analyser failed"

// lintModule runs the Go analysers over one module. Packages are loaded once
// for all of them, and what they learn of a package is cached by its contents.
func lintModule(ctx context.Context, root string, m module, cacheDir string, read *sources) ([]draft, []string, error) {
	rules := lintRules()
	var suite []*analysis.Analyzer
	for _, r := range rules {
		suite = append(suite, guarded(r.analyzer))
	}
	suite = append(suite, guarded(repair.Offers()))
	run, err := newRunner(cacheDir)
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(root, filepath.FromSlash(m.dir))
	results, err := run.Run(&packages.Config{Context: ctx, Dir: dir, Tests: true, Env: goEnviron(dir)}, suite, []string{"./..."})
	if err != nil {
		return nil, nil, fmt.Errorf("loading packages: %w", err)
	}
	if len(results) == 0 {
		return nil, nil, errNoPackages
	}
	c := lintCollector{root: root, dir: dir, rules: rules, read: read}
	for _, r := range results {
		if err := c.add(r); err != nil {
			return nil, nil, fmt.Errorf("reading the results of %s: %w", r.Package, err)
		}
	}
	return c.collect(), c.unchecked, nil
}

// errNoPackages is what is left when the go command refuses a module; the check
// "build" says why.
var errNoPackages = errors.New("the go command lists no packages")

// newRunner returns staticcheck's runner on a cache that only this binary reads:
// another build may have other analysers.
func newRunner(cacheDir string) (*runner.Runner, error) {
	if err := os.MkdirAll(cacheDir, 0o750); err != nil {
		return nil, fmt.Errorf("making the analysers' cache: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this binary: %w", err)
	}
	id, err := binaryID(self)
	if err != nil {
		return nil, fmt.Errorf("identifying this binary: %w", err)
	}
	cache.SetSalt(id)
	disk, err := cache.Open(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("opening the analysers' cache: %w", err)
	}
	return runner.New(config.Config{Checks: []string{"inherit"}}, disk) // from staticcheck.conf, else all
}

// binaryID returns a binary's build ID, or its hash when it has none.
func binaryID(name string) ([]byte, error) {
	if id, err := buildid.ReadFile(name); err == nil {
		return []byte(id), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// goEnviron is the environment for the go command in a module: a vendored
// module is built from its vendor directory.
func goEnviron(dir string) []string {
	env := os.Environ()
	if _, err := os.Stat(filepath.Join(dir, "vendor", "modules.txt")); err == nil {
		env = append(env, "GOFLAGS=-mod=vendor -buildvcs=false")
	}
	return env
}

// guarded returns the analyser with what the runner's passes lack, and with its
// failures as diagnostics, so that they are kept with the cached results.
func guarded(a *analysis.Analyzer) *analysis.Analyzer {
	safe := *a
	safe.Run = func(pass *analysis.Pass) (result any, err error) {
		pass.ReadFile = os.ReadFile
		report := pass.Report
		if a.Name != toolGosec && a.Name != repair.Name {
			pass.Report = func(d analysis.Diagnostic) {
				d.Category = a.Name // some analysers have categories of their own
				report(d)
			}
		}
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			if err != nil && len(pass.Files) > 0 {
				report(analysis.Diagnostic{Pos: pass.Files[0].Package, Category: brokenCategory, Message: a.Name + ": " + firstLine(err.Error())})
			}
		}()
		return a.Run(pass)
	}
	return &safe
}

// A lintCollector joins the results of packages and of their test variants.
type lintCollector struct {
	root, dir string
	rules     map[string]lintRule
	read      *sources
	drafts    []draft
	repairs   []runner.Diagnostic
	variants  map[string]int      // by file: analysed packages that hold it
	held      map[draftKey]int    // by finding: packages in which it was made
	suppress  []suppression       // what comments in the code suppress
	used      map[unusedKey]bool  // objects that a variant uses
	unusedAt  map[unusedKey]draft // objects that a variant does not use
	goFiles   map[string]bool     // that the analysers saw
	unchecked []string
}

type draftKey struct {
	rule, path, message string
	line, column        int
}

type unusedKey struct {
	path, name string
	line       int
}

type suppression struct {
	path   string
	line   int // 0: the whole file
	checks []string
}

func (c *lintCollector) add(r runner.Result) error {
	switch {
	case r.Failed && len(r.Errors) == 0:
		if r.Initial && !strings.HasSuffix(r.Package.PkgPath, ".test") { // the main package of a test binary
			c.unchecked = append(c.unchecked, at(lintFailed, r.Package.PkgPath)+": a dependency does not compile")
		}
		return nil
	case r.Failed:
		for _, err := range r.Errors {
			c.compileError(r, err)
		}
		c.unchecked = append(c.unchecked, at(lintFailed, r.Package.PkgPath)+": it does not compile here")
		return nil
	case r.Skipped, !r.Initial:
		return nil
	}
	data, err := r.Load()
	if err != nil {
		return err
	}
	if c.variants == nil {
		c.variants, c.held = map[string]int{}, map[draftKey]int{}
		c.goFiles = map[string]bool{}
		c.used, c.unusedAt = map[unusedKey]bool{}, map[unusedKey]draft{}
	}
	for _, f := range r.Package.GoFiles {
		c.variants[c.rel(f)]++
		c.goFiles[c.rel(f)] = true
	}
	for _, d := range data.Directives {
		c.directive(d)
	}
	made := map[draftKey]bool{}
	for _, d := range data.Diagnostics {
		c.diagnostic(d, r, made)
	}
	if !chosen(r.Config.Checks, "U1000") {
		return nil
	}
	for _, o := range data.Unused.Used {
		c.used[unusedKey{c.rel(o.Position.Filename), o.Name, o.Position.Line}] = true
	}
	for _, o := range data.Unused.Unused {
		rule := c.rules["U1000"]
		c.unusedAt[unusedKey{c.rel(o.Position.Filename), o.Name, o.Position.Line}] = c.draft(rule, "U1000",
			o.DisplayPosition, fmt.Sprintf("%s %s is unused", o.Kind, o.Name))
	}
	return nil
}

func (c *lintCollector) compileError(r runner.Result, err error) {
	e, ok := err.(packages.Error)
	if !ok {
		c.unchecked = append(c.unchecked, at(lintFailed, r.Package.PkgPath)+": "+firstLine(err.Error()))
		return
	}
	// The go command packs what the compiler printed into one message.
	lines := compilerLine.FindAllStringSubmatch(e.Msg, -1)
	if e.Pos != "" && e.Pos != "-" || lines == nil {
		lines = [][]string{{"", e.Pos, strings.TrimSpace(e.Msg)}}
	}
	for _, l := range lines {
		pos := parsePosition(l[1])
		if pos.Filename != "" && !filepath.IsAbs(pos.Filename) {
			pos.Filename = filepath.Join(c.dir, pos.Filename)
		}
		f := conclave.Finding{
			Tool: toolCompile, Rule: "compile", Level: conclave.LevelError, Category: catCorrectness,
			Path: c.rel(pos.Filename), Line: pos.Line, Column: pos.Column, Message: firstLine(l[2]),
		}
		if !filepath.IsLocal(f.Path) {
			f.Path, f.Fingerprint = "", digest(toolCompile, r.Package.PkgPath, f.Message)
		}
		c.drafts = append(c.drafts, draft{Finding: f})
	}
}

var compilerLine = regexp.MustCompile(`(?m)^(\S+\.go:\d+(?::\d+)?): (.*)$`)

// parsePosition reads "file:line:column" and its shorter forms.
func parsePosition(s string) token.Position {
	p := token.Position{Filename: s}
	var numbers []int
	for {
		i := strings.LastIndexByte(p.Filename, ':')
		if i < 0 {
			break
		}
		n, err := strconv.Atoi(p.Filename[i+1:])
		if err != nil {
			break
		}
		numbers, p.Filename = append([]int{n}, numbers...), p.Filename[:i]
	}
	if len(numbers) > 0 {
		p.Line = numbers[0]
	}
	if len(numbers) > 1 {
		p.Column = numbers[1]
	}
	if p.Filename == "-" {
		p.Filename = ""
	}
	return p
}

func (c *lintCollector) directive(d runner.SerializedDirective) {
	if d.Command != "ignore" && d.Command != "file-ignore" || len(d.Arguments) < 2 {
		return // a directive without a reason is none, as in staticcheck
	}
	s := suppression{path: c.rel(d.NodePosition.Filename), checks: strings.Split(d.Arguments[0], ",")}
	if d.Command == "ignore" {
		s.line = d.NodePosition.Line
	}
	c.suppress = append(c.suppress, s)
}

var gosecMessage = regexp.MustCompile(`^(G\d+): (?:\[(CWE-\d+)\] )?(.*) \(Severity: (\w+), Confidence: (\w+)\)`)

func (c *lintCollector) diagnostic(d runner.Diagnostic, r runner.Result, made map[draftKey]bool) {
	if d.Category == brokenCategory {
		c.unchecked = append(c.unchecked, "analyser "+d.Message+" ("+r.Package.PkgPath+")")
		return
	}
	if strings.HasPrefix(d.Category, repair.Prefix) {
		c.repairs = append(c.repairs, d)
		return
	}
	var found draft
	if m := gosecMessage.FindStringSubmatch(d.Message); m != nil {
		found = c.gosecDraft(m, d)
	} else {
		rule, ok := c.rules[d.Category]
		if !ok || rule.staticconf && !chosen(r.Config.Checks, d.Category) {
			return
		}
		found = c.draft(rule, d.Category, d.Position, d.Message)
		switch {
		case d.Category == "SA1019": // deprecated, and it works
			found.Level = conclave.LevelNote
		case d.Category == "nilness" && strings.HasPrefix(d.Message, "nil dereference"): // a certain panic
			found.Level = conclave.LevelError
		}
	}
	if !filepath.IsLocal(found.Path) || strings.HasSuffix(found.Path, "_test.go") && found.Tool == toolGosec {
		return
	}
	if len(d.SuggestedFixes) == 1 {
		found.advice = d.SuggestedFixes[0].Message
		found.changes = c.changes(d.SuggestedFixes[0])
	}
	key := draftKey{found.Rule, found.Path, found.Message, found.Line, found.Column}
	if made[key] {
		return
	}
	made[key] = true
	if c.held[key]++; c.held[key] == 1 {
		c.drafts = append(c.drafts, found)
	}
}

func (c *lintCollector) draft(r lintRule, name string, pos token.Position, message string) draft {
	return draft{Finding: conclave.Finding{
		Tool: r.tool, Rule: name, Level: r.level, Category: r.category,
		Path: c.rel(pos.Filename), Line: pos.Line, Column: pos.Column, Message: message,
	}}
}

// gosecDraft files what gosec's analyser packs into one message.
func (c *lintCollector) gosecDraft(m []string, d runner.Diagnostic) draft {
	f := c.draft(c.rules[toolGosec], m[1], d.Position, m[3])
	if m[2] != "" {
		f.Message += " (" + m[2] + ")"
	}
	switch severity, confidence := m[4], m[5]; {
	case severity == "HIGH" && confidence == "HIGH":
		f.Level = conclave.LevelError
	case severity == "LOW":
		f.Level = conclave.LevelNote
	}
	if m[1] == "G104" {
		f.Category = catCorrectness
	}
	return f
}

// changes translates a suggested fix. It returns nil when the fix reaches out
// of the tree or has positions that a line directive moved.
func (c *lintCollector) changes(fix runner.SuggestedFix) []repair.Change {
	var out []repair.Change
	for _, e := range fix.TextEdits {
		end := e.End
		if end.Filename == "" {
			end = e.Position
		}
		name := c.rel(e.Position.Filename)
		if !filepath.IsLocal(name) || end.Filename != e.Position.Filename || end.Offset < e.Position.Offset {
			return nil
		}
		if needed, ok := strings.CutPrefix(string(e.NewText), "import "); ok {
			out = append(out, repair.Change{Path: name, Import: needed})
			continue
		}
		out = append(out, repair.Change{Path: name, Start: e.Position.Offset, End: end.Offset, New: string(e.NewText)})
	}
	return out
}

// collect returns the findings after all packages were added.
func (c *lintCollector) collect() []draft {
	c.addUnused()
	var kept []draft
	for _, d := range c.drafts {
		key := draftKey{d.Rule, d.Path, d.Message, d.Line, d.Column}
		if c.rules[d.Rule].allOrNone && d.Rule != "U1000" && c.held[key] < c.variants[d.Path] {
			continue
		}
		if c.suppressed(d.Finding) {
			continue
		}
		if d, real := c.withRepair(d); real {
			kept = append(kept, d)
		}
	}
	return kept
}

// addUnused files what no variant uses, with the changes that delete it.
func (c *lintCollector) addUnused() {
	var objects []repair.Object
	drafts := map[repair.Object]draft{}
	for key, d := range c.unusedAt {
		if !c.used[key] && !c.suppressed(d.Finding) && !c.read.file(d.Path).covers(d.Line, d.Tool, d.Rule) {
			o := repair.Object{Path: key.path, Line: key.line, Name: key.name}
			objects, drafts[o] = append(objects, o), d
		}
	}
	deletions := repair.Unused(c.root, c.goFiles, objects)
	for _, o := range objects {
		d := drafts[o]
		if d.changes = deletions[o]; d.changes != nil {
			d.advice = "delete it"
		}
		c.drafts = append(c.drafts, d)
	}
}

func (c *lintCollector) suppressed(f conclave.Finding) bool {
	return slices.ContainsFunc(c.suppress, func(d suppression) bool {
		if d.path != f.Path || d.line != 0 && d.line != f.Line {
			return false
		}
		return slices.ContainsFunc(d.checks, func(check string) bool {
			ok, err := filepath.Match(strings.ToLower(check), strings.ToLower(f.Rule))
			return ok && err == nil
		})
	})
}

// withRepair attaches our own repair of the same rule and place to a finding
// whose analyser suggests none. It reports false when the finding is void.
func (c *lintCollector) withRepair(d draft) (draft, bool) {
	if d.changes != nil {
		return d, true
	}
	best := -1
	for i, r := range c.repairs {
		if r.Category != repair.Prefix+d.Rule || c.rel(r.Position.Filename) != d.Path || r.Position.Line != d.Line {
			continue
		}
		if exact := r.Position.Column == d.Column; best < 0 || exact {
			if best = i; exact {
				break
			}
		}
	}
	if best < 0 {
		return d, true
	}
	r := c.repairs[best]
	if len(r.SuggestedFixes) == 0 {
		return d, false
	}
	d.advice, d.changes = r.Message, c.changes(r.SuggestedFixes[0])
	return d, true
}

func (c *lintCollector) rel(name string) string {
	if !filepath.IsAbs(name) {
		return filepath.ToSlash(name)
	}
	rel, err := filepath.Rel(c.root, name)
	if err != nil {
		return name
	}
	return filepath.ToSlash(rel)
}

// chosen reports whether staticcheck's list of checks has one on: the last
// entry that matches decides.
func chosen(checks []string, name string) bool {
	on := false
	for _, c := range checks {
		pattern, off := strings.CutPrefix(c, "-")
		if pattern == "all" {
			pattern = "*"
		}
		if ok, err := filepath.Match(strings.ToLower(pattern), strings.ToLower(name)); ok && err == nil {
			on = !off
		}
	}
	return on
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
