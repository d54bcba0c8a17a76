package app

import (
	"context"
	"os"
	"sync"
	"time"

	"conclave"
	"conclave/internal/store"
)

// revokedFor is how long a token that was taken back may still be good for, beside what
// identity remembers.
const revokedFor = time.Second

// revocations remembers which tokens were taken back.
type revocations struct {
	read func(context.Context) ([]string, error)

	mu  sync.Mutex
	at  time.Time // of the last look
	ids map[string]bool
}

// has looks at the list when its memory is too old. While the list can't be read,
// what was on it stays; the process is not ready then.
func (r *revocations) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) >= revokedFor {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // on behalf of every caller
		defer cancel()
		if list, err := r.read(ctx); err == nil {
			r.ids = map[string]bool{}
			for _, id := range list {
				r.ids[id] = true
			}
		}
		r.at = time.Now()
	}
	return r.ids[id]
}

// keepToken leaves the local human's token for the commands on this machine. One
// that is made is on the list, as those are that somebody asks for.
func (a *App) keepToken(ctx context.Context) error {
	a.tokens.RefuseRevoked((&revocations{read: a.db.RevokedTokens}).has)
	return writeToken(a.config.Home, a.tokens, a.caller, func(t conclave.Token) error {
		t.MintedBy = a.caller.Human
		return a.db.KeepToken(ctx, t)
	})
}

// OpenRecord opens the database of a configuration to change the list of tokens,
// also while services run. It makes the database of an installation that was
// never started.
func OpenRecord(ctx context.Context, c Config) (*store.DB, error) {
	if err := os.MkdirAll(c.Home, 0o700); err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "make the data directory: %w", err)
	}
	return store.Open(ctx, store.Options{URL: c.Database, Owner: "conclave token"})
}
