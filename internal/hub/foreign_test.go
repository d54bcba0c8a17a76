package hub_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"context"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/identity"
)

// stranger is an agent of somebody else's on loopback, whose card says what a test
// wants it to.
type stranger struct {
	t      *testing.T
	url    string
	key    *identity.Key
	server *httptest.Server

	mu     sync.Mutex
	signer *identity.Key  // of the card; nil: it is not signed
	header map[string]any // of the signature, beside what a good one has
	change func(card map[string]any)
	keys   http.HandlerFunc
}

func newStranger(t *testing.T, handle a2awire.Handler) *stranger {
	t.Helper()
	s := &stranger{t: t, key: newKey(t)}
	s.signer = s.key
	agent, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{
		Card: a2awire.Card{Name: "Translation Desk", Description: "Translates", Skills: []a2awire.Skill{{ID: "translate", Name: "Translate", Description: "Translates texts", Tags: []string{"language", "text"}},
			{ID: "vote", Name: "Vote", Description: "Votes", Tags: []string{"conclave"}}}},
		Handle: handle, Capacity: 4,
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/agent-card.json", func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		agent.ServeHTTP(rec, r)
		w.Header().Set("Content-Type", "application/json")
		w.Write(s.sign(rec.Body.Bytes()))
	})
	mux.HandleFunc("/keys.json", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		keys, signer := s.keys, s.key
		s.mu.Unlock()
		if keys != nil {
			keys(w, r)
			return
		}
		set, err := identity.PublicKeySet(signer)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Write(set)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the hub showed its own token to a stranger")
		}
		agent.ServeHTTP(w, r.WithContext(as(r.Context(), "somebody")))
	})
	s.server = httptest.NewServer(mux)
	s.url = s.server.URL
	t.Cleanup(func() { s.server.Close(); runner.Close() })
	return s
}

