package prove

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/internal/identity"
)

// Verdicts of a proof.
const (
	Pass    = "pass"
	Fail    = "fail"
	Skipped = "skipped"
)

// Result is what came of one proof.
type Result struct {
	What      string `json:"what"` // the operation, or "make TARGET"
	Face      string `json:"face"` // "rest", "mcp", "a2a", "make"
	CheckedBy string `json:"checked_by"`
	Result    string `json:"result"` // pass, fail, skipped
	Reason    string `json:"reason"` // why it failed or was skipped
	MS        int64  `json:"ms"`
}

// Options say what is proved, and by what.
type Options struct {
	Tables    []conclave.Table            // every operation; only their descriptions are used
	Addresses map[conclave.Service]string // base URL of each service
	Token     func(conclave.Caller) (string, error)
	Caller    conclave.Caller   // the human on whose behalf it is done
	Database  string            // "sqlite:PATH" or "postgres://…", the one that the services use
	Provider  *Provider         // the model provider that the services use, when prove started it; else nil
	Targets   *Targets          // make targets to prove as well; nil for none
	Only      []string          // operations and targets, as Result.What names them; empty means all
	Parallel  int               // how many at once; 0 means 4
	Patience  time.Duration     // how long an effect may take to show; 0 means a minute
	Progress  func(Result)      // is called for each result as it comes, one at a time; may be nil
	Transport http.RoundTripper // to the services; nil: http.DefaultTransport
}

func (o Options) transport() http.RoundTripper {
	if o.Transport == nil {
		return http.DefaultTransport
	}
	return o.Transport
}

func (o Options) client() *http.Client { return &http.Client{Transport: o.transport()} }

// errSkip is why something can't be proved here. It is no failure.
type errSkip struct{ why string }

func (e errSkip) Error() string { return e.why }

// earlier is the failure of something that had to be there before the operation
// under proof.
type earlier struct {
	op  string
	err error
}

func (e earlier) Error() string {
	return fmt.Sprintf("could not be tried: before it, %s: %v", e.op, e.err)
}
func (e earlier) Unwrap() error { return e.err }

// limit is how long one proof may take.
const limit = 2 * time.Minute

// Prove plays every proof and returns the results in the order of the tables.
// The error is about the proving itself: what failed is in the results.
func Prove(ctx context.Context, o Options) ([]Result, error) {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	dir, err := os.MkdirTemp("", "conclave-prove-")
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "make a folder to work in: %w", err)
	}
	defer os.RemoveAll(dir)
	records, err := openRecords(o.Database)
	if err != nil {
		return nil, err
	}
	defer records.Close()
	faces, err := openFaces(ctx, o)
	if err != nil {
		return nil, err
	}
	defer faces.Close()
	p := &prover{Options: o, dir: dir, records: records, faces: faces}
	tasks, err := p.tasks()
	if err != nil {
		return nil, err
	}
	p.play(ctx, tasks)
	results := make([]Result, 0, len(tasks))
	for _, t := range tasks {
		results = append(results, t.result)
	}
	return results, nil
}

type prover struct {
	Options
	dir     string
	records *records
	faces   *faces
}

// task is one proof to be played.
type task struct {
	result Result
	do     func(ctx context.Context) error
	alone  bool // nothing else happens meanwhile
}

// tasks lists what is to be proved. Everything that exists is in it: what has no
// proof fails.
func (p *prover) tasks() ([]*task, error) {
	known := map[string]proof{}
	for _, x := range proofs() {
		known[x.op] = x
	}
	var list []*task
	for _, table := range p.Tables {
		for _, op := range table.Operations {
			for _, face := range facesOf(op) {
				t := &task{result: Result{What: op.Name, Face: face}}
				if x, ok := known[op.Name]; ok {
					t.result.CheckedBy = x.by
					t.do = func(ctx context.Context) error { return p.scene(ctx, x, face) }
				} else {
					t.do = func(context.Context) error { return errors.New("nothing proves this operation yet") }
				}
				list = append(list, t)
			}
		}
	}
	if p.Targets != nil {
		targets, err := p.Targets.tasks(p)
		if err != nil {
			return nil, err
		}
		list = append(list, targets...)
	}
	if len(p.Only) == 0 {
		return list, nil
	}
	for _, want := range p.Only {
		if !slices.ContainsFunc(list, func(t *task) bool { return t.result.What == want }) {
			var known []string
			for _, t := range list {
				known = append(known, t.result.What)
			}
			near := conclave.DidYouMean(want, known)
			if !strings.HasPrefix(near, "did") { // there are too many for a line
				near = "docs/proofs.md lists them all"
			}
			return nil, conclave.Errorf(conclave.ErrInvalid, "there is no operation or target %q to prove; %s", want, near)
		}
	}
	return slices.DeleteFunc(list, func(t *task) bool { return !slices.Contains(p.Only, t.result.What) }), nil
}

