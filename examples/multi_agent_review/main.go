// Command multi_agent_review has a repository's HEAD reviewed by several agents,
// as an MCP client: with the same tools that Claude Code sees.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	log.SetFlags(0)
	focus := flag.String("focus", "Review the repository", "what to look at")
	repo := flag.String("repo", ".", "a git repository with a commit")
	flag.Parse()
	path, err := filepath.Abs(*repo)
	if err != nil {
		log.Fatal(err)
	}
	if err := review(context.Background(), *focus, path); err != nil {
		log.Fatal(err)
	}
}

func review(ctx context.Context, focus, repo string) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "multi_agent_review", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   cmp.Or(os.Getenv("CONCLAVE_URL"), "http://127.0.0.1:8080") + "/mcp",
		HTTPClient: &http.Client{Transport: bearer{os.Getenv("CONCLAVE_TOKEN")}},
	}, nil)
	if err != nil {
		return err
	}
	defer session.Close()

	var started struct{ ID string }
	if err := tool(ctx, session, "workflow_start", map[string]any{"task": focus, "repo": repo, "workflow": "multi-review"}, &started); err != nil {
		return err
	}
	var detail struct {
		Run struct {
			Status, Reason string
			Report         struct{ Markdown string }
		}
		Decisions []struct {
			Outcome, Reason string
			Ballots         []struct {
				Voter, Verdict string
				Reasons        []string
			}
		}
	}
	for detail.Run.Status == "" || detail.Run.Status == "running" {
		if err := tool(ctx, session, "workflow_status", map[string]any{"id": started.ID, "wait_ms": 30000}, &detail); err != nil {
			return err
		}
	}
	for _, d := range detail.Decisions {
		for _, b := range d.Ballots {
			fmt.Printf("%-24s %-8s %q\n", b.Voter, b.Verdict, b.Reasons)
		}
		fmt.Println(d.Outcome+":", d.Reason)
	}
	fmt.Printf("%s: %s\nreport %s\n", detail.Run.Status, detail.Run.Reason, detail.Run.Report.Markdown)
	return nil
}

// tool calls a tool and decodes its structured result. A failed call says why in
// its text.
func tool(ctx context.Context, s *mcp.ClientSession, name string, arguments map[string]any, out any) error {
	result, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		return err
	}
	if text, ok := result.Content[0].(*mcp.TextContent); result.IsError && ok {
		return fmt.Errorf("%s: %s", name, text.Text)
	}
	text, err := json.Marshal(result.StructuredContent)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

type bearer struct{ token string }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return http.DefaultTransport.RoundTrip(r)
}
