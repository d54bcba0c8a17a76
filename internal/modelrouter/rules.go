package modelrouter

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"conclave"
	"conclave/internal/strictyaml"
)

// Wires.
const (
	WireAnthropic = "anthropic"
	WireOpenAI    = "openai"
)

// Tiers of models, from the strongest to the cheapest, and Auto, which leaves
// the choice to the router.
const (
	TierStrong = "strong"
	TierMiddle = "middle"
	TierSmall  = "small"
	Auto       = "auto"
)

func tierNames() []string { return []string{TierStrong, TierMiddle, TierSmall} }

// Rules says which model a request gets, and what models cost:
// config/routing_rules.yml.
type Rules struct {
	// Tiers gives each tier's model on each wire.
	Tiers map[string]map[string]string `yaml:"tiers"`
	// Kinds and Roles give the tier of an agent's work.
	Kinds map[conclave.AssignmentKind]string `yaml:"kinds"`
	Roles map[conclave.Role]string           `yaml:"roles"`
	// Lengths are the characters up to which the small and the middle tier serve.
	Lengths struct {
		Small  int `yaml:"small"`
		Middle int `yaml:"middle"`
	} `yaml:"lengths"`
	Prices map[string]Price `yaml:"prices"`
}

// Rates are US dollars per million tokens.
type Rates struct {
	Input        float64 `yaml:"input"`
	Output       float64 `yaml:"output"`
	CacheRead    float64 `yaml:"cache_read"`
	CacheWrite   float64 `yaml:"cache_write"`
	CacheWrite1h float64 `yaml:"cache_write_1h"`
}

// Price is what a model costs; Long replaces its rates for long prompts.
type Price struct {
	Rates `yaml:",inline"`
	Long  *struct {
		Over  int64 `yaml:"over"`
		Rates `yaml:",inline"`
	} `yaml:"long"`
}

//go:embed routing_rules.yml
var defaultRules []byte

// DefaultRules returns the text of the rules that Conclave ships.
func DefaultRules() []byte { return bytes.Clone(defaultRules) }

// ParseRules reads rules. ErrInvalid for an unknown key, with the nearest known
// one, and for a value that can't be.
func ParseRules(text []byte) (*Rules, error) {
	var r Rules
	if err := strictyaml.Decode(text, &r); err != nil {
		return nil, fmt.Errorf("routing rules: %w", err)
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	return &r, nil
}

func (r *Rules) validate() error {
	for _, tier := range slices.Sorted(maps.Keys(r.Tiers)) {
		if err := known("tiers", tier, tierNames()); err != nil {
			return err
		}
		for _, wire := range slices.Sorted(maps.Keys(r.Tiers[tier])) {
			if err := known("tiers."+tier, wire, []string{WireAnthropic, WireOpenAI}); err != nil {
				return err
			}
			if model := r.Tiers[tier][wire]; isTier(model) || model == "" {
				return conclave.Errorf(conclave.ErrInvalid, "routing rules: tiers.%s.%s is %q: want a model's name", tier, wire, model)
			}
		}
	}
	var kinds []string
	for _, k := range conclave.AssignmentKinds() {
		kinds = append(kinds, string(k))
	}
	for kind, tier := range r.Kinds {
		if err := known("kinds", string(kind), kinds); err != nil {
			return err
		}
		if err := known("kinds."+string(kind), tier, tierNames()); err != nil {
			return err
		}
	}
	for role, tier := range r.Roles {
		if err := known("roles."+string(role), tier, tierNames()); err != nil {
			return err
		}
	}
	if r.Lengths.Small < 0 || r.Lengths.Middle < r.Lengths.Small {
		return conclave.Errorf(conclave.ErrInvalid, "routing rules: lengths: want 0 ≤ small ≤ middle, not %d and %d", r.Lengths.Small, r.Lengths.Middle)
	}
	for model, p := range r.Prices {
		rates := []Rates{p.Rates}
		if p.Long != nil {
			rates = append(rates, p.Long.Rates)
		}
		for _, x := range rates {
			if min(x.Input, x.Output, x.CacheRead, x.CacheWrite, x.CacheWrite1h) < 0 {
				return conclave.Errorf(conclave.ErrInvalid, "routing rules: prices.%s: a price is negative", model)
			}
		}
	}
	return nil
}

func known(where, name string, names []string) error {
	if slices.Contains(names, name) {
		return nil
	}
	return conclave.Errorf(conclave.ErrInvalid, "routing rules: %s: unknown %q; %s", where, name, conclave.DidYouMean(name, names))
}

func isTier(model string) bool { return model == Auto || slices.Contains(tierNames(), model) }

// tier chooses the tier for an agent's work or a task, and says why.
func (r *Rules) tier(q conclave.RouteQuery) (tier, reason string) {
	if t, ok := r.Roles[q.Role]; ok && q.Role != "" {
		return t, fmt.Sprintf("the rules give role %s the %s tier", q.Role, t)
	}
	if t, ok := r.Kinds[q.Kind]; ok && q.Kind != "" {
		return t, fmt.Sprintf("the rules give %s the %s tier", q.Kind, t)
	}
	return r.byLength(len([]rune(q.Task)))
}

func (r *Rules) byLength(n int) (tier, reason string) {
	switch {
	case n <= r.Lengths.Small:
		return TierSmall, fmt.Sprintf("%d characters are at most %d", n, r.Lengths.Small)
	case n <= r.Lengths.Middle:
		return TierMiddle, fmt.Sprintf("%d characters are at most %d", n, r.Lengths.Middle)
	}
	return TierStrong, fmt.Sprintf("%d characters are more than %d", n, r.Lengths.Middle)
}

// tierOf is the tier that a model's own name stands for on a wire, or empty.
func (r *Rules) tierOf(wire, model string) string {
	for _, tier := range tierNames() {
		if r.Tiers[tier][wire] == model {
			return tier
		}
	}
	return ""
}

var dated = regexp.MustCompile(`-(\d{8}|\d{4}-\d{2}-\d{2})$`)

// cost is what a call cost in US dollars, or nil when the model's price is not
// known. A dated name has the price of the plain one.
func (r *Rules) cost(model string, u usage) *float64 {
	p, ok := r.Prices[model]
	if !ok {
		p, ok = r.Prices[dated.ReplaceAllString(model, "")]
	}
	if !ok || !u.measured || u.special {
		return nil
	}
	rates := p.Rates
	if p.Long != nil && u.input+u.cacheRead+u.cacheWrite > p.Long.Over {
		rates = p.Long.Rates
	}
	sum := float64(u.input)*rates.Input + float64(u.output)*rates.Output + float64(u.cacheRead)*rates.CacheRead +
		float64(u.cacheWrite-u.cacheWrite1h)*rates.CacheWrite + float64(u.cacheWrite1h)*rates.CacheWrite1h
	sum /= 1e6
	return &sum
}
