package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"conclave"

	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans is what an OTLP collector got: spans by their id, with the services of
// the process that each came from.
type spans struct {
	mu       sync.Mutex
	all      map[string]*trace.Span
	services map[string]string
}

func collectSpans(t *testing.T) (*spans, string) {
	t.Helper()
	s := &spans{all: map[string]*trace.Span{}, services: map[string]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in collect.ExportTraceServiceRequest
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = proto.Unmarshal(body, &in)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, rs := range in.ResourceSpans {
			services := ""
			for _, a := range rs.Resource.Attributes {
				if a.Key == "conclave.services" {
					services = a.Value.GetStringValue()
				}
			}
			for _, ss := range rs.ScopeSpans {
				for _, span := range ss.Spans {
					s.all[string(span.SpanId)], s.services[string(span.SpanId)] = span, services
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return s, server.URL
}

// check looks for one trace in which every span has its parent, with spans whose
// names begin as wanted. It returns the processes that they came from.
func (s *spans) check(t *testing.T, run conclave.RunID, want ...string) map[string]bool {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	traces, names, processes := map[string]int{}, map[string]int{}, map[string]bool{}
	roots := 0
	for id, span := range s.all {
		traces[fmt.Sprintf("%x", span.TraceId)]++
		names[span.Name]++
		processes[s.services[id]] = true
		if len(span.ParentSpanId) == 0 {
			roots++
			if !strings.Contains(fmt.Sprint(span.Attributes), string(run)) || span.Name != "run" || span.EndTimeUnixNano <= span.StartTimeUnixNano {
				t.Errorf("the first span is %v", span)
			}
		} else if s.all[string(span.ParentSpanId)] == nil {
			t.Errorf("the parent of %q of %s was never sent", span.Name, s.services[id])
		}
	}
	if len(traces) != 1 || roots != 1 {
		t.Errorf("traces %v with %d first spans; want one of each", traces, roots)
	}
	for _, w := range want {
		found := false
		for name := range names {
			found = found || strings.HasPrefix(name, w)
		}
		if !found {
			t.Errorf("no span %q; there are %v", w, names)
		}
	}
	t.Logf("%d spans from %d processes: %v", len(s.all), len(processes), names)
	return processes
}

// A run is one trace, through every process that works on it.
func TestTrace(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each service")
	}
	got, endpoint := collectSpans(t)
	env := map[conclave.Service]map[string]string{}
	for _, s := range conclave.AllServices() {
		env[s] = map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
	}
	f := startFleet(t, program(t), env)
	f.awaitReady()
	repo := newRepo(t, map[string]string{"go.mod": "module example.com/box\n\ngo 1.26\n", "box.go": "// Package box is empty.\npackage box\n"})
	stdout, stderr, code := f.conclave("plan", "Create a secure REST API for user management", "--repo", repo)
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	runs := f.runs()
	for _, s := range f.servers {
		s.stop(t) // which sends what is left
	}
	processes := got.check(t, runs[0].ID, "run", "step intake", "step vote", "vote plan", "deliver plan.draft", "git ", "sandbox ", "POST ")
	for _, s := range []conclave.Service{conclave.ServiceWorkflow, conclave.ServiceHub, conclave.ServiceCouncil, conclave.ServicePool, conclave.ServicePlans} {
		if !processes[string(s)] {
			t.Errorf("%s sent no span of the run", s)
		}
	}
}
