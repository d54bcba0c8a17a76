package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/hub"
)

// Topics implements the hub's store of what is said to many.
func (db *DB) Topics() hub.TopicStore { return topicStore{db} }

type topicStore struct{ db *DB }

// lock makes whoever publishes or subscribes to a topic do so one after the
// other: a subscriber gets all that comes after, and nothing twice.
func (s topicStore) lock(tx *Tx, tenant conclave.TenantID, topic string) error {
	if !s.db.postgres || topic == "" {
		return nil
	}
	_, err := tx.exec(`SELECT pg_advisory_xact_lock(hashtextextended($1, 2))`, string(tenant)+" "+topic)
	return err
}

func (s topicStore) Subscribe(ctx context.Context, tenant conclave.TenantID, sub conclave.Subscription, past bool) (conclave.Subscription, error) {
	got := sub
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		got, err = s.subscribe(tx, tenant, sub, past)
		return err
	})
	return got, err
}

func (s topicStore) subscribe(tx *Tx, tenant conclave.TenantID, sub conclave.Subscription, past bool) (conclave.Subscription, error) {
	if err := s.lock(tx, tenant, sub.Topic); err != nil {
		return sub, err
	}
	had, found, err := s.subscription(tx, tenant, sub.Topic, sub.Subscriber)
	if err != nil || found {
		return had, err
	}
	now, err := tx.Now()
	if err != nil {
		return sub, err
	}
	sub.Since = now
	var first, declared int64
	if !past {
		if _, err := tx.scan([]any{&first}, `SELECT coalesce(max(position), 0) FROM publications WHERE tenant = $1 AND topic = $2`, string(tenant), sub.Topic); err != nil {
			return sub, err
		}
	}
	if sub.Declared {
		declared = 1
	}
	if _, err := tx.exec(`INSERT INTO subscriptions (tenant, topic, subscriber, declared, first, since) VALUES ($1, $2, $3, $4, $5, $6)`,
		string(tenant), sub.Topic, sub.Subscriber, declared, first, now.UnixMicro()); err != nil {
		return sub, err
	}
	if past && !hub.Readable(sub.Subscriber) {
		if _, err := tx.exec(`INSERT INTO recipients (publication, address, reads, task, error, at)
			SELECT id, CAST($3 AS TEXT), 0, '', '', CAST($4 AS BIGINT) FROM publications WHERE tenant = $1 AND topic = $2 ON CONFLICT DO NOTHING`,
			string(tenant), sub.Topic, sub.Subscriber, now.UnixMicro()); err != nil {
			return sub, err
		}
	}
	return sub, tx.Append(conclave.Event{Tenant: tenant, Kind: conclave.EventTopicSubscribed, Actor: actorOf(tx, sub.Subscriber), Subject: "topics/" + sub.Topic,
		Text: sub.Subscriber + " subscribed to " + sub.Topic})
}

// actorOf is who asks, or else whom it is about.
func actorOf(tx *Tx, subscriber string) string {
	if name := conclave.CallerFrom(tx.asks).Name(); name != "" {
		return name
	}
	return subscriber
}

func (s topicStore) subscription(tx *Tx, tenant conclave.TenantID, topic, subscriber string) (conclave.Subscription, bool, error) {
	sub := conclave.Subscription{Topic: topic, Subscriber: subscriber}
	var declared, since int64
	found, err := tx.scan([]any{&declared, &since}, `SELECT declared, since FROM subscriptions WHERE tenant = $1 AND topic = $2 AND subscriber = $3`,
		string(tenant), topic, subscriber)
	sub.Declared, sub.Since = declared == 1, fromMicros(since)
	return sub, found, err
}

func (s topicStore) Unsubscribe(ctx context.Context, tenant conclave.TenantID, topic, subscriber string) (conclave.Subscription, error) {
	var sub conclave.Subscription
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		sub, err = s.unsubscribe(tx, tenant, topic, subscriber)
		return err
	})
	return sub, err
}

func (s topicStore) unsubscribe(tx *Tx, tenant conclave.TenantID, topic, subscriber string) (conclave.Subscription, error) {
	if err := s.lock(tx, tenant, topic); err != nil {
		return conclave.Subscription{}, err
	}
	sub, found, err := s.subscription(tx, tenant, topic, subscriber)
	if err == nil && !found {
		err = conclave.Errorf(conclave.ErrNotFound, "%s is not subscribed to %s", subscriber, topic)
	}
	if err != nil {
		return sub, err
	}
	if _, err := tx.exec(`DELETE FROM subscriptions WHERE tenant = $1 AND topic = $2 AND subscriber = $3`, string(tenant), topic, subscriber); err != nil {
		return sub, err
	}
	return sub, tx.Append(conclave.Event{Tenant: tenant, Kind: conclave.EventTopicLeft, Actor: actorOf(tx, subscriber), Subject: "topics/" + topic,
		Text: subscriber + " left " + topic})
}

