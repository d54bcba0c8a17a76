package conclave_test

import (
	"testing"

	"conclave"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"status", "limit", "before", "idempotency_key"}
	const all = "known are status, limit, before, idempotency_key"
	for word, want := range map[string]string{
		"stauts": `did you mean "status"?`, "Limit": `did you mean "limit"?`, "befor": `did you mean "before"?`, "idempotencykey": `did you mean "idempotency_key"?`,
		"zz": all, "": all, "limits": `did you mean "limit"?`,
	} {
		if got := conclave.DidYouMean(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := conclave.DidYouMean("x", nil); got != "none is known here" {
		t.Errorf("of nothing: %q", got)
	}
}
