package identity

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"conclave"
)

// maxSetKeys bounds how many keys of a set are looked at.
const maxSetKeys = 64

// Signature is a JSON Web Signature (RFC 7515) whose payload is elsewhere: the
// form in which an agent card carries its signatures.
type Signature struct {
	Protected string         `json:"protected"` // base64url of the header that is signed
	Signature string         `json:"signature"` // base64url
	Header    map[string]any `json:"header,omitempty"`
}

// SignatureHeader is what a signature says of itself, in its signed header.
type SignatureHeader struct {
	Alg  string   `json:"alg"`
	Kid  string   `json:"kid"`
	Jku  string   `json:"jku,omitempty"` // where the signer says that its keys are
	Typ  string   `json:"typ,omitempty"`
	Crit []string `json:"crit,omitempty"`
	Exp  *float64 `json:"exp,omitempty"` // RFC 7519 §5.3: seconds since 1970
	Nbf  *float64 `json:"nbf,omitempty"`
	B64  *bool    `json:"b64,omitempty"`
}

// Head reads the signed header of a signature. It is not verified by that.
// ErrDenied when it is no header of a signature that we would check.
func (s Signature) Head() (SignatureHeader, error) {
	var h SignatureHeader
	text, err := base64.RawURLEncoding.DecodeString(s.Protected)
	if err != nil {
		return h, conclave.Errorf(conclave.ErrDenied, "the signature's protected header is not base64url")
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, conclave.Errorf(conclave.ErrDenied, "the signature's protected header is no JSON object of a JWS: %w", err)
	}
	if _, ok := algorithm(h.Alg); !ok {
		return h, conclave.Errorf(conclave.ErrDenied, "the signature's algorithm is %.20q; EdDSA, ES256 and RS256 are verified", h.Alg)
	}
	switch {
	case h.Kid == "":
		return h, conclave.Errorf(conclave.ErrDenied, "the signature names no key: its protected header has no kid")
	case len(h.Crit) > 0 || h.B64 != nil:
		return h, conclave.Errorf(conclave.ErrDenied, "the signature has critical headers, none of which is understood: %.100q", h.Crit)
	}
	return h, nil
}

// algorithm returns the signature algorithm of a name that cards may use.
func algorithm(name string) (jwa.SignatureAlgorithm, bool) {
	for _, alg := range []jwa.SignatureAlgorithm{jwa.EdDSA(), jwa.ES256(), jwa.RS256()} {
		if alg.String() == name {
			return alg, true
		}
	}
	return jwa.SignatureAlgorithm{}, false
}

// KeyID is the RFC 7638 thumbprint of the public key, which names it in a set.
func (k *Key) KeyID() (string, error) {
	key, err := k.jwk()
	if err != nil {
		return "", err
	}
	id, _ := key.KeyID()
	return id, nil
}

// jwk is the public key with its name, algorithm and use.
func (k *Key) jwk() (jwk.Key, error) {
	key, err := jwk.Import(k.private.Public())
	if err != nil {
		return nil, fmt.Errorf("making a JWK: %w", err)
	}
	print, err := thumbprint(key)
	if err != nil {
		return nil, err
	}
	for field, value := range map[string]any{jwk.KeyIDKey: print, jwk.AlgorithmKey: jwa.EdDSA(), jwk.KeyUsageKey: jwk.ForSignature} {
		if err := key.Set(field, value); err != nil {
			return nil, fmt.Errorf("describing a JWK: %w", err)
		}
	}
	return key, nil
}

