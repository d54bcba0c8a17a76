package evidence

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"conclave"
)

// Bounds on what a meter remembers. What a measurement depends on beside the
// tree, such as installed programs, may change: hence the time.
const (
	rememberedTrees = 64
	rememberedFor   = 10 * time.Minute
)

// A memory holds the evidence of trees that passed, the last used at the end.
// It is safe for concurrent use.
type memory struct {
	mu    sync.Mutex
	trees []remembered
}

type remembered struct {
	key      string
	evidence conclave.Evidence
	at       time.Time
}

// get returns evidence that is not too old.
func (m *memory) get(key string, now time.Time) (conclave.Evidence, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trees = slices.DeleteFunc(m.trees, func(r remembered) bool { return now.Sub(r.at) > rememberedFor })
	i := slices.IndexFunc(m.trees, func(r remembered) bool { return r.key == key })
	if i < 0 {
		return conclave.Evidence{}, false
	}
	found := m.trees[i]
	m.trees = append(slices.Delete(m.trees, i, i+1), found)
	return found.evidence, true
}

// put keeps evidence, and forgets what was not used for longest.
func (m *memory) put(key string, e conclave.Evidence, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trees = slices.DeleteFunc(m.trees, func(r remembered) bool { return r.key == key })
	if over := len(m.trees) + 1 - rememberedTrees; over > 0 {
		m.trees = slices.Delete(m.trees, 0, over)
	}
	m.trees = append(m.trees, remembered{key, e, now})
}

// What is remembered of a tree: all evidence, or the checks of [Meter.Check].
const (
	wholeEvidence = "evidence"
	gatesOnly     = "gates"
)

// recall returns what is remembered of exactly these files and commands.
func (x *measurement) recall(what string) (conclave.Evidence, bool) {
	if x.tree.TreeHash == "" {
		return conclave.Evidence{}, false
	}
	return x.memory.get(x.key(what), time.Now())
}

// remember keeps the evidence when nothing failed: a failure may be due to the
// machine's load, and is measured again.
func (x *measurement) remember(what string, e conclave.Evidence) {
	if x.tree.TreeHash == "" {
		return
	}
	for _, c := range e.Checks {
		if !c.Passed && c.Skipped == "" {
			return
		}
	}
	x.memory.put(x.key(what), e, time.Now())
}

// key names the copied files and the commands. The hash that the caller gave is
// part of it, but not trusted: files that git ignores are measured as well.
func (x *measurement) key(what string) string {
	return fmt.Sprintf("%s %q %s %q %q", what, x.tree.TreeHash, x.contents, x.tree.Build, x.tree.Test)
}
