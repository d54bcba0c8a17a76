package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/internal/bus"
)

// How long, by how many, and how often notes are sent.
const (
	busTime    = 2 * time.Second
	busWriters = 100
	busPings   = 500
	busFlight  = 5000 // notes that were sent and not heard yet, at most: writers wait for their commits too
)

// pair is a sender and a hearer in different processes, or what is like them.
type pair struct {
	send  func(ctx context.Context, n int64) error
	heard func() int64    // how many, so far
	rung  <-chan struct{} // gets a value when something was heard
	close func()
}

// buses compares each bus whose server is given with that server's own client.
func (b *bench) buses(ctx context.Context) error {
	var missing []string
	for _, engine := range []string{"memory", "redis", "kafka", "nats"} {
		url := engine
		if engine != "memory" {
			variable := "CONCLAVE_TEST_" + strings.ToUpper(engine)
			if url = os.Getenv(variable); url == "" {
				missing = append(missing, variable)
				continue
			}
		}
		if err := b.oneBus(ctx, engine, url); err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
	}
	if len(missing) > 0 {
		b.note("Buses that are not shown have no server here: %s name none.", strings.Join(missing, " and "))
	}
	b.note("Bus: %d writers publish notes for %v, one for each event, at most %d on their way; counted is what another process heard. The raw client sends the same bytes, one message for each note, acknowledged one by one where the server does that, and reads as its documentation says. Latency: from publishing one note, with nothing else on its way, until a watcher in the other process is woken, %d times.",
		busWriters, busTime, busFlight, busPings)
	return nil
}

func (b *bench) oneBus(ctx context.Context, engine, url string) error {
	ours, err := busPair(ctx, url)
	if err != nil {
		return err
	}
	defer ours.close()
	rate, latency, err := ours.measure(ctx)
	if err != nil {
		return err
	}
	what := "notes a second, " + engine
	if engine == "memory" {
		b.add(what, "none", fmt.Sprintf("%.0f/s", rate), "–")
		b.add("the same: latency, p50 / p95", "none", latency.pair(), "–")
		return nil
	}
	raw, err := rawPair(ctx, engine, url)
	if err != nil {
		return err
	}
	defer raw.close()
	rawRate, rawLatency, err := raw.measure(ctx)
	if err != nil {
		return fmt.Errorf("the raw client: %w", err)
	}
	b.add(what, "half of the raw client", fmt.Sprintf("%.0f/s, beside %.0f/s: %.1f times as many", rate, rawRate, rate/rawRate), yes(rate >= rawRate/2))
	b.add("the same: latency, p50 / p95", "p50: twice the raw client's", fmt.Sprintf("%s, beside %s", latency.pair(), rawLatency.pair()), yes(latency.at(0.5) <= 2*rawLatency.at(0.5)))
	return nil
}

// pair is p50 and p95, in steps that short times have too.
func (s sorted) pair() string {
	text := func(d time.Duration) string { return fmt.Sprintf("%.3f ms", float64(d)/1e6) }
	return text(s.at(0.5)) + " / " + text(s.at(0.95))
}

// measure returns notes a second and the latencies.
func (p *pair) measure(ctx context.Context) (rate float64, latency sorted, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var list []time.Duration
	for n := range int64(busPings) {
		select {
		case <-p.rung: // of the one before
		default:
		}
		began := time.Now()
		if err := p.send(ctx, n); err != nil {
			return 0, nil, err
		}
		select {
		case <-p.rung:
			list = append(list, time.Since(began))
		case <-ctx.Done():
			return 0, nil, errors.New("a note was not heard")
		}
	}
	before := p.heard()
	var sent atomic.Int64
	var failure atomic.Pointer[error]
	var all sync.WaitGroup
	began := time.Now()
	for range busWriters {
		all.Go(func() {
			for time.Since(began) < busTime && ctx.Err() == nil {
				if sent.Load()-(p.heard()-before) >= busFlight {
					time.Sleep(100 * time.Microsecond)
					continue
				}
				if err := p.send(ctx, sent.Add(1)); err != nil {
					failure.Store(&err)
					return
				}
			}
		})
	}
	all.Wait()
	for p.heard()-before < sent.Load() && failure.Load() == nil {
		select {
		case <-p.rung:
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return 0, nil, fmt.Errorf("%d of %d notes were heard", p.heard()-before, sent.Load())
		}
	}
	if err := failure.Load(); err != nil {
		return 0, nil, *err
	}
	return float64(sent.Load()) / time.Since(began).Seconds(), sort(list), nil
}

// about is what a note of an event names.
func about(n int64) []string {
	return []string{"run-01h455vb4pex5vsknk084sn02q", fmt.Sprintf("task-%026d", n%1000)}
}

// busPair is two processes' buses. On memory there is one process.
func busPair(ctx context.Context, url string) (*pair, error) {
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	p := &pair{close: func() { stop(); all.Wait() }}
	o := bus.Options{URL: url, Name: "bench-" + conclave.NewID("bus")}
	var both []*bus.Bus
	for range 2 {
		one, err := bus.New(o)
		if err != nil {
			p.close()
			return nil, err
		}
		all.Go(func() { one.Run(running) })
		both = append(both, one)
	}
	from, to := both[0], both[1]
	p.heard = func() int64 { return to.Figures().Heard }
	if url == "memory" {
		to = from
		p.heard = func() int64 { return to.Figures().Published }
	}
	for _, b := range both {
		if err := connected(ctx, b); err != nil {
			p.close()
			return nil, err
		}
	}
	rung, unsubscribe := to.Subscribe("run-01h455vb4pex5vsknk084sn02q")
	p.rung = rung
	end := p.close
	p.close = func() { unsubscribe(); end() }
	p.send = func(_ context.Context, n int64) error {
		from.Publish(bus.Note{Tenant: "default", Seq: n + 1, About: about(n)})
		if from.Figures().Dropped > 0 {
			return errors.New("notes were dropped")
		}
		return nil
	}
	return p, nil
}

// connected waits until a bus has its server, when it rings for everybody.
func connected(ctx context.Context, b *bus.Bus) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	rung, unsubscribe := b.Subscribe("")
	defer unsubscribe()
	for {
		lost := b.Health()
		if lost == nil {
			return nil
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return lost
		}
	}
}
