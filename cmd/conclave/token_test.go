package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
)

// refusedSoon reports whether an address refuses a token within five seconds.
func refusedSoon(t *testing.T, url, token string) (int, string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for {
		status, body := request(t, http.DefaultClient, http.MethodGet, url, token, "")
		if status == http.StatusUnauthorized {
			return status, body
		}
		select {
		case <-tick.C:
		case <-deadline:
			return status, body
		}
	}
}

// The record names who made which token for whom, and who took it back; then
// every port refuses it, after a restart too.
func TestTokensAreOnRecord(t *testing.T) {
	i := newInstallation(t)
	i.env["USER"] = "ada"
	server := i.serve()
	mint := func(args ...string) string {
		t.Helper()
		out, errs, code := i.conclave(append([]string{"token"}, args...)...)
		if code != exitDone {
			t.Fatalf("token %v: exit code %d, %s", args, code, errs)
		}
		return strings.TrimSpace(out)
	}
	grace := mint("--role", "viewer", "--name", "grace")
	mint("--agent", "robot", "--name", "linus", "--for", "1h")
	list := map[string]conclave.Token{}
	var tokens []conclave.Token
	i.mustJSON(&tokens, "token", "list")
	for _, k := range tokens {
		list[k.Human+string(k.Agent)] = k
	}
	if len(tokens) != 3 || list["grace"].MintedBy != "ada" || !slices.Equal(list["grace"].Permissions, []conclave.Permission{conclave.PermitRead}) || list["linusrobot"].ID == "" || list["ada"].ID == "" {
		t.Fatalf("the list is %+v", tokens)
	}
	id := list["grace"].ID
	urls := i.urls()
	if status, body := request(t, http.DefaultClient, http.MethodGet, urls[conclave.ServiceHub]+"/agents", grace, ""); status != http.StatusOK {
		t.Fatalf("the token is refused: %d %s", status, body)
	}
	i.env["USER"] = "bob"
	if out, errs, code := i.conclave("token", "revoke", id); code != exitDone || out != "revoked "+id+", of grace\n" {
		t.Fatalf("revoke: exit code %d, %q %q", code, out, errs)
	}
	for s, path := range map[conclave.Service]string{conclave.ServiceGateway: "/api/runs", conclave.ServiceHub: "/agents", conclave.ServicePlans: "/plans", conclave.ServiceModels: "/upstreams", conclave.ServiceMonitor: "/api/events"} {
		if status, body := refusedSoon(t, urls[s]+path, grace); status != http.StatusUnauthorized || !strings.Contains(body, "revoked") {
			t.Errorf("%s takes a revoked token: %d %s", s, status, body)
		}
	}
	for _, args := range [][]string{{"revoke", id}, {"revoke", "nobody"}, {"revoke", list["linusrobot"].ID, "--tenant", "globex"}, {"revoke"}} {
		if out, errs, code := i.conclave(append([]string{"token"}, args...)...); code == exitDone || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("token %v: exit code %d, %q %q; want a refusal of one line", args, code, out, errs)
		}
	}
	var events []conclave.Event
	i.mustJSON(&events, "audit", "list", "--kind", "token.minted,token.revoked", "--since", "1h")
	var told []string
	for _, e := range events {
		told = append(told, string(e.Kind)+" "+e.Actor+" "+e.Subject+" "+e.Text)
		if strings.Contains(e.Text+string(e.Data), grace) {
			t.Error("the record holds the token itself")
		}
	}
	for _, want := range []string{"token.minted ada " + id + " made a token for grace (read)", "token.minted ada " + list["linusrobot"].ID + " made a token for agent robot of linus (",
		"token.minted ada " + list["ada"].ID + " made a token for ada (", "token.revoked bob " + id + " took back the token of grace (read)"} {
		if !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("the record does not say %q:\n%s", want, strings.Join(told, "\n"))
		}
	}
	var report conclave.AuditReport
	if i.mustJSON(&report, "audit", "verify"); !report.OK {
		t.Errorf("the record does not hold: %+v", report)
	}

	// The installation's own token is replaced at the next start.
	old := mint()
	if _, errs, code := i.conclave("token", "revoke", list["ada"].ID); code != exitDone {
		t.Fatal(errs)
	}
	if status, body := refusedSoon(t, urls[conclave.ServiceGateway]+"/api/runs", old); status != http.StatusUnauthorized {
		t.Errorf("the local token: %d %s", status, body)
	}
	if _, errs, code := i.conclave("agents"); code == exitDone || !strings.Contains(errs, "the token was revoked") {
		t.Errorf("a command with a revoked token: exit code %d, %q", code, errs)
	}
	server.stop(t)
	i.serve()
	if out, errs, code := i.conclave("agents"); code != exitDone {
		t.Errorf("after a restart: exit code %d\n%s%s", code, out, errs)
	}
	if status, body := request(t, http.DefaultClient, http.MethodGet, i.urls()[conclave.ServiceGateway]+"/api/runs", grace, ""); status != http.StatusUnauthorized {
		t.Errorf("a restart makes a revoked token good again: %d %s", status, body)
	}
}
