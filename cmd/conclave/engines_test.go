package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/bustest"

	"github.com/hashicorp/consul/api"
)

// health is what one service says of itself.
type health struct {
	Status  string
	Reason  string
	Engines []app.Engine
}

// engine returns the engine of a part.
func (h health) engine(part string) app.Engine {
	for _, e := range h.Engines {
		if e.Part == part {
			return e
		}
	}
	return app.Engine{}
}

// healths asks every service of an installation.
func (i *installation) healths() map[conclave.Service]health {
	i.t.Helper()
	urls, err := app.ReadAddresses(i.home)
	if err != nil {
		i.t.Fatal(err)
	}
	all := map[conclave.Service]health{}
	for s, base := range urls {
		resp, err := http.Get(base + "/readyz")
		if err != nil {
			i.t.Fatal(err)
		}
		var h health
		err = json.NewDecoder(resp.Body).Decode(&h)
		resp.Body.Close()
		if err != nil {
			i.t.Fatal(err)
		}
		all[s] = h
	}
	return all
}

// awaitHealths waits until every service says a status.
func (i *installation) awaitHealths(status string) map[conclave.Service]health {
	i.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	limit := time.After(startLimit)
	for {
		all, others := i.healths(), []string{}
		for s, h := range all {
			if h.Status != status {
				others = append(others, fmt.Sprintf("%s is %s (%s)", s, h.Status, h.Reason))
			}
		}
		if len(all) == len(conclave.AllServices()) && len(others) == 0 {
			return all
		}
		select {
		case <-again.C:
		case <-limit:
			i.t.Fatalf("after %v not every service is %s: %s", startLimit, status, strings.Join(others, ", "))
		}
	}
}

