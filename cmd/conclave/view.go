package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"conclave"

	"charm.land/lipgloss/v2"
	"golang.org/x/term"
)

// view shows what happens as lines for a person. On a terminal it has colours
// and wraps; elsewhere it is plain.
type view struct {
	out   io.Writer
	color bool
	width int
	start time.Time
	asked map[string]bool // what several agents were asked alike
	err   error           // the first that writing met
}

func newView(out io.Writer) *view {
	v := &view{out: out, width: 100, asked: map[string]bool{}}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" {
		v.color = true
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 40 {
			v.width = min(w, 120)
		}
	}
	return v
}

func (v *view) style(s lipgloss.Style, text string) string {
	if !v.color {
		return text
	}
	return s.Render(text)
}

func (v *view) dim(t string) string  { return v.style(lipgloss.NewStyle().Faint(true), t) }
func (v *view) bold(t string) string { return v.style(lipgloss.NewStyle().Bold(true), t) }
func (v *view) good(t string) string {
	return v.style(lipgloss.NewStyle().Foreground(lipgloss.Color("2")), t)
}
func (v *view) bad(t string) string {
	return v.style(lipgloss.NewStyle().Foreground(lipgloss.Color("1")), t)
}

// who gives each role its own colour.
func (v *view) who(name string) string {
	colors := []string{"4", "5", "6", "3", "12", "13", "14", "11"}
	sum := 0
	role, _, _ := strings.Cut(name, "-")
	for _, r := range role {
		sum += int(r)
	}
	return v.style(lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color(colors[sum%len(colors)])), name)
}

func (v *view) line(format string, args ...any) {
	if _, err := fmt.Fprintf(v.out, format+"\n", args...); v.err == nil {
		v.err = err
	}
}

// printable takes out what would steer a terminal: what agents, models and
// repositories say is text and no more.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// text indents and wraps.
func (v *view) text(indent, s string) {
	for _, paragraph := range strings.Split(strings.TrimSpace(printable(s)), "\n") {
		line := indent
		for _, word := range strings.Fields(paragraph) {
			if lipgloss.Width(line)+1+lipgloss.Width(word) > v.width && line != indent {
				v.line("%s", line)
				line = indent
			}
			if line != indent {
				line += " "
			}
			line += word
		}
		v.line("%s", line)
	}
}

// follow shows a run until it has ended or waits for a human.
func (v *view) follow(ctx context.Context, s *session, id conclave.RunID) error {
	for e, err := range s.Events().Watch(ctx, conclave.EventFilter{Run: id}) {
		if err != nil {
			return err
		}
		v.event(e)
		if e.Kind == conclave.EventRunEnded || e.Kind == conclave.EventApprovalAsked {
			return nil
		}
	}
	return ctx.Err()
}

