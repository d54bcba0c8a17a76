package agentpool_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/agent"
	"conclave/internal/agentpool"
	"conclave/internal/identity"
)

// secretly gives agents keys, and has them encrypt.
func secretly(dir string, e agentpool.Encryption, keys map[conclave.AgentName]*identity.SecretKey) func(*agentpool.Options) {
	return func(o *agentpool.Options) {
		o.Encrypt = e
		o.Secret = func(name conclave.AgentName) (*identity.SecretKey, error) {
			k, err := identity.LoadOrCreateSecret(dir, string(name))
			if keys != nil {
				keys[name] = k
			}
			return k, err
		}
	}
}

// everything is all that the hub keeps, as text.
func (h *house) everything(t *testing.T) string {
	t.Helper()
	msgs, err := h.hub.Messages(human(t.Context()), conclave.ListMessages{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{msgs, h.store.Events()})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAgentsAskInSecret(t *testing.T) {
	const question, answer = "the question is 4711", "the answer is 0815"
	for name, tt := range map[string]struct {
		encrypt agentpool.Encryption
		to      string
		secret  bool
	}{
		"off":                  {agentpool.Encryption{}, "agents/architect-1", false},
		"another role's":       {agentpool.Encryption{Roles: []conclave.Role{conclave.RoleQA}}, "agents/architect-1", false},
		"on, one agent":        {agentpool.Encryption{All: true}, "agents/architect-1", true},
		"on, a role of two":    {agentpool.Encryption{All: true}, "roles/architect", true},
		"for the asker's role": {agentpool.Encryption{Roles: []conclave.Role{conclave.RolePlanner}}, "agents/architect-2", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h := startWith(t, agentpool.Defaults(), func(ctx context.Context, r agent.Request) (agent.Reply, error) {
					if r.Agent.Role == conclave.RoleArchitect {
						if r.Assignment.Task != question {
							return agent.Reply{}, fmt.Errorf("asked %q", r.Assignment.Task)
						}
						return agent.Reply{Text: answer}, nil
					}
					said, err := r.Ask(ctx, tt.to, question)
					if err != nil || said != answer {
						return agent.Reply{}, fmt.Errorf("was told %q: %w", said, err)
					}
					return agent.Reply{Text: "I know."}, nil
				}, secretly(dir, tt.encrypt, nil), conclave.ServicePool)
				task := h.ask(t, conclave.SendMessage{To: "agents/planner-1", Text: "Find out."})
				if task.Text != "I know." {
					t.Fatalf("got %+v", task)
				}
				kept := h.everything(t)
				for _, text := range []string{question, answer} {
					if strings.Contains(kept, text) == tt.secret {
						t.Errorf("%q is kept by the hub: %t, want %t", text, !tt.secret, !tt.secret)
					}
				}
				if strings.Contains(kept, "(encrypted)") != tt.secret {
					t.Errorf("the conversation is shown as %s", kept)
				}
			})
		})
	}
}

// A role that encrypts sends nothing in clear to who can't read it.
func TestNoKeyNoSecret(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := startWith(t, agentpool.Defaults(), func(ctx context.Context, r agent.Request) (agent.Reply, error) {
			_, err := r.Ask(ctx, "agents/stranger", "the question is 4711")
			return agent.Reply{Text: fmt.Sprint(conclave.KindOf(err), ": ", conclave.Text(err))}, nil
		}, secretly(dir, agentpool.Encryption{All: true}, nil), conclave.ServicePool)
		if _, err := h.hub.Register(human(t.Context()), conclave.RegisterAgent{Agent: conclave.Agent{Name: "stranger", Role: "guest", URL: "http://127.0.0.1:1/"}}); err != nil {
			t.Fatal(err)
		}
		task := h.ask(t, conclave.SendMessage{To: "agents/planner-1", Text: "Find out."})
		if !strings.HasPrefix(task.Text, "denied") || !strings.Contains(task.Text, "not sent in clear") {
			t.Errorf("the planner was told %q", task.Text)
		}
		if kept := h.everything(t); strings.Contains(kept, "4711") {
			t.Errorf("kept in clear: %s", kept)
		}
	})
}

