package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/store"
)

// Messages to an agent that is away, and to one that is busy, hold up nobody, and
// are delivered as soon as they can be, in the midst of all the others.
func TestLateMessagesUnderLoad(t *testing.T) {
	onEach(t, func(t *testing.T, db *store.DB) {
		n := connect(t, db, true)
		ada := person(t.Context(), "ada")
		n.agent("quick", "quick")
		n.register("away", "late") // and nobody is there
		goOn, begun := make(chan struct{}), make(chan struct{}, 10)
		n.answer("busy", func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			begun <- struct{}{}
			select {
			case <-goOn:
			case <-ctx.Done():
				return a2awire.Outgoing{}, ctx.Err()
			}
			return a2awire.Outgoing{Text: "heard " + in.Text}, nil
		})
		n.register("busy", "late") // with 4 hands
		var late []conclave.TaskID
		for i := range 6 { // more than it has hands
			for _, to := range []string{"agents/away", "agents/busy"} {
				task, err := n.hub.Send(ada, conclave.SendMessage{To: to, Text: fmt.Sprint("late ", i)})
				n.must(err)
				late = append(late, task.ID)
			}
		}
		for range 4 {
			<-begun
		}

		// The load: each sender asks again as soon as it is answered, until told to stop.
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		answered := make(chan struct{}, 100_000)
		for sender := range 8 {
			load.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					task, err := n.hub.Send(ada, conclave.SendMessage{To: "agents/quick", Text: fmt.Sprint(sender, " ", i)})
					if err == nil {
						task, err = n.hub.Task(ada, conclave.GetTask{ID: task.ID, Wait: 30_000})
					}
					if err != nil || task.State != conclave.TaskCompleted {
						t.Errorf("message %d of sender %d is %s: %v", i, sender, task.State, err)
						return
					}
					answered <- struct{}{}
				}
			})
		}
		for range 100 {
			select {
			case <-answered:
			case <-time.After(30 * time.Second):
				t.Error("the others are held up")
				stop()
			}
		}
		n.agent("away", "late")
		if _, err := n.hub.Register(person(t.Context(), "admin"), conclave.RegisterAgent{Agent: conclave.Agent{Name: "away", Role: "late", URL: "local://away", Capacity: 5, Service: conclave.ServicePool}}); err != nil {
			t.Error(err)
		}
		close(goOn)
		came := time.Now()
		for _, id := range late {
			task, err := n.hub.Task(ada, conclave.GetTask{ID: id, Wait: 30_000})
			if err != nil || task.State != conclave.TaskCompleted {
				t.Errorf("late message %s is %s, %v", id, task.State, err)
			}
		}
		took, during := time.Since(came), len(answered)
		stop()
		load.Wait()
		t.Logf("the late messages took %v; %d others were answered meanwhile", took.Round(time.Millisecond), during)
		if took > 10*time.Second {
			t.Errorf("late messages took %v once they could be delivered", took)
		}
	})
}
