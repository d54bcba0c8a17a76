package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/internal/gateway"
)

// named answers with its name, and what it saw of the request.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		fmt.Fprintf(w, "%s %s %s %d", name, r.Host, r.Header.Get("X-Request-Id"), len(body))
	})
}

// authenticate takes a token for the name of its bearer.
func authenticate(r *http.Request) (conclave.Caller, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "no token")
	}
	return conclave.Caller{Tenant: "acme", Human: name}, nil
}

func nowhere(s conclave.Service) (string, error) {
	return "", conclave.Errorf(conclave.ErrUnavailable, "%s does not run", s)
}

func build(t *testing.T, change func(*gateway.Options)) *gateway.Gateway {
	t.Helper()
	o := gateway.Options{API: named("api"), MCP: named("mcp"), A2A: named("a2a"), Authenticate: authenticate, Resolve: nowhere}
	if change != nil {
		change(&o)
	}
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func do(g http.Handler, method, path, who string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader("{}"))
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+who)
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func TestRoutes(t *testing.T) {
	page := httptest.NewServer(named("page"))
	defer page.Close()
	g := build(t, func(o *gateway.Options) {
		o.MCPPaths = []string{"/.well-known/oauth-protected-resource/"}
		o.Resolve = func(conclave.Service) (string, error) { return page.URL, nil }
	})
	for path, want := range map[string]string{"/api/runs": "api", "/mcp": "mcp", "/.well-known/oauth-protected-resource/mcp": "mcp",
		"/a2a/agents/x": "a2a", "/": "page", "/login": "page", "/reports/r/md": "page"} {
		if w := do(g, http.MethodGet, path, "ada", nil); !strings.HasPrefix(w.Body.String(), want+" example.com") {
			t.Errorf("%s: %d %s, want an answer of %s that names the client's host", path, w.Code, w.Body, want)
		}
	}
	// A call of the page has a cookie and no token: its session is the monitor's.
	cookie := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "conclave_session", Value: "s"}) }
	if w := do(g, http.MethodGet, "/api/runs", "", cookie); !strings.HasPrefix(w.Body.String(), "page") {
		t.Errorf("a call of the page went to %s", w.Body)
	}
	if w := do(g, http.MethodGet, "/api/runs", "ada", cookie); !strings.HasPrefix(w.Body.String(), "api") {
		t.Errorf("a call with a token went to %s", w.Body)
	}
}

func TestRequestID(t *testing.T) {
	g := build(t, nil)
	seen := func(id string) string {
		w := do(g, http.MethodGet, "/api/runs", "ada", func(r *http.Request) { r.Header.Set("X-Request-Id", id) })
		got := w.Header().Get("X-Request-Id")
		if !strings.Contains(w.Body.String(), " "+got+" ") {
			t.Errorf("the client is told %q, the service %s", got, w.Body)
		}
		return got
	}
	if got := seen("trace-1.a"); got != "trace-1.a" {
		t.Errorf("the client's id became %q", got)
	}
	for _, bad := range []string{"", "two words", "a\"b", strings.Repeat("x", 65)} {
		if got := seen(bad); got == bad || !strings.HasPrefix(got, "req") {
			t.Errorf("%q became %q, want an id of ours", bad, got)
		}
	}
}

