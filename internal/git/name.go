package git

import (
	"path"
	"strings"

	"conclave"
)

// CheckRef checks the full name of a ref, such as refs/heads/main, by git's
// rules (git-check-ref-format). It fails with ErrInvalid.
func CheckRef(ref string) error {
	rest, ok := strings.CutPrefix(ref, "refs/")
	bad := !ok || strings.Contains(ref, "..") || strings.Contains(ref, "@{") || strings.HasSuffix(ref, ".")
	for _, part := range strings.Split(rest, "/") {
		bad = bad || part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")
	}
	for _, r := range ref {
		bad = bad || r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
	}
	if bad {
		return conclave.Errorf(conclave.ErrInvalid, "%q is not the full name of a ref, such as refs/heads/main", ref)
	}
	return nil
}

// checkRevision refuses what git could take for an option or for more than one
// revision.
func checkRevision(rev string) error {
	if rev == "" || strings.HasPrefix(rev, "-") || strings.HasPrefix(rev, "^") || strings.Contains(rev, "..") || strings.ContainsAny(rev, "\x00\n") {
		return conclave.Errorf(conclave.ErrInvalid, "%q does not name a commit", rev)
	}
	return nil
}

// checkHash checks for a full object name, SHA-1 or SHA-256.
func checkHash(hash string) error {
	if len(hash) != 40 && len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return conclave.Errorf(conclave.ErrInvalid, "%q is not a full object name", hash)
	}
	return nil
}

// checkPath checks for a path relative to the top of a repository.
func checkPath(name string) error {
	if name == "" || name == "." || path.Clean(name) != name || path.IsAbs(name) || name == ".." ||
		strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
		return conclave.Errorf(conclave.ErrInvalid, "%q is not a path in a repository", name)
	}
	return nil
}
