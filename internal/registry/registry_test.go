package registry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/internal/bustest"
	"conclave/internal/registry"
)

// table is the database's, in memory and for any number of processes.
type table struct {
	mu   sync.Mutex
	rows []registry.Address
}

func (h *table) Announce(_ context.Context, a registry.Address) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rows = append([]registry.Address{a}, h.rows...)
	return nil
}

func (h *table) Withdraw(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rows = nil
	return nil
}

func (h *table) Find(_ context.Context, s conclave.Service) ([]registry.Address, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.rows), func(a registry.Address) bool { return a.Service != s }), nil
}

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

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// start makes a registry and runs it until the test ends.
func start(t *testing.T, o registry.Options) *registry.Registry {
	t.Helper()
	r, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

// service is one whose health can be changed.
func service(t *testing.T) (url string, well *atomic.Bool) {
	t.Helper()
	well = &atomic.Bool{}
	well.Store(true)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || !well.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, well
}

// eventually waits until check says true.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	limit := time.After(time.Minute)
	for !check() {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("after a minute it is not so that %s", what)
		}
	}
}

func resolve(t *testing.T, r *registry.Registry, s conclave.Service) string {
	t.Helper()
	url, err := r.Resolve(t.Context(), s)
	if err != nil && !errors.Is(err, conclave.ErrUnavailable) {
		t.Fatal(err)
	}
	return url
}

func TestBuiltIn(t *testing.T) {
	r := start(t, registry.Options{Table: &table{}})
	if err := r.Announce(t.Context(), []registry.Address{{Service: conclave.ServiceHub, URL: "http://a"}, {Service: conclave.ServicePlans, URL: "http://b"}}); err != nil {
		t.Fatal(err)
	}
	if hub, plans := resolve(t, r, conclave.ServiceHub), resolve(t, r, conclave.ServicePlans); hub != "http://a" || plans != "http://b" {
		t.Errorf("found at %q and %q", hub, plans)
	}
	if _, err := r.Resolve(t.Context(), conclave.ServiceCouncil); !errors.Is(err, conclave.ErrUnavailable) || !strings.Contains(err.Error(), "conclave serve") {
		t.Errorf("what runs nowhere: %v", err)
	}
	if err := r.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if hub := resolve(t, r, conclave.ServiceHub); hub != "" {
		t.Errorf("after the withdrawal the hub is at %q", hub)
	}
	if r.Engine() != "built in" || r.Server() != "" || r.Health() != nil {
		t.Errorf("it is %q at %q: %v", r.Engine(), r.Server(), r.Health())
	}
}

func TestConsul(t *testing.T) {
	server := bustest.Start(t, "consul")
	name := string(conclave.NewID("test"))
	options := func(owner string) registry.Options {
		return registry.Options{Table: &table{}, Consul: server.URL, Name: name, Owner: owner}
	}
	one, well := service(t)
	two, _ := service(t)
	var log logged
	o := options("a")
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	a := start(t, o)
	// A table of its own shows that what b and c know, they know from Consul.
	b := start(t, options("b"))
	stranger := start(t, registry.Options{Table: &table{}, Consul: server.URL, Name: name + "-other", Owner: "a"})
	if err := a.Announce(t.Context(), []registry.Address{{Service: conclave.ServiceHub, URL: one, Version: "1"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b finds the hub", func() bool { return resolve(t, b, conclave.ServiceHub) == one })
	if url := resolve(t, stranger, conclave.ServiceHub); url != "" {
		t.Errorf("another installation finds the hub at %s", url)
	}

	well.Store(false)
	eventually(t, "b does not find a hub that is not well", func() bool { return resolve(t, b, conclave.ServiceHub) == "" })
	well.Store(true)
	eventually(t, "b finds the hub once it is well", func() bool { return resolve(t, b, conclave.ServiceHub) == one })

	server.Stop()
	eventually(t, "a notices that Consul is gone", func() bool { return a.Health() != nil })
	if url := resolve(t, a, conclave.ServiceHub); url != one {
		t.Errorf("without Consul the table says %q", url)
	}
	if err := b.Announce(t.Context(), []registry.Address{{Service: conclave.ServicePlans, URL: two}}); err != nil {
		t.Errorf("without Consul: %v", err)
	}
	server.Start() // and has forgotten everybody
	eventually(t, "a knows from Consul what b announced meanwhile", func() bool { return resolve(t, a, conclave.ServicePlans) == two })
	eventually(t, "b finds the hub again", func() bool { return resolve(t, b, conclave.ServiceHub) == one })
	if lost, back := log.count("does not answer"), log.count("answers again"); lost != 1 || back != 1 {
		t.Errorf("the log says %d times that Consul is lost and %d times that it is back", lost, back)
	}

	// A process that was restarted elsewhere takes the place of its predecessor.
	again := start(t, options("a"))
	if err := again.Announce(t.Context(), []registry.Address{{Service: conclave.ServiceHub, URL: two}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b finds the hub's new place", func() bool { return resolve(t, b, conclave.ServiceHub) == two })
	if err := again.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := start(t, options("c"))
	eventually(t, "nobody is told of the new place after the withdrawal", func() bool { return resolve(t, c, conclave.ServiceHub) != two })
}

func TestConsulUnreachableAtStart(t *testing.T) {
	var log logged
	r := start(t, registry.Options{Table: &table{}, Consul: "127.0.0.1:1", Name: "x", Owner: "a", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := r.Announce(t.Context(), []registry.Address{{Service: conclave.ServiceHub, URL: "http://127.0.0.1:2"}}); err != nil {
		t.Fatal(err)
	}
	if url := resolve(t, r, conclave.ServiceHub); url != "http://127.0.0.1:2" {
		t.Errorf("the hub is at %q", url)
	}
	if r.Health() == nil || log.count("\n") != 1 {
		t.Errorf("health %v, and the log has %d lines", r.Health(), log.count("\n"))
	}
	if err := r.Check(t.Context()); !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("a check says %v", err)
	}
	if err := r.Withdraw(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAddressesOfConsul(t *testing.T) {
	for _, good := range []string{"127.0.0.1:8500", "http://consul:8500", "https://consul.example.org", "consul"} {
		if err := registry.Validate(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"ftp://consul", "http://", "http://user:hunter2@consul:8500", "consul:8500/v1", "http://consul:8500/?token=hunter2", "http://consul:85x0"} {
		err := registry.Validate(bad)
		if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), "127.0.0.1:8500") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