func newKey(t *testing.T) *identity.Key {
	t.Helper()
	key, err := identity.LoadOrCreate(t.TempDir(), rand.Text())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign is called for each request of the card.
func (s *stranger) sign(body []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var card map[string]any
	if err := json.Unmarshal(body, &card); err != nil {
		s.t.Error(err)
	}
	if s.change != nil {
		s.change(card)
	}
	body, err := json.Marshal(card)
	if err != nil {
		s.t.Error(err)
	}
	if s.signer == nil {
		return body
	}
	forms, err := a2awire.SignedForms(body)
	if err != nil {
		s.t.Error(err)
		return body
	}
	sig, err := s.signer.SignDetached(forms[0], s.url+"/keys.json")
	if err != nil {
		s.t.Error(err)
	}
	if len(s.header) > 0 {
		sig = s.withHeader(sig, forms[0])
	}
	card["signatures"] = []any{sig}
	body, err = json.Marshal(card)
	if err != nil {
		s.t.Error(err)
	}
	return body
}

// withHeader signs again with other members in the header, by a P-256 key when the
// header asks for it.
func (s *stranger) withHeader(sig identity.Signature, payload []byte) identity.Signature {
	text, err := base64.RawURLEncoding.DecodeString(sig.Protected)
	if err != nil {
		s.t.Error(err)
	}
	var head map[string]any
	if err := json.Unmarshal(text, &head); err != nil {
		s.t.Error(err)
	}
	for name, value := range s.header {
		head[name] = value
	}
	h := jws.NewHeaders()
	for name, value := range head {
		if name == "alg" {
			continue
		}
		if err := h.Set(name, value); err != nil {
			s.t.Error(err)
		}
	}
	// The private half never leaves identity, so the key is one of this test's own.
	compact, err := jws.Sign(payload, jws.WithKey(jwa.HS256(), []byte(strings.Repeat("s", 32)), jws.WithProtectedHeaders(h)))
	if err != nil {
		s.t.Error(err)
	}
	parts := strings.Split(string(compact), ".")
	return identity.Signature{Protected: parts[0], Signature: parts[2]}
}

func (s *stranger) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func asAdmin(ctx context.Context) context.Context {
	return conclave.WithCaller(ctx, conclave.Caller{Tenant: conclave.DefaultTenant, Human: "root", Permissions: identity.HumanPermissions("admin")})
}

func (n *network) inspect(in conclave.InspectCard) (conclave.CardReport, error) {
	return n.hub.Inspect(asAdmin(n.t.Context()), in)
}

// adopt trusts a card as it is now.
func (n *network) adopt(in conclave.AdoptAgent) (conclave.Agent, error) {
	n.t.Helper()
	report, err := n.inspect(conclave.InspectCard{URL: in.URL, Name: in.Name, Keys: in.Keys, Private: in.Private})
	if err != nil {
		n.t.Fatal(err)
	}
	in.Pin = report.Pin
	return n.hub.Adopt(asAdmin(n.t.Context()), in)
}

// guarded lets the hub see loopback only where that is allowed, as the real one.
func guarded(o *hub.Options) {
	base := http.DefaultTransport.(*http.Transport)
	o.Foreign = a2awire.Guard(base, nil)
	o.Inside = a2awire.Guard(base, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
}

func TestForeignAgentIsRegisteredByItsCard(t *testing.T) {
	n := connect(t, hub.NewMemory(nil), guarded)
	s := newStranger(t, echo)
	report, err := n.inspect(conclave.InspectCard{URL: s.url, Private: true})
	if err != nil {
		t.Fatal(err)
	}
	if report.Signature != conclave.CardVerified || report.Agent != "translation-desk" || report.PublicKey != s.key.Public() || report.Problem != "" || report.Known ||
		len(report.Skills) != 2 || len(report.Interfaces) == 0 || !strings.Contains(report.Signer, s.url+"/keys.json") {
		t.Fatalf("the card is shown as %+v", report)
	}
	a, err := n.hub.Adopt(asAdmin(t.Context()), conclave.AdoptAgent{URL: s.url, Private: true, Role: "linguist", Pin: report.Pin, Capacity: 3})
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != "translation-desk" || a.Role != "linguist" || a.PublicKey != s.key.Public() || a.Card.By != "root" || a.Capacity != 3 || a.State != conclave.AgentLive {
		t.Errorf("it is registered as %+v", a)
	}
	for _, to := range []string{"agents/translation-desk", "roles/linguist", "skills/translate"} {
		if got := n.ask(to, "bonjour"); got.State != conclave.TaskCompleted || got.Text != "heard bonjour" || got.Agent != a.Name {
			t.Errorf("%s: %+v", to, got)
		}
	}
	// By its role it gets what its skills name, and nothing else.
	if got := n.wait(n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "roles/linguist", Kind: conclave.AssignVote, Text: "Vote."}).ID); got.State != conclave.TaskCompleted {
		t.Errorf("a vote: %+v", got)
	}
	if _, err := n.hub.Send(as(t.Context(), "ada"), conclave.SendMessage{To: "roles/linguist", Kind: conclave.AssignReview, Text: "Review."}); !errors.Is(err, conclave.ErrNotFound) || !strings.Contains(err.Error(), "review") {
		t.Errorf("a review, which it does not do: %v", err)
	}
	if again, err := n.inspect(conclave.InspectCard{URL: s.url, Private: true}); err != nil || !again.Known {
		t.Errorf("looked at again: %+v, %v", again, err)
	}
	// Registering by hand does not take the name of a card, and a card not that of an agent.
	if _, err := n.hub.Register(asAdmin(t.Context()), conclave.RegisterAgent{Agent: conclave.Agent{Name: a.Name, Role: "linguist", URL: "http://127.0.0.1:1", PublicKey: a.PublicKey}}); !errors.Is(err, conclave.ErrConflict) {
		t.Errorf("registered over it by hand: %v", err)
	}
}

func TestCardsThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(t *testing.T, s *stranger)
		state conclave.CardState
		why   string
	}{
		{"forged", func(t *testing.T, s *stranger) { s.signer = newKey(t) }, conclave.CardInvalid, "no key"},
		{"altered after signing", func(t *testing.T, s *stranger) {
			key := s.key
			s.signer = nil
			s.change = func(card map[string]any) {
				sig, err := key.SignDetached([]byte("another card"), s.url+"/keys.json")
				if err != nil {
					t.Error(err)
				}
				card["signatures"] = []any{sig}
			}
		}, conclave.CardInvalid, "does not match"},
		{"signed with a secret", func(_ *testing.T, s *stranger) { s.header = map[string]any{"typ": "JOSE"} }, conclave.CardInvalid, "HS256"},
		{"keys elsewhere", func(_ *testing.T, s *stranger) {
			elsewhere := s.url
			s.change = func(map[string]any) { s.url = "http://localhost:1" }
			t.Cleanup(func() { s.url = elsewhere })
		}, conclave.CardInvalid, "not the card's own origin"},
		{"keys redirect elsewhere", func(_ *testing.T, s *stranger) {
			s.keys = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://localhost:1/keys", http.StatusFound)
			}
		}, conclave.CardInvalid, "redirects"},
		{"keys that are none", func(_ *testing.T, s *stranger) {
			s.keys = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) }
		}, conclave.CardInvalid, "no public key"},
		{"no interface of ours", func(_ *testing.T, s *stranger) {
			s.change = func(card map[string]any) {
				card["supportedInterfaces"] = []any{map[string]any{"url": "https://a.example", "protocolBinding": "CARRIER-PIGEON", "protocolVersion": "1.0"}}
				delete(card, "url")
				delete(card, "additionalInterfaces")
				delete(card, "preferredTransport")
			}
		}, conclave.CardVerified, "no interface"},
		{"expired", func(t *testing.T, s *stranger) { s.signExpired() }, conclave.CardInvalid, "expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := connect(t, hub.NewMemory(nil), guarded)
			s := newStranger(t, echo)
			at := s.url
			s.set(func() { tt.do(t, s) })
			report, err := n.inspect(conclave.InspectCard{URL: at, Private: true})
			if err != nil {
				t.Fatal(err)
			}
			if report.Signature != tt.state || !strings.Contains(report.Problem, tt.why) {
				t.Errorf("shown as %s, %q; want %s, %q", report.Signature, report.Problem, tt.state, tt.why)
			}
			pin := report.Pin
			if pin == "" {
				pin = "key:any"
			}
			if _, err := n.hub.Adopt(asAdmin(t.Context()), conclave.AdoptAgent{URL: at, Private: true, Pin: pin}); err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("registered: %v", err)
			}
			if agents, err := n.hub.Agents(asAdmin(t.Context()), conclave.ListAgents{}); err != nil || len(agents) != 0 {
				t.Errorf("after a refusal there is %+v, %v", agents, err)
			}
		})
	}
}

// signExpired signs with a key of its own that it publishes, and a date that has passed.
func (s *stranger) signExpired() {
	signer := newSigner(s.t)
	s.signer = nil
	s.keys = signer.publish
	s.change = func(card map[string]any) {
		card["signatures"] = []any{signer.sign(card, map[string]any{"jku": s.url + "/keys.json", "exp": time.Now().Add(-time.Minute).Unix()})}
	}
}

