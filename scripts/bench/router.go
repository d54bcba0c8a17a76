package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
)

// How the model router is asked.
const (
	connections = 32
	routerTime  = 2 * time.Second // for each figure
	pace        = 400             // requests a second while latency is measured: the processor must have time left
)

// router compares the model router with a bare reverse proxy in front of the
// same provider, each in a process of its own, by turns in one run.
func (b *bench) router(ctx context.Context) error {
	mock, err := b.role(ctx, "mock", "")
	if err != nil {
		return err
	}
	defer mock.end()
	bare, err := b.role(ctx, "proxy", mock.url)
	if err != nil {
		return err
	}
	defer bare.end()
	home := filepath.Join(b.dir, "router")
	s, err := b.start(ctx, home, "ANTHROPIC_API_KEY=dummy", "ANTHROPIC_BASE_URL="+mock.url)
	if err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(home, "token"))
	if err != nil {
		return s.stop(err)
	}
	router := s.addresses[conclave.ServiceModels] + "/k/" + strings.TrimSpace(string(token))
	for _, shape := range []struct {
		name   string
		bytes  int
		stream bool
	}{{"1 KB", 1 << 10, false}, {"1 KB, streamed", 1 << 10, true}, {"100 KB", 100 << 10, false}, {"100 KB, streamed", 100 << 10, true}} {
		body := agentBody(shape.bytes, shape.stream)
		var took [2]sorted
		var rate [2]float64
		for i, url := range []string{bare.url, router} {
			ask := func(ctx context.Context, client *http.Client, _ int) error { return request(ctx, client, url, body) }
			paced, _, err := load(ctx, connections, pace, ask)
			if err != nil {
				return s.stop(err)
			}
			_, most, err := load(ctx, connections, 0, ask)
			if err != nil {
				return s.stop(err)
			}
			took[i], rate[i] = sort(paced), most
		}
		p50, p99 := took[1].at(0.5)-took[0].at(0.5), took[1].at(0.99)-took[0].at(0.99)
		b.add("model router, bodies of "+shape.name+": added latency, p50 / p99", "0.25 ms / 1 ms",
			fmt.Sprintf("%.2f ms / %.2f ms, beside %.2f ms / %.2f ms of the bare proxy itself", ms(p50), ms(p99), ms(took[0].at(0.5)), ms(took[0].at(0.99))),
			yes(p50 <= 250*time.Microsecond && p99 <= time.Millisecond))
		b.add("the same: requests a second", "0.8 of the bare proxy's", fmt.Sprintf("%.0f/s, beside %.0f/s: %.2f", rate[1], rate[0], rate[1]/rate[0]), yes(rate[1] >= 0.8*rate[0]))
	}
	b.note("Model router: with tokens, routing, accounts on the disk and metrics, against httputil.ReverseProxy in a process of its own, before the same provider on loopback, %d connections, %v for each figure. "+
		"Latency at %d requests a second in all; requests a second with each connection asking as soon as it has its answer.", connections, routerTime, pace)
	return s.stop(nil)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// agentBody is a request as an agent's: instructions, tools, and a long conversation.
func agentBody(size int, stream bool) []byte {
	head := fmt.Sprintf(`{"model":"claude-sonnet-5-5","max_tokens":1024,"stream":%v,"system":[{"type":"text","text":"You are an agent."}],`+
		`"tools":[{"name":"read","description":"Reads a file.","input_schema":{"type":"object","properties":{"path":{"type":"string"}}}}],"messages":[{"role":"user","content":"Look."}`, stream)
	var body strings.Builder
	body.WriteString(head)
	for i := 0; body.Len() < size-400; i++ {
		fmt.Fprintf(&body, `,{"role":"assistant","content":[{"type":"tool_use","id":"toolu_%d","name":"read","input":{"path":"a.go"}}]}`, i)
		text := strings.Repeat(`func f() { return \"a\" }\n`, max(1, min(40, (size-body.Len()-200)/26)))
		fmt.Fprintf(&body, `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_%d","content":"%s"}]}`, i, text)
	}
	body.WriteString("]}")
	return []byte(body.String())
}

