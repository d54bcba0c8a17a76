package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"conclave"

	"github.com/jackc/pgx/v5"
)

// State is what a database holds, read from it.
type State struct {
	Engine    string       `json:"engine"`
	Server    string       `json:"server"` // file or host, without secrets
	Version   string       `json:"version"`
	Bytes     int64        `json:"bytes"`     // of the whole database
	WALBytes  int64        `json:"wal_bytes"` // SQLite: of the log beside the file; Postgres: written since its statistics began
	Migration int64        `json:"migration"` // the newest that was applied
	Tables    []TableState `json:"tables"`
}

// TableState is one table.
type TableState struct {
	Name  string `json:"name"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"` // with its indexes
}

// Inspect reads the state of the database at a URL, and changes nothing in it.
// ErrNotFound when there is none yet, ErrUnavailable when it can't be reached.
func Inspect(ctx context.Context, dsn string) (State, error) {
	path, lite := strings.CutPrefix(dsn, "sqlite:")
	if lite {
		return inspectSQLite(ctx, path)
	}
	return inspectPostgres(ctx, dsn)
}

func inspectSQLite(ctx context.Context, path string) (State, error) {
	s := State{Engine: "sqlite", Server: path}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return s, conclave.Errorf(conclave.ErrNotFound, "there is no database at %s yet; the first conclave serve makes it", path)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return s, conclave.Errorf(conclave.ErrUnavailable, "open %s: %w", path, err)
	}
	defer db.Close()
	err = inspect(ctx, db, &s, `SELECT sqlite_version(), page_count * page_size FROM pragma_page_count(), pragma_page_size()`,
		`SELECT t.name, coalesce((SELECT sum(d.pgsize) FROM dbstat d JOIN sqlite_schema o ON o.name = d.name WHERE o.tbl_name = t.name), 0)
			FROM sqlite_schema t WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY t.name`)
	if err != nil {
		return s, err
	}
	wal, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) { // nothing is open
		return s, nil
	}
	if err != nil {
		return s, conclave.Errorf(conclave.ErrUnavailable, "look at the log of %s: %w", path, err)
	}
	s.WALBytes = wal.Size()
	return s, nil
}

func inspectPostgres(ctx context.Context, dsn string) (State, error) {
	s := State{Engine: "postgres"}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return s, conclave.Errorf(conclave.ErrInvalid, "database URL is not a Postgres URL")
	}
	s.Server = config.Host + "/" + config.Database
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return s, conclave.Errorf(conclave.ErrUnavailable, "open the database: %w", err)
	}
	defer db.Close()
	if err := inspect(ctx, db, &s, `SELECT current_setting('server_version'), pg_database_size(current_database())`,
		`SELECT c.relname, pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind = 'r' AND n.nspname = current_schema() ORDER BY c.relname`); err != nil {
		return s, err
	}
	return s, look(ctx, db, `SELECT wal_bytes::bigint FROM pg_stat_wal`, &s.WALBytes)
}

// inspect fills in what both databases are asked for alike.
func inspect(ctx context.Context, db *sql.DB, s *State, whole, tables string) error {
	if err := look(ctx, db, whole, &s.Version, &s.Bytes); err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, tables)
	if err != nil {
		return unavailable(err)
	}
	defer rows.Close()
	for rows.Next() {
		var t TableState
		if err := rows.Scan(&t.Name, &t.Bytes); err != nil {
			return unavailable(err)
		}
		s.Tables = append(s.Tables, t)
	}
	if err := rows.Err(); err != nil {
		return unavailable(err)
	}
	if len(s.Tables) == 0 {
		return conclave.Errorf(conclave.ErrNotFound, "the database at %s is empty; the first conclave serve fills it", s.Server)
	}
	for i, t := range s.Tables {
		if err := look(ctx, db, `SELECT count(*) FROM "`+strings.ReplaceAll(t.Name, `"`, `""`)+`"`, &s.Tables[i].Rows); err != nil {
			return err
		}
	}
	return look(ctx, db, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`, &s.Migration)
}

func look(ctx context.Context, db *sql.DB, query string, into ...any) error {
	if err := db.QueryRowContext(ctx, query).Scan(into...); err != nil {
		return unavailable(err)
	}
	return nil
}
