package agent

import (
	"slices"
	"strings"
	"testing"

	"conclave"
)

// Options of a question that no playbook knows are ranked by where the repository
// uses them, with the place as the reason; without such facts there is nothing to say.
func TestRankByUse(t *testing.T) {
	q := conclave.Question{Key: "question", Text: "Which store?", Options: []conclave.Option{
		{Key: "mysql"}, {Key: "sqlite", Facts: []string{"2 files with code name it"}, InUse: 2}, {Key: "postgres", Facts: []string{"go.mod: pgx v5"}, InUse: 5},
	}}
	r := Request{Assignment: conclave.Assignment{Task: q.Text, Question: &q, Motion: &conclave.Motion{Kind: conclave.MotionRank, Options: []string{"mysql", "sqlite", "postgres"}}}}
	v := rank(r)
	if !slices.Equal(v.Ranking, []string{"postgres", "sqlite", "mysql"}) || !strings.Contains(v.Reasons[0], "go.mod: pgx v5") || !strings.Contains(v.Reasons[2], "mysql: nothing") {
		t.Errorf("%+v", v)
	}
	for i := range q.Options {
		q.Options[i].Facts, q.Options[i].InUse = nil, 0
	}
	if v := rank(r); v.Verdict != conclave.VerdictAbstain || len(v.Ranking) > 0 {
		t.Errorf("without facts: %+v", v)
	}
}
