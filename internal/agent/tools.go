package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"conclave"
	"conclave/internal/llm"
	"conclave/internal/sandbox"
)

// Groups of tools that a role's file may grant.
const (
	toolRead   = "read"
	toolWrite  = "write"
	toolSearch = "search"
	toolRun    = "run"
	toolAsk    = "ask"
)

// Bounds of what a tool takes and gives.
const (
	maxReadLines = 2000
	maxReadBytes = 64 << 10
	maxFileBytes = 1 << 20
	maxEntries   = 500
	maxMatches   = 200
	maxMatchText = 300
	maxRunOutput = 16 << 10
)

// Runner runs a command in isolation, as the sandbox does.
type Runner interface {
	Run(ctx context.Context, c sandbox.Command) (sandbox.Result, error)
}

// toolbox is what a model may do in a worktree. Its errors are texts for the
// model, which goes on; only the end of the context ends the work.
type toolbox struct {
	request  Request
	dir      string
	root     *os.Root // nil without a worktree
	writes   []string // nil: nothing may be written
	runner   Runner
	goCache  string
	tools    []boxedTool
	failures map[string]bool // references of commands that failed
	runs     int
	err      error // why a tool could not be made
}

type boxedTool struct {
	llm.Tool
	call func(ctx context.Context, raw json.RawMessage) (string, error)
}

// openToolbox gives a request the tools that its role and its assignment allow:
// only a build writes.
func openToolbox(r Request, runner Runner, goCache string) (*toolbox, error) {
	b := &toolbox{request: r, dir: r.Assignment.Worktree, runner: runner, goCache: goCache, failures: map[string]bool{}}
	grants := func(group string) bool { return slices.Contains(r.Agent.Tools, group) }
	if b.dir != "" {
		root, err := os.OpenRoot(b.dir)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrNotFound, "opening the worktree: %w", err)
		}
		b.root = root
		if grants(toolRead) {
			addTool(b, "read_file", "Returns a file of the worktree with line numbers.", b.read)
			addTool(b, "list_files", "Lists a folder of the worktree; folders end in a slash.", b.list)
		}
		if grants(toolSearch) {
			addTool(b, "search", "Finds the lines that match a regular expression (RE2) in the files of the worktree.", b.search)
		}
		if grants(toolWrite) && r.Assignment.Kind == conclave.AssignBuild {
			b.writes = writeSet(r.Assignment)
			addTool(b, "write_file", "Writes a whole file of the worktree; makes its folders.", b.write)
			addTool(b, "edit_file", "Replaces a text that occurs exactly once in a file.", b.edit)
			addTool(b, "remove_file", "Removes a file.", b.remove)
		}
		if grants(toolRun) && runner != nil {
			addTool(b, "run", "Runs a command at the top of the worktree, without a shell, without the network, and returns its number, its exit code and what it printed.", b.run)
		}
	}
	if grants(toolAsk) && r.Ask != nil {
		addTool(b, "ask_agent", "Asks another agent a question and returns its answer.", b.ask)
	}
	if b.err != nil {
		b.close()
		return nil, b.err
	}
	return b, nil
}

func (b *toolbox) close() {
	if b.root != nil {
		// Only a handle of a folder; nothing is written through it.
		_ = b.root.Close()
	}
}

// use runs a tool call.
func (b *toolbox) use(ctx context.Context, call llm.ToolCall) llm.ToolResult {
	for _, t := range b.tools {
		if t.Name != call.Name {
			continue
		}
		text, err := t.call(ctx, call.Input)
		if err != nil {
			return llm.ToolResult{ID: call.ID, Text: err.Error(), Error: true}
		}
		return llm.ToolResult{ID: call.ID, Text: text}
	}
	return llm.ToolResult{ID: call.ID, Error: true, Text: fmt.Sprintf("there is no tool %q here", call.Name)}
}

// addTool makes a tool of a function: its schema comes from the input's type.
func addTool[In any](b *toolbox, name, description string, run func(context.Context, In) (string, error)) {
	schema, err := jsonschema.For[In](nil)
	if err != nil {
		b.err = fmt.Errorf("deriving the schema of the tool %s: %w", name, err)
		return
	}
	plain(schema)
	resolved, err := schema.Resolve(nil)
	if err != nil {
		b.err = fmt.Errorf("resolving the schema of the tool %s: %w", name, err)
		return
	}
	text, err := json.Marshal(schema)
	if err != nil {
		b.err = fmt.Errorf("encoding the schema of the tool %s: %w", name, err)
		return
	}
	call := func(ctx context.Context, raw json.RawMessage) (string, error) {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return "", fmt.Errorf("the input is not JSON: %w", err)
		}
		if err := resolved.Validate(value); err != nil {
			return "", fmt.Errorf("the input does not fit the tool's schema: %w", err)
		}
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return "", fmt.Errorf("the input can't be read: %w", err)
		}
		return run(ctx, in)
	}
	b.tools = append(b.tools, boxedTool{llm.Tool{Name: name, Description: description, Schema: text}, call})
}

