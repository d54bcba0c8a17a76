package prove

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave"
	"conclave/internal/identity"
)

func councilProofs() []proof {
	return []proof{
		{"decide", "SQL: the motion's row; the bytes that the voter received", func(ctx context.Context, s *scene) error {
			m, err := s.convene(ctx, time.Minute)
			if err != nil {
				return err
			}
			var kept conclave.Motion
			if err := s.records.document(ctx, &kept, `SELECT doc FROM motions WHERE id = $1`, string(m.ID)); err != nil {
				return err
			}
			return errors.Join(same("the motion's title", kept.Title, "prove "+s.name),
				s.until(ctx, "the request for a vote", func() (bool, error) { return s.peer.got(string(m.ID)), nil }))
		}},
		{"ballot_cast", "SQL: the ballot's row, with the voter's signature", func(ctx context.Context, s *scene) error {
			m, err := s.convene(ctx, time.Minute)
			if err != nil {
				return err
			}
			b, err := s.cast(ctx, m)
			if err != nil {
				return err
			}
			var kept conclave.Ballot
			if err := s.records.document(ctx, &kept, `SELECT doc FROM ballots WHERE motion = $1 AND voter = $2`, string(m.ID), s.name); err != nil {
				return err
			}
			return errors.Join(same("the signature", kept.Signature, b.Signature), identity.VerifyBallot(kept))
		}},
		{"decision_get", "SQL: the decision's row; its signatures, checked here", func(ctx context.Context, s *scene) error {
			m, err := s.convene(ctx, time.Minute)
			if err != nil {
				return err
			}
			if _, err := s.cast(ctx, m); err != nil {
				return err
			}
			var st conclave.MotionStatus
			if err := s.do(ctx, "decision_get", conclave.GetMotion{ID: m.ID, Wait: 30000}, &st); err != nil {
				return err
			}
			if st.Decision == nil {
				return fmt.Errorf("there is no decision, though its one voter voted")
			}
			var kept conclave.Decision
			if err := s.records.document(ctx, &kept, `SELECT doc FROM decisions WHERE motion = $1`, string(m.ID)); err != nil {
				return err
			}
			return errors.Join(same("the decision's signature", st.Decision.Signature, kept.Signature), identity.VerifyDecision(*st.Decision))
		}},
		{"decision_resolve", "SQL: the decision's row names the human", func(ctx context.Context, s *scene) error {
			m, err := s.convene(ctx, 500*time.Millisecond) // its voter stays silent, so a human is asked
			if err != nil {
				return err
			}
			if err := s.until(ctx, "the call for a human", func() (bool, error) {
				state, err := s.records.text(ctx, `SELECT state FROM motions WHERE id = $1`, string(m.ID))
				return state == string(conclave.MotionWaiting), err
			}); err != nil {
				return earlier{"decide", err}
			}
			var d conclave.Decision
			if err := s.do(ctx, "decision_resolve", conclave.ResolveMotion{Key: s.name, ID: m.ID, Verdict: conclave.VerdictReject, Reason: s.name}, &d); err != nil {
				return err
			}
			var kept conclave.Decision
			if err := s.records.document(ctx, &kept, `SELECT doc FROM decisions WHERE motion = $1`, string(m.ID)); err != nil {
				return err
			}
			return errors.Join(same("the outcome", kept.Outcome, conclave.OutcomeRejected), same("the reason", kept.Reason, s.name),
				same("who decided", kept.DecidedBy, "human "+s.Caller.Human))
		}},
		{"decision_list", "SQL: the ids of the run's motions", func(ctx context.Context, s *scene) error {
			if _, err := s.convene(ctx, time.Minute); err != nil {
				return err
			}
			var list []conclave.MotionStatus
			if err := s.do(ctx, "decision_list", conclave.ListMotions{Run: conclave.RunID(s.name)}, &list); err != nil {
				return err
			}
			var ids []string
			for _, st := range list {
				ids = append(ids, string(st.Motion.ID))
			}
			kept, err := s.records.texts(ctx, `SELECT id FROM motions WHERE run = $1`, s.name)
			return errors.Join(err, same("the motions", ids, kept))
		}},
	}
}

// convene puts a question to the scene's agent alone.
func (s *scene) convene(ctx context.Context, within time.Duration) (conclave.Motion, error) {
	var m conclave.Motion
	if err := s.register(ctx); err != nil {
		return m, err
	}
	hash, err := hashOf(s.name)
	if err != nil {
		return m, err
	}
	return m, s.do(ctx, "decide", conclave.ConveneMotion{Key: s.name, Motion: conclave.Motion{
		Run: conclave.RunID(s.name), Kind: conclave.MotionApprove, Title: "prove " + s.name, Subject: conclave.Subject{Kind: "plan", ID: s.name, Hash: hash},
		Authors: []conclave.AgentName{}, Voters: []string{"agents/" + s.name}, Rule: conclave.Rule{Name: "threshold", Threshold: 0.5, Quorum: 1}, Rounds: 1,
		Deadline: time.Now().Add(within).UTC(),
	}}, &m)
}

// cast votes as the scene's agent.
func (s *scene) cast(ctx context.Context, m conclave.Motion) (conclave.Ballot, error) {
	b := conclave.Ballot{Motion: m.ID, Round: 1, Voter: s.peer.name, Role: peerRole, Subject: m.Subject, Verdict: conclave.VerdictApprove, Reasons: []string{"to be found again"}}
	if err := identity.SignBallot(s.peer.key, &b); err != nil {
		return b, err
	}
	var r conclave.Receipt
	return b, s.do(ctx, "ballot_cast", conclave.CastBallot{Key: s.name, ID: m.ID, Ballot: b}, &r)
}
