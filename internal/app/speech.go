package app

import (
	"context"
	"time"

	"conclave"
	"conclave/internal/council"
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

// trustOf is what an agent's outcomes come to, read from the record: it is there
// while the council is not.
func (a *App) trustOf(ctx context.Context, tenant conclave.TenantID, name conclave.AgentName) (conclave.TrustScore, error) {
	record := council.New(council.Options{Outcomes: a.db.Outcomes()})
	ctx = conclave.WithCaller(ctx, conclave.ServiceCaller(conclave.ServiceHub, tenant, ""))
	scores, err := record.Scores(ctx, conclave.ListTrust{Agent: name, Total: true})
	if err != nil || len(scores) == 0 {
		return conclave.TrustScore{Agent: name}, err
	}
	return scores[0], nil
}

// A name that two of them have would be nobody's.
var _ interface {
	conclave.Hub
	conclave.Directory
	conclave.Work
	conclave.Topics
	conclave.Broadcasts
	conclave.Conversations
	conclave.DeadLetters
} = talk{}

// talk answers the whole table of the hub.
type talk struct {
	conclave.Hub
	conclave.Directory
	conclave.Work
	conclave.Topics
	conclave.Broadcasts
	conclave.Conversations
	conclave.DeadLetters
}
