package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"conclave"

	"github.com/spf13/cobra"
)

func (c *cli) messagesCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "messages", Short: "List the last messages between agents, with what became of each", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				t, err := c.talk(cmd.Context(), s, conclave.ListMessages{Limit: limit, Latest: true})
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(t.messages)
				}
				rows := [][]string{{"SENT", "FROM", "TO", "KIND", "TASK IS", "CONVERSATION"}}
				for _, m := range t.messages {
					rows = append(rows, []string{m.Sent.Local().Format(time.TimeOnly), m.From, m.To, dash(string(m.Kind)), string(t.tasks[m.Task].State), string(m.Conversation)})
				}
				return table(c.stdout, rows, "nothing was said yet")
			})
		}}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, 1 to 1000")
	cmd.AddCommand(c.deadCommand(), c.retryCommand(), c.dropCommand())
	return c.jsonFlag(cmd)
}

func (c *cli) deadCommand() *cobra.Command {
	var limit int
	var to string
	cmd := &cobra.Command{Use: "dead", Short: "List the messages that could not be delivered, and why", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				list, err := s.DeadLetters().Dead(cmd.Context(), conclave.ListDeadLetters{Limit: limit, To: to})
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(list)
				}
				rows := [][]string{{"TASK", "DIED", "FROM", "TO", "WHY"}}
				for _, l := range list {
					rows = append(rows, []string{string(l.Task), l.Died.Local().Format(time.DateTime), l.Message.From, l.Message.To, l.Reason})
				}
				return table(c.stdout, rows, "every message was delivered, or is still tried")
			})
		}}
	cmd.Flags().IntVar(&limit, "limit", 200, "how many, 1 to 1000")
	cmd.Flags().StringVar(&to, "to", "", "only those to this address, as agents/NAME")
	return c.jsonFlag(cmd)
}

func (c *cli) retryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "retry TASK...", Short: "Send messages again that could not be delivered", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				var tasks []conclave.Task
				for _, id := range args {
					t, err := s.DeadLetters().Retry(cmd.Context(), conclave.NameTask{ID: conclave.TaskID(id)})
					if err != nil {
						return err
					}
					tasks = append(tasks, t)
				}
				if c.asJSON {
					return c.printJSON(tasks)
				}
				for i, t := range tasks {
					fmt.Fprintf(c.stdout, "%s is sent again as %s\n", args[i], t.ID)
				}
				return nil
			})
		}}
	return c.jsonFlag(cmd)
}

func (c *cli) dropCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "drop TASK...", Short: "Remove messages that could not be delivered", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				var letters []conclave.DeadLetter
				for _, id := range args {
					l, err := s.DeadLetters().Drop(cmd.Context(), conclave.NameTask{ID: conclave.TaskID(id)})
					if err != nil {
						return err
					}
					letters = append(letters, l)
				}
				if c.asJSON {
					return c.printJSON(letters)
				}
				for _, l := range letters {
					fmt.Fprintf(c.stdout, "%s to %s is dropped\n", l.Task, l.Message.To)
				}
				return nil
			})
		}}
	return c.jsonFlag(cmd)
}

// talksIn returns ErrNotFound when nothing was said in a conversation.
func talksIn(ctx context.Context, s *session, id conclave.ConversationID) error {
	list, err := s.Hub().Messages(ctx, conclave.ListMessages{Conversation: id, Limit: 1})
	if err == nil && len(list) == 0 {
		err = conclave.Errorf(conclave.ErrNotFound, "there is no conversation %q; conclave messages lists the last ones", id)
	}
	return err
}

func (c *cli) conversationCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "conversation [ID]", Short: "Show who said what to whom in a conversation, and how long answers took; of the latest one without an id", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				var id conclave.ConversationID
				if len(args) == 1 && args[0] != "" {
					id = conclave.ConversationID(args[0])
				} else {
					last, err := s.Hub().Messages(cmd.Context(), conclave.ListMessages{Limit: 1, Latest: true})
					if err != nil {
						return err
					}
					if len(last) == 0 {
						return conclave.Errorf(conclave.ErrNotFound, "nobody has said anything yet; conclave run starts a conversation")
					}
					id = last[0].Conversation
				}
				t, err := c.talk(cmd.Context(), s, conclave.ListMessages{Conversation: id, Limit: 1000})
				if err != nil {
					return err
				}
				if len(t.messages) == 0 {
					return conclave.Errorf(conclave.ErrNotFound, "there is no conversation %q; conclave messages lists the last ones", id)
				}
				if c.asJSON {
					return c.printJSON(t.messages)
				}
				t.show(newView(c.stdout), id)
				return nil
			})
		}}
	cmd.AddCommand(c.talkCommands()...)
	return c.jsonFlag(cmd)
}

// talk is messages with the tasks that they belong to.
type talk struct {
	messages []conclave.Message
	tasks    map[conclave.TaskID]conclave.Task
}

func (c *cli) talk(ctx context.Context, s *session, in conclave.ListMessages) (talk, error) {
	t := talk{tasks: map[conclave.TaskID]conclave.Task{}}
	var err error
	if t.messages, err = s.Hub().Messages(ctx, in); err != nil {
		return t, err
	}
	for _, m := range t.messages {
		if _, known := t.tasks[m.Task]; known || m.Task == "" {
			continue
		}
		if t.tasks[m.Task], err = s.Hub().Task(ctx, conclave.GetTask{ID: m.Task}); err != nil {
			return t, err
		}
	}
	return t, nil
}

// show prints the flow of a conversation: each question, and each answer with
// the time since its question.
func (t talk) show(v *view, id conclave.ConversationID) {
	first := t.messages[0]
	v.line("%s", v.bold(string(id)))
	if first.Run != "" {
		v.line("run %s", first.Run)
	}
	asked := map[conclave.TaskID]time.Time{}
	states := map[conclave.TaskState]int{}
	var slowest time.Duration
	var slow conclave.Message
	for _, m := range t.messages {
		at := m.Sent.Sub(first.Sent).Round(time.Millisecond)
		if m.Task == "" { // an escalation, or its answer
			v.line("%10s  %s says to %s", "+"+at.String(), v.who(m.From), v.who(m.To))
		} else if begun, answer := asked[m.Task]; answer {
			took := m.Sent.Sub(begun).Round(time.Millisecond)
			if took > slowest {
				slowest, slow = took, m
			}
			v.line("%10s  %s answers %s after %v", "+"+at.String(), v.who(m.From), v.who(m.To), took)
		} else {
			asked[m.Task] = m.Sent
			states[t.tasks[m.Task].State]++
			if m.Kind == conclave.AssignHandoff {
				v.line("%10s  %s hands the conversation over to %s", "+"+at.String(), v.who(m.From), v.who(m.To))
				v.text("            ", m.Text)
				continue
			}
			v.line("%10s  %s asks %s: %s", "+"+at.String(), v.who(m.From), v.who(m.To), dash(string(m.Kind)))
		}
		if m.Text != "" {
			v.text("            ", m.Text)
		}
	}
	var sums []string
	for _, state := range []conclave.TaskState{conclave.TaskCompleted, conclave.TaskCanceled, conclave.TaskFailed, conclave.TaskRejected, conclave.TaskInputRequired, conclave.TaskWorking, conclave.TaskSubmitted} {
		if n := states[state]; n > 0 {
			sums = append(sums, fmt.Sprintf("%d %s", n, state))
		}
	}
	v.line("%d messages, tasks: %s", len(t.messages), strings.Join(sums, ", "))
	if slowest > 0 {
		v.line("slowest answer: %s, %v", slow.From, slowest)
	}
}
