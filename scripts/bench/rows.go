package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/internal/bus"
	"conclave/internal/store"
)

// How long, and by how many, rows are written.
const (
	rowsTime = 3 * time.Second
	writers  = 100
)

// durableRows compares what the store commits for many writers with what one
// writer gets who waits for the disk at each row.
func (b *bench) durableRows(ctx context.Context) error {
	raw, err := b.rawCommits(ctx)
	if err != nil {
		return err
	}
	grouped, err := b.groupedRows(ctx)
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("durable rows a second, %d writers through the store, SQLite", writers), "none", fmt.Sprintf("%.0f/s, beside %.0f/s of single commits on the same disk: %.1f times as many", grouped, raw, grouped/raw), "–")
	return nil
}

// groupedRows appends events, each in a transaction of its own that has returned
// when it counts.
func (b *bench) groupedRows(ctx context.Context) (float64, error) {
	db, err := store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(b.dir, "rows", "store.db"), Owner: "bench"})
	if err != nil {
		return 0, err
	}
	return appendRows(ctx, db)
}

// toldRows compares what Postgres commits while it tells other processes itself,
// with what it commits while a bus does.
func (b *bench) toldRows(ctx context.Context) error {
	server, redis := os.Getenv("CONCLAVE_TEST_POSTGRES"), os.Getenv("CONCLAVE_TEST_REDIS")
	if server == "" || redis == "" {
		b.note("Rows on Postgres are not shown: CONCLAVE_TEST_POSTGRES and CONCLAVE_TEST_REDIS name no servers.")
		return nil
	}
	own, err := b.rowsOnPostgres(ctx, server, "memory")
	if err != nil {
		return err
	}
	carried, err := b.rowsOnPostgres(ctx, server, redis)
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("durable rows a second, %d writers, Postgres, told over Redis", writers), "none", fmt.Sprintf("%.0f/s, beside %.0f/s while Postgres tells", carried, own), "–")
	return nil
}

// rowsOnPostgres appends events in a database of its own.
func (b *bench) rowsOnPostgres(ctx context.Context, server, busURL string) (_ float64, err error) {
	admin, err := sql.Open("pgx", server)
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	name := "bench_" + strings.ToLower(rand.Text()[:12])
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return 0, err
	}
	defer func() {
		if _, dropped := admin.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)"); err == nil {
			err = dropped
		}
	}()
	u, err := url.Parse(server)
	if err != nil {
		return 0, err
	}
	u.Path = "/" + name
	told, err := bus.New(bus.Options{URL: busURL, Name: name})
	if err != nil {
		return 0, err
	}
	db, err := store.Open(ctx, store.Options{URL: u.String(), Owner: "bench", Bus: told})
	if err != nil {
		return 0, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.Run(running, func() {}) }()
	if err := connected(ctx, told); err != nil {
		stop()
		return 0, errors.Join(err, <-ended, db.Close())
	}
	rate, err := appendRows(ctx, db, func() error {
		stop()
		return <-ended
	})
	return rate, err
}

// appendRows writes for a while, then calls the functions and closes the database.
func appendRows(ctx context.Context, db *store.DB, before ...func() error) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, rowsTime)
	defer cancel()
	var rows atomic.Int64
	var failure atomic.Pointer[error]
	var all sync.WaitGroup
	began := time.Now()
	for i := range writers {
		all.Go(func() {
			subject := fmt.Sprintf("writer-%d", i)
			for ctx.Err() == nil {
				err := db.Update(ctx, func(tx *store.Tx) error {
					return tx.Append(conclave.Event{Kind: conclave.EventMessageSent, Actor: "bench", Subject: subject, Text: "a row"})
				})
				switch {
				case err == nil:
					rows.Add(1)
				case ctx.Err() == nil:
					failure.Store(&err)
					return
				}
			}
		})
	}
	all.Wait()
	rate := float64(rows.Load()) / time.Since(began).Seconds()
	var err error
	for _, f := range before {
		err = errors.Join(err, f())
	}
	err = errors.Join(err, db.Close())
	if failed := failure.Load(); failed != nil {
		err = *failed
	}
	return rate, err
}

// rawCommits inserts the same kind of row with the same settings of SQLite, one commit each.
func (b *bench) rawCommits(ctx context.Context) (float64, error) {
	commit, closeRaw, err := b.rawCommit(ctx, "raw.db")
	if err != nil {
		return 0, err
	}
	defer closeRaw()
	rows, began := 0, time.Now()
	for time.Since(began) < rowsTime {
		if err := commit(); err != nil {
			return 0, err
		}
		rows++
	}
	return float64(rows) / time.Since(began).Seconds(), nil
}

// rawCommit returns what inserts one row, as an event is, and commits it.
func (b *bench) rawCommit(ctx context.Context, name string) (commit func() error, closeRaw func(), err error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.dir, name)+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err = db.ExecContext(ctx, `CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER, kind TEXT, actor TEXT, subject TEXT, text TEXT, data TEXT)`); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	insert, err := db.PrepareContext(ctx, `INSERT INTO events (at, kind, actor, subject, text, data) VALUES (?, 'message.sent', 'bench', 'writer', 'a row', 'null')`)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return func() error {
		_, err := insert.ExecContext(ctx, time.Now().UnixMicro())
		return err
	}, func() { _ = errors.Join(insert.Close(), db.Close()) }, nil // the data is thrown away
}
