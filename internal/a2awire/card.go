package a2awire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"conclave"
)

// Card is what a server tells of itself.
type Card struct {
	Name        string
	Description string
	Version     string // "1" when empty
	// URL is the address where the server is mounted. When it is only a path,
	// scheme and host are those that the client asked.
	URL    string
	Skills []Skill
	// GRPC says that the agent is reached by gRPC too, at the same host and port;
	// Tenant is how it is named there.
	GRPC   bool
	Tenant string
	// Extended says that callers who may speak here get a card with more.
	Extended bool
	// Facts are what only those see; the extension [FactsExtension] tells them.
	Facts map[string]any
	// EncryptionKey is the X25519 key, in base64, for messages that only the agent
	// may read; the extension [EncryptionExtension] tells it. Empty: there is none.
	EncryptionKey string
	// Push says that clients are told of their tasks by push notifications.
	Push bool
	// Trust is what the agent's outcomes come to, which [TrustExtension] shows. Nil:
	// the card does not speak of it.
	Trust *conclave.TrustScore
}

// EncryptionExtension is the URI of the extension by which a card publishes the
// agent's key: a message's data part {"jwe": …} holds a JWE (RFC 7516) to it.
const EncryptionExtension = "urn:conclave:a2a:encryption:1"

// FactsExtension is the URI of the extension by which an extended card tells how
// the agent is known at the hub: its role, brain, state, and how busy it is.
const FactsExtension = "urn:conclave:a2a:agent:1"

const tokenScheme = "A token of this server, as conclave token prints it."

// Skill is one thing that an agent does.
type Skill struct {
	ID, Name, Description string
	Tags, Examples        []string
}

// AssignmentSkill describes a kind of assignment as a skill.
func AssignmentSkill(kind conclave.AssignmentKind) Skill {
	s := Skill{ID: string(kind), Name: string(kind), Tags: []string{"conclave"}}
	switch kind {
	case conclave.AssignDraft:
		s.Description = "Drafts a plan for a task: steps with dependencies, acceptance criteria and write sets."
	case conclave.AssignComment:
		s.Description = "Comments on a plan from its role's side, citing facts of the repository or rules."
	case conclave.AssignRevise:
		s.Description = "Revises a plan after comments and says what became of each."
	case conclave.AssignOptions:
		s.Description = "Proposes options for a design question, with what speaks for and against each."
	case conclave.AssignVote:
		s.Description = "Votes on a motion and signs the ballot with its own key."
	case conclave.AssignBuild:
		s.Description = "Builds one step of a plan in the git worktree that it is given."
	case conclave.AssignReview:
		s.Description = "Reviews a change; what blocks has evidence, the rest is advice."
	case conclave.AssignRefute:
		s.Description = "Tries to refute the findings of others."
	case conclave.AssignAsk:
		s.Description = "Answers a question in prose."
	default:
		s.Description = "Takes assignments of the kind " + string(kind) + "."
	}
	return s
}

