package hub_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/identity"
)

// signer signs cards with P-256, as an implementation that is not ours.
type signer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t, key}
}

func (s *signer) publish(w http.ResponseWriter, _ *http.Request) {
	key, err := jwk.Import(s.key.Public())
	if err != nil {
		s.t.Error(err)
		return
	}
	if err := key.Set(jwk.KeyIDKey, "signer"); err != nil {
		s.t.Error(err)
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"keys": []any{key}}); err != nil {
		s.t.Error(err)
	}
}

// sign signs the second form of a card, that of the protocol's schema.
func (s *signer) sign(card, header map[string]any) identity.Signature {
	text, err := json.Marshal(card)
	if err != nil {
		s.t.Error(err)
	}
	forms, err := a2awire.SignedForms(text)
	if err != nil || len(forms) < 2 {
		s.t.Errorf("%d forms, %v", len(forms), err)
		return identity.Signature{}
	}
	h := jws.NewHeaders()
	header["kid"], header["typ"] = "signer", "JOSE"
	for name, value := range header {
		if err := h.Set(name, value); err != nil {
			s.t.Error(err)
		}
	}
	compact, err := jws.Sign(forms[1], jws.WithKey(jwa.ES256(), s.key, jws.WithProtectedHeaders(h)))
	if err != nil {
		s.t.Error(err)
	}
	parts := strings.Split(string(compact), ".")
	return identity.Signature{Protected: parts[0], Signature: parts[2]}
}

// agentOnce waits until an agent is as wanted.
func (n *network) agentOnce(name conclave.AgentName, as func(conclave.Agent) bool) conclave.Agent {
	n.t.Helper()
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		agents, err := n.store.Agents(n.t.Context(), conclave.DefaultTenant, conclave.ListAgents{})
		if err != nil {
			n.t.Fatal(err)
		}
		for _, a := range agents {
			if a.Name == name && as(a) {
				return a
			}
		}
		select {
		case <-again.C:
		case <-deadline:
			n.t.Fatalf("%s does not become what was expected; there are %+v", name, agents)
		}
	}
}

// signing lets a hub sign its cards, as the program does.
func signing(key *identity.Key) func(*hub.Options) {
	return func(o *hub.Options) {
		o.Sign = func(r *http.Request, payload []byte) (a2awire.CardSignature, error) {
			s, err := key.SignDetached(payload, "http://"+r.Host+"/.well-known/jwks.json")
			return a2awire.CardSignature{Protected: s.Protected, Signature: s.Signature}, err
		}
	}
}
