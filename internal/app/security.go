package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"conclave"
	"conclave/internal/agentpool"
	"conclave/internal/gateway"
	"conclave/internal/identity"
	"conclave/internal/lifecycle"
	"conclave/internal/store"
)

// Security says whom the services believe, and how they keep what is said from
// others.
type Security struct {
	TLS         identity.TLSFiles
	TokenKey    string   // PEM file of the private key that signs tokens; empty: they are under a secret
	PublicKeys  []string // PEM files of more keys whose tokens are taken
	RateCaller  gateway.Rate
	RateAddress gateway.Rate
	Encrypt     agentpool.Encryption
	// AgentNetworks are networks besides the internet in which agents of somebody
	// else's may live.
	AgentNetworks []netip.Prefix
	// PushNetworks are networks besides the internet in which clients may be told
	// of their tasks.
	PushNetworks []netip.Prefix
	// QueueAddress and QueueSender are how many messages may wait at one address of
	// the hub, and of one sender; 0: as many as the hub takes by itself.
	QueueAddress, QueueSender int
}

func securityDefaults() Security {
	return Security{RateCaller: gateway.Rate{PerSecond: 200, Burst: 400}, RateAddress: gateway.Rate{PerSecond: 400, Burst: 800}}
}

func (s Security) validate(getenv func(string) string) error {
	switch {
	case s.TokenKey != "" && getenv("JWT_SECRET") != "":
		return conclave.Errorf(conclave.ErrInvalid, "both JWT_SECRET and CONCLAVE_JWT_KEY are set; tokens are under a secret or signed with a key, not both")
	case s.TokenKey == "" && len(s.PublicKeys) > 0:
		return conclave.Errorf(conclave.ErrInvalid, "CONCLAVE_JWT_PUBLIC_KEYS needs CONCLAVE_JWT_KEY: services make tokens for each other with a private key")
	}
	return nil
}

// knownRoles refuses the name of a role that nobody has: what was meant for it
// would hold for nobody.
func knownRoles(where string, roles []conclave.Role, specs []conclave.AgentSpec) error {
	var names []string
	for _, spec := range specs {
		names = append(names, string(spec.Role))
	}
	for _, r := range roles {
		if !slices.Contains(names, string(r)) {
			return conclave.Errorf(conclave.ErrInvalid, "%s names the role %q, which nobody has; %s", where, r, conclave.DidYouMean(string(r), names))
		}
	}
	return nil
}

// Tokens returns what makes and checks the installation's tokens.
func Tokens(c Config, getenv func(string) string) (*identity.Tokens, error) {
	if c.Security.TokenKey != "" {
		return identity.NewKeyTokens(c.Security.TokenKey, c.Security.PublicKeys)
	}
	secret := []byte(getenv("JWT_SECRET"))
	if len(secret) == 0 {
		var err error
		if secret, err = identity.LoadSecret(c.Home); err != nil {
			return nil, err
		}
	}
	tokens, err := identity.NewTokens(secret)
	if err != nil {
		return nil, fmt.Errorf("JWT_SECRET or the secret in %s: %w", c.Home, err)
	}
	return tokens, nil
}

// AuditKey returns the key with which the installation seals its record.
func AuditKey(home string) (*identity.Key, error) {
	return identity.LoadOrCreate(filepath.Join(home, "keys"), "audit")
}

// identify reads or makes the keys and the certificate.
func (a *App) identify() error {
	var err error
	if a.tokens, err = Tokens(a.config, a.getenv); err != nil {
		return err
	}
	if a.name, err = installation(a.config, a.getenv); err != nil {
		return err
	}
	if a.tls, err = identity.LoadTLS(a.config.Security.TLS, a.log); err != nil {
		return err
	}
	a.transport, a.http2 = a.tls.Transport(), a.tls.Transport()
	a.http2.Protocols = new(http.Protocols)
	a.http2.Protocols.SetHTTP2(true)
	a.http2.Protocols.SetUnencryptedHTTP2(true)
	a.closers = append(a.closers, a.transport.CloseIdleConnections, a.http2.CloseIdleConnections)
	a.refusals = rate.NewLimiter(1, 20)
	a.caller = LocalCaller(a.getenv)
	return nil
}

// authenticate tells who sent a request. That a token was refused is recorded.
func (a *App) authenticate(r *http.Request) (conclave.Caller, error) {
	c, err := identity.Authenticate(a.tokens)(r)
	if err != nil && (r.Header.Get("Authorization") != "" || r.Header.Get("X-Api-Key") != "") {
		a.recordForged(r.Context(), r.Method+" "+r.URL.Path+" from "+r.RemoteAddr, err)
	}
	return c, err
}

// recordForged records a refused token. Whoever sends many of them can't fill
// the record with it.
func (a *App) recordForged(ctx context.Context, where string, why error) {
	if !a.refusals.Allow() {
		a.log.WarnContext(ctx, "a token was refused", "where", where, "why", why)
		return
	}
	a.record(ctx, conclave.Event{Tenant: conclave.DefaultTenant, Kind: conclave.EventCallRefused, Actor: "unknown", Subject: "token", Text: where + ": " + conclave.Text(why), Data: json.RawMessage(`{"rule":"token"}`)})
}

