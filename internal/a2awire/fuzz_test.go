package a2awire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"conclave"
)

// pushRunner is a Runner that keeps push configurations, so that their decoders
// are reached.
type pushRunner struct {
	*Runner
	mu   sync.Mutex
	kept map[string]PushConfig
}

func (p *pushRunner) CheckPush(_ context.Context, c PushConfig) error {
	if !strings.HasPrefix(c.URL, "http") {
		return conclave.Errorf(conclave.ErrInvalid, "no address")
	}
	return nil
}

func (p *pushRunner) SavePush(ctx context.Context, c PushConfig, _ bool) (PushConfig, error) {
	if err := p.CheckPush(ctx, c); err != nil {
		return c, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) < 16 {
		p.kept[string(c.Task)+" "+c.ID] = c
	}
	return c, nil
}

func (p *pushRunner) PushConfigs(_ context.Context, task conclave.TaskID) (out []PushConfig, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.kept {
		if c.Task == task {
			out = append(out, c)
		}
	}
	return out, nil
}

func (p *pushRunner) DeletePush(_ context.Context, task conclave.TaskID, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.kept, string(task)+" "+id)
	return nil
}

// fuzzed is an agent that repeats what it hears, to callers who may speak.
func fuzzed(f *testing.F) http.Handler {
	quiet := slog.New(slog.DiscardHandler)
	runner := NewRunner(RunnerOptions{Name: "echo", Repeats: true, Keep: 8, Logger: quiet,
		Handle: func(_ context.Context, in Incoming) (Outgoing, error) {
			return Outgoing{Text: in.Text, Data: in.Data, Ask: in.Text == "ask", Message: in.Text == "say"}, nil
		}})
	f.Cleanup(runner.Close)
	card := Card{Name: "echo"}
	server := NewServer(ServerOptions{Logger: quiet, Tasks: &pushRunner{Runner: runner, kept: map[string]PushConfig{}},
		Card: func(*http.Request) (Card, error) { return card, nil }, Extended: func(context.Context) (Card, error) { return card, nil }})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada", Permissions: []conclave.Permission{conclave.PermitSpeak}}
		server.ServeHTTP(w, r.WithContext(conclave.WithCaller(r.Context(), caller)))
	})
}

func versions() []string { return []string{"1.0", "", "0.3", "9.9"} }

