package evidence

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"conclave"
)

// violations has a violation of one requirement in each file; the twin of the file
// does the same without it.
func violations() map[string]struct{ violates, fixed string } {
	return map[string]struct{ violates, fixed string }{
		"1.2.4": {`package p124

import (
	"database/sql"
	"net/http"
)

func Find(db *sql.DB, r *http.Request) (*sql.Rows, error) {
	return db.Query("SELECT id FROM users WHERE name = '" + r.FormValue("name") + "'")
}
`, `package p124

import (
	"database/sql"
	"net/http"
)

func Find(db *sql.DB, r *http.Request) (*sql.Rows, error) {
	return db.Query("SELECT id FROM users WHERE name = ?", r.FormValue("name"))
}
`},
		"1.2.5": {`package p125

import (
	"net/http"
	"os/exec"
)

func Run(r *http.Request) error { return exec.Command("sh", "-c", r.FormValue("line")).Run() }
`, `package p125

import "os/exec"

func Run() error { return exec.Command("uptime").Run() }
`},
		"11.4.1": {`package p1141

import "crypto/md5"

func Sum(b []byte) [16]byte { return md5.Sum(b) }
`, `package p1141

import "crypto/sha256"

func Sum(b []byte) [32]byte { return sha256.Sum256(b) }
`},
		"11.5.1": {`package p1151

import "math/rand"

func Token() int { return rand.Int() }
`, `package p1151

import "crypto/rand"

func Token() string { return rand.Text() }
`},
		"12.3.2": {`package p1232

import "crypto/tls"

func Config() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
`, `package p1232

import "crypto/tls"

func Config() *tls.Config { return &tls.Config{} }
`},
		"12.1.1": {`package p1211

import "crypto/tls"

func Config() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS10} }
`, `package p1211

import "crypto/tls"

func Config() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS13} }
`},
		"13.3.1": {`package p1331

const key = "ghp_` + strings.Repeat("aB3dE6gH9", 4) + `"

func Key() string { return key }
`, `package p1331

import "os"

func Key() string { return os.Getenv("KEY") }
`},
		"15.2.2": {`package p1522

import "net/http"

func Serve(h http.Handler) error { return http.ListenAndServe("127.0.0.1:8080", h) }
`, `package p1522

import (
	"net/http"
	"time"
)

func Serve(h http.Handler) error {
	s := &http.Server{Addr: "127.0.0.1:8080", Handler: h, ReadHeaderTimeout: time.Second}
	return s.ListenAndServe()
}
`},
	}
}

// plantedTree is a module with the code of each requirement in a package of its own.
func plantedTree(t *testing.T, fixed bool) string {
	t.Helper()
	archive := "-- go.mod --\nmodule example.com/planted\n\ngo 1.26\n"
	for id, code := range violations() {
		text := code.violates
		if fixed {
			text = code.fixed
		}
		archive += "-- p" + strings.ReplaceAll(id, ".", "") + "/p.go --\n" + text
	}
	return write(t, archive)
}

func analysed(t *testing.T, dir string, policy LicencePolicy) conclave.Evidence {
	t.Helper()
	a, err := Analyse(t.Context(), dir, AnalyseOptions{CacheDir: newMeter(t).lintCache(), Licences: policy})
	if err != nil {
		t.Fatal(err)
	}
	return conclave.Evidence{Findings: a.Findings, Unchecked: a.Unchecked, Licences: a.Licences, Languages: a.Languages}
}

func rule(t *testing.T, list []conclave.Compliance, set, id string) conclave.Compliance {
	t.Helper()
	i := slices.IndexFunc(list, func(c conclave.Compliance) bool { return c.Set == set && c.Rule == id })
	if i < 0 {
		t.Fatalf("no rule %s %s", set, id)
	}
	return list[i]
}

