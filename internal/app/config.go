package app

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/internal/agentpool"
	"conclave/internal/bus"
	"conclave/internal/evidence"
	"conclave/internal/gateway"
	"conclave/internal/hub"
	"conclave/internal/modelrouter"
	"conclave/internal/registry"
	"conclave/internal/strictyaml"
	"conclave/internal/workflow"
)

// Config is everything that can be set. It is loaded once and not written to
// after that.
type Config struct {
	Home        string             // data directory
	Files       string             // folder of the YAML files; empty when there is none
	Database    string             // "sqlite:PATH" or "postgres://…"
	Bus         string             // "memory", or the URL of Redis, Kafka or NATS
	Consul      string             // address of Consul's HTTP API; empty when there is none
	Listen      string             // address to listen on; loopback unless told otherwise
	Advertise   string             // host at which other processes reach this one; empty: Listen, or this machine's name when that is all addresses
	AutoPorts   bool               // free ports rather than the documented ones
	GatewayPort int                // 8080, or what GATEWAY_PORT says
	Services    []conclave.Service // to run in this process; empty means all
	Hosts       []string           // Host names that are served besides loopback
	Brain       string             // auto, offline, model, claude
	ModelIdle   time.Duration      // longest silence of a model provider; 0 means the router's own
	Sandbox     string             // the sandbox's switch
	Pool        agentpool.Config
	Rules       workflow.Config
	Speech      hub.Rules
	Routing     *modelrouter.Rules
	Licences    evidence.LicencePolicy
	Security    Security
	Sources     map[string]string // where each setting that is not the default came from
}

// settings are the environment variables that Conclave reads; the seed's keep
// their names. Keys of model providers are read by the model router alone.
func settings() []string {
	return []string{"CONCLAVE_HOME", "CONCLAVE_CONFIG", "CONCLAVE_DATABASE_URL", "DATABASE_URL", "CONCLAVE_BUS", "CONSUL_HTTP_ADDR", "CONCLAVE_LISTEN", "CONCLAVE_ADVERTISE", "CONCLAVE_PORTS",
		"CONCLAVE_HOSTS", "CONCLAVE_BRAIN", "CONCLAVE_SANDBOX", "CONCLAVE_MODEL", "CONCLAVE_MODEL_IDLE", "CONCLAVE_LOG", "CONCLAVE_TOKEN", "CONCLAVE_URL", "CONCLAVE_CLAUDE",
		"CONCLAVE_TLS_CERT", "CONCLAVE_TLS_KEY", "CONCLAVE_TLS_CA", "CONCLAVE_TLS_NAME", "CONCLAVE_JWT_KEY", "CONCLAVE_JWT_PUBLIC_KEYS",
		"CONCLAVE_RATE_CALLER", "CONCLAVE_RATE_ADDRESS", "CONCLAVE_ENCRYPT", "CONCLAVE_AGENT_NETWORKS", "CONCLAVE_PUSH_NETWORKS", "CONCLAVE_QUEUE_ADDRESS", "CONCLAVE_QUEUE_SENDER", "GATEWAY_PORT", "AGENT_POOL_SIZE", "MAX_CONCURRENT_COLLABORATIONS", "VERIFICATION_CONSENSUS_THRESHOLD", "JWT_SECRET"}
}

// Home is the data directory that the environment names. ErrDenied when it is
// there and another user's.
func Home(getenv func(string) string) (string, error) {
	home, err := namedHome(getenv)
	if err != nil {
		return "", err
	}
	dir, err := os.Open(home)
	if errors.Is(err, fs.ErrPermission) {
		return "", conclave.Errorf(conclave.ErrDenied, "%s belongs to another user; CONCLAVE_HOME names a data directory of your own", home)
	}
	if err != nil { // it is made when it is needed
		return home, nil
	}
	return home, dir.Close()
}

