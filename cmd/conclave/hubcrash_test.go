package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	a2agrpc "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/pgtest"
	"conclave/internal/restwire"
)

// What these tests play: senders speak to an agent through the hub, over each
// binding and in several conversations, are told by push notifications, and an
// operator has dead letters delivered again. Meanwhile the hub, the agent or the
// connection to the database is killed. What is compared is the log of the
// senders, who repeat a message until it is acknowledged, with the log of the
// agent, both outside of the product.

const (
	talksOfPlay   = 4
	messagesEach  = 8
	pushEvery     = 3 // message has its sender told by push notifications
	trafficLimit  = 100 * time.Second
	mutantLimit   = 20 * time.Second // of one that never comes to its end
	awayLifetime  = 1000             // of messages to an agent that is away, in milliseconds
	droppedLetter = "away-dropped"
)

// senders of a play, by how they speak.
var senders = []struct {
	name             string
	binding          a2a.TransportProtocol
	streams, hangsUp bool
}{
	{name: "rpc", binding: a2a.TransportProtocolJSONRPC},
	{name: "rest", binding: a2a.TransportProtocolHTTPJSON},
	{name: "grpc", binding: a2a.TransportProtocolGRPC},
	{name: "rpcstream", binding: a2a.TransportProtocolJSONRPC, streams: true},
	{name: "grpcstream", binding: a2a.TransportProtocolGRPC, streams: true},
	{name: "rpchangup", binding: a2a.TransportProtocolJSONRPC, streams: true, hangsUp: true},
	{name: "grpchangup", binding: a2a.TransportProtocolGRPC, streams: true, hangsUp: true},
	{name: "rpc2", binding: a2a.TransportProtocolJSONRPC},
}

// hubKill says who dies, and when.
type hubKill struct {
	who   string // hub, agent, database
	point string // NAME:N of a point, as that one counts them
	after time.Duration
}

func (k hubKill) String() string {
	if k.point != "" {
		return k.who + " at " + k.point
	}
	return fmt.Sprint(k.who, " after ", k.after)
}

// traffic is one play.
type traffic struct {
	*installation
	program  string
	services []string
	agent    *agentProcess
	receiver *httptest.Server

	mu       sync.Mutex
	server   *server
	deaths   int
	closed   bool
	accepted map[string]a2a.TaskID // what was acknowledged, by text
	pushed   map[string][]string   // what the receiver was told of it, in order
	points   string                // where the hub logs the points that it passes
	failed   []string              // calls that never succeeded
}

// serve starts the hub, and again each time that it dies, until stop is called.
func (p *traffic) serveAlways(env map[string]string) (stop func()) {
	p.server = p.start(p.program, env, p.services...)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			<-p.server.ended
			p.mu.Lock()
			if p.closed {
				p.mu.Unlock()
				return
			}
			p.deaths++
			p.server = p.start(p.program, nil, p.services...)
			p.mu.Unlock()
		}
	}()
	return func() {
		p.mu.Lock()
		p.closed = true
		_ = p.server.cmd.Process.Kill() // fails when it has ended, which is as good
		p.mu.Unlock()
		<-gone
	}
}

// hub returns where the hub is now, and the token.
func (p *traffic) hub() (base, token string, err error) {
	urls, err := app.ReadAddresses(p.home)
	if err != nil {
		return "", "", err
	}
	if token, err = app.ReadToken(p.home); err == nil && urls[conclave.ServiceHub] == "" {
		err = conclave.Errorf(conclave.ErrUnavailable, "there is no hub yet")
	}
	return urls[conclave.ServiceHub], token, err
}

// repeat calls f until it succeeds.
func (p *traffic) repeat(ctx context.Context, what string, f func(ctx context.Context) error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := f(once)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = append(p.failed, fmt.Sprintf("%s: no success; the last error: %v", what, err))
			return
		}
	}
}

// rest calls the hub over REST until it succeeds.
func (p *traffic) rest(ctx context.Context, what string, f func(ctx context.Context, c *restwire.Client) error) {
	p.repeat(ctx, what, func(ctx context.Context) error {
		base, token, err := p.hub()
		if err != nil {
			return err
		}
		c := restwire.Dial(restwire.DialOptions{Base: base, Token: func(context.Context) (string, error) { return token, nil }})
		defer c.Close()
		return f(ctx, c)
	})
}

// bearerToken is a token as gRPC wants it.
type bearerToken string

func (b bearerToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearerToken) RequireTransportSecurity() bool { return false }

