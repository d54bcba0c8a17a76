package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/evidence"

	"github.com/spf13/cobra"
)

func (c *cli) complianceCommand() *cobra.Command {
	format := ""
	cmd := &cobra.Command{Use: "compliance [DIR]", Short: "Check a folder against rule sets: OWASP ASVS, and the licences of dependencies", Args: cobra.MaximumNArgs(1),
		Long: "Says of each rule whether it is met, not met or not checked, with its evidence. Met means that what looks for violations ran over all\n" +
			"of the code and found none; what needs judgement is not checked. Which licences may be is said in config/compliance_rules.yml.\n" +
			"Exits with 1 when a rule is not met. Reports of runs and reviews have the same section.\n" +
			"It runs the go command in the folder: check code that you trust; conclave review looks at the rest in the sandbox.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", "markdown", "sarif"}, format) {
				return conclave.Errorf(conclave.ErrInvalid, "--format is %q; it must be text, markdown or sarif", format)
			}
			dir, err := filepath.Abs(strings.Join(append(args, ".")[:1], ""))
			if err != nil {
				return err
			}
			if info, err := os.Stat(dir); err != nil || !info.IsDir() {
				return conclave.Errorf(conclave.ErrInvalid, "%s is not a folder", dir)
			}
			config, err := c.config()
			if err != nil {
				return err
			}
			a, err := evidence.Analyse(cmd.Context(), dir, evidence.AnalyseOptions{CacheDir: filepath.Join(config.Home, "cache", "lint"),
				VulnDB: cmp.Or(c.getenv("GOVULNDB"), vulnDB), Licences: config.Licences})
			if err != nil {
				return err
			}
			e := conclave.Evidence{Findings: a.Findings, Unchecked: a.Unchecked, Licences: a.Licences, Languages: a.Languages}
			list := evidence.Comply(e, nil)
			if slices.ContainsFunc(list, func(r conclave.Compliance) bool { return r.Status == conclave.ComplianceNotMet }) {
				c.exit = exitFailed
			}
			switch {
			case c.asJSON:
				return c.printJSON(list)
			case format == "markdown":
				_, err = fmt.Fprint(c.stdout, evidence.ComplianceMarkdown(list))
				return err
			case format == "sarif":
				log, err := evidence.SARIF(evidence.Report{Evidence: e, Compliance: list, Version: app.Version})
				if err != nil {
					return err
				}
				_, err = c.stdout.Write(log)
				return err
			}
			return c.printCompliance(list)
		}}
	cmd.Flags().StringVar(&format, "format", "text", "text, markdown or sarif")
	return c.jsonFlag(cmd)
}

// printCompliance lists the rules that are not met with all of their evidence,
// and the others in a line each.
func (c *cli) printCompliance(list []conclave.Compliance) error {
	rows := [][]string{{"RULE", "STATUS", "WHAT IT ASKS FOR", "EVIDENCE"}}
	for _, status := range []conclave.ComplianceStatus{conclave.ComplianceNotMet, conclave.ComplianceMet, conclave.ComplianceNotChecked} {
		for _, r := range list {
			if r.Status != status {
				continue
			}
			for i, why := range r.Evidence {
				row := []string{"", "", "", short(printable(why), 110)}
				if i == 0 {
					row[0], row[1], row[2] = r.Set+" "+r.Rule, strings.ReplaceAll(string(r.Status), "_", " "), r.Title
				} else if status != conclave.ComplianceNotMet {
					break
				}
				rows = append(rows, row)
			}
		}
	}
	if err := table(c.stdout, rows, ""); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.stdout, "\n%s\n", evidence.ComplianceSummary(list))
	return err
}
