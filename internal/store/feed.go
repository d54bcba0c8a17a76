package store

import (
	"sync"

	"conclave"
)

// feed tells the goroutines of this process that something was committed. It
// carries no truth: whoever hears it reads the tables.
type feed struct {
	mu   sync.Mutex
	subs map[*subscription]struct{}
}

type subscription struct {
	subject string // id of a run, task or motion; empty hears everything
	c       chan struct{}
}

func newFeed() *feed { return &feed{subs: map[*subscription]struct{}{}} }

// subscribe returns a channel that gets a value soon after something about the
// subject was committed; several changes may make one value.
func (f *feed) subscribe(subject string) (<-chan struct{}, func()) {
	s := &subscription{subject: subject, c: make(chan struct{}, 1)}
	f.mu.Lock()
	f.subs[s] = struct{}{}
	f.mu.Unlock()
	return s.c, func() {
		f.mu.Lock()
		delete(f.subs, s)
		f.mu.Unlock()
	}
}

func (f *feed) publish(events []conclave.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		for _, e := range events {
			if s.subject == "" || s.subject == e.Subject || s.subject == string(e.Run) {
				s.ring()
				break
			}
		}
	}
}

// publishAll wakes everybody: after a gap in what other processes told us.
func (f *feed) publishAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		s.ring()
	}
}

func (s *subscription) ring() {
	select {
	case s.c <- struct{}{}:
	default: // it will look anyway
	}
}
