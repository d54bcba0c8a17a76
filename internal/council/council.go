package council

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/internal/consensus"
	"conclave/internal/identity"
	"conclave/internal/telemetry"

	"go.opentelemetry.io/otel/attribute"
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
	Logger   *slog.Logger  // nil discards
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
	return &Service{o: o, log: o.Logger}
}

const (
	maxVoters  = 64
	lastWords  = 300 * time.Millisecond
	maxRounds  = 5
	longest    = 7 * 24 * time.Hour
	defaultEnd = time.Hour
)

// Convene implements conclave.Council.
func (s *Service) Convene(ctx context.Context, in conclave.ConveneMotion) (conclave.Motion, error) {
	m := in.Motion
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
	if m.Deadline.IsZero() {
		m.Deadline = time.Now().Add(defaultEnd).UTC()
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

// decide completes, signs and keeps a decision.
func (s *Service) decide(ctx context.Context, d conclave.Decision, epoch int64) (conclave.Decision, error) {
	d.Motion.State, d.Motion.Material = conclave.MotionDecided, nil
	d.Decided = time.Now().UTC().Truncate(time.Microsecond)
	d.Absent, d.Dissent = absent(d), dissent(d)
	if d.Ballots == nil {
		d.Ballots = []conclave.Ballot{}
	}
	if d.Ladder == nil {
		d.Ladder = []string{}
	}
	if err := identity.SignDecision(s.o.Key, &d); err != nil {
		return d, fmt.Errorf("sign the decision: %w", err)
	}
	if err := s.o.Store.Decide(ctx, d, epoch); err != nil {
		return d, err
	}
	return d, nil
}

// lastVote is the last round in which the voters were asked: after it, the
// senior has a round of its own.
func lastVote(m conclave.Motion) int { return min(m.Round, m.Rounds) }

// absent are the seats that have no ballot in the last round.
func absent(d conclave.Decision) []string {
	out := []string{}
	for _, seat := range d.Motion.Voters {
		if !slices.ContainsFunc(d.Ballots, func(b conclave.Ballot) bool { return b.Round == lastVote(d.Motion) && sits(b, seat) }) {
			out = append(out, seat)
		}
	}
	return out
}

func sits(b conclave.Ballot, seat string) bool {
	return seat == "roles/"+string(b.Role) || seat == "agents/"+string(b.Voter)
}

// Seat is the seat that a ballot fills: the voter's own, or else that of its
// role, which one agent fills and not each that has the role.
func Seat(m conclave.Motion, b conclave.Ballot) string {
	if own := "agents/" + string(b.Voter); slices.Contains(m.Voters, own) {
		return own
	}
	return "roles/" + string(b.Role)
}

// dissent is who judged otherwise than the decision, and why.
func dissent(d conclave.Decision) []string {
	out := []string{}
	for _, b := range d.Ballots {
		if b.Round < lastVote(d.Motion) || b.Verdict == conclave.VerdictAbstain {
			continue
		}
		other := d.Outcome == conclave.OutcomeApproved && b.Verdict == conclave.VerdictReject ||
			d.Outcome == conclave.OutcomeRejected && b.Verdict == conclave.VerdictApprove ||
			d.Outcome == conclave.OutcomeChosen && len(b.Ranking) > 0 && b.Ranking[0] != d.Option
		if other {
			out = append(out, fmt.Sprintf("%s: %s", b.Voter, strings.Join(b.Reasons, "; ")))
		}
	}
	return out
}

// Verify checks a decision without a server: the council's signature, each
// ballot's signature, subject and voter, and, when it was decided by vote, that
// the rule gives the same outcome again. ErrDenied says what does not hold.
func Verify(d conclave.Decision) error {
	if err := identity.VerifyDecision(d); err != nil {
		return err
	}
	for _, b := range d.Ballots {
		if err := identity.VerifyBallot(b); err != nil {
			return fmt.Errorf("ballot of %s: %w", b.Voter, err)
		}
		m := d.Motion
		m.Round = b.Round
		if err := consensus.Check(m, b); err != nil {
			return conclave.Errorf(conclave.ErrDenied, "ballot of %s: %w", b.Voter, err)
		}
	}
	if d.DecidedBy != "vote" {
		return nil
	}
	r := consensus.Decide(d.Motion, len(d.Motion.Voters), seated(d.Motion, d.Ballots))
	if r.Outcome != d.Outcome || r.Option != d.Option {
		return conclave.Errorf(conclave.ErrDenied, "counted again, the ballots give %s %s, not %s %s", r.Outcome, r.Option, d.Outcome, d.Option)
	}
	return nil
}

// seated leaves out ballots of seniors: they advise the last rung, not the count.
func seated(m conclave.Motion, ballots []conclave.Ballot) []conclave.Ballot {
	var in []conclave.Ballot
	for _, b := range ballots {
		if slices.ContainsFunc(m.Voters, func(seat string) bool { return sits(b, seat) }) {
			in = append(in, b)
		}
	}
	return in
}

// HandleMotion brings one motion to its end; the queue calls it.
func (s *Service) HandleMotion(ctx context.Context, id string, epoch int64) error {
	st, epoch, ok, err := s.o.Store.Claim(ctx, conclave.MotionID(id), epoch)
	if err != nil || !ok {
		return err
	}
	ctx = conclave.WithCaller(ctx, conclave.ServiceCaller(conclave.ServiceCouncil, conclave.DefaultTenant, st.Motion.Human))
	ctx, end := telemetry.Run(ctx, st.Motion.Run, "vote "+st.Motion.Subject.Kind, attribute.String("conclave.motion", id))
	err = s.climb(ctx, st.Motion, epoch)
	end(err)
	if errors.Is(err, conclave.ErrConflict) {
		s.log.Info("motion was taken over", "motion", id, "epoch", epoch)
		return nil
	}
	if ctx.Err() != nil {
		return nil // stopped: whoever takes it next goes on from its round
	}
	return err
}

// climb goes up the ladder from where the motion stands.
func (s *Service) climb(ctx context.Context, m conclave.Motion, epoch int64) error {
	if m.Round > m.Rounds { // stopped while the senior was asked
		st, err := s.o.Store.Get(ctx, m.ID)
		if err != nil {
			return err
		}
		return s.senior(ctx, st, epoch, "senior: no decision before the deadline")
	}
	for {
		result, silent, err := s.round(ctx, m)
		if err != nil {
			return err
		}
		came := fmt.Sprintf("round %d: %s, %s", m.Round, result.Outcome, result.Reason)
		if len(silent) > 0 {
			came += "; absent: " + strings.Join(silent, ", ")
		}
		st, err := s.o.Store.Get(ctx, m.ID)
		if err != nil {
			return err
		}
		if settled(m, result, st.Ballots) {
			_, err := s.decide(ctx, conclave.Decision{Motion: st.Motion, Outcome: result.Outcome, Option: result.Option, Ranking: result.Ranking,
				Reason: result.Reason, Ballots: st.Ballots, Ladder: append(m.Ladder, came), DecidedBy: "vote"}, epoch)
			return err
		}
		if m.Round < m.Rounds && time.Now().Before(roundsEnd(m)) {
			if m, err = s.o.Store.Advance(ctx, m.ID, epoch, came); err != nil {
				return err
			}
			continue
		}
		return s.senior(ctx, st, epoch, came)
	}
}

// roundsEnd is when rounds are over and the senior's turn comes.
func roundsEnd(m conclave.Motion) time.Time {
	if !m.Escalate.IsZero() && m.Escalate.Before(m.Deadline) {
		return m.Escalate
	}
	return m.Deadline
}

// settled reports whether a result ends the vote: an approval or a choice does;
// a refusal does unless at least half were for it, which calls for another look.
func settled(m conclave.Motion, r consensus.Result, ballots []conclave.Ballot) bool {
	switch r.Outcome {
	case conclave.OutcomeApproved, conclave.OutcomeChosen:
		return true
	case conclave.OutcomeRejected:
		yes, no := 0, 0
		for _, b := range ballots {
			if b.Round == m.Round {
				switch b.Verdict {
				case conclave.VerdictApprove:
					yes++
				case conclave.VerdictReject:
					no++
				}
			}
		}
		return yes < no || m.Settle
	}
	return false
}

// round asks every voter that has not voted in it, and ends when the outcome is
// final, all have answered, or the deadline has passed.
func (s *Service) round(ctx context.Context, m conclave.Motion) (consensus.Result, []string, error) {
	ctx, cancel := context.WithDeadline(ctx, roundsEnd(m))
	defer cancel()
	outer := context.WithoutCancel(ctx)
	before, err := s.o.Store.Get(outer, m.ID)
	if err != nil {
		return consensus.Result{}, nil, err
	}
	type answer struct {
		seat string
		err  error
	}
	answers := make(chan answer)
	waiting := 0
	for _, seat := range m.Voters {
		if slices.ContainsFunc(before.Ballots, func(b conclave.Ballot) bool { return b.Round == m.Round && sits(b, seat) }) {
			continue
		}
		waiting++
		go func() { answers <- answer{seat, s.askVoter(ctx, m, seat, "vote", nil, previous(m, before.Ballots))} }()
	}
	// A ballot that its voter hands in itself counts as soon as one that is asked for.
	cast := make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	watching.Go(func() { s.tellBallots(watch, m.ID, len(before.Ballots), cast) })
	var silent []string
	var grace *time.Timer
	var full error // a voter that can't be asked because the disk is full is not silent
	result := consensus.Decide(m, len(m.Voters), seated(m, before.Ballots))
	for waiting > 0 {
		var a answer
		select {
		case a = <-answers:
			waiting--
		case <-cast:
		}
		if a.err != nil {
			if conclave.DiskFull(a.err) {
				full = fmt.Errorf("ask %s: %w", a.seat, a.err)
			}
			if !errors.Is(a.err, context.Canceled) {
				silent = append(silent, fmt.Sprintf("%s (%s)", a.seat, conclave.Text(a.err)))
			}
			continue
		}
		st, err := s.o.Store.Get(outer, m.ID)
		if err != nil {
			if a.seat != "" {
				silent = append(silent, a.seat)
			}
			continue
		}
		if result = consensus.Decide(m, len(m.Voters), seated(m, st.Ballots)); result.Final && grace == nil {
			// Nothing that is still to come can change it. Who is just about to
			// answer still gets on the record.
			grace = time.AfterFunc(lastWords, cancel)
			defer grace.Stop()
		}
	}
	if err := context.Cause(ctx); err != nil && !result.Final && !errors.Is(err, context.DeadlineExceeded) {
		return result, nil, err
	}
	if full != nil && !result.Final {
		return result, nil, full
	}
	return result, silent, nil
}

// tellBallots sends a word for each time that a motion's ballots have become
// more, until ctx ends.
func (s *Service) tellBallots(ctx context.Context, id conclave.MotionID, known int, cast chan<- struct{}) {
	for ctx.Err() == nil {
		n, err := s.o.Store.WaitBallots(ctx, id, known, 30*time.Second)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("watch a vote's ballots", "motion", id, "error", err)
			}
			return // the voters' own answers still count
		}
		if n == known {
			continue
		}
		known = n
		select {
		case cast <- struct{}{}:
		case <-ctx.Done():
		}
	}
}

