package agentpool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/agent"
	"conclave/internal/agentpool"
	"conclave/internal/hub"
	"conclave/internal/identity"
)

// brain answers as the test says.
type brain func(ctx context.Context, r agent.Request) (agent.Reply, error)

func (b brain) Name() string { return "test" }
func (b brain) Think(ctx context.Context, r agent.Request) (agent.Reply, error) {
	return b(ctx, r)
}

// house is a hub and its pools in one process, talking A2A in memory.
type house struct {
	hub   *hub.Hub
	store *hub.Memory
	local *a2awire.Local
	pools []*agentpool.Pool
	files atomic.Pointer[[]conclave.AgentSpec] // what the pools find when they look again
}

// start runs a hub and the pools of the services until the test ends.
func start(t *testing.T, config agentpool.Config, think brain, services ...conclave.Service) *house {
	t.Helper()
	return startWith(t, config, think, func(*agentpool.Options) {}, services...)
}

func startWith(t *testing.T, config agentpool.Config, think brain, change func(*agentpool.Options), services ...conclave.Service) *house {
	t.Helper()
	h := &house{store: hub.NewMemory(nil), local: &a2awire.Local{}}
	var err error
	h.hub, err = hub.New(hub.Options{Store: h.store, Transport: h.local})
	if err != nil {
		t.Fatal(err)
	}
	specs, err := agent.BuiltinRoles()
	if err != nil {
		t.Fatal(err)
	}
	h.files.Store(&specs)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, len(services)+2)
	run := func(f func(context.Context, func()) error) {
		ready := make(chan struct{})
		go func() { done <- f(ctx, func() { close(ready) }) }()
		select {
		case <-ready:
		case err := <-done:
			t.Fatalf("ended before it was ready: %v", err)
		}
	}
	go func() { done <- h.store.RunJobs(ctx, h.hub.HandleDelivery) }()
	run(h.hub.Run)
	dir := t.TempDir()
	for _, s := range services {
		opts := agentpool.Options{
			Service: s, Config: config, Specs: specs, Hub: h.hub,
			Reload: func() ([]conclave.AgentSpec, error) { return *h.files.Load(), nil },
			Key:    func(name conclave.AgentName) (*identity.Key, error) { return identity.LoadOrCreate(dir, string(name)) },
			Brains: func(conclave.AgentSpec, conclave.AgentName) func(context.Context, conclave.Assignment) (agent.Brain, error) {
				return func(context.Context, conclave.Assignment) (agent.Brain, error) { return think, nil }
			},
		}
		change(&opts)
		p, err := agentpool.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		h.local.Serve(string(s), p)
		h.pools = append(h.pools, p)
		run(p.Run)
	}
	t.Cleanup(func() {
		stop()
		for range len(services) + 2 {
			if err := <-done; err != nil {
				t.Errorf("stopping: %v", err)
			}
		}
	})
	return h
}

func human(ctx context.Context) context.Context {
	return conclave.WithCaller(ctx, conclave.Caller{
		Tenant: conclave.DefaultTenant, Human: "ada", Permissions: identity.HumanPermissions("operator"),
	})
}

func (h *house) ask(t *testing.T, in conclave.SendMessage) conclave.Task {
	t.Helper()
	task, err := h.hub.Send(human(t.Context()), in)
	if err != nil {
		t.Fatal(err)
	}
	task, err = h.hub.Task(human(t.Context()), conclave.GetTask{ID: task.ID, Wait: 60_000})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestMessageReachesAnAgentAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, agentpool.Defaults(), func(_ context.Context, r agent.Request) (agent.Reply, error) {
			return agent.Reply{Text: string(r.Name) + " heard " + r.Assignment.Task}, nil
		}, conclave.ServicePool)

		task := h.ask(t, conclave.SendMessage{To: "roles/architect", Text: "Which database?"})
		if task.State != conclave.TaskCompleted || task.Text != "architect-1 heard Which database?" || task.Agent != "architect-1" {
			t.Fatalf("got %+v", task)
		}
		msgs, err := h.hub.Messages(human(t.Context()), conclave.ListMessages{Conversation: task.Conversation})
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, m := range msgs {
			said = append(said, fmt.Sprintf("%s to %s: %s", m.From, m.To, m.Text))
		}
		want := []string{"ada to roles/architect: Which database?", "architect-1 to ada: architect-1 heard Which database?"}
		if !slices.Equal(said, want) {
			t.Errorf("conversation is %q, want %q", said, want)
		}
	})
}

func TestBallotIsSignedOverWhatWasShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, agentpool.Defaults(), func(context.Context, agent.Request) (agent.Reply, error) {
			return agent.Reply{Text: "I approve.", Data: conclave.VoteReply{Verdict: conclave.VerdictApprove, Reasons: []string{"go.mod is there"}}}, nil
		}, conclave.ServiceSecurity)

		plan := conclave.Plan{Author: "planner-1", PlanContent: conclave.PlanContent{Task: "x", Summary: "one step", Steps: []conclave.PlanStep{{Key: "a"}}}}
		hash, err := identity.Hash(plan.PlanContent)
		if err != nil {
			t.Fatal(err)
		}
		motion := conclave.Motion{ID: "m1", Round: 2, Kind: conclave.MotionApprove, Subject: conclave.Subject{Kind: "plan", ID: "p1", Hash: hash}, Authors: []conclave.AgentName{"planner-1"}}
		vote := func(m conclave.Motion, p conclave.Plan) conclave.Task {
			data, err := json.Marshal(conclave.Assignment{Kind: conclave.AssignVote, Motion: &m, Plan: &p})
			if err != nil {
				t.Fatal(err)
			}
			return h.ask(t, conclave.SendMessage{To: "agents/security-1", Kind: conclave.AssignVote, Text: "Vote, please.", Data: data})
		}

		var b conclave.Ballot
		task := vote(motion, plan)
		if err := json.Unmarshal(task.Reply, &b); err != nil {
			t.Fatalf("%v in %+v", err, task)
		}
		if err := identity.VerifyBallot(b); err != nil {
			t.Error(err)
		}
		agents, err := h.hub.Agents(human(t.Context()), conclave.ListAgents{Role: conclave.RoleSecurity})
		if err != nil || len(agents) != 1 || agents[0].PublicKey != b.PublicKey {
			t.Errorf("the ballot's key %s is not the registered agent's: %+v, %v", b.PublicKey, agents, err)
		}
		if b.Voter != "security-1" || b.Role != conclave.RoleSecurity || b.Round != 2 || b.Subject != motion.Subject {
			t.Errorf("ballot %+v does not bind to the motion", b)
		}

		other := plan
		other.Summary = "another plan"
		if task := vote(motion, other); task.State != conclave.TaskFailed || !strings.Contains(task.Error, "has the hash") {
			t.Errorf("a vote on another plan than the motion's gave %+v", task)
		}
		own := motion
		own.Authors = append(own.Authors, "security-1")
		if task := vote(own, plan); task.State != conclave.TaskFailed || !strings.Contains(task.Error, "own work") {
			t.Errorf("a vote on own work gave %+v", task)
		}
	})
}

func TestAgentAsksAnotherInTheSameConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, agentpool.Defaults(), func(ctx context.Context, r agent.Request) (agent.Reply, error) {
			switch r.Agent.Role {
			case conclave.RolePlanner:
				said, err := r.Ask(ctx, "roles/architect", "Is SQLite enough?")
				return agent.Reply{Text: "The architect says: " + said}, err
			case conclave.RoleArchitect:
				_, err := r.Ask(ctx, "agents/planner-1", "Who wants to know?")
				return agent.Reply{Text: "yes, and asking back gave: " + conclave.Text(err)}, nil
			}
			return agent.Reply{}, errors.New("nobody else is asked")
		}, conclave.ServicePool)

		task := h.ask(t, conclave.SendMessage{To: "agents/planner-1", Text: "Plan it."})
		if !strings.HasPrefix(task.Text, "The architect says: yes") || !strings.Contains(task.Text, "ada → planner-1 → architect-1 → planner-1") {
			t.Fatalf("got %+v", task)
		}
		msgs, err := h.hub.Messages(human(t.Context()), conclave.ListMessages{Conversation: task.Conversation})
		if err != nil || len(msgs) != 4 {
			t.Errorf("the conversation has %d messages, want 4: %v", len(msgs), err)
		}
		var refused []string
		for _, e := range h.store.Events() {
			if e.Kind == conclave.EventCallRefused {
				refused = append(refused, e.Actor+" "+e.Subject)
			}
		}
		if !slices.Equal(refused, []string{"architect-1 agents/planner-1"}) {
			t.Errorf("refused calls on record: %v", refused)
		}
	})
}

func TestCancelReachesTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		h := start(t, agentpool.Defaults(), func(ctx context.Context, r agent.Request) (agent.Reply, error) {
			<-ctx.Done()
			close(stopped)
			return agent.Reply{}, ctx.Err()
		}, conclave.ServicePool)
		ctx := human(t.Context())
		task, err := h.hub.Send(ctx, conclave.SendMessage{To: "roles/developer", Text: "Build it."})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if task, err = h.hub.Cancel(ctx, conclave.NameTask{ID: task.ID}); err != nil || task.State != conclave.TaskCanceled {
			t.Fatalf("%+v, %v", task, err)
		}
		select {
		case <-stopped:
		case <-time.After(time.Minute):
			t.Fatal("the agent was not told that its task is cancelled")
		}
		if _, err := h.hub.Cancel(ctx, conclave.NameTask{ID: task.ID}); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("cancelling twice: %v, want a conflict", err)
		}
	})
}

func TestStoppedPoolHandsItsWorkBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := make(chan conclave.AgentName, 10)
		h := start(t, agentpool.Defaults(), func(ctx context.Context, r agent.Request) (agent.Reply, error) {
			started <- r.Name
			<-ctx.Done()
			return agent.Reply{}, ctx.Err()
		}, conclave.ServicePool)
		ctx := human(t.Context())
		task, err := h.hub.Send(ctx, conclave.SendMessage{To: "agents/developer-1", Text: "Build it."})
		if err != nil {
			t.Fatal(err)
		}
		<-started
		h.pools[0].Close()
		synctest.Wait()
		task, err = h.hub.Task(ctx, conclave.GetTask{ID: task.ID})
		if err != nil || task.State != conclave.TaskSubmitted {
			t.Errorf("after the pool stopped the task is %+v, %v; want it waiting for delivery", task, err)
		}
	})
}

func TestIdleCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, agentpool.Defaults(), func(context.Context, agent.Request) (agent.Reply, error) {
			return agent.Reply{}, errors.New("nobody asked")
		}, conclave.ServicePool)
		before := len(h.store.Events())
		time.Sleep(time.Hour)
		if after := len(h.store.Events()); after != before {
			t.Errorf("an idle hour wrote %d events", after-before)
		}
		agents, err := h.hub.Agents(human(t.Context()), conclave.ListAgents{Live: true})
		if err != nil || len(agents) != 7 {
			t.Errorf("after an idle hour %d agents are live, want 7: %v", len(agents), err)
		}
	})
}

func TestConfig(t *testing.T) {
	specs, err := agent.BuiltinRoles()
	if err != nil {
		t.Fatal(err)
	}
	if err := agentpool.Defaults().Validate(specs); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for _, c := range []struct {
		config agentpool.Config
		says   string
	}{
		{agentpool.Config{Size: 0}, "size is 0"},
		{agentpool.Config{Size: 2, Distribution: map[conclave.Role]int{"qa": 3}}, "asks for 3 agents"},
		{agentpool.Config{Size: 2, Distribution: map[conclave.Role]int{"qa": -1}}, "qa is -1"},
		{agentpool.Config{Size: 2, Distribution: map[conclave.Role]int{"tester": 1}}, "no such role"},
	} {
		if err := c.config.Validate(specs); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want invalid with %q", c.config, err, c.says)
		}
	}
}

func TestRoleTakenOutHasNoAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := agentpool.Defaults()
		delete(config.Distribution, conclave.RoleArchitect)
		h := start(t, config, func(context.Context, agent.Request) (agent.Reply, error) { return agent.Reply{Text: "yes"}, nil }, conclave.ServicePool)
		_, err := h.hub.Send(human(t.Context()), conclave.SendMessage{To: "roles/architect", Text: "Hello?"})
		if !errors.Is(err, conclave.ErrNotFound) || !strings.Contains(err.Error(), "roles/planner") {
			t.Errorf("got %v, want not found, naming the roles that there are", err)
		}
	})
}

// Each replica of a host adds agents of its own.
func TestReplicasNameOtherAgents(t *testing.T) {
	specs, err := agent.BuiltinRoles()
	if err != nil {
		t.Fatal(err)
	}
	specs = append(specs, conclave.AgentSpec{Name: "pedant", Role: conclave.RoleCodeReviewer, Description: "Knows better", Prompt: "Complain"})
	dir := t.TempDir()
	var names []string
	for replica := range 3 {
		p, err := agentpool.New(agentpool.Options{Service: conclave.ServiceReview, Replica: replica, Config: agentpool.Defaults(), Specs: specs, Hub: new(hub.Hub),
			Key: func(name conclave.AgentName) (*identity.Key, error) { return identity.LoadOrCreate(dir, string(name)) },
			Brains: func(conclave.AgentSpec, conclave.AgentName) func(context.Context, conclave.Assignment) (agent.Brain, error) {
				return func(context.Context, conclave.Assignment) (agent.Brain, error) { return brain(nil), nil }
			}})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Agents() {
			names = append(names, string(a.Name))
		}
		p.Close()
	}
	slices.Sort(names)
	want := "code-reviewer-1 code-reviewer-17 code-reviewer-18 code-reviewer-2 code-reviewer-33 code-reviewer-34 pedant performance-reviewer-1 performance-reviewer-17 performance-reviewer-33"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("three replicas host %s, want %s", got, want)
	}
}

func TestAgentsComeAndGoWithTheirFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, agentpool.Defaults(), func(_ context.Context, r agent.Request) (agent.Reply, error) {
			return agent.Reply{Text: string(r.Name) + ": " + r.Agent.Prompt}, nil
		}, conclave.ServicePool)
		before := *h.files.Load()
		files := func(more ...conclave.AgentSpec) {
			all := append(slices.Clone(before), more...)
			h.files.Store(&all)
			time.Sleep(6 * time.Second) // of fake time: a heartbeat
			synctest.Wait()
		}
		own := conclave.AgentSpec{Name: "backend-specialist", Role: conclave.RoleDeveloper, Description: "Knows the backend", Prompt: "first"}
		poet := conclave.AgentSpec{Name: "poet", Role: "poet", Description: "Writes verse", Prompt: "rhyme"}
		files(own, poet)
		for to, want := range map[string]string{"agents/backend-specialist": "backend-specialist: first", "roles/poet": "poet-1: rhyme"} {
			if task := h.ask(t, conclave.SendMessage{To: to, Text: "Who?"}); task.Text != want {
				t.Errorf("%s answers %q (%s), want %q", to, task.Text, task.Error, want)
			}
		}
		own.Prompt = "second"
		files(own)
		if task := h.ask(t, conclave.SendMessage{To: "agents/backend-specialist", Text: "Who?"}); task.Text != "backend-specialist: second" {
			t.Errorf("a changed file is not taken: %q", task.Text)
		}
		if task := h.ask(t, conclave.SendMessage{To: "agents/developer-1", Text: "Who?"}); !strings.HasPrefix(task.Text, "developer-1: ") {
			t.Errorf("the other agents are disturbed: %q %s", task.Text, task.Error)
		}
		files()
		agents, err := h.hub.Agents(human(t.Context()), conclave.ListAgents{Live: true})
		if err != nil || len(agents) != 7 {
			t.Errorf("without the files %d agents are live, want 7: %v", len(agents), err)
		}
		if agents, err = h.hub.Agents(human(t.Context()), conclave.ListAgents{}); err != nil || len(agents) != 7 {
			t.Errorf("without the files %d agents are known, want 7: %v", len(agents), err)
		}
		if _, err := h.hub.Send(human(t.Context()), conclave.SendMessage{To: "roles/poet", Text: "Who?"}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("a role that nobody plays any more: %v, want not found at once", err)
		}
	})
}

