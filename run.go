package conclave

import (
	"context"
	"encoding/json"
	"time"
)

// RunStatus is where a run stands.
type RunStatus string

// Statuses of a run.
const (
	RunRunning    RunStatus = "running"
	RunWaiting    RunStatus = "waiting" // for a human
	RunDone       RunStatus = "done"
	RunFailed     RunStatus = "failed"
	RunNeedsModel RunStatus = "needs_model"
	RunRejected   RunStatus = "rejected" // by consensus
	RunCancelled  RunStatus = "cancelled"
)

// Ended reports whether nothing more will happen in the run.
func (s RunStatus) Ended() bool { return s != RunRunning && s != RunWaiting }

// Run is one request and what became of it.
type Run struct {
	ID           RunID          `json:"id"`
	Status       RunStatus      `json:"status"`
	Workflow     string         `json:"workflow"`
	Task         string         `json:"task"`
	Repo         string         `json:"repo"`
	Base         string         `json:"base"`   // commit it started from
	Branch       string         `json:"branch"` // conclave/RUN; empty until it has a commit
	Head         string         `json:"head"`   // newest commit of Branch
	Conversation ConversationID `json:"conversation"`
	Human        string         `json:"human"`
	Brain        string         `json:"brain"`   // what thinks in it: "offline", or a model's name
	Offline      bool           `json:"offline"` // no model was used
	Reason       string         `json:"reason"`  // why it ended as it did
	Warnings     []string       `json:"warnings,omitempty"`
	Report       Report         `json:"report"`
	Usage        Usage          `json:"usage"`
	Created      time.Time      `json:"created"`
	Ended        *time.Time     `json:"ended"`
}

// Report holds the paths of a run's reports; empty until they are written.
type Report struct {
	Markdown string `json:"markdown"`
	JSON     string `json:"json"`
	SARIF    string `json:"sarif"`
}

// StepState is where a step stands.
type StepState string

// States of a step. A step is blocked until all that it depends on is done.
const (
	StepBlocked   StepState = "blocked"
	StepReady     StepState = "ready"
	StepRunning   StepState = "running"
	StepWaiting   StepState = "waiting" // for a human
	StepDone      StepState = "done"
	StepFailed    StepState = "failed"
	StepCancelled StepState = "cancelled"
)

// Ended reports whether the step will not run again.
func (s StepState) Ended() bool { return s == StepDone || s == StepFailed || s == StepCancelled }

// Step is one durable piece of a run.
type Step struct {
	ID        StepID          `json:"id"`
	Run       RunID           `json:"run"`
	Kind      string          `json:"kind"` // "intake", "draft", "comment", "revise", "vote", "design", "build", "verify", "merge", "deliver"
	Key       string          `json:"key"`  // unique in the run: "build:api", "verify:api.2"
	Title     string          `json:"title"`
	State     StepState       `json:"state"`
	DependsOn []string        `json:"depends_on"` // keys
	Epoch     int64           `json:"epoch"`      // raised by each claim; a write with an older one is refused
	Attempt   int             `json:"attempt"`    // how often it was tried before and is tried again, for a stated reason
	Input     json.RawMessage `json:"input,omitempty"`
	Output    json.RawMessage `json:"output,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Started   *time.Time      `json:"started"`
	Ended     *time.Time      `json:"ended"`
}

// Approval is something that waits for a human, and what they said.
type Approval struct {
	ID       ApprovalID `json:"id"`
	Run      RunID      `json:"run"`
	Kind     string     `json:"kind"` // "deliver", "motion"
	Title    string     `json:"title"`
	Detail   string     `json:"detail"` // both sides' best case, or what will be done
	Subject  string     `json:"subject"`
	Options  []string   `json:"options,omitempty"` // to choose one from; without any it is yes or no
	Asked    time.Time  `json:"asked"`
	Decision Verdict    `json:"decision,omitempty"`
	Option   string     `json:"option,omitempty"` // that was chosen
	By       string     `json:"by,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Decided  *time.Time `json:"decided"`
}

// RunDetail is a run with everything that belongs to it.
type RunDetail struct {
	Run       Run        `json:"run"`
	Steps     []Step     `json:"steps"`
	Plan      *Plan      `json:"plan"`
	Decisions []Decision `json:"decisions"`
	Approvals []Approval `json:"approvals"`
}

