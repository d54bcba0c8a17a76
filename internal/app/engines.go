package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"conclave/internal/bus"
	"conclave/internal/identity"
	"conclave/internal/registry"
	"conclave/internal/store"

	"github.com/prometheus/client_golang/prometheus"
)

// Engine is one of the servers, or what stands in for one, that this process
// was set to use.
type Engine struct {
	Part   string `json:"part"`             // database, bus, registry
	Engine string `json:"engine"`           // as sqlite, redis, built in
	Server string `json:"server,omitempty"` // where it is, without secrets
	Lost   string `json:"lost,omitempty"`   // why it can't be reached now
	// Figures are the bus's, of the process that says so.
	Figures *bus.Figures `json:"figures,omitempty"`
}

// installation names this installation where it shares a server with others. Its
// processes share a secret, which the name does not tell; where tokens are signed
// with keys, of which each may have its own, the database's address.
func installation(c Config, getenv func(string) string) (string, error) {
	of := []byte(getenv("JWT_SECRET"))
	switch {
	case len(of) > 0:
	case c.Security.TokenKey != "":
		of = []byte(databaseAddress(c))
	default:
		var err error
		if of, err = identity.LoadSecret(c.Home); err != nil {
			return "", err
		}
	}
	mac := hmac.New(sha256.New, of)
	mac.Write([]byte("installation"))
	return "conclave-" + hex.EncodeToString(mac.Sum(nil)[:6]), nil
}

// databaseAddress is a database's file or host and name, without secrets.
func databaseAddress(c Config) string {
	if path, lite := strings.CutPrefix(c.Database, "sqlite:"); lite {
		return path
	}
	u, err := url.Parse(c.Database)
	if err != nil {
		return "" // which can't be opened, and is not shown: it may hold a password
	}
	return u.Host + u.Path
}

// openEngines opens the database, and makes the bus and the registry.
func (a *App) openEngines(ctx context.Context) (err error) {
	if a.bus, err = bus.New(bus.Options{URL: a.config.Bus, Name: a.name, Logger: a.log}); err != nil {
		return err
	}
	if err := a.openDatabase(ctx); err != nil {
		return err
	}
	a.registry, err = registry.New(registry.Options{Table: a.db, Consul: a.config.Consul, Name: a.name, Owner: a.owner(), Logger: a.log})
	return err
}

// engines tells what this process uses, and what of it is lost. The database is
// not asked here: without it the process is not ready at all.
func (a *App) engines() []Engine {
	list := describe(a.config, a.bus, a.registry)
	for i, err := range []error{nil, a.bus.Health(), a.registry.Health()} {
		if err != nil {
			list[i].Lost = err.Error()
		}
	}
	figures := a.bus.Figures()
	list[1].Figures = &figures
	return list
}

// Engines tells what a configuration chooses, without asking any server.
func Engines(c Config) ([]Engine, error) {
	b, err := bus.New(bus.Options{URL: c.Bus})
	if err != nil {
		return nil, err
	}
	r, err := registry.New(registry.Options{Consul: c.Consul})
	if err != nil {
		return nil, err
	}
	return describe(c, b, r), nil
}

// describe lists database, bus and registry, in this order.
func describe(c Config, b *bus.Bus, r *registry.Registry) []Engine {
	database := Engine{Part: "database", Engine: "postgres", Server: databaseAddress(c)}
	if strings.HasPrefix(c.Database, "sqlite:") {
		database.Engine = "sqlite"
	}
	return []Engine{database, {Part: "bus", Engine: b.Engine(), Server: b.Server()}, {Part: "registry", Engine: r.Engine(), Server: r.Server()}}
}

// CheckEngines asks the servers of a configuration, and says what each answers.
func CheckEngines(ctx context.Context, c Config) ([]Engine, error) {
	list, err := Engines(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	lost := func(part int, err error) {
		if err != nil {
			list[part].Lost = err.Error()
		}
	}
	if list[0].Engine == "postgres" {
		lost(0, store.Check(ctx, c.Database))
	}
	if list[1].Engine != "memory" {
		b, err := bus.New(bus.Options{URL: c.Bus})
		if err == nil {
			_, err = b.Inspect(ctx)
		}
		lost(1, err)
	}
	if c.Consul != "" {
		r, err := registry.New(registry.Options{Consul: c.Consul})
		if err == nil {
			err = r.Check(ctx)
		}
		lost(2, err)
	}
	return list, nil
}

// OpenBus makes the bus of this machine's configuration, to look at what is on it.
func OpenBus(c Config, getenv func(string) string) (*bus.Bus, error) {
	name, err := installation(c, getenv)
	if err != nil {
		return nil, err
	}
	return bus.New(bus.Options{URL: c.Bus, Name: name})
}

// busMetrics exposes what the bus counts.
func (a *App) busMetrics() (list []prometheus.Collector) {
	gauge := func(name, help string, value func() float64) {
		list = append(list, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "conclave", Subsystem: "bus", Name: name, Help: help, ConstLabels: prometheus.Labels{"engine": a.bus.Engine()}}, value))
	}
	counter := func(name, help string, value func(bus.Figures) int64) {
		list = append(list, prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "conclave", Subsystem: "bus", Name: name, Help: help, ConstLabels: prometheus.Labels{"engine": a.bus.Engine()}},
			func() float64 { return float64(value(a.bus.Figures())) }))
	}
	gauge("up", "Whether the bus's server is connected; 1 where it needs none.", func() float64 {
		if a.bus.Health() != nil {
			return 0
		}
		return 1
	})
	gauge("watchers", "Goroutines of this process that wait to be told of something.", func() float64 { return float64(a.bus.Figures().Watchers) })
	counter("published_total", "Notes that this process has left to be told.", func(f bus.Figures) int64 { return f.Published })
	counter("heard_total", "Notes of other processes that were heard.", func(f bus.Figures) int64 { return f.Heard })
	counter("dropped_total", "Notes that no server took; whoever misses one polls.", func(f bus.Figures) int64 { return f.Dropped })
	return list
}
