package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const generated = "<!-- written by scripts/apidoc: make api-docs -->\n"

// openAPI is what the pages show of an OpenAPI 3.1 description.
type openAPI struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	OperationID string
	Summary     string
	Tags        []string
	Permission  string `json:"x-permission"`
	Parameters  []struct {
		In, Name, Description string
		Required              bool
		Schema                schema
	}
	RequestBody struct {
		Content map[string]struct{ Schema schema }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema schema }
	}
}

type schema struct {
	Ref         string `json:"$ref"`
	Type        any    // a name or several
	Format      string
	Description string
	Enum        []any
	Items       *schema
	Properties  map[string]schema
	Required    []string
}

// String is the schema in a word or two, with a link to a named one.
func (s schema) String() string {
	switch {
	case s.Ref != "":
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	case s.Items != nil:
		return "list of " + s.Items.String()
	case s.Type == nil:
		return "any JSON"
	}
	text := fmt.Sprint(s.Type)
	if list, ok := s.Type.([]any); ok {
		var names []string
		for _, n := range list {
			names = append(names, fmt.Sprint(n))
		}
		text = strings.Join(names, " or ")
	}
	if s.Format != "" {
		text += " (" + s.Format + ")"
	}
	var values []string
	for _, v := range s.Enum {
		if v != "" {
			values = append(values, fmt.Sprintf("`%v`", v))
		}
	}
	if len(values) > 0 {
		text += ": " + strings.Join(values, ", ")
	}
	return text
}

func restPage(api openAPI) string {
	var b strings.Builder
	b.WriteString(generated + "# REST\n\nUnder `/api` of the gateway (8080); each service has its own operations on its own port, without the `/api`. A token goes into the header\n`Authorization: Bearer`. Errors are problem details (RFC 9457) with the kind of error in `kind`. The machine-readable form is [openapi.json](openapi.json),\nserved at `/api/openapi.json`.\n")
	services := map[string][]string{}
	for _, path := range slices.Sorted(maps.Keys(api.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(api.Paths[path])) {
			op := api.Paths[path][method]
			for _, tag := range op.Tags {
				services[tag] = append(services[tag], op.section(strings.ToUpper(method), path))
			}
		}
	}
	for _, service := range slices.Sorted(maps.Keys(services)) {
		fmt.Fprintf(&b, "\n## %s\n%s", service, strings.Join(services[service], ""))
	}
	b.WriteString("\n## Shapes\n")
	for _, name := range slices.Sorted(maps.Keys(api.Components.Schemas)) {
		s := api.Components.Schemas[name]
		if len(s.Properties) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n| field | type | |\n|---|---|---|\n", name)
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[field]
			fmt.Fprintf(&b, "| `%s`%s | %s | %s |\n", field, mark(slices.Contains(s.Required, field)), p, p.Description)
		}
	}
	return b.String()
}

