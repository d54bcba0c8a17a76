package agent

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"conclave"
	"conclave/internal/playbook"
)

// PlaybookBrain thinks without a model: it plans, comments, ranks and builds
// from declared knowledge, and reviews from what analysers and tests measured.
// What is beyond that it says, and leaves.
type PlaybookBrain struct{ opts PlaybookOptions }

// PlaybookOptions gives a playbook hands for what it does not do itself.
type PlaybookOptions struct {
	// Repair mends a worktree by what analysers suggest, and says what it
	// changed. Nil: such steps need a model.
	Repair func(ctx context.Context, a conclave.Assignment) (conclave.BuildReply, error)
}

// NewPlaybookBrain makes a brain that needs no model.
func NewPlaybookBrain(o PlaybookOptions) *PlaybookBrain { return &PlaybookBrain{opts: o} }

var _ Brain = (*PlaybookBrain)(nil)

// Name implements [Brain].
func (b *PlaybookBrain) Name() string { return "playbook" }

// Think implements [Brain].
func (b *PlaybookBrain) Think(ctx context.Context, r Request) (Reply, error) {
	switch r.Assignment.Kind {
	case conclave.AssignDraft:
		return draft(r)
	case conclave.AssignComment:
		return comment(r)
	case conclave.AssignRevise:
		return revise(r)
	case conclave.AssignOptions:
		return options(r)
	case conclave.AssignVote:
		return vote(r)
	case conclave.AssignBuild:
		return b.build(ctx, r)
	case conclave.AssignReview:
		return review(r)
	case conclave.AssignRefute:
		return refute(r)
	case conclave.AssignAsk:
		return ask(r)
	case conclave.AssignHandoff:
		return takeOver(r)
	}
	return Reply{}, conclave.Errorf(conclave.ErrUnsupported, "the playbook knows no assignment %q", r.Assignment.Kind)
}

// noModel is the usage of a brain that calls none: measured, and zero.
func noModel() conclave.Usage {
	var none int64
	var free float64
	return conclave.Usage{ModelCalls: &none, InputTokens: &none, OutputTokens: &none, CostUSD: &free}
}

// study reads the task as the playbook does.
func study(a conclave.Assignment) (playbook.Spec, playbook.Facts) {
	facts := playbookFacts(a.Facts)
	task := a.Task
	if task == "" && a.Plan != nil {
		task = a.Plan.Task
	}
	return playbook.Parse(task, facts), facts
}

func playbookFacts(f *conclave.Facts) playbook.Facts {
	if f == nil {
		return playbook.Facts{Empty: true, GoVersion: goVersion()}
	}
	out := playbook.Facts{
		ModulePath: f.Module, Name: f.Name, GoVersion: f.GoVersion, Files: f.Files, Languages: f.Languages,
		HasTests: f.HasTests, BuildCommand: f.Build, TestCommand: f.Test, Empty: f.Empty,
	}
	if out.GoVersion == "" {
		out.GoVersion = goVersion()
	}
	for _, c := range f.Conventions {
		if slices.Contains(f.Files, c) { // the others are observations, not files
			out.Conventions = append(out.Conventions, c)
		}
	}
	return out
}

// goVersion is the toolchain's, as go.mod writes it.
func goVersion() string {
	version, _, _ := strings.Cut(strings.TrimPrefix(runtime.Version(), "go"), " ")
	return version
}

func toSteps(steps []conclave.PlanStep) []playbook.Step {
	var out []playbook.Step
	for _, s := range steps {
		out = append(out, playbook.Step{
			Key: s.Key, Title: s.Title, Description: s.Description, DependsOn: s.DependsOn, Acceptance: s.Acceptance, Writes: s.Writes,
		})
	}
	return out
}

func fromStep(s playbook.Step) conclave.PlanStep {
	out := conclave.PlanStep{
		Key: s.Key, Title: s.Title, Description: s.Description, DependsOn: s.DependsOn, Acceptance: s.Acceptance, Writes: s.Writes,
	}
	if out.Acceptance == nil {
		out.Acceptance = []string{}
	}
	if out.Writes == nil {
		out.Writes = []string{}
	}
	return out
}

// fromSteps returns the steps, and the questions that they raise.
func fromSteps(steps []playbook.Step) (out []conclave.PlanStep, questions []conclave.Question) {
	out = []conclave.PlanStep{}
	for _, s := range steps {
		out = append(out, fromStep(s))
		if s.Question != nil {
			questions = append(questions, fromQuestion(*s.Question))
		}
	}
	return out, questions
}

