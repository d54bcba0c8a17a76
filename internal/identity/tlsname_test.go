package identity_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A certificate of the name that all services share is believed at any address;
// one of another address still is where it belongs, and nowhere else.
func TestTLSName(t *testing.T) {
	ours := newAuthority(t)
	elsewhere, here := ours.issue(t.TempDir(), "elsewhere", 2, "10.9.8.7", time.Now().Add(time.Hour)), ours.issue(t.TempDir(), "here", 3, "127.0.0.1", time.Now().Add(time.Hour))
	get := func(shown *tls.Config, name string) error {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Listener = tls.NewListener(server.Listener, shown)
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.Start()
		defer server.Close()
		files := elsewhere
		files.Name = name
		transport := loadTLS(t, files).Transport()
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(strings.Replace(server.URL, "http:", "https:", 1))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get(loadTLS(t, elsewhere).Server(), "10.9.8.7"); err != nil {
		t.Errorf("the name that is expected, at another address: %v", err)
	}
	if err := get(loadTLS(t, here).Server(), "10.9.8.7"); err != nil {
		t.Errorf("another name, at its own address: %v", err)
	}
	for _, name := range []string{"", "10.1.1.1"} {
		if err := get(loadTLS(t, elsewhere).Server(), name); err == nil {
			t.Errorf("a certificate of another address is believed when %q is expected", name)
		}
	}
	named := elsewhere
	named.Name = "10.9.8.7"
	if err := loadTLS(t, named).Check("127.0.0.1"); err != nil {
		t.Errorf("the check at the start: %v", err)
	}
}