func (s topicStore) declared(tx *Tx, tenant conclave.TenantID, subscriber string) ([]string, error) {
	return tx.texts(`SELECT topic FROM subscriptions WHERE tenant = $1 AND subscriber = $2 AND declared = 1 ORDER BY topic`, string(tenant), subscriber)
}

func (s topicStore) Declare(ctx context.Context, tenant conclave.TenantID, agent conclave.AgentName, topics []string) error {
	subscriber := "agents/" + string(agent)
	want := slices.Compact(slices.Sorted(slices.Values(topics)))
	var had []string
	err := s.db.View(ctx, func(tx *Tx) (err error) { had, err = s.declared(tx, tenant, subscriber); return err })
	if err != nil || slices.Equal(had, want) {
		return err
	}
	return s.db.Update(ctx, func(tx *Tx) error {
		had, err := s.declared(tx, tenant, subscriber)
		if err != nil {
			return err
		}
		for _, topic := range had {
			if slices.Contains(want, topic) {
				continue
			}
			if _, err := s.unsubscribe(tx, tenant, topic, subscriber); err != nil {
				return err
			}
		}
		for _, topic := range want {
			if _, err := s.subscribe(tx, tenant, conclave.Subscription{Topic: topic, Subscriber: subscriber, Declared: true}, false); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s topicStore) Topics(ctx context.Context, tenant conclave.TenantID, in conclave.ListTopics) ([]conclave.Topic, error) {
	list := []conclave.Topic{}
	err := s.db.View(ctx, func(tx *Tx) error {
		at := map[string]int{}
		topic := func(name string) *conclave.Topic {
			i, ok := at[name]
			if !ok {
				i = len(list)
				at[name] = i
				list = append(list, conclave.Topic{Name: name, Subscribers: []conclave.Subscription{}})
			}
			return &list[i]
		}
		subs, err := tx.query(`SELECT topic, subscriber, declared, since FROM subscriptions WHERE tenant = $1 ORDER BY topic, subscriber`, string(tenant))
		if err != nil {
			return err
		}
		defer subs.Close()
		for subs.Next() {
			var sub conclave.Subscription
			var declared, since int64
			if err := subs.Scan(&sub.Topic, &sub.Subscriber, &declared, &since); err != nil {
				return fmt.Errorf("read a subscription: %w", err)
			}
			sub.Declared, sub.Since = declared == 1, fromMicros(since)
			t := topic(sub.Topic)
			t.Subscribers = append(t.Subscribers, sub)
		}
		if err := subs.Err(); err != nil {
			return err
		}
		said, err := tx.query(`SELECT topic, count(*), max(sent) FROM publications WHERE tenant = $1 AND topic <> '' GROUP BY topic`, string(tenant))
		if err != nil {
			return err
		}
		defer said.Close()
		for said.Next() {
			var name string
			var n int
			var last int64
			if err := said.Scan(&name, &n, &last); err != nil {
				return fmt.Errorf("read a topic: %w", err)
			}
			t := topic(name)
			t.Published, t.Last = n, fromMicros(last)
		}
		return said.Err()
	})
	slices.SortFunc(list, func(a, b conclave.Topic) int { return strings.Compare(a.Name, b.Name) })
	if in.Subscriber != "" {
		list = slices.DeleteFunc(list, func(t conclave.Topic) bool {
			return !slices.ContainsFunc(t.Subscribers, func(s conclave.Subscription) bool { return s.Subscriber == in.Subscriber })
		})
	}
	return list, err
}

func (s topicStore) Publish(ctx context.Context, p hub.Published) (hub.Published, bool, error) {
	created := false
	got := p
	err := s.db.Update(ctx, func(tx *Tx) error {
		created, got = false, p
		if err := s.lock(tx, p.Tenant, p.Topic); err != nil {
			return err
		}
		if p.Key != "" {
			had, found, err := getDoc[hub.Published](tx, `SELECT doc FROM publications WHERE tenant = $1 AND asker = $2 AND key = $3 AND key <> ''`, string(p.Tenant), p.From, p.Key)
			if err != nil || found {
				got = had
				return err
			}
		}
		if err := tx.mayGoOn(p.Run); err != nil {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		got.Sent = now
		if p.Topic != "" {
			addresses, err := tx.texts(`SELECT subscriber FROM subscriptions WHERE tenant = $1 AND topic = $2 ORDER BY subscriber`, string(p.Tenant), p.Topic)
			if err != nil {
				return err
			}
			got.Recipients = nil
			for _, a := range addresses {
				got.Recipients = append(got.Recipients, conclave.Recipient{Address: a, Reads: hub.Readable(a)})
			}
		}
		for _, r := range got.Recipients {
			reads := 0
			if r.Reads {
				reads = 1
			}
			if _, err := tx.exec(`INSERT INTO recipients (publication, address, reads, task, error, at) VALUES ($1, $2, $3, '', '', $4)`,
				p.ID, r.Address, reads, now.UnixMicro()); err != nil {
				return err
			}
		}
		event, err := hub.PublicationEvent(got)
		if err != nil {
			return fmt.Errorf("encode the event of a publication: %w", err)
		}
		kept := got
		kept.Recipients = nil // which are rows
		doc, err := encode(kept)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO publications (id, tenant, topic, asker, key, conversation, sent, doc) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			p.ID, string(p.Tenant), p.Topic, p.From, p.Key, string(p.Conversation), now.UnixMicro(), doc); err != nil {
			return err
		}
		created = true
		return tx.Append(event)
	})
	return got, created, err
}

func (s topicStore) Handed(ctx context.Context, id, address string, task conclave.TaskID, why string) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(`UPDATE recipients SET task = $3, error = $4 WHERE publication = $1 AND address = $2 AND task = ''`, id, address, string(task), why)
		return err
	})
}

