package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/evidence"

	"github.com/spf13/cobra"
)

// vulnDB is the Go project's own database of known vulnerabilities.
const vulnDB = "https://vuln.go.dev"

// scanResult is what security-scan prints as JSON.
type scanResult struct {
	Findings  []conclave.Finding `json:"findings"`
	Accepted  int                `json:"accepted"`  // findings that the folder's file of accepted ones answers
	Stale     []string           `json:"stale"`     // answers to what is no longer found
	Notes     int                `json:"notes"`     // findings too small to fail for; --notes lists them
	Unchecked []string           `json:"unchecked"` // what could not be checked here, and why
}

func (c *cli) scanCommand() *cobra.Command {
	var notes bool
	cmd := &cobra.Command{Use: "security-scan [DIR]", Short: "Look for vulnerable dependencies, insecure code and secrets in a folder", Args: cobra.MaximumNArgs(1),
		Long: "Runs Trivy when it is installed, and the analysers that are built in: govulncheck, gosec and gitleaks. What can't be checked here is said.\n" +
			"A finding that is meant is answered with its reason: in the code (//nolint:gosec // why), or by a line RULE PATH REASON of\n" +
			acceptedFile + " in the folder. Exits with 1 when anything else is found, or an answer answers nothing.\n" +
			"It runs the go command in the folder: scan code that you trust; conclave review looks at the rest in the sandbox.",
		RunE: func(cmd *cobra.Command, args []string) error {
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
			analysis, err := evidence.Analyse(cmd.Context(), dir, evidence.AnalyseOptions{
				CacheDir: filepath.Join(config.Home, "cache", "lint"), VulnDB: cmp.Or(c.getenv("GOVULNDB"), vulnDB)})
			if err != nil {
				return err
			}
			result := scanResult{Findings: []conclave.Finding{}, Unchecked: analysis.Unchecked}
			accepted, err := readAccepted(filepath.Join(dir, acceptedFile))
			if err != nil {
				return err
			}
			for _, f := range analysis.Findings {
				switch {
				case !slices.Contains([]string{"gosec", "gitleaks", "govulncheck"}, f.Tool):
				case accepted.take(f):
					result.Accepted++
				case f.Level == conclave.LevelNote && !notes:
					result.Notes++
				default:
					result.Findings = append(result.Findings, f)
				}
			}
			result.Stale = accepted.unused()
			if len(result.Findings)+len(result.Stale) > 0 {
				c.exit = exitFailed
			}
			if err := c.trivy(cmd, dir, &result); err != nil {
				return err
			}
			if c.asJSON {
				return c.printJSON(result)
			}
			return c.printScan(result)
		}}
	cmd.Flags().BoolVar(&notes, "notes", false, "also what is only worth a note")
	return c.jsonFlag(cmd)
}

// acceptedFile answers findings that are meant.
const acceptedFile = "security-accepted.txt"

// acceptance is one line of the accepted file.
type acceptance struct {
	rule, path string
	used       bool
}

type acceptedList []*acceptance

// readAccepted reads a file of lines RULE PATH REASON; one that is not there
// answers nothing. ErrInvalid names the line that is none.
func readAccepted(path string) (acceptedList, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "read the accepted findings: %w", err)
	}
	var list acceptedList
	for i, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		case len(fields) < 5:
			return nil, conclave.Errorf(conclave.ErrInvalid, "%s:%d: want RULE PATH and the reason in words", path, i+1)
		default:
			list = append(list, &acceptance{rule: fields[0], path: fields[1]})
		}
	}
	return list, nil
}

func (l acceptedList) take(f conclave.Finding) bool {
	for _, a := range l {
		if a.rule == f.Rule && a.path == f.Path {
			a.used = true
			return true
		}
	}
	return false
}

func (l acceptedList) unused() []string {
	list := []string{}
	for _, a := range l {
		if !a.used {
			list = append(list, a.rule+" "+a.path)
		}
	}
	return list
}

// trivy runs Trivy when it is installed; what it finds it prints itself.
func (c *cli) trivy(cmd *cobra.Command, dir string, result *scanResult) error {
	path, err := exec.LookPath("trivy")
	if err != nil {
		result.Unchecked = append(result.Unchecked, "containers and other languages: not checked: trivy is not installed")
		return nil
	}
	run := exec.CommandContext(cmd.Context(), path, "filesystem", "--quiet", "--exit-code", "1", "--scanners", "vuln,secret,misconfig", dir)
	run.Stdout, run.Stderr = c.stderr, c.stderr // standard output is ours
	err = run.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		c.exit = exitFailed
		return nil
	}
	if err != nil {
		result.Unchecked = append(result.Unchecked, "containers and other languages: not checked: trivy: "+err.Error())
	}
	return nil
}

func (c *cli) printScan(r scanResult) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s:%d: %s %s: %s\n", f.Path, f.Line, f.Tool, f.Rule, f.Message)
	}
	for _, u := range r.Unchecked {
		fmt.Fprintln(&b, u)
	}
	for _, stale := range r.Stale {
		fmt.Fprintf(&b, "%s: %s answers what is no longer found\n", acceptedFile, stale)
	}
	fmt.Fprintf(&b, "%d findings, %d accepted, %d only worth a note\n", len(r.Findings), r.Accepted, r.Notes)
	_, err := fmt.Fprint(c.stdout, b.String())
	return err
}
