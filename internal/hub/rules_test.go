package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
)

// rules are the default ones with a change.
func rules(change func(*hub.Rules)) *hub.Rules {
	r := hub.DefaultRules()
	change(&r)
	return &r
}

func allow(yes bool, from, to string, change ...func(*hub.CallRule)) hub.CallRule {
	c := hub.CallRule{Allow: &yes, From: []string{from}, To: []string{to}}
	for _, f := range change {
		f(&c)
	}
	return c
}

// refusals counts what is on record by rule.
func (n *network) refusals() map[string]int {
	n.t.Helper()
	found := map[string]int{}
	for _, e := range n.store.Events() {
		if e.Kind != conclave.EventCallRefused && e.Kind != conclave.EventMessageRepeated {
			continue
		}
		_, rule, _ := strings.Cut(string(e.Data), `"rule":"`)
		rule, _, _ = strings.Cut(rule, `"`)
		found[rule]++
	}
	return found
}

func TestRulesDecideWhoCallsWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil), func(o *hub.Options) {
			o.Rules = rules(func(r *hub.Rules) {
				r.Calls = []hub.CallRule{
					allow(false, "people", "agents/dev-2"),
					allow(true, "people", "roles/developer", func(c *hub.CallRule) { c.Scopes = []conclave.Permission{conclave.PermitWork} }),
					allow(true, "people", "roles/qa", func(c *hub.CallRule) { c.People = []string{"ada"} }),
					allow(true, "roles/developer", "roles/qa", func(c *hub.CallRule) { c.Kinds = []string{"ask"}; c.People = []string{"ada"} }),
				}
			})
		})
		n.agent("dev-1", "developer", forever)
		n.agent("dev-2", "developer", echo)
		n.agent("qa-1", "qa", echo)
		worker := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada",
			Permissions: []conclave.Permission{conclave.PermitSpeak, conclave.PermitWork}})
		working := n.send(worker, conclave.SendMessage{To: "roles/developer", Text: "x"})
		synctest.Wait()
		if got := n.task(working.ID); got.Agent != "dev-1" {
			t.Errorf("a role gave the work to %q; dev-2 must not be called", got.Agent)
		}
		path := conclave.CallPath{Path: []string{"tasks/" + string(working.ID)}}
		for _, c := range []struct {
			what string
			ctx  context.Context
			in   conclave.SendMessage
			may  bool
		}{
			{"who may not work, to a developer", as(t.Context(), "ada"), conclave.SendMessage{To: "roles/developer"}, false},
			{"to the one who must not be called", worker, conclave.SendMessage{To: "agents/dev-2"}, false},
			{"ada to qa", as(t.Context(), "ada"), conclave.SendMessage{To: "roles/qa"}, true},
			{"eve to qa", as(t.Context(), "eve"), conclave.SendMessage{To: "roles/qa"}, false},
			{"a developer asks qa for ada", asAgent(t.Context(), "dev-1"), conclave.SendMessage{To: "roles/qa", Kind: conclave.AssignAsk, Call: path}, true},
			{"a developer tells qa something", asAgent(t.Context(), "dev-1"), conclave.SendMessage{To: "roles/qa", Call: path}, false},
			{"a developer to one who is not named", asAgent(t.Context(), "dev-1"), conclave.SendMessage{To: "agents/dev-2", Kind: conclave.AssignAsk, Call: path}, false},
		} {
			c.in.Text = "Well?"
			if _, err := n.hub.Send(c.ctx, c.in); (err == nil) != c.may || err != nil && (!errors.Is(err, conclave.ErrDenied) || !strings.Contains(err.Error(), "rules of speech")) {
				t.Errorf("%s: %v, want allowed: %v", c.what, err, c.may)
			}
		}
		if got := n.refusals(); got["policy"] != 5 {
			t.Errorf("on record are %v, want 5 of the policy", got)
		}
	})
}

// The rights that count are those of whoever is at the start of the path, also
// when the agent in between has more.
func TestAnAgentHasNoMoreRightsThanWhoAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil), func(o *hub.Options) {
			o.Rules = rules(func(r *hub.Rules) {
				r.Calls = []hub.CallRule{allow(true, "people", "roles/developer"),
					allow(true, "agents", "*", func(c *hub.CallRule) { c.Scopes = []conclave.Permission{conclave.PermitWork} })}
			})
		})
		n.agent("dev-1", "developer", forever)
		n.agent("qa-1", "qa", echo)
		working := n.send(as(t.Context(), "eve"), conclave.SendMessage{To: "agents/dev-1", Text: "x"})
		synctest.Wait()
		strong := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: conclave.DefaultTenant, Human: "eve", Agent: "dev-1",
			Permissions: []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitAdmin}})
		_, err := n.hub.Send(strong, conclave.SendMessage{To: "agents/qa-1", Text: "Do it.", Call: conclave.CallPath{Path: []string{"tasks/" + string(working.ID)}}})
		if !errors.Is(err, conclave.ErrDenied) || !strings.Contains(err.Error(), "on behalf of eve") {
			t.Errorf("with eve at the start: %v", err)
		}
	})
}

func TestBudgetIsKeptByTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil), func(o *hub.Options) {
			o.Rules = rules(func(r *hub.Rules) { r.Budget.Messages = 4 })
		})
		var left []int
		n.agent("qa-1", "qa", func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			left = append(left, in.Call.Messages)
			return a2awire.Outgoing{Text: "fine"}, nil
		})
		n.agent("dev-1", "developer", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			for i := range 10 {
				task, err := n.hub.Send(asAgent(ctx, "dev-1"), conclave.SendMessage{To: "agents/qa-1", Text: "And now?",
					Call: conclave.CallPath{Path: []string{"tasks/" + string(in.References[0])}, Messages: 1000, Tokens: 1 << 40, Hops: 1000}})
				if err != nil {
					return a2awire.Outgoing{Text: fmt.Sprintf("%d: %v", i, err)}, nil
				}
				n.wait(task.ID)
			}
			return a2awire.Outgoing{Text: "nobody stopped me"}, nil
		})
		task := n.ask("agents/dev-1", "Start.")
		if want := fmt.Sprintf("3: the budget of task %s is spent: it had 4 messages", task.ID); task.Text != want {
			t.Errorf("got %q, want %q", task.Text, want)
		}
		if fmt.Sprint(left) != "[2 1 -1]" {
			t.Errorf("agents were told %v, want 2, 1 and nothing left", left)
		}
		// Who starts may ask for less, and an agent may too: for what it asks itself.
		small := n.wait(n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "Start.", Call: conclave.CallPath{Messages: 2}}).ID)
		if !strings.HasPrefix(small.Text, "1: the budget") {
			t.Errorf("with two messages: %q", small.Text)
		}
		if got := n.refusals(); got["budget"] != 2 {
			t.Errorf("on record are %v, want 2 of the budget", got)
		}
	})
}

func TestAnAgentThatFloodsIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil), func(o *hub.Options) {
			o.Rules = rules(func(r *hub.Rules) { r.PerSecond, r.Burst = 2, 5 })
		})
		n.agent("qa-1", "qa", echo)
		n.agent("dev-1", "developer", forever)
		working := n.send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "x"})
		synctest.Wait()
		say := func() error {
			_, err := n.hub.Send(asAgent(t.Context(), "dev-1"), conclave.SendMessage{To: "agents/qa-1", Text: "Now!",
				Call: conclave.CallPath{Path: []string{"tasks/" + string(working.ID)}}})
			return err
		}
		taken := 0
		for range 1000 {
			if err := say(); err == nil {
				taken++
			} else if !errors.Is(err, conclave.ErrLimited) || !strings.Contains(err.Error(), "2 messages a second") {
				t.Fatal(err)
			}
		}
		if taken != 5 {
			t.Errorf("%d of 1000 messages at once were taken, want 5", taken)
		}
		time.Sleep(time.Second)
		taken = 0
		for range 3 {
			if say() == nil {
				taken++
			}
		}
		if taken != 2 {
			t.Errorf("after a second %d more were taken, want 2", taken)
		}
		var counts []string
		for _, e := range n.store.Events() {
			if e.Kind == conclave.EventCallRefused {
				counts = append(counts, string(e.Data))
			}
		}
		if len(counts) != 2 || !strings.Contains(counts[1], `"count":995`) {
			t.Errorf("on record are %v; want one refusal a second, with how many there were", counts)
		}
		if _, err := n.hub.Send(as(t.Context(), "ada"), conclave.SendMessage{To: "agents/qa-1", Text: "Still there?"}); err != nil {
			t.Errorf("somebody else is held back: %v", err)
		}
	})
}

// A message that comes again makes no second task, and another one under the
// same key is not taken for it; both are on record.
func TestReplaysAreOnRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := connect(t, hub.NewMemory(nil))
		n.agent("dev-1", "developer", echo)
		for _, text := range []string{"Pay 1.", "Pay 1.", "Pay 1000."} {
			n.wait(n.send(as(t.Context(), "ada"), conclave.SendMessage{Key: "k", To: "agents/dev-1", Text: text}).ID)
		}
		if len(n.seen) != 1 || n.refusals()["replay"] != 2 {
			t.Errorf("the agent heard %d messages, and on record are %v", len(n.seen), n.refusals())
		}
	})
}

// task is what became of a task by now.
func (n *network) task(id conclave.TaskID) conclave.Task {
	n.t.Helper()
	t, err := n.hub.Task(as(n.t.Context(), "ada"), conclave.GetTask{ID: id})
	if err != nil {
		n.t.Fatal(err)
	}
	return t
}
