package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"conclave"

	"github.com/spf13/cobra"
)

// job is what the commands that start a run have in common.
type job struct {
	repo, brain, workflow string
	detach, quiet         bool
	format                string
	head, into            string // of a contribution
}

func (c *cli) jobFlags(cmd *cobra.Command, j *job) *cobra.Command {
	cmd.Flags().StringVar(&j.repo, "repo", ".", "folder of the git repository")
	cmd.Flags().StringVar(&j.brain, "brain", "", "what thinks: auto, offline, model or claude (default: the configuration's)")
	cmd.Flags().BoolVarP(&j.quiet, "quiet", "q", false, "show only the result")
	cmd.Flags().BoolVarP(&j.detach, "detach", "d", false, "start it on the running services and return")
	return c.jsonFlag(cmd)
}

func (c *cli) runCommand() *cobra.Command {
	j := &job{}
	cmd := &cobra.Command{Use: "run TASK", Short: "Plan, vote, build, review and merge onto a branch; with -, the task is read from standard input", Args: cobra.ExactArgs(1),
		Example: `  conclave run "Create a secure REST API for user management" --repo .`,
		RunE:    func(cmd *cobra.Command, args []string) error { return c.job(cmd.Context(), args[0], j) }}
	cmd.Flags().StringVar(&j.workflow, "workflow", "collaborative", "collaborative, consensus-planning or multi-review")
	return c.jobFlags(cmd, j)
}

func (c *cli) planCommand() *cobra.Command {
	j := &job{workflow: "consensus-planning"}
	return c.jobFlags(&cobra.Command{Use: "plan TASK", Short: "Have a plan drafted, discussed and voted on", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.job(cmd.Context(), args[0], j) }}, j)
}

func (c *cli) documentCommand() *cobra.Command {
	j := &job{workflow: "collaborative"}
	return c.jobFlags(&cobra.Command{Use: "document", Short: "Write or update the API reference of a repository from its code, onto a branch", Args: cobra.NoArgs,
		Long: "Writes docs/api.md from comments, declarations, flags, environment variables, routes and OpenAPI descriptions; what has no comment is listed\n" +
			"as such. Without a model it reads Go. A page that somebody else wrote is left alone, and docs/api-reference.md is written.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.job(cmd.Context(), "Write the API documentation from the code", j)
		}}, j)
}

func (c *cli) reviewCommand() *cobra.Command {
	j := &job{workflow: "multi-review"}
	contribution := ""
	cmd := &cobra.Command{Use: "review [FOCUS]", Short: "Have the repository's HEAD, or a contribution to it, reviewed with evidence and voted on", Args: cobra.MaximumNArgs(1),
		Example: "  conclave review\n  conclave review --contribution feature\n  conclave review --contribution main..feature --format markdown\n  conclave review --contribution pr/12",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch j.format {
			case "text", "markdown", "sarif":
			default:
				return conclave.Errorf(conclave.ErrInvalid, "--format is %q; it must be text, markdown or sarif", j.format)
			}
			focus := "Review the repository"
			if contribution != "" {
				var err error
				if j.head, j.into, err = parseContribution(contribution); err != nil {
					return err
				}
				focus = "Review the contribution " + contribution
			}
			if len(args) == 1 {
				focus = args[0]
			}
			return c.job(cmd.Context(), focus, j)
		}}
	cmd.Flags().StringVar(&contribution, "contribution", "", "what to review instead of HEAD: a branch, BASE..BRANCH, or pr/NUMBER when it was fetched; with its history")
	cmd.Flags().StringVar(&j.format, "format", "text", "text, markdown or sarif; the last two write the report to standard output and nothing else")
	return c.jobFlags(cmd, j)
}

var pullRequest = regexp.MustCompile(`^(?:pr/|#)([1-9][0-9]*)$`)

// parseContribution reads a branch, BASE..BRANCH, or a pull request by its number.
func parseContribution(text string) (head, into string, err error) {
	if m := pullRequest.FindStringSubmatch(text); m != nil {
		return "refs/pull/" + m[1] + "/head", "", nil
	}
	into, head, isRange := strings.Cut(text, "..")
	if !isRange {
		return text, "", nil
	}
	if into == "" || head == "" || strings.HasPrefix(head, ".") {
		return "", "", conclave.Errorf(conclave.ErrInvalid, "--contribution is %q; it must be a branch, BASE..BRANCH, or pr/NUMBER", text)
	}
	return head, into, nil
}

// maxTask is the most that is read of a task; the service allows less.
const maxTask = 1 << 20