// agentCard is the card as 1.0 has it. base is the address that the client asked.
func (c Card) agentCard(base string) *a2a.AgentCard {
	url := c.URL
	if strings.HasPrefix(url, "/") || url == "" {
		url = base + url
	}
	version := c.Version
	if version == "" {
		version = "1"
	}
	card := &a2a.AgentCard{
		Name: c.Name, Description: c.Description, Version: version,
		Capabilities:       a2a.AgentCapabilities{Streaming: true, PushNotifications: c.Push, ExtendedAgentCard: c.Extended},
		DefaultInputModes:  []string{"text/plain", "application/json"},
		DefaultOutputModes: []string{"text/plain", "application/json"},
		SupportedInterfaces: []*a2a.AgentInterface{
			{URL: url, ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: a2a.Version},
			{URL: url, ProtocolBinding: a2a.TransportProtocolHTTPJSON, ProtocolVersion: a2a.Version},
			{URL: url, ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: a2av0.Version},
			{URL: url, ProtocolBinding: a2a.TransportProtocolHTTPJSON, ProtocolVersion: a2av0.Version},
		},
		SecurityRequirements: a2a.SecurityRequirementsOptions{{"bearer": {}}},
		SecuritySchemes:      a2a.NamedSecuritySchemes{"bearer": a2a.HTTPAuthSecurityScheme{Scheme: "Bearer", Description: tokenScheme}},
		Skills:               []a2a.AgentSkill{},
	}
	if c.GRPC {
		scheme, host, _ := strings.Cut(url, "://")
		host, _, _ = strings.Cut(host, "/")
		if _, _, err := net.SplitHostPort(host); err != nil { // gRPC has a default of its own
			host = net.JoinHostPort(strings.Trim(host, "[]"), map[string]string{"http": "80", "https": "443"}[scheme])
		}
		card.SupportedInterfaces = append(card.SupportedInterfaces,
			&a2a.AgentInterface{URL: host, ProtocolBinding: a2a.TransportProtocolGRPC, ProtocolVersion: a2a.Version, Tenant: c.Tenant})
		if c.Tenant == "" { // 0.3 has no tenants
			card.SupportedInterfaces = append(card.SupportedInterfaces,
				&a2a.AgentInterface{URL: host, ProtocolBinding: a2a.TransportProtocolGRPC, ProtocolVersion: a2av0.Version})
		}
	}
	if c.Facts != nil {
		card.Capabilities.Extensions = append(card.Capabilities.Extensions, a2a.AgentExtension{URI: FactsExtension, Params: c.Facts,
			Description: "How the agent is known at its hub."})
	}
	if c.EncryptionKey != "" {
		raw, err := base64.StdEncoding.DecodeString(c.EncryptionKey)
		if err == nil { // the hub takes no other
			card.Capabilities.Extensions = append(card.Capabilities.Extensions, a2a.AgentExtension{URI: EncryptionExtension,
				Description: `Takes messages that only it can read: the data part {"jwe": …} holds a JWE of {"to", "text", "data", "reply_to"}; reply_to is the key for the answer.`,
				Params: map[string]any{"jwk": map[string]any{"kty": "OKP", "crv": "X25519", "use": "enc", "x": base64.RawURLEncoding.EncodeToString(raw)},
					"alg": []any{"ECDH-ES", "ECDH-ES+A256KW"}, "enc": []any{"A256GCM"}}})
		}
	}
	if c.Trust != nil {
		card.Capabilities.Extensions = append(card.Capabilities.Extensions, trustExtension(*c.Trust))
	}
	for _, s := range c.Skills {
		tags := s.Tags
		if tags == nil {
			tags = []string{}
		}
		card.Skills = append(card.Skills, a2a.AgentSkill{ID: s.ID, Name: s.Name, Description: s.Description, Tags: tags, Examples: s.Examples})
	}
	return card
}

// json returns the card in a version of the protocol: exactly as the schema of 1.0
// has it for "1.0", and for any other as clients of 1.0 and of 0.3 both read it.
func (c Card) json(ctx context.Context, base, version string) ([]byte, error) {
	card := c.agentCard(base)
	if version == "1.0" {
		return exactJSON(card)
	}
	// The SDK writes that union, but for the security schemes only in a form that no
	// 1.0 client reads, and the address of gRPC without the scheme that 0.3 wants.
	union, err := a2av0.NewStaticAgentCardProducer(card).(a2asrv.AgentCardJSONProducer).CardJSON(ctx)
	if err != nil {
		return nil, fmt.Errorf("writing the card of %s: %w", c.Name, err)
	}
	var out map[string]any
	if err := json.Unmarshal(union, &out); err != nil {
		return nil, fmt.Errorf("reading the card of %s: %w", c.Name, err)
	}
	out["securitySchemes"] = map[string]any{"bearer": map[string]any{
		"type": "http", "scheme": "Bearer", "description": tokenScheme,
		"httpAuthSecurityScheme": map[string]any{"scheme": "Bearer", "description": tokenScheme},
	}}
	more, _ := out["additionalInterfaces"].([]any)
	for _, i := range more {
		face, _ := i.(map[string]any)
		if at, ok := face["url"].(string); ok && !strings.Contains(at, "://") {
			scheme, _, _ := strings.Cut(base, "://")
			face["url"] = scheme + "://" + at
		}
	}
	return json.Marshal(out)
}

// exactJSON is a card with nothing that the schema of 1.0 does not have.
func exactJSON(card *a2a.AgentCard) ([]byte, error) {
	out, err := cardJSON(card)
	if err != nil {
		return nil, err
	}
	var needs []any
	for _, need := range card.SecurityRequirements {
		schemes := map[string]any{}
		for name, scopes := range need {
			schemes[string(name)] = map[string]any{"list": append([]string{}, scopes...)}
		}
		needs = append(needs, map[string]any{"schemes": schemes})
	}
	out["securityRequirements"] = needs
	return json.Marshal(out)
}

// cardJSON is a card that every client of 1.0 can read. It leaves out which
// scheme is required: the official SDK for Go writes and reads that in another
// form than the protocol's definition has, and each fails on the other's.
func cardJSON(card *a2a.AgentCard) (map[string]any, error) {
	text, err := json.Marshal(card)
	if err != nil {
		return nil, fmt.Errorf("writing the card of %s: %w", card.Name, err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("reading the card of %s: %w", card.Name, err)
	}
	delete(out, "securityRequirements")
	return out, nil
}
