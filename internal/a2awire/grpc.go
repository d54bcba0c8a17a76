package a2awire

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	grpcv0 "github.com/a2aproject/a2a-go/v2/a2agrpc/v0"
	grpcv1 "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"conclave"
)

// TenantHeader names the agent in the metadata of a gRPC call, for clients of
// 0.3, whose requests have no field tenant.
const TenantHeader = "a2a-tenant"

// The services of the two versions of the protocol.
const (
	grpcService   = "/lf.a2a.v1.A2AService/"
	grpcService03 = "/a2a.v1.A2AService/"
)

// GRPCPaths are the paths that [NewGRPC]'s handler answers.
func GRPCPaths() []string { return []string{grpcService, grpcService03} }

// NewGRPC serves A2A over gRPC, 1.0 and 0.3, on a server of HTTP/2. agent returns
// whom a request's tenant names. Who calls is in the request's context, as on
// the other bindings.
func NewGRPC(agent func(ctx context.Context, tenant string) (ServerOptions, error)) http.Handler {
	face := &grpcFace{agent: agent}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(MaxBody), grpc.UnaryInterceptor(face.unary), grpc.StreamInterceptor(face.stream))
	grpcv1.NewHandler(face).RegisterWith(s)
	grpcv0.NewHandler(face).RegisterWith(s)
	return s
}

// grpcCall is one call: what it says beside its request, and who answers it.
type grpcCall struct {
	method  string
	base    string // the address that the client asked
	handler *handler
}

type grpcCallKey struct{}

func (f *grpcFace) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	call := &grpcCall{method: info.FullMethod}
	if err := f.open(ctx, call, req); err != nil {
		return nil, grpcError(err)
	}
	out, err := next(context.WithValue(ctx, grpcCallKey{}, call), req)
	return out, explained(err)
}

func (f *grpcFace) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	call := &grpcCall{method: info.FullMethod}
	return explained(next(srv, &grpcStream{stream, context.WithValue(stream.Context(), grpcCallKey{}, call), call, f}))
}

type grpcStream struct {
	grpc.ServerStream
	ctx  context.Context
	call *grpcCall
	face *grpcFace
}

func (s *grpcStream) Context() context.Context { return s.ctx }

func (s *grpcStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if err := s.face.open(s.ctx, s.call, m); err != nil {
		return grpcError(err)
	}
	return nil
}

// grpcError is what gRPC shows of an error before the SDK has a part in it.
func grpcError(err error) error {
	f := faultOf(err)
	var code codes.Code
	if code.UnmarshalJSON([]byte(strconv.Quote(f.status))) != nil {
		code = codes.Internal
	}
	st, e := status.New(code, err.Error()).WithDetails(&errdetails.ErrorInfo{Reason: a2a.ErrorReason(f.err), Domain: a2a.ProtocolDomain})
	if e != nil {
		return status.Error(code, err.Error())
	}
	return st.Err()
}

// explained gives the refusal of a request that could not be read the details
// that every error of the protocol has.
func explained(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok || st.Code() != codes.InvalidArgument || len(st.Details()) > 0 {
		return err
	}
	if with, e := st.WithDetails(&errdetails.ErrorInfo{Reason: a2a.ErrorReason(a2a.ErrInvalidParams), Domain: a2a.ProtocolDomain}); e == nil {
		return with.Err()
	}
	return err
}

// grpcFace hands a call on to the agent that it names.
type grpcFace struct {
	agent func(ctx context.Context, tenant string) (ServerOptions, error)
}

var _ a2asrv.RequestHandler = (*grpcFace)(nil)

