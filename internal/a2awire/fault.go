package a2awire

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/errordetails"
)

// fault is how one error of the protocol looks on the wires: A2A 1.0.1 §5.4 for
// the protocol's own, JSON-RPC's and google.rpc.Code's for the rest. What gRPC
// shows is the SDK's, and the same.
type fault struct {
	err    error
	rpc    int
	http   int
	status string
}

func faults() []fault {
	const (
		invalid      = "INVALID_ARGUMENT"
		precondition = "FAILED_PRECONDITION"
	)
	return []fault{
		{a2a.ErrParseError, -32700, http.StatusBadRequest, invalid},
		{a2a.ErrInvalidRequest, -32600, http.StatusBadRequest, invalid},
		{a2a.ErrMethodNotFound, -32601, http.StatusNotFound, "NOT_FOUND"},
		{a2a.ErrInvalidParams, -32602, http.StatusBadRequest, invalid},
		{a2a.ErrServerError, -32000, http.StatusServiceUnavailable, "UNAVAILABLE"},
		{a2a.ErrTaskNotFound, -32001, http.StatusNotFound, "NOT_FOUND"},
		{a2a.ErrTaskNotCancelable, -32002, http.StatusBadRequest, precondition},
		{a2a.ErrPushNotificationNotSupported, -32003, http.StatusBadRequest, precondition},
		{a2a.ErrUnsupportedOperation, -32004, http.StatusBadRequest, precondition},
		{a2a.ErrUnsupportedContentType, -32005, http.StatusBadRequest, invalid},
		{a2a.ErrInvalidAgentResponse, -32006, http.StatusInternalServerError, "INTERNAL"},
		{a2a.ErrExtendedCardNotConfigured, -32007, http.StatusBadRequest, precondition},
		{a2a.ErrExtensionSupportRequired, -32008, http.StatusBadRequest, precondition},
		{a2a.ErrVersionNotSupported, -32009, http.StatusBadRequest, precondition},
		{a2a.ErrUnauthenticated, -31401, http.StatusUnauthorized, "UNAUTHENTICATED"},
		{a2a.ErrUnauthorized, -31403, http.StatusForbidden, "PERMISSION_DENIED"},
		{context.DeadlineExceeded, -32603, http.StatusGatewayTimeout, "DEADLINE_EXCEEDED"},
		{a2a.ErrInternalError, -32603, http.StatusInternalServerError, "INTERNAL"},
	}
}

func faultOf(err error) fault {
	all := faults()
	for _, f := range all {
		if errors.Is(err, f.err) {
			return f
		}
	}
	return all[len(all)-1]
}

// details are what an error tells beside its text: google.rpc.ErrorInfo first.
func details(err error) []*errordetails.Typed {
	f := faultOf(err)
	var own *a2a.Error
	if !errors.As(err, &own) {
		return []*errordetails.Typed{errordetails.NewErrorInfo(a2a.ErrorReason(f.err), a2a.ProtocolDomain, nil)}
	}
	info := own.ErrorInfo()
	all := []*errordetails.Typed{info}
	for _, d := range own.TypedDetails {
		if d != info {
			all = append(all, d)
		}
	}
	return all
}

// rpcReply is a JSON-RPC response; one of Result and Error is there.
type rpcReply struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

type rpcError struct {
	Code    int                   `json:"code"`
	Message string                `json:"message"`
	Data    []*errordetails.Typed `json:"data"`
}

func rpcFault(id json.RawMessage, err error) rpcReply {
	if id == nil {
		id = json.RawMessage("null")
	}
	return rpcReply{Version: "2.0", ID: id, Error: &rpcError{Code: faultOf(err).rpc, Message: err.Error(), Data: details(err)}}
}

// writeRPCError answers a call. A client that wants a stream is told by the
// status too: what is no stream, it may not read.
func writeRPCError(w http.ResponseWriter, r *http.Request, id json.RawMessage, err error) {
	status := http.StatusOK
	if strings.Contains(r.Header.Get("Accept"), eventStream) {
		status = faultOf(err).http
	}
	writeJSON(w, r, status, rpcFault(id, err))
}

// refuseRPC03 tells who may not speak by the status too: where 1.0 has an error of
// JSON-RPC, 0.3 has 401 and 403 (A2A 0.3.0 §4.4).
func refuseRPC03(w http.ResponseWriter, r *http.Request, id json.RawMessage, err error) {
	status := faultOf(err).http
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, r, status, rpcFault(id, err))
}

// restFault is an error as google.rpc.Status in JSON.
func restFault(err error) map[string]any {
	f := faultOf(err)
	return map[string]any{"error": map[string]any{"code": f.http, "status": f.status, "message": err.Error(), "details": details(err)}}
}

func writeRESTError(w http.ResponseWriter, r *http.Request, err error) {
	writeJSON(w, r, faultOf(err).http, restFault(err))
}

// writeJSON answers in the media type of A2A to clients that speak of it, and as
// plain JSON to all others, some of which refuse anything else.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	as := plainJSON
	if strings.Contains(r.Header.Get("Accept")+r.Header.Get("Content-Type"), a2aJSON) {
		as = a2aJSON
	}
	w.Header().Set("Content-Type", as)
	w.WriteHeader(status)
	// The client that hung up is the only one who could be told.
	_ = json.NewEncoder(w).Encode(v)
}