// Each planted violation makes its requirement not met, and its fixed twin meets it.
func TestComplianceFindsWhatIsPlanted(t *testing.T) {
	bad, good := analysed(t, plantedTree(t, false), LicencePolicy{}), analysed(t, plantedTree(t, true), LicencePolicy{})
	violated, met := Comply(bad, nil), Comply(good, nil)
	for id := range violations() {
		folder := "p" + strings.ReplaceAll(id, ".", "") + "/"
		r := rule(t, violated, asvsSet, id)
		if r.Status != conclave.ComplianceNotMet || len(r.Findings) == 0 || !strings.HasPrefix(r.Evidence[0], folder) {
			t.Errorf("%s with a violation: %+v", id, r)
		}
		if r := rule(t, met, asvsSet, id); r.Status != conclave.ComplianceMet || len(r.Evidence) == 0 {
			t.Errorf("%s without a violation: %+v", id, r)
		}
	}
	if r := rule(t, met, asvsSet, "15.2.1"); r.Status != conclave.ComplianceNotChecked {
		t.Errorf("without a database of vulnerabilities: %+v", r)
	}
	if r := rule(t, met, asvsSet, "V6"); r.Status != conclave.ComplianceNotChecked {
		t.Errorf("a chapter that needs judgement: %+v", r)
	}
	bad.Languages["Python"] = 3
	if r := rule(t, Comply(good, nil), asvsSet, "1.2.4"); r.Status != conclave.ComplianceMet {
		t.Errorf("Go alone: %+v", r)
	}
	good.Languages["Python"] = 3
	if r := rule(t, Comply(good, nil), asvsSet, "1.2.4"); r.Status != conclave.ComplianceNotChecked || !strings.Contains(r.Evidence[0], "Python") {
		t.Errorf("with a language that is not looked at: %+v", r)
	}
	var refuted []conclave.ReviewFinding
	for _, f := range bad.Findings {
		refuted = append(refuted, conclave.ReviewFinding{Finding: f, Refuted: "the name is a constant of ours"})
	}
	bad.Languages = map[string]int{"Go": 8}
	if r := rule(t, Comply(bad, refuted), asvsSet, "1.2.4"); r.Status != conclave.ComplianceMet || !strings.Contains(r.Evidence[0], "refuted: the name") {
		t.Errorf("refuted: %+v", r)
	}
}

const copyleft = `This program is free software: you can redistribute it and/or modify
it under the terms of the GNU General Public License as published by
the Free Software Foundation, either version 3 of the License, or
(at your option) any later version.

This program is distributed in the hope that it will be useful,
but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
GNU General Public License for more details.

You should have received a copy of the GNU General Public License
along with this program.  If not, see <https://www.gnu.org/licenses/>.
`

// ownLicence is the text of the licence of this repository, which is MIT.
func ownLicence(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// licensedTree is a module that is built with one dependency under the licence.
func licensedTree(t *testing.T, licence string) string {
	t.Helper()
	archive := `-- go.mod --
module example.com/shop

go 1.26

require example.com/dep v1.0.0
-- shop.go --
// Package shop sells.
package shop

import "example.com/dep"

// Price is what it costs.
func Price() int { return dep.Cost() }
-- vendor/modules.txt --
# example.com/dep v1.0.0
## explicit; go 1.26
example.com/dep
-- vendor/example.com/dep/dep.go --
// Package dep counts.
package dep

// Cost is one.
func Cost() int { return 1 }
-- LICENSE --
` + ownLicence(t)
	if licence != "" {
		archive += "-- vendor/example.com/dep/LICENSE --\n" + licence
	}
	return write(t, archive)
}

// A dependency's licence is read from its files, and judged by the lists: denied,
// unlisted, unknown, stated by somebody, and allowed.
func TestLicences(t *testing.T) {
	for name, test := range map[string]struct {
		licence  string
		policy   LicencePolicy
		verdict  conclave.LicenceVerdict
		level    conclave.Level // of the finding; empty: none
		violates string
	}{
		"denied":   {copyleft, LicencePolicy{Allow: []string{"MIT"}, Deny: []string{"GPL-3.0-or-later"}}, conclave.LicenceDenied, conclave.LevelError, "not-denied"},
		"unlisted": {copyleft, LicencePolicy{}, conclave.LicenceUnlisted, conclave.LevelWarning, "allowed"},
		"unknown":  {"Ask us before you use it.\n", LicencePolicy{}, conclave.LicenceUnknown, conclave.LevelWarning, "known"},
		"no file":  {"", LicencePolicy{}, conclave.LicenceUnknown, conclave.LevelWarning, "known"},
		"stated":   {"Ask us before you use it.\n", LicencePolicy{Modules: map[string]string{"example.com/dep": "MIT"}}, conclave.LicenceAllowed, "", ""},
		"allowed":  {ownLicence(t), LicencePolicy{}, conclave.LicenceAllowed, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := analysed(t, licensedTree(t, test.licence), test.policy)
			i := slices.IndexFunc(e.Licences, func(l conclave.Licence) bool { return l.Module == "example.com/dep" })
			if i < 0 || e.Licences[i].Verdict != test.verdict || e.Licences[i].Version != "v1.0.0" {
				t.Fatalf("licences %+v, want %s", e.Licences, test.verdict)
			}
			f, found := find(e.Findings, string(test.verdict))
			if found != (test.level != "") || found && (f.Level != test.level || f.Path != "go.mod" || f.Line != 5) {
				t.Errorf("finding %+v, want level %q in line 5 of go.mod", f, test.level)
			}
			list := Comply(e, nil)
			for _, id := range []string{"known", "allowed", "not-denied"} {
				want := conclave.ComplianceMet
				if id == test.violates {
					want = conclave.ComplianceNotMet
				}
				if r := rule(t, list, licenceSet, id); r.Status != want {
					t.Errorf("rule %s: %+v, want %s", id, r, want)
				}
			}
			if r := rule(t, list, licenceSet, "own"); r.Status != conclave.ComplianceMet || r.Evidence[0] != "MIT" {
				t.Errorf("the tree's own: %+v", r)
			}
		})
	}
}

