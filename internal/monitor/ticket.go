package monitor

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"

	"conclave"
)

const (
	ticketLife = 2 * time.Minute
	ticketMost = 1000 // at once; more than that is a mistake in a loop
)

// tickets holds the one-time links that have not been used.
type tickets struct {
	clock conclave.Clock

	mu   sync.Mutex
	open map[[sha256.Size]byte]ticket // by the ticket's hash, so that a look-up tells nothing by its time
}

type ticket struct {
	caller  conclave.Caller
	expires time.Time
}

func newTickets(clock conclave.Clock) *tickets {
	return &tickets{clock: clock, open: map[[sha256.Size]byte]ticket{}}
}

// mint makes a ticket for a caller. ErrLimited when too many are open.
func (t *tickets) mint(caller conclave.Caller) (string, time.Time, error) {
	var random [32]byte
	rand.Read(random[:]) // never returns an error
	word := base64.RawURLEncoding.EncodeToString(random[:])
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, old := range t.open {
		if !now.Before(old.expires) {
			delete(t.open, key)
		}
	}
	if len(t.open) >= ticketMost {
		return "", time.Time{}, conclave.Errorf(conclave.ErrLimited, "%d login links are open; they expire within %s", ticketMost, ticketLife)
	}
	expires := now.Add(ticketLife)
	t.open[sha256.Sum256([]byte(word))] = ticket{caller: caller, expires: expires}
	return word, expires, nil
}

// take uses a ticket up and returns whose it was; false when it is unknown, used or too old.
func (t *tickets) take(word string) (conclave.Caller, bool) {
	key := sha256.Sum256([]byte(word))
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.open[key]
	delete(t.open, key)
	if !ok || !t.clock().Before(found.expires) {
		return conclave.Caller{}, false
	}
	return found.caller, true
}
