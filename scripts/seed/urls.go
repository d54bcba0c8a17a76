package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
)

// place is what the page says is at a port.
type place struct {
	service conclave.Service
	proofs  string // operations that conclave prove calls there and checks
}

func places() map[string]place {
	return map[string]place{
		"80":   {conclave.ServiceGateway, ""},
		"8001": {conclave.ServiceModels, "route_explain upstream_list"},
		"8002": {conclave.ServicePlans, "plan_propose plan_diff"},
		"8003": {conclave.ServiceWorktree, "worktree_lease worktree_release"},
		"8004": {conclave.ServiceWorkflow, "workflow_start workflow_list"},
		"8010": {conclave.ServiceHub, "message_send task_get agent_register"},
		"8011": {conclave.ServicePool, ""},
		"8012": {conclave.ServiceCouncil, "decide ballot_cast decision_get"},
		"8013": {conclave.ServiceExperts, ""},
		"8014": {conclave.ServiceReview, ""},
		"8015": {conclave.ServiceQA, ""},
		"8016": {conclave.ServiceMonitor, "event_watch event_list"},
	}
}

// urlChecks open what is at each port that the page names.
func (s *session) urlChecks(ports []string) []check {
	var list []check
	for _, port := range ports {
		what := "http://localhost:" + port
		switch port {
		case "80":
			what = "http://localhost"
			list = append(list, checked(what, s.gateway))
		case "8016":
			list = append(list, checked(what, s.monitor))
		case "3000":
			list = append(list, check{what, s.grafana})
		case "9090":
			list = append(list, check{what, s.prometheus})
		case "8500":
			list = append(list, check{what, s.consul})
		default:
			p, ok := places()[port]
			if !ok {
				list = append(list, check{what, func(context.Context) (outcome, string) { return fail, "nothing checks this port yet" }})
				continue
			}
			list = append(list, checked(what, func(ctx context.Context) (string, error) { return s.service(ctx, p) }))
		}
	}
	return list
}

// at is where a service is, as the page writes it when it is on its documented port.
func (s *session) at(service conclave.Service) (base, told string, err error) {
	all, err := s.addresses()
	if err != nil {
		return "", "", err
	}
	base = strings.Replace(all[service], "127.0.0.1", "localhost", 1)
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Port() == "":
		return "", "", fmt.Errorf("%s is at %q: %w", service, base, err)
	case u.Port() == "80":
		return "http://localhost", "", nil
	case u.Port() != strconv.Itoa(service.Port()):
		told = " (on port " + u.Port() + ": the documented ones were taken)"
	case service == conclave.ServiceGateway:
		told = " (on 8080: 80 needs privileges)"
	}
	return base, told, nil
}

// shows opens what every service shows: itself, its health, its metrics, its card.
func shows(ctx context.Context, base string, service conclave.Service, title string) error {
	for path, want := range map[string]string{"/": title, "/healthz": string(service), "/readyz": `"ready"`, "/metrics": "conclave_", "/.well-known/agent-card.json": `"skills"`} {
		status, body, err := open(ctx, http.DefaultClient, base+path, "")
		if err != nil {
			return err
		}
		if status != http.StatusOK || !strings.Contains(body, want) {
			return fmt.Errorf("%s answers %d without %q", base+path, status, want)
		}
	}
	return nil
}

