package store

import (
	"context"
	"sync"
	"time"
)

// Deliveries need no jobs: the tasks table says what is due, so accepting a
// message writes no second row for the queue, and none can be lost. The
// dispatcher of each process that delivers looks whenever a commit made
// something due; a claim decides who has it.
type dispatcher struct {
	db      *DB
	workers int
	handle  Handler

	mu    sync.Mutex
	given map[string]*given // by task
	freed chan struct{}     // told when a worker is free
}

// given is a delivery that a worker has, or had without anything coming of it.
type given struct {
	epoch, due int64
	busy       bool
	again      time.Time // when it is given out again, should nothing have changed
}

const againAfterError = time.Second

// HandleDeliveries says who delivers in this process, and how much at once. It
// must be called before Run.
func (db *DB) HandleDeliveries(workers int, h Handler) {
	db.dispatcher = &dispatcher{db: db, workers: workers, handle: h, given: map[string]*given{}, freed: make(chan struct{}, 1)}
}

// run gives out what is due until ctx ends, and waits for the workers.
func (d *dispatcher) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	heard, stop := d.db.bus.Subscribe(queueSubject(WorkDelivery))
	defer stop()
	for {
		wait, err := d.round(ctx, &workers)
		if err != nil && ctx.Err() == nil {
			d.db.log.Warn("looking for deliveries that are due", "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-heard:
		case <-d.freed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// round gives out what is due, and returns how long nothing else will be.
func (d *dispatcher) round(ctx context.Context, workers *sync.WaitGroup) (time.Duration, error) {
	d.mu.Lock()
	busy := 0
	began := time.Now()
	done := map[string]*given{} // by tasks that a look from now on shows as their workers left them
	for id, g := range d.given {
		if g.busy {
			busy++
		} else {
			done[id] = g
		}
	}
	known := len(d.given)
	d.mu.Unlock()
	free := d.workers - busy
	if free <= 0 {
		return fallbackPoll, nil
	}
	due, wait, err := d.due(ctx, free+known)
	if err != nil {
		return fallbackPoll, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range due {
		delete(done, r.id)
		g := d.given[r.id]
		same := g != nil && g.epoch == r.epoch && g.due == r.due
		switch {
		case g != nil && g.busy: // its worker is about to return
			continue
		case same && began.Before(g.again):
			wait = min(wait, g.again.Sub(began))
			continue
		case free == 0:
			continue
		}
		free--
		g = &given{epoch: r.epoch, due: r.due, busy: true}
		d.given[r.id] = g
		workers.Go(func() { d.work(ctx, r.id, g) })
	}
	for id, g := range done {
		if d.given[id] == g {
			delete(d.given, id)
		}
	}
	return wait, nil
}

func (d *dispatcher) work(ctx context.Context, id string, g *given) {
	err := d.handle(ctx, id, g.epoch)
	again := staleAfter
	if err != nil {
		again = againAfterError
		if ctx.Err() == nil {
			d.db.log.Warn("delivering", "task", id, "error", err)
		}
	}
	d.mu.Lock()
	g.busy, g.again = false, time.Now().Add(again)
	d.mu.Unlock()
	select {
	case d.freed <- struct{}{}:
	default: // it is about to look
	}
}

type dueTask struct {
	id         string
	epoch, due int64
}

const dueDeliveries = `SELECT id, epoch, due FROM tasks WHERE state = 'submitted' AND parked < 2 ORDER BY due, id LIMIT $1`

// due returns up to n deliveries that are due, and how long until the next one is.
func (d *dispatcher) due(ctx context.Context, n int) (list []dueTask, wait time.Duration, err error) {
	wait = fallbackPoll
	err = d.db.View(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		rows, err := tx.docs(dueDeliveries, n+1)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r dueTask
			if err := rows.Scan(&r.id, &r.epoch, &r.due); err != nil {
				return err
			}
			if later := fromMicros(r.due).Sub(now); later > 0 {
				wait = min(wait, later)
				break
			}
			list = append(list, r)
		}
		return rows.Err()
	})
	return list, wait, err
}
