package modelrouter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"

	"conclave"
	"conclave/internal/telemetry"
)

// begun is a call on its way, by the name that it has in the accounts.
type begun struct {
	key string
	at  time.Time
}

// maxWriting bounds the calls of no run whose end is being written down while
// their callers go on.
const maxWriting = 1024

// begin writes a call of a run down before it is made: the run's accounts, and
// its budget, then hold it even when this process dies before the answer.
func (r *Router) begin(ctx context.Context, x *exchange) (begun, error) {
	b := begun{key: uuid.NewString(), at: r.now()}
	if !x.metered || x.run == "" {
		return b, nil
	}
	if err := r.store.Begin(conclave.WithCaller(ctx, x.caller), x.call(b)); err != nil {
		return b, fmt.Errorf("writing down a model call: %w", err)
	}
	return b, nil
}

func (x *exchange) call(b begun) conclave.ModelCall {
	return conclave.ModelCall{Key: b.key, Run: x.run, Agent: x.agent, Task: x.task, Wire: x.chosen.Wire, Model: x.chosen.model, Assumed: int64(len(x.body)) / bytesPerToken}
}

// unanswered ends a call that brought no answer. What did not reach the provider
// was no call; what did may have cost something.
func (r *Router) unanswered(ctx context.Context, x *exchange, b begun, why error) {
	if failed, ok := errors.AsType[*net.OpError](why); !ok || failed.Op != "dial" {
		r.record(ctx, x, b, 0, usage{})
		return
	}
	if !x.metered || x.run == "" {
		return
	}
	ctx, cancel := r.finishing(ctx, x)
	defer cancel()
	if err := r.store.Drop(ctx, b.key); err != nil {
		r.log.Error("taking back a model call that was not made", "run", x.run, "error", err)
	}
}

// finishing is a context for the end of a call whose reader may have gone.
func (r *Router) finishing(ctx context.Context, x *exchange) (context.Context, context.CancelFunc) {
	return context.WithTimeout(conclave.WithCaller(context.WithoutCancel(ctx), x.caller), 10*time.Second)
}

// record writes down what an answer cost, even when its reader has gone. Who calls
// for no run does not wait for that: a process that is killed may leave the last
// of such calls out of the accounts, but Settle, and so an orderly end, does not.
func (r *Router) record(ctx context.Context, x *exchange, b begun, status int, u usage) {
	if !x.metered {
		return
	}
	call := x.call(b)
	call.Status, call.CostUSD, call.Millis = status, r.rules.cost(x.chosen.model, u), float64(r.now().Sub(b.at).Microseconds())/1000
	if status >= http.StatusBadRequest && !u.measured {
		// No provider bills an error.
		u.measured, call.CostUSD = true, new(float64)
	}
	if u.measured {
		call.InputTokens, call.OutputTokens, call.CacheRead, call.CacheWrite = &u.input, &u.output, &u.cacheRead, &u.cacheWrite
		call.Assumed = 0
	} else {
		call.Assumed += u.bytes / bytesPerToken
	}
	telemetry.Past(ctx, x.run, "model "+call.Model, b.at,
		attribute.String("conclave.agent", string(x.agent)), attribute.Int("http.response.status_code", status))
	r.log.Debug("model called", "upstream", x.chosen.Name, "model", call.Model, "status", status,
		"measured", u.measured, "input", u.input, "output", u.output, "ms", call.Millis)
	write := func() {
		ctx, cancel := r.finishing(ctx, x)
		defer cancel()
		if err := r.store.Record(ctx, call); err != nil {
			r.log.Error("recording a model call", "model", call.Model, "run", call.Run, "error", err)
		}
	}
	if x.run != "" || !r.writing.TryAcquire(1) {
		write()
		return
	}
	go func() {
		defer r.writing.Release(1)
		write()
	}()
}

// Settle returns when every call whose answer was given is in the accounts.
func (r *Router) Settle(ctx context.Context) error {
	if err := r.writing.Acquire(ctx, maxWriting); err != nil {
		return fmt.Errorf("waiting for the accounts of model calls: %w", err)
	}
	r.writing.Release(maxWriting)
	return nil
}

// reachability is the cause of a failed call without the address, which may hold
// a password.
func reachability(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return err.Error()
}
