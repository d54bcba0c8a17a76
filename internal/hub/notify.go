package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/killpoint"
)

// PushOptions say how clients are told of their tasks.
type PushOptions struct {
	Store PushStore // nil: nobody is told, and cards say so
	// Transport calls clients. It must refuse addresses that are not theirs to name.
	Transport http.RoundTripper
	// Check refuses a host that Transport would. Nil: none is refused early.
	Check func(ctx context.Context, host string) error
	// Sign returns the JWS of a body, in compact form with its payload left out
	// (RFC 7515, appendix F). Nil: notifications have no signature.
	Sign   func(body []byte) (string, error)
	MaxAge time.Duration // how long one client is tried; 0: 1 hour
}

// SignatureHeader carries the signature of a notification's body.
const SignatureHeader = "A2A-Notification-Signature"

// notify tells clients of their tasks until ctx ends, each one's news in order,
// and each again until it is taken.
func (h *Hub) notify(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	free := make(chan struct{}, pushWorkers)
	for ctx.Err() == nil {
		select {
		case free <- struct{}{}: // one worker at least is free
			<-free
		case <-ctx.Done():
			return
		}
		list, err := h.opts.Push.Store.TakePushes(ctx, pushWorkers-len(free), pushLease, maxWait)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			h.opts.Logger.ErrorContext(ctx, "looking for whom to tell", "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		for _, p := range list {
			free <- struct{}{}
			workers.Go(func() {
				defer func() { <-free }()
				h.push(ctx, p)
			})
		}
	}
}

// push tells one client what it is to be told, as far as it goes.
func (h *Hub) push(ctx context.Context, p Push) {
	end := EndPush{Tenant: p.Tenant, Task: p.Task.ID, ID: p.ID, Epoch: p.Epoch}
	var failed error
	work, done := context.WithTimeout(ctx, pushWork)
	defer done()
	for _, c := range p.Changes {
		if failed = h.tell(work, p, c); failed != nil {
			break
		}
		end.Told = c.Seq
	}
	if failed != nil && ctx.Err() != nil {
		failed = nil // it is this hub that stops; the next one goes on at once
	}
	if failed != nil {
		attempt := p.Attempt + 1
		if end.Told > 0 {
			attempt = 1
		}
		// Half of it at random, so that many who fail at once don't come back at once.
		wait := backoff(attempt + 2)
		end.Failed, end.After = failed.Error(), wait/2+rand.N(wait/2)
		if p.Failing > h.opts.Push.MaxAge && end.Told == 0 {
			end.GaveUp, end.Told, end.After = true, p.Changes[len(p.Changes)-1].Seq, 0
		}
		h.opts.Logger.InfoContext(ctx, "a client can't be told of its task", "task", p.Task.ID, "config", p.ID, "attempt", attempt, "gave_up", end.GaveUp, "err", failed)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	killpoint.At("told.before")
	err := insist(ctx, func() error { return h.opts.Push.Store.EndPush(ctx, end) })
	killpoint.At("told.after")
	if err != nil && !errors.Is(err, conclave.ErrConflict) {
		h.opts.Logger.ErrorContext(ctx, "noting what a client was told", "task", p.Task.ID, "config", p.ID, "err", err)
	}
}

// tell sends the notifications of one change.
func (h *Hub) tell(ctx context.Context, p Push, c Change) error {
	bodies, err := a2awire.Notifications(p.Task.at(c), p.Old)
	if err != nil {
		return err
	}
	for _, body := range bodies {
		if err := h.inform(ctx, p.PushConfig, body); err != nil {
			return err
		}
	}
	return nil
}

// inform sends one notification. Whatever is not a success, a redirect too, is a failure.
func (h *Hub) inform(ctx context.Context, c a2awire.PushConfig, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, pushLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the address of a client: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		req.Header.Set("A2A-Notification-Token", c.Token)
		req.Header.Set("X-A2A-Notification-Token", c.Token) // as A2A 0.3 calls it
	}
	if c.Credentials != "" {
		req.Header.Set("Authorization", c.Scheme+" "+c.Credentials)
	}
	if h.opts.Push.Sign != nil {
		signature, err := h.opts.Push.Sign(body)
		if err != nil {
			return fmt.Errorf("signing a notification: %w", err)
		}
		req.Header.Set(SignatureHeader, signature)
	}
	killpoint.At("push.before")
	resp, err := h.opts.Push.Transport.RoundTrip(req)
	killpoint.At("push.after")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return conclave.Errorf(conclave.ErrUnavailable, "%s answers %s", req.URL.Host, resp.Status)
	}
	// Read to its end, so that the connection is kept; nobody needs what it says.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return nil
}
