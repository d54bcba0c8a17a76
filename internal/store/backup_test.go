package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"testing"

	"conclave"
	"conclave/internal/store"
)

// dump is what an export wrote, by table.
func dump(t *testing.T, db *store.DB) map[string]string {
	t.Helper()
	buffers := map[string]*bytes.Buffer{}
	if err := db.Export(t.Context(), func(table string) (io.Writer, error) {
		buffers[table] = &bytes.Buffer{}
		return buffers[table], nil
	}); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for table, b := range buffers {
		all[table] = b.String()
	}
	return all
}

func load(ctx context.Context, db *store.DB, all map[string]string) error {
	return db.Import(ctx, func(table string) (io.Reader, error) {
		if text, ok := all[table]; ok {
			return bytes.NewBufferString(text), nil
		}
		return nil, nil
	})
}

// What is exported from one database is the same after it went through any other.
func TestBackupIsTheSameAfterARestore(t *testing.T) {
	for _, from := range engines() {
		for _, to := range engines() {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				source, target := open(t, from.url(t), "from"), open(t, to.url(t), "to")
				note := func(db *store.DB, text string) {
					t.Helper()
					if err := db.Update(t.Context(), func(tx *store.Tx) error {
						return tx.Append(conclave.Event{Kind: conclave.EventRunWarned, Text: text, Data: []byte(`{"n":9007199254740993,"s":"é\n\u0001"}`)})
					}); err != nil {
						t.Fatal(err)
					}
				}
				note(source, "one")
				note(source, "two")
				key := auditKey(t)
				if _, err := source.Sealer(key, nil).Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
				cost, tokens := 0.1234567, int64(7)
				if err := source.ModelCalls().Record(t.Context(), conclave.ModelCall{Key: "k", Wire: "openai", Model: "m", Status: 200, InputTokens: &tokens, CostUSD: &cost}); err != nil {
					t.Fatal(err)
				}
				before := dump(t, source)
				if err := load(t.Context(), target, before); err != nil {
					t.Fatal(err)
				}
				if after := dump(t, target); !maps.Equal(before, after) {
					t.Errorf("exported again:\n%v\nwant\n%v", after, before)
				}
				note(target, "three")
				if report, err := target.Verify(t.Context(), nil, []string{key.Public()}, nil); err != nil || !report.OK || report.Sealed != 2 || report.Unsealed != 2 {
					t.Errorf("after the restore the record is %+v, %v", report, err)
				}
				events, err := target.Events().List(t.Context(), conclave.EventFilter{})
				if err != nil || len(events) != 4 || events[3].Seq <= events[2].Seq || events[3].Text != "three" {
					t.Errorf("after the restore the record goes on with %+v, %v", events, err)
				}
				if err := load(t.Context(), target, before); !errors.Is(err, conclave.ErrConflict) {
					t.Errorf("a restore into a full database: %v, want a conflict", err)
				}
			})
		}
	}
}

func TestBrokenBackupLeavesNothing(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			db := open(t, e.url(t), "test")
			good := `{"tenant":"default","operation":"o","key":"a","request":"","result":"","at":1}` + "\n"
			for name, text := range map[string]string{"no JSON": good + "{", "another column": good + `{"surprise":1}` + "\n", "twice": good + good} {
				if err := load(t.Context(), db, map[string]string{"answers": text}); err == nil {
					t.Errorf("%s: it was restored", name)
				}
				if left := dump(t, db)["answers"]; left != "" {
					t.Errorf("%s: left in the table: %s", name, left)
				}
			}
		})
	}
}