// facesOf are the faces that an operation has.
func facesOf(op conclave.Operation) []string {
	if op.Effect == conclave.Streams {
		return []string{faceREST}
	}
	return []string{faceREST, faceMCP, faceA2A}
}

func (p *prover) play(ctx context.Context, tasks []*task) {
	var wg sync.WaitGroup
	var told sync.Mutex
	slots := make(chan struct{}, p.Parallel)
	one := func(t *task) {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		err := t.do(ctx)
		t.result.MS = time.Since(begun).Milliseconds()
		var skip errSkip
		switch {
		case err == nil:
			t.result.Result = Pass
		case errors.As(err, &skip):
			t.result.Result, t.result.Reason = Skipped, skip.why
		default:
			t.result.Result, t.result.Reason = Fail, strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		if p.Progress != nil {
			told.Lock()
			defer told.Unlock()
			p.Progress(t.result)
		}
	}
	for _, t := range tasks {
		if t.alone {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one(t)
		})
	}
	wg.Wait()
	for _, t := range tasks {
		if t.alone {
			one(t)
		}
	}
}

// proof is how one operation is proved.
type proof struct {
	op  string
	by  string // the path by which its effect is seen
	run func(ctx context.Context, s *scene) error
}

func proofs() []proof {
	return slices.Concat(hubProofs(), directoryProofs(), letterProofs(), talkProofs(), councilProofs(), planProofs(), worktreeProofs(), surveyProofs(),
		workflowProofs(), modelProofs(), eventProofs(), insightProofs())
}

// scene is where one proof is played through one face.
type scene struct {
	*prover
	op, face string
	name     string // unique; whatever the scene makes is called so
	peer     *peer
}

func (p *prover) scene(ctx context.Context, x proof, face string) error {
	name := conclave.NewID("prove")
	peer, err := startPeer(name, p.dir)
	if err != nil {
		return err
	}
	defer peer.Close()
	err = x.run(ctx, &scene{prover: p, op: x.op, face: face, name: name, peer: peer})
	return errors.Join(err, p.tidy(ctx, name))
}

// tidy has the hub forget the agents of a scene, who would be listed as lost for
// ever. What they said and how they voted stays in the record.
func (p *prover) tidy(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	agents, err := p.records.texts(ctx, `SELECT name FROM agents WHERE role = $1 AND name LIKE $2`, string(peerRole), name+"%")
	for _, agent := range agents {
		var gone conclave.Agent
		err = errors.Join(err, p.faces.call(ctx, faceREST, "agent_forget", conclave.NameAgent{Name: conclave.AgentName(agent)}, &gone))
	}
	return err
}

// do calls an operation: the one under proof through the scene's face, any other
// through REST.
func (s *scene) do(ctx context.Context, op string, in, out any) error {
	if op == s.op {
		return s.faces.call(ctx, s.face, op, in, out)
	}
	if err := s.faces.call(ctx, faceREST, op, in, out); err != nil {
		return earlier{op, err}
	}
	return nil
}

// until looks again and again, until what is looked for is there.
func (s *scene) until(ctx context.Context, what string, look func() (bool, error)) error {
	return until(ctx, s.Patience, what, look)
}

func until(ctx context.Context, patience time.Duration, what string, look func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		found, err := look()
		if found || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not happen", what)
		case <-again.C:
		}
	}
}

// same reports how two values differ.
func same(what string, got, want any) error {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		return fmt.Errorf("%s is %q; by the other path it is %q", what, g, w)
	}
	return nil
}

func hashOf(v any) (string, error) { return identity.Hash(v) }