// previous are the ballots of the round before, which a second round may read.
func previous(m conclave.Motion, ballots []conclave.Ballot) []conclave.Ballot {
	var list []conclave.Ballot
	for _, b := range ballots {
		if b.Round == m.Round-1 {
			list = append(list, b)
		}
	}
	return list
}

// askVoter asks a seat for its ballot through the hub, and counts it.
func (s *Service) askVoter(ctx context.Context, m conclave.Motion, seat, purpose string, exclude []conclave.AgentName, before []conclave.Ballot) error {
	var a conclave.Assignment
	if len(m.Material) > 0 {
		if err := json.Unmarshal(m.Material, &a); err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "the motion's material is no assignment: %w", err)
		}
	}
	shown := m
	shown.Material = nil
	a.Kind, a.Motion, a.Ballots = conclave.AssignVote, &shown, before
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	text := "Please vote: " + sentence(m.Title)
	if m.Round > 1 {
		text = fmt.Sprintf("Round %d. Please vote again, now that the others' reasons are known: %s", m.Round, sentence(m.Title))
	}
	task, err := s.o.Hub.Send(ctx, conclave.SendMessage{
		Key: fmt.Sprintf("%s/%d/%s/%s", m.ID, m.Round, purpose, seat), Conversation: m.Conversation, Run: m.Run, To: seat,
		Exclude: append(slices.Clone(m.Authors), exclude...), Kind: conclave.AssignVote, Text: text, Data: data,
		Call: conclave.CallPath{Human: m.Human, Path: []string{string(conclave.ServiceCouncil)}, Hops: 4},
	})
	if err != nil {
		return err
	}
	for !task.State.Ended() {
		if task, err = s.o.Hub.Task(ctx, conclave.GetTask{ID: task.ID, Wait: 30000}); err != nil {
			return err
		}
	}
	if task.State != conclave.TaskCompleted {
		return conclave.Errorf(conclave.ErrUnavailable, "%s", task.Error)
	}
	var b conclave.Ballot
	if err := json.Unmarshal(task.Reply, &b); err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "the answer is no ballot: %w", err)
	}
	// A ballot that arrived is counted even when the outcome became final
	// meanwhile, so that it is on the record.
	err = s.cast(context.WithoutCancel(ctx), m, b)
	if errors.Is(err, conclave.ErrConflict) && strings.Contains(err.Error(), "has voted") {
		return nil
	}
	return err
}

