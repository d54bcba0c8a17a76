package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/agent"
	"conclave/internal/evidence"
	"conclave/internal/git"
	"conclave/internal/identity"
	"conclave/internal/llm"
	"conclave/internal/modelrouter"
	"conclave/internal/plan"
)

// The names of brains, as a run shows them.
const (
	brainOffline = "offline"
	brainModel   = "model"
	brainClaude  = "claude"
)

// chooseBrain turns a run's wish into the brain that it gets: a model through
// the router, else the claude binary, else playbooks. ErrUnavailable when what
// was asked for by name is not there.
func (a *App) chooseBrain(ctx context.Context, choice string) (string, error) {
	if choice == "" {
		choice = a.config.Brain
	}
	switch choice {
	case brainOffline:
		return brainOffline, nil
	case brainModel:
		if _, err := a.models.Route(ctx, conclave.RouteQuery{}); err != nil {
			return "", err
		}
		return brainModel, nil
	case brainClaude:
		if st := a.claude(ctx, "").Probe(ctx); st.Problem != "" {
			return "", conclave.Errorf(conclave.ErrUnavailable, "%s", st.Problem)
		}
		return brainClaude, nil
	case "auto":
		if _, err := a.models.Route(ctx, conclave.RouteQuery{}); err == nil {
			return brainModel, nil
		}
		if st := a.claude(ctx, "").Probe(ctx); st.Problem == "" && st.LoggedIn {
			return brainClaude, nil
		}
		return brainOffline, nil
	}
	return "", conclave.Errorf(conclave.ErrInvalid, "no brain %q; there are auto, offline, model and claude", choice)
}

// brains gives an agent the brain that each assignment's run has.
func (a *App) brains(_ conclave.AgentSpec, name conclave.AgentName) func(context.Context, conclave.Assignment) (agent.Brain, error) {
	return func(ctx context.Context, in conclave.Assignment) (agent.Brain, error) {
		choice, err := a.chooseBrain(ctx, in.Brain)
		if err != nil {
			return nil, err
		}
		switch choice {
		case brainModel:
			return a.modelBrain(ctx, in, name)
		case brainClaude:
			return a.claude(ctx, name), nil
		}
		return agent.NewPlaybookBrain(agent.PlaybookOptions{Repair: a.repair}), nil
	}
}

// cleanWorktree makes a build's worktree what its lease says that it is. The
// repository is the lease's: what lies in the worktree may lie about it.
func (a *App) cleanWorktree(ctx context.Context, in conclave.Assignment) error {
	leases, err := a.worktrees.List(ctx, conclave.ListWorktrees{Run: in.Run, Leased: true})
	if err != nil {
		return err
	}
	for _, l := range leases {
		if l.Path != in.Worktree {
			continue
		}
		repo, err := git.Open(ctx, l.Repo)
		if err != nil {
			return err
		}
		tree, err := repo.Linked(l.Path)
		if err != nil {
			return err
		}
		return tree.ResetHard(ctx, l.Head)
	}
	return conclave.Errorf(conclave.ErrConflict, "run %s leases no worktree at %s", in.Run, in.Worktree)
}

// brainName is how an agent's brain is shown when a run does not choose.
func (a *App) brainName(ctx context.Context, _ conclave.AgentSpec) string {
	choice, err := a.chooseBrain(ctx, "")
	if err != nil || choice == brainOffline {
		return "playbook"
	}
	return choice
}

// agentToken lets an agent call the router, and nothing that changes anything.
func (a *App) agentToken(name conclave.AgentName) (string, error) {
	return a.tokens.Mint(conclave.Caller{Tenant: conclave.DefaultTenant, Human: a.caller.Human, Agent: name, Permissions: identity.AgentPermissions()}, 12*time.Hour)
}

// clientIdle lets the router, which knows the provider, be the first to notice
// its silence.
func (a *App) clientIdle() time.Duration { return 2 * a.config.ModelIdle }

func (a *App) modelBrain(ctx context.Context, in conclave.Assignment, name conclave.AgentName) (agent.Brain, error) {
	route, err := a.models.Route(ctx, conclave.RouteQuery{Kind: in.Kind, Task: in.Task})
	if err != nil {
		return nil, err
	}
	base, err := a.resolve(conclave.ServiceModels)
	if err != nil {
		return nil, err
	}
	token, err := a.agentToken(name)
	if err != nil {
		return nil, err
	}
	options := llm.Options{BaseURL: base, Key: token, Idle: a.clientIdle(), Transport: &following{resolve: a.routerHost, next: a.transport}, Logger: a.log}
	client, err := llm.NewAnthropic(options)
	if err != nil {
		return nil, err
	}
	return agent.NewModelBrain(agent.ModelOptions{Client: client, Model: route.Tier, Runner: a.box, GoCache: filepath.Join(a.config.Home, "cache", "go-build"),
		CheckPlan: plan.Validate, Logger: a.log})
}

// routerHost is where the model router listens now.
func (a *App) routerHost() (string, error) {
	base, err := a.resolve(conclave.ServiceModels)
	_, host, _ := strings.Cut(base, "://")
	return host, err
}

