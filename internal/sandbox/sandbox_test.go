package sandbox

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// open returns a sandbox that can run commands.
func open(t testing.TB, choice string) *Sandbox {
	t.Helper()
	s, err := New(Options{Switch: choice})
	if err != nil {
		t.Fatal(err)
	}
	if s.refusal != nil {
		t.Skip(s.refusal)
	}
	return s
}

func TestRunReturnsExitCodeAndStreams(t *testing.T) {
	for _, choice := range []string{"", "landlock", "none"} {
		s := open(t, choice)
		r, err := s.Run(t.Context(), Command{Args: []string{"sh", "-c", "cat; echo err >&2; exit 7"}, Stdin: strings.NewReader("in\n")})
		if err != nil {
			t.Fatal(err)
		}
		if r.ExitCode != 7 || string(r.Stdout) != "in\n" || string(r.Stderr) != "err\n" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", s.mechanism, r.ExitCode, r.Stdout, r.Stderr)
		}
	}
}
