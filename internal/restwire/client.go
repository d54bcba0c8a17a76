package restwire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"conclave"
)

const (
	defaultReadTimeout = 30 * time.Second
	maxResponseBytes   = 256 << 20
)

// DialOptions says where services are and as whom to call them.
type DialOptions struct {
	// Base is the address of one service or gateway: http://host:port.
	Base string
	// Resolve finds the address of a service when Base is empty; it is asked at
	// each call.
	Resolve func(conclave.Service) (string, error)
	// Token returns the bearer token of a call. Its context is the call's, so a
	// service can mint one for conclave.CallerFrom(ctx). Needed.
	Token func(ctx context.Context) (string, error)
	// HTTP sends the requests. It should have no Timeout of its own, which would
	// cut long waits and streams. nil means a client without a proxy, because
	// services find each other by address.
	HTTP   *http.Client
	Prefix string // of the paths: "" or "/api"
	// ReadTimeout bounds an operation that only reads, besides what its wait_ms
	// asks for; 0 means 30 s. One that changes something takes as long as its
	// context lets it, because a merge runs tests.
	ReadTimeout time.Duration
	// Patience is how long a call with this context waits for a service that is
	// not there, as while it is restarted; nil means not at all. A call that
	// changes something and has no idempotency key is repeated only when it can't
	// have arrived.
	Patience func(ctx context.Context) time.Duration
}

// Client calls services through their operations. Its methods return the
// contracts of the root package; errors come back with their kinds. It is safe
// for concurrent use.
type Client struct {
	options    DialOptions
	operations map[string]bound
}

// bound is an operation with the service that offers it.
type bound struct {
	conclave.Operation
	service conclave.Service
}

// Dial returns a client. It connects when it is first used.
func Dial(o DialOptions) *Client {
	if o.HTTP == nil {
		o.HTTP = &http.Client{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     90 * time.Second,
			ForceAttemptHTTP2:   true,
		}}
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = defaultReadTimeout
	}
	c := &Client{options: o, operations: map[string]bound{}}
	for service, ops := range map[conclave.Service][]conclave.Operation{
		conclave.ServicePlans:    conclave.PlanOperations(),
		conclave.ServiceHub:      conclave.AllHubOperations(),
		conclave.ServiceCouncil:  append(conclave.CouncilOperations(), conclave.TrustOperations()...),
		conclave.ServiceWorktree: append(conclave.WorktreeOperations(), conclave.SurveyOperations()...),
		conclave.ServiceWorkflow: conclave.WorkflowOperations(),
		conclave.ServiceModels:   conclave.ModelOperations(),
		conclave.ServiceMonitor:  append(conclave.EventOperations(), conclave.InsightOperations()...),
	} {
		for _, op := range ops {
			c.operations[op.Name] = bound{op, service}
		}
	}
	return c
}

// Close closes connections that are not in use.
func (c *Client) Close() { c.options.HTTP.CloseIdleConnections() }

// call runs an operation by name and decodes what it returns, after waiting for
// a service that is not there as long as the client's patience lasts.
func call[O any](ctx context.Context, c *Client, name string, in any) (O, error) {
	var patience time.Duration
	if c.options.Patience != nil {
		patience = c.options.Patience(ctx)
	}
	until := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		out, err := callOnce[O](ctx, c, name, in)
		absent, ok := errors.AsType[*absentError](err)
		if !ok {
			return out, err
		}
		if !absent.again || time.Now().Add(wait).After(until) {
			return out, absent.error
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return out, absent.error
		}
	}
}

const (
	firstWait   = 50 * time.Millisecond
	longestWait = time.Second
)

// absentError is what is wrong while a service is not there. again is whether
// the call may be repeated.
type absentError struct {
	error
	again bool
}

func (e *absentError) Unwrap() error { return e.error }

func callOnce[O any](ctx context.Context, c *Client, name string, in any) (O, error) {
	var out O
	op, ok := c.operations[name]
	if !ok {
		return out, conclave.Errorf(conclave.ErrInternal, "no operation is called %q", name)
	}
	args, err := membersOf(in)
	if err != nil {
		return out, fmt.Errorf("calling %s: %w", name, err)
	}
	repeatable := op.Effect == conclave.Reads || text(args[keyField]) != ""
	if op.Effect == conclave.Reads {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.ReadTimeout+waitOf(args))
		defer cancel()
	}
	base, err := c.address(op.service)
	if err != nil {
		if conclave.KindOf(err) == conclave.ErrUnavailable {
			err = &absentError{err, true}
		}
		return out, err
	}
	req, err := c.request(ctx, base, op, args)
	if err != nil {
		return out, fmt.Errorf("calling %s: %w", name, err)
	}
	resp, err := c.send(req, op, repeatable)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes+1))
	if err != nil {
		return out, c.broken(req, op, err, repeatable)
	}
	if len(body) > maxResponseBytes {
		return out, conclave.Errorf(conclave.ErrLimited, "the answer of %s is larger than %d bytes", name, maxResponseBytes)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, conclave.Errorf(conclave.ErrInternal, "reading the answer of %s: %w", name, err)
	}
	return out, nil
}

