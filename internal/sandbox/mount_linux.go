package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sharedMemorySize bounds the files in /dev/shm.
const sharedMemorySize = 64 << 20

// newRoot is where the view is built. Any directory will do: by then the
// machine's own tree is needed no more.
const newRoot = "/tmp"

// A tree is a detached copy of a mounted directory or file.
type tree struct {
	fd     int
	target string
	isDir  bool
}

// enterView builds the command's file view in this mount namespace and makes it
// the root. Nothing of the machine's own tree stays reachable.
func enterView(p spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	trees, err := openTrees(p.View)
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", newRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m"); err != nil {
		return fmt.Errorf("mounting the root: %w", err)
	}
	// A Root keeps links that a command left in a directory from leading out.
	root, err := os.OpenRoot(newRoot)
	if err != nil {
		return fmt.Errorf("opening the root: %w", err)
	}
	defer root.Close()
	if err := mountSystem(root, p); err != nil {
		return err
	}
	for _, t := range trees {
		if err := t.attach(root); err != nil {
			return fmt.Errorf("showing %s: %w", t.target, err)
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	// Stacking the old root on the new one needs no directory to put it in.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	limitTasks(p)
	for _, dir := range []string{"/", "/proc", "/dev"} {
		if err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return fmt.Errorf("making %s read-only: %w", dir, err)
		}
	}
	return nil
}

// openTrees copies the mounts of the view, and of the devices.
func openTrees(v view) ([]tree, error) {
	var trees []tree
	for _, m := range v.Mounts {
		attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		if !m.Write {
			attr |= unix.MOUNT_ATTR_RDONLY
		}
		t, err := openTree(m.Source, m.Target, attr)
		if err != nil {
			return nil, err
		}
		trees = append(trees, t)
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		t, err := openTree("/dev/"+name, "/dev/"+name, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			return nil, err
		}
		trees = append(trees, t)
	}
	return trees, nil
}

func openTree(source, target string, attr uint64) (tree, error) {
	info, err := os.Stat(source)
	if err != nil {
		return tree{}, fmt.Errorf("looking at %s: %w", source, err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return tree{}, fmt.Errorf("copying the mount of %s: %w", source, err)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr}); err != nil {
		return tree{}, fmt.Errorf("setting the mount flags of %s: %w", source, err)
	}
	return tree{fd: fd, target: strings.TrimPrefix(target, "/"), isDir: info.IsDir()}, nil
}

// attach mounts t at its target below root, and makes the target if need be.
func (t tree) attach(root *os.Root) error {
	defer unix.Close(t.fd)
	if _, err := root.Stat(t.target); err != nil {
		dir := t.target
		if !t.isDir {
			dir = filepath.Dir(t.target)
		}
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if !t.isDir {
			if err := root.WriteFile(t.target, nil, 0o644); err != nil {
				return err
			}
		}
	}
	place, err := root.Open(t.target)
	if err != nil {
		return err
	}
	defer place.Close()
	return unix.MoveMount(t.fd, "", int(place.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// mountSystem mounts /proc, /dev and /tmp, and makes the view's links.
func mountSystem(root *os.Root, p spec) error {
	for _, fs := range []struct {
		kind, dir string
		flags     uintptr
		data      string
	}{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "/dev", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755,size=1m"},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, fmt.Sprintf("mode=1777,size=%d", sharedMemorySize)},
		{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, fmt.Sprintf("mode=1777,size=%d", p.Memory)},
	} {
		if err := root.Mkdir(fs.dir[1:], 0o755); err != nil {
			return fmt.Errorf("making %s: %w", fs.dir, err)
		}
		if err := unix.Mount(fs.kind, newRoot+fs.dir, fs.kind, fs.flags, fs.data); err != nil {
			return fmt.Errorf("mounting %s: %w", fs.dir, err)
		}
	}
	links := append([]link{
		{"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"},
	}, p.View.Links...)
	for _, l := range links {
		if err := root.Symlink(l.Text, l.Path[1:]); err != nil {
			return fmt.Errorf("linking %s: %w", l.Path, err)
		}
	}
	return nil
}
