package council_test

import (
	"testing"
	"time"

	"conclave"
	"conclave/internal/council"
	"conclave/internal/identity"
	"conclave/internal/store"
)

// What a motion leaves out comes from the installation's rules, and the same
// ballots then come to what these say. What it does say holds.
func TestRulesOfTheInstallation(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		v := newVoters(t, "architect-1", "security-1", "qa-1")
		v.says = byRole(votes{"architect": yes, "security": yes, "qa": no}) // two thirds
		key, err := identity.LoadOrCreate(t.TempDir(), "council")
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			rules council.Rules
			own   float64
			want  conclave.Outcome
		}{
			{council.Rules{}, 0, conclave.OutcomeRejected},
			{council.Rules{Threshold: 0.6}, 0, conclave.OutcomeApproved},
			{council.Rules{Threshold: 0.6}, 0.7, conclave.OutcomeRejected},
			{council.Rules{Threshold: 0.9}, 0.5, conclave.OutcomeApproved},
		} {
			tt.rules.Settle = true
			s := council.New(council.Options{Store: db.Motions(), Outcomes: db.Outcomes(), Hub: v, Key: key, Rules: tt.rules})
			st := decided(t, s, motion(func(m *conclave.Motion) { m.Rule.Threshold = tt.own }))
			if st.Decision == nil || st.Decision.Outcome != tt.want {
				t.Errorf("%+v, own threshold %v: %+v, want %s", tt.rules, tt.own, st.Decision, tt.want)
			}
		}
		s := council.New(council.Options{Store: db.Motions(), Outcomes: db.Outcomes(), Hub: v, Key: key, Rules: council.Rules{MaxTime: 40 * time.Minute, Escalate: 7 * time.Minute}})
		m := convene(t, s, motion())
		if d := m.Deadline.Sub(m.Escalate); d != 33*time.Minute || time.Until(m.Deadline) > 40*time.Minute {
			t.Errorf("deadline %v, escalation %v", m.Deadline, m.Escalate)
		}
		own := time.Now().Add(time.Minute).UTC().Truncate(time.Second)
		if m := convene(t, s, motion(func(m *conclave.Motion) { m.Deadline = own })); !m.Deadline.Equal(own) || !m.Escalate.IsZero() {
			t.Errorf("own deadline %v became %v, escalation %v", own, m.Deadline, m.Escalate)
		}
	})
}
