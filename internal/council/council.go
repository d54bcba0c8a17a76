package council

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/consensus"
	"conclave/internal/identity"
)

// Store keeps motions, ballots and decisions.
type Store interface {
	// Open keeps a motion once for each key, and lets a worker claim it.
	Open(ctx context.Context, in conclave.ConveneMotion, m conclave.Motion) (conclave.Motion, error)
	// Claim takes an open motion. ok is false when there is nothing to do.
	Claim(ctx context.Context, id conclave.MotionID, epoch int64) (st conclave.MotionStatus, newEpoch int64, ok bool, err error)
	// Cast keeps a ballot. ErrConflict when the motion is not open in the ballot's
	// round, its deadline has passed on the database's clock, or the voter has voted.
	Cast(ctx context.Context, b conclave.Ballot) error
	// Refuse records that a ballot was not counted, and why.
	Refuse(ctx context.Context, b conclave.Ballot, why string) error
	// Advance opens the next round. ErrConflict when epoch is not the newest.
	Advance(ctx context.Context, id conclave.MotionID, epoch int64, came string) (conclave.Motion, error)
	// Await hands the motion to a human. ErrConflict when epoch is not the newest.
	Await(ctx context.Context, id conclave.MotionID, epoch int64, came string) error
	// Decide keeps the decision. With epoch 0 it is a human's, and ErrConflict
	// unless the motion waits for one; else ErrConflict when epoch is not the newest.
	Decide(ctx context.Context, d conclave.Decision, epoch int64) error
	// Get returns a motion with its ballots. ErrNotFound.
	Get(ctx context.Context, id conclave.MotionID) (conclave.MotionStatus, error)
	// Wait returns when the motion is no longer open, or d has passed.
	Wait(ctx context.Context, id conclave.MotionID, d time.Duration) error
	// WaitBallots returns how many ballots a motion has, once that is another
	// number than known or d has passed.
	WaitBallots(ctx context.Context, id conclave.MotionID, known int, d time.Duration) (int, error)
	// List returns motions, newest first.
	List(ctx context.Context, in conclave.ListMotions) ([]conclave.MotionStatus, error)
}

// Options say what a Service works with.
type Options struct {
	Store    Store
	Outcomes OutcomeStore
	Hub      conclave.Hub
	Key      *identity.Key // signs decisions
	Rules    Rules         // for motions that leave them out
	Logger   *slog.Logger  // nil discards
}

// Rules are what holds for a motion that does not say otherwise itself.
type Rules struct {
	Threshold float64       // share of yes that approves; 0 means 0.75
	MaxTime   time.Duration // from the opening to the deadline; 0 means an hour
	Escalate  time.Duration // after this long without consensus it goes to the senior; 0 means at the deadline
	Settle    bool          // a refusal stands even when at least half were for it
}

func (r Rules) filled() Rules {
	if r.Threshold == 0 {
		r.Threshold = 0.75
	}
	if r.MaxTime == 0 {
		r.MaxTime = time.Hour
	}
	return r
}

// apply fills in what a motion leaves out. Who sets a deadline has said how long
// rounds may take, so the rules' time of escalation is not for that motion.
func (r Rules) apply(m *conclave.Motion, now time.Time) {
	if m.Rule.Name == consensus.RuleThreshold && m.Rule.Threshold == 0 {
		m.Rule.Threshold = r.Threshold
	}
	m.Settle = m.Settle || r.Settle
	if !m.Deadline.IsZero() {
		return
	}
	m.Deadline = now.Add(r.MaxTime).UTC()
	if m.Escalate.IsZero() && r.Escalate > 0 {
		m.Escalate = now.Add(r.Escalate).UTC()
	}
}

// Service implements conclave.Council and conclave.Trust.
type Service struct {
	o   Options
	log *slog.Logger
}

// New returns a service.
func New(o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Rules = o.Rules.filled()
	return &Service{o: o, log: o.Logger}
}

const (
	maxVoters = 64
	lastWords = 300 * time.Millisecond
	maxRounds = 5
	longest   = 7 * 24 * time.Hour
)