// service opens a service, and has its operations proved, or its agents asked.
func (s *session) service(ctx context.Context, p place) (string, error) {
	base, told, err := s.at(p.service)
	if err != nil {
		return "", err
	}
	if err := shows(ctx, base, p.service, "<h1>"+string(p.service)); err != nil {
		return "", err
	}
	seen := "page, health, metrics, card; "
	if p.proofs != "" {
		_, err := s.must(ctx, "bin/conclave prove "+p.proofs)
		return seen + "conclave prove " + p.proofs + told, err
	}
	names, err := s.texts(ctx, `SELECT name FROM agents WHERE state = 'live' AND doc LIKE $1 AND name GLOB role || '-[0-9]*'`, `%"service":"`+string(p.service)+`"%`)
	if err != nil || len(names) == 0 {
		return "", fmt.Errorf("%s hosts no agent: %w", p.service, err)
	}
	for _, name := range names {
		if err := s.ask(ctx, name); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%sits %d agents answered%s", seen, len(names), told), nil
}

// ask asks an agent something, and finds its answer in the database.
func (s *session) ask(ctx context.Context, name string) error {
	hub, _, err := s.at(conclave.ServiceHub)
	if err != nil {
		return err
	}
	var t conclave.Task
	if err := s.post(ctx, hub+"/messages", conclave.SendMessage{To: "agents/" + name, Kind: conclave.AssignAsk, Text: "What can you do?"}, &t); err != nil {
		return err
	}
	return until(ctx, time.Minute, "the answer of "+name, func() (bool, error) {
		states, err := s.texts(ctx, `SELECT state FROM tasks WHERE id = $1 AND agent = $2`, string(t.ID), name)
		return slices.Equal(states, []string{string(conclave.TaskCompleted)}), err
	})
}

// gateway opens the main entry: the page, and the API with and without a token.
func (s *session) gateway(ctx context.Context) (string, error) {
	base, told, err := s.at(conclave.ServiceGateway)
	if err != nil {
		return "", err
	}
	if err := shows(ctx, base, conclave.ServiceGateway, "<title>Conclave"); err != nil {
		return "", err
	}
	token, err := s.must(ctx, "bin/conclave token")
	if err != nil {
		return "", err
	}
	names, err := s.texts(ctx, `SELECT name FROM agents WHERE state = 'live'`)
	if err != nil {
		return "", err
	}
	_, body, err := open(ctx, http.DefaultClient, base+"/api/agents", token)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if !strings.Contains(body, `"`+name+`"`) {
			return "", fmt.Errorf("/api/agents lacks %s, which SQL finds", name)
		}
	}
	if status, _, err := open(ctx, http.DefaultClient, base+"/api/agents", ""); err != nil || status != http.StatusUnauthorized {
		return "", fmt.Errorf("without a token /api/agents answers %d: %w", status, err)
	}
	for path, want := range map[string]string{"/api/docs": "<html", "/api/openapi.json": `"3.1`} {
		if status, body, err := open(ctx, http.DefaultClient, base+path, ""); err != nil || status != http.StatusOK || !strings.Contains(body, want) {
			return "", fmt.Errorf("%s answers %d without %q: %w", path, status, want, err)
		}
	}
	return fmt.Sprintf("page, health, metrics, card, API and its description; %d agents as in SQL, 401 without a token%s", len(names), told), nil
}

// monitor opens the page by its one-time link, and sees there what happens.
func (s *session) monitor(ctx context.Context) (string, error) {
	base, told, err := s.at(conclave.ServiceMonitor)
	if err != nil {
		return "", err
	}
	if err := shows(ctx, base, conclave.ServiceMonitor, "<title>Conclave"); err != nil {
		return "", err
	}
	link, err := s.must(ctx, "bin/conclave watch --open")
	if err != nil {
		return "", err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := &http.Client{Jar: jar}
	if status, body, err := open(ctx, browser, link, ""); err != nil || status != http.StatusOK || !strings.Contains(body, "<title>Conclave") {
		return "", fmt.Errorf("the link answers %d: %w", status, err)
	}
	if status, _, err := open(ctx, &http.Client{}, link, ""); err != nil || status == http.StatusOK {
		return "", fmt.Errorf("the link works twice: %d, %w", status, err)
	}
	home, err := url.Parse(link)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+home.Host+"/api/events/watch", nil)
	if err != nil {
		return "", err
	}
	stream, err := browser.Do(req)
	if err != nil {
		return "", err
	}
	defer stream.Body.Close()
	asked := make(chan error, 1)
	go func() { asked <- s.ask(ctx, "planner-1") }()
	var seen string
	for line := make([]byte, 4096); !strings.Contains(seen, "planner-1"); {
		n, err := stream.Body.Read(line)
		seen += string(line[:n])
		if err != nil {
			return "", errors.Join(<-asked, fmt.Errorf("the page's stream shows no message to planner-1: %w", err))
		}
	}
	return "the link opens it once; its stream shows a message as it is sent" + told, <-asked
}

