package identity_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"conclave"
	"conclave/internal/identity"
)

func secretKey(t *testing.T, name string) *identity.SecretKey {
	t.Helper()
	k, err := identity.LoadOrCreateSecret(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestEncrypt(t *testing.T) {
	one, two, other := secretKey(t, "one"), secretKey(t, "two"), secretKey(t, "other")
	plain := []byte("the door code is 4711")
	for name, keys := range map[string][]string{"ECDH-ES": {one.Public()}, "ECDH-ES+A256KW": {one.Public(), two.Public()}} {
		message, err := identity.Encrypt(plain, keys...)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(message, []byte("4711")) || !json.Valid(message) {
			t.Errorf("%s: %s", name, message)
		}
		if got, err := one.Decrypt(message); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if got, err := two.Decrypt(message); (err == nil) != (len(keys) == 2) || err == nil && !bytes.Equal(got, plain) {
			t.Errorf("%s for the second: %q, %v", name, got, err)
		}
		if got, err := other.Decrypt(message); !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("%s for somebody else: %q, %v", name, got, err)
		}
		var parts map[string]any
		if err := json.Unmarshal(message, &parts); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"ciphertext", "tag", "iv", "protected"} {
			text, _ := parts[part].(string)
			altered := bytes.Replace(message, []byte(text), []byte(flip(text)), 1)
			if got, err := one.Decrypt(altered); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("%s with another %s: %q, %v", name, part, got, err)
			}
		}
	}
	for name, keys := range map[string][]string{"nobody": nil, "no base64": {"?"}, "a short key": {"AAAA"}, "one bad of two": {one.Public(), ""}} {
		if _, err := identity.Encrypt(plain, keys...); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("for %s: %v", name, err)
		}
	}
	if _, err := one.Decrypt(json.RawMessage(`{"ciphertext":1}`)); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("what is no JWE: %v", err)
	}
}

// flip alters the first character of a base64 text.
func flip(s string) string {
	if s == "" {
		return "AAAA"
	}
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func TestSecretKeyIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := identity.LoadOrCreateSecret(dir, "agent-a")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := identity.LoadOrCreateSecret(dir, "agent-a"); err != nil || again.Public() != first.Public() {
		t.Errorf("another key the second time, %v", err)
	}
	if _, err := identity.LoadOrCreateSecret(dir, "../x"); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("a name with a path: %v", err)
	}
	if _, err := identity.LoadOrCreate(dir, "agent-a.x25519"); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("taken as a key that signs: %v", err)
	}
}
