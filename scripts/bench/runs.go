package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/internal/llmtest"
)

// work is what the scripted model plans and builds.
func work() llmtest.Work {
	return llmtest.Work{Summary: "Write the page about us", Step: "about", Writes: []string{"about/**"},
		Files: map[string]string{"about/us.md": "# About us\n\nWe write pages.\n"}}
}

// repository makes a repository with one commit of a page.
func (b *bench) repository(ctx context.Context, name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.md"), []byte("# Site\n"), 0o600); err != nil {
		return "", err
	}
	for _, args := range [][]string{{"init", "--quiet", "--initial-branch=main"}, {"add", "--all"},
		{"-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "commit", "--quiet", "--message=Begin"}} {
		if out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return dir, nil
}

// end waits for the end of a run.
func (s *server) end(ctx context.Context, id conclave.RunID) (conclave.RunDetail, error) {
	for {
		d, err := s.Workflows().Get(ctx, conclave.GetRun{ID: id, Wait: 60000})
		if err != nil || d.Run.Status.Ended() {
			return d, err
		}
		if d.Run.Status == conclave.RunWaiting {
			return d, fmt.Errorf("run %s waits for a human: %s", id, d.Run.Reason)
		}
	}
}

const overheadRuns = 7

func (b *bench) overhead(ctx context.Context) error {
	repo, err := b.repository(ctx, "site")
	if err != nil {
		return err
	}
	team := llmtest.Team(work())
	var thought atomic.Int64 // nanoseconds inside the script
	model, err := llmtest.Start("127.0.0.1:0", func(c llmtest.Call) llmtest.Answer {
		began := time.Now()
		defer func() { thought.Add(int64(time.Since(began))) }()
		return team(c)
	})
	if err != nil {
		return err
	}
	defer model.Close()
	s, err := b.start(ctx, filepath.Join(b.dir, "overhead"), scripted(model)...)
	if err != nil {
		return err
	}
	var raw, own, used, sandboxed, git, gaps []time.Duration
	for i := range overheadRuns + 1 {
		thought.Store(0)
		looking, enough := context.WithCancel(ctx)
		var seen watched
		var watcher sync.WaitGroup
		watcher.Go(func() { seen = watch(looking, s.cmd.Process.Pid, 5*time.Millisecond, false) })
		before, err := cpu(s.cmd.Process.Pid)
		if err != nil {
			enough()
			return s.stop(err)
		}
		began := time.Now()
		run, err := s.Workflows().Start(ctx, conclave.StartRun{Key: conclave.NewID("bench"), Task: "Write a page about us", Repo: repo})
		var d conclave.RunDetail
		if err == nil {
			d, err = s.end(ctx, run.ID)
		}
		took := time.Since(began)
		enough()
		watcher.Wait()
		if err == nil && d.Run.Status != conclave.RunDone {
			err = fmt.Errorf("run %s is %s: %s", run.ID, d.Run.Status, d.Run.Reason)
		}
		if err != nil {
			return s.stop(err)
		}
		after, err := cpu(s.cmd.Process.Pid)
		if err != nil {
			return s.stop(err)
		}
		if i == 0 {
			continue // fills the caches of the analysers
		}
		used = append(used, after-before)
		raw, sandboxed, git = append(raw, took), append(sandboxed, seen.sandboxed), append(git, seen.git)
		own = append(own, took-seen.sandboxed-time.Duration(thought.Load()))
		between, err := s.latencies(ctx, d)
		if err != nil {
			return s.stop(err)
		}
		gaps = append(gaps, between...)
	}
	calls := len(model.Calls()) / (overheadRuns + 1)
	o, g := sort(own), sort(gaps)
	b.add(fmt.Sprintf("a run's own overhead, %d runs, min / median / max", overheadRuns), "1 s", o.spread(), yes(o.at(0.5) <= time.Second))
	b.add("the same runs, nothing subtracted", "none", sort(raw).spread(), "–")
	b.add("the same runs, processor time of the services without their child processes", "none", sort(used).spread(), "–")
	b.add(fmt.Sprintf("step to step, %d pairs, p50 / p95", len(g)), "20 ms", millis(g.at(0.5))+" / "+millis(g.at(0.95)), yes(g.at(0.95) <= 20*time.Millisecond))
	b.note("A run: all stages of the collaborative workflow, a plan of one step, %d calls of a scripted model over HTTP, one after another on running services, after one that is not counted. "+
		"Subtracted: the time in which a sandboxed command ran (median %s; seen by looking at the server's child processes each 5 ms) and the time inside the model's script. "+
		"Not subtracted: git (alone for %s, median), HTTP to the model, commits to the disk.", calls, millis(sort(sandboxed).at(0.5)), millis(sort(git).at(0.5)))
	b.note("Step to step: from the event that the last step on which a step depends has ended, to the event that it has started; steps that were tried again are left out.")
	return s.stop(nil)
}

// latencies are the times between the end of the last dependency of a step and its start.
func (s *server) latencies(ctx context.Context, d conclave.RunDetail) ([]time.Duration, error) {
	started, ended := map[string]time.Time{}, map[string]time.Time{} // by the step's key, the last time
	keys := map[conclave.StepID]string{}
	for _, step := range d.Steps {
		keys[step.ID] = step.Key
	}
	f := conclave.EventFilter{Run: d.Run.ID, Kinds: []conclave.EventKind{conclave.EventStepStarted, conclave.EventStepEnded}, Limit: 1000}
	for {
		events, err := s.Events().List(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			f.After = e.Seq
			if e.Kind == conclave.EventStepStarted {
				started[keys[e.Step]] = e.At
			} else {
				ended[keys[e.Step]] = e.At
			}
		}
		if len(events) < f.Limit {
			break
		}
	}
	var gaps []time.Duration
	for _, step := range d.Steps {
		start, ok := started[step.Key]
		if !ok || step.Attempt > 0 || len(step.DependsOn) == 0 {
			continue
		}
		var last time.Time
		for _, key := range step.DependsOn {
			if ended[key].After(last) {
				last = ended[key]
			}
		}
		if gap := start.Sub(last); !last.IsZero() && gap >= 0 {
			gaps = append(gaps, gap)
		}
	}
	if len(gaps) == 0 {
		return nil, fmt.Errorf("run %s has no step that follows another", d.Run.ID)
	}
	return gaps, nil
}

const manyRuns = 100

func (b *bench) hundred(ctx context.Context) error {
	repo, err := b.repository(ctx, "sample")
	if err != nil {
		return err
	}
	s, err := b.start(ctx, filepath.Join(b.dir, "hundred"))
	if err != nil {
		return err
	}
	pid := s.cmd.Process.Pid
	looking, enough := context.WithCancel(ctx)
	var seen watched
	var watcher, all sync.WaitGroup
	watcher.Go(func() { seen = watch(looking, pid, 250*time.Millisecond, true) })
	errs := make([]error, manyRuns)
	states := make([]string, manyRuns)
	began := time.Now()
	for i := range manyRuns {
		all.Go(func() {
			run, err := s.Workflows().Start(ctx, conclave.StartRun{Key: conclave.NewID("bench"), Task: "Create a secure REST API for user management", Repo: repo,
				Workflow: "consensus-planning", Brain: "offline"})
			var d conclave.RunDetail
			if err == nil {
				d, err = s.end(ctx, run.ID)
			}
			errs[i], states[i] = err, string(d.Run.Status)
		})
	}
	all.Wait()
	took := time.Since(began)
	enough()
	watcher.Wait()
	if err := errors.Join(errs...); err != nil {
		return s.stop(err)
	}
	peak, err := memory(pid, "VmHWM")
	if err != nil {
		return s.stop(err)
	}
	done := 0
	var others []string
	for _, state := range states {
		if state == string(conclave.RunDone) {
			done++
		} else if !slices.Contains(others, state) {
			others = append(others, state)
		}
	}
	result := fmt.Sprintf("%d done in %.1f s", done, took.Seconds())
	if len(others) > 0 {
		result += "; the others are " + strings.Join(others, ", ")
	}
	b.add(fmt.Sprintf("%d runs at once", manyRuns), "all finish", result, yes(done == manyRuns))
	b.add("the same: peak resident memory of the services", "600 MB", megabytes(peak), yes(peak <= 600e6))
	b.add("the same: peak with all child processes", "none", megabytes(seen.peak), "–")
	b.note("%d runs at once: consensus planning without a model, on one small repository. The peak with child processes is looked at each 250 ms and counts shared pages once per process.", manyRuns)
	return s.stop(nil)
}
