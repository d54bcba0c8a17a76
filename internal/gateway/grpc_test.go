package gateway_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"conclave/internal/gateway"
)

// What is too much over gRPC is an answer of trailers only, which its clients
// take for a status.
func TestLimitOverGRPC(t *testing.T) {
	g := build(t, func(o *gateway.Options) { o.Caller = gateway.Rate{PerSecond: 0.001, Burst: 1} })
	call := func(r *http.Request) { r.Header.Set("Content-Type", "application/grpc") }
	if w := do(g, http.MethodPost, "/a2a/agents/x", "ada", call); w.Body.Len() == 0 {
		t.Fatalf("the first call gets %d", w.Code)
	}
	w := do(g, http.MethodPost, "/a2a/agents/x", "ada", call)
	h := w.Result().Header
	if w.Code != http.StatusOK || w.Body.Len() != 0 || h.Get("Content-Type") != "application/grpc" || h.Get("Grpc-Status") != "8" || !strings.Contains(h.Get("Grpc-Message"), "calls too often") {
		t.Errorf("%d %v %q", w.Code, h, w.Body)
	}
	text, err := base64.RawStdEncoding.DecodeString(h.Get("Grpc-Status-Details-Bin"))
	if err != nil {
		t.Fatal(err)
	}
	var s statuspb.Status
	if err := proto.Unmarshal(text, &s); err != nil || s.Code != 8 || len(s.Details) != 1 {
		t.Errorf("the details are %v, %v", &s, err)
	}
}
