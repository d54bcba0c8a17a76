package modelrouter

import (
	"sync"
	"time"
)

// Bounds of how long what failed is tried last.
const (
	// avoidance is that time for an upstream that could not be reached, or that
	// failed as often as tolerance says without an answer in between.
	avoidance = 30 * time.Second
	tolerance = 5
	// A key that is limited rests for as long as its provider says, within these
	// bounds; one that is refused rests long, because only people can mend it.
	restShort = 5 * time.Second
	restLong  = 5 * time.Minute
)

// health is a circuit breaker: closed while until has passed, open before that.
// The first attempt after that is a trial, for whose length the others still
// pass by.
type health struct {
	mu       sync.Mutex
	failures int // since the last answer
	problem  string
	until    time.Time
}

// failed counts a failure, which opens the breaker with the last that is tolerated.
func (h *health) failed(problem string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures++; h.failures >= tolerance {
		h.problem, h.until = problem, now.Add(avoidance)
	}
}

// rests opens the breaker at once.
func (h *health) rests(problem string, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures, h.problem, h.until = tolerance, problem, until
}

// begins notes an attempt.
func (h *health) begins(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.problem != "" && !now.Before(h.until) {
		h.until = now.Add(avoidance)
	}
}

func (h *health) answered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures, h.problem, h.until = 0, "", time.Time{}
}

// trouble is the problem while the breaker is open.
func (h *health) trouble(now time.Time) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Before(h.until) {
		return h.problem
	}
	return ""
}
