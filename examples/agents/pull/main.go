// Command pull is an agent that can't be reached from outside: it leases its
// messages from the hub and answers them, over plain REST. It counts words.
//
// CONCLAVE_URL is the gateway, CONCLAVE_TOKEN the agent's own token:
//
//	CONCLAVE_TOKEN=$(conclave token --agent indoor-counter) go run ./examples/agents/pull -name indoor-counter
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"conclave/examples/rest"
)

// lease is a message that is this agent's to answer until then.
type lease struct {
	ID      string
	Lease   int64
	Message struct{ Text, From string }
}

func main() {
	log.SetFlags(0)
	name := flag.String("name", "indoor-counter", "the name that the agent is registered with")
	once := flag.Bool("once", false, "answer one message, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for ctx.Err() == nil {
		// The call waits at the hub until there is a message, so that nothing polls.
		var work []lease
		if err := rest.Call("POST", "/api/work/lease", map[string]any{"agent": *name, "wait_ms": 20000, "seconds": 60}, &work); err != nil {
			log.Print(err)
			select { // the hub is away, or does not know this agent (yet)
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
			continue
		}
		for _, w := range work {
			// Work that takes longer than the lease asks for more time: POST /api/work/ID/extend.
			answer := map[string]any{"lease": w.Lease, "text": fmt.Sprintf("%d words", len(strings.Fields(w.Message.Text)))}
			if err := rest.Call("POST", "/api/work/"+url.PathEscape(w.ID)+"/answer", answer, nil); err != nil {
				log.Print(err) // the lease is over: somebody else has the work, or nobody wants it any more
				continue
			}
			fmt.Printf("%s from %s: %s\n", w.ID, w.Message.From, answer["text"])
			if *once {
				return
			}
		}
	}
}
