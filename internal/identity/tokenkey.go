package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"

	"conclave"
)

const minRSABits = 2048 // RFC 7518 §3.3

// NewKeyTokens returns tokens that are signed with the private key of a PEM
// file, and checked with its public half and with the public keys of more PEM
// files: those of an earlier key whose tokens are still about, or of somebody
// else who may make tokens. A key is Ed25519 (EdDSA), RSA (RS256) or P-256
// (ES256); a token names the one that signed it by its RFC 7638 thumbprint.
// ErrInvalid for a file that holds no such key, ErrDenied when others can read
// the private one.
func NewKeyTokens(private string, public []string) (*Tokens, error) {
	text, err := readPrivate(private)
	if errors.Is(err, fs.ErrNotExist) {
		err = conclave.Errorf(conclave.ErrInvalid, "%w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key that signs tokens: %w", err)
	}
	sign, err := tokenKey(private, text)
	if err != nil {
		return nil, err
	}
	if secret, err := jwk.IsPrivateKey(sign); err != nil || !secret {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s holds a public key; tokens are signed with a private one", private)
	}
	t := &Tokens{sign: sign, verify: jwk.NewSet()}
	own, err := jwk.PublicKeyOf(sign)
	if err != nil {
		return nil, fmt.Errorf("taking the public half of %s: %w", private, err)
	}
	if err := t.verify.AddKey(own); err != nil {
		return nil, fmt.Errorf("adding the key of %s: %w", private, err)
	}
	for _, file := range public {
		if err := t.addVerifier(file); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Tokens) addVerifier(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "reading a key that checks tokens: %w", err)
	}
	key, err := tokenKey(file, text)
	if err != nil {
		return err
	}
	if secret, err := jwk.IsPrivateKey(key); err != nil || secret {
		return conclave.Errorf(conclave.ErrInvalid, "%s holds a private key; to check tokens takes only the public one", file)
	}
	id, _ := key.KeyID()
	if _, ok := t.verify.LookupKeyID(id); ok {
		return nil // the same key twice is one key
	}
	if err := t.verify.AddKey(key); err != nil {
		return fmt.Errorf("adding the key of %s: %w", file, err)
	}
	return nil
}

// tokenKey reads a key and binds it to its only algorithm and its id.
func tokenKey(file string, text []byte) (jwk.Key, error) {
	key, err := jwk.ParseKey(text, jwk.WithPEM(true))
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s holds no key in PEM", file)
	}
	var raw any
	if err := jwk.Export(key, &raw); err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s: %w", file, err)
	}
	alg, err := algorithmOf(raw)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s: %w; want an Ed25519, RSA or P-256 key", file, err)
	}
	print, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("naming the key of %s: %w", file, err)
	}
	return key, errors.Join(key.Set(jwk.AlgorithmKey, alg), key.Set(jwk.KeyIDKey, base64.RawURLEncoding.EncodeToString(print)))
}

// algorithmOf is the only algorithm with which a key signs or verifies here.
func algorithmOf(raw any) (jwa.SignatureAlgorithm, error) {
	switch k := raw.(type) {
	case ed25519.PrivateKey, ed25519.PublicKey:
		return jwa.EdDSA(), nil
	case *rsa.PrivateKey:
		return jwa.RS256(), longEnough(k.N.BitLen())
	case *rsa.PublicKey:
		return jwa.RS256(), longEnough(k.N.BitLen())
	case *ecdsa.PrivateKey:
		return jwa.ES256(), p256(k.Curve)
	case *ecdsa.PublicKey:
		return jwa.ES256(), p256(k.Curve)
	}
	return jwa.SignatureAlgorithm{}, fmt.Errorf("a %T signs nothing here", raw)
}

func longEnough(bits int) error {
	if bits < minRSABits {
		return fmt.Errorf("an RSA key of %d bits is too short, it needs %d", bits, minRSABits)
	}
	return nil
}

func p256(c elliptic.Curve) error {
	if c != elliptic.P256() {
		return fmt.Errorf("the curve is %s", c.Params().Name)
	}
	return nil
}
