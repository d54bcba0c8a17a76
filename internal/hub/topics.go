package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"conclave"
)

// TopicStore keeps subscriptions, and what was said to many. Each method is one
// transaction that also writes the events it names.
type TopicStore interface {
	// Subscribe keeps a subscription; one that is kept stays as it is. With past,
	// what was published on the topic before is put on the subscriber's account
	// too. Event: topic.subscribed, when it is new.
	Subscribe(ctx context.Context, tenant conclave.TenantID, sub conclave.Subscription, past bool) (conclave.Subscription, error)
	// Unsubscribe ends a subscription. ErrNotFound. Event: topic.left.
	Unsubscribe(ctx context.Context, tenant conclave.TenantID, topic, subscriber string) (conclave.Subscription, error)
	// Declare makes the topics those that an agent declares: declared
	// subscriptions come and go with the list, others stay. Events as above.
	Declare(ctx context.Context, tenant conclave.TenantID, agent conclave.AgentName, topics []string) error
	// Topics lists topics by name, with subscribers by name.
	Topics(ctx context.Context, tenant conclave.TenantID, in conclave.ListTopics) ([]conclave.Topic, error)
	// Publish keeps something that is said to many; on a topic, its recipients are
	// the subscribers at this moment. With the From and Key of an earlier one it
	// changes nothing and returns that, with created false. Event: message.published.
	Publish(ctx context.Context, p Published) (got Published, created bool, err error)
	// Handed says that a recipient got its task, or why it gets none.
	Handed(ctx context.Context, id, address string, task conclave.TaskID, why string) error
	// Publication returns one, with what came of each recipient's task. ErrNotFound.
	Publication(ctx context.Context, tenant conclave.TenantID, id string) (Published, error)
	// Publications lists what was published on a topic since a subscriber is one,
	// oldest first, without recipients. ErrNotFound when it is none.
	Publications(ctx context.Context, tenant conclave.TenantID, subscriber string, in conclave.ReadTopic) ([]conclave.Publication, error)
	// Unhanded lists what was kept at least so long ago and still has recipients
	// without a task.
	Unhanded(ctx context.Context, age time.Duration) ([]Published, error)
}

// Published is a publication as the store keeps it.
type Published struct {
	conclave.Publication
	Tenant  conclave.TenantID
	Key     string  // idempotency key, the sender's own
	Opening opening // who speaks on whose behalf
}

// open reports whether somebody still has to get a task of their own.
func (r recipient) open() bool { return !r.Reads && r.Task == "" && r.Error == "" }

type recipient conclave.Recipient

// handLimit is how many recipients of one message are served at once, and
// handAgain how old one must be for another hub to go on with it.
const (
	handLimit = 8
	handAgain = 30 * time.Second
)

func (h *Hub) topics() (TopicStore, error) {
	if h.opts.Topics == nil {
		return nil, conclave.Errorf(conclave.ErrUnsupported, "this hub keeps no topics")
	}
	return h.opts.Topics, nil
}

// self is the address of a caller as a subscriber.
func self(c conclave.Caller) string {
	switch {
	case c.Agent != "":
		return "agents/" + string(c.Agent)
	case c.Service != "":
		return "services/" + string(c.Service)
	}
	return "people/" + c.Human
}

// subscriber checks whom a caller may subscribe: themselves, and whoever may
// start work also agents and roles.
func subscriber(c conclave.Caller, topic, asked string) (string, error) {
	if err := conclave.CheckTopic(topic); err != nil {
		return "", err
	}
	if asked == "" || asked == self(c) {
		return self(c), nil
	}
	if _, err := parseAddress(asked); err != nil {
		return "", conclave.Errorf(conclave.ErrInvalid, "subscriber %q: want agents/NAME, roles/ROLE, or nothing for yourself", asked)
	}
	if c.Agent != "" || !c.May(conclave.PermitWork) {
		return "", broke("speaker", conclave.ErrDenied, "%s may subscribe only itself, not %s", c.Name(), asked)
	}
	return asked, nil
}

