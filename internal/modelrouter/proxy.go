package modelrouter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"conclave"
	"conclave/internal/llm"
	"conclave/internal/telemetry"

	"go.opentelemetry.io/otel/attribute"
)

// HeaderRoute, in an answer, says which model answers, and why it was chosen.
const HeaderRoute = "X-Conclave-Route"

const (
	maxBody = 32 << 20
	// via names this program to a router that it calls, so that a router which
	// is configured as its own upstream says so and does not call itself for ever.
	via = "conclave-model-router"
)

// Handler speaks the providers' wires: POST /v1/messages,
// /v1/messages/count_tokens, /v1/chat/completions, GET /v1/models, and the same
// below /k/TOKEN. The caller's token is the one in the path, a bearer token, or
// the x-api-key.
func (r *Router) Handler() http.Handler { return http.HandlerFunc(r.serve) }

// exchange is one request on its way.
type exchange struct {
	wire     string
	path     string // what the provider sees
	metered  bool
	caller   conclave.Caller
	ownKey   bool // the caller's own key for the provider goes with it
	body     []byte
	at       []span
	model    string // as requested
	tier     string // empty for a model's own name
	reason   string
	run      conclave.RunID
	agent    conclave.AgentName
	task     conclave.TaskID
	chosen   candidate
	started  time.Time
	fallback []string // what was passed over
}

func (r *Router) serve(w http.ResponseWriter, req *http.Request) {
	x := &exchange{started: r.now(), path: req.URL.Path}
	token, tokenInPath := "", false
	if rest, ok := strings.CutPrefix(req.URL.Path, "/k/"); ok {
		token, x.path, _ = strings.Cut(rest, "/")
		x.path, tokenInPath = "/"+x.path, true
	}
	x.wire = wireOf(x.path, req.Header)
	if f := x.check(req); f != nil {
		f.write(w, x.wire)
		return
	}
	if f := r.identify(req, x, token, tokenInPath); f != nil {
		f.write(w, x.wire)
		return
	}
	if f := r.read(w, req, x); f != nil {
		f.write(w, x.wire)
		return
	}
	if f := r.budget(req, x); f != nil {
		f.write(w, x.wire)
		return
	}
	candidates := r.candidates(x.wire, x.model, x.tier, x.ownKey)
	if len(candidates) == 0 {
		x.nobody().write(w, x.wire)
		return
	}
	r.forward(w, req, x, candidates)
}

// wireOf tells the wire by the path, and for the path that both have by the
// header that only one requires.
func wireOf(path string, h http.Header) string {
	switch {
	case strings.HasPrefix(path, "/v1/messages"), h.Get("anthropic-version") != "":
		return WireAnthropic
	}
	return WireOpenAI
}

func (x *exchange) check(req *http.Request) *fault {
	method := http.MethodPost
	switch x.path {
	case "/v1/messages", "/v1/chat/completions":
		x.metered = true
	case "/v1/messages/count_tokens":
	case "/v1/models":
		method = http.MethodGet
	default:
		return &fault{http.StatusNotFound, "the model router serves /v1/messages, /v1/messages/count_tokens, /v1/chat/completions and /v1/models"}
	}
	if req.Method != method {
		return &fault{http.StatusMethodNotAllowed, fmt.Sprintf("%s takes %s", x.path, method)}
	}
	if strings.Contains(req.Header.Get("Via"), via) {
		return &fault{http.StatusBadRequest, "the model router is configured as its own upstream: look at ANTHROPIC_BASE_URL and OPENAI_BASE_URL of conclave serve"}
	}
	return nil
}

