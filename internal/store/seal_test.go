package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"conclave"
	"conclave/internal/identity"
	"conclave/internal/store"
)

// tell appends events of a tenant, each in a transaction of its own.
func tell(t *testing.T, db *store.DB, tenant conclave.TenantID, from, to int) {
	t.Helper()
	var writers sync.WaitGroup
	for i := from; i < to; i++ {
		writers.Go(func() {
			if err := db.Update(t.Context(), func(tx *store.Tx) error {
				return tx.Append(conclave.Event{Tenant: tenant, Kind: conclave.EventRunWarned, Actor: "ada", Subject: fmt.Sprint(i), Text: fmt.Sprintf("event %d", i), Data: []byte(`{"n": 1}`)})
			}); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
}

func auditKey(t *testing.T) *identity.Key {
	t.Helper()
	key, err := identity.LoadOrCreate(t.TempDir(), "audit")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rawDB is the database behind the store's back.
func rawDB(t *testing.T, url string) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	raw, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return raw
}

func TestSealedRecord(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			url := e.url(t)
			db := open(t, url, "test")
			key := auditKey(t)
			var told []conclave.Checkpoint
			sealer := db.Sealer(key, func(c conclave.Checkpoint) error { told = append(told, c); return nil })
			seal := func(want int) {
				t.Helper()
				if n, err := sealer.Seal(t.Context()); err != nil || n != want {
					t.Fatalf("sealed %d events, %v; want %d", n, err, want)
				}
			}
			verify := func() conclave.AuditReport {
				t.Helper()
				report, err := db.Verify(t.Context(), nil, []string{key.Public()}, told)
				if err != nil {
					t.Fatal(err)
				}
				return report
			}
			if report := verify(); !report.OK || report.Sealed+report.Unsealed != 0 {
				t.Fatalf("an empty record is %+v", report)
			}
			tell(t, db, "acme", 0, 30)
			tell(t, db, "globex", 0, 7)
			seal(37)
			tell(t, db, "acme", 30, 40)
			seal(10)
			tell(t, db, "acme", 40, 43)
			if report := verify(); !report.OK || report.Sealed != 47 || report.Unsealed != 3 || len(report.Heads) != 2 {
				t.Fatalf("the record is %+v", report)
			}
			ctx := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: "globex"})
			if report, err := db.Audit(key.Public()).Verify(ctx, conclave.None{}); err != nil || report.Sealed != 7 || len(report.Heads) != 1 {
				t.Fatalf("the tenant's own report is %+v, %v", report, err)
			}

			raw := rawDB(t, url)
			var seqs []int64
			rows, err := raw.Query(`SELECT seq FROM events WHERE tenant = 'acme' ORDER BY seq`)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var n int64
				if err := rows.Scan(&n); err != nil {
					t.Fatal(err)
				}
				seqs = append(seqs, n)
			}
			rows.Close()
			again := "OVERRIDING SYSTEM VALUE "
			columns := "(seq, tenant, at, kind, actor, run, step, conversation, subject, text, data)"
			if e.name == "sqlite" {
				again = ""
			}
			restore := "INSERT INTO events " + columns + " " + again + "SELECT * FROM spare WHERE seq NOT IN (SELECT seq FROM events)"
			if _, err := raw.Exec(`CREATE TABLE spare AS SELECT * FROM events`); err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Exec(`CREATE TABLE spareseals AS SELECT * FROM seals`); err != nil {
				t.Fatal(err)
			}
			move := "UPDATE events SET subject = (SELECT subject FROM spare WHERE seq = %d), text = (SELECT text FROM spare WHERE seq = %[1]d), at = (SELECT at FROM spare WHERE seq = %[1]d) WHERE seq = %d"
			for _, tt := range []struct {
				name, sql, what string
				seq             int64
			}{
				{"a text", fmt.Sprintf("UPDATE events SET text = 'nothing happened' WHERE seq = %d", seqs[4]), "changed", seqs[4]},
				{"a byte of the data", fmt.Sprintf(`UPDATE events SET data = '{"n":1}' WHERE seq = %d`, seqs[5]), "changed", seqs[5]},
				{"the actor", fmt.Sprintf("UPDATE events SET actor = 'bob' WHERE seq >= %d", seqs[33]), "changed", seqs[33]},
				{"the time", fmt.Sprintf("UPDATE events SET at = at + 1 WHERE seq = %d", seqs[0]), "changed", seqs[0]},
				{"one is gone", fmt.Sprintf("DELETE FROM events WHERE seq = %d", seqs[7]), "removed", seqs[7]},
				{"the last sealed one is gone", fmt.Sprintf("DELETE FROM events WHERE seq = %d", seqs[39]), "removed", seqs[39]},
				{"one went to another tenant", fmt.Sprintf("UPDATE events SET tenant = 'globex' WHERE seq = %d", seqs[3]), "removed", seqs[3]},
				{"two changed places", fmt.Sprintf(move, seqs[8], seqs[9]) + ";" + fmt.Sprintf(move, seqs[9], seqs[8]), "changed", seqs[8]},
				{"one too many", fmt.Sprintf("INSERT INTO events %s %sSELECT -5, tenant, at, kind, actor, run, step, conversation, subject, text, data FROM spare WHERE seq = %d", columns, again, seqs[0]), "inserted", -5},
				{"the last checkpoint is gone", "DELETE FROM seals WHERE tenant = 'acme' AND number = 2", "checkpoint", 0},
				{"the first checkpoint is gone", "DELETE FROM seals WHERE tenant = 'acme' AND number = 1", "checkpoint", 0},
				{"every checkpoint is gone", "DELETE FROM seals", "checkpoint", 0},
				{"a checkpoint says otherwise", `UPDATE seals SET doc = replace(doc, '"count":30', '"count":29') WHERE tenant = 'acme'`, "checkpoint", 0},
				{"leaves of another checkpoint", `UPDATE seals SET leaves = (SELECT leaves FROM spareseals WHERE tenant = 'globex') WHERE tenant = 'acme' AND number = 1`, "checkpoint", 0},
			} {
				if _, err := raw.Exec(tt.sql); err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				report := verify()
				if report.OK || len(report.Problems) == 0 {
					t.Errorf("%s: not found", tt.name)
				} else if p := report.Problems[0]; p.What != tt.what || p.Seq != tt.seq && tt.seq > 0 || p.Text == "" {
					t.Errorf("%s: found as %+v, want event %d %s", tt.name, p, tt.seq, tt.what)
				}
				for _, q := range []string{"DELETE FROM events", restore, "DELETE FROM seals", "INSERT INTO seals SELECT * FROM spareseals"} {
					if _, err := raw.Exec(q); err != nil {
						t.Fatalf("%s: %v", q, err)
					}
				}
				if report := verify(); !report.OK {
					t.Fatalf("after %s was mended: %+v", tt.name, report.Problems)
				}
			}

			// Whoever can write the database, but has not the key, can't seal a
			// record of their own.
			if _, err := raw.Exec("DELETE FROM seals"); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Sealer(auditKey(t), nil).Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			if report := verify(); report.OK || report.Problems[0].What != "checkpoint" {
				t.Errorf("checkpoints under a foreign key are taken: %+v", report)
			}
		})
	}
}

