package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/hub"
)

// What is asked for each message must not read the tables' whole history: without
// statistics, SQLite once took an index of the tenant for a task's key and for an
// agent's hands, and each message cost as much as there had been messages.
func TestMessagesReadNoHistory(t *testing.T) {
	ctx := context.Background()
	db, err := Open(ctx, Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db"), Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := db.Hub()
	const tenant = conclave.DefaultTenant
	a := conclave.Agent{Name: "one", Role: "one", URL: "http://127.0.0.1:1", State: conclave.AgentLive, Capacity: 1}
	if _, err := s.UpsertAgent(ctx, tenant, a); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // what was met once is parsed for the next time
		id := conclave.TaskID(fmt.Sprintf("task-%d", i))
		task, _, err := s.Accept(ctx, hub.Accept{Tenant: tenant, Key: string(id), Agent: "one", Instance: "hub",
			Task:    conclave.Task{ID: id, Conversation: "talk", From: "me", To: "agents/one"},
			Request: conclave.Message{ID: conclave.MessageID("msg-" + id), Task: id, Conversation: "talk", From: "me", To: "agents/one", Text: "count"}})
		if err != nil || task.State != conclave.TaskWorking {
			t.Fatalf("accepted as %s: %v", task.State, err)
		}
		if _, err := s.Sweep(ctx, hub.Sweep{Instance: "hub", Held: []conclave.TaskID{id}, AgentTTL: time.Hour, ClaimTTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Settle(ctx, hub.Settle{ID: id, Epoch: task.Epoch, State: conclave.TaskSubmitted}); err != nil {
			t.Fatal(err)
		}
		if task, err = s.Claim(ctx, hub.Claim{ID: id, Epoch: task.Epoch + 1, Agent: "one", Instance: "hub"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Settle(ctx, hub.Settle{ID: id, Epoch: task.Epoch, State: conclave.TaskCompleted,
			Message: &conclave.Message{ID: conclave.MessageID("reply-" + id), Task: id, Conversation: "talk", From: "one", To: "me", Text: "1"}}); err != nil {
			t.Fatal(err)
		}
		for _, f := range []hub.TaskFilter{{Tenant: tenant, To: "agents/one", State: conclave.TaskSubmitted}, {Tenant: tenant, From: "me", State: conclave.TaskSubmitted}} {
			if _, err := s.Queued(ctx, f, 10); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []hub.MessageFilter{{Tenant: tenant, Task: id}, {Tenant: tenant, ListMessages: conclave.ListMessages{Conversation: "talk"}}} {
			if msgs, err := s.Messages(ctx, f); err != nil || len(msgs) == 0 {
				t.Fatalf("%d messages: %v", len(msgs), err)
			}
		}
		if _, err := s.Callees(ctx, tenant, "agents/one"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Agents(ctx, tenant, conclave.ListAgents{}); err != nil {
			t.Fatal(err)
		}
		if _, n, err := s.Tasks(ctx, hub.TaskFilter{Tenant: tenant, From: "me", To: "agents/one", Limit: 10}); err != nil || n == 0 {
			t.Fatalf("%d tasks: %v", n, err)
		}
		if _, err := db.Conversations().List(ctx, tenant, conclave.ListConversations{Limit: 10}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := (&dispatcher{db: db}).due(ctx, 10); err != nil {
			t.Fatal(err)
		}
	}
	var queries []string
	for _, p := range []*prepared{db.parsed, db.parsedReads} {
		for query := range p.kept {
			queries = append(queries, query)
		}
	}
	if len(queries) < 20 {
		t.Fatalf("only %d queries were kept", len(queries))
	}
	for _, query := range queries {
		steps, err := planOf(ctx, db, query)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		for _, step := range steps {
			table := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(step, "SCAN "), "SEARCH "))[0]
			whole := strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, "tasks_working") && !strings.Contains(step, "tasks_due")
			tenantOnly := (strings.HasSuffix(step, "(tenant=?)") || strings.HasSuffix(step, "tasks_asked (tenant=? AND asker=?)")) && !strings.Contains(step, "conversations_updated") && !strings.Contains(step, "tasks_working")
			if (table == "tasks" || table == "messages" || table == "events" || table == "conversations") && (whole || tenantOnly || strings.Contains(step, "(rowid>?)")) {
				t.Errorf("%s\n%s", query, step)
			}
		}
	}
}

// planOf is how SQLite would go about a query.
func planOf(ctx context.Context, db *DB, query string) ([]string, error) {
	args := make([]any, 0, 16)
	for n := 1; strings.Contains(query, fmt.Sprintf("$%d", n)); n++ {
		args = append(args, "1")
	}
	rows, err := db.read.QueryContext(ctx, "EXPLAIN QUERY PLAN "+db.rebind(query), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			return nil, err
		}
		if strings.HasPrefix(step, "SCAN ") || strings.HasPrefix(step, "SEARCH ") {
			steps = append(steps, step)
		}
	}
	return steps, rows.Err()
}
