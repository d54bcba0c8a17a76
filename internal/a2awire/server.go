package a2awire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	a2alog "github.com/a2aproject/a2a-go/v2/log"

	"conclave"
)

// MaxBody is the largest request that a server reads: an assignment with a diff
// and its evidence fits many times over.
const MaxBody = 16 << 20

const eventStream = "text/event-stream"

// keepAlive is how often an idle stream gets a comment line, so that no proxy
// takes a thinking agent for a dead connection.
const keepAlive = 15 * time.Second

// ServerOptions says what a server shows and who may speak to it.
type ServerOptions struct {
	// Card makes the card at each request. ErrNotFound when there is no such agent any more.
	Card       func(r *http.Request) (Card, error)
	Tasks      Tasks
	Permission conclave.Permission // what a caller needs; PermitSpeak when empty
	// Sign signs what a card says. Nil: cards are not signed.
	Sign func(r *http.Request, payload []byte) (CardSignature, error)
	// Refused is told when a known caller lacks the permission. Nil: nobody is.
	Refused func(ctx context.Context, why error)
	Logger  *slog.Logger // slog.Default() when nil
}

// server serves one agent at "/": JSON-RPC by POST, HTTP+JSON below it, both in
// 1.0 and 0.3, and its card. It does what the SDK's transports leave out:
// version negotiation, content types, body limits, caching of the card.
type server struct {
	opts         ServerOptions
	rpc, rest    http.Handler
	rpc03, rest3 http.Handler
}

// NewServer makes the A2A server of one agent. Mount it with http.StripPrefix.
func NewServer(opts ServerOptions) http.Handler {
	if opts.Permission == "" {
		opts.Permission = conclave.PermitSpeak
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	h := &handler{tasks: opts.Tasks}
	alive := a2asrv.WithTransportKeepAlive(keepAlive)
	return &server{
		opts: opts,
		rpc:  a2asrv.NewJSONRPCHandler(h, alive), rest: a2asrv.NewRESTHandler(h, alive),
		rpc03: a2av0.NewJSONRPCHandler(h, alive), rest3: a2av0.NewRESTHandler(h, alive),
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == a2asrv.WellKnownAgentCardPath {
		s.serveCard(w, r)
		return
	}
	r = r.WithContext(a2alog.AttachLogger(r.Context(), s.opts.Logger))
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	if r.URL.Path == "" || r.URL.Path == "/" {
		s.serveRPC(w, r)
		return
	}
	s.serveREST(w, r)
}

// version returns which protocol the client speaks: "0.3" when it does not say
// (A2A 1.0 §3.6), "" for one that is not served.
func version(r *http.Request) (asked, served string) {
	asked = r.Header.Get(a2a.SvcParamVersion)
	if asked == "" {
		asked = r.URL.Query().Get(a2a.SvcParamVersion)
	}
	major, rest, _ := strings.Cut(strings.TrimSpace(asked), ".")
	minor, _, _ := strings.Cut(rest, ".") // a patch number changes nothing on the wire
	switch {
	case asked == "":
		return asked, "0.3"
	case major == "1" && minor == "0":
		return asked, "1.0"
	case major == "0" && minor == "3":
		return asked, "0.3"
	}
	return asked, ""
}

func versionError(asked string) error {
	return a2a.NewError(a2a.ErrVersionNotSupported, "A2A-Version "+asked+" is not served; ask for 1.0 or 0.3")
}

// permitted says why the caller may not speak here, or nothing.
func (s *server) permitted(r *http.Request) error {
	c := conclave.CallerFrom(r.Context())
	if c.Name() == "" {
		return a2a.NewError(a2a.ErrUnauthenticated, "send Authorization: Bearer TOKEN")
	}
	if !c.May(s.opts.Permission) {
		err := a2a.NewError(a2a.ErrUnauthorized, "speaking here needs the permission "+string(s.opts.Permission)+", which "+c.Name()+" does not have")
		if s.opts.Refused != nil {
			s.opts.Refused(r.Context(), err)
		}
		return err
	}
	return nil
}

func (s *server) serveRPC(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "JSON-RPC is by POST; the card is at "+a2asrv.WellKnownAgentCardPath, http.StatusMethodNotAllowed)
		return
	}
	if !isJSON(r) {
		writeRPCError(w, r, nil, a2a.NewError(a2a.ErrUnsupportedContentType, "send Content-Type: application/json"))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		writeRPCError(w, r, nil, readError(err))
		return
	}
	var head struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	// A body that is no request is the SDK's to refuse, with the protocol's own codes.
	_ = json.Unmarshal(body, &head)
	r.Body = io.NopCloser(bytes.NewReader(body))

	if err := s.permitted(r); err != nil {
		writeRPCError(w, r, head.ID, err)
		return
	}
	switch asked, served := version(r); {
	case served == "1.0":
		s.rpc.ServeHTTP(w, r)
	case served == "":
		writeRPCError(w, r, head.ID, versionError(asked))
	case head.Method != "" && head.Method[0] >= 'A' && head.Method[0] <= 'Z':
		writeRPCError(w, r, head.ID, a2a.NewError(a2a.ErrVersionNotSupported,
			head.Method+" is a method of A2A 1.0, and a request without the header A2A-Version is taken as 0.3; send A2A-Version: 1.0"))
	default:
		s.rpc03.ServeHTTP(w, r)
	}
}

