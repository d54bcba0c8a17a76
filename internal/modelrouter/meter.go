package modelrouter

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
)

// usage is what an answer says that it cost.
type usage struct {
	measured     bool
	special      bool // served at a price that the rules do not know
	input        int64
	output       int64
	cacheRead    int64
	cacheWrite   int64
	cacheWrite1h int64 // of cacheWrite
	bytes        int64 // of the answer
}

// Bounds of what the meter keeps: a longer line of a stream has no usage in it,
// and a longer document is not measured.
const (
	maxLine     = 1 << 20
	maxDocument = 16 << 20
)

// meter reads the usage of an answer while its bytes pass. It calls done once,
// before the last byte is passed on wherever it can tell which one that is: the
// caller's next request then finds this one in the accounts.
type meter struct {
	io.ReadCloser
	wire   string
	stream bool
	length int64 // of the document; -1 when it is not known
	done   func(usage)
	linger time.Duration // for which an answer that nobody wants any more is read on
	leave  func()        // ends the call

	bytes   int64        // that have passed
	buf     bytes.Buffer // the line that has begun, or the document
	closing bool         // the event that has begun is the last one
	lost    bool         // buf was too long and is not whole
	usage   usage
	ended   bool
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.bytes += int64(n)
	m.see(p[:n])
	if err != nil {
		m.end()
	}
	return n, err
}

func (m *meter) Close() error {
	if !m.ended {
		timer := time.AfterFunc(m.linger, m.leave)
		_, _ = io.Copy(io.Discard, m) // an answer that breaks off tells no more
		timer.Stop()
	}
	m.end()
	err := m.ReadCloser.Close()
	m.leave()
	return err
}

func (m *meter) end() {
	if m.ended {
		return
	}
	m.ended = true
	if !m.stream && !m.lost {
		m.usage.read(m.wire, m.buf.Bytes())
	}
	m.usage.bytes = m.bytes
	m.done(m.usage)
}

func (m *meter) see(p []byte) {
	if !m.stream {
		m.keep(p, maxDocument)
		if int64(m.buf.Len()) == m.length {
			m.end()
		}
		return
	}
	for {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		m.keep(line, maxLine)
		if !whole {
			return
		}
		data, ok := bytes.CutPrefix(m.buf.Bytes(), []byte("data:"))
		switch last := string(bytes.TrimSpace(m.buf.Bytes())); {
		case last == "event: message_stop", last == "data: [DONE]":
			m.end()
		case last == "event: response.completed", last == "event: response.incomplete", last == "event: response.failed", last == "event: error":
			m.closing = true
		case ok && (m.closing || bytes.Contains(data, []byte(`"usage"`))):
			m.usage.read(m.wire, data)
			if m.closing {
				m.end()
			}
		}
		m.buf.Reset()
		m.lost = false
		p = rest
	}
}

func (m *meter) keep(p []byte, most int) {
	if m.lost || m.buf.Len()+len(p) > most {
		m.lost = true
		m.buf.Reset()
		return
	}
	m.buf.Write(p)
}

// read takes the figures out of one document: a whole answer, or one event.
// Later figures replace earlier ones, because both wires send totals.
func (u *usage) read(wire string, data []byte) {
	if wire == WireAnthropic {
		u.readAnthropic(data)
	} else {
		u.readOpenAI(data)
	}
}

func (u *usage) readAnthropic(data []byte) {
	type figures struct {
		Input      *int64 `json:"input_tokens"`
		Output     *int64 `json:"output_tokens"`
		CacheRead  *int64 `json:"cache_read_input_tokens"`
		CacheWrite *int64 `json:"cache_creation_input_tokens"`
		Creation   struct {
			Hour *int64 `json:"ephemeral_1h_input_tokens"`
		} `json:"cache_creation"`
		Speed string `json:"speed"`
	}
	var doc struct {
		Usage   *figures `json:"usage"`
		Message struct {
			Usage *figures `json:"usage"`
		} `json:"message"`
	}
	// An answer that is not what it should be has no usage to read.
	if json.Unmarshal(data, &doc) != nil {
		return
	}
	for _, f := range []*figures{doc.Message.Usage, doc.Usage} {
		if f == nil {
			continue
		}
		u.measured = true
		u.special = u.special || f.Speed == "fast"
		set(&u.input, f.Input)
		set(&u.output, f.Output)
		set(&u.cacheRead, f.CacheRead)
		set(&u.cacheWrite, f.CacheWrite)
		set(&u.cacheWrite1h, f.Creation.Hour)
	}
}

// readOpenAI reads chat completions, and the Responses API, which has other
// names for the same and wraps them in its last event.
func (u *usage) readOpenAI(data []byte) {
	type details struct {
		Cached  int64 `json:"cached_tokens"`
		Written int64 `json:"cache_write_tokens"`
	}
	type answer struct {
		Usage *struct {
			Prompt        int64   `json:"prompt_tokens"`
			Completion    int64   `json:"completion_tokens"`
			PromptDetails details `json:"prompt_tokens_details"`
			Input         int64   `json:"input_tokens"`
			Output        int64   `json:"output_tokens"`
			InputDetails  details `json:"input_tokens_details"`
		} `json:"usage"`
		Tier string `json:"service_tier"`
	}
	var doc struct {
		answer
		Response answer `json:"response"`
	}
	if json.Unmarshal(data, &doc) != nil {
		return
	}
	a := doc.answer
	if a.Usage == nil {
		a = doc.Response
	}
	if a.Usage == nil {
		return
	}
	prompt := a.Usage.Prompt + a.Usage.Input
	cached := a.Usage.PromptDetails.Cached + a.Usage.InputDetails.Cached
	written := a.Usage.PromptDetails.Written + a.Usage.InputDetails.Written
	*u = usage{measured: true, special: a.Tier == "flex" || a.Tier == "priority",
		input: max(0, prompt-cached-written), output: a.Usage.Completion + a.Usage.Output, cacheRead: cached, cacheWrite: written}
}

func set(to *int64, from *int64) {
	if from != nil {
		*to = *from
	}
}
