package modelrouter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"conclave"
)

// keepAlive passes a stream on and, when its provider is silent for a while,
// says something of no meaning between two events, so that nothing on the way
// takes the connection for dead. Whatever the provider sends passes as it is.
type keepAlive struct {
	body    io.ReadCloser
	wire    string
	sign    []byte
	silence time.Duration

	pieces  chan piece
	free    chan []byte // buffers that have been passed on
	left    []byte      // of the piece that is being passed on
	buffer  []byte      // that piece's buffer
	err     error
	between bool // the last byte that was passed on ended an event
	closing chan struct{}
	closed  sync.Once
	reader  sync.WaitGroup
}

type piece struct {
	data []byte
	err  error
}

// newKeepAlive reads body in a goroutine that ends with the body or by Close.
func newKeepAlive(body io.ReadCloser, wire string, silence time.Duration) *keepAlive {
	k := &keepAlive{body: body, wire: wire, silence: silence, pieces: make(chan piece), free: make(chan []byte, 1), closing: make(chan struct{}), between: true}
	// A ping of Anthropic's own kind; the other wire has only the comment of
	// server-sent events.
	k.sign = []byte(": keep-alive\n\n")
	if wire == WireAnthropic {
		k.sign = []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n")
	}
	k.free <- make([]byte, 32<<10)
	k.reader.Go(k.read)
	return k
}

func (k *keepAlive) read() {
	for {
		var buffer []byte
		select {
		case buffer = <-k.free:
		case <-k.closing:
			return
		}
		n, err := k.body.Read(buffer)
		select {
		case k.pieces <- piece{buffer[:n], err}:
		case <-k.closing:
			return
		}
		if err != nil {
			return
		}
	}
}

func (k *keepAlive) Read(p []byte) (int, error) {
	for len(k.left) == 0 {
		if k.err != nil {
			return 0, k.err
		}
		if k.buffer != nil {
			k.free <- k.buffer
			k.buffer = nil
		}
		silence := time.NewTimer(k.silence)
		select {
		case next := <-k.pieces:
			k.left, k.buffer, k.err = next.data, next.data[:cap(next.data)], next.err
			if len(next.data) > 0 {
				k.between = bytes.HasSuffix(next.data, []byte("\n\n"))
			}
			if errors.Is(next.err, conclave.ErrTimeout) {
				// A stream that only breaks off would be asked for again at once.
				k.left, k.err = append(bytes.Clone(next.data), k.silent()...), io.EOF
			}
		case <-silence.C:
			if k.between {
				k.left = k.sign
			}
		}
		silence.Stop()
	}
	n := copy(p, k.left)
	k.left = k.left[n:]
	return n, nil
}

// silent is the event that says why the stream ends.
func (k *keepAlive) silent() []byte {
	f := fault{http.StatusGatewayTimeout, "the provider fell silent"}
	// Whatever the provider had begun to say ends here, as no event.
	text := "\n\n"
	if k.wire == WireAnthropic {
		text += "event: error\n"
	}
	data, err := json.Marshal(f.body(k.wire))
	if err != nil {
		return nil // a fault is only text
	}
	return []byte(text + "data: " + string(data) + "\n\n")
}

func (k *keepAlive) Close() error {
	var err error
	k.closed.Do(func() {
		close(k.closing)
		err = k.body.Close()
		k.reader.Wait()
	})
	return err
}
