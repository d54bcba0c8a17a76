package a2awire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/a2awire"
)

// Requests that are no requests get the protocol's error, which says what is
// wrong, on both bindings of HTTP; the server is well afterwards.
func TestMalformedRequests(t *testing.T) {
	h, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{Card: a2awire.Card{Name: "strict"}, Handle: answerHello})
	defer runner.Close()
	face := asService(h)
	const (
		js   = "application/json"
		good = `{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}]}`
	)
	rpc := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":` + params + `}`
	}
	deep := func(levels int) string {
		return `{"messageId":"m","role":"ROLE_USER","parts":[{"data":` + strings.Repeat("[", levels) + strings.Repeat("]", levels) + `}]}`
	}
	large := strings.Repeat("a", a2awire.MaxBody)
	for _, tt := range []struct {
		name, kind, version, body string
		code                      int // of JSON-RPC; 0: it is accepted
		says                      string
		rest                      bool // the same holds for HTTP+JSON, whose body is params
	}{
		{"a message", js, "1.0", rpc(`{"message":` + good + `}`), 0, "", true},
		{"a charset", js + "; charset=utf-8", "1.0", rpc(`{"message":` + good + `}`), 0, "", true},
		{"a patch number", js, "1.0.1", rpc(`{"message":` + good + `}`), 0, "", true},
		{"names of the schema", js, "1.0", rpc(`{"message":` + strings.Replace(good, "messageId", "message_id", 1) + `}`), 0, "", true},
		{"a field that nobody knows", js, "1.0", rpc(`{"message":` + good + `,"future":{"a":1}}`), 0, "", true},
		{"as deep as may be", js, "1.0", rpc(`{"message":` + deep(95) + `}`), 0, "", true},
		{"too deep", js, "1.0", rpc(`{"message":` + deep(120) + `}`), -32600, "deeper than 100 levels", true},
		{"too large", js, "1.0", rpc(`{"message":` + strings.Replace(good, "hi", large, 1) + `}`), -32600, "larger than 16 MiB", true},
		{"nothing", js, "1.0", "", -32700, "not JSON", false},
		{"half of it", js, "1.0", rpc(`{"message":` + good)[:60], -32700, "at byte", false},
		{"more behind it", js, "1.0", rpc(`{"message":`+good+`}`) + "{}", -32700, "at byte", true},
		{"a batch", js, "1.0", "[" + rpc(`{"message":`+good+`}`) + "]", -32600, "one JSON-RPC request", false},
		{"a number", js, "1.0", "7", -32600, "one JSON-RPC request", false},
		{"null", js, "1.0", "null", -32600, "jsonrpc", false},
		{"another JSON-RPC", js, "1.0", strings.Replace(rpc("{}"), "2.0", "1.0", 1), -32600, `jsonrpc must be "2.0"`, false},
		{"no method", js, "1.0", `{"jsonrpc":"2.0","id":1}`, -32600, "method is required", false},
		{"a method that is a number", js, "1.0", `{"jsonrpc":"2.0","id":1,"method":7}`, -32600, "one JSON-RPC request", false},
		{"a method that is not there", js, "1.0", `{"jsonrpc":"2.0","id":1,"method":"Dance"}`, -32601, "Dance", false},
		{"an id that is an object", js, "1.0", `{"jsonrpc":"2.0","id":{},"method":"ListTasks"}`, -32600, "id must be", false},
		{"params that are a list", js, "1.0", rpc(`[1]`), -32602, "params must be an object", false},
		{"params that are a text", js, "1.0", rpc(`"x"`), -32602, "params must be an object", false},
		{"a message that is a text", js, "1.0", rpc(`{"message":"hi"}`), -32602, "message", true},
		{"parts that are a text", js, "1.0", rpc(`{"message":` + strings.Replace(good, `[{"text":"hi"}]`, `"hi"`, 1) + `}`), -32602, "parts", true},
		{"no content type", "", "1.0", rpc(`{"message":` + good + `}`), -32005, "Content-Type", true},
		{"a form", "application/x-www-form-urlencoded", "1.0", rpc(`{"message":` + good + `}`), -32005, "Content-Type", true},
		{"a content type that is none", "json//;;", "1.0", rpc(`{"message":` + good + `}`), -32005, "Content-Type", true},
		{"a version to come", js, "2.0", rpc(`{"message":` + good + `}`), -32009, "2.0 is not served", true},
		{"a version with a letter", js, "v1.0", rpc(`{"message":` + good + `}`), -32009, "v1.0", true},
		{"no version", js, "", rpc(`{"message":` + good + `}`), -32009, "A2A-Version: 1.0", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ask := func(path, body string) (*httptest.ResponseRecorder, map[string]any) {
				t.Helper()
				r := httptest.NewRequest("POST", path, strings.NewReader(body))
				if tt.kind != "" {
					r.Header.Set("Content-Type", tt.kind)
				}
				if tt.version != "" {
					r.Header.Set("A2A-Version", tt.version)
				}
				w := httptest.NewRecorder()
				face.ServeHTTP(w, r)
				var out map[string]any
				if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/") {
					t.Fatalf("the answer is %q, %q", w.Header().Get("Content-Type"), w.Body)
				}
				return w, out
			}
			_, out := ask("/", tt.body)
			fault, _ := out["error"].(map[string]any)
			if code, _ := fault["code"].(float64); int(code) != tt.code || !strings.Contains(fmt.Sprint(fault["message"]), tt.says) || fault == nil && out["result"] == nil {
				t.Errorf("JSON-RPC: %v, want %d with %q", out, tt.code, tt.says)
			}
			if !tt.rest {
				return
			}
			_, params, _ := strings.Cut(tt.body, `"params":`)
			params = strings.Replace(params, "}{}", "{}", 1)
			if !strings.HasSuffix(tt.body, "{}") {
				params = strings.TrimSuffix(params, "}")
			}
			w, out := ask("/message:send", params)
			fault, _ = out["error"].(map[string]any)
			if (fault == nil) != (tt.code == 0) || fault != nil && (w.Code != http.StatusBadRequest || !strings.Contains(fmt.Sprint(fault["message"]), tt.says)) {
				t.Errorf("HTTP+JSON: %d %v, want %q", w.Code, out, tt.says)
			}
		})
	}
	for method, path := range map[string]string{"GET": "/", "PUT": "/", "DELETE": "/message:send", "PATCH": "/tasks/t"} {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("A2A-Version", "1.0")
		w := httptest.NewRecorder()
		face.ServeHTTP(w, r)
		if w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
}

