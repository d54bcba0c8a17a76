package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"conclave"
	"conclave/internal/evidence"
	"conclave/internal/sandbox"
	"conclave/internal/survey"

	"github.com/spf13/cobra"
)

func (c *cli) debtCommand() *cobra.Command {
	in := conclave.GetDebt{}
	format := ""
	cmd := &cobra.Command{Use: "debt [DIR]", Short: "Rank a repository's files by churn times complexity and findings: where its technical debt costs most", Args: cobra.MaximumNArgs(1),
		Long: "Counts in the history how often each file was changed, by whom, and how often to mend something; measures how complex it is; and runs the\n" +
			"analysers over a copy of HEAD in the sandbox. Works on any git repository; what takes too long or can't be measured is said.",
		Example: "  conclave debt --limit 10\n  conclave debt ../other --format markdown > debt.md",
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "markdown" {
				return conclave.Errorf(conclave.ErrInvalid, "--format is %q; it must be text or markdown", format)
			}
			in.Repo = strings.Join(append(args, ".")[:1], "")
			s, err := c.surveys()
			if err != nil {
				return err
			}
			d, err := s.Debt(cmd.Context(), in)
			switch {
			case err != nil:
				return err
			case c.asJSON:
				return c.printJSON(d)
			case format == "markdown":
				_, err = fmt.Fprint(c.stdout, survey.DebtMarkdown(d))
				return err
			}
			return c.printDebt(d)
		}}
	cmd.Flags().IntVar(&in.Limit, "limit", 20, "how many files")
	cmd.Flags().IntVar(&in.Commits, "commits", 5000, "how many commits to look back")
	cmd.Flags().IntVar(&in.Seconds, "seconds", 60, "how long the history and the analysers may take, each")
	cmd.Flags().StringVar(&format, "format", "text", "text or markdown")
	return c.jsonFlag(cmd)
}

// surveys measures repositories in this process: it needs no services.
func (c *cli) surveys() (*survey.Service, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	box, err := sandbox.New(sandbox.Options{Switch: config.Sandbox})
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(config.Home, "cache")
	meter, err := evidence.New(evidence.Options{Sandbox: box, CacheDir: cache, VulnDB: c.getenv("GOVULNDB"), Licences: config.Licences})
	if err != nil {
		return nil, err
	}
	return survey.New(survey.Options{Analyser: meter, Scratch: filepath.Join(cache, "survey")})
}

func (c *cli) printDebt(d conclave.Debt) error {
	rows := [][]string{{"SCORE", "FILE", "CHANGES", "FIXES", "AUTHORS", "LINES", "COMPLEXITY", "WORST FUNCTION", "FINDINGS"}}
	for _, f := range d.Files {
		worst := "–"
		if f.Cyclomatic != nil {
			worst = fmt.Sprintf("%s %d", f.Function, *f.Cyclomatic)
		}
		rows = append(rows, []string{fmt.Sprintf("%.1f", f.Score), printable(f.Path), fmt.Sprint(f.Changes), fmt.Sprint(f.Fixes), fmt.Sprint(f.Authors), fmt.Sprint(f.Lines), fmt.Sprint(f.Complexity), worst, count(f.Findings)})
	}
	if err := table(c.stdout, rows, "no file with code was changed in the commits that were counted"); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d commits counted, %d files with code, at %.12s in %s\nscore: %s\n", d.Commits, d.FileCount, d.Commit, d.Repo, d.Score)
	for _, u := range d.Unmeasured {
		fmt.Fprintf(&b, "not measured: %s\n", printable(u))
	}
	_, err := fmt.Fprint(c.stdout, b.String())
	return err
}

func count(n *int) string {
	if n == nil {
		return "–"
	}
	return fmt.Sprint(*n)
}
