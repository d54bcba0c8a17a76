package evidence

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"conclave"
)

// validate checks a log against the published schema, which the module of gosec
// carries for its own tests.
func validate(t *testing.T, log []byte) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/securego/gosec/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(strings.TrimSpace(string(out)), "report", "sarif", "testdata", "sarif-schema-2.1.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(log)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestSARIFOfMeasuredTreesIsValid(t *testing.T) {
	m := newMeter(t)
	dir := write(t, messy)
	base := measure(t, m, dir)
	mended := strings.Replace(messy, `fmt.Sprintf("hello")`, `"hello"`, 1)
	mended = strings.Replace(mended, "func Hello", "func Worse(p *int) int {\n\tif p == nil {\n\t\treturn *p\n\t}\n\treturn 0\n}\n\nfunc Hello", 1)
	now := Compare(base, measure(t, m, write(t, mended)))
	refuted, ok := find(now.Findings, "G306")
	if !ok {
		t.Fatal("no G306")
	}
	log, err := SARIF(Report{Evidence: now, Base: &base, Version: "1.0.0", Review: []conclave.ReviewFinding{
		{Finding: refuted, Reviewer: "security-1", Refuted: "the file is public"},
		{Finding: conclave.Finding{Tool: "qa-1", Rule: "missing-test", Level: conclave.LevelNote, Category: "test", Path: "a b/ü.go", Line: 3, Message: "no test"}, Reviewer: "qa-1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	validate(t, log)
	var got sarifLog
	if err := json.Unmarshal(log, &got); err != nil {
		t.Fatal(err)
	}
	states, suppressed, uri := map[string]string{}, "", ""
	for _, run := range got.Runs {
		for _, r := range run.Results {
			if rule := run.Tool.Driver.Rules[r.RuleIndex].ID; rule != r.RuleID {
				t.Errorf("rule index of %s points at %s", r.RuleID, rule)
			}
			states[r.RuleID] = r.BaselineState
			if len(r.Suppressions) > 0 {
				suppressed += r.RuleID + ": " + r.Suppressions[0].Justification
			}
			if r.RuleID == "missing-test" {
				uri = r.Locations[0].PhysicalLocation.ArtifactLocation.URI
			}
		}
	}
	if states["nilness"] != "new" || states["S1039"] != "absent" || states["S1002"] != "unchanged" {
		t.Errorf("baseline states: %v", states)
	}
	if suppressed != "G306: the file is public" || uri != "a%20b/%C3%BC.go" {
		t.Errorf("suppressed %q, uri %q", suppressed, uri)
	}
	invocations := got.Runs[0].Invocations
	if len(invocations) != 1+len(now.Checks) || len(invocations[0].Notifications) != len(now.Unchecked) {
		t.Errorf("invocations: %+v", invocations)
	}
	for i, c := range now.Checks {
		if invocations[i+1].ExecutionSuccessful != c.Passed {
			t.Errorf("%s: %+v", c.Name, invocations[i+1])
		}
	}
}

func TestSARIFOfNothingIsValid(t *testing.T) {
	log, err := SARIF()
	if err != nil {
		t.Fatal(err)
	}
	validate(t, log)
	if log, err = SARIF(Report{}); err != nil {
		t.Fatal(err)
	}
	validate(t, log)
	if strings.Contains(string(log), os.TempDir()) {
		t.Error("a path of this machine is in the log")
	}
}
