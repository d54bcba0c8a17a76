package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"conclave"
	"conclave/internal/git"
)

// form is what a model fills in to answer an assignment: a schema that is
// derived from the reply type of the root package, and the way back to that
// type.
type form struct {
	schema   *jsonschema.Schema
	resolved *jsonschema.Resolved
	// finish turns a filled-in form that fits the schema into a reply. Its error
	// is for the model: what is wrong, and what would be right.
	finish func(ctx context.Context, raw json.RawMessage, w worked) (Reply, error)
}

// worked is what went into an answer, as far as the brain knows it.
type worked struct {
	usage     conclave.Usage
	toolCalls int
	// proves reports whether a reference names something that the reviewer saw
	// fail; nil when it ran nothing.
	proves func(ref string) bool
}

// read checks a filled-in form and makes the reply.
func (f *form) read(ctx context.Context, raw json.RawMessage, w worked) (Reply, error) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "the reply is not JSON: %v", err)
	}
	if err := f.resolved.Validate(value); err != nil {
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "the reply does not fit its schema: %v", err)
	}
	return f.finish(ctx, raw, w)
}

// formFor returns the form for an assignment, or nil when it is answered in
// prose. checkPlan may be nil.
func formFor(r Request, checkPlan func(conclave.PlanContent) error) (*form, error) {
	a := r.Assignment
	switch a.Kind {
	case conclave.AssignDraft, conclave.AssignRevise:
		return newForm[conclave.DraftReply](planNotes(), nil, func(_ context.Context, d *conclave.DraftReply, w worked) (Reply, error) {
			d.Content.Task, d.Usage = a.Task, w.usage
			if checkPlan != nil {
				if err := checkPlan(d.Content); err != nil {
					return Reply{}, err
				}
			}
			return Reply{Text: d.Content.Summary, Data: *d}, nil
		}, "usage", "content.task", "content.archetype")

	case conclave.AssignComment:
		return newForm[conclave.CommentReply](commentNotes(), nil, func(_ context.Context, c *conclave.CommentReply, w worked) (Reply, error) {
			c.Usage = w.usage
			for i := range c.Comments {
				c.Comments[i].Author, c.Comments[i].Role = r.Name, r.Agent.Role
			}
			return Reply{Text: counted(len(c.Comments), "comment", "No objection."), Data: *c}, nil
		}, "usage", "comments.author", "comments.role", "comments.created")

	case conclave.AssignOptions:
		return newForm[conclave.OptionsReply](optionNotes(), nil, func(_ context.Context, o *conclave.OptionsReply, w worked) (Reply, error) {
			o.Usage = w.usage
			return Reply{Text: counted(len(o.Options), "option", "Nothing to add to the options."), Data: *o}, nil
		}, "usage")

	case conclave.AssignVote:
		return voteForm(a)

	case conclave.AssignBuild:
		return newForm[conclave.BuildReply](map[string]string{
			"summary": "What was changed and why, and what the build and the tests said: two to six sentences for the commit message",
		}, nil, func(ctx context.Context, b *conclave.BuildReply, w worked) (Reply, error) {
			files, err := changedFiles(ctx, a)
			if err != nil {
				return Reply{}, err
			}
			b.Files, b.ToolCalls, b.Usage = files, w.toolCalls, w.usage
			return Reply{Text: b.Summary, Data: *b}, nil
		}, "usage", "files", "tool_calls", "needs_model", "nothing", "left")

	case conclave.AssignReview:
		return reviewForm(r)

	case conclave.AssignRefute:
		return refuteForm(a)
	}
	return nil, nil
}

