package identity

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"conclave"
)

// FuzzVerify forges signatures: what one key has signed holds, and nothing else.
func FuzzVerify(f *testing.F) {
	key, err := LoadOrCreate(f.TempDir(), "signer")
	if err != nil {
		f.Fatal(err)
	}
	text, err := PublicKeySet(key)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := ParseKeySet(text)
	if err != nil {
		f.Fatal(err)
	}
	const payload = `{"name":"agent"}`
	good, err := key.SignDetached([]byte(payload), "https://agent/keys")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Protected, good.Signature, []byte(payload))
	f.Add(good.Protected, "", []byte(payload))
	for _, head := range []string{`{"alg":"none"}`, `{"alg":"HS256","kid":"x"}`, `{"alg":"EdDSA","kid":7}`, `{"alg":"EdDSA","crit":["b64"],"b64":false}`, `{"alg":"EdDSA","exp":1e400}`, `[]`, `{`} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(head)), good.Signature, []byte(payload))
	}
	f.Fuzz(func(t *testing.T, protected, signature string, said []byte) {
		_, err := keys.Verify(Signature{Protected: protected, Signature: signature}, said, time.Now())
		switch {
		case err == nil && (string(said) != payload || protected != good.Protected):
			t.Fatalf("%q, %q is taken for a signature of %q", protected, signature, said)
		case err != nil && !errors.Is(err, conclave.ErrDenied) && !errors.Is(err, conclave.ErrInvalid):
			t.Fatalf("%q, %q: %v", protected, signature, err)
		}
	})
}

// FuzzParseKeySet reads key sets of strangers, and verifies with what it has read.
func FuzzParseKeySet(f *testing.F) {
	for _, seed := range []string{
		`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`,
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, `{"kty":"oct","k":"c2VjcmV0","kid":"a"}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","alg":"none"}]}`,
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", `{"keys":7}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	protected := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"a","typ":"JOSE"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeySet(text)
		if err != nil {
			if !errors.Is(err, conclave.ErrInvalid) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		// No key was asked to sign this, but one whose public half was chosen for it.
		_, _ = keys.Verify(Signature{Protected: protected, Signature: "AAAA"}, []byte("{}"), time.Now())
	})
}
