package conclave

// AssignmentKind is what an agent is asked to do. It is the id of the A2A skill
// that the agent's card shows.
type AssignmentKind string

// Kinds of assignment. An agent that gets another kind answers in prose.
const (
	AssignDraft   AssignmentKind = "plan.draft"     // → DraftReply
	AssignComment AssignmentKind = "plan.comment"   // → CommentReply
	AssignRevise  AssignmentKind = "plan.revise"    // → DraftReply
	AssignOptions AssignmentKind = "design.options" // → OptionsReply
	AssignVote    AssignmentKind = "vote"           // → VoteReply, which the agent signs as a Ballot
	AssignBuild   AssignmentKind = "build"          // → BuildReply, after changing files in the worktree
	AssignReview  AssignmentKind = "review"         // → ReviewReply
	AssignRefute  AssignmentKind = "refute"         // → RefuteReply
	AssignAsk     AssignmentKind = "ask"            // → prose
	AssignHandoff AssignmentKind = "handoff"        // → prose: what the one who takes over understood
)

// AssignmentKinds lists every kind.
func AssignmentKinds() []AssignmentKind {
	return []AssignmentKind{AssignDraft, AssignComment, AssignRevise, AssignOptions, AssignVote, AssignBuild, AssignReview, AssignRefute, AssignAsk, AssignHandoff}
}

// Assignment is the data part of a message to an agent.
type Assignment struct {
	Kind     AssignmentKind    `json:"kind"`
	Run      RunID             `json:"run"`
	Task     string            `json:"task"` // the user's own words
	Facts    *Facts            `json:"facts,omitempty"`
	Plan     *Plan             `json:"plan,omitempty"`
	Step     *PlanStep         `json:"step,omitempty"`
	Question *Question         `json:"question,omitempty"`
	Choices  map[string]string `json:"choices,omitempty"` // question key → option key, as decided
	Motion   *Motion           `json:"motion,omitempty"`
	Ballots  []Ballot          `json:"ballots,omitempty"`  // of the round before, once a vote is in its second; the first is blind
	Worktree string            `json:"worktree,omitempty"` // path, for build, review and refute
	Diff     string            `json:"diff,omitempty"`     // what is under review
	Evidence *Evidence         `json:"evidence,omitempty"`
	Findings []ReviewFinding   `json:"findings,omitempty"` // to mend, to refute, or what others found
	Handoff  *Handoff          `json:"handoff,omitempty"`  // the conversation to take over
	Brain    string            `json:"brain,omitempty"`    // which brain the run fixed, when it did
	Tokens   int64             `json:"tokens,omitempty"`   // model tokens that may be spent
}

// Handoff gives a conversation to somebody else to go on with: what was said in it,
// who had it, and what nobody has answered yet.
type Handoff struct {
	Conversation ConversationID `json:"conversation"`
	Had          []string       `json:"had"`            // who answered in it, the last one first
	Note         string         `json:"note,omitempty"` // what the next is to know or to do
	Messages     []Message      `json:"messages"`       // the last of them, without their data
	Count        int            `json:"count"`          // of all messages
	Open         []Task         `json:"open,omitempty"` // tasks that have not ended
}

// DraftReply is a planner's answer.
type DraftReply struct {
	Content PlanContent `json:"content"`
	Notes   []string    `json:"notes,omitempty"` // what became of each comment
	Usage   Usage       `json:"usage"`
}

// CommentReply is what a role says of a plan; no comments means no objection.
type CommentReply struct {
	Comments []Comment `json:"comments"`
	Usage    Usage     `json:"usage"`
}

// BuildReply tells what a developer did in the worktree.
type BuildReply struct {
	Summary    string        `json:"summary"`
	Files      []string      `json:"files"`                 // written or removed
	NeedsModel string        `json:"needs_model,omitempty"` // what this brain can't do
	Nothing    string        `json:"nothing,omitempty"`     // why there was nothing to change
	Left       []LeftFinding `json:"left,omitempty"`        // what a repair leaves to somebody's judgement
	ToolCalls  int           `json:"tool_calls"`
	Usage      Usage         `json:"usage"`
}

// ReviewFinding is a finding with the reviewer who made it.
type ReviewFinding struct {
	Finding
	Reviewer AgentName `json:"reviewer"`
	Evidence string    `json:"evidence,omitempty"` // analyser's rule, failing test, or reproduced trace; advice without it
	Agreed   []string  `json:"agreed,omitempty"`   // refuters who failed to refute it
	Refuted  string    `json:"refuted,omitempty"`  // why it was dropped
}

// Blocks reports whether the finding stands in the way: grave, with evidence or
// a refuter's agreement, and not refuted.
func (f ReviewFinding) Blocks() bool {
	return f.Refuted == "" && f.Level == LevelError && (f.Evidence != "" || len(f.Agreed) > 0)
}

// ReviewReply is a reviewer's judgement.
type ReviewReply struct {
	Approve  bool            `json:"approve"`
	Summary  string          `json:"summary"`
	Findings []ReviewFinding `json:"findings"`
	Usage    Usage           `json:"usage"`
}

// RefuteReply says of each finding, by key, why it does not hold; a finding that
// is not in it was agreed to.
type RefuteReply struct {
	Refuted map[string]string `json:"refuted"`
	Usage   Usage             `json:"usage"`
}

// VoteReply is a voter's judgement before it is signed.
type VoteReply struct {
	Verdict  Verdict  `json:"verdict,omitempty"`
	Ranking  []string `json:"ranking,omitempty"` // option keys, best first
	Reasons  []string `json:"reasons"`
	Evidence []string `json:"evidence,omitempty"` // hashes
	Usage    Usage    `json:"usage"`
}

// OptionsReply is an architect's answer to a design question.
type OptionsReply struct {
	Options []Option `json:"options"` // added to those that the plan names
	Usage   Usage    `json:"usage"`
}
