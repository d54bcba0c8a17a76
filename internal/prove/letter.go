package prove

import (
	"context"
	"errors"
	"fmt"

	"conclave"
)

func letterProofs() []proof {
	return []proof{
		{"dead_letter_list", "SQL: the letter's row", func(ctx context.Context, s *scene) error {
			t, err := s.dead(ctx, "list "+s.name)
			if err != nil {
				return err
			}
			var list []conclave.DeadLetter
			if err := s.do(ctx, "dead_letter_list", conclave.ListDeadLetters{To: "agents/" + s.name}, &list); err != nil {
				return err
			}
			if len(list) != 1 {
				return fmt.Errorf("%d dead letters to %s are listed, want 1", len(list), s.name)
			}
			return errors.Join(same("the letter's task", list[0].Task, t.ID), same("what it says", list[0].Message.Text, "list "+s.name), s.inTable(ctx, "dead_letters", "task", string(t.ID)))
		}},
		{"dead_letter_retry", "the bytes that the agent received; SQL: that the letter is gone", func(ctx context.Context, s *scene) error {
			t, err := s.dead(ctx, "again "+s.name)
			if err != nil {
				return err
			}
			if err := s.register(ctx); err != nil { // where it can be reached
				return err
			}
			var again conclave.Task
			if err := s.do(ctx, "dead_letter_retry", conclave.NameTask{ID: t.ID}, &again); err != nil {
				return err
			}
			if err := s.until(ctx, "the delivery", func() (bool, error) { return s.peer.got("again " + s.name), nil }); err != nil {
				return err
			}
			n, err := s.records.number(ctx, `SELECT count(*) FROM dead_letters WHERE task = $1`, string(t.ID))
			return errors.Join(err, same("the rows of the letter", n, int64(0)))
		}},
		{"dead_letter_drop", "SQL: that the letter is gone", func(ctx context.Context, s *scene) error {
			t, err := s.dead(ctx, "drop "+s.name)
			if err != nil {
				return err
			}
			var dropped conclave.DeadLetter
			if err := s.do(ctx, "dead_letter_drop", conclave.NameTask{ID: t.ID}, &dropped); err != nil {
				return err
			}
			n, err := s.records.number(ctx, `SELECT count(*) FROM dead_letters WHERE task = $1`, string(t.ID))
			return errors.Join(err, same("the letter's task", dropped.Task, t.ID), same("the rows of the letter", n, int64(0)))
		}},
	}
}

// dead registers the scene's agent where nobody answers, and sends it a text that
// does not wait for long.
func (s *scene) dead(ctx context.Context, text string) (conclave.Task, error) {
	nowhere := s.peer.agent()
	nowhere.URL = "http://127.0.0.1:1/"
	var a conclave.Agent
	if err := s.do(ctx, "agent_register", conclave.RegisterAgent{Agent: nowhere}, &a); err != nil {
		return conclave.Task{}, err
	}
	var t conclave.Task
	if err := s.do(ctx, "message_send", conclave.SendMessage{Key: s.name, To: "agents/" + s.name, Text: text, Kind: conclave.AssignAsk, TTL: 1000}, &t); err != nil {
		return t, err
	}
	if err := s.do(ctx, "task_get", conclave.GetTask{ID: t.ID, Wait: 30_000}, &t); err != nil {
		return t, err
	}
	return t, same("the task's state", t.State, conclave.TaskFailed)
}