// Subscribe implements [conclave.Topics].
func (h *Hub) Subscribe(ctx context.Context, in conclave.SubscribeTopic) (conclave.Subscription, error) {
	store, err := h.topics()
	if err != nil {
		return conclave.Subscription{}, err
	}
	caller := conclave.CallerFrom(ctx)
	who, err := subscriber(caller, in.Topic, in.Subscriber)
	if err != nil {
		return conclave.Subscription{}, h.refuse(ctx, caller, conclave.SendMessage{To: "topics/" + in.Topic}, err)
	}
	if to, err := parseAddress(who); err == nil && who != self(caller) {
		if _, err := h.callees(ctx, caller.Tenant, to, conclave.SendMessage{To: who}, conclave.CallPath{}); err != nil {
			return conclave.Subscription{}, err
		}
	}
	sub, err := store.Subscribe(ctx, caller.Tenant, conclave.Subscription{Topic: in.Topic, Subscriber: who}, in.Past)
	if err != nil {
		return sub, fmt.Errorf("subscribing %s to %s: %w", who, in.Topic, err)
	}
	if in.Past {
		h.handOver(ctx, 0)
	}
	return sub, nil
}

// Unsubscribe implements [conclave.Topics].
func (h *Hub) Unsubscribe(ctx context.Context, in conclave.UnsubscribeTopic) (conclave.Subscription, error) {
	store, err := h.topics()
	if err != nil {
		return conclave.Subscription{}, err
	}
	caller := conclave.CallerFrom(ctx)
	who, err := subscriber(caller, in.Topic, in.Subscriber)
	if err != nil {
		return conclave.Subscription{}, h.refuse(ctx, caller, conclave.SendMessage{To: "topics/" + in.Topic}, err)
	}
	sub, err := store.Unsubscribe(ctx, caller.Tenant, in.Topic, who)
	if err != nil {
		return sub, fmt.Errorf("ending the subscription of %s to %s: %w", who, in.Topic, err)
	}
	return sub, nil
}

// ListTopics implements [conclave.Topics].
func (h *Hub) ListTopics(ctx context.Context, in conclave.ListTopics) ([]conclave.Topic, error) {
	store, err := h.topics()
	if err != nil {
		return nil, err
	}
	list, err := store.Topics(ctx, conclave.CallerFrom(ctx).Tenant, in)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	return list, nil
}

// Publish implements [conclave.Topics].
func (h *Hub) Publish(ctx context.Context, in conclave.PublishMessage) (conclave.Publication, error) {
	if err := conclave.CheckTopic(in.Topic); err != nil {
		return conclave.Publication{}, err
	}
	return h.sayToMany(ctx, conclave.Publication{Topic: in.Topic}, conclave.SendMessage{Key: in.Key, To: "topics/" + in.Topic, Run: in.Run, Kind: in.Kind, Text: in.Text, Data: in.Data, Call: in.Call})
}

// Broadcast implements [conclave.Broadcasts].
func (h *Hub) Broadcast(ctx context.Context, in conclave.BroadcastMessage) (conclave.Publication, error) {
	caller := conclave.CallerFrom(ctx)
	agents, err := h.opts.Store.Agents(ctx, caller.Tenant, conclave.ListAgents{Role: in.Role})
	if err != nil {
		return conclave.Publication{}, fmt.Errorf("looking for whom to tell: %w", err)
	}
	p := conclave.Publication{Role: in.Role}
	for _, a := range agents {
		if a.Name != caller.Agent && !slices.Contains(in.Exclude, a.Name) {
			p.Recipients = append(p.Recipients, conclave.Recipient{Address: "agents/" + string(a.Name)})
		}
	}
	to := "agents"
	if in.Role != "" {
		to = "roles/" + string(in.Role)
	}
	if len(p.Recipients) == 0 {
		return p, conclave.Errorf(conclave.ErrNotFound, "there is nobody else at %s to tell", to)
	}
	return h.sayToMany(ctx, p, conclave.SendMessage{Key: in.Key, To: to, Conversation: in.Conversation, Run: in.Run, Kind: in.Kind, Text: in.Text, Data: in.Data, Call: in.Call})
}

