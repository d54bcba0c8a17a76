package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/internal/bus"
	"conclave/internal/hub"
	"conclave/internal/killpoint"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver's name is "sqlite"
)

// Options say which database to open.
type Options struct {
	// URL is "sqlite:PATH" or "postgres://…".
	URL string
	// Owner names this process in claims. It must be the same after a restart and
	// differ between processes that live at once: host and port of a listener do.
	Owner string
	// Alone says that no other process uses the database, so that every claim
	// found at start is a dead one. SQLite is always alone.
	Alone bool
	// Bus tells other processes of commits, and this one of theirs. nil tells only
	// this process; on Postgres the database's own notifications then tell the others.
	Bus    *bus.Bus
	Logger *slog.Logger // nil discards
}

// DB is the open database.
type DB struct {
	postgres    bool
	write       *sql.DB // on SQLite one connection, shared with the queue
	read        *sql.DB
	dsn         string
	owner       string
	alone       bool
	log         *slog.Logger
	bus         *bus.Bus
	untold      untold    // Postgres only: while no bus carries
	parsed      *prepared // SQLite only
	parsedReads *prepared
	settled     settledTasks
	queue       *queue
	dispatcher  *dispatcher // nil where nobody delivers

	writes chan *write   // SQLite only: to the goroutine that groups commits
	done   chan struct{} // closed when that goroutine has ended
	close  sync.Once
}

// Open opens and migrates the database. It returns ErrInvalid for a URL of
// another form and ErrUnavailable when the database can't be reached.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	db := &DB{owner: o.Owner, alone: o.Alone, log: o.Logger, dsn: o.URL, bus: o.Bus, untold: untold{bell: make(chan struct{}, 1)}}
	if db.bus == nil {
		b, err := bus.New(bus.Options{})
		if err != nil {
			return nil, err
		}
		db.bus = b
	}
	switch {
	case strings.HasPrefix(o.URL, "sqlite:"):
		db.alone = true
		if err := db.openSQLite(strings.TrimPrefix(o.URL, "sqlite:")); err != nil {
			return nil, err
		}
	case strings.HasPrefix(o.URL, "postgres://"), strings.HasPrefix(o.URL, "postgresql://"):
		db.postgres = true
		config, err := pgx.ParseConfig(o.URL)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "database URL is not a Postgres URL")
		}
		db.write = stdlib.OpenDB(*config)
		db.write.SetMaxOpenConns(24)
		db.write.SetMaxIdleConns(24)
		db.read = db.write
	default:
		return nil, conclave.Errorf(conclave.ErrInvalid, `database URL must begin with "sqlite:" or "postgres://"`)
	}
	if err := db.write.PingContext(ctx); err != nil {
		db.closePools()
		return nil, conclave.Errorf(conclave.ErrUnavailable, "open the database: %w", err)
	}
	if err := db.migrate(ctx); err != nil {
		db.closePools()
		return nil, fmt.Errorf("migrate the database: %w", err)
	}
	db.queue = newQueue(db)
	if !db.postgres {
		db.writes = make(chan *write)
		db.done = make(chan struct{})
		go db.groupCommits()
	}
	return db, nil
}

// Unreachable reports whether an error of [Open] says that the server is not there,
// or takes nobody yet, so that a later try may do better.
func Unreachable(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code == "57P03" || answer.Code == "53300" // it starts or stops; it has no connection left
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}

// Check reports whether a Postgres database can be reached.
func Check(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "reach the database: %w", err)
	}
	return conn.Close(ctx)
}

// OpenReader opens a database that exists, only to read it, also while another
// process writes it. ErrNotFound when there is none.
func OpenReader(ctx context.Context, o Options) (*DB, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	quiet, err := bus.New(bus.Options{}) // nobody tells a reader
	if err != nil {
		return nil, err
	}
	db := &DB{log: o.Logger, dsn: o.URL, bus: quiet}
	path, lite := strings.CutPrefix(o.URL, "sqlite:")
	if lite {
		if _, err := os.Stat(path); err != nil {
			return nil, conclave.Errorf(conclave.ErrNotFound, "there is no database at %s", path)
		}
		var err error
		if db.read, err = dialSQLite(path, "&_pragma=query_only(1)"); err != nil {
			return nil, conclave.Errorf(conclave.ErrUnavailable, "open %s: %w", path, err)
		}
	} else {
		config, err := pgx.ParseConfig(o.URL)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "database URL is not a Postgres URL")
		}
		db.postgres, db.read = true, stdlib.OpenDB(*config)
	}
	db.write = db.read // which refuses to write
	if err := db.read.PingContext(ctx); err != nil {
		return nil, errors.Join(conclave.Errorf(conclave.ErrUnavailable, "open the database: %w", err), db.read.Close())
	}
	return db, nil
}

func dialSQLite(path, more string) (*sql.DB, error) {
	q := url.Values{}
	for _, p := range []string{"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)", "foreign_keys(1)"} {
		q.Add("_pragma", p)
	}
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode()+more)
}

func (db *DB) openSQLite(path string) error {
	if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return conclave.Errorf(conclave.ErrUnavailable, "make the database's folder: %w", err)
		}
	}
	// Made here, so that nobody else can read what agents say.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "open the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "open the database: %w", err)
	}
	// What a savepoint may have to undo is kept in memory, not in a file.
	if db.write, err = dialSQLite(path, "&_txlock=immediate&_pragma=temp_store(2)&_pragma=cache_size(-16000)"); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "open %s: %w", path, err)
	}
	db.write.SetMaxOpenConns(1)
	db.write.SetConnMaxLifetime(0)
	if db.read, err = dialSQLite(path, "&_pragma=query_only(1)"); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "open %s: %w", path, err)
	}
	db.read.SetMaxOpenConns(8)
	db.read.SetMaxIdleConns(8)
	db.parsed, db.parsedReads = prepare(db.write), prepare(db.read)
	return nil
}

