package modelrouter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/llm"
	"conclave/internal/llmtest"
)

func completer(t *testing.T, wire, url string) func(context.Context, llm.Request) (llm.Response, error) {
	t.Helper()
	if wire == WireOpenAI {
		return completeOpenAI(url)
	}
	c, err := llm.NewAnthropic(llm.Options{BaseURL: url, Key: token, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c.Complete
}

// keyed is a provider that answers by the key: it notes which ones it saw.
type keyed struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newKeyed(t *testing.T, answer func(key string, n int) (status int, header string)) *keyed {
	k := &keyed{}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		key := r.Header.Get("x-api-key")
		k.seen = append(k.seen, key)
		n := len(k.seen)
		k.mu.Unlock()
		status, after := answer(key, n)
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"x","message":"by the provider"}}`)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *keyed) keys() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.seen)
}

func keysUp(url, keys string) Upstream {
	return Upstream{Name: "anthropic", Wire: WireAnthropic, URL: url, Key: keys}
}

func TestKeyPool(t *testing.T) {
	for name, refused := range map[string]int{"limited": 429, "revoked": 401, "unpaid": 402, "forbidden": 403} {
		t.Run(name, func(t *testing.T) {
			up := newKeyed(t, func(key string, _ int) (int, string) {
				if key == "k1" {
					return refused, ""
				}
				return 200, ""
			})
			now := time.Now()
			f := start(t, func(o *Options) { o.Clock = func() time.Time { return now } }, keysUp(up.URL, "k1, k2,"))
			for range 3 {
				if resp, body := post(t, f.url+"/v1/messages", message("m"), "x-api-key", token); resp.StatusCode != 200 {
					t.Fatalf("%d %s", resp.StatusCode, body)
				}
			}
			if got := strings.Join(up.keys(), " "); got != "k1 k2 k2 k2" {
				t.Errorf("the provider saw the keys %s", got)
			}
			now = now.Add(restLong)
			post(t, f.url+"/v1/messages", message("m"), "x-api-key", token)
			if got := strings.Join(up.keys()[4:], " "); got != "k1 k2" {
				t.Errorf("after its rest, the provider saw the keys %s", got)
			}
			if strings.Contains(f.log.String(), "k1") {
				t.Error("a key shows in the log")
			}
		})
	}
	t.Run("all revoked", func(t *testing.T) {
		up := newKeyed(t, func(string, int) (int, string) { return 401, "" })
		f := start(t, nil, keysUp(up.URL, "k1,k2"))
		resp, body := post(t, f.url+"/v1/messages", message("m"), "x-api-key", token)
		if resp.StatusCode != 401 || !strings.Contains(body, "by the provider") || len(up.keys()) != 2 {
			t.Errorf("%d %s after %v", resp.StatusCode, body, up.keys())
		}
		if ups, err := f.router.Upstreams(t.Context(), conclave.None{}); err != nil || !strings.Contains(ups[0].Problem, "refuses this key (401)") {
			t.Errorf("%+v, %v", ups, err)
		}
		if strings.Contains(body, "k2") || f.ledger.pending() != 0 {
			t.Errorf("%s; %d calls are under way", body, f.ledger.pending())
		}
	})
}

func TestRetries(t *testing.T) {
	for name, tt := range map[string]struct {
		statuses []int
		after    string
		own      bool
		want     int
		asked    int
	}{
		"overloaded once":        {[]int{529, 200}, "", false, 200, 2},
		"limited, asks for less": {[]int{429, 200}, "0.001", false, 200, 2},
		"limited, asks for more": {[]int{429, 200}, "3600", false, 429, 1},
		"always failing":         {[]int{500, 500, 500, 500}, "", false, 500, 3},
		"with the caller's key":  {[]int{529, 200}, "", true, 529, 1},
		"its own fault":          {[]int{400, 200}, "", false, 400, 1},
		"too large":              {[]int{413, 200}, "", false, 413, 1},
		"no such model":          {[]int{404, 200}, "", false, 404, 1},
	} {
		t.Run(name, func(t *testing.T) {
			up := newKeyed(t, func(_ string, n int) (int, string) { return tt.statuses[n-1], tt.after })
			f := start(t, nil, keysUp(up.URL, "k1"))
			path, key := "/v1/messages", token
			if tt.own {
				path, key = "/k/"+token+path, own
			}
			resp, body := post(t, f.url+path, message("m"), "x-api-key", key)
			if resp.StatusCode != tt.want || len(up.keys()) != tt.asked || !strings.Contains(body, "by the provider") {
				t.Errorf("%d %s after %d tries", resp.StatusCode, body, len(up.keys()))
			}
			if resp.Header.Get("Retry-After") != tt.after {
				t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
			}
			if n := len(f.ledger.all()); n != tt.asked || f.ledger.pending() != 0 {
				t.Errorf("%d calls recorded, %d under way", n, f.ledger.pending())
			}
			for _, c := range f.ledger.all() {
				if c.Status >= 400 && (c.CostUSD == nil || *c.CostUSD != 0) {
					t.Errorf("an error is billed: %+v", c)
				}
			}
		})
	}
}

// An upstream that fails again and again is tried last, until one trial works.
func TestBreaker(t *testing.T) {
	works := false
	bad := newKeyed(t, func(string, int) (int, string) {
		if works {
			return 200, ""
		}
		return 500, ""
	})
	good := newKeyed(t, func(string, int) (int, string) { return 200, "" })
	now := time.Now()
	f := start(t, func(o *Options) { o.Clock = func() time.Time { return now } }, keysUp(bad.URL, "k"), keysUp(good.URL, "k"))
	ask := func() {
		if resp, body := post(t, f.url+"/v1/messages", message("m"), "x-api-key", token); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	for range tolerance + 4 {
		ask()
	}
	if n := len(bad.keys()); n != tolerance {
		t.Errorf("the failing upstream was asked %d times, want %d", n, tolerance)
	}
	now = now.Add(avoidance)
	ask()
	ask()
	if n := len(bad.keys()); n != tolerance+1 {
		t.Errorf("after a failed trial, it was asked %d times, want %d", n, tolerance+1)
	}
	works, now = true, now.Add(avoidance)
	ask()
	ask()
	if n := len(bad.keys()); n != tolerance+3 {
		t.Errorf("after a trial that worked, it was asked %d times, want %d", n, tolerance+3)
	}
}

func TestCompressedRequestIsRefused(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, nil, anthropicUp(up.URL))
	resp, body := post(t, f.url+"/v1/messages", "\x1f\x8b\x08", "x-api-key", token, "content-encoding", "gzip")
	if resp.StatusCode != 415 || !strings.Contains(body, `encoded as \"gzip\"`) || len(up.Calls()) != 0 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// A compressed answer that nobody asked for is never opened.
func TestCompressedAnswer(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "\x1f\x8b\x08")
	}))
	defer up.Close()
	f := start(t, nil, openaiUp(up.URL))
	if resp, body := post(t, f.url+"/v1/messages", message("m"), "x-api-key", token); resp.StatusCode != 502 || !strings.Contains(body, "compressed") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := post(t, f.url+"/v1/chat/completions", message("m"), "x-api-key", token, "accept-encoding", "gzip"); resp.StatusCode != 200 || body != "\x1f\x8b\x08" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestSlowRequestIsGivenUp(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, func(o *Options) { o.BodyTime = 30 * time.Millisecond }, anthropicUp(up.URL))
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nContent-Length: 100\r\n\r\n{\"mod", token)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "timeout_error") || len(up.Calls()) != 0 {
		t.Errorf("%v %s", err, answer)
	}
}

