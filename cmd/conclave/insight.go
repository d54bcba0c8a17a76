package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"conclave"
	"conclave/internal/insight"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"
)

func (c *cli) analyticsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "analytics", Short: "Tell how runs and votes went"}
	var hours int
	metrics := &cobra.Command{Use: "metrics", Short: "Show the six key metrics with their targets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return insightTable(c, cmd, func(s *session) ([]conclave.KeyMetric, error) {
				return s.Insights().Metrics(cmd.Context(), conclave.GetInsights{Hours: hours})
			}, metricRows)
		}}
	collaboration := &cobra.Command{Use: "collaboration", Short: "Show how runs went, and who asked whom", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return insightTable(c, cmd, func(s *session) (conclave.CollaborationStats, error) {
				return s.Insights().Collaboration(cmd.Context(), conclave.GetInsights{Hours: hours})
			}, collaborationRows)
		}}
	consensus := &cobra.Command{Use: "consensus", Short: "Show how votes went", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return insightTable(c, cmd, func(s *session) (conclave.ConsensusStats, error) {
				return s.Insights().Consensus(cmd.Context(), conclave.GetInsights{Hours: hours})
			}, consensusRows)
		}}
	for _, sub := range []*cobra.Command{metrics, collaboration, consensus} {
		hoursFlag(sub, &hours)
		cmd.AddCommand(c.jsonFlag(sub))
	}
	return cmd
}

func (c *cli) agentStatsCommands() []*cobra.Command {
	var hours int
	performance := &cobra.Command{Use: "performance", Short: "Show how each agent did", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return insightTable(c, cmd, func(s *session) ([]conclave.AgentStats, error) {
				return s.Insights().Performance(cmd.Context(), conclave.GetInsights{Hours: hours})
			}, performanceRows)
		}}
	load := &cobra.Command{Use: "load", Short: "Show what agents and queues have in hand", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return insightTable(c, cmd, func(s *session) (conclave.LoadStats, error) {
				return s.Insights().Load(cmd.Context(), conclave.GetInsights{Hours: hours})
			}, loadRows)
		}}
	for _, sub := range []*cobra.Command{performance, load} {
		hoursFlag(sub, &hours)
		c.jsonFlag(sub)
	}
	return []*cobra.Command{performance, load}
}

func hoursFlag(cmd *cobra.Command, hours *int) {
	cmd.Flags().IntVar(hours, "hours", 24, "how many hours to look back, 1 to 2160")
}

// insightTable asks for figures and prints them, as JSON or as tables with an
// empty line between them.
func insightTable[T any](c *cli, cmd *cobra.Command, ask func(*session) (T, error), tables func(T) [][][]string) error {
	return c.with(cmd.Context(), func(s *session) error {
		v, err := ask(s)
		if err != nil {
			return err
		}
		if c.asJSON {
			return c.printJSON(v)
		}
		for i, rows := range tables(v) {
			if i > 0 {
				if _, err := fmt.Fprintln(c.stdout); err != nil {
					return err
				}
			}
			if err := table(c.stdout, rows, strings.ToLower(rows[0][0])+": nothing yet"); err != nil {
				return err
			}
		}
		return nil
	})
}

// share shows a ratio in percent, or "–" where it was not measured.
func share(v *float64) string {
	if v == nil {
		return "–"
	}
	return strconv.FormatFloat(100**v, 'f', 1, 64) + " %"
}

func figure(v *float64, format string) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf(format, *v)
}

func seconds(v *float64) string { return figure(v, "%.2f s") }

func metricRows(list []conclave.KeyMetric) [][][]string {
	rows := [][]string{{"METRIC", "VALUE", "TARGET", "MET", "MEASURED ON"}}
	for _, m := range list {
		value, target := share(m.Value), share(&m.Target)
		switch m.Unit {
		case "seconds":
			value, target = seconds(m.Value), fmt.Sprintf("%.0f s", m.Target)
		case "score":
			value, target = figure(m.Value, "%.2f"), fmt.Sprintf("%.2f", m.Target)
		}
		if m.Below {
			target = "< " + target
		} else {
			target = "> " + target
		}
		met := "–"
		if m.Met != nil {
			met = map[bool]string{true: "yes", false: "no"}[*m.Met]
		}
		rows = append(rows, []string{m.Title, value, target, met, strconv.Itoa(m.Sample)})
	}
	return [][][]string{rows}
}

