package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/consensus"
	"conclave/internal/council"
)

// Motions implements the council's store.
func (db *DB) Motions() council.Store { return motionStore{db} }

type motionStore struct{ db *DB }

func (s motionStore) Open(ctx context.Context, in conclave.ConveneMotion, m conclave.Motion) (conclave.Motion, error) {
	// Whoever convenes it again after a crash has measured the same subject
	// again, with other durations; it is the same motion.
	asked := in
	asked.Motion.Material, asked.Motion.Brain = nil, "" // and another model may be the one that answers
	return once(ctx, s.db, "decide", in.Key, asked, func(tx *Tx) (conclave.Motion, error) {
		now, err := tx.Now()
		if err != nil {
			return m, err
		}
		m.Created = now
		doc, err := encode(m)
		if err != nil {
			return m, err
		}
		if _, err := tx.exec(`INSERT INTO motions (id, tenant, run, state, created, doc) VALUES ($1, $2, $3, $4, $5, $6)`,
			string(m.ID), string(tenantOf(ctx)), string(m.Run), string(m.State), now.UnixMicro(), doc); err != nil {
			return m, err
		}
		if err := tx.ready(WorkMotion, string(m.ID), time.Time{}); err != nil {
			return m, err
		}
		return m, tx.appendMotion(m, conclave.EventMotionOpened, string(conclave.ServiceCouncil), m.Title)
	})
}

func (tx *Tx) appendMotion(m conclave.Motion, kind conclave.EventKind, actor, text string, data ...map[string]any) error {
	e := conclave.Event{Kind: kind, Actor: actor, Run: m.Run, Conversation: m.Conversation, Subject: string(m.ID), Text: text}
	for _, d := range data {
		var err error
		if e.Data, err = json.Marshal(d); err != nil {
			return fmt.Errorf("encode what an event tells of motion %s: %w", m.ID, err)
		}
	}
	return tx.Append(e)
}

func (tx *Tx) motion(id conclave.MotionID) (conclave.MotionStatus, error) {
	var st conclave.MotionStatus
	query := `SELECT doc FROM motions WHERE id = $1`
	if tx.db.postgres && !tx.reading {
		query += ` FOR UPDATE`
	}
	m, found, err := getDoc[conclave.Motion](tx, query, string(id))
	if err != nil {
		return st, err
	}
	if !found {
		return st, conclave.Errorf(conclave.ErrNotFound, "no motion %q", id)
	}
	st.Motion = m
	if st.Ballots, err = listDocs[conclave.Ballot](tx, `SELECT doc FROM ballots WHERE motion = $1 ORDER BY round, at, voter`, string(id)); err != nil {
		return st, err
	}
	d, found, err := getDoc[conclave.Decision](tx, `SELECT doc FROM decisions WHERE motion = $1`, string(id))
	if found {
		st.Decision = &d
	}
	return st, err
}

func (tx *Tx) putMotion(m conclave.Motion) error {
	doc, err := encode(m)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE motions SET state = $2, doc = $3 WHERE id = $1`, string(m.ID), string(m.State), doc)
	return err
}

func (s motionStore) Claim(ctx context.Context, id conclave.MotionID, epoch int64) (st conclave.MotionStatus, newEpoch int64, ok bool, err error) {
	err = s.db.Update(ctx, func(tx *Tx) error {
		var claimed bool
		if newEpoch, _, claimed, err = tx.claim(WorkMotion, string(id), epoch); err != nil || !claimed {
			return err
		}
		if st, err = tx.motion(id); err != nil {
			return err
		}
		ok = st.Motion.State == conclave.MotionOpen
		if !ok {
			return tx.settle(WorkMotion, string(id), newEpoch)
		}
		return nil
	})
	return st, newEpoch, ok, err
}

func (s motionStore) Cast(ctx context.Context, b conclave.Ballot) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		st, err := tx.motion(b.Motion)
		if err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if st.Motion.State != conclave.MotionOpen {
			return conclave.Errorf(conclave.ErrConflict, "motion %s is %s", b.Motion, st.Motion.State)
		}
		if now.After(st.Motion.Deadline) {
			return conclave.Errorf(conclave.ErrConflict, "the deadline of motion %s has passed", b.Motion)
		}
		if err := consensus.Check(st.Motion, b); err != nil {
			return err
		}
		seat := council.Seat(st.Motion, b)
		if slices.ContainsFunc(st.Ballots, func(o conclave.Ballot) bool {
			return o.Round == b.Round && o.Voter != b.Voter && council.Seat(st.Motion, o) == seat
		}) {
			return conclave.Errorf(conclave.ErrConflict, "the seat %s has voted in round %d", seat, b.Round)
		}
		doc, err := encode(b)
		if err != nil {
			return err
		}
		n, err := tx.exec(`INSERT INTO ballots (motion, round, voter, at, doc) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			string(b.Motion), b.Round, string(b.Voter), now.UnixMicro(), doc)
		if err != nil {
			return err
		}
		if n == 0 {
			return conclave.Errorf(conclave.ErrConflict, "%s has voted in round %d", b.Voter, b.Round)
		}
		said, verdict := string(b.Verdict), string(b.Verdict)
		if len(b.Ranking) > 0 {
			said, verdict = strings.Join(b.Ranking, " > "), "rank"
		}
		return tx.appendMotion(st.Motion, conclave.EventBallotCast, string(b.Voter), fmt.Sprintf("%s: %s", said, strings.Join(b.Reasons, "; ")),
			map[string]any{"role": b.Role, "verdict": verdict, "round": b.Round})
	})
}

