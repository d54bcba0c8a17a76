package modelrouter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"conclave"
)

// forward passes the request on and the answer back. The proxy of the standard
// library takes care of hop-by-hop headers, of flushing and of clients that
// leave; which upstream is asked is ours.
func (r *Router) forward(w http.ResponseWriter, req *http.Request, x *exchange, candidates []candidate) {
	proxy := httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { x.clean(p.Out) },
		Transport:     roundTripper(func(out *http.Request) (*http.Response, error) { return r.try(out, x, candidates) }),
		BufferPool:    &r.buffers,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			f := fault{http.StatusBadGateway, fmt.Sprintf("the %s provider can't be reached", x.chosen.Name)}
			switch {
			case errors.Is(err, conclave.ErrTimeout):
				f = fault{http.StatusGatewayTimeout, fmt.Sprintf("the %s provider did not answer in time", x.chosen.Name)}
			case errors.Is(err, conclave.ErrConflict): // no status that clients take for "ask again"
				f = fault{http.StatusForbidden, conclave.Text(err)}
			case errors.Is(err, conclave.ErrInvalid):
				f = fault{http.StatusBadRequest, conclave.Text(err)}
			case errors.Is(err, conclave.ErrUnavailable):
				f.message = conclave.Text(err)
			}
			f.write(w, x.wire)
		},
	}
	proxy.ServeHTTP(&patient{w, http.NewResponseController(w), r.bodyTime}, req)
}

// patient gives up a client that takes nothing of its answer for a while. What
// the provider says meanwhile waits at the provider.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	while   time.Duration
}

func (p *patient) Write(b []byte) (int, error) {
	// A writer that knows no deadline belongs to no connection that could be slow.
	_ = p.control.SetWriteDeadline(time.Now().Add(p.while))
	return p.ResponseWriter.Write(b)
}

func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// buffers are reused to copy answers.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if old, ok := b.pool.Get().(*[]byte); ok {
		return *old
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

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

// attempt is one upstream with one of its keys.
type attempt struct {
	candidate
	key *key
}

// attempts lists what is tried in one round: the upstreams in their order, each
// with its keys in theirs, but keys that rest last.
func (x *exchange) attempts(candidates []candidate, now time.Time) []attempt {
	var all []attempt
	for _, c := range candidates {
		keys := c.keys
		if x.ownKey {
			keys = []*key{{}}
		}
		for _, k := range keys {
			all = append(all, attempt{c, k})
		}
	}
	slices.SortStableFunc(all, func(a, b attempt) int { return btoi(a.key.trouble(now) != "") - btoi(b.key.trouble(now) != "") })
	return all
}

// try asks one upstream after another until one answers, round by round; the
// last one's answer counts, whatever it is.
func (r *Router) try(out *http.Request, x *exchange, candidates []candidate) (*http.Response, error) {
	for round := 0; ; round++ {
		var wait time.Duration // what an upstream asks for; the shortest
		again := !x.ownKey && x.metered && round < r.retries
		attempts := x.attempts(candidates, r.now())
		for i, a := range attempts {
			x.chosen = a
			resp, err := r.ask(out, x, i == len(attempts)-1 && !again)
			var busy *busyError
			switch {
			case err == nil:
				return resp, nil
			case !errors.As(err, &busy):
				return nil, err
			}
			x.fallback = append(x.fallback, a.Name+" "+busy.what)
			if wait == 0 || busy.wait < wait {
				wait = busy.wait
			}
			last := i == len(attempts)-1
			if last && (busy.final || !r.pause(out.Context(), wait, round)) {
				// It was held back for a round that does not come.
				return busy.resp, busy.err
			}
			busy.drop()
		}
	}
}

// busyError is an answer, or the lack of one, after which something else is tried.
type busyError struct {
	what  string
	wait  time.Duration // 0: it did not say
	final bool          // asking again would change nothing
	resp  *http.Response
	err   error
}

func (b *busyError) Error() string { return b.what }

func (b *busyError) drop() {
	if b.resp != nil {
		// Its text is of no use to anyone now.
		_ = b.resp.Body.Close()
	}
}

