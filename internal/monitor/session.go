package monitor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"conclave"
)

const (
	cookieName  = "conclave_session"
	sessionLife = 12 * time.Hour
)

// Ticket is the answer to POST /login/tickets: the path of the one-time link.
type Ticket struct {
	Path    string    `json:"path"` // below the monitor's address
	Expires time.Time `json:"expires"`
}

// mintTicket makes a one-time link for the bearer of a token that may read.
func (m *Monitor) mintTicket(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		writeProblem(w, http.StatusUnauthorized, conclave.Errorf(conclave.ErrDenied, "a ticket is made for a token: send Authorization: Bearer TOKEN"))
		return
	}
	caller, err := m.tokens.Verify(token)
	if err != nil {
		writeProblem(w, http.StatusUnauthorized, err)
		return
	}
	if !caller.May(conclave.PermitRead) {
		m.refuse(w, conclave.Errorf(conclave.ErrDenied, "the page needs the permission %q, which %q does not have", conclave.PermitRead, caller.Name()))
		return
	}
	ticket, expires, err := m.tickets.mint(caller)
	if err != nil {
		m.refuse(w, err)
		return
	}
	writeJSON(w, http.StatusCreated, Ticket{Path: "/login?ticket=" + url.QueryEscape(ticket), Expires: expires})
}

// login exchanges a ticket for a session.
func (m *Monitor) login(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead { // a look at the link must not use it up
		return
	}
	caller, ok := m.tickets.take(r.URL.Query().Get("ticket"))
	if !ok {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusForbidden)
		writeText(w, "This link has been used, or is too old", "A link opens the page once, within two minutes. Get another with <code>conclave watch --open</code>.")
		return
	}
	token, err := m.tokens.Mint(caller, sessionLife)
	if err != nil {
		m.refuse(w, fmt.Errorf("minting a session token: %w", err))
		return
	}
	http.SetCookie(w, sessionCookie(r, token, int(sessionLife/time.Second)))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends the session of this browser.
func (m *Monitor) logout(w http.ResponseWriter, r *http.Request) {
	if err := sameOrigin(r); err != nil {
		m.refuse(w, err)
		return
	}
	http.SetCookie(w, sessionCookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

// session tells the page who is signed in and what they may do.
func (m *Monitor) session(w http.ResponseWriter, r *http.Request) {
	r, err := m.authorized(r)
	if err != nil {
		m.refuse(w, err)
		return
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	caller, err := m.tokens.Verify(token)
	if err != nil {
		writeProblem(w, http.StatusUnauthorized, err)
		return
	}
	writeJSON(w, http.StatusOK, caller)
}

func sessionCookie(r *http.Request, token string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}

// sameOrigin refuses a request that changes something unless the browser says
// that the page's own origin sent it. SameSite alone does not tell ports and
// sibling hosts apart.
func sameOrigin(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		if site == "same-origin" {
			return nil
		}
		return conclave.Errorf(conclave.ErrDenied, "the request comes from another site (%s)", site)
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	if err != nil || origin.Host == "" || !strings.EqualFold(origin.Host, r.Host) {
		return conclave.Errorf(conclave.ErrDenied, "a request that changes something must come from the page itself, or carry a token")
	}
	return nil
}

// problem is an error document (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// refuse answers with the status of the error's kind. What a caller may not
// read of it is logged.
func (m *Monitor) refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch conclave.KindOf(err) {
	case conclave.ErrDenied:
		status = http.StatusForbidden
	case conclave.ErrNotFound:
		status = http.StatusNotFound
	case conclave.ErrLimited:
		status = http.StatusTooManyRequests
	case conclave.ErrInternal:
		m.log.Error("answering a request", "error", err)
	}
	writeProblem(w, status, err)
}

func writeProblem(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/problem+json")
	writeBody(w, status, problem{Title: http.StatusText(status), Status: status, Detail: conclave.Text(err)})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	writeBody(w, status, v)
}

func writeBody(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away; nobody is left to tell
}
