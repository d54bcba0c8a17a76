package mcpwire

import (
	"context"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// prompt is a slash command: text for the client's model, in which {NAME} is
// replaced by the argument of that name.
type prompt struct {
	name, description string
	arguments         []*mcp.PromptArgument
	text              string
}

func prompts() []prompt {
	return []prompt{
		{
			name: "plan", description: "Let the agents agree on a plan for a task",
			arguments: []*mcp.PromptArgument{
				{Name: "task", Description: "What to do, in plain words", Required: true},
				{Name: "repo", Description: "Path of the git repository; the current one when absent"},
			},
			text: `Call workflow_start with workflow "consensus-planning", the task below, and repo {repo}.
Then call workflow_status with wait_ms 60000 until the status is neither running nor waiting.
Show the plan's steps with their acceptance criteria, who objected and why, and how the vote went. Don't build anything yourself.

Task: {task}`,
		},
		{
			name: "review", description: "Let several reviewers judge a repository's changes, with evidence",
			arguments: []*mcp.PromptArgument{
				{Name: "focus", Description: "What to look at above all; everything when absent"},
				{Name: "repo", Description: "Path of the git repository; the current one when absent"},
			},
			text: `Call workflow_start with workflow "multi-review", repo {repo}, and as the task: Review the changes. Focus: {focus}.
Then call workflow_status with wait_ms 60000 until the status is neither running nor waiting.
List first the findings that block, each with its path, line and evidence; then the advice; then the verdict and who dissented.`,
		},
		{
			name: "decide", description: "Put a question with several answers to a vote of the agents",
			arguments: []*mcp.PromptArgument{
				{Name: "question", Description: "What is to be decided", Required: true},
				{Name: "options", Description: "The answers to choose from, separated by commas; absent for yes or no"},
			},
			text: `Call agent_list to see which roles there are. Then call decide with a motion: title and subject.id are the question; voters are "roles/ROLE" of at least three roles that know the matter; rounds 2; deadline ten minutes from now.
With options: kind "rank", a short key for each in options, rule {"name":"condorcet","quorum":2}. Without: kind "approve", rule {"name":"threshold","threshold":0.6,"quorum":2}.
Then call decision_get with wait_ms 60000 until there is a decision. Give the outcome, the rule's reason with its counts, and the dissent.

Question: {question}
Options: {options}`,
		},
	}
}

func addPrompts(server *mcp.Server) {
	for _, p := range prompts() {
		server.AddPrompt(&mcp.Prompt{Name: p.name, Description: p.description, Arguments: p.arguments},
			func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
				text, err := p.fill(req.Params.Arguments)
				if err != nil {
					return nil, err
				}
				return &mcp.GetPromptResult{
					Description: p.description,
					Messages:    []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}},
				}, nil
			})
	}
}

// fill puts arguments into the text of a prompt, all at once, so that braces in
// an argument stay what they are.
func (p prompt) fill(arguments map[string]string) (string, error) {
	var pairs []string
	for _, a := range p.arguments {
		value := strings.TrimSpace(arguments[a.Name])
		switch {
		case value == "" && a.Required:
			return "", &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "the prompt " + p.name + " needs the argument " + a.Name}
		case value == "" && a.Name == "repo":
			value = "the absolute path of the current repository"
		case value == "":
			value = "none given"
		}
		pairs = append(pairs, "{"+a.Name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(p.text), nil
}