func TestCardInsideTheNetworkIsRefused(t *testing.T) {
	n := connect(t, hub.NewMemory(nil), guarded)
	s := newStranger(t, echo)
	if _, err := n.inspect(conclave.InspectCard{URL: s.url}); !errors.Is(err, conclave.ErrDenied) || !strings.Contains(err.Error(), "inside this host's network") {
		t.Errorf("a card on loopback: %v", err)
	}
	// A name that leads inside, and an address that only looks public.
	for _, url := range []string{strings.Replace(s.url, "127.0.0.1", "localhost", 1), strings.Replace(s.url, "127.0.0.1", "[::ffff:127.0.0.1]", 1), "http://169.254.169.254/latest"} {
		if _, err := n.inspect(conclave.InspectCard{URL: url}); !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"", "ftp://a.example/card.json", "file:///etc/passwd", "http://user:secret@a.example", "local://planner-1"} {
		if _, err := n.inspect(conclave.InspectCard{URL: url}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%q: %v", url, err)
		}
	}
	// What a card that may live inside points to is judged at each connection, too.
	for addr, ok := range map[string]bool{"8.8.8.8": true, "2606:4700::1111": true, "10.0.0.1": false, "127.0.0.1": false, "::1": false, "::ffff:10.0.0.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "fe80::1%eth0": false, "fd00::1": false, "64:ff9b::a00:1": false, "224.0.0.1": false, "2002:a00:1::": false, "255.255.255.255": false} {
		if err := a2awire.Reachable(netip.MustParseAddr(addr), nil); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestChangedCardNeedsTrustAgain(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		signed    bool
		do        func(t *testing.T, s *stranger)
	}{
		{"another key", "another key signed it", true, func(t *testing.T, s *stranger) { s.key = newKey(t); s.signer = s.key }},
		{"no longer signed", "no longer signed", true, func(_ *testing.T, s *stranger) { s.signer = nil }},
		{"an unsigned one says something else", "says something else", false, func(_ *testing.T, s *stranger) {
			s.change = func(card map[string]any) { card["description"] = "Approves everything" }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := hub.NewMemory(nil)
			n := connect(t, store, guarded)
			s := newStranger(t, echo)
			if !tt.signed {
				s.set(func() { s.signer = nil })
			}
			in := conclave.AdoptAgent{URL: s.url, Private: true, Role: "linguist"}
			if _, err := n.adopt(in); err != nil {
				t.Fatal(err)
			}
			old, err := n.inspect(conclave.InspectCard{URL: s.url, Private: true})
			if err != nil {
				t.Fatal(err)
			}
			s.set(func() { tt.do(t, s) })
			n.stop()
			n = connect(t, store, guarded) // a hub looks at cards when it starts
			a := n.agentOnce("translation-desk", func(a conclave.Agent) bool { return a.State == conclave.AgentLost })
			if a.Card.Problem == "" || !strings.Contains(a.Card.Problem, tt.why) {
				t.Errorf("its problem is %q, want %q", a.Card.Problem, tt.why)
			}
			if got := n.refusals(); got["card"] != 1 {
				t.Errorf("on record are %v, want the card once", got)
			}
			// What was said meanwhile waits, and the trust that was given is no longer good.
			waiting := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/translation-desk", Text: "Still there?"})
			in.Pin = old.Pin
			if _, err := n.hub.Adopt(asAdmin(t.Context()), in); !errors.Is(err, conclave.ErrConflict) || !strings.Contains(err.Error(), "has changed") {
				t.Errorf("registered with the old pin: %v", err)
			}
			if got, err := n.hub.Task(as(t.Context(), "ada"), conclave.GetTask{ID: waiting.ID}); err != nil || got.State != conclave.TaskSubmitted {
				t.Errorf("a message to it: %+v, %v", got, err)
			}
			if a, err = n.adopt(in); err != nil {
				t.Fatal(err)
			}
			if got := n.wait(waiting.ID); got.State != conclave.TaskCompleted || a.Card.Problem != "" {
				t.Errorf("trusted again: %+v, %+v", got, a)
			}
		})
	}
}

func TestNameThatIsTaken(t *testing.T) {
	n := connect(t, hub.NewMemory(nil), guarded)
	first, second := newStranger(t, echo), newStranger(t, echo)
	if _, err := n.adopt(conclave.AdoptAgent{URL: first.url, Private: true}); err != nil {
		t.Fatal(err)
	}
	report, err := n.inspect(conclave.InspectCard{URL: second.url, Private: true})
	if err != nil || !strings.Contains(report.Problem, "is taken") {
		t.Fatalf("shown as %+v, %v", report, err)
	}
	if _, err := n.adopt(conclave.AdoptAgent{URL: second.url, Private: true}); !errors.Is(err, conclave.ErrConflict) || !strings.Contains(err.Error(), "--name") {
		t.Errorf("registered: %v", err)
	}
	if a, err := n.adopt(conclave.AdoptAgent{URL: second.url, Private: true, Name: "second-desk"}); err != nil || a.Name != "second-desk" {
		t.Errorf("under another name: %+v, %v", a, err)
	}
	n.agent("planner-1", "planner", echo)
	if _, err := n.adopt(conclave.AdoptAgent{URL: second.url, Private: true, Name: "planner-1"}); !errors.Is(err, conclave.ErrConflict) {
		t.Errorf("in place of an agent of ours: %v", err)
	}
}

func TestAgentThatDoesNotAnswerIsNotRegistered(t *testing.T) {
	n := connect(t, hub.NewMemory(nil), guarded)
	s := newStranger(t, echo)
	s.set(func() {
		s.change = func(card map[string]any) {
			card["supportedInterfaces"] = []any{map[string]any{"url": "http://127.0.0.1:1/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}}
		}
	})
	if _, err := n.adopt(conclave.AdoptAgent{URL: s.url, Private: true}); !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestFindAgents(t *testing.T) {
	n := connect(t, hub.NewMemory(nil), guarded)
	s := newStranger(t, echo)
	if _, err := n.adopt(conclave.AdoptAgent{URL: s.url, Private: true, Role: "linguist"}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		n.agent(fmt.Sprintf("dev-%d", i), "developer", echo)
	}
	find := func(in conclave.FindAgents) (names []string, found conclave.FoundAgents) {
		t.Helper()
		found, err := n.hub.Find(as(t.Context(), "ada"), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range found.Agents {
			names = append(names, string(a.Name))
		}
		return names, found
	}
	for _, tt := range []struct {
		in   conclave.FindAgents
		want string
	}{
		{conclave.FindAgents{Skill: "translate"}, "translation-desk"},
		{conclave.FindAgents{Tag: "language"}, "translation-desk"},
		{conclave.FindAgents{Tag: "no such tag"}, ""},
		{conclave.FindAgents{Text: "who translates texts?"}, "translation-desk"},
		{conclave.FindAgents{Role: "developer", State: conclave.AgentLive}, "dev-0 dev-1 dev-2 dev-3 dev-4"},
		{conclave.FindAgents{State: conclave.AgentLost}, ""},
	} {
		if names, _ := find(tt.in); strings.Join(names, " ") != tt.want {
			t.Errorf("%+v finds %v, want %s", tt.in, names, tt.want)
		}
	}
	var all []string
	for in, more := (conclave.FindAgents{Limit: 4}), true; more; {
		names, found := find(in)
		all, in.Page, more = append(all, names...), found.Next, found.Next != ""
		if found.Total != 6 {
			t.Errorf("of %d", found.Total)
		}
	}
	if got := strings.Join(all, " "); got != "dev-0 dev-1 dev-2 dev-3 dev-4 translation-desk" {
		t.Errorf("the pages have %s", got)
	}
	for _, bad := range []conclave.FindAgents{{Limit: 201}, {State: "tired"}, {Page: "first"}} {
		if _, err := n.hub.Find(as(t.Context(), "ada"), bad); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// The key for messages that only the agent may read comes with its card, and goes
// with it.
func TestEncryptionKeyOfACard(t *testing.T) {
	n := connect(t, hub.NewMemory(nil), guarded)
	s := newStranger(t, echo)
	theirs, err := identity.LoadOrCreateSecret(t.TempDir(), "stranger")
	if err != nil {
		t.Fatal(err)
	}
	publish := func(curve string) {
		s.set(func() {
			s.change = func(card map[string]any) {
				raw, err := base64.StdEncoding.DecodeString(theirs.Public())
				if err != nil {
					t.Error(err)
				}
				card["capabilities"].(map[string]any)["extensions"] = []any{map[string]any{"uri": "urn:conclave:a2a:encryption:1",
					"params": map[string]any{"jwk": map[string]any{"kty": "OKP", "crv": curve, "x": base64.RawURLEncoding.EncodeToString(raw)}}}}
			}
		})
	}
	publish("P-256")
	if _, err := n.inspect(conclave.InspectCard{URL: s.url, Private: true}); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), `"crv": "X25519"`) {
		t.Errorf("a key of another curve: %v", err)
	}
	publish("X25519")
	a, err := n.adopt(conclave.AdoptAgent{URL: s.url, Private: true, Role: "linguist"})
	if err != nil || a.EncryptionKey != theirs.Public() {
		t.Errorf("registered with the key %q, %v; want %q", a.EncryptionKey, err, theirs.Public())
	}
}
