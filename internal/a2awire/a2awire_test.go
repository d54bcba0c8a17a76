package a2awire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"conclave"
	"conclave/internal/a2awire"
)

// asService lets every request through as the hub's.
func asService(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := conclave.ServiceCaller(conclave.ServiceHub, conclave.DefaultTenant, "ada")
		h.ServeHTTP(w, r.WithContext(conclave.WithCaller(r.Context(), caller)))
	})
}

// everyWire runs a test over a socket and in memory.
func everyWire(t *testing.T, h http.Handler, test func(t *testing.T, dial func(path string) *a2awire.Client)) {
	dialer := func(t *testing.T, base string, rt http.RoundTripper) func(string) *a2awire.Client {
		return func(path string) *a2awire.Client {
			t.Helper()
			c, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: base + path, Transport: rt})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	t.Run("socket", func(t *testing.T) {
		srv := httptest.NewServer(asService(h))
		defer srv.Close()
		test(t, dialer(t, srv.URL, nil))
	})
	t.Run("memory", func(t *testing.T) {
		local := &a2awire.Local{}
		local.Serve("host", asService(h))
		test(t, dialer(t, "local://host", local))
	})
}

func newAgent(t *testing.T, handle a2awire.Handler) (http.Handler, *a2awire.Runner) {
	t.Helper()
	h, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{Card: a2awire.Card{Name: "tester", Description: "For tests."}, Handle: handle})
	t.Cleanup(runner.Close)
	return h, runner
}

func TestEverythingArrives(t *testing.T) {
	var got a2awire.Incoming
	h, _ := newAgent(t, func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
		got = in
		return a2awire.Outgoing{Text: "Ünïcode ✓", Data: json.RawMessage(`{"n":1,"list":[]}`)}, nil
	})
	everyWire(t, h, func(t *testing.T, dial func(string) *a2awire.Client) {
		sent := a2awire.Outbound{
			ID: conclave.MessageID("m-" + t.Name()), Context: "talk", References: []conclave.TaskID{"t1"}, Text: "Hello?", Data: json.RawMessage(`{"kind":"ask","tokens":9007199254740991}`),
			Call: conclave.CallPath{Human: "ada", Path: []string{"ada", "tester"}, Hops: 2, Tokens: 7}, Run: "run-1", Kind: conclave.AssignAsk,
		}
		var remote string
		result, err := dial("").Send(t.Context(), sent, func(id string) { remote = id })
		if err != nil {
			t.Fatal(err)
		}
		if result.State != conclave.TaskCompleted || result.Text != "Ünïcode ✓" || string(result.Data) != `{"list":[],"n":1}` || result.Err != nil || result.Remote != remote || remote == "" {
			t.Errorf("the result is %+v, accepted as %q", result, remote)
		}
		if got.MessageID != sent.ID || got.ContextID != "talk" || got.References[0] != "t1" || got.Text != "Hello?" ||
			fmt.Sprint(got.Call) != fmt.Sprint(sent.Call) || got.Run != "run-1" || got.Kind != conclave.AssignAsk || !strings.Contains(string(got.Data), `"kind":"ask"`) {
			t.Errorf("the agent got %+v", got)
		}
		if got.TaskID == "" {
			t.Error("the handler does not know its task")
		}
	})
}

