package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

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
		"collaboration.mend_rounds", "collaboration.escalation_triggers.no_consensus_after", "routing"} {
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
		"key of the pool":  {"agent_pool.yml", "agent_pool:\n  sise: 3\n", nil, `"sise"; did you mean "size"?`},
		"key of the rules": {"collaboration_rules.yml", "collaboration:\n  mend_round: 3\n", nil, `did you mean "mend_rounds"?`},
		"key of a route":   {"routing_rules.yml", "tier: {}\n", nil, `did you mean "tiers"?`},
		"variable":         {env: map[string]string{"CONCLAVE_MODELS": "x"}, says: "did you mean CONCLAVE_MODEL?"},
		"silence":          {env: map[string]string{"CONCLAVE_MODEL_IDLE": "90"}, says: "such as 90s"},
		"silence of none":  {env: map[string]string{"CONCLAVE_MODEL_IDLE": "0s"}, says: "above 0"},
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
			if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want one that says %s", err, tt.says)
			}
		})
	}
}
