package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"conclave"
)

// requirement is one or more of the specification's, by the TCK's names.
type requirement struct {
	names string
	test  func(*check)
}

const (
	completed = "TASK_STATE_COMPLETED"
	waiting   = "TASK_STATE_INPUT_REQUIRED"
	canceled  = "TASK_STATE_CANCELED"
)

func requirements() []requirement {
	return []requirement{
		{"CORE-SEND-001 DM-TASK-001 DM-STATUS-001 CORE-EXECUTION-MODE-001", func(c *check) {
			out := c.must("SendMessage", say("tck-complete-task"))
			c.want(out, "task.status.state", completed)
			if at(out, "task.id") == nil || at(out, "task.contextId") == nil || at(out, "message") != nil {
				c.t.Errorf("got %v", out)
			}
		}},
		{"CORE-SEND-002", func(c *check) {
			task := at(c.must("SendMessage", say("hello")), "task.id")
			c.refuse("SendMessage", onto(say("hello"), task), "UNSUPPORTED_OPERATION")
		}},
		{"CORE-SEND-003", func(c *check) {
			in := say("hello")
			in["message"].(object)["parts"] = []any{object{"raw": "dGNr", "mediaType": "application/x-unsupported"}}
			c.refuse("SendMessage", in, "CONTENT_TYPE_NOT_SUPPORTED")
		}},
		{"DM-MSG-001 DM-MSG-002", func(c *check) {
			out := c.must("SendMessage", say("tck-message-response"))
			c.want(out, "message.role", "ROLE_AGENT")
			c.want(out, "message.parts.0.text", "Direct message response")
			if at(out, "message.messageId") == nil || at(out, "task") != nil {
				c.t.Errorf("got %v", out)
			}
		}},
		{"DM-ART-001 DM-PART-001", func(c *check) {
			for scenario, want := range map[string]object{
				"tck-artifact-text":     {"text": "Generated text content"},
				"tck-artifact-file":     {"raw": "R2VuZXJhdGVkIGZpbGUgY29udGVudA==", "mediaType": "text/plain", "filename": "output.txt"},
				"tck-artifact-file-url": {"url": "https://example.com/output.txt", "mediaType": "text/plain", "filename": "output.txt"},
				"tck-artifact-data":     {"data": object{"key": "value", "count": float64(42)}},
			} {
				artifact := at(c.must("SendMessage", say(scenario)), "task.artifacts.0")
				if at(artifact, "artifactId") == nil {
					c.t.Errorf("%s: got %v", scenario, artifact)
				}
				for member, value := range want {
					c.want(artifact, "parts.0."+member, value)
				}
				forms := 0
				for _, form := range []string{"text", "raw", "url", "data"} {
					if at(artifact, "parts.0."+form) != nil {
						forms++
					}
				}
				if forms != 1 {
					c.t.Errorf("%s has %d contents: %v", scenario, forms, artifact)
				}
			}
		}},
		{"DM-TASK-002", func(c *check) {
			c.want(c.must("SendMessage", say("tck-reject-task")), "task.status.state", "TASK_STATE_REJECTED")
			c.want(c.must("SendMessage", say("tck-input-required")), "task.status.state", waiting)
		}},
		{"DM-SERIAL-003", func(c *check) {
			stamp, _ := at(c.must("SendMessage", say("hello")), "task.status.timestamp").(string)
			if when, err := time.Parse(time.RFC3339Nano, stamp); err != nil || !strings.HasSuffix(stamp, "Z") || time.Since(when).Abs() > time.Hour {
				c.t.Errorf("the time is %q", stamp)
			}
		}},
		{"CORE-ERR-002 DM-SERIAL-004", func(c *check) {
			for what, change := range map[string]func(object){
				"no id":         func(m object) { delete(m, "messageId") },
				"no role":       func(m object) { delete(m, "role") },
				"an agent":      func(m object) { m["role"] = "ROLE_AGENT" },
				"no parts":      func(m object) { delete(m, "parts") },
				"empty parts":   func(m object) { m["parts"] = []any{} },
				"an empty part": func(m object) { m["parts"] = []any{object{}} },
			} {
				in := say("hello")
				change(in["message"].(object))
				_, err := c.w.call(c.t.Context(), "SendMessage", in)
				if err == nil {
					c.t.Errorf("%s: accepted", what)
					continue
				}
				c.fails(err, "INVALID_PARAMS")
			}
			c.refuse("SendMessage", object{}, "INVALID_PARAMS")
		}},
		{"CORE-EXECUTION-MODE-002 CORE-GET-001", func(c *check) {
			task := at(c.must("SendMessage", going("test-resubscribe-message-id")), "task")
			if state := at(task, "status.state"); state != "TASK_STATE_SUBMITTED" && state != "TASK_STATE_WORKING" {
				c.t.Errorf("it returned once it was %v", state)
			}
			c.once("work", func() bool {
				return at(c.must("GetTask", object{"id": at(task, "id")}), "status.state") == "TASK_STATE_WORKING"
			})
			c.want(c.must("CancelTask", object{"id": at(task, "id")}), "status.state", canceled)
		}},
		{"CORE-GET-002 CORE-CANCEL-003 STREAM-SUB-004 CORE-MULTI-004", func(c *check) {
			c.refuse("GetTask", object{"id": "nobody's"}, "TASK_NOT_FOUND")
			c.refuse("CancelTask", object{"id": "nobody's"}, "TASK_NOT_FOUND")
			c.refuse("SendMessage", onto(say("hello"), "nobody's"), "TASK_NOT_FOUND")
			c.fails(c.w.stream(c.t.Context(), "SubscribeToTask", object{"id": "nobody's"}, func(object) bool { return true }), "TASK_NOT_FOUND")
		}},
		{"CORE-CANCEL-001 CORE-CANCEL-002", func(c *check) {
			task := at(c.must("SendMessage", say("tck-input-required")), "task.id")
			c.want(c.must("CancelTask", object{"id": task}), "status.state", canceled)
			c.refuse("CancelTask", object{"id": task}, "TASK_NOT_CANCELABLE")
		}},
		{"CORE-LIST-001 CORE-LIST-002 CORE-LIST-003 CORE-LIST-004 CORE-LIST-005", func(c *check) {
			in := say("tck-artifact-text")
			where := conclave.NewID("context")
			in["message"].(object)["contextId"] = where
			c.want(c.must("SendMessage", in), "task.contextId", where)
			for range 2 {
				in := say("tck-artifact-text")
				in["message"].(object)["contextId"] = where
				c.must("SendMessage", in)
			}
			first := c.must("ListTasks", object{"contextId": where, "pageSize": 2})
			second := c.must("ListTasks", object{"contextId": where, "pageSize": 2, "pageToken": at(first, "nextPageToken")})
			c.want(first, "totalSize", 3)
			c.want(first, "pageSize", 2)
			c.want(second, "nextPageToken", "")
			tasks := append(first["tasks"].([]any), second["tasks"].([]any)...)
			if len(tasks) != 3 {
				c.t.Fatalf("%d tasks", len(tasks))
			}
			for i, task := range tasks {
				if i > 0 && at(task, "status.timestamp").(string) > at(tasks[i-1], "status.timestamp").(string) {
					c.t.Errorf("the tasks are not the newest first: %v", tasks)
				}
				if made, _ := at(task, "artifacts").([]any); len(made) > 0 {
					c.t.Errorf("artifacts are in the list: %v", made)
				}
			}
			full := c.must("ListTasks", object{"contextId": where, "includeArtifacts": true})
			c.want(full, "tasks.0.artifacts.0.parts.0.text", "Generated text content")
			none := c.must("ListTasks", object{"contextId": "nowhere"})
			if list, ok := none["tasks"].([]any); !ok || len(list) > 0 {
				c.t.Errorf("no tasks are %v", none)
			}
			for _, wrong := range []object{{"pageSize": 101}, {"pageSize": -1}, {"pageToken": "made up"}, {"historyLength": -1}} {
				c.refuse("ListTasks", wrong, "INVALID_PARAMS")
			}
		}},
		{"CORE-MULTI-001 CORE-MULTI-003", func(c *check) {
			one, two := c.must("SendMessage", say("hello")), c.must("SendMessage", say("hello"))
			if at(one, "task.id") == at(two, "task.id") || at(one, "task.contextId") == at(two, "task.contextId") || at(one, "task.contextId") == "" {
				c.t.Errorf("got %v and %v", one, two)
			}
		}},
		{"CORE-MULTI-005 CORE-MULTI-006 CORE-HIST-004 CORE-HIST-005 CORE-HIST-006", func(c *check) {
			asked := c.must("SendMessage", say("tck-input-required"))
			elsewhere := onto(say("hello"), at(asked, "task.id"))
			elsewhere["message"].(object)["contextId"] = "elsewhere"
			c.refuse("SendMessage", elsewhere, "INVALID_PARAMS")
			next := onto(say("tck-complete-task"), at(asked, "task.id"))
			next["message"].(object)["parts"] = []any{object{"text": "the answer"}}
			out := c.must("SendMessage", next)
			c.want(out, "task.id", at(asked, "task.id"))
			c.want(out, "task.contextId", at(asked, "task.contextId"))
			c.want(out, "task.status.state", completed)
			history, _ := at(c.must("GetTask", object{"id": at(asked, "task.id")}), "history").([]any)
			var said []string
			for _, m := range history {
				text, _ := at(m, "parts.0.text").(string)
				said = append(said, text)
			}
			if got := strings.Join(said, "|"); !regexp.MustCompile(`^hello\|(.*\|)?the answer`).MatchString(got) {
				c.t.Errorf("the history is %q", got)
			}
		}},
		{"CORE-HIST-001 CORE-HIST-002 CORE-HIST-003", func(c *check) {
			in := say("hello")
			in["configuration"] = object{"historyLength": 0}
			out := c.must("SendMessage", in)
			if list, _ := at(out, "task.history").([]any); len(list) > 0 {
				c.t.Errorf("no history was wanted: %v", list)
			}
			for n := range 2 {
				list, _ := at(c.must("GetTask", object{"id": at(out, "task.id"), "historyLength": n}), "history").([]any)
				if len(list) > n {
					c.t.Errorf("%d messages for historyLength=%d", len(list), n)
				}
			}
			c.refuse("GetTask", object{"id": at(out, "task.id"), "historyLength": -1}, "INVALID_PARAMS")
		}},
		{"CORE-STREAM-001 CORE-STREAM-003 STREAM-ORDER-001 GRPC-ERR-003 HTTP_JSON-SSE-001 JSONRPC-SSE-001", func(c *check) {
			events := c.events("SendStreamingMessage", say("tck-stream-artifact-chunked"))
			var text string
			for i, e := range events {
				if (at(e, "task") != nil) != (i == 0) {
					c.t.Errorf("event %d is %v", i, e)
				}
				made, _ := at(e, "artifactUpdate.artifact.parts").([]any)
				for _, p := range made {
					text += at(p, "text").(string)
				}
			}
			c.want(events[len(events)-1], "statusUpdate.status.state", completed)
			// Behind the hub the pieces are one artifact by now.
			if text != "chunk-1 chunk-2" {
				c.t.Errorf("the pieces are %q in %v", text, events)
			}
		}},
		{"STREAM-SUB-001 STREAM-SUB-002 STREAM-ORDER-002 STREAM-ORDER-003 STREAM-ORDER-004", func(c *check) {
			task := at(c.must("SendMessage", going("test-resubscribe-message-id")), "task.id")
			c.once("work", func() bool { return at(c.must("GetTask", object{"id": task}), "status.state") == "TASK_STATE_WORKING" })
			// One who leaves at once changes nothing for the others.
			if err := c.w.stream(c.t.Context(), "SubscribeToTask", object{"id": task}, func(object) bool { return false }); err != nil {
				c.t.Fatal(err)
			}
			heard := make(chan []string, 2)
			started := make(chan bool, 2)
			for range 2 {
				go func() {
					var list []string
					err := c.w.stream(c.t.Context(), "SubscribeToTask", object{"id": task}, func(e object) bool {
						text, _ := json.Marshal(e)
						if list = append(list, string(text)); len(list) == 1 {
							started <- at(e, "task.id") == task
						}
						return true
					})
					if err != nil {
						c.t.Error(err)
					}
					heard <- list
				}()
			}
			if first, second := <-started, <-started; !first || !second {
				c.t.Error("the first event is not the task")
			}
			c.must("CancelTask", object{"id": task})
			one, two := <-heard, <-heard
			if strings.Join(one, "\n") != strings.Join(two, "\n") || !strings.Contains(one[len(one)-1], canceled) {
				c.t.Errorf("one heard %v, the other %v", one, two)
			}
		}},
		{"STREAM-SUB-003", func(c *check) {
			task := at(c.must("SendMessage", say("hello")), "task.id")
			c.fails(c.w.stream(c.t.Context(), "SubscribeToTask", object{"id": task}, func(object) bool { return true }), "UNSUPPORTED_OPERATION")
		}},
		{"VER-SERVER-001 VER-SERVER-002 VER-SERVER-003 VER-CLIENT-002", func(c *check) {
			for version, speaks := range map[string]bool{"1.0": true, "1.0.1": true, "": false, "0.3": false, "2.0": false, "99.0": false, "1": false, "one": false} {
				_, err := c.as(func(to *caller) { to.version = version }).call(c.t.Context(), "ListTasks", object{})
				if speaks && err != nil {
					c.t.Errorf("A2A-Version %q: %v", version, err)
				}
				if !speaks {
					c.fails(err, "VERSION_NOT_SUPPORTED")
				}
			}
		}},
		{"AUTH-SERVER-002 AUTH-SCOPE-001 BIND-EQUIV-004", func(c *check) {
			for _, token := range []string{"", "somebody-else's"} {
				as := c.as(func(to *caller) { to.token = token })
				for _, operation := range []string{"SendMessage", "GetTask", "ListTasks", "CancelTask", "GetExtendedAgentCard", "ListTaskPushNotificationConfigs"} {
					in := object{}
					if operation == "SendMessage" {
						in = say("hello")
					}
					if strings.Contains(operation, "Push") {
						in["taskId"] = "t"
					}
					_, err := as.call(c.t.Context(), operation, in)
					c.fails(err, "UNAUTHENTICATED")
				}
				c.fails(as.stream(c.t.Context(), "SendStreamingMessage", say("hello"), func(object) bool { return true }), "UNAUTHENTICATED")
			}
		}},
		{"CARD-EXT-001", func(c *check) {
			card := c.must("GetExtendedAgentCard", object{})
			c.want(card, "name", "conformance")
			params := at(card, "capabilities.extensions.0.params")
			if at(params, "scenarios") == nil && at(params, "agents.0.state") == nil {
				c.t.Errorf("the extended card tells no more: %v", card)
			}
		}},
		{"CORE-CAP-001", func(c *check) {
			if c.push {
				return
			}
			for _, operation := range []string{"CreateTaskPushNotificationConfig", "GetTaskPushNotificationConfig", "ListTaskPushNotificationConfigs", "DeleteTaskPushNotificationConfig"} {
				in := object{"taskId": "t", "id": "p", "url": "https://example.com/"}
				if operation == "ListTaskPushNotificationConfigs" {
					in = object{"taskId": "t"}
				} else if !strings.HasPrefix(operation, "Create") {
					delete(in, "url")
				}
				c.refuse(operation, in, "PUSH_NOTIFICATION_NOT_SUPPORTED")
			}
		}},
		{"PUSH-CREATE-001 PUSH-CREATE-002 PUSH-GET-001 PUSH-GET-002 PUSH-LIST-001 PUSH-DEL-001 PUSH-DEL-002", (*check).pushConfigs},
		{"PUSH-DELIVER-001 PUSH-DELIVER-002 PUSH-DELIVER-003", (*check).pushDelivery},
	}
}

