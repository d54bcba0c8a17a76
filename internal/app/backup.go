package app

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/store"
)

// Backup is what a backup says of itself. It is the first file of the archive.
type Backup struct {
	Format  int          `json:"format"`
	Version string       `json:"version"` // of the program that made it
	Schema  int64        `json:"schema"`  // of the database
	Made    time.Time    `json:"made"`
	Files   []BackupFile `json:"files"`
}

// BackupFile is a file of a backup.
type BackupFile struct {
	Name   string `json:"name"` // "tables/NAME.jsonl", or "home/…" for a file of the data directory
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

const (
	backupFormat   = 1
	backupManifest = "backup.json"
)

// homeFiles are what a data directory holds that can't be made again: keys and
// the secret, agents' files, and the reports of runs. Worktrees belong to git
// repositories, which are not ours to copy.
func homeFiles() []string { return []string{"keys", "secret", "agents", "runs"} }

// WriteBackup writes a compressed archive of the database, as it is at one
// moment, and of the data directory. The services may run meanwhile.
func WriteBackup(ctx context.Context, c Config, w io.Writer) (_ Backup, err error) {
	b := Backup{Format: backupFormat, Version: Version, Made: time.Now().UTC().Truncate(time.Second)}
	if b.Schema, err = store.Schema(); err != nil {
		return b, err
	}
	dir, err := os.MkdirTemp("", "conclave-backup-")
	if err != nil {
		return b, conclave.Errorf(conclave.ErrUnavailable, "make a folder for the backup: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := exportTables(ctx, c, filepath.Join(dir, "tables")); err != nil {
		return b, err
	}
	for _, name := range homeFiles() {
		if err := copyTree(filepath.Join(c.Home, name), filepath.Join(dir, "home", name)); err != nil {
			return b, err
		}
	}
	if b.Files, err = sums(dir); err != nil {
		return b, err
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	manifest, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return b, err
	}
	add := func(name string, size int64, r io.Reader) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: b.Made, Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err := io.Copy(t, r)
		return err
	}
	if err := add(backupManifest, int64(len(manifest)), strings.NewReader(string(manifest))); err != nil {
		return b, conclave.Errorf(conclave.ErrUnavailable, "write the backup: %w", err)
	}
	for _, f := range b.Files {
		in, err := os.Open(filepath.Join(dir, filepath.FromSlash(f.Name)))
		if err != nil {
			return b, conclave.Errorf(conclave.ErrUnavailable, "read back %s: %w", f.Name, err)
		}
		err = errors.Join(add(f.Name, f.Bytes, in), in.Close())
		if err != nil {
			return b, conclave.Errorf(conclave.ErrUnavailable, "write the backup: %w", err)
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return b, conclave.Errorf(conclave.ErrUnavailable, "write the backup: %w", err)
	}
	return b, nil
}

// withDatabase opens the database for f, and closes it afterwards together with
// the files that f kept open for it.
func withDatabase(ctx context.Context, c Config, f func(db *store.DB, keep func(*os.File)) error) (err error) {
	db, err := store.Open(ctx, store.Options{URL: c.Database, Owner: "backup", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var open []*os.File
	defer func() {
		for _, f := range open {
			err = errors.Join(err, f.Close())
		}
	}()
	return f(db, func(file *os.File) { open = append(open, file) })
}

func exportTables(ctx context.Context, c Config, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "make a folder for the backup: %w", err)
	}
	return withDatabase(ctx, c, func(db *store.DB, keep func(*os.File)) error {
		return db.Export(ctx, func(table string) (io.Writer, error) {
			f, err := os.OpenFile(filepath.Join(dir, table+".jsonl"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return nil, conclave.Errorf(conclave.ErrUnavailable, "write the backup: %w", err)
			}
			keep(f)
			return f, nil
		})
	})
}

// copyTree copies a file or a folder; what does not exist is no error.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return conclave.Errorf(conclave.ErrUnavailable, "read %s: %w", p, err)
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		in, err := os.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return conclave.Errorf(conclave.ErrUnavailable, "read %s: %w", p, err)
		}
		defer in.Close()
		return writeNew(target, in)
	})
}

// writeNew writes a file that must not exist yet, and that only its owner can read.
func writeNew(path string, r io.Reader) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return conclave.Errorf(conclave.ErrConflict, "%s exists already", path)
	}
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err)
	}
	_, err = io.Copy(out, r)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err)
	}
	return nil
}