func thumbprint(key jwk.Key) (string, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("taking a key's thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// PublicKeySet returns the public keys as a JSON Web Key Set (RFC 7517 §5).
func PublicKeySet(keys ...*Key) ([]byte, error) {
	set := jwk.NewSet()
	for _, k := range keys {
		key, err := k.jwk()
		if err != nil {
			return nil, err
		}
		if err := set.AddKey(key); err != nil {
			return nil, fmt.Errorf("making a key set: %w", err)
		}
	}
	return json.Marshal(set)
}

// SignDetached signs a payload that travels by another way. jku says where the
// key set is; empty says nothing of it.
func (k *Key) SignDetached(payload []byte, jku string) (Signature, error) {
	id, err := k.KeyID()
	if err != nil {
		return Signature{}, err
	}
	head, err := json.Marshal(SignatureHeader{Alg: jwa.EdDSA().String(), Kid: id, Jku: jku, Typ: "JOSE"})
	if err != nil {
		return Signature{}, fmt.Errorf("encoding a signature's header: %w", err)
	}
	protected := base64.RawURLEncoding.EncodeToString(head)
	signed := ed25519.Sign(k.private, signingInput(protected, payload))
	return Signature{Protected: protected, Signature: base64.RawURLEncoding.EncodeToString(signed)}, nil
}

// signingInput is what a JWS signs (RFC 7515 §5.1).
func signingInput(protected string, payload []byte) []byte {
	return []byte(protected + "." + base64.RawURLEncoding.EncodeToString(payload))
}

// KeySet are public keys with which signatures are verified.
type KeySet struct{ keys []jwk.Key }

// ParseKeySet reads a JSON Web Key Set, a JSON Web Key, or keys in PEM. Private
// and symmetric keys, and public ones that are too weak, are left out. ErrInvalid
// when no key is left.
func ParseKeySet(text []byte) (KeySet, error) {
	set, err := jwk.Parse(text)
	if err != nil {
		if set, err = jwk.Parse(text, jwk.WithPEM(true)); err != nil {
			return KeySet{}, conclave.Errorf(conclave.ErrInvalid, "want a JSON Web Key Set, or public keys in PEM")
		}
	}
	var out KeySet
	for i := range min(set.Len(), maxSetKeys) {
		key, _ := set.Key(i)
		if usable(key) {
			out.keys = append(out.keys, key)
		}
	}
	if len(out.keys) == 0 {
		return KeySet{}, conclave.Errorf(conclave.ErrInvalid, "there is no public key for signatures in the set: want Ed25519, P-256, or RSA of at least %d bits", minRSABits)
	}
	return out, nil
}

func usable(key jwk.Key) bool {
	if secret, err := jwk.IsPrivateKey(key); err != nil || secret {
		return false
	}
	if use, ok := key.KeyUsage(); ok && use != jwk.ForSignature.String() {
		return false
	}
	_, ok := keyAlgorithm(key)
	return ok
}

// keyAlgorithm is the only algorithm with which a key verifies here.
func keyAlgorithm(key jwk.Key) (jwa.SignatureAlgorithm, bool) {
	var raw any
	if jwk.Export(key, &raw) != nil {
		return jwa.SignatureAlgorithm{}, false
	}
	alg, err := algorithmOf(raw)
	if err != nil {
		return alg, false
	}
	if said, ok := key.Algorithm(); ok && said.String() != alg.String() && said.String() != "Ed25519" { // RFC 9864 names EdDSA so
		return alg, false
	}
	return alg, true
}

// Signer is whose signature it was.
type Signer struct {
	KeyID      string
	Thumbprint string // RFC 7638, which stays when the key is given another name
	Algorithm  string
	// PublicKey is the key in base64 when it is an Ed25519 key, which also signs ballots.
	PublicKey string
}

// Verify checks a signature of payload at a time. ErrDenied, with the reason,
// when it does not hold, has expired, or no key of the set is the one that it
// names.
func (s KeySet) Verify(sig Signature, payload []byte, now time.Time) (Signer, error) {
	head, err := sig.Head()
	if err != nil {
		return Signer{}, err
	}
	alg, _ := algorithm(head.Alg)
	seconds := float64(now.Unix())
	switch {
	case head.Exp != nil && seconds >= *head.Exp:
		return Signer{}, conclave.Errorf(conclave.ErrDenied, "the signature expired at %s", time.Unix(int64(*head.Exp), 0).UTC().Format(time.RFC3339))
	case head.Nbf != nil && seconds+clockSkew.Seconds() < *head.Nbf:
		return Signer{}, conclave.Errorf(conclave.ErrDenied, "the signature is good from %s only", time.Unix(int64(*head.Nbf), 0).UTC().Format(time.RFC3339))
	}
	i := slices.IndexFunc(s.keys, func(k jwk.Key) bool { return named(k, head.Kid) })
	if i < 0 {
		return Signer{}, conclave.Errorf(conclave.ErrDenied, "there is no key %.80q in the key set", head.Kid)
	}
	key := s.keys[i]
	if of, ok := keyAlgorithm(key); !ok || of != alg {
		return Signer{}, conclave.Errorf(conclave.ErrDenied, "the key %.80q does not sign with %s", head.Kid, head.Alg)
	}
	var until float64
	if key.Get("exp", &until) == nil && seconds >= until {
		return Signer{}, conclave.Errorf(conclave.ErrDenied, "the key %.80q expired at %s", head.Kid, time.Unix(int64(until), 0).UTC().Format(time.RFC3339))
	}
	compact := string(signingInput(sig.Protected, payload)) + "." + sig.Signature
	if _, err := jws.Verify([]byte(compact), jws.WithKey(alg, key)); err != nil {
		return Signer{}, conclave.Errorf(conclave.ErrDenied, "the signature does not match what was signed, or another key than %.80q made it", head.Kid)
	}
	print, err := thumbprint(key)
	if err != nil {
		return Signer{}, err
	}
	out := Signer{KeyID: head.Kid, Thumbprint: print, Algorithm: head.Alg}
	var raw ed25519.PublicKey
	if alg == jwa.EdDSA() && jwk.Export(key, &raw) == nil {
		out.PublicKey = base64.StdEncoding.EncodeToString(raw)
	}
	return out, nil
}

// named reports whether a key is the one of an id: its own, or its thumbprint
// when it has none, as keys in PEM.
func named(key jwk.Key, id string) bool {
	if own, ok := key.KeyID(); ok {
		return own == id
	}
	print, err := thumbprint(key)
	return err == nil && print == id
}
