package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/gateway"
	"conclave/internal/identity"
	"conclave/internal/mcpwire"
	"conclave/internal/monitor"
	"conclave/internal/restwire"
	"conclave/internal/telemetry"
	"conclave/web"
)

// ready tells whether the process can take work, and if not, why.
type ready struct {
	mu    sync.Mutex
	why   string
	known bool
}

func (r *ready) set(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why, r.known = why, true
}

func (r *ready) reason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known {
		return "starting"
	}
	return r.why
}

// tables are the services' operations with what answers them: the service or a
// client of it.
func (a *App) tables() map[conclave.Service]conclave.Table {
	list := []conclave.Table{
		{Service: conclave.ServiceModels, Operations: conclave.ModelOperations(), Impl: a.models},
		{Service: conclave.ServicePlans, Operations: conclave.PlanOperations(), Impl: a.plans},
		{Service: conclave.ServiceWorktree, Operations: append(conclave.WorktreeOperations(), conclave.SurveyOperations()...), Impl: struct {
			conclave.Worktrees
			conclave.Surveys
		}{a.worktrees, a.surveys}},
		{Service: conclave.ServiceWorkflow, Operations: conclave.WorkflowOperations(), Impl: a.workflows},
		{Service: conclave.ServiceHub, Operations: conclave.AllHubOperations(), Impl: talk{a.hub, a.directory, a.work, a.topics, a.broadcasts, a.conversations, a.letters}},
		{Service: conclave.ServiceCouncil, Operations: append(conclave.CouncilOperations(), conclave.TrustOperations()...), Impl: struct {
			conclave.Council
			conclave.Trust
		}{a.council, a.trust}},
		{Service: conclave.ServiceMonitor, Operations: append(conclave.EventOperations(), conclave.InsightOperations()...), Impl: struct {
			record
			conclave.Insights
		}{record{a.events, a.audit}, a.insights}},
	}
	tables := map[conclave.Service]conclave.Table{}
	for _, t := range list {
		if a.between != nil {
			for i, op := range t.Operations {
				t.Operations[i] = a.between(op)
			}
		}
		if a.db != nil {
			t.Operations = a.guarded(t.Operations)
		}
		tables[t.Service] = t
	}
	return tables
}

// Tables are all operations, answered by a client.
func Tables(c *restwire.Client) []conclave.Table {
	a := &App{
		models: c.Models(), plans: c.Plans(), worktrees: c.Worktrees(), surveys: c.Surveys(), workflows: c.Workflows(),
		hub: c.Hub(), directory: c.Directory(), work: c.Work(), topics: c.Topics(), broadcasts: c.Broadcasts(), conversations: c.Conversations(), letters: c.DeadLetters(),
		council: c.Council(), trust: c.Trust(),
		events: c.Events(), audit: c.Audit(), insights: c.Insights(),
	}
	return a.allTables()
}

func (a *App) allTables() []conclave.Table {
	var list []conclave.Table
	tables := a.tables()
	for _, s := range conclave.AllServices() {
		if t, ok := tables[s]; ok {
			list = append(list, t)
		}
	}
	return list
}

// serve makes the HTTP server of each service of this process.
func (a *App) serve() error {
	hosts, err := a.hosts()
	if err != nil {
		return err
	}
	for i, s := range a.config.Services {
		metrics := telemetry.NewService(s, Version)
		if i == 0 {
			metrics.RegisterProcess()
			metrics.Register(a.sandboxed.Collectors()...)
			metrics.Register(a.busMetrics()...)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "service": string(s)})
		})
		mux.HandleFunc("GET /readyz", a.readyz)
		mux.Handle("GET /metrics", a.exposed(s, metrics))
		if err := a.faces(mux, s, metrics); err != nil {
			return fmt.Errorf("make the faces of %s: %w", s, err)
		}
		server := &http.Server{
			Handler:           metrics.Count(identity.GuardLocal(hosts...)(a.tracing.Handler(mux))),
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
			Protocols:         new(http.Protocols),
		}
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetHTTP2(true)
		// gRPC in clear is HTTP/2 without TLS.
		server.Protocols.SetUnencryptedHTTP2((s == conclave.ServiceHub || s == conclave.ServiceGateway) && !a.tls.Serves())
		a.servers = append(a.servers, server)
	}
	return nil
}