// The extended card tells more, in both versions; where there is none, the error
// says so.
func TestExtendedCards(t *testing.T) {
	card := a2awire.Card{Name: "strict", Extended: true}
	serve := func(o a2awire.ServerOptions) func(version, method string) map[string]any {
		o.Card = func(*http.Request) (a2awire.Card, error) { return card, nil }
		h := asService(a2awire.NewServer(o))
		return func(version, method string) map[string]any {
			t.Helper()
			r := httptest.NewRequest("POST", "/", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("A2A-Version", version)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var out map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			return out
		}
	}
	with := serve(a2awire.ServerOptions{Extended: extendedWith(map[string]any{"secret": "s3"})})
	for version, method := range map[string]string{"1.0": "GetExtendedAgentCard", "0.3": "agent/getAuthenticatedExtendedCard"} {
		got, _ := json.Marshal(with(version, method)["result"])
		if !strings.Contains(string(got), `"secret":"s3"`) || !strings.Contains(string(got), `"name":"strict"`) {
			t.Errorf("%s: %s", version, got)
		}
	}
	without := serve(a2awire.ServerOptions{})
	fault, _ := without("1.0", "GetExtendedAgentCard")["error"].(map[string]any)
	if fault["code"] != float64(-32004) {
		t.Errorf("where there is none: %v", fault)
	}
	gone := serve(a2awire.ServerOptions{Extended: extendedError(conclave.Errorf(conclave.ErrNotFound, "nobody is here any more"))})
	fault, _ = gone("1.0", "GetExtendedAgentCard")["error"].(map[string]any)
	if fault["code"] != float64(-32001) || fault["message"] != "nobody is here any more" {
		t.Errorf("where nobody is: %v", fault)
	}
}

func answerHello(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) {
	return a2awire.Outgoing{Text: "hello"}, nil
}

func extendedWith(facts map[string]any) func(context.Context) (a2awire.Card, error) {
	return func(context.Context) (a2awire.Card, error) { return a2awire.Card{Name: "strict", Facts: facts}, nil }
}

func extendedError(err error) func(context.Context) (a2awire.Card, error) {
	return func(context.Context) (a2awire.Card, error) { return a2awire.Card{}, err }
}
