package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/insight"
)

// Before anything was measured the commands say so, and change nothing.
func TestFiguresOfNothing(t *testing.T) {
	i := newInstallation(t)
	config := t.TempDir()
	i.env["CONCLAVE_CONFIG"] = config
	rules := "collaboration:\n  consensus_threshold: 0.75 # ours\n"
	if err := os.WriteFile(filepath.Join(config, "collaboration_rules.yml"), []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	i.serve()
	var metrics []conclave.KeyMetric
	i.mustJSON(&metrics, "analytics", "metrics")
	for _, m := range metrics {
		if m.Name != "agent_utilization_ratio" && (m.Value != nil || m.Met != nil) {
			t.Errorf("%s has a value before anything happened: %+v", m.Name, m)
		}
	}
	var agents []struct {
		Name  string
		Trust *float64
	}
	i.mustJSON(&agents, "agents")
	if len(agents) == 0 || agents[0].Trust != nil {
		t.Errorf("agents %+v, want some, without trust", agents)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"analytics", "metrics"}, 0, "Escalation rate        –"},
		{[]string{"analytics", "collaboration"}, 0, "success              –"},
		{[]string{"analytics", "consensus"}, 0, "reached in time        –"},
		{[]string{"agents"}, 0, "0/16  –"},
		{[]string{"agents", "performance"}, 0, "planner-1"},
		{[]string{"agents", "load"}, 0, "delivery  0        –"},
		{[]string{"tune", "agents"}, 0, "0 tasks ended in the last 168 hours: that is too little to go by; 50 are needed; nothing is proposed"},
		{[]string{"tune", "consensus", "--apply"}, 0, "that is too little to go by"},
		{[]string{"analytics", "metrics", "--hours", "9000"}, 2, "hours is 9000; it must be 1 to 2160"},
		{[]string{"analytics", "metrics", "--hours", "soon"}, 2, "soon"},
	} {
		stdout, stderr, code := i.conclave(tt.args...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("conclave %s: exit code %d, want %d with %q:\n%s%s", strings.Join(tt.args, " "), code, tt.code, tt.want, stdout, stderr)
		}
	}
	i.env["VERIFICATION_CONSENSUS_THRESHOLD"] = "0.9"
	if _, stderr, code := i.conclave("tune", "consensus"); code == 0 || !strings.Contains(stderr, "goes before the file") {
		t.Errorf("with the variable set: exit code %d, %s", code, stderr)
	}
	if text, err := os.ReadFile(filepath.Join(config, "collaboration_rules.yml")); err != nil || string(text) != rules {
		t.Errorf("the file was changed: %q, %v", text, err)
	}
}

// A proposal is shown as a diff, and written only when it is to be applied.
func TestPropose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent_pool.yml")
	old := "# ours\nagent_pool:\n  distribution:\n    qa: 2 # testers\n    developer: 4\n"
	if err := os.WriteFile(path, []byte(old), 0o640); err != nil {
		t.Fatal(err)
	}
	load := conclave.LoadStats{Hours: 24, Roles: []conclave.RoleLoad{{Role: "qa", BusySeconds: 90, Tasks: 60}, {Role: "developer", BusySeconds: 30}}}
	now := map[conclave.Role]int{"qa": 2, "developer": 4}
	for _, apply := range []bool{false, true} {
		var out strings.Builder
		c := &cli{stdout: &out}
		if err := c.propose(insight.TuneAgents(now, load), path, filepath.Dir(path), apply); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"-    qa: 2 # testers", "+    qa: 4 # testers", "-    developer: 4", "+    developer: 2", "# qa was busy for 90.0 s"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in\n%s", want, out.String())
			}
		}
		want := old
		if apply {
			want = "# ours\nagent_pool:\n  distribution:\n    qa: 4 # testers\n    developer: 2\n"
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("apply %v: the file is\n%s%v", apply, text, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
