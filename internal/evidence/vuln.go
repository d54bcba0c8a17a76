package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	modpath "golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/vuln/scan"

	"conclave"
)

// noVulnDB is what Unchecked says when no database is configured.
const noVulnDB = "vulnerable dependencies: not checked: no vulnerability database can be reached (set GOVULNDB)"

// A vulnerability is a known one of a module that the tree requires.
type vulnerability struct {
	id, summary   string
	module, fixed string // fixed is the version that mends it, empty when there is none
	found         string // the version in use
	called        bool   // the tree reaches vulnerable code
	path          string // go.mod, or where the code is called
	line, column  int
}

// findVulnerable looks the modules' dependencies up in a vulnerability database.
func findVulnerable(ctx context.Context, root string, modules []module, db string) ([]draft, []string) {
	if db == "" {
		return nil, []string{noVulnDB}
	}
	var drafts []draft
	var unchecked []string
	for _, m := range modules {
		found, err := scanModule(ctx, root, m, db)
		if err != nil {
			unchecked = append(unchecked, fmt.Sprintf("%s: not checked: %v", at("vulnerable dependencies", m.dir), err))
		}
		for _, v := range found {
			drafts = append(drafts, v.draft(m))
		}
	}
	return drafts, unchecked
}

func (v vulnerability) draft(m module) draft {
	f := conclave.Finding{
		Tool: toolVuln, Rule: v.id, Level: conclave.LevelWarning, Category: catSecurity,
		Path: v.path, Line: v.line, Column: v.column,
		Message:     fmt.Sprintf("%s@%s: %s", v.module, v.found, v.summary),
		Fingerprint: digest(toolVuln, v.id, v.module, m.dir),
	}
	if v.called {
		f.Level = conclave.LevelError
		f.Message += "; the vulnerable code is called"
	}
	d := draft{Finding: f}
	switch {
	case v.fixed == "":
		d.Message += "; no version mends it"
	default:
		d.Message += "; mended in " + v.fixed
		if v.module != "stdlib" && v.module != "toolchain" {
			d.upgrade = &Upgrade{Dir: m.dir, Module: v.module, Version: v.fixed}
		}
	}
	return d
}

// scanMessage is the part that we read of a message of govulncheck -json.
type scanMessage struct {
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
		Details string `json:"details"`
	} `json:"osv"`
	Finding *struct {
		OSV          string `json:"osv"`
		FixedVersion string `json:"fixed_version"`
		Trace        []struct {
			Module   string `json:"module"`
			Version  string `json:"version"`
			Function string `json:"function"`
			Position *struct {
				Filename string `json:"filename"`
				Line     int    `json:"line"`
				Column   int    `json:"column"`
			} `json:"position"`
		} `json:"trace"`
	} `json:"finding"`
}

// scanModule runs govulncheck over one module. For each vulnerability the most
// telling of its findings is kept: a call beats an import beats a requirement.
func scanModule(ctx context.Context, root string, m module, db string) ([]vulnerability, error) {
	dir := filepath.Join(root, filepath.FromSlash(m.dir))
	var stdout, stderr bytes.Buffer
	cmd := scan.Command(ctx, "-C", dir, "-db", db, "-format", "json", "-scan", "symbol", "./...")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(""), &stdout, &stderr
	cmd.Env = goEnviron(dir)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting govulncheck: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("govulncheck: %s", firstLine(strings.TrimSpace(err.Error()+": "+stderr.String())))
	}
	summaries := map[string]string{}
	byID := map[string]vulnerability{}
	for dec := json.NewDecoder(&stdout); dec.More(); {
		var msg scanMessage
		if err := dec.Decode(&msg); err != nil {
			return nil, fmt.Errorf("reading govulncheck's output: %w", err)
		}
		if o := msg.OSV; o != nil {
			summaries[o.ID] = o.Summary
			if o.Summary == "" {
				summaries[o.ID] = firstLine(o.Details)
			}
		}
		f := msg.Finding
		if f == nil || len(f.Trace) == 0 {
			continue
		}
		v := vulnerability{id: f.OSV, module: f.Trace[0].Module, found: f.Trace[0].Version, fixed: f.FixedVersion}
		v.path = strings.TrimPrefix(m.dir+"/go.mod", "./")
		v.called = f.Trace[0].Function != ""
		if p := f.Trace[len(f.Trace)-1].Position; v.called && p != nil && filepath.IsLocal(p.Filename) {
			v.path, v.line, v.column = strings.TrimPrefix(m.dir+"/"+filepath.ToSlash(p.Filename), "./"), p.Line, p.Column
		}
		if old, ok := byID[v.id+" "+v.module]; !ok || v.called && !old.called {
			byID[v.id+" "+v.module] = v
		}
	}
	var found []vulnerability
	for _, v := range byID {
		v.summary = summaries[v.id]
		found = append(found, v)
	}
	slices.SortFunc(found, func(a, b vulnerability) int { return strings.Compare(a.id+a.module, b.id+b.module) })
	return found, nil
}

