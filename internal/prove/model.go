package prove

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"conclave"
	"time"
)

// Provider is a model provider on loopback that speaks the OpenAI wire, says the
// same to everybody, and counts what it was asked. It is there so that what the
// router tells can be compared with what a provider saw.
type Provider struct {
	URL   string // base of its wire, with /v1
	Model string

	mu    sync.Mutex
	calls int64

	server *http.Server
	served chan error
}

// Tokens of each call, as the provider counts them.
const (
	callInput  = 17
	callOutput = 5
)

// StartProvider starts a provider. Close it.
func StartProvider() (*Provider, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "listen as a model provider: %w", err)
	}
	p := &Provider{URL: "http://" + l.Addr().String() + "/v1", Model: "proving-1", served: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", p.complete)
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { p.served <- p.server.Serve(l) }()
	return p, nil
}

// Close stops the provider.
func (p *Provider) Close() {
	_ = p.server.Close() // connections of the router end with it
	<-p.served
}

func (p *Provider) complete(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	p.mu.Lock()
	p.calls++
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the router is gone when this fails
		"id": conclave.NewID("chat"), "object": "chat.completion", "model": p.Model,
		"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": "seen"}}},
		"usage":   map[string]any{"prompt_tokens": callInput, "completion_tokens": callOutput, "total_tokens": callInput + callOutput},
	})
}

func (p *Provider) count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func modelProofs() []proof {
	return []proof{
		{"route_explain", "the provider's own model", func(ctx context.Context, s *scene) error {
			if s.Provider == nil {
				return errSkip{"the running services have a provider of their own, or none: what it would say is not known here"}
			}
			var route conclave.Route
			if err := s.do(ctx, "route_explain", conclave.RouteQuery{Task: "Say a word", Kind: conclave.AssignAsk}, &route); err != nil {
				return err
			}
			return same("the model", route.Model, s.Provider.Model)
		}},
		{"upstream_list", "the provider's own address", func(ctx context.Context, s *scene) error {
			if s.Provider == nil {
				return errSkip{"the running services have a provider of their own, or none: where it is is not known here"}
			}
			var list []conclave.Upstream
			if err := s.do(ctx, "upstream_list", conclave.None{}, &list); err != nil {
				return err
			}
			if !slices.ContainsFunc(list, func(u conclave.Upstream) bool { return u.URL == strings.TrimSuffix(s.Provider.URL, "/v1") }) {
				return fmt.Errorf("of %d providers none is at %s", len(list), s.Provider.URL)
			}
			return nil
		}},
		{"usage_get", "what the provider counted; SQL: the sums of the calls", func(ctx context.Context, s *scene) error {
			run := conclave.RunID("") // all there are
			if s.Provider != nil {
				run = conclave.RunID(s.name)
				if err := s.callModel(ctx); err != nil {
					return earlier{"a call of the provider", err}
				}
			}
			calls, err := s.records.number(ctx, `SELECT count(*) FROM model_calls WHERE run = $1 OR $1 = ''`, string(run))
			if err != nil {
				return err
			}
			if calls == 0 {
				return errSkip{"no model was ever called"}
			}
			tokens, err := s.records.number(ctx, `SELECT sum(input_tokens) FROM model_calls WHERE run = $1 OR $1 = ''`, string(run))
			if err != nil {
				return err
			}
			var usage conclave.Usage
			if err := s.do(ctx, "usage_get", conclave.GetUsage{Run: run}, &usage); err != nil {
				return err
			}
			if usage.ModelCalls == nil || usage.InputTokens == nil {
				return fmt.Errorf("nothing is told of %d calls with %d input tokens", calls, tokens)
			}
			if s.Provider != nil {
				err = same("the input tokens", *usage.InputTokens, callInput)
			}
			return errors.Join(err, same("the calls", *usage.ModelCalls, calls), same("the input tokens", *usage.InputTokens, tokens))
		}},
		{"account_close", "SQL: the account's row; the provider, who gets no more calls", func(ctx context.Context, s *scene) error {
			var spent conclave.Usage
			if err := s.do(ctx, "account_close", conclave.CloseAccount{Run: conclave.RunID(s.name)}, &spent); err != nil {
				return err
			}
			closed, err := s.records.number(ctx, `SELECT count(*) FROM closed_accounts WHERE run = $1`, s.name)
			if err != nil || closed != 1 {
				return errors.Join(err, same("the account's row", closed, 1))
			}
			if s.Provider == nil {
				return nil
			}
			if err := s.callModel(ctx); err == nil {
				return errors.New("a call for the run reached the provider")
			}
			return nil
		}},
	}
}

// callModel calls the provider through the router, on account of a run that is
// named like the scene.
func (s *scene) callModel(ctx context.Context) error {
	seen := s.Provider.count()
	body, err := json.Marshal(map[string]any{"model": s.Provider.Model, "messages": []any{map[string]any{"role": "user", "content": s.name}}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Addresses[conclave.ServiceModels]+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	token, err := s.Token(s.Caller)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Conclave-Run", s.name)
	resp, err := s.client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || s.Provider.count() <= seen {
		return fmt.Errorf("the router answers %s: %s", resp.Status, bytes.TrimSpace(said))
	}
	return nil
}