// answerTo serves one request, and checks the shape of the answer: JSON, or
// events of JSON, and never an internal error, whatever was sent.
func answerTo(t *testing.T, h http.Handler, method, path, version string, body []byte) {
	t.Helper()
	r := httptest.NewRequest(method, "http://agent/", bytes.NewReader(body))
	r.URL.Path = path
	r.Header.Set("Content-Type", "application/json")
	if version != "" {
		r.Header.Set("A2A-Version", version)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code/100 == 3 { // a path with dots in it
		return
	}
	texts := []string{w.Body.String()}
	switch kind := w.Header().Get("Content-Type"); {
	case strings.HasPrefix(kind, "text/event-stream"):
		texts = nil
		for event := range strings.SplitSeq(w.Body.String(), "\n\n") {
			if data, ok := strings.CutPrefix(event, "data: "); ok {
				texts = append(texts, data)
			}
		}
	case kind == "", strings.HasPrefix(kind, "text/plain"): // a path or a method that is not there
		if w.Code == http.StatusOK && w.Body.Len() > 0 || w.Code >= 500 {
			t.Fatalf("%s %q, A2A-Version %q, %q: %d %s", method, path, version, body, w.Code, w.Body)
		}
		return
	}
	for _, text := range texts {
		if !json.Valid([]byte(text)) || w.Code >= 500 || strings.Contains(text, `"code":-32603`) || strings.Contains(text, `"code":500`) && w.Code != http.StatusOK {
			t.Fatalf("%s %q, A2A-Version %q, %q: %d %s", method, path, version, body, w.Code, text)
		}
	}
}

// FuzzJSONRPC sends bodies of JSON-RPC of all versions, those of 0.3 and of push
// configurations among them.
func FuzzJSONRPC(f *testing.F) {
	for i, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"},{"data":{"a":[1,2]}}]},"configuration":{"historyLength":0}}}`,
		`{"jsonrpc":"2.0","id":"x","method":"SendStreamingMessage","params":{"message":{"message_id":"m","role":"ROLE_USER","parts":[{"text":"say"}],"metadata":{"a_b":{"c_d":1}}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"raw":"dGNr","mediaType":"x/y"}],"taskId":"t"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"pageSize":2,"pageToken":"x","status":"TASK_STATE_WORKING","statusTimestampAfter":"2026-01-01T00:00:00Z"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"t","history_length":-1}}`,
		`{"jsonrpc":"2.0","id":1,"method":"CancelTask","params":{"id":"t"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"SubscribeToTask","params":{"id":"t"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"CreateTaskPushNotificationConfig","params":{"taskId":"t","id":"p","url":"http://x/","authentication":{"scheme":"Bearer","credentials":"c"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"GetTaskPushNotificationConfig","params":{"taskId":"t","id":"p"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"GetExtendedAgentCard"}`,
		`{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"kind":"message","messageId":"m","role":"user","parts":[{"kind":"text","text":"hi"},{"kind":"file","file":{"uri":"http://x/","mimeType":"a/b"}}]}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"message/stream","params":{"message":{"kind":"message","messageId":"m","role":"user","parts":[{"kind":"data","data":{"a":1}}]},"configuration":{"pushNotificationConfig":{"url":"http://x/","authentication":{"schemes":["Bearer"]}}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/resubscribe","params":{"id":"t"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"id":"t","historyLength":1}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/pushNotificationConfig/set","params":{"taskId":"t","pushNotificationConfig":{"url":"http://x/"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/pushNotificationConfig/list","params":{"id":"t"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/pushNotificationConfig/delete","params":{"id":"t","pushNotificationConfigId":"p"}}`,
		`[{"jsonrpc":"2.0"}]`, `{"jsonrpc":"2.0","id":{},"method":"x"}`, `{"jsonrpc":"2.0","method":"GetTask","params":[1]}`, `null`, `{`, "",
		strings.Repeat(`[`, 200),
	} {
		f.Add([]byte(seed), uint8(i))
		f.Add([]byte(seed), uint8(i+1))
	}
	h := fuzzed(f)
	f.Fuzz(func(t *testing.T, body []byte, version uint8) {
		answerTo(t, h, "POST", "/", versions()[int(version)%len(versions())], body)
	})
}

// FuzzHTTPJSON sends requests of HTTP+JSON, of 1.0 and, below /v1, of 0.3.
func FuzzHTTPJSON(f *testing.F) {
	for i, seed := range [][3]string{
		{"POST", "/message:send", `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}]}}`},
		{"POST", "/message:stream", `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"data":7}]}}`},
		{"GET", "/tasks", ""}, {"GET", "/tasks/t", ""}, {"GET", "/tasks/t:subscribe", ""}, {"POST", "/tasks/t:cancel", `{}`},
		{"POST", "/tasks/t:subscribe", ""}, {"POST", "/tasks/t/pushNotificationConfigs", `{"url":"http://x/","id":"p"}`},
		{"GET", "/tasks/t/pushNotificationConfigs/p", ""}, {"DELETE", "/tasks/t/pushNotificationConfigs/p", ""}, {"GET", "/extendedAgentCard", ""},
		{"POST", "/v1/message:send", `{"message":{"messageId":"m","role":"ROLE_USER","content":[{"text":"hi"}]}}`},
		{"POST", "/v1/message:stream", `{"request":{"message_id":"m","role":"ROLE_USER","content":[{"data":{"data":{"a":1}}}]}}`},
		{"GET", "/v1/tasks/t", ""}, {"GET", "/v1/tasks/t:subscribe", ""}, {"POST", "/v1/tasks/t:cancel", "{}"}, {"GET", "/v1/card", ""},
		{"POST", "/v1/tasks/t/pushNotificationConfigs", `{"configId":"p","config":{"pushNotificationConfig":{"url":"http://x/"}}}`},
		{"PATCH", "//..", "x"},
	} {
		f.Add(seed[0], seed[1], []byte(seed[2]), uint8(i))
		f.Add(seed[0], seed[1], []byte(seed[2]), uint8(0))
	}
	h := fuzzed(f)
	f.Fuzz(func(t *testing.T, method, path string, body []byte, version uint8) {
		if _, err := http.NewRequest(method, "http://agent/", nil); err != nil || !strings.HasPrefix(path, "/") || path == "/" {
			t.Skip("no request of HTTP has that")
		}
		answerTo(t, h, method, path, versions()[int(version)%len(versions())], body)
	})
}

