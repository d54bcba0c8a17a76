package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/identity"
	"conclave/internal/restwire"
)

// session is a way to the services: those that run on this machine, or some of
// this process's own.
type session struct {
	*restwire.Client
	http  *http.Client
	urls  map[conclave.Service]string
	token string
	close func() error
}

// connect finds the running services. ErrUnavailable when there are none.
func (c *cli) connect(ctx context.Context) (*session, error) {
	home, err := app.Home(c.getenv)
	if err != nil {
		return nil, err
	}
	client, err := c.http()
	if err != nil {
		return nil, err
	}
	token := c.getenv("CONCLAVE_TOKEN")
	if base := c.getenv("CONCLAVE_URL"); base != "" { // somewhere else
		if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, conclave.Errorf(conclave.ErrInvalid, "CONCLAVE_URL=%q: it must be the gateway's address, such as http://127.0.0.1:8080", base)
		}
		if err := answers(ctx, client, base); err != nil {
			return nil, conclave.Errorf(conclave.ErrUnavailable, "nothing answers at CONCLAVE_URL=%s%s; it must be the address of a gateway that runs", base, distrust(err))
		}
		return dial(client, map[conclave.Service]string{conclave.ServiceGateway: base}, token), nil
	}
	urls, err := app.ReadAddresses(home)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "%w", err)
	}
	if token == "" {
		if token, err = app.ReadToken(home); err != nil {
			return nil, err
		}
	}
	if _, ok := urls[conclave.ServiceGateway]; !ok {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "the gateway does not run; start it with: conclave serve gateway")
	}
	if err := answers(ctx, client, urls[conclave.ServiceGateway]); err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "Conclave does not answer at %s%s; start it with: conclave serve, or make quick-start-a2a", urls[conclave.ServiceGateway], distrust(err))
	}
	return dial(client, urls, token), nil
}

// http is a client that trusts the installation's authorities.
func (c *cli) http() (*http.Client, error) { return c.httpAs(c.getenv("CONCLAVE_TLS_NAME")) }

// httpAs is such a client that believes a certificate of that name at any address.
func (c *cli) httpAs(name string) (*http.Client, error) {
	certs, err := identity.LoadTLS(identity.TLSFiles{CA: c.getenv("CONCLAVE_TLS_CA"), Name: name}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: certs.Transport()}, nil
}

// distrust is what to add to an address that answers with a certificate which is
// not trusted.
func distrust(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return " with a certificate that is trusted here (" + err.Error() + "; CONCLAVE_TLS_CA names the file of the authority that signed it)"
	}
	return ""
}

func dial(client *http.Client, urls map[conclave.Service]string, token string) *session {
	c := restwire.Dial(restwire.DialOptions{Base: urls[conclave.ServiceGateway], Prefix: "/api", HTTP: client,
		Token: func(context.Context) (string, error) { return token, nil }})
	return &session{Client: c, http: client, urls: urls, token: token, close: func() error { c.Close(); return nil }}
}

func answers(ctx context.Context, client *http.Client, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// runs reports whether any service of the data directory answers.
func (c *cli) runs(ctx context.Context) bool {
	home, err := app.Home(c.getenv)
	if err != nil {
		return false
	}
	urls, err := app.ReadAddresses(home)
	if err != nil {
		return false
	}
	client, err := c.http()
	if err != nil {
		return false
	}
	for _, url := range urls {
		if answers(ctx, client, url) == nil {
			return true
		}
	}
	return false
}

// connectOrStart finds the running services, or starts all of them in this
// process, on free ports, until the session is closed. Beside some that run, as
// without their gateway, it starts none: there would be two of those.
func (c *cli) connectOrStart(ctx context.Context) (*session, error) {
	s, err := c.connect(ctx)
	if err == nil || !errors.Is(err, conclave.ErrUnavailable) || c.getenv("CONCLAVE_URL") != "" || c.runs(ctx) {
		return s, err
	}
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	config.AutoPorts = true
	level := c.getenv("CONCLAVE_LOG")
	if level == "" {
		level = "warn"
	}
	a, err := app.New(ctx, app.Options{Config: config, Getenv: c.getenv, Logger: app.Logger(c.stderr, level)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- a.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-done:
		cancel()
		return nil, fmt.Errorf("start the services: %w", err)
	}
	token, err := app.ReadToken(config.Home)
	if err != nil {
		cancel()
		return nil, errors.Join(err, <-done)
	}
	over, err := c.http()
	if err != nil {
		cancel()
		return nil, errors.Join(err, <-done)
	}
	s = dial(over, a.URLs(), token)
	client := s.Client
	s.close = func() error {
		client.Close()
		cancel()
		return <-done
	}
	return s, nil
}

// with runs f in a session with the running services.
func (c *cli) with(ctx context.Context, f func(*session) error) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.close())
}
