// Package pgtest gives a test a Postgres database of its own.
package pgtest

import (
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver's name is "pgx"
)

// URL returns the URL of an empty database on the server that
// CONCLAVE_TEST_POSTGRES names. It is dropped when the test ends. Without a server
// the test is skipped, and fails where CI is true.
func URL(t testing.TB) string {
	t.Helper()
	server := os.Getenv("CONCLAVE_TEST_POSTGRES")
	if server == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("CONCLAVE_TEST_POSTGRES names no Postgres server")
		}
		t.Skip("no Postgres: CONCLAVE_TEST_POSTGRES names none")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	var r [6]byte
	rand.Read(r[:]) // never fails: it ends the program instead
	name := "test_" + hex.EncodeToString(r[:])
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		admin.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