// identify finds out who calls, and whether they bring a key of their own.
func (r *Router) identify(req *http.Request, x *exchange, token string, inPath bool) *fault {
	bearer, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	apiKey := req.Header.Get("X-Api-Key")
	tokens := []string{bearer, apiKey}
	if inPath {
		tokens = []string{token}
		// A client that needs some key to start sends the token again.
		x.ownKey = (bearer != "" && bearer != token) || (apiKey != "" && apiKey != token)
	}
	err := error(nil)
	for _, t := range tokens {
		if t == "" {
			continue
		}
		if x.caller, err = r.auth(req.Context(), t); err == nil {
			break
		}
	}
	switch {
	case err != nil && !errors.Is(err, conclave.ErrDenied):
		r.log.Error("telling who calls the model router", "error", err)
		return &fault{http.StatusServiceUnavailable, "it can't be told now who calls"}
	case err != nil:
		return &fault{http.StatusForbidden, "this is not a valid Conclave token; `conclave token` prints it"}
	case x.caller.Human == "" && x.caller.Service == "" && x.caller.Agent == "":
		return &fault{http.StatusUnauthorized, "send a Conclave token as a bearer token, as x-api-key or in the path; `conclave token` prints it"}
	case !x.caller.May(conclave.PermitSpeak):
		return &fault{http.StatusForbidden, fmt.Sprintf("model calls need the permission %q", conclave.PermitSpeak)}
	}
	x.run = conclave.RunID(req.Header.Get(llm.HeaderRun))
	x.agent = conclave.AgentName(req.Header.Get(llm.HeaderAgent))
	x.task = conclave.TaskID(req.Header.Get(llm.HeaderTask))
	if x.caller.Agent != "" {
		// Nobody speaks for another agent.
		x.agent = x.caller.Agent
	}
	return nil
}