func namedHome(getenv func(string) string) (string, error) {
	if home := getenv("CONCLAVE_HOME"); home != "" {
		return filepath.Abs(home)
	}
	if data := getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "conclave"), nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", conclave.Errorf(conclave.ErrInvalid, "neither CONCLAVE_HOME nor HOME is set; say where to keep data")
	}
	return filepath.Join(home, ".local", "share", "conclave"), nil
}

// Load reads the configuration: defaults, then files, then the environment.
// ErrInvalid names what is wrong, where, and what would be right.
func Load(getenv func(string) string, environ []string) (Config, error) {
	c := Config{Listen: "127.0.0.1", Bus: "memory", GatewayPort: conclave.ServiceGateway.Port(), Brain: "auto", Pool: agentpool.Defaults(),
		Rules: workflow.Defaults(), Speech: hub.DefaultRules(), Licences: evidence.DefaultLicences(), Security: securityDefaults(), Sources: map[string]string{}}
	if err := knownVariables(environ); err != nil {
		return c, err
	}
	var err error
	if c.Home, err = Home(getenv); err != nil {
		return c, err
	}
	c.Database = "sqlite:" + filepath.Join(c.Home, "conclave.db")
	c.Files = getenv("CONCLAVE_CONFIG")
	if c.Files == "" {
		if _, err := os.Stat("config/agent_pool.yml"); err == nil {
			c.Files = "config"
		}
	} else if info, err := os.Stat(c.Files); err != nil || !info.IsDir() {
		return c, conclave.Errorf(conclave.ErrInvalid, "CONCLAVE_CONFIG=%q: it must be a folder with the YAML files, as config/ in the source", c.Files)
	} else {
		c.Sources["files"] = "CONCLAVE_CONFIG"
	}
	if err := c.readFiles(); err != nil {
		return c, err
	}
	if err := c.readEnvironment(getenv); err != nil {
		return c, err
	}
	return c, c.Security.validate(getenv)
}

// knownVariables refuses a CONCLAVE_ variable that nothing reads.
func knownVariables(environ []string) error {
	known := settings()
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "CONCLAVE_") || slices.Contains(known, name) || strings.HasPrefix(name, "CONCLAVE_TEST_") {
			continue
		}
		return conclave.Errorf(conclave.ErrInvalid, "environment variable %s is not a setting; %s", name, conclave.DidYouMean(name, known))
	}
	return nil
}

// poolFile and rulesFile are the seed's two files, with its keys.
type poolFile struct {
	AgentPool struct {
		Size         *int                  `yaml:"size"`
		Distribution map[conclave.Role]int `yaml:"distribution"`
	} `yaml:"agent_pool"`
}

type rulesFile struct {
	Collaboration struct {
		ConsensusThreshold   *float64  `yaml:"consensus_threshold"`
		MaxCollaborationTime *int      `yaml:"max_collaboration_time"` // seconds
		MendRounds           *int      `yaml:"mend_rounds"`
		EscalationTriggers   []trigger `yaml:"escalation_triggers"`
	} `yaml:"collaboration"`
	Speech        speechFile        `yaml:"speech"`
	Conversations conversationsFile `yaml:"conversations"`
}

type trigger struct {
	NoConsensusAfter           *int  `yaml:"no_consensus_after"` // seconds
	ConflictingRecommendations *bool `yaml:"conflicting_recommendations"`
}

// knownFiles refuses a YAML file that nothing reads: a misspelt name would leave
// the defaults in place.
func knownFiles(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "read the configuration: %w", err)
	}
	known := []string{"agent_pool.yml", "collaboration_rules.yml", "compliance_rules.yml", "routing_rules.yml"}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); (ext == ".yml" || ext == ".yaml") && !slices.Contains(known, e.Name()) {
			return conclave.Errorf(conclave.ErrInvalid, "%s is not read; %s", filepath.Join(folder, e.Name()), conclave.DidYouMean(e.Name(), known))
		}
	}
	return nil
}

