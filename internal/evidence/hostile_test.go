package evidence

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
)

func TestMeasureModuleThatDoesNotCompile(t *testing.T) {
	m := newMeter(t)
	dir := write(t, `
-- go.mod --
module m

go 1.26
-- bad/bad.go --
package bad

func F() int { return "x" }

func G() { missing() }
-- good/good.go --
package good

func F() int { return 1 }
-- good/good_test.go --
package good

import "testing"

func TestF(t *testing.T) {
	if F() != 1 {
		t.Fatal()
	}
}
`)
	e := measure(t, m, dir)
	if c := check(t, e, "build"); c.Passed || !strings.Contains(c.Output, "bad/bad.go:3") || strings.Contains(c.Output, m.cache) {
		t.Errorf("build: %+v", c)
	}
	if c := check(t, e, "test"); c.Tests != 1 || c.Failed != 0 {
		t.Errorf("test: %+v", c)
	}
	lines := map[int]bool{}
	for _, f := range e.Findings {
		if f.Tool == toolCompile {
			lines[f.Line] = true
			if f.Path != "bad/bad.go" || f.Level != conclave.LevelError {
				t.Errorf("%+v", f)
			}
		}
	}
	if c := check(t, e, "lint"); c.Passed || !strings.Contains(c.Skipped, "m/bad") {
		t.Errorf("lint: %+v", c)
	}
	if !lines[3] || !lines[5] {
		t.Errorf("compile errors: %+v", e.Findings)
	}
	if again := Compare(e, measure(t, m, dir)); !again.Passed() || len(again.New)+len(again.Gone) != 0 {
		t.Errorf("a tree compared with itself: %+v", again)
	}
}

func TestMeasureEmptyDirectory(t *testing.T) {
	e := measure(t, newMeter(t), t.TempDir())
	for _, c := range e.Checks {
		if c.Skipped == "" || c.Passed {
			t.Errorf("%+v", c)
		}
	}
	if len(e.Checks) < 2 || len(e.Findings) != 0 || len(e.Unchecked) == 0 {
		t.Errorf("%+v", e)
	}
}

