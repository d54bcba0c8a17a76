package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"conclave"
)

// A mount shows a directory or file of the machine inside the sandbox.
type mount struct {
	Source, Target string
	Write          bool
}

// A link is a symbolic link to make inside the sandbox.
type link struct{ Text, Path string }

// A view is the files that a command sees, besides /proc, /dev and /tmp.
type view struct {
	Mounts []mount // parents before children
	Links  []link
}

// systemDirs hold programs and libraries. What is missing is left out, and a
// symbolic link (/bin → usr/bin) stays one.
var systemDirs = [...]string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"}

// systemFiles are the parts of /etc that programs need to start, and that hold
// no secrets.
var systemFiles = [...]string{
	"alternatives", "ca-certificates", "ca-certificates.conf", "group", "host.conf", "hosts", "java", "ld.so.cache",
	"ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "passwd", "pki/ca-trust", "pki/tls/certs",
	"protocols", "python3", "services", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone",
}

// newView lists what c may see. It fails with ErrInvalid when a writable
// directory is reached through a link that a command could have made.
func newView(c Command) (view, error) {
	var v view
	for _, dir := range systemDirs {
		info, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		if text, err := os.Readlink(dir); err == nil && info.Mode()&os.ModeSymlink != 0 {
			v.Links = append(v.Links, link{Text: text, Path: dir})
			continue
		}
		v.Mounts = append(v.Mounts, mount{Source: dir, Target: dir})
	}
	for _, name := range systemFiles {
		path := filepath.Join("/etc", name)
		if real, err := filepath.EvalSymlinks(path); err == nil {
			v.Mounts = append(v.Mounts, mount{Source: real, Target: path})
		}
	}
	for _, dir := range c.Read {
		if err := v.add(dir, false); err != nil {
			return v, err
		}
	}
	writable := slices.Clone(c.Write)
	if c.Dir != "" && c.ReadOnlyDir {
		if err := v.add(c.Dir, false); err != nil {
			return v, err
		}
	} else if c.Dir != "" {
		writable = append(writable, c.Dir)
	}
	for _, dir := range writable {
		if through := linkBelow(dir, writable); through != "" {
			return v, conclave.Errorf(conclave.ErrInvalid, "sandbox: writable directory %s goes through the symbolic link %s, which a command may have made", dir, through)
		}
		if err := v.add(dir, true); err != nil {
			return v, err
		}
	}
	// Git runs what a repository's configuration and hooks name, outside.
	for _, dir := range writable {
		git := filepath.Join(dir, ".git")
		if info, err := os.Lstat(git); err == nil && info.Mode()&os.ModeSymlink == 0 {
			v.Mounts = append(v.Mounts, mount{Source: git, Target: git})
		}
	}
	v.sort()
	return v, nil
}

// add shows dir under its own name, and under its real name if that differs.
func (v *view) add(dir string, write bool) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return conclave.Errorf(conclave.ErrNotFound, "sandbox: directory: %w", err)
	}
	v.Mounts = append(v.Mounts, mount{Source: real, Target: dir, Write: write})
	if real != dir {
		v.Mounts = append(v.Mounts, mount{Source: real, Target: real, Write: write})
	}
	return nil
}

// sort puts parents before children, and keeps one mount for each target: the
// writable one, if there is one.
func (v *view) sort() {
	slices.SortStableFunc(v.Mounts, func(a, b mount) int {
		if c := strings.Compare(a.Target, b.Target); c != 0 {
			return c
		}
		switch {
		case a.Write == b.Write:
			return 0
		case a.Write:
			return -1
		}
		return 1
	})
	v.Mounts = slices.CompactFunc(v.Mounts, func(a, b mount) bool { return a.Target == b.Target })
}

// linkBelow returns the first symbolic link in dir's path that lies below one
// of the writable directories, or "".
func linkBelow(dir string, writable []string) string {
	for path := dir; path != "/"; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			continue
		}
		for _, w := range writable {
			if strings.HasPrefix(path, w+"/") {
				return path
			}
		}
	}
	return ""
}
