package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"conclave"
)

// Rate is how often something may happen: so often in a second, and so often at
// once after a pause. The zero Rate is no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// ParseRate reads "20/s", "600/m", "20/s:100" (with what may come at once; twice
// a second's worth when it is not said), or "off". ErrInvalid.
func ParseRate(text string) (Rate, error) {
	if text == "off" {
		return Rate{}, nil
	}
	bad := conclave.Errorf(conclave.ErrInvalid, "it must be a rate, as 20/s, 600/m or 20/s:100, or off")
	often, burst, hasBurst := strings.Cut(text, ":")
	count, unit, _ := strings.Cut(often, "/")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 1e6 {
		return Rate{}, bad
	}
	r := Rate{PerSecond: float64(n)}
	switch unit {
	case "s":
	case "m":
		r.PerSecond /= 60
	default:
		return Rate{}, bad
	}
	r.Burst = max(1, int(2*r.PerSecond))
	if hasBurst {
		if r.Burst, err = strconv.Atoi(burst); err != nil || r.Burst < 1 || r.Burst > 1e6 {
			return Rate{}, bad
		}
	}
	return r, nil
}

func (r Rate) String() string {
	if r == (Rate{}) {
		return "off"
	}
	if r.PerSecond >= 1 {
		return fmt.Sprintf("%g/s:%d", r.PerSecond, r.Burst)
	}
	return fmt.Sprintf("%g/m:%d", r.PerSecond*60, r.Burst)
}

// maxBuckets bounds what is remembered; full buckets are forgotten first, since
// a new one is full as well.
const maxBuckets = 10_000

// limiter limits each key by itself.
type limiter struct {
	rate  Rate
	clock conclave.Clock

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

func newLimiter(r Rate, clock conclave.Clock) *limiter {
	return &limiter{rate: r, clock: clock, buckets: map[string]*rate.Limiter{}}
}

// take takes one call of a key, or returns how long to wait for the next.
func (l *limiter) take(key string) (wait time.Duration, ok bool) {
	if l.rate == (Rate{}) {
		return 0, true
	}
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.forget(now)
		}
		b = rate.NewLimiter(rate.Limit(l.rate.PerSecond), l.rate.Burst)
		l.buckets[key] = b
	}
	r := b.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// forget drops full buckets, and all when none is full: too many keys at once
// are an attack by many addresses, against which this limit is no help.
func (l *limiter) forget(now time.Time) {
	for key, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.rate.Burst) {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}

// addressOf is whom to count a request for before it is known who calls. Only
// the connection is believed: a header is whatever the client writes. An IPv6
// customer has a /64.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap(); addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
