package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/identity"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	a := &authority{t: t, key: key, file: writePEM(t, "CERTIFICATE", der, err, 0o644)}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue writes a certificate for an address into dir.
func (a *authority) issue(dir, name string, serial int64, address string, until time.Time) identity.TLSFiles {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, IPAddresses: []net.IP{net.ParseIP(address)}}, a.cert, key.Public(), a.key)
	cert := writePEM(a.t, "CERTIFICATE", der, err, 0o644)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	private := writePEM(a.t, "PRIVATE KEY", der, err, 0o600)
	files := identity.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: a.file}
	if err := errors.Join(os.Rename(cert, files.Cert), os.Rename(private, files.Key)); err != nil {
		a.t.Fatal(err)
	}
	return files
}

func loadTLS(t *testing.T, files identity.TLSFiles) *identity.TLS {
	t.Helper()
	c, err := identity.LoadTLS(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	files := ours.issue(dir, "one", 1, "127.0.0.1", time.Now().Add(time.Hour))
	certs := loadTLS(t, files)
	if err := certs.Check("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{TLSConfig: certs.Server(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Handler: http.NotFoundHandler()}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	defer func() { server.Close(); <-done }()
	get := func(c *identity.TLS) (serial int64, proto int, err error) {
		tr := c.Transport()
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("https://" + l.Addr().String())
		if err != nil {
			return 0, 0, err
		}
		defer resp.Body.Close()
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp.ProtoMajor, nil
	}
	client := loadTLS(t, identity.TLSFiles{CA: ours.file})
	if serial, proto, err := get(client); err != nil || serial != 1 || proto != 2 {
		t.Errorf("got certificate %d by HTTP/%d, %v; want 1 by HTTP/2", serial, proto, err)
	}
	for name, c := range map[string]*identity.TLS{"another authority": loadTLS(t, identity.TLSFiles{CA: theirs.file}), "the system's authorities": nil} {
		if _, _, err := get(c); err == nil || !strings.Contains(err.Error(), "unknown authority") {
			t.Errorf("a client of %s: %v", name, err)
		}
	}

	// A changed file is taken without a restart; a bad one is not.
	ours.issue(dir, "two", 2, "127.0.0.1", time.Now().Add(time.Hour))
	if serial, _, err := get(client); err != nil || serial != 2 {
		t.Errorf("after the change: certificate %d, %v", serial, err)
	}
	if err := os.WriteFile(files.Cert, []byte("half a certifi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if serial, _, err := get(client); err != nil || serial != 2 {
		t.Errorf("with a bad file: certificate %d, %v", serial, err)
	}
	ours.issue(dir, "three", 3, "127.0.0.1", time.Now().Add(time.Hour))
	if serial, _, err := get(client); err != nil || serial != 3 {
		t.Errorf("once it is good again: certificate %d, %v", serial, err)
	}
	text, err := os.ReadFile(theirs.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ours.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := get(client); err == nil {
		t.Error("an authority that was taken away is still trusted")
	}
}

func TestBadTLSFiles(t *testing.T) {
	ours := newAuthority(t)
	good := ours.issue(t.TempDir(), "good", 1, "127.0.0.1", time.Now().Add(time.Hour))
	other := ours.issue(t.TempDir(), "other", 2, "127.0.0.1", time.Now().Add(time.Hour))
	loose := ours.issue(t.TempDir(), "loose", 3, "127.0.0.1", time.Now().Add(time.Hour))
	if err := os.Chmod(loose.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		files identity.TLSFiles
		kind  error
		says  string
	}{
		"no key":                   {identity.TLSFiles{Cert: good.Cert}, conclave.ErrInvalid, "CONCLAVE_TLS_KEY"},
		"a key of another":         {identity.TLSFiles{Cert: good.Cert, Key: other.Key}, conclave.ErrInvalid, "private key does not match"},
		"no such file":             {identity.TLSFiles{Cert: "/nowhere.crt", Key: good.Key}, conclave.ErrInvalid, "nowhere.crt"},
		"a key that others read":   {loose, conclave.ErrDenied, "chmod 600"},
		"authorities that are not": {identity.TLSFiles{CA: good.Key}, conclave.ErrInvalid, "no certificate"},
		"no authorities' file":     {identity.TLSFiles{CA: "/nowhere.ca"}, conclave.ErrInvalid, "nowhere.ca"},
	} {
		if _, err := identity.LoadTLS(tt.files, slog.New(slog.DiscardHandler)); !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %v that says %q", name, err, tt.kind, tt.says)
		}
	}
	if c, err := identity.LoadTLS(identity.TLSFiles{}, nil); c != nil || err != nil || c.Serves() {
		t.Errorf("without files: %v, %v", c, err)
	}
	expired := ours.issue(t.TempDir(), "old", 4, "127.0.0.1", time.Now().Add(-time.Hour))
	elsewhere := ours.issue(t.TempDir(), "elsewhere", 5, "10.1.2.3", time.Now().Add(time.Hour))
	lonely := identity.TLSFiles{Cert: good.Cert, Key: good.Key}
	for says, files := range map[string]identity.TLSFiles{"expired": expired, "127.0.0.1": elsewhere, "CONCLAVE_TLS_CA": lonely} {
		if err := loadTLS(t, files).Check("127.0.0.1"); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want ErrInvalid that says %q", err, says)
		}
	}
}
