package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"conclave"
)

// How the hub is asked.
const (
	hubRounds  = 300 // of one message each way and one commit
	hubSenders = 64
	hubQueued  = 10_000
)

// way is how the agent is reached: directly, or through the hub.
type way struct {
	url, token string
	sent       *atomic.Int64
}

// ask is a message of a sender, who goes on in one conversation.
func (w way) ask(method, text string, sender int, immediately bool) []byte {
	config := ""
	if immediately {
		config = `,"configuration":{"returnImmediately":true}`
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"method":%q,"params":{"message":{"messageId":"message-%d","contextId":"talk-of-%d","role":"ROLE_USER","parts":[{"text":%q}]}%s}}`,
		method, w.sent.Add(1), sender, text, config)
}

// send sends a message and reads the answer, which must have the word. It returns
// how long the first byte of the answer took, and all of it.
func (w way) send(ctx context.Context, client *http.Client, body []byte, word string) (first, whole time.Duration, err error) {
	began := time.Now()
	resp, err := w.post(ctx, client, body)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	answer := make([]byte, 1, 4096)
	if _, err := io.ReadFull(resp.Body, answer); err != nil {
		return 0, 0, err
	}
	first = time.Since(began)
	rest := bytes.NewBuffer(answer)
	if _, err := rest.ReadFrom(resp.Body); err != nil {
		return 0, 0, err
	}
	whole = time.Since(began)
	if !bytes.Contains(rest.Bytes(), []byte(word)) {
		err = fmt.Errorf("%s answers %s: %.500s", w.url, resp.Status, rest)
	}
	return first, whole, err
}

// post begins a call. The caller closes the answer's body.
func (w way) post(ctx context.Context, client *http.Client, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("A2A-Version", "1.0")
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	return client.Do(req)
}

// hubBench is the hub, the agent behind it, and both ways to it.
type hubBench struct {
	*bench
	server      *server
	agent       *role
	direct, hub way
}

const (
	asked     = "SendMessage"
	streamed  = "SendStreamingMessage"
	completed = "TASK_STATE_COMPLETED"
	accepted  = `"task"`
)

// hubRows compares the agent behind the hub with the same agent asked directly.
func (b *bench) hubRows(ctx context.Context) error {
	agent, err := b.role(ctx, "agent", "")
	if err != nil {
		return err
	}
	h := &hubBench{bench: b, agent: agent}
	defer func() { h.agent.end() }()
	home := filepath.Join(b.dir, "hub")
	if h.server, err = b.start(ctx, home); err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(home, "token"))
	if err != nil {
		return h.server.stop(err)
	}
	var direct, hub atomic.Int64
	h.direct = way{url: agent.url + "/a2a", sent: &direct}
	h.hub = way{url: h.server.addresses[conclave.ServiceHub] + "/a2a/agents/counter", token: strings.TrimSpace(string(token)), sent: &hub}
	if err := h.register(ctx, conclave.AgentLive); err != nil {
		return h.server.stop(err)
	}
	for _, measure := range []func(context.Context) error{h.latency, h.throughput, h.streams} {
		if err := measure(ctx); err != nil {
			return h.server.stop(err)
		}
	}
	b.note("Hub: conclave serve in a process of its own, on SQLite, before an agent on a2a-go that keeps its tasks in memory and answers at once, in a process of its own; "+
		"directly: the same agent without the hub. Both are asked over JSON-RPC by the same client, by turns in one run; each sender goes on in one conversation. "+
		"A commit is one row into SQLite with the hub's settings on the same disk. Latency: %d rounds of one message each way and one commit.", hubRounds)
	return h.server.stop(nil)
}

// register tells the hub how the agent is.
func (h *hubBench) register(ctx context.Context, state conclave.AgentState) error {
	_, err := h.server.Hub().Register(ctx, conclave.RegisterAgent{Agent: conclave.Agent{Name: "counter", Role: "counter", Description: "Counts words",
		Skills: []string{"ask"}, Brain: "none", URL: h.agent.url + "/a2a", State: state, Capacity: 1024}})
	return err
}

// latency is of one sender, who waits for each answer.
func (h *hubBench) latency(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	commit, closeRaw, err := h.rawCommit(ctx, "hub-commits.db")
	if err != nil {
		return err
	}
	defer closeRaw()
	var commits []time.Duration
	var whole, first [2][]time.Duration
	for i := range hubRounds + 50 {
		began := time.Now()
		if err := commit(); err != nil {
			return err
		}
		took := time.Since(began)
		for j, w := range []way{h.direct, h.hub} {
			_, all, err := w.send(ctx, client, w.ask(asked, "count these words", 0, false), completed)
			if err != nil {
				return err
			}
			early, _, err := w.send(ctx, client, w.ask(streamed, "count these words", 0, false), completed)
			if err != nil {
				return err
			}
			if i >= 50 { // before that, connections are made
				whole[j], first[j] = append(whole[j], all), append(first[j], early)
			}
		}
		if i >= 50 {
			commits = append(commits, took)
		}
	}
	c, d, t := sort(commits), sort(whole[0]), sort(whole[1])
	limit := func(share float64) time.Duration { return d.at(share) + c.at(share)*3/2 }
	h.add("hub: a message and its answer, durable, p50 / p95", fmt.Sprintf("direct + 1.5 commits: %.2f ms / %.2f ms", ms(limit(0.5)), ms(limit(0.95))),
		fmt.Sprintf("%.2f ms / %.2f ms, beside %.2f ms / %.2f ms directly and %.2f ms / %.2f ms for a commit", ms(t.at(0.5)), ms(t.at(0.95)), ms(d.at(0.5)), ms(d.at(0.95)), ms(c.at(0.5)), ms(c.at(0.95))),
		yes(t.at(0.5) <= limit(0.5) && t.at(0.95) <= limit(0.95)))
	d, t = sort(first[0]), sort(first[1])
	h.add("hub: first streamed byte, p50 / p95", "direct + 1 ms", fmt.Sprintf("%.2f ms / %.2f ms, beside %.2f ms / %.2f ms directly", ms(t.at(0.5)), ms(t.at(0.95)), ms(d.at(0.5)), ms(d.at(0.95))),
		yes(t.at(0.5) <= d.at(0.5)+time.Millisecond && t.at(0.95) <= d.at(0.95)+time.Millisecond))
	return nil
}

// throughput is of many senders, each of which waits for its answers; then of
// what waited while the agent was away.
func (h *hubBench) throughput(ctx context.Context) error {
	var rates [2]float64
	for range 2 {
		for i, w := range []way{h.direct, h.hub} {
			_, rate, err := load(ctx, hubSenders, 0, func(ctx context.Context, client *http.Client, sender int) error {
				_, _, err := w.send(ctx, client, w.ask(asked, "count these words", sender, false), completed)
				return err
			})
			if err != nil {
				return err
			}
			rates[i] += rate / 2
		}
	}
	h.add(fmt.Sprintf("hub: messages a second with their answers, %d senders", hubSenders), "half of direct", fmt.Sprintf("%.0f/s, beside %.0f/s: %.2f", rates[1], rates[0], rates[1]/rates[0]), yes(rates[1] >= rates[0]/2))
	drained, err := h.drain(ctx)
	if err != nil {
		return err
	}
	h.add(fmt.Sprintf("hub: %d messages that waited for their agent, answered a second", hubQueued), "its live rate", fmt.Sprintf("%.0f/s, beside %.0f/s: %.2f", drained, rates[1], drained/rates[1]), yes(drained >= rates[1]))
	return nil
}

// drain returns how many a second are answered of those that were queued while
// the agent was away, from its registration until the last one's end is kept.
func (h *hubBench) drain(ctx context.Context) (float64, error) {
	address := strings.TrimPrefix(h.agent.url, "http://")
	h.agent.end()
	if err := h.register(ctx, conclave.AgentLost); err != nil {
		return 0, err
	}
	var left atomic.Int64
	left.Store(hubQueued)
	if err := all(hubSenders, func(sender int) error {
		client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
		defer client.CloseIdleConnections()
		for left.Add(-1) >= 0 {
			if _, _, err := h.hub.send(ctx, client, h.hub.ask(asked, "count these words", sender, true), accepted); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	if waiting, err := h.waiting(ctx); err != nil || waiting != hubQueued {
		return 0, errors.Join(err, fmt.Errorf("%d of %d messages wait for the agent that is away", waiting, hubQueued))
	}
	back, err := h.role(ctx, "agent", address)
	if err != nil {
		return 0, err
	}
	h.agent = back
	began := time.Now()
	if err := h.register(ctx, conclave.AgentLive); err != nil {
		return 0, err
	}
	for {
		answered, err := h.agent.answered(ctx)
		if err != nil {
			return 0, err
		}
		if answered >= hubQueued {
			waiting, err := h.waiting(ctx)
			if err != nil {
				return 0, err
			}
			if waiting == 0 {
				return hubQueued / time.Since(began).Seconds(), nil
			}
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return 0, fmt.Errorf("%d of %d queued messages were answered: %w", answered, hubQueued, err)
		}
	}
}

// waiting is how many of our tasks have not ended.
func (h *hubBench) waiting(ctx context.Context) (int, error) {
	sum := 0
	for _, state := range []string{"SUBMITTED", "WORKING"} {
		resp, err := h.hub.post(ctx, http.DefaultClient, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"pageSize":1,"status":"TASK_STATE_%s"}}`, state))
		if err != nil {
			return 0, err
		}
		var list struct {
			Result struct {
				TotalSize *int `json:"totalSize"`
			} `json:"result"`
		}
		err = json.NewDecoder(resp.Body).Decode(&list)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return 0, err
		}
		if list.Result.TotalSize == nil {
			return 0, errors.New("the hub does not tell how many tasks there are")
		}
		sum += *list.Result.TotalSize
	}
	return sum, nil
}

// answered is how much the agent has answered since it began.
func (r *role) answered(ctx context.Context) (n int64, err error) {
	resp, err := r.call(ctx, http.MethodGet, "/answered")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = fmt.Fscan(resp.Body, &n)
	return n, err
}

// release has the agent answer what it holds.
func (r *role) release(ctx context.Context) error {
	resp, err := r.call(ctx, http.MethodPost, "/release")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (r *role) call(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}
