package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/identity"
	"conclave/internal/llmtest"
	"conclave/internal/pgtest"
)

func operations() []conclave.Operation {
	return slices.Concat(conclave.ModelOperations(), conclave.PlanOperations(), conclave.WorktreeOperations(), conclave.WorkflowOperations(),
		conclave.AllHubOperations(), conclave.CouncilOperations(), conclave.EventOperations())
}

// mayDo is who may do what; "none" has no role.
func mayDo(role string, p conclave.Permission) bool {
	return slices.Contains(map[conclave.Permission][]string{
		conclave.PermitRead:    {"viewer", "developer", "approver", "operator", "admin", "agent"},
		conclave.PermitSpeak:   {"developer", "approver", "operator", "admin", "agent"},
		conclave.PermitWork:    {"developer", "operator", "admin"},
		conclave.PermitApprove: {"approver", "operator", "admin"},
		conclave.PermitAdmin:   {"admin"},
		conclave.PermitService: {},
	}[p], role)
}

// request sends one request and returns the status and the body.
func request(t *testing.T, client *http.Client, method, url, token, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("A2A-Version", "1.0")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") && method == http.MethodGet {
		return resp.StatusCode, "" // which would not end
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (i *installation) urls() map[conclave.Service]string {
	i.t.Helper()
	urls, err := app.ReadAddresses(i.home)
	if err != nil {
		i.t.Fatal(err)
	}
	return urls
}

func (i *installation) tokens() *identity.Tokens {
	i.t.Helper()
	secret, err := identity.LoadSecret(i.home)
	if err != nil {
		i.t.Fatal(err)
	}
	tokens, err := identity.NewTokens(secret)
	if err != nil {
		i.t.Fatal(err)
	}
	return tokens
}

// Every operation × every role, through the gateway of a running installation.
// Inputs are empty: whoever is let through gets another error than a refusal,
// and every refusal is in the record.
func TestRolesAndOperations(t *testing.T) {
	i := newInstallation(t)
	i.env["CONCLAVE_RATE_CALLER"], i.env["CONCLAVE_RATE_ADDRESS"] = "off", "off"
	i.serve()
	gateway := i.urls()[conclave.ServiceGateway]
	bearers := map[string]string{}
	for _, role := range identity.Roles() {
		out, errs, code := i.conclave("token", "--role", role, "--name", role, "--for", "1h")
		if code != 0 {
			t.Fatal(errs)
		}
		bearers[role] = strings.TrimSpace(out)
	}
	for who, c := range map[string]conclave.Caller{
		"none":  {Tenant: conclave.DefaultTenant, Human: "none"},
		"agent": {Tenant: conclave.DefaultTenant, Human: "someone", Agent: "agent", Permissions: identity.AgentPermissions()},
	} {
		var err error
		if bearers[who], err = i.tokens().Mint(c, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	refusals := map[string]int{}
	for _, op := range operations() {
		path := op.Path()
		for strings.Contains(path, "{") {
			before, rest, _ := strings.Cut(path, "{")
			_, after, _ := strings.Cut(rest, "}")
			path = before + "1" + after
		}
		for role, token := range bearers {
			status, body := request(t, http.DefaultClient, op.Method(), gateway+"/api"+path, token, "{}")
			if allowed := mayDo(role, op.Permission); allowed != (status != http.StatusForbidden) {
				// What is allowed may still be refused for another reason.
				if allowed && !strings.Contains(body, "needs the permission") {
					continue
				}
				t.Errorf("%s as %s: status %d, %s; allowed ought to be %t", op.Name, role, status, body, allowed)
			}
			if status == http.StatusForbidden {
				refusals[role+" "+op.Name]++
			}
		}
	}
	// The other faces record their refusals as well.
	message := `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hello"}]}}}`
	if _, body := request(t, http.DefaultClient, http.MethodPost, gateway+"/a2a/agents/planner-1", bearers["viewer"], message); !strings.Contains(body, "-31403") {
		t.Errorf("a viewer speaks over A2A: %s", body)
	}
	refusals["viewer agents/planner-1"]++
	mute, err := i.tokens().Mint(conclave.Caller{Tenant: conclave.DefaultTenant, Human: "mute"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tools, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: gateway + "/mcp", HTTPClient: &http.Client{Transport: bearer(mute)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tools.Close()
	if result, err := tools.CallTool(t.Context(), &mcp.CallToolParams{Name: "message_send", Arguments: map[string]any{"to": "roles/planner", "text": "hello"}}); err != nil || !result.IsError {
		t.Errorf("who has no role speaks over MCP: %+v, %v", result, err)
	}
	refusals["mute message_send"]++
	if len(refusals) < len(operations()) {
		t.Fatalf("only %d refusals", len(refusals))
	}
	var events []conclave.Event
	i.mustJSON(&events, "audit", "list", "--kind", "call.refused", "--since", "1h")
	for _, e := range events {
		delete(refusals, e.Actor+" "+e.Subject)
	}
	if len(refusals) > 0 {
		t.Errorf("not in the record: %v", refusals)
	}
}

// bearer sends a token with each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// forgeries are tokens that nobody may get in with.
func (i *installation) forgeries() map[string]string {
	i.t.Helper()
	c := conclave.Caller{Tenant: conclave.DefaultTenant, Human: "eve", Permissions: identity.HumanPermissions("admin")}
	good, err := i.tokens().Mint(c, time.Hour)
	if err != nil {
		i.t.Fatal(err)
	}
	other, err := identity.NewTokens([]byte("a secret of another installation, long enough"))
	if err != nil {
		i.t.Fatal(err)
	}
	wrong, err := other.Mint(c, time.Hour)
	if err != nil {
		i.t.Fatal(err)
	}
	brief, err := i.tokens().Mint(c, time.Nanosecond)
	if err != nil {
		i.t.Fatal(err)
	}
	<-time.After(7 * time.Second) // longer than the skew that clocks may have
	parts := strings.Split(good, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		i.t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	elsewhere := strings.Replace(string(claims), `"tenant":"default"`, `"tenant":"globex"`, 1)
	return map[string]string{"none": "", "expired": brief, "under another secret": wrong, "prose": "open-sesame",
		"alg none":            encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + ".",
		"with another tenant": parts[0] + "." + encode([]byte(elsewhere)) + "." + parts[2]}
}

// A call without a good token is refused on every port, by each of its faces:
// those are what the services of several processes call each other by, too.
func TestForgedTokens(t *testing.T) {
	i := newInstallation(t)
	i.serve()
	urls := i.urls()
	rest := map[conclave.Service]string{conclave.ServiceModels: "/upstreams", conclave.ServicePlans: "/plans", conclave.ServiceWorktree: "/worktrees",
		conclave.ServiceWorkflow: "/runs", conclave.ServiceHub: "/agents", conclave.ServiceCouncil: "/motions", conclave.ServiceMonitor: "/api/events", conclave.ServiceGateway: "/api/runs"}
	message := `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hello"}]}}}`
	calls := map[string]string{}
	for s, url := range urls {
		calls["POST "+url+"/mcp"] = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
		if path, ok := rest[s]; ok {
			calls["GET "+url+path] = ""
		}
		if s != conclave.ServiceGateway {
			calls["POST "+url+"/a2a/service/"] = message
		}
	}
	calls["POST "+urls[conclave.ServiceHub]+"/a2a/agents/planner-1"] = message
	calls["POST "+urls[conclave.ServiceGateway]+"/a2a/agents/planner-1"] = message
	calls["POST "+urls[conclave.ServicePool]+"/agents/planner-1"] = message
	calls["POST "+urls[conclave.ServiceModels]+"/v1/messages"] = `{"model":"strong","max_tokens":1,"messages":[]}`
	calls["POST "+urls[conclave.ServiceMonitor]+"/login/tickets"] = ""
	good, err := app.ReadToken(i.home)
	if err != nil {
		t.Fatal(err)
	}
	delete(calls, "POST "+urls[conclave.ServiceMonitor]+"/mcp")
	refused := func(status int, body string) bool {
		return status == http.StatusUnauthorized || strings.Contains(body, "not a valid Conclave token") || strings.Contains(body, "-31401") || strings.Contains(body, "UNAUTHENTICATED")
	}
	forgeries := i.forgeries()
	for call, body := range calls {
		method, url, _ := strings.Cut(call, " ")
		if status, answer := request(t, http.DefaultClient, method, url, good, body); refused(status, answer) || status == http.StatusNotFound {
			t.Errorf("%s with a good token: %d %s", call, status, answer)
		}
		for name, token := range forgeries {
			if status, answer := request(t, http.DefaultClient, method, url, token, body); !refused(status, answer) {
				t.Errorf("%s with a token that is %s: %d %.300s", call, name, status, answer)
			}
		}
	}
	var events []conclave.Event
	i.mustJSON(&events, "audit", "list", "--kind", "call.refused", "--since", "1h")
	if !slices.ContainsFunc(events, func(e conclave.Event) bool { return e.Subject == "token" && strings.Contains(e.Text, "forged") }) {
		t.Errorf("no refused token is in the record: %+v", events)
	}
	if len(events) > 60 {
		t.Errorf("%d refused tokens are in the record; whoever sends many must not fill it", len(events))
	}
	// Another tenant's token is good, and reaches nothing of this one.
	out, errs, code := i.conclave("token", "--role", "admin", "--name", "gus", "--tenant", "globex")
	if code != 0 {
		t.Fatal(errs)
	}
	for path, empty := range map[string]string{"/api/agents": "[]", "/api/runs": "[]"} {
		if status, body := request(t, http.DefaultClient, http.MethodGet, urls[conclave.ServiceGateway]+path, strings.TrimSpace(out), ""); status != http.StatusOK || strings.TrimSpace(body) != empty {
			t.Errorf("another tenant gets %d %.200s from %s", status, body, path)
		}
	}
	_, body := request(t, http.DefaultClient, http.MethodGet, urls[conclave.ServiceGateway]+"/api/events", strings.TrimSpace(out), "")
	if events = nil; json.Unmarshal([]byte(body), &events) != nil || len(events) != 1 || events[0].Kind != conclave.EventTokenMinted || events[0].Tenant != "globex" {
		t.Errorf("another tenant's record is not its token alone: %s", body)
	}
}

func TestTokenCommand(t *testing.T) {
	i := newInstallation(t)
	i.env["CONCLAVE_ENCRYPT"] = "planer"
	if _, errs, code := i.conclave("serve"); code != exitUsage || !strings.Contains(errs, `did you mean "planner"?`) {
		t.Errorf("a misspelt role: exit code %d, %q", code, errs)
	}
	delete(i.env, "CONCLAVE_ENCRYPT")
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"--role", "owner", "--name", "x"}, "viewer, developer, approver, operator, admin"},
		{[]string{"--role", "viewer"}, "--name"},
		{[]string{"--name", "x"}, "--role"},
		{[]string{"--role", "viewer", "--name", "x", "--for", "-1h"}, "--for"},
		{[]string{"--role", "viewer", "--name", "x", "--tenant", ""}, "tenant"},
	} {
		if out, errs, code := i.conclave(append([]string{"token"}, tt.args...)...); code != exitUsage || out != "" || !strings.Contains(errs, tt.says) {
			t.Errorf("token %q: exit code %d, %q %q; want 2 and %q", tt.args, code, out, errs, tt.says)
		}
	}
}

// certificates makes an authority and a certificate of 127.0.0.1 and this host.
func certificates(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca := write("ca.crt", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "conclave"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost", "conclave.internal"}}
	return map[string]string{"CONCLAVE_TLS_CA": ca,
		"CONCLAVE_TLS_CERT": write("tls.crt", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), rootKey))),
		"CONCLAVE_TLS_KEY":  write("tls.key", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)))}
}

