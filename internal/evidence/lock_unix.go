//go:build unix

package evidence

import (
	"os"
	"syscall"
)

// tryLock takes an advisory lock without waiting. The lock ends with unlock or
// with the process.
func tryLock(name string) (unlock func(), locked bool) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, false
	}
	return func() { _ = f.Close() }, true
}