func fromQuestion(q playbook.Question) conclave.Question {
	out := conclave.Question{Key: q.Key, Text: q.Text}
	for _, o := range q.Options {
		out.Options = append(out.Options, conclave.Option{Key: o.Key, Title: o.Title, Pros: o.Pros, Cons: o.Cons})
	}
	return out
}

func draft(r Request) (Reply, error) {
	spec, facts := study(r.Assignment)
	steps, questions := fromSteps(playbook.Plan(spec, facts))
	content := conclave.PlanContent{
		Task: r.Assignment.Task, Archetype: string(spec.Archetype), Steps: steps, Questions: questions, Uncovered: spec.Uncovered,
	}
	content.Summary = summary(spec, content)
	return Reply{
		Text: draftText(content, 1),
		Data: conclave.DraftReply{Content: content, Notes: spec.Assumptions, Usage: noModel()},
	}, nil
}

// summary is the plan in one line.
func summary(spec playbook.Spec, p conclave.PlanContent) string {
	what := ""
	switch spec.Archetype {
	case playbook.Unknown:
		what = fmt.Sprintf("“%s”", clip(oneLine(p.Task), 99))
	case playbook.Service:
		var nouns []string
		for _, e := range spec.Entities {
			nouns = append(nouns, e.Noun)
		}
		what = fmt.Sprintf("A service %s with %s", spec.Name, list(nouns, 5))
	case playbook.CLI:
		what = "A command-line program " + spec.Name
	case playbook.Library:
		what = "A Go package " + spec.Name
	case playbook.Document:
		what = "An API reference from the code"
	case playbook.Repair:
		var classes []string
		for _, c := range spec.Repair {
			classes = append(classes, string(c))
		}
		what = "A repair of " + list(classes, 5)
	}
	return fmt.Sprintf("%s in %s", what, count(len(p.Steps), "step"))
}

// draftText tells what is remarkable about this plan: where it starts, what it
// leaves open, what it can't do.
func draftText(p conclave.PlanContent, version int) string {
	text := []string{fmt.Sprintf("Version %d has %s: %s.", version, count(len(p.Steps), "step"), list(stepKeys(p.Steps), 8))}
	for _, s := range p.Steps {
		if len(s.DependsOn) > 0 {
			continue
		}
		var waiting []string
		for _, other := range p.Steps {
			if slices.Contains(other.DependsOn, s.Key) {
				waiting = append(waiting, other.Key)
			}
		}
		if len(waiting) > 0 {
			text = append(text, fmt.Sprintf("The build starts with %s, because %s on it.", s.Key, depend(waiting)))
			break
		}
	}
	if len(p.Questions) > 0 {
		var open []string
		for _, q := range p.Questions {
			open = append(open, fmt.Sprintf("“%s”", q.Text))
		}
		text = append(text, "I left open "+list(open, 3)+" for the architects.")
	}
	if len(p.Uncovered) > 0 {
		text = append(text, fmt.Sprintf("I can't do this part without a model: “%s”.", strings.Join(p.Uncovered, "”, “")))
	}
	return strings.Join(text, " ")
}

func depend(keys []string) string {
	if len(keys) == 1 {
		return keys[0] + " depends"
	}
	return list(keys, 4) + " depend"
}

func stepKeys(steps []conclave.PlanStep) []string {
	var keys []string
	for _, s := range steps {
		keys = append(keys, s.Key)
	}
	return keys
}

func comment(r Request) (Reply, error) {
	p := r.Assignment.Plan
	if p == nil {
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "there is no plan to comment on")
	}
	spec, facts := study(r.Assignment)
	role := r.Agent.Role
	out := []conclave.Comment{}
	for _, c := range playbook.Review(string(role), spec, facts, toSteps(p.Steps)) {
		kept := conclave.Comment{Author: r.Name, Role: role, Step: c.StepKey, Text: c.Text, Cites: c.Cites}
		if c.Change != nil {
			kept.Change = &conclave.Change{}
			if c.Change.Criterion != "" {
				kept.Change.AddAcceptance = []string{c.Change.Criterion}
			}
			if c.Change.Step != nil {
				added := fromStep(*c.Change.Step)
				kept.Change.AddStep = &added
			}
		}
		out = append(out, kept)
	}
	text := ""
	if len(out) > 0 {
		var on []string
		for _, c := range out {
			on = append(on, fmt.Sprintf("%s (%s)", stepOr(c.Step, "the whole"), c.Cites))
		}
		text = fmt.Sprintf("I have %s on version %d: on %s.", count(len(out), "comment"), p.Version, list(on, 6))
	} else if ok, reasons := playbook.Judge(string(role), spec, facts, toSteps(p.Steps)); ok {
		text = fmt.Sprintf("I ask for no change of version %d: %s.", p.Version, reasons[0])
	} else {
		text = fmt.Sprintf("Version %d does not hold together: %s.", p.Version, reasons[0])
	}
	return Reply{Text: text, Data: conclave.CommentReply{Comments: out, Usage: noModel()}}, nil
}

