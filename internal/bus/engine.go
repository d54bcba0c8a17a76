package bus

import (
	"context"
	"net/url"
	"strings"

	"conclave"
)

// engine is a server that carries messages between processes.
type engine interface {
	// describe returns the engine's name, and where the server is, without secrets.
	describe() (name, server string)
	// publish returns once the server has the message, where the server says so.
	// It fails while nobody listens in this process.
	publish(ctx context.Context, msg []byte) error
	// listen calls ready once it hears every message that is published from then
	// on, and hear with each, in turn. It returns when ctx ends or the server is lost.
	listen(ctx context.Context, ready func(), hear func([]byte)) error
	// inspect reads the true state from the server.
	inspect(ctx context.Context) (State, error)
}

// open returns the engine of a URL, nil for memory, without connecting. Its
// errors never repeat what may be a secret.
func open(raw, name string) (engine, error) {
	if raw == "" || raw == "memory" {
		return nil, nil
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the bus must be memory, redis://HOST:PORT, kafka://HOST:PORT/TOPIC or nats://HOST:PORT")
	}
	switch scheme {
	case "redis", "rediss":
		return newRedis(raw, name)
	case "kafka":
		return newKafka(rest, name)
	case "nats", "tls":
		return newNATS(raw, name)
	}
	return nil, conclave.Errorf(conclave.ErrInvalid, "the bus can't be %q: memory, redis, rediss, kafka, nats and tls are known", scheme)
}

// parse reads a URL with one host. A bad one is not repeated: it may hold a password.
func parse(raw, example string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Fragment != "" || u.Opaque != "" {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the bus's URL can't be read; it must look like %s", example)
	}
	return u, nil
}

// notConnected is what publish says while nobody listens.
func notConnected(name string) error {
	return conclave.Errorf(conclave.ErrUnavailable, "%s is not connected", name)
}

// Validate reports whether New would take a URL. ErrInvalid says what would be right.
func Validate(raw string) error {
	_, err := open(raw, "conclave")
	return err
}
