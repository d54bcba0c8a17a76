package mcpwire

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"conclave"
)

// resource is what can be read by its address, through an operation that takes
// its id.
type resource struct {
	operation, prefix, name, description string
}

func resources() []resource {
	return []resource{
		{"workflow_status", "conclave://runs/", "run", "A run with its steps, plan and decisions"},
		{"plan_get", "conclave://plans/", "plan", "The newest version of a plan with its comments"},
		{"decision_get", "conclave://decisions/", "decision", "A motion with its signed ballots and its decision"},
	}
}

// addResource offers what an operation reads as a resource, if it is one of
// those that read one thing by its id.
func addResource(server *mcp.Server, s service) {
	for _, r := range resources() {
		if r.operation != s.op.Name {
			continue
		}
		server.AddResourceTemplate(&mcp.ResourceTemplate{
			Name: r.name, Description: r.description, MIMEType: "application/json", URITemplate: r.prefix + "{id}",
		}, func(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return s.readResource(ctx, r.prefix, req.Params.URI)
		})
	}
}

func (s service) readResource(ctx context.Context, prefix, uri string) (*mcp.ReadResourceResult, error) {
	id, err := url.PathUnescape(strings.TrimPrefix(uri, prefix))
	if err != nil {
		return nil, mcp.ResourceNotFoundError(uri)
	}
	arguments, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		return nil, fmt.Errorf("encoding the id of %s: %w", uri, err)
	}
	text, err := s.run(ctx, arguments)
	if err != nil {
		return nil, s.refused(ctx, uri, err)
	}
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, MIMEType: "application/json", Text: string(text)}}}, nil
}

// refused is an error as the protocol carries it, with its kind in the data.
func (s service) refused(ctx context.Context, uri string, err error) error {
	kind := conclave.KindOf(err)
	code := int64(jsonrpc.CodeInternalError)
	switch kind {
	case conclave.ErrNotFound:
		return mcp.ResourceNotFoundError(uri)
	case conclave.ErrInvalid:
		code = jsonrpc.CodeInvalidParams
	case conclave.ErrInternal:
		s.logger.ErrorContext(ctx, "reading a resource", "uri", uri, "caller", conclave.CallerFrom(ctx).Name(), "error", err)
	}
	data, encodeErr := json.Marshal(map[string]string{"kind": kind.Error()})
	if encodeErr != nil {
		return fmt.Errorf("encoding the kind of an error: %w", encodeErr)
	}
	return &jsonrpc.Error{Code: code, Message: kind.Error() + ": " + conclave.Text(err), Data: data}
}
