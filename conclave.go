// Package conclave holds the vocabulary of Conclave: the nouns, the contracts
// between its services, the table of operations that each contract offers, and
// the kinds of error. It imports only the standard library and does no I/O;
// reading it is the way to know the system.
//
// A request becomes a [Run]. Its planner drafts a [Plan]; agents comment on it
// and vote on its hash (a [Motion], decided as a [Decision] over signed
// [Ballot]s). The plan's steps are built in leased [Worktree]s, verified with
// evidence ([Finding]s), merged in order onto one branch, and reported. What
// agents say to each other are [Message]s that the hub keeps; everything that
// changes leaves an [Event].
//
// Services and their contracts: [Workflows] drives runs, [Plans] keeps plans,
// [Worktrees] owns git, [Council] counts votes, [Hub] carries messages,
// [Models] accounts for model calls, [Events] tells what happened.
package conclave

import "time"

// Identifiers are opaque strings. They are unique across tenants.
type (
	TenantID       string
	RunID          string
	StepID         string
	PlanID         string
	MotionID       string
	ConversationID string
	TaskID         string
	MessageID      string
	LeaseID        string
	ApprovalID     string
	AgentName      string
	Role           string
)

// DefaultTenant owns everything on a machine with a single user.
const DefaultTenant TenantID = "default"

// The roles that Conclave ships. A role is a Markdown file; users add more.
const (
	RolePlanner             Role = "planner"
	RoleArchitect           Role = "architect"
	RoleDeveloper           Role = "developer"
	RoleSecurity            Role = "security"
	RoleQA                  Role = "qa"
	RoleCodeReviewer        Role = "code-reviewer"
	RolePerformanceReviewer Role = "performance-reviewer"
	RoleDomainExpert        Role = "domain-expert"
)

// Service names a part of Conclave that can run as a process of its own.
type Service string

// The services, as they are named on the command line and in the registry.
const (
	ServiceGateway  Service = "gateway"
	ServiceModels   Service = "model-router"
	ServicePlans    Service = "plan-management"
	ServiceWorktree Service = "git-worktree"
	ServiceWorkflow Service = "workflow-orchestrator"
	ServiceHub      Service = "a2a-hub"
	ServicePool     Service = "agent-pool"
	ServiceCouncil  Service = "collaboration-orchestrator"
	ServiceExperts  Service = "domain-experts"
	ServiceReview   Service = "code-reviewers"
	ServiceQA       Service = "qa-agents"
	ServiceMonitor  Service = "agent-monitor"
	ServiceSecurity Service = "security-analysts"
)

// Port returns the documented port of a service, or 0 if there is no such service.
func (s Service) Port() int {
	for _, e := range servicePorts() {
		if e.name == s {
			return e.port
		}
	}
	return 0
}

// AllServices lists every service in the order in which they start: each after
// those that it calls.
func AllServices() []Service {
	var names []Service
	for _, e := range servicePorts() {
		names = append(names, e.name)
	}
	return names
}

type servicePort struct {
	name Service
	port int
}

func servicePorts() []servicePort {
	return []servicePort{
		{ServiceModels, 8001},
		{ServiceHub, 8010},
		{ServicePool, 8011},
		{ServiceExperts, 8013},
		{ServiceReview, 8014},
		{ServiceQA, 8015},
		{ServiceSecurity, 8017},
		{ServiceCouncil, 8012},
		{ServicePlans, 8002},
		{ServiceWorktree, 8003},
		{ServiceWorkflow, 8004},
		{ServiceMonitor, 8016},
		{ServiceGateway, 8080},
	}
}

// None is the input or output of an operation that needs none.
type None struct{}

// Usage is what a run, an agent or a call cost. A figure that was not measured
// is nil, never zero.
type Usage struct {
	ModelCalls   *int64   `json:"model_calls"`
	InputTokens  *int64   `json:"input_tokens"`
	OutputTokens *int64   `json:"output_tokens"`
	CostUSD      *float64 `json:"cost_usd"`
	Pending      int64    `json:"pending,omitempty"` // of the calls, those that have not ended
}

// Clock tells the time; a nil Clock in Options means time.Now.
type Clock func() time.Time
