package monitor

import (
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"conclave"
)

// Tokens makes and checks the tokens that callers carry.
type Tokens interface {
	// Verify returns whose token it is. ErrDenied when it is none of ours.
	Verify(token string) (conclave.Caller, error)
	// Mint makes a token for a caller.
	Mint(caller conclave.Caller, life time.Duration) (string, error)
}

// Options says what a monitor is made of.
type Options struct {
	API    http.Handler   // answers /api/, and judges the token in Authorization itself; required
	Tokens Tokens         // required
	Page   fs.FS          // the built page; nil serves a text that says how to build it
	Logger *slog.Logger   // nil discards
	Clock  conclave.Clock // nil is time.Now
}

func (o Options) validate() error {
	if o.API == nil {
		return conclave.Errorf(conclave.ErrInvalid, "the monitor needs an API handler")
	}
	if o.Tokens == nil {
		return conclave.Errorf(conclave.ErrInvalid, "the monitor needs tokens")
	}
	return nil
}

// Monitor is the service behind the page. It is an http.Handler.
type Monitor struct {
	api     http.Handler
	tokens  Tokens
	page    *page
	tickets *tickets
	log     *slog.Logger
	handler http.Handler
}

// New returns a monitor. ErrInvalid when an option is missing, or when the page
// has no index.html.
func New(o Options) (*Monitor, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	p, err := newPage(o.Page)
	if err != nil {
		return nil, err
	}
	m := &Monitor{api: o.API, tokens: o.Tokens, page: p, tickets: newTickets(o.Clock), log: o.Logger}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/tickets", m.mintTicket)
	mux.HandleFunc("GET /login", m.login)
	mux.HandleFunc("POST /logout", m.logout)
	mux.HandleFunc("GET /session", m.session)
	mux.HandleFunc("GET /reports/{run}/{format}", m.report)
	mux.HandleFunc("/api/", m.callAPI)
	mux.Handle("/", m.page)
	m.handler = mux
	return m, nil
}

// ServeHTTP answers the page, its sign-in and its API.
func (m *Monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", policy(""))
	m.handler.ServeHTTP(w, r)
}

// callAPI passes a request on, with the session's token when the caller brings
// none of their own.
func (m *Monitor) callAPI(w http.ResponseWriter, r *http.Request) {
	r, err := m.authorized(r)
	if err != nil {
		m.refuse(w, err)
		return
	}
	m.api.ServeHTTP(w, r)
}

// authorized returns the request with the session's token as its
// Authorization. ErrDenied when the session is used from another origin to
// change something.
func (m *Monitor) authorized(r *http.Request) (*http.Request, error) {
	out := r.Clone(r.Context())
	out.Header.Del("Cookie") // the token in it is for this service alone
	cookie, err := r.Cookie(cookieName)
	if r.Header.Get("Authorization") != "" || err != nil {
		return out, nil
	}
	if err := sameOrigin(r); err != nil {
		return nil, err
	}
	out.Header.Set("Authorization", "Bearer "+cookie.Value)
	return out, nil
}
