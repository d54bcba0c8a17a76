package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/git"
	"conclave/internal/killpoint"
	"conclave/internal/telemetry"

	"go.opentelemetry.io/otel/attribute"
)

// State is a run with what belongs to it.
type State struct {
	Tenant    conclave.TenantID
	Run       conclave.Run
	Steps     []conclave.Step
	Approvals []conclave.Approval
}

// Transition is what a handler makes of its step. It is written in one
// transaction, or not at all.
type Transition struct {
	State     conclave.StepState
	Output    any
	Reason    string
	RetryIn   time.Duration // with StepReady
	DependsOn []string      // with StepBlocked: what the step waits for now
	Add       []conclave.Step
	Run       func(*conclave.Run) // alters the run; may be called more than once
	Ask       *conclave.Approval  // with StepWaiting
	Events    []conclave.Event
	// End ends the run; every step that has not ended is cancelled.
	End       conclave.RunStatus
	EndReason string
	reported  bool // the step that ends the run has written its report
}

// Store keeps runs and their steps.
type Store interface {
	// CreateRun keeps a new run with its first steps, once for each key.
	CreateRun(ctx context.Context, in conclave.StartRun, run conclave.Run, steps []conclave.Step) (conclave.Run, error)
	// Run returns a run of the caller's tenant. ErrNotFound.
	Run(ctx context.Context, id conclave.RunID) (State, error)
	// WaitRun returns when the run has ended or d has passed.
	WaitRun(ctx context.Context, id conclave.RunID, d time.Duration) error
	// Runs lists runs of the caller's tenant, newest first.
	Runs(ctx context.Context, in conclave.ListRuns) ([]conclave.Run, error)
	// ClaimStep takes a ready step whose epoch is the given one, and raises it.
	// ok is false when there is nothing to do.
	ClaimStep(ctx context.Context, id conclave.StepID, epoch int64) (step conclave.Step, st State, ok bool, err error)
	// FinishStep writes a transition. ErrConflict when step.Epoch is not the newest.
	FinishStep(ctx context.Context, step conclave.Step, t Transition) error
	// KeepStep writes down the output that a running step has so far, for whoever
	// goes on with it. ErrConflict when step.Epoch is not the newest.
	KeepStep(ctx context.Context, step conclave.Step) error
	// Cancel ends a run and adds the step that cleans up. ErrConflict when it has ended.
	Cancel(ctx context.Context, in conclave.NameRun, cleanup conclave.Step) (conclave.Run, error)
	// Approvals lists approvals, the undecided first, then the newest.
	Approvals(ctx context.Context, in conclave.ListApprovals) ([]conclave.Approval, error)
	// Approval returns an approval by its id or its run's. ErrNotFound.
	Approval(ctx context.Context, id conclave.ApprovalID) (conclave.Approval, error)
	// Decide writes a human's word and lets what waited for it go on. ErrInvalid
	// when it is not one of those to choose from, ErrConflict when decided.
	Decide(ctx context.Context, in conclave.Approve) (conclave.Approval, error)
}

// Meter measures a tree: checks and analysers.
type Meter interface {
	Measure(ctx context.Context, t evidence.Tree) (conclave.Evidence, error)
}

// Options say what a Service works with. All contracts are needed.
type Options struct {
	Store     Store
	Plans     conclave.Plans
	Worktrees conclave.Worktrees
	Surveys   conclave.Surveys
	Council   conclave.Council
	Trust     conclave.Trust
	Hub       conclave.Hub
	Models    conclave.Models
	Meter     Meter
	Config    Config
	// Reports is the folder in which each run gets a folder for its reports.
	Reports string
	// Brain names what thinks when a run does not choose: "offline" or a model's name.
	Brain  func(ctx context.Context, choice string) (string, error)
	Logger *slog.Logger // nil discards
}

// Config is what a team may set.
type Config struct {
	Threshold  float64       // share of yes that approves a plan or a tree
	MaxTime    time.Duration // a vote's deadline after its opening
	MendRounds int           // how often a step is built again after a review or a merge refused it
	Escalate   time.Duration // after this long without consensus a vote goes to a senior
	Contest    bool          // a refusal that at least half were against goes up the ladder rather than stand
	MaxRuns    int           // how many runs go on at once, the oldest first; 0 means any number
}

