package evidence

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"
)

// Worker is the hidden command with which this binary plays the part that runs
// in the sandbox: main calls [AnalyseMain] with the arguments after it.
const Worker = "analyse"

// AnalyseMain is the worker: it runs in the sandbox, started by a [Meter], and
// prints JSON. It returns the exit code.
//
//	analyse --json --cache DIR [--vulndb URL] [--licences JSON] DIR    analyse the tree in DIR
//	analyse --test [--timeout D] -- ARGS             run go test ARGS here
//	analyse --gocache [--over DIR] -- DIRS           serve the go command's cache
func AnalyseMain(args []string, stdout io.Writer) int {
	flags := flag.NewFlagSet(Worker, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	asJSON := flags.Bool("json", false, "print JSON")
	test := flags.Bool("test", false, "run go test")
	cache := flags.String("cache", "", "the analysers' cache")
	gocache := flags.Bool("gocache", false, "serve the build caches named, read-only")
	over := flags.String("over", "", "where to keep what is new in the build cache; empty: a temporary directory")
	licences := flags.String("licences", "", "the licences that dependencies may have, as JSON")
	vulndb := flags.String("vulndb", "", "the vulnerability database")
	timeout := flags.Duration("timeout", time.Minute, "bound on go test")
	if err := flags.Parse(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if *gocache {
		if err := serveGoCache(*over, flags.Args(), os.Stdin, stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	var result any
	var err error
	ctx := context.Background() // the sandbox ends this process
	switch {
	case *test:
		result, err = runGoTest(ctx, flags.Args(), *timeout)
	case *asJSON && flags.NArg() == 1:
		debug.SetGCPercent(200) // a short life: a fifth less time for a third more memory
		o := AnalyseOptions{CacheDir: *cache, VulnDB: *vulndb}
		if *licences != "" {
			err = json.Unmarshal([]byte(*licences), &o.Licences)
		}
		if err == nil {
			result, err = Analyse(ctx, flags.Arg(0), o)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: analyse --json --cache DIR DIR")
		return 2
	}
	if err == nil {
		err = json.NewEncoder(stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
