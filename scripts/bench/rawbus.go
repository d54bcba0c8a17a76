package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/internal/bus"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rawPair sends and hears with a server's own client.
func rawPair(ctx context.Context, engine, url string) (*pair, error) {
	name := "bench-" + string(conclave.NewID("raw"))
	switch engine {
	case "redis":
		return rawRedis(ctx, url, name)
	case "kafka":
		return rawKafka(ctx, url)
	case "nats":
		return rawNATS(url, name)
	}
	return nil, fmt.Errorf("no raw client of %s", engine)
}

// rawBytes are one note, as the bus encodes it.
func rawBytes(n int64) ([]byte, error) {
	return json.Marshal(bus.Note{Tenant: "default", Seq: n + 1, About: about(n)})
}

// ear counts what is heard.
type ear struct {
	count atomic.Int64
	rung  chan struct{}
}

func newEar() *ear { return &ear{rung: make(chan struct{}, 1)} }

func (e *ear) hear(data []byte) {
	var n bus.Note
	if json.Unmarshal(data, &n) != nil {
		return // it stays missing in the count
	}
	e.count.Add(1)
	select {
	case e.rung <- struct{}{}:
	default:
	}
}

func rawRedis(ctx context.Context, url, stream string) (*pair, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	o.PoolSize = busWriters
	sender, reader := redis.NewClient(o), redis.NewClient(o)
	e := newEar()
	var reading sync.WaitGroup
	reading.Go(func() {
		for last := "0-0"; ; {
			streams, err := reader.XRead(ctx, &redis.XReadArgs{Streams: []string{stream, last}, Block: time.Second, Count: 500}).Result()
			if errors.Is(err, redis.Nil) {
				continue
			}
			if err != nil {
				return // closed
			}
			for _, m := range streams[0].Messages {
				last = m.ID
				e.hear([]byte(m.Values["notes"].(string)))
			}
		}
	})
	return &pair{heard: e.count.Load, rung: e.rung,
		send: func(ctx context.Context, n int64) error {
			data, err := rawBytes(n)
			if err != nil {
				return err
			}
			return sender.XAdd(ctx, &redis.XAddArgs{Stream: stream, MaxLen: 10_000, Approx: true, Values: []any{"notes", data}}).Err()
		},
		close: func() {
			sender.Del(ctx, stream)
			sender.Close()
			reader.Close()
			reading.Wait()
		}}, nil
}

// rawKafka uses the topic that the bus has made.
func rawKafka(ctx context.Context, url string) (*pair, error) {
	brokers, topic, _ := strings.Cut(strings.TrimPrefix(url, "kafka://"), "/")
	seeds := kgo.SeedBrokers(strings.Split(brokers, ",")...)
	sender, err := kgo.NewClient(seeds, kgo.ProducerLinger(0), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	if err != nil {
		return nil, err
	}
	reader, err := kgo.NewClient(seeds, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.FetchMinBytes(1))
	if err != nil {
		sender.Close()
		return nil, err
	}
	e := newEar()
	key := conclave.NewID("raw")
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			fetches := reader.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if string(r.Key) == string(key) {
					e.hear(r.Value)
				}
			})
		}
	})
	p := &pair{heard: e.count.Load, rung: e.rung,
		send: func(ctx context.Context, n int64) error {
			data, err := rawBytes(n)
			if err != nil {
				return err
			}
			return sender.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte(key), Value: data}).FirstErr()
		},
		close: func() {
			sender.Close()
			reader.Close()
			reading.Wait()
		}}
	// The reader begins at the end that it finds: what is heard first says that it has.
	for e.count.Load() == 0 {
		if err := p.send(ctx, 0); err != nil {
			p.close()
			return nil, err
		}
		select {
		case <-e.rung:
		case <-time.After(100 * time.Millisecond):
		}
	}
	return p, nil
}

func rawNATS(url, subject string) (*pair, error) {
	sender, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	reader, err := nats.Connect(url)
	if err != nil {
		sender.Close()
		return nil, err
	}
	e := newEar()
	_, err = reader.Subscribe(subject, func(m *nats.Msg) { e.hear(m.Data) })
	if err == nil {
		err = reader.Flush()
	}
	p := &pair{heard: e.count.Load, rung: e.rung,
		send: func(_ context.Context, n int64) error {
			data, err := rawBytes(n)
			if err != nil {
				return err
			}
			return sender.Publish(subject, data)
		},
		close: func() {
			sender.Close()
			reader.Close()
		}}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}
