// Package app binds every service to here, there or nowhere, and runs them. No
// other package knows how the program is deployed.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/agentpool"
	"conclave/internal/bus"
	"conclave/internal/council"
	"conclave/internal/evidence"
	"conclave/internal/hub"
	"conclave/internal/identity"
	"conclave/internal/insight"
	"conclave/internal/lifecycle"
	"conclave/internal/modelrouter"
	"conclave/internal/plan"
	"conclave/internal/registry"
	"conclave/internal/restwire"
	"conclave/internal/sandbox"
	"conclave/internal/store"
	"conclave/internal/survey"
	"conclave/internal/telemetry"
	"conclave/internal/workflow"
	"conclave/internal/worktree"

	"golang.org/x/time/rate"
)

// Version is what this program calls itself on its wires.
const Version = "0.1.0"

// App is one process of Conclave.
type App struct {
	config   Config
	getenv   func(string) string
	log      *slog.Logger
	between  func(conclave.Operation) conclave.Operation
	patient  bool
	db       *store.DB
	bus      *bus.Bus
	registry *registry.Registry
	name     string // of this installation, on servers that others use too
	tokens   *identity.Tokens
	tls      *identity.TLS
	audit    conclave.Audit
	caller   conclave.Caller // the local human
	unlock   func() error

	transport *http.Transport // to other services
	http2     *http.Transport // to other services by HTTP/2, also in clear
	refusals  *rate.Limiter   // of refused tokens that are recorded

	listeners map[conclave.Service]net.Listener
	urls      map[conclave.Service]string
	local     *a2awire.Local
	remote    *restwire.Client
	box       *sandbox.Sandbox
	meter     *evidence.Meter
	router    *modelrouter.Router

	models        conclave.Models
	hub           conclave.Hub
	directory     conclave.Directory
	work          conclave.Work
	topics        conclave.Topics
	broadcasts    conclave.Broadcasts
	conversations conclave.Conversations
	letters       conclave.DeadLetters
	hubKeys       []byte // the JSON Web Key Set that cards are signed with; empty when the hub is elsewhere
	hubHTTP       http.Handler
	hubGRPC       http.Handler
	council       conclave.Council
	trust         conclave.Trust
	insights      conclave.Insights
	surveys       conclave.Surveys
	collector     *insight.Collector
	sandboxed     *telemetry.Sandbox
	tracing       *telemetry.Tracing
	plans         conclave.Plans
	worktrees     conclave.Worktrees
	workflows     conclave.Workflows
	events        conclave.Events
	pools         map[conclave.Service]*agentpool.Pool

	services []lifecycle.Service // in order of start
	servers  []*http.Server
	ready    ready
	closers  []func()
}

// Options of New beside the configuration.
type Options struct {
	Config Config
	Getenv func(string) string
	Logger *slog.Logger
	// Patient waits for a database server that can't be reached, and says so on
	// /readyz; else that is an error at once.
	Patient bool
	// Between, when it is there, changes each operation before a face shows it:
	// a test that proves are noticed puts empty ones there.
	Between func(conclave.Operation) conclave.Operation
}

// New opens the database, binds the ports and makes the services, without
// starting them. Close it also when Run was not called. ErrConflict when another
// process uses the data directory or a port.
func New(ctx context.Context, o Options) (_ *App, err error) {
	a := &App{config: o.Config, getenv: o.Getenv, log: o.Logger, patient: o.Patient, between: o.Between, local: &a2awire.Local{}, listeners: map[conclave.Service]net.Listener{},
		urls: map[conclave.Service]string{}, pools: map[conclave.Service]*agentpool.Pool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if len(a.config.Services) == 0 {
		a.config.Services = conclave.AllServices()
	}
	for _, s := range a.config.Services {
		if _, err := ParseService(string(s)); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(a.config.Home, 0o700); err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "make the data directory: %w", err)
	}
	if err := a.identify(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(a.config.Database, "sqlite:") {
		if len(a.config.Services) != len(conclave.AllServices()) {
			return nil, conclave.Errorf(conclave.ErrInvalid, "SQLite serves one process: run all services in it, or set CONCLAVE_DATABASE_URL to a Postgres URL")
		}
		if a.unlock, err = lockHome(a.config.Home); err != nil {
			return nil, err
		}
	}
	if err := a.listen(); err != nil {
		return nil, err
	}
	if err := a.openEngines(ctx); err != nil {
		return nil, err
	}
	if err := a.keepToken(ctx); err != nil {
		return nil, err
	}
	if err := a.bind(ctx); err != nil {
		return nil, err
	}
	return a, a.serve()
}

func serviceList(services []conclave.Service) string {
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = string(s)
	}
	return strings.Join(names, " ")
}

