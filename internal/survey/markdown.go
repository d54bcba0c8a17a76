package survey

import (
	"fmt"
	"strings"

	"conclave"
)

// DebtMarkdown is a debt report for a person.
func DebtMarkdown(d conclave.Debt) string {
	var b strings.Builder
	since := "–"
	if d.Since != nil {
		since = d.Since.Format("2006-01-02")
	}
	fmt.Fprintf(&b, "# Technical debt of `%s`\n\nAt `%.12s`, by %d commits since %s over %d files with code. Score: %s.\n\n", d.Repo, d.Commit, d.Commits, since, d.FileCount, d.Score)
	b.WriteString("| score | file | changes | fixes | authors | lines | complexity | worst function | findings | last change |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range d.Files {
		worst, findings := "–", "–"
		if f.Cyclomatic != nil {
			worst = fmt.Sprintf("`%s` %d", f.Function, *f.Cyclomatic)
		}
		if f.Findings != nil {
			findings = fmt.Sprint(*f.Findings)
		}
		fmt.Fprintf(&b, "| %.1f | `%s` | %d | %d | %d | %d | %d | %s | %s | %s |\n", f.Score, cell(f.Path), f.Changes, f.Fixes, f.Authors, f.Lines, f.Complexity, worst, findings, f.Last.Format("2006-01-02"))
	}
	if len(d.Unmeasured) > 0 {
		b.WriteString("\n## Not measured\n\n")
		for _, u := range d.Unmeasured {
			fmt.Fprintf(&b, "- %s\n", u)
		}
	}
	return b.String()
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
