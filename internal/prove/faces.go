package prove

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"conclave"
	"conclave/internal/a2awire"
)

// The faces of an operation.
const (
	faceREST = "rest"
	faceMCP  = "mcp"
	faceA2A  = "a2a"
)

// faces calls operations as a client does that knows only the wire.
type faces struct {
	o          Options
	operations map[string]conclave.Operation
	service    map[string]conclave.Service

	mu  sync.Mutex
	mcp map[string]*mcp.ClientSession // by address and kind of caller
	a2a map[string]*a2awire.Client
}

func openFaces(_ context.Context, o Options) (*faces, error) {
	f := &faces{o: o, operations: map[string]conclave.Operation{}, service: map[string]conclave.Service{},
		mcp: map[string]*mcp.ClientSession{}, a2a: map[string]*a2awire.Client{}}
	for _, t := range o.Tables {
		if o.Addresses[t.Service] == "" {
			return nil, conclave.Errorf(conclave.ErrUnavailable, "%s does not run; start it with: conclave serve %s", t.Service, t.Service)
		}
		for _, op := range t.Operations {
			f.operations[op.Name], f.service[op.Name] = op, t.Service
		}
	}
	return f, nil
}

func (f *faces) Close() {
	for _, s := range f.mcp {
		_ = s.Close() // the server is told if it can be
	}
}

// call runs an operation through a face and decodes its output.
func (f *faces) call(ctx context.Context, face, name string, in, out any) error {
	op, ok := f.operations[name]
	if !ok {
		return fmt.Errorf("there is no operation %s", name)
	}
	input, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode the input of %s: %w", name, err)
	}
	base := f.o.Addresses[f.service[name]]
	var output []byte
	switch face {
	case faceREST:
		output, err = f.callREST(ctx, base, op, input)
	case faceMCP:
		output, err = f.callMCP(ctx, base, op, input)
	case faceA2A:
		output, err = f.callA2A(ctx, base, op, input)
	}
	if err != nil {
		return fmt.Errorf("%s through %s: %w", name, face, err)
	}
	if err := json.Unmarshal(output, out); err != nil {
		return fmt.Errorf("decode what %s answered through %s: %w", name, face, err)
	}
	return nil
}

// token is that of the human, or of a service when only services may call.
func (f *faces) token(op conclave.Operation) (string, error) {
	c := f.o.Caller
	if op.Permission == conclave.PermitService {
		c = conclave.ServiceCaller(conclave.ServiceWorkflow, c.Tenant, c.Human)
	}
	return f.o.Token(c)
}

func (f *faces) callREST(ctx context.Context, base string, op conclave.Operation, input []byte) ([]byte, error) {
	req, err := f.request(ctx, base, op, input)
	if err != nil {
		return nil, err
	}
	resp, err := f.o.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		return nil, fmt.Errorf("%s %s answers %s: %s", req.Method, req.URL.Path, resp.Status, bytes.TrimSpace(body))
	}
	return body, nil
}

// request spells an operation as its route says: path fields in the path, the
// rest in the query of a GET and in the body of anything else.
func (f *faces) request(ctx context.Context, base string, op conclave.Operation, input []byte) (*http.Request, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(input, &fields); err != nil {
		return nil, err
	}
	path := op.Path()
	for name, value := range fields {
		if hole := "{" + name + "}"; strings.Contains(path, hole) {
			path = strings.Replace(path, hole, url.PathEscape(plain(value)), 1)
			delete(fields, name)
		}
	}
	var body io.Reader
	query := url.Values{}
	if op.Method() == http.MethodGet {
		for name, value := range fields {
			query.Set(name, plain(value))
		}
	} else {
		rest, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(rest)
	}
	if f.service[op.Name] == conclave.ServiceMonitor {
		path = "/api" + path // beside its page
	}
	req, err := http.NewRequestWithContext(ctx, op.Method(), base+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	token, err := f.token(op)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// plain is a JSON value as it is in a path or a query.
func plain(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	return string(value)
}

func (f *faces) callMCP(ctx context.Context, base string, op conclave.Operation, input []byte) ([]byte, error) {
	session, err := f.mcpSession(ctx, base, op)
	if err != nil {
		return nil, err
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: op.Name, Arguments: json.RawMessage(input)})
	if err != nil {
		return nil, err
	}
	var text string
	if len(result.Content) > 0 {
		if t, ok := result.Content[0].(*mcp.TextContent); ok {
			text = t.Text
		}
	}
	if result.IsError {
		return nil, errors.New(text)
	}
	if list, ok := result.StructuredContent.(map[string]any); ok && op.Out.Kind().String() == "slice" {
		// MCP's structured content is an object; a list is its one member.
		for _, v := range list {
			return json.Marshal(v)
		}
	}
	return json.Marshal(result.StructuredContent)
}

func (f *faces) mcpSession(ctx context.Context, base string, op conclave.Operation) (*mcp.ClientSession, error) {
	token, err := f.token(op)
	if err != nil {
		return nil, err
	}
	key := base + " " + fmt.Sprint(op.Permission == conclave.PermitService)
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.mcp[key]; s != nil {
		return s, nil
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "conclave-prove", Version: "1"}, nil)
	s, err := client.Connect(context.WithoutCancel(ctx), &mcp.StreamableClientTransport{Endpoint: base + "/mcp",
		HTTPClient: &http.Client{Transport: withToken{token, f.o.transport()}}}, nil)
	if err != nil {
		return nil, err
	}
	f.mcp[key] = s
	return s, nil
}

type withToken struct {
	token string
	next  http.RoundTripper
}

func (t withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t.token)
	return t.next.RoundTrip(r)
}

func (f *faces) callA2A(ctx context.Context, base string, op conclave.Operation, input []byte) ([]byte, error) {
	client, err := f.a2aClient(ctx, base, op)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(map[string]any{"operation": op.Name, "input": json.RawMessage(input)})
	if err != nil {
		return nil, err
	}
	result, err := client.Send(ctx, a2awire.Outbound{ID: conclave.MessageID(conclave.NewID("msg")), Text: "run " + op.Name, Data: data,
		Call: conclave.CallPath{Human: f.o.Caller.Human, Hops: 2}}, nil)
	if err != nil {
		return nil, err
	}
	return result.Data, result.Err
}

func (f *faces) a2aClient(ctx context.Context, base string, op conclave.Operation) (*a2awire.Client, error) {
	key := base + " " + fmt.Sprint(op.Permission == conclave.PermitService)
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.a2a[key]; c != nil {
		return c, nil
	}
	c, err := a2awire.Dial(ctx, a2awire.DialOptions{URL: base + "/.well-known/agent-card.json", Transport: f.o.transport(),
		Token: func(context.Context) (string, error) { return f.token(op) }})
	if err != nil {
		return nil, err
	}
	f.a2a[key] = c
	return c, nil
}
