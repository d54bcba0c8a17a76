package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/git"
	"conclave/internal/sandbox"
	"conclave/web"

	"github.com/spf13/cobra"
)

func (c *cli) watchCommand() *cobra.Command {
	var open bool
	cmd := &cobra.Command{Use: "watch [RUN]", Short: "Show live what agents say; of all runs, or of one", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				if open {
					return c.pageLink(cmd.Context(), s)
				}
				f := conclave.EventFilter{}
				if len(args) == 1 {
					f.Run = conclave.RunID(args[0])
					if _, err := s.Workflows().Get(cmd.Context(), conclave.GetRun{ID: f.Run}); err != nil {
						return err
					}
				}
				v := newView(c.stdout)
				for e, err := range s.Events().Watch(cmd.Context(), f) {
					if err != nil {
						return err
					}
					if c.asJSON {
						if err := json.NewEncoder(c.stdout).Encode(e); err != nil {
							return err
						}
					} else {
						v.event(e)
					}
					if f.Run != "" && e.Kind == conclave.EventRunEnded {
						return nil
					}
				}
				return nil
			})
		}}
	cmd.Flags().BoolVar(&open, "open", false, "print a link that opens the page, once")
	return c.jsonFlag(cmd)
}

// pageLink asks the monitor for a one-time link.
func (c *cli) pageLink(ctx context.Context, s *session) error {
	base := s.urls[conclave.ServiceMonitor]
	if base == "" {
		base = s.urls[conclave.ServiceGateway]
	}
	home, err := app.Home(c.getenv)
	if err != nil {
		return err
	}
	token := c.getenv("CONCLAVE_TOKEN")
	if token == "" {
		if token, err = app.ReadToken(home); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/login/tickets", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.http.Do(req)
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "ask the monitor for a link: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		var problem struct{ Detail string }
		if err := json.Unmarshal(body, &problem); err == nil {
			kind := conclave.ErrDenied
			if resp.StatusCode >= 500 {
				kind = conclave.ErrUnavailable
			}
			return conclave.Errorf(kind, "ask the monitor for a link: %s", problem.Detail)
		}
		return conclave.Errorf(conclave.ErrUnavailable, "the monitor answers %s: %s", resp.Status, bytes.TrimSpace(body))
	}
	var ticket struct{ Path string }
	if err := json.Unmarshal(body, &ticket); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, base+ticket.Path)
	return err
}

func (c *cli) agentsCommand() *cobra.Command {
	var role string
	var wide bool
	cmd := &cobra.Command{Use: "agents", Short: "List agents with role, brain, state, load and trust", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(s *session) error {
				agents, err := s.Hub().Agents(cmd.Context(), conclave.ListAgents{Role: conclave.Role(role)})
				if err != nil {
					return err
				}
				scores, err := s.Trust().Scores(cmd.Context(), conclave.ListTrust{Total: true})
				if err != nil {
					return err
				}
				type trusted struct {
					conclave.Agent
					Trust *float64 `json:"trust"` // null: nothing that it did was confirmed or refuted yet
				}
				list := []trusted{}
				rows := [][]string{{"AGENT", "ROLE", "BRAIN", "STATE", "LOAD", "TRUST", "SERVICE"}}
				if wide {
					rows[0] = append(rows[0], "SEEN", "ADDRESS", "KEY")
				}
				for _, a := range agents {
					var trust *float64
					for _, t := range scores {
						if t.Agent == a.Name {
							trust = t.Trust
						}
					}
					list = append(list, trusted{a, trust})
					row := []string{string(a.Name), string(a.Role), dash(a.Brain), string(a.State), fmt.Sprintf("%d/%d", a.Active, a.Capacity), figure(trust, "%.2f"), string(a.Service)}
					if wide {
						row = append(row, time.Since(a.Seen).Round(time.Second).String()+" ago", a.URL, short(a.PublicKey, 12))
					}
					rows = append(rows, row)
				}
				if c.asJSON {
					return c.printJSON(list)
				}
				if err := table(c.stdout, rows, "no agents"); err != nil {
					return err
				}
				for _, a := range agents {
					if a.Card != nil && a.Card.Problem != "" {
						fmt.Fprintf(c.stdout, "%s gets no work: %s\n", a.Name, printable(a.Card.Problem))
					}
				}
				return nil
			})
		}}
	cmd.Flags().StringVar(&role, "role", "", "only agents of this role")
	cmd.Flags().BoolVar(&wide, "wide", false, "also when each was last heard of, where it answers, and its key")
	cmd.AddCommand(c.registerCommand(), c.forgetCommand())
	cmd.AddCommand(c.agentStatsCommands()...)
	return c.jsonFlag(cmd)
}

