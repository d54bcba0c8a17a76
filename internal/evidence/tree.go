package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"conclave"
)

// Bounds on what is read of a tree.
const (
	maxFiles     = 50_000
	maxFileBytes = 1 << 20 // of a file that is read as text
	maxCopyBytes = 2 << 30
)

// A listing is the regular files of a tree, as slash paths, without those of
// version control and of fetched dependencies.
type listing struct {
	files []string
	cut   bool // there are more than maxFiles
}

// list walks a tree. Symbolic links are neither followed nor listed.
func list(dir string) (listing, error) {
	var l listing
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", "node_modules", "vendor", ".venv", "__pycache__":
				if name != dir {
					return fs.SkipDir
				}
			}
			return nil
		}
		if !d.Type().IsRegular() || d.Name() == ".git" {
			return nil
		}
		if len(l.files) == maxFiles {
			l.cut = true
			return fs.SkipAll
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		l.files = append(l.files, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		return l, fmt.Errorf("listing %s: %w", dir, err)
	}
	return l, nil
}

// has reports whether the tree has a file of that path.
func (l listing) has(name string) bool { return slices.Contains(l.files, name) }

// any reports whether a file matches.
func (l listing) any(match func(string) bool) bool { return slices.ContainsFunc(l.files, match) }

// A module is a Go module of the tree.
type module struct {
	dir  string // slash path in the tree; "." is its root
	path string // its import path; empty when go.mod can't be read
}

// modules returns the Go modules of the tree, the outermost first, without
// those that the go command ignores.
func (l listing) modules(root string) []module {
	var found []module
	for _, f := range l.files {
		if path.Base(f) != "go.mod" || ignoredByGo(f) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f)))
		if err != nil {
			continue
		}
		found = append(found, module{dir: path.Dir(f), path: modfile.ModulePath(data)})
	}
	slices.SortFunc(found, func(a, b module) int {
		return strings.Count(a.dir+"/", "/") - strings.Count(b.dir+"/", "/")
	})
	return found
}

// owns reports whether a file belongs to the module and to none below it.
func (m module) owns(file string, all []module) bool {
	if !m.contains(file) {
		return false
	}
	for _, other := range all {
		if other.dir != m.dir && m.contains(other.dir+"/go.mod") && other.contains(file) {
			return false
		}
	}
	return true
}

func (m module) contains(file string) bool {
	return m.dir == "." || strings.HasPrefix(file, m.dir+"/")
}

// ignoredByGo reports whether the go command leaves a file out of "./...".
func ignoredByGo(file string) bool {
	for dir := range strings.SplitSeq(path.Dir(file), "/") {
		if dir == "testdata" || strings.HasPrefix(dir, "_") || strings.HasPrefix(dir, ".") && dir != "." {
			return true
		}
	}
	return false
}

// readText reads a file that is text and not too large; otherwise it returns nil.
func readText(root, file string) []byte {
	f, err := os.OpenInRoot(root, filepath.FromSlash(file))
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil || len(data) > maxFileBytes || bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 {
		return nil
	}
	return data
}

// copyTree copies the tree into dir, which must be empty, without .git, and
// returns the hash of what it copied: of names, contents, links and executable
// bits, as git counts them. It fails with ErrLimited when the tree is too large.
func copyTree(from, to string) (contents string, err error) {
	var copied int64
	sum := sha256.New()
	err = filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("copying the tree: %w", err)
		}
		if d.Name() == ".git" && name != from {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			if name == from {
				return nil
			}
			return os.Mkdir(target, 0o750)
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "link %q %q\n", rel, link)
			return os.Symlink(link, target)
		case d.Type().IsRegular():
			file := sha256.New()
			n, mode, err := copyFile(name, target, file)
			fmt.Fprintf(sum, "file %q %t %x\n", rel, mode&0o100 != 0, file.Sum(nil))
			if copied += n; err == nil && copied > maxCopyBytes {
				return conclave.Errorf(conclave.ErrLimited, "the tree is larger than %d bytes", int64(maxCopyBytes))
			}
			return err
		}
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// copyFile copies a regular file with its permissions, and shows what it reads
// to a witness.
func copyFile(from, to string, witness io.Writer) (n int64, mode fs.FileMode, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, 0, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o600)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	n, err = io.Copy(out, io.TeeReader(in, witness))
	return n, info.Mode(), err
}
