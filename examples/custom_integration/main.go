// Command custom_integration brings in an agent of somebody else's: an A2A server
// made with the official SDK, which tells the state of a ticket system. It is
// registered with the hub, is asked through it like any agent of Conclave, and
// with -stay goes on answering until it is interrupted.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"iter"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"conclave/examples/rest"
)

// tickets stands where a ticket system's client would.
type tickets map[string]string

// Execute implements [a2asrv.AgentExecutor]: it answers with the tickets that the
// message names.
func (t tickets) Execute(_ context.Context, in *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		var answer []string
		for _, part := range in.Message.Parts {
			for _, word := range strings.Fields(part.Text()) {
				if state, ok := t[strings.Trim(word, "?.,")]; ok {
					answer = append(answer, strings.Trim(word, "?.,")+" is "+state)
				}
			}
		}
		yield(a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(cmp.Or(strings.Join(answer, "; "), "I know no such ticket"))), nil)
	}
}

// Cancel implements [a2asrv.AgentExecutor]: an answer comes at once, so there is
// nothing to cancel.
func (tickets) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(func(a2a.Event, error) bool) {}
}

func main() {
	log.SetFlags(0)
	stay := flag.Bool("stay", false, "answer until interrupted")
	flag.Parse()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	url := "http://" + l.Addr().String()
	card := &a2a.AgentCard{Name: "ticket-desk", Description: "Tells the state of tickets", Version: "1",
		SupportedInterfaces: []*a2a.AgentInterface{a2a.NewAgentInterface(url+"/a2a", a2a.TransportProtocolJSONRPC)},
		DefaultInputModes:   []string{"text/plain"}, DefaultOutputModes: []string{"text/plain"},
		Skills: []a2a.AgentSkill{{ID: "ask", Name: "ask", Description: "Tells the state of a ticket", Tags: []string{"tickets"}}}}
	mux := http.NewServeMux()
	mux.Handle("/a2a", a2asrv.NewJSONRPCHandler(a2asrv.NewHandler(tickets{"T-1": "open", "T-2": "done"})))
	mux.Handle(a2asrv.WellKnownAgentCardPath, a2asrv.NewStaticAgentCardHandler(card))
	go http.Serve(l, mux)

	must(rest.Call("POST", "/api/agents", map[string]any{"agent": map[string]any{"name": card.Name, "role": "desk", "description": card.Description,
		"skills": []string{"ask"}, "brain": "none", "url": url + "/a2a", "capacity": 4}}, nil))
	var task struct{ ID, State, Agent, Text, Error string }
	must(rest.Call("POST", "/api/messages", map[string]string{"to": "roles/desk", "text": "What about T-1 and T-2?"}, &task))
	must(rest.Call("GET", "/api/tasks/"+task.ID+"?wait_ms=30000", nil, &task))
	fmt.Printf("%s: %s %s: %s%s\n", task.ID, task.State, task.Agent, task.Text, task.Error)
	if *stay {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		<-ctx.Done()
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