// Anybody who speaks A2A can ask in secret; what was meant for another, says
// nothing, or gives out work behind the hub's back is refused.
func TestSecretFromOutside(t *testing.T) {
	dir := t.TempDir()
	mine, err := identity.LoadOrCreateSecret(dir, "outsider")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		keys := map[conclave.AgentName]*identity.SecretKey{}
		asked := 0
		h := startWith(t, agentpool.Defaults(), func(_ context.Context, r agent.Request) (agent.Reply, error) {
			if asked++; strings.Contains(r.Assignment.Task, "fail") {
				return agent.Reply{}, conclave.Errorf(conclave.ErrUnsupported, "can't answer %q", r.Assignment.Task)
			}
			return agent.Reply{Text: "heard " + r.Assignment.Task}, nil
		}, secretly(dir, agentpool.Encryption{}, keys), conclave.ServicePool)
		send := func(to conclave.AgentName, inner string, key string) conclave.Task {
			t.Helper()
			jwe, err := identity.Encrypt([]byte(inner), key)
			if err != nil {
				t.Fatal(err)
			}
			return h.ask(t, conclave.SendMessage{To: "agents/" + string(to), Text: "(encrypted)", Data: json.RawMessage(`{"jwe":` + string(jwe) + `}`)})
		}
		reply := `,"reply_to":"` + mine.Public() + `"}`
		task := send("architect-1", `{"to":"agents/architect-1","text":"4711"`+reply, keys["architect-1"].Public())
		var out struct{ JWE json.RawMessage }
		if err := json.Unmarshal(task.Reply, &out); err != nil || task.Text != "(encrypted)" {
			t.Fatalf("got %+v, %v", task, err)
		}
		if plain, err := mine.Decrypt(out.JWE); err != nil || !strings.Contains(string(plain), "heard 4711") {
			t.Errorf("the answer is %s, %v", plain, err)
		}
		before := asked
		for name, tt := range map[string]struct{ inner, key, says string }{
			"for another's key":    {`{"to":"agents/architect-1","text":"x"` + reply, keys["architect-2"].Public(), "denied"},
			"to another":           {`{"to":"agents/architect-2","text":"x"` + reply, keys["architect-1"].Public(), "denied"},
			"no message":           {`[]`, keys["architect-1"].Public(), "invalid"},
			"no key for an answer": {`{"to":"agents/architect-1","text":"x"}`, keys["architect-1"].Public(), "invalid"},
			"work in a folder":     {`{"to":"agents/architect-1","text":"x","data":{"kind":"build","worktree":"/tmp"}` + reply, keys["architect-1"].Public(), "denied"},
		} {
			if task := send("architect-1", tt.inner, tt.key); task.State != conclave.TaskFailed || !strings.HasPrefix(task.Error, tt.says) {
				t.Errorf("%s: %+v", name, task)
			}
		}
		if asked != before {
			t.Error("the agent thought about what it must refuse")
		}
		if task := send("architect-1", `{"to":"roles/architect","text":"fail 4711"`+reply, keys["architect-1"].Public()); strings.Contains(task.Error, "4711") || !strings.HasPrefix(task.Error, "unsupported") {
			t.Errorf("a failure is told as %q", task.Error)
		}
		if kept := h.everything(t); strings.Contains(kept, "4711") {
			t.Errorf("kept in clear: %s", kept)
		}
		agents, err := h.hub.Agents(human(t.Context()), conclave.ListAgents{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range agents {
			if raw, err := base64.StdEncoding.DecodeString(a.EncryptionKey); err != nil || len(raw) != 32 {
				t.Errorf("%s publishes %q", a.Name, a.EncryptionKey)
			}
		}
	})
}

// A role whose file does not grant it asks nobody, whatever thinks for it.
func TestToolsBindAnAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startWith(t, agentpool.Defaults(), func(_ context.Context, r agent.Request) (agent.Reply, error) {
			return agent.Reply{Text: fmt.Sprint("may ask: ", r.Ask != nil)}, nil
		}, func(o *agentpool.Options) {
			for i := range o.Specs {
				if o.Specs[i].Role == conclave.RolePlanner {
					o.Specs[i].Tools = []string{"read"}
				}
			}
		}, conclave.ServicePool)
		for to, want := range map[string]string{"agents/planner-1": "may ask: false", "agents/architect-1": "may ask: true"} {
			if task := h.ask(t, conclave.SendMessage{To: to, Text: "May you?"}); task.Text != want {
				t.Errorf("%s: %q, want %q", to, task.Text, want)
			}
		}
	})
}

