package hub_test

import (
	"context"
	"encoding/json"
	"testing"

	"conclave"
	"conclave/internal/hub"
)

// The card tells what was measured, and null where nothing was.
func TestTrustIsOnTheCard(t *testing.T) {
	measured := 0.75
	n := connect(t, hub.NewMemory(nil), func(o *hub.Options) {
		o.Trust = func(_ context.Context, tenant conclave.TenantID, name conclave.AgentName) (conclave.TrustScore, error) {
			if tenant == conclave.DefaultTenant && name == "dev-1" {
				return conclave.TrustScore{Agent: name, Trust: &measured, Confirmed: 4, Refuted: 2}, nil
			}
			return conclave.TrustScore{Agent: name}, nil
		}
	})
	n.agent("dev-1", "developer", echo)
	n.agent("qa-1", "qa", echo)
	url, _ := listen(t, n)
	for address, want := range map[string]string{
		"agents/dev-1":    `{"confirmed":4,"refuted":2,"score":0.75}`,
		"agents/qa-1":     `{"confirmed":0,"refuted":0,"score":null}`,
		"roles/developer": "",
	} {
		_, _, card := call(t, "GET", url+"/a2a/"+address+"/.well-known/agent-card.json", "", "", "", "")
		got := ""
		capabilities, _ := card["capabilities"].(map[string]any)
		extensions, _ := capabilities["extensions"].([]any)
		for _, e := range extensions {
			if e := e.(map[string]any); e["uri"] == "urn:conclave:a2a:trust:1" {
				params, err := json.Marshal(e["params"])
				if err != nil {
					t.Fatal(err)
				}
				got = string(params)
			}
		}
		if got != want {
			t.Errorf("the card of %s tells %s, want %s", address, got, want)
		}
	}
}
