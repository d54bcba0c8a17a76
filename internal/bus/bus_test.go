package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/bus"
	"conclave/internal/bustest"
)

const patience = time.Minute // on a loaded machine; what is waited for takes milliseconds

// logged keeps a log for a look at it.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start makes a bus and runs it until the test ends.
func start(t *testing.T, o bus.Options) *bus.Bus {
	t.Helper()
	b, err := bus.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return b
}

// settle waits until the bus is, or is not, connected.
func settle(t *testing.T, b *bus.Bus, up bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	limit := time.After(patience)
	for (b.Health() == nil) != up {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("after %v the bus's health is: %v", patience, b.Health())
		}
	}
}

func rings(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s was not told", what)
	}
}

// quiet checks that a channel has no value. What would have come has come: the
// caller has seen something that was sent after it.
func quiet(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Errorf("%s was told what is none of its business", what)
	default:
	}
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// processes are two that share a bus, which is one and the same on memory.
func processes(t *testing.T, engine string) (a, b *bus.Bus) {
	t.Helper()
	if engine == "memory" {
		a = start(t, bus.Options{URL: "memory"})
		return a, a
	}
	o := bus.Options{URL: bustest.URL(t, engine), Name: "test-" + string(conclave.NewID("bus"))}
	a, b = start(t, o), start(t, o)
	settle(t, a, true)
	settle(t, b, true)
	// Each tells everybody to look when it connects. Two notes that are heard one
	// after the other say that this has passed.
	for _, way := range [][2]*bus.Bus{{a, b}, {b, a}} {
		c, stop := way[1].Subscribe("passed")
		drain(c)
		for range 2 {
			way[0].Publish(bus.Note{About: []string{"passed"}})
			rings(t, "the other process", c)
		}
		stop()
	}
	return a, b
}

// onEach is the contract's suite: every engine passes the same tests.
func onEach(t *testing.T, test func(t *testing.T, engine string)) {
	for _, engine := range append([]string{"memory"}, bustest.Engines()...) {
		t.Run(engine, func(t *testing.T) { test(t, engine) })
	}
}

func TestWatchersHearWhatIsTheirs(t *testing.T) {
	onEach(t, func(t *testing.T, engine string) {
		a, b := processes(t, engine)
		if a.Engine() != engine {
			t.Errorf("engine is %q", a.Engine())
		}
		here, stopHere := a.Subscribe("run-1")
		defer stopHere()
		there, stopThere := b.Subscribe("run-1")
		defer stopThere()
		other, stopOther := b.Subscribe("run-2")
		defer stopOther()
		events, stopEvents := b.Subscribe("")
		defer stopEvents()
		queue, stopQueue := b.Subscribe("queue/step")
		defer stopQueue()
		gone, stopGone := b.Subscribe("run-1")
		stopGone()
		for _, c := range []<-chan struct{}{here, there, other, events, queue, gone} {
			drain(c)
		}

		a.Publish(bus.Note{Tenant: "default", Seq: 7, About: []string{"run-1", "task-1"}})
		rings(t, "the watcher in the same process", here)
		rings(t, "the watcher in the other process", there)
		rings(t, "the watcher of all events", events)
		a.Publish(bus.Note{About: []string{"queue/step"}})
		rings(t, "the queue", queue)
		quiet(t, "the watcher of another run", other)
		quiet(t, "the watcher of events, by a note without one,", events)
		quiet(t, "a watcher that stopped", gone)

		a.Publish(bus.Note{}) // anything may have changed
		for name, c := range map[string]<-chan struct{}{"run-1 here": here, "run-1 there": there, "run-2": other, "events": events, "the queue": queue} {
			rings(t, name, c)
		}
		if n := b.Figures().Watchers; n < 4 {
			t.Errorf("%d watchers are counted", n)
		}
	})
}

func TestManyNotes(t *testing.T) {
	onEach(t, func(t *testing.T, engine string) {
		a, b := processes(t, engine)
		const subjects, rounds = 500, 20
		before := a.Figures().Published
		channels := make([]<-chan struct{}, subjects)
		for i := range subjects {
			c, stop := b.Subscribe(fmt.Sprint("task-", i))
			defer stop()
			drain(c)
			channels[i] = c
		}
		var senders sync.WaitGroup
		for i := range subjects {
			senders.Go(func() {
				for n := range rounds {
					a.Publish(bus.Note{Tenant: "default", Seq: int64(n + 1), About: []string{fmt.Sprint("task-", i)}})
				}
			})
		}
		senders.Wait()
		for i, c := range channels {
			rings(t, fmt.Sprint("task-", i), c)
		}
		if f := a.Figures(); f.Published-before != subjects*rounds {
			t.Errorf("published are %d of %d", f.Published-before, subjects*rounds)
		}
	})
}

func TestInstallationsOnOneServer(t *testing.T) {
	for _, engine := range bustest.Engines() {
		t.Run(engine, func(t *testing.T) {
			a, b := processes(t, engine)
			stranger := start(t, bus.Options{URL: bustest.URL(t, engine), Name: "test-" + string(conclave.NewID("bus"))})
			settle(t, stranger, true)
			there, stop := b.Subscribe("run-1")
			defer stop()
			drain(there)
			a.Publish(bus.Note{Seq: 1, About: []string{"run-1"}})
			rings(t, "the own installation", there)
			own, stopOwn := stranger.Subscribe("run-2")
			defer stopOwn()
			stranger.Publish(bus.Note{Seq: 1, About: []string{"run-2"}})
			rings(t, "the stranger", own)
			if n := stranger.Figures().Heard; n != 0 {
				t.Errorf("the other installation heard %d notes", n)
			}
		})
	}
}

