package store

import (
	"sync"

	"conclave"
	"conclave/internal/hub"
)

// settledTasks hands tasks that ended in this process to whoever waits for them
// here, after the commit, so that nobody reads what was just written.
type settledTasks struct {
	mu      sync.Mutex
	waiting map[conclave.TaskID]map[chan hub.Task]struct{}
}

// await returns a channel that gets the task when it is settled, until stop is called.
func (s *settledTasks) await(id conclave.TaskID) (settled <-chan hub.Task, stop func()) {
	c := make(chan hub.Task, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[conclave.TaskID]map[chan hub.Task]struct{}{}
	}
	if s.waiting[id] == nil {
		s.waiting[id] = map[chan hub.Task]struct{}{}
	}
	s.waiting[id][c] = struct{}{}
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting[id], c)
		if len(s.waiting[id]) == 0 {
			delete(s.waiting, id)
		}
	}
}

func (s *settledTasks) hand(t hub.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.waiting[t.ID] {
		select {
		case c <- t:
		default: // it has not taken an earlier one, and will look
		}
	}
}
