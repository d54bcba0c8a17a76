package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/council"
	"conclave/internal/insight"
	"conclave/internal/store"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// collector reads a database as the monitor does.
func collector(t *testing.T, db *store.DB, clock conclave.Clock) *insight.Collector {
	t.Helper()
	trust := council.New(council.Options{Outcomes: db.Outcomes()})
	insights, err := insight.New(insight.Options{Store: db.Insights(), Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	c, err := insight.NewCollector(insight.CollectorOptions{Insights: insights, Trust: trust, Events: db.Insights(), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What the record tells is the same for a process that starts later, counts
// nothing twice, and goes on from where it was.
func TestCollector(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		ctx := conclave.WithCaller(t.Context(), conclave.ServiceCaller(conclave.ServiceMonitor, conclave.DefaultTenant, "ana"))
		now := time.Now()
		clock := func() time.Time { return now }
		first := collector(t, db, clock)
		check := func(c *insight.Collector, calls, tokens int) {
			t.Helper()
			refresh(t, ctx, c)
			want := fmt.Sprintf("# HELP conclave_model_calls_total Calls to model providers, by model and HTTP status.\n# TYPE conclave_model_calls_total counter\n"+
				"conclave_model_calls_total{model=\"m\",status=\"200\"} %d\n"+
				"# HELP conclave_model_tokens_total Tokens that model providers reported; calls without a report are not in it.\n# TYPE conclave_model_tokens_total counter\n"+
				"conclave_model_tokens_total{direction=\"input\",model=\"m\"} %d\n", calls, tokens)
			if err := testutil.CollectAndCompare(c, strings.NewReader(want), "conclave_model_calls_total", "conclave_model_tokens_total"); err != nil {
				t.Error(err)
			}
		}
		call := func(tokens *int64) {
			t.Helper()
			if err := db.ModelCalls().Record(ctx, conclave.ModelCall{Model: "m", Status: 200, InputTokens: tokens, Millis: 20}); err != nil {
				t.Fatal(err)
			}
		}
		seven := int64(7)
		for range 2500 { // more than a page of events
			call(nil)
		}
		call(&seven)
		check(first, 2501, 7)
		call(&seven)
		check(first, 2501, 7) // the reading is still good
		now = now.Add(time.Minute)
		check(first, 2502, 14)
		now = now.Add(time.Minute)
		check(first, 2502, 14)
		check(collector(t, db, clock), 2502, 14)

		// Nothing was measured for most of the key metrics: they are absent.
		registry := prometheus.NewRegistry()
		registry.MustRegister(first)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range families {
			names = append(names, f.GetName())
			if strings.HasSuffix(f.GetName(), "_ratio") || strings.HasSuffix(f.GetName(), "average_seconds") || f.GetName() == "conclave_model_cost_usd_total" {
				t.Errorf("%s is exported, and nothing was measured for it", f.GetName())
			}
		}
		if !strings.Contains(strings.Join(names, " "), "conclave_queue_depth") {
			t.Errorf("metrics %q", names)
		}
	})
}

func refresh(t *testing.T, ctx context.Context, c *insight.Collector) {
	t.Helper()
	if err := c.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
}
