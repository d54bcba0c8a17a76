//go:build !unix

package evidence

// tryLock never locks here; each tree gets a fresh directory.
func tryLock(string) (unlock func(), locked bool) { return nil, false }
