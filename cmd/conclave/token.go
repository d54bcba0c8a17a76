package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/identity"
	"conclave/internal/store"

	"github.com/spf13/cobra"
)

const maxTokenLife = 366 * 24 * time.Hour

func (c *cli) tokenCommand() *cobra.Command {
	var role, name, tenant, agent string
	var life time.Duration
	cmd := &cobra.Command{Use: "token", Short: "Print the local token, or make one for somebody else", Args: cobra.NoArgs,
		Long: "Without --role, print the local token. With it, make a token for somebody: a viewer reads; a developer also speaks with agents and starts runs;\n" +
			"an approver reads, speaks and decides what waits for a human; an operator does all of that; an admin also registers agents.\n" +
			"With --agent, make the token of an agent of that name, on behalf of --name or of whoever runs this.\n" +
			"Whoever can read the installation's secret or key can make tokens; nobody else can. Who made a token for whom is in the record.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if agent != "" {
				if role != "" {
					return conclave.Errorf(conclave.ErrInvalid, "--agent and --role exclude each other: an agent reads and speaks")
				}
				name, role = cmp.Or(name, app.LocalCaller(c.getenv).Human), "agent"
			}
			if role == "" {
				for _, flag := range []string{"name", "tenant", "for"} {
					if cmd.Flags().Changed(flag) {
						return conclave.Errorf(conclave.ErrInvalid, "--%s needs --role: one of %s", flag, strings.Join(identity.Roles(), ", "))
					}
				}
				home, err := app.Home(c.getenv)
				if err != nil {
					return err
				}
				token, err := app.ReadToken(home)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.stdout, token)
				return err
			}
			switch {
			case agent == "" && !slices.Contains(identity.Roles(), role):
				return conclave.Errorf(conclave.ErrInvalid, "there is no role %q; %s", role, conclave.DidYouMean(role, identity.Roles()))
			case strings.TrimSpace(name) == "":
				return conclave.Errorf(conclave.ErrInvalid, "--name is missing: whose token is it?")
			case life <= 0 || life > maxTokenLife:
				return conclave.Errorf(conclave.ErrInvalid, "--for %s: a token lives up to %s", life, maxTokenLife)
			}
			config, err := c.config()
			if err != nil {
				return err
			}
			tokens, err := app.Tokens(config, c.getenv)
			if err != nil {
				return err
			}
			caller := conclave.Caller{Tenant: conclave.TenantID(tenant), Human: name, Permissions: identity.HumanPermissions(role)}
			if agent != "" {
				caller.Agent, caller.Permissions = conclave.AgentName(agent), identity.AgentPermissions()
			}
			token, kept, err := tokens.MintKept(caller, life)
			if err != nil {
				return err
			}
			kept.MintedBy = app.LocalCaller(c.getenv).Human
			if err := c.record(cmd.Context(), func(db *store.DB) error { return db.KeepToken(cmd.Context(), kept) }); err != nil {
				return fmt.Errorf("record the token: %w", err)
			}
			_, err = fmt.Fprintln(c.stdout, token)
			return err
		}}
	cmd.Flags().StringVar(&role, "role", "", "what its bearer may do: "+strings.Join(identity.Roles(), ", "))
	cmd.Flags().StringVar(&name, "name", "", "whose token it is, as the record shows it")
	cmd.Flags().StringVar(&agent, "agent", "", "make the token of an agent, which pulls its work with it or speaks for itself")
	cmd.Flags().StringVar(&tenant, "tenant", string(conclave.DefaultTenant), "whose data it reaches")
	cmd.Flags().DurationVar(&life, "for", 24*time.Hour, "how long it is good")
	cmd.AddCommand(c.tokenListCommand(), c.tokenRevokeCommand())
	return cmd
}

// record changes or reads the list of tokens in the installation's database.
func (c *cli) record(ctx context.Context, f func(*store.DB) error) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	db, err := app.OpenRecord(ctx, config)
	if err != nil {
		return err
	}
	return errors.Join(f(db), db.Close())
}

func (c *cli) tokenListCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{Use: "list", Short: "List the tokens that were made: whose, by whom, until when", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []conclave.Token
			err := c.record(cmd.Context(), func(db *store.DB) (err error) {
				list, err = db.Tokens(cmd.Context(), conclave.TenantID(tenant))
				return err
			})
			if err != nil {
				return err
			}
			if c.asJSON {
				return c.printJSON(append([]conclave.Token{}, list...))
			}
			rows := [][]string{{"TOKEN", "FOR", "AGENT", "MAY", "MADE BY", "GOOD UNTIL", "STATE"}}
			for _, t := range list {
				state := "good"
				switch {
				case t.Revoked != nil:
					state = "revoked by " + t.RevokedBy
				case time.Now().After(t.Expires):
					state = "expired"
				}
				var may []string
				for _, p := range t.Permissions {
					may = append(may, string(p))
				}
				rows = append(rows, []string{t.ID, t.Human, dash(string(t.Agent)), strings.Join(may, ","), t.MintedBy, t.Expires.Format(time.DateTime), state})
			}
			return table(c.stdout, rows, "no token was made")
		}}
	cmd.Flags().StringVar(&tenant, "tenant", string(conclave.DefaultTenant), "whose data they reach")
	return c.jsonFlag(cmd)
}

func (c *cli) tokenRevokeCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{Use: "revoke TOKEN...", Short: "Take tokens back, by their ids in the list; services refuse them within two seconds", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.record(cmd.Context(), func(db *store.DB) error {
				for _, id := range args {
					t, err := db.RevokeToken(cmd.Context(), conclave.TenantID(tenant), id, app.LocalCaller(c.getenv).Human)
					if err != nil {
						return err
					}
					if _, err := fmt.Fprintf(c.stdout, "revoked %s, of %s\n", t.ID, cmp.Or(string(t.Agent), t.Human)); err != nil {
						return err
					}
				}
				return nil
			})
		}}
	cmd.Flags().StringVar(&tenant, "tenant", string(conclave.DefaultTenant), "whose data they reach")
	return cmd
}
