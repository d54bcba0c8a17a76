package lifecycle_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"conclave/internal/lifecycle"
)

// diary notes what happens, in order.
type diary struct{ lines chan string }

func newDiary() *diary { return &diary{make(chan string, 32)} }

func (d *diary) note(line string) { d.lines <- line }

func (d *diary) read() []string {
	close(d.lines)
	var all []string
	for line := range d.lines {
		all = append(all, line)
	}
	return all
}

// service notes its start and its stop; it ends with err.
func (d *diary) service(name string, err error) lifecycle.Service {
	return lifecycle.Service{Name: name, Run: func(ctx context.Context, ready func()) error {
		d.note("start " + name)
		ready()
		<-ctx.Done()
		d.note("stop " + name)
		return err
	}}
}

func TestOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := newDiary()
	slow := d.service("b", context.Canceled)
	run := slow.Run
	slow.Run = func(ctx context.Context, ready func()) error {
		return run(ctx, func() { d.note("ready b"); ready(); ready() }) // twice is once
	}
	err := lifecycle.Run(ctx, []lifecycle.Service{d.service("a", nil), slow, d.service("c", nil)}, func() { d.note("ready"); cancel() })
	want := []string{"start a", "start b", "ready b", "start c", "ready", "stop c", "stop b", "stop a"}
	if got := d.read(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestFailure(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		run  func(ctx context.Context, ready func()) error
		err  error
		want []string
	}{
		"at start":         {func(context.Context, func()) error { return broken }, broken, []string{"start a", "stop a"}},
		"without a word":   {func(context.Context, func()) error { return nil }, nil, []string{"start a", "stop a"}},
		"once it is ready": {func(_ context.Context, ready func()) error { ready(); return broken }, broken, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDiary()
			err := lifecycle.Run(t.Context(), []lifecycle.Service{d.service("a", nil), {Name: "b", Run: tt.run}, d.service("c", nil)}, func() {})
			if err == nil || !strings.HasPrefix(err.Error(), "b: ") || strings.Count(err.Error(), "b: ") != 1 || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("error %v, want that of b, once", err)
			}
			got := d.read()
			if tt.want != nil && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if got[len(got)-1] != "stop a" {
				t.Errorf("%q: the first was not stopped last", got)
			}
		})
	}
}

func TestErrorsOfTheStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := newDiary()
	lost := errors.New("lost a write")
	if err := lifecycle.Run(ctx, []lifecycle.Service{d.service("a", lost), d.service("b", nil)}, cancel); !errors.Is(err, lost) || !strings.HasPrefix(err.Error(), "a: ") {
		t.Errorf("error %v", err)
	}
}

// A service that does not stop costs the time for all and no more.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan struct{})
		stuck := lifecycle.Service{Name: "stuck", Run: func(_ context.Context, ready func()) error { ready(); <-end; return nil }}
		began := time.Now()
		err := lifecycle.Run(ctx, []lifecycle.Service{stuck}, cancel)
		if err == nil || !strings.Contains(err.Error(), "stuck did not stop") || time.Since(began) != lifecycle.StopTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		close(end)
	})
}
