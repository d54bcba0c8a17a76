package identity

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"conclave"
)

// Authenticate returns a function that tells who sent a request, from its
// "Authorization: Bearer" header, else from "x-api-key". It returns ErrDenied,
// with the reason, when there is no token or a wrong one.
func Authenticate(tokens *Tokens) func(*http.Request) (conclave.Caller, error) {
	return func(r *http.Request) (conclave.Caller, error) {
		token, err := bearer(r.Header)
		if err != nil {
			return conclave.Caller{}, err
		}
		return tokens.Verify(token)
	}
}

func bearer(h http.Header) (string, error) {
	if auth := h.Get("Authorization"); auth != "" {
		scheme, token, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", conclave.Errorf(conclave.ErrDenied, "the Authorization header must be: Bearer TOKEN")
		}
		return strings.TrimSpace(token), nil
	}
	if key := h.Get("X-Api-Key"); key != "" {
		return key, nil
	}
	return "", conclave.Errorf(conclave.ErrDenied, "no token: send the header Authorization: Bearer TOKEN; conclave token prints one")
}

// GuardLocal refuses requests that a foreign web page makes a browser send (DNS
// rebinding): the Host must be a loopback name or one of allowedHosts, and so
// must the Origin when there is one. The others get 403. A name in allowedHosts
// is a host name or address without a port.
func GuardLocal(allowedHosts ...string) func(http.Handler) http.Handler {
	allowed := make(map[string]bool, len(allowedHosts))
	for _, h := range allowedHosts {
		allowed[hostName(h)] = true
	}
	local := func(host string) bool {
		name := hostName(host)
		return name == "localhost" || isLoopback(name) || allowed[name]
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !local(r.Host) {
				http.Error(w, fmt.Sprintf("host %q is not served here", r.Host), http.StatusForbidden)
				return
			}
			for _, origin := range r.Header.Values("Origin") {
				u, err := url.Parse(origin)
				if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !local(u.Host) {
					http.Error(w, fmt.Sprintf("pages of %q may not call this server", origin), http.StatusForbidden)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// hostName returns the host of "host", "host:port", "[v6]" or "[v6]:port", in
// lower case and without the root dot.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func isLoopback(name string) bool {
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}
