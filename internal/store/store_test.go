package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
	"conclave/internal/pgtest"
	"conclave/internal/store"
)

// engine is one database that every test of this package runs on.
type engine struct {
	name string
	url  func(t *testing.T) string // of an empty database of the test's own
}

func engines() []engine {
	return []engine{
		{"sqlite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") }},
		{"postgres", func(t *testing.T) string { return pgtest.URL(t) }},
	}
}

func onEach(t *testing.T, test func(t *testing.T, db *store.DB)) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) { test(t, open(t, e.url(t), "test")) })
	}
}

func open(t *testing.T, url, owner string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{URL: url, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// run works the queue until the test ends.
func run(t *testing.T, db *store.DB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- db.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestHubStore(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			hub.StoreSuite(t, func(t *testing.T, deliver hub.Deliver) (hub.Store, func() []conclave.Event) {
				db := open(t, e.url(t), "test")
				db.HandleDeliveries(16, func(ctx context.Context, id string, epoch int64) error {
					return deliver(ctx, conclave.TaskID(id), epoch)
				})
				run(t, db)
				return db.Hub(), func() []conclave.Event {
					ctx := conclave.WithCaller(context.Background(), conclave.Caller{Tenant: "acme"})
					events, err := db.Events().List(ctx, conclave.EventFilter{Limit: 1000})
					if err != nil {
						t.Fatal(err)
					}
					return events
				}
			})
		})
	}
}

func TestOpenTwiceKeepsData(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			url := e.url(t)
			db := open(t, url, "a")
			p, err := db.Plans().Propose(t.Context(), conclave.ProposePlan{Run: "run-1"}, conclave.Plan{ID: "plan-1", Run: "run-1", Version: 1})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := open(t, url, "a").Plans().Get(t.Context(), conclave.GetPlan{ID: p.ID})
			if err != nil || again.Version != 1 {
				t.Fatalf("plan %+v, error %v", again, err)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		in := conclave.ProposePlan{Key: "k", Run: "run-1", Author: "planner-1"}
		plan := conclave.Plan{ID: "plan-1", Run: "run-1", Version: 1}
		first, err := db.Plans().Propose(t.Context(), in, plan)
		if err != nil {
			t.Fatal(err)
		}
		again, err := db.Plans().Propose(t.Context(), in, plan)
		if err != nil || !again.Created.Equal(first.Created) {
			t.Errorf("the same key: %+v, %v; want the first answer", again, err)
		}
		in.Author = "planner-2"
		if _, err := db.Plans().Propose(t.Context(), in, plan); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("the key for another request: %v, want a conflict", err)
		}
		events, err := db.Events().List(t.Context(), conclave.EventFilter{Run: "run-1"})
		if err != nil || len(events) != 1 {
			t.Errorf("%d events, %v; want one", len(events), err)
		}
	})
}

