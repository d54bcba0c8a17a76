package conclave

import "context"

// GetInsights chooses the time that analytics look back on.
type GetInsights struct {
	Hours int `json:"hours,omitempty" doc:"How many hours to look back, 1 to 2160; 24 when absent"`
}

// KeyMetric is one of the six figures by which a team of agents is judged.
type KeyMetric struct {
	Name       string   `json:"name"` // as Prometheus has it, without the prefix conclave_
	Title      string   `json:"title"`
	Value      *float64 `json:"value"` // nil: nothing was measured in that time
	Unit       string   `json:"unit"`  // "ratio" and "score" are 0 to 1, the first is shown in percent; or "seconds"
	Target     float64  `json:"target"`
	Below      bool     `json:"below"` // the value should be below the target, rather than above
	Met        *bool    `json:"met"`
	Sample     int      `json:"sample"` // how many things it was measured on
	Definition string   `json:"definition"`
}

// CollaborationStats is how runs went that were started in that time.
type CollaborationStats struct {
	Hours         int            `json:"hours"`
	Runs          int            `json:"runs"`
	Statuses      []Count        `json:"statuses"`  // of those runs
	Workflows     []WorkflowStat `json:"workflows"` // by name
	Success       *float64       `json:"success"`   // done among those that ended by themselves
	Seconds       *float64       `json:"seconds"`   // mean time of those that are done
	Messages      int            `json:"messages"`
	Mended        int            `json:"mended"`        // steps that were built again
	Relations     []Relation     `json:"relations"`     // who asked whom, the most first
	Refused       int            `json:"calls_refused"` // by the hub
	Conversations int            `json:"conversations"`
}

// Count is how often something occurred.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// WorkflowStat is how the runs of one workflow went.
type WorkflowStat struct {
	Workflow string   `json:"workflow"`
	Runs     int      `json:"runs"`
	Success  *float64 `json:"success"`
	Seconds  *float64 `json:"seconds"`
}

// Relation is what one party asked of an agent.
type Relation struct {
	From      string    `json:"from"`
	Agent     AgentName `json:"agent"`
	Tasks     int       `json:"tasks"`
	Completed int       `json:"completed"`
	Seconds   *float64  `json:"seconds"` // mean time to the answer
}

// ConsensusStats is how votes went that were opened in that time.
type ConsensusStats struct {
	Hours     int             `json:"hours"`
	Motions   int             `json:"motions"`
	Open      int             `json:"open"`
	Waiting   int             `json:"waiting"` // for a human
	ByVote    int             `json:"by_vote"`
	BySenior  int             `json:"by_senior"`
	ByHuman   int             `json:"by_human"`
	Achieved  *float64        `json:"achieved"`  // decided by vote before the deadline, among those decided or waiting
	Escalated *float64        `json:"escalated"` // went to a senior or a human, among those
	Unanimous *float64        `json:"unanimous"` // among those decided by vote
	Rounds    *float64        `json:"rounds"`    // mean, of those decided by vote
	Seconds   *float64        `json:"seconds"`   // mean time from opening to decision, of those decided by vote
	Subjects  []SubjectStat   `json:"subjects"`
	ShownGood int             `json:"shown_good"` // approval votes whose subject has since been shown to be good
	ShownBad  int             `json:"shown_bad"`
	Tried     []ThresholdStat `json:"tried"` // what other thresholds would have come to, where it is known what was right
}

// SubjectStat is how the votes on one kind of subject went.
type SubjectStat struct {
	Subject  string   `json:"subject"`
	Decided  int      `json:"decided"`
	Approved int      `json:"approved"`
	Rejected int      `json:"rejected"`
	Chosen   int      `json:"chosen"`
	Achieved *float64 `json:"achieved"`
}

// ThresholdStat is what a threshold would have come to in approval votes whose
// subject has since been shown to be good or bad.
type ThresholdStat struct {
	Threshold float64 `json:"threshold"`
	Good      int     `json:"good"`  // good subjects that it lets pass
	Bad       int     `json:"bad"`   // bad ones that it stops
	Wrong     int     `json:"wrong"` // good ones that it stops and bad ones that it lets pass
}

