package a2awire

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"conclave"
)

// Guard returns a transport that connects to public addresses, and to those of
// the allowed networks, only. The address is judged after the name was resolved,
// at the moment of connecting, so that neither a name that changes nor a redirect
// leads inside. Calls to others fail with ErrDenied. It uses no proxy: a proxy
// would connect in its place.
func Guard(base *http.Transport, allowed []netip.Prefix) *http.Transport {
	guarded := base.Clone()
	guarded.Proxy = nil
	guarded.DialTLSContext = nil
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return conclave.Errorf(conclave.ErrDenied, "%s is no address that may be called", address)
			}
			return Reachable(at.Addr(), allowed)
		}}
	guarded.DialContext = dialer.DialContext
	return guarded
}

// Reachable returns ErrDenied for an address inside the network of the host, or
// one that belongs to nobody on the internet, unless it is allowed.
func Reachable(addr netip.Addr, allowed []netip.Prefix) error {
	addr = addr.Unmap().WithZone("")
	holds := func(p netip.Prefix) bool { return p.Contains(addr) }
	if slices.ContainsFunc(allowed, holds) {
		return nil
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || slices.ContainsFunc(reserved(), holds) {
		return conclave.Errorf(conclave.ErrDenied, "%s is inside this host's network or reserved; allow it with --allow-private or CONCLAVE_AGENT_NETWORKS if it is meant", addr)
	}
	return nil
}

// reserved are networks of the IANA special-purpose registries (RFC 6890) that
// netip does not tell apart, and those that wrap an IPv4 address.
func reserved() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}
