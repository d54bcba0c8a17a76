package modelrouter

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"conclave"
)

// Upstream is a model provider.
type Upstream struct {
	Name string
	Wire string // WireAnthropic or WireOpenAI
	// URL is the provider's address without /v1.
	URL string
	// Key is sent to it; several, separated by commas, stand in for each other.
	// Without one it serves callers that bring their own, and everybody when Open
	// is set.
	Key  string
	Open bool
	// Model stands for every tier; empty leaves that to the rules.
	Model string
}

// UpstreamsFromEnv reads the providers from the environment. ErrInvalid for an
// address that is none.
//
//   - ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL: Anthropic, or what speaks as it does.
//     Without either, it is there for callers that bring their own key or login.
//     Several keys are separated by commas.
//   - OPENAI_API_KEY, OPENAI_BASE_URL, CONCLAVE_MODEL: OpenAI, or a compatible
//     server (its address ends in /v1) with the model that it serves.
func UpstreamsFromEnv(getenv func(string) string) ([]Upstream, error) {
	anthropic := Upstream{Name: "anthropic", Wire: WireAnthropic, URL: "https://api.anthropic.com", Key: getenv("ANTHROPIC_API_KEY")}
	if v := getenv("ANTHROPIC_BASE_URL"); v != "" {
		anthropic.URL, anthropic.Open = v, true
	}
	all := []Upstream{anthropic}
	if key, base := getenv("OPENAI_API_KEY"), getenv("OPENAI_BASE_URL"); key != "" || base != "" {
		u := Upstream{Name: "openai", Wire: WireOpenAI, URL: "https://api.openai.com", Key: key, Model: getenv("CONCLAVE_MODEL")}
		if base != "" {
			u.URL, u.Open = base, true
		}
		all = append(all, u)
	}
	for i := range all {
		if err := all[i].complete(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (u *Upstream) complete() error {
	if u.Wire != WireAnthropic && u.Wire != WireOpenAI {
		return conclave.Errorf(conclave.ErrInvalid, "model provider %s: wire %q: want %s or %s", u.Name, u.Wire, WireAnthropic, WireOpenAI)
	}
	p, err := url.Parse(u.URL)
	if err != nil || p.Host == "" || (p.Scheme != "http" && p.Scheme != "https") {
		// The address is not quoted, for it may hold a password or a token.
		return conclave.Errorf(conclave.ErrInvalid, "model provider %s: its address is not an http or https URL", u.Name)
	}
	p.Path = strings.TrimSuffix(strings.TrimSuffix(p.Path, "/"), "/v1")
	p.RawPath, p.RawQuery, p.Fragment = "", "", ""
	u.URL = p.String()
	return nil
}

// upstream is a provider with what was seen of it.
type upstream struct {
	Upstream
	health
	base *url.URL
	keys []*key // at least one, which may be empty
}

// key is one of a provider's keys. The first that is well is used, so that the
// provider's prompt cache stays warm.
type key struct {
	secret string
	health
}

func newUpstream(u Upstream) *upstream {
	base, err := url.Parse(u.URL)
	if err != nil { // complete has parsed it
		base = &url.URL{}
	}
	up := &upstream{Upstream: u, base: base}
	for secret := range strings.SplitSeq(u.Key, ",") {
		if secret = strings.TrimSpace(secret); secret != "" {
			up.keys = append(up.keys, &key{secret: secret})
		}
	}
	if up.keys == nil {
		up.keys = []*key{{}}
	}
	return up
}

// trouble says why the provider is tried last now, or nothing.
func (u *upstream) trouble(now time.Time) string {
	problem := u.health.trouble(now)
	if problem != "" {
		return problem
	}
	for _, k := range u.keys {
		if problem = k.trouble(now); problem == "" {
			return ""
		}
	}
	return problem
}

// serves reports whether the upstream can be used by a caller.
func (u Upstream) serves(ownKey bool) bool { return ownKey || u.Key != "" || u.Open }

// model returns what a requested model is called on this upstream.
func (u *upstream) model(requested, tier string, rules *Rules) string {
	switch {
	case tier == "":
		return requested
	case u.Model != "":
		return u.Model
	case u.Open && u.Wire == WireOpenAI:
		// A compatible server has models of its own, and only its owner knows them.
		return ""
	}
	return rules.Tiers[tier][u.Wire]
}

// Describe tells what the provider serves by these rules, as far as that is known
// without calling it.
func (u Upstream) Describe(rules *Rules) conclave.Upstream {
	return newUpstream(u).describe(rules, time.Now())
}

func (u *upstream) describe(rules *Rules, now time.Time) conclave.Upstream {
	d := conclave.Upstream{Name: u.Name, Wire: u.Wire, URL: safeURL(u.URL), Keyed: u.Key != "", Problem: u.trouble(now), Models: []string{}}
	for _, tier := range tierNames() {
		if m := u.model("", tier, rules); m != "" && !slices.Contains(d.Models, m) {
			d.Models = append(d.Models, m)
		}
	}
	switch {
	case d.Problem != "":
	case !u.serves(false):
		d.Problem = "no key is configured; it serves only callers that bring their own"
	case len(d.Models) == 0:
		d.Problem = "set CONCLAVE_MODEL to the model that it serves; without it, only requests that name a model can go there"
	}
	return d
}

// safeURL leaves out a password, and a path, which may hold a token.
func safeURL(s string) string {
	p, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return p.Scheme + "://" + p.Host
}
