package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"conclave"
)

// restart is how long a service may take to come back, as when its container is
// started on another machine.
const restart = time.Minute

// patience is how long a call waits for a service that is not there: one that a
// service makes in its own work as long as a restart takes, one that is made for
// a person not at all, because they can be told.
func patience(ctx context.Context) time.Duration {
	if conclave.CallerFrom(ctx).Service == "" {
		return 0
	}
	return restart
}

// following sends requests to where a service listens now, and waits for it
// while it is restarted.
type following struct {
	resolve func() (host string, err error)
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper. A request that may have arrived is
// not sent again.
func (f *following) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.GetBody != nil { // then each try has a body of its own
		defer r.Body.Close()
	}
	until := time.Now().Add(restart)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		resp, err := f.once(r)
		failed, ok := errors.AsType[*net.OpError](err)
		gone := ok && failed.Op == "dial" || errors.Is(err, conclave.ErrUnavailable)
		if !gone || r.Context().Err() != nil || time.Now().Add(wait).After(until) {
			return resp, err
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return nil, err
		}
	}
}

func (f *following) once(r *http.Request) (*http.Response, error) {
	host, err := f.resolve()
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	if r.GetBody != nil {
		if out.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	out.URL.Host, out.Host = host, host
	return f.next.RoundTrip(out)
}