// claude is the claude binary: behind the router when that has a key, else with
// the user's own login.
func (a *App) claude(ctx context.Context, name conclave.AgentName) *agent.ClaudeBrain {
	o := agent.ClaudeOptions{Path: a.getenv("CONCLAVE_CLAUDE"), CheckPlan: plan.Validate, Logger: a.log}
	if route, err := a.models.Route(ctx, conclave.RouteQuery{}); err == nil && route.Wire == modelrouter.WireAnthropic {
		base, err := a.resolve(conclave.ServiceModels)
		if err == nil {
			o.BaseURL, o.Home, o.Model = base, filepath.Join(a.config.Home, "claude"), route.Tier
			if token, err := a.agentToken(name); err == nil {
				o.Key = token
			}
		}
	}
	b, err := agent.NewClaudeBrain(o)
	if err != nil {
		a.log.Error("make the claude brain", "error", err) // only for a home that is no absolute path, and ours is
	}
	return b
}

// repair has the analysers' own fixes applied in a worktree.
func (a *App) repair(ctx context.Context, in conclave.Assignment) (conclave.BuildReply, error) {
	// The playbook has a step for each class (what is not formatted is a finding
	// too); any other step, such as one that
	// mends what a review found, gets all of them.
	all := in.Step == nil || !slices.Contains([]string{"findings", "format", "dependencies"}, in.Step.Key)
	class := func(name string) bool { return all || in.Step.Key == name }
	report, err := a.meter.Fix(ctx, in.Worktree, evidence.FixClasses{Findings: class("findings"), Format: class("format") || class("findings"), Dependencies: class("dependencies")})
	if err != nil {
		return conclave.BuildReply{}, err
	}
	reply := conclave.BuildReply{Files: report.Files, Left: report.Left}
	if len(report.Files) == 0 {
		broken := slices.IndexFunc(report.Left, func(f conclave.LeftFinding) bool { return f.Rule == "compile" })
		switch {
		case broken >= 0:
			f := report.Left[broken]
			reply.NeedsModel = fmt.Sprintf("it does not build (%s:%d: %s), and of %s none can be mended without judgement: %s",
				f.Path, f.Line, f.Message, countFindings(len(report.Left)), byRule(report.Left))
		case len(report.Left) > 0:
			reply.NeedsModel = fmt.Sprintf("the analysers find %s, and none can be mended without judgement: %s", countFindings(len(report.Left)), byRule(report.Left))
		case class("dependencies") && len(report.Unchecked) > 0:
			reply.NeedsModel = "nothing was found that can be upgraded, and not everything could be checked: " + strings.Join(report.Unchecked, "; ")
		default:
			reply.Nothing = "the analysers find nothing"
			if len(report.Unchecked) > 0 {
				reply.Nothing += "; not checked: " + strings.Join(report.Unchecked, "; ")
			}
		}
		return reply, nil
	}
	var lines []string
	for _, f := range report.Applied {
		lines = append(lines, fmt.Sprintf("%s:%d: %s %s", f.Path, f.Line, f.Rule, f.Message))
	}
	if len(report.Left) > 0 {
		lines = append(lines, "", "Left to somebody's judgement: "+byRule(report.Left))
	}
	for _, u := range report.Unchecked {
		lines = append(lines, "Not checked: "+u)
	}
	reply.Summary = fmt.Sprintf("Mended %s in %d files; %d are left.\n\n%s", countFindings(len(report.Applied)), len(report.Files), len(report.Left), strings.Join(lines, "\n"))
	return reply, nil
}

func countFindings(n int) string {
	if n == 1 {
		return "1 finding"
	}
	return fmt.Sprintf("%d findings", n)
}

// byRule counts findings: "3 × gosec G104, 1 × staticcheck SA2001".
func byRule(left []conclave.LeftFinding) string {
	counts := map[string]int{}
	for _, f := range left {
		rule := f.Tool
		if f.Rule != f.Tool && f.Tool != "gofmt" {
			rule += " " + f.Rule
		}
		counts[rule]++
	}
	rules := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	for i, r := range rules {
		rules[i] = fmt.Sprintf("%d × %s", counts[r], r)
	}
	return strings.Join(rules, ", ")
}

// Brains tells for doctor which brains there are, and why the others are not.
func Brains(ctx context.Context, c Config, getenv func(string) string) [][2]string {
	var lines [][2]string
	upstreams, err := modelrouter.UpstreamsFromEnv(getenv)
	rules := c.Routing
	if err == nil && rules == nil {
		rules, err = modelrouter.ParseRules(modelrouter.DefaultRules())
	}
	if err != nil {
		lines, upstreams = append(lines, [2]string{"model", err.Error()}), nil
	}
	model := false
	for _, u := range upstreams {
		d := u.Describe(rules)
		if d.Problem == "" {
			model = true
			d.Problem = strings.Join(d.Models, ", ")
		}
		lines = append(lines, [2]string{"model", fmt.Sprintf("%s at %s: %s", d.Name, d.URL, d.Problem)})
	}
	if !model {
		lines = append(lines, [2]string{"model", "none: set ANTHROPIC_API_KEY, or OPENAI_BASE_URL and CONCLAVE_MODEL"})
	}
	b, err := agent.NewClaudeBrain(agent.ClaudeOptions{Path: getenv("CONCLAVE_CLAUDE")})
	if err == nil {
		st := b.Probe(ctx)
		finding := st.Path + " " + st.Version
		if st.Problem != "" {
			finding = st.Problem
		}
		lines = append(lines, [2]string{"claude", finding})
	}
	lines = append(lines, [2]string{"offline", "playbooks for services, command lines, libraries and repair"})
	chosen := c.Brain
	if chosen == "auto" {
		switch {
		case model:
			chosen = "auto: a model through the router"
		case b != nil && b.Probe(ctx).LoggedIn:
			chosen = "auto: claude"
		default:
			chosen = "auto: offline, because there is neither a model nor a logged-in claude"
		}
	}
	return append(lines, [2]string{"brain", chosen})
}
