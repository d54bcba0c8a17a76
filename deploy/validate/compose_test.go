package validate

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"conclave"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	stackloader "github.com/docker/cli/cli/compose/loader"
	stacktypes "github.com/docker/cli/cli/compose/types"
	"sigs.k8s.io/yaml"
)

func compose(t *testing.T, env map[string]string, files ...string) (*types.Project, error) {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	var paths, environ []string
	for _, f := range files {
		paths = append(paths, filepath.Join(dir, f))
	}
	for k, v := range env {
		environ = append(environ, k+"="+v)
	}
	o, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(dir), cli.WithName("conclave"), cli.WithEnv(environ))
	if err != nil {
		t.Fatal(err)
	}
	return o.LoadProject(t.Context())
}

func TestCompose(t *testing.T) {
	known := variables(t)
	for _, files := range [][]string{
		{"docker-compose.yml"},
		{"docker-compose.yml", "docker-compose.override.yml"},
		{"docker-compose.yml", "docker-compose.prod.yml"},
		{"docker-compose.yml", "docker-compose.override.yml", "docker-compose.tls.yml"},
		{"docker-compose.yml", "docker-compose.prod.yml", "docker-compose.tls.yml"},
	} {
		t.Run(strings.Join(files[min(1, len(files)-1):], " "), func(t *testing.T) {
			secure := files[len(files)-1] == "docker-compose.tls.yml"
			p, err := compose(t, secrets(), files...)
			if err != nil {
				t.Fatal(err)
			}
			everyService(t, p.ServiceNames())
			for _, s := range conclave.AllServices() {
				checkComposeService(t, p, known, p.Services[string(s)], secure)
			}
			for _, name := range []string{"postgres", "redis", "kafka", "consul", "prometheus", "grafana"} {
				s, ok := p.Services[name]
				if !ok || s.HealthCheck == nil || !strings.Contains(s.Image, ":") {
					t.Errorf("%s is missing, or has no version or no health check", name)
				}
			}
			var given []string
			for _, f := range p.Services["prometheus"].Secrets {
				given = append(given, "/run/secrets/"+f.Target)
			}
			checkScraper(t, p.Services["prometheus"].Command, given, secured(p.Services["gateway"].Environment, func(v *string) string { return *v }))
		})
	}
}

func checkComposeService(t *testing.T, p *types.Project, known []string, s types.ServiceConfig, secure bool) {
	t.Helper()
	c := container{name: s.Name, command: s.Command, variables: slices.Collect(maps.Keys(s.Environment)), health: s.HealthCheck.Test,
		secure: secured(s.Environment, func(v *string) string { return *v })}
	for _, f := range s.Secrets {
		c.files = append(c.files, "/run/secrets/"+f.Target)
		if _, ok := p.Secrets[f.Source]; !ok {
			t.Errorf("%s gets %s, which is no secret", s.Name, f.Source)
		}
		if f.Target == "tls.key" && (f.UID != "10001" || *f.Mode != 0o400) {
			t.Errorf("%s gets its key for user %s with mode %04o", s.Name, f.UID, *f.Mode)
		}
	}
	c.checkTLS(t, secure)
	var published []string
	for _, port := range s.Ports {
		c.ports = append(c.ports, int(port.Target))
		published = append(published, port.Published)
	}
	for _, v := range s.Volumes {
		c.mounts = append(c.mounts, v.Target)
	}
	c.check(t, known, false)
	service := conclave.Service(s.Name)
	switch {
	case slices.Contains(hosts(), service):
		// What scales has nothing that two replicas can't both have.
		if len(published) > 0 || s.ContainerName != "" || s.Hostname != "" {
			t.Errorf("%s can't scale: ports %v, name %q, host name %q", s.Name, published, s.ContainerName, s.Hostname)
		}
		for network := range s.Networks {
			if !p.Networks[network].Internal {
				t.Errorf("%s is on network %s, which leads outside", s.Name, network)
			}
		}
	case service == conclave.ServiceGateway:
		want := []string{"80", "8080"}
		if secure {
			want = append(want, "443")
		}
		if !slices.Equal(published, want) {
			t.Errorf("the gateway is published at %v", published)
		}
	default:
		if !slices.Equal(published, []string{strconv.Itoa(service.Port())}) || s.Hostname != s.Name {
			t.Errorf("%s is published at %v under host name %q", s.Name, published, s.Hostname)
		}
	}
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
		t.Errorf("%s may do more than it needs", s.Name)
	}
	if got := *s.Environment["CONCLAVE_DATABASE_URL"]; strings.Contains(got, "a:b@c/d") || *s.Environment["PGPASSWORD"] != "a:b@c/d" {
		t.Errorf("%s gets its database as %s", s.Name, got)
	}
}