// ParseService returns the service of a name. ErrInvalid names the nearest one
// when there is none.
func ParseService(name string) (conclave.Service, error) {
	if s := conclave.Service(name); s.Port() != 0 {
		return s, nil
	}
	return "", conclave.Errorf(conclave.ErrInvalid, "no service %q; %s", name, conclave.DidYouMean(name, serviceNames()))
}

func serviceNames() []string {
	var names []string
	for _, s := range conclave.AllServices() {
		names = append(names, string(s))
	}
	return names
}

// LocalCaller is the person at this machine.
func LocalCaller(getenv func(string) string) conclave.Caller {
	name := getenv("USER")
	if name == "" {
		name = "local"
	}
	return conclave.Caller{Tenant: conclave.DefaultTenant, Human: name, Permissions: identity.HumanPermissions("admin")}
}

const tokenLife = 365 * 24 * time.Hour

// writeToken keeps the local token in a file that only its owner can read. A
// token that is still good is left as it is.
func writeToken(home string, tokens *identity.Tokens, caller conclave.Caller, keep func(conclave.Token) error) error {
	path := filepath.Join(home, "token")
	if old, err := os.ReadFile(path); err == nil {
		if _, err := tokens.Verify(strings.TrimSpace(string(old))); err == nil {
			return nil
		}
	}
	token, kept, err := tokens.MintKept(caller, tokenLife)
	if err != nil {
		return err
	}
	if err := keep(kept); err != nil {
		return err
	}
	return replaceFile(path, []byte(token+"\n"))
}

// here reports whether a service runs in this process.
func (a *App) here(s conclave.Service) bool { return slices.Contains(a.config.Services, s) }

// owner names this process in claims. Its listener makes it unique while it lives.
func (a *App) owner() string {
	first := a.config.Services[0]
	if a.config.AutoPorts {
		return string(first) // there is one of each in a data directory
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return host + "/" + a.urls[first]
}

// listen binds the ports before anything else happens, so that a second start
// fails without having touched anything.
func (a *App) listen() error {
	for _, s := range a.config.Services {
		port := a.config.Port(s)
		l, err := net.Listen("tcp", net.JoinHostPort(a.config.Listen, strconv.Itoa(port)))
		if err != nil {
			return conclave.Errorf(conclave.ErrConflict, "%s can't listen on port %d: %w. Is Conclave running already (conclave status)? CONCLAVE_PORTS=auto takes free ports", s, port, err)
		}
		a.listeners[s] = l
		addr := l.Addr().(*net.TCPAddr)
		scheme := "http://"
		if a.tls.Serves() {
			scheme = "https://"
		}
		a.urls[s] = scheme + net.JoinHostPort(a.config.Host(), strconv.Itoa(addr.Port))
	}
	if a.tls.Serves() {
		return TLSProblem(a.tls, a.urls)
	}
	return nil
}

// hosts are the Host names that this process serves: what it was told to, where
// others find it, and, when it listens beyond loopback, its own addresses, which
// probes and collectors call.
func (a *App) hosts() ([]string, error) {
	hosts := slices.Clone(a.config.Hosts)
	for s, l := range a.listeners {
		u, err := url.Parse(a.urls[s])
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "address of %s: %w", s, err)
		}
		hosts = append(hosts, u.Hostname())
		if !l.Addr().(*net.TCPAddr).IP.IsUnspecified() {
			continue
		}
		own, err := net.InterfaceAddrs()
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrUnavailable, "list this machine's addresses: %w", err)
		}
		for _, addr := range own {
			if n, ok := addr.(*net.IPNet); ok {
				hosts = append(hosts, n.IP.String())
			}
		}
	}
	return hosts, nil
}

// bind makes a contract's value: the service itself when it runs here, else a
// client that finds it by the registry, whose calls fail with ErrUnavailable
// while there is none.
func bind[T any](a *App, s conclave.Service, here func() (T, error), there T) (T, error) {
	if !a.here(s) {
		return there, nil
	}
	v, err := here()
	if err != nil {
		return v, fmt.Errorf("make %s: %w", s, err)
	}
	return v, nil
}