// shapes are the error forms of the protocols, and how to read kind and text there.
var shapes = []struct {
	name, method, path string
	read               func(body map[string]any) (kind, text string)
}{
	{"REST", http.MethodPost, "/api/runs", func(b map[string]any) (string, string) {
		return fmt.Sprint(b["kind"]), fmt.Sprint(b["detail"])
	}},
	{"MCP", http.MethodPost, "/mcp", func(b map[string]any) (string, string) {
		e := b["error"].(map[string]any)
		return fmt.Sprint(e["data"].(map[string]any)["kind"]), fmt.Sprint(e["message"])
	}},
	{"A2A JSON-RPC", http.MethodPost, "/a2a/agents/planner-1", func(b map[string]any) (string, string) {
		e := b["error"].(map[string]any)
		info := e["data"].([]any)[0].(map[string]any)
		return fmt.Sprint(info["metadata"].(map[string]any)["conclave/kind"]), fmt.Sprint(e["message"])
	}},
	{"A2A HTTP+JSON", http.MethodPost, "/a2a/agents/planner-1/message:send", func(b map[string]any) (string, string) {
		e := b["error"].(map[string]any)
		info := e["details"].([]any)[0].(map[string]any)
		return fmt.Sprint(info["metadata"].(map[string]any)["conclave/kind"]), fmt.Sprint(e["message"])
	}},
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shape := range shapes {
			g := build(t, func(o *gateway.Options) {
				o.Caller, o.Address = gateway.Rate{PerSecond: 0.5, Burst: 3}, gateway.Rate{PerSecond: 10, Burst: 12}
			})
			from := func(address string) func(*http.Request) {
				return func(r *http.Request) { r.RemoteAddr = net.JoinHostPort(address, "1234") }
			}
			refused := func(w *httptest.ResponseRecorder, who string) {
				t.Helper()
				var body map[string]any
				if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusTooManyRequests {
					t.Fatalf("%s: status %d, %s, %v; want 429", shape.name, w.Code, w.Body, err)
				}
				if kind, text := shape.read(body); kind != "limited" || !strings.Contains(text, who) {
					t.Errorf("%s: refused as %q: %q, want limited that names %s", shape.name, kind, text, who)
				}
				if n, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || n < 1 || n > 2 {
					t.Errorf("%s: Retry-After %q", shape.name, w.Header().Get("Retry-After"))
				}
			}
			for i := range 3 {
				if w := do(g, shape.method, shape.path, "ada", from("10.0.0.1")); w.Code != http.StatusOK {
					t.Fatalf("%s: call %d of a burst of 3: %d", shape.name, i, w.Code)
				}
			}
			refused(do(g, shape.method, shape.path, "ada", from("10.0.0.2")), "ada") // from elsewhere too
			if w := do(g, shape.method, shape.path, "bob", from("10.0.0.1")); w.Code != http.StatusOK {
				t.Errorf("%s: another caller pays for the first one: %d", shape.name, w.Code)
			}
			time.Sleep(2 * time.Second)
			if w := do(g, shape.method, shape.path, "ada", from("10.0.0.1")); w.Code != http.StatusOK {
				t.Errorf("%s: after a pause: %d", shape.name, w.Code)
			}
			for range 12 { // with tokens that are worth nothing
				do(g, shape.method, shape.path, "", from("10.0.0.3"))
			}
			refused(do(g, shape.method, shape.path, "", from("10.0.0.3")), "10.0.0.3")
			if w := do(g, shape.method, shape.path, "", from("10.0.0.4")); w.Code != http.StatusOK {
				t.Errorf("%s: another address pays for the first one: %d", shape.name, w.Code)
			}
			for i := range 12 { // one customer's IPv6 network is one address
				do(g, shape.method, shape.path, "", from(fmt.Sprintf("2001:db8::%x", i+1)))
			}
			refused(do(g, shape.method, shape.path, "", from("2001:db8::ffff")), "2001:db8::/64")
		}
	})
}

func TestForwardedForIsNotBelieved(t *testing.T) {
	g := build(t, func(o *gateway.Options) { o.Address = gateway.Rate{PerSecond: 0.001, Burst: 1} })
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		w := do(g, http.MethodGet, "/api/runs", "", func(r *http.Request) { r.Header.Set("X-Forwarded-For", fmt.Sprint("10.0.0.", i)) })
		if w.Code != want {
			t.Errorf("call %d with another X-Forwarded-For: %d, want %d", i, w.Code, want)
		}
	}
}

// Very many addresses don't grow the gateway without end, and a limited one is
// not let off by them.
func TestManyAddresses(t *testing.T) {
	g := build(t, func(o *gateway.Options) { o.Address = gateway.Rate{PerSecond: 0.001, Burst: 2} })
	for i := range 25_000 {
		w := do(g, http.MethodGet, "/api/runs", "", func(r *http.Request) { r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255) })
		if w.Code != http.StatusOK {
			t.Fatalf("address %d is refused at its first call: %d", i, w.Code)
		}
	}
}