// job starts a run, shows it live, and ends with its result and exit code.
func (c *cli) job(ctx context.Context, task string, j *job) (err error) {
	if task == "-" { // longer than a command line may be
		text, err := io.ReadAll(io.LimitReader(os.Stdin, maxTask+1))
		if err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "read the task from standard input: %w", err)
		}
		if len(text) > maxTask {
			return conclave.Errorf(conclave.ErrInvalid, "the task on standard input has more than %d bytes", maxTask)
		}
		task = string(text)
	}
	if !utf8.ValidString(task) { // JSON would bend it
		return conclave.Errorf(conclave.ErrInvalid, "the task is not UTF-8 text")
	}
	repo, err := filepath.Abs(j.repo)
	if err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "repository %q: %w", j.repo, err)
	}
	connect := c.connectOrStart
	if j.detach {
		connect = c.connect
	}
	s, err := connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	run, err := s.Workflows().Start(ctx, conclave.StartRun{Task: task, Repo: repo, Workflow: j.workflow, Brain: j.brain, Head: j.head, Into: j.into, Key: conclave.NewID("cli")})
	if err != nil {
		if number, ok := strings.CutPrefix(j.head, "refs/pull/"); ok && errors.Is(err, conclave.ErrInvalid) {
			err = fmt.Errorf("%w; fetch it first: git fetch origin pull/%s:%s", err, number, j.head)
		}
		if brain := cmp.Or(j.brain, c.getenv("CONCLAVE_BRAIN")); errors.Is(err, conclave.ErrUnavailable) && (brain == "model" || brain == "claude") {
			c.exit = exitNeedsModel
		}
		return err
	}
	if j.detach {
		if c.asJSON {
			return c.printJSON(run)
		}
		_, err := fmt.Fprintf(c.stdout, "%s runs; follow it with: conclave watch %s\n", run.ID, run.ID)
		return err
	}
	plainReport := j.format == "sarif" || j.format == "markdown"
	out := c.stdout
	if c.asJSON || plainReport {
		out = c.stderr // standard output is for the result
	}
	v := newView(out)
	if !j.quiet && !plainReport {
		if err := v.follow(ctx, s, run.ID); err != nil && ctx.Err() == nil {
			return err
		}
	}
	detail, err := c.end(ctx, s, run.ID)
	if ctx.Err() != nil {
		return c.interrupted(s, run.ID)
	}
	if err != nil {
		return err
	}
	run = detail.Run
	c.exit = exitCode(run.Status)
	switch {
	case c.asJSON:
		return c.printJSON(run)
	case plainReport:
		path := run.Report.SARIF
		if j.format == "markdown" {
			path = run.Report.Markdown
		}
		if path == "" {
			return conclave.Errorf(conclave.ErrUnavailable, "the review ended without a report: %s", run.Reason)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = c.stdout.Write(data)
		return err
	}
	return v.result(detail)
}

// interrupted says what becomes of the run: it goes on where it stopped when
// the services start again.
func (c *cli) interrupted(s *session, id conclave.RunID) error {
	return fmt.Errorf("interrupted; %s goes on with the services (conclave serve), or end it with: conclave cancel %s", id, id)
}

// end waits for the end of a run, or for a wait that only a human can end. A run
// has ended when it has given its worktrees back, too: services that were started
// for it alone end with it.
func (c *cli) end(ctx context.Context, s *session, id conclave.RunID) (conclave.RunDetail, error) {
	for {
		d, err := s.Workflows().Get(ctx, conclave.GetRun{ID: id, Wait: 1000})
		if err != nil || d.Run.Status == conclave.RunWaiting {
			return d, err
		}
		if d.Run.Status.Ended() {
			return c.stepEnds(ctx, s, id, func(d conclave.RunDetail) (bool, error) {
				i := slices.IndexFunc(d.Steps, func(step conclave.Step) bool { return step.Key == "cleanup" })
				return i < 0 || d.Steps[i].State.Ended(), nil
			})
		}
	}
}

// stepEnds looks at a run whenever one of its steps ends, until done says so.
func (c *cli) stepEnds(ctx context.Context, s *session, id conclave.RunID, done func(conclave.RunDetail) (bool, error)) (conclave.RunDetail, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var after int64
	for {
		d, err := s.Workflows().Get(ctx, conclave.GetRun{ID: id})
		if err != nil {
			return d, err
		}
		if ok, err := done(d); ok || err != nil {
			return d, err
		}
		for e, err := range s.Events().Watch(ctx, conclave.EventFilter{Run: id, After: after, Kinds: []conclave.EventKind{conclave.EventStepEnded}}) {
			if err != nil {
				return d, err
			}
			after = e.Seq
			break
		}
		if err := ctx.Err(); err != nil {
			return d, err
		}
	}
}

func exitCode(s conclave.RunStatus) int {
	switch s {
	case conclave.RunDone:
		return exitDone
	case conclave.RunNeedsModel:
		return exitNeedsModel
	case conclave.RunWaiting:
		return exitWaits
	case conclave.RunRejected:
		return exitRejected
	}
	return exitFailed
}

