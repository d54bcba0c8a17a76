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
	"github.com/spf13/pflag"
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
	called, err := root.ExecuteContextC(ctx)
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
	fmt.Fprintf(stderr, "conclave: %s\n", misuse(called, err))
	return exitUsage
}

// misuse says on one line what of a command was not understood, and how it is used.
func misuse(cmd *cobra.Command, err error) string {
	text, _, _ := strings.Cut(message(err), " Did you mean this?") // cobra's own, in several lines
	unknown, isFlag := errors.AsType[*pflag.NotExistError](err)
	value, isValue := errors.AsType[*pflag.InvalidValueError](err)
	switch {
	case isFlag && len(unknown.GetSpecifiedName()) > 1:
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		text = fmt.Sprintf("%s has no flag --%s; %s", cmd.CommandPath(), unknown.GetSpecifiedName(), conclave.DidYouMean("--"+unknown.GetSpecifiedName(), names))
	case isValue:
		text = fmt.Sprintf("--%s %q: want a value as %s (%s)", value.GetFlag().Name, value.GetValue(), value.GetFlag().Value.Type(), value.GetFlag().Usage)
	case cmd.HasAvailableSubCommands() && strings.HasPrefix(text, "unknown command"):
		word, _, _ := strings.Cut(strings.TrimPrefix(text, `unknown command "`), `"`)
		text = fmt.Sprintf("unknown command %q; %s", word, conclave.DidYouMean(word, below(cmd)))
	}
	if !cmd.HasParent() {
		return text + "; conclave help lists the commands"
	}
	return text + "; usage: " + cmd.UseLine()
}

// below lists the names of the commands below one.
func below(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// askBelow has each command that only holds others ask for one of them.
func askBelow(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		askBelow(c)
	}
	if !cmd.HasParent() || !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return conclave.Errorf(conclave.ErrInvalid, "%s what? One of %s", cmd.CommandPath(), strings.Join(below(cmd), ", "))
		}
		return conclave.Errorf(conclave.ErrInvalid, "there is no %s %s; %s", cmd.CommandPath(), args[0], conclave.DidYouMean(args[0], below(cmd)))
	}
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
	askBelow(root)
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Short: "Tell about a command",
		RunE: func(_ *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return conclave.Errorf(conclave.ErrInvalid, "there is no command %q; %s", strings.Join(args, " "), conclave.DidYouMean(args[len(args)-1], below(about)))
			}
			return about.Help()
		}})
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
