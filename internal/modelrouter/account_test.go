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
	if resp, text := post(t, f.url+"/v1/messages", `{"model":"m","messages":[]}`, "x-api-key", token); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if n, all := f.ledger.pending(), f.ledger.all(); n != 0 || len(all) != 0 {
		t.Errorf("a provider that was not reached: %d calls under way, recorded %+v", n, all)
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
