package conclave

import "context"

// Category is what an agent did that turned out right or wrong. Trust is kept
// for each, because who reviews well need not build well.
type Category string

// Categories of outcome. That of a finding goes on with the finding's own
// category: "finding.security".
const (
	CategoryBuild   = "build"   // the work passed its gates and review, or did not
	CategoryFinding = "finding" // the finding was backed by evidence or agreed to, or was refuted
	CategoryVote    = "vote"    // goes on with the kind of subject: "vote.tree", "vote.plan"
)

// AgentOutcome is one act of an agent that was later confirmed or refuted by
// something else than an opinion.
type AgentOutcome struct {
	Agent     AgentName `json:"agent"`
	Category  Category  `json:"category"`
	Brain     string    `json:"brain"`   // what thought: "playbook", "claude", "model:NAME"
	Subject   string    `json:"subject"` // id of the motion, the commit, or the finding's key
	Confirmed bool      `json:"confirmed"`
	Why       string    `json:"why"` // what showed it, for a person
}

// ReportOutcomes tells what was shown. The same key has one effect.
type ReportOutcomes struct {
	Key      string         `json:"idempotency_key,omitempty"`
	Run      RunID          `json:"run,omitempty"`
	Outcomes []AgentOutcome `json:"outcomes" doc:"1 to 256 of them"`
}

// OutcomesReported says how many outcomes were new.
type OutcomesReported struct {
	Kept int `json:"kept"`
}

// TrustScore is what an agent's outcomes come to. Trust is nil where nothing
// was confirmed or refuted yet.
type TrustScore struct {
	Agent     AgentName `json:"agent"`
	Category  Category  `json:"category,omitempty"` // empty: of everything that the agent did
	Brain     string    `json:"brain,omitempty"`    // empty: with whatever thought in it
	Confirmed int       `json:"confirmed"`
	Refuted   int       `json:"refuted"`
	Trust     *float64  `json:"trust"`
	Weight    float64   `json:"weight"` // of its ballot in a weighted vote: 0.1 to 1
}

// ListTrust chooses scores.
type ListTrust struct {
	Agent AgentName `json:"agent,omitempty" doc:"Only those of this agent"`
	Total bool      `json:"total,omitempty" doc:"One score for each agent rather than one for each category and brain"`
}

// Trust is what agents have earned by outcomes. The council keeps it.
type Trust interface {
	// Report keeps outcomes, each (agent, category, subject) once. ErrInvalid for
	// one that names no agent, category or subject.
	Report(ctx context.Context, in ReportOutcomes) (OutcomesReported, error)
	// Scores lists the scores of agents with outcomes, by agent.
	Scores(ctx context.Context, in ListTrust) ([]TrustScore, error)
}

// TrustOperations are those of the collaboration-orchestrator service that
// belong to Trust.
func TrustOperations() []Operation {
	return []Operation{
		Op("outcome_report", "POST /outcomes", PermitService, Changes, Trust.Report, "Tells which judgements and works were confirmed or refuted; trust follows."),
		Op("trust_list", "GET /trust", PermitRead, Reads, Trust.Scores, "Lists the trust that agents have earned, by what they do and what thinks in them."),
	}
}