// grafana is not here: what it would show is asked of a real Prometheus.
func (s *session) grafana(ctx context.Context) (outcome, string) {
	const instead = "go test -count=1 -run '^TestDashboards$' ./cmd/conclave"
	if _, err := exec.LookPath("prometheus"); err != nil {
		return excepted, "neither Grafana nor Prometheus is installed"
	}
	if _, err := s.must(ctx, instead); err != nil {
		return fail, err.Error()
	}
	return excepted, "Grafana is not installed; instead each query of its dashboards is run: " + instead
}

// prometheus starts one with the repository's configuration, and compares what
// it has scraped with the database.
func (s *session) prometheus(ctx context.Context) (outcome, string) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return excepted, "Prometheus is not installed"
	}
	seen, err := s.scraped(ctx, program)
	if err != nil {
		return fail, err.Error()
	}
	return pass, seen
}

func (s *session) scraped(ctx context.Context, program string) (string, error) {
	dir := filepath.Join(s.dir, "prometheus")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(s.clone, "deploy", "prometheus"))); err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, "embedded.yml"))
	if err != nil {
		return "", err
	}
	all, err := s.addresses()
	if err != nil {
		return "", err
	}
	config := strings.ReplaceAll(string(text), "15s", "1s") // to see it sooner
	for service, address := range all {
		config = strings.Replace(config, fmt.Sprintf(`"127.0.0.1:%d"`, service.Port()), strconv.Quote(strings.TrimPrefix(address, "http://")), 1)
	}
	if err := os.WriteFile(filepath.Join(dir, "embedded.yml"), []byte(config), 0o600); err != nil {
		return "", err
	}
	at, err := port(9090)
	if err != nil {
		return "", err
	}
	stop, err := s.server(program, "--config.file="+filepath.Join(dir, "embedded.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), fmt.Sprintf("--web.listen-address=127.0.0.1:%d", at))
	if err != nil {
		return "", err
	}
	defer stop()
	base := fmt.Sprintf("http://localhost:%d", at)
	query := func(expr string) (string, error) {
		_, body, err := open(ctx, http.DefaultClient, base+"/api/v1/query?query="+url.QueryEscape(expr), "")
		if err != nil {
			return "", nil // it is not up yet
		}
		var reply struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if err := json.Unmarshal([]byte(body), &reply); err != nil || len(reply.Data.Result) != 1 {
			return "", nil
		}
		return fmt.Sprint(reply.Data.Result[0].Value[1]), nil
	}
	for _, want := range []struct{ what, expr, sql string }{
		{"a reading of every service", "count(up == 1)", `SELECT count(*) FROM services`},
		{"the live agents", `sum(conclave_agents{state="live"})`, `SELECT count(*) FROM agents WHERE state = 'live'`},
		{"the messages", "sum(conclave_messages_total)", `SELECT count(*) FROM messages`},
	} {
		var got, kept string
		if err := until(ctx, time.Minute, want.what, func() (bool, error) {
			rows, err := s.texts(ctx, want.sql)
			if err != nil {
				return false, err
			}
			kept = rows[0]
			got, err = query(want.expr)
			return got != "" && got == kept, err
		}); err != nil {
			return "", fmt.Errorf("%w: %s is %q, by SQL %q", err, want.expr, got, kept)
		}
	}
	return fmt.Sprintf("deploy/prometheus/embedded.yml on %s: all services up, agents and messages as in SQL", base), nil
}

// server starts a program that runs until stop is called.
func (s *session) server(program string, args ...string) (stop func(), err error) {
	log, err := os.Create(filepath.Join(s.dir, filepath.Base(program)+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, log, log
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		_ = log.Close()
	}, nil
}

// consul starts one, has the services register with it, and asks it for them.
func (s *session) consul(ctx context.Context) (outcome, string) {
	program := os.Getenv("CONCLAVE_TEST_CONSUL")
	if program == "" {
		program = "consul"
	}
	program, err := exec.LookPath(program)
	if err != nil {
		const instead = "go test -count=1 ./internal/registry"
		if _, err := s.must(ctx, instead); err != nil {
			return fail, err.Error()
		}
		return excepted, "Consul is not installed (scripts/consul.sh builds it, CONCLAVE_TEST_CONSUL names it); instead: " + instead
	}
	seen, err := s.registered(ctx, program)
	if err != nil {
		return fail, err.Error()
	}
	return pass, seen
}

func (s *session) registered(ctx context.Context, program string) (string, error) {
	ports := make([]string, 3)
	for i, wanted := range []int{8500, 0, 0} {
		p, err := port(wanted)
		if err != nil {
			return "", err
		}
		ports[i] = strconv.Itoa(p)
	}
	stop, err := s.server(program, "agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-http-port", ports[0], "-dns-port", "-1",
		"-grpc-port", "-1", "-grpc-tls-port", "-1", "-server-port", ports[1], "-serf-lan-port", ports[2], "-serf-wan-port", "-1")
	if err != nil {
		return "", err
	}
	defer stop()
	base := "http://localhost:" + ports[0]
	if err := until(ctx, time.Minute, "Consul's leader", func() (bool, error) {
		_, body, err := open(ctx, http.DefaultClient, base+"/v1/status/leader", "")
		return err == nil && len(body) > 2, nil
	}); err != nil {
		return "", err
	}
	if _, err := s.must(ctx, "CONSUL_HTTP_ADDR=127.0.0.1:"+ports[0]+" make restart"); err != nil {
		return "", err
	}
	all, err := s.addresses()
	if err != nil {
		return "", err
	}
	for service, address := range all {
		if err := until(ctx, time.Minute, "Consul's word that "+string(service)+" is well", func() (bool, error) {
			var found []struct{ Service struct{ Port int } }
			_, body, err := open(ctx, http.DefaultClient, base+"/v1/health/service/"+string(service)+"?passing", "")
			if err == nil {
				err = json.Unmarshal([]byte(body), &found)
			}
			return err == nil && len(found) == 1 && strings.HasSuffix(address, fmt.Sprint(":", found[0].Service.Port)), err
		}); err != nil {
			return "", err
		}
	}
	_, err = s.must(ctx, "make restart")
	return fmt.Sprintf("Consul on %s says of all %d services that they are well, and where", base, len(all)), err
}

// tableChecks are of what the page lists: files, metrics, dashboards.
func (s *session) tableChecks(page string) []check {
	var list []check
	for _, path := range linksOf(page) {
		list = append(list, checked(path, func(context.Context) (string, error) {
			info, err := os.Stat(filepath.Join(s.clone, filepath.FromSlash(path)))
			if err == nil && !info.IsDir() && info.Size() == 0 {
				err = errors.New("it is empty")
			}
			return "is there", err
		}))
	}
	for _, m := range metricsOf(page) {
		list = append(list, checked(m.name+" "+m.target, func(ctx context.Context) (string, error) {
			out, err := s.must(ctx, "bin/conclave analytics metrics")
			if err != nil {
				return "", err
			}
			first, _, _ := strings.Cut(m.name, " ")
			want := strings.NewReplacer(" ", "", "s", "", "%", "").Replace(m.target)
			for line := range strings.Lines(out) {
				said := strings.NewReplacer(" ", "", "s", "", "%", "", ".00", "", ".0", "", ".80", ".8").Replace(line)
				if strings.HasPrefix(line, first) && strings.Contains(said, want) {
					return strings.Join(strings.Fields(line), " "), nil
				}
			}
			return "", fmt.Errorf("it is not shown with that target:\n%s", out)
		}))
	}
	for _, title := range dashboardsOf(page) {
		list = append(list, checked("dashboard "+title, func(context.Context) (string, error) {
			paths, err := filepath.Glob(filepath.Join(s.clone, "deploy", "grafana", "dashboards", "*.json"))
			if err != nil {
				return "", err
			}
			for _, path := range paths {
				text, err := os.ReadFile(path)
				if err != nil {
					return "", err
				}
				var d struct {
					Title  string
					Panels []json.RawMessage
				}
				if err := json.Unmarshal(text, &d); err != nil {
					return "", err
				}
				if d.Title == title {
					return fmt.Sprintf("%s, %d panels", filepath.Base(path), len(d.Panels)), nil
				}
			}
			return "", errors.New("no dashboard has this title")
		}))
	}
	return list
}
