package prove

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"conclave"
)

func topicProofs() []proof {
	return []proof{
		{"topic_list", "SQL: the topic's subscribers", func(ctx context.Context, s *scene) error {
			if err := s.subscribe(ctx); err != nil {
				return err
			}
			var list []conclave.Topic
			if err := s.do(ctx, "topic_list", conclave.ListTopics{Subscriber: "agents/" + s.name}, &list); err != nil {
				return err
			}
			var got []string
			for _, t := range list {
				for _, sub := range t.Subscribers {
					got = append(got, t.Name+" "+sub.Subscriber)
				}
			}
			kept, err := s.records.texts(ctx, `SELECT topic || ' ' || subscriber FROM subscriptions WHERE topic = $1`, s.name)
			return errors.Join(err, same("the subscribers", got, kept), same("the topic", got, []string{s.name + " agents/" + s.name}))
		}},
		{"topic_subscribe", "SQL: the subscription's row", func(ctx context.Context, s *scene) error {
			if err := s.subscribe(ctx); err != nil {
				return err
			}
			kept, err := s.records.text(ctx, `SELECT subscriber FROM subscriptions WHERE topic = $1`, s.name)
			return errors.Join(err, same("the subscriber", "agents/"+s.name, kept))
		}},
		{"topic_unsubscribe", "SQL: the subscription's row is gone", func(ctx context.Context, s *scene) error {
			if err := s.subscribe(ctx); err != nil {
				return err
			}
			var sub conclave.Subscription
			if err := s.do(ctx, "topic_unsubscribe", conclave.UnsubscribeTopic{Topic: s.name, Subscriber: "agents/" + s.name}, &sub); err != nil {
				return err
			}
			left, err := s.records.number(ctx, `SELECT count(*) FROM subscriptions WHERE topic = $1`, s.name)
			return errors.Join(err, same("how many are left", left, 0))
		}},
		{"topic_publish", "the bytes that the subscriber received; SQL: its own task", func(ctx context.Context, s *scene) error {
			if err := s.subscribe(ctx); err != nil {
				return err
			}
			var p conclave.Publication
			if err := s.do(ctx, "topic_publish", conclave.PublishMessage{Topic: s.name, Text: "news of " + s.name + "!"}, &p); err != nil {
				return err
			}
			if err := s.until(ctx, "the delivery", func() (bool, error) { return s.peer.got("news of " + s.name + "!"), nil }); err != nil {
				return err
			}
			kept, err := s.records.text(ctx, `SELECT task FROM recipients WHERE publication = $1`, p.ID)
			if err == nil && len(p.Recipients) == 1 {
				return same("the subscriber's task", string(p.Recipients[0].Task), kept)
			}
			return errors.Join(err, same("how many recipients it tells", len(p.Recipients), 1))
		}},
		{"topic_read", "SQL: what was published since", func(ctx context.Context, s *scene) error {
			var sub conclave.Subscription
			if err := s.do(ctx, "topic_subscribe", conclave.SubscribeTopic{Topic: s.name}, &sub); err != nil {
				return err
			}
			var p conclave.Publication
			if err := s.do(ctx, "topic_publish", conclave.PublishMessage{Topic: s.name, Text: "news of " + s.name}, &p); err != nil {
				return err
			}
			var list []conclave.Publication
			if err := s.do(ctx, "topic_read", conclave.ReadTopic{Topic: s.name}, &list); err != nil {
				return err
			}
			var got []string
			for _, p := range list {
				got = append(got, p.ID)
			}
			kept, err := s.records.texts(ctx, `SELECT id FROM publications WHERE topic = $1 ORDER BY position`, s.name)
			return errors.Join(err, same("what was published", got, kept))
		}},
		{"message_broadcast", "the bytes that the agent received; SQL: its own task", func(ctx context.Context, s *scene) error {
			p, err := s.broadcast(ctx)
			if err != nil {
				return err
			}
			if err := s.until(ctx, "the delivery", func() (bool, error) { return s.peer.got("all of " + s.name + "!"), nil }); err != nil {
				return err
			}
			kept, err := s.records.texts(ctx, `SELECT address || ' ' || task FROM recipients WHERE publication = $1`, p.ID)
			var got []string
			for _, r := range p.Recipients {
				got = append(got, r.Address+" "+string(r.Task))
			}
			return errors.Join(err, same("the tasks", got, kept))
		}},
		{"broadcast_get", "the secret that only the agent knows", func(ctx context.Context, s *scene) error {
			p, err := s.broadcast(ctx)
			if err != nil {
				return err
			}
			id := p.ID
			p = conclave.Publication{}
			if err := s.do(ctx, "broadcast_get", conclave.GetPublication{ID: id, Wait: 30000}, &p); err != nil {
				return err
			}
			if len(p.Recipients) != 1 {
				return fmt.Errorf("it tells of %d recipients, and one was told", len(p.Recipients))
			}
			return same("the agent's answer", p.Recipients[0].Text, s.peer.secret)
		}},
	}
}

