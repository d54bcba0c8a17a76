package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/restwire"
)

// What these tests play: a small Go module with something to mend is given to
// the agents, who mend it on a branch, which is then approved and merged. The
// process is killed somewhere on the way and started again. Whatever is compared
// is read from outside: git's own objects and reflogs, and what a client that
// repeats its calls was told.

const crashTask = "Fix what the analysers report"

func crashRepo(t *testing.T) string {
	t.Helper()
	return newRepo(t, map[string]string{
		"go.mod":  "module example.org/tiny\n\ngo 1.24\n",
		"tiny.go": "// Package tiny greets.\npackage tiny\n\n// Empty reports whether a text is empty.\nfunc Empty(s string) bool {\n\tif s == \"\" == true {\n\t\treturn true\n\t}\n\treturn false\n}\n",
		"say.go":  "package tiny\n\n// Say returns a greeting.\nfunc Say(name string)   string {\n  return \"hello, \"+name\n}\n",
	})
}

// outcome is what a play left, without anything that may differ between two
// undisturbed plays: ids, times, the number of the agent that took a task.
type outcome struct {
	Runs     int            // that exist
	Status   string         // of the run
	Chain    []string       // first parents of the run's branch: tree, number of parents, subject
	Landed   string         // tree of the user's branch
	Moves    []string       // reflog of the run's branch
	Steps    map[string]int // how often each step came to an end
	Messages map[string]int // what was asked of whom
	Odd      []string       // what must never be
}

// diff returns how two outcomes differ, or nothing.
func (o outcome) diff(want outcome) []string {
	var list []string
	differ := func(what string, got, want any) {
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			list = append(list, fmt.Sprintf("%s:\n  got  %s\n  want %s", what, g, w))
		}
	}
	differ("number of runs", o.Runs, want.Runs)
	differ("status", o.Status, want.Status)
	differ("commits on the run's branch", o.Chain, want.Chain)
	differ("tree of the user's branch", o.Landed, want.Landed)
	differ("movements of the run's branch", o.Moves, want.Moves)
	differ("ends of steps", o.Steps, want.Steps)
	differ("messages", o.Messages, want.Messages)
	return append(list, o.Odd...)
}

// play is a client that wants one thing done, and repeats each call until it is
// answered, whatever becomes of the server meanwhile.
type play struct {
	*installation
	repo   string
	revive func() // starts again what has been killed
	run    conclave.RunID

	beforeLanding func() // is called once the run is done, if it is there
}

const playLimit = 2 * time.Minute

// call repeats a call until it succeeds. An answer that repeating won't change
// ends the test.
func (p *play) call(f func(ctx context.Context, c *restwire.Client) error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), playLimit)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		p.revive()
		c, err := p.client()
		if err == nil {
			err = f(ctx, c)
			c.Close()
		}
		if err == nil {
			return
		}
		if !errors.Is(err, conclave.ErrUnavailable) && !errors.Is(err, conclave.ErrNotFound) && !errors.Is(err, conclave.ErrConflict) && !errors.Is(err, conclave.ErrTimeout) {
			p.t.Fatalf("a call failed for good: %v", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			p.t.Fatalf("no success in %v; the last error: %v", playLimit, err)
		}
	}
}

// perform has the run done, approves it, and waits until the user's branch has it.
func (p *play) perform() outcome {
	p.t.Helper()
	var run conclave.Run
	p.call(func(ctx context.Context, c *restwire.Client) (err error) {
		run, err = c.Workflows().Start(ctx, conclave.StartRun{Key: "start", Task: crashTask, Repo: p.repo, Brain: "offline"})
		return err
	})
	p.run = run.ID
	d := p.await("the run's end", func(d conclave.RunDetail) bool {
		return d.Run.Status.Ended() && (d.Run.Status != conclave.RunDone || state(d, "land") == conclave.StepWaiting)
	})
	if d.Run.Status != conclave.RunDone {
		p.t.Fatalf("the run is %s: %s", d.Run.Status, d.Run.Reason)
	}
	if p.beforeLanding != nil {
		p.beforeLanding()
	}
	p.call(func(ctx context.Context, c *restwire.Client) error {
		_, err := c.Workflows().Approve(ctx, conclave.Approve{Key: "land", ID: conclave.ApprovalID(run.ID), Decision: conclave.VerdictApprove})
		return err
	})
	d = p.await("every step's end", func(d conclave.RunDetail) bool {
		return !slices.ContainsFunc(d.Steps, func(s conclave.Step) bool { return !s.State.Ended() })
	})
	return p.outcome(d)
}

