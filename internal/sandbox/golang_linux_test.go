package sandbox

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// One test for both modules, because a build cache takes long to fill.
func TestGoWorksOffline(t *testing.T) {
	if len(GoRead()) == 0 {
		t.Skip("no Go toolchain here")
	}
	alone, needy, cache := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(alone, "go.mod"), "module alone\n\ngo 1.21\n")
	write(t, filepath.Join(alone, "alone.go"), "package alone\n\nfunc Twice(n int) int { return 2 * n }\n")
	write(t, filepath.Join(alone, "alone_test.go"), `package alone

import "testing"

func TestTwice(t *testing.T) {
	if Twice(2) != 4 {
		t.Error("no")
	}
}
`)
	writeNeedyModule(t, needy)
	each(t, func(t *testing.T, s *Sandbox) {
		for _, test := range []struct {
			dir, args string
			exit      int
			says      string
		}{
			{alone, "vet ./...", 0, ""},
			{alone, "test -count=1 -v ./...", 0, "--- PASS: TestTwice"},
			{alone, "build ./...", 0, ""},
			{needy, "vet ./...", 0, ""},
			{needy, "get example.org/none@latest", 1, "GOPROXY=off"},
		} {
			r := run(t, s, GoCommand(test.dir, cache, strings.Fields(test.args)...))
			if out := string(r.Stdout) + string(r.Stderr); r.ExitCode != test.exit || !strings.Contains(out, test.says) {
				t.Errorf("go %s: exit %d\n%s", test.args, r.ExitCode, out)
			}
		}
	})
}

// writeNeedyModule writes a module that needs one from the module cache.
func writeNeedyModule(t *testing.T, dir string) {
	t.Helper()
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	// The cache holds the newest that is listed, because this package needs it.
	var require, lines string
	for line := range strings.Lines(string(sums)) {
		if f := strings.Fields(line); f[0] == "golang.org/x/sys" {
			lines += line
			require = f[0] + " " + strings.TrimSuffix(f[1], "/go.mod")
		}
	}
	write(t, filepath.Join(dir, "go.mod"), "module needy\n\ngo "+strings.TrimPrefix(runtime.Version(), "go")+"\n\nrequire "+require+"\n")
	write(t, filepath.Join(dir, "go.sum"), lines)
	write(t, filepath.Join(dir, "needy.go"), "package needy\n\nimport \"golang.org/x/sys/unix\"\n\nconst Family = unix.AF_UNIX\n")
}