// subscribe makes the scene's agent a subscriber of the scene's topic.
func (s *scene) subscribe(ctx context.Context) error {
	if err := s.register(ctx); err != nil {
		return err
	}
	var sub conclave.Subscription
	return s.do(ctx, "topic_subscribe", conclave.SubscribeTopic{Topic: s.name, Subscriber: "agents/" + s.name}, &sub)
}

// broadcast speaks to a role that only the scene's agent has.
func (s *scene) broadcast(ctx context.Context) (conclave.Publication, error) {
	var p conclave.Publication
	a := s.peer.agent()
	a.Role = conclave.Role(s.name)
	if err := s.do(ctx, "agent_register", conclave.RegisterAgent{Agent: a}, &a); err != nil {
		return p, err
	}
	return p, s.do(ctx, "message_broadcast", conclave.BroadcastMessage{Role: a.Role, Text: "all of " + s.name + "!"}, &p)
}

func conversationProofs() []proof {
	return []proof{
		{"conversation_list", "SQL: the conversation's row", func(ctx context.Context, s *scene) error {
			talk, err := s.talk(ctx)
			if err != nil {
				return err
			}
			var list []conclave.Conversation
			if err := s.do(ctx, "conversation_list", conclave.ListConversations{Text: "SPEAK " + s.name}, &list); err != nil {
				return err
			}
			var got []string
			for _, c := range list {
				got = append(got, fmt.Sprint(c.ID, " ", c.Messages))
			}
			kept, err := s.records.texts(ctx, `SELECT id || ' ' || messages FROM conversations WHERE id = $1`, string(talk))
			return errors.Join(err, same("the conversation", got, kept))
		}},
		{"conversation_replay", "SQL: the messages of the conversation, in order; the secret that only the agent knows", func(ctx context.Context, s *scene) error {
			talk, err := s.talk(ctx)
			if err != nil {
				return err
			}
			var at conclave.ConversationAt
			if err := s.do(ctx, "conversation_replay", conclave.ReplayConversation{ID: talk}, &at); err != nil {
				return err
			}
			var ids []string
			for _, m := range at.Messages {
				ids = append(ids, string(m.ID))
			}
			kept, err := s.records.texts(ctx, `SELECT id FROM messages WHERE conversation = $1 ORDER BY position`, string(talk))
			if err = errors.Join(err, same("the messages", ids, kept)); err == nil && len(at.Tasks) == 1 {
				err = same("the answer", at.Tasks[0].Text, s.peer.secret)
			}
			return err
		}},
		{"conversation_export", "SQL: the messages of the conversation, in order", func(ctx context.Context, s *scene) error {
			talk, err := s.talk(ctx)
			if err != nil {
				return err
			}
			var records []conclave.ConversationRecord
			if err := s.do(ctx, "conversation_export", conclave.ExportConversation{ID: talk}, &records); err != nil {
				return err
			}
			var ids []string
			for _, r := range records {
				if r.Message != nil {
					ids = append(ids, string(r.Message.ID))
				}
			}
			kept, err := s.records.texts(ctx, `SELECT id FROM messages WHERE conversation = $1 ORDER BY position`, string(talk))
			return errors.Join(err, same("the messages", ids, kept))
		}},
		{"conversation_watch", "SQL: the events of the conversation", func(ctx context.Context, s *scene) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			talk, err := s.talk(ctx)
			if err != nil {
				return err
			}
			stream, err := s.faces.stream(ctx, "conversation_watch", conclave.EventFilter{Conversation: talk})
			if err != nil {
				return err
			}
			defer stream.Body.Close()
			kept, err := s.records.texts(ctx, `SELECT seq || ' ' || kind FROM events WHERE conversation = $1 ORDER BY seq`, string(talk))
			if err != nil {
				return err
			}
			var got []string
			lines := bufio.NewScanner(stream.Body)
			for len(got) < len(kept) && lines.Scan() {
				var e conclave.Event
				if text, ok := strings.CutPrefix(lines.Text(), "data:"); ok && json.Unmarshal([]byte(text), &e) == nil && e.Kind != "" {
					got = append(got, fmt.Sprint(e.Seq, " ", e.Kind))
				}
			}
			return errors.Join(lines.Err(), same("the events", got, kept))
		}},
		{"conversation_escalate", "SQL: the escalation's row, and the message", func(ctx context.Context, s *scene) error {
			e, err := s.escalate(ctx)
			if err != nil {
				return err
			}
			if err := s.inTable(ctx, "escalations", "id", e.ID); err != nil {
				return err
			}
			n, err := s.records.number(ctx, `SELECT count(*) FROM messages WHERE conversation = $1 AND doc LIKE $2`, string(e.Conversation), "%settle "+s.name+"%")
			return errors.Join(err, same("how many messages say so", n, 1))
		}},
		{"escalation_list", "SQL: the escalations of the conversation", func(ctx context.Context, s *scene) error {
			e, err := s.escalate(ctx)
			if err != nil {
				return err
			}
			var list []conclave.Escalation
			if err := s.do(ctx, "escalation_list", conclave.ListEscalations{Conversation: e.Conversation}, &list); err != nil {
				return err
			}
			var got []string
			for _, e := range list {
				got = append(got, e.ID)
			}
			kept, err := s.records.texts(ctx, `SELECT id FROM escalations WHERE conversation = $1 ORDER BY position`, string(e.Conversation))
			return errors.Join(err, same("the escalations", got, kept))
		}},
		{"escalation_answer", "SQL: the answer, and the message", func(ctx context.Context, s *scene) error {
			e, err := s.escalate(ctx)
			if err != nil {
				return err
			}
			var done conclave.Escalation
			if err := s.do(ctx, "escalation_answer", conclave.AnswerEscalation{ID: e.ID, Text: "so be it, " + s.name}, &done); err != nil {
				return err
			}
			var kept conclave.Escalation
			if err := s.records.document(ctx, &kept, `SELECT doc FROM escalations WHERE id = $1`, e.ID); err != nil {
				return err
			}
			n, err := s.records.number(ctx, `SELECT count(*) FROM messages WHERE conversation = $1 AND doc LIKE $2`, string(e.Conversation), "%so be it, "+s.name+"%")
			return errors.Join(err, same("the answer", kept.Answer, "so be it, "+s.name), same("how many messages say so", n, 1))
		}},
	}
}

// talk has the scene's agent say something, and returns the conversation.
func (s *scene) talk(ctx context.Context) (conclave.ConversationID, error) {
	sent, err := s.say(ctx, "speak "+s.name)
	if err != nil {
		return "", err
	}
	var t conclave.Task
	return sent.Conversation, s.do(ctx, "task_get", conclave.GetTask{ID: sent.ID, Wait: 30000}, &t)
}

func (s *scene) escalate(ctx context.Context) (conclave.Escalation, error) {
	var e conclave.Escalation
	talk, err := s.talk(ctx)
	if err != nil {
		return e, err
	}
	return e, s.do(ctx, "conversation_escalate", conclave.EscalateConversation{ID: talk, Reason: "settle " + s.name}, &e)
}

// talkProofs are those of what the hub keeps beside agents and tasks.
func talkProofs() []proof { return slices.Concat(topicProofs(), conversationProofs()) }