// sayToMany keeps what is said with its recipients, and gives each its task. A
// hub that ends in between goes on when it is back.
func (h *Hub) sayToMany(ctx context.Context, p conclave.Publication, in conclave.SendMessage) (conclave.Publication, error) {
	store, err := h.topics()
	if err != nil {
		return p, err
	}
	if err := checkContent(in.Text, in.Data); err != nil {
		return p, err
	}
	caller := conclave.CallerFrom(ctx)
	o, err := h.open(ctx, caller, in)
	if err != nil {
		return p, h.refuse(ctx, caller, in, err)
	}
	p.ID, p.From, p.Kind, p.Text, p.Data = conclave.NewID("pub"), o.From, in.Kind, in.Text, in.Data
	p.Conversation, p.Run = cmp.Or(in.Conversation, o.Conversation), cmp.Or(in.Run, o.Run)
	if p.Conversation == "" {
		p.Conversation = conclave.ConversationID(conclave.NewID("talk"))
	}
	kept, created, err := store.Publish(ctx, Published{Publication: p, Tenant: caller.Tenant, Key: in.Key, Opening: o})
	if err != nil {
		return p, fmt.Errorf("keeping a message to %s: %w", in.To, err)
	}
	if created {
		h.hand(ctx, kept)
	}
	kept, err = store.Publication(ctx, caller.Tenant, kept.ID)
	return kept.Publication, err
}

// hand gives each recipient that has none its task. It is the same task however
// often this is done.
func (h *Hub) hand(ctx context.Context, p Published) {
	ctx = context.WithoutCancel(ctx) // what is kept is sent, whoever still listens
	var busy sync.WaitGroup
	slots := make(chan struct{}, handLimit)
	for _, r := range p.Recipients {
		if !recipient(r).open() {
			continue
		}
		slots <- struct{}{}
		busy.Go(func() {
			defer func() { <-slots }()
			h.handOne(ctx, p, r.Address)
		})
	}
	busy.Wait()
}

func (h *Hub) handOne(ctx context.Context, p Published, address string) {
	in := conclave.SendMessage{Key: p.ID + " " + address, To: address, Conversation: p.Conversation, Run: p.Run, Kind: p.Kind, Text: p.Text, Data: p.Data}
	var t Task
	var err error
	if address == self(p.Opening.Caller) {
		err = conclave.Errorf(conclave.ErrLimited, "it said so itself")
	} else {
		t, err = h.post(conclave.WithCaller(ctx, p.Opening.Caller), p.Opening, in, "")
	}
	why := ""
	switch kind := conclave.KindOf(err); {
	case err == nil:
	case errors.Is(kind, conclave.ErrUnavailable), errors.Is(kind, conclave.ErrInternal), errors.Is(kind, conclave.ErrTimeout):
		h.opts.Logger.WarnContext(ctx, "handing a message on; trying again later", "publication", p.ID, "to", address, "err", err)
		return
	default:
		why = shownError(err)
	}
	if err := h.opts.Topics.Handed(ctx, p.ID, address, t.ID, why); err != nil {
		h.opts.Logger.WarnContext(ctx, "noting that a message was handed on; trying again later", "publication", p.ID, "to", address, "err", err)
	}
}

// handOver goes on with what some hub did not get done.
func (h *Hub) handOver(ctx context.Context, age time.Duration) {
	if h.opts.Topics == nil {
		return
	}
	open, err := h.opts.Topics.Unhanded(ctx, age)
	if err != nil {
		if ctx.Err() == nil {
			h.opts.Logger.ErrorContext(ctx, "looking for messages to many that are not out", "err", err)
		}
		return
	}
	for _, p := range open {
		h.hand(ctx, p)
	}
}

