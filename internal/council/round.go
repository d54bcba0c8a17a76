package council

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/internal/consensus"
	"conclave/internal/telemetry"

	"go.opentelemetry.io/otel/attribute"
)

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

// errVoteOver ends the wait for voters whose ballots can't count any more.
var errVoteOver = errors.New("the vote is over")

// round asks every voter that has not voted in it, and ends when the outcome is
// final, all have answered, or the deadline has passed.
func (s *Service) round(ctx context.Context, m conclave.Motion) (consensus.Result, []string, error) {
	ctx, stop := context.WithDeadlineCause(ctx, roundsEnd(m), errVoteOver)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
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
			grace = time.AfterFunc(lastWords, func() { cancel(errVoteOver) })
			defer grace.Stop()
		}
	}
	if err := context.Cause(ctx); err != nil && !result.Final && !errors.Is(err, errVoteOver) {
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
	for id := task.ID; !task.State.Ended(); {
		if task, err = s.o.Hub.Task(ctx, conclave.GetTask{ID: id, Wait: 30000}); err != nil {
			s.excuse(ctx, m, id)
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

// excuse tells a voter that nobody waits for its ballot any more, so that it does
// not think on at someone's cost.
func (s *Service) excuse(ctx context.Context, m conclave.Motion, id conclave.TaskID) {
	if !errors.Is(context.Cause(ctx), errVoteOver) {
		return // the service stops, and asks for the answer again when it is back
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := s.o.Hub.Cancel(ctx, conclave.NameTask{ID: id}); err != nil && !errors.Is(err, conclave.ErrConflict) {
		s.log.Warn("excuse a voter", "motion", m.ID, "task", id, "error", err)
	}
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
		deadline, cancel := context.WithDeadlineCause(ctx, m.Deadline, errVoteOver)
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