// Convene implements conclave.Council.
func (s *Service) Convene(ctx context.Context, in conclave.ConveneMotion) (conclave.Motion, error) {
	m := in.Motion
	s.o.Rules.apply(&m, time.Now())
	if err := validate(m); err != nil {
		return m, err
	}
	m.ID, m.Round, m.State, m.Ladder = conclave.MotionID(conclave.NewID("motion")), 1, conclave.MotionOpen, nil
	m.Rounds = min(max(m.Rounds, 1), maxRounds)
	if m.Conversation == "" {
		m.Conversation = conclave.ConversationID(conclave.NewID("conv"))
	}
	if m.Human == "" {
		m.Human = conclave.CallerFrom(ctx).Human
	}
	if m.Authors == nil {
		m.Authors = []conclave.AgentName{}
	}
	m.Weights = nil
	if m.Rule.Weighted {
		var err error
		if m.Weights, err = s.weights(ctx, m); err != nil {
			return m, err
		}
	}
	return s.o.Store.Open(ctx, in, m)
}

func validate(m conclave.Motion) error {
	invalid := func(format string, args ...any) error {
		return conclave.Errorf(conclave.ErrInvalid, "motion: "+format, args...)
	}
	if err := consensus.Validate(m.Rule, m.Kind); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(m.Title) == "":
		return invalid("it has no title")
	case m.Subject.Hash == "":
		return invalid("its subject has no hash; ballots bind to it")
	case len(m.Voters) == 0 || len(m.Voters) > maxVoters:
		return invalid("it has %d voters; it must have 1 to %d", len(m.Voters), maxVoters)
	case m.Rule.Quorum > len(m.Voters):
		return invalid("its quorum of %d is more than its %d voters", m.Rule.Quorum, len(m.Voters))
	case m.Kind == conclave.MotionRank && len(m.Options) == 0:
		return invalid("it ranks nothing; name the options")
	case !m.Deadline.IsZero() && m.Deadline.After(time.Now().Add(longest)):
		return invalid("its deadline is more than %v away", longest)
	}
	for i, o := range m.Options {
		if o == "" || slices.Contains(m.Options[:i], o) {
			return invalid("option %q is empty or named twice", o)
		}
	}
	for i, v := range append(slices.Clone(m.Voters), m.Senior) {
		if v == "" && i == len(m.Voters) {
			continue // no senior
		}
		name, role := strings.CutPrefix(v, "roles/")
		if !role {
			name, role = strings.CutPrefix(v, "agents/")
		}
		if !role || name == "" {
			return invalid(`voter %q; it must be "roles/ROLE" or "agents/NAME"`, v)
		}
		if i < len(m.Voters) && slices.Contains(m.Voters[:i], v) {
			return invalid("voter %q is named twice", v)
		}
	}
	return nil
}

// Get implements conclave.Council.
func (s *Service) Get(ctx context.Context, in conclave.GetMotion) (conclave.MotionStatus, error) {
	if in.Wait < 0 || in.Wait > 60000 {
		return conclave.MotionStatus{}, conclave.Errorf(conclave.ErrInvalid, "wait_ms is %d; it must be 0 to 60000", in.Wait)
	}
	st, err := s.o.Store.Get(ctx, in.ID)
	if err != nil || in.Wait == 0 || st.Motion.State != conclave.MotionOpen {
		return st, err
	}
	if err := s.o.Store.Wait(ctx, in.ID, time.Duration(in.Wait)*time.Millisecond); err != nil {
		return st, err
	}
	return s.o.Store.Get(ctx, in.ID)
}

// List implements conclave.Council.
func (s *Service) List(ctx context.Context, in conclave.ListMotions) ([]conclave.MotionStatus, error) {
	return s.o.Store.List(ctx, in)
}

// Cast implements conclave.Council. What it refuses is recorded.
func (s *Service) Cast(ctx context.Context, in conclave.CastBallot) (conclave.Receipt, error) {
	r := conclave.Receipt{Motion: in.ID, Voter: in.Ballot.Voter, Round: in.Ballot.Round}
	st, err := s.o.Store.Get(ctx, in.ID)
	if err != nil {
		return r, err
	}
	if err := s.cast(ctx, st.Motion, in.Ballot); err != nil {
		return r, err
	}
	r.Counted = true
	return r, nil
}

