// Command go is an agent on the official Go SDK: it counts words, asks back, can
// be cancelled, and votes. Start it with: go run ./examples/agents/go [-key FILE]
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"iter"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/gowebpki/jcs"
)

type object = map[string]any

// counter answers messages. Its key signs its card and its ballots.
type counter struct {
	key     ed25519.PrivateKey
	mu      sync.Mutex
	waiting map[a2a.TaskID]chan struct{}
}

// Execute implements [a2asrv.AgentExecutor].
func (c *counter) Execute(ctx context.Context, in *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		var words []string
		var motion object
		for _, part := range in.Message.Parts {
			words = append(words, strings.Fields(part.Text())...)
			if assignment, ok := part.Data().(object); ok {
				motion, _ = assignment["motion"].(object)
			}
		}
		said := strings.Join(words, " ")
		if in.StoredTask == nil && !yield(a2a.NewSubmittedTask(in, in.Message), nil) {
			return
		}
		if !yield(a2a.NewStatusUpdateEvent(in, a2a.TaskStateWorking, nil), nil) {
			return
		}
		answer := []*a2a.Part{a2a.NewTextPart(fmt.Sprintf("%d words", len(words)))}
		switch {
		case motion != nil:
			answer = []*a2a.Part{a2a.NewTextPart("I approve."), a2a.NewDataPart(c.ballot(motion, in.Message.Metadata))}
		case strings.HasPrefix(said, "wait"):
			select {
			case <-c.wait(in.TaskID): // Cancel tells what became of it
			case <-ctx.Done():
			}
			return
		case said == "count" && in.StoredTask == nil:
			ask := a2a.NewMessageForTask(a2a.MessageRoleAgent, in, a2a.NewTextPart("Count what?"))
			yield(a2a.NewStatusUpdateEvent(in, a2a.TaskStateInputRequired, ask), nil)
			return
		}
		if yield(a2a.NewArtifactEvent(in, answer...), nil) {
			yield(a2a.NewStatusUpdateEvent(in, a2a.TaskStateCompleted, nil), nil)
		}
	}
}

// Cancel implements [a2asrv.AgentExecutor].
func (c *counter) Cancel(_ context.Context, in *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		c.mu.Lock()
		if end, ok := c.waiting[in.TaskID]; ok {
			close(end)
			delete(c.waiting, in.TaskID)
		}
		c.mu.Unlock()
		yield(a2a.NewStatusUpdateEvent(in, a2a.TaskStateCanceled, nil), nil)
	}
}

func (c *counter) wait(id a2a.TaskID) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := make(chan struct{})
	c.waiting[id] = end
	return end
}

// ballot is bound to the round and to the hash of what is voted on. Under which
// name and role the voter is registered, the message says.
func (c *counter) ballot(motion, metadata object) object {
	b := object{"motion": motion["id"], "round": motion["round"], "subject": motion["subject"], "voter": metadata["conclave/agent"], "role": metadata["conclave/role"],
		"verdict": "approve", "reasons": []string{"its words can be counted"}, "public_key": base64.StdEncoding.EncodeToString(c.public())}
	b["signature"] = base64.StdEncoding.EncodeToString(ed25519.Sign(c.key, canonical(b)))
	return b
}

func (c *counter) public() ed25519.PublicKey { return c.key.Public().(ed25519.PublicKey) }

// canonical is canonical JSON (RFC 8785).
func canonical(v any) []byte {
	text, err := json.Marshal(v)
	must(err)
	text, err = jcs.Transform(text)
	must(err)
	return text
}

// card is signed with the agent's key, and says that the key is at its own origin.
func (c *counter) card(origin string) (card, keys []byte) {
	x := base64.RawURLEncoding.EncodeToString(c.public())
	print := sha256.Sum256(canonical(object{"crv": "Ed25519", "kty": "OKP", "x": x})) // RFC 7638
	kid := base64.RawURLEncoding.EncodeToString(print[:])
	var interfaces []*a2a.AgentInterface
	for _, version := range []a2a.ProtocolVersion{a2a.Version, a2av0.Version} {
		if only := os.Getenv("A2A_PROTOCOL_VERSION"); only == "" || only == string(version) {
			interfaces = append(interfaces,
				&a2a.AgentInterface{URL: origin + "/a2a/" + string(version), ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: version},
				&a2a.AgentInterface{URL: origin + "/rest/" + string(version), ProtocolBinding: a2a.TransportProtocolHTTPJSON, ProtocolVersion: version})
		}
	}
	said := &a2a.AgentCard{Name: "Counter in Go", Description: "Counts words, and votes.", Version: "1.0.0", SupportedInterfaces: interfaces,
		Capabilities:      a2a.AgentCapabilities{Streaming: true},
		DefaultInputModes: []string{"text/plain"}, DefaultOutputModes: []string{"text/plain", "application/json"},
		Skills: []a2a.AgentSkill{{ID: "count", Name: "Count words", Description: "Counts the words of a text.", Tags: []string{"text"}},
			{ID: "vote", Name: "Vote", Description: "Votes on motions, with a signed ballot.", Tags: []string{"conclave"}}}}
	protected := base64.RawURLEncoding.EncodeToString(canonical(object{"alg": "EdDSA", "kid": kid, "typ": "JOSE", "jku": origin + "/keys.json"}))
	signature := ed25519.Sign(c.key, []byte(protected+"."+base64.RawURLEncoding.EncodeToString(canonical(said))))
	said.Signatures = []a2a.AgentCardSignature{{Protected: protected, Signature: base64.RawURLEncoding.EncodeToString(signature)}}
	return canonical(said), canonical(object{"keys": []any{object{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"}}})
}

// loadKey reads the key, or makes one: another key is another voter, so keep it.
func loadKey(path string) ed25519.PrivateKey {
	text, err := os.ReadFile(path)
	if err == nil {
		block, _ := pem.Decode(text)
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		must(err)
		return key.(ed25519.PrivateKey)
	}
	_, key, err := ed25519.GenerateKey(nil)
	must(err)
	if path != "" {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	}
	return key
}

func serve(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}
}

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:0", "where to answer")
	key := flag.String("key", "", "file of the key; empty: a new one")
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	must(err)
	origin := "http://" + l.Addr().String()
	c := &counter{key: loadKey(*key), waiting: map[a2a.TaskID]chan struct{}{}}
	handler := a2asrv.NewHandler(c)
	card, keys := c.card(origin)
	mux := http.NewServeMux()
	mux.Handle(a2asrv.WellKnownAgentCardPath, serve(card))
	mux.Handle("/keys.json", serve(keys))
	mux.Handle("/a2a/1.0", a2asrv.NewJSONRPCHandler(handler))
	mux.Handle("/a2a/0.3", a2av0.NewJSONRPCHandler(handler))
	mux.Handle("/rest/1.0/", http.StripPrefix("/rest/1.0", a2asrv.NewRESTHandler(handler)))
	mux.Handle("/rest/0.3/", http.StripPrefix("/rest/0.3", a2av0.NewRESTHandler(handler)))
	fmt.Println("listening at " + origin)
	must((&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(l))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
