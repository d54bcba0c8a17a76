package conclave

import (
	"context"
	"time"
)

// CardState is what an agent card's signatures say of it.
type CardState string

// States of a card.
const (
	CardVerified CardState = "verified" // signed by a key that its own origin publishes or that was given
	CardUnsigned CardState = "unsigned"
	CardInvalid  CardState = "invalid" // it has signatures, and none of them holds
)

// CardTrust binds a foreign agent to the agent card that a human trusted.
type CardTrust struct {
	URL       string    `json:"url"` // of the card
	Signature CardState `json:"signature"`
	Signer    string    `json:"signer,omitempty"` // the key's name, and where the key is from
	// Pin is what must not change unless a human trusts it again: "key:" and the
	// RFC 7638 thumbprint of the key that signed, or "card:" and the hash of an
	// unsigned card.
	Pin        string          `json:"pin"`
	Interfaces []CardInterface `json:"interfaces"`        // those that we speak, the best first
	Keys       string          `json:"keys,omitempty"`    // key set that was given, because the card's origin publishes none
	Private    bool            `json:"private,omitempty"` // it may live inside the hub's network
	By         string          `json:"by"`                // who trusted it
	At         time.Time       `json:"at"`
	Problem    string          `json:"problem,omitempty"` // why it gets no work now
}

// CardSkill is one thing that an agent says it does.
type CardSkill struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
}

// CardInterface is an address at which an agent answers.
type CardInterface struct {
	URL     string `json:"url"`
	Binding string `json:"binding"` // JSONRPC, HTTP+JSON or GRPC
	Version string `json:"version"` // of the protocol
}

// CardReport is an agent card as it was found, for a human to judge.
type CardReport struct {
	URL         string          `json:"url"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Version     string          `json:"version"`
	Provider    string          `json:"provider,omitempty"`
	Skills      []CardSkill     `json:"skills"`
	Interfaces  []CardInterface `json:"interfaces"`
	Signature   CardState       `json:"signature"`
	Signer      string          `json:"signer,omitempty"`     // whose signature it is, and where the key is from
	Pin         string          `json:"pin,omitempty"`        // what trust binds to
	PublicKey   string          `json:"public_key,omitempty"` // with which it signs ballots: ed25519, base64
	// EncryptionKey is the X25519 key, in base64, for messages that only the agent
	// may read; empty when its card gives none.
	EncryptionKey string    `json:"encryption_key,omitempty"`
	Agent         AgentName `json:"agent"`             // the name that it would have here
	Known         bool      `json:"known"`             // it is registered, and trusted as it is
	Problem       string    `json:"problem,omitempty"` // why it can't be registered; empty when it can
}

// InspectCard asks for an agent card.
type InspectCard struct {
	URL     string    `json:"url" doc:"Address of the card, or of the agent that serves it"`
	Name    AgentName `json:"name,omitempty" doc:"What to call the agent; made from the card's name when absent"`
	Keys    string    `json:"keys,omitempty" doc:"A JSON Web Key Set or PEM with which the card must be signed, when its origin publishes none"`
	Private bool      `json:"private,omitempty" doc:"Allow addresses inside the hub's network"`
}

// AdoptAgent registers a foreign agent by its card.
type AdoptAgent struct {
	Key      string    `json:"idempotency_key,omitempty"`
	URL      string    `json:"url" doc:"Address of the card, or of the agent that serves it"`
	Name     AgentName `json:"name,omitempty" doc:"What to call the agent; made from the card's name when absent"`
	Keys     string    `json:"keys,omitempty" doc:"A JSON Web Key Set or PEM with which the card must be signed, when its origin publishes none"`
	Private  bool      `json:"private,omitempty" doc:"Allow addresses inside the hub's network"`
	Role     Role      `json:"role,omitempty" doc:"Whose work it gets; its name when absent"`
	Capacity int       `json:"capacity,omitempty" doc:"How many tasks it takes at once; 1 when absent"`
	Pin      string    `json:"pin" doc:"What agent_inspect showed: trust is given to that, and to nothing else"`
}

// FindAgents chooses agents by what they do and how they are.
type FindAgents struct {
	Skill string     `json:"skill,omitempty" doc:"Only agents with this skill"`
	Tag   string     `json:"tag,omitempty" doc:"Only agents with a skill of this tag"`
	Text  string     `json:"text,omitempty" doc:"Words to look for in name, role, description, skills and tags; the best match comes first"`
	Role  Role       `json:"role,omitempty" doc:"Only agents of this role"`
	State AgentState `json:"state,omitempty" doc:"Only agents that are live, or lost"`
	Limit int        `json:"limit,omitempty" doc:"How many at the most, 1 to 200; 50 when absent"`
	Page  string     `json:"page,omitempty" doc:"Where to go on, as an earlier answer said"`
}

// NameAgent names an agent.
type NameAgent struct {
	Key  string    `json:"idempotency_key,omitempty"`
	Name AgentName `json:"name"`
}

// FoundAgents is a page of agents.
type FoundAgents struct {
	Agents []Agent `json:"agents"`
	Total  int     `json:"total"`
	Next   string  `json:"next,omitempty"` // empty on the last page
}

// Directory is what a hub knows of agents that are not its own, and how all of
// them are found.
type Directory interface {
	// Inspect fetches an agent card, verifies it and tells what it says.
	// ErrDenied when the address is inside the hub's network, ErrUnavailable when
	// there is no card, ErrInvalid when what is there is none.
	Inspect(ctx context.Context, in InspectCard) (CardReport, error)
	// Adopt registers an agent whose card a human has judged. ErrDenied when the
	// card's signature does not hold, ErrConflict when the card is not the one
	// that was judged or the name is taken, ErrUnavailable when the agent does
	// not answer.
	Adopt(ctx context.Context, in AdoptAgent) (Agent, error)
	// Forget takes back what was registered: the agent gets nothing any more, what
	// it has in hand is put back, and its name is free. ErrNotFound, and
	// ErrConflict for an agent that a service of ours hosts.
	Forget(ctx context.Context, in NameAgent) (Agent, error)
	// Find lists agents, by name or the best match first.
	Find(ctx context.Context, in FindAgents) (FoundAgents, error)
}

// DirectoryOperations are rows of the a2a-hub service.
func DirectoryOperations() []Operation {
	return []Operation{
		Op("agent_inspect", "POST /agents/inspect", PermitAdmin, Reads, Directory.Inspect, "Fetches an agent card, verifies its signature, and tells what it says, without registering anything."),
		Op("agent_adopt", "POST /agents/adopt", PermitAdmin, Changes, Directory.Adopt, "Registers an agent of somebody else's by its card, as agent_inspect showed it."),
		Op("agent_forget", "POST /agents/{name}/forget", PermitAdmin, Changes, Directory.Forget, "Removes an agent of somebody else's, and puts back what it has in hand."),
		Op("agent_find", "GET /agents/find", PermitRead, Reads, Directory.Find, "Finds agents by skill, tag, text, role and health."),
	}
}
