package prove

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

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
		{"audit_verify", "SQL: how many events the newest checkpoint covers, and its head", func(ctx context.Context, s *scene) error {
			if _, err := s.propose(ctx, 0, s.content("first")); err != nil {
				return err
			}
			seq, err := s.records.number(ctx, `SELECT seq FROM events WHERE run = $1 ORDER BY seq LIMIT 1`, s.name)
			if err != nil {
				return err
			}
			sealed := conclave.Checkpoint{}
			var report conclave.AuditReport
			for sealed.Last < seq { // it is sealed within seconds
				if err := s.do(ctx, "audit_verify", conclave.None{}, &report); err != nil {
					return err
				}
				if !report.OK {
					return fmt.Errorf("the record is not as it was sealed: %+v", report.Problems)
				}
				if len(report.Heads) == 1 {
					sealed = report.Heads[0]
				}
				select {
				case <-time.After(250 * time.Millisecond):
				case <-ctx.Done():
					return fmt.Errorf("event %d is not sealed: %w", seq, ctx.Err())
				}
			}
			events, err1 := s.records.number(ctx, `SELECT count(*) FROM events WHERE tenant = $1 AND seq <= $2`, string(sealed.Tenant), sealed.Last)
			kept, err2 := s.records.texts(ctx, `SELECT doc FROM seals WHERE tenant = $1 AND number = $2`, string(sealed.Tenant), sealed.Number)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if len(kept) != 1 || !strings.Contains(kept[0], sealed.Head) {
				return fmt.Errorf("no checkpoint has the head %q", sealed.Head)
			}
			return same("the sealed events", report.Sealed, events)
		}},
	}
}

// watch opens the stream of events.
func (f *faces) watch(ctx context.Context, filter conclave.EventFilter) (*http.Response, error) {
	return f.stream(ctx, "event_watch", filter)
}

// stream opens what an operation streams.
func (f *faces) stream(ctx context.Context, name string, filter conclave.EventFilter) (*http.Response, error) {
	input, err := json.Marshal(filter)
	if err != nil {
		return nil, err
	}
	op := f.operations[name]
	req, err := f.request(ctx, f.o.Addresses[f.service[name]], op, input)
	if err != nil {
		return nil, err
	}
	resp, err := f.o.client().Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the stream answers %s", resp.Status)
	}
	return resp, nil
}
