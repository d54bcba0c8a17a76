package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"conclave/internal/bus"

	"pgregory.net/rapid"
)

// Whatever is told in notifications of Postgres's size is told whole, or everybody looks.
func TestPayloads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3000).Draw(t, "notes")
		kinds := rapid.IntRange(1, 3000).Draw(t, "subjects")
		size := rapid.IntRange(0, 300).Draw(t, "length of an id")
		var notes []bus.Note
		want := map[string]bool{}
		for i := range n {
			id := fmt.Sprintf("task-%0*d", size, i%kinds)
			want[id] = true
			notes = append(notes, bus.Note{Tenant: "default", Seq: int64(i), About: []string{id}})
		}
		list, err := payloads(notes)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > maxPayloads {
			t.Fatalf("%d notifications", len(list))
		}
		for _, payload := range list {
			if len(payload) >= 8000 {
				t.Fatalf("a notification has %d bytes", len(payload))
			}
			var told []bus.Note
			if err := json.Unmarshal([]byte(payload), &told); err != nil {
				t.Fatal(err)
			}
			for _, note := range told {
				if len(note.About) == 0 && note.Seq == 0 {
					if len(want) < 20 && size < 200 {
						t.Fatal("everybody looks for so little")
					}
					return
				}
				for _, id := range note.About {
					delete(want, id)
				}
			}
		}
		if len(want) > 0 {
			t.Fatalf("%d subjects are not told", len(want))
		}
	})
	for _, all := range [][]bus.Note{{{}}, {{Seq: 1, About: []string{"a"}}, {}}} {
		list, err := payloads(all)
		if err != nil || !slices.Equal(list, []string{"[{}]"}) {
			t.Errorf("%v is told as %v, %v", all, list, err)
		}
	}
}
