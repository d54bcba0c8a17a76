package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gowebpki/jcs"

	"conclave"
	"conclave/internal/sandbox"
)

// Runner runs a command in isolation; a [sandbox.Sandbox] does.
type Runner interface {
	Run(ctx context.Context, c sandbox.Command) (sandbox.Result, error)
}

// Options for [New].
type Options struct {
	// Sandbox runs everything that reads or runs the code. Required.
	Sandbox Runner
	// CacheDir keeps the Go build cache, the analysers' cache and scratch copies
	// of trees. It is an absolute path, private to Conclave. Required.
	CacheDir string
	// GoCache is the user's own build cache: compiled packages are read from it,
	// and never written. Empty: the one that go env names.
	GoCache string
	// Self is the binary that plays the worker (see [Worker]). Empty: this one.
	Self string
	// Timeout bounds each check. Zero: ten minutes.
	Timeout time.Duration
	// VulnDB is the address of a Go vulnerability database, as GOVULNDB names
	// it; only file:// can be read in the sandbox. Empty: dependencies are not
	// checked.
	VulnDB string
	// ModuleProxy is where upgrades of vulnerable dependencies come from, as
	// GOPROXY names it; only file:// can be read in the sandbox. Empty: the
	// module cache alone.
	ModuleProxy string
	// Licences are those that dependencies may have.
	Licences LicencePolicy
	// Logger gets what is not an answer. Nil: nothing is logged.
	Logger *slog.Logger
}

func (o Options) validate() error {
	switch {
	case o.Sandbox == nil:
		return conclave.Errorf(conclave.ErrInvalid, "evidence: no sandbox")
	case !filepath.IsAbs(o.CacheDir):
		return conclave.Errorf(conclave.ErrInvalid, "evidence: cache directory %q: want an absolute path", o.CacheDir)
	case o.Timeout < 0:
		return conclave.Errorf(conclave.ErrInvalid, "evidence: the time limit is negative")
	}
	return o.Licences.Validate()
}

// Meter measures trees. It is safe for concurrent use.
type Meter struct {
	box      Runner
	cache    string
	self     string
	timeout  time.Duration
	licences LicencePolicy
	vulnDB   string
	proxy    string
	log      *slog.Logger
	goEnv    []string // without a build cache
	goRead   []string
	userMod  string // the user's module cache
	userGo   string // the user's build cache; empty: none
	memory   memory
}

// New returns a meter. It fails with ErrInvalid for bad options.
func New(o Options) (*Meter, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	m := &Meter{
		box: o.Sandbox, cache: filepath.Clean(o.CacheDir), self: o.Self, timeout: o.Timeout, licences: o.Licences,
		vulnDB: o.VulnDB, proxy: o.ModuleProxy, log: o.Logger, goRead: sandbox.GoRead(),
	}
	for _, kv := range sandbox.GoEnv("") {
		if kv != "GOCACHE=" {
			m.goEnv = append(m.goEnv, kv)
		}
		if dir, ok := strings.CutPrefix(kv, "GOMODCACHE="); ok {
			m.userMod = dir
		}
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.timeout == 0 {
		m.timeout = 10 * time.Minute
	}
	if m.self == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("finding this binary: %w", err)
		}
		m.self = self
	}
	for _, dir := range []string{m.goCache(), m.lintCache()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the cache: %w", err)
		}
	}
	if err := trimGoCache(m.goCache(), time.Now()); err != nil {
		return nil, err
	}
	m.userGo = userGoCache(o.GoCache)
	return m, nil
}

// userGoCache returns the user's build cache, or nothing when there is none.
func userGoCache(dir string) string {
	if dir == "" {
		cmd := exec.Command("go", "env", "GOCACHE")
		cmd.Dir = "/" // no go.mod here may choose another toolchain
		out, err := cmd.Output()
		if err != nil {
			return "" // without a go command nothing is compiled either
		}
		dir = strings.TrimSpace(string(out))
	}
	return existingDir(dir)
}

// existingDir returns a directory's path, or nothing when it is not there.
func existingDir(dir string) string {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Clean(dir)
}

func (m *Meter) goCache() string   { return filepath.Join(m.cache, "go-build") }
func (m *Meter) lintCache() string { return filepath.Join(m.cache, "lint") }
func (m *Meter) ownMod() string    { return filepath.Join(m.cache, "mod") }

// Tree is what is to be measured.
type Tree struct {
	Dir      string // absolute path
	TreeHash string // git's hash of it, as evidence carries it
	// Build and Test are commands that run at the root. Nil: found by the files
	// that are there.
	Build, Test []string
}

