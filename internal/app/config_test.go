package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/modelrouter"
)

func load(t *testing.T, env map[string]string) (Config, error) {
	t.Helper()
	env["CONCLAVE_HOME"] = "/nowhere"
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	return Load(func(name string) string { return env[name] }, environ)
}

// The files in config/ show the defaults: using them changes nothing.
func TestConfigFilesAreTheDefaults(t *testing.T) {
	plain, err := load(t, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	filed, err := load(t, map[string]string{"CONCLAVE_CONFIG": "../../config"})
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"agent_pool.size", "agent_pool.distribution", "collaboration.consensus_threshold", "collaboration.max_collaboration_time",
		"collaboration.mend_rounds", "collaboration.escalation_triggers.no_consensus_after", "speech.calls", "speech.max_hops", "speech.budget.messages", "speech.budget.tokens",
		"speech.budget.cost_usd", "speech.rate.per_second", "speech.rate.burst", "conversations.retention_days", "compliance.licences", "routing"} {
		if !strings.HasPrefix(filed.Sources[setting], "../../config/") {
			t.Errorf("%s is not in the files", setting)
		}
	}
	if !reflect.DeepEqual(filed.Pool, plain.Pool) {
		t.Errorf("agent_pool.yml says %+v, the default is %+v", filed.Pool, plain.Pool)
	}
	if filed.Rules != plain.Rules {
		t.Errorf("collaboration_rules.yml says %+v, the default is %+v", filed.Rules, plain.Rules)
	}
	if !slices.Equal(filed.Licences.Allow, plain.Licences.Allow) || len(filed.Licences.Deny)+len(filed.Licences.Modules) > 0 {
		t.Errorf("compliance_rules.yml says %+v, the default is %+v", filed.Licences, plain.Licences)
	}
	if !reflect.DeepEqual(filed.Speech, plain.Speech) {
		t.Errorf("collaboration_rules.yml says %+v, the default is %+v", filed.Speech, plain.Speech)
	}
	shown, err := os.ReadFile("../../config/routing_rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(shown, modelrouter.DefaultRules()) {
		t.Error("config/routing_rules.yml is not the file that is built in; copy internal/modelrouter/routing_rules.yml")
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		file, text string
		env        map[string]string
		says       string
	}{
		"key of the pool":     {"agent_pool.yml", "agent_pool:\n  sise: 3\n", nil, `"sise"; did you mean "size"?`},
		"key of the rules":    {"collaboration_rules.yml", "collaboration:\n  mend_round: 3\n", nil, `did you mean "mend_rounds"?`},
		"key of speech":       {"collaboration_rules.yml", "speech:\n  max_hop: 3\n", nil, `did you mean "max_hops"?`},
		"key of a call":       {"collaboration_rules.yml", "speech:\n  calls:\n    - {allow: true, from: [people], too: [x]}\n", nil, `did you mean "to"?`},
		"undecided call":      {"collaboration_rules.yml", "speech:\n  calls:\n    - {from: [people], to: [\"*\"]}\n", nil, "rule 1 of speech.calls: it does not say whether it allows"},
		"call from nobody":    {"collaboration_rules.yml", "speech:\n  calls:\n    - {allow: true, from: [planner], to: [\"*\"]}\n", nil, "roles/ROLE or agents/NAME"},
		"call to nobody":      {"collaboration_rules.yml", "speech:\n  calls:\n    - {allow: true, from: [people], to: [planner]}\n", nil, `want "*", roles/ROLE, skills/SKILL`},
		"scope":               {"collaboration_rules.yml", "speech:\n  calls:\n    - {allow: true, from: [people], to: [\"*\"], scopes: [speek]}\n", nil, `did you mean "speak"?`},
		"hops":                {"collaboration_rules.yml", "speech:\n  max_hops: 0\n", nil, "must be 1 to 100"},
		"budget":              {"collaboration_rules.yml", "speech:\n  budget: {messages: -1}\n", nil, "below 0"},
		"rate":                {"collaboration_rules.yml", "speech:\n  rate: {burst: 0}\n", nil, "burst 1 or more"},
		"retention":           {"collaboration_rules.yml", "conversations:\n  retention_days: -1\n", nil, "below 0"},
		"key of a route":      {"routing_rules.yml", "tier: {}\n", nil, `did you mean "tiers"?`},
		"key of compliance":   {"compliance_rules.yml", "compliance:\n  licenses: {}\n", nil, `did you mean "licences"?`},
		"licence":             {"compliance_rules.yml", "compliance:\n  licences:\n    deny: [GPL-3]\n", nil, `did you mean "GPL-3.0"?`},
		"licence on both":     {"compliance_rules.yml", "compliance:\n  licences:\n    deny: [MIT]\n", nil, "MIT is allowed and denied"},
		"type":                {"agent_pool.yml", "agent_pool:\n  size: three\n", nil, `line 2: agent_pool.size is "three"; it must be a whole number`},
		"value":               {"collaboration_rules.yml", "collaboration:\n  mend_rounds: 99\n", nil, "collaboration_rules.yml: mend rounds are 99"},
		"time":                {"collaboration_rules.yml", "collaboration:\n  escalation_triggers:\n    - no_consensus_after: -5\n", nil, "must be above 0"},
		"variable":            {env: map[string]string{"CONCLAVE_MODELS": "x"}, says: `did you mean "CONCLAVE_MODEL"?`},
		"silence":             {env: map[string]string{"CONCLAVE_MODEL_IDLE": "90"}, says: "such as 90s"},
		"silence of none":     {env: map[string]string{"CONCLAVE_MODEL_IDLE": "0s"}, says: "above 0"},
		"address with a port": {env: map[string]string{"CONCLAVE_ADVERTISE": "hub:8010"}, says: "without scheme and port"},
		"address of a page":   {env: map[string]string{"CONCLAVE_ADVERTISE": "http://hub"}, says: "without scheme and port"},
		"two kinds of token":  {env: map[string]string{"JWT_SECRET": "0123456789abcdef0123456789abcdef", "CONCLAVE_JWT_KEY": "/k.pem"}, says: "not both"},
		"keys to check only":  {env: map[string]string{"CONCLAVE_JWT_PUBLIC_KEYS": "/k.pub"}, says: "needs CONCLAVE_JWT_KEY"},
		"bus":                 {env: map[string]string{"CONCLAVE_BUS": "rabbit://here"}, says: `CONCLAVE_BUS: the bus can't be "rabbit"`},
		"topic of the bus":    {env: map[string]string{"CONCLAVE_BUS": "kafka://here:1"}, says: "kafka://HOST:PORT[,HOST:PORT]/TOPIC"},
		"consul":              {env: map[string]string{"CONSUL_HTTP_ADDR": "http://me:hunter2@here"}, says: "CONSUL_HTTP_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{}
			if tt.file != "" {
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
				env["CONCLAVE_CONFIG"] = dir
			}
			for name, value := range tt.env {
				env[name] = value
			}
			_, err := load(t, env)
			if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want one that says %s", err, tt.says)
			}
		})
	}
}

