package a2awire

import (
	"encoding/json"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// keepAlive is how often an idle stream gets a comment line, so that no proxy
// takes a thinking agent for a dead connection.
const keepAlive = 15 * time.Second

// slowReader is how long a client may leave what was written to it unread.
const slowReader = time.Minute

// sse writes server-sent events.
type sse struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *sse) write(text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Not every connection has deadlines; those in memory need none.
	_ = s.control.SetWriteDeadline(time.Now().Add(slowReader))
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *sse) event(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(append(append([]byte("data: "), data...), "\n\n"...))
}

// writeStream writes events as they come. What fails before the first one is
// refused as any other request; what fails later is the stream's last event.
func writeStream(w http.ResponseWriter, r *http.Request, events iter.Seq2[a2a.Event, error],
	shown func(a2a.Event) any, failed func(error) any, refuse func(error)) {
	next, stop := iter.Pull2(events)
	defer stop()
	event, err, more := next()
	if err != nil {
		refuse(err)
		return
	}
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := &sse{w: w, control: http.NewResponseController(w)}

	var alive sync.WaitGroup
	ended := make(chan struct{})
	alive.Go(func() {
		tick := time.NewTicker(keepAlive)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if out.write([]byte(": still here\n\n")) != nil {
					return
				}
			case <-ended:
				return
			}
		}
	})
	defer alive.Wait()
	defer close(ended)
	for ; more && r.Context().Err() == nil; event, err, more = next() {
		if err != nil {
			_ = out.event(failed(err)) // the client that is gone is the only one to be told
			return
		}
		if out.event(shown(event)) != nil {
			return
		}
	}
}
