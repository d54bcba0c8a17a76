package validate

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"conclave"
)

const root = "../.."

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// variables are those that the production guide's table explains. The program's
// own tests hold that table to what the program reads.
func variables(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllSubmatch(read(t, "docs", "deployment", "production-guide.md"), -1) {
		names = append(names, string(m[1]))
	}
	if len(names) < 20 {
		t.Fatalf("the production guide's table has %d variables", len(names))
	}
	return names
}

// container is what every kind of deployment says of one of ours.
type container struct {
	name      string
	command   []string // without the entrypoint
	variables []string
	ports     []int // it listens on
	health    []string
	mounts    []string
	secure    map[string]string // the values of CONCLAVE_TLS_…, of those that are set
	files     []string          // paths of the files that are given to it
}

// secured returns the variables for TLS that have a value.
func secured[T any](env map[string]T, value func(T) string) map[string]string {
	got := map[string]string{}
	for name, v := range env {
		if strings.HasPrefix(name, "CONCLAVE_TLS_") && value(v) != "" {
			got[name] = value(v)
		}
	}
	return got
}

// checkTLS asks that a container shows a certificate which it is given, or none.
func (c container) checkTLS(t *testing.T, on bool) {
	t.Helper()
	if !on {
		if len(c.secure) > 0 {
			t.Errorf("%s shows a certificate that nobody asked for: %v", c.name, c.secure)
		}
		return
	}
	for _, name := range []string{"CONCLAVE_TLS_CERT", "CONCLAVE_TLS_KEY", "CONCLAVE_TLS_CA"} {
		if c.secure[name] == "" || !slices.Contains(c.files, c.secure[name]) {
			t.Errorf("%s: %s=%q is none of its files, %v", c.name, name, c.secure[name], c.files)
		}
	}
	if c.secure["CONCLAVE_TLS_NAME"] == "" {
		t.Errorf("%s has no name that certificates have in common; its address is in no certificate", c.name)
	}
}

// check compares it with the program. All is a container with all services.
func (c container) check(t *testing.T, known []string, all bool) {
	t.Helper()
	service := conclave.Service(c.name)
	want := []string{"serve"}
	if !all {
		want = append(want, c.name)
	} else {
		service = conclave.ServiceGateway
	}
	if service.Port() == 0 {
		t.Errorf("%s is no service", c.name)
	}
	if !slices.Equal(c.command, want) {
		t.Errorf("%s runs %q, want %q", c.name, c.command, want)
	}
	for _, p := range c.ports {
		if p != service.Port() {
			t.Errorf("%s has port %d, and %s listens on %d", c.name, p, service, service.Port())
		}
	}
	for _, v := range c.variables {
		if !slices.Contains(known, v) {
			t.Errorf("%s sets %s, which the program does not read", c.name, v)
		}
	}
	for _, v := range []string{"JWT_SECRET"} {
		if !slices.Contains(c.variables, v) {
			t.Errorf("%s lacks %s", c.name, v)
		}
	}
	if keys := slices.ContainsFunc(c.variables, func(v string) bool { return v == "ANTHROPIC_API_KEY" || v == "OPENAI_API_KEY" }); keys != (all || service == conclave.ServiceModels) {
		t.Errorf("%s: has the keys of models: %v; only the router has them", c.name, keys)
	}
	if c.health != nil && !slices.Equal(c.health, []string{"CMD", "conclave", "status", c.name}) {
		t.Errorf("%s is checked by %q", c.name, c.health)
	}
	if c.mounts != nil && !slices.Contains(c.mounts, "/var/lib/conclave") {
		t.Errorf("%s has no data directory: %v", c.name, c.mounts)
	}
}

// everyService compares a list of services with the program's.
func everyService(t *testing.T, got []string) {
	t.Helper()
	for _, s := range conclave.AllServices() {
		if !slices.Contains(got, string(s)) {
			t.Errorf("%s is missing", s)
		}
	}
}

func hosts() []conclave.Service {
	return []conclave.Service{conclave.ServicePool, conclave.ServiceExperts, conclave.ServiceReview, conclave.ServiceQA, conclave.ServiceSecurity}
}

// secrets is an environment as .env.example asks for.
func secrets() map[string]string {
	return map[string]string{"POSTGRES_PASSWORD": "a:b@c/d", "JWT_SECRET": "0123456789abcdef0123456789abcdef", "GRAFANA_PASSWORD": "g", "ANTHROPIC_API_KEY": "k"}
}
