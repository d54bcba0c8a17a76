package hub

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"conclave"
)

// Find implements [conclave.Directory].
func (h *Hub) Find(ctx context.Context, in conclave.FindAgents) (conclave.FoundAgents, error) {
	switch {
	case in.Limit == 0:
		in.Limit = 50
	case in.Limit < 0 || in.Limit > 200:
		return conclave.FoundAgents{}, conclave.Errorf(conclave.ErrInvalid, "limit %d: want 1 to 200", in.Limit)
	}
	if in.State != "" && in.State != conclave.AgentLive && in.State != conclave.AgentLost {
		return conclave.FoundAgents{}, conclave.Errorf(conclave.ErrInvalid, "state %q: want live or lost", in.State)
	}
	first := 0
	if in.Page != "" {
		var err error
		if first, err = strconv.Atoi(in.Page); err != nil || first < 0 {
			return conclave.FoundAgents{}, conclave.Errorf(conclave.ErrInvalid, "page %q is not one that was given out", in.Page)
		}
	}
	agents, err := h.opts.Store.Agents(ctx, conclave.CallerFrom(ctx).Tenant, conclave.ListAgents{Role: in.Role, Live: in.State == conclave.AgentLive})
	if err != nil {
		return conclave.FoundAgents{}, fmt.Errorf("finding agents: %w", err)
	}
	type hit struct {
		agent conclave.Agent
		score int
	}
	hits := []hit{}
	for _, a := range agents {
		if in.Skill != "" && !slices.Contains(a.Skills, in.Skill) || in.Tag != "" && !slices.Contains(a.Tags, in.Tag) || in.State != "" && a.State != in.State {
			continue
		}
		score := 0
		if in.Text != "" {
			if score = conclave.Relevance(in.Text, string(a.Name)+" "+string(a.Role)+" "+strings.Join(a.Skills, " ")+" "+strings.Join(a.Tags, " "), a.Description); score == 0 {
				continue
			}
		}
		hits = append(hits, hit{a, score})
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) }) // equal ones stay by name
	out := conclave.FoundAgents{Agents: []conclave.Agent{}, Total: len(hits)}
	for _, hit := range hits[min(first, len(hits)):min(first+in.Limit, len(hits))] {
		out.Agents = append(out.Agents, hit.agent)
	}
	if first+in.Limit < len(hits) {
		out.Next = strconv.Itoa(first + in.Limit)
	}
	return out, nil
}
