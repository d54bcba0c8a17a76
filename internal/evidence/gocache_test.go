package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ask sends cache requests and returns the answers, without the one that lists
// the commands and the one to close.
func ask(t *testing.T, over string, below []string, requests ...string) []cacheResponse {
	t.Helper()
	var out bytes.Buffer
	in := strings.Join(requests, "\n") + "\n" + `{"ID":99,"Command":"close"}` + "\n"
	if err := serveGoCache(over, below, strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var answers []cacheResponse
	for dec := json.NewDecoder(&out); dec.More(); {
		var a cacheResponse
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(requests)+2 || answers[len(answers)-1].ID != 99 {
		t.Fatalf("%d requests, answers: %+v", len(requests), answers)
	}
	return answers[1 : len(answers)-1]
}

func sum(text string) []byte { s := sha256.Sum256([]byte(text)); return s[:] }

func get(action string) string {
	return fmt.Sprintf(`{"ID":1,"Command":"get","ActionID":%q}`, base64.StdEncoding.EncodeToString(sum(action)))
}

func put(action, body string) string {
	enc := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("{\"ID\":2,\"Command\":\"put\",\"ActionID\":%q,\"OutputID\":%q,\"BodySize\":%d}\n\n%q", enc(sum(action)), enc(sum(body)), len(body), enc([]byte(body)))
}

// snapshot returns the names, sizes and times of all files below a directory.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&out, name, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGoCacheReadsThroughAndNeverWritesBelow(t *testing.T) {
	user, own := t.TempDir(), t.TempDir()
	ask(t, user, nil, put("std", "compiled by the user"), put("both", "the user's"))
	ask(t, own, nil, put("both", "ours"))
	before := snapshot(t, user)

	answers := ask(t, own, []string{user}, get("std"), get("both"), get("none"), put("new", "fresh"), get("new"))
	for i, want := range []string{"compiled by the user", "ours", "", "fresh", "fresh"} {
		a := answers[i]
		if want == "" {
			if !a.Miss {
				t.Errorf("answer %d: %+v, want a miss", i, a)
			}
			continue
		}
		if a.Err != "" || a.Miss || readString(t, a.DiskPath) != want {
			t.Errorf("answer %d: %+v, want %q", i, a, want)
		}
	}
	if !strings.HasPrefix(answers[0].DiskPath, user) || !strings.HasPrefix(answers[1].DiskPath, own) || !strings.HasPrefix(answers[4].DiskPath, own) {
		t.Errorf("paths: %+v", answers)
	}
	if snapshot(t, user) != before {
		t.Error("the user's cache was written")
	}

	before = snapshot(t, own)
	t.Setenv("TMPDIR", t.TempDir()) // of the sandbox
	answers = ask(t, "", []string{own, user}, get("new"), get("std"), put("test", "by a test"), get("test"), put("new", "forged"))
	if readString(t, answers[0].DiskPath) != "fresh" || !strings.HasPrefix(answers[3].DiskPath, os.Getenv("TMPDIR")) {
		t.Errorf("a test's cache: %+v", answers)
	}
	if snapshot(t, own) != before {
		t.Error("a test wrote into the cache that later measurements trust")
	}
}

func TestGoCacheMissesWhatIsBrokenOrAboutToGo(t *testing.T) {
	user := t.TempDir()
	stored := ask(t, user, nil, put("cut", "whole"), put("old", "old object"), put("lost", "to be lost"))
	if err := os.WriteFile(stored[0].DiskPath, []byte("wh"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-nearlyUnused - time.Hour)
	if err := os.Chtimes(stored[1].DiskPath, long, long); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(stored[2].DiskPath); err != nil {
		t.Fatal(err)
	}
	for i, a := range ask(t, t.TempDir(), []string{user, filepath.Join(user, "no such directory")}, get("cut"), get("old"), get("lost")) {
		if !a.Miss {
			t.Errorf("answer %d: %+v, want a miss", i, a)
		}
	}
	// In a cache of one's own, use makes an object young again.
	if a := ask(t, user, nil, get("old"))[0]; a.Miss {
		t.Errorf("%+v", a)
	}
	if info, err := os.Stat(stored[1].DiskPath); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("%v %v", info.ModTime(), err)
	}
}

func TestGoCacheIsTrimmedOnceADay(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	object := func() string {
		stored := ask(t, dir, nil, put("young", "young"), put("old", "old"))
		old := now.Add(-keptUnused - time.Hour)
		for _, name := range []string{stored[1].DiskPath, cachePath(dir, hex.EncodeToString(sum("old")), "a")} {
			if err := os.Chtimes(name, old, old); err != nil {
				t.Fatal(err)
			}
		}
		return stored[1].DiskPath
	}
	trim := func(at time.Time) {
		t.Helper()
		if err := trimGoCache(dir, at); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(name string) bool { _, err := os.Stat(name); return os.IsNotExist(err) }
	old := object()
	trim(now)
	if !gone(old) || ask(t, dir, nil, get("young"))[0].Miss {
		t.Error("want the old object gone and the young one kept")
	}
	object()
	trim(now.Add(time.Hour))
	if gone(old) {
		t.Error("trimmed twice a day")
	}
	trim(now.Add(25 * time.Hour))
	if !gone(old) {
		t.Error("not trimmed after a day")
	}
}

// TestTheUsersBuildCacheIsRead measures with an empty cache over a full one.
func TestTheUsersBuildCacheIsRead(t *testing.T) {
	dir := write(t, "-- go.mod --\nmodule m\n\ngo 1.26\n-- m.go --\n// Package m counts.\npackage m\n\nimport \"unicode/utf8\"\n\n// Count counts.\nfunc Count(s string) int { return utf8.RuneCountInString(s) }\n")
	compiled := func(m *Meter) int {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(m.goCache(), "??", "*-a"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	first := newMeter(t, func(o *Options) { o.CacheDir, o.GoCache = filepath.Join(t.TempDir(), "a cache"), t.TempDir() })
	want := measure(t, first, dir)
	before := snapshot(t, first.goCache())
	second := newMeter(t, func(o *Options) { o.CacheDir, o.GoCache = t.TempDir(), first.goCache() })
	got := measure(t, second, dir)
	if got.Hash != want.Hash || !got.Passed() || !check(t, got, "build").Passed {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if compiled(second) >= compiled(first) {
		t.Errorf("%d objects over %d: nothing came from the cache below", compiled(second), compiled(first))
	}
	if snapshot(t, first.goCache()) != before {
		t.Error("the user's cache was written")
	}
}