// sentence ends a title with a full stop, unless it has an end of its own.
func sentence(title string) string {
	if strings.HasSuffix(title, "?") || strings.HasSuffix(title, ".") || strings.HasSuffix(title, "!") {
		return title
	}
	return title + "."
}

// senior is the last rung before a human: one agent that did not vote decides.
func (s *Service) senior(ctx context.Context, st conclave.MotionStatus, epoch int64, came string) error {
	m := st.Motion
	if m.Senior != "" && time.Now().Before(m.Deadline) {
		var ballots []conclave.Ballot // not the senior's, when it is asked again after a crash
		var voted []conclave.AgentName
		for _, b := range st.Ballots {
			if b.Round <= m.Rounds {
				ballots, voted = append(ballots, b), append(voted, b.Voter)
			}
		}
		// The senior's ballot is in a round of its own, which nothing counts.
		next := m
		var err error
		if m.Round <= m.Rounds {
			if next, err = s.o.Store.Advance(ctx, m.ID, epoch, came); err != nil {
				return err
			}
		}
		deadline, cancel := context.WithDeadline(ctx, m.Deadline)
		defer cancel()
		err = s.askVoter(deadline, next, m.Senior, "senior", voted, ballots)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if now, getErr := s.o.Store.Get(ctx, m.ID); err == nil && getErr == nil {
			i := slices.IndexFunc(now.Ballots, func(b conclave.Ballot) bool { return b.Round == next.Round && !slices.Contains(voted, b.Voter) })
			if i >= 0 && now.Ballots[i].Verdict != conclave.VerdictAbstain {
				return s.decideBySenior(ctx, now, now.Ballots[i], epoch)
			}
		}
		came = "senior: no decision"
		if err != nil {
			came += " (" + conclave.Text(err) + ")"
		}
	}
	return s.o.Store.Await(ctx, m.ID, epoch, came)
}

func (s *Service) decideBySenior(ctx context.Context, st conclave.MotionStatus, b conclave.Ballot, epoch int64) error {
	d := conclave.Decision{Motion: st.Motion, Ballots: st.Ballots, DecidedBy: "senior " + string(b.Voter), Reason: strings.Join(b.Reasons, "; "),
		Ladder: append(st.Motion.Ladder, fmt.Sprintf("senior %s: %s%s", b.Voter, b.Verdict, strings.Join(b.Ranking[:min(1, len(b.Ranking))], "")))}
	switch {
	case st.Motion.Kind == conclave.MotionRank:
		d.Outcome, d.Option, d.Ranking = conclave.OutcomeChosen, b.Ranking[0], b.Ranking
	case b.Verdict == conclave.VerdictApprove:
		d.Outcome = conclave.OutcomeApproved
	default:
		d.Outcome = conclave.OutcomeRejected
	}
	_, err := s.decide(ctx, d, epoch)
	return err
}
