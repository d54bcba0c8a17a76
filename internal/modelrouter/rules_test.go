package modelrouter

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"conclave"
)

func TestRulesAreStrict(t *testing.T) {
	for text, says := range map[string]string{
		"teirs: {}":                            `unknown key "teirs"; did you mean "tiers"?`,
		"prices: {m: {imput: 1}}":              `unknown key "imput"; did you mean "input"?`,
		"tiers: {stronk: {anthropic: m}}":      `unknown "stronk"; did you mean "strong"?`,
		"tiers: {strong: {antropic: m}}":       `unknown "antropic"; did you mean "anthropic"?`,
		"tiers: {strong: {openai: small}}":     "want a model's name",
		"kinds: {build: midle}":                `did you mean "middle"?`,
		"roles: {qa: larger}":                  "roles.qa",
		"lengths: {small: 5, middle: 4}":       "lengths",
		"prices: {m: {input: -1}}":             "negative",
		"prices: {m: {long: {input: -1}}}":     "negative",
		"lengths: {small: many}":               "many",
		"kinds: {build: small}\nkinds: {a: b}": "already defined",
	} {
		_, err := ParseRules([]byte(text))
		if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "modelrouter.") {
			t.Errorf("%q: the error names a Go type: %v", text, err)
		}
	}
}

