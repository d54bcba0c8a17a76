package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/hub"
	"conclave/internal/store"
)

// network is a hub on a real database with scripted agents behind A2A in memory.
type network struct {
	t     *testing.T
	db    *store.DB
	hub   *hub.Hub
	local *a2awire.Local
}

// connect makes a hub on a database, which runs until the test ends when it is told to.
func connect(t *testing.T, db *store.DB, runs bool, change ...func(*hub.Options)) *network {
	t.Helper()
	n := &network{t: t, db: db, local: &a2awire.Local{}}
	opts := hub.Options{Store: db.Hub(), Topics: db.Topics(), Conversations: db.Conversations(), Letters: db.Letters(), Transport: n.local}
	for _, f := range change {
		f(&opts)
	}
	var err error
	if n.hub, err = hub.New(opts); err != nil {
		t.Fatal(err)
	}
	if !runs {
		return n
	}
	db.HandleDeliveries(16, func(ctx context.Context, id string, epoch int64) error {
		return n.hub.HandleDelivery(ctx, conclave.TaskID(id), epoch)
	})
	ctx, cancel := context.WithCancel(context.Background())
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- n.hub.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-up
	run(t, db)
	return n
}

func person(ctx context.Context, name string, more ...conclave.Permission) context.Context {
	return conclave.WithCaller(ctx, conclave.Caller{Tenant: conclave.DefaultTenant, Human: name,
		Permissions: append([]conclave.Permission{conclave.PermitRead, conclave.PermitSpeak}, more...)})
}

// agent registers an agent that answers with its name and what it heard.
func (n *network) agent(name, role string, topics ...string) {
	n.t.Helper()
	n.answer(name, func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
		if strings.HasPrefix(in.Text, "refuse") {
			return a2awire.Outgoing{}, conclave.Errorf(conclave.ErrUnsupported, "%s can't", name)
		}
		return a2awire.Outgoing{Text: name + " heard " + in.Text}, nil
	})
	n.register(name, role, topics...)
}

// answer lets an agent be there, whether it is registered or not.
func (n *network) answer(name string, handle a2awire.Handler) {
	n.t.Helper()
	handler, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{Card: a2awire.Card{Name: name}, Permission: conclave.PermitService, Handle: handle})
	n.local.Serve(name, handler)
	n.t.Cleanup(runner.Close)
}