func stepOr(key, other string) string {
	if key == "" {
		return other
	}
	return key
}

// revise takes what comments ask for, and says of each comment what became of it.
func revise(r Request) (Reply, error) {
	p := r.Assignment.Plan
	if p == nil {
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "there is no plan to revise")
	}
	var asked []playbook.Comment
	for _, c := range p.Comments {
		if c.Change == nil {
			continue
		}
		for _, criterion := range c.Change.AddAcceptance {
			asked = append(asked, playbook.Comment{Role: string(c.Role), StepKey: c.Step, Text: c.Text, Cites: c.Cites, Change: &playbook.Amendment{Criterion: criterion}})
		}
		if s := c.Change.AddStep; s != nil {
			asked = append(asked, playbook.Comment{Role: string(c.Role), StepKey: c.Step, Text: c.Text, Cites: c.Cites, Change: &playbook.Amendment{Step: &toSteps([]conclave.PlanStep{*s})[0]}})
		}
	}
	revised, _ := fromSteps(playbook.Revise(toSteps(p.Steps), asked))
	content := p.PlanContent
	content.Steps = revised
	builders := map[string]conclave.Role{} // which is not the playbook's matter
	for _, s := range p.Steps {
		builders[s.Key] = s.Role
	}
	for _, c := range p.Comments {
		if c.Change != nil && c.Change.AddStep != nil {
			builders[c.Change.AddStep.Key] = c.Change.AddStep.Role
		}
	}
	for i, s := range content.Steps {
		content.Steps[i].Role = builders[s.Key]
	}
	var notes []string
	taken := "" // the first note of a comment that changed something
	changed := map[string]bool{}
	for _, c := range p.Comments {
		note, key := becameOf(c, p.Steps, revised)
		notes = append(notes, note)
		if key != "" {
			changed[key] = true
			if taken == "" {
				taken = note
			}
		}
	}
	var keys []string
	for _, s := range revised {
		if changed[s.Key] {
			keys = append(keys, s.Key)
		}
	}
	text := fmt.Sprintf("I read %s on version %d, and none of them changes it: what they ask for is there.", count(len(p.Comments), "comment"), p.Version)
	if len(keys) > 0 {
		text = fmt.Sprintf("Version %d changes %s after %s by %s. For one, %s.", p.Version+1, list(keys, 6), count(len(p.Comments), "comment"), list(authors(p.Comments), 4), taken)
	}
	return Reply{Text: text, Data: conclave.DraftReply{Content: content, Notes: notes, Usage: noModel()}}, nil
}

func authors(comments []conclave.Comment) []string {
	var names []string
	for _, c := range comments {
		if !slices.Contains(names, string(c.Author)) {
			names = append(names, string(c.Author))
		}
	}
	return names
}

// becameOf says what became of a comment, and which step it changed.
func becameOf(c conclave.Comment, before, after []conclave.PlanStep) (note, changed string) {
	said := fmt.Sprintf("%s (%s) on %s", c.Author, c.Cites, stepOr(c.Step, "the whole plan"))
	if c.Change == nil {
		return said + ": noted; it asks for no change", ""
	}
	if s := c.Change.AddStep; s != nil {
		had := slices.Contains(stepKeys(before), s.Key)
		if !had && slices.Contains(stepKeys(after), s.Key) {
			return fmt.Sprintf("%s: added the step %s", said, s.Key), s.Key
		}
		return fmt.Sprintf("%s: there is a step %s already", said, s.Key), ""
	}
	at := func(steps []conclave.PlanStep) []string {
		i := slices.IndexFunc(steps, func(s conclave.PlanStep) bool { return s.Key == c.Step })
		if i < 0 {
			return nil
		}
		return steps[i].Acceptance
	}
	for _, criterion := range c.Change.AddAcceptance {
		switch {
		case !slices.Contains(at(after), criterion):
			return fmt.Sprintf("%s: not taken, there is no step %s", said, stepOr(c.Step, "named")), ""
		case !slices.Contains(at(before), criterion):
			return fmt.Sprintf("%s: took the criterion “%s”", said, criterion), c.Step
		}
	}
	return said + ": the plan has it already", ""
}

