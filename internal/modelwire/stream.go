package modelwire

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

// maxEvent bounds what is kept of a stream at any time.
const maxEvent = 16 << 20

// stream reads server-sent events of one wire and yields those of the other. It
// works in its reader's goroutine.
type stream struct {
	body  io.ReadCloser
	lines *bufio.Scanner
	out   bytes.Buffer
	to    translator
	event string
	data  []string
	err   error
}

// A translator turns one event into what says the same, written to out.
type translator interface {
	translate(out *bytes.Buffer, event string, data []byte) error
	// sign is a sign of life.
	sign() string
	// end is the end of the provider's stream: io.ErrUnexpectedEOF when something
	// is missing, so that a stream that was cut stays one.
	end(out *bytes.Buffer) error
}

func newStream(body io.ReadCloser, to translator) io.ReadCloser {
	s := &stream{body: body, lines: bufio.NewScanner(body), to: to}
	s.lines.Buffer(make([]byte, 0, 32<<10), maxEvent)
	return s
}

func (s *stream) Close() error { return s.body.Close() }

func (s *stream) Read(p []byte) (int, error) {
	for s.out.Len() == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.err = s.line()
	}
	return s.out.Read(p)
}

// line takes in one line of the provider's.
func (s *stream) line() error {
	if !s.lines.Scan() {
		if err := s.lines.Err(); err != nil {
			return err
		}
		if err := s.to.end(&s.out); err != nil {
			return err
		}
		return io.EOF
	}
	line := s.lines.Text()
	switch name, value, _ := strings.Cut(line, ":"); {
	case line == "":
		event, data := s.event, strings.Join(s.data, "\n")
		s.event, s.data = "", nil
		if data == "" {
			return nil
		}
		return s.to.translate(&s.out, event, []byte(data))
	case name == "":
		s.out.WriteString(s.to.sign())
	case name == "event":
		s.event = strings.TrimPrefix(value, " ")
	case name == "data":
		s.data = append(s.data, strings.TrimPrefix(value, " "))
	}
	return nil
}
