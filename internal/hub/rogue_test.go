package hub_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
)

// rogue is an agent that speaks JSON-RPC by hand, and not as it should. Each call
// gets the method, the request's id and how many messages it has had before.
func rogue(t *testing.T, n *network, answer func(w http.ResponseWriter, r *http.Request, method, id string, earlier int)) *atomic.Int64 {
	t.Helper()
	var sent atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			fmt.Fprint(w, `{}`)
			return
		}
		var req struct {
			ID     json.RawMessage
			Method string
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &req)
		}
		if err != nil {
			t.Errorf("the hub sends %q: %v", body, err)
		}
		earlier := sent.Load()
		if req.Method == "SendStreamingMessage" {
			earlier = sent.Add(1) - 1
		}
		answer(w, r, req.Method, string(req.ID), int(earlier))
	}))
	t.Cleanup(srv.Close)
	if _, err := n.hub.Register(asAdmin(t.Context()), conclave.RegisterAgent{Agent: conclave.Agent{Name: "rogue", Role: "rogue", URL: srv.URL, Capacity: 4}}); err != nil {
		t.Fatal(err)
	}
	return &sent
}

func stream(w http.ResponseWriter, id string, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range events {
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n\n", id, e)
		w.(http.Flusher).Flush()
	}
}

func reply(w http.ResponseWriter, id, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}

const (
	begun   = `{"task":{"id":"r1","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}`
	ended   = `{"statusUpdate":{"taskId":"r1","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}`
	made    = `{"artifactUpdate":{"taskId":"r1","contextId":"c","artifact":{"artifactId":"a","parts":[{"text":"the answer"}]}}}`
	another = `{"artifactUpdate":{"taskId":"r1","contextId":"c","artifact":{"artifactId":"b","parts":[{"text":"another answer"}]}}}`
)

func TestAgentsThatMisbehave(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, method, id string, earlier int)
		state  conclave.TaskState
		text   string // of the reply, or in the error
		sent   int64  // how often the message was sent; 0: more than once
	}{
		{"never answers", func(_ http.ResponseWriter, r *http.Request, _, _ string, _ int) { <-r.Context().Done() },
			conclave.TaskFailed, "timeout: rogue did not answer within", 1},
		{"answers twice", func(w http.ResponseWriter, _ *http.Request, _, id string, _ int) {
			stream(w, id, begun, made, ended, another, ended)
		}, conclave.TaskCompleted, "the answer", 1},
		{"fails after it is done", func(w http.ResponseWriter, _ *http.Request, _, id string, _ int) {
			stream(w, id, begun, made, ended, strings.Replace(ended, "COMPLETED", "FAILED", 1))
		}, conclave.TaskCompleted, "the answer", 1},
		{"streams garbage", func(w http.ResponseWriter, _ *http.Request, _, _ string, _ int) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: \x00\xff{{{{ not JSON\n\ndata: 7\n\n")
		}, conclave.TaskFailed, "unavailable: ", 0},
		{"answers with a page", func(w http.ResponseWriter, _ *http.Request, _, _ string, _ int) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>hello")
		}, conclave.TaskFailed, "unavailable: ", 0},
		{"closes mid-stream, and answers the next time", func(w http.ResponseWriter, _ *http.Request, method, id string, earlier int) {
			switch {
			case method != "SendStreamingMessage":
				reply(w, id, `{"id":"r1","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}`)
			case earlier == 0:
				stream(w, id, begun)
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					conn.Close()
				}
			default:
				stream(w, id, begun, made, ended)
			}
		}, conclave.TaskCompleted, "the answer", 2},
		{"says that it works, and does not", func(w http.ResponseWriter, _ *http.Request, method, id string, _ int) {
			if method == "SendStreamingMessage" {
				stream(w, id, begun)
				return
			}
			reply(w, id, `{"id":"r1","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}`)
		}, conclave.TaskFailed, "the connection ended while the task was working", 0},
		{"invents a state", func(w http.ResponseWriter, _ *http.Request, method, id string, _ int) {
			if method == "SendStreamingMessage" {
				stream(w, id, strings.Replace(begun, "WORKING", "NEARLY_DONE", 1))
				return
			}
			reply(w, id, `{"id":"r1","contextId":"c","status":{"state":"TASK_STATE_NEARLY_DONE"}}`)
		}, conclave.TaskFailed, "unavailable: ", 0},
		{"is done without having begun", func(w http.ResponseWriter, _ *http.Request, _, id string, _ int) {
			stream(w, id, ended)
		}, conclave.TaskCompleted, "", 1},
		{"wants input of nobody", func(w http.ResponseWriter, _ *http.Request, _, id string, _ int) {
			stream(w, id, strings.Replace(begun, "WORKING", "INPUT_REQUIRED", 1))
		}, conclave.TaskFailed, "nobody is there to give it", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := connect(t, hub.NewMemory(nil), func(o *hub.Options) { o.Timeout, o.MaxAge = 2*time.Second, time.Second })
			sent := rogue(t, n, tt.answer)
			n.agent("dev-1", "developer", echo)
			task := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/rogue", Text: "Well?"})
			// The hub is well meanwhile: others are answered.
			if got := n.ask("agents/dev-1", "hello"); got.Text != "heard hello" {
				t.Errorf("meanwhile dev-1: %+v", got)
			}
			got := n.wait(task.ID)
			if got.State != tt.state || !strings.Contains(got.Text+got.Error, tt.text) || strings.Contains(got.Text, "another") {
				t.Errorf("the task is %s, %q, %q; want %s with %q", got.State, got.Text, got.Error, tt.state, tt.text)
			}
			if times := sent.Load(); tt.sent != 0 && times != tt.sent || tt.sent == 0 && times < 2 {
				t.Errorf("the message was sent %d times, want %d (0: more than once)", times, tt.sent)
			}
			// Nothing is lost: what was said is there, whatever became of it.
			said, err := n.hub.Messages(as(t.Context(), "ada"), conclave.ListMessages{Conversation: task.Conversation})
			if err != nil || len(said) == 0 || said[0].Text != "Well?" {
				t.Errorf("the conversation is %+v, %v", said, err)
			}
		})
	}
}