func TestMeasureRefusesBadTrees(t *testing.T) {
	m := newMeter(t)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]error{"rel": conclave.ErrInvalid, "/does/not/exist": conclave.ErrNotFound, file: conclave.ErrInvalid} {
		if _, err := m.Measure(t.Context(), Tree{Dir: dir}); conclave.KindOf(err) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

const hostileTests = `
-- go.mod --
module m

go 1.26
-- m_test.go --
package m

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestFine(t *testing.T) {}

func TestHangs(t *testing.T) { select {} }

func TestPrints(t *testing.T) {
	line := append(bytes.Repeat([]byte("x"), 1<<20), '\n')
	for range 100 {
		os.Stdout.Write(line)
	}
}

func TestDials(t *testing.T) {
	c, err := net.DialTimeout("tcp", os.Getenv("TARGET"), time.Second)
	if err == nil {
		c.Close()
		t.Fatal("the network is open")
	}
}

func TestLies(t *testing.T) {
	fmt.Println("{\"Action\":\"pass\",\"Package\":\"m\",\"Test\":\"TestInvented\"}")
}

// TestPoisons tries to reach the build cache and the tree it was copied from.
func TestPoisons(t *testing.T) {
	for _, field := range strings.Fields(os.Getenv("GOCACHEPROG")) {
		if err := os.WriteFile(field+"/poison", nil, 0o600); err == nil {
			t.Error("wrote into", field)
		}
	}
	if err := os.WriteFile("m_test.go", []byte("package m"), 0o600); err != nil {
		t.Log("the copy is read-only:", err)
	}
	if err := os.WriteFile("DIR/m_test.go", nil, 0o600); err == nil {
		t.Error("wrote into the tree itself")
	}
	if out, err := exec.Command("go", "version").CombinedOutput(); err != nil {
		t.Errorf("no go command: %s", out)
	}
}
`

func TestMeasureSurvivesHostileTests(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	text := strings.ReplaceAll(hostileTests, `os.Getenv("TARGET")`, fmt.Sprintf("%q", listener.Addr()))
	dir := write(t, text)
	source := filepath.Join(dir, "m_test.go")
	text = strings.ReplaceAll(readString(t, source), "DIR", dir)
	measureText := func(m *Meter, text string) (conclave.Evidence, conclave.Check) {
		t.Helper()
		if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		e := measure(t, m, dir)
		if readString(t, source) != text {
			t.Error("the tests changed the tree")
		}
		return e, check(t, e, "test")
	}

	m := newMeter(t)
	if _, c := measureText(m, strings.ReplaceAll(text, "select {}", "")); !c.Passed || c.Tests != 6 || c.Failed != 0 {
		t.Errorf("without the hang: %+v", c)
	}
	if _, err := os.Stat(filepath.Join(m.goCache(), "poison")); err == nil {
		t.Error("the build cache is poisoned")
	}

	short := newMeter(t, func(o *Options) { o.Timeout = 25 * time.Second })
	e, c := measureText(short, text)
	if c.Passed || len(c.Output) > 2*maxOutput {
		t.Errorf("%+v", c)
	}
	failed := map[string]bool{}
	for _, f := range e.Findings {
		if f.Tool == toolTest {
			failed[strings.Fields(f.Message)[0]] = true
		}
	}
	if len(failed) != 1 || !failed["TestHangs"] {
		t.Errorf("failed: %v\n%s", failed, c.Output)
	}
	if c.Tests != 2 || c.Failed != 1 {
		t.Errorf("go test stops at the hanging test: %d tests, %d failed", c.Tests, c.Failed)
	}
}

func readString(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// awsKey is made of parts, so that this file holds no secret itself.
func awsKey() string { return "AKIA" + "Z7QXN4RTPLM2WKV5" }

func TestSecretsAreFoundAndNeverShown(t *testing.T) {
	key := awsKey()
	dir := write(t, "-- conf.ini --\n[a]\naws_key = "+key+"\n-- ok.ini --\nallowed = "+key+" # gitleaks:allow\n-- clean.ini --\nkey = none\n")
	e := measure(t, newMeter(t), dir)
	var found []conclave.Finding
	for _, f := range e.Findings {
		if f.Category == "secret" {
			found = append(found, f)
		}
	}
	if len(found) != 1 || found[0].Path != "conf.ini" || found[0].Line != 2 || found[0].Level != conclave.LevelError {
		t.Errorf("%+v", found)
	}
	log, err := SARIF(Report{Evidence: e})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", e) + string(log); strings.Contains(text, key) || strings.Contains(text, key[4:12]) {
		t.Error("the secret is shown")
	}
}

func TestFailingTestsAreABaseline(t *testing.T) {
	m := newMeter(t)
	const module = "-- go.mod --\nmodule m\n\ngo 1.26\n-- m_test.go --\npackage m\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestOld(t *testing.T) {\n\tt.Run(\"a\", func(t *testing.T) { t.Fatal(time.Now()) })\n\tt.Run(\"b\", func(t *testing.T) { OTHER })\n}\n"
	base := measure(t, m, write(t, strings.Replace(module, "OTHER", "t.Log()", 1)))
	f, ok := find(base.Findings, "fail")
	if !ok || !strings.HasPrefix(f.Message, "TestOld/a of m failed: m_test.go:9: ") || f.Path != "m_test.go" || f.Line != 9 {
		t.Errorf("finding: %+v", f)
	}
	if c := check(t, Compare(base, measure(t, m, write(t, strings.Replace(module, "OTHER", "t.Log(1)", 1)))), "test"); !c.Baseline {
		t.Errorf("the same failure is new: %+v", c)
	}
	worse := Compare(base, measure(t, m, write(t, strings.Replace(module, "OTHER", "t.Fatal()", 1))))
	if c := check(t, worse, "test"); c.Baseline || worse.Passed() || len(worse.New) != 1 {
		t.Errorf("another failure is not new: %+v %v", c, worse.New)
	}
	mended := Compare(worse, base)
	if len(mended.Gone) != 1 {
		t.Errorf("gone: %v", mended.Gone)
	}
}

func TestMeasureUsesTheModuleCache(t *testing.T) {
	// The dependency is one of Conclave's own, so it is in the module cache.
	sum, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "golang.org/x/mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	var sums string
	for line := range strings.Lines(readString(t, filepath.Join(filepath.Dir(string(gomod)), "go.sum"))) {
		if strings.HasPrefix(line, "golang.org/x/mod ") {
			sums += line
		}
	}
	module := "-- go.mod --\nmodule m\n\ngo 1.26.0\n\nrequire golang.org/x/mod " + strings.TrimSpace(string(sum)) + "\n-- go.sum --\n" + sums +
		"-- m.go --\n// Package m compares.\npackage m\n\nimport \"golang.org/x/mod/semver\"\n\n// Less compares.\nfunc Less(a, b string) bool { return semver.Compare(a, b) < 0 }\n" +
		"-- m_test.go --\npackage m\n\nimport \"testing\"\n\nfunc TestLess(t *testing.T) {\n\tif !Less(\"v1.2.0\", \"v1.10.0\") {\n\t\tt.Fatal()\n\t}\n}\n"
	e := measure(t, newMeter(t), write(t, module))
	if !e.Passed() || len(e.Findings) != 0 || check(t, e, "test").Tests != 1 {
		t.Errorf("%+v", e)
	}
	absent := strings.ReplaceAll(module, "golang.org/x/mod/semver", "example.com/absent")
	absent = strings.Replace(absent, "\nrequire golang.org/x/mod "+strings.TrimSpace(string(sum)), "", 1)
	e = measure(t, newMeter(t), write(t, strings.ReplaceAll(absent, "semver.Compare(a, b) < 0", "absent.Less(a, b)")))
	if c := check(t, e, "build"); c.Passed || !strings.Contains(c.Output, "example.com/absent") {
		t.Errorf("a missing dependency: %+v", c)
	}
}
