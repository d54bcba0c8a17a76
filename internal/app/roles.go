package app

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"conclave"
	"conclave/internal/agent"
)

// agents reads the descriptions of agents, and checks the settings that name
// their roles.
func (c Config) agents() (sources []agent.Source, specs []conclave.AgentSpec, warnings []string, err error) {
	sources = agent.RepositorySources(".") // of the folder that it was started in
	if c.Files != "" {
		sources = append(sources, agent.Source{Dir: filepath.Join(c.Files, "agents"), Replace: true})
	}
	sources = append(sources, agent.Source{Dir: filepath.Join(c.Home, "agents"), Replace: true})
	if specs, warnings, err = agent.Load(sources...); err != nil {
		return nil, nil, nil, err
	}
	if err = c.Pool.Validate(specs); err != nil {
		if path := c.Sources["agent_pool.distribution"]; path != "" {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return nil, nil, nil, err
	}
	if err = knownRoles("CONCLAVE_ENCRYPT", c.Security.Encrypt.Roles, specs); err != nil {
		return nil, nil, nil, err
	}
	if r := c.Routing; r != nil {
		err = knownRoles("roles in "+c.Sources["routing"], slices.Sorted(maps.Keys(r.Roles)), specs)
	}
	return sources, specs, warnings, err
}

// Check returns ErrInvalid for settings with which no service could start,
// though each can be read.
func (c Config) Check() error {
	_, _, _, err := c.agents()
	return err
}

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
