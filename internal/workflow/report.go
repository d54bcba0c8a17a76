package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/evidence"
)

// ReportDoc is the report of a run as JSON.
type ReportDoc struct {
	Run          conclave.Run             `json:"run"`
	Facts        conclave.Facts           `json:"facts"`
	Plan         *conclave.Plan           `json:"plan"`
	Steps        []conclave.Step          `json:"steps"`
	Debate       []Debate                 `json:"debate,omitempty"`
	Decisions    []conclave.Decision      `json:"decisions"`
	Findings     []conclave.ReviewFinding `json:"findings"`
	Evidence     []conclave.Evidence      `json:"evidence"`
	Messages     []conclave.Message       `json:"messages"`
	Contribution *conclave.Contribution   `json:"contribution,omitempty"` // whose review this is
	Compliance   []conclave.Compliance    `json:"compliance,omitempty"`   // with rule sets, of the last tree measured
	Left         []conclave.LeftFinding   `json:"left,omitempty"`         // what a repair left to somebody's judgement
}

// Debate is what was said about a version of the plan, and what its author made of it.
type Debate struct {
	Version  int                `json:"version"`
	Comments []conclave.Comment `json:"comments"`
	Notes    []string           `json:"notes,omitempty"`
}

// writeReport writes the three forms of the report. Writing it again gives the
// same files.
func (w *work) writeReport(ctx context.Context) (conclave.Report, error) {
	doc, err := w.gather(ctx)
	if err != nil {
		return conclave.Report{}, err
	}
	dir := filepath.Join(w.s.o.Reports, string(w.Run.ID))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return conclave.Report{}, conclave.Errorf(conclave.ErrUnavailable, "make the report's folder: %w", err)
	}
	r := conclave.Report{Markdown: filepath.Join(dir, "report.md"), JSON: filepath.Join(dir, "report.json"), SARIF: filepath.Join(dir, "report.sarif")}
	doc.Run.Report = r
	asJSON, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return r, err
	}
	sarif, err := evidence.SARIF(evidence.Report{Evidence: newest(doc.Evidence), Base: doc.Facts.Baseline, Review: doc.Findings, Compliance: doc.Compliance})
	if err != nil {
		return r, fmt.Errorf("write SARIF: %w", err)
	}
	for path, data := range map[string][]byte{r.Markdown: []byte(markdown(doc)), r.JSON: asJSON, r.SARIF: sarif} {
		if err := replaceFile(path, data); err != nil {
			return r, conclave.Errorf(conclave.ErrUnavailable, "write %s: %w", path, err)
		}
	}
	return r, nil
}

// replaceFile writes a file so that a reader sees the old or the new one, whole.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed, which is what is wanted
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Sync(); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func newest(list []conclave.Evidence) conclave.Evidence {
	if len(list) == 0 {
		return conclave.Evidence{}
	}
	return list[len(list)-1]
}

func (w *work) gather(ctx context.Context) (ReportDoc, error) {
	doc := ReportDoc{Run: w.Run, Steps: w.Steps, Decisions: []conclave.Decision{}, Findings: []conclave.ReviewFinding{}, Evidence: []conclave.Evidence{}}
	if in, err := output[intakeOut](w, "intake"); err == nil {
		doc.Facts = in.Facts
		if in.Facts.Baseline != nil {
			doc.Evidence = append(doc.Evidence, *in.Facts.Baseline)
		}
	}
	plans, err := w.s.o.Plans.List(ctx, conclave.ListPlans{Run: w.Run.ID})
	if err != nil {
		return doc, err
	}
	if len(plans) > 0 {
		doc.Plan = &plans[0]
	}
	if doc.Debate, err = w.debate(ctx); err != nil {
		return doc, err
	}
	motions, err := w.s.o.Council.List(ctx, conclave.ListMotions{Run: w.Run.ID, Page: conclave.Page{Limit: 500}})
	if err != nil {
		return doc, err
	}
	for i := len(motions) - 1; i >= 0; i-- {
		if motions[i].Decision != nil {
			doc.Decisions = append(doc.Decisions, *motions[i].Decision)
		}
	}
	for _, step := range w.Steps {
		if (step.Kind == kindVerify || step.Kind == kindAudit) && step.State == conclave.StepDone {
			v, err := output[verifyOut](w, step.Key)
			if err != nil {
				return doc, err
			}
			if len(v.Evidence.Checks) > 0 { // a step that changed nothing measured nothing
				doc.Evidence = append(doc.Evidence, v.Evidence)
			}
			doc.Findings = append(doc.Findings, v.Findings...)
			if v.Contribution != nil {
				doc.Contribution = v.Contribution
			}
		}
	}
	if last := newest(doc.Evidence); len(last.Checks) > 0 {
		doc.Compliance = evidence.Comply(last, doc.Findings)
	}
	doc.Left = w.left()
	doc.Messages, err = w.s.o.Hub.Messages(ctx, conclave.ListMessages{Run: w.Run.ID, Limit: 1000})
	return doc, err
}