// An upgradeOf is an upgrade with the keys of the findings that it mends.
type upgradeOf struct {
	Upgrade
	keys []string
}

// newest joins the upgrades of one dependency: the highest version mends all.
func newest(edits []Edit) []upgradeOf {
	var all []upgradeOf
	for _, e := range edits {
		if e.Upgrade == nil {
			continue
		}
		i := slices.IndexFunc(all, func(u upgradeOf) bool { return u.Dir == e.Upgrade.Dir && u.Module == e.Upgrade.Module })
		if i < 0 {
			all = append(all, upgradeOf{*e.Upgrade, []string{e.Key}})
			continue
		}
		all[i].keys = append(all[i].keys, e.Key)
		if semver.Compare(e.Upgrade.Version, all[i].Version) > 0 {
			all[i].Version = e.Upgrade.Version
		}
	}
	return all
}

// goGet upgrades a dependency in the copy, with modules from a proxy in a
// directory or from the user's module cache. It returns go.mod and go.sum as
// they became, or why there is no upgrade.
func (x *measurement) goGet(ctx context.Context, u Upgrade, proxy string) (changed map[string][]byte, why string, err error) {
	dir := x.in(u.Dir)
	x.modCache = x.ownMod()
	if vendored(dir) != nil {
		return nil, "the module is vendored", nil
	}
	if err := os.MkdirAll(x.modCache, 0o700); err != nil {
		return nil, "", fmt.Errorf("making the module cache: %w", err)
	}
	c := x.goCommand(dir, "get", "-t", u.Module+"@"+u.Version, "./...")
	sources := "file://" + proxy
	if x.userMod != "" {
		sources += ",file://" + filepath.Join(x.userMod, "cache", "download")
	}
	c.Env = append(c.Env, "GOPROXY="+sources, "GONOSUMDB=*", "GOFLAGS=-mod=mod -modcacherw")
	c.Read = append(c.Read, proxy)
	c.Write = append(c.Write, x.dir, x.modCache)
	c.ReadOnlyDir = false
	r, err := x.box.Run(ctx, c)
	if err != nil {
		return nil, "", fmt.Errorf("upgrading %s: %w", u.Module, err)
	}
	if r.ExitCode != 0 || r.TimedOut {
		return nil, "go get " + u.Module + "@" + u.Version + ": " + shorten(x.scrub(lastLine(r.Stderr)), 300), nil
	}
	changed = map[string][]byte{}
	for _, name := range []string{"go.mod", "go.sum"} {
		file := path.Join(u.Dir, name)
		if text := readText(x.dir, file); text != nil {
			changed[file] = text
		}
	}
	return changed, "", nil
}

// upgradedModules reports whether go.mod of a module requires what only our own
// module cache has: what an earlier upgrade brought there.
func (x *measurement) upgradedModules(m module) bool {
	name := path.Join(m.dir, "go.mod")
	file, err := modfile.ParseLax(name, readText(x.dir, name), nil)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(file.Require, func(r *modfile.Require) bool {
		escaped, err := modpath.EscapePath(r.Mod.Path)
		if err != nil {
			return false
		}
		at := filepath.Join("cache", "download", filepath.FromSlash(escaped), "@v", r.Mod.Version+".mod")
		_, missing := os.Stat(filepath.Join(x.userMod, at))
		_, err = os.Stat(filepath.Join(x.ownMod(), at))
		return missing != nil && err == nil
	})
}
