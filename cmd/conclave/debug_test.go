package main

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"conclave/internal/bus"
	"conclave/internal/bustest"
	"conclave/internal/store"
)

// What does not concern the engine in use says which one is, and what to do.
func TestDebugOnMemory(t *testing.T) {
	i := newInstallation(t)
	if _, errs, code := i.conclave("debug", "bus"); code == 0 || !strings.Contains(errs, "does not run here") {
		t.Errorf("with nothing running: exit code %d, %s", code, errs)
	}
	if _, errs, code := i.conclave("debug", "database"); code == 0 || !strings.Contains(errs, "conclave serve") {
		t.Errorf("without a database: exit code %d, %s", code, errs)
	}
	s := i.serve()
	defer s.stop(t)
	for _, name := range []string{"redis-keys", "redis-monitor", "kafka-console"} {
		engine, _, _ := strings.Cut(name, "-")
		_, errs, code := i.conclave("debug", name)
		if code != exitFailed || !strings.Contains(errs, "the bus is memory, not "+engine) || !strings.Contains(errs, "conclave debug bus") || strings.Count(errs, "\n") != 1 {
			t.Errorf("debug %s: exit code %d, %s", name, code, errs)
		}
	}
	var b struct {
		State     *bus.State
		Processes []busProcess
	}
	i.mustJSON(&b, "debug", "bus")
	if b.State != nil || len(b.Processes) != 1 || b.Processes[0].Figures.Watchers == 0 {
		t.Errorf("one process on memory is %+v", b)
	}
	var d store.State
	i.mustJSON(&d, "debug", "database")
	if d.Engine != "sqlite" || len(d.Tables) < 10 || d.Migration < 1 {
		t.Errorf("the database is %+v", d)
	}
}

// On Redis the keys are shown, and what is sent while somebody looks.
func TestDebugOnRedis(t *testing.T) {
	i := newInstallation(t)
	i.env["CONCLAVE_BUS"] = bustest.URL(t, "redis")
	s := i.serve()
	defer s.stop(t)
	i.awaitHealths("ready")

	monitor := exec.CommandContext(t.Context(), program(t), "debug", "redis-monitor", "--json")
	monitor.Env = i.environ(nil)
	out, err := monitor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := monitor.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = monitor.Process.Kill() // its work is done
		_ = monitor.Wait()
	}()
	if says := bufio.NewScanner(errs); !says.Scan() || !strings.Contains(says.Text(), "following") {
		t.Fatalf("the monitor says %q", says.Text())
	}
	repo := crashRepo(t)
	if _, errs, code := i.conclave("run", crashTask, "--repo", repo); code != 0 && code != exitWaits {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	run := i.runs()[0].ID
	lines := bufio.NewScanner(out)
	for found := false; !found; {
		if !lines.Scan() {
			t.Fatal("the monitor ended before it showed a note of the run")
		}
		var m bus.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		found = strings.Contains(m.Text, string(run)) && m.Position != ""
	}
	var keys bus.State
	i.mustJSON(&keys, "debug", "redis-keys")
	ours := 0
	for _, k := range keys.Items {
		if k.Ours && k.Kind == "stream" && *k.Length > 0 {
			ours++
		}
	}
	if ours != 1 {
		t.Errorf("%d keys are ours: %+v", ours, keys)
	}
	if _, errs, code := i.conclave("debug", "kafka-console"); code != exitFailed || !strings.Contains(errs, "the bus is redis, not kafka") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}