func (b bearerToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// dial makes a client of the official SDK for the agent behind the hub.
func (p *traffic) dial(ctx context.Context, binding a2a.TransportProtocol) (*a2aclient.Client, error) {
	base, token, err := p.hub()
	if err != nil {
		return nil, err
	}
	at := a2a.NewAgentInterface(base+"/a2a/agents/recorder", binding)
	if binding == a2a.TransportProtocolGRPC {
		at.URL, at.Tenant = strings.TrimPrefix(base, "http://"), "agents/recorder"
	}
	hc := &http.Client{Transport: bearerToken(token)}
	return a2aclient.NewFromEndpoints(ctx, []*a2a.AgentInterface{at}, a2aclient.WithJSONRPCTransport(hc), a2aclient.WithRESTTransport(hc),
		a2agrpc.WithGRPCTransport(grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearerToken(token))))
}

// send sends the messages of one sender, each once the one before was acknowledged.
func (p *traffic) send(ctx context.Context, n int) {
	s := senders[n]
	for i := range messagesEach {
		text := fmt.Sprint(s.name, "-", i)
		msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text))
		msg.ContextID = fmt.Sprint("talk-", n%talksOfPlay)
		req := &a2a.SendMessageRequest{Message: msg, Config: &a2a.SendMessageConfig{ReturnImmediately: true}}
		if i%pushEvery == 0 {
			req.Config.PushConfig = &a2a.PushConfig{URL: p.receiver.URL + "/" + text}
		}
		p.repeat(ctx, "sending "+text, func(ctx context.Context) error {
			c, err := p.dial(ctx, s.binding)
			if err != nil {
				return err
			}
			defer c.Destroy()
			if s.streams {
				return p.stream(ctx, c, req, text, s.hangsUp)
			}
			result, err := c.SendMessage(ctx, req)
			if err != nil {
				return err
			}
			task, ok := result.(*a2a.Task)
			if !ok {
				return fmt.Errorf("%s was answered with %T", text, result)
			}
			p.acknowledged(text, task.ID)
			return nil
		})
	}
}

// stream sends a message and follows it. Its first event is the acknowledgement;
// what becomes of the stream after it is no matter.
func (p *traffic) stream(ctx context.Context, c *a2aclient.Client, req *a2a.SendMessageRequest, text string, hangUp bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	acknowledged := false
	for event, err := range c.SendStreamingMessage(ctx, req) {
		if err != nil && !acknowledged {
			return err
		}
		if err != nil || hangUp && acknowledged {
			return nil
		}
		if task, ok := event.(*a2a.Task); ok {
			acknowledged = true
			p.acknowledged(text, task.ID)
		}
	}
	if !acknowledged {
		return fmt.Errorf("the stream of %s ended before it began", text)
	}
	return nil
}

func (p *traffic) acknowledged(text string, task a2a.TaskID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted[text] = task
}

// register makes an agent known under an address.
func (p *traffic) register(ctx context.Context, name, addr string) {
	p.rest(ctx, "registering "+name, func(ctx context.Context, c *restwire.Client) error {
		_, err := c.Hub().Register(ctx, conclave.RegisterAgent{Agent: conclave.Agent{Name: conclave.AgentName(name), Role: "recorder", URL: "http://" + addr, Capacity: 4}})
		return err
	})
}

// say sends a message over REST.
func (p *traffic) say(ctx context.Context, to, text string, ttl int) {
	p.rest(ctx, "sending "+text, func(ctx context.Context, c *restwire.Client) error {
		task, err := c.Hub().Send(ctx, conclave.SendMessage{Key: text, To: to, Text: text, TTL: ttl})
		if err == nil {
			p.acknowledged(text, a2a.TaskID(task.ID))
		}
		return err
	})
}