// What the environment says counts, then the files, then the defaults, and each
// setting tells where it came from.
func TestConfigSources(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"agent_pool.yml": "agent_pool:\n  size: 20\n  distribution:\n    developer: 3\n",
		"collaboration_rules.yml": "collaboration:\n  consensus_threshold: 0.6\n  max_collaboration_time: 90\n  mend_rounds: 1\n" +
			"  escalation_triggers:\n    - no_consensus_after: 60\n    - conflicting_recommendations: true\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := load(t, map[string]string{"CONCLAVE_CONFIG": dir, "AGENT_POOL_SIZE": "30", "GATEWAY_PORT": "9000", "CONCLAVE_HOSTS": "a.example,b.example",
		"CONCLAVE_PORTS": "auto", "DATABASE_URL": "sqlite:/other", "CONCLAVE_DATABASE_URL": "postgres://db/conclave", "CONCLAVE_TEST_ANYTHING": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Pool.Size != 30 || !reflect.DeepEqual(c.Pool.Distribution, map[conclave.Role]int{conclave.RoleDeveloper: 30}) {
		t.Errorf("pool %+v", c.Pool)
	}
	if r := c.Rules; r.Threshold != 0.6 || r.MaxTime != 90*time.Second || r.MendRounds != 1 || r.Escalate != time.Minute {
		t.Errorf("rules %+v", r)
	}
	if c.GatewayPort != 9000 || !c.AutoPorts || c.Database != "postgres://db/conclave" || !reflect.DeepEqual(c.Hosts, []string{"a.example", "b.example"}) {
		t.Errorf("config %+v", c)
	}
	if c.Sources["agent_pool.size"] != "AGENT_POOL_SIZE" || c.Sources["collaboration.mend_rounds"] != filepath.Join(dir, "collaboration_rules.yml") || c.Sources["database"] != "CONCLAVE_DATABASE_URL" {
		t.Errorf("sources %v", c.Sources)
	}
	plain, err := load(t, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	if plain.GatewayPort != 8080 || plain.Listen != "127.0.0.1" || plain.Brain != "auto" || plain.Database != "sqlite:/nowhere/conclave.db" || len(plain.Changed()) != 0 {
		t.Errorf("defaults %+v", plain)
	}
}

func TestConfigRefusesValues(t *testing.T) {
	for variable, value := range map[string]string{
		"CONCLAVE_CONFIG": "/nowhere", "CONCLAVE_LISTEN": "nowhere.invalid", "CONCLAVE_LOG": "loud", "MAX_CONCURRENT_COLLABORATIONS": "-1",
		"CONCLAVE_PORTS": "random", "CONCLAVE_BRAIN": "mine", "GATEWAY_PORT": "http", "AGENT_POOL_SIZE": "many", "VERIFICATION_CONSENSUS_THRESHOLD": "1.5",
		"CONCLAVE_RATE_CALLER": "often", "CONCLAVE_RATE_ADDRESS": "3/h", "CONCLAVE_ENCRYPT": "planner,,qa", "CONCLAVE_AGENT_NETWORKS": "10.0.0.0/8,lan",
	} {
		if _, err := load(t, map[string]string{variable: value}); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), variable+"=") {
			t.Errorf("%s=%s: %v", variable, value, err)
		}
	}
}

func TestGatewayPort(t *testing.T) {
	for port, says := range map[string]string{"-1": "1 to 65535", "99999": "1 to 65535", "8001": "the port of model-router"} {
		if _, err := load(t, map[string]string{"GATEWAY_PORT": port}); !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want one that says %s", port, err, says)
		}
	}
}

func TestHome(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"CONCLAVE_HOME": "/a", "XDG_DATA_HOME": "/b", "HOME": "/c"}, "/a"},
		{map[string]string{"XDG_DATA_HOME": "/b", "HOME": "/c"}, "/b/conclave"},
		{map[string]string{"HOME": "/c"}, "/c/.local/share/conclave"},
	} {
		if got, err := Home(func(name string) string { return tt.env[name] }); err != nil || got != tt.want {
			t.Errorf("with %v: %s, %v", tt.env, got, err)
		}
	}
	if _, err := Home(func(string) string { return "" }); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("without any: %v", err)
	}
}
