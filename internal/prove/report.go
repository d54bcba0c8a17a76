package prove

import (
	"fmt"
	"io"
	"strings"
)

// Count returns how many results have each verdict.
func Count(results []Result) (passed, failed, skipped int) {
	for _, r := range results {
		switch r.Result {
		case Pass:
			passed++
		case Fail:
			failed++
		default:
			skipped++
		}
	}
	return passed, failed, skipped
}

// Markdown writes the results as a table.
func Markdown(w io.Writer, results []Result) error {
	var b strings.Builder
	b.WriteString("| what | face | checked by | result | reason | ms |\n|---|---|---|---|---|---|\n")
	cell := strings.NewReplacer("|", "\\|", "\n", " ").Replace
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d |\n", cell(r.What), r.Face, cell(r.CheckedBy), r.Result, cell(r.Reason), r.MS)
	}
	passed, failed, skipped := Count(results)
	fmt.Fprintf(&b, "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	_, err := io.WriteString(w, b.String())
	return err
}