func (s topicStore) Publication(ctx context.Context, tenant conclave.TenantID, id string) (hub.Published, error) {
	var p hub.Published
	err := s.db.View(ctx, func(tx *Tx) error {
		var found bool
		var err error
		p, found, err = getDoc[hub.Published](tx, `SELECT doc FROM publications WHERE tenant = $1 AND id = $2`, string(tenant), id)
		if err == nil && !found {
			err = conclave.Errorf(conclave.ErrNotFound, "nothing was said to many as %q", id)
		}
		if err != nil {
			return err
		}
		p.Recipients, err = s.recipients(tx, id)
		return err
	})
	return p, err
}

// recipients are those of a publication, with what came of their tasks.
func (s topicStore) recipients(tx *Tx, id string) ([]conclave.Recipient, error) {
	rows, err := tx.query(`SELECT address, reads, task, error FROM recipients WHERE publication = $1 ORDER BY address`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []conclave.Recipient{}
	for rows.Next() {
		var r conclave.Recipient
		var reads int64
		if err := rows.Scan(&r.Address, &reads, &r.Task, &r.Error); err != nil {
			return nil, fmt.Errorf("read a recipient: %w", err)
		}
		r.Reads = reads == 1
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for i, r := range list {
		if r.Task == "" {
			continue
		}
		t, found, err := getDoc[hub.Task](tx, `SELECT doc FROM tasks WHERE id = $1`, string(r.Task))
		if err != nil {
			return nil, err
		}
		if found {
			list[i].Agent, list[i].State, list[i].Text, list[i].Error = t.Agent, t.State, t.Text, t.Error
		}
	}
	return list, nil
}

func (s topicStore) Publications(ctx context.Context, tenant conclave.TenantID, subscriber string, in conclave.ReadTopic) ([]conclave.Publication, error) {
	list := []conclave.Publication{}
	err := s.db.View(ctx, func(tx *Tx) error {
		var first int64
		found, err := tx.scan([]any{&first}, `SELECT first FROM subscriptions WHERE tenant = $1 AND topic = $2 AND subscriber = $3`, string(tenant), in.Topic, subscriber)
		if err == nil && !found {
			err = conclave.Errorf(conclave.ErrNotFound, "%s is not subscribed to %s", subscriber, in.Topic)
		}
		if err != nil {
			return err
		}
		if in.After != "" {
			var after int64
			found, err := tx.scan([]any{&after}, `SELECT position FROM publications WHERE tenant = $1 AND id = $2`, string(tenant), in.After)
			if err == nil && !found {
				err = conclave.Errorf(conclave.ErrNotFound, "nothing was published as %q", in.After)
			}
			if err != nil {
				return err
			}
			first = max(first, after)
		}
		kept, err := listDocs[hub.Published](tx, `SELECT doc FROM publications WHERE tenant = $1 AND topic = $2 AND position > $3 ORDER BY position LIMIT $4`,
			string(tenant), in.Topic, first, in.Limit)
		for _, p := range kept {
			p.Recipients = []conclave.Recipient{}
			list = append(list, p.Publication)
		}
		return err
	})
	return list, err
}

func (s topicStore) Unhanded(ctx context.Context, age time.Duration) ([]hub.Published, error) {
	var list []hub.Published
	err := s.db.View(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		list, err = listDocs[hub.Published](tx, `SELECT doc FROM publications WHERE id IN
			(SELECT publication FROM recipients WHERE reads = 0 AND task = '' AND error = '' AND at <= $1) ORDER BY position LIMIT 100`, now.Add(-age).UnixMicro())
		for i := 0; err == nil && i < len(list); i++ {
			list[i].Recipients, err = s.recipients(tx, list[i].ID)
		}
		return err
	})
	return list, err
}
