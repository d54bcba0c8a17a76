package app

import (
	"context"
	"net"
	"net/netip"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/identity"
)

// lookupLimit bounds how long the address of a client is looked up before it is kept.
const lookupLimit = 3 * time.Second

// push says how clients are told of their tasks: at addresses of the internet and
// of the networks that the settings name, signed with the hub's key.
func (a *App) push(key *identity.Key) hub.PushOptions {
	networks := a.config.Security.PushNetworks
	return hub.PushOptions{
		Store: a.db.Pushes(), Transport: a.outside(networks),
		Check: func(ctx context.Context, host string) error { return checkPushHost(ctx, host, networks) },
		Sign:  signBodies(key),
	}
}

// checkPushHost refuses a host that the transport would not call. One that has no
// address now may have one later: it is judged again at each call.
func checkPushHost(ctx context.Context, host string, networks []netip.Prefix) error {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for _, addr := range addresses {
		if a2awire.Reachable(addr, networks) != nil {
			return conclave.Errorf(conclave.ErrInvalid, "url: %s is in this host's network, or reserved; want an address of the internet, or of a network in CONCLAVE_PUSH_NETWORKS", host)
		}
	}
	return nil
}

// signBodies signs as RFC 7515, appendix F: a JWS in compact form without its payload.
func signBodies(key *identity.Key) func([]byte) (string, error) {
	return func(body []byte) (string, error) {
		s, err := key.SignDetached(body, "")
		return s.Protected + ".." + s.Signature, err
	}
}
