package evidence

import (
	"strings"
	"testing"
)

// Where the name time means something else, a repair would not compile or, worse,
// would mean something else.
func TestServerRepairsMindTheNameTime(t *testing.T) {
	dir := write(t, `
-- go.mod --
module m

go 1.26
-- taken/p.go --
package taken

import "net/http"

var time = 1

func Serve() error { return http.ListenAndServe("localhost:0", nil) }

func Time() int { return time }
-- renamed/p.go --
package renamed

import (
	"net/http"
	clock "time"
)

func Serve(time int) (*http.Server, clock.Duration) {
	return &http.Server{}, clock.Duration(time)
}
-- two/p.go --
package two

import (
	"net"
	"net/http"
)

func One() error { return http.ListenAndServeTLS("localhost:0", "c", "k", nil) }

func Two(l net.Listener) error { return http.Serve(l, http.NotFoundHandler()) }
`)
	r, err := newMeter(t).Fix(t.Context(), dir, FixClasses{Findings: true})
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := leftRule(r, "G114"); !ok || l.Path != "taken/p.go" || len(r.Files) != 2 {
		t.Errorf("%+v", r)
	}
	if got := readString(t, dir+"/renamed/p.go"); !strings.Contains(got, "&http.Server{ReadHeaderTimeout: 10 * clock.Second}") {
		t.Error(got)
	}
	got := readString(t, dir+"/two/p.go")
	for _, want := range []string{
		`(&http.Server{Addr: "localhost:0", ReadHeaderTimeout: 10 * time.Second}).ListenAndServeTLS("c", "k")`,
		"(&http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: 10 * time.Second}).Serve(l)",
		"import (\n\t\"net\"\n\t\"net/http\"\n\t\"time\"\n)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}
