package registry

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"conclave"

	"github.com/hashicorp/consul/api"
)

// consul is a Home at the agent of Consul. Everything of an installation bears
// its name as a tag.
type consul struct {
	client *api.Client
	server string
	name   string
	owner  string

	mu    sync.Mutex
	own   []string // ids that were registered
	found map[conclave.Service]findings
}

// findings are what Consul said a moment ago: services call each other often.
type findings struct {
	list []Address
	at   time.Time
}

const (
	answerLimit = 2 * time.Second
	freshness   = time.Second
)

// Validate reports whether an address of Consul's HTTP API can be one.
func Validate(address string) error {
	_, err := parse(address)
	return err
}

// parse reads HOST:PORT, or a URL that says http or https.
func parse(address string) (*url.URL, error) {
	const right = "the address of Consul must look like 127.0.0.1:8500 or https://consul.example.org:8501"
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, right)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s; a token goes into CONSUL_HTTP_TOKEN", right)
	}
	return u, nil
}

func newConsul(address, name, owner string) (*consul, error) {
	u, err := parse(address)
	if err != nil {
		return nil, err
	}
	// Its other variables (CONSUL_HTTP_TOKEN, CONSUL_CACERT, …) are read by its client.
	config := api.DefaultConfig()
	config.Address, config.Scheme = u.Host, u.Scheme
	client, err := api.NewClient(config)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "configure Consul's client: %w", err)
	}
	return &consul{client: client, server: u.Host, name: name, owner: owner, found: map[conclave.Service]findings{}}, nil
}

// id names a registration; one that replaces another after a restart has its id.
func (c *consul) id(s conclave.Service) string {
	return c.name + "/" + c.owner + "/" + string(s)
}

func (c *consul) Announce(ctx context.Context, a Address) error {
	u, err := url.Parse(a.URL)
	if err != nil {
		return err
	}
	host, text, err := net.SplitHostPort(u.Host)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	id := c.id(a.Service)
	err = c.client.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
		ID: id, Name: string(a.Service), Address: host, Port: port, Tags: []string{"conclave", c.name}, Meta: map[string]string{"url": a.URL, "version": a.Version},
		Check: &api.AgentServiceCheck{Name: "ready", HTTP: a.URL + "/readyz", Interval: "3s", Timeout: "2s",
			TLSSkipVerify:                  true,              // it carries no secret, and the agent may not know our authority
			Status:                         api.HealthPassing, // a process announces itself once it is ready
			DeregisterCriticalServiceAfter: "1m"},
	}, api.ServiceRegisterOpts{}.WithContext(ctx))
	if err == nil {
		c.mu.Lock()
		c.own = append(c.own, id)
		c.mu.Unlock()
	}
	return err
}

// known returns the registrations of this process that the agent has, by id.
func (c *consul) known(ctx context.Context) (map[string]string, error) {
	list, err := c.client.Agent().ServicesWithFilterOpts(strconv.Quote(c.name)+" in Tags", (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	for id, s := range list {
		known[id] = s.Meta["url"]
	}
	return known, nil
}

func (c *consul) Withdraw(ctx context.Context) error {
	c.mu.Lock()
	own := c.own
	c.own = nil
	c.mu.Unlock()
	var errs []error
	for _, id := range own {
		var status api.StatusError
		err := c.client.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(ctx))
		if errors.As(err, &status) && status.Code == 404 {
			continue // the agent has forgotten it by itself
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *consul) Find(ctx context.Context, s conclave.Service) ([]Address, error) {
	c.mu.Lock()
	f, ok := c.found[s]
	c.mu.Unlock()
	if ok && time.Since(f.at) < freshness {
		return f.list, nil
	}
	entries, _, err := c.client.Health().Service(string(s), c.name, true, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	var list []Address
	for _, e := range entries {
		if e.Service.Meta["url"] != "" {
			list = append(list, Address{Service: s, URL: e.Service.Meta["url"], Version: e.Service.Meta["version"]})
		}
	}
	c.mu.Lock()
	c.found[s] = findings{list, time.Now()}
	c.mu.Unlock()
	return list, nil
}