// exposed shows a service's metrics. The monitor's are those of the record too.
func (a *App) exposed(s conclave.Service, metrics *telemetry.Service) http.Handler {
	if s != conclave.ServiceMonitor {
		return metrics.Handler()
	}
	metrics.Register(a.collector)
	shown := metrics.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(conclave.WithCaller(r.Context(), conclave.ServiceCaller(s, conclave.DefaultTenant, "")), 8*time.Second)
		defer cancel()
		if err := a.collector.Refresh(ctx); err != nil {
			// What was read before would look like the present.
			a.log.Warn("the record can't be read for metrics", "error", err)
			http.Error(w, "the record can't be read", http.StatusServiceUnavailable)
			return
		}
		shown.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone when this fails
}

func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	why := a.ready.reason()
	if why == "" {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := a.db.Ping(ctx); err != nil {
			why = "the database does not answer"
		}
	}
	if why != "" {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": why})
		return
	}
	// A lost bus or Consul makes it slower and loses nothing, so the process goes
	// on taking work, and says so.
	engines := a.engines()
	var lost []string
	for _, e := range engines {
		if e.Lost != "" {
			lost = append(lost, fmt.Sprintf("%s (%s at %s): %s", e.Part, e.Engine, e.Server, e.Lost))
		}
	}
	status := "ready"
	if len(lost) > 0 {
		status = "degraded"
	}
	answer := map[string]any{"status": status, "reason": strings.Join(lost, "; "), "process": a.owner(), "version": Version, "engines": engines}
	if r.URL.Query().Has("missing") {
		answer["missing"] = a.missing()
	}
	writeJSON(w, http.StatusOK, answer)
}

// missing are the services that nobody runs, here or elsewhere.
func (a *App) missing() []conclave.Service {
	list := []conclave.Service{}
	for _, s := range conclave.AllServices() {
		if _, err := a.resolve(s); errors.Is(err, conclave.ErrUnavailable) {
			list = append(list, s)
		}
	}
	return list
}

// faces mounts what a service shows: REST, MCP and A2A from its table, and what
// is its alone.
func (a *App) faces(mux *http.ServeMux, s conclave.Service, metrics *telemetry.Service) error {
	auth := a.authenticate
	switch s {
	case conclave.ServiceGateway:
		return a.gateway(mux, metrics)
	case conclave.ServiceMonitor:
		api, err := restwire.NewHandler(restwire.Options{Version: Version, Tables: observed(metrics, "rest", a.allTables()), Events: a.events, Authenticate: auth, Prefix: "/api", Logger: a.log})
		if err != nil {
			return err
		}
		var page fs.FS
		if files, built := web.Files(); built {
			page = files
		}
		m, err := monitor.New(monitor.Options{API: api, Tokens: a.tokens, Page: page, Logger: a.log})
		if err != nil {
			return err
		}
		mux.Handle("/", m)
	case conclave.ServiceHub:
		hub, err := a.hubFace()
		if err != nil {
			return err
		}
		for _, path := range append(hubPaths(), hubSearch) {
			mux.Handle(path, hub)
		}
	case conclave.ServiceModels:
		wire := a.router.Handler()
		mux.Handle("/v1/", wire)
		mux.Handle("/k/", wire)
	}
	if pool, ok := a.pools[s]; ok {
		mux.Handle("/agents/", a.authenticated(pool))
	}
	table, ok := a.tables()[s]
	if !ok {
		// A host of agents has no table of its own; its agents are its faces.
		table = conclave.Table{Service: s, Operations: []conclave.Operation{}, Impl: struct{}{}}
	}
	rest, err := restwire.NewHandler(restwire.Options{Title: "Conclave " + string(s), Version: Version, Tables: observed(metrics, "rest", []conclave.Table{table}), Events: a.events, Authenticate: auth, Logger: a.log})
	if err != nil {
		return err
	}
	if err := a.mcp(mux, observed(metrics, "mcp", []conclave.Table{table}), true); err != nil {
		return err
	}
	agent, runner := a2awire.NewServiceHandler(metrics.Observe("a2a", table), a.urls[s]+"/a2a/service", a.log)
	a.closers = append(a.closers, runner.Close)
	for _, path := range []string{"/a2a/service", "/a2a/service/"} { // the card says the first
		mux.Handle(path, http.StripPrefix("/a2a/service", a.authenticated(agent)))
	}
	mux.Handle("/.well-known/agent-card.json", a.authenticated(agent))
	if s == conclave.ServiceMonitor {
		return nil
	}
	front, err := a.front(s, table.Operations)
	if err != nil {
		return err
	}
	mux.Handle("GET /{$}", front)
	mux.Handle("/", rest)
	return nil
}