// open finds who answers a call, or says why it is refused: who may not speak
// learns no more than that, as on the other bindings.
func (f *grpcFace) open(ctx context.Context, call *grpcCall, req any) error {
	meta, _ := metadata.FromIncomingContext(ctx)
	asked := first(meta, strings.ToLower(a2a.SvcParamVersion))
	served, speaks := servedVersion(asked), "1.0"
	if strings.HasPrefix(call.method, grpcService03) {
		speaks = "0.3"
	}
	switch {
	case served == "":
		return versionError(asked)
	case served != speaks:
		return a2a.NewError(a2a.ErrVersionNotSupported, fmt.Sprintf("%s is a method of A2A %s, and the request's a2a-version %q is taken as %s", call.method, speaks, asked, served))
	}
	var tenant string // the SDK's handlers lose some
	if named, ok := req.(interface{ GetTenant() string }); ok {
		tenant = named.GetTenant()
	}
	if tenant == "" {
		tenant = first(meta, TenantHeader)
	}
	opts, err := f.agent(ctx, tenant)
	switch conclave.KindOf(err) {
	case nil:
	case conclave.ErrNotFound, conclave.ErrInvalid:
		return a2a.NewError(a2a.ErrInvalidParams, fmt.Sprintf("tenant %q: %s", tenant, conclave.Text(err)))
	default:
		return toError(err)
	}
	opts.setDefaults()
	scheme := "http://"
	if p, ok := peer.FromContext(ctx); ok && p.AuthInfo != nil || first(meta, "x-forwarded-proto") == "https" {
		scheme = "https://"
	}
	call.base, call.handler = scheme+first(meta, ":authority"), &handler{opts: opts}
	if err := opts.permitted(ctx); err != nil {
		return err
	}
	// The SDK takes what is negative as not there.
	if of, ok := req.(interface{ GetHistoryLength() int32 }); ok && of.GetHistoryLength() < 0 {
		return a2a.NewError(a2a.ErrInvalidParams, "historyLength must not be negative")
	}
	return nil
}

func first(meta metadata.MD, key string) string {
	if values := meta.Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// picked calls one operation of whoever answers.
func picked[In, Out any](ctx context.Context, in In, run func(*handler, context.Context, In) (Out, error)) (Out, error) {
	call, _ := ctx.Value(grpcCallKey{}).(*grpcCall)
	return run(call.handler, withBase(ctx, call.base), in)
}

func pickedStream[In any](ctx context.Context, in In, run func(*handler, context.Context, In) iter.Seq2[a2a.Event, error]) iter.Seq2[a2a.Event, error] {
	call, _ := ctx.Value(grpcCallKey{}).(*grpcCall)
	return run(call.handler, withBase(ctx, call.base), in)
}

func (f *grpcFace) SendMessage(ctx context.Context, in *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
	return picked(ctx, in, (*handler).SendMessage)
}

func (f *grpcFace) SendStreamingMessage(ctx context.Context, in *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
	return pickedStream(ctx, in, (*handler).SendStreamingMessage)
}

func (f *grpcFace) SubscribeToTask(ctx context.Context, in *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	return pickedStream(ctx, in, (*handler).SubscribeToTask)
}

func (f *grpcFace) GetTask(ctx context.Context, in *a2a.GetTaskRequest) (*a2a.Task, error) {
	return picked(ctx, in, (*handler).GetTask)
}

func (f *grpcFace) ListTasks(ctx context.Context, in *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	return picked(ctx, in, (*handler).ListTasks)
}

func (f *grpcFace) CancelTask(ctx context.Context, in *a2a.CancelTaskRequest) (*a2a.Task, error) {
	return picked(ctx, in, (*handler).CancelTask)
}

func (f *grpcFace) CreateTaskPushConfig(ctx context.Context, in *a2a.PushConfig) (*a2a.PushConfig, error) {
	return picked(ctx, in, (*handler).CreateTaskPushConfig)
}

func (f *grpcFace) GetTaskPushConfig(ctx context.Context, in *a2a.GetTaskPushConfigRequest) (*a2a.PushConfig, error) {
	return picked(ctx, in, (*handler).GetTaskPushConfig)
}

func (f *grpcFace) ListTaskPushConfigs(ctx context.Context, in *a2a.ListTaskPushConfigRequest) (*a2a.ListTaskPushConfigResponse, error) {
	return picked(ctx, in, (*handler).ListTaskPushConfigs)
}

func (f *grpcFace) DeleteTaskPushConfig(ctx context.Context, in *a2a.DeleteTaskPushConfigRequest) error {
	_, err := picked(ctx, in, func(h *handler, ctx context.Context, in *a2a.DeleteTaskPushConfigRequest) (struct{}, error) {
		return struct{}{}, h.DeleteTaskPushConfig(ctx, in)
	})
	return err
}

func (f *grpcFace) GetExtendedAgentCard(ctx context.Context, in *a2a.GetExtendedAgentCardRequest) (*a2a.AgentCard, error) {
	return picked(ctx, in, (*handler).GetExtendedAgentCard)
}
