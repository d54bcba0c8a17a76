package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"conclave"

	"github.com/spf13/cobra"
)

// talkCommands are what can be done with a conversation beside showing it.
func (c *cli) talkCommands() []*cobra.Command {
	return []*cobra.Command{c.conversationListCommand(), c.conversationReplayCommand(), c.conversationExportCommand(), c.conversationFollowCommand(), c.conversationEscalateCommand()}
}

func (c *cli) conversationListCommand() *cobra.Command {
	var in conclave.ListConversations
	var run string
	cmd := &cobra.Command{Use: "list [TEXT]", Aliases: []string{"search"}, Short: "List conversations, newest first; with a text, those in which it was said", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				in.Text = args[0]
			}
			in.Run = conclave.RunID(run)
			return c.with(cmd.Context(), func(s *session) error {
				list, err := s.Conversations().List(cmd.Context(), in)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(list)
				}
				rows := [][]string{{"CONVERSATION", "LAST", "MESSAGES", "OPEN", "RUN", "PARTIES"}}
				for _, t := range list {
					rows = append(rows, []string{string(t.ID), t.Updated.Local().Format(time.DateTime), strconv.Itoa(t.Messages), strconv.Itoa(t.Open), dash(string(t.Run)), short(strings.Join(t.Parties, ", "), 60)})
				}
				return table(c.stdout, rows, "no conversation")
			})
		}}
	cmd.Flags().StringVar(&in.Party, "party", "", "only those in which this person, service or agent took part")
	cmd.Flags().StringVar(&run, "run", "", "only those of this run")
	cmd.Flags().IntVar(&in.Limit, "limit", 50, "how many, 1 to 500")
	return c.jsonFlag(cmd)
}

// moment reads a time: RFC 3339, or how long ago.
func moment(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, conclave.Errorf(conclave.ErrInvalid, "time %q: want one such as 2026-11-23T10:00:00Z, or how long ago, as 90s or 2h", text)
	}
	return time.Now().Add(-ago), nil
}

func (c *cli) conversationReplayCommand() *cobra.Command {
	var asOf string
	cmd := &cobra.Command{Use: "replay ID", Short: "Show a conversation as it was at a moment", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := conclave.ReplayConversation{ID: conclave.ConversationID(args[0])}
			if asOf != "" {
				at, err := moment(asOf)
				if err != nil {
					return err
				}
				in.AsOf = at.UnixMilli()
			}
			return c.with(cmd.Context(), func(s *session) error {
				got, err := s.Conversations().Replay(cmd.Context(), in)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(got)
				}
				t := talk{messages: got.Messages, tasks: map[conclave.TaskID]conclave.Task{}}
				for _, task := range got.Tasks {
					t.tasks[task.ID] = task
				}
				v := newView(c.stdout)
				v.line("as of %s", got.At.Local().Format(time.RFC3339))
				t.show(v, in.ID)
				for _, e := range got.Escalations {
					v.line("%s brought it before %s: %s (%s)", v.who(e.From), v.who(e.To), short(e.Reason, 60), e.State)
				}
				return v.err
			})
		}}
	cmd.Flags().StringVar(&asOf, "as-of", "", "the moment, as 2026-11-23T10:00:00Z, or how long ago, as 10m; now when absent")
	return c.jsonFlag(cmd)
}

func (c *cli) conversationExportCommand() *cobra.Command {
	return &cobra.Command{Use: "export ID", Short: "Write a conversation as JSON lines: each line is a conversation, message, task or escalation", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				e := json.NewEncoder(c.stdout)
				e.SetEscapeHTML(false)
				in := conclave.ExportConversation{ID: conclave.ConversationID(args[0])}
				for {
					records, err := s.Conversations().Export(cmd.Context(), in)
					if err != nil {
						return err
					}
					more := false
					for _, r := range records {
						if r.Message != nil {
							in.After, more = r.Message.ID, true
						}
						if err := e.Encode(r); err != nil {
							return err
						}
					}
					if !more {
						return nil
					}
				}
			})
		}}
}

