package main

import (
	"strconv"
	"strings"
	"time"

	"conclave"

	"github.com/spf13/cobra"
)

func (c *cli) topicCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "topic", Short: "Topics: list them, publish, subscribe, read"}
	cmd.AddCommand(c.topicListCommand(), c.topicSubscribeCommand(), c.topicUnsubscribeCommand(), c.topicPublishCommand(), c.topicReadCommand())
	return cmd
}

func (c *cli) topicListCommand() *cobra.Command {
	var in conclave.ListTopics
	cmd := &cobra.Command{Use: "list", Short: "List topics with who subscribed to them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				list, err := s.Topics().ListTopics(cmd.Context(), in)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(list)
				}
				rows := [][]string{{"TOPIC", "PUBLISHED", "LAST", "SUBSCRIBERS"}}
				for _, t := range list {
					last := ""
					if !t.Last.IsZero() {
						last = t.Last.Local().Format(time.DateTime)
					}
					var who []string
					for _, sub := range t.Subscribers {
						who = append(who, sub.Subscriber)
					}
					rows = append(rows, []string{t.Name, strconv.Itoa(t.Published), dash(last), dash(strings.Join(who, ", "))})
				}
				return table(c.stdout, rows, "no topic")
			})
		}}
	cmd.Flags().StringVar(&in.Subscriber, "subscriber", "", "only those that this one gets, as agents/NAME")
	return c.jsonFlag(cmd)
}

func (c *cli) topicSubscribeCommand() *cobra.Command {
	var in conclave.SubscribeTopic
	cmd := &cobra.Command{Use: "subscribe TOPIC [agents/NAME|roles/ROLE]", Short: "Subscribe yourself, an agent or a role", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Key, in.Topic = conclave.NewID("cli"), args[0]
			if len(args) == 2 {
				in.Subscriber = args[1]
			}
			return c.with(cmd.Context(), func(s *session) error {
				sub, err := s.Topics().Subscribe(cmd.Context(), in)
				if err != nil {
					return err
				}
				return c.printSubscription(sub, "subscribed")
			})
		}}
	cmd.Flags().BoolVar(&in.Past, "past", false, "also what was published before")
	return c.jsonFlag(cmd)
}

func (c *cli) topicUnsubscribeCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{Use: "unsubscribe TOPIC [agents/NAME|roles/ROLE]", Short: "End a subscription", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := conclave.UnsubscribeTopic{Key: conclave.NewID("cli"), Topic: args[0]}
			if len(args) == 2 {
				in.Subscriber = args[1]
			}
			return c.with(cmd.Context(), func(s *session) error {
				sub, err := s.Topics().Unsubscribe(cmd.Context(), in)
				if err != nil {
					return err
				}
				return c.printSubscription(sub, "no longer subscribed")
			})
		}})
}

func (c *cli) printSubscription(sub conclave.Subscription, how string) error {
	if c.asJSON {
		return c.printJSON(sub)
	}
	return table(c.stdout, [][]string{{"TOPIC", "SUBSCRIBER", "IS"}, {sub.Topic, sub.Subscriber, how}}, "")
}

func (c *cli) topicPublishCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{Use: "publish TOPIC TEXT", Short: "Publish a message to all subscribers", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				p, err := s.Topics().Publish(cmd.Context(), conclave.PublishMessage{Key: conclave.NewID("cli"), Topic: args[0], Text: args[1]})
				if err != nil {
					return err
				}
				return c.printPublication(cmd, s, p, wait)
			})
		}}
	waitFlag(cmd, &wait)
	return c.jsonFlag(cmd)
}

func waitFlag(cmd *cobra.Command, wait *time.Duration) {
	cmd.Flags().DurationVar(wait, "wait", 0, "how long to wait for the answers, up to 1m")
}

// printPublication shows what came of a message by recipient, after a wait.
func (c *cli) printPublication(cmd *cobra.Command, s *session, p conclave.Publication, wait time.Duration) error {
	if wait > 0 {
		var err error
		if p, err = s.Broadcasts().Publication(cmd.Context(), conclave.GetPublication{ID: p.ID, Wait: int(wait.Milliseconds())}); err != nil {
			return err
		}
	}
	if c.asJSON {
		return c.printJSON(p)
	}
	rows := [][]string{{"TO", "TASK", "STATE", "ANSWER"}}
	for _, r := range p.Recipients {
		state, answer := string(r.State), r.Text
		switch {
		case r.Reads:
			state = "reads it"
		case r.Error != "":
			answer = r.Error
			if r.Task == "" {
				state = "refused"
			}
		}
		rows = append(rows, []string{r.Address, dash(string(r.Task)), dash(state), dash(short(answer, 70))})
	}
	return table(c.stdout, rows, "nobody has subscribed; the message is kept")
}

func (c *cli) topicReadCommand() *cobra.Command {
	in := conclave.ReadTopic{}
	cmd := &cobra.Command{Use: "read TOPIC", Short: "Read what was published since you subscribed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Topic = args[0]
			return c.with(cmd.Context(), func(s *session) error {
				list, err := s.Topics().Read(cmd.Context(), in)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(list)
				}
				rows := [][]string{{"ID", "SENT", "FROM", "TEXT"}}
				for _, p := range list {
					rows = append(rows, []string{p.ID, p.Sent.Local().Format(time.DateTime), p.From, short(p.Text, 80)})
				}
				return table(c.stdout, rows, "nothing new")
			})
		}}
	cmd.Flags().StringVar(&in.After, "after", "", "only what was published after the one with this id")
	cmd.Flags().IntVar(&in.Limit, "limit", 100, "how many, 1 to 1000")
	return c.jsonFlag(cmd)
}

func (c *cli) broadcastCommand() *cobra.Command {
	var role string
	var wait time.Duration
	cmd := &cobra.Command{Use: "broadcast TEXT", Short: "Say something to every agent, or to those of a role, and show what each answers", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				p, err := s.Broadcasts().Broadcast(cmd.Context(), conclave.BroadcastMessage{Key: conclave.NewID("cli"), Role: conclave.Role(role), Text: args[0], Kind: conclave.AssignAsk})
				if err != nil {
					return err
				}
				return c.printPublication(cmd, s, p, wait)
			})
		}}
	cmd.Flags().StringVar(&role, "role", "", "only agents of this role")
	waitFlag(cmd, &wait)
	return c.jsonFlag(cmd)
}