func (op operation) section(method, path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n`%s %s` · permission `%s`\n\n%s\n", op.OperationID, method, path, op.Permission, op.Summary)
	if len(op.Parameters) > 0 {
		b.WriteString("\n| parameter | in | type | |\n|---|---|---|---|\n")
		for _, p := range op.Parameters {
			fmt.Fprintf(&b, "| `%s`%s | %s | %s | %s |\n", p.Name, mark(p.Required), p.In, p.Schema, p.Description)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
		fmt.Fprintf(&b, "\nTakes %s (`%s`).\n", op.RequestBody.Content[kind].Schema, kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(op.Responses["200"].Content)) {
		fmt.Fprintf(&b, "\nReturns %s (`%s`).\n", op.Responses["200"].Content[kind].Schema, kind)
	}
	return b.String()
}

func mark(required bool) string {
	if required {
		return " \\*"
	}
	return ""
}

// mcpPage describes the tools, prompts and resources of the gateway.
func (s *services) mcpPage(ctx context.Context) (string, error) {
	endpoint := s.addresses["gateway"] + "/mcp"
	session, err := mcp.NewClient(&mcp.Implementation{Name: "apidoc", Version: "1"}, nil).Connect(ctx,
		&mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &http.Client{Transport: s}, DisableStandaloneSSE: true}, nil)
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	defer session.Close()
	var b strings.Builder
	b.WriteString(generated + "# MCP\n\nStreamable HTTP at `/mcp` of the gateway (8080), or `conclave mcp` on standard input and output. A failed call is an error result whose `_meta` holds\nthe kind of error. On its own port, each service offers all its operations as tools.\n\n## Tools\n")
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("list the tools: %w", err)
	}
	for _, tool := range tools.Tools {
		text, err := json.Marshal(tool.InputSchema)
		var in schema
		if err == nil {
			err = json.Unmarshal(text, &in)
		}
		if err != nil {
			return "", fmt.Errorf("read the schema of %s: %w", tool.Name, err)
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", tool.Name, tool.Description)
		if len(in.Properties) > 0 {
			b.WriteString("\n| argument | type | |\n|---|---|---|\n")
		}
		for _, name := range slices.Sorted(maps.Keys(in.Properties)) {
			p := in.Properties[name]
			fmt.Fprintf(&b, "| `%s`%s | %s | %s |\n", name, mark(slices.Contains(in.Required, name)), p, p.Description)
		}
	}
	prompts, err := session.ListPrompts(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("list the prompts: %w", err)
	}
	b.WriteString("\n## Prompts\n\n")
	for _, p := range prompts.Prompts {
		fmt.Fprintf(&b, "- `%s`: %s\n", p.Name, p.Description)
	}
	resources, err := session.ListResourceTemplates(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("list the resources: %w", err)
	}
	b.WriteString("\n## Resources\n\n")
	for _, r := range resources.ResourceTemplates {
		fmt.Fprintf(&b, "- `%s`: %s\n", r.URITemplate, r.Description)
	}
	return b.String(), nil
}

// a2aPage describes the cards of the roles' agents and of the services.
func (s *services) a2aPage(ctx context.Context) (string, error) {
	var b strings.Builder
	b.WriteString(generated + "# A2A\n\nA2A 1.0 and 0.3, JSON-RPC and HTTP+JSON. Cards are at `/.well-known/agent-card.json` below each address.\n\n## Agents\n\n" +
		"At `/a2a/agents/NAME` and `/a2a/roles/ROLE` of the gateway (8080) and the hub (8010).\n")
	var agents []struct{ Role string }
	text, err := s.get(ctx, "gateway", "/api/agents")
	if err == nil {
		err = json.Unmarshal(text, &agents)
	}
	if err != nil {
		return "", fmt.Errorf("list the agents: %w", err)
	}
	roles := map[string]bool{}
	for _, a := range agents {
		roles[a.Role] = true
	}
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		if err := s.card(ctx, &b, "gateway", "/a2a/roles/"+role); err != nil {
			return "", err
		}
	}
	b.WriteString("\n## Services\n\nAt `/a2a/service/` of each service's port. A message with the data part `{\"operation\": NAME, \"input\": {…}}` runs the operation with the\nrights of its caller; the output is the data part of an artifact.\n")
	for _, service := range slices.Sorted(maps.Keys(s.addresses)) {
		if service == "gateway" {
			continue // it shows what the others have
		}
		if err := s.card(ctx, &b, service, ""); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func (s *services) card(ctx context.Context, b *strings.Builder, service, address string) error {
	var card struct {
		Name, Description string
		Skills            []struct{ ID, Description string }
	}
	text, err := s.get(ctx, service, address+"/.well-known/agent-card.json")
	if err == nil {
		err = json.Unmarshal(text, &card)
	}
	if err != nil {
		return fmt.Errorf("read the card of %s%s: %w", service, address, err)
	}
	fmt.Fprintf(b, "\n### %s\n\n%s\n", card.Name, card.Description)
	if len(card.Skills) > 0 {
		b.WriteString("\n| skill | |\n|---|---|\n")
	}
	for _, skill := range card.Skills {
		fmt.Fprintf(b, "| `%s` | %s |\n", skill.ID, skill.Description)
	}
	return nil
}