// What a client does not take stays at the provider, and the client is given up.
func TestSlowReader(t *testing.T) {
	sent := make(chan int, 1)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		event := "data: " + strings.Repeat("x", 64<<10) + "\n\n"
		n := 0
		for r.Context().Err() == nil {
			written, err := io.WriteString(w, event)
			n += written
			if err != nil {
				break
			}
		}
		sent <- n
	}))
	defer up.Close()
	f := start(t, func(o *Options) { o.BodyTime = 100 * time.Millisecond }, anthropicUp(up.URL))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/v1/messages", strings.NewReader(`{"model":"m","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-api-key", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	select {
	case n := <-sent:
		// What the kernel's buffers of both connections hold, and what is read on
		// for the bill.
		t.Logf("the provider sent %d bytes", n)
	case <-time.After(20 * time.Second):
		t.Fatal("a client that reads nothing is never given up")
	}
}

// What breaks after the first byte must show as broken, on either wire and
// across: clients then ask again, and no half answer passes for a whole one.
func TestCutAnswers(t *testing.T) {
	for _, client := range []string{WireAnthropic, WireOpenAI} {
		for _, wire := range []string{WireAnthropic, WireOpenAI} {
			up := llmtest.New(t, llmtest.Sequence(llmtest.Answer{Text: "half of it", Fault: llmtest.Cut}))
			upstream := anthropicUp(up.URL)
			if wire == WireOpenAI {
				upstream = openaiUp(up.URL)
			}
			f := start(t, nil, upstream)
			_, err := completer(t, client, f.url)(t.Context(), llm.Request{Model: TierSmall, Messages: []llm.Message{llm.User("go")}})
			if !errors.Is(err, conclave.ErrUnavailable) || len(up.Calls()) != 1 {
				t.Errorf("%s client, %s provider: %v after %d calls", client, wire, err, len(up.Calls()))
			}
		}
	}
}