func (s motionStore) Refuse(ctx context.Context, b conclave.Ballot, why string) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		st, err := tx.motion(b.Motion)
		if err != nil {
			return err
		}
		return tx.appendMotion(st.Motion, conclave.EventBallotRefused, string(b.Voter), why)
	})
}

func (s motionStore) Advance(ctx context.Context, id conclave.MotionID, epoch int64, came string) (conclave.Motion, error) {
	var m conclave.Motion
	err := s.db.Update(ctx, func(tx *Tx) error {
		if err := tx.hold(WorkMotion, string(id), epoch); err != nil {
			return err
		}
		st, err := tx.motion(id)
		if err != nil {
			return err
		}
		m = st.Motion
		m.Round++
		m.Ladder = append(m.Ladder, came)
		if err := tx.putMotion(m); err != nil {
			return err
		}
		return tx.appendMotion(m, conclave.EventMotionEscalated, string(conclave.ServiceCouncil), came)
	})
	return m, err
}

func (s motionStore) Await(ctx context.Context, id conclave.MotionID, epoch int64, came string) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		if err := tx.settle(WorkMotion, string(id), epoch); err != nil {
			return err
		}
		st, err := tx.motion(id)
		if err != nil {
			return err
		}
		st.Motion.State = conclave.MotionWaiting
		st.Motion.Ladder = append(st.Motion.Ladder, came)
		if err := tx.putMotion(st.Motion); err != nil {
			return err
		}
		return tx.appendMotion(st.Motion, conclave.EventMotionEscalated, string(conclave.ServiceCouncil), "waits for a human: "+came)
	})
}

func (s motionStore) Decide(ctx context.Context, d conclave.Decision, epoch int64) error {
	id := d.Motion.ID
	return s.db.Update(ctx, func(tx *Tx) error {
		st, err := tx.motion(id)
		if err != nil {
			return err
		}
		if epoch == 0 && st.Motion.State != conclave.MotionWaiting {
			return conclave.Errorf(conclave.ErrConflict, "motion %s does not wait for a human; it is %s", id, st.Motion.State)
		}
		if epoch != 0 {
			if err := tx.settle(WorkMotion, string(id), epoch); err != nil {
				return err
			}
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		doc, err := encode(d)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO decisions (motion, tenant, run, decided, doc)
			SELECT id, tenant, run, $2, $3 FROM motions WHERE id = $1`, string(id), now.UnixMicro(), doc); err != nil {
			return err
		}
		st.Motion.State, st.Motion.Ladder = conclave.MotionDecided, d.Ladder
		if err := tx.putMotion(st.Motion); err != nil {
			return err
		}
		by, _, _ := strings.Cut(d.DecidedBy, " ")
		text := string(d.Outcome)
		if d.Option != "" {
			text += " " + d.Option
		}
		text = fmt.Sprintf("%s: %s (%s)", d.Motion.Title, text, d.Reason)
		if len(d.Absent) > 0 {
			text += "; absent: " + strings.Join(d.Absent, ", ")
		}
		return tx.appendMotion(st.Motion, conclave.EventMotionDecided, d.DecidedBy, text,
			map[string]any{"outcome": d.Outcome, "by": by, "subject": d.Motion.Subject.Kind, "seconds": now.Sub(st.Motion.Created).Seconds()})
	})
}

func (s motionStore) Get(ctx context.Context, id conclave.MotionID) (conclave.MotionStatus, error) {
	var st conclave.MotionStatus
	err := s.db.View(ctx, func(tx *Tx) error {
		var tenant conclave.TenantID
		if found, err := tx.scan([]any{&tenant}, `SELECT tenant FROM motions WHERE id = $1`, string(id)); err != nil {
			return err
		} else if !found || tenant != tenantOf(ctx) {
			return conclave.Errorf(conclave.ErrNotFound, "no motion %q", id)
		}
		var err error
		st, err = tx.motion(id)
		return err
	})
	return st, err
}

func (s motionStore) Wait(ctx context.Context, id conclave.MotionID, d time.Duration) error {
	return s.db.wait(ctx, string(id), d, func() (bool, error) {
		st, err := s.Get(ctx, id)
		return st.Motion.State != conclave.MotionOpen, err
	})
}

func (s motionStore) WaitBallots(ctx context.Context, id conclave.MotionID, known int, d time.Duration) (int, error) {
	n := known
	err := s.db.wait(ctx, string(id), d, func() (bool, error) {
		err := s.db.View(ctx, func(tx *Tx) error {
			_, err := tx.scan([]any{&n}, `SELECT count(*) FROM ballots WHERE motion = $1`, string(id))
			return err
		})
		return n != known, err
	})
	return n, err
}

func (s motionStore) List(ctx context.Context, in conclave.ListMotions) ([]conclave.MotionStatus, error) {
	limit, err := pageLimit(in.Page)
	if err != nil {
		return nil, err
	}
	list := []conclave.MotionStatus{}
	err = s.db.View(ctx, func(tx *Tx) error {
		motions, err := listDocs[conclave.Motion](tx, `SELECT doc FROM motions WHERE tenant = $1 AND ($2 = '' OR run = $2) AND ($3 = '' OR id < $3)
			ORDER BY created DESC, id DESC LIMIT $4`, string(tenantOf(ctx)), string(in.Run), in.Before, limit)
		if err != nil {
			return err
		}
		for _, m := range motions {
			st, err := tx.motion(m.ID)
			if err != nil {
				return err
			}
			list = append(list, st)
		}
		return nil
	})
	return list, err
}
