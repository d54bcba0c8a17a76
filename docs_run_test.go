package conclave_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"conclave"
)

// notRun are the reasons for which a block of a document may be left out. The
// comment "not run: REASON" stands on the line before the block.
func notRun() []string {
	return []string{"needs Docker", "needs a key", "needs Kubernetes", "needs a cloud", "runs for ever", "another stage of CI"}
}

// block is a fenced bash block of a document.
type block struct {
	line int
	text string
	skip string // why it is not run
	exit int    // the code that its last command ends with
}

var mark = regexp.MustCompile(`^<!-- (not run|exits): (.+) -->$`)

// bashBlocks returns a document's bash blocks in order.
func bashBlocks(text string) ([]block, error) {
	var (
		blocks []block
		in     *block
		before string // the last line outside a block
	)
	for i, line := range strings.Split(text, "\n") {
		switch {
		case in != nil && strings.HasPrefix(line, "```"):
			blocks, in, before = append(blocks, *in), nil, ""
		case in != nil:
			in.text += line + "\n"
		case line == "```bash":
			in = &block{line: i + 1}
			m := mark.FindStringSubmatch(before)
			switch {
			case m == nil:
			case m[1] == "exits":
				code, err := strconv.Atoi(m[2])
				if err != nil || code == 0 {
					return nil, fmt.Errorf("line %d: exits: %s: want the code of a failure", i, m[2])
				}
				in.exit = code
			case !slices.Contains(notRun(), m[2]):
				return nil, fmt.Errorf("line %d: not run: %s: want one of %s", i, m[2], strings.Join(notRun(), ", "))
			default:
				in.skip = m[2]
			}
		default:
			before = line
		}
	}
	return blocks, nil
}

// The commands in the documents work: each document's blocks are one bash
// session beside the program. Only the addresses differ, because the test's
// services are on free ports.
func TestDocumentsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every command of the documents")
	}
	dir := sourceWithProgram(t)
	shared := newReader(t, dir)
	shared.bash(t, "make quick-start-a2a\nmake quick-test-a2a", "") // something was said then
	t.Run("docs/api", func(t *testing.T) { compareReference(t, newReader(t, dir)) })
	ran := 0
	for path, text := range documents(t) {
		blocks, err := bashBlocks(text)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if !slices.ContainsFunc(blocks, func(b block) bool { return b.skip == "" }) {
			continue
		}
		ran++
		t.Run(path, func(t *testing.T) {
			r := shared
			if slices.ContainsFunc(blocks, func(b block) bool { return strings.Contains(b.text, "make quick-start-a2a") }) {
				r = newReader(t, dir) // a newcomer's: it starts the services itself
			}
			r.follow(t, blocks)
		})
	}
	if ran < 7 {
		t.Errorf("only %d documents have a command that runs", ran)
	}
}

// compareReference has the reference written again, by a program that nothing
// was told yet.
func compareReference(t *testing.T, r *reader) {
	folder := t.TempDir()
	r.bash(t, "go run ./scripts/apidoc bin/conclave "+folder, "")
	pages, err := os.ReadDir(folder)
	if err != nil || len(pages) < 4 {
		t.Fatalf("only %d pages were written: %v", len(pages), err)
	}
	for _, p := range pages {
		want, err := os.ReadFile(filepath.Join(folder, p.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("docs", "api", p.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("docs/api/%s is not what the program says; run: make api-docs", p.Name())
		}
	}
}

// A mark that names no known reason is refused, or it would hide any block.
func TestUnknownReasonIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"<!-- not run: too slow -->\n```bash\nfalse\n```\n": "want one of",
		"<!-- exits: soon -->\n```bash\nfalse\n```\n":       "want the code",
	} {
		if _, err := bashBlocks(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
}

// documents yields the text of each document that people read in order of its path.
func documents(t *testing.T) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*.md"} {
			paths, err := filepath.Glob(pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !yield(path, string(text)) {
					return
				}
			}
		}
	}
}

// sourceWithProgram returns a folder that looks like the source with the program
// built, and whose make does not build it again.
func sourceWithProgram(t *testing.T) string {
	t.Helper()
	top, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "bin" {
			if err := os.Symlink(filepath.Join(top, e.Name()), filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "bin", "conclave"), "./cmd/conclave")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	real, err := exec.LookPath("make")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin", "path"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nexec " + real + " --no-print-directory --old-file=build \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "bin", "path", "make"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reader is somebody who types what a document says, in a HOME of their own.
type reader struct {
	dir, home string
	env       []string
}

func newReader(t *testing.T, dir string) *reader {
	t.Helper()
	r := &reader{dir: dir, home: t.TempDir()}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "CONCLAVE_") && !strings.HasSuffix(name, "_API_KEY") && name != "DATABASE_URL" && name != "HOME" && name != "PATH" {
			r.env = append(r.env, e)
		}
	}
	goCache, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	caches := strings.Fields(string(goCache))
	r.env = append(r.env, "HOME="+r.home, "TMPDIR="+t.TempDir(), "CONCLAVE_PORTS=auto", "CONCLAVE_BRAIN=offline", "GOCACHE="+caches[0], "GOMODCACHE="+caches[1],
		"PATH="+filepath.Join(dir, "bin", "path")+":"+os.Getenv("PATH"))
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(r.data(), "serve.pid")); err == nil {
			r.bash(t, "make stop", "")
		}
	})
	return r
}

func (r *reader) data() string { return filepath.Join(r.home, ".local", "share", "conclave") }

// follow types a document's blocks, one after the other, in one session.
func (r *reader) follow(t *testing.T, blocks []block) {
	t.Helper()
	var script strings.Builder
	for _, b := range blocks {
		if b.skip != "" {
			continue
		}
		fmt.Fprintf(&script, "echo '=== line %d'\n", b.line)
		if b.exit == 0 {
			script.WriteString(b.text)
			continue
		}
		fmt.Fprintf(&script, "code=0; { %s} || code=$?; [ $code = %d ] || { echo \"it ended with $code, not with %d\"; exit 1; }\n", b.text, b.exit, b.exit)
	}
	r.bash(t, script.String(), "=== line")
}

// bash runs a script, in which documented addresses stand for those of the
// reader's services, and fails the test with what was printed since the last marker.
func (r *reader) bash(t *testing.T, script, marker string) {
	t.Helper()
	for _, service := range conclave.AllServices() {
		script = strings.ReplaceAll(script, fmt.Sprintf("http://127.0.0.1:%d", service.Port()), "$(address "+string(service)+")")
	}
	// Asked each time, because a restart takes other ports.
	script = fmt.Sprintf("address() { sed -n \"s/.*\\\"$1\\\": \\\"\\(.*\\)\\\".*/\\1/p\" %q; }\n", filepath.Join(r.data(), "services.json")) + script
	// Bounded, because a command that waits for input or for ever is an error too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", script)
	cmd.Dir, cmd.Env, cmd.WaitDelay = r.dir, r.env, 5*time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		said := out.String()
		if marker != "" {
			said = said[max(0, strings.LastIndex(said, marker)):]
		}
		t.Errorf("%v\n%s", err, said)
		return
	}
	t.Log(out.String())
}
