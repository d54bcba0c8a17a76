package llm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"conclave"
)

// failure is why one try did not give an answer.
type failure struct {
	kind  error
	text  string
	retry bool
	after time.Duration // the provider's own wish; 0 when it has none
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.kind }

// retrying calls once until it answers, fails for good, or the tries are used
// up. The usage that it returns is that of all tries.
func (o Options) retrying(ctx context.Context, model string, once func(context.Context) (Response, error)) (Response, error) {
	var spent Usage
	for try := 1; ; try++ {
		r, err := once(ctx)
		r.Usage.Add(spent)
		spent = r.Usage
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return r, fmt.Errorf("asking %s: %w", model, context.Cause(ctx))
		}
		f := o.failure(err)
		wait := max(f.after, o.Backoff<<(try-1))
		// A little disorder keeps many agents from coming back at once.
		wait += rand.N(wait/4 + 1)
		if !f.retry || try >= o.Tries || f.after > o.MaxWait {
			return r, fmt.Errorf("asking %s, try %d: %w", model, try, f)
		}
		wait = min(wait, o.MaxWait)
		o.Logger.Info("asking a model again", "model", model, "try", try, "wait", wait, "reason", f.text)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return r, fmt.Errorf("asking %s: %w", model, context.Cause(ctx))
		}
	}
}

// failure turns what went wrong in a try into a kind of error with a text that
// holds no key and no address.
func (o Options) failure(err error) *failure {
	var f *failure
	if !errors.As(err, &f) {
		f = o.transportFailure(err)
	}
	if o.Key != "" {
		f.text = strings.ReplaceAll(f.text, o.Key, "[key]")
	}
	return f
}

func (o Options) transportFailure(err error) *failure {
	if errors.Is(err, errSilent) {
		return &failure{kind: conclave.ErrTimeout, text: fmt.Sprintf("the provider was silent for %v", o.Idle)}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return cut()
	}
	text := err.Error()
	// An url.Error quotes the address, which may hold a token.
	var ue *url.Error
	if errors.As(err, &ue) {
		text = ue.Err.Error()
	}
	return &failure{kind: conclave.ErrUnavailable, text: text, retry: true}
}

func cut() *failure {
	return &failure{kind: conclave.ErrUnavailable, text: "the answer broke off before its end", retry: true}
}

func refused(text string) *failure {
	if text == "" {
		text = "no reason given"
	}
	return &failure{kind: conclave.ErrUnsupported, text: "the model refused: " + text}
}

// statusFailure is a provider's answer other than 200, or an error that it sent
// in the middle of a stream with the status that its type stands for.
func statusFailure(status int, message string, h http.Header) *failure {
	if message == "" {
		message = http.StatusText(status)
	}
	f := &failure{text: fmt.Sprintf("the provider answered %d: %s", status, message), kind: conclave.ErrUnavailable}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		f.kind = conclave.ErrDenied
	case status == http.StatusNotFound:
		f.kind = conclave.ErrNotFound
	case status == http.StatusGatewayTimeout:
		// The wait was long already.
		f.kind = conclave.ErrTimeout
	case status == http.StatusRequestTimeout:
		f.kind, f.retry = conclave.ErrTimeout, true
	case status == http.StatusTooManyRequests:
		f.kind, f.retry = conclave.ErrLimited, true
	case status >= 400 && status < 500:
		f.kind = conclave.ErrInvalid
	case status >= 500:
		f.retry = true
	}
	f.after = retryAfter(h)
	// The SDKs of both providers heed this header, and so do we.
	if h.Get("x-should-retry") == "false" {
		f.retry = false
	}
	return f
}

// retryAfter reads retry-after-ms, else retry-after in seconds or as a date.
func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("retry-after-ms"), 64); err == nil && ms > 0 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	v := h.Get("retry-after")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
