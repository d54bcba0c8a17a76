package modelrouter

import (
	"sync"
	"time"
)

// A session keeps its tier while the provider's prompt cache is warm, because a
// switch of model would pay for the whole prompt again.
const (
	warm        = 5 * time.Minute
	maxSessions = 4096
)

type sessions struct {
	mu  sync.Mutex
	all map[string]session
}

type session struct {
	tier  string
	until time.Time
}

// keep returns the tier that a session has, or gives it this one.
func (s *sessions) keep(id, tier string, now time.Time) (kept string, had bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.all[id]; ok && now.Before(old.until) {
		tier, had = old.tier, true
	}
	if s.all == nil || len(s.all) >= maxSessions {
		s.all = s.live(now)
	}
	s.all[id] = session{tier, now.Add(warm)}
	return tier, had
}

// live drops the sessions that have gone cold, or all when too many are warm.
func (s *sessions) live(now time.Time) map[string]session {
	left := map[string]session{}
	for id, v := range s.all {
		if now.Before(v.until) {
			left[id] = v
		}
	}
	if len(left) >= maxSessions {
		clear(left)
	}
	return left
}
