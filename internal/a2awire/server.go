package a2awire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	a2alog "github.com/a2aproject/a2a-go/v2/log"

	"conclave"
)

// ServerOptions says what a server shows and who may speak to it.
type ServerOptions struct {
	// Card makes the card at each request. ErrNotFound when there is no such agent any more.
	Card  func(r *http.Request) (Card, error)
	Tasks Tasks
	// Extended makes the card for callers who may speak here. Nil: there is none.
	Extended   func(ctx context.Context) (Card, error)
	Permission conclave.Permission // what a caller needs; PermitSpeak when empty
	// Sign signs what a card says. Nil: cards are not signed.
	Sign func(r *http.Request, payload []byte) (CardSignature, error)
	// Refused is told when a known caller lacks the permission. Nil: nobody is.
	Refused func(ctx context.Context, why error)
	Logger  *slog.Logger // slog.Default() when nil
}

func (o *ServerOptions) setDefaults() {
	if o.Permission == "" {
		o.Permission = conclave.PermitSpeak
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// server serves one agent at "/": JSON-RPC by POST, HTTP+JSON below it, and its
// card. The transports of 1.0 are our own: the SDK's begin a stream before they
// know whether there is one, lose what was wrong with a request, and take only
// one spelling of a field's name. Those of 0.3 are the SDK's.
type server struct {
	opts         ServerOptions
	handler      *handler
	rpc          *rpcServer
	rest         http.Handler
	rpc03, rest3 http.Handler

	mu    sync.Mutex
	shown map[string]shown // by version
}

// shown is the card that was served last, and since when it is.
type shown struct {
	sum   [sha256.Size]byte
	since time.Time
}

// NewServer makes the A2A server of one agent. Mount it with http.StripPrefix.
func NewServer(opts ServerOptions) http.Handler {
	opts.setDefaults()
	h := &handler{opts: opts}
	alive := a2asrv.WithTransportKeepAlive(keepAlive)
	return &server{
		opts: opts, handler: h, rpc: newRPC(h), rest: newREST(h),
		rpc03: a2av0.NewJSONRPCHandler(h, alive), rest3: a2av0.NewRESTHandler(h, alive),
		shown: map[string]shown{},
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == a2asrv.WellKnownAgentCardPath {
		s.serveCard(w, r)
		return
	}
	r = r.WithContext(a2alog.AttachLogger(withBase(r.Context(), Origin(r)), s.opts.Logger))
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	if r.URL.Path == "" || r.URL.Path == "/" {
		s.serveRPC(w, r)
		return
	}
	s.serveREST(w, r)
}

// Origin is the address that a client asked, without a path: through a proxy
// that ends TLS, too.
func Origin(r *http.Request) string {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

type baseKey struct{}

func withBase(ctx context.Context, base string) context.Context {
	return context.WithValue(ctx, baseKey{}, base)
}

// version returns which protocol the client speaks.
func version(r *http.Request) (asked, served string) {
	asked = r.Header.Get(a2a.SvcParamVersion)
	if asked == "" {
		asked = r.URL.Query().Get(a2a.SvcParamVersion)
	}
	return asked, servedVersion(asked)
}

// servedVersion is the version in which a client is answered: "0.3" when it does
// not say (A2A 1.0 §3.6), "" for one that is not served.
func servedVersion(asked string) string {
	major, rest, _ := strings.Cut(strings.TrimSpace(asked), ".")
	minor, _, _ := strings.Cut(rest, ".") // a patch number changes nothing on the wire
	switch {
	case asked == "":
		return "0.3"
	case major == "1" && minor == "0":
		return "1.0"
	case major == "0" && minor == "3":
		return "0.3"
	}
	return ""
}

func versionError(asked string) error {
	return a2a.NewError(a2a.ErrVersionNotSupported, "A2A-Version "+asked+" is not served; ask for 1.0 or 0.3")
}

type refusalKey struct{}

// WithRefusal says why the token of a request was refused, to a face that tells
// the client in its own way.
func WithRefusal(ctx context.Context, why error) context.Context {
	return context.WithValue(ctx, refusalKey{}, why)
}

// permitted says why the caller may not speak here, or nothing.
func (o ServerOptions) permitted(ctx context.Context) error {
	c := conclave.CallerFrom(ctx)
	if c.Name() == "" {
		if why, ok := ctx.Value(refusalKey{}).(error); ok {
			return a2a.NewError(a2a.ErrUnauthenticated, conclave.Text(why))
		}
		return a2a.NewError(a2a.ErrUnauthenticated, "send Authorization: Bearer TOKEN")
	}
	if !c.May(o.Permission) {
		err := a2a.NewError(a2a.ErrUnauthorized, "speaking here needs the permission "+string(o.Permission)+", which "+c.Name()+" does not have")
		if o.Refused != nil {
			o.Refused(ctx, err)
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
	if !isJSON(r.Header) {
		writeRPCError(w, r, nil, a2a.NewError(a2a.ErrUnsupportedContentType, "send Content-Type: application/json"))
		return
	}
	body, err := readBody(r)
	if err != nil {
		writeRPCError(w, r, nil, err)
		return
	}
	// Who may not speak learns no more than that.
	req, invalid := readRPC(body)
	if err := s.opts.permitted(r.Context()); err != nil {
		if _, served := version(r); served == "0.3" {
			refuseRPC03(w, r, req.ID, err)
			return
		}
		writeRPCError(w, r, req.ID, err)
		return
	}
	if invalid != nil {
		writeRPCError(w, r, req.ID, invalid)
		return
	}
	switch asked, served := version(r); {
	case served == "1.0":
		s.rpc.serve(w, r, req)
	case served == "":
		writeRPCError(w, r, req.ID, versionError(asked))
	case req.Method[0] >= 'A' && req.Method[0] <= 'Z':
		writeRPCError(w, r, req.ID, a2a.NewError(a2a.ErrVersionNotSupported,
			req.Method+" is a method of A2A 1.0, and a request without the header A2A-Version is taken as 0.3; send A2A-Version: 1.0"))
	case s.pushRPC03(w, r, req):
	default:
		w.Header().Set("Content-Type", plainJSON) // which the SDK leaves out of errors
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.rpc03.ServeHTTP(w, r)
	}
}

func (s *server) serveREST(w http.ResponseWriter, r *http.Request) {
	old := strings.HasPrefix(r.URL.Path, "/v1/")
	asked, served := version(r)
	switch {
	case served == "":
		writeRESTError(w, r, versionError(asked))
		return
	case served == "0.3" && !old:
		writeRESTError(w, r, a2a.NewError(a2a.ErrVersionNotSupported,
			r.URL.Path+" is a path of A2A 1.0, and a request without the header A2A-Version is taken as 0.3; send A2A-Version: 1.0"))
		return
	}
	if r.Method == http.MethodPost && r.ContentLength != 0 && !isJSON(r.Header) {
		writeRESTError(w, r, a2a.NewError(a2a.ErrUnsupportedContentType, "send Content-Type: application/a2a+json or application/json"))
		return
	}
	if err := s.opts.permitted(r.Context()); err != nil {
		writeRESTError(w, r, err)
		return
	}
	body, err := readBody(r)
	if err != nil {
		writeRESTError(w, r, err)
		return
	}
	if old {
		r.Body = io.NopCloser(bytes.NewReader(protoNames(r.URL.Path, camelCase(body))))
		s.rest3.ServeHTTP(w, r)
		return
	}
	s.rest.ServeHTTP(w, withBody(r, body))
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
	asked, served := version(r)
	if asked == "" {
		served = "" // a client that looks whom it has found may speak either
	}
	card, err := s.opts.Card(r)
	var body []byte
	if err == nil {
		body, err = card.json(r.Context(), Origin(r), served)
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
	h.Set("Content-Type", plainJSON)
	h.Set("Vary", a2a.SvcParamVersion)
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	// ServeContent answers If-None-Match from the ETag, and HEAD.
	http.ServeContent(w, r, "", s.changed(served, sum), bytes.NewReader(body))
}

// changed is since when the card is as it is, as far as this server has seen.
func (s *server) changed(version string, sum [sha256.Size]byte) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown[version].sum != sum {
		s.shown[version] = shown{sum, time.Now()}
	}
	return s.shown[version].since
}
