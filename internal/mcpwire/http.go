package mcpwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"conclave"
)

const (
	// MetadataPath is where the protected-resource metadata (RFC 9728) is, for
	// any resource of the host; a resource's own is at MetadataPath + its path.
	MetadataPath = "/.well-known/oauth-protected-resource"

	// RegistrationPath is where a client without a token asks for one when the
	// metadata names no issuer (RFC 7591). It is told how to get one.
	RegistrationPath = "/register"

	// statelessSince is the protocol revision since which requests stand alone.
	statelessSince = "2026-07-28"

	versionHeader         = "MCP-Protocol-Version"
	callerKey             = "conclave/caller" // in the token's extra information
	defaultSessionTimeout = 30 * time.Minute
)

// HandlerOptions says how a server is reached over HTTP.
type HandlerOptions struct {
	Server *mcp.Server // needed
	// Authenticate tells who sent a request. It is needed: only the metadata is
	// public.
	Authenticate func(*http.Request) (conclave.Caller, error)

	Path                 string        // of the endpoint, for the metadata; "/mcp" when empty
	AuthorizationServers []string      // issuers whose tokens are taken, for the metadata
	SessionTimeout       time.Duration // without a request; 0 means 30 minutes
	// HostsGuarded says that something in front checks the Host header, as
	// identity.GuardLocal does. Otherwise a request to a loopback address must
	// name a loopback host.
	HostsGuarded bool
	Logger       *slog.Logger // nil means slog.Default()
}

// Handler serves MCP over streamable HTTP, and the metadata of the resource. It
// belongs at the endpoint's path, at MetadataPath and below that, and at
// RegistrationPath.
type Handler struct {
	options   HandlerOptions
	endpoint  http.Handler // for who is authenticated
	stateful  http.Handler
	stateless http.Handler
}

// NewHandler returns a handler for a server. ErrInvalid when it has nobody to
// ask who calls.
func NewHandler(o HandlerOptions) (*Handler, error) {
	if o.Server == nil || o.Authenticate == nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "an MCP handler needs a server, and to know who calls")
	}
	if o.Path == "" {
		o.Path = "/mcp"
	}
	if o.SessionTimeout == 0 {
		o.SessionTimeout = defaultSessionTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	logger := slog.New(quiet{o.Logger.Handler()})
	server := func(*http.Request) *mcp.Server { return o.Server }
	h := &Handler{
		options: o,
		stateful: mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{
			SessionTimeout: o.SessionTimeout, DisableLocalhostProtection: o.HostsGuarded, Logger: logger,
		}),
		stateless: mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{
			Stateless: true, PropagateRequestCancellation: true, DisableLocalhostProtection: o.HostsGuarded, Logger: logger,
		}),
	}
	// The SDK's own check of the token is the way by which it learns who calls.
	h.endpoint = auth.RequireBearerToken(h.tokenInfo, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true})(http.HandlerFunc(h.dispatch))
	return h, nil
}

// Close ends the sessions and with them the streams that they hold open.
func (h *Handler) Close() {
	for s := range h.options.Server.Sessions() {
		if err := s.Close(); err != nil {
			h.options.Logger.Debug("closing an MCP session", "session", s.ID(), "error", err)
		}
	}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, MetadataPath); ok {
		if rest != "" && rest != h.options.Path {
			http.NotFound(w, r)
			return
		}
		h.metadata(r).ServeHTTP(w, r)
		return
	}
	if r.URL.Path == RegistrationPath {
		h.refuseRegistration(w)
		return
	}
	caller, err := h.options.Authenticate(r)
	if err != nil {
		h.challenge(w, r, err)
		return
	}
	// From here on the request says who calls, not with which secret.
	r = r.WithContext(context.WithValue(r.Context(), authenticated{}, caller))
	r.Header = r.Header.Clone()
	r.Header.Set("Authorization", "Bearer checked")
	r.Header.Del("X-Api-Key")
	h.endpoint.ServeHTTP(w, r)
}

// dispatch chooses the era of the protocol that the request speaks.
func (h *Handler) dispatch(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(versionHeader) >= statelessSince { // revisions are dates
		h.stateless.ServeHTTP(w, r)
		return
	}
	h.stateful.ServeHTTP(w, r)
}

type authenticated struct{}

// tokenInfo tells the SDK who was authenticated. The user ID binds a session to
// whoever opened it.
func (h *Handler) tokenInfo(_ context.Context, _ string, r *http.Request) (*auth.TokenInfo, error) {
	caller, ok := r.Context().Value(authenticated{}).(conclave.Caller)
	if !ok {
		return nil, auth.ErrInvalidToken
	}
	who, err := json.Marshal([]string{string(caller.Tenant), caller.Human, string(caller.Agent), string(caller.Service)})
	if err != nil {
		return nil, fmt.Errorf("naming the caller: %w", err)
	}
	return &auth.TokenInfo{UserID: string(who), Extra: map[string]any{callerKey: caller}}, nil
}

// challenge refuses a request without a good token (RFC 6750, RFC 9728 §5.1).
func (h *Handler) challenge(w http.ResponseWriter, r *http.Request, err error) {
	if !errors.Is(err, conclave.ErrDenied) {
		h.options.Logger.ErrorContext(r.Context(), "authenticating an MCP request", "error", err)
		http.Error(w, conclave.Text(err), http.StatusServiceUnavailable)
		return
	}
	challenge := fmt.Sprintf("Bearer resource_metadata=%q", origin(r)+MetadataPath+h.options.Path)
	if r.Header.Get("Authorization") != "" || r.Header.Get("X-Api-Key") != "" {
		challenge += `, error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, conclave.Text(err), http.StatusUnauthorized)
}

// refuseRegistration tells a person whose client has no token how to give it one
// (the form is that of RFC 7591 §3.2.2).
func (h *Handler) refuseRegistration(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusBadRequest)
	// An error here means that the client has gone.
	_ = json.NewEncoder(w).Encode(map[string]string{
		"error":             "invalid_client_metadata",
		"error_description": "clients are not registered here; send the header Authorization: Bearer TOKEN, where conclave token prints TOKEN",
	})
}

func (h *Handler) metadata(r *http.Request) http.Handler {
	return auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: origin(r) + h.options.Path, ResourceName: "Conclave",
		AuthorizationServers: h.options.AuthorizationServers, BearerMethodsSupported: []string{"header"},
	})
}

// origin is the address by which the client reached this host.
func origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
