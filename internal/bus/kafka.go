package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"conclave"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaEngine is a topic on Kafka. Each process reads all of its partitions from
// their ends on; there is no consumer group, because everybody hears everything.
type kafkaEngine struct {
	brokers []string
	topic   string
	name    string                     // key of our records: others may share the topic
	client  atomic.Pointer[kgo.Client] // while listen runs
}

func newKafka(rest, name string) (engine, error) {
	const example = "kafka://HOST:PORT[,HOST:PORT]/TOPIC"
	hosts, topic, ok := strings.Cut(rest, "/")
	if strings.Contains(rest, "@") {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the bus can't log in to Kafka; it must look like %s", example)
	}
	if !ok || topic == "" || strings.ContainsAny(topic, "/?#") {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the bus's URL must name one topic: %s", example)
	}
	brokers := strings.Split(hosts, ",")
	for _, b := range brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			return nil, conclave.Errorf(conclave.ErrInvalid, "%q is not HOST:PORT; the bus must look like %s", b, example)
		}
	}
	return &kafkaEngine{brokers: brokers, topic: topic, name: name}, nil
}

func (e *kafkaEngine) describe() (string, string) { return "kafka", strings.Join(e.brokers, ",") }

func (e *kafkaEngine) publish(ctx context.Context, msg []byte) error {
	c := e.client.Load()
	if c == nil {
		return notConnected("kafka")
	}
	return c.ProduceSync(ctx, &kgo.Record{Topic: e.topic, Key: []byte(e.name), Value: msg}).FirstErr()
}

// lossHook hears of connections that break: the client itself would try again
// for ever without a word.
type lossHook chan error

func (l lossHook) say(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	select {
	case l <- err:
	default: // the first reason counts
	}
}

func (l lossHook) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	l.say(err)
}

func (l lossHook) OnBrokerE2E(_ kgo.BrokerMetadata, _ int16, e2e kgo.BrokerE2E) { l.say(e2e.Err()) }

func (e *kafkaEngine) connect(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(e.brokers...), kgo.ClientID("conclave"), kgo.DialTimeout(2 * time.Second), kgo.DisableClientMetrics(),
		// A note is worth nothing later, so the leader's word is enough and nothing waits to be sent with others.
		kgo.ProducerLinger(0), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordDeliveryTimeout(sendLimit), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(5 * time.Second),
	}, more...)...)
}

func (e *kafkaEngine) listen(ctx context.Context, ready func(), hear func([]byte)) error {
	return e.follow(ctx, func(c *kgo.Client) {
		e.client.Store(c)
		ready()
	}, func(r *kgo.Record) {
		if string(r.Key) == e.name {
			hear(r.Value)
		}
	})
}

func (e *kafkaEngine) follow(ctx context.Context, ready func(*kgo.Client), hear func(*kgo.Record)) error {
	lost := make(lossHook, 1)
	c, err := e.connect(kgo.WithHooks(lost))
	if err != nil {
		return err
	}
	defer c.Close()
	defer e.client.CompareAndSwap(c, nil)
	begin, err := e.position(ctx, c)
	if err != nil {
		return err
	}
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{e.topic: begin})
	ready(c)
	poll, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer func() { cancel(nil); <-done }()
	go func() {
		defer close(done)
		select {
		case err := <-lost:
			cancel(err)
		case <-poll.Done():
		}
	}()
	for {
		fetches := c.PollFetches(poll)
		if poll.Err() != nil {
			return context.Cause(poll)
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(hear)
	}
}

// retention is how long the topic keeps notes for people to look at.
const retention = time.Hour

// position returns the ends of the topic's partitions, and makes the topic when
// it is not there.
func (e *kafkaEngine) position(ctx context.Context, c *kgo.Client) (map[int32]kgo.Offset, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		return nil, err
	}
	admin := kadm.NewClient(c)
	keep := fmt.Sprint(retention.Milliseconds())
	if _, err := admin.CreateTopic(ctx, 1, -1, map[string]*string{"retention.ms": &keep}, e.topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return nil, fmt.Errorf("make the topic %s: %w", e.topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, e.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("find the end of the topic %s: %w", e.topic, err)
	}
	begin := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) { begin[o.Partition] = kgo.NewOffset().At(o.Offset) })
	return begin, nil
}

func (e *kafkaEngine) inspect(ctx context.Context) (State, error) {
	s := State{Engine: "kafka", Server: strings.Join(e.brokers, ",")}
	c, err := e.connect()
	if err != nil {
		return s, err
	}
	defer c.Close()
	if err := c.Ping(ctx); err != nil {
		return s, err
	}
	admin := kadm.NewClient(c)
	starts, err := admin.ListStartOffsets(ctx)
	if err != nil {
		return s, err
	}
	ends, err := admin.ListEndOffsets(ctx)
	if err != nil {
		return s, err
	}
	for _, topic := range slices.Sorted(maps.Keys(ends)) {
		for _, p := range slices.Sorted(maps.Keys(ends[topic])) {
			end := ends[topic][p]
			i := Item{Name: fmt.Sprintf("%s/%d", topic, end.Partition), Kind: "partition", Ours: topic == e.topic, Last: fmt.Sprint(end.Offset)}
			if start, ok := starts.Lookup(topic, end.Partition); ok && start.Err == nil && end.Err == nil {
				n := end.Offset - start.Offset
				i.Length = &n
			}
			s.Items = append(s.Items, i)
		}
	}
	return s, nil
}
