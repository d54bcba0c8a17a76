package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/bus"
	"conclave/internal/identity"
	"conclave/internal/pgtest"
)

// waitingFor is a process with one port, whose database is at a URL.
func waitingFor(t *testing.T, database string, patient bool) *App {
	t.Helper()
	log := Logger(t.Output(), "error")
	certs, err := identity.LoadTLS(identity.TLSFiles{}, log)
	if err != nil {
		t.Fatal(err)
	}
	quiet, err := bus.New(bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &App{config: Config{Database: database, Services: []conclave.Service{conclave.ServiceHub}}, log: log, tls: certs, bus: quiet, patient: patient,
		listeners: map[conclave.Service]net.Listener{conclave.ServiceHub: l}, urls: map[conclave.Service]string{conclave.ServiceHub: "http://" + l.Addr().String()}}
}

// A database server that comes later than the services is waited for; probes are
// told so, and the ports are as they were afterwards.
func TestDatabaseComesLater(t *testing.T) {
	at, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	place, err := net.Listen("tcp", "127.0.0.1:0") // which is given back until the server comes
	if err != nil {
		t.Fatal(err)
	}
	there := *at
	there.Host, there.User = place.Addr().String(), url.UserPassword(at.User.Username(), "hush")
	place.Close()

	if err := waitingFor(t, there.String(), false).openDatabase(t.Context()); !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("a process that does not wait: %v", err)
	}
	a := waitingFor(t, there.String(), true)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := a.openDatabase(ctx); err == nil {
		t.Error("a process that is told to stop goes on")
	}

	opened := make(chan error, 1)
	go func() { opened <- a.openDatabase(t.Context()) }()
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/mcp": http.StatusServiceUnavailable} {
		resp, err := http.Get(a.urls[conclave.ServiceHub] + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want || strings.Contains(string(text), "hush") || want != http.StatusOK && !strings.Contains(string(text), there.Host) {
			t.Errorf("%s: %d %s %v, want %d and the database's address", path, resp.StatusCode, text, err, want)
		}
	}
	forward(t, there.Host, at.Host)
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	defer a.db.Close()
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(a.listeners[conclave.ServiceHub])
	defer server.Close()
	resp, err := http.Get(a.urls[conclave.ServiceHub])
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the port answers %d, and not as the service that got it", resp.StatusCode)
	}
}

// What no waiting mends is an error at once.
func TestDatabaseRefuses(t *testing.T) {
	at, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	at.Path = "/there_is_no_such_database"
	if err := waitingFor(t, at.String(), true).openDatabase(t.Context()); !errors.Is(err, conclave.ErrUnavailable) {
		t.Error(err)
	}
}

// forward passes what comes at one address on to another, until the test ends.
func forward(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				go io.Copy(out, in)
				io.Copy(in, out)
			}()
		}
	}()
}