// complianceFile says which licences dependencies may have.
type complianceFile struct {
	Compliance struct {
		Licences struct {
			Allow   []string          `yaml:"allow"`
			Deny    []string          `yaml:"deny"`
			Modules map[string]string `yaml:"modules"`
		} `yaml:"licences"`
	} `yaml:"compliance"`
}

// readCompliance reads the lists of licences; one that is not there keeps its default.
func (c *Config) readCompliance() error {
	var file complianceFile
	path, found, err := c.readFile("compliance_rules.yml", &file)
	if err != nil || !found {
		return err
	}
	l := file.Compliance.Licences
	if l.Allow != nil {
		c.Licences.Allow = l.Allow
	}
	c.Licences.Deny, c.Licences.Modules = l.Deny, l.Modules
	if err := c.Licences.Validate(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c.Sources["compliance.licences"] = path
	return nil
}

func (c *Config) readFiles() error {
	if c.Files == "" {
		return nil
	}
	if c.Sources["files"] != "" { // a folder that was named has no other files
		if err := knownFiles(c.Files); err != nil {
			return err
		}
	}
	var pool poolFile
	path, found, err := c.readFile("agent_pool.yml", &pool)
	if err != nil {
		return err
	}
	if found {
		if pool.AgentPool.Size != nil {
			c.Pool.Size = *pool.AgentPool.Size
			c.Sources["agent_pool.size"] = path
		}
		if pool.AgentPool.Distribution != nil {
			c.Pool.Distribution = pool.AgentPool.Distribution
			c.Sources["agent_pool.distribution"] = path
		}
	}
	var rules rulesFile
	if path, found, err = c.readFile("collaboration_rules.yml", &rules); err != nil {
		return err
	}
	if found {
		r := rules.Collaboration
		if r.ConsensusThreshold != nil {
			c.Rules.Threshold = *r.ConsensusThreshold
			c.Sources["collaboration.consensus_threshold"] = path
		}
		if r.MaxCollaborationTime != nil {
			c.Rules.MaxTime = time.Duration(*r.MaxCollaborationTime) * time.Second
			c.Sources["collaboration.max_collaboration_time"] = path
		}
		if r.MendRounds != nil {
			c.Rules.MendRounds = *r.MendRounds
			c.Sources["collaboration.mend_rounds"] = path
		}
		for _, t := range r.EscalationTriggers {
			if t.NoConsensusAfter != nil {
				c.Rules.Escalate = time.Duration(*t.NoConsensusAfter) * time.Second
				c.Sources["collaboration.escalation_triggers.no_consensus_after"] = path
			}
			if t.ConflictingRecommendations != nil {
				c.Rules.Contest = *t.ConflictingRecommendations
				c.Sources["collaboration.escalation_triggers.conflicting_recommendations"] = path
			}
		}
		c.speech(path, rules.Speech, rules.Conversations)
	}
	if err := errors.Join(c.Rules.Validate(), c.Speech.Validate()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := c.readCompliance(); err != nil {
		return err
	}
	routing := filepath.Join(c.Files, "routing_rules.yml")
	text, err := os.ReadFile(routing)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "read %s: %w", routing, err)
	}
	if c.Routing, err = modelrouter.ParseRules(text); err != nil {
		return fmt.Errorf("%s: %w", routing, err)
	}
	c.Sources["routing"] = routing
	return nil
}

// readFile decodes a YAML file strictly: an unknown key is an error that names
// the nearest known one.
func (c *Config) readFile(name string, into any) (path string, found bool, err error) {
	path = filepath.Join(c.Files, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return path, false, nil
	}
	if err != nil {
		return path, false, conclave.Errorf(conclave.ErrInvalid, "read %s: %w", path, err)
	}
	if err := strictyaml.Decode(text, into); err != nil {
		return path, false, fmt.Errorf("%s: %w", path, err)
	}
	return path, true, nil
}

