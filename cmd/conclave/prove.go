package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/prove"

	"github.com/spf13/cobra"
)

func (c *cli) proveCommand() *cobra.Command {
	var own, markdown, all bool
	cmd := &cobra.Command{Use: "prove [WHAT...]", Short: "Call everything through each of its faces, and check what it did by another path",
		Long: "Call every operation through REST, MCP and A2A, and check its effect by another path than its reply: SQL, git, files, what a peer received.\n" +
			"The services that run are proved, which adds votes and runs called prove-… to them; without any, or with --own, services of its own, which are gone afterwards. " +
			"Beside a Makefile of Conclave's its targets are proved too. WHAT names operations and targets; all without it. It ends with 1 when something failed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			stage, err := c.proving(cmd.Context(), own)
			if err != nil {
				return err
			}
			o := stage.options
			o.Only = args
			if o.Targets != nil {
				o.Targets.All = all
			}
			v := newProveView(c)
			if !c.asJSON && !markdown {
				o.Progress = v.result
			}
			results, err := prove.Prove(cmd.Context(), o)
			if err = errors.Join(err, stage.close()); err != nil {
				return err
			}
			passed, failed, skipped := prove.Count(results)
			if failed > 0 {
				c.exit = exitFailed
			}
			switch {
			case c.asJSON:
				return c.printJSON(map[string]any{"results": results})
			case markdown:
				return prove.Markdown(c.stdout, results)
			}
			fmt.Fprintf(c.stdout, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
			return nil
		}}
	cmd.Flags().BoolVar(&own, "own", false, "start services of its own even when some run")
	cmd.Flags().BoolVar(&all, "all", false, "also the make targets that take minutes")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print a Markdown table")
	return c.jsonFlag(cmd)
}

// proveView prints each result as it comes.
type proveView struct{ c *cli }

func newProveView(c *cli) proveView { return proveView{c} }

func (v proveView) result(r prove.Result) {
	fmt.Fprintf(v.c.stdout, "%-8s %-18s %-5s %6d ms  %s\n", r.Result, r.What, r.Face, r.MS, r.CheckedBy)
	if r.Reason != "" {
		fmt.Fprintf(v.c.stdout, "         %s\n", r.Reason)
	}
}

// proving is what a proof is played on.
type proving struct {
	options prove.Options
	close   func() error
}

func (c *cli) proving(ctx context.Context, own bool) (*proving, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	s, err := c.connect(ctx)
	switch {
	case err == nil && !own:
		if c.getenv("CONCLAVE_URL") != "" {
			return nil, errors.Join(conclave.Errorf(conclave.ErrInvalid, "prove looks into the database; run it where the services run, without CONCLAVE_URL"), s.close())
		}
		o, err := c.proveOptions(config, s.urls)
		return &proving{o, s.close}, err
	case err == nil:
		if err := s.close(); err != nil {
			return nil, err
		}
	case !errors.Is(err, conclave.ErrUnavailable):
		return nil, err
	}
	return c.provingOwn(ctx)
}

// provingOwn starts services in a folder of their own, with a provider that
// counts what it is asked.
func (c *cli) provingOwn(ctx context.Context) (_ *proving, err error) {
	home, err := os.MkdirTemp("", "conclave-own-")
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "make a data directory: %w", err)
	}
	provider, err := prove.StartProvider()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(home))
	}
	clean := func() error {
		provider.Close()
		return os.RemoveAll(home)
	}
	outer := c.getenv
	inner := *c
	inner.getenv = func(name string) string {
		switch name {
		case "CONCLAVE_HOME":
			return home
		case "OPENAI_BASE_URL":
			return provider.URL
		case "OPENAI_API_KEY":
			return "prove"
		case "CONCLAVE_BRAIN":
			return "offline" // the provider is there for the router, and says nothing of use to an agent
		case "CONCLAVE_MODEL":
			return provider.Model
		case "CONCLAVE_DATABASE_URL", "DATABASE_URL", "ANTHROPIC_API_KEY", "CONCLAVE_TOKEN", "JWT_SECRET":
			return ""
		}
		return outer(name)
	}
	s, err := inner.connectOrStart(ctx)
	if err != nil {
		return nil, errors.Join(err, clean())
	}
	closeAll := func() error { return errors.Join(s.close(), clean()) }
	config, err := inner.config()
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	o, err := inner.proveOptions(config, s.urls)
	o.Provider = provider
	return &proving{o, closeAll}, err
}

func (c *cli) proveOptions(config app.Config, urls map[conclave.Service]string) (prove.Options, error) {
	tokens, err := app.Tokens(config, c.getenv)
	if err != nil {
		return prove.Options{}, err
	}
	over, err := c.http()
	if err != nil {
		return prove.Options{}, err
	}
	client := dial(over, urls, "")
	defer client.Close()
	var targets *prove.Targets
	if text, err := os.ReadFile("Makefile"); err == nil && bytes.HasPrefix(text, []byte("# Conclave.")) {
		targets = &prove.Targets{Dir: ".", Home: config.Home}
	}
	return prove.Options{
		Targets: targets,
		Tables:  app.Tables(client.Client), Addresses: urls, Caller: app.LocalCaller(c.getenv), Database: config.Database, Transport: over.Transport,
		Token: func(who conclave.Caller) (string, error) { return tokens.Mint(who, 10*time.Minute) },
	}, nil
}
