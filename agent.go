package conclave

import "time"

// AgentSpec is an agent as a file: Markdown with YAML frontmatter, the format of
// Claude Code's own subagents.
type AgentSpec struct {
	Name        string   `yaml:"name" json:"name"`
	Description string   `yaml:"description" json:"description"`
	Tools       []string `yaml:"tools" json:"tools,omitempty"` // of: read, write, search, run, ask
	Model       string   `yaml:"model" json:"model,omitempty"` // a tier or a model's name; empty inherits
	Role        Role     `yaml:"role" json:"role"`             // empty means Name
	MaxTurns    int      `yaml:"max_turns" json:"max_turns,omitempty"`
	Topics      []string `yaml:"topics" json:"topics,omitempty"` // that it subscribes to
	Prompt      string   `yaml:"-" json:"prompt"`
	Source      string   `yaml:"-" json:"source"` // "built in", or the file it came from
}

// AgentState tells whether an agent can be given work.
type AgentState string

// States of an agent.
const (
	AgentLive AgentState = "live"
	AgentLost AgentState = "lost" // its host has stopped answering
	AgentGone AgentState = "gone" // its host no longer has it: it is nobody's addressee; its name stays bound to its key
)

// Agent is one registered agent: who it is, where it answers, with which key it
// signs.
type Agent struct {
	Name        AgentName `json:"name"`
	Role        Role      `json:"role"`
	Description string    `json:"description"`
	Skills      []string  `json:"skills"`           // the kinds of assignment that it takes, or what its card names
	Topics      []string  `json:"topics,omitempty"` // that it subscribes to
	Brain       string    `json:"brain"`            // "playbook", "model:NAME", "claude"
	Service     Service   `json:"service,omitempty"`
	URL         string    `json:"url"`        // its A2A JSON-RPC address; "local:" when it lives in the hub's process, PullURL when it pulls
	PublicKey   string    `json:"public_key"` // ed25519, base64
	// EncryptionKey is the X25519 key, in base64, for messages that only the
	// agent may read; empty when it takes none.
	EncryptionKey string `json:"encryption_key,omitempty"`
	// Tags are those of the skills on its card.
	Tags []string `json:"tags,omitempty"`
	// Card is set for an agent of somebody else's that was registered by its card.
	Card     *CardTrust `json:"card,omitempty"`
	State    AgentState `json:"state"`
	Active   int        `json:"active"` // tasks in its hands
	Capacity int        `json:"capacity"`
	Seen     time.Time  `json:"seen"`
}

// RegisterAgent makes an agent known, or renews what is known of it.
type RegisterAgent struct {
	Key   string `json:"idempotency_key,omitempty"`
	Agent Agent  `json:"agent"`
}

// ListAgents chooses agents.
type ListAgents struct {
	Role Role `json:"role,omitempty" doc:"Only agents of this role"`
	Live bool `json:"live,omitempty" doc:"Only agents that answer"`
}
