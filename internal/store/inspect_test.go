package store_test

import (
	"errors"
	"path/filepath"
	"testing"

	"conclave"
	"conclave/internal/store"
)

func TestInspect(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			url := e.url(t)
			db := open(t, url, "test")
			for range 7 {
				if err := db.ModelCalls().Record(t.Context(), conclave.ModelCall{Run: "run-1", Model: "m"}); err != nil {
					t.Fatal(err)
				}
			}
			s, err := store.Inspect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			rows := map[string]store.TableState{}
			for _, table := range s.Tables {
				rows[table.Name] = table
			}
			if calls := rows["model_calls"]; calls.Rows != 7 || calls.Bytes <= 0 {
				t.Errorf("seven rows are told as %+v", calls)
			}
			if s.Engine != e.name || s.Version == "" || s.Bytes <= 0 || s.WALBytes <= 0 || s.Migration < 1 {
				t.Errorf("the state is %+v", s)
			}
		})
	}
	if _, err := store.Inspect(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "none.db")); !errors.Is(err, conclave.ErrNotFound) {
		t.Errorf("a database that is not there: %v", err)
	}
	if _, err := store.Inspect(t.Context(), "postgres://nobody:hunter2@127.0.0.1:1/none"); !errors.Is(err, conclave.ErrUnavailable) {
		t.Errorf("a server that is not there: %v", err)
	}
}