// load asks from many connections for a while, at so many requests a second in
// all, or as fast as answers come. It returns how long each took, and how many
// came a second.
func load(ctx context.Context, connections, each int, ask func(ctx context.Context, client *http.Client, i int) error) ([]time.Duration, float64, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	measured := time.Now().Add(500 * time.Millisecond) // before that, connections are made
	// What is under way then gets its answer.
	asking, enough := context.WithDeadline(ctx, measured.Add(routerTime))
	defer enough()
	var mu sync.Mutex
	var all []time.Duration
	var failure atomic.Pointer[error]
	var workers sync.WaitGroup
	for i := range connections {
		workers.Go(func() {
			var next <-chan time.Time
			if each > 0 {
				_ = wait(asking, time.Duration(i)*time.Second/time.Duration(each)) // the loop sees the end
				ticker := time.NewTicker(time.Second * time.Duration(connections) / time.Duration(each))
				defer ticker.Stop()
				next = ticker.C
			}
			var own []time.Duration
			for asking.Err() == nil {
				if next != nil {
					select {
					case <-next:
					case <-asking.Done():
						continue
					}
				}
				began := time.Now()
				if err := ask(ctx, client, i); err != nil {
					failure.Store(&err)
					enough()
					break
				}
				if began.After(measured) {
					own = append(own, time.Since(began))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	workers.Wait()
	if failed := failure.Load(); failed != nil {
		return nil, 0, *failed
	}
	if len(all) == 0 {
		return nil, 0, errors.New("no answer came")
	}
	return all, float64(len(all)) / routerTime.Seconds(), nil
}

func request(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/messages?beta=true", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("X-Api-Key", "own-key")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n < 500) {
		err = fmt.Errorf("%s answers %s with %d bytes", req.URL.Host, resp.Status, n)
	}
	return err
}

// role is a process of this program that plays a part.
type role struct {
	url string
	cmd *exec.Cmd
}

func (b *bench) role(ctx context.Context, name, upstream string) (*role, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &role{cmd: exec.CommandContext(ctx, self, "-role", name, "-upstream", upstream)}
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		r.end()
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	r.url = strings.TrimSpace(line)
	return r, nil
}

func (r *role) end() {
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()         // that it was killed is no news
}

// play serves a part until the process is killed.
func play(name, upstream string) error {
	var handler http.Handler = http.HandlerFunc(mockProvider)
	if name == "proxy" {
		u, err := url.Parse(upstream)
		if err != nil {
			return err
		}
		bare := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(u) }, FlushInterval: -1,
			Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Else an answer that begins before the body's end was read breaks off.
			_ = http.NewResponseController(w).EnableFullDuplex()
			bare.ServeHTTP(w, r)
		})
	}
	address := "127.0.0.1:0"
	if name == "agent" {
		handler, address = newAgent(), cmp.Or(upstream, address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	return (&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

// mockProvider answers at once, with usage: whole, or in twenty pieces.
func mockProvider(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	word := strings.Repeat("word ", 8)
	const usage = `"usage":{"input_tokens":900,"output_tokens":120,"cache_read_input_tokens":30,"cache_creation_input_tokens":0}`
	if !bytes.Contains(body[:min(200, len(body))], []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5-5","content":[{"type":"text","text":%q}],"stop_reason":"end_turn",%s}`, strings.Repeat(word, 20), usage)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	send := func(kind, data string) {
		fmt.Fprintf(w, "event: %s\ndata: {\"type\":%q,%s}\n\n", kind, kind, data)
		_ = out.Flush() // a client that has gone shows in its own figures
	}
	send("message_start", `"message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5-5","content":[],`+usage+`}`)
	send("content_block_start", `"index":0,"content_block":{"type":"text","text":""}`)
	for range 20 {
		send("content_block_delta", fmt.Sprintf(`"index":0,"delta":{"type":"text_delta","text":%q}`, word))
	}
	send("content_block_stop", `"index":0`)
	send("message_delta", `"delta":{"stop_reason":"end_turn"},`+usage)
	send("message_stop", `"index":0`)
}
