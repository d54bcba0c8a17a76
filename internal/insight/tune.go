package insight

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"conclave"

	"gopkg.in/yaml.v3"
)

// Change is a proposed value of a YAML file.
type Change struct {
	Path []string `json:"path"`
	From string   `json:"from"`
	To   string   `json:"to"`
	Why  string   `json:"why"`
}

// Proposal is what was measured, and the changes that follow from it. Without
// changes, Reason says why there are none.
type Proposal struct {
	Measured string   `json:"measured"`
	Changes  []Change `json:"changes"`
	Reason   string   `json:"reason"`
}

// What must be there before anything is proposed.
const (
	enoughTasks = 50
	enoughVotes = 20
	enoughEach  = 3
)

// TuneAgents proposes how to spread the same number of agents over the same
// roles: each has the least that it needs, and every further agent goes to the
// role that has the most busy time for each agent that it has.
func TuneAgents(now map[conclave.Role]int, load conclave.LoadStats) Proposal {
	p := Proposal{Changes: []Change{}}
	busy, tasks, total := map[conclave.Role]float64{}, 0, 0
	for _, r := range load.Roles {
		busy[r.Role] = r.BusySeconds
		tasks += r.Tasks
	}
	p.Measured = fmt.Sprintf("%d tasks ended in the last %d hours", tasks, load.Hours)
	if tasks < enoughTasks {
		p.Reason = fmt.Sprintf("that is too little to go by; %d are needed", enoughTasks)
		return p
	}
	want := map[conclave.Role]int{}
	var roles []conclave.Role
	for _, role := range slices.Sorted(maps.Keys(now)) {
		if now[role] == 0 {
			continue
		}
		roles = append(roles, role)
		total += now[role]
		want[role] = 1
		if role == conclave.RoleArchitect {
			want[role] = min(now[role], 2) // one votes, and another is the senior who has not
		}
		total -= want[role]
	}
	for ; total > 0; total-- {
		busiest := slices.MaxFunc(roles, func(a, b conclave.Role) int {
			return cmp.Compare(busy[a]/float64(want[a]), busy[b]/float64(want[b]))
		})
		want[busiest]++
	}
	for _, role := range roles {
		if want[role] != now[role] {
			p.Changes = append(p.Changes, Change{Path: []string{"agent_pool", "distribution", string(role)},
				From: strconv.Itoa(now[role]), To: strconv.Itoa(want[role]), Why: fmt.Sprintf("%s was busy for %.1f s", role, busy[role])})
		}
	}
	if len(p.Changes) == 0 {
		p.Reason = "the agents are spread by that load already"
	}
	return p
}

// TuneThreshold proposes the consensus threshold under which the fewest votes
// would have come out wrong, by what was shown later.
func TuneThreshold(now float64, c conclave.ConsensusStats) Proposal {
	p := Proposal{Changes: []Change{}, Measured: fmt.Sprintf("of %d votes in the last %d hours, %d subjects were shown to be good and %d to be bad",
		c.Motions, c.Hours, c.ShownGood, c.ShownBad)}
	if c.ShownGood+c.ShownBad < enoughVotes || c.ShownGood < enoughEach || c.ShownBad < enoughEach {
		p.Reason = fmt.Sprintf("that is too little to go by; %d are needed, at least %d of each", enoughVotes, enoughEach)
		return p
	}
	i := slices.IndexFunc(c.Tried, func(t conclave.ThresholdStat) bool { return t.Threshold == now })
	if i < 0 {
		p.Reason = fmt.Sprintf("none of those votes was taken with the threshold %v", now)
		return p
	}
	best := slices.MinFunc(c.Tried, func(a, b conclave.ThresholdStat) int {
		return cmp.Or(a.Wrong-b.Wrong, cmp.Compare(math.Abs(a.Threshold-now), math.Abs(b.Threshold-now)), cmp.Compare(b.Threshold, a.Threshold))
	})
	if best.Wrong == c.Tried[i].Wrong {
		p.Reason = fmt.Sprintf("no other threshold would have done better: %d came out wrong", best.Wrong)
		return p
	}
	text := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	p.Changes = append(p.Changes, Change{Path: []string{"collaboration", "consensus_threshold"}, From: text(now), To: text(best.Threshold),
		Why: fmt.Sprintf("%d votes would have come out wrong rather than %d", best.Wrong, c.Tried[i].Wrong)})
	return p
}

// Edit changes values of a YAML file where they stand, so that all else, order
// and comments too, stays as it was. ErrConflict when the file has another value
// than the change is from, ErrNotFound when it has none.
func Edit(file []byte, changes []Change) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(file, &doc); err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "not YAML: %w", err)
	}
	lines := bytes.SplitAfter(file, []byte("\n"))
	for _, c := range changes {
		node := &doc
		if len(node.Content) == 1 {
			node = node.Content[0]
		}
		for _, key := range c.Path {
			if node = child(node, key); node == nil {
				return nil, conclave.Errorf(conclave.ErrNotFound, "the file does not set %s; write the present value into it first", pathText(c.Path))
			}
		}
		line := lines[node.Line-1]
		at := node.Column - 1
		if node.Kind != yaml.ScalarNode || node.Value != c.From || !bytes.HasPrefix(line[min(at, len(line)):], []byte(c.From)) {
			return nil, conclave.Errorf(conclave.ErrConflict, "%s is %q in the file, not %s", pathText(c.Path), node.Value, c.From)
		}
		lines[node.Line-1] = slices.Concat(line[:at], []byte(c.To), line[at+len(c.From):])
	}
	return bytes.Join(lines, nil), nil
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func pathText(path []string) string { return strings.Join(path, ".") }