func TestShippedRules(t *testing.T) {
	r, err := ParseRules(DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range tierNames() {
		for _, wire := range []string{WireAnthropic, WireOpenAI} {
			if r.Tiers[tier][wire] == "" {
				t.Errorf("no %s model on the %s wire", tier, wire)
			}
		}
	}
	for _, kind := range []conclave.AssignmentKind{conclave.AssignDraft, conclave.AssignComment, conclave.AssignRevise, conclave.AssignOptions,
		conclave.AssignVote, conclave.AssignBuild, conclave.AssignReview, conclave.AssignRefute, conclave.AssignAsk} {
		if r.Kinds[kind] == "" {
			t.Errorf("no tier for %s", kind)
		}
	}
}

func TestCost(t *testing.T) {
	r, err := ParseRules(DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		model string
		usage usage
		want  float64 // negative: not known
	}{
		{"claude-opus-5-5", usage{measured: true, input: 1e6, output: 1e6}, 24},
		{"claude-haiku-4-5-20251001", usage{measured: true, input: 1e6}, 1},
		{"o3-2025-04-16", usage{measured: true, output: 1e6}, 8},
		{"claude-sonnet-5-5", usage{measured: true, cacheRead: 1e6, cacheWrite: 3e6, cacheWrite1h: 1e6}, 0.1 + 2*2.5 + 4},
		{"claude-haiku-5-5", usage{measured: true, input: 100_000, output: 1e6}, 0.01 + 0.5},
		{"claude-haiku-5-5", usage{measured: true, input: 90_000, cacheRead: 10_001, output: 1e6}, 0.045 + 0.00050005 + 2.5},
		{"claude-opus-5-5", usage{measured: true, special: true, input: 1}, -1},
		{"claude-opus-5-5", usage{}, -1},
		{"claude-opus-5-5-turbo", usage{measured: true, input: 1}, -1},
	} {
		got := r.cost(tt.model, tt.usage)
		if (got == nil) != (tt.want < 0) || got != nil && math.Abs(*got-tt.want) > 1e-9 {
			t.Errorf("%s %+v: %v, want %v", tt.model, tt.usage, fmt.Sprint(got), tt.want)
		}
	}
}

func TestMeterReadsBothWires(t *testing.T) {
	var a usage
	a.read(WireAnthropic, []byte(`{"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1,"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_1h_input_tokens":4}}}}`))
	a.read(WireAnthropic, []byte(`{"type":"message_delta","usage":{"output_tokens":70,"cache_read_input_tokens":3}}`))
	if want := (usage{measured: true, input: 5, output: 70, cacheRead: 3, cacheWrite: 9, cacheWrite1h: 4}); a != want {
		t.Errorf("%+v, want %+v", a, want)
	}
	a.read(WireAnthropic, []byte(`{"usage":{"speed":"fast"}}`))
	if !a.special {
		t.Error("fast mode has another price")
	}
	var o usage
	o.read(WireOpenAI, []byte(`{"choices":[],"usage":null}`))
	if o.measured {
		t.Error("no usage was sent")
	}
	o.read(WireOpenAI, []byte(`{"service_tier":"flex","usage":{"prompt_tokens":50,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":20}}}`))
	if want := (usage{measured: true, special: true, input: 30, output: 7, cacheRead: 20}); o != want {
		t.Errorf("%+v, want %+v", o, want)
	}
}

func TestRoute(t *testing.T) {
	anthropic := Upstream{Name: "anthropic", Wire: WireAnthropic, URL: "https://api.anthropic.com"}
	local := Upstream{Name: "openai", Wire: WireOpenAI, URL: "http://127.0.0.1:11434/v1", Open: true, Model: "qwen"}
	with := func(u Upstream, change func(*Upstream)) Upstream { change(&u); return u }
	for name, tt := range map[string]struct {
		upstreams []Upstream
		query     conclave.RouteQuery
		want      conclave.Route
	}{
		"planning":     {[]Upstream{anthropicUp("http://a"), local}, conclave.RouteQuery{Kind: conclave.AssignDraft}, conclave.Route{Tier: "strong", Model: "claude-opus-5-5", Wire: "anthropic"}},
		"building":     {[]Upstream{anthropicUp("http://a")}, conclave.RouteQuery{Kind: conclave.AssignBuild, Task: "x"}, conclave.Route{Tier: "middle", Model: "claude-sonnet-5-5", Wire: "anthropic"}},
		"short task":   {[]Upstream{openaiUp("http://o")}, conclave.RouteQuery{Task: "Fix the typo"}, conclave.Route{Tier: "small", Model: "gpt-6-luna", Wire: "openai"}},
		"no key":       {[]Upstream{anthropic, local}, conclave.RouteQuery{Kind: conclave.AssignDraft}, conclave.Route{Tier: "strong", Model: "qwen", Wire: "openai"}},
		"nothing":      {nil, conclave.RouteQuery{}, conclave.Route{}},
		"no keys":      {[]Upstream{anthropic}, conclave.RouteQuery{}, conclave.Route{}},
		"no own model": {[]Upstream{with(local, func(u *Upstream) { u.Model = "" })}, conclave.RouteQuery{}, conclave.Route{}},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil, tt.upstreams...)
			got, err := f.router.Route(t.Context(), tt.query)
			if tt.want.Model == "" {
				if !errors.Is(err, conclave.ErrUnavailable) {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if err != nil || got.Reason == "" {
				t.Fatalf("%+v, %v", got, err)
			}
			got.Reason = ""
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestUpstreamsFromEnv(t *testing.T) {
	env := map[string]string{"ANTHROPIC_API_KEY": provider, "OPENAI_BASE_URL": "http://user:pass@127.0.0.1:11434/proxy/v1/", "CONCLAVE_MODEL": "qwen"}
	ups, err := UpstreamsFromEnv(func(k string) string { return env[k] })
	if err != nil || len(ups) != 2 || ups[1].URL != "http://user:pass@127.0.0.1:11434/proxy" || ups[1].Model != "qwen" || ups[0].Key != provider {
		t.Fatalf("%+v, %v", ups, err)
	}
	f := start(t, nil, ups...)
	shown, err := f.router.Upstreams(t.Context(), conclave.None{})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", shown); strings.Contains(text, provider) || strings.Contains(text, "pass") || strings.Contains(text, "proxy") {
		t.Errorf("a secret shows in %s", text)
	}
	if u := shown[1]; u.Problem != "" || len(u.Models) != 1 || u.Models[0] != "qwen" || u.Keyed {
		t.Errorf("%+v", u)
	}
	none, err := UpstreamsFromEnv(func(string) string { return "" })
	if err != nil || len(none) != 1 || none[0].serves(false) || !none[0].serves(true) {
		t.Errorf("%+v, %v", none, err)
	}
	if _, err := UpstreamsFromEnv(func(k string) string { return map[string]string{"ANTHROPIC_BASE_URL": "localhost:8001/" + token}[k] }); !errors.Is(err, conclave.ErrInvalid) || strings.Contains(err.Error(), token) {
		t.Errorf("%v", err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	var s sessions
	now := time.Now()
	for i := range 3 * maxSessions {
		s.keep(fmt.Sprint(i), TierSmall, now)
	}
	if len(s.all) > maxSessions {
		t.Errorf("%d sessions are kept", len(s.all))
	}
}
