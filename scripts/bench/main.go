// Command bench measures the program in bin/conclave and prints what it found
// beside the limits, as Markdown. A limit that is missed is shown and fails
// nothing, because the machine may be busy; what could not be measured does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// row is one line of the table.
type row struct{ what, limit, measured, ok string }

// bench is one measurement of everything.
type bench struct {
	program string
	dir     string // all data is below it
	only    string // the one part that is measured; empty: all
	large   bool   // a million messages are measured too
	rows    []row
	notes   []string
	failed  bool
}

func main() {
	program := flag.String("program", "bin/conclave", "the program to measure, stripped")
	only := flag.String("only", "", "measure nothing else than this part, as bus")
	part := flag.String("role", "", "serve as this part of a measurement, and measure nothing")
	upstream := flag.String("upstream", "", "of the part that is a proxy; where the part that is an agent listens")
	large := flag.Bool("million", false, "measure the hub with a million messages too, which takes minutes to fill")
	flag.Parse()
	if *part != "" {
		if err := play(*part, *upstream); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	b := &bench{only: *only, large: *large}
	if err := b.run(ctx, *program); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	b.print()
	if b.failed {
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, program string) (err error) {
	if b.program, err = filepath.Abs(program); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "conclave-bench-"); err != nil {
		return err
	}
	defer func() {
		if removed := os.RemoveAll(b.dir); err == nil {
			err = removed
		}
	}()
	began, load := time.Now(), loadAverage()
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"binary size", b.size}, {"start", b.starts}, {"quick start", b.quickStart}, {"prove", b.proofs}, {"idle", b.idle}, {"rows", b.durableRows}, {"bus", b.buses}, {"told rows", b.toldRows}, {"router", b.router}, {"hub", b.hubRows}, {"hub size", b.hubSize}, {"overhead", b.overhead}, {"hundred runs", b.hundred}} {
		if b.only != "" && b.only != part.name && !(b.only == "hub" && part.name == "hub size") {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", part.name)
		if err := part.measure(ctx); err != nil {
			b.failed = true
			b.add(part.name, "", "not measured: "+strings.ReplaceAll(err.Error(), "\n", " "), "–")
		}
	}
	b.notes = append([]string{fmt.Sprintf("%s, %d cores, %s, %s/%s; data on %s; load average %s before and %s after; took %.0f s.",
		began.UTC().Format("2006-01-02 15:04 MST"), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, filesystem(b.dir), load, loadAverage(),
		time.Since(began).Seconds())}, b.notes...)
	return nil
}

func (b *bench) print() {
	fmt.Println("| what | limit | measured | ok? |\n|---|---|---|---|")
	for _, r := range b.rows {
		fmt.Printf("| %s | %s | %s | %s |\n", r.what, r.limit, r.measured, r.ok)
	}
	fmt.Println()
	for _, n := range b.notes {
		fmt.Println("- " + n)
	}
}

func (b *bench) add(what, limit, measured, ok string) {
	fmt.Fprintf(os.Stderr, "  %s: %s\n", what, measured) // some take minutes
	b.rows = append(b.rows, row{what, limit, measured, ok})
}

func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// megabytes are of 10^6 bytes.
func megabytes(bytes int64) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }

func (b *bench) size(context.Context) error {
	info, err := os.Stat(b.program)
	if err != nil {
		return err
	}
	b.add("size of the program, stripped", "100 MB", megabytes(info.Size()), yes(info.Size() <= 100e6))
	return nil
}

// sorted are durations in rising order.
type sorted []time.Duration

func sort(list []time.Duration) sorted {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// at returns the value that the share of the others is at or below (nearest rank).
func (s sorted) at(share float64) time.Duration {
	return s[min(len(s)-1, max(0, int(share*float64(len(s))+0.999999)-1))]
}

// spread is min, median and max.
func (s sorted) spread() string {
	return fmt.Sprintf("%s / %s / %s", millis(s[0]), millis(s.at(0.5)), millis(s[len(s)-1]))
}

func millis(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.0f ms", float64(d)/1e6)
}