func (c *Config) readEnvironment(getenv func(string) string) error {
	set := func(name, setting string, apply func(value string) error) error {
		value := getenv(name)
		if value == "" {
			return nil
		}
		if err := apply(value); err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "%s=%q: %w", name, value, err)
		}
		c.Sources[setting] = name
		return nil
	}
	whole := func(into *int) func(string) error {
		return func(v string) (err error) {
			if *into, err = strconv.Atoi(v); err != nil {
				return errors.New("it must be a whole number")
			}
			return nil
		}
	}
	// What may hold a password is not repeated: not in c.Sources, and not in an error.
	secret := func(name, setting string, into *string, validate func(string) error) error {
		value := getenv(name)
		if value == "" {
			return nil
		}
		if err := validate(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*into = value
		c.Sources[setting] = name
		return nil
	}
	database := func(v string) error { c.Database = v; return nil }
	text := func(into *string) func(string) error {
		return func(v string) error { *into = v; return nil }
	}
	rate := func(into *gateway.Rate) func(string) error {
		return func(v string) (err error) { *into, err = gateway.ParseRate(v); return err }
	}
	bound := func(into *int) func(string) error {
		return func(v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return errors.New("it must be a number of messages, 1 or more")
			}
			*into = n
			return nil
		}
	}
	return errors.Join(
		set("CONCLAVE_TLS_CERT", "tls.cert", text(&c.Security.TLS.Cert)),
		set("CONCLAVE_TLS_KEY", "tls.key", text(&c.Security.TLS.Key)),
		set("CONCLAVE_TLS_CA", "tls.ca", text(&c.Security.TLS.CA)),
		set("CONCLAVE_TLS_NAME", "tls.name", text(&c.Security.TLS.Name)),
		set("CONCLAVE_JWT_KEY", "jwt.key", text(&c.Security.TokenKey)),
		set("CONCLAVE_JWT_PUBLIC_KEYS", "jwt.public_keys", func(v string) error { c.Security.PublicKeys = strings.Split(v, ","); return nil }),
		set("CONCLAVE_RATE_CALLER", "rate.caller", rate(&c.Security.RateCaller)),
		set("CONCLAVE_RATE_ADDRESS", "rate.address", rate(&c.Security.RateAddress)),
		set("CONCLAVE_AGENT_NETWORKS", "agent_networks", func(v string) (err error) { c.Security.AgentNetworks, err = parseNetworks(v); return err }),
		set("CONCLAVE_PUSH_NETWORKS", "push_networks", func(v string) (err error) { c.Security.PushNetworks, err = parseNetworks(v); return err }),
		set("CONCLAVE_QUEUE_ADDRESS", "queue.address", bound(&c.Security.QueueAddress)),
		set("CONCLAVE_QUEUE_SENDER", "queue.sender", bound(&c.Security.QueueSender)),
		set("CONCLAVE_ENCRYPT", "encrypt", func(v string) (err error) { c.Security.Encrypt, err = agentpool.ParseEncryption(v); return err }),
		set("DATABASE_URL", "database", database),
		set("CONCLAVE_DATABASE_URL", "database", database),
		secret("CONCLAVE_BUS", "bus", &c.Bus, bus.Validate),
		secret("CONSUL_HTTP_ADDR", "registry.consul", &c.Consul, registry.Validate),
		set("CONCLAVE_LISTEN", "listen", func(v string) error {
			if c.Listen = v; net.ParseIP(v) == nil && v != "localhost" {
				return errors.New("it must be an IP address of this machine, such as 127.0.0.1 or 0.0.0.0")
			}
			return nil
		}),
		set("CONCLAVE_ADVERTISE", "advertise", func(v string) error {
			if strings.ContainsAny(v, "/@ ") || strings.Contains(v, ":") && net.ParseIP(v) == nil {
				return errors.New("it must be a host name or an IP address, without scheme and port")
			}
			c.Advertise = v
			return nil
		}),
		set("CONCLAVE_LOG", "log", func(v string) error {
			if new(slog.Level).UnmarshalText([]byte(v)) != nil {
				return errors.New("it must be debug, info, warn or error")
			}
			return nil
		}),
		set("CONCLAVE_PORTS", "ports", func(v string) error {
			if v != "auto" && v != "documented" {
				return errors.New(`it must be "documented" or "auto"`)
			}
			c.AutoPorts = v == "auto"
			return nil
		}),
		set("CONCLAVE_HOSTS", "hosts", func(v string) error { c.Hosts = strings.Split(v, ","); return nil }),
		set("CONCLAVE_BRAIN", "brain", func(v string) error { c.Brain = v; return validBrain(v) }),
		set("CONCLAVE_MODEL_IDLE", "model_idle", func(v string) (err error) {
			if c.ModelIdle, err = time.ParseDuration(v); err != nil || c.ModelIdle <= 0 {
				return errors.New("it must be a time above 0, such as 90s or 10m")
			}
			return nil
		}),
		set("CONCLAVE_SANDBOX", "sandbox", func(v string) error { c.Sandbox = v; return nil }),
		set("GATEWAY_PORT", "gateway_port", func(v string) error {
			err := whole(&c.GatewayPort)(v)
			switch i := slices.IndexFunc(conclave.AllServices(), func(s conclave.Service) bool { return s != conclave.ServiceGateway && s.Port() == c.GatewayPort }); {
			case err != nil || c.GatewayPort < 1 || c.GatewayPort > 65535:
				return errors.New("it must be a port, 1 to 65535")
			case i >= 0:
				return fmt.Errorf("that is the port of %s; take another", conclave.AllServices()[i])
			}
			return nil
		}),
		set("MAX_CONCURRENT_COLLABORATIONS", "max_concurrent_collaborations", func(v string) error {
			return errors.Join(whole(&c.Rules.MaxRuns)(v), c.Rules.Validate())
		}),
		set("AGENT_POOL_SIZE", "agent_pool.size", func(v string) error {
			n, err := strconv.Atoi(v)
			if err != nil {
				return errors.New("it must be a whole number")
			}
			c.Pool, err = c.Pool.Sized(n)
			return err
		}),
		set("VERIFICATION_CONSENSUS_THRESHOLD", "collaboration.consensus_threshold", func(v string) (err error) {
			if c.Rules.Threshold, err = strconv.ParseFloat(v, 64); err != nil {
				return errors.New("it must be a number above 0 and at most 1")
			}
			return c.Rules.Validate()
		}),
	)
}

func validBrain(v string) error {
	if !slices.Contains([]string{"auto", "offline", "model", "claude"}, v) {
		return errors.New("it must be auto, offline, model or claude")
	}
	return nil
}

// Port is where a service listens; 0 stands for any free port.
func (c Config) Port(s conclave.Service) int {
	switch {
	case c.AutoPorts:
		return 0
	case s == conclave.ServiceGateway:
		return c.GatewayPort
	}
	return s.Port()
}

// LocalURL is where a process on this machine finds a service that listens on
// its documented port.
func (c Config) LocalURL(s conclave.Service) string {
	host := c.Listen
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if c.Security.TLS.Cert != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(c.Port(s)))
}

// Host is the host of this process's addresses, as other processes call it.
func (c Config) Host() string {
	if c.Advertise != "" {
		return c.Advertise
	}
	ip := net.ParseIP(c.Listen)
	if ip != nil && !ip.IsUnspecified() {
		return c.Listen
	}
	if name, err := os.Hostname(); ip != nil && err == nil {
		return name
	}
	return "127.0.0.1" // what localhost is
}

// Changed lists the settings that do not have their default, by name.
func (c Config) Changed() []string {
	var names []string
	for name := range c.Sources {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