func (n *network) register(name, role string, topics ...string) {
	n.t.Helper()
	if _, err := n.hub.Register(person(n.t.Context(), "admin"), conclave.RegisterAgent{Agent: conclave.Agent{Name: conclave.AgentName(name), Role: conclave.Role(role),
		URL: "local://" + name, Capacity: 4, Service: conclave.ServicePool, Topics: topics}}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// ended waits until each recipient has answered.
func (n *network) ended(id string) conclave.Publication {
	n.t.Helper()
	p, err := n.hub.Publication(person(n.t.Context(), "ada"), conclave.GetPublication{ID: id, Wait: 20_000})
	n.must(err)
	return p
}

func answers(p conclave.Publication) []string {
	list := []string{}
	for _, r := range p.Recipients {
		switch {
		case r.Reads:
			list = append(list, r.Address+" reads")
		case r.Error != "":
			list = append(list, r.Address+": "+r.Error)
		default:
			list = append(list, r.Address+": "+r.Text)
		}
	}
	return list
}

func (n *network) want(what string, got, want []string) {
	n.t.Helper()
	if !slices.Equal(got, want) {
		n.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestPublishAndSubscribe(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		n := connect(t, db, true)
		n.agent("dev-1", "developer", "builds")
		n.agent("qa-1", "qa")
		n.agent("qa-2", "qa")
		ada, bob := person(t.Context(), "ada", conclave.PermitWork), person(t.Context(), "bob")

		publish := func(key, text string) conclave.Publication {
			t.Helper()
			p, err := n.hub.Publish(ada, conclave.PublishMessage{Key: key, Topic: "builds", Text: text})
			n.must(err)
			return n.ended(p.ID)
		}
		first := publish("1", "one")
		n.want("the first", answers(first), []string{"agents/dev-1: dev-1 heard one"})
		again := publish("1", "one")
		if again.ID != first.ID || again.Recipients[0].Task != first.Recipients[0].Task {
			t.Errorf("the same key published %+v, want %+v", again, first)
		}

		_, err := n.hub.Subscribe(bob, conclave.SubscribeTopic{Topic: "builds"})
		n.must(err)
		_, err = n.hub.Subscribe(ada, conclave.SubscribeTopic{Topic: "builds", Subscriber: "roles/qa", Past: true})
		n.must(err)
		n.must(waitFor(t, func() bool {
			return len(n.ended(first.ID).Recipients) == 2 && n.ended(first.ID).Recipients[1].Text != ""
		}))
		past := n.ended(first.ID)
		if text := past.Recipients[1].Text; text != "qa-1 heard one" && text != "qa-2 heard one" {
			t.Errorf("who asked for what was before got %q", answers(past))
		}
		second := publish("2", "two")
		if got := answers(second); len(got) != 3 || got[0] != "agents/dev-1: dev-1 heard two" || got[1] != "people/bob reads" || !strings.HasSuffix(got[2], " heard two") {
			t.Errorf("the second: %q", got)
		}

		read, err := n.hub.Read(bob, conclave.ReadTopic{Topic: "builds"})
		n.must(err)
		if len(read) != 1 || read[0].Text != "two" || read[0].From != "ada" {
			t.Errorf("a late subscriber reads %+v, want what came since", read)
		}
		_, err = n.hub.Read(ada, conclave.ReadTopic{Topic: "builds"})
		if !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("who did not subscribe reads: %v", err)
		}
		_, err = n.hub.Unsubscribe(bob, conclave.UnsubscribeTopic{Topic: "builds"})
		n.must(err)
		_, err = n.hub.Unsubscribe(bob, conclave.UnsubscribeTopic{Topic: "builds"})
		if !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("leaving twice: %v", err)
		}

		// What the file no longer says is left, what was asked for stays.
		n.register("dev-1", "developer", "releases")
		topics, err := n.hub.ListTopics(ada, conclave.ListTopics{})
		n.must(err)
		var shown []string
		for _, topic := range topics {
			for _, sub := range topic.Subscribers {
				shown = append(shown, fmt.Sprint(topic.Name, " ", topic.Published, " ", sub.Subscriber, " ", sub.Declared))
			}
		}
		n.want("the topics", shown, []string{"builds 2 roles/qa false", "releases 0 agents/dev-1 true"})

		for what, c := range map[string]struct {
			ctx  context.Context
			in   conclave.SubscribeTopic
			kind error
		}{
			"a topic that can't be":        {bob, conclave.SubscribeTopic{Topic: "Builds!"}, conclave.ErrInvalid},
			"somebody else":                {bob, conclave.SubscribeTopic{Topic: "builds", Subscriber: "agents/dev-1"}, conclave.ErrDenied},
			"somebody who is not there":    {ada, conclave.SubscribeTopic{Topic: "builds", Subscriber: "agents/dev-9"}, conclave.ErrNotFound},
			"something that is no address": {ada, conclave.SubscribeTopic{Topic: "builds", Subscriber: "people/bob"}, conclave.ErrInvalid},
		} {
			if _, err := n.hub.Subscribe(c.ctx, c.in); !errors.Is(err, c.kind) {
				t.Errorf("subscribing %s: %v, want %v", what, err, c.kind)
			}
		}
	})
}

func waitFor(t *testing.T, ok func() bool) error {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			return errors.New("it does not happen")
		}
	}
	return nil
}

// A hub that ends after it accepted, and before it sent: the next one goes on,
// and each subscriber gets the message once.
func TestPublicationOutlivesTheHub(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		dying := connect(t, db, false)
		dying.register("dev-1", "developer", "builds")
		dying.register("dev-2", "developer", "builds")
		// The hub's own tables are gone while it hands the message on.
		broken := connect(t, db, false, func(o *hub.Options) { o.Store = unavailableStore{o.Store} })
		p, err := broken.hub.Publish(person(t.Context(), "ada"), conclave.PublishMessage{Topic: "builds", Text: "one"})
		if err != nil || p.Recipients[0].Task != "" || p.Recipients[1].Task != "" {
			t.Fatalf("accepted as %+v, %v", p, err)
		}
		n := connect(t, db, true)
		n.agent("dev-1", "developer", "builds")
		n.agent("dev-2", "developer", "builds")
		n.must(waitFor(t, func() bool { p := n.ended(p.ID); return p.Recipients[0].Text != "" && p.Recipients[1].Text != "" }))
		n.want("what came of it", answers(n.ended(p.ID)), []string{"agents/dev-1: dev-1 heard one", "agents/dev-2: dev-2 heard one"})
		said, err := n.hub.Messages(person(t.Context(), "ada"), conclave.ListMessages{Conversation: p.Conversation})
		if err != nil || len(said) != 4 {
			t.Errorf("%d messages, %v; want two questions and two answers", len(said), err)
		}
	})
}

// unavailableStore takes no messages.
type unavailableStore struct{ hub.Store }

