package bus

import (
	"context"
	"net/url"
	"sync/atomic"
	"time"

	"conclave"

	"github.com/nats-io/nats.go"
)

// natsEngine is a subject on NATS, at most once: what is missed is polled for,
// so it needs no JetStream.
type natsEngine struct {
	url     *url.URL
	subject string
	conn    atomic.Pointer[nats.Conn] // while listen runs
}

func newNATS(raw, name string) (engine, error) {
	const example = "nats://[USER:PASSWORD@]HOST:PORT"
	u, err := parse(raw, example)
	if err != nil {
		return nil, err
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the bus's URL has more than NATS takes; it must look like %s", example)
	}
	return &natsEngine{url: u, subject: name + ".notes"}, nil
}

func (e *natsEngine) describe() (string, string) { return "nats", e.url.Host }

// connect opens a connection that is not renewed by itself: the bus does that,
// and says so. The channel gets the reason when it ends.
func (e *natsEngine) connect() (*nats.Conn, <-chan error, error) {
	lost := make(chan error, 1)
	say := func(err error) {
		if err == nil {
			err = nats.ErrConnectionClosed
		}
		select {
		case lost <- err:
		default: // the first reason counts
		}
	}
	c, err := nats.Connect(e.url.String(), nats.Name("conclave"), nats.NoReconnect(), nats.Timeout(2*time.Second),
		nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { say(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { say(err) })) // as when we were too slow
	return c, lost, err
}

// publish does not ask the server for a sign, which would cost as much as the
// message: a connection that breaks is heard of by itself.
func (e *natsEngine) publish(_ context.Context, msg []byte) error {
	c := e.conn.Load()
	if c == nil {
		return notConnected("nats")
	}
	return c.Publish(e.subject, msg)
}

func (e *natsEngine) listen(ctx context.Context, ready func(), hear func([]byte)) error {
	return e.follow(ctx, e.subject, func(c *nats.Conn) {
		e.conn.Store(c)
		ready()
	}, func(m *nats.Msg) { hear(m.Data) })
}

func (e *natsEngine) follow(ctx context.Context, subject string, ready func(*nats.Conn), hear func(*nats.Msg)) error {
	c, lost, err := e.connect()
	if err != nil {
		return err
	}
	defer func() {
		e.conn.CompareAndSwap(c, nil)
		c.Close()
	}()
	if _, err := c.Subscribe(subject, hear); err != nil {
		return err
	}
	flush, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	if err := c.FlushWithContext(flush); err != nil {
		return err
	}
	ready(c)
	select {
	case err := <-lost:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *natsEngine) inspect(ctx context.Context) (State, error) {
	s := State{Engine: "nats", Server: e.url.Host}
	c, _, err := e.connect()
	if err != nil {
		return s, err
	}
	defer c.Close()
	flush, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	if err := c.FlushWithContext(flush); err != nil {
		return s, err
	}
	s.Version = c.ConnectedServerVersion()
	s.Items = []Item{{Name: e.subject, Kind: "subject", Ours: true}} // the server keeps no messages and tells clients no subscribers
	return s, nil
}
