package a2awire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"conclave"
)

// RunnerOptions says what a Runner runs.
type RunnerOptions struct {
	Name     string  // of the agent or service, for errors and messages
	Handle   Handler // required
	Capacity int     // how many messages at once; 0 means no limit
	Keep     int     // how many ended tasks stay readable; 256 when 0
	Clock    conclave.Clock
	Logger   *slog.Logger
}

// Runner is a [Tasks] in memory that answers each message by running a function.
// It forgets old tasks; what must outlive the process is the hub's to keep. A
// message that comes again, after a broken connection, joins the task that the
// first one made.
type Runner struct {
	opts RunnerOptions

	mu      sync.Mutex
	tasks   map[conclave.TaskID]*running
	byMsg   map[string]*running // caller and message id
	ended   []*running          // oldest first
	active  int
	workers sync.WaitGroup
	closing chan struct{}
	closed  bool
}

type running struct {
	owner   string
	task    Task
	changed chan struct{} // closed and replaced at each change
	cancel  context.CancelFunc
}

// NewRunner makes a Runner. Close it to stop what runs.
func NewRunner(opts RunnerOptions) *Runner {
	if opts.Keep == 0 {
		opts.Keep = 256
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Runner{opts: opts, tasks: map[conclave.TaskID]*running{}, byMsg: map[string]*running{}, closing: make(chan struct{})}
}

// Close cancels what runs and waits for it. A closed Runner accepts nothing, and
// who waits for a task that was cut off is told ErrUnavailable, not that it
// failed: the same message can be sent again elsewhere.
func (r *Runner) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.closing)
	}
	for _, t := range r.tasks {
		t.cancel()
	}
	r.mu.Unlock()
	r.workers.Wait()
}

// Active returns how many messages are being answered.
func (r *Runner) Active() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active
}

// Accept implements [Tasks]. ErrLimited when the hands are full, ErrUnavailable
// when the Runner is closed.
func (r *Runner) Accept(ctx context.Context, in Incoming) (Task, error) {
	owner := callerKey(ctx)
	key := owner + "\x00" + string(in.MessageID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.byMsg[key]; known != nil {
		return known.task, nil
	}
	if r.closed {
		return Task{}, conclave.Errorf(conclave.ErrUnavailable, "%s is stopping", r.opts.Name)
	}
	if r.opts.Capacity > 0 && r.active >= r.opts.Capacity {
		return Task{}, conclave.Errorf(conclave.ErrLimited, "%s has its hands full with %d tasks", r.opts.Name, r.active)
	}
	now := r.opts.Clock()
	if in.ContextID == "" {
		in.ContextID = conclave.ConversationID(conclave.NewID("talk"))
	}
	in.TaskID = conclave.TaskID(conclave.NewID("task"))
	from := conclave.CallerFrom(ctx).Name()
	// The task goes on when its asker hangs up; Cancel and Close end it.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &running{
		owner: owner, changed: make(chan struct{}), cancel: cancel,
		task: Task{
			Task: conclave.Task{
				ID: in.TaskID, Conversation: in.ContextID, Run: in.Run, From: from, To: r.opts.Name,
				State: conclave.TaskSubmitted, Kind: in.Kind, Created: now, Updated: now,
			},
			History: []conclave.Message{{
				ID: in.MessageID, Task: in.TaskID, Conversation: in.ContextID, Run: in.Run,
				From: from, To: r.opts.Name, Kind: in.Kind, Text: in.Text, Data: in.Data, Sent: now,
			}},
		},
	}
	r.tasks[in.TaskID], r.byMsg[key] = t, t
	r.active++
	r.workers.Add(1)
	go func() {
		defer r.workers.Done()
		defer cancel()
		r.run(work, t, in)
	}()
	return t.task, nil
}

