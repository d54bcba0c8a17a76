package conclave

import (
	"path"
	"strings"
)

// WritesOverlap reports whether two write sets can name the same path, with a pattern
// of each that does. A pattern is a path, a path with * and ? as path.Match has
// them, or a folder followed by /** for everything below it. An empty set writes
// nothing.
func WritesOverlap(a, b []string) (string, string, bool) {
	for _, x := range a {
		for _, y := range b {
			if overlaps(x, y) {
				return x, y, true
			}
		}
	}
	return "", "", false
}

func overlaps(x, y string) bool {
	dx, deepX := strings.CutSuffix(x, "**")
	dy, deepY := strings.CutSuffix(y, "**")
	switch {
	case deepX && deepY:
		return strings.HasPrefix(dx, dy) || strings.HasPrefix(dy, dx)
	case deepX:
		return strings.HasPrefix(y, dx)
	case deepY:
		return strings.HasPrefix(x, dy)
	}
	if path.Dir(x) != path.Dir(y) {
		return false
	}
	if match, err := path.Match(x, y); err == nil && match {
		return true
	}
	match, err := path.Match(y, x)
	// Two patterns with wildcards in one folder may meet in a name that neither
	// spells; then they are taken to overlap.
	return err == nil && match || strings.ContainsAny(x, "*?[") && strings.ContainsAny(y, "*?[") && path.Ext(x) == path.Ext(y)
}

// WritesAllow reports whether a write set covers a path. An empty set covers nothing,
// and "**" everything.
func WritesAllow(writes []string, name string) bool {
	for _, w := range writes {
		if dir, deep := strings.CutSuffix(w, "**"); deep && strings.HasPrefix(name, dir) {
			return true
		}
		if match, err := path.Match(w, name); err == nil && match {
			return true
		}
	}
	return false
}