func collaborationRows(s conclave.CollaborationStats) [][][]string {
	about := [][]string{{"COLLABORATION", fmt.Sprintf("LAST %d H", s.Hours)}, {"runs", strconv.Itoa(s.Runs)}}
	for _, n := range s.Statuses {
		about = append(about, []string{"  " + n.Name, strconv.Itoa(n.Count)})
	}
	about = append(about, []string{"success", share(s.Success)}, []string{"mean time when done", seconds(s.Seconds)},
		[]string{"conversations", strconv.Itoa(s.Conversations)}, []string{"messages", strconv.Itoa(s.Messages)},
		[]string{"steps built again", strconv.Itoa(s.Mended)}, []string{"calls refused", strconv.Itoa(s.Refused)})
	flows := [][]string{{"WORKFLOW", "RUNS", "SUCCESS", "MEAN TIME"}}
	for _, w := range s.Workflows {
		flows = append(flows, []string{w.Workflow, strconv.Itoa(w.Runs), share(w.Success), seconds(w.Seconds)})
	}
	talk := [][]string{{"FROM", "TO", "TASKS", "COMPLETED", "MEAN TIME"}}
	for _, r := range s.Relations {
		talk = append(talk, []string{r.From, string(r.Agent), strconv.Itoa(r.Tasks), strconv.Itoa(r.Completed), seconds(r.Seconds)})
	}
	return [][][]string{about, flows, talk}
}

func consensusRows(s conclave.ConsensusStats) [][][]string {
	about := [][]string{{"CONSENSUS", fmt.Sprintf("LAST %d H", s.Hours)}, {"votes", strconv.Itoa(s.Motions)}, {"  decided by vote", strconv.Itoa(s.ByVote)},
		{"  decided by a senior", strconv.Itoa(s.BySenior)}, {"  decided by a human", strconv.Itoa(s.ByHuman)}, {"  waiting for a human", strconv.Itoa(s.Waiting)},
		{"  open", strconv.Itoa(s.Open)}, {"reached in time", share(s.Achieved)}, {"escalated", share(s.Escalated)}, {"unanimous", share(s.Unanimous)},
		{"mean rounds", figure(s.Rounds, "%.2f")}, {"mean time", seconds(s.Seconds)}}
	subjects := [][]string{{"SUBJECT", "DECIDED", "APPROVED", "REJECTED", "CHOSEN", "REACHED IN TIME"}}
	for _, k := range s.Subjects {
		subjects = append(subjects, []string{k.Subject, strconv.Itoa(k.Decided), strconv.Itoa(k.Approved), strconv.Itoa(k.Rejected), strconv.Itoa(k.Chosen), share(k.Achieved)})
	}
	tried := [][]string{{"THRESHOLD", "GOOD PASSED", "BAD STOPPED", "WRONG"}}
	for _, t := range s.Tried {
		tried = append(tried, []string{strconv.FormatFloat(t.Threshold, 'g', -1, 64), strconv.Itoa(t.Good), strconv.Itoa(t.Bad), strconv.Itoa(t.Wrong)})
	}
	return [][][]string{about, subjects, tried}
}

func performanceRows(list []conclave.AgentStats) [][][]string {
	rows := [][]string{{"AGENT", "BRAIN", "STATE", "DONE", "FAILED", "SUCCESS", "MEAN TIME", "95 %", "TRUST", "OUTCOMES", "MODEL CALLS", "COST"}}
	for _, a := range list {
		rows = append(rows, []string{string(a.Agent), dash(a.Brain), string(a.State), strconv.Itoa(a.Completed), strconv.Itoa(a.Failed), share(a.Success),
			seconds(a.Seconds), seconds(a.Seconds95), figure(a.Trust, "%.2f"), fmt.Sprintf("+%d −%d", a.Confirmed, a.Refuted), strconv.Itoa(a.ModelCalls), figure(a.CostUSD, "$%.4f")})
	}
	return [][][]string{rows}
}

