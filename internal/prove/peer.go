package prove

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/identity"
	"time"
)

// peer is an agent of somebody else's: an A2A server on loopback that keeps the
// bytes it receives. It answers a text with a secret, and holds a text that
// begins with "hold", and every request for a vote, until it is cancelled.
type peer struct {
	name   conclave.AgentName
	url    string
	key    *identity.Key
	secret string

	mu       sync.Mutex
	received bytes.Buffer
	dropped  int // how many tasks that it held were cancelled

	runner *a2awire.Runner
	server *http.Server
	served chan error
}

const peerRole conclave.Role = "prover"

// peerKeys is where the peer publishes the key that signs its card.
const peerKeys = "/keys.json"

func startPeer(name, dir string) (*peer, error) {
	key, err := identity.LoadOrCreate(dir, name)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "listen as a peer: %w", err)
	}
	p := &peer{name: conclave.AgentName(name), url: "http://" + l.Addr().String(), key: key, secret: rand.Text(), served: make(chan error, 1)}
	agent, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{
		Card:   a2awire.Card{Name: name, URL: p.url, Description: "Listens, so that what was sent can be compared with what arrived."},
		Handle: p.handle, Permission: conclave.PermitSpeak, Logger: slog.New(slog.DiscardHandler),
		Sign: func(_ *http.Request, payload []byte) (a2awire.CardSignature, error) {
			s, err := key.SignDetached(payload, p.url+peerKeys)
			return a2awire.CardSignature{Protected: s.Protected, Signature: s.Signature}, err
		},
	})
	p.runner = runner
	p.server = &http.Server{Handler: p.record(agent), ReadHeaderTimeout: 10 * time.Second}
	go func() { p.served <- p.server.Serve(l) }()
	return p, nil
}

func (p *peer) Close() {
	_ = p.server.Close() // connections of the hub end with it
	<-p.served
	p.runner.Close()
}

// record keeps each body before the agent reads it. Who calls is not asked: the
// peer lives as long as a proof, on loopback.
func (p *peer) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == peerKeys {
			keys, err := identity.PublicKeySet(p.key)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = w.Write(keys)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		p.received.Write(body)
		p.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r.WithContext(conclave.WithCaller(r.Context(), conclave.ServiceCaller(conclave.ServiceHub, conclave.DefaultTenant, "prove"))))
	})
}

func (p *peer) handle(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
	if in.Kind == conclave.AssignVote || strings.HasPrefix(in.Text, "hold") {
		<-ctx.Done()
		p.mu.Lock()
		p.dropped++
		p.mu.Unlock()
		return a2awire.Outgoing{}, ctx.Err()
	}
	return a2awire.Outgoing{Text: p.secret}, nil
}

func (p *peer) got(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.received.String(), text)
}

func (p *peer) cancelled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped > 0
}

// agent is what the hub is told of the peer.
func (p *peer) agent() conclave.Agent {
	return conclave.Agent{Name: p.name, Role: peerRole, Description: "Listens, for conclave prove", Skills: []string{string(conclave.AssignAsk), string(conclave.AssignVote)},
		Brain: "none", URL: p.url, PublicKey: p.key.Public(), State: conclave.AgentLive, Capacity: 4}
}
