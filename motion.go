package conclave

import (
	"context"
	"encoding/json"
	"time"
)

// MotionKind is the form of a vote.
type MotionKind string

// Forms of vote.
const (
	MotionApprove MotionKind = "approve" // yes or no to one subject
	MotionRank    MotionKind = "rank"    // an order of options
)

// Subject is what a vote is about. A ballot binds to its hash.
type Subject struct {
	Kind string `json:"kind"` // "plan", "tree", "options"
	ID   string `json:"id"`
	Hash string `json:"hash"`
}

// Rule says how votes become an outcome.
type Rule struct {
	Name      string  `json:"name"`               // "threshold" (share of yes among yes and no) or "condorcet" (Schulze, 2011)
	Threshold float64 `json:"threshold"`          // for "threshold": the least share, above 0 and at most 1; a motion that is convened with 0 gets the installation's
	Quorum    int     `json:"quorum"`             // the least number of ballots that are not abstentions
	Weighted  bool    `json:"weighted,omitempty"` // ballots count by their voter's trust, as it was when the vote opened
}

// Motion is a question put to voters.
type Motion struct {
	ID           MotionID        `json:"id"`
	Run          RunID           `json:"run,omitempty"`
	Conversation ConversationID  `json:"conversation"`
	Kind         MotionKind      `json:"kind"`
	Title        string          `json:"title"`
	Subject      Subject         `json:"subject"`
	Options      []string        `json:"options,omitempty"` // keys, for rank; the first wins a tie that nothing else breaks
	Authors      []AgentName     `json:"authors"`           // they do not vote
	Voters       []string        `json:"voters"`            // "roles/ROLE" or "agents/NAME"
	Senior       string          `json:"senior,omitempty"`  // who is asked when rounds do not decide
	Rule         Rule            `json:"rule"`
	Rounds       int             `json:"rounds"`             // how many before it is escalated
	Settle       bool            `json:"settle,omitempty"`   // a refusal stands even when at least half were for it; else that is looked at again
	Deadline     time.Time       `json:"deadline"`           // convened without one, it gets that of the installation, and its time of escalation
	Escalate     time.Time       `json:"escalate,omitzero"`  // when it goes to a senior if no round has decided; the deadline when absent
	Material     json.RawMessage `json:"material,omitempty"` // an Assignment that voters read
	Brain        string          `json:"brain,omitempty"`    // what thinks in the voters, when the run fixed it; their trust is that with this brain
	Weights      []Weight        `json:"weights,omitempty"`  // of a weighted vote, as the council found them at its opening: who counts for less than 1
	Human        string          `json:"human"`              // on whose behalf
	Round        int             `json:"round"`
	Ladder       []string        `json:"ladder,omitempty"` // what each round came to, so far
	State        MotionState     `json:"state"`
	Created      time.Time       `json:"created"`
}

// Weight is what a voter's ballot counts: above 0, less than 1. Who has none counts 1.
type Weight struct {
	Agent  AgentName `json:"agent"`
	Weight float64   `json:"weight"`
}

// MotionState is where a vote stands.
type MotionState string

// States of a motion.
const (
	MotionOpen    MotionState = "open"
	MotionWaiting MotionState = "waiting" // for a human, at the end of the ladder
	MotionDecided MotionState = "decided"
)

// Verdict is what a ballot says of the subject.
type Verdict string

// Verdicts.
const (
	VerdictApprove Verdict = "approve"
	VerdictReject  Verdict = "reject"
	VerdictAbstain Verdict = "abstain"
)

// Ballot is one voter's signed judgement. Its signature covers every other field
// as canonical JSON (RFC 8785).
type Ballot struct {
	Motion    MotionID  `json:"motion"`
	Round     int       `json:"round"`
	Voter     AgentName `json:"voter"`
	Role      Role      `json:"role"`
	Subject   Subject   `json:"subject"`
	Verdict   Verdict   `json:"verdict,omitempty"`
	Ranking   []string  `json:"ranking,omitempty"` // best first
	Reasons   []string  `json:"reasons"`
	Evidence  []string  `json:"evidence,omitempty"` // hashes of what it rests on
	PublicKey string    `json:"public_key"`         // ed25519, base64
	Signature string    `json:"signature,omitempty"`
}

// Outcome is how a motion ended.
type Outcome string

// Outcomes.
const (
	OutcomeApproved  Outcome = "approved"
	OutcomeRejected  Outcome = "rejected"
	OutcomeChosen    Outcome = "chosen"    // rank: Option won
	OutcomeUndecided Outcome = "undecided" // of a round; never of a decision
)

