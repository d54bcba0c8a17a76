package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"conclave"
)

// signWith signs as another implementation would, with any header.
func signWith(t *testing.T, key any, alg jwa.SignatureAlgorithm, payload string, header map[string]any) Signature {
	t.Helper()
	h := jws.NewHeaders()
	for name, value := range header {
		if err := h.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	compact, err := jws.Sign([]byte(payload), jws.WithKey(alg, key, jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(compact), ".")
	return Signature{Protected: parts[0], Signature: parts[2]}
}

func keySet(t *testing.T, keys map[string]any, more map[string]any) KeySet {
	t.Helper()
	set := jwk.NewSet()
	for id, raw := range keys {
		key, err := jwk.Import(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Set(jwk.KeyIDKey, id); err != nil {
			t.Fatal(err)
		}
		for name, value := range more {
			if err := key.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := set.AddKey(key); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ParseKeySet(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDetachedSignatures(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ed, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set := keySet(t, map[string]any{"ed": ed, "ec": ec.Public(), "rs": rs.Public()}, nil)
	for _, tt := range []struct {
		name   string
		sig    Signature
		text   string
		why    string
		ballot bool
	}{
		{"EdDSA", signWith(t, edPrivate, jwa.EdDSA(), "card", map[string]any{"kid": "ed", "typ": "JOSE"}), "card", "", true},
		{"ES256", signWith(t, ec, jwa.ES256(), "card", map[string]any{"kid": "ec"}), "card", "", false},
		{"RS256", signWith(t, rs, jwa.RS256(), "card", map[string]any{"kid": "rs"}), "card", "", false},
		{"not expired", signWith(t, ec, jwa.ES256(), "card", map[string]any{"kid": "ec", "exp": now.Add(time.Minute).Unix()}), "card", "", false},
		{"another text", signWith(t, ec, jwa.ES256(), "card", map[string]any{"kid": "ec"}), "card!", "does not match", false},
		{"another key", signWith(t, rs, jwa.RS256(), "card", map[string]any{"kid": "ec"}), "card", "does not sign with RS256", false},
		{"unknown key", signWith(t, ec, jwa.ES256(), "card", map[string]any{"kid": "ec2"}), "card", `no key "ec2"`, false},
		{"no key id", signWith(t, ec, jwa.ES256(), "card", nil), "card", "no kid", false},
		{"expired", signWith(t, ec, jwa.ES256(), "card", map[string]any{"kid": "ec", "exp": now.Unix()}), "card", "expired at 2026-11-23T12:00:00Z", false},
		{"not yet", signWith(t, ec, jwa.ES256(), "card", map[string]any{"kid": "ec", "nbf": now.Add(time.Hour).Unix()}), "card", "good from", false},
		{"weak algorithm", signWith(t, []byte(strings.Repeat("k", 32)), jwa.HS256(), "card", map[string]any{"kid": "ec"}), "card", `"HS256"`, false},
		{"none", Signature{Protected: base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"ec"}`))}, "card", `"none"`, false},
		{"critical header", Signature{Protected: base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"ec","crit":["b64"],"b64":false}`))}, "card", "critical", false},
		{"no header", Signature{Protected: "!"}, "card", "not base64url", false},
		{"header of another kind", Signature{Protected: base64.RawURLEncoding.EncodeToString([]byte(`[1]`))}, "card", "no JSON object", false},
	} {
		got, err := set.Verify(tt.sig, []byte(tt.text), now)
		switch {
		case tt.why == "" && (err != nil || got.Thumbprint == "" || (got.PublicKey != "") != tt.ballot):
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		case tt.why != "" && (!errors.Is(err, conclave.ErrDenied) || !strings.Contains(err.Error(), tt.why)):
			t.Errorf("%s: got %v, want one that says %s", tt.name, err, tt.why)
		}
	}

	// The public key as an HMAC secret: whoever takes the algorithm from the header falls for it.
	der, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"ec"}`))
	mac := hmac.New(sha256.New, der)
	mac.Write(signingInput(head, []byte("card")))
	if _, err := set.Verify(Signature{Protected: head, Signature: base64.RawURLEncoding.EncodeToString(mac.Sum(nil))}, []byte("card"), now); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("a MAC under the public key: %v", err)
	}

	old := keySet(t, map[string]any{"ec": ec.Public()}, map[string]any{"exp": now.Add(-time.Second).Unix()})
	if _, err := old.Verify(signWith(t, ec, jwa.ES256(), "card", map[string]any{"kid": "ec"}), []byte("card"), now); !errors.Is(err, conclave.ErrDenied) || !strings.Contains(err.Error(), "key \"ec\" expired") {
		t.Errorf("an expired key: %v", err)
	}
}

func TestParseKeySet(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]any{"another curve": other.Public(), "private": private, "symmetric": []byte("secret of somebody")} {
		key, err := jwk.Import(raw)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(map[string]any{"keys": []any{key}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseKeySet(text); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	weak := `{"kty":"RSA","e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xf1", 128))) + `"}`
	for _, text := range []string{"hello", weak, `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`} {
		if _, err := ParseKeySet([]byte(text)); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	set, err := ParseKeySet(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	key := &Key{private: private}
	sig, err := key.SignDetached([]byte("card"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := set.Verify(sig, []byte("card"), time.Now()); err != nil || got.PublicKey != key.Public() {
		t.Errorf("a key in PEM, which has no name but its thumbprint: %+v, %v", got, err)
	}
}

func TestOwnKeysVerifyOwnSignatures(t *testing.T) {
	key, err := LoadOrCreate(t.TempDir(), "hub")
	if err != nil {
		t.Fatal(err)
	}
	text, err := PublicKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), `"d"`) {
		t.Fatalf("the published keys hold a private one: %s", text)
	}
	set, err := ParseKeySet(text)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := key.SignDetached([]byte("card"), "https://hub.example/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	head, err := sig.Head()
	if err != nil || head.Jku != "https://hub.example/.well-known/jwks.json" || head.Typ != "JOSE" {
		t.Errorf("the header is %+v, %v", head, err)
	}
	if _, err := set.Verify(sig, []byte("card"), time.Now()); err != nil {
		t.Error(err)
	}
}
