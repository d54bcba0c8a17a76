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
		return below(dx, y)
	case deepY:
		return below(dy, x)
	}
	xs, ys := strings.Split(x, "/"), strings.Split(y, "/")
	return len(xs) == len(ys) && meetAll(xs, ys)
}

// below reports whether a pattern can name something under a folder.
func below(dir, pattern string) bool {
	above, inside := path.Split(dir) // inside is empty unless dir is no folder: "a/b" of "a/b**"
	folders, names := strings.Split(above, "/"), strings.Split(pattern, "/")
	n := len(folders) - 1
	if len(names) <= n || !meetAll(folders[:n], names[:n]) {
		return false
	}
	return meet(inside+"*", names[n])
}

func meetAll(xs, ys []string) bool {
	for i := range xs {
		if !meet(xs[i], ys[i]) {
			return false
		}
	}
	return true
}

// meet reports whether two patterns of one name can match the same name. Two
// with wildcards may meet in a name that neither spells: they do unless what
// they begin or end with differs.
func meet(x, y string) bool {
	const wild, ends = `*?[\`, `*?]\`
	if !strings.ContainsAny(x, wild) {
		match, err := path.Match(y, x)
		return err == nil && match
	}
	if !strings.ContainsAny(y, wild) {
		match, err := path.Match(x, y)
		return err == nil && match
	}
	bx, by := x[:strings.IndexAny(x, wild)], y[:strings.IndexAny(y, wild)]
	ex, ey := x[strings.LastIndexAny(x, ends)+1:], y[strings.LastIndexAny(y, ends)+1:]
	return (strings.HasPrefix(bx, by) || strings.HasPrefix(by, bx)) && (strings.HasSuffix(ex, ey) || strings.HasSuffix(ey, ex))
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
