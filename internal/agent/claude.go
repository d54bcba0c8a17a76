package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/internal/llm"
)

// ClaudeOptions for [NewClaudeBrain].
type ClaudeOptions struct {
	// Path is the claude binary. Empty: looked up in PATH.
	Path string
	// Home is a folder that claude takes for the user's home, so that it finds
	// neither the user's settings nor their login. Empty: the user's own home,
	// for its login.
	Home string
	// BaseURL is the model router's, with its token in the path. Empty: claude
	// calls the provider itself, with the login that it finds.
	BaseURL string
	// Key is sent as the API key. The router takes its own token there, too.
	Key string
	// Model is a tier or a model's name for roles that name none. Empty: claude's own choice.
	Model string
	// CheckPlan tells what is wrong with a plan before it is handed in. Nil: nothing.
	CheckPlan func(conclave.PlanContent) error
	// MaxTurns bounds the turns of a role that does not say. Zero: 40.
	MaxTurns int
	// Tokens bounds what an assignment that does not say may spend. Zero: 2 million.
	Tokens int64
	// RunTokens bounds, at the router, what a whole run may spend. Zero: no bound.
	RunTokens int64
	// Timeout bounds one run of the binary. Zero: 30 minutes.
	Timeout time.Duration
	// Logger gets what claude was not permitted to do. Nil: nothing is logged.
	Logger *slog.Logger
}

// ClaudeBrain thinks by the official claude binary, without a terminal. The
// binary gets the file tools that the role and the write set allow, and no shell.
// It is safe for concurrent use.
type ClaudeBrain struct{ opts ClaudeOptions }

var _ Brain = (*ClaudeBrain)(nil)

// NewClaudeBrain makes a brain. Whether the binary is there is found out when it
// is needed; Probe tells. ErrInvalid for a home that is no absolute path.
func NewClaudeBrain(o ClaudeOptions) (*ClaudeBrain, error) {
	if o.Home != "" && !filepath.IsAbs(o.Home) {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the home for claude, %q, is no absolute path", o.Home)
	}
	if o.Path == "" {
		o.Path = "claude"
	}
	if o.MaxTurns == 0 {
		o.MaxTurns = 40
	}
	if o.Tokens == 0 {
		o.Tokens = 2_000_000
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &ClaudeBrain{o}, nil
}

// Name returns "claude".
func (b *ClaudeBrain) Name() string { return "claude" }

// Think answers an assignment; its errors are those that [Brain] names.
func (b *ClaudeBrain) Think(ctx context.Context, r Request) (Reply, error) {
	reply, err := b.think(ctx, r)
	if err != nil {
		return Reply{}, fmt.Errorf("claude thinking about %s for %s: %w", r.Assignment.Kind, r.Name, err)
	}
	return reply, nil
}

func (b *ClaudeBrain) think(ctx context.Context, r Request) (Reply, error) {
	f, err := formFor(r, b.opts.CheckPlan)
	if err != nil {
		return Reply{}, err
	}
	args, err := b.arguments(r, f)
	if err != nil {
		return Reply{}, err
	}
	prompt := assignmentPrompt(r)
	var sum claudeRun
	for try := 1; ; try++ {
		run, err := b.run(ctx, r, args, prompt)
		if err != nil {
			return Reply{}, err
		}
		sum.add(run)
		if len(run.result.Denials) > 0 {
			b.opts.Logger.Info("claude was not permitted", "agent", r.Name, "tools", run.denied())
		}
		reply, err := run.reply(ctx, f, sum.worked())
		if err == nil {
			return reply, nil
		}
		if try == 2 || !errors.Is(err, conclave.ErrInvalid) {
			return Reply{}, err
		}
		prompt += fmt.Sprintf("\n\nYou answered this before, and the answer was refused: %v\nWhat you did in the worktree is still there.", err)
	}
}

// arguments says what claude may do: the tools of the role, edits inside the
// write set only, and nothing that asks or that the repository configures.
func (b *ClaudeBrain) arguments(r Request, f *form) ([]string, error) {
	a := r.Assignment
	turns := b.opts.MaxTurns
	if r.Agent.MaxTurns > 0 {
		turns = r.Agent.MaxTurns
	}
	var tools, allow []string
	if a.Worktree != "" {
		// The binary compares paths as they are without links.
		top, err := filepath.EvalSymlinks(a.Worktree)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrNotFound, "opening the worktree: %w", err)
		}
		if slices.Contains(r.Agent.Tools, toolRead) {
			tools = append(tools, "Read")
		}
		if slices.Contains(r.Agent.Tools, toolSearch) {
			tools = append(tools, "Grep", "Glob")
		}
		if slices.Contains(r.Agent.Tools, toolWrite) && a.Kind == conclave.AssignBuild {
			tools = append(tools, "Edit", "Write")
			for _, w := range writeSet(a) {
				// Two slashes mean a path from the root of the file system. A rule for
				// Edit covers every tool that changes files.
				allow = append(allow, "Edit(/"+path.Join(filepath.ToSlash(top), w)+")")
			}
		}
	}
	settings, err := json.Marshal(map[string]any{"permissions": map[string]any{
		"allow": allow,
		// Git runs what its configuration names.
		"deny": []string{"Edit(**/.git)", "Edit(**/.git/**)"},
	}})
	if err != nil {
		return nil, fmt.Errorf("encoding settings: %w", err)
	}
	args := []string{"-p", "--output-format", "stream-json", "--verbose",
		"--permission-mode", "dontAsk", "--settings", string(settings), "--setting-sources", "",
		"--strict-mcp-config", "--no-session-persistence",
		"--tools", strings.Join(tools, ","), "--max-turns", strconv.Itoa(turns),
		"--append-system-prompt", systemPrompt(r)}
	if m := claudeAlias(cmp.Or(r.Agent.Model, b.opts.Model)); m != "" {
		args = append(args, "--model", m)
	}
	if f != nil {
		schema, err := json.Marshal(f.schema)
		if err != nil {
			return nil, fmt.Errorf("encoding the schema of the reply: %w", err)
		}
		args = append(args, "--json-schema", string(schema))
	}
	return args, nil
}

