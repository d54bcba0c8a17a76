package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"conclave"
	"conclave/internal/bus"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
)

// hint is the only kind of job: it names a row of the work table and its epoch.
type hint struct {
	Work  string `json:"work"`
	ID    string `json:"id"`
	Epoch int64  `json:"epoch"`
}

func (hint) Kind() string { return "hint" }

// wake is a job that never runs. Inserting it again makes the queue look for
// work now: after a commit that is sooner than its next poll.
type wake struct{}

func (wake) Kind() string { return "wake" }

// Handler works on a row: it claims (id, epoch) and does nothing when the claim
// fails. An error makes the queue hint again, a few times.
type Handler func(ctx context.Context, id string, epoch int64) error

type queue struct {
	db       *DB
	handlers map[string]Handler
	workers  map[string]int
	inserter *river.Client[*sql.Tx]

	mu      sync.Mutex
	working map[hint]int // what handlers work on now, whatever the epoch
}

// work notes that a handler works on a row, until done is called.
func (q *queue) work(h hint) (done func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.working[h]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.working[h]--; q.working[h] == 0 {
			delete(q.working, h)
		}
	}
}

func (db *DB) driver() riverdriver.Driver[*sql.Tx] {
	if db.postgres {
		return riverdatabasesql.New(db.write)
	}
	return riversqlite.New(db.write)
}

func newQueue(db *DB) *queue {
	q := &queue{db: db, handlers: map[string]Handler{}, workers: map[string]int{}, working: map[hint]int{}}
	var err error
	if q.inserter, err = river.NewClient(db.driver(), q.config()); err != nil {
		panic(err) // the configuration is ours and constant
	}
	return q
}

func (q *queue) config() *river.Config {
	return &river.Config{
		Logger:            slog.New(dropNoise{q.db.log.Handler()}),
		JobTimeout:        -1, // work ends with its own deadline
		MaxAttempts:       5,
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 3 * time.Second, // only the fallback: a commit wakes the workers
		// The sweeper puts work back, by heartbeat and epoch; a rescue by age
		// would do it a second time.
		RescueStuckJobsAfter:        24 * time.Hour,
		CompletedJobRetentionPeriod: time.Hour,
		SkipUnknownJobCheck:         true,
	}
}

// dropNoise lets only warnings of the queue through.
type dropNoise struct{ slog.Handler }

func (h dropNoise) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (q *queue) insert(tx *Tx, kind, id string, epoch int64, due time.Time) error {
	opts := &river.InsertOpts{Queue: kind}
	if now := time.Now(); due.After(now) {
		opts.ScheduledAt = due
	}
	_, err := q.inserter.InsertTx(tx.ctx, tx.tx, hint{Work: kind, ID: id, Epoch: epoch}, opts)
	return err
}

// Handle says who works on a kind of work in this process, and on how many rows
// at once. It must be called before Run.
func (db *DB) Handle(kind string, workers int, h Handler) {
	db.queue.handlers[kind] = func(ctx context.Context, id string, epoch int64) error {
		defer db.queue.work(hint{Work: kind, ID: id})()
		return h(ctx, id, epoch)
	}
	db.queue.workers[kind] = workers
}

// Run works until ctx ends: it puts dead claims back, then feeds the handlers.
func (db *DB) Run(ctx context.Context, ready func()) error {
	q := db.queue
	if err := db.sweep(ctx, true); err != nil {
		return fmt.Errorf("put unfinished work back: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	// The last commits are told too.
	telling, quiet := context.WithCancel(context.WithoutCancel(ctx))
	defer quiet()
	wg.Go(func() { db.bus.Run(telling) })
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if db.postgres {
		wg.Go(func() { db.tell(telling) })
		wg.Go(func() { db.listen(ctx) })
	}
	if db.dispatcher != nil {
		wg.Go(func() { db.dispatcher.run(ctx) })
	}
	if len(q.handlers) == 0 {
		ready()
		<-ctx.Done()
		return nil
	}
	config := q.config()
	config.Workers = river.NewWorkers()
	river.AddWorker(config.Workers, &hintWorker{handlers: q.handlers})
	config.Queues = map[string]river.QueueConfig{}
	for kind, n := range q.workers {
		config.Queues[kind] = river.QueueConfig{MaxWorkers: n}
	}
	client, err := river.NewClient(db.driver(), config)
	if err != nil {
		return fmt.Errorf("configure the queue: %w", err)
	}
	// The queue gets a context that ends with Stop, so that its jobs can finish
	// writing what they were about to.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	for kind := range q.workers {
		heard, stop := db.bus.Subscribe(queueSubject(kind))
		defer stop()
		wg.Go(func() { q.wake(ctx, client, kind, heard) })
	}
	wg.Go(func() { db.beat(ctx) })
	ready()
	<-ctx.Done()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	return client.StopAndCancel(stop)
}

type hintWorker struct {
	river.WorkerDefaults[hint]
	handlers map[string]Handler
}

func (w *hintWorker) Work(ctx context.Context, job *river.Job[hint]) error {
	h, ok := w.handlers[job.Args.Work]
	if !ok {
		return conclave.Errorf(conclave.ErrUnsupported, "no worker for %q here", job.Args.Work)
	}
	return h(ctx, job.Args.ID, job.Args.Epoch)
}

// beat keeps this process's claims alive and puts those of the dead back.
func (db *DB) beat(ctx context.Context) {
	t := time.NewTicker(heartbeatEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := db.heartbeat(ctx); err != nil && ctx.Err() == nil {
			db.log.Warn("heartbeat", "error", err)
		}
		if err := db.sweep(ctx, false); err != nil && ctx.Err() == nil {
			db.log.Warn("sweep", "error", err)
		}
	}
}

// wake makes the workers of a queue look whenever it got work.
func (q *queue) wake(ctx context.Context, client *river.Client[*sql.Tx], name string, heard <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-heard:
		}
		// Always the same unique job far in the future: the insert changes
		// nothing, and tells the queue to look.
		_, err := client.Insert(ctx, wake{}, &river.InsertOpts{Queue: name, ScheduledAt: farFuture,
			UniqueOpts: river.UniqueOpts{ByArgs: true, ByQueue: true}})
		if err != nil && ctx.Err() == nil {
			q.db.log.Warn("wake the queue", "queue", name, "error", err)
		}
	}
}

var farFuture = time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)

// queueSubject is what the workers of a queue watch.
func queueSubject(name string) string { return "queue/" + name }

// notes say what the transaction touches.
func (tx *Tx) notes() []bus.Note {
	var notes []bus.Note
	for _, e := range tx.events {
		n := bus.Note{Tenant: string(e.Tenant), Seq: e.Seq}
		for _, id := range []string{string(e.Run), e.Subject} {
			if id != "" {
				n.About = append(n.About, id)
			}
		}
		notes = append(notes, n)
	}
	for q := range tx.queues {
		notes = append(notes, bus.Note{About: []string{queueSubject(q)}})
	}
	return notes
}