// bind makes the services in the order of their dependencies.
func (a *App) bind(ctx context.Context) error {
	var err error
	if a.tracing, err = telemetry.NewTracing(ctx, a.getenv, serviceList(a.config.Services), Version); err != nil {
		return err
	}
	a.local.Remote = a.transport
	a.remote = restwire.Dial(restwire.DialOptions{Resolve: a.resolve, Token: a.tokenFor, Patience: patience, HTTP: &http.Client{Transport: a.tracing.Transport(a.transport)}})
	a.events = a.db.Events()
	if err := a.makeAudit(); err != nil {
		return err
	}
	a.sandboxed = telemetry.NewSandbox()
	if a.box, err = sandbox.New(sandbox.Options{Logger: a.log, Switch: a.config.Sandbox, Watch: a.watchSandbox}); err != nil {
		return err
	}
	if a.meter, err = evidence.New(evidence.Options{Sandbox: a.box, CacheDir: filepath.Join(a.config.Home, "cache"), VulnDB: a.getenv("GOVULNDB"),
		ModuleProxy: fileOnly(a.getenv("GOPROXY")), Licences: a.config.Licences, Logger: a.log}); err != nil {
		return err
	}
	if a.models, err = bind(a, conclave.ServiceModels, a.makeRouter, a.remote.Models()); err != nil {
		return err
	}
	a.topics, a.broadcasts, a.conversations = a.remote.Topics(), a.remote.Broadcasts(), a.remote.Conversations() // unless makeHub makes them
	a.directory, a.work, a.letters = a.remote.Directory(), a.remote.Work(), a.remote.DeadLetters()               // unless makeHub makes them
	if a.hub, err = bind(a, conclave.ServiceHub, a.makeHub, a.remote.Hub()); err != nil {
		return err
	}
	if err := a.makePools(ctx); err != nil {
		return err
	}
	a.trust = a.remote.Trust() // unless makeCouncil makes it
	if a.council, err = bind(a, conclave.ServiceCouncil, a.makeCouncil, a.remote.Council()); err != nil {
		return err
	}
	if a.plans, err = bind(a, conclave.ServicePlans, func() (conclave.Plans, error) { return plan.New(a.db.Plans()), nil }, a.remote.Plans()); err != nil {
		return err
	}
	if a.worktrees, err = bind(a, conclave.ServiceWorktree, a.makeWorktrees, a.remote.Worktrees()); err != nil {
		return err
	}
	if a.surveys, err = bind(a, conclave.ServiceWorktree, a.makeSurveys, a.remote.Surveys()); err != nil {
		return err
	}
	if a.workflows, err = bind(a, conclave.ServiceWorkflow, a.makeWorkflows, a.remote.Workflows()); err != nil {
		return err
	}
	// Like events, figures are read from the database wherever they are asked for:
	// they are there while other services are not.
	trust := council.New(council.Options{Outcomes: a.db.Outcomes()})
	if a.insights, err = insight.New(insight.Options{Store: a.db.Insights(), Trust: trust}); err != nil {
		return err
	}
	a.collector, err = insight.NewCollector(insight.CollectorOptions{Insights: a.insights, Trust: trust, Events: a.db.Insights()})
	return err
}

// watchSandbox counts and traces what is run in the sandbox.
func (a *App) watchSandbox(ctx context.Context, program string) func(sandbox.Result, error) {
	start := time.Now()
	_, end := telemetry.Span(ctx, "sandbox "+program)
	return func(r sandbox.Result, err error) {
		end(err)
		a.sandboxed.Ran(program, r.ExitCode, err, time.Since(start))
	}
}

// fileOnly passes on a module proxy that can be reached inside the sandbox.
func fileOnly(proxy string) string {
	if strings.HasPrefix(proxy, "file://") {
		return proxy
	}
	return ""
}

// resolve finds a service that runs elsewhere.
func (a *App) resolve(s conclave.Service) (string, error) {
	if url, ok := a.urls[s]; ok {
		return url, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a look-up of its own: no caller's context reaches here
	defer cancel()
	return a.registry.Resolve(ctx, s)
}

// tokenFor mints the token with which one service calls another: for whoever
// the call is made for.
func (a *App) tokenFor(ctx context.Context) (string, error) {
	c := conclave.CallerFrom(ctx)
	if c.Human == "" && c.Service == "" && c.Agent == "" {
		return "", conclave.Errorf(conclave.ErrInternal, "a call on nobody's behalf")
	}
	if c.Human == "" { // what a service does by itself, as a heartbeat, is done for whoever runs it
		c.Human = a.caller.Human
	}
	return a.tokens.Mint(c, 5*time.Minute)
}

func (a *App) makeRouter() (conclave.Models, error) {
	upstreams, err := modelrouter.UpstreamsFromEnv(a.getenv)
	if err != nil {
		return nil, err
	}
	a.router, err = modelrouter.New(modelrouter.Options{Upstreams: upstreams, Rules: a.config.Routing, Store: a.db.ModelCalls(), Idle: a.config.ModelIdle, Logger: a.log,
		Authenticate: func(ctx context.Context, token string) (conclave.Caller, error) {
			c, err := a.tokens.Verify(token)
			if err != nil && token != "" {
				a.recordForged(ctx, string(conclave.ServiceModels), err)
			}
			return c, err
		}})
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, a.settleCalls)
	return a.router, nil
}