func TestBodies(t *testing.T) {
	page := httptest.NewServer(named("page"))
	defer page.Close()
	g := build(t, func(o *gateway.Options) {
		o.MaxBody, o.A2A = 100, nil
		o.Resolve = func(conclave.Service) (string, error) { return page.URL, nil }
	})
	for _, shape := range shapes {
		size := func(n int, told bool) *httptest.ResponseRecorder {
			return do(g, shape.method, shape.path, "ada", func(r *http.Request) {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", n))), -1
				if told {
					r.ContentLength = int64(n)
				}
			})
		}
		if w := size(100, true); w.Code != http.StatusOK || !strings.HasSuffix(w.Body.String(), " 100") {
			t.Errorf("%s: 100 bytes of 100: %d %s", shape.name, w.Code, w.Body)
		}
		w := size(101, true)
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusRequestEntityTooLarge {
			t.Fatalf("%s: 101 bytes: %d %s", shape.name, w.Code, w.Body)
		}
		if kind, text := shape.read(body); kind != "invalid" || !strings.Contains(text, "100") {
			t.Errorf("%s: refused as %q: %q", shape.name, kind, text)
		}
		if w := size(101, false); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: 101 bytes that were not announced: %d %s", shape.name, w.Code, w.Body)
		}
	}
}

// A dead service costs only its own part, and is named.
func TestDeadService(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	l.Close() // nobody listens there now
	for why, resolve := range map[string]func(conclave.Service) (string, error){
		"not registered": nowhere,
		"registered":     func(conclave.Service) (string, error) { return dead, nil },
	} {
		g := build(t, func(o *gateway.Options) { o.A2A, o.Resolve = nil, resolve })
		for _, shape := range shapes[2:] {
			w := do(g, shape.method, shape.path, "ada", nil)
			var body map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusServiceUnavailable {
				t.Fatalf("%s, %s: %d %s", why, shape.name, w.Code, w.Body)
			}
			if kind, text := shape.read(body); kind != "unavailable" || !strings.Contains(text, "a2a-hub") {
				t.Errorf("%s, %s: %q: %q, want unavailable that names a2a-hub", why, shape.name, kind, text)
			}
		}
		if w := do(g, http.MethodGet, "/", "ada", nil); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "agent-monitor") {
			t.Errorf("%s: the page: %d %s", why, w.Code, w.Body)
		}
		for _, path := range []string{"/api/runs", "/mcp"} {
			if w := do(g, http.MethodPost, path, "ada", nil); w.Code != http.StatusOK {
				t.Errorf("%s: %s does not work without the hub: %d %s", why, path, w.Code, w.Body)
			}
		}
	}
}

func TestDocs(t *testing.T) {
	g := build(t, nil)
	for path, want := range map[string]string{"/api/docs": "docs.js", "/api/docs.js": "openapi.json", "/api/docs.css": "font"} {
		w := do(g, http.MethodGet, path, "", nil)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.100s", path, w.Code, w.Body)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s has no policy", path)
		}
		for _, word := range strings.Fields(w.Body.String()) { // nothing is fetched from elsewhere
			if u, err := url.Parse(strings.Trim(word, `"'();,`)); err == nil && u.Host != "" {
				t.Errorf("%s names %s", path, u)
			}
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]gateway.Rate{"off": {}, "20/s": {20, 40}, "600/m": {10, 20}, "1/m": {1. / 60, 1}, "5/s:100": {5, 100}} {
		if got, err := gateway.ParseRate(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "20", "20/h", "-1/s", "0/s", "x/s", "20/s:", "20/s:0", "1e9/s"} {
		if got, err := gateway.ParseRate(text); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%q is %+v, %v; want ErrInvalid", text, got, err)
		}
	}
}

func TestOptions(t *testing.T) {
	if _, err := gateway.New(gateway.Options{}); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}