// TestKinds sends every kind of error through a real server and client, once as
// the task's end and once as the refusal of the message itself.
func TestKinds(t *testing.T) {
	var fail error
	h, _ := newAgent(t, func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) { return a2awire.Outgoing{}, fail })
	refuse := a2awire.NewServer(a2awire.ServerOptions{Tasks: refusing{&fail}})
	mux := http.NewServeMux()
	mux.Handle("/agent/", http.StripPrefix("/agent", h))
	mux.Handle("/refuse/", http.StripPrefix("/refuse", refuse))
	everyWire(t, mux, func(t *testing.T, dial func(string) *a2awire.Client) {
		for _, kind := range conclave.Kinds() {
			fail = conclave.Errorf(kind, "because of %s", kind)
			id := conclave.MessageID(fmt.Sprintf("%s-%s", t.Name(), kind))
			result, err := dial("/agent/").Send(t.Context(), a2awire.Outbound{ID: id, Text: "x"}, nil)
			if err != nil || result.State != conclave.TaskFailed || !errors.Is(result.Err, kind) || result.Err.Error() != fail.Error() {
				t.Errorf("a task that failed as %v came back as %s %v, %v", kind, result.State, result.Err, err)
			}
			_, err = dial("/refuse/").Send(t.Context(), a2awire.Outbound{ID: id, Text: "x"}, nil)
			if !errors.Is(err, kind) || err.Error() != fail.Error() {
				t.Errorf("a message that was refused as %v came back as %v", kind, err)
			}
		}
	})
}

// refusing is a Tasks that accepts nothing.
type refusing struct{ why *error }

func (r refusing) Accept(context.Context, a2awire.Incoming) (a2awire.Task, error) {
	return a2awire.Task{}, *r.why
}
func (r refusing) Answer(context.Context, a2awire.Incoming) (a2awire.Task, error) {
	return a2awire.Task{}, *r.why
}
func (r refusing) Wait(context.Context, conclave.TaskID, conclave.TaskState) (a2awire.Task, error) {
	return a2awire.Task{}, *r.why
}
func (r refusing) Cancel(context.Context, conclave.TaskID) (a2awire.Task, error) {
	return a2awire.Task{}, *r.why
}
func (r refusing) List(context.Context, a2awire.Filter) (a2awire.List, error) {
	return a2awire.List{}, *r.why
}

func TestCancel(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{}, 1)
	h, _ := newAgent(t, func(ctx context.Context, _ a2awire.Incoming) (a2awire.Outgoing, error) {
		started <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return a2awire.Outgoing{}, ctx.Err()
	})
	everyWire(t, h, func(t *testing.T, dial func(string) *a2awire.Client) {
		c := dial("")
		cancelled := make(chan error, 1)
		result, err := c.Send(t.Context(), a2awire.Outbound{ID: conclave.MessageID(t.Name()), Text: "x"}, func(remote string) {
			go func() {
				<-started
				cancelled <- c.Cancel(t.Context(), remote)
			}()
		})
		if err != nil || result.State != conclave.TaskCanceled || result.Err == nil {
			t.Errorf("%+v, %v", result, err)
		}
		if err := <-cancelled; err != nil {
			t.Error(err)
		}
		<-ended
		if err := c.Cancel(t.Context(), result.Remote); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("cancelling twice: %v", err)
		}
		if err := c.Cancel(t.Context(), "no-such-task"); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("cancelling nothing: %v", err)
		}
	})
}

func TestSenderThatGoesAwayJoinsAgain(t *testing.T) {
	gate := make(chan struct{})
	runs := 0
	h, _ := newAgent(t, func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) {
		runs++
		<-gate
		return a2awire.Outgoing{Text: "done"}, nil
	})
	srv := httptest.NewServer(asService(h))
	defer srv.Close()
	c, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	if _, err := c.Send(ctx, a2awire.Outbound{ID: "m1", Text: "x"}, func(string) { leave() }); !errors.Is(err, context.Canceled) {
		t.Errorf("leaving: %v", err)
	}
	result, err := c.Send(t.Context(), a2awire.Outbound{ID: "m1", Text: "x"}, func(string) { close(gate) })
	if err != nil || result.Text != "done" || runs != 1 {
		t.Errorf("%+v, %v after %d runs; want the first run's reply", result, err, runs)
	}
}