// FuzzCamelCase checks that spelling changes names only, and what is under
// metadata and data not at all.
func FuzzCamelCase(f *testing.F) {
	for _, seed := range []string{`{"task_id":"a","message":{"message_id":"b","metadata":{"x_y":1}}}`, `{"a_b":1,"aB":2}`, `[{"a__b":1e400}]`, `{"data":{"a_b":1}}`, `{"_":{"a_":0}}`, `{"a_b":`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out := camelCase(text)
		if json.Valid(text) != json.Valid(out) {
			t.Fatalf("%q became %q", text, out)
		}
		if again := camelCase(out); json.Valid(text) && depth(out) != depth(text) || !bytes.Equal(camelCase(again), again) {
			t.Fatalf("%q became %q, then %q", text, out, again)
		}
	})
}

// FuzzDepth compares the depth of valid JSON with what a decoder finds.
func FuzzDepth(f *testing.F) {
	for _, seed := range []string{`{"a":[{}]}`, `"[[["`, `{"\"[":"\\"}`, `[`, `[[]`, `[]]`, "\"\\"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := depth(text) // never panics
		if !json.Valid(text) {
			return
		}
		want, now := 0, 0
		for d := json.NewDecoder(bytes.NewReader(text)); ; {
			token, err := d.Token()
			if err != nil {
				break
			}
			switch token {
			case json.Delim('{'), json.Delim('['):
				now++
				want = max(want, now)
			case json.Delim('}'), json.Delim(']'):
				now--
			}
		}
		if got != want {
			t.Fatalf("%q is %d deep, not %d", text, want, got)
		}
	})
}

// FuzzAnswers lets agents answer our client with anything, as a stream or as
// JSON, in both versions: it ends with an answer, or an error with a kind.
func FuzzAnswers(f *testing.F) {
	const task = `{"task":{"id":"r","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"},"artifacts":[{"artifactId":"a","parts":[{"text":"hi"},{"data":{"a":1}}]}]}}`
	for _, seed := range []string{
		"data: {\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":" + task + "}\n\n",
		"data: {\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":{\"message\":{\"messageId\":\"m\",\"role\":\"ROLE_AGENT\",\"parts\":[{\"url\":\"x\"}]}}}\n\n",
		"data: {\"jsonrpc\":\"2.0\",\"result\":{\"statusUpdate\":{\"taskId\":\"r\",\"status\":{\"state\":\"TASK_STATE_FAILED\",\"message\":{\"parts\":[{}]}}}}}\n\n",
		"data: {\"jsonrpc\":\"2.0\",\"result\":{\"artifactUpdate\":{\"taskId\":\"r\",\"append\":true,\"artifact\":null}}}\n\n",
		"data: {\"jsonrpc\":\"2.0\",\"result\":{\"kind\":\"status-update\",\"taskId\":\"r\",\"final\":true,\"status\":{\"state\":\"completed\"}}}\n\n",
		"data: {\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,\"message\":\"no\",\"data\":[{\"@type\":7}]}}\n\n",
		": hello\n\ndata: 7\ndata:\n\nevent: x\nid: \x00\n\n", `{"jsonrpc":"2.0","id":"1","result":` + task + `}`, `{"error":{"code":503,"details":[null]}}`, "<html>", "",
	} {
		for how := range uint8(8) {
			f.Add([]byte(seed), how)
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, how uint8) {
		agent := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kind := plainJSON
			if how&1 != 0 {
				kind = eventStream
			}
			w.Header().Set("Content-Type", kind)
			if how&2 != 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write(said)
		})
		synctest.Test(t, func(t *testing.T) {
			local := &Local{}
			local.Serve("agent", agent)
			face := conclave.CardInterface{URL: "local://agent", Binding: "JSONRPC", Version: "1.0"}
			if how&4 != 0 {
				face.Version = "0.3"
			}
			c, err := Dial(t.Context(), DialOptions{Interfaces: []conclave.CardInterface{face}, Transport: local, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			result, err := c.Send(t.Context(), Outbound{ID: "m", Text: "x"}, nil)
			if err != nil && conclave.KindOf(err) == conclave.ErrInternal && !errors.Is(err, conclave.ErrInternal) {
				t.Fatalf("%q: %v has no kind", said, err)
			}
			if err == nil && !resting(result.State) {
				t.Fatalf("%q: the end is %q", said, result.State)
			}
			if len(result.Data) > 0 && !json.Valid(result.Data) {
				t.Fatalf("%q: the data is %q", said, result.Data)
			}
		})
	})
}

