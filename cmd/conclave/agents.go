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
	var o adoption
	cmd := &cobra.Command{Use: "register [URL]", Short: "Add an agent of somebody else's by its card, or one of a shipped role", Args: cobra.MaximumNArgs(1),
		Long: "With a URL, fetch the agent card there, verify its signature, show it, ask whether it is trusted, and register the agent: it gets work by its skills and by --role.\n" +
			"An address inside the network of the hub is refused unless --allow-private says that it is meant. Whoever changes the card's key must be trusted again.\n\n" +
			"Without one, write an agent's Markdown file into the data directory: the role's own text, to be edited. Running services take it in within seconds, and again whenever it changes; " +
			"removing the file removes the agent. A file for a role of your own goes into the same folder.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if role != "" {
					return conclave.Errorf(conclave.ErrInvalid, "--type is for an agent of a shipped role; say --role for the agent of a card")
				}
				o.url, o.name = args[0], name
				return c.adopt(cmd.Context(), o)
			}
			for _, flag := range []string{"trust", "allow-private", "keys", "role", "capacity"} {
				if cmd.Flags().Changed(flag) {
					return conclave.Errorf(conclave.ErrInvalid, "--%s needs the address of a card: conclave agents register URL", flag)
				}
			}
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
	cmd.Flags().StringVar(&name, "name", "", "what the agent is called; that of its card when absent")
	cmd.Flags().StringVar(&o.role, "role", "", "of a card's agent: whose work it gets; its name when absent")
	cmd.Flags().IntVar(&o.capacity, "capacity", 1, "of a card's agent: how many tasks it takes at once")
	cmd.Flags().StringVar(&o.keys, "keys", "", "file with the keys (JWKS or PEM) that must have signed the card, when its origin publishes none")
	cmd.Flags().BoolVar(&o.trust, "trust", false, "trust the card as it is, without being asked")
	cmd.Flags().BoolVar(&o.private, "allow-private", false, "allow addresses inside the network of the hub")
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