// operate lets messages to an agent that is away die, drops one, and has the
// others delivered once the agent is there. A message without a lifetime waits.
func (p *traffic) operate(ctx context.Context) {
	const nobody = "127.0.0.1:9" // discard: nothing listens there
	p.register(ctx, "away", nobody)
	p.register(ctx, "late", nobody)
	p.say(ctx, "agents/late", "late", 0)
	for _, text := range []string{"away-1", "away-2", droppedLetter} {
		p.say(ctx, "agents/away", text, awayLifetime)
	}
	registered := false
	p.repeat(ctx, "dead letters", func(ctx context.Context) error {
		var dead []conclave.DeadLetter
		p.rest(ctx, "listing dead letters", func(ctx context.Context, c *restwire.Client) (err error) {
			dead, err = c.DeadLetters().Dead(ctx, conclave.ListDeadLetters{})
			return err
		})
		if !registered && len(dead) < 3 {
			return fmt.Errorf("%d letters are dead, want 3", len(dead))
		}
		if !registered {
			registered = true
			p.register(ctx, "away", p.agent.addr)
			p.register(ctx, "late", p.agent.addr)
		}
		for _, l := range dead {
			p.rest(ctx, "handling a dead letter", func(ctx context.Context, c *restwire.Client) (err error) {
				if l.Message.Text == droppedLetter {
					_, err = c.DeadLetters().Drop(ctx, conclave.NameTask{ID: l.Task})
				} else {
					var t conclave.Task
					if t, err = c.DeadLetters().Retry(ctx, conclave.NameTask{ID: l.Task}); err == nil {
						p.acknowledged(l.Message.Text, a2a.TaskID(t.ID))
					}
				}
				if conclave.KindOf(err) == conclave.ErrNotFound {
					return nil // an earlier try that was not answered
				}
				return err
			})
		}
		if done, _ := p.agent.effects(); !slices.Contains(done, "away-1") || !slices.Contains(done, "away-2") {
			return fmt.Errorf("what was retried has not been delivered")
		}
		return nil
	})
}