// event shows one event; those that only matter to the machinery are left out.
func (v *view) event(e conclave.Event) {
	if v.start.IsZero() {
		v.start = e.At
	}
	at := v.dim(fmt.Sprintf("%5.1fs", e.At.Sub(v.start).Seconds()))
	e.Text, e.Actor = printable(e.Text), printable(e.Actor)
	switch e.Kind {
	case conclave.EventRunStarted:
		v.line("%s %s", v.bold("▶ "+e.Text), v.dim(string(e.Run)))
	case conclave.EventRunWarned:
		v.line("%s %s", at, v.bad("! "+e.Text))
	case conclave.EventStepStarted:
		v.line("%s %s", at, v.dim("┌ "+e.Text))
	case conclave.EventStepEnded:
		var d struct{ State, Reason string }
		if json.Unmarshal(e.Data, &d) == nil && (d.State == string(conclave.StepFailed) || d.Reason != "") {
			v.line("%s └ %s", at, e.Text)
		}
	case conclave.EventMessageSent:
		var m conclave.Message
		if json.Unmarshal(e.Data, &m) != nil || strings.TrimSpace(m.Text) == "" {
			return
		}
		to := strings.TrimPrefix(strings.TrimPrefix(m.To, "roles/"), "agents/")
		if seats := map[conclave.AssignmentKind]string{conclave.AssignVote: "voters", conclave.AssignReview: "reviewers"}[m.Kind]; seats != "" && strings.HasPrefix(m.To, "roles/") {
			if v.asked[m.Text] {
				return
			}
			v.asked[m.Text], to = true, seats
		}
		if m.From == string(conclave.ServiceWorkflow) || m.From == string(conclave.ServiceCouncil) {
			v.line("%s %s", at, v.dim("  → "+to+": "+short(m.Text, v.width-len(to)-14)))
			return
		}
		if m.Kind == conclave.AssignVote {
			return // its ballot follows, with all reasons
		}
		v.line("%s %s", at, v.who(m.From))
		v.text("         ", m.Text)
	case conclave.EventPlanCommented:
		v.line("%s %s %s", at, v.who(e.Actor), v.dim("on the plan"))
		v.text("         ", e.Text)
	case conclave.EventBallotCast:
		verdict, reasons, _ := strings.Cut(e.Text, ": ")
		mark := v.good("✔ " + verdict)
		if verdict == string(conclave.VerdictReject) {
			mark = v.bad("✘ " + verdict)
		}
		v.line("%s %s votes %s", at, v.who(e.Actor), mark)
		if reasons != "" {
			v.text("         ", reasons)
		}
	case conclave.EventBallotRefused:
		v.line("%s %s", at, v.bad("✘ ballot of "+e.Actor+" refused: "+e.Text))
	case conclave.EventMotionDecided:
		v.line("%s %s", at, v.bold("⚖ "+e.Text))
	case conclave.EventEscalated, conclave.EventEscalationEnded:
		v.line("%s ↑ %s %s", at, v.who(e.Actor)+":", e.Text)
	case conclave.EventPublished:
		v.line("%s ⇉ %s", at, e.Text)
	case conclave.EventMotionEscalated:
		v.line("%s ↑ %s", at, e.Text)
	case conclave.EventWorktreeCommited:
		v.line("%s ● %s", at, e.Text)
	case conclave.EventMergeDone:
		v.line("%s %s", at, v.good("◆ merged "+e.Text))
	case conclave.EventMergeRefused:
		v.line("%s %s", at, v.bad("◇ "+e.Text))
	case conclave.EventApprovalAsked:
		v.line("%s ? %s", at, e.Text)
	case conclave.EventCallRefused:
		v.line("%s %s", at, v.bad("refused: "+e.Text))
	case conclave.EventRunEnded:
		v.line("%s %s", at, v.bold("■ "+e.Text))
	}
}

// result is the end of a run on one screen. It returns what kept anything of the
// run from being shown.
func (v *view) result(d conclave.RunDetail) error {
	r := d.Run
	status := v.good(string(r.Status))
	if r.Status != conclave.RunDone && r.Status != conclave.RunRunning {
		status = v.bad(string(r.Status))
	}
	v.line("")
	v.line("%s  %s", v.bold(short(r.Task, v.width-4)), v.dim(string(r.ID)))
	v.line("status   %s", status)
	if r.Reason != "" {
		v.text("         ", r.Reason)
	}
	brain := r.Brain
	if r.Offline {
		brain = "offline: playbooks and analysers, no model"
	}
	v.line("brain    %s", brain)
	v.line("cost     %s model calls, %s tokens in, %s out, %s USD", whole(r.Usage.ModelCalls), whole(r.Usage.InputTokens), whole(r.Usage.OutputTokens), money(r.Usage.CostUSD))
	if r.Branch != "" {
		v.line("branch   %s at %.12s in %s", r.Branch, r.Head, r.Repo)
	}
	for _, dec := range d.Decisions {
		if len(dec.Dissent) > 0 {
			v.line("dissent  on “%s”:", printable(dec.Motion.Title))
			for _, d := range dec.Dissent {
				v.text("         ", d)
			}
		}
	}
	if r.Report.Markdown != "" {
		v.line("report   %s", r.Report.Markdown)
	}
	for _, a := range d.Approvals {
		if a.Decided == nil {
			v.line("waits    %s: conclave approve %s", a.Title, r.ID)
		}
	}
	if r.Status == conclave.RunDone && r.Branch != "" && len(d.Approvals) == 0 {
		v.line("next     git -C %s switch %s", r.Repo, r.Branch)
	}
	return v.err
}

func whole(n *int64) string {
	if n == nil {
		return "–"
	}
	return fmt.Sprint(*n)
}

func money(n *float64) string {
	if n == nil {
		return "–"
	}
	return fmt.Sprintf("%.4f", *n)
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func short(s string, n int) string {
	s = strings.Join(strings.Fields(printable(s)), " ")
	if r := []rune(s); len(r) > n && n > 1 {
		return string(r[:n-1]) + "…"
	}
	return s
}

// table prints rows under a head, or says that there are none.
func table(w io.Writer, rows [][]string, none string) error {
	if len(rows) == 1 {
		_, err := fmt.Fprintln(w, none)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}
