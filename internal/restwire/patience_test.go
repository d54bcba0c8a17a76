package restwire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/internal/restwire"
)

// absentService answers once it is back, and fails in one way until then.
type absentService struct {
	back  time.Time
	while func() (*http.Response, error)
	asked int
}

func (s *absentService) RoundTrip(*http.Request) (*http.Response, error) {
	s.asked++
	if time.Now().Before(s.back) {
		return s.while()
	}
	return response(200, nil, "{}"), nil
}

func response(status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json")
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}
}

func refused() (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

func cutOff() (*http.Response, error) {
	return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}

func stopping() (*http.Response, error) {
	return response(503, http.Header{"Retry-After": {"1"}}, `{"detail":"the request was cancelled","kind":"unavailable"}`), nil
}

func unusable() (*http.Response, error) {
	return response(503, nil, `{"detail":"no model provider","kind":"unavailable"}`), nil
}

// A service that is killed is waited for by those who have patience, unless
// asking again could do a thing twice.
func TestPatience(t *testing.T) {
	read := func(ctx context.Context, c *restwire.Client) error {
		_, err := c.Plans().Get(ctx, conclave.GetPlan{ID: "p"})
		return err
	}
	keyed := func(ctx context.Context, c *restwire.Client) error {
		_, err := c.Worktrees().Merge(ctx, conclave.MergeWorktree{Key: "k", ID: "w"})
		return err
	}
	unkeyed := func(ctx context.Context, c *restwire.Client) error {
		_, err := c.Worktrees().Merge(ctx, conclave.MergeWorktree{ID: "w"})
		return err
	}
	tests := []struct {
		name     string
		patience time.Duration
		gone     time.Duration
		while    func() (*http.Response, error)
		call     func(context.Context, *restwire.Client) error
		succeeds bool
	}{
		{"nobody listens", time.Minute, 20 * time.Second, refused, read, true},
		{"cut off in a read", time.Minute, 20 * time.Second, cutOff, read, true},
		{"it stops", time.Minute, 20 * time.Second, stopping, read, true},
		{"cut off in a change with a key", time.Minute, 20 * time.Second, cutOff, keyed, true},
		{"a change that was not sent", time.Minute, 20 * time.Second, refused, unkeyed, true},
		{"cut off in a change without a key", time.Minute, 20 * time.Second, cutOff, unkeyed, false},
		{"stops in a change without a key", time.Minute, 20 * time.Second, stopping, unkeyed, false},
		{"gone for longer", time.Minute, 2 * time.Minute, refused, read, false},
		{"no patience", 0, time.Second, refused, read, false},
		{"it is there and can't", time.Minute, time.Second, unusable, read, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				s := &absentService{back: begun.Add(tt.gone), while: tt.while}
				c := restwire.Dial(restwire.DialOptions{Base: "http://x", Token: token, HTTP: &http.Client{Transport: s},
					Patience: func(context.Context) time.Duration { return tt.patience }})
				err := tt.call(t.Context(), c)
				took := time.Since(begun)
				switch {
				case tt.succeeds && (err != nil || took < tt.gone || took > tt.gone+2*time.Second):
					t.Errorf("%v after %v; the service was back after %v", err, took, tt.gone)
				case !tt.succeeds && !errors.Is(err, conclave.ErrUnavailable):
					t.Errorf("got %v, want ErrUnavailable", err)
				case !tt.succeeds && took > tt.patience:
					t.Errorf("waited for %v", took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		s := &absentService{back: time.Now().Add(time.Hour), while: refused}
		c := restwire.Dial(restwire.DialOptions{Base: "http://x", Token: token, HTTP: &http.Client{Transport: s},
			Patience: func(context.Context) time.Duration { return time.Minute }})
		begun := time.Now()
		if err := read(ctx, c); !errors.Is(err, conclave.ErrUnavailable) || time.Since(begun) != 3*time.Second {
			t.Errorf("a call that is given up ends with %v after %v", err, time.Since(begun))
		}
	})
}
