package a2awire

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
)

// rpcRequest is what both versions of the protocol have around a call.
type rpcRequest struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

// readRPC takes a request apart. The request's id is returned with an error too,
// if it could be read.
func readRPC(body []byte) (rpcRequest, error) {
	var req rpcRequest
	if err := decode(body, &req); err != nil {
		if faultOf(err).err == a2a.ErrInvalidParams { // JSON, but no request
			err = a2a.NewError(a2a.ErrInvalidRequest, `want one JSON-RPC request: {"jsonrpc": "2.0", "id": …, "method": …, "params": {…}}`)
		}
		return req, err
	}
	if id := bytes.TrimSpace(req.ID); len(id) > 0 && !strings.ContainsRune(`"-0123456789n`, rune(id[0])) {
		req.ID = nil
		return req, a2a.NewError(a2a.ErrInvalidRequest, "id must be a string, a number or null")
	}
	switch {
	case req.Version != "2.0":
		return req, a2a.NewError(a2a.ErrInvalidRequest, `jsonrpc must be "2.0"`)
	case req.Method == "":
		return req, a2a.NewError(a2a.ErrInvalidRequest, "method is required")
	}
	if req.Params = bytes.TrimSpace(req.Params); len(req.Params) == 0 || string(req.Params) == "null" {
		req.Params = json.RawMessage("{}")
	}
	if req.Params[0] != '{' {
		return req, a2a.NewError(a2a.ErrInvalidParams, "params must be an object")
	}
	return req, nil
}

type (
	rpcCall   func(ctx context.Context, params json.RawMessage) (any, error)
	rpcStream func(ctx context.Context, params json.RawMessage) (iter.Seq2[a2a.Event, error], error)
)

// rpcServer answers JSON-RPC 1.0.
type rpcServer struct {
	calls   map[string]rpcCall
	streams map[string]rpcStream
}

func newRPC(h a2asrv.RequestHandler) *rpcServer {
	return &rpcServer{
		calls: map[string]rpcCall{
			"SendMessage": call(func(ctx context.Context, in *a2a.SendMessageRequest) (any, error) {
				out, err := h.SendMessage(ctx, in)
				return a2a.StreamResponse{Event: out}, err // a message or a task, named as in a stream
			}),
			"GetTask":                          call(h.GetTask),
			"ListTasks":                        call(h.ListTasks),
			"CancelTask":                       call(h.CancelTask),
			"CreateTaskPushNotificationConfig": call(h.CreateTaskPushConfig),
			"GetTaskPushNotificationConfig":    call(h.GetTaskPushConfig),
			"ListTaskPushNotificationConfigs":  call(h.ListTaskPushConfigs),
			"DeleteTaskPushNotificationConfig": call(func(ctx context.Context, in *a2a.DeleteTaskPushConfigRequest) (any, error) {
				return struct{}{}, h.DeleteTaskPushConfig(ctx, in)
			}),
			"GetExtendedAgentCard": call(func(ctx context.Context, in *a2a.GetExtendedAgentCardRequest) (any, error) {
				return extendedCard(ctx, h, in)
			}),
		},
		streams: map[string]rpcStream{
			"SendStreamingMessage": streamCall(h.SendStreamingMessage),
			"SubscribeToTask":      streamCall(h.SubscribeToTask),
		},
	}
}

func extendedCard(ctx context.Context, h a2asrv.RequestHandler, in *a2a.GetExtendedAgentCardRequest) (any, error) {
	card, err := h.GetExtendedAgentCard(ctx, in)
	if err != nil {
		return nil, err
	}
	return cardJSON(card)
}

// call makes a typed operation one that takes JSON.
func call[In, Out any](f func(context.Context, *In) (Out, error)) rpcCall {
	return func(ctx context.Context, params json.RawMessage) (any, error) {
		in := new(In)
		if err := decode(params, in); err != nil {
			return nil, err
		}
		return f(ctx, in)
	}
}

func streamCall[In any](f func(context.Context, *In) iter.Seq2[a2a.Event, error]) rpcStream {
	return func(ctx context.Context, params json.RawMessage) (iter.Seq2[a2a.Event, error], error) {
		in := new(In)
		if err := decode(params, in); err != nil {
			return nil, err
		}
		return f(ctx, in), nil
	}
}

func (s *rpcServer) serve(w http.ResponseWriter, r *http.Request, req rpcRequest) {
	params := camelCase(req.Params)
	if start, ok := s.streams[req.Method]; ok {
		events, err := start(r.Context(), params)
		if err != nil {
			writeRPCError(w, r, req.ID, err)
			return
		}
		writeStream(w, r, events, func(e a2a.Event) any {
			return rpcReply{Version: "2.0", ID: req.ID, Result: a2a.StreamResponse{Event: e}}
		}, func(err error) any { return rpcFault(req.ID, err) }, func(err error) { writeRPCError(w, r, req.ID, err) })
		return
	}
	run, ok := s.calls[req.Method]
	if !ok {
		writeRPCError(w, r, req.ID, a2a.NewError(a2a.ErrMethodNotFound, "A2A 1.0 has no method "+req.Method))
		return
	}
	out, err := run(r.Context(), params)
	if err != nil {
		writeRPCError(w, r, req.ID, err)
		return
	}
	if req.ID == nil {
		req.ID = json.RawMessage("null")
	}
	writeJSON(w, r, http.StatusOK, rpcReply{Version: "2.0", ID: req.ID, Result: out})
}