// An answer that is shorter than it says must not pass for a whole one.
func TestWrongContentLength(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4096")
		_, _ = io.WriteString(w, `{"id":`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer up.Close()
	ask := func(f fixture) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/v1/messages", strings.NewReader(message("m")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-api-key", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return resp.StatusCode, err
	}
	f := start(t, nil, anthropicUp(up.URL))
	if _, err := ask(f); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short answer ends with %v", err)
	}
	if c := f.ledger.all(); len(c) != 1 || c[0].InputTokens != nil {
		t.Errorf("recorded %+v", c)
	}
	if status, err := ask(start(t, nil, openaiUp(up.URL))); status != 502 || err != nil {
		t.Errorf("translated: %d, %v", status, err)
	}
}

// An error in a stream passes as it is, and the accounts have what it had cost.
func TestErrorInStreamPassesVerbatim(t *testing.T) {
	const stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":70,\"output_tokens\":1}}}\n\n" +
		"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, stream)
	}))
	defer up.Close()
	f := start(t, nil, anthropicUp(up.URL))
	if _, body := post(t, f.url+"/v1/messages", `{"model":"m","stream":true}`, "x-api-key", token); body != stream {
		t.Errorf("it became %s", body)
	}
	if c := f.ledger.all(); len(c) != 1 || count(c[0].InputTokens) != 70 {
		t.Errorf("recorded %+v", c)
	}
}

// Each error of a provider reaches the client byte for byte, with the headers
// by which it recovers; no other upstream is there.
func TestEveryErrorPassesVerbatim(t *testing.T) {
	for _, status := range []int{400, 401, 402, 403, 404, 413, 429, 500, 503, 529} {
		raw, err := json.Marshal(map[string]any{"type": "error", "error": map[string]any{"type": "t", "message": fmt.Sprintf("é <%d>", status)}})
		if err != nil {
			t.Fatal(err)
		}
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("request-id", "req_1")
			w.Header().Set("anthropic-ratelimit-requests-remaining", "0")
			w.WriteHeader(status)
			_, _ = w.Write(raw)
		}))
		f := start(t, nil, anthropicUp(up.URL))
		for _, path := range []string{"/v1/messages", "/k/" + token + "/v1/messages"} {
			resp, body := post(t, f.url+path, message("m"), "x-api-key", map[bool]string{true: token, false: own}[path == "/v1/messages"])
			if resp.StatusCode != status || body != string(raw) || resp.Header.Get("request-id") != "req_1" || resp.Header.Get("anthropic-ratelimit-requests-remaining") != "0" {
				t.Errorf("%d became %d %s %v", status, resp.StatusCode, body, resp.Header)
			}
		}
		up.Close()
	}
}