// inConsul lists the services that Consul finds well, by name.
func inConsul(t *testing.T, server *bustest.Server) []string {
	t.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := api.NewClient(&api.Config{Address: u.Host})
	if err != nil {
		t.Fatal(err)
	}
	checks, _, err := c.Health().State(api.HealthPassing, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, check := range checks {
		if slices.Contains(check.ServiceTags, "conclave") {
			names = append(names, check.ServiceName)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// disturbance is a server that goes while a run is on its way, and comes back.
type disturbance struct {
	*installation
	server *bustest.Server
	part   string // that says so
	calls  int
	gone   bool
	back   bool
}

// revive is called before each call of the client.
func (d *disturbance) revive(p *play) {
	if p.run == "" {
		return
	}
	d.calls++
	if !d.gone {
		d.gone = true
		d.server.Stop()
		for s, h := range d.awaitHealths("degraded") {
			if e := h.engine(d.part); e.Lost == "" {
				d.t.Errorf("%s is degraded and does not name the %s: %s", s, d.part, h.Reason)
			}
		}
	}
	if d.calls == 3 {
		d.restore()
	}
}

func (d *disturbance) restore() {
	if d.gone && !d.back {
		d.back = true
		d.server.Start()
	}
}

// A run ends the same on every engine, also when the bus, or Consul, is stopped
// in its middle and started again.
func TestEngines(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each service, on every engine")
	}
	program := program(t)
	var want outcome
	t.Run("sqlite, memory", func(t *testing.T) {
		i := newInstallation(t)
		s := i.serve()
		for service, h := range i.awaitHealths("ready") {
			if h.engine("database").Engine != "sqlite" || h.engine("bus").Engine != "memory" || h.engine("registry").Engine != "built in" {
				t.Errorf("%s uses %+v", service, h.Engines)
			}
		}
		want = (&play{installation: i, repo: crashRepo(t), revive: func() {}}).perform()
		s.stop(t)
		if len(want.Odd) > 0 {
			t.Error(strings.Join(want.Odd, "\n"))
		}
	})
	if t.Failed() || want.Runs == 0 {
		t.Skip("there is nothing to compare with")
	}
	t.Run("sqlite, memory, consul", func(t *testing.T) {
		consul := bustest.Start(t, "consul")
		i := newInstallation(t)
		i.env["CONSUL_HTTP_ADDR"] = consul.URL
		s := i.serve()
		playDisturbed(t, i, consul, "registry", want)
		s.stop(t)
		if left := inConsul(t, consul); len(left) > 0 {
			t.Errorf("after the stop Consul still has %v", left)
		}
	})
	for _, engine := range bustest.Engines() {
		for _, withConsul := range []bool{false, true} {
			name := "postgres, " + engine
			if withConsul {
				name += ", consul"
			}
			t.Run(name, func(t *testing.T) { playFleet(t, program, engine, withConsul, want) })
		}
	}
}

// playFleet plays with one process for each service on Postgres and a bus. With
// Consul it is Consul that goes, else the bus.
func playFleet(t *testing.T, program, engine string, withConsul bool, want outcome) {
	setting := map[string]string{}
	var gone *bustest.Server
	part := "bus"
	if withConsul {
		setting["CONCLAVE_BUS"] = bustest.URL(t, engine)
		gone, part = bustest.Start(t, "consul"), "registry"
		setting["CONSUL_HTTP_ADDR"] = gone.URL
	} else {
		gone = bustest.Start(t, engine)
		setting["CONCLAVE_BUS"] = gone.URL
	}
	env := map[conclave.Service]map[string]string{}
	for _, s := range conclave.AllServices() {
		env[s] = setting
	}
	f := startFleet(t, program, env)
	f.awaitReady()
	playDisturbed(t, f.installation, gone, part, want)
	var published, heard int64
	for s, h := range f.healths() {
		e := h.engine("bus")
		if e.Engine != engine || h.engine("database").Engine != "postgres" || (h.engine("registry").Engine == "consul") != withConsul {
			t.Errorf("%s uses %+v", s, h.Engines)
		}
		if e.Figures == nil {
			t.Fatalf("%s tells no figures of its bus", s)
		}
		published += e.Figures.Published
		heard += e.Figures.Heard
	}
	if published == 0 || heard == 0 {
		t.Errorf("%d notes were published on %s and %d heard", published, engine, heard)
	}
	for s, server := range f.servers {
		if server.stop(t); !server.cmd.ProcessState.Success() {
			t.Errorf("%s ended with %v:\n%s", s, server.cmd.ProcessState, tail(server.log.String(), 2000))
		}
		if n := strings.Count(server.log.String(), "the bus can't be reached"); n > 1 {
			t.Errorf("%s says %d times that the bus is gone:\n%s", s, n, tail(server.log.String(), 2000))
		}
	}
	if withConsul {
		if left := inConsul(t, gone); len(left) > 0 {
			t.Errorf("after the stop Consul still has %v", left)
		}
	}
}

// playDisturbed plays while a server goes and comes back.
func playDisturbed(t *testing.T, i *installation, server *bustest.Server, part string, want outcome) {
	t.Helper()
	var services []string
	for _, s := range conclave.AllServices() {
		services = append(services, string(s))
	}
	slices.Sort(services)
	i.awaitHealths("ready")
	if part == "registry" {
		if found := inConsul(t, server); !slices.Equal(found, services) {
			t.Errorf("Consul has %v", found)
		}
	}
	d := &disturbance{installation: i, server: server, part: part}
	p := &play{installation: i, repo: crashRepo(t)}
	p.revive = func() { d.revive(p) }
	p.beforeLanding = d.restore
	got := p.perform()
	if diff := got.diff(want); len(diff) > 0 {
		t.Errorf("with the %s gone for a while, the run ends otherwise:\n%s", part, strings.Join(diff, "\n"))
	}
	i.awaitHealths("ready")
	if part == "registry" {
		if found := inConsul(t, server); !slices.Equal(found, services) {
			t.Errorf("after Consul came back, it has %v", found)
		}
	}
}