// Measure runs the checks and the analysers over a copy of the tree. What can't
// be run here is a skipped check or a line of Unchecked, with the reason. It
// fails with ErrInvalid or ErrNotFound for a bad directory, ErrLimited when the
// tree is too large, ErrUnavailable when there is no sandbox, and ctx's error.
//
// Evidence belongs to a tree's hash: that of a tree with a TreeHash whose checks
// passed a few minutes ago is returned again, if no file or command differs.
func (m *Meter) Measure(ctx context.Context, t Tree) (conclave.Evidence, error) {
	x, err := m.open(t)
	if err != nil {
		return conclave.Evidence{}, err
	}
	defer x.close()
	if e, ok := x.recall(wholeEvidence); ok {
		return clone(e), nil
	}
	gates, err := x.measure(ctx)
	if err != nil {
		return conclave.Evidence{}, fmt.Errorf("measuring %s: %w", t.Dir, err)
	}
	if err := diskFull(x.evidence.Checks); err != nil {
		return conclave.Evidence{}, err
	}
	e := seal(x.evidence)
	x.remember(wholeEvidence, clone(e))
	x.remember(gatesOnly, conclave.Evidence{Checks: gates})
	return e, nil
}

// Analyse runs the analysers alone over a copy of the tree, in the sandbox. It
// fails as [Meter.Measure] does; what could not be looked at is in Unchecked.
func (m *Meter) Analyse(ctx context.Context, t Tree) (Analysis, error) {
	x, err := m.open(t)
	if err != nil {
		return Analysis{}, err
	}
	defer x.close()
	a, why, err := x.work(ctx)
	if err != nil {
		return a, fmt.Errorf("analysing %s: %w", t.Dir, err)
	}
	if why != "" {
		a.Unchecked = append(a.Unchecked, "analysers: "+why)
	}
	p, err := x.programs(ctx)
	a.Findings, a.Unchecked = append(a.Findings, p.findings...), append(a.Unchecked, p.unchecked...)
	return a, err
}

// Check builds and tests a copy of the tree, without analysers: what a merge
// needs to know of two changes that were measured apart. It returns the checks
// that a measurement of the same tree made, as [Meter.Measure] does, and fails
// as that does.
func (m *Meter) Check(ctx context.Context, t Tree) ([]conclave.Check, error) {
	x, err := m.open(t)
	if err != nil {
		return nil, err
	}
	defer x.close()
	if e, ok := x.recall(gatesOnly); ok {
		return slices.Clone(e.Checks), nil
	}
	built, err := x.build(ctx)
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", t.Dir, err)
	}
	tested, err := x.test(ctx)
	if err != nil {
		return nil, fmt.Errorf("testing %s: %w", t.Dir, err)
	}
	checks := append(built, tested.checks...)
	if err := diskFull(checks); err != nil {
		return nil, err
	}
	x.remember(gatesOnly, conclave.Evidence{Checks: slices.Clone(checks)})
	return checks, nil
}

// diskFull is an error for checks that failed for want of space: that says
// nothing about the tree.
func diskFull(checks []conclave.Check) error {
	for _, c := range checks {
		if !c.Passed && c.Skipped == "" && conclave.SaysDiskFull(c.Output) {
			return conclave.Errorf(conclave.ErrUnavailable, "the disk was full while %s ran", c.Command)
		}
	}
	return nil
}

// clone copies evidence, which callers may change.
func clone(e conclave.Evidence) conclave.Evidence {
	e.Checks, e.Findings, e.Unchecked = slices.Clone(e.Checks), slices.Clone(e.Findings), slices.Clone(e.Unchecked)
	e.Licences, e.Languages = slices.Clone(e.Licences), maps.Clone(e.Languages)
	return e
}

// open copies the tree and finds out what it holds.
func (m *Meter) open(t Tree) (*measurement, error) {
	info, err := os.Stat(t.Dir)
	switch {
	case !filepath.IsAbs(t.Dir):
		return nil, conclave.Errorf(conclave.ErrInvalid, "evidence: tree %q: want an absolute path", t.Dir)
	case errors.Is(err, os.ErrNotExist):
		return nil, conclave.Errorf(conclave.ErrNotFound, "evidence: tree: %w", err)
	case err != nil || !info.IsDir():
		return nil, conclave.Errorf(conclave.ErrInvalid, "evidence: %s is not a directory", t.Dir)
	}
	worker, err := m.worker()
	if err != nil {
		return nil, err
	}
	dir, contents, free, err := m.scratch(t.Dir)
	if err != nil {
		return nil, err
	}
	x := &measurement{Meter: m, tree: t, dir: dir, contents: contents, userGo: existingDir(m.userGo), close: free, workerPath: worker}
	x.evidence.Tree = t.TreeHash
	if err := x.look(); err != nil {
		free()
		return nil, err
	}
	return x, nil
}

