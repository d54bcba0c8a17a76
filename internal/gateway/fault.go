package gateway

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"conclave"
)

// fault is an error of the gateway itself, as each protocol writes errors.
type fault struct {
	err    error // with its kind
	status int
	retry  time.Duration // after which another try makes sense; 0: not said
}

func (f fault) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if f.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retry.Seconds()))))
	}
	h.Set("Cache-Control", "no-store")
	kind, text := conclave.KindOf(f.err).Error(), conclave.Text(f.err)
	var body map[string]any
	switch face(r) {
	case "grpc":
		f.writeGRPC(h, kind, text)
		return
	case "mcp": // the transport's own errors are JSON-RPC errors without an id
		body = map[string]any{"jsonrpc": "2.0", "id": nil, "error": map[string]any{
			"code": -32000, "message": text, "data": map[string]string{"kind": kind}}}
	case "a2a":
		info := []any{map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": f.reason(), "domain": "a2a-protocol.org",
			"metadata": map[string]string{"conclave/kind": kind}}}
		if isRPC(r) {
			body = map[string]any{"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": -32000, "message": text, "data": info}}
			break
		}
		body = map[string]any{"error": map[string]any{"code": f.status, "status": f.reason(), "message": text, "details": info}}
	case "page":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(f.status)
		_, _ = w.Write([]byte(text + "\n")) // the client is gone when this fails
		return
	default:
		h.Set("Content-Type", "application/problem+json")
		body = map[string]any{"title": http.StatusText(f.status), "status": f.status, "detail": text, "kind": kind, "request_id": h.Get(requestHeader)}
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone when this fails
}

// writeGRPC writes an answer that is its trailers only.
func (f fault) writeGRPC(h http.Header, kind, text string) {
	s := &statuspb.Status{Code: int32(code.Code_value[f.reason()]), Message: text}
	info, err := anypb.New(&errdetails.ErrorInfo{Reason: f.reason(), Domain: "a2a-protocol.org", Metadata: map[string]string{"conclave/kind": kind}})
	if err == nil { // else the code says it
		s.Details = append(s.Details, info)
	}
	if details, err := proto.Marshal(s); err == nil {
		h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(int(s.Code)))
	h.Set("Grpc-Message", strings.ReplaceAll(url.PathEscape(text), "%20", " "))
}

// reason is the canonical name of the status (google.rpc.Code).
func (f fault) reason() string {
	switch f.status {
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusServiceUnavailable, http.StatusBadGateway:
		return "UNAVAILABLE"
	case http.StatusRequestEntityTooLarge:
		return "INVALID_ARGUMENT"
	}
	return "INTERNAL"
}

// face names the protocol that a path speaks.
func face(r *http.Request) string {
	switch path := r.URL.Path; {
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
		return "grpc"
	case path == "/mcp":
		return "mcp"
	case strings.HasPrefix(path, "/a2a/"):
		return "a2a"
	case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
		return "page"
	}
	return "http"
}

// isRPC reports whether an A2A request is JSON-RPC: those are sent to the agent's
// own address, the others below it.
func isRPC(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.Count(strings.Trim(r.URL.Path, "/"), "/") == 2
}