// Read implements [conclave.Topics].
func (h *Hub) Read(ctx context.Context, in conclave.ReadTopic) ([]conclave.Publication, error) {
	store, err := h.topics()
	if err != nil {
		return nil, err
	}
	if err := conclave.CheckTopic(in.Topic); err != nil {
		return nil, err
	}
	if in.Limit == 0 {
		in.Limit = 100
	}
	if in.Limit < 0 || in.Limit > 1000 {
		return nil, conclave.Errorf(conclave.ErrInvalid, "limit %d: want 1 to 1000", in.Limit)
	}
	caller := conclave.CallerFrom(ctx)
	list, err := store.Publications(ctx, caller.Tenant, self(caller), in)
	if err != nil {
		return nil, fmt.Errorf("reading topic %s: %w", in.Topic, err)
	}
	return list, nil
}

// Publication implements [conclave.Broadcasts].
func (h *Hub) Publication(ctx context.Context, in conclave.GetPublication) (conclave.Publication, error) {
	store, err := h.topics()
	if err != nil {
		return conclave.Publication{}, err
	}
	d := time.Duration(in.Wait) * time.Millisecond
	if d < 0 || d > maxWait {
		return conclave.Publication{}, conclave.Errorf(conclave.ErrInvalid, "wait_ms %d: want 0 to %d", in.Wait, maxWait.Milliseconds())
	}
	caller := conclave.CallerFrom(ctx)
	deadline := h.opts.Clock().Add(d)
	for {
		p, err := store.Publication(ctx, caller.Tenant, in.ID)
		if err != nil {
			return p.Publication, fmt.Errorf("reading %s: %w", in.ID, err)
		}
		i := slices.IndexFunc(p.Recipients, func(r conclave.Recipient) bool { return r.Task != "" && !r.State.Ended() })
		left := deadline.Sub(h.opts.Clock())
		if i < 0 || left <= 0 {
			return p.Publication, nil
		}
		if _, err := h.opts.Store.Wait(ctx, p.Recipients[i].Task, p.Recipients[i].State, left); err != nil {
			return p.Publication, fmt.Errorf("waiting for %s: %w", p.Recipients[i].Address, err)
		}
	}
}

// declare subscribes an agent to the topics that it names when it registers.
func (h *Hub) declare(ctx context.Context, tenant conclave.TenantID, a conclave.Agent) error {
	if h.opts.Topics == nil {
		return nil
	}
	return h.opts.Topics.Declare(ctx, tenant, a.Name, a.Topics)
}

// PublicationEvent is the event of a publication: who said what to how many, and
// in place of its data the hash of both.
func PublicationEvent(p Published) (conclave.Event, error) {
	to := "agents"
	switch {
	case p.Topic != "":
		to = "topics/" + p.Topic
	case p.Role != "":
		to = "roles/" + string(p.Role)
	}
	addresses := make([]string, len(p.Recipients))
	for i, r := range p.Recipients {
		addresses[i] = r.Address
	}
	hash := conclave.Message{Text: p.Text, Data: p.Data}.Hash()
	data, err := json.Marshal(map[string]any{"to": to, "kind": p.Kind, "text": p.Text, "hash": hash, "recipients": addresses})
	return conclave.Event{Tenant: p.Tenant, Kind: conclave.EventPublished, Actor: p.From, Run: p.Run, Conversation: p.Conversation, Subject: p.ID,
		Text: fmt.Sprintf("%s to %s: %s", p.From, to, counted(len(p.Recipients), "recipient")), Data: data}, err
}

func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Readable reports whether a subscriber reads a topic rather than getting tasks.
func Readable(address string) bool {
	return strings.HasPrefix(address, "people/") || strings.HasPrefix(address, "services/")
}
