package consensus_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"conclave"
	"conclave/internal/consensus"
)

func approveMotion(threshold float64, quorum int) conclave.Motion {
	return conclave.Motion{
		ID: "m1", Kind: conclave.MotionApprove, Round: 2,
		Subject: conclave.Subject{Kind: "plan", ID: "p1", Hash: "sha256:abc"},
		Authors: []conclave.AgentName{"planner-1"},
		Rule:    conclave.Rule{Name: consensus.RuleThreshold, Threshold: threshold, Quorum: quorum},
	}
}

func rankMotion(quorum int, options ...string) conclave.Motion {
	m := approveMotion(0, quorum)
	m.Kind = conclave.MotionRank
	m.Options = options
	m.Rule = conclave.Rule{Name: consensus.RuleCondorcet, Quorum: quorum}
	return m
}

func ballot(m conclave.Motion, voter int) conclave.Ballot {
	return conclave.Ballot{Motion: m.ID, Round: m.Round, Subject: m.Subject, Voter: conclave.AgentName(fmt.Sprintf("v%d", voter))}
}

func verdicts(m conclave.Motion, text string) []conclave.Ballot {
	names := map[rune]conclave.Verdict{'y': conclave.VerdictApprove, 'n': conclave.VerdictReject, 'a': conclave.VerdictAbstain}
	var out []conclave.Ballot
	for i, r := range text {
		b := ballot(m, i)
		b.Verdict = names[r]
		out = append(out, b)
	}
	return out
}

// rankings makes n ballots of each "n:ABC".
func rankings(m conclave.Motion, groups ...string) []conclave.Ballot {
	var out []conclave.Ballot
	for _, g := range groups {
		var n int
		var order string
		if _, err := fmt.Sscanf(g, "%d:%s", &n, &order); err != nil {
			panic(err)
		}
		for range n {
			b := ballot(m, len(out))
			b.Ranking = strings.Split(order, "")
			out = append(out, b)
		}
	}
	return out
}

func TestThreshold(t *testing.T) {
	tests := []struct {
		name       string
		threshold  float64
		quorum     int
		electorate int
		ballots    string
		want       conclave.Outcome
		final      bool
	}{
		{"nobody voted", 0.5, 0, 3, "", conclave.OutcomeUndecided, false},
		{"nobody can vote", 0.5, 0, 0, "", conclave.OutcomeUndecided, true},
		{"exactly at the threshold", 0.6, 3, 5, "yyynn", conclave.OutcomeApproved, true},
		{"just below", 0.61, 3, 5, "yyynn", conclave.OutcomeRejected, true},
		{"two thirds", 2.0 / 3, 3, 3, "yyn", conclave.OutcomeApproved, true},
		{"abstentions don't count in the share", 0.6, 1, 5, "yaaaa", conclave.OutcomeApproved, true},
		{"abstentions don't count in the quorum", 0.6, 2, 5, "yaaaa", conclave.OutcomeUndecided, true},
		{"the absent are no yes", 0.6, 3, 5, "yy", conclave.OutcomeUndecided, false},
		{"the absent may still say no", 0.6, 2, 5, "yyy", conclave.OutcomeApproved, true},
		{"one more no would tip it", 0.7, 2, 5, "yyyy", conclave.OutcomeApproved, true},
		{"two more noes would tip it", 0.7, 2, 6, "yyyy", conclave.OutcomeApproved, false},
		{"can't be reached any more", 0.9, 1, 4, "n", conclave.OutcomeRejected, true},
		{"can be reached still", 0.5, 1, 4, "n", conclave.OutcomeRejected, false},
		{"unanimity is broken by one", 1, 3, 9, "yyn", conclave.OutcomeRejected, true},
		{"the quorum can't be met", 0.5, 4, 4, "yya", conclave.OutcomeUndecided, true},
		{"more ballots than the electorate", 0.5, 1, 1, "yyn", conclave.OutcomeApproved, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := approveMotion(tt.threshold, tt.quorum)
			got := consensus.Decide(m, tt.electorate, verdicts(m, tt.ballots))
			if got.Outcome != tt.want || got.Final != tt.final {
				t.Errorf("got %s, final %v; want %s, final %v (%s)", got.Outcome, got.Final, tt.want, tt.final, got.Reason)
			}
		})
	}
}

