//go:build load

package main

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"conclave"
)

// A load test: 120 agents of one process, each with work at the same time. It is
// not part of make test, because what it measures is the machine.
func TestManyAgents(t *testing.T) {
	const agents, questions = 120, 2400
	i := newInstallation(t)
	i.env["AGENT_POOL_SIZE"] = fmt.Sprint(agents)
	s := i.start(program(t), nil)
	s.awaitReady(t)
	c, err := i.client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list, err := c.Hub().Agents(t.Context(), conclave.ListAgents{Live: true})
	if err != nil || len(list) != agents {
		t.Fatalf("%d agents are live, %v; want %d", len(list), err, agents)
	}
	var mu sync.Mutex
	var took []time.Duration
	answers := map[conclave.AgentName]int{}
	begun := time.Now()
	var wg sync.WaitGroup
	for worker := range agents {
		wg.Go(func() {
			to := "agents/" + string(list[worker].Name)
			for n := range questions / agents {
				asked := time.Now()
				task, err := c.Hub().Send(t.Context(), conclave.SendMessage{Key: fmt.Sprint(worker, "/", n), To: to, Kind: conclave.AssignAsk, Text: fmt.Sprintf("What do you look at first? (%d)", n)})
				if err == nil {
					task, err = c.Hub().Task(t.Context(), conclave.GetTask{ID: task.ID, Wait: 60000})
				}
				if err != nil || task.State != conclave.TaskCompleted || task.Text == "" {
					t.Errorf("%s, question %d, task %s: %s %q, %v", to, n, task.ID, task.State, task.Error, err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(asked))
				answers[task.Agent]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	all := time.Since(begun)
	if len(answers) != agents || len(took) != questions {
		t.Fatalf("%d of %d questions were answered, by %d of %d agents", len(took), questions, len(answers), agents)
	}
	slices.Sort(took)
	t.Logf("%d agents at once, %d questions in %v: %.0f a second; an answer took %v (median), %v (95 %%), %v (longest)",
		agents, questions, all.Round(time.Millisecond), float64(questions)/all.Seconds(),
		took[len(took)/2].Round(time.Millisecond), took[len(took)*95/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	messages, err := c.Hub().Messages(t.Context(), conclave.ListMessages{Limit: 1000, Latest: true})
	if err != nil || len(messages) != 1000 {
		t.Errorf("the hub lists %d messages, %v", len(messages), err)
	}
	s.stop(t)
}