func (s *server) serveREST(w http.ResponseWriter, r *http.Request) {
	old := strings.HasPrefix(r.URL.Path, "/v1/")
	asked, served := version(r)
	switch {
	case served == "":
		writeRESTError(w, http.StatusBadRequest, versionError(asked))
		return
	case served == "0.3" && !old:
		writeRESTError(w, http.StatusBadRequest, a2a.NewError(a2a.ErrVersionNotSupported,
			r.URL.Path+" is a path of A2A 1.0, and a request without the header A2A-Version is taken as 0.3; send A2A-Version: 1.0"))
		return
	}
	if r.Method == http.MethodPost && r.ContentLength != 0 && !isJSON(r) {
		writeRESTError(w, http.StatusBadRequest, a2a.NewError(a2a.ErrUnsupportedContentType, "send Content-Type: application/a2a+json or application/json"))
		return
	}
	if err := s.permitted(r); err != nil {
		status := http.StatusForbidden
		if errors.Is(err, a2a.ErrUnauthenticated) {
			status = http.StatusUnauthorized
		}
		writeRESTError(w, status, err)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		writeRESTError(w, http.StatusBadRequest, readError(err))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if old {
		s.rest3.ServeHTTP(w, r)
		return
	}
	s.rest.ServeHTTP(w, r)
}

func readError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return a2a.NewError(a2a.ErrInvalidRequest, "the request is larger than 16 MiB")
	}
	return a2a.NewError(a2a.ErrParseError, "the request body could not be read")
}

func isJSON(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && (t == "application/json" || t == "application/a2a+json")
}

// rpcCode returns the JSON-RPC code of the errors that this file makes.
func rpcCode(err error) int {
	for _, c := range []struct {
		err  error
		code int
	}{
		{a2a.ErrParseError, -32700},
		{a2a.ErrInvalidRequest, -32600},
		{a2a.ErrUnsupportedContentType, -32005},
		{a2a.ErrVersionNotSupported, -32009},
		{a2a.ErrUnauthenticated, -31401},
		{a2a.ErrUnauthorized, -31403},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return -32603
}

func errorInfo(err error) map[string]any {
	return map[string]any{
		"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": a2a.ErrorReason(err), "domain": a2a.ProtocolDomain,
	}
}

// writeRPCError answers in the form that the client waits for: a client of a
// stream reads events only.
func writeRPCError(w http.ResponseWriter, r *http.Request, id json.RawMessage, err error) {
	if id == nil {
		id = json.RawMessage("null")
	}
	body := map[string]any{
		"jsonrpc": "2.0", "id": id,
		"error": map[string]any{"code": rpcCode(err), "message": err.Error(), "data": []any{errorInfo(err)}},
	}
	if !strings.Contains(r.Header.Get("Accept"), eventStream) {
		writeJSON(w, http.StatusOK, body)
		return
	}
	w.Header().Set("Content-Type", eventStream)
	// Encode ends the line, and an empty one ends the event.
	_, _ = io.WriteString(w, "data: ")
	_ = json.NewEncoder(w).Encode(body)
	_, _ = io.WriteString(w, "\n")
}

func writeRESTError(w http.ResponseWriter, status int, err error) {
	name := "INVALID_ARGUMENT"
	switch {
	case status == http.StatusUnauthorized:
		name = "UNAUTHENTICATED"
	case status == http.StatusForbidden:
		name = "PERMISSION_DENIED"
	case errors.Is(err, a2a.ErrVersionNotSupported):
		name = "FAILED_PRECONDITION"
	}
	writeJSON(w, status, map[string]any{
		"error": map[string]any{"code": status, "status": name, "message": err.Error(), "details": []any{errorInfo(err)}},
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client that hung up is the only one who could be told.
	_ = json.NewEncoder(w).Encode(v)
}

// serveCard serves the card, which is public, with the caching of A2A 1.0 §8.6.
func (s *server) serveCard(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	card, err := s.opts.Card(r)
	var body []byte
	if err == nil {
		body, err = card.json(r)
	}
	if err == nil && s.opts.Sign != nil {
		body, err = sign(body, func(payload []byte) (CardSignature, error) { return s.opts.Sign(r, payload) })
	}
	if errors.Is(err, conclave.ErrNotFound) {
		http.Error(w, conclave.Text(err), http.StatusNotFound)
		return
	}
	if err != nil {
		s.opts.Logger.ErrorContext(r.Context(), "making an agent card", "path", r.URL.Path, "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(body)
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	// ServeContent answers If-None-Match from the ETag, and HEAD.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