// Decision is the outcome of a motion with all that is needed to check it
// without a server.
type Decision struct {
	Motion    Motion    `json:"motion"`
	Outcome   Outcome   `json:"outcome"`
	Option    string    `json:"option,omitempty"`
	Ranking   []string  `json:"ranking,omitempty"`
	Reason    string    `json:"reason"` // the rule's own words
	Ballots   []Ballot  `json:"ballots"`
	Absent    []string  `json:"absent"`     // voters that failed or stayed silent; never a yes
	Dissent   []string  `json:"dissent"`    // who judged otherwise, with their reasons
	Ladder    []string  `json:"ladder"`     // what each round and escalation came to
	DecidedBy string    `json:"decided_by"` // "vote", "senior NAME", "human NAME"
	Decided   time.Time `json:"decided"`
	PublicKey string    `json:"public_key"` // the council's
	Signature string    `json:"signature,omitempty"`
}

// ConveneMotion opens a vote. Key makes a second call return the same motion.
type ConveneMotion struct {
	Key    string `json:"idempotency_key,omitempty"`
	Motion Motion `json:"motion"`
}

// GetMotion names a motion, and how long to wait for its decision.
type GetMotion struct {
	ID   MotionID `json:"id"`
	Wait int      `json:"wait_ms,omitempty" doc:"How long to wait for the decision, in milliseconds, 0 to 60000"`
}

// MotionStatus is a motion with its ballots so far, and its decision once there is one.
type MotionStatus struct {
	Motion   Motion    `json:"motion"`
	Ballots  []Ballot  `json:"ballots"`
	Decision *Decision `json:"decision,omitempty"`
}

// CastBallot hands in a ballot.
type CastBallot struct {
	Key    string   `json:"idempotency_key,omitempty"`
	ID     MotionID `json:"id"`
	Ballot Ballot   `json:"ballot"`
}

// Receipt says that a ballot was counted, which only the council can say.
type Receipt struct {
	Motion  MotionID  `json:"motion"`
	Voter   AgentName `json:"voter"`
	Round   int       `json:"round"`
	Counted bool      `json:"counted"`
}

// ResolveMotion is a human's word on a motion that waits for one.
type ResolveMotion struct {
	Key     string   `json:"idempotency_key,omitempty"`
	ID      MotionID `json:"id"`
	Verdict Verdict  `json:"verdict,omitempty"`
	Option  string   `json:"option,omitempty"`
	Reason  string   `json:"reason,omitempty"`
}

// ListMotions chooses motions.
type ListMotions struct {
	Run RunID `json:"run,omitempty" doc:"Only the votes of this run"`
	Page
}

// Council convenes agents and counts their votes.
type Council interface {
	// Convene opens a motion and asks its voters. ErrInvalid for a rule or a voter
	// that can't be.
	Convene(ctx context.Context, in ConveneMotion) (Motion, error)
	// Get returns a motion, after waiting for its decision as long as asked. ErrNotFound.
	Get(ctx context.Context, in GetMotion) (MotionStatus, error)
	// Cast counts a ballot. ErrDenied when the signature, the voter or the key is
	// not right; ErrConflict when the subject or the round is not the motion's, or
	// the voter has voted, or the motion is decided.
	Cast(ctx context.Context, in CastBallot) (Receipt, error)
	// Resolve is the end of the ladder. ErrConflict when the motion does not wait.
	Resolve(ctx context.Context, in ResolveMotion) (Decision, error)
	// List returns motions, newest first.
	List(ctx context.Context, in ListMotions) ([]MotionStatus, error)
}

// CouncilOperations is the table of the collaboration-orchestrator service.
func CouncilOperations() []Operation {
	return []Operation{
		Op("decide", "POST /motions", PermitWork, Changes, Council.Convene, "Puts a question to agents and collects their signed votes.").AsTool(),
		Op("decision_get", "GET /motions/{id}", PermitRead, Reads, Council.Get, "Returns a motion with its ballots and its decision, waiting for it if asked.").AsTool(),
		Op("ballot_cast", "POST /motions/{id}/ballots", PermitSpeak, Changes, Council.Cast, "Hands in a signed ballot; says whether it was counted."),
		Op("decision_resolve", "POST /motions/{id}/resolve", PermitApprove, Changes, Council.Resolve, "Decides a motion that waits for a human."),
		Op("decision_list", "GET /motions", PermitRead, Reads, Council.List, "Lists motions, newest first."),
	}
}
