package insight

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"conclave"

	"github.com/prometheus/client_golang/prometheus"
)

// Replayer gives the events after a seq, in their order, and returns the last seq.
type Replayer interface {
	Replay(ctx context.Context, after int64, f func(conclave.Event)) (int64, error)
}

// Collector turns the record into Prometheus metrics: counters and histograms
// by adding up events, each read once, and gauges from what is there now. Since
// the record outlives processes, so do the counters; and since all processes
// share it, only the monitor's port shows them.
type Collector struct {
	insights conclave.Insights
	trust    conclave.Trust
	events   Replayer
	hold     time.Duration
	now      conclave.Clock

	mu    sync.Mutex
	seq   int64
	sums  map[string]*series // by metric and labels
	gauge []prometheus.Metric
	until time.Time // when what was read is out of date
}

// series is one counter or histogram.
type series struct {
	metric  *metric
	labels  []string
	value   float64
	buckets map[float64]uint64
	count   uint64
}

// metric describes what is exported under one name.
type metric struct {
	name, help string
	labels     []string
	buckets    []float64 // of a histogram
	counter    bool
}

func (m *metric) desc() *prometheus.Desc {
	return prometheus.NewDesc("conclave_"+m.name, m.help, m.labels, nil)
}

// CollectorOptions say what a Collector reads.
type CollectorOptions struct {
	Insights conclave.Insights
	Trust    conclave.Trust
	Events   Replayer
	Hold     time.Duration  // how long a reading is used at least; 0: 5 seconds
	Clock    conclave.Clock // nil: time.Now
}

// NewCollector returns a collector. ErrInvalid when something is missing.
func NewCollector(o CollectorOptions) (*Collector, error) {
	if o.Insights == nil || o.Trust == nil || o.Events == nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "a collector needs insights, trust and events")
	}
	if o.Hold == 0 {
		o.Hold = 5 * time.Second
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Collector{insights: o.Insights, trust: o.Trust, events: o.Events, hold: o.Hold, now: o.Clock, sums: map[string]*series{}}, nil
}

func counter(name, help string, labels ...string) *metric {
	return &metric{name: name, help: help, labels: labels, counter: true}
}

func gauge(name, help string, labels ...string) *metric {
	return &metric{name: name, help: help, labels: labels}
}

func histogram(name, help string, labels ...string) *metric {
	return &metric{name: name, help: help, labels: labels, buckets: []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600}}
}

// Refresh reads what is new, unless the last reading is still good. A reading
// is kept for at least twenty times as long as it took, so that it never costs
// more than a twentieth of the time.
func (c *Collector) Refresh(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	start := c.now()
	if start.Before(c.until) {
		return nil
	}
	var err error
	if c.seq, err = c.events.Replay(ctx, c.seq, c.fold); err != nil {
		return fmt.Errorf("add up events: %w", err)
	}
	if err := c.measure(ctx); err != nil {
		return err
	}
	took := c.now().Sub(start)
	c.gauge = append(c.gauge, constant(gauge("record_read_seconds", "Time that the last reading of the record took."), took.Seconds()))
	c.until = c.now().Add(max(c.hold, 20*took))
	return nil
}

// add raises a counter, or puts a value into a histogram.
func (c *Collector) add(m *metric, value float64, labels ...string) {
	key := m.name + "\x00" + strings.Join(labels, "\x00")
	s := c.sums[key]
	if s == nil {
		s = &series{metric: m, labels: labels, buckets: map[float64]uint64{}}
		for _, b := range m.buckets {
			s.buckets[b] = 0
		}
		c.sums[key] = s
	}
	s.value += value
	s.count++
	for _, b := range m.buckets {
		if value <= b {
			s.buckets[b]++
		}
	}
}

