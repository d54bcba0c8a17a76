package bus

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"conclave"

	"github.com/gomodule/redigo/redis"
)

// redisEngine is a stream on Redis: each process reads it from its end on.
type redisEngine struct {
	url    *url.URL
	stream string
	sender atomic.Pointer[redis.Conn] // while listen runs; only Bus.listen and then Bus.send use it
}

// streamLength is about how many messages the stream keeps for people to look at.
const streamLength = 10_000

// field is the one field of a stream's entry.
const field = "notes"

func newRedis(raw, name string) (engine, error) {
	const example = "redis://[[USER]:PASSWORD@]HOST:PORT[/DATABASE]"
	u, err := parse(raw, example)
	if err != nil {
		return nil, err
	}
	if path := strings.TrimPrefix(u.Path, "/"); path != "" {
		if n, err := strconv.Atoi(path); err != nil || n < 0 {
			return nil, conclave.Errorf(conclave.ErrInvalid, "the bus's URL must name Redis's database by its number: %s", example)
		}
	}
	if u.RawQuery != "" {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the bus's URL has more than Redis takes; it must look like %s", example)
	}
	return &redisEngine{url: u, stream: name + ":notes"}, nil
}

func (e *redisEngine) describe() (string, string) { return "redis", e.url.Host }

// dial opens a connection that ctx closes. What is read and written has a limit.
func (e *redisEngine) dial(ctx context.Context) (redis.Conn, func(), error) {
	limited, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	c, err := redis.DialURLContext(limited, e.url.String(), redis.DialConnectTimeout(2*time.Second), redis.DialReadTimeout(sendLimit), redis.DialWriteTimeout(sendLimit))
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, func() {
		stop()
		_ = c.Close() // of no use any more, whatever it says
	}, nil
}

func (e *redisEngine) publish(_ context.Context, msg []byte) error {
	c := e.sender.Load()
	if c == nil {
		return notConnected("redis")
	}
	_, err := (*c).Do("XADD", e.stream, "MAXLEN", "~", streamLength, "*", field, msg)
	return err
}

// readBlock is how long one read waits, so that a server that went without a
// word is noticed.
const readBlock = 5 * time.Second

func (e *redisEngine) listen(ctx context.Context, ready func(), hear func([]byte)) error {
	sender, hangUp, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer hangUp()
	defer e.sender.CompareAndSwap(&sender, nil)
	return e.follow(ctx, func() {
		e.sender.Store(&sender)
		ready()
	}, func(_ string, text []byte) { hear(text) })
}

// entry is one of a stream.
type entry struct {
	id   string
	text []byte
}

// entries reads what XRANGE and its like answer.
func entries(reply any, err error) ([]entry, error) {
	rows, err := redis.Values(reply, err)
	if err != nil {
		return nil, err
	}
	var list []entry
	for _, row := range rows {
		var one entry
		var fields map[string]string
		parts, err := redis.Values(row, nil)
		if err == nil && len(parts) != 2 {
			err = fmt.Errorf("an entry of a stream has %d parts", len(parts))
		}
		if err == nil {
			one.id, err = redis.String(parts[0], nil)
		}
		if err == nil {
			fields, err = redis.StringMap(parts[1], nil)
		}
		if err != nil {
			return nil, err
		}
		one.text = []byte(fields[field])
		list = append(list, one)
	}
	return list, nil
}

func newest(c redis.Conn, stream string) (string, error) {
	list, err := entries(c.Do("XREVRANGE", stream, "+", "-", "COUNT", 1))
	if err != nil || len(list) == 0 {
		return "0-0", err
	}
	return list[0].id, nil
}

// follow reads the stream from its end on.
func (e *redisEngine) follow(ctx context.Context, ready func(), hear func(id string, text []byte)) error {
	c, hangUp, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer hangUp()
	last, err := newest(c, e.stream)
	if err != nil {
		return err
	}
	ready()
	for ctx.Err() == nil {
		streams, err := redis.Values(redis.DoWithTimeout(c, 2*readBlock, "XREAD", "COUNT", 500, "BLOCK", readBlock.Milliseconds(), "STREAMS", e.stream, last))
		if errors.Is(err, redis.ErrNil) {
			continue // nothing was said
		}
		if err != nil {
			return err
		}
		stream, err := redis.Values(streams[0], nil) // its name, and the entries
		if err != nil {
			return err
		}
		list, err := entries(stream[1], nil)
		if err != nil {
			return err
		}
		for _, one := range list {
			last = one.id
			hear(one.id, one.text)
		}
	}
	return ctx.Err()
}

func (e *redisEngine) inspect(ctx context.Context) (State, error) {
	s := State{Engine: "redis", Server: e.url.Host}
	c, hangUp, err := e.dial(ctx)
	if err != nil {
		return s, err
	}
	defer hangUp()
	info, err := redis.String(c.Do("INFO", "server"))
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			s.Version = v
		}
	}
	for cursor := "0"; len(s.Items) < maxItems; {
		page, err := redis.Values(c.Do("SCAN", cursor, "COUNT", 1000))
		if err != nil {
			return s, err
		}
		var keys []string
		if _, err := redis.Scan(page, &cursor, &keys); err != nil {
			return s, err
		}
		for _, key := range keys {
			i, err := e.inspectKey(c, key)
			if err != nil {
				return s, err
			}
			s.Items = append(s.Items, i)
		}
		if cursor == "0" {
			break
		}
	}
	return s, nil
}

func (e *redisEngine) inspectKey(c redis.Conn, key string) (Item, error) {
	i := Item{Name: key, Ours: key == e.stream}
	var err error
	if i.Kind, err = redis.String(c.Do("TYPE", key)); err != nil || i.Kind != "stream" {
		return i, err
	}
	n, err := redis.Int64(c.Do("XLEN", key))
	if err != nil {
		return i, err
	}
	i.Length = &n
	if n > 0 {
		i.Last, err = newest(c, key)
	}
	return i, err
}
