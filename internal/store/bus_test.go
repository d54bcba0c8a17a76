package store_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/internal/bus"
	"conclave/internal/bustest"
	"conclave/internal/pgtest"
	"conclave/internal/store"

	"github.com/jackc/pgx/v5"
)

// With a bus, what one process commits wakes the watchers and the workers of
// another long before they would poll, and Postgres is not asked to tell them.
func TestBusWakesOtherProcesses(t *testing.T) {
	for _, engine := range append([]string{"memory"}, bustest.Engines()...) {
		t.Run(engine, func(t *testing.T) {
			url, name := pgtest.URL(t), "test-"+string(conclave.NewID("bus"))
			process := func(owner string) (*store.DB, *bus.Bus) {
				o := bus.Options{Name: name}
				if engine != "memory" {
					o.URL = bustest.URL(t, engine)
				}
				b, err := bus.New(o)
				if err != nil {
					t.Fatal(err)
				}
				db, err := store.Open(t.Context(), store.Options{URL: url, Owner: owner, Bus: b})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := db.Close(); err != nil {
						t.Error(err)
					}
				})
				return db, b
			}
			writer, carrier := process("writer")
			reader, hearer := process("reader")
			worked := make(chan string, 100)
			reader.Handle(store.WorkDelivery, 4, func(_ context.Context, id string, _ int64) error {
				worked <- id
				return nil
			})
			run(t, writer)
			run(t, reader)
			if engine != "memory" {
				connected(t, carrier)
				connected(t, hearer)
			}
			var notified <-chan struct{}
			if engine != "memory" {
				notified = listening(t, url)
			}

			var watched, handled []time.Duration
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				id := string(conclave.NewID("task"))
				seen := make(chan time.Time, 1)
				up := make(chan struct{})
				go func() {
					c, stop := hearer.Subscribe(id)
					defer stop()
					close(up)
					select {
					case <-c:
						seen <- time.Now()
					case <-ctx.Done():
					}
				}()
				<-up
				began := time.Now()
				if err := writer.Update(ctx, func(tx *store.Tx) error {
					if err := tx.Append(conclave.Event{Kind: conclave.EventMessageSent, Subject: id, Run: "run-1"}); err != nil {
						return err
					}
					return tx.Enqueue(store.WorkDelivery, id)
				}); err != nil {
					t.Fatal(err)
				}
				select {
				case at := <-seen:
					watched = append(watched, at.Sub(began))
				case <-ctx.Done():
					t.Fatal("the watcher heard nothing")
				}
				for got := ""; got != id; {
					select {
					case got = <-worked:
					case <-ctx.Done():
						t.Fatal("the worker got nothing")
					}
				}
				handled = append(handled, time.Since(began))
				cancel()
			}
			t.Logf("%s: a watcher heard after %v, a worker began after %v (medians)", engine, median(watched), median(handled))
			// A poll would take a second and a half on average.
			if m := median(watched); m > 700*time.Millisecond {
				t.Errorf("a watcher in another process heard after %v", m)
			}
			if m := median(handled); m > 700*time.Millisecond {
				t.Errorf("a worker in another process began after %v", m)
			}
			select {
			case <-notified:
				t.Error("Postgres was asked to tell what the bus carries")
			default:
			}
		})
	}
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// connected waits until the bus is.
func connected(t *testing.T, b *bus.Bus) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	limit := time.After(time.Minute)
	for b.Health() != nil {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("the bus does not connect: %v", b.Health())
		}
	}
}

// listening gets a value when somebody uses the database's own notifications.
func listening(t *testing.T, url string) <-chan struct{} {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "LISTEN conclave"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	told, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		if _, err := conn.WaitForNotification(ctx); err == nil {
			told <- struct{}{}
		}
		_ = conn.Close(context.WithoutCancel(ctx)) // the test is over
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return told
}