// StartRun asks for a run.
type StartRun struct {
	Key      string `json:"idempotency_key,omitempty"`
	Task     string `json:"task" doc:"What to do, in plain words; 1 to 65536 bytes"`
	Repo     string `json:"repo" doc:"Path of a git repository on this machine"`
	Workflow string `json:"workflow,omitempty" doc:"collaborative (the default), multi-review, consensus-planning"`
	Brain    string `json:"brain,omitempty" doc:"auto (the default), offline, model, claude"`
	Head     string `json:"head,omitempty" doc:"For multi-review: the branch or commit of a contribution to review instead of the repository's HEAD"`
	Into     string `json:"into,omitempty" doc:"For multi-review with head: where the contribution goes; HEAD when absent"`
}

// NameRun names a run.
type NameRun struct {
	Key string `json:"idempotency_key,omitempty"`
	ID  RunID  `json:"id"`
}

// GetRun names a run, and how long to wait for its end.
type GetRun struct {
	ID   RunID `json:"id"`
	Wait int   `json:"wait_ms,omitempty" doc:"How long to wait for its end, in milliseconds, 0 to 60000"`
}

// ListRuns chooses runs.
type ListRuns struct {
	Status RunStatus `json:"status,omitempty" doc:"Only runs with this status"`
	Page
}

// ApprovalState is whether an approval has been decided.
type ApprovalState string

// States of an approval, and all of them.
const (
	ApprovalOpen    ApprovalState = "open"
	ApprovalDecided ApprovalState = "decided"
	ApprovalAll     ApprovalState = "all"
)

// ListApprovals chooses approvals, those that are open first, then the newest.
type ListApprovals struct {
	State ApprovalState `json:"state,omitempty" doc:"open (the default), decided or all"`
	Run   RunID         `json:"run,omitempty" doc:"Only those of this run"`
	Limit int           `json:"limit,omitempty" doc:"How many at the most, 1 to 500; 50 when absent"`
}

// Approve is a human's word on an approval.
type Approve struct {
	Key      string     `json:"idempotency_key,omitempty"`
	ID       ApprovalID `json:"id" doc:"The approval's id, or a run's id for its delivery"`
	Decision Verdict    `json:"decision" doc:"approve or reject"`
	Option   string     `json:"option,omitempty" doc:"Which of its options to take, when it has some"`
	Reason   string     `json:"reason,omitempty"`
}

// Workflows drives runs.
type Workflows interface {
	// Start accepts a run: when it returns, the run is kept and will go on.
	// ErrInvalid for an empty or oversized task, an unknown workflow or a
	// directory that is no usable git repository.
	Start(ctx context.Context, in StartRun) (Run, error)
	// Get returns a run with its steps, after waiting for its end as long as asked. ErrNotFound.
	Get(ctx context.Context, in GetRun) (RunDetail, error)
	// List returns runs, newest first.
	List(ctx context.Context, in ListRuns) ([]Run, error)
	// Cancel ends a run; what runs is stopped, worktrees are salvaged. ErrConflict when it has ended.
	Cancel(ctx context.Context, in NameRun) (Run, error)
	// Approvals lists what waits for a human, or was decided by one.
	Approvals(ctx context.Context, in ListApprovals) ([]Approval, error)
	// Approve decides an approval. ErrInvalid when it has options and none of them
	// is taken, ErrConflict when it is decided already.
	Approve(ctx context.Context, in Approve) (Approval, error)
}

// WorkflowOperations is the table of the workflow-orchestrator service.
func WorkflowOperations() []Operation {
	return []Operation{
		Op("workflow_start", "POST /runs", PermitWork, Changes, Workflows.Start, "Starts a run: plan, vote, build, review, merge onto a branch.").AsTool(),
		Op("workflow_status", "GET /runs/{id}", PermitRead, Reads, Workflows.Get, "Returns a run with its steps, plan and decisions, waiting for its end if asked.").AsTool(),
		Op("workflow_list", "GET /runs", PermitRead, Reads, Workflows.List, "Lists runs, newest first.").AsTool(),
		Op("workflow_cancel", "POST /runs/{id}/cancel", PermitWork, Changes, Workflows.Cancel, "Ends a run and saves what was not merged.").AsTool(),
		Op("approval_list", "GET /approvals", PermitRead, Reads, Workflows.Approvals, "Lists what waits for a human; also what was decided, if asked.").AsTool(),
		Op("approval_decide", "POST /approvals/{id}", PermitApprove, Changes, Workflows.Approve, "Approves or rejects what waits for a human, or takes one of its options.").AsTool(),
	}
}