// notified is the receiver of push notifications. It refuses the first of every
// other message.
func (p *traffic) notified(w http.ResponseWriter, r *http.Request) {
	text := strings.TrimPrefix(r.URL.Path, "/")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the hub died on the way
	}
	var told struct {
		StatusUpdate *struct {
			Status struct{ State string }
		}
		ArtifactUpdate *struct {
			Artifact struct{ Parts []struct{ Text string } }
		}
	}
	what := ""
	if err := json.Unmarshal(body, &told); err != nil {
		what = err.Error()
	} else if told.StatusUpdate != nil {
		what = told.StatusUpdate.Status.State
	} else if a := told.ArtifactUpdate; a != nil && len(a.Artifact.Parts) > 0 {
		what = a.Artifact.Parts[0].Text
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, known := p.pushed[text]
	if !known && len(text)%2 == 0 {
		p.pushed[text] = []string{}
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	p.pushed[text] = append(seen, what)
}

// finished asks the hub, in the end, how each message stands.
func (p *traffic) finished(ctx context.Context) {
	p.rest(ctx, "the end of every task", func(ctx context.Context, c *restwire.Client) error {
		for text, id := range maps.Clone(p.accepted) {
			if text == droppedLetter {
				continue
			}
			t, err := c.Hub().Task(ctx, conclave.GetTask{ID: conclave.TaskID(id)})
			if err != nil {
				return err
			}
			if t.State != conclave.TaskCompleted {
				return fmt.Errorf("task %s of %s is %s: %s", id, text, t.State, t.Error)
			}
		}
		dead, err := c.DeadLetters().Dead(ctx, conclave.ListDeadLetters{})
		if err == nil && len(dead) > 0 {
			err = fmt.Errorf("%d dead letters are left", len(dead))
		}
		return err
	})
}

// played is what came of a play.
type played struct {
	odd    []string
	died   bool // somebody was killed
	took   time.Duration
	passed map[string]int // how often the hub passed each point
}

// playTraffic plays once.
func playTraffic(t *testing.T, program string, k hubKill, limit time.Duration) played {
	t.Helper()
	p := &traffic{installation: newInstallation(t), program: program, accepted: map[string]a2a.TaskID{}, pushed: map[string][]string{}}
	p.points = filepath.Join(p.home, "points")
	p.receiver = httptest.NewServer(http.HandlerFunc(p.notified))
	defer p.receiver.Close()
	p.env["CONCLAVE_PUSH_NETWORKS"], p.env["AGENT_POOL_SIZE"] = "127.0.0.0/8", "8"
	env := map[string]string{"CONCLAVE_TEST_KILL_LOG": p.points}
	agentPoint := ""
	var proxy *cutter
	switch k.who {
	case "hub":
		env["CONCLAVE_TEST_KILL"] = k.point
	case "agent":
		agentPoint = k.point
	case "database":
		proxy = p.throughProxy(k.point)
	}
	p.agent = startRecorder(t, agentPoint)
	defer p.serveAlways(env)()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	p.register(ctx, "recorder", p.agent.addr)
	begun := time.Now()
	if k.after > 0 {
		timer := time.AfterFunc(k.after, func() {
			switch k.who {
			case "hub":
				p.mu.Lock()
				defer p.mu.Unlock()
				_ = p.server.cmd.Process.Kill() // fails when it has ended, which is as good
			case "agent":
				p.agent.kill()
			case "database":
				proxy.cut()
			}
		})
		defer timer.Stop()
	}
	var load sync.WaitGroup
	load.Go(func() { p.operate(ctx) })
	for n := range senders {
		load.Go(func() { p.send(ctx, n) })
	}
	load.Wait()
	p.repeat(ctx, "what was acknowledged", func(context.Context) error { return p.settled() })
	p.finished(ctx)

	out := played{odd: p.odd(), died: p.agent.died() > 0, took: time.Since(begun), passed: map[string]int{}}
	if text, err := os.ReadFile(p.points); err == nil {
		for _, name := range strings.Fields(string(text)) {
			out.passed[name]++
		}
	}
	p.mu.Lock()
	out.died = out.died || p.deaths > 0
	p.mu.Unlock()
	if proxy != nil {
		out.died = out.died || proxy.hasCut()
	}
	return out
}

// throughProxy lets the hub run by itself on Postgres, behind a proxy that breaks
// its connections.
func (p *traffic) throughProxy(at string) *cutter {
	p.t.Helper()
	u, err := url.Parse(pgtest.URL(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	proxy := startCutter(p.t, u.Host, at)
	u.Host = proxy.listener.Addr().String()
	p.env["CONCLAVE_DATABASE_URL"], p.services = u.String(), []string{string(conclave.ServiceHub)}
	return proxy
}

// hubPoints are those at which the hub dies, and agentPoints the agent's.
var (
	hubPoints   = []string{"send", "commit", "deliver", "settle", "push", "told"}
	agentPoints = []string{"receive.before", "reply.before", "reply.after"}
)

func hubKills(calm played) (kills []hubKill) {
	counts, took := calm.passed, calm.took
	at := func(who, point string, n int) {
		kills = append(kills, hubKill{who: who, point: fmt.Sprint(point, ":", n)})
	}
	if only := os.Getenv("CONCLAVE_TEST_CRASH_POINT"); only != "" {
		who, point, _ := strings.Cut(only, "=")
		return []hubKill{{who: who, point: point}}
	}
	if !crashAll() {
		at("database", "commit.before", 100) // these take longest, because claims have to grow stale
		at("database", "commit.after", 120)
		at("hub", "send.after", counts["send.after"]/2)
		at("hub", "commit.after", counts["commit.after"]/3)
		at("hub", "deliver.after", counts["deliver.after"]/2)
		at("hub", "told.before", counts["told.before"]/2)
		at("agent", "reply.before", 20)
		return append(kills, hubKill{who: "hub", after: took/5 + rand.N(took/2)})
	}
	for _, name := range hubPoints {
		for _, side := range []string{".before", ".after"} {
			for _, n := range spread(counts[name+side]) {
				at("hub", name+side, n)
			}
		}
	}
	for _, point := range agentPoints {
		at("agent", point, 1+rand.IntN(60))
	}
	for _, point := range []string{"commit.before", "commit.after"} {
		at("database", point, 60+rand.IntN(200))
	}
	random := 50 - len(kills)
	if n, err := strconv.Atoi(os.Getenv("CONCLAVE_TEST_CRASH_RANDOM")); err == nil {
		random = n
	}
	who := []string{"hub", "agent", "database"}
	for n := range max(random, len(who)) {
		kills = append(kills, hubKill{who: who[n%len(who)], after: took/10 + rand.N(took/2)})
	}
	return kills
}

// Whoever is killed on a message's way, what was acknowledged is delivered, has
// its effect once, and in the order of its conversation.
func TestHubCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("kills real processes")
	}
	program := killable(t)
	calm := playTraffic(t, program, hubKill{}, trafficLimit)
	if len(calm.odd) > 0 {
		t.Fatalf("an undisturbed play is odd already:\n%s", strings.Join(calm.odd, "\n"))
	}
	t.Logf("undisturbed it takes %v and passes %v", calm.took.Round(time.Millisecond), calm.passed)
	for _, name := range hubPoints {
		if calm.passed[name+".before"] == 0 || calm.passed[name+".after"] == 0 {
			t.Errorf("no message passes %s.before and %s.after: %v", name, name, calm.passed)
		}
	}
	for _, k := range hubKills(calm) {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel() // a play waits most of its time
			for {
				p := playTraffic(t, program, k, trafficLimit)
				t.Logf("it took %v", p.took.Round(time.Millisecond))
				if len(p.odd) > 0 {
					t.Fatalf("killed %s:\n%s", k, strings.Join(p.odd, "\n"))
				}
				if p.died {
					return
				}
				if k.after == 0 {
					t.Fatal("nobody was killed")
				}
				k.after /= 2
			}
		})
	}
}
