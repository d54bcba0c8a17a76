package modelrouter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/internal/llm"
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
// /v1/messages/count_tokens, /v1/chat/completions, /v1/responses, GET /v1/models,
// and the same below /k/TOKEN. The caller's token is the one in the path, a bearer token, or
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
	usage    bool // a translated stream is to end with its usage
	chosen   attempt
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
	candidates, f := r.serving(x)
	if f != nil {
		f.write(w, x.wire)
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
	case "/v1/messages", "/v1/chat/completions", "/v1/responses":
		x.metered = true
	case "/v1/messages/count_tokens":
	case "/v1/models":
		method = http.MethodGet
	default:
		return &fault{http.StatusNotFound, "the model router serves /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and /v1/models"}
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
	if coding := req.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return &fault{http.StatusUnsupportedMediaType, fmt.Sprintf("the body is encoded as %q: send it plain", coding)}
	}
	control := http.NewResponseController(w)
	// A writer that knows no deadline belongs to no connection that could be slow.
	_ = control.SetReadDeadline(time.Now().Add(r.bodyTime))
	var all bytes.Buffer
	all.Grow(int(min(max(req.ContentLength, 0), 1<<20)) + bytes.MinRead) // what it claims is believed within bounds
	_, err := all.ReadFrom(http.MaxBytesReader(w, req.Body, maxBody))
	body := all.Bytes()
	if err == nil { // else the server must not wait for the rest either
		_ = control.SetReadDeadline(time.Time{})
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &fault{http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", maxBody)}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &fault{http.StatusRequestTimeout, fmt.Sprintf("the request took more than %v to come", r.bodyTime)}
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

// serving lists who may answer: the upstreams of the caller's own wire, and only
// where none of them has the model, those of the other, by translation.
func (r *Router) serving(x *exchange) ([]candidate, *fault) {
	all := r.candidates(x.wire, x.model, x.tier, x.ownKey)
	if len(all) > 0 || x.ownKey {
		if len(all) == 0 {
			f := x.nobody()
			return nil, &f
		}
		return all, nil
	}
	other := otherWire(x.wire)
	tier := x.tier
	if tier == "" { // the other wire has no model of this name, but may have one of its tier
		tier = r.rules.tierOf(x.wire, x.model)
	}
	if all = r.candidates(other, x.model, tier, false); len(all) == 0 {
		f := x.nobody()
		return nil, &f
	}
	switch x.path {
	case "/v1/messages/count_tokens":
		return nil, &fault{http.StatusNotFound, fmt.Sprintf("%s serves this model, and has no way to count the tokens of a request before it is made", all[0].Name)}
	case "/v1/responses":
		return nil, &fault{http.StatusNotFound, fmt.Sprintf("%s serves this model, and can't be asked by the Responses API: use /v1/chat/completions", all[0].Name)}
	}
	return all, nil
}

func otherWire(wire string) string {
	if wire == WireAnthropic {
		return WireOpenAI
	}
	return WireAnthropic
}

func (x *exchange) nobody() fault {
	hint := "set ANTHROPIC_API_KEY, or send your own key with the Conclave token in the path"
	if x.wire == WireOpenAI {
		hint = "set OPENAI_API_KEY or OPENAI_BASE_URL"
	}
	return fault{http.StatusServiceUnavailable, fmt.Sprintf("no %s provider is configured for this: %s", x.wire, hint)}
}
