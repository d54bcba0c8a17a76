package monitor_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"conclave"
	"conclave/internal/identity"
	"conclave/internal/monitor"
	"conclave/internal/restwire"
	"conclave/web"
)

var human = conclave.Caller{
	Tenant: conclave.DefaultTenant, Human: "ana",
	Permissions: []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitApprove},
}

// TestServeFixture serves the page over the fixture for a browser: web/e2e
// starts it, reads the addresses from standard output, and writes commands to
// standard input, one a line: "say TEXT", "ballot", "drop" (cut every
// connection). It ends with its input.
func TestServeFixture(t *testing.T) {
	if os.Getenv("CONCLAVE_SERVE_FIXTURE") == "" {
		t.Skip("serves a browser only when CONCLAVE_SERVE_FIXTURE is set; npm run e2e in web sets it")
	}
	files, built := web.Files()
	if !built {
		t.Fatal("the page is not built: run npm ci && npm run build in web")
	}
	f := newFixture(t)
	tokens, err := identity.NewTokens([]byte("a secret for tests, of 32 bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := restwire.NewHandler(restwire.Options{Tables: f.tables(), Authenticate: identity.Authenticate(tokens), Prefix: "/api"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := monitor.New(monitor.Options{API: api, Tokens: tokens, Page: files, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(m)
	defer server.Close()
	defer server.CloseClientConnections() // a browser's stream would otherwise hold the server
	in := bufio.NewScanner(os.Stdin)
	for fmt.Println("READY", server.URL, link(t, server, tokens)); in.Scan(); {
		command, text, _ := strings.Cut(in.Text(), " ")
		switch command {
		case "say":
			f.liveSay(text)
		case "ballot":
			f.liveBallot()
		case "drop":
			server.CloseClientConnections()
		case "link":
			fmt.Println("LINK", link(t, server, tokens))
		default:
			t.Errorf("unknown command %q", in.Text())
		}
	}
}

// link asks for a one-time link, as the CLI does.
func link(t *testing.T, server *httptest.Server, tokens *identity.Tokens) string {
	t.Helper()
	status, ticket := mint(t, server, bearer(t, tokens, human))
	if status != http.StatusCreated {
		t.Fatalf("minting a ticket: %d", status)
	}
	return server.URL + ticket.Path
}
