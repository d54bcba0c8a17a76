package conclave

import (
	"context"
	"time"
)

// Plan is one immutable version of a plan: a DAG of steps.
type Plan struct {
	ID      PlanID    `json:"id"`
	Run     RunID     `json:"run"`
	Version int       `json:"version"` // 1 is the first
	Hash    string    `json:"hash"`    // sha256 of the canonical JSON of Content; what votes bind to
	Author  AgentName `json:"author"`
	Created time.Time `json:"created"`
	PlanContent
	Comments []Comment `json:"comments"` // on this version
}

// PlanContent is what is voted on.
type PlanContent struct {
	Task      string     `json:"task"`
	Summary   string     `json:"summary"`
	Archetype string     `json:"archetype,omitempty"` // which playbook knows how to build it, when one does
	Steps     []PlanStep `json:"steps"`
	Questions []Question `json:"questions,omitempty"`
	Uncovered []string   `json:"uncovered,omitempty"` // parts of the task that no step can do without a model, quoted
}

// PlanStep is one piece of work, built in a worktree of its own.
type PlanStep struct {
	Key         string   `json:"key"` // unique in the plan, [a-z0-9-]
	Title       string   `json:"title"`
	Description string   `json:"description"`
	DependsOn   []string `json:"depends_on,omitempty"` // keys
	Acceptance  []string `json:"acceptance"`           // each can be checked
	Writes      []string `json:"writes"`               // path globs; disjoint between steps that may run at once
	Role        Role     `json:"role,omitempty"`       // who builds it; developer when empty
}

// Question is a design question with several honest answers.
type Question struct {
	Key     string   `json:"key"`
	Text    string   `json:"text"`
	Options []Option `json:"options"`
}

// Option is one answer to a question.
type Option struct {
	Key         string   `json:"key"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Pros        []string `json:"pros,omitempty"`
	Cons        []string `json:"cons,omitempty"`
	Facts       []string `json:"facts,omitempty"`  // measured in a repository, each with its place
	InUse       int      `json:"in_use,omitempty"` // manifests and files that name it already
}

// Comment is what a reviewer says of a plan. It cites a fact of the repository
// or a rule; without either it is not kept.
type Comment struct {
	Author  AgentName `json:"author"`
	Role    Role      `json:"role"`
	Step    string    `json:"step,omitempty"` // plan step key; empty for the whole plan
	Text    string    `json:"text"`
	Cites   string    `json:"cites"`
	Change  *Change   `json:"change,omitempty"` // what the author of the plan is asked to alter
	Created time.Time `json:"created"`
}

// Change is an alteration that a comment asks for.
type Change struct {
	AddAcceptance []string  `json:"add_acceptance,omitempty"` // to the comment's step
	AddStep       *PlanStep `json:"add_step,omitempty"`
}

// ProposePlan makes the first version of a run's plan, or the next one when
// Base names the version that it replaces.
type ProposePlan struct {
	Key     string      `json:"idempotency_key,omitempty"`
	Run     RunID       `json:"run"`
	Base    int         `json:"base,omitempty" doc:"The version that this one replaces; 0 for the first"`
	Author  AgentName   `json:"author"`
	Content PlanContent `json:"content"`
}

// CommentPlan adds comments to a version.
type CommentPlan struct {
	Key      string    `json:"idempotency_key,omitempty"`
	ID       PlanID    `json:"id"`
	Version  int       `json:"version"`
	Comments []Comment `json:"comments"`
}

// GetPlan names a version of a plan; 0 is the newest.
type GetPlan struct {
	ID      PlanID `json:"id" doc:"The plan's id"`
	Version int    `json:"version,omitempty" doc:"Which version; the newest when absent"`
}

// ListPlans chooses plans.
type ListPlans struct {
	Run RunID `json:"run,omitempty" doc:"Only the plan of this run"`
	Page
}

// DiffPlan compares two versions of a plan.
type DiffPlan struct {
	ID   PlanID `json:"id"`
	From int    `json:"from"`
	To   int    `json:"to"`
}

// PlanDiff tells how two versions differ. A step that changed, and what depends
// on it, is what a new vote re-opens.
type PlanDiff struct {
	Added    []string `json:"added"`
	Removed  []string `json:"removed"`
	Changed  []string `json:"changed"`
	Reopened []string `json:"reopened"` // added, changed, and everything that depends on them
}

// Plans keeps plans.
type Plans interface {
	// Propose stores a new version. ErrInvalid when its steps have a cycle, an
	// unknown dependency, or overlapping write sets between steps that may run
	// at once; ErrConflict when Base is not the newest version.
	Propose(ctx context.Context, in ProposePlan) (Plan, error)
	// Comment adds comments. ErrNotFound, or ErrInvalid for a comment that cites nothing.
	Comment(ctx context.Context, in CommentPlan) (Plan, error)
	// Get returns a version. ErrNotFound.
	Get(ctx context.Context, in GetPlan) (Plan, error)
	// List returns the newest versions, newest first.
	List(ctx context.Context, in ListPlans) ([]Plan, error)
	// Diff compares two versions. ErrNotFound.
	Diff(ctx context.Context, in DiffPlan) (PlanDiff, error)
}

// PlanOperations is the table of the plan-management service.
func PlanOperations() []Operation {
	return []Operation{
		Op("plan_propose", "POST /plans", PermitSpeak, Changes, Plans.Propose, "Stores the first version of a run's plan, or the version that replaces the newest."),
		Op("plan_comment", "POST /plans/{id}/comments", PermitSpeak, Changes, Plans.Comment, "Adds comments to a version of a plan; each cites a fact or a rule."),
		Op("plan_get", "GET /plans/{id}", PermitRead, Reads, Plans.Get, "Returns a version of a plan with its comments.").AsTool(),
		Op("plan_list", "GET /plans", PermitRead, Reads, Plans.List, "Lists plans, newest first."),
		Op("plan_diff", "GET /plans/{id}/diff", PermitRead, Reads, Plans.Diff, "Tells which steps differ between two versions, and which are re-opened."),
	}
}
