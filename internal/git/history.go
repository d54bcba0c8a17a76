package git

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"conclave"
)

// A Touch is a commit with what it did to each file.
type Touch struct {
	Commit
	Reverts string // the commit that its message says it takes back; empty for none
	Files   []FileTouch
}

// A FileTouch is how many lines a commit added to a file and took from it; both
// are 0 for a binary file.
type FileTouch struct {
	Path           string
	Added, Deleted int
}

var revertOf = regexp.MustCompile(`(?m)^This reverts commit ([0-9a-f]{7,64})`)

// History returns the newest commits that rev reaches with what they touched, n at
// most after the first skip ones, merges left out; with paths, those that touched
// them, and of those only the paths.
func (r *Repo) History(ctx context.Context, rev string, skip, n int, paths ...string) ([]Touch, error) {
	if empty, err := r.startless(ctx, rev); empty || err != nil {
		return nil, err
	}
	for _, p := range paths {
		if err := checkPath(p); err != nil {
			return nil, err
		}
	}
	commit, err := r.Resolve(ctx, rev)
	if err != nil {
		return nil, err
	}
	return r.touches(ctx, append([]string{"--max-count=" + strconv.Itoa(n), "--skip=" + strconv.Itoa(skip), commit, "--"}, paths...))
}

// Between returns the commits that to reaches and from does not, the newest first,
// merges left out.
func (r *Repo) Between(ctx context.Context, from, to string) ([]Touch, error) {
	a, b, err := r.resolvePair(ctx, from, to)
	if err != nil {
		return nil, err
	}
	return r.touches(ctx, []string{b, "^" + a, "--"})
}

func (r *Repo) touches(ctx context.Context, which []string) ([]Touch, error) {
	args := []string{"log", "-z", "--no-merges", "--no-renames", "--numstat", "--format=tformat:%x01%H%x00%s%x00%an%x00%ae%x00%at%x00%P%x00%b%x00"}
	out, err := r.git(ctx, append(args, which...)...)
	if err != nil {
		return nil, err
	}
	var all []Touch
	const width = 7
	for record := range strings.SplitSeq(string(out), "\x01") {
		f := strings.Split(record, "\x00")
		if len(f) <= width {
			continue // what stands before the first commit
		}
		seconds, err := strconv.ParseInt(f[4], 10, 64)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInternal, "git log: unknown time %q", f[4])
		}
		t := Touch{Commit: Commit{Hash: f[0], Subject: f[1], Author: f[2], Email: f[3], Time: time.Unix(seconds, 0).UTC(), Parents: strings.Fields(f[5])}}
		if m := revertOf.FindStringSubmatch(f[6]); m != nil {
			t.Reverts = m[1]
		}
		for _, line := range f[width:] {
			n := strings.SplitN(strings.TrimLeft(line, "\n"), "\t", 3)
			if len(n) != 3 {
				continue
			}
			file := FileTouch{Path: n[2]}
			if n[0] != "-" { // as git shows a binary file
				file.Added, err = strconv.Atoi(n[0])
				if err == nil {
					file.Deleted, err = strconv.Atoi(n[1])
				}
				if err != nil {
					return nil, conclave.Errorf(conclave.ErrInternal, "git log: unknown line %q", line)
				}
			}
			t.Files = append(t.Files, file)
		}
		all = append(all, t)
	}
	return all, nil
}

// maxExport bounds the bytes that are written of one tree.
const maxExport = 1 << 30

// Export writes the regular files of a commit or tree below dir, which must exist.
// It fails with ErrLimited when they are too large.
func (r *Repo) Export(ctx context.Context, rev, dir string) error {
	tree, err := r.TreeOf(ctx, rev)
	if err != nil {
		return err
	}
	out, err := r.git(ctx, "archive", "--format=tar", tree)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("exporting %s: %w", rev, err)
	}
	defer root.Close()
	var written int64
	for in := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading git's archive of %s: %w", rev, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if written += h.Size; written > maxExport {
			return conclave.Errorf(conclave.ErrLimited, "the files of %s are more than %d bytes", rev, int64(maxExport))
		}
		if err := exportFile(root, h, in); err != nil {
			return fmt.Errorf("exporting %s of %s: %w", h.Name, rev, err)
		}
	}
}

func exportFile(root *os.Root, h *tar.Header, in io.Reader) (err error) {
	name := filepath.FromSlash(h.Name)
	if err := root.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.CopyN(f, in, h.Size)
	return err
}

// maxRead bounds the content that is read at once.
const maxRead = 64 << 20

// Read calls each with the content of every file of a list as [Repo.Files] returns
// it, in few calls of git. It stops at an error of each, and returns it.
func (r *Repo) Read(ctx context.Context, files []File, each func(f File, content []byte) error) error {
	for len(files) > 0 {
		var size int64
		var names strings.Builder
		n := 0
		for n < len(files) && (n == 0 || size+files[n].Size <= maxRead) {
			size += files[n].Size
			names.WriteString(files[n].Hash + "\n")
			n++
		}
		c := r.command("cat-file", "--batch")
		c.stdin = names.String()
		out, err := c.run(ctx)
		if err != nil {
			return err
		}
		for _, f := range files[:n] {
			head, rest, _ := bytes.Cut(out, []byte("\n")) // HASH blob SIZE
			about := strings.Fields(string(head))
			if len(about) != 3 || about[0] != f.Hash || int64(len(rest)) <= f.Size {
				return conclave.Errorf(conclave.ErrInternal, "git cat-file: unknown line %q for %s", head, f.Path)
			}
			if err := each(f, rest[:f.Size]); err != nil {
				return err
			}
			out = rest[f.Size+1:]
		}
		files = files[n:]
	}
	return nil
}
