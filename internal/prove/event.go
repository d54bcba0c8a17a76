package prove

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"conclave"
)

func eventProofs() []proof {
	return []proof{
		{"event_list", "SQL: the numbers of the run's events", func(ctx context.Context, s *scene) error {
			if _, err := s.propose(ctx, 0, s.content("first")); err != nil {
				return err
			}
			var events []conclave.Event
			if err := s.do(ctx, "event_list", conclave.EventFilter{Run: conclave.RunID(s.name)}, &events); err != nil {
				return err
			}
			var got []string
			for _, e := range events {
				got = append(got, fmt.Sprint(e.Seq, " ", e.Kind))
			}
			kept, err := s.records.texts(ctx, `SELECT seq || ' ' || kind FROM events WHERE run = $1 ORDER BY seq`, s.name)
			return errors.Join(err, same("the events", got, kept))
		}},
		{"event_watch", "SQL: the event that was streamed", func(ctx context.Context, s *scene) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := s.faces.watch(ctx, conclave.EventFilter{Run: conclave.RunID(s.name)})
			if err != nil {
				return err
			}
			defer stream.Body.Close()
			if _, err := s.propose(ctx, 0, s.content("first")); err != nil {
				return err
			}
			lines := bufio.NewScanner(stream.Body)
			for lines.Scan() {
				text, ok := strings.CutPrefix(lines.Text(), "data:")
				if !ok {
					continue
				}
				var e conclave.Event
				if err := json.Unmarshal([]byte(text), &e); err != nil || e.Kind == "" {
					continue // a sign of life
				}
				seq, err := s.records.number(ctx, `SELECT seq FROM events WHERE run = $1 ORDER BY seq LIMIT 1`, s.name)
				return errors.Join(err, same("the event's number", e.Seq, seq), same("the event's kind", e.Kind, conclave.EventPlanProposed))
			}
			return fmt.Errorf("the stream ended without an event: %v", lines.Err())
		}},
	}
}

// watch opens the stream of events.
func (f *faces) watch(ctx context.Context, filter conclave.EventFilter) (*http.Response, error) {
	input, err := json.Marshal(filter)
	if err != nil {
		return nil, err
	}
	op := f.operations["event_watch"]
	req, err := f.request(ctx, f.o.Addresses[f.service["event_watch"]], op, input)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the stream answers %s", resp.Status)
	}
	return resp, nil
}
