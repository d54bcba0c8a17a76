// Command conclave runs a team of agents that plan, build, review and merge, and
// talks to one that runs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/evidence"
	"conclave/internal/sandbox"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNeedsModel = 3
	exitWaits      = 4
	exitRejected   = 5
)

func main() {
	sandbox.Child() // does not return in a process that the sandbox started
	if len(os.Args) > 1 && os.Args[1] == evidence.Worker {
		os.Exit(evidence.AnalyseMain(os.Args[2:], os.Stdout))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	// The first signal stops in order; after it, a second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	c := &cli{stdout: stdout, stderr: stderr, getenv: os.Getenv}
	root := c.command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return c.exit
	case c.running: // it was understood, and did not succeed
		text := message(err)
		if errors.Is(err, conclave.ErrDenied) && os.Getenv("CONCLAVE_TOKEN") != "" {
			text += "; CONCLAVE_TOKEN is set, and goes before this machine's own token (conclave token)"
		}
		fmt.Fprintln(stderr, "conclave: "+text)
		switch {
		case c.exit != exitDone: // the command knows better
			return c.exit
		case errors.Is(err, conclave.ErrInvalid):
			return exitUsage
		}
		return exitFailed
	}
	fmt.Fprintf(stderr, "conclave: %s; conclave help lists the commands\n", strings.TrimSuffix(message(err), "."))
	return exitUsage
}

// message is an error for a person at this machine: all of it, on one line.
func message(err error) string { return strings.Join(strings.Fields(printable(err.Error())), " ") }

// cli is one call of the program.
type cli struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	asJSON         bool
	running        bool // the arguments were understood
	exit           int
}

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use: "conclave", Short: "A team of agents that plans, votes, builds, reviews and merges",
		Version: app.Version, SilenceUsage: true, SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) { c.running = true },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		c.serveCommand(),
		c.runCommand(),
		c.planCommand(),
		c.reviewCommand(),
		c.decideCommand(),
		c.runsCommand(),
		c.approveCommand(),
		c.cancelCommand(),
		c.watchCommand(),
		c.messagesCommand(),
		c.conversationCommand(),
		c.handoffCommand(),
		c.escalationsCommand(),
		c.topicCommand(),
		c.broadcastCommand(),
		c.agentsCommand(),
		c.worktreesCommand(),
		c.routeCommand(),
		c.statusCommand(),
		c.doctorCommand(),
		c.tokenCommand(),
		c.auditCommand(),
		c.analyticsCommand(),
		c.backupCommand(),
		c.restoreCommand(),
		c.proveCommand(),
		c.mcpCommand(),
		c.tuneCommand(),
		c.debugCommand(),
		c.scanCommand(),
		c.complianceCommand(),
		c.debtCommand(),
		c.documentCommand(),
	)
	return root
}

// jsonFlag adds --json to a command that prints data.
func (c *cli) jsonFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print JSON")
	return cmd
}

func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// config loads the configuration.
func (c *cli) config() (app.Config, error) { return app.Load(c.getenv, os.Environ()) }
