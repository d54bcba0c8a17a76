package app

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/identity"
)

func TestPushHosts(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	for host, ok := range map[string]bool{
		"127.0.0.1": false, "localhost": false, "::1": false, "169.254.169.254": false, "10.2.0.1": false, "192.168.1.1": false, "0.0.0.0": false,
		"100.64.0.1": false, "fd00:ec2::254": false, "::ffff:127.0.0.1": false, "10.1.2.3": true, "1.1.1.1": true, "no-such-host.invalid": true,
	} {
		err := checkPushHost(t.Context(), host, allowed)
		if ok && err != nil || !ok && (!errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), "CONCLAVE_PUSH_NETWORKS")) {
			t.Errorf("%s: %v, want that it is taken: %t", host, err, ok)
		}
	}
}

// A name may lead elsewhere when it is called than when it was given.
func TestPushIsJudgedWhenItIsCalled(t *testing.T) {
	called := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer inside.Close()
	for _, networks := range [][]netip.Prefix{nil, {netip.MustParsePrefix("127.0.0.0/8")}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.Replace(inside.URL, "127.0.0.1", "localhost", 1), strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := a2awire.Guard(http.DefaultTransport.(*http.Transport), append(networks, netip.MustParsePrefix("1.1.1.1/32"))).RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if allowed := networks != nil; called != allowed || (err == nil) != allowed {
			t.Errorf("networks %v: called %t, %v", networks, called, err)
		}
	}
}

func TestNotificationSignature(t *testing.T) {
	key, err := identity.LoadOrCreate(t.TempDir(), "hub")
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"statusUpdate":{}}`)
	signature, err := signBodies(key)(body)
	if err != nil {
		t.Fatal(err)
	}
	published, err := identity.PublicKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := identity.ParseKeySet(published)
	if err != nil {
		t.Fatal(err)
	}
	protected, sig, ok := strings.Cut(signature, "..")
	if _, err := keys.Verify(identity.Signature{Protected: protected, Signature: sig}, body, time.Now()); !ok || err != nil {
		t.Errorf("the published keys do not verify %q: %v", signature, err)
	}
	if _, err := keys.Verify(identity.Signature{Protected: protected, Signature: sig}, []byte(`{}`), time.Now()); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("another body has the same signature: %v", err)
	}
}
