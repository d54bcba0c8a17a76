package llm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/llm"
	"conclave/internal/llmtest"
)

const key = "sk-very-secret-key-0123456789"

// against runs a test against a scripted provider.
func against(t *testing.T, script llmtest.Script, change func(*llm.Options), test func(t *testing.T, c *llm.Anthropic, s *llmtest.Server)) {
	t.Helper()
	s := llmtest.New(t, script)
	o := llm.Options{BaseURL: s.URL, Key: key, Backoff: time.Millisecond}
	if change != nil {
		change(&o)
	}
	test(t, dial(t, o), s)
}

func dial(t *testing.T, o llm.Options) *llm.Anthropic {
	t.Helper()
	c, err := llm.NewAnthropic(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ask() llm.Request {
	return llm.Request{
		Model: "scripted", System: "Be brief.", Messages: []llm.Message{llm.User("What is in main.go?")},
		Tools:  []llm.Tool{{Name: "read", Description: "Reads a file.", Schema: json.RawMessage(`{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}`)}},
		Header: map[string]string{"x-conclave-run": "run-1"},
	}
}

func TestConversationWithTools(t *testing.T) {
	text := "The file prints “hello, 世界” and then exits with status 0."
	script := func(c llmtest.Call) llmtest.Answer {
		if len(c.Last().Results) == 0 {
			a := llmtest.Use("read", map[string]string{"path": "a folder/" + strings.Repeat("long-", 20) + "main.go"})
			a.Thinking = "I should read the file."
			a.Text = "Let me look."
			a.Usage = &llmtest.Usage{Input: 11, Output: 7, CacheRead: 5, CacheWrite: 3}
			return a
		}
		return llmtest.Say(text)
	}
	against(t, script, nil, func(t *testing.T, c *llm.Anthropic, s *llmtest.Server) {
		r := ask()
		first, err := c.Complete(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if first.Stop != llm.StopTools || len(first.Calls) != 1 || first.Calls[0].Name != "read" || first.Text != "Let me look." {
			t.Fatalf("first answer: %+v", first)
		}
		var in struct{ Path string }
		if err := json.Unmarshal(first.Calls[0].Input, &in); err != nil || in.Path != "a folder/"+strings.Repeat("long-", 20)+"main.go" {
			t.Fatalf("input %s: %v", first.Calls[0].Input, err)
		}
		if want := (llm.Usage{Calls: 1, Input: 11, Output: 7, CacheRead: 5, CacheWrite: 3}); first.Usage != want {
			t.Errorf("usage %+v, want %+v", first.Usage, want)
		}
		r.Messages = append(r.Messages, first.Message, llm.Results(llm.ToolResult{ID: first.Calls[0].ID, Text: "package main", Error: true}))
		second, err := c.Complete(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if second.Stop != llm.StopEnd || second.Text != text {
			t.Fatalf("second answer: %+v", second)
		}
		total := first.Usage
		total.Add(second.Usage)
		if u := s.Usage(); total != (llm.Usage{Calls: u.Requests, Input: u.Input, Output: u.Output, CacheRead: u.CacheRead, CacheWrite: u.CacheWrite}) {
			t.Errorf("usage %+v, the endpoint claimed %+v", total, u)
		}
		calls := s.Calls()
		if calls[0].System != "Be brief." || calls[0].Header.Get("x-conclave-run") != "run-1" || !calls[0].Stream {
			t.Errorf("first request: %+v", calls[0])
		}
		var got, want any
		if err := json.Unmarshal(calls[0].Tools[0].Schema, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ask().Tools[0].Schema, &want); err != nil {
			t.Fatal(err)
		}
		if g, _ := json.Marshal(got); !bytes.Equal(g, must(json.Marshal(want))) {
			t.Errorf("schema %s", calls[0].Tools[0].Schema)
		}
		last := calls[1].Last()
		if len(last.Results) != 1 || !strings.Contains(last.Results[0].Text, "package main") || last.Results[0].ID != first.Calls[0].ID {
			t.Errorf("result: %+v", last)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		answer llmtest.Answer
		kind   error
		tries  int
		text   string
	}{
		"unauthorized": {llmtest.Fail(401, "invalid key "+key), conclave.ErrDenied, 1, "invalid key [key]"},
		"forbidden":    {llmtest.Fail(403, "not for you"), conclave.ErrDenied, 1, "not for you"},
		"bad request":  {llmtest.Fail(400, "max_tokens: too many"), conclave.ErrInvalid, 1, "max_tokens: too many"},
		"no model":     {llmtest.Fail(404, "model: gone"), conclave.ErrNotFound, 1, "gone"},
		"too large":    {llmtest.Fail(413, "too large"), conclave.ErrInvalid, 1, "too large"},
		"limited":      {llmtest.Fail(429, "slow down"), conclave.ErrLimited, 3, "slow down"},
		"broken":       {llmtest.Fail(500, "oops"), conclave.ErrUnavailable, 3, "oops"},
		"overloaded":   {llmtest.Fail(529, "overloaded"), conclave.ErrUnavailable, 3, "overloaded"},
		"limited long": {llmtest.Answer{Status: 429, RetryAfter: time.Hour}, conclave.ErrLimited, 1, "429"},
		"refusal":      {llmtest.Answer{Text: "I will not do that.", Fault: llmtest.Refuse}, conclave.ErrUnsupported, 1, "I will not do that."},
		"stall":        {llmtest.Answer{Text: "so…", Fault: llmtest.Stall}, conclave.ErrTimeout, 1, "silent for 200ms"},
		"cut":          {llmtest.Answer{Text: "so…", Fault: llmtest.Cut}, conclave.ErrUnavailable, 3, "broke off"},
		"garbage":      {llmtest.Answer{Text: "so…", Fault: llmtest.Garbage}, conclave.ErrUnavailable, 3, "answer"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			change := func(o *llm.Options) {
				o.Tries, o.Idle = 3, 200*time.Millisecond
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			}
			against(t, llmtest.Sequence(tt.answer), change, func(t *testing.T, c *llm.Anthropic, s *llmtest.Server) {
				log.Reset()
				r, err := c.Complete(t.Context(), ask())
				if !errors.Is(err, tt.kind) {
					t.Fatalf("error %v, want kind %v", err, tt.kind)
				}
				if !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %q does not say %q", err, tt.text)
				}
				if n := len(s.Calls()); n != tt.tries {
					t.Errorf("%d requests, want %d", n, tt.tries)
				}
				if strings.Contains(err.Error()+log.String(), key) {
					t.Errorf("the key shows in %q or %q", err, log.String())
				}
				if u := s.Usage(); r.Usage.Input != u.Input {
					t.Errorf("input %d, the endpoint claimed %d", r.Usage.Input, u.Input)
				}
			})
		})
	}
}

func TestRetriesUntilItAnswers(t *testing.T) {
	script := llmtest.Sequence(llmtest.Fail(529, "overloaded"), llmtest.Answer{Status: 429, RetryAfter: 2 * time.Millisecond},
		llmtest.Answer{Text: "half of", Fault: llmtest.Cut}, llmtest.Say("fine"))
	against(t, script, nil, func(t *testing.T, c *llm.Anthropic, s *llmtest.Server) {
		r, err := c.Complete(t.Context(), ask())
		if err != nil || r.Text != "fine" {
			t.Fatalf("%q, %v", r.Text, err)
		}
		if got, want := r.Usage.Output, s.Usage().Output; got != want {
			t.Errorf("output %d, the endpoint claimed %d", got, want)
		}
	})
}

// The error that an overloaded provider sends after the stream has begun has
// status 200 on its HTTP response.
func TestErrorEventInTheStream(t *testing.T) {
	tries := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tries++
		w.Header().Set("content-type", "text/event-stream")
		_, _ = w.Write([]byte("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no such beta\"}}\n\n"))
	})
	c := dial(t, llm.Options{BaseURL: s, Backoff: time.Millisecond})
	_, err := c.Complete(t.Context(), ask())
	if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), "no such beta") || tries != 1 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestStopsAtTheLimit(t *testing.T) {
	against(t, llmtest.Sequence(llmtest.Answer{Text: "and so", Length: true}), nil, func(t *testing.T, c *llm.Anthropic, s *llmtest.Server) {
		r, err := c.Complete(t.Context(), ask())
		if err != nil || r.Stop != llm.StopLength {
			t.Errorf("stop %q, %v", r.Stop, err)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String() + "/k/" + key
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = dial(t, llm.Options{BaseURL: address, Backoff: time.Millisecond, Tries: 2}).Complete(t.Context(), ask())
	if !errors.Is(err, conclave.ErrUnavailable) || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	if strings.Contains(err.Error(), key) {
		t.Errorf("the token of the path shows in %q", err)
	}
}

func TestCancelEndsTheRequest(t *testing.T) {
	asked := make(chan struct{}, 1)
	script := func(llmtest.Call) llmtest.Answer {
		asked <- struct{}{}
		return llmtest.Answer{Text: "wait", Fault: llmtest.Stall}
	}
	against(t, script, nil, func(t *testing.T, c *llm.Anthropic, s *llmtest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := c.Complete(ctx, ask())
			done <- err
		}()
		<-asked
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if err := s.AwaitLeavers(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestBadAddress(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:8001", "ftp://host/" + key, "http://"} {
		_, err := llm.NewAnthropic(llm.Options{BaseURL: address})
		if !errors.Is(err, conclave.ErrInvalid) || strings.Contains(err.Error(), key) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
