// Package lifecycle starts services in order and stops them in reverse.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Service runs until its context ends. It calls ready once it does its work; a
// service that returns before that has failed to start.
type Service struct {
	Name string
	Run  func(ctx context.Context, ready func()) error
}

// StopTimeout bounds the stop of all services together.
const StopTimeout = 15 * time.Second

// Run starts each service when the one before it is ready, calls ready when all
// are, and waits. When ctx ends or a service fails, it stops them in reverse
// order, each after the one that came later, and returns the first failure.
func Run(ctx context.Context, services []Service, ready func()) error {
	type running struct {
		name   string
		cancel context.CancelFunc
		done   chan error
	}
	var started []running
	failed := make(chan error, len(services))
	stop := func() error {
		deadline := time.After(StopTimeout)
		var errs []error
		for i := len(started) - 1; i >= 0; i-- {
			started[i].cancel()
			select {
			case err := <-started[i].done:
				if err != nil && !errors.Is(err, context.Canceled) {
					errs = append(errs, fmt.Errorf("%s: %w", started[i].name, err))
				}
			case <-deadline:
				return errors.Join(append(errs, fmt.Errorf("%s did not stop within %v", started[i].name, StopTimeout))...)
			}
		}
		return errors.Join(errs...)
	}
	for _, s := range services {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		up := make(chan struct{})
		r := running{name: s.Name, cancel: cancel, done: make(chan error, 1)}
		go func() {
			var once bool
			err := s.Run(own, func() {
				if !once {
					once = true
					close(up)
				}
			})
			if own.Err() == nil { // it ended by itself
				if err == nil {
					err = errors.New("it ended by itself")
				}
				failed <- fmt.Errorf("%s: %w", s.Name, err)
			}
			r.done <- err
		}()
		started = append(started, r)
		select {
		case <-up:
		case err := <-failed:
			return errors.Join(err, ignore(stop(), err))
		case <-ctx.Done():
			return stop()
		}
	}
	ready()
	select {
	case err := <-failed:
		return errors.Join(err, ignore(stop(), err))
	case <-ctx.Done():
		return stop()
	}
}

// ignore drops what stop says again of the service that failed first.
func ignore(err, first error) error {
	if err == nil || errors.Is(first, errors.Unwrap(err)) || err.Error() == first.Error() {
		return nil
	}
	return err
}