// fold adds one event.
func (c *Collector) fold(e conclave.Event) {
	var d struct {
		Kind     string   `json:"kind"`
		State    string   `json:"state"`
		Agent    string   `json:"agent"`
		Role     string   `json:"role"`
		Verdict  string   `json:"verdict"`
		Outcome  string   `json:"outcome"`
		By       string   `json:"by"`
		Subject  string   `json:"subject"`
		Workflow string   `json:"workflow"`
		Status   any      `json:"status"` // a word of a run, a number of a model call
		Model    string   `json:"model"`
		Rule     string   `json:"rule"`
		Count    float64  `json:"count"`
		Seconds  *float64 `json:"seconds"`
		Input    *float64 `json:"input_tokens"`
		Output   *float64 `json:"output_tokens"`
		Cost     *float64 `json:"cost_usd"`
	}
	c.add(counter("events_total", "Events in the record, by kind.", "kind"), 1, string(e.Kind))
	if len(e.Data) == 0 || json.Unmarshal(e.Data, &d) != nil {
		return // it tells nothing to add up
	}
	timed := func(m *metric, labels ...string) {
		if d.Seconds != nil {
			c.add(m, *d.Seconds, labels...)
		}
	}
	switch e.Kind {
	case conclave.EventRunEnded:
		c.add(counter("runs_total", "Runs that ended, by workflow and status.", "workflow", "status"), 1, d.Workflow, fmt.Sprint(d.Status))
		timed(histogram("run_seconds", "Time of runs from start to end.", "workflow"), d.Workflow)
	case conclave.EventStepEnded:
		c.add(counter("steps_total", "Times that a worker left a step, by kind and the state that it left it in.", "kind", "state"), 1, d.Kind, d.State)
		timed(histogram("step_seconds", "Time of steps from their first claim to their end.", "kind"), d.Kind)
	case conclave.EventMessageSent:
		kind := d.Kind
		if kind == "" {
			kind = "other"
		}
		c.add(counter("messages_total", "Messages that the hub accepted, by kind of assignment.", "kind"), 1, kind)
	case conclave.EventCallRefused:
		if d.Rule == "" {
			d.Rule = "other"
		}
		c.add(counter("calls_refused_total", "Calls that were refused, by the rule that they broke.", "rule"), max(d.Count, 1), d.Rule)
	case conclave.EventTaskChanged:
		if !conclave.TaskState(d.State).Ended() {
			return
		}
		c.add(counter("agent_tasks_total", "Tasks that ended, by agent and state.", "agent", "state"), 1, d.Agent, d.State)
		if conclave.TaskState(d.State) == conclave.TaskCompleted {
			timed(histogram("agent_response_seconds", "Time from the hub's acceptance of a task to the agent's answer.", "agent"), d.Agent)
		}
	case conclave.EventBallotCast:
		c.add(counter("ballots_total", "Ballots that were counted, by role and verdict.", "role", "verdict"), 1, d.Role, d.Verdict)
	case conclave.EventMotionDecided:
		c.add(counter("motions_total", "Motions that were decided, by kind of subject, outcome and who decided.", "subject", "outcome", "by"), 1, d.Subject, d.Outcome, d.By)
		timed(histogram("motion_seconds", "Time of motions from opening to decision.", "subject"), d.Subject)
	case conclave.EventModelCalled:
		status, _ := d.Status.(float64)
		c.add(counter("model_calls_total", "Calls to model providers, by model and HTTP status.", "model", "status"), 1, d.Model, strconv.Itoa(int(status)))
		timed(histogram("model_call_seconds", "Time of calls to model providers.", "model"), d.Model)
		tokens := counter("model_tokens_total", "Tokens that model providers reported; calls without a report are not in it.", "model", "direction")
		if d.Input != nil {
			c.add(tokens, *d.Input, d.Model, "input")
		}
		if d.Output != nil {
			c.add(tokens, *d.Output, d.Model, "output")
		}
		if d.Cost != nil {
			c.add(counter("model_cost_usd_total", "What calls to models cost in US dollars, as far as it is known.", "model"), *d.Cost, d.Model)
		} else {
			c.add(counter("model_calls_unpriced_total", "Calls to models whose cost is not known.", "model"), 1, d.Model)
		}
	}
}

func constant(m *metric, value float64, labels ...string) prometheus.Metric {
	kind := prometheus.GaugeValue
	if m.counter {
		kind = prometheus.CounterValue
	}
	return prometheus.MustNewConstMetric(m.desc(), kind, value, labels...)
}