// FuzzReadCard reads cards of strangers: what it returns can be used, and what it
// refuses is invalid.
func FuzzReadCard(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","version":"1","supportedInterfaces":[{"url":"https://x/","protocolBinding":"JSONRPC","protocolVersion":"1.0"},null],"skills":[{"id":"s","tags":null}]}`,
		`{"protocolVersion":"0.3.0","name":"a","url":"http://x/","preferredTransport":"JSONRPC","additionalInterfaces":[{"url":"http://y","transport":"HTTP+JSON"}],"security":[{"k":[]}],"securitySchemes":{"k":{"type":"apiKey","in":"header","name":"X"}}}`,
		`{"name":"a","capabilities":{"extensions":[{"uri":"urn:conclave:a2a:voting:1","params":{"jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}}]},"provider":null}`,
		`{"name":1}`, `[]`, `{"name":"a","supportedInterfaces":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		report, err := ReadCard(text)
		if err != nil {
			if !errors.Is(err, conclave.ErrInvalid) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for _, face := range Usable(report.Interfaces) {
			if !strings.HasPrefix(face.URL, "http") {
				t.Fatalf("%q: %v is no address", text, face)
			}
		}
		if strings.TrimSpace(report.Name) == "" {
			t.Fatalf("%q: nobody's card was read", text)
		}
	})
}

// TestAnswersAreBounded reads answers without an end.
func TestAnswersAreBounded(t *testing.T) {
	for name, kind := range map[string]string{"JSON": plainJSON, "a stream": eventStream} {
		t.Run(name, func(t *testing.T) {
			var gave int
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", kind)
				begin := `{"jsonrpc":"2.0","result":"`
				if kind == eventStream {
					begin = ""
				}
				_, err := io.WriteString(w, begin)
				chunk := bytes.Repeat([]byte("a"), 1<<16)
				if kind == eventStream {
					chunk = append(append([]byte("data: "), chunk...), '\n')
				}
				for err == nil {
					gave += len(chunk)
					if _, err = w.Write(chunk); gave > 1<<30 {
						t.Error("a gigabyte was read")
						return
					}
				}
			}))
			c, err := Dial(t.Context(), DialOptions{URL: srv.URL, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Send(t.Context(), Outbound{ID: "m", Text: "x"}, nil)
			if !errors.Is(err, conclave.ErrInvalid) && !errors.Is(err, conclave.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			srv.Close()
			if gave > 4*maxStream {
				t.Errorf("%d MiB were taken: %v", gave>>20, err)
			}
		})
	}
}
