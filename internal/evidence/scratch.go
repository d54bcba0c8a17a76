package evidence

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// scratchSlots is how many trees can be measured at once at a lasting path. The
// go command's cache knows a package by its path too, so a lasting path saves
// compiling it again.
const scratchSlots = 8

// scratch copies a tree to a place of its own, which free removes again.
// Contents is the hash of the copy.
func (m *Meter) scratch(tree string) (dir, contents string, free func(), err error) {
	base := filepath.Join(m.cache, "scratch")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", "", nil, fmt.Errorf("making a scratch directory: %w", err)
	}
	dir, unlock, err := claim(base)
	if err != nil {
		return "", "", nil, fmt.Errorf("making a scratch directory: %w", err)
	}
	free = func() {
		if err := removeAll(dir); err != nil {
			m.log.Warn("scratch directory left behind", "dir", dir, "err", err)
		}
		unlock()
	}
	if contents, err = copyTree(tree, dir); err != nil {
		free()
		return "", "", nil, err
	}
	return dir, contents, free, nil
}

// claim returns an empty directory that nobody else uses until unlock.
func claim(base string) (dir string, unlock func(), err error) {
	for n := range scratchSlots {
		dir := filepath.Join(base, strconv.Itoa(n))
		unlock, locked := tryLock(dir + ".lock")
		if !locked {
			continue
		}
		if err := removeAll(dir); err == nil {
			if err = os.Mkdir(dir, 0o700); err == nil {
				return dir, unlock, nil
			}
		}
		unlock() // what is left there is not ours to remove
	}
	dir, err = os.MkdirTemp(base, "tree")
	return dir, func() {}, err
}

// removeAll removes a directory, even one whose directories were made read-only.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(name, 0o700) // RemoveAll tells what is left
		}
		return nil
	})
	return os.RemoveAll(dir)
}