func voteForm(a conclave.Assignment) (*form, error) {
	drop := []string{"usage", "evidence", "ranking"}
	notes := map[string]string{"reasons": "Why, each reason by itself, with the fact or rule that it rests on"}
	var edit func(*jsonschema.Schema)
	if a.Motion != nil && a.Motion.Kind == conclave.MotionRank {
		drop[2] = "verdict"
		notes["ranking"] = "All options by their keys, best first"
		edit = func(s *jsonschema.Schema) {
			s.Required = append(s.Required, "ranking")
			ranking := s.Properties["ranking"]
			ranking.Items.Enum = anys(a.Motion.Options)
			ranking.UniqueItems = true
			ranking.MinItems = jsonschema.Ptr(len(a.Motion.Options))
		}
	} else {
		notes["verdict"] = "approve or reject; abstain only when you can't judge it"
		edit = func(s *jsonschema.Schema) { s.Required = append(s.Required, "verdict") }
	}
	return newForm[conclave.VoteReply](notes, edit, func(_ context.Context, v *conclave.VoteReply, w worked) (Reply, error) {
		v.Usage = w.usage
		text := string(v.Verdict)
		if len(v.Ranking) > 0 {
			text = strings.Join(v.Ranking, " before ")
		}
		if len(v.Reasons) > 0 {
			text += ": " + v.Reasons[0]
		}
		return Reply{Text: text, Data: *v}, nil
	}, drop...)
}

func reviewForm(r Request) (*form, error) {
	a := r.Assignment
	refs := evidenceRefs(a.Evidence)
	return newForm[conclave.ReviewReply](reviewNotes(), nil, func(_ context.Context, v *conclave.ReviewReply, w worked) (Reply, error) {
		v.Usage = w.usage
		for i := range v.Findings {
			f := &v.Findings[i]
			if err := locate(a.Worktree, f); err != nil {
				return Reply{}, conclave.Errorf(conclave.ErrInvalid, "findings[%d]: %v", i, err)
			}
			f.Tool, f.Reviewer = string(r.Name), r.Name
			// A claim is no evidence: what nothing shows becomes advice.
			if !slices.Contains(refs, f.Evidence) && (w.proves == nil || !w.proves(f.Evidence)) {
				f.Evidence = ""
			}
		}
		return Reply{Text: v.Summary, Data: *v}, nil
	}, "usage", "findings.tool", "findings.fingerprint", "findings.fixable", "findings.column",
		"findings.reviewer", "findings.agreed", "findings.refuted")
}

func refuteForm(a conclave.Assignment) (*form, error) {
	var keys []string
	for _, f := range a.Findings {
		keys = append(keys, f.Key())
	}
	edit := func(s *jsonschema.Schema) {
		s.Properties["refuted"].PropertyNames = &jsonschema.Schema{Enum: anys(keys)}
	}
	return newForm[conclave.RefuteReply](map[string]string{
		"refuted": "For each finding that does not hold, its key and the line or the run that shows so. Leave out those that hold",
	}, edit, func(_ context.Context, v *conclave.RefuteReply, w worked) (Reply, error) {
		v.Usage = w.usage
		return Reply{Text: fmt.Sprintf("%d of %d findings refuted.", len(v.Refuted), len(keys)), Data: *v}, nil
	}, "usage")
}

// newForm derives a form from a reply type: without the fields that the agent
// itself fills in, with notes for the model on others (by path), and with what
// edit changes.
func newForm[T any](notes map[string]string, edit func(*jsonschema.Schema), finish func(context.Context, *T, worked) (Reply, error), drop ...string) (*form, error) {
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[conclave.Level]():   {Type: "string", Enum: []any{conclave.LevelError, conclave.LevelWarning, conclave.LevelNote}},
		reflect.TypeFor[conclave.Verdict](): {Type: "string", Enum: []any{conclave.VerdictApprove, conclave.VerdictReject, conclave.VerdictAbstain}},
	}})
	if err != nil {
		return nil, fmt.Errorf("deriving a schema from %s: %w", reflect.TypeFor[T](), err)
	}
	plain(s)
	for _, p := range drop {
		dir, name := path.Split(strings.ReplaceAll(p, ".", "/"))
		holder := at(s, strings.Trim(dir, "/"))
		if holder.Items != nil {
			holder = holder.Items
		}
		delete(holder.Properties, name)
		unnamed := func(have string) bool { return have == name }
		holder.Required = slices.DeleteFunc(holder.Required, unnamed)
		holder.PropertyOrder = slices.DeleteFunc(holder.PropertyOrder, unnamed)
	}
	for p, note := range notes {
		at(s, strings.ReplaceAll(p, ".", "/")).Description = note
	}
	if edit != nil {
		edit(s)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		return nil, fmt.Errorf("resolving the schema of %s: %w", reflect.TypeFor[T](), err)
	}
	return &form{schema: s, resolved: resolved, finish: func(ctx context.Context, raw json.RawMessage, w worked) (Reply, error) {
		var reply T
		if err := json.Unmarshal(raw, &reply); err != nil {
			return Reply{}, conclave.Errorf(conclave.ErrInvalid, "the reply can't be read: %v", err)
		}
		return finish(ctx, &reply, w)
	}}, nil
}