// known returns the playbook's own form of a question, with what it knows of
// each option.
func known(spec playbook.Spec, facts playbook.Facts, key string) (playbook.Question, bool) {
	for _, s := range playbook.Plan(spec, facts) {
		if s.Question != nil && s.Question.Key == key {
			return *s.Question, true
		}
	}
	return playbook.Question{}, false
}

func options(r Request) (Reply, error) {
	q := r.Assignment.Question
	if q == nil {
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "there is no question to answer")
	}
	spec, facts := study(r.Assignment)
	own, ok := known(spec, facts, q.Key)
	out := []conclave.Option{}
	var named, added []string
	for _, o := range q.Options {
		named = append(named, o.Key)
	}
	if ok {
		for _, o := range fromQuestion(own).Options {
			if !slices.Contains(named, o.Key) {
				out, added = append(out, o), append(added, o.Title)
			}
		}
	}
	text := fmt.Sprintf("For “%s” I see no other honest option than %s.", q.Text, list(named, 6))
	switch {
	case len(added) > 0:
		text = fmt.Sprintf("For “%s” I would also consider %s.", q.Text, list(added, 4))
	case !ok:
		text = fmt.Sprintf("“%s” is not a question that my playbook knows, so I add nothing to %s.", q.Text, list(named, 6))
	}
	return Reply{Text: text, Data: conclave.OptionsReply{Options: out, Usage: noModel()}}, nil
}

// build writes the files of a step, or says what it can't do.
func (b *PlaybookBrain) build(ctx context.Context, r Request) (Reply, error) {
	a := r.Assignment
	if a.Step == nil || a.Worktree == "" {
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "a build needs its step and its worktree")
	}
	spec, facts := study(a)
	if spec.Archetype == playbook.Repair || len(a.Findings) > 0 {
		return b.repair(ctx, r)
	}
	if spec.Archetype == playbook.Unknown {
		return needsModel(a, a.Step.Title+": the playbook does not know how to do that"), nil
	}
	var files []playbook.File
	var err error
	if spec.Archetype == playbook.Document {
		if files, err = playbook.WriteDocs(os.DirFS(a.Worktree), facts); err == nil && len(files) == 0 {
			why := "the API reference is as the code is"
			return Reply{Text: fmt.Sprintf("There is nothing to change: %s.", why), Data: conclave.BuildReply{Nothing: why, Files: []string{}, Usage: noModel()}}, nil
		}
	} else {
		files, err = playbook.Build(spec, facts, a.Choices, a.Step.Key)
	}
	if err != nil {
		return needsModel(a, fmt.Sprintf("%s: %v", a.Step.Title, err)), nil
	}
	if len(files) == 0 {
		return needsModel(a, a.Step.Title+": the playbook has no file for it"), nil
	}
	names, err := writeFiles(r, files)
	if err != nil {
		return Reply{}, fmt.Errorf("writing the files of %s: %w", a.Step.Key, err)
	}
	text := fmt.Sprintf("I wrote %s for %s: %s.", count(len(names), "file"), a.Step.Key, list(names, 6))
	if chosen := decided(spec, facts, a, files); len(chosen) > 0 {
		text += fmt.Sprintf(" As decided, %s.", list(chosen, 4))
	}
	return Reply{Text: text, Data: conclave.BuildReply{Summary: text, Files: names, ToolCalls: len(names), Usage: noModel()}}, nil
}

// decided names the design decisions that show in the files of a step: with
// another option they would be others.
func decided(spec playbook.Spec, facts playbook.Facts, a conclave.Assignment, files []playbook.File) []string {
	var chosen []string
	for _, key := range slices.Sorted(maps.Keys(a.Choices)) {
		q, ok := known(spec, facts, key)
		if !ok {
			continue
		}
		shows, title := false, a.Choices[key]
		for _, o := range q.Options {
			if o.Key == a.Choices[key] {
				title = o.Title
				continue
			}
			other := maps.Clone(a.Choices)
			other[key] = o.Key
			built, err := playbook.Build(spec, facts, other, a.Step.Key)
			if err == nil && !slices.EqualFunc(files, built, func(x, y playbook.File) bool { return x.Path == y.Path && bytes.Equal(x.Content, y.Content) }) {
				shows = true
			}
		}
		if shows {
			chosen = append(chosen, fmt.Sprintf("%s is %s (%s)", key, a.Choices[key], lower(title)))
		}
	}
	return chosen
}

// lower makes a title part of a sentence.
func lower(title string) string {
	first, size := utf8.DecodeRuneInString(title)
	if second, _ := utf8.DecodeRuneInString(title[size:]); unicode.IsUpper(second) {
		return title
	}
	return string(unicode.ToLower(first)) + title[size:]
}