func state(d conclave.RunDetail, key string) conclave.StepState {
	for _, s := range d.Steps {
		if s.Key == key {
			return s.State
		}
	}
	return ""
}

func (p *play) await(what string, is func(conclave.RunDetail) bool) conclave.RunDetail {
	p.t.Helper()
	var d conclave.RunDetail
	ended := time.Now().Add(playLimit)
	for d.Run.ID == "" || !is(d) {
		if time.Now().After(ended) {
			p.t.Fatalf("%s did not come in %v; the run is %s (%s); open is: %s", what, playLimit, d.Run.Status, d.Run.Reason, open(d))
		}
		p.call(func(ctx context.Context, c *restwire.Client) (err error) {
			d, err = c.Workflows().Get(ctx, conclave.GetRun{ID: p.run, Wait: 1000})
			if err != nil || !d.Run.Status.Ended() || is(d) {
				return err
			}
			return conclave.Errorf(conclave.ErrUnavailable, "the run is %s (%s); open is: %s", d.Run.Status, d.Run.Reason, open(d))
		})
	}
	return d
}

// open lists the steps that have not ended.
func open(d conclave.RunDetail) string {
	var list []string
	for _, s := range d.Steps {
		if !s.State.Ended() {
			list = append(list, fmt.Sprintf("%s %s (%s)", s.Key, s.State, s.Reason))
		}
	}
	return strings.Join(list, ", ")
}

var agentNumber = regexp.MustCompile(`-\d+$`)

// roleOf is who somebody is without the number that tells agents of a role apart.
func roleOf(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "roles/"), "agents/")
	return agentNumber.ReplaceAllString(name, "")
}

func (p *play) outcome(d conclave.RunDetail) outcome {
	p.t.Helper()
	o := outcome{Status: string(d.Run.Status), Steps: map[string]int{}, Messages: map[string]int{}}
	branch := "conclave/" + string(p.run)
	o.Chain = strings.Split(runGit(p.t, p.repo, "log", "--first-parent", "--format=%T %P| %s", branch), "\n")
	for i, line := range o.Chain {
		about, subject, _ := strings.Cut(line, "|")
		words := strings.Fields(about)
		o.Chain[i] = fmt.Sprintf("%s with %d parents:%s", words[0], len(words)-1, subject)
	}
	o.Moves = strings.Split(runGit(p.t, p.repo, "log", "--walk-reflogs", "--format=%gs", branch), "\n")
	o.Landed = runGit(p.t, p.repo, "rev-parse", "main^{tree}")
	if dirty := runGit(p.t, p.repo, "status", "--porcelain"); dirty != "" {
		o.Odd = append(o.Odd, "the user's working tree is dirty: "+dirty)
	}
	if trees := runGit(p.t, p.repo, "worktree", "list", "--porcelain"); strings.Count(trees, "worktree ") != 1 {
		o.Odd = append(o.Odd, "worktrees are left: "+trees)
	}
	if left, err := filepath.Glob(filepath.Join(p.home, "worktrees", "*", "*")); err != nil || len(left) > 0 {
		o.Odd = append(o.Odd, fmt.Sprint("folders of worktrees are left: ", left, err))
	}
	if refs := runGit(p.t, p.repo, "for-each-ref", "--format=%(refname)", "refs/conclave/salvage"); refs != "" {
		o.Odd = append(o.Odd, "something was saved that had been merged: "+refs)
	}
	var events []conclave.Event
	var messages []conclave.Message
	p.call(func(ctx context.Context, c *restwire.Client) error {
		runs, err := c.Workflows().List(ctx, conclave.ListRuns{})
		if err != nil {
			return err
		}
		o.Runs = len(runs)
		if events, err = c.Events().List(ctx, conclave.EventFilter{Run: p.run, Kinds: []conclave.EventKind{conclave.EventStepEnded}, Limit: 1000}); err != nil {
			return err
		}
		messages, err = c.Hub().Messages(ctx, conclave.ListMessages{Run: p.run, Limit: 1000})
		return err
	})
	for _, e := range events {
		for _, s := range d.Steps {
			if s.ID == e.Step {
				o.Steps[s.Key]++
			}
		}
	}
	p.countMessages(&o, messages)
	p.checkEvidence(&o, d.Run.Report.JSON)
	return o
}

