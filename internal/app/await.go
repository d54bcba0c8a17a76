package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"conclave/internal/store"
)

// openDatabase opens the database. A patient process whose server does not answer
// says so on its ports and tries again until it does.
func (a *App) openDatabase(ctx context.Context) (err error) {
	open := func() error {
		a.db, err = store.Open(ctx, store.Options{URL: a.config.Database, Owner: a.owner(), Bus: a.bus, Logger: a.log})
		return err
	}
	if open() == nil || !a.patient || !store.Unreachable(err) {
		return err
	}
	why := "the database at " + databaseAddress(a.config) + " can't be reached"
	a.log.WarnContext(ctx, why+"; trying until it can", "err", err)
	defer a.excuse(why)()
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", why, err)
		}
		if open() == nil || !store.Unreachable(err) {
			return err
		}
	}
}

// excuse answers probes on the ports, until stop is called: the process lives, and
// is not ready for the reason given.
func (a *App) excuse(why string) (stop func()) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "5")
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": why})
	})
	var stops []func()
	var serving sync.WaitGroup
	for s, l := range a.listeners {
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)}
		serving.Go(func() {
			if err := a.serveOn(server, lent{l}); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				a.log.Error("answering probes", "service", s, "err", err)
			}
		})
		stops = append(stops, func() { _ = server.Close() }) // its connections are of no use any more
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
		serving.Wait()
		for _, l := range a.listeners {
			_ = deadline(l, time.Time{}) // one that is closed is noticed when it is served
		}
	}
}

// lent is a listener that stays open when its borrower closes it, and only lets
// go of who waits for a connection.
type lent struct{ net.Listener }

func (l lent) Close() error { return deadline(l.Listener, time.Now()) }

func deadline(l net.Listener, at time.Time) error {
	if t, ok := l.(*net.TCPListener); ok {
		return t.SetDeadline(at)
	}
	return nil
}
