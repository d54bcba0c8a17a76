package store

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"conclave"
)

// A program that is older than the database must not write into tables that it
// does not know.
func TestNewerDatabaseIsRefused(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "conclave.db")
	db, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = Open(t.Context(), Options{URL: url})
	if err == nil {
		db.Close()
	}
	if !errors.Is(err, conclave.ErrUnsupported) || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("a newer database: %v", err)
	}
}
