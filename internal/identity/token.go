package identity

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"conclave"
)

const (
	issuer         = "conclave"
	audience       = "conclave"
	minSecretBytes = 32 // RFC 7518 §3.2: at least as long as the hash
	maxTokenBytes  = 8 << 10
	clockSkew      = 5 * time.Second // between the machines of one installation

	claimTenant      = "tenant"
	claimAgent       = "agent"
	claimService     = "service"
	claimPermissions = "permissions"
)

// Tokens mints and verifies the bearer tokens of one installation: JSON Web
// Tokens with HMAC-SHA256 under a secret, or signed with a key.
type Tokens struct {
	secret []byte
	sign   jwk.Key // nil under a secret
	verify jwk.Set // public keys by id, each bound to its algorithm

	revoked  func(id string) bool // nil: none is
	verified verified
}

// RefuseRevoked has Verify refuse the tokens whose id was taken back. It is set
// before the first token is verified.
func (t *Tokens) RefuseRevoked(revoked func(id string) bool) { t.revoked = revoked }

// NewTokens returns tokens under a secret of at least 32 bytes. ErrInvalid for
// a shorter one.
func NewTokens(secret []byte) (*Tokens, error) {
	if len(secret) < minSecretBytes {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the token secret has %d bytes; it needs at least %d", len(secret), minSecretBytes)
	}
	return &Tokens{secret: slices.Clone(secret)}, nil
}

// LoadSecret returns the secret that is kept in dir, making one on first use.
// The file is readable by its owner only; ErrDenied when others can read it.
func LoadSecret(dir string) ([]byte, error) {
	text, err := loadOrCreate(dir, "secret", func() ([]byte, error) {
		random := make([]byte, minSecretBytes)
		if _, err := rand.Read(random); err != nil {
			return nil, fmt.Errorf("making a secret: %w", err)
		}
		return []byte(base64.RawURLEncoding.EncodeToString(random)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("loading the token secret: %w", err)
	}
	return text, nil
}

// Mint returns a token for the caller that is good for ttl. ErrInvalid when the
// caller has no human or tenant, or ttl is not positive.
func (t *Tokens) Mint(c conclave.Caller, ttl time.Duration) (string, error) {
	token, _, err := t.MintKept(c, ttl)
	return token, err
}

// MintKept is Mint for a token that is put on the list of tokens, from which it
// can be taken back: it also returns what is kept of it.
func (t *Tokens) MintKept(c conclave.Caller, ttl time.Duration) (string, conclave.Token, error) {
	kept := conclave.Token{ID: rand.Text(), Tenant: c.Tenant, Human: c.Human, Agent: c.Agent, Permissions: c.Permissions, Expires: time.Now().Add(ttl).UTC().Truncate(time.Second)}
	token, err := t.mint(c, ttl, kept)
	return token, kept, err
}

func (t *Tokens) mint(c conclave.Caller, ttl time.Duration, kept conclave.Token) (string, error) {
	switch {
	case c.Human == "":
		return "", conclave.Errorf(conclave.ErrInvalid, "a token needs the human on whose behalf its bearer acts")
	case c.Tenant == "":
		return "", conclave.Errorf(conclave.ErrInvalid, "a token needs a tenant")
	case ttl <= 0:
		return "", conclave.Errorf(conclave.ErrInvalid, "a token's life must be positive, not %s", ttl)
	}
	b := jwt.NewBuilder().
		Issuer(issuer).Audience([]string{audience}).Subject(c.Human).
		IssuedAt(time.Now()).Expiration(kept.Expires).JwtID(kept.ID).
		Claim(claimTenant, string(c.Tenant)).
		Claim(claimPermissions, c.Permissions)
	if c.Agent != "" {
		b = b.Claim(claimAgent, string(c.Agent))
	}
	if c.Service != "" {
		b = b.Claim(claimService, string(c.Service))
	}
	token, err := b.Build()
	if err != nil {
		return "", fmt.Errorf("building a token for %s: %w", c.Name(), err)
	}
	with := jwt.WithKey(jwa.HS256(), t.secret)
	if t.sign != nil {
		alg, _ := t.sign.Algorithm()
		with = jwt.WithKey(alg, t.sign)
	}
	signed, err := jwt.Sign(token, with)
	if err != nil {
		return "", fmt.Errorf("signing a token for %s: %w", c.Name(), err)
	}
	return string(signed), nil
}

// Verify returns the caller that a token was minted for. ErrDenied, with the
// reason, when the token is forged, expired, or not one of ours.
func (t *Tokens) Verify(token string) (conclave.Caller, error) {
	if c, ok := t.verified.get(token, time.Now()); ok {
		return c, nil
	}
	c, err := t.check(token)
	if err == nil {
		t.verified.put(token, c, time.Now())
	}
	return c, err
}

func (t *Tokens) check(token string) (conclave.Caller, error) {
	if len(token) > maxTokenBytes {
		return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "the token has %d bytes; the most is %d", len(token), maxTokenBytes)
	}
	var key jwt.ParseOption = jwt.WithKey(jwa.HS256(), t.secret) // no other algorithm verifies, "none" included
	if t.sign != nil {
		key = jwt.WithKeySet(t.verify) // by id, and only with the algorithm that the key is bound to
	}
	parsed, err := jwt.Parse([]byte(token), key,
		jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithRequiredClaim(jwt.ExpirationKey),
		jwt.WithAcceptableSkew(clockSkew),
		jwt.WithTypedClaim(claimPermissions, []conclave.Permission{}))
	if err != nil {
		return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "%s", refusal(err))
	}
	if id, _ := parsed.JwtID(); t.revoked != nil && t.revoked(id) {
		return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "the token was revoked")
	}
	c := conclave.Caller{
		Tenant:  conclave.TenantID(stringClaim(parsed, claimTenant)),
		Agent:   conclave.AgentName(stringClaim(parsed, claimAgent)),
		Service: conclave.Service(stringClaim(parsed, claimService)),
	}
	c.Human, _ = parsed.Subject()
	if c.Human == "" || c.Tenant == "" {
		return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "the token names no human or no tenant")
	}
	// Without the claim the caller may do nothing, which is what a missing one means.
	if parsed.Has(claimPermissions) {
		if err := parsed.Get(claimPermissions, &c.Permissions); err != nil {
			return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "the token's permissions are not a list of names")
		}
	}
	return c, nil
}

func stringClaim(t jwt.Token, name string) string {
	var s string
	if !t.Has(name) || t.Get(name, &s) != nil {
		return ""
	}
	return s
}

// refusal says why a token was refused without repeating what is in it.
func refusal(err error) string {
	switch {
	case errors.Is(err, jwt.TokenExpiredError()):
		return "the token has expired; make another with: conclave token"
	case errors.Is(err, jwt.InvalidIssuerError()):
		return "the token was made by another issuer"
	case errors.Is(err, jwt.InvalidAudienceError()):
		return "the token was made for another audience"
	case errors.Is(err, jwt.TokenNotYetValidError()), errors.Is(err, jwt.InvalidIssuedAtError()):
		return "the token is dated in the future"
	case errors.Is(err, jwt.MissingRequiredClaimError()):
		return "the token has no expiry"
	}
	return "the token is forged, or was made under another secret"
}