func (c *check) pushConfigs() {
	if !c.push {
		return
	}
	task := at(c.must("SendMessage", say("tck-input-required")), "task.id")
	config := object{"taskId": task, "id": "mine", "url": "https://example.com/told"}
	c.want(c.must("CreateTaskPushNotificationConfig", config), "url", config["url"])
	one := object{"taskId": task, "id": "mine"}
	c.want(c.must("GetTaskPushNotificationConfig", one), "url", config["url"])
	c.want(c.must("ListTaskPushNotificationConfigs", object{"taskId": task}), "configs.0.id", "mine")
	c.refuse("GetTaskPushNotificationConfig", object{"taskId": task, "id": "other"}, "TASK_NOT_FOUND")
	c.must("DeleteTaskPushNotificationConfig", object{"taskId": task, "id": "mine"})
	c.must("DeleteTaskPushNotificationConfig", object{"taskId": task, "id": "mine"})
	c.refuse("GetTaskPushNotificationConfig", object{"taskId": task, "id": "mine"}, "TASK_NOT_FOUND")
}

func (c *check) pushDelivery() {
	if !c.push {
		return
	}
	type notice struct {
		header http.Header
		body   object
	}
	told := make(chan notice, 16)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		var body object
		if err != nil || json.Unmarshal(text, &body) != nil {
			c.t.Errorf("a notification is %q, %v", text, err)
		}
		told <- notice{r.Header, body}
	}))
	defer hook.Close()
	task := at(c.must("SendMessage", say("tck-input-required")), "task.id")
	c.must("CreateTaskPushNotificationConfig", object{"taskId": task, "id": "hook", "url": hook.URL,
		"authentication": object{"scheme": "Bearer", "credentials": "what-we-agreed"}})
	c.must("SendMessage", onto(say("tck-complete-task"), task))
	for {
		select {
		case n := <-told:
			if got := n.header.Get("Authorization"); got != "Bearer what-we-agreed" {
				c.t.Errorf("it was told with %q", got)
			}
			if len(n.body) != 1 {
				c.t.Errorf("it is no StreamResponse: %v", n.body)
			}
			if at(n.body, "statusUpdate.status.state") == completed {
				c.want(n.body, "statusUpdate.taskId", task)
				return
			}
		case <-time.After(20 * time.Second):
			c.t.Fatal("nobody was told that the task has ended")
		}
	}
}

