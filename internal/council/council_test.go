package council_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/council"
	"conclave/internal/identity"
	"conclave/internal/pgtest"
	"conclave/internal/store"
)

// onEach runs a test on SQLite and on the Postgres that CONCLAVE_TEST_POSTGRES names.
func onEach(t *testing.T, test func(t *testing.T, db *store.DB)) {
	open := func(t *testing.T, url string) *store.DB {
		db, err := store.Open(t.Context(), store.Options{URL: url, Owner: "test", Alone: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))) })
	t.Run("postgres", func(t *testing.T) { test(t, open(t, pgtest.URL(t))) })
}

func newCouncil(t *testing.T, db *store.DB, v *voters) *council.Service {
	t.Helper()
	key, err := identity.LoadOrCreate(t.TempDir(), "council")
	if err != nil {
		t.Fatal(err)
	}
	return council.New(council.Options{Store: db.Motions(), Outcomes: db.Outcomes(), Hub: v, Key: key})
}

func motion(change ...func(*conclave.Motion)) conclave.Motion {
	m := conclave.Motion{Kind: conclave.MotionApprove, Title: "Take the plan?", Subject: conclave.Subject{Kind: "plan", ID: "plan-1", Hash: "sha256:1"},
		Authors: []conclave.AgentName{"planner-1"}, Voters: []string{"roles/architect", "roles/security", "roles/qa"},
		Rule: conclave.Rule{Name: "threshold", Threshold: 0.66, Quorum: 2}, Rounds: 2}
	for _, c := range change {
		c(&m)
	}
	return m
}

