package agentpool

import (
	"errors"
	"slices"
	"strings"

	"conclave"
)

// Encryption says what agents keep from everybody but the agent that they ask:
// of all roles, of some, or nothing, which is the zero value.
type Encryption struct {
	All   bool
	Roles []conclave.Role
}

// ParseEncryption reads "off", "on", or the names of roles with commas between
// them.
func ParseEncryption(text string) (Encryption, error) {
	switch text {
	case "off":
		return Encryption{}, nil
	case "on":
		return Encryption{All: true}, nil
	}
	var e Encryption
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "" {
			return e, errors.New("it must be on, off, or roles with commas between them, as planner,security")
		}
		e.Roles = append(e.Roles, conclave.Role(name))
	}
	return e, nil
}

// Of reports whether agents of a role encrypt what they ask others.
func (e Encryption) Of(role conclave.Role) bool { return e.All || slices.Contains(e.Roles, role) }

func (e Encryption) String() string {
	if e.All {
		return "on"
	}
	if len(e.Roles) == 0 {
		return "off"
	}
	var names []string
	for _, r := range e.Roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ",")
}