// read takes the body in and finds out what is asked for.
func (r *Router) read(w http.ResponseWriter, req *http.Request, x *exchange) *fault {
	if req.Method == http.MethodGet {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &fault{http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", maxBody)}
	}
	if err != nil {
		return &fault{http.StatusBadRequest, "the request broke off"}
	}
	x.body = body
	x.model, x.at, err = findModel(body)
	if err != nil {
		return &fault{http.StatusBadRequest, fmt.Sprintf("the request is not a JSON object with a model: %v", err)}
	}
	switch {
	case x.model == Auto:
		x.tier, x.reason = r.auto(req.Header, body)
	case isTier(x.model):
		x.tier, x.reason = x.model, "asked for by its tier"
	default:
		x.reason = "asked for by name"
	}
	return nil
}

// auto chooses the tier of a request by its form: tools, and the length of the
// newest message. A session stays on the tier that it began with.
func (r *Router) auto(h http.Header, body []byte) (tier, reason string) {
	var form struct {
		Tools    []json.RawMessage `json:"tools"`
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	// findModel has shown that it is an object; whatever else is wrong with it,
	// the provider will say.
	_ = json.Unmarshal(body, &form)
	length := 0
	for _, m := range form.Messages {
		if m.Role == "user" {
			length = len(m.Content)
		}
	}
	tier, reason = r.rules.byLength(length)
	if tier == TierSmall && len(form.Tools) > 0 {
		tier, reason = TierMiddle, "it offers tools"
	}
	if id := h.Get("X-Claude-Code-Session-Id"); id != "" {
		if kept, had := r.sessions.keep(id, tier, r.now()); had {
			tier, reason = kept, "its session began with this tier"
		}
	}
	return tier, reason
}

// bytesPerToken is what a call's request and answer are divided by to tell what
// it counts for against a budget as long as, or because, nobody tells its tokens.
// Text has about four, and a budget is better kept too early than too late.
const bytesPerToken = 3

// budget refuses a call of a run that has spent what it may. A call that is
// under way, or whose provider did not tell its tokens, counts by its bytes.
func (r *Router) budget(req *http.Request, x *exchange) *fault {
	limit, err := strconv.ParseInt(req.Header.Get(llm.HeaderBudget), 10, 64)
	if err != nil || limit <= 0 || x.run == "" || !x.metered {
		return nil
	}
	spent, err := r.store.Spent(conclave.WithCaller(req.Context(), x.caller), x.run)
	if err != nil {
		r.log.Error("adding up what a run has spent", "run", x.run, "error", err)
		return &fault{http.StatusServiceUnavailable, "what the run has spent can't be told now"}
	}
	if spent >= limit {
		return &fault{http.StatusTooManyRequests, fmt.Sprintf("run %s has spent %d of its %d tokens", x.run, spent, limit)}
	}
	return nil
}

func (x *exchange) nobody() fault {
	hint := "set ANTHROPIC_API_KEY, or send your own key with the Conclave token in the path"
	if x.wire == WireOpenAI {
		hint = "set OPENAI_API_KEY or OPENAI_BASE_URL"
	}
	return fault{http.StatusServiceUnavailable, fmt.Sprintf("no %s provider is configured for this: %s", x.wire, hint)}
}

// forward passes the request on and the answer back. The proxy of the standard
// library takes care of hop-by-hop headers, of flushing and of clients that
// leave; which upstream is asked is ours.
func (r *Router) forward(w http.ResponseWriter, req *http.Request, x *exchange, candidates []candidate) {
	proxy := httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { x.clean(p.Out) },
		Transport:     roundTripper(func(out *http.Request) (*http.Response, error) { return r.try(out, x, candidates) }),
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			f := fault{http.StatusBadGateway, fmt.Sprintf("the %s provider can't be reached", x.chosen.Name)}
			switch {
			case errors.Is(err, conclave.ErrTimeout):
				f = fault{http.StatusGatewayTimeout, fmt.Sprintf("the %s provider did not answer in time", x.chosen.Name)}
			case errors.Is(err, conclave.ErrConflict): // no status that clients take for "ask again"
				f = fault{http.StatusForbidden, conclave.Text(err)}
			}
			f.write(w, x.wire)
		},
	}
	proxy.ServeHTTP(w, req)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// clean takes out what is between the caller and Conclave: no provider sees a
// header of ours.
func (x *exchange) clean(out *http.Request) {
	h := out.Header
	for name := range h {
		if strings.HasPrefix(name, "X-Conclave-") {
			h.Del(name)
		}
	}
	h.Del("Cookie")
	h.Del("Referer")
	h.Del("Expect") // the body is here already
	if !x.ownKey {
		h.Del("Authorization")
		h.Del("X-Api-Key")
	}
	// Compressed bytes would hide the usage.
	h.Set("Accept-Encoding", "identity")
	h.Set("Via", "1.1 "+via)
}

// try asks one upstream after another until one answers; the last one's answer
// counts, whatever it is.
func (r *Router) try(out *http.Request, x *exchange, candidates []candidate) (*http.Response, error) {
	for i, c := range candidates {
		x.chosen = c
		last := i == len(candidates)-1
		req, err := x.address(out, c)
		if err != nil {
			return nil, err
		}
		call, err := r.begin(out.Context(), x)
		if err != nil {
			return nil, err
		}
		leave := func() {}
		if x.metered {
			var ctx context.Context
			ctx, leave = lingering(out.Context(), r.linger)
			req = req.WithContext(ctx)
		}
		resp, err := r.transport.RoundTrip(req)
		if err != nil {
			leave()
			r.unanswered(out.Context(), x, call, err)
			if out.Context().Err() != nil {
				return nil, err
			}
			c.failed(reachability(err), r.now())
			r.log.Warn("a model provider can't be reached", "upstream", c.Name, "error", reachability(err))
			if last {
				return nil, err
			}
			x.fallback = append(x.fallback, c.Name+" can't be reached")
			continue
		}
		c.answered()
		if !last && (resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests) {
			r.record(out.Context(), x, call, resp.StatusCode, usage{})
			x.fallback = append(x.fallback, fmt.Sprintf("%s answered %d", c.Name, resp.StatusCode))
			// Its text is of no use to anyone now.
			_ = resp.Body.Close()
			leave()
			continue
		}
		x.answer(resp)
		if x.metered {
			stream := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")
			if stream {
				resp.Body = newKeepAlive(resp.Body, x.wire, r.keepAlive)
			}
			resp.Body = &meter{ReadCloser: resp.Body, wire: x.wire, stream: stream, length: resp.ContentLength, linger: r.linger, leave: leave,
				done: func(u usage) { r.record(out.Context(), x, call, resp.StatusCode, u) }}
		}
		return resp, nil
	}
	return nil, conclave.Errorf(conclave.ErrUnavailable, "no model provider")
}

// lingering returns a context that ends a while after its parent. A caller that
// leaves in the middle of an answer is billed for it all the same: what is on its
// way may still tell how much. The second result ends the context at once.
func lingering(parent context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() { time.AfterFunc(while, cancel) })
	return ctx, func() { stop(); cancel() }
}

