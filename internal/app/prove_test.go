package app_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/evidence"
	"conclave/internal/identity"
	"conclave/internal/prove"
	"conclave/internal/restwire"
	"conclave/internal/sandbox"
)

var update = flag.Bool("update", false, "write docs/proofs.md")

// The sandbox and the analysers start this program again.
func TestMain(m *testing.M) {
	sandbox.Child() // does not return in a process that the sandbox started
	if len(os.Args) > 1 && os.Args[1] == evidence.Worker {
		os.Exit(evidence.AnalyseMain(os.Args[2:], os.Stdout))
	}
	os.Exit(m.Run())
}

// proved is a stack to prove, in this process, one operation of which can be
// made empty.
type proved struct {
	options prove.Options
	empty   atomic.Pointer[string]
}

// emptied is a success of the right shape that does nothing.
func emptied(op conclave.Operation) any {
	if op.Out.Kind() == reflect.Slice {
		return reflect.MakeSlice(op.Out, 0, 0).Interface()
	}
	return reflect.Zero(op.Out).Interface()
}

func startProved(t *testing.T) *proved {
	t.Helper()
	provider, err := prove.StartProvider()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Close)
	home := filepath.Join(t.TempDir(), "home")
	env := map[string]string{"CONCLAVE_HOME": home, "CONCLAVE_PORTS": "auto", "CONCLAVE_BRAIN": "offline", "OPENAI_BASE_URL": provider.URL, "OPENAI_API_KEY": "prove", "CONCLAVE_MODEL": provider.Model}
	getenv := func(name string) string { return env[name] }
	config, err := app.Load(getenv, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &proved{}
	a, err := app.New(t.Context(), app.Options{Config: config, Getenv: getenv, Logger: slog.New(slog.DiscardHandler),
		Between: func(op conclave.Operation) conclave.Operation {
			real := op
			return op.Instead(func(ctx context.Context, service, in any) (any, error) {
				if name := p.empty.Load(); name != nil && *name == op.Name {
					return emptied(op), nil
				}
				return real.Call(ctx, service, in)
			})
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- a.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	secret, err := identity.LoadSecret(home)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := identity.NewTokens(secret)
	if err != nil {
		t.Fatal(err)
	}
	client := restwire.Dial(restwire.DialOptions{Base: "http://127.0.0.1:1"})
	p.options = prove.Options{Tables: app.Tables(client), Addresses: a.URLs(), Caller: app.LocalCaller(getenv), Database: config.Database, Provider: provider,
		Token: func(c conclave.Caller) (string, error) { return tokens.Mint(c, time.Hour) }}
	return p
}

// silenced answers one path with a stream that ends without an event, which is
// the empty success of an operation that streams.
type silenced struct{ path string }

func (s silenced) RoundTrip(r *http.Request) (*http.Response, error) {
	if ok, err := path.Match(wildcard.ReplaceAllString(s.path, "*"), strings.TrimPrefix(r.URL.Path, "/api")); err != nil || !ok {
		return http.DefaultTransport.RoundTrip(r)
	}
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: http.NoBody, Request: r}, nil
}

var wildcard = regexp.MustCompile(`{[a-z_]+}`)

// Every operation is proved through every face, and every proof fails when its
// operation succeeds without doing anything. docs/proofs.md lists them.
func TestProofsNoticeEmptyOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("plays every proof twice")
	}
	p := startProved(t)
	results, err := prove.Prove(t.Context(), p.options)
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]string{}
	for _, r := range results {
		checked[r.What] = r.CheckedBy
		if r.Result != prove.Pass {
			t.Errorf("%s through %s: %s, %s", r.What, r.Face, r.Result, r.Reason)
		}
	}
	if t.Failed() {
		return
	}
	var doc strings.Builder
	doc.WriteString("# What `conclave prove` checks\n\nEach operation is called through each of its faces, and its effect is looked up by another path than the reply. " +
		"The last column says through which faces the proof fails when the operation is replaced by an empty success of the right shape: a test plays that for each. " +
		"Make targets are proved too; `bin/conclave prove` beside the Makefile lists them.\n\n| operation | checked by | proved through | an empty success fails through |\n|---|---|---|---|\n")
	o := p.options
	o.Patience = 3 * time.Second
	for _, table := range o.Tables {
		for _, op := range table.Operations {
			through := "rest, mcp, a2a"
			if op.Effect == conclave.Streams {
				through = "rest"
				o.Transport = silenced{op.Path()}
			}
			name := op.Name
			p.empty.Store(&name)
			o.Only = []string{op.Name}
			results, err := prove.Prove(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			p.empty.Store(nil)
			o.Transport = nil
			var noticed []string
			for _, r := range results {
				if r.Result == prove.Fail && !strings.Contains(r.Reason, "could not be tried") {
					noticed = append(noticed, r.Face)
				} else {
					t.Errorf("%s, emptied, through %s: %s, %s", op.Name, r.Face, r.Result, r.Reason)
				}
			}
			fmt.Fprintf(&doc, "| `%s` | %s | %s | %s |\n", op.Name, checked[op.Name], through, strings.Join(noticed, ", "))
		}
	}
	file := filepath.Join("..", "..", "docs", "proofs.md")
	if *update {
		if err := os.WriteFile(file, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != doc.String() {
		t.Errorf("docs/proofs.md is not what was proved (%v); go test ./internal/app -run Proofs -update writes it", err)
	}
}
