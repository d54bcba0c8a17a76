package agentpool

import "time"

// A role gets another agent when its agents are busier than the target, and
// loses one when the rest would be well below it for a while.
const (
	busyAbove = 0.8 // of their capacity, the target for the utilisation of agents
	calmBelow = 0.4
	calmFor   = time.Minute
)

// scale decides how many agents beyond the distribution each role has. reload
// makes it so.
func (p *Pool) scale(now time.Time) {
	room := p.room()
	for role, least := range p.opts.Config.Distribution {
		if least == 0 || Host(role) != p.opts.Service {
			continue
		}
		agents := least + p.extra[role]
		active, last := 0, 0
		for _, h := range p.list() {
			if h.shown.Role != role {
				continue
			}
			active += h.runner.Active()
			if h.Name() == p.numbered(role, agents) {
				last = h.runner.Active()
			}
		}
		load := func(agents int) float64 { return float64(active) / float64(agents*p.opts.Capacity) }
		switch {
		case load(agents) > busyAbove:
			delete(p.calm, role)
			if room > 0 {
				room--
				p.extra[role]++
				p.opts.Logger.Info("another agent, because of the load", "role", role, "agents", agents+1, "active", active)
			}
		case p.extra[role] > 0 && load(agents-1) < calmBelow && last == 0:
			since, calm := p.calm[role]
			if !calm {
				p.calm[role] = now
			} else if now.Sub(since) >= calmFor {
				delete(p.calm, role)
				p.extra[role]--
				p.opts.Logger.Info("one agent less, because of the load", "role", role, "agents", agents-1, "active", active)
			}
		default:
			delete(p.calm, role)
		}
	}
}

// room is how many more agents this service may have: its share of what the size
// allows beyond the distribution, so that all services together stay within it.
func (p *Pool) room() int {
	total, own, extra := 0, 0, 0
	for role, n := range p.opts.Config.Distribution {
		total += n
		if Host(role) == p.opts.Service {
			own += n
			extra += p.extra[role]
		}
	}
	if total == 0 {
		return 0
	}
	return (p.opts.Config.Size-total)*own/total - extra
}