// at returns the schema at a path of property names, through arrays.
func at(s *jsonschema.Schema, p string) *jsonschema.Schema {
	for name := range strings.SplitSeq(p, "/") {
		if s.Items != nil {
			s = s.Items
		}
		if name != "" {
			s = s.Properties[name]
		}
	}
	return s
}

// plain takes null out of what a slice or a pointer may be: to leave a field out
// is enough, and models do better with one way.
func plain(s *jsonschema.Schema) {
	if i := slices.Index(s.Types, "null"); i >= 0 && len(s.Types) == 2 {
		s.Type, s.Types = s.Types[1-i], nil
	}
	for _, p := range s.Properties {
		plain(p)
	}
	if s.Items != nil {
		plain(s.Items)
	}
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func counted(n int, noun, none string) string {
	switch n {
	case 0:
		return none
	case 1:
		return "1 " + noun + "."
	}
	return fmt.Sprintf("%d %ss.", n, noun)
}

// evidenceRefs are the references by which a finding can rest on what was
// measured: failed checks, and analysers' findings by key.
func evidenceRefs(e *conclave.Evidence) []string {
	var refs []string
	if e == nil {
		return refs
	}
	for _, c := range e.Checks {
		if !c.Passed && c.Skipped == "" && !c.Baseline {
			refs = append(refs, "check:"+c.Name)
		}
	}
	for _, f := range e.Findings {
		refs = append(refs, f.Key())
	}
	return refs
}

// locate checks that a finding is about a file that exists, and gives it its
// fingerprint: the rule, the path and the text of its line, so that the finding
// stays the same when lines above it move.
func locate(worktree string, f *conclave.ReviewFinding) error {
	f.Path = path.Clean(strings.TrimPrefix(f.Path, "./"))
	text := fmt.Sprint(f.Line)
	if worktree != "" && f.Path != "." {
		root, err := os.OpenRoot(worktree)
		if err != nil {
			return fmt.Errorf("opening the worktree: %w", err)
		}
		defer func() { _ = root.Close() }() // it was only read
		all, err := root.ReadFile(f.Path)
		if err != nil {
			return fmt.Errorf("there is no file %q in the worktree", f.Path)
		}
		lines := bytes.Split(all, []byte("\n"))
		if f.Line > len(lines) {
			return fmt.Errorf("%s has only %d lines, not %d", f.Path, len(lines), f.Line)
		}
		if f.Line > 0 {
			text = string(bytes.TrimSpace(lines[f.Line-1]))
		}
	}
	sum := sha256.Sum256([]byte(f.Rule + "\x00" + f.Path + "\x00" + text))
	f.Fingerprint = hex.EncodeToString(sum[:8])
	return nil
}

// changedFiles lists what a build changed. ErrInvalid when that is nothing, or
// when something is outside the step's write set.
func changedFiles(ctx context.Context, a conclave.Assignment) ([]string, error) {
	repo, err := git.Open(ctx, a.Worktree)
	if err != nil {
		return nil, fmt.Errorf("looking at what was changed: %w", err)
	}
	changes, err := repo.Dirty(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking at what was changed: %w", err)
	}
	var files, outside []string
	for _, c := range changes {
		files = append(files, c.Path)
		if !conclave.WritesAllow(writeSet(a), c.Path) {
			outside = append(outside, c.Path)
		}
	}
	switch {
	case len(files) == 0:
		return nil, conclave.Errorf(conclave.ErrInvalid, "no file was changed in the worktree; the step is not built until files are")
	case len(outside) > 0:
		return nil, conclave.Errorf(conclave.ErrInvalid, "%s changed, but the step may write only %s; undo that change",
			strings.Join(outside, ", "), strings.Join(writeSet(a), ", "))
	}
	slices.Sort(files)
	return files, nil
}

// writeSet is what a build may change; without a step, everything.
func writeSet(a conclave.Assignment) []string {
	if a.Step == nil {
		return []string{"**"}
	}
	return a.Step.Writes
}
