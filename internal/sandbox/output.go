package sandbox

import (
	"fmt"
	"sync"
)

// An output keeps the first and the last bytes written to it, half of limit
// each, and counts what it drops between them.
type output struct {
	mu    sync.Mutex // os/exec may still be copying after its WaitDelay
	limit int
	head  []byte
	tail  []byte // ring buffer once it is full
	next  int    // where the ring's oldest byte is
	total int64
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(p)
	o.total += int64(n)
	if room := (o.limit+1)/2 - len(o.head); room > 0 {
		take := min(room, len(p))
		o.head = append(o.head, p[:take]...)
		p = p[take:]
	}
	size := o.limit / 2
	if len(p) >= size {
		p = p[len(p)-size:]
		o.tail, o.next = append(o.tail[:0], p...), 0
		return n, nil
	}
	if room := size - len(o.tail); room > 0 {
		take := min(room, len(p))
		o.tail = append(o.tail, p[:take]...)
		p = p[take:]
	}
	for len(p) > 0 {
		k := copy(o.tail[o.next:], p)
		o.next = (o.next + k) % size
		p = p[k:]
	}
	return n, nil
}

// bytes returns what was kept, and how many bytes were cut.
func (o *output) bytes() ([]byte, int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	cut := o.total - int64(len(o.head)+len(o.tail))
	b := append([]byte{}, o.head...)
	if cut > 0 {
		b = fmt.Appendf(b, "\n… %d bytes cut …\n", cut)
	}
	b = append(b, o.tail[o.next:]...)
	return append(b, o.tail[:o.next]...), cut
}
