package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"conclave"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date: ours by goose, the queue's by its own
// migrator. One history serves both databases.
func (db *DB) migrate(ctx context.Context) error {
	entries, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	var steps []*goose.Migration
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return fmt.Errorf("migration %s has no number: %w", e.Name(), err)
		}
		text, err := migrations.ReadFile("migrations/" + e.Name())
		if err != nil {
			return err
		}
		statements := db.dialect(string(text))
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statements)
			return err
		}}, nil))
	}
	dialect := goose.DialectSQLite3
	if db.postgres {
		dialect = goose.DialectPostgres
		unlock, err := db.lockMigrations(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	provider, err := goose.NewProvider(dialect, db.write, nil,
		goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	known := provider.ListSources()[len(steps)-1].Version
	switch has, err := provider.GetDBVersion(ctx); {
	case err != nil:
		return err
	case has > known:
		return conclave.Errorf(conclave.ErrUnsupported, "a newer version of Conclave made this database (schema %d; this program knows %d): run that version", has, known)
	}
	if _, err := provider.Up(ctx); err != nil {
		return err
	}
	return migrateQueue(ctx, db.driver())
}

// lockMigrations keeps processes that start together from migrating at once.
func (db *DB) lockMigrations(ctx context.Context) (func(), error) {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	const key = 0x636f6e63 // "conc"
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, key); err != nil {
		conn.Close()
		return nil, unavailable(err)
	}
	return func() {
		conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, key)
		conn.Close()
	}, nil
}

func migrateQueue(ctx context.Context, driver riverdriver.Driver[*sql.Tx]) error {
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// dialect replaces the word that the two databases spell differently.
func (db *DB) dialect(statements string) string {
	serial := "INTEGER PRIMARY KEY AUTOINCREMENT"
	if db.postgres {
		serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
	}
	return strings.ReplaceAll(statements, " SERIAL,", " "+serial+",")
}