func TestReasonHoldsTheCounts(t *testing.T) {
	m := approveMotion(0.75, 2)
	got := consensus.Decide(m, 6, verdicts(m, "yyyna")).Reason
	const want = "3 yes of 4 is 0.750, at or above the threshold 0.75 (4 judged, 1 abstained, 1 absent, quorum 2)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The example of section 3.1 of Schulze's paper, and textbook cases.
func TestSchulze(t *testing.T) {
	tests := []struct {
		name    string
		options []string
		ballots []string
		want    string // ranking
		reason  string
	}{
		{"45 voters of the paper", []string{"A", "B", "C", "D", "E"},
			[]string{"5:ACBED", "5:ADECB", "8:BEDAC", "3:CABED", "7:CAEBD", "2:CBADE", "7:DCEBA", "8:EBADC"},
			"EACBD", "no option beats every other; E has the strongest paths"},
		{"a Condorcet winner that few put first", []string{"A", "B", "C"},
			[]string{"4:ABC", "4:CBA", "1:BAC"}, "BAC", "B beats every other option"},
		{"a perfect cycle falls to the listed order", []string{"C", "A", "B"},
			[]string{"1:ABC", "1:BCA", "1:CAB"}, "CAB", "tie-break"},
		{"a tie between two", []string{"A", "B"}, []string{"1:AB", "1:BA"}, "AB", "A ties with B"},
		{"a tie that the other pairs break", []string{"A", "B", "C"}, []string{"1:BCA", "1:ABC"}, "BAC", "B ties with A and wins"},
		{"what is not ranked is last", []string{"A", "B", "C"}, []string{"1:B"}, "BAC", "B beats"},
		{"a single option", []string{"A"}, []string{"1:A"}, "A", "A beats"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := rankMotion(1, tt.options...)
			bs := rankings(m, tt.ballots...)
			got := consensus.Decide(m, len(bs), bs)
			if ranking := strings.Join(got.Ranking, ""); ranking != tt.want || got.Option != tt.want[:1] || got.Outcome != conclave.OutcomeChosen {
				t.Errorf("got %s %s of %s, want %s", got.Outcome, got.Option, ranking, tt.want)
			}
			if !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("reason %q lacks %q", got.Reason, tt.reason)
			}
			if !got.Final {
				t.Error("everybody voted, but the result is not final")
			}
		})
	}
}

func TestCondorcetWithoutQuorum(t *testing.T) {
	m := rankMotion(3, "A", "B")
	bs := rankings(m, "2:AB")
	if got := consensus.Decide(m, 5, bs); got.Outcome != conclave.OutcomeUndecided || got.Final || got.Option != "" {
		t.Errorf("quorum not met: got %+v", got)
	}
	if got := consensus.Decide(m, 2, bs); !got.Final {
		t.Error("the quorum can't be met any more, but the result is not final")
	}
}