// inside makes a model's path one in the worktree.
func (b *toolbox) inside(name string) (string, error) {
	if rel, ok := strings.CutPrefix(name, filepath.ToSlash(b.dir)+"/"); ok {
		name = rel
	}
	clean := path.Clean(name)
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("%s is outside the worktree", name)
	}
	// Git runs what its configuration names.
	if slices.ContainsFunc(strings.Split(clean, "/"), func(part string) bool { return strings.EqualFold(part, ".git") }) {
		return "", fmt.Errorf("%s belongs to git", name)
	}
	return clean, nil
}

type readInput struct {
	Path string `json:"path" jsonschema:"relative to the worktree's top"`
	From int    `json:"from,omitempty" jsonschema:"first line, from 1"`
	To   int    `json:"to,omitempty" jsonschema:"last line"`
}

func (b *toolbox) read(_ context.Context, in readInput) (string, error) {
	all, err := b.content(in.Path)
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSuffix(string(all), "\n"), "\n")
	from, to := max(in.From, 1), len(lines)
	if in.To > 0 {
		to = min(in.To, to)
	}
	if from > len(lines) {
		return "", fmt.Errorf("%s has %d lines", in.Path, len(lines))
	}
	var out strings.Builder
	for i := from; i <= to; i++ {
		if i-from >= maxReadLines || out.Len() > maxReadBytes {
			fmt.Fprintf(&out, "… it has %d lines; ask for the rest by from and to\n", len(lines))
			break
		}
		fmt.Fprintf(&out, "%d\t%s\n", i, lines[i-1])
	}
	return out.String(), nil
}

// content returns a text file.
func (b *toolbox) content(name string) ([]byte, error) {
	name, err := b.inside(name)
	if err != nil {
		return nil, err
	}
	info, err := b.root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no %s", name)
	case err != nil:
		return nil, plainError(err)
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder", name)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case info.Size() > maxFileBytes:
		return nil, fmt.Errorf("%s has %d bytes, which is too much", name, info.Size())
	}
	all, err := b.root.ReadFile(name)
	if err != nil {
		return nil, plainError(err)
	}
	if bytes.IndexByte(all, 0) >= 0 || !utf8.Valid(all) {
		return nil, fmt.Errorf("%s is not a text file", name)
	}
	return all, nil
}

// plainError leaves out the path of this machine.
func plainError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

type listInput struct {
	Path string `json:"path,omitempty" jsonschema:"the folder, relative to the worktree's top; the top when left out"`
}

func (b *toolbox) list(_ context.Context, in listInput) (string, error) {
	dir, err := b.inside(in.Path)
	if err != nil {
		return "", err
	}
	entries, err := fs.ReadDir(b.root.FS(), dir)
	if err != nil {
		return "", plainError(err)
	}
	var out strings.Builder
	for i, e := range entries {
		if i == maxEntries {
			fmt.Fprintf(&out, "… and %d more\n", len(entries)-i)
			break
		}
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		out.WriteString(name + "\n")
	}
	return out.String(), nil
}

type searchInput struct {
	Pattern string `json:"pattern" jsonschema:"RE2, matched against each line"`
	Path    string `json:"path,omitempty" jsonschema:"a folder to search in; everywhere when left out"`
	Files   string `json:"files,omitempty" jsonschema:"only files whose name matches, as *.go"`
}

func (b *toolbox) search(ctx context.Context, in searchInput) (string, error) {
	re, err := regexp.Compile(in.Pattern)
	if err != nil {
		return "", err
	}
	if _, err := path.Match(in.Files, ""); err != nil {
		return "", fmt.Errorf("files: %w", err)
	}
	top, err := b.inside(in.Path)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	matches := 0
	err = fs.WalkDir(b.root.FS(), top, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.Name() == ".git", e.IsDir() && e.Name() == "node_modules":
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular():
			return nil
		}
		if ok, _ := path.Match(in.Files, e.Name()); in.Files != "" && !ok {
			return nil
		}
		all, err := b.content(name)
		if err != nil {
			return nil // not text, or too big: nothing to search in
		}
		n := 0
		for line := range bytes.Lines(all) {
			n++
			if line = bytes.TrimRight(line, "\r\n"); !re.Match(line) {
				continue
			}
			if matches++; matches > maxMatches {
				fmt.Fprintf(&out, "… more than %d lines match\n", maxMatches)
				return fs.SkipAll
			}
			fmt.Fprintf(&out, "%s:%d: %s\n", name, n, strings.ToValidUTF8(string(line[:min(len(line), maxMatchText)]), ""))
		}
		return nil
	})
	if err != nil {
		return "", plainError(err)
	}
	if matches == 0 {
		return "no line matches", nil
	}
	return out.String(), nil
}

