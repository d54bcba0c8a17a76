package store

import (
	"context"
	"database/sql"
	"sync"
)

// prepared are the statements that SQLite has parsed. Parsing one takes longer
// than running it. Postgres's driver keeps its own.
type prepared struct {
	pool *sql.DB

	mu   sync.RWMutex
	kept map[string]*sql.Stmt
}

// maxPrepared bounds them: a few queries are put together from what was asked for.
const maxPrepared = 256

func prepare(pool *sql.DB) *prepared { return &prepared{pool: pool, kept: map[string]*sql.Stmt{}} }

// statement returns a query's statement for this transaction, or nil when it has
// none yet. It must not be used for rows that stay open while something else is
// asked: the driver has one cursor for each statement.
func (tx *Tx) statement(query string) *sql.Stmt {
	p := tx.db.parsed
	if tx.reading {
		p = tx.db.parsedReads
	}
	if p == nil {
		return nil
	}
	p.mu.RLock()
	s := p.kept[query]
	p.mu.RUnlock()
	if s == nil {
		tx.unparsed = append(tx.unparsed, query)
		return nil
	}
	return tx.tx.StmtContext(tx.ctx, s)
}

// keep prepares queries for the next time. It needs a connection of the pool, so
// the transaction that met them must have ended.
func (p *prepared) keep(ctx context.Context, db *DB, queries []string) {
	for _, query := range queries {
		p.mu.RLock()
		known := p.kept[query] != nil || len(p.kept) >= maxPrepared
		p.mu.RUnlock()
		if known {
			continue
		}
		s, err := p.pool.PrepareContext(ctx, db.rebind(query))
		if err != nil {
			continue // who asks it next is told
		}
		p.mu.Lock()
		had := p.kept[query]
		if had == nil {
			p.kept[query] = s
		}
		p.mu.Unlock()
		if had != nil {
			_ = s.Close() // somebody else was quicker
		}
	}
}
