package identity

import (
	"slices"
	"sync"
	"time"

	"conclave"
)

const (
	verifiedFor  = time.Second // how much later than its expiry a token may still be taken
	verifiedMost = 1024
)

// verified remembers for a moment whose tokens were found good: who calls often
// sends the same one.
type verified struct {
	mu     sync.RWMutex
	tokens map[string]verifiedToken
}

type verifiedToken struct {
	caller conclave.Caller
	until  time.Time
}

func (v *verified) get(token string, now time.Time) (conclave.Caller, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	t, ok := v.tokens[token]
	return t.caller, ok && now.Before(t.until)
}

func (v *verified) put(token string, c conclave.Caller, now time.Time) {
	c.Permissions = slices.Clip(c.Permissions) // who appends to them gets a copy
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tokens == nil || len(v.tokens) >= verifiedMost {
		v.tokens = map[string]verifiedToken{}
	}
	v.tokens[token] = verifiedToken{c, now.Add(verifiedFor)}
}