// A server that goes costs its watchers a poll, and is said once; when it is back
// everybody looks, and notes are carried again.
func TestServerStopsAndStarts(t *testing.T) {
	for _, engine := range bustest.Engines() {
		t.Run(engine, func(t *testing.T) {
			server := bustest.Start(t, engine)
			var log logged
			a := start(t, bus.Options{URL: server.URL, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			b := start(t, bus.Options{URL: server.URL})
			settle(t, a, true)
			settle(t, b, true)
			here, stopHere := a.Subscribe("run-1")
			defer stopHere()
			there, stopThere := b.Subscribe("run-1")
			defer stopThere()

			server.Stop()
			settle(t, a, false)
			settle(t, b, false)
			if a.Carries() {
				t.Error("the bus says that it carries")
			}
			drain(here)
			a.Publish(bus.Note{Seq: 1, About: []string{"run-1"}})
			rings(t, "the same process, without a server,", here)
			if a.Figures().Dropped == 0 {
				t.Error("a note that nobody took is not counted")
			}

			server.Start()
			settle(t, a, true)
			settle(t, b, true)
			rings(t, "the other process, after the gap,", there)
			// What a sends first makes everybody look; after it notes are carried one by one.
			c, stop := b.Subscribe("run-2")
			defer stop()
			for n := int64(2); ; n++ {
				a.Publish(bus.Note{Seq: n, About: []string{"run-2"}})
				rings(t, "the other process, after the server is back,", c)
				if b.Figures().Heard >= 2 {
					break
				}
			}
			for line, want := range map[string]int{"can't be reached": 1, "is connected": 1, "is back": 1} {
				if n := strings.Count(log.String(), line); n != want {
					t.Errorf("the log says %q %d times:\n%s", line, n, log.String())
				}
			}
		})
	}
}

func TestUnreachableAtStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for engine, url := range map[string]string{"redis": "redis://ada:hunter2@" + nobody + "/0", "kafka": "kafka://" + nobody + "/notes", "nats": "nats://ada:hunter2@" + nobody} {
		t.Run(engine, func(t *testing.T) {
			var log logged
			b, err := bus.New(bus.Options{URL: url, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if b.Health() == nil {
				t.Error("a bus that is not connected says that it is well")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // several attempts
			defer cancel()
			b.Run(ctx)
			if b.Health() == nil {
				t.Error("without a server the bus is well")
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), nobody) {
				t.Errorf("the log has %d lines, not one that names the server:\n%s", n, log.String())
			}
			if strings.Contains(log.String()+b.Health().Error()+b.Server(), "hunter2") {
				t.Errorf("the password is told: %s %s", b.Health(), log.String())
			}
			if _, err := b.Inspect(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a look at the server says %v", err)
			}
		})
	}
}

func TestBadURLs(t *testing.T) {
	for url, want := range map[string]string{
		"rabbit://host:1":                 `"rabbit"`,
		"redis":                           "redis://HOST:PORT",
		"redis://ada:hunter2@host:port/x": "redis://",
		"redis://host:1/0?hunter2=1":      "redis://",
		"redis://":                        "redis://",
		"kafka://host:1":                  "one topic",
		"kafka://host/topic":              "HOST:PORT",
		"kafka://a:1,b/topic":             `"b"`,
		"kafka://ada:hunter2@a:1/topic":   "log in",
		"nats://ada:hunter2@host:1/x":     "nats://",
		"nats://ada:hunter2@:x":           "nats://",
	} {
		_, err := bus.New(bus.Options{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
		if valid := bus.Validate(url); valid == nil || valid.Error() != err.Error() {
			t.Errorf("%s: validation says %v", url, valid)
		}
	}
	for _, url := range []string{"", "memory", "redis://host:1", "rediss://:p@host:1/2", "kafka://a:1,b:2/topic", "nats://host", "tls://host:1"} {
		if err := bus.Validate(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// What an operator is shown is what the server holds.
func TestInspectAndFollow(t *testing.T) {
	for _, engine := range bustest.Engines() {
		t.Run(engine, func(t *testing.T) {
			a, _ := processes(t, engine)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			said, up, ended := make(chan bus.Message, 1000), make(chan struct{}), make(chan error, 1)
			following, stop := context.WithCancel(ctx)
			defer stop()
			go func() { ended <- a.Follow(following, func() { close(up) }, func(m bus.Message) { said <- m }) }()
			select {
			case <-up:
			case err := <-ended:
				t.Fatalf("following ended: %v", err)
			}
			a.Publish(bus.Note{Tenant: "acme", Seq: 42, About: []string{"run-9"}})
			for seen := false; !seen; {
				select {
				case m := <-said:
					seen = strings.Contains(m.Text, `"run-9"`) && strings.Contains(m.Text, `"acme"`) && m.Position != ""
				case <-ctx.Done():
					t.Fatal("what was sent is not shown")
				}
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			s, err := a.Inspect(ctx)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, i := range s.Items {
				found = found || i.Ours && (engine == "nats" || *i.Length > 0 && i.Last != "")
			}
			if s.Engine != engine || s.Server == "" || !found {
				t.Errorf("the state is %+v", s)
			}
		})
	}
	m := start(t, bus.Options{})
	if _, err := m.Inspect(t.Context()); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("memory shows a server: %v", err)
	}
	if err := m.Follow(t.Context(), func() {}, func(bus.Message) {}); err == nil {
		t.Error("memory can be followed")
	}
}