func TestWhoMaySpeak(t *testing.T) {
	h, _ := newAgent(t, func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) {
		return a2awire.Outgoing{Text: "hi"}, nil
	})
	strict, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{Card: a2awire.Card{Name: "strict"}, Permission: conclave.PermitAdmin,
		Handle: func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) {
			return a2awire.Outgoing{Text: "hi"}, nil
		}})
	defer runner.Close()
	local := &a2awire.Local{}
	local.Serve("nobody", h)
	local.Serve("strict", asService(strict))
	for _, host := range []string{"nobody", "strict"} {
		c, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: "local://" + host, Transport: local})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send(t.Context(), a2awire.Outbound{ID: "m", Text: "x"}, nil); !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("%s: %v, want denied", host, err)
		}
	}
}

func TestEachRequestHasAFreshToken(t *testing.T) {
	h, _ := newAgent(t, func(context.Context, a2awire.Incoming) (a2awire.Outgoing, error) {
		return a2awire.Outgoing{Text: "hi"}, nil
	})
	var seen []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		asService(h).ServeHTTP(w, r)
	}))
	defer srv.Close()
	n := 0
	c, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: srv.URL, Token: func(context.Context) (string, error) {
		n++
		return fmt.Sprint("token-", n), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, err := c.Send(t.Context(), a2awire.Outbound{ID: conclave.MessageID(fmt.Sprint(i)), Text: "x"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(seen) != "[Bearer token-1 Bearer token-2]" {
		t.Errorf("the server saw %v", seen)
	}
}

func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "upstream", http.StatusBadGateway) }))
	defer broken.Close()
	garbled := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello</html>") }))
	defer garbled.Close()
	for name, c := range map[string]struct {
		url  string
		kind error
	}{
		"a closed port":       {gone.URL, conclave.ErrUnavailable},
		"a bad gateway":       {broken.URL, conclave.ErrUnavailable},
		"no A2A at all":       {garbled.URL, conclave.ErrUnavailable},
		"nobody in memory":    {"local://nobody", conclave.ErrUnavailable},
		"a card that is gone": {gone.URL + "/.well-known/agent-card.json", conclave.ErrUnavailable},
	} {
		client, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: c.url, Transport: &a2awire.Local{}})
		if err == nil {
			_, err = client.Send(t.Context(), a2awire.Outbound{ID: "m", Text: "x"}, nil)
		}
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}

// foreign is an agent that somebody else wrote with the SDK: it answers with a
// message, or with a task that says all in its status.
type foreign struct{ asTask bool }

func (f foreign) Execute(_ context.Context, e *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		said := a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("foreign "+e.Message.Parts[0].Text()))
		if !f.asTask {
			yield(said, nil)
			return
		}
		if yield(a2a.NewSubmittedTask(e, e.Message), nil) {
			yield(a2a.NewStatusUpdateEvent(e, a2a.TaskStateCompleted, said), nil)
		}
	}
}

func (f foreign) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(func(a2a.Event, error) bool) {}
}

func TestForeignAgents(t *testing.T) {
	for _, version := range []a2a.ProtocolVersion{a2a.Version, a2av0.Version} {
		for _, binding := range []a2a.TransportProtocol{a2a.TransportProtocolJSONRPC, a2a.TransportProtocolHTTPJSON} {
			for _, f := range []foreign{{false}, {true}} {
				t.Run(fmt.Sprintf("%s %s as task %t", binding, version, f.asTask), func(t *testing.T) {
					mux := http.NewServeMux()
					srv := httptest.NewServer(mux)
					defer srv.Close()
					rh := a2asrv.NewHandler(f)
					face := a2asrv.NewJSONRPCHandler(rh)
					switch {
					case version == a2a.Version && binding == a2a.TransportProtocolHTTPJSON:
						face = a2asrv.NewRESTHandler(rh)
					case version == a2av0.Version && binding == a2a.TransportProtocolHTTPJSON:
						face = a2av0.NewRESTHandler(rh)
					case version == a2av0.Version:
						face = a2av0.NewJSONRPCHandler(rh)
					}
					mux.Handle("/", face)
					card := &a2a.AgentCard{Name: "foreign", Capabilities: a2a.AgentCapabilities{Streaming: true},
						SupportedInterfaces: []*a2a.AgentInterface{{URL: srv.URL, ProtocolBinding: binding, ProtocolVersion: version}}}
					var producer a2asrv.AgentCardProducer = a2asrv.AgentCardProducerFn(func(context.Context) (*a2a.AgentCard, error) { return card, nil })
					if version == a2av0.Version {
						producer = a2av0.NewStaticAgentCardProducer(card)
					}
					mux.Handle(a2asrv.WellKnownAgentCardPath, a2asrv.NewAgentCardHandler(producer))

					c, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: srv.URL + a2asrv.WellKnownAgentCardPath})
					if err != nil {
						t.Fatal(err)
					}
					result, err := c.Send(t.Context(), a2awire.Outbound{ID: "m1", Text: "hello"}, nil)
					if err != nil || result.State != conclave.TaskCompleted || result.Text != "foreign hello" {
						t.Errorf("got %+v, %v", result, err)
					}
				})
			}
		}
	}
}

