package app

import (
	"time"

	"conclave/internal/hub"
)

// speechFile is what collaboration_rules.yml says of who may speak with whom.
type speechFile struct {
	Calls   *[]hub.CallRule `yaml:"calls"`
	MaxHops *int            `yaml:"max_hops"`
	Budget  struct {
		Messages *int     `yaml:"messages"`
		Tokens   *int64   `yaml:"tokens"`
		CostUSD  *float64 `yaml:"cost_usd"`
	} `yaml:"budget"`
	Rate struct {
		PerSecond *float64 `yaml:"per_second"`
		Burst     *int     `yaml:"burst"`
	} `yaml:"rate"`
}

// conversationsFile is what collaboration_rules.yml says of how long they are kept.
type conversationsFile struct {
	RetentionDays *int `yaml:"retention_days"`
}

// speech takes the rules of speech from a file.
func (c *Config) speech(path string, f speechFile, talk conversationsFile) {
	r := &c.Speech
	take(c, &r.Calls, f.Calls, "speech.calls", path)
	take(c, &r.MaxHops, f.MaxHops, "speech.max_hops", path)
	take(c, &r.Budget.Messages, f.Budget.Messages, "speech.budget.messages", path)
	take(c, &r.Budget.Tokens, f.Budget.Tokens, "speech.budget.tokens", path)
	take(c, &r.Budget.CostUSD, f.Budget.CostUSD, "speech.budget.cost_usd", path)
	take(c, &r.PerSecond, f.Rate.PerSecond, "speech.rate.per_second", path)
	take(c, &r.Burst, f.Rate.Burst, "speech.rate.burst", path)
	if days := talk.RetentionDays; days != nil {
		c.Speech.Retention = time.Duration(*days) * 24 * time.Hour
		c.Sources["conversations.retention_days"] = path
	}
}

func take[T any](c *Config, into, from *T, setting, path string) {
	if from != nil {
		*into = *from
		c.Sources[setting] = path
	}
}