// Defaults are the configuration of a fresh installation.
func Defaults() Config {
	return Config{Threshold: 0.75, MaxTime: time.Hour, MendRounds: 2, Escalate: 30 * time.Minute, Contest: true}
}

// Validate returns ErrInvalid for what can't be.
func (c Config) Validate() error {
	switch {
	case !(c.Threshold > 0 && c.Threshold <= 1): // so that it refuses NaN, too
		return conclave.Errorf(conclave.ErrInvalid, "consensus threshold is %v; it must be above 0 and at most 1", c.Threshold)
	case c.MaxTime <= 0:
		return conclave.Errorf(conclave.ErrInvalid, "the longest time of a collaboration is %v; it must be above 0", c.MaxTime)
	case c.Escalate <= 0:
		return conclave.Errorf(conclave.ErrInvalid, "the time without consensus after which a vote goes up is %v; it must be above 0", c.Escalate)
	case c.MaxRuns < 0:
		return conclave.Errorf(conclave.ErrInvalid, "concurrent collaborations are %d; they must be 0 (any number) or more", c.MaxRuns)
	case c.MendRounds < 0 || c.MendRounds > 10:
		return conclave.Errorf(conclave.ErrInvalid, "mend rounds are %d; they must be 0 to 10", c.MendRounds)
	}
	return nil
}

// Service implements conclave.Workflows.
type Service struct {
	o   Options
	log *slog.Logger

	mu      sync.Mutex
	running map[conclave.StepID]running // in this process
}

type running struct {
	run    conclave.RunID
	cancel context.CancelCauseFunc
}

var errCancelled = errors.New("the run was cancelled")

// New returns a service, or ErrInvalid for a bad configuration.
func New(o Options) (*Service, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o, log: o.Logger, running: map[conclave.StepID]running{}}, nil
}

const maxTask = 64 << 10

// Start implements conclave.Workflows.
func (s *Service) Start(ctx context.Context, in conclave.StartRun) (conclave.Run, error) {
	task := strings.TrimSpace(in.Task)
	if task == "" && in.Workflow != "multi-review" {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "the task is empty; say in plain words what to do")
	}
	if len(task) > maxTask {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "the task has %d bytes; at most %d", len(task), maxTask)
	}
	if i := strings.IndexFunc(task, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }); i >= 0 {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "the task contains the control character %q at byte %d; write plain text", task[i:i+1], i+1)
	}
	if in.Workflow == "" {
		in.Workflow = "collaborative"
	}
	first, ok := firstSteps()[in.Workflow]
	if !ok {
		names := make([]string, 0, 3)
		for name := range firstSteps() {
			names = append(names, name)
		}
		slices.Sort(names)
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "no workflow %q; there are %s", in.Workflow, strings.Join(names, ", "))
	}
	if in.Repo == "" {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "no repository; name the folder of a git repository")
	}
	path, err := filepath.Abs(in.Repo)
	if err != nil {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "repository %q: %w", in.Repo, err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "there is no folder %s; name the folder of a git repository", path)
	}
	repo, err := git.Open(ctx, path)
	if errors.Is(err, conclave.ErrNotFound) {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "%s; name the folder of one, or make one there with: git init", err)
	}
	if err != nil {
		return conclave.Run{}, err
	}
	brain, err := s.o.Brain(ctx, in.Brain)
	if err != nil {
		return conclave.Run{}, err
	}
	base := ""
	empty, err := repo.IsEmpty(ctx)
	if err != nil {
		return conclave.Run{}, err
	}
	if !empty {
		if base, err = repo.Resolve(ctx, "HEAD"); err != nil {
			return conclave.Run{}, err
		}
	}
	steps := first()
	if in.Head != "" {
		if in.Workflow != "multi-review" {
			return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "head is for multi-review; %s starts from the repository's HEAD", in.Workflow)
		}
		from, to, err := contributed(ctx, repo, in)
		if err != nil {
			return conclave.Run{}, err
		}
		base, steps = to, contributionSteps(from)
	} else if in.Into != "" {
		return conclave.Run{}, conclave.Errorf(conclave.ErrInvalid, "into says where a contribution goes, and there is no head; name its branch")
	}
	caller := conclave.CallerFrom(ctx)
	run := conclave.Run{
		ID: conclave.RunID(conclave.NewID("run")), Status: conclave.RunRunning, Workflow: in.Workflow, Task: task,
		Repo: repo.Dir, Base: base, Conversation: conclave.ConversationID(conclave.NewID("conv")), Human: caller.Human,
		Brain: brain, Offline: brain == "offline",
	}
	return s.o.Store.CreateRun(ctx, in, run, steps)
}