func (unavailableStore) Accept(context.Context, hub.Accept) (hub.Task, bool, error) {
	return hub.Task{}, false, conclave.Errorf(conclave.ErrUnavailable, "the disk is away")
}

func TestBroadcast(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		n := connect(t, db, true, func(o *hub.Options) {
			yes, no := true, false
			rules := hub.DefaultRules()
			rules.Calls = []hub.CallRule{{Allow: &no, From: []string{"people"}, To: []string{"agents/qa-2"}}, {Allow: &yes, From: []string{"people"}, To: []string{"*"}}}
			o.Rules = &rules
		})
		n.agent("dev-1", "developer")
		n.agent("qa-1", "qa")
		n.agent("qa-2", "qa")
		ada := person(t.Context(), "ada")
		all, err := n.hub.Broadcast(ada, conclave.BroadcastMessage{Text: "hello"})
		n.must(err)
		denied := "agents/qa-2: denied: the rules of speech do not let ada call agents/qa-2 on behalf of ada"
		n.want("to all", answers(n.ended(all.ID)), []string{"agents/dev-1: dev-1 heard hello", "agents/qa-1: qa-1 heard hello", denied})
		some, err := n.hub.Broadcast(ada, conclave.BroadcastMessage{Role: "qa", Exclude: []conclave.AgentName{"qa-2"}, Text: "refuse this"})
		n.must(err)
		n.want("to a role", answers(n.ended(some.ID)), []string{"agents/qa-1: unsupported: qa-1 can't"})
		if _, err := n.hub.Broadcast(ada, conclave.BroadcastMessage{Role: "poet", Text: "x"}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("to nobody: %v", err)
		}
		if _, err := n.hub.Broadcast(ada, conclave.BroadcastMessage{Text: " "}); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("of nothing: %v", err)
		}
		if _, err := n.hub.Publication(conclave.WithCaller(t.Context(), conclave.Caller{Tenant: "globex", Human: "eve"}), conclave.GetPublication{ID: all.ID}); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("another tenant sees it: %v", err)
		}
	})
}

// refuser answers for an agent that takes nothing on.
func refuser(t *testing.T, name string) http.Handler {
	handler, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{Card: a2awire.Card{Name: name}, Permission: conclave.PermitService,
		Handle: func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) {
			return a2awire.Outgoing{}, a2awire.Rejection{Err: conclave.Errorf(conclave.ErrDenied, "not mine")}
		}})
	t.Cleanup(runner.Close)
	return handler
}

// What models cost for any task of a budget counts for it, in tokens and money.
func TestBudgetCountsModelCalls(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		n := connect(t, db, false)
		n.register("dev-1", "developer")
		n.register("qa-1", "qa")
		working, err := n.hub.Send(person(t.Context(), "ada"), conclave.SendMessage{To: "agents/dev-1", Text: "Start.", Call: conclave.CallPath{Tokens: 100, CostUSD: 1}})
		n.must(err)
		claimed, err := db.Hub().Claim(t.Context(), hub.Claim{ID: working.ID, Epoch: 1, Agent: "dev-1", Instance: "hub"})
		n.must(err)
		if claimed.Call.Tokens != 100 || claimed.Call.CostUSD != 1 {
			t.Errorf("the first may spend %+v", claimed.Call)
		}
		ask := func() (conclave.Task, error) {
			dev := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada", Agent: "dev-1", Permissions: []conclave.Permission{conclave.PermitSpeak}})
			return n.hub.Send(dev, conclave.SendMessage{To: "agents/qa-1", Text: "Well?", Call: conclave.CallPath{Path: []string{"tasks/" + string(working.ID)}, Tokens: 1 << 40}})
		}
		call := func(task conclave.TaskID, in, out int64, cost float64) {
			t.Helper()
			n.must(db.ModelCalls().Record(t.Context(), conclave.ModelCall{Task: task, Model: "m", InputTokens: &in, OutputTokens: &out, CostUSD: &cost}))
		}
		call(working.ID, 20, 10, 0.25)
		call("task-of-somebody-else", 1000, 1000, 50)
		asked, err := ask()
		n.must(err)
		kept, err := db.Hub().Wait(t.Context(), asked.ID, "", 0)
		n.must(err)
		if kept.Call.Tokens != 70 || kept.Call.CostUSD != 0.75 {
			t.Errorf("after 30 tokens and 0.25 dollars it may spend %+v", kept.Call)
		}
		call(asked.ID, 40, 30, 0.25)
		if _, err := ask(); !errors.Is(err, conclave.ErrLimited) || !strings.Contains(err.Error(), "it had 100 model tokens") {
			t.Errorf("after all tokens: %v", err)
		}
	})
}