// Close ends the database. Writes that were accepted are committed first.
func (db *DB) Close() error {
	var err error
	db.close.Do(func() {
		if db.writes != nil {
			close(db.writes)
			<-db.done
		}
		err = db.closePools()
	})
	return err
}

func (db *DB) closePools() error {
	err := db.write.Close()
	if db.read != nil && db.read != db.write {
		err = errors.Join(err, db.read.Close())
	}
	return err
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.read.PingContext(ctx) }

// Tx is a transaction. What it appends and enqueues takes effect with its commit.
type Tx struct {
	ctx      context.Context
	asks     context.Context // of whoever asked for the change: it says who they are
	db       *DB
	tx       *sql.Tx
	now      time.Time
	events   []conclave.Event
	queues   map[string]bool // queues that got a hint
	reading  bool
	unparsed []string  // queries that have no statement yet
	ended    *hub.Task // that it ended
}

// Now is the time of the transaction, on the database's clock.
func (tx *Tx) Now() (time.Time, error) {
	if !tx.now.IsZero() {
		return tx.now, nil
	}
	if !tx.db.postgres {
		tx.now = time.Now().UTC().Truncate(time.Microsecond)
		return tx.now, nil
	}
	var micros int64
	err := tx.tx.QueryRowContext(tx.ctx, `SELECT (extract(epoch from clock_timestamp())*1000000)::bigint`).Scan(&micros)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the database's clock: %w", err)
	}
	tx.now = fromMicros(micros)
	return tx.now, nil
}

func fromMicros(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// rebind turns $1 into the form that the database takes.
func (db *DB) rebind(query string) string {
	if db.postgres {
		return query
	}
	return strings.ReplaceAll(query, "$", "?")
}

func (tx *Tx) exec(query string, args ...any) (int64, error) {
	var res sql.Result
	var err error
	if stmt := tx.statement(query); stmt != nil {
		res, err = stmt.ExecContext(tx.ctx, args...)
	} else {
		res, err = tx.tx.ExecContext(tx.ctx, tx.db.rebind(query), args...)
	}
	if err != nil {
		return 0, fmt.Errorf("write to the database: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("count written rows: %w", err)
	}
	return n, nil
}

func (tx *Tx) query(query string, args ...any) (*sql.Rows, error) {
	rows, err := tx.tx.QueryContext(tx.ctx, tx.db.rebind(query), args...)
	if err != nil {
		return nil, fmt.Errorf("read from the database: %w", err)
	}
	return rows, nil
}

// docs is query for rows that are all read before anything else is asked.
func (tx *Tx) docs(query string, args ...any) (*sql.Rows, error) {
	stmt := tx.statement(query)
	if stmt == nil {
		return tx.query(query, args...)
	}
	rows, err := stmt.QueryContext(tx.ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("read from the database: %w", err)
	}
	return rows, nil
}

// scan reads one row; found is false when there is none.
func (tx *Tx) scan(dest []any, query string, args ...any) (found bool, err error) {
	if stmt := tx.statement(query); stmt != nil {
		err = stmt.QueryRowContext(tx.ctx, args...).Scan(dest...)
	} else {
		err = tx.tx.QueryRowContext(tx.ctx, tx.db.rebind(query), args...).Scan(dest...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read from the database: %w", err)
	}
	return true, nil
}

// View runs f in a transaction that only reads.
func (db *DB) View(ctx context.Context, f func(*Tx) error) error {
	t, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: db.postgres})
	if err != nil {
		return unavailable(err)
	}
	tx := &Tx{ctx: ctx, asks: ctx, db: db, tx: t, reading: true}
	defer func() {
		t.Rollback() // a transaction that only reads has nothing to commit
		if len(tx.unparsed) > 0 {
			db.parsedReads.keep(ctx, db, tx.unparsed)
		}
	}()
	return f(tx)
}

// Update runs f in a transaction, and when it returns the change is on disk.
// f may run more than once, so it must have no effect outside of the transaction.
func (db *DB) Update(ctx context.Context, f func(*Tx) error) error {
	if !db.postgres {
		return db.grouped(ctx, f)
	}
	var err error
	for attempt := 0; attempt < 10; attempt++ {
		if err = db.updateOnce(ctx, f); !serialisation(err) {
			return err
		}
	}
	return conclave.Errorf(conclave.ErrUnavailable, "the database was too busy: %w", err)
}

func (db *DB) updateOnce(ctx context.Context, f func(*Tx) error) error {
	t, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	tx := &Tx{ctx: ctx, asks: ctx, db: db, tx: t}
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(t.Rollback()))
	}
	killpoint.At("commit.before")
	if err := t.Commit(); err != nil {
		return unavailable(err)
	}
	killpoint.At("commit.after")
	db.published(tx)
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return conclave.Errorf(conclave.ErrUnavailable, "the database: %w", err)
}

// serialisation reports whether another try may succeed: the transaction lost
// against another one, by order, by deadlock, or by writing the same key first.
func serialisation(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "23505")
}

// texts reads one column of text.
func (tx *Tx) texts(query string, args ...any) ([]string, error) {
	rows, err := tx.docs(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, fmt.Errorf("read from the database: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}