func (i *installation) secure(t *testing.T) map[string]string {
	files := certificates(t)
	for name, path := range files {
		i.env[name] = path
	}
	return files
}

// With certificates every port speaks TLS only, the commands work as before, and
// whoever does not trust the authority learns why.
func TestTLS(t *testing.T) {
	i := newInstallation(t)
	files := i.secure(t)
	i.serve()
	for s, url := range i.urls() {
		if !strings.HasPrefix(url, "https://127.0.0.1:") {
			t.Errorf("%s is at %s", s, url)
		}
	}
	certs, err := identity.LoadTLS(identity.TLSFiles{CA: files["CONCLAVE_TLS_CA"]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	gateway := i.urls()[conclave.ServiceGateway]
	resp, err := (&http.Client{Transport: certs.Transport()}).Get(gateway + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.TLS == nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the gateway answers %s by %s", resp.Status, resp.Proto)
	}
	if resp, err := http.Get(strings.Replace(gateway, "https", "http", 1) + "/healthz"); err == nil {
		if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP gets %s", resp.Status)
		}
	}
	var list []serviceStatus
	i.mustJSON(&list, "status")
	if len(list) != len(conclave.AllServices()) || slices.ContainsFunc(list, func(s serviceStatus) bool { return s.Health != "ready" }) {
		t.Errorf("status: %+v", list)
	}
	if out, errs, code := i.conclave("decide", "Which?", "--option", "a", "--option", "b"); code != exitDone && code != exitWaits {
		t.Errorf("decide: exit code %d\n%s%s", code, out, errs)
	}
	if out, errs, code := i.conclave("watch", "--open"); code != 0 || !strings.HasPrefix(out, "https://") {
		t.Errorf("watch --open: exit code %d, %q %q", code, out, errs)
	}
	if out, _, _ := i.conclave("doctor"); !strings.Contains(out, `certificate `+files["CONCLAVE_TLS_CERT"]+` of "conclave"`) {
		t.Errorf("doctor does not tell of the certificate:\n%s", out)
	}
	if out, errs, code := i.conclave("prove", "message_send"); code != exitDone {
		t.Errorf("prove: exit code %d\n%s%s", code, out, errs)
	}
	i.env["GATEWAY_PORT"] = gateway[strings.LastIndex(gateway, ":")+1:]
	if out, errs, code := i.conclave("status", "gateway"); code != exitDone || !strings.Contains(out, gateway) {
		t.Errorf("a container's health check: exit code %d\n%s%s", code, out, errs)
	}
	delete(i.env, "GATEWAY_PORT")
	delete(i.env, "CONCLAVE_TLS_CA")
	if out, errs, code := i.conclave("agents"); code == 0 || !strings.Contains(errs, "CONCLAVE_TLS_CA") {
		t.Errorf("without the authority: exit code %d, %q %q", code, out, errs)
	}
	i.env["CONCLAVE_TLS_CA"] = files["CONCLAVE_TLS_CA"]

	bad := newInstallation(t)
	for name, tt := range map[string]struct{ variable, value, says string }{
		"no key":         {"CONCLAVE_TLS_KEY", "", "CONCLAVE_TLS_KEY"},
		"no such file":   {"CONCLAVE_TLS_CERT", "/nowhere.crt", "/nowhere.crt"},
		"not a key":      {"CONCLAVE_TLS_KEY", files["CONCLAVE_TLS_CA"], "tls.crt"},
		"no authority":   {"CONCLAVE_TLS_CA", "", "CONCLAVE_TLS_CA"},
		"another's file": {"CONCLAVE_TLS_CA", certificates(t)["CONCLAVE_TLS_CA"], "CONCLAVE_TLS_CA"},
	} {
		for variable, path := range files {
			bad.env[variable] = path
		}
		bad.env[tt.variable] = tt.value
		if _, errs, code := bad.conclave("serve"); code == 0 || !strings.Contains(errs, tt.says) || strings.Count(errs, "\n") > 2 {
			t.Errorf("%s: exit code %d, %q; want one line that says %s", name, code, errs, tt.says)
		}
	}
}

// One process for each service: they verify each other's certificates, and
// tokens signed with a key file travel between them.
func TestServicesByTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each service")
	}
	i := newInstallation(t)
	i.env["CONCLAVE_DATABASE_URL"] = pgtest.URL(t)
	i.secure(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	i.env["CONCLAVE_JWT_KEY"] = filepath.Join(t.TempDir(), "tokens.pem")
	if err := os.WriteFile(i.env["CONCLAVE_JWT_KEY"], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []*server
	for _, s := range conclave.AllServices() {
		all = append(all, i.start(program(t), nil, string(s)))
	}
	for _, s := range all {
		s.awaitReady(t)
	}
	out, errs, code := i.conclave("decide", "Which?", "--option", "a", "--option", "b")
	if code != exitDone && code != exitWaits {
		t.Fatalf("decide: exit code %d\n%s%s", code, out, errs)
	}
	urls := i.urls()
	certs, err := identity.LoadTLS(identity.TLSFiles{CA: i.env["CONCLAVE_TLS_CA"]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: certs.Transport()}
	forged := i.forgeries() // under the secret that is not in use
	for name, token := range forged {
		for _, url := range []string{urls[conclave.ServicePlans] + "/plans", urls[conclave.ServiceHub] + "/agents", urls[conclave.ServiceGateway] + "/api/runs"} {
			if status, body := request(t, client, http.MethodGet, url, token, ""); status != http.StatusUnauthorized {
				t.Errorf("%s with a token that is %s: %d %s", url, name, status, body)
			}
		}
	}
	var report conclave.AuditReport
	i.mustJSON(&report, "audit", "verify")
	if !report.OK || report.Sealed+report.Unsealed == 0 {
		t.Errorf("the record is %+v", report)
	}
}

// The record of a real decision, altered behind the services' back.
func TestAuditCommand(t *testing.T) {
	i := newInstallation(t)
	s := i.serve()
	if out, errs, code := i.conclave("decide", "Which?", "--option", "a", "--option", "b"); code != exitDone && code != exitWaits {
		t.Fatalf("decide: exit code %d\n%s%s", code, out, errs)
	}
	s.stop(t) // which seals the rest
	var report conclave.AuditReport
	i.mustJSON(&report, "audit", "verify")
	if !report.OK || report.Unsealed != 0 || report.Sealed < 20 || len(report.Heads) != 1 {
		t.Fatalf("the record is %+v", report)
	}
	kept := filepath.Join(t.TempDir(), "kept.json")
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var ballots []conclave.Event
	i.mustJSON(&ballots, "audit", "list", "--kind", "ballot.cast", "--since", "1h")
	if len(ballots) == 0 {
		t.Fatal("no ballot is in the record")
	}
	var mine []conclave.Event
	i.mustJSON(&mine, "audit", "list", "--actor", ballots[0].Actor)
	if len(mine) == 0 || slices.ContainsFunc(mine, func(e conclave.Event) bool { return e.Actor != ballots[0].Actor }) {
		t.Errorf("--actor lists %+v", mine)
	}
	out, _, _ := i.conclave("audit", "export")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		var e conclave.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq == 0 {
			t.Fatalf("exported %q: %v", line, err)
		}
	}
	if int64(len(lines)) < report.Sealed {
		t.Errorf("%d lines are exported of %d events", len(lines), report.Sealed)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(i.home, "conclave.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE events SET text = 'reject: no' WHERE seq = ?`, ballots[0].Seq); err != nil {
		t.Fatal(err)
	}
	out, _, code := i.conclave("audit", "verify")
	if code != exitFailed || !strings.Contains(out, "event "+strconv.FormatInt(ballots[0].Seq, 10)+" was changed") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if _, err := db.Exec(`UPDATE events SET text = ? WHERE seq = ?`, ballots[0].Text, ballots[0].Seq); err != nil {
		t.Fatal(err)
	}
	if out, _, code := i.conclave("audit", "verify", "--checkpoint", kept, "--key", report.Heads[0].PublicKey); code != 0 {
		t.Errorf("after it was mended: exit code %d\n%s", code, out)
	}
	if out, _, code := i.conclave("audit", "verify", "--key", base64.StdEncoding.EncodeToString(make([]byte, 32))); code != exitFailed || !strings.Contains(out, "not the installation's") {
		t.Errorf("with a foreign key: exit code %d\n%s", code, out)
	}
	if _, err := db.Exec(`DELETE FROM seals`); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(i.home, "audit.json")); err != nil {
		t.Fatal(err)
	}
	if out, _, code := i.conclave("audit", "verify", "--checkpoint", kept); code != exitFailed || !strings.Contains(out, "removed") {
		t.Errorf("with every checkpoint gone: exit code %d\n%s", code, out)
	}
	for _, args := range [][]string{{"audit", "verify", "--key", "nonsense"}, {"audit", "list", "--since", "yesterday"}, {"audit", "verify", "--checkpoint", "/nowhere"}} {
		if _, errs, code := i.conclave(args...); code != exitUsage || errs == "" {
			t.Errorf("%q: exit code %d, %q", args, code, errs)
		}
	}
}

// No secret that the program is given can be found in its processes, its logs,
// its files for others, its answers or its errors.
func TestNoSecretIsShown(t *testing.T) {
	i := newInstallation(t)
	secrets := map[string]string{"JWT_SECRET": "planted-jwt-secret-0123456789abcdef", "ANTHROPIC_API_KEY": "sk-ant-planted-0123456789",
		"GRAFANA_PASSWORD": "planted-grafana-password", "POSTGRES_PASSWORD": "planted-postgres-password", "AWS_SECRET_ACCESS_KEY": "planted-cloud-key"}
	for name, value := range secrets {
		i.env[name] = value
	}
	i.env["CONCLAVE_LOG"] = "debug"
	i.env["ANTHROPIC_BASE_URL"] = "http://127.0.0.1:9" // nobody listens there
	s := i.serve()
	token, err := app.ReadToken(i.home)
	if err != nil {
		t.Fatal(err)
	}
	secrets["the local token"] = token
	look := func(where string, text []byte) {
		for name, value := range secrets {
			if bytes.Contains(text, []byte(value)) {
				t.Errorf("%s is in %s", name, where)
			}
		}
	}
	repo := newRepo(t, map[string]string{"go.mod": "module sample\n\ngo 1.26\n", "sample.go": "package sample\n\nimport \"os\"\n\n// Env is what there is to see.\nfunc Env() []string { return os.Environ() }\n",
		"sample_test.go": "package sample\n\nimport \"testing\"\n\nfunc TestEnv(t *testing.T) { t.Fatal(Env()) }\n"})
	done := make(chan struct{})
	go func() {
		defer close(done)
		out, errs, _ := i.conclave("review", "Review it", "--repo", repo)
		look("what review prints", []byte(out+errs))
	}()
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	look("ps", own)
	seen := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(5 * time.Millisecond): // the children come and go
			for _, pid := range descendants(s.cmd.Process.Pid) {
				line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
				if again, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || len(line) == 0 || bytes.Equal(line, own) || !bytes.Equal(line, again) {
					continue // it has ended, or is still the server itself, before it becomes another program
				}
				seen++
				look(fmt.Sprintf("the environment of %.200q", bytes.ReplaceAll(line, []byte{0}, []byte{' '})), env)
				look("the arguments of a child", line)
			}
		}
		if t.Failed() {
			running = false
		}
	}
	<-done
	if seen == 0 {
		t.Error("no child process was seen")
	}
	for service, url := range i.urls() {
		for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.json", "/.well-known/agent-card.json"} {
			_, body := request(t, http.DefaultClient, http.MethodGet, url+path, token, "")
			look(string(service)+path, []byte(body))
		}
	}
	for _, op := range operations() {
		if op.Method() == http.MethodGet && !strings.Contains(op.Path(), "{") && op.Effect != conclave.Streams {
			_, body := request(t, http.DefaultClient, http.MethodGet, i.urls()[conclave.ServiceGateway]+"/api"+op.Path(), token, "")
			look("/api"+op.Path(), []byte(body))
		}
	}
	status, body := request(t, http.DefaultClient, http.MethodPost, i.urls()[conclave.ServiceModels]+"/v1/messages", token, `{"model":"strong","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`)
	look(fmt.Sprintf("the router's error %d", status), []byte(body))
	for _, args := range [][]string{{"status"}, {"status", "--config"}, {"doctor"}, {"audit", "export"}, {"runs", "--json"}, {"route", "explain"}} {
		out, errs, _ := i.conclave(args...)
		look("what conclave "+strings.Join(args, " ")+" prints", []byte(out+errs))
	}
	s.stop(t)
	look("the log", []byte(s.log.String()))
	delete(secrets, "the local token") // which is kept in one file, for its owner
	err = filepath.WalkDir(i.home, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		look(path, text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What one agent asks another, with a scripted model: the database holds it in
// clear when encryption is off, and nowhere when it is on, whereas whoever
// watches still sees that they spoke.
func TestEncryptedMessages(t *testing.T) {
	const question, answer = "the planted question 4711", "the planted answer 0815"
	for _, setting := range []string{"off", "on", "planner"} {
		t.Run(setting, func(t *testing.T) {
			model := llmtest.New(t, func(c llmtest.Call) llmtest.Answer {
				switch last := c.Last(); {
				case len(last.Results) > 0 && strings.Contains(last.Results[0].Text, answer):
					return llmtest.Say("I was told.")
				case strings.Contains(string(c.Raw), question):
					return llmtest.Say(answer)
				case len(last.Results) > 0:
					return llmtest.Say("Nobody answered: " + last.Results[0].Text)
				}
				return llmtest.Use("ask_agent", map[string]string{"to": "roles/architect", "question": question})
			})
			i := newInstallation(t)
			i.env["CONCLAVE_BRAIN"], i.env["CONCLAVE_ENCRYPT"] = "model", setting
			i.env["ANTHROPIC_API_KEY"], i.env["ANTHROPIC_BASE_URL"] = "scripted", model.URL
			s := i.serve()
			client, err := i.client()
			if err != nil {
				t.Fatal(err)
			}
			task, err := client.Hub().Send(t.Context(), conclave.SendMessage{To: "agents/planner-1", Text: "Find out."})
			if err != nil {
				t.Fatal(err)
			}
			if task, err = client.Hub().Task(t.Context(), conclave.GetTask{ID: task.ID, Wait: 60_000}); err != nil || task.Text != "I was told." {
				t.Fatalf("got %+v, %v", task, err)
			}
			said, err := client.Hub().Messages(t.Context(), conclave.ListMessages{Conversation: task.Conversation})
			if err != nil || len(said) != 4 {
				t.Fatalf("the conversation is %+v, %v", said, err)
			}
			for _, m := range said[1:3] {
				if (m.Text == "(encrypted)") != (setting != "off") {
					t.Errorf("%s said to %s: %q", m.From, m.To, m.Text)
				}
			}
			s.stop(t)
			for _, text := range []string{question, answer} {
				if where := find(t, filepath.Join(i.home, "conclave.db"), text); (len(where) == 0) != (setting != "off") {
					t.Errorf("%q is in %v", text, where)
				}
			}
		})
	}
}

// find returns the tables of a database in which a text occurs.
func find(t *testing.T, path, text string) []string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	names := func(query string, args ...any) []string {
		rows, err := db.Query(query, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var list []string
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			list = append(list, s)
		}
		return list
	}
	var where []string
	tables := names(`SELECT name FROM sqlite_master WHERE type = 'table'`)
	if len(tables) < 10 {
		t.Fatalf("the database has only %v", tables)
	}
	for _, table := range tables {
		for _, column := range names(`SELECT name FROM pragma_table_info(?)`, table) {
			if hits := names(fmt.Sprintf(`SELECT count(*) FROM "%s" WHERE instr(CAST("%s" AS TEXT), ?) > 0`, table, column), text); hits[0] != "0" {
				where = append(where, table+"."+column)
			}
		}
	}
	return where
}

// descendants are the processes below a process.
func descendants(pid int) []int {
	var all []int
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}
