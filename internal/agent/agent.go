// Package agent is one agent: it takes an assignment, lets a brain think, and
// answers. Its role is a Markdown file; its brain is a model, the claude binary
// or a playbook. What only the agent itself may do is here: it signs its
// ballots, votes on nothing of its own, and does the same work only once.
package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"conclave"
	"conclave/internal/identity"
	"conclave/internal/killpoint"
)

// Receipts remembers what an agent has answered, so that a message that is
// delivered again gets the same answer and its effect happens once.
type Receipts interface {
	// Get returns the reply to a message, and whether there is one.
	Get(ctx context.Context, agent conclave.AgentName, message conclave.MessageID) (reply []byte, ok bool, err error)
	// Put keeps the reply. A reply that is kept already stays.
	Put(ctx context.Context, agent conclave.AgentName, message conclave.MessageID, reply []byte) error
}

// Options says who an agent is and what thinks for it.
type Options struct {
	Spec   conclave.AgentSpec
	Name   conclave.AgentName // the instance: developer-2
	Key    *identity.Key      // signs its ballots
	Brains func(ctx context.Context, a conclave.Assignment) (Brain, error)
	// Clean takes out of a build's worktree what was not committed: the work of a
	// delivery that was cut off. Nil: a build begins in whatever is there.
	Clean    func(ctx context.Context, a conclave.Assignment) error
	Receipts Receipts     // nil: remembered in memory, the newest 1024
	Logger   *slog.Logger // nil: slog.Default()
}

func (o Options) validate() error {
	switch {
	case o.Name == "":
		return conclave.Errorf(conclave.ErrInvalid, "an agent needs a name")
	case o.Spec.Name == "":
		return conclave.Errorf(conclave.ErrInvalid, "agent %s needs a role's specification", o.Name)
	case o.Key == nil:
		return conclave.Errorf(conclave.ErrInvalid, "agent %s needs a key to sign with", o.Name)
	case o.Brains == nil:
		return conclave.Errorf(conclave.ErrInvalid, "agent %s needs a brain", o.Name)
	}
	return nil
}

// Agent is one agent.
type Agent struct {
	opts Options
}

