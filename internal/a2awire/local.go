package a2awire

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"conclave"
)

// LocalScheme is the scheme of addresses inside this process:
// local://HOST/path reaches the handler that HOST names.
const LocalScheme = "local"

// Local is an http.RoundTripper that calls handlers in memory for local:
// addresses, with the same bytes that would travel over a socket, and passes
// every other request on.
type Local struct {
	Remote http.RoundTripper // http.DefaultTransport when nil

	mu    sync.RWMutex
	hosts map[string]http.Handler
}

// Serve lets a handler answer for a host; a nil handler takes it away.
func (l *Local) Serve(host string, h http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts == nil {
		l.hosts = map[string]http.Handler{}
	}
	if h == nil {
		delete(l.hosts, host)
		return
	}
	l.hosts[host] = h
}

// RoundTrip implements http.RoundTripper. ErrUnavailable when no handler
// answers for a local host.
func (l *Local) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != LocalScheme {
		if l.Remote != nil {
			return l.Remote.RoundTrip(req)
		}
		return http.DefaultTransport.RoundTrip(req)
	}
	l.mu.RLock()
	h := l.hosts[req.URL.Host]
	l.mu.RUnlock()
	if h == nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "nothing in this process answers for %s", req.URL.Host)
	}

	ctx, cancel := context.WithCancel(req.Context())
	in := req.Clone(ctx)
	in.URL = &url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}
	in.RequestURI = in.URL.RequestURI()
	in.Host = req.URL.Host
	in.RemoteAddr = LocalScheme
	if in.Body == nil {
		in.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	w := &localWriter{header: http.Header{}, body: pw, started: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			// As in net/http, a panic of a handler breaks its own connection only.
			if p := recover(); p != nil {
				w.WriteHeader(http.StatusInternalServerError)
				pw.CloseWithError(fmt.Errorf("the handler of %s panicked: %v", in.URL.Path, p))
			}
		}()
		h.ServeHTTP(w, in)
		w.WriteHeader(http.StatusOK)
		pw.Close()
	}()
	body := &localBody{PipeReader: pr, cancel: cancel, done: done}
	select {
	case <-w.started:
	case <-ctx.Done():
		body.Close()
		return nil, ctx.Err()
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: body, ContentLength: -1, Request: req,
	}, nil
}

// localWriter is the handler's end: the response starts at the first byte.
type localWriter struct {
	header, sent http.Header
	status       int
	body         *io.PipeWriter
	once         sync.Once
	started      chan struct{}
}

func (w *localWriter) Header() http.Header { return w.header }
func (w *localWriter) Flush()              { w.WriteHeader(http.StatusOK) }

func (w *localWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *localWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// localBody is the client's end. Closing it tells the handler that the client
// has gone, and waits until the handler has noticed.
type localBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   <-chan struct{}
}

func (b *localBody) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	<-b.done
	return err
}
