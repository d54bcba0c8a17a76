package sandbox

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestOutputKeepsHeadAndTail(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for limit := 1; limit <= 20; limit++ {
		for total := range 60 {
			var all string
			o := &output{limit: limit}
			for len(all) < total {
				part := strings.Repeat(string(rune('a'+random.IntN(26))), 1+random.IntN(9))
				if n, err := o.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
				all += part
			}
			want, wantCut := all, 0
			if len(all) > limit {
				wantCut = len(all) - limit
				want = all[:(limit+1)/2] + fmt.Sprintf("\n… %d bytes cut …\n", wantCut) + all[len(all)-limit/2:]
			}
			if got, cut := o.bytes(); string(got) != want || cut != int64(wantCut) {
				t.Fatalf("limit %d: %q became %q with %d cut, want %q", limit, all, got, cut, want)
			}
		}
	}
}