// address makes the request that one upstream gets.
func (x *exchange) address(out *http.Request, c candidate) (*http.Request, error) {
	base, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	req := out.Clone(out.Context())
	req.URL = &url.URL{Scheme: base.Scheme, User: base.User, Host: base.Host, Path: base.Path + x.path, RawQuery: out.URL.RawQuery}
	req.Host = base.Host
	if x.body != nil {
		body := x.body
		if c.model != x.model {
			if body, err = withModel(body, x.at, c.model); err != nil {
				return nil, err
			}
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.ContentLength = int64(len(body))
	}
	if !x.ownKey && c.Key != "" {
		if x.wire == WireAnthropic {
			req.Header.Set("X-Api-Key", c.Key)
		} else {
			req.Header.Set("Authorization", "Bearer "+c.Key)
		}
	}
	return req, nil
}

// answer says which model answers, and why.
func (x *exchange) answer(resp *http.Response) {
	route := x.reason
	if x.tier != "" {
		route = fmt.Sprintf("tier %s, %s", x.tier, x.reason)
	}
	for _, f := range x.fallback {
		route += "; " + f
	}
	resp.Header.Set(HeaderRoute, fmt.Sprintf("%s (%s)", x.chosen.model, route))
}

// begun is a call on its way, by the name that it has in the accounts.
type begun struct {
	key string
	at  time.Time
}

// begin writes a call down before it is made: a run's accounts then hold it even
// when this process dies before the answer.
func (r *Router) begin(ctx context.Context, x *exchange) (begun, error) {
	b := begun{key: uuid.NewString(), at: r.now()}
	if !x.metered {
		return b, nil
	}
	if err := r.store.Begin(conclave.WithCaller(ctx, x.caller), x.call(b)); err != nil {
		return b, fmt.Errorf("writing down a model call: %w", err)
	}
	return b, nil
}

func (x *exchange) call(b begun) conclave.ModelCall {
	return conclave.ModelCall{Key: b.key, Run: x.run, Agent: x.agent, Task: x.task, Wire: x.wire, Model: x.chosen.model, Assumed: int64(len(x.body)) / bytesPerToken}
}

// unanswered ends a call that brought no answer. What did not reach the provider
// was no call; what did may have cost something.
func (r *Router) unanswered(ctx context.Context, x *exchange, b begun, why error) {
	if failed, ok := errors.AsType[*net.OpError](why); !ok || failed.Op != "dial" {
		r.record(ctx, x, b, 0, usage{})
		return
	}
	if !x.metered {
		return
	}
	ctx, cancel := r.finishing(ctx, x)
	defer cancel()
	if err := r.store.Drop(ctx, b.key); err != nil {
		r.log.Error("taking back a model call that was not made", "run", x.run, "error", err)
	}
}

// finishing is a context for the end of a call whose reader may have gone.
func (r *Router) finishing(ctx context.Context, x *exchange) (context.Context, context.CancelFunc) {
	return context.WithTimeout(conclave.WithCaller(context.WithoutCancel(ctx), x.caller), 10*time.Second)
}

// record writes down what an answer cost, even when its reader has gone.
func (r *Router) record(ctx context.Context, x *exchange, b begun, status int, u usage) {
	if !x.metered {
		return
	}
	call := x.call(b)
	call.Status, call.CostUSD, call.Millis = status, r.rules.cost(x.chosen.model, u), float64(r.now().Sub(b.at).Microseconds())/1000
	if status >= http.StatusBadRequest && !u.measured {
		// No provider bills an error.
		u.measured, call.CostUSD = true, new(float64)
	}
	if u.measured {
		call.InputTokens, call.OutputTokens, call.CacheRead, call.CacheWrite = &u.input, &u.output, &u.cacheRead, &u.cacheWrite
		call.Assumed = 0
	} else {
		call.Assumed += u.bytes / bytesPerToken
	}
	telemetry.Past(ctx, x.run, "model "+call.Model, b.at,
		attribute.String("conclave.agent", string(x.agent)), attribute.Int("http.response.status_code", status))
	r.log.Debug("model called", "upstream", x.chosen.Name, "model", call.Model, "status", status,
		"measured", u.measured, "input", u.input, "output", u.output, "ms", call.Millis)
	ctx, cancel := r.finishing(ctx, x)
	defer cancel()
	if err := r.store.Record(ctx, call); err != nil {
		r.log.Error("recording a model call", "model", call.Model, "run", call.Run, "error", err)
	}
}

// reachability is the cause of a failed call without the address, which may hold
// a password.
func reachability(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return err.Error()
}