func (c *cli) worktreesCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "worktrees", Short: "List worktrees with the step that holds each", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withOrStart(cmd.Context(), func(s *session) error {
				list, err := s.Worktrees().List(cmd.Context(), conclave.ListWorktrees{Leased: !all})
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(list)
				}
				rows := [][]string{{"RUN", "STEP", "STATE", "HEAD", "PATH"}}
				for _, w := range list {
					rows = append(rows, []string{string(w.Run), w.Step, string(w.State), fmt.Sprintf("%.12s", w.Head), w.Path})
				}
				return table(c.stdout, rows, "no worktrees are in use")
			})
		}}
	cmd.Flags().BoolVar(&all, "all", false, "also those that were released")
	return c.jsonFlag(cmd)
}

func (c *cli) routeCommand() *cobra.Command {
	route := &cobra.Command{Use: "route", Short: "Ask the model router"}
	var role, kind string
	explain := &cobra.Command{Use: "explain [TASK]", Short: "Tell which model a request would get, and why", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := conclave.RouteQuery{Role: conclave.Role(role), Kind: conclave.AssignmentKind(kind)}
			if len(args) == 1 {
				q.Task = args[0]
			}
			return c.withOrStart(cmd.Context(), func(s *session) error {
				r, err := s.Models().Route(cmd.Context(), q)
				if err != nil {
					if errors.Is(err, conclave.ErrUnavailable) {
						c.exit = exitNeedsModel
					}
					return err
				}
				if c.asJSON {
					return c.printJSON(r)
				}
				_, err = fmt.Fprintf(c.stdout, "%s (%s tier, %s wire): %s\n", r.Model, r.Tier, r.Wire, r.Reason)
				return err
			})
		}}
	explain.Flags().StringVar(&role, "role", "", "as which role")
	explain.Flags().StringVar(&kind, "kind", "", "for which kind of assignment, such as plan.draft")
	route.AddCommand(c.jsonFlag(explain))
	return route
}

// serviceStatus is one row of conclave status.
type serviceStatus struct {
	Service conclave.Service `json:"service"`
	Address string           `json:"address"`
	Health  string           `json:"health"` // ready, degraded, not ready, no answer, does not run
	Reason  string           `json:"reason,omitempty"`
	Process string           `json:"process,omitempty"` // which runs it
	Version string           `json:"version,omitempty"` // of its program
	Engines []app.Engine     `json:"engines,omitempty"` // database, bus and registry that it uses
	missing []conclave.Service
}

func (c *cli) statusCommand() *cobra.Command {
	var config, here bool
	cmd := &cobra.Command{Use: "status [SERVICE...]", Short: "List services with address and health",
		Long: "List services with address and health: those of the data directory and those that nobody runs, or those named at their documented ports on this machine, as a container's health check wants it. The exit code is 1 when one is not ready.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if config {
				return c.showConfig()
			}
			urls, name, err := c.statusAddresses(args)
			if err != nil {
				return err
			}
			client, err := c.httpAs(name)
			if err != nil {
				return err
			}
			list := []serviceStatus{}
			var missing []conclave.Service
			for _, s := range conclave.AllServices() {
				if url, ok := urls[s]; ok {
					st := probe(cmd.Context(), client, s, url)
					list, missing = append(list, st), append(missing, st.missing...)
				}
			}
			if len(args) == 0 && !here {
				for _, s := range conclave.AllServices() {
					if _, ok := urls[s]; !ok && slices.Contains(missing, s) {
						list = append(list, serviceStatus{Service: s, Health: "does not run", Reason: "start it with conclave serve " + string(s)})
					}
				}
			}
			for _, st := range list {
				if st.Health != "ready" && st.Health != "degraded" { // which works, only slower
					c.exit = exitFailed
				}
			}
			if c.asJSON {
				return c.printJSON(list)
			}
			rows := [][]string{{"SERVICE", "ADDRESS", "HEALTH"}}
			for _, st := range list {
				health := st.Health
				if st.Reason != "" {
					health += " (" + st.Reason + ")"
				}
				rows = append(rows, []string{string(st.Service), dash(st.Address), health})
			}
			if err := table(c.stdout, rows, "nothing runs"); err != nil {
				return err
			}
			return c.showEngines(list)
		}}
	cmd.Flags().BoolVar(&here, "here", false, "leave out services that nobody runs")
	cmd.Flags().BoolVar(&config, "config", false, "show the settings that differ from the defaults, and where they came from")
	return c.jsonFlag(cmd)
}

