package a2awire

import (
	"github.com/a2aproject/a2a-go/v2/a2a"

	"conclave"
)

// TrustExtension is the URI of the extension by which a card tells what the
// agent's outcomes come to. Its params are score (0 to 1, or null where nothing
// was confirmed or refuted yet), confirmed and refuted.
const TrustExtension = "urn:conclave:a2a:trust:1"

// trustExtension shows a score on a card.
func trustExtension(s conclave.TrustScore) a2a.AgentExtension {
	var score any
	if s.Trust != nil {
		score = *s.Trust
	}
	return a2a.AgentExtension{URI: TrustExtension,
		Description: "What the hub measured of the agent's work: score is 0 to 1 from its confirmed and refuted outcomes, or null where there are none.",
		Params:      map[string]any{"score": score, "confirmed": s.Confirmed, "refuted": s.Refuted}}
}
