package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"conclave"
)

// TLSFiles name the certificate that a process shows, its private key, and the
// authorities whose certificates it trusts, all in PEM. Without a certificate
// the process serves plain HTTP; without authorities it trusts the system's.
//
// Name is a name that certificates of the installation's services have in common:
// one of them is believed at any address then, which addresses of containers need.
type TLSFiles struct {
	Cert, Key, CA string
	Name          string
}

// TLS is a process's certificate and whom it trusts. The files are read again
// when they change: a new certificate needs no restart. While new files are bad,
// the old ones stay, and the log says why. A nil *TLS is plain HTTP.
type TLS struct {
	files TLSFiles
	log   *slog.Logger

	mu    sync.Mutex
	stamp []os.FileInfo // of the files as they were last read, well or not
	cert  *tls.Certificate
	roots *x509.CertPool
}

// LoadTLS reads the files; nil when none is named. ErrInvalid says which file is
// bad and why; ErrDenied when others can read the private key.
func LoadTLS(files TLSFiles, log *slog.Logger) (*TLS, error) {
	if files.Cert == "" && files.Key == "" && files.CA == "" {
		return nil, nil
	}
	if (files.Cert == "") != (files.Key == "") {
		return nil, conclave.Errorf(conclave.ErrInvalid, "a certificate and its private key belong together: set both CONCLAVE_TLS_CERT and CONCLAVE_TLS_KEY")
	}
	t := &TLS{files: files, log: log}
	return t, t.read()
}

// Serves reports whether the process shows a certificate.
func (t *TLS) Serves() bool { return t != nil && t.files.Cert != "" }

func (t *TLS) read() error {
	var cert *tls.Certificate
	var roots *x509.CertPool
	t.stamp = stampOf(t.files)
	if t.files.Cert != "" {
		if _, err := readPrivate(t.files.Key); errors.Is(err, conclave.ErrDenied) {
			return err
		}
		pair, err := tls.LoadX509KeyPair(t.files.Cert, t.files.Key)
		if err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "certificate %s with key %s: %w", t.files.Cert, t.files.Key, err)
		}
		cert = &pair
	}
	if t.files.CA != "" {
		text, err := os.ReadFile(t.files.CA)
		if err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "reading the authorities: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return conclave.Errorf(conclave.ErrInvalid, "%s holds no certificate in PEM", t.files.CA)
		}
	}
	t.cert, t.roots = cert, roots
	return nil
}

func stampOf(f TLSFiles) []os.FileInfo {
	var all []os.FileInfo
	for _, path := range []string{f.Cert, f.Key, f.CA} {
		info, _ := os.Stat(path) // one that is missing changed too
		all = append(all, info)
	}
	return all
}

func sameStamp(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// current returns what the files hold, or held when they were last good.
func (t *TLS) current() (*tls.Certificate, *x509.CertPool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.EqualFunc(t.stamp, stampOf(t.files), sameStamp) {
		if err := t.read(); err != nil {
			t.log.Error("reading changed certificates; the old ones stay", "error", err)
		} else {
			t.log.Info("read changed certificates", "certificate", t.files.Cert)
		}
	}
	return t.cert, t.roots
}

// Check reports whether a client that trusts the authorities can reach this
// process under a host name or address. ErrInvalid says why not.
func (t *TLS) Check(host string) error {
	cert, roots := t.current()
	leaf := cert.Leaf
	between := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil { // what is no certificate does not help
			between.AddCert(c)
		}
	}
	if t.files.Name != "" {
		host = t.files.Name
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return conclave.Errorf(conclave.ErrInvalid, "certificate %s is not signed by an authority that services trust: set CONCLAVE_TLS_CA to the file of the authority that signed it (a self-signed one is its own)", t.files.Cert)
	}
	return conclave.Errorf(conclave.ErrInvalid, "certificate %s can't be used at %s: %w", t.files.Cert, host, err)
}

// Describe tells whose certificate it is and until when.
func (t *TLS) Describe() string {
	cert, _ := t.current()
	return fmt.Sprintf("certificate %s of %q, signed by %q, until %s", t.files.Cert, cert.Leaf.Subject.CommonName, cert.Leaf.Issuer.CommonName, cert.Leaf.NotAfter.Format(time.DateOnly))
}

// Server returns the settings of a server that shows the certificate.
func (t *TLS) Server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, _ := t.current()
			return cert, nil
		}}
}

// Transport returns a transport to other services: without a proxy, because
// they find each other by address, and trusting the authorities of now.
func (t *TLS) Transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	tr := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true}
	if t != nil {
		tr.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, roots := t.current()
			d := tls.Dialer{NetDialer: dialer, Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, ServerName: t.files.Name}}
			conn, err := d.DialContext(ctx, network, addr)
			if _, other := errors.AsType[x509.HostnameError](err); other && t.files.Name != "" { // none of ours: whose it is at that address
				d.Config.ServerName = ""
				conn, err = d.DialContext(ctx, network, addr)
			}
			if err != nil {
				return nil, fmt.Errorf("connecting to %s: %w", addr, err)
			}
			return conn, nil
		}
	}
	return tr
}
