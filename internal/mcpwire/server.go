package mcpwire

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"conclave"
	"conclave/internal/restwire"
)

// errorKey is the member of a failed result's _meta that holds the kind of error.
const errorKey = "conclave/error"

const defaultProgressEvery = 5 * time.Second

const instructions = `Conclave lets a team of agents plan, vote, build in isolated git worktrees, review with evidence, and deliver a branch.
Start work with workflow_start, then call workflow_status with wait_ms until the run ends or waits. What waits for a human is in approval_list; only a human decides it.`

// Options says what a server offers.
type Options struct {
	Name    string // "conclave" when empty
	Version string // "0" when empty

	Tables []conclave.Table
	All    bool // every operation is a tool, not only those that are marked
	// ProgressEvery is how often a client that asked for it hears that its call
	// runs; 0 means 5 s.
	ProgressEvery time.Duration
	Logger        *slog.Logger // nil means slog.Default()
}

type service struct {
	table         conclave.Table
	op            conclave.Operation
	inputs        *restwire.Inputs
	progressEvery time.Duration
	logger        *slog.Logger
}

// NewServer makes an MCP server of the tables' operations. ErrInvalid when an
// operation can't be a tool.
func NewServer(o Options) (*mcp.Server, error) {
	if o.Name == "" {
		o.Name = "conclave"
	}
	if o.Version == "" {
		o.Version = "0"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ProgressEvery == 0 {
		o.ProgressEvery = defaultProgressEvery
	}
	inputs, err := restwire.NewInputs(o.Tables)
	if err != nil {
		return nil, err
	}
	server := mcp.NewServer(&mcp.Implementation{Name: o.Name, Title: "Conclave", Version: o.Version}, &mcp.ServerOptions{
		Instructions: instructions,
		// The SDK reports each connection; that is of interest only to who debugs it.
		Logger:       slog.New(quiet{o.Logger.Handler()}),
		Capabilities: &mcp.ServerCapabilities{},
		SetCacheable: func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) { c.CacheScope = "private" }, // what is read depends on who reads
	})
	server.AddReceivingMiddleware(withCaller)
	for _, t := range o.Tables {
		if t.Impl == nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "nothing answers the table of %s: its Impl is nil", t.Service)
		}
		for _, op := range t.Operations {
			if op.Effect == conclave.Streams {
				continue
			}
			s := service{table: t, op: op, inputs: inputs, progressEvery: o.ProgressEvery, logger: o.Logger}
			if op.Tool || o.All {
				server.AddTool(toolOf(op), s.callTool)
			}
			addResource(server, s)
		}
	}
	addPrompts(server)
	return server, nil
}

// toolOf describes an operation to clients and their models.
func toolOf(op conclave.Operation) *mcp.Tool {
	reads := op.Effect == conclave.Reads
	annotations := &mcp.ToolAnnotations{
		ReadOnlyHint: reads,
		// A change is repeated harmlessly only under an idempotency key, which is for the caller to give.
		IdempotentHint: reads,
	}
	if !reads {
		destructive := destroys(op)
		annotations.DestructiveHint = &destructive
	}
	return &mcp.Tool{
		Name: op.Name, Description: op.Summary, Annotations: annotations,
		InputSchema: inputSchema(op.In), OutputSchema: outputSchema(op.Out),
	}
}

// destroys reports whether an operation ends or alters what is there, rather
// than adding to it.
func destroys(op conclave.Operation) bool {
	return op.Permission == conclave.PermitApprove || strings.HasSuffix(op.Name, "_cancel") || strings.HasSuffix(op.Name, "_deliver")
}

// callTool runs the operation. Its errors are results that the model can read.
func (s service) callTool(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	stop := s.reportProgress(ctx, req)
	text, err := s.run(ctx, req.Params.Arguments)
	stop()
	if err != nil {
		return s.failed(ctx, err), nil
	}
	return &mcp.CallToolResult{
		Content:           []mcp.Content{&mcp.TextContent{Text: string(text)}},
		StructuredContent: json.RawMessage(text),
	}, nil
}

// run decodes the arguments, runs the operation, and encodes what it returns as
// a JSON object.
func (s service) run(ctx context.Context, arguments []byte) ([]byte, error) {
	if err := s.op.Permit(ctx); err != nil {
		return nil, err
	}
	in, err := s.inputs.Decode(s.op.Name, arguments)
	if err != nil {
		return nil, err
	}
	out, err := restwire.Call(ctx, s.op, s.table.Impl, in)
	if err != nil {
		return nil, err
	}
	if v := reflect.ValueOf(out); v.Kind() == reflect.Slice {
		if v.IsNil() {
			out = []any{}
		}
		out = map[string]any{"items": out}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encoding the result of %s: %w", s.op.Name, err)
	}
	return text, nil
}

// failed is an error as a tool's result: for the model as text, for programs by
// its kind.
func (s service) failed(ctx context.Context, err error) *mcp.CallToolResult {
	kind := conclave.KindOf(err)
	if kind == conclave.ErrInternal {
		s.logger.ErrorContext(ctx, "tool failed", "tool", s.op.Name, "caller", conclave.CallerFrom(ctx).Name(), "error", err)
	}
	message := conclave.Text(err)
	return &mcp.CallToolResult{
		IsError: true,
		Content: []mcp.Content{&mcp.TextContent{Text: kind.Error() + ": " + message}},
		Meta:    mcp.Meta{errorKey: map[string]string{"kind": kind.Error(), "message": message}},
	}
}

// reportProgress tells a client that asked for it, from time to time, that its
// call runs. The function that it returns ends that.
func (s service) reportProgress(ctx context.Context, req *mcp.CallToolRequest) (stop func()) {
	token := req.Params.GetProgressToken()
	if token == nil {
		return func() {}
	}
	var wait struct {
		Millis float64 `json:"wait_ms"`
	}
	// Arguments that can't be read are refused by the call itself.
	_ = json.Unmarshal(req.Params.Arguments, &wait)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(s.progressEvery)
		defer tick.Stop()
		for start := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			elapsed := time.Since(start)
			err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
				ProgressToken: token, Progress: elapsed.Seconds(), Total: wait.Millis / 1000,
				Message: fmt.Sprintf("%s has run for %s", req.Params.Name, elapsed.Round(time.Second)),
			})
			if err != nil {
				return // nobody listens
			}
		}
	}()
	return func() { cancel(); <-done }
}

// withCaller gives each request the caller that its own token names. A request
// that came without HTTP has the caller of its connection.
func withCaller(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if extra := req.GetExtra(); extra != nil {
			var caller conclave.Caller
			if extra.TokenInfo != nil {
				caller, _ = extra.TokenInfo.Extra[callerKey].(conclave.Caller)
			}
			ctx = conclave.WithCaller(ctx, caller)
		}
		return next(ctx, method, req)
	}
}

// ServeStdio serves one client on standard input and output until it goes away
// or ctx ends. caller is who the client is taken for.
func ServeStdio(ctx context.Context, server *mcp.Server, caller conclave.Caller) error {
	if err := server.Run(conclave.WithCaller(ctx, caller), &mcp.StdioTransport{}); err != nil {
		return fmt.Errorf("serving MCP on standard input and output: %w", err)
	}
	return nil
}

// quiet is a log handler that drops what is below a warning, and the SDK's word
// for an end that its caller wanted.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "server run cancelled" {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }
