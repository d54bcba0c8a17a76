package evidence

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"conclave"
	"conclave/internal/sandbox"
)

// TestMain lets the test binary play the sandbox's supervisor and the worker.
func TestMain(m *testing.M) {
	sandbox.Child()
	if len(os.Args) > 1 && os.Args[1] == Worker {
		os.Exit(AnalyseMain(os.Args[2:], os.Stdout))
	}
	os.Exit(m.Run())
}

// newMeter returns a meter on a cache that lasts between test runs, because a
// fresh one compiles the standard library first.
func newMeter(t *testing.T, change ...func(*Options)) *Meter {
	t.Helper()
	box, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(box.Describe(), "unavailable") {
		t.Fatal(box.Describe())
	}
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Sandbox: box, CacheDir: filepath.Join(user, "conclave-test", "evidence"), Timeout: 5 * time.Minute}
	for _, c := range change {
		c(&o)
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// write makes a tree of the files in a txtar archive.
func write(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func measure(t *testing.T, m *Meter, dir string) conclave.Evidence {
	t.Helper()
	e, err := m.Measure(t.Context(), Tree{Dir: dir, TreeHash: "tree"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func check(t *testing.T, e conclave.Evidence, name string) conclave.Check {
	t.Helper()
	i := slices.IndexFunc(e.Checks, func(c conclave.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %q in %+v", name, e.Checks)
	}
	return e.Checks[i]
}

func find(findings []conclave.Finding, rule string) (conclave.Finding, bool) {
	i := slices.IndexFunc(findings, func(f conclave.Finding) bool { return f.Rule == rule })
	if i < 0 {
		return conclave.Finding{}, false
	}
	return findings[i], true
}

// requireProgram skips the test when a program is missing, and fails under CI.
func requireProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
}