func convene(t *testing.T, s *council.Service, m conclave.Motion) conclave.Motion {
	t.Helper()
	m, err := s.Convene(t.Context(), conclave.ConveneMotion{Motion: m})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// decided brings a motion to its end and returns how it stands then.
func decided(t *testing.T, s *council.Service, m conclave.Motion) conclave.MotionStatus {
	t.Helper()
	m = convene(t, s, m)
	if err := s.HandleMotion(t.Context(), string(m.ID), 0); err != nil {
		t.Fatal(err)
	}
	return get(t, s, m.ID)
}

func get(t *testing.T, s *council.Service, id conclave.MotionID) conclave.MotionStatus {
	t.Helper()
	st, err := s.Get(t.Context(), conclave.GetMotion{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// byRole answers with one verdict for each role; "fail" is a voter that fails.
func byRole(verdicts map[conclave.Role]conclave.Verdict) func(conclave.Agent, conclave.Assignment) (conclave.VoteReply, string) {
	return func(a conclave.Agent, _ conclave.Assignment) (conclave.VoteReply, string) {
		if verdicts[a.Role] == "fail" {
			return conclave.VoteReply{}, "unavailable: no brain"
		}
		return conclave.VoteReply{Verdict: verdicts[a.Role], Reasons: []string{"as " + string(a.Role)}}, ""
	}
}

const (
	yes = conclave.VerdictApprove
	no  = conclave.VerdictReject
)

type votes = map[conclave.Role]conclave.Verdict

func TestConveneRefuses(t *testing.T) {
	s := council.New(council.Options{}) // refused before anything is used
	for name, change := range map[string]func(*conclave.Motion){
		"rule":           func(m *conclave.Motion) { m.Rule.Threshold = 1.1 },
		"title":          func(m *conclave.Motion) { m.Title = " " },
		"hash":           func(m *conclave.Motion) { m.Subject.Hash = "" },
		"no voters":      func(m *conclave.Motion) { m.Voters = nil },
		"quorum":         func(m *conclave.Motion) { m.Rule.Quorum = 4 },
		"voter's form":   func(m *conclave.Motion) { m.Voters[0] = "architect" },
		"voter's name":   func(m *conclave.Motion) { m.Voters[0] = "roles/" },
		"voter twice":    func(m *conclave.Motion) { m.Voters[0] = m.Voters[1] },
		"senior":         func(m *conclave.Motion) { m.Senior = "planner" },
		"far deadline":   func(m *conclave.Motion) { m.Deadline = time.Now().Add(8 * 24 * time.Hour) },
		"nothing ranked": func(m *conclave.Motion) { m.Kind, m.Rule.Name = conclave.MotionRank, "condorcet" },
		"option twice": func(m *conclave.Motion) {
			m.Kind, m.Rule.Name, m.Options = conclave.MotionRank, "condorcet", []string{"a", "a"}
		},
	} {
		m := motion()
		change(&m)
		if _, err := s.Convene(t.Context(), conclave.ConveneMotion{Motion: m}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCastRefuses(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1", "qa-2", "qa-3", "developer-1", "expert-1")
		s := newCouncil(t, db, v)
		m := convene(t, s, motion(func(m *conclave.Motion) { m.Senior, m.Voters = "roles/expert", append(m.Voters, "agents/qa-3") }))
		resigned := func(by conclave.AgentName, change func(*conclave.Ballot)) conclave.Ballot {
			b := v.ballot("security-1", m, conclave.VoteReply{Verdict: yes})
			change(&b)
			if err := identity.SignBallot(v.keys[by], &b); err != nil {
				t.Fatal(err)
			}
			return b
		}
		forged := v.ballot("security-1", m, conclave.VoteReply{Verdict: no})
		forged.Verdict = yes
		cast := func(b conclave.Ballot) error {
			r, err := s.Cast(t.Context(), conclave.CastBallot{ID: m.ID, Ballot: b})
			if r.Counted != (err == nil) {
				t.Errorf("receipt %+v with the error %v", r, err)
			}
			return err
		}
		if err := cast(v.ballot("qa-1", m, conclave.VoteReply{Verdict: no})); err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			ballot conclave.Ballot
			kind   error
		}{
			"altered after signing":  {forged, conclave.ErrDenied},
			"another's key":          {resigned("qa-2", func(b *conclave.Ballot) {}), conclave.ErrDenied},
			"another role":           {resigned("security-1", func(b *conclave.Ballot) { b.Role = "architect" }), conclave.ErrDenied},
			"not registered":         {resigned("security-1", func(b *conclave.Ballot) { b.Voter = "security-9" }), conclave.ErrDenied},
			"no seat":                {v.ballot("developer-1", m, conclave.VoteReply{Verdict: yes}), conclave.ErrDenied},
			"senior before its turn": {v.ballot("expert-1", m, conclave.VoteReply{Verdict: yes}), conclave.ErrDenied},
			"author":                 {v.ballot("planner-1", m, conclave.VoteReply{Verdict: yes}), conclave.ErrDenied},
			"another subject":        {resigned("security-1", func(b *conclave.Ballot) { b.Subject.Hash = "sha256:2" }), conclave.ErrConflict},
			"another motion":         {resigned("security-1", func(b *conclave.Ballot) { b.Motion = "motion-2" }), conclave.ErrConflict},
			"round before":           {resigned("security-1", func(b *conclave.Ballot) { b.Round = 0 }), conclave.ErrConflict},
			"round to come":          {resigned("security-1", func(b *conclave.Ballot) { b.Round = 2 }), conclave.ErrConflict},
			"no verdict":             {resigned("security-1", func(b *conclave.Ballot) { b.Verdict = "yes" }), conclave.ErrInvalid},
			"second ballot":          {v.ballot("qa-1", m, conclave.VoteReply{Verdict: yes}), conclave.ErrConflict},
			"seat that is taken":     {v.ballot("qa-2", m, conclave.VoteReply{Verdict: yes}), conclave.ErrConflict},
		} {
			if err := cast(tt.ballot); !errors.Is(err, tt.kind) {
				t.Errorf("%s: %v, want %v", name, err, tt.kind)
			}
		}
		if err := cast(v.ballot("qa-3", m, conclave.VoteReply{Verdict: yes})); err != nil {
			t.Errorf("a voter with a seat of its own: %v", err)
		}
		if st := get(t, s, m.ID); len(st.Ballots) != 2 || st.Ballots[0].Voter != "qa-1" || st.Ballots[0].Verdict != no {
			t.Errorf("ballots %+v, want those of qa-1 and qa-3", st.Ballots)
		}
		refused, err := db.Events().List(t.Context(), conclave.EventFilter{Kinds: []conclave.EventKind{conclave.EventBallotRefused}})
		if err != nil || len(refused) != 14 {
			t.Errorf("%d refusals are on the record, %v; want 14", len(refused), err)
		}
		late := convene(t, s, motion(func(m *conclave.Motion) { m.Deadline = time.Now().Add(-time.Second) }))
		if _, err := s.Cast(t.Context(), conclave.CastBallot{ID: late.ID, Ballot: v.ballot("qa-1", late, conclave.VoteReply{Verdict: yes})}); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("a ballot after the deadline: %v", err)
		}
	})
}

func TestLadder(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		t.Run("a failed voter is absent", func(t *testing.T) {
			v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
			v.says = byRole(votes{"architect": yes, "security": yes, "qa": "fail"})
			st := decided(t, newCouncil(t, db, v), motion())
			d := st.Decision
			if d == nil || d.Outcome != conclave.OutcomeApproved || d.DecidedBy != "vote" || len(d.Ballots) != 2 || !reflect.DeepEqual(d.Absent, []string{"roles/qa"}) {
				t.Fatalf("decision %+v", d)
			}
		})
		t.Run("failed voters are no yes", func(t *testing.T) {
			v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
			v.says = byRole(votes{"architect": yes, "security": "fail", "qa": "fail"})
			st := decided(t, newCouncil(t, db, v), motion())
			if st.Decision != nil || st.Motion.State != conclave.MotionWaiting || !strings.Contains(strings.Join(st.Motion.Ladder, "\n"), "roles/qa (") {
				t.Fatalf("motion %+v", st.Motion)
			}
		})
		t.Run("ends when nothing can change", func(t *testing.T) {
			v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
			v.says = byRole(votes{"architect": yes, "security": yes, "qa": no})
			defer v.hold("roles/qa")() // never answers
			st := decided(t, newCouncil(t, db, v), motion())
			if d := st.Decision; d == nil || d.Outcome != conclave.OutcomeApproved || !reflect.DeepEqual(d.Absent, []string{"roles/qa"}) {
				t.Fatalf("decision %+v", d)
			}
			if got := v.excused(); !slices.Equal(got, []string{"roles/qa"}) {
				t.Errorf("excused %q; who still thinks is to be told that the vote is over", got)
			}
		})
		t.Run("a ballot that is handed in counts while others are asked", func(t *testing.T) {
			v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
			for _, seat := range []string{"roles/architect", "roles/security", "roles/qa"} {
				defer v.hold(seat)() // never answers
			}
			s := newCouncil(t, db, v)
			m := convene(t, s, motion())
			done := make(chan error, 1)
			go func() { done <- s.HandleMotion(t.Context(), string(m.ID), 0) }()
			for range 3 {
				<-v.asked
			}
			for _, name := range []conclave.AgentName{"architect-1", "security-1"} {
				if _, err := s.Cast(t.Context(), conclave.CastBallot{ID: m.ID, Ballot: v.ballot(name, m, conclave.VoteReply{Verdict: yes})}); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if d := get(t, s, m.ID).Decision; d == nil || d.Outcome != conclave.OutcomeApproved || len(d.Ballots) != 2 {
				t.Fatalf("decision %+v", d)
			}
		})
		t.Run("the second round reads the first", func(t *testing.T) {
			v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
			v.says = func(a conclave.Agent, about conclave.Assignment) (conclave.VoteReply, string) {
				if about.Motion.Round == 1 && len(about.Ballots) != 0 {
					t.Errorf("the first round is not blind: %+v", about.Ballots)
				}
				if about.Motion.Round == 2 && len(about.Ballots) != 2 {
					t.Errorf("%s reads %d ballots in round 2, want 2", a.Name, len(about.Ballots))
				}
				if a.Role == "qa" {
					return conclave.VoteReply{}, "timeout: too slow"
				}
				if a.Role == "security" && about.Motion.Round == 1 {
					return conclave.VoteReply{Verdict: no, Reasons: []string{"not yet"}}, ""
				}
				return conclave.VoteReply{Verdict: yes, Reasons: []string{"good"}}, ""
			}
			d := decided(t, newCouncil(t, db, v), motion()).Decision
			if d == nil || d.Outcome != conclave.OutcomeApproved || d.Motion.Round != 2 || len(d.Ladder) != 2 || len(d.Dissent) != 0 {
				t.Fatalf("decision %+v", d)
			}
		})
		t.Run("the senior decides", func(t *testing.T) {
			v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1", "expert-1")
			v.says = byRole(votes{"architect": yes, "security": no, "qa": "fail", "expert": no})
			d := decided(t, newCouncil(t, db, v), motion(func(m *conclave.Motion) { m.Senior = "roles/expert" })).Decision
			if d == nil || d.Outcome != conclave.OutcomeRejected || d.DecidedBy != "senior expert-1" {
				t.Fatalf("decision %+v", d)
			}
			if !reflect.DeepEqual(d.Absent, []string{"roles/qa"}) || !reflect.DeepEqual(d.Dissent, []string{"architect-1: as architect"}) {
				t.Errorf("absent %q, dissent %q", d.Absent, d.Dissent)
			}
			if err := council.Verify(*d); err != nil {
				t.Error(err)
			}
		})
		t.Run("a human resolves", func(t *testing.T) {
			v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
			v.says = byRole(votes{"architect": yes, "security": no, "qa": conclave.VerdictAbstain})
			s := newCouncil(t, db, v)
			st := decided(t, s, motion())
			if st.Motion.State != conclave.MotionWaiting || len(st.Motion.Ladder) != 2 {
				t.Fatalf("motion %+v", st.Motion)
			}
			ctx := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada"})
			if _, err := s.Resolve(ctx, conclave.ResolveMotion{ID: st.Motion.ID, Verdict: "maybe"}); !errors.Is(err, conclave.ErrInvalid) {
				t.Errorf("a verdict that is none: %v", err)
			}
			d, err := s.Resolve(ctx, conclave.ResolveMotion{Key: "k", ID: st.Motion.ID, Verdict: yes})
			if err != nil || d.Outcome != conclave.OutcomeApproved || d.DecidedBy != "human ada" || !reflect.DeepEqual(d.Dissent, []string{"security-1: as security"}) {
				t.Fatalf("decision %+v, %v", d, err)
			}
			if err := council.Verify(d); err != nil {
				t.Error(err)
			}
			if again, err := s.Resolve(ctx, conclave.ResolveMotion{Key: "k", ID: st.Motion.ID, Verdict: yes}); err != nil || again.Signature != d.Signature {
				t.Errorf("the same word again: %+v, %v", again, err)
			}
			if _, err := s.Resolve(ctx, conclave.ResolveMotion{ID: st.Motion.ID, Verdict: no}); !errors.Is(err, conclave.ErrConflict) {
				t.Errorf("another word later: %v", err)
			}
		})
		t.Run("options are ranked", func(t *testing.T) {
			v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
			v.says = func(a conclave.Agent, _ conclave.Assignment) (conclave.VoteReply, string) {
				if a.Role == "qa" {
					return conclave.VoteReply{Ranking: []string{"sql", "file"}, Reasons: []string{"tests"}}, ""
				}
				return conclave.VoteReply{Ranking: []string{"file", "sql"}}, ""
			}
			d := decided(t, newCouncil(t, db, v), motion(func(m *conclave.Motion) {
				m.Kind, m.Rule, m.Options = conclave.MotionRank, conclave.Rule{Name: "condorcet", Quorum: 2}, []string{"sql", "file"}
			})).Decision
			if d == nil || d.Outcome != conclave.OutcomeChosen || d.Option != "file" {
				t.Fatalf("decision %+v", d)
			}
			if err := council.Verify(*d); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestVerify(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
		v.says = byRole(votes{"architect": yes, "security": yes, "qa": no})
		st := decided(t, newCouncil(t, db, v), motion(func(m *conclave.Motion) { m.Rule.Quorum = 3 }))
		if st.Decision == nil {
			t.Fatalf("motion %+v", st.Motion)
		}
		if err := council.Verify(*st.Decision); err != nil {
			t.Fatal(err)
		}
		key, err := identity.LoadOrCreate(t.TempDir(), "council")
		if err != nil {
			t.Fatal(err)
		}
		for name, tamper := range map[string]func(*conclave.Decision){
			"outcome":    func(d *conclave.Decision) { d.Outcome = conclave.OutcomeRejected },
			"option":     func(d *conclave.Decision) { d.Option = "b" },
			"threshold":  func(d *conclave.Decision) { d.Motion.Rule.Threshold = 1 },
			"quorum":     func(d *conclave.Decision) { d.Motion.Rule.Quorum = 1; d.Outcome = conclave.OutcomeRejected },
			"seats":      func(d *conclave.Decision) { d.Motion.Voters = []string{"roles/qa"} },
			"subject":    func(d *conclave.Decision) { d.Motion.Subject.Hash = "sha256:2" },
			"authors":    func(d *conclave.Decision) { d.Motion.Authors = []conclave.AgentName{"qa-1"} },
			"verdict":    func(d *conclave.Decision) { d.Ballots[0].Verdict = conclave.VerdictAbstain },
			"reasons":    func(d *conclave.Decision) { d.Ballots[0].Reasons = []string{"because"} },
			"voter":      func(d *conclave.Decision) { d.Ballots[0].Voter = "qa-2" },
			"ballots":    func(d *conclave.Decision) { d.Ballots = d.Ballots[:1] },
			"ballot key": func(d *conclave.Decision) { d.Ballots[0].PublicKey = key.Public() },
		} {
			d := *st.Decision
			d.Ballots = append([]conclave.Ballot{}, d.Ballots...)
			tamper(&d)
			if err := council.Verify(d); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("%s altered: %v", name, err)
			}
			// Even a council that signs it again can't make the ballots say it.
			if err := identity.SignDecision(key, &d); err != nil {
				t.Fatal(err)
			}
			if err := council.Verify(d); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("%s altered and signed again: %v", name, err)
			}
		}
		for name, tamper := range map[string]func(*conclave.Decision){
			"absent":     func(d *conclave.Decision) { d.Absent = []string{"roles/qa"} },
			"dissent":    func(d *conclave.Decision) { d.Dissent = nil },
			"ladder":     func(d *conclave.Decision) { d.Ladder = nil },
			"reason":     func(d *conclave.Decision) { d.Reason = "" },
			"decided by": func(d *conclave.Decision) { d.DecidedBy = "human ada" },
			"time":       func(d *conclave.Decision) { d.Decided = d.Decided.Add(time.Second) },
			"title":      func(d *conclave.Decision) { d.Motion.Title = "Another" },
			"key":        func(d *conclave.Decision) { d.PublicKey = key.Public() },
		} {
			d := *st.Decision
			tamper(&d)
			if err := council.Verify(d); !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("%s altered: %v", name, err)
			}
		}
	})
}

// work lets the queue hand motions to the council until the test ends. At its
// start it puts back what a dead worker held.
func work(t *testing.T, db *store.DB, s *council.Service) {
	t.Helper()
	db.Handle(store.WorkMotion, 4, s.HandleMotion)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- db.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func await(t *testing.T, s *council.Service, id conclave.MotionID) conclave.Decision {
	t.Helper()
	st, err := s.Get(t.Context(), conclave.GetMotion{ID: id, Wait: 60000})
	if err != nil || st.Decision == nil {
		t.Fatalf("motion %+v, %v", st.Motion, err)
	}
	return *st.Decision
}

// A worker that stops in the middle of a round, or while the senior is asked,
// leaves a motion that the next worker goes on with; nobody is asked twice.
func TestCrash(t *testing.T) {
	for name, tt := range map[string]struct {
		at     string // who has not answered when it stops
		asked  []string
		result string
	}{
		"in a round":  {"roles/qa", []string{"1/vote/roles/architect", "1/vote/roles/qa", "1/vote/roles/security"}, "vote"},
		"with senior": {"roles/expert", []string{"1/vote/roles/architect", "1/vote/roles/qa", "1/vote/roles/security", "2/senior/roles/expert"}, "senior expert-1"},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, db *store.DB) {
				v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1", "expert-1")
				v.says = byRole(votes{"architect": yes, "security": no, "qa": yes, "expert": yes})
				if tt.at == "roles/expert" {
					v.says = byRole(votes{"architect": yes, "security": no, "qa": conclave.VerdictAbstain, "expert": yes})
				}
				s := newCouncil(t, db, v)
				m := convene(t, s, motion(func(m *conclave.Motion) { m.Senior, m.Rounds = "roles/expert", 1 }))
				release := v.hold(tt.at)
				ctx, stop := context.WithCancel(t.Context())
				stopped := make(chan error, 1)
				go func() { stopped <- s.HandleMotion(ctx, string(m.ID), 0) }()
				<-v.asked
				stop()
				if err := <-stopped; err != nil {
					t.Fatal(err)
				}
				if st := get(t, s, m.ID); st.Motion.State != conclave.MotionOpen {
					t.Fatalf("motion %+v", st.Motion)
				}
				if got := v.excused(); len(got) != 0 {
					t.Errorf("excused %q, who are to be asked for their answers again", got)
				}
				release()
				work(t, db, s)
				d := await(t, s, m.ID)
				if d.Outcome != conclave.OutcomeApproved || d.DecidedBy != tt.result {
					t.Errorf("decision %+v", d)
				}
				if got := v.questions(); !reflect.DeepEqual(got, tt.asked) {
					t.Errorf("asked %q, want %q", got, tt.asked)
				}
			})
		})
	}
}