func cardRequirements() []requirement {
	return []requirement{
		{"CARD-DISC-001 CARD-STRUCT-001 CARD-PROTO-001 CARD-PROTO-002 BIND-FIELD-001", func(c *check) {
			resp, card := c.card("1.0", nil)
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
				c.t.Fatalf("got %s %v", resp.Status, resp.Header)
			}
			known := strings.Fields("name description supportedInterfaces version capabilities securitySchemes securityRequirements defaultInputModes defaultOutputModes skills signatures")
			for member := range card {
				if !strings.Contains(" "+strings.Join(known, " ")+" ", " "+member+" ") {
					c.t.Errorf("the card of 1.0 has a member %s", member)
				}
			}
			c.want(card, "securityRequirements.0.schemes.bearer", object{"list": []any{}})
			c.want(card, "securitySchemes.bearer.httpAuthSecurityScheme.scheme", "Bearer")
			speaks := map[string]bool{}
			for _, face := range card["supportedInterfaces"].([]any) {
				if at(face, "url") == "" {
					c.t.Errorf("an interface is %v", face)
				}
				speaks[at(face, "protocolBinding").(string)+" "+at(face, "protocolVersion").(string)] = true
			}
			for _, want := range []string{"JSONRPC 1.0", "HTTP+JSON 1.0", "GRPC 1.0", "JSONRPC 0.3", "HTTP+JSON 0.3"} {
				if !speaks[want] {
					c.t.Errorf("the card does not tell of %s", want)
				}
			}
		}},
		{"0.3", func(c *check) { // who says no version gets a card that 0.3 reads too
			for _, version := range []string{"", "0.3", "99.0"} {
				_, card := c.card(version, nil)
				c.want(card, "protocolVersion", "0.3")
				c.want(card, "preferredTransport", "JSONRPC")
				c.want(card, "securitySchemes.bearer.type", "http")
				c.want(card, "supportsAuthenticatedExtendedCard", true)
				more, _ := card["additionalInterfaces"].([]any)
				for _, face := range more {
					if url, _ := at(face, "url").(string); !strings.HasPrefix(url, "http://") {
						c.t.Errorf("an interface of 0.3 is at %q", url)
					}
				}
			}
		}},
		{"CARD-CACHE-001 CARD-CACHE-002 CARD-CACHE-003", func(c *check) {
			resp, _ := c.card("1.0", nil)
			tag := resp.Header.Get("ETag")
			if tag == "" || !strings.Contains(resp.Header.Get("Cache-Control"), "max-age=") || resp.Header.Get("Last-Modified") == "" || resp.Header.Get("Vary") != "A2A-Version" {
				c.t.Errorf("the headers are %v", resp.Header)
			}
			if again, _ := c.card("1.0", http.Header{"If-None-Match": {tag}}); again.StatusCode != http.StatusNotModified {
				c.t.Errorf("the same card again: %s", again.Status)
			}
			if other, _ := c.card("", http.Header{"If-None-Match": {tag}}); other.StatusCode != http.StatusOK {
				c.t.Errorf("the card for others is taken for the same: %s", other.Status)
			}
		}},
	}
}

// TestRequirementsAreNamedOnce keeps the names unique, so that each can be found.
func TestRequirementsAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range append(requirements(), cardRequirements()...) {
		for name := range strings.FieldsSeq(r.names) {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
	}
}
