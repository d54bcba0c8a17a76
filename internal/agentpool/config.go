package agentpool

import (
	"slices"

	"conclave"
)

// Config says how many agents there are, as config/agent_pool.yml has it under
// agent_pool. It is the same file for every service that hosts agents; each
// hosts the roles that are its own.
type Config struct {
	Size         int                   `yaml:"size" json:"size"`                 // the most agents that there may be by distribution and load; an agent with a file of its own comes on top
	Distribution map[conclave.Role]int `yaml:"distribution" json:"distribution"` // agents by role; a role that is not here has none
}

// Defaults is the configuration without a file.
func Defaults() Config {
	return Config{Size: 16, Distribution: map[conclave.Role]int{
		conclave.RolePlanner: 1, conclave.RoleArchitect: 2, conclave.RoleDeveloper: 4, conclave.RoleSecurity: 1, conclave.RoleQA: 2,
		conclave.RoleCodeReviewer: 2, conclave.RolePerformanceReviewer: 1, conclave.RoleDomainExpert: 1,
	}}
}

// maxSize bounds one pool: each agent is registered, kept alive and shown.
const maxSize = 1000

// Validate returns ErrInvalid for numbers that can't be, and for a role that is
// none of the given ones.
func (c Config) Validate(specs []conclave.AgentSpec) error {
	if c.Size < 1 || c.Size > maxSize {
		return conclave.Errorf(conclave.ErrInvalid, "agent_pool.size is %d: want 1 to %d", c.Size, maxSize)
	}
	var known []string
	for _, s := range specs {
		known = append(known, string(s.Role))
	}
	total := 0
	for _, role := range c.roles() {
		n := c.Distribution[role]
		if n < 0 {
			return conclave.Errorf(conclave.ErrInvalid, "agent_pool.distribution.%s is %d: want 0 or more", role, n)
		}
		if !slices.Contains(known, string(role)) {
			return conclave.Errorf(conclave.ErrInvalid, "agent_pool.distribution.%s: there is no such role; %s", role, conclave.DidYouMean(string(role), known))
		}
		total += n
	}
	if total > c.Size {
		return conclave.Errorf(conclave.ErrInvalid, "agent_pool.distribution asks for %d agents, but agent_pool.size is %d", total, c.Size)
	}
	return nil
}

// Sized returns the configuration with another number of agents, shared out as
// the distribution has it: every role keeps at least one. ErrInvalid when there
// are more roles than agents.
func (c Config) Sized(size int) (Config, error) {
	out := Config{Size: size, Distribution: map[conclave.Role]int{}}
	total, roles := 0, 0
	for _, n := range c.Distribution {
		if n > 0 {
			total, roles = total+n, roles+1
		}
	}
	if size < 1 || size > maxSize {
		return c, conclave.Errorf(conclave.ErrInvalid, "%d agents: want 1 to %d", size, maxSize)
	}
	if size < roles {
		return c, conclave.Errorf(conclave.ErrInvalid, "%d agents are too few for %d roles; take roles out of agent_pool.distribution, or allow at least %d", size, roles, roles)
	}
	// Each role has one; the rest goes, one by one, to whoever is furthest below
	// its share.
	for role, n := range c.Distribution {
		out.Distribution[role] = min(n, 1)
	}
	for range size - roles {
		var next conclave.Role
		least := 0.0
		for _, role := range c.roles() {
			share := float64(c.Distribution[role]) / float64(total) * float64(size)
			if short := share - float64(out.Distribution[role]); c.Distribution[role] > 0 && (next == "" || short > least) {
				next, least = role, short
			}
		}
		out.Distribution[next]++
	}
	return out, nil
}

func (c Config) roles() []conclave.Role {
	var roles []conclave.Role
	for role := range c.Distribution {
		roles = append(roles, role)
	}
	slices.Sort(roles)
	return roles
}

// Host returns the service that hosts a role; the agent pool has those of the
// user's own.
func Host(role conclave.Role) conclave.Service {
	switch role {
	case conclave.RoleDomainExpert:
		return conclave.ServiceExperts
	case conclave.RoleCodeReviewer, conclave.RolePerformanceReviewer:
		return conclave.ServiceReview
	case conclave.RoleQA:
		return conclave.ServiceQA
	case conclave.RoleSecurity:
		return conclave.ServiceSecurity
	}
	return conclave.ServicePool
}