func (c *cli) conversationFollowCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{Use: "follow [ID]", Short: "Show live what is said; in all conversations, or in one", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				f := conclave.EventFilter{}
				if len(args) == 1 {
					f.Conversation = conclave.ConversationID(args[0])
					if _, err := s.Conversations().Replay(cmd.Context(), conclave.ReplayConversation{ID: f.Conversation}); err != nil {
						return err
					}
				}
				return c.followTalk(cmd.Context(), s, f)
			})
		}})
}

func (c *cli) followTalk(ctx context.Context, s *session, f conclave.EventFilter) error {
	v := newView(c.stdout)
	for e, err := range s.Events().Watch(ctx, f) {
		if err != nil {
			return err
		}
		if c.asJSON {
			if err := json.NewEncoder(c.stdout).Encode(e); err != nil {
				return err
			}
			continue
		}
		v.said(e)
		if v.err != nil {
			return v.err
		}
	}
	return nil
}

// said shows an event of a conversation.
func (v *view) said(e conclave.Event) {
	at := e.At.Local().Format(time.TimeOnly)
	switch e.Kind {
	case conclave.EventMessageSent:
		var m conclave.Message
		if json.Unmarshal(e.Data, &m) != nil {
			return
		}
		v.line("%s  %s to %s  %s", at, v.who(m.From), v.who(m.To), v.dim(string(e.Conversation)))
		v.text("          ", m.Text)
	case conclave.EventTaskChanged, conclave.EventEscalated, conclave.EventEscalationEnded, conclave.EventPublished, conclave.EventCallRefused:
		v.line("%s  %s: %s  %s", at, v.who(e.Actor), printable(e.Text), v.dim(string(e.Conversation)))
	}
}

func (c *cli) conversationEscalateCommand() *cobra.Command {
	in := conclave.EscalateConversation{}
	cmd := &cobra.Command{Use: "escalate ID", Short: "Bring a conversation before a senior role or a human", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.ID, in.Key = conclave.ConversationID(args[0]), conclave.NewID("cli")
			return c.with(cmd.Context(), func(s *session) error {
				e, err := s.Conversations().Escalate(cmd.Context(), in)
				if err != nil {
					return err
				}
				return c.printEscalations([]conclave.Escalation{e})
			})
		}}
	cmd.Flags().StringVar(&in.To, "to", conclave.ToHuman, "roles/ROLE or agents/NAME of who is senior, or human")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "what is to be settled")
	return c.jsonFlag(cmd)
}

func (c *cli) escalationsCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "escalations", Short: "List what was escalated and waits for an answer", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				list, err := s.Conversations().Escalations(cmd.Context(), conclave.ListEscalations{Open: !all})
				if err != nil {
					return err
				}
				return c.printEscalations(list)
			})
		}}
	cmd.Flags().BoolVar(&all, "all", false, "also what was answered")
	cmd.AddCommand(c.jsonFlag(&cobra.Command{Use: "answer ID TEXT", Short: "Settle an escalation", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				e, err := s.Conversations().Decide(cmd.Context(), conclave.AnswerEscalation{Key: conclave.NewID("cli"), ID: args[0], Text: args[1]})
				if err != nil {
					return err
				}
				return c.printEscalations([]conclave.Escalation{e})
			})
		}}))
	return c.jsonFlag(cmd)
}

func (c *cli) printEscalations(list []conclave.Escalation) error {
	if c.asJSON {
		return c.printJSON(list)
	}
	rows := [][]string{{"ESCALATION", "CONVERSATION", "FROM", "TO", "STATE", "REASON", "ANSWER"}}
	for _, e := range list {
		rows = append(rows, []string{e.ID, string(e.Conversation), e.From, e.To, string(e.State), short(e.Reason, 40), dash(short(e.Answer, 40))})
	}
	return table(c.stdout, rows, "nothing was escalated")
}