// AgentStats is how an agent did.
type AgentStats struct {
	Agent      AgentName  `json:"agent"`
	Role       Role       `json:"role"`
	Brain      string     `json:"brain"`
	State      AgentState `json:"state"`
	Completed  int        `json:"completed"`
	Failed     int        `json:"failed"`
	Success    *float64   `json:"success"`
	Seconds    *float64   `json:"seconds"`     // mean time to an answer
	Seconds95  *float64   `json:"seconds_p95"` // 95 in 100 answers took at most this
	Trust      *float64   `json:"trust"`
	Confirmed  int        `json:"confirmed"` // outcomes
	Refuted    int        `json:"refuted"`
	ModelCalls int        `json:"model_calls"`
	CostUSD    *float64   `json:"cost_usd"`
}

// LoadStats is what agents and queues have in hand now, and have had.
type LoadStats struct {
	Hours       int         `json:"hours"`
	Active      int         `json:"active"`
	Capacity    int         `json:"capacity"` // of live agents
	Utilization *float64    `json:"utilization"`
	Agents      []AgentLoad `json:"agents"`
	Roles       []RoleLoad  `json:"roles"`
	Queues      []QueueLoad `json:"queues"`
}

// AgentLoad is what an agent has in hand.
type AgentLoad struct {
	Agent       AgentName  `json:"agent"`
	Role        Role       `json:"role"`
	State       AgentState `json:"state"`
	Active      int        `json:"active"`
	Capacity    int        `json:"capacity"`
	Utilization *float64   `json:"utilization"` // nil for one that is lost
	BusySeconds float64    `json:"busy_seconds"`
	Tasks       int        `json:"tasks"` // ended, in that time
}

// RoleLoad is the load of the live agents of a role.
type RoleLoad struct {
	Role        Role     `json:"role"`
	Agents      int      `json:"agents"`
	Active      int      `json:"active"`
	Capacity    int      `json:"capacity"`
	Utilization *float64 `json:"utilization"`
	BusySeconds float64  `json:"busy_seconds"` // of tasks that ended in that time, from their acceptance on
	Tasks       int      `json:"tasks"`
}

// QueueLoad is what waits in a queue.
type QueueLoad struct {
	Queue  string   `json:"queue"` // "step", "motion", "delivery"
	Depth  int      `json:"depth"`
	Oldest *float64 `json:"oldest_seconds"` // nil when nothing waits
}

// Insights measures agents, votes and collaborations from the record. A figure
// that nothing was measured for is nil.
type Insights interface {
	// Metrics returns the six key metrics. ErrInvalid for a time that can't be, as all of these.
	Metrics(ctx context.Context, in GetInsights) ([]KeyMetric, error)
	Collaboration(ctx context.Context, in GetInsights) (CollaborationStats, error)
	Consensus(ctx context.Context, in GetInsights) (ConsensusStats, error)
	Performance(ctx context.Context, in GetInsights) ([]AgentStats, error)
	Load(ctx context.Context, in GetInsights) (LoadStats, error)
}

// InsightOperations are those of the agent-monitor service that belong to Insights.
func InsightOperations() []Operation {
	return []Operation{
		Op("insight_metrics", "GET /insights/metrics", PermitRead, Reads, Insights.Metrics, "Returns the six key metrics with their targets; null where nothing was measured."),
		Op("insight_collaboration", "GET /insights/collaboration", PermitRead, Reads, Insights.Collaboration, "Tells how runs went, and who asked whom."),
		Op("insight_consensus", "GET /insights/consensus", PermitRead, Reads, Insights.Consensus, "Tells how votes went: by whom decided, how soon, how often escalated."),
		Op("insight_performance", "GET /insights/performance", PermitRead, Reads, Insights.Performance, "Tells how each agent did: answers, time, trust, cost."),
		Op("insight_load", "GET /insights/load", PermitRead, Reads, Insights.Load, "Tells what agents and queues have in hand."),
	}
}