// recordRefusal records that somebody asked for what they may not do.
func (a *App) recordRefusal(ctx context.Context, o conclave.Operation, why error) {
	c := conclave.CallerFrom(ctx)
	if c.Tenant == "" {
		c.Tenant = conclave.DefaultTenant
	}
	a.record(ctx, conclave.Event{Tenant: c.Tenant, Kind: conclave.EventCallRefused, Actor: c.Name(), Subject: o.Name, Text: conclave.Text(why), Data: json.RawMessage(`{"rule":"permission"}`)})
}

func (a *App) record(ctx context.Context, e conclave.Event) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // also when the caller has gone
	defer cancel()
	if err := a.db.Update(ctx, func(tx *store.Tx) error { return tx.Append(e) }); err != nil {
		a.log.ErrorContext(ctx, "recording a refusal", "refusal", e.Text, "error", err)
	}
}

// guarded are operations whose refusals are recorded.
func (a *App) guarded(ops []conclave.Operation) []conclave.Operation {
	for i, o := range ops {
		ops[i] = o.OnRefusal(a.recordRefusal)
	}
	return ops
}

// record is what the monitor serves: events, and whether they are as they were sealed.
type record struct {
	conclave.Events
	conclave.Audit
}

// makeAudit has the record sealed by the process that serves it.
func (a *App) makeAudit() error {
	key, err := AuditKey(a.config.Home)
	if err != nil {
		return err
	}
	a.audit = a.db.Audit(key.Public())
	if a.here(conclave.ServiceMonitor) {
		sealer := a.db.Sealer(key, func(c conclave.Checkpoint) error { return keepCheckpoint(a.config.Home, c) })
		a.services = append(a.services, lifecycle.Service{Name: "audit", Run: sealer.Run})
	}
	return nil
}

func checkpointFile(home string) string { return filepath.Join(home, "audit.json") }

// ReadCheckpoints returns the last checkpoint of each tenant as it was kept
// outside of the database, none when there is no file.
func ReadCheckpoints(path string) ([]conclave.Checkpoint, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the kept checkpoints: %w", err)
	}
	var list []conclave.Checkpoint
	if err := json.Unmarshal(data, &list); err == nil {
		return list, nil
	}
	var report conclave.AuditReport // as conclave audit verify --json prints it
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s holds no checkpoints: %w", path, err)
	}
	return report.Heads, nil
}

// KeptCheckpoints are those that the sealer left in the data directory.
func KeptCheckpoints(home string) ([]conclave.Checkpoint, error) {
	list, err := ReadCheckpoints(checkpointFile(home))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

// keepCheckpoint remembers a tenant's newest checkpoint outside of the database,
// so that a record whose end was cut off is noticed.
func keepCheckpoint(home string, c conclave.Checkpoint) error {
	list, err := KeptCheckpoints(home)
	if err != nil {
		return err
	}
	kept := []conclave.Checkpoint{c}
	for _, k := range list {
		if k.Tenant != c.Tenant {
			kept = append(kept, k)
		}
	}
	data, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the checkpoints: %w", err)
	}
	return replaceFile(checkpointFile(home), data)
}

// TLSProblem tells what is wrong with the certificate for this host, or nothing.
func TLSProblem(t *identity.TLS, urls map[conclave.Service]string) error {
	for _, u := range urls {
		host := strings.TrimPrefix(u, "https://")
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			host = host[:i]
		}
		if err := t.Check(strings.Trim(host, "[]")); err != nil {
			return err
		}
	}
	return nil
}

// SecurityFindings tells for doctor whom the services would believe.
func SecurityFindings(c Config, getenv func(string) string) [][2]string {
	var lines [][2]string
	add := func(what, finding string) { lines = append(lines, [2]string{what, finding}) }
	tokens := "under the secret in the data directory"
	switch {
	case c.Security.TokenKey != "":
		tokens = fmt.Sprintf("signed with %s; %d more keys are taken", c.Security.TokenKey, len(c.Security.PublicKeys))
	case getenv("JWT_SECRET") != "":
		tokens = "under JWT_SECRET"
	}
	if _, err := Tokens(c, getenv); err != nil {
		tokens = err.Error()
	}
	add("tokens", tokens)
	t, err := identity.LoadTLS(c.Security.TLS, slog.New(slog.DiscardHandler))
	switch {
	case err != nil:
		add("TLS", err.Error())
	case !t.Serves():
		add("TLS", "off: services speak plain HTTP, on loopback unless CONCLAVE_LISTEN says otherwise")
	default:
		if err := t.Check(c.Host()); err != nil {
			add("TLS", err.Error())
		} else {
			add("TLS", t.Describe())
		}
	}
	add("limits", fmt.Sprintf("%s for a caller, %s for an address", c.Security.RateCaller, c.Security.RateAddress))
	add("encryption", "of what agents ask each other: "+c.Security.Encrypt.String())
	return lines
}
