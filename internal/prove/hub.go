package prove

import (
	"context"
	"errors"
	"fmt"

	"conclave"
)

func hubProofs() []proof {
	return []proof{
		{"agent_register", "SQL: the agent's row, with its key and address", func(ctx context.Context, s *scene) error {
			if err := s.register(ctx); err != nil {
				return err
			}
			var kept conclave.Agent
			if err := s.records.document(ctx, &kept, `SELECT doc FROM agents WHERE name = $1`, s.name); err != nil {
				return err
			}
			return errors.Join(same("the agent's address", kept.URL, s.peer.url), same("the agent's key", kept.PublicKey, s.peer.key.Public()))
		}},
		{"agent_list", "SQL: the names of all agents", func(ctx context.Context, s *scene) error {
			if err := s.register(ctx); err != nil {
				return err
			}
			var agents []conclave.Agent
			if err := s.do(ctx, "agent_list", conclave.ListAgents{Role: peerRole}, &agents); err != nil {
				return err
			}
			for _, a := range agents {
				if a.Name == s.peer.name {
					return errors.Join(same("the agent's address", a.URL, s.peer.url), s.inTable(ctx, "agents", "name", string(a.Name)))
				}
			}
			return fmt.Errorf("the list of %d agents lacks %s, which was registered", len(agents), s.name)
		}},
		{"message_send", "the bytes that the agent received; SQL: the message's row", func(ctx context.Context, s *scene) error {
			t, err := s.say(ctx, "hear "+s.name+"!")
			if err != nil {
				return err
			}
			if err := s.until(ctx, "the delivery", func() (bool, error) { return s.peer.got("hear " + s.name + "!"), nil }); err != nil {
				return err
			}
			return s.inTable(ctx, "messages", "task", string(t.ID))
		}},
		{"task_get", "the secret that only the agent knows", func(ctx context.Context, s *scene) error {
			sent, err := s.say(ctx, "tell "+s.name)
			if err != nil {
				return err
			}
			var t conclave.Task
			if err := s.do(ctx, "task_get", conclave.GetTask{ID: sent.ID, Wait: 30000}, &t); err != nil {
				return err
			}
			return errors.Join(same("the task's state", t.State, conclave.TaskCompleted), same("the reply", t.Text, s.peer.secret))
		}},
		{"task_cancel", "the agent, whose work was ended; SQL: the task's state", func(ctx context.Context, s *scene) error {
			sent, err := s.say(ctx, "hold "+s.name)
			if err != nil {
				return err
			}
			if err := s.until(ctx, "the delivery", func() (bool, error) { return s.peer.got("hold " + s.name), nil }); err != nil {
				return err
			}
			var t conclave.Task
			if err := s.do(ctx, "task_cancel", conclave.NameTask{ID: sent.ID}, &t); err != nil {
				return err
			}
			if err := s.until(ctx, "the end of the agent's work", func() (bool, error) { return s.peer.cancelled(), nil }); err != nil {
				return err
			}
			state, err := s.records.text(ctx, `SELECT state FROM tasks WHERE id = $1`, string(sent.ID))
			return errors.Join(err, same("the task's state", conclave.TaskCanceled, state))
		}},
		{"message_list", "SQL: the messages of the conversation, in order", func(ctx context.Context, s *scene) error {
			sent, err := s.say(ctx, "speak "+s.name)
			if err != nil {
				return err
			}
			var t conclave.Task
			if err := s.do(ctx, "task_get", conclave.GetTask{ID: sent.ID, Wait: 30000}, &t); err != nil {
				return err
			}
			var messages []conclave.Message
			if err := s.do(ctx, "message_list", conclave.ListMessages{Conversation: sent.Conversation}, &messages); err != nil {
				return err
			}
			var ids, texts []string
			for _, m := range messages {
				ids, texts = append(ids, string(m.ID)), append(texts, m.Text)
			}
			kept, err := s.records.texts(ctx, `SELECT id FROM messages WHERE conversation = $1 ORDER BY position`, string(sent.Conversation))
			return errors.Join(err, same("the messages", ids, kept), same("what was said", texts, []string{"speak " + s.name, s.peer.secret}))
		}},
	}
}

// register makes the scene's agent known to the hub.
func (s *scene) register(ctx context.Context) error {
	var a conclave.Agent
	return s.do(ctx, "agent_register", conclave.RegisterAgent{Agent: s.peer.agent()}, &a)
}

// say registers the scene's agent and sends it a text.
func (s *scene) say(ctx context.Context, text string) (conclave.Task, error) {
	var t conclave.Task
	if err := s.register(ctx); err != nil {
		return t, err
	}
	return t, s.do(ctx, "message_send", conclave.SendMessage{Key: s.name, To: "agents/" + s.name, Text: text, Kind: conclave.AssignAsk}, &t)
}

// inTable reports whether a table has exactly one row with a value. The names of
// table and column are this package's own.
func (s *scene) inTable(ctx context.Context, table, column, value string) error {
	n, err := s.records.number(ctx, `SELECT count(*) FROM `+table+` WHERE `+column+` = $1`, value)
	if err != nil {
		return err
	}
	if n == 0 || value == "" {
		return fmt.Errorf("table %s has no row whose %s is %q", table, column, value)
	}
	return nil
}
