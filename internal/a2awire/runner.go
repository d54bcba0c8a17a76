package a2awire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"conclave"
)

// RunnerOptions says what a Runner runs.
type RunnerOptions struct {
	Name     string  // of the agent or service, for errors and messages
	Handle   Handler // required
	Capacity int     // how many messages at once; 0 means no limit
	Repeats  bool    // a message id that comes again makes another task
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
	ended   []*running          // and those that wait for their asker; oldest first
	active  int
	workers sync.WaitGroup
	closing chan struct{}
	closed  bool
}

type running struct {
	owner   string
	task    Task
	keys    []string      // in byMsg
	events  []a2a.Event   // what happened to it, for those who follow
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.byMsg[r.key(owner, in)]; known != nil {
		return known.task, nil
	}
	if err := r.mayStart(); err != nil {
		return Task{}, err
	}
	now := r.opts.Clock()
	if in.ContextID == "" {
		in.ContextID = conclave.ConversationID(conclave.NewID("talk"))
	}
	in.TaskID = conclave.TaskID(conclave.NewID("task"))
	from := conclave.CallerFrom(ctx).Name()
	t := &running{
		owner: owner, changed: make(chan struct{}),
		task: Task{
			Task: conclave.Task{
				ID: in.TaskID, Conversation: in.ContextID, Run: in.Run, From: from, To: r.opts.Name,
				State: conclave.TaskSubmitted, Kind: in.Kind, Created: now, Updated: now,
			},
		},
	}
	r.tasks[in.TaskID] = t
	r.start(ctx, t, in)
	return t.task, nil
}

// Answer implements [Tasks].
func (r *Runner) Answer(ctx context.Context, in Incoming) (Task, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.find(ctx, in.TaskID)
	if err != nil {
		return Task{}, err
	}
	if r.byMsg[r.key(t.owner, in)] == t {
		return t.task, nil
	}
	if t.task.State != conclave.TaskInputRequired {
		return Task{}, WaitsNot(t.task.Task)
	}
	if err := r.mayStart(); err != nil {
		return Task{}, err
	}
	r.ended = slices.DeleteFunc(r.ended, func(other *running) bool { return other == t })
	t.set(r.opts.Clock(), func(task *Task) { task.State, task.Text = conclave.TaskWorking, "" })
	r.start(ctx, t, in)
	return t.task, nil
}

// key is where a message is remembered under.
func (r *Runner) key(owner string, in Incoming) string {
	if r.opts.Repeats {
		return owner + "\x00" + string(in.TaskID) + "\x00" + conclave.NewID("again")
	}
	return owner + "\x00" + string(in.MessageID)
}

// mayStart says why there is no room for another message. It needs the lock.
func (r *Runner) mayStart() error {
	if r.closed {
		return conclave.Errorf(conclave.ErrUnavailable, "%s is stopping", r.opts.Name)
	}
	if r.opts.Capacity > 0 && r.active >= r.opts.Capacity {
		return conclave.Errorf(conclave.ErrLimited, "%s has its hands full with %d tasks", r.opts.Name, r.active)
	}
	return nil
}

// start answers a message of a task. It needs the lock.
func (r *Runner) start(ctx context.Context, t *running, in Incoming) {
	key := r.key(t.owner, in)
	r.byMsg[key], t.keys = t, append(t.keys, key)
	t.task.History = append(slices.Clone(t.task.History), conclave.Message{
		ID: in.MessageID, Task: t.task.ID, Conversation: t.task.Conversation, Run: in.Run,
		From: t.task.From, To: r.opts.Name, Kind: in.Kind, Text: in.Text, Data: in.Data, Sent: r.opts.Clock(),
	})
	// The task goes on when its asker hangs up; Cancel and Close end it.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t.cancel = cancel
	r.active++
	r.workers.Add(1)
	go func() {
		defer r.workers.Done()
		defer cancel()
		r.run(work, t, in)
	}()
}

func (r *Runner) run(ctx context.Context, t *running, in Incoming) {
	r.change(t, func(task *Task) {
		if !task.State.Ended() { // it may be cancelled before it has started
			task.State = conclave.TaskWorking
		}
	})
	in.Emit = func(a *Artifact, more, last bool) { r.emit(t, a, more, last) }
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
		if err == nil && out.Ask {
			task.State, task.Text = conclave.TaskInputRequired, out.Text
			return
		}
		if err == nil {
			task.State, task.Text, task.Reply, task.Message = conclave.TaskCompleted, out.Text, out.Data, out.Message
			task.Artifacts = append(slices.Clone(task.Artifacts), out.Artifacts...)
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
	t.set(r.opts.Clock(), f)
}

// set changes a task, and tells those who follow it. It needs the lock.
func (t *running) set(now time.Time, f func(*Task)) {
	before, made := t.task.State, len(t.task.Artifacts)
	f(&t.task)
	if t.task.State == before {
		return
	}
	t.task.Updated = now
	if t.task.State == conclave.TaskCompleted {
		all := toArtifacts(t.task)
		for _, a := range all[min(made, len(all)):] {
			t.events = append(t.events, artifactEvent(t.task, a, false, true))
		}
	}
	t.tell(statusEvent(t.task))
}

func (t *running) tell(e a2a.Event) {
	t.events = append(t.events, e)
	close(t.changed)
	t.changed = make(chan struct{})
}

// emit shows a piece of an artifact.
func (r *Runner) emit(t *running, a *Artifact, more, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.task.State.Ended() {
		return
	}
	t.task.Artifacts = extend(t.task.Artifacts, a, more)
	t.tell(artifactEvent(t.task, a, more, last))
}

// extend returns the artifacts with a piece of one added. The old ones may be
// read by others and stay as they are.
func extend(all []*Artifact, piece *Artifact, more bool) []*Artifact {
	all = slices.Clone(all)
	i := slices.IndexFunc(all, func(a *Artifact) bool { return a.ID == piece.ID })
	switch {
	case i < 0:
		return append(all, piece)
	case !more:
		all[i] = piece
		return all
	}
	whole := *all[i]
	whole.Parts = append(slices.Clone(whole.Parts), piece.Parts...)
	all[i] = &whole
	return all
}

// Follow implements [Follower].
func (r *Runner) Follow(ctx context.Context, id conclave.TaskID) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		r.mu.Lock()
		t, err := r.find(ctx, id)
		if err != nil {
			r.mu.Unlock()
			yield(nil, err)
			return
		}
		now, seen := toTask(t.task, nil, true), len(t.events)
		r.mu.Unlock()
		if !yield(now, nil) {
			return
		}
		for {
			r.mu.Lock()
			news, changed, ended := t.events[seen:], t.changed, t.task.State.Ended()
			r.mu.Unlock()
			for _, e := range news {
				if !yield(e, nil) {
					return
				}
			}
			if seen += len(news); ended {
				return
			}
			if len(news) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-r.closing:
				yield(nil, conclave.Errorf(conclave.ErrUnavailable, "%s is stopping", r.opts.Name))
				return
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
	}
}

// forget keeps the newest tasks that have ended or wait, and drops the rest.
func (r *Runner) forget(t *running) {
	r.ended = append(r.ended, t)
	for len(r.ended) > r.opts.Keep {
		old := r.ended[0]
		r.ended = r.ended[1:]
		delete(r.tasks, old.task.ID)
		for _, key := range old.keys {
			delete(r.byMsg, key)
		}
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
