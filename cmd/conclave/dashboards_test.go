package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/llmtest"

	"gopkg.in/yaml.v3"
)

const (
	prometheusDir = "../../deploy/prometheus"
	dashboardDir  = "../../deploy/grafana/dashboards"
)

// installed returns the path of a program, or skips the test; CI has it.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

func TestPrometheusFiles(t *testing.T) {
	promtool := installed(t, "promtool")
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "config", "embedded.yml"}, {"check", "config", "tls.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = prometheusDir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

type scrapeConfig struct {
	Job    string `yaml:"job_name"`
	Scheme string `yaml:"scheme"`
	TLS    struct {
		ServerName string `yaml:"server_name"`
	} `yaml:"tls_config"`
	Static []struct {
		Targets []string `yaml:"targets"`
	} `yaml:"static_configs"`
	DNS []struct {
		Names []string `yaml:"names"`
		Type  string   `yaml:"type"`
		Port  int      `yaml:"port"`
	} `yaml:"dns_sd_configs"`
}

func readScrapes(t *testing.T, name string) []scrapeConfig {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(prometheusDir, name))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Scrapes []scrapeConfig `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return config.Scrapes
}

// Each configuration scrapes every service, on its documented port.
func TestEveryServiceIsScraped(t *testing.T) {
	want := map[string]int{}
	for _, s := range conclave.AllServices() {
		want[string(s)] = s.Port()
	}
	for _, name := range []string{"prometheus.yml", "embedded.yml", "tls.yml"} {
		got := map[string]int{}
		for _, s := range readScrapes(t, name) {
			for _, d := range s.DNS {
				if !slices.Equal(d.Names, []string{s.Job}) {
					t.Errorf("%s: job %s looks up %q", name, s.Job, d.Names)
				}
				got[s.Job] = d.Port
			}
			for _, c := range s.Static {
				for _, target := range c.Targets {
					port := 0
					if _, err := fmt.Sscanf(target, "127.0.0.1:%d", &port); err != nil {
						t.Errorf("%s: target %s", name, target)
					}
					got[s.Job] = port
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s scrapes %v, want %v", name, got, want)
		}
	}
}

// query is one of a dashboard's.
type query struct{ dashboard, panel, expr string }

func dashboards(t *testing.T) []query {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dashboardDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []query
	var titles []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			UID    string
			Title  string
			Panels []struct {
				Title      string
				Datasource struct{ UID string }
				Targets    []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if d.UID+".json" != filepath.Base(file) {
			t.Errorf("%s has the uid %s", file, d.UID)
		}
		titles = append(titles, d.Title)
		for _, p := range d.Panels {
			if p.Datasource.UID != "prometheus" || len(p.Targets) == 0 {
				t.Errorf("%s, %s: data source %q, %d queries", d.Title, p.Title, p.Datasource.UID, len(p.Targets))
			}
			for _, target := range p.Targets {
				all = append(all, query{d.Title, p.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")})
			}
		}
	}
	want := []string{"A2A Overview", "Agent Performance", "Collaboration Analytics", "Service Metrics", "Workflow Analytics"}
	if slices.Sort(titles); !slices.Equal(titles, want) {
		t.Errorf("dashboards %q, want %q", titles, want)
	}
	return all
}

// startPrometheus scrapes an installation's services every half second: by TLS,
// as tls.yml has it, when there is an authority.
func startPrometheus(t *testing.T, home, ca string) (base string) {
	t.Helper()
	program := installed(t, "prometheus")
	urls, err := app.ReadAddresses(home)
	if err != nil {
		t.Fatal(err)
	}
	name := "embedded.yml"
	if ca != "" {
		name = "tls.yml"
	}
	var config strings.Builder
	config.WriteString("global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n")
	for _, s := range readScrapes(t, name) {
		_, target, _ := strings.Cut(urls[conclave.Service(s.Job)], "://")
		fmt.Fprintf(&config, "- {job_name: %s, static_configs: [{targets: [%q]}]", s.Job, target)
		if ca != "" {
			fmt.Fprintf(&config, ", scheme: %q, tls_config: {ca_file: %q, server_name: %q}", s.Scheme, ca, s.TLS.ServerName)
		}
		config.WriteString("}\n")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var log syncBuffer
	ctx, stop := context.WithCancel(context.Background()) // the test's own ends before its cleanups
	cmd := exec.CommandContext(ctx, program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("prometheus:\n%s", tail(log.String(), 2000))
		}
	})
	return "http://" + address
}

// ask runs a query and returns how many series it gives.
func ask(base, expr string) (int, error) {
	resp, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s", answer.Error)
	}
	return len(answer.Data.Result), nil
}

// absent are metrics that the workload below does not bring about; the page on
// monitoring says when each is absent.
func absent() []string {
	return []string{"conclave_calls_refused_total", "conclave_queue_oldest_seconds", "conclave_model_calls_unpriced_total"}
}

// Every query of every dashboard gives data from a real Prometheus that scrapes
// the program at work, and every metric that is exported is documented.
func TestDashboards(t *testing.T) {
	queries := dashboards(t)
	installed(t, "prometheus")
	endpoint := llmtest.New(t, llmtest.Team(page()))
	s := newSite(t, "ANTHROPIC_API_KEY=dummy", "ANTHROPIC_BASE_URL="+endpoint.URL)
	s.serve()
	base := startPrometheus(t, s.home, "")
	for range 2 { // a counter that rises is seen to do so from its second value on
		if stdout, stderr, code := s.conclave("run", "Write a page about us", "--repo", s.repo); code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	box := newRepo(t, map[string]string{"go.mod": "module example.com/box\n\ngo 1.26\n", "box.go": "// Package box is empty.\npackage box\n"})
	if stdout, stderr, code := s.conclave("review", "--repo", box); code != 0 && code != exitRejected {
		t.Fatalf("review: exit code %d\n%s%s", code, stdout, stderr)
	}

	deadline := time.After(time.Minute)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	asked := 0
	for _, q := range queries {
		if slices.ContainsFunc(absent(), func(name string) bool { return strings.Contains(q.expr, name) }) {
			continue
		}
		asked++
		for {
			n, err := ask(base, q.expr)
			if n > 0 {
				break
			}
			select {
			case <-tick.C: // it has not scraped that yet
				continue
			case <-deadline:
			}
			t.Fatalf("%s, %s: %s gives %d series, %v", q.dashboard, q.panel, q.expr, n, err)
		}
	}
	t.Logf("%d queries of %d gave data", asked, len(queries))
	checkDocumented(t, s.installation)
}

// Prometheus scrapes every port by TLS, believing certificates of the one name
// that tls.yml has.
func TestScrapeByTLS(t *testing.T) {
	installed(t, "prometheus")
	i := newInstallation(t)
	i.env["CONCLAVE_TLS_NAME"] = "conclave.internal"
	files := i.secure(t)
	i.serve()
	base := startPrometheus(t, i.home, files["CONCLAVE_TLS_CA"])
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for want := len(conclave.AllServices()); ; {
		n, err := ask(base, "up == 1")
		if n == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d of %d services are scraped, %v", n, want, err)
		}
	}
}

// checkDocumented compares the metrics that the services show with those that
// the page on monitoring names.
func checkDocumented(t *testing.T, i *installation) {
	t.Helper()
	urls, err := app.ReadAddresses(i.home)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for s, base := range urls {
		resp, err := http.Get(base + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("metrics of %s: %s, %v", s, resp.Status, err)
		}
		for _, m := range regexp.MustCompile(`(?m)^# TYPE (conclave_\w+)`).FindAllSubmatch(text, -1) {
			shown[string(m[1])] = true
		}
		if s != conclave.ServiceMonitor && bytes.Contains(text, []byte("conclave_runs_total")) {
			t.Errorf("%s shows the record too; Prometheus would count it twice", s)
		}
	}
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("`(conclave_[a-z0-9_]+)`").FindAllSubmatch(page, -1) {
		documented[string(m[1])] = true
	}
	for name := range shown {
		if !documented[name] {
			t.Errorf("docs/monitoring.md does not tell of %s", name)
		}
	}
	for name := range documented {
		if !shown[name] && !slices.Contains(absent(), name) {
			t.Errorf("docs/monitoring.md tells of %s, which nothing shows", name)
		}
	}
}