// Get implements conclave.Workflows.
func (s *Service) Get(ctx context.Context, in conclave.GetRun) (conclave.RunDetail, error) {
	if in.Wait < 0 || in.Wait > 60000 {
		return conclave.RunDetail{}, conclave.Errorf(conclave.ErrInvalid, "wait_ms is %d; it must be 0 to 60000", in.Wait)
	}
	st, err := s.o.Store.Run(ctx, in.ID)
	if err != nil {
		return conclave.RunDetail{}, err
	}
	if in.Wait > 0 && !st.Run.Status.Ended() {
		if err := s.o.Store.WaitRun(ctx, in.ID, time.Duration(in.Wait)*time.Millisecond); err != nil {
			return conclave.RunDetail{}, err
		}
		if st, err = s.o.Store.Run(ctx, in.ID); err != nil {
			return conclave.RunDetail{}, err
		}
	}
	d := conclave.RunDetail{Run: st.Run, Steps: st.Steps, Approvals: st.Approvals, Decisions: []conclave.Decision{}}
	plans, err := s.o.Plans.List(ctx, conclave.ListPlans{Run: in.ID})
	if err != nil {
		return d, fmt.Errorf("list the plans of %s: %w", in.ID, err)
	}
	if len(plans) > 0 {
		d.Plan = &plans[0]
	}
	motions, err := s.o.Council.List(ctx, conclave.ListMotions{Run: in.ID, Page: conclave.Page{Limit: 500}})
	if err != nil {
		return d, fmt.Errorf("list the votes of %s: %w", in.ID, err)
	}
	for _, m := range slices.Backward(motions) {
		if m.Decision != nil {
			d.Decisions = append(d.Decisions, *m.Decision)
		}
	}
	return d, nil
}

// List implements conclave.Workflows.
func (s *Service) List(ctx context.Context, in conclave.ListRuns) ([]conclave.Run, error) {
	return s.o.Store.Runs(ctx, in)
}

// Cancel implements conclave.Workflows.
func (s *Service) Cancel(ctx context.Context, in conclave.NameRun) (conclave.Run, error) {
	run, err := s.o.Store.Cancel(ctx, in, newStep(kindCleanup, "cleanup", "Release worktrees", nil))
	if err != nil {
		return run, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.running {
		if r.run == in.ID {
			r.cancel(errCancelled)
		}
	}
	return run, nil
}

// Approvals implements conclave.Workflows.
func (s *Service) Approvals(ctx context.Context, in conclave.ListApprovals) ([]conclave.Approval, error) {
	return s.o.Store.Approvals(ctx, in)
}

// Approve implements conclave.Workflows.
func (s *Service) Approve(ctx context.Context, in conclave.Approve) (conclave.Approval, error) {
	if in.Decision != conclave.VerdictApprove && in.Decision != conclave.VerdictReject {
		return conclave.Approval{}, conclave.Errorf(conclave.ErrInvalid, `decision is %q; it must be "approve" or "reject"`, in.Decision)
	}
	return s.o.Store.Decide(ctx, in)
}

// HandleStep works on one step; the queue calls it. It returns nil when the
// hint was out of date or the step was taken over.
func (s *Service) HandleStep(ctx context.Context, id string, epoch int64) error {
	step, st, ok, err := s.o.Store.ClaimStep(ctx, conclave.StepID(id), epoch)
	if err != nil || !ok {
		return err
	}
	ctx = conclave.WithCaller(ctx, conclave.ServiceCaller(conclave.ServiceWorkflow, st.Tenant, st.Run.Human))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	s.running[step.ID] = running{run: st.Run.ID, cancel: cancel}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.running, step.ID)
		s.mu.Unlock()
	}()
	log := s.log.With("run", st.Run.ID, "step", step.Key)
	ctx, end := telemetry.Run(ctx, st.Run.ID, "step "+step.Kind, attribute.String("conclave.step", step.Key), attribute.Int("conclave.attempt", step.Attempt))
	w := &work{s: s, step: step, State: st}
	t, err := s.handle(ctx, w)
	end(err)
	if ctx.Err() != nil {
		return nil // stopped or cancelled: whoever runs it next begins again
	}
	if err != nil {
		log.Warn("step did not succeed", "attempt", step.Attempt, "error", err)
		t = failure(step, err)
	}
	if t.End != "" && !t.reported {
		w.closeRun(ctx, &t)
	}
	killpoint.At("finish.before")
	err = s.o.Store.FinishStep(ctx, w.step, t)
	killpoint.At("finish.after")
	if err != nil {
		if errors.Is(err, conclave.ErrConflict) {
			log.Info("step was taken over", "epoch", step.Epoch)
			return nil
		}
		return err
	}
	if t.End != "" {
		run := st.Run
		run.Status = t.End
		telemetry.RunEnded(ctx, run, time.Now())
	}
	return nil
}

