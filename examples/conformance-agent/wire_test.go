package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	a2apb "github.com/a2aproject/a2a-go/v2/a2apb/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// object is a JSON object. Requests and answers are the protocol's messages in
// ProtoJSON, whichever the binding.
type object = map[string]any

// failure is an error of the protocol as a binding showed it.
type failure struct {
	reason string // google.rpc.ErrorInfo
	domain string
	code   string // JSON-RPC's, HTTP's or gRPC's
	text   string
}

func (f *failure) Error() string { return f.code + " " + f.reason + ": " + f.text }

// wire is a binding, at one agent.
type wire interface {
	call(ctx context.Context, operation string, in object) (object, error)
	// stream calls event with each event, until the stream ends or event says so.
	stream(ctx context.Context, operation string, in object, event func(object) bool) error
}

// caller is what all bindings send.
type caller struct {
	base, token, version, tenant string
}

func (c caller) post(ctx context.Context, method, address, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.version != "" {
		req.Header.Set("A2A-Version", c.version)
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	return http.DefaultClient.Do(req)
}

// read decodes a body, in which only the fields' JSON names may be used.
func read(body io.Reader) (object, error) {
	var out object
	err := json.NewDecoder(body).Decode(&out)
	return out, err
}

func failed(code any, fault object) *failure {
	f := &failure{code: fmt.Sprint(code), text: fmt.Sprint(fault["message"])}
	details, _ := fault["details"].([]any)
	if data, ok := fault["data"].([]any); ok {
		details = data
	}
	for _, d := range details {
		if info, _ := d.(object); info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo" {
			f.reason, f.domain = fmt.Sprint(info["reason"]), fmt.Sprint(info["domain"])
		}
	}
	return f
}

// eachEvent reads server-sent events.
func eachEvent(resp *http.Response, event func(object) (more bool, err error)) error {
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		return fmt.Errorf("a stream is %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		e, err := read(strings.NewReader(data))
		if err != nil {
			return fmt.Errorf("an event %q: %w", data, err)
		}
		if more, err := event(e); !more || err != nil {
			return err
		}
	}
	return lines.Err()
}

type jsonRPC struct{ caller }

func (w jsonRPC) open(ctx context.Context, operation string, in object) (*http.Response, error) {
	if w.tenant != "" {
		in["tenant"] = w.tenant
	}
	body, err := json.Marshal(object{"jsonrpc": "2.0", "id": "7", "method": operation, "params": in})
	if err != nil {
		return nil, err
	}
	return w.post(ctx, "POST", w.base, "application/json", body)
}

// unwrap takes a result out of its JSON-RPC response.
func unwrap(out object) (object, error) {
	if out["jsonrpc"] != "2.0" || out["id"] != "7" {
		return nil, fmt.Errorf("no response to the request: %v", out)
	}
	if fault, ok := out["error"].(object); ok {
		return nil, failed(fault["code"], fault)
	}
	result, ok := out["result"].(object)
	if !ok {
		return nil, fmt.Errorf("neither result nor error: %v", out)
	}
	return result, nil
}

