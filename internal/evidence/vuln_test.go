package evidence

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	modpath "golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"conclave"
)

// publish puts versions of example.com/conclavetest/vuln into a proxy directory.
func publish(t *testing.T) string {
	t.Helper()
	proxy := t.TempDir()
	at := filepath.Join(proxy, "example.com", "conclavetest", "vuln", "@v")
	if err := os.MkdirAll(at, 0o750); err != nil {
		t.Fatal(err)
	}
	const gomod = "module example.com/conclavetest/vuln\n\ngo 1.26\n"
	for version, result := range map[string]string{"v1.0.0": "1", "v1.0.1": "1", "v1.0.2": "2"} {
		src := t.TempDir()
		code := "// Package vuln counts.\npackage vuln\n\n// Count counts.\nfunc Count() int { return " + result + " }\n"
		var archive bytes.Buffer
		for name, text := range map[string]string{"go.mod": gomod, "vuln.go": code} {
			if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := zip.CreateFromDir(&archive, modpath.Version{Path: "example.com/conclavetest/vuln", Version: version}, src); err != nil {
			t.Fatal(err)
		}
		for ext, text := range map[string]string{".mod": gomod, ".info": `{"Version":"` + version + `"}`, ".zip": archive.String()} {
			if err := os.WriteFile(filepath.Join(at, version+ext), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(at, "list"), []byte("v1.0.0\nv1.0.1\nv1.0.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return proxy
}

// vulnDB makes a database in which Count is vulnerable before a version.
func vulnDB(t *testing.T, fixed string) string {
	t.Helper()
	db := t.TempDir()
	put := func(name string, v any) {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(db, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	const id, when, path = "GO-2026-9999", "2026-01-01T00:00:00Z", "example.com/conclavetest/vuln"
	put("index/db.json", object{"modified": when})
	put("index/modules.json", []object{{"path": path, "vulns": []object{{"id": id, "modified": when, "fixed": fixed}}}})
	put("index/vulns.json", []object{{"id": id, "modified": when}})
	put("ID/"+id+".json", object{
		"schema_version": "1.3.1", "id": id, "modified": when, "published": when, "summary": "Count counts wrongly",
		"affected": []object{{
			"package":            object{"name": path, "ecosystem": "Go"},
			"ranges":             []object{{"type": "SEMVER", "events": []object{{"introduced": "0"}, {"fixed": fixed}}}},
			"ecosystem_specific": object{"imports": []object{{"path": path, "symbols": []string{"Count"}}}},
		}},
		"database_specific": object{"url": "https://pkg.go.dev/vuln/" + id},
	})
	return "file://" + db
}

// dependent makes a module that calls Count, with its dependency in the meter's
// own module cache, where an upgrade would have put it.
func dependent(t *testing.T, m *Meter, proxy string) string {
	t.Helper()
	dir := write(t, `
-- go.mod --
module m

go 1.26

require example.com/conclavetest/vuln v1.0.0
-- m.go --
// Package m counts.
package m

import "example.com/conclavetest/vuln"

// Count counts.
func Count() int { return vuln.Count() }
-- m_test.go --
package m

import "testing"

func TestCount(t *testing.T) {
	if Count() != 1 {
		t.Fatal(Count())
	}
}
`)
	cmd := exec.Command("go", "mod", "download", "example.com/conclavetest/vuln")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOMODCACHE="+m.ownMod(), "GOPROXY=file://"+proxy, "GONOSUMDB=*", "GOFLAGS=-mod=mod -modcacherw", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func TestVulnerableDependenciesAreFoundAndUpgraded(t *testing.T) {
	proxy := publish(t)
	m := newMeter(t, func(o *Options) {
		o.VulnDB, o.ModuleProxy = vulnDB(t, "1.0.1"), "file://"+proxy
	})
	dir := dependent(t, m, proxy)
	e := measure(t, m, dir)
	f, ok := find(e.Findings, "GO-2026-9999")
	if !ok || f.Tool != toolVuln || f.Level != conclave.LevelError || f.Path != "m.go" || !f.Fixable || !strings.Contains(f.Message, "mended in v1.0.1") {
		t.Fatalf("%+v, unchecked %q", e.Findings, e.Unchecked)
	}
	r, err := m.Fix(t.Context(), dir, FixClasses{Dependencies: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Applied) != 1 || !strings.Contains(readString(t, filepath.Join(dir, "go.mod")), "vuln v1.0.1") {
		t.Errorf("%+v\n%s", r, readString(t, filepath.Join(dir, "go.mod")))
	}
	after := measure(t, m, dir)
	after.Findings = slices.DeleteFunc(after.Findings, func(f conclave.Finding) bool { return f.Tool == toolLicences }) // it has none
	if !after.Passed() || len(after.Findings) != 0 {
		t.Errorf("%+v", after)
	}
}

func TestAnUpgradeThatBreaksATestIsLeftOut(t *testing.T) {
	proxy := publish(t)
	m := newMeter(t, func(o *Options) {
		o.VulnDB, o.ModuleProxy = vulnDB(t, "1.0.2"), "file://"+proxy
	})
	dir := dependent(t, m, proxy)
	before := readString(t, filepath.Join(dir, "go.mod"))
	r, err := m.Fix(t.Context(), dir, FixClasses{Dependencies: true})
	if err != nil {
		t.Fatal(err)
	}
	l, ok := leftRule(r, "GO-2026-9999")
	if len(r.Applied) != 0 || !ok || !strings.Contains(l.Why, "TestCount") || readString(t, filepath.Join(dir, "go.mod")) != before {
		t.Errorf("%+v", r)
	}
	noProxy := newMeter(t, func(o *Options) { o.VulnDB = vulnDB(t, "1.0.1") })
	if r, err = noProxy.Fix(t.Context(), dir, FixClasses{Dependencies: true}); err != nil {
		t.Fatal(err)
	}
	if l, _ := leftRule(r, "GO-2026-9999"); !strings.Contains(l.Why, "no module proxy") {
		t.Errorf("%+v", r.Left)
	}
}

func TestAVulnerabilityDatabaseOutOfReachIsSaid(t *testing.T) {
	m := newMeter(t, func(o *Options) { o.VulnDB = "https://vuln.example.com" })
	e := measure(t, m, write(t, cleanModule))
	if len(e.Unchecked) != 1 || !strings.Contains(e.Unchecked[0], "https://vuln.example.com can't be reached") {
		t.Errorf("%q", e.Unchecked)
	}
}
