package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"conclave"

	"github.com/spf13/cobra"
)

// What of a conversation its next holder is shown.
const (
	handedMessages = 30
	handoffWait    = 60000 // ms in one call, as long as a wait may be
)

func (c *cli) handoffCommand() *cobra.Command {
	var to, note string
	cmd := &cobra.Command{Use: "handoff CONVERSATION", Short: "Hand a conversation over to another agent or role, with what was said and what is open", Args: cobra.ExactArgs(1),
		Long: "Sends the one who takes over what was said in the conversation, who had it and which tasks have not ended, in the same conversation,\n" +
			"and prints what they understood. conclave conversation shows the handoff where it happened.",
		Example: `  conclave handoff conv-123 --to roles/security --note "Look at the tokens before you go on"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !strings.HasPrefix(to, "roles/") && !strings.HasPrefix(to, "agents/") {
				return conclave.Errorf(conclave.ErrInvalid, "--to is %q; it must be roles/ROLE or agents/NAME", to)
			}
			return c.withOrStart(cmd.Context(), func(s *session) error {
				return c.handoff(cmd.Context(), s, conclave.ConversationID(args[0]), to, note)
			})
		}}
	cmd.Flags().StringVar(&to, "to", "", "who takes over: roles/ROLE or agents/NAME")
	cmd.Flags().StringVar(&note, "note", "", "what they are to know or to do")
	return c.jsonFlag(cmd)
}

func (c *cli) handoff(ctx context.Context, s *session, id conclave.ConversationID, to, note string) error {
	t, err := c.talk(ctx, s, conclave.ListMessages{Conversation: id, Limit: 1000})
	if err != nil {
		return err
	}
	if len(t.messages) == 0 {
		return conclave.Errorf(conclave.ErrNotFound, "there is no conversation %q; conclave messages lists the last ones", id)
	}
	h := t.handoff(id, note)
	// It is no part of the run that the conversation began in, which may have ended.
	data, err := json.Marshal(conclave.Assignment{Kind: conclave.AssignHandoff, Task: note, Handoff: &h})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Please take over %s, with %d messages, %d tasks open.", id, h.Count, len(h.Open))
	if note != "" {
		text += " " + note
	}
	task, err := s.Hub().Send(ctx, conclave.SendMessage{Key: conclave.NewID("handoff"), Conversation: id, To: to, Kind: conclave.AssignHandoff, Text: text, Data: data})
	if err != nil {
		return fmt.Errorf("hand %s over to %s: %w", id, to, err)
	}
	for !task.State.Ended() {
		if task, err = s.Hub().Task(ctx, conclave.GetTask{ID: task.ID, Wait: handoffWait}); err != nil {
			return fmt.Errorf("wait for %s: %w", to, err)
		}
	}
	if task.State != conclave.TaskCompleted {
		c.exit = exitFailed
	}
	if c.asJSON {
		return c.printJSON(task)
	}
	v := newView(c.stdout)
	if task.State != conclave.TaskCompleted {
		v.line("%s: %s %s", to, task.State, printable(task.Error))
		return v.err
	}
	v.line("%s has %s now", v.who(string(task.Agent)), id)
	v.text("  ", task.Text)
	return v.err
}

// handoff is what the next holder of a conversation is given.
func (t talk) handoff(id conclave.ConversationID, note string) conclave.Handoff {
	h := conclave.Handoff{Conversation: id, Note: note, Count: len(t.messages), Had: []string{}, Messages: []conclave.Message{}}
	asked := map[conclave.TaskID]bool{}
	for _, m := range t.messages {
		if asked[m.Task] { // it is an answer
			h.Had = slices.DeleteFunc(h.Had, func(who string) bool { return who == m.From })
			h.Had = slices.Insert(h.Had, 0, m.From)
		}
		asked[m.Task] = true
	}
	for _, m := range t.messages[max(0, len(t.messages)-handedMessages):] {
		m.Data = nil
		h.Messages = append(h.Messages, m)
	}
	for _, m := range t.messages {
		task := t.tasks[m.Task]
		if !task.State.Ended() && !slices.ContainsFunc(h.Open, func(o conclave.Task) bool { return o.ID == task.ID }) {
			task.Reply = nil
			h.Open = append(h.Open, task)
		}
	}
	return h
}