// A worker that slept while another took over can't write any more.
func TestTakenOver(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		v := newVoters(t, "planner-1", "architect-1", "security-1", "qa-1")
		v.says = byRole(votes{"architect": yes, "security": yes, "qa": yes})
		s := newCouncil(t, db, v)
		m := convene(t, s, motion(func(m *conclave.Motion) { m.Rule.Quorum = 3 }))
		release := v.hold("roles/qa")
		first := make(chan error, 1)
		go func() { first <- s.HandleMotion(t.Context(), string(m.ID), 0) }()
		<-v.asked
		work(t, db, s) // takes the motion over
		<-v.asked
		if _, err := db.Motions().Advance(t.Context(), m.ID, 1, "late"); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("advance with the old epoch: %v", err)
		}
		if err := db.Motions().Await(t.Context(), m.ID, 1, "late"); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("await with the old epoch: %v", err)
		}
		stale := conclave.Decision{Motion: m, Outcome: conclave.OutcomeRejected}
		if err := db.Motions().Decide(t.Context(), stale, 1); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("decide with the old epoch: %v", err)
		}
		release()
		if d := await(t, s, m.ID); d.Outcome != conclave.OutcomeApproved || len(d.Ballots) != 3 {
			t.Errorf("decision %+v", d)
		}
		if err := <-first; err != nil {
			t.Errorf("the first worker: %v", err)
		}
	})
}
