package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/council"
	"conclave/internal/identity"
)

// auditor is a security agent of somebody else's, with a signed card. It votes
// once, and holds every later question until it is stopped.
type auditor struct {
	t      *testing.T
	key    *identity.Key
	server *httptest.Server
	runner *a2awire.Runner
	held   chan struct{} // closed once it holds a question

	mu    sync.Mutex
	votes int
}

func startAuditor(t *testing.T) *auditor {
	t.Helper()
	key, err := identity.LoadOrCreate(t.TempDir(), "auditor")
	if err != nil {
		t.Fatal(err)
	}
	a := &auditor{t: t, key: key, held: make(chan struct{})}
	keys, err := identity.PublicKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys.json" {
			_, _ = w.Write(keys)
			return
		}
		handler.ServeHTTP(w, r.WithContext(conclave.WithCaller(r.Context(), conclave.Caller{Human: "somebody", Permissions: []conclave.Permission{conclave.PermitSpeak}})))
	}))
	a.runner = a2awire.NewRunner(a2awire.RunnerOptions{Name: "auditor", Handle: a.handle, Capacity: 4})
	handler = a2awire.NewServer(a2awire.ServerOptions{Tasks: a.runner,
		Card: func(*http.Request) (a2awire.Card, error) {
			return a2awire.Card{Name: "Auditor\x1b[31m", Description: "Looks for holes", Skills: []a2awire.Skill{{ID: "vote", Name: "Vote", Description: "Votes", Tags: []string{"security"}}}}, nil
		},
		Sign: func(_ *http.Request, payload []byte) (a2awire.CardSignature, error) {
			s, err := key.SignDetached(payload, a.server.URL+"/keys.json")
			return a2awire.CardSignature{Protected: s.Protected, Signature: s.Signature}, err
		}})
	t.Cleanup(a.stop)
	return a
}

// stop breaks every connection at once, as a machine that goes away.
func (a *auditor) stop() {
	a.server.CloseClientConnections()
	a.server.Close()
	a.runner.Close()
}

func (a *auditor) handle(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
	var asked conclave.Assignment
	if err := json.Unmarshal(in.Data, &asked); err != nil || asked.Motion == nil {
		return a2awire.Outgoing{}, conclave.Errorf(conclave.ErrInvalid, "this is no vote")
	}
	a.mu.Lock()
	a.votes++
	n := a.votes
	a.mu.Unlock()
	if n > 1 {
		if n == 2 {
			close(a.held)
		}
		<-ctx.Done()
		return a2awire.Outgoing{}, ctx.Err()
	}
	name, _ := in.Metadata[a2awire.MetaAgent].(string)
	role, _ := in.Metadata[a2awire.MetaRole].(string)
	b := conclave.Ballot{Motion: asked.Motion.ID, Round: asked.Motion.Round, Voter: conclave.AgentName(name), Role: conclave.Role(role), Subject: asked.Motion.Subject,
		Verdict: conclave.VerdictApprove, Reasons: []string{"I see no hole in it"}}
	if err := identity.SignBallot(a.key, &b); err != nil {
		return a2awire.Outgoing{}, err
	}
	data, err := json.Marshal(b)
	return a2awire.Outgoing{Text: "I approve.", Data: data}, err
}

// A foreign agent registers, is asked by its role in a real run, votes, and is
// stopped while it is asked again. The run ends well, with its vote.
func TestForeignAgentInARun(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program on a repository")
	}
	i := newInstallation(t)
	i.serve()
	a := startAuditor(t)

	if _, errs, code := i.conclave("agents", "register", a.server.URL, "--role", "security", "--trust"); code != exitFailed || !strings.Contains(errs, "inside this host's network") {
		t.Errorf("without --allow-private: exit code %d\n%s", code, errs)
	}
	out, errs, code := i.conclave("agents", "register", a.server.URL, "--role", "security", "--allow-private")
	if code != exitFailed || !strings.Contains(errs, "say --trust") || !strings.Contains(errs, "verified by ") || !strings.Contains(errs, "Looks for holes") || strings.Contains(errs, "\x1b") {
		t.Errorf("without --trust: exit code %d\n%s%s", code, out, errs)
	}
	var registered conclave.Agent
	i.mustJSON(&registered, "agents", "register", a.server.URL, "--name", "auditor", "--role", "security", "--allow-private", "--trust", "--capacity", "4")
	if registered.Name != "auditor" || registered.Role != "security" || registered.PublicKey != a.key.Public() || registered.Card == nil || registered.Card.Signature != conclave.CardVerified {
		t.Fatalf("registered as %+v", registered)
	}

	// Trust that is taken back, and given again.
	if out, errs, code := i.conclave("agents", "forget", "auditor"); code != exitDone || !strings.Contains(out, "auditor is removed") {
		t.Errorf("forgotten: exit code %d\n%s%s", code, out, errs)
	}
	if _, errs, code := i.conclave("agents", "forget", "auditor"); code != exitFailed || !strings.Contains(errs, `there is no agent "auditor"`) {
		t.Errorf("forgotten again: exit code %d\n%s", code, errs)
	}
	i.mustJSON(&registered, "agents", "register", a.server.URL, "--name", "auditor", "--role", "security", "--allow-private", "--trust", "--capacity", "4")

	repo := newRepo(t, map[string]string{"go.mod": "module example\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() { println(\"hello\") }\n"})
	done := make(chan string, 1)
	go func() {
		out, errs, code := i.conclave("run", "Create a command line tool that counts words", "--repo", repo, "--json")
		if code != exitDone {
			out = errs + out
		}
		done <- out
	}()
	select {
	case <-a.held:
	case said := <-done:
		t.Fatalf("the run ended before the auditor was asked twice:\n%s", tail(said, 3000))
	case <-time.After(5 * time.Minute):
		t.Fatal("the auditor was not asked twice")
	}
	a.stop()
	<-done

	runs := i.runs()
	if len(runs) != 1 || runs[0].Status != conclave.RunDone {
		t.Fatalf("the runs are %+v", runs)
	}
	client, err := i.client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	motions, err := client.Council().List(t.Context(), conclave.ListMotions{Run: runs[0].ID})
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, m := range motions {
		if m.Decision == nil {
			t.Errorf("motion %s has no decision", m.Motion.ID)
			continue
		}
		if err := council.Verify(*m.Decision); err != nil {
			t.Errorf("decision of %s: %v", m.Motion.ID, err)
		}
		if slices.ContainsFunc(m.Decision.Ballots, func(b conclave.Ballot) bool { return b.Voter == "auditor" && b.PublicKey == a.key.Public() }) {
			counted++
		}
	}
	if counted != 1 {
		t.Errorf("%d votes of the auditor were counted, of %d decisions; want its one", counted, len(motions))
	}
}