func needsModel(a conclave.Assignment, what string) Reply {
	return Reply{
		Text: fmt.Sprintf("I can't build %s without a model: %s.", a.Step.Key, strings.TrimSuffix(what, ".")),
		Data: conclave.BuildReply{NeedsModel: what, Files: []string{}, Usage: noModel()},
	}
}

func (b *PlaybookBrain) repair(ctx context.Context, r Request) (Reply, error) {
	a := r.Assignment
	what := a.Step.Title
	if len(a.Findings) > 0 {
		f := a.Findings[0]
		what = fmt.Sprintf("mending %s, first %s at %s", count(len(a.Findings), "finding"), f.Rule, place(f.Finding))
	}
	if b.opts.Repair == nil {
		return needsModel(a, what), nil
	}
	reply, err := b.opts.Repair(ctx, a)
	if err != nil {
		return Reply{}, fmt.Errorf("%s: %w", what, err)
	}
	switch {
	case reply.NeedsModel != "":
		return Reply{Text: fmt.Sprintf("I can't mend more without a model: %s.", reply.NeedsModel), Data: reply}, nil
	case len(reply.Files) == 0 && reply.Nothing == "":
		return needsModel(a, what+": no analyser suggests a change"), nil
	case len(reply.Files) == 0:
		return Reply{Text: fmt.Sprintf("There is nothing to change: %s.", reply.Nothing), Data: reply}, nil
	}
	return Reply{Text: reply.Summary, Data: reply}, nil
}

// writeFiles writes into the worktree, and nowhere else: within the step's write
// set, through no link.
func writeFiles(r Request, files []playbook.File) ([]string, error) {
	root, err := os.OpenRoot(r.Assignment.Worktree)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrNotFound, "opening the worktree: %w", err)
	}
	box := &toolbox{request: r, dir: r.Assignment.Worktree, root: root, writes: writeSet(r.Assignment)}
	defer box.close()
	var names []string
	for _, f := range files {
		name, err := box.writable(f.Path)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrDenied, "%w", err)
		}
		mode := f.Mode
		if mode == 0 {
			mode = 0o644
		}
		if err := writeFile(root, name, f.Content, mode); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func writeFile(root *os.Root, name string, content []byte, mode fs.FileMode) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("making the folder of %s: %w", name, err)
	}
	if err := root.WriteFile(name, content, mode); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// ask answers a question with what the playbook knows of its words.
func ask(r Request) (Reply, error) {
	spec, facts := study(r.Assignment)
	if spec.Archetype == playbook.Unknown {
		return Reply{Text: fmt.Sprintf("I work from a playbook, without a model, and “%s” is nothing that it knows about. As %s I can speak about plans, trees and findings that I am shown.",
			clip(oneLine(r.Text), 99), r.Agent.Role)}, nil
	}
	steps, _ := fromSteps(playbook.Plan(spec, facts))
	text := fmt.Sprintf("I work from a playbook, without a model. What you describe I would plan like this: %s (%s).",
		summary(spec, conclave.PlanContent{Task: r.Assignment.Task, Steps: steps}), list(stepKeys(steps), 8))
	if len(spec.Assumptions) > 0 {
		text += " I would assume: " + spec.Assumptions[0]
	}
	if len(spec.Uncovered) > 0 {
		text += fmt.Sprintf(" Beyond me is “%s”.", strings.Join(spec.Uncovered, "”, “"))
	}
	return Reply{Text: text}, nil
}

// takeOver says what the playbook sees of a conversation that it is given: who had
// it, what was said last, and what is still open.
func takeOver(r Request) (Reply, error) {
	h := r.Assignment.Handoff
	if h == nil {
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "there is no conversation to take over")
	}
	text := fmt.Sprintf("I take over %s from %s: %s so far", h.Conversation, list(h.Had, 3), count(h.Count, "message"))
	if n := len(h.Messages); n > 0 {
		last := h.Messages[n-1]
		text += fmt.Sprintf(", the last by %s: “%s”", last.From, oneLine(clip(oneLine(last.Text), 120)))
	}
	text += "."
	if len(h.Open) > 0 {
		var open []string
		for _, t := range h.Open {
			open = append(open, fmt.Sprintf("%s of %s to %s (%s)", t.Kind, t.From, t.To, t.State))
		}
		text += " Still open: " + list(open, 3) + "."
	} else {
		text += " Nothing in it is open."
	}
	if h.Note != "" {
		text += fmt.Sprintf(" What I am to know: “%s”.", clip(oneLine(h.Note), 200))
	}
	return Reply{Text: text}, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// list joins names for a sentence, and counts those past most.
func list(names []string, most int) string {
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	switch len(names) {
	case 0:
		return "nothing"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