func TestCheck(t *testing.T) {
	approve, rank := approveMotion(0.5, 1), rankMotion(1, "A", "B")
	with := func(m conclave.Motion, change func(*conclave.Ballot)) conclave.Ballot {
		b := ballot(m, 0)
		b.Verdict, b.Ranking = conclave.VerdictApprove, []string{"A"}
		change(&b)
		return b
	}
	tests := []struct {
		name string
		m    conclave.Motion
		b    conclave.Ballot
		want error
	}{
		{"counts", approve, with(approve, func(*conclave.Ballot) {}), nil},
		{"ranking counts", rank, with(rank, func(*conclave.Ballot) {}), nil},
		{"abstention counts in a ranking", rank, with(rank, func(b *conclave.Ballot) { b.Verdict, b.Ranking = conclave.VerdictAbstain, nil }), nil},
		{"another motion", approve, with(approve, func(b *conclave.Ballot) { b.Motion = "m2" }), conclave.ErrConflict},
		{"a changed subject", approve, with(approve, func(b *conclave.Ballot) { b.Subject.Hash = "sha256:old" }), conclave.ErrConflict},
		{"an earlier round", approve, with(approve, func(b *conclave.Ballot) { b.Round = 1 }), conclave.ErrConflict},
		{"a later round", approve, with(approve, func(b *conclave.Ballot) { b.Round = 3 }), conclave.ErrConflict},
		{"the author", approve, with(approve, func(b *conclave.Ballot) { b.Voter = "planner-1" }), conclave.ErrDenied},
		{"nobody", approve, with(approve, func(b *conclave.Ballot) { b.Voter = "" }), conclave.ErrInvalid},
		{"no verdict", approve, with(approve, func(b *conclave.Ballot) { b.Verdict = "" }), conclave.ErrInvalid},
		{"an unknown option", rank, with(rank, func(b *conclave.Ballot) { b.Ranking = []string{"A", "Z"} }), conclave.ErrInvalid},
		{"an option twice", rank, with(rank, func(b *conclave.Ballot) { b.Ranking = []string{"A", "A"} }), conclave.ErrInvalid},
		{"no ranking", rank, with(rank, func(b *conclave.Ballot) { b.Ranking = nil }), conclave.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := consensus.Check(tt.m, tt.b); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			decided := consensus.Decide(tt.m, 1, []conclave.Ballot{tt.b}).Outcome != conclave.OutcomeUndecided
			if counts := tt.want == nil && tt.b.Verdict != conclave.VerdictAbstain; decided != counts {
				t.Errorf("decided by this ballot alone: %v, want %v", decided, counts)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	threshold := func(v float64, q int) conclave.Rule {
		return conclave.Rule{Name: consensus.RuleThreshold, Threshold: v, Quorum: q}
	}
	tests := []struct {
		rule conclave.Rule
		kind conclave.MotionKind
		ok   bool
	}{
		{threshold(0.5, 0), conclave.MotionApprove, true},
		{threshold(1, 3), conclave.MotionApprove, true},
		{threshold(0, 1), conclave.MotionApprove, false},
		{threshold(1.01, 1), conclave.MotionApprove, false},
		{threshold(math.NaN(), 1), conclave.MotionApprove, false},
		{threshold(0.5, -1), conclave.MotionApprove, false},
		{threshold(0.5, 1), conclave.MotionRank, false},
		{threshold(0.5, 1), "acclaim", false},
		{conclave.Rule{Name: consensus.RuleCondorcet}, conclave.MotionRank, true},
		{conclave.Rule{Name: consensus.RuleCondorcet}, conclave.MotionApprove, false},
		{conclave.Rule{Name: "majority", Threshold: 0.5}, conclave.MotionApprove, false},
	}
	for _, tt := range tests {
		err := consensus.Validate(tt.rule, tt.kind)
		if tt.ok != (err == nil) || (err != nil && !errors.Is(err, conclave.ErrInvalid)) {
			t.Errorf("%+v for %s: %v, want ok %v", tt.rule, tt.kind, err, tt.ok)
		}
		if !tt.ok {
			m := conclave.Motion{Kind: tt.kind, Rule: tt.rule}
			if got := consensus.Decide(m, 3, nil); got.Outcome != conclave.OutcomeUndecided || !got.Final || got.Reason == "" {
				t.Errorf("deciding by the bad rule %+v: %+v", tt.rule, got)
			}
		}
	}
}

func drawMotion(t *rapid.T) conclave.Motion {
	quorum := rapid.IntRange(0, 4).Draw(t, "quorum")
	if rapid.Bool().Draw(t, "rank") {
		return rankMotion(quorum, []string{"A", "B", "C", "D"}[:rapid.IntRange(1, 4).Draw(t, "options")]...)
	}
	return approveMotion(rapid.SampledFrom([]float64{0.01, 0.5, 0.6, 2.0 / 3, 0.75, 1}).Draw(t, "threshold"), quorum)
}

func drawBallots(t *rapid.T, m conclave.Motion, most int) []conclave.Ballot {
	n := rapid.IntRange(0, most).Draw(t, "ballots")
	out := make([]conclave.Ballot, n)
	for i := range out {
		choices := choices(m)
		out[i] = rapid.SampledFrom(choices).Draw(t, "ballot")
		out[i].Voter = ballot(m, i).Voter
	}
	return out
}

// choices lists everything that one voter can say.
func choices(m conclave.Motion) []conclave.Ballot {
	abstain := ballot(m, 0)
	abstain.Verdict = conclave.VerdictAbstain
	out := []conclave.Ballot{abstain}
	if m.Kind == conclave.MotionApprove {
		for _, v := range []conclave.Verdict{conclave.VerdictApprove, conclave.VerdictReject} {
			b := ballot(m, 0)
			b.Verdict = v
			out = append(out, b)
		}
		return out
	}
	var grow func(prefix []string)
	grow = func(prefix []string) {
		if len(prefix) > 0 {
			b := ballot(m, 0)
			b.Ranking = slices.Clone(prefix)
			out = append(out, b)
		}
		for _, o := range m.Options {
			if !slices.Contains(prefix, o) {
				grow(append(slices.Clone(prefix), o))
			}
		}
	}
	grow(nil)
	return out
}

func TestOrderOfBallotsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMotion(t)
		bs := drawBallots(t, m, 7)
		electorate := len(bs) + rapid.IntRange(0, 3).Draw(t, "absent")
		want := consensus.Decide(m, electorate, bs)
		shuffled := rapid.Permutation(bs).Draw(t, "shuffled")
		got := consensus.Decide(m, electorate, shuffled)
		if got.Outcome != want.Outcome || got.Option != want.Option || !slices.Equal(got.Ranking, want.Ranking) ||
			got.Reason != want.Reason || got.Final != want.Final {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// What nobody may add: second ballots of a voter, ballots of authors, of other
// rounds, subjects and motions.
func TestForgedBallotsDoNotCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMotion(t)
		bs := drawBallots(t, m, 5)
		want := consensus.Decide(m, len(bs)+2, bs)
		forged := slices.Clone(bs)
		for range rapid.IntRange(1, 6).Draw(t, "forgeries") {
			f := rapid.SampledFrom(choices(m)).Draw(t, "forged ballot")
			f.Voter = "stranger"
			forgeries := 4
			if len(bs) > 0 {
				forgeries = 5
			}
			switch rapid.IntRange(1, forgeries).Draw(t, "forgery") {
			case 1:
				f.Voter = m.Authors[0]
			case 2:
				f.Round = m.Round + rapid.SampledFrom([]int{-1, 1}).Draw(t, "round")
			case 3:
				f.Subject.Hash = "sha256:other"
			case 4:
				f.Motion = "m2"
			case 5:
				f.Voter = rapid.SampledFrom(bs).Draw(t, "victim").Voter
			}
			forged = append(forged, f)
		}
		got := consensus.Decide(m, len(bs)+2, forged)
		if got.Outcome != want.Outcome || got.Option != want.Option || got.Reason != want.Reason || got.Final != want.Final {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// A final result holds in every completion of the vote, and a threshold vote
// that is not final has a completion that turns it.
func TestFinalityIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMotion(t)
		if m.Kind == conclave.MotionRank && len(m.Options) > 3 {
			m.Options = m.Options[:3] // keeps the enumeration small
		}
		bs := drawBallots(t, m, 6)
		outstanding := rapid.IntRange(0, 2).Draw(t, "outstanding")
		electorate := len(bs) + outstanding
		now := consensus.Decide(m, electorate, bs)
		turned := false
		var complete func(bs []conclave.Ballot, left int)
		complete = func(bs []conclave.Ballot, left int) {
			later := consensus.Decide(m, electorate, bs)
			if later.Outcome != now.Outcome || later.Option != now.Option {
				turned = true
				if now.Final {
					t.Fatalf("final at %+v, yet turned to %+v", now, later)
				}
			}
			if left == 0 {
				return
			}
			for _, b := range choices(m) {
				b.Voter = conclave.AgentName(fmt.Sprintf("late%d", left))
				complete(append(slices.Clone(bs), b), left-1)
			}
		}
		complete(bs, outstanding)
		if m.Kind == conclave.MotionApprove && !now.Final && !turned {
			t.Fatalf("not final at %+v, yet nothing can turn it", now)
		}
	})
}

func TestMoreApprovalNeverRejects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := approveMotion(rapid.Float64Range(0.01, 1).Draw(t, "threshold"), rapid.IntRange(0, 4).Draw(t, "quorum"))
		bs := drawBallots(t, m, 8)
		if len(bs) == 0 || consensus.Decide(m, len(bs), bs).Outcome != conclave.OutcomeApproved {
			return
		}
		turn := rapid.IntRange(0, len(bs)-1).Draw(t, "turned voter")
		bs[turn].Verdict = conclave.VerdictApprove
		if got := consensus.Decide(m, len(bs), bs); got.Outcome != conclave.OutcomeApproved {
			t.Fatalf("one more yes turned approved into %+v", got)
		}
	})
}

