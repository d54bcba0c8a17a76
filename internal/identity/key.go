package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"conclave"
)

// Key is an ed25519 key pair with which an agent or a service signs.
type Key struct {
	private ed25519.PrivateKey
}

// keyName keeps a key's name inside its folder: no separators, no leading dot.
var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// LoadOrCreate returns the key called name in dir, making it on first use. The
// file is PKCS #8 in PEM, readable by its owner only. ErrInvalid for a name that
// is no plain file name or a file that is no key; ErrDenied when others can read
// the file. Two processes that create the same key get the same one.
func LoadOrCreate(dir, name string) (*Key, error) {
	if !keyName.MatchString(name) {
		return nil, conclave.Errorf(conclave.ErrInvalid, "key name %q: want letters, digits, '.', '_' and '-', at most 100, not starting with a sign", name)
	}
	text, err := loadOrCreate(dir, name+".key", newKey)
	if err != nil {
		return nil, fmt.Errorf("loading key %q: %w", name, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "key %q: the file is not PEM", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "key %q: %w", name, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, conclave.Errorf(conclave.ErrInvalid, "key %q is a %T, not an ed25519 key", name, parsed)
	}
	return &Key{private: private}, nil
}

func newKey() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Public returns the public key in standard base64.
func (k *Key) Public() string {
	return base64.StdEncoding.EncodeToString(k.private.Public().(ed25519.PublicKey))
}

// Sign returns the signature of payload in standard base64.
func (k *Key) Sign(payload []byte) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, payload))
}

// Verify checks a signature of payload by a public key, both in standard
// base64. ErrDenied, with the reason, when it does not hold.
func Verify(publicKey, signature string, payload []byte) error {
	key, err := base64.StdEncoding.Strict().DecodeString(publicKey)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return conclave.Errorf(conclave.ErrDenied, "public key %.60q is not an ed25519 key in base64", publicKey)
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return conclave.Errorf(conclave.ErrDenied, "signature %.60q is not an ed25519 signature in base64", signature)
	}
	if !ed25519.Verify(key, payload, sig) {
		return conclave.Errorf(conclave.ErrDenied, "the signature does not match what was signed, or another key made it")
	}
	return nil
}

// loadOrCreate returns what a private file holds, filling it on first use. The
// new file is complete before it has its name, and it never replaces another.
func loadOrCreate(dir, name string, fill func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(dir, name)
	text, err := readPrivate(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the key folder: %w", err)
	}
	if text, err = fill(); err != nil {
		return nil, err
	}
	if err := createPrivate(dir, path, text); err != nil {
		return nil, err
	}
	return readPrivate(path)
}

func createPrivate(dir, path string, text []byte) error {
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("making a key file: %w", err)
	}
	defer os.Remove(tmp.Name()) // the link below keeps the content
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("writing a key file: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("naming a key file: %w", err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening the key folder: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// openBits are the bits of a file's mode with which others can read it. A file of
// root's may be read by its group: so Kubernetes hands secrets to the one user of a
// container, as PostgreSQL's clients allow it too.
func openBits(info os.FileInfo) os.FileMode {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid == 0 && os.Geteuid() != 0 {
		return 0o037
	}
	return 0o077
}

func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading a key file: %w", err)
	}
	if info.Mode().Perm()&openBits(info) != 0 {
		return nil, conclave.Errorf(conclave.ErrDenied, "%s can be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a key file: %w", err)
	}
	return text, nil
}
