package app

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"conclave"
)

// lockHome takes the data directory for this process. The lock goes with the
// process, however it ends.
func lockHome(home string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(home, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "open the data directory's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, conclave.Errorf(conclave.ErrConflict, "another process uses %s: conclave status tells where it answers", home)
	}
	return f.Close, nil
}

func addressFile(home string) string { return filepath.Join(home, "services.json") }

// replaceFile gives a file of the data directory new content, which only its
// owner can read. Whoever reads it meanwhile sees the old or the new one.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) // is gone once it is renamed
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err)
	}
	return nil
}

// changeAddresses alters the file in which the commands on this machine find the
// services. The processes of a data directory do so one after the other.
func changeAddresses(home string, change func(map[conclave.Service]string)) (err error) {
	f, err := os.OpenFile(addressFile(home)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "open the lock of the addresses: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }() // which unlocks it
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "lock the addresses: %w", err)
	}
	all, err := ReadAddresses(home)
	if errors.Is(err, conclave.ErrNotFound) {
		all, err = map[conclave.Service]string{}, nil
	}
	if err != nil {
		return err
	}
	change(all)
	if len(all) == 0 {
		if err := os.Remove(addressFile(home)); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(addressFile(home), data)
}

// writeAddress leaves this process's addresses for the commands on this machine.
func writeAddress(home string, urls map[conclave.Service]string) error {
	return changeAddresses(home, func(all map[conclave.Service]string) { maps.Copy(all, urls) })
}

// removeAddress takes this process's addresses out again.
func removeAddress(home string, urls map[conclave.Service]string) error {
	return changeAddresses(home, func(all map[conclave.Service]string) {
		maps.DeleteFunc(all, func(s conclave.Service, u string) bool { return urls[s] == u })
	})
}

// ReadAddresses returns where the services on this machine answer. ErrNotFound
// when none has been started in the data directory.
func ReadAddresses(home string) (map[conclave.Service]string, error) {
	data, err := os.ReadFile(addressFile(home))
	if errors.Is(err, os.ErrNotExist) {
		return nil, conclave.Errorf(conclave.ErrNotFound, "Conclave does not run here (%s); start it with: conclave serve, or make quick-start-a2a", home)
	}
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "read the addresses: %w", err)
	}
	all := map[conclave.Service]string{}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "read the addresses: %w", err)
	}
	return all, nil
}

// ReadToken returns the local token. ErrNotFound when Conclave was never started.
func ReadToken(home string) (string, error) {
	data, err := os.ReadFile(filepath.Join(home, "token"))
	if errors.Is(err, os.ErrNotExist) {
		return "", conclave.Errorf(conclave.ErrNotFound, "there is no token in %s yet; it is made at the first start: conclave serve", home)
	}
	if err != nil {
		return "", conclave.Errorf(conclave.ErrDenied, "read the token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