func TestParseEncryption(t *testing.T) {
	for text, role := range map[string]conclave.Role{"on": "anything", "planner,security": conclave.RoleSecurity, "planner": conclave.RolePlanner} {
		if e, err := agentpool.ParseEncryption(text); err != nil || !e.Of(role) || text != "on" && e.Of("anything") || e.String() != text {
			t.Errorf("%q is %+v, %v", text, e, err)
		}
	}
	if e, err := agentpool.ParseEncryption("off"); err != nil || e.Of("planner") || e.String() != "off" {
		t.Errorf("off is %+v, %v", e, err)
	}
	if _, err := agentpool.ParseEncryption("planner,,"); err == nil {
		t.Error("an empty role is taken")
	}
	if _, err := agentpool.New(agentpool.Options{Service: conclave.ServicePool, Encrypt: agentpool.Encryption{All: true}}); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("without keys: %v", err)
	}
}

// An agent of somebody else's whose card gives a key is asked in secret too, and
// its answer in clear is not taken.
func TestForeignAgentIsAskedInSecret(t *testing.T) {
	const question, answer = "the question is 4711", "the answer is 0815"
	dir := t.TempDir()
	theirs, err := identity.LoadOrCreateSecret(dir, "stranger")
	if err != nil {
		t.Fatal(err)
	}
	for _, concealed := range []bool{true, false} {
		t.Run(fmt.Sprint("it answers in secret: ", concealed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startWith(t, agentpool.Defaults(), func(ctx context.Context, r agent.Request) (agent.Reply, error) {
					said, err := r.Ask(ctx, "agents/stranger", question)
					return agent.Reply{Text: fmt.Sprint(said == answer, " ", conclave.KindOf(err))}, nil
				}, secretly(dir, agentpool.Encryption{All: true}, nil), conclave.ServicePool)
				handler, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{Card: a2awire.Card{Name: "stranger", EncryptionKey: theirs.Public()}, Permission: conclave.PermitService,
					Handle: func(_ context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
						var got struct{ JWE json.RawMessage }
						var asked struct {
							To, Text string
							ReplyTo  string `json:"reply_to"`
						}
						plain, err := []byte(nil), json.Unmarshal(in.Data, &got)
						if err == nil {
							plain, err = theirs.Decrypt(got.JWE)
						}
						if err == nil {
							err = json.Unmarshal(plain, &asked)
						}
						if err != nil || asked.To != "agents/stranger" || asked.Text != question || in.Text != "(encrypted)" {
							t.Errorf("it was asked %q, %s, %v", in.Text, plain, err)
						}
						if !concealed {
							return a2awire.Outgoing{Text: answer}, nil
						}
						jwe, err := identity.Encrypt([]byte(`{"to":"reply","text":"`+answer+`"}`), asked.ReplyTo)
						return a2awire.Outgoing{Text: "(encrypted)", Data: json.RawMessage(`{"jwe":` + string(jwe) + `}`)}, err
					}})
				t.Cleanup(runner.Close)
				h.local.Serve("stranger", handler)
				if _, err := h.hub.Register(human(t.Context()), conclave.RegisterAgent{Agent: conclave.Agent{Name: "stranger", Role: "guest", URL: "local://stranger", EncryptionKey: theirs.Public()}}); err != nil {
					t.Fatal(err)
				}
				task := h.ask(t, conclave.SendMessage{To: "agents/planner-1", Text: "Find out."})
				want := "true <nil>"
				if !concealed {
					want = "false denied"
				}
				if task.Text != want {
					t.Errorf("the planner says %q, want %q", task.Text, want)
				}
				kept := h.everything(t)
				if strings.Contains(kept, question) || concealed && strings.Contains(kept, answer) {
					t.Errorf("kept in clear: %s", kept)
				}
			})
		})
	}
}
