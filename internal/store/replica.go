package store

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"conclave"

	"github.com/jackc/pgx/v5/stdlib"
)

// Replica is a number that, while it is held, no other process has for the same
// name. On SQLite there is one process, and the number is 0.
type Replica struct {
	Number int
	conn   *sql.Conn // its session owns the lock; nil on SQLite and after Release
	key    string
}

// TakeReplica takes the smallest free number for a name. What a killed process
// held becomes free when the server sees its connection end. ErrUnavailable when
// the database can't be asked.
func (db *DB) TakeReplica(ctx context.Context, name string) (*Replica, error) {
	if !db.postgres {
		return &Replica{}, nil
	}
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	for n := 0; ; n++ {
		r := &Replica{Number: n, conn: conn, key: name + "/" + strconv.Itoa(n)}
		var free bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))`, r.key).Scan(&free); err != nil {
			conn.Close()
			return nil, unavailable(err)
		}
		if free {
			return r, nil
		}
	}
}

// Hold returns when ctx ends, and with ErrUnavailable as soon as the number may be
// somebody else's, because its connection is gone.
func (r *Replica) Hold(ctx context.Context, ready func()) error {
	ready()
	if r.conn == nil {
		<-ctx.Done()
		return nil
	}
	// Nobody notifies this session: the wait ends with the connection, or with ctx.
	err := r.conn.Raw(func(c any) error {
		for {
			if _, err := c.(*stdlib.Conn).Conn().WaitForNotification(ctx); err != nil {
				return err
			}
		}
	})
	if ctx.Err() != nil {
		return nil
	}
	return conclave.Errorf(conclave.ErrUnavailable, "hold replica %s: %w", r.key, err)
}

// Release gives the number back. It may be called twice, not while Hold runs.
func (r *Replica) Release() {
	if r.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a cleanup: no caller's context is left
	defer cancel()
	// When this fails the connection is broken, and the lock is gone with it.
	_, _ = r.conn.ExecContext(ctx, `SELECT pg_advisory_unlock(hashtextextended($1, 0))`, r.key)
	r.conn.Close()
	r.conn = nil
}
