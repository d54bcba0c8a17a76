package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"conclave"
)

// A repair ends by what it could mend: done with a branch and the rest in the
// report, done without a branch, or needs_model with a count by rule. The
// user's branch and tree stay as they are.
func TestRepairEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program on three repositories")
	}
	const module = "module example.org/m\n\ngo 1.24\n"
	const sound = "// Package m adds.\npackage m\n\n// Add adds.\nfunc Add(a, b int) int { return a + b }\n"
	const test = "package m\n\nimport \"testing\"\n\nfunc TestAdd(t *testing.T) {\n\tif Add(1, 2) != 3 {\n\t\tt.Fatal(\"wrong\")\n\t}\n}\n"
	const judged = "package m\n\nimport \"os\"\n\n// Leave leaves.\nfunc Leave(name string) { os.Remove(name) }\n"
	i := newInstallation(t)
	for _, c := range []struct {
		name   string
		files  map[string]string
		code   int
		status conclave.RunStatus
		reason string
		report string
		branch string // what a.go is there
	}{
		{name: "mends some", code: 0, status: conclave.RunDone, reason: "the report names what needs judgement: 1 finding", report: "| `leave.go:6` | gosec G104 |",
			files: map[string]string{"go.mod": module, "a_test.go": test, "leave.go": judged,
				"a.go": strings.Replace(sound, "package m\n", "package m\n\nimport \"strings\"\n", 1) + "\nfunc up(s string)   string { return strings.ToUpper(s) }\n"},
			branch: sound},
		{name: "finds nothing", code: 0, status: conclave.RunDone, reason: "nothing to change: the analysers find nothing",
			files: map[string]string{"go.mod": module, "a.go": sound, "a_test.go": test}},
		{name: "needs judgement", code: 3, status: conclave.RunNeedsModel, reason: "1 × gosec G104", report: "| `leave.go:6` | gosec G104 |",
			files: map[string]string{"go.mod": module, "leave.go": judged}},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := newRepo(t, c.files)
			head := runGit(t, repo, "rev-parse", "HEAD")
			out, errs, code := i.conclave("run", "Fix what the analysers find", "--repo", repo, "--json")
			var run conclave.Run
			if err := json.Unmarshal([]byte(out), &run); err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, errs)
			}
			if code != c.code || run.Status != c.status || !strings.Contains(run.Reason, c.reason) {
				t.Errorf("exit code %d, %s: %s", code, run.Status, run.Reason)
			}
			if runGit(t, repo, "rev-parse", "main") != head || runGit(t, repo, "status", "--porcelain") != "" {
				t.Error("the user's branch or tree changed")
			}
			report, err := os.ReadFile(run.Report.Markdown)
			if err != nil || !strings.Contains(string(report), c.report) {
				t.Errorf("no %q in the report: %v\n%s", c.report, err, report)
			}
			if c.branch == "" {
				if run.Head != "" {
					t.Errorf("there is a branch %s", run.Branch)
				}
				return
			}
			if got := runGit(t, repo, "show", run.Head+":a.go"); got != strings.TrimSpace(c.branch) {
				t.Errorf("a.go on the branch is\n%s", got)
			}
		})
	}
}
