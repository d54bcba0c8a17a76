package store

import (
	"testing"

	"pgregory.net/rapid"

	"conclave/internal/identity"
)

// What is hashed of an event is what the library for canonical JSON makes of it.
func TestEventIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching("[\x00-\x30\"\\\\\x7f\u2028\U0001F600]*"))
		s := func(name string) string { return text.Draw(t, name) }
		e := sealedEvent{seq: rapid.Int64Range(0, 1<<53-1).Draw(t, "seq"), at: rapid.Int64Range(0, 1<<53-1).Draw(t, "at"),
			tenant: s("tenant"), kind: s("kind"), actor: s("actor"), run: s("run"), step: s("step"), conversation: s("conversation"),
			subject: s("subject"), text: s("text"), data: s("data")}
		want, err := identity.Canonical(map[string]any{"seq": e.seq, "at": e.at, "tenant": e.tenant, "kind": e.kind, "actor": e.actor, "run": e.run,
			"step": e.step, "conversation": e.conversation, "subject": e.subject, "text": e.text, "data": e.data})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.appendCanonical(nil); string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
