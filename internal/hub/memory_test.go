package hub_test

import (
	"context"
	"testing"

	"conclave"
	"conclave/internal/hub"
)

func TestMemory(t *testing.T) {
	hub.StoreSuite(t, func(t *testing.T, deliver hub.Deliver) (hub.Store, func() []conclave.Event) {
		m := hub.NewMemory(nil)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- m.RunJobs(ctx, deliver) }()
		t.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return m, m.Events
	})
}
