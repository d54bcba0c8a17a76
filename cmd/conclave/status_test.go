package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A container's health check asks one service, by its name, and goes by the exit code.
func TestStatusOfNamedServices(t *testing.T) {
	i := newInstallation(t)
	ready := http.StatusServiceUnavailable
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("it asks for %s", r.URL.Path)
		}
		w.WriteHeader(ready)
	}))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	i.env["GATEWAY_PORT"] = u.Port()
	if out, _, code := i.conclave("status", "gateway"); code != exitFailed || !strings.Contains(out, "not ready") {
		t.Errorf("of a service that is not ready: exit code %d, %s", code, out)
	}
	ready = http.StatusOK
	if out, _, code := i.conclave("status", "gateway"); code != exitDone || !strings.Contains(out, "http://127.0.0.1:"+u.Port()) {
		t.Errorf("of a service that is ready: exit code %d, %s", code, out)
	}
	if _, errs, code := i.conclave("status", "gatway"); code != exitUsage || !strings.Contains(errs, `"gateway"`) {
		t.Errorf("of a service that is none: exit code %d, %s", code, errs)
	}
	server.Close()
	if out, _, code := i.conclave("status", "gateway"); code != exitFailed || !strings.Contains(out, "no answer") {
		t.Errorf("of a service that is gone: exit code %d, %s", code, out)
	}
}
