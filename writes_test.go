package conclave_test

import (
	"testing"

	"conclave"
)

func TestWritesAllow(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.go", "a.go", true},
		{"a.go", "b/a.go", false},
		{"*.go", "a.go", true},
		{"*.go", "b/a.go", false},
		{"b/*.go", "b/a.go", true},
		{"b/*.go", "b/c/a.go", false},
		{"*/a.go", "b/a.go", true},
		{"b/**", "b/a.go", true},
		{"b/**", "b/c/a.go", true},
		{"b/**", "b", false},
		{"b/**", "bc/a.go", false},
		{"**", ".github/x.yml", true},
	} {
		if got := conclave.WritesAllow([]string{"other", tt.pattern}, tt.name); got != tt.want {
			t.Errorf("%q covers %q: %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
	if conclave.WritesAllow(nil, "a.go") {
		t.Error("an empty write set covers something")
	}
}

func TestWritesOverlap(t *testing.T) {
	for _, tt := range []struct {
		x, y string
		want bool
	}{
		{"a.go", "a.go", true},
		{"a.go", "b.go", false},
		{"a.go", "x/a.go", false},
		{"*.go", "a.go", true},
		{"*.go", "*.md", false},
		{"a/*.go", "b/*.go", false},
		{"a/**", "b/**", false},
		{"a/**", "a/b/**", true},
		{"a/**", "ab/c.go", false},
		{"a/**", "a", false},
		{"a/**", "*.go", false},
		{"**", "anything/at/all", true},
		// Patterns that meet in a name that neither of them spells.
		{"a*", "*.go", true},
		{"x.*", "*.go", true},
		{"x_*.go", "*_test.go", true},
		{"x_*.go", "y_*.go", false},
		{"*/a.go", "b/a.go", true},
		{"*/a.go", "b/*", true},
		{"*/a.go", "b/**", true},
		{"*/a.go", "b/c/**", false},
	} {
		for _, p := range [][2]string{{tt.x, tt.y}, {tt.y, tt.x}} {
			if _, _, got := conclave.WritesOverlap([]string{p[0]}, []string{p[1]}); got != tt.want {
				t.Errorf("%q and %q overlap: %v, want %v", p[0], p[1], got, tt.want)
			}
		}
	}
	if _, _, got := conclave.WritesOverlap(nil, []string{"**"}); got {
		t.Error("an empty write set overlaps with something")
	}
}

// Whatever two write sets both allow, they overlap in.
func TestWritesOverlapIsSound(t *testing.T) {
	patterns := []string{"**", "a/**", "a/b/**", "b/**", "a", "a.go", "*", "*.go", "a*", "?.go", "[ab].go", "a/*", "a/*.go", "a/a.go", "*/a.go", "*/*", "*/b/*", "a/b/c.go", `\a.go`, `*\.go`}
	names := []string{"a", "a.go", "b.go", "ab", "a/a.go", "b/a.go", "a/b.go", "a/b/c.go", "b/b/c.go", "a/b", "x.md"}
	for _, x := range patterns {
		for _, y := range patterns {
			if _, _, overlap := conclave.WritesOverlap([]string{x}, []string{y}); overlap {
				continue
			}
			for _, name := range names {
				if conclave.WritesAllow([]string{x}, name) && conclave.WritesAllow([]string{y}, name) {
					t.Errorf("%q and %q both cover %q and do not overlap", x, y, name)
				}
			}
		}
	}
}