// pause waits before the next round; false when that would take too long.
func (r *Router) pause(ctx context.Context, asked time.Duration, round int) bool {
	wait := asked
	if wait == 0 {
		wait = r.backoff << round
		wait = wait/2 + rand.N(wait) // so that those who failed together do not come back together
	}
	if wait > r.maxWait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask asks the chosen upstream. A *busyError says that another one, or a later
// try, may do better; final takes whatever comes.
func (r *Router) ask(out *http.Request, x *exchange, final bool) (*http.Response, error) {
	a := x.chosen
	req, err := x.address(out, a)
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
	now := r.now()
	a.upstream.begins(now)
	a.key.begins(now)
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		leave()
		r.unanswered(out.Context(), x, call, err)
		if out.Context().Err() != nil {
			return nil, err
		}
		a.upstream.rests(reachability(err), r.now().Add(avoidance))
		r.log.Warn("a model provider can't be reached", "upstream", a.Name, "error", reachability(err))
		if final {
			return nil, err
		}
		return nil, &busyError{what: "can't be reached", final: errors.Is(err, conclave.ErrTimeout), err: err}
	}
	busy := r.judge(x, resp)
	if busy == nil || final {
		return r.pass(out, x, call, resp, leave)
	}
	if busy.resp, err = r.pass(out, x, call, resp, leave); err != nil {
		return nil, err
	}
	return nil, busy
}

// judge learns from an answer how upstream and key are, and tells whether
// something else should be tried.
func (r *Router) judge(x *exchange, resp *http.Response) *busyError {
	a, now, status := x.chosen, r.now(), resp.StatusCode
	busy := &busyError{what: fmt.Sprintf("answered %d", status), wait: retryAfter(resp.Header, now), final: resp.Header.Get("X-Should-Retry") == "false"}
	switch {
	case status == http.StatusTooManyRequests:
		a.upstream.answered()
		a.key.rests("it limits this key (429)", now.Add(min(max(busy.wait, restShort), restLong)))
	case status >= 500:
		a.upstream.failed(busy.what, now)
	case x.ownKey || (status != http.StatusUnauthorized && status != http.StatusPaymentRequired && status != http.StatusForbidden):
		a.upstream.answered()
		a.key.answered()
		return nil
	default:
		// No caller can mend the router's own key.
		a.upstream.answered()
		a.key.rests(fmt.Sprintf("it refuses this key (%d)", status), now.Add(restLong))
		r.log.Warn("a model provider refuses a key", "upstream", a.Name, "status", status)
		busy.final = true
	}
	return busy
}

// retryAfter is the wait that a provider asks for, or 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil && s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// pass makes an upstream's answer the caller's, and has its usage read on the way.
func (r *Router) pass(out *http.Request, x *exchange, call begun, resp *http.Response, leave func()) (*http.Response, error) {
	x.answer(resp)
	status := resp.StatusCode
	stream := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")
	if x.metered {
		if stream {
			resp.Body = newKeepAlive(resp.Body, x.chosen.Wire, r.keepAlive)
		}
		resp.Body = &meter{ReadCloser: resp.Body, wire: x.chosen.Wire, stream: stream, length: resp.ContentLength, linger: r.linger, leave: leave,
			done: func(u usage) { r.record(out.Context(), x, call, status, u) }}
	}
	if x.chosen.Wire != x.wire {
		return resp, r.translate(x, resp, stream)
	}
	return resp, nil
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
func (x *exchange) address(out *http.Request, a attempt) (*http.Request, error) {
	req := out.Clone(out.Context())
	req.URL = &url.URL{Scheme: a.base.Scheme, User: a.base.User, Host: a.base.Host, Path: a.base.Path + x.path, RawQuery: out.URL.RawQuery}
	req.Host = a.base.Host
	body, err := x.body, error(nil)
	switch {
	case a.Wire != x.wire:
		if body, err = x.across(req, a); err != nil {
			return nil, err
		}
	case body != nil && a.model != x.model:
		if body, err = withModel(body, x.at, a.model); err != nil {
			return nil, err
		}
	}
	if body != nil {
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.ContentLength = int64(len(body))
	}
	if !x.ownKey && a.key.secret != "" {
		if a.Wire == WireAnthropic {
			req.Header.Set("X-Api-Key", a.key.secret)
		} else {
			req.Header.Set("Authorization", "Bearer "+a.key.secret)
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
	if x.chosen.Wire != x.wire {
		route += "; translated for " + x.chosen.Name
	}
	for _, f := range x.fallback {
		route += "; " + f
	}
	resp.Header.Set(HeaderRoute, fmt.Sprintf("%s (%s)", x.chosen.model, route))
}
