package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
	"conclave/internal/pgtest"
	"conclave/internal/store"
)

// What two processes do to one row at the same time on Postgres. The other
// process is a transaction by hand, which is open while this one waits for it.

// meanwhile runs f while a transaction of another process that has done
// statement is open, ends that when f waits for it, and returns what f returns.
func meanwhile(t *testing.T, url, statement string, f func() error) error {
	t.Helper()
	raw, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	other, err := raw.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback() // it is committed by then
	if _, err := other.Exec(statement); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	limit := time.After(20 * time.Second)
	for waiting := false; !waiting; {
		select {
		case err := <-done: // it needs nothing of the other
			if e := other.Commit(); e != nil {
				t.Fatal(e)
			}
			return err
		case <-again.C:
		case <-limit:
			t.Fatal("neither done nor waiting")
		}
		if err := raw.QueryRow(`SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	return <-done
}

func working(t *testing.T, db *store.DB, id string) hub.Task {
	t.Helper()
	if _, err := db.Hub().UpsertAgent(t.Context(), "acme", conclave.Agent{Name: "dev-1", Role: "developer", State: conclave.AgentLive, Capacity: 5}); err != nil {
		t.Fatal(err)
	}
	accept(t, db, id)
	task, err := db.Hub().Claim(t.Context(), hub.Claim{ID: conclave.TaskID(id), Epoch: 1, Agent: "dev-1", Instance: "gone"})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// A task that ends while a stale claim is looked for is not put back.
func TestSweepDoesNotPutBackWhatHasEnded(t *testing.T) {
	url := pgtest.URL(t)
	db := open(t, url, "test")
	working(t, db, "t1")
	err := meanwhile(t, url, `UPDATE tasks SET state = 'completed', doc = replace(doc, '"working"', '"completed"') WHERE id = 't1'`, func() error {
		_, err := db.Hub().Sweep(t.Context(), hub.Sweep{Instance: "hub", AgentTTL: time.Hour, ClaimTTL: time.Nanosecond})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := db.Hub().Wait(t.Context(), "t1", "", 0); err != nil || got.State != conclave.TaskCompleted {
		t.Errorf("the task that was completed is %s, %v", got.State, err)
	}
}

// An agent that renews itself while it is looked for is not lost.
func TestSweepDoesNotLoseWhoIsBack(t *testing.T) {
	url := pgtest.URL(t)
	db := open(t, url, "test")
	working(t, db, "t1")
	err := meanwhile(t, url, `UPDATE agents SET seen = seen + 3600000000`, func() error {
		_, err := db.Hub().Sweep(t.Context(), hub.Sweep{Instance: "hub", AgentTTL: time.Nanosecond, ClaimTTL: time.Hour})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := db.Hub().Agents(t.Context(), "acme", conclave.ListAgents{Live: true}); err != nil || len(list) != 1 {
		t.Errorf("live are %v, %v", list, err)
	}
}

// A change that is under way when a client asks to be told is told.
func TestPushOfAChangeUnderWay(t *testing.T) {
	url := pgtest.URL(t)
	db := open(t, url, "test")
	working(t, db, "t1")
	// The change has looked for whom to tell; its event comes with its commit.
	event := `UPDATE push_configs SET due = 1 WHERE task = 't1'; SELECT 1 FROM tasks WHERE id = 't1' FOR UPDATE;
		INSERT INTO events (tenant, at, kind, actor, run, step, conversation, subject, text, data)
		VALUES ('acme', 0, 'task.changed', '', '', '', 'talk-t1', 't1', '', '{"state":"completed"}')`
	err := meanwhile(t, url, event, func() error {
		if err := db.Pushes().SavePush(t.Context(), "acme", hub.PushConfig{Task: "t1", ID: "a", URL: "http://a"}, true, 2); err != nil {
			return err
		}
		list, err := db.Pushes().TakePushes(t.Context(), 10, time.Hour, 0)
		for _, p := range list {
			if e := db.Pushes().EndPush(t.Context(), hub.EndPush{Tenant: "acme", Task: "t1", ID: "a", Epoch: p.Epoch, Told: p.Changes[len(p.Changes)-1].Seq}); e != nil {
				return e
			}
			if len(p.Changes) == 2 {
				return nil
			}
		}
		return errors.Join(err, errors.New("the change was not told"))
	})
	if err != nil {
		t.Error(err)
	}
}

// A dead letter that is retried at that moment is not dropped as well.
func TestDropOfWhatIsRetried(t *testing.T) {
	url := pgtest.URL(t)
	db := open(t, url, "test")
	task := working(t, db, "t1")
	if _, err := db.Hub().Settle(t.Context(), hub.Settle{ID: "t1", Epoch: task.Epoch, State: conclave.TaskFailed, Error: "gone", Dead: true}); err != nil {
		t.Fatal(err)
	}
	err := meanwhile(t, url, `DELETE FROM dead_letters WHERE task = 't1'`, func() error {
		_, err := db.Letters().DropLetter(t.Context(), "acme", "t1", "ada")
		return err
	})
	if !errors.Is(err, conclave.ErrNotFound) {
		t.Errorf("dropped: %v, want that there is no such letter", err)
	}
}

// What waits for an agent is due at once when it says that it is elsewhere, or
// has more hands.
func TestAgentThatMovesIsTriedAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		due := make(chan string, 10)
		db.HandleDeliveries(4, func(_ context.Context, id string, _ int64) error {
			due <- id
			return nil
		})
		for i, change := range []func(*conclave.Agent){func(a *conclave.Agent) { a.URL = "http://elsewhere" }, func(a *conclave.Agent) { a.Capacity = 9 }} {
			id := []string{"t1", "t2"}[i]
			a := conclave.Agent{Name: "dev-1", Role: "developer", URL: "http://here", State: conclave.AgentLive, Capacity: 5}
			upsert := func() {
				if _, err := db.Hub().UpsertAgent(t.Context(), "acme", a); err != nil {
					t.Fatal(err)
				}
			}
			upsert()
			accept(t, db, id)
			if _, err := db.Hub().Settle(t.Context(), hub.Settle{ID: conclave.TaskID(id), Epoch: 1, State: conclave.TaskSubmitted, After: time.Hour, Parked: true}); err != nil {
				t.Fatal(err)
			}
			change(&a)
			upsert()
		}
		run(t, db)
		got := map[string]bool{}
		for len(got) < 2 {
			select {
			case id := <-due:
				got[id] = true
			case <-time.After(10 * time.Second):
				t.Fatalf("due are %v, want t1 and t2", got)
			}
		}
	})
}
