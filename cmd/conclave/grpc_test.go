package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	a2agrpc "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	a2apb "github.com/a2aproject/a2a-go/v2/a2apb/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/pgtest"
)

// rpcToken sends a token with each call, in clear where the server is.
type rpcToken string

func (t rpcToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

func (rpcToken) RequireTransportSecurity() bool { return false }

// rpcFace is the gRPC face of planner-1 by the card that the gateway gives, and
// how to dial it.
func (i *installation) rpcFace(t *testing.T) (*a2a.AgentInterface, credentials.TransportCredentials) {
	t.Helper()
	plain, transport := http.DefaultClient, insecure.NewCredentials()
	if file := i.env["CONCLAVE_TLS_CA"]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		trusted := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		trusted.RootCAs.AppendCertsFromPEM(text)
		plain, transport = &http.Client{Transport: &http.Transport{TLSClientConfig: trusted}}, credentials.NewTLS(trusted.Clone())
	}
	gateway := i.urls()[conclave.ServiceGateway]
	code, text := request(t, plain, http.MethodGet, gateway+"/a2a/agents/planner-1/.well-known/agent-card.json", "", "")
	var card struct {
		SupportedInterfaces []*a2a.AgentInterface
	}
	if err := json.Unmarshal([]byte(text), &card); err != nil {
		t.Fatalf("%d %s: %v", code, text, err)
	}
	_, host, _ := strings.Cut(gateway, "://")
	var face *a2a.AgentInterface
	for _, f := range card.SupportedInterfaces {
		if !strings.HasPrefix(f.URL, gateway+"/") && f.URL != host {
			t.Errorf("through the gateway at %s the card names %s", gateway, f.URL)
		}
		if f.ProtocolBinding == a2a.TransportProtocolGRPC {
			face = f
		}
	}
	if face == nil {
		t.Fatalf("the card names no gRPC: %s", text)
	}
	return face, transport
}

func asked(text string) *a2a.SendMessageRequest {
	return &a2a.SendMessageRequest{Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text))}
}

// A2A over gRPC goes through the gateway, to a hub in its own process or in
// another one, in clear or by TLS. What the gateway itself refuses is an error of
// gRPC with the protocol's details.
func TestGRPCThroughGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two processes")
	}
	for _, tt := range []struct {
		name       string
		tls, apart bool
	}{{"one process", false, false}, {"one process by TLS", true, false}, {"hub apart", false, true}, {"hub apart by TLS", true, true}} {
		t.Run(tt.name, func(t *testing.T) {
			i := newInstallation(t)
			if tt.tls {
				i.secure(t)
			}
			hub := (*server)(nil)
			if !tt.apart {
				i.serve()
			} else {
				i.env["CONCLAVE_DATABASE_URL"] = pgtest.URL(t)
				hub = i.start(program(t), nil, string(conclave.ServiceHub))
				rest := i.start(program(t), nil, string(conclave.ServiceGateway), string(conclave.ServicePool), string(conclave.ServiceModels))
				hub.awaitReady(t)
				rest.awaitReady(t)
			}
			token, err := app.ReadToken(i.home)
			if err != nil {
				t.Fatal(err)
			}
			face, transport := i.rpcFace(t)
			client, err := a2aclient.NewFromEndpoints(t.Context(), []*a2a.AgentInterface{face},
				a2agrpc.WithGRPCTransport(grpc.WithTransportCredentials(transport), grpc.WithPerRPCCredentials(rpcToken(token))))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := client.Destroy(); err != nil {
					t.Error(err)
				}
			}()
			result, err := client.SendMessage(t.Context(), asked("Which steps does a login page take?"))
			if err != nil {
				t.Fatal(err)
			}
			task, ok := result.(*a2a.Task)
			if !ok {
				t.Fatalf("the answer is a %T", result)
			}
			if out, errs, code := i.conclave("conversation", task.ContextID); code != exitDone || !strings.Contains(out, "login page") {
				t.Errorf("the conversation: exit code %d\n%s%s", code, out, errs)
			}
			var streamed []a2a.Event
			for e, err := range client.SendStreamingMessage(t.Context(), asked("And its tests?")) {
				if err != nil {
					t.Fatal(err)
				}
				streamed = append(streamed, e)
			}
			if len(streamed) < 2 {
				t.Errorf("the stream has %d events", len(streamed))
			}
			conn, err := grpc.NewClient(face.URL, grpc.WithTransportCredentials(transport))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			list := func(token string) *status.Status { // the SDK's client drops the code
				_, err := a2apb.NewA2AServiceClient(conn).ListTasks(metadata.AppendToOutgoingContext(t.Context(), "a2a-version", "1.0"),
					&a2apb.ListTasksRequest{Tenant: face.Tenant}, grpc.PerRPCCredentials(rpcToken(token)))
				return status.Convert(err)
			}
			if s := list(token); s.Code() != codes.OK {
				t.Errorf("with a good token: %v", s)
			}
			if s := list("open-sesame"); s.Code() != codes.Unauthenticated || !strings.Contains(s.Message(), "forged") {
				t.Errorf("with a wrong token: %v", s)
			}
			if hub == nil {
				return
			}
			hub.stop(t)
			s := list(token)
			if s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "a2a-hub") {
				t.Errorf("with the hub gone: %v", s)
			}
			if info, ok := append(s.Details(), nil)[0].(*errdetails.ErrorInfo); !ok || info.Metadata["conclave/kind"] != conclave.ErrUnavailable.Error() {
				t.Errorf("with the hub gone, the details are %v", s.Details())
			}
		})
	}
}
