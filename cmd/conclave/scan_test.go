package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecurityScan(t *testing.T) {
	i := newInstallation(t)
	i.env["GOVULNDB"] = "http://127.0.0.1:9" // nobody listens there
	repo := newRepo(t, map[string]string{"go.mod": "module sample\n\ngo 1.26\n",
		"sample.go": "package sample\n\nimport \"crypto/md5\"\n\n// Sum is weak.\nfunc Sum(b []byte) [16]byte { return md5.Sum(b) }\n",
		"deploy.sh": "export AWS_ACCESS_KEY_ID=AKIA" + "Q3EGRIZ7JKLMNOPX\n"})
	scan := func() (scanResult, int) {
		t.Helper()
		out, errs, code := i.conclave("security-scan", repo)
		if code != exitDone && code != exitFailed {
			t.Fatalf("exit code %d\n%s", code, errs)
		}
		if !strings.Contains(out, "vulnerable dependencies: not checked") {
			t.Errorf("it does not say what was not checked:\n%s", out)
		}
		text, _, _ := i.conclave("security-scan", repo, "--json") // whose exit code is the same
		var r scanResult
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return r, code
	}
	r, code := scan()
	rules := map[string]bool{}
	for _, f := range r.Findings {
		rules[f.Rule] = true
		if strings.Contains(f.Message, "Q3EGRIZ7JKLMNOPX") {
			t.Errorf("the secret is shown: %+v", f)
		}
	}
	if code != exitFailed || !rules["G401"] || !rules["G501"] || !rules["aws-access-token"] {
		t.Errorf("exit code %d, found %v", code, rules)
	}
	accept := func(text string) {
		if err := os.WriteFile(filepath.Join(repo, acceptedFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := "# meant\nG401 sample.go for a checksum only\nG501 sample.go for a checksum only\naws-access-token deploy.sh it was taken back\n"
	accept(all)
	if r, code := scan(); code != exitDone || len(r.Findings) != 0 || r.Accepted != len(rules) {
		t.Errorf("with every finding answered: exit code %d, %+v", code, r)
	}
	accept(all + "G204 sample.go was there last year\n")
	if r, code := scan(); code != exitFailed || len(r.Stale) != 1 || r.Stale[0] != "G204 sample.go" {
		t.Errorf("with an answer to nothing: exit code %d, %+v", code, r)
	}
	accept("G401 sample.go\n")
	if _, errs, code := i.conclave("security-scan", repo); code != exitUsage || !strings.Contains(errs, acceptedFile+":1") {
		t.Errorf("with an answer without a reason: exit code %d, %q", code, errs)
	}
	if _, errs, code := i.conclave("security-scan", "/nowhere"); code != exitUsage || !strings.Contains(errs, "/nowhere") {
		t.Errorf("a folder that is not there: exit code %d, %q", code, errs)
	}
}
