package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"conclave"
	"conclave/internal/agent"
	"conclave/internal/app"

	"github.com/spf13/cobra"
)

func (c *cli) registerCommand() *cobra.Command {
	var role, name string
	cmd := &cobra.Command{Use: "register", Short: "Add an agent of a shipped role, under a name of its own", Args: cobra.NoArgs,
		Long: "Write an agent's Markdown file into the data directory: the role's own text, to be edited. Running services take it in within seconds, and again whenever it changes; " +
			"removing the file removes the agent. A file for a role of your own goes into the same folder.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := app.Home(c.getenv)
			if err != nil {
				return err
			}
			text, err := agent.Named(conclave.Role(role), name)
			if err != nil {
				return err
			}
			path := filepath.Join(home, "agents", name+".md")
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return conclave.Errorf(conclave.ErrUnavailable, "make the folder of agents: %w", err)
			}
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, os.ErrExist) {
				return conclave.Errorf(conclave.ErrConflict, "there is an agent %s already: edit %s, or remove it", name, path)
			}
			if err != nil {
				return conclave.Errorf(conclave.ErrUnavailable, "make the agent's file: %w", err)
			}
			_, err = f.Write(text)
			if err = errors.Join(err, f.Close()); err != nil {
				return errors.Join(conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err), os.Remove(path))
			}
			return c.joined(cmd.Context(), conclave.AgentName(name), path)
		}}
	cmd.Flags().StringVar(&role, "type", "", "the role: planner, architect, developer, security, qa, code-reviewer, performance-reviewer or domain-expert")
	cmd.Flags().StringVar(&name, "name", "", "what the agent is called")
	return c.jsonFlag(cmd)
}

// joinLimit is how long running services may take to take an agent in: a few
// heartbeats of their pools.
const joinLimit = 30 * time.Second

// joined waits until running services list an agent, and prints it.
func (c *cli) joined(ctx context.Context, name conclave.AgentName, path string) error {
	s, err := c.connect(ctx)
	if errors.Is(err, conclave.ErrUnavailable) {
		_, err = fmt.Fprintf(c.stdout, "%s is written; it joins at the next start (conclave serve)\n", path)
		return err
	}
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		agents, err := s.Hub().Agents(ctx, conclave.ListAgents{Live: true})
		if err != nil && ctx.Err() == nil {
			return err
		}
		for _, a := range agents {
			if a.Name != name {
				continue
			}
			if c.asJSON {
				return c.printJSON(a)
			}
			_, err := fmt.Fprintf(c.stdout, "%s joined as %s, hosted by %s; its file is %s\n", a.Name, a.Role, a.Service, path)
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return conclave.Errorf(conclave.ErrTimeout, "%s is written, but the running services did not take it in within %v; their log says why", path, joinLimit)
		}
	}
}
