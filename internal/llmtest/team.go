package llmtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
)

// Work is what a [Team] plans and builds: one step that writes these files.
type Work struct {
	Summary string
	Step    string            // the step's key
	Writes  []string          // its write set
	Files   map[string]string // by path
}

// Team plays all roles of a run for tests of everything around the model: it
// drafts a plan of one step, has no comments, approves, ranks options as they
// come, finds nothing, and builds by writing the files. It tells what is asked
// by the form in which the answer must come, from agents of Conclave (the tool
// reply) and from the claude binary (StructuredOutput) alike.
func Team(w Work) Script {
	return func(c Call) Answer {
		form, fields := formOf(c)
		switch {
		case form == "":
			return Say("I have nothing to add.")
		case fields["content"] != nil:
			return Use(form, map[string]any{"content": map[string]any{"summary": w.Summary, "steps": []any{map[string]any{
				"key": w.Step, "title": w.Summary, "description": w.Summary, "acceptance": []string{"the files are there"}, "writes": w.Writes}}}})
		case fields["comments"] != nil:
			return Use(form, map[string]any{"comments": []any{}})
		case fields["options"] != nil:
			return Use(form, map[string]any{"options": []any{}})
		case fields["verdict"] != nil:
			return Use(form, map[string]any{"verdict": "approve", "reasons": []string{"It does what was asked."}})
		case fields["ranking"] != nil:
			return Use(form, map[string]any{"ranking": optionsOf(fields["ranking"]), "reasons": []string{"In the order in which they came."}})
		case fields["approve"] != nil:
			return Use(form, map[string]any{"approve": true, "summary": "Nothing found.", "findings": []any{}})
		case fields["refuted"] != nil:
			return Use(form, map[string]any{"refuted": map[string]any{}})
		}
		return w.build(c, form)
	}
}

// formOf returns the tool by which the answer is handed in, with its fields.
func formOf(c Call) (tool string, fields map[string]json.RawMessage) {
	for _, t := range c.Tools {
		if t.Name != "reply" && t.Name != "StructuredOutput" {
			continue
		}
		var schema struct{ Properties map[string]json.RawMessage }
		if json.Unmarshal(t.Schema, &schema) == nil {
			return t.Name, schema.Properties
		}
	}
	return "", nil
}

func optionsOf(ranking json.RawMessage) []string {
	var schema struct{ Items struct{ Enum []string } }
	if json.Unmarshal(ranking, &schema) != nil {
		return nil
	}
	return schema.Items.Enum
}

// workingDirectory is how the claude binary tells the model where it is.
var workingDirectory = regexp.MustCompile(`[Ww]orking directory: (.+)`)

// build writes the files in the first turn and hands in the second.
func (w Work) build(c Call, form string) Answer {
	if len(c.Last().Results) > 0 {
		return Use(form, map[string]any{"summary": w.Summary})
	}
	var a Answer
	for _, name := range slices.Sorted(maps.Keys(w.Files)) {
		write := Use("write_file", map[string]string{"path": name, "content": w.Files[name]})
		if c.Has("Write") {
			dir := ""
			if found := workingDirectory.FindStringSubmatch(c.System); found != nil {
				dir = found[1]
			}
			write = Use("Write", map[string]string{"file_path": path.Join(dir, name), "content": w.Files[name]})
		}
		call := write.Calls[0]
		call.ID = fmt.Sprintf("write_%d_%d", c.N, len(a.Calls))
		a.Calls = append(a.Calls, call)
	}
	return a
}
