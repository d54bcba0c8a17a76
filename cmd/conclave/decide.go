package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/council"
	"conclave/internal/identity"
	"conclave/internal/survey"

	"github.com/spf13/cobra"
)

func (c *cli) decideCommand() *cobra.Command {
	var options, voters []string
	var threshold float64
	var wait time.Duration
	var conversation, repo string
	cmd := &cobra.Command{Use: "decide QUESTION", Short: "Put a question to the agents and print their signed decision", Args: cobra.ExactArgs(1),
		Example: `  conclave decide "Which store should the service use?" --option postgres --option sqlite
  conclave decide "Which store should the service use?" --option postgres --option sqlite --repo .`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case cmd.Flags().Changed("threshold") && threshold == 0:
				return conclave.Errorf(conclave.ErrInvalid, "--threshold is 0; it must be above 0 and at most 1")
			case cmd.Flags().Changed("deadline") && wait <= 0:
				return conclave.Errorf(conclave.ErrInvalid, "--deadline is %v; it must be above 0, such as 30s or 10m", wait)
			}
			var facts []conclave.OptionFacts
			if repo != "" {
				if len(options) == 0 {
					return conclave.Errorf(conclave.ErrInvalid, "--repo measures options, and there is none; name some with --option")
				}
				var err error
				if facts, err = optionFacts(cmd.Context(), repo, options); err != nil {
					return err
				}
			}
			m, err := motion(args[0], options, facts, voters, threshold, wait)
			if err != nil {
				return err
			}
			m.Conversation = conclave.ConversationID(conversation)
			return c.withOrStart(cmd.Context(), func(s *session) error {
				if conversation != "" {
					if err := talksIn(cmd.Context(), s, m.Conversation); err != nil {
						return err
					}
				}
				return c.decide(cmd.Context(), s, m)
			})
		}}
	cmd.Flags().StringArrayVar(&options, "option", nil, "an answer to rank, KEY or KEY=DESCRIPTION; without options the vote is yes or no")
	cmd.Flags().StringArrayVar(&voters, "voter", nil, "who votes: roles/ROLE or agents/NAME (default: architect, security, qa, developer)")
	cmd.Flags().Float64Var(&threshold, "threshold", 0, "the share of yes that approves (default: consensus_threshold)")
	cmd.Flags().DurationVar(&wait, "deadline", 0, "how long voters have (default: max_collaboration_time)")
	cmd.Flags().StringVar(&repo, "repo", "", "a git repository in which to measure where each option is in use, for the voters to cite")
	cmd.Flags().StringVar(&conversation, "conversation", "", "the conversation to vote in, which is there (default: a new one)")
	c.jsonFlag(cmd)
	cmd.AddCommand(c.verifyCommand(), &cobra.Command{Use: "key", Short: "Print the key that this installation's council signs with", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := c.councilKey()
			if err != nil {
				return err
			}
			if key == "" {
				return conclave.Errorf(conclave.ErrNotFound, "this installation has no council key yet; conclave serve makes it")
			}
			_, err = fmt.Fprintln(c.stdout, key)
			return err
		}})
	return cmd
}

func (c *cli) verifyCommand() *cobra.Command {
	var pinned string
	cmd := &cobra.Command{Use: "verify FILE", Short: "Check a signed decision without a server", Args: cobra.ExactArgs(1),
		Long: "Checks the signatures of a decision and of its ballots, counts them again, and compares the key that signed it with the one you trust: --key, else that of this installation's council.",
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return conclave.Errorf(conclave.ErrInvalid, "read the decision: %w", err)
			}
			var d conclave.Decision
			if err := json.Unmarshal(data, &d); err != nil {
				return conclave.Errorf(conclave.ErrInvalid, "%s is no decision: %w", args[0], err)
			}
			if err := council.Verify(d); err != nil {
				return err
			}
			trusted, whose := pinned, "the key that you named"
			if trusted == "" {
				whose = "this installation's council"
				if trusted, err = c.councilKey(); err != nil {
					return err
				}
			}
			verdict := "good"
			switch trusted {
			case d.PublicKey:
			case "":
				verdict, whose = "consistent, but nobody vouches for the key (name the one you trust with --key)", "an unknown council"
			default:
				return conclave.Errorf(conclave.ErrDenied, "the decision is consistent, but it is signed with %s and not by %s, %s", d.PublicKey, whose, trusted)
			}
			if c.asJSON {
				return c.printJSON(map[string]any{"verdict": verdict, "title": d.Motion.Title, "outcome": d.Outcome, "option": d.Option, "ballots": len(d.Ballots), "public_key": d.PublicKey})
			}
			_, err = fmt.Fprintf(c.stdout, "%s: %s, %s, with %d signed ballots, signed by %s, %s\n", verdict, d.Motion.Title, strings.TrimSpace(string(d.Outcome)+" "+d.Option), len(d.Ballots), whose, d.PublicKey)
			return err
		}}
	cmd.Flags().StringVar(&pinned, "key", "", "the council's public key that you trust, as conclave decide key prints it there")
	return c.jsonFlag(cmd)
}