// claudeAlias turns a tier into the binary's own name for it.
func claudeAlias(model string) string {
	switch model {
	case "strong":
		return "opus"
	case "middle":
		return "sonnet"
	case "small":
		return "haiku"
	}
	return model
}

// environment is all that claude sees of ours.
func (b *ClaudeBrain) environment(r Request) []string {
	home := b.opts.Home
	if home == "" {
		home = os.Getenv("HOME")
	}
	env := []string{"HOME=" + home,
		"DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1", "DISABLE_AUTOUPDATER=1", "DISABLE_BUG_COMMAND=1",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
		// There are few tools, and all are needed.
		"ENABLE_TOOL_SEARCH=false",
		// The router retries too, and a bad key is retried for a minute otherwise.
		"CLAUDE_CODE_MAX_RETRIES=3",
	}
	keep := []string{"PATH", "LANG", "LC_ALL", "TMPDIR", "TZ"}
	if b.opts.BaseURL == "" {
		keep = append(keep, "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")
	} else {
		env = append(env, "ANTHROPIC_BASE_URL="+b.opts.BaseURL)
	}
	for _, name := range keep {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	if b.opts.Key != "" {
		env = append(env, "ANTHROPIC_API_KEY="+b.opts.Key)
	}
	if b.opts.BaseURL != "" {
		headers := []string{llm.HeaderRun + ": " + string(r.Assignment.Run), llm.HeaderAgent + ": " + string(r.Name), llm.HeaderTask + ": " + string(r.Task)}
		if b.opts.RunTokens > 0 {
			headers = append(headers, llm.HeaderBudget+": "+strconv.FormatInt(b.opts.RunTokens, 10))
		}
		env = append(env, "ANTHROPIC_CUSTOM_HEADERS="+strings.Join(headers, "\n"))
	}
	return env
}

// run runs the binary once. The prompt goes in by standard input, where neither
// its length nor a list of processes matters.
func (b *ClaudeBrain) run(ctx context.Context, r Request, args []string, prompt string) (*claudeRun, error) {
	if b.opts.Home != "" {
		if err := os.MkdirAll(b.opts.Home, 0o700); err != nil {
			return nil, fmt.Errorf("making a home for claude: %w", err)
		}
	}
	dir := r.Assignment.Worktree
	if dir == "" {
		empty, err := os.MkdirTemp("", "conclave-claude-")
		if err != nil {
			return nil, fmt.Errorf("making a folder for claude: %w", err)
		}
		defer func() { _ = os.RemoveAll(empty) }() // in the system's temporary folder, and empty
		dir = empty
	}
	limited, cancel := context.WithTimeout(ctx, b.opts.Timeout)
	defer cancel()
	run := &claudeRun{limit: b.opts.Tokens, overspent: cancel, counts: map[string]int64{}}
	if n := r.Assignment.Tokens; n > 0 {
		run.limit = n
	}
	var stderr tailBuffer
	cmd := exec.CommandContext(limited, b.opts.Path, args...)
	cmd.Dir, cmd.Env = dir, b.environment(r)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(prompt), run, &stderr
	cmd.WaitDelay = 5 * time.Second
	ownGroup(cmd)
	err := cmd.Run()
	endGroup(cmd)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case run.spent() > run.limit:
		return nil, conclave.Errorf(conclave.ErrLimited, "about %d tokens were spent, and %d are the limit", run.spent(), run.limit)
	case limited.Err() != nil:
		return nil, conclave.Errorf(conclave.ErrTimeout, "it took longer than %v", b.opts.Timeout)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return nil, conclave.Errorf(conclave.ErrUnavailable, "claude is not installed (%s)", b.opts.Path)
	case run.result == nil:
		return nil, conclave.Errorf(conclave.ErrUnavailable, "it ended without a result (%v): %s", err, b.safe(stderr.String()))
	}
	if err := run.failure(); err != nil {
		return nil, conclave.Errorf(err, "%s", b.safe(run.result.Result))
	}
	return run, nil
}