// showEngines prints which database, bus and registry the services use.
func (c *cli) showEngines(list []serviceStatus) error {
	rows := [][]string{{"PART", "ENGINE", "SERVER"}}
	for _, st := range list {
		for _, e := range st.Engines {
			row := []string{e.Part, e.Engine, dash(e.Server)}
			if !slices.ContainsFunc(rows, func(r []string) bool { return slices.Equal(r, row) }) {
				rows = append(rows, row)
			}
		}
	}
	if len(rows) == 1 {
		return nil
	}
	fmt.Fprintln(c.stdout)
	return table(c.stdout, rows, "")
}

// statusAddresses is where the named services should answer on this machine, and
// without names where those of the data directory said that they do; and whose
// certificate they show there.
func (c *cli) statusAddresses(names []string) (map[conclave.Service]string, string, error) {
	name := c.getenv("CONCLAVE_TLS_NAME")
	if len(names) == 0 {
		home, err := app.Home(c.getenv)
		if err != nil {
			return nil, "", err
		}
		urls, err := app.ReadAddresses(home)
		return urls, name, err
	}
	config, err := c.config()
	if err != nil {
		return nil, "", err
	}
	if name == "" {
		name = config.Host() // as other processes call it, though here it is asked on this machine
	}
	config.AutoPorts = false
	urls := map[conclave.Service]string{}
	for _, name := range names {
		s, err := app.ParseService(name)
		if err != nil {
			return nil, "", err
		}
		urls[s] = config.LocalURL(s)
	}
	return urls, name, nil
}

func probe(ctx context.Context, client *http.Client, s conclave.Service, url string) serviceStatus {
	st := serviceStatus{Service: s, Address: url, Health: "no answer"}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz?missing", nil)
	if err != nil {
		return st
	}
	resp, err := client.Do(req)
	if err != nil {
		st.Reason = strings.TrimPrefix(distrust(err), " ")
		return st
	}
	defer resp.Body.Close()
	var body struct {
		Status, Reason, Process, Version string
		Engines                          []app.Engine
		Missing                          []conclave.Service
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&body) == nil {
		st.Reason, st.Process, st.Version, st.Engines, st.missing = body.Reason, body.Process, body.Version, body.Engines, body.Missing
	}
	if st.Version != "" && st.Version != app.Version {
		st.Reason = strings.TrimPrefix(st.Reason+"; its version is "+st.Version+", and this program's "+app.Version, "; ")
	}
	st.Health = "not ready"
	if resp.StatusCode == http.StatusOK {
		st.Health = "ready"
		if body.Status == "degraded" {
			st.Health = body.Status
		}
	}
	return st
}

func (c *cli) showConfig() error {
	config, err := c.config()
	if err == nil {
		err = config.Check()
	}
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.printJSON(config.Sources)
	}
	rows := [][]string{{"SETTING", "FROM"}}
	for _, name := range config.Changed() {
		rows = append(rows, []string{name, config.Sources[name]})
	}
	return table(c.stdout, rows, "every setting has its default")
}

func (c *cli) doctorCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{Use: "doctor", Short: "Tell what is here, what is missing, and what that means", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			rows := [][]string{{"WHAT", "FINDING"}}
			add := func(what, finding string) { rows = append(rows, []string{what, finding}) }
			add("conclave", app.Version+" on "+runtime.GOOS+"/"+runtime.GOARCH)
			if v, err := git.Version(ctx); err != nil {
				add("git", "MISSING: "+err.Error())
				c.exit = exitFailed
			} else {
				add("git", v)
			}
			if path, err := exec.LookPath("go"); err != nil {
				add("go", "not installed: Go repositories are planned and reviewed, but not built or tested")
			} else {
				add("go", path)
			}
			box, err := sandbox.New(sandbox.Options{Switch: c.getenv(sandbox.SwitchVariable)})
			if err != nil {
				return err
			}
			add("sandbox", box.Describe())
			if _, built := web.Files(); built {
				add("page", "built")
			} else {
				add("page", "not built (make web needs Node); everything else works")
			}
			config, err := c.config()
			if err != nil {
				return err
			}
			for _, line := range app.Brains(ctx, config, c.getenv) {
				add(line[0], line[1])
			}
			for _, line := range app.SecurityFindings(config, c.getenv) {
				add(line[0], line[1])
			}
			add("data", config.Home)
			engines, err := app.CheckEngines(ctx, config)
			if err != nil {
				return err
			}
			for _, e := range engines {
				finding := strings.TrimSpace(e.Engine + " " + e.Server)
				if e.Lost != "" {
					finding += ": DOES NOT ANSWER: " + e.Lost
					c.exit = exitFailed
				}
				add(e.Part, finding)
			}
			if c.asJSON {
				found := map[string]string{}
				for _, row := range rows[1:] {
					found[row[0]] = row[1]
				}
				return c.printJSON(found)
			}
			return table(c.stdout, rows, "")
		}})
}