func TestDialRefusesACardWithoutOurProtocols(t *testing.T) {
	srv := httptest.NewServer(a2asrv.NewStaticAgentCardHandler(&a2a.AgentCard{Name: "pigeon",
		SupportedInterfaces: []*a2a.AgentInterface{{URL: "rfc1149:", ProtocolBinding: "PIGEON", ProtocolVersion: "1.0"}}}))
	defer srv.Close()
	if _, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: srv.URL + "/card.json"}); !errors.Is(err, conclave.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

func TestAnswerInsteadOfAStream(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprint(w, "{\n \"jsonrpc\": \"2.0\", \"id\": \"1\",\n \"error\": {\"code\": -31403, \"message\": \"not you\"}\n}")
	}))
	defer srv.Close()
	c, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), a2awire.Outbound{ID: "m", Text: "x"}, nil); !errors.Is(err, conclave.ErrDenied) || err.Error() != "not you" {
		t.Errorf("got %v, want what the server said", err)
	}
}

func TestRunnerLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := a2awire.NewRunner(a2awire.RunnerOptions{Name: "tester", Capacity: 2, Keep: 3, Handle: func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			if in.Text == "wait" {
				<-gate
			}
			if in.Text == "panic" {
				panic("oh")
			}
			return a2awire.Outgoing{Text: in.Text}, nil
		}})
		ctx := conclave.WithCaller(t.Context(), conclave.Caller{Human: "ada"})
		accept := func(id, text string) (a2awire.Task, error) {
			return r.Accept(ctx, a2awire.Incoming{MessageID: conclave.MessageID(id), Text: text})
		}
		for i := range 2 {
			if _, err := accept(fmt.Sprint(i), "wait"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := accept("2", "x"); !errors.Is(err, conclave.ErrLimited) || r.Active() != 2 {
			t.Errorf("a third task with two hands: %v", err)
		}
		close(gate)
		synctest.Wait()
		first, err := accept("panicking", "panic")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		task, err := r.Wait(ctx, first.ID, "")
		if err != nil || task.State != conclave.TaskFailed || task.Error != "internal error" {
			t.Errorf("after a panic: %+v, %v", task, err)
		}
		for i := range 3 {
			if _, err := accept(fmt.Sprint("more", i), "x"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if _, err := r.Wait(ctx, first.ID, ""); !errors.Is(err, conclave.ErrNotFound) {
			t.Errorf("the oldest of four ended tasks is still there: %v", err)
		}
		list, err := r.List(ctx, a2awire.Filter{Limit: 2})
		if err != nil || len(list.Tasks) != 2 || list.Total != 3 || list.Next == "" {
			t.Errorf("the list is %+v, %v", list, err)
		}
		if other, _ := r.List(conclave.WithCaller(t.Context(), conclave.Caller{Human: "bob"}), a2awire.Filter{}); other.Total != 0 {
			t.Errorf("bob sees %+v", other)
		}
		r.Close()
		if _, err := accept("late", "x"); !errors.Is(err, conclave.ErrUnavailable) {
			t.Errorf("a closed runner: %v", err)
		}
	})
}

func TestLocalClientThatHangsUpIsNoticed(t *testing.T) {
	left := make(chan struct{})
	local := &a2awire.Local{}
	local.Serve("host", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "first")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	}))
	resp, err := (&http.Client{Transport: local}).Get("local://host/x?y=z")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := resp.Body.Read(buf); err != nil || string(buf) != "first" {
		t.Fatalf("read %q, %v", buf, err)
	}
	resp.Body.Close()
	select {
	case <-left:
	default:
		t.Error("Close returned before the handler had ended")
	}
}

