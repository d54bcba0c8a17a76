package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/agent"
	"conclave/internal/identity"
)

// scripted answers every request in the same way and remembers them.
type scripted struct {
	reply agent.Reply
	err   error
	seen  []agent.Request
}

func (s *scripted) Name() string { return "scripted" }
func (s *scripted) Think(_ context.Context, r agent.Request) (agent.Reply, error) {
	s.seen = append(s.seen, r)
	return s.reply, s.err
}

func newAgent(t *testing.T, brain agent.Brain) *agent.Agent {
	t.Helper()
	key, err := identity.LoadOrCreate(t.TempDir(), "qa-1")
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(agent.Options{
		Spec: conclave.AgentSpec{Name: "qa", Prompt: "Test."}, Name: "qa-1", Key: key,
		Brains: func(context.Context, conclave.Assignment) (agent.Brain, error) { return brain, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func toJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTheSameMessageIsAnsweredOnce(t *testing.T) {
	brain := &scripted{reply: agent.Reply{Text: "Done.", Data: conclave.BuildReply{Summary: "s", Files: []string{"a.go"}}}}
	a := newAgent(t, brain)
	m := agent.Message{ID: "m1", Data: toJSON(t, conclave.Assignment{Kind: conclave.AssignBuild})}
	first, err := a.Handle(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.Handle(t.Context(), m)
	if err != nil || second.Text != first.Text || string(second.Data) != string(first.Data) || len(brain.seen) != 1 {
		t.Errorf("the second answer is %+v (%v) after %d thoughts, want the first again after one", second, err, len(brain.seen))
	}

	brain.err = conclave.Errorf(conclave.ErrUnavailable, "the model is away")
	if _, err := a.Handle(t.Context(), agent.Message{ID: "m2", Text: "Well?"}); !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("the brain's kind of error became %v", err)
	}
	brain.err = nil
	if _, err := a.Handle(t.Context(), agent.Message{ID: "m2", Text: "Well?"}); err != nil {
		t.Errorf("a failure was remembered as the answer: %v", err)
	}
}

func TestProseIsAQuestion(t *testing.T) {
	brain := &scripted{reply: agent.Reply{Text: "Yes."}}
	answer, err := newAgent(t, brain).Handle(t.Context(), agent.Message{Text: "Is it tested?"})
	if err != nil || answer.Text != "Yes." || answer.Data != nil {
		t.Errorf("%+v, %v", answer, err)
	}
	if got := brain.seen[0].Assignment; got.Kind != conclave.AssignAsk || got.Task != "Is it tested?" {
		t.Errorf("the brain got %+v", got)
	}
}

func TestUnreadableAssignments(t *testing.T) {
	a := newAgent(t, &scripted{})
	for _, data := range []string{`[]`, `{"kind":"build","colour":"red"}`, `{"task":"x"}`, `{"kind":"vote"}`, `{"kind":"build"} {}`,
		`{"kind":"vote","motion":{"id":"m","subject":{"kind":"plan","hash":"h"},"material":{"colour":"red"}}}`} {
		if _, err := a.Handle(t.Context(), agent.Message{Data: json.RawMessage(data)}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v, want invalid", data, err)
		}
	}
}

func TestVoteBindsToWhatWasShown(t *testing.T) {
	plan := conclave.Plan{Author: "planner-1", PlanContent: conclave.PlanContent{Task: "t", Steps: []conclave.PlanStep{{Key: "a"}}}}
	planHash, err := identity.Hash(plan.PlanContent)
	if err != nil {
		t.Fatal(err)
	}
	question := conclave.Question{Key: "db", Options: []conclave.Option{{Key: "sqlite"}, {Key: "postgres"}}}
	questionHash, err := identity.Hash(question)
	if err != nil {
		t.Fatal(err)
	}
	onPlan := conclave.Motion{ID: "m1", Round: 1, Kind: conclave.MotionApprove, Subject: conclave.Subject{Kind: "plan", Hash: planHash}}
	onTree := conclave.Motion{ID: "m2", Kind: conclave.MotionApprove, Subject: conclave.Subject{Kind: "tree", Hash: "git:abc"}}
	onOptions := conclave.Motion{ID: "m3", Kind: conclave.MotionRank, Options: []string{"sqlite", "postgres"}, Subject: conclave.Subject{Kind: "options", Hash: questionHash}}
	with := func(m conclave.Motion, f func(*conclave.Motion)) conclave.Motion { f(&m); return m }
	yes := conclave.VoteReply{Verdict: conclave.VerdictApprove}
	other := plan
	other.Task = "another"

	for _, c := range []struct {
		name string
		in   conclave.Assignment
		vote any
		kind error // nil: a ballot
	}{
		{"a plan", conclave.Assignment{Motion: &onPlan, Plan: &plan}, yes, nil},
		{"a plan in the material", conclave.Assignment{Motion: ptr(with(onPlan, func(m *conclave.Motion) {
			m.Material = toJSON(t, conclave.Assignment{Task: "t", Plan: &plan})
		}))}, yes, nil},
		{"another plan", conclave.Assignment{Motion: &onPlan, Plan: &other}, yes, conclave.ErrConflict},
		{"no plan", conclave.Assignment{Motion: &onPlan}, yes, conclave.ErrInvalid},
		{"no hash", conclave.Assignment{Motion: ptr(with(onPlan, func(m *conclave.Motion) { m.Subject.Hash = "" })), Plan: &plan}, yes, conclave.ErrInvalid},
		{"own work", conclave.Assignment{Motion: ptr(with(onPlan, func(m *conclave.Motion) { m.Authors = []conclave.AgentName{"qa-1"} })), Plan: &plan}, yes, conclave.ErrDenied},
		{"no verdict", conclave.Assignment{Motion: &onPlan, Plan: &plan}, conclave.VoteReply{}, conclave.ErrInvalid},
		{"a made-up verdict", conclave.Assignment{Motion: &onPlan, Plan: &plan}, conclave.VoteReply{Verdict: "maybe"}, conclave.ErrInvalid},
		{"another reply", conclave.Assignment{Motion: &onPlan, Plan: &plan}, conclave.ReviewReply{Approve: true}, conclave.ErrInternal},
		{"a tree", conclave.Assignment{Motion: &onTree, Evidence: &conclave.Evidence{Tree: "abc", Hash: "sha256:e"}}, yes, nil},
		{"another tree", conclave.Assignment{Motion: &onTree, Evidence: &conclave.Evidence{Tree: "def"}}, yes, conclave.ErrConflict},
		{"options", conclave.Assignment{Motion: &onOptions, Question: &question}, conclave.VoteReply{Ranking: []string{"postgres", "sqlite"}}, nil},
		{"options, abstaining", conclave.Assignment{Motion: &onOptions, Question: &question}, conclave.VoteReply{Verdict: conclave.VerdictAbstain}, nil},
		{"half a ranking", conclave.Assignment{Motion: &onOptions, Question: &question}, conclave.VoteReply{Ranking: []string{"sqlite"}}, conclave.ErrInvalid},
		{"an option twice", conclave.Assignment{Motion: &onOptions, Question: &question}, conclave.VoteReply{Ranking: []string{"sqlite", "sqlite"}}, conclave.ErrInvalid},
		{"the motion's own options", conclave.Assignment{Motion: &onOptions}, conclave.VoteReply{Ranking: []string{"postgres", "sqlite"}}, nil},
		{"other options", conclave.Assignment{Motion: &onOptions, Question: &conclave.Question{Key: "db"}}, conclave.VoteReply{Ranking: []string{"postgres", "sqlite"}}, conclave.ErrConflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAgent(t, &scripted{reply: agent.Reply{Text: "So be it.", Data: c.vote}})
			c.in.Kind = conclave.AssignVote
			answer, err := a.Handle(t.Context(), agent.Message{Data: toJSON(t, c.in)})
			if c.kind != nil {
				if !errors.Is(err, c.kind) {
					t.Errorf("got %v, want %v", err, c.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var b conclave.Ballot
			if err := json.Unmarshal(answer.Data, &b); err != nil {
				t.Fatal(err)
			}
			if err := identity.VerifyBallot(b); err != nil {
				t.Error(err)
			}
			m := c.in.Motion
			if b.Motion != m.ID || b.Round != m.Round || b.Subject != m.Subject || b.Voter != "qa-1" || b.Role != "qa" || b.PublicKey != a.PublicKey() {
				t.Errorf("the ballot %+v is not bound to %+v", b, m)
			}
			if c.in.Evidence != nil && !slices.Contains(b.Evidence, c.in.Evidence.Hash) {
				t.Errorf("the ballot rests on %v, not on the evidence that it was shown", b.Evidence)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestNewAgentNeedsEverything(t *testing.T) {
	key, err := identity.LoadOrCreate(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	good := agent.Options{Name: "qa-1", Key: key, Spec: conclave.AgentSpec{Name: "qa"},
		Brains: func(context.Context, conclave.Assignment) (agent.Brain, error) { return &scripted{}, nil }}
	for says, f := range map[string]func(*agent.Options){
		"name":          func(o *agent.Options) { o.Name = "" },
		"specification": func(o *agent.Options) { o.Spec.Name = "" },
		"key":           func(o *agent.Options) { o.Key = nil },
		"brain":         func(o *agent.Options) { o.Brains = nil },
	} {
		o := good
		f(&o)
		if _, err := agent.New(o); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("without a %s: %v", says, err)
		}
	}
}
