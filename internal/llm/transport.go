package llm

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"conclave"
)

var errSilent = conclave.Errorf(conclave.ErrTimeout, "the provider fell silent")

// Watch returns a RoundTripper that ends a request with ErrTimeout once its
// provider has been silent for longer than idle, before its answer or within
// it. A comment or a ping of the provider is no silence.
func Watch(base http.RoundTripper, idle time.Duration) http.RoundTripper {
	return watchful{base, idle}
}

type watchful struct {
	base http.RoundTripper
	idle time.Duration
}

func (w watchful) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(w.idle, func() { cancel(errSilent) })
	resp, err := w.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		timer.Stop()
		defer cancel(nil)
		return nil, causeOf(ctx, err)
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, timer: timer, idle: w.idle}
	return resp, nil
}

type watchedBody struct {
	io.ReadCloser
	ctx    context.Context // only to ask why it ended
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.timer.Reset(b.idle)
	}
	if err != nil && err != io.EOF {
		err = causeOf(b.ctx, err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// causeOf prefers our own reason for ending a request to the error that came of it.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return err
}