func (w jsonRPC) call(ctx context.Context, operation string, in object) (object, error) {
	resp, err := w.open(ctx, operation, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out, err := read(resp.Body)
	if err != nil {
		return nil, err
	}
	return unwrap(out)
}

func (w jsonRPC) stream(ctx context.Context, operation string, in object, event func(object) bool) error {
	resp, err := w.open(ctx, operation, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		out, err := read(resp.Body)
		if err == nil {
			_, err = unwrap(out)
		}
		return err
	}
	return eachEvent(resp, func(e object) (bool, error) {
		result, err := unwrap(e)
		return err == nil && event(result), err
	})
}

type httpJSON struct{ caller }

// route is where HTTP+JSON has an operation.
func route(operation string, in object) (method, path string, query url.Values) {
	query = url.Values{}
	task := fmt.Sprint(in["taskId"])
	if in["id"] != nil && in["taskId"] == nil {
		task = fmt.Sprint(in["id"])
	}
	path = "/tasks/" + task
	switch operation {
	case "SendMessage":
		return "POST", "/message:send", nil
	case "SendStreamingMessage":
		return "POST", "/message:stream", nil
	case "CancelTask":
		return "POST", path + ":cancel", nil
	case "SubscribeToTask":
		return "POST", path + ":subscribe", nil
	case "CreateTaskPushNotificationConfig":
		return "POST", path + "/pushNotificationConfigs", nil
	case "ListTaskPushNotificationConfigs":
		return "GET", path + "/pushNotificationConfigs", query
	case "GetTaskPushNotificationConfig":
		return "GET", path + "/pushNotificationConfigs/" + fmt.Sprint(in["id"]), query
	case "DeleteTaskPushNotificationConfig":
		return "DELETE", path + "/pushNotificationConfigs/" + fmt.Sprint(in["id"]), query
	case "GetExtendedAgentCard":
		return "GET", "/extendedAgentCard", query
	case "ListTasks":
		path = "/tasks"
	}
	for key, value := range in {
		if key != "id" {
			query.Set(key, fmt.Sprint(value))
		}
	}
	return "GET", path, query
}

func (w httpJSON) open(ctx context.Context, operation string, in object) (*http.Response, error) {
	method, path, query := route(operation, in)
	if query != nil {
		if len(query) > 0 {
			path += "?" + query.Encode()
		}
		return w.post(ctx, method, w.base+path, "", nil)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return w.post(ctx, method, w.base+path, "application/a2a+json", body)
}

// refused returns the error of an answer that is one.
func refused(resp *http.Response) error {
	if resp.StatusCode < 300 {
		return nil
	}
	out, err := read(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	fault, _ := out["error"].(object)
	if fault["code"] != float64(resp.StatusCode) || fault["status"] == "" {
		return fmt.Errorf("%s with the error %v", resp.Status, out)
	}
	return failed(resp.StatusCode, fault)
}

func (w httpJSON) call(ctx context.Context, operation string, in object) (object, error) {
	resp, err := w.open(ctx, operation, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := refused(resp); err != nil {
		return nil, err
	}
	return read(resp.Body)
}

func (w httpJSON) stream(ctx context.Context, operation string, in object, event func(object) bool) error {
	resp, err := w.open(ctx, operation, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := refused(resp); err != nil {
		return err
	}
	return eachEvent(resp, func(e object) (bool, error) { return event(e), nil })
}

type overGRPC struct {
	caller
	conn *grpc.ClientConn
}

const service = "/lf.a2a.v1.A2AService/"

// messages are the request and the response of an operation.
func messages(operation string) (in, out proto.Message) {
	switch operation {
	case "SendMessage":
		return &a2apb.SendMessageRequest{}, &a2apb.SendMessageResponse{}
	case "SendStreamingMessage":
		return &a2apb.SendMessageRequest{}, &a2apb.StreamResponse{}
	case "SubscribeToTask":
		return &a2apb.SubscribeToTaskRequest{}, &a2apb.StreamResponse{}
	case "GetTask":
		return &a2apb.GetTaskRequest{}, &a2apb.Task{}
	case "CancelTask":
		return &a2apb.CancelTaskRequest{}, &a2apb.Task{}
	case "ListTasks":
		return &a2apb.ListTasksRequest{}, &a2apb.ListTasksResponse{}
	case "CreateTaskPushNotificationConfig":
		return &a2apb.TaskPushNotificationConfig{}, &a2apb.TaskPushNotificationConfig{}
	case "GetTaskPushNotificationConfig":
		return &a2apb.GetTaskPushNotificationConfigRequest{}, &a2apb.TaskPushNotificationConfig{}
	case "ListTaskPushNotificationConfigs":
		return &a2apb.ListTaskPushNotificationConfigsRequest{}, &a2apb.ListTaskPushNotificationConfigsResponse{}
	case "DeleteTaskPushNotificationConfig":
		return &a2apb.DeleteTaskPushNotificationConfigRequest{}, &emptypb.Empty{}
	}
	return &a2apb.GetExtendedAgentCardRequest{}, &a2apb.AgentCard{}
}

func (w overGRPC) context(ctx context.Context) context.Context {
	var pairs []string
	if w.token != "" {
		pairs = append(pairs, "authorization", "Bearer "+w.token)
	}
	if w.version != "" {
		pairs = append(pairs, "a2a-version", w.version)
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func (w overGRPC) request(operation string, in object) (proto.Message, proto.Message, error) {
	req, out := messages(operation)
	if w.tenant != "" {
		in["tenant"] = w.tenant
	}
	text, err := json.Marshal(in)
	if err == nil {
		err = protojson.Unmarshal(text, req)
	}
	return req, out, err
}

func shown(m proto.Message) (object, error) {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return read(bytes.NewReader(text))
}

func grpcFailure(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	f := &failure{code: st.Code().String(), text: st.Message()}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			f.reason, f.domain = info.GetReason(), info.GetDomain()
		}
	}
	return f
}

func (w overGRPC) call(ctx context.Context, operation string, in object) (object, error) {
	req, out, err := w.request(operation, in)
	if err != nil {
		return nil, err
	}
	if err := w.conn.Invoke(w.context(ctx), service+operation, req, out); err != nil {
		return nil, grpcFailure(err)
	}
	return shown(out)
}

func (w overGRPC) stream(ctx context.Context, operation string, in object, event func(object) bool) error {
	ctx, cancel := context.WithCancel(w.context(ctx))
	defer cancel()
	req, out, err := w.request(operation, in)
	if err != nil {
		return err
	}
	s, err := w.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, service+operation)
	if err == nil {
		err = errors.Join(s.SendMsg(req), s.CloseSend())
	}
	for err == nil {
		proto.Reset(out)
		if err = s.RecvMsg(out); err == nil {
			e, bad := shown(out)
			if bad != nil || !event(e) {
				return bad
			}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return grpcFailure(err)
}

// at returns what is in an object at a path, as task.status.state; nil when
// nothing is.
func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		if i, err := strconv.Atoi(name); err == nil {
			list, _ := v.([]any)
			if i >= len(list) {
				return nil
			}
			v = list[i]
			continue
		}
		o, _ := v.(object)
		v = o[name]
	}
	return v
}

// errorRow is one error of the protocol on the bindings, as A2A 1.0.1 §5.4 has it.
type errorRow struct{ reason, rpc, http, grpc string }

func errorRows() []errorRow {
	return []errorRow{
		{"TASK_NOT_FOUND", "-32001", "404", "NotFound"},
		{"TASK_NOT_CANCELABLE", "-32002", "400", "FailedPrecondition"},
		{"PUSH_NOTIFICATION_NOT_SUPPORTED", "-32003", "400", "FailedPrecondition"},
		{"UNSUPPORTED_OPERATION", "-32004", "400", "FailedPrecondition"},
		{"CONTENT_TYPE_NOT_SUPPORTED", "-32005", "400", "InvalidArgument"},
		{"VERSION_NOT_SUPPORTED", "-32009", "400", "FailedPrecondition"},
		{"INVALID_PARAMS", "-32602", "400", "InvalidArgument"},
		{"UNAUTHENTICATED", "-31401", "401", "Unauthenticated"},
	}
}

// fails checks that an operation failed as the table of errors has it.
func (c *check) fails(err error, reason string) {
	c.t.Helper()
	var f *failure
	if !errors.As(err, &f) {
		c.t.Fatalf("got %v, want %s", err, reason)
	}
	rows := errorRows()
	i := slices.IndexFunc(rows, func(r errorRow) bool { return r.reason == reason })
	want := map[string]string{"JSON-RPC": rows[i].rpc, "HTTP+JSON": rows[i].http, "gRPC": rows[i].grpc}[c.binding]
	if f.reason != reason || f.domain != "a2a-protocol.org" || f.code != want || f.text == "" {
		c.t.Errorf("got %v of %q, want %s %s", f, f.domain, want, reason)
	}
}

// check is one requirement at one binding of one server.
type check struct {
	t       *testing.T
	w       wire
	binding string
	as      func(func(*caller)) wire // the same binding, called otherwise
	push    bool                     // push notifications are served
	at      string                   // the agent's address, with the card below it
}