func (s *Service) cast(ctx context.Context, m conclave.Motion, b conclave.Ballot) error {
	err := s.check(ctx, m, b)
	if err == nil {
		err = s.o.Store.Cast(ctx, b)
	}
	if kind := conclave.KindOf(err); kind == conclave.ErrDenied || kind == conclave.ErrConflict || kind == conclave.ErrInvalid {
		b.Motion = m.ID
		if err := s.o.Store.Refuse(ctx, b, conclave.Text(err)); err != nil {
			s.log.Warn("record a refused ballot", "motion", m.ID, "error", err)
		}
	}
	return err
}

// check is everything that makes a ballot its voter's own and fit for the motion.
func (s *Service) check(ctx context.Context, m conclave.Motion, b conclave.Ballot) error {
	if err := consensus.Check(m, b); err != nil {
		return err
	}
	if err := identity.VerifyBallot(b); err != nil {
		return err
	}
	agents, err := s.o.Hub.Agents(ctx, conclave.ListAgents{})
	if err != nil {
		return fmt.Errorf("look up the voter %s: %w", b.Voter, err)
	}
	i := slices.IndexFunc(agents, func(a conclave.Agent) bool { return a.Name == b.Voter })
	if i < 0 {
		return conclave.Errorf(conclave.ErrDenied, "%s is not a registered agent", b.Voter)
	}
	a := agents[i]
	if a.PublicKey != b.PublicKey {
		return conclave.Errorf(conclave.ErrDenied, "the ballot is signed with another key than that of %s", b.Voter)
	}
	if a.Role != b.Role {
		return conclave.Errorf(conclave.ErrDenied, "%s has the role %s, not %s", b.Voter, a.Role, b.Role)
	}
	seats := m.Voters
	if m.Round > m.Rounds { // the senior's
		seats = []string{m.Senior}
	}
	if !slices.ContainsFunc(seats, func(seat string) bool { return sits(b, seat) }) {
		return conclave.Errorf(conclave.ErrDenied, "%s has no seat in this vote", b.Voter)
	}
	return nil
}

// Resolve implements conclave.Council.
func (s *Service) Resolve(ctx context.Context, in conclave.ResolveMotion) (conclave.Decision, error) {
	st, err := s.o.Store.Get(ctx, in.ID)
	if err != nil {
		return conclave.Decision{}, err
	}
	if st.Decision != nil && st.Motion.State == conclave.MotionDecided && in.Key != "" {
		return *st.Decision, nil // the same word again
	}
	if st.Motion.State != conclave.MotionWaiting {
		return conclave.Decision{}, conclave.Errorf(conclave.ErrConflict, "motion %s does not wait for a human; it is %s", in.ID, st.Motion.State)
	}
	d := conclave.Decision{Motion: st.Motion, Ballots: st.Ballots, Ladder: st.Motion.Ladder}
	human := conclave.CallerFrom(ctx).Human
	switch {
	case st.Motion.Kind == conclave.MotionRank:
		if !slices.Contains(st.Motion.Options, in.Option) {
			return d, conclave.Errorf(conclave.ErrInvalid, "option %q; it must be one of %s", in.Option, strings.Join(st.Motion.Options, ", "))
		}
		d.Outcome, d.Option = conclave.OutcomeChosen, in.Option
	case in.Verdict == conclave.VerdictApprove:
		d.Outcome = conclave.OutcomeApproved
	case in.Verdict == conclave.VerdictReject:
		d.Outcome = conclave.OutcomeRejected
	default:
		return d, conclave.Errorf(conclave.ErrInvalid, `verdict is %q; it must be "approve" or "reject"`, in.Verdict)
	}
	d.DecidedBy, d.Reason = "human "+human, in.Reason
	if d.Reason == "" {
		d.Reason = "decided by " + human
	}
	return s.decide(ctx, d, 0)
}