// Sealers and writers at once: every event is sealed exactly once, none is passed over.
func TestSealWhileOthersWrite(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		key := auditKey(t)
		ctx, cancel := context.WithCancel(t.Context())
		var sealers sync.WaitGroup
		for range 2 {
			sealers.Go(func() {
				for ctx.Err() == nil {
					if _, err := db.Sealer(key, nil).Seal(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
				}
			})
		}
		tell(t, db, "acme", 0, 400)
		cancel()
		sealers.Wait()
		if _, err := db.Sealer(key, nil).Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		report, err := db.Verify(t.Context(), nil, []string{key.Public()}, nil)
		if err != nil || !report.OK || report.Sealed != 400 || report.Unsealed != 0 {
			t.Errorf("the record is %+v, %v", report, err)
		}
	})
}

// A running sealer notices what is told, and what is left when it is stopped.
func TestSealerRuns(t *testing.T) {
	db := open(t, engines()[0].url(t), "test")
	told := make(chan conclave.Checkpoint, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	up := make(chan struct{})
	go func() {
		done <- db.Sealer(auditKey(t), func(c conclave.Checkpoint) error { told <- c; return nil }).Run(ctx, func() { close(up) })
	}()
	<-up
	tell(t, db, "acme", 0, 1)
	if c := <-told; c.Count != 1 || c.Number != 1 {
		t.Errorf("the first checkpoint is %+v", c)
	}
	tell(t, db, "acme", 1, 4)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	close(told)
	rest := int64(0)
	for c := range told {
		rest += c.Count
	}
	if rest != 3 {
		t.Errorf("%d events were sealed at the end, want 3", rest)
	}
}

func TestEventFilter(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		for i, actor := range []string{"ada", "bob", "ada"} {
			ctx := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: "acme", Human: actor})
			if err := db.Update(ctx, func(tx *store.Tx) error {
				return tx.Append(conclave.Event{Kind: conclave.EventRunWarned, Text: fmt.Sprint(i)})
			}); err != nil {
				t.Fatal(err)
			}
		}
		ctx := conclave.WithCaller(t.Context(), conclave.Caller{Tenant: "acme"})
		texts := func(f conclave.EventFilter) []string {
			events, err := db.Events().List(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			list := []string{}
			for _, e := range events {
				list = append(list, e.Actor+" "+e.Text)
			}
			return list
		}
		if got := texts(conclave.EventFilter{Actor: "ada"}); !slices.Equal(got, []string{"ada 0", "ada 2"}) {
			t.Errorf("what ada did is %q", got)
		}
		events, err := db.Events().List(ctx, conclave.EventFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(conclave.EventFilter{Since: events[2].At.UnixMilli() + 1}); len(got) != 0 {
			t.Errorf("what happened later than everything is %q", got)
		}
		if got := texts(conclave.EventFilter{Since: events[0].At.UnixMilli()}); len(got) != 3 {
			t.Errorf("what happened since the first is %q", got)
		}
	})
}

// The cost of sealing, beside the events that it seals.
func BenchmarkSeal(b *testing.B) {
	db, err := store.Open(b.Context(), store.Options{URL: "sqlite:" + b.TempDir() + "/bench.db", Owner: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	key, err := identity.LoadOrCreate(b.TempDir(), "audit")
	if err != nil {
		b.Fatal(err)
	}
	for written := 0; written < b.N; written += 1000 {
		if err := db.Update(b.Context(), func(tx *store.Tx) error {
			for i := range min(1000, b.N-written) {
				if err := tx.Append(conclave.Event{Tenant: "acme", Kind: conclave.EventMessageSent, Actor: "developer-1", Run: "run_1", Conversation: "talk_1",
					Subject: fmt.Sprint("task_", i), Text: "developer-1 to reviewer-1", Data: []byte(`{"id":"msg_1","from":"developer-1","to":"reviewer-1","text":"The step is built; please look at the handler's error paths."}`)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	if n, err := db.Sealer(key, nil).Seal(b.Context()); err != nil || n != b.N {
		b.Fatalf("sealed %d, %v", n, err)
	}
	b.StopTimer()
	b.ReportMetric(b.Elapsed().Seconds()*1e5/float64(b.N), "s/100k-events")
}
