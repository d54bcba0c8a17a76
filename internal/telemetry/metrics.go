// Package telemetry has the metrics that a process measures of itself, and
// traces. What the record can tell is not measured here: see internal/insight.
package telemetry

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"conclave"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Service is what one service's port shows at /metrics: each service has its
// own, so that scraping every port counts nothing twice.
type Service struct {
	registry   *prometheus.Registry
	operations *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	requests   *prometheus.CounterVec
	inFlight   prometheus.Gauge
}

// buckets of a call's time, in seconds: a reading from memory to a long poll.
func buckets() []float64 {
	return []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}

// NewService makes the metrics of a service.
func NewService(name conclave.Service, version string) *Service {
	constant := prometheus.Labels{"service": string(name)}
	s := &Service{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "conclave_operations_total", ConstLabels: constant,
			Help: "Operations that were called, by name, face (rest, mcp, a2a) and code: ok or the kind of error."}, []string{"operation", "face", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "conclave_operation_seconds", ConstLabels: constant, Buckets: buckets(),
			Help: "Time of operations; those that wait are as long as their callers asked."}, []string{"operation", "face"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "conclave_http_requests_total", ConstLabels: constant,
			Help: "HTTP requests that were answered, by method and status code; refused ones too."}, []string{"method", "code"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "conclave_http_requests_in_flight", ConstLabels: constant,
			Help: "HTTP requests under way, streams too."}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "conclave_info", ConstLabels: prometheus.Labels{"service": string(name), "version": version},
		Help: "1, with the service's name and version."})
	info.Set(1)
	s.registry.MustRegister(s.operations, s.seconds, s.requests, s.inFlight, info)
	return s
}

// Register adds what else the service shows.
func (s *Service) Register(c ...prometheus.Collector) { s.registry.MustRegister(c...) }

// RegisterProcess adds the metrics of the process, which only one service of a
// process should show.
func (s *Service) RegisterProcess() {
	s.Register(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Handler shows the metrics.
func (s *Service) Handler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})
}

// Count counts the requests that a handler answers.
func (s *Service) Count(next http.Handler) http.Handler {
	return promhttp.InstrumentHandlerInFlight(s.inFlight, promhttp.InstrumentHandlerCounter(s.requests, next))
}

// Observe returns a table whose operations are counted under a face.
func (s *Service) Observe(face string, t conclave.Table) conclave.Table {
	operations := make([]conclave.Operation, len(t.Operations))
	for i, o := range t.Operations {
		operations[i] = o.Around(func(ctx context.Context, call func(context.Context) (any, error)) (any, error) {
			start := time.Now()
			out, err := call(ctx)
			s.operations.WithLabelValues(o.Name, face, code(err)).Inc()
			s.seconds.WithLabelValues(o.Name, face).Observe(time.Since(start).Seconds())
			return out, err
		})
	}
	t.Operations = operations
	return t
}

func code(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return conclave.KindOf(err).Error()
}

// Sandbox measures the commands that a process runs in its sandbox.
type Sandbox struct {
	runs    *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewSandbox makes the metrics of a process's sandbox.
func NewSandbox() *Sandbox {
	return &Sandbox{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "conclave_sandbox_runs_total",
			Help: "Commands that were run in the sandbox, by program and how they ended: an exit code, or the kind of error."}, []string{"program", "ended"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "conclave_sandbox_run_seconds", Buckets: buckets(),
			Help: "Time of commands in the sandbox."}, []string{"program"}),
	}
}

// Collectors are what a service registers.
func (s *Sandbox) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.runs, s.seconds}
}

// Ran counts one command.
func (s *Sandbox) Ran(program string, exit int, err error, took time.Duration) {
	ended := strconv.Itoa(exit)
	if err != nil {
		ended = code(err)
	}
	s.runs.WithLabelValues(program, ended).Inc()
	s.seconds.WithLabelValues(program).Observe(took.Seconds())
}
