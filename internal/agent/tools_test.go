package agent

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/llm"
)

func TestToolsKeepToTheWorktree(t *testing.T) {
	dir := worktree(t)
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret.txt")
	if err := os.WriteFile(secret, []byte("secret of the user"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"docs/out": outside, "docs/secret.md": secret, "docs/main.md": "../main.go"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "docs/image.png"), []byte("\x89PNG\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "docs/old.md"), 0o755); err != nil {
		t.Fatal(err)
	}
	box, err := openToolbox(buildRequest(dir), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer box.close()
	for _, tt := range []struct {
		tool, input, says string
		fails             bool
	}{
		{"read_file", `{"path":"main.go"}`, "1\tpackage main\n", false},
		{"read_file", `{"path":"` + dir + `/main.go","from":5,"to":99}`, "5\t}\n", false},
		{"read_file", `{"path":"other/big.md"}`, "it has 3000 lines", false},
		{"read_file", `{"path":"main.go","from":99}`, "has 5 lines", true},
		{"read_file", `{"path":"gone.go"}`, "there is no gone.go", true},
		{"read_file", `{"path":"docs"}`, "is a folder", true},
		{"read_file", `{"path":"docs/image.png"}`, "not a text file", true},
		{"read_file", `{"path":"../secret.txt"}`, "outside the worktree", true},
		{"read_file", `{"path":"` + secret + `"}`, "outside the worktree", true},
		{"read_file", `{"path":"docs/secret.md"}`, "escapes", true},
		{"read_file", `{"path":"docs/out/secret.txt"}`, "escapes", true},
		{"read_file", `{"path":".git/config"}`, "belongs to git", true},
		{"read_file", `{"path":"docs/../.GIT"}`, "belongs to git", true},
		{"read_file", `{"paths":"main.go"}`, "does not fit the tool's schema", true},
		{"read_file", `{"path":`, "not JSON", true},
		{"list_files", `{}`, "docs/\nmain.go\nother/\n", false},
		{"list_files", `{"path":"docs/out"}`, "escapes", true},
		{"search", `{"pattern":"hello"}`, "docs/old.md:3: hello twice: hello\nmain.go:4: \tprintln(\"hello\")\n", false},
		{"search", `{"pattern":"hello","files":"*.go"}`, "main.go:4", false},
		{"search", `{"pattern":"line of"}`, "more than 200 lines match", false},
		{"search", `{"pattern":"secret of"}`, "no line matches", false},
		{"search", `{"pattern":"("}`, "missing closing", true},
		{"search", `{"pattern":"x","path":"../"}`, "outside the worktree", true},
		{"write_file", `{"path":"docs/a.md","content":"a"}`, "wrote 1 bytes", false},
		{"write_file", `{"path":"main.go","content":"a"}`, "outside the step's write set (docs/**)", true},
		{"write_file", `{"path":"docs/../main.go","content":"a"}`, "write set", true},
		{"write_file", `{"path":"docs/../../x","content":"a"}`, "outside the worktree", true},
		{"write_file", `{"path":"docs/main.md","content":"a"}`, "symbolic link", true},
		{"write_file", `{"path":"docs/out/x","content":"a"}`, "symbolic link", true},
		{"write_file", `{"path":"docs/.git/hooks/pre-commit","content":"a"}`, "belongs to git", true},
		{"write_file", `{"path":"docs","content":"a"}`, "write set", true},
		{"edit_file", `{"path":"docs/old.md","old":"hello","new":"bye"}`, "occurs 2 times", true},
		{"edit_file", `{"path":"docs/old.md","old":"gone","new":"bye"}`, "does not occur", true},
		{"edit_file", `{"path":"docs/old.md","old":"","new":"bye"}`, "old is empty", true},
		{"edit_file", `{"path":"docs/old.md","old":"# Old","new":"# New"}`, "changed docs/old.md", false},
		{"remove_file", `{"path":"docs/a.md"}`, "removed docs/a.md", false},
		{"remove_file", `{"path":"main.go"}`, "write set", true},
		{"remove_file", `{"path":"docs/secret.md"}`, "symbolic link", true},
		{"run", `{"command":["true"]}`, "no tool", true},
		{"ask_agent", `{"to":"roles/qa","question":"x"}`, "no tool", true},
	} {
		got := box.use(t.Context(), llm.ToolCall{ID: "1", Name: tt.tool, Input: json.RawMessage(tt.input)})
		if got.Error != tt.fails || !strings.Contains(got.Text, tt.says) {
			t.Errorf("%s %s: %q (error %v), want %q", tt.tool, tt.input, got.Text, got.Error, tt.says)
		}
		if got.Error && strings.Contains(got.Text, outside) && !strings.Contains(tt.input, outside) {
			t.Errorf("%s %s tells a path of the machine: %q", tt.tool, tt.input, got.Text)
		}
	}
	if contentOf(t, dir, "main.go") != "package main\n\nfunc main() {\n\tprintln(\"hello\")\n}\n" || contentOf(t, outside, "secret.txt") != "secret of the user" {
		t.Error("a file outside the write set was changed")
	}
	if info, err := os.Stat(filepath.Join(dir, "docs/old.md")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("an edit changed the mode to %v, %v", info.Mode(), err)
	}
}

func TestToolsOfARole(t *testing.T) {
	dir := worktree(t)
	for name, tt := range map[string]struct {
		request Request
		tools   string
	}{
		"a build":              {buildRequest(dir), "read_file list_files search write_file edit_file remove_file"},
		"a review":             {reviewRequest(dir), "read_file list_files search"},
		"a vote without files": {Request{Agent: conclave.AgentSpec{Tools: roleTools()}, Assignment: conclave.Assignment{Kind: conclave.AssignVote}}, ""},
		"a role without tools": {Request{Assignment: conclave.Assignment{Kind: conclave.AssignBuild, Worktree: dir}}, ""},
	} {
		box, err := openToolbox(tt.request, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, tool := range box.tools {
			names = append(names, tool.Name)
		}
		box.close()
		if got := strings.Join(names, " "); got != tt.tools {
			t.Errorf("%s has the tools %q, want %q", name, got, tt.tools)
		}
	}
	if _, err := openToolbox(buildRequest(filepath.Join(dir, "gone")), nil, ""); !errors.Is(err, conclave.ErrNotFound) {
		t.Errorf("a worktree that is gone: %v", err)
	}
}

func TestFingerprintFollowsTheLine(t *testing.T) {
	dir := worktree(t)
	mark := func(line int, rule string) string {
		f := conclave.ReviewFinding{Finding: conclave.Finding{Rule: rule, Path: "main.go", Line: line}}
		if err := locate(dir, &f); err != nil {
			t.Fatal(err)
		}
		return f.Fingerprint
	}
	before, other := mark(4, "r"), mark(3, "r")
	if before == other || before == mark(4, "s") {
		t.Error("different findings have one fingerprint")
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("// A comment.\n"+contentOf(t, dir, "main.go")), 0o644); err != nil {
		t.Fatal(err)
	}
	if mark(5, "r") != before {
		t.Error("the finding moved, and its fingerprint changed")
	}
	for _, f := range []conclave.Finding{{Path: "gone.go", Line: 1}, {Path: "main.go", Line: 99}, {Path: "../x", Line: 1}} {
		if err := locate(dir, &conclave.ReviewFinding{Finding: f}); err == nil {
			t.Errorf("%s:%d was taken", f.Path, f.Line)
		}
	}
}