// safe takes out what a message must not hold.
func (b *ClaudeBrain) safe(text string) string {
	for _, secret := range []string{b.opts.BaseURL, b.opts.Key} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[hidden]")
		}
	}
	return strings.TrimSpace(text)
}

// claudeRun is what one run of the binary printed. It takes its output line by
// line and stops it when it has spent too much.
type claudeRun struct {
	line      bytes.Buffer
	limit     int64
	overspent func()
	counts    map[string]int64 // tokens by model answer
	toolCalls int
	usage     conclave.Usage
	result    *claudeResult
}

// claudeResult is the last line that the binary prints.
type claudeResult struct {
	Subtype    string          `json:"subtype"`
	IsError    bool            `json:"is_error"`
	Status     int             `json:"api_error_status"`
	Stop       string          `json:"stop_reason"`
	Result     string          `json:"result"`
	Structured json.RawMessage `json:"structured_output"`
	CostUSD    *float64        `json:"total_cost_usd"`
	Usage      claudeUsage     `json:"usage"`
	Denials    []struct {
		Tool string `json:"tool_name"`
	} `json:"permission_denials"`
}

type claudeUsage struct {
	Input      int64 `json:"input_tokens"`
	Output     int64 `json:"output_tokens"`
	CacheRead  int64 `json:"cache_read_input_tokens"`
	CacheWrite int64 `json:"cache_creation_input_tokens"`
}

func (u claudeUsage) input() int64 { return u.Input + u.CacheRead + u.CacheWrite }

// maxClaudeLine bounds a line of output; a longer one is not read.
const maxClaudeLine = 16 << 20

// Write takes output of the binary.
func (c *claudeRun) Write(p []byte) (int, error) {
	rest := p
	for {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if c.line.Len()+len(line) > maxClaudeLine {
			return 0, fmt.Errorf("a line of output has more than %d bytes", maxClaudeLine)
		}
		c.line.Write(line)
		if !whole {
			return len(p), nil
		}
		c.read(c.line.Bytes())
		c.line.Reset()
		rest = after
	}
}