// councilKey is the public key of this installation's council, or nothing when
// it has none yet.
func (c *cli) councilKey() (string, error) {
	home, err := app.Home(c.getenv)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(home, "keys")
	if _, err := os.Stat(filepath.Join(dir, "council.key")); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	key, err := identity.LoadOrCreate(dir, "council")
	if err != nil {
		return "", err
	}
	return key.Public(), nil
}

// motion is the question as it is put to the vote; what is 0 is left to the
// installation's rules.
func motion(question string, options []string, facts []conclave.OptionFacts, voters []string, threshold float64, wait time.Duration) (conclave.Motion, error) {
	if strings.TrimSpace(question) == "" {
		return conclave.Motion{}, conclave.Errorf(conclave.ErrInvalid, "the question is empty")
	}
	if len(options) == 1 {
		return conclave.Motion{}, conclave.Errorf(conclave.ErrInvalid, "--option is given once; a choice has two or more, and a question of yes or no has none")
	}
	if len(voters) == 0 {
		voters = []string{"roles/architect", "roles/security", "roles/qa", "roles/developer"}
	}
	q := conclave.Question{Key: "question", Text: question}
	m := conclave.Motion{Kind: conclave.MotionApprove, Title: question, Voters: voters, Rounds: 2,
		Rule: conclave.Rule{Name: "threshold", Threshold: threshold, Quorum: min(2, len(voters))}}
	if wait > 0 {
		m.Deadline = time.Now().Add(wait).UTC()
	}
	for i, o := range options {
		key, description, _ := strings.Cut(o, "=")
		option := conclave.Option{Key: key, Title: key, Description: description}
		if i < len(facts) {
			option.Facts, option.InUse = factLines(facts[i])
		}
		q.Options = append(q.Options, option)
		m.Options = append(m.Options, key)
	}
	m.Subject.Kind, m.Subject.ID = "question", question
	if len(options) > 0 {
		m.Kind, m.Rule, m.Subject.Kind = conclave.MotionRank, conclave.Rule{Name: "condorcet", Quorum: min(2, len(voters))}, "options"
	}
	var err error
	if m.Subject.Hash, err = identity.Hash(q); err != nil {
		return m, err
	}
	m.Material, err = json.Marshal(conclave.Assignment{Task: question, Question: &q})
	return m, err
}

// optionFacts measures where a repository uses the options of a question already.
func optionFacts(ctx context.Context, repo string, options []string) ([]conclave.OptionFacts, error) {
	s, err := survey.New(survey.Options{})
	if err != nil {
		return nil, err
	}
	in := conclave.GetOptionFacts{Repo: repo}
	for _, o := range options {
		key, _, _ := strings.Cut(o, "=")
		in.Options = append(in.Options, key)
	}
	return s.Options(ctx, in)
}

// factLines are the facts as voters cite them, and how many places use the option.
func factLines(f conclave.OptionFacts) ([]string, int) {
	lines := slices.Clone(f.Requires)
	if f.Files > 0 {
		lines = append(lines, fmt.Sprintf("%d files with code name it, such as %s", f.Files, strings.Join(f.Examples[:min(3, len(f.Examples))], ", ")))
	}
	return lines, len(f.Requires) + f.Files
}

func (c *cli) decide(ctx context.Context, s *session, m conclave.Motion) error {
	m, err := s.Council().Convene(ctx, conclave.ConveneMotion{Key: conclave.NewID("cli"), Motion: m})
	if err != nil {
		return err
	}
	for {
		st, err := s.Council().Get(ctx, conclave.GetMotion{ID: m.ID, Wait: 5000})
		if err != nil {
			return err
		}
		switch {
		case st.Decision != nil:
			return c.showDecision(*st.Decision)
		case st.Motion.State == conclave.MotionWaiting:
			c.exit = exitWaits
			if c.asJSON {
				return c.printJSON(st)
			}
			_, err := fmt.Fprintf(c.stdout, "the agents did not decide: %s\nmotion %s waits for a human\n", strings.Join(st.Motion.Ladder, "; "), m.ID)
			return err
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(err, fmt.Errorf("motion %s goes on", m.ID))
		}
	}
}

func (c *cli) showDecision(d conclave.Decision) error {
	if d.Outcome == conclave.OutcomeRejected {
		c.exit = exitRejected
	}
	if c.asJSON {
		return c.printJSON(d)
	}
	v := newView(c.stdout)
	v.line("%s: %s", printable(d.Motion.Title), v.bold(strings.TrimSpace(string(d.Outcome)+" "+d.Option)))
	v.line("  %s, decided by %s", printable(d.Reason), d.DecidedBy)
	for _, b := range d.Ballots {
		said := string(b.Verdict)
		if len(b.Ranking) > 0 {
			said = strings.Join(b.Ranking, " > ")
		}
		v.line("  round %d  %s: %s", b.Round, v.who(string(b.Voter)), printable(said))
		v.text("           ", strings.Join(b.Reasons, "; "))
	}
	if len(d.Absent) > 0 {
		v.line("  absent: %s", strings.Join(d.Absent, ", "))
	}
	return v.err
}