// ledger is a small service with the table of a real one.
type ledger struct{ conclave.Plans }

func (ledger) Get(_ context.Context, in conclave.GetPlan) (conclave.Plan, error) {
	if in.ID != "p1" {
		return conclave.Plan{}, conclave.Errorf(conclave.ErrNotFound, "there is no plan %q", in.ID)
	}
	return conclave.Plan{ID: "p1", Version: 3, Created: time.Unix(0, 0).UTC()}, nil
}

func TestServiceAsAgent(t *testing.T) {
	table := conclave.Table{Service: conclave.ServicePlans, Operations: conclave.PlanOperations(), Impl: ledger{}}
	h, runner := a2awire.NewServiceHandler(table, "", nil)
	defer runner.Close()
	reader := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(conclave.WithCaller(r.Context(), conclave.Caller{Tenant: "t", Human: "ada", Permissions: []conclave.Permission{conclave.PermitRead}})))
	})
	srv := httptest.NewServer(reader)
	defer srv.Close()
	c, err := a2awire.Dial(t.Context(), a2awire.DialOptions{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	for i, try := range []struct {
		text, data string
		state      conclave.TaskState
		kind       error
		says       string
	}{
		{"", `{"operation":"plan_get","input":{"id":"p1"}}`, conclave.TaskCompleted, nil, `"version":3`},
		{"", `{"operation":"plan_get","input":{"id":"p2"}}`, conclave.TaskFailed, conclave.ErrNotFound, "no plan"},
		{"", `{"operation":"plan_comment","input":{"id":"p1"}}`, conclave.TaskFailed, conclave.ErrDenied, "speak"},
		{"", `{"operation":"plan_burn"}`, conclave.TaskRejected, conclave.ErrInvalid, "plan_get, plan_list"},
		{"", `{"operation":"plan_get","input":{"name":"p1"}}`, conclave.TaskRejected, conclave.ErrInvalid, `"name"`},
		{"", `{"op":"plan_get"}`, conclave.TaskRejected, conclave.ErrInvalid, `"op"`},
		{"Show me the plan.", "", conclave.TaskRejected, conclave.ErrInvalid, "plan_get"},
	} {
		result, err := c.Send(t.Context(), a2awire.Outbound{ID: conclave.MessageID(fmt.Sprint(i)), Text: try.text, Data: json.RawMessage(try.data)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		said := string(result.Data) + fmt.Sprint(result.Err)
		if result.State != try.state || try.kind != nil && !errors.Is(result.Err, try.kind) || !strings.Contains(said, try.says) {
			t.Errorf("%s%s: %s %s, want %s with %q", try.text, try.data, result.State, said, try.state, try.says)
		}
	}

	resp, err := http.Get(srv.URL + a2asrv.WellKnownAgentCardPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var card a2a.AgentCard
	if err := json.NewDecoder(resp.Body).Decode(&card); err != nil {
		t.Fatal(err)
	}
	if len(card.Skills) != len(table.Operations) || card.Skills[0].ID != "plan_propose" {
		t.Errorf("the card's skills are %+v", card.Skills)
	}
}