// checkScraper asks that Prometheus speaks with the services as they speak: files
// are those that it is given, and secure what the services are told of TLS.
func checkScraper(t *testing.T, command, files []string, secure map[string]string) {
	t.Helper()
	i := slices.IndexFunc(command, func(arg string) bool { return strings.HasPrefix(arg, "--config.file=/etc/prometheus/") })
	if i < 0 {
		t.Fatalf("prometheus has no configuration of ours: %q", command)
	}
	var config struct {
		Jobs []struct {
			Name   string `json:"job_name"`
			Scheme string `json:"scheme"`
			TLS    struct {
				CA         string `json:"ca_file"`
				ServerName string `json:"server_name"`
				Insecure   bool   `json:"insecure_skip_verify"`
			} `json:"tls_config"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal(read(t, "deploy", "prometheus", strings.TrimPrefix(command[i], "--config.file=/etc/prometheus/")), &config); err != nil {
		t.Fatal(err)
	}
	var jobs []string
	for _, j := range config.Jobs {
		jobs = append(jobs, j.Name)
		if on := j.Scheme == "https"; on != (len(secure) > 0) {
			t.Errorf("%s is scraped by %q, and told of TLS: %v", j.Name, j.Scheme, secure)
		}
		if len(secure) > 0 && (!slices.Contains(files, j.TLS.CA) || j.TLS.ServerName != secure["CONCLAVE_TLS_NAME"] || j.TLS.Insecure) {
			t.Errorf("%s is scraped with %+v; prometheus has %v, and the services' name is %s", j.Name, j.TLS, files, secure["CONCLAVE_TLS_NAME"])
		}
	}
	everyService(t, jobs)
}

// Without its secrets nothing starts, and the message names what is missing.
func TestComposeNeedsSecrets(t *testing.T) {
	for _, name := range []string{"POSTGRES_PASSWORD", "JWT_SECRET", "GRAFANA_PASSWORD"} {
		env := secrets()
		delete(env, name)
		if _, err := compose(t, env, "docker-compose.yml"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// The variables of .env.example are those that the files ask for, and Compose's own.
func TestEnvironmentExample(t *testing.T) {
	text := string(read(t, "docker-compose.yml")) + string(read(t, "docker-compose.tls.yml"))
	for line := range strings.Lines(string(read(t, ".env.example"))) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") && !strings.Contains(text, "${"+name+":") {
			t.Errorf(".env.example names %s, which docker-compose.yml does not use", name)
		}
	}
}

// docker stack deploy's own loader takes the files: nothing forbidden, nothing
// deprecated, and nothing ignored but what the guide says.
func TestStack(t *testing.T) {
	t.Run("as it is", func(t *testing.T) { checkStack(t, "docker-compose.yml", "docker-compose.prod.yml") })
	t.Run("by TLS", func(t *testing.T) {
		checkStack(t, "docker-compose.yml", "docker-compose.prod.yml", "docker-compose.tls.yml")
	})
}

func checkStack(t *testing.T, files ...string) {
	t.Helper()
	secure := len(files) > 2
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	details := stacktypes.ConfigDetails{WorkingDir: dir, Environment: secrets()}
	var dicts []map[string]any
	for _, f := range files {
		dict, err := stackloader.ParseYAML(read(t, f))
		if err != nil {
			t.Fatal(err)
		}
		dicts = append(dicts, dict)
		details.ConfigFiles = append(details.ConfigFiles, stacktypes.ConfigFile{Filename: filepath.Join(dir, f), Config: dict})
	}
	config, err := stackloader.Load(details)
	if err != nil {
		t.Fatal(err)
	}
	if got := stackloader.GetUnsupportedProperties(dicts...); !slices.Equal(got, []string{"restart", "security_opt"}) {
		t.Errorf("the stack ignores %v", got)
	}
	if got := stackloader.GetDeprecatedProperties(dicts...); len(got) > 0 {
		t.Errorf("the stack calls deprecated: %v", got)
	}
	known := variables(t)
	var names []string
	for _, s := range config.Services {
		names = append(names, s.Name)
		service := conclave.Service(s.Name)
		if s.Deploy.RestartPolicy == nil {
			t.Errorf("%s is not started again", s.Name)
		}
		if service.Port() == 0 {
			continue
		}
		c := container{name: s.Name, command: s.Command, variables: slices.Collect(maps.Keys(s.Environment)), health: s.HealthCheck.Test,
			secure: secured(s.Environment, func(v *string) string { return *v })}
		for _, f := range s.Secrets {
			c.files = append(c.files, "/run/secrets/"+f.Target)
			if config.Secrets[f.Source].File == "" {
				t.Errorf("%s gets %s, which is no secret with a file", s.Name, f.Source)
			}
			if f.Target == "tls.key" && (f.UID != "10001" || *f.Mode != 0o400) {
				t.Errorf("%s gets its key for user %s with mode %04o", s.Name, f.UID, *f.Mode)
			}
		}
		c.checkTLS(t, secure)
		c.check(t, known, false)
		if want := uint64(2); slices.Contains(hosts(), service) && *s.Deploy.Replicas != want {
			t.Errorf("%s has %d replicas, want %d", s.Name, *s.Deploy.Replicas, want)
		}
		if s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 {
			t.Errorf("%s has no limit of memory", s.Name)
		}
		for _, v := range s.Volumes {
			if v.Source == "data" && !slices.Equal(s.Deploy.Placement.Constraints, []string{"node.role == manager"}) {
				t.Errorf("%s shares files and may run anywhere", s.Name)
			}
			if v.Source == "data" && service != conclave.ServiceCouncil && *s.Environment["CONCLAVE_SANDBOX"] != "landlock" {
				t.Errorf("%s runs code, and the swarm gives it no namespaces", s.Name)
			}
		}
	}
	everyService(t, names)
}
