// Command summary reads what "go test -json" prints, shows what failed, and ends
// with how many tests passed, failed and were skipped, and why.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

type line struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

func main() {
	if failed := summarise(os.Stdin, os.Stdout); failed {
		os.Exit(1)
	}
}

func summarise(in io.Reader, out io.Writer) (failed bool) {
	printed := map[string]*strings.Builder{} // what each test printed
	reasons := map[string]int{}
	var passed, failures, skipped, broken int
	r := bufio.NewScanner(in)
	r.Buffer(nil, 16<<20)
	for r.Scan() {
		var l line
		if json.Unmarshal(r.Bytes(), &l) != nil {
			fmt.Fprintln(out, r.Text())
			continue
		}
		key := l.Package + "/" + l.Test
		switch l.Action {
		case "output", "build-output":
			if printed[key] == nil {
				printed[key] = &strings.Builder{}
			}
			printed[key].WriteString(l.Output)
		case "pass":
			if l.Test != "" {
				passed++
			} else {
				fmt.Fprintf(out, "ok    %-40s %6.1fs\n", l.Package, l.Elapsed)
			}
		case "skip":
			if l.Test != "" {
				skipped++
				reasons[reason(printed[key])]++
			}
		case "fail", "build-fail":
			if l.Test != "" {
				failures++
			} else {
				broken++
			}
			if printed[key] != nil {
				fmt.Fprintf(out, "FAIL  %s\n%s", key, printed[key])
			}
		}
	}
	var list []string
	for why, n := range reasons {
		list = append(list, fmt.Sprintf("skipped %d: %s", n, why))
	}
	sort.Strings(list)
	for _, l := range list {
		fmt.Fprintln(out, l)
	}
	if failures == 0 && broken > 0 {
		failures = broken // packages that did not build
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failures, skipped)
	return failures > 0
}

// reason is what a skipped test said.
func reason(b *strings.Builder) string {
	if b == nil {
		return "without a reason"
	}
	why := "without a reason"
	for _, l := range strings.Split(b.String(), "\n") {
		if _, text, ok := strings.Cut(strings.TrimSpace(l), ".go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				why = text
			}
		}
	}
	return why
}
