// Package registry knows which services run, and where. Its home is a table of
// the database. With Consul as a second home each service is registered there
// too, with a check of its /readyz, and is looked for there first, because Consul
// knows who is well; what Consul does not know, or can't say, the table does.
//
// Whoever loses Consul goes on with the table, says so once, and registers again
// when it is back: an agent that was restarted has forgotten everybody.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"conclave"
)

// Address is where a service of this installation answers.
type Address struct {
	Service conclave.Service `json:"service"`
	URL     string           `json:"url"`
	Version string           `json:"version"`
	Seen    time.Time        `json:"seen"` // when it was announced; zero where that is not kept
}

// Home keeps addresses.
type Home interface {
	// Announce says that this process serves something at a URL. It replaces what
	// this process announced for that service before.
	Announce(ctx context.Context, a Address) error
	// Withdraw forgets what this process announced.
	Withdraw(ctx context.Context) error
	// Find returns where a service answers, the best first, or nothing.
	Find(ctx context.Context, s conclave.Service) ([]Address, error)
}

// Options of New.
type Options struct {
	Table Home // needed
	// Consul is the address of its HTTP API, as CONSUL_HTTP_ADDR has it; empty
	// means that there is none.
	Consul string
	// Name tells installations that share a Consul apart; Owner this process from
	// others, the same after a restart. Both are needed with Consul.
	Name, Owner string
	Logger      *slog.Logger // nil discards
}

// Registry is the registry of one process.
type Registry struct {
	table  Home
	consul *consul // nil when there is none
	log    *slog.Logger

	mu   sync.Mutex
	own  []Address
	lost error // why Consul does not answer; nil while it does
}

// New makes a registry without asking anybody. ErrInvalid for an address of
// Consul that can't be one.
func New(o Options) (*Registry, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{table: o.Table, log: o.Logger}
	if o.Consul == "" {
		return r, nil
	}
	var err error
	r.consul, err = newConsul(o.Consul, o.Name, o.Owner)
	return r, err
}

// Engine is "built in" or "consul".
func (r *Registry) Engine() string {
	if r.consul == nil {
		return "built in"
	}
	return "consul"
}

// Server is where Consul is; empty when there is none.
func (r *Registry) Server() string {
	if r.consul == nil {
		return ""
	}
	return r.consul.server
}

// Health returns nil, or why Consul does not answer.
func (r *Registry) Health() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Check asks Consul, and returns nil when it answers or there is none.
func (r *Registry) Check(ctx context.Context) error {
	if r.consul == nil {
		return nil
	}
	if _, err := r.consul.known(ctx); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "Consul at %s: %w", r.consul.server, err)
	}
	return nil
}

// Announce says where this process serves something. It fails when the table
// can't be written; Consul is told when it answers (see Run).
func (r *Registry) Announce(ctx context.Context, list []Address) error {
	for _, a := range list {
		if err := r.table.Announce(ctx, a); err != nil {
			return fmt.Errorf("announce %s: %w", a.Service, err)
		}
	}
	if r.consul == nil {
		return nil
	}
	r.mu.Lock()
	r.own = list
	r.mu.Unlock()
	r.tellConsul(ctx)
	return nil
}

// checkEvery is how often it is seen to that Consul still knows this process.
const checkEvery = 2 * time.Second

// Run keeps this process registered at Consul until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	if r.consul == nil {
		return
	}
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			r.tellConsul(ctx)
		}
	}
}

// tellConsul registers what Consul does not know.
func (r *Registry) tellConsul(ctx context.Context) {
	r.mu.Lock()
	own := r.own
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	known, err := r.consul.known(ctx)
	for _, a := range own {
		if err == nil && known[r.consul.id(a.Service)] != a.URL {
			err = r.consul.Announce(ctx, a)
		}
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		r.note(err)
	}
}

// note says once that Consul is lost, and once that it is back.
func (r *Registry) note(err error) {
	r.mu.Lock()
	before := r.lost
	r.lost = err
	r.mu.Unlock()
	switch {
	case err != nil && before == nil:
		r.log.Warn("Consul does not answer; services are found by the database meanwhile", "server", r.consul.server, "error", err)
	case err == nil && before != nil:
		r.log.Info("Consul answers again", "server", r.consul.server)
	}
}

// Withdraw forgets what this process announced.
func (r *Registry) Withdraw(ctx context.Context) error {
	err := r.table.Withdraw(ctx)
	if r.consul == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if gone := r.consul.Withdraw(ctx); gone != nil && r.Health() == nil {
		r.log.Warn("Consul was not told that this process stops; it will see for itself", "server", r.consul.server, "error", gone)
	}
	return err
}

// Resolve returns where a service answers: one of those that Consul finds well,
// else the newest of the table. ErrUnavailable when it runs nowhere.
func (r *Registry) Resolve(ctx context.Context, s conclave.Service) (string, error) {
	if r.consul != nil && r.Health() == nil {
		asked, cancel := context.WithTimeout(ctx, answerLimit)
		list, err := r.consul.Find(asked, s)
		cancel()
		if err != nil && ctx.Err() == nil {
			r.note(err)
		}
		if len(list) > 0 {
			return list[rand.IntN(len(list))].URL, nil
		}
	}
	list, err := r.table.Find(ctx, s)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", conclave.Errorf(conclave.ErrUnavailable, "%s does not run: start it with conclave serve %s", s, s)
	}
	return list[0].URL, nil
}