// closeRun writes the report of a run that ends otherwise than by delivering, and
// what it cost. That it can't is no reason for the run not to end.
func (w *work) closeRun(ctx context.Context, t *Transition) {
	if i := slices.IndexFunc(w.Steps, func(s conclave.Step) bool { return s.ID == w.step.ID }); i >= 0 {
		w.Steps[i].State, w.Steps[i].Reason = t.State, t.Reason
		if t.Output != nil {
			if data, err := json.Marshal(t.Output); err == nil {
				w.Steps[i].Output = data
			}
		}
	}
	usage, report, err := w.account(ctx, t.End, t.EndReason)
	if err != nil {
		w.s.log.Warn("a run ends without a report", "run", w.Run.ID, "error", err)
		return
	}
	change := t.Run
	t.Run = func(r *conclave.Run) {
		if change != nil {
			change(r)
		}
		r.Usage, r.Report = usage, report
	}
}

// account adds up what the run cost and writes its report with the status in
// which it ends.
func (w *work) account(ctx context.Context, status conclave.RunStatus, reason string) (conclave.Usage, conclave.Report, error) {
	usage, err := w.s.o.Models.Usage(ctx, conclave.GetUsage{Run: w.Run.ID})
	if err != nil {
		return usage, conclave.Report{}, fmt.Errorf("add up the cost: %w", err)
	}
	w.Run.Status, w.Run.Reason, w.Run.Usage = status, reason, usage
	report, err := w.writeReport(ctx)
	if err != nil {
		return usage, report, fmt.Errorf("write the report: %w", err)
	}
	return usage, report, nil
}

const (
	maxAttempts = 4
	diskWait    = 3 * time.Second // between two looks at a disk that is full
)

// failure turns a handler's error into the step's next state: again after a
// while when the reason may pass, else the end of the run.
func failure(step conclave.Step, err error) Transition {
	kind := conclave.KindOf(err)
	if conclave.DiskFull(err) { // as often as it takes: it is no fault of the run
		return Transition{State: conclave.StepReady, Reason: conclave.Text(err), RetryIn: diskWait}
	}
	passing := kind == conclave.ErrUnavailable || kind == conclave.ErrTimeout
	if passing && step.Attempt+1 < maxAttempts {
		return Transition{State: conclave.StepReady, Reason: conclave.Text(err), RetryIn: time.Second << step.Attempt}
	}
	reason := fmt.Sprintf("%s: %s", step.Title, conclave.Text(err))
	status := conclave.RunFailed
	if step.Kind == kindCleanup || step.Kind == kindLand {
		status = "" // the run has its end already
	}
	return Transition{State: conclave.StepFailed, Reason: conclave.Text(err), End: status, EndReason: reason,
		Add: cleanupAfter(status)}
}

// cleanupAfter is the step that follows the end of a run.
func cleanupAfter(status conclave.RunStatus) []conclave.Step {
	if status == "" {
		return nil
	}
	return []conclave.Step{newStep(kindCleanup, "cleanup", "Release worktrees", nil)}
}
