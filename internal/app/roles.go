package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"conclave"
	"conclave/internal/agent"
)

// roleFiles are the folders with agents' files. They are looked at often and
// read only when something in them has changed.
type roleFiles struct {
	sources []agent.Source

	mu    sync.Mutex
	stamp string
	specs []conclave.AgentSpec
	err   error
}

func (f *roleFiles) load() ([]conclave.AgentSpec, error) {
	stamp, err := f.look()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if stamp != f.stamp {
		f.specs, _, f.err = agent.Load(f.sources...)
		f.stamp = stamp
	}
	return f.specs, f.err
}

// look tells names, sizes and times of the files.
func (f *roleFiles) look() (string, error) {
	var b strings.Builder
	for _, src := range f.sources {
		entries, err := os.ReadDir(src.Dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", conclave.Errorf(conclave.ErrUnavailable, "look for agents' files: %w", err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				return "", conclave.Errorf(conclave.ErrUnavailable, "look at an agent's file: %w", err)
			}
			fmt.Fprintln(&b, src.Dir, e.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String(), nil
}