// New makes an agent. ErrInvalid when it has no name, role, key or brain.
func New(opts Options) (*Agent, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if opts.Spec.Role == "" {
		opts.Spec.Role = conclave.Role(opts.Spec.Name)
	}
	if opts.Receipts == nil {
		opts.Receipts = &memoryReceipts{replies: map[receiptKey][]byte{}}
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Agent{opts: opts}, nil
}

// Name returns the agent's name.
func (a *Agent) Name() conclave.AgentName { return a.opts.Name }

// Spec returns the agent's role.
func (a *Agent) Spec() conclave.AgentSpec { return a.opts.Spec }

// PublicKey returns the key by which the agent's ballots can be checked.
func (a *Agent) PublicKey() string { return a.opts.Key.Public() }

// Message is what an agent is told. Data is an Assignment, or empty for a
// question in prose.
type Message struct {
	ID   conclave.MessageID
	Task conclave.TaskID // of the hub: what is spent counts for it
	Text string
	Data json.RawMessage
	// Ask asks another agent through the hub and returns its prose.
	Ask func(ctx context.Context, to, question string) (string, error)
}

// Answer is what the agent says: a text for a person, and the reply type that
// the assignment's kind names; a Ballot for a vote.
type Answer struct {
	Text string          `json:"text"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Handle answers a message. A message whose id was answered before gets the
// same answer without any work. ErrInvalid for an assignment that can't be read
// or a vote without sense, ErrDenied for a vote on the agent's own work,
// ErrConflict when the subject of a vote is not what was shown, and whatever
// the brain returns.
func (a *Agent) Handle(ctx context.Context, m Message) (Answer, error) {
	var answer Answer
	if m.ID != "" {
		reply, ok, err := a.opts.Receipts.Get(ctx, a.opts.Name, m.ID)
		if err != nil {
			return Answer{}, fmt.Errorf("looking for an earlier reply to %s: %w", m.ID, err)
		}
		if ok {
			if err := json.Unmarshal(reply, &answer); err != nil {
				return Answer{}, fmt.Errorf("reading the earlier reply to %s: %w", m.ID, err)
			}
			return answer, nil
		}
	}
	answer, err := a.answer(ctx, m)
	if err != nil {
		return Answer{}, err
	}
	if m.ID != "" {
		reply, err := json.Marshal(answer)
		if err != nil {
			return Answer{}, fmt.Errorf("encoding the reply to %s: %w", m.ID, err)
		}
		killpoint.At("receipt.before")
		if err := a.opts.Receipts.Put(ctx, a.opts.Name, m.ID, reply); err != nil {
			return Answer{}, fmt.Errorf("keeping the reply to %s: %w", m.ID, err)
		}
		killpoint.At("receipt.after")
	}
	return answer, nil
}

func (a *Agent) answer(ctx context.Context, m Message) (Answer, error) {
	assignment, err := decodeAssignment(m)
	if err != nil {
		return Answer{}, err
	}
	if assignment.Kind == conclave.AssignVote {
		if err := a.mayVote(assignment); err != nil {
			return Answer{}, err
		}
	}
	if assignment.Kind == conclave.AssignBuild && assignment.Worktree != "" && a.opts.Clean != nil {
		if err := a.opts.Clean(ctx, assignment); err != nil {
			return Answer{}, fmt.Errorf("cleaning the worktree: %w", err)
		}
	}
	brain, err := a.opts.Brains(ctx, assignment)
	if err != nil {
		return Answer{}, fmt.Errorf("choosing a brain for %s: %w", assignment.Kind, err)
	}
	if !slices.Contains(a.opts.Spec.Tools, toolAsk) {
		m.Ask = nil // a role's file says what its agents may do, whatever thinks for them
	}
	reply, err := brain.Think(ctx, Request{
		Task:  m.Task,
		Agent: a.opts.Spec, Name: a.opts.Name, Assignment: assignment, Text: m.Text, Ask: m.Ask,
	})
	if err != nil {
		return Answer{}, err
	}
	if assignment.Kind == conclave.AssignVote {
		vote, ok := reply.Data.(conclave.VoteReply)
		if !ok {
			return Answer{}, fmt.Errorf("brain %s answered a vote with a %T: %w", brain.Name(), reply.Data, conclave.ErrInternal)
		}
		ballot, err := a.ballot(assignment, vote)
		if err != nil {
			return Answer{}, err
		}
		reply.Data = ballot
	}
	answer := Answer{Text: reply.Text}
	if reply.Data != nil {
		if answer.Data, err = json.Marshal(reply.Data); err != nil {
			return Answer{}, fmt.Errorf("encoding a %T: %w", reply.Data, err)
		}
	}
	return answer, nil
}

// decodeAssignment reads the data part. A message without one is a question.
func decodeAssignment(m Message) (conclave.Assignment, error) {
	if len(m.Data) == 0 {
		return conclave.Assignment{Kind: conclave.AssignAsk, Task: m.Text}, nil
	}
	var a conclave.Assignment
	if err := decodeStrict(m.Data, &a); err != nil {
		return a, conclave.Errorf(conclave.ErrInvalid, "the data part is not an assignment: %v", err)
	}
	if a.Kind == "" {
		return a, conclave.Errorf(conclave.ErrInvalid, "the assignment has no kind; it is one of plan.draft, plan.comment, plan.revise, design.options, vote, build, review, refute, ask, handoff")
	}
	if a.Kind != conclave.AssignVote {
		return a, nil
	}
	if a.Motion == nil {
		return a, conclave.Errorf(conclave.ErrInvalid, "an assignment to vote needs the motion")
	}
	if len(a.Motion.Material) > 0 {
		var shown conclave.Assignment
		if err := decodeStrict(a.Motion.Material, &shown); err != nil {
			return a, conclave.Errorf(conclave.ErrInvalid, "the motion's material is not an assignment: %v", err)
		}
		a = withMaterial(a, shown)
	}
	return a, nil
}

// withMaterial fills what the assignment leaves open from the motion's material.
func withMaterial(a, shown conclave.Assignment) conclave.Assignment {
	if a.Run == "" {
		a.Run = shown.Run
	}
	if a.Task == "" {
		a.Task = shown.Task
	}
	if a.Facts == nil {
		a.Facts = shown.Facts
	}
	if a.Plan == nil {
		a.Plan = shown.Plan
	}
	if a.Step == nil {
		a.Step = shown.Step
	}
	if a.Question == nil {
		a.Question = shown.Question
	}
	if a.Choices == nil {
		a.Choices = shown.Choices
	}
	if a.Evidence == nil {
		a.Evidence = shown.Evidence
	}
	if a.Findings == nil {
		a.Findings = shown.Findings
	}
	if a.Diff == "" {
		a.Diff = shown.Diff
	}
	if a.Worktree == "" {
		a.Worktree = shown.Worktree
	}
	if a.Brain == "" {
		a.Brain = shown.Brain
	}
	return a
}

// mayVote refuses a vote on the agent's own work, and on a subject that is not
// what the agent was shown: a signature must mean that the voter saw it.
func (a *Agent) mayVote(in conclave.Assignment) error {
	m := in.Motion
	ownPlan := m.Subject.Kind == "plan" && in.Plan != nil && in.Plan.Author == a.opts.Name
	if ownPlan || slices.Contains(m.Authors, a.opts.Name) {
		return conclave.Errorf(conclave.ErrDenied, "%s does not vote on its own work (%s)", a.opts.Name, m.Title)
	}
	if m.Subject.Hash == "" {
		return conclave.Errorf(conclave.ErrInvalid, "motion %s has a subject without a hash; there is nothing to sign", m.ID)
	}
	switch m.Subject.Kind {
	case "plan":
		if in.Plan == nil {
			return conclave.Errorf(conclave.ErrInvalid, "motion %s is on a plan that is not in its material", m.ID)
		}
		hash, err := identity.Hash(in.Plan.PlanContent)
		if err != nil {
			return fmt.Errorf("hashing the plan: %w", err)
		}
		if hash != m.Subject.Hash {
			return conclave.Errorf(conclave.ErrConflict, "motion %s is on %s, but the plan in its material has the hash %s", m.ID, m.Subject.Hash, hash)
		}
	case "tree":
		if in.Evidence != nil && bareTree(in.Evidence.Tree) != bareTree(m.Subject.Hash) {
			return conclave.Errorf(conclave.ErrConflict, "motion %s is on the tree %s, but its evidence was measured on %s", m.ID, m.Subject.Hash, in.Evidence.Tree)
		}
	case "options":
		if in.Question == nil {
			return nil // the options are the motion's own, and nothing else was shown
		}
		hash, err := identity.Hash(*in.Question)
		if err != nil {
			return fmt.Errorf("hashing the question: %w", err)
		}
		if hash != m.Subject.Hash {
			return conclave.Errorf(conclave.ErrConflict, "motion %s is on %s, but the question in its material has the hash %s", m.ID, m.Subject.Hash, hash)
		}
	}
	return nil
}

// bareTree is a git tree's id without the scheme that says what it is.
func bareTree(hash string) string { return strings.TrimPrefix(hash, "git:") }

// ballot makes the signed ballot. Everything that binds it comes from the
// motion; only the judgement is the brain's.
func (a *Agent) ballot(in conclave.Assignment, vote conclave.VoteReply) (conclave.Ballot, error) {
	m := in.Motion
	b := conclave.Ballot{
		Motion: m.ID, Round: m.Round, Voter: a.opts.Name, Role: a.opts.Spec.Role, Subject: m.Subject,
		Verdict: vote.Verdict, Ranking: vote.Ranking, Reasons: vote.Reasons, Evidence: vote.Evidence,
	}
	if b.Reasons == nil {
		b.Reasons = []string{}
	}
	if in.Evidence != nil && in.Evidence.Hash != "" && !slices.Contains(b.Evidence, in.Evidence.Hash) {
		b.Evidence = append(slices.Clone(b.Evidence), in.Evidence.Hash)
	}
	switch {
	case m.Kind == conclave.MotionRank && b.Verdict == conclave.VerdictAbstain:
		b.Ranking = nil
	case m.Kind == conclave.MotionRank:
		if !samePermutation(b.Ranking, m.Options) {
			return b, conclave.Errorf(conclave.ErrInvalid, "the ranking %v is not an order of the options %v", b.Ranking, m.Options)
		}
		b.Verdict = ""
	default:
		switch b.Verdict {
		case conclave.VerdictApprove, conclave.VerdictReject, conclave.VerdictAbstain:
		default:
			return b, conclave.Errorf(conclave.ErrInvalid, "the verdict %q is not approve, reject or abstain", b.Verdict)
		}
		b.Ranking = nil
	}
	if err := identity.SignBallot(a.opts.Key, &b); err != nil {
		return b, fmt.Errorf("signing the ballot on %s: %w", m.ID, err)
	}
	return b, nil
}

func samePermutation(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the value")
	}
	return nil
}

// maxReceipts bounds what is remembered in memory.
const maxReceipts = 1024

type receiptKey struct {
	agent   conclave.AgentName
	message conclave.MessageID
}

// memoryReceipts remembers the newest replies of one process.
type memoryReceipts struct {
	mu      sync.Mutex
	replies map[receiptKey][]byte
	order   []receiptKey
}

func (r *memoryReceipts) Get(_ context.Context, agent conclave.AgentName, message conclave.MessageID) ([]byte, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reply, ok := r.replies[receiptKey{agent, message}]
	return reply, ok, nil
}

func (r *memoryReceipts) Put(_ context.Context, agent conclave.AgentName, message conclave.MessageID, reply []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := receiptKey{agent, message}
	if _, ok := r.replies[key]; ok {
		return nil
	}
	r.replies[key], r.order = reply, append(r.order, key)
	if len(r.order) > maxReceipts {
		delete(r.replies, r.order[0])
		r.order = r.order[1:]
	}
	return nil
}