// What an earlier start hosted and this one does not is gone, and nobody waits for
// it; what other replicas and other services host stays.
func TestAgentsOfAnEarlierStartAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := agentpool.Defaults()
		earlier := func(name string, service conclave.Service) conclave.Agent {
			return conclave.Agent{Name: conclave.AgentName(name), Role: conclave.RoleDeveloper, Service: service, URL: "local://" + string(service) + "/agents/" + name}
		}
		h := startWith(t, config, nil, func(o *agentpool.Options) {
			for _, a := range []conclave.Agent{
				earlier("developer-9", conclave.ServicePool), earlier("dreamer", conclave.ServicePool),
				earlier("developer-17", conclave.ServicePool), earlier("outsider", conclave.ServiceQA),
			} {
				if _, err := o.Hub.Register(human(t.Context()), conclave.RegisterAgent{Agent: a}); err != nil {
					t.Fatal(err)
				}
			}
		}, conclave.ServicePool)
		agents, err := h.hub.Agents(human(t.Context()), conclave.ListAgents{Role: conclave.RoleDeveloper})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, a := range agents {
			names = append(names, string(a.Name))
		}
		want := []string{"developer-1", "developer-17", "developer-2", "developer-3", "developer-4", "outsider"}
		if !slices.Equal(names, want) {
			t.Errorf("known are %q, want %q", names, want)
		}
	})
}

func TestSized(t *testing.T) {
	for size, want := range map[int]string{
		8:  "map[architect:1 code-reviewer:1 developer:1 domain-expert:1 performance-reviewer:1 planner:1 qa:1 security:1]",
		14: "map[architect:2 code-reviewer:2 developer:4 domain-expert:1 performance-reviewer:1 planner:1 qa:2 security:1]",
		50: "map[architect:7 code-reviewer:7 developer:14 domain-expert:4 performance-reviewer:4 planner:4 qa:7 security:3]",
	} {
		c, err := agentpool.Defaults().Sized(size)
		if got := fmt.Sprint(c.Distribution); err != nil || c.Size != size || got != want {
			t.Errorf("%d agents: %s, %v, want %s", size, got, err, want)
		}
	}
	for size, says := range map[int]string{7: "too few for 8 roles", 0: "want 1 to", 5000: "want 1 to"} {
		if _, err := agentpool.Defaults().Sized(size); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%d agents: %v, want invalid with %q", size, err, says)
		}
	}
}

func TestBusyRoleGetsAgentsAndGivesThemBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := agentpool.Defaults()
		config.Size = 28 // twice the distribution: the pool's 7 may become 14
		release := make(chan struct{})
		h := start(t, config, func(ctx context.Context, _ agent.Request) (agent.Reply, error) {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return agent.Reply{Text: "done"}, ctx.Err()
		}, conclave.ServicePool)
		ctx := human(t.Context())
		live := func() (n int) {
			t.Helper()
			agents, err := h.hub.Agents(ctx, conclave.ListAgents{Live: true, Role: conclave.RoleDeveloper})
			if err != nil {
				t.Fatal(err)
			}
			return len(agents)
		}
		for range 200 {
			if _, err := h.hub.Send(ctx, conclave.SendMessage{To: "roles/developer", Text: "Build."}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if n := live(); n != 4+7 {
			t.Errorf("under load there are %d developers, want the four and the room of seven", n)
		}
		close(release)
		time.Sleep(20 * time.Minute)
		if n := live(); n != 4 {
			t.Errorf("an idle while later there are %d developers, want four", n)
		}
		tasks, err := h.hub.Messages(ctx, conclave.ListMessages{Limit: 1000})
		if err != nil || len(tasks) != 400 {
			t.Errorf("%d messages, %v; want 200 questions and 200 answers", len(tasks), err)
		}
	})
}
