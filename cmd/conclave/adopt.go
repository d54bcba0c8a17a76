package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"conclave"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// adoption is what conclave agents register URL was told.
type adoption struct {
	url, name, role, keys string
	capacity              int
	trust, private        bool
}

// adopt shows the card at an address, asks whether it is trusted, and registers
// its agent.
func (c *cli) adopt(ctx context.Context, o adoption) error {
	in := conclave.InspectCard{URL: o.url, Name: conclave.AgentName(o.name), Private: o.private}
	if o.keys != "" {
		text, err := os.ReadFile(o.keys)
		if err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "read the keys: %w", err)
		}
		in.Keys = string(text)
	}
	return c.with(ctx, func(s *session) error {
		card, err := s.Directory().Inspect(ctx, in)
		if err != nil {
			return err
		}
		c.showCard(card)
		switch {
		case card.Signature == conclave.CardInvalid:
			return conclave.Errorf(conclave.ErrDenied, "%s", card.Problem)
		case card.Problem != "":
			return conclave.Errorf(conclave.ErrConflict, "%s", card.Problem)
		}
		if !o.trust {
			if err := c.askTrust(card); err != nil {
				return err
			}
		}
		a, err := s.Directory().Adopt(ctx, conclave.AdoptAgent{URL: in.URL, Name: card.Agent, Keys: in.Keys, Private: in.Private,
			Role: conclave.Role(o.role), Capacity: o.capacity, Pin: card.Pin})
		if err != nil {
			return err
		}
		if c.asJSON {
			return c.printJSON(a)
		}
		_, err = fmt.Fprintf(c.stdout, "%s is registered as %s, and answers at %s\n", a.Name, a.Role, printable(a.URL))
		return err
	})
}

func (c *cli) forgetCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{Use: "forget NAME", Short: "Remove an agent of somebody else's", Args: cobra.ExactArgs(1),
		Long: "Take back what conclave agents register URL did: the agent gets nothing any more, what it has in hand goes to others, and its name is free.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				a, err := s.Directory().Forget(cmd.Context(), conclave.NameAgent{Name: conclave.AgentName(args[0])})
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(a)
				}
				_, err = fmt.Fprintf(c.stdout, "%s is removed\n", a.Name)
				return err
			})
		}})
}

// showCard shows what a card says to whoever decides about it, beside what the
// command prints.
func (c *cli) showCard(card conclave.CardReport) {
	line := func(what, text string) {
		if text != "" {
			fmt.Fprintf(c.stderr, "%-11s %s\n", what, strings.Join(strings.Fields(printable(text)), " "))
		}
	}
	line("card", card.URL)
	line("name", card.Name+" "+card.Version)
	line("here", string(card.Agent))
	line("provider", card.Provider)
	line("says", card.Description)
	for _, s := range card.Skills {
		line("skill", s.ID+": "+s.Description)
	}
	for _, i := range card.Interfaces {
		line("interface", i.Binding+" "+i.Version+" "+i.URL)
	}
	signed := string(card.Signature)
	if card.Signer != "" {
		signed += " by " + card.Signer
	}
	line("signature", signed)
	votes := "it has no key, so it can't vote"
	if card.PublicKey != "" {
		votes = "signed with the key " + short(card.PublicKey, 12)
	}
	line("ballots", votes)
	if card.Known {
		line("known", "it is registered, with this card")
	}
}

// askTrust asks the person at the terminal. ErrDenied when there is none, or they
// say no.
func (c *cli) askTrust(card conclave.CardReport) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return conclave.Errorf(conclave.ErrDenied, "%s is not trusted, and there is no terminal to ask at; say --trust if it is", card.Agent)
	}
	fmt.Fprintf(c.stderr, "Give %s work, and what is said with it? [y/N] ", card.Agent)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if yes := strings.ToLower(strings.TrimSpace(answer)); err != nil || yes != "y" && yes != "yes" {
		return conclave.Errorf(conclave.ErrDenied, "%s was not trusted", card.Agent)
	}
	return nil
}