// checkEvidence checks that what the ballots on a tree rest on is in the report.
func (p *play) checkEvidence(o *outcome, report string) {
	p.t.Helper()
	text := validReport(p.t, report)
	var doc struct {
		Decisions []conclave.Decision
		Evidence  []conclave.Evidence
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		p.t.Fatal(err)
	}
	rests := 0
	for _, d := range doc.Decisions {
		for _, b := range d.Ballots {
			for _, hash := range b.Evidence {
				rests++
				if !slices.ContainsFunc(doc.Evidence, func(e conclave.Evidence) bool { return e.Hash == hash }) {
					o.Odd = append(o.Odd, fmt.Sprintf("the ballot of %s on %q rests on evidence %s, which is not in the report", b.Voter, d.Motion.Title, hash))
				}
			}
		}
	}
	if rests == 0 {
		o.Odd = append(o.Odd, "no ballot rests on evidence")
	}
}

// countMessages counts what was asked, and checks that each question that was
// answered has one answer. A vote that is decided early has no use for the rest
// of its ballots, so how many are missing is a matter of time.
func (p *play) countMessages(o *outcome, messages []conclave.Message) {
	p.t.Helper()
	asked, answered := map[conclave.TaskID]conclave.Message{}, map[conclave.TaskID]int{}
	for _, m := range messages {
		if _, known := asked[m.Task]; known {
			answered[m.Task]++
			continue
		}
		asked[m.Task] = m
		o.Messages[fmt.Sprintf("%s to %s: %s", roleOf(m.From), roleOf(m.To), m.Kind)]++
	}
	for id, m := range asked {
		var t conclave.Task
		p.call(func(ctx context.Context, c *restwire.Client) (err error) {
			t, err = c.Hub().Task(ctx, conclave.GetTask{ID: id})
			return err
		})
		want := 0
		if t.State == conclave.TaskCompleted {
			want = 1
		} else if m.Kind != conclave.AssignVote || t.State != conclave.TaskCanceled {
			o.Odd = append(o.Odd, fmt.Sprintf("task %s (%s to %s) is %s: %s", m.Kind, m.From, m.To, t.State, t.Error))
		}
		if answered[id] != want {
			o.Odd = append(o.Odd, fmt.Sprintf("task %s (%s to %s) is %s and has %d answers", m.Kind, m.From, m.To, t.State, answered[id]))
		}
	}
}

// kill says when a process dies.
type kill struct {
	point string        // NAME:N of a point in the program
	after time.Duration // or after so long
}

func (k kill) String() string {
	if k.point != "" {
		return k.point
	}
	return fmt.Sprint("after ", k.after)
}

// playKilled plays with one process that is killed once. A run that is over before
// its moment, on a machine that has become quicker, is played again with an
// earlier one.
func playKilled(t *testing.T, program string, k kill) outcome {
	t.Helper()
	for {
		o, died := playOnce(t, program, k)
		switch {
		case died:
			return o
		case k.point != "":
			o.Odd = append(o.Odd, "the process was never killed")
			return o
		}
		k.after /= 2
	}
}