func (c *cli) runsCommand() *cobra.Command {
	var status string
	cmd := &cobra.Command{Use: "runs [RUN]", Short: "List runs, newest first, or show one", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withOrStart(cmd.Context(), func(s *session) error {
				if len(args) == 1 {
					d, err := s.Workflows().Get(cmd.Context(), conclave.GetRun{ID: conclave.RunID(args[0])})
					if err != nil {
						return err
					}
					if c.asJSON {
						return c.printJSON(d)
					}
					return newView(c.stdout).result(d)
				}
				runs, err := s.Workflows().List(cmd.Context(), conclave.ListRuns{Status: conclave.RunStatus(status)})
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(runs)
				}
				rows := [][]string{{"RUN", "STATUS", "BRANCH", "TASK"}}
				for _, r := range runs {
					rows = append(rows, []string{string(r.ID), string(r.Status), dash(r.Branch), short(r.Task, 60)})
				}
				return table(c.stdout, rows, "no runs yet; start one with: conclave run \"…\" --repo .")
			})
		}}
	cmd.Flags().StringVar(&status, "status", "", "only runs with this status")
	return c.jsonFlag(cmd)
}

func (c *cli) approveCommand() *cobra.Command {
	var reject, all bool
	var reason, option string
	cmd := &cobra.Command{Use: "approve [RUN|APPROVAL]", Short: "Approve or reject what waits for you; without a name, list it", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withOrStart(cmd.Context(), func(s *session) error {
				if len(args) == 0 {
					return c.listApprovals(cmd.Context(), s, all)
				}
				in := conclave.Approve{ID: conclave.ApprovalID(args[0]), Decision: conclave.VerdictApprove, Option: option, Reason: reason, Key: conclave.NewID("cli")}
				if reject {
					in.Decision = conclave.VerdictReject
				}
				a, err := s.Workflows().Approve(cmd.Context(), in)
				if err != nil {
					return err
				}
				if a.Kind == "deliver" && !reject {
					if err := c.landed(cmd.Context(), s, a); err != nil {
						return err
					}
				}
				if c.asJSON {
					return c.printJSON(a)
				}
				_, err = fmt.Fprintf(c.stdout, "%s: %s\n", a.Title, a.Decision)
				return err
			})
		}}
	cmd.Flags().BoolVar(&reject, "reject", false, "reject it")
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	cmd.Flags().StringVar(&option, "option", "", "which of its options to take, when the agents could not agree on one")
	cmd.Flags().BoolVar(&all, "all", false, "list also what was decided")
	return c.jsonFlag(cmd)
}

// landed waits until the user's branch has moved, so that the command's end
// means what it says.
func (c *cli) landed(ctx context.Context, s *session, a conclave.Approval) error {
	_, err := c.stepEnds(ctx, s, a.Run, func(d conclave.RunDetail) (bool, error) {
		i := slices.IndexFunc(d.Steps, func(step conclave.Step) bool { return step.Key == "land" })
		if i >= 0 && d.Steps[i].State == conclave.StepFailed {
			return true, conclave.Errorf(conclave.ErrConflict, "%s", d.Steps[i].Reason)
		}
		return i >= 0 && d.Steps[i].State == conclave.StepDone, nil
	})
	return err
}

func (c *cli) listApprovals(ctx context.Context, s *session, all bool) error {
	in := conclave.ListApprovals{}
	if all {
		in.State = conclave.ApprovalAll
	}
	list, err := s.Workflows().Approvals(ctx, in)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.printJSON(list)
	}
	rows := [][]string{{"RUN", "WHAT", "OPTIONS", "DECIDED", "DETAIL"}}
	for _, a := range list {
		decided := string(a.Decision)
		if a.Option != "" {
			decided = a.Option
		}
		rows = append(rows, []string{string(a.Run), a.Title, dash(strings.Join(a.Options, ", ")), dash(decided), short(strings.ReplaceAll(a.Detail, "\n", " "), 90)})
	}
	return table(c.stdout, rows, "nothing waits for you")
}

func (c *cli) cancelCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{Use: "cancel RUN", Short: "End a run and save what was not merged", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withOrStart(cmd.Context(), func(s *session) error {
				run, err := s.Workflows().Cancel(cmd.Context(), conclave.NameRun{ID: conclave.RunID(args[0]), Key: conclave.NewID("cli")})
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(run)
				}
				_, err = fmt.Fprintf(c.stdout, "%s: %s\n", run.ID, run.Status)
				return err
			})
		}})
}

// withOrStart is with, on services of its own when none run: what a command
// reads or decides is in the data directory either way.
func (c *cli) withOrStart(ctx context.Context, f func(*session) error) error {
	s, err := c.connectOrStart(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.close())
}
