package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"conclave"
	"conclave/internal/sandbox"
)

// A program is an analyser that is used when it is installed.
type program struct {
	name    string
	handles func(file string, text func() []byte) bool
	args    []string // before the files
	parse   func(stdout []byte) ([]conclave.Finding, error)
}

func programs() []program {
	return []program{
		{"shellcheck", isShell, []string{"--format=json1", "--norc"}, parseShellcheck},
		{"ruff", isPython, []string{"check", "--no-cache", "--no-fix", "--exit-zero", "--output-format=json"}, parseRuff},
	}
}

func isPython(file string, _ func() []byte) bool { return path.Ext(file) == ".py" }

func isShell(file string, text func() []byte) bool {
	switch path.Ext(file) {
	case ".sh", ".bash":
		return true
	case "":
		first := firstLine(string(text()))
		return strings.HasPrefix(first, "#!") && (strings.HasSuffix(first, "sh") || strings.Contains(first, "sh -"))
	}
	return false
}

// maxProgramFiles bounds the files of one call, for the length of its command line.
const maxProgramFiles = 500

// programs runs the installed analysers for which the tree has files.
func (x *measurement) programs(ctx context.Context) (partial, error) {
	var p partial
	for _, prog := range programs() {
		var files []string
		for _, f := range x.files.files {
			if prog.handles(f, func() []byte { return readText(x.dir, f) }) {
				files = append(files, f)
			}
		}
		if len(files) == 0 {
			continue
		}
		if len(files) > maxProgramFiles {
			p.unchecked = append(p.unchecked, fmt.Sprintf("%s: only %d of %d files were looked at", prog.name, maxProgramFiles, len(files)))
			files = files[:maxProgramFiles]
		}
		found, why, err := x.program(ctx, prog, files)
		if err != nil {
			return p, err
		}
		if why != "" {
			p.unchecked = append(p.unchecked, fmt.Sprintf("%s: %s (%d files such as %s)", prog.name, why, len(files), files[0]))
		}
		p.findings = append(p.findings, found...)
	}
	fingerprint(p.findings, newSources(x.dir))
	return p, nil
}

// program runs one analyser. Why is set when it did not do its work.
func (x *measurement) program(ctx context.Context, prog program, files []string) (found []conclave.Finding, why string, err error) {
	binary, err := exec.LookPath(prog.name)
	if err != nil {
		return nil, "not installed", nil
	}
	if binary, err = filepath.EvalSymlinks(binary); err != nil {
		return nil, "not installed", nil
	}
	args := append([]string{binary}, prog.args...)
	for _, f := range files {
		args = append(args, "./"+f) // a file's name is never an option
	}
	r, err := x.box.Run(ctx, sandbox.Command{
		Args: args, Dir: x.dir, ReadOnlyDir: true, Read: []string{filepath.Dir(binary)},
		Timeout: x.timeout, OutputBytes: 16 << 20,
	})
	switch {
	case errors.Is(err, conclave.ErrNotFound):
		return nil, "not installed in the sandbox", nil
	case err != nil:
		return nil, "", err
	case r.TimedOut:
		return nil, fmt.Sprintf("not done in %v", x.timeout), nil
	}
	found, err = prog.parse(r.Stdout)
	if err != nil {
		return nil, fmt.Sprintf("ended with code %d: %s", r.ExitCode, shorten(x.scrub(lastLine(r.Stderr)), 200)), nil
	}
	for i := range found {
		name := found[i].Path
		if filepath.IsAbs(name) {
			if rel, err := filepath.Rel(x.dir, name); err == nil {
				name = rel
			}
		}
		found[i].Path = path.Clean(filepath.ToSlash(name))
		found[i].Message = x.scrub(found[i].Message)
	}
	return found, "", nil
}

func parseShellcheck(stdout []byte) ([]conclave.Finding, error) {
	var out struct {
		Comments []struct {
			File    string `json:"file"`
			Line    int    `json:"line"`
			Column  int    `json:"column"`
			Level   string `json:"level"`
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"comments"`
	}
	if err := json.Unmarshal(stdout, &out); err != nil {
		return nil, err
	}
	var found []conclave.Finding
	for _, c := range out.Comments {
		f := conclave.Finding{
			Tool: "shellcheck", Rule: fmt.Sprintf("SC%d", c.Code), Level: conclave.LevelNote, Category: catStyle,
			Path: c.File, Line: c.Line, Column: c.Column, Message: c.Message,
		}
		switch c.Level {
		case "error":
			f.Level, f.Category = conclave.LevelError, catCorrectness
		case "warning":
			f.Level, f.Category = conclave.LevelWarning, catCorrectness
		}
		found = append(found, f)
	}
	return found, nil
}

func parseRuff(stdout []byte) ([]conclave.Finding, error) {
	var out []struct {
		Code     *string `json:"code"` // null for a file that does not parse
		Filename string  `json:"filename"`
		Message  string  `json:"message"`
		Location struct {
			Row    int `json:"row"`
			Column int `json:"column"`
		} `json:"location"`
	}
	if err := json.Unmarshal(stdout, &out); err != nil {
		return nil, err
	}
	var found []conclave.Finding
	for _, d := range out {
		f := conclave.Finding{
			Tool: "ruff", Rule: "syntax", Level: conclave.LevelError, Category: catCorrectness,
			Path: d.Filename, Line: d.Location.Row, Column: d.Location.Column, Message: d.Message,
		}
		if d.Code != nil && *d.Code != "invalid-syntax" {
			f.Rule = *d.Code
			f.Level, f.Category = ruffClass(*d.Code)
		}
		found = append(found, f)
	}
	return found, nil
}

// ruffClass files a rule of ruff's by the linter that its letters name.
func ruffClass(code string) (conclave.Level, string) {
	switch letters := strings.TrimRight(code, "0123456789"); {
	case letters == "S":
		return conclave.LevelWarning, catSecurity
	case letters == "PERF":
		return conclave.LevelNote, catPerformance
	case code == "F821", code == "F811", strings.HasPrefix(code, "E9"):
		return conclave.LevelError, catCorrectness // an undefined name fails when it is reached
	case letters == "F" || letters == "B":
		return conclave.LevelWarning, catCorrectness
	}
	return conclave.LevelNote, catStyle
}