// beats counts the ballots that prefer a to b, independently of the package.
func beats(bs []conclave.Ballot, a, b string) int {
	n := 0
	for _, v := range bs {
		ia, ib := slices.Index(v.Ranking, a), slices.Index(v.Ranking, b)
		if ia >= 0 && (ib < 0 || ia < ib) {
			n++
		}
	}
	return n
}

func condorcetWinner(m conclave.Motion, bs []conclave.Ballot) string {
	for _, a := range m.Options {
		if !slices.ContainsFunc(m.Options, func(b string) bool { return a != b && beats(bs, a, b) <= beats(bs, b, a) }) {
			return a
		}
	}
	return ""
}

func TestCondorcetWinnerAlwaysWins(t *testing.T) {
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		m := rankMotion(1, "A", "B", "C", "D")
		bs := drawBallots(t, m, 9)
		winner := condorcetWinner(m, bs)
		if winner == "" {
			return
		}
		seen++
		if got := consensus.Decide(m, len(bs), bs); got.Option != winner {
			t.Fatalf("%s beats every other, but %+v", winner, got)
		}
	})
	if seen == 0 {
		t.Error("no drawn election had a Condorcet winner; the property was not tested")
	}
}

// Raising the winner on a ballot never makes it lose to an option that it did
// not already tie with.
func TestRaisingTheWinnerKeepsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rankMotion(1, "A", "B", "C", "D")
		bs := drawBallots(t, m, 9)
		before := consensus.Decide(m, len(bs), bs)
		if before.Outcome != conclave.OutcomeChosen || strings.Contains(before.Reason, "tie-break") {
			return
		}
		i := rapid.IntRange(0, len(bs)-1).Draw(t, "raising voter")
		at := slices.Index(bs[i].Ranking, before.Option)
		if bs[i].Verdict == conclave.VerdictAbstain || at == 0 {
			return
		}
		rest := slices.DeleteFunc(slices.Clone(bs[i].Ranking), func(o string) bool { return o == before.Option })
		highest := at - 1
		if at < 0 {
			highest = len(rest) // not ranked so far: any place is a rise
		}
		to := rapid.IntRange(0, highest).Draw(t, "place")
		bs[i].Ranking = slices.Insert(rest, to, before.Option)
		if after := consensus.Decide(m, len(bs), bs); after.Option != before.Option {
			t.Fatalf("raising %s made %s win\nbefore %+v\nafter  %+v", before.Option, after.Option, before, after)
		}
	})
}