func playOnce(t *testing.T, program string, k kill) (o outcome, died bool) {
	t.Helper()
	i := newInstallation(t)
	env := map[string]string{}
	if k.point != "" {
		env["CONCLAVE_TEST_KILL"] = k.point
	}
	s := i.start(program, env)
	if k.after > 0 {
		timer := time.AfterFunc(k.after, s.kill)
		defer timer.Stop()
	}
	p := &play{installation: i, repo: crashRepo(t)}
	p.revive = func() {
		for {
			select {
			case <-s.ended:
				if died {
					t.Fatalf("the process ended for another reason than the kill:\n%s", tail(s.log.String(), 3000))
				}
				died = true
				s = i.start(program, nil)
				continue
			default:
			}
			select {
			case <-s.ready:
				return
			case <-s.ended:
			case <-time.After(startLimit):
				t.Fatalf("not ready after %v:\n%s", startLimit, s.log)
			}
		}
	}
	return p.perform(), died
}

// passes plays undisturbed, and returns the outcome, how often each point was
// passed and how long it took.
func passes(t *testing.T, program string) (outcome, map[string]int, time.Duration) {
	t.Helper()
	i := newInstallation(t)
	log := filepath.Join(i.home, "points")
	s := i.start(program, map[string]string{"CONCLAVE_TEST_KILL_LOG": log})
	s.awaitReady(t)
	begun := time.Now()
	p := &play{installation: i, repo: crashRepo(t), revive: func() {}}
	o := p.perform()
	took := time.Since(begun)
	s.stop(t)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, name := range strings.Fields(string(text)) {
		counts[name]++
	}
	return o, counts, took
}

// crashAll is whether every point is tried, which takes long.
func crashAll() bool { return os.Getenv("CONCLAVE_TEST_CRASH") == "all" }

// spread chooses passes of a point: the first, the middle and the last that
// surely comes, for how often a commit happens is a matter of time too.
func spread(count int) []int {
	last := count
	if count > 10 {
		last = count * 3 / 4
	}
	list := []int{1, (last + 1) / 2, last}
	return slices.Compact(list)
}

func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("kills real processes")
	}
	program := killable(t)
	want, counts, _ := passes(t, program) // fills the compilers' caches
	if len(want.Odd) > 0 {
		t.Fatalf("an undisturbed run is odd already:\n%s", strings.Join(want.Odd, "\n"))
	}
	for _, name := range []string{"commit", "ref", "checkout", "land", "send", "deliver", "settle", "receipt", "release", "finish"} {
		if counts[name+".before"] == 0 || counts[name+".after"] == 0 {
			t.Errorf("no run passes %s.before and %s.after: %v", name, name, counts)
		}
	}
	var kills []kill
	if crashAll() {
		again, _, took := passes(t, program)
		if diff := again.diff(want); len(diff) > 0 {
			t.Fatalf("two undisturbed runs differ:\n%s", strings.Join(diff, "\n"))
		}
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			for _, n := range spread(counts[name]) {
				kills = append(kills, kill{point: fmt.Sprint(name, ":", n)})
			}
		}
		random := 50
		if n, err := strconv.Atoi(os.Getenv("CONCLAVE_TEST_CRASH_RANDOM")); err == nil {
			random = n
		}
		if only := os.Getenv("CONCLAVE_TEST_CRASH_POINT"); only != "" {
			kills, random = []kill{{point: only}}, 0
		}
		for range random {
			kills = append(kills, kill{after: 50*time.Millisecond + rand.N(took)})
		}
	} else {
		middle := func(name string) kill { return kill{point: fmt.Sprint(name, ":", (counts[name]+1)/2)} }
		kills = []kill{
			{point: "answer.before:" + strconv.Itoa(counts["answer.before"]-1)}, // the run is kept, and its client not told
			{point: "verdict.after:1"}, {point: "ref.before:1"}, {point: "ref.after:1"}, {point: "checkout.after:1"}, {point: "land.after:1"}, {point: "release.after:1"},
			middle("commit.before"), middle("send.after"), middle("receipt.after"), middle("settle.before"), middle("finish.after"),
		}
	}
	for _, k := range kills {
		t.Run(k.String(), func(t *testing.T) {
			if diff := playKilled(t, program, k).diff(want); len(diff) > 0 {
				t.Errorf("killed %s, the run ends otherwise than undisturbed:\n%s", k, strings.Join(diff, "\n"))
			}
		})
	}
}
