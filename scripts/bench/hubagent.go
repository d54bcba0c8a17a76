package main

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
)

// heldAnswer is how much an agent says that was held.
const heldAnswer = 64 << 10

// agent is what is asked directly and through the hub, on the official SDK with
// its tasks in memory.
type agent struct {
	answered atomic.Int64

	mu      sync.Mutex
	release chan struct{}
}

// newAgent serves the agent at /a2a. GET /answered tells how much it has answered;
// POST /release lets go what it holds.
func newAgent() http.Handler {
	a := &agent{release: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("/a2a", a2asrv.NewJSONRPCHandler(a2asrv.NewHandler(a)))
	mux.HandleFunc("GET /answered", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, a.answered.Load())
	})
	mux.HandleFunc("POST /release", func(http.ResponseWriter, *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		close(a.release)
		a.release = make(chan struct{})
	})
	return mux
}

// Execute implements [a2asrv.AgentExecutor]: it counts words, at once. What begins
// with "hold" it answers at length, once it is released.
func (a *agent) Execute(ctx context.Context, in *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		said := ""
		for _, p := range in.Message.Parts {
			said += p.Text()
		}
		if !yield(a2a.NewSubmittedTask(in, in.Message), nil) || !yield(a2a.NewStatusUpdateEvent(in, a2a.TaskStateWorking, nil), nil) {
			return
		}
		answer := fmt.Sprintf("%d words", len(strings.Fields(said)))
		if strings.HasPrefix(said, "hold") {
			a.mu.Lock()
			release := a.release
			a.mu.Unlock()
			select {
			case <-release:
			case <-ctx.Done():
			}
			answer = strings.Repeat("word ", heldAnswer/5)
		}
		if yield(a2a.NewArtifactEvent(in, a2a.NewTextPart(answer)), nil) {
			a.answered.Add(1)
			yield(a2a.NewStatusUpdateEvent(in, a2a.TaskStateCompleted, nil), nil)
		}
	}
}

// Cancel implements [a2asrv.AgentExecutor].
func (a *agent) Cancel(_ context.Context, in *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(in, a2a.TaskStateCanceled, nil), nil)
	}
}
