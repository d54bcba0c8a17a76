package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"conclave/internal/pgtest"

	"conclave"
)

func TestReplicaNumbers(t *testing.T) {
	url := pgtest.URL(t)
	first, second := open(t, url, "a"), open(t, url, "b")
	a, err := first.TakeReplica(t.Context(), "agent-pool")
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.TakeReplica(t.Context(), "agent-pool")
	if err != nil {
		t.Fatal(err)
	}
	other, err := second.TakeReplica(t.Context(), "qa-agents")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	if a.Number != 0 || b.Number != 1 || other.Number != 0 {
		t.Errorf("two of one name and one of another are %d, %d and %d, want 0, 1 and 0", a.Number, b.Number, other.Number)
	}
	a.Release()
	again, err := second.TakeReplica(t.Context(), "agent-pool")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	if again.Number != 0 {
		t.Errorf("after its release the number 0 is not given out, but %d", again.Number)
	}

	// Whoever loses its connection learns it: its number is somebody else's soon.
	held := make(chan error, 1)
	go func() { held <- b.Hold(t.Context(), func() {}) }()
	admin, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Exec(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); err != nil {
		t.Fatal(err)
	}
	if err := <-held; !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("the connection is gone, and Hold says %v", err)
	}
	b.Release()
}

// A hold ends in order with its process, and gives the number back.
func TestReplicaIsGivenBack(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			db := open(t, e.url(t), "a")
			for range 2 {
				r, err := db.TakeReplica(t.Context(), "agent-pool")
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				if err := r.Hold(ctx, stop); err != nil {
					t.Errorf("a hold that was ended says %v", err)
				}
				r.Release()
				if r.Number != 0 {
					t.Errorf("the only replica is number %d", r.Number)
				}
			}
		})
	}
}
