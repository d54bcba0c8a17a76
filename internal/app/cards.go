package app

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"strings"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/identity"
	"conclave/internal/registry"
)

// keysPath is where the keys are published with which the hub signs cards.
const keysPath = "/.well-known/jwks.json"

// signCards signs with the hub's key, and says that it is published at the origin
// from which the card was fetched.
func signCards(key *identity.Key) func(*http.Request, []byte) (a2awire.CardSignature, error) {
	return func(r *http.Request, payload []byte) (a2awire.CardSignature, error) {
		s, err := key.SignDetached(payload, a2awire.Origin(r)+keysPath)
		return a2awire.CardSignature{Protected: s.Protected, Signature: s.Signature}, err
	}
}

// hubPaths are what the hub serves besides its operations; the gateway passes
// them on. hubSearch is a path by one method, which REST may use by others.
func hubPaths() []string {
	return append([]string{hub.A2APrefix, keysPath, registry.CatalogPath, registry.ARDPrefix + "/"}, a2awire.GRPCPaths()...)
}

const hubSearch = "POST " + registry.SearchPath

// hubFace answers on hubPaths and hubSearch.
func (a *App) hubFace() (http.Handler, error) {
	catalog, err := registry.NewCatalog(registry.CatalogOptions{
		Agents:   func(ctx context.Context) ([]conclave.Agent, error) { return a.hub.Agents(ctx, conclave.ListAgents{}) },
		Services: a.allTables(), Publisher: publisher(a.config.Advertise), Version: Version, Logger: a.log,
		MCP: func(s conclave.Service) (string, error) {
			url, err := a.resolve(s)
			return url + "/mcp", err
		}})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(hub.A2APrefix, a.hubHTTP)
	mux.HandleFunc("GET "+keysPath, a.serveKeys)
	for _, path := range a2awire.GRPCPaths() {
		mux.Handle(path, a.hubGRPC)
	}
	mux.Handle("/", catalog)
	return a.authenticated(mux), nil
}

// publisher is the domain in the identifiers of what is published here.
func publisher(advertised string) string {
	if _, err := netip.ParseAddr(advertised); err == nil {
		return "localhost"
	}
	return cmp.Or(advertised, "localhost")
}

func (a *App) serveKeys(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(a.hubKeys) // the client is gone when this fails
}

// outside reaches servers of others, in the given networks besides the internet.
// It shows them no certificate of ours.
func (a *App) outside(networks []netip.Prefix) http.RoundTripper {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		base = &http.Transport{}
	}
	t := a2awire.Guard(base, networks)
	a.closers = append(a.closers, t.CloseIdleConnections)
	return t
}

func everywhere() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
}

// parseNetworks reads a list of networks or addresses.
func parseNetworks(list string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, item := range strings.Split(list, ",") {
		item = strings.TrimSpace(item)
		p, err := netip.ParsePrefix(item)
		if addr, addrErr := netip.ParseAddr(item); addrErr == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "%q is no network; want a list such as 10.1.0.0/16,127.0.0.1", item)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
