package identity

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"

	"conclave"
)

// SecretKey is an X25519 key pair with which an agent reads what is meant for it
// alone. It signs nothing: that is what its [Key] is for.
type SecretKey struct {
	private *ecdh.PrivateKey
}

// LoadOrCreateSecret returns the X25519 key called name in dir, making it on
// first use, as [LoadOrCreate] does. ErrInvalid, ErrDenied.
func LoadOrCreateSecret(dir, name string) (*SecretKey, error) {
	if !keyName.MatchString(name) {
		return nil, conclave.Errorf(conclave.ErrInvalid, "key name %q: want letters, digits, '.', '_' and '-', at most 100, not starting with a sign", name)
	}
	text, err := loadOrCreate(dir, name+".x25519.key", func() ([]byte, error) {
		private, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generating a key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return nil, fmt.Errorf("encoding a key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	})
	if err != nil {
		return nil, fmt.Errorf("loading key %q: %w", name, err)
	}
	var parsed any
	block, _ := pem.Decode(text)
	if block != nil {
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	private, ok := parsed.(*ecdh.PrivateKey)
	if err != nil || !ok || private.Curve() != ecdh.X25519() {
		return nil, conclave.Errorf(conclave.ErrInvalid, "key %q is not an X25519 key in PEM", name)
	}
	return &SecretKey{private}, nil
}

// Public returns the public key in standard base64.
func (k *SecretKey) Public() string {
	return base64.StdEncoding.EncodeToString(k.private.PublicKey().Bytes())
}

// CheckSecretKey returns ErrInvalid unless public is an X25519 key in base64.
func CheckSecretKey(public string) error {
	_, err := secretKey(public)
	return err
}

func secretKey(public string) (*ecdh.PublicKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(public)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "encryption key %.60q is not in base64", public)
	}
	key, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "encryption key %.60q is not an X25519 key", public)
	}
	return key, nil
}

// Encrypt returns plain as a JWE (RFC 7516, JSON serialisation) that the holders
// of the public keys can read: A256GCM under ECDH-ES, or under ECDH-ES+A256KW
// when there are several. ErrInvalid without a recipient or for a bad key.
func Encrypt(plain []byte, publicKeys ...string) (json.RawMessage, error) {
	if len(publicKeys) == 0 {
		return nil, conclave.Errorf(conclave.ErrInvalid, "there is nobody to encrypt for")
	}
	alg := jwa.ECDH_ES()
	if len(publicKeys) > 1 {
		alg = jwa.ECDH_ES_A256KW()
	}
	options := []jwe.EncryptOption{jwe.WithJSON(), jwe.WithContentEncryption(jwa.A256GCM())}
	for _, public := range publicKeys {
		key, err := secretKey(public)
		if err != nil {
			return nil, err
		}
		options = append(options, jwe.WithKey(alg, key))
	}
	out, err := jwe.Encrypt(plain, options...)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return out, nil
}

// Decrypt returns what a JWE says. ErrDenied when it was not made for this key
// or has been altered.
func (k *SecretKey) Decrypt(message json.RawMessage) ([]byte, error) {
	plain, err := jwe.Decrypt(message, jwe.WithKey(jwa.ECDH_ES(), k.private), jwe.WithKey(jwa.ECDH_ES_A256KW(), k.private))
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrDenied, "the message was not encrypted for this key, or has been altered")
	}
	return plain, nil
}