func (c *claudeRun) read(line []byte) {
	var event struct {
		Type    string `json:"type"`
		Message struct {
			ID      string `json:"id"`
			Model   string `json:"model"`
			Content []struct {
				Type string `json:"type"`
				Name string `json:"name"`
			} `json:"content"`
			Usage claudeUsage `json:"usage"`
		} `json:"message"`
	}
	// Other kinds of line have other forms, and may be of any.
	if json.Unmarshal(line, &event) != nil {
		return
	}
	switch event.Type {
	case "assistant":
		if event.Message.Model == "<synthetic>" {
			return // written by the binary itself, not by a model
		}
		c.counts[event.Message.ID] = event.Message.Usage.input() + event.Message.Usage.Output
		for _, block := range event.Message.Content {
			if block.Type == "tool_use" && block.Name != "StructuredOutput" {
				c.toolCalls++
			}
		}
		if c.spent() > c.limit {
			c.overspent()
		}
	case "result":
		var result claudeResult
		if json.Unmarshal(line, &result) == nil {
			c.result = &result
		}
	}
}

func (c *claudeRun) spent() int64 {
	var sum int64
	for _, n := range c.counts {
		sum += n
	}
	return sum
}

// add adds a run to the sum of all runs.
func (c *claudeRun) add(run *claudeRun) {
	calls, input, output := int64(len(run.counts)), run.result.Usage.input(), run.result.Usage.Output
	c.toolCalls += run.toolCalls
	c.usage.ModelCalls = plus(c.usage.ModelCalls, calls)
	c.usage.InputTokens = plus(c.usage.InputTokens, input)
	c.usage.OutputTokens = plus(c.usage.OutputTokens, output)
	if run.result.CostUSD != nil {
		c.usage.CostUSD = plus(c.usage.CostUSD, *run.result.CostUSD)
	}
}

func plus[N int64 | float64](sum *N, n N) *N {
	if sum != nil {
		n += *sum
	}
	return &n
}

func (c *claudeRun) worked() worked { return worked{usage: c.usage, toolCalls: c.toolCalls} }

func (c *claudeRun) denied() []string {
	var tools []string
	for _, d := range c.result.Denials {
		tools = append(tools, d.Tool)
	}
	return tools
}

// failure returns the kind of what went wrong in a run, or nil.
func (c *claudeRun) failure() error {
	r := c.result
	switch {
	case r.Subtype == "error_max_turns":
		r.Result = "the turns were used up"
		return conclave.ErrLimited
	case strings.HasPrefix(r.Subtype, "error_max_structured_output"):
		r.Result = "no reply had the right form"
		return conclave.ErrInvalid
	case !r.IsError:
		return nil
	case r.Stop == "refusal":
		return conclave.ErrUnsupported
	case r.Status == 401, r.Status == 403, strings.Contains(r.Result, "/login"):
		return conclave.ErrDenied
	case r.Status == 404:
		return conclave.ErrNotFound
	case r.Status == 429:
		return conclave.ErrLimited
	case r.Status >= 400 && r.Status < 500:
		return conclave.ErrInvalid
	}
	return conclave.ErrUnavailable
}

// reply makes the reply of a run.
func (c *claudeRun) reply(ctx context.Context, f *form, w worked) (Reply, error) {
	switch {
	case f == nil && c.result.Result == "":
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "the answer is empty")
	case f == nil:
		return Reply{Text: c.result.Result}, nil
	case len(c.result.Structured) == 0:
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "the answer has no structured output")
	}
	reply, err := f.read(ctx, c.result.Structured, w)
	if err != nil && len(c.result.Denials) > 0 {
		err = fmt.Errorf("%w (not permitted: %s)", err, strings.Join(c.denied(), ", "))
	}
	return reply, err
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct{ bytes.Buffer }

const maxTail = 4 << 10

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.Buffer.Write(p)
	if extra := t.Len() - maxTail; extra > 0 {
		t.Next(extra)
	}
	return len(p), nil
}
