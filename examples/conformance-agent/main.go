// Command conformance-agent is an A2A agent that behaves as the scenarios of the
// official A2A Technology Compatibility Kit (TCK) ask: what it does depends on how
// a message's id begins. It is served by Conclave's own A2A server, on all three
// bindings, in 1.0 and 0.3, and lets everybody in, unless -token says who: run it
// on loopback only. With -register it makes itself known to the hub, as
// agents/conformance, so that the TCK can be run through it (make a2a-tck).
package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"conclave"
	"conclave/examples/rest"
	"conclave/internal/a2awire"
)

// long is twice the time for which the TCK's tests of a running stream wait.
const long = 4 * time.Second

// scenario is what the agent does with a message whose id has the prefix.
type scenario struct {
	prefix string
	do     a2awire.Handler
}

// scenarios, the longer prefix before the shorter.
func scenarios() []scenario {
	file := func(content a2a.PartContent) *a2awire.Artifact {
		return artifact(&a2a.Part{Content: content, Filename: "output.txt", MediaType: "text/plain"})
	}
	data := a2a.NewDataPart(map[string]any{"key": "value", "count": 42})
	ask := answer(a2awire.Outgoing{Text: "What else?", Ask: true})
	return []scenario{
		{"tck-artifact-text", answer(a2awire.Outgoing{Artifacts: []*a2awire.Artifact{artifact(a2a.NewTextPart("Generated text content"))}})},
		{"tck-artifact-file-url", answer(a2awire.Outgoing{Artifacts: []*a2awire.Artifact{file(a2a.URL("https://example.com/output.txt"))}})},
		{"tck-artifact-file", answer(a2awire.Outgoing{Artifacts: []*a2awire.Artifact{file(a2a.Raw("Generated file content"))}})},
		{"tck-artifact-data", answer(a2awire.Outgoing{Artifacts: []*a2awire.Artifact{artifact(data)}})},
		{"tck-message-response", answer(a2awire.Outgoing{Text: "Direct message response", Message: true})},
		{"tck-input-required", ask},
		{"tck-reject-task", func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) {
			return a2awire.Outgoing{}, a2awire.Rejection{Err: conclave.Errorf(conclave.ErrInvalid, "rejected")}
		}},
		{"tck-stream-artifact-chunked", stream(a2a.NewTextPart("chunk-1 "), a2a.NewTextPart("chunk-2"))},
		{"tck-stream-artifact-file", stream(&a2a.Part{Content: a2a.Raw("Streamed file content"), Filename: "output.txt", MediaType: "text/plain"})},
		{"tck-stream-artifact-text", stream(a2a.NewTextPart("Streamed text content"))},
		{"tck-stream-ordering-001", stream(a2a.NewTextPart("Ordered output"))},
		{"tck-stream-001", stream(a2a.NewTextPart("Stream hello from TCK"))},
		{"tck-stream-003", stream(a2a.NewTextPart("Stream task lifecycle"))},
		{"test-resubscribe-message-id", work},
		// The TCK of 0.3 goes on with these, or cancels them. Its other messages get an
		// answer.
		{"cancel-test-", ask}, {"continuation-", ask}, {"get-test-", ask}, {"mapping-test-", ask}, {"text-message-id-", ask},
		{"test-contextid-", ask}, {"test-followup-", ask}, {"test-history-", ask}, {"test-message-id-", ask}, {"test-push-", ask}, {"test-update-", ask},
	}
}

func artifact(p *a2a.Part) *a2awire.Artifact {
	return &a2awire.Artifact{ID: a2a.NewArtifactID(), Name: "result", Parts: a2a.ContentParts{p}}
}

func answer(out a2awire.Outgoing) a2awire.Handler {
	return func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) { return out, nil }
}

// stream shows one artifact in as many pieces as it has parts.
func stream(parts ...*a2a.Part) a2awire.Handler {
	return func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
		id := a2a.NewArtifactID()
		for i, p := range parts {
			in.Emit(&a2awire.Artifact{ID: id, Name: "result", Parts: a2a.ContentParts{p}}, i > 0, i == len(parts)-1)
		}
		return a2awire.Outgoing{}, nil
	}
}

// work takes its time, so that others can join the stream meanwhile.
func work(ctx context.Context, _ a2awire.Incoming) (a2awire.Outgoing, error) {
	done := time.NewTimer(long)
	defer done.Stop()
	select {
	case <-done.C:
		return a2awire.Outgoing{Text: "Done"}, nil
	case <-ctx.Done():
		return a2awire.Outgoing{}, ctx.Err()
	}
}

// handle does what the message's id asks for. Any other message completes.
func handle(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
	for _, s := range scenarios() {
		if strings.HasPrefix(string(in.SentAs), s.prefix) {
			return s.do(ctx, in)
		}
	}
	return a2awire.Outgoing{Text: "Hello from TCK"}, nil
}

// newServer is the agent on all its bindings. Who sends the token is let in, and
// everybody when it is empty.
func newServer(name, token string) (http.Handler, *a2awire.Runner) {
	// The TCK uses one message id for many messages.
	runner := a2awire.NewRunner(a2awire.RunnerOptions{Name: name, Handle: handle, Repeats: true})
	card := a2awire.Card{Name: name, Description: "Behaves as the scenarios of the A2A TCK ask", GRPC: true, Extended: true,
		Skills: []a2awire.Skill{{ID: "tck", Name: "TCK scenarios", Description: "What it does depends on the message's id", Tags: []string{"conformance"}}}}
	options := a2awire.ServerOptions{Tasks: runner,
		Card: func(*http.Request) (a2awire.Card, error) { return card, nil },
		Extended: func(context.Context) (a2awire.Card, error) {
			extended := card
			extended.Facts = map[string]any{"scenarios": float64(len(scenarios()))}
			return extended, nil
		}}
	mux := http.NewServeMux()
	mux.Handle("/", a2awire.NewServer(options))
	calls := a2awire.NewGRPC(func(context.Context, string) (a2awire.ServerOptions, error) { return options, nil })
	for _, path := range a2awire.GRPCPaths() {
		mux.Handle(path, calls)
	}
	anybody := conclave.Caller{Tenant: conclave.DefaultTenant, Human: "tck", Permissions: []conclave.Permission{conclave.PermitSpeak}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token == "" || subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+token)) == 1 {
			r = r.WithContext(conclave.WithCaller(r.Context(), anybody))
		}
		mux.ServeHTTP(w, r)
	}), runner
}

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:9999", "where to answer")
	name := flag.String("name", "conformance", "the agent's name")
	token := flag.String("token", "", "let in only who sends this token")
	register := flag.Bool("register", false, "make the agent known to the hub behind CONCLAVE_URL, with CONCLAVE_TOKEN")
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	must(err)
	url := "http://" + l.Addr().String()
	handler, runner := newServer(*name, *token)
	defer runner.Close()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // gRPC

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = server.Close() // what is under way is a test's
	}()
	if *register {
		must(rest.Call("POST", "/api/agents", map[string]any{"agent": map[string]any{"name": *name, "role": "conformance",
			"description": "Behaves as the scenarios of the A2A TCK ask", "skills": []string{"ask"}, "brain": "none", "url": url, "capacity": 64}}, nil))
	}
	fmt.Println("A2A agent at " + url)
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		must(err)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
