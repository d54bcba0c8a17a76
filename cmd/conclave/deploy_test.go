package main

import (
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"

	"conclave/internal/pgtest"

	"conclave"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// fleet is one process for each service, on one database.
type fleet struct {
	*installation
	program string
	servers map[conclave.Service]*server
}

// startFleet starts the services in any order and does not wait.
func startFleet(t *testing.T, program string, env map[conclave.Service]map[string]string) *fleet {
	t.Helper()
	f := &fleet{installation: newInstallation(t), program: program, servers: map[conclave.Service]*server{}}
	f.env["CONCLAVE_DATABASE_URL"] = pgtest.URL(t)
	services := conclave.AllServices()
	mathrand.Shuffle(len(services), func(i, j int) { services[i], services[j] = services[j], services[i] })
	for _, s := range services {
		f.servers[s] = f.start(program, env[s], string(s))
	}
	return f
}

func (f *fleet) awaitReady() {
	f.t.Helper()
	for _, s := range f.servers {
		s.awaitReady(f.t)
	}
}

// restart starts a service again.
func (f *fleet) restart(s conclave.Service) {
	f.t.Helper()
	f.servers[s] = f.start(f.program, nil, string(s))
}

// One process for each service on Postgres does what one process on SQLite does,
// also when services are killed on the way.
func TestDeployment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each service")
	}
	program := killable(t)
	var want outcome
	t.Run("undisturbed", func(t *testing.T) {
		f := startFleet(t, program, nil)
		f.awaitReady()
		want = (&play{installation: f.installation, repo: crashRepo(t), revive: func() {}}).perform()
		if len(want.Odd) > 0 {
			t.Error(strings.Join(want.Odd, "\n"))
		}
		for s, server := range f.servers {
			if server.stop(t); !server.cmd.ProcessState.Success() {
				t.Errorf("%s ended with %v:\n%s", s, server.cmd.ProcessState, tail(server.log.String(), 2000))
			}
		}
	})
	if t.Failed() || want.Runs == 0 {
		t.Skip("there is nothing to compare with")
	}
	t.Run("same as one process", func(t *testing.T) {
		one, _, _ := passes(t, program)
		if diff := one.diff(want); len(diff) > 0 {
			t.Errorf("one process does otherwise than many:\n%s", strings.Join(diff, "\n"))
		}
	})
	// Each service is killed where it matters, several in one run; under
	// CONCLAVE_TEST_CRASH=all also each in a run of its own.
	points := map[conclave.Service]string{
		conclave.ServiceWorkflow: "finish.before:9",
		conclave.ServiceHub:      "deliver.after:9",
		conclave.ServicePlans:    "answer.before:1",
		conclave.ServiceWorktree: "ref.after:1",
		conclave.ServiceCouncil:  "answer.before:2",
		conclave.ServiceModels:   "",
		conclave.ServiceMonitor:  "", // once the run has begun
		conclave.ServiceGateway:  "",
		conclave.ServicePool:     "receipt.before:2",
		conclave.ServiceExperts:  "",
		conclave.ServiceReview:   "receipt.after:1",
		conclave.ServiceQA:       "receipt.before:1",
		conclave.ServiceSecurity: "receipt.after:2",
	}
	groups := map[string][]conclave.Service{
		"the workflow": {conclave.ServiceWorkflow},
		"the hub":      {conclave.ServiceHub},
		"the other services": {conclave.ServicePlans, conclave.ServiceWorktree, conclave.ServiceCouncil, conclave.ServiceModels, conclave.ServiceMonitor, conclave.ServiceGateway,
			conclave.ServicePool, conclave.ServiceExperts, conclave.ServiceReview, conclave.ServiceQA, conclave.ServiceSecurity},
	}
	if crashAll() {
		for _, s := range conclave.AllServices() {
			groups[string(s)] = []conclave.Service{s}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		t.Run(name+" killed", func(t *testing.T) {
			if diff := playFleetKilled(t, program, groups[name], points).diff(want); len(diff) > 0 {
				t.Errorf("with %v killed, the run ends otherwise than undisturbed:\n%s", groups[name], strings.Join(diff, "\n"))
			}
		})
	}
}

// playFleetKilled plays with one process for each service, of which some are
// killed once and started again.
func playFleetKilled(t *testing.T, program string, killed []conclave.Service, points map[conclave.Service]string) outcome {
	t.Helper()
	env := map[conclave.Service]map[string]string{}
	for _, s := range killed {
		point, ok := points[s]
		if !ok {
			t.Fatalf("it is not said where %s is killed", s)
		}
		if point != "" {
			env[s] = map[string]string{"CONCLAVE_TEST_KILL": point}
		}
	}
	f := startFleet(t, program, env)
	f.awaitReady()
	died := map[conclave.Service]bool{}
	p := &play{installation: f.installation, repo: crashRepo(t)}
	p.revive = func() {
		for _, s := range killed {
			server := f.servers[s]
			if points[s] == "" && !died[s] && p.run != "" { // its first call was answered
				server.kill()
			}
			select {
			case <-server.ended:
				if died[s] {
					t.Fatalf("%s ended for another reason than the kill:\n%s", s, tail(server.log.String(), 3000))
				}
				died[s] = true
				f.restart(s)
			default:
			}
		}
	}
	o := p.perform()
	for _, s := range killed {
		if !died[s] {
			o.Odd = append(o.Odd, fmt.Sprintf("%s was never killed", s))
		}
	}
	return o
}