// observed are tables whose operations are counted.
func observed(metrics *telemetry.Service, face string, tables []conclave.Table) []conclave.Table {
	for i, t := range tables {
		tables[i] = metrics.Observe(face, t)
	}
	return tables
}

func (a *App) mcp(mux *http.ServeMux, tables []conclave.Table, all bool) error {
	server, err := mcpwire.NewServer(mcpwire.Options{Version: Version, Tables: tables, All: all, Logger: a.log})
	if err != nil {
		return err
	}
	h, err := mcpwire.NewHandler(mcpwire.HandlerOptions{Server: server, Authenticate: a.authenticate, HostsGuarded: true, Logger: a.log})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, h.Close)
	mux.Handle("/mcp", h)
	mux.Handle(mcpwire.MetadataPath, h)
	mux.Handle(mcpwire.MetadataPath+"/", h)
	mux.Handle(mcpwire.RegistrationPath, h)
	return nil
}

// gateway is the one entry: /api, /mcp, /a2a and the page.
func (a *App) gateway(mux *http.ServeMux, metrics *telemetry.Service) error {
	api, err := restwire.NewHandler(restwire.Options{Version: Version, Tables: observed(metrics, "rest", a.allTables()), Events: a.events, Authenticate: a.authenticate, Prefix: "/api", Logger: a.log})
	if err != nil {
		return err
	}
	tools := http.NewServeMux()
	if err := a.mcp(tools, observed(metrics, "mcp", a.allTables()), false); err != nil {
		return err
	}
	var agents http.Handler
	if a.hubHTTP != nil {
		if agents, err = a.hubFace(); err != nil {
			return err
		}
	}
	g, err := gateway.New(gateway.Options{API: api, MCP: tools, A2A: agents, A2APaths: append(hubPaths(), hubSearch), Authenticate: identity.Authenticate(a.tokens), Resolve: a.resolve, Transport: a.transport, HTTP2: a.http2,
		MCPPaths: []string{mcpwire.MetadataPath, mcpwire.MetadataPath + "/", mcpwire.RegistrationPath},
		Caller:   a.config.Security.RateCaller, Address: a.config.Security.RateAddress, Logger: a.log})
	if err != nil {
		return err
	}
	mux.Handle("/", g)
	return nil
}

// authenticated puts the caller of a request into its context. A request without
// a token stays without a caller, who may see only what is public; a wrong token
// is refused.
func (a *App) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" && r.Header.Get("X-Api-Key") == "" {
			next.ServeHTTP(w, r)
			return
		}
		c, err := a.authenticate(r)
		if err != nil && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			next.ServeHTTP(w, r.WithContext(a2awire.WithRefusal(r.Context(), err)))
			return
		}
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="conclave"`)
			http.Error(w, conclave.Text(err), http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(conclave.WithCaller(r.Context(), c)))
	})
}

func (a *App) serveOn(server *http.Server, l net.Listener) error {
	if !a.tls.Serves() {
		return server.Serve(l)
	}
	server.TLSConfig = a.tls.Server()
	return server.ServeTLS(l, "", "")
}

// runHTTP serves all ports. The ports answer /healthz and /readyz from here on;
// they stop last, after the readiness has said so.
func (a *App) runHTTP(ctx context.Context, ready func()) error {
	failed := make(chan error, len(a.servers))
	var wg sync.WaitGroup
	// Requests live until the servers stop: then streams end too.
	requests, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	for i, s := range a.config.Services {
		a.servers[i].BaseContext = func(net.Listener) context.Context { return requests }
		wg.Go(func() {
			if err := a.serveOn(a.servers[i], a.listeners[s]); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", s, err)
			}
		})
	}
	ready()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	end()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	for _, server := range a.servers {
		if server.Shutdown(stop) != nil { // streams do not end by themselves
			err = errors.Join(err, server.Close())
		}
	}
	wg.Wait()
	return err
}
