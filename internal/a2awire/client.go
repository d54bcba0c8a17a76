package a2awire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	a2alog "github.com/a2aproject/a2a-go/v2/log"

	"conclave"
)

// Outbound is a message for an agent.
type Outbound struct {
	ID         conclave.MessageID // the same id again joins the same task, where the agent remembers it
	SentAs     conclave.MessageID // the id that its first sender gave it, when that is another
	Context    conclave.ConversationID
	Task       string // the agent's own task that it goes on with; empty starts one
	References []conclave.TaskID
	Text       string
	Data       json.RawMessage
	Call       conclave.CallPath
	Run        conclave.RunID
	Kind       conclave.AssignmentKind
	Agent      conclave.AgentName // whom it is for, who may be registered under a name that it does not know
	Role       conclave.Role
}

// Result is how an agent's task ended.
type Result struct {
	Remote string // the task's id at the agent
	State  conclave.TaskState
	Text   string // what it asks, when it is input-required
	Data   json.RawMessage
	Err    error // why it failed or was rejected, with the kind that the agent gave
	// Artifacts are what the agent made, when that is more than Text and Data.
	Artifacts []*Artifact
	Message   bool // the agent answered with a message
}

// DialOptions says how to reach an agent.
type DialOptions struct {
	// URL is the address of the agent's JSON-RPC 1.0 interface, or of its card:
	// an address that ends in ".json" is fetched, and the best interface that
	// the card names is used, 0.3 too.
	URL string
	// Interfaces, when there are any, are used instead: those of a card that was
	// read before.
	Interfaces []conclave.CardInterface
	Transport  http.RoundTripper // http.DefaultTransport when nil
	// Token returns the bearer token for a request; "" sends none. It is asked
	// for each one, because tokens expire. Nil: none is sent.
	Token  func(ctx context.Context) (string, error)
	Logger *slog.Logger
}

// Probe asks whether an agent's server is there: any answer but a server's
// failure will do. ErrUnavailable when there is none.
func Probe(ctx context.Context, url string, rt http.RoundTripper) error {
	if rt == nil {
		rt = http.DefaultTransport
	}
	if !strings.HasSuffix(url, ".json") {
		url = strings.TrimSuffix(url, "/") + a2asrv.WellKnownAgentCardPath
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "the address %q: %w", url, err)
	}
	resp, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "%s does not answer: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 500 {
		return conclave.Errorf(conclave.ErrUnavailable, "%s answers %s", req.URL.Host, resp.Status)
	}
	return nil
}

// Client speaks to one agent.
type Client struct {
	sdk    *a2aclient.Client
	logger *slog.Logger
}

// Dial makes a client. It calls only for a card: ErrUnavailable when that can't
// be had, ErrUnsupported when it names no interface that we speak.
func Dial(ctx context.Context, opts DialOptions) (*Client, error) {
	if opts.Transport == nil {
		opts.Transport = http.DefaultTransport
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	ctx = a2alog.AttachLogger(ctx, opts.Logger)
	hc := &http.Client{Transport: &bearer{next: opts.Transport, token: opts.Token}}
	factory := a2aclient.NewFactory(
		a2aclient.WithJSONRPCTransport(hc), a2aclient.WithRESTTransport(hc),
		a2av0.WithJSONRPCTransport(a2av0.JSONRPCTransportConfig{Client: hc}),
		a2av0.WithRESTTransport(a2av0.RESTTransportConfig{Client: hc}),
	)
	var sdk *a2aclient.Client
	var err error
	if len(opts.Interfaces) > 0 {
		sdk, err = factory.CreateFromEndpoints(ctx, endpoints(opts.Interfaces))
	} else if base, ok := strings.CutSuffix(opts.URL, ".json"); ok {
		slash := strings.LastIndex(base, "/")
		var card *a2a.AgentCard
		resolver := &agentcard.Resolver{Client: hc, CardParser: a2av0.NewAgentCardParser()}
		if card, err = resolver.Resolve(ctx, opts.URL[:slash+1], agentcard.WithPath(opts.URL[slash+1:])); err != nil {
			return nil, fmt.Errorf("fetching the card %s: %w", opts.URL, fromError(err))
		}
		sdk, err = factory.CreateFromCard(ctx, card)
	} else {
		sdk, err = factory.CreateFromEndpoints(ctx, []*a2a.AgentInterface{
			{URL: opts.URL, ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: a2a.Version},
		})
	}
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnsupported, "%s: %w", opts.URL, err)
	}
	return &Client{sdk: sdk, logger: opts.Logger}, nil
}

