package hub_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
	"conclave/internal/identity"
)

// sdks are the folders of the official SDKs: CONCLAVE_TEST_A2AJS holds
// node_modules with @a2a-js/sdk and express, CONCLAVE_TEST_A2APY is a Python that
// has a2a-sdk and uvicorn.
type sdks struct{ node, js, python string }

func needSDKs(t *testing.T) sdks {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		skipOutsideCI(t, "node is not installed")
	}
	s := sdks{node, os.Getenv("CONCLAVE_TEST_A2AJS"), os.Getenv("CONCLAVE_TEST_A2APY")}
	if s.js == "" || s.python == "" {
		skipOutsideCI(t, "CONCLAVE_TEST_A2AJS names no folder with @a2a-js/sdk and express, or CONCLAVE_TEST_A2APY no Python with a2a-sdk and uvicorn")
	}
	if _, err := os.Stat(filepath.Join(s.js, "node_modules", "express")); err != nil {
		skipOutsideCI(t, "express is not in the folder that CONCLAVE_TEST_A2AJS names")
	}
	return s
}

// counters starts an agent of examples/agents, which speaks one version of the
// protocol only when that is not empty.
func (s sdks) counter(t *testing.T, language, version string) (url string) {
	t.Helper()
	root := filepath.Join("..", "..", "examples", "agents")
	var cmd *exec.Cmd
	switch language {
	case "go":
		program := filepath.Join(t.TempDir(), "counter")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "../../examples/agents/go").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		cmd = exec.Command(program)
	case "js":
		cmd = exec.Command(s.node, filepath.Join(root, "js", "agent.mjs"))
	case "python":
		cmd = exec.Command(s.python, filepath.Join(root, "python", "agent.py"))
	}
	cmd.Env = append(os.Environ(), "NODE_MODULES_AT="+s.js, "A2A_PROTOCOL_VERSION="+version)
	if version == "" {
		cmd.Env = append(os.Environ(), "NODE_MODULES_AT="+s.js)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended by itself when this fails
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the agent in %s said:\n%s", language, complaints.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening at ")
	if err != nil || !ok {
		t.Fatalf("the agent in %s printed %q, %v\n%s", language, line, err, complaints.String())
	}
	return url
}

// published serves the hub as the program does: its A2A face and its keys.
func published(t *testing.T, n *network, key *identity.Key) (url, token string) {
	t.Helper()
	tokens, err := identity.NewTokens(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if token, err = tokens.Mint(conclave.Caller{Tenant: conclave.DefaultTenant, Human: "ada", Permissions: identity.HumanPermissions("operator")}, time.Hour); err != nil {
		t.Fatal(err)
	}
	keys, err := identity.PublicKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(keys)
	})
	authenticate := identity.Authenticate(tokens)
	mux.HandleFunc("/a2a/", func(w http.ResponseWriter, r *http.Request) {
		if caller, err := authenticate(r); err == nil {
			r = r.WithContext(conclave.WithCaller(r.Context(), caller))
		}
		n.hub.ServeHTTP(w, r)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL, token
}

// Agents and clients on the official SDKs, each in both versions of the protocol,
// talk through the hub.
func TestOfficialSDKs(t *testing.T) {
	s := needSDKs(t)
	for _, language := range []string{"go", "js", "python"} {
		for _, version := range []string{"1.0", "0.3"} {
			t.Run(language+" agent "+version, func(t *testing.T) {
				key := newKey(t)
				n := connect(t, hub.NewMemory(nil), guarded, signing(key))
				url := s.counter(t, language, version)
				a, err := n.adopt(conclave.AdoptAgent{URL: url, Private: true, Name: "counter", Role: "clerk", Capacity: 16})
				if err != nil {
					t.Fatal(err)
				}
				if a.Card.Signature != conclave.CardVerified || a.PublicKey == "" || a.Card.Interfaces[0].Version != version {
					t.Fatalf("it is registered as %+v, its card as %+v", a, a.Card)
				}
				n.votes(a)
				face, token := published(t, n, key)
				at := face + "/a2a/agents/counter"
				var clients sync.WaitGroup
				for client, cmd := range map[string]*exec.Cmd{
					"js":     exec.CommandContext(t.Context(), s.node, "testdata/sdk.mjs", s.js, at, token),
					"python": exec.CommandContext(t.Context(), s.python, "testdata/sdk.py", at, token),
				} {
					clients.Go(func() {
						out, err := cmd.CombinedOutput()
						if err != nil || strings.Count(string(out), "ok ") != 5 {
							t.Errorf("%s client: %v, and four interfaces and a signature were to be tried:\n%s", client, err, out)
						}
					})
				}
				clients.Wait()
			})
		}
	}
}

// votes asks an agent for a ballot, which must be its own.
func (n *network) votes(a conclave.Agent) {
	n.t.Helper()
	motion := conclave.Motion{ID: "motion-1", Round: 2, Kind: conclave.MotionApprove, Title: "Ship it?", Subject: conclave.Subject{Kind: "tree", ID: "t", Hash: "sha256:äöü \"<&>"}}
	data, err := json.Marshal(conclave.Assignment{Kind: conclave.AssignVote, Motion: &motion})
	if err != nil {
		n.t.Fatal(err)
	}
	task := n.wait(n.send(as(n.t.Context(), "ada"), conclave.SendMessage{To: "roles/" + string(a.Role), Kind: conclave.AssignVote, Text: "Please vote.", Data: data}).ID)
	var b conclave.Ballot
	if err := json.Unmarshal(task.Reply, &b); err != nil {
		n.t.Fatalf("the answer to a vote is %+v: %v", task, err)
	}
	if err := identity.VerifyBallot(b); err != nil || b.PublicKey != a.PublicKey || b.Voter != a.Name || b.Role != a.Role || b.Subject != motion.Subject || b.Round != 2 {
		n.t.Errorf("the ballot is %+v, %v", b, err)
	}
	b.Verdict = conclave.VerdictReject
	if err := identity.VerifyBallot(b); !errors.Is(err, conclave.ErrDenied) {
		n.t.Errorf("an altered ballot: %v", err)
	}
}