// measure reads the gauges. What was not measured is absent.
func (c *Collector) measure(ctx context.Context) error {
	c.gauge = nil
	keys, err := c.insights.Metrics(ctx, conclave.GetInsights{})
	if err != nil {
		return fmt.Errorf("measure the key metrics: %w", err)
	}
	for _, k := range keys {
		if k.Value != nil {
			c.gauge = append(c.gauge, constant(gauge(k.Name, k.Definition+" Of the last 24 hours where it is not said otherwise."), *k.Value))
		}
		c.gauge = append(c.gauge, constant(gauge("key_metric_sample", "How many things a key metric was measured on.", "metric"), float64(k.Sample), k.Name))
	}
	load, err := c.insights.Load(ctx, conclave.GetInsights{})
	if err != nil {
		return fmt.Errorf("measure the load: %w", err)
	}
	active := gauge("agent_active_tasks", "Tasks in the hands of a live agent.", "agent", "role")
	capacity := gauge("agent_capacity_tasks", "Tasks that a live agent takes at once.", "agent", "role")
	states := map[[2]string]int{}
	for _, a := range load.Agents {
		states[[2]string{string(a.Role), string(a.State)}]++
		if a.State == conclave.AgentLive {
			c.gauge = append(c.gauge, constant(active, float64(a.Active), string(a.Agent), string(a.Role)),
				constant(capacity, float64(a.Capacity), string(a.Agent), string(a.Role)))
		}
	}
	for key, n := range states {
		c.gauge = append(c.gauge, constant(gauge("agents", "Registered agents, by role and state.", "role", "state"), float64(n), key[0], key[1]))
	}
	for _, q := range load.Queues {
		c.gauge = append(c.gauge, constant(gauge("queue_depth", "Work that is due and that nobody has taken, by queue.", "queue"), float64(q.Depth), q.Queue))
		if q.Oldest != nil {
			c.gauge = append(c.gauge, constant(gauge("queue_oldest_seconds", "How long the oldest work has waited; absent while none waits.", "queue"), *q.Oldest, q.Queue))
		}
	}
	stats, err := c.insights.Collaboration(ctx, conclave.GetInsights{})
	if err != nil {
		return fmt.Errorf("measure the runs: %w", err)
	}
	open := map[string]int{string(conclave.RunRunning): 0, string(conclave.RunWaiting): 0}
	for _, s := range stats.Statuses {
		if _, ok := open[s.Name]; ok {
			open[s.Name] = s.Count
		}
	}
	for status, n := range open {
		c.gauge = append(c.gauge, constant(gauge("runs_open", "Runs of the last 24 hours that have not ended, by status.", "status"), float64(n), status))
	}
	votes, err := c.insights.Consensus(ctx, conclave.GetInsights{})
	if err != nil {
		return fmt.Errorf("measure the votes: %w", err)
	}
	c.gauge = append(c.gauge, constant(gauge("motions_open", "Motions of the last 24 hours that are not decided, by state.", "state"), float64(votes.Open), "open"),
		constant(gauge("motions_open", "Motions of the last 24 hours that are not decided, by state.", "state"), float64(votes.Waiting), "waiting"))
	scores, err := c.trust.Scores(ctx, conclave.ListTrust{})
	if err != nil {
		return fmt.Errorf("read the trust of agents: %w", err)
	}
	trust := gauge("agent_trust_ratio", "Trust of an agent, by category and what thinks in it; absent without outcomes.", "agent", "category", "brain")
	weight := gauge("agent_vote_weight", "What an agent's ballot counts in a weighted vote, by category and what thinks in it.", "agent", "category", "brain")
	for _, s := range scores {
		labels := []string{string(s.Agent), string(s.Category), s.Brain}
		if s.Trust != nil {
			c.gauge = append(c.gauge, constant(trust, *s.Trust, labels...))
		}
		c.gauge = append(c.gauge, constant(weight, s.Weight, labels...))
	}
	return nil
}

// Describe implements prometheus.Collector. The metrics are not known before
// they are there.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(c.sums)) {
		s := c.sums[key]
		if s.metric.counter {
			ch <- constant(s.metric, s.value, s.labels...)
			continue
		}
		ch <- prometheus.MustNewConstHistogram(s.metric.desc(), s.count, s.value, maps.Clone(s.buckets), s.labels...)
	}
	for _, m := range c.gauge {
		ch <- m
	}
}
