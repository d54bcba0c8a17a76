package monitor_test

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"conclave"
	"conclave/internal/identity"
	"conclave/internal/monitor"
	"conclave/internal/restwire"
)

// built is a page as Vite leaves it, small.
var built = fstest.MapFS{
	".gitkeep":            {},
	"index.html":          {Data: []byte(`<!doctype html><meta property="csp-nonce" nonce="CSP_NONCE"><script type="module" src="/assets/index-abc.js"></script>`)},
	"icon.svg":            {Data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)},
	"assets/index-abc.js": {Data: []byte(strings.Repeat("console.log('conclave');\n", 50))},
}

type world struct {
	*fixture
	server *httptest.Server
	tokens *identity.Tokens
	time   *time.Time
}

// serve starts a monitor with the real wire over the fixture.
func serve(t *testing.T, page fs.FS) world {
	t.Helper()
	f := newFixture(t)
	tokens, err := identity.NewTokens([]byte("a secret for tests, of 32 bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := restwire.NewHandler(restwire.Options{Tables: f.tables(), Authenticate: identity.Authenticate(tokens), Prefix: "/api"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	m, err := monitor.New(monitor.Options{API: api, Tokens: tokens, Page: page, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return world{fixture: f, server: server, tokens: tokens, time: &now}
}

func bearer(t *testing.T, tokens *identity.Tokens, c conclave.Caller) string {
	t.Helper()
	token, err := tokens.Mint(c, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token
}

// mint asks for a ticket with an Authorization header, or none.
func mint(t *testing.T, server *httptest.Server, authorization string) (int, monitor.Ticket) {
	t.Helper()
	status, body, _ := do(t, http.DefaultClient, "POST", server.URL+"/login/tickets", "", "Authorization", authorization)
	var ticket monitor.Ticket
	if status == http.StatusCreated {
		if err := json.Unmarshal([]byte(body), &ticket); err != nil {
			t.Fatal(err)
		}
	}
	return status, ticket
}

// do sends a request with headers given in pairs; an empty value leaves a header out.
func do(t *testing.T, client *http.Client, method, address, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// browser returns a client that keeps cookies and does not follow redirects.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// signIn opens a one-time link in a new browser.
func signIn(t *testing.T, w world) *http.Client {
	t.Helper()
	b := browser(t)
	if status, body, _ := do(t, b, "GET", link(t, w.server, w.tokens), ""); status != http.StatusSeeOther {
		t.Fatalf("opening a link: %d %s", status, body)
	}
	return b
}

func TestNewNeedsItsParts(t *testing.T) {
	tokens, err := identity.NewTokens([]byte("a secret for tests, of 32 bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]monitor.Options{
		"no API":    {Tokens: tokens},
		"no tokens": {API: http.NotFoundHandler()},
		"no index":  {API: http.NotFoundHandler(), Tokens: tokens, Page: fstest.MapFS{".gitkeep": {}}},
	} {
		if _, err := monitor.New(o); conclave.KindOf(err) != conclave.ErrInvalid {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

func TestTicketNeedsATokenThatMayRead(t *testing.T) {
	w := serve(t, built)
	blind := human
	blind.Permissions = []conclave.Permission{conclave.PermitSpeak}
	for name, c := range map[string]struct {
		authorization string
		want          int
	}{
		"no token":      {"", http.StatusUnauthorized},
		"another's":     {"Bearer eyJhbGciOiJIUzI1NiJ9.e30.aaaa", http.StatusUnauthorized},
		"may not read":  {bearer(t, w.tokens, blind), http.StatusForbidden},
		"may read":      {bearer(t, w.tokens, human), http.StatusCreated},
		"in lower case": {strings.Replace(bearer(t, w.tokens, human), "Bearer", "bearer", 1), http.StatusCreated},
	} {
		if got, _ := mint(t, w.server, c.authorization); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	if got, _, _ := do(t, signIn(t, w), "POST", w.server.URL+"/login/tickets", "", "Sec-Fetch-Site", "same-origin"); got != http.StatusUnauthorized {
		t.Errorf("a session minted a ticket: %d; only a token may", got)
	}
}

func TestLinkOpensThePageOnce(t *testing.T) {
	w := serve(t, built)
	address := link(t, w.server, w.tokens)
	b := browser(t)
	if status, _, _ := do(t, b, "HEAD", address, ""); status != http.StatusOK {
		t.Errorf("looking at the link: %d", status)
	}
	status, _, header := do(t, b, "GET", address, "")
	if status != http.StatusSeeOther || header.Get("Location") != "/" {
		t.Fatalf("the first use: %d to %q", status, header.Get("Location"))
	}
	set := header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} {
		if !strings.Contains(set, want) {
			t.Errorf("the cookie lacks %s", want)
		}
	}
	if status, body, _ := do(t, browser(t), "GET", address, ""); status != http.StatusForbidden || !strings.Contains(body, "conclave watch --open") {
		t.Errorf("the second use: %d %s", status, body)
	}
	if status, body, _ := do(t, b, "GET", w.server.URL+"/api/runs", ""); status != http.StatusOK || !strings.Contains(body, string(liveRun)) {
		t.Errorf("the API by the session: %d %.80s", status, body)
	}
	status, body, _ := do(t, b, "GET", w.server.URL+"/session", "")
	var caller conclave.Caller
	if err := json.Unmarshal([]byte(body), &caller); err != nil || status != http.StatusOK || caller.Human != "ana" || !caller.May(conclave.PermitApprove) {
		t.Errorf("whose session it is: %d %s", status, body)
	}
}

func TestTicketExpires(t *testing.T) {
	w := serve(t, built)
	address := link(t, w.server, w.tokens)
	*w.time = w.time.Add(2 * time.Minute)
	if status, _, _ := do(t, browser(t), "GET", address, ""); status != http.StatusForbidden {
		t.Errorf("a link of two minutes ago: %d", status)
	}
}

func TestTicketsAreBounded(t *testing.T) {
	w := serve(t, built)
	token := bearer(t, w.tokens, human)
	for range 1000 {
		if status, _ := mint(t, w.server, token); status != http.StatusCreated {
			t.Fatalf("minting: %d", status)
		}
	}
	if status, _ := mint(t, w.server, token); status != http.StatusTooManyRequests {
		t.Errorf("one more than the most: %d", status)
	}
	*w.time = w.time.Add(2 * time.Minute)
	if status, _ := mint(t, w.server, token); status != http.StatusCreated {
		t.Errorf("after the others expired: %d", status)
	}
}

func TestSessionIsOfItsCaller(t *testing.T) {
	w := serve(t, built)
	reader := human
	reader.Permissions = []conclave.Permission{conclave.PermitRead}
	_, ticket := mint(t, w.server, bearer(t, w.tokens, reader))
	b := browser(t)
	do(t, b, "GET", w.server.URL+ticket.Path, "")
	status, body, _ := do(t, b, "POST", w.server.URL+"/api/approvals/apr-19", `{"decision":"approve"}`, "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin")
	if status != http.StatusForbidden {
		t.Errorf("approving with a reader's session: %d %s", status, body)
	}
}

func TestChangesComeFromThePageAlone(t *testing.T) {
	w := serve(t, built)
	b := signIn(t, w)
	origin := w.server.URL
	approve := func(client *http.Client, headers ...string) int {
		status, _, _ := do(t, client, "POST", w.server.URL+"/api/approvals/apr-19", `{"decision":"approve"}`, append(headers, "Content-Type", "application/json")...)
		return status
	}
	for name, headers := range map[string][]string{
		"no word on where it comes from": {},
		"another site":                   {"Sec-Fetch-Site", "cross-site", "Origin", "https://example.com"},
		"another port of this host":      {"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:3000"},
		"a lie in Origin":                {"Sec-Fetch-Site", "cross-site", "Origin", origin},
		"typed by the user":              {"Sec-Fetch-Site", "none"},
		"an old browser, another origin": {"Origin", "http://127.0.0.1:3000"},
		"a sandboxed frame":              {"Origin", "null"},
	} {
		if status := approve(b, headers...); status != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", name, status)
		}
		if status, _, _ := do(t, b, "POST", w.server.URL+"/logout", "", headers...); status != http.StatusForbidden {
			t.Errorf("%s: logout got %d, want 403", name, status)
		}
	}
	if status := approve(b, "Origin", origin); status != http.StatusOK {
		t.Errorf("an old browser, this origin: %d", status)
	}
	if status := approve(b, "Sec-Fetch-Site", "same-origin", "Origin", origin); status != http.StatusConflict {
		t.Errorf("a second decision: %d, want the API's own 409", status)
	}
	if status := approve(http.DefaultClient, "Authorization", bearer(t, w.tokens, human)); status != http.StatusConflict {
		t.Errorf("a token needs no origin: %d, want the API's own 409", status)
	}
}

func TestWithoutASession(t *testing.T) {
	w := serve(t, built)
	for _, path := range []string{"/api/runs", "/api/events/watch", "/session", "/reports/run-7b90/markdown"} {
		if status, body, _ := do(t, browser(t), "GET", w.server.URL+path, ""); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, _ := do(t, browser(t), "GET", w.server.URL+"/api/runs", "", "Cookie", "conclave_session=forged"); status != http.StatusUnauthorized {
		t.Errorf("a forged cookie: %d", status)
	}
}

func TestLogout(t *testing.T) {
	w := serve(t, built)
	b := signIn(t, w)
	if status, _, header := do(t, b, "POST", w.server.URL+"/logout", "", "Sec-Fetch-Site", "same-origin"); status != http.StatusNoContent || !strings.Contains(header.Get("Set-Cookie"), "Max-Age=0") {
		t.Fatalf("logout: %d %q", status, header.Get("Set-Cookie"))
	}
	if status, _, _ := do(t, b, "GET", w.server.URL+"/api/runs", ""); status != http.StatusUnauthorized {
		t.Errorf("after logout: %d", status)
	}
}

func TestTheAPINeverSeesTheCookie(t *testing.T) {
	tokens, err := identity.NewTokens([]byte("a secret for tests, of 32 bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	var seen http.Header
	m, err := monitor.New(monitor.Options{Tokens: tokens, API: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/api/runs", nil)
	r.AddCookie(&http.Cookie{Name: "conclave_session", Value: "session-token"})
	m.ServeHTTP(httptest.NewRecorder(), r)
	if seen.Get("Cookie") != "" || seen.Get("Authorization") != "Bearer session-token" {
		t.Errorf("the API saw %v", seen)
	}
	r.Header.Set("Authorization", "Bearer my-own")
	m.ServeHTTP(httptest.NewRecorder(), r)
	if seen.Get("Authorization") != "Bearer my-own" {
		t.Errorf("a caller's own token was replaced by %q", seen.Get("Authorization"))
	}
}

func TestReports(t *testing.T) {
	w := serve(t, built)
	b := signIn(t, w)
	for path, want := range map[string]struct {
		status     int
		kind, text string
	}{
		"/reports/run-7b90/markdown": {200, "text/plain; charset=utf-8", "# Upgrade vulnerable dependencies"},
		"/reports/run-7b90/sarif":    {200, "application/json", `"2.1.0"`},
		"/reports/run-7b90/json":     {200, "application/json", "run-7b90"},
		"/reports/run-7b90/pdf":      {404, "application/problem+json", "markdown, json and sarif"},
		"/reports/run-7c41/json":     {404, "application/problem+json", "no json report yet"},
		"/reports/no-such/json":      {404, "application/problem+json", "no-such"},
	} {
		status, body, header := do(t, b, "GET", w.server.URL+path, "")
		if status != want.status || header.Get("Content-Type") != want.kind || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s %s", path, status, header.Get("Content-Type"), body)
		}
	}
	i := w.run(waitingRun)
	for name, path := range map[string]string{"another kind of file": "/etc/passwd", "a folder": t.TempDir() + "/x.md/..", "not on this machine": "/nowhere/report.md"} {
		w.mu.Lock()
		w.runs[i].Run.Report.Markdown = path
		w.mu.Unlock()
		if status, body, _ := do(t, b, "GET", w.server.URL+"/reports/run-7b90/markdown", ""); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestEveryAnswerHasSecurityHeaders(t *testing.T) {
	w := serve(t, built)
	for _, path := range []string{"/", "/runs/x", "/assets/index-abc.js", "/assets/none.js", "/api/runs", "/login?ticket=x", "/session"} {
		_, _, h := do(t, browser(t), "GET", w.server.URL+path, "", "Accept", "text/html")
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'self'", "frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy lacks %s: %s", path, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func TestNonceIsFresh(t *testing.T) {
	w := serve(t, built)
	nonces := map[string]bool{}
	for range 2 {
		_, body, h := do(t, browser(t), "GET", w.server.URL+"/", "")
		_, rest, _ := strings.Cut(h.Get("Content-Security-Policy"), "'nonce-")
		nonce, _, _ := strings.Cut(rest, "'")
		if nonce == "" || !strings.Contains(body, `nonce="`+nonce+`"`) || strings.Contains(body, "CSP_NONCE") {
			t.Errorf("the policy names the nonce %q, and the page is %s", nonce, body)
		}
		nonces[nonce] = true
		if h.Get("Cache-Control") != "no-store" {
			t.Errorf("a page with a nonce may be cached: %q", h.Get("Cache-Control"))
		}
	}
	if len(nonces) != 2 {
		t.Error("two answers share a nonce")
	}
}

func TestFilesAreCachedAndCompressed(t *testing.T) {
	w := serve(t, built)
	script := w.server.URL + "/assets/index-abc.js"
	status, body, h := do(t, browser(t), "GET", script, "", "Accept-Encoding", "gzip")
	if status != http.StatusOK || h.Get("Content-Encoding") != "gzip" || len(body) > 300 || h.Get("Cache-Control") != "public, max-age=31536000, immutable" || h.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("compressed: %d, %d bytes, %v", status, len(body), h)
	}
	if status, _, _ := do(t, browser(t), "GET", script, "", "Accept-Encoding", "gzip", "If-None-Match", h.Get("ETag")); status != http.StatusNotModified {
		t.Errorf("unchanged: %d", status)
	}
	if _, body, h := do(t, browser(t), "GET", script, "", "Accept-Encoding", "identity"); h.Get("Content-Encoding") != "" || !strings.HasPrefix(body, "console.log") {
		t.Errorf("as it is: %v", h)
	}
	if _, _, h := do(t, browser(t), "GET", w.server.URL+"/icon.svg", ""); h.Get("Cache-Control") != "no-cache" || h.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("a file without a hash in its name: %v", h)
	}
}

func TestFallback(t *testing.T) {
	w := serve(t, built)
	html := "text/html,application/xhtml+xml"
	for _, c := range []struct {
		method, path, accept string
		want                 int
	}{
		{"GET", "/", "*/*", 200},
		{"GET", "/runs/run-7c41/plan", html, 200},
		{"GET", "/runs/a.b", html, 200},
		{"GET", "/runs/run-7c41", "*/*", 404},
		{"GET", "/assets/gone-123.js", html, 404},
		{"GET", "/.gitkeep", "*/*", 404},
		{"GET", "/index.html", "*/*", 404},
		{"POST", "/", html, 405},
	} {
		if status, body, _ := do(t, browser(t), c.method, w.server.URL+c.path, "", "Accept", c.accept); status != c.want {
			t.Errorf("%s %s: %d %.60s, want %d", c.method, c.path, status, body, c.want)
		}
	}
}

func TestWithoutAPage(t *testing.T) {
	w := serve(t, nil)
	status, body, _ := do(t, browser(t), "GET", w.server.URL+"/runs/x", "", "Accept", "text/html")
	if status != http.StatusOK || !strings.Contains(body, "make web") {
		t.Errorf("the page: %d %s", status, body)
	}
	if status, body, _ := do(t, signIn(t, w), "GET", w.server.URL+"/api/runs", ""); status != http.StatusOK || !strings.Contains(body, string(liveRun)) {
		t.Errorf("the API: %d %.80s", status, body)
	}
}

func TestCookieIsSecureOverTLS(t *testing.T) {
	w := serve(t, built)
	address, err := url.Parse(link(t, w.server, w.tokens))
	if err != nil {
		t.Fatal(err)
	}
	_, _, header := do(t, browser(t), "GET", address.String(), "", "X-Forwarded-Proto", "https")
	if !strings.Contains(header.Get("Set-Cookie"), "Secure") {
		t.Error("the cookie may travel in the clear")
	}
}