func TestConcurrentWritersShareCommits(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		var wg sync.WaitGroup
		in, out := int64(1), int64(2)
		for i := range 200 {
			wg.Go(func() {
				err := db.ModelCalls().Record(t.Context(), conclave.ModelCall{Run: "run-1", Model: fmt.Sprint(i), InputTokens: &in, OutputTokens: &out})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		u, err := db.ModelCalls().Usage(t.Context(), conclave.GetUsage{Run: "run-1"})
		if err != nil || *u.ModelCalls != 200 || *u.InputTokens != 200 || *u.OutputTokens != 400 || u.CostUSD != nil {
			t.Errorf("usage %+v, %v", u, err)
		}
		if err := db.ModelCalls().Record(t.Context(), conclave.ModelCall{Run: "run-1", Model: "m", OutputTokens: &out}); err != nil {
			t.Fatal(err)
		}
		// What one call did not tell is not known of all of them.
		u, err = db.ModelCalls().Usage(t.Context(), conclave.GetUsage{Run: "run-1"})
		if err != nil || *u.ModelCalls != 201 || u.InputTokens != nil || u.OutputTokens != nil {
			t.Errorf("usage with a call that was not measured %+v, %v", u, err)
		}
	})
}

// A closed account lets no call begin; those that have begun still end.
func TestClosedAccount(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		calls := db.ModelCalls()
		call := conclave.ModelCall{Key: "k", Run: "run-1", Model: "m"}
		if err := calls.Begin(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a second time changes nothing
			if err := calls.Close(t.Context(), conclave.CloseAccount{Run: "run-1"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := calls.Begin(t.Context(), conclave.ModelCall{Key: "late", Run: "run-1", Model: "m"}); !errors.Is(err, conclave.ErrConflict) {
			t.Errorf("a call of a closed account: %v", err)
		}
		if err := calls.Begin(t.Context(), conclave.ModelCall{Key: "other", Run: "run-2", Model: "m"}); err != nil {
			t.Errorf("a call of another run: %v", err)
		}
		if err := calls.Record(t.Context(), call); err != nil {
			t.Errorf("the end of a call that had begun: %v", err)
		}
		u, err := calls.Usage(t.Context(), conclave.GetUsage{Run: "run-1"})
		if err != nil || *u.ModelCalls != 1 || u.Pending != 0 {
			t.Errorf("usage %+v, %v", u, err)
		}
		if events, err := db.Events().List(t.Context(), conclave.EventFilter{Run: "run-1", Kinds: []conclave.EventKind{conclave.EventAccountClosed}}); err != nil || len(events) != 1 {
			t.Errorf("%d events of the account's end, %v; want one", len(events), err)
		}
	})
}

func TestWatchSeesEveryEventInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		run(t, db)
		const n = 100
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		defer wg.Wait() // a write that was seen may still be about to return
		for i := range n {
			wg.Go(func() {
				if err := db.ModelCalls().Record(t.Context(), conclave.ModelCall{Run: "run-1", Model: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			})
		}
		seen, last := map[string]bool{}, int64(0)
		for e, err := range db.Events().Watch(ctx, conclave.EventFilter{Run: "run-1"}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Seq <= last {
				t.Errorf("seq %d after %d", e.Seq, last)
			}
			last, seen[e.Subject] = e.Seq, true
			if len(seen) == n {
				return
			}
		}
		t.Fatalf("saw %d of %d events", len(seen), n)
	})
}

// A model call counts from its begin, once, and for a budget by what is assumed
// until its tokens are known.
func TestModelCallsCountFromTheirBegin(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		calls, ctx := db.ModelCalls(), t.Context()
		check := func(when string, wantCalls, wantPending, wantSpent int64) {
			t.Helper()
			u, err := calls.Usage(ctx, conclave.GetUsage{Run: "run-1"})
			if err != nil || *u.ModelCalls != wantCalls || u.Pending != wantPending {
				t.Errorf("%s: %d calls, %d pending, %v; want %d and %d", when, *u.ModelCalls, u.Pending, err, wantCalls, wantPending)
			}
			if spent, err := calls.Spent(ctx, "run-1"); err != nil || spent != wantSpent {
				t.Errorf("%s: %d spent, %v; want %d", when, spent, err, wantSpent)
			}
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		first := conclave.ModelCall{Key: "1", Run: "run-1", Model: "m", Assumed: 50}
		do(calls.Begin(ctx, first))
		do(calls.Begin(ctx, conclave.ModelCall{Key: "2", Run: "run-1", Model: "m", Assumed: 7}))
		check("two have begun", 2, 2, 57)
		in, out := int64(10), int64(3)
		first.InputTokens, first.OutputTokens, first.Assumed, first.Status = &in, &out, 0, 200
		do(calls.Record(ctx, first))
		do(calls.Drop(ctx, "2"))
		check("one has ended, the other was not made", 1, 0, 13)
		do(calls.Drop(ctx, "1"))
		check("what has ended can't be dropped", 1, 0, 13)
		do(calls.Record(ctx, conclave.ModelCall{Key: "3", Run: "run-1", Model: "m", Assumed: 20}))
		check("one did not tell its tokens", 2, 0, 33)
	})
}