func loadRows(s conclave.LoadStats) [][][]string {
	agents := [][]string{{"AGENT", "ROLE", "STATE", "LOAD", "UTILIZATION", "TASKS ENDED", "BUSY"}}
	for _, a := range s.Agents {
		agents = append(agents, []string{string(a.Agent), string(a.Role), string(a.State), fmt.Sprintf("%d/%d", a.Active, a.Capacity), share(a.Utilization),
			strconv.Itoa(a.Tasks), fmt.Sprintf("%.1f s", a.BusySeconds)})
	}
	roles := [][]string{{"ROLE", "LIVE", "LOAD", "UTILIZATION", "TASKS ENDED", "BUSY"}}
	for _, r := range s.Roles {
		roles = append(roles, []string{string(r.Role), strconv.Itoa(r.Agents), fmt.Sprintf("%d/%d", r.Active, r.Capacity), share(r.Utilization),
			strconv.Itoa(r.Tasks), fmt.Sprintf("%.1f s", r.BusySeconds)})
	}
	roles = append(roles, []string{"all", "", fmt.Sprintf("%d/%d", s.Active, s.Capacity), share(s.Utilization), "", ""})
	queues := [][]string{{"QUEUE", "WAITING", "OLDEST"}}
	for _, q := range s.Queues {
		queues = append(queues, []string{q.Queue, strconv.Itoa(q.Depth), seconds(q.Oldest)})
	}
	return [][][]string{agents, roles, queues}
}

func (c *cli) tuneCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "tune", Short: "Propose settings by what was measured, as a diff of their file"}
	var hours int
	var apply bool
	agents := &cobra.Command{Use: "agents", Short: "Spread the agents over the roles by their load", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := c.config()
			if err != nil {
				return err
			}
			return c.with(cmd.Context(), func(s *session) error {
				load, err := s.Insights().Load(cmd.Context(), conclave.GetInsights{Hours: hours})
				if err != nil {
					return err
				}
				return c.propose(insight.TuneAgents(config.Pool.Distribution, load), filepath.Join(config.Files, "agent_pool.yml"), config.Files, apply)
			})
		}}
	consensus := &cobra.Command{Use: "consensus", Short: "Set the consensus threshold by what votes turned out to be worth", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := c.config()
			if err != nil {
				return err
			}
			const variable = "VERIFICATION_CONSENSUS_THRESHOLD"
			if config.Sources["collaboration.consensus_threshold"] == variable {
				return conclave.Errorf(conclave.ErrConflict, "%s is set and goes before the file; unset it to have the file's value tuned", variable)
			}
			return c.with(cmd.Context(), func(s *session) error {
				stats, err := s.Insights().Consensus(cmd.Context(), conclave.GetInsights{Hours: hours})
				if err != nil {
					return err
				}
				return c.propose(insight.TuneThreshold(config.Rules.Threshold, stats), filepath.Join(config.Files, "collaboration_rules.yml"), config.Files, apply)
			})
		}}
	for _, sub := range []*cobra.Command{agents, consensus} {
		sub.Flags().IntVar(&hours, "hours", 7*24, "how many hours to look back, 1 to 2160")
		sub.Flags().BoolVar(&apply, "apply", false, "write the file; it holds from the next start of the services on")
		cmd.AddCommand(c.jsonFlag(sub))
	}
	return cmd
}

// propose shows a proposal as a diff of a file, and writes the file when it is to
// be applied.
func (c *cli) propose(p insight.Proposal, path, folder string, apply bool) error {
	if c.asJSON && !apply {
		return c.printJSON(p)
	}
	if len(p.Changes) == 0 {
		_, err := fmt.Fprintf(c.stdout, "%s: %s; nothing is proposed\n", p.Measured, p.Reason)
		return err
	}
	if folder == "" {
		return conclave.Errorf(conclave.ErrNotFound, "there is no folder of settings to change; name it with CONCLAVE_CONFIG, or start where config/ is")
	}
	old, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return conclave.Errorf(conclave.ErrNotFound, "there is no %s to change", path)
	}
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "read %s: %w", path, err)
	}
	changed, err := insight.Edit(old, p.Changes)
	if err != nil {
		return fmt.Errorf("change %s: %w", path, err)
	}
	diff, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{A: difflib.SplitLines(string(old)), B: difflib.SplitLines(string(changed)),
		FromFile: path, ToFile: path, Context: 3})
	if err != nil {
		return fmt.Errorf("compare %s with what it would be: %w", path, err)
	}
	why := []string{"# " + p.Measured}
	for _, ch := range p.Changes {
		why = append(why, "# "+ch.Why)
	}
	if apply {
		if err := overwrite(path, changed); err != nil {
			return err
		}
		why = append(why, "# applied; it holds from the next start of the services on")
	} else {
		why = append(why, "# --apply (APPLY=1 with make) writes it")
	}
	if c.asJSON {
		return c.printJSON(p)
	}
	_, err = fmt.Fprintf(c.stdout, "%s\n%s", strings.Join(why, "\n"), diff)
	return err
}

// overwrite gives a file new content at once, and leaves its mode.
func overwrite(path string, data []byte) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) // is gone once it is renamed
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err)
	}
	return nil
}
