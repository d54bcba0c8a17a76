package app

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"conclave"
)

// newApp makes a process that is not started.
func newApp(t *testing.T, change func(*Config)) *App {
	t.Helper()
	home := t.TempDir()
	getenv := func(string) string { return "" }
	c, err := Load(func(name string) string {
		if name == "CONCLAVE_HOME" {
			return home
		}
		return ""
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Files, c.AutoPorts, c.Database = "", true, "sqlite:"+filepath.Join(home, "conclave.db")
	change(&c)
	a, err := New(t.Context(), Options{Config: c, Getenv: getenv, Logger: Logger(t.Output(), "error")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// status is what the first service answers to a request for a host.
func (a *App) status(host string) int {
	r := httptest.NewRequest(http.MethodGet, "http://"+host+"/healthz", nil)
	w := httptest.NewRecorder()
	a.servers[0].Handler.ServeHTTP(w, r)
	return w.Code
}

func TestAdvertisedHost(t *testing.T) {
	a := newApp(t, func(c *Config) {
		c.Listen, c.Advertise, c.Hosts = "0.0.0.0", "model-router", []string{"conclave.example"}
	})
	_, port, err := net.SplitHostPort(a.listeners[conclave.ServiceModels].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://model-router:" + port; a.urls[conclave.ServiceModels] != want {
		t.Errorf("others find it at %s, want %s", a.urls[conclave.ServiceModels], want)
	}
	for _, host := range append(ownAddresses(t), "localhost", "model-router:"+port, "conclave.example") {
		if got := a.status(host); got != http.StatusOK {
			t.Errorf("a call to %s gets %d", host, got)
		}
	}
	if got := a.status("attacker.example"); got != http.StatusForbidden {
		t.Errorf("a call to a name that is not ours gets %d", got)
	}
}

// On loopback nothing else is served, whatever addresses the machine has.
func TestLoopbackServesItselfOnly(t *testing.T) {
	a := newApp(t, func(*Config) {})
	for _, host := range ownAddresses(t) {
		if ip := net.ParseIP(host); !ip.IsLoopback() && a.status(host) != http.StatusForbidden {
			t.Errorf("a call to %s gets through", host)
		}
	}
	if got := a.status("attacker.example"); got != http.StatusForbidden {
		t.Errorf("a call to a name that is not ours gets %d", got)
	}
}

func ownAddresses(t *testing.T) []string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok && n.IP.To4() != nil {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}

func TestLocalURL(t *testing.T) {
	for listen, want := range map[string]string{"127.0.0.1": "http://127.0.0.1:9000", "0.0.0.0": "http://127.0.0.1:9000", "10.1.2.3": "http://10.1.2.3:9000"} {
		c := Config{Listen: listen, GatewayPort: 9000}
		if got := c.LocalURL(conclave.ServiceGateway); got != want {
			t.Errorf("listening on %s, it is at %s, want %s", listen, got, want)
		}
	}
}