// debate collects the comments on each version of the plan.
func (w *work) debate(ctx context.Context) ([]Debate, error) {
	var all []Debate
	for _, step := range w.Steps {
		if step.Kind != kindDraft && step.Kind != kindRevise || step.State != conclave.StepDone {
			continue
		}
		out, err := output[planOut](w, step.Key)
		if err != nil {
			return nil, err
		}
		if n := len(all) - 1; n >= 0 && step.Kind == kindRevise && out.Version > all[n].Version {
			all[n].Notes = out.Notes
		}
		p, err := w.s.o.Plans.Get(ctx, conclave.GetPlan{ID: out.ID, Version: out.Version})
		if err != nil {
			return nil, fmt.Errorf("read version %d of the plan: %w", out.Version, err)
		}
		if len(p.Comments) > 0 && !slices.ContainsFunc(all, func(d Debate) bool { return d.Version == out.Version }) {
			all = append(all, Debate{Version: out.Version, Comments: p.Comments})
		}
	}
	return all, nil
}

// markdown is the report for a person.
func markdown(doc ReportDoc) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	r := doc.Run
	p("# %s\n", oneLine(r.Task))
	mode := r.Brain
	if r.Offline {
		mode = "offline (playbooks and analysers, no model)"
	}
	p("| | |\n|---|---|")
	p("| status | **%s** – %s |", r.Status, cell(r.Reason))
	p("| run | `%s`, workflow %s |", r.ID, r.Workflow)
	p("| repository | `%s` at `%.12s` |", r.Repo, r.Base)
	if r.Head != "" {
		p("| branch | `%s` at `%.12s` |", r.Branch, r.Head)
	}
	p("| thought by | %s |", mode)
	p("| cost | %s model calls, %s tokens in, %s out, %s USD |\n", number(r.Usage.ModelCalls), number(r.Usage.InputTokens), number(r.Usage.OutputTokens), money(r.Usage.CostUSD))
	for _, warning := range r.Warnings {
		p("> %s\n", warning)
	}
	if doc.Plan != nil {
		p("## Plan, version %d by %s\n", doc.Plan.Version, doc.Plan.Author)
		p("%s\n", doc.Plan.Summary)
		for _, s := range doc.Plan.Steps {
			p("- **%s** (`%s`): %s", s.Title, s.Key, s.Description)
			for _, a := range s.Acceptance {
				p("  - %s", a)
			}
		}
		if len(doc.Plan.Uncovered) > 0 {
			p("\nNot covered without a model: %s", strings.Join(quoted(doc.Plan.Uncovered), "; "))
		}
		p("")
	}
	for _, d := range doc.Debate {
		p("## What was said about version %d\n", d.Version)
		p("| who | on | what | cites |\n|---|---|---|---|")
		for _, c := range d.Comments {
			p("| %s | %s | %s | %s |", c.Author, dash(c.Step), cell(c.Text), cell(c.Cites))
		}
		p("")
		for _, n := range d.Notes {
			p("- %s", oneLine(n))
		}
		p("")
	}
	if len(doc.Decisions) > 0 {
		p("## Decisions\n")
		p("| question | outcome | by | subject | absent | dissent |\n|---|---|---|---|---|---|")
		for _, d := range doc.Decisions {
			outcome := string(d.Outcome)
			if d.Option != "" {
				outcome += ": " + d.Option
			}
			p("| %s | **%s** – %s | %s | `%.24s` | %s | %s |", cell(d.Motion.Title), outcome, cell(d.Reason), d.DecidedBy, d.Motion.Subject.Hash, dash(strings.Join(d.Absent, ", ")), dash(cell(strings.Join(d.Dissent, "; "))))
		}
		p("")
	}
	if e := newest(doc.Evidence); len(e.Checks) > 0 {
		p("## Evidence on the last tree measured (`%.12s`)\n", e.Tree)
		p("%s.\n", checksText(e))
		for _, u := range e.Unchecked {
			p("- not checked: %s", u)
		}
		if len(e.Gone) > 0 {
			p("- %s of the commit it started from gone", count(len(e.Gone), "finding"))
		}
	}
	if len(doc.Left) > 0 {
		p("\n## Left to judgement\n")
		p("| where | rule | what | why it was not mended |\n|---|---|---|---|")
		for _, f := range doc.Left {
			p("| `%s:%d` | %s %s | %s | %s |", f.Path, f.Line, f.Tool, f.Rule, cell(f.Message), cell(f.Why))
		}
	}
	if len(doc.Findings) > 0 {
		p("\n## Findings\n")
		p("| where | rule | said by | what | stands |\n|---|---|---|---|---|")
		for _, f := range doc.Findings {
			stands := "advice"
			switch {
			case f.Refuted != "":
				stands = "refuted: " + cell(f.Refuted)
			case f.Blocks():
				stands = "blocks"
			}
			p("| `%s:%d` | %s %s | %s | %s | %s |", f.Path, f.Line, f.Tool, f.Rule, f.Reviewer, cell(f.Message), stands)
		}
		p("")
	}
	if doc.Contribution != nil {
		p("\n%s", contributionMarkdown(*doc.Contribution))
	}
	if len(doc.Compliance) > 0 {
		p("\n%s", evidence.ComplianceMarkdown(doc.Compliance))
	}
	if len(doc.Messages) > 0 {
		p("\n## Conversation\n")
		for _, m := range doc.Messages {
			p("- **%s** → %s: %s", m.From, m.To, oneLine(m.Text))
		}
	}
	return b.String()
}

func oneLine(s string) string {
	s, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if more {
		s += " …"
	}
	return s
}

func cell(s string) string { return strings.ReplaceAll(oneLine(s), "|", "\\|") }

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func number(n *int64) string {
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
