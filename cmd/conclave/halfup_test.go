package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/pgtest"
)

// While some services of an installation do not run, each command that needs one
// says so in one line and fails, the others work, and nobody starts a second
// installation beside it.
func TestHalfUp(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two processes")
	}
	i := newInstallation(t)
	i.env["CONCLAVE_DATABASE_URL"] = pgtest.URL(t)
	front := i.start(program(t), nil, string(conclave.ServiceGateway))
	council := i.start(program(t), nil, string(conclave.ServiceCouncil))
	front.awaitReady(t)
	council.awaitReady(t)
	repo := newRepo(t, map[string]string{"a.txt": "a\n"})

	var list []serviceStatus
	out, errs, code := i.conclave("status")
	if code != exitFailed || !strings.Contains(out, "a2a-hub                     –") || !strings.Contains(out, "does not run (start it with conclave serve a2a-hub)") {
		t.Errorf("status: exit code %d\n%s%s", code, out, errs)
	}
	i.mustJSON(&list, "status", "--here")
	if len(list) != 2 {
		t.Errorf("status --here lists %+v", list)
	}
	for command, service := range map[string]conclave.Service{
		"agents": conclave.ServiceHub, "messages": conclave.ServiceHub, "messages dead": conclave.ServiceHub, "conversation": conclave.ServiceHub, "topic list": conclave.ServiceHub,
		"agents register --type developer --name zoe": conclave.ServiceHub,
		"runs": conclave.ServiceWorkflow, "run x --repo " + repo: conclave.ServiceWorkflow, "plan x --repo " + repo: conclave.ServiceWorkflow,
		"review --repo " + repo: conclave.ServiceWorkflow, "approve": conclave.ServiceWorkflow, "approve x": conclave.ServiceWorkflow,
		"worktrees": conclave.ServiceWorktree, "route explain": conclave.ServiceModels, "watch --open": conclave.ServiceMonitor,
	} {
		out, errs, code := i.conclave(strings.Fields(command)...)
		if code == exitDone || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, string(service)+" does not run") || strings.Contains(errs, "{") {
			t.Errorf("%s: exit code %d, %q %q; want one line that says %s does not run", command, code, out, errs, service)
		}
	}
	for _, command := range []string{"analytics collaboration", "agents performance", "audit verify"} {
		if out, errs, code := i.conclave(strings.Fields(command)...); code != exitDone {
			t.Errorf("%s needs none of them: exit code %d\n%s%s", command, code, out, errs)
		}
	}
	gateway := i.urls()[conclave.ServiceGateway]
	if status, text := browse(t, gateway+"/"); status != http.StatusServiceUnavailable || !strings.HasPrefix(text, "agent-monitor does not run") || strings.Count(text, "\n") != 1 {
		t.Errorf("the page: %d %q", status, text)
	}
	i.env["CONCLAVE_TOKEN"] = "open-sesame"
	if out, errs, code := i.conclave("analytics", "collaboration"); code == exitDone || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "CONCLAVE_TOKEN") {
		t.Errorf("with a wrong token: exit code %d, %q %q", code, out, errs)
	}
	delete(i.env, "CONCLAVE_TOKEN")

	front.stop(t)
	for _, command := range []string{"agents", "run x --repo " + repo} {
		if out, errs, code := i.conclave(strings.Fields(command)...); code == exitDone || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "the gateway does not run") {
			t.Errorf("%s without the gateway: exit code %d, %q %q", command, code, out, errs)
		}
	}
	i.env["CONCLAVE_URL"] = gateway
	if out, errs, code := i.conclave("agents"); code == exitDone || out != "" || !strings.Contains(errs, "nothing answers at CONCLAVE_URL="+gateway) {
		t.Errorf("with an address where nobody is: exit code %d, %q %q", code, out, errs)
	}
}

// browse asks as a browser does.
func browse(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