// settleCalls lets what was called be in the accounts before the database closes.
func (a *App) settleCalls() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.router.Settle(ctx); err != nil {
		a.log.Error("closing the accounts of model calls", "error", err)
	}
}

func (a *App) makeHub() (conclave.Hub, error) {
	key, err := identity.LoadOrCreate(filepath.Join(a.config.Home, "keys"), "hub")
	if err != nil {
		return nil, err
	}
	if a.hubKeys, err = identity.PublicKeySet(key); err != nil {
		return nil, err
	}
	h, err := hub.New(hub.Options{Foreign: a.outside(a.config.Security.AgentNetworks), Inside: a.outside(everywhere()), Sign: signCards(key), Push: a.push(key), Letters: a.db.Letters(), MaxQueued: a.config.Security.QueueAddress, MaxSent: a.config.Security.QueueSender, Store: a.db.Hub(), Topics: a.db.Topics(), Conversations: a.db.Conversations(),
		Rules: &a.config.Speech, Trust: a.trustOf, Transport: a.tracing.Transport(a.local), Instance: a.owner(), Logger: a.log,
		Token: func(ctx context.Context, _ conclave.Agent) (string, error) {
			c := conclave.CallerFrom(ctx)
			return a.tokens.Mint(conclave.ServiceCaller(conclave.ServiceHub, conclave.DefaultTenant, c.Human), 5*time.Minute)
		}})
	if err != nil {
		return nil, err
	}
	a.hubHTTP, a.hubGRPC, a.directory, a.work = h, h.GRPC(), h, h
	a.topics, a.broadcasts, a.conversations, a.letters = h, h, h.Conversations(), h
	a.db.HandleDeliveries(512, func(ctx context.Context, id string, epoch int64) error {
		return h.HandleDelivery(ctx, conclave.TaskID(id), epoch)
	})
	a.services = append(a.services, lifecycle.Service{Name: string(conclave.ServiceHub), Run: h.Run})
	return h, nil
}

func (a *App) makePools(ctx context.Context) error {
	sources, specs, warnings, err := a.config.agents()
	if err != nil {
		return err
	}
	for _, w := range warnings {
		a.log.Warn(w)
	}
	files := &roleFiles{sources: sources, specs: specs}
	keys := filepath.Join(a.config.Home, "keys")
	for _, s := range []conclave.Service{conclave.ServicePool, conclave.ServiceExperts, conclave.ServiceReview, conclave.ServiceQA, conclave.ServiceSecurity} {
		if !a.here(s) {
			continue
		}
		url := "" // in this process, when the hub is in it too
		if !a.here(conclave.ServiceHub) {
			url = a.urls[s]
		}
		replica, err := a.db.TakeReplica(ctx, string(s))
		if err != nil {
			return err
		}
		a.closers = append(a.closers, replica.Release)
		a.services = append(a.services, lifecycle.Service{Name: string(s) + "'s replica number", Run: replica.Hold})
		pool, err := agentpool.New(agentpool.Options{Service: s, Replica: replica.Number, Config: a.config.Pool, Specs: specs, Reload: files.load, Hub: a.hub, URL: url, Logger: a.log,
			Key: func(name conclave.AgentName) (*identity.Key, error) {
				return identity.LoadOrCreate(keys, "agent-"+string(name))
			},
			Secret: func(name conclave.AgentName) (*identity.SecretKey, error) {
				return identity.LoadOrCreateSecret(keys, "agent-"+string(name))
			},
			Encrypt:   a.config.Security.Encrypt,
			Brains:    a.brains,
			Clean:     a.cleanWorktree,
			BrainName: func(spec conclave.AgentSpec) string { return a.brainName(ctx, spec) },
			Receipts:  a.db.Receipts(), Capacity: poolCapacity})
		if err != nil {
			return err
		}
		a.pools[s] = pool
		a.local.Serve(string(s), a.tracing.Handler(a.authenticated(pool)))
		a.services = append(a.services, lifecycle.Service{Name: string(s), Run: pool.Run})
	}
	return nil
}

