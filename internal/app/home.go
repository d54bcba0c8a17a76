package app

import (
	"encoding/json"
	"errors"
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

// writeAddress leaves the services' addresses for the commands on this machine.
func writeAddress(home string, urls map[conclave.Service]string) error {
	all, err := ReadAddresses(home)
	if err != nil && !errors.Is(err, conclave.ErrNotFound) {
		return err
	}
	if all == nil {
		all = map[conclave.Service]string{}
	}
	for s, u := range urls {
		all[s] = u
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(home, ".services-*")
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "write the addresses: %w", err)
	}
	defer os.Remove(tmp.Name()) // is gone once it is renamed
	if _, err := tmp.Write(data); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), addressFile(home))
}

// removeAddress takes this process's addresses out again.
func removeAddress(home string, urls map[conclave.Service]string) error {
	all, err := ReadAddresses(home)
	if err != nil {
		return nil
	}
	for s, u := range urls {
		if all[s] == u {
			delete(all, s)
		}
	}
	if len(all) == 0 {
		return os.Remove(addressFile(home))
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(addressFile(home), data, 0o600)
}

// ReadAddresses returns where the services on this machine answer. ErrNotFound
// when none has been started in the data directory.
func ReadAddresses(home string) (map[conclave.Service]string, error) {
	data, err := os.ReadFile(addressFile(home))
	if errors.Is(err, os.ErrNotExist) {
		return nil, conclave.Errorf(conclave.ErrNotFound, "Conclave does not run here (%s); start it with: conclave serve", home)
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