func (r *Runner) run(ctx context.Context, t *running, in Incoming) {
	r.change(t, func(task *Task) {
		if !task.State.Ended() { // it may be cancelled before it has started
			task.State = conclave.TaskWorking
		}
	})
	var out Outgoing
	err := ctx.Err()
	if err == nil {
		out, err = r.call(ctx, in)
	}
	r.change(t, func(task *Task) {
		r.active--
		r.forget(t)
		cutOff := r.closed && err != nil && ctx.Err() != nil
		if task.State.Ended() || cutOff { // cancelled meanwhile
			return
		}
		if err == nil {
			task.State, task.Text, task.Reply = conclave.TaskCompleted, out.Text, out.Data
			return
		}
		task.State, task.Error, task.ErrorKind = conclave.TaskFailed, conclave.Text(err), conclave.KindOf(err)
		var rejected Rejection
		if errors.As(err, &rejected) {
			task.State = conclave.TaskRejected
		}
		if task.ErrorKind == conclave.ErrInternal {
			r.opts.Logger.ErrorContext(ctx, "answering a message", "name", r.opts.Name, "task", task.ID, "err", err)
		}
	})
}

// call runs the handler; a panic in it is an internal error of this task only.
func (r *Runner) call(ctx context.Context, in Incoming) (out Outgoing, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("answering message %s: panic: %v", in.MessageID, p)
		}
	}()
	return r.opts.Handle(ctx, in)
}

func (r *Runner) change(t *running, f func(*Task)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := t.task.State
	f(&t.task)
	if t.task.State != before {
		t.task.Updated = r.opts.Clock()
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// forget keeps the newest ended tasks and drops the rest.
func (r *Runner) forget(t *running) {
	r.ended = append(r.ended, t)
	for len(r.ended) > r.opts.Keep {
		old := r.ended[0]
		r.ended = r.ended[1:]
		delete(r.tasks, old.task.ID)
		delete(r.byMsg, old.owner+"\x00"+string(old.task.History[0].ID))
	}
}

func (r *Runner) find(ctx context.Context, id conclave.TaskID) (*running, error) {
	t := r.tasks[id]
	if t == nil || t.owner != callerKey(ctx) {
		return nil, conclave.Errorf(conclave.ErrNotFound, "there is no task %s here", id)
	}
	return t, nil
}

// Wait implements [Tasks].
func (r *Runner) Wait(ctx context.Context, id conclave.TaskID, seen conclave.TaskState) (Task, error) {
	for {
		r.mu.Lock()
		t, err := r.find(ctx, id)
		if err != nil {
			r.mu.Unlock()
			return Task{}, err
		}
		task, changed := t.task, t.changed
		r.mu.Unlock()
		if task.State != seen {
			return task, nil
		}
		select {
		case <-changed:
		case <-r.closing:
			return Task{}, conclave.Errorf(conclave.ErrUnavailable, "%s is stopping", r.opts.Name)
		case <-ctx.Done():
			return Task{}, ctx.Err()
		}
	}
}

// Cancel implements [Tasks].
func (r *Runner) Cancel(ctx context.Context, id conclave.TaskID) (Task, error) {
	r.mu.Lock()
	t, err := r.find(ctx, id)
	if err == nil && t.task.State.Ended() {
		err = conclave.Errorf(conclave.ErrConflict, "task %s has ended: it is %s", id, t.task.State)
	}
	r.mu.Unlock()
	if err != nil {
		return Task{}, err
	}
	r.change(t, func(task *Task) {
		if !task.State.Ended() {
			task.State, task.Error = conclave.TaskCanceled, "cancelled by "+conclave.CallerFrom(ctx).Name()
		}
	})
	t.cancel()
	return r.Wait(ctx, id, "")
}

// List implements [Tasks].
func (r *Runner) List(ctx context.Context, f Filter) (List, error) {
	owner := callerKey(ctx)
	var all []Task
	r.mu.Lock()
	for _, t := range r.tasks {
		if t.owner == owner && (f.Context == "" || t.task.Conversation == f.Context) &&
			(f.State == "" || t.task.State == f.State) && !t.task.Updated.Before(f.UpdatedAfter) {
			all = append(all, t.task)
		}
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b Task) int {
		return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(b.ID, a.ID))
	})
	out := List{Total: len(all)}
	skip := 0
	if f.PageToken != "" {
		var err error
		if skip, err = strconv.Atoi(f.PageToken); err != nil || skip < 0 {
			return List{}, conclave.Errorf(conclave.ErrInvalid, "pageToken is not one that was given out")
		}
	}
	all = all[min(skip, len(all)):]
	if f.Limit > 0 && len(all) > f.Limit {
		all = all[:f.Limit]
		out.Next = strconv.Itoa(skip + f.Limit)
	}
	out.Tasks = all
	return out, nil
}
