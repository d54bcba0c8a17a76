package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"conclave"
	"conclave/internal/identity"
)

func writePEM(t *testing.T, kind string, der []byte, err error, mode os.FileMode) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(t.TempDir(), "*.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Chmod(mode), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// keyPair writes both halves of a key.
func keyPair(t *testing.T, key crypto.Signer) (private, public string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	private = writePEM(t, "PRIVATE KEY", der, err, 0o600)
	der, err = x509.MarshalPKIXPublicKey(key.Public())
	return private, writePEM(t, "PUBLIC KEY", der, err, 0o644)
}

func signers(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	_, ed, err1 := ed25519.GenerateKey(rand.Reader)
	rs, err2 := rsa.GenerateKey(rand.Reader, 2048)
	ec, err3 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"EdDSA": ed, "RS256": rs, "ES256": ec}
}

func TestKeyTokens(t *testing.T) {
	keys, others := signers(t), signers(t)
	for alg, key := range keys {
		t.Run(alg, func(t *testing.T) {
			private, public := keyPair(t, key)
			tokens, err := identity.NewKeyTokens(private, nil)
			if err != nil {
				t.Fatal(err)
			}
			token, err := tokens.Mint(caller, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			head, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
			if err != nil || !strings.Contains(string(head), `"alg":"`+alg+`"`) || !strings.Contains(string(head), `"kid":"`) {
				t.Errorf("the header is %s", head)
			}
			if got, err := tokens.Verify(token); err != nil || got.Human != caller.Human || got.Tenant != caller.Tenant {
				t.Errorf("got %+v, %v", got, err)
			}
			// Rotation: a new key signs, the old one's tokens hold as long as its
			// public half is named, and no longer.
			next, _ := keyPair(t, others[alg])
			rotated, err := identity.NewKeyTokens(next, []string{public, public})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := rotated.Verify(token); err != nil {
				t.Errorf("a token of the key before: %v", err)
			}
			fresh, err := rotated.Mint(caller, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tokens.Verify(fresh); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("a key that nobody named: %v", err)
			}
			gone, err := identity.NewKeyTokens(next, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := gone.Verify(token); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("a token of a key that was taken away: %v", err)
			}

			// The public key is no secret: a token that uses it as one is forged.
			text, err := os.ReadFile(public)
			if err != nil {
				t.Fatal(err)
			}
			b, err := jwt.NewBuilder().Issuer("conclave").Audience([]string{"conclave"}).Subject("eve").Claim("tenant", "default").
				Expiration(time.Now().Add(time.Hour)).Claim("permissions", []string{"admin"}).Build()
			if err != nil {
				t.Fatal(err)
			}
			confused, err := jwt.Sign(b, jwt.WithKey(jwa.HS256(), text))
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(token, ".")
			none := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(head), alg, "none", 1)))
			for name, forged := range map[string]string{
				"the public key as a secret": string(confused), "alg none": none + "." + parts[1] + ".",
				"another payload": parts[0] + "." + strings.Split(fresh, ".")[1] + "." + parts[2],
			} {
				if _, err := tokens.Verify(forged); !errors.Is(err, conclave.ErrDenied) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := newTokens(t, secret).Verify(token); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("under a secret: %v", err)
			}
		})
	}
}

func TestBadTokenKeys(t *testing.T) {
	private, public := keyPair(t, signers(t)["EdDSA"])
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("this build makes no short RSA keys")
	}
	small, _ := keyPair(t, short)
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := keyPair(t, curve)
	loose, _ := keyPair(t, signers(t)["ES256"])
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	noise := filepath.Join(t.TempDir(), "noise.pem")
	if err := os.WriteFile(noise, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(public, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		private string
		public  []string
		kind    error
		says    string
	}{
		"no file":             {"/nowhere.pem", nil, conclave.ErrInvalid, "nowhere"},
		"a public key signs":  {public, nil, conclave.ErrInvalid, "private one"},
		"a private key shown": {private, []string{private}, conclave.ErrInvalid, "only the public one"},
		"no PEM":              {noise, nil, conclave.ErrInvalid, "PEM"},
		"a short RSA key":     {small, nil, conclave.ErrInvalid, ""},
		"another curve":       {other, nil, conclave.ErrInvalid, "P-384"},
		"others can read it":  {loose, nil, conclave.ErrDenied, "chmod 600"},
		"no verifier":         {private, []string{"/nowhere.pem"}, conclave.ErrInvalid, "nowhere"},
	} {
		if _, err := identity.NewKeyTokens(tt.private, tt.public); !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %v that says %q", name, err, tt.kind, tt.says)
		}
	}
}