// A dependency that is not on this machine has a licence that nobody looked at,
// and so may what it needs itself.
func TestMissingDependency(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	dir := write(t, `-- go.mod --
module example.com/x

go 1.24

require example.com/nowhere v1.0.0
-- x.go --
// Package x uses what is not here.
package x

import _ "example.com/nowhere"
`)
	e := analysed(t, dir, LicencePolicy{})
	list := Comply(e, nil)
	for _, id := range []string{"known", "allowed", "not-denied"} {
		if r := rule(t, list, licenceSet, id); r.Status != conclave.ComplianceNotChecked || !strings.Contains(strings.Join(r.Evidence, " "), "example.com/nowhere") {
			t.Errorf("rule %s: %+v, want not checked, and why", id, r)
		}
	}
}

// The lists reach the worker in the sandbox, what it found is in the evidence, and
// the SARIF log has the rules as properties and the violation with a tag.
func TestComplianceOfAMeasuredTree(t *testing.T) {
	m := newMeter(t, func(o *Options) {
		o.Licences = LicencePolicy{Allow: []string{"MIT"}, Deny: []string{"GPL-3.0-or-later"}}
	})
	e := measure(t, m, licensedTree(t, copyleft))
	if _, found := find(e.Findings, "denied"); !found {
		t.Fatalf("findings %+v, licences %+v, unchecked %q", e.Findings, e.Licences, e.Unchecked)
	}
	list := Comply(e, nil)
	log, err := SARIF(Report{Evidence: e, Compliance: list})
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Runs []struct {
			Tool       struct{ Driver struct{ Name string } }
			Properties struct{ Compliance []conclave.Compliance }
			Results    []struct {
				RuleID     string
				Properties struct{ Tags []string }
			}
		}
	}
	if err := json.Unmarshal(log, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Runs[0].Properties.Compliance) != len(list) {
		t.Errorf("%d rules in the log, want %d", len(read.Runs[0].Properties.Compliance), len(list))
	}
	tagged := false
	for _, r := range read.Runs {
		for _, result := range r.Results {
			tagged = tagged || result.RuleID == "denied" && slices.Contains(result.Properties.Tags, "licences not-denied")
		}
	}
	if !tagged {
		t.Errorf("no result is tagged with the rule: %s", log)
	}
	if text := ComplianceMarkdown(list); !strings.Contains(text, "| licences not-denied | No licence of a dependency is denied | **not met** | go.mod:5: licences denied:") {
		t.Errorf("markdown: %s", text)
	}
}