// membersOf returns the members of an input as they are on the wire.
func membersOf(in any) (map[string]json.RawMessage, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "encoding the input: %w", err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the input is no object: %w", err)
	}
	return members, nil
}

// waitOf returns how long the service was asked to wait.
func waitOf(args map[string]json.RawMessage) time.Duration {
	var ms int64
	if raw, ok := args["wait_ms"]; ok && json.Unmarshal(raw, &ms) == nil {
		return time.Duration(max(0, ms)) * time.Millisecond
	}
	return 0
}

// request makes the request of an operation, without sending it.
func (c *Client) request(ctx context.Context, base string, op bound, args map[string]json.RawMessage) (*http.Request, error) {
	path := op.Path()
	for _, name := range pathFields(path) {
		value := text(args[name])
		if value == "" || value == "." || value == ".." {
			return nil, conclave.Errorf(conclave.ErrInvalid, "%s: %q can't be in a path", name, value)
		}
		path = strings.Replace(path, "{"+name+"}", url.PathEscape(value), 1)
		delete(args, name)
	}
	address := strings.TrimSuffix(base, "/") + c.options.Prefix + path
	var body io.Reader
	if op.Method() == http.MethodGet || op.Method() == http.MethodDelete {
		if q := queryOf(args).Encode(); q != "" {
			address += "?" + q
		}
	} else {
		encoded, err := json.Marshal(args)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "encoding the input: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, op.Method(), address, body)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "address of %s: %w", op.service, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, "+problemType)
	if c.options.Token == nil {
		return nil, conclave.Errorf(conclave.ErrDenied, "no token to call %s with", op.service)
	}
	token, err := c.options.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting a token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req, nil
}

func (c *Client) address(s conclave.Service) (string, error) {
	if c.options.Base != "" {
		return c.options.Base, nil
	}
	if c.options.Resolve == nil {
		return "", conclave.Errorf(conclave.ErrUnavailable, "no address is known for %s", s)
	}
	base, err := c.options.Resolve(s)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", s, err)
	}
	return base, nil
}

// text returns a JSON scalar as it stands in a path or query.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

func queryOf(args map[string]json.RawMessage) url.Values {
	query := url.Values{}
	for name, raw := range args {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			list = []json.RawMessage{raw}
		}
		for _, item := range list {
			query.Add(name, text(item))
		}
	}
	return query
}

// send sends a request and returns an answer that is no error. It is an
// absentError when the service is not there.
func (c *Client) send(req *http.Request, op bound, repeatable bool) (*http.Response, error) {
	resp, err := c.options.HTTP.Do(req)
	if err != nil {
		return nil, c.broken(req, op, err, repeatable)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes))
	if err != nil {
		return nil, c.broken(req, op, err, repeatable)
	}
	err = errorOf(resp.StatusCode, resp.Header.Get("Content-Type"), body)
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" { // it stops
		return nil, &absentError{err, repeatable}
	}
	if seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && errors.Is(err, conclave.ErrLimited) {
		err = conclave.Later(time.Duration(seconds)*time.Second, "%w", err)
	}
	return nil, err
}

// errorOf reads an error from an answer. Where the problem names fields, the
// error keeps them, so that a gateway passes them on.
func errorOf(status int, contentType string, body []byte) error {
	var p Problem
	if !isJSON(contentType) || json.Unmarshal(body, &p) != nil || p.Detail == "" {
		p = Problem{Detail: fmt.Sprintf("status %d: %.200s", status, bytes.TrimSpace(body))}
	}
	kind := kindOf(p.Kind, status)
	if kind == conclave.ErrInvalid && len(p.Errors) > 0 {
		return &inputError{status: status, fields: p.Errors}
	}
	return conclave.Errorf(kind, "%s", p.Detail)
}

// broken says why there was no answer.
func (c *Client) broken(req *http.Request, op bound, err error, repeatable bool) error {
	where := fmt.Sprintf("%s at %s", op.service, req.URL.Host)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // its text repeats the whole address
	}
	failed, ok := errors.AsType[*net.OpError](err)
	unsent := ok && failed.Op == "dial" && req.Context().Err() == nil
	switch {
	case unsent:
		repeatable = true
	case errors.Is(err, context.DeadlineExceeded):
		return conclave.Errorf(conclave.ErrTimeout, "%s of %s did not answer in time: %w", op.Name, where, err)
	case errors.Is(err, context.Canceled) && req.Context().Err() != nil:
		return fmt.Errorf("calling %s of %s: %w", op.Name, where, err)
	}
	return &absentError{conclave.Errorf(conclave.ErrUnavailable, "%s can't be reached: %w", where, err), repeatable}
}