// poolCapacity is how many tasks one agent takes at once. Most of an agent's
// time is waiting for a model or a compiler.
const poolCapacity = 16

func (a *App) makeCouncil() (conclave.Council, error) {
	key, err := identity.LoadOrCreate(filepath.Join(a.config.Home, "keys"), "council")
	if err != nil {
		return nil, err
	}
	c := council.New(council.Options{Store: a.db.Motions(), Outcomes: a.db.Outcomes(), Hub: a.hub, Key: key, Logger: a.log,
		Rules: council.Rules{Threshold: a.config.Rules.Threshold, MaxTime: a.config.Rules.MaxTime, Escalate: a.config.Rules.Escalate, Settle: !a.config.Rules.Contest}})
	a.trust = c
	a.db.Handle(store.WorkMotion, 256, c.HandleMotion)
	return c, nil
}

func (a *App) makeWorktrees() (conclave.Worktrees, error) {
	return worktree.New(worktree.Options{Store: a.db.Worktrees(), Root: filepath.Join(a.config.Home, "worktrees"), Logger: a.log,
		Check: func(ctx context.Context, dir, tree string, build, test []string) ([]conclave.Check, error) {
			return a.meter.Check(ctx, evidence.Tree{Dir: dir, TreeHash: tree, Build: build, Test: test})
		}})
}

func (a *App) makeSurveys() (conclave.Surveys, error) {
	return survey.New(survey.Options{Analyser: a.meter, Scratch: filepath.Join(a.config.Home, "cache", "survey"), Logger: a.log})
}

func (a *App) makeWorkflows() (conclave.Workflows, error) {
	s, err := workflow.New(workflow.Options{Store: a.db.Runs(), Plans: a.plans, Worktrees: a.worktrees, Council: a.council, Surveys: a.surveys, Trust: a.trust, Hub: a.hub, Models: a.models,
		Meter: a.meter, Config: a.config.Rules, Reports: filepath.Join(a.config.Home, "runs"), Brain: a.chooseBrain, Logger: a.log})
	if err != nil {
		return nil, err
	}
	a.db.Handle(store.WorkStep, 256, s.HandleStep)
	return s, nil
}

// Run starts everything and waits until ctx ends or something fails. It calls
// ready once every service is.
func (a *App) Run(ctx context.Context, ready func()) error {
	services := append([]lifecycle.Service{{Name: "http", Run: a.runHTTP}, {Name: "database", Run: a.db.Run}}, a.services...)
	services = append(services, lifecycle.Service{Name: "registry", Run: a.announce})
	err := lifecycle.Run(ctx, services, func() {
		a.ready.set("")
		ready()
	})
	return errors.Join(err, a.Close())
}

// announce tells the registry where this process's services are, for as long as
// it runs.
func (a *App) announce(ctx context.Context, ready func()) error {
	var own []registry.Address
	for _, s := range a.config.Services {
		own = append(own, registry.Address{Service: s, URL: a.urls[s], Version: Version})
	}
	if err := a.registry.Announce(ctx, own); err != nil {
		return err
	}
	if err := writeAddress(a.config.Home, a.urls); err != nil {
		return err
	}
	ready()
	a.registry.Run(ctx)
	<-ctx.Done()
	a.ready.set("stopping")
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(a.registry.Withdraw(last), removeAddress(a.config.Home, a.urls))
}

// Close releases what New took. It may be called twice.
func (a *App) Close() error {
	var errs []error
	for _, c := range a.closers {
		c()
	}
	for _, p := range a.pools {
		p.Close()
	}
	for _, l := range a.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.remote != nil {
		a.remote.Close()
	}
	// Whoever collects spans may be gone; that must not hold the end up.
	last, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := a.tracing.Close(last); err != nil {
		a.log.Warn("tracing", "error", err)
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	if a.unlock != nil {
		errs = append(errs, a.unlock())
		a.unlock = nil
	}
	return errors.Join(errs...)
}

// Client is a caller of the services in this process, as the local human.
func (a *App) Client(ctx context.Context) context.Context { return conclave.WithCaller(ctx, a.caller) }

// Workflows returns the workflow service.
func (a *App) Workflows() conclave.Workflows { return a.workflows }

// URLs returns where the services of this process answer.
func (a *App) URLs() map[conclave.Service]string { return a.urls }

// Logger makes the program's logger from CONCLAVE_LOG: debug, info, warn or error.
func Logger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}
