package modelrouter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/llm"
	"conclave/internal/llmtest"
)

// A provider that does not tell its tokens does not make a budget endless: such
// a call counts by its bytes.
func TestBudgetOfCallsWithoutTokens(t *testing.T) {
	const answer = `{"id":"1","content":[{"type":"text","text":"x"}]}`
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
	defer up.Close()
	f := start(t, nil, anthropicUp(up.URL))
	body := fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%q}]}`, strings.Repeat("a", 600))
	each := (len(body) + len(answer)) / bytesPerToken
	ask := func() int {
		resp, _ := post(t, f.url+"/v1/messages", body, "x-api-key", token, llm.HeaderRun, "run-1", llm.HeaderBudget, fmt.Sprint(each+10))
		return resp.StatusCode
	}
	for i, want := range []int{200, 200, 429, 429} {
		if got := ask(); got != want {
			t.Errorf("call %d: %d, want %d", i, got, want)
		}
	}
	for _, c := range f.ledger.all() {
		if c.InputTokens != nil || c.CostUSD != nil || c.Assumed < int64(each)-1 || c.Assumed > int64(each) {
			t.Errorf("recorded %+v; its tokens are not known and count as %d", c, each)
		}
	}
}

// What a provider was asked is in the accounts before it answers, and stays there
// when the caller goes away; what never reached it is not.
func TestCallsCountFromTheirBegin(t *testing.T) {
	hold := make(chan struct{})
	begun := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client goes
		close(begun)
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}))
	defer up.Close()
	defer close(hold)
	recorded := make(chan conclave.ModelCall, 1)
	f := start(t, func(o *Options) { o.Store = tell{o.Store.(*ledger), recorded} }, anthropicUp(up.URL))
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/messages", strings.NewReader(`{"model":"m","messages":[]}`))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("x-api-key", token)
		req.Header.Set(llm.HeaderRun, "run-1")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-begun
	if n := f.ledger.pending(); n != 1 {
		t.Errorf("%d calls are under way, want 1", n)
	}
	leave()
	<-left
	if c := <-recorded; c.Status != 0 || c.InputTokens != nil || c.CostUSD != nil {
		t.Errorf("a call without an answer is recorded as %+v", c)
	}

	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	f = start(t, nil, anthropicUp(gone.URL))
	if resp, text := post(t, f.url+"/v1/messages", `{"model":"m","messages":[]}`, "x-api-key", token, llm.HeaderRun, "run-1"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if n, all := f.ledger.pending(), f.ledger.all(); n != 0 || len(all) != 0 {
		t.Errorf("a provider that was not reached: %d calls under way, recorded %+v", n, all)
	}
}

// A caller that leaves in the middle of an answer is billed for it. What the
// provider says of it shortly after is in the accounts.
func TestAnswerOfOneWhoLeft(t *testing.T) {
	left := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client goes
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":70,\"output_tokens\":1}}}\n\n")
		w.(http.Flusher).Flush()
		<-left
		fmt.Fprint(w, "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":9}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
	}))
	defer up.Close()
	recorded := make(chan conclave.ModelCall, 1)
	f := start(t, func(o *Options) { o.Store, o.Linger = tell{o.Store.(*ledger), recorded}, time.Minute }, anthropicUp(up.URL))
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/messages", strings.NewReader(`{"model":"m","messages":[],"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-api-key", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	resp.Body.Close()
	close(left)
	if c := <-recorded; c.InputTokens == nil || *c.InputTokens != 70 || *c.OutputTokens != 9 {
		t.Errorf("recorded %+v, want 70 tokens in and 9 out", c)
	}
}

// A run that has ended makes no more calls.
func TestClosedAccount(t *testing.T) {
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	f := start(t, nil, anthropicUp(up.URL))
	if _, err := f.router.Close(t.Context(), conclave.CloseAccount{}); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("closing the account of no run: %v", err)
	}
	if _, err := f.router.Close(t.Context(), conclave.CloseAccount{Run: "run-1"}); err != nil {
		t.Fatal(err)
	}
	ask := func(run string) (int, string) {
		resp, text := post(t, f.url+"/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}]}`, "x-api-key", token, llm.HeaderRun, run)
		return resp.StatusCode, text
	}
	if status, text := ask("run-1"); status != http.StatusForbidden || !strings.Contains(text, "run-1 has ended") {
		t.Errorf("a call of a run that has ended: %d %s", status, text)
	}
	if status, text := ask("run-2"); status != http.StatusOK {
		t.Errorf("a call of another run: %d %s", status, text)
	}
	if n := len(up.Calls()); n != 1 {
		t.Errorf("the provider got %d calls, want 1", n)
	}
}

// A provider that is configured and does not answer is called that, and nobody
// is told to configure one.
func TestRouteSaysWhatIsTrue(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	f := start(t, nil, anthropicUp(gone.URL))
	post(t, f.url+"/v1/messages", `{"model":"m","messages":[]}`, "x-api-key", token)
	_, err := f.router.Route(t.Context(), conclave.RouteQuery{})
	if !errors.Is(err, conclave.ErrUnavailable) || strings.Contains(err.Error(), "ANTHROPIC_API_KEY") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the provider does not answer: %v", err)
	}
	_, err = start(t, nil).router.Route(t.Context(), conclave.RouteQuery{})
	if !errors.Is(err, conclave.ErrUnavailable) || !strings.Contains(err.Error(), "set ANTHROPIC_API_KEY") {
		t.Errorf("nothing is configured: %v", err)
	}
	up := llmtest.New(t, llmtest.Sequence(llmtest.Say("x")))
	if r, err := start(t, nil, anthropicUp(gone.URL), anthropicUp(up.URL)).router.Route(t.Context(), conclave.RouteQuery{}); err != nil || r.Model == "" {
		t.Errorf("one answers: %+v, %v", r, err)
	}
}