// Send sends a message and waits for the end of its task. accepted, when not
// nil, is called with the task's id as soon as it is known, for [Client.Cancel].
// The error is about the sending: ErrUnavailable when the agent can't be
// reached or the connection broke before the end, ErrLimited when it has its
// hands full, ErrDenied when it does not let us. What became of the task is in
// the Result.
func (c *Client) Send(ctx context.Context, m Outbound, accepted func(remote string)) (Result, error) {
	ctx = a2alog.AttachLogger(ctx, c.logger)
	msg := &a2a.Message{
		ID: string(m.ID), ContextID: string(m.Context), TaskID: a2a.TaskID(m.Task), Role: a2a.MessageRoleUser,
		Parts: toParts(m.Text, m.Data), Metadata: map[string]any{MetaCall: m.Call},
	}
	for _, id := range m.References {
		msg.ReferenceTasks = append(msg.ReferenceTasks, a2a.TaskID(id))
	}
	if m.SentAs != "" {
		msg.Metadata[MetaMessage] = string(m.SentAs)
	}
	if m.Run != "" {
		msg.Metadata[MetaRun] = string(m.Run)
	}
	if m.Kind != "" {
		msg.Metadata[MetaAssignment] = string(m.Kind)
	}
	if m.Agent != "" {
		msg.Metadata[MetaAgent], msg.Metadata[MetaRole] = string(m.Agent), string(m.Role)
	}

	var seen progress
	var broken error
	for event, err := range c.sdk.SendStreamingMessage(ctx, &a2a.SendMessageRequest{Message: msg}) {
		if err != nil {
			broken = fromError(err)
			break
		}
		first := seen.remote == ""
		seen.add(event)
		if first && seen.remote != "" && accepted != nil {
			accepted(seen.remote)
		}
		// What an agent says after the end changes nothing, and some keep the stream
		// open until they are answered. Who is answered may show the task first as
		// it was when it asked.
		if resting(seen.state) && !(first && m.Task != "" && seen.state == conclave.TaskInputRequired) {
			break
		}
	}
	if ctx.Err() != nil && !resting(seen.state) {
		return Result{}, ctx.Err()
	}
	if broken != nil && seen.remote == "" && !seen.said {
		return Result{}, broken
	}
	if !seen.said && seen.remote == "" {
		return Result{}, conclave.Errorf(conclave.ErrUnavailable, "what answered does not speak A2A")
	}
	if !seen.said && !resting(seen.state) {
		// The stream ended before the task did: ask once how it stands.
		task, err := c.sdk.GetTask(ctx, &a2a.GetTaskRequest{ID: a2a.TaskID(seen.remote)})
		if err == nil {
			seen.add(task)
		}
		if err != nil || !resting(seen.state) {
			return Result{}, conclave.Errorf(conclave.ErrUnavailable, "the connection ended while the task was %s", seen.state)
		}
	}
	return seen.result(), nil
}

// Cancel asks the agent to end a task. ErrConflict when it has ended, ErrNotFound.
func (c *Client) Cancel(ctx context.Context, remote string) error {
	ctx = a2alog.AttachLogger(ctx, c.logger)
	_, err := c.sdk.CancelTask(ctx, &a2a.CancelTaskRequest{ID: a2a.TaskID(remote)})
	return fromError(err)
}

// progress is what a stream has told so far.
type progress struct {
	remote string
	state  conclave.TaskState
	said   bool // the agent answered with a message instead of a task
	made   []*Artifact
	status *a2a.Message
}

func (p *progress) add(event a2a.Event) {
	switch e := event.(type) {
	case *a2a.Message:
		p.said, p.state, p.made = true, conclave.TaskCompleted, []*Artifact{{ID: a2a.ArtifactID(e.ID), Parts: e.Parts, Metadata: e.Metadata}}
	case *a2a.Task:
		p.remote, p.state, p.status, p.made = string(e.ID), fromState(e.Status.State), e.Status.Message, e.Artifacts
	case *a2a.TaskArtifactUpdateEvent:
		p.remote = string(e.TaskID)
		if e.Artifact != nil {
			p.made = extend(p.made, e.Artifact, e.Append)
		}
	case *a2a.TaskStatusUpdateEvent:
		p.remote, p.state, p.status = string(e.TaskID), fromState(e.Status.State), e.Status.Message
	}
}

