package prove

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"conclave"
)

func directoryProofs() []proof {
	return []proof{
		{"agent_inspect", "the key that signed the agent's card, computed here", func(ctx context.Context, s *scene) error {
			var card conclave.CardReport
			if err := s.do(ctx, "agent_inspect", conclave.InspectCard{URL: s.peer.url, Private: true}, &card); err != nil {
				return err
			}
			id, err := s.peer.key.KeyID()
			return errors.Join(err, same("the signature", card.Signature, conclave.CardVerified), same("the pin", card.Pin, "key:"+id), same("the key of ballots", card.PublicKey, s.peer.key.Public()))
		}},
		{"agent_adopt", "SQL: the agent's row, with what was trusted", func(ctx context.Context, s *scene) error {
			id, err := s.peer.key.KeyID()
			if err != nil {
				return err
			}
			var a conclave.Agent
			if err := s.do(ctx, "agent_adopt", conclave.AdoptAgent{URL: s.peer.url, Private: true, Role: peerRole, Pin: "key:" + id}, &a); err != nil {
				return err
			}
			var kept conclave.Agent
			if err := s.records.document(ctx, &kept, `SELECT doc FROM agents WHERE name = $1`, s.name); err != nil {
				return err
			}
			if kept.Card == nil {
				return fmt.Errorf("%s was kept without its card", s.name)
			}
			return errors.Join(same("the pin", kept.Card.Pin, "key:"+id), same("the agent's key", kept.PublicKey, s.peer.key.Public()), same("the agent's role", kept.Role, peerRole))
		}},
		{"agent_forget", "SQL: there is no such agent", func(ctx context.Context, s *scene) error {
			if err := s.register(ctx); err != nil {
				return err
			}
			var a conclave.Agent
			if err := s.do(ctx, "agent_forget", conclave.NameAgent{Name: s.peer.name}, &a); err != nil {
				return err
			}
			n, err := s.records.number(ctx, `SELECT count(*) FROM agents WHERE name = $1`, s.name)
			return errors.Join(err, same("how many have its name", n, 0))
		}},
		{"agent_find", "SQL: the agent that has the words in its row", func(ctx context.Context, s *scene) error {
			if err := s.register(ctx); err != nil {
				return err
			}
			var found conclave.FoundAgents
			if err := s.do(ctx, "agent_find", conclave.FindAgents{Text: s.name, State: conclave.AgentLive, Limit: 1}, &found); err != nil {
				return err
			}
			if len(found.Agents) != 1 {
				return fmt.Errorf("looking for %s finds %d agents", s.name, len(found.Agents))
			}
			return errors.Join(same("the agent's address", found.Agents[0].URL, s.peer.url), s.inTable(ctx, "agents", "name", string(found.Agents[0].Name)))
		}},
		{"work_lease", "SQL: who has the task", func(ctx context.Context, s *scene) error {
			w, err := s.leased(ctx)
			if err != nil {
				return err
			}
			state, err := s.records.text(ctx, `SELECT state FROM tasks WHERE id = $1 AND agent = $2`, string(w.ID), s.indoor())
			return errors.Join(err, same("the task's state", conclave.TaskWorking, state))
		}},
		{"work_extend", "SQL: until when the claim counts as renewed", func(ctx context.Context, s *scene) error {
			w, err := s.leased(ctx)
			if err != nil {
				return err
			}
			before, err := s.records.number(ctx, `SELECT renewed FROM tasks WHERE id = $1`, string(w.ID))
			if err != nil {
				return err
			}
			var later conclave.Lease
			if err := s.do(ctx, "work_extend", conclave.ExtendLease{ID: w.ID, Lease: w.Lease, Seconds: 3600}, &later); err != nil {
				return err
			}
			after, err := s.records.number(ctx, `SELECT renewed FROM tasks WHERE id = $1`, string(w.ID))
			if err == nil && after-before < 3000*1e6 {
				err = fmt.Errorf("the lease lasts %d µs longer, want most of an hour", after-before)
			}
			return err
		}},
		{"work_answer", "SQL: the message that the agent answered with", func(ctx context.Context, s *scene) error {
			w, err := s.leased(ctx)
			if err != nil {
				return err
			}
			var t conclave.Task
			if err := s.do(ctx, "work_answer", conclave.AnswerWork{ID: w.ID, Lease: w.Lease, Text: "from inside"}, &t); err != nil {
				return err
			}
			said, err := s.records.texts(ctx, `SELECT doc FROM messages WHERE task = $1 ORDER BY position`, string(w.ID))
			if err == nil && (len(said) != 2 || !strings.Contains(said[1], "from inside")) {
				err = fmt.Errorf("the task has the messages %q", said)
			}
			return errors.Join(err, same("the task's state", t.State, conclave.TaskCompleted))
		}},
	}
}

// indoor names an agent of the scene that pulls its work.
func (s *scene) indoor() string { return s.name + "-indoor" }

// leased registers an agent that pulls, sends it a message, and leases that.
func (s *scene) leased(ctx context.Context) (conclave.Lease, error) {
	var a conclave.Agent
	if err := s.do(ctx, "agent_register", conclave.RegisterAgent{Agent: conclave.Agent{Name: conclave.AgentName(s.indoor()), Role: peerRole,
		Description: "Pulls, for conclave prove", Skills: []string{}, Brain: "none", URL: conclave.PullURL, State: conclave.AgentLive, Capacity: 4}}, &a); err != nil {
		return conclave.Lease{}, err
	}
	var t conclave.Task
	if err := s.do(ctx, "message_send", conclave.SendMessage{Key: s.name, To: "agents/" + s.indoor(), Text: "for inside", Kind: conclave.AssignAsk}, &t); err != nil {
		return conclave.Lease{}, err
	}
	var work []conclave.Lease
	if err := s.do(ctx, "work_lease", conclave.LeaseWork{Agent: conclave.AgentName(s.indoor()), Wait: 10_000}, &work); err != nil {
		return conclave.Lease{}, err
	}
	if len(work) != 1 || work[0].ID != t.ID {
		return conclave.Lease{}, fmt.Errorf("%s leases %d messages, want the one that it was sent", s.indoor(), len(work))
	}
	return work[0], nil
}