// sums lists the files below a folder, with their sizes and hashes, by name.
func sums(dir string) ([]BackupFile, error) {
	var list []BackupFile
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		n, err := io.Copy(h, f)
		list = append(list, BackupFile{Name: filepath.ToSlash(rel), Bytes: n, SHA256: hexOf(h)})
		return err
	})
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "read back the backup: %w", err)
	}
	return list, nil
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// Restore fills an empty data directory and database from a backup, after every
// file of it was compared with its hash. ErrConflict when something is there
// already, ErrInvalid when the backup is damaged, ErrUnsupported when it was made
// for another schema.
func Restore(ctx context.Context, c Config, r io.Reader) (_ Backup, err error) {
	var b Backup
	if err := os.MkdirAll(c.Home, 0o700); err != nil {
		return b, conclave.Errorf(conclave.ErrUnavailable, "make the data directory: %w", err)
	}
	unlock, err := lockHome(c.Home)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	dir, err := os.MkdirTemp(c.Home, ".restore-")
	if err != nil {
		return b, conclave.Errorf(conclave.ErrUnavailable, "make a folder for the restore: %w", err)
	}
	defer os.RemoveAll(dir)
	if b, err = unpack(r, dir); err != nil {
		return b, err
	}
	schema, err := store.Schema()
	if err != nil {
		return b, err
	}
	if b.Schema != schema {
		return b, conclave.Errorf(conclave.ErrUnsupported, "the backup was made by version %s for schema %d; this is version %s with schema %d: restore it with version %s, then start this one, which upgrades",
			b.Version, b.Schema, Version, schema, b.Version)
	}
	for _, name := range homeFiles() {
		if _, err := os.Stat(filepath.Join(c.Home, name)); !errors.Is(err, fs.ErrNotExist) {
			return b, conclave.Errorf(conclave.ErrConflict, "%s exists already; restore into an empty data directory (CONCLAVE_HOME)", filepath.Join(c.Home, name))
		}
	}
	defer func() {
		if err != nil { // nothing half-done stays
			for _, name := range homeFiles() {
				err = errors.Join(err, os.RemoveAll(filepath.Join(c.Home, name)))
			}
		}
	}()
	for _, name := range homeFiles() {
		if err := copyTree(filepath.Join(dir, "home", name), filepath.Join(c.Home, name)); err != nil {
			return b, err
		}
	}
	return b, importTables(ctx, c, filepath.Join(dir, "tables"))
}

func importTables(ctx context.Context, c Config, dir string) error {
	return withDatabase(ctx, c, func(db *store.DB, keep func(*os.File)) error {
		return db.Import(ctx, func(table string) (io.Reader, error) {
			f, err := os.Open(filepath.Join(dir, table+".jsonl"))
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			if err != nil {
				return nil, conclave.Errorf(conclave.ErrUnavailable, "read the table %s: %w", table, err)
			}
			keep(f)
			return f, nil
		})
	})
}

// unpack takes an archive apart into a folder, and compares each file with what
// the backup says of it.
func unpack(r io.Reader, dir string) (Backup, error) {
	var b Backup
	damaged := func(format string, args ...any) error {
		return conclave.Errorf(conclave.ErrInvalid, "the backup is damaged, or is none: "+format, args...)
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return b, damaged("%w", err)
	}
	t := tar.NewReader(z)
	first, err := t.Next()
	if err != nil || first.Name != backupManifest {
		return b, damaged("it does not begin with %s", backupManifest)
	}
	if err := json.NewDecoder(io.LimitReader(t, 64<<20)).Decode(&b); err != nil {
		return b, damaged("%s: %w", backupManifest, err)
	}
	if b.Format != backupFormat {
		return b, conclave.Errorf(conclave.ErrUnsupported, "the backup has format %d; this program reads format %d", b.Format, backupFormat)
	}
	for _, want := range b.Files {
		h, err := t.Next()
		if err != nil {
			return b, damaged("%s is missing", want.Name)
		}
		if h.Name != want.Name || !fs.ValidPath(path.Clean(want.Name)) || path.Clean(want.Name) != want.Name {
			return b, damaged("it holds %q where %q should be", h.Name, want.Name)
		}
		target := filepath.Join(dir, filepath.FromSlash(want.Name))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return b, conclave.Errorf(conclave.ErrUnavailable, "unpack %s: %w", want.Name, err)
		}
		sum := sha256.New()
		if err := writeNew(target, io.TeeReader(t, sum)); err != nil {
			return b, err
		}
		if got := hexOf(sum); got != want.SHA256 {
			return b, damaged("%s has the hash %s; it should be %s", want.Name, got, want.SHA256)
		}
	}
	return b, nil
}

// CheckBackup restores a backup somewhere else and compares every table with it.
func CheckBackup(ctx context.Context, r io.Reader) (_ Backup, err error) {
	home, err := os.MkdirTemp("", "conclave-check-")
	if err != nil {
		return Backup{}, conclave.Errorf(conclave.ErrUnavailable, "make a folder to restore into: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	c := Config{Home: filepath.Join(home, "data"), Database: "sqlite:" + filepath.Join(home, "data", "conclave.db")}
	b, err := Restore(ctx, c, r)
	if err != nil {
		return b, err
	}
	if err := exportTables(ctx, c, filepath.Join(home, "again", "tables")); err != nil {
		return b, err
	}
	again, err := sums(filepath.Join(home, "again"))
	if err != nil {
		return b, err
	}
	for _, f := range again {
		if !slices.Contains(b.Files, f) {
			return b, conclave.Errorf(conclave.ErrInternal, "%s is not the same after it was restored", f.Name)
		}
	}
	return b, nil
}

// String tells what a backup is, in one line.
func (b Backup) String() string {
	return fmt.Sprintf("version %s, schema %d, made %s, %d files", b.Version, b.Schema, b.Made.Format(time.RFC3339), len(b.Files))
}
