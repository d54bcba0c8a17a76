package gateway

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"time"

	"conclave"
)

// Options says what a gateway is made of.
type Options struct {
	API http.Handler // answers /api/; required
	MCP http.Handler // answers /mcp and its metadata; required
	A2A http.Handler // answers A2APaths; nil asks the hub, wherever it is
	// A2APaths are those that the hub answers; /a2a/ when there are none.
	A2APaths []string

	// Authenticate tells who sent a request; required. It is asked to count a
	// caller's requests; each face judges the token by itself.
	Authenticate func(*http.Request) (conclave.Caller, error)
	// Resolve finds a service that runs elsewhere; required.
	Resolve   func(conclave.Service) (string, error)
	Transport http.RoundTripper // to services; nil: http.DefaultTransport
	HTTP2     http.RoundTripper // to services by HTTP/2, which gRPC takes; nil: Transport

	Caller  Rate  // of one caller; zero: no limit
	Address Rate  // of one address; zero: no limit
	MaxBody int64 // of a request; 0: 16 MiB
	// MCPPaths are those that MCP answers besides /mcp.
	MCPPaths []string
	Clock    conclave.Clock // nil: time.Now
	Logger   *slog.Logger   // nil discards
}

func (o *Options) setDefaults() error {
	if o.API == nil || o.MCP == nil || o.Authenticate == nil || o.Resolve == nil {
		return conclave.Errorf(conclave.ErrInvalid, "a gateway needs an API, MCP, to know who calls, and where services are")
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.HTTP2 == nil {
		o.HTTP2 = o.Transport
	}
	if len(o.A2APaths) == 0 {
		o.A2APaths = []string{"/a2a/"}
	}
	if o.MaxBody == 0 {
		o.MaxBody = 16 << 20
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Gateway is the one entry. It is an http.Handler.
type Gateway struct {
	opts      Options
	mux       *http.ServeMux
	callers   *limiter
	addresses *limiter
}

//go:embed docs.html docs.js docs.css
var docs embed.FS

// New returns a gateway. ErrInvalid when an option is missing.
func New(o Options) (*Gateway, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	g := &Gateway{opts: o, mux: http.NewServeMux(), callers: newLimiter(o.Caller, o.Clock), addresses: newLimiter(o.Address, o.Clock)}
	page := g.proxy(conclave.ServiceMonitor)
	for path, file := range map[string]string{"/api/docs": "docs.html", "/api/docs.js": "docs.js", "/api/docs.css": "docs.css"} {
		g.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			http.ServeFileFS(w, r, docs, file)
		})
	}
	g.mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" && r.Header.Get("X-Api-Key") == "" && r.Header.Get("Cookie") != "" {
			page.ServeHTTP(w, r) // the page's own calls: the monitor holds its session
			return
		}
		o.API.ServeHTTP(w, r)
	})
	for _, path := range append([]string{"/mcp"}, o.MCPPaths...) {
		g.mux.Handle(path, o.MCP)
	}
	hub := o.A2A
	if hub == nil {
		hub = g.proxy(conclave.ServiceHub)
	}
	for _, path := range o.A2APaths {
		g.mux.Handle(path, hub)
	}
	g.mux.Handle("/", page)
	return g, nil
}

// requestHeader carries the id of a request, in and out.
const requestHeader = "X-Request-Id"

// requestID is an id that a client may choose: nothing that could break a log.
var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := g.opts.Clock()
	id := r.Header.Get(requestHeader)
	if !requestID.MatchString(id) {
		id = conclave.NewID("req")
	}
	r.Header.Set(requestHeader, id)
	w.Header().Set(requestHeader, id)
	caller, f := g.admit(r)
	if f != nil {
		g.opts.Logger.WarnContext(r.Context(), "request refused", "request", id, "method", r.Method, "path", r.URL.Path, "caller", caller, "address", addressOf(r), "why", f.err)
		f.write(w, r)
		return
	}
	if r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, g.opts.MaxBody)
	}
	g.mux.ServeHTTP(w, r)
	g.opts.Logger.DebugContext(r.Context(), "request", "request", id, "method", r.Method, "path", r.URL.Path, "caller", caller, "took", g.opts.Clock().Sub(started))
}

// admit counts a request, and says why it goes no further.
func (g *Gateway) admit(r *http.Request) (caller string, _ *fault) {
	address := addressOf(r)
	if wait, ok := g.addresses.take(address); !ok {
		return "", limited("address "+address, g.addresses.rate, wait)
	}
	if c, err := g.opts.Authenticate(r); err == nil { // without a good token the face refuses
		caller = c.Name()
		if wait, ok := g.callers.take(string(c.Tenant) + "/" + caller); !ok {
			return caller, limited(caller, g.callers.rate, wait)
		}
	}
	if r.ContentLength > g.opts.MaxBody {
		return caller, &fault{status: http.StatusRequestEntityTooLarge,
			err: conclave.Errorf(conclave.ErrInvalid, "the body has %d bytes; at most %d are taken", r.ContentLength, g.opts.MaxBody)}
	}
	return caller, nil
}

func limited(who string, rate Rate, wait time.Duration) *fault {
	return &fault{status: http.StatusTooManyRequests, retry: wait,
		err: conclave.Errorf(conclave.ErrLimited, "%s calls too often: the limit is %s; try again in %s", who, rate, max(wait, time.Millisecond).Round(time.Millisecond))}
}

// proxy passes requests on to a service, wherever it is.
func (g *Gateway) proxy(s conclave.Service) http.Handler {
	gone := func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() != nil {
			return // the client went away
		}
		status := http.StatusServiceUnavailable
		if too, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status, err = http.StatusRequestEntityTooLarge, conclave.Errorf(conclave.ErrInvalid, "the body is larger than %d bytes", too.Limit)
		} else {
			g.opts.Logger.WarnContext(r.Context(), "a service can't be reached", "service", s, "request", r.Header.Get(requestHeader), "error", err)
		}
		(fault{status: status, err: err, retry: time.Second}).write(w, r)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		base, err := g.opts.Resolve(s)
		if err != nil {
			gone(w, r, err)
			return
		}
		target, err := url.Parse(base)
		if err != nil {
			gone(w, r, fmt.Errorf("the registered address of %s is none: %w", s, err))
			return
		}
		transport := g.opts.Transport
		if face(r) == "grpc" {
			transport = g.opts.HTTP2
		}
		(&httputil.ReverseProxy{
			Transport: transport, FlushInterval: -1,
			ErrorLog: slog.NewLogLogger(g.opts.Logger.Handler(), slog.LevelDebug),
			Rewrite: func(pr *httputil.ProxyRequest) {
				pr.SetURL(target)
				pr.Out.Host = pr.In.Host // cards and the page name the address that the client uses
				pr.SetXForwarded()
				if pr.In.Header.Get("X-Forwarded-Proto") == "https" { // a proxy before this one ended TLS
					pr.Out.Header.Set("X-Forwarded-Proto", "https")
				}
			},
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if _, ok := errors.AsType[*http.MaxBytesError](err); !ok && !errors.Is(err, context.Canceled) {
					err = conclave.Errorf(conclave.ErrUnavailable, "%s can't be reached at %s", s, target.Host)
				}
				gone(w, r, err)
			},
		}).ServeHTTP(w, r)
	})
}