// writable makes sure that a path is in the write set, and that no link leads
// from it to one that is not.
func (b *toolbox) writable(name string) (string, error) {
	name, err := b.inside(name)
	if err != nil {
		return "", err
	}
	if !conclave.WritesAllow(b.writes, name) {
		return "", fmt.Errorf("%s is outside the step's write set (%s); if the step can't be done without it, say so in your reply", name, strings.Join(b.writes, ", "))
	}
	for p := name; p != "."; p = path.Dir(p) {
		info, err := b.root.Lstat(p)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", fmt.Errorf("%s is a symbolic link", p)
		}
		if err == nil && p == name && !info.Mode().IsRegular() {
			return "", fmt.Errorf("%s is not a regular file", p)
		}
	}
	return name, nil
}

type writeInput struct {
	Path    string `json:"path" jsonschema:"relative to the worktree's top"`
	Content string `json:"content" jsonschema:"the whole content of the file"`
}

func (b *toolbox) write(_ context.Context, in writeInput) (string, error) {
	name, err := b.writable(in.Path)
	if err != nil {
		return "", err
	}
	if len(in.Content) > maxFileBytes {
		return "", fmt.Errorf("%d bytes are too much for a file", len(in.Content))
	}
	if err := b.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return "", plainError(err)
	}
	if err := b.root.WriteFile(name, []byte(in.Content), 0o644); err != nil {
		return "", plainError(err)
	}
	return fmt.Sprintf("wrote %d bytes to %s", len(in.Content), name), nil
}

type editInput struct {
	Path string `json:"path" jsonschema:"relative to the worktree's top"`
	Old  string `json:"old" jsonschema:"the text to replace, with enough around it to occur once"`
	New  string `json:"new" jsonschema:"what takes its place"`
}

func (b *toolbox) edit(_ context.Context, in editInput) (string, error) {
	name, err := b.writable(in.Path)
	if err != nil {
		return "", err
	}
	all, err := b.content(name)
	if err != nil {
		return "", err
	}
	switch n := strings.Count(string(all), in.Old); {
	case in.Old == "":
		return "", errors.New("old is empty")
	case n == 0:
		return "", fmt.Errorf("old does not occur in %s; read the file again, without its line numbers", name)
	case n > 1:
		return "", fmt.Errorf("old occurs %d times in %s; take more of what is around it", n, name)
	}
	changed := strings.Replace(string(all), in.Old, in.New, 1)
	if len(changed) > maxFileBytes {
		return "", fmt.Errorf("%d bytes are too much for a file", len(changed))
	}
	if err := b.root.WriteFile(name, []byte(changed), 0o644); err != nil {
		return "", plainError(err)
	}
	return "changed " + name, nil
}

type removeInput struct {
	Path string `json:"path" jsonschema:"relative to the worktree's top"`
}

func (b *toolbox) remove(_ context.Context, in removeInput) (string, error) {
	name, err := b.writable(in.Path)
	if err != nil {
		return "", err
	}
	if err := b.root.Remove(name); err != nil {
		return "", plainError(err)
	}
	return "removed " + name, nil
}

type runInput struct {
	Command []string `json:"command" jsonschema:"the program and its arguments, one by one"`
}

func (b *toolbox) run(ctx context.Context, in runInput) (string, error) {
	c := sandbox.Command{Args: in.Command, Dir: b.dir, ReadOnlyDir: b.writes == nil, OutputBytes: maxRunOutput}
	if b.goCache != "" {
		c.Env, c.Read, c.Write = sandbox.GoEnv(b.goCache), sandbox.GoRead(), []string{b.goCache}
	}
	result, err := b.runner.Run(ctx, c)
	if err != nil {
		return "", err
	}
	b.runs++
	ref := fmt.Sprintf("run:%d", b.runs)
	b.failures[ref] = result.ExitCode != 0
	ended := ""
	switch {
	case result.TimedOut:
		ended = ", stopped because it took too long"
	case result.OutOfMemory:
		ended = ", stopped because it took too much memory"
	case result.TooManyProcesses:
		ended = ", stopped because it started too many processes"
	}
	return fmt.Sprintf("%s: exit code %d%s\n%s%s", ref, result.ExitCode, ended, result.Stdout, result.Stderr), nil
}

type askInput struct {
	To       string `json:"to" jsonschema:"roles/ROLE or agents/NAME"`
	Question string `json:"question"`
}

func (b *toolbox) ask(ctx context.Context, in askInput) (string, error) {
	return b.request.Ask(ctx, in.To, in.Question)
}