func (p *progress) result() Result {
	var parts a2a.ContentParts
	for _, a := range p.made {
		parts = append(parts, a.Parts...)
		p.said = p.said || a.Metadata[MetaSaid] == true
	}
	if len(parts) == 0 && p.status != nil {
		parts = p.status.Parts // agents that answer in the status, not in an artifact
	}
	out := Result{Remote: p.remote, State: p.state, Message: p.said}
	var err error
	if out.Text, out.Data, err = fromParts(parts); err != nil {
		out.Text, out.Data = inWords(parts), nil
	}
	if err != nil || !plain(p.made) && !p.said {
		out.Artifacts = p.made
	}
	if p.state == conclave.TaskCompleted {
		return out
	}
	kind := conclave.ErrInternal
	switch p.state {
	case conclave.TaskRejected:
		kind = conclave.ErrInvalid
	case conclave.TaskInputRequired:
		kind = conclave.ErrUnsupported
	}
	why := string(p.state)
	if p.status != nil {
		if name, ok := p.status.Metadata[MetaKind].(string); ok {
			kind = KindNamed(name)
		}
		if said, _, err := fromParts(p.status.Parts); err == nil && said != "" {
			why = said
		}
	}
	out.Err = conclave.Errorf(kind, "%s", why)
	return out
}

// plain reports whether what an agent made is the one text and value that a
// task of ours keeps.
func plain(made []*Artifact) bool {
	switch len(made) {
	case 0:
		return true
	case 1:
		return strings.HasSuffix(string(made[0].ID), replySuffix)
	}
	return false
}

// inWords is what parts say, for who reads texts only.
func inWords(parts a2a.ContentParts) string {
	var texts []string
	for _, p := range parts {
		switch {
		case p.Text() != "":
			texts = append(texts, p.Text())
		case p.Filename != "":
			texts = append(texts, p.Filename)
		}
	}
	return strings.Join(texts, "\n")
}

// bearer adds the token, and gives refusals without a protocol error their kind.
type bearer struct {
	next  http.RoundTripper
	token func(ctx context.Context) (string, error)
}

func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if b.token != nil {
		token, err := b.token(req.Context())
		if err != nil {
			return nil, fmt.Errorf("getting a token for %s: %w", req.URL.Host, err)
		}
		if token != "" {
			req = req.Clone(req.Context())
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		if req.Context().Err() != nil {
			return nil, req.Context().Err()
		}
		return nil, conclave.Errorf(conclave.ErrUnavailable, "%s does not answer: %w", req.URL.Host, err)
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: maxStream}
	isJSON := isJSON(resp.Header)
	if isJSON {
		resp.Header.Set("Content-Type", plainJSON) // the SDK knows A2A's own type in no errors
	}
	if stream := req.Header.Get("Accept") == eventStream; isJSON && (stream || resp.StatusCode >= 400) {
		return asAnswer(resp, stream)
	}
	if isJSON || resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	return nil, conclave.Errorf(statusKind(resp.StatusCode), "%s answered %s: %s", req.URL.Host, resp.Status, strings.TrimSpace(string(said)))
}

// maxStream is how much of an answer or a stream is read: an agent that sends
// without an end must not fill our memory.
const maxStream = 4 * MaxBody

// bounded is a body that ends with an error where it is too long.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, conclave.Errorf(conclave.ErrInvalid, "the answer is larger than %d MiB", maxStream>>20)
	}
	return n, err
}

// asAnswer gives a JSON-RPC answer the shape in which the SDK reads it: the status
// of a success, also around an error, and where a stream was asked for, one event
// of it. The SDK would read it as a stream of none.
func asAnswer(resp *http.Response, stream bool) (*http.Response, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "reading an answer: %w", err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, body); err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "the answer is not JSON: %w", err)
	}
	var answer struct {
		JSONRPC string `json:"jsonrpc"`
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if json.Unmarshal(body, &answer) != nil || answer.JSONRPC == "" && resp.StatusCode >= 400 {
		return resp, nil // an error of HTTP+JSON, which the SDK reads
	}
	resp.StatusCode = http.StatusOK
	if stream {
		resp.Body = io.NopCloser(strings.NewReader("data: " + line.String() + "\n\n"))
	}
	return resp, nil
}

func statusKind(status int) error {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return conclave.ErrDenied
	case status == http.StatusNotFound:
		return conclave.ErrNotFound
	case status == http.StatusTooManyRequests:
		return conclave.ErrLimited
	case status >= 500:
		return conclave.ErrUnavailable
	}
	return conclave.ErrInvalid
}