// worker returns the path of a copy of the binary in a directory that holds
// nothing else, because what the sandbox shares is directories.
func (m *Meter) worker() (string, error) {
	info, err := os.Stat(m.self)
	if err != nil {
		return "", conclave.Errorf(conclave.ErrUnavailable, "evidence: the worker's binary: %w", err)
	}
	name := digest(m.self, fmt.Sprint(info.Size()), info.ModTime().String())
	base := filepath.Join(m.cache, "worker")
	target := filepath.Join(base, name, "conclave")
	now := time.Now()
	if os.Chtimes(filepath.Dir(target), now, now) == nil {
		if _, err := os.Stat(target); err == nil {
			return target, nil
		}
	}
	removeOld(base, now.Add(-24*time.Hour))
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return "", fmt.Errorf("copying the worker: %w", err)
	}
	fresh, err := os.MkdirTemp(base, "copy")
	if err != nil {
		return "", fmt.Errorf("copying the worker: %w", err)
	}
	defer os.RemoveAll(fresh)
	if _, _, err := copyFile(m.self, filepath.Join(fresh, "conclave"), io.Discard); err != nil {
		return "", fmt.Errorf("copying the worker: %w", err)
	}
	if err := os.Rename(filepath.Join(fresh, "conclave"), target); err != nil {
		return "", fmt.Errorf("copying the worker: %w", err)
	}
	return target, nil
}

// removeOld removes the copies that nobody asked for since a time.
func removeOld(base string, since time.Time) {
	entries, _ := os.ReadDir(base)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().Before(since) {
			_ = os.RemoveAll(filepath.Join(base, e.Name()))
		}
	}
}

// goCommand is a go command that executes nothing of the tree, and so may write
// the build cache. Dir is read-only.
func (x *measurement) goCommand(dir string, args ...string) sandbox.Command {
	c := sandbox.Command{
		Args: append([]string{"go"}, args...), Dir: dir, ReadOnlyDir: true,
		Env:  append(slices.Clone(x.goEnv), x.cacheEnv("--over", x.goCache(), "--")...),
		Read: append(slices.Clone(x.goRead), x.dir, filepath.Dir(x.workerPath)), Write: []string{x.goCache()}, Timeout: x.timeout,
	}
	return x.adapt(c)
}

// untrusted is a command that may execute the tree: it may write the copy of
// the tree, and reads the build caches through the worker.
func (x *measurement) untrusted(dir string, args ...string) sandbox.Command {
	c := sandbox.Command{
		Args: args, Dir: dir,
		Env:   append(slices.Clone(x.goEnv), x.cacheEnv("--", x.goCache())...),
		Read:  append(slices.Clone(x.goRead), x.goCache(), filepath.Dir(x.workerPath)),
		Write: []string{x.dir}, Timeout: x.timeout,
	}
	return x.adapt(c)
}

// cacheEnv makes a go command ask the worker for what is compiled already, in
// the end in the user's cache. GOCACHE is then used for fuzzing only.
func (x *measurement) cacheEnv(args ...string) []string {
	prog := append([]string{x.workerPath, Worker, "--gocache"}, args...)
	if x.userGo != "" {
		prog = append(prog, x.userGo)
	}
	for i, a := range prog {
		if strings.Contains(a, " ") {
			prog[i] = "'" + a + "'" // as the go command splits it
		}
	}
	return []string{"GOCACHE=/tmp/gocache", "GOCACHEPROG=" + strings.Join(prog, " ")}
}

// adapt lets a go command read the user's build cache, and makes it build a vendored module from its vendor directory,
// and upgraded modules from our own module cache.
func (x *measurement) adapt(c sandbox.Command) sandbox.Command {
	if x.userGo != "" {
		c.Read = append(c.Read, x.userGo)
	}
	c.Env = append(c.Env, vendored(c.Dir)...)
	if x.modCache != "" {
		c.Env = append(c.Env, "GOMODCACHE="+x.modCache)
		c.Read = append(c.Read, x.modCache)
	}
	return c
}

// vendored returns the flags for a module with a vendor directory: it is built
// from that.
func vendored(dir string) []string {
	if _, err := os.Stat(filepath.Join(dir, "vendor", "modules.txt")); err != nil {
		return nil
	}
	return []string{"GOFLAGS=-mod=vendor -buildvcs=false"}
}

// fileURL returns the directory that a file:// URL names.
func fileURL(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "file" || !filepath.IsAbs(u.Path) {
		return "", false
	}
	return filepath.Clean(u.Path), true
}

// seal sets the evidence's hash: over everything but the hash and the durations.
func seal(e conclave.Evidence) conclave.Evidence {
	stable := e
	stable.Hash = ""
	stable.Checks = append([]conclave.Check(nil), e.Checks...)
	for i := range stable.Checks {
		stable.Checks[i].Millis = 0
	}
	data, err := json.Marshal(stable)
	if err == nil {
		data, err = jcs.Transform(data)
	}
	if err != nil {
		panic("evidence: " + err.Error()) // plain data always has a canonical form
	}
	sum := sha256.Sum256(data)
	e.Hash = hex.EncodeToString(sum[:])
	return e
}

// scrub takes out of a command's output what differs from run to run: the path
// of the copy, durations, addresses.
func (x *measurement) scrub(s string) string {
	s = strings.ReplaceAll(s, x.dir+"/", "")
	s = strings.ReplaceAll(s, x.dir, ".")
	s = lockedModule.ReplaceAllString(s, "$1@$2 is not in the module cache (run go mod download)")
	return volatile(s)
}

// lockedModule is how the go command says that it would have to download a module.
var lockedModule = regexp.MustCompile(`open \S+/cache/download/(\S+)/@v/(\S+)\.lock: read-only file system`)
