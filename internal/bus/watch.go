package bus

import "sync"

// watchers are the goroutines of this process that wait for something.
type watchers struct {
	mu   sync.Mutex
	subs map[string]map[*watcher]struct{} // by subject; the empty one hears of all events
}

type watcher struct{ c chan struct{} }

func (w *watcher) ring() {
	select {
	case w.c <- struct{}{}:
	default: // it will look anyway
	}
}

func (l *watchers) add(subject string) (<-chan struct{}, func()) {
	w := &watcher{c: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs[subject] == nil {
		l.subs[subject] = map[*watcher]struct{}{}
	}
	l.subs[subject][w] = struct{}{}
	return w.c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs[subject], w)
		if len(l.subs[subject]) == 0 {
			delete(l.subs, subject)
		}
	}
}

func (l *watchers) ring(n Note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(n.About) == 0 && n.Seq == 0 {
		for _, set := range l.subs {
			for w := range set {
				w.ring()
			}
		}
		return
	}
	for _, subject := range n.About {
		if subject == "" {
			continue
		}
		for w := range l.subs[subject] {
			w.ring()
		}
	}
	if n.Seq > 0 {
		for w := range l.subs[""] {
			w.ring()
		}
	}
}

func (l *watchers) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, set := range l.subs {
		n += len(set)
	}
	return n
}
