package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
)

// address is where a message goes: one agent, or whoever has a role or a skill.
// One of the three is set.
type address struct {
	agent conclave.AgentName
	role  conclave.Role
	skill string
}

// parseAddress takes agents/NAME, roles/ROLE or skills/SKILL apart.
func parseAddress(to string) (address, error) {
	kind, name, ok := strings.Cut(to, "/")
	if ok && name != "" && !strings.Contains(name, "/") {
		switch kind {
		case "agents":
			return address{agent: conclave.AgentName(name)}, nil
		case "roles":
			return address{role: conclave.Role(name)}, nil
		case "skills":
			return address{skill: name}, nil
		}
	}
	return address{}, conclave.Errorf(conclave.ErrInvalid, "address %q: want agents/NAME, roles/ROLE or skills/SKILL", to)
}

// String names who is meant, in an error.
func (to address) String() string {
	switch {
	case to.role != "":
		return `of the role "` + string(to.role) + `"`
	case to.skill != "":
		return `with the skill "` + to.skill + `"`
	}
	return `"` + string(to.agent) + `"`
}

// has reports whether an agent is at the address.
func (to address) has(a conclave.Agent) bool {
	switch {
	case to.role != "":
		return a.Role == to.role
	case to.skill != "":
		return slices.Contains(a.Skills, to.skill)
	}
	return a.Name == to.agent
}

// HasAddress reports whether an agent is at an address, as agents/NAME.
func HasAddress(at string, a conclave.Agent) bool {
	to, err := parseAddress(at)
	return err == nil && to.has(a)
}

// mayTake reports whether an agent may be given a task of this address.
func (to address) mayTake(t Task, a conclave.Agent) bool {
	if !to.has(a) {
		return false
	}
	return to.agent != "" || !slices.Contains(t.Exclude, a.Name) && !slices.Contains(t.Call.Path, string(a.Name)) && takesKind(a, t.Kind)
}

// takesKind reports whether an agent takes a kind of assignment when it is asked
// by role. One that was registered by its card takes what its skills name; what
// is said in plain words, every agent takes.
func takesKind(a conclave.Agent, kind conclave.AssignmentKind) bool {
	return a.Card == nil || kind == "" || kind == conclave.AssignAsk || slices.Contains(a.Skills, string(kind))
}

// MayTake reports whether an agent may be given a task: it is at its address, and
// when that is a role or a skill, not excluded, not waiting for it further up the
// path, and takes its kind.
func MayTake(t Task, a conclave.Agent) bool {
	to, err := parseAddress(t.To)
	return err == nil && to.mayTake(t, a)
}

// MayReplace returns ErrConflict when an agent may not take the place of the one
// that has its name: another key holds the name, or another card, unless a human
// has trusted the same card's new key since.
func MayReplace(had, a conclave.Agent) error {
	switch {
	case had.Card == nil && a.Card == nil:
		if had.PublicKey != a.PublicKey {
			return conclave.Errorf(conclave.ErrConflict, "another key holds the name %s", a.Name)
		}
	case had.Card == nil:
		return conclave.Errorf(conclave.ErrConflict, "the name %s is taken by another agent; choose another with --name", a.Name)
	case a.Card == nil:
		return conclave.Errorf(conclave.ErrConflict, "%s was registered by its card %s; register it by that", a.Name, had.Card.URL)
	case had.Card.URL != a.Card.URL:
		return conclave.Errorf(conclave.ErrConflict, "the name %s is taken by the agent of the card %s; choose another with --name", a.Name, had.Card.URL)
	case (had.PublicKey != a.PublicKey || had.Card.Pin != a.Card.Pin) && !a.Card.At.After(had.Card.At):
		return conclave.Errorf(conclave.ErrConflict, "another key holds the name %s", a.Name)
	}
	return nil
}

// Wakes reports whether an agent's registration lets it take what could not be
// delivered before: it is there again, is elsewhere, or has more hands. had is
// what was registered under its name before.
func Wakes(had conclave.Agent, found bool, a conclave.Agent) bool {
	return a.State == conclave.AgentLive && (!found || had.State != conclave.AgentLive || had.URL != a.URL || had.Capacity < a.Capacity)
}

// AgentEvent is what an agent's registration makes known, or nothing. had is what
// was registered under its name before.
func AgentEvent(had conclave.Agent, found bool, a conclave.Agent) (kind conclave.EventKind, text string) {
	name := string(a.Name)
	switch {
	case !found && a.State != conclave.AgentLive:
		return "", ""
	case a.State == conclave.AgentGone && had.State != conclave.AgentGone:
		return conclave.EventAgentLost, name + " is gone"
	case a.State == conclave.AgentLost && had.State == conclave.AgentLive:
		return conclave.EventAgentLost, name + " is lost"
	case !found, told(had) != told(a):
		return conclave.EventAgentRegistered, name + " registered as " + string(a.Role)
	}
	return "", ""
}

// told is what an agent says of itself, and what is known of its card.
func told(a conclave.Agent) string {
	a.Seen, a.Active = time.Time{}, 0
	text, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("an agent is no JSON: %v", err)) // its fields all are
	}
	return string(text)
}

// MayForget says why an agent can't be removed, or nothing.
func MayForget(a conclave.Agent, found bool, name conclave.AgentName) error {
	switch {
	case !found:
		return conclave.Errorf(conclave.ErrNotFound, "there is no agent %q", name)
	case a.Service != "":
		return conclave.Errorf(conclave.ErrConflict, "%s is hosted by %s, which would register it again; remove its file instead", name, a.Service)
	}
	return nil
}
