package bus

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"conclave"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// redisEngine is a stream on Redis: each process reads it from its end on.
type redisEngine struct {
	options *redis.Options
	stream  string
	client  atomic.Pointer[redis.Client] // while listen runs
}

// streamLength is about how many messages the stream keeps for people to look at.
const streamLength = 10_000

// field is the one field of a stream's entry.
const field = "notes"

func newRedis(raw, name string) (engine, error) {
	const example = "redis://[[USER]:PASSWORD@]HOST:PORT[/DATABASE]"
	if _, err := parse(raw, example); err != nil {
		return nil, err
	}
	o, err := redis.ParseURL(raw)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the bus's URL is not one of Redis; it must look like %s", example)
	}
	o.MaxRetries, o.DialerRetries = -1, 1 // the bus tries again itself, and says so
	o.DialTimeout = 2 * time.Second
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	logging.Disable() // there is one for the process, and it writes to standard error what we say too
	return &redisEngine{options: o, stream: name + ":notes"}, nil
}

func (e *redisEngine) describe() (string, string) { return "redis", e.options.Addr }

func (e *redisEngine) publish(ctx context.Context, msg []byte) error {
	c := e.client.Load()
	if c == nil {
		return notConnected("redis")
	}
	return c.XAdd(ctx, &redis.XAddArgs{Stream: e.stream, MaxLen: streamLength, Approx: true, Values: []any{field, msg}}).Err()
}

// readBlock is how long one read waits, so that a server that went without a
// word is noticed.
const readBlock = 5 * time.Second

func (e *redisEngine) listen(ctx context.Context, ready func(), hear func([]byte)) error {
	return e.follow(ctx, func(c *redis.Client) {
		e.client.Store(c)
		ready()
	}, func(_ string, text string) { hear([]byte(text)) })
}

// follow reads the stream from its end on.
func (e *redisEngine) follow(ctx context.Context, ready func(*redis.Client), hear func(id, text string)) error {
	c := redis.NewClient(e.options)
	// A read that waits does not look at its context: closing ends it.
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		stop()
		e.client.CompareAndSwap(c, nil)
		_ = c.Close() // of no use any more, whatever it says
	}()
	newest, err := c.XRevRangeN(ctx, e.stream, "+", "-", 1).Result()
	if err != nil {
		return err
	}
	last := "0-0"
	if len(newest) > 0 {
		last = newest[0].ID
	}
	ready(c)
	for ctx.Err() == nil {
		streams, err := c.XRead(ctx, &redis.XReadArgs{Streams: []string{e.stream, last}, Block: readBlock, Count: 500}).Result()
		if errors.Is(err, redis.Nil) {
			continue // nothing was said
		}
		if err != nil {
			return err
		}
		for _, entry := range streams[0].Messages {
			last = entry.ID
			text, _ := entry.Values[field].(string)
			hear(entry.ID, text)
		}
	}
	return ctx.Err()
}

func (e *redisEngine) inspect(ctx context.Context) (State, error) {
	c := redis.NewClient(e.options)
	defer c.Close()
	s := State{Engine: "redis", Server: e.options.Addr}
	info, err := c.Info(ctx, "server").Result()
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			s.Version = v
		}
	}
	keys := c.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) && len(s.Items) < maxItems {
		i, err := e.inspectKey(ctx, c, keys.Val())
		if err != nil {
			return s, err
		}
		s.Items = append(s.Items, i)
	}
	return s, keys.Err()
}

func (e *redisEngine) inspectKey(ctx context.Context, c *redis.Client, key string) (Item, error) {
	i := Item{Name: key, Ours: key == e.stream}
	var err error
	if i.Kind, err = c.Type(ctx, key).Result(); err != nil {
		return i, err
	}
	if i.Kind != "stream" {
		return i, nil
	}
	n, err := c.XLen(ctx, key).Result()
	if err != nil {
		return i, err
	}
	i.Length = &n
	newest, err := c.XRevRangeN(ctx, key, "+", "-", 1).Result()
	if err == nil && len(newest) > 0 {
		i.Last = newest[0].ID
	}
	return i, err
}
